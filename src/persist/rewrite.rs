//! Rewriting: a new base file, and switching the append-only file on and off.
use super::{append, delete_history, delete_later, folder, in_folder, os_text, shown};
use super::{make_folder, path_of, persist_manifest, state, stem, sync_folder};
use crate::keyspace::shard::SHARDS;
use crate::lock::held::Access;
use crate::module::abi;
use crate::observe::clock::{mono_ns, now_ms};
use crate::server::Server;
use crate::snapshot::cut::{self, Failure, Order, Purpose};
use crate::snapshot::Format;
use parking_lot::Mutex;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};

/// So many failures in a row make the next tries wait.
const PATIENCE: u64 = 3;
/// They wait for so many minutes at most.
const LONGEST_WAIT: i64 = 60;

/// State and figures of rewriting, for `INFO persistence`.
pub struct Rewriting {
    /// One runs, or is the next task of the module thread.
    running: AtomicBool,
    /// One was asked for while something stood in its way.
    pub scheduled: AtomicBool,
    /// When the running one began, Unix seconds; -1 without one.
    pub started: AtomicI64,
    /// How long the last one took, seconds; -1 before the first.
    pub last_seconds: AtomicI64,
    /// Whether the last one failed.
    pub last_failed: AtomicBool,
    /// How many were begun.
    pub count: AtomicU64,
    /// How many failed since the last that did not.
    pub failures: AtomicU64,
    /// After too many failures: minutes to wait, and when the next try may be (Unix seconds).
    limit: Mutex<(i64, i64)>,
}

impl Default for Rewriting {
    fn default() -> Rewriting {
        Rewriting {
            running: AtomicBool::new(false),
            scheduled: AtomicBool::new(false),
            started: AtomicI64::new(-1),
            last_seconds: AtomicI64::new(-1),
            last_failed: AtomicBool::new(false),
            count: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            limit: Mutex::new((0, 0)),
        }
    }
}

impl Rewriting {
    /// Whether one runs.
    pub fn runs(&self) -> bool {
        self.running.load(SeqCst)
    }

    /// Whether failures make the next try wait.
    fn is_limited(&self, now: i64) -> bool {
        let mut limit = self.limit.lock();
        if self.failures.load(Relaxed) < PATIENCE {
            *limit = (0, 0);
            return false;
        }
        if limit.1 != 0 {
            let waits = now < limit.1;
            if !waits {
                limit.1 = 0;
            }
            return waits;
        }
        limit.0 = if limit.0 == 0 { 1 } else { (limit.0 * 2).min(LONGEST_WAIT) };
        limit.1 = now + limit.0 * 60;
        crate::log_warning!(
            "Background AOF rewrite has repeatedly failed and triggered the limit, will retry in {} minutes",
            limit.0
        );
        true
    }
}

fn fire(sub: u64) {
    crate::module::event::server_event(abi::EVENT_PERSISTENCE, sub, std::ptr::null_mut(), None);
}

/// What became of the wish to rewrite.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Begun {
    /// It begins.
    Started,
    /// It begins when something else is done.
    Scheduled,
    /// One runs already.
    Running,
    /// It cannot; the log says why.
    Failed,
}

/// `BGREWRITEAOF`. `in_exec`: inside a transaction. The calling thread has the module lock.
pub fn ask(server: &'static Server, in_exec: bool) -> Begun {
    let r = &server.aof.rewriting;
    if r.runs() {
        return Begun::Running;
    }
    if something_else_runs(server) || in_exec {
        r.scheduled.store(true, Relaxed);
        r.failures.store(0, Relaxed);
        return Begun::Scheduled;
    }
    match begin(server) {
        Ok(()) => Begun::Started,
        Err(()) => Begun::Failed,
    }
}

fn something_else_runs(server: &Server) -> bool {
    server.persistence.saving.load(Relaxed)
        || cut::running_for(Purpose::Replicas)
        || crate::module::fork::child().is_some()
}

/// Regular work: what was scheduled, and the automatic rewrite. The calling thread has the module lock.
pub fn cron(server: &'static Server, now_ms: i64) {
    let aof = &server.aof;
    aof.cron(server, now_ms);
    let (r, now) = (&aof.rewriting, now_ms / 1000);
    if r.runs() || something_else_runs(server) || server.loading.load(Relaxed) {
        return;
    }
    if r.scheduled.load(Relaxed) && !r.is_limited(now) {
        let _ = begin(server);
        return;
    }
    let percentage = server.config.auto_aof_rewrite_percentage();
    let size = aof.current_size.load(Relaxed);
    if aof.state() != state::ON
        || percentage == 0
        || size <= server.config.auto_aof_rewrite_min_size()
    {
        return;
    }
    let before = aof.base_size.load(Relaxed).max(1);
    let growth = (size as i64).saturating_mul(100) / before as i64 - 100;
    if growth >= percentage as i64 && !r.is_limited(now) {
        crate::log_notice!("Starting automatic rewriting of AOF on {growth}% growth");
        let _ = begin(server);
    }
}

/// Begins a rewrite, as a task of the module thread after what it is doing now. The calling thread has the module lock.
fn begin(server: &'static Server) -> Result<(), ()> {
    let r = &server.aof.rewriting;
    if make_folder(server).is_err() {
        r.last_failed.store(true, Relaxed);
        return Err(());
    }
    r.running.store(true, SeqCst);
    r.scheduled.store(false, Relaxed);
    r.count.fetch_add(1, Relaxed);
    let now = now_ms() / 1000;
    r.started.store(now, Relaxed);
    crate::log_notice!(
        "Background append only file rewriting started by pid {}",
        std::process::id()
    );
    let number = NUMBER.fetch_add(1, Relaxed) + 1;
    server.queue.task(Box::new(move || run(server, now, number)));
    Ok(())
}

/// Counts rewrites, so that the end of one that was called off is not taken for that of the next.
static NUMBER: AtomicU64 = AtomicU64::new(0);

/// The cut: the log goes on in a new file, and threads in the background write a base of what there is at that moment.
fn run(server: &'static Server, began: i64, number: u64) {
    let r = &server.aof.rewriting;
    if !r.runs() || NUMBER.load(Relaxed) != number {
        // It was switched off meanwhile.
        return;
    }
    if cut::running_for(Purpose::Rewrite) || cut::amid_unit(server) {
        // A snapshot that was called off is about to end, perhaps with the help of this thread.
        return cut::try_later(server, move || run(server, began, number));
    }
    let later = || {
        r.scheduled.store(true, Relaxed);
        r.started.store(-1, Relaxed);
        r.running.store(false, SeqCst);
    };
    if cut::running() {
        // Another snapshot runs: after it.
        return later();
    }
    let Ok(next) = prepare_next_incr(server) else { return ended(server, Err(()), began) };
    let format = match server.config.aof_use_rdb_preamble() {
        true => Format::RdbBase,
        false => Format::CommandsBase,
    };
    let at_cut = Box::new(move || next.is_none_or(|next| change_over(server, next).is_ok()));
    let done = Box::new(move |result: Result<(), Failure>| {
        if let Err(Failure::Error(text)) = &result {
            crate::log_warning!("Write error writing append only file on disk: {text}");
        }
        let result = result.map_err(drop);
        server.queue.task(Box::new(move || {
            // Otherwise it was switched off meanwhile, and perhaps on again.
            if server.aof.rewriting.runs() && NUMBER.load(Relaxed) == number {
                ended(server, result, began);
            }
        }));
    });
    let order = Order { path: temporary_base(), format, purpose: Purpose::Rewrite, at_cut, done };
    if !cut::begin(server, order) {
        later();
    }
}

/// The end of a rewrite, on the module thread.
fn ended(server: &'static Server, result: Result<(), ()>, began: i64) {
    let aof = &server.aof;
    let r = &aof.rewriting;
    let temporary = temporary_base();
    if aof.state() == state::WAITS_FOR_BASE && !aof.collects() && result.is_ok() {
        // The file was switched on since the cut, in a transaction: what is written since is nowhere.
        let _ = std::fs::remove_file(&temporary);
        r.scheduled.store(true, Relaxed);
        r.started.store(-1, Relaxed);
        r.running.store(false, SeqCst);
        return;
    }
    let result = result.and_then(|()| {
        crate::log_notice!(
            "Successfully created the temporary AOF base file {}",
            temporary.display()
        );
        crate::log_notice!("Background AOF rewrite terminated with success");
        install(server, &temporary)
    });
    match result {
        Ok(()) => {
            r.failures.store(0, Relaxed);
            delete_history(server);
            crate::log_notice!("Background AOF rewrite finished successfully");
            if aof.state() == state::WAITS_FOR_BASE {
                aof.state.store(state::ON, SeqCst);
            }
        }
        Err(()) => {
            r.failures.fetch_add(1, Relaxed);
            crate::log_warning!("Background AOF rewrite terminated with error");
            let _ = std::fs::remove_file(&temporary);
            if aof.state() == state::WAITS_FOR_BASE {
                // Once more, from the start; until then nothing is collected.
                aof.rest(server);
                drop_temporary_incr(server);
                r.scheduled.store(true, Relaxed);
            }
        }
    }
    r.last_failed.store(result.is_err(), Relaxed);
    r.last_seconds.store(now_ms() / 1000 - began, Relaxed);
    r.started.store(-1, Relaxed);
    r.running.store(false, SeqCst);
    aof.choose_gate(server);
}

/// Calls a running rewrite off: the server ends, or the file is switched off. The calling thread has the module lock.
pub fn kill(server: &Server) {
    let r = &server.aof.rewriting;
    if r.running.swap(false, SeqCst) {
        crate::log_notice!("Killing running AOF rewrite child: {}", std::process::id());
        r.started.store(-1, Relaxed);
        cut::abort(Purpose::Rewrite);
        let _ = std::fs::remove_file(temporary_base());
    }
}

fn temporary_base() -> PathBuf {
    PathBuf::from(format!("temp-rewriteaof-bg-{}.aof", std::process::id()))
}

/// Where effects go until there is a base file for them.
fn temporary_incr(server: &Server) -> Vec<u8> {
    [b"temp-", &stem(server)[..], b".incr"].concat()
}

/// Deletes what was collected for a base file that does not come.
fn drop_temporary_incr(server: &Server) {
    let name = temporary_incr(server);
    let path = in_folder(server, &name);
    if path.exists() {
        crate::log_notice!("Removing the temp incr aof file {} in the background", shown(&name));
        delete_later(path);
    }
}

/// Holds all shards for reading, until the end of the unit: no write is in the middle of anything, and none begins. The
/// calling thread has the module lock.
pub fn hold_everything(server: &Server) {
    for (db, database) in server.keyspace.dbs().iter().enumerate() {
        for (i, shard) in database.shards().iter().enumerate() {
            shard.latch.lock();
            // SAFETY: lock: taken on the line above, released below; the module lock is held.
            unsafe {
                if shard.data().held.hold_whole(Access::Read) {
                    server.holder().touched.push((db * SHARDS + i) as u32);
                }
                shard.latch.unlock();
            }
        }
    }
}

/// The incremental file in which the log goes on after a cut.
struct NextIncr {
    name: Vec<u8>,
    file: File,
    size: u64,
    /// The manifest with this file; `None` when there is no base for it yet.
    manifest: Option<super::manifest::Manifest>,
}

/// Makes the next incremental file; `None` if the log is not read at all. It is in the manifest, where it has one, before
/// the log goes over to it.
fn prepare_next_incr(server: &Server) -> Result<Option<NextIncr>, ()> {
    let aof = &server.aof;
    match aof.state() {
        state::OFF => Ok(None),
        state::WAITS_FOR_BASE => {
            let name = temporary_incr(server);
            let (file, size) = append::open(server, &name, true)?;
            Ok(Some(NextIncr { name, file, size, manifest: None }))
        }
        _ => {
            let mut next = aof.manifest.lock().clone();
            let name = next.next_incr(&stem(server));
            let (file, size) = append::open(server, &name, true)?;
            persist_manifest(server, &next)?;
            Ok(Some(NextIncr { name, file, size, manifest: Some(next) }))
        }
    }
}

/// Lets the log go on in a new file. Nothing is being written: the world is stopped.
fn change_over(server: &Server, next: NextIncr) -> Result<(), ()> {
    let aof = &server.aof;
    let begins = next.manifest.is_none();
    aof.change_over(server, next.file, next.size, begins)?;
    match next.manifest {
        Some(manifest) => *aof.manifest.lock() = manifest,
        None => aof.choose_gate(server),
    }
    crate::log_notice!("Creating AOF incr file {} on background rewrite", shown(&next.name));
    Ok(())
}

/// Puts a new base file in the place of all files of before.
fn install(server: &Server, temporary: &Path) -> Result<(), ()> {
    let aof = &server.aof;
    let mut next = aof.manifest.lock().clone();
    let rdb = server.config.aof_use_rdb_preamble();
    let name = next.next_base(&stem(server), rdb);
    let path = in_folder(server, &name);
    rename(server, temporary, &path, "base")?;
    crate::log_notice!(
        "Successfully renamed the temporary AOF base file {} into {}",
        temporary.display(),
        shown(&name)
    );
    let mut incr = None;
    if aof.state() == state::WAITS_FOR_BASE {
        let from = temporary_incr(server);
        let to = next.next_incr(&stem(server));
        let to_path = in_folder(server, &to);
        if rename(server, &in_folder(server, &from), &to_path, "incr").is_err() {
            delete_later(path);
            return Err(());
        }
        crate::log_notice!(
            "Successfully renamed the temporary AOF incr file {} into {}",
            shown(&from),
            shown(&to)
        );
        incr = Some(to_path);
    }
    next.retire_incr(usize::from(aof.is_on()));
    // The folder's entries must be on the disk before a manifest that names them.
    if sync_folder(&folder(server)).is_err() || persist_manifest(server, &next).is_err() {
        delete_later(path);
        incr.into_iter().for_each(delete_later);
        return Err(());
    }
    *aof.manifest.lock() = next;
    if aof.is_on() {
        let size = std::fs::metadata(&path).map_or(0, |m| m.len()) + aof.file.lock().size;
        aof.current_size.store(size, Relaxed);
        aof.base_size.store(size, Relaxed);
    }
    Ok(())
}

fn rename(server: &Server, from: &Path, to: &Path, kind: &str) -> Result<(), ()> {
    let begin = mono_ns();
    std::fs::rename(from, to).map_err(|e| {
        crate::log_warning!(
            "Error trying to rename the temporary AOF {kind} file {} into {}: {}",
            from.display(),
            to.display(),
            os_text(&e)
        );
    })?;
    server.latency.add_if_slow(&server.config, "aof-rename", (mono_ns() - begin) / 1_000_000);
    Ok(())
}

/// Writes everything into a file and brings it to the disk. The error has been logged.
fn write_base(server: &'static Server, path: &Path) -> Result<(), ()> {
    let format = match server.config.aof_use_rdb_preamble() {
        true => Format::RdbBase,
        false => Format::CommandsBase,
    };
    crate::snapshot::write_base(server, path, format).map_err(|e| {
        crate::log_warning!("Write error writing append only file on disk: {}", os_text(&e));
        let _ = std::fs::remove_file(path);
    })
}

/// Opens the file at the start of the server, after loading. The error has been logged.
pub(crate) fn open_at_start(server: &'static Server) -> Result<(), ()> {
    let aof = &server.aof;
    make_folder(server)?;
    let mut next = aof.manifest.lock().clone();
    let resumes = !next.incr.is_empty();
    if next.is_empty() {
        let name = next.next_base(&stem(server), server.config.aof_use_rdb_preamble());
        let temporary = path_of(format!("temp-rewriteaof-{}.aof", std::process::id()).as_bytes());
        fire(abi::SUBEVENT_PERSISTENCE_SYNC_AOF_START);
        let written = write_base(server, &temporary).and_then(|()| {
            std::fs::rename(&temporary, in_folder(server, &name)).map_err(|e| {
                crate::log_warning!(
                    "Error moving temp append only file on the final destination: {}",
                    os_text(&e)
                );
                let _ = std::fs::remove_file(&temporary);
            })
        });
        fire(match written {
            Ok(()) => abi::SUBEVENT_PERSISTENCE_ENDED,
            Err(()) => abi::SUBEVENT_PERSISTENCE_FAILED,
        });
        server.release_keys();
        written?;
        crate::log_notice!("Creating AOF base file {} on server start", shown(&name));
    }
    let name = match next.incr.last() {
        Some(info) => info.name.clone(),
        None => next.next_incr(&stem(server)),
    };
    let (file, size) = append::open(server, &name, false)?;
    if next != *aof.manifest.lock() {
        sync_folder(&folder(server)).and_then(|()| sync_folder(Path::new("."))).map_err(|e| {
            crate::log_warning!("Fail to fsync AOF directory: {}", os_text(&e));
        })?;
        persist_manifest(server, &next)?;
        *aof.manifest.lock() = next;
    }
    aof.state.store(state::ON, SeqCst);
    aof.change_over(server, file, size, true)?;
    aof.choose_gate(server);
    let verb = if resumes { "Opening" } else { "Creating" };
    crate::log_notice!("{verb} AOF incr file {} on server start", shown(&name));
    Ok(())
}

/// `CONFIG SET appendonly yes`. `in_exec`: inside a transaction. False if it cannot. The calling thread has the module
/// lock.
pub fn switch_on(server: &'static Server, in_exec: bool) -> bool {
    let aof = &server.aof;
    aof.state.store(state::WAITS_FOR_BASE, SeqCst);
    let r = &aof.rewriting;
    if something_else_runs(server) {
        r.scheduled.store(true, Relaxed);
        crate::log_notice!(
            "AOF was enabled but there is already another background operation. An AOF background was scheduled to start \
             when possible."
        );
    } else if in_exec {
        r.scheduled.store(true, Relaxed);
        crate::log_notice!(
            "AOF was enabled during a transaction. An AOF background was scheduled to start when possible."
        );
    } else {
        if r.runs() {
            // What is written since its cut is nowhere.
            crate::log_notice!(
                "AOF was enabled but there is already an AOF rewriting in background. Stopping background AOF and starting a \
                 rewrite now."
            );
            kill(server);
        }
        if begin(server).is_err() {
            aof.state.store(state::OFF, SeqCst);
            crate::log_warning!(
                "Redis needs to enable the AOF but can't trigger a background AOF rewrite operation. Check the above logs \
                 for more info about the error."
            );
            return false;
        }
    }
    aof.forget_errors();
    true
}

/// `CONFIG SET appendonly no`. The calling thread has the module lock.
pub fn switch_off(server: &'static Server) {
    let aof = &server.aof;
    let r = &aof.rewriting;
    aof.close(server);
    r.scheduled.store(false, Relaxed);
    kill(server);
    drop_temporary_incr(server);
}
