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
use crate::connection::client::{flag, Client, ClientShared, Session};
use crate::connection::limits;
use crate::connection::serving::Slot;
use crate::dispatch::table::Command;
use crate::execute::Tx;
use crate::keyspace::value::ValueRef;
use crate::observe::clock::{mono_ns, now_ms};
use crate::reply::Reply;
use crate::server::Server;
use parking_lot::Mutex;
use std::cell::UnsafeCell;
use std::collections::{BTreeSet, HashMap};
use std::ffi::c_void;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
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

/// Who waits for the end of the block.
#[derive(Default)]
pub enum Home {
    /// Nobody yet: the command that blocked the client still runs.
    #[default]
    Pending,
    /// A connection, or a module that called a command which blocked (see [`super::api::promise`]).
    Client(Parked),
    /// Nobody any more: refused, timed out or disconnected.
    Gone,
}

/// `RedisModuleBlockedClient`.
pub struct BlockedClient {
    /// Unique.
    pub number: u64,
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
    /// The client wants no reply to its command.
    pub muted: bool,
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
    /// The command and what its run took in nanoseconds, until it is counted.
    pub command: Option<(Arc<Command>, u64)>,
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
        static NUMBER: AtomicU64 = AtomicU64::new(1);
        BlockedClient {
            number: NUMBER.fetch_add(1, Relaxed),
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
        what: crate::lock::owner::Label,
        bits: u32,
        ready: Option<&[u8]>,
        session: &mut Session,
        out: &mut Reply,
    ) -> i32 {
        let Some(f) = f.filter(|_| !self.module.gone.load(Relaxed)) else { return abi::OK };
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
    by_number: HashMap<u64, Arc<BlockedClient>>,
    /// Numbers by the client's id; calls of modules have none.
    by_client: HashMap<u64, u64>,
    by_key: HashMap<(usize, Vec<u8>), Vec<u64>>,
    due: BTreeSet<(i64, u64)>,
}

static WAITING: Mutex<Option<Waiting>> = Mutex::new(None);

fn with_waiting<R>(f: impl FnOnce(&mut Waiting) -> R) -> R {
    f(WAITING.lock().get_or_insert_with(Waiting::default))
}

impl Waiting {
    fn of_client(&self, id: u64) -> Option<Arc<BlockedClient>> {
        self.by_client.get(&id).and_then(|n| self.by_number.get(n)).cloned()
    }
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
    b.shared.put(flag::BLOCKED, true);
    slot.blocked(std::mem::take(&mut client.out.buf));
    park(server, &b, Parked { client, slot, thread });
}

/// Leaves a client with what blocked it, until the block ends. The calling thread has the module lock.
pub fn park(server: &'static Server, b: &Arc<BlockedClient>, parked: Parked) {
    let due = b.state.lock().due;
    with_waiting(|w| {
        for key in &b.keys {
            w.by_key.entry((b.db, key.clone())).or_default().push(b.number);
            server.blocked_keys.fetch_add(1, Relaxed);
        }
        if due != 0 {
            w.due.insert((due, b.number));
        }
        if !b.shared.has(flag::INTERNAL) {
            w.by_client.insert(b.shared.id, b.number);
        }
        w.by_number.insert(b.number, b.clone());
    });
    *b.home.lock() = Home::Client(parked);
}

/// A module gives up a call that blocked. The calling thread has the module lock.
pub fn give_promise_up(server: &Server, b: &Arc<BlockedClient>) {
    forget(server, b);
    *b.home.lock() = Home::Gone;
}

/// Takes a client out of all lists of waiting ones.
fn forget(server: &Server, b: &BlockedClient) {
    let number = b.number;
    let due = std::mem::take(&mut b.state.lock().due);
    let was_there = with_waiting(|w| {
        if w.by_number.remove(&number).is_none() {
            return false;
        }
        if w.by_client.get(&b.shared.id) == Some(&number) {
            w.by_client.remove(&b.shared.id);
        }
        w.due.remove(&(due, number));
        for key in &b.keys {
            let at = (b.db, key.clone());
            if let Some(list) = w.by_key.get_mut(&at) {
                if let Some(i) = list.iter().position(|c| *c == number) {
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
    let block = parked.client.session.blocked_on.take();
    if parked.client.session.promised.is_some() {
        super::api::promise::go_on(server, parked.client);
        return;
    }
    let Client { session, out, .. } = &mut *parked.client;
    if block.is_some_and(|b| b.state.lock().muted) {
        // What there was before is on its way since the client was parked.
        out.buf.clear();
    }
    // A reply that is too large for the client is not sent, whether or not its socket would take it.
    if limits::passes_with(server, &session.shared, out.buf.len()) {
        session.close = true;
    }
    super::busy::send_home(server, parked.client, parked.slot, parked.thread);
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
        Home::Client(parked) if on_auth => super::auth::resume(server, &b, parked),
        Home::Client(mut parked) => {
            let Client { session, out, .. } = &mut *parked.client;
            let (errors, began) = (out.errors, mono_ns());
            if b.keys.is_empty() {
                b.call(reply, &"reply callback", ctx_flag::BLOCKED_REPLY, None, session, out);
            } else if by_hand {
                timed_out(&b, session, out);
            }
            free_privdata(&b, Some((session, out)));
            // SAFETY: ABI: after `UnblockClient` no thread of the module writes replies any more.
            let late = unsafe { &mut *b.thread_reply() };
            out.raw(&late.buf);
            out.errors += late.errors;
            out.codes.append(&mut late.codes);
            count(server, &b, session, mono_ns() - began, out.errors - errors);
            crate::dispatch::count_errors(server, out);
            send_home(server, parked);
        }
        Home::Pending | Home::Gone => free_privdata(&b, None),
    }
    b.module.blocked_clients.fetch_sub(1, Relaxed);
}

/// Counts the command, once: with the time that the module measured, and that of its reply callback.
fn count(server: &Server, b: &BlockedClient, session: &Session, callback_ns: u64, errors: u64) {
    let (command, measured) = {
        let mut s = b.state.lock();
        (s.command.take(), s.measured)
    };
    let Some((command, ran)) = command else { return };
    // SAFETY: ABI: the references taken in `new`.
    let args: Vec<&[u8]> = b.argv.iter().map(|s| unsafe { RStr::bytes(*s) }).collect();
    let ns = ran + measured + callback_ns;
    crate::dispatch::observe::unblocked(server, session, &command, &args, ns, callback_ns, errors);
}

fn timed_out(b: &Arc<BlockedClient>, session: &mut Session, out: &mut Reply) {
    let timeout = b.state.lock().timeout;
    b.call(timeout, &"timeout callback", ctx_flag::BLOCKED_TIMEOUT, None, session, out);
    b.state.lock().disconnected = None;
}

/// Frees the private data of a block that is over. The calling thread has the module lock.
pub fn free_privdata(b: &Arc<BlockedClient>, client: Option<(&mut Session, &mut Reply)>) {
    let (free, data) = {
        let mut s = b.state.lock();
        (s.free_privdata, std::mem::take(&mut s.privdata))
    };
    let Some(free) = free.filter(|_| data != 0 && !b.module.gone.load(Relaxed)) else { return };
    let _running = running(b.module, &"free_privdata callback");
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

/// When the next blocked client gives up, Unix milliseconds: when its time is over, so a timer of the same millisecond
/// comes first.
pub fn next_due() -> Option<i64> {
    WAITING.lock().as_ref().and_then(|w| w.due.first().map(|d| d.0.saturating_add(1)))
}

/// Ends the wait of clients whose time is over. The calling thread has the module lock.
pub fn run_due(server: &'static Server, now: i64) {
    loop {
        let next = with_waiting(|w| {
            let &(due, id) = w.due.first()?;
            if due >= now {
                return None;
            }
            w.due.remove(&(due, id));
            Some(w.by_number.get(&id).cloned())
        });
        let Some(b) = next else { return };
        // One that the module unblocked already gets its reply.
        let Some(b) = b.filter(|b| !b.state.lock().unblocked) else { continue };
        give_up(server, &b, None);
        super::thread::end_unit(server);
    }
}

/// The time is over, or `CLIENT UNBLOCK` says so: `error` replaces the timeout callback. The module still has its handle.
fn give_up(server: &'static Server, b: &Arc<BlockedClient>, error: Option<&str>) {
    forget(server, b);
    let Home::Client(mut parked) = std::mem::replace(&mut *b.home.lock(), Home::Gone) else {
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
    count(server, b, session, 0, out.errors - errors);
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
    let Some(f) = callback.filter(|_| !b.module.gone.load(Relaxed)) else { return };
    let _running = running(b.module, &"disconnect callback");
    let mut ctx = Ctx::for_client(Some(b.module), session, out);
    ctx.privdata = data as *mut c_void;
    // SAFETY: ABI: registered for this signature; the module still has its handle; lock: held.
    unsafe { f((&raw mut ctx).cast(), Arc::as_ptr(b).cast_mut().cast()) };
    ctx.finish();
}

/// The connection of a blocked client ended; called on the module thread. Its client goes home to be cleaned up.
pub fn disconnected(server: &'static Server, id: u64) {
    let Some(b) = with_waiting(|w| w.of_client(id)) else { return };
    forget(server, &b);
    let Home::Client(mut parked) = std::mem::replace(&mut *b.home.lock(), Home::Gone) else {
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
    let Some(b) = with_waiting(|w| w.of_client(id)) else { return false };
    if b.state.lock().timeout.is_none() {
        return false;
    }
    give_up(server, &b, error.then_some("UNBLOCKED client unblocked via CLIENT UNBLOCK"));
    true
}

/// Whether a client waits for a key.
pub fn is_awaited(db: usize, key: &[u8]) -> bool {
    with_waiting(|w| w.by_key.contains_key(&(db, key.to_vec())))
}

/// The keys of a database that clients wait for.
pub fn awaited_keys(db: usize) -> Vec<Vec<u8>> {
    with_waiting(|w| w.by_key.keys().filter(|k| k.0 == db).map(|k| k.1.clone()).collect())
}

/// What clients are told whose wait makes no sense any more.
pub const FORCED: &str =
    "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)";

/// The server becomes a replica: no wait goes on. The calling thread has the module lock.
pub fn force_all(server: &'static Server) {
    let all: Vec<_> = with_waiting(|w| w.by_client.keys().copied().collect());
    for id in all {
        let Some(b) = with_waiting(|w| w.of_client(id)) else { continue };
        forget(server, &b);
        let home = std::mem::replace(&mut *b.home.lock(), Home::Gone);
        let Home::Client(mut parked) = home else { continue };
        let Client { session, out, .. } = &mut *parked.client;
        out.error(FORCED);
        crate::dispatch::count_errors(server, out);
        tell_disconnected(&b, session, out);
        end_key_wait(&b);
        parked.client.session.close = true;
        send_home(server, parked);
    }
}

/// Why a key is looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Why {
    /// It was made, or got an entry.
    Ready,
    /// It was deleted or overwritten.
    Gone,
    /// A module says so.
    Signalled,
}

/// `SignalKeyAsReady`: whoever waits for the key looks at it at the end of the unit.
pub fn signal_key(server: &'static Server, db: usize, key: &[u8]) {
    if server.blocked_keys.load(Relaxed) != 0 {
        let key = key.to_vec();
        server.queue.task(Box::new(move || serve_key(Server::get(), db, &key, Why::Signalled)));
    }
}

/// Looks at keys that became ready for blocked clients. The calling thread has the module lock.
pub fn serve_ready_keys(server: &'static Server) {
    let keys = std::mem::take(&mut *server.ready_keys.lock());
    for (db, key, gone) in keys {
        serve_key(server, db, &key, if gone { Why::Gone } else { Why::Ready });
    }
}

fn serve_key(server: &'static Server, db: usize, key: &[u8], why: Why) {
    let waiting: Vec<Arc<BlockedClient>> = with_waiting(|w| {
        let numbers = w.by_key.get(&(db, key.to_vec())).cloned().unwrap_or_default();
        numbers.iter().filter_map(|n| w.by_number.get(n).cloned()).collect()
    });
    // As on Redis, the end of a key concerns all who wait for it as soon as it concerns one of them.
    if why == Why::Gone && !waiting.iter().any(|b| b.on_deletion) {
        return;
    }
    for b in waiting {
        serve(server, &b, db, key, why);
        super::thread::end_unit(server);
    }
}

/// Asks a module whether a ready key satisfies its client.
fn serve(server: &'static Server, b: &Arc<BlockedClient>, db: usize, key: &[u8], why: Why) {
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
            why != Why::Ready
                || !matches!(v, ValueRef::String(_) | ValueRef::Set(_) | ValueRef::Hash(_))
        }
    };
    if !ready {
        return;
    }
    let Home::Client(mut parked) = std::mem::replace(&mut *b.home.lock(), Home::Pending) else {
        return;
    };
    let reply = b.state.lock().reply;
    let Client { session, out, .. } = &mut *parked.client;
    let (start, errors, began) = (out.buf.len(), out.errors, mono_ns());
    let status = b.call(reply, &"reply callback", ctx_flag::BLOCKED_REPLY, Some(key), session, out);
    if status != abi::OK {
        // The module wants to wait on.
        out.buf.truncate(start);
        *b.home.lock() = Home::Client(parked);
        return;
    }
    count(server, b, session, mono_ns() - began, out.errors - errors);
    crate::dispatch::count_errors(server, out);
    *b.home.lock() = Home::Client(parked);
    end_key_wait(b);
}
