//! Strings.
use super::error::{err, invalid_expire, NOT_INTEGER, SYNTAX};
use super::{int, is, CommandError, CommandResult, Expiry, Tx};
use crate::dispatch::table::{flags, key, keys, Row};
use crate::keyspace::event::{self, class};
use crate::keyspace::value::{StrRef, Value, ValueRef};
use crate::reply::Reply;

/// `GET key`
fn get(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    match tx.string(args[1])? {
        Some(s) => out.bulk_value(s),
        None => out.null(),
    }
    Ok(())
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

/// `SET key value [NX|XX] [GET] [EX|PX|EXAT|PXAT n | KEEPTTL]`
fn set(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let (mut nx, mut xx, mut want_old) = (false, false, false);
    let mut expiry = Expiry::Clear;
    let mut i = 3;
    while i < args.len() {
        let a = args[i];
        if is(a, "nx") && !xx {
            nx = true;
        } else if is(a, "xx") && !nx {
            xx = true;
        } else if is(a, "get") {
            want_old = true;
        } else if is(a, "keepttl") && expiry == Expiry::Clear {
            expiry = Expiry::Keep;
        } else if ["ex", "px", "exat", "pxat"].iter().any(|w| is(a, w))
            && expiry == Expiry::Clear
            && i + 1 < args.len()
        {
            let seconds = a[0].eq_ignore_ascii_case(&b'e');
            let at = expire_argument(tx, "set", args[i + 1], seconds, a.len() == 4)?;
            expiry = Expiry::At(at);
            i += 1;
        } else {
            return Err(SYNTAX);
        }
        i += 1;
    }
    if want_old {
        match tx.string(args[1])? {
            Some(s) => out.bulk_value(s),
            None => out.null(),
        }
    }
    if (nx && tx.exists(args[1])) || (xx && !tx.exists(args[1])) {
        if !want_old {
            out.null();
        }
        return Ok(());
    }
    write(tx, args[1], args[2], expiry);
    if let Expiry::At(at) = expiry {
        tx.notify(&event::EXPIRE, args[1]);
        let at = at.to_string();
        tx.propagate_as(&[b"SET", args[1], args[2], b"PXAT", at.as_bytes()]);
    }
    if !want_old {
        out.ok();
    }
    Ok(())
}

/// Sets a key to a text, with all that follows but the expiry's event.
pub(super) fn write(tx: &mut Tx<'_>, key: &[u8], text: &[u8], expiry: Expiry) {
    tx.set_string(key, text, expiry);
    tx.dirty += 1;
    tx.modified(key);
    tx.notify(&event::SET, key);
}

fn add(tx: &mut Tx<'_>, key: &[u8], by: i64, out: &mut Reply) -> CommandResult {
    let old = match tx.get(key) {
        None => 0,
        Some(ValueRef::String(s)) => s.as_i64().ok_or(NOT_INTEGER)?,
        Some(_) => return Err(super::error::WRONGTYPE),
    };
    let new = old.checked_add(by).ok_or(err("ERR increment or decrement would overflow"))?;
    tx.set(key, Value::String(crate::keyspace::value::StringValue::Int(new)), Expiry::Keep);
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

const EVENTS: u32 = class::STRING | class::GENERIC | class::NEW;

/// The family's commands.
pub static ROWS: &[Row] = &[
    Row {
        keys: &[keys(key::RO | key::ACCESS, 1, 1, 1)],
        events: class::KEY_MISS,
        acl: &["string"],
        group: "string",
        summary: "Returns the string value of a key.",
        ..Row::new("get", 2, flags::READONLY | flags::FAST, get)
    },
    Row {
        keys: &[keys(key::RW | key::ACCESS | key::UPDATE | key::VARIABLE_FLAGS, 1, 1, 1)],
        events: EVENTS,
        acl: &["string"],
        group: "string",
        summary: "Sets a key to a string, whatever it held before.",
        ..Row::new("set", -3, flags::WRITE | flags::DENYOOM, set)
    },
    Row {
        keys: &[keys(key::RW | key::ACCESS | key::UPDATE, 1, 1, 1)],
        events: EVENTS,
        acl: &["string"],
        group: "string",
        summary: "Adds one to the integer value of a key.",
        ..Row::new("incr", 2, flags::WRITE | flags::DENYOOM | flags::FAST, incr)
    },
    Row {
        keys: &[keys(key::OW | key::UPDATE, 1, -1, 2)],
        events: EVENTS,
        acl: &["string"],
        group: "string",
        since: "1.0.1",
        summary: "Sets several keys to strings, all at once.",
        ..Row::new("mset", -3, flags::WRITE | flags::DENYOOM, mset)
    },
    Row {
        keys: &[keys(key::RO | key::ACCESS, 1, -1, 1)],
        events: class::KEY_MISS,
        acl: &["string"],
        group: "string",
        summary: "Returns the string values of several keys.",
        ..Row::new("mget", -2, flags::READONLY | flags::FAST, mget)
    },
    Row {
        keys: &[keys(key::RO, 1, 1, 1)],
        acl: &["string"],
        group: "string",
        since: "2.2.0",
        summary: "Returns the length of a string value.",
        ..Row::new("strlen", 2, flags::READONLY | flags::FAST, strlen)
    },
];
