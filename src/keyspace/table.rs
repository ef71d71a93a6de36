//! Hash table of pointer-sized handles in cache-line buckets: the keyspace's index and the big form of hashes,
//! sets and sorted sets.
//!
//! A bucket is one cache line: a byte of flags, a one-byte fingerprint for each of nine slots, and the slots, of six bytes,
//! which is what an address has. A look-up compares the fingerprints at once and touches an entry only where one matches,
//! so it usually costs two cache misses. An item whose bucket is full goes to the next one that is not: the buckets that
//! it passed say so, and its fingerprint says that it is away from home. Buckets follow the order of the hashes, so their
//! number need not be a power of two: tables grow by a quarter or less, in steps that are the allocator's size classes, and
//! are between 71 and 89 per cent full. Hashes are not stored: an item tells its own ([`TableItem`]) when the table is
//! resized, which happens in one go.
use std::alloc::{alloc_zeroed, dealloc, handle_alloc_error, Layout};
use std::hash::Hasher;
use std::marker::PhantomData;
use std::ptr::NonNull;

/// What a [`Table`] holds: a handle (pointer) of eight bytes that can tell its key's hash.
pub trait TableItem: Copy {
    /// The hash under which the item is inserted and searched; constant while it is in a table.
    fn table_hash(&self) -> u64;
}

/// A table whose look-ups can be fetched ahead, whatever its items are.
pub trait FetchAhead {
    /// Has the processor fetch the bucket where a hash belongs.
    fn fetch_bucket(&self, hash: u64);
    /// Likewise the items that may be the one, whose bucket is on its way.
    fn fetch_items(&self, hash: u64);
}

impl<P: TableItem> FetchAhead for Table<P> {
    fn fetch_bucket(&self, hash: u64) {
        prefetch_bucket(self.hint(), hash);
    }

    fn fetch_items(&self, hash: u64) {
        self.prefetch(hash);
    }
}

/// The hash of keys, fields and members, seeded anew in each process.
#[inline]
pub fn hash_bytes(bytes: &[u8]) -> u64 {
    let shared = foldhash::SharedSeed::global_random();
    let mut hasher = foldhash::fast::FoldHasher::with_seed(0x9e37_79b9_7f4a_7c15, shared);
    hasher.write(bytes);
    hasher.finish()
}

const SLOTS: usize = 9;
/// In a bucket's first byte: an item passed this bucket on its way to a later one. Such a bucket is full.
const PASSED: u8 = 1;
/// The fingerprint of a slot without an item.
const FREE: u8 = 0;
/// In a fingerprint: the item is not in the bucket where its hash belongs.
const AWAY: u8 = 0x80;
/// Bits of a slot.
const ITEM_BITS: u32 = 48;

/// All-zero bytes are an empty bucket.
#[repr(C, align(64))]
struct Bucket<P: Copy> {
    /// Byte 0: `PASSED`; bytes 1 to 9: fingerprints; then the slots, little endian.
    bytes: [u8; 64],
    items: PhantomData<P>,
}

/// A set of slots: bit `i` stands for slot `i`.
#[derive(Clone, Copy)]
struct Slots(u32);

impl Iterator for Slots {
    type Item = usize;
    #[inline]
    fn next(&mut self) -> Option<usize> {
        let slot = self.0.trailing_zeros() as usize;
        let any = self.0 != 0;
        self.0 &= self.0.wrapping_sub(1);
        any.then_some(slot)
    }
}

const ALL: u32 = (1 << SLOTS) - 1;

impl<P: Copy> Bucket<P> {
    fn passed(&self) -> bool {
        self.bytes[0] & PASSED != 0
    }

    fn set_passed(&mut self, passed: bool) {
        self.bytes[0] = if passed { PASSED } else { 0 };
    }

    /// The slots whose fingerprints' bytes are this one.
    #[inline]
    fn matching(&self, byte: u8) -> Slots {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: layout: reads the first 16 of 64 bytes; SSE2 is a part of this architecture.
        let found = unsafe {
            use std::arch::x86_64::{
                _mm_cmpeq_epi8, _mm_loadu_si128, _mm_movemask_epi8, _mm_set1_epi8,
            };
            let head = _mm_loadu_si128(self.bytes.as_ptr().cast());
            _mm_movemask_epi8(_mm_cmpeq_epi8(head, _mm_set1_epi8(byte as i8))) as u32 >> 1
        };
        #[cfg(not(target_arch = "x86_64"))]
        let found = (0..SLOTS).fold(0, |all, i| all | u32::from(self.bytes[1 + i] == byte) << i);
        Slots(found & ALL)
    }

    fn free(&self) -> Slots {
        self.matching(FREE)
    }

    fn present(&self) -> Slots {
        Slots(!self.free().0 & ALL)
    }

    fn fingerprint(&self, slot: usize) -> u8 {
        self.bytes[1 + slot]
    }

    /// The slots whose items are away from home.
    fn away(&self) -> impl Iterator<Item = usize> + '_ {
        (0..SLOTS).filter(|slot| self.fingerprint(*slot) & AWAY != 0)
    }

    /// The word of which a slot is the upper 48 bits.
    fn word(&self, slot: usize) -> u64 {
        let at = &self.bytes[8 + 6 * slot..][..8];
        u64::from_le_bytes(at.try_into().expect("eight bytes"))
    }

    /// The item in a present slot.
    #[inline]
    fn item(&self, slot: usize) -> P {
        debug_assert!(self.fingerprint(slot) != FREE);
        let item = std::ptr::with_exposed_provenance::<u8>((self.word(slot) >> 16) as usize);
        // SAFETY: layout: `put` took it from an item, which has the size of a pointer.
        unsafe { std::mem::transmute_copy(&item) }
    }

    fn put(&mut self, slot: usize, item: P, fingerprint: u8) {
        debug_assert!(fingerprint != FREE);
        // SAFETY: layout: an item has the size of a pointer.
        let item: *const u8 = unsafe { std::mem::transmute_copy(&item) };
        let item = item.expose_provenance() as u64;
        assert!(item >> ITEM_BITS == 0, "an address of 48 bits");
        let word = self.word(slot) & 0xffff | item << 16;
        self.bytes[8 + 6 * slot..][..8].copy_from_slice(&word.to_le_bytes());
        self.bytes[1 + slot] = fingerprint;
    }

    fn clear(&mut self, slot: usize) {
        self.bytes[1 + slot] = FREE;
    }

    /// Has the processor fetch the items ahead of their use.
    fn prefetch(&self) {
        for slot in self.present() {
            prefetch((self.word(slot) >> 16) as usize);
        }
    }
}

/// Has the processor fetch the bucket where a hash belongs in a table that had this [`Table::hint`] a moment ago.
#[inline]
pub fn prefetch_bucket((base, count): (usize, usize), hash: u64) {
    let offset = home_of(hash, count) * size_of::<Bucket<usize>>();
    prefetch(base.wrapping_add(offset));
}

/// Has the processor fetch the cache line at an address, which need not be a valid one.
#[inline]
pub fn prefetch(address: usize) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: layout: a prefetch of any address is without effect on the program.
    unsafe {
        use std::arch::x86_64::{_mm_prefetch, _MM_HINT_T0};
        _mm_prefetch::<_MM_HINT_T0>(std::ptr::without_provenance(address));
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}

/// The lower bits choose the fingerprint, the upper ones the bucket.
fn fingerprint(hash: u64) -> u8 {
    let seven = hash as u8 & !AWAY;
    seven + u8::from(seven == FREE)
}

/// Of the 32 upper bits of a hash, in which buckets are ordered.
const POSITIONS: u32 = 32;

/// Where an item with this hash belongs in a table of `count` buckets.
#[inline]
fn home_of(hash: u64, count: usize) -> usize {
    (((hash >> POSITIONS) * count as u64) >> POSITIONS) as usize
}

/// Most items for so many buckets: 89 % of their slots.
fn room(buckets: usize) -> usize {
    buckets * 8
}

/// The next number of buckets from `wanted` on that a table may have: four to seven times a power of two.
fn step_from(wanted: usize) -> usize {
    if wanted <= 8 {
        return wanted;
    }
    let unit = 1 << (wanted.ilog2() - 2);
    wanted.next_multiple_of(unit)
}

/// The smallest number of buckets for `len` items.
fn buckets_for(len: usize) -> usize {
    step_from(len.div_ceil(8))
}

/// See the module's description. Items are handles: what they point to belongs to the caller, who frees it
/// (with [`Table::drain`]) before dropping the table.
pub struct Table<P: TableItem> {
    /// `count` buckets, dangling if there are none.
    base: NonNull<Bucket<P>>,
    count: usize,
    len: usize,
    items: PhantomData<P>,
}

// SAFETY: layout: the table owns its buckets; handing it over hands over the items.
unsafe impl<P: TableItem + Send> Send for Table<P> {}
// SAFETY: layout: nothing changes through a shared reference.
unsafe impl<P: TableItem + Sync> Sync for Table<P> {}

impl<P: TableItem> Default for Table<P> {
    fn default() -> Self {
        Table::new()
    }
}

impl<P: TableItem> Drop for Table<P> {
    fn drop(&mut self) {
        self.clear();
    }
}

impl<P: TableItem> Table<P> {
    const ITEM_IS_POINTER_SIZED: () = assert!(size_of::<P>() == size_of::<usize>());

    /// An empty table; it allocates at the first insertion.
    pub const fn new() -> Table<P> {
        let () = Self::ITEM_IS_POINTER_SIZED;
        Table { base: NonNull::dangling(), count: 0, len: 0, items: PhantomData }
    }

    /// An empty table with buckets for `len` items.
    pub fn with_capacity(len: usize) -> Table<P> {
        let mut table = Table::new();
        if len > 0 {
            table.resize(buckets_for(len));
        }
        table
    }

    /// Number of items.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no items.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Memory of the table itself, without what the items point to.
    pub fn mem_bytes(&self) -> usize {
        self.count * size_of::<Bucket<P>>()
    }

    /// Where the buckets begin and how many there are, for [`prefetch_bucket`].
    pub fn hint(&self) -> (usize, usize) {
        (self.base.as_ptr().addr(), self.count)
    }

    /// Has the processor fetch what a look-up of this hash is going to touch: the items that may be it. Gives the first.
    #[inline]
    pub fn prefetch(&self, hash: u64) -> Option<P> {
        if self.len == 0 {
            return None;
        }
        // SAFETY: layout: a bucket of this table, which `self` keeps.
        let bucket = unsafe { self.bucket(self.home(hash)).as_ref() };
        let mut first = None;
        for slot in bucket.matching(fingerprint(hash)) {
            let address = (bucket.word(slot) >> 16) as usize;
            prefetch(address);
            prefetch(address.wrapping_add(64));
            first.get_or_insert(bucket.item(slot));
        }
        first
    }

    /// Makes buckets for `more` further items.
    pub fn reserve(&mut self, more: usize) {
        let wanted = buckets_for(self.len + more);
        if more > 0 && wanted > self.count {
            self.resize(wanted);
        }
    }

    fn bucket(&self, index: usize) -> NonNull<Bucket<P>> {
        debug_assert!(index < self.count);
        // SAFETY: layout: `base` points to `count` buckets.
        unsafe { self.base.add(index) }
    }

    fn after(&self, index: usize) -> usize {
        if index + 1 == self.count {
            0
        } else {
            index + 1
        }
    }

    fn home(&self, hash: u64) -> usize {
        home_of(hash, self.count)
    }

    /// Bucket and slot of the item with this hash for which `eq` holds.
    #[inline]
    fn locate(&self, hash: u64, mut eq: impl FnMut(&P) -> bool) -> Option<(usize, usize)> {
        if self.len == 0 {
            return None;
        }
        let home = self.home(hash);
        let mut index = home;
        let mut print = fingerprint(hash);
        loop {
            // SAFETY: layout: a bucket of this table, which `self` keeps.
            let bucket = unsafe { self.bucket(index).as_ref() };
            for slot in bucket.matching(print) {
                if eq(&bucket.item(slot)) {
                    return Some((index, slot));
                }
            }
            if !bucket.passed() {
                return None;
            }
            print |= AWAY;
            index = self.after(index);
            if index == home {
                return None;
            }
        }
    }

    /// The item with this hash for which `eq` holds.
    #[inline]
    pub fn find(&self, hash: u64, eq: impl FnMut(&P) -> bool) -> Option<P> {
        let (index, slot) = self.locate(hash, eq)?;
        // SAFETY: layout: `locate` returns a present slot of a bucket that `self` keeps.
        Some(unsafe { self.bucket(index).as_ref() }.item(slot))
    }

    /// Puts a handle that has the same hash (a reallocated entry) in the place of the one for which `eq` holds; false if
    /// there is none.
    pub fn replace(&mut self, hash: u64, eq: impl FnMut(&P) -> bool, new: P) -> bool {
        let Some((index, slot)) = self.locate(hash, eq) else { return false };
        // SAFETY: layout: as in `find`; `self` is borrowed exclusively.
        let bucket = unsafe { self.bucket(index).as_mut() };
        bucket.put(slot, new, bucket.fingerprint(slot));
        true
    }

    /// Adds an item that, as the caller knows, is not there yet. `hash` is the item's own.
    pub fn insert(&mut self, hash: u64, item: P) {
        debug_assert_eq!(hash, item.table_hash());
        if self.len + 1 > room(self.count) {
            self.resize(step_from(self.count + 1));
        }
        self.place(hash, item);
        self.len += 1;
    }

    fn place(&mut self, hash: u64, item: P) {
        let mut index = self.home(hash);
        let mut print = fingerprint(hash);
        loop {
            // SAFETY: layout: a bucket of this table, borrowed exclusively through `self`.
            let bucket = unsafe { self.bucket(index).as_mut() };
            if let Some(slot) = bucket.free().next() {
                bucket.put(slot, item, print);
                return;
            }
            bucket.set_passed(true);
            print |= AWAY;
            // It ends: `room` is less than all slots.
            index = self.after(index);
        }
    }

    /// Takes the item with this hash for which `eq` holds out of the table.
    pub fn remove(&mut self, hash: u64, eq: impl FnMut(&P) -> bool) -> Option<P> {
        let (index, slot) = self.locate(hash, eq)?;
        // SAFETY: layout: `locate` returns a bucket of this table, borrowed exclusively.
        let bucket = unsafe { self.bucket(index).as_mut() };
        let removed = bucket.item(slot);
        bucket.clear(slot);
        self.len -= 1;
        self.fill_gap(index);
        if self.count > 1 && self.len < self.count * SLOTS / 10 {
            self.resize(buckets_for(self.len + self.len / 2).max(1));
        }
        Some(removed)
    }

    /// A passed bucket that lost an item gets one that passed it, whose own bucket may then need one; or, if there is no
    /// such item any more, it counts as passed no longer.
    fn fill_gap(&mut self, mut gap: usize) {
        // SAFETY: layout: buckets of this table, borrowed exclusively through `self`, one at a time.
        while unsafe { self.bucket(gap).as_ref() }.passed() {
            let Some((from, slot, item)) = self.passer(gap) else {
                // SAFETY: layout: as above.
                unsafe { self.bucket(gap).as_mut() }.set_passed(false);
                return;
            };
            // SAFETY: layout: as above.
            let source = unsafe { self.bucket(from).as_mut() };
            let print = source.fingerprint(slot) & !AWAY;
            source.clear(slot);
            let away = if self.home(item.table_hash()) == gap { 0 } else { AWAY };
            // SAFETY: layout: as above; `source` is no longer used.
            let target = unsafe { self.bucket(gap).as_mut() };
            if let Some(slot) = target.free().next() {
                target.put(slot, item, print | away);
            }
            gap = from;
        }
    }

    /// An item that passed the bucket `gap`, with its place.
    fn passer(&self, gap: usize) -> Option<(usize, usize, P)> {
        let distance = |from: usize, to: usize| (to + self.count - from) % self.count;
        let mut index = self.after(gap);
        while index != gap {
            // SAFETY: layout: a bucket of this table, which `self` keeps.
            let bucket = unsafe { self.bucket(index).as_ref() };
            for slot in bucket.away() {
                let item = bucket.item(slot);
                let home = self.home(item.table_hash());
                if distance(home, index) >= distance(gap, index) {
                    return Some((index, slot, item));
                }
            }
            if !bucket.passed() {
                return None;
            }
            index = self.after(index);
        }
        None
    }

    fn resize(&mut self, count: usize) {
        debug_assert!(room(count) >= self.len);
        let mut other =
            Table { base: Self::allocate(count), count, len: self.len, items: PhantomData };
        for index in 0..self.count {
            if index + 1 < self.count {
                // SAFETY: layout: a bucket of this table.
                unsafe { self.bucket(index + 1).as_ref() }.prefetch();
            }
            self.each_in(index, |item| other.place(item.table_hash(), item));
        }
        std::mem::swap(self, &mut other);
    }

    /// Forgets all items and gives the memory back.
    pub fn clear(&mut self) {
        if self.count > 0 {
            Self::free(self.base, self.count);
        }
        (self.base, self.count, self.len) = (NonNull::dangling(), 0, 0);
    }

    /// Gives all items to `f` and leaves the table empty.
    pub fn drain(&mut self, f: impl FnMut(P)) {
        // Taken out first: should `f` panic, no item is given out twice.
        let taken = std::mem::take(self);
        taken.iter().for_each(f);
    }

    /// All items, in no particular order.
    pub fn iter(&self) -> Iter<'_, P> {
        Iter { table: self, index: 0, pending: Slots(0) }
    }

    /// One step of a SCAN: gives some items to `f` and returns the cursor for the next step, 0 at the end.
    ///
    /// Cursors are places in the order of the hashes, so an item that is there from the first to the last step is given
    /// out at least once even when the table grows and shrinks between the steps.
    pub fn scan(&self, cursor: u64, mut f: impl FnMut(P)) -> u64 {
        if self.count == 0 {
            return 0;
        }
        let home = self.home(cursor << POSITIONS);
        let mut index = home;
        loop {
            // SAFETY: layout: a bucket of this table.
            let bucket = unsafe { self.bucket(index).as_ref() };
            if index == home {
                bucket
                    .present()
                    .filter(|slot| bucket.fingerprint(*slot) & AWAY == 0)
                    .for_each(|slot| f(bucket.item(slot)));
            } else {
                bucket
                    .away()
                    .map(|slot| bucket.item(slot))
                    .filter(|item| self.home(item.table_hash()) == home)
                    .for_each(&mut f);
            }
            index = self.after(index);
            if !bucket.passed() || index == home {
                break;
            }
        }
        if home + 1 == self.count {
            return 0;
        }
        ((home as u64 + 1) << POSITIONS).div_ceil(self.count as u64)
    }

    /// Gives the items in a bucket to `f`.
    fn each_in(&self, index: usize, f: impl FnMut(P)) {
        // SAFETY: layout: a bucket of this table.
        let bucket = unsafe { self.bucket(index).as_ref() };
        bucket.present().map(|slot| bucket.item(slot)).for_each(f);
    }

    /// A random item, all equally likely (unless the table is nearly empty).
    pub fn random(&self, rng: &mut impl FnMut() -> u64) -> Option<P> {
        if self.len == 0 {
            return None;
        }
        const DRAWS: usize = 200;
        let mut index = 0;
        for _ in 0..DRAWS {
            let draw = rng();
            index = home_of(draw, self.count);
            let slot = (draw & 0xffff) as usize % SLOTS;
            // SAFETY: layout: a bucket of this table.
            let bucket = unsafe { self.bucket(index).as_ref() };
            if bucket.fingerprint(slot) != FREE {
                return Some(bucket.item(slot));
            }
        }
        // A nearly empty table: the next bucket that has something.
        let mut found = None;
        while found.is_none() {
            self.each_in(index, |item| found = Some(item));
            index = self.after(index);
        }
        found
    }

    fn allocate(count: usize) -> NonNull<Bucket<P>> {
        let layout = Layout::array::<Bucket<P>>(count).expect("a table that fits memory");
        // SAFETY: layout: the size is not zero.
        let memory = unsafe { alloc_zeroed(layout) };
        NonNull::new(memory.cast()).unwrap_or_else(|| handle_alloc_error(layout))
    }

    fn free(base: NonNull<Bucket<P>>, count: usize) {
        let layout = Layout::array::<Bucket<P>>(count).expect("the layout of its allocation");
        // SAFETY: layout: callers pass what `allocate` returned for the same count, once.
        unsafe { dealloc(base.as_ptr().cast(), layout) };
    }
}

impl<P: TableItem + std::fmt::Debug> std::fmt::Debug for Table<P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// Iterator over a table's items.
pub struct Iter<'a, P: TableItem> {
    table: &'a Table<P>,
    /// The next bucket to enter.
    index: usize,
    /// Slots of the one before it that are still to come.
    pending: Slots,
}

impl<P: TableItem> Iterator for Iter<'_, P> {
    type Item = P;
    fn next(&mut self) -> Option<P> {
        loop {
            if let Some(slot) = self.pending.next() {
                // SAFETY: layout: a bucket of the table, which the iterator borrows.
                return Some(unsafe { self.table.bucket(self.index - 1).as_ref() }.item(slot));
            }
            if self.index == self.table.count {
                return None;
            }
            // SAFETY: layout: as above.
            self.pending = unsafe { self.table.bucket(self.index).as_ref() }.present();
            self.index += 1;
        }
    }
}

#[cfg(test)]
mod tests;
