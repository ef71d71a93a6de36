//! Listpack: a list of small strings and integers in one allocation, in Redis' own byte format, so that
//! DUMP, RDB and module serialisation copy it as it is.
//!
//! ```text
//! total bytes (u32 LE) | elements (u16 LE, 65535 = count them) | entry ... | 0xff
//! entry = encoding and data | length of that, reversed varint (to walk backwards)
//! ```
//! In memory it is one block of exactly these bytes but for the last, which says nothing that the total does not. One to
//! which elements were prepended is *late*: its elements stand at the end of what is allocated ([`LATE`]).
mod batch;
mod cursor;
mod item;
#[cfg(test)]
mod tests;

pub use batch::Batch;
pub use cursor::{Cursor, LpIter, LpPos, LpPositions};
pub use item::LpItem;

use super::block::Block;
use super::number::parse_i64;
use item::{back_len_size, decode, read_back_len, write_back_len, Encoded, MAX_BACK};

const HEADER: usize = 6;
const END: u8 = 0xff;
/// In the header: more elements than the field can hold.
const UNCOUNTED: u16 = u16::MAX;
/// No listpack grows beyond this, so that the total never nears its 32 bits.
const MAX_BYTES: usize = 1 << 30;
/// In the total, which never needs this bit: between the header and the elements there is a gap, as long as what the
/// allocation has to spare. Prepending another element then moves nothing.
const LATE: u32 = 1 << 31;

/// Bytes that are not a listpack (`RESTORE`: "Bad data format").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CorruptListpack;

impl std::fmt::Display for CorruptListpack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("corrupt listpack")
    }
}

impl std::error::Error for CorruptListpack {}

/// See the module's description.
#[repr(transparent)]
pub struct Listpack {
    block: Block,
}

impl Drop for Listpack {
    fn drop(&mut self) {
        let len = self.stored();
        // SAFETY: layout: a listpack's block has the length that its header tells.
        unsafe { self.block.free(len) };
    }
}

impl Clone for Listpack {
    fn clone(&self) -> Listpack {
        let mut copy = Listpack { block: Block::new(self.buf()) };
        copy.set_header(self.stored(), usize::from(self.stored_count()));
        copy
    }
}

impl PartialEq for Listpack {
    fn eq(&self, other: &Listpack) -> bool {
        self.stored_count() == other.stored_count() && self.buf()[HEADER..] == other.buf()[HEADER..]
    }
}

impl Eq for Listpack {}

impl Default for Listpack {
    fn default() -> Self {
        Listpack::new()
    }
}

impl Listpack {
    /// An empty listpack.
    pub fn new() -> Listpack {
        Listpack { block: Block::new(&[HEADER as u8 + 1, 0, 0, 0, 0, 0]) }
    }

    /// Bytes in memory, all but the terminator, and whether the elements are late.
    #[inline]
    fn form(&self) -> (usize, bool) {
        // SAFETY: layout: there is always a header.
        let total = u32::from_le_bytes(unsafe { self.block.head() });
        ((total & !LATE) as usize - 1, total & LATE != 0)
    }

    /// Bytes in memory: all but the terminator.
    #[inline]
    fn stored(&self) -> usize {
        self.form().0
    }

    /// Where [`Listpack::buf`] begins in the block, and its length.
    #[inline]
    fn extent(&self) -> (usize, usize) {
        match self.form() {
            (len, false) => (0, len),
            (len, true) => (Block::spare(len), len),
        }
    }

    /// The bytes that the format has; of a late listpack, the header's place has something else.
    #[inline]
    fn buf(&self) -> &[u8] {
        let (at, len) = self.extent();
        // SAFETY: layout: the header tells what the block has.
        unsafe { self.block.bytes_at(at, len) }
    }

    /// Makes a late listpack an ordinary one.
    fn settle(&mut self) {
        if let (len, true) = self.form() {
            // SAFETY: layout: the header says that there is a gap.
            unsafe { self.block.close_gap(len, HEADER) };
            self.set_header(len, usize::from(self.stored_count()));
        }
    }

    /// Changes the length in memory and in the header; the bytes of the new length, zero where they are new.
    fn set_len(&mut self, len: usize) -> &mut [u8] {
        self.settle();
        let before = self.stored();
        // SAFETY: layout: the block has the length that the header tells, which is never less than the header.
        let buf = unsafe {
            self.block.resize(before, len);
            self.block.bytes_mut(len)
        };
        buf[..4].copy_from_slice(&(len as u32 + 1).to_le_bytes());
        buf
    }

    fn buf_mut(&mut self) -> &mut [u8] {
        let (at, len) = self.extent();
        // SAFETY: layout: the header tells what the block has.
        unsafe { self.block.bytes_at_mut(at, len) }
    }

    /// Takes over bytes in listpack format after checking every entry.
    pub fn from_bytes(buf: Vec<u8>) -> Result<Listpack, CorruptListpack> {
        let total = buf.len();
        let header = buf.get(..HEADER).ok_or(CorruptListpack)?;
        let stated = u32::from_le_bytes(header[..4].try_into().expect("four bytes")) as usize;
        let count = u16::from_le_bytes(header[4..].try_into().expect("two bytes"));
        if stated != total || total <= HEADER || total >= LATE as usize || buf[total - 1] != END {
            return Err(CorruptListpack);
        }
        let mut at = HEADER;
        let mut found = 0usize;
        while buf[at] != END {
            let (_, len) = decode(&buf, at).ok_or(CorruptListpack)?;
            let next = at + len + back_len_size(len);
            if next >= total || read_back_len(&buf, next) != Some(len) {
                return Err(CorruptListpack);
            }
            at = next;
            found += 1;
        }
        if at != total - 1 || count != UNCOUNTED && usize::from(count) != found {
            return Err(CorruptListpack);
        }
        Ok(Listpack { block: Block::new(&buf[..total - 1]) })
    }

    /// The serialised form.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.byte_len());
        bytes.extend_from_slice(&header(self.byte_len() as u32, self.stored_count()));
        bytes.extend_from_slice(&self.buf()[HEADER..]);
        bytes.push(END);
        bytes
    }

    /// Length of the serialised form.
    pub fn byte_len(&self) -> usize {
        self.stored() + 1
    }

    /// Memory held on the heap.
    pub fn mem_bytes(&self) -> usize {
        Block::allocated(self.stored())
    }

    /// The addresses of its header and of where the next element was likely to be written, for
    /// [`super::table::prefetch`]: behind the last one, or before the first one if elements are prepended.
    pub fn ends(&self) -> [usize; 2] {
        let (at, len) = self.extent();
        let bytes = self.buf().as_ptr().addr();
        [bytes - at, bytes + if at == 0 { len - 1 } else { 0 }]
    }

    /// Whether `add` more bytes keep the listpack below its safe size (1 GiB).
    pub fn would_fit(&self, add: usize) -> bool {
        self.byte_len().saturating_add(add) <= MAX_BYTES
    }

    /// Number of elements. Constant time below 65535 elements.
    #[inline]
    pub fn len(&self) -> usize {
        match self.stored_count() {
            UNCOUNTED => self.positions().count(),
            count => usize::from(count),
        }
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.stored() == HEADER
    }

    fn stored_count(&self) -> u16 {
        // SAFETY: layout: there is always a header.
        let head: [u8; HEADER] = unsafe { self.block.head() };
        u16::from_le_bytes([head[4], head[5]])
    }

    fn end(&self) -> usize {
        self.stored()
    }

    #[inline]
    fn entry(&self, at: usize) -> (LpItem<'_>, usize) {
        decode(self.buf(), at).expect("the position of an entry")
    }

    /// Offset behind the entry at `at`.
    #[inline]
    fn skip(&self, at: usize) -> usize {
        let mut cursor = Cursor { buf: self.buf(), at };
        cursor.skip().expect("the position of an entry");
        cursor.at
    }

    /// Reads elements beginning with the first.
    #[inline]
    pub fn cursor(&self) -> Cursor<'_> {
        Cursor { buf: self.buf(), at: HEADER }
    }

    /// Reads elements beginning with the one at `pos`.
    #[inline]
    pub fn cursor_at(&self, pos: LpPos) -> Cursor<'_> {
        Cursor { buf: self.buf(), at: pos.offset() }
    }

    fn position(&self, at: usize) -> Option<LpPos> {
        (at < self.end()).then(|| LpPos::at(at))
    }

    /// The first element.
    pub fn first(&self) -> Option<LpPos> {
        self.position(HEADER)
    }

    /// The last element.
    pub fn last(&self) -> Option<LpPos> {
        self.before(self.end())
    }

    /// The element behind `pos`.
    pub fn next(&self, pos: LpPos) -> Option<LpPos> {
        self.position(self.skip(pos.offset()))
    }

    /// The element before `pos`.
    pub fn prev(&self, pos: LpPos) -> Option<LpPos> {
        self.before(pos.offset())
    }

    fn before(&self, at: usize) -> Option<LpPos> {
        if at == HEADER {
            return None;
        }
        let len = read_back_len(self.buf(), at).expect("an entry's back length");
        Some(LpPos::at(at - len - back_len_size(len)))
    }

    /// The element at `index`; negative ones count from the end, -1 being the last.
    pub fn seek(&self, index: i64) -> Option<LpPos> {
        let count = self.stored_count();
        let mut index = index;
        if count != UNCOUNTED {
            let count = i64::from(count);
            if index >= count || index < -count {
                return None;
            }
            // Walk from the nearer end.
            if index >= 0 && index > count / 2 {
                index -= count;
            } else if index < 0 && -index > count / 2 {
                index += count;
            }
        }
        if index >= 0 {
            (0..index).try_fold(self.first()?, |pos, _| self.next(pos))
        } else {
            (index + 1..0).try_fold(self.last()?, |pos, _| self.prev(pos))
        }
    }

    /// The integer at a position, whether stored as one or as its text.
    #[inline]
    pub fn int(&self, pos: LpPos) -> Option<i64> {
        match self.buf()[pos.offset()] {
            small @ 0..=0x7f => Some(i64::from(small)),
            _ => self.get(pos).as_i64(),
        }
    }

    /// The element at a position.
    pub fn get(&self, pos: LpPos) -> LpItem<'_> {
        self.entry(pos.offset()).0
    }

    /// The element at an index as in [`Listpack::seek`].
    pub fn get_index(&self, index: i64) -> Option<LpItem<'_>> {
        self.seek(index).map(|pos| self.get(pos))
    }

    /// The first element equal to `needle`, looking at one and passing over `skip`, in turn.
    pub fn find(&self, needle: &[u8], skip: usize) -> Option<LpPos> {
        self.find_from(self.first()?, needle, skip)
    }

    /// [`Listpack::find`], beginning with the element at `from`.
    pub fn find_from(&self, from: LpPos, needle: &[u8], skip: usize) -> Option<LpPos> {
        let number = parse_i64(needle);
        let mut at = from.offset();
        let buf = self.buf();
        let mut skipping = 0;
        while at < buf.len() {
            let (item, len) = decode(buf, at).expect("the position of an entry");
            if skipping == 0 {
                let found = match item {
                    LpItem::Str(s) => s == needle,
                    LpItem::Int(value) => number == Some(value),
                };
                if found {
                    return Some(LpPos::at(at));
                }
                skipping = skip;
            } else {
                skipping -= 1;
            }
            at += len + back_len_size(len);
        }
        None
    }

    /// Appends an element; text that is a canonical integer is stored as one.
    pub fn push_back<'a>(&mut self, item: impl Into<LpItem<'a>>) {
        self.splice(self.end(), 0, 0, &Encoded::of(item.into()));
    }

    /// Appends several elements at once.
    pub fn extend(&mut self, items: &Batch) {
        self.settle();
        let count = match self.stored_count() {
            UNCOUNTED => usize::from(UNCOUNTED),
            stored => usize::from(stored) + items.count,
        };
        let before = self.stored();
        let after = before + items.bytes.len();
        check_len(after);
        // SAFETY: layout: the block has the length that the header tells.
        unsafe { self.block.extend(before, &items.bytes) };
        self.set_header(after, count);
    }

    /// Prepends an element.
    pub fn push_front<'a>(&mut self, item: impl Into<LpItem<'a>>) {
        self.splice_as(true, HEADER, 0, 0, &Encoded::of(item.into()));
    }

    /// Inserts an element before the one at `pos` and returns the new one's place (which is `pos`).
    pub fn insert_before<'a>(&mut self, pos: LpPos, item: impl Into<LpItem<'a>>) -> LpPos {
        self.splice(pos.offset(), 0, 0, &Encoded::of(item.into()));
        pos
    }

    /// Inserts an element behind the one at `pos` and returns the new one's place.
    pub fn insert_after<'a>(&mut self, pos: LpPos, item: impl Into<LpItem<'a>>) -> LpPos {
        let at = self.skip(pos.offset());
        self.splice(at, 0, 0, &Encoded::of(item.into()));
        LpPos::at(at)
    }

    /// Puts another element in the place of the one at `pos`; `pos` stays valid.
    pub fn replace<'a>(&mut self, pos: LpPos, item: impl Into<LpItem<'a>>) -> LpPos {
        let (at, item) = (pos.offset(), item.into());
        if let LpItem::Int(new @ 0..=127) = item {
            // A counter, nearly always.
            let byte = &mut self.buf_mut()[at];
            if *byte <= 127 {
                *byte = new as u8;
                return pos;
            }
        }
        let old = self.skip(at) - at;
        self.splice(at, old, 1, &Encoded::of(item));
        pos
    }

    /// Removes the element at `pos` and returns the one that takes its place, the next one.
    pub fn remove(&mut self, pos: LpPos) -> Option<LpPos> {
        self.remove_at(pos, 1)
    }

    /// Removes up to `count` elements beginning with the one at `pos`; returns what takes their place.
    pub fn remove_at(&mut self, pos: LpPos, count: usize) -> Option<LpPos> {
        let at = pos.offset();
        let (mut to, mut removed) = (at, 0);
        while removed < count && to < self.end() {
            to = self.skip(to);
            removed += 1;
        }
        let left = match self.stored_count() {
            UNCOUNTED => usize::from(UNCOUNTED),
            stored => usize::from(stored) - removed,
        };
        let (end, late) = self.form();
        // SAFETY: layout: the header tells what the block has; the header stays.
        unsafe {
            match late {
                true => self.block.splice_late((end, true), HEADER, at, to - at, []),
                false => self.block.splice(end, at, to - at, []),
            }
        }
        self.set_form(end - (to - at), late, left);
        self.position(at)
    }

    /// Removes up to `count` elements from `index` (as in [`Listpack::seek`]) and returns how many there were.
    pub fn remove_range(&mut self, index: i64, count: usize) -> usize {
        let Some(pos) = self.seek(index) else { return 0 };
        let before = self.len();
        self.remove_at(pos, count);
        before - self.len()
    }

    /// Cuts off the elements from `pos` on and returns them.
    pub fn split_off(&mut self, pos: LpPos) -> Listpack {
        let at = pos.offset();
        let mut tail = Listpack::new();
        let more = &self.buf()[at..];
        tail.set_len(HEADER + more.len())[HEADER..].copy_from_slice(more);
        tail.set_count(usize::from(UNCOUNTED));
        let moved = tail.positions().count();
        tail.set_count(moved);
        let left = self.len() - moved;
        self.set_len(at);
        self.set_count(left);
        tail
    }

    /// Appends all elements of `other`.
    pub fn append(&mut self, other: &Listpack) {
        let count = self.len() + other.len();
        let end = self.end();
        let more = &other.buf()[HEADER..];
        check_len(end + more.len());
        self.set_len(end + more.len())[end..].copy_from_slice(more);
        self.set_count(count);
    }

    /// The elements from first to last.
    pub fn iter(&self) -> LpIter<'_> {
        LpIter { positions: self.positions() }
    }

    /// The elements from `pos` to the last.
    pub fn iter_from(&self, pos: LpPos) -> LpIter<'_> {
        LpIter { positions: self.positions_from(pos) }
    }

    /// The elements with their places.
    pub fn positions(&self) -> LpPositions<'_> {
        LpPositions { lp: self, at: HEADER }
    }

    /// The elements from `pos` to the last, with their places.
    pub fn positions_from(&self, pos: LpPos) -> LpPositions<'_> {
        LpPositions { lp: self, at: pos.offset() }
    }

    /// Replaces `old` bytes at `at`, which are `old_count` elements, by one element.
    fn splice(&mut self, at: usize, old: usize, old_count: usize, new: &Encoded<'_>) {
        if at == self.end() {
            self.settle();
        }
        let (_, late) = self.form();
        self.splice_as(late, at, old, old_count, new);
    }

    /// [`Listpack::splice`], with the form that comes of it; what is late stays so.
    #[inline]
    fn splice_as(
        &mut self,
        late: bool,
        at: usize,
        old: usize,
        old_count: usize,
        new: &Encoded<'_>,
    ) {
        let size = new.len() + back_len_size(new.len());
        if size == old && old_count == 1 {
            new.write(&mut self.buf_mut()[at..at + size]);
            return;
        }
        let count = match self.stored_count() {
            UNCOUNTED => usize::from(UNCOUNTED),
            stored => usize::from(stored) + 1 - old_count,
        };
        let (before, was_late) = self.form();
        let after = before - old + size;
        check_len(after);
        assert!(at >= HEADER && at + old <= before, "a place in the listpack");
        let mut back = [0; MAX_BACK];
        let back = &mut back[..size - new.len()];
        write_back_len(back, new.len());
        let parts = [&new.prefix[..new.prefix_len], new.tail, back];
        // SAFETY: layout: the header tells what the block has, and the place was looked at above.
        unsafe {
            match late {
                true => self.block.splice_late((before, was_late), HEADER, at, old, parts),
                false => self.block.splice(before, at, old, parts),
            }
        }
        self.set_form(after, late, count);
    }

    /// Says in the header what there is: `len` bytes in memory, not late, and so many elements.
    fn set_header(&mut self, len: usize, count: usize) {
        self.set_form(len, false, count);
    }

    /// Says in the header what there is.
    #[inline]
    fn set_form(&mut self, len: usize, late: bool, count: usize) {
        let total = (len as u32 + 1) | if late { LATE } else { 0 };
        let bytes = header(total, u16::try_from(count).unwrap_or(UNCOUNTED));
        // SAFETY: layout: there is always a header.
        unsafe { self.block.bytes_mut(HEADER) }.copy_from_slice(&bytes);
    }

    fn set_count(&mut self, count: usize) {
        let (len, late) = self.form();
        self.set_form(len, late, count);
    }
}

/// The bytes of a header.
#[inline]
fn header(total: u32, count: u16) -> [u8; HEADER] {
    let mut bytes = [0; HEADER];
    bytes[..4].copy_from_slice(&total.to_le_bytes());
    bytes[4..].copy_from_slice(&count.to_le_bytes());
    bytes
}

fn check_len(len: usize) {
    assert!(len < LATE as usize - 1, "listpack too large");
}

impl std::fmt::Debug for Listpack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<'a> FromIterator<LpItem<'a>> for Listpack {
    fn from_iter<T: IntoIterator<Item = LpItem<'a>>>(items: T) -> Self {
        let mut lp = Listpack::new();
        items.into_iter().for_each(|item| lp.push_back(item));
        lp
    }
}

impl<'a> IntoIterator for &'a Listpack {
    type Item = LpItem<'a>;
    type IntoIter = LpIter<'a>;
    fn into_iter(self) -> LpIter<'a> {
        self.iter()
    }
}
