//! The append-only file, as Redis 7 lays it out: a folder with a manifest, a base file and incremental files.
//!
//! **From a write to the disk.** A write appends its effect to [`crate::propagate::log`], in memory, while it has its
//! latches. Somebody takes the bytes out and writes them to the incremental file ([`append`]), and what the policy says
//! decides what a reply waits for:
//! - `everysec` and `no`: replies wait for the `write` (not for the disk), which the thread that is about to send them does
//!   itself, for everybody. So the death of the process loses nothing that was acknowledged, as on Redis. While a slow
//!   `fsync` runs, the `write` is postponed for up to two seconds, also as on Redis.
//! - `always`: replies wait for an `fsync` behind everything that their commands did or *saw*. A thread of its own writes
//!   and syncs whatever has come together meanwhile (group commit); connections sleep until it has passed their offset,
//!   and their serving threads go on with others.
//!
//! **Rewriting** ([`rewrite`]) makes a new base file of the state at one moment, the *cut*, at which the log changes over
//! to a new incremental file. **Loading** ([`load`]) runs all files of the manifest in order.
//!
//! Files appear by write, fsync, rename, fsync of the folder. The manifest is the last to change, so a crash at any moment
//! leaves either the files of before or those of after.
//!
//! Locks: `file`, then the log's; neither is kept while anybody waits for a latch or the module lock.
pub mod append;
pub mod base;
pub mod check_aof;
pub mod check_rdb;
pub mod load;
pub mod manifest;
pub mod rewrite;

use crate::config::enums::appendfsync;
use crate::execute::{error, CommandError};
use crate::server::Server;
use append::AppendFile;
use manifest::Manifest;
use parking_lot::{Condvar, Mutex};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{
    AtomicBool, AtomicI32, AtomicI64, AtomicU64, AtomicU8, Ordering::Relaxed, Ordering::SeqCst,
};
use std::sync::Arc;
use std::task::Waker;

/// Whether there is an append-only file: values of [`Aof::state`].
pub mod state {
    /// There is none.
    pub const OFF: u8 = 0;
    /// Effects are written.
    pub const ON: u8 = 1;
    /// It was switched on: effects are collected in a temporary file until the first base file is written.
    pub const WAITS_FOR_BASE: u8 = 2;
}

/// What replies wait for: values of [`Aof::gate`].
pub mod gate {
    /// Nothing.
    pub const OPEN: u8 = 0;
    /// That the log is written.
    pub const WRITTEN: u8 = 1;
    /// That it is on the disk.
    pub const SYNCED: u8 = 2;
}

/// Somebody who waits for the disk.
enum Waiting {
    /// A connection with replies.
    Replies(Waker),
    /// `WAITAOF`
    Command(Arc<crate::execute::blocking::Waiter>),
}

/// The append-only file and its figures.
pub struct Aof {
    state: AtomicU8,
    gate: AtomicU8,
    /// The incremental file that is written.
    file: Mutex<AppendFile>,
    /// The holder of the module lock changes it.
    manifest: Mutex<Manifest>,
    /// Offset of the log up to which it is written.
    written: AtomicU64,
    /// Offset up to which it is on the disk.
    synced: AtomicU64,
    /// Offset up to which replies may be sent under `always`: `synced`, unless `no-appendfsync-on-rewrite` applies.
    safe: AtomicU64,
    /// errno of the last write, if it failed.
    write_error: AtomicI32,
    /// errno of the last sync in the background, if it failed.
    sync_error: AtomicI32,
    waiting: Mutex<Vec<(u64, Waiting)>>,
    /// Something is there for the thread that syncs.
    poked: Mutex<bool>,
    signal: Condvar,
    /// The thread sleeps until it is poked.
    asleep: AtomicBool,
    /// Bytes of all files (`aof_current_size`).
    pub current_size: AtomicU64,
    /// Bytes after the last rewrite (`aof_base_size`).
    pub base_size: AtomicU64,
    /// Syncs that were still running when the next was due (`aof_delayed_fsync`).
    pub delayed_fsync: AtomicU64,
    /// State of rewriting.
    pub rewriting: rewrite::Rewriting,
    /// `DEBUG AOF-FLUSH-SLEEP`: microseconds before each write.
    pub flush_sleep: AtomicI64,
}

impl Default for Aof {
    fn default() -> Aof {
        Aof {
            state: AtomicU8::new(state::OFF),
            gate: AtomicU8::new(gate::OPEN),
            file: Mutex::default(),
            manifest: Mutex::default(),
            written: AtomicU64::new(0),
            synced: AtomicU64::new(0),
            safe: AtomicU64::new(0),
            write_error: AtomicI32::new(0),
            sync_error: AtomicI32::new(0),
            waiting: Mutex::default(),
            poked: Mutex::new(false),
            signal: Condvar::new(),
            asleep: AtomicBool::new(false),
            current_size: AtomicU64::new(0),
            base_size: AtomicU64::new(0),
            delayed_fsync: AtomicU64::new(0),
            rewriting: Default::default(),
            flush_sleep: AtomicI64::new(0),
        }
    }
}

impl Aof {
    /// One of [`state`].
    pub fn state(&self) -> u8 {
        self.state.load(SeqCst)
    }

    /// Whether effects are written or collected.
    pub fn is_on(&self) -> bool {
        self.state() != state::OFF
    }

    /// Offset of the log up to which it is on the disk, as `WAITAOF` counts; `None` without a complete file.
    pub fn synced(&self) -> Option<u64> {
        (self.state() == state::ON).then(|| self.synced.load(SeqCst))
    }

    /// errno of a write or sync that failed and was not made up for. Writes are refused meanwhile.
    pub fn error(&self) -> Option<i32> {
        if !self.is_on() {
            return None;
        }
        let errors = [&self.write_error, &self.sync_error].map(|e| e.load(Relaxed));
        errors.into_iter().find(|e| *e != 0)
    }

    /// Whether there may be an error; for the way of every command.
    #[inline]
    pub fn in_trouble(&self) -> bool {
        self.write_error.load(Relaxed) | self.sync_error.load(Relaxed) != 0
    }

    /// Bytes that are not written yet (`aof_buffer_length`).
    pub fn buffer_length(&self, server: &Server) -> usize {
        self.file.lock().pending.len() + server.log.pending_bytes()
    }

    /// Whether a sync runs in the background.
    pub fn is_syncing(&self) -> bool {
        self.file.lock().syncing
    }

    /// Whether there is a file for what is written: while the first base file is waited for, from the cut on.
    fn collects(&self) -> bool {
        self.file.lock().file.is_some()
    }

    /// Decides anew what replies wait for. Called when the state or `appendfsync` changed.
    pub fn choose_gate(&self, server: &Server) {
        let always = server.config.appendfsync() == appendfsync::ALWAYS;
        let collects = self.state() == state::ON || self.collects();
        let gate = match (collects, always) {
            (false, _) => gate::OPEN,
            (true, false) => gate::WRITTEN,
            (true, true) => gate::SYNCED,
        };
        self.gate.store(gate, SeqCst);
        self.wake_waiting(u64::MAX);
        self.poke_anyway();
    }
}

/// Refuses a write while the data cannot be brought to the disk.
pub fn check_disk(server: &Server) -> Result<(), CommandError> {
    if crate::snapshot::control::writes_denied(server) {
        return Err(error::MISCONF);
    }
    match server.aof.error() {
        None => Ok(()),
        Some(errno) => Err(error::err(format!(
            "MISCONF Errors writing to the AOF file: {}",
            errno_text(errno)
        ))),
    }
}

/// Runs as `redis-check-aof` or `redis-check-rdb` if that is the program's name, or `check-aof` or `check-rdb` its first
/// argument. Returns the exit code then.
pub fn tool(args: &[std::ffi::OsString]) -> Option<i32> {
    let args: Vec<String> = args.iter().map(|a| a.to_string_lossy().into_owned()).collect();
    let program = args.first()?;
    let name = program.rsplit('/').next().unwrap_or_default();
    if name.contains("redis-check-rdb") {
        return Some(check_rdb::main(&args));
    }
    if name.contains("redis-check-aof") {
        return Some(check_aof::main(&args));
    }
    let word = args.get(1)?;
    let tool = match word.as_str() {
        "check-rdb" => check_rdb::main,
        "check-aof" => check_aof::main,
        _ => return None,
    };
    let rest = args[2..].iter().cloned();
    Some(tool(&[format!("{program} {word}")].into_iter().chain(rest).collect::<Vec<_>>()))
}

/// What `--version` of the tools shows.
fn version_text() -> String {
    let version = crate::config::load::REDIS_VERSION;
    format!(
        "v={version} sha=00000000:0 malloc=jemalloc-5.3.0 bits={} build=backplane-{}",
        usize::BITS,
        env!("CARGO_PKG_VERSION")
    )
}

/// A name of the configuration as a path.
fn path_of(name: &[u8]) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(name))
}

/// `appenddirname`
fn folder(server: &Server) -> PathBuf {
    path_of(&server.config.appenddirname().unwrap_or_else(|| b"appendonlydir"[..].into()))
}

/// `appendfilename`
fn stem(server: &Server) -> Vec<u8> {
    server.config.appendfilename().map_or_else(|| b"appendonly.aof".to_vec(), |n| n.to_vec())
}

/// A file in the folder.
fn in_folder(server: &Server, name: &[u8]) -> PathBuf {
    folder(server).join(path_of(name))
}

/// A name for log lines.
fn shown(name: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(name)
}

fn os_text(e: &std::io::Error) -> String {
    crate::config::os_error_text(e)
}

/// The operating system's words for an errno.
pub fn errno_text(errno: i32) -> String {
    os_text(&std::io::Error::from_raw_os_error(errno))
}

fn manifest_name(server: &Server) -> Vec<u8> {
    [&stem(server)[..], b".manifest"].concat()
}

/// Makes the folder if it is not there. The error has been logged.
fn make_folder(server: &Server) -> Result<(), ()> {
    let dir = folder(server);
    match std::fs::create_dir(&dir) {
        Err(e) if !dir.is_dir() => {
            crate::log_warning!(
                "Can't open or create append-only dir {}: {}",
                dir.display(),
                os_text(&e)
            );
            Err(())
        }
        _ => Ok(()),
    }
}

/// Brings the entries of a folder to the disk.
fn sync_folder(dir: &Path) -> std::io::Result<()> {
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    std::fs::File::open(dir)?.sync_all()
}

/// Writes the manifest: under a temporary name, which then replaces the one before. The error has been logged.
fn persist_manifest(server: &Server, manifest: &Manifest) -> Result<(), ()> {
    use std::io::Write as _;
    let name = manifest_name(server);
    let temporary = [b"temp-", &name[..]].concat();
    let (path, temporary_path) = (in_folder(server, &name), in_folder(server, &temporary));
    let fail = |what: String, e: std::io::Error| {
        crate::log_warning!("{what}: {}", os_text(&e));
    };
    let mut file = std::fs::File::create(&temporary_path)
        .map_err(|e| fail(format!("Can't open the AOF manifest file {}", shown(&temporary)), e))?;
    file.write_all(&manifest.format()).map_err(|e| {
        let name = shown(&temporary);
        fail(format!("Error trying to write the temporary AOF manifest file {name}"), e);
    })?;
    file.sync_all()
        .map_err(|e| fail(format!("Fail to fsync the temp AOF file {}", shown(&temporary)), e))?;
    std::fs::rename(&temporary_path, &path).map_err(|e| {
        let (from, to) = (shown(&temporary), shown(&name));
        fail(format!("Error trying to rename the temporary AOF manifest file {from} into {to}"), e);
    })?;
    sync_folder(&folder(server))
        .map_err(|e| fail(format!("Fail to fsync AOF directory {}", path.display()), e))
}

/// Deletes history files, and their lines of the manifest, unless `aof-disable-auto-gc` says no. The calling thread has the
/// module lock.
pub fn delete_history(server: &Server) {
    if server.config.aof_disable_auto_gc() {
        return;
    }
    let mut manifest = server.aof.manifest.lock();
    if manifest.history.is_empty() {
        return;
    }
    for info in std::mem::take(&mut manifest.history) {
        crate::log_notice!("Removing the history file {} in the background", shown(&info.name));
        delete_later(in_folder(server, &info.name));
    }
    let _ = persist_manifest(server, &manifest);
}

/// Deletes a file whose size may make that slow: here only its name goes, the blocks behind it in the background.
fn delete_later(path: PathBuf) {
    let file = std::fs::File::open(&path);
    let _ = std::fs::remove_file(&path);
    std::thread::spawn(move || drop(file));
}
