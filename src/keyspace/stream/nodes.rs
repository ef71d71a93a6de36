//! The nodes of a stream in the order of their master ids. Nearly all additions and removals are at the ends.
use super::super::listpack::Listpack;
use super::{NodeError, StreamId};
use std::collections::vec_deque::{Iter, VecDeque};

/// A node with its master id.
pub(super) type Node = (StreamId, Listpack);

/// See the module's description.
#[derive(Clone, Debug, Default)]
pub(super) struct Nodes(VecDeque<Node>);

impl Nodes {
    /// The first node.
    pub fn first_mut(&mut self) -> Option<&mut Node> {
        self.0.front_mut()
    }

    /// The last node.
    #[inline]
    pub fn last_mut(&mut self) -> Option<&mut Node> {
        self.0.back_mut()
    }

    /// Adds a node, behind all others nearly always: who restores a stream may say that its last id is another than that
    /// of its last entry. It takes the place of one with the same id.
    pub fn put(&mut self, master: StreamId, lp: Listpack) {
        match self.behind(master) {
            at if at == self.0.len() && self.0.back().is_none_or(|last| last.0 != master) => {
                self.0.push_back((master, lp));
            }
            at if at > 0 && self.0[at - 1].0 == master => self.0[at - 1].1 = lp,
            at => self.0.insert(at, (master, lp)),
        }
    }

    /// Adds a node whose id is a new one.
    pub fn insert(&mut self, master: StreamId, lp: Listpack) -> Result<(), NodeError> {
        let at = self.behind(master);
        if at > 0 && self.0[at - 1].0 == master {
            return Err(NodeError::Duplicate);
        }
        self.0.insert(at, (master, lp));
        Ok(())
    }

    /// Removes the first node.
    pub fn remove_first(&mut self) {
        self.0.pop_front();
    }

    /// Removes the node at a place.
    pub fn remove(&mut self, at: usize) {
        self.0.remove(at);
    }

    /// The place behind the nodes with ids up to this one.
    fn behind(&self, id: StreamId) -> usize {
        // Most look-ups are for the newest entries.
        match self.0.back() {
            Some(last) if last.0 <= id => self.0.len(),
            _ => self.0.partition_point(|node| node.0 <= id),
        }
    }

    /// The place of the node that an entry with this id would be in.
    pub fn place_of(&self, id: StreamId) -> Option<usize> {
        self.behind(id).checked_sub(1)
    }

    /// The node at a place.
    pub fn get(&self, at: usize) -> &Node {
        &self.0[at]
    }

    /// The node at a place, to be changed.
    pub fn get_mut(&mut self, at: usize) -> &mut Node {
        &mut self.0[at]
    }

    /// The nodes that have entries from `start` to `end`, and perhaps one more.
    pub fn range(&self, start: StreamId, end: StreamId) -> Iter<'_, Node> {
        let from = self.place_of(start).unwrap_or(0);
        let to = self.behind(end);
        self.0.range(from.min(to)..to)
    }

    /// All nodes.
    pub fn iter(&self) -> Iter<'_, Node> {
        self.0.iter()
    }
}
