//! `CLIENT TRACKING`: clients that cache values hear of the keys that change.
//!
//! **Default mode.** The keys that a tracking client reads are remembered, with its id, in a table by key name (the number
//! of the database does not matter, as on Redis). A change of such a key tells these clients and forgets the key.
//! **Broadcasting mode.** Changed keys are gathered by prefix and told at the end of the turn in which they changed.
//!
//! **Why no client keeps a stale value.** A read is remembered while its command still has the latch of the key's shard, or
//! holds the key; a change looks into the table under the same latch. So a change after the read finds the client. The
//! message goes through the client's mailbox, which its connection sends behind all replies that are there, so it comes
//! after the reply with the old value. Only what a client's own command changes is sent by the command itself, behind its
//! reply ([`Tracking::send_pending`]).
//!
//! Order of locks: shard latch, one part of the table or the prefixes, the list of clients, one client's own locks.
use super::error::{err, SYNTAX};
use super::{int, is, text, CommandError, CommandResult, Mode, Tx};
use crate::connection::client::{flag, ClientShared, Session};
use crate::connection::limits;
use crate::dispatch::table::{flags, Command};
use crate::keyspace::shard::hash_bytes;
use crate::observe::random;
use crate::reply::Reply;
use crate::server::Server;
use parking_lot::{Mutex, RwLock};
use smallvec::SmallVec;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Weak};

/// Parts of the table, each with its own lock.
const PARTS: usize = 64;
/// Keys forgotten in one go when there are too many, times the number of goes that were not enough.
const EFFORT: usize = 100;

/// What one client tracks.
#[derive(Default)]
pub struct ClientTracking {
    /// Where invalidations go; 0: to itself.
    redirect: u64,
    target: Weak<ClientShared>,
    prefixes: BTreeSet<Vec<u8>>,
    /// Keys that its present command changed; `None` stands for all keys.
    pending: Vec<Option<Vec<u8>>>,
}

/// A prefix in broadcasting mode.
#[derive(Default)]
struct Prefix {
    /// Keys that changed since the last broadcast, and who changed them last (0: nobody, or a script).
    changed: BTreeMap<Vec<u8>, u64>,
    clients: Vec<Arc<ClientShared>>,
}

type Part = HashMap<Vec<u8>, SmallVec<[u64; 2]>>;

/// Who tracks what.
pub struct Tracking {
    /// Number of tracking clients: what a command looks at.
    count: AtomicUsize,
    clients: RwLock<HashMap<u64, Arc<ClientShared>>>,
    table: [Mutex<Part>; PARTS],
    keys: AtomicUsize,
    items: AtomicUsize,
    prefix_count: AtomicUsize,
    prefixes: Mutex<BTreeMap<Vec<u8>, Prefix>>,
    /// There is something to broadcast.
    changed: AtomicBool,
    /// Goes at the limit of keys that were not enough.
    goes: AtomicUsize,
}

impl Default for Tracking {
    fn default() -> Tracking {
        Tracking {
            count: AtomicUsize::new(0),
            clients: RwLock::default(),
            table: std::array::from_fn(|_| Mutex::default()),
            keys: AtomicUsize::new(0),
            items: AtomicUsize::new(0),
            prefix_count: AtomicUsize::new(0),
            prefixes: Mutex::default(),
            changed: AtomicBool::new(false),
            goes: AtomicUsize::new(0),
        }
    }
}

/// What a message says.
enum News<'a> {
    /// This key changed.
    Key(&'a [u8]),
    /// A whole array of keys, encoded.
    Keys(&'a [u8]),
    /// All keys are gone.
    All,
}

fn part_of(key: &[u8]) -> usize {
    // Other bits than those that choose the place in the part.
    (hash_bytes(key) >> 40) as usize % PARTS
}

/// The message for a client, in its protocol, and who gets it. `None` when nobody can be told.
fn encode(c: &Arc<ClientShared>, news: &News<'_>) -> Option<(Arc<ClientShared>, Vec<u8>)> {
    let own = c.has(flag::RESP3);
    let (redirect, target) = {
        let t = c.tracking();
        (t.redirect, t.target.upgrade())
    };
    let mut r = Reply::new(own);
    let to = if redirect == 0 {
        c.clone()
    } else {
        match target.filter(|t| !t.has(flag::KILLED)) {
            Some(to) => to,
            None => {
                c.put(flag::TRACK_BROKEN, true);
                r.push(2);
                r.bulk(b"tracking-redir-broken");
                r.int(redirect as i64);
                return own.then(|| (c.clone(), r.buf));
            }
        }
    };
    r.resp3 = to.has(flag::RESP3);
    if r.resp3 {
        r.push(2);
        r.bulk(b"invalidate");
    } else if redirect != 0 && to.has(flag::PUBSUB) {
        r.push(3);
        r.bulk(b"message");
        r.bulk(b"__redis__:invalidate");
    } else {
        return None;
    }
    match news {
        News::Key(key) => {
            r.array(1);
            r.bulk(key);
        }
        News::Keys(encoded) => r.raw(encoded),
        News::All => {
            // In the protocol of who tracks, whoever gets it.
            r.resp3 = own;
            r.null();
        }
    }
    Some((to, r.buf))
}

fn tell(c: &Arc<ClientShared>, news: &News<'_>) {
    if let Some((to, message)) = encode(c, news) {
        to.push(&message);
    }
}

impl Tracking {
    /// Whether any client tracks.
    #[inline]
    pub fn any(&self) -> bool {
        self.count.load(Relaxed) != 0
    }

    /// Tracking clients, keys in the table, pairs of key and client, prefixes, for `INFO`.
    pub fn figures(&self) -> [usize; 4] {
        [&self.count, &self.keys, &self.items, &self.prefix_count].map(|n| n.load(Relaxed))
    }

    fn enable(
        &self,
        c: &Arc<ClientShared>,
        redirect: Option<Arc<ClientShared>>,
        bits: u32,
        prefixes: &[&[u8]],
    ) {
        {
            let mut t = c.tracking();
            t.redirect = redirect.as_ref().map_or(0, |to| to.id);
            t.target = redirect.map_or(Weak::new(), |to| Arc::downgrade(&to));
        }
        c.put(MODES | flag::TRACK_BROKEN, false);
        c.put(flag::TRACKING | bits, true);
        if self.clients.write().insert(c.id, c.clone()).is_none() {
            self.count.fetch_add(1, Relaxed);
        }
        if bits & flag::TRACK_BCAST != 0 {
            let mut all = self.prefixes.lock();
            let everything: &[&[u8]] = &[b""];
            for p in if prefixes.is_empty() { everything } else { prefixes } {
                let at = all.entry(p.to_vec()).or_default();
                if !at.clients.iter().any(|x| x.id == c.id) {
                    at.clients.push(c.clone());
                    c.tracking().prefixes.insert(p.to_vec());
                }
            }
            self.prefix_count.store(all.len(), Relaxed);
            c.prefixes.store(c.tracking().prefixes.len() as u32, Relaxed);
        }
    }

    /// Ends a client's tracking. Its entries in the table are left to be found stale, unless it was the last one.
    pub fn disable(&self, c: &Arc<ClientShared>) {
        if !c.has(flag::TRACKING) {
            return;
        }
        let own = std::mem::take(&mut c.tracking().prefixes);
        if !own.is_empty() {
            let mut all = self.prefixes.lock();
            for p in own {
                if let Some(at) = all.get_mut(&p) {
                    at.clients.retain(|x| x.id != c.id);
                    if at.clients.is_empty() {
                        all.remove(&p);
                    }
                }
            }
            self.prefix_count.store(all.len(), Relaxed);
            c.prefixes.store(0, Relaxed);
        }
        c.put(flag::TRACKING | MODES | flag::TRACK_BROKEN | flag::TRACK_CACHING, false);
        let mut clients = self.clients.write();
        if clients.remove(&c.id).is_some() && self.count.fetch_sub(1, Relaxed) == 1 {
            // From now on changes do not look into the table.
            self.clear();
        }
    }

    fn clear(&self) {
        for part in &self.table {
            let part = std::mem::take(&mut *part.lock());
            self.keys.fetch_sub(part.len(), Relaxed);
            self.items.fetch_sub(part.values().map(|ids| ids.len()).sum(), Relaxed);
        }
    }

    fn remember(&self, key: &[u8], id: u64) {
        let mut part = self.table[part_of(key)].lock();
        let ids = match part.get_mut(key) {
            Some(ids) => ids,
            None => {
                self.keys.fetch_add(1, Relaxed);
                part.entry(key.to_vec()).or_default()
            }
        };
        if let Err(at) = ids.binary_search(&id) {
            ids.insert(at, id);
            self.items.fetch_add(1, Relaxed);
        }
    }

    /// A key changed: tells the clients that read it. `by` is the client whose command changed it, if it did so itself;
    /// `current` the one whose command, script or module call it was.
    #[cold]
    pub fn changed(&self, by: u64, current: Option<&Arc<ClientShared>>, key: &[u8]) {
        if self.prefix_count.load(Relaxed) > 0 {
            for (prefix, at) in self.prefixes.lock().iter_mut() {
                if key.starts_with(prefix) {
                    at.changed.insert(key.to_vec(), by);
                    self.changed.store(true, Relaxed);
                }
            }
        }
        self.invalidate(current, key);
    }

    fn invalidate(&self, current: Option<&Arc<ClientShared>>, key: &[u8]) {
        if self.keys.load(Relaxed) == 0 {
            return;
        }
        let Some(ids) = self.table[part_of(key)].lock().remove(key) else { return };
        self.keys.fetch_sub(1, Relaxed);
        self.items.fetch_sub(ids.len(), Relaxed);
        let clients = self.clients.read();
        for c in ids.iter().filter_map(|id| clients.get(id)) {
            if !c.has(flag::TRACKING) || c.has(flag::TRACK_BCAST) {
                continue;
            }
            if current.is_none_or(|x| x.id != c.id) {
                tell(c, &News::Key(key));
            } else if !c.has(flag::TRACK_NOLOOP) {
                c.tracking().pending.push(Some(key.to_vec()));
                c.put(flag::TRACK_PENDING, true);
            }
        }
    }

    /// All keys of a database, or of all, are gone; their shards are held until the end of the unit, so whoever read one
    /// of them did it before. `current` as above.
    pub fn flushed(&self, current: Option<&Arc<ClientShared>>) {
        if !self.any() {
            return;
        }
        let clients = self.clients.read();
        self.clear();
        for c in clients.values() {
            if current.is_some_and(|x| x.id == c.id) {
                c.tracking().pending.push(None);
                c.put(flag::TRACK_PENDING, true);
            } else {
                tell(c, &News::All);
            }
        }
    }

    /// Sends what the command of this client changed itself, behind its reply.
    #[cold]
    pub fn send_pending(&self, session: &mut Session, out: &mut Reply) {
        let c = session.shared.clone();
        c.put(flag::TRACK_PENDING, false);
        let pending = std::mem::take(&mut c.tracking().pending);
        if !c.has(flag::TRACKING) {
            return;
        }
        for key in &pending {
            let news = key.as_ref().map_or(News::All, |key| News::Key(key));
            match encode(&c, &news) {
                Some((to, message)) if Arc::ptr_eq(&to, &c) => out.raw(&message),
                Some((to, message)) => to.push(&message),
                None => {}
            }
        }
    }

    /// Tells broadcasting clients what changed: at the end of each turn of an event loop.
    #[inline]
    pub fn broadcast(&self, server: &Server) {
        if self.changed.load(Relaxed) {
            self.send_broadcast(server);
        }
    }

    #[cold]
    fn send_broadcast(&self, _: &Server) {
        let mut prefixes = self.prefixes.lock();
        self.changed.store(false, Relaxed);
        for at in prefixes.values_mut().filter(|at| !at.changed.is_empty()) {
            let changed = std::mem::take(&mut at.changed);
            let all = encode_keys(&changed, None);
            for c in &at.clients {
                if !c.has(flag::TRACK_NOLOOP) {
                    tell(c, &News::Keys(&all));
                    continue;
                }
                let others = encode_keys(&changed, Some(c.id));
                if !others.starts_with(b"*0") {
                    tell(c, &News::Keys(&others));
                }
            }
        }
    }

    /// Keeps the table within `tracking-table-max-keys`: forgets random keys, as if they had changed.
    pub fn keep_limit(&self, server: &Server) {
        let limit = server.config.tracking_table_max_keys();
        if limit == 0 || self.keys.load(Relaxed) <= limit {
            self.goes.store(0, Relaxed);
            return;
        }
        let effort = EFFORT * (self.goes.load(Relaxed) + 1);
        for _ in 0..effort {
            let Some(key) = self.random_key() else { return };
            self.invalidate(None, &key);
            if self.keys.load(Relaxed) <= limit {
                self.goes.store(0, Relaxed);
                return;
            }
        }
        self.goes.fetch_add(1, Relaxed);
    }

    fn random_key(&self) -> Option<Vec<u8>> {
        let start = random::next() as usize;
        (0..PARTS).find_map(|i| {
            let part = self.table[start.wrapping_add(i) % PARTS].lock();
            part.keys().next().cloned()
        })
    }
}

/// An array of the keys, without those that `without` changed last.
fn encode_keys(changed: &BTreeMap<Vec<u8>, u64>, without: Option<u64>) -> Vec<u8> {
    let kept: Vec<_> = changed.iter().filter(|(_, by)| without != Some(**by)).collect();
    let mut r = Reply::default();
    r.array(kept.len());
    kept.iter().for_each(|(key, _)| r.bulk(key));
    r.buf
}

impl Tx<'_> {
    /// The client whose command this is, also behind the calls of its script or of a module.
    fn current(&self) -> Option<&Arc<ClientShared>> {
        if !self.session.shared.has(flag::INTERNAL) {
            return Some(&self.session.shared);
        }
        match self.mode() {
            Mode::Native => None,
            // SAFETY: lock: module mode means that this thread has the module lock.
            Mode::Module => unsafe { self.server.holder() }.current.as_ref(),
        }
    }

    /// A key changed.
    #[cold]
    pub(super) fn tell_trackers(&self, key: &[u8]) {
        let shared = &self.session.shared;
        let by = if shared.has(flag::INTERNAL) { 0 } else { shared.id };
        self.server.tracking.changed(by, self.current(), key);
    }

    /// A key went because its time had come.
    #[cold]
    pub(super) fn tell_trackers_of_expiry(&self, key: &[u8]) {
        self.server.tracking.changed(0, self.current(), key);
    }

    /// All keys went.
    pub fn tell_trackers_of_flush(server: &Server) {
        // SAFETY: lock: callers have the module lock.
        let current = unsafe { server.holder() }.current.clone();
        server.tracking.flushed(current.as_ref());
    }

    /// A command that reads ran: its keys are remembered for the client.
    #[cold]
    pub fn remember_keys(&self, command: &Command, args: &[&[u8]]) {
        let script = matches!(command.name.as_str(), "eval_ro" | "evalsha_ro" | "fcall_ro");
        if !command.has(flags::READONLY) || command.has(flags::PUBSUB) || script {
            return;
        }
        let Some(c) = self.current() else { return };
        let given = c.has(flag::TRACK_CACHING);
        if !c.has(flag::TRACKING)
            || c.has(flag::TRACK_BCAST)
            || c.has(flag::TRACK_OPTIN) && !given
            || c.has(flag::TRACK_OPTOUT) && given
        {
            return;
        }
        for (i, _) in command.key_positions(args).unwrap_or_default() {
            self.server.tracking.remember(args[i], c.id);
        }
    }
}

/// A request of this client begins: the table is kept within its limit, and what there is to be told comes before the
/// reply.
#[cold]
pub fn before_command(server: &Server, session: &Session, out: &mut Reply) {
    server.tracking.keep_limit(server);
    deliver(session, out);
}

/// Writes the messages that wait for a client into its output, between two replies.
pub fn deliver(session: &Session, out: &mut Reply) {
    let mut mail = Vec::new();
    session.shared.collect(&mut mail);
    out.raw(&mail);
}

/// `CLIENT CACHING` holds for one command.
#[cold]
pub fn after_command(session: &Session, command: &Command) {
    let client = command.full_name.starts_with("client|");
    if session.multi.is_none() && !client {
        session.shared.put(flag::TRACK_CACHING, false);
    }
}

const MODES: u32 = flag::TRACK_BCAST | flag::TRACK_OPTIN | flag::TRACK_OPTOUT | flag::TRACK_NOLOOP;

fn overlap(a: &[u8], b: &[u8]) -> bool {
    a.starts_with(b) || b.starts_with(a)
}

/// Prefixes of one client must not overlap, with each other or with those it has.
fn check_prefixes(c: &ClientShared, prefixes: &[&[u8]]) -> Result<(), CommandError> {
    let own = c.tracking();
    for (i, p) in prefixes.iter().enumerate() {
        let old = own.prefixes.iter().map(|x| (x.as_slice(), "an existing"));
        let new = prefixes[i + 1..].iter().map(|x| (*x, "another provided"));
        if let Some((other, which)) = old.chain(new).find(|(x, _)| overlap(p, x)) {
            return Err(err(format!(
                "ERR Prefix '{}' overlaps with {which} prefix '{}'. Prefixes for a single client must not overlap.",
                text(p),
                text(other)
            )));
        }
    }
    Ok(())
}

/// `CLIENT TRACKING ON|OFF [REDIRECT id] [PREFIX prefix ...] [BCAST] [OPTIN] [OPTOUT] [NOLOOP]`
pub fn tracking(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let (mut redirect, mut bits, mut prefixes) = (None, 0, Vec::new());
    let mut i = 3;
    while i < args.len() {
        let more = i + 1 < args.len();
        match args[i].to_ascii_lowercase().as_slice() {
            b"redirect" if more => {
                if redirect.is_some() {
                    return Err(err("ERR A client can only redirect to a single other client"));
                }
                let id = int(args[i + 1])?;
                let to = tx.server.clients.lock().get(&(id as u64)).cloned();
                let to = to.ok_or(err("ERR The client ID you want redirect to does not exist"))?;
                redirect = Some(to);
                i += 1;
            }
            b"bcast" => bits |= flag::TRACK_BCAST,
            b"optin" => bits |= flag::TRACK_OPTIN,
            b"optout" => bits |= flag::TRACK_OPTOUT,
            b"noloop" => bits |= flag::TRACK_NOLOOP,
            b"prefix" if more => {
                prefixes.push(args[i + 1]);
                i += 1;
            }
            _ => return Err(SYNTAX),
        }
        i += 1;
    }
    let c = tx.session.shared.clone();
    if is(args[2], "on") {
        check_modes(&c, bits, &prefixes)?;
        tx.server.tracking.enable(&c, redirect, bits, &prefixes);
    } else if is(args[2], "off") {
        tx.server.tracking.disable(&c);
    } else {
        return Err(SYNTAX);
    }
    out.ok();
    Ok(())
}

/// Checks that modes go together, and with the client's state.
fn check_modes(c: &ClientShared, bits: u32, prefixes: &[&[u8]]) -> Result<(), CommandError> {
    let has = |bit: u32| bits & bit != 0;
    let (bcast, optin, optout) =
        (has(flag::TRACK_BCAST), has(flag::TRACK_OPTIN), has(flag::TRACK_OPTOUT));
    let refused = if !bcast && !prefixes.is_empty() {
        "ERR PREFIX option requires BCAST mode to be enabled"
    } else if c.has(flag::TRACKING) && c.has(flag::TRACK_BCAST) != bcast {
        "ERR You can't switch BCAST mode on/off before disabling tracking for this client, and then re-enabling it with \
         a different mode."
    } else if bcast && (optin || optout) {
        "ERR OPTIN and OPTOUT are not compatible with BCAST"
    } else if optin && optout {
        "ERR You can't specify both OPTIN mode and OPTOUT mode"
    } else if optin && c.has(flag::TRACK_OPTOUT) || optout && c.has(flag::TRACK_OPTIN) {
        "ERR You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, and then re-enabling it with \
         a different mode."
    } else if bcast {
        return check_prefixes(c, prefixes);
    } else {
        return Ok(());
    };
    Err(err(refused))
}

/// `CLIENT CACHING YES|NO`
pub fn caching(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let c = &tx.session.shared;
    if !c.has(flag::TRACKING) {
        return Err(err(
            "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled",
        ));
    }
    let (mode, refused) = if is(args[2], "yes") {
        let e = "ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode.";
        (flag::TRACK_OPTIN, e)
    } else if is(args[2], "no") {
        let e = "ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.";
        (flag::TRACK_OPTOUT, e)
    } else {
        return Err(SYNTAX);
    };
    if !c.has(mode) {
        return Err(err(refused));
    }
    c.put(flag::TRACK_CACHING, true);
    out.ok();
    Ok(())
}

/// Where a client's invalidations go: 0 to itself, -1 when it does not track.
pub fn redirection(c: &ClientShared) -> i64 {
    if c.has(flag::TRACKING) {
        c.tracking().redirect as i64
    } else {
        -1
    }
}

/// `CLIENT GETREDIR`
pub fn getredir(tx: &mut Tx<'_>, _: &[&[u8]], out: &mut Reply) -> CommandResult {
    out.int(redirection(&tx.session.shared));
    Ok(())
}

/// `CLIENT TRACKINGINFO`
pub fn trackinginfo(tx: &mut Tx<'_>, _: &[&[u8]], out: &mut Reply) -> CommandResult {
    let c = &tx.session.shared;
    let given = c.has(flag::TRACK_CACHING);
    let words: Vec<&str> = [
        (true, if c.has(flag::TRACKING) { "on" } else { "off" }),
        (c.has(flag::TRACK_BCAST), "bcast"),
        (c.has(flag::TRACK_OPTIN), "optin"),
        (c.has(flag::TRACK_OPTIN) && given, "caching-yes"),
        (c.has(flag::TRACK_OPTOUT), "optout"),
        (c.has(flag::TRACK_OPTOUT) && given, "caching-no"),
        (c.has(flag::TRACK_NOLOOP), "noloop"),
        (c.has(flag::TRACK_BROKEN), "broken_redirect"),
    ]
    .into_iter()
    .filter_map(|(on, word)| on.then_some(word))
    .collect();
    out.map(3);
    out.bulk(b"flags");
    out.set(words.len());
    words.iter().for_each(|w| out.bulk_str(w));
    out.bulk(b"redirect");
    out.int(redirection(c));
    out.bulk(b"prefixes");
    let own = c.tracking();
    out.array(own.prefixes.len());
    own.prefixes.iter().for_each(|p| out.bulk(p));
    Ok(())
}

/// Regular work, from the cron: the limit of the table, keys that changed outside of any turn, and clients' buffers.
pub fn tend(server: &Server, now: i64) {
    if server.tracking.any() {
        server.tracking.keep_limit(server);
    }
    server.tracking.broadcast(server);
    limits::tend(server, now);
}
