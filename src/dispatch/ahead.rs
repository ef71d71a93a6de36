//! Looking ahead: the requests of a pipeline are found first, and what their keys' look-ups will touch is fetched by the
//! processor for all of them at once, before the first is executed. On a large keyspace a look-up is three cache misses
//! that depend on each other; those of different requests do not.
use super::table::{Command, Path, Table};
use crate::connection::client::Session;
use crate::keyspace::follow;
use crate::keyspace::shard::{hash_bytes, shard_of, Shard, SHARDS};
use crate::parse::Parser;
use crate::server::Server;
use smallvec::SmallVec;
use std::ops::Range;
use std::sync::Arc;

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

    /// The place in a database.
    pub fn in_db(&self, db: usize) -> Place {
        ((db * SHARDS) as u32 + self.shard, self.hash)
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

/// The place of a request's first key, if it begins with one.
pub fn first_key(
    table: &Table,
    command: Option<&Arc<Command>>,
    args: &[&[u8]],
) -> Option<KnownKey> {
    let [name, key, ..] = args else { return None };
    let command = command.or_else(|| table.find(name))?;
    command.begins_with_key().then(|| KnownKey::new(key))
}

/// A request that was found and not executed yet.
pub struct Found<'t> {
    /// Its length.
    pub len: usize,
    /// Its arguments in the parser.
    pub args: Range<usize>,
    /// Its first key, where that is known.
    pub key: Option<KnownKey>,
    /// What the table has for its name, if that was looked up.
    pub command: Option<&'t Arc<Command>>,
}

/// The place of the first key of a request on its way to the module thread: index of the shard over all databases, and hash.
pub type Place = (u32, u64);

/// The place of a key in a database.
pub fn place(key: &[u8], db: usize) -> Place {
    KnownKey::new(key).in_db(db)
}

/// Fetches what the first keys of requests of many clients will touch. On the module thread.
pub fn fetch_places(server: &Server, places: &[Place]) {
    let each = |f: fn(&Shard, u64)| {
        places.iter().for_each(|(shard, hash)| f(server.keyspace.shard(*shard), *hash));
    };
    each(|shard, _| shard.prefetch());
    each(|shard, hash| shard.prefetch_bucket(hash));
    each(|shard, hash| shard.prefetch_entry(hash, |_| {}));
    each(|shard, hash| shard.prefetch_entry(hash, |e| e.prefetch_value()));
    fetch_values(places.iter().map(|(shard, hash)| (server.keyspace.shard(*shard), *hash)), true);
}

/// Fetches the values of entries, which were fetched, and, on the module thread, what modules keep behind theirs.
fn fetch_values<'s>(keys: impl Iterator<Item = (&'s Shard, u64)>, on_module_thread: bool) {
    let mut values: SmallVec<[usize; MOST]> = SmallVec::new();
    for (shard, hash) in keys {
        shard.prefetch_entry(hash, |e| {
            e.prefetch_behind_value();
            values.extend(e.module_value_in_heap());
        });
    }
    if on_module_thread {
        follow::fetch_behind(&values);
    }
}

/// Fetches what the requests will touch; they begin at `input[0]`.
pub fn fetch<'t>(
    server: &Server,
    table: &'t Table,
    session: &Session,
    parser: &Parser,
    input: &[u8],
    found: &mut [Found<'t>],
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
        let Some(command) = request.command.or_else(|| table.find(text(name))) else { continue };
        request.command = Some(command);
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
        fetch_values(keys().map(|key| (shard(key), key.hash)), on_module_thread);
    }
}
