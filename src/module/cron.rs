//! The module thread's regular work, `hz` times a second.
use crate::observe::clock::mono_ns;
use crate::server::Server;
use std::sync::atomic::Ordering::Relaxed;

/// One round. The calling thread has the module lock.
pub fn run(server: &'static Server, now: i64) {
    server.clock_ms.store(now, Relaxed);
    server.used_memory();
    let s = &server.stats;
    s.cron_rounds.add(1);
    s.rates.sample(mono_ns(), s.rate_values());
    server.pause.end_if_over(now);
    if server.pause_cron.load(Relaxed) {
        return;
    }
    crate::start::signals::begin_waiting(server);
    if server.active_expire.load(Relaxed) && !server.pause.active() && !server.loading.load(Relaxed)
    {
        let begin = mono_ns();
        crate::keyspace::expire::cycle(server, now);
        let ns = mono_ns() - begin;
        s.expire_ns.add(ns);
        server.latency.add_if_slow(&server.config, "expire-cycle", ns / 1_000_000);
    }
    crate::snapshot::control::check_save_points(server, now);
    crate::execute::migrate::close_unused(now);
    crate::persist::rewrite::cron(server, now);
    super::fork::reap();
    super::event::cron_event(server.config.hz());
}
