//! Clients that a module blocked.
//!
//! A blocked client stays with the module thread ([`Parked`]) while its connection's task waits in its slot, watching the
//! socket. What ends the wait (the module's `UnblockClient`, the time, a ready key, the end of the connection) becomes a
//! task of the module thread, which runs the callbacks under the module lock and sends the client home. There its
//! pipeline goes on.
//!
//! Life of a handle: the module gets one reference with `BlockClient` and gives it up with `UnblockClient` or
//! `AbortBlock`; [`finish`] releases it. The client may be gone by then.
use super::abi;
use super::callback::running;
use super::context::{flag as ctx_flag, Ctx};
use super::registry::Module;
use super::string::RStr;
use crate::connection::client::{flag, Client, ClientShared, ReplyMode, Session};
use crate::connection::serving::Slot;
use crate::dispatch::table::CommandStats;
use crate::execute::Tx;
use crate::keyspace::value::ValueRef;
use crate::observe::clock::{mono_ns, now_ms};
use crate::reply::Reply;
use crate::server::Server;
use parking_lot::Mutex;
use std::cell::UnsafeCell;
use std::collections::{BTreeSet, HashMap};
use std::ffi::c_void;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::Arc;

/// A client on its way: with the module thread, blocked.
pub struct Parked {
    /// The client.
    pub client: Box<Client>,
    /// Where its connection waits.
    pub slot: Arc<Slot>,
    /// The number of its serving thread.
    pub thread: usize,
}

/// Takes the reply of a command that a module called and that blocked.
pub type PromiseFn = Box<dyn FnOnce(Reply) + Send>;

/// Who waits for the end of the block.
#[derive(Default)]
pub enum Home {
    /// Nobody yet: the command that blocked the client still runs.
    #[default]
    Pending,
    /// A connection.
    Connection(Parked),
    /// A module that called a command which blocked.
    Promise(PromiseFn),
    /// Nobody any more: refused, timed out or disconnected.
    Gone,
}

/// `RedisModuleBlockedClient`.
pub struct BlockedClient {
    /// Who blocked it.
    pub module: &'static Module,
    /// The client.
    pub shared: Arc<ClientShared>,
    /// Its database.
    pub db: usize,
    /// Whether it speaks RESP3.
    pub resp3: bool,
    /// The keys it waits for, by `BlockClientOnKeys`; empty otherwise.
    pub keys: Vec<Vec<u8>>,
    /// Deletion of a key, too, makes it ready.
    pub on_deletion: bool,
    /// The home of the client. The holder of the module lock reads and writes it.
    pub home: Mutex<Home>,
    /// Callbacks and data.
    pub state: Mutex<State>,
    /// Replies from the module's own threads. One thread at a time writes it, by the contract of thread-safe contexts.
    reply: UnsafeCell<Reply>,
    /// The command's arguments, for the callbacks.
    argv: Vec<*mut RStr>,
}

/// What changes while the client is blocked.
#[derive(Default)]
pub struct State {
    /// Makes the reply when unblocked.
    pub reply: abi::CommandFn,
    /// Decides when a client that authenticates is unblocked.
    pub auth_reply: abi::AuthFn,
    /// The client authenticates: its command runs again.
    pub on_auth: bool,
    /// Makes the reply when the time is over.
    pub timeout: abi::CommandFn,
    /// Frees the private data.
    pub free_privdata: abi::FreePrivdataFn,
    /// Called when the client disconnects.
    pub disconnected: abi::DisconnectFn,
    /// Private data, as an address.
    pub privdata: usize,
    /// The module unblocked it.
    pub unblocked: bool,
    /// A client that waits for keys was unblocked by hand: its timeout callback makes the reply.
    pub by_hand: bool,
    /// Give up at, Unix milliseconds; 0 for never.
    pub due: i64,
    /// Start of the measured time, monotonic nanoseconds; 0 when not measuring.
    pub measured_from: u64,
    /// Measured time in nanoseconds, for the command's statistics.
    pub measured: u64,
    /// Statistics of the command.
    pub stats: Option<Arc<CommandStats>>,
}

// SAFETY: lock: `argv` is used by the holder of the module lock; `reply` as its field says.
unsafe impl Send for BlockedClient {}
// SAFETY: lock: as above.
unsafe impl Sync for BlockedClient {}

impl Drop for BlockedClient {
    fn drop(&mut self) {
        for &s in &self.argv {
            // SAFETY: ABI: the references taken in `new`.
            unsafe { RStr::release(s) };
        }
    }
}

impl BlockedClient {
    /// A handle for the client of a context.
    pub fn new(ctx: &Ctx, module: &'static Module, keys: Vec<Vec<u8>>, on_deletion: bool) -> Self {
        let session = ctx.session();
        // SAFETY: ABI: the context's arguments are alive during the call.
        let argv =
            unsafe { (0..ctx.argc).map(|i| RStr::retain(*ctx.argv.add(i))).collect::<Vec<_>>() };
        let resp3 = ctx.out().is_some_and(|o| o.resp3);
        BlockedClient {
            module,
            shared: session.shared.clone(),
            db: session.db,
            resp3,
            keys,
            on_deletion,
            home: Mutex::default(),
            state: Mutex::default(),
            reply: UnsafeCell::new(Reply::new(resp3)),
            argv,
        }
    }

    /// Where the module's threads write replies.
    pub fn thread_reply(&self) -> *mut Reply {
        self.reply.get()
    }

    /// Calls one of the callbacks that have a command's signature.
    fn call(
        self: &Arc<Self>,
        f: abi::CommandFn,
        what: &str,
        bits: u32,
        ready: Option<&[u8]>,
        session: &mut Session,
        out: &mut Reply,
    ) -> i32 {
        let Some(f) = f else { return abi::OK };
        let _running = running(self.module, what);
        let mut ctx = Ctx::for_client(Some(self.module), session, out);
        ctx.flags |= bits;
        ctx.argv = self.argv.as_ptr();
        ctx.argc = self.argv.len();
        ctx.blocked = Some(self.clone());
        ctx.privdata = self.state.lock().privdata as *mut c_void;
        let key = ready.map(RStr::new);
        ctx.ready_key = key.unwrap_or(std::ptr::null_mut());
        let mut argv = self.argv.clone();
        // SAFETY: ABI: registered for this signature; lock: the module lock is held.
        let result =
            unsafe { f((&raw mut ctx).cast(), argv.as_mut_ptr().cast(), argv.len() as i32) };
        ctx.finish();
        if let Some(key) = key {
            // SAFETY: ABI: our own reference.
            unsafe { RStr::release(key) };
        }
        result
    }
}

/// The blocked clients. The holder of the module lock changes them.
#[derive(Default)]
struct Waiting {
    by_client: HashMap<u64, Arc<BlockedClient>>,
    by_key: HashMap<(usize, Vec<u8>), Vec<u64>>,
    due: BTreeSet<(i64, u64)>,
}

static WAITING: Mutex<Option<Waiting>> = Mutex::new(None);

fn with_waiting<R>(f: impl FnOnce(&mut Waiting) -> R) -> R {
    f(WAITING.lock().get_or_insert_with(Waiting::default))
}

/// Keeps a client whose command blocked it.
pub fn park_client(
    server: &'static Server,
    mut client: Box<Client>,
    slot: Arc<Slot>,
    thread: usize,
) {
    let Some(b) = client.session.blocked_on.clone() else {
        super::thread::send_home(server, client, slot, thread);
        return;
    };
    let id = b.shared.id;
    let due = b.state.lock().due;
    with_waiting(|w| {
        for key in &b.keys {
            w.by_key.entry((b.db, key.clone())).or_default().push(id);
            server.blocked_keys.fetch_add(1, Relaxed);
        }
        if due != 0 {
            w.due.insert((due, id));
        }
        w.by_client.insert(id, b.clone());
    });
    b.shared.put(flag::BLOCKED, true);
    slot.blocked(std::mem::take(&mut client.out.buf));
    *b.home.lock() = Home::Connection(Parked { client, slot, thread });
}

/// Takes a client out of all lists of waiting ones.
fn forget(server: &Server, b: &BlockedClient) {
    let id = b.shared.id;
    let due = std::mem::take(&mut b.state.lock().due);
    let was_there = with_waiting(|w| {
        let Some(known) = w.by_client.get(&id) else { return false };
        if !std::ptr::eq(Arc::as_ptr(known), b) {
            return false;
        }
        w.by_client.remove(&id);
        w.due.remove(&(due, id));
        for key in &b.keys {
            let at = (b.db, key.clone());
            if let Some(list) = w.by_key.get_mut(&at) {
                if let Some(i) = list.iter().position(|c| *c == id) {
                    list.remove(i);
                    server.blocked_keys.fetch_sub(1, Relaxed);
                }
                if list.is_empty() {
                    w.by_key.remove(&at);
                }
            }
        }
        true
    });
    if was_there {
        b.shared.put(flag::BLOCKED, false);
    }
}

fn send_home(server: &'static Server, mut parked: Parked) {
    parked.client.session.blocked_on = None;
    super::thread::send_home(server, parked.client, parked.slot, parked.thread);
}

/// The module's `UnblockClient`, from any thread: the rest happens on the module thread. `handle` is the reference that
/// `BlockClient` gave out.
pub fn unblock(handle: *const BlockedClient) {
    let handle = handle as usize;
    Server::get().queue.task(Box::new(move || {
        // SAFETY: ABI: the module gives its reference up with `UnblockClient`, which posts this task once.
        let b = unsafe { Arc::from_raw(handle as *const BlockedClient) };
        finish(Server::get(), b);
    }));
}

/// Ends the block: reply callback, private data, replies of threads, in this order; then the client goes home.
fn finish(server: &'static Server, b: Arc<BlockedClient>) {
    forget(server, &b);
    let home = std::mem::replace(&mut *b.home.lock(), Home::Gone);
    let (reply, by_hand, on_auth) = {
        let s = b.state.lock();
        (s.reply, s.by_hand, s.on_auth)
    };
    match home {
        Home::Connection(parked) if on_auth => super::auth::resume(server, &b, parked),
        Home::Connection(mut parked) => {
            let Client { session, out, .. } = &mut *parked.client;
            let (start, errors, began) = (out.buf.len(), out.errors, mono_ns());
            if b.keys.is_empty() {
                b.call(reply, "reply callback", ctx_flag::BLOCKED_REPLY, None, session, out);
            } else if by_hand {
                timed_out(&b, session, out);
            }
            free_privdata(&b, Some((session, out)));
            // SAFETY: ABI: after `UnblockClient` no thread of the module writes replies any more.
            let late = unsafe { &mut *b.thread_reply() };
            out.raw(&late.buf);
            out.errors += late.errors;
            out.codes.append(&mut late.codes);
            count(&b, mono_ns() - began, out.errors - errors);
            crate::dispatch::count_errors(server, out);
            if session.reply_mode == ReplyMode::Off {
                out.buf.truncate(start);
            }
            send_home(server, parked);
        }
        Home::Promise(keep) => {
            let mut out = Reply::new(b.resp3);
            let mut session = Session::internal();
            session.select(b.db);
            b.call(reply, "reply callback", ctx_flag::BLOCKED_REPLY, None, &mut session, &mut out);
            free_privdata(&b, Some((&mut session, &mut out)));
            // SAFETY: ABI: as above.
            out.raw(&unsafe { &*b.thread_reply() }.buf);
            keep(out);
        }
        Home::Pending | Home::Gone => free_privdata(&b, None),
    }
    b.module.blocked_clients.fetch_sub(1, Relaxed);
}

/// Adds the time that the module measured, and that of its reply callback, to the command's statistics.
fn count(b: &BlockedClient, callback_ns: u64, errors: u64) {
    let s = b.state.lock();
    if let Some(stats) = &s.stats {
        stats.add_time(s.measured + callback_ns);
        if errors != 0 {
            stats.failed();
        }
    }
}

fn timed_out(b: &Arc<BlockedClient>, session: &mut Session, out: &mut Reply) {
    let timeout = b.state.lock().timeout;
    b.call(timeout, "timeout callback", ctx_flag::BLOCKED_TIMEOUT, None, session, out);
    b.state.lock().disconnected = None;
}

/// Frees the private data of a block that is over. The calling thread has the module lock.
pub fn free_privdata(b: &Arc<BlockedClient>, client: Option<(&mut Session, &mut Reply)>) {
    let (free, data) = {
        let mut s = b.state.lock();
        (s.free_privdata, std::mem::take(&mut s.privdata))
    };
    let Some(free) = free.filter(|_| data != 0) else { return };
    let _running = running(b.module, "free_privdata callback");
    let mut ctx = match client {
        Some((session, out)) => Ctx::for_client(Some(b.module), session, out),
        None => {
            let mut ctx = Ctx::internal(Some(b.module));
            ctx.flags |= ctx_flag::BLOCKED_DISCONNECTED;
            ctx
        }
    };
    ctx.privdata = data as *mut c_void;
    // SAFETY: ABI: registered for this signature, with this data; lock: the module lock is held.
    unsafe { free((&raw mut ctx).cast(), data as *mut c_void) };
    ctx.finish();
}

/// Number of blocked clients, for `INFO`.
pub fn count_waiting() -> usize {
    WAITING.lock().as_ref().map_or(0, |w| w.by_client.len())
}

/// When the next blocked client gives up, Unix milliseconds.
pub fn next_due() -> Option<i64> {
    WAITING.lock().as_ref().and_then(|w| w.due.first().map(|d| d.0))
}

/// Ends the wait of clients whose time is over. The calling thread has the module lock.
pub fn run_due(server: &'static Server, now: i64) {
    loop {
        let next = with_waiting(|w| {
            let &(due, id) = w.due.first()?;
            if due > now {
                return None;
            }
            w.due.remove(&(due, id));
            w.by_client.get(&id).cloned()
        });
        let Some(b) = next else { return };
        give_up(server, &b, None);
        super::thread::end_unit(server);
    }
}

/// The time is over, or `CLIENT UNBLOCK` says so: `error` replaces the timeout callback. The module still has its handle.
fn give_up(server: &'static Server, b: &Arc<BlockedClient>, error: Option<&str>) {
    forget(server, b);
    let Home::Connection(mut parked) = std::mem::replace(&mut *b.home.lock(), Home::Gone) else {
        return;
    };
    let Client { session, out, .. } = &mut *parked.client;
    let errors = out.errors;
    match error {
        Some(text) => {
            out.error(text);
            tell_disconnected(b, session, out);
        }
        None => timed_out(b, session, out),
    }
    count(b, 0, out.errors - errors);
    crate::dispatch::count_errors(server, out);
    end_key_wait(b);
    send_home(server, parked);
}

/// A client that waits for keys is unblocked by the server: the module does not call `UnblockClient` for it.
fn end_key_wait(b: &Arc<BlockedClient>) {
    if b.keys.is_empty() || std::mem::replace(&mut b.state.lock().unblocked, true) {
        return;
    }
    unblock(Arc::as_ptr(b));
}

/// Calls the disconnect callback. The module still has its handle, and gives it up as usual.
fn tell_disconnected(b: &Arc<BlockedClient>, session: &mut Session, out: &mut Reply) {
    let (callback, data) = {
        let mut s = b.state.lock();
        (s.disconnected.take(), s.privdata)
    };
    let Some(f) = callback else { return };
    let _running = running(b.module, "disconnect callback");
    let mut ctx = Ctx::for_client(Some(b.module), session, out);
    ctx.privdata = data as *mut c_void;
    // SAFETY: ABI: registered for this signature; the module still has its handle; lock: held.
    unsafe { f((&raw mut ctx).cast(), Arc::as_ptr(b).cast_mut().cast()) };
    ctx.finish();
}

/// The connection of a blocked client ended; called on the module thread. Its client goes home to be cleaned up.
pub fn disconnected(server: &'static Server, id: u64) {
    let Some(b) = with_waiting(|w| w.by_client.get(&id).cloned()) else { return };
    forget(server, &b);
    let Home::Connection(mut parked) = std::mem::replace(&mut *b.home.lock(), Home::Gone) else {
        return;
    };
    let Client { session, out, .. } = &mut *parked.client;
    tell_disconnected(&b, session, out);
    end_key_wait(&b);
    parked.client.session.close = true;
    send_home(server, parked);
}

/// `CLIENT UNBLOCK id [TIMEOUT|ERROR]`: whether there was such a client that may time out. The calling thread has the
/// module lock.
pub fn unblock_by_id(server: &'static Server, id: u64, error: bool) -> bool {
    let Some(b) = with_waiting(|w| w.by_client.get(&id).cloned()) else { return false };
    if b.state.lock().timeout.is_none() {
        return false;
    }
    give_up(server, &b, error.then_some("UNBLOCKED client unblocked via CLIENT UNBLOCK"));
    true
}

/// `SignalKeyAsReady`: whoever waits for the key looks at it at the end of the unit.
pub fn signal_key(server: &'static Server, db: usize, key: &[u8]) {
    if server.blocked_keys.load(Relaxed) != 0 {
        let key = key.to_vec();
        server.queue.task(Box::new(move || serve_key(Server::get(), db, &key, true)));
    }
}

/// Looks at keys that became ready for blocked clients. The calling thread has the module lock.
pub fn serve_ready_keys(server: &'static Server) {
    let keys = std::mem::take(&mut *server.ready_keys.lock());
    for (db, key) in keys {
        serve_key(server, db, &key, false);
    }
}

fn serve_key(server: &'static Server, db: usize, key: &[u8], signalled: bool) {
    let ids = with_waiting(|w| w.by_key.get(&(db, key.to_vec())).cloned().unwrap_or_default());
    for id in ids {
        if let Some(b) = with_waiting(|w| w.by_client.get(&id).cloned()) {
            serve(server, &b, db, key, signalled);
            super::thread::end_unit(server);
        }
    }
}

/// Asks a module whether a ready key satisfies its client.
fn serve(server: &'static Server, b: &Arc<BlockedClient>, db: usize, key: &[u8], signalled: bool) {
    if b.state.lock().unblocked {
        return;
    }
    let mut internal = Session::internal();
    internal.select(db);
    let tx = Tx::module(server, &mut internal, now_ms());
    // A string, a set or a hash is nothing that clients wait for, unless the module says so itself.
    let ready = match tx.peek(key) {
        None => b.on_deletion,
        Some(v) => {
            signalled || !matches!(v, ValueRef::String(_) | ValueRef::Set(_) | ValueRef::Hash(_))
        }
    };
    if !ready {
        return;
    }
    let Home::Connection(mut parked) = std::mem::replace(&mut *b.home.lock(), Home::Pending) else {
        return;
    };
    let reply = b.state.lock().reply;
    let Client { session, out, .. } = &mut *parked.client;
    let (start, errors, began) = (out.buf.len(), out.errors, mono_ns());
    let status = b.call(reply, "reply callback", ctx_flag::BLOCKED_REPLY, Some(key), session, out);
    if status != abi::OK {
        // The module wants to wait on.
        out.buf.truncate(start);
        *b.home.lock() = Home::Connection(parked);
        return;
    }
    count(b, mono_ns() - began, out.errors - errors);
    crate::dispatch::count_errors(server, out);
    *b.home.lock() = Home::Connection(parked);
    end_key_wait(b);
}
