//! Timers of modules: one-shot, run by the module thread.
use super::abi;
use super::callback::with_context;
use super::registry::Module;
use crate::observe::clock::now_us;
use crate::server::Server;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::ffi::c_void;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A pending timer.
#[derive(Clone, Copy)]
pub struct Timer {
    /// Whose.
    pub module: &'static Module,
    /// Due at, Unix microseconds.
    pub due: i64,
    /// Database of the context that made it.
    pub db: usize,
    /// Callback.
    pub callback: abi::CtxDataFn,
    /// Its data.
    pub data: *mut c_void,
}

// SAFETY: lock: the data is handed to the callback by the holder of the module lock.
unsafe impl Send for Timer {}

/// All pending timers.
#[derive(Default)]
pub struct Timers {
    last: AtomicU64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    by_id: BTreeMap<u64, Timer>,
    order: std::collections::BTreeSet<(i64, u64)>,
}

impl Timers {
    /// Adds a timer. The id is never zero.
    pub fn add(&self, timer: Timer) -> u64 {
        let id = self.last.fetch_add(1, Relaxed) + 1;
        let mut s = self.state.lock();
        s.order.insert((timer.due, id));
        s.by_id.insert(id, timer);
        drop(s);
        // The module thread may be asleep for longer than this timer.
        Server::get().queue.task(Box::new(|| ()));
        id
    }

    /// Looks at a timer.
    pub fn get(&self, id: u64) -> Option<Timer> {
        self.state.lock().by_id.get(&id).copied()
    }

    /// Removes a timer.
    pub fn remove(&self, id: u64) -> Option<Timer> {
        let mut s = self.state.lock();
        let t = s.by_id.remove(&id)?;
        s.order.remove(&(t.due, id));
        Some(t)
    }

    /// Forgets the timers of a module whose code is about to go: one that failed to load, or made a timer while it was
    /// unloaded.
    pub fn remove_all_of(&self, module: &'static Module) {
        let mut s = self.state.lock();
        let State { by_id, order } = &mut *s;
        by_id.retain(|id, t| {
            let stays = !std::ptr::eq(t.module, module);
            if !stays {
                order.remove(&(t.due, *id));
            }
            stays
        });
    }

    /// Whether a module has a pending timer.
    pub fn owned_by(&self, module: &'static Module) -> bool {
        self.state.lock().by_id.values().any(|t| std::ptr::eq(t.module, module))
    }

    /// When the next one is due, Unix milliseconds.
    pub fn next_due(&self) -> Option<i64> {
        self.state.lock().order.first().map(|t| t.0.div_euclid(1000) + 1)
    }

    /// Runs what is due. A timer stays registered while its callback runs, as on Redis.
    pub fn run_due(&self, server: &'static Server) {
        if self.next_due().is_none() {
            return;
        }
        let now = now_us();
        loop {
            let (id, timer) = {
                let s = self.state.lock();
                match s.order.first() {
                    Some(&(due, id)) if due <= now => (id, s.by_id[&id]),
                    _ => return,
                }
            };
            with_context(timer.module, timer.db, &"timer", |ctx| {
                if let Some(f) = timer.callback {
                    // SAFETY: ABI: registered for this signature; lock: the module lock is held.
                    unsafe { f(ctx.cast(), timer.data) };
                }
            });
            self.remove(id);
            super::thread::end_unit(server);
        }
    }
}
