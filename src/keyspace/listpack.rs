//! Listpack: a list of small strings and integers in one allocation, in Redis' own byte format, so that
//! DUMP, RDB and module serialisation copy it as it is.
//!
//! ```text
//! total bytes (u32 LE) | elements (u16 LE, 65535 = count them) | entry ... | 0xff
//! entry = encoding and data | length of that, reversed varint (to walk backwards)
//! ```
//! In memory it is one block of exactly these bytes but for the last, which says nothing that the total does not.
use std::borrow::Cow;
use std::cell::Cell;
use std::num::NonZeroU32;

use super::block::Block;
use super::number::{format_i64, parse_i64, write_i64, NumBuf};

const HEADER: usize = 6;
const END: u8 = 0xff;
/// In the header: more elements than the field can hold.
const UNCOUNTED: u16 = u16::MAX;
/// No listpack grows beyond this, so that the total never nears its 32 bits.
const MAX_BYTES: usize = 1 << 30;
/// Encoding byte and the longest fixed part: a 64-bit integer.
const MAX_PREFIX: usize = 9;

/// The longest back length.
const MAX_BACK: usize = 5;

/// One element: integers that Redis stores as integers, everything else as bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LpItem<'a> {
    /// A string, borrowed from where it is stored.
    Str(&'a [u8]),
    /// A canonical 64-bit integer.
    Int(i64),
}

impl<'a> LpItem<'a> {
    /// The item as a listpack stores `bytes`: an integer when it is the canonical text of one.
    pub fn parse(bytes: &'a [u8]) -> LpItem<'a> {
        match parse_i64(bytes) {
            Some(value) => LpItem::Int(value),
            None => LpItem::Str(bytes),
        }
    }

    /// The text; an integer's is written into `buf`.
    pub fn bytes<'b>(&self, buf: &'b mut NumBuf) -> &'b [u8]
    where
        'a: 'b,
    {
        match *self {
            LpItem::Str(s) => s,
            LpItem::Int(value) => {
                *buf = format_i64(value);
                buf.as_bytes()
            }
        }
    }

    /// The text as an owned string.
    pub fn to_vec(&self) -> Vec<u8> {
        match *self {
            LpItem::Str(s) => s.to_vec(),
            LpItem::Int(value) => format_i64(value).to_vec(),
        }
    }

    /// The text, borrowed where it is stored as text.
    pub fn to_cow(&self) -> Cow<'a, [u8]> {
        match *self {
            LpItem::Str(s) => Cow::Borrowed(s),
            LpItem::Int(value) => Cow::Owned(format_i64(value).to_vec()),
        }
    }

    /// Appends the text.
    pub fn write_to(&self, out: &mut Vec<u8>) {
        match *self {
            LpItem::Str(s) => out.extend_from_slice(s),
            LpItem::Int(value) => write_i64(out, value),
        }
    }

    /// Length of the text.
    pub fn text_len(&self) -> usize {
        match *self {
            LpItem::Str(s) => s.len(),
            LpItem::Int(value) => super::number::i64_text_len(value),
        }
    }

    /// The integer, whether stored as one or as its canonical text.
    pub fn as_i64(&self) -> Option<i64> {
        match *self {
            LpItem::Str(s) => parse_i64(s),
            LpItem::Int(value) => Some(value),
        }
    }

    /// Whether the text equals `bytes`.
    pub fn eq_bytes(&self, bytes: &[u8]) -> bool {
        match *self {
            LpItem::Str(s) => s == bytes,
            LpItem::Int(value) => parse_i64(bytes) == Some(value),
        }
    }
}

impl<'a> From<&'a [u8]> for LpItem<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        LpItem::parse(bytes)
    }
}

impl From<i64> for LpItem<'_> {
    fn from(value: i64) -> Self {
        LpItem::Int(value)
    }
}

/// The place of an element. Valid until the listpack changes before or at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LpPos(NonZeroU32);

impl LpPos {
    fn at(offset: usize) -> LpPos {
        // Entries begin after the header, so offsets are never zero.
        LpPos(NonZeroU32::new(offset as u32).expect("an offset behind the header"))
    }

    fn offset(self) -> usize {
        self.0.get() as usize
    }
}

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
        Listpack { block: Block::new(self.buf()) }
    }
}

impl PartialEq for Listpack {
    fn eq(&self, other: &Listpack) -> bool {
        self.buf() == other.buf()
    }
}

impl Eq for Listpack {}

/// An element's encoding: prefix bytes, then `tail` as it is.
struct Encoded<'a> {
    prefix: [u8; MAX_PREFIX],
    prefix_len: usize,
    tail: &'a [u8],
}

impl<'a> Encoded<'a> {
    fn of(item: LpItem<'a>) -> Encoded<'a> {
        let mut prefix = [0; MAX_PREFIX];
        let (prefix_len, tail): (usize, &[u8]) = match item {
            LpItem::Int(v) => (Self::int(v, &mut prefix), &[]),
            LpItem::Str(s) => {
                let len = s.len();
                let prefix_len = if len < 64 {
                    prefix[0] = 0x80 | len as u8;
                    1
                } else if len < 4096 {
                    prefix[0] = 0xe0 | (len >> 8) as u8;
                    prefix[1] = len as u8;
                    2
                } else {
                    prefix[0] = 0xf0;
                    prefix[1..5].copy_from_slice(&(len as u32).to_le_bytes());
                    5
                };
                (prefix_len, s)
            }
        };
        Encoded { prefix, prefix_len, tail }
    }

    fn int(v: i64, prefix: &mut [u8; MAX_PREFIX]) -> usize {
        let le = v.to_le_bytes();
        let (tag, width) = match v {
            0..=127 => {
                prefix[0] = v as u8;
                return 1;
            }
            -4096..=4095 => {
                prefix[0] = 0xc0 | (le[1] & 0x1f);
                prefix[1] = le[0];
                return 2;
            }
            -0x8000..=0x7fff => (0xf1, 2),
            -0x80_0000..=0x7f_ffff => (0xf2, 3),
            -0x8000_0000..=0x7fff_ffff => (0xf3, 4),
            _ => (0xf4, 8),
        };
        prefix[0] = tag;
        prefix[1..=width].copy_from_slice(&le[..width]);
        width + 1
    }

    /// Without the trailing back length.
    fn len(&self) -> usize {
        self.prefix_len + self.tail.len()
    }

    fn write(&self, out: &mut [u8]) {
        let (prefix, rest) = out.split_at_mut(self.prefix_len);
        prefix.copy_from_slice(&self.prefix[..self.prefix_len]);
        let (tail, back) = rest.split_at_mut(self.tail.len());
        tail.copy_from_slice(self.tail);
        write_back_len(back, self.len());
    }
}

/// Elements in their final form, to be appended at once by [`Listpack::extend`].
pub struct Batch {
    bytes: Vec<u8>,
    count: usize,
}

thread_local! {
    /// The buffer of a thread's last batch.
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Larger buffers are not kept.
const SPARE_SIZE: usize = 16 * 1024;

impl Default for Batch {
    fn default() -> Batch {
        Batch { bytes: SPARE.take(), count: 0 }
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        if self.bytes.capacity() <= SPARE_SIZE {
            self.bytes.clear();
            SPARE.set(std::mem::take(&mut self.bytes));
        }
    }
}

impl Batch {
    /// Adds an integer.
    #[inline]
    pub fn int(&mut self, value: i64) {
        match value {
            0..=127 => self.bytes.extend_from_slice(&[value as u8, 1]),
            -4096..=4095 => {
                let head = 0xc0 | (value >> 8) as u8 & 0x1f;
                self.bytes.extend_from_slice(&[head, value as u8, 2]);
            }
            _ => {
                let mut prefix = [0; MAX_PREFIX];
                let len = Encoded::int(value, &mut prefix);
                self.bytes.extend_from_slice(&prefix[..len]);
                self.bytes.push(len as u8);
            }
        }
        self.count += 1;
    }

    /// Adds a text; one that is a canonical integer is stored as one.
    #[inline]
    pub fn text(&mut self, text: &[u8]) {
        match LpItem::parse(text) {
            LpItem::Int(value) => self.int(value),
            LpItem::Str(text) if text.len() < 64 => {
                let len = text.len() as u8;
                self.bytes.reserve(text.len() + 2);
                self.bytes.push(0x80 | len);
                self.bytes.extend_from_slice(text);
                self.bytes.push(len + 1);
                self.count += 1;
            }
            LpItem::Str(text) => self.long_text(text),
        }
    }

    fn long_text(&mut self, text: &[u8]) {
        let new = Encoded::of(LpItem::Str(text));
        let len = new.len();
        let mut back = [0; MAX_BACK];
        let back = &mut back[..back_len_size(len)];
        write_back_len(back, len);
        self.bytes.reserve(len + back.len());
        self.bytes.extend_from_slice(&new.prefix[..new.prefix_len]);
        self.bytes.extend_from_slice(text);
        self.bytes.extend_from_slice(back);
        self.count += 1;
    }
}

/// Reads elements one behind the other; it looks at the listpack's length but once.
#[derive(Clone, Copy)]
pub struct Cursor<'a> {
    buf: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    /// The place of the element that comes next; none at the end.
    #[inline]
    pub fn place(&self) -> Option<LpPos> {
        (self.at < self.buf.len()).then(|| LpPos::at(self.at))
    }

    /// The next element, if it is an integer or the text of one.
    #[inline]
    pub fn int(&mut self) -> Option<i64> {
        let small = *self.buf.get(self.at)?;
        if small < 0x80 {
            self.at += 2;
            return Some(i64::from(small));
        }
        self.item()?.as_i64()
    }

    /// The next element.
    #[inline]
    pub fn item(&mut self) -> Option<LpItem<'a>> {
        let (item, len) = decode(self.buf, self.at)?;
        self.at += len + back_len_size(len);
        Some(item)
    }

    /// Passes over an element.
    #[inline]
    pub fn skip(&mut self) -> Option<()> {
        match *self.buf.get(self.at)? {
            0..=0x7f => self.at += 2,
            tag @ 0x80..=0xbf => self.at += 2 + usize::from(tag & 0x3f),
            0xc0..=0xdf => self.at += 3,
            _ => {
                self.item()?;
            }
        }
        Some(())
    }
}

/// How many bytes the back length of an entry of `len` bytes takes. The odd limits are the format's.
fn back_len_size(len: usize) -> usize {
    match len {
        0..=127 => 1,
        128..=16_382 => 2,
        16_383..=2_097_150 => 3,
        2_097_151..=268_435_454 => 4,
        _ => 5,
    }
}

fn write_back_len(out: &mut [u8], mut len: usize) {
    for byte in out.iter_mut().rev() {
        *byte = (len & 0x7f) as u8;
        len >>= 7;
    }
    // Read from the right: a set top bit says that more follows to the left.
    for byte in &mut out[1..] {
        *byte |= 0x80;
    }
}

/// Reads the back length whose last byte is `buf[end - 1]`.
fn read_back_len(buf: &[u8], end: usize) -> Option<usize> {
    let mut len = 0usize;
    for i in 0..5 {
        let byte = *buf.get(end.checked_sub(i + 1)?)?;
        len |= usize::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            return Some(len);
        }
    }
    None
}

/// Decodes the entry at `at`: the item and its length without the back length. None at bytes that are no entry.
#[inline]
fn decode(buf: &[u8], at: usize) -> Option<(LpItem<'_>, usize)> {
    let entry = buf.get(at..)?;
    let tag = *entry.first()?;
    let string =
        |from: usize, len: usize| entry.get(from..from + len).map(|s| (LpItem::Str(s), from + len));
    let int = |width: usize| {
        let bytes = entry.get(1..=width)?;
        let mut le = [0u8; 8];
        le[8 - width..].copy_from_slice(bytes);
        // Shifting down from the top extends the sign.
        Some((LpItem::Int(i64::from_le_bytes(le) >> (64 - 8 * width)), width + 1))
    };
    match tag {
        0..=0x7f => Some((LpItem::Int(i64::from(tag)), 1)),
        0x80..=0xbf => string(1, usize::from(tag & 0x3f)),
        0xc0..=0xdf => {
            let value = u16::from(tag & 0x1f) << 8 | u16::from(*entry.get(1)?);
            Some((LpItem::Int(i64::from((value << 3) as i16 >> 3)), 2))
        }
        0xe0..=0xef => string(2, usize::from(tag & 0x0f) << 8 | usize::from(*entry.get(1)?)),
        0xf0 => {
            let len = entry.get(1..5)?.try_into().expect("four bytes");
            string(5, u32::from_le_bytes(len) as usize)
        }
        0xf1 => int(2),
        0xf2 => int(3),
        0xf3 => int(4),
        0xf4 => int(8),
        _ => None,
    }
}

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

    /// Bytes in memory: all but the terminator.
    fn stored(&self) -> usize {
        // SAFETY: layout: there is always a header.
        u32::from_le_bytes(unsafe { self.block.head() }) as usize - 1
    }

    #[inline]
    fn buf(&self) -> &[u8] {
        // SAFETY: layout: the block has the length that the header tells.
        unsafe { self.block.bytes(self.stored()) }
    }

    /// Changes the length in memory and in the header; the bytes of the new length, zero where they are new.
    fn set_len(&mut self, len: usize) -> &mut [u8] {
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
        let len = self.stored();
        // SAFETY: layout: the block has the length that the header tells.
        unsafe { self.block.bytes_mut(len) }
    }

    /// Takes over bytes in listpack format after checking every entry.
    pub fn from_bytes(buf: Vec<u8>) -> Result<Listpack, CorruptListpack> {
        let total = buf.len();
        let header = buf.get(..HEADER).ok_or(CorruptListpack)?;
        let stated = u32::from_le_bytes(header[..4].try_into().expect("four bytes")) as usize;
        let count = u16::from_le_bytes(header[4..].try_into().expect("two bytes"));
        if stated != total || total <= HEADER || buf[total - 1] != END {
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
        bytes.extend_from_slice(self.buf());
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

    /// The addresses of its first and its last bytes, for [`super::table::prefetch`].
    pub fn ends(&self) -> [usize; 2] {
        let bytes = self.buf().as_ptr_range();
        [bytes.start.addr(), bytes.end.addr() - 1]
    }

    /// Whether `add` more bytes keep the listpack below its safe size (1 GiB).
    pub fn would_fit(&self, add: usize) -> bool {
        self.byte_len().saturating_add(add) <= MAX_BYTES
    }

    /// Number of elements. Constant time below 65535 elements.
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
        let end = self.end();
        let mut skipping = 0;
        while at < end {
            let (item, len) = self.entry(at);
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
        self.splice(HEADER, 0, 0, &Encoded::of(item.into()));
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
        let end = self.end();
        // SAFETY: layout: the block has the length that the header tells; the header stays.
        unsafe { self.block.splice(end, at, to - at, []) };
        self.set_header(end - (to - at), left);
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
        let size = new.len() + back_len_size(new.len());
        if size == old && old_count == 1 {
            new.write(&mut self.buf_mut()[at..at + size]);
            return;
        }
        let count = match self.stored_count() {
            UNCOUNTED => usize::from(UNCOUNTED),
            stored => usize::from(stored) + 1 - old_count,
        };
        let before = self.stored();
        let after = before - old + size;
        check_len(after);
        assert!(at >= HEADER && at + old <= before, "a place in the listpack");
        let mut back = [0; MAX_BACK];
        let back = &mut back[..size - new.len()];
        write_back_len(back, new.len());
        // SAFETY: layout: the block has the length that the header tells, and the place was looked at above.
        unsafe {
            self.block.splice(before, at, old, [&new.prefix[..new.prefix_len], new.tail, back]);
        }
        self.set_header(after, count);
    }

    /// Says in the header what there is: `len` bytes in memory, and so many elements.
    fn set_header(&mut self, len: usize, count: usize) {
        let mut header = [0; HEADER];
        header[..4].copy_from_slice(&(len as u32 + 1).to_le_bytes());
        let count = u16::try_from(count).unwrap_or(UNCOUNTED);
        header[4..].copy_from_slice(&count.to_le_bytes());
        // SAFETY: layout: there is always a header.
        unsafe { self.block.bytes_mut(HEADER) }.copy_from_slice(&header);
    }

    fn set_count(&mut self, count: usize) {
        let count = u16::try_from(count).unwrap_or(UNCOUNTED);
        self.buf_mut()[4..HEADER].copy_from_slice(&count.to_le_bytes());
    }
}

fn check_len(len: usize) {
    assert!(len < u32::MAX as usize, "listpack too large");
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

/// Iterator over the elements.
#[derive(Clone)]
pub struct LpIter<'a> {
    positions: LpPositions<'a>,
}

impl<'a> Iterator for LpIter<'a> {
    type Item = LpItem<'a>;
    fn next(&mut self) -> Option<LpItem<'a>> {
        self.positions.next().map(|(_, item)| item)
    }
}

/// Iterator over the elements and their places.
#[derive(Clone)]
pub struct LpPositions<'a> {
    lp: &'a Listpack,
    at: usize,
}

impl<'a> Iterator for LpPositions<'a> {
    type Item = (LpPos, LpItem<'a>);
    fn next(&mut self) -> Option<(LpPos, LpItem<'a>)> {
        let pos = self.lp.position(self.at)?;
        let (item, len) = self.lp.entry(self.at);
        self.at += len + back_len_size(len);
        Some((pos, item))
    }
}

#[cfg(test)]
mod tests;
