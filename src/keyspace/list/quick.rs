//! The node list of a big list: a deque of listpacks and single big elements, kept within a node limit.
//!
//! Where nodes are split, filled and merged follows Redis' quicklist, because the number of nodes decides when a
//! list returns to the `listpack` encoding, which clients can see.
use std::collections::VecDeque;

use super::super::listpack::{Listpack, LpItem, LpPos};
use super::super::number::parse_i64;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// `list-max-listpack-size`: -1 to -5 limit a node to 4, 8, 16, 32 or 64 KB, a positive number limits its entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fill(pub i32);

impl Default for Fill {
    fn default() -> Fill {
        Fill(-2)
    }
}

/// A node limited by its count must not pass this size either.
const SIZE_SAFETY_LIMIT: usize = 8192;

/// `DEBUG QUICKLIST-PACKED-THRESHOLD`: elements of this size get nodes of their own; 0 for the usual rule.
pub static PACKED_THRESHOLD: AtomicUsize = AtomicUsize::new(0);

/// Assumed bytes of a listpack entry beyond its text.
const ENTRY_OVERHEAD: usize = 8;

/// Bytes that two listpacks share when merged: one header and one terminator.
const MERGE_SAVES: usize = 7;

impl Fill {
    /// The size and the number of entries that a node may have.
    pub fn limits(self) -> (usize, usize) {
        match self.0 {
            n if n >= 0 => (usize::MAX, n.max(1) as usize),
            n => (4096 << (n.unsigned_abs().min(5) - 1), usize::MAX),
        }
    }

    /// Whether a node of this size and count would be too big.
    pub fn exceeds(self, bytes: usize, count: usize) -> bool {
        let (max_bytes, max_count) = self.limits();
        if self.0 < 0 {
            bytes > max_bytes
        } else {
            bytes > SIZE_SAFETY_LIMIT || count > max_count
        }
    }

    /// Whether an element of this size gets a node of its own.
    pub fn is_large(self, len: usize) -> bool {
        match PACKED_THRESHOLD.load(Relaxed) {
            0 => {}
            threshold => return len >= threshold,
        }
        len > if self.0 < 0 { self.limits().0 } else { SIZE_SAFETY_LIMIT }
    }
}

/// One node of a list.
#[derive(Clone)]
pub enum Node {
    /// Elements in a listpack.
    Packed(Listpack),
    /// One element too big for a listpack.
    Plain(Box<[u8]>),
}

impl Node {
    fn packed(value: &[u8]) -> Node {
        let mut lp = Listpack::new();
        lp.push_back(value);
        Node::Packed(lp)
    }

    fn for_value(value: &[u8], fill: Fill) -> Node {
        if fill.is_large(value.len()) {
            Node::Plain(value.into())
        } else {
            Node::packed(value)
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Node::Packed(lp) => lp.len(),
            Node::Plain(_) => 1,
        }
    }

    pub(super) fn is_plain(&self) -> bool {
        matches!(self, Node::Plain(_))
    }

    /// The node as RDB sees it.
    pub fn as_node_ref(&self) -> NodeRef<'_> {
        match self {
            Node::Packed(lp) => NodeRef::Packed(lp),
            Node::Plain(value) => NodeRef::Plain(value),
        }
    }

    /// The listpack to add an element of `len` bytes to, if it may still grow by that.
    fn room_for(&mut self, len: usize, fill: Fill) -> Option<&mut Listpack> {
        match self {
            Node::Packed(lp)
                if !fill.is_large(len)
                    && !fill.exceeds(lp.byte_len() + len + ENTRY_OVERHEAD, lp.len() + 1) =>
            {
                Some(lp)
            }
            _ => None,
        }
    }
}

/// A borrowed node, see [`super::List::nodes`].
#[derive(Clone, Copy)]
pub enum NodeRef<'a> {
    /// Elements in a listpack.
    Packed(&'a Listpack),
    /// One big element.
    Plain(&'a [u8]),
}

impl<'a> NodeRef<'a> {
    pub(super) fn seek(self, index: usize) -> Option<ElementPos> {
        match self {
            NodeRef::Packed(lp) => seek(lp, index).map(ElementPos::Packed),
            NodeRef::Plain(_) => (index == 0).then_some(ElementPos::Plain),
        }
    }

    pub(super) fn edge(self, last: bool) -> Option<ElementPos> {
        match self {
            NodeRef::Packed(lp) if last => lp.last().map(ElementPos::Packed),
            NodeRef::Packed(lp) => lp.first().map(ElementPos::Packed),
            NodeRef::Plain(_) => Some(ElementPos::Plain),
        }
    }

    pub(super) fn step(self, pos: ElementPos, back: bool) -> Option<ElementPos> {
        match (self, pos) {
            (NodeRef::Packed(lp), ElementPos::Packed(p)) if back => {
                lp.prev(p).map(ElementPos::Packed)
            }
            (NodeRef::Packed(lp), ElementPos::Packed(p)) => lp.next(p).map(ElementPos::Packed),
            _ => None,
        }
    }

    pub(super) fn get(self, pos: ElementPos) -> LpItem<'a> {
        match (self, pos) {
            (NodeRef::Packed(lp), ElementPos::Packed(p)) => lp.get(p),
            (NodeRef::Plain(value), _) => LpItem::Str(value),
            (NodeRef::Packed(_), ElementPos::Plain) => LpItem::Str(&[]),
        }
    }
}

/// The element at an index from the front.
pub(super) fn seek(lp: &Listpack, index: usize) -> Option<LpPos> {
    lp.seek(i64::try_from(index).ok()?)
}

/// A value to look for, with its number if it has one, so that elements are compared without conversions.
#[derive(Clone, Copy)]
pub(super) struct Needle<'a> {
    text: &'a [u8],
    number: Option<i64>,
}

impl<'a> Needle<'a> {
    pub fn new(text: &'a [u8]) -> Needle<'a> {
        Needle { text, number: parse_i64(text) }
    }

    pub fn matches(self, item: LpItem<'_>) -> bool {
        match item {
            LpItem::Str(text) => text == self.text,
            LpItem::Int(value) => self.number == Some(value),
        }
    }
}

/// Place of an element inside its node.
#[derive(Clone, Copy)]
pub(super) enum ElementPos {
    Packed(LpPos),
    Plain,
}

/// The nodes of a list and the number of its elements.
#[derive(Clone, Default)]
pub(super) struct Quick {
    pub nodes: VecDeque<Node>,
    pub len: usize,
    /// Limit of a node: what the directive said when the list was made, as on Redis.
    pub fill: Option<Fill>,
}

impl Quick {
    pub fn push(&mut self, value: &[u8], front: bool, fill: Fill) {
        let fill = *self.fill.get_or_insert(fill);
        let edge = if front { self.nodes.front_mut() } else { self.nodes.back_mut() };
        match edge.and_then(|n| n.room_for(value.len(), fill)) {
            Some(lp) if front => lp.push_front(value),
            Some(lp) => lp.push_back(value),
            None if front => self.nodes.push_front(Node::for_value(value, fill)),
            None => self.nodes.push_back(Node::for_value(value, fill)),
        }
        self.len += 1;
    }

    pub fn push_node(&mut self, node: Node) {
        if node.len() > 0 {
            self.len += node.len();
            self.nodes.push_back(node);
        }
    }

    /// Node and offset in it of an element; counted from the nearer end.
    pub fn locate(&self, index: usize) -> Option<(usize, usize)> {
        if index >= self.len {
            return None;
        }
        if index <= self.len / 2 {
            let mut left = index;
            for (at, node) in self.nodes.iter().enumerate() {
                let count = node.len();
                if left < count {
                    return Some((at, left));
                }
                left -= count;
            }
        } else {
            let mut left = self.len - index;
            for (at, node) in self.nodes.iter().enumerate().rev() {
                let count = node.len();
                if left <= count {
                    return Some((at, count - left));
                }
                left -= count;
            }
        }
        None
    }

    /// Adds `value` beside the element at `(at, offset)`.
    pub fn insert(&mut self, at: usize, offset: usize, value: &[u8], after: bool, fill: Fill) {
        let fill = *self.fill.get_or_insert(fill);
        self.len += 1;
        let len = value.len();
        if let Some(lp) = self.nodes[at].room_for(len, fill) {
            if let Some(pos) = seek(lp, offset) {
                if after {
                    lp.insert_after(pos, value);
                } else {
                    lp.insert_before(pos, value);
                }
            }
            return;
        }
        let at_edge = if after { offset + 1 == self.nodes[at].len() } else { offset == 0 };
        if !at_edge {
            // The half without the pivot takes the new element, big ones go between the halves.
            let tail = self.split(at, if after { offset + 1 } else { offset });
            self.nodes.insert(at + 1, tail);
            let half = if after { at + 1 } else { at };
            if fill.is_large(len) {
                self.nodes.insert(at + 1, Node::Plain(value.into()));
                return;
            }
            if let Node::Packed(lp) = &mut self.nodes[half] {
                if after {
                    lp.push_front(value);
                } else {
                    lp.push_back(value);
                }
            }
            self.merge_around(if after { at } else { at + 1 }, fill);
            return;
        }
        let neighbour = if after { Some(at + 1) } else { at.checked_sub(1) };
        let neighbour = neighbour.and_then(|n| self.nodes.get_mut(n));
        match neighbour.and_then(|n| n.room_for(len, fill)) {
            Some(lp) if after => lp.push_front(value),
            Some(lp) => lp.push_back(value),
            None => {
                let place = if after { at + 1 } else { at };
                self.nodes.insert(place, Node::for_value(value, fill));
            }
        }
    }

    /// Replaces the element at `(at, offset)`.
    pub fn replace(&mut self, at: usize, offset: usize, value: &[u8], fill: Fill) {
        let fill = *self.fill.get_or_insert(fill);
        let large = fill.is_large(value.len());
        match &mut self.nodes[at] {
            Node::Packed(lp) if !large => {
                if let Some(pos) = seek(lp, offset) {
                    lp.replace(pos, value);
                }
            }
            Node::Plain(old) if large => *old = value.into(),
            Node::Plain(_) => {
                self.insert(at, 0, value, true, fill);
                self.nodes.remove(at);
                self.len -= 1;
            }
            Node::Packed(lp) => {
                let count = lp.len();
                if offset + 1 < count {
                    let tail = self.split(at, offset + 1);
                    self.nodes.insert(at + 1, tail);
                }
                self.nodes.insert(at + 1, Node::Plain(value.into()));
                if self.nodes[at].len() == 1 {
                    self.nodes.remove(at);
                } else {
                    if let Node::Packed(lp) = &mut self.nodes[at] {
                        lp.remove_range(offset as i64, 1);
                    }
                    self.merge_around(at + 1, fill);
                }
            }
        }
    }

    /// Takes out `count` elements from `start` on.
    pub fn delete_range(&mut self, start: usize, count: usize) {
        let Some((at, mut offset)) = self.locate(start) else { return };
        let mut left = count.min(self.len - start);
        self.len -= left;
        let mut keep = at;
        let mut first_gone = None;
        let mut gone = 0;
        while left > 0 {
            let have = self.nodes[keep].len();
            let del = left.min(have - offset);
            left -= del;
            if del == have {
                first_gone.get_or_insert(keep);
                gone += 1;
            } else if let Node::Packed(lp) = &mut self.nodes[keep] {
                lp.remove_range(offset as i64, del);
            }
            offset = 0;
            keep += 1;
        }
        if let Some(first) = first_gone {
            self.nodes.drain(first..first + gone);
        }
    }

    pub fn pop(&mut self, front: bool) -> Option<Vec<u8>> {
        let at = if front { 0 } else { self.nodes.len().checked_sub(1)? };
        let node = self.nodes.get_mut(at)?;
        let value;
        let empty = match node {
            Node::Plain(bytes) => {
                value = std::mem::take(bytes).into_vec();
                true
            }
            Node::Packed(lp) => {
                let pos = if front { lp.first() } else { lp.last() }?;
                value = lp.get(pos).to_vec();
                lp.remove(pos);
                lp.is_empty()
            }
        };
        if empty {
            self.nodes.remove(at);
        }
        self.len -= 1;
        Some(value)
    }

    /// Deletes up to `max` elements that match, from the end if `back`. Returns how many.
    pub fn remove(&mut self, needle: Needle<'_>, max: usize, back: bool) -> usize {
        let mut removed = 0;
        let mut at = if back { self.nodes.len() } else { 0 };
        while removed < max {
            if back {
                if at == 0 {
                    break;
                }
                at -= 1;
            } else if at >= self.nodes.len() {
                break;
            }
            let empty = match &mut self.nodes[at] {
                Node::Plain(bytes) => {
                    let hit = needle.matches(LpItem::Str(bytes));
                    removed += usize::from(hit);
                    hit
                }
                Node::Packed(lp) => {
                    removed += remove_in(lp, needle, max - removed, back);
                    lp.is_empty()
                }
            };
            if empty {
                self.nodes.remove(at);
            } else if !back {
                at += 1;
            }
        }
        self.len -= removed;
        removed
    }

    /// Splits a packed node: it keeps its first `keep` elements, the rest is returned.
    fn split(&mut self, at: usize, keep: usize) -> Node {
        match &mut self.nodes[at] {
            Node::Packed(lp) => {
                let mut tail = lp.clone();
                tail.remove_range(0, keep);
                lp.remove_range(keep as i64, usize::MAX);
                Node::Packed(tail)
            }
            // A plain node has one element: callers never have to split it.
            Node::Plain(_) => Node::Packed(Listpack::new()),
        }
    }

    /// Tries to merge the nodes around `center`: the two before it, the two after it, then it with both sides.
    fn merge_around(&mut self, mut center: usize, fill: Fill) {
        if center >= 2 && self.merge(center - 2, fill) {
            center -= 1;
        }
        self.merge(center + 1, fill);
        if center >= 1 && self.merge(center - 1, fill) {
            center -= 1;
        }
        self.merge(center, fill);
    }

    /// Merges node `at` with the next one if the limit allows it.
    fn merge(&mut self, at: usize, fill: Fill) -> bool {
        let (Some(Node::Packed(a)), Some(Node::Packed(b))) =
            (self.nodes.get(at), self.nodes.get(at + 1))
        else {
            return false;
        };
        if fill.exceeds(a.byte_len() + b.byte_len() - MERGE_SAVES, a.len() + b.len()) {
            return false;
        }
        let right = self.nodes.remove(at + 1);
        if let (Some(Node::Packed(b)), Some(Node::Packed(a))) = (right, self.nodes.get_mut(at)) {
            a.append(&b);
        }
        true
    }
}

/// Deletes up to `max` elements that match from a listpack, from its end if `back`.
pub(super) fn remove_in(lp: &mut Listpack, needle: Needle<'_>, max: usize, back: bool) -> usize {
    let mut removed = 0;
    let mut next = if back { lp.last() } else { lp.first() };
    while let Some(pos) = next {
        if removed == max {
            break;
        }
        let hit = needle.matches(lp.get(pos));
        next = match (back, hit) {
            (true, _) => lp.prev(pos),
            (false, true) => Some(pos),
            (false, false) => lp.next(pos),
        };
        if hit {
            removed += 1;
            let after = lp.remove(pos);
            if !back {
                next = after;
            }
        }
    }
    removed
}
