//! The ordered effect log.
//!
//! Appending is a copy into a buffer under one short lock: whoever appends has latches or holds keys, so nothing here may
//! wait for a disk. The append-only file takes the bytes out ([`Log::take`]) and knows by the offset, which counts them
//! all, what of the log is written and what is on the disk. Replicas are fed at once, by a copy into their mailboxes.
use super::replica::{stage, Feed, Replica, Waits};
use super::sync::Waiting;
use super::{encode, to, Effect};
use crate::connection::client::{flag, ClientShared};
use crate::server::Server;
use parking_lot::Mutex;
use std::sync::atomic::{
    AtomicU64, AtomicU8, Ordering::Acquire, Ordering::Relaxed, Ordering::Release,
};
use std::sync::Arc;

/// Replicas get what a large unit wrote in pieces of this size: what passes a replica's output limit is not kept.
const FEED_AT: usize = 64 * 1024;

/// Commands for one kind of reader.
#[derive(Default)]
pub(super) struct Stream {
    pub(super) bytes: Vec<u8>,
    /// The database that the last command was for; `None` makes the next one select its own.
    pub(super) db: Option<usize>,
}

impl Stream {
    fn command(&mut self, db: usize, resp: impl FnOnce(&mut Vec<u8>)) {
        if self.db != Some(db) {
            self.db = Some(db);
            encode(&mut self.bytes, &[b"SELECT".as_slice(), db.to_string().as_bytes()]);
        }
        resp(&mut self.bytes);
    }
}

/// What is under the log's lock.
#[derive(Default)]
struct Pending {
    /// Bytes for the append-only file that nobody has taken yet.
    file: Stream,
    /// Unix seconds of the last timestamp annotation.
    timestamp: i64,
    /// Offset behind the bytes.
    offset: u64,
    /// The replicas' part.
    feed: Feed,
}

/// The log: one order for all writes.
#[derive(Default)]
pub struct Log {
    /// Who reads: bits of [`to`].
    readers: AtomicU8,
    offset: AtomicU64,
    pending: Mutex<Pending>,
    /// Who waits for replicas.
    pub waits: Waits,
    /// Replicas that wait for a snapshot.
    pub waiting: Waiting,
}

impl Log {
    /// Whether anybody reads; without a reader, effects are not even built.
    #[inline]
    pub fn active(&self) -> bool {
        self.readers.load(Relaxed) != 0
    }

    /// Whether there is an append-only file to write.
    pub fn has_file(&self) -> bool {
        self.readers.load(Relaxed) & to::AOF != 0
    }

    /// Begins or ends the writing of the append-only file. The first command after the beginning selects its database.
    pub fn set_active(&self, on: bool) {
        let mut p = self.pending.lock();
        p.file.db = None;
        self.set_reader(to::AOF, on);
    }

    fn set_reader(&self, bit: u8, on: bool) {
        if on {
            self.readers.fetch_or(bit, Relaxed);
        } else {
            self.readers.fetch_and(!bit, Relaxed);
        }
    }

    /// Bytes appended to the file so far. What is seen of the keyspace was written before this offset.
    #[inline]
    pub fn offset(&self) -> u64 {
        self.offset.load(Acquire)
    }

    /// Appends one command. Returns the file's offset behind it. The caller has its latches or holds its keys.
    pub fn append_command(
        &self,
        server: &Server,
        now: i64,
        db: usize,
        target: u8,
        args: &[&[u8]],
    ) -> u64 {
        self.add(server, now, target, || 1, |s, _, _| s.command(db, |out| encode(out, args)))
    }

    /// Appends the effects of one unit; `transaction` puts them between `MULTI` and `EXEC`. Returns the file's offset
    /// behind them. The caller has its latches or holds its keys.
    pub fn append(&self, server: &Server, now: i64, effects: &[Effect], transaction: bool) -> u64 {
        let target = effects.iter().fold(0, |all, e| all | e.to);
        // What nobody reads does not make it more than one command.
        let readers = self.readers.load(Relaxed);
        let read = effects.iter().filter(|e| e.to & readers != 0).map(|e| e.times);
        let transaction = transaction && read.sum::<usize>() > 1;
        let length = || {
            let sent = effects.iter().filter(|e| e.to == to::ALL).map(|e| e.times);
            sent.sum::<usize>() as u64 + if transaction { 2 } else { 0 }
        };
        self.add(server, now, target, length, |s, bit, full| {
            let mut own = effects.iter().filter(|e| e.to & bit != 0).peekable();
            let transaction = transaction && own.peek().is_some();
            // Without a database of their own, as Redis writes them.
            if transaction {
                encode(&mut s.bytes, &[b"MULTI"]);
            }
            for e in own {
                for _ in 0..e.times {
                    s.command(e.db, |out| out.extend_from_slice(&e.resp));
                    full(s);
                }
            }
            if transaction {
                encode(&mut s.bytes, &[b"EXEC"]);
            }
        })
    }

    /// `write` puts commands into a stream, for readers of this kind, and may have the full stream passed on; `length` is
    /// their number.
    fn add(
        &self,
        server: &Server,
        now: i64,
        target: u8,
        length: impl FnOnce() -> u64,
        write: impl Fn(&mut Stream, u8, &mut dyn FnMut(&mut Stream)),
    ) -> u64 {
        // A replica's own replicas get the primary's stream, not what it led to here.
        let target = if server.link.is_replica() { target & !to::REPLICAS } else { target };
        if target & self.readers.load(Relaxed) == 0 {
            return self.offset();
        }
        let for_replicas = target & to::REPLICAS != 0;
        let mut p = self.pending.lock();
        let target = target & self.readers.load(Relaxed);
        if target & to::REPLICAS != 0 {
            let backlog = server.config.repl_backlog_size() as usize;
            let mut stream = std::mem::take(&mut p.feed.stream);
            write(&mut stream, to::REPLICAS, &mut |s| {
                if s.bytes.len() >= FEED_AT {
                    p.feed.send_bytes(&s.bytes, backlog);
                    s.bytes.clear();
                }
            });
            p.feed.stream = stream;
            p.feed.send(backlog);
        } else if for_replicas {
            p.feed.count(length());
        }
        if target & to::AOF == 0 {
            return p.offset;
        }
        let before = p.file.bytes.len();
        if server.config.aof_timestamp_enabled() && p.timestamp < now / 1000 {
            p.timestamp = now / 1000;
            let line = format!("#TS:{}\r\n", p.timestamp);
            p.file.bytes.extend_from_slice(line.as_bytes());
        }
        write(&mut p.file, to::AOF, &mut |_| {});
        p.offset += (p.file.bytes.len() - before) as u64;
        let offset = p.offset;
        self.offset.store(offset, Release);
        drop(p);
        server.aof.appended();
        offset
    }

    /// Takes the pending bytes, which go behind those in `into`, and returns the offset behind them. `fresh`: they end a
    /// file, so the next command selects its database again.
    pub fn take(&self, into: &mut Vec<u8>, fresh: bool) -> u64 {
        let mut p = self.pending.lock();
        if into.is_empty() {
            std::mem::swap(into, &mut p.file.bytes);
        } else {
            into.append(&mut p.file.bytes);
        }
        if fresh {
            p.file.db = None;
        }
        p.offset
    }

    /// Bytes that wait to be taken.
    pub fn pending_bytes(&self) -> usize {
        self.pending.lock().file.bytes.len()
    }

    // ----- replicas ------------------------------------------------------------------------------------------------

    /// A replica waits for its snapshot.
    pub fn expect_replica(&self, replica: Arc<Replica>) {
        self.pending.lock().feed.add(replica, stage::WAITS);
    }

    /// Keeps the stream for an expected replica from now on. Returns the stream's offset. Nothing is being written
    /// meanwhile: the world is stopped.
    pub fn add_replica(&self, server: &Server, replica: &Replica) -> u64 {
        if self.with_feed(|f| f.backlog_len().is_none()) && !server.link.is_replica() {
            // Who was away may not go on here: what was written without a backlog is not in the stream.
            let id = new_id(server);
            crate::log_notice!(
                "Replication backlog created, my new replication IDs are '{id}' and '{}'",
                "0".repeat(40)
            );
        }
        let mut p = self.pending.lock();
        self.set_reader(to::REPLICAS, true);
        p.feed.begin(replica)
    }

    /// A replica gets the snapshot that `other` waits for. False if `other` is not there, or has it already.
    pub fn join_replica(&self, replica: &Arc<Replica>, other: &Arc<Replica>) -> bool {
        self.pending.lock().feed.join(replica, other)
    }

    /// A replica has its snapshot, and gets the stream behind it.
    pub fn put_online(&self, replica: &Replica) {
        self.pending.lock().feed.put_online(replica);
        crate::module::event::replica_event(Server::get(), true);
    }

    /// Feeds a replica that was away from where it was. False if the backlog does not go back so far.
    pub fn resume_replica(&self, replica: &Arc<Replica>, offset: u64, head: &[u8]) -> bool {
        let mut p = self.pending.lock();
        let Some(missed) = p.feed.since(offset) else { return false };
        let db = p.feed.stream.db;
        self.set_reader(to::REPLICAS, true);
        p.feed.add(replica.clone(), stage::ONLINE);
        // It has seen all of the stream, so it knows the database.
        p.feed.stream.db = db;
        replica.client.push(&[head, &missed].concat());
        crate::module::event::replica_event(Server::get(), true);
        true
    }

    /// A client ended; it may have been a replica.
    pub fn remove_replica(&self, client: &Arc<ClientShared>) {
        if client.has(flag::REPLICA) {
            let was_online = self.pending.lock().feed.remove(client);
            if was_online {
                crate::module::event::replica_event(Server::get(), false);
            }
        }
    }

    /// Looks at the replicas' part of the log.
    pub fn with_feed<R>(&self, f: impl FnOnce(&Feed) -> R) -> R {
        f(&self.pending.lock().feed)
    }

    /// Sends bytes to the replicas that are no effect: `PING`, `REPLCONF GETACK *`. They are part of the stream.
    pub fn tell_replicas(&self, server: &Server, args: &[&[u8]]) {
        if self.readers.load(Relaxed) & to::REPLICAS == 0 {
            return;
        }
        let mut p = self.pending.lock();
        if !p.feed.replicas().is_empty() {
            encode(&mut p.feed.stream.bytes, args);
            p.feed.send(server.config.repl_backlog_size() as usize);
        }
    }

    /// Passes a piece of a primary's stream on to our own replicas.
    pub fn pass_on(&self, server: &Server, bytes: &[u8]) {
        let mut p = self.pending.lock();
        p.feed.stream.bytes.extend_from_slice(bytes);
        p.feed.send(server.config.repl_backlog_size() as usize);
    }

    /// The backlog is dropped when there has been no replica for long (the cron).
    pub fn replica_cron(&self, server: &Server, now: i64) {
        if server.link.is_replica() || self.readers.load(Relaxed) & to::REPLICAS == 0 {
            return;
        }
        let seconds = server.config.repl_backlog_ttl() as i64;
        if self.pending.lock().feed.expire(now, seconds) {
            self.set_reader(to::REPLICAS, false);
            new_id(server);
            crate::log_notice!(
                "Replication backlog freed after {seconds} seconds without connected replicas."
            );
        }
    }

    /// No replica can go on from where it was: what the stream led to is gone.
    pub fn drop_backlog(&self) {
        self.pending.lock().feed.drop_backlog();
        self.set_reader(to::REPLICAS, false);
    }

    /// The stream goes on at another offset.
    pub fn restart_stream(&self, offset: u64) {
        self.pending.lock().feed.restart(offset);
    }
}

/// The stream goes on under another id, which is returned: offsets of the one before mean nothing in it.
fn new_id(server: &Server) -> String {
    let id = crate::observe::random::hex(40);
    server.repl_id.lock().clone_from(&id);
    id
}
