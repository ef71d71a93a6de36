//! The replica's side of replication: the link to the primary.
//!
//! A thread of its own talks to the primary: it connects, introduces itself, takes the snapshot, reads the stream, and tells
//! once a second how far this server is. What it reads is executed on the module thread, as a client that may do
//! everything ([`flag::MASTER`]): the thread hands over a piece of the stream and waits until it is done, so a
//! primary that is faster than we are is slowed down by its connection. The bytes of the stream then go on to our own
//! replicas as they came, so offsets mean the same everywhere.
//!
//! A change of mind (`REPLICAOF`) makes another *generation*: the thread of an older one ends as soon as it looks, and what
//! it handed over last is not executed.
use crate::connection::client::{flag, Client, ClientShared, Session};
use crate::dispatch::{run_input, Outcome, Side, Turn};
use crate::observe::clock::now_ms;
use crate::server::Server;
use parking_lot::Mutex;
use std::cell::Cell;
use std::collections::{HashSet, VecDeque};
use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::atomic::{
    AtomicBool, AtomicI64, AtomicU64, AtomicU8, Ordering::Relaxed, Ordering::SeqCst,
};
use std::sync::{mpsc, Arc};
use std::time::Duration;
use tokio::net::TcpSocket;

/// Where the link stands: values of [`Link::state`].
pub mod state {
    /// There is no primary, or the next try to connect waits.
    pub const CONNECT: u8 = 0;
    /// Connecting, and introducing ourselves.
    pub const CONNECTING: u8 = 1;
    /// The snapshot is on its way, or is loaded.
    pub const SYNC: u8 = 2;
    /// The stream is followed.
    pub const CONNECTED: u8 = 3;
}

/// The link to the primary, as other threads see it.
#[derive(Default)]
pub struct Link {
    /// This server is a replica.
    replica: AtomicBool,
    primary: Mutex<Option<(String, u16)>>,
    generation: AtomicU64,
    /// One of [`state`].
    pub state: AtomicU8,
    /// How far the stream was executed (`slave_repl_offset`).
    pub offset: AtomicU64,
    /// How far it was read (`slave_read_repl_offset`).
    pub read: AtomicU64,
    /// When something was heard from the primary, Unix milliseconds.
    pub heard: AtomicI64,
    /// Since when the link is down, Unix milliseconds.
    pub down_since: AtomicI64,
    /// The primary wants to know at once how far we are.
    asked: AtomicBool,
    /// The connection, for those who want it ended.
    stream: Mutex<Option<TcpStream>>,
    /// Modules know that the link is up.
    told_up: AtomicBool,
    /// Keys with an expiry that this replica's own clients set: no primary will delete them.
    own_expiring: Mutex<HashSet<(usize, Vec<u8>)>>,
}

/// Between two tries.
const RETRY: Duration = Duration::from_secs(1);
/// How often the thread looks whether it is still wanted while nothing comes.
const LOOK: Duration = Duration::from_millis(50);
/// Bytes of the stream that are read at once.
const PIECE: usize = 64 << 10;

impl Link {
    /// Whether this server is a replica.
    #[inline]
    pub fn is_replica(&self) -> bool {
        self.replica.load(Relaxed)
    }

    /// The primary's name and port.
    pub fn primary(&self) -> Option<(String, u16)> {
        self.primary.lock().clone()
    }

    /// Whether the stream is followed.
    pub fn is_up(&self) -> bool {
        self.state.load(Relaxed) == state::CONNECTED
    }

    /// Whether the server is a replica without a link, whose data may be old.
    pub fn is_stale(&self) -> bool {
        self.is_replica() && !self.is_up()
    }

    /// The primary asked how far we are (`REPLCONF GETACK`).
    pub fn ask(&self) {
        self.asked.store(true, Relaxed);
    }

    /// Ends the connection to the primary, if there is one; the link comes back. Modules are told at once. False without one.
    pub fn cut(&self, server: &'static Server) -> bool {
        let is_up = self.is_replica() && self.is_up();
        if is_up {
            self.hang_up();
            self.down_since.store(now_ms(), Relaxed);
            self.state.store(state::CONNECT, SeqCst);
            self.tell(server, false);
        }
        is_up
    }

    /// Ends the connection, if there is one: the primary sees it at once, our thread when it looks.
    fn hang_up(&self) {
        if let Some(stream) = self.stream.lock().take() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Tells modules of the link, once for each change.
    fn tell(&self, server: &'static Server, up: bool) {
        if self.told_up.swap(up, SeqCst) != up {
            crate::module::event::link_event(server, up);
        }
    }

    /// A client of a writable replica made a key expire.
    pub fn note_own_expiry(&self, db: usize, key: &[u8]) {
        self.own_expiring.lock().insert((db, key.to_vec()));
    }

    /// Number of such keys (`slave_expires_tracked_keys`).
    pub fn own_expiring(&self) -> usize {
        self.own_expiring.lock().len()
    }

    /// Deletes those of them whose time has come (the cron). The calling thread has the module lock.
    pub fn expire_own(&self, server: &'static Server, now: i64) {
        let keys = std::mem::take(&mut *self.own_expiring.lock());
        if keys.is_empty() || !self.is_replica() {
            return;
        }
        let mut session = Session::internal();
        let mut left = HashSet::new();
        for (db, key) in keys {
            session.db = db;
            let mut tx = crate::execute::Tx::module(server, &mut session, now);
            tx.expire_if_due(&key);
            if tx.expire_at(&key).flatten().is_some() {
                left.insert((db, key));
            }
            crate::module::thread::unit_done(server, || now);
        }
        crate::module::thread::end_unit(server);
        self.own_expiring.lock().extend(left);
    }

    /// Makes the server a replica of this primary. The calling thread has the module lock.
    pub fn follow(&self, server: &'static Server, host: String, port: u16) {
        let generation = self.generation.fetch_add(1, SeqCst) + 1;
        *self.primary.lock() = Some((host.clone(), port));
        self.replica.store(true, SeqCst);
        self.state.store(state::CONNECT, SeqCst);
        self.hang_up();
        self.down_since.store(now_ms(), Relaxed);
        let run = move || Follower::new(server, generation, host, port).run();
        if std::thread::Builder::new().name("replica-link".into()).spawn(run).is_err() {
            crate::log_warning!("The system gives us no thread for the link to the primary");
        }
    }

    /// Makes the server a primary. False if it is one. The calling thread has the module lock.
    pub fn stop(&self) -> bool {
        self.generation.fetch_add(1, SeqCst);
        *self.primary.lock() = None;
        self.state.store(state::CONNECT, SeqCst);
        self.hang_up();
        self.replica.swap(false, SeqCst)
    }
}

/// Why the link ended.
enum End {
    /// Nobody wants it any more.
    Unwanted,
    /// It broke; the text says how.
    Broken(String),
}

impl From<io::Error> for End {
    fn from(e: io::Error) -> End {
        End::Broken(crate::config::os_error_text(&e))
    }
}

/// The thread that follows a primary.
struct Follower {
    server: &'static Server,
    generation: u64,
    host: String,
    port: u16,
    /// The stream's id, once there was a full synchronization.
    id: Option<String>,
    client: Arc<Mutex<Box<Client>>>,
    /// How much of the stream is on our disk.
    synced: Cell<u64>,
}

/// A connection with what was read ahead.
struct Connection {
    stream: TcpStream,
    ahead: Vec<u8>,
}

fn primary_client() -> Arc<Mutex<Box<Client>>> {
    let shared =
        ClientShared::new(0, "primary".into(), String::new(), None, flag::INTERNAL | flag::MASTER);
    let mut session = Session::new(Arc::new(shared));
    session.authenticated = true;
    session.user = None;
    Arc::new(Mutex::new(Client::new(session)))
}

impl Follower {
    fn new(server: &'static Server, generation: u64, host: String, port: u16) -> Follower {
        let (id, client, synced) = (None, primary_client(), Cell::new(0));
        Follower { server, generation, host, port, id, client, synced }
    }

    fn link(&self) -> &'static Link {
        &self.server.link
    }

    fn is_wanted(&self) -> bool {
        self.link().generation.load(SeqCst) == self.generation
    }

    /// Notes a state, unless the link is not wanted any more.
    fn enter(&self, state: u8) -> Result<(), End> {
        if !self.is_wanted() {
            return Err(End::Unwanted);
        }
        self.link().state.store(state, SeqCst);
        self.link().heard.store(now_ms(), Relaxed);
        Ok(())
    }

    fn run(mut self) {
        while self.is_wanted() {
            crate::log_notice!("Connecting to MASTER {}:{}", self.host, self.port);
            crate::log_notice!("MASTER <-> REPLICA sync started");
            match self.follow() {
                Err(End::Unwanted) => return,
                Err(End::Broken(why)) => {
                    crate::log_warning!("Connection with master lost: {why}");
                    if self.is_wanted() {
                        self.link().hang_up();
                    }
                    if self.link().is_up() {
                        self.link().down_since.store(now_ms(), Relaxed);
                    }
                    if self.enter(state::CONNECT).is_err() {
                        return;
                    }
                }
                Ok(never) => match never {},
            }
            std::thread::sleep(RETRY);
        }
    }

    /// Follows the primary until the link ends.
    fn follow(&mut self) -> Result<std::convert::Infallible, End> {
        self.enter(state::CONNECTING)?;
        let timeout = Duration::from_secs(self.server.config.repl_timeout().max(1));
        let address = (self.host.as_str(), self.port).to_socket_addrs()?.next();
        let address = address.ok_or_else(|| End::Broken("the host has no address".into()))?;
        let stream = match self.connect_from_own(address, timeout) {
            Some(stream) => stream,
            None => TcpStream::connect_timeout(&address, timeout)?,
        };
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(LOOK))?;
        stream.set_write_timeout(Some(timeout))?;
        *self.link().stream.lock() = stream.try_clone().ok();
        let mut c = Connection { stream, ahead: Vec::new() };
        self.introduce(&mut c)?;
        self.synchronize(&mut c)?;
        // Who sees the link up finds that modules know it.
        self.link().tell(self.server, true);
        let entered = self.enter(state::CONNECTED);
        let end = entered.and_then(|()| self.follow_stream(&mut c));
        self.link().tell(self.server, false);
        end
    }

    /// Connects from the address that `bind-source-addr` names; `None` without one, or where that fails: then any
    /// address will do, as on Redis.
    fn connect_from_own(&self, to: SocketAddr, timeout: Duration) -> Option<TcpStream> {
        let source = self.server.config.bind_source_addr().filter(|ip| !ip.is_empty())?;
        let source: IpAddr = std::str::from_utf8(&source).ok()?.parse().ok()?;
        let socket = || match to {
            SocketAddr::V4(_) => TcpSocket::new_v4(),
            SocketAddr::V6(_) => TcpSocket::new_v6(),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
        let stream = runtime.block_on(async {
            let socket = socket().ok()?;
            socket.bind(SocketAddr::new(source, 0)).ok()?;
            tokio::time::timeout(timeout, socket.connect(to)).await.ok()?.ok()
        })?;
        let stream = stream.into_std().ok()?;
        stream.set_nonblocking(false).ok()?;
        Some(stream)
    }

    /// Sends a command and returns the line that answers it.
    fn ask(&self, c: &mut Connection, args: &[&[u8]]) -> Result<String, End> {
        let mut request = Vec::new();
        super::encode(&mut request, args);
        c.stream.write_all(&request)?;
        self.line(c)
    }

    /// Reads more; fails when nothing came for `repl-timeout`, or when the link is not wanted any more.
    fn more(&self, c: &mut Connection) -> Result<(), End> {
        let mut buf = [0; 16 << 10];
        let begin = now_ms();
        loop {
            if !self.is_wanted() {
                return Err(End::Unwanted);
            }
            match c.stream.read(&mut buf) {
                Ok(0) => return Err(End::Broken("the primary closed the connection".into())),
                Ok(n) => {
                    c.ahead.extend_from_slice(&buf[..n]);
                    return Ok(());
                }
                Err(e)
                    if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) =>
                {
                    if now_ms() - begin > self.server.config.repl_timeout() as i64 * 1000 {
                        return Err(End::Broken("the primary is silent".into()));
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e.into()),
            }
        }
    }

    /// A line without its end. Empty ones only say that the primary is alive.
    fn line(&self, c: &mut Connection) -> Result<String, End> {
        loop {
            while let Some(end) = c.ahead.iter().position(|&b| b == b'\n') {
                let line: Vec<u8> = c.ahead.drain(..=end).collect();
                let line = String::from_utf8_lossy(&line).trim_end().to_string();
                if !line.is_empty() {
                    return Ok(line);
                }
            }
            self.more(c)?;
        }
    }

    fn introduce(&self, c: &mut Connection) -> Result<(), End> {
        let config = &self.server.config;
        let refused = |what: &str, answer: &str| {
            Err(End::Broken(format!("the primary does not accept {what}: {answer}")))
        };
        let pong = self.ask(c, &[b"PING"])?;
        let allowed = ["+", "-NOAUTH", "-NOPERM", "-ERR operation not permitted"];
        if !allowed.iter().any(|a| pong.starts_with(a)) {
            crate::log_warning!("Error reply to PING from master: '{pong}'");
            return refused("PING", &pong);
        }
        crate::log_notice!("Master replied to PING, replication can continue...");
        if let Some(password) = config.masterauth().filter(|p| !p.is_empty()) {
            let user = config.masteruser().filter(|u| !u.is_empty());
            let mut args: Vec<&[u8]> = vec![b"AUTH"];
            args.extend(user.as_deref());
            args.push(&password);
            let answer = self.ask(c, &args)?;
            if answer.starts_with('-') {
                crate::log_warning!("Unable to AUTH to MASTER: {answer}");
                return refused("the password", &answer);
            }
        }
        let announced = config.replica_announce_port();
        let port = if announced != 0 { announced as i64 } else { config.port() as i64 };
        let port = port.to_string();
        // Older primaries do not know these: then they do without.
        self.ask(c, &[b"REPLCONF", b"listening-port", port.as_bytes()])?;
        if let Some(ip) = config.replica_announce_ip().filter(|ip| !ip.is_empty()) {
            self.ask(c, &[b"REPLCONF", b"ip-address", &ip])?;
        }
        self.ask(c, &[b"REPLCONF", b"capa", b"psync2"])?;
        let version = crate::config::load::REDIS_VERSION.as_bytes();
        self.ask(c, &[b"REPLCONF", b"version", version])?;
        Ok(())
    }

    /// Asks for the stream, from where we are or with a snapshot before it.
    fn synchronize(&mut self, c: &mut Connection) -> Result<(), End> {
        let answer = match &self.id {
            Some(id) => {
                let next = (self.link().offset.load(SeqCst) + 1).to_string();
                crate::log_notice!("Trying a partial resynchronization (request {id}:{next}).");
                self.ask(c, &[b"PSYNC", id.as_bytes(), next.as_bytes()])?
            }
            None => {
                crate::log_notice!("Partial resynchronization not possible (no cached master)");
                self.ask(c, &[b"PSYNC", b"?", b"-1"])?
            }
        };
        let mut words = answer.split(' ');
        match words.next() {
            Some("+CONTINUE") => {
                if let Some(id) = words.next() {
                    self.id = Some(id.to_string());
                    *self.server.repl_id.lock() = id.to_string();
                }
                // What was read behind the last whole command comes again.
                self.client = primary_client();
                let db = self.server.link.offset.load(SeqCst);
                self.link().read.store(db, SeqCst);
                crate::log_notice!("Successful partial resynchronization with master.");
                crate::log_notice!(
                    "MASTER <-> REPLICA sync: Master accepted a Partial Resynchronization."
                );
                Ok(())
            }
            Some("+FULLRESYNC") => {
                let (id, offset) = (words.next(), words.next().and_then(|o| o.parse().ok()));
                let (Some(id), Some(offset)) = (id, offset) else {
                    return Err(End::Broken(format!("an answer without id and offset: {answer}")));
                };
                crate::log_notice!("Full resync from master: {id}:{offset}");
                self.id = None;
                self.enter(state::SYNC)?;
                let file = self.receive(c)?;
                self.load(file, id.to_string(), offset)
            }
            _ => {
                if answer.starts_with("-LOADING") || answer.starts_with("-NOMASTERLINK") {
                    crate::log_notice!("Master is currently unable to PSYNC: {answer}");
                } else {
                    crate::log_warning!("Unexpected reply to PSYNC from master: {answer}");
                }
                Err(End::Broken(answer))
            }
        }
    }

    /// Receives the snapshot into a temporary file.
    fn receive(&self, c: &mut Connection) -> Result<std::path::PathBuf, End> {
        const MARK: usize = 40;
        let head = self.line(c)?;
        let Some(length) = head.strip_prefix('$') else {
            crate::log_warning!("Bad protocol from MASTER, the first byte is not '$': {head}");
            return Err(End::Broken(head));
        };
        let mark = length.strip_prefix("EOF:").map(|m| m.as_bytes().to_vec());
        let length: u64 = match &mark {
            Some(m) if m.len() == MARK => {
                crate::log_notice!(
                    "MASTER <-> REPLICA sync: receiving streamed RDB from master with EOF to disk"
                );
                u64::MAX
            }
            Some(_) => return Err(End::Broken(head)),
            None => {
                let n = length.parse().map_err(|_| End::Broken(head.clone()))?;
                crate::log_notice!(
                    "MASTER <-> REPLICA sync: receiving {n} bytes from master to disk"
                );
                n
            }
        };
        let path = std::path::PathBuf::from(format!(
            "temp-{}.{}.rdb",
            now_ms() / 1000,
            std::process::id()
        ));
        let mut file = std::fs::File::create(&path)?;
        let received = (|| {
            let mut got: u64 = 0;
            loop {
                // The mark may arrive in pieces: its length stays here until more comes.
                let keep = if mark.is_some() { MARK } else { 0 };
                if let Some(m) = mark.as_ref().filter(|m| c.ahead.ends_with(m)) {
                    file.write_all(&c.ahead[..c.ahead.len() - m.len()])?;
                    c.ahead.clear();
                    return Ok(());
                }
                let take = c.ahead.len().saturating_sub(keep).min((length - got) as usize);
                file.write_all(&c.ahead[..take])?;
                c.ahead.drain(..take);
                got += take as u64;
                if got == length {
                    return Ok(());
                }
                self.more(c)?;
            }
        })();
        match received {
            Ok(()) => Ok(path),
            Err(e) => {
                let _ = std::fs::remove_file(&path);
                Err(e)
            }
        }
    }

    /// Puts the snapshot in place of all data.
    fn load(&mut self, file: std::path::PathBuf, id: String, offset: u64) -> Result<(), End> {
        self.client = primary_client();
        self.synced.set(0);
        let stream_id = id.clone();
        let loaded = self.on_module_thread(move |server| {
            crate::log_notice!("MASTER <-> REPLICA sync: Flushing old data");
            crate::log_notice!("MASTER <-> REPLICA sync: Loading DB in memory");
            crate::execute::replication::disconnect_replicas(server);
            // The append-only file begins anew, with the new data.
            let has_file = server.aof.is_on();
            if has_file {
                crate::persist::rewrite::switch_off(server);
            }
            let loaded = crate::snapshot::control::load_from(server, &file);
            let _ = std::fs::remove_file(&file);
            if loaded.is_ok() {
                *server.repl_id.lock() = stream_id;
                server.link.offset.store(offset, SeqCst);
                server.link.read.store(offset, SeqCst);
                server.log.restart_stream(offset);
            }
            if has_file {
                crate::persist::rewrite::switch_on(server, false);
            }
            loaded.is_ok()
        })?;
        if !loaded {
            crate::log_warning!(
                "Failed trying to load the MASTER synchronization DB from disk, check server logs."
            );
            return Err(End::Broken("the snapshot could not be loaded".into()));
        }
        self.id = Some(id);
        crate::log_notice!("MASTER <-> REPLICA sync: Finished with success");
        Ok(())
    }

    /// Runs a task on the module thread, with the module lock, and waits for it; not if the link is unwanted by then.
    fn on_module_thread<R: Send + 'static>(
        &self,
        task: impl FnOnce(&'static Server) -> R + Send + 'static,
    ) -> Result<R, End> {
        let (done, result) = mpsc::channel();
        let (server, generation) = (self.server, self.generation);
        server.queue.task(Box::new(move || {
            if server.link.generation.load(SeqCst) == generation {
                let _ = done.send(task(server));
            }
        }));
        result.recv().map_err(|_| End::Unwanted)
    }

    /// Reads and executes the stream.
    fn follow_stream(&self, c: &mut Connection) -> Result<std::convert::Infallible, End> {
        let (server, link) = (self.server, self.link());
        let mut buf = vec![0; PIECE];
        let mut last_ack = 0;
        let mut executed = VecDeque::new();
        let arrived = |n: usize| {
            link.read.fetch_add(n as u64, SeqCst);
            link.heard.store(now_ms(), Relaxed);
        };
        arrived(c.ahead.len());
        loop {
            if !self.is_wanted() {
                return Err(End::Unwanted);
            }
            // What arrives while clients are paused (`CLIENT PAUSE`) waits as well.
            server.pause.end_if_over(now_ms());
            if !c.ahead.is_empty() && !server.pause.active() {
                let piece = std::mem::take(&mut c.ahead);
                let client = self.client.clone();
                self.on_module_thread(move |server| execute(server, &mut client.lock(), piece))?;
            }
            let now = now_ms();
            if now - last_ack >= 1000 || link.asked.swap(false, Relaxed) {
                last_ack = now;
                self.acknowledge(c, &mut executed)?;
            }
            match c.stream.read(&mut buf) {
                Ok(0) => return Err(End::Broken("the primary closed the connection".into())),
                Ok(n) => {
                    arrived(n);
                    c.ahead.extend_from_slice(&buf[..n]);
                }
                Err(e)
                    if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) =>
                {
                    let silent = now_ms() - link.heard.load(Relaxed);
                    if silent > server.config.repl_timeout() as i64 * 1000 {
                        return Err(End::Broken("no data nor PING received".into()));
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e.into()),
            }
        }
    }

    /// Tells the primary how far the stream was executed, and how much of that is on our disk, if we write a file.
    /// `executed`: offsets of the stream that were acknowledged, with those of the file that stand for them.
    fn acknowledge(
        &self,
        c: &mut Connection,
        executed: &mut VecDeque<(u64, u64)>,
    ) -> Result<(), End> {
        let offset = self.link().offset.load(SeqCst);
        let mut words = vec![b"REPLCONF".to_vec(), b"ACK".to_vec(), offset.to_string().into()];
        match self.server.aof.synced() {
            None => executed.clear(),
            Some(synced) => {
                // The file is ahead of the stream, or level with it: what is read second can only be larger.
                executed.push_back((offset, self.server.log.offset()));
                let safe = executed.iter().take_while(|e| e.1 <= synced).count();
                if let Some((at, _)) = executed.drain(..safe).next_back() {
                    self.synced.set(at);
                }
                words.extend([b"FACK".to_vec(), self.synced.get().to_string().into()]);
            }
        }
        let mut ack = Vec::new();
        super::encode(&mut ack, &words);
        Ok(c.stream.write_all(&ack)?)
    }
}

/// Executes a piece of the stream; the beginning of a command waits for its rest. The calling thread has the module lock.
fn execute(server: &'static Server, client: &mut Client, piece: Vec<u8>) {
    client.input.extend_from_slice(&piece);
    loop {
        let table = server.table.load_full();
        let input = std::mem::take(&mut client.input);
        let Turn { done, outcome, .. } =
            run_input(server, &table, client, &input, Side::Module, now_ms());
        server.log.pass_on(server, &input[..done]);
        server.link.offset.fetch_add(done as u64, SeqCst);
        client.input = input;
        client.consume(done);
        if client.out.errors > 0 {
            client.out.errors = 0;
            let text = String::from_utf8_lossy(&client.out.buf).into_owned();
            crate::log_warning!(
                "== CRITICAL == This replica is sending an error to its master: '{}'",
                text.lines().find(|l| l.starts_with('-')).unwrap_or("?")
            );
        }
        client.out.buf.clear();
        crate::module::thread::end_unit(server);
        // A change of the table, or a long run of native commands: there is nobody to give the client back to.
        if outcome != Outcome::GiveBack {
            break;
        }
    }
}
