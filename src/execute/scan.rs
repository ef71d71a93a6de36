//! `SCAN` and its options, which `HSCAN`, `SSCAN` and `ZSCAN` share; `KEYS` and `RANDOMKEY`.
use super::error::{err, SYNTAX};
use super::handle::ScanPlace;
use super::{int, is, CommandError, CommandResult, Tx};
use crate::config::glob::glob_match;
use crate::dispatch::table::{flags, PathRule, Row};
use crate::keyspace::number::parse_u64;
use crate::keyspace::shard::SHARDS;
use crate::lock::held::Access;
use crate::reply::Reply;

/// What is scanned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum What {
    /// Keys: takes `TYPE`.
    Keys,
    /// A hash: takes `NOVALUES`.
    Hash,
    /// A set or a sorted set.
    Members,
}

/// The options of a scan.
pub struct ScanOptions<'a> {
    /// `MATCH`, unless it matches everything.
    pub pattern: Option<&'a [u8]>,
    /// `COUNT`
    pub count: u64,
    /// `TYPE`
    pub kind: Option<&'a [u8]>,
    /// `NOVALUES`
    pub no_values: bool,
}

/// A cursor argument.
pub fn cursor(arg: &[u8]) -> Result<u64, CommandError> {
    parse_u64(arg).ok_or(err("ERR invalid cursor"))
}

/// The beginning of the reply: the next cursor, and the header of `len` elements.
pub fn reply_header(out: &mut Reply, cursor: u64, len: usize) {
    out.array(2);
    out.bulk(&crate::keyspace::number::format_u64(cursor));
    out.array(len);
}

impl<'a> ScanOptions<'a> {
    /// Parses what follows the cursor.
    pub fn parse(args: &[&'a [u8]], what: What) -> Result<ScanOptions<'a>, CommandError> {
        let mut o = ScanOptions { pattern: None, count: 10, kind: None, no_values: false };
        let mut i = 0;
        while i < args.len() {
            let value = args.get(i + 1).copied();
            match value {
                Some(v) if is(args[i], "count") => {
                    let n = int(v)?;
                    o.count = u64::try_from(n).ok().filter(|n| *n > 0).ok_or(SYNTAX)?;
                    i += 2;
                }
                Some(v) if is(args[i], "match") => {
                    o.pattern = (v != b"*").then_some(v);
                    i += 2;
                }
                Some(v) if is(args[i], "type") && what == What::Keys => {
                    o.kind = Some(v);
                    i += 2;
                }
                _ if is(args[i], "novalues") => {
                    if what != What::Hash {
                        return Err(err("ERR NOVALUES option can only be used in HSCAN"));
                    }
                    o.no_values = true;
                    i += 1;
                }
                _ => return Err(SYNTAX),
            }
        }
        Ok(o)
    }

    /// Whether a name passes the pattern.
    pub fn matches(&self, name: &[u8]) -> bool {
        self.pattern.is_none_or(|p| glob_match(p, name, false))
    }

    /// Repeats `step` (which takes a cursor, counts what it visits and returns the next cursor) until it has visited
    /// enough or looked at too many empty places; returns the cursor to go on from, 0 at the end.
    pub fn run(&self, mut at: u64, mut step: impl FnMut(u64, &mut u64) -> u64) -> u64 {
        let mut sampled = 0;
        let mut steps = self.count.saturating_mul(10);
        loop {
            at = step(at, &mut sampled);
            if at == 0 || steps == 0 || sampled >= self.count {
                return at;
            }
            steps -= 1;
        }
    }
}

/// A scan's place as a cursor for clients: the table's own cursor, then the shard.
fn encode(place: ScanPlace) -> u64 {
    if place.shard >= SHARDS {
        0
    } else {
        place.cursor * SHARDS as u64 + place.shard as u64
    }
}

fn decode(cursor: u64) -> ScanPlace {
    let shards = SHARDS as u64;
    ScanPlace { shard: (cursor % shards) as usize, cursor: cursor / shards }
}

/// `SCAN cursor [MATCH pattern] [COUNT n] [TYPE type]`
fn scan(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let at = cursor(args[1])?;
    let options = ScanOptions::parse(&args[2..], What::Keys)?;
    let (tx, mut found) = (&*tx, Vec::new());
    let mut items = Reply::new(out.resp3);
    let mut number = 0;
    let at = options.run(at, |at, sampled| {
        found.clear();
        let next = tx.scan_step(tx.db(), decode(at), &mut found);
        *sampled += found.len() as u64;
        for e in &found {
            let of_type = |t: &[u8]| t.eq_ignore_ascii_case(e.value().type_name().as_bytes());
            if !options.matches(e.key()) {
                continue;
            }
            if e.is_expired(tx.now) {
                tx.lapsed.key(tx.db(), e.key());
            } else if options.kind.is_none_or(of_type) {
                items.bulk(e.key());
                number += 1;
            }
        }
        encode(next)
    });
    reply_header(out, at, number);
    out.raw(&items.buf);
    Ok(())
}

/// `KEYS pattern`
fn keys_command(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let (pattern, now) = (args[1], tx.now);
    let header = out.deferred();
    let mut n = 0;
    tx.for_each_entry(tx.db(), Access::Read, |e| {
        if (pattern == b"*" || glob_match(pattern, e.key(), false)) && !e.is_expired(now) {
            out.bulk(e.key());
            n += 1;
        }
        !out.full()
    });
    out.fill_array(header, n);
    Ok(())
}

/// `RANDOMKEY`
fn randomkey(tx: &mut Tx<'_>, _: &[&[u8]], out: &mut Reply) -> CommandResult {
    /// With only expired keys left there may be none to find.
    const TRIES: usize = 100;
    for _ in 0..TRIES {
        match tx.random_key() {
            None => break,
            Some(key) if tx.exists(&key) => {
                out.bulk(&key);
                return Ok(());
            }
            Some(_) => {}
        }
    }
    match tx.all_keys(tx.db()).first() {
        Some(key) => out.bulk(key),
        None => out.null(),
    }
    Ok(())
}

/// The family's commands.
pub static ROWS: &[Row] = &[
    Row {
        path: PathRule::ServerWide,
        acl: &["keyspace"],
        since: "2.8.0",
        summary: "Walks through the keys of a database, some at a time.",
        ..Row::new("scan", -2, flags::READONLY, scan)
    },
    Row {
        path: PathRule::ServerWide,
        acl: &["keyspace", "dangerous"],
        summary: "Returns all keys that match a pattern.",
        ..Row::new("keys", 2, flags::READONLY, keys_command)
    },
    Row {
        path: PathRule::ServerWide,
        acl: &["keyspace"],
        summary: "Returns a random key.",
        ..Row::new("randomkey", 1, flags::READONLY, randomkey)
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_carry_the_shard() {
        for place in [
            ScanPlace { shard: 0, cursor: 1 },
            ScanPlace { shard: 1023, cursor: 0 },
            ScanPlace { shard: 7, cursor: 1 << 40 },
        ] {
            assert_eq!(decode(encode(place)), place);
        }
        assert_eq!(encode(ScanPlace { shard: SHARDS, cursor: 0 }), 0);
        assert_eq!(decode(0), ScanPlace { shard: 0, cursor: 0 });
    }

    #[test]
    fn options_of_scans() {
        let parse = |args: &[&'static [u8]], what| ScanOptions::parse(args, what);
        let o = parse(&[b"match", b"a*", b"COUNT", b"3", b"type", b"hash"], What::Keys);
        let o = o.ok().unwrap();
        assert_eq!((o.pattern, o.count, o.kind), (Some(&b"a*"[..]), 3, Some(&b"hash"[..])));
        assert!(o.matches(b"ab") && !o.matches(b"b"));
        assert_eq!(parse(&[b"type", b"hash"], What::Members).err(), Some(SYNTAX));
        assert_eq!(parse(&[b"count", b"0"], What::Keys).err(), Some(SYNTAX));
        assert!(parse(&[b"novalues"], What::Hash).is_ok_and(|o| o.no_values));
        assert!(parse(&[b"novalues"], What::Keys).is_err());
    }
}
