//! The expiry cycle: deletes keys and fields of hashes whose time has come, with their events.
use crate::connection::client::Session;
use crate::execute::Tx;
use crate::server::Server;
use std::sync::atomic::Ordering::Relaxed;

/// Keys deleted in one transaction before held keys are released.
const BATCH: usize = 64;

/// One round over all shards that have something due. The calling thread has the module lock.
pub fn cycle(server: &'static Server, now: i64) {
    let mut session = Session::internal();
    for (db, database) in server.keyspace.dbs().iter().enumerate() {
        session.db = db;
        let mut hashes = Vec::new();
        for shard in database.used_shards() {
            if shard.volatile.load(Relaxed) == 0 && shard.field_expiry.load(Relaxed) == 0 {
                continue;
            }
            let mut due = Vec::new();
            shard.latch.lock();
            // SAFETY: lock: taken on the line above.
            unsafe { shard.data() }.find_due(shard, now, &mut due, &mut hashes);
            // SAFETY: lock: taken above.
            unsafe { shard.latch.unlock() };
            for keys in due.chunks(BATCH) {
                let mut tx = Tx::module(server, &mut session, now);
                for key in keys {
                    tx.expire_if_due(key);
                    crate::module::thread::unit_done(server, || now);
                }
                crate::module::thread::end_unit(server);
            }
        }
        // Fields go in the order of their times, as far as hashes can be ordered by that.
        hashes.sort_unstable();
        for keys in hashes.chunks(BATCH) {
            let mut tx = Tx::module(server, &mut session, now);
            for (_, key) in keys {
                tx.expire_fields(key);
                crate::propagate::end_of_single_effects(server, now);
            }
            crate::module::thread::end_unit(server);
        }
    }
}
