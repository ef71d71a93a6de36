//! What is noted of a command that ran: counters, slow log, latency events, monitors.
use super::table::{flags, Command};
use crate::connection::client::Session;
use crate::server::Server;

/// Counts a run of a command, and logs it if it was slow.
fn count(
    server: &Server,
    session: &Session,
    command: &Command,
    args: &[&[u8]],
    ns: u64,
    errors: u64,
) {
    command.stats.add(ns, server.config.latency_tracking());
    if errors > 0 {
        command.stats.failed();
    }
    let slower_than = server.config.slowlog_log_slower_than();
    if slower_than >= 0 && (ns / 1000) as i64 >= slower_than && !command.has(flags::SKIP_SLOWLOG) {
        server.slowlog.add(server, session, command, args, ns / 1000);
    }
}

/// Notes a finished command. Whatever is switched off costs one relaxed load.
#[inline]
pub fn finished(
    server: &Server,
    session: &Session,
    command: &Command,
    args: &[&[u8]],
    ns: u64,
    errors: u64,
) {
    count(server, session, command, args, ns, errors);
    let threshold = server.config.latency_monitor_threshold();
    if threshold > 0 && ns / 1_000_000 >= threshold {
        let event = if command.has(flags::FAST) { "fast-command" } else { "command" };
        server.latency.add(event, ns / 1_000_000);
    }
}

/// Notes a command that a module blocked and that has ended; `reply_ns` is what its reply callback took.
pub fn unblocked(
    server: &Server,
    session: &Session,
    command: &Command,
    args: &[&[u8]],
    ns: u64,
    reply_ns: u64,
    errors: u64,
) {
    count(server, session, command, args, ns, errors);
    server.latency.add_if_slow(&server.config, "command-unblocking", reply_ns / 1_000_000);
}

/// Shows a command to monitors.
#[inline]
pub fn show(server: &Server, session: &Session, command: &Command, args: &[&[u8]]) {
    if server.monitors.any() && !command.has(flags::SKIP_MONITOR | flags::ADMIN | flags::INTERNAL) {
        server.monitors.feed(session, command, args);
    }
}

/// Counts a command that waited, and whose wait ended without another run of its body.
pub fn wait_over(server: &Server, session: &Session, failed: bool) {
    if let Some(command) = session.waiting.as_ref().and_then(|w| w.command.as_ref()) {
        command.stats.add(0, server.config.latency_tracking());
        if failed {
            command.stats.failed();
        }
    }
}
