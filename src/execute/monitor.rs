//! `MONITOR`: a client that is shown every command.
use super::error::err;
use super::{CommandResult, Tx};
use crate::config::text::quote;
use crate::connection::client::{flag, ClientShared, Session};
use crate::dispatch::table::{Command, Row};
use crate::reply::Reply;
use parking_lot::RwLock;
use smallvec::SmallVec;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::Arc;

/// The monitoring clients.
#[derive(Default)]
pub struct Monitors {
    count: AtomicUsize,
    clients: RwLock<Vec<Arc<ClientShared>>>,
}

impl Monitors {
    /// Whether there are any.
    #[inline]
    pub fn any(&self) -> bool {
        self.count.load(Relaxed) != 0
    }

    /// Removes a client that ended or was reset.
    pub fn remove(&self, client: &Arc<ClientShared>) {
        if client.has(flag::MONITOR) {
            client.put(flag::MONITOR, false);
            let mut clients = self.clients.write();
            clients.retain(|c| !Arc::ptr_eq(c, client));
            self.count.store(clients.len(), Relaxed);
        }
    }

    /// Shows a command to all of them.
    pub fn feed(&self, session: &Session, command: &Command, args: &[&[u8]]) {
        let us = crate::observe::clock::now_us();
        let shared = &session.shared;
        let from = if shared.has(flag::UNIX) {
            format!("unix:{}", shared.addr.trim_end_matches(":0"))
        } else {
            shared.addr.to_string()
        };
        let mut line = format!("+{}.{:06} [{} {from}]", us / 1_000_000, us % 1_000_000, session.db)
            .into_bytes();
        for a in redacted(session, command, args) {
            line.push(b' ');
            line.extend(quote(a));
        }
        line.extend(b"\r\n");
        for c in self.clients.read().iter() {
            c.push(&line);
        }
    }
}

const REDACTED: &[u8] = b"(redacted)";

/// The arguments of a command as logs may show them: without passwords.
pub fn redacted<'a>(
    session: &Session,
    command: &Command,
    args: &[&'a [u8]],
) -> SmallVec<[&'a [u8]; 8]> {
    let mut shown: SmallVec<[&[u8]; 8]> = args.iter().copied().collect();
    let hide = |shown: &mut SmallVec<[&'a [u8]; 8]>, from: usize| {
        shown.iter_mut().skip(from).for_each(|a| *a = REDACTED);
    };
    match command.full_name.as_str() {
        "auth" => hide(&mut shown, 1),
        "acl|setuser" | "acl|deluser" | "acl|getuser" => hide(&mut shown, 2),
        "hello" | "migrate" => {
            let word = |w: &str, i: usize| args[i].eq_ignore_ascii_case(w.as_bytes());
            let mut i = 1;
            while i < args.len() {
                let n = if word("auth", i) {
                    if command.name == "hello" {
                        2
                    } else {
                        1
                    }
                } else if word("auth2", i) && command.name == "migrate" {
                    2
                } else {
                    0
                };
                shown.iter_mut().skip(i + 1).take(n).for_each(|a| *a = REDACTED);
                i += n + 1;
            }
        }
        "config|set" => {
            for i in (2..args.len().saturating_sub(1)).step_by(2) {
                if crate::config::Config::is_sensitive(args[i]) {
                    shown[i + 1] = REDACTED;
                }
            }
        }
        _ => {}
    }
    for &i in &session.redacted {
        if let Some(a) = shown.get_mut(i) {
            *a = REDACTED;
        }
    }
    shown
}

/// `MONITOR`
fn monitor(tx: &mut Tx<'_>, _: &[&[u8]], out: &mut Reply) -> CommandResult {
    if tx.session.deny_blocking {
        return Err(err("ERR MONITOR isn't allowed for DENY BLOCKING client"));
    }
    let shared = &tx.session.shared;
    if !shared.has(flag::MONITOR) {
        shared.put(flag::MONITOR, true);
        let mut clients = tx.server.monitors.clients.write();
        clients.push(shared.clone());
        tx.server.monitors.count.store(clients.len(), Relaxed);
    }
    out.ok();
    Ok(())
}

/// The family's commands.
pub static ROWS: &[Row] =
    &[super::server::admin_noscript("monitor", 1, "Shows every command to the client.", monitor)];
