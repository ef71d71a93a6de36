//! Writing the log to the incremental file, and bringing it to the disk.
use super::{errno_text, gate, in_folder, shown, state, Aof, Waiting};
use crate::config::enums::appendfsync;
use crate::execute::blocking;
use crate::observe::clock::{mono_ns, now_ms};
use crate::server::Server;
use std::fs::File;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

/// Milliseconds between two syncs under `everysec`.
const SYNC_EVERY: i64 = 1000;
/// Milliseconds between two tries of a write that failed, while no client asks for anything.
const RETRY_EVERY: i64 = 1000;
/// Milliseconds for which a write waits for a sync.
const POSTPONE: i64 = 2000;
/// Seconds between two log lines about write errors.
const LOG_ERRORS_EVERY: i64 = 30;
/// A buffer that grew beyond this is not kept.
const SPARE: usize = 1 << 20;

/// The incremental file that is written.
#[derive(Default)]
pub(super) struct AppendFile {
    pub file: Option<Arc<File>>,
    /// Its size.
    pub size: u64,
    /// Its size when the last sync began.
    synced_size: u64,
    /// Bytes that were taken from the log.
    pub pending: Vec<u8>,
    /// The log's offset behind them.
    end: u64,
    /// A sync runs in the background.
    pub syncing: bool,
    /// When the last one began, Unix milliseconds.
    last_sync: i64,
    /// Since when a write waits for a sync; 0 if none does.
    postponed_since: i64,
    /// Files of before that may not be on the disk yet.
    retired: Vec<Arc<File>>,
}

impl Aof {
    /// The log has got longer.
    #[inline]
    pub fn appended(&self) {
        if self.gate.load(Relaxed) == gate::SYNCED {
            self.poke();
        }
    }

    /// Wakes the thread that syncs, if it does not know by itself when to look.
    fn poke(&self) {
        if self.asleep.swap(false, SeqCst) {
            self.poke_anyway();
        }
    }

    /// Makes the thread that syncs look at once.
    pub(super) fn poke_anyway(&self) {
        *self.poked.lock() = true;
        self.signal.notify_one();
    }

    /// Makes sure, as far as the policy asks for it, that what replies acknowledge will survive; `Some` is an offset of the
    /// log to wait for ([`Aof::wait_until_safe`]).
    #[inline]
    pub fn before_replies(&self, server: &Server) -> Option<u64> {
        match self.gate.load(Relaxed) {
            gate::OPEN => None,
            gate::WRITTEN => {
                self.write_if_needed(server);
                None
            }
            _ => {
                let offset = server.log.offset();
                (self.safe.load(SeqCst) < offset).then_some(offset)
            }
        }
    }

    /// Whether replies wait for the log.
    pub fn promises(&self) -> bool {
        self.gate.load(Relaxed) != gate::OPEN
    }

    /// Writes what is there, if the policy leaves that to whoever comes by.
    pub fn write_if_needed(&self, server: &Server) {
        if self.gate.load(Relaxed) == gate::WRITTEN
            && self.written.load(Relaxed) < server.log.offset()
        {
            self.write_out(server, false);
        }
    }

    /// Waits until replies up to an offset may be sent.
    pub async fn wait_until_safe(&self, offset: u64) {
        std::future::poll_fn(|cx| self.poll_safe(offset, cx)).await;
    }

    /// As [`Aof::wait_until_safe`], inside another future.
    pub fn poll_safe(&self, offset: u64, cx: &mut Context<'_>) -> Poll<()> {
        let passed = || self.safe.load(SeqCst) >= offset || self.gate.load(SeqCst) != gate::SYNCED;
        if passed() {
            return Poll::Ready(());
        }
        self.waiting.lock().push((offset, Waiting::Replies(cx.waker().clone())));
        // It may have been passed before the waker stood there.
        match passed() {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }

    /// Makes a `WAITAOF` wait for an offset.
    pub fn wait_for(&self, offset: u64, waiter: Arc<blocking::Waiter>) {
        self.waiting.lock().push((offset, Waiting::Command(waiter)));
        // It may have been passed before the waiter stood there.
        if let Some(at) = self.synced() {
            self.wake_waiting(at);
        }
    }

    /// Wakes whoever waits for an offset up to this one.
    pub(super) fn wake_waiting(&self, offset: u64) {
        crate::execute::replication::answer_waits(Server::get());
        let done: Vec<Waiting> = {
            let mut waiting = self.waiting.lock();
            if waiting.is_empty() {
                return;
            }
            let (done, rest): (Vec<_>, Vec<_>) =
                std::mem::take(&mut *waiting).into_iter().partition(|(at, _)| *at <= offset);
            *waiting = rest;
            done.into_iter().map(|(_, w)| w).collect()
        };
        for w in done {
            match w {
                Waiting::Replies(waker) => waker.wake(),
                Waiting::Command(waiter) => blocking::look_again(Server::get(), &waiter),
            }
        }
    }

    /// Writes what the log has. `force`: even while a sync runs.
    pub fn write_out(&self, server: &Server, force: bool) {
        let mut f = self.file.lock();
        self.write_locked(server, &mut f, force);
    }

    fn write_locked(&self, server: &Server, f: &mut AppendFile, force: bool) {
        let Some(file) = f.file.clone() else { return };
        let everysec = server.config.appendfsync() == appendfsync::EVERYSEC;
        if everysec && f.syncing && !force && self.postpone(f) {
            return;
        }
        f.postponed_since = 0;
        f.end = server.log.take(&mut f.pending, false);
        if f.pending.is_empty() {
            return;
        }
        let sleep = self.flush_sleep.load(Relaxed);
        if sleep > 0 {
            std::thread::sleep(Duration::from_micros(sleep as u64));
        }
        let begin = mono_ns();
        let result = write_all(&file, &f.pending);
        let ms = (mono_ns() - begin) / 1_000_000;
        let event = if f.syncing {
            "aof-write-pending-fsync"
        } else if server.persistence.saving.load(Relaxed) || self.rewriting.runs() {
            "aof-write-active-child"
        } else {
            "aof-write-alone"
        };
        server.latency.add_if_slow(&server.config, event, ms);
        server.latency.add_if_slow(&server.config, "aof-write", ms);
        match result {
            Ok(()) => {
                if self.write_error.swap(0, Relaxed) != 0 {
                    crate::log_notice!("AOF write error looks solved, Redis can write again.");
                }
                let n = f.pending.len() as u64;
                f.size += n;
                self.current_size.fetch_add(n, Relaxed);
                f.pending.clear();
                if f.pending.capacity() > SPARE {
                    f.pending = Vec::new();
                }
                self.written.store(f.end, SeqCst);
                if everysec {
                    self.poke();
                }
            }
            Err((done, e)) => self.write_failed(server, f, &file, done, &e),
        }
    }

    /// Whether a write waits for the sync that runs.
    fn postpone(&self, f: &mut AppendFile) -> bool {
        let now = now_ms();
        if f.postponed_since == 0 {
            f.postponed_since = now;
            return true;
        }
        if now - f.postponed_since < POSTPONE {
            return true;
        }
        self.delayed_fsync.fetch_add(1, Relaxed);
        crate::log_notice!(
            "Asynchronous AOF fsync is taking too long (disk is busy?). Writing the AOF buffer without waiting for fsync to \
             complete, this may slow down Redis."
        );
        false
    }

    fn write_failed(
        &self,
        server: &Server,
        f: &mut AppendFile,
        file: &File,
        mut done: usize,
        e: &io::Error,
    ) {
        static LAST_LOGGED: AtomicI64 = AtomicI64::new(0);
        let now = now_ms() / 1000;
        let log = now - LAST_LOGGED.load(Relaxed) > LOG_ERRORS_EVERY;
        if log {
            LAST_LOGGED.store(now, Relaxed);
        }
        let mut errno = e.raw_os_error().unwrap_or(libc::EIO);
        if done == 0 {
            if log {
                crate::log_warning!("Error writing to the AOF file: {}", errno_text(errno));
            }
        } else {
            errno = libc::ENOSPC;
            if log {
                crate::log_warning!(
                    "Short write while writing to the AOF file: (nwritten={done}, expected={})",
                    f.pending.len()
                );
            }
            match file.set_len(f.size) {
                Ok(()) => done = 0,
                Err(e) if log => crate::log_warning!(
                    "Could not remove short write from the append-only file.  Redis may refuse to load the AOF the next \
                     time it starts.  ftruncate: {}",
                    super::os_text(&e)
                ),
                Err(_) => {}
            }
        }
        if server.config.appendfsync() == appendfsync::ALWAYS {
            // What the keyspace shows already cannot be kept, and nobody has got a reply for it.
            crate::log_warning!(
                "Can't recover from AOF write error when the AOF fsync policy is 'always'. Exiting..."
            );
            std::process::exit(1);
        }
        self.write_error.store(errno, Relaxed);
        f.size += done as u64;
        self.current_size.fetch_add(done as u64, Relaxed);
        f.pending.drain(..done);
    }

    /// Regular work: writes that waited for a sync or failed. The calling thread has the module lock.
    pub fn cron(&self, server: &Server, now: i64) {
        static LAST_TRY: AtomicI64 = AtomicI64::new(0);
        if !self.is_on() {
            return;
        }
        let postponed = self.file.lock().postponed_since != 0;
        let waited = now - LAST_TRY.load(Relaxed).min(now);
        let failed = self.write_error.load(Relaxed) != 0 && waited >= RETRY_EVERY;
        if failed {
            LAST_TRY.store(now, Relaxed);
        }
        if postponed || failed {
            self.write_out(server, false);
        }
    }

    /// Lets the log go on in another file: what it has goes into the one before. `begin`: the log begins here, nothing of
    /// it was wanted before. The caller has stopped all writes. The error has been logged.
    pub(super) fn change_over(
        &self,
        server: &Server,
        file: File,
        size: u64,
        begin: bool,
    ) -> Result<(), ()> {
        let mut f = self.file.lock();
        if begin {
            server.log.set_active(true);
            server.log.take(&mut f.pending, true);
            f.pending.clear();
        } else {
            self.write_locked(server, &mut f, true);
            if !f.pending.is_empty() {
                // In the new file they would be done twice: the base will have them already.
                crate::log_warning!("Can't rewrite the AOF while it can't be written");
                return Err(());
            }
            server.log.take(&mut f.pending, true);
        }
        let before = f.file.replace(Arc::new(file));
        f.retired.extend(before);
        f.size = size;
        f.synced_size = size;
        f.last_sync = now_ms();
        f.postponed_since = 0;
        if begin {
            f.end = server.log.offset();
            self.passed(f.end);
        }
        drop(f);
        start_thread();
        self.poke_anyway();
        Ok(())
    }

    /// Nothing up to this offset has to be waited for.
    fn passed(&self, offset: u64) {
        for position in [&self.written, &self.synced, &self.safe] {
            position.fetch_max(offset, SeqCst);
        }
    }

    /// Writes and syncs everything and closes the file. The calling thread has the module lock.
    pub(super) fn close(&self, server: &Server) {
        let mut f = self.file.lock();
        self.write_locked(server, &mut f, true);
        if let Some(file) = f.file.take() {
            if let Err(e) = file.sync_data() {
                crate::log_warning!("Fail to fsync the AOF file: {}", super::os_text(&e));
            }
        }
        self.forget_file(server, &mut f);
        self.state.store(state::OFF, SeqCst);
        drop(f);
        self.choose_gate(server);
    }

    /// Lets go of the temporary file of a first rewrite that failed; the next one makes another. Until then nothing is
    /// collected, and no reply waits. The calling thread has the module lock.
    pub(super) fn rest(&self, server: &Server) {
        let mut f = self.file.lock();
        self.forget_file(server, &mut f);
        drop(f);
        self.choose_gate(server);
    }

    fn forget_file(&self, server: &Server, f: &mut AppendFile) {
        server.log.set_active(false);
        server.log.take(&mut f.pending, true);
        *f = AppendFile::default();
        self.passed(server.log.offset());
        self.write_error.store(0, Relaxed);
        self.sync_error.store(0, Relaxed);
    }

    /// Writes and syncs everything, before the process ends.
    pub fn finish(&self, server: &Server) {
        let mut f = self.file.lock();
        self.write_locked(server, &mut f, true);
        for file in f.retired.iter().chain(&f.file) {
            if let Err(e) = file.sync_data() {
                crate::log_warning!("Fail to fsync the AOF file: {}.", super::os_text(&e));
            }
        }
    }

    /// Forgets errors of a time before the file was switched on.
    pub(super) fn forget_errors(&self) {
        if self.sync_error.swap(0, Relaxed) != 0 {
            crate::log_warning!("AOF reopen, just ignore the AOF fsync error in bio job");
        }
        if self.write_error.swap(0, Relaxed) != 0 {
            crate::log_warning!("AOF reopen, just ignore the last error.");
        }
    }

    /// Brings files of before to the disk: nothing behind them may count as synced earlier.
    fn sync_retired(&self, server: &Server) {
        let retired = std::mem::take(&mut self.file.lock().retired);
        for file in retired {
            if let Err(e) = file.sync_data() {
                self.sync_failed(server, &mut self.file.lock(), &e);
            }
        }
    }

    /// A sync failed. Under `always` that ends the process: nobody has got a reply for what is lost, and what the keyspace
    /// shows already cannot be taken back. Otherwise writes are refused until a sync succeeds.
    fn sync_failed(&self, server: &Server, f: &mut AppendFile, e: &io::Error) {
        let policy = server.config.appendfsync();
        if policy == appendfsync::ALWAYS && !self.may_not_sync(server) {
            crate::log_warning!(
                "Can't persist AOF for fsync error when the AOF fsync policy is 'always': {}. Exiting...",
                super::os_text(e)
            );
            std::process::exit(1);
        }
        // Once more in a second; with `no` there is no other try to wait for.
        f.synced_size = u64::MAX;
        let errno = match policy {
            appendfsync::NO => 0,
            _ => e.raw_os_error().unwrap_or(libc::EIO),
        };
        if self.sync_error.swap(errno, Relaxed) == 0 {
            crate::log_warning!("Fail to fsync the AOF file: {}", super::os_text(e));
        }
    }

    fn may_not_sync(&self, server: &Server) -> bool {
        server.config.no_appendfsync_on_rewrite()
            && (self.rewriting.runs() || server.persistence.saving.load(Relaxed))
    }

    /// `always`: writes and syncs what has come together.
    fn commit(&self, server: &Server) {
        let mut f = self.file.lock();
        if !f.retired.is_empty() {
            // The log has changed over since the last look: what it wrote before comes first.
            return;
        }
        self.write_locked(server, &mut f, true);
        let Some(file) = f.file.clone() else { return };
        if f.synced_size != f.size && !self.may_not_sync(server) {
            let begin = mono_ns();
            if let Err(e) = file.sync_data() {
                return self.sync_failed(server, &mut f, &e);
            }
            let ms = (mono_ns() - begin) / 1_000_000;
            server.latency.add_if_slow(&server.config, "aof-fsync-always", ms);
            f.synced_size = f.size;
            f.last_sync = now_ms();
        }
        let end = f.end.max(self.written.load(SeqCst));
        if f.synced_size == f.size {
            self.synced.fetch_max(end, SeqCst);
        }
        self.safe.fetch_max(end, SeqCst);
        drop(f);
        self.wake_waiting(end);
    }

    /// `everysec`: syncs if that is due. Returns how long to sleep; `None` until somebody writes.
    fn sync_in_background(&self, server: &Server) -> Option<Duration> {
        let (file, end) = {
            let mut f = self.file.lock();
            let file = f.file.clone()?;
            if !f.retired.is_empty() {
                // As in `commit`.
                return Some(Duration::ZERO);
            }
            if f.synced_size == f.size {
                let end = self.written.load(SeqCst);
                drop(f);
                self.synced.fetch_max(end, SeqCst);
                self.wake_waiting(end);
                return None;
            }
            let now = now_ms();
            if now - f.last_sync < SYNC_EVERY {
                return Some(Duration::from_millis((f.last_sync + SYNC_EVERY - now) as u64));
            }
            f.last_sync = now;
            if self.may_not_sync(server) {
                return Some(Duration::from_millis(SYNC_EVERY as u64));
            }
            f.syncing = true;
            f.synced_size = f.size;
            (file, self.written.load(SeqCst))
        };
        let result = file.sync_data();
        let mut f = self.file.lock();
        f.syncing = false;
        match result {
            Ok(()) => {
                self.sync_error.store(0, Relaxed);
                self.synced.fetch_max(end, SeqCst);
                drop(f);
                self.wake_waiting(end);
            }
            Err(e) => {
                self.sync_failed(server, &mut f, &e);
            }
        }
        self.write_if_needed(server);
        Some(Duration::ZERO)
    }

    fn sleep(&self, longest: Option<Duration>) {
        let mut poked = self.poked.lock();
        while !*poked {
            match longest {
                Some(d) if self.signal.wait_for(&mut poked, d).timed_out() => break,
                Some(_) => {}
                None => self.signal.wait(&mut poked),
            }
        }
        *poked = false;
    }

    fn run(&self, server: &'static Server) {
        loop {
            // Set before looking: who appends after the look finds it and wakes us.
            self.asleep.store(true, SeqCst);
            self.sync_retired(server);
            let longest = match (self.state(), server.config.appendfsync()) {
                (state::OFF, _) => None,
                (_, appendfsync::ALWAYS) => {
                    if self.safe.load(SeqCst) < server.log.offset() || self.unsynced() {
                        self.asleep.store(false, SeqCst);
                        self.commit(server);
                        continue;
                    }
                    None
                }
                (_, appendfsync::EVERYSEC) => self.sync_in_background(server),
                _ => None,
            };
            if longest.is_some() {
                // The time is known: a write needs not wake us.
                self.asleep.store(false, SeqCst);
            }
            if longest != Some(Duration::ZERO) {
                self.sleep(longest);
            }
        }
    }

    fn unsynced(&self) -> bool {
        let f = self.file.lock();
        f.file.is_some() && f.synced_size != f.size && !self.may_not_sync(Server::get())
    }
}

/// Writes all of it. The error comes with the number of bytes that were written before.
fn write_all(mut file: &File, bytes: &[u8]) -> Result<(), (usize, io::Error)> {
    let mut done = 0;
    while done < bytes.len() {
        match file.write(&bytes[done..]) {
            Ok(0) => return Err((done, io::Error::from_raw_os_error(libc::ENOSPC))),
            Ok(n) => done += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err((done, e)),
        }
    }
    Ok(())
}

fn start_thread() {
    static STARTED: AtomicBool = AtomicBool::new(false);
    if !STARTED.swap(true, SeqCst) {
        let server = Server::get();
        std::thread::Builder::new()
            .name("aof".into())
            .spawn(move || server.aof.run(server))
            .expect("the system gives us a thread");
    }
}

/// Opens an incremental file for more.
pub(super) fn open(server: &Server, name: &[u8], fresh: bool) -> Result<(File, u64), ()> {
    let mut options = File::options();
    options.append(true).create(true);
    let path = in_folder(server, name);
    let opened = if fresh {
        File::options()
            .write(true)
            .truncate(true)
            .create(true)
            .open(&path)
            .and_then(|_| options.open(&path))
    } else {
        options.open(&path)
    };
    let opened = opened.and_then(|f| Ok((f.metadata()?.len(), f)));
    match opened {
        Ok((size, f)) => Ok((f, size)),
        Err(e) => {
            crate::log_warning!(
                "Can't open the append-only file {}: {}",
                shown(name),
                super::os_text(&e)
            );
            Err(())
        }
    }
}
