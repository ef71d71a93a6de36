//! Emptying and swapping databases.
use super::error::{err, DB_RANGE, SYNTAX};
use super::{is, CommandError, CommandResult, Tx};
use crate::connection::client::{flag, Session};
use crate::dispatch::table::{flags, PathRule, Row};
use crate::keyspace::entry::Entry;
use crate::keyspace::shard::{hash_bytes, shard_of, Shard, ShardData, SHARDS};
use crate::keyspace::value::Kind;
use crate::lock::held::Access;
use crate::module::abi;
use crate::module::event::server_event;
use crate::observe::clock::now_ms;
use crate::reply::Reply;
use crate::server::Server;
use crate::snapshot::control;
use std::sync::atomic::Ordering::Relaxed;

/// Tells the watchers of those keys of a shard of which `changes` says so.
fn touch_watched(data: &ShardData, changes: impl Fn(&[u8]) -> bool) {
    for (_, clients) in data.watched.iter().filter(|(key, _)| changes(key)) {
        clients.iter().for_each(|c| c.put(flag::DIRTY_CAS, true));
    }
}

/// Whether a shard has a key that is not past its time. A watched key that is may go, or be replaced by another such key,
/// without a change; if it was alive when it was watched, `EXEC` sees that by itself.
fn has(data: &ShardData, key: &[u8], now: i64) -> bool {
    data.find(hash_bytes(key), key).is_some_and(|e| !e.is_expired(now))
}

/// Holds a shard as a whole until the end of the unit. The caller has its latch and the module lock.
fn hold_whole(server: &Server, shard: &Shard, index: u32) {
    // SAFETY: lock: as the callers of this function promise.
    unsafe {
        if shard.data().held.hold_whole(Access::Write) {
            server.holder().touched.push(index);
        }
        // A snapshot that reads a huge value beside us is waited for: nothing new begins in a shard held as a whole.
        while let Some(hash) = shard.data().held.saving() {
            crate::snapshot::wait_until_saved(shard, hash);
        }
    }
}

/// Empties a database, shard by shard; each is held until the end of the unit, so nobody sees a half-empty one.
/// Returns how many keys there were. The calling thread has the module lock.
pub fn empty_database(server: &'static Server, db: usize, lazily: bool) -> u64 {
    let (mut removed, now) = (0, now_ms());
    let awaited = awaited_keys(server, db);
    for (i, shard) in server.keyspace.dbs()[db].used_shards().iter().enumerate() {
        shard.latch.lock();
        hold_whole(server, shard, (db * SHARDS + i) as u32);
        // SAFETY: lock: taken above, released below.
        let data = unsafe { shard.data() };
        touch_watched(data, |key| has(data, key, now));
        let due = crate::snapshot::Emptied::of(data);
        let mut entries = data.take_all(shard);
        // SAFETY: lock: taken above.
        unsafe { shard.latch.unlock() };
        removed += entries.len() as u64;
        if let Some(due) = due {
            due.save(&mut entries);
        }
        free_all(entries, lazily);
    }
    // SAFETY: lock: this function's contract.
    unsafe { server.holder() }.structure += 1;
    super::blocking::all_changed(server, db);
    for (key, kind) in awaited {
        kind.into_iter().for_each(|kind| server.key_gone(db, &key, kind));
    }
    removed
}

/// The keys of a database that clients of modules wait for, and what is there.
fn awaited_keys(server: &Server, db: usize) -> Vec<(Vec<u8>, Option<Kind>)> {
    if server.blocked_keys.load(Relaxed) == 0 {
        return Vec::new();
    }
    let keys = crate::module::blocked::awaited_keys(db);
    let look = |key: Vec<u8>| {
        let kind = kind_of(server, db, &key);
        (key, kind)
    };
    keys.into_iter().map(look).collect()
}

fn kind_of(server: &Server, db: usize, key: &[u8]) -> Option<Kind> {
    let shard = &server.keyspace.dbs()[db].shards()[shard_of(key)];
    shard.latch.lock();
    // SAFETY: lock: taken on the line above, released below.
    unsafe {
        let found = shard.data().find(hash_bytes(key), key).filter(|e| !e.is_expired(now_ms()));
        let kind = found.map(|e| e.kind());
        shard.latch.unlock();
        kind
    }
}

fn free_all(entries: Vec<Entry>, lazily: bool) {
    if lazily {
        let (of_modules, others): (Vec<_>, Vec<_>) =
            entries.into_iter().partition(|e| e.kind() == Kind::Module);
        if !others.is_empty() {
            crate::keyspace::lazy_free::free_later(others);
        }
        if !of_modules.is_empty() {
            crate::keyspace::lazy_free::free_by_modules(of_modules);
        }
        return;
    }
    entries.into_iter().for_each(Entry::free);
}

/// Empties one database, or all, between the events that modules listen for. Returns how many keys there were.
/// The calling thread has the module lock.
pub fn empty(server: &'static Server, db: Option<usize>, lazily: bool) -> u64 {
    let mut info = abi::FlushInfo {
        version: 1,
        sync: i32::from(!lazily),
        dbnum: db.map_or(-1, |db| db as i32),
    };
    let data = (&raw mut info).cast();
    server_event(abi::EVENT_FLUSHDB, abi::SUBEVENT_FLUSHDB_START, data, None);
    let removed = match db {
        Some(db) => empty_database(server, db, lazily),
        None => {
            let all = 0..server.keyspace.dbs().len();
            all.map(|db| empty_database(server, db, lazily)).sum()
        }
    };
    Tx::tell_trackers_of_flush(server);
    server_event(abi::EVENT_FLUSHDB, abi::SUBEVENT_FLUSHDB_END, data, None);
    removed
}

/// Empties a database, or all, as the arguments say.
fn flush(
    tx: &mut Tx<'_>,
    args: &[&[u8]],
    db: Option<usize>,
    out: &mut Reply,
) -> Result<u64, CommandError> {
    let asked = match args {
        [_] => tx.server.config.lazyfree_lazy_user_flush(),
        [_, word] if is(word, "sync") => false,
        [_, word] if is(word, "async") => true,
        _ => return Err(SYNTAX),
    };
    // A client that may wait has even a synchronous flush done in the background, and gets its reply after that.
    let waits = !asked && !tx.session.deny_blocking;
    let removed = empty(tx.server, db, asked || waits);
    if waits {
        tx.session.freeing = Some(crate::keyspace::lazy_free::last_batch());
    }
    tx.dirty += removed;
    tx.propagate_always();
    out.ok();
    Ok(removed)
}

/// Deletes all keys and functions, for data that is loaded in their place. The calling thread has the module lock.
pub fn empty_all(server: &'static Server) {
    empty(server, None, false);
    let mut session = Session::internal();
    let tx = Tx::module(server, &mut session, crate::observe::clock::now_ms());
    // It only refuses inside a script, where nothing is loaded.
    let _ = crate::script::function::flush(&tx, false);
}

/// `FLUSHALL [ASYNC|SYNC]`
fn flushall(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    // What a background save would write is not wanted any more; an empty file is, where there are save points.
    control::abort_background_save(tx.server);
    let removed = flush(tx, args, None, out)?;
    let p = &tx.server.persistence;
    if !tx.server.config.save().is_empty() {
        p.saves.fetch_add(1, Relaxed);
        // An error was logged; as on Redis, the client does not hear of it.
        if crate::snapshot::save(tx.server).is_ok() {
            // The change of this command, which is not counted yet, is in the file.
            p.dirty_at_save.fetch_add(removed, Relaxed);
        }
    }
    Ok(())
}

/// `FLUSHDB [ASYNC|SYNC]`
fn flushdb(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let db = Some(tx.db());
    flush(tx, args, db, out)?;
    Ok(())
}

/// `SWAPDB index1 index2`
fn swapdb(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let server = tx.server;
    if server.cluster.enabled() {
        return Err(err("ERR SWAPDB is not allowed in cluster mode"));
    }
    let number = |arg: &[u8], message: &'static str| {
        let n = crate::keyspace::number::parse_i64(arg).and_then(|n| i32::try_from(n).ok());
        n.ok_or(err(message))
    };
    let first = number(args[1], "ERR invalid first DB index")?;
    let second = number(args[2], "ERR invalid second DB index")?;
    let in_range = |n: i32| usize::try_from(n).ok().filter(|n| *n < server.keyspace.dbs().len());
    let (Some(a), Some(b)) = (in_range(first), in_range(second)) else { return Err(DB_RANGE) };
    if a != b {
        swap_databases(server, a, b);
    }
    let mut info = abi::SwapDbInfo { version: 1, dbnum_first: first, dbnum_second: second };
    server_event(abi::EVENT_SWAPDB, 0, (&raw mut info).cast(), None);
    tx.dirty += 1;
    out.ok();
    Ok(())
}

/// Swaps two databases. The calling thread has the module lock.
fn swap_databases(server: &'static Server, a: usize, b: usize) {
    let dbs = server.keyspace.dbs();
    let shards = |db: usize| dbs[db].shards().iter().enumerate();
    let awaited = [(a, awaited_keys(server, a)), (b, awaited_keys(server, b))];
    // All are held before the first is swapped: nobody sees one half of the one database and one of the other.
    for db in [a, b] {
        for (i, shard) in shards(db) {
            shard.latch.lock();
            hold_whole(server, shard, (db * SHARDS + i) as u32);
            // SAFETY: lock: taken above.
            unsafe { shard.latch.unlock() };
        }
    }
    let now = now_ms();
    for ((_, x), (_, y)) in shards(a).zip(shards(b)) {
        // Whoever has several latches never waits, so two at once cannot end in a circle.
        x.latch.lock();
        y.latch.lock();
        // SAFETY: lock: both latches were taken above, and are released below.
        let (of_x, of_y) = unsafe { (x.data(), y.data()) };
        touch_watched(of_x, |key| has(of_x, key, now) || has(of_y, key, now));
        touch_watched(of_y, |key| has(of_x, key, now) || has(of_y, key, now));
        of_x.swap_entries(x, of_y, y);
        // SAFETY: lock: taken above.
        unsafe {
            x.latch.unlock();
            y.latch.unlock();
        }
    }
    // SAFETY: lock: this function's contract.
    unsafe { server.holder() }.structure += 1;
    for (db, keys) in awaited {
        for (key, was_there) in keys {
            match (kind_of(server, db, &key), was_there) {
                (Some(_), _) => server.key_ready(db, &key),
                (None, Some(kind)) => server.key_gone(db, &key, kind),
                (None, None) => {}
            }
        }
    }
    super::blocking::all_changed(server, a);
    super::blocking::all_changed(server, b);
}

/// The family's commands.
pub static ROWS: &[Row] = &[
    Row {
        path: PathRule::ServerWide,
        acl: &["keyspace", "dangerous"],
        group: "server",
        summary: "Deletes all keys of all databases.",
        ..Row::new("flushall", -1, flags::WRITE, flushall)
    },
    Row {
        path: PathRule::ServerWide,
        acl: &["keyspace", "dangerous"],
        group: "server",
        summary: "Deletes all keys of the selected database.",
        ..Row::new("flushdb", -1, flags::WRITE, flushdb)
    },
    Row {
        path: PathRule::ServerWide,
        acl: &["keyspace", "dangerous"],
        group: "server",
        since: "4.0.0",
        summary: "Swaps two databases.",
        ..Row::new("swapdb", 3, flags::WRITE | flags::FAST, swapdb)
    },
];
