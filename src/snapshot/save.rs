//! The parts of a file: what stands before the keys, a key, what stands behind them; and `SAVE`, which writes all of it
//! at once.
use super::{encode, module_io, opcode, Writer, VERSION};
use crate::connection::client::Session;
use crate::execute::Tx;
use crate::keyspace::entry::Entry;
use crate::keyspace::evict::lfu_count;
use crate::lock::held::Access;
use crate::module::abi;
use crate::observe::clock::now_ms;
use crate::propagate::encode as commands;
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

/// What a file is made of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// RDB.
    Rdb,
    /// RDB, as the base of an append-only file.
    RdbBase,
    /// Commands, as the base of an append-only file.
    CommandsBase,
}

/// How keys are written, as the configuration was when the save began.
#[derive(Clone, Copy)]
pub(super) struct How {
    pub format: Format,
    usage: Usage,
    /// When the save began, Unix milliseconds.
    pub now: i64,
    lfu_decay: u32,
    /// `rdbcompression`
    pub compress: bool,
}

impl How {
    pub fn of(server: &Server, format: Format) -> How {
        // `maxmemory-policy` has bits: 1 is LRU, 2 is LFU.
        let policy = server.config.maxmemory_policy();
        let usage = match () {
            () if policy & 1 != 0 => Usage::Idle,
            () if policy & 2 != 0 => Usage::Frequency,
            () => Usage::None,
        };
        How {
            format,
            usage,
            now: now_ms(),
            lfu_decay: server.config.lfu_decay_time() as u32,
            compress: format != Format::CommandsBase && server.config.rdbcompression(),
        }
    }

    /// What modules are told before they are asked for their values.
    pub fn start_event(&self) -> u64 {
        match self.format {
            Format::Rdb => abi::SUBEVENT_PERSISTENCE_RDB_START,
            _ => abi::SUBEVENT_PERSISTENCE_AOF_START,
        }
    }
}

/// A writer into a new file, as the configuration wants it.
pub(super) fn file_writer(server: &Server, path: &Path, how: &How) -> io::Result<Writer> {
    let file = File::create(path)?;
    let config = &server.config;
    let incremental = match how.format {
        Format::Rdb => config.rdb_save_incremental_fsync(),
        _ => config.aof_rewrite_incremental_fsync(),
    };
    let checksum = how.format != Format::CommandsBase && config.rdbchecksum();
    Ok(Writer::to_file(file, how.compress, checksum, if incremental { SYNC_EVERY } else { 0 }))
}

/// Writes everything into `path`, which is a temporary name: the caller renames it. The calling thread has the module
/// lock, and ends its unit afterwards.
pub(super) fn write_file(server: &'static Server, path: &Path) -> io::Result<()> {
    write_as(server, path, Format::Rdb)
}

/// As `write_file`, for the base of an append-only file.
pub fn write_base(server: &'static Server, path: &Path, format: Format) -> io::Result<()> {
    write_as(server, path, format)
}

fn write_as(server: &'static Server, path: &Path, format: Format) -> io::Result<()> {
    let how = How::of(server, format);
    let mut out = file_writer(server, path, &how)?;
    write_all(server, &mut out, &how);
    match format {
        Format::CommandsBase => out.finish_plain(),
        _ => out.finish_file(),
    }
}

fn aux(out: &mut Writer, name: &str, value: &str) {
    out.byte(opcode::AUX);
    out.string(name.as_bytes());
    out.string(value.as_bytes());
}

/// What stands before the keys. The calling thread has the module lock, and has told modules that a save begins.
pub(super) fn head(server: &'static Server, out: &mut Writer, how: &How) {
    let mut session = Session::internal();
    let tx = Tx::module(server, &mut session, now_ms());
    if how.format == Format::CommandsBase {
        if server.config.aof_timestamp_enabled() {
            out.raw(format!("#TS:{}\r\n", how.now / 1000).as_bytes());
        }
        return crate::script::function::each_library(&tx, |code| {
            out.append(|buf| commands(buf, &[b"FUNCTION".as_slice(), b"LOAD", code]));
        });
    }
    out.raw(format!("REDIS{VERSION:04}").as_bytes());
    aux(out, "redis-ver", crate::config::load::REDIS_VERSION);
    aux(out, "redis-bits", "64");
    aux(out, "ctime", &(now_ms() / 1000).to_string());
    aux(out, "used-mem", &server.used_memory().to_string());
    // Redis writes the replication id and offset only if it has a backlog; there is none in this version.
    aux(out, "aof-base", if how.format == Format::RdbBase { "1" } else { "0" });
    module_io::save_all_aux(out, abi::AUX_BEFORE_RDB);
    crate::script::function::save(&tx, out);
}

/// What stands behind the keys, but for the checksum. The calling thread has the module lock.
pub(super) fn tail(out: &mut Writer, how: &How) {
    if how.format == Format::CommandsBase {
        return;
    }
    module_io::save_all_aux(out, abi::AUX_AFTER_RDB);
    out.byte(opcode::EOF);
}

/// The keys that follow are of this database.
pub(super) fn select(out: &mut Writer, db: usize, how: &How) {
    if how.format == Format::CommandsBase {
        return out.append(|buf| commands(buf, &[b"SELECT".as_slice(), db.to_string().as_bytes()]));
    }
    out.byte(opcode::SELECTDB);
    out.len(db as u64);
}

/// How many keys the selected database has, and how many of them are volatile.
pub(super) fn sizes(out: &mut Writer, keys: u64, volatile: u64, how: &How) {
    if how.format == Format::CommandsBase {
        return;
    }
    out.byte(opcode::RESIZEDB);
    out.len(keys);
    out.len(volatile);
}

/// Writes everything but the checksum.
fn write_all(server: &'static Server, out: &mut Writer, how: &How) {
    head(server, out, how);
    let mut session = Session::internal();
    let tx = Tx::module(server, &mut session, how.now);
    for (number, db) in server.keyspace.dbs().iter().enumerate() {
        if db.is_empty() {
            continue;
        }
        select(out, number, how);
        sizes(out, db.len() as u64, db.volatile() as u64, how);
        tx.for_each_entry(number, Access::Read, |e| {
            entry(out, e, number, how);
            let delay = server.config.rdb_key_save_delay();
            if delay != 0 {
                super::load::pause(delay);
            }
            !out.failed()
        });
    }
    tail(out, how);
}

/// A key with its value and what belongs to it.
pub(super) fn entry(out: &mut Writer, e: Entry, db: usize, how: &How) {
    if how.format == Format::CommandsBase {
        return out.append(|buf| crate::persist::base::commands(buf, e, db));
    }
    if let Some(at) = e.expire() {
        out.byte(opcode::EXPIRETIME_MS);
        out.millis(at);
    }
    match how.usage {
        Usage::None => {}
        Usage::Idle => {
            out.byte(opcode::IDLE);
            let idle = ((how.now / 1000) as u32).wrapping_sub(e.clock()) & 0xff_ffff;
            // Read since the save began: not idle, in a clock that goes round.
            out.len(u64::from(if idle > 0xff_0000 { 0 } else { idle }));
        }
        Usage::Frequency => {
            out.byte(opcode::FREQ);
            out.byte(lfu_count(how.now, e.clock(), how.lfu_decay) as u8);
        }
    }
    let value = e.value();
    out.byte(encode::type_of(&value));
    out.string(e.key());
    encode::value(out, value, Some((e.key(), db)));
}
