//! Strings.
use super::error::{err, invalid_expire, NOT_FLOAT, NOT_INTEGER, SYNTAX, WRONGTYPE};
use super::{int, is, CommandError, CommandResult, Expiry, Tx};
use crate::dispatch::table::{flags, key, keys, noted_key, Handler, KeySpec, Row};
use crate::keyspace::event::{self, class};
use crate::keyspace::number::format_i64;
use crate::keyspace::value::{StrRef, StringValue, Value, ValueMut, ValueRef};
use crate::reply::Reply;
use std::borrow::Cow;

/// `GET key`
fn get(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    reply_value(tx, args[1], out)
}

/// The words with which `SET` and `GETEX` say when a key expires.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unit {
    Ex,
    Px,
    ExAt,
    PxAt,
}

impl Unit {
    fn parse(word: &[u8]) -> Option<Unit> {
        let all = [("ex", Unit::Ex), ("px", Unit::Px), ("exat", Unit::ExAt), ("pxat", Unit::PxAt)];
        all.into_iter().find(|(name, _)| is(word, name)).map(|(_, unit)| unit)
    }

    /// The absolute time in Unix milliseconds that an argument means.
    fn resolve(self, tx: &Tx<'_>, command: &str, arg: &[u8]) -> Result<i64, CommandError> {
        let seconds = matches!(self, Unit::Ex | Unit::ExAt);
        let absolute = matches!(self, Unit::ExAt | Unit::PxAt);
        expire_argument(tx, command, arg, seconds, absolute)
    }
}

/// An absolute expiry in Unix milliseconds from an argument and its unit.
pub(super) fn expire_argument(
    tx: &Tx<'_>,
    command: &str,
    arg: &[u8],
    seconds: bool,
    absolute: bool,
) -> Result<i64, CommandError> {
    let n = int(arg)?;
    if n <= 0 {
        return Err(invalid_expire(command));
    }
    let ms = if seconds { n.checked_mul(1000) } else { Some(n) };
    let at = if absolute { ms } else { ms.and_then(|ms| ms.checked_add(tx.now)) };
    at.ok_or_else(|| invalid_expire(command))
}

/// Answers with the old value of a string (`GET`, `GETSET`, `SET ... GET`).
fn reply_value(tx: &Tx<'_>, key: &[u8], out: &mut Reply) -> CommandResult {
    match tx.string(key)? {
        Some(s) => out.bulk_value(s),
        None => out.null(),
    }
    Ok(())
}

/// `SET key value [NX|XX] [GET] [EX|PX|EXAT|PXAT n | KEEPTTL]`
fn set(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    if args.len() == 3 {
        write(tx, args[1], args[2], Expiry::Clear);
        out.ok();
        return Ok(());
    }
    let (mut nx, mut xx, mut want_old, mut keep) = (false, false, false, false);
    let mut expire = None;
    let mut i = 3;
    while i < args.len() {
        let a = args[i];
        let next = args.get(i + 1).copied();
        if is(a, "nx") && !xx {
            nx = true;
        } else if is(a, "xx") && !nx {
            xx = true;
        } else if is(a, "get") {
            want_old = true;
        } else if is(a, "keepttl") && expire.is_none() {
            keep = true;
        } else if let (Some(unit), Some(next), false) = (Unit::parse(a), next, keep) {
            if expire.is_some_and(|(other, _)| other != unit) {
                return Err(SYNTAX);
            }
            expire = Some((unit, next));
            i += 1;
        } else {
            return Err(SYNTAX);
        }
        i += 1;
    }
    let expiry = match expire {
        Some((unit, arg)) => Expiry::At(unit.resolve(tx, "set", arg)?),
        None if keep => Expiry::Keep,
        None => Expiry::Clear,
    };
    if want_old {
        reply_value(tx, args[1], out)?;
    }
    if (nx || xx) && tx.exists_for_write(args[1]) != xx {
        if !want_old {
            out.null();
        }
        return Ok(());
    }
    write(tx, args[1], args[2], expiry);
    if let Expiry::At(at) = expiry {
        tx.notify(&event::EXPIRE, args[1]);
        // What says the time in this form already goes as it came.
        if !matches!(expire, Some((Unit::PxAt, _))) {
            propagate_expiring(tx, args[1], args[2], at);
        }
    } else if want_old {
        let plain: Vec<&[u8]> = args
            .iter()
            .enumerate()
            .filter(|(i, a)| *i < 3 || !is(a, "get"))
            .map(|x| *x.1)
            .collect();
        tx.propagate_as(&plain);
    }
    if !want_old {
        out.ok();
    }
    Ok(())
}

fn propagate_expiring(tx: &mut Tx<'_>, key: &[u8], value: &[u8], at: i64) {
    tx.propagate_as(&[b"SET", key, value, b"PXAT", &format_i64(at)]);
}

/// Sets a key to a text, with all that follows but the expiry's event.
pub(super) fn write(tx: &mut Tx<'_>, key: &[u8], text: &[u8], expiry: Expiry) {
    tx.set_string(key, text, expiry);
    tx.dirty += 1;
    tx.modified(key);
    tx.notify(&event::SET, key);
}

/// `SETNX key value`
fn setnx(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let absent = !tx.exists_for_write(args[1]);
    if absent {
        write(tx, args[1], args[2], Expiry::Clear);
    }
    out.int(i64::from(absent));
    Ok(())
}

fn set_expiring(
    tx: &mut Tx<'_>,
    args: &[&[u8]],
    out: &mut Reply,
    command: &str,
    seconds: bool,
) -> CommandResult {
    let at = expire_argument(tx, command, args[2], seconds, false)?;
    write(tx, args[1], args[3], Expiry::At(at));
    tx.notify(&event::EXPIRE, args[1]);
    propagate_expiring(tx, args[1], args[3], at);
    out.ok();
    Ok(())
}

/// `SETEX key seconds value`
fn setex(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    set_expiring(tx, args, out, "setex", true)
}

/// `PSETEX key milliseconds value`
fn psetex(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    set_expiring(tx, args, out, "psetex", false)
}

/// `GETSET key value`
fn getset(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    reply_value(tx, args[1], out)?;
    write(tx, args[1], args[2], Expiry::Clear);
    tx.propagate_as(&[b"SET", args[1], args[2]]);
    Ok(())
}

/// `GETDEL key`
fn getdel(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    reply_value(tx, args[1], out)?;
    if tx.remove(args[1]) {
        tx.dirty += 1;
        tx.modified(args[1]);
        tx.notify(&event::DEL, args[1]);
        tx.propagate_as(&[b"DEL", args[1]]);
    }
    Ok(())
}

/// `GETEX key [EX|PX|EXAT|PXAT n | PERSIST]`
fn getex(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let (mut persist, mut expire) = (false, None);
    let mut i = 2;
    while i < args.len() {
        let next = args.get(i + 1).copied();
        if is(args[i], "persist") && expire.is_none() {
            persist = true;
        } else if let (Some(unit), Some(next), false) = (Unit::parse(args[i]), next, persist) {
            if expire.is_some_and(|(other, _)| other != unit) {
                return Err(SYNTAX);
            }
            expire = Some((unit, next));
            i += 1;
        } else {
            return Err(SYNTAX);
        }
        i += 1;
    }
    let key = args[1];
    let Some(value) = tx.string(key)? else {
        out.null();
        return Ok(());
    };
    let expire = match expire {
        Some((unit, arg)) => Some((unit, unit.resolve(tx, "getex", arg)?)),
        None => None,
    };
    out.bulk_value(value);
    match expire {
        Some((Unit::ExAt | Unit::PxAt, at)) if at <= tx.now => {
            let lazily = tx.server.config.lazyfree_lazy_expire();
            tx.remove_with(key, lazily);
            tx.propagate_as(&[super::deletion(lazily), key]);
            tx.dirty += 1;
            tx.modified(key);
            tx.notify(&event::DEL, key);
        }
        Some((_, at)) => {
            tx.set_expire(key, Some(at));
            tx.propagate_as(&[b"PEXPIREAT", key, &format_i64(at)]);
            tx.dirty += 1;
            tx.modified(key);
            tx.notify(&event::EXPIRE, key);
        }
        None if persist && tx.expire_at(key).flatten().is_some() => {
            tx.set_expire(key, None);
            tx.propagate_as(&[b"PERSIST", key]);
            tx.dirty += 1;
            tx.modified(key);
            tx.notify(&event::PERSIST, key);
        }
        None => {}
    }
    Ok(())
}

fn add(tx: &mut Tx<'_>, key: &[u8], by: i64, out: &mut Reply) -> CommandResult {
    let overflow = || err("ERR increment or decrement would overflow");
    let new = if let Some(number) = tx.int_mut(key) {
        *number = number.checked_add(by).ok_or_else(overflow)?;
        *number
    } else {
        let old = match tx.get_mut(key) {
            None => 0,
            Some(ValueMut::String(s)) => s.as_i64().ok_or(NOT_INTEGER)?,
            Some(_) => return Err(WRONGTYPE),
        };
        let new = old.checked_add(by).ok_or_else(overflow)?;
        tx.set_string(key, &format_i64(new), Expiry::Keep);
        new
    };
    tx.dirty += 1;
    tx.modified(key);
    tx.notify(&event::INCRBY, key);
    out.int(new);
    Ok(())
}

/// `INCR key`
fn incr(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    add(tx, args[1], 1, out)
}

/// `DECR key`
fn decr(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    add(tx, args[1], -1, out)
}

/// `INCRBY key increment`
fn incrby(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let by = int(args[2])?;
    add(tx, args[1], by, out)
}

/// `DECRBY key decrement`
fn decrby(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let by = int(args[2])?;
    add(tx, args[1], by.checked_neg().ok_or(err("ERR decrement would overflow"))?, out)
}

unsafe extern "C" {
    fn backplane_ld_add(
        a: *const u8,
        a_len: usize,
        b: *const u8,
        b_len: usize,
        out: *mut u8,
        cap: usize,
    ) -> i32;
    fn backplane_ld_classify(text: *const u8, len: usize) -> i32;
}

/// `BACKPLANE_LD_TEXT`: the longest text of a sum.
const LONG_DOUBLE_TEXT: usize = 5120;

/// Adds two decimal numbers with the precision of a C `long double`. `not_a_float` is the error when `a` is none.
pub(super) fn add_floats(
    a: &[u8],
    b: &[u8],
    not_a_float: &'static str,
) -> Result<Vec<u8>, CommandError> {
    let mut sum = vec![0; LONG_DOUBLE_TEXT];
    // SAFETY: layout: pointers and lengths describe the slices; the sum's text fits.
    let n = unsafe {
        backplane_ld_add(a.as_ptr(), a.len(), b.as_ptr(), b.len(), sum.as_mut_ptr(), sum.len())
    };
    match n {
        -1 => Err(err(not_a_float)),
        -2 => Err(NOT_FLOAT),
        _ if n < 0 => Err(err("ERR increment would produce NaN or Infinity")),
        _ => {
            sum.truncate(n as usize);
            Ok(sum)
        }
    }
}

/// Checks that an argument is a finite number.
pub(super) fn finite_float(arg: &[u8]) -> CommandResult {
    // SAFETY: layout: pointer and length describe the slice.
    match unsafe { backplane_ld_classify(arg.as_ptr(), arg.len()) } {
        0 => Ok(()),
        1 => Err(err("ERR value is NaN or Infinity")),
        _ => Err(NOT_FLOAT),
    }
}

/// `INCRBYFLOAT key increment`
fn incrbyfloat(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let key = args[1];
    let old = match tx.get_mut(key) {
        None => Cow::Borrowed(b"0".as_slice()),
        Some(ValueMut::String(s)) => s.to_cow(),
        Some(_) => return Err(WRONGTYPE),
    };
    let new = add_floats(&old, args[2], "ERR value is not a valid float")?;
    // Not `set_string`: the reference does not store this result as an integer.
    tx.set(key, Value::String(StringValue::Bytes(new.clone())), Expiry::Keep);
    tx.dirty += 1;
    tx.modified(key);
    tx.notify(&event::INCRBYFLOAT, key);
    tx.propagate_as(&[b"SET", key, &new, b"KEEPTTL"]);
    out.bulk(&new);
    Ok(())
}

/// Checks that a string of `len` bytes and `more` may exist.
fn check_length(tx: &Tx<'_>, len: usize, more: usize) -> CommandResult {
    match len.checked_add(more) {
        Some(total) if total <= tx.server.config.proto_max_bulk_len() => Ok(()),
        _ => Err(err("ERR string exceeds maximum allowed size (proto-max-bulk-len)")),
    }
}

/// The length of a string to be changed; `None` if there is no such key.
fn length_for_write(tx: &mut Tx<'_>, key: &[u8]) -> Result<Option<usize>, CommandError> {
    match tx.get_mut(key) {
        None => Ok(None),
        Some(ValueMut::String(s)) => Ok(Some(s.len())),
        Some(_) => Err(WRONGTYPE),
    }
}

/// `APPEND key value`
fn append(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let (key, text) = (args[1], args[2]);
    let old = length_for_write(tx, key)?;
    match old {
        None => tx.set_string(key, text, Expiry::Clear),
        Some(len) => {
            check_length(tx, len, text.len())?;
            tx.string_mut(key)?.extend_from_slice(text);
        }
    }
    tx.dirty += 1;
    tx.modified(key);
    tx.notify(&event::APPEND, key);
    out.int((old.unwrap_or(0) + text.len()) as i64);
    Ok(())
}

/// `SETRANGE key offset value`
fn setrange(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let (key, text) = (args[1], args[3]);
    let offset = usize::try_from(int(args[2])?).map_err(|_| err("ERR offset is out of range"))?;
    let old = length_for_write(tx, key)?;
    if text.is_empty() {
        out.int(old.unwrap_or(0) as i64);
        return Ok(());
    }
    check_length(tx, offset, text.len())?;
    let value = tx.string_mut(key)?;
    let end = offset + text.len();
    if value.len() < end {
        value.resize(end, 0);
    }
    value[offset..end].copy_from_slice(text);
    out.int(value.len() as i64);
    tx.dirty += 1;
    tx.modified(key);
    tx.notify(&event::SETRANGE, key);
    Ok(())
}

/// The part of `len` bytes that inclusive indexes mean, which count from the end when negative.
fn range_of(start: i64, end: i64, len: usize) -> std::ops::Range<usize> {
    let len = len as i64;
    if start < 0 && end < 0 && start > end {
        return 0..0;
    }
    let from_end = |i: i64| if i < 0 { i.saturating_add(len).max(0) } else { i };
    let (start, end) = (from_end(start), from_end(end).min(len - 1));
    if start > end {
        return 0..0;
    }
    start as usize..end as usize + 1
}

/// `GETRANGE key start end` and `SUBSTR`
fn getrange(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let (start, end) = (int(args[2])?, int(args[3])?);
    match tx.string(args[1])? {
        Some(s) => {
            let text = s.to_cow();
            out.bulk(&text[range_of(start, end, text.len())]);
        }
        None => out.bulk(b""),
    }
    Ok(())
}

/// `MSET key value ...`
fn mset(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    if args.len() % 2 == 0 {
        return Err(super::error::arity("mset"));
    }
    for pair in args[1..].chunks_exact(2) {
        write(tx, pair[0], pair[1], Expiry::Clear);
    }
    out.ok();
    Ok(())
}

/// `MSETNX key value ...`
fn msetnx(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    if args.len() % 2 == 0 {
        return Err(super::error::arity("msetnx"));
    }
    let pairs = || args[1..].chunks_exact(2);
    let free = pairs().all(|pair| !tx.exists_for_write(pair[0]));
    if free {
        for pair in pairs() {
            write(tx, pair[0], pair[1], Expiry::Clear);
        }
    }
    out.int(i64::from(free));
    Ok(())
}

/// `MGET key ...`
fn mget(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    out.array(args.len() - 1);
    for k in &args[1..] {
        match tx.get(k) {
            Some(ValueRef::String(s)) => out.bulk_value(s),
            _ => out.null(),
        }
    }
    Ok(())
}

/// `STRLEN key`
fn strlen(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    out.int(tx.string(args[1])?.map_or(0, StrRef::len) as i64);
    Ok(())
}

/// `LCS key1 key2 [LEN] [IDX] [MINMATCHLEN n] [WITHMATCHLEN]`
fn lcs(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let not_strings = err("ERR The specified keys must contain string values");
    let text = |value: Option<ValueRef<'_>>| match value {
        None => Ok(Vec::new()),
        Some(ValueRef::String(s)) => Ok(s.to_cow().into_owned()),
        Some(_) => Err(not_strings.clone()),
    };
    let (a, b) = (tx.get(args[1]), tx.get(args[2]));
    let (a, b) = (text(a)?, text(b)?);
    let (mut len_only, mut indexes, mut with_len, mut min_len) = (false, false, false, 0);
    let mut i = 3;
    while i < args.len() {
        if is(args[i], "idx") {
            indexes = true;
        } else if is(args[i], "len") {
            len_only = true;
        } else if is(args[i], "withmatchlen") {
            with_len = true;
        } else if is(args[i], "minmatchlen") && i + 1 < args.len() {
            min_len = int(args[i + 1])?;
            i += 1;
        } else {
            return Err(SYNTAX);
        }
        i += 1;
    }
    if len_only && indexes {
        return Err(err("ERR If you want both the length and indexes, please just use IDX."));
    }
    if a.len().max(b.len()) >= u32::MAX as usize - 1 {
        return Err(err("ERR String too long for LCS"));
    }
    if super::lcs::table_bytes(a.len(), b.len()) > tx.server.config.proto_max_bulk_len() as u128 {
        return Err(err(
            "ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len",
        ));
    }
    let found = super::lcs::longest_common(&a, &b);
    if indexes {
        let long = |r: &&super::lcs::Match| r.len as i64 >= min_len;
        let shown: Vec<_> = found.matches.iter().filter(long).collect();
        out.map(2);
        out.bulk(b"matches");
        out.array(shown.len());
        for m in shown {
            out.array(if with_len { 3 } else { 2 });
            for start in [m.a, m.b] {
                out.array(2);
                out.int(start as i64);
                out.int((start + m.len - 1) as i64);
            }
            if with_len {
                out.int(m.len as i64);
            }
        }
        out.bulk(b"len");
        out.int(found.text.len() as i64);
    } else if len_only {
        out.int(found.text.len() as i64);
    } else {
        out.bulk(&found.text);
    }
    Ok(())
}

const EVENTS: u32 = class::STRING | class::GENERIC | class::NEW;
const RO: &[KeySpec] = &[keys(key::RO, 1, 1, 1)];
const READ: &[KeySpec] = &[keys(key::RO | key::ACCESS, 1, 1, 1)];
const UPDATE: &[KeySpec] = &[keys(key::RW | key::UPDATE, 1, 1, 1)];
const INSERT: &[KeySpec] = &[keys(key::RW | key::INSERT, 1, 1, 1)];
const ACCESS_UPDATE: &[KeySpec] = &[keys(key::RW | key::ACCESS | key::UPDATE, 1, 1, 1)];
const ACCESS_DELETE: &[KeySpec] = &[keys(key::RW | key::ACCESS | key::DELETE, 1, 1, 1)];
const OVERWRITE: &[KeySpec] = &[keys(key::OW | key::UPDATE, 1, 1, 1)];
const NEW: &[KeySpec] = &[keys(key::OW | key::INSERT, 1, 1, 1)];
const SET: &[KeySpec] = &[noted_key(
    key::RW | key::ACCESS | key::UPDATE | key::VARIABLE_FLAGS,
    1,
    "Read and accessed only with `GET`.",
)];
const GETEX: &[KeySpec] =
    &[noted_key(key::RW | key::ACCESS | key::UPDATE, 1, "Changed only as to its expiry.")];

const fn row(
    name: &'static str,
    arity: i32,
    flags: u64,
    keys: &'static [KeySpec],
    since: &'static str,
    run: Handler,
) -> Row {
    let events = if flags & flags::WRITE != 0 { EVENTS } else { class::KEY_MISS };
    Row {
        keys,
        events,
        acl: &["string"],
        group: "string",
        since,
        ..Row::new(name, arity, flags, run)
    }
}

const FAST: u64 = flags::FAST;
const RD: u64 = flags::READONLY;
const WR: u64 = flags::WRITE | flags::DENYOOM;
/// For writes that read the old value as a reader does.
const MISS: u32 = EVENTS | class::KEY_MISS;

/// The family's commands.
pub static ROWS: &[Row] = &[
    Row {
        summary: "Returns the string value of a key.",
        ..row("get", 2, RD | FAST, READ, "1.0.0", get)
    },
    Row {
        // Only with `GET` does it fire `keymiss`, which is fired to clients but owes modules nothing here.
        summary: "Sets a key to a string, whatever it held before.",
        ..row("set", -3, WR, SET, "1.0.0", set)
    },
    Row {
        summary: "Sets a key to a string if it does not exist.",
        ..row("setnx", 3, WR | FAST, NEW, "1.0.0", setnx)
    },
    Row {
        summary: "Sets a key to a string that expires after some seconds.",
        ..row("setex", 4, WR, OVERWRITE, "2.0.0", setex)
    },
    Row {
        summary: "Sets a key to a string that expires after some milliseconds.",
        ..row("psetex", 4, WR, OVERWRITE, "2.6.0", psetex)
    },
    Row {
        events: MISS,
        summary: "Sets a key to a string and returns what it held before.",
        ..row("getset", 3, WR | FAST, ACCESS_UPDATE, "1.0.0", getset)
    },
    Row {
        events: MISS,
        summary: "Returns a string and deletes its key.",
        ..row("getdel", 2, flags::WRITE | FAST, ACCESS_DELETE, "6.2.0", getdel)
    },
    Row {
        events: MISS,
        summary: "Returns a string and sets or removes its key's expiry.",
        ..row("getex", -2, flags::WRITE | FAST, GETEX, "6.2.0", getex)
    },
    Row {
        summary: "Adds one to the integer value of a key.",
        ..row("incr", 2, WR | FAST, ACCESS_UPDATE, "1.0.0", incr)
    },
    Row {
        summary: "Subtracts one from the integer value of a key.",
        ..row("decr", 2, WR | FAST, ACCESS_UPDATE, "1.0.0", decr)
    },
    Row {
        summary: "Adds to the integer value of a key.",
        ..row("incrby", 3, WR | FAST, ACCESS_UPDATE, "1.0.0", incrby)
    },
    Row {
        summary: "Subtracts from the integer value of a key.",
        ..row("decrby", 3, WR | FAST, ACCESS_UPDATE, "1.0.0", decrby)
    },
    Row {
        summary: "Adds a decimal number to the value of a key.",
        ..row("incrbyfloat", 3, WR | FAST, ACCESS_UPDATE, "2.6.0", incrbyfloat)
    },
    Row {
        summary: "Appends to a string, which is made if it is missing.",
        ..row("append", 3, WR | FAST, INSERT, "2.0.0", append)
    },
    Row {
        summary: "Overwrites a part of a string.",
        ..row("setrange", 4, WR, UPDATE, "2.2.0", setrange)
    },
    Row {
        summary: "Returns a part of a string.",
        ..row("getrange", 4, RD, READ, "2.4.0", getrange)
    },
    Row { summary: "Returns a part of a string.", ..row("substr", 4, RD, READ, "1.0.0", getrange) },
    Row {
        keys: &[keys(key::OW | key::UPDATE, 1, -1, 2)],
        summary: "Sets several keys to strings, all at once.",
        ..row("mset", -3, WR, &[], "1.0.1", mset)
    },
    Row {
        keys: &[keys(key::OW | key::INSERT, 1, -1, 2)],
        summary: "Sets several keys to strings if none of them exists.",
        ..row("msetnx", -3, WR, &[], "1.0.1", msetnx)
    },
    Row {
        keys: &[keys(key::RO | key::ACCESS, 1, -1, 1)],
        summary: "Returns the string values of several keys.",
        ..row("mget", -2, RD | FAST, &[], "1.0.0", mget)
    },
    Row {
        summary: "Returns the length of a string value.",
        ..row("strlen", 2, RD | FAST, RO, "2.2.0", strlen)
    },
    Row {
        keys: &[keys(key::RO | key::ACCESS, 1, 2, 1)],
        summary: "Finds the longest common subsequence of two strings.",
        ..row("lcs", -3, RD, &[], "7.0.0", lcs)
    },
];

#[cfg(test)]
mod tests {
    use super::range_of;

    #[test]
    fn ranges_count_from_both_ends() {
        for (start, end, want) in [
            (0, -1, 0..5),
            (-3, -1, 2..5),
            (1, 2, 1..3),
            (3, 1, 0..0),
            (-1, -3, 0..0),
            (-100, 100, 0..5),
            (5, 10, 0..0),
            (i64::MIN, i64::MAX, 0..5),
            (-2, -100, 0..0),
            (0, -100, 0..1),
        ] {
            assert_eq!(range_of(start, end, 5), want, "{start} {end}");
        }
        assert_eq!(range_of(0, -1, 0), 0..0);
    }
}
