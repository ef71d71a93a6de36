//! The module thread's regular work, `hz` times a second.
use crate::server::Server;
use std::sync::atomic::Ordering::Relaxed;

/// One round. The calling thread has the module lock.
pub fn run(server: &'static Server, now: i64) {
    server.clock_ms.store(now, Relaxed);
    server.used_memory();
    if server.active_expire.load(Relaxed) && !server.loading.load(Relaxed) {
        crate::keyspace::expire::cycle(server, now);
    }
    crate::snapshot::control::check_save_points(server, now);
    super::fork::reap();
    super::event::cron_event(server.config.hz());
}
