//! Tells in the log when somebody has the module lock for too long: who, what, its last API calls, how many wait.
//!
//! Too long is `busy-reply-threshold`, as for scripts; then again after twice that time, and so on.
use crate::server::Server;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// How often it looks.
const EVERY: Duration = Duration::from_millis(250);

static LONG_HOLDS: AtomicU64 = AtomicU64::new(0);

/// Holds that were too long.
pub fn long_holds() -> u64 {
    LONG_HOLDS.load(Relaxed)
}

/// The body of its thread.
pub fn run(server: &'static Server) {
    let (mut hold, mut next) = (u64::MAX, Duration::ZERO);
    loop {
        std::thread::sleep(EVERY);
        let limit = Duration::from_millis(server.config.busy_reply_threshold());
        let Some((held, number)) = server.module_lock.held_for() else { continue };
        if hold != number {
            (hold, next) = (number, limit);
        }
        if limit.is_zero() || held < next || server.starting.load(Relaxed) {
            continue;
        }
        if next == limit {
            LONG_HOLDS.fetch_add(1, Relaxed);
        }
        next = held * 2;
        let seen = server.module_lock.owner.look();
        crate::log_warning!(
            "The module lock has been held for {} ms by module '{}' ({}), thread {}; {} waiting; last API calls: {}",
            held.as_millis(),
            seen.module.map_or("-", |m| m.name()),
            seen.what.unwrap_or("the server itself"),
            seen.thread,
            server.module_lock.waiters(),
            seen.calls().join(" ")
        );
    }
}
