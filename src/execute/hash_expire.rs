//! Expiry of single fields of a hash.
use super::error::{err, invalid_expire};
use super::hash::{drop_if_expired, row, ACCESS, UPDATE};
use super::{int, is, CommandError, CommandResult, Tx};
use crate::dispatch::table::{flags, Row};
use crate::keyspace::event;
use crate::keyspace::hash::Hash;
use crate::keyspace::number::{format_i64, format_u64};
use crate::reply::Reply;

/// The latest time that a command may set: 2^46 - 1 ms.
const MAX_AT: i64 = (1 << 46) - 1;

/// There is no such field (or no such key).
const NO_FIELD: i64 = -2;
/// The field does not expire.
const NO_EXPIRY: i64 = -1;

/// The fields behind `FIELDS count`, where `FIELDS` must stand at `at`.
fn fields_of<'a, 'b>(
    args: &'a [&'b [u8]],
    at: usize,
    bad_count: &'static str,
) -> Result<&'a [&'b [u8]], CommandError> {
    if !is(args[at], "fields") {
        return Err(err("ERR Mandatory argument FIELDS is missing or not at the right position"));
    }
    let count = int(args[at + 1]).ok().filter(|n| *n > 0).ok_or(err(bad_count))?;
    let fields = &args[at + 2..];
    if count != fields.len() as i64 {
        return Err(err("ERR The `numfields` parameter must match the number of arguments"));
    }
    Ok(fields)
}

/// When a field may get a new expiry.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Condition {
    Always,
    Nx,
    Xx,
    Gt,
    Lt,
}

impl Condition {
    fn parse(word: &[u8]) -> Condition {
        let all = [
            ("nx", Condition::Nx),
            ("xx", Condition::Xx),
            ("gt", Condition::Gt),
            ("lt", Condition::Lt),
        ];
        all.into_iter().find(|(name, _)| is(word, name)).map_or(Condition::Always, |(_, c)| c)
    }

    fn allows(self, old: Option<i64>, new: i64) -> bool {
        match (self, old) {
            (Condition::Always, _) => true,
            (Condition::Nx, old) => old.is_none(),
            (Condition::Xx, old) => old.is_some(),
            (Condition::Gt, old) => old.is_some_and(|old| new > old),
            (Condition::Lt, old) => old.is_none_or(|old| new < old),
        }
    }
}

/// The time that an argument names, in milliseconds, counted from `base`.
fn time(arg: &[u8], base: i64, seconds: bool, command: &str) -> Result<i64, CommandError> {
    let mut at = int(arg)?;
    if at < 0 {
        return Err(err("ERR invalid expire time, must be >= 0"));
    }
    if seconds {
        at = at
            .checked_mul(1000)
            .filter(|n| n / 1000 <= MAX_AT / 1000)
            .ok_or_else(|| invalid_expire(command))?;
    }
    if at > MAX_AT - base {
        return Err(invalid_expire(command));
    }
    Ok(at + base)
}

fn expire(
    tx: &mut Tx<'_>,
    args: &[&[u8]],
    out: &mut Reply,
    command: &str,
    seconds: bool,
    absolute: bool,
) -> CommandResult {
    let key = args[1];
    let exists = tx.hash_mut(key)?.is_some();
    let at = time(args[2], if absolute { 0 } else { tx.now }, seconds, command)?;
    let condition = Condition::parse(args[3]);
    let place = if condition == Condition::Always { 3 } else { 4 };
    let fields = fields_of(args, place, "ERR Parameter `numFields` should be greater than 0")?;
    if !exists {
        out.array(fields.len());
        fields.iter().for_each(|_| out.int(NO_FIELD));
        return Ok(());
    }
    for field in fields {
        drop_if_expired(tx, key, field)?;
    }
    let past = tx.is_past(at);
    let mut deleted = Vec::new();
    let mut updated = Vec::new();
    out.array(fields.len());
    let had_some = {
        let Some(h) = tx.hash_mut(key)? else {
            fields.iter().for_each(|_| out.int(NO_FIELD));
            return Ok(());
        };
        let had_some = h.min_expire().is_some();
        h.make_expirable();
        for &field in fields {
            let done = match h.get_expire(field) {
                None => NO_FIELD,
                Some(old) if !condition.allows(old, at) => 0,
                Some(_) if past => {
                    h.remove(field);
                    deleted.push(field);
                    2
                }
                Some(_) => {
                    h.set_expire(field, Some(at));
                    updated.push(field);
                    1
                }
            };
            out.int(done);
        }
        had_some
    };
    tx.fields_may_stay(key, had_some);
    if !updated.is_empty() {
        tx.field_expiry_set(key, at, !had_some);
    }
    let condition = (condition != Condition::Always).then(|| args[3]);
    follow_up(tx, key, (at, condition), &updated, &deleted)
}

/// Counts, logs and tells what became of fields: they got a new time, on a condition, or went since that has passed.
fn follow_up(
    tx: &mut Tx<'_>,
    key: &[u8],
    (at, condition): (i64, Option<&[u8]>),
    updated: &[&[u8]],
    deleted: &[&[u8]],
) -> CommandResult {
    tx.server.stats.expired_fields.add(deleted.len() as u64);
    tx.dirty += (deleted.len() + updated.len()) as u64;
    if !updated.is_empty() {
        let (time, count) = (format_i64(at), format_u64(updated.len() as u64));
        let mut effect: Vec<&[u8]> = vec![b"HPEXPIREAT", key, &time];
        effect.extend(condition);
        effect.extend([b"FIELDS".as_slice(), &count]);
        effect.extend(updated);
        tx.propagate_as(&effect);
    } else if !deleted.is_empty() {
        tx.propagate_nothing();
    }
    for field in deleted {
        tx.propagate_also(&[b"HDEL", key, field]);
    }
    if !deleted.is_empty() {
        let emptied = tx.hash(key)?.is_some_and(Hash::is_empty) && tx.remove(key);
        tx.modified(key);
        tx.notify(&event::HDEL, key);
        if emptied {
            tx.notify(&event::DEL, key);
        }
    } else if !updated.is_empty() {
        tx.modified(key);
        tx.notify(&event::HEXPIRE, key);
    }
    Ok(())
}

/// `HEXPIRE key seconds [NX|XX|GT|LT] FIELDS count field ...`
fn hexpire(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    expire(tx, args, out, "hexpire", true, false)
}

/// `HPEXPIRE key milliseconds [NX|XX|GT|LT] FIELDS count field ...`
fn hpexpire(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    expire(tx, args, out, "hpexpire", false, false)
}

/// `HEXPIREAT key seconds [NX|XX|GT|LT] FIELDS count field ...`
fn hexpireat(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    expire(tx, args, out, "hexpireat", true, true)
}

/// `HPEXPIREAT key milliseconds [NX|XX|GT|LT] FIELDS count field ...`
fn hpexpireat(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    expire(tx, args, out, "hpexpireat", false, true)
}

/// Answers for each field with what `show` makes of its expiry.
fn ask(
    tx: &mut Tx<'_>,
    args: &[&[u8]],
    out: &mut Reply,
    show: impl Fn(i64) -> i64,
) -> CommandResult {
    let now = tx.now;
    let h = tx.hash(args[1])?;
    let fields = fields_of(args, 2, "ERR Number of fields must be a positive integer")?;
    out.array(fields.len());
    for field in fields {
        out.int(match h.and_then(|h| h.get(field)).filter(|e| !e.is_expired(now)) {
            None => NO_FIELD,
            Some(e) => e.expire.map_or(NO_EXPIRY, &show),
        });
    }
    Ok(())
}

/// Milliseconds as seconds, rounded up.
fn in_seconds(ms: i64) -> i64 {
    (ms + 999) / 1000
}

/// `HTTL key FIELDS count field ...`
fn httl(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let now = tx.now;
    ask(tx, args, out, |at| in_seconds(at - now))
}

/// `HPTTL key FIELDS count field ...`
fn hpttl(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let now = tx.now;
    ask(tx, args, out, |at| at - now)
}

/// `HEXPIRETIME key FIELDS count field ...`
fn hexpiretime(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    ask(tx, args, out, in_seconds)
}

/// `HPEXPIRETIME key FIELDS count field ...`
fn hpexpiretime(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    ask(tx, args, out, |at| at)
}

/// `HPERSIST key FIELDS count field ...`
fn hpersist(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let (key, now) = (args[1], tx.field_time());
    tx.hash_mut(key)?;
    let fields = fields_of(args, 2, "ERR Number of fields must be a positive integer")?;
    out.array(fields.len());
    let mut changed = false;
    let mut h = tx.hash_mut(key)?;
    let expires = h.as_ref().is_some_and(|h| h.min_expire().is_some());
    for field in fields {
        let entry = h.as_ref().and_then(|h| h.get(field)).filter(|e| !e.is_expired(now));
        out.int(match (entry.map(|e| e.expire), &mut h) {
            (Some(Some(_)), Some(h)) => {
                h.set_expire(field, None);
                changed = true;
                1
            }
            (Some(_), _) => NO_EXPIRY,
            (None, _) => NO_FIELD,
        });
    }
    if changed {
        tx.fields_may_stay(key, expires);
        tx.notify(&event::HPERSIST, key);
        tx.modified(key);
        tx.dirty += 1;
    }
    Ok(())
}

const WRITE: u64 = flags::WRITE | flags::DENYOOM | flags::FAST;
const READ: u64 = flags::READONLY | flags::FAST;
const SINCE: &str = "7.4.0";

/// The family's commands.
pub static ROWS: &[Row] = &[
    Row {
        summary: "Makes fields of a hash expire after some seconds.",
        ..row("hexpire", -6, WRITE, UPDATE, SINCE, hexpire)
    },
    Row {
        summary: "Makes fields of a hash expire after some milliseconds.",
        ..row("hpexpire", -6, WRITE, UPDATE, SINCE, hpexpire)
    },
    Row {
        summary: "Makes fields of a hash expire at a Unix time in seconds.",
        ..row("hexpireat", -6, WRITE, UPDATE, SINCE, hexpireat)
    },
    Row {
        summary: "Makes fields of a hash expire at a Unix time in milliseconds.",
        ..row("hpexpireat", -6, WRITE, UPDATE, SINCE, hpexpireat)
    },
    Row {
        summary: "Tells for how many seconds fields of a hash will live.",
        ..row("httl", -5, READ, ACCESS, SINCE, httl)
    },
    Row {
        summary: "Tells for how many milliseconds fields of a hash will live.",
        ..row("hpttl", -5, READ, ACCESS, SINCE, hpttl)
    },
    Row {
        summary: "Tells the Unix time in seconds at which fields of a hash expire.",
        ..row("hexpiretime", -5, READ, ACCESS, SINCE, hexpiretime)
    },
    Row {
        summary: "Tells the Unix time in milliseconds at which fields of a hash expire.",
        ..row("hpexpiretime", -5, READ, ACCESS, SINCE, hpexpiretime)
    },
    Row {
        summary: "Makes fields of a hash stay for ever.",
        ..row("hpersist", -5, flags::WRITE | flags::FAST, UPDATE, SINCE, hpersist)
    },
];
