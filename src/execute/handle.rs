//! Keys by database and name: what key handles of the module API need beyond what commands do.
//!
//! A handle's database is the one that was selected when it was opened, and the time at which it looks at an expiry is
//! that of its opening. So nothing here looks at the selected database, and nothing expires a key.
use super::Tx;
use crate::keyspace::entry::Entry;
use crate::keyspace::shard::{hash_bytes, SHARDS};
use crate::keyspace::value::{Kind, Value, ValueRef};
use crate::lock::held::Access;
use std::sync::atomic::Ordering::Relaxed;

/// Where a scan of a database stands: the shard, and the cursor in its table.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ScanPlace {
    /// The next shard to look at; [`SHARDS`] at the end.
    pub shard: usize,
    /// The cursor in that shard's table.
    pub cursor: u64,
}

impl Tx<'_> {
    /// The entry of a key, dead or alive, without counting an access. In module mode the key is held from now on.
    pub fn entry_in(&self, db: usize, key: &[u8], access: Access) -> Option<Entry> {
        self.place(db, key, access)
    }

    /// Deletes a key, dead or alive, after telling a module's value. No event. Returns whether there was one.
    pub fn remove_in(&mut self, db: usize, key: &[u8]) -> bool {
        let Some(e) = self.place(db, key, Access::Write) else { return false };
        if let ValueRef::Module(m) = e.value() {
            crate::module::datatype::unlinked(key, db, m);
        }
        match self.unlink(db, key) {
            Some(e) => {
                e.free();
                true
            }
            None => false,
        }
    }

    /// Takes the value and the expiry of a key, dead or alive, out of a database. No event.
    pub fn take_in(&mut self, db: usize, key: &[u8]) -> Option<(Value, Option<i64>)> {
        let e = self.unlink(db, key)?;
        let expire = e.expire();
        Some((e.into_value(), expire))
    }

    /// Sets or clears the expiry of a key, dead or alive. Returns whether there is one. No event.
    pub fn set_expire_in(&mut self, db: usize, key: &[u8], at: Option<i64>) -> bool {
        let found = self.with_shard(db, key, Access::Write, |shard, data, hash| {
            let Some(old) = data.find(hash, key) else { return false };
            let (volatile, kind) = (old.expire().is_some(), old.kind());
            let new = old.with_expire(at);
            data.note_change(shard, hash, old, new, volatile, kind);
            true
        });
        self.structure_changed();
        found
    }

    /// Moves a string to the heap, where its address stays, and puts a NUL behind it. Returns its buffer, or nothing
    /// when the key has no string. The value is the same afterwards, so a key that is held for reading may be moved.
    pub fn heap_string_in(
        &mut self,
        db: usize,
        key: &[u8],
        access: Access,
    ) -> Option<*mut Vec<u8>> {
        let (buffer, moved) = self.with_shard(db, key, access, |shard, _, hash| {
            // The buffer may move: not while a snapshot reads it.
            crate::snapshot::wait_until_saved(shard, hash);
            // SAFETY: lock: taken by `with_shard`; released and taken again in between at most.
            let data = unsafe { shard.data() };
            let old = data.find(hash, key).filter(|e| e.kind() == Kind::String)?;
            let mut new = old;
            let moved = !old.is_heap_string();
            if moved {
                let volatile = old.expire().is_some();
                new = old.into_heap_string();
                data.note_change(shard, hash, old, new, volatile, Kind::String);
            }
            let buffer = new.heap_string()?;
            terminate(buffer);
            Some((std::ptr::from_mut(buffer), moved))
        })?;
        if moved {
            self.structure_changed();
        }
        Some(buffer)
    }

    /// One step of a scan over a database: entries of one place of one shard, each held for reading from now on.
    /// Shards without keys are passed over. Entries that have expired are among them.
    pub fn scan_step(&self, db: usize, from: ScanPlace, found: &mut Vec<Entry>) -> ScanPlace {
        assert_eq!(self.mode, super::Mode::Module, "handles exist under the module lock only");
        let shards = self.server.keyspace.dbs()[db].used_shards();
        let mut place = from;
        while let Some(shard) = shards.get(place.shard) {
            if shard.len.load(Relaxed) == 0 {
                place = ScanPlace { shard: place.shard + 1, cursor: 0 };
                continue;
            }
            let index = (db * SHARDS + place.shard) as u32;
            shard.latch.lock();
            // SAFETY: lock: taken on the line above, released below.
            let data = unsafe { shard.data() };
            let was_empty = data.held.is_empty();
            place.cursor = data.table.scan(place.cursor, |e: Entry| found.push(e));
            for e in found.iter() {
                data.held.hold(hash_bytes(e.key()), Access::Read);
            }
            if was_empty && !found.is_empty() {
                // SAFETY: lock: module mode means that this thread has the module lock.
                unsafe { self.server.holder() }.touched.push(index);
            }
            // SAFETY: lock: taken above.
            unsafe { shard.latch.unlock() };
            if place.cursor == 0 {
                place.shard += 1;
            }
            if !found.is_empty() {
                break;
            }
        }
        // The end shows at once, so that nobody comes back for an empty step.
        while shards.get(place.shard).is_some_and(|s| s.len.load(Relaxed) == 0) {
            place = ScanPlace { shard: place.shard + 1, cursor: 0 };
        }
        if place.shard >= shards.len() {
            place.shard = SHARDS;
        }
        place
    }
}

/// Puts a NUL behind the text of a buffer, where C code may read it.
pub fn terminate(buffer: &mut Vec<u8>) {
    buffer.reserve(1);
    // SAFETY: layout: one byte behind the text was reserved on the line above.
    unsafe { buffer.as_mut_ptr().add(buffer.len()).write(0) };
}
