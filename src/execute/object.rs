//! What a key's value is made of: `OBJECT` and `MEMORY`.
use super::error::{err, SYNTAX};
use super::{int, is, CommandResult, Tx};
use crate::dispatch::table::{flags, key, keys, KeySpec, PathRule, Row};
use crate::keyspace::entry::Entry;
use crate::keyspace::value::{StrRef, ValueRef};
use crate::reply::Reply;
use std::sync::atomic::Ordering::Relaxed;

/// The entry that a subcommand is about; answers with nothing when there is none.
fn entry(tx: &Tx<'_>, args: &[&[u8]], out: &mut Reply) -> Option<Entry> {
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
fn help(out: &mut Reply, container: &str, lines: &[&str]) {
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

/// Bytes behind an entry, besides the entry's own.
fn value_bytes(tx: &Tx<'_>, name: &[u8], e: Entry, samples: usize) -> usize {
    match e.value() {
        ValueRef::String(StrRef::Bytes(b)) if e.is_heap_string() => size_of::<Vec<u8>>() + b.len(),
        ValueRef::String(_) => 0,
        ValueRef::List(v) => size_of_val(v) + v.mem_bytes(),
        ValueRef::Set(v) => size_of_val(v) + v.mem_bytes(),
        ValueRef::Hash(v) => size_of_val(v) + v.mem_bytes(),
        ValueRef::Zset(v) => size_of_val(v) + v.mem_bytes(),
        ValueRef::Stream(v) => size_of_val(v) + v.mem_bytes(),
        ValueRef::Module(m) => {
            size_of_val(m) + crate::module::datatype::mem_usage(name, tx.db(), m, samples)
        }
    }
}

/// `MEMORY USAGE key [SAMPLES count]`
fn usage(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    const DEFAULT_SAMPLES: i64 = 5;
    /// Of the slots of the keyspace's table about three quarters are in use.
    const SLOT: usize = 12;
    let mut samples = DEFAULT_SAMPLES;
    let mut i = 3;
    while i < args.len() {
        if !is(args[i], "samples") || i + 1 == args.len() {
            return Err(SYNTAX);
        }
        samples = int(args[i + 1])?;
        if samples < 0 {
            return Err(SYNTAX);
        }
        i += 2;
    }
    let samples = if samples == 0 { usize::MAX } else { samples as usize };
    if let Some(e) = entry(tx, args, out) {
        out.int((SLOT + e.entry_bytes() + value_bytes(tx, args[2], e, samples)) as i64);
    }
    Ok(())
}

/// `MEMORY PURGE`
fn purge(_: &mut Tx<'_>, _: &[&[u8]], out: &mut Reply) -> CommandResult {
    if !crate::module::api::memory::purge() {
        return Err(err("ERR Error purging dirty pages"));
    }
    out.ok();
    Ok(())
}

/// `MEMORY HELP`
fn memory_help(_: &mut Tx<'_>, _: &[&[u8]], out: &mut Reply) -> CommandResult {
    help(
        out,
        "MEMORY",
        &[
            "PURGE",
            "    Give memory that is not used back to the system.",
            "USAGE <key> [SAMPLES <count>]",
            "    Bytes that the key and its value take. Modules look at <count> parts of a value (0: all).",
        ],
    );
    Ok(())
}

const KEY: &[KeySpec] = &[keys(key::RO, 2, 2, 1)];
const HELP: u64 = flags::LOADING | flags::STALE;

/// The family's commands.
pub static ROWS: &[Row] = &[
    Row {
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
    },
    Row {
        since: "4.0.0",
        summary: "A container for commands about memory.",
        ..Row::container(
            "memory",
            &[
                Row {
                    path: PathRule::Connection,
                    group: "server",
                    since: "4.0.0",
                    summary: "Explains the subcommands.",
                    ..Row::new("help", 2, HELP, memory_help)
                },
                Row {
                    path: PathRule::Connection,
                    group: "server",
                    since: "4.0.0",
                    summary: "Gives memory back to the system.",
                    ..Row::new("purge", 2, 0, purge)
                },
                Row {
                    keys: KEY,
                    group: "server",
                    since: "4.0.0",
                    summary: "Tells how many bytes a key and its value take.",
                    ..Row::new("usage", -3, flags::READONLY | flags::VALUES, usage)
                },
            ],
        )
    },
];
