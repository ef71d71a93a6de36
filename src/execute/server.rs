//! Commands about the server.
use super::error::err;
use super::{CommandError, CommandResult, Tx};
use crate::connection::client::{flag, Session};
use crate::dispatch::table::{flags, Command, PathRule, Row};
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

/// `DBSIZE`
fn dbsize(tx: &mut Tx<'_>, _: &[&[u8]], out: &mut Reply) -> CommandResult {
    out.int(tx.server.keyspace.dbs()[tx.db()].len() as i64);
    Ok(())
}

/// `TIME`
fn time(_: &mut Tx<'_>, _: &[&[u8]], out: &mut Reply) -> CommandResult {
    let us = crate::observe::clock::now_us();
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
];
