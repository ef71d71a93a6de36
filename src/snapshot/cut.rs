//! Snapshots without fork: the cut, and what happens when a value is about to change before it was written.
//!
//! **Problem.** A file must show the keyspace as it was at one moment, while all threads go on changing it.
//!
//! **The cut.** The holder of the module lock, between two units, lets modules and functions write what they have beside
//! the keyspace into memory, then takes all latches for a moment ([`Keyspace::stop`]) and turns the marks of all shards
//! over ([`super::walk`]). No command is half done then: natives have their latches from their beginning to their end, and
//! module units keep the module lock. Everything that is in the keyspace at that moment is *due*.
//!
//! **Writing.** Who writes a due value marks it, under the latch:
//! - background threads walk the shards, a few entries at each taking of a latch ([`super::background`]);
//! - whoever reaches a key for a change writes its value first: `Tx::with_shard` calls [`before_change`] or
//!   [`before_change_held`], so no command can forget it. While no snapshot runs this is one test of a field of the
//!   shard. Native values are copied into the shard's own batch, uncompressed; the background takes it along;
//! - the values of modules are written under the module lock alone: by the module thread, a slice now and then, between
//!   other jobs, and by the module lock's holder before it opens such a key for writing. Around each slice modules see
//!   the events of a save, as they would in the forked child of Redis.
//! - a flush of a database gives all due entries to the background threads, which write and free them.
//!
//! **Huge values** take long to write. A background thread reads them without the latch: it marks the key as being saved
//! ([`crate::lock::held::HeldSet::save`]), which lets readers pass and parks native writers of that key. A native writer
//! that finds a huge value due asks for it to be written next and parks as well. The module lock's holder waits, or writes
//! it itself.
//!
//! **Why it ends.** Background threads only try latches, and never take the module lock; while they cannot have a latch
//! they write what others left for them. So whoever waits for them (room for values that are about to change, or the
//! end of the saving of a huge value) waits for somebody who goes on, whatever latches it has. Nothing that was added
//! since the cut is due, so there is less to do each time.
//!
//! **Failure.** When the file cannot be written, or the save is called off, everybody goes on marking, without writing:
//! in the end the marks are what the next cut needs.
//!
//! The protocol is model-checked in `tests/cut_model.rs`; `tests/snapshot.rs` checks it under load with real files.
use super::save::{self, Format, How};
use super::sink::{self, Batch, Sink};
use super::{encode, Writer};
use crate::keyspace::entry::Entry;
use crate::keyspace::shard::{Shard, ShardData};
use crate::keyspace::value::Kind;
use crate::lock::held::Access;
use crate::module::abi;
use crate::observe::clock::mono_ns;
use crate::server::Server;
use parking_lot::{Condvar, Mutex};
use std::path::PathBuf;
use std::sync::atomic::{
    AtomicBool, AtomicU64, AtomicU8, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst,
};
use std::sync::Arc;
use std::time::Duration;

/// Values that cost more than this are written without the latch.
pub(super) const HUGE: usize = 256 << 10;
/// A shard's values that were about to change go to the background threads when there are this many bytes of them.
const SHARD_BATCH: usize = 8 << 10;
/// Slices of module values stop while this much waits to be written.
pub(super) const QUEUE_FULL: usize = 4 << 20;
/// Who is about to change a value waits while this much waits to be written, or a sixteenth of the memory in use.
const LEAST_ROOM: usize = 64 << 20;

/// Why a snapshot has no file.
#[derive(Clone, Debug)]
pub enum Failure {
    /// It was called off.
    Aborted,
    /// The operating system, or a module, failed; the text says where and why.
    Error(String),
}

/// What a snapshot is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Purpose {
    /// `BGSAVE`, and what begins one.
    Save = 1,
    /// The base of an append-only file.
    Rewrite = 2,
    /// Replicas.
    Replicas = 3,
}

/// A snapshot that is wanted.
pub struct Order {
    /// The file, under a name for the time being. Complete and on the disk when `done` is called without a failure;
    /// renaming it is the caller's. Removed after a failure.
    pub path: PathBuf,
    /// What is in the file.
    pub format: Format,
    /// What it is for.
    pub purpose: Purpose,
    /// Called at the cut, while the world is stopped: nobody changes anything, and nobody appends to the log. Short. When
    /// it answers false there is no snapshot ([`Failure::Aborted`]).
    pub at_cut: Box<dyn FnOnce() -> bool + Send>,
    /// Called at the end, on a background thread.
    pub done: Box<dyn FnOnce(Result<(), Failure>) + Send>,
}

/// What others left for the background threads.
pub(super) enum Item {
    Batch(Box<Batch>),
    /// Entries of a database that was emptied: to be written and freed.
    Orphans(u16, Vec<Entry>),
}

/// A huge value that a parked native command is going to change.
pub(super) struct Wanted {
    pub shard: u32,
    pub hash: u64,
    pub key: Vec<u8>,
}

/// A running snapshot.
pub struct Cut {
    pub(super) how: How,
    pub(super) sink: Mutex<Option<Sink>>,
    /// Nothing is written any more, only marked.
    stopped: AtomicBool,
    failure: Mutex<Option<Failure>>,
    queue: Mutex<Vec<Item>>,
    /// Bytes in `queue`.
    queued: AtomicUsize,
    most_queued: usize,
    /// Something changed that somebody may wait for.
    changed: Condvar,
    /// Values marked by the module lock's holder and not written yet.
    in_flight: AtomicUsize,
    wanted: Mutex<Vec<Wanted>>,
    any_wanted: AtomicBool,
    /// Shards whose native values may be due. Counted, not looked for: databases that are swapped move them about.
    pub(super) natives_left: AtomicUsize,
    pub(super) modules: super::background::ModuleWalk,
    /// Keys at the cut.
    pub total: u64,
    written: AtomicU64,
}

/// What the running snapshot is for, 0 without one.
static RUNNING: AtomicU8 = AtomicU8::new(0);
static CURRENT: Mutex<Option<Arc<Cut>>> = Mutex::new(None);
/// Signalled when the saving of a huge value ends.
static SAVED: (Mutex<()>, Condvar) = (Mutex::new(()), Condvar::new());

/// Whether a snapshot runs, or is about to begin.
#[inline]
pub fn running() -> bool {
    RUNNING.load(Relaxed) != 0
}

/// Whether a snapshot for this purpose runs, or is about to begin.
pub fn running_for(purpose: Purpose) -> bool {
    RUNNING.load(Relaxed) == purpose as u8
}

/// Whether a module yields in the middle of a unit: then no cut may be taken. The calling thread has the module lock.
pub fn amid_unit(server: &Server) -> bool {
    // SAFETY: lock: this function's contract.
    unsafe { server.holder() }.yields != 0
}

/// Has the module thread try again in a moment: something that must end first is in the way.
pub fn try_later(server: &'static Server, task: impl FnOnce() + Send + 'static) {
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(5));
        server.queue.task(Box::new(task));
    });
}

/// The running snapshot.
pub fn current() -> Option<Arc<Cut>> {
    CURRENT.lock().clone()
}

/// Calls the running snapshot off, if it is for this purpose. Its end is told as usual.
pub fn abort(purpose: Purpose) {
    if let Some(cut) = current().filter(|_| running_for(purpose)) {
        cut.fail(Failure::Aborted);
    }
}

/// Takes the cut now and writes the file in the background. False if a snapshot runs already. The calling thread has the
/// module lock, and is between two commands: no module has a key open.
pub fn begin(server: &'static Server, order: Order) -> bool {
    let Order { path, format, purpose, at_cut, done } = order;
    if RUNNING.compare_exchange(0, purpose as u8, SeqCst, SeqCst).is_err() {
        return false;
    }
    let how = How::of(server, format);
    let mut tail = Writer::to_memory(how.compress);
    let out = save::file_writer(server, &path, &how).and_then(|mut out| {
        fire(how.start_event());
        save::head(server, &mut out, &how);
        save::tail(&mut tail, &how);
        let failed = out.take_error().or(tail.take_error());
        fire_end(failed.is_none());
        failed.map_or(Ok(out), Err)
    });
    // The thread is there before the cut: without it the cut must not be taken.
    let (send, receive) = std::sync::mpsc::channel::<Arc<Cut>>();
    let done = Arc::new(Mutex::new(Some(done)));
    let end = {
        let path = path.clone();
        move |result: Result<(), Failure>| {
            if result.is_err() {
                let _ = std::fs::remove_file(&path);
            }
            RUNNING.store(0, SeqCst);
            if let Some(done) = done.lock().take() {
                done(result);
            }
        }
    };
    let end_there = end.clone();
    let thread = std::thread::Builder::new().name("snapshot".into()).spawn(move || {
        if let Ok(cut) = receive.recv() {
            end_there(super::background::run(server, &cut, tail.bytes()));
        }
    });
    let out = match (out, thread) {
        (Ok(out), Ok(_)) => out,
        (Err(e), _) | (_, Err(e)) => {
            drop(send);
            end(Err(Failure::Error(super::control::os_text(&e))));
            return true;
        }
    };
    let began = mono_ns();
    let stopped = server.keyspace.stop();
    let sizes = sink::count(&server.keyspace);
    let total = sizes.iter().map(|s| s.0).sum();
    if !at_cut() {
        drop(stopped);
        drop(send);
        end(Err(Failure::Aborted));
        return true;
    }
    let cut = Arc::new(Cut::new(server, how, Sink::new(out, how, sizes), total));
    for (number, db) in server.keyspace.dbs().iter().enumerate() {
        for shard in db.used_shards() {
            // SAFETY: lock: the world is stopped by this thread.
            let data = unsafe { shard.data() };
            let (len, of_modules) = (data.table.len(), data.module_values as usize);
            data.walk.begin(cut.clone(), number as u16, len > of_modules, of_modules > 0);
            cut.natives_left.fetch_add(usize::from(len > of_modules), SeqCst);
            cut.modules.left.fetch_add(usize::from(of_modules > 0), SeqCst);
        }
    }
    drop(stopped);
    // What a fork is to Redis.
    server.stats.forks.add(1);
    server.stats.last_fork_us.store((mono_ns() - began) / 1000, Relaxed);
    *CURRENT.lock() = Some(cut.clone());
    super::background::begin_modules(server, &cut);
    // The receiver is there: the thread waits for this.
    let _ = send.send(cut);
    true
}

/// Tells modules that a save begins, for the time of a batch: they write what they write in a save.
pub(super) fn fire(sub: u64) {
    crate::module::event::server_event(abi::EVENT_PERSISTENCE, sub, std::ptr::null_mut(), None);
}

/// The end of [`fire`].
pub(super) fn fire_end(well: bool) {
    fire(match well {
        true => abi::SUBEVENT_PERSISTENCE_ENDED,
        false => abi::SUBEVENT_PERSISTENCE_FAILED,
    });
}

impl Cut {
    fn new(server: &Server, how: How, sink: Sink, total: u64) -> Cut {
        Cut {
            how,
            sink: Mutex::new(Some(sink)),
            stopped: AtomicBool::new(false),
            failure: Mutex::new(None),
            queue: Mutex::default(),
            queued: AtomicUsize::new(0),
            most_queued: LEAST_ROOM.max(server.used_memory() as usize / 16),
            changed: Condvar::new(),
            in_flight: AtomicUsize::new(0),
            wanted: Mutex::default(),
            any_wanted: AtomicBool::new(false),
            natives_left: AtomicUsize::new(0),
            modules: Default::default(),
            total,
            written: AtomicU64::new(0),
        }
    }

    /// Keys written so far.
    pub fn written(&self) -> u64 {
        self.written.load(Relaxed)
    }

    pub(super) fn count(&self, keys: u64) {
        self.written.fetch_add(keys, Relaxed);
    }

    /// Whether values are marked only, not written.
    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.load(Relaxed)
    }

    /// Makes the snapshot fail. The first reason counts.
    pub(super) fn fail(&self, why: Failure) {
        self.failure.lock().get_or_insert(why);
        self.stopped.store(true, SeqCst);
        self.signal();
    }

    pub(super) fn failure(&self) -> Option<Failure> {
        self.failure.lock().clone()
    }

    /// Wakes whoever waits for the queue to change.
    pub(super) fn signal(&self) {
        let _queue = self.queue.lock();
        self.changed.notify_all();
    }

    /// Waits for a change of the queue, but not for long.
    pub(super) fn wait(&self, most: Duration) {
        let mut queue = self.queue.lock();
        if queue.is_empty() {
            self.changed.wait_for(&mut queue, most);
        }
    }

    /// Whether so much waits to be written that no more should be added without need.
    pub(super) fn is_full(&self) -> bool {
        self.queued.load(Relaxed) >= QUEUE_FULL
    }

    /// Takes what others left.
    pub(super) fn take_queue(&self) -> Vec<Item> {
        if self.queued.load(Relaxed) == 0 {
            return Vec::new();
        }
        let mut queue = self.queue.lock();
        self.queued.store(0, Relaxed);
        self.changed.notify_all();
        std::mem::take(&mut *queue)
    }

    pub(super) fn take_wanted(&self) -> Vec<Wanted> {
        if !self.any_wanted.swap(false, SeqCst) {
            return Vec::new();
        }
        std::mem::take(&mut *self.wanted.lock())
    }

    /// Leaves values for the background threads; waits when they are far behind.
    pub(super) fn push(&self, item: Item) {
        let bytes = match &item {
            Item::Batch(batch) => batch.bytes().max(1),
            Item::Orphans(..) => 1,
        };
        let mut queue = self.queue.lock();
        while self.queued.load(Relaxed) > self.most_queued && !self.is_stopped() {
            self.changed.wait(&mut queue);
        }
        queue.push(item);
        self.queued.fetch_add(bytes, Relaxed);
        self.changed.notify_all();
    }

    /// Nobody is in the middle of writing a value that is marked already.
    pub(super) fn none_in_flight(&self) -> bool {
        self.in_flight.load(SeqCst) == 0
    }

    /// Copies a native value into its shard's batch. The caller has the latch, and has marked the entry.
    fn keep(&self, data: &mut ShardData, e: Entry) {
        if self.is_stopped() {
            return;
        }
        let origin = data.walk.origin;
        let batch = data.before.get_or_insert_with(|| Box::new(Batch::new(origin, &self.how)));
        batch.add(e, &self.how);
        if batch.bytes() >= SHARD_BATCH {
            if let Some(batch) = data.before.take() {
                self.push(Item::Batch(batch));
            }
        }
    }

    /// Writes a value that is marked: the module lock's holder, without a latch, with the key held for writing.
    fn write_held(&self, origin: u16, e: Entry) {
        if e.kind() == Kind::Module {
            let mut batch = Box::new(Batch::new(origin, &self.how));
            fire(self.how.start_event());
            batch.add(e, &self.how);
            fire_end(!batch.failed());
            self.push(Item::Batch(batch));
        } else if let Some(sink) = &mut *self.sink.lock() {
            save::entry(sink.of_db(origin), e, usize::from(origin), &self.how);
            self.count(1);
        }
    }
}

/// A native command is about to change a key: if its value is due, it is written first. The caller has the latch.
#[cold]
pub fn before_change(data: &mut ShardData, hash: u64, key: &[u8]) {
    let Some(e) = data.find(hash, key) else { return };
    // Natives do not change the values of modules.
    if e.kind() == Kind::Module || !data.walk.is_due(e.mark()) {
        return;
    }
    let Some(cut) = data.walk.cut().cloned() else { return };
    e.set_mark(data.walk.mark());
    cut.keep(data, e);
}

/// Waits until no snapshot reads this key without the latch. The caller has the module lock and the latch, and has them
/// again afterwards.
pub fn wait_until_saved(shard: &Shard, hash: u64) {
    // SAFETY: lock: the caller has the latch whenever this is called.
    let is_saving = || unsafe { shard.data() }.held.saving() == Some(hash);
    while is_saving() && !crate::module::fork::in_child() {
        // SAFETY: lock: the caller's latch, taken again below.
        unsafe { shard.latch.unlock() };
        {
            let mut guard = SAVED.0.lock();
            SAVED.1.wait_for(&mut guard, Duration::from_millis(2));
        }
        shard.latch.lock();
    }
}

/// The saving of a huge value has ended.
pub(super) fn tell_saved() {
    let _guard = SAVED.0.lock();
    SAVED.1.notify_all();
}

/// The holder of the module lock is about to change a key: if its value is due, it is written first. The caller has the
/// latch and holds the key for writing; the latch may be released and taken again meanwhile.
#[cold]
pub fn before_change_held(shard: &Shard, hash: u64, key: &[u8]) {
    if crate::module::fork::in_child() {
        return;
    }
    wait_until_saved(shard, hash);
    // SAFETY: lock: the caller has the latch.
    let data = unsafe { shard.data() };
    let Some(e) = data.find(hash, key) else { return };
    if !data.walk.is_due(e.mark()) {
        return;
    }
    let Some(cut) = data.walk.cut().cloned() else { return };
    e.set_mark(data.walk.mark());
    if e.kind() != Kind::Module && encode::cost(&e.value()) <= HUGE {
        return cut.keep(data, e);
    }
    if cut.is_stopped() {
        return;
    }
    let origin = data.walk.origin;
    cut.in_flight.fetch_add(1, SeqCst);
    // SAFETY: lock: the caller's latch, taken again below. The entry stays where it is: the key is held for writing.
    unsafe { shard.latch.unlock() };
    cut.write_held(origin, e);
    cut.in_flight.fetch_sub(1, SeqCst);
    cut.signal();
    shard.latch.lock();
}

/// A native command is going to change these keys, whose latches it has. When one of them has a huge value that is due, it
/// is asked for, and the command has to wait: returns its shard.
#[cold]
pub fn ask_for_huge<'k>(
    server: &Server,
    keys: impl Iterator<Item = (u32, u64, Access, &'k [u8])>,
) -> Option<u32> {
    for (shard, hash, access, key) in keys {
        if access != Access::Write {
            continue;
        }
        // SAFETY: lock: the caller has the latches of all its keys' shards.
        let data = unsafe { server.keyspace.shard(shard).data() };
        let Some(cut) = data.walk.cut().filter(|cut| !cut.is_stopped()) else { continue };
        let huge = |e: &Entry| {
            data.walk.is_due(e.mark())
                && e.kind() != Kind::Module
                && encode::cost(&e.value()) > HUGE
        };
        if data.find(hash, key).filter(huge).is_some() {
            cut.wanted.lock().push(Wanted { shard, hash, key: key.to_vec() });
            cut.any_wanted.store(true, SeqCst);
            cut.signal();
            return Some(shard);
        }
    }
    None
}

/// The entries of a shard that is being emptied, as far as a snapshot is concerned.
pub struct Emptied {
    cut: Arc<Cut>,
    origin: u16,
    mark: bool,
}

impl Emptied {
    /// Called under the latch, before the entries leave the table. `None` if none is due.
    pub fn of(data: &ShardData) -> Option<Emptied> {
        let cut = data.walk.cut()?.clone();
        cut.in_flight.fetch_add(1, SeqCst);
        Some(Emptied { cut, origin: data.walk.origin, mark: data.walk.mark() })
    }

    /// Gives the native entries that are due to the background, which writes and frees them, and writes the values of
    /// modules that are due. Called without the latch, with the module lock.
    pub fn save(self, entries: &mut Vec<Entry>) {
        let (cut, how) = (&self.cut, &self.cut.how);
        if cut.is_stopped() {
            return;
        }
        let of_modules = |e: &&Entry| e.kind() == Kind::Module && e.mark() != self.mark;
        if entries.iter().any(|e| of_modules(&e)) {
            let mut batch = Box::new(Batch::new(self.origin, how));
            fire(how.start_event());
            for e in entries.iter().filter(of_modules) {
                batch.add(*e, how);
                if batch.bytes() >= QUEUE_FULL {
                    let next = Box::new(Batch::new(self.origin, how));
                    cut.push(Item::Batch(std::mem::replace(&mut batch, next)));
                }
            }
            fire_end(!batch.failed());
            cut.push(Item::Batch(batch));
        }
        let (orphans, rest): (Vec<_>, Vec<_>) =
            entries.drain(..).partition(|e| e.kind() != Kind::Module && e.mark() != self.mark);
        *entries = rest;
        if !orphans.is_empty() {
            cut.push(Item::Orphans(self.origin, orphans));
        }
    }
}

impl Drop for Emptied {
    fn drop(&mut self) {
        self.cut.in_flight.fetch_sub(1, SeqCst);
        self.cut.signal();
    }
}

/// Forgets the running snapshot: it has ended.
pub(super) fn forget() {
    *CURRENT.lock() = None;
}

/// All shards in use, with their databases.
pub(super) fn shards(server: &'static Server) -> impl Iterator<Item = &'static Shard> {
    server.keyspace.dbs().iter().flat_map(|db| db.used_shards())
}
