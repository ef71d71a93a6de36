//! Calls that blocked: what a promise reply stands for. Its functions are with the replies, in [`super::call_reply`].
//!
//! The call's own client, which has no connection, is parked where any blocked client would be: with the
//! [`BlockedClient`] of a module's command, or in the [`Waiter`] of a native one. Whoever ends the block sends it "home",
//! which for such a client is [`go_on`]: the module's handler gets the reply, in the unit that ended the block.
use crate::connection::client::{Client, Session};
use crate::dispatch;
use crate::dispatch::table::Command;
use crate::execute::blocking::Waiter;
use crate::execute::Tx;
use crate::module::abi;
use crate::module::api::call_reply::CallReply;
use crate::module::blocked::{self, BlockedClient, Parked};
use crate::module::callback::{running, with_context};
use crate::module::context::Ctx;
use crate::module::registry::Module;
use crate::observe::clock::now_ms;
use crate::reply::Reply;
use crate::server::Server;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::ffi::c_void;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Weak};

/// The number of the serving thread of a client that has none.
const NO_THREAD: usize = usize::MAX;

/// What a call waits for.
#[derive(Clone)]
pub enum Block {
    /// A module blocked it.
    Module(Arc<BlockedClient>),
    /// It is a native command that waits for keys.
    Keys(Arc<Waiter>),
}

/// A blocked call of a module.
pub struct Promise {
    /// Who called.
    module: &'static Module,
    /// The database of the call.
    db: usize,
    /// The block; gone when the call ended.
    block: Mutex<Option<Block>>,
    /// What to call with the reply, and its data as an address.
    handler: Mutex<(abi::OnUnblockedFn, usize)>,
}

/// What the client of a blocked call keeps with it.
pub struct Promised {
    /// Who waits for its reply.
    pub promise: Arc<Promise>,
    /// Where the call's effects go: bits of `propagate::to`.
    pub targets: u8,
    command: Arc<Command>,
    args: Vec<Vec<u8>>,
}

/// All promises, and some that are no more.
static ALL: Mutex<Vec<Weak<Promise>>> = Mutex::new(Vec::new());
/// Promises of native commands that wait for keys.
static WAITING: AtomicUsize = AtomicUsize::new(0);
/// Those of them that give up at some time, by that and a number.
static DUE: Mutex<BTreeMap<(i64, u64), Arc<Waiter>>> = Mutex::new(BTreeMap::new());

/// Whether a promise waits for a key: then whoever changes that key takes the module path.
#[inline]
pub fn any_waits_for_keys() -> bool {
    WAITING.load(Relaxed) != 0
}

/// When the next one gives up, Unix milliseconds.
pub fn next_due() -> Option<i64> {
    if !any_waits_for_keys() {
        return None;
    }
    DUE.lock().first_key_value().map(|(k, _)| k.0)
}

/// Ends the waits whose time is over. The calling thread has the module lock.
pub fn run_due(server: &'static Server, now: i64) {
    while let Some(waiter) = {
        let mut due = DUE.lock();
        due.first_entry().filter(|e| e.key().0 <= now).map(|e| e.remove())
    } {
        if let Some(mut parked) = waiter.take() {
            waiter.time_out(server, &mut parked.client);
            go_on(server, parked.client);
            crate::module::thread::end_unit(server);
        }
    }
}

impl Promise {
    /// Keeps the client of a call that blocked until the block ends. The calling thread has the module lock.
    pub fn new(
        module: &'static Module,
        mut session: Session,
        out: Reply,
        block: Block,
        (command, args): (Arc<Command>, Vec<Vec<u8>>),
        targets: u8,
    ) -> Arc<Promise> {
        let promise = Arc::new(Promise {
            module,
            db: session.db,
            block: Mutex::new(Some(block)),
            handler: Mutex::new((None, 0)),
        });
        let mut all = ALL.lock();
        if all.len().is_power_of_two() {
            all.retain(|p| p.strong_count() != 0);
        }
        all.push(Arc::downgrade(&promise));
        drop(all);
        let kept = Promised { promise: promise.clone(), targets, command, args };
        session.promised = Some(Box::new(kept));
        let mut client = Client::new(session);
        client.out = out;
        park(Server::get(), client);
        promise
    }

    /// Sets what is called with the reply.
    pub fn handle_with(&self, function: abi::OnUnblockedFn, data: *mut c_void) {
        *self.handler.lock() = (function, data as usize);
    }

    /// The call ended: hands its reply to the module. The calling thread has the module lock.
    fn keep(&self, reply: Reply) {
        *self.block.lock() = None;
        let (Some(function), data) = std::mem::take(&mut *self.handler.lock()) else { return };
        let reply = CallReply::new(reply.buf, reply.errors, std::ptr::null_mut());
        let reply = Box::into_raw(reply);
        crate::module::strict::note(|live| live.replies += 1);
        self.module.in_call.fetch_add(1, Relaxed);
        with_context(self.module, self.db, &"unblock handler", |ctx| {
            // SAFETY: ABI: registered for this signature; the reply is the handler's from here on; lock: held.
            unsafe { function(ctx.cast(), reply.cast(), data as *mut c_void) };
        });
        self.module.in_call.fetch_sub(1, Relaxed);
    }

    /// Gives the call up. Returns the handler's data, or `None` if the call ended already. The calling thread has the
    /// module lock.
    pub fn abort(&self) -> Option<*mut c_void> {
        let block = self.block.lock().take()?;
        let (_, data) = std::mem::take(&mut *self.handler.lock());
        match block {
            Block::Module(blocked) => {
                blocked::give_promise_up(Server::get(), &blocked);
                let disconnected = blocked.state.lock().disconnected.take();
                if let Some(f) = disconnected {
                    let _running = running(blocked.module, &"disconnect callback");
                    let mut ctx = Ctx::internal(Some(blocked.module));
                    ctx.session().select(blocked.db);
                    // SAFETY: ABI: registered for this signature; the module still has its handle; lock: held.
                    unsafe { f((&raw mut ctx).cast(), Arc::as_ptr(&blocked).cast_mut().cast()) };
                    ctx.finish();
                }
            }
            Block::Keys(waiter) => {
                waiter.take();
                left(Server::get(), &waiter);
            }
        }
        Some(data as *mut c_void)
    }
}

/// Gives up what a module waits for that goes: nothing is to be called, nor any key to be changed, on its behalf. The
/// calling thread has the module lock.
pub fn abort_all_of(module: &'static Module) {
    let all: Vec<_> = ALL.lock().iter().filter_map(Weak::upgrade).collect();
    for promise in all.iter().filter(|p| std::ptr::eq(p.module, module)) {
        promise.abort();
    }
}

/// A promise does not wait for keys any more.
fn left(server: &Server, waiter: &Arc<Waiter>) {
    waiter.leave(server);
    WAITING.fetch_sub(1, Relaxed);
    if waiter.deadline.is_some() {
        DUE.lock().retain(|_, w| !Arc::ptr_eq(w, waiter));
    }
}

/// Leaves the client of a blocked call where the end of the block will find it.
fn park(server: &'static Server, mut client: Box<Client>) {
    let session = &mut client.session;
    let Some(block) = session.promised.as_ref().and_then(|p| p.promise.block.lock().clone()) else {
        return;
    };
    match block {
        Block::Module(b) => {
            blocked::park(
                server,
                &b,
                Parked { client, slot: Default::default(), thread: NO_THREAD },
            );
        }
        Block::Keys(waiter) => {
            static NUMBER: AtomicU64 = AtomicU64::new(0);
            if let (Some(w), Some(p)) = (&mut session.waiting, &session.promised) {
                w.command = Some(p.command.clone());
            }
            WAITING.fetch_add(1, Relaxed);
            if let Some(at) = waiter.deadline {
                DUE.lock().insert((at, NUMBER.fetch_add(1, Relaxed)), waiter.clone());
            }
            let parked = Parked { client, slot: Default::default(), thread: NO_THREAD };
            if let Err(mut parked) = waiter.park(parked) {
                // A key changed between the command and now.
                crate::execute::blocking::run_again(&mut parked.client);
                go_on_later(server, parked.client);
            }
        }
    }
}

/// As [`go_on`], from any thread, a moment later.
pub fn go_on_later(server: &'static Server, client: Box<Client>) {
    server.queue.task(Box::new(move || go_on(Server::get(), client)));
}

/// The block of a call ended: its reply goes to the module, or, where it could not be answered, the command runs again.
/// The calling thread has the module lock.
pub fn go_on(server: &'static Server, mut client: Box<Client>) {
    let Some(promised) = client.session.promised.take() else { return };
    let promise = promised.promise.clone();
    // An aborted call is nobody's business any more.
    let Some(block) = promise.block.lock().take() else { return };
    if let Block::Keys(waiter) = &block {
        left(server, waiter);
    }
    if client.session.retry.is_none() {
        promise.keep(client.out);
        return;
    }
    let args: Vec<&[u8]> = promised.args.iter().map(Vec::as_slice).collect();
    let mut tx = Tx::module(server, &mut client.session, now_ms());
    tx.effects.allowed = promised.targets;
    dispatch::call(&mut tx, &promised.command, &args, &mut client.out);
    match client.session.waiting.as_ref().map(|w| w.waiter.clone()) {
        Some(waiter) => {
            *promise.block.lock() = Some(Block::Keys(waiter));
            client.session.promised = Some(promised);
            park(server, client);
        }
        None => promise.keep(client.out),
    }
}
