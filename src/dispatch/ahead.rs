//! Looking ahead: the requests of a pipeline are found first, and what their keys' look-ups will touch is fetched by the
//! processor for all of them at once, before the first is executed. On a large keyspace a look-up is three cache misses
//! that depend on each other; those of different requests do not.
use super::table::{Command, Path, Table};
use crate::connection::client::Session;
use crate::keyspace::follow;
use crate::keyspace::shard::{hash_bytes, shard_of, Look, Shard, SHARDS};
use crate::keyspace::table::FetchAhead;
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

/// How far the look-ups of keys are followed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Depth {
    /// Their entries, which have the strings in them.
    Entries,
    /// What these point to.
    Values,
    /// What that points to.
    Behind,
}

/// What a command's look-ups touch; decided when the table of commands is made.
#[derive(Clone, Copy)]
pub struct Touches {
    depth: Depth,
    /// Which argument is a member of its set, hash or sorted set, mostly; 0 for none.
    member: u8,
}

impl Touches {
    /// What the command of this group and name looks at.
    pub fn of(group: &str, name: &str) -> Touches {
        let depth = match group {
            "string" => Depth::Entries,
            "stream" | "list" | "module" => Depth::Behind,
            _ => Depth::Values,
        };
        let member = match (group, name) {
            ("sorted-set", "zadd" | "zincrby") => 3,
            ("hash" | "set" | "sorted-set", _) => 2,
            _ => 0,
        };
        Touches { depth, member }
    }
}

/// A key whose look-up is followed.
#[derive(Clone, Copy)]
struct Key<'s> {
    shard: &'s Shard,
    hash: u64,
    /// The member that will be looked for in its value; empty if that is not known.
    member: &'s [u8],
}

/// Fetches what look-ups will touch behind the shards, which are on their way: each stage for all keys before the next.
/// On the module thread, also what modules keep behind their values.
#[inline]
fn fetch_keys<'s>(
    keys: impl Iterator<Item = Key<'s>> + Clone,
    depth: Depth,
    on_module_thread: bool,
) {
    for key in keys.clone() {
        key.shard.prefetch_bucket(key.hash);
    }
    if depth == Depth::Entries {
        keys.for_each(|key| key.shard.prefetch_entry(key.hash));
        return;
    }
    // The latches are kept until all is on its way: the stages then look at memory only, which the processor does for
    // many keys at once. A latch that is not free is left alone, so nobody waits for anything here.
    let mut seen: SmallVec<[(Key<'s>, Look<'s>); MOST]> = SmallVec::new();
    for key in keys {
        if let Some(look) = key.shard.look(key.hash) {
            seen.push((key, look));
        }
    }
    // Those whose values are tables, with the hashes of their members.
    let mut tables: SmallVec<[(&dyn FetchAhead, u64); MOST]> = SmallVec::new();
    for (key, look) in &seen {
        let e = look.entry();
        e.prefetch_value();
        if !key.member.is_empty() {
            tables.extend(e.member_table().map(|table| (table, hash_bytes(key.member))));
        }
    }
    tables.iter().for_each(|(table, member)| table.fetch_bucket(*member));
    tables.iter().for_each(|(table, member)| table.fetch_items(*member));
    if depth == Depth::Behind {
        let mut values: SmallVec<[usize; MOST]> = SmallVec::new();
        for (_, look) in &seen {
            let e = look.entry();
            e.prefetch_behind_value();
            values.extend(e.module_value_in_heap());
        }
        if on_module_thread {
            drop(seen);
            follow::fetch_behind(&values);
        }
    }
}

/// Fetches what the first keys of requests of many clients will touch. On the module thread.
pub fn fetch_places(server: &Server, places: &[Place]) {
    let keys = places.iter().map(|(shard, hash)| {
        let shard = server.keyspace.shard(*shard);
        Key { shard, hash: *hash, member: &[] }
    });
    keys.clone().for_each(|key| key.shard.prefetch());
    fetch_keys(keys, Depth::Behind, true);
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
    let mut keys: SmallVec<[Key<'_>; MOST]> = SmallVec::new();
    let (mut at, mut depth) = (0, Depth::Entries);
    let mut last: Option<(&[u8], &Arc<Command>)> = None;
    for request in &mut *found {
        let bytes = &input[at..at + request.len];
        at += request.len;
        let args = &parser.args[request.args.clone()];
        let [name, key, ..] = args else { continue };
        let text = |range: &crate::parse::Range| {
            &bytes[range.start as usize..(range.start + range.len) as usize]
        };
        let name = text(name);
        let same = last.filter(|(known, _)| *known == name).map(|(_, command)| command);
        let Some(command) = request.command.or(same).or_else(|| table.find(name)) else { continue };
        request.command = Some(command);
        last = Some((name, command));
        let runs_here = on_module_thread || command.path == Path::Native;
        if runs_here && command.begins_with_key() {
            let known = KnownKey::new(text(key));
            let shard = &shards[known.shard as usize];
            shard.prefetch();
            request.key = Some(known);
            let Touches { depth: deep, member } = command.touches;
            depth = depth.max(deep);
            let member = match member {
                0 => None,
                at => args.get(usize::from(at)).map(text),
            };
            keys.push(Key { shard, hash: known.hash, member: member.unwrap_or_default() });
        }
    }
    fetch_keys(keys.iter().copied(), depth, on_module_thread);
}
