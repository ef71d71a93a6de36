//! When files are written and read: commands, save points, start and end of the server.
use super::cut::{self, Failure, Order, Purpose};
use super::load::{load_file, Duplicates, Outcome};
use super::save::Format;
use crate::module::abi;
use crate::observe::clock::now_ms;
use crate::server::Server;
use parking_lot::Mutex;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};

/// A failed background save is tried again after this many seconds.
const RETRY_SECONDS: i64 = 5;

/// State of saving and loading, for `INFO persistence`.
pub struct Persistence {
    /// Last successful save (or the start), Unix seconds.
    pub last_save: AtomicI64,
    /// Last try of a background save, Unix seconds.
    pub last_bgsave_try: AtomicI64,
    /// Whether the last background save failed.
    pub last_bgsave_failed: AtomicBool,
    /// How long the last background save took, seconds; -1 before the first.
    pub last_bgsave_seconds: AtomicI64,
    /// A background save runs.
    pub saving: AtomicBool,
    /// A background save waits for its turn (`rdb_bgsave_scheduled`).
    pub scheduled: AtomicBool,
    /// When the running one began, Unix seconds; -1 if there is none.
    pub bgsave_start: AtomicI64,
    /// Saves since the start (`rdb_saves`).
    pub saves: AtomicU64,
    /// Value of the server's counter of changes at the last save.
    pub dirty_at_save: AtomicU64,
    /// The first load, at the start of the server, is not over.
    pub starting: AtomicBool,
    /// When the load began, Unix seconds.
    pub loading_start: AtomicI64,
    /// Size of the file that is loaded.
    pub loading_total_bytes: AtomicU64,
    /// How much of it was read.
    pub loading_loaded_bytes: AtomicU64,
    /// Memory in use when the file was written, as it says.
    pub loading_rdb_used_mem: AtomicU64,
    /// Keys of the last load.
    pub last_load_keys_loaded: AtomicU64,
    /// Keys of the last load that had expired.
    pub last_load_keys_expired: AtomicU64,
}

impl Default for Persistence {
    fn default() -> Persistence {
        Persistence {
            last_save: AtomicI64::new(now_ms() / 1000),
            last_bgsave_try: AtomicI64::new(0),
            last_bgsave_failed: AtomicBool::new(false),
            last_bgsave_seconds: AtomicI64::new(-1),
            saving: AtomicBool::new(false),
            scheduled: AtomicBool::new(false),
            bgsave_start: AtomicI64::new(-1),
            saves: AtomicU64::new(0),
            dirty_at_save: AtomicU64::new(0),
            starting: AtomicBool::new(false),
            loading_start: AtomicI64::new(0),
            loading_total_bytes: AtomicU64::new(0),
            loading_loaded_bytes: AtomicU64::new(0),
            loading_rdb_used_mem: AtomicU64::new(0),
            last_load_keys_loaded: AtomicU64::new(0),
            last_load_keys_expired: AtomicU64::new(0),
        }
    }
}

/// Whether an RDB file is written in the background, for the disk or for replicas.
pub fn saves(server: &Server) -> bool {
    server.persistence.saving.load(Relaxed) || cut::running_for(Purpose::Replicas)
}

/// Changes since the last save (`rdb_changes_since_last_save`).
pub fn changes(server: &Server) -> u64 {
    server.dirty.get().saturating_sub(server.persistence.dirty_at_save.load(Relaxed))
}

/// Whether the server is still loading its data for the first time.
pub(super) fn starting(server: &Server) -> bool {
    server.persistence.starting.load(Relaxed)
}

/// The operating system's words for an error, without its number.
pub(super) fn os_text(e: &io::Error) -> String {
    let text = e.to_string();
    text.split(" (os error").next().unwrap_or_default().to_string()
}

/// The file that `dbfilename` names; the server's directory is the process's.
pub(super) fn file_name(server: &Server) -> PathBuf {
    use std::os::unix::ffi::OsStrExt;
    let name = server.config.dbfilename();
    let name = name.as_deref().filter(|n| !n.is_empty()).unwrap_or(b"dump.rdb");
    PathBuf::from(std::ffi::OsStr::from_bytes(name))
}

fn fire(sub: u64) {
    crate::module::event::server_event(abi::EVENT_PERSISTENCE, sub, std::ptr::null_mut(), None);
}

/// Saves everything into the configured file. The error has been logged. The calling thread has the module lock; the
/// shards are held for reading until its unit ends.
pub fn save(server: &'static Server) -> Result<(), String> {
    save_with(server, abi::SUBEVENT_PERSISTENCE_SYNC_RDB_START)
}

fn save_with(server: &'static Server, start: u64) -> Result<(), String> {
    // The start comes before the first byte of any module: TimeSeries writes more between start and end.
    fire(start);
    let result = write_and_rename(server);
    // All shards are held by now: every change that was counted is in the file.
    let dirty = server.dirty.get();
    if result.is_ok() {
        crate::log_notice!("DB saved on disk");
        let p = &server.persistence;
        p.dirty_at_save.store(dirty, Relaxed);
        p.last_save.store(now_ms() / 1000, Relaxed);
        p.last_bgsave_failed.store(false, Relaxed);
    }
    fire(match result {
        Ok(()) => abi::SUBEVENT_PERSISTENCE_ENDED,
        Err(_) => abi::SUBEVENT_PERSISTENCE_FAILED,
    });
    result
}

fn write_and_rename(server: &'static Server) -> Result<(), String> {
    let fail = |text: String| {
        crate::log_warning!("{text}");
        Err(text)
    };
    let temporary = PathBuf::from(format!("temp-{}.rdb", std::process::id()));
    if let Err(e) = super::save::write_file(server, &temporary) {
        let _ = std::fs::remove_file(&temporary);
        return fail(format!("Write error while saving DB to the disk: {}", os_text(&e)));
    }
    put_in_place(&temporary, &file_name(server)).or_else(fail)
}

/// Gives a complete file its name.
pub(super) fn put_in_place(temporary: &Path, name: &Path) -> Result<(), String> {
    if let Err(e) = std::fs::rename(temporary, name) {
        let _ = std::fs::remove_file(temporary);
        let dir = std::env::current_dir().unwrap_or_default();
        return Err(format!(
            "Error moving temp DB file {} on the final destination {} (in server root dir {}): {}",
            temporary.display(),
            name.display(),
            dir.display(),
            os_text(&e)
        ));
    }
    let synced = std::fs::File::open(".").and_then(|dir| dir.sync_all());
    synced.map_err(|e| format!("Failed to fsync directory while saving DB: {}", os_text(&e)))
}

/// Saves everything into a file of a module's choice (`RdbSave`), without the bookkeeping of [`save`].
pub fn save_to(server: &'static Server, path: &Path) -> io::Result<()> {
    save_as(server, path, abi::SUBEVENT_PERSISTENCE_SYNC_RDB_START)
}

/// As [`save_to`]; `start` is what modules are told first.
pub(super) fn save_as(server: &'static Server, path: &Path, start: u64) -> io::Result<()> {
    fire(start);
    let result = super::save::write_file(server, path);
    if let Err(e) = &result {
        crate::log_warning!("Write error while saving DB to the disk: {}", os_text(e));
        let _ = std::fs::remove_file(path);
    }
    fire(match result {
        Ok(()) => abi::SUBEVENT_PERSISTENCE_ENDED,
        Err(_) => abi::SUBEVENT_PERSISTENCE_FAILED,
    });
    result
}

/// Deletes all data, functions too.
fn empty_all(server: &'static Server) {
    crate::execute::flush::empty(server, None, false);
    let mut session = crate::connection::client::Session::internal();
    let tx = crate::execute::Tx::module(server, &mut session, now_ms());
    // It fails while a function runs, which no function can bring about.
    let _ = crate::script::function::flush(&tx, false);
}

/// Puts the data of a file in place of all that is there (`RdbLoad`). The error is an errno.
pub fn load_from(server: &'static Server, path: &std::path::Path) -> Result<(), i32> {
    abort_background_save(server);
    empty_all(server);
    match load_file(server, path, Duplicates::Refuse) {
        Outcome::Done => Ok(()),
        Outcome::NoFile => Err(libc::ENOENT),
        Outcome::Failed => Err(libc::EIO),
    }
}

/// The running background save was called off: a file that comes later must not replace that one.
static CALLED_OFF: Mutex<bool> = Mutex::new(false);

/// The name of a background save's file until it is complete.
fn background_name() -> PathBuf {
    PathBuf::from(format!("temp-bg-{}.rdb", std::process::id()))
}

/// Begins a background save now. False if another snapshot runs, or a module yields in a unit. The calling thread has the module lock, and is between
/// two commands.
pub fn background_save(server: &'static Server) -> bool {
    let p = &server.persistence;
    if cut::running() || cut::amid_unit(server) || p.saving.load(Relaxed) {
        return false;
    }
    if server.config.module_exclusive() {
        return super::child::save(server);
    }
    *CALLED_OFF.lock() = false;
    let now = background_save_begins(server);
    crate::log_notice!("Background saving started by pid {}", std::process::id());
    static DIRTY: AtomicU64 = AtomicU64::new(0);
    let at_cut = || {
        DIRTY.store(Server::get().dirty.get(), Relaxed);
        true
    };
    let done = move |result: Result<(), Failure>| {
        let called_off = CALLED_OFF.lock();
        if let Err(Failure::Error(text)) = &result {
            crate::log_warning!("Write error while saving DB to the disk: {text}");
        }
        let result = result.and_then(|()| match *called_off {
            true => {
                let _ = std::fs::remove_file(background_name());
                Err(Failure::Aborted)
            }
            false => put_in_place(&background_name(), &file_name(server)).map_err(|text| {
                crate::log_warning!("{text}");
                Failure::Error(text)
            }),
        });
        drop(called_off);
        if result.is_ok() {
            crate::log_notice!("DB saved on disk");
        }
        let end = move || background_save_ended(server, result, DIRTY.load(Relaxed), now);
        server.queue.task(Box::new(end));
    };
    let path = background_name();
    let (at_cut, done) = (Box::new(at_cut), Box::new(done));
    let order = Order { path, format: Format::Rdb, purpose: Purpose::Save, at_cut, done };
    cut::begin(server, order)
}

/// Notes that a background save begins. Returns when, Unix seconds.
pub(super) fn background_save_begins(server: &Server) -> i64 {
    let p = &server.persistence;
    let now = now_ms() / 1000;
    p.scheduled.store(false, Relaxed);
    p.saving.store(true, Relaxed);
    p.last_bgsave_try.store(now, Relaxed);
    p.bgsave_start.store(now, Relaxed);
    p.saves.fetch_add(1, Relaxed);
    now
}

/// The end of a background save, on the module thread.
pub(super) fn background_save_ended(
    server: &'static Server,
    result: Result<(), Failure>,
    dirty_at_cut: u64,
    began: i64,
) {
    let p = &server.persistence;
    let now = now_ms() / 1000;
    match result {
        Ok(()) => {
            crate::log_notice!("Background saving terminated with success");
            // Unless something newer was saved meanwhile (`FLUSHALL`).
            p.dirty_at_save.fetch_max(dirty_at_cut, Relaxed);
            p.last_save.store(now, Relaxed);
            p.last_bgsave_failed.store(false, Relaxed);
        }
        Err(Failure::Error(_)) => {
            crate::log_warning!("Background saving error");
            p.last_bgsave_failed.store(true, Relaxed);
        }
        // As Redis' child that was told to end: no failure, and no save.
        Err(Failure::Aborted) => crate::log_warning!("Background saving terminated: called off"),
    }
    p.last_bgsave_seconds.store(now - began, Relaxed);
    p.bgsave_start.store(-1, Relaxed);
    p.saving.store(false, Relaxed);
}

/// Calls a running background save off: what it would save is about to go (`FLUSHALL`, the end of the server). Another
/// snapshot goes on.
pub fn abort_background_save(server: &'static Server) {
    if server.persistence.saving.load(Relaxed) {
        super::child::abort(server, false);
        *CALLED_OFF.lock() = true;
        cut::abort(Purpose::Save);
    }
}

/// As [`abort_background_save`], for the end of the process: removes the file that has no name yet.
pub fn kill_background_save(server: &'static Server) {
    crate::propagate::sync::clean_up();
    if server.persistence.saving.load(Relaxed) {
        crate::log_warning!("There is a child saving an .rdb. Killing it!");
        super::child::abort(server, true);
        abort_background_save(server);
        let _ = std::fs::remove_file(background_name());
    }
}

/// Begins a background save when its turn comes: after the command that runs, or after the snapshot that runs.
pub fn schedule_background_save(server: &'static Server) {
    server.persistence.scheduled.store(true, Relaxed);
    server.queue.task(Box::new(move || begin_scheduled(server)));
}

/// Begins the background save that waits, if it is its turn. The calling thread is the module thread, between two units.
pub fn begin_scheduled(server: &'static Server) {
    if server.persistence.scheduled.load(Relaxed) {
        background_save(server);
    }
}

/// Begins a background save if a save point is reached (the cron). The calling thread has the module lock.
pub fn check_save_points(server: &'static Server, now_ms: i64) {
    let p = &server.persistence;
    if cut::running() || p.saving.load(Relaxed) || server.loading.load(Relaxed) {
        return;
    }
    begin_scheduled(server);
    if p.saving.load(Relaxed) {
        return;
    }
    let now = now_ms / 1000;
    let failed = p.last_bgsave_failed.load(Relaxed);
    if failed && now - p.last_bgsave_try.load(Relaxed) <= RETRY_SECONDS {
        return;
    }
    let (changes, age) = (changes(server), now - p.last_save.load(Relaxed));
    let due = |s: &crate::config::SavePoint| changes >= s.changes as u64 && age > s.seconds;
    if let Some(s) = server.config.save().iter().find(|s| due(s)) {
        crate::log_notice!("{} changes in {} seconds. Saving...", s.changes, s.seconds);
        background_save(server);
    }
}

/// Whether writes are refused because the last background save failed (`stop-writes-on-bgsave-error`).
pub fn writes_denied(server: &Server) -> bool {
    server.persistence.last_bgsave_failed.load(Relaxed)
        && server.config.stop_writes_on_bgsave_error()
        && !server.config.save().is_empty()
}

/// What `DEBUG RELOAD` does: saves, empties the databases and loads the file again.
#[derive(Clone, Copy, Debug)]
pub struct Reload {
    /// Save first.
    pub save: bool,
    /// Empty the databases first.
    pub flush: bool,
    /// Keys of the file replace those that are there.
    pub merge: bool,
}

/// `DEBUG RELOAD`. The error is what the client sees. The calling thread has the module lock.
pub fn reload(server: &'static Server, how: Reload) -> Result<(), &'static str> {
    if starting(server) {
        return Err("ERR the data is being loaded already");
    }
    if how.save {
        save(server).map_err(|_| "ERR")?;
        // The save's holds on all shards are not needed any more.
        crate::module::thread::end_unit(server);
    }
    if how.flush {
        empty_all(server);
    }
    let duplicates = if how.merge { Duplicates::Replace } else { Duplicates::Refuse };
    let loaded = load_file(server, &file_name(server), duplicates);
    if loaded != Outcome::Done {
        return Err("ERR Error trying to load the RDB dump, check server logs.");
    }
    crate::log_notice!("DB reloaded by DEBUG RELOAD");
    Ok(())
}
