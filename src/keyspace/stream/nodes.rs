//! The nodes of a stream in the order of their master ids.
//!
//! Nearly all additions and removals are at the ends, so the last nodes stand in a ring. When that is full it becomes a
//! *piece* before the next one: a removal in the middle moves some nodes of its piece, not of the stream, and a stream that
//! is trimmed gives memory back.
use super::super::listpack::Listpack;
use super::{NodeError, StreamId};
use std::collections::vec_deque::{self, VecDeque};

/// A node with its master id.
pub(super) type Node = (StreamId, Listpack);
type Piece = VecDeque<Node>;

/// So many nodes make a piece; one that is added to in its middle may have twice as many.
const PIECE: usize = 256;

/// See the module's description.
#[derive(Clone, Debug, Default)]
pub(super) struct Nodes {
    /// The last nodes; there are some if there are any.
    last: Piece,
    /// The pieces before them; none is empty.
    before: VecDeque<Piece>,
}

/// Where a node is: its piece, `last` behind all others, and its place there.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Place {
    piece: usize,
    at: usize,
}

impl Nodes {
    /// The first node.
    pub fn first_mut(&mut self) -> Option<&mut Node> {
        self.piece_mut(0).front_mut()
    }

    /// The last node.
    #[inline]
    pub fn last_mut(&mut self) -> Option<&mut Node> {
        self.last.back_mut()
    }

    /// Adds a node, behind all others nearly always: who restores a stream may say that its last id is another than that
    /// of its last entry. It takes the place of one with the same id.
    pub fn put(&mut self, master: StreamId, lp: Listpack) {
        let end = self.behind(master);
        match self.before_place(end) {
            Some(place) if self.get(place).0 == master => self.get_mut(place).1 = lp,
            _ => self.add_at(end, (master, lp)),
        }
    }

    /// Adds a node whose id is a new one.
    pub fn insert(&mut self, master: StreamId, lp: Listpack) -> Result<(), NodeError> {
        let end = self.behind(master);
        if self.before_place(end).is_some_and(|place| self.get(place).0 == master) {
            return Err(NodeError::Duplicate);
        }
        self.add_at(end, (master, lp));
        Ok(())
    }

    fn add_at(&mut self, Place { piece, at }: Place, node: Node) {
        if piece == self.pieces() && at == self.last.len() {
            if at >= PIECE {
                let full = std::mem::take(&mut self.last);
                self.before.push_back(full);
            }
            return self.last.push_back(node);
        }
        let there = self.piece_mut(piece);
        there.insert(at, node);
        if there.len() > 2 * PIECE {
            let rest = there.split_off(PIECE);
            let first = if piece == self.pieces() {
                std::mem::replace(&mut self.last, rest)
            } else {
                std::mem::replace(self.piece_mut(piece), rest)
            };
            self.before.insert(piece, first);
        }
    }

    /// Removes the first node.
    pub fn remove_first(&mut self) {
        if !self.last.is_empty() {
            self.remove(Place { piece: 0, at: 0 });
        }
    }

    /// Removes the node at a place.
    pub fn remove(&mut self, Place { piece, at }: Place) {
        let there = self.piece_mut(piece);
        there.remove(at);
        if there.len() <= there.capacity() / 4 && there.capacity() > PIECE / 16 {
            there.shrink_to(there.len() * 2);
        }
        if !there.is_empty() {
            return;
        }
        let last = self.pieces();
        if piece < last {
            self.before.remove(piece);
        } else if let Some(next) = self.before.pop_back() {
            self.last = next;
        }
    }

    /// How many pieces there are before the last.
    #[inline]
    fn pieces(&self) -> usize {
        self.before.len()
    }

    fn piece(&self, piece: usize) -> &Piece {
        self.before.get(piece).unwrap_or(&self.last)
    }

    fn piece_mut(&mut self, piece: usize) -> &mut Piece {
        self.before.get_mut(piece).unwrap_or(&mut self.last)
    }

    /// The place behind the nodes with ids up to this one, in the piece of the last of these if there is one.
    fn behind(&self, id: StreamId) -> Place {
        // Most look-ups are for the newest entries.
        let last = self.pieces();
        if self.last.back().is_some_and(|node| node.0 <= id) {
            return Place { piece: last, at: self.last.len() };
        }
        let mut piece = last;
        if last != 0 && self.last.front().is_none_or(|node| id < node.0) {
            let starts_by = |piece: &Piece| piece.front().is_some_and(|node| node.0 <= id);
            piece = self.before.partition_point(starts_by).saturating_sub(1);
        }
        Place { piece, at: self.piece(piece).partition_point(|node| node.0 <= id) }
    }

    /// The place before one that [`Nodes::behind`] gave.
    fn before_place(&self, Place { piece, at }: Place) -> Option<Place> {
        at.checked_sub(1).map(|at| Place { piece, at })
    }

    /// The place of the node that an entry with this id would be in.
    pub fn place_of(&self, id: StreamId) -> Option<Place> {
        self.before_place(self.behind(id))
    }

    /// The node at a place.
    pub fn get(&self, place: Place) -> &Node {
        &self.piece(place.piece)[place.at]
    }

    /// The node at a place, to be changed.
    pub fn get_mut(&mut self, place: Place) -> &mut Node {
        &mut self.piece_mut(place.piece)[place.at]
    }

    /// The number of nodes.
    pub fn len(&self) -> usize {
        self.before.iter().map(VecDeque::len).sum::<usize>() + self.last.len()
    }

    /// The nodes that have entries from `start` to `end`, and perhaps one more.
    pub fn range(&self, start: StreamId, end: StreamId) -> Iter<'_> {
        let to = self.behind(end);
        let from = self.place_of(start).unwrap_or(Place { piece: 0, at: 0 }).min(to);
        let (first, last) = (self.piece(from.piece), self.piece(to.piece));
        if from.piece == to.piece {
            return Iter { front: first.range(from.at..to.at), ..Iter::default() };
        }
        Iter {
            front: first.range(from.at..),
            pieces: self.before.range(from.piece + 1..to.piece),
            back: last.range(..to.at),
        }
    }

    /// All nodes.
    pub fn iter(&self) -> Iter<'_> {
        self.range(StreamId::MIN, StreamId::MAX)
    }
}

/// Nodes in their order, from both ends.
#[derive(Clone, Default)]
pub(super) struct Iter<'a> {
    front: vec_deque::Iter<'a, Node>,
    pieces: vec_deque::Iter<'a, Piece>,
    back: vec_deque::Iter<'a, Node>,
}

impl<'a> Iterator for Iter<'a> {
    type Item = &'a Node;

    fn next(&mut self) -> Option<&'a Node> {
        loop {
            if let Some(node) = self.front.next() {
                return Some(node);
            }
            match self.pieces.next() {
                Some(piece) => self.front = piece.iter(),
                None => return self.back.next(),
            }
        }
    }
}

impl DoubleEndedIterator for Iter<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(node) = self.back.next_back() {
                return Some(node);
            }
            match self.pieces.next_back() {
                Some(piece) => self.back = piece.iter(),
                None => return self.front.next_back(),
            }
        }
    }
}

/// All nodes of a stream, whose number is known.
pub(super) struct All<'a> {
    nodes: Iter<'a>,
    left: usize,
}

impl<'a> All<'a> {
    /// Those of a stream.
    pub fn of(nodes: &'a Nodes) -> All<'a> {
        All { nodes: nodes.iter(), left: nodes.len() }
    }
}

impl<'a> Iterator for All<'a> {
    type Item = &'a Node;

    fn next(&mut self) -> Option<&'a Node> {
        self.left = self.left.saturating_sub(1);
        self.nodes.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for All<'_> {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// Does the same to nodes and to a tree, and compares what both have.
    #[test]
    fn nodes_are_as_a_tree_has_them() {
        let mut random = 1u64;
        let mut draw = move |below: u64| {
            random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (random >> 33) % below
        };
        let id = |ms: u64| StreamId::new(ms, 0);
        for mostly in 0..5 {
            let (mut nodes, mut tree) = (Nodes::default(), BTreeMap::new());
            let mut newest = 10_000;
            for step in 0..6000u64 {
                let ms = draw(newest + 100);
                match (draw(10), mostly) {
                    (0..5, 0) | (0..2, 1) | (0..8, 2) => {
                        newest += 1 + draw(3);
                        nodes.put(id(newest), Listpack::new());
                        tree.insert(id(newest), ());
                    }
                    (_, 0 | 1 | 4) => {
                        nodes.remove_first();
                        tree.pop_first();
                        if let Some(at) = nodes.place_of(id(ms)) {
                            assert_eq!(tree.remove(&nodes.get(at).0), Some(()));
                            nodes.remove(at);
                        }
                    }
                    _ => {
                        let is_new = tree.insert(id(ms), ()).is_none();
                        assert_eq!(nodes.insert(id(ms), Listpack::new()).is_ok(), is_new);
                    }
                }
                if mostly == 4 && step % 7 == 0 {
                    (0..20).for_each(|i| {
                        nodes.put(id(step * 100 + i), Listpack::new());
                        tree.insert(id(step * 100 + i), ());
                    });
                }
                let found = nodes.place_of(id(ms)).map(|at| nodes.get(at).0);
                assert_eq!(found, tree.range(..=id(ms)).next_back().map(|n| *n.0));
                if step % 50 == 0 {
                    compare(&nodes, &tree, id(ms), id(ms + draw(2000)));
                }
            }
        }
    }

    fn compare(nodes: &Nodes, tree: &BTreeMap<StreamId, ()>, from: StreamId, to: StreamId) {
        assert_eq!(nodes.len(), tree.len());
        assert!(nodes.iter().map(|n| n.0).eq(tree.keys().copied()));
        assert!(nodes.iter().rev().map(|n| n.0).eq(tree.keys().rev().copied()));
        let start = tree.range(..=from).next_back().map_or(from, |n| *n.0);
        let expected: Vec<_> = tree.range(start..=to).map(|n| *n.0).collect();
        assert!(nodes.range(from, to).map(|n| n.0).eq(expected.iter().copied()));
        assert!(nodes.range(from, to).rev().map(|n| n.0).eq(expected.iter().rev().copied()));
        // From both ends at once.
        let (mut both, mut seen) = (nodes.iter(), Vec::new());
        while let Some(n) = both.next() {
            seen.push(n.0);
            seen.extend(both.next_back().map(|n| n.0));
        }
        seen.sort_unstable();
        assert!(seen.iter().eq(tree.keys()));
        // What is removed in the middle does not move nodes of other pieces.
        let before = nodes.before.iter();
        assert!(before
            .chain([&nodes.last])
            .all(|p| p.len() <= 2 * PIECE && p.capacity() <= 8 * PIECE));
        assert!(nodes.before.iter().all(|p| !p.is_empty()));
    }
}
