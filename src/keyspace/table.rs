//! Hash table of pointer-sized handles in cache-line buckets: the keyspace's index and the big form of hashes,
//! sets and sorted sets.
//!
//! A bucket is one cache line: a word with the presence bits and a one-byte fingerprint per slot, and seven
//! slots. A look-up compares the seven fingerprints at once and touches an entry only where one matches, so it usually
//! costs two cache misses. An item whose bucket is full goes to the next one that is not: the buckets that it passed
//! say so, and its fingerprint says that it is away from home. Buckets follow the order of the hashes, so their number
//! need not be a power of two: tables grow by a quarter or less, in steps that are the allocator's size classes, and are
//! between 71 and 89 per cent full. Hashes are not stored: an item tells its own ([`TableItem`]) when the table is
//! resized, which happens in one go.
use std::alloc::{alloc_zeroed, dealloc, handle_alloc_error, Layout};
use std::hash::Hasher;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ptr::NonNull;

/// What a [`Table`] holds: a handle (pointer) of eight bytes that can tell its key's hash.
pub trait TableItem: Copy {
    /// The hash under which the item is inserted and searched; constant while it is in a table.
    fn table_hash(&self) -> u64;
}

/// The hash of keys, fields and members, seeded anew in each process.
#[inline]
pub fn hash_bytes(bytes: &[u8]) -> u64 {
    let shared = foldhash::SharedSeed::global_random();
    let mut hasher = foldhash::fast::FoldHasher::with_seed(0x9e37_79b9_7f4a_7c15, shared);
    hasher.write(bytes);
    hasher.finish()
}

const SLOTS: usize = 7;
/// In a bucket's word: bit `i` says that slot `i` holds an item.
const PRESENT: u64 = 0x7f;
/// In a bucket's word: an item passed this bucket on its way to a later one. Such a bucket is full.
const PASSED: u64 = 0x80;
/// In a fingerprint: the item is not in the bucket where its hash belongs.
const AWAY: u8 = 0x80;
const LOW_BITS: u64 = 0x0101_0101_0101_0101;
const SEVEN_BITS: u64 = 0x7f7f_7f7f_7f7f_7f7f;

/// All-zero bytes are an empty bucket.
#[repr(C, align(64))]
struct Bucket<P: Copy> {
    /// Byte 0: `PRESENT` and `PASSED`; byte `i + 1`: fingerprint of slot `i`, with `AWAY`.
    word: u64,
    slots: [MaybeUninit<P>; SLOTS],
}

impl<P: Copy> Bucket<P> {
    fn present(&self) -> u64 {
        self.word & PRESENT
    }

    /// Slots that can take an item.
    fn free(&self) -> u64 {
        !self.word & PRESENT
    }

    fn passed(&self) -> bool {
        self.word & PASSED != 0
    }

    /// The item in a present slot.
    fn item(&self, slot: usize) -> P {
        debug_assert!(self.word >> slot & 1 == 1);
        // SAFETY: layout: the presence bit says that the slot holds an item.
        unsafe { self.slots[slot].assume_init() }
    }

    fn put(&mut self, slot: usize, item: P, fingerprint: u8) {
        let shift = 8 * (slot + 1);
        self.word &= !(0xff << shift);
        self.word |= u64::from(fingerprint) << shift | 1 << slot;
        self.slots[slot] = MaybeUninit::new(item);
    }

    fn fingerprint(&self, slot: usize) -> u8 {
        (self.word >> (8 * (slot + 1))) as u8
    }

    /// The present slots with this fingerprint.
    #[inline]
    fn matching(&self, fingerprint: u8) -> Matches {
        let differing = self.word ^ (LOW_BITS * u64::from(fingerprint));
        let zero = !(((differing & SEVEN_BITS) + SEVEN_BITS) | differing | SEVEN_BITS);
        Matches { bits: zero & !0xff, present: self.word }
    }

    /// The present slots whose items are away from home.
    fn away(&self) -> impl Iterator<Item = usize> {
        let word = self.word;
        (0..SLOTS).filter(move |slot| word >> slot & 1 == 1 && word >> (8 * slot + 15) & 1 == 1)
    }

    /// Has the processor fetch the items ahead of their use.
    fn prefetch(&self) {
        let mut pending = self.present();
        while pending != 0 {
            // SAFETY: layout: a handle has the size of a pointer; the address is only a hint and may be any.
            prefetch(unsafe {
                std::mem::transmute_copy(&self.slots[pending.trailing_zeros() as usize])
            });
            pending &= pending - 1;
        }
    }
}

/// Has the processor fetch the bucket where a hash belongs in a table that had this [`Table::hint`] a moment ago.
#[inline]
pub fn prefetch_bucket((base, count): (usize, usize), hash: u64) {
    let offset = home_of(hash, count) * size_of::<Bucket<usize>>();
    prefetch(std::ptr::without_provenance(base.wrapping_add(offset)));
}

/// Has the processor fetch the cache line at an address, which need not be a valid one.
#[inline]
pub fn prefetch(address: *const i8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: layout: a prefetch of any address is without effect on the program.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(address);
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}

struct Matches {
    bits: u64,
    present: u64,
}

impl Iterator for Matches {
    type Item = usize;
    #[inline]
    fn next(&mut self) -> Option<usize> {
        while self.bits != 0 {
            let slot = self.bits.trailing_zeros() as usize / 8 - 1;
            self.bits &= self.bits - 1;
            if self.present >> slot & 1 == 1 {
                return Some(slot);
            }
        }
        None
    }
}

/// The lower bits choose the fingerprint, the upper ones the bucket.
fn fingerprint(hash: u64) -> u8 {
    hash as u8 & !AWAY
}

/// Of the 32 upper bits of a hash, in which buckets are ordered.
const POSITIONS: u32 = 32;

/// Where an item with this hash belongs in a table of `count` buckets.
#[inline]
fn home_of(hash: u64, count: usize) -> usize {
    ((hash >> POSITIONS) * count as u64 >> POSITIONS) as usize
}

/// Most items for so many buckets: 89 % of their slots.
fn room(buckets: usize) -> usize {
    buckets * 25 / 4
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
    step_from((len * 4).div_ceil(25))
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
    const ITEM_IS_POINTER_SIZED: () = assert!(size_of::<P>() == 8 && align_of::<P>() <= 8);

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
            let item = bucket.item(slot);
            // SAFETY: layout: a handle has the size of a pointer; the address is only a hint and may be any.
            let address: *const i8 = unsafe { std::mem::transmute_copy(&item) };
            prefetch(address);
            prefetch(address.wrapping_add(64));
            first.get_or_insert(item);
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
    pub fn find(&self, hash: u64, eq: impl FnMut(&P) -> bool) -> Option<&P> {
        let (index, slot) = self.locate(hash, eq)?;
        // SAFETY: layout: `locate` returns a present slot of a bucket that `self` keeps.
        Some(unsafe { self.bucket(index).as_ref().slots[slot].assume_init_ref() })
    }

    /// [`Table::find`], to put a handle in its place that has the same hash (a reallocated entry).
    #[inline]
    pub fn find_mut(&mut self, hash: u64, eq: impl FnMut(&P) -> bool) -> Option<&mut P> {
        let (index, slot) = self.locate(hash, eq)?;
        // SAFETY: layout: as in `find`; `self` is borrowed exclusively.
        Some(unsafe { self.bucket(index).as_mut().slots[slot].assume_init_mut() })
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
            let free = bucket.free();
            if free != 0 {
                bucket.put(free.trailing_zeros() as usize, item, print);
                return;
            }
            bucket.word |= PASSED;
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
        bucket.word &= !(1 << slot);
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
                unsafe { self.bucket(gap).as_mut() }.word &= !PASSED;
                return;
            };
            // SAFETY: layout: as above.
            let source = unsafe { self.bucket(from).as_mut() };
            let print = source.fingerprint(slot) & !AWAY;
            source.word &= !(1 << slot);
            let away = if self.home(item.table_hash()) == gap { 0 } else { AWAY };
            // SAFETY: layout: as above; `source` is no longer used.
            let target = unsafe { self.bucket(gap).as_mut() };
            target.put(target.free().trailing_zeros() as usize, item, print | away);
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
        Iter { table: self, index: 0, pending: 0 }
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
                (0..SLOTS)
                    .filter(|slot| bucket.word >> slot & 1 == 1)
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
    fn each_in(&self, index: usize, mut f: impl FnMut(P)) {
        // SAFETY: layout: a bucket of this table.
        let bucket = unsafe { self.bucket(index).as_ref() };
        let mut pending = bucket.present();
        while pending != 0 {
            f(bucket.item(pending.trailing_zeros() as usize));
            pending &= pending - 1;
        }
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
            if bucket.word >> slot & 1 == 1 {
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
    /// Presence bits of the one before it that are still to come.
    pending: u64,
}

impl<P: TableItem> Iterator for Iter<'_, P> {
    type Item = P;
    fn next(&mut self) -> Option<P> {
        while self.pending == 0 {
            if self.index == self.table.count {
                return None;
            }
            // SAFETY: layout: a bucket of the table, which the iterator borrows.
            self.pending = unsafe { self.table.bucket(self.index).as_ref() }.present();
            self.index += 1;
        }
        let slot = self.pending.trailing_zeros() as usize;
        self.pending &= self.pending - 1;
        // SAFETY: layout: as above.
        Some(unsafe { self.table.bucket(self.index - 1).as_ref() }.item(slot))
    }
}

#[cfg(test)]
mod tests;
