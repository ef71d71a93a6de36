//! Access clocks and eviction.
use super::entry::Entry;
use super::shard::{hash_bytes, shard_of, Db, Shard};
use crate::config::enums::maxmemory_policy;
use crate::config::Config;
use crate::connection::client::Session;
use crate::execute::Tx;
use crate::observe::clock::{mono_ns, now_ms};
use crate::observe::random;
use crate::server::Server;
use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

/// LFU counter of a new key.
pub const LFU_INIT: u32 = 5;

/// Minutes as LFU keeps them, 16 bits.
pub fn minutes(now_ms: i64) -> u32 {
    (now_ms / 60_000) as u32 & 0xffff
}

/// The LFU counter after decay: upper 16 bits of the clock are minutes, lower 8 the logarithmic counter.
pub fn lfu_count(now_ms: i64, clock: u32, decay_minutes: u32) -> u32 {
    let (then, counter) = (clock >> 8, clock & 0xff);
    let elapsed = (minutes(now_ms) + 0x1_0000 - then) & 0xffff;
    let periods = elapsed.checked_div(decay_minutes).unwrap_or(0);
    counter.saturating_sub(periods)
}

/// The access clock of a key touched now, under an LFU policy. `old` zero means a new key.
pub fn lfu_touch(now_ms: i64, old: u32, config: &Config) -> u32 {
    if old == 0 {
        return minutes(now_ms) << 8 | LFU_INIT;
    }
    let mut counter = lfu_count(now_ms, old, config.lfu_decay_time() as u32);
    if counter < 255 {
        let base = f64::from(counter.saturating_sub(LFU_INIT));
        let p = 1.0 / (base * config.lfu_log_factor() as f64 + 1.0);
        let r = (crate::observe::random::next() >> 11) as f64 / (1u64 << 53) as f64;
        if r < p {
            counter += 1;
        }
    }
    minutes(now_ms) << 8 | counter
}

/// A command wrote: if the limit is passed now, keys go before the next command needs it. Evicting fires events and frees
/// values, so it belongs to the module thread.
#[inline]
pub fn after_write(server: &'static Server) {
    if server.config.maxmemory() > 0
        && server.config.maxmemory_policy() != maxmemory_policy::NOEVICTION
        && over_limit(server)
    {
        continue_later(server);
    }
}

/// Clients' buffers grow without commands that need memory, so the cron looks too. The calling thread has the module lock.
pub fn tend(server: &'static Server) {
    if server.config.maxmemory() > 0 && over_limit(server) {
        make_room(server);
    }
}

/// Whether the memory limit is set and passed.
pub fn over_limit(server: &Server) -> bool {
    let limit = server.config.maxmemory();
    limit > 0 && server.used_memory() > limit && counted(server) > limit
}

/// What is not counted for the limit: what replicas did not read yet, and what of the append-only file is not written.
pub fn not_counted(server: &Server) -> u64 {
    crate::connection::limits::replica_memory() + server.aof.buffer_length(server) as u64
}

/// Memory in use that counts for the limit.
fn counted(server: &Server) -> u64 {
    server.used_memory().saturating_sub(not_counted(server))
}

/// Whether a command that needs memory must be refused: the limit is passed and the policy evicts nothing.
pub fn out_of_memory(server: &Server) -> bool {
    over_limit(server) && server.config.maxmemory_policy() == maxmemory_policy::NOEVICTION
}

/// How well a key suits eviction, where it is, and its name.
struct Candidate {
    score: u64,
    db: usize,
    key: Vec<u8>,
}

/// Candidates kept from one sampling to the next, best last: so the best of many samples goes first.
static POOL: Mutex<Vec<Candidate>> = Mutex::new(Vec::new());
/// Candidates kept at most.
const POOL_SIZE: usize = 16;
/// Draws until a volatile entry of a shard is found, before the shard is walked.
const VOLATILE_DRAWS: usize = 20;

/// What a policy does, taken apart.
#[derive(Clone, Copy)]
struct Policy {
    /// Only keys with an expiry.
    volatile: bool,
    /// Any key is as good as any other.
    random: bool,
    /// The least often used goes first.
    lfu: bool,
    /// The one that expires first goes first.
    ttl: bool,
}

impl Policy {
    fn of(config: &Config) -> Option<Policy> {
        use maxmemory_policy as p;
        let policy = config.maxmemory_policy();
        let is = |all: &[i64]| all.contains(&policy);
        (policy != p::NOEVICTION).then(|| Policy {
            volatile: is(&[p::VOLATILE_LRU, p::VOLATILE_LFU, p::VOLATILE_RANDOM, p::VOLATILE_TTL]),
            random: is(&[p::ALLKEYS_RANDOM, p::VOLATILE_RANDOM]),
            lfu: is(&[p::ALLKEYS_LFU, p::VOLATILE_LFU]),
            ttl: is(&[p::VOLATILE_TTL]),
        })
    }

    /// The higher, the sooner it goes.
    fn score(self, e: Entry, now: i64, config: &Config) -> u64 {
        if self.ttl {
            u64::MAX - e.expire().unwrap_or(i64::MAX) as u64
        } else if self.lfu {
            u64::from(255 - lfu_count(now, e.clock(), config.lfu_decay_time() as u32))
        } else {
            u64::from(((now / 1000) as u32).wrapping_sub(e.clock()) & 0xff_ffff)
        }
    }

    fn keys_in(self, shard: &Shard) -> u32 {
        if self.volatile { &shard.volatile } else { &shard.len }.load(Relaxed)
    }

    /// How many keys of a database may go.
    fn total(self, db: &Db) -> u64 {
        db.used_shards().iter().map(|s| u64::from(self.keys_in(s))).sum()
    }

    /// A key of a database, drawn at random among the `total` that may go, with its score.
    fn draw(self, db: &Db, total: u64, now: i64, config: &Config) -> Option<(u64, Vec<u8>)> {
        let mut nth = random::next().checked_rem(total)?;
        let shard = db.used_shards().iter().find(|s| {
            let n = u64::from(self.keys_in(s));
            let found = nth < n;
            nth = nth.wrapping_sub(n);
            found
        })?;
        shard.latch.lock();
        // SAFETY: lock: taken on the line above.
        let table = &unsafe { shard.data() }.table;
        let fits = |e: &Entry| !self.volatile || e.expire().is_some();
        let drawn = (0..VOLATILE_DRAWS)
            .find_map(|_| table.random(&mut random::next).filter(fits))
            .or_else(|| table.iter().find(fits));
        let found = drawn.map(|e| (self.score(e, now, config), e.key().to_vec()));
        // SAFETY: lock: taken above.
        unsafe { shard.latch.unlock() };
        found
    }

    /// The next key to go. Forgets candidates that are gone, or may not go any more.
    fn next_victim(self, server: &Server, now: i64) -> Option<(usize, Vec<u8>)> {
        let config = &server.config;
        let dbs = server.keyspace.dbs();
        if self.random {
            static NEXT_DB: AtomicUsize = AtomicUsize::new(0);
            return (0..dbs.len()).find_map(|_| {
                let db = NEXT_DB.fetch_add(1, Relaxed) % dbs.len();
                let total = self.total(&dbs[db]);
                self.draw(&dbs[db], total, now, config).map(|(_, key)| (db, key))
            });
        }
        let mut pool = POOL.lock();
        loop {
            let mut any = false;
            for (db, database) in dbs.iter().enumerate() {
                let total = self.total(database);
                for _ in 0..config.maxmemory_samples() {
                    let Some((score, key)) = self.draw(database, total, now, config) else { break };
                    any = true;
                    if pool.iter().any(|c| c.db == db && c.key == key) {
                        continue;
                    }
                    let at = pool.partition_point(|c| c.score < score);
                    pool.insert(at, Candidate { score, db, key });
                    if pool.len() > POOL_SIZE {
                        pool.remove(0);
                    }
                }
            }
            if !any {
                pool.clear();
                return None;
            }
            while let Some(c) = pool.pop() {
                if self.may_go(&dbs[c.db], &c.key) {
                    return Some((c.db, c.key));
                }
            }
        }
    }

    fn may_go(self, db: &Db, key: &[u8]) -> bool {
        let Some(shard) = db.used_shards().get(shard_of(key)) else { return false };
        shard.latch.lock();
        // SAFETY: lock: taken on the line above.
        let e = unsafe { shard.data() }.find(hash_bytes(key), key);
        let may = e.is_some_and(|e| !self.volatile || e.expire().is_some());
        // SAFETY: lock: taken above.
        unsafe { shard.latch.unlock() };
        may
    }
}

/// How long one call may evict, in nanoseconds (`maxmemory-eviction-tenacity`).
fn time_limit(tenacity: u64) -> u64 {
    match tenacity {
        0..=10 => 50_000 * tenacity,
        11..=99 => (500_000.0 * 1.15f64.powi(tenacity as i32 - 10)) as u64,
        _ => u64::MAX,
    }
}

/// Evicts keys until the memory limit is kept, or the time for one go is over: the rest is then done between commands.
/// False when the limit is passed and nothing can be evicted. The calling thread has the module lock.
pub fn make_room(server: &'static Server) -> bool {
    let stats = &server.stats.eviction_exceeded_ns;
    let back_below = || {
        let since = stats.1.swap(0, Relaxed);
        if since != 0 {
            stats.0.fetch_add(mono_ns().saturating_sub(since), Relaxed);
        }
    };
    if !over_limit(server) {
        back_below();
        return true;
    }
    if server.loading.load(Relaxed) || server.pause.active() {
        return true;
    }
    let start = mono_ns();
    if stats.1.load(Relaxed) == 0 {
        stats.1.store(start, Relaxed);
    }
    let Some(policy) = Policy::of(&server.config) else { return false };
    let limit = time_limit(server.config.maxmemory_eviction_tenacity());
    let mut session = Session::internal();
    // What is freed counts, not what is in use: messages about evicted keys take memory for a moment, and must not cost
    // further keys.
    let needed = counted(server).saturating_sub(server.config.maxmemory());
    let mut freed = 0;
    // Before a script that is part of a transaction, what is evicted belongs to that.
    // SAFETY: lock: this function's contract.
    let alone = unsafe { server.holder() }.effects.is_empty();
    let room = loop {
        if freed >= needed || !over_limit(server) {
            break true;
        }
        let now = now_ms();
        let Some((db, key)) = policy.next_victim(server, now) else { break false };
        session.select(db);
        freed += Tx::module(server, &mut session, now).evict(&key);
        if alone {
            crate::module::thread::unit_done(server, || now);
        }
        if mono_ns() - start > limit {
            continue_later(server);
            break true;
        }
    };
    let ns = mono_ns() - start;
    server.latency.add_if_slow(&server.config, "eviction-cycle", ns / 1_000_000);
    if !over_limit(server) {
        back_below();
    }
    room
}

/// Goes on evicting behind the jobs that wait for the module thread.
pub fn continue_later(server: &'static Server) {
    static POSTED: AtomicBool = AtomicBool::new(false);
    if !POSTED.swap(true, Relaxed) {
        server.queue.task(Box::new(|| {
            POSTED.store(false, Relaxed);
            make_room(Server::get());
        }));
    }
}

/// Entries looked at for [`ttl_figures`], at most.
const TTL_SAMPLES: usize = 400;

/// The mean time to live in milliseconds of a sample of the volatile keys, and the number of hashes whose fields expire.
pub fn ttl_figures(db: &Db, now: i64) -> (i64, u64) {
    let (mut sum, mut seen, mut hashes) = (0i64, 0, 0);
    for shard in db.used_shards().iter().filter(|s| s.len.load(Relaxed) > 0) {
        shard.latch.lock();
        // SAFETY: lock: taken on the line above.
        let data = unsafe { shard.data() };
        hashes += u64::from(data.field_expiry);
        if seen < TTL_SAMPLES && data.volatile > 0 {
            for at in data.table.iter().take(TTL_SAMPLES).filter_map(|e| e.expire()) {
                sum = sum.saturating_add((at - now).max(0));
                seen += 1;
            }
        }
        // SAFETY: lock: taken above.
        unsafe { shard.latch.unlock() };
    }
    (sum / seen.max(1) as i64, hashes)
}
