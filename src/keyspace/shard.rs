//! Databases and their shards.
use super::entry::Entry;
pub use super::table::hash_bytes;
use super::table::{prefetch, Table, TableItem};
use super::value::{Kind, ValueRef};
use crate::connection::client::ClientShared;
use crate::execute::blocking::Waiter;
use crate::lock::held::{Access, HeldSet};
use crate::lock::latch::Latch;
use crate::snapshot::{Batch, Cut, Walk};
use parking_lot::{Mutex, MutexGuard};
use std::cell::UnsafeCell;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::task::Waker;

/// Shards per database. A divisor of the 16384 cluster slots, so that a slot lies inside one shard.
pub const SHARDS: usize = 1024;

/// What a shard's latch protects. What every command looks at comes first.
#[derive(Default)]
#[repr(C)]
pub struct ShardData {
    /// The entries, by key.
    pub table: Table<Entry>,
    /// How many entries have an expiry.
    pub volatile: u32,
    /// How many entries hold a module's value.
    pub module_values: u32,
    /// The keys that the holder of the module lock holds.
    pub held: HeldSet,
    /// Connections parked until the holds are cleared.
    pub waiters: Vec<Waker>,
    /// No entry expires before this time (a lower bound), Unix milliseconds.
    pub next_expire: i64,
    /// How many hashes have fields with an expiry (an upper bound, corrected by the expiry cycle).
    pub field_expiry: u32,
    /// No field of a hash expires before this time (a lower bound), Unix milliseconds.
    pub next_field_expire: i64,
    /// Watched keys (`WATCH`), by key; usually empty.
    pub watched: BTreeMap<Vec<u8>, Vec<Arc<ClientShared>>>,
    /// Clients that wait for keys (`BLPOP`), by key, the longest waiting first; usually empty.
    pub blocked: BTreeMap<Vec<u8>, Vec<Arc<Waiter>>>,
    /// How far a snapshot is with the entries.
    pub walk: Walk<Arc<Cut>>,
    /// Values that were about to change before the snapshot came by.
    pub before: Option<Box<Batch>>,
}

/// One shard: a latch and what it protects. The first cache line has all that a command on a small value needs.
#[derive(Default)]
#[repr(C, align(64))]
pub struct Shard {
    /// The latch.
    pub latch: Latch,
    /// Number of keys, written under the latch, read by `DBSIZE` without it.
    pub len: AtomicU32,
    /// Number of volatile keys, likewise, for `INFO`.
    pub volatile: AtomicU32,
    data: UnsafeCell<ShardData>,
    /// Number of hashes with fields that expire, likewise.
    pub field_expiry: AtomicU32,
    /// [`Table::hint`], likewise.
    hint: (AtomicUsize, AtomicUsize),
}

// SAFETY: lock: `data` is reached through `Shard::data`, whose contract is that the latch is taken.
unsafe impl Sync for Shard {}

impl Shard {
    /// Has the processor fetch what commands look at first.
    #[inline]
    pub fn prefetch(&self) {
        prefetch(std::ptr::from_ref(self).addr());
    }

    /// Has the processor fetch the bucket of a hash. Reads the shard without its latch, so it may miss.
    #[inline]
    pub fn prefetch_bucket(&self, hash: u64) {
        let (base, count) = (self.hint.0.load(Relaxed), self.hint.1.load(Relaxed));
        super::table::prefetch_bucket((base, count), hash);
    }

    /// Has the processor fetch the entry of a hash, if the latch is free.
    #[inline]
    pub fn prefetch_entry(&self, hash: u64) {
        if self.latch.try_lock() {
            // SAFETY: lock: taken on the line above, released below.
            unsafe {
                self.data().table.prefetch(hash);
                self.latch.unlock();
            }
        }
    }

    /// Has the processor fetch the entry of a hash and takes a look at it. Nothing if the latch is not free, if there is
    /// no such entry, or if the holder of the module lock may be changing its value: that needs no latch.
    #[inline]
    pub fn look(&self, hash: u64) -> Option<Look<'_>> {
        if !self.latch.try_lock() {
            return None;
        }
        // SAFETY: lock: taken on the line above.
        let data = unsafe { self.data() };
        let entry = data.table.prefetch(hash);
        match entry.filter(|_| !data.held.conflicts(hash, Access::Read)) {
            Some(entry) => Some(Look { shard: self, entry }),
            None => {
                // SAFETY: lock: taken above.
                unsafe { self.latch.unlock() };
                None
            }
        }
    }

    /// The protected data.
    ///
    /// # Safety
    /// The caller has the latch, and makes no second reference while this one lives.
    #[allow(clippy::mut_from_ref)]
    #[inline]
    pub unsafe fn data(&self) -> &mut ShardData {
        // SAFETY: lock: this function's contract.
        unsafe { &mut *self.data.get() }
    }
}

/// A look at an entry of a shard, whose latch is taken meanwhile.
pub struct Look<'s> {
    shard: &'s Shard,
    entry: Entry,
}

impl Look<'_> {
    /// The entry, which is there as long as the look.
    #[inline]
    pub fn entry(&self) -> Entry {
        self.entry
    }
}

impl Drop for Look<'_> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: lock: `Shard::look` took it.
        unsafe { self.shard.latch.unlock() };
    }
}

impl TableItem for Entry {
    #[inline]
    fn table_hash(&self) -> u64 {
        hash_bytes(self.key())
    }
}

/// CRC-16/XMODEM, the checksum of cluster slots: table `i` is for a byte with `i` bytes behind it.
const fn crc16_tables() -> [[u16; 256]; 8] {
    let mut t = [[0u16; 256]; 8];
    let mut i = 0;
    while i < 256 {
        let mut c = (i as u16) << 8;
        let mut b = 0;
        while b < 8 {
            c = if c & 0x8000 != 0 { (c << 1) ^ 0x1021 } else { c << 1 };
            b += 1;
        }
        t[0][i] = c;
        i += 1;
    }
    let mut behind = 1;
    while behind < 8 {
        i = 0;
        while i < 256 {
            let c = t[behind - 1][i];
            t[behind][i] = (c << 8) ^ t[0][(c >> 8) as usize];
            i += 1;
        }
        behind += 1;
    }
    t
}
static CRC16: [[u16; 256]; 8] = crc16_tables();

/// The checksum, and whether there is an opening brace among the bytes.
#[inline]
fn crc16(bytes: &[u8]) -> (u16, bool) {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    let mut chunks = bytes.chunks_exact(8);
    let (mut crc, mut braces) = (0u16, 0u64);
    for chunk in &mut chunks {
        let word = u64::from_le_bytes(chunk.try_into().expect("eight bytes"));
        // The top bit of each byte that is a brace; of others at most when there is one.
        let other = word ^ (ONES * b'{' as u64);
        braces |= other.wrapping_sub(ONES) & !other & (ONES << 7);
        let word = word ^ u64::from(crc.swap_bytes());
        crc = 0;
        for i in 0..8 {
            crc ^= CRC16[7 - i][(word >> (8 * i)) as usize & 0xff];
        }
    }
    let mut brace = braces != 0;
    for &byte in chunks.remainder() {
        brace |= byte == b'{';
        crc = (crc << 8) ^ CRC16[0][((crc >> 8) ^ u16::from(byte)) as usize & 0xff];
    }
    (crc, brace)
}

/// The cluster slot of a key: of its hash tag if it has one.
pub fn slot_of(key: &[u8]) -> u16 {
    let (mut crc, brace) = crc16(key);
    if brace {
        crc = crc16(tag_of(key)).0;
    }
    crc % 16384
}

fn tag_of(key: &[u8]) -> &[u8] {
    if let Some(open) = key.iter().position(|&c| c == b'{') {
        if let Some(len) = key[open + 1..].iter().position(|&c| c == b'}') {
            if len > 0 {
                return &key[open + 1..open + 1 + len];
            }
        }
    }
    key
}

/// The shard of a key within its database.
#[inline]
pub fn shard_of(key: &[u8]) -> usize {
    usize::from(slot_of(key)) % SHARDS
}

/// A database: its shards, made at the first use.
#[derive(Default)]
pub struct Db {
    shards: OnceLock<Box<[Shard]>>,
}

impl Db {
    /// All shards.
    #[inline]
    pub fn shards(&self) -> &[Shard] {
        match self.shards.get() {
            Some(shards) => shards,
            None => self.first_use(),
        }
    }

    #[cold]
    fn first_use(&self) -> &[Shard] {
        let _not_while_stopped = FIRST_USE.lock();
        self.shards.get_or_init(|| (0..SHARDS).map(|_| Shard::default()).collect())
    }

    /// All shards, or none when the database was never used.
    pub fn used_shards(&self) -> &[Shard] {
        self.shards.get().map_or(&[], |s| s)
    }

    /// Number of keys.
    pub fn len(&self) -> usize {
        self.used_shards().iter().map(|s| s.len.load(Relaxed) as usize).sum()
    }

    /// True without keys.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of keys with an expiry.
    pub fn volatile(&self) -> usize {
        self.used_shards().iter().map(|s| s.volatile.load(Relaxed) as usize).sum()
    }
}

/// Taken while a database is made at its first use, and while the world is stopped.
static FIRST_USE: Mutex<()> = Mutex::new(());

/// All latches of all databases, for a moment: nobody is in the middle of a change, and none can begin.
pub struct Stopped<'a> {
    taken: Vec<&'a Shard>,
    _no_first_use: MutexGuard<'static, ()>,
}

impl Drop for Stopped<'_> {
    fn drop(&mut self) {
        for shard in self.taken.drain(..) {
            // SAFETY: lock: taken in `Keyspace::stop`.
            unsafe { shard.latch.unlock() };
        }
    }
}

/// All databases.
pub struct Keyspace {
    dbs: Vec<Db>,
}

impl Keyspace {
    /// A keyspace of `databases` empty databases.
    pub fn new(databases: usize) -> Keyspace {
        Keyspace { dbs: (0..databases).map(|_| Db::default()).collect() }
    }

    /// The databases, by number.
    #[inline]
    pub fn dbs(&self) -> &[Db] {
        &self.dbs
    }

    /// Takes all latches. The calling thread has the module lock.
    ///
    /// Waiting for a latch while having others is allowed here, although the holder of the module lock otherwise has one
    /// at a time: a native never waits while having a latch (see [`crate::lock`]), so each latch becomes free.
    pub fn stop(&self) -> Stopped<'_> {
        let mut taken: Vec<&Shard> = Vec::new();
        let mut seen = vec![false; self.dbs.len()];
        loop {
            for (db, seen) in self.dbs.iter().zip(&mut seen) {
                if !*seen && !db.used_shards().is_empty() {
                    *seen = true;
                    for shard in db.used_shards() {
                        shard.latch.lock();
                        taken.push(shard);
                    }
                }
            }
            // Whoever makes a database has none of the latches above, so this ends.
            let guard = FIRST_USE.lock();
            let all = self.dbs.iter().zip(&seen).all(|(db, s)| *s || db.used_shards().is_empty());
            if all {
                return Stopped { taken, _no_first_use: guard };
            }
        }
    }

    /// The shard with this index over all databases.
    #[inline]
    pub fn shard(&self, index: u32) -> &Shard {
        &self.dbs[index as usize / SHARDS].shards()[index as usize % SHARDS]
    }
}

impl ShardData {
    /// Finds an entry.
    #[inline]
    pub fn find(&self, hash: u64, key: &[u8]) -> Option<Entry> {
        self.table.find(hash, |e| e.key() == key)
    }

    /// Adds an entry whose key is absent.
    pub fn insert(&mut self, shard: &Shard, hash: u64, entry: Entry) {
        let entry = entry.marked(self.walk.mark());
        self.table.insert(hash, entry);
        self.count(shard, entry, 1);
        self.publish_table(shard);
    }

    /// Takes an entry out of the table. The caller frees it.
    pub fn remove(&mut self, shard: &Shard, hash: u64, key: &[u8]) -> Option<Entry> {
        let e = self.table.remove(hash, |e| e.key() == key)?;
        self.count(shard, e, u32::MAX);
        self.publish_table(shard);
        Some(e)
    }

    /// Replaces `old` by `new`, which has the same key. The caller frees `old`.
    pub fn replace(&mut self, shard: &Shard, hash: u64, old: Entry, new: Entry) {
        self.put_in_place(hash, old, new.marked(self.walk.mark()));
        self.count(shard, old, u32::MAX);
        self.count(shard, new, 1);
    }

    /// Notes that an entry moved with its value: `old` is gone, it was volatile or not and of this kind.
    pub fn note_change(
        &mut self,
        shard: &Shard,
        hash: u64,
        old: Entry,
        new: Entry,
        old_volatile: bool,
        old_kind: Kind,
    ) {
        debug_assert_eq!(old_kind, new.kind());
        self.put_in_place(hash, old, new);
        self.volatile = self.volatile.wrapping_sub(u32::from(old_volatile));
        self.count_expiry(shard, new, 1);
    }

    fn put_in_place(&mut self, hash: u64, old: Entry, new: Entry) {
        if old != new {
            self.table.replace(hash, |e| *e == old, new);
        }
    }

    /// Takes all entries out of the table. The caller frees them.
    pub fn take_all(&mut self, shard: &Shard) -> Vec<Entry> {
        let mut entries = Vec::with_capacity(self.table.len());
        self.table.drain(|e| entries.push(e));
        (self.volatile, self.module_values, self.field_expiry) = (0, 0, 0);
        self.publish(shard);
        entries
    }

    /// Swaps the entries of two shards, not what clients wait for or watch.
    pub fn swap_entries(&mut self, shard: &Shard, other: &mut ShardData, other_shard: &Shard) {
        std::mem::swap(&mut self.table, &mut other.table);
        std::mem::swap(&mut self.volatile, &mut other.volatile);
        std::mem::swap(&mut self.next_expire, &mut other.next_expire);
        std::mem::swap(&mut self.module_values, &mut other.module_values);
        std::mem::swap(&mut self.field_expiry, &mut other.field_expiry);
        std::mem::swap(&mut self.next_field_expire, &mut other.next_field_expire);
        std::mem::swap(&mut self.walk, &mut other.walk);
        std::mem::swap(&mut self.before, &mut other.before);
        self.publish(shard);
        other.publish(other_shard);
    }

    fn publish_table(&self, shard: &Shard) {
        shard.len.store(self.table.len() as u32, Relaxed);
        let (base, count) = self.table.hint();
        shard.hint.0.store(base, Relaxed);
        shard.hint.1.store(count, Relaxed);
    }

    /// Writes the numbers that are read without the latch.
    fn publish(&self, shard: &Shard) {
        self.publish_table(shard);
        shard.volatile.store(self.volatile, Relaxed);
        shard.field_expiry.store(self.field_expiry, Relaxed);
    }

    /// Looks for what expires: the keys past their time, and the keys of hashes with fields past theirs. What is found
    /// is the caller's to deal with; the rest decides when it is worth while to look again.
    pub fn find_due(
        &mut self,
        shard: &Shard,
        now: i64,
        keys: &mut Vec<Vec<u8>>,
        hashes: &mut Vec<(i64, Vec<u8>)>,
    ) {
        let look_at_keys = self.volatile > 0 && self.next_expire <= now;
        let look_at_fields = self.field_expiry > 0 && self.next_field_expire <= now;
        if !look_at_keys && !look_at_fields {
            return;
        }
        let (mut next, mut next_field, mut with_fields) = (i64::MAX, i64::MAX, 0);
        for e in self.table.iter() {
            match e.expire() {
                Some(at) if at <= now => {
                    keys.push(e.key().to_vec());
                    continue;
                }
                Some(at) => next = next.min(at),
                None => {}
            }
            if !look_at_fields || e.kind() != Kind::Hash {
                continue;
            }
            let ValueRef::Hash(h) = e.value() else { continue };
            if let Some(at) = h.min_expire() {
                with_fields += 1;
                if at <= now {
                    hashes.push((at, e.key().to_vec()));
                } else {
                    next_field = next_field.min(at);
                }
            }
        }
        self.next_expire = next;
        if look_at_fields {
            self.next_field_expire = next_field;
            // Keys that are about to go take their part of the count with them.
            self.field_expiry = with_fields + self.dying_hashes(keys);
            shard.field_expiry.store(self.field_expiry, Relaxed);
        }
    }

    fn dying_hashes(&self, keys: &[Vec<u8>]) -> u32 {
        let has_fields = |key: &&Vec<u8>| match self.find(hash_bytes(key), key).map(|e| e.value()) {
            Some(ValueRef::Hash(h)) => h.min_expire().is_some(),
            _ => false,
        };
        keys.iter().filter(has_fields).count() as u32
    }

    /// Notes that a hash whose expired fields were removed has none left that expire.
    pub fn no_field_expiry(&mut self, shard: &Shard) {
        self.field_expiry = self.field_expiry.saturating_sub(1);
        shard.field_expiry.store(self.field_expiry, Relaxed);
    }

    /// Changes when a volatile entry expires; it stays where it is.
    pub fn move_expiry(&mut self, entry: Entry, at: i64) {
        debug_assert!(entry.expire().is_some());
        let same = entry.with_expire(Some(at));
        debug_assert!(same == entry);
        self.next_expire = self.next_expire.min(at);
    }

    /// Notes that a hash has fields with an expiry, the soonest at `at`; `more` when it had none before.
    pub fn note_field_expiry(&mut self, shard: &Shard, at: i64, more: bool) {
        if more {
            self.field_expiry = self.field_expiry.saturating_add(1);
        }
        if more && self.field_expiry == 1 || at < self.next_field_expire {
            self.next_field_expire = at;
        }
        shard.field_expiry.store(self.field_expiry, Relaxed);
    }

    /// Adjusts the counters by one entry; `by` is 1 or -1 (wrapping).
    fn count(&mut self, shard: &Shard, e: Entry, by: u32) {
        self.count_expiry(shard, e, by);
        match e.kind() {
            Kind::Module => self.module_values = self.module_values.wrapping_add(by),
            Kind::Hash => self.count_fields(shard, e, by == 1),
            _ => {}
        }
    }

    fn count_expiry(&mut self, shard: &Shard, e: Entry, by: u32) {
        if let Some(at) = e.expire() {
            self.volatile = self.volatile.wrapping_add(by);
            if by == 1 && (self.volatile == 1 || at < self.next_expire) {
                self.next_expire = at;
            }
        }
        shard.volatile.store(self.volatile, Relaxed);
    }

    fn count_fields(&mut self, shard: &Shard, e: Entry, comes: bool) {
        let ValueRef::Hash(h) = e.value() else { return };
        match h.min_expire() {
            Some(at) if comes => self.note_field_expiry(shard, at, true),
            Some(_) => {
                self.field_expiry = self.field_expiry.saturating_sub(1);
                shard.field_expiry.store(self.field_expiry, Relaxed);
            }
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_the_cluster() {
        assert_eq!(crc16(b"123456789"), (0x31c3, false));
        assert_eq!(slot_of(b"foo"), 12182);
        assert_eq!(slot_of(b"{user1000}.following"), slot_of(b"{user1000}.followers"));
        assert_eq!(slot_of(b"foo{}{bar}"), crc16(b"foo{}{bar}").0 % 16384);
        assert_eq!(slot_of(b"foo{{bar}}zap"), crc16(b"{bar").0 % 16384);
        let by_byte = |bytes: &[u8]| {
            bytes
                .iter()
                .fold(0u16, |c, &b| (c << 8) ^ CRC16[0][((c >> 8) ^ u16::from(b)) as usize & 0xff])
        };
        for len in 0..40u8 {
            let bytes: Vec<u8> = (0..len).map(|i| i.wrapping_mul(151) ^ len).collect();
            assert_eq!(crc16(&bytes), (by_byte(&bytes), bytes.contains(&b'{')));
        }
    }
}
