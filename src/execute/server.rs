//! Commands about the server.
use super::error::err;
use super::{text, CommandError, CommandResult, Tx};
use crate::connection::client::{flag, Session};
use crate::dispatch::table::{flags, Command, Handler, PathRule, Row};
use crate::reply::Reply;
use crate::server::Server;

/// Whether a session's client is on this machine.
pub fn is_local(session: &Session) -> bool {
    session.shared.has(flag::UNIX | flag::INTERNAL)
        || session.shared.addr.starts_with("127.")
        || session.shared.addr.starts_with("[::1]")
}

/// `enable-debug-command` and `enable-module-command`.
pub fn check_protected(
    server: &Server,
    session: &Session,
    command: &Command,
) -> Result<(), CommandError> {
    let module = command.full_name.starts_with("module");
    let setting = if module {
        server.config.enable_module_command()
    } else {
        server.config.enable_debug_command()
    };
    if crate::config::set::allows(setting, is_local(session)) {
        return Ok(());
    }
    let name = if module { "MODULE" } else { "DEBUG" };
    let directive = if module { "enable-module-command" } else { "enable-debug-command" };
    Err(err(format!(
        "ERR {name} command not allowed. If the {directive} option is set to \"local\", you can run it from a local \
         connection, otherwise you need to set this option in the configuration file, and then restart the server."
    )))
}

/// The answer to `<container> HELP`; `lines` are in the form of the reference: usage, then indented words.
pub fn write_help(out: &mut Reply, args: &[&[u8]], lines: &[&str]) {
    let name = text(args[0]).to_ascii_uppercase();
    out.array(lines.len() + 3);
    out.simple(format!("{name} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"));
    lines.iter().for_each(|l| out.simple(l));
    out.simple("HELP");
    out.simple("    Print this help.");
}

/// The error for a subcommand that does not take these arguments.
pub fn subcommand_syntax(args: &[&[u8]]) -> CommandError {
    err(format!(
        "ERR unknown subcommand or wrong number of arguments for '{}'. Try {} HELP.",
        text(&args[1][..args[1].len().min(128)]),
        text(args[0]).to_ascii_uppercase()
    ))
}

/// A row of the group `server` that needs no keys.
pub const fn row(
    name: &'static str,
    arity: i32,
    bits: u64,
    summary: &'static str,
    run: Handler,
) -> Row {
    Row { path: PathRule::Connection, group: "server", summary, ..Row::new(name, arity, bits, run) }
}

/// A row for anybody.
pub const fn any(name: &'static str, arity: i32, summary: &'static str, run: Handler) -> Row {
    row(name, arity, flags::LOADING | flags::STALE, summary, run)
}

/// A row for administrators.
pub const fn admin(name: &'static str, arity: i32, summary: &'static str, run: Handler) -> Row {
    row(name, arity, flags::ADMIN | flags::LOADING | flags::STALE, summary, run)
}

/// A row for administrators, not for scripts.
pub const fn admin_noscript(
    name: &'static str,
    arity: i32,
    summary: &'static str,
    run: Handler,
) -> Row {
    let bits = flags::ADMIN | flags::NOSCRIPT | flags::LOADING | flags::STALE;
    row(name, arity, bits, summary, run)
}

/// `DBSIZE`
fn dbsize(tx: &mut Tx<'_>, _: &[&[u8]], out: &mut Reply) -> CommandResult {
    out.int(tx.server.keyspace.dbs()[tx.db()].len() as i64);
    Ok(())
}

/// `TIME`
fn time(tx: &mut Tx<'_>, _: &[&[u8]], out: &mut Reply) -> CommandResult {
    // In a script or a transaction time stands still.
    let frozen = tx.session.deny_blocking;
    let us = if frozen { tx.now * 1000 } else { crate::observe::clock::now_us() };
    out.array(2);
    out.bulk_int(us / 1_000_000);
    out.bulk_int(us % 1_000_000);
    Ok(())
}

/// The family's commands.
pub static ROWS: &[Row] = &[
    Row {
        path: PathRule::Connection,
        acl: &["keyspace"],
        group: "server",
        summary: "Counts the keys of the selected database.",
        ..Row::new("dbsize", 1, flags::READONLY | flags::FAST, dbsize)
    },
    Row {
        path: PathRule::Connection,
        group: "server",
        since: "2.6.0",
        summary: "Returns the server's time.",
        ..Row::new("time", 1, flags::LOADING | flags::STALE | flags::FAST, time)
    },
    Row {
        since: "5.0.0",
        ..row(
            "lolwut",
            -1,
            flags::READONLY | flags::FAST,
            "Shows the version, and a picture.",
            super::lolwut::lolwut,
        )
    },
];
