//! Streams: entries in listpack nodes, and consumer groups.
pub mod group;
mod id;
mod node;
mod nodes;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

pub use self::group::{Consumer, Group, PelEntry};
pub use self::id::StreamId;
use self::node::{Head, Raw};
use self::nodes::Nodes;
use super::listpack::{Listpack, LpItem, LpPos};

/// Total text of one entry, and size of a node, beyond which nothing is appended.
const MAX_NODE_BYTES: usize = 1 << 30;

/// `stream-node-max-bytes` and `stream-node-max-entries`; 0 means no limit.
#[derive(Clone, Copy, Debug)]
pub struct NodeLimits {
    /// Size at which a new node is begun.
    pub max_bytes: usize,
    /// Number of entries, deleted ones included, at which a new node is begun.
    pub max_entries: usize,
}

impl Default for NodeLimits {
    fn default() -> NodeLimits {
        NodeLimits { max_bytes: 4096, max_entries: 100 }
    }
}

/// Why an entry was not appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppendError {
    /// The id is not greater than the stream's last id.
    IdNotGreater,
    /// The entry's texts are too long.
    TooBig,
}

/// Why a node was refused by [`Stream::insert_node`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeError {
    /// There is a node with this master id.
    Duplicate,
    /// The listpack has no entries' shape.
    Malformed,
}

/// What [`Stream::trim`] leaves.
#[derive(Clone, Copy, Debug)]
pub enum TrimTo {
    /// At most this many entries.
    MaxLen(u64),
    /// No entry with a smaller id.
    MinId(StreamId),
}

/// A stream value.
#[derive(Clone, Debug, Default)]
pub struct Stream {
    nodes: Nodes,
    groups: BTreeMap<Box<[u8]>, Group>,
    /// Where the last node's ends, and its place among the nodes, were after the last addition.
    tail_hint: [usize; 3],
    length: u64,
    first_id: StreamId,
    /// Greatest id ever given (`XSETID` may raise it).
    pub last_id: StreamId,
    /// Greatest id that was deleted by `XDEL`.
    pub max_deleted_entry_id: StreamId,
    /// Number of entries ever added.
    pub entries_added: u64,
}

impl Stream {
    /// An empty stream.
    pub fn new() -> Stream {
        Stream::default()
    }

    /// Has the processor fetch what an addition will touch.
    pub fn prefetch(&self) {
        self.tail_hint.into_iter().for_each(super::table::prefetch);
    }

    /// Number of entries (`XLEN`).
    pub fn len(&self) -> u64 {
        self.length
    }

    /// True without entries.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Id of the first entry, `0-0` without one.
    pub fn first_id(&self) -> StreamId {
        self.first_id
    }

    /// The id for `XADD *` at this time; `None` when ids are used up.
    pub fn next_id(&self, now_ms: u64) -> Option<StreamId> {
        if now_ms > self.last_id.ms {
            Some(StreamId::new(now_ms, 0))
        } else {
            self.last_id.next()
        }
    }

    /// The id for `XADD ms-*`; `None` when the millisecond's sequence numbers are used up. May be too small still.
    pub fn next_id_in(&self, ms: u64) -> Option<StreamId> {
        if ms == self.last_id.ms {
            self.last_id.seq.checked_add(1).map(|seq| StreamId { ms, seq })
        } else {
            Some(StreamId::new(ms, 0))
        }
    }

    /// Appends an entry (`XADD`); `fields` alternates names and values.
    pub fn append<B: AsRef<[u8]>>(
        &mut self,
        id: StreamId,
        fields: &[B],
        limits: NodeLimits,
    ) -> Result<(), AppendError> {
        if id <= self.last_id {
            return Err(AppendError::IdNotGreater);
        }
        let bytes: usize = fields.iter().map(|f| f.as_ref().len()).sum();
        if bytes > MAX_NODE_BYTES {
            return Err(AppendError::TooBig);
        }
        let written = match self.nodes.last_mut() {
            Some(tail) if has_room(&tail.1, bytes, limits) => {
                let (master, lp) = tail;
                let written = node::append(lp, *master, id, fields);
                let [first, last] = lp.ends();
                self.tail_hint = [first, last, std::ptr::from_ref(tail).addr()];
                written
            }
            _ => {
                let mut lp = node::new_node(fields);
                let written = node::append(&mut lp, id, id, fields);
                self.nodes.put(id, lp);
                written
            }
        };
        debug_assert!(written.is_some(), "nodes are validated when they come in");
        self.length += 1;
        // A payload of RESTORE may have brought any number.
        self.entries_added = self.entries_added.wrapping_add(1);
        self.last_id = id;
        if self.length == 1 {
            self.first_id = id;
        }
        Ok(())
    }

    /// Deletes an entry (`XDEL`), with its effects on the first and on the greatest deleted id.
    pub fn delete(&mut self, id: StreamId) -> bool {
        let Some(at) = self.nodes.place_of(id) else { return false };
        let (master, lp) = self.nodes.get_mut(at);
        let master = *master;
        let Some(head) = node::head(lp) else { return false };
        let Some(raw) = find(lp, master, &head, id) else { return false };
        if head.count <= 1 {
            self.nodes.remove(at);
        } else {
            node::mark_deleted(lp, &raw);
            node::set_counts(lp, head.count - 1, head.deleted + 1);
        }
        self.length -= 1;
        self.max_deleted_entry_id = self.max_deleted_entry_id.max(id);
        if id == self.first_id || self.length == 0 {
            self.refresh_first_id();
        }
        true
    }

    /// Deletes entries from the start (`XTRIM`, `XADD ... MAXLEN`); how many. `approx` drops whole nodes only;
    /// `limit` (0: none) bounds the number.
    pub fn trim(&mut self, to: TrimTo, approx: bool, limit: u64) -> u64 {
        let mut deleted = 0;
        while let Some((master, lp)) = self.nodes.first_mut() {
            let master = *master;
            let Some(head) = node::head(lp) else { break };
            let count = head.count as u64;
            let whole = match to {
                TrimTo::MaxLen(max) if self.length <= max => break,
                TrimTo::MaxLen(max) => self.length.saturating_sub(count) >= max,
                TrimTo::MinId(min) => node::last_id(lp, master).is_some_and(|last| last < min),
            };
            if limit > 0 && deleted + count > limit {
                break;
            }
            if whole {
                self.nodes.remove_first();
                self.length = self.length.saturating_sub(count);
                deleted += count;
                continue;
            }
            if !approx {
                let most = match to {
                    TrimTo::MaxLen(max) => self.length - max,
                    TrimTo::MinId(_) => u64::MAX,
                };
                let end = if let TrimTo::MinId(min) = to { min } else { StreamId::MAX };
                let gone = trim_node(lp, master, &head, most, end);
                self.length = self.length.saturating_sub(gone);
                deleted += gone;
            }
            break;
        }
        if deleted > 0 || self.length == 0 {
            self.refresh_first_id();
        }
        deleted
    }

    /// Finds the first id again (after loading a format that does not store it).
    pub fn refresh_first_id(&mut self) {
        self.first_id = self.iter().next().map_or(StreamId::MIN, |entry| entry.id);
    }

    /// All entries in order.
    pub fn iter(&self) -> Range<'_> {
        self.range(StreamId::MIN, StreamId::MAX, false)
    }

    /// Entries from `start` to `end`, both included, ascending or (`back`) descending (`XRANGE`, `XREVRANGE`).
    pub fn range(&self, start: StreamId, end: StreamId, back: bool) -> Range<'_> {
        let nodes = match start <= end {
            true => self.nodes.range(start, end),
            false => Default::default(),
        };
        Range { nodes, current: None, start, end, back }
    }

    /// The entry with this id.
    pub fn get(&self, id: StreamId) -> Option<Entry<'_>> {
        let (master, lp) = self.nodes.get(self.nodes.place_of(id)?);
        let head = node::head(lp)?;
        Some(Entry::new(lp, &head, &find(lp, *master, &head, id)?))
    }

    /// Whether there is an entry with this id.
    pub fn contains(&self, id: StreamId) -> bool {
        self.get(id).is_some()
    }

    /// The first entry.
    pub fn first(&self) -> Option<Entry<'_>> {
        self.iter().next()
    }

    /// The last entry that is not deleted.
    pub fn last(&self) -> Option<Entry<'_>> {
        self.range(StreamId::MIN, StreamId::MAX, true).next()
    }

    /// Nodes in order with their master ids: what RDB stores.
    pub fn nodes(&self) -> impl ExactSizeIterator<Item = (StreamId, &Listpack)> {
        nodes::All::of(&self.nodes).map(|(id, lp)| (*id, lp))
    }

    /// Adds a node from a file after checking its shape. Counters are the loader's, see [`Stream::set_loaded`].
    pub fn insert_node(&mut self, master: StreamId, lp: Listpack) -> Result<(), NodeError> {
        if !node::is_valid(&lp) {
            return Err(NodeError::Malformed);
        }
        self.nodes.insert(master, lp)
    }

    /// Sets the length and first id that a file states.
    pub fn set_loaded(&mut self, length: u64, first_id: StreamId) {
        self.length = length;
        self.first_id = first_id;
    }

    /// Creates a group; false when there is one of that name (`XGROUP CREATE`).
    pub fn create_group(
        &mut self,
        name: &[u8],
        last_id: StreamId,
        entries_read: Option<i64>,
    ) -> bool {
        if self.groups.contains_key(name) {
            return false;
        }
        self.groups.insert(name.into(), Group::new(last_id, entries_read));
        true
    }

    /// Removes a group (`XGROUP DESTROY`).
    pub fn destroy_group(&mut self, name: &[u8]) -> bool {
        self.groups.remove(name).is_some()
    }

    /// A group by name.
    pub fn group(&self, name: &[u8]) -> Option<&Group> {
        self.groups.get(name)
    }

    /// A group by name, to change it.
    pub fn group_mut(&mut self, name: &[u8]) -> Option<&mut Group> {
        self.groups.get_mut(name)
    }

    /// All groups, ordered by name.
    pub fn groups(&self) -> impl ExactSizeIterator<Item = (&[u8], &Group)> {
        self.groups.iter().map(|(name, group)| (&**name, group))
    }

    /// Notes that `XREADGROUP` delivers `id`: when it is new to the group, its last id and read counter advance.
    /// True if they did.
    pub fn advance_group(&mut self, name: &[u8], id: StreamId) -> bool {
        let Some(group) = self.groups.get(name).filter(|g| id > g.last_id) else { return false };
        let entries_read = match group.entries_read {
            Some(n) if !self.has_deleted_between(id, StreamId::MAX) => Some(n.wrapping_add(1)),
            _ if self.entries_added > 0 => self.estimate_entries_read(id),
            unknown => unknown,
        };
        if let Some(group) = self.groups.get_mut(name) {
            group.last_id = id;
            group.entries_read = entries_read;
        }
        true
    }

    /// Whether an id between `start` and `end` is known to have been deleted.
    pub fn has_deleted_between(&self, start: StreamId, end: StreamId) -> bool {
        let deleted = self.max_deleted_entry_id;
        self.length > 0
            && !deleted.is_zero()
            && self.first_id <= deleted
            && (start..=end).contains(&deleted)
    }

    /// How many entries were ever added up to `id`, where that can be known.
    pub fn estimate_entries_read(&self, id: StreamId) -> Option<i64> {
        let added = self.entries_added as i64;
        if self.entries_added == 0 {
            return Some(0);
        }
        if id == self.last_id || (self.length == 0 && id < self.last_id) {
            return Some(added);
        }
        if id > self.last_id {
            return None;
        }
        let deleted = self.max_deleted_entry_id;
        if !deleted.is_zero() && deleted >= self.first_id {
            return None;
        }
        match id.cmp(&self.first_id) {
            std::cmp::Ordering::Less => Some(added.wrapping_sub(self.length as i64)),
            std::cmp::Ordering::Equal => Some(added.wrapping_sub(self.length as i64 - 1)),
            std::cmp::Ordering::Greater => None,
        }
    }

    /// Number of entries that a group has still to read, where it can be known (`lag` of `XINFO`).
    pub fn group_lag(&self, group: &Group) -> Option<i64> {
        if self.entries_added == 0 {
            return Some(0);
        }
        let read = match group.entries_read {
            Some(n) if !self.has_deleted_between(group.last_id, StreamId::MAX) => n,
            _ => self.estimate_entries_read(group.last_id)?,
        };
        Some((self.entries_added as i64).wrapping_sub(read))
    }

    /// Estimated bytes of the stream.
    pub fn mem_bytes(&self) -> usize {
        use std::mem::size_of;
        let per_node = size_of::<(StreamId, Listpack)>();
        let nodes: usize = self.nodes.iter().map(|(_, lp)| per_node + lp.mem_bytes()).sum();
        let groups: usize =
            self.groups.iter().map(|(name, group)| 16 + name.len() + group.mem_bytes()).sum();
        size_of::<Stream>() + nodes + groups
    }
}

fn has_room(lp: &Listpack, bytes: usize, limits: NodeLimits) -> bool {
    let max_bytes = match limits.max_bytes {
        0 => MAX_NODE_BYTES,
        n => n.min(MAX_NODE_BYTES),
    };
    let Some(entries) = node::entries(lp) else { return false };
    lp.byte_len() + bytes < max_bytes && (limits.max_entries == 0 || entries < limits.max_entries)
}

/// The entry with this id in a node, unless it is deleted.
fn find(lp: &Listpack, master: StreamId, head: &Head, id: StreamId) -> Option<Raw> {
    let mut next = lp.next(head.terminator);
    while let Some(flags_at) = next {
        let raw = node::entry(lp, master, head, flags_at)?;
        if raw.id >= id && !raw.is_deleted() {
            return (raw.id == id).then_some(raw);
        }
        next = lp.next(node::back_length_at(lp, &raw)?);
    }
    None
}

/// Marks up to `most` entries before `end` as deleted, from the node's start; how many.
fn trim_node(lp: &mut Listpack, master: StreamId, head: &Head, most: u64, end: StreamId) -> u64 {
    let mut gone = 0;
    let mut next = lp.next(head.terminator);
    while let Some(flags_at) = next {
        let Some(raw) = node::entry(lp, master, head, flags_at) else { break };
        if gone == most || raw.id >= end {
            break;
        }
        if !raw.is_deleted() {
            node::mark_deleted(lp, &raw);
            gone += 1;
        }
        // The flags' place is still good; what follows may have moved, so it is read again.
        next = node::entry(lp, master, head, flags_at)
            .and_then(|raw| node::back_length_at(lp, &raw))
            .and_then(|back_at| lp.next(back_at));
    }
    node::set_counts(lp, head.count - gone as i64, head.deleted + gone as i64);
    gone
}

/// Iterator over entries, see [`Stream::range`].
#[derive(Clone)]
pub struct Range<'a> {
    nodes: nodes::Iter<'a>,
    current: Option<Cursor<'a>>,
    start: StreamId,
    end: StreamId,
    back: bool,
}

/// A place in a node: forwards the flags of the next entry, backwards its back length.
#[derive(Clone, Copy)]
struct Cursor<'a> {
    lp: &'a Listpack,
    master: StreamId,
    head: Head,
    at: LpPos,
}

impl<'a> Range<'a> {
    fn open_node(&mut self) -> Option<Cursor<'a>> {
        loop {
            let node = if self.back { self.nodes.next_back() } else { self.nodes.next() };
            let (master, lp) = node?;
            let Some(head) = node::head(lp) else { continue };
            let at = if self.back { lp.last() } else { lp.next(head.terminator) };
            if let Some(at) = at {
                return Some(Cursor { lp, master: *master, head, at });
            }
        }
    }

    /// The entry at the cursor and the place of the following one.
    fn step(cursor: &Cursor<'a>, back: bool) -> Option<(Raw, Option<LpPos>)> {
        let lp = cursor.lp;
        let flags_at = if back { node::flags_before(lp, cursor.at)? } else { cursor.at };
        let raw = node::entry(lp, cursor.master, &cursor.head, flags_at)?;
        let next = if back { lp.prev(flags_at) } else { lp.next(node::back_length_at(lp, &raw)?) };
        Some((raw, next))
    }
}

impl<'a> Iterator for Range<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        loop {
            let cursor = match self.current.take() {
                Some(cursor) => cursor,
                None => self.open_node()?,
            };
            // No entry at the cursor: the master entry was reached backwards.
            let Some((raw, next)) = Range::step(&cursor, self.back) else { continue };
            self.current = next.map(|at| Cursor { at, ..cursor });
            if raw.is_deleted() {
                continue;
            }
            let (ahead, beyond) = if self.back {
                (raw.id > self.end, raw.id < self.start)
            } else {
                (raw.id < self.start, raw.id > self.end)
            };
            if beyond {
                self.current = None;
                self.nodes = Default::default();
                return None;
            }
            if !ahead {
                return Some(Entry::new(cursor.lp, &cursor.head, &raw));
            }
        }
    }
}

/// An entry of a stream.
#[derive(Clone, Copy)]
pub struct Entry<'a> {
    /// The entry's id.
    pub id: StreamId,
    lp: &'a Listpack,
    fields: usize,
    /// The first name in the master entry, when the names are there.
    names: Option<LpPos>,
    body: LpPos,
}

impl<'a> Entry<'a> {
    fn new(lp: &'a Listpack, head: &Head, raw: &Raw) -> Entry<'a> {
        let names = if raw.has_names() { None } else { Some(head.names) };
        Entry { id: raw.id, lp, fields: raw.fields, names, body: raw.body }
    }

    /// Number of fields.
    pub fn field_count(&self) -> usize {
        self.fields
    }

    /// Names and values in order.
    pub fn fields(&self) -> Fields<'a> {
        Fields { lp: self.lp, left: self.fields, names: self.names, at: Some(self.body) }
    }
}

/// Iterator over the names and values of an entry.
#[derive(Clone)]
pub struct Fields<'a> {
    lp: &'a Listpack,
    left: usize,
    names: Option<LpPos>,
    at: Option<LpPos>,
}

impl<'a> Iterator for Fields<'a> {
    type Item = (LpItem<'a>, LpItem<'a>);

    fn next(&mut self) -> Option<(LpItem<'a>, LpItem<'a>)> {
        self.left = self.left.checked_sub(1)?;
        let name_at = match self.names {
            Some(at) => {
                self.names = self.lp.next(at);
                at
            }
            None => {
                let at = self.at?;
                self.at = self.lp.next(at);
                at
            }
        };
        let value_at = self.at?;
        self.at = self.lp.next(value_at);
        Some((self.lp.get(name_at), self.lp.get(value_at)))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Fields<'_> {}
