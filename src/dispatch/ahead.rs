//! Looking ahead: the requests of a pipeline are found first, and what their keys' look-ups will touch is fetched by the
//! processor for all of them at once, before the first is executed. On a large keyspace a look-up is three cache misses
//! that depend on each other; those of different requests do not.
use super::table::{Path, Table};
use crate::connection::client::Session;
use crate::keyspace::shard::{hash_bytes, shard_of, Shard};
use crate::parse::Parser;
use crate::server::Server;
use std::ops::Range;

/// Requests found ahead at most.
pub const MOST: usize = 16;

/// A key whose hash and shard were computed already. A hint: what it says of other bytes is never asked.
#[derive(Clone, Copy)]
pub struct KnownKey {
    at: *const u8,
    len: usize,
    shard: u32,
    hash: u64,
}

// SAFETY: layout: the bytes are looked at by the thread that runs the request, while its input is there.
unsafe impl Send for KnownKey {}
// SAFETY: layout: as above.
unsafe impl Sync for KnownKey {}

impl KnownKey {
    fn new(key: &[u8]) -> KnownKey {
        let (shard, hash) = (shard_of(key) as u32, hash_bytes(key));
        KnownKey { at: key.as_ptr(), len: key.len(), shard, hash }
    }

    /// Shard within the database, and hash, if this is the key.
    #[inline]
    pub fn place(&self, key: &[u8]) -> Option<(usize, u64)> {
        (self.at == key.as_ptr() && self.len == key.len())
            .then_some((self.shard as usize, self.hash))
    }

    /// The same for a key whose bytes may be a copy, as modules have them.
    #[inline]
    pub fn place_of_copy(&self, key: &[u8]) -> Option<(usize, u64)> {
        if self.len != key.len() {
            return None;
        }
        // SAFETY: layout: a session has this while its request runs, whose bytes these are.
        let text = unsafe { std::slice::from_raw_parts(self.at, self.len) };
        (text == key).then_some((self.shard as usize, self.hash))
    }
}

/// A request that was found and not executed yet.
pub struct Found {
    /// Its length.
    pub len: usize,
    /// Its arguments in the parser.
    pub args: Range<usize>,
    /// Its first key, where that is known.
    pub key: Option<KnownKey>,
}

/// Fetches what the requests will touch; they begin at `input[0]`.
pub fn fetch(
    server: &Server,
    table: &Table,
    session: &Session,
    parser: &Parser,
    input: &[u8],
    found: &mut [Found],
    on_module_thread: bool,
) {
    let Some(db) = server.keyspace.dbs().get(session.db) else { return };
    let shards = db.shards();
    let shard = |key: &KnownKey| -> &Shard { &shards[key.shard as usize] };
    let (mut at, mut boxed, mut more) = (0, false, false);
    for request in &mut *found {
        let bytes = &input[at..at + request.len];
        at += request.len;
        let [name, key, ..] = &parser.args[request.args.clone()] else { continue };
        let text = |range: &crate::parse::Range| {
            &bytes[range.start as usize..(range.start + range.len) as usize]
        };
        let Some(command) = table.find(text(name)) else { continue };
        let runs_here = on_module_thread || command.path == Path::Native;
        if runs_here && command.begins_with_key() {
            let key = KnownKey::new(text(key));
            shard(&key).prefetch();
            request.key = Some(key);
            boxed |= command.group != "string";
            more |= matches!(command.group, "stream" | "list" | "module");
        }
    }
    let keys = || found.iter().filter_map(|request| request.key.as_ref());
    keys().for_each(|key| shard(key).prefetch_bucket(key.hash));
    keys().for_each(|key| shard(key).prefetch_entry(key.hash, |_| {}));
    if boxed {
        keys().for_each(|key| shard(key).prefetch_entry(key.hash, |e| e.prefetch_value()));
    }
    if more {
        keys().for_each(|key| shard(key).prefetch_entry(key.hash, |e| e.prefetch_behind_value()));
    }
}
