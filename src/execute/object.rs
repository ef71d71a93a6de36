//! How a key's value is kept: `OBJECT`.
use super::error::err;
use super::{CommandResult, Tx};
use crate::dispatch::table::{flags, key, keys, KeySpec, PathRule, Row};
use crate::keyspace::entry::Entry;
use crate::keyspace::value::{StrRef, ValueRef};
use crate::reply::Reply;
use std::sync::atomic::Ordering::Relaxed;

/// The entry that a subcommand is about; answers with nothing when there is none.
pub(super) fn entry(tx: &Tx<'_>, args: &[&[u8]], out: &mut Reply) -> Option<Entry> {
    let found = tx.peek_entry(args[2]);
    if found.is_none() {
        out.null();
    }
    found
}

/// `OBJECT ENCODING key`
fn encoding(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    if let Some(e) = entry(tx, args, out) {
        out.bulk_str(e.encoding());
    }
    Ok(())
}

/// `OBJECT REFCOUNT key`: values are not shared here, but small integers say what they say in the reference.
fn refcount(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    const SHARED_INTEGERS: std::ops::Range<i64> = 0..10_000;
    if let Some(e) = entry(tx, args, out) {
        let small =
            matches!(e.value(), ValueRef::String(StrRef::Int(i)) if SHARED_INTEGERS.contains(&i));
        // With a limit and a policy that needs each key's own clock, nothing is shared.
        let config = &tx.server.config;
        let sharing = config.maxmemory() == 0 || config.maxmemory_policy() & 3 == 0;
        out.int(if small && sharing { i64::from(i32::MAX) } else { 1 });
    }
    Ok(())
}

/// `OBJECT IDLETIME key`
fn idletime(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let Some(e) = entry(tx, args, out) else { return Ok(()) };
    if tx.server.lfu.load(Relaxed) {
        return Err(err(
            "ERR An LFU maxmemory policy is selected, idle time not tracked. Please note that when switching between \
             policies at runtime LRU and LFU data will take some time to adjust.",
        ));
    }
    let seconds = ((tx.now / 1000) as u32).wrapping_sub(e.clock()) & 0xff_ffff;
    out.int(seconds.into());
    Ok(())
}

/// `OBJECT FREQ key`
fn freq(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let Some(e) = entry(tx, args, out) else { return Ok(()) };
    if !tx.server.lfu.load(Relaxed) {
        return Err(err(
            "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when \
             switching between policies at runtime LRU and LFU data will take some time to adjust.",
        ));
    }
    let decay = tx.server.config.lfu_decay_time() as u32;
    out.int(crate::keyspace::evict::lfu_count(tx.now, e.clock(), decay).into());
    Ok(())
}

/// Answers `HELP` of a container: a line on how to call it, then the lines, then `HELP` itself.
pub(super) fn help(out: &mut Reply, container: &str, lines: &[&str]) {
    out.array(lines.len() + 3);
    out.simple(format!("{container} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"));
    for line in lines {
        out.simple(line);
    }
    out.simple("HELP");
    out.simple("    Print this help.");
}

/// `OBJECT HELP`
fn object_help(_: &mut Tx<'_>, _: &[&[u8]], out: &mut Reply) -> CommandResult {
    help(
        out,
        "OBJECT",
        &[
            "ENCODING <key>",
            "    How the value of the key is stored.",
            "FREQ <key>",
            "    How often the key was used, as a logarithmic counter.",
            "IDLETIME <key>",
            "    For how many seconds the key was not used.",
            "REFCOUNT <key>",
            "    How many references the value of the key has.",
        ],
    );
    Ok(())
}

const KEY: &[KeySpec] = &[keys(key::RO, 2, 2, 1)];
const HELP: u64 = flags::LOADING | flags::STALE;

/// The family's commands.
pub static ROWS: &[Row] = &[Row {
    group: "generic",
    since: "2.2.3",
    summary: "A container for commands that look into values.",
    ..Row::container(
        "object",
        &[
            Row {
                keys: KEY,
                acl: &["keyspace"],
                since: "2.2.3",
                summary: "Tells how a value is stored.",
                ..Row::new("encoding", 3, flags::READONLY, encoding)
            },
            Row {
                keys: KEY,
                acl: &["keyspace"],
                since: "4.0.0",
                summary: "Tells how often a key was used, as a logarithmic counter.",
                ..Row::new("freq", 3, flags::READONLY, freq)
            },
            Row {
                path: PathRule::Connection,
                acl: &["keyspace"],
                since: "6.2.0",
                summary: "Explains the subcommands.",
                ..Row::new("help", 2, HELP, object_help)
            },
            Row {
                keys: KEY,
                acl: &["keyspace"],
                since: "2.2.3",
                summary: "Tells for how many seconds a key was not used.",
                ..Row::new("idletime", 3, flags::READONLY, idletime)
            },
            Row {
                keys: KEY,
                acl: &["keyspace"],
                since: "2.2.3",
                summary: "Tells how many references a value has.",
                ..Row::new("refcount", 3, flags::READONLY, refcount)
            },
        ],
    )
}];
