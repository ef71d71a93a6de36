//! A serving thread: a tokio current-thread runtime that owns its connections.
//!
//! Hand-overs are cheap because they are batched on both sides. Jobs of all connections that became ready in one turn
//! of the event loop go to the module thread together, with one wake-up; so do the clients on their way back.
use super::client::{flag, Client, ClientShared, Session};
use super::outbox::Outbox;
use super::uring::{engine, RingSocket};
use super::{limits, serve, Socket};
use crate::config::enums::event_loop;
use crate::dispatch::table::Table;
use crate::execute::blocking;
use crate::module::attend::Home;
use crate::module::blocked::Parked;
use crate::module::thread::Job;
use crate::observe::log::{log, Level};
use crate::server::Server;
use parking_lot::Mutex;
use std::future::{poll_fn, Future};
use std::os::fd::{AsRawFd, RawFd};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::Arc;
use std::task::{Poll, Waker};
use tokio::io::ReadBuf;
use tokio::sync::Notify;

/// A socket on its way to its serving thread.
pub enum Accepted {
    /// TCP.
    Tcp(std::net::TcpStream),
    /// Unix domain.
    Unix(std::os::unix::net::UnixStream),
}

/// A connection on its way to its serving thread.
pub enum Arrival {
    /// It was just accepted.
    New(Accepted),
    /// It comes back from the module thread, with replies that are not sent, perhaps.
    Back(Accepted, Box<Client>),
    /// The same, while the client is elsewhere: it will be put into the slot.
    Away(Accepted, Arc<ClientShared>, Arc<Slot>),
}

/// How a connection's task begins.
pub enum Start {
    /// With a client that has just connected.
    New(Box<Client>),
    /// With a client as the module thread gives it back.
    Back(Box<Client>),
    /// Waiting for the client.
    Away(Arc<ClientShared>, Arc<Slot>),
}

impl Accepted {
    /// Whether calls fail that would have to wait.
    pub fn set_nonblocking(&self, is: bool) -> std::io::Result<()> {
        match self {
            Accepted::Tcp(s) => s.set_nonblocking(is),
            Accepted::Unix(s) => s.set_nonblocking(is),
        }
    }
}

impl AsRawFd for Accepted {
    fn as_raw_fd(&self) -> RawFd {
        match self {
            Accepted::Tcp(s) => s.as_raw_fd(),
            Accepted::Unix(s) => s.as_raw_fd(),
        }
    }
}

/// What other threads may reach of a serving thread.
#[derive(Default)]
pub struct ServingThread {
    /// Odd while the thread executes commands.
    epoch: AtomicU64,
    /// The thread sleeps, or is about to: it has to be woken by a system call.
    parked: AtomicBool,
    /// There is something in one of the lists below.
    pending: AtomicBool,
    inbox: Mutex<Vec<Arrival>>,
    returned: Mutex<Vec<(Arc<Slot>, Box<Client>)>>,
    /// To send replies for the module thread.
    helps: AtomicBool,
    notify: Notify,
}

impl ServingThread {
    /// Waits until the thread has left the commands that it is in, if any.
    pub fn wait_until_left(&self) {
        let then = self.epoch.load(SeqCst);
        while then & 1 == 1 && self.epoch.load(SeqCst) == then {
            std::thread::yield_now();
        }
    }

    /// Gives the thread a connection.
    pub fn give(&self, connection: Arrival) {
        self.inbox.lock().push(connection);
        self.call();
    }

    /// Gives clients back, with one wake-up for all.
    pub fn give_back(&self, clients: impl IntoIterator<Item = (Arc<Slot>, Box<Client>)>) {
        self.returned.lock().extend(clients);
        self.call();
    }

    /// Has the thread send replies to clients that the module thread attends to.
    pub fn send_for_module_thread(&self) {
        self.helps.store(true, SeqCst);
        self.call();
    }

    /// Makes the thread look at what it was given. A thread that is awake looks by itself: at its next commands, and
    /// before it sleeps.
    fn call(&self) {
        self.pending.store(true, SeqCst);
        if self.parked.load(SeqCst) {
            self.notify.notify_one();
        }
    }

    /// The thread is about to sleep. If it may share its core (`shares`), it first lets others run once: those are the
    /// clients whose next requests it would be woken for one by one.
    fn park(&self, shares: bool) {
        self.parked.store(true, SeqCst);
        if self.pending.load(SeqCst) {
            self.notify.notify_one();
        } else if shares {
            std::thread::yield_now();
        }
    }
}

/// The place where a connection's task waits for its client, or for a held key.
#[derive(Default)]
pub struct Slot {
    state: Mutex<SlotState>,
}

#[derive(Default)]
struct SlotState {
    client: Option<Box<Client>>,
    waker: Option<Waker>,
    /// Replies of a blocked client that must not wait for the end of the block.
    early: Vec<u8>,
    /// The client is blocked, and got all replies that it had in `early`.
    blocked: bool,
    /// The connection's task is woken when the socket can be read, client or not.
    watched: bool,
}

impl Slot {
    fn put(&self, client: Box<Client>) {
        let mut s = self.state.lock();
        s.client = Some(client);
        s.blocked = false;
        if let Some(w) = s.waker.take() {
            w.wake();
        }
    }

    /// Puts a client here that has got all its replies: its task need not look at it before the next request comes, or
    /// something else is wanted of it.
    pub fn put_answered(&self, client: Box<Client>) {
        let mut s = self.state.lock();
        let shared = client.session.shared.clone();
        s.client = Some(client);
        s.blocked = false;
        // Whoever wants something wakes the task first, which looks here under the mutex: one of the two sees the other.
        if s.watched && shared.wanted.load(SeqCst) == 0 && !shared.has(flag::KILLED) {
            return;
        }
        if let Some(w) = s.waker.take() {
            w.wake();
        }
    }

    /// The client is blocked: the connection's task sends what it was given before and begins to watch its socket.
    pub fn blocked(&self, early: Vec<u8>) {
        let mut s = self.state.lock();
        s.early.extend_from_slice(&early);
        s.blocked = true;
        if let Some(w) = s.waker.take() {
            w.wake();
        }
    }

    /// Waits to be woken once: the waker was left at a shard before.
    pub async fn parked(&self) {
        let mut first = true;
        poll_fn(
            |_| {
                if std::mem::replace(&mut first, false) {
                    Poll::Pending
                } else {
                    Poll::Ready(())
                }
            },
        )
        .await;
    }
}

/// What a thread's connections share. Used by tasks of this thread only; the mutexes are never contended and only make
/// the tasks `Send`, as the runtime asks.
pub struct Cached {
    me: Arc<ServingThread>,
    number: usize,
    table: Mutex<(u64, Arc<Table>)>,
    input: Mutex<Vec<u8>>,
    outputs: Mutex<Vec<Vec<u8>>>,
    jobs: Mutex<Vec<Job>>,
    jobs_ready: Notify,
}

/// Spare output buffers that a thread keeps.
const SPARE_OUTPUTS: usize = 64;
/// Output buffers that grew beyond this are not kept.
const SPARE_SIZE: usize = 64 * 1024;

/// The thread is executing commands under this table.
pub struct Entered<'a> {
    cached: &'a Cached,
    table: Arc<Table>,
}

impl Entered<'_> {
    /// The command table of this turn.
    pub fn table(&self) -> &Table {
        &self.table
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        let e = &self.cached.me.epoch;
        e.store(e.load(Relaxed) + 1, std::sync::atomic::Ordering::Release);
    }
}

impl Cached {
    /// Begins to execute commands: marks the epoch, then looks at the table, in this order.
    pub fn enter(&self, server: &Server) -> Entered<'_> {
        self.me.epoch.fetch_add(1, SeqCst);
        if self.me.pending.load(Relaxed) {
            self.me.notify.notify_one();
        }
        let mut t = self.table.lock();
        let version = server.table_version.load(SeqCst);
        if t.0 != version {
            *t = (version, server.table.load_full());
        }
        Entered { cached: self, table: t.1.clone() }
    }

    /// Takes the thread's read buffer.
    pub fn take_input(&self) -> Vec<u8> {
        let mut buf = std::mem::take(&mut *self.input.lock());
        if buf.is_empty() {
            buf = vec![0; super::READ_SIZE];
        }
        buf
    }

    /// Gives the read buffer back.
    pub fn give_input(&self, buf: Vec<u8>) {
        *self.input.lock() = buf;
    }

    /// The number of the thread.
    pub fn number(&self) -> usize {
        self.number
    }

    /// An empty output buffer, with capacity if one is spare.
    pub fn take_output(&self) -> Vec<u8> {
        self.outputs.lock().pop().unwrap_or_default()
    }

    /// Gives an output buffer back.
    pub fn give_output(&self, mut buf: Vec<u8>) {
        let mut spare = self.outputs.lock();
        if buf.capacity() > 0 && buf.capacity() <= SPARE_SIZE && spare.len() < SPARE_OUTPUTS {
            buf.clear();
            spare.push(buf);
        }
    }

    /// Gives the client to the module thread, which puts it into the slot when it is done. If `direct`, the client has got
    /// all replies before this request's.
    pub fn hand_over(&self, mut client: Box<Client>, slot: &Arc<Slot>, direct: bool) {
        let db = client.session.db;
        let key = client.session.known_key.take().map(|key| key.in_db(db));
        let mut jobs = self.jobs.lock();
        let home = Home::Slot(slot.clone());
        jobs.push(Job::Client { client, home, thread: self.number, key, direct });
        if jobs.len() == 1 {
            self.jobs_ready.notify_one();
        }
    }

    /// Waits for the client, whose shared part this is, to come into its slot. While it is blocked, its socket is watched:
    /// what arrives is kept for later, and the end of the connection is reported to the module thread.
    pub async fn wait_at<S: Socket>(
        &self,
        server: &'static Server,
        shared: &Arc<ClientShared>,
        slot: &Arc<Slot>,
        socket: &mut S,
        outbox: &mut Outbox,
    ) -> Box<Client> {
        let (mut arrived, mut ended) = (Vec::new(), false);
        let mut early = Vec::new();
        let mut client = poll_fn(|cx| {
            {
                let mut s = slot.state.lock();
                early.append(&mut s.early);
                if let Some(c) = s.client.take() {
                    return Poll::Ready(c);
                }
                s.waker = Some(cx.waker().clone());
                s.watched = socket.watches(cx);
                // A blocked client has no replies but the early ones; its messages need not wait for its next.
                if s.blocked {
                    shared.collect(&mut early);
                }
            }
            if !early.is_empty() {
                if let Some(offset) = server.aof.before_replies(server) {
                    if server.aof.poll_safe(offset, cx).is_pending() {
                        return Poll::Pending;
                    }
                }
                outbox.add(&mut early);
            }
            // An error shows when the connection is read.
            outbox.drain(cx, server, socket);
            if shared.has(flag::BLOCKED) && !ended && arrived.len() < MOST_WHILE_BLOCKED {
                ended = self.read_blocked(cx, socket, &mut arrived);
                if ended {
                    let id = shared.id;
                    server
                        .queue
                        .task(Box::new(move || crate::module::blocked::disconnected(server, id)));
                }
            }
            Poll::Pending
        })
        .await;
        client.input.extend_from_slice(&arrived);
        if !early.is_empty() {
            client.out.buf.splice(0..0, early);
        }
        client
    }

    /// Waits until the client's request, which waits for keys, is answered or has to run again. Watches the socket
    /// meanwhile, as above.
    pub async fn wait_for_keys<S: Socket>(
        &self,
        server: &'static Server,
        client: Box<Client>,
        slot: &Arc<Slot>,
        socket: &mut S,
        outbox: &mut Outbox,
    ) -> Box<Client> {
        let Some(waiter) = client.session.waiting.as_ref().map(|w| w.waiter.clone()) else {
            return client;
        };
        let shared = client.session.shared.clone();
        shared.put(flag::BLOCKED, true);
        *shared.waiter.lock() = Some(waiter.clone());
        let (mut arrived, mut ended) = (Vec::new(), false);
        let mut timer = waiter.deadline.map(|at| {
            let left = (at - crate::observe::clock::now_ms()).max(0) as u64;
            sleep(std::time::Duration::from_millis(left))
        });
        let parked = Parked { client, slot: slot.clone(), thread: self.number };
        let mut mail = Vec::new();
        let mut client = match waiter.park(parked) {
            Err(mut parked) => {
                blocking::run_again(&mut parked.client);
                parked.client
            }
            Ok(()) => {
                poll_fn(|cx| {
                    {
                        let mut s = slot.state.lock();
                        if let Some(c) = s.client.take() {
                            return Poll::Ready(c);
                        }
                        s.waker = Some(cx.waker().clone());
                    }
                    // Messages that were there while the client was still parked belong before its reply. Whoever takes
                    // it may run a command that reads a key: what is said of the key afterwards goes behind the reply.
                    shared.collect(&mut mail);
                    let is_safe = mail.is_empty()
                        || server
                            .aof
                            .before_replies(server)
                            .is_none_or(|offset| server.aof.poll_safe(offset, cx).is_ready());
                    if is_safe && waiter.has_client() {
                        outbox.add(&mut mail);
                    }
                    outbox.drain(cx, server, socket);
                    // Whoever takes the client out of the waiter answers it; here that is the time or the connection's
                    // end. If somebody else was faster, the client is on its way home.
                    if timer.as_mut().is_some_and(|t| t.as_mut().poll(cx).is_ready()) {
                        timer = None;
                        if let Some(mut p) = waiter.take() {
                            waiter.time_out(server, &mut p.client);
                            return Poll::Ready(p.client);
                        }
                    }
                    if !ended && arrived.len() < MOST_WHILE_BLOCKED {
                        ended = self.read_blocked(cx, socket, &mut arrived);
                        if let Some(p) = ended.then(|| waiter.take()).flatten() {
                            return Poll::Ready(p.client);
                        }
                    }
                    Poll::Pending
                })
                .await
            }
        };
        waiter.leave(server);
        *shared.waiter.lock() = None;
        shared.put(flag::BLOCKED, false);
        client.session.waiting = None;
        client.session.close |= ended;
        client.out.buf.append(&mut mail);
        client.input.extend_from_slice(&arrived);
        client
    }

    /// Reads what a blocked client sends; true when its connection ended.
    fn read_blocked<S: Socket>(
        &self,
        cx: &mut std::task::Context<'_>,
        socket: &mut S,
        arrived: &mut Vec<u8>,
    ) -> bool {
        let mut buf = self.take_input();
        let ended = loop {
            let mut read = ReadBuf::new(&mut buf);
            match Pin::new(&mut *socket).poll_read(cx, &mut read) {
                Poll::Pending => break false,
                Poll::Ready(Ok(())) if !read.filled().is_empty() => {
                    arrived.extend_from_slice(read.filled());
                    if arrived.len() >= MOST_WHILE_BLOCKED {
                        break false;
                    }
                }
                Poll::Ready(_) => break true,
            }
        };
        self.give_input(buf);
        ended
    }
}

/// What a blocked client may send ahead.
const MOST_WHILE_BLOCKED: usize = 1 << 20;

/// Passes the jobs of one turn of the event loop on: it runs behind the connections that became ready with it.
async fn pass_jobs_on(server: &'static Server, cached: Arc<Cached>) {
    loop {
        cached.jobs_ready.notified().await;
        let mut jobs = cached.jobs.lock();
        server.stats.handovers.add(1);
        server.queue.push_all(&mut jobs);
    }
}

/// The body of a serving thread.
pub fn run(server: &'static Server, number: usize, me: Arc<ServingThread>) {
    let (parking, unparking) = (me.clone(), me.clone());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let shares = server.config.server_threads() >= cores;
    let cached = Arc::new(Cached {
        me: me.clone(),
        number,
        table: Mutex::new((0, server.table.load_full())),
        input: Mutex::default(),
        outputs: Mutex::default(),
        jobs: Mutex::default(),
        jobs_ready: Notify::new(),
    });
    let after_sleep = move || unparking.parked.store(false, SeqCst);
    if begin_ring(server, number) {
        engine::spawn(pass_jobs_on(server, cached.clone()));
        engine::spawn(receive(server, cached));
        return engine::run_until(|| false, move || parking.park(false), after_sleep, shares);
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .on_thread_park(move || parking.park(shares))
        .on_thread_unpark(after_sleep)
        .build()
        .expect("a serving thread has its event loop");
    runtime.block_on(async {
        tokio::spawn(pass_jobs_on(server, cached.clone()));
        receive(server, cached).await;
    });
}

/// Whether the thread's event loop is a ring.
fn begin_ring(server: &'static Server, number: usize) -> bool {
    let wanted = server.config.event_loop();
    if wanted == event_loop::EPOLL {
        return false;
    }
    let begun = engine::begin();
    if let (Err(e), 0) = (&begun, number) {
        let level = if wanted == event_loop::IO_URING { Level::Warning } else { Level::Verbose };
        log(level, &format!("No io_uring for the event loops ({e}), using epoll"));
    }
    begun.is_ok()
}

/// Takes what others give to the thread: connections, clients that come back, replies to send.
async fn receive(server: &'static Server, cached: Arc<Cached>) {
    let me = &cached.me;
    loop {
        me.notify.notified().await;
        me.pending.store(false, SeqCst);
        for (slot, client) in std::mem::take(&mut *me.returned.lock()) {
            slot.put(client);
        }
        if me.helps.swap(false, SeqCst) {
            server.queue.outgoing.help(server);
        }
        let arrivals = std::mem::take(&mut *me.inbox.lock());
        for arrival in arrivals {
            match arrival {
                Arrival::New(socket) => start(server, &cached, socket),
                Arrival::Back(socket, client) => {
                    go_on(server, &cached, socket, Start::Back(client))
                }
                Arrival::Away(socket, shared, slot) => {
                    go_on(server, &cached, socket, Start::Away(shared, slot));
                }
            }
        }
    }
}

/// Runs a connection's task on this thread's event loop.
fn spawn<S: Socket>(server: &'static Server, cached: &Arc<Cached>, socket: S, start: Box<Start>) {
    let task = serve(server, cached.clone(), socket, start);
    match engine::is_here() {
        true => engine::spawn(task),
        false => drop(tokio::spawn(task)),
    }
}

/// Waits, on whichever event loop this thread has.
fn sleep(time: std::time::Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    match engine::is_here() {
        true => Box::pin(engine::Sleep::new(time)),
        false => Box::pin(tokio::time::sleep(time)),
    }
}

/// A socket could not be taken into the event loop.
fn given_up(server: &Server) {
    server.connections.fetch_sub(1, Relaxed);
}

fn start(server: &'static Server, cached: &Arc<Cached>, socket: Accepted) {
    let id = server.next_client.fetch_add(1, Relaxed);
    let fd = socket.as_raw_fd();
    let shared = match &socket {
        Accepted::Tcp(s) => {
            let addr = s.peer_addr().map_or_else(|_| "?:0".into(), |a| a.to_string());
            let laddr = s.local_addr().map_or_else(|_| "?:0".into(), |a| a.to_string());
            ClientShared::new(id, addr, laddr, Some(fd), 0)
        }
        Accepted::Unix(_) => {
            let path = server.config.unixsocket().unwrap_or_default();
            let path = String::from_utf8_lossy(&path);
            let addr = format!("{path}:0");
            ClientShared::new(id, addr.clone(), addr, Some(fd), flag::UNIX)
        }
    };
    match take(socket) {
        Some(Taken::Ring(s)) => begin(server, cached, s, shared),
        Some(Taken::Tcp(s)) => begin(server, cached, s, shared),
        Some(Taken::Unix(s)) => begin(server, cached, s, shared),
        None => given_up(server),
    }
}

/// A socket in this thread's event loop.
enum Taken {
    Ring(RingSocket),
    Tcp(tokio::net::TcpStream),
    Unix(tokio::net::UnixStream),
}

/// Takes a socket into the event loop; `None` if that does not take it.
fn take(socket: Accepted) -> Option<Taken> {
    Some(match socket {
        socket if engine::is_here() => Taken::Ring(RingSocket::new(socket).ok()?),
        Accepted::Tcp(s) => Taken::Tcp(tokio::net::TcpStream::from_std(s).ok()?),
        Accepted::Unix(s) => Taken::Unix(tokio::net::UnixStream::from_std(s).ok()?),
    })
}

fn begin<S: Socket>(
    server: &'static Server,
    cached: &Arc<Cached>,
    socket: S,
    shared: ClientShared,
) {
    let shared = Arc::new(shared);
    server.clients.lock().insert(shared.id, shared.clone());
    server.stats.connections_received.add(1);
    let mut session = Session::new(shared);
    session.set_default_user(server);
    crate::module::event::client_connected(server, &session.shared);
    let start = Box::new(Start::New(Client::new(session)));
    spawn(server, cached, socket, start);
}

/// Goes on with a connection that was elsewhere.
fn go_on(server: &'static Server, cached: &Arc<Cached>, socket: Accepted, start: Start) {
    let shared = match &start {
        Start::New(client) | Start::Back(client) => client.session.shared.clone(),
        Start::Away(shared, _) => shared.clone(),
    };
    // A socket that is not taken is closed here, and its descriptor may be another connection's at once.
    let mut fd = shared.fd.lock();
    let Some(taken) = take(socket) else {
        *fd = None;
        drop(fd);
        return lost(server, start);
    };
    let start = Box::new(start);
    match taken {
        Taken::Ring(s) => spawn(server, cached, s, start),
        Taken::Tcp(s) => spawn(server, cached, s, start),
        Taken::Unix(s) => spawn(server, cached, s, start),
    }
}

/// The event loop does not take a connection back: it ends.
fn lost(server: &'static Server, start: Start) {
    match start {
        Start::New(client) | Start::Back(client) => super::end(server, client),
        // Whoever has the client finds it killed.
        Start::Away(shared, _) => limits::remove(server, &shared),
    }
}
