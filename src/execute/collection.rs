//! What the families of lists, sets, sorted sets and streams share: number arguments, elements in replies, `SSCAN` and
//! `ZSCAN` options, results that are stored.
use super::error::{err, NOT_INTEGER, NOT_POSITIVE, SYNTAX};
use super::{int, is, CommandError, Expiry, Tx};
use crate::config::glob_match;
use crate::dispatch::table::{Handler, KeySpec, Row};
use crate::keyspace::event::{self, Event};
use crate::keyspace::list::Fill;
use crate::keyspace::listpack::LpItem;
use crate::keyspace::number::{parse_f64, parse_u64, NumBuf};
use crate::keyspace::set::SetLimits;
use crate::keyspace::stream::NodeLimits;
use crate::keyspace::value::Value;
use crate::keyspace::zset::ZsetLimits;
use crate::observe::random;
use crate::reply::Reply;
use crate::server::Server;
use std::collections::HashSet;

/// An integer argument between `min` and `max`; `message` replaces the usual errors.
pub(super) fn int_in(
    arg: &[u8],
    min: i64,
    max: i64,
    message: Option<&'static str>,
) -> Result<i64, CommandError> {
    match int(arg) {
        Ok(n) if (min..=max).contains(&n) => Ok(n),
        other => Err(match (message, other) {
            (Some(text), _) => err(text),
            (None, Err(_)) => NOT_INTEGER,
            (None, Ok(_)) => {
                err(format!("ERR value is out of range, value must between {min} and {max}"))
            }
        }),
    }
}

/// An integer argument that is not negative.
pub(super) fn positive(arg: &[u8], message: Option<&'static str>) -> Result<usize, CommandError> {
    match int(arg) {
        Ok(n) if n >= 0 => Ok(n as usize),
        _ => Err(message.map_or(NOT_POSITIVE, err)),
    }
}

/// A count that may be negative (`SRANDMEMBER`): how many, and whether an element may come twice.
pub(super) fn sample_count(arg: &[u8]) -> Result<(usize, bool), CommandError> {
    let n = int_in(arg, -i64::MAX, i64::MAX, None)?;
    Ok((n.unsigned_abs() as usize, n < 0))
}

/// A timeout in milliseconds; zero waits for ever.
pub(super) fn timeout_ms(now: i64, arg: &[u8]) -> Result<i64, CommandError> {
    let ms = int(arg).map_err(|_| err("ERR timeout is not an integer or out of range"))?;
    valid_timeout(now, ms)
}

/// A timeout in seconds, as milliseconds; zero waits for ever.
pub(super) fn timeout_seconds(now: i64, arg: &[u8]) -> Result<i64, CommandError> {
    let seconds = parse_f64(arg).ok_or(err("ERR timeout is not a float or out of range"))?;
    let ms = (seconds * 1000.0).ceil();
    if ms >= i64::MAX as f64 {
        return Err(err("ERR timeout is out of range"));
    }
    valid_timeout(now, ms as i64)
}

fn valid_timeout(now: i64, ms: i64) -> Result<i64, CommandError> {
    match ms {
        _ if ms < 0 => Err(err("ERR timeout is negative")),
        _ if ms > i64::MAX - now => Err(err("ERR timeout is out of range")),
        _ => Ok(ms),
    }
}

/// The argument `numkeys` at `at`, and where the keys end.
pub(super) fn key_count(args: &[&[u8]], at: usize) -> Result<usize, CommandError> {
    let n = int_in(args[at], 1, i64::MAX, Some("ERR numkeys should be greater than 0"))?;
    Ok((n as usize).saturating_add(at + 1))
}

/// Options behind the keys of `LMPOP` and `ZMPOP`: which end (`first` or `last` by name), and how many.
pub(super) fn pop_options(
    args: &[&[u8]],
    at: usize,
    first: &str,
    last: &str,
) -> Result<(bool, usize), CommandError> {
    let Some(end) = args.get(at) else { return Err(SYNTAX) };
    let from_first = match end {
        e if is(e, first) => true,
        e if is(e, last) => false,
        _ => return Err(SYNTAX),
    };
    match args[at + 1..] {
        [] => Ok((from_first, 1)),
        [word, ref rest @ ..] if is(word, "count") && !rest.is_empty() => {
            let text = "ERR count should be greater than 0";
            let n = int_in(rest[0], 1, i64::MAX, Some(text))?;
            if rest.len() > 1 {
                return Err(SYNTAX);
            }
            Ok((from_first, n as usize))
        }
        _ => Err(SYNTAX),
    }
}

/// A range of indexes as commands give it (negative: from the end, both ends included), within `len` elements.
pub(super) fn index_range(start: i64, end: i64, len: usize) -> std::ops::Range<usize> {
    let len = len as i64;
    let from_end = |i: i64| if i < 0 { len.saturating_add(i) } else { i };
    let (start, end) = (from_end(start).max(0), from_end(end).min(len - 1));
    if start > end {
        return 0..0;
    }
    start as usize..end as usize + 1
}

/// An element as a bulk string.
#[inline]
pub(super) fn bulk_item(out: &mut Reply, item: LpItem<'_>) {
    match item {
        LpItem::Str(text) => out.bulk(text),
        LpItem::Int(n) => out.bulk_int(n),
    }
}

/// Places of a random sample of `count` out of `len` elements: ascending and different, or (`repeat`) at random.
/// The caller has seen to it that `count` is less than `len` unless elements may repeat.
pub(super) fn sample(len: usize, count: usize, repeat: bool) -> Vec<usize> {
    let draw = || (random::next() % len as u64) as usize;
    if repeat {
        return (0..count).map(|_| draw()).collect();
    }
    let mut places: Vec<usize> = if count * 3 > len {
        let mut all: Vec<usize> = (0..len).collect();
        for i in 0..count {
            all.swap(i, i + (random::next() % (len - i) as u64) as usize);
        }
        all.truncate(count);
        all
    } else {
        let mut seen = HashSet::new();
        while seen.len() < count {
            seen.insert(draw());
        }
        seen.into_iter().collect()
    };
    places.sort_unstable();
    places
}

/// Options of `SSCAN` and `ZSCAN`.
pub(super) struct ScanOptions<'a> {
    pattern: Option<&'a [u8]>,
    count: u64,
}

impl<'a> ScanOptions<'a> {
    /// The cursor, which is looked at before the key.
    pub fn cursor(args: &[&[u8]]) -> Result<u64, CommandError> {
        parse_u64(args[2]).ok_or(err("ERR invalid cursor"))
    }

    /// The options, which are looked at when the key exists.
    pub fn parse(args: &[&'a [u8]]) -> Result<ScanOptions<'a>, CommandError> {
        let mut o = ScanOptions { pattern: None, count: 10 };
        let mut i = 3;
        while i < args.len() {
            if is(args[i], "novalues") {
                return Err(err("ERR NOVALUES option can only be used in HSCAN"));
            }
            let Some(value) = args.get(i + 1) else { return Err(SYNTAX) };
            if is(args[i], "count") {
                let n = int(value)?;
                if n < 1 {
                    return Err(SYNTAX);
                }
                o.count = n as u64;
            } else if is(args[i], "match") {
                o.pattern = (*value != b"*").then_some(*value);
            } else {
                return Err(SYNTAX);
            }
            i += 2;
        }
        Ok(o)
    }

    /// Whether the pattern lets an element pass.
    pub fn matches(&self, item: LpItem<'_>) -> bool {
        let mut buf = NumBuf::new();
        self.pattern.is_none_or(|p| glob_match(p, item.bytes(&mut buf), false))
    }

    /// Runs steps until enough elements were seen; `step` returns the next cursor and how many it saw.
    pub fn run(&self, mut cursor: u64, mut step: impl FnMut(u64) -> (u64, u64)) -> u64 {
        let (mut seen, mut steps) = (0, self.count.saturating_mul(10));
        loop {
            let (next, n) = step(cursor);
            cursor = next;
            seen += n;
            if cursor == 0 || steps == 0 || seen >= self.count {
                return cursor;
            }
            steps -= 1;
        }
    }
}

/// The reply of a scan whose key does not exist.
pub(super) fn empty_scan(out: &mut Reply) {
    out.array(2);
    out.bulk(b"0");
    out.array(0);
}

/// Stores the result of a command in `key`, or deletes the key when there is no result. `dirty` counts one change.
pub(super) fn store(tx: &mut Tx<'_>, key: &[u8], result: Option<Value>, event: &'static Event) {
    match result {
        Some(value) => {
            tx.expire_if_due(key);
            tx.set(key, value, Expiry::Clear);
            tx.dirty += 1;
            tx.modified(key);
            tx.notify(event, key);
        }
        None => {
            if tx.remove(key) {
                tx.dirty += 1;
                tx.modified(key);
                tx.notify(&event::DEL, key);
            }
        }
    }
}

/// `list-max-listpack-size`
pub(super) fn fill(server: &Server) -> Fill {
    Fill(server.config.list_max_listpack_size() as i32)
}

/// `set-max-*`
pub(super) fn set_limits(server: &Server) -> SetLimits {
    SetLimits {
        max_intset_entries: server.config.set_max_intset_entries(),
        max_listpack_entries: server.config.set_max_listpack_entries(),
        max_listpack_value: server.config.set_max_listpack_value(),
    }
}

/// `zset-max-*`
pub(super) fn zset_limits(server: &Server) -> ZsetLimits {
    ZsetLimits {
        max_listpack_entries: server.config.zset_max_listpack_entries(),
        max_listpack_value: server.config.zset_max_listpack_value(),
    }
}

/// `stream-node-max-*`
pub(super) fn node_limits(server: &Server) -> NodeLimits {
    NodeLimits {
        max_bytes: server.config.stream_node_max_bytes(),
        max_entries: server.config.stream_node_max_entries(),
    }
}

/// Key specifications that many rows share.
pub(super) mod spec {
    use crate::dispatch::table::{counted, key, keys, KeySpec};

    /// One key, only looked at for its size or for whether it has something.
    pub const LOOK: &[KeySpec] = &[keys(key::RO, 1, 1, 1)];
    /// One key, read.
    pub const READ: &[KeySpec] = &[keys(key::RO | key::ACCESS, 1, 1, 1)];
    /// Keys to the end, read.
    pub const READ_ALL: &[KeySpec] = &[keys(key::RO | key::ACCESS, 1, -1, 1)];
    /// Counted keys, read.
    pub const READ_COUNTED: &[KeySpec] = &[counted(key::RO | key::ACCESS, 1)];
    /// One key, to put something in.
    pub const INSERT: &[KeySpec] = &[keys(key::RW | key::INSERT, 1, 1, 1)];
    /// One key, to change.
    pub const UPDATE: &[KeySpec] = &[keys(key::RW | key::UPDATE, 1, 1, 1)];
    /// One key, to take something out.
    pub const DELETE: &[KeySpec] = &[keys(key::RW | key::DELETE, 1, 1, 1)];
    /// One key, to take something out and return it.
    pub const POP: &[KeySpec] = &[keys(key::RW | key::ACCESS | key::DELETE, 1, 1, 1)];
    /// Keys to the argument before the last, likewise.
    pub const POP_ALL: &[KeySpec] = &[keys(key::RW | key::ACCESS | key::DELETE, 1, -2, 1)];
    /// Counted keys, likewise.
    pub const POP_COUNTED: &[KeySpec] = &[counted(key::RW | key::ACCESS | key::DELETE, 1)];
    /// Counted keys behind a timeout, likewise.
    pub const POP_COUNTED_LATE: &[KeySpec] = &[counted(key::RW | key::ACCESS | key::DELETE, 2)];
    /// From the first key to the second.
    pub const MOVE: &[KeySpec] =
        &[keys(key::RW | key::ACCESS | key::DELETE, 1, 1, 1), keys(key::RW | key::INSERT, 2, 2, 1)];
    /// A destination, then keys to the end.
    pub const STORE_ALL: &[KeySpec] =
        &[keys(key::OW | key::UPDATE, 1, 1, 1), keys(key::RO | key::ACCESS, 2, -1, 1)];
    /// A destination, then counted keys.
    pub const STORE_COUNTED: &[KeySpec] =
        &[keys(key::OW | key::UPDATE, 1, 1, 1), counted(key::RO | key::ACCESS, 2)];
    /// A destination and a source.
    pub const STORE_ONE: &[KeySpec] =
        &[keys(key::OW | key::UPDATE, 1, 1, 1), keys(key::RO | key::ACCESS, 2, 2, 1)];
}

/// A row of one of these families; `group` is its ACL category too, unless the caller changes that.
#[allow(clippy::too_many_arguments)]
pub(super) const fn row(
    group: (&'static str, &'static [&'static str]),
    name: &'static str,
    arity: i32,
    flags: u64,
    events: u32,
    keys: &'static [KeySpec],
    since: &'static str,
    summary: &'static str,
    run: Handler,
) -> Row {
    let mut row = Row::new(name, arity, flags, run);
    row.keys = keys;
    row.events = events;
    row.acl = group.1;
    row.group = group.0;
    row.since = since;
    row.summary = summary;
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_indexes() {
        assert_eq!(index_range(0, -1, 3), 0..3);
        assert_eq!(index_range(-2, 10, 3), 1..3);
        assert_eq!(index_range(-10, 0, 3), 0..1);
        assert!(index_range(2, 1, 3).is_empty());
        assert!(index_range(3, 5, 3).is_empty());
        assert!(index_range(0, -4, 3).is_empty());
        assert!(index_range(i64::MIN, i64::MIN, 3).is_empty());
        assert!(index_range(0, -1, 0).is_empty());
    }

    #[test]
    fn samples_are_distinct_unless_asked() {
        for count in [1, 3, 50, 99] {
            let s = sample(100, count, false);
            assert_eq!(s.len(), count);
            assert!(s.windows(2).all(|w| w[0] < w[1]) && s[count - 1] < 100);
        }
        assert_eq!(sample(2, 50, true).len(), 50);
    }

    #[test]
    fn timeouts() {
        assert_eq!(timeout_seconds(0, b"0.0001"), Ok(1));
        assert_eq!(timeout_seconds(0, b"1.5"), Ok(1500));
        assert_eq!(timeout_seconds(0, b"-0.0000001"), Ok(0));
        assert!(timeout_seconds(0, b"-1").is_err());
        assert!(timeout_seconds(0, b"inf").is_err());
        assert!(timeout_seconds(0, b"x").is_err());
        assert!(timeout_ms(1, i64::MAX.to_string().as_bytes()).is_err());
        assert_eq!(timeout_ms(1, b"0"), Ok(0));
    }

    #[test]
    fn options_of_pops() {
        let parse = |a: &[&[u8]]| pop_options(a, 0, "left", "right");
        assert_eq!(parse(&[b"LEFT"]), Ok((true, 1)));
        assert_eq!(parse(&[b"right", b"count", b"7"]), Ok((false, 7)));
        assert!(parse(&[b"left", b"count"]).is_err());
        assert!(parse(&[b"left", b"count", b"1", b"count", b"1"]).is_err());
    }
}
