//! The listpack format of a stream node, as Redis keeps it in memory and in RDB files.
//!
//! A node begins with the master entry: `count, deleted, n, name 1 .. name n, 0`. Each entry follows as
//! `flags, ms - master ms, seq - master seq`, then either (flag "same fields") the values of the master's names, or
//! the number of fields and name, value, name, value ...; then the number of listpack items before it in the entry,
//! by which one walks backwards. A deleted entry stays, with a flag.
use super::super::listpack::{Batch, Listpack, LpPos};
use super::StreamId;

const DELETED: i64 = 1;
const SAME_FIELDS: i64 = 2;

/// The master entry's facts.
#[derive(Clone, Copy)]
pub(super) struct Head {
    /// Entries that are not deleted.
    pub count: i64,
    /// Entries that are.
    pub deleted: i64,
    /// Number of names.
    pub fields: usize,
    /// The first name, or the terminator without names.
    pub names: LpPos,
    /// The zero that ends the master entry.
    pub terminator: LpPos,
}

/// A decoded entry.
#[derive(Clone, Copy)]
pub(super) struct Raw {
    pub flags_at: LpPos,
    flags: i64,
    pub id: StreamId,
    pub fields: usize,
    /// The first name or value, or the back length of an entry without fields.
    pub body: LpPos,
}

impl Raw {
    pub fn is_deleted(&self) -> bool {
        self.flags & DELETED != 0
    }

    pub fn has_names(&self) -> bool {
        self.flags & SAME_FIELDS == 0
    }
}

fn skip(lp: &Listpack, pos: LpPos, n: usize) -> Option<LpPos> {
    let mut at = lp.cursor_at(pos);
    for _ in 0..n {
        at.skip()?;
    }
    at.place()
}

/// How many entries there are, those included that are deleted.
pub(super) fn entries(lp: &Listpack) -> Option<usize> {
    let mut at = lp.cursor();
    Some(at.int()?.saturating_add(at.int()?) as usize)
}

/// Reads the master entry.
pub(super) fn head(lp: &Listpack) -> Option<Head> {
    let mut at = lp.cursor();
    let (count, deleted) = (at.int()?, at.int()?);
    let fields = usize::try_from(at.int()?).ok()?;
    let names = at.place()?;
    for _ in 0..fields {
        at.skip()?;
    }
    Some(Head { count, deleted, fields, names, terminator: at.place()? })
}

/// Reads the entry whose flags are at `flags_at`.
pub(super) fn entry(lp: &Listpack, master: StreamId, head: &Head, flags_at: LpPos) -> Option<Raw> {
    let mut at = lp.cursor_at(flags_at);
    let (flags, ms, seq) = (at.int()?, at.int()?, at.int()?);
    let mut fields = head.fields;
    if flags & SAME_FIELDS == 0 {
        fields = usize::try_from(at.int()?).ok()?;
    }
    let id = StreamId {
        ms: master.ms.wrapping_add(ms as u64),
        seq: master.seq.wrapping_add(seq as u64),
    };
    Some(Raw { flags_at, flags, id, fields, body: at.place()? })
}

/// The place of the entry's back length.
pub(super) fn back_length_at(lp: &Listpack, raw: &Raw) -> Option<LpPos> {
    skip(lp, raw.body, if raw.has_names() { raw.fields.checked_mul(2)? } else { raw.fields })
}

/// The flags of the entry whose back length is at `pos`; `None` at the master's terminator.
pub(super) fn flags_before(lp: &Listpack, pos: LpPos) -> Option<LpPos> {
    let back = lp.int(pos)?;
    if back <= 0 {
        return None;
    }
    let mut at = pos;
    for _ in 0..back {
        at = lp.prev(at)?;
    }
    Some(at)
}

/// The id of the last entry of a node, deleted or not.
pub(super) fn last_id(lp: &Listpack, master: StreamId) -> Option<StreamId> {
    let head = head(lp)?;
    let flags_at = flags_before(lp, lp.last()?)?;
    entry(lp, master, &head, flags_at).map(|raw| raw.id)
}

/// A new node for a first entry with these names (every second of `fields`).
pub(super) fn new_node<B: AsRef<[u8]>>(fields: &[B]) -> Listpack {
    let (mut lp, mut items) = (Listpack::new(), Batch::default());
    for n in [0, 0, fields.len() as i64 / 2] {
        items.int(n);
    }
    fields.iter().step_by(2).for_each(|name| items.text(name.as_ref()));
    items.int(0);
    lp.extend(&items);
    lp
}

/// Appends an entry, whose names and values alternate in `fields`, and counts it.
pub(super) fn append<B: AsRef<[u8]>>(
    lp: &mut Listpack,
    master: StreamId,
    id: StreamId,
    fields: &[B],
) -> Option<()> {
    let head = head(lp)?;
    let same = same_names(lp, &head, fields);
    let n = fields.len() as i64 / 2;
    set_count(lp, head.count + 1);
    let mut items = Batch::default();
    items.int(if same { SAME_FIELDS } else { 0 });
    items.int(id.ms.wrapping_sub(master.ms) as i64);
    items.int(id.seq.wrapping_sub(master.seq) as i64);
    if same {
        fields.iter().skip(1).step_by(2).for_each(|value| items.text(value.as_ref()));
        items.int(3 + n);
    } else {
        items.int(n);
        fields.iter().for_each(|text| items.text(text.as_ref()));
        items.int(4 + 2 * n);
    }
    lp.extend(&items);
    Some(())
}

fn same_names<B: AsRef<[u8]>>(lp: &Listpack, head: &Head, fields: &[B]) -> bool {
    if head.fields != fields.len() / 2 {
        return false;
    }
    let mut at = lp.cursor_at(head.names);
    let mut names = fields.iter().step_by(2);
    names.all(|name| at.item().is_some_and(|item| item.eq_bytes(name.as_ref())))
}

/// Flags an entry as deleted; the counts are the caller's. Places behind it are no longer valid.
pub(super) fn mark_deleted(lp: &mut Listpack, raw: &Raw) {
    lp.replace(raw.flags_at, raw.flags | DELETED);
}

fn set_count(lp: &mut Listpack, count: i64) {
    if let Some(first) = lp.first() {
        lp.replace(first, count);
    }
}

/// Writes both counts. Places are no longer valid.
pub(super) fn set_counts(lp: &mut Listpack, count: i64, deleted: i64) {
    set_count(lp, count);
    if let Some(second) = lp.first().and_then(|first| lp.next(first)) {
        lp.replace(second, deleted);
    }
}

/// Whether a listpack has the shape of a stream node throughout (RDB load, `RESTORE`).
pub(super) fn is_valid(lp: &Listpack) -> bool {
    walk(lp).is_some()
}

fn walk(lp: &Listpack) -> Option<()> {
    let head = head(lp)?;
    if head.count < 0 || head.deleted < 0 || lp.int(head.terminator)? != 0 {
        return None;
    }
    let mut next = lp.next(head.terminator);
    for _ in 0..head.count.checked_add(head.deleted)? {
        let raw = entry(lp, StreamId::MIN, &head, next?)?;
        let back_at = back_length_at(lp, &raw)?;
        let items = if raw.has_names() { 4 + 2 * raw.fields } else { 3 + raw.fields };
        if lp.int(back_at)? != items as i64 {
            return None;
        }
        next = lp.next(back_at);
    }
    next.is_none().then_some(())
}
