//! The state of one client: what its commands may look at ([`Session`]), and what other threads may ([`ClientShared`]).
use super::limits::{self, Footprint};
use super::mailbox::Mailbox;
use crate::acl::User;
use crate::dispatch::table::Command;
use crate::parse::Parser;
use crate::reply::Reply;
use crate::server::Server;
use parking_lot::{MappedMutexGuard, Mutex, MutexGuard};
use std::collections::HashSet;
use std::os::fd::RawFd;
use std::sync::atomic::{
    AtomicBool, AtomicI32, AtomicI64, AtomicU32, AtomicU8, Ordering::Relaxed, Ordering::Release,
};
use std::sync::Arc;

/// Bits of [`ClientShared::flags`].
pub mod flag {
    /// In `MULTI`.
    pub const MULTI: u32 = 1;
    /// Subscribed to something.
    pub const PUBSUB: u32 = 1 << 1;
    /// Waiting in a blocking command.
    pub const BLOCKED: u32 = 1 << 2;
    /// Connected over a unix socket.
    pub const UNIX: u32 = 1 << 3;
    /// A watched key changed: `EXEC` fails.
    pub const DIRTY_CAS: u32 = 1 << 4;
    /// To be closed.
    pub const KILLED: u32 = 1 << 5;
    /// RESP3, for messages that other threads encode.
    pub const RESP3: u32 = 1 << 6;
    /// `CLIENT NO-TOUCH ON`
    pub const NO_TOUCH: u32 = 1 << 7;
    /// `CLIENT NO-EVICT ON`
    pub const NO_EVICT: u32 = 1 << 8;
    /// `MONITOR`
    pub const MONITOR: u32 = 1 << 9;
    /// A client that a module made for itself: no connection behind it.
    pub const INTERNAL: u32 = 1 << 10;
    /// The client behind the calls of a script.
    pub const SCRIPT: u32 = 1 << 11;
    /// A replica that is fed with the log.
    pub const REPLICA: u32 = 1 << 20;
    /// The client that executes what the primary sends.
    pub const MASTER: u32 = 1 << 21;
    /// To be closed behind the reply to the present command.
    pub const LAST_REPLY: u32 = 1 << 22;
    /// `CLIENT TRACKING ON`
    pub const TRACKING: u32 = 1 << 23;
    /// Tracking by prefixes.
    pub const TRACK_BCAST: u32 = 1 << 24;
    /// Keys are tracked only behind `CLIENT CACHING YES`.
    pub const TRACK_OPTIN: u32 = 1 << 25;
    /// Keys are not tracked behind `CLIENT CACHING NO`.
    pub const TRACK_OPTOUT: u32 = 1 << 26;
    /// `CLIENT CACHING` was called for the next command.
    pub const TRACK_CACHING: u32 = 1 << 27;
    /// Own changes are not told.
    pub const TRACK_NOLOOP: u32 = 1 << 28;
    /// The client that messages are redirected to is gone.
    pub const TRACK_BROKEN: u32 = 1 << 29;
    /// There are invalidations to be sent behind the reply of the current command.
    pub const TRACK_PENDING: u32 = 1 << 30;
}

/// Bits of [`ClientShared::wanted`]: what the connection's task is asked to look at.
pub mod wanted {
    /// The mailbox.
    pub const MAIL: u8 = 1;
    /// Its input buffer, which is larger than what it was used for of late.
    pub const SHRINK: u8 = 2;
}

/// The part of a client that every thread may reach.
pub struct ClientShared {
    /// Unique for the life of the process.
    pub id: u64,
    /// Peer address as `CLIENT LIST` prints it.
    pub addr: Box<str>,
    /// Own address, likewise.
    pub laddr: Box<str>,
    /// The socket, until it is closed; `CLIENT KILL` shuts it down under this lock.
    pub fd: Mutex<Option<RawFd>>,
    /// Connected at, Unix milliseconds.
    pub created: i64,
    /// Last command at, Unix milliseconds.
    pub active: AtomicI64,
    /// Bits of [`flag`].
    pub flags: AtomicU32,
    /// Number of the selected database.
    pub db: AtomicU32,
    /// Number of the last command (`dispatch::table::name_of`), for `CLIENT LIST`.
    pub last_command: AtomicU32,
    /// `CLIENT SETNAME`
    pub name: Mutex<Box<str>>,
    /// `CLIENT SETINFO LIB-NAME` and `LIB-VER`
    pub lib: Mutex<Option<Box<(String, String)>>>,
    /// The user; `None` for clients that the server made for itself.
    pub user: Mutex<Option<Arc<User>>>,
    /// The module that authenticated the client and wants to hear when it is somebody else.
    pub follower: Mutex<Option<Box<crate::module::auth::Follower>>>,
    /// Push messages from other threads.
    pub mailbox: Mutex<Mailbox>,
    /// The wait for keys that the client is in, for `CLIENT UNBLOCK`.
    pub waiter: Mutex<Option<Arc<crate::execute::blocking::Waiter>>>,
    /// Counts of channels and patterns, for `CLIENT LIST`.
    pub subscriptions: (AtomicU32, AtomicU32, AtomicU32),
    /// Commands queued by `MULTI`, -1 outside of it, for `CLIENT LIST`.
    pub queued: AtomicI32,
    /// Watched keys, for `CLIENT LIST`.
    pub watching: AtomicU32,
    /// Prefixes that it tracks.
    pub prefixes: AtomicU32,
    /// The reply of the current request has been pushed through the mailbox already.
    pub quiet: AtomicBool,
    /// Bits of [`wanted`].
    pub wanted: AtomicU8,
    /// What its buffers take.
    pub footprint: Footprint,
    /// What it tracks, and where invalidations go; made by [`ClientShared::tracking`].
    tracking: Mutex<Option<Box<crate::execute::tracking::ClientTracking>>>,
}

impl ClientShared {
    /// A client without a connection, as modules use for contexts of their own.
    pub fn internal() -> Arc<ClientShared> {
        Arc::new(Self::new(0, String::new(), String::new(), None, flag::INTERNAL))
    }

    /// The shared part of a new client.
    pub fn new(id: u64, addr: String, laddr: String, fd: Option<RawFd>, flags: u32) -> Self {
        let now = crate::observe::clock::now_ms();
        ClientShared {
            id,
            addr: addr.into(),
            laddr: laddr.into(),
            fd: Mutex::new(fd),
            created: now,
            active: AtomicI64::new(now),
            flags: AtomicU32::new(flags),
            db: AtomicU32::new(0),
            last_command: AtomicU32::new(u32::MAX),
            name: Mutex::default(),
            lib: Mutex::default(),
            user: Mutex::default(),
            follower: Mutex::default(),
            mailbox: Mutex::default(),
            waiter: Mutex::default(),
            subscriptions: Default::default(),
            queued: AtomicI32::new(-1),
            watching: AtomicU32::new(0),
            prefixes: AtomicU32::new(0),
            quiet: AtomicBool::new(false),
            wanted: AtomicU8::new(0),
            footprint: Footprint::default(),
            tracking: Mutex::default(),
        }
    }

    /// The user's name, as `CLIENT LIST` shows it.
    pub fn user_name(&self) -> String {
        self.user.lock().as_ref().map_or("(superuser)".into(), |u| u.display_name().into_owned())
    }

    /// Whether the client is this user.
    pub fn is_user(&self, user: &Arc<User>) -> bool {
        self.user.lock().as_ref().is_some_and(|u| Arc::ptr_eq(u, user))
    }

    /// What it tracks, and where invalidations go. For clients that have to do with tracking: it makes room for it.
    pub fn tracking(&self) -> MappedMutexGuard<'_, crate::execute::tracking::ClientTracking> {
        MutexGuard::map(self.tracking.lock(), |t| &mut **t.get_or_insert_default())
    }

    /// Whether a bit of [`flag`] is set.
    #[inline]
    pub fn has(&self, bit: u32) -> bool {
        self.flags.load(Relaxed) & bit != 0
    }

    /// Sets or clears a bit of [`flag`].
    pub fn put(&self, bit: u32, on: bool) {
        if on {
            self.flags.fetch_or(bit, Relaxed);
        } else {
            self.flags.fetch_and(!bit, Relaxed);
        }
    }

    /// Leaves a message for the client and wakes its connection. A client that does not read its messages is ended when
    /// they pass `client-output-buffer-limit`.
    pub fn push(&self, message: &[u8]) {
        let (mail, size) = {
            let mut m = self.mailbox.lock();
            if self.has(flag::KILLED) {
                return;
            }
            m.add(message, self.has(flag::REPLICA));
            self.ask(&m, wanted::MAIL);
            (m.len(), m.size())
        };
        let server = Server::get();
        if !limits::passes_with(server, self, mail) {
            limits::count(server, self, size);
        }
    }

    /// Bytes that wait to be sent, as far as another thread can see.
    pub fn unsent(&self) -> usize {
        self.mailbox.lock().len() + self.footprint.output.load(Relaxed)
    }

    /// Asks the connection's task to look at something.
    pub fn ask(&self, mailbox: &Mailbox, what: u8) {
        if self.wanted.fetch_or(what, Release) & what == 0 {
            if let Some(w) = &mailbox.waker {
                w.wake_by_ref();
            }
        }
    }

    /// Moves the messages that wait to `to`. Those for a replica come piece by piece, and count as output from here on.
    pub fn collect(&self, to: &mut Vec<u8>) {
        if self.wanted.load(Relaxed) & wanted::MAIL == 0 {
            return;
        }
        let mut m = self.mailbox.lock();
        if self.has(flag::REPLICA) {
            let before = m.len();
            m.take_piece(to);
            self.footprint.output.fetch_add(before - m.len(), Relaxed);
        } else {
            m.take_all(to);
        }
        if m.is_empty() {
            self.wanted.fetch_and(!wanted::MAIL, Relaxed);
        }
    }

    /// Ends the connection: its thread sees an end of file.
    pub fn kill(&self) {
        self.shut_down(libc::SHUT_RDWR);
    }

    /// Ends the connection behind the reply to the present command, if it is in one, and behind the messages for it.
    pub fn kill_after_reply(&self) {
        self.put(flag::LAST_REPLY, true);
        self.shut_down(libc::SHUT_RD);
    }

    fn shut_down(&self, how: libc::c_int) {
        self.put(flag::KILLED, true);
        if let Some(fd) = *self.fd.lock() {
            // SAFETY: layout: the descriptor is open while it stands under the lock.
            unsafe { libc::shutdown(fd, how) };
        }
    }
}

/// A command queued by `MULTI`.
pub struct Queued {
    /// The command.
    pub command: Arc<Command>,
    /// Its arguments, the name first.
    pub args: Vec<Vec<u8>>,
}

/// What `MULTI` collected.
#[derive(Default)]
pub struct Multi {
    /// The commands, in order.
    pub queue: Vec<Queued>,
    /// Bytes of their arguments.
    pub bytes: usize,
    /// A command was refused while queueing: `EXEC` fails.
    pub aborted: bool,
}

/// A watched key.
pub struct Watched {
    /// Database.
    pub db: usize,
    /// The key.
    pub key: Vec<u8>,
    /// It was there, and not expired, when it was watched.
    pub alive: bool,
}

/// What a client is subscribed to.
#[derive(Default)]
pub struct Subscribed {
    /// Channels.
    pub channels: HashSet<Vec<u8>>,
    /// Patterns.
    pub patterns: HashSet<Vec<u8>>,
    /// Shard channels.
    pub shard_channels: HashSet<Vec<u8>>,
}

/// `CLIENT REPLY`
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ReplyMode {
    /// Replies are sent.
    #[default]
    On,
    /// No replies.
    Off,
    /// The next reply is left out.
    SkipNext,
    /// The current reply is left out.
    Skip,
}

/// What commands know of their client.
pub struct Session {
    /// The part that other threads see.
    pub shared: Arc<ClientShared>,
    /// The selected database.
    pub db: usize,
    /// Whether the client passed `AUTH`, or needs not.
    pub authenticated: bool,
    /// The user; `None` for internal callers, who may do everything.
    pub user: Option<Arc<User>>,
    /// Between `MULTI` and `EXEC`.
    pub multi: Option<Box<Multi>>,
    /// Watched keys.
    pub watched: Vec<Watched>,
    /// Subscriptions, while there are any.
    pub subscribed: Option<Box<Subscribed>>,
    /// The connection ends after the replies are sent.
    pub close: bool,
    /// `CLIENT REPLY`
    pub reply_mode: ReplyMode,
    /// What the current command writes goes out whatever `CLIENT REPLY` says: it is a message.
    pub pushed: bool,
    /// Requests for the module thread that it sent without a native one between them; below 0 when it is not to move there.
    pub module_streak: i32,
    /// What a replica told before it asked for the data.
    pub handshake: Option<Box<crate::execute::replication::Handshake>>,
    /// Bytes read and not executed, those of the current request included, for `CLIENT LIST`.
    pub input_bytes: usize,
    /// Blocking commands must not block: inside `EXEC`, a script or a module's call.
    pub deny_blocking: bool,
    /// The reply waits until this batch of values is freed (`keyspace::lazy_free`).
    pub freeing: Option<u64>,
    /// The script that the present command runs by name may write, so it has to wait while writes are paused.
    pub paused_script: bool,
    /// The first key of the present request, where it was looked at ahead.
    pub known_key: Option<crate::dispatch::ahead::KnownKey>,
    /// Monotonic time of the end of the last command, for the duration of the next.
    pub clock_ns: u64,
    /// On the module thread: the command executed last could have run natively.
    pub last_was_native: bool,
    /// A module blocked this client; its reply comes later.
    pub blocked_on: Option<Arc<crate::module::blocked::BlockedClient>>,
    /// The log's offset behind this client's last write.
    pub written: u64,
    /// Modules have a say in the authentication that the present command asks for.
    pub module_auth: Option<Box<crate::module::auth::Attempt>>,
    /// Arguments of the present command that are not to be shown.
    pub redacted: Vec<usize>,
    /// The present command waits for keys.
    pub waiting: Option<Box<crate::execute::blocking::Waiting>>,
    /// The present command waited for keys before and runs again.
    pub retry: Option<Box<crate::execute::blocking::Retry>>,
    /// A client of a module's call that may wait for keys (`K`), although nobody is connected.
    pub may_wait: bool,
    /// A module's call that does not care for memory: scripts neither.
    pub allow_oom: bool,
    /// The call of a module that blocked, and whose reply somebody was promised.
    pub promised: Option<Box<crate::module::api::promise::Promised>>,
}

impl Session {
    /// A session for `shared`, without a user as yet.
    pub fn new(shared: Arc<ClientShared>) -> Session {
        Session {
            shared,
            db: 0,
            authenticated: false,
            user: None,
            multi: None,
            watched: Vec::new(),
            subscribed: None,
            close: false,
            reply_mode: ReplyMode::On,
            pushed: false,
            handshake: None,
            input_bytes: 0,
            deny_blocking: false,
            freeing: None,
            paused_script: false,
            known_key: None,
            module_streak: 0,
            clock_ns: 0,
            last_was_native: false,
            blocked_on: None,
            written: 0,
            module_auth: None,
            redacted: Vec::new(),
            waiting: None,
            retry: None,
            may_wait: false,
            allow_oom: false,
            promised: None,
        }
    }

    /// A session for calls that no client made: all rights, no user.
    pub fn internal() -> Session {
        let mut s = Session::new(ClientShared::internal());
        s.authenticated = true;
        s
    }

    /// Whether this internal session, but for its database, is as it was made, and nobody else knows its shared part.
    pub fn is_untouched(&self) -> bool {
        let Session {
            multi, watched, blocked_on, waiting, retry, user, module_auth, redacted, ..
        } = self;
        let nothing_left = multi.is_none()
            && watched.is_empty()
            && blocked_on.is_none()
            && waiting.is_none()
            && retry.is_none()
            && user.is_none()
            && module_auth.is_none()
            && redacted.is_empty();
        nothing_left
            && !self.close
            && !self.deny_blocking
            && self.reply_mode == ReplyMode::On
            && self.subscribed.is_none()
            && Arc::strong_count(&self.shared) == 1
            && self.shared.flags.load(Relaxed) == flag::INTERNAL
    }

    /// The user, if there is something that it may not do.
    #[inline]
    pub fn limited_user(&self) -> Option<&Arc<User>> {
        self.user.as_ref().filter(|u| !u.is_open())
    }

    /// Makes the client this user.
    pub fn set_user(&mut self, user: Arc<User>) {
        *self.shared.user.lock() = Some(user.clone());
        self.user = Some(user);
    }

    /// Makes the client what it is when it connects: the default user, who may have to give a password first.
    pub fn set_default_user(&mut self, server: &Server) {
        self.authenticated = server.acl.default_is_open();
        self.set_user(server.acl.default_user().clone());
    }

    /// Whether the present command is queued for, or part of, a transaction.
    pub fn in_transaction(&self) -> bool {
        self.multi.is_some() || self.shared.has(flag::MULTI)
    }

    /// Selects a database.
    pub fn select(&mut self, db: usize) {
        self.db = db;
        self.shared.db.store(db as u32, Relaxed);
    }

    /// Subscriptions to channels and patterns.
    pub fn subscription_count(&self) -> usize {
        self.subscribed.as_ref().map_or(0, |s| s.channels.len() + s.patterns.len())
    }
}

/// A client with its buffers: this is what travels to the module thread and back.
pub struct Client {
    /// What commands may look at.
    pub session: Session,
    /// Where the parser stands.
    pub parser: Parser,
    /// Bytes read and not yet executed.
    pub input: Vec<u8>,
    /// Replies not yet sent.
    pub out: Reply,
}
