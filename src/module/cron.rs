//! The module thread's regular work, `hz` times a second.
use crate::observe::clock::mono_ns;
use crate::server::Server;
use std::sync::atomic::Ordering::Relaxed;

/// Rounds from one time that unused memory goes back to the system to the next.
#[cfg(feature = "jemalloc")]
const GIVE_BACK_EVERY: u64 = 4;

/// One round. The calling thread has the module lock.
pub fn run(server: &'static Server, now: i64) {
    server.clock_ms.store(now, Relaxed);
    server.used_memory();
    server.unit_time(|| now);
    let begin = mono_ns();
    round(server, now);
    server.stats.cron_ns.add(mono_ns() - begin);
}

fn round(server: &'static Server, now: i64) {
    let s = &server.stats;
    s.cron_rounds.add(1);
    s.rates.sample(mono_ns(), s.rate_values());
    #[cfg(feature = "jemalloc")]
    if s.cron_rounds.get() % GIVE_BACK_EVERY == 0 {
        crate::observe::heap::give_back();
    }
    server.pause.end_if_over(now);
    if server.pause_cron.load(Relaxed) {
        return;
    }
    crate::start::signals::begin_waiting(server);
    if crate::snapshot::cut::amid_unit(server) {
        // As on Redis, what changes the data, or brings it to a file, waits until the module is done.
        return;
    }
    crate::execute::tracking::tend(server, now);
    if !server.link.is_replica() {
        crate::keyspace::evict::tend(server);
    }
    if server.active_expire.load(Relaxed)
        && !server.pause.active()
        && !server.loading.load(Relaxed)
        && !server.link.is_replica()
    {
        let begin = mono_ns();
        crate::keyspace::expire::cycle(server, now);
        let ns = mono_ns() - begin;
        s.expire_ns.add(ns);
        server.latency.add_if_slow(&server.config, "expire-cycle", ns / 1_000_000);
    }
    super::defrag::run(server);
    crate::snapshot::control::check_save_points(server, now);
    crate::execute::migrate::close_unused(now);
    crate::execute::replication::cron(server, now);
    crate::persist::rewrite::cron(server, now);
    super::fork::reap(server);
    super::event::cron_event(server.config.hz());
}
