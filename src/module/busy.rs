//! `RM_Yield`: a module with a long job lets the server go on.
//!
//! Native commands on keys that the job does not hold never stopped, so what is left to do is what needs the module thread:
//! commands of modules that are allowed meanwhile (`allow-busy`, or `allow-loading` while data is loaded). A module that
//! yields to clients for longer than `busy-reply-threshold` also asks that all other commands are refused with `-BUSY`.
//!
//! What these commands change belongs to the unit that yields: half of it must not be in the log without the rest. So where
//! there is an append-only file, a client whose command left something for the log gets its replies when that unit is over
//! ([`Kept`]), which is before anything of it is acknowledged. Reads are answered at once.
use super::blocked::Parked;
use super::context::{flag, Ctx};
use super::thread;
use crate::connection::client::Client;
use crate::connection::serving::Slot;
use crate::execute::is;
use crate::observe::clock::now_ms;
use crate::server::Server;
use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::Arc;

static ON: AtomicBool = AtomicBool::new(false);
static TEXT: Mutex<Option<String>> = Mutex::new(None);
/// Somebody yields right now.
static YIELDING: AtomicBool = AtomicBool::new(false);

/// Whether commands without `allow-busy` are refused.
#[inline]
pub fn on() -> bool {
    ON.load(Relaxed)
}

/// The error that they get.
pub fn error_text() -> String {
    match &*TEXT.lock() {
        Some(text) => format!("BUSY {text}"),
        None => "BUSY Redis is busy running a module command.".into(),
    }
}

/// `module-exclusive yes`: whether a request that a serving thread got waits for the module lock. All do, as nothing
/// runs beside a module on Redis, but those that come while data is loaded, where Redis answers too, those that reach a
/// running script, which would never end without them, and those in a `CLIENT PAUSE`, who wait on their serving threads.
pub fn waits_for_modules(server: &Server, args: &[&[u8]]) -> bool {
    let reaches_scripts = |name: &[u8]| is(name, "script") || is(name, "function");
    let goes_on = server.pause.active()
        || crate::script::run::runs_somewhere()
        || server.loading.load(Relaxed)
        || reaches_scripts(args[0]) && args.len() == 2;
    !goes_on
}

/// The unit of a context that yielded is over.
pub fn end() {
    *TEXT.lock() = None;
    ON.store(false, Relaxed);
}

/// A unit is over, whatever context it yielded with. The calling thread has the module lock.
#[inline]
pub fn end_of_unit(server: &Server) {
    // SAFETY: lock: this function's contract.
    if on() && unsafe { server.holder() }.yields == 0 {
        end();
    }
}

/// Lets others run for a moment, if the context's job has been running for long enough. The calling thread has the module
/// lock.
pub fn yield_now(ctx: &mut Ctx, clients: bool, text: Option<String>) {
    let server = Server::get();
    let loading = server.loading.load(Relaxed);
    let between = 1000 / server.config.hz().clamp(1, 500) as i64;
    let now = now_ms();
    if ctx.next_yield == 0 {
        let patience = if loading { between } else { server.config.busy_reply_threshold() as i64 };
        let since = if ctx.now == 0 { now } else { ctx.now };
        ctx.next_yield = since.saturating_add(patience);
    }
    if now < ctx.next_yield || YIELDING.swap(true, Relaxed) {
        return;
    }
    if !clients && !loading {
        // Nobody's command may run, and what else Redis sees to meanwhile never stops here.
        ctx.next_yield = now + between;
        YIELDING.store(false, Relaxed);
        return;
    }
    if !loading {
        *TEXT.lock() = text;
        ON.store(true, Relaxed);
        ctx.flags |= flag::YIELDED;
    }
    run_others(server);
    ctx.next_yield = now_ms() + between;
    YIELDING.store(false, Relaxed);
}

/// Inside of a unit: runs what clients have sent meanwhile. The calling thread has the module lock.
pub fn run_others(server: &'static Server) {
    // SAFETY: lock: this function's contract. What this unit holds stays held: others only add to it.
    let holder = unsafe { server.holder() };
    let (running, client) = (holder.running, holder.client.clone());
    holder.yields += 1;
    if thread::is_current(server) {
        thread::run_waiting_clients(server);
    } else {
        server.module_lock.unlock();
        server.module_lock.lock();
    }
    // SAFETY: lock: taken again.
    let holder = unsafe { server.holder() };
    holder.yields -= 1;
    holder.running = running;
    holder.client = client;
}

/// What a client is owed, until the unit that yields is over.
pub enum Kept {
    /// The client, with its replies.
    Client(Parked),
    /// Replies of before the command that blocked the client.
    Early(Arc<Slot>, Vec<u8>),
}

/// Whether a module yields in the middle of a unit, half of which a file that is written now would have. The calling thread
/// has the module lock.
pub fn amid_unit(server: &Server) -> bool {
    crate::snapshot::cut::amid_unit(server) && !server.loading.load(Relaxed)
}

/// How much the present unit has left for the log: it is compared with what it was before.
pub fn left(server: &Server) -> (usize, usize) {
    // SAFETY: lock: callers have the module lock.
    let effects = &unsafe { server.holder() }.effects;
    (effects.len(), effects.last().map_or(0, |e| e.times))
}

/// Whether replies to what was done since the unit had left so much have to wait for its end. The calling thread has the
/// module lock.
pub fn keeps(server: &Server, before: (usize, usize)) -> bool {
    // SAFETY: lock: this function's contract.
    unsafe { server.holder() }.yields != 0 && left(server) != before && server.aof.promises()
}

/// Keeps something until the unit that yields is over. The calling thread has the module lock.
pub fn keep(server: &Server, what: Kept) {
    // SAFETY: lock: this function's contract.
    unsafe { server.holder() }.kept.push(what);
}

/// Sends a client home whose block is over; what led to its reply may be of the unit that yields. The calling thread has
/// the module lock.
pub fn send_home(server: &Server, client: Box<Client>, slot: Arc<Slot>, thread: usize) {
    match keeps(server, (0, 0)) {
        true => keep(server, Kept::Client(Parked { client, slot, thread })),
        false => thread::send_home(server, client, slot, thread),
    }
}

/// A unit is over, and in the log up to this offset: what was kept for it goes out. The calling thread has the module lock.
pub fn unit_done(server: &Server, logged: Option<u64>) {
    // SAFETY: lock: this function's contract.
    let holder = unsafe { server.holder() };
    if holder.kept.is_empty() || holder.yields != 0 {
        return;
    }
    for kept in std::mem::take(&mut holder.kept) {
        match kept {
            Kept::Client(Parked { mut client, slot, thread }) => {
                client.session.written = logged.unwrap_or(client.session.written);
                thread::send_home(server, client, slot, thread);
            }
            Kept::Early(slot, replies) => slot.blocked(replies),
        }
    }
}
