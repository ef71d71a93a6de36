//! HyperLogLog: `PFADD`, `PFCOUNT`, `PFMERGE`.
use super::collection::{row, spec};
use super::error::{err, WRONGTYPE};
use super::{is, text, CommandError, CommandResult, Expiry, Tx};
use crate::dispatch::table::{flags, key, keys, Begin, Find, KeySpec, PathRule, Row};
use crate::keyspace::event::{self, class};
use crate::keyspace::hyperloglog::{self, Corrupt, REGISTERS};
use crate::keyspace::value::{StrRef, ValueRef};
use crate::reply::Reply;
use std::borrow::Cow;

impl From<Corrupt> for CommandError {
    fn from(_: Corrupt) -> CommandError {
        err("INVALIDOBJ Corrupted HLL object detected")
    }
}

/// The value of a key, if there is one.
fn look<'t>(tx: &'t Tx<'_>, key: &[u8]) -> Result<Option<&'t [u8]>, CommandError> {
    valid(tx.get(key))
}

/// The same of a key that is about to be changed, which neither hits nor misses.
fn look_to_change<'t>(tx: &'t Tx<'_>, key: &[u8]) -> Result<Option<&'t [u8]>, CommandError> {
    valid(tx.peek(key))
}

fn valid(value: Option<ValueRef<'_>>) -> Result<Option<&[u8]>, CommandError> {
    match value {
        None => Ok(None),
        Some(ValueRef::String(StrRef::Bytes(b))) if hyperloglog::is_valid(b) => Ok(Some(b)),
        Some(ValueRef::String(_)) => {
            Err(err("WRONGTYPE Key is not a valid HyperLogLog string value."))
        }
        Some(_) => Err(WRONGTYPE),
    }
}

/// Makes an empty value if the key is missing. Whether it did.
fn make(tx: &mut Tx<'_>, key: &[u8]) -> Result<bool, CommandError> {
    tx.expire_if_due(key);
    let missing = look_to_change(tx, key)?.is_none();
    if missing {
        tx.set_string(key, &hyperloglog::empty(), Expiry::Clear);
    }
    Ok(missing)
}

/// `PFADD key element ...`
fn pfadd(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let (key, max_sparse) = (args[1], tx.server.config.hll_sparse_max_bytes());
    let mut changes = u64::from(make(tx, key)?);
    let hll = tx.string_mut(key)?;
    for element in &args[2..] {
        changes += u64::from(hyperloglog::add(hll, element, max_sparse)?);
    }
    if changes > 0 {
        hyperloglog::invalidate(hll);
        tx.modified(key);
        tx.notify(&event::PFADD, key);
        tx.dirty += changes;
    }
    out.int(i64::from(changes > 0));
    Ok(())
}

/// `PFCOUNT key ...`
fn pfcount(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    if args.len() > 2 {
        let mut max = [0; REGISTERS];
        for key in &args[1..] {
            if let Some(hll) = look(tx, key)? {
                hyperloglog::merge_into(&mut max, hll)?;
            }
        }
        out.int(hyperloglog::count_registers(&max) as i64);
        return Ok(());
    }
    let key = args[1];
    if look(tx, key)?.is_none() {
        out.int(0);
        return Ok(());
    }
    // The count is kept in the value, for which it moves to the heap: `OBJECT ENCODING` tells.
    let hll = tx.string_mut(key)?;
    if let Some(count) = hyperloglog::cached(hll) {
        out.int(count as i64);
        return Ok(());
    }
    let count = hyperloglog::count(hll)?;
    hyperloglog::set_cached(hll, count);
    tx.modified(key);
    tx.dirty += 1;
    out.int(count as i64);
    Ok(())
}

/// `PFMERGE destination source ...`
fn pfmerge(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let (key, max_sparse) = (args[1], tx.server.config.hll_sparse_max_bytes());
    let (mut max, mut dense) = ([0; REGISTERS], false);
    for key in &args[1..] {
        if let Some(hll) = look(tx, key)? {
            dense |= hyperloglog::is_dense(hll);
            hyperloglog::merge_into(&mut max, hll)?;
        }
    }
    make(tx, key)?;
    let hll = tx.string_mut(key)?;
    if dense {
        hyperloglog::to_dense(hll)?;
    }
    for (i, value) in max.into_iter().enumerate().filter(|(_, value)| *value > 0) {
        hyperloglog::raise(hll, i, value, max_sparse)?;
    }
    hyperloglog::invalidate(hll);
    tx.modified(key);
    tx.notify(&event::PFADD, key);
    tx.dirty += 1;
    out.ok();
    Ok(())
}

/// `PFDEBUG GETREG|DECODE|ENCODING|TODENSE key`
fn pfdebug(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let key = args[2];
    tx.expire_if_due(key);
    if look_to_change(tx, key)?.is_none() {
        return Err(err("ERR The specified key does not exist"));
    }
    // Whatever is asked for, the value becomes one that can be changed in place, seen by `OBJECT ENCODING`.
    let hll = tx.string_mut(key)?;
    let dense = hyperloglog::is_dense(hll);
    match args[1] {
        a if is(a, "getreg") => {
            let registers = hyperloglog::registers(hll)?;
            if !dense {
                hyperloglog::to_dense(hll)?;
                tx.dirty += 1;
            }
            out.array(REGISTERS);
            registers.iter().for_each(|r| out.int(i64::from(*r)));
        }
        a if is(a, "decode") && dense => return Err(err("ERR HLL encoding is not sparse")),
        a if is(a, "decode") => out.bulk_str(&hyperloglog::decode(hll)),
        a if is(a, "encoding") => out.simple(if dense { "dense" } else { "sparse" }),
        a if is(a, "todense") => {
            if !dense {
                hyperloglog::to_dense(hll)?;
                tx.dirty += 1;
            }
            out.int(i64::from(!dense));
        }
        a => return Err(err(format!("ERR Unknown PFDEBUG subcommand '{}'", text(a)))),
    }
    Ok(())
}

/// Elements that `PFSELFTEST` adds.
const TEST_ELEMENTS: u64 = 1_000_000;

/// `PFSELFTEST`: both forms have to agree, and the error has to be within six standard errors.
fn pfselftest(tx: &mut Tx<'_>, _: &[&[u8]], out: &mut Reply) -> CommandResult {
    let max_sparse = tx.server.config.hll_sparse_max_bytes();
    let (mut dense, mut other) = (hyperloglog::empty(), hyperloglog::empty());
    hyperloglog::to_dense(&mut dense)?;
    let seed = crate::observe::random::next();
    let standard_error = 1.04 / (REGISTERS as f64).sqrt();
    let mut checkpoint = 1;
    for n in 1..=TEST_ELEMENTS {
        let element = (n ^ seed).to_le_bytes();
        hyperloglog::add(&mut dense, &element, max_sparse)?;
        hyperloglog::add(&mut other, &element, max_sparse)?;
        if n < checkpoint {
            continue;
        }
        let count = hyperloglog::count(&dense)?;
        if count != hyperloglog::count(&other)? {
            return Err(err("TESTFAILED dense/sparse disagree"));
        }
        let allowed = if n == 10 { 1.0 } else { (standard_error * 6.0 * n as f64).ceil() };
        let off = n.abs_diff(count);
        if off as f64 > allowed {
            return Err(err(format!("TESTFAILED Too big error. card:{n} abserr:{off}")));
        }
        checkpoint *= 10;
    }
    out.ok();
    Ok(())
}

const HLL: (&str, &[&str]) = ("hyperloglog", &["hyperloglog"]);
const EVENTS: u32 = class::STRING | class::GENERIC | class::NEW | class::EXPIRED;
const STORES: u64 = flags::WRITE | flags::DENYOOM;
const COUNT_KEYS: &[KeySpec] = &[KeySpec {
    flags: key::RW | key::ACCESS,
    begin: Begin::Index(1),
    find: Find::Range(-1, 1, 0),
    notes: Some(Cow::Borrowed(
        "RW because it may change the internal representation of the key, and propagate to replicas",
    )),
}];
const MERGE_KEYS: &[KeySpec] =
    &[keys(key::RW | key::ACCESS | key::INSERT, 1, 1, 1), keys(key::RO | key::ACCESS, 2, -1, 1)];
const DEBUG_KEYS: &[KeySpec] = &[keys(key::RW | key::ACCESS, 2, 2, 1)];

/// The family's commands.
#[rustfmt::skip]
pub static ROWS: &[Row] = &[
    row(HLL, "pfadd", -2, STORES | flags::FAST, EVENTS, spec::INSERT, "2.8.9",
        "Adds elements to a HyperLogLog, which is made if the key is missing.", pfadd),
    row(HLL, "pfcount", -2, flags::READONLY | flags::MAY_REPLICATE, EVENTS, COUNT_KEYS, "2.8.9",
        "Estimates the number of elements of HyperLogLogs.", pfcount),
    row(HLL, "pfmerge", -2, STORES, EVENTS, MERGE_KEYS, "2.8.9",
        "Stores the union of HyperLogLogs.", pfmerge),
    row(HLL, "pfdebug", 3, STORES | flags::ADMIN, EVENTS, DEBUG_KEYS, "2.8.9",
        "Tells about the inside of a HyperLogLog.", pfdebug),
    Row {
        path: PathRule::Connection,
        acl: &["hyperloglog"],
        group: "hyperloglog",
        since: "2.8.9",
        summary: "Tests the HyperLogLog implementation.",
        ..Row::new("pfselftest", 1, flags::ADMIN, pfselftest)
    },
];
