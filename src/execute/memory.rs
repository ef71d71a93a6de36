//! Where the memory goes: `MEMORY`.
use super::error::{err, SYNTAX};
use super::object::{entry, help};
use super::{int, is, CommandResult, Tx};
use crate::dispatch::table::{flags, key, keys, Handler, KeySpec, PathRule, Row};
use crate::keyspace::entry::Entry;
use crate::keyspace::value::{StrRef, ValueRef};
use crate::observe::process;
use crate::reply::Reply;
use std::sync::atomic::Ordering::Relaxed;

/// Of the slots of the keyspace's table, eight bytes each, about three quarters are in use.
const SLOT: usize = 12;

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

/// `MEMORY MALLOC-STATS`
fn malloc_stats(_: &mut Tx<'_>, _: &[&[u8]], out: &mut Reply) -> CommandResult {
    out.verbatim(b"txt", &crate::module::api::memory::allocator_report());
    Ok(())
}

/// `MEMORY DOCTOR`
fn doctor(tx: &mut Tx<'_>, _: &[&[u8]], out: &mut Reply) -> CommandResult {
    /// Below this much memory in use, ratios mean nothing.
    const TOO_SMALL: u64 = 5 << 20;
    /// Below this many bytes an overhead is none.
    const NEGLIGIBLE: u64 = 10 << 20;
    let server = tx.server;
    let used = server.used_memory();
    let peak = server.peak_memory.load(Relaxed).max(used);
    let [allocated, active, resident, _] = crate::module::api::memory::allocator_figures();
    let beyond = |a: u64, b: u64, percent: u64| {
        a.saturating_sub(b) > NEGLIGIBLE && a > b + b / 100 * percent
    };
    let mut found: Vec<&str> = Vec::new();
    if used < TOO_SMALL {
        found
            .push("There is hardly any data in this server: nothing can be said about its memory.");
    } else {
        if peak > used + used / 2 {
            found.push(
                "At its peak the server used more than one and a half times of what it uses now. The allocator may \
                 keep some of that; MEMORY PURGE gives it back.",
            );
        }
        if beyond(active, allocated, 10) {
            found.push(
                "The allocator's pages are fragmented: values went between others that stayed. A restart packs them.",
            );
        }
        if beyond(resident, active, 10) {
            found.push(
                "The allocator holds pages that it does not use. MEMORY PURGE gives them back.",
            );
        }
        if beyond(process::resident(), resident, 10) {
            found.push("The process has much memory besides the allocator's: that of libraries or of modules.");
        }
        if found.is_empty() {
            found.push("Nothing is wrong with the memory of this server.");
        }
    }
    out.verbatim(b"txt", format!("{}\n", found.join("\n")).as_bytes());
    Ok(())
}

/// `MEMORY STATS`
fn stats(tx: &mut Tx<'_>, _: &[&[u8]], out: &mut Reply) -> CommandResult {
    let server = tx.server;
    let used = server.used_memory();
    let peak = server.peak_memory.load(Relaxed).max(used);
    let startup = server.startup_memory.load(Relaxed);
    let resident_size = process::resident();
    let [allocated, active, resident, _] = crate::module::api::memory::allocator_figures();
    let dbs: Vec<(usize, usize, usize)> = server
        .keyspace
        .dbs()
        .iter()
        .enumerate()
        .map(|(i, db)| (i, db.len(), db.volatile()))
        .filter(|(_, len, _)| *len > 0)
        .collect();
    let keys: usize = dbs.iter().map(|db| db.1).sum();
    let slots: u64 = (keys * SLOT) as u64;
    let overhead = (startup + slots).min(used);
    let (dataset, net) = (used - overhead, used.saturating_sub(startup));
    let ratio = |a: u64, b: u64| a as f64 / b.max(1) as f64;
    let beyond = |a: u64, b: u64| a as i64 - b as i64;

    out.map(31 + dbs.len());
    let mut number = |name: &str, n: i64| {
        out.bulk_str(name);
        out.int(n);
    };
    number("peak.allocated", peak as i64);
    number("total.allocated", used as i64);
    number("startup.allocated", startup as i64);
    // Not counted apart from the rest.
    for name in [
        "replication.backlog",
        "clients.slaves",
        "clients.normal",
        "cluster.links",
        "aof.buffer",
        "lua.caches",
        "functions.caches",
    ] {
        number(name, 0);
    }
    for (i, len, volatile) in dbs {
        out.bulk_str(&format!("db.{i}"));
        out.map(2);
        out.bulk_str("overhead.hashtable.main");
        out.int((len * SLOT) as i64);
        out.bulk_str("overhead.hashtable.expires");
        out.int((volatile * size_of::<i64>()) as i64);
    }
    let mut number = |name: &str, n: i64| {
        out.bulk_str(name);
        out.int(n);
    };
    number("overhead.db.hashtable.lut", slots as i64);
    number("overhead.db.hashtable.rehashing", 0);
    number("overhead.total", overhead as i64);
    number("db.dict.rehashing.count", 0);
    number("keys.count", keys as i64);
    number("keys.bytes-per-key", net.checked_div(keys as u64).unwrap_or(0) as i64);
    number("dataset.bytes", dataset as i64);
    let mut share = |name: &str, n: f64| {
        out.bulk_str(name);
        out.double(n);
    };
    share("dataset.percentage", 100.0 * ratio(dataset, net));
    share("peak.percentage", 100.0 * ratio(used, peak));
    for (name, n) in [
        ("allocator.allocated", allocated),
        ("allocator.active", active),
        ("allocator.resident", resident),
        ("allocator.muzzy", 0),
    ] {
        out.bulk_str(name);
        out.int(n as i64);
    }
    for (name, a, b) in [
        ("allocator-fragmentation", active, allocated),
        ("allocator-rss", resident, active),
        ("rss-overhead", resident_size, resident),
        ("fragmentation", resident_size, used),
    ] {
        let total = name == "fragmentation";
        out.bulk_str(&if total { name.to_string() } else { format!("{name}.ratio") });
        out.double(ratio(a, b));
        out.bulk_str(&format!("{name}.bytes"));
        out.int(beyond(a, b));
    }
    Ok(())
}

/// `MEMORY HELP`
fn memory_help(_: &mut Tx<'_>, _: &[&[u8]], out: &mut Reply) -> CommandResult {
    help(
        out,
        "MEMORY",
        &[
            "DOCTOR",
            "    Look for trouble with memory.",
            "MALLOC-STATS",
            "    Print the allocator's own statistics.",
            "PURGE",
            "    Give memory that is not used back to the system.",
            "STATS",
            "    What the server's memory is used for.",
            "USAGE <key> [SAMPLES <count>]",
            "    Bytes that the key and its value take. Modules look at <count> parts of a value (0: all).",
        ],
    );
    Ok(())
}

const KEY: &[KeySpec] = &[keys(key::RO, 2, 2, 1)];

const fn sub(name: &'static str, arity: i32, flags: u64, run: Handler) -> Row {
    Row {
        path: PathRule::Connection,
        group: "server",
        since: "4.0.0",
        ..Row::new(name, arity, flags, run)
    }
}

/// The family's commands.
pub static ROWS: &[Row] = &[Row {
    since: "4.0.0",
    summary: "A container for commands about memory.",
    ..Row::container(
        "memory",
        &[
            Row {
                summary: "Explains the subcommands.",
                ..sub("help", 2, flags::LOADING | flags::STALE, memory_help)
            },
            Row { summary: "Looks for trouble with memory.", ..sub("doctor", 2, 0, doctor) },
            Row {
                summary: "Prints the allocator's own statistics.",
                ..sub("malloc-stats", 2, 0, malloc_stats)
            },
            Row { summary: "Gives memory back to the system.", ..sub("purge", 2, 0, purge) },
            Row {
                summary: "Tells what the server's memory is used for.",
                ..sub("stats", 2, 0, stats)
            },
            Row {
                path: PathRule::Native,
                keys: KEY,
                summary: "Tells how many bytes a key and its value take.",
                ..sub("usage", -3, flags::READONLY | flags::VALUES, usage)
            },
        ],
    )
}];
