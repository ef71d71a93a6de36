//! Looking ahead: the requests of a pipeline are found first, and what their keys' look-ups will touch is fetched by the
//! processor for all of them at once, before the first is executed. On a large keyspace a look-up is three cache misses
//! that depend on each other; those of different requests do not.
use super::table::Table;
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
    /// Its address, to compare.
    at: usize,
    len: usize,
    shard: u32,
    hash: u64,
}

impl KnownKey {
    fn new(key: &[u8]) -> KnownKey {
        let (shard, hash) = (shard_of(key) as u32, hash_bytes(key));
        KnownKey { at: key.as_ptr().addr(), len: key.len(), shard, hash }
    }

    /// Shard within the database, and hash, if this is the key.
    #[inline]
    pub fn place(&self, key: &[u8]) -> Option<(usize, u64)> {
        (self.at == key.as_ptr().addr() && self.len == key.len())
            .then_some((self.shard as usize, self.hash))
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
) {
    let Some(db) = server.keyspace.dbs().get(session.db) else { return };
    let shards = db.shards();
    let shard = |key: &KnownKey| -> &Shard { &shards[key.shard as usize] };
    let (mut at, mut boxed, mut streams) = (0, false, false);
    for request in &mut *found {
        let bytes = &input[at..at + request.len];
        at += request.len;
        let [name, key, ..] = &parser.args[request.args.clone()] else { continue };
        let text = |range: &crate::parse::Range| {
            &bytes[range.start as usize..(range.start + range.len) as usize]
        };
        let Some(command) = table.find(text(name)) else { continue };
        if command.is_native_on_first() {
            let key = KnownKey::new(text(key));
            shard(&key).prefetch();
            request.key = Some(key);
            boxed |= command.group != "string";
            streams |= command.group == "stream";
        }
    }
    let keys = || found.iter().filter_map(|request| request.key.as_ref());
    keys().for_each(|key| shard(key).prefetch_bucket(key.hash));
    keys().for_each(|key| shard(key).prefetch_entry(key.hash, |_| {}));
    if boxed {
        keys().for_each(|key| shard(key).prefetch_entry(key.hash, |e| e.prefetch_value()));
    }
    if streams {
        keys().for_each(|key| shard(key).prefetch_entry(key.hash, |e| e.prefetch_behind_value()));
    }
}
