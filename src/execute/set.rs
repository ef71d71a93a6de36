//! Sets.
use super::collection::{
    bulk_item, empty_scan, int_in, key_count, positive, row, sample, sample_count, set_limits,
    spec, store, ScanOptions,
};
use super::error::{err, SYNTAX, WRONGTYPE};
use super::{is, CommandError, CommandResult, Tx};
use crate::dispatch::table::{flags, Row};
use crate::keyspace::event::{self, class, Event};
use crate::keyspace::listpack::LpItem;
use crate::keyspace::set::{Set, SetLimits};
use crate::keyspace::value::{Value, ValueMut};
use crate::observe::random;
use crate::reply::Reply;

/// `SADD key member ...`
fn sadd(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let (key, members) = (args[1], &args[2..]);
    let limits = set_limits(tx.server);
    let make = || Value::Set(Box::new(Set::for_members(members[0], members.len(), &limits)));
    let ValueMut::Set(set) = tx.get_or_create(key, make) else { return Err(WRONGTYPE) };
    if !set.is_empty() {
        set.prepare(members.len(), &limits);
    }
    let added = members.iter().filter(|m| set.add(m, &limits)).count();
    if added > 0 {
        tx.modified(key);
        tx.notify(&event::SADD, key);
        tx.dirty += added as u64;
    }
    out.int(added as i64);
    Ok(())
}

/// `SREM key member ...`
fn srem(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let key = args[1];
    let (mut removed, mut emptied) = (0, false);
    if let Some(set) = tx.set_mut(key)? {
        removed = args[2..].iter().filter(|m| set.remove(m)).count();
        emptied = set.is_empty();
    }
    if removed > 0 {
        // Whoever hears of the members finds the key gone already.
        emptied = emptied && tx.remove(key);
        tx.modified(key);
        tx.notify(&event::SREM, key);
        if emptied {
            tx.notify(&event::DEL, key);
        }
        tx.dirty += removed as u64;
    }
    out.int(removed as i64);
    Ok(())
}

/// `SMOVE source destination member`
fn smove(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let (from, to, member) = (args[1], args[2], args[3]);
    let Some(set) = tx.set_mut(from)? else {
        out.int(0);
        return Ok(());
    };
    let had = set.contains(member);
    tx.set_mut(to)?;
    if from == to || !had {
        out.int(i64::from(had));
        return Ok(());
    }
    if let Some(set) = tx.set_mut(from)? {
        set.remove(member);
    }
    tx.notify(&event::SREM, from);
    tx.delete_if_empty(from);
    let limits = set_limits(tx.server);
    let make = || Value::Set(Box::new(Set::for_members(member, 1, &limits)));
    let ValueMut::Set(set) = tx.get_or_create(to, make) else { return Err(WRONGTYPE) };
    let added = set.add(member, &limits);
    tx.modified(from);
    tx.dirty += 1;
    if added {
        tx.dirty += 1;
        tx.modified(to);
        tx.notify(&event::SADD, to);
    }
    out.int(1);
    Ok(())
}

/// `SISMEMBER key member`
fn sismember(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    out.int(i64::from(tx.set_value(args[1])?.is_some_and(|s| s.contains(args[2]))));
    Ok(())
}

/// `SMISMEMBER key member ...`
fn smismember(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let set = tx.set_value(args[1])?;
    out.array(args.len() - 2);
    for m in &args[2..] {
        out.int(i64::from(set.is_some_and(|s| s.contains(m))));
    }
    Ok(())
}

/// `SCARD key`
fn scard(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    out.int(tx.set_value(args[1])?.map_or(0, Set::len) as i64);
    Ok(())
}

fn reply_members<'a>(out: &mut Reply, len: usize, members: impl Iterator<Item = LpItem<'a>>) {
    out.set(len);
    members.for_each(|m| bulk_item(out, m));
}

/// `SMEMBERS key`
fn smembers(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    match tx.set_value(args[1])? {
        Some(set) => reply_members(out, set.len(), set.iter()),
        None => out.set(0),
    }
    Ok(())
}

/// `SPOP key [count]`
fn spop(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let key = args[1];
    match args.len() {
        2 => {}
        3 => return spop_count(tx, key, positive(args[2], None)?, out),
        _ => return Err(SYNTAX),
    }
    let popped = match tx.set_mut(key)? {
        Some(set) => set.pop_random(&mut random::next),
        None => None,
    };
    let Some(member) = popped else {
        out.null();
        return Ok(());
    };
    tx.notify(&event::SPOP, key);
    tx.propagate_as(&[b"SREM", key, &member]);
    out.bulk(&member);
    tx.delete_if_empty(key);
    tx.modified(key);
    tx.dirty += 1;
    Ok(())
}

/// Members that one `SREM` in the log takes out.
const SREM_BATCH: usize = 1024;

fn spop_count(tx: &mut Tx<'_>, key: &[u8], count: usize, out: &mut Reply) -> CommandResult {
    let Some(set) = tx.set_mut(key)?.filter(|_| count > 0) else {
        out.set(0);
        return Ok(());
    };
    let size = set.len();
    if count >= size {
        reply_members(out, size, set.iter());
        tx.notify(&event::SPOP, key);
        tx.dirty += size as u64;
        let lazily = tx.server.config.lazyfree_lazy_server_del();
        tx.remove_with(key, lazily);
        tx.notify(&event::DEL, key);
        tx.propagate_as(&[super::deletion(lazily), key]);
        tx.modified(key);
        return Ok(());
    }
    let popped: Vec<Vec<u8>> = if count * 3 < size {
        (0..count).filter_map(|_| set.pop_random(&mut random::next)).collect()
    } else {
        let mut chosen = sample(size, count, false).into_iter().peekable();
        let members: Vec<Vec<u8>> = (0..)
            .zip(set.iter())
            .filter(|(i, _)| chosen.next_if_eq(i).is_some())
            .map(|(_, m)| m.to_vec())
            .collect();
        members.iter().for_each(|m| {
            set.remove(m);
        });
        members
    };
    tx.notify(&event::SPOP, key);
    tx.dirty += count as u64;
    out.set(popped.len());
    popped.iter().for_each(|m| out.bulk(m));
    if tx.server.log.active() {
        for batch in popped.chunks(SREM_BATCH) {
            let mut effect: Vec<&[u8]> = vec![b"SREM", key];
            effect.extend(batch.iter().map(Vec::as_slice));
            tx.propagate_as(&effect);
        }
    }
    tx.modified(key);
    Ok(())
}

/// `SRANDMEMBER key [count]`
fn srandmember(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let (count, repeat) = match args.len() {
        2 => {
            match tx.set_value(args[1])?.and_then(|s| s.random(&mut random::next)) {
                Some(m) => bulk_item(out, m),
                None => out.null(),
            }
            return Ok(());
        }
        3 => sample_count(args[2])?,
        _ => return Err(SYNTAX),
    };
    let Some(set) = tx.set_value(args[1])?.filter(|_| count > 0) else {
        out.array(0);
        return Ok(());
    };
    if !repeat && count >= set.len() {
        out.array(set.len());
        set.iter().for_each(|m| bulk_item(out, m));
        return Ok(());
    }
    out.array(count);
    if count == 1 {
        set.random(&mut random::next).into_iter().for_each(|m| bulk_item(out, m));
        return Ok(());
    }
    let members: Vec<LpItem<'_>> = set.iter().collect();
    if repeat {
        for _ in 0..count {
            bulk_item(out, members[random::next() as usize % members.len()]);
            if out.full() {
                break;
            }
        }
        return Ok(());
    }
    for i in sample(members.len(), count, false) {
        bulk_item(out, members[i]);
    }
    Ok(())
}

/// The sets under these keys.
fn sets<'t>(tx: &'t Tx<'_>, keys: &[&[u8]]) -> Result<Vec<Option<&'t Set>>, CommandError> {
    keys.iter().map(|k| tx.set_value(k)).collect()
}

/// Hands the members that are in all sets to `found`, until that says no.
fn intersect<'a>(mut sets: Vec<&'a Set>, mut found: impl FnMut(LpItem<'a>) -> bool) {
    sets.sort_by_key(|s| s.len());
    let Some((first, rest)) = sets.split_first() else { return };
    for m in first.iter() {
        let everywhere = rest.iter().all(|s| std::ptr::eq(*s, *first) || s.contains_item(m));
        if everywhere && !found(m) {
            return;
        }
    }
}

/// `SINTER key ...`
fn sinter(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let Some(sets) = sets(tx, &args[1..])?.into_iter().collect() else {
        out.set(0);
        return Ok(());
    };
    let (at, mut n) = (out.deferred(), 0);
    intersect(sets, |m| {
        bulk_item(out, m);
        n += 1;
        true
    });
    out.fill_set(at, n);
    Ok(())
}

/// `SINTERSTORE destination key ...`
fn sinterstore(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let limits = set_limits(tx.server);
    let sets: Option<Vec<&Set>> = sets(tx, &args[2..])?.into_iter().collect();
    let result = sets.map(|sets| {
        // The smallest set decides the form of the result; what is left of it may still become an intset.
        let smallest = sets.iter().min_by_key(|s| s.len());
        let mut result = match smallest.and_then(|s| s.as_intset()) {
            Some(_) => Set::new(),
            None => Set::for_members(b"", 1, &limits),
        };
        intersect(sets, |m| {
            result.add_item(m, &limits);
            true
        });
        result.convert_to_intset(&limits);
        result
    });
    store_set(tx, args[1], result.unwrap_or_default(), &event::SINTERSTORE, out);
    Ok(())
}

fn store_set(tx: &mut Tx<'_>, key: &[u8], set: Set, event: &'static Event, out: &mut Reply) {
    out.int(set.len() as i64);
    let result = if set.is_empty() { None } else { Some(Value::Set(Box::new(set))) };
    store(tx, key, result, event);
}

/// `SINTERCARD numkeys key ... [LIMIT limit]`
fn sintercard(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let end = key_count(args, 1)?;
    if end > args.len() {
        return Err(err("ERR Number of keys can't be greater than number of args"));
    }
    let mut limit = 0;
    let mut options = args[end..].iter();
    while let Some(o) = options.next() {
        match options.next() {
            Some(n) if is(o, "limit") => {
                limit = int_in(n, 0, i64::MAX, Some("ERR LIMIT can't be negative"))?;
            }
            _ => return Err(SYNTAX),
        }
    }
    let mut n = 0;
    if let Some(sets) = sets(tx, &args[2..end])?.into_iter().collect() {
        intersect(sets, |_| {
            n += 1;
            n != limit
        });
    }
    out.int(n);
    Ok(())
}

fn union(sets: &[Option<&Set>], limits: &SetLimits) -> Set {
    let mut result = Set::new();
    for m in sets.iter().flatten().flat_map(|s| s.iter()) {
        result.add_item(m, limits);
    }
    result
}

fn difference(sets: &[Option<&Set>], limits: &SetLimits) -> Set {
    let mut result = Set::new();
    let Some(first) = sets[0] else { return result };
    let mut others: Vec<&Set> = sets[1..].iter().flatten().copied().collect();
    if others.iter().any(|s| std::ptr::eq(*s, first)) {
        return result;
    }
    // Testing each member against the other sets, or taking all their members out of a copy: whatever is less work.
    // It shows in the form of a stored result, so Redis' estimate decides.
    let test = first.len() * (others.len() + 1) / 2;
    let take_out = first.len() + others.iter().map(|s| s.len()).sum::<usize>();
    if test <= take_out {
        others.sort_by_key(|s| std::cmp::Reverse(s.len()));
        for m in first.iter().filter(|m| !others.iter().any(|s| s.contains_item(*m))) {
            result.add_item(m, limits);
        }
        return result;
    }
    for m in first.iter() {
        result.add_item(m, limits);
    }
    for set in others {
        for m in set.iter() {
            result.remove(&m.to_cow());
        }
        if result.is_empty() {
            break;
        }
    }
    result
}

/// `SUNION key ...`
fn sunion(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let result = union(&sets(tx, &args[1..])?, &set_limits(tx.server));
    reply_members(out, result.len(), result.iter());
    Ok(())
}

/// `SUNIONSTORE destination key ...`
fn sunionstore(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let result = union(&sets(tx, &args[2..])?, &set_limits(tx.server));
    store_set(tx, args[1], result, &event::SUNIONSTORE, out);
    Ok(())
}

/// `SDIFF key ...`
fn sdiff(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let result = difference(&sets(tx, &args[1..])?, &set_limits(tx.server));
    reply_members(out, result.len(), result.iter());
    Ok(())
}

/// `SDIFFSTORE destination key ...`
fn sdiffstore(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let result = difference(&sets(tx, &args[2..])?, &set_limits(tx.server));
    store_set(tx, args[1], result, &event::SDIFFSTORE, out);
    Ok(())
}

/// `SSCAN key cursor [MATCH pattern] [COUNT count]`
fn sscan(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let cursor = ScanOptions::cursor(args)?;
    let Some(set) = tx.set_value(args[1])? else {
        empty_scan(out);
        return Ok(());
    };
    let options = ScanOptions::parse(args)?;
    let mut found: Vec<Vec<u8>> = Vec::new();
    let next = options.run(cursor, |cursor| {
        let mut seen = 0;
        let next = set.scan(cursor, |m| {
            seen += 1;
            if options.matches(m) {
                found.push(m.to_vec());
            }
        });
        (next, seen)
    });
    out.array(2);
    out.bulk(next.to_string().as_bytes());
    out.array(found.len());
    found.iter().for_each(|m| out.bulk(m));
    Ok(())
}

const SET: (&str, &[&str]) = ("set", &["set"]);
const WRITES: u32 = class::SET | class::GENERIC | class::NEW | class::EXPIRED;
const REMOVES: u32 = class::SET | class::GENERIC | class::EXPIRED;
const READS: u32 = class::KEY_MISS;
const RO_FAST: u64 = flags::READONLY | flags::FAST;
const STORES: u64 = flags::WRITE | flags::DENYOOM;
const STORE_EVENTS: u32 = WRITES | READS;

/// The family's commands.
#[rustfmt::skip]
pub static ROWS: &[Row] = &[
    row(SET, "sadd", -3, flags::WRITE | flags::DENYOOM | flags::FAST, WRITES, spec::INSERT,
        "1.0.0", "Adds members to a set, which is made if the key is missing.", sadd),
    row(SET, "srem", -3, flags::WRITE | flags::FAST, REMOVES, spec::DELETE,
        "1.0.0", "Removes members from a set.", srem),
    row(SET, "smove", 4, flags::WRITE | flags::FAST, WRITES, spec::MOVE,
        "1.0.0", "Moves a member from one set to another.", smove),
    row(SET, "sismember", 3, RO_FAST, READS, spec::LOOK,
        "1.0.0", "Tells whether a member is in a set.", sismember),
    row(SET, "smismember", -3, RO_FAST, READS, spec::READ,
        "6.2.0", "Tells for several members whether they are in a set.", smismember),
    row(SET, "scard", 2, RO_FAST, READS, spec::LOOK,
        "1.0.0", "Returns the number of members of a set.", scard),
    row(SET, "smembers", 2, flags::READONLY, READS, spec::READ,
        "1.0.0", "Returns all members of a set.", smembers),
    row(SET, "spop", -2, flags::WRITE | flags::FAST, REMOVES, spec::POP,
        "1.0.0", "Removes random members from a set and returns them.", spop),
    row(SET, "srandmember", -2, flags::READONLY, READS, spec::READ,
        "1.0.0", "Returns random members of a set.", srandmember),
    row(SET, "sinter", -2, flags::READONLY, READS, spec::READ_ALL,
        "1.0.0", "Returns the members that all sets have.", sinter),
    row(SET, "sintercard", -3, flags::READONLY, READS, spec::READ_COUNTED,
        "7.0.0", "Counts the members that all sets have.", sintercard),
    row(SET, "sinterstore", -3, STORES, STORE_EVENTS, spec::STORE_ALL,
        "1.0.0", "Stores the members that all sets have.", sinterstore),
    row(SET, "sunion", -2, flags::READONLY, READS, spec::READ_ALL,
        "1.0.0", "Returns the members that any of the sets has.", sunion),
    row(SET, "sunionstore", -3, STORES, STORE_EVENTS, spec::STORE_ALL,
        "1.0.0", "Stores the members that any of the sets has.", sunionstore),
    row(SET, "sdiff", -2, flags::READONLY, READS, spec::READ_ALL,
        "1.0.0", "Returns the first set's members that no other set has.", sdiff),
    row(SET, "sdiffstore", -3, STORES, STORE_EVENTS, spec::STORE_ALL,
        "1.0.0", "Stores the first set's members that no other set has.", sdiffstore),
    row(SET, "sscan", -3, flags::READONLY, READS, spec::READ,
        "2.8.0", "Walks over the members of a set.", sscan),
];
