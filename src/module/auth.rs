//! Authentication by modules: callbacks that are asked before passwords are, and clients that a module authenticated.
//!
//! While a module may have a say, `AUTH`, `HELLO` and `RESET` run under the module lock ([`listening`]). The callbacks are
//! asked in turn, the latest first, until one takes the matter on. It may block the client: then the whole command runs
//! again when the module unblocks it, beginning with that block's reply callback, and goes on with the next callback if
//! that one does not want to decide.
use super::abi;
use super::blocked::{park_client, BlockedClient, Parked};
use super::callback::running;
use super::context::{flag as ctx_flag, Ctx};
use super::registry::Module;
use super::string::RStr;
use crate::connection::client::{Client, ClientShared, Session};
use crate::execute::Tx;
use crate::observe::clock::now_ms;
use crate::reply::Reply;
use crate::server::Server;
use parking_lot::Mutex;
use std::ffi::c_void;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::Arc;

struct Callback {
    id: u64,
    module: &'static Module,
    function: abi::AuthFn,
}

/// What modules registered. The holder of the module lock changes it.
#[derive(Default)]
pub struct Callbacks {
    /// The latest first.
    list: Mutex<Vec<Callback>>,
    next_id: Mutex<u64>,
    /// Callbacks, and clients of which a module wants to hear.
    interested: AtomicUsize,
}

/// An attempt to authenticate in which modules have a say.
#[derive(Default)]
pub struct Attempt {
    /// The callback that was asked last.
    last: u64,
    /// A module authenticated the client.
    pub decided: bool,
    /// The command, to run again after the block.
    command: Vec<Vec<u8>>,
    /// The block that is over.
    resumed: Option<Arc<BlockedClient>>,
}

/// What a module wants to be told when a client that it authenticated is somebody else, or gone.
pub struct Follower {
    module: &'static Module,
    callback: abi::UserChangedFn,
    data: usize,
}

/// How an attempt ended.
#[derive(PartialEq, Eq, Debug)]
pub enum Outcome {
    /// No module decided: passwords do.
    NotHandled,
    /// A module made the client somebody.
    Authenticated,
    /// A module refused, with its own words or without.
    Denied(Option<String>),
    /// A module blocked the client.
    Blocked,
}

/// Whether modules have a say when clients authenticate.
#[inline]
pub fn listening(server: &Server) -> bool {
    server.modules.auth.interested.load(Relaxed) != 0
}

/// `RegisterAuthCallback`
pub fn register(server: &Server, module: &'static Module, function: abi::AuthFn) {
    let callbacks = &server.modules.auth;
    let mut next = callbacks.next_id.lock();
    *next += 1;
    callbacks.list.lock().insert(0, Callback { id: *next, module, function });
    callbacks.interested.fetch_add(1, Relaxed);
}

/// A module goes: its callbacks, and the clients that it authenticated and follows.
pub fn forget(server: &'static Server, module: &'static Module) {
    let callbacks = &server.modules.auth;
    callbacks.list.lock().retain(|c| {
        let keep = !std::ptr::eq(c.module, module);
        if !keep {
            callbacks.interested.fetch_sub(1, Relaxed);
        }
        keep
    });
    let clients: Vec<_> = server.clients.lock().values().cloned().collect();
    for client in clients {
        let follower = client.follower.lock().as_ref().map(|f| f.module);
        if follower.is_some_and(|m| std::ptr::eq(m, module)) {
            user_changed(server, &client);
            server.clients.lock().remove(&client.id);
            client.kill_after_reply();
        }
    }
}

/// Makes a module follow a client.
pub fn follow(
    server: &Server,
    client: &ClientShared,
    module: &'static Module,
    callback: abi::UserChangedFn,
    data: *mut c_void,
) {
    server.modules.auth.interested.fetch_add(1, Relaxed);
    *client.follower.lock() = Some(Box::new(Follower { module, callback, data: data as usize }));
}

/// Tells the module that follows a client, if any, that it is somebody else, or gone: once. The caller has the module
/// lock if somebody follows.
pub fn user_changed(server: &Server, client: &ClientShared) {
    let Some(f) = client.follower.lock().take() else { return };
    server.modules.auth.interested.fetch_sub(1, Relaxed);
    let Some(callback) = f.callback else { return };
    let _running = running(f.module, &"user changed callback");
    // SAFETY: ABI: registered for this signature, with this data; lock: the module lock is held.
    unsafe { callback(client.id, f.data as *mut c_void) };
}

/// A connection ended.
pub fn disconnected(server: &'static Server, client: &Arc<ClientShared>) {
    if client.follower.lock().is_some() {
        let client = client.clone();
        server.queue.task(Box::new(move || user_changed(server, &client)));
    }
}

/// The error string of a callback.
struct ErrorText(*mut RStr);

impl ErrorText {
    fn take(&mut self) -> Option<String> {
        let s = std::mem::replace(&mut self.0, std::ptr::null_mut());
        if s.is_null() {
            return None;
        }
        // SAFETY: ABI: a module that sets the error gives its reference away.
        unsafe {
            let text = String::from_utf8_lossy(RStr::bytes(s)).into_owned();
            RStr::release(s);
            Some(text)
        }
    }
}

/// Who wants to be whom.
struct Login {
    user: *mut RStr,
    password: *mut RStr,
}

impl Drop for Login {
    fn drop(&mut self) {
        // SAFETY: ABI: our own references.
        unsafe {
            RStr::release(self.user);
            RStr::release(self.password);
        }
    }
}

/// Asks one callback. Whether it took the matter on.
fn ask(f: abi::AuthFn, ctx: &mut Ctx, login: &Login, error: &mut ErrorText) -> bool {
    let Some(f) = f else { return false };
    error.take();
    // SAFETY: ABI: registered for this signature; lock: the module lock is held.
    let result = unsafe {
        f(
            (&raw mut *ctx).cast(),
            login.user.cast(),
            login.password.cast(),
            (&raw mut error.0).cast(),
        )
    };
    ctx.finish();
    i64::from(result) == i64::from(abi::AUTH_HANDLED)
}

/// Asks the modules whether a client may be this user. The caller has the module lock if somebody listens. `command` is
/// the client's command, which runs again if it is blocked.
pub fn attempt(
    tx: &mut Tx<'_>,
    user: &[u8],
    password: &[u8],
    command: &[&[u8]],
    out: &mut Reply,
) -> Outcome {
    let server = tx.server;
    if !listening(server) || tx.mode() != crate::execute::Mode::Module {
        return Outcome::NotHandled;
    }
    let session = &mut *tx.session;
    let login = Login { user: RStr::new(user), password: RStr::new(password) };
    let mut error = ErrorText(std::ptr::null_mut());
    let mut handled = false;
    if let Some(b) = session.module_auth.as_mut().and_then(|a| a.resumed.take()) {
        handled = resume_block(&b, session, &login, &mut error, out);
    }
    while !handled {
        let last = session.module_auth.as_ref().map(|a| a.last);
        let next = {
            let list = server.modules.auth.list.lock();
            let from = last.map_or(0, |l| list.partition_point(|c| c.id >= l));
            list.get(from).map(|c| (c.id, c.module, c.function))
        };
        let Some((id, module, function)) = next else { break };
        session.module_auth = Some(Box::new(Attempt { last: id, ..Attempt::default() }));
        let _running = running(module, &"authentication callback");
        let mut ctx = Ctx::for_client(Some(module), session, out);
        handled = ask(function, &mut ctx, &login, &mut error);
    }
    if session.blocked_on.is_some() {
        if let Some(a) = &mut session.module_auth {
            a.command = command.iter().map(|w| w.to_vec()).collect();
        }
        return Outcome::Blocked;
    }
    let decided = session.module_auth.take().is_some_and(|a| a.decided);
    match handled {
        false => Outcome::NotHandled,
        true if decided && session.authenticated => Outcome::Authenticated,
        true => Outcome::Denied(error.take()),
    }
}

/// The reply callback of a block that is over, then the end of its private data.
fn resume_block(
    b: &Arc<BlockedClient>,
    session: &mut Session,
    login: &Login,
    error: &mut ErrorText,
    out: &mut Reply,
) -> bool {
    let (callback, data) = {
        let s = b.state.lock();
        (s.auth_reply, s.privdata)
    };
    let handled = {
        let _running = running(b.module, &"authentication reply callback");
        let mut ctx = Ctx::for_client(Some(b.module), session, out);
        ctx.flags |= ctx_flag::BLOCKED_REPLY;
        ctx.blocked = Some(b.clone());
        ctx.privdata = data as *mut c_void;
        ask(callback, &mut ctx, login, error)
    };
    super::blocked::free_privdata(b, Some((session, out)));
    handled
}

/// The block of a client that authenticates is over: its command runs again.
pub fn resume(server: &'static Server, b: &Arc<BlockedClient>, mut parked: Parked) {
    let Client { session, out, .. } = &mut *parked.client;
    session.blocked_on = None;
    let (start, muted) = (out.buf.len(), b.state.lock().muted);
    let words = session.module_auth.as_mut().map(|a| {
        a.resumed = Some(b.clone());
        std::mem::take(&mut a.command)
    });
    let words = words.unwrap_or_default();
    let args: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
    let table = server.modules.current_table(server);
    if let Some(command) = (!args.is_empty()).then(|| table.resolve(&args)).flatten() {
        let mut tx = Tx::module(server, session, now_ms());
        crate::dispatch::call(&mut tx, command, &args, out);
        command.stats.add_time(b.state.lock().measured);
    }
    if let Some(next) = &session.blocked_on {
        next.state.lock().muted = muted;
        park_client(server, parked.client, parked.slot, parked.thread);
        return;
    }
    if muted {
        out.buf.truncate(start);
    }
    super::busy::send_home(server, parked.client, parked.slot, parked.thread);
}
