//! The cut's protocol, model-checked: shuttle chooses the schedules, the code under test is the server's own
//! `snapshot::walk::Walk`, `lock::held::HeldSet` and `lock::native::acquire`.
//!
//! The model has two databases of two shards, a module lock, native writers over several keys, a module that writes keys
//! one after the other in one unit and swaps the databases, and a background thread that walks the shards, one entry at
//! each taking of a latch; one key is huge, so it is read without the latch. Every command moves units from one key to
//! another. The cut is taken by the holder of the module lock while it has all latches. What is written must be every key
//! once, with its database and value at the cut; and the marks must be in order for the next cut, so a second one
//! follows.
use backplane::lock::held::{Access, HeldSet};
use backplane::lock::native::{acquire, Latches, PlannedKey};
use backplane::snapshot::Walk;
use shuttle::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use shuttle::sync::{Arc, Condvar, Mutex};
use shuttle::thread;
use std::cell::UnsafeCell;

const DBS: usize = 2;
const SHARDS: usize = 2;
const KEYS: usize = 3;
/// Read without the latch.
const HUGE: usize = 2;
const SUM: i64 = (100 * DBS * KEYS) as i64;

/// Of all databases, as the server numbers them.
fn shard_of(db: usize, key: usize) -> u32 {
    (db * SHARDS + key % SHARDS) as u32
}

#[derive(Default)]
struct Latch {
    taken: Mutex<bool>,
    free: Condvar,
}

impl Latch {
    fn try_lock(&self) -> bool {
        !std::mem::replace(&mut *self.taken.lock().unwrap(), true)
    }

    fn lock(&self) {
        let mut t = self.taken.lock().unwrap();
        while *t {
            t = self.free.wait(t).unwrap();
        }
        *t = true;
    }

    fn unlock(&self) {
        *self.taken.lock().unwrap() = false;
        self.free.notify_one();
    }
}

/// An entry: key, value, mark. Boxed as on the server: it stays while the table changes.
struct Entry {
    key: usize,
    value: UnsafeCell<i64>,
    mark: bool,
}

#[derive(Default)]
struct Data {
    // Entries keep their addresses when the table grows.
    #[allow(clippy::vec_box)]
    table: Vec<Box<Entry>>,
    held: HeldSet,
    walk: Walk<()>,
    /// Keys with the values that they had before they changed, and their database at the cut.
    before: Vec<(u16, usize, i64)>,
}

#[derive(Default)]
struct Shard {
    latch: Latch,
    data: UnsafeCell<Data>,
}

struct World {
    shards: Vec<Shard>,
    module: Latch,
    /// What is in the file.
    file: Mutex<Vec<(u16, usize, i64)>>,
    /// What the keyspace was at the cut.
    cut: Mutex<Vec<(u16, usize, i64)>>,
    walking: AtomicBool,
    /// Shards whose values may be due.
    natives_left: AtomicUsize,
    /// Whether writers write before they change: without it the model must fail.
    hooked: bool,
}

// SAFETY: lock: the protocol under test is what makes this true; the assertions would see it broken.
unsafe impl Sync for World {}
// SAFETY: lock: as above.
unsafe impl Send for World {}

impl Latches for World {
    fn try_latch(&self, shard: u32) -> bool {
        self.shards[shard as usize].latch.try_lock()
    }

    fn latch(&self, shard: u32) {
        self.shards[shard as usize].latch.lock();
    }

    fn unlatch(&self, shard: u32) {
        self.shards[shard as usize].latch.unlock();
    }

    fn conflicts(&self, key: &PlannedKey) -> bool {
        self.data(key.shard).held.conflicts(key.hash, key.access)
    }
}

impl World {
    fn new(hooked: bool) -> Arc<World> {
        let world = World {
            shards: (0..DBS * SHARDS).map(|_| Shard::default()).collect(),
            module: Latch::default(),
            file: Mutex::default(),
            cut: Mutex::default(),
            walking: AtomicBool::new(false),
            natives_left: AtomicUsize::new(0),
            hooked,
        };
        for db in 0..DBS {
            for key in 0..KEYS {
                let mark = world.data(shard_of(db, key)).walk.mark();
                let entry = Entry { key, value: UnsafeCell::new(100), mark };
                world.data(shard_of(db, key)).table.push(Box::new(entry));
            }
        }
        Arc::new(world)
    }

    #[allow(clippy::mut_from_ref)]
    fn data(&self, shard: u32) -> &mut Data {
        // SAFETY: lock: callers have the latch.
        unsafe { &mut *self.shards[shard as usize].data.get() }
    }

    /// `cut::before_change`: the caller has the latch.
    fn before_change(&self, shard: u32, key: usize) {
        let data = self.data(shard);
        let Some(e) = data.table.iter_mut().find(|e| e.key == key) else { return };
        if self.hooked && data.walk.is_due(e.mark) {
            e.mark = data.walk.mark();
            // SAFETY: lock: the latch is taken.
            data.before.push((data.walk.origin, key, unsafe { *e.value.get() }));
        }
    }

    /// Takes a key out and puts it back as a new entry, as a command that replaces a value does.
    fn change(&self, shard: u32, key: usize, by: i64) {
        let data = self.data(shard);
        let at = data.table.iter().position(|e| e.key == key).expect("all keys are there");
        let old = data.table.swap_remove(at);
        // SAFETY: lock: the latch is taken.
        let value = unsafe { *old.value.get() } + by;
        let mark = data.walk.mark();
        data.table.push(Box::new(Entry { key, value: UnsafeCell::new(value), mark }));
    }

    /// A native command that moves a unit, in one database. It comes back while a key is held or being saved.
    fn native(&self, db: usize, from: usize, to: usize) {
        let mut shards = vec![shard_of(db, from), shard_of(db, to)];
        shards.sort_unstable();
        shards.dedup();
        let planned = [from, to].map(|k| PlannedKey {
            shard: shard_of(db, k),
            hash: k as u64,
            access: Access::Write,
        });
        loop {
            match acquire(self, &shards, &planned) {
                Ok(()) => break,
                Err(shard) => {
                    self.unlatch(shard);
                    thread::yield_now();
                }
            }
        }
        for (key, by) in [(from, -1), (to, 1)] {
            self.before_change(shard_of(db, key), key);
            self.change(shard_of(db, key), key, by);
        }
        for s in shards {
            self.unlatch(s);
        }
    }

    /// A module's unit: it touches its keys one after the other.
    fn module_move(&self, db: usize, from: usize, to: usize) {
        self.module.lock();
        let mut touched = Vec::new();
        for (key, by) in [(from, -1), (to, 1)] {
            let shard = shard_of(db, key);
            self.latch(shard);
            self.data(shard).held.hold(key as u64, Access::Write);
            touched.push(shard);
            while self.data(shard).held.saving() == Some(key as u64) {
                self.unlatch(shard);
                thread::yield_now();
                self.latch(shard);
            }
            self.before_change(shard, key);
            self.change(shard, key, by);
            self.unlatch(shard);
        }
        self.release(touched);
        self.module.unlock();
    }

    fn release(&self, touched: Vec<u32>) {
        for shard in touched {
            self.latch(shard);
            self.data(shard).held.clear();
            self.unlatch(shard);
        }
    }

    /// `SWAPDB`
    fn swap(&self) {
        self.module.lock();
        let all: Vec<u32> = (0..(DBS * SHARDS) as u32).collect();
        for &shard in &all {
            self.latch(shard);
            self.data(shard).held.hold_whole(Access::Write);
            while self.data(shard).held.saving().is_some() {
                self.unlatch(shard);
                thread::yield_now();
                self.latch(shard);
            }
            self.unlatch(shard);
        }
        for i in 0..SHARDS as u32 {
            let (x, y) = (i, i + SHARDS as u32);
            self.latch(x);
            self.latch(y);
            let (a, b) = (self.data(x), self.data(y));
            std::mem::swap(&mut a.table, &mut b.table);
            std::mem::swap(&mut a.walk, &mut b.walk);
            std::mem::swap(&mut a.before, &mut b.before);
            self.unlatch(x);
            self.unlatch(y);
        }
        self.release(all);
        self.module.unlock();
    }

    /// `cut::begin`
    fn take_cut(&self) {
        self.module.lock();
        for s in 0..(DBS * SHARDS) as u32 {
            self.latch(s);
        }
        let mut state = Vec::new();
        for s in 0..(DBS * SHARDS) as u32 {
            let data = self.data(s);
            let db = (s as usize / SHARDS) as u16;
            // SAFETY: lock: all latches are taken.
            state.extend(data.table.iter().map(|e| (db, e.key, unsafe { *e.value.get() })));
            let any = !data.table.is_empty();
            data.walk.begin((), db, any, false);
            self.natives_left.fetch_add(usize::from(any), Ordering::SeqCst);
        }
        let sum: i64 = state.iter().map(|v| v.2).sum();
        assert_eq!(sum, SUM, "the cut is in the middle of a command");
        state.sort_unstable();
        *self.cut.lock().unwrap() = state;
        self.walking.store(true, Ordering::SeqCst);
        for s in 0..(DBS * SHARDS) as u32 {
            self.unlatch(s);
        }
        self.module.unlock();
    }

    /// `Walker::step`
    fn step(&self, shard: u32) {
        if !self.shards[shard as usize].latch.try_lock() {
            return;
        }
        let data = self.data(shard);
        if !data.walk.natives_left() {
            return self.unlatch(shard);
        }
        let mut out: Vec<_> = std::mem::take(&mut data.before);
        let (mark, origin) = (data.walk.mark(), data.walk.origin);
        let mut huge: Option<(usize, *const Entry)> = None;
        match data.table.iter_mut().find(|e| e.mark != mark) {
            None => {
                data.walk.natives_done();
                self.natives_left.fetch_sub(1, Ordering::SeqCst);
            }
            Some(_) if data.held.whole_for_writing() => {}
            Some(e) => {
                e.mark = mark;
                if e.key == HUGE {
                    huge = Some((e.key, std::ptr::from_ref(&**e)));
                    data.held.save(e.key as u64);
                } else {
                    // SAFETY: lock: the latch is taken.
                    out.push((origin, e.key, unsafe { *e.value.get() }));
                }
            }
        }
        self.unlatch(shard);
        if let Some((key, e)) = huge {
            thread::yield_now();
            // SAFETY: lock: the key is being saved: nobody changes it or takes it away.
            out.push((origin, key, unsafe { *(*e).value.get() }));
            thread::yield_now();
            self.latch(shard);
            self.data(shard).held.saved();
            self.unlatch(shard);
        }
        self.file.lock().unwrap().extend(out);
    }

    /// The background thread, until nothing is due.
    fn walk(&self) {
        while !self.walking.load(Ordering::SeqCst) {
            thread::yield_now();
        }
        let all = 0..(DBS * SHARDS) as u32;
        loop {
            for s in all.clone() {
                self.step(s);
            }
            // Counted, not looked for: a swap may have moved something behind us.
            if self.natives_left.load(Ordering::SeqCst) == 0 {
                break;
            }
            thread::yield_now();
        }
        let mut file = std::mem::take(&mut *self.file.lock().unwrap());
        file.sort_unstable();
        assert_eq!(file, *self.cut.lock().unwrap(), "the file is not the moment of the cut");
        self.walking.store(false, Ordering::SeqCst);
    }
}

fn model(hooked: bool) {
    let world = World::new(hooked);
    let run = |body: fn(&World)| {
        let w = world.clone();
        thread::spawn(move || body(&w))
    };
    let threads = [
        run(|w| {
            w.native(0, 0, 1);
            w.native(1, HUGE, 0);
            w.native(0, 1, HUGE);
        }),
        run(|w| {
            w.native(1, 1, 0);
            w.native(0, HUGE, 1);
        }),
        run(|w| {
            w.module_move(0, 1, HUGE);
            w.swap();
            w.module_move(1, 0, 1);
            w.swap();
        }),
        run(|w| {
            w.take_cut();
            w.walk();
            w.take_cut();
            w.walk();
        }),
    ];
    for t in threads {
        t.join().unwrap();
    }
    for s in 0..(DBS * SHARDS) as u32 {
        let data = world.data(s);
        assert!(data.walk.cut().is_none() && data.before.is_empty() && data.held.is_empty());
        assert!(data.table.iter().all(|e| e.mark == data.walk.mark()), "a mark is left behind");
    }
}

#[test]
fn random_schedules() {
    shuttle::check_random(|| model(true), 10_000);
}

#[test]
fn adversarial_schedules() {
    shuttle::check_pct(|| model(true), 5_000, 4);
}

/// The model can fail: when writers do not write before they change, the file shows another moment.
#[test]
fn finds_a_missing_hook() {
    let result = std::panic::catch_unwind(|| shuttle::check_random(|| model(false), 1_000));
    assert!(result.is_err(), "the model does not notice a missing hook");
}
