//! Hashes. Expiry of single fields is in [`super::hash_expire`].
use super::error::{arity, err, SYNTAX, WRONGTYPE};
use super::scan::{cursor, ScanOptions};
use super::{int, is, CommandError, CommandResult, Tx};
use crate::dispatch::table::{flags, key, keys, Handler, KeySpec, Row};
use crate::keyspace::event::{self, class};
use crate::keyspace::hash::{Hash, HashEntry, HashLimits};
use crate::keyspace::listpack::LpItem;
use crate::keyspace::number::NumBuf;
use crate::keyspace::value::{Value, ValueMut};
use crate::reply::Reply;
use std::collections::HashSet;

/// The limits of the compact form.
pub(super) fn limits(tx: &Tx<'_>) -> HashLimits {
    HashLimits {
        max_listpack_entries: tx.server.config.hash_max_listpack_entries(),
        max_listpack_value: tx.server.config.hash_max_listpack_value(),
    }
}

fn hash_or_create<'t>(tx: &'t mut Tx<'_>, key: &[u8]) -> Result<&'t mut Hash, CommandError> {
    match tx.get_or_create(key, || Value::Hash(Box::default())) {
        ValueMut::Hash(h) => Ok(h),
        _ => Err(WRONGTYPE),
    }
}

pub(super) fn bulk_item(out: &mut Reply, item: LpItem<'_>) {
    out.bulk(item.bytes(&mut NumBuf::new()));
}

/// A field that readers can see. One that has expired is noted.
fn visible<'h>(tx: &Tx<'_>, key: &[u8], h: &'h Hash, field: &[u8]) -> Option<HashEntry<'h>> {
    let e = h.get(field)?;
    if e.is_expired(tx.now) {
        tx.lapsed.field(tx.db(), key, field);
        return None;
    }
    Some(e)
}

/// Deletes a field whose time has come, for a write that would meet it.
pub(super) fn drop_if_expired(tx: &mut Tx<'_>, key: &[u8], field: &[u8]) -> CommandResult {
    drop_expired(tx, key, &[field])
}

/// Deletes those of some fields whose time has come, with one event for all.
pub(super) fn drop_expired(tx: &mut Tx<'_>, key: &[u8], fields: &[&[u8]]) -> CommandResult {
    let (now, mut dropped) = (tx.field_time(), false);
    if tx.keeps_expired() {
        return Ok(());
    }
    for field in fields {
        let Some(h) = tx.hash_mut(key)? else { break };
        if !h.get(field).is_some_and(|e| e.is_expired(now)) {
            continue;
        }
        h.remove(field);
        dropped = true;
        tx.fields_may_stay(key, true);
        tx.server.stats.expired_fields.add(1);
        tx.propagate_also(&[b"HDEL", key, field]);
    }
    if dropped {
        tx.notify(&event::HEXPIRED, key);
        tx.delete_if_empty(key);
        tx.modified(key);
    }
    Ok(())
}

/// `HSET key field value ...` and `HMSET`
fn hset(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let hmset = args[0].len() == 5;
    if args.len() % 2 == 1 {
        return Err(arity(if hmset { "hmset" } else { "hset" }));
    }
    let limits = limits(tx);
    let h = hash_or_create(tx, args[1])?;
    h.prepare(args[2..].iter().copied(), &limits);
    let mut created = 0;
    let expires = h.min_expire().is_some();
    for pair in args[2..].chunks_exact(2) {
        created += i64::from(h.set(pair[0], pair[1], &limits));
    }
    tx.fields_may_stay(args[1], expires);
    if hmset {
        out.ok();
    } else {
        out.int(created);
    }
    tx.dirty += (args.len() as u64 - 2) / 2;
    tx.modified(args[1]);
    tx.notify(&event::HSET, args[1]);
    Ok(())
}

/// `HSETNX key field value`
fn hsetnx(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    drop_if_expired(tx, args[1], args[2])?;
    let limits = limits(tx);
    let h = hash_or_create(tx, args[1])?;
    if h.contains(args[2]) {
        out.int(0);
        return Ok(());
    }
    h.prepare(args[2..].iter().copied(), &limits);
    h.set(args[2], args[3], &limits);
    tx.dirty += 1;
    tx.modified(args[1]);
    tx.notify(&event::HSET, args[1]);
    out.int(1);
    Ok(())
}

/// `HGET key field`
fn hget(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    match tx.hash(args[1])?.and_then(|h| visible(tx, args[1], h, args[2])) {
        Some(e) => bulk_item(out, e.value),
        None => out.null(),
    }
    Ok(())
}

/// `HMGET key field ...`
fn hmget(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let h = tx.hash(args[1])?;
    out.array(args.len() - 2);
    for field in &args[2..] {
        match h.and_then(|h| visible(tx, args[1], h, field)) {
            Some(e) => bulk_item(out, e.value),
            None => out.null(),
        }
    }
    Ok(())
}

/// `HDEL key field ...`
fn hdel(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let mut deleted = 0;
    if let Some(h) = tx.hash_mut(args[1])? {
        let expires = h.min_expire().is_some();
        for field in &args[2..] {
            deleted += u64::from(h.remove(field));
        }
        tx.fields_may_stay(args[1], expires);
    }
    if deleted > 0 {
        let emptied = tx.hash(args[1])?.is_some_and(Hash::is_empty) && tx.remove(args[1]);
        tx.dirty += deleted;
        tx.modified(args[1]);
        tx.notify(&event::HDEL, args[1]);
        if emptied {
            tx.notify(&event::DEL, args[1]);
        }
    }
    out.int(deleted as i64);
    Ok(())
}

/// `HLEN key`
fn hlen(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    out.int(tx.hash(args[1])?.map_or(0, Hash::len) as i64);
    Ok(())
}

/// `HSTRLEN key field`
fn hstrlen(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let entry = tx.hash(args[1])?.and_then(|h| visible(tx, args[1], h, args[2]));
    out.int(entry.map_or(0, |e| e.value.text_len()) as i64);
    Ok(())
}

/// `HEXISTS key field`
fn hexists(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    out.int(i64::from(
        tx.hash(args[1])?.is_some_and(|h| visible(tx, args[1], h, args[2]).is_some()),
    ));
    Ok(())
}

/// `HGETALL key`
fn hgetall(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let now = tx.now;
    let Some(h) = tx.hash(args[1])? else {
        out.map(0);
        return Ok(());
    };
    out.map(h.len() - h.expired_count(now));
    for e in h.iter().filter(|e| !e.is_expired(now)) {
        bulk_item(out, e.field);
        bulk_item(out, e.value);
    }
    Ok(())
}

fn one_side(
    tx: &mut Tx<'_>,
    key: &[u8],
    out: &mut Reply,
    side: for<'h> fn(HashEntry<'h>) -> LpItem<'h>,
) -> CommandResult {
    let now = tx.now;
    let Some(h) = tx.hash(key)? else {
        out.array(0);
        return Ok(());
    };
    out.array(h.len() - h.expired_count(now));
    for e in h.iter().filter(|e| !e.is_expired(now)) {
        bulk_item(out, side(e));
    }
    Ok(())
}

/// `HKEYS key`
fn hkeys(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    one_side(tx, args[1], out, |e| e.field)
}

/// `HVALS key`
fn hvals(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    one_side(tx, args[1], out, |e| e.value)
}

/// `HINCRBY key field increment`
fn hincrby(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let by = int(args[3])?;
    drop_if_expired(tx, args[1], args[2])?;
    let limits = limits(tx);
    let h = hash_or_create(tx, args[1])?;
    let old = match h.get(args[2]) {
        Some(e) => e.value.as_i64().ok_or(err("ERR hash value is not an integer"))?,
        None => 0,
    };
    let new = old.checked_add(by).ok_or(err("ERR increment or decrement would overflow"))?;
    h.set_keep_ttl(args[2], &crate::keyspace::number::format_i64(new), &limits);
    tx.dirty += 1;
    tx.modified(args[1]);
    tx.notify(&event::HINCRBY, args[1]);
    out.int(new);
    Ok(())
}

/// `HINCRBYFLOAT key field increment`
fn hincrbyfloat(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    super::string::finite_float(args[3])?;
    drop_if_expired(tx, args[1], args[2])?;
    let limits = limits(tx);
    let h = hash_or_create(tx, args[1])?;
    let entry = h.get(args[2]);
    let expire = entry.and_then(|e| e.expire);
    let old = entry.map_or(b"0".to_vec(), |e| e.value.to_vec());
    let new = super::string::add_floats(&old, args[3], "ERR hash value is not a float")?;
    h.set_keep_ttl(args[2], &new, &limits);
    tx.dirty += 1;
    tx.modified(args[1]);
    tx.notify(&event::HINCRBYFLOAT, args[1]);
    tx.propagate_as(&[b"HSET", args[1], args[2], &new]);
    if let Some(at) = expire {
        // HSET takes the expiry away.
        let at = at.to_string();
        tx.propagate_as(&[b"HPEXPIREAT", args[1], at.as_bytes(), b"FIELDS", b"1", args[2]]);
    }
    out.bulk(&new);
    Ok(())
}

/// A random visible entry of a hash that has `live` of them.
fn random_entry(h: &Hash, live: usize, now: i64) -> Option<HashEntry<'_>> {
    const DRAWS: usize = 100;
    if live == 0 {
        return None;
    }
    let mut rng = crate::observe::random::next;
    for _ in 0..DRAWS {
        let drawn = h.random(&mut rng).filter(|e| !e.is_expired(now));
        if drawn.is_some() {
            return drawn;
        }
    }
    // Nearly all have expired.
    h.iter().filter(|e| !e.is_expired(now)).nth(rng() as usize % live)
}

/// `HRANDFIELD key [count [WITHVALUES]]`
fn hrandfield(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let now = tx.now;
    let lapsed = match tx.peek(args[1]) {
        Some(crate::keyspace::value::ValueRef::Hash(h)) => {
            h.min_expire().is_some_and(|at| at < now)
        }
        _ => false,
    };
    if lapsed {
        tx.lapsed.fields(tx.db(), args[1]);
    }
    if args.len() == 2 {
        match tx.hash(args[1])?.and_then(|h| random_entry(h, h.len() - h.expired_count(now), now)) {
            Some(e) => bulk_item(out, e.field),
            None => out.null(),
        }
        return Ok(());
    }
    let count = super::int_between(args[2], -i64::MAX, i64::MAX)?;
    let with_values = args.len() > 3;
    if args.len() > 4 || with_values && !is(args[3], "withvalues") {
        return Err(SYNTAX);
    }
    if with_values && !(-i64::MAX / 2..=i64::MAX / 2).contains(&count) {
        return Err(err("ERR value is out of range"));
    }
    let h = tx.hash(args[1])?;
    let live = h.map_or(0, |h| h.len() - h.expired_count(now));
    let (Some(h), true) = (h, live > 0 && count != 0) else {
        out.array(0);
        return Ok(());
    };
    let wanted = count.unsigned_abs() as usize;
    let number = if count < 0 { wanted } else { wanted.min(live) };
    out.array(if with_values && !out.resp3 { number * 2 } else { number });
    let mut put = |e: HashEntry<'_>| {
        if with_values && out.resp3 {
            out.array(2);
        }
        bulk_item(out, e.field);
        if with_values {
            bulk_item(out, e.value);
        }
        out.full()
    };
    if count < 0 || count == 1 {
        for _ in 0..wanted {
            if put(random_entry(h, live, now).expect("some are visible")) {
                break;
            }
        }
        return Ok(());
    }
    let visible = h.iter().filter(|e| !e.is_expired(now));
    // Below this share of the fields it is cheaper to draw and to draw again what came twice.
    const DRAW_BELOW: usize = 3;
    if h.as_listpack().is_some() || number.saturating_mul(DRAW_BELOW) > live {
        let (mut need, mut left) = (number, live);
        for e in visible {
            if crate::observe::random::next() % (left as u64) < need as u64 {
                put(e);
                need -= 1;
            }
            left -= 1;
        }
    } else {
        let mut seen = HashSet::with_capacity(number);
        while seen.len() < number {
            let e = random_entry(h, live, now).expect("some are visible");
            if seen.insert(e.field.to_cow()) {
                put(e);
            }
        }
    }
    Ok(())
}

/// `HSCAN key cursor [MATCH pattern] [COUNT n] [NOVALUES]`
fn hscan(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let mut at = cursor(args[2])?;
    let now = tx.now;
    let h = tx.hash(args[1])?;
    let Some(h) = h else {
        super::scan::reply_header(out, 0, 0);
        return Ok(());
    };
    let options = ScanOptions::parse(&args[3..], super::scan::What::Hash)?;
    let mut items = Reply::new(out.resp3);
    let mut number = 0;
    at = options.run(at, |at, sampled| {
        h.scan(at, |e| {
            *sampled += 1;
            if e.is_expired(now) || !options.matches(e.field.bytes(&mut NumBuf::new())) {
                return;
            }
            bulk_item(&mut items, e.field);
            number += 1;
            if !options.no_values {
                bulk_item(&mut items, e.value);
                number += 1;
            }
        })
    });
    super::scan::reply_header(out, at, number);
    out.raw(&items.buf);
    Ok(())
}

const EVENTS: u32 = class::HASH | class::GENERIC | class::NEW;
pub(super) const RO: &[KeySpec] = &[keys(key::RO, 1, 1, 1)];
pub(super) const ACCESS: &[KeySpec] = &[keys(key::RO | key::ACCESS, 1, 1, 1)];
pub(super) const UPDATE: &[KeySpec] = &[keys(key::RW | key::UPDATE, 1, 1, 1)];
const ACCESS_UPDATE: &[KeySpec] = &[keys(key::RW | key::ACCESS | key::UPDATE, 1, 1, 1)];
const INSERT: &[KeySpec] = &[keys(key::RW | key::INSERT, 1, 1, 1)];
const DELETE: &[KeySpec] = &[keys(key::RW | key::DELETE, 1, 1, 1)];
const FAST: u64 = flags::FAST;

/// A row of the family with keys `specs`.
pub(super) const fn row(
    name: &'static str,
    arity: i32,
    flags: u64,
    specs: &'static [KeySpec],
    since: &'static str,
    run: Handler,
) -> Row {
    let events = if flags & flags::WRITE != 0 { EVENTS } else { class::KEY_MISS };
    let keys = specs;
    Row { keys, events, acl: &["hash"], group: "hash", since, ..Row::new(name, arity, flags, run) }
}

const READ: u64 = flags::READONLY;
const WRITE: u64 = flags::WRITE | flags::DENYOOM | FAST;

/// The family's commands.
pub static ROWS: &[Row] = &[
    Row {
        summary: "Sets fields of a hash; tells how many are new.",
        ..row("hset", -4, WRITE, UPDATE, "2.0.0", hset)
    },
    Row { summary: "Sets fields of a hash.", ..row("hmset", -4, WRITE, UPDATE, "2.0.0", hset) },
    Row {
        summary: "Sets a field of a hash unless it is there.",
        ..row("hsetnx", 4, WRITE, INSERT, "2.0.0", hsetnx)
    },
    Row {
        summary: "Returns the value of a field.",
        ..row("hget", 3, READ | FAST, ACCESS, "2.0.0", hget)
    },
    Row {
        summary: "Returns the values of several fields.",
        ..row("hmget", -3, READ | FAST, ACCESS, "2.0.0", hmget)
    },
    Row {
        summary: "Deletes fields, and the hash with the last of them.",
        ..row("hdel", -3, flags::WRITE | FAST, DELETE, "2.0.0", hdel)
    },
    Row {
        summary: "Counts the fields of a hash.",
        ..row("hlen", 2, READ | FAST, RO, "2.0.0", hlen)
    },
    Row {
        summary: "Returns the length of a field's value.",
        ..row("hstrlen", 3, READ | FAST, RO, "3.2.0", hstrlen)
    },
    Row {
        summary: "Tells whether a field exists.",
        ..row("hexists", 3, READ | FAST, RO, "2.0.0", hexists)
    },
    Row {
        summary: "Returns all fields and values.",
        ..row("hgetall", 2, READ, ACCESS, "2.0.0", hgetall)
    },
    Row { summary: "Returns all field names.", ..row("hkeys", 2, READ, ACCESS, "2.0.0", hkeys) },
    Row { summary: "Returns all values.", ..row("hvals", 2, READ, ACCESS, "2.0.0", hvals) },
    Row {
        summary: "Adds an integer to a field.",
        ..row("hincrby", 4, WRITE, ACCESS_UPDATE, "2.0.0", hincrby)
    },
    Row {
        summary: "Adds a decimal number to a field.",
        ..row("hincrbyfloat", 4, WRITE, ACCESS_UPDATE, "2.6.0", hincrbyfloat)
    },
    Row {
        summary: "Returns random fields.",
        ..row("hrandfield", -2, READ, ACCESS, "6.2.0", hrandfield)
    },
    Row {
        summary: "Walks through the fields of a hash, some at a time.",
        ..row("hscan", -3, READ, ACCESS, "2.8.0", hscan)
    },
];
