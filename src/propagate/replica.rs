//! The primary's side of replication: who is fed with the log, and the backlog from which a replica that was away goes on.
//!
//! A replica is a client whose connection got a snapshot and is then sent every effect, in the log's order: the log pushes
//! the bytes into its mailbox while it has its own lock ([`super::log::Log`]). It answers with the offset up to which it
//! has executed them.
use super::log::Stream;
use crate::connection::client::{flag, ClientShared};
use crate::connection::limits;
use crate::execute::blocking::Waiter;
use crate::observe::clock::now_ms;
use crate::server::Server;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicI64, AtomicU16, AtomicU64, AtomicU8, Ordering::Relaxed};
use std::sync::Arc;

/// How far a replica is: values of [`Replica::stage`], in their order.
pub mod stage {
    /// It waits for a cut.
    pub const WAITS: u8 = 0;
    /// Its snapshot is being written.
    pub const SNAPSHOT: u8 = 1;
    /// Its snapshot is on its way.
    pub const SENDING: u8 = 2;
    /// It follows the stream.
    pub const ONLINE: u8 = 3;
}

/// A replica, as its connection and the log see it.
pub struct Replica {
    /// Its connection.
    pub client: Arc<ClientShared>,
    /// `REPLCONF listening-port`
    pub port: AtomicU16,
    /// `REPLCONF ip-address`; empty for the address of the connection.
    pub ip: Mutex<String>,
    /// What it has executed, in bytes of the stream.
    pub acknowledged: AtomicU64,
    /// What of that is on its disk.
    pub synced: AtomicU64,
    /// When it said so, Unix milliseconds.
    pub heard: AtomicI64,
    /// One of [`stage`]. Goes on under the log's lock, but to [`stage::SENDING`].
    pub stage: AtomicU8,
    /// The offset at which its snapshot was taken.
    pub from: AtomicU64,
    /// What was added to the stream since then, and waits until it has the snapshot. Under the log's lock.
    kept_back: Mutex<Vec<u8>>,
}

impl Replica {
    /// A client that begins to talk like a replica.
    pub fn new(client: Arc<ClientShared>) -> Replica {
        Replica {
            client,
            port: AtomicU16::new(0),
            ip: Mutex::default(),
            acknowledged: AtomicU64::new(0),
            synced: AtomicU64::new(0),
            heard: AtomicI64::new(now_ms()),
            stage: AtomicU8::new(stage::WAITS),
            from: AtomicU64::new(0),
            kept_back: Mutex::default(),
        }
    }

    /// Its place in the synchronisation, as `INFO` calls it.
    pub fn state(&self) -> &'static str {
        match self.stage.load(Relaxed) {
            stage::WAITS | stage::SNAPSHOT => "wait_bgsave",
            stage::SENDING => "send_bulk",
            _ => "online",
        }
    }

    /// Whether it follows the stream.
    pub fn is_online(&self) -> bool {
        self.stage.load(Relaxed) == stage::ONLINE
    }

    /// Passes a piece of the stream on. Under the log's lock.
    fn feed(&self, bytes: &[u8]) {
        match self.stage.load(Relaxed) {
            stage::WAITS => {}
            stage::ONLINE => self.client.push(bytes),
            _ => {
                let mut kept = self.kept_back.lock();
                kept.extend_from_slice(bytes);
                // It counts as output, and too much of it ends the connection.
                if limits::passes_with(Server::get(), &self.client, kept.len()) {
                    *kept = Vec::new();
                }
            }
        }
    }

    /// Its address, without the port.
    pub fn address(&self) -> String {
        let ip = self.ip.lock().clone();
        if !ip.is_empty() {
            return ip;
        }
        let addr = &self.client.addr;
        addr.rsplit_once(':').map_or(&**addr, |(ip, _)| ip).trim_matches(['[', ']']).to_string()
    }

    /// Seconds since it was heard.
    pub fn lag(&self) -> i64 {
        (now_ms() - self.heard.load(Relaxed)).max(0) / 1000
    }
}

/// What goes to replicas. Under the log's lock.
#[derive(Default)]
pub struct Feed {
    pub(super) stream: Stream,
    replicas: Vec<Arc<Replica>>,
    /// The last bytes of the stream, for replicas that come back.
    backlog: VecDeque<u8>,
    /// Length of the stream so far (`master_repl_offset`).
    offset: u64,
    /// The backlog is kept: there is a replica, or there was one not long ago.
    kept: bool,
    /// Since when there is no replica, Unix milliseconds.
    alone_since: i64,
}

impl Feed {
    /// Sends what the stream collected.
    pub(super) fn send(&mut self, backlog_size: usize) {
        let bytes = std::mem::take(&mut self.stream.bytes);
        self.send_bytes(&bytes, backlog_size);
        // The buffer is used again.
        self.stream.bytes = bytes;
        self.stream.bytes.clear();
    }

    /// Sends these bytes.
    pub(super) fn send_bytes(&mut self, bytes: &[u8], backlog_size: usize) {
        self.offset += bytes.len() as u64;
        self.replicas.iter().for_each(|r| r.feed(bytes));
        let tail = &bytes[bytes.len().saturating_sub(backlog_size)..];
        let over = (self.backlog.len() + tail.len()).saturating_sub(backlog_size);
        self.backlog.drain(..over.min(self.backlog.len()));
        self.backlog.extend(tail);
    }

    /// There is no stream, but a file that has these commands: each counts for one, as on Redis.
    pub(super) fn count(&mut self, commands: u64) {
        self.offset += commands;
    }

    /// Length of the stream so far.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The replicas.
    pub fn replicas(&self) -> &[Arc<Replica>] {
        &self.replicas
    }

    /// Bytes of the backlog; none without one.
    pub fn backlog_len(&self) -> Option<usize> {
        self.kept.then_some(self.backlog.len())
    }

    /// Adds a replica, at a stage.
    pub(super) fn add(&mut self, replica: Arc<Replica>, stage: u8) {
        replica.client.put(flag::REPLICA, true);
        replica.acknowledged.store(0, Relaxed);
        replica.heard.store(now_ms(), Relaxed);
        replica.stage.store(stage, Relaxed);
        self.replicas.push(replica);
    }

    /// The cut of a replica's snapshot: the stream is kept for it from here on, and selects the database anew. Returns
    /// where that is.
    pub(super) fn begin(&mut self, replica: &Replica) -> u64 {
        replica.stage.store(stage::SNAPSHOT, Relaxed);
        self.stream.db = None;
        self.kept = true;
        self.offset
    }

    /// Adds a replica that gets the snapshot of another, and what was kept back for that since. False if that one is gone,
    /// or on its way.
    pub(super) fn join(&mut self, replica: &Arc<Replica>, other: &Arc<Replica>) -> bool {
        let waits = other.stage.load(Relaxed) == stage::SNAPSHOT
            && !other.client.has(flag::KILLED)
            && self.replicas.iter().any(|r| Arc::ptr_eq(r, other));
        if waits {
            *replica.kept_back.lock() = other.kept_back.lock().clone();
            self.add(replica.clone(), stage::SNAPSHOT);
        }
        waits
    }

    /// The snapshot is sent: what was kept back follows, and the stream from now on.
    pub(super) fn put_online(&mut self, replica: &Replica) {
        replica.client.push(&std::mem::take(&mut *replica.kept_back.lock()));
        replica.heard.store(now_ms(), Relaxed);
        replica.stage.store(stage::ONLINE, Relaxed);
    }

    /// The bytes from `offset` (counted from one, as the protocol does) to now, if the backlog has them all.
    pub(super) fn since(&self, offset: u64) -> Option<Vec<u8>> {
        let missing = (self.offset + 1).checked_sub(offset)?;
        let have = self.backlog.len() as u64;
        (self.kept && missing <= have)
            .then(|| self.backlog.range((have - missing) as usize..).copied().collect())
    }

    /// Removes a client. True if it followed the stream.
    pub(super) fn remove(&mut self, client: &Arc<ClientShared>) -> bool {
        let mut was_online = false;
        self.replicas.retain(|r| {
            let is_it = Arc::ptr_eq(&r.client, client);
            was_online |= is_it && r.is_online();
            !is_it
        });
        if self.replicas.is_empty() {
            self.alone_since = now_ms();
        }
        was_online
    }

    /// Drops the backlog when there has been no replica for `seconds` (0: never). True if it was dropped.
    pub(super) fn expire(&mut self, now: i64, seconds: i64) -> bool {
        let over = seconds > 0 && now - self.alone_since > seconds * 1000;
        if !(self.kept && self.replicas.is_empty() && over) {
            return false;
        }
        self.drop_backlog();
        true
    }

    /// Drops the backlog.
    pub(super) fn drop_backlog(&mut self) {
        self.kept = false;
        self.backlog = VecDeque::new();
    }

    /// The stream begins somewhere else: this server copied a primary's data, or an operator changed its id.
    pub(super) fn restart(&mut self, offset: u64) {
        self.offset = offset;
        self.backlog.clear();
    }
}

/// A `WAIT` for replicas.
pub struct Awaited {
    /// How many.
    pub replicas: usize,
    /// What they have to acknowledge.
    pub offset: u64,
    /// It has to be on their disks (`WAITAOF`); and our own file on ours, up to this offset.
    pub disk: Option<Option<u64>>,
    /// Who waits.
    pub waiter: Arc<Waiter>,
}

/// What beside the stream itself belongs to replicas.
#[derive(Default)]
pub struct Waits(pub Mutex<Vec<Awaited>>);

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(parts: &[&str], size: usize) -> Feed {
        let mut f = Feed { kept: true, ..Feed::default() };
        for p in parts {
            f.stream.bytes.extend_from_slice(p.as_bytes());
            f.send(size);
        }
        f
    }

    #[test]
    fn the_backlog_keeps_the_last_bytes() {
        let f = feed(&["abc", "defg", "hi"], 5);
        assert_eq!((f.offset(), f.backlog_len()), (9, Some(5)));
        assert_eq!(f.since(10).as_deref(), Some(&b""[..]));
        assert_eq!(f.since(8).as_deref(), Some(&b"hi"[..]));
        assert_eq!(f.since(5).as_deref(), Some(&b"efghi"[..]));
        assert_eq!(f.since(4), None);
        assert_eq!(f.since(11), None);
    }

    #[test]
    fn one_piece_larger_than_the_backlog() {
        let f = feed(&["ab", "cdefghij"], 3);
        assert_eq!(f.since(8).as_deref(), Some(&b"hij"[..]));
        assert_eq!(f.since(7), None);
    }

    #[test]
    fn the_backlog_goes_after_a_while() {
        let mut f = feed(&["ab"], 3);
        f.alone_since = 1000;
        assert!(!f.expire(61_000, 60) && !f.expire(i64::MAX, 0));
        assert!(f.expire(61_001, 60));
        assert_eq!(f.backlog_len(), None);
    }
}
