//! `DEBUG`: for tests of the server and of clients.
use super::error::{err, NO_SUCH_KEY};
use super::server::{admin_noscript, subcommand_syntax, write_help};
use super::{digest, int, is, text, CommandResult, Expiry, Tx};
use crate::dispatch::table::{flags, PathRule, Row};
use crate::keyspace::list::{NodeRef, PACKED_THRESHOLD};
use crate::keyspace::listpack::{Listpack, LpItem};
use crate::keyspace::value::ValueRef;
use crate::reply::Reply;
use crate::snapshot::control::Reload;
use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

/// `DEBUG SLEEP seconds`: nobody reaches any key meanwhile, which is as near as several threads come to the one of Redis
/// that sleeps.
fn sleep(tx: &Tx<'_>, args: &[&[u8]], out: &mut Reply) {
    let seconds = crate::keyspace::number::parse_f64(args[2]).unwrap_or(0.0);
    let stopped = tx.server.keyspace.stop();
    std::thread::sleep(Duration::try_from_secs_f64(seconds).unwrap_or_default());
    drop(stopped);
    out.ok();
}

/// Sets a switch from `0` or another number.
fn set_switch(switch: &AtomicBool, arg: &[u8], out: &mut Reply) {
    switch.store(int(arg).is_ok_and(|n| n != 0), Relaxed);
    out.ok();
}

/// `DEBUG POPULATE count [prefix] [size]`
fn populate(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let number = |arg: &[u8]| -> Result<usize, super::CommandError> {
        let n = int(arg).ok().and_then(|n| usize::try_from(n).ok());
        n.ok_or(super::error::NOT_POSITIVE)
    };
    let count = number(args[2])?;
    let prefix = args.get(3).copied().unwrap_or(b"key");
    let size = args.get(4).map_or(Ok(0), |a| number(a))?;
    for i in 0..count {
        let key = [prefix, format!(":{i}").as_bytes()].concat();
        if tx.exists(&key) {
            continue;
        }
        let mut value = format!("value:{i}").into_bytes();
        if size != 0 {
            value.resize(size, 0);
        }
        tx.set_string(&key, &value, Expiry::Clear);
        tx.modified(&key);
    }
    out.ok();
    Ok(())
}

/// `DEBUG PROTOCOL type`
fn protocol(args: &[&[u8]], out: &mut Reply) -> CommandResult {
    match args[2].to_ascii_lowercase().as_slice() {
        b"string" => out.bulk(b"Hello World"),
        b"integer" => out.int(12345),
        #[allow(clippy::approx_constant)] // the reference's own value
        b"double" => out.double(3.141),
        b"bignum" => out.big_number(b"1234567999999999999999999999999999999"),
        b"null" => out.null(),
        b"array" => {
            out.array(3);
            (0..3).for_each(|i| out.int(i));
        }
        b"set" => {
            out.set(3);
            (0..3).for_each(|i| out.int(i));
        }
        b"map" => {
            out.map(3);
            for i in 0..3 {
                out.int(i);
                out.bool(i == 1);
            }
        }
        b"attrib" => {
            if out.resp3 {
                out.attribute(1);
                out.bulk(b"key-popularity");
                out.array(2);
                out.bulk(b"key:123");
                out.int(90);
            }
            out.bulk(b"Some real reply following the attribute");
        }
        b"push" => {
            if !out.resp3 {
                return Err(err("ERR RESP2 is not supported by this command"));
            }
            // What is pushed goes out behind the reply.
            out.bulk(b"Some real reply following the push reply");
            out.push(2);
            out.bulk(b"server-cpu-usage");
            out.int(42);
        }
        b"true" => out.bool(true),
        b"false" => out.bool(false),
        b"verbatim" => out.verbatim(b"txt", b"This is a verbatim\nstring"),
        _ => {
            return Err(err("ERR Wrong protocol type name. Please use one of the following: \
                 string|integer|double|bignum|null|array|set|map|attrib|push|verbatim|true|false"))
        }
    }
    Ok(())
}

/// `DEBUG RELOAD [MERGE|NOFLUSH|NOSAVE ...]`
fn reload(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let mut how = Reload { save: true, flush: true, merge: false };
    for word in &args[2..] {
        if is(word, "merge") {
            how.merge = true;
        } else if is(word, "noflush") {
            how.flush = false;
        } else if is(word, "nosave") {
            how.save = false;
        } else {
            return Err(err(
                "ERR DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE options.",
            ));
        }
    }
    crate::snapshot::reload(tx.server, how).map_err(err)?;
    out.ok();
    Ok(())
}

/// `DEBUG OBJECT key`
fn object(tx: &mut Tx<'_>, key: &[u8], out: &mut Reply) -> CommandResult {
    let e = tx.any_entry(key).ok_or(NO_SUCH_KEY)?;
    let compress = tx.server.config.rdbcompression();
    // Without the type before the value, and version and checksum behind it.
    let length = crate::snapshot::dump(e.value(), (key, tx.db()), compress)
        .map_or(0, |bytes| bytes.len().saturating_sub(11));
    let idle = ((tx.now / 1000) as u32).wrapping_sub(e.clock()) & 0xff_ffff;
    let mut shown = format!(
        "Value at:{:p} refcount:1 encoding:{} serializedlength:{length} lru:{} lru_seconds_idle:{idle}",
        e.key().as_ptr(),
        e.encoding(),
        e.clock(),
    );
    if let (ValueRef::List(list), "quicklist") = (e.value(), e.encoding()) {
        let nodes = list.node_count();
        let bytes: usize = list
            .nodes()
            .map(|node| match node {
                NodeRef::Packed(lp) => lp.byte_len(),
                NodeRef::Plain(text) => text.len(),
            })
            .sum();
        shown.push_str(&format!(
            " ql_nodes:{nodes} ql_avg_node:{:.2} ql_listpack_max:{} ql_compressed:{} ql_uncompressed_size:{bytes}",
            list.len() as f64 / nodes as f64,
            tx.server.config.list_max_listpack_size(),
            // What is configured; nodes are kept as they are.
            u8::from(tx.server.config.list_compress_depth() != 0),
        ));
    }
    out.simple(shown);
    Ok(())
}

/// `DEBUG LISTPACK key`: its elements, on standard output.
fn listpack(tx: &mut Tx<'_>, key: &[u8], out: &mut Reply) -> CommandResult {
    let lp: Option<&Listpack> = match tx.peek(key).ok_or(NO_SUCH_KEY)? {
        ValueRef::Hash(h) => h.as_listpack(),
        ValueRef::Zset(z) => z.as_listpack(),
        ValueRef::Set(s) => s.as_listpack(),
        _ => None,
    };
    let lp = lp.ok_or(err("ERR Not a listpack encoded object."))?;
    let mut shown = format!("{{total bytes {}}} {{num entries {}}}\n", lp.byte_len(), lp.len());
    for (i, item) in lp.iter().enumerate() {
        let kind = if matches!(item, LpItem::Int(_)) { "int" } else { "str" };
        shown.push_str(&format!("  {{{i}}} {kind} {}\n", text(&item.to_vec())));
    }
    let _ = std::io::stdout().write_all(shown.as_bytes());
    out.simple("Listpack structure printed on stdout");
    Ok(())
}

/// `DEBUG SDSLEN key`
fn sdslen(tx: &mut Tx<'_>, key: &[u8], out: &mut Reply) -> CommandResult {
    let e = tx.peek_entry(key).ok_or(NO_SUCH_KEY)?;
    let ValueRef::String(s) = e.value() else {
        return Err(err("ERR Not an sds encoded string."));
    };
    if e.encoding() == "int" {
        return Err(err("ERR Not an sds encoded string."));
    }
    let (k, v) = (key.len(), s.len());
    out.simple(format!(
        "key_sds_len:{k}, key_sds_avail:0, key_zmalloc: {k}, val_sds_len:{v}, val_sds_avail:0, val_zmalloc: {v}"
    ));
    Ok(())
}

/// `DEBUG QUICKLIST-PACKED-THRESHOLD size`
fn packed_threshold(arg: &[u8], out: &mut Reply) -> CommandResult {
    const MAX: u64 = (1 << 32) - (1 << 20);
    let size = crate::config::text::parse_memory(arg).filter(|n| *n <= MAX);
    let size =
        size.ok_or(err("ERR argument must be a memory value bigger than 1 and smaller than 4gb"))?;
    PACKED_THRESHOLD.store(size as usize, Relaxed);
    out.ok();
    Ok(())
}

fn debug(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let server = tx.server;
    match (args[1].to_ascii_lowercase().as_slice(), args.len()) {
        (b"help", 2) => help(args, out),
        (b"sleep", 3) => sleep(tx, args, out),
        (b"log", 3) => {
            crate::log_warning!("DEBUG LOG: {}", text(args[2]));
            out.ok();
        }
        (b"error", 3) => out.error(args[2]),
        (b"protocol", 3) => protocol(args, out)?,
        (b"populate", 3..=5) => populate(tx, args, out)?,
        (b"digest", 2) => out.simple(digest::hex(&digest::of_all(tx))),
        (b"digest-value", _) => {
            out.array(args.len() - 2);
            args[2..].iter().for_each(|k| out.simple(digest::hex(&digest::of_key(tx, k))));
        }
        (b"config-rewrite-force-all", 2) => {
            super::config::rewrite_file(server, true).map_err(|e| {
                let reason = e.map_or("no config file".to_string(), |e| e.to_string());
                err(format!("ERR CONFIG-REWRITE-FORCE-ALL failed: {reason}"))
            })?;
            out.ok();
        }
        (b"reload", _) => reload(tx, args, out)?,
        (b"loadaof", 2) => {
            if !crate::persist::load::reload(server) {
                return Err(err("ERR Error trying to load the AOF files, check server logs."));
            }
            crate::log_notice!("Append Only File loaded by DEBUG LOADAOF");
            out.ok();
        }
        (b"aof-flush-sleep", 3) => {
            server.aof.flush_sleep.store(int(args[2]).unwrap_or(0), Relaxed);
            out.ok();
        }
        (b"object", 3) => object(tx, args[2], out)?,
        (b"listpack", 3) => listpack(tx, args[2], out)?,
        (b"sdslen", 3) => sdslen(tx, args[2], out)?,
        (b"set-skip-checksum-validation", 3) => {
            set_switch(&crate::snapshot::SKIP_CHECKSUM, args[2], out);
        }
        (b"set-active-expire", 3) => set_switch(&server.active_expire, args[2], out),
        (b"set-disable-deny-scripts", 3) => {
            set_switch(&crate::script::run::ALL_FOR_SCRIPTS, args[2], out);
        }
        (b"pause-cron", 3) => set_switch(&server.pause_cron, args[2], out),
        // Reply buffers belong to the threads and are not resized, whatever is asked for.
        (b"replybuffer", 4) if is(args[2], "resizing") => out.ok(),
        (b"quicklist-packed-threshold", 3) => packed_threshold(args[2], out)?,
        (b"change-repl-id", 2) => {
            crate::log_notice!("Changing replication IDs after receiving DEBUG change-repl-id");
            *server.repl_id.lock() = crate::observe::random::hex(40);
            out.ok();
        }
        (b"stringmatch-len", 4) => {
            out.int(i64::from(crate::config::glob_match(args[2], args[3], false)));
        }
        // Tables resize a shard at a time: there is nothing to hold back.
        (b"dict-resizing", 3) if is(args[2], "0") || is(args[2], "1") => out.ok(),
        (b"segfault", 2) => crate::observe::process::segfault(),
        (b"panic", 2) => panic_now("DEBUG PANIC called"),
        (b"assert", 2) => panic_now("DEBUG ASSERT called"),
        _ => return Err(subcommand_syntax(args)),
    }
    Ok(())
}

/// Ends the process as a failed assertion does.
fn panic_now(why: &str) -> ! {
    crate::log_warning!("{why}");
    std::process::abort()
}

fn help(args: &[&[u8]], out: &mut Reply) {
    write_help(
        out,
        args,
        &[
            "AOF-FLUSH-SLEEP <microseconds>",
            "    Sleep before each write to the append-only file.",
            "ASSERT",
            "    End the process with a failed assertion.",
            "CHANGE-REPL-ID",
            "    Take a new replication id.",
            "CONFIG-REWRITE-FORCE-ALL",
            "    As CONFIG REWRITE, with directives at their defaults too.",
            "DICT-RESIZING <0|1>",
            "    Accepted; shards resize on their own.",
            "DIGEST",
            "    Show a hash of all data.",
            "DIGEST-VALUE <key> [<key> ...]",
            "    Show hashes of the values of keys.",
            "ERROR <string>",
            "    Answer with this error.",
            "LISTPACK <key>",
            "    Print the elements of a listpack on standard output.",
            "LOADAOF",
            "    Write the append-only file, empty the databases, and load it again.",
            "LOG <message>",
            "    Write to the log.",
            "OBJECT <key>",
            "    Show how a value is stored.",
            "PANIC",
            "    End the process with a panic.",
            "PAUSE-CRON <0|1>",
            "    Stop the regular work of the server.",
            "POPULATE <count> [<prefix>] [<size>]",
            "    Make string keys named <prefix>:<number>.",
            "PROTOCOL <type>",
            "    Answer with a value of this type: string, integer, double, bignum, null, array, set,",
            "    map, attrib, push, verbatim, true, false.",
            "QUICKLIST-PACKED-THRESHOLD <size>",
            "    From which size on an element of a list gets a node of its own; 0 for the usual rule.",
            "RELOAD [MERGE] [NOFLUSH] [NOSAVE]",
            "    Save the data, empty the databases, and load it again; or without the first steps.",
            "SDSLEN <key>",
            "    Show the lengths of a key and of its string.",
            "SEGFAULT",
            "    End the process with a bad access.",
            "SET-ACTIVE-EXPIRE <0|1>",
            "    Whether keys expire in the background.",
            "SET-DISABLE-DENY-SCRIPTS <0|1>",
            "    Whether scripts may call commands that are not for scripts.",
            "SET-SKIP-CHECKSUM-VALIDATION <0|1>",
            "    Whether wrong checksums of files and payloads are accepted.",
            "SLEEP <seconds>",
            "    Let the module thread sleep, with the module lock.",
            "STRINGMATCH-LEN <pattern> <string>",
            "    Tell whether a pattern matches.",
        ],
    );
}

/// The family's commands.
pub static ROWS: &[Row] = &[Row {
    flags: flags::ADMIN | flags::NOSCRIPT | flags::LOADING | flags::STALE | flags::PROTECTED,
    path: PathRule::ServerWide,
    ..admin_noscript("debug", -2, "Helps to test the server and its clients.", debug)
}];
