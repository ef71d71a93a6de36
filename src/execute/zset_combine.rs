//! Sorted sets: unions, intersections and differences, also with plain sets, whose members have the score 1.
use super::collection::{bulk_item, positive, row, spec, store, zset_limits};
use super::error::{err, SYNTAX, WRONGTYPE};
use super::zset::{reply_scored, READS, WRITES, ZSET};
use super::{int, is, CommandError, CommandResult, Tx};
use crate::dispatch::table::{flags, Row};
use crate::keyspace::event::{self, Event};
use crate::keyspace::listpack::LpItem;
use crate::keyspace::number::{parse_f64, NumBuf};
use crate::keyspace::set::Set;
use crate::keyspace::value::{Value, ValueRef};
use crate::keyspace::zset::{SortedSet, ZsetLimits};
use crate::reply::Reply;
use std::collections::HashMap;

/// Nothing stays in a listpack: results are built in the big form and settled at the end.
const UNPACKED: ZsetLimits = ZsetLimits { max_listpack_entries: 0, max_listpack_value: 0 };

#[derive(Clone, Copy, PartialEq, Eq)]
enum Operation {
    Union,
    Intersection,
    Difference,
}

#[derive(Clone, Copy)]
enum Aggregate {
    Sum,
    Min,
    Max,
}

impl Aggregate {
    fn parse(arg: &[u8]) -> Result<Aggregate, CommandError> {
        match arg {
            a if is(a, "sum") => Ok(Aggregate::Sum),
            a if is(a, "min") => Ok(Aggregate::Min),
            a if is(a, "max") => Ok(Aggregate::Max),
            _ => Err(SYNTAX),
        }
    }

    fn apply(self, old: f64, new: f64) -> f64 {
        match self {
            // Infinities of both signs add up to zero.
            Aggregate::Sum if (old + new).is_nan() => 0.0,
            Aggregate::Sum => old + new,
            Aggregate::Min if new < old => new,
            Aggregate::Max if new > old => new,
            Aggregate::Min | Aggregate::Max => old,
        }
    }
}

/// One input.
#[derive(Clone, Copy)]
enum Members<'a> {
    None,
    Set(&'a Set),
    Sorted(&'a SortedSet),
}

#[derive(Clone, Copy)]
struct Source<'a> {
    members: Members<'a>,
    weight: f64,
}

impl<'a> Source<'a> {
    fn open(tx: &'a Tx<'_>, key: &[u8]) -> Result<Source<'a>, CommandError> {
        let members = match tx.get(key) {
            None => Members::None,
            Some(ValueRef::Set(s)) => Members::Set(s),
            Some(ValueRef::Zset(s)) => Members::Sorted(s),
            Some(_) => return Err(WRONGTYPE),
        };
        Ok(Source { members, weight: 1.0 })
    }

    fn len(&self) -> usize {
        match self.members {
            Members::None => 0,
            Members::Set(s) => s.len(),
            Members::Sorted(s) => s.len(),
        }
    }

    /// The score of a member, without the weight.
    fn find(&self, member: LpItem<'_>) -> Option<f64> {
        match self.members {
            Members::None => None,
            Members::Set(s) => s.contains_item(member).then_some(1.0),
            Members::Sorted(s) => s.score(member.bytes(&mut NumBuf::new())),
        }
    }

    /// A weighted score; infinity times zero counts as zero.
    fn weigh(&self, score: f64) -> f64 {
        let weighted = self.weight * score;
        if weighted.is_nan() {
            0.0
        } else {
            weighted
        }
    }

    fn each(&self, mut f: impl FnMut(LpItem<'a>, f64) -> bool) {
        match self.members {
            Members::None => {}
            Members::Set(s) => {
                s.iter().all(|m| f(m, 1.0));
            }
            Members::Sorted(s) => {
                s.iter().all(|(m, score)| f(m, score));
            }
        }
    }
}

/// A command of this family, parsed.
struct Query<'a> {
    operation: Operation,
    sources: Vec<Source<'a>>,
    aggregate: Aggregate,
    with_scores: bool,
    limit: usize,
}

/// What a command's result is for; it decides which options exist.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Reply,
    Store,
    Count,
}

impl<'a> Query<'a> {
    /// Parses `numkeys key ... [options]` from argument `at` on.
    fn parse(
        tx: &'a Tx<'_>,
        command: &str,
        args: &[&[u8]],
        at: usize,
        operation: Operation,
        purpose: Purpose,
    ) -> Result<Query<'a>, CommandError> {
        let count = int(args[at])?;
        if count < 1 {
            return Err(err(format!("ERR at least 1 input key is needed for '{command}' command")));
        }
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        if count > args.len() - at - 1 {
            return Err(SYNTAX);
        }
        let keys = &args[at + 1..at + 1 + count];
        let sources = keys.iter().map(|k| Source::open(tx, k)).collect::<Result<Vec<_>, _>>()?;
        let mut q =
            Query { operation, sources, aggregate: Aggregate::Sum, with_scores: false, limit: 0 };
        let weighable = operation != Operation::Difference && purpose != Purpose::Count;
        let mut options = &args[at + 1 + count..];
        while let [option, rest @ ..] = options {
            options = match option {
                o if weighable && rest.len() >= count && is(o, "weights") => {
                    for (source, text) in q.sources.iter_mut().zip(rest) {
                        source.weight =
                            parse_f64(text).ok_or(err("ERR weight value is not a float"))?;
                    }
                    &rest[count..]
                }
                o if weighable && !rest.is_empty() && is(o, "aggregate") => {
                    q.aggregate = Aggregate::parse(rest[0])?;
                    &rest[1..]
                }
                o if purpose == Purpose::Reply && is(o, "withscores") => {
                    q.with_scores = true;
                    rest
                }
                o if purpose == Purpose::Count && !rest.is_empty() && is(o, "limit") => {
                    q.limit = positive(rest[0], Some("ERR LIMIT can't be negative"))?;
                    &rest[1..]
                }
                _ => return Err(SYNTAX),
            };
        }
        if operation != Operation::Difference {
            q.sources.sort_by_key(Source::len);
        }
        Ok(q)
    }

    /// Hands the members of an intersection to `found`, until that says no.
    fn intersect(&self, mut found: impl FnMut(LpItem<'a>, f64) -> bool) {
        let Some((first, rest)) = self.sources.split_first() else { return };
        first.each(|member, score| {
            let mut total = first.weigh(score);
            for source in rest {
                let Some(score) = source.find(member) else { return true };
                total = self.aggregate.apply(total, score * source.weight);
            }
            found(member, total)
        });
    }

    fn run(&self) -> SortedSet {
        let mut buf = NumBuf::new();
        let mut result = SortedSet::for_size(1, 0, &UNPACKED);
        match self.operation {
            Operation::Intersection => self.intersect(|member, score| {
                result.insert(member.bytes(&mut buf), score, &UNPACKED);
                true
            }),
            Operation::Union => {
                let mut all: HashMap<Vec<u8>, f64> = HashMap::new();
                for source in &self.sources {
                    source.each(|member, score| {
                        let score = source.weigh(score);
                        all.entry(member.to_vec())
                            .and_modify(|old| *old = self.aggregate.apply(*old, score))
                            .or_insert(score);
                        true
                    });
                }
                for (member, score) in all {
                    result.insert(&member, score, &UNPACKED);
                }
            }
            Operation::Difference => {
                let (first, rest) = (&self.sources[0], &self.sources[1..]);
                first.each(|member, score| {
                    if !rest.iter().any(|s| s.find(member).is_some()) {
                        result.insert(member.bytes(&mut buf), score, &UNPACKED);
                    }
                    true
                });
            }
        }
        result
    }
}

fn reply(
    tx: &mut Tx<'_>,
    args: &[&[u8]],
    out: &mut Reply,
    command: &str,
    operation: Operation,
) -> CommandResult {
    let query = Query::parse(tx, command, args, 1, operation, Purpose::Reply)?;
    let result = query.run();
    let nested = out.resp3;
    out.array(if query.with_scores && !nested { 2 * result.len() } else { result.len() });
    for (member, score) in result.iter() {
        match query.with_scores {
            true => reply_scored(out, member, score, nested),
            false => bulk_item(out, member),
        }
    }
    Ok(())
}

fn store_result(
    tx: &mut Tx<'_>,
    args: &[&[u8]],
    out: &mut Reply,
    command: &str,
    operation: Operation,
    event: &'static Event,
) -> CommandResult {
    let mut result = Query::parse(tx, command, args, 2, operation, Purpose::Store)?.run();
    out.int(result.len() as i64);
    result.settle(&zset_limits(tx.server));
    let value = if result.is_empty() { None } else { Some(Value::Zset(Box::new(result))) };
    store(tx, args[1], value, event);
    Ok(())
}

/// `ZUNION numkeys key ... [WEIGHTS weight ...] [AGGREGATE SUM|MIN|MAX] [WITHSCORES]`
fn zunion(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    reply(tx, args, out, "zunion", Operation::Union)
}

/// `ZINTER numkeys key ... [WEIGHTS weight ...] [AGGREGATE SUM|MIN|MAX] [WITHSCORES]`
fn zinter(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    reply(tx, args, out, "zinter", Operation::Intersection)
}

/// `ZDIFF numkeys key ... [WITHSCORES]`
fn zdiff(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    reply(tx, args, out, "zdiff", Operation::Difference)
}

/// `ZUNIONSTORE destination numkeys key ... [WEIGHTS weight ...] [AGGREGATE SUM|MIN|MAX]`
fn zunionstore(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    store_result(tx, args, out, "zunionstore", Operation::Union, &event::ZUNIONSTORE)
}

/// `ZINTERSTORE destination numkeys key ... [WEIGHTS weight ...] [AGGREGATE SUM|MIN|MAX]`
fn zinterstore(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    store_result(tx, args, out, "zinterstore", Operation::Intersection, &event::ZINTERSTORE)
}

/// `ZDIFFSTORE destination numkeys key ...`
fn zdiffstore(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    store_result(tx, args, out, "zdiffstore", Operation::Difference, &event::ZDIFFSTORE)
}

/// `ZINTERCARD numkeys key ... [LIMIT limit]`
fn zintercard(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let query = Query::parse(tx, "zintercard", args, 1, Operation::Intersection, Purpose::Count)?;
    let mut n = 0;
    query.intersect(|_, _| {
        n += 1;
        n != query.limit
    });
    out.int(n as i64);
    Ok(())
}

const RO: u64 = flags::READONLY;
const STORES: u64 = flags::WRITE | flags::DENYOOM;

/// The family's commands.
#[rustfmt::skip]
pub static ROWS: &[Row] = &[
    row(ZSET, "zunion", -3, RO, READS, spec::READ_COUNTED, "6.2.0",
        "Returns the members that any of the sorted sets has.", zunion),
    row(ZSET, "zinter", -3, RO, READS, spec::READ_COUNTED, "6.2.0",
        "Returns the members that all sorted sets have.", zinter),
    row(ZSET, "zdiff", -3, RO, READS, spec::READ_COUNTED, "6.2.0",
        "Returns the first sorted set's members that no other one has.", zdiff),
    row(ZSET, "zunionstore", -4, STORES, WRITES | READS, spec::STORE_COUNTED, "2.0.0",
        "Stores the members that any of the sorted sets has.", zunionstore),
    row(ZSET, "zinterstore", -4, STORES, WRITES | READS, spec::STORE_COUNTED, "2.0.0",
        "Stores the members that all sorted sets have.", zinterstore),
    row(ZSET, "zdiffstore", -4, STORES, WRITES | READS, spec::STORE_COUNTED, "6.2.0",
        "Stores the first sorted set's members that no other one has.", zdiffstore),
    row(ZSET, "zintercard", -3, RO, READS, spec::READ_COUNTED, "7.0.0",
        "Counts the members that all sorted sets have.", zintercard),
];
