//! `MODULE`: list, load, unload.
use super::error::err;
use super::{is, text, CommandError, CommandResult, Tx};
use crate::dispatch::table::{flags, PathRule, Row};
use crate::module::loader::{self, LoadError};
use crate::module::{admission, sha256};
use crate::reply::Reply;
use crate::server::Server;
use std::sync::atomic::Ordering::Relaxed;

/// The modules, as `MODULE LIST` and `HELLO` show them; `hashes` adds a field behind those of Redis.
pub fn write_list(server: &Server, hashes: bool, out: &mut Reply) {
    let modules = server.modules.list();
    out.array(modules.len());
    for m in modules {
        out.map(4 + usize::from(hashes));
        out.bulk(b"name");
        out.bulk_str(m.name());
        out.bulk(b"ver");
        out.int(i64::from(m.ver.load(Relaxed)));
        out.bulk(b"path");
        out.bulk_str(&m.path);
        out.bulk(b"args");
        out.array(m.args.len());
        for a in &m.args {
            out.bulk(a);
        }
        if hashes {
            out.bulk(b"sha256");
            out.bulk_str(&m.hash.as_ref().map_or(String::new(), sha256::hex));
        }
    }
}

/// `MODULE LIST`. The field with the hash is there where somebody set rules about hashes: Redis describes its reply as
/// one with four fields and no others.
fn list(tx: &mut Tx<'_>, _: &[&[u8]], out: &mut Reply) -> CommandResult {
    write_list(tx.server, admission::has_rules(tx.server), out);
    Ok(())
}

const LOAD_ERROR: &str = "ERR Error loading the extension. Please check the server logs.";

fn load_error(e: LoadError) -> CommandError {
    match e {
        LoadError::Refused(text) => err(format!("ERR {text}")),
        LoadError::Failed(_) => err(LOAD_ERROR),
    }
}

/// `MODULE LOAD path [arg ...]`
fn load(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let words: Vec<Vec<u8>> = args[3..].iter().map(|a| a.to_vec()).collect();
    loader::load(tx.server, &text(args[2]), &words).map_err(load_error)?;
    out.ok();
    Ok(())
}

/// `MODULE LOADEX path [CONFIG name value ...] [ARGS arg ...]`
fn loadex(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let (mut configs, mut words) = (Vec::new(), Vec::new());
    let mut i = 3;
    while i < args.len() {
        if is(args[i], "config") && i + 2 < args.len() {
            configs.push((args[i + 1].to_vec(), args[i + 2].to_vec()));
            i += 3;
        } else if is(args[i], "args") {
            words = args[i + 1..].iter().map(|a| a.to_vec()).collect();
            break;
        } else {
            crate::log_notice!("Syntax Error from arguments to loadex around {}.", text(args[i]));
            return Err(err(LOAD_ERROR));
        }
    }
    loader::load_with_configs(tx.server, &text(args[2]), &words, &configs).map_err(load_error)?;
    out.ok();
    Ok(())
}

/// `MODULE UNLOAD name`
fn unload(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    loader::unload(tx.server, &text(args[2]))
        .map_err(|reason| err(format!("ERR Error unloading module: {reason}")))?;
    out.ok();
    Ok(())
}

/// `MODULE LOCKS`: who holds the module lock, since when, and who waits. Answers without it.
fn locks(tx: &mut Tx<'_>, _: &[&[u8]], out: &mut Reply) -> CommandResult {
    let lock = &tx.server.module_lock;
    let (held, seen, times) = (lock.held_for(), lock.owner.look(), lock.hold_times());
    out.map(12);
    let number = |out: &mut Reply, name: &str, n: u64| {
        out.bulk(name.as_bytes());
        out.int(n as i64);
    };
    number(out, "held", u64::from(held.is_some()));
    number(out, "held-usec", held.map_or(0, |h| h.0.as_micros() as u64));
    out.bulk(b"module");
    out.bulk(seen.module.map_or("", |m| m.name()).as_bytes());
    out.bulk(b"runs");
    out.bulk(seen.what.unwrap_or_default().as_bytes());
    number(out, "thread", seen.thread.into());
    out.bulk(b"last-calls");
    let calls = seen.calls();
    out.array(calls.len());
    calls.iter().for_each(|c| out.bulk(c.as_bytes()));
    number(out, "waiters", lock.waiters() as u64);
    number(out, "holds", times.holds);
    number(out, "total-held-usec", times.total_ns / 1000);
    number(out, "longest-held-usec", times.longest_ns / 1000);
    number(out, "long-holds", crate::module::watchdog::long_holds());
    number(out, "misuses", crate::module::strict::count());
    Ok(())
}

/// A subcommand that Redis does not have: lists of commands leave it out.
pub const OURS: &str = "locks";

const ADMIN: u64 = flags::ADMIN | flags::NOSCRIPT | flags::NO_ASYNC_LOADING | flags::PROTECTED;

/// `MODULE HELP`
fn help(_: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    super::server::write_help(
        out,
        args,
        &[
            "LIST",
            "    List the loaded modules.",
            "LOAD <path> [<arg> ...]",
            "    Load a module, with arguments.",
            "LOADEX <path> [[CONFIG NAME VALUE] [CONFIG NAME VALUE]] [ARGS ...]",
            "    Load a module, with directives of its own and arguments.",
            "LOCKS",
            "    Tell who has the module lock, without waiting for it.",
            "UNLOAD <name>",
            "    Unload a module.",
        ],
    );
    Ok(())
}

const fn row(
    name: &'static str,
    arity: i32,
    bits: u64,
    summary: &'static str,
    run: crate::dispatch::table::Handler,
) -> Row {
    Row {
        path: PathRule::ServerWide,
        group: "server",
        since: "4.0.0",
        summary,
        ..Row::new(name, arity, bits, run)
    }
}

/// The family's commands.
pub static ROWS: &[Row] = &[Row {
    since: "4.0.0",
    summary: "Modules: list, load, unload.",
    ..Row::container(
        "module",
        &[
            Row {
                since: "5.0.0",
                ..super::server::any("help", 2, "Tells about the subcommands.", help)
            },
            row("list", 2, flags::ADMIN | flags::NOSCRIPT, "Lists the loaded modules.", list),
            row("load", -3, ADMIN, "Loads a module.", load),
            Row {
                since: "7.0.0",
                ..row("loadex", -3, ADMIN, "Loads a module, with configs and arguments.", loadex)
            },
            row("unload", 3, ADMIN, "Unloads a module.", unload),
            Row {
                path: PathRule::Connection,
                ..row(
                    OURS,
                    2,
                    flags::ADMIN | flags::LOADING | flags::STALE | flags::ALLOW_BUSY,
                    "Tells who has the module lock.",
                    locks,
                )
            },
        ],
    )
}];
