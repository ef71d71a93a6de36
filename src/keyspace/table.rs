//! Hash table of pointer-sized handles in cache-line buckets: the keyspace's index and the big form of hashes,
//! sets and sorted sets.
//!
//! A bucket is one cache line: a word with the presence bits and a one-byte fingerprint per slot, and seven
//! slots. A look-up compares the seven fingerprints at once and touches an entry only where one matches, so it usually
//! costs two cache misses. A full bucket turns its last slot into a pointer to a further bucket. Hashes are not
//! stored: an item tells its own ([`TableItem`]) when the table is resized, which happens in one go.
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

/// Brings a cache line on its way to the cache; any address will do.
#[inline]
pub fn prefetch<T>(at: *const T) {
    // SAFETY: layout: a prefetch of any address is harmless.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        use std::arch::x86_64::{_mm_prefetch, _MM_HINT_T0};
        _mm_prefetch::<_MM_HINT_T0>(at.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}

const SLOTS: usize = 7;
/// In a bucket's word: bit `i` says that slot `i` holds an item.
const PRESENT: u64 = 0x7f;
/// In a bucket's word: the last slot points to a further bucket.
const CHAINED: u64 = 0x80;
const LAST: usize = SLOTS - 1;
const LOW_BITS: u64 = 0x0101_0101_0101_0101;
const SEVEN_BITS: u64 = 0x7f7f_7f7f_7f7f_7f7f;

#[derive(Clone, Copy)]
union Slot<P: Copy> {
    item: MaybeUninit<P>,
    child: NonNull<Bucket<P>>,
}

/// All-zero bytes are an empty bucket.
#[repr(C, align(64))]
struct Bucket<P: Copy> {
    /// Byte 0: `PRESENT` and `CHAINED`; byte `i + 1`: fingerprint of slot `i`.
    word: u64,
    slots: [Slot<P>; SLOTS],
}

impl<P: Copy> Bucket<P> {
    fn present(&self) -> u64 {
        self.word & PRESENT
    }

    /// Slots that can take an item.
    fn free(&self) -> u64 {
        let usable = if self.word & CHAINED != 0 { PRESENT >> 1 } else { PRESENT };
        !self.word & usable
    }

    fn child(&self) -> Option<NonNull<Bucket<P>>> {
        if self.word & CHAINED == 0 {
            return None;
        }
        // SAFETY: layout: CHAINED says that the last slot is a child pointer.
        Some(unsafe { self.slots[LAST].child })
    }

    /// The item in a present slot.
    fn item(&self, slot: usize) -> P {
        debug_assert!(self.word >> slot & 1 == 1);
        // SAFETY: layout: the presence bit says that the slot holds an item.
        unsafe { self.slots[slot].item.assume_init() }
    }

    fn put(&mut self, slot: usize, item: P, fingerprint: u8) {
        let shift = 8 * (slot + 1);
        self.word &= !(0xff << shift);
        self.word |= u64::from(fingerprint) << shift | 1 << slot;
        self.slots[slot] = Slot { item: MaybeUninit::new(item) };
    }

    fn fingerprint(&self, slot: usize) -> u8 {
        (self.word >> (8 * (slot + 1))) as u8
    }

    /// The top bit of byte `i + 1` is set for each present slot `i` with this fingerprint.
    #[inline]
    fn matching(&self, fingerprint: u8) -> Matches {
        let differing = self.word ^ (LOW_BITS * u64::from(fingerprint));
        let zero = !(((differing & SEVEN_BITS) + SEVEN_BITS) | differing | SEVEN_BITS);
        Matches { bits: zero & !0xff, present: self.word }
    }
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

/// The upper bits choose the fingerprint, the lower ones the bucket.
fn fingerprint(hash: u64) -> u8 {
    (hash >> 56) as u8
}

/// Mean items per bucket, times five, beyond which the table doubles (77 % of its slots).
const FULL_FIFTHS: usize = 27;

/// The smallest number of buckets for `len` items.
fn buckets_for(len: usize) -> usize {
    (len * 5).div_ceil(FULL_FIFTHS).next_power_of_two()
}

/// See the module's description. Items are handles: what they point to belongs to the caller, who frees it
/// (with [`Table::drain`]) before dropping the table.
pub struct Table<P: TableItem> {
    /// `count` buckets, dangling if there are none.
    base: NonNull<Bucket<P>>,
    /// Zero or a power of two.
    count: usize,
    len: usize,
    /// Number of chained buckets.
    chained: usize,
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
        Table { base: NonNull::dangling(), count: 0, len: 0, chained: 0, items: PhantomData }
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
        (self.count + self.chained) * size_of::<Bucket<P>>()
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

    #[inline]
    fn locate(
        &self,
        hash: u64,
        mut eq: impl FnMut(&P) -> bool,
    ) -> Option<(NonNull<Bucket<P>>, usize)> {
        if self.len == 0 {
            return None;
        }
        let mut at = self.bucket(hash as usize & (self.count - 1));
        loop {
            // SAFETY: layout: buckets of this table, which `self` keeps.
            let bucket = unsafe { at.as_ref() };
            for slot in bucket.matching(fingerprint(hash)) {
                if eq(&bucket.item(slot)) {
                    return Some((at, slot));
                }
            }
            at = bucket.child()?;
        }
    }

    /// Brings the bucket of a hash on its way to the cache. The table may be changing in another thread: what is read of it
    /// only makes an address to prefetch, which may be anything.
    ///
    /// # Safety
    /// `table` is a table's address, and stays so.
    #[inline]
    pub unsafe fn prefetch_bucket(table: *const Table<P>, hash: u64) {
        // SAFETY: layout: fields of a live table; word-sized, read once.
        let (base, count) = unsafe {
            (
                (&raw const (*table).base).read_volatile(),
                (&raw const (*table).count).read_volatile(),
            )
        };
        if count != 0 {
            prefetch(base.as_ptr().wrapping_add(hash as usize & (count - 1)));
        }
    }

    /// Calls `f` for the items in the bucket of a hash that may have it.
    #[inline]
    pub fn prefetch_items(&self, hash: u64, f: impl Fn(&P)) {
        if self.len == 0 {
            return;
        }
        // SAFETY: layout: a bucket of this table.
        let bucket = unsafe { self.bucket(hash as usize & (self.count - 1)).as_ref() };
        for slot in bucket.matching(fingerprint(hash)) {
            f(&bucket.item(slot));
        }
    }

    /// The item with this hash for which `eq` holds.
    #[inline]
    pub fn find(&self, hash: u64, eq: impl FnMut(&P) -> bool) -> Option<&P> {
        let (at, slot) = self.locate(hash, eq)?;
        // SAFETY: layout: `locate` returns a present slot of a bucket that `self` keeps.
        Some(unsafe { at.as_ref().slots[slot].item.assume_init_ref() })
    }

    /// [`Table::find`], to put a handle in its place that has the same hash (a reallocated entry).
    #[inline]
    pub fn find_mut(&mut self, hash: u64, eq: impl FnMut(&P) -> bool) -> Option<&mut P> {
        let (mut at, slot) = self.locate(hash, eq)?;
        // SAFETY: layout: as in `find`; `self` is borrowed exclusively.
        Some(unsafe { at.as_mut().slots[slot].item.assume_init_mut() })
    }

    /// Adds an item that, as the caller knows, is not there yet. `hash` is the item's own.
    pub fn insert(&mut self, hash: u64, item: P) {
        debug_assert_eq!(hash, item.table_hash());
        if (self.len + 1) * 5 > self.count * FULL_FIFTHS {
            self.resize((self.count * 2).max(1));
        }
        self.place(hash, item);
        self.len += 1;
    }

    fn place(&mut self, hash: u64, item: P) {
        let mut at = self.bucket(hash as usize & (self.count - 1));
        loop {
            // SAFETY: layout: a bucket of this table, borrowed exclusively through `self`.
            let bucket = unsafe { at.as_mut() };
            let free = bucket.free();
            if free != 0 {
                bucket.put(free.trailing_zeros() as usize, item, fingerprint(hash));
                return;
            }
            at = match bucket.child() {
                Some(child) => child,
                None => {
                    let mut child = Self::allocate(1);
                    // SAFETY: layout: just allocated, an empty bucket that nobody else knows.
                    unsafe { child.as_mut() }.put(0, bucket.item(LAST), bucket.fingerprint(LAST));
                    bucket.word = bucket.word & !(1 << LAST) | CHAINED;
                    bucket.slots[LAST] = Slot { child };
                    self.chained += 1;
                    child
                }
            };
        }
    }

    /// Takes the item with this hash for which `eq` holds out of the table.
    pub fn remove(&mut self, hash: u64, eq: impl FnMut(&P) -> bool) -> Option<P> {
        let (mut at, slot) = self.locate(hash, eq)?;
        // SAFETY: layout: `locate` returns a bucket of this table.
        let removed = unsafe { at.as_ref() }.item(slot);
        self.len -= 1;

        // The last item of the chain fills the gap, so that only a chain's end has gaps and empty ends go.
        let mut parent = None;
        let mut end = self.bucket(hash as usize & (self.count - 1));
        // SAFETY: layout: buckets of this table.
        while let Some(child) = unsafe { end.as_ref() }.child() {
            parent = Some(end);
            end = child;
        }
        // SAFETY: layout: a bucket of this table; no other reference is alive.
        let last = unsafe { end.as_mut() };
        let last_slot = last.present().ilog2() as usize;
        let (filler, filler_print) = (last.item(last_slot), last.fingerprint(last_slot));
        last.word &= !(1 << last_slot);
        let emptied = last.present() == 0;
        if (end, last_slot) != (at, slot) {
            // SAFETY: layout: as above; `last` is no longer used.
            unsafe { at.as_mut() }.put(slot, filler, filler_print);
        }
        if let (true, Some(mut parent)) = (emptied, parent) {
            // SAFETY: layout: a bucket of this table; its child is empty and no longer used.
            unsafe { parent.as_mut() }.word &= !CHAINED;
            Self::free(end, 1);
            self.chained -= 1;
        }

        if self.count > 1 && self.len < self.count * SLOTS / 10 {
            self.resize(buckets_for(self.len + self.len / 2));
        }
        Some(removed)
    }

    fn resize(&mut self, count: usize) {
        let mut bigger = Table {
            base: Self::allocate(count),
            count,
            len: self.len,
            chained: 0,
            items: PhantomData,
        };
        for item in self.iter() {
            bigger.place(item.table_hash(), item);
        }
        std::mem::swap(self, &mut bigger);
    }

    /// Forgets all items and gives the memory back.
    pub fn clear(&mut self) {
        if self.chained > 0 {
            for index in 0..self.count {
                // SAFETY: layout: a bucket of this table.
                let mut next = unsafe { self.bucket(index).as_ref() }.child();
                while let Some(child) = next {
                    // SAFETY: layout: a chained bucket; it is freed after its own child was read.
                    next = unsafe { child.as_ref() }.child();
                    Self::free(child, 1);
                }
            }
        }
        if self.count > 0 {
            Self::free(self.base, self.count);
        }
        (self.base, self.count, self.len, self.chained) = (NonNull::dangling(), 0, 0, 0);
    }

    /// Gives all items to `f` and leaves the table empty.
    pub fn drain(&mut self, f: impl FnMut(P)) {
        // Taken out first: should `f` panic, no item is given out twice.
        let taken = std::mem::take(self);
        taken.iter().for_each(f);
    }

    /// All items, in no particular order.
    pub fn iter(&self) -> Iter<'_, P> {
        Iter { table: self, index: 0, bucket: None, pending: 0 }
    }

    /// One step of a SCAN: gives some items to `f` and returns the cursor for the next step, 0 at the end.
    ///
    /// Cursors count in reversed bits, so an item that is there from the first to the last step is given out
    /// at least once even when the table grows and shrinks between the steps.
    pub fn scan(&self, cursor: u64, mut f: impl FnMut(P)) -> u64 {
        if self.count == 0 {
            return 0;
        }
        let mask = self.count as u64 - 1;
        self.each_in_chain((cursor & mask) as usize, &mut f);
        (cursor | !mask).reverse_bits().wrapping_add(1).reverse_bits()
    }

    fn each_in_chain(&self, index: usize, mut f: impl FnMut(P)) {
        let mut next = Some(self.bucket(index));
        while let Some(at) = next {
            // SAFETY: layout: a bucket of this table.
            let bucket = unsafe { at.as_ref() };
            let mut pending = bucket.present();
            while pending != 0 {
                f(bucket.item(pending.trailing_zeros() as usize));
                pending &= pending - 1;
            }
            next = bucket.child();
        }
    }

    /// A random item; all are equally likely but for those in rare overlong chains.
    pub fn random(&self, rng: &mut impl FnMut() -> u64) -> Option<P> {
        if self.len == 0 {
            return None;
        }
        // Draw a bucket and a rank in it; drawing again when it has fewer items makes up for unequal buckets.
        const RANKS: u64 = 2 * SLOTS as u64;
        const DRAWS: usize = 200;
        let mut index = 0;
        for _ in 0..DRAWS {
            let draw = rng();
            index = draw as usize & (self.count - 1);
            let size = self.chain_len(index);
            let rank = (draw >> 32) % RANKS.max(size as u64);
            if (rank as usize) < size {
                return self.nth_in_chain(index, rank as usize);
            }
        }
        // A nearly empty table: the next bucket that has something.
        (0..self.count)
            .map(|step| (index + step) & (self.count - 1))
            .find(|&i| self.chain_len(i) > 0)
            .and_then(|i| self.nth_in_chain(i, rng() as usize % self.chain_len(i)))
    }

    fn chain_len(&self, index: usize) -> usize {
        let mut next = Some(self.bucket(index));
        let mut len = 0;
        while let Some(at) = next {
            // SAFETY: layout: a bucket of this table.
            let bucket = unsafe { at.as_ref() };
            len += bucket.present().count_ones() as usize;
            next = bucket.child();
        }
        len
    }

    fn nth_in_chain(&self, index: usize, rank: usize) -> Option<P> {
        let mut left = rank;
        let mut found = None;
        self.each_in_chain(index, |item| {
            if left == 0 && found.is_none() {
                found = Some(item);
            }
            left = left.saturating_sub(1);
        });
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
    /// The next chain to enter.
    index: usize,
    bucket: Option<&'a Bucket<P>>,
    /// Presence bits of `bucket` that are still to come.
    pending: u64,
}

impl<P: TableItem> Iterator for Iter<'_, P> {
    type Item = P;
    fn next(&mut self) -> Option<P> {
        while self.pending == 0 {
            let at = match self.bucket.and_then(Bucket::child) {
                Some(child) => child,
                None if self.index < self.table.count => {
                    self.index += 1;
                    self.table.bucket(self.index - 1)
                }
                None => return None,
            };
            // SAFETY: layout: a bucket of the table, which the iterator borrows.
            let bucket = unsafe { at.as_ref() };
            self.pending = bucket.present();
            self.bucket = Some(bucket);
        }
        let slot = self.pending.trailing_zeros() as usize;
        self.pending &= self.pending - 1;
        self.bucket.map(|bucket| bucket.item(slot))
    }
}

#[cfg(test)]
mod tests;
