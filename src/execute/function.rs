//! Functions: `FUNCTION`, `FCALL`.
use super::error::err;
use super::script::{anywhere, feed_monitors, is_flush, row, READS, RUNS, WRITES};
use super::server::{subcommand_syntax, write_help};
use super::{is, text, CommandResult, Tx};
use crate::dispatch::table::{flags, Row};
use crate::observe::clock::mono_ns;
use crate::reply::Reply;
use crate::script::function::{self, Policy};
use crate::script::{run, FIGURES};
use std::sync::atomic::Ordering::Relaxed;

/// `FCALL function numkeys [key ...] [arg ...]`
fn fcall(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    feed_monitors(tx, args);
    function::call(tx, args, out, false)
}

/// `FCALL_RO function numkeys [key ...] [arg ...]`
fn fcall_ro(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    feed_monitors(tx, args);
    function::call(tx, args, out, true)
}

/// `FUNCTION LOAD [REPLACE] code`
fn load(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let (code, options) = args[2..].split_last().expect("the arity says so");
    if let Some(other) = options.iter().find(|o| !is(o, "replace")) {
        return Err(err(format!("ERR Unknown option given: {}", text(other))));
    }
    let name = function::load(tx, code, !options.is_empty(), true)?;
    tx.dirty += 1;
    out.bulk_str(&name);
    Ok(())
}

/// `FUNCTION DELETE library`
fn delete(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    function::delete(tx, args[2])?;
    tx.dirty += 1;
    out.ok();
    Ok(())
}

/// `FUNCTION LIST [LIBRARYNAME pattern] [WITHCODE]`
fn list(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let (mut pattern, mut with_code) = (None, false);
    let mut rest = args[2..].iter();
    while let Some(word) = rest.next() {
        if !with_code && is(word, "withcode") {
            with_code = true;
        } else if pattern.is_none() && is(word, "libraryname") {
            let p = rest.next().ok_or_else(|| err("ERR library name argument was not given"))?;
            pattern = Some(*p);
        } else {
            return Err(err(format!("ERR Unknown argument {}", text(word))));
        }
    }
    function::list(tx, pattern, with_code, out)
}

/// `FUNCTION DUMP`
fn dump(tx: &mut Tx<'_>, _: &[&[u8]], out: &mut Reply) -> CommandResult {
    out.bulk(&function::dump(tx)?);
    Ok(())
}

/// `FUNCTION RESTORE payload [FLUSH | APPEND | REPLACE]`
fn restore(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    if args.len() > 4 {
        return Err(subcommand_syntax(args));
    }
    let policy =
        match args.get(3) {
            None => Policy::Append,
            Some(p) if is(p, "append") => Policy::Append,
            Some(p) if is(p, "replace") => Policy::Replace,
            Some(p) if is(p, "flush") => Policy::Flush,
            Some(_) => return Err(err(
                "ERR Wrong restore policy given, value should be either FLUSH, APPEND or REPLACE.",
            )),
        };
    function::restore(tx, args[2], policy)?;
    tx.dirty += 1;
    out.ok();
    Ok(())
}

/// `FUNCTION FLUSH [ASYNC | SYNC]`
fn flush(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    if args.len() > 3 {
        return Err(subcommand_syntax(args));
    }
    if !is_flush(args) {
        return Err(err("ERR FUNCTION FLUSH only supports SYNC|ASYNC option"));
    }
    let asked = args.get(2).map(|word| is(word, "async"));
    function::flush(tx, asked.unwrap_or_else(|| tx.server.config.lazyfree_lazy_user_flush()))?;
    tx.dirty += 1;
    out.ok();
    Ok(())
}

/// `FUNCTION KILL`, on the caller's own thread.
fn kill(_: &mut Tx<'_>, _: &[&[u8]], out: &mut Reply) -> CommandResult {
    run::kill(true)?;
    out.ok();
    Ok(())
}

/// `FUNCTION STATS`, on the caller's own thread.
fn stats(_: &mut Tx<'_>, _: &[&[u8]], out: &mut Reply) -> CommandResult {
    let busy = run::BUSY.lock();
    if busy.as_ref().is_some_and(|b| !b.function) {
        return Err(run::BUSY_EVAL);
    }
    out.map(2);
    out.bulk(b"running_script");
    match &*busy {
        None => out.null(),
        Some(b) => {
            out.map(3);
            out.bulk(b"name");
            out.bulk_str(&b.name);
            out.bulk(b"command");
            out.array(b.args.len());
            b.args.iter().for_each(|a| out.bulk(a));
            out.bulk(b"duration_ms");
            out.int(((mono_ns() - b.began) / 1_000_000) as i64);
        }
    }
    out.bulk(b"engines");
    out.map(1);
    out.bulk(b"LUA");
    out.map(2);
    out.bulk(b"libraries_count");
    out.int(FIGURES.libraries.load(Relaxed) as i64);
    out.bulk(b"functions_count");
    out.int(FIGURES.functions.load(Relaxed) as i64);
    Ok(())
}

/// `FUNCTION HELP`
fn help(_: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    write_help(
        out,
        args,
        &[
            "LOAD [REPLACE] <FUNCTION CODE>",
            "    Create a new library with the given library name and code.",
            "DELETE <LIBRARY NAME>",
            "    Delete the given library.",
            "LIST [LIBRARYNAME PATTERN] [WITHCODE]",
            "    Return general information on all the libraries:",
            "    * Library name",
            "    * The engine used to run the Library",
            "    * Functions list",
            "    * Library code (if WITHCODE is given)",
            "    It also possible to get only function that matches a pattern using LIBRARYNAME argument.",
            "STATS",
            "    Return information about the current function running:",
            "    * Function name",
            "    * Command used to run the function",
            "    * Duration in MS that the function is running",
            "    If no function is running, return nil",
            "    In addition, returns a list of available engines.",
            "KILL",
            "    Kill the current running function.",
            "FLUSH [ASYNC|SYNC]",
            "    Delete all the libraries.",
            "    When called without the optional mode argument, the behavior is determined by the",
            "    lazyfree-lazy-user-flush configuration directive. Valid modes are:",
            "    * ASYNC: Asynchronously flush the libraries.",
            "    * SYNC: Synchronously flush the libraries.",
            "DUMP",
            "    Return a serialized payload representing the current libraries, can be restored using FUNCTION RESTORE \
             command",
            "RESTORE <PAYLOAD> [FLUSH|APPEND|REPLACE]",
            "    Restore the libraries represented by the given payload, it is possible to give a restore policy to",
            "    control how to handle existing libraries (default APPEND):",
            "    * FLUSH: delete all existing libraries.",
            "    * APPEND: appends the restored libraries to the existing libraries. On collision, abort.",
            "    * REPLACE: appends the restored libraries to the existing libraries, On collision, replace the old",
            "      libraries with the new libraries (notice that even on this option there is a chance of failure",
            "      in case of functions name collision with another library).",
        ],
    );
    Ok(())
}

const NOSCRIPT: u64 = flags::NOSCRIPT;
const CHANGES: u64 = NOSCRIPT | flags::WRITE;
const GROWS: u64 = CHANGES | flags::DENYOOM;
const ANY_TIME: u64 = NOSCRIPT | flags::ALLOW_BUSY;
const SINCE: &str = "7.0.0";

/// The family's commands.
pub static ROWS: &[Row] = &[
    Row {
        keys: &WRITES,
        ..row("fcall", -3, RUNS | flags::MAY_REPLICATE, SINCE, "Calls a function.", fcall)
    },
    Row {
        keys: &READS,
        ..row(
            "fcall_ro",
            -3,
            RUNS | flags::READONLY,
            SINCE,
            "Calls a function that only reads.",
            fcall_ro,
        )
    },
    Row {
        group: "scripting",
        since: SINCE,
        summary: "Functions: libraries and control.",
        ..Row::container(
            "function",
            &[
                row("delete", 3, CHANGES, SINCE, "Deletes a library.", delete),
                row("dump", 2, NOSCRIPT, SINCE, "Writes all libraries as a payload.", dump),
                row("flush", -2, CHANGES, SINCE, "Deletes all libraries.", flush),
                anywhere(row(
                    "help",
                    2,
                    flags::LOADING | flags::STALE,
                    SINCE,
                    "Tells about the subcommands.",
                    help,
                )),
                anywhere(row("kill", 2, ANY_TIME, SINCE, "Ends the running function.", kill)),
                row("list", -2, NOSCRIPT, SINCE, "Lists libraries.", list),
                row("load", -3, GROWS, SINCE, "Loads a library.", load),
                row("restore", -3, GROWS, SINCE, "Restores libraries from a payload.", restore),
                anywhere(row("stats", 2, ANY_TIME, SINCE, "Tells what runs.", stats)),
            ],
        )
    },
];
