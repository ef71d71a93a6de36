//! `SLOWLOG`: commands whose bodies ran longer than `slowlog-log-slower-than`.
use super::error::err;
use super::server::{admin, any, write_help};
use super::{CommandResult, Tx};
use crate::connection::client::Session;
use crate::dispatch::table::{Command, Row};
use crate::reply::Reply;
use crate::server::Server;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::atomic::Ordering::Relaxed;

/// Arguments kept of a command; the last one then says how many more there were.
const MAX_ARGS: usize = 32;
/// Bytes kept of an argument.
const MAX_ARG: usize = 128;

struct Entry {
    id: i64,
    time: i64,
    us: u64,
    args: Vec<Vec<u8>>,
    addr: String,
    name: String,
}

/// The slow log, newest first.
#[derive(Default)]
pub struct SlowLog(Mutex<(i64, VecDeque<Entry>)>);

impl SlowLog {
    /// Logs a command that took `us` microseconds.
    pub fn add(
        &self,
        server: &Server,
        session: &Session,
        command: &Command,
        args: &[&[u8]],
        us: u64,
    ) {
        let max = server.config.slowlog_max_len();
        if max == 0 {
            return;
        }
        let args = super::monitor::redacted(session, command, args);
        let kept = args.len().min(MAX_ARGS);
        let shorten = |(i, arg): (usize, &&[u8])| -> Vec<u8> {
            if kept < args.len() && i == kept - 1 {
                format!("... ({} more arguments)", args.len() - kept + 1).into_bytes()
            } else if arg.len() > MAX_ARG {
                let mut short = arg[..MAX_ARG].to_vec();
                short.extend(format!("... ({} more bytes)", arg.len() - MAX_ARG).bytes());
                short
            } else {
                arg.to_vec()
            }
        };
        let mut log = self.0.lock();
        let entry = Entry {
            id: log.0,
            time: server.clock_ms.load(Relaxed) / 1000,
            us,
            args: args.iter().take(kept).enumerate().map(shorten).collect(),
            addr: session.shared.addr.to_string(),
            name: session.shared.name.lock().to_string(),
        };
        log.0 += 1;
        log.1.push_front(entry);
        log.1.truncate(max);
    }
}

/// `SLOWLOG GET [count]`
fn get(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    if args.len() > 3 {
        return Err(super::server::subcommand_syntax(args));
    }
    let mut count = 10;
    if let Some(n) = args.get(2) {
        count = super::int(n)
            .ok()
            .filter(|n| *n >= -1)
            .ok_or(err("ERR count should be greater than or equal to -1"))?;
    }
    let log = tx.server.slowlog.0.lock();
    let count = if count == -1 { log.1.len() } else { log.1.len().min(count as usize) };
    out.array(count);
    for e in log.1.iter().take(count) {
        out.array(6);
        out.int(e.id);
        out.int(e.time);
        out.int(e.us as i64);
        out.array(e.args.len());
        e.args.iter().for_each(|a| out.bulk(a));
        out.bulk_str(&e.addr);
        out.bulk_str(&e.name);
    }
    Ok(())
}

/// `SLOWLOG LEN`
fn len(tx: &mut Tx<'_>, _: &[&[u8]], out: &mut Reply) -> CommandResult {
    out.int(tx.server.slowlog.0.lock().1.len() as i64);
    Ok(())
}

/// `SLOWLOG RESET`
fn reset(tx: &mut Tx<'_>, _: &[&[u8]], out: &mut Reply) -> CommandResult {
    tx.server.slowlog.0.lock().1.clear();
    out.ok();
    Ok(())
}

/// `SLOWLOG HELP`
fn help(_: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    write_help(
        out,
        args,
        &[
            "GET [<count>]",
            "    List the newest entries (10 by default, all for -1): id, time, microseconds,",
            "    arguments, client address, client name.",
            "LEN",
            "    Count the entries.",
            "RESET",
            "    Forget all entries.",
        ],
    );
    Ok(())
}

/// The family's commands.
pub static ROWS: &[Row] = &[Row {
    since: "2.2.12",
    summary: "The log of slow commands.",
    ..Row::container(
        "slowlog",
        &[
            Row { since: "2.2.12", ..admin("get", -2, "Lists slow commands.", get) },
            Row { since: "2.2.12", ..admin("len", 2, "Counts slow commands.", len) },
            Row { since: "2.2.12", ..admin("reset", 2, "Forgets slow commands.", reset) },
            Row { since: "6.2.0", ..any("help", 2, "Tells about the subcommands.", help) },
        ],
    )
}];
