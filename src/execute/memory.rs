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
        .filter(|(_, db)| !db.used_shards().is_empty())
        .map(|(i, db)| (i, db.len(), db.volatile()))
        .collect();
    let keys: usize = dbs.iter().map(|db| db.1).sum();
    let slots: u64 = (keys * SLOT) as u64;
    let clients = crate::connection::limits::client_memory();
    let overhead = (startup + slots + clients).min(used);
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
    let scripts = &crate::script::FIGURES;
    number("replication.backlog", 0);
    number("clients.slaves", 0);
    number("clients.normal", clients as i64);
    number("cluster.links", 0);
    number("aof.buffer", 0);
    number("lua.caches", scripts.script_bytes.load(Relaxed) as i64);
    // Not counted apart from their interpreter.
    number("functions.caches", 0);
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

/// `MEMORY MALLOC-STATS`
fn malloc_stats(_: &mut Tx<'_>, _: &[&[u8]], out: &mut Reply) -> CommandResult {
    match crate::module::api::memory::allocator_report() {
        Some(report) => out.verbatim(b"txt", &report),
        None => out.bulk_str("Stats not supported for the current allocator"),
    }
    Ok(())
}

/// `MEMORY DOCTOR`: what looks wrong, in words. Thresholds as Redis has them.
fn doctor(tx: &mut Tx<'_>, _: &[&[u8]], out: &mut Reply) -> CommandResult {
    const TOO_LITTLE: u64 = 5 << 20;
    const WORTH_A_WORD: u64 = 10 << 20;
    const LARGE_CLIENT: u64 = 200 << 10;
    const MANY_SCRIPTS: u64 = 1000;
    let server = tx.server;
    let used = server.used_memory();
    if used < TOO_LITTLE {
        out.verbatim(b"txt", b"There is too little data here to say anything about its memory.\n");
        return Ok(());
    }
    let peak = server.peak_memory.load(Relaxed).max(used);
    let rss = process::resident();
    let [allocated, active, resident, _] = crate::module::api::memory::allocator_figures();
    let beyond = |a: u64, b: u64, tenths: u64| {
        a.saturating_mul(10) > b.saturating_mul(tenths) && a.saturating_sub(b) > WORTH_A_WORD
    };
    let clients = server.clients.lock().len() as u64;
    let per_client = crate::connection::limits::client_memory() / clients.max(1);
    let found = [
        (
            peak * 10 > used * 15,
            "Peak: at some time this server used more than 1.5 times the memory that it uses now. The allocator may \
             keep pages from then, which shows as fragmentation; MEMORY PURGE may help.",
        ),
        (
            beyond(rss, used, 14),
            "Fragmentation: the process takes more than 1.4 times the memory that is in use (mem_fragmentation_ratio).",
        ),
        (
            beyond(active, allocated, 11),
            "Allocator fragmentation: pages are only partly used (allocator_frag_ratio). It goes down as data is \
             rewritten.",
        ),
        (
            beyond(resident, active, 11),
            "Allocator pages: the allocator keeps pages without data (allocator_rss_ratio). MEMORY PURGE gives them \
             back.",
        ),
        (
            beyond(rss, resident, 11),
            "Process overhead: the process has memory that does not come from the allocator (rss_overhead_ratio), \
             such as the code and data of modules.",
        ),
        (
            per_client > LARGE_CLIENT,
            "Client buffers: clients take more than 200 kB each on average. CLIENT LIST shows which (omem, qbuf); \
             client-output-buffer-limit and maxmemory-clients bound them.",
        ),
        (
            crate::script::FIGURES.scripts.load(Relaxed) > MANY_SCRIPTS,
            "Scripts: more than 1000 are cached. Texts that differ only in values belong in ARGV.",
        ),
    ];
    let mut report = String::new();
    for (_, words) in found.iter().filter(|(wrong, _)| *wrong) {
        report.push_str("* ");
        report.push_str(words);
        report.push('\n');
    }
    if report.is_empty() {
        report.push_str("Nothing about the memory of this server looks wrong.\n");
    }
    out.verbatim(b"txt", report.as_bytes());
    Ok(())
}

/// `MEMORY HELP`
fn memory_help(_: &mut Tx<'_>, _: &[&[u8]], out: &mut Reply) -> CommandResult {
    help(
        out,
        "MEMORY",
        &[
            "DOCTOR",
            "    Say what looks wrong about the use of memory.",
            "MALLOC-STATS",
            "    Show the report of the allocator.",
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
            Row { summary: "Says what looks wrong.", ..sub("doctor", 2, 0, doctor) },
            Row {
                summary: "Explains the subcommands.",
                ..sub("help", 2, flags::LOADING | flags::STALE, memory_help)
            },
            Row {
                summary: "Shows the allocator's report.",
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
