//! Writing a file: everything that is in the keyspace, and what modules add.
use super::{encode, module_io, opcode, Writer, VERSION};
use crate::connection::client::Session;
use crate::execute::Tx;
use crate::keyspace::entry::Entry;
use crate::keyspace::evict::lfu_count;
use crate::lock::held::Access;
use crate::module::abi;
use crate::observe::clock::now_ms;
use crate::server::Server;
use std::fs::File;
use std::io;
use std::path::Path;

/// Bytes between two flushes to the disk, with `rdb-save-incremental-fsync`.
const SYNC_EVERY: u64 = 4 << 20;

/// How the access clock of keys is saved.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Usage {
    None,
    Idle,
    Frequency,
}

fn usage(server: &Server) -> Usage {
    // `maxmemory-policy` has bits: 1 is LRU, 2 is LFU.
    let policy = server.config.maxmemory_policy();
    if policy & 1 != 0 {
        Usage::Idle
    } else if policy & 2 != 0 {
        Usage::Frequency
    } else {
        Usage::None
    }
}

/// Writes everything into `path`, which is a temporary name: the caller renames it. The calling thread has the module
/// lock, and ends its unit afterwards.
pub(super) fn write_file(server: &'static Server, path: &Path) -> io::Result<()> {
    write_as(server, path, false)
}

/// As `write_file`, for the base of an append-only file.
pub fn write_base(server: &'static Server, path: &Path) -> io::Result<()> {
    write_as(server, path, true)
}

fn write_as(server: &'static Server, path: &Path, aof_base: bool) -> io::Result<()> {
    let file = File::create(path)?;
    let config = &server.config;
    let sync_every = if config.rdb_save_incremental_fsync() { SYNC_EVERY } else { 0 };
    let mut out = Writer::to_file(file, config.rdbcompression(), config.rdbchecksum(), sync_every);
    write_all(server, &mut out, aof_base);
    out.finish_file()
}

fn aux(out: &mut Writer, name: &str, value: &str) {
    out.byte(opcode::AUX);
    out.string(name.as_bytes());
    out.string(value.as_bytes());
}

/// Writes everything but the checksum.
fn write_all(server: &'static Server, out: &mut Writer, aof_base: bool) {
    out.raw(format!("REDIS{VERSION:04}").as_bytes());
    aux(out, "redis-ver", crate::config::load::REDIS_VERSION);
    aux(out, "redis-bits", "64");
    aux(out, "ctime", &(now_ms() / 1000).to_string());
    aux(out, "used-mem", &server.used_memory().to_string());
    // Redis writes the replication id and offset only if it has a backlog; there is none in this version.
    aux(out, "aof-base", if aof_base { "1" } else { "0" });
    module_io::save_all_aux(out, abi::AUX_BEFORE_RDB);
    let usage = usage(server);
    let mut session = Session::internal();
    let tx = Tx::module(server, &mut session, now_ms());
    crate::script::function::save(&tx, out);
    for (number, db) in server.keyspace.dbs().iter().enumerate() {
        if db.is_empty() {
            continue;
        }
        out.byte(opcode::SELECTDB);
        out.len(number as u64);
        out.byte(opcode::RESIZEDB);
        out.len(db.len() as u64);
        out.len(db.volatile() as u64);
        tx.for_each_entry(number, Access::Read, |e| {
            entry(server, out, e, number, usage, tx.now);
            !out.failed()
        });
    }
    module_io::save_all_aux(out, abi::AUX_AFTER_RDB);
    out.byte(opcode::EOF);
}

fn entry(server: &Server, out: &mut Writer, e: Entry, db: usize, usage: Usage, now: i64) {
    if let Some(at) = e.expire() {
        out.byte(opcode::EXPIRETIME_MS);
        out.millis(at);
    }
    match usage {
        Usage::None => {}
        Usage::Idle => {
            out.byte(opcode::IDLE);
            let clock = (now / 1000) as u32 & 0xff_ffff;
            out.len(u64::from(clock.wrapping_sub(e.clock()) & 0xff_ffff));
        }
        Usage::Frequency => {
            out.byte(opcode::FREQ);
            out.byte(lfu_count(now, e.clock(), server.config.lfu_decay_time() as u32) as u8);
        }
    }
    let value = e.value();
    out.byte(encode::type_of(&value));
    out.string(e.key());
    encode::value(out, value, Some((e.key(), db)));
}
