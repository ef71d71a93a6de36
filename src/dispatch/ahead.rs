//! A pipeline's requests, parsed ahead of their execution so that the memory of their keys is on its way to the cache
//! when they run.
//!
//! A single request takes the short way. Of several, each one's first argument, nearly always its key, is hashed once:
//! its bucket is prefetched, then its entry, and the command finds shard and hash ready ([`Known`]).
use crate::keyspace::shard::{hash_bytes, shard_of, SHARDS};
use crate::parse::{Limits, Parsed, Parser, Range};
use crate::server::Server;
use smallvec::SmallVec;

/// Requests parsed at once.
const BATCH: usize = 16;
/// Longer keys are not worth the look.
const LONGEST_KEY: usize = 256;

/// Where a key of the running command belongs.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    key: *const u8,
    len: usize,
    db: usize,
    /// Its shard, by index over all databases.
    pub shard: u32,
    /// Its hash.
    pub hash: u64,
}

// SAFETY: layout: the key is looked at by the thread that runs the command, while its input is there.
unsafe impl Send for Known {}
// SAFETY: layout: as above.
unsafe impl Sync for Known {}

impl Known {
    fn new(db: usize, key: &[u8]) -> Known {
        let shard = (db * SHARDS + shard_of(key)) as u32;
        Known { key: key.as_ptr(), len: key.len(), db, shard, hash: hash_bytes(key) }
    }

    /// Whether this is about `key` of `db`. A session has it only while the request's bytes are there.
    #[inline]
    pub fn is(&self, db: usize, key: &[u8]) -> bool {
        if self.db != db || self.len != key.len() {
            return false;
        }
        // SAFETY: layout: `run_input` sets it for the duration of a request, whose bytes these are.
        key.as_ptr() == self.key || key == unsafe { std::slice::from_raw_parts(self.key, self.len) }
    }
}

/// Stands for the arguments that the parser keeps.
const INLINE: (u32, u32) = (0, u32::MAX);

/// A request found ahead.
#[derive(Clone, Copy)]
struct Request {
    len: usize,
    args: (u32, u32),
    known: Option<Known>,
}

/// The requests found ahead and not yet executed.
pub struct Ahead {
    requests: SmallVec<[Request; BATCH]>,
    args: SmallVec<[Range; 4 * BATCH]>,
    next: usize,
    /// How many to find next.
    batch: usize,
    /// What came behind the requests.
    behind: Option<Parsed>,
}

/// The next request to execute.
pub struct Next {
    /// Its length in bytes.
    pub len: usize,
    args: (u32, u32),
    /// Where its key belongs.
    pub known: Option<Known>,
}

impl Ahead {
    /// Begins with `first` requests: more than one only where the first is sure to be executed.
    pub fn new(first: usize) -> Ahead {
        Ahead {
            requests: SmallVec::new(),
            args: SmallVec::new(),
            next: 0,
            batch: first.min(BATCH),
            behind: None,
        }
    }

    /// The next request; `rest` begins with it. `Err` is what is there instead.
    pub fn next(
        &mut self,
        server: &Server,
        parser: &mut Parser,
        rest: &[u8],
        limits: Limits,
        db: usize,
    ) -> Result<Next, Parsed> {
        if self.next == self.requests.len() {
            self.fill(server, parser, rest, limits, db)?;
        }
        let Request { len, args, known } = self.requests[self.next];
        self.next += 1;
        // `SELECT` or `SWAPDB` may have come between.
        let known = known.filter(|k| k.db == db);
        Ok(Next { len, args, known })
    }

    fn fill(
        &mut self,
        server: &Server,
        parser: &mut Parser,
        rest: &[u8],
        limits: Limits,
        db: usize,
    ) -> Result<(), Parsed> {
        if let Some(behind) = self.behind.take() {
            return Err(behind);
        }
        self.requests.clear();
        self.args.clear();
        self.next = 0;
        let mut at = 0;
        loop {
            match parser.next(&rest[at..], limits) {
                Parsed::Request(len) => {
                    let begin = self.args.len() as u32;
                    self.args.extend_from_slice(&parser.args);
                    let args = match parser.inline {
                        true => INLINE,
                        false => (begin, self.args.len() as u32),
                    };
                    self.requests.push(Request { len, args, known: None });
                    at += len;
                }
                other if self.requests.is_empty() => return Err(other),
                other => {
                    self.behind = Some(other);
                    break;
                }
            }
            // `AUTH` changes the limits; an inline request's arguments stay in the parser.
            let last = parser.inline || !limits.authenticated || self.requests.len() >= self.batch;
            if last || at == rest.len() {
                break;
            }
        }
        self.batch = BATCH;
        if self.requests.len() > 1 {
            self.prefetch(server, rest, db);
        }
        Ok(())
    }

    fn prefetch(&mut self, server: &Server, rest: &[u8], db: usize) {
        let shards = server.keyspace.dbs()[db].used_shards();
        if shards.is_empty() {
            return;
        }
        let mut at = 0;
        for r in self.requests.iter_mut().filter(|r| r.args != INLINE) {
            if let Some(key) = self.args[r.args.0 as usize..r.args.1 as usize].get(1) {
                let start = at + key.start as usize;
                if key.len as usize <= LONGEST_KEY {
                    let k = Known::new(db, &rest[start..start + key.len as usize]);
                    shards[k.shard as usize % SHARDS].prefetch_bucket(k.hash);
                    r.known = Some(k);
                }
            }
            at += r.len;
        }
        for k in self.requests.iter().filter_map(|r| r.known) {
            shards[k.shard as usize % SHARDS].prefetch_entry(k.hash);
        }
    }

    /// Calls `f` with the arguments of a request, which begins at `request[0]`.
    pub fn with_args<R>(
        &self,
        parser: &Parser,
        next: &Next,
        request: &[u8],
        f: impl FnOnce(&[&[u8]]) -> R,
    ) -> R {
        let mut list: SmallVec<[&[u8]; 16]> = SmallVec::new();
        if next.args == INLINE {
            list.extend(parser.inline_args.iter().map(Vec::as_slice));
        } else {
            let ranges = &self.args[next.args.0 as usize..next.args.1 as usize];
            list.extend(
                ranges.iter().map(|r| &request[r.start as usize..(r.start + r.len) as usize]),
            );
        }
        f(&list)
    }

    /// Execution stops before the requests that are left: the parser will be shown them again.
    pub fn stop(&mut self, parser: &mut Parser) {
        if self.next < self.requests.len() || self.behind.is_some() {
            parser.forget();
        }
    }
}
