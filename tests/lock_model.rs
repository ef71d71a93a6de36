//! The lock protocol, model-checked: shuttle chooses the schedules, the code under test is the server's own
//! `lock::native::acquire` and `lock::held::HeldSet`.
//!
//! The model has three shards, a module lock, native commands over several keys (some in one shard), module commands that
//! hold keys from first touch to the end of their unit, and a module's own thread that takes the module lock too. Every
//! command moves a unit from one key to another, so the sum of all keys must never be seen to differ; parked natives
//! must be woken; nothing may deadlock (shuttle reports a deadlock as a failure).
use backplane::lock::held::{Access, HeldSet};
use backplane::lock::native::{acquire, Latches, PlannedKey};
use shuttle::sync::{Arc, Condvar, Mutex};
use shuttle::thread;
use std::cell::UnsafeCell;

const SHARDS: usize = 3;
const KEYS: usize = 5;
const SUM: i64 = 100 * KEYS as i64;

fn shard_of(key: usize) -> u32 {
    (key % SHARDS) as u32
}

#[derive(Default)]
struct Latch {
    taken: Mutex<bool>,
    free: Condvar,
}

#[derive(Default)]
struct Shard {
    latch: Latch,
    data: UnsafeCell<ShardData>,
}

#[derive(Default)]
struct ShardData {
    held: HeldSet,
    waiters: Vec<Arc<Waiter>>,
}

#[derive(Default)]
struct Waiter {
    woken: Mutex<bool>,
    signal: Condvar,
}

struct World {
    shards: Vec<Shard>,
    /// The values; who may touch which follows from the protocol under test, not from a lock of its own. Each has a
    /// flag that says somebody is in the middle of changing it.
    values: Vec<UnsafeCell<(i64, bool)>>,
    module: Latch,
}

// SAFETY: lock: the protocol under test is what makes this true; the assertions would see it broken.
unsafe impl Sync for World {}
// SAFETY: lock: as above.
unsafe impl Send for World {}

impl Latch {
    fn try_lock(&self) -> bool {
        let mut t = self.taken.lock().unwrap();
        !std::mem::replace(&mut *t, true)
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
        // SAFETY: lock: `acquire` has the latch.
        unsafe { &*self.shards[key.shard as usize].data.get() }.held.conflicts(key.hash, key.access)
    }
}

impl World {
    fn new() -> Arc<World> {
        Arc::new(World {
            shards: (0..SHARDS).map(|_| Shard::default()).collect(),
            values: (0..KEYS).map(|_| UnsafeCell::new((100, false))).collect(),
            module: Latch::default(),
        })
    }

    /// Changes a value in two steps, with a chance for others to run in between.
    fn add(&self, key: usize, n: i64) {
        // SAFETY: lock: the caller latched or held the key for writing.
        let v = unsafe { &mut *self.values[key].get() };
        assert!(!v.1, "two writers of key {key}");
        v.1 = true;
        let old = v.0;
        thread::yield_now();
        v.0 = old + n;
        v.1 = false;
    }

    fn read(&self, key: usize) -> i64 {
        // SAFETY: lock: the caller latched or held the key.
        let v = unsafe { &*self.values[key].get() };
        assert!(!v.1, "a reader beside a writer of key {key}");
        v.0
    }

    /// A native command: plan, latches, run, release; parked when a key is held.
    fn native(&self, keys: &[(usize, Access)], body: impl Fn(&World)) {
        let mut shards: Vec<u32> = keys.iter().map(|k| shard_of(k.0)).collect();
        shards.sort_unstable();
        shards.dedup();
        let planned: Vec<PlannedKey> = keys
            .iter()
            .map(|&(k, access)| PlannedKey { shard: shard_of(k), hash: k as u64, access })
            .collect();
        loop {
            match acquire(self, &shards, &planned) {
                Ok(()) => {
                    body(self);
                    for s in shards {
                        self.unlatch(s);
                    }
                    return;
                }
                Err(shard) => {
                    let w = Arc::new(Waiter::default());
                    // SAFETY: lock: `acquire` left us this latch.
                    unsafe { &mut *self.shards[shard as usize].data.get() }.waiters.push(w.clone());
                    self.unlatch(shard);
                    let mut woken = w.woken.lock().unwrap();
                    while !*woken {
                        woken = w.signal.wait(woken).unwrap();
                    }
                }
            }
        }
    }

    /// One touch by the holder of the module lock, as `Tx::with_shard` does it.
    fn touch(&self, key: usize, access: Access, touched: &mut Vec<u32>) {
        let s = shard_of(key);
        self.latch(s);
        // SAFETY: lock: latched above.
        if unsafe { &mut *self.shards[s as usize].data.get() }.held.hold(key as u64, access) {
            touched.push(s);
        }
        self.unlatch(s);
    }

    /// The end of a unit, as `Server::release_keys` does it.
    fn release(&self, touched: Vec<u32>) {
        for s in touched {
            self.latch(s);
            // SAFETY: lock: latched above.
            let data = unsafe { &mut *self.shards[s as usize].data.get() };
            data.held.clear();
            let waiters = std::mem::take(&mut data.waiters);
            self.unlatch(s);
            for w in waiters {
                *w.woken.lock().unwrap() = true;
                w.signal.notify_one();
            }
        }
    }

    /// A module command that moves units, touching its keys one after the other.
    fn module_move(&self, from: usize, to: usize) {
        self.module.lock();
        let mut touched = Vec::new();
        self.touch(from, Access::Write, &mut touched);
        self.add(from, -1);
        thread::yield_now();
        self.touch(to, Access::Write, &mut touched);
        self.add(to, 1);
        self.release(touched);
        self.module.unlock();
    }

    /// A module query that reads every key: it must see one state.
    fn module_sum(&self) {
        self.module.lock();
        let mut touched = Vec::new();
        for k in 0..KEYS {
            self.touch(k, Access::Read, &mut touched);
        }
        let sum: i64 = (0..KEYS).map(|k| self.read(k)).sum();
        assert_eq!(sum, SUM, "a module command saw half of a move");
        self.release(touched);
        self.module.unlock();
    }
}

fn model() {
    let world = World::new();
    let mut threads = Vec::new();
    let w = world.clone();
    threads.push(thread::spawn(move || {
        // Native multi-key commands in both orders of shards.
        w.native(&[(0, Access::Write), (1, Access::Write)], |w| {
            w.add(0, -1);
            w.add(1, 1);
        });
        w.native(&[(2, Access::Write), (0, Access::Write)], |w| {
            w.add(2, -1);
            w.add(0, 1);
        });
    }));
    let w = world.clone();
    threads.push(thread::spawn(move || {
        let all: Vec<_> = (0..KEYS).map(|k| (k, Access::Read)).collect();
        w.native(&all, |w| {
            let sum: i64 = (0..KEYS).map(|k| w.read(k)).sum();
            assert_eq!(sum, SUM, "a native command saw half of a move");
        });
        w.native(&[(4, Access::Write), (3, Access::Write)], |w| {
            w.add(4, -1);
            w.add(3, 1);
        });
    }));
    let w = world.clone();
    threads.push(thread::spawn(move || {
        // The module thread.
        w.module_move(1, 3);
        w.module_sum();
        w.module_move(3, 0);
    }));
    let w = world.clone();
    threads.push(thread::spawn(move || {
        // A module's own thread between ThreadSafeContextLock and Unlock.
        w.module_move(4, 2);
    }));
    for t in threads {
        t.join().unwrap();
    }
    let sum: i64 = (0..KEYS).map(|k| world.read(k)).sum();
    assert_eq!(sum, SUM);
    for s in &world.shards {
        // SAFETY: lock: all threads have ended.
        let data = unsafe { &*s.data.get() };
        assert!(data.held.is_empty() && data.waiters.is_empty());
    }
}

#[test]
fn random_schedules() {
    shuttle::check_random(model, 20_000);
}

#[test]
fn adversarial_schedules() {
    shuttle::check_pct(model, 10_000, 4);
}

/// The model can fail: without holds, a native command sees half of a module's move.
#[test]
fn finds_a_broken_protocol() {
    let broken = || {
        let world = World::new();
        let w = world.clone();
        let t = thread::spawn(move || {
            w.module.lock();
            w.add(0, -1);
            thread::yield_now();
            w.add(1, 1);
            w.module.unlock();
        });
        world.native(&[(0, Access::Read), (1, Access::Read)], |w| {
            assert_eq!(w.read(0) + w.read(1), 200);
        });
        t.join().unwrap();
    };
    let result = std::panic::catch_unwind(|| shuttle::check_random(broken, 1_000));
    assert!(result.is_err(), "the model does not notice a missing hold");
}
