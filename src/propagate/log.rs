//! The ordered effect log.
//!
//! Appending is a copy into a buffer under one short lock: whoever appends has latches or holds keys, so nothing here may
//! wait for a disk. The append-only file takes the bytes out ([`Log::take`]) and knows by the offset, which counts them
//! all, what of the log is written and what is on the disk.
use super::{encode, to, Effect};
use crate::server::Server;
use parking_lot::Mutex;
use std::sync::atomic::{
    AtomicBool, AtomicU64, Ordering::Acquire, Ordering::Relaxed, Ordering::Release,
};

/// Bytes for the append-only file that nobody has taken yet.
#[derive(Default)]
struct Pending {
    bytes: Vec<u8>,
    /// The database that the last command in the file was for; `None` makes the next one select its own.
    db: Option<usize>,
    /// Unix seconds of the last timestamp annotation.
    timestamp: i64,
    /// Offset behind the bytes.
    offset: u64,
}

impl Pending {
    fn command(&mut self, db: usize, resp: impl FnOnce(&mut Vec<u8>)) {
        if self.db != Some(db) {
            self.db = Some(db);
            encode(&mut self.bytes, &[b"SELECT".as_slice(), db.to_string().as_bytes()]);
        }
        resp(&mut self.bytes);
    }
}

/// The log: one order for all writes.
#[derive(Default)]
pub struct Log {
    active: AtomicBool,
    offset: AtomicU64,
    pending: Mutex<Pending>,
}

impl Log {
    /// Whether anybody reads; without a reader, effects are not even built.
    #[inline]
    pub fn active(&self) -> bool {
        self.active.load(Relaxed)
    }

    /// Begins or ends the reading. The first command after the beginning selects its database.
    pub fn set_active(&self, on: bool) {
        let mut p = self.pending.lock();
        p.db = None;
        self.active.store(on, Relaxed);
    }

    /// Bytes appended so far. What is seen of the keyspace was written before this offset.
    #[inline]
    pub fn offset(&self) -> u64 {
        self.offset.load(Acquire)
    }

    /// Appends one command. Returns the offset behind it. The caller has its latches or holds its keys.
    pub fn append_command(
        &self,
        server: &Server,
        now: i64,
        db: usize,
        target: u8,
        args: &[&[u8]],
    ) -> u64 {
        if target & to::AOF == 0 {
            return self.offset();
        }
        self.add(server, now, |p| p.command(db, |out| encode(out, args)))
    }

    /// Appends the effects of one unit; `transaction` puts them between `MULTI` and `EXEC`. Returns the offset behind
    /// them. The caller has its latches or holds its keys.
    pub fn append(&self, server: &Server, now: i64, effects: &[Effect], transaction: bool) -> u64 {
        if effects.iter().all(|e| e.to & to::AOF == 0) {
            return self.offset();
        }
        self.add(server, now, |p| {
            if transaction {
                encode(&mut p.bytes, &[b"MULTI"]);
            }
            for e in effects.iter().filter(|e| e.to & to::AOF != 0) {
                p.command(e.db, |out| out.extend_from_slice(&e.resp));
            }
            if transaction {
                encode(&mut p.bytes, &[b"EXEC"]);
            }
        })
    }

    fn add(&self, server: &Server, now: i64, write: impl FnOnce(&mut Pending)) -> u64 {
        let mut p = self.pending.lock();
        if !self.active() {
            return p.offset;
        }
        let before = p.bytes.len();
        if server.config.aof_timestamp_enabled() && p.timestamp < now / 1000 {
            p.timestamp = now / 1000;
            let line = format!("#TS:{}\r\n", p.timestamp);
            p.bytes.extend_from_slice(line.as_bytes());
        }
        write(&mut p);
        p.offset += (p.bytes.len() - before) as u64;
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
            std::mem::swap(into, &mut p.bytes);
        } else {
            into.append(&mut p.bytes);
        }
        if fresh {
            p.db = None;
        }
        p.offset
    }

    /// Bytes that wait to be taken.
    pub fn pending_bytes(&self) -> usize {
        self.pending.lock().bytes.len()
    }
}
