//! Sorted sets: ranges by rank, score and member.
use super::collection::{bulk_item, index_range, row, spec, store, zset_limits};
use super::error::{err, SYNTAX};
use super::zset::{reply_scored, READS, REMOVES, RO_FAST, WRITES, ZSET};
use super::{int, is, CommandError, CommandResult, Tx};
use crate::dispatch::table::{flags, Row};
use crate::keyspace::event::{self, Event};
use crate::keyspace::listpack::LpItem;
use crate::keyspace::number::NumBuf;
use crate::keyspace::value::Value;
use crate::keyspace::zset::{LexRange, ScoreRange, SortedSet};
use crate::reply::Reply;
use std::ops::Range;

/// What a range is made of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    Rank,
    Score,
    Lex,
}

/// A range as a command gives it.
enum Bounds<'a> {
    Rank(i64, i64),
    Score(ScoreRange),
    Lex(LexRange<'a>),
}

impl<'a> Bounds<'a> {
    fn parse(by: By, min: &'a [u8], max: &'a [u8]) -> Result<Bounds<'a>, CommandError> {
        Ok(match by {
            By::Rank => Bounds::Rank(int(min)?, int(max)?),
            By::Score => Bounds::Score(
                ScoreRange::parse(min, max).ok_or(err("ERR min or max is not a float"))?,
            ),
            By::Lex => Bounds::Lex(
                LexRange::parse(min, max)
                    .ok_or(err("ERR min or max not valid string range item"))?,
            ),
        })
    }

    /// The ranks in the range, counted from the lowest score.
    fn ranks(&self, set: &SortedSet) -> Range<usize> {
        match self {
            Bounds::Rank(start, stop) => index_range(*start, *stop, set.len()),
            Bounds::Score(range) => set.range_by_score(range),
            Bounds::Lex(range) => set.range_by_lex(range),
        }
    }
}

/// `ZRANGE` and its relatives, parsed.
struct Query<'a> {
    key: &'a [u8],
    bounds: Bounds<'a>,
    reverse: bool,
    with_scores: bool,
    offset: i64,
    limit: i64,
}

impl<'a> Query<'a> {
    /// Parses `key min max [options]`. `by` and `reverse` are settled by the older commands' names.
    fn parse(
        args: &[&'a [u8]],
        store: bool,
        by: Option<By>,
        reverse: Option<bool>,
    ) -> Result<Query<'a>, CommandError> {
        let (mut chosen_by, mut chosen_reverse) = (by, reverse);
        let (mut with_scores, mut offset, mut limit) = (false, 0, -1);
        let mut i = 3;
        while i < args.len() {
            match args[i] {
                a if !store && is(a, "withscores") => with_scores = true,
                a if is(a, "limit") && i + 2 < args.len() => {
                    (offset, limit) = (int(args[i + 1])?, int(args[i + 2])?);
                    i += 2;
                }
                a if chosen_reverse.is_none() && is(a, "rev") => chosen_reverse = Some(true),
                a if chosen_by.is_none() && is(a, "bylex") => chosen_by = Some(By::Lex),
                a if chosen_by.is_none() && is(a, "byscore") => chosen_by = Some(By::Score),
                _ => return Err(SYNTAX),
            }
            i += 1;
        }
        let by = chosen_by.unwrap_or(By::Rank);
        let reverse = chosen_reverse.unwrap_or(false);
        if limit != -1 && by == By::Rank {
            return Err(err(
                "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX",
            ));
        }
        if with_scores && by == By::Lex {
            return Err(err(
                "ERR syntax error, WITHSCORES not supported in combination with BYLEX",
            ));
        }
        let (min, max) =
            if reverse && by != By::Rank { (args[2], args[1]) } else { (args[1], args[2]) };
        let bounds = Bounds::parse(by, min, max)?;
        Ok(Query { key: args[0], bounds, reverse, with_scores, offset, limit })
    }

    /// The ranks that the query selects. For a reversed one they are to be read from the end.
    fn ranks(&self, set: &SortedSet) -> Range<usize> {
        let ranks = self.bounds.ranks(set);
        if let Bounds::Rank(..) = self.bounds {
            // The indexes of a reversed query count from the highest score.
            return match self.reverse {
                true if !ranks.is_empty() => set.len() - ranks.end..set.len() - ranks.start,
                _ => ranks,
            };
        }
        let Some(skip) = self.skipped(set, ranks.len()) else { return 0..0 };
        let n = usize::try_from(self.limit).unwrap_or(usize::MAX).min(ranks.len() - skip);
        match self.reverse {
            false => ranks.start + skip..ranks.start + skip + n,
            true => ranks.end - skip - n..ranks.end - skip,
        }
    }

    /// How many members of a range of `len` are left out by the offset; `None` when nothing is left. A negative offset
    /// selects nothing in a listpack and counts from the range's other end in the big form, as on Redis.
    fn skipped(&self, set: &SortedSet, len: usize) -> Option<usize> {
        if self.offset > 0 && self.offset as u64 >= set.len() as u64 {
            return None;
        }
        let skip = match usize::try_from(self.offset) {
            Ok(n) => n,
            Err(_) if set.as_listpack().is_some() => return None,
            Err(_) => len.checked_sub(usize::try_from(self.offset.unsigned_abs()).ok()?)?,
        };
        (skip < len).then_some(skip)
    }

    fn run<'t>(&self, set: &'t SortedSet) -> impl ExactSizeIterator<Item = (LpItem<'t>, f64)> + 't {
        let ranks = self.ranks(set);
        let n = ranks.len();
        Counted(set.iter_range(ranks, self.reverse), n)
    }

    fn reply(&self, tx: &Tx<'_>, out: &mut Reply) -> CommandResult {
        let Some(set) = tx.zset(self.key)? else {
            out.array(0);
            return Ok(());
        };
        let found = self.run(set);
        let nested = out.resp3;
        out.array(if self.with_scores && !nested { 2 * found.len() } else { found.len() });
        for (member, score) in found {
            match self.with_scores {
                true => reply_scored(out, member, score, nested),
                false => bulk_item(out, member),
            }
        }
        Ok(())
    }
}

/// An iterator whose length is known.
struct Counted<I>(I, usize);

impl<I: Iterator> Iterator for Counted<I> {
    type Item = I::Item;

    fn next(&mut self) -> Option<I::Item> {
        self.1 = self.1.saturating_sub(1);
        self.0.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.1, Some(self.1))
    }
}

impl<I: Iterator> ExactSizeIterator for Counted<I> {}

/// `ZRANGE key start stop [BYSCORE|BYLEX] [REV] [LIMIT offset count] [WITHSCORES]`
fn zrange(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    Query::parse(&args[1..], false, None, None)?.reply(tx, out)
}

/// `ZREVRANGE key start stop [WITHSCORES]`
fn zrevrange(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    Query::parse(&args[1..], false, Some(By::Rank), Some(true))?.reply(tx, out)
}

/// `ZRANGEBYSCORE key min max [WITHSCORES] [LIMIT offset count]`
fn zrangebyscore(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    Query::parse(&args[1..], false, Some(By::Score), Some(false))?.reply(tx, out)
}

/// `ZREVRANGEBYSCORE key max min [WITHSCORES] [LIMIT offset count]`
fn zrevrangebyscore(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    Query::parse(&args[1..], false, Some(By::Score), Some(true))?.reply(tx, out)
}

/// `ZRANGEBYLEX key min max [LIMIT offset count]`
fn zrangebylex(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    Query::parse(&args[1..], false, Some(By::Lex), Some(false))?.reply(tx, out)
}

/// `ZREVRANGEBYLEX key max min [LIMIT offset count]`
fn zrevrangebylex(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    Query::parse(&args[1..], false, Some(By::Lex), Some(true))?.reply(tx, out)
}

/// `ZRANGESTORE destination source start stop [BYSCORE|BYLEX] [REV] [LIMIT offset count]`
fn zrangestore(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let query = Query::parse(&args[2..], true, None, None)?;
    let limits = zset_limits(tx.server);
    let result = tx.zset(query.key)?.map(|set| {
        let found = query.run(set);
        let known = if let Bounds::Rank(..) = query.bounds { found.len() } else { 0 };
        let mut result = SortedSet::for_size(known, 0, &limits);
        let mut buf = NumBuf::new();
        for (member, score) in found {
            result.insert(member.bytes(&mut buf), score, &limits);
        }
        result
    });
    let result = result.filter(|r| !r.is_empty());
    out.int(result.as_ref().map_or(0, SortedSet::len) as i64);
    store(tx, args[1], result.map(|r| Value::Zset(Box::new(r))), &event::ZRANGESTORE);
    Ok(())
}

fn count(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply, by: By) -> CommandResult {
    let bounds = Bounds::parse(by, args[2], args[3])?;
    out.int(tx.zset(args[1])?.map_or(0, |s| bounds.ranks(s).len()) as i64);
    Ok(())
}

/// `ZCOUNT key min max`
fn zcount(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    count(tx, args, out, By::Score)
}

/// `ZLEXCOUNT key min max`
fn zlexcount(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    count(tx, args, out, By::Lex)
}

fn remove(
    tx: &mut Tx<'_>,
    args: &[&[u8]],
    out: &mut Reply,
    by: By,
    event: &'static Event,
) -> CommandResult {
    let bounds = Bounds::parse(by, args[2], args[3])?;
    let key = args[1];
    let removed = match tx.zset_mut(key)? {
        Some(set) => {
            let ranks = bounds.ranks(set);
            set.remove_range(ranks, |_, _| {})
        }
        None => 0,
    };
    if removed > 0 {
        tx.modified(key);
        tx.notify(event, key);
        tx.delete_if_empty(key);
        tx.dirty += removed as u64;
    }
    out.int(removed as i64);
    Ok(())
}

/// `ZREMRANGEBYRANK key start stop`
fn zremrangebyrank(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    remove(tx, args, out, By::Rank, &event::ZREMBYRANK)
}

/// `ZREMRANGEBYSCORE key min max`
fn zremrangebyscore(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    remove(tx, args, out, By::Score, &event::ZREMBYSCORE)
}

/// `ZREMRANGEBYLEX key min max`
fn zremrangebylex(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    remove(tx, args, out, By::Lex, &event::ZREMBYLEX)
}

const RO: u64 = flags::READONLY;

/// The family's commands.
#[rustfmt::skip]
pub static ROWS: &[Row] = &[
    row(ZSET, "zrange", -4, RO, READS, spec::READ, "1.2.0",
        "Returns members in a range of ranks, scores or members.", zrange),
    row(ZSET, "zrevrange", -4, RO, READS, spec::READ, "1.2.0",
        "Returns members in a range of ranks counted from the highest score.", zrevrange),
    row(ZSET, "zrangebyscore", -4, RO, READS, spec::READ, "1.0.5",
        "Returns members in a range of scores.", zrangebyscore),
    row(ZSET, "zrevrangebyscore", -4, RO, READS, spec::READ, "2.2.0",
        "Returns members in a range of scores, the highest first.", zrevrangebyscore),
    row(ZSET, "zrangebylex", -4, RO, READS, spec::READ, "2.8.9",
        "Returns members in a range of members.", zrangebylex),
    row(ZSET, "zrevrangebylex", -4, RO, READS, spec::READ, "2.8.9",
        "Returns members in a range of members, the last first.", zrevrangebylex),
    row(ZSET, "zrangestore", -5, flags::WRITE | flags::DENYOOM, WRITES | READS, spec::STORE_ONE, "6.2.0",
        "Stores members in a range.", zrangestore),
    row(ZSET, "zcount", 4, RO_FAST, READS, spec::READ, "2.0.0",
        "Counts members in a range of scores.", zcount),
    row(ZSET, "zlexcount", 4, RO_FAST, READS, spec::READ, "2.8.9",
        "Counts members in a range of members.", zlexcount),
    row(ZSET, "zremrangebyrank", 4, flags::WRITE, REMOVES, spec::DELETE, "2.0.0",
        "Removes members in a range of ranks.", zremrangebyrank),
    row(ZSET, "zremrangebyscore", 4, flags::WRITE, REMOVES, spec::DELETE, "1.2.0",
        "Removes members in a range of scores.", zremrangebyscore),
    row(ZSET, "zremrangebylex", 4, flags::WRITE, REMOVES, spec::DELETE, "2.8.9",
        "Removes members in a range of members.", zremrangebylex),
];
