//! Lists: one small listpack, or a deque of listpacks and big single elements.
mod quick;
#[cfg(test)]
mod tests;

use self::quick::{remove_in, seek, ElementPos, Needle, Quick};
pub use self::quick::{Fill, Node, NodeRef, PACKED_THRESHOLD};
use super::block::Word;
use super::listpack::{Listpack, LpItem};
use super::table::prefetch;

/// A list value.
///
/// Operations that can let it grow or shrink take the node limit ([`Fill`]) and change the encoding by Redis'
/// rules: to `quicklist` when an addition could pass the limit, back to `listpack` when one node is left with at
/// most half of it.
///
/// One word.
#[derive(Clone)]
#[repr(transparent)]
pub struct List {
    repr: Repr,
}

/// The word of a list.
#[repr(transparent)]
struct Repr(Word);

const PACKED: usize = 0;
const QUICK: usize = 1;

/// What the word is.
enum View<L, Q> {
    Packed(L),
    Quick(Q),
}

impl Repr {
    fn packed(lp: Listpack) -> Repr {
        Repr(Word::of_block(lp, PACKED))
    }

    fn quick(quick: Quick) -> Repr {
        Repr(Word::of_box(Box::new(quick), QUICK))
    }

    #[inline]
    fn view(&self) -> View<&Listpack, &Quick> {
        // SAFETY: layout: the mark tells which function above made the word.
        unsafe {
            match self.0.mark() {
                PACKED => View::Packed(self.0.block()),
                _ => View::Quick(self.0.boxed()),
            }
        }
    }

    #[inline]
    fn view_mut(&mut self) -> View<&mut Listpack, &mut Quick> {
        // SAFETY: layout: as above; the listpack is changed in place only.
        unsafe {
            match self.0.mark() {
                PACKED => View::Packed(self.0.block_mut()),
                _ => View::Quick(self.0.boxed_mut()),
            }
        }
    }

    /// Leaves the listpack: it becomes the first node.
    fn into_quick(self) -> Repr {
        let mut me = std::mem::ManuallyDrop::new(self);
        if me.0.mark() != PACKED {
            return std::mem::ManuallyDrop::into_inner(me);
        }
        let mut quick = Quick::default();
        // SAFETY: layout: the mark says that it is a listpack; the word is never dropped.
        quick.push_node(Node::Packed(unsafe { me.0.take_block() }));
        Repr::quick(quick)
    }
}

impl Clone for Repr {
    fn clone(&self) -> Repr {
        match self.view() {
            View::Packed(lp) => Repr::packed(lp.clone()),
            View::Quick(quick) => Repr::quick(quick.clone()),
        }
    }
}

impl Drop for Repr {
    fn drop(&mut self) {
        // SAFETY: layout: the mark tells what the word was made of; it is not used again.
        unsafe {
            match self.0.mark() {
                PACKED => self.0.drop_block::<Listpack>(),
                _ => self.0.drop_box::<Quick>(),
            }
        }
    }
}

impl Default for List {
    fn default() -> List {
        List::new()
    }
}

impl List {
    /// An empty list.
    pub fn new() -> List {
        List { repr: Repr::packed(Listpack::new()) }
    }

    /// An empty list for a loader: add nodes or elements, then call [`List::settle`].
    pub fn for_loading() -> List {
        List { repr: Repr::quick(Quick::default()) }
    }

    /// Has the processor fetch what an addition will touch.
    pub fn prefetch(&self) {
        let addresses = match self.repr.view() {
            View::Packed(lp) => lp.ends(),
            View::Quick(quick) => [quick.nodes.front(), quick.nodes.back()]
                .map(|node| node.map_or(0, |node| std::ptr::from_ref(node).addr())),
        };
        for at in addresses {
            prefetch(at);
        }
    }

    /// Appends a whole node (RDB load); an empty one is skipped.
    pub fn push_node(&mut self, node: Node) {
        self.quick_mut().push_node(node);
    }

    /// Chooses the encoding of a list that was just built (RDB load, `SORT ... STORE`).
    pub fn settle(&mut self, fill: Fill) {
        match self.repr.view_mut() {
            View::Packed(lp) => {
                if fill.exceeds(lp.byte_len(), lp.len()) {
                    self.quick_mut();
                }
            }
            View::Quick(quick) => {
                quick.fill = Some(fill);
                self.try_pack(fill, 1);
            }
        }
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        match self.repr.view() {
            View::Packed(lp) => lp.len(),
            View::Quick(quick) => quick.len,
        }
    }

    /// True without elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What `OBJECT ENCODING` says: `listpack` or `quicklist`.
    pub fn encoding(&self) -> &'static str {
        match self.repr.view() {
            View::Packed(_) => "listpack",
            View::Quick(_) => "quicklist",
        }
    }

    /// Estimated bytes on the heap and of the value itself.
    pub fn mem_bytes(&self) -> usize {
        let inside = match self.repr.view() {
            View::Packed(lp) => lp.mem_bytes(),
            View::Quick(quick) => {
                let nodes = quick.nodes.iter().map(|n| match n {
                    Node::Packed(lp) => lp.mem_bytes(),
                    Node::Plain(value) => value.len(),
                });
                quick.nodes.capacity() * std::mem::size_of::<Node>() + nodes.sum::<usize>()
            }
        };
        inside
    }

    /// Adds values at the head, one after the other, so that the last one becomes the first element (`LPUSH`).
    pub fn push_front<V: AsRef<[u8]>>(&mut self, values: &[V], fill: Fill) {
        self.push(values, true, fill);
    }

    /// Adds values at the tail (`RPUSH`).
    pub fn push_back<V: AsRef<[u8]>>(&mut self, values: &[V], fill: Fill) {
        self.push(values, false, fill);
    }

    fn push<V: AsRef<[u8]>>(&mut self, values: &[V], front: bool, fill: Fill) {
        self.before_growth(values.iter().map(|v| v.as_ref().len()).sum(), values.len(), fill);
        for value in values {
            let value = value.as_ref();
            match self.repr.view_mut() {
                View::Packed(lp) if front => lp.push_front(value),
                View::Packed(lp) => lp.push_back(value),
                View::Quick(quick) => quick.push(value, front, fill),
            }
        }
    }

    /// Removes the first element (`LPOP`).
    pub fn pop_front(&mut self, fill: Fill) -> Option<Vec<u8>> {
        self.pop(true, fill)
    }

    /// Removes the last element (`RPOP`).
    pub fn pop_back(&mut self, fill: Fill) -> Option<Vec<u8>> {
        self.pop(false, fill)
    }

    fn pop(&mut self, front: bool, fill: Fill) -> Option<Vec<u8>> {
        let value = self.take(front)?;
        self.after_shrinking(fill);
        Some(value)
    }

    /// Removes the first or the last element and leaves the form as it is: [`List::shrunk`] has to follow (`LMOVE`, which
    /// may push to the same list in between).
    pub fn take(&mut self, front: bool) -> Option<Vec<u8>> {
        let value = match self.repr.view_mut() {
            View::Packed(lp) => {
                let pos = if front { lp.first() } else { lp.last() }?;
                let value = lp.get(pos).to_vec();
                lp.remove(pos);
                value
            }
            View::Quick(quick) => quick.pop(front)?,
        };
        Some(value)
    }

    /// Chooses the form after elements went.
    pub fn shrunk(&mut self, fill: Fill) {
        self.after_shrinking(fill);
    }

    /// The element at an index (`LINDEX`, after resolving a negative index).
    pub fn get(&self, index: usize) -> Option<LpItem<'_>> {
        let (node, pos) = self.locate(index)?;
        Some(node.get(pos))
    }

    /// Replaces the element at an index; false when there is none (`LSET`).
    pub fn set(&mut self, index: usize, value: &[u8], fill: Fill) -> bool {
        self.before_growth(value.len(), 1, fill);
        let done = match self.repr.view_mut() {
            View::Packed(lp) => match seek(lp, index) {
                Some(pos) => {
                    lp.replace(pos, value);
                    true
                }
                None => false,
            },
            View::Quick(quick) => match quick.locate(index) {
                Some((at, offset)) => {
                    quick.replace(at, offset, value, fill);
                    true
                }
                None => false,
            },
        };
        if done {
            self.after_shrinking(fill);
        }
        done
    }

    /// Inserts before the element at an index; false when there is none.
    pub fn insert_before(&mut self, index: usize, value: &[u8], fill: Fill) -> bool {
        self.insert(index, value, false, fill)
    }

    /// Inserts after the element at an index; false when there is none.
    pub fn insert_after(&mut self, index: usize, value: &[u8], fill: Fill) -> bool {
        self.insert(index, value, true, fill)
    }

    fn insert(&mut self, index: usize, value: &[u8], after: bool, fill: Fill) -> bool {
        self.before_growth(value.len(), 1, fill);
        match self.repr.view_mut() {
            View::Packed(lp) => {
                let Some(pos) = seek(lp, index) else { return false };
                if after {
                    lp.insert_after(pos, value);
                } else {
                    lp.insert_before(pos, value);
                }
            }
            View::Quick(quick) => {
                let Some((at, offset)) = quick.locate(index) else { return false };
                quick.insert(at, offset, value, after, fill);
            }
        }
        true
    }

    /// Inserts beside the first element equal to `pivot`; false when there is none (`LINSERT`). As on Redis, the
    /// encoding may change even then.
    pub fn insert_at_pivot(&mut self, pivot: &[u8], value: &[u8], after: bool, fill: Fill) -> bool {
        self.before_growth(value.len(), 1, fill);
        let needle = Needle::new(pivot);
        match self.iter().position(|item| needle.matches(item)) {
            Some(index) => self.insert(index, value, after, fill),
            None => false,
        }
    }

    /// Deletes elements equal to `value`: the first `count` ones, the last `-count` ones, or (0) all (`LREM`).
    pub fn remove(&mut self, count: i64, value: &[u8], fill: Fill) -> usize {
        let back = count < 0;
        let max = match count {
            0 => usize::MAX,
            n => usize::try_from(n.unsigned_abs()).unwrap_or(usize::MAX),
        };
        let needle = Needle::new(value);
        let removed = match self.repr.view_mut() {
            View::Packed(lp) => remove_in(lp, needle, max, back),
            View::Quick(quick) => quick.remove(needle, max, back),
        };
        if removed > 0 {
            self.after_shrinking(fill);
        }
        removed
    }

    /// Deletes `count` elements from an index on.
    pub fn delete_range(&mut self, start: usize, count: usize, fill: Fill) {
        self.cut(start, count);
        self.after_shrinking(fill);
    }

    /// Keeps only the elements `start..end` (`LTRIM`, after resolving negative indexes).
    pub fn trim(&mut self, start: usize, end: usize, fill: Fill) {
        let len = self.len();
        let start = start.min(len);
        let end = end.clamp(start, len);
        self.cut(end, len - end);
        self.cut(0, start);
        self.after_shrinking(fill);
    }

    fn cut(&mut self, start: usize, count: usize) {
        if count == 0 || start >= self.len() {
            return;
        }
        match self.repr.view_mut() {
            View::Packed(lp) => {
                lp.remove_range(start as i64, count);
            }
            View::Quick(quick) => quick.delete_range(start, count),
        }
    }

    /// All elements from the head on.
    pub fn iter(&self) -> Iter<'_> {
        self.iter_from(0, false)
    }

    /// Elements from an index on, towards the tail or (`back`) towards the head.
    pub fn iter_from(&self, index: usize, back: bool) -> Iter<'_> {
        let (node, offset) = match self.repr.view() {
            View::Packed(_) => (0, index),
            View::Quick(quick) => quick.locate(index).unwrap_or((usize::MAX, 0)),
        };
        let pos = self.node(node).and_then(|n| n.seek(offset));
        Iter { list: self, node, pos, back }
    }

    /// Indexes of the elements equal to `value` (`LPOS`): beginning with match number `rank` (1 is the first; from
    /// the tail if negative), at most `count` of them, comparing at most `max_len` elements; 0 means no limit.
    pub fn positions(&self, value: &[u8], rank: i64, count: usize, max_len: usize) -> Vec<usize> {
        let back = rank < 0;
        let needle = Needle::new(value);
        let len = self.len();
        let limit = if max_len == 0 { usize::MAX } else { max_len };
        let want = if count == 0 { usize::MAX } else { count };
        let skip = usize::try_from(rank.unsigned_abs().saturating_sub(1)).unwrap_or(usize::MAX);
        self.iter_from(if back { len.saturating_sub(1) } else { 0 }, back)
            .take(limit)
            .enumerate()
            .filter(|(_, item)| needle.matches(*item))
            .map(|(i, _)| if back { len - 1 - i } else { i })
            .skip(skip)
            .take(want)
            .collect()
    }

    /// The nodes in order (RDB save).
    pub fn nodes(&self) -> impl Iterator<Item = NodeRef<'_>> {
        (0..self.node_count()).filter_map(|at| self.node(at))
    }

    /// Number of nodes.
    pub fn node_count(&self) -> usize {
        match self.repr.view() {
            View::Packed(_) => 1,
            View::Quick(quick) => quick.nodes.len(),
        }
    }

    fn node(&self, at: usize) -> Option<NodeRef<'_>> {
        match self.repr.view() {
            View::Packed(lp) => (at == 0).then_some(NodeRef::Packed(lp)),
            View::Quick(quick) => quick.nodes.get(at).map(Node::as_node_ref),
        }
    }

    fn locate(&self, index: usize) -> Option<(NodeRef<'_>, ElementPos)> {
        let (node, offset) = match self.repr.view() {
            View::Packed(_) => (0, index),
            View::Quick(quick) => quick.locate(index)?,
        };
        let node = self.node(node)?;
        Some((node, node.seek(offset)?))
    }

    fn quick_mut(&mut self) -> &mut Quick {
        if let View::Packed(_) = self.repr.view() {
            let repr = std::mem::replace(&mut self.repr, Repr::packed(Listpack::new()));
            self.repr = repr.into_quick();
        }
        match self.repr.view_mut() {
            View::Quick(quick) => quick,
            View::Packed(_) => unreachable!("converted above"),
        }
    }

    /// Leaves the listpack when these additions could pass the limit. Their texts are counted without overhead, as
    /// Redis does, so this must be asked once for all values of a command.
    fn before_growth(&mut self, add_bytes: usize, add_count: usize, fill: Fill) {
        if let View::Packed(lp) = self.repr.view() {
            if fill.exceeds(lp.byte_len() + add_bytes, lp.len() + add_count) {
                self.quick_mut().fill = Some(fill);
            }
        }
    }

    fn after_shrinking(&mut self, fill: Fill) {
        self.try_pack(fill, 2);
    }

    /// Back to one listpack if one node is left, within the limit divided by `divisor`.
    fn try_pack(&mut self, fill: Fill, divisor: usize) {
        let View::Quick(quick) = self.repr.view_mut() else { return };
        let (max_bytes, max_count) = fill.limits();
        if quick.nodes.len() != 1 || quick.nodes[0].is_plain() || quick.len > max_count / divisor {
            return;
        }
        if let Some(Node::Packed(lp)) = quick.nodes.front_mut() {
            if lp.byte_len() <= max_bytes / divisor {
                self.repr = Repr::packed(std::mem::take(lp));
            }
        }
    }
}

/// Iterator over elements, see [`List::iter_from`].
#[derive(Clone)]
pub struct Iter<'a> {
    list: &'a List,
    node: usize,
    pos: Option<ElementPos>,
    back: bool,
}

impl<'a> Iterator for Iter<'a> {
    type Item = LpItem<'a>;

    fn next(&mut self) -> Option<LpItem<'a>> {
        let pos = self.pos?;
        let node = self.list.node(self.node)?;
        let item = node.get(pos);
        self.pos = node.step(pos, self.back).or_else(|| {
            self.node = if self.back { self.node.checked_sub(1)? } else { self.node + 1 };
            self.list.node(self.node)?.edge(self.back)
        });
        Some(item)
    }
}
