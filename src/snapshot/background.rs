//! The background threads of a snapshot, and the slices in which the module thread writes the values of modules. The
//! theory is in [`super::cut`].
use super::cut::{self, Cut, Failure, Item, Wanted, HUGE};
use super::pace::Pace;
use super::sink::Batch;
use super::{encode, save, Writer};
use crate::keyspace::entry::Entry;
use crate::keyspace::shard::{hash_bytes, Shard};
use crate::keyspace::value::Kind;
use crate::observe::clock::mono_ns;
use crate::server::Server;
use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::Arc;
use std::time::Duration;

/// Entries that are copied at one taking of a latch, and bytes of them.
const STEP_ENTRIES: usize = 32;
/// See [`STEP_ENTRIES`].
const STEP_BYTES: usize = 8 << 10;
/// Compressed bytes that a thread collects before it goes to the file.
const PIECE: usize = 128 << 10;
/// A slice of module values takes about this long, in nanoseconds.
const SLICE_NS: u64 = 500_000;
/// Places of a table that are searched for module values at one taking of its latch.
const PLACES: u32 = 64;
/// So long the walk waits in line for a latch before it looks what others wait for.
const IN_LINE: Duration = Duration::from_millis(1);
/// See [`Walker::delay`].
const LEAST_SLEEP_NS: u64 = 500_000;
/// Serving threads per background thread.
const SERVING_PER_WALKER: usize = 4;

/// What became of one step in a shard.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    /// No native value is due any more.
    Done,
    /// There are more.
    More,
    /// Somebody has the latch.
    Busy,
    /// Somebody holds the shard: later.
    Later,
}

/// One background thread.
struct Walker<'a> {
    server: &'static Server,
    cut: &'a Cut,
    /// What was copied under a latch.
    batch: Batch,
    /// Entries at the places of a table that are looked at together.
    found: Vec<Entry>,
    pace: Pace,
    /// What is left of [`Walker::delay`].
    owed_ns: u64,
    /// Compressed, of one database, on its way to the file.
    ready: Writer,
    ready_db: u16,
    ready_keys: u64,
}

/// Writes everything that is due, then `tail`, and closes the file. The body of the background thread.
pub(super) fn run(server: &'static Server, cut: &Arc<Cut>, tail: &[u8]) -> Result<(), Failure> {
    let next = AtomicUsize::new(0);
    Pace::begin_thread();
    let serving = server.config.server_threads().max(1);
    std::thread::scope(|scope| {
        for _ in 1..serving.div_ceil(SERVING_PER_WALKER) {
            let builder = std::thread::Builder::new().name("snapshot".into());
            // Without it there is one thread less.
            let _ = builder.spawn_scoped(scope, || {
                Pace::begin_thread();
                Walker::new(server, cut).walk(&next);
            });
        }
        Walker::new(server, cut).walk(&next);
    });
    let mut walker = Walker::new(server, cut);
    loop {
        walker.serve();
        if cut.natives_left.load(SeqCst) > 0 {
            // Databases that were swapped meanwhile have moved what is due behind the threads.
            walker.walk_all(cut::shards(server).collect());
            continue;
        }
        if cut.modules.left.load(SeqCst) == 0 && cut.none_in_flight() {
            break;
        }
        cut.wait(Duration::from_millis(10));
    }
    walker.serve();
    walker.flush();
    let sink = cut.sink.lock().take();
    cut::forget();
    if let Some(why) = cut.failure() {
        return Err(why);
    }
    let Some(mut sink) = sink else { return Err(Failure::Aborted) };
    sink.plain().raw(tail);
    let result = sink.finish().map_err(|e| Failure::Error(super::control::os_text(&e)));
    // Called off while the file was brought to the disk: that counts too.
    cut.failure().map_or(result, Err)
}

/// Takes a latch; `meanwhile` is done now and then while somebody else has it, who may wait for just that.
fn walker_latch(shard: &Shard, mut meanwhile: impl FnMut()) {
    while !shard.latch.try_lock_for(IN_LINE) {
        meanwhile();
    }
}

impl<'a> Walker<'a> {
    fn new(server: &'static Server, cut: &'a Cut) -> Walker<'a> {
        Walker {
            server,
            cut,
            batch: Batch::new(0, &cut.how),
            found: Vec::new(),
            pace: Pace::new(),
            owed_ns: 0,
            ready: Writer::to_memory(cut.how.compress),
            ready_db: 0,
            ready_keys: 0,
        }
    }

    /// Walks over shards that no other thread walks over, as `next` counts them.
    fn walk(&mut self, next: &AtomicUsize) {
        /// Shards that are walked in turns: whoever waits for a latch gets it before the thread comes back to it.
        const TURNS: usize = 16;
        let shards: Vec<_> = cut::shards(self.server).collect();
        loop {
            let from = next.fetch_add(TURNS, Relaxed);
            let Some(some) = shards.get(from..(from + TURNS).min(shards.len())) else { break };
            if some.is_empty() {
                break;
            }
            self.walk_all(some.to_vec());
        }
        self.flush();
    }

    fn walk_all(&mut self, mut shards: Vec<&'static Shard>) {
        while !shards.is_empty() {
            let (mut progress, mut busy) = (false, false);
            shards.retain(|shard| {
                self.serve();
                let step = self.step(shard, None);
                self.pace.breathe();
                progress |= matches!(step, Step::Done | Step::More);
                busy |= step == Step::Busy;
                step != Step::Done
            });
            if progress {
                continue;
            }
            if !busy {
                self.cut.wait(Duration::from_millis(1));
                continue;
            }
            // All that is left is in use all the time: the walk gets in line there.
            shards.retain(|shard| {
                self.serve();
                self.step(shard, Some(IN_LINE)) != Step::Done
            });
        }
    }

    /// Does what others wait for.
    fn serve(&mut self) {
        self.serve_queue();
        self.serve_modules();
        for w in self.cut.take_wanted() {
            self.wanted(&w);
        }
    }

    /// The module thread stopped because too much waited to be written.
    fn serve_modules(&self) {
        if self.cut.modules.stalled.swap(false, SeqCst) {
            let server = self.server;
            server.queue.task(Box::new(move || slice(server)));
        }
    }

    fn orphans(&mut self, db: u16, entries: Vec<Entry>) {
        for e in entries {
            if !self.cut.is_stopped() {
                self.select(db);
                self.batch.add(e, &self.cut.how);
                if self.batch.bytes() >= PIECE {
                    self.settle();
                }
            }
            e.free();
        }
        self.settle();
    }

    fn select(&mut self, db: u16) {
        if self.batch.db != db {
            self.settle();
            self.batch.db = db;
        }
    }

    /// Compresses what was copied; brings it to the file when it is enough.
    fn settle(&mut self) {
        let db = self.batch.db;
        if db != self.ready_db {
            self.flush_ready();
            self.ready_db = db;
        }
        self.ready_keys += self.batch.settle_into(&mut self.ready);
        if self.ready.buffered() >= PIECE || self.ready.failed() {
            self.flush_ready();
        }
    }

    fn flush(&mut self) {
        self.settle();
        self.flush_ready();
    }

    fn flush_ready(&mut self) {
        if let Some(e) = self.ready.take_error() {
            self.cut.fail(Failure::Error(super::control::os_text(&e)));
        }
        if self.ready.is_empty() {
            return;
        }
        if !self.cut.is_stopped() {
            if let Some(sink) = &mut *self.cut.sink.lock() {
                let out = sink.of_db(self.ready_db);
                out.raw(self.ready.bytes());
                if let Some(e) = out.take_error() {
                    self.cut.fail(Failure::Error(super::control::os_text(&e)));
                }
            }
        }
        self.cut.count(std::mem::take(&mut self.ready_keys));
        self.ready.clear();
    }

    /// Copies some due values of a shard; waits so long for its latch, if at all.
    fn step(&mut self, shard: &'static Shard, patience: Option<Duration>) -> Step {
        let latch = &shard.latch;
        if !(latch.try_lock() || patience.is_some_and(|most| latch.try_lock_for(most))) {
            return Step::Busy;
        }
        // SAFETY: lock: taken above, released below.
        let data = unsafe { shard.data() };
        if !data.walk.natives_left() {
            // SAFETY: lock: taken above.
            unsafe { shard.latch.unlock() };
            return Step::Done;
        }
        let before = data.before.take();
        let (mark, origin) = (data.walk.mark(), data.walk.origin);
        self.select(origin);
        let cut = self.cut;
        let stopped = cut.is_stopped();
        let slowly = self.server.config.rdb_key_save_delay() != 0;
        let most = if slowly { 1 } else { STEP_ENTRIES };
        let mut huge: Option<Entry> = None;
        let keys = self.batch.keys;
        // First all are fetched, at the same time, then they are looked at.
        let mut cursor = data.walk.cursor;
        self.found.clear();
        loop {
            let found = &mut self.found;
            cursor = data.table.scan(cursor, |e: Entry| {
                e.prefetch();
                found.push(e);
            });
            if cursor == 0 || found.len() >= most {
                break;
            }
        }
        let mut all = true;
        for &e in &self.found {
            if e.mark() == mark || e.kind() == Kind::Module {
                continue;
            }
            let full = self.batch.bytes() >= STEP_BYTES || (slowly && self.batch.keys > keys);
            if full && !stopped {
                all = false;
                break;
            }
            if !stopped && encode::cost(&e.value()) > HUGE {
                huge = Some(e);
                all = false;
                break;
            }
            e.set_mark(mark);
            if !stopped {
                self.batch.add(e, &cut.how);
            }
        }
        // Otherwise it stays: there are others at these places.
        if all {
            data.walk.cursor = cursor;
            if cursor == 0 {
                data.walk.natives_done();
                cut.natives_left.fetch_sub(1, SeqCst);
            }
        }
        let done = !data.walk.natives_left();
        let mut step = if done { Step::Done } else { Step::More };
        let held = match huge {
            // A flush or a swap of databases is under way: the entry may leave this shard.
            Some(_) if data.held.whole_for_writing() => {
                step = Step::Later;
                None
            }
            Some(e) => {
                e.set_mark(mark);
                data.held.save(hash_bytes(e.key()));
                Some(e)
            }
            None => None,
        };
        // SAFETY: lock: taken above.
        unsafe { shard.latch.unlock() };
        let copied = self.batch.keys - keys;
        self.settle();
        if let Some(before) = before {
            self.batch = *before;
            self.settle();
        }
        if let Some(e) = held {
            self.save_huge(shard, origin, e);
        }
        if slowly {
            self.delay(copied);
        }
        step
    }

    /// Writes a value without the latch. The entry is marked, and its key is being saved.
    fn save_huge(&mut self, shard: &Shard, db: u16, e: Entry) {
        self.flush();
        if let Some(sink) = &mut *self.cut.sink.lock() {
            let out = sink.of_db(db);
            save::entry(out, e, usize::from(db), &self.cut.how);
            if let Some(e) = out.take_error() {
                self.cut.fail(Failure::Error(super::control::os_text(&e)));
            }
        }
        self.cut.count(1);
        walker_latch(shard, || self.serve_queue());
        // SAFETY: lock: taken on the line above, released below.
        let data = unsafe { shard.data() };
        data.held.saved();
        let waiters = std::mem::take(&mut data.waiters);
        // SAFETY: lock: taken above.
        unsafe { shard.latch.unlock() };
        waiters.into_iter().for_each(std::task::Waker::wake);
        cut::tell_saved();
    }

    /// As [`Walker::serve`], without what takes further latches.
    fn serve_queue(&mut self) {
        for item in self.cut.take_queue() {
            match item {
                Item::Batch(batch) => {
                    self.batch = *batch;
                    self.settle();
                }
                Item::Orphans(db, entries) => self.orphans(db, entries),
            }
        }
    }

    /// A native command waits for this value.
    fn wanted(&mut self, w: &Wanted) {
        let shard = self.server.keyspace.shard(w.shard);
        walker_latch(shard, || self.serve_queue());
        // SAFETY: lock: taken on the line above, released below.
        let data = unsafe { shard.data() };
        let due = |e: &Entry| data.walk.is_due(e.mark()) && e.kind() != Kind::Module;
        let found = data.find(w.hash, &w.key).filter(due);
        let free = data.held.saving().is_none() && !data.held.whole_for_writing();
        let found = found.filter(|_| free && !self.cut.is_stopped());
        if let Some(e) = found {
            e.set_mark(data.walk.mark());
            data.held.save(w.hash);
        }
        let origin = data.walk.origin;
        let waiters = match found {
            Some(_) => Vec::new(),
            // Written meanwhile, or not now: the command looks again.
            None => std::mem::take(&mut data.waiters),
        };
        // SAFETY: lock: taken above.
        unsafe { shard.latch.unlock() };
        waiters.into_iter().for_each(std::task::Waker::wake);
        if let Some(e) = found {
            self.save_huge(shard, origin, e);
        }
    }

    /// `rdb-key-save-delay`, which tests use to make saves slow: microseconds for each key, or keys for each microsecond.
    /// Short times are put together: each sleep takes longer than what was asked for, on a busy machine much longer.
    fn delay(&mut self, keys: u64) {
        let delay = || self.server.config.rdb_key_save_delay();
        self.owed_ns += match delay() {
            us @ 0.. => keys.saturating_mul(us as u64).saturating_mul(1000),
            keys_per_us => keys * 1000 / keys_per_us.unsigned_abs(),
        };
        if self.owed_ns < LEAST_SLEEP_NS {
            return;
        }
        let begin = mono_ns();
        loop {
            let left = self.owed_ns.saturating_sub(mono_ns() - begin);
            if left == 0 || self.cut.is_stopped() || delay() == 0 {
                break;
            }
            self.cut.wait(Duration::from_nanos(left.min(20_000_000)));
            self.serve_queue();
        }
        self.owed_ns = 0;
    }
}

/// How far the values of modules are. Changed under the module lock.
#[derive(Default)]
pub(super) struct ModuleWalk {
    /// Shards whose module values may be due, and those of which the last are being written.
    pub left: AtomicUsize,
    /// The next slice is posted when what waits to be written was written.
    stalled: AtomicBool,
    place: Mutex<Place>,
}

#[derive(Default)]
struct Place {
    shard: usize,
}

/// Posts the first slice, if there are module values. The calling thread has the module lock.
pub(super) fn begin_modules(server: &'static Server, cut: &Cut) {
    if cut.modules.left.load(SeqCst) > 0 {
        server.queue.task(Box::new(move || slice(server)));
    }
}

/// Writes some values of modules: a task of the module thread, under the module lock.
fn slice(server: &'static Server) {
    let Some(cut) = cut::current() else { return };
    if cut.modules.left.load(SeqCst) == 0 {
        return;
    }
    let mut place = cut.modules.place.lock();
    let shards: Vec<_> = cut::shards(server).collect();
    let begin = mono_ns();
    let mut batch: Option<Box<Batch>> = None;
    let mut told = false;
    let mut finished_shards = 0;
    let over = loop {
        if finished_shards == cut.modules.left.load(SeqCst) {
            break true;
        }
        if place.shard >= shards.len() {
            // Databases that were swapped have moved something behind us.
            place.shard = 0;
        }
        let Some((values, origin, finished)) = due_values(shards[place.shard]) else {
            place.shard += 1;
            continue;
        };
        if !values.is_empty() && !cut.is_stopped() {
            if !std::mem::replace(&mut told, true) {
                cut::fire(cut.how.start_event());
            }
            if let Some(other) = batch.take_if(|b| b.db != origin) {
                cut.push(Item::Batch(other));
            }
            let batch = batch.get_or_insert_with(|| Box::new(Batch::new(origin, &cut.how)));
            for e in values {
                // No native changes a module's value, and the module lock is ours: the entry stays.
                batch.add(e, &cut.how);
            }
        }
        if finished {
            place.shard += 1;
            finished_shards += 1;
        }
        if mono_ns() - begin > SLICE_NS {
            break false;
        }
    };
    drop(place);
    if told {
        cut::fire_end(!batch.as_ref().is_some_and(|b| b.failed()));
    }
    if let Some(batch) = batch {
        cut.push(Item::Batch(batch));
    }
    // Now, that they are where the background threads find them.
    cut.modules.left.fetch_sub(finished_shards, SeqCst);
    if over {
        cut.signal();
    } else if cut.is_full() {
        cut.modules.stalled.store(true, SeqCst);
        cut.signal();
    } else {
        server.queue.task(Box::new(move || slice(server)));
    }
}

/// Marks the due module values at the next place of a shard's table, which the caller writes. Also the database, and
/// whether they are the shard's last. `None` if none is left.
fn due_values(shard: &'static Shard) -> Option<(Vec<Entry>, u16, bool)> {
    shard.latch.lock();
    // SAFETY: lock: taken on the line above, released below.
    let data = unsafe { shard.data() };
    let result = data.walk.modules_left().then(|| {
        let (mark, origin) = (data.walk.mark(), data.walk.origin);
        let mut found = Vec::new();
        let mut looked_at = 0;
        loop {
            looked_at += 1;
            let cursor = data.table.scan(data.walk.module_cursor, |e: Entry| {
                if e.kind() == Kind::Module && e.mark() != mark {
                    e.set_mark(mark);
                    found.push(e);
                }
            });
            data.walk.module_cursor = cursor;
            if cursor == 0 {
                data.walk.modules_done();
            }
            if cursor == 0 || !found.is_empty() || looked_at == PLACES {
                return (found, origin, cursor == 0);
            }
        }
    });
    // SAFETY: lock: taken above.
    unsafe { shard.latch.unlock() };
    result
}
