//! The expiry cycle: deletes keys whose time has come, with their events.
use crate::connection::client::Session;
use crate::execute::Tx;
use crate::server::Server;

/// Keys deleted in one transaction before held keys are released.
const BATCH: usize = 64;

/// One round over all shards that have something due. The calling thread has the module lock.
pub fn cycle(server: &'static Server, now: i64) {
    let mut session = Session::internal();
    for (db, database) in server.keyspace.dbs().iter().enumerate() {
        for shard in database.used_shards() {
            if shard.volatile.load(std::sync::atomic::Ordering::Relaxed) == 0 {
                continue;
            }
            shard.latch.lock();
            // SAFETY: lock: taken on the line above.
            let data = unsafe { shard.data() };
            let mut due = Vec::new();
            if data.next_expire <= now {
                let mut next = i64::MAX;
                for e in data.table.iter() {
                    match e.expire() {
                        Some(at) if at <= now => due.push(e.key().to_vec()),
                        Some(at) => next = next.min(at),
                        None => {}
                    }
                }
                data.next_expire = next;
            }
            // SAFETY: lock: taken above.
            unsafe { shard.latch.unlock() };
            for keys in due.chunks(BATCH) {
                session.db = db;
                let mut tx = Tx::module(server, &mut session, now);
                for key in keys {
                    tx.expire_if_due(key);
                }
                crate::module::thread::end_unit(server);
            }
        }
    }
}
