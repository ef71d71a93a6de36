//! Reading a file into the keyspace.
use super::load_pool::{duplicate, reserve, Common, Job, Next, Place, Pool, JOB_BYTES, JOB_KEYS};
use super::{module_io, opcode, parked, skip, types, RdbError, Reader, Result, VERSION};
use crate::connection::client::Session;
use crate::execute::Tx;
use crate::keyspace::event;
use crate::module::datatype::find_by_id;
use crate::module::{abi, thread};
use crate::observe::clock::{mono_ns, now_ms};
use crate::server::Server;
use std::fs::File;
use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;

/// Keys between two releases of what modules' callbacks held.
const UNIT: u64 = 128;

/// How keys that are there already are treated.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Duplicates {
    /// They are an error.
    Refuse,
    /// The file's wins (`DEBUG RELOAD MERGE`).
    Replace,
}

/// What became of a load.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Outcome {
    Done,
    NoFile,
    Failed,
}

/// Loads the file into the keyspace, with events and log lines. The calling thread has the module lock.
pub(super) fn load_file(server: &'static Server, path: &Path, duplicates: Duplicates) -> Outcome {
    let file = match File::open(path) {
        Ok(f) => f,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Outcome::NoFile,
        Err(e) => {
            crate::log_warning!(
                "Fatal error: can't open the RDB file {} for reading: {}",
                path.display(),
                super::control::os_text(&e)
            );
            return Outcome::Failed;
        }
    };
    let mut r = match Reader::of_file(file, server.config.rdbchecksum()) {
        Ok(r) => r,
        Err(e) => {
            crate::log_warning!("Fatal error: can't read {}: {e}", path.display());
            return Outcome::Failed;
        }
    };
    let p = &server.persistence;
    p.loading_start.store(now_ms() / 1000, Relaxed);
    p.loading_total_bytes.store(if r.size() == u64::MAX { 0 } else { r.size() }, Relaxed);
    p.loading_loaded_bytes.store(0, Relaxed);
    p.last_load_keys_loaded.store(0, Relaxed);
    p.last_load_keys_expired.store(0, Relaxed);
    server.loading.store(true, Relaxed);
    fire(abi::SUBEVENT_LOADING_RDB_START);
    if duplicates == Duplicates::Refuse {
        parked::forget_aux();
    }
    let result = load(server, &mut r, duplicates, false);
    server.release_keys();
    server.loading.store(false, Relaxed);
    fire(match result {
        Ok(()) => abi::SUBEVENT_LOADING_ENDED,
        Err(_) => abi::SUBEVENT_LOADING_FAILED,
    });
    match result {
        Ok(()) => Outcome::Done,
        Err(e) => {
            if let RdbError::Corrupt { at, cause } = &e {
                if cause.starts_with(super::SHORT) {
                    crate::log_warning!(
                        "Short read or OOM loading DB. Unrecoverable error, aborting now."
                    );
                }
                crate::log_warning!("Internal error in RDB reading offset {at} -> {cause}");
            }
            crate::log_warning!("Failed loading {}: {e}", path.display());
            if matches!(e, RdbError::Corrupt { .. }) && super::control::starting(server) {
                crate::log_warning!("Terminating server after rdb file reading failure.");
            }
            Outcome::Failed
        }
    }
}

fn fire(sub: u64) {
    crate::module::event::server_event(abi::EVENT_LOADING, sub, std::ptr::null_mut(), None);
}

/// Place of a running load.
struct Load<'a> {
    server: &'static Server,
    duplicates: Duplicates,
    session: Session,
    progress_due: u64,
    /// What the threads that build values need.
    common: &'a Common,
    pool: Option<Pool<'a>>,
    job: Job,
    /// Keys seen.
    keys: u64,
}

/// Reads the base of an append-only file, or the part of one that begins like a snapshot. Returns where it ends. The
/// calling thread has the module lock, and tells that the server is loading.
pub fn load_base(server: &'static Server, file: File) -> Result<u64> {
    let mut r = Reader::of_file(file, server.config.rdbchecksum()).map_err(RdbError::Io)?;
    parked::forget_aux();
    load(server, &mut r, Duplicates::Refuse, true)?;
    Ok(r.position())
}

fn load(
    server: &'static Server,
    r: &mut Reader<'_>,
    duplicates: Duplicates,
    keep_expired: bool,
) -> Result<()> {
    let magic: [u8; 9] = r.array()?;
    if &magic[..5] != b"REDIS" {
        return Err(r.corrupt("Wrong signature trying to load DB from file"));
    }
    let version = std::str::from_utf8(&magic[5..]).ok().and_then(|t| t.parse::<u32>().ok());
    let version = version.unwrap_or(0);
    if !(1..=VERSION).contains(&version) {
        let text = String::from_utf8_lossy(&magic[5..]).into_owned();
        return Err(r.corrupt(format!("Can't handle RDB format version {text}")));
    }
    let common = Common::new(server, keep_expired);
    // Which of two values wins is a question of their order: then there is one thread.
    let helpers = if duplicates == Duplicates::Refuse { server.config.server_threads() } else { 0 };
    std::thread::scope(|scope| {
        let mut l = Load {
            server,
            duplicates,
            session: Session::internal(),
            progress_due: mono_ns(),
            common: &common,
            pool: Pool::new(scope, &common, helpers),
            job: Job::default(),
            keys: 0,
        };
        let read = l.all(r);
        let built = l.finish();
        // What a thread found is nearer to the start of the file.
        built.and(read)
    })?;
    if version >= 5 {
        check(r)?;
    }
    common.publish(r);
    let p = &server.persistence;
    let empty = match common.empty.load(Relaxed) {
        0 => String::new(),
        n => format!(", empty keys skipped: {n}"),
    };
    crate::log_notice!(
        "Done loading RDB, keys loaded: {}, keys expired: {}{empty}.",
        p.last_load_keys_loaded.load(Relaxed),
        p.last_load_keys_expired.load(Relaxed)
    );
    parked::report();
    Ok(())
}

/// Compares the checksum behind the end of the file.
fn check(r: &mut Reader<'_>) -> Result<()> {
    let computed = r.checksum();
    let stated = u64::from_le_bytes(r.array()?);
    match computed {
        Some(_) if stated == 0 => {
            crate::log_notice!("RDB file was saved with checksum disabled: no check performed.");
            Ok(())
        }
        Some(crc) if crc != stated && !super::SKIP_CHECKSUM.load(Relaxed) => {
            crate::log_warning!(
                "Wrong RDB checksum expected: ({crc:x}) but got ({stated:x}). Aborting now."
            );
            Err(r.corrupt("RDB CRC error"))
        }
        _ => Ok(()),
    }
}

impl Load<'_> {
    /// Everything up to the end of the data.
    fn all(&mut self, r: &mut Reader<'_>) -> Result<()> {
        let delay = self.server.config.key_load_delay();
        let mut next = Next::default();
        loop {
            let ty = r.byte()?;
            match ty {
                opcode::EOF => return Ok(()),
                opcode::EXPIRETIME => {
                    let seconds = i32::from_le_bytes(r.array()?);
                    next.expire = Some(i64::from(seconds) * 1000);
                }
                opcode::EXPIRETIME_MS => next.expire = Some(r.millis()?),
                opcode::FREQ => next.frequency = Some(r.byte()?),
                opcode::IDLE => next.idle = Some(r.number()?),
                _ if ty >= opcode::SLOT_INFO => self.between_keys(r, ty)?,
                _ => {
                    self.key(r, ty, std::mem::take(&mut next))?;
                    self.progress(r);
                    if delay != 0 {
                        pause(delay);
                    }
                }
            }
        }
    }

    /// Everything that is no key and says nothing about the next key.
    fn between_keys(&mut self, r: &mut Reader<'_>, ty: u8) -> Result<()> {
        match ty {
            opcode::SELECTDB => {
                let db = r.number()?;
                let databases = self.server.keyspace.dbs().len();
                if db >= databases as u64 {
                    return Err(r.corrupt(format!(
                        "FATAL: Data file was created with a Redis server configured to handle more than {databases} \
                         databases. Exiting"
                    )));
                }
                self.session.db = db as usize;
            }
            opcode::RESIZEDB => {
                let keys = r.number()?;
                r.number()?;
                // A key takes three bytes at least.
                reserve(self.server, self.session.db, keys.min(r.left() / 3));
            }
            opcode::SLOT_INFO => {
                r.number()?;
                r.number()?;
                r.number()?;
            }
            opcode::AUX => {
                let (name, value) = (r.string()?, r.string()?);
                self.info(&String::from_utf8_lossy(&name), &String::from_utf8_lossy(&value));
            }
            opcode::MODULE_AUX => {
                module_io::load_aux(r, &find_by_id, true)?;
                self.server.release_keys();
            }
            opcode::FUNCTION2 => {
                let code = r.string()?;
                let mut session = Session::internal();
                let tx = Tx::module(self.server, &mut session, self.common.now);
                let replace = self.duplicates == Duplicates::Replace;
                crate::script::function::load(&tx, &code, replace, false).map_err(|e| {
                    let cause = e.0.strip_prefix("ERR ").unwrap_or(&e.0);
                    r.corrupt(format!("Failed loading library, {cause}"))
                })?;
            }
            opcode::FUNCTION_PRE_GA => {
                return Err(r.corrupt("Pre-release function format not supported."));
            }
            _ => return Err(r.corrupt(format!("Unknown RDB encoding type {ty}"))),
        }
        Ok(())
    }

    fn info(&mut self, name: &str, value: &str) {
        match name.to_ascii_lowercase().as_str() {
            n if n.starts_with('%') => crate::log_notice!("RDB '{name}': {value}"),
            "redis-ver" => crate::log_notice!("Loading RDB produced by version {value}"),
            "ctime" => {
                let age = (self.common.now / 1000 - value.parse::<i64>().unwrap_or(0)).max(0);
                crate::log_notice!("RDB age {age} seconds");
            }
            "used-mem" => {
                let bytes: i64 = value.parse().unwrap_or(0);
                let megabytes = bytes as f64 / (1024.0 * 1024.0);
                crate::log_notice!("RDB memory usage when created {megabytes:.2} Mb");
                self.server.persistence.loading_rdb_used_mem.store(bytes.max(0) as u64, Relaxed);
            }
            "aof-preamble" if value != "0" => crate::log_notice!("RDB has an AOF tail"),
            "aof-base" if value != "0" => crate::log_notice!("RDB is base AOF"),
            "aof-preamble" | "aof-base" | "redis-bits" | "lua" => {}
            "repl-stream-db" | "repl-id" | "repl-offset" => {}
            _ => crate::log_debug!("Unrecognized RDB AUX field: '{name}'"),
        }
    }

    fn key(&mut self, r: &mut Reader<'_>, ty: u8, next: Next) -> Result<()> {
        self.keys += 1;
        let of_module = ty == types::MODULE_2 || ty == types::MODULE_PRE_GA;
        if let (Some(pool), false) = (&self.pool, of_module) {
            let at = r.position();
            r.record(std::mem::take(&mut self.job.bytes));
            let skipped = r.skip_string().and_then(|()| skip::value(r, ty));
            self.job.bytes = r.recorded();
            skipped?;
            let (db, end) = (self.session.db, self.job.bytes.len());
            self.job.keys.push(Place { db, ty, next, at, end });
            if end >= JOB_BYTES || self.job.keys.len() >= JOB_KEYS {
                pool.give(std::mem::take(&mut self.job))?;
                self.tell_loaded();
            }
            return Ok(());
        }
        let key = r.string()?;
        let db = self.session.db;
        let Some(value) = self.common.value(r, &key, db, ty)? else { return Ok(()) };
        if self.common.is_expired(&next) {
            return Ok(());
        }
        let clock = self.common.clock(&next);
        let mut tx = Tx::module(self.server, &mut self.session, self.common.now);
        if self.duplicates == Duplicates::Replace {
            tx.remove_in(db, &key);
        }
        if !tx.insert_loaded(&key, value, next.expire, clock) {
            return Err(duplicate(r, &key, db));
        }
        self.common.loaded.fetch_add(1, Relaxed);
        if self.common.tells {
            tx.notify(&event::LOADED_KEY, &key);
        }
        if self.keys % UNIT == 0 {
            self.server.release_keys();
        }
        Ok(())
    }

    /// Tells modules of the keys that other threads have loaded.
    fn tell_loaded(&mut self) {
        let Some(pool) = &self.pool else { return };
        for (db, key) in pool.loaded.try_iter().flatten() {
            self.session.db = db;
            let tx = &mut Tx::module(self.server, &mut self.session, self.common.now);
            tx.notify(&event::LOADED_KEY, &key);
            self.server.release_keys();
        }
    }

    /// Waits until all values are built.
    fn finish(&mut self) -> Result<()> {
        let Some(pool) = &self.pool else { return Ok(()) };
        let last = pool.give(std::mem::take(&mut self.job));
        pool.close();
        // The database that was selected does not matter any more.
        self.tell_loaded();
        while let Some(pool) = &self.pool {
            let Ok(some) = pool.loaded.recv() else { break };
            for (db, key) in some {
                self.session.db = db;
                let tx = &mut Tx::module(self.server, &mut self.session, self.common.now);
                tx.notify(&event::LOADED_KEY, &key);
                self.server.release_keys();
            }
        }
        self.common.failure().map_or(last, Err)
    }

    /// Tells how far the load is: to `INFO`, and `hz` times a second to modules.
    fn progress(&mut self, r: &Reader<'_>) {
        if self.keys % UNIT != 0 {
            return;
        }
        self.common.publish(r);
        let now = mono_ns();
        if now < self.progress_due {
            return;
        }
        let hz = self.server.config.hz().max(1);
        self.progress_due = now + 1_000_000_000 / hz;
        let progress = match r.size() {
            0 | u64::MAX => -1,
            size => (u128::from(r.position()) * 1024 / u128::from(size)) as i32,
        };
        let mut info = abi::LoadingProgress { version: 1, hz: hz as i32, progress };
        crate::module::event::server_event(
            abi::EVENT_LOADING_PROGRESS,
            abi::SUBEVENT_LOADING_PROGRESS_RDB,
            (&raw mut info).cast(),
            None,
        );
        // What may be asked meanwhile, and needs this thread, does not wait for the end.
        if super::control::starting(self.server) && self.server.serving.get().is_some() {
            thread::run_waiting_clients(self.server);
        } else if self.server.config.module_exclusive() && thread::is_current(self.server) {
            // What came just before the load waits in the queue with everybody else.
            crate::module::busy::run_others(self.server);
        }
    }
}

/// `key-load-delay` and `rdb-key-save-delay`, which tests use to make loads and saves slow: microseconds for each key, or keys for each microsecond.
pub(super) fn pause(delay: i64) {
    let us = match delay {
        0.. => delay as u64,
        _ => u64::from(crate::observe::random::next() % delay.unsigned_abs() == 0),
    };
    if us > 0 {
        std::thread::sleep(std::time::Duration::from_micros(us));
    }
}

/// Loads the file that the configuration names, at the start of the server. Returns whether the server can go on.
pub fn load_at_start(server: &'static Server) -> bool {
    let start = mono_ns();
    let path = super::control::file_name(server);
    match load_file(server, &path, Duplicates::Refuse) {
        Outcome::Done => {
            let seconds = (mono_ns() - start) as f64 / 1e9;
            crate::log_notice!("DB loaded from disk: {seconds:.3} seconds");
            true
        }
        Outcome::NoFile => true,
        Outcome::Failed => {
            crate::log_warning!("Fatal error loading the DB, check server logs. Exiting.");
            false
        }
    }
}
