//! Scripts: `EVAL` and its kin, `SCRIPT`.
use super::error::err;
use super::server::write_help;
use super::{is, CommandResult, Tx};
use crate::dispatch::table::{flags, key, Begin, Find, Handler, KeySpec, PathRule, Row};
use crate::reply::Reply;
use crate::script::{eval, run};

/// Shows a command to monitors before it runs: what it calls is shown behind it.
pub(super) fn feed_monitors(tx: &Tx<'_>, args: &[&[u8]]) {
    if tx.server.monitors.any() {
        if let Some(command) = tx.server.table.load().resolve(args) {
            tx.server.monitors.feed(tx.session, command, args);
        }
    }
}

fn eval_any(
    tx: &mut Tx<'_>,
    args: &[&[u8]],
    out: &mut Reply,
    by_sha: bool,
    read_only: bool,
) -> CommandResult {
    feed_monitors(tx, args);
    eval::eval(tx, args, out, by_sha, read_only)
}

/// `EVAL script numkeys [key ...] [arg ...]`
fn eval_command(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    eval_any(tx, args, out, false, false)
}

/// `EVAL_RO script numkeys [key ...] [arg ...]`
fn eval_ro(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    eval_any(tx, args, out, false, true)
}

/// `EVALSHA sha1 numkeys [key ...] [arg ...]`
fn evalsha(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    eval_any(tx, args, out, true, false)
}

/// `EVALSHA_RO sha1 numkeys [key ...] [arg ...]`
fn evalsha_ro(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    eval_any(tx, args, out, true, true)
}

/// `SCRIPT LOAD script`
fn load(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    out.bulk_str(&eval::load(tx, args[2])?);
    Ok(())
}

/// `SCRIPT EXISTS sha1 [sha1 ...]`
fn exists(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    out.array(args.len() - 2);
    for sha in &args[2..] {
        out.int(i64::from(eval::exists(tx, sha)));
    }
    Ok(())
}

/// Whether the arguments of a `FLUSH` are good: nothing, `SYNC` or `ASYNC`. Both free at once here.
pub(super) fn is_flush(args: &[&[u8]]) -> bool {
    args.len() == 2 || args.len() == 3 && (is(args[2], "sync") || is(args[2], "async"))
}

/// `SCRIPT FLUSH [ASYNC | SYNC]`
fn flush(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    if !is_flush(args) {
        return Err(err("ERR SCRIPT FLUSH only support SYNC|ASYNC option"));
    }
    eval::flush(tx)?;
    out.ok();
    Ok(())
}

/// `SCRIPT KILL`, on the caller's own thread: the module thread is busy with the script.
fn kill(_: &mut Tx<'_>, _: &[&[u8]], out: &mut Reply) -> CommandResult {
    run::kill(false)?;
    out.ok();
    Ok(())
}

/// `SCRIPT DEBUG YES | SYNC | NO`: there is no debugger.
fn debug(_: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    if is(args[2], "no") {
        out.ok();
        return Ok(());
    }
    if is(args[2], "yes") || is(args[2], "sync") {
        return Err(err("ERR This server has no debugger for scripts"));
    }
    Err(err("ERR Use SCRIPT DEBUG YES/SYNC/NO"))
}

/// `SCRIPT HELP`
fn help(_: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    write_help(
        out,
        args,
        &[
            "DEBUG (YES|SYNC|NO)",
            "    Set the debug mode for subsequent scripts executed.",
            "EXISTS <sha1> [<sha1> ...]",
            "    Return information about the existence of the scripts in the script cache.",
            "FLUSH [ASYNC|SYNC]",
            "    Flush the Lua scripts cache. Very dangerous on replicas.",
            "    When called without the optional mode argument, the behavior is determined by the",
            "    lazyfree-lazy-user-flush configuration directive. Valid modes are:",
            "    * ASYNC: Asynchronously flush the scripts cache.",
            "    * SYNC: Synchronously flush the scripts cache.",
            "KILL",
            "    Kill the currently executing Lua script.",
            "LOAD <script>",
            "    Load a script into the scripts cache without executing it.",
        ],
    );
    Ok(())
}

const fn spec(flags: u64, notes: Option<&'static str>) -> [KeySpec; 1] {
    [KeySpec {
        flags,
        begin: Begin::Index(2),
        find: Find::KeyNum(0, 1, 1),
        notes: match notes {
            Some(n) => Some(std::borrow::Cow::Borrowed(n)),
            None => None,
        },
    }]
}

const RW: u64 = key::RW | key::ACCESS | key::UPDATE;
const RO: u64 = key::RO | key::ACCESS;
const RW_NOTE: Option<&str> =
    Some("We cannot tell how the keys will be used so we assume the worst, RW and UPDATE");
const RO_NOTE: Option<&str> =
    Some("We cannot tell how the keys will be used so we assume the worst, RO and ACCESS");
/// Keys of a script that may write.
pub(super) static WRITES: [KeySpec; 1] = spec(RW, RW_NOTE);
/// Keys of a script that only reads.
pub(super) static READS: [KeySpec; 1] = spec(RO, RO_NOTE);
static WRITES_BY_SHA: [KeySpec; 1] = spec(RW, None);
static READS_BY_SHA: [KeySpec; 1] = spec(RO, None);

/// Flags of every command that runs a script.
pub(super) const RUNS: u64 =
    flags::NOSCRIPT | flags::SKIP_MONITOR | flags::NO_MANDATORY_KEYS | flags::STALE;

/// A row of the group `scripting`, on the module path.
pub(super) const fn row(
    name: &'static str,
    arity: i32,
    bits: u64,
    since: &'static str,
    summary: &'static str,
    run: Handler,
) -> Row {
    Row {
        path: PathRule::ServerWide,
        acl: &["scripting"],
        group: "scripting",
        since,
        summary,
        ..Row::new(name, arity, bits, run)
    }
}

/// A row that runs on the connection's own thread, whatever the module thread does.
pub(super) const fn anywhere(row: Row) -> Row {
    Row { path: PathRule::Connection, ..row }
}

const NOSCRIPT: u64 = flags::NOSCRIPT;

/// The family's commands.
pub static ROWS: &[Row] = &[
    Row {
        keys: &WRITES,
        ..row(
            "eval",
            -3,
            RUNS | flags::MAY_REPLICATE,
            "2.6.0",
            "Runs a Lua script on the server.",
            eval_command,
        )
    },
    Row {
        keys: &READS,
        ..row(
            "eval_ro",
            -3,
            RUNS | flags::READONLY,
            "7.0.0",
            "Runs a Lua script that only reads.",
            eval_ro,
        )
    },
    Row {
        keys: &WRITES_BY_SHA,
        ..row(
            "evalsha",
            -3,
            RUNS | flags::MAY_REPLICATE,
            "2.6.0",
            "Runs a cached Lua script, named by its digest.",
            evalsha,
        )
    },
    Row {
        keys: &READS_BY_SHA,
        ..row(
            "evalsha_ro",
            -3,
            RUNS | flags::READONLY,
            "7.0.0",
            "Runs a cached Lua script that only reads, named by its digest.",
            evalsha_ro,
        )
    },
    Row {
        group: "scripting",
        since: "2.6.0",
        summary: "Scripts: cache and control.",
        ..Row::container(
            "script",
            &[
                row("debug", 3, NOSCRIPT, "3.2.0", "Would set the debugging mode.", debug),
                row("exists", -3, NOSCRIPT, "2.6.0", "Tells which scripts are cached.", exists),
                row("flush", -2, NOSCRIPT, "2.6.0", "Forgets all cached scripts.", flush),
                anywhere(row(
                    "help",
                    2,
                    flags::LOADING | flags::STALE,
                    "5.0.0",
                    "Tells about the subcommands.",
                    help,
                )),
                anywhere(row(
                    "kill",
                    2,
                    NOSCRIPT | flags::ALLOW_BUSY,
                    "2.6.0",
                    "Ends the running script.",
                    kill,
                )),
                row("load", 3, NOSCRIPT | flags::STALE, "2.6.0", "Caches a script.", load),
            ],
        )
    },
];
