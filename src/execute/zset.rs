//! Sorted sets: members and scores. Ranges are in `zset_range`, unions and the like in `zset_combine`.
use super::blocking::{Form, Needs, Wait};
use super::collection::{
    bulk_item, empty_scan, key_count, pop_options, positive, row, sample, sample_count, spec,
    timeout_seconds, zset_limits, ScanOptions,
};
use super::error::{arity, err, NOT_FLOAT, SYNTAX, WRONGTYPE};
use super::{is, CommandError, CommandResult, Tx};
use crate::dispatch::table::{flags, key, keys, KeySpec, Row};
use crate::keyspace::event::{self, class, Event};
use crate::keyspace::listpack::LpItem;
use crate::keyspace::number::{format_f64, format_g17, parse_f64};
use crate::keyspace::value::{Value, ValueMut};
use crate::keyspace::zset::SortedSet;
use crate::observe::random;
use crate::reply::Reply;

/// Options of `ZADD`.
#[derive(Clone, Copy, Default)]
struct AddOptions {
    nx: bool,
    xx: bool,
    gt: bool,
    lt: bool,
    ch: bool,
    incr: bool,
}

impl AddOptions {
    /// The score that a member gets; `None` when it stays as it is.
    fn score(self, old: Option<f64>, given: f64) -> Result<Option<f64>, CommandError> {
        let Some(old) = old else { return Ok((!self.xx).then_some(given)) };
        if self.nx {
            return Ok(None);
        }
        let new = if self.incr { old + given } else { given };
        if new.is_nan() {
            return Err(err("ERR resulting score is not a number (NaN)"));
        }
        let stays = (self.lt && new >= old) || (self.gt && new <= old);
        Ok((!stays).then_some(new))
    }
}

fn add(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply, mut options: AddOptions) -> CommandResult {
    let key = args[1];
    let mut i = 2;
    while let Some(arg) = args.get(i) {
        match arg {
            a if is(a, "nx") => options.nx = true,
            a if is(a, "xx") => options.xx = true,
            a if is(a, "ch") => options.ch = true,
            a if is(a, "incr") => options.incr = true,
            a if is(a, "gt") => options.gt = true,
            a if is(a, "lt") => options.lt = true,
            _ => break,
        }
        i += 1;
    }
    let pairs = &args[i..];
    if pairs.is_empty() || pairs.len() % 2 == 1 {
        return Err(SYNTAX);
    }
    let AddOptions { nx, xx, gt, lt, .. } = options;
    if nx && xx {
        return Err(err("ERR XX and NX options at the same time are not compatible"));
    }
    if [gt, lt, nx].iter().filter(|o| **o).count() > 1 {
        return Err(err("ERR GT, LT, and/or NX options at the same time are not compatible"));
    }
    let count = pairs.len() / 2;
    if options.incr && count > 1 {
        return Err(err("ERR INCR option supports a single increment-element pair"));
    }
    let scores: Vec<f64> =
        pairs.iter().step_by(2).map(|s| parse_f64(s).ok_or(NOT_FLOAT)).collect::<Result<_, _>>()?;
    let limits = zset_limits(tx.server);
    let (mut added, mut updated, mut result) = (0, 0, None);
    if !xx || tx.zset_mut(key)?.is_some() {
        let make = || Value::Zset(Box::new(SortedSet::for_size(count, pairs[1].len(), &limits)));
        let ValueMut::Zset(set) = tx.get_or_create(key, make) else { return Err(WRONGTYPE) };
        if !set.is_empty() {
            set.prepare(count, &limits);
        }
        for (member, given) in pairs.iter().skip(1).step_by(2).zip(scores) {
            let old = set.score(member);
            let Some(new) = options.score(old, given)? else { continue };
            result = Some(new);
            match old {
                None => added += 1,
                Some(old) if old != new => updated += 1,
                Some(_) => continue,
            }
            set.insert(member, new, &limits);
        }
    }
    match result {
        Some(score) if options.incr => out.double(score),
        None if options.incr => out.null(),
        _ => out.int(if options.ch { added + updated } else { added }),
    }
    if added + updated > 0 {
        tx.dirty += (added + updated) as u64;
        tx.modified(key);
        tx.notify(if options.incr { &event::ZINCR } else { &event::ZADD }, key);
    }
    Ok(())
}

/// `ZADD key [NX|XX] [GT|LT] [CH] [INCR] score member ...`
pub(super) fn zadd(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    add(tx, args, out, AddOptions::default())
}

/// `ZINCRBY key increment member`
fn zincrby(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    add(tx, args, out, AddOptions { incr: true, ..AddOptions::default() })
}

/// `ZREM key member ...`
fn zrem(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let key = args[1];
    let (mut removed, mut emptied) = (0, false);
    if let Some(set) = tx.zset_mut(key)? {
        removed = args[2..].iter().filter(|m| set.remove(m).is_some()).count();
        emptied = set.is_empty();
    }
    if removed > 0 {
        // Whoever hears of the members finds the key gone already.
        emptied = emptied && tx.remove(key);
        tx.notify(&event::ZREM, key);
        if emptied {
            tx.notify(&event::DEL, key);
        }
        tx.modified(key);
        tx.dirty += removed as u64;
    }
    out.int(removed as i64);
    Ok(())
}

/// `ZCARD key`
fn zcard(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    out.int(tx.zset(args[1])?.map_or(0, SortedSet::len) as i64);
    Ok(())
}

/// `ZSCORE key member`
fn zscore(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    match tx.zset(args[1])?.and_then(|s| s.score(args[2])) {
        Some(score) => out.double(score),
        None => out.null(),
    }
    Ok(())
}

/// `ZMSCORE key member ...`
fn zmscore(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let set = tx.zset(args[1])?;
    out.array(args.len() - 2);
    for m in &args[2..] {
        match set.and_then(|s| s.score(m)) {
            Some(score) => out.double(score),
            None => out.null(),
        }
    }
    Ok(())
}

fn rank(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply, reverse: bool) -> CommandResult {
    let with_score = match args {
        [_, _, _] => false,
        [_, _, _, word] if is(word, "withscore") => true,
        [_, _, _, _] => return Err(SYNTAX),
        _ => return Err(arity(if reverse { "zrevrank" } else { "zrank" })),
    };
    let found =
        tx.zset(args[1])?.and_then(|s| Some((s.rank(args[2], reverse)?, s.score(args[2])?)));
    match (found, with_score) {
        (Some((rank, _)), false) => out.int(rank as i64),
        (Some((rank, score)), true) => {
            out.array(2);
            out.int(rank as i64);
            out.double(score);
        }
        (None, false) => out.null(),
        (None, true) => out.null_array(),
    }
    Ok(())
}

/// `ZRANK key member [WITHSCORE]`
fn zrank(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    rank(tx, args, out, false)
}

/// `ZREVRANK key member [WITHSCORE]`
fn zrevrank(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    rank(tx, args, out, true)
}

/// An end of a sorted set.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// The lowest score.
    Min,
    /// The highest score.
    Max,
}

impl Side {
    fn event(self) -> &'static Event {
        match self {
            Side::Min => &event::ZPOPMIN,
            Side::Max => &event::ZPOPMAX,
        }
    }

    fn command(self) -> &'static [u8] {
        match self {
            Side::Min => b"ZPOPMIN",
            Side::Max => b"ZPOPMAX",
        }
    }
}

/// Removes up to `count` members of a sorted set that exists, with all that follows but the reply.
fn pop_members(
    tx: &mut Tx<'_>,
    key: &[u8],
    side: Side,
    count: usize,
) -> Result<Vec<(Vec<u8>, f64)>, CommandError> {
    let Some(set) = tx.zset_mut(key)? else { return Ok(Vec::new()) };
    let n = count.min(set.len());
    let mut popped = Vec::with_capacity(n);
    let from = if side == Side::Min { 0 } else { set.len() - n };
    set.remove_range(from..from + n, |member, score| popped.push((member.to_vec(), score)));
    if side == Side::Max {
        popped.reverse();
    }
    tx.dirty += n as u64;
    tx.notify(side.event(), key);
    tx.delete_if_empty(key);
    tx.modified(key);
    Ok(popped)
}

/// A member and its score: one after the other, or as a pair.
pub(super) fn reply_scored(out: &mut Reply, member: LpItem<'_>, score: f64, nested: bool) {
    if nested {
        out.array(2);
    }
    bulk_item(out, member);
    out.double(score);
}

fn pop(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply, side: Side) -> CommandResult {
    let count = match args.len() {
        2 => None,
        3 => Some(positive(args[2], None)?),
        _ => return Err(SYNTAX),
    };
    let nested = out.resp3 && count.is_some();
    let exists = tx.zset_mut(args[1])?.is_some();
    if !exists || count == Some(0) {
        out.array(0);
        return Ok(());
    }
    let popped = pop_members(tx, args[1], side, count.unwrap_or(1))?;
    out.array(if nested { popped.len() } else { 2 * popped.len() });
    for (member, score) in &popped {
        reply_scored(out, LpItem::Str(member), *score, nested);
    }
    Ok(())
}

/// `ZPOPMIN key [count]`
fn zpopmin(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    pop(tx, args, out, Side::Min)
}

/// `ZPOPMAX key [count]`
fn zpopmax(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    pop(tx, args, out, Side::Max)
}

/// Pops from the first of these sorted sets that exists, with its key. False when there is none.
fn pop_first(
    tx: &mut Tx<'_>,
    keys: &[&[u8]],
    side: Side,
    count: usize,
    out: &mut Reply,
) -> Result<bool, CommandError> {
    for key in keys {
        if tx.zset_mut(key)?.is_some() {
            let popped = pop_members(tx, key, side, count)?;
            out.array(2);
            out.bulk(key);
            out.array(popped.len());
            for (member, score) in &popped {
                reply_scored(out, LpItem::Str(member), *score, true);
            }
            tx.propagate_as(&[side.command(), key, popped.len().to_string().as_bytes()]);
            return Ok(true);
        }
    }
    Ok(false)
}

/// `ZMPOP numkeys key ... MIN|MAX [COUNT count]`
fn zmpop(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let end = key_count(args, 1)?;
    let (min, count) = pop_options(args, end, "min", "max")?;
    let side = if min { Side::Min } else { Side::Max };
    if !pop_first(tx, &args[2..end], side, count, out)? {
        out.null_array();
    }
    Ok(())
}

fn blocking_pop(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply, side: Side) -> CommandResult {
    let last = args.len() - 1;
    let timeout = timeout_seconds(tx.now, args[last])?;
    for key in &args[1..last] {
        if tx.zset_mut(key)?.is_none() {
            continue;
        }
        let popped = pop_members(tx, key, side, 1)?;
        out.array(1 + 2 * popped.len());
        out.bulk(key);
        for (member, score) in &popped {
            reply_scored(out, LpItem::Str(member), *score, false);
        }
        tx.propagate_as(&[side.command(), key]);
        return Ok(());
    }
    let wait = Wait {
        keys: args[1..last].iter().map(|k| k.to_vec()).collect(),
        needs: Needs::Zset,
        form: Form::Keys(args[0].to_vec()),
        timeout,
        null_is_bulk: false,
    };
    tx.wait_for(wait, out)
}

/// `BZPOPMIN key ... timeout`
fn bzpopmin(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    blocking_pop(tx, args, out, Side::Min)
}

/// `BZPOPMAX key ... timeout`
fn bzpopmax(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    blocking_pop(tx, args, out, Side::Max)
}

/// `BZMPOP timeout numkeys key ... MIN|MAX [COUNT count]`
fn bzmpop(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let end = key_count(args, 2)?;
    let (min, count) = pop_options(args, end, "min", "max")?;
    let timeout = timeout_seconds(tx.now, args[1])?;
    let side = if min { Side::Min } else { Side::Max };
    if pop_first(tx, &args[3..end], side, count, out)? {
        return Ok(());
    }
    let wait = Wait {
        keys: args[3..end].iter().map(|k| k.to_vec()).collect(),
        needs: Needs::Zset,
        form: Form::Counted(args[0].to_vec(), args[end..].iter().map(|a| a.to_vec()).collect()),
        timeout,
        null_is_bulk: false,
    };
    tx.wait_for(wait, out)
}

/// `ZRANDMEMBER key [count [WITHSCORES]]`
fn zrandmember(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    if args.len() == 2 {
        match tx.zset(args[1])?.and_then(|s| s.random(&mut random::next)) {
            Some((m, _)) => bulk_item(out, m),
            None => out.null(),
        }
        return Ok(());
    }
    let (count, repeat) = sample_count(args[2])?;
    let scores = match args[3..] {
        [] => false,
        [word] if is(word, "withscores") => true,
        _ => return Err(SYNTAX),
    };
    if scores && count > i64::MAX as usize / 2 {
        return Err(err("ERR value is out of range"));
    }
    let Some(set) = tx.zset(args[1])?.filter(|_| count > 0) else {
        out.array(0);
        return Ok(());
    };
    let nested = out.resp3;
    let n = if repeat { count } else { count.min(set.len()) };
    out.array(if scores && !nested { 2 * n } else { n });
    let write = |out: &mut Reply, (member, score)| match scores {
        true => reply_scored(out, member, score, nested),
        false => bulk_item(out, member),
    };
    if repeat {
        for _ in 0..n {
            let place = random::next() as usize % set.len();
            set.by_rank(place).into_iter().for_each(|m| write(out, m));
            if out.full() {
                break;
            }
        }
    } else if n == set.len() {
        set.iter().for_each(|m| write(out, m));
    } else if set.as_listpack().is_none() {
        for place in sample(set.len(), n, false) {
            set.by_rank(place).into_iter().for_each(|m| write(out, m));
        }
    } else {
        let mut chosen = sample(set.len(), n, false).into_iter().peekable();
        (0..)
            .zip(set.iter())
            .filter(|(i, _)| chosen.next_if_eq(i).is_some())
            .for_each(|(_, m)| write(out, m));
    }
    Ok(())
}

/// `ZSCAN key cursor [MATCH pattern] [COUNT count]`
fn zscan(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let cursor = ScanOptions::cursor(args)?;
    let Some(set) = tx.zset(args[1])? else {
        empty_scan(out);
        return Ok(());
    };
    let options = ScanOptions::parse(args)?;
    let mut found: Vec<(Vec<u8>, f64)> = Vec::new();
    let next = options.run(cursor, |cursor| {
        let mut seen = 0;
        let next = set.scan(cursor, |m, score| {
            seen += 1;
            if options.matches(m) {
                found.push((m.to_vec(), score));
            }
        });
        (next, seen)
    });
    out.array(2);
    out.bulk(next.to_string().as_bytes());
    out.array(2 * found.len());
    // The big form's scores are printed in another way than all others, on Redis too.
    let packed = set.as_listpack().is_some();
    for (m, score) in &found {
        out.bulk(m);
        match packed {
            true => out.bulk(&format_f64(*score)),
            false => out.bulk_str(&format_g17(*score)),
        }
    }
    Ok(())
}

/// Group and ACL category of the family.
pub(super) const ZSET: (&str, &[&str]) = ("sorted-set", &["sortedset"]);
/// Events of commands that can make a key.
pub(super) const WRITES: u32 = class::ZSET | class::GENERIC | class::NEW | class::EXPIRED;
/// Events of commands that can only take members out.
pub(super) const REMOVES: u32 = class::ZSET | class::GENERIC | class::EXPIRED;
/// Events of commands that read.
pub(super) const READS: u32 = class::KEY_MISS;
/// Flags of fast reads.
pub(super) const RO_FAST: u64 = flags::READONLY | flags::FAST;

const W_FAST: u64 = flags::WRITE | flags::FAST;
const INCR_KEYS: &[KeySpec] = &[keys(key::RW | key::ACCESS | key::UPDATE, 1, 1, 1)];

/// The family's commands.
#[rustfmt::skip]
pub static ROWS: &[Row] = &[
    row(ZSET, "zadd", -4, W_FAST | flags::DENYOOM, WRITES, spec::UPDATE, "1.2.0",
        "Adds members to a sorted set or changes their scores.", zadd),
    row(ZSET, "zincrby", 4, W_FAST | flags::DENYOOM, WRITES, INCR_KEYS, "1.2.0",
        "Adds to the score of a member.", zincrby),
    row(ZSET, "zrem", -3, W_FAST, REMOVES, spec::DELETE, "1.2.0",
        "Removes members from a sorted set.", zrem),
    row(ZSET, "zcard", 2, RO_FAST, READS, spec::LOOK, "1.2.0",
        "Returns the number of members of a sorted set.", zcard),
    row(ZSET, "zscore", 3, RO_FAST, READS, spec::READ, "1.2.0",
        "Returns the score of a member.", zscore),
    row(ZSET, "zmscore", -3, RO_FAST, READS, spec::READ, "6.2.0",
        "Returns the scores of several members.", zmscore),
    row(ZSET, "zrank", -3, RO_FAST, READS, spec::READ, "2.0.0",
        "Returns the rank of a member, counted from the lowest score.", zrank),
    row(ZSET, "zrevrank", -3, RO_FAST, READS, spec::READ, "2.0.0",
        "Returns the rank of a member, counted from the highest score.", zrevrank),
    row(ZSET, "zpopmin", -2, W_FAST, REMOVES, spec::POP, "5.0.0",
        "Removes the members with the lowest scores and returns them.", zpopmin),
    row(ZSET, "zpopmax", -2, W_FAST, REMOVES, spec::POP, "5.0.0",
        "Removes the members with the highest scores and returns them.", zpopmax),
    row(ZSET, "zmpop", -4, flags::WRITE, REMOVES, spec::POP_COUNTED, "7.0.0",
        "Removes members from the first of several sorted sets that exists.", zmpop),
    row(ZSET, "bzpopmin", -3, W_FAST | flags::BLOCKING, REMOVES, spec::POP_ALL, "5.0.0",
        "Removes the member with the lowest score and returns it, or waits for one.", bzpopmin),
    row(ZSET, "bzpopmax", -3, W_FAST | flags::BLOCKING, REMOVES, spec::POP_ALL, "5.0.0",
        "Removes the member with the highest score and returns it, or waits for one.", bzpopmax),
    row(ZSET, "bzmpop", -5, flags::WRITE | flags::BLOCKING, REMOVES, spec::POP_COUNTED_LATE, "7.0.0",
        "Removes members from the first of several sorted sets that exists, or waits for one.", bzmpop),
    row(ZSET, "zrandmember", -2, flags::READONLY, READS, spec::READ, "6.2.0",
        "Returns random members of a sorted set.", zrandmember),
    row(ZSET, "zscan", -3, flags::READONLY, READS, spec::READ, "2.8.0",
        "Walks over the members and scores of a sorted set.", zscan),
];
