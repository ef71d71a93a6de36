//! [`Tx`]: what command bodies see of the keyspace, the same on both paths.
use super::lapsed;
use super::{error, CommandError};
use crate::connection::client::{flag, Session};
use crate::dispatch::plan::Plan;
use crate::keyspace::entry::Entry;
use crate::keyspace::event::{self, class};
use crate::keyspace::shard::{hash_bytes, shard_of, Shard, ShardData, SHARDS};
use crate::keyspace::value::{Kind, ModuleValue, Value, ValueMut, ValueRef};
use crate::lock::held::Access;
use crate::module::abi;
use crate::module::persona::{self, Persona};
use crate::server::Server;
use crate::snapshot;
use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::Ordering::Relaxed;

/// How a transaction reaches keys; see [`crate::lock`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// The latches of all its keys' shards are taken.
    Native,
    /// The module lock is held by this thread; keys are held from their first touch.
    Module,
}

/// What becomes of a key's expiry when its value is set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Expiry {
    /// The key has none afterwards.
    Clear,
    /// It stays as it is.
    Keep,
    /// It expires at this Unix time in milliseconds.
    At(i64),
}

/// What [`Tx::put`] did.
enum Put {
    /// The key was absent.
    New,
    /// The string was overwritten where it is.
    InPlace,
    /// This entry was replaced; the caller frees it.
    Replaced(Entry),
    /// Nothing: this entry needs more than the latch allows.
    Slow(Entry),
}

/// A transaction: the only way in which a command body reaches keys.
///
/// References that it gives out borrow it, so a body cannot keep one across a change or an event.
pub struct Tx<'a> {
    /// The client on whose behalf the command runs.
    pub session: &'a mut Session,
    /// The server.
    pub server: &'static Server,
    /// Time of the command, Unix milliseconds.
    pub now: i64,
    /// Changes made, as Redis counts them for `rdb_changes_since_last_save`.
    pub dirty: u64,
    /// What goes to the effect log in place of the command itself; see `propagate`.
    pub effects: crate::propagate::Effects,
    /// Keys that changed and that somebody waits for, with their databases (native path).
    pub ready: Vec<(usize, Vec<u8>)>,
    /// What reads met past its time; it is deleted when the body is done.
    pub lapsed: lapsed::Lapsed,
    /// The server that the module meets that calls this command.
    pub persona: Persona,
    pub(super) mode: Mode,
    plan: Option<&'a Plan>,
}

/// A transaction that most often leaves nothing to be freed, and looks once whether it does: the compiler does not see it.
pub struct Brief<'a>(ManuallyDrop<Tx<'a>>);

impl<'a> Brief<'a> {
    /// Makes one of a transaction.
    #[inline]
    pub fn new(tx: Tx<'a>) -> Brief<'a> {
        Brief(ManuallyDrop::new(tx))
    }
}

impl<'a> Deref for Brief<'a> {
    type Target = Tx<'a>;
    #[inline]
    fn deref(&self) -> &Tx<'a> {
        &self.0
    }
}

impl<'a> DerefMut for Brief<'a> {
    #[inline]
    fn deref_mut(&mut self) -> &mut Tx<'a> {
        &mut self.0
    }
}

impl Drop for Brief<'_> {
    #[inline]
    fn drop(&mut self) {
        let tx = &mut *self.0;
        if tx.ready.capacity() > 0 || !tx.effects.is_untouched() || !tx.lapsed.is_untouched() {
            // SAFETY: layout: dropped here only.
            unsafe { ManuallyDrop::drop(&mut self.0) };
        }
    }
}

impl<'a> Tx<'a> {
    /// A transaction whose latches the caller has taken, as its plan says, and keeps until it is done. Without a plan
    /// it reaches no keys.
    pub fn native(
        server: &'static Server,
        session: &'a mut Session,
        now: i64,
        plan: Option<&'a Plan>,
    ) -> Tx<'a> {
        Tx::new(server, session, now, Mode::Native, plan)
    }

    /// A transaction under the module lock, which the calling thread has.
    pub fn module(server: &'static Server, session: &'a mut Session, now: i64) -> Tx<'a> {
        server.unit_time(|| now);
        Tx::new(server, session, now, Mode::Module, None)
    }

    #[inline]
    fn new(
        server: &'static Server,
        session: &'a mut Session,
        now: i64,
        mode: Mode,
        plan: Option<&'a Plan>,
    ) -> Tx<'a> {
        Tx {
            session,
            server,
            now,
            dirty: 0,
            effects: Default::default(),
            ready: Vec::new(),
            lapsed: Default::default(),
            persona: persona::DEFAULT,
            mode,
            plan,
        }
    }

    /// Which path this is; for the dispatcher, not for bodies.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Whether a key may be touched. Only for commands whose specifications cannot tell all keys that odd arguments name
    /// (a second `STORE`).
    pub fn reaches(&self, key: &[u8]) -> bool {
        match self.mode {
            Mode::Native => self.plan.is_some_and(|p| p.place_of(self.db(), key).is_some()),
            Mode::Module => true,
        }
    }

    /// The selected database.
    #[inline]
    pub fn db(&self) -> usize {
        self.session.db
    }

    /// Tells module key handles that entries may have moved.
    #[inline]
    pub(super) fn structure_changed(&self) {
        if self.mode == Mode::Module {
            // SAFETY: lock: module mode means that this thread has the module lock.
            unsafe { self.server.holder() }.structure += 1;
        }
    }

    /// While files are loaded no key expires: the next command in the file may be about it. Nor while a module is told of a
    /// key: it still finds it.
    #[inline]
    pub(super) fn keeps_expired(&self) -> bool {
        self.server.loading.load(Relaxed)
            || self.session.shared.has(flag::MASTER)
            // SAFETY: lock: module mode means that this thread has the module lock.
            || self.mode == Mode::Module && unsafe { self.server.holder() }.keep_expired != 0
    }

    /// Whether readers must treat an entry as missing.
    #[inline]
    pub fn is_dead(&self, e: Entry) -> bool {
        e.is_expired(self.now) && !self.keeps_expired()
    }

    /// The time by which fields of hashes expire; see [`Tx::keeps_expired`].
    pub fn field_time(&self) -> i64 {
        if self.keeps_expired() {
            i64::MIN
        } else {
            self.now
        }
    }

    /// Whether a time has come for which a key, or a field, is to be deleted.
    pub fn is_past(&self, at: i64) -> bool {
        at <= self.now && !self.keeps_expired()
    }

    /// The shard of a key with its index over all databases, and the key's hash.
    #[inline]
    fn shard(&self, db: usize, key: &[u8]) -> (&'static Shard, u32, u64) {
        let known = self.session.known_key.and_then(|known| known.place_of_copy(key));
        let (i, hash) = known.unwrap_or_else(|| (shard_of(key), hash_bytes(key)));
        let shard = &self.server.keyspace.dbs()[db].shards()[i];
        (shard, (db * SHARDS + i) as u32, hash)
    }

    /// Runs `f` on the shard's data: under the latch, with the key held in module mode.
    #[inline]
    pub(super) fn with_shard<R>(
        &self,
        db: usize,
        key: &[u8],
        access: Access,
        f: impl FnOnce(&'static Shard, &mut ShardData, u64) -> R,
    ) -> R {
        match self.mode {
            Mode::Native => {
                let place = self.plan.and_then(|plan| plan.place_of(db, key));
                let (index, hash) = place.expect("a native command touched an undeclared key");
                let shard = self.server.keyspace.shard(index);
                // SAFETY: lock: a native transaction has the latches of all shards of its plan.
                let data = unsafe { shard.data() };
                if access == Access::Write && data.walk.cut().is_some() {
                    snapshot::before_change(data, hash, key);
                }
                f(shard, data, hash)
            }
            Mode::Module => {
                let (shard, index, hash) = self.shard(db, key);
                shard.latch.lock();
                // SAFETY: lock: taken on the line above, released below.
                let data = unsafe { shard.data() };
                if data.held.hold(hash, access) {
                    // SAFETY: lock: module mode means that this thread has the module lock.
                    unsafe { self.server.holder() }.touched.push(index);
                }
                if access == Access::Write && data.walk.cut().is_some() {
                    snapshot::before_change_held(shard, hash, key);
                }
                // SAFETY: lock: taken above; released and taken again in between at most.
                let r = f(shard, unsafe { shard.data() }, hash);
                // SAFETY: lock: taken above.
                unsafe { shard.latch.unlock() };
                r
            }
        }
    }

    /// The entry of a key, dead or alive. In module mode the latch is free again when it returns, but the key is held.
    #[inline]
    pub(super) fn place(&self, db: usize, key: &[u8], access: Access) -> Option<Entry> {
        self.with_shard(db, key, access, |_, data, hash| data.find(hash, key))
    }

    /// The entry of a live key, without counting it as an access.
    #[inline]
    fn live(&self, db: usize, key: &[u8], access: Access) -> Option<Entry> {
        let e = self.place(db, key, access)?;
        if self.is_dead(e) {
            self.lapsed.key(db, key);
            return None;
        }
        Some(e)
    }

    // ----- reading -------------------------------------------------------------------------------------------------

    /// The value of a key; counts as an access and in `keyspace_hits` and `keyspace_misses`.
    #[inline]
    pub fn get(&self, key: &[u8]) -> Option<ValueRef<'_>> {
        let e = self.look(key)?;
        self.touch(e);
        Some(e.value())
    }

    /// The entry of a live key, counted in `keyspace_hits` and `keyspace_misses` but not as an access (`TYPE`, `TTL`).
    /// The handle is good until the next change of the key.
    #[inline]
    pub fn look(&self, key: &[u8]) -> Option<Entry> {
        let found = self.live(self.db(), key, Access::Read);
        if found.is_some() {
            self.server.stats.keyspace_hits.add(1);
        } else {
            self.missed(key);
        }
        found
    }

    fn missed(&self, key: &[u8]) {
        self.server.stats.keyspace_misses.add(1);
        let listeners = self.server.client_events() | self.server.module_events();
        if listeners & class::KEY_MISS != 0 {
            self.fire(self.db(), &event::KEYMISS, key);
        }
    }

    /// Counts an access to an entry.
    #[inline]
    pub fn touch(&self, e: Entry) {
        if !self.session.shared.has(flag::NO_TOUCH) {
            e.set_clock(self.server.access_clock(self.now, e.clock()));
        }
    }

    /// Counts an access to a key, whatever `CLIENT NO-TOUCH` says; false if there is no such key (`TOUCH`).
    pub fn touch_key(&self, key: &[u8]) -> bool {
        let found = self.look(key);
        if let Some(e) = found {
            e.set_clock(self.server.access_clock(self.now, e.clock()));
        }
        found.is_some()
    }

    /// The value of a key, without counting an access (`TYPE`, `OBJECT`, `DEBUG`).
    pub fn peek(&self, key: &[u8]) -> Option<ValueRef<'_>> {
        self.live(self.db(), key, Access::Read).map(|e| e.value())
    }

    /// The entry of a live key, for commands that look at more than its value. The handle is good until the next change
    /// of the key.
    pub fn peek_entry(&self, key: &[u8]) -> Option<Entry> {
        self.live(self.db(), key, Access::Read)
    }

    /// The entry of a key, even of one past its time, which stays (`DEBUG OBJECT`).
    pub fn any_entry(&self, key: &[u8]) -> Option<Entry> {
        self.place(self.db(), key, Access::Read)
    }

    /// Whether a key exists.
    pub fn exists(&self, key: &[u8]) -> bool {
        self.live(self.db(), key, Access::Read).is_some()
    }

    /// Whether a key exists in another database (`MOVE`, `COPY`).
    pub fn exists_in(&self, db: usize, key: &[u8]) -> bool {
        self.live(db, key, Access::Write).is_some()
    }

    /// Whether a key exists that is about to be changed: an expired one is deleted first, with its event.
    pub fn exists_for_write(&mut self, key: &[u8]) -> bool {
        self.live_mut(key).is_some()
    }

    /// When a key expires: `None` if there is no such key, `Some(None)` if it does not.
    pub fn expire_at(&self, key: &[u8]) -> Option<Option<i64>> {
        self.live(self.db(), key, Access::Read).map(|e| e.expire())
    }

    // ----- changing ------------------------------------------------------------------------------------------------

    /// The entry of a key for a change. An expired key is deleted first, with its event.
    fn live_mut(&mut self, key: &[u8]) -> Option<Entry> {
        let e = self.place(self.db(), key, Access::Write)?;
        if self.is_dead(e) {
            self.expire_now(key);
            return None;
        }
        self.touch(e);
        Some(e)
    }

    /// Deletes an expired key, with event and effect.
    pub fn expire_now(&mut self, key: &[u8]) {
        self.expire_in(self.db(), key);
    }

    fn expire_in(&mut self, db: usize, key: &[u8]) {
        let Some(e) = self.place(db, key, Access::Write) else { return };
        if let ValueRef::Module(m) = e.value() {
            crate::module::datatype::unlinked(key, db, m);
        }
        let (server, mut gone) = (self.server, false);
        server.latency.watch(&server.config, "expire-del", || {
            if let Some(e) = self.unlink_for(abi::SUBEVENT_KEY_EXPIRED, db, key) {
                e.free();
                gone = true;
            }
        });
        if gone {
            self.server.stats.expired_keys.add(1);
            // Watchers are not told: `EXEC` looks itself whether a key that was alive at `WATCH` still is.
            if self.server.tracking.any() {
                self.tell_trackers_of_expiry(key);
            }
            self.notify_in(db, &event::EXPIRED_KEY, key);
            // Behind what the event led to, as on Redis.
            let lazily = self.server.config.lazyfree_lazy_expire();
            self.leave_deletion(db, &[deletion(lazily), key]);
        }
    }

    /// Evicts a key of the selected database, with event and effect. Returns how many bytes that freed, without what
    /// telling others of it takes.
    pub fn evict(&mut self, key: &[u8]) -> u64 {
        let lazily = self.server.config.lazyfree_lazy_eviction();
        let before = crate::module::api::memory::of_this_thread();
        let server = self.server;
        let removed = server.latency.watch(&server.config, "eviction-del", || {
            self.remove_for(abi::SUBEVENT_KEY_EVICTED, key, lazily)
        });
        let freed = before.wrapping_sub(crate::module::api::memory::of_this_thread()) as i64;
        let freed = freed.max(0) as u64;
        if !removed {
            // Gone, or past its expiry: its deletion was told as that.
            return freed;
        }
        self.server.stats.evicted_keys.add(1);
        self.modified(key);
        self.notify(&event::EVICTED_KEY, key);
        self.leave_deletion(self.db(), &[deletion(lazily), key]);
        freed
    }

    /// Deletes a key if its time has come (the expiry cycle).
    pub fn expire_if_due(&mut self, key: &[u8]) {
        let db = self.db();
        if self.place(db, key, Access::Write).is_some_and(|e| e.is_expired(self.now)) {
            self.expire_now(key);
        }
    }

    /// The value of a key, to change in place.
    pub fn get_mut(&mut self, key: &[u8]) -> Option<ValueMut<'_>> {
        self.live_mut(key).map(|mut e| e.value_mut())
    }

    /// The value of a key, made by `make` if there is none (with the event `new`).
    pub fn get_or_create(&mut self, key: &[u8], make: impl FnOnce() -> Value) -> ValueMut<'_> {
        if let Some(mut e) = self.live_mut(key) {
            return e.value_mut();
        }
        self.set(key, make(), Expiry::Clear);
        let mut e = self.place(self.db(), key, Access::Write).expect("just inserted");
        e.value_mut()
    }

    /// The number of a string that is stored as one, to change in place.
    pub fn int_mut(&mut self, key: &[u8]) -> Option<&mut i64> {
        self.live_mut(key).and_then(|mut e| e.int_mut())
    }

    /// The buffer of a string, to change in place: made empty if the key is missing, moved to the heap if need be.
    pub fn string_mut(&mut self, key: &[u8]) -> Result<&mut Vec<u8>, CommandError> {
        let old = match self.live_mut(key) {
            None => {
                self.set(key, Value::string(b""), Expiry::Clear);
                self.place(self.db(), key, Access::Write).expect("just inserted")
            }
            Some(e) if e.kind() != Kind::String => return Err(error::WRONGTYPE),
            Some(e) => e,
        };
        if old.is_heap_string() {
            let mut e = old;
            return Ok(e.heap_string().expect("a heap string"));
        }
        let mut new = self.with_shard(self.db(), key, Access::Write, |shard, data, hash| {
            let volatile = old.expire().is_some();
            let new = old.into_heap_string();
            data.note_change(shard, hash, old, new, volatile, Kind::String);
            new
        });
        self.structure_changed();
        Ok(new.heap_string().expect("a heap string"))
    }

    /// Sets a key to a value, replacing what it had. Fires `new` for a new key; other events are the caller's.
    pub fn set(&mut self, key: &[u8], value: Value, expiry: Expiry) {
        self.set_in(self.db(), key, value, expiry);
    }

    /// Sets a key in another database.
    pub fn set_in(&mut self, db: usize, key: &[u8], value: Value, expiry: Expiry) {
        self.put(db, key, expiry, |key, at, clock| Entry::new(key, value, at, clock), None);
    }

    /// Sets a key to a string, in place where that is possible.
    pub fn set_string(&mut self, key: &[u8], text: &[u8], expiry: Expiry) {
        self.put(
            self.db(),
            key,
            expiry,
            |key, at, clock| Entry::new_string(key, text, at, clock),
            Some(text),
        );
    }

    fn put(
        &mut self,
        db: usize,
        key: &[u8],
        expiry: Expiry,
        make: impl FnOnce(&[u8], Option<i64>, u32) -> Entry,
        text: Option<&[u8]>,
    ) {
        // A value that keeps its expiry is changed, not overwritten (`INCR`).
        if expiry != Expiry::Keep && self.tells_keys() {
            if let Some(e) = self.live(db, key, Access::Write) {
                let reason = abi::SUBEVENT_KEY_OVERWRITTEN;
                crate::module::event::key_event(reason, db, key, e);
            }
        }
        if matches!(expiry, Expiry::At(_)) {
            self.note_own_expiry(db, key);
        }
        let clock = self.server.access_clock(self.now, 0);
        let now = self.field_time();
        let mut make = Some(make);
        let put = self.with_shard(db, key, Access::Write, |shard, data, hash| {
            let Some(mut old) = data.find(hash, key) else {
                let at = if let Expiry::At(ms) = expiry { Some(ms) } else { None };
                if let Some(make) = make.take() {
                    data.insert(shard, hash, make(key, at, clock));
                }
                return Put::New;
            };
            if old.is_expired(now) || old.kind() == Kind::Module {
                return Put::Slow(old);
            }
            let at = match expiry {
                Expiry::Clear => None,
                Expiry::Keep => old.expire(),
                Expiry::At(ms) => Some(ms),
            };
            if let (Some(text), true) = (text, at.is_some() == old.expire().is_some()) {
                if old.overwrite_string(text) {
                    old.set_clock(clock);
                    if let Some(at) = at {
                        data.move_expiry(old, at);
                    }
                    return Put::InPlace;
                }
            }
            if let Some(make) = make.take() {
                let new = make(key, at, clock);
                data.replace(shard, hash, old, new);
            }
            Put::Replaced(old)
        });
        match put {
            Put::InPlace => {}
            Put::New => {
                self.structure_changed();
                self.server.key_ready(db, key);
                self.notify_in(db, &event::NEW_KEY, key);
            }
            Put::Replaced(old) => {
                self.structure_changed();
                self.server.key_gone(db, key, old.kind());
                old.free();
            }
            Put::Slow(old) => {
                if let Some(make) = make {
                    self.put_slowly(db, key, expiry, old, make);
                }
            }
        }
    }

    /// Sets a key that has an expired value, which owes an event, or a module's value, which the module frees.
    #[cold]
    fn put_slowly(
        &mut self,
        db: usize,
        key: &[u8],
        expiry: Expiry,
        old: Entry,
        make: impl FnOnce(&[u8], Option<i64>, u32) -> Entry,
    ) {
        if self.is_dead(old) {
            self.expire_in(db, key);
            return self.put(db, key, expiry, make, None);
        }
        if let ValueRef::Module(m) = old.value() {
            crate::module::datatype::unlinked(key, db, m);
        }
        let clock = self.server.access_clock(self.now, 0);
        let replaced = self.with_shard(db, key, Access::Write, |shard, data, hash| {
            let old = data.find(hash, key)?;
            let at = match expiry {
                Expiry::Clear => None,
                Expiry::Keep => old.expire(),
                Expiry::At(ms) => Some(ms),
            };
            data.replace(shard, hash, old, make(key, at, clock));
            Some(old)
        });
        self.structure_changed();
        // Outside of the latch: freeing a module's value calls the module.
        if let Some(old) = replaced {
            self.server.key_gone(db, key, old.kind());
            old.free();
        }
    }

    /// Whether a module listens to the server event of keys that go.
    #[inline]
    fn tells_keys(&self) -> bool {
        self.mode == Mode::Module && self.server.modules.key_events.load(Relaxed)
    }

    /// Takes a key out of a database: its value and its expiry.
    pub(super) fn unlink(&mut self, db: usize, key: &[u8]) -> Option<Entry> {
        self.unlink_for(abi::SUBEVENT_KEY_DELETED, db, key)
    }

    /// As [`Tx::unlink`], with the reason that listening modules are told before (`SUBEVENT_KEY_*`).
    fn unlink_for(&mut self, reason: u64, db: usize, key: &[u8]) -> Option<Entry> {
        if self.tells_keys() {
            if let Some(e) = self.place(db, key, Access::Write) {
                crate::module::event::key_event(reason, db, key, e);
            }
        }
        let e = self
            .with_shard(db, key, Access::Write, |shard, data, hash| data.remove(shard, hash, key));
        self.structure_changed();
        if let Some(e) = e {
            self.server.key_gone(db, key, e.kind());
        }
        e
    }

    /// Deletes a key, dead or alive. No event. Returns whether a live key was there.
    pub fn remove(&mut self, key: &[u8]) -> bool {
        if self.live_mut(key).is_none() {
            return false;
        }
        self.remove_in(self.db(), key)
    }

    /// As [`Tx::remove`]; a large value is freed in the background when `lazily` says so.
    pub fn remove_with(&mut self, key: &[u8], lazily: bool) -> bool {
        self.remove_for(abi::SUBEVENT_KEY_DELETED, key, lazily)
    }

    /// As [`Tx::remove_with`], with the reason that listening modules are told before (`SUBEVENT_KEY_*`).
    fn remove_for(&mut self, reason: u64, key: &[u8], lazily: bool) -> bool {
        let db = self.db();
        let Some(e) = self.live_mut(key) else { return false };
        let later = lazily && crate::keyspace::lazy_free::is_worth_it(db, e);
        if let ValueRef::Module(m) = e.value() {
            crate::module::datatype::unlinked(key, db, m);
        }
        match self.unlink_for(reason, db, key) {
            Some(e) if later && e.kind() == Kind::Module => {
                crate::keyspace::lazy_free::free_by_modules(vec![e]);
            }
            Some(e) if later => crate::keyspace::lazy_free::free_later(vec![e]),
            Some(e) => e.free(),
            None => return false,
        }
        true
    }

    /// Takes a live key's value and expiry out of the database. No event.
    pub fn take(&mut self, key: &[u8]) -> Option<(Value, Option<i64>)> {
        self.live_mut(key)?;
        let e = self.unlink(self.db(), key)?;
        let expire = e.expire();
        Some((e.into_value(), expire))
    }

    /// Sets or clears the expiry of a key. Returns false if there is no such key. No event.
    pub fn set_expire(&mut self, key: &[u8], at: Option<i64>) -> bool {
        let Some(old) = self.live_mut(key) else { return false };
        if at.is_some() {
            self.note_own_expiry(self.db(), key);
        }
        self.with_shard(self.db(), key, Access::Write, |shard, data, hash| {
            let (volatile, kind) = (old.expire().is_some(), old.kind());
            let new = old.with_expire(at);
            data.note_change(shard, hash, old, new, volatile, kind);
        });
        self.structure_changed();
        true
    }

    /// Remembers a key that a client of a writable replica makes expire.
    #[inline]
    fn note_own_expiry(&self, db: usize, key: &[u8]) {
        if self.server.link.is_replica() && !self.session.shared.has(flag::MASTER) {
            self.server.link.note_own_expiry(db, key);
        }
    }

    /// Deletes a collection that became empty, with the event `del`. Returns whether it did.
    pub fn delete_if_empty(&mut self, key: &[u8]) -> bool {
        let empty = match self.peek(key) {
            Some(ValueRef::List(v)) => v.is_empty(),
            Some(ValueRef::Set(v)) => v.is_empty(),
            Some(ValueRef::Hash(v)) => v.is_empty(),
            Some(ValueRef::Zset(v)) => v.is_empty(),
            _ => false,
        };
        if empty {
            self.remove(key);
            self.notify(&event::DEL, key);
        }
        empty
    }

    /// A module's value under a key, to change in place.
    pub fn module_value_mut(&mut self, key: &[u8]) -> Option<&mut ModuleValue> {
        match self.get_mut(key) {
            Some(ValueMut::Module(m)) => Some(m),
            _ => None,
        }
    }
}

/// The command that deletes a key in the log.
pub(super) fn deletion(lazily: bool) -> &'static [u8] {
    if lazily {
        b"UNLINK"
    } else {
        b"DEL"
    }
}
