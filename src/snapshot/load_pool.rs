//! Loading with several threads: the module thread reads the file and finds where keys and values are; the others build
//! the native values and put them into the keyspace. The values of modules stay on the module thread, where modules
//! expect to be called.
use super::{Decoder, Limits, RdbError, Reader, Result};
use crate::keyspace::entry::Entry;
use crate::keyspace::event;
use crate::keyspace::evict::minutes;
use crate::keyspace::shard::{hash_bytes, shard_of, SHARDS};
use crate::keyspace::value::Value;
use crate::module::datatype::find_by_id;
use crate::observe::clock::now_ms;
use crate::server::Server;
use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{channel, sync_channel, Receiver, Sender, SyncSender};
use std::sync::Arc;
use std::thread::Scope;

/// A job is passed on when it has this many bytes, or this many keys.
pub(super) const JOB_BYTES: usize = 64 << 10;
/// See [`JOB_BYTES`].
pub(super) const JOB_KEYS: usize = 512;
/// Jobs that wait, per thread.
const WAITING: usize = 3;
/// Keys without elements that are named in the log.
const EMPTY_LOGGED: u64 = 10;

/// What opcodes said about the next key.
#[derive(Default)]
pub(super) struct Next {
    pub expire: Option<i64>,
    pub idle: Option<u64>,
    pub frequency: Option<u8>,
}

/// A key with its value in a job.
pub(super) struct Place {
    pub db: usize,
    pub ty: u8,
    pub next: Next,
    /// Where it is in the file.
    pub at: u64,
    /// Where it ends in the job's bytes; it begins where the one before it ends.
    pub end: usize,
}

/// Keys with their values, as they are in the file.
#[derive(Default)]
pub(super) struct Job {
    pub bytes: Vec<u8>,
    pub keys: Vec<Place>,
}

/// What all threads of a load share.
pub(super) struct Common {
    server: &'static Server,
    limits: Limits,
    /// When the load began, Unix milliseconds.
    pub now: i64,
    lfu: bool,
    /// Expired keys are loaded: commands that follow may still concern them.
    keep_expired: bool,
    /// Modules want to know of each key.
    pub tells: bool,
    pub loaded: AtomicU64,
    expired: AtomicU64,
    pub empty: AtomicU64,
    failed: AtomicBool,
    failure: Mutex<Option<RdbError>>,
}

impl Common {
    pub fn new(server: &'static Server, keep_expired: bool) -> Common {
        Common {
            server,
            limits: Limits::of(&server.config),
            now: now_ms(),
            keep_expired,
            lfu: server.lfu.load(Relaxed),
            tells: server.module_events() & event::LOADED_KEY.class != 0,
            loaded: AtomicU64::new(0),
            expired: AtomicU64::new(0),
            empty: AtomicU64::new(0),
            failed: AtomicBool::new(false),
            failure: Mutex::new(None),
        }
    }

    /// Tells `INFO` how far the load is.
    pub fn publish(&self, r: &Reader<'_>) {
        let p = &self.server.persistence;
        p.loading_loaded_bytes.store(r.position(), Relaxed);
        p.last_load_keys_loaded.store(self.loaded.load(Relaxed), Relaxed);
        p.last_load_keys_expired.store(self.expired.load(Relaxed), Relaxed);
    }

    fn fail(&self, e: RdbError) {
        self.failure.lock().get_or_insert(e);
        self.failed.store(true, Relaxed);
    }

    /// What a thread found wrong.
    pub fn failure(&self) -> Option<RdbError> {
        self.failure.lock().take()
    }

    /// The value of a key; `None` for a collection without elements, which is skipped.
    pub fn value(
        &self,
        r: &mut Reader<'_>,
        key: &[u8],
        db: usize,
        ty: u8,
    ) -> Result<Option<Value>> {
        let (limits, key_and_db) = (self.limits, Some((key, db)));
        let decoder = Decoder { limits, key: key_and_db, find_type: &find_by_id, park: true };
        match decoder.value(r, ty) {
            Err(RdbError::EmptyKey) => {
                if self.empty.fetch_add(1, Relaxed) < EMPTY_LOGGED {
                    let key = String::from_utf8_lossy(key);
                    crate::log_notice!("rdbLoadObject skipping empty key: {key}");
                }
                Ok(None)
            }
            Err(RdbError::Corrupt { at, cause }) => {
                let key = String::from_utf8_lossy(key);
                let cause = format!("{cause}; the value of key '{key}' in DB {db}").into();
                Err(RdbError::Corrupt { at, cause })
            }
            other => other.map(Some),
        }
    }

    /// Whether a key's time was over before the load began; counts it.
    pub fn is_expired(&self, next: &Next) -> bool {
        let expired = !self.keep_expired && next.expire.is_some_and(|at| at < self.now);
        self.expired.fetch_add(u64::from(expired), Relaxed);
        expired
    }

    /// The access clock of a key: as the file says, if it was saved under a policy like today's.
    pub fn clock(&self, next: &Next) -> u32 {
        match (next.frequency, next.idle) {
            (Some(f), _) if self.lfu => minutes(self.now) << 8 | u32::from(f),
            (_, Some(idle)) if !self.lfu => {
                ((self.now / 1000) as u64).wrapping_sub(idle) as u32 & 0xff_ffff
            }
            _ => self.server.access_clock(self.now, 0),
        }
    }

    /// Builds the values of a job and puts them into the keyspace. Returns the keys, if modules want to know them.
    fn build(&self, job: &Job) -> Result<Vec<(usize, Vec<u8>)>> {
        let mut loaded = Vec::new();
        let (mut from, mut count) = (0, 0);
        for place in &job.keys {
            let mut r = Reader::of_memory(&job.bytes[from..place.end]);
            from = place.end;
            let in_file = |e| match e {
                RdbError::Corrupt { at, cause } => RdbError::Corrupt { at: at + place.at, cause },
                other => other,
            };
            let key = r.string().map_err(in_file)?;
            let value = self.value(&mut r, &key, place.db, place.ty).map_err(in_file)?;
            let Some(value) = value else { continue };
            if self.is_expired(&place.next) {
                continue;
            }
            let clock = self.clock(&place.next);
            if !insert(self.server, place.db, &key, value, place.next.expire, clock) {
                return Err(in_file(duplicate(&r, &key, place.db)));
            }
            count += 1;
            if self.tells {
                loaded.push((place.db, key));
            }
        }
        self.loaded.fetch_add(count, Relaxed);
        Ok(loaded)
    }
}

/// The error for a key that is there already.
pub(super) fn duplicate(r: &Reader<'_>, key: &[u8], db: usize) -> RdbError {
    let key = String::from_utf8_lossy(key);
    r.corrupt(format!("RDB has duplicated key '{key}' in DB {db}"))
}

/// Adds a key. False if it is there already. The thread works for the holder of the module lock, who waits for it at the
/// end: so it does not look at what is held.
fn insert(
    server: &Server,
    db: usize,
    key: &[u8],
    value: Value,
    at: Option<i64>,
    clock: u32,
) -> bool {
    let shard = &server.keyspace.dbs()[db].shards()[shard_of(key)];
    let hash = hash_bytes(key);
    // Built before, so that the latch is short.
    let entry = Entry::new(key, value, at, clock);
    shard.latch.lock();
    // SAFETY: lock: taken on the line above, released below.
    let data = unsafe { shard.data() };
    let free = data.find(hash, key).is_none();
    if free {
        data.insert(shard, hash, entry);
    }
    // SAFETY: lock: taken above.
    unsafe { shard.latch.unlock() };
    if !free {
        entry.free();
    }
    free
}

/// Makes room for so many keys in a database.
pub(super) fn reserve(server: &Server, db: usize, keys: u64) {
    let each = keys as usize / SHARDS;
    // Below this tables grow in no time.
    if each < 16 {
        return;
    }
    for shard in server.keyspace.dbs()[db].shards() {
        shard.latch.lock();
        // SAFETY: lock: taken on the line above.
        unsafe { shard.data() }.table.reserve(each);
        // SAFETY: lock: taken above.
        unsafe { shard.latch.unlock() };
    }
}

/// Keys for the module thread, with their databases.
type Loaded = Vec<(usize, Vec<u8>)>;

/// The threads.
pub(super) struct Pool<'a> {
    common: &'a Common,
    jobs: Mutex<Option<SyncSender<Job>>>,
    /// Ends when the threads have.
    pub loaded: Receiver<Loaded>,
}

impl<'a> Pool<'a> {
    /// Starts threads; `None` if there are none.
    pub fn new<'scope>(
        scope: &'scope Scope<'scope, '_>,
        common: &'a Common,
        threads: usize,
    ) -> Option<Pool<'a>>
    where
        'a: 'scope,
    {
        let (send, receive) = sync_channel::<Job>(threads * WAITING);
        let receive = Arc::new(Mutex::new(receive));
        let (tell, loaded) = channel();
        let mut any = false;
        for i in 0..threads {
            let (receive, tell) = (receive.clone(), tell.clone());
            let builder = std::thread::Builder::new().name(format!("load-{i}"));
            any |= builder.spawn_scoped(scope, move || work(common, &receive, &tell)).is_ok();
        }
        any.then(|| Pool { common, jobs: Mutex::new(Some(send)), loaded })
    }

    /// Gives the threads a job; waits while they are behind. Fails when they found an error.
    pub fn give(&self, job: Job) -> Result<()> {
        if let Some(e) = self.common.failed.load(Relaxed).then(|| self.common.failure()).flatten() {
            return Err(e);
        }
        if let Some(jobs) = &*self.jobs.lock() {
            // The threads take jobs as long as there are any.
            let _ = jobs.send(job);
        }
        Ok(())
    }

    /// No job comes any more.
    pub fn close(&self) {
        *self.jobs.lock() = None;
    }
}

fn work(common: &Common, jobs: &Mutex<Receiver<Job>>, tell: &Sender<Loaded>) {
    loop {
        let Ok(job) = jobs.lock().recv() else { return };
        // After an error what is left is only taken, so that nobody waits for room.
        if common.failed.load(Relaxed) {
            continue;
        }
        match common.build(&job) {
            Ok(loaded) if loaded.is_empty() => {}
            // The receiver is there until the threads have ended.
            Ok(loaded) => drop(tell.send(loaded)),
            Err(e) => common.fail(e),
        }
    }
}
