//! Streams: pending entries of consumer groups.
use super::collection::{int_in, row, spec};
use super::error::{err, SYNTAX};
use super::stream::{bulk_id, id, interval, interval_start, reply_entry, READS, STREAM, WRITES};
use super::stream_group::{
    group_mut, make_consumer, no_group, propagate_claim, propagate_group_id, propagate_only_effects,
};
use super::{int, is, text, CommandError, CommandResult, Tx};
use crate::dispatch::table::{flags, Row};
use crate::keyspace::stream::{Group, PelEntry, StreamId};
use crate::reply::Reply;

/// `XACK key group id ...`
fn xack(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let mut acknowledged = 0;
    tx.look(args[1]);
    if let Some(group) = group_mut(tx, args[1], args[2])? {
        let ids = args[3..].iter().map(|a| id(a)).collect::<Result<Vec<_>, _>>()?;
        acknowledged = ids.into_iter().filter(|id| group.ack(*id).is_some()).count();
    }
    tx.dirty += acknowledged as u64;
    out.int(acknowledged as i64);
    Ok(())
}

fn summary(group: &Group, out: &mut Reply) {
    out.array(4);
    out.int(group.pending().len() as i64);
    let (Some((first, _)), Some((last, _))) =
        (group.pending().first_key_value(), group.pending().last_key_value())
    else {
        out.null();
        out.null();
        out.null_array();
        return;
    };
    bulk_id(out, *first);
    bulk_id(out, *last);
    let busy = || group.consumers().filter(|c| !c.pending().is_empty());
    out.array(busy().count());
    for c in busy() {
        out.array(2);
        out.bulk(c.name());
        out.bulk_int(c.pending().len() as i64);
    }
}

/// `XPENDING key group [[IDLE min-idle] start end count [consumer]]`
fn xpending(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    if args.len() != 3 && !(6..=9).contains(&args.len()) {
        return Err(SYNTAX);
    }
    let mut query = None;
    if args.len() > 3 {
        let (mut at, mut min_idle) = (3, 0);
        if is(args[3], "idle") {
            min_idle = int(args[4])?;
            if args.len() < 8 {
                return Err(SYNTAX);
            }
            at = 5;
        }
        let count = int(args[at + 2])?.max(0) as usize;
        let (start, end) = interval(args[at], args[at + 1])?;
        query = Some((start, end, count, min_idle, args.get(at + 3)));
    }
    let group = tx.stream(args[1])?.and_then(|s| s.group(args[2]));
    let group = group.ok_or_else(|| no_group(args[1], args[2]))?;
    let Some((start, end, count, min_idle, consumer)) = query else {
        summary(group, out);
        return Ok(());
    };
    let now = tx.now;
    let wanted = |p: &PelEntry| min_idle == 0 || now - p.delivery_time >= min_idle;
    let found: Vec<(StreamId, &PelEntry)> = if start > end {
        Vec::new()
    } else if let Some(name) = consumer {
        let ids = group.consumer(name).into_iter().flat_map(|c| c.pending().range(start..=end));
        let all = ids.filter_map(|id| Some((*id, group.pending_entry(*id)?)));
        all.filter(|(_, p)| wanted(p)).take(count).collect()
    } else {
        let all = group.pending().range(start..=end).map(|(id, p)| (*id, p));
        all.filter(|(_, p)| wanted(p)).take(count).collect()
    };
    out.array(found.len());
    for (id, p) in found {
        out.array(4);
        bulk_id(out, id);
        out.bulk(&p.consumer);
        out.int((now - p.delivery_time).max(0));
        out.int(p.delivery_count as i64);
    }
    Ok(())
}

/// Options of `XCLAIM`.
#[derive(Default)]
struct Claim {
    time: Option<i64>,
    deliveries: Option<u64>,
    force: bool,
    just_id: bool,
    last_id: StreamId,
}

impl Claim {
    fn parse(args: &[&[u8]], now: i64) -> Result<Claim, CommandError> {
        let mut o = Claim::default();
        let number = |arg: &[u8], what: &str| {
            int(arg).map_err(|_| err(format!("ERR Invalid {what} option argument for XCLAIM")))
        };
        let mut i = 0;
        while i < args.len() {
            let value = args.get(i + 1);
            match (args[i], value) {
                (a, _) if is(a, "force") => o.force = true,
                (a, _) if is(a, "justid") => o.just_id = true,
                (a, Some(v)) if is(a, "idle") => {
                    o.time = Some(now.wrapping_sub(number(v, "IDLE")?));
                    i += 1;
                }
                (a, Some(v)) if is(a, "time") => {
                    o.time = Some(number(v, "TIME")?);
                    i += 1;
                }
                (a, Some(v)) if is(a, "retrycount") => {
                    o.deliveries = u64::try_from(number(v, "RETRYCOUNT")?).ok();
                    i += 1;
                }
                (a, Some(v)) if is(a, "lastid") => {
                    o.last_id = id(v)?;
                    i += 1;
                }
                (a, _) => return Err(err(format!("ERR Unrecognized XCLAIM option '{}'", text(a)))),
            }
            i += 1;
        }
        // A time that makes no sense means now: clients compute it with clocks of their own.
        o.time = o.time.filter(|t| (0..=now).contains(t));
        Ok(o)
    }
}

/// Idle time that a claim asks for.
fn min_idle(arg: &[u8], command: &str) -> Result<i64, CommandError> {
    let n =
        int(arg).map_err(|_| err(format!("ERR Invalid min-idle-time argument for {command}")))?;
    Ok(n.max(0))
}

fn touch(
    tx: &mut Tx<'_>,
    key: &[u8],
    group: &[u8],
    consumer: &[u8],
    active: bool,
) -> CommandResult {
    let now = tx.now;
    if let Some(c) = group_mut(tx, key, group)?.and_then(|g| g.consumer_mut(consumer)) {
        match active {
            true => c.active_time = now,
            false => c.seen_time = now,
        }
    }
    Ok(())
}

/// Takes an entry that was deleted from the stream out of the pending ones.
fn drop_deleted(tx: &mut Tx<'_>, key: &[u8], group: &[u8], id: StreamId) -> CommandResult {
    propagate_claim(tx, key, group, id);
    tx.dirty += 1;
    if let Some(g) = group_mut(tx, key, group)? {
        g.ack(id);
    }
    Ok(())
}

/// Hands an entry to a consumer and replies with it.
#[allow(clippy::too_many_arguments)]
fn hand_over(
    tx: &mut Tx<'_>,
    key: &[u8],
    group: &[u8],
    consumer: &[u8],
    id: StreamId,
    (time, deliveries): (i64, u64),
    just_id: bool,
    out: &mut Reply,
) -> CommandResult {
    if let Some(g) = group_mut(tx, key, group)? {
        g.assign(id, consumer, time, deliveries);
    }
    match tx.stream(key)?.and_then(|s| s.get(id)).filter(|_| !just_id) {
        Some(entry) => reply_entry(out, entry),
        None => bulk_id(out, id),
    }
    touch(tx, key, group, consumer, true)?;
    propagate_claim(tx, key, group, id);
    tx.dirty += 1;
    Ok(())
}

/// `XCLAIM key group consumer min-idle id ... [IDLE ms] [TIME unix-ms] [RETRYCOUNT n] [FORCE] [JUSTID] [LASTID id]`
fn xclaim(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let (key, name, consumer, now) = (args[1], args[2], args[3], tx.now);
    tx.look(key);
    group_mut(tx, key, name)?.ok_or_else(|| no_group(key, name))?;
    let min_idle = min_idle(args[4], "XCLAIM")?;
    let ids: Vec<StreamId> = args[5..].iter().map_while(|a| id(a).ok()).collect();
    let options = Claim::parse(&args[5 + ids.len()..], now)?;
    propagate_only_effects(tx);
    let mut group_advanced = false;
    if let Some(group) = group_mut(tx, key, name)? {
        group_advanced = options.last_id > group.last_id;
        group.last_id = group.last_id.max(options.last_id);
    }
    make_consumer(tx, key, name, consumer)?;
    touch(tx, key, name, consumer, false)?;
    let (at, mut claimed) = (out.deferred(), 0);
    for id in ids {
        let Some(stream) = tx.stream_mut(key)? else { break };
        let exists = stream.contains(id);
        let Some(group) = stream.group(name) else { break };
        let pending = group.pending_entry(id).cloned();
        if !exists {
            if pending.is_some() {
                drop_deleted(tx, key, name, id)?;
                group_advanced = false;
            }
            continue;
        }
        // An entry that is made by force counts as delivered once, and any idle time is enough for it.
        let before = match &pending {
            Some(p) if min_idle > 0 && now - p.delivery_time < min_idle => continue,
            Some(p) => p.delivery_count,
            None if options.force => 1,
            None => continue,
        };
        let deliveries = options.deliveries.unwrap_or(before + u64::from(!options.just_id));
        let times = (options.time.unwrap_or(now), deliveries);
        hand_over(tx, key, name, consumer, id, times, options.just_id, out)?;
        claimed += 1;
        group_advanced = false;
    }
    if group_advanced {
        propagate_group_id(tx, key, name);
        tx.dirty += 1;
    }
    out.fill_array(at, claimed);
    Ok(())
}

/// Pending entries that `XAUTOCLAIM` looks at for each one that it may return.
const ATTEMPTS: i64 = 10;

/// `XAUTOCLAIM key group consumer min-idle start [COUNT count] [JUSTID]`
fn xautoclaim(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let (key, name, consumer, now) = (args[1], args[2], args[3], tx.now);
    tx.look(key);
    let min_idle = min_idle(args[4], "XAUTOCLAIM")?;
    let start = interval_start(args[5])?;
    let (mut count, mut just_id) = (100, false);
    let mut i = 6;
    while i < args.len() {
        match args[i] {
            a if is(a, "count") && i + 1 < args.len() => {
                i += 1;
                count = int_in(args[i], 1, i64::MAX / 16, Some("ERR COUNT must be > 0"))?;
            }
            a if is(a, "justid") => just_id = true,
            _ => return Err(SYNTAX),
        }
        i += 1;
    }
    group_mut(tx, key, name)?.ok_or_else(|| no_group(key, name))?;
    propagate_only_effects(tx);
    make_consumer(tx, key, name, consumer)?;
    touch(tx, key, name, consumer, false)?;
    let mut entries = Reply::new(out.resp3);
    let (mut claimed, mut deleted) = (0, Vec::new());
    let mut attempts = count * ATTEMPTS;
    let mut at = Some(start);
    // The next pending entry, which is where the next call goes on if this one stops before it.
    let cursor = loop {
        let Some(stream) = tx.stream_mut(key)? else { break None };
        let Some(group) = stream.group(name) else { break None };
        let next = at.and_then(|at| group.pending().range(at..).next());
        let Some((&id, pending)) = next else { break None };
        if attempts == 0 || count == 0 {
            break Some(id);
        }
        attempts -= 1;
        at = id.next();
        let (idle, before) = (now - pending.delivery_time, pending.delivery_count);
        if !stream.contains(id) {
            drop_deleted(tx, key, name, id)?;
            deleted.push(id);
            count -= 1;
        } else if min_idle == 0 || idle >= min_idle {
            let times = (now, before + u64::from(!just_id));
            hand_over(tx, key, name, consumer, id, times, just_id, &mut entries)?;
            claimed += 1;
            count -= 1;
        }
    };
    out.array(3);
    bulk_id(out, cursor.unwrap_or(StreamId::MIN));
    out.array(claimed);
    out.raw(&entries.buf);
    out.array(deleted.len());
    deleted.into_iter().for_each(|id| bulk_id(out, id));
    Ok(())
}

const W: u64 = flags::WRITE;

/// The family's commands.
#[rustfmt::skip]
pub static ROWS: &[Row] = &[
    row(STREAM, "xack", -4, W | flags::FAST, WRITES, spec::UPDATE, "5.0.0",
        "Takes entries out of a group's pending ones.", xack),
    row(STREAM, "xpending", -3, flags::READONLY, READS, spec::READ, "5.0.0",
        "Returns a group's pending entries.", xpending),
    row(STREAM, "xclaim", -6, W | flags::FAST, WRITES, spec::UPDATE, "5.0.0",
        "Hands pending entries to another consumer.", xclaim),
    row(STREAM, "xautoclaim", -6, W | flags::FAST, WRITES, spec::DELETE, "6.2.0",
        "Hands pending entries that were idle for long to another consumer.", xautoclaim),
];
