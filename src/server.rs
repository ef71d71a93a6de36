//! The server: shared state, and who owns what.
use crate::acl::Acl;
use crate::config::load::Startup;
use crate::config::Config;
use crate::connection::client::ClientShared;
use crate::connection::serving::ServingThread;
use crate::dispatch::table::Table;
use crate::execute::pubsub::PubSub;
use crate::keyspace::shard::Keyspace;
use crate::lock::module_lock::ModuleLock;
use crate::module::registry::{Module, Registry};
use crate::module::thread::Queue;
use crate::observe::stats::{Counter, Stats};
use crate::propagate::log::Log;
use arc_swap::ArcSwap;
use parking_lot::Mutex;
use std::cell::UnsafeCell;
use std::collections::HashMap;
use std::sync::atomic::{
    AtomicBool, AtomicI64, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst,
};
use std::sync::{Arc, OnceLock};

/// What belongs to the holder of the module lock.
pub struct Holder {
    /// Shards with held keys, by index over all databases, to be cleared at the end of the unit.
    pub touched: Vec<u32>,
    /// Counts changes that may have moved entries; module key handles compare it before they trust a pointer.
    pub structure: u64,
    /// Keys that changed in this unit and that native commands wait for, with their databases.
    pub ready: Vec<(usize, Vec<u8>)>,
    /// Depth of `Yield`s: others run inside of this unit, whose keys stay held.
    pub yields: u32,
    /// What clients are owed whose effects belong to a unit that yields.
    pub kept: Vec<crate::module::busy::Kept>,
    /// Depth of nested module callbacks in this unit.
    pub depth: u32,
    /// Depth of callbacks to which a key that expired is still there: they are told of it.
    pub keep_expired: u32,
    /// There was no memory, and no room could be made, when the present command began.
    pub no_memory: bool,
    /// What the present unit leaves for the effect log.
    pub effects: Vec<crate::propagate::Effect>,
    /// Depth of modules' calls that are not to be replicated, with all that they lead to.
    pub silent: u32,
    /// Counts commands on the module path that changed something, while the log has a reader.
    pub changes: u64,
    /// The unit's time in Unix milliseconds, from its first look at the clock; 0 before it.
    pub now: i64,
    /// The module whose code runs, and its command or callback; the text lives as long as that runs.
    pub running: Option<(&'static Module, crate::lock::owner::Label)>,
    /// Jobs that notification callbacks left for the end of the unit.
    pub post_jobs: Vec<crate::module::event::PostJob>,
    /// What is made for every command of a module, kept for the next one.
    pub spare: crate::module::context::Spare,
    /// A session that a callback's context had and the next one can have.
    pub spare_session: Option<Box<crate::connection::client::Session>>,
    /// The client whose commands the module thread executes, for reports; none in callbacks of the server's own accord.
    pub client: Option<Arc<ClientShared>>,
    /// The key string of the last `rename_from` event, alive until the next event; null otherwise.
    pub rename_from: *mut crate::module::string::RStr,
    /// The client whose command runs, while somebody tracks keys: commands of scripts and modules belong to it.
    pub current: Option<Arc<ClientShared>>,
}

impl Default for Holder {
    fn default() -> Holder {
        Holder {
            touched: Vec::new(),
            structure: 0,
            now: 0,
            depth: 0,
            keep_expired: 0,
            no_memory: false,
            yields: 0,
            kept: Vec::new(),
            running: None,
            spare_session: None,
            post_jobs: Vec::new(),
            spare: Default::default(),
            ready: Default::default(),
            effects: Vec::new(),
            silent: 0,
            changes: 0,
            client: None,
            rename_from: std::ptr::null_mut(),
            current: None,
        }
    }
}

/// The server. There is one in a process: module functions are called without any handle to it.
pub struct Server {
    /// Directives.
    pub config: Config,
    /// Directives that are settled at the start.
    pub startup: Startup,
    /// The data.
    pub keyspace: Keyspace,
    /// The module lock.
    pub module_lock: ModuleLock,
    holder: UnsafeCell<Holder>,
    /// The command table.
    pub table: ArcSwap<Table>,
    /// Counts versions of the table; serving threads compare it before they trust their copy.
    pub table_version: AtomicU64,
    module_events: AtomicU32,
    client_events: AtomicU32,
    /// Jobs for the module thread.
    pub queue: Queue,
    /// The serving threads.
    pub serving: OnceLock<Vec<Arc<ServingThread>>>,
    /// All connected clients, by id.
    pub clients: Mutex<HashMap<u64, Arc<ClientShared>>>,
    /// Connections that were accepted and have not ended (`maxclients`).
    pub connections: AtomicUsize,
    /// The next client's id.
    pub next_client: AtomicU64,
    /// Counters.
    pub stats: Stats,
    /// Effects of writes.
    pub log: Log,
    /// Cluster mode.
    pub cluster: crate::cluster::Cluster,
    /// The link to the primary, if there is one.
    pub link: crate::propagate::link::Link,
    /// The append-only file.
    pub aof: crate::persist::Aof,
    /// Channels and their subscribers.
    pub pubsub: PubSub,
    /// Modules and what they own.
    pub modules: Registry,
    /// Users and what they may do.
    pub acl: Acl,
    /// Changes since the last save.
    pub dirty: Counter,
    /// Keys somebody waits for in a blocking call; zero in the usual case.
    pub blocked_keys: AtomicUsize,
    /// Pairs of a watched key and a client that watches it; zero in the usual case.
    pub watched_keys: AtomicUsize,
    /// How many keys native commands wait for (`BLPOP`). Counted under the latch of the key's shard, as above.
    pub awaited_keys: AtomicUsize,
    /// Of these, keys with a waiter that is told too when its key goes (`XREADGROUP`).
    pub awaited_nokeys: AtomicUsize,
    /// Keys that became ready, to be looked at on the module thread.
    /// With the database, and whether they are gone.
    pub ready_keys: Mutex<Vec<(usize, Vec<u8>, bool)>>,
    /// Started at, Unix milliseconds.
    pub started: i64,
    /// 40 hex digits, new at every start.
    pub run_id: String,
    /// 40 hex digits, the replication id.
    pub repl_id: Mutex<String>,
    /// True while the modules of the configuration are loaded.
    pub starting: AtomicBool,
    /// True while data is loaded.
    pub loading: AtomicBool,
    /// `DEBUG PAUSE-CRON`
    pub pause_cron: AtomicBool,
    /// `DEBUG SET-ACTIVE-EXPIRE`
    pub active_expire: AtomicBool,
    /// Whether `maxmemory-policy` is an LFU one.
    pub lfu: AtomicBool,
    /// Set by signals and `SHUTDOWN`.
    pub shutting_down: AtomicBool,
    /// State of saving and loading.
    pub persistence: crate::snapshot::Persistence,
    /// Highest `used_memory` seen.
    pub peak_memory: AtomicU64,
    /// The cron's clock, Unix milliseconds, for places that do not need the exact time.
    pub clock_ms: AtomicI64,
    /// When the latest unit under the module lock began, Unix microseconds.
    pub unit_us: AtomicI64,
    /// The module thread's kernel id.
    pub module_thread: AtomicUsize,
    /// `CLIENT PAUSE`
    pub pause: crate::execute::pause::Pause,
    /// `CLIENT TRACKING`
    pub tracking: crate::execute::tracking::Tracking,
    /// `MONITOR`
    pub monitors: crate::execute::monitor::Monitors,
    /// `SLOWLOG`
    pub slowlog: crate::execute::slowlog::SlowLog,
    /// `LATENCY`
    pub latency: crate::execute::latency::Latency,
    /// `used_memory` when the server was ready to load its data.
    pub startup_memory: AtomicU64,
}

// SAFETY: lock: `holder` is reached only through `Server::holder`, whose contract is the module lock.
unsafe impl Sync for Server {}

static SERVER: OnceLock<&'static Server> = OnceLock::new();

impl Server {
    /// Makes the server of this process. Called once.
    pub fn init(config: Config, startup: Startup) -> &'static Server {
        let databases = config.databases();
        let client_events = config.notify_keyspace_events();
        let lower = |name: &[u8]| String::from_utf8_lossy(name).to_ascii_lowercase();
        let renamed = startup.renamed_commands.iter();
        let renamed = renamed.map(|(old, new)| (lower(old), lower(new))).collect();
        let _ = crate::dispatch::table::RENAMED.set(renamed);
        let server: &'static Server = Box::leak(Box::new(Server {
            config,
            startup,
            keyspace: Keyspace::new(databases),
            module_lock: ModuleLock::default(),
            holder: UnsafeCell::default(),
            table: ArcSwap::from_pointee(Table::build(&[], 0, false, None)),
            table_version: AtomicU64::new(1),
            module_events: AtomicU32::new(0),
            client_events: AtomicU32::new(client_events),
            queue: Queue::default(),
            serving: OnceLock::new(),
            clients: Mutex::default(),
            // As on Redis, the first ids belong to the server's own clients.
            connections: AtomicUsize::new(0),
            next_client: AtomicU64::new(3),
            stats: Stats::default(),
            log: Log::default(),
            cluster: Default::default(),
            link: Default::default(),
            aof: Default::default(),
            pubsub: PubSub::default(),
            modules: Registry::default(),
            acl: Acl::default(),
            dirty: Counter::default(),
            blocked_keys: AtomicUsize::new(0),
            watched_keys: AtomicUsize::new(0),
            awaited_keys: AtomicUsize::new(0),
            awaited_nokeys: AtomicUsize::new(0),
            ready_keys: Mutex::default(),
            started: crate::observe::clock::now_ms(),
            run_id: crate::observe::random::hex(40),
            repl_id: Mutex::new(crate::observe::random::hex(40)),
            starting: AtomicBool::new(true),
            loading: AtomicBool::new(false),
            pause_cron: AtomicBool::new(false),
            active_expire: AtomicBool::new(true),
            lfu: AtomicBool::new(false),
            shutting_down: AtomicBool::new(false),
            persistence: Default::default(),
            peak_memory: AtomicU64::new(0),
            clock_ms: AtomicI64::new(crate::observe::clock::now_ms()),
            unit_us: AtomicI64::new(0),
            module_thread: AtomicUsize::new(0),
            pause: Default::default(),
            tracking: Default::default(),
            monitors: Default::default(),
            slowlog: Default::default(),
            latency: Default::default(),
            startup_memory: AtomicU64::new(0),
        }));
        assert!(SERVER.set(server).is_ok(), "one server in a process");
        // The first database will be used; its shards are no surprise for `maxmemory` later.
        server.keyspace.dbs()[0].shards();
        crate::execute::config::apply_policy(server);
        crate::connection::limits::apply(&server.config);
        server
    }

    /// The server of this process.
    ///
    /// # Panics
    /// Before [`Server::init`].
    #[inline]
    pub fn get() -> &'static Server {
        SERVER.get().expect("the server was started")
    }

    /// What belongs to the holder of the module lock.
    ///
    /// # Safety
    /// The calling thread has the module lock, and keeps no second reference while it uses this one.
    #[allow(clippy::mut_from_ref)]
    #[inline]
    pub unsafe fn holder(&self) -> &mut Holder {
        // SAFETY: lock: this function's contract.
        unsafe { &mut *self.holder.get() }
    }

    /// Classes of events that modules subscribed to.
    #[inline]
    pub fn module_events(&self) -> u32 {
        self.module_events.load(Relaxed)
    }

    /// Classes of events that go to clients (`notify-keyspace-events`).
    #[inline]
    pub fn client_events(&self) -> u32 {
        self.client_events.load(Relaxed)
    }

    /// Sets what goes to clients.
    pub fn set_client_events(&self, classes: u32) {
        self.client_events.store(classes, Relaxed);
    }

    /// Installs a new command table, and waits until every serving thread has left the commands that it began under the
    /// old one. Called with the module lock held; serving threads never wait for it inside a command, so this ends.
    pub fn swap_table(&self, table: Table) {
        self.module_events.store(table.module_events, SeqCst);
        self.table.store(Arc::new(table));
        self.table_version.fetch_add(1, SeqCst);
        self.settle_serving();
    }

    /// Waits until every serving thread has left the commands that it is in. The caller has the module lock, which serving
    /// threads never wait for inside a command, and nothing else that they may wait for.
    pub fn settle_serving(&self) {
        for t in self.serving.get().into_iter().flatten() {
            t.wait_until_left();
        }
    }

    /// The access clock for an entry: LRU seconds, or the LFU counter moved on.
    #[inline]
    pub fn access_clock(&self, now_ms: i64, old: u32) -> u32 {
        if self.lfu.load(Relaxed) {
            crate::keyspace::evict::lfu_touch(now_ms, old, &self.config)
        } else {
            (now_ms / 1000) as u32 & 0xff_ffff
        }
    }

    /// Notes that a key was made, or got an entry of a stream, for which a client of a module may wait.
    #[inline]
    pub fn key_ready(&self, db: usize, key: &[u8]) {
        if self.blocked_keys.load(Relaxed) != 0 {
            self.tell_modules(db, key, false);
        }
    }

    /// Notes that a key was deleted or overwritten, which clients of modules may wait for.
    #[inline]
    pub fn key_gone(&self, db: usize, key: &[u8]) {
        if self.blocked_keys.load(Relaxed) != 0 {
            self.tell_modules(db, key, true);
        }
    }

    #[cold]
    fn tell_modules(&self, db: usize, key: &[u8], gone: bool) {
        if !crate::module::blocked::is_awaited(db, key) {
            return;
        }
        self.ready_keys.lock().push((db, key.to_vec(), gone));
        self.queue.task(Box::new(|| crate::module::blocked::serve_ready_keys(Server::get())));
    }

    /// The time of the unit under the module lock, which is `now` if nobody asked before: a key that a module's callback
    /// saw does not expire before the unit ends.
    #[inline]
    pub fn unit_time(&self, now: impl FnOnce() -> i64) -> i64 {
        // SAFETY: lock: callers have the module lock.
        let holder = unsafe { self.holder() };
        if holder.now == 0 {
            holder.now = now();
            self.unit_us.store(crate::observe::clock::now_us(), Relaxed);
        }
        holder.now
    }

    /// Ends a unit under the module lock: releases the held keys and wakes whoever waited for them.
    pub fn release_keys(&self) {
        // SAFETY: lock: callers have the module lock.
        let holder = unsafe { self.holder() };
        if holder.yields != 0 {
            return;
        }
        holder.now = 0;
        if holder.touched.is_empty() {
            return;
        }
        // Entries may move from now on: handles that outlive the unit look again.
        holder.structure += 1;
        for index in holder.touched.drain(..) {
            let shard = self.keyspace.shard(index);
            shard.latch.lock();
            // SAFETY: lock: taken on the line above.
            let data = unsafe { shard.data() };
            data.held.clear();
            let waiters = std::mem::take(&mut data.waiters);
            // SAFETY: lock: taken above.
            unsafe { shard.latch.unlock() };
            for w in waiters {
                w.wake();
            }
        }
        if holder.touched.capacity() > 1 << 16 {
            holder.touched = Vec::new();
        }
    }

    /// Bytes that the process has allocated, modules included.
    pub fn used_memory(&self) -> u64 {
        let used = crate::module::api::memory::allocated();
        if used > self.peak_memory.load(Relaxed) {
            self.peak_memory.fetch_max(used, Relaxed);
        }
        used
    }
}
