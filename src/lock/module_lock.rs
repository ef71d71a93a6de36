//! The module lock: what the module world calls the GIL. One holder, first come first served.
use super::owner::Owner;
use crate::module::fork::in_child;
use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::Arc;
use std::time::{Duration, Instant};

struct Waiter {
    granted: Mutex<bool>,
    signal: Condvar,
}

struct State {
    held: bool,
    queue: VecDeque<Arc<Waiter>>,
    since: Instant,
}

/// A fair lock: an unlock hands over to the longest waiter. Hold times are measured always.
///
/// In a child that a module forked it does nothing: there is one thread, which had the lock when it forked, and what others
/// held of the lock's own state at that moment stays held there for ever.
pub struct ModuleLock {
    state: Mutex<State>,
    waiting: AtomicUsize,
    held: AtomicBool,
    holds: AtomicU64,
    held_ns: AtomicU64,
    longest_ns: AtomicU64,
    /// What can be seen of the holder.
    pub owner: Owner,
}

impl Default for ModuleLock {
    fn default() -> Self {
        ModuleLock {
            state: Mutex::new(State { held: false, queue: VecDeque::new(), since: Instant::now() }),
            waiting: AtomicUsize::new(0),
            held: AtomicBool::new(false),
            holds: AtomicU64::new(0),
            held_ns: AtomicU64::new(0),
            longest_ns: AtomicU64::new(0),
            owner: Owner::default(),
        }
    }
}

/// Hold times since the start, in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub struct HoldTimes {
    /// How often the lock was taken.
    pub holds: u64,
    /// Sum of all hold times.
    pub total_ns: u64,
    /// The longest one.
    pub longest_ns: u64,
}

impl ModuleLock {
    /// Takes the lock, sleeping in line behind those who came before. Not recursive.
    pub fn lock(&self) {
        if in_child() {
            return;
        }
        let me = {
            let mut s = self.state.lock();
            if !s.held {
                s.held = true;
                s.since = Instant::now();
                self.held.store(true, Relaxed);
                self.owner.enter();
                return;
            }
            let me = Arc::new(Waiter { granted: Mutex::new(false), signal: Condvar::new() });
            s.queue.push_back(me.clone());
            self.waiting.fetch_add(1, Relaxed);
            me
        };
        let mut granted = me.granted.lock();
        while !*granted {
            me.signal.wait(&mut granted);
        }
        self.owner.enter();
    }

    /// Takes the lock if it is free.
    pub fn try_lock(&self) -> bool {
        if in_child() {
            return true;
        }
        let mut s = self.state.lock();
        if s.held {
            return false;
        }
        s.held = true;
        s.since = Instant::now();
        self.held.store(true, Relaxed);
        self.owner.enter();
        true
    }

    /// Releases the lock, handing it to the longest waiter. The caller has it, and has released its keys.
    pub fn unlock(&self) {
        if in_child() {
            return;
        }
        self.owner.leave();
        let next = {
            let mut s = self.state.lock();
            debug_assert!(s.held);
            let now = Instant::now();
            let ns = now.duration_since(s.since).as_nanos() as u64;
            self.holds.fetch_add(1, Relaxed);
            self.held_ns.fetch_add(ns, Relaxed);
            self.longest_ns.fetch_max(ns, Relaxed);
            s.since = now;
            let next = s.queue.pop_front();
            if next.is_none() {
                s.held = false;
                self.held.store(false, Relaxed);
            }
            next
        };
        if let Some(w) = next {
            self.waiting.fetch_sub(1, Relaxed);
            *w.granted.lock() = true;
            w.signal.notify_one();
        }
    }

    /// True when somebody waits: the holder should come to a hand-over point soon.
    pub fn has_waiters(&self) -> bool {
        self.waiting.load(Relaxed) != 0
    }

    /// Whether somebody holds the lock right now (may be out of date at once).
    pub fn is_held(&self) -> bool {
        self.held.load(Relaxed)
    }

    /// How many wait.
    pub fn waiters(&self) -> usize {
        self.waiting.load(Relaxed)
    }

    /// Whether the calling thread holds the lock.
    pub fn is_mine(&self) -> bool {
        self.owner.is_mine()
    }

    /// For how long the present holder has had the lock, and the how-manieth hold it is; `None` when it is free.
    pub fn held_for(&self) -> Option<(Duration, u64)> {
        let s = self.state.lock();
        s.held.then(|| (s.since.elapsed(), self.holds.load(Relaxed)))
    }

    /// Hold times since the start.
    pub fn hold_times(&self) -> HoldTimes {
        HoldTimes {
            holds: self.holds.load(Relaxed),
            total_ns: self.held_ns.load(Relaxed),
            longest_ns: self.longest_ns.load(Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hands_over_in_order() {
        let lock = Arc::new(ModuleLock::default());
        let order = Arc::new(Mutex::new(Vec::new()));
        lock.lock();
        assert!(!lock.try_lock());
        let mut threads = Vec::new();
        for i in 0..4 {
            let (l, o) = (lock.clone(), order.clone());
            threads.push(std::thread::spawn(move || {
                l.lock();
                o.lock().push(i);
                l.unlock();
            }));
            while lock.state.lock().queue.len() != i + 1 {
                std::thread::yield_now();
            }
        }
        lock.unlock();
        for t in threads {
            t.join().unwrap();
        }
        assert_eq!(*order.lock(), [0, 1, 2, 3]);
        assert_eq!(lock.hold_times().holds, 5);
        assert!(lock.try_lock());
    }
}
