//! Access clocks and eviction.
use super::shard::Db;
use crate::config::enums::maxmemory_policy;
use crate::config::Config;
use crate::server::Server;
use std::sync::atomic::Ordering::Relaxed;

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

/// Whether the memory limit is set and passed.
pub fn over_limit(server: &Server) -> bool {
    let limit = server.config.maxmemory();
    limit > 0 && server.used_memory() > limit
}

/// Whether a command that needs memory must be refused: the limit is passed and the policy evicts nothing.
pub fn out_of_memory(server: &Server) -> bool {
    over_limit(server) && server.config.maxmemory_policy() == maxmemory_policy::NOEVICTION
}

/// Evicts keys until the memory limit is kept. False when it cannot be. The calling thread has the module lock.
pub fn make_room(server: &'static Server) -> bool {
    !over_limit(server)
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
