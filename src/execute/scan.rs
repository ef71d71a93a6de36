//! `SCAN` and its options, which `HSCAN`, `SSCAN` and `ZSCAN` share; `KEYS` and `RANDOMKEY`.
use super::error::{err, SYNTAX};
use super::{int, is, CommandError};
use crate::config::glob::glob_match;
use crate::dispatch::table::Row;
use crate::keyspace::number::parse_u64;
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

/// The family's commands.
pub static ROWS: &[Row] = &[];
