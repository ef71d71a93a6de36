//! STEP 4, native path: which keys and shards a command needs, and their latches.
use super::ahead;
use super::table::{self, flags, Command};
use crate::keyspace::event::class;
use crate::keyspace::shard::{hash_bytes, shard_of, Shard, SHARDS};
use crate::keyspace::value::Kind;
use crate::lock::held::Access;
use crate::lock::native::{acquire, Latches, PlannedKey};
use crate::server::Server;
use smallvec::SmallVec;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Waker;

/// The keys and shards of a native command or transaction.
#[derive(Default)]
pub struct Plan {
    /// Shards, sorted, without duplicates, by index over all databases.
    pub shards: SmallVec<[u32; 4]>,
    /// The keys.
    pub keys: SmallVec<[PlannedKey; 4]>,
    /// Where each key's bytes are in the arguments, which outlive the plan's transaction.
    names: SmallVec<[(*const u8, usize); 4]>,
    /// Reads too must not meet module values.
    values: bool,
    /// A key whose place is known already.
    known: Option<ahead::KnownKey>,
}

/// The result of [`Plan::lock`].
pub enum Locked<'a> {
    /// All latches are taken; the guard releases them.
    Yes(LatchGuard<'a>),
    /// A key is held; the waker waits at its shard.
    Parked,
    /// A key has a value, or an expiry, that only the module path can deal with.
    NeedsModulePath,
}

/// Releases the latches of a plan.
pub struct LatchGuard<'a> {
    server: &'static Server,
    shards: &'a [u32],
}

impl Drop for LatchGuard<'_> {
    #[inline]
    fn drop(&mut self) {
        match *self.shards {
            [s] => self.server.unlatch(s),
            _ => self.shards.iter().for_each(|s| self.server.unlatch(*s)),
        }
    }
}

impl Latches for Server {
    #[inline]
    fn try_latch(&self, shard: u32) -> bool {
        self.keyspace.shard(shard).latch.try_lock()
    }

    fn latch(&self, shard: u32) {
        self.keyspace.shard(shard).latch.lock();
    }

    #[inline]
    fn unlatch(&self, shard: u32) {
        // SAFETY: lock: `acquire` and `LatchGuard` unlatch only what they took.
        unsafe { self.keyspace.shard(shard).latch.unlock() };
    }

    #[inline]
    fn conflicts(&self, key: &PlannedKey) -> bool {
        // SAFETY: lock: `acquire` has the latch of the key's shard.
        let data = unsafe { self.keyspace.shard(key.shard).data() };
        data.held.conflicts(key.hash, key.access)
    }
}

/// Leaves the waker at a shard, one of whose keys is held.
#[cold]
fn park(server: &'static Server, shard: u32, waker: &Waker) -> Locked<'static> {
    // SAFETY: lock: `acquire` left us this one latch.
    let data = unsafe { server.keyspace.shard(shard).data() };
    data.waiters.push(waker.clone());
    server.unlatch(shard);
    server.stats.parked.add(1);
    Locked::Parked
}

impl Plan {
    /// An empty plan that knows the place of a key.
    pub fn knowing(known: Option<ahead::KnownKey>) -> Plan {
        Plan { known, ..Plan::default() }
    }

    /// Adds a command's keys. Returns false when they cannot be told.
    #[inline]
    pub fn add(&mut self, command: &Command, args: &[&[u8]], db: usize) -> bool {
        self.values |= command.has(flags::VALUES);
        if let [table::KeySpec {
            begin: table::Begin::Index(1),
            find: table::Find::Range(0, _, _),
            flags,
            ..
        }] = command.keys[..]
        {
            self.add_key(args[1], Command::access(flags), db);
            return true;
        }
        let Some(positions) = command.key_positions(args) else { return false };
        for (i, spec_flags) in positions {
            self.add_key(args[i], Command::access(spec_flags), db);
        }
        true
    }

    /// Adds one key.
    #[inline]
    pub fn add_key(&mut self, key: &[u8], access: Access, db: usize) {
        let known = self.known.and_then(|known| known.place(key));
        let (shard, hash) = known.unwrap_or_else(|| (shard_of(key), hash_bytes(key)));
        let shard = (db * SHARDS + shard) as u32;
        if self.shards.is_empty() {
            self.shards.push(shard);
        } else if let Err(at) = self.shards.binary_search(&shard) {
            self.shards.insert(at, shard);
        }
        self.keys.push(PlannedKey { shard, hash, access });
        self.names.push((key.as_ptr(), key.len()));
    }

    /// The shard and the hash of a key; `None` if the plan does not have its shard.
    #[inline]
    pub fn place_of(&self, db: usize, key: &[u8]) -> Option<(u32, u64)> {
        // Bodies name keys by their arguments, so the address nearly always tells which one it is.
        if let (Some(k), Some(name)) = (self.keys.first(), self.names.first()) {
            if *name == (key.as_ptr(), key.len()) && k.shard as usize / SHARDS == db {
                return Some((k.shard, k.hash));
            }
        }
        self.place_of_other(db, key)
    }

    fn place_of_other(&self, db: usize, key: &[u8]) -> Option<(u32, u64)> {
        for (k, name) in self.keys.iter().zip(&self.names) {
            if *name == (key.as_ptr(), key.len()) && k.shard as usize / SHARDS == db {
                return Some((k.shard, k.hash));
            }
        }
        let shard = (db * SHARDS + shard_of(key)) as u32;
        self.shards.contains(&shard).then(|| (shard, hash_bytes(key)))
    }

    /// Takes the latches and checks that the native path can do it.
    #[inline]
    pub fn lock<'a>(&'a self, server: &'static Server, now: i64, waker: &Waker) -> Locked<'a> {
        if self.keys.len() > 1 {
            self.fetch(server);
        }
        if let Err(shard) = acquire(server, &self.shards, &self.keys) {
            return park(server, shard, waker);
        }
        let guard = LatchGuard { server, shards: &self.shards };
        match self.is_plain(server) {
            true => Locked::Yes(guard),
            false => self.look_closer(guard, now, waker),
        }
    }

    /// The rest of [`Plan::lock`], where something is going on.
    #[inline(never)]
    fn look_closer<'a>(&'a self, guard: LatchGuard<'a>, now: i64, waker: &Waker) -> Locked<'a> {
        let server = guard.server;
        if crate::snapshot::running() {
            let keys = self.keys.iter().zip(&self.names).map(|(k, name)| {
                // SAFETY: layout: the names point into the arguments, which outlive the plan.
                (k.shard, k.hash, k.access, unsafe { std::slice::from_raw_parts(name.0, name.1) })
            });
            if let Some(shard) = crate::snapshot::ask_for_huge(server, keys) {
                // SAFETY: lock: all latches are taken.
                unsafe { server.keyspace.shard(shard).data() }.waiters.push(waker.clone());
                server.stats.parked.add(1);
                return Locked::Parked;
            }
        }
        match self.needs_module_path(server, now) {
            true => Locked::NeedsModulePath,
            false => Locked::Yes(guard),
        }
    }

    /// Whether it is one key without anything about it that [`Plan::lock`] has to look at more closely. All latches are
    /// taken.
    #[inline]
    fn is_plain(&self, server: &Server) -> bool {
        let [k] = self.keys[..] else { return false };
        if crate::snapshot::running()
            || server.module_events() & class::EXPIRED != 0
            || server.blocked_keys.load(Relaxed) != 0
            || crate::module::api::promise::any_waits_for_keys()
        {
            return false;
        }
        // SAFETY: lock: all latches are taken.
        unsafe { server.keyspace.shard(k.shard).data() }.module_values == 0
    }

    /// Has the processor fetch what the look-ups of the keys will touch, for all of them at once.
    fn fetch(&self, server: &Server) {
        let each = |f: fn(&Shard, u64)| {
            self.keys.iter().for_each(|key| f(server.keyspace.shard(key.shard), key.hash));
        };
        each(|shard, _| shard.prefetch());
        each(|shard, hash| shard.prefetch_bucket(hash));
        each(|shard, hash| shard.prefetch_entry(hash));
    }

    /// Whether a key has a value, or an expiry, that only the module path can deal with. All latches are taken.
    pub fn needs_module_path(&self, server: &Server, now: i64) -> bool {
        let expiry_owed = server.module_events() & class::EXPIRED != 0;
        let promised = crate::module::api::promise::any_waits_for_keys();
        let awaited = server.blocked_keys.load(Relaxed) != 0;
        for (k, name) in self.keys.iter().zip(&self.names) {
            let write = k.access == Access::Write;
            if !write && !self.values {
                continue;
            }
            // SAFETY: lock: all latches are taken.
            let data = unsafe { server.keyspace.shard(k.shard).data() };
            if promised && !data.blocked.is_empty() {
                // SAFETY: layout: the names point into the arguments, which outlive the plan.
                let key = unsafe { std::slice::from_raw_parts(name.0, name.1) };
                if data.blocked.get(key).is_some_and(|list| list.iter().any(|w| w.promised)) {
                    return true;
                }
            }
            // A client of a module that waits for the key has to see each of its changes before the next.
            if awaited && write {
                // SAFETY: layout: as above.
                let key = unsafe { std::slice::from_raw_parts(name.0, name.1) };
                if crate::module::blocked::is_awaited(k.shard as usize / SHARDS, key) {
                    return true;
                }
            }
            if data.module_values == 0 && !(expiry_owed && write && data.volatile > 0) {
                continue;
            }
            // SAFETY: layout: the names point into the arguments, which outlive the plan.
            let key = unsafe { std::slice::from_raw_parts(name.0, name.1) };
            if let Some(e) = data.find(k.hash, key) {
                if e.kind() == Kind::Module || (expiry_owed && write && e.is_expired(now)) {
                    return true;
                }
            }
        }
        false
    }
}
