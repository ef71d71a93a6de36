//! Keys and fields of hashes that a read finds past their time.
//!
//! A read treats them as missing. As on Redis, they are deleted then, with event and effect: here when the body is done,
//! since a body that reads has no right to change. A native command has its keys' latches, so it may delete them itself,
//! unless a module's command reads the key at this moment or is owed an event or the value; then the deletion is left to
//! the expiry cycle.
use super::hash::drop_expired;
use super::{Mode, Tx};
use crate::keyspace::event::class;
use crate::keyspace::shard::{hash_bytes, shard_of, SHARDS};
use crate::keyspace::value::Kind;
use crate::lock::held::Access;
use crate::lock::native::{Latches, PlannedKey};
use std::cell::RefCell;
use std::sync::atomic::Ordering::Relaxed;

/// What of a key is past its time.
enum Part {
    /// All of it.
    Key,
    /// Some fields of a hash.
    Some(Vec<Vec<u8>>),
    /// All fields of a hash that are due.
    Fields,
}

/// What the reads of one command met.
#[derive(Default)]
pub struct Lapsed(RefCell<Vec<(usize, Vec<u8>, Part)>>);

impl Lapsed {
    /// Notes a key.
    #[cold]
    pub fn key(&self, db: usize, key: &[u8]) {
        self.0.borrow_mut().push((db, key.to_vec(), Part::Key));
    }

    /// Notes a field of a hash.
    #[cold]
    pub fn field(&self, db: usize, key: &[u8], field: &[u8]) {
        let mut all = self.0.borrow_mut();
        match all.last_mut() {
            Some((d, k, Part::Some(fields))) if (*d, k.as_slice()) == (db, key) => {
                fields.push(field.to_vec());
            }
            _ => all.push((db, key.to_vec(), Part::Some(vec![field.to_vec()]))),
        }
    }

    /// Notes a hash with fields that are due.
    #[cold]
    pub fn fields(&self, db: usize, key: &[u8]) {
        self.0.borrow_mut().push((db, key.to_vec(), Part::Fields));
    }

    /// Whether there is anything.
    #[inline]
    pub fn any(&mut self) -> bool {
        !self.0.get_mut().is_empty()
    }

    /// Whether it owns no memory.
    #[inline]
    pub fn is_untouched(&mut self) -> bool {
        self.0.get_mut().capacity() == 0
    }
}

impl Tx<'_> {
    /// Deletes what the body found past its time.
    #[cold]
    pub fn delete_lapsed(&mut self) {
        let lapsed = std::mem::take(self.lapsed.0.get_mut());
        // While clients are paused, nothing expires; a server that loads gets its data as it was saved.
        // A replica waits for its primary's word.
        if self.server.pause.active()
            || self.server.loading.load(Relaxed)
            || self.server.link.is_replica()
        {
            return;
        }
        let selected = self.session.db;
        for (db, key, part) in lapsed {
            if !self.may_delete(db, &key) {
                continue;
            }
            self.session.db = db;
            match part {
                Part::Key => self.expire_if_due(&key),
                // The key may have another type by now: then there is nothing to do.
                Part::Some(fields) => {
                    let fields: Vec<&[u8]> = fields.iter().map(Vec::as_slice).collect();
                    drop(drop_expired(self, &key, &fields));
                }
                Part::Fields => self.expire_fields(&key),
            }
        }
        self.session.db = selected;
        // The deletions looked at the keys once more.
        self.lapsed.0.get_mut().clear();
    }

    /// Whether this command may delete a key that it only declared to read.
    fn may_delete(&self, db: usize, key: &[u8]) -> bool {
        if self.mode() == Mode::Module {
            return true;
        }
        let server = self.server;
        let shard = (db * SHARDS + shard_of(key)) as u32;
        let hash = hash_bytes(key);
        // SAFETY: lock: a native transaction has the latches of its keys' shards, and the body reached this key.
        let entry = unsafe { server.keyspace.shard(shard).data() }.find(hash, key);
        server.module_events() & (class::EXPIRED | class::HASH | class::GENERIC) == 0
            && !server.modules.key_events.load(Relaxed)
            && entry.is_some_and(|e| e.kind() != Kind::Module)
            && !server.conflicts(&PlannedKey { shard, hash, access: Access::Write })
    }
}
