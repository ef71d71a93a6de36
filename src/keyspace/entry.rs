//! An entry: one allocation with a key and either its small string value or a pointer to its larger value.
//!
//! Layout: 8 bytes of header; 8 bytes of value, unless that is an embedded string; 8 bytes of expiry, if the key is
//! volatile; the key; the embedded string. The value is an integer, the word of a list, set, hash or sorted set, or a pointer
//! to a box. A small string costs one allocation and one slot of the table, a small collection one allocation more;
//! see `docs/ARCHITECTURE.md` for the sizes measured.
use super::defrag::{relocate, Moves};
use super::hash::Hash;
use super::list::List;
use super::set::Set;
use super::stream::Stream;
use super::table::FetchAhead;
use super::value::{Kind, ModuleValue, StrRef, StringValue, Value, ValueMut, ValueRef};
use super::zset::SortedSet;
use std::alloc::{alloc, dealloc, handle_alloc_error, Layout};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// Strings up to this length live in their entry.
pub const EMBED_MAX: usize = 192;
/// Unless the key is longer than this: its length has 24 bits then.
const EMBED_KEY_MAX: usize = 0xff_ffff;
/// `OBJECT ENCODING` says `embstr` up to this length, as Redis does.
const EMBSTR_MAX: usize = 44;

const TAG_INT: u32 = 0;
const TAG_EMBEDDED: u32 = 1;
const TAG_HEAP: u32 = 2;
const TAG_LIST: u32 = 3;
const TAG_SET: u32 = 4;
const TAG_HASH: u32 = 5;
const TAG_ZSET: u32 = 6;
const TAG_STREAM: u32 = 7;
const TAG_MODULE: u32 = 8;
const TAG_MASK: u32 = 0xf;
const VOLATILE: u32 = 0x10;
const MARK: u32 = 0x20;
const CLOCK_SHIFT: u32 = 8;

#[repr(C)]
struct Header {
    /// Bits 0-3: tag; 4: volatile; 5: the mark of snapshots; 8-31: access clock (LRU seconds or LFU counter), written by
    /// any reader.
    meta: AtomicU32,
    /// The key's length; with an embedded string that has eight bits, its own length below it.
    lens: u32,
}

const EMBEDDED_BITS: u32 = 8;
const EMBEDDED_MASK: u32 = (1 << EMBEDDED_BITS) - 1;
const _: () = assert!(EMBED_MAX <= EMBEDDED_MASK as usize);
const _: () = assert!(size_of::<Hash>() == 8 && size_of::<Set>() == 8);
const _: () = assert!(size_of::<SortedSet>() == 8 && size_of::<List>() == 8);

const HEADER: usize = std::mem::size_of::<Header>();

/// A thin handle to an entry. The shard's table owns it; copies are valid as long as the owner's rule says (latch taken
/// or key held).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Entry(NonNull<Header>);

// SAFETY: lock: what is behind the pointer is only reached under the shard's latch or with the key held.
unsafe impl Send for Entry {}
// SAFETY: lock: as above.
unsafe impl Sync for Entry {}

impl Entry {
    fn header(&self) -> &Header {
        // SAFETY: lock: the handle is used only while its owner's rule keeps the entry alive.
        unsafe { self.0.as_ref() }
    }

    fn tag(&self) -> u32 {
        self.header().meta.load(Relaxed) & TAG_MASK
    }

    fn base(&self) -> *mut u8 {
        self.0.as_ptr().cast()
    }

    fn is_volatile(&self) -> bool {
        self.header().meta.load(Relaxed) & VOLATILE != 0
    }

    /// Where the expiry stands, if there is one, else the key.
    fn behind_value(tag: u32) -> usize {
        HEADER + if tag == TAG_EMBEDDED { 0 } else { 8 }
    }

    #[inline]
    fn key_offset(&self) -> usize {
        let meta = self.header().meta.load(Relaxed);
        Self::behind_value(meta & TAG_MASK) + if meta & VOLATILE != 0 { 8 } else { 0 }
    }

    #[inline]
    fn key_len(&self) -> usize {
        let lens = self.header().lens;
        (if self.tag() == TAG_EMBEDDED { lens >> EMBEDDED_BITS } else { lens }) as usize
    }

    /// Length of the embedded string, 0 without one.
    #[inline]
    fn embedded_len(&self) -> usize {
        match self.tag() {
            TAG_EMBEDDED => (self.header().lens & EMBEDDED_MASK) as usize,
            _ => 0,
        }
    }

    /// The place of the value that is not an embedded string.
    fn payload_at(&self) -> *mut u64 {
        debug_assert!(self.tag() != TAG_EMBEDDED);
        // SAFETY: layout: such entries have eight bytes behind the header.
        unsafe { self.base().add(HEADER).cast() }
    }

    fn payload(&self) -> u64 {
        // SAFETY: layout: as above, written by `build`.
        unsafe { self.payload_at().read() }
    }

    fn layout(tag: u32, volatile: bool, key_len: usize, embedded: usize) -> Layout {
        let size = Self::behind_value(tag) + if volatile { 8 } else { 0 } + key_len + embedded;
        Layout::from_size_align(size, 8).expect("an entry fits in memory")
    }

    fn own_layout(&self) -> Layout {
        Self::layout(self.tag(), self.is_volatile(), self.key_len(), self.embedded_len())
    }

    /// Makes an entry. `tail` is the embedded string; `payload` is any other value.
    fn build(
        key: &[u8],
        expire: Option<i64>,
        clock: u32,
        tag: u32,
        payload: u64,
        tail: &[u8],
    ) -> Entry {
        let layout = Self::layout(tag, expire.is_some(), key.len(), tail.len());
        // SAFETY: layout: the size is at least the header's, so not zero.
        let Some(p) = NonNull::new(unsafe { alloc(layout) }.cast::<Header>()) else {
            handle_alloc_error(layout)
        };
        let volatile = if expire.is_some() { VOLATILE } else { 0 };
        let meta = AtomicU32::new(tag | volatile | clock << CLOCK_SHIFT);
        let lens = match tag {
            TAG_EMBEDDED => (key.len() as u32) << EMBEDDED_BITS | tail.len() as u32,
            _ => key.len() as u32,
        };
        // SAFETY: layout: fresh memory of `layout`, written once in the order header, value, expiry, key, tail.
        unsafe {
            p.write(Header { meta, lens });
            let mut at = p.as_ptr().cast::<u8>().add(HEADER);
            if tag != TAG_EMBEDDED {
                at.cast::<u64>().write(payload);
                at = at.add(8);
            }
            if let Some(ms) = expire {
                at.cast::<i64>().write(ms);
                at = at.add(8);
            }
            std::ptr::copy_nonoverlapping(key.as_ptr(), at, key.len());
            std::ptr::copy_nonoverlapping(tail.as_ptr(), at.add(key.len()), tail.len());
        }
        Entry(p)
    }

    /// A collection that is one word, as an entry's value.
    fn word<T>(value: T) -> u64 {
        const { assert!(size_of::<T>() == 8) };
        let value = std::mem::ManuallyDrop::new(value);
        // SAFETY: layout: a pointer, of which the entry becomes the owner.
        unsafe { std::mem::transmute_copy(&value) }
    }

    /// Makes an entry that owns `value`. `expire` is in Unix milliseconds.
    pub fn new(key: &[u8], value: Value, expire: Option<i64>, clock: u32) -> Entry {
        let (tag, payload) = match value {
            Value::String(StringValue::Int(i)) => (TAG_INT, i as u64),
            Value::String(StringValue::Bytes(b)) => {
                if b.len() <= EMBED_MAX && key.len() <= EMBED_KEY_MAX {
                    return Self::build(key, expire, clock, TAG_EMBEDDED, 0, &b);
                }
                (TAG_HEAP, Box::into_raw(Box::new(b)) as u64)
            }
            Value::List(b) => (TAG_LIST, Self::word(*b)),
            Value::Set(b) => (TAG_SET, Self::word(*b)),
            Value::Hash(b) => (TAG_HASH, Self::word(*b)),
            Value::Zset(b) => (TAG_ZSET, Self::word(*b)),
            Value::Stream(b) => (TAG_STREAM, Box::into_raw(b) as u64),
            Value::Module(b) => (TAG_MODULE, Box::into_raw(b) as u64),
        };
        Self::build(key, expire, clock, tag, payload, &[])
    }

    /// Makes a string entry without an intermediate allocation.
    pub fn new_string(key: &[u8], text: &[u8], expire: Option<i64>, clock: u32) -> Entry {
        if text.len() <= 20 {
            if let Some(i) = super::number::parse_i64(text) {
                return Self::build(key, expire, clock, TAG_INT, i as u64, &[]);
            }
        }
        if text.len() <= EMBED_MAX && key.len() <= EMBED_KEY_MAX {
            return Self::build(key, expire, clock, TAG_EMBEDDED, 0, text);
        }
        Self::new(key, Value::String(StringValue::Bytes(text.to_vec())), expire, clock)
    }

    /// Overwrites a string in place when the new one has the same shape. Returns false if it has not.
    pub fn overwrite_string(&mut self, text: &[u8]) -> bool {
        let tag = self.tag();
        if tag > TAG_HEAP {
            return false;
        }
        let int = if text.len() <= 20 { super::number::parse_i64(text) } else { None };
        match (tag, int) {
            // SAFETY: lock: the caller may change the entry.
            (TAG_INT, Some(i)) => unsafe { self.payload_at().write(i as u64) },
            (TAG_EMBEDDED, None) if self.embedded_len() == text.len() => {
                let at = self.key_offset() + self.key_len();
                // SAFETY: layout: the embedded string has exactly this length.
                unsafe {
                    std::ptr::copy_nonoverlapping(text.as_ptr(), self.base().add(at), text.len())
                };
            }
            _ => return false,
        }
        true
    }

    /// The key.
    #[inline]
    pub fn key(&self) -> &[u8] {
        // SAFETY: layout: `build` wrote `key_len` bytes there.
        unsafe { std::slice::from_raw_parts(self.base().add(self.key_offset()), self.key_len()) }
    }

    /// When the key expires, in Unix milliseconds.
    pub fn expire(&self) -> Option<i64> {
        if !self.is_volatile() {
            return None;
        }
        // SAFETY: layout: a volatile entry has its expiry there.
        Some(unsafe { self.expire_at().read() })
    }

    fn expire_at(&self) -> *mut i64 {
        // SAFETY: layout: `build` put the expiry there, or the key.
        unsafe { self.base().add(Self::behind_value(self.tag())).cast() }
    }

    /// True when the key is past its expiry.
    #[inline]
    pub fn is_expired(&self, now_ms: i64) -> bool {
        self.is_volatile() && self.expire().is_some_and(|at| at <= now_ms)
    }

    /// Sets or clears the expiry. The entry may move: the handle returned replaces this one in the table.
    #[must_use]
    pub fn with_expire(self, expire: Option<i64>) -> Entry {
        if let (true, Some(ms)) = (self.is_volatile(), expire) {
            // SAFETY: layout: a volatile entry has its expiry there; lock: the caller may change it.
            unsafe { self.expire_at().write(ms) };
            return self;
        }
        if !self.is_volatile() && expire.is_none() {
            return self;
        }
        let (payload, tail) = match self.tag() {
            TAG_EMBEDDED => (0, self.embedded()),
            _ => (self.payload(), &[][..]),
        };
        let new = Self::build(self.key(), expire, self.clock(), self.tag(), payload, tail)
            .marked(self.mark());
        // SAFETY: layout: the value moved to `new`; only this allocation is freed.
        unsafe { dealloc(self.base(), self.own_layout()) };
        new
    }

    /// Moves the entry, the box of its value and the text of a string to better places where that is worth it. The
    /// entry's new handle, if it moved, replaces this one in the table.
    ///
    /// # Safety
    /// lock: the caller has the latch and nobody holds the key, so that the table's is the only pointer.
    pub unsafe fn relocate(&mut self, moves: &mut Moves) -> Option<Entry> {
        if matches!(self.tag(), TAG_HEAP | TAG_LIST | TAG_STREAM | TAG_MODULE) {
            if self.tag() == TAG_HEAP {
                // SAFETY: layout: the tag says so; the text is the vector's alone, and keeps its capacity.
                unsafe {
                    let text = &mut *self.ptr::<Vec<u8>>();
                    let (len, capacity) = (text.len(), text.capacity());
                    if capacity > 0 {
                        let new = relocate(text.as_mut_ptr());
                        moves.count(new.is_some());
                        if let Some(new) = new {
                            let vec = Vec::from_raw_parts(new, len, capacity);
                            std::mem::forget(std::mem::replace(text, vec));
                        }
                    }
                }
            }
            // SAFETY: layout: a boxed value, owned by this entry; lock: this function's contract.
            unsafe {
                let new = relocate(self.ptr::<u8>());
                moves.count(new.is_some());
                if let Some(new) = new {
                    self.payload_at().write(new as u64);
                }
            }
        }
        // SAFETY: layout: the entry's own block; lock: this function's contract.
        let new = unsafe { relocate(self.0.as_ptr()) };
        moves.count(new.is_some());
        new.and_then(NonNull::new).map(Entry)
    }

    fn embedded(&self) -> &[u8] {
        let at = self.key_offset() + self.key_len();
        // SAFETY: layout: the embedded string follows the key.
        unsafe { std::slice::from_raw_parts(self.base().add(at), self.embedded_len()) }
    }

    /// The access clock: 24 bits, LRU or LFU as `maxmemory-policy` says.
    pub fn clock(&self) -> u32 {
        self.header().meta.load(Relaxed) >> CLOCK_SHIFT
    }

    /// Sets the access clock. Readers may do so at the same time; either value is right.
    #[inline]
    pub fn set_clock(&self, clock: u32) {
        let meta = &self.header().meta;
        let old = meta.load(Relaxed);
        let new = old & ((1 << CLOCK_SHIFT) - 1) | clock << CLOCK_SHIFT;
        if old != new {
            // A lost race only loses one reader's time stamp; tag bits change under the latch alone.
            let _ = meta.compare_exchange(old, new, Relaxed, Relaxed);
        }
    }

    /// The mark, which tells a snapshot what it has written; see `snapshot::walk`.
    #[inline]
    pub fn mark(&self) -> bool {
        self.header().meta.load(Relaxed) & MARK != 0
    }

    /// Sets the mark. The caller has the shard's latch; others may set the clock meanwhile.
    pub fn set_mark(&self, mark: bool) {
        let meta = &self.header().meta;
        match mark {
            true => meta.fetch_or(MARK, Relaxed),
            false => meta.fetch_and(!MARK, Relaxed),
        };
    }

    /// As [`Entry::set_mark`], for an entry that nobody else knows yet.
    #[inline]
    fn set_first_mark(&self, mark: bool) {
        let meta = &self.header().meta;
        let rest = meta.load(Relaxed) & !MARK;
        meta.store(rest | if mark { MARK } else { 0 }, Relaxed);
    }

    /// This entry, new in a shard with this mark.
    #[inline]
    #[must_use]
    pub fn marked(self, mark: bool) -> Entry {
        self.set_first_mark(mark);
        self
    }

    /// The value's type.
    pub fn kind(&self) -> Kind {
        match self.tag() {
            TAG_LIST => Kind::List,
            TAG_SET => Kind::Set,
            TAG_HASH => Kind::Hash,
            TAG_ZSET => Kind::Zset,
            TAG_STREAM => Kind::Stream,
            TAG_MODULE => Kind::Module,
            _ => Kind::String,
        }
    }

    /// What the value points to.
    fn ptr<T>(&self) -> *mut T {
        self.payload() as *mut T
    }

    /// The value, which is one word.
    fn place<T>(&self) -> *mut T {
        self.payload_at().cast()
    }

    /// The value, for as long as the caller's rule keeps the entry unchanged.
    pub fn value<'a>(&self) -> ValueRef<'a> {
        // SAFETY: layout: the tag says what the payload is; lock: the entry stays while the key is latched or held,
        // which is what bounds `'a` in `Tx`.
        unsafe {
            match self.tag() {
                TAG_INT => ValueRef::String(StrRef::Int(self.payload() as i64)),
                TAG_EMBEDDED => {
                    let e = self.embedded();
                    ValueRef::String(StrRef::Bytes(std::slice::from_raw_parts(e.as_ptr(), e.len())))
                }
                TAG_HEAP => ValueRef::String(StrRef::Bytes(&*self.ptr::<Vec<u8>>())),
                TAG_LIST => ValueRef::List(&*self.place::<List>()),
                TAG_SET => ValueRef::Set(&*self.place::<Set>()),
                TAG_HASH => ValueRef::Hash(&*self.place::<Hash>()),
                TAG_ZSET => ValueRef::Zset(&*self.place::<SortedSet>()),
                TAG_STREAM => ValueRef::Stream(&*self.ptr::<Stream>()),
                _ => ValueRef::Module(&*self.ptr::<ModuleValue>()),
            }
        }
    }

    /// The value, for changing in place.
    #[inline]
    pub fn value_mut<'a>(&mut self) -> ValueMut<'a> {
        // SAFETY: layout: as in `value`; lock: the key is latched or held for writing.
        unsafe {
            match self.tag() {
                TAG_LIST => ValueMut::List(&mut *self.place::<List>()),
                TAG_SET => ValueMut::Set(&mut *self.place::<Set>()),
                TAG_HASH => ValueMut::Hash(&mut *self.place::<Hash>()),
                TAG_ZSET => ValueMut::Zset(&mut *self.place::<SortedSet>()),
                TAG_STREAM => ValueMut::Stream(&mut *self.ptr::<Stream>()),
                TAG_MODULE => ValueMut::Module(&mut *self.ptr::<ModuleValue>()),
                _ => match self.value() {
                    ValueRef::String(s) => ValueMut::String(s),
                    _ => unreachable!("string tags hold strings"),
                },
            }
        }
    }

    /// True for a string that already lives on the heap, so that [`Entry::heap_string`] answers.
    pub fn is_heap_string(&self) -> bool {
        self.tag() == TAG_HEAP
    }

    /// The number of a string that is stored as one.
    pub fn int_mut<'a>(&mut self) -> Option<&'a mut i64> {
        // SAFETY: layout: the tag says so; lock: held for writing.
        (self.tag() == TAG_INT).then(|| unsafe { &mut *self.payload_at().cast::<i64>() })
    }

    /// The buffer of a heap string.
    pub fn heap_string<'a>(&mut self) -> Option<&'a mut Vec<u8>> {
        // SAFETY: layout: the tag says so; lock: held for writing.
        (self.tag() == TAG_HEAP).then(|| unsafe { &mut *self.ptr::<Vec<u8>>() })
    }

    /// Moves a string to the heap, where it can grow in place. The handle returned replaces this one.
    #[must_use]
    pub fn into_heap_string(self) -> Entry {
        let text = match self.value() {
            ValueRef::String(s) => s.to_cow().into_owned(),
            _ => unreachable!("called for strings only"),
        };
        if self.tag() == TAG_HEAP {
            return self;
        }
        let payload = Box::into_raw(Box::new(text)) as u64;
        let new = Self::build(self.key(), self.expire(), self.clock(), TAG_HEAP, payload, &[])
            .marked(self.mark());
        // SAFETY: layout: int and embedded strings own nothing but their entry.
        unsafe { dealloc(self.base(), self.own_layout()) };
        new
    }

    /// Has the processor fetch what the entry points to.
    #[inline]
    pub fn prefetch_value(&self) {
        if self.tag() > TAG_EMBEDDED {
            let at = self.payload() as usize;
            super::table::prefetch(at);
            super::table::prefetch(at.wrapping_add(64));
        }
    }

    /// Has the processor fetch the entry itself.
    #[inline]
    pub fn prefetch(&self) {
        let at = self.base().addr();
        super::table::prefetch(at);
        super::table::prefetch(at.wrapping_add(64));
    }

    /// Has the processor fetch what that points to.
    #[inline]
    pub fn prefetch_behind_value(&self) {
        match self.value() {
            ValueRef::Stream(stream) => stream.prefetch(),
            ValueRef::List(list) => list.prefetch(),
            ValueRef::Module(value) => value.prefetch(),
            _ => {}
        }
    }

    /// Where the value of a module is, if it can be followed: see [`super::follow`].
    #[inline]
    pub fn module_value_in_heap(&self) -> Option<usize> {
        match self.value() {
            ValueRef::Module(value) => value.in_heap(),
            _ => None,
        }
    }

    /// The table of the members, if the value is a set, hash or sorted set that has one.
    #[inline]
    pub fn member_table<'a>(&self) -> Option<&'a dyn FetchAhead> {
        match self.value() {
            ValueRef::Set(v) => v.ahead(),
            ValueRef::Hash(v) => v.ahead(),
            ValueRef::Zset(v) => v.ahead(),
            _ => None,
        }
    }

    /// What `OBJECT ENCODING` answers.
    pub fn encoding(&self) -> &'static str {
        match self.value() {
            ValueRef::String(StrRef::Int(_)) => "int",
            ValueRef::String(StrRef::Bytes(b)) => {
                if self.tag() == TAG_HEAP || b.len() > EMBSTR_MAX {
                    "raw"
                } else {
                    "embstr"
                }
            }
            ValueRef::List(v) => v.encoding(),
            ValueRef::Set(v) => v.encoding(),
            ValueRef::Hash(v) => v.encoding(),
            ValueRef::Zset(v) => v.encoding(),
            ValueRef::Stream(_) => "stream",
            ValueRef::Module(_) => "raw",
        }
    }

    /// Bytes of this entry's own allocation.
    pub fn entry_bytes(&self) -> usize {
        self.own_layout().size()
    }

    /// Frees the entry and gives its value to the caller.
    pub fn into_value(self) -> Value {
        // SAFETY: layout: the tag says what the payload points to; the entry gives its ownership up here.
        let value = unsafe {
            match self.tag() {
                TAG_INT => Value::String(StringValue::Int(self.payload() as i64)),
                TAG_EMBEDDED => Value::String(StringValue::Bytes(self.embedded().to_vec())),
                TAG_HEAP => {
                    Value::String(StringValue::Bytes(*Box::from_raw(self.ptr::<Vec<u8>>())))
                }
                TAG_LIST => Value::List(Box::new(self.place::<List>().read())),
                TAG_SET => Value::Set(Box::new(self.place::<Set>().read())),
                TAG_HASH => Value::Hash(Box::new(self.place::<Hash>().read())),
                TAG_ZSET => Value::Zset(Box::new(self.place::<SortedSet>().read())),
                TAG_STREAM => Value::Stream(Box::from_raw(self.ptr())),
                _ => Value::Module(Box::from_raw(self.ptr())),
            }
        };
        // SAFETY: layout: allocated with this layout by `build`.
        unsafe { dealloc(self.base(), self.own_layout()) };
        value
    }

    /// Frees the entry and its value. A module's value is dropped under the module lock only.
    pub fn free(self) {
        if self.tag() <= TAG_EMBEDDED {
            // SAFETY: layout: allocated with this layout by `build`; owns nothing else.
            unsafe { dealloc(self.base(), self.own_layout()) };
        } else {
            drop(self.into_value());
        }
    }
}
