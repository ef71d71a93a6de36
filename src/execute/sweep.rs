//! Transactions over whole databases, and what the expiry cycle does with hashes.
use super::{Mode, Tx};
use crate::keyspace::entry::Entry;
use crate::keyspace::event;
use crate::keyspace::shard::SHARDS;
use crate::keyspace::value::{ValueMut, ValueRef};
use crate::lock::held::Access;
use std::sync::atomic::Ordering::Relaxed;

impl Tx<'_> {
    /// Notes that fields of a hash got an expiry, for the expiry cycle; `more` when it had none with an expiry before.
    pub fn field_expiry_set(&mut self, key: &[u8], at: i64, more: bool) {
        self.with_shard(self.db(), key, Access::Write, |shard, data, _| {
            data.note_field_expiry(shard, at, more);
        });
    }

    /// Fields of a hash went or lost their expiry; some of its fields had one before, or none. Notes when the last one of
    /// those is gone.
    pub fn fields_may_stay(&mut self, key: &[u8], expired: bool) {
        if !expired {
            return;
        }
        let Some(e) = self.place(self.db(), key, Access::Write) else { return };
        if let ValueRef::Hash(h) = e.value() {
            if h.min_expire().is_none() {
                self.with_shard(self.db(), key, Access::Write, |shard, data, _| {
                    data.no_field_expiry(shard);
                });
            }
        }
    }

    /// Deletes the fields of a hash whose time has come, and the hash with the last of them (the expiry cycle).
    pub fn expire_fields(&mut self, key: &[u8]) {
        let (db, now) = (self.db(), self.now);
        let Some(mut e) = self.place(db, key, Access::Write) else { return };
        let ValueMut::Hash(h) = e.value_mut() else { return };
        let mut fields = Vec::new();
        h.remove_expired(now, usize::MAX, |f| fields.push(f.to_vec()));
        if fields.is_empty() {
            return;
        }
        let next = h.min_expire();
        self.with_shard(db, key, Access::Write, |shard, data, _| match next {
            Some(at) => data.note_field_expiry(shard, at, false),
            None => data.no_field_expiry(shard),
        });
        self.server.stats.expired_fields.add(fields.len() as u64);
        for f in &fields {
            self.leave_deletion(db, &[b"HDEL", key, f]);
        }
        self.notify(&event::HEXPIRED, key);
        self.delete_if_empty(key);
        self.modified(key);
    }

    /// Visits all entries of a database, shard by shard, each shard held as a whole until the end of the unit.
    /// `f` may only read.
    pub fn for_each_entry(&self, db: usize, access: Access, mut f: impl FnMut(Entry) -> bool) {
        assert_eq!(self.mode, Mode::Module, "a native command does not look at whole databases");
        for (i, shard) in self.server.keyspace.dbs()[db].used_shards().iter().enumerate() {
            shard.latch.lock();
            // SAFETY: lock: taken on the line above.
            let data = unsafe { shard.data() };
            if data.held.hold_whole(access) {
                // SAFETY: lock: module mode means that this thread has the module lock.
                unsafe { self.server.holder() }.touched.push((db * SHARDS + i) as u32);
            }
            let entries: Vec<Entry> = data.table.iter().collect();
            // SAFETY: lock: taken above.
            unsafe { shard.latch.unlock() };
            for e in entries {
                if !f(e) {
                    return;
                }
            }
        }
    }

    /// A random key of the selected database, dead or alive; all are about equally likely.
    pub fn random_key(&self) -> Option<Vec<u8>> {
        assert_eq!(self.mode, Mode::Module, "a native command does not look at whole databases");
        let db = &self.server.keyspace.dbs()[self.db()];
        let mut rng = crate::observe::random::next;
        let mut left = (rng() % (db.len() as u64).max(1)) as i64;
        let shards = db.used_shards();
        let mut lens = shards.iter().map(|s| i64::from(s.len.load(Relaxed)));
        let start = lens.position(|len| {
            left -= len;
            left < 0
        })?;
        // The keys may have gone meanwhile: the next shard that has some.
        shards[start..].iter().chain(&shards[..start]).find_map(|shard| {
            shard.latch.lock();
            // SAFETY: lock: taken on the line above, released below; the entry is not used afterwards.
            let key = unsafe { shard.data() }.table.random(&mut rng).map(|e| e.key().to_vec());
            // SAFETY: lock: taken above.
            unsafe { shard.latch.unlock() };
            key
        })
    }

    /// All live keys of a database.
    pub fn all_keys(&self, db: usize) -> Vec<Vec<u8>> {
        let mut keys = Vec::new();
        self.for_each_entry(db, Access::Read, |e| {
            if !e.is_expired(self.now) {
                keys.push(e.key().to_vec());
            }
            true
        });
        keys
    }
}
