//! Active defragmentation (`activedefrag yes`): a part of the module thread's time, in slices between other work.
//!
//! A round goes through all shards, then through the modules' own memory. What a native entry begins with is moved here;
//! values of modules are moved by their `defrag` methods, which are asked for one block after the other whether it is
//! worth moving ([`crate::keyspace::defrag::relocate`]). A value that its module says is large is done in steps, with a
//! cursor, at the end of a slice; so is a module's own memory, if the module can do that. Modules may hear of the beginning
//! and the end of each round.
use super::abi::{self, Handle};
use super::callback::running as note_running;
use super::registry::Module;
use super::string::RStr;
use crate::connection::client::Session;
use crate::execute::Tx;
use crate::keyspace::defrag::{shard, Moves};
use crate::keyspace::shard::SHARDS;
use crate::keyspace::value::{ValueMut, ValueRef};
use crate::lock::held::Access;
use crate::lock::owner::Label;
use crate::observe::clock::{mono_ns, now_ms};
use crate::server::Server;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::ffi::{c_int, c_ulong};
use std::sync::atomic::Ordering::Relaxed;

/// `RedisModuleDefragCtx`
pub struct DefragCtx {
    /// Stop when this time is reached, monotonic nanoseconds; 0 for never.
    pub until: u64,
    /// Where the work on the value stands, for one that is done in steps.
    pub cursor: Option<c_ulong>,
    /// The key, null for the module's own memory.
    pub key: *mut RStr,
    /// Its database, -1 for the module's own memory.
    pub db: c_int,
    /// What was moved.
    pub moves: Moves,
}

impl DefragCtx {
    /// Whether the callback's time is over.
    pub fn is_over(&self) -> bool {
        self.until != 0 && mono_ns() >= self.until
    }

    fn handle(&mut self) -> Handle {
        (self as *mut DefragCtx).cast()
    }
}

/// A module's functions for what belongs to it at large.
#[derive(Clone, Copy, Default)]
pub struct Functions {
    /// Moves all of it.
    pub all: abi::DefragFn,
    /// Moves a part of it, and is called instead.
    pub step: abi::DefragStepFn,
    /// A round begins.
    pub start: abi::DefragFn,
    /// A round ends, or is given up.
    pub end: abi::DefragFn,
}

/// What was done since the start.
#[derive(Clone, Copy, Default)]
pub struct Figures {
    /// Blocks and keys.
    pub moves: Moves,
    /// Microseconds in which a round was under way.
    pub total_us: u64,
    /// Of these, the present spell's.
    pub current_us: u64,
}

/// A value that is done in steps.
struct Late {
    db: usize,
    key: Vec<u8>,
    cursor: c_ulong,
}

struct State {
    /// Percent of the time; 0 when there is nothing to do.
    percent: u64,
    /// When fragmentation was looked at, Unix milliseconds.
    looked: i64,
    /// Beginning of the present spell, monotonic nanoseconds.
    since: u64,
    /// The next shard, over all databases.
    next: u32,
    /// Values of modules in the shard that was visited last.
    values: Vec<(usize, Vec<u8>)>,
    late: VecDeque<Late>,
    /// The next module whose own memory is to be done; none while shards are left.
    module: Option<usize>,
    /// The module that has done a part of its own memory, and where it stands.
    part: Option<(&'static Module, c_ulong)>,
    /// Modules were told that a round began.
    round: bool,
    figures: Figures,
}

impl State {
    fn count(&mut self, ctx: &DefragCtx) {
        self.figures.moves.hits += ctx.moves.hits;
        self.figures.moves.misses += ctx.moves.misses;
    }
}

static STATE: Mutex<State> = Mutex::new(State {
    percent: 0,
    looked: 0,
    since: 0,
    next: 0,
    values: Vec::new(),
    late: VecDeque::new(),
    module: None,
    part: None,
    round: false,
    figures: Figures {
        moves: Moves { hits: 0, misses: 0, key_hits: 0, key_misses: 0 },
        total_us: 0,
        current_us: 0,
    },
});

/// What `INFO` tells: the figures, the percentage, and since when it is not 0. Apart from the state, which is locked while
/// modules are called.
static SEEN: Mutex<(Figures, u64, u64)> = Mutex::new((
    Figures {
        moves: Moves { hits: 0, misses: 0, key_hits: 0, key_misses: 0 },
        total_us: 0,
        current_us: 0,
    },
    0,
    0,
));

/// Percent of the time that goes into it at present.
pub fn running() -> u64 {
    SEEN.lock().1
}

/// What was done.
pub fn figures() -> Figures {
    let (mut f, percent, since) = *SEEN.lock();
    if percent > 0 {
        f.current_us = (mono_ns() - since) / 1000;
        f.total_us += f.current_us;
    }
    f
}

/// Bytes that fragmentation wastes, and how many percent of the bytes in use that is.
fn fragmentation() -> (u64, u64) {
    #[cfg(feature = "jemalloc")]
    {
        let [allocated, ..] = super::api::memory::allocator_figures();
        let bytes = crate::observe::heap::small_fragmentation();
        (bytes, bytes * 100 / allocated.max(1))
    }
    #[cfg(not(feature = "jemalloc"))]
    (0, 0)
}

/// How much of the time to spend: nothing below the thresholds, else between the two directives for it.
fn percent(server: &Server, busy: bool) -> u64 {
    let c = &server.config;
    let (bytes, percent) = fragmentation();
    let (lower, upper) = (c.active_defrag_threshold_lower(), c.active_defrag_threshold_upper());
    let (min, max) = (c.active_defrag_cycle_min(), c.active_defrag_cycle_max());
    if !busy && (percent < lower || bytes < c.active_defrag_ignore_bytes()) {
        return 0;
    }
    if max <= min || upper <= lower {
        return min;
    }
    min + (max - min) * percent.clamp(lower, upper).saturating_sub(lower) / (upper - lower)
}

fn stop(server: &'static Server, s: &mut State) {
    if std::mem::take(&mut s.round) {
        tell(server, s, &"defrag end", |f| f.end);
    }
    if s.percent > 0 {
        s.figures.total_us += (mono_ns() - s.since) / 1000;
    }
    let figures = Figures { current_us: 0, ..s.figures };
    *s = State {
        percent: 0,
        looked: s.looked,
        since: 0,
        next: 0,
        values: Vec::new(),
        late: VecDeque::new(),
        module: None,
        part: None,
        round: false,
        figures,
    };
}

/// One slice. On the module thread, with the module lock, between two units.
pub fn run(server: &'static Server) {
    let Some(mut state) = STATE.try_lock() else { return };
    slice(server, &mut state);
    *SEEN.lock() = (state.figures, state.percent, state.since);
}

fn slice(server: &'static Server, s: &mut State) {
    if !server.config.activedefrag() || server.loading.load(Relaxed) {
        if s.percent > 0 {
            stop(server, s);
        }
        return;
    }
    let now = now_ms();
    if now - s.looked >= 1000 || now < s.looked {
        s.looked = now;
        let percent = percent(server, s.round);
        match (s.percent, percent) {
            (0, p) if p > 0 => s.since = mono_ns(),
            (p, 0) if p > 0 => stop(server, s),
            _ => {}
        }
        s.percent = percent;
    }
    if s.percent == 0 {
        return;
    }
    let slice = 10_000_000 * s.percent / server.config.hz().clamp(1, 500);
    let until = mono_ns() + slice.max(1000);
    if !std::mem::replace(&mut s.round, true) {
        tell(server, s, &"defrag start", |f| f.start);
    }
    // Somebody may want the lock; a waiter gets it before the next slice.
    while mono_ns() < until && !server.module_lock.has_waiters() {
        if !step(server, s, until) {
            break;
        }
    }
}

/// The next piece of work. False at the end of a round.
fn step(server: &'static Server, s: &mut State, until: u64) -> bool {
    if let Some(late) = s.late.pop_front() {
        if let Some(cursor) = value(server, s, late.db, &late.key, Some(late.cursor), until) {
            s.late.push_front(Late { cursor, ..late });
        }
        super::thread::end_unit(server);
        return true;
    }
    if let Some((db, key)) = s.values.pop() {
        value(server, s, db, &key, None, until);
        super::thread::end_unit(server);
        return true;
    }
    if let Some(at) = s.module {
        return match server.modules.list().get(at) {
            Some(module) => {
                let done = own_memory(s, module, until);
                super::thread::end_unit(server);
                s.module = Some(at + usize::from(done));
                true
            }
            None => {
                s.module = None;
                s.round = false;
                tell(server, s, &"defrag end", |f| f.end);
                false
            }
        };
    }
    let db = s.next as usize / SHARDS;
    match server.keyspace.dbs().get(db).map(|db| db.used_shards()) {
        None => {
            s.next = 0;
            s.module = Some(0);
        }
        Some([]) => s.next = ((db + 1) * SHARDS) as u32,
        Some(shards) => {
            let place = &shards[s.next as usize % SHARDS];
            s.next += 1;
            place.latch.lock();
            // SAFETY: lock: taken on the line above, released below.
            let data = unsafe { place.data() };
            if data.held.is_empty() {
                let keys = shard(data, &mut s.figures.moves);
                s.values = keys.into_iter().map(|k| (db, k)).collect();
                // SAFETY: lock: this function's contract. Handles look their entries up again.
                unsafe { server.holder() }.structure += 1;
            }
            // SAFETY: lock: taken above.
            unsafe { place.latch.unlock() };
        }
    }
    true
}

/// Lets a module move a value: all of it, or with a cursor a step of it; where it stands then, if something is left. A
/// value that is large is put off.
fn value(
    server: &'static Server,
    s: &mut State,
    db: usize,
    key: &[u8],
    cursor: Option<c_ulong>,
    until: u64,
) -> Option<c_ulong> {
    let mut session = Session::internal();
    session.select(db);
    let tx = Tx::module(server, &mut session, now_ms());
    let mut entry = tx.entry_in(db, key, Access::Write)?;
    let ValueRef::Module(v) = entry.value() else { return None };
    let method = v.ty.methods.defrag?;
    let owner: &'static Module = v.ty.owner;
    if cursor.is_none() {
        let effort = super::datatype::free_effort(key, db, v);
        let most = server.config.active_defrag_max_scan_fields() as usize;
        if effort == 0 || effort > most {
            s.late.push_back(Late { db, key: key.to_vec(), cursor: 0 });
            return None;
        }
    }
    let ValueMut::Module(v) = entry.value_mut() else { return None };
    let name = RStr::new(key);
    let until = if cursor.is_some() { until } else { 0 };
    let mut ctx = DefragCtx { until, cursor, key: name, db: db as c_int, moves: Moves::default() };
    let more = {
        let _running = note_running(owner, &"type defrag");
        // SAFETY: ABI: registered for this signature; the key is held for writing; lock: held.
        v.change(|ptr| unsafe { method(ctx.handle(), name.cast(), ptr) })
    };
    // SAFETY: ABI: our own reference.
    unsafe { RStr::release(name) };
    s.count(&ctx);
    if more == 0 {
        return None;
    }
    ctx.cursor
}

/// A context for what belongs to a module at large.
fn at_large(until: u64, cursor: Option<c_ulong>) -> DefragCtx {
    let key = std::ptr::null_mut();
    DefragCtx { until, cursor, key, db: -1, moves: Moves::default() }
}

/// Lets a module move what belongs to it at large; whether it is done with it.
fn own_memory(s: &mut State, module: &'static Module, until: u64) -> bool {
    let functions = *module.defrag.lock();
    let at = s.part.take().filter(|(m, _)| std::ptr::eq(*m, module)).map_or(0, |(_, at)| at);
    // There is a cursor only where there are steps.
    let mut ctx = at_large(until, functions.step.is_some().then_some(at));
    let _running = note_running(module, &"defrag callback");
    let mut more = 0;
    // SAFETY: ABI: registered for these signatures; lock: held.
    unsafe {
        match (functions.step, functions.all) {
            (Some(step), _) => more = step(ctx.handle()),
            (None, Some(all)) => all(ctx.handle()),
            (None, None) => {}
        }
    }
    s.count(&ctx);
    if more != 0 {
        s.part = Some((module, ctx.cursor.unwrap_or(0)));
    }
    more == 0
}

/// Tells all modules that a round begins or ends.
fn tell(
    server: &'static Server,
    s: &mut State,
    what: Label,
    which: impl Fn(&Functions) -> abi::DefragFn,
) {
    for module in server.modules.list() {
        let Some(function) = which(&module.defrag.lock()) else { continue };
        let mut ctx = at_large(0, None);
        let _running = note_running(module, what);
        // SAFETY: ABI: registered for this signature; lock: held.
        unsafe { function(ctx.handle()) };
        s.count(&ctx);
    }
    super::thread::end_unit(server);
}
