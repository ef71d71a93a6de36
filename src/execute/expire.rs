//! When keys expire.
use super::error::{err, invalid_expire};
use super::{int, is, text, CommandError, CommandResult, Tx};
use crate::dispatch::table::{flags, key, keys, Handler, KeySpec, Row};
use crate::keyspace::event::{self, class};
use crate::keyspace::number::format_i64;
use crate::reply::Reply;

/// The words that make a new expiry depend on the old one.
#[derive(Default)]
struct Conditions {
    nx: bool,
    xx: bool,
    gt: bool,
    lt: bool,
}

impl Conditions {
    fn parse(words: &[&[u8]]) -> Result<Conditions, CommandError> {
        let mut c = Conditions::default();
        for w in words {
            match () {
                () if is(w, "nx") => c.nx = true,
                () if is(w, "xx") => c.xx = true,
                () if is(w, "gt") => c.gt = true,
                () if is(w, "lt") => c.lt = true,
                () => return Err(err(format!("ERR Unsupported option {}", text(w)))),
            }
        }
        if c.nx && (c.xx || c.gt || c.lt) {
            return Err(err("ERR NX and XX, GT or LT options at the same time are not compatible"));
        }
        if c.gt && c.lt {
            return Err(err("ERR GT and LT options at the same time are not compatible"));
        }
        Ok(c)
    }

    /// A key without expiry counts as one that expires after all others.
    fn allow(&self, old: Option<i64>, new: i64) -> bool {
        let nx = !self.nx || old.is_none();
        let xx = !self.xx || old.is_some();
        let gt = !self.gt || old.is_some_and(|old| new > old);
        let lt = !self.lt || old.is_none_or(|old| new < old);
        nx && xx && gt && lt
    }
}

fn expire_generic(
    tx: &mut Tx<'_>,
    args: &[&[u8]],
    out: &mut Reply,
    command: &str,
    seconds: bool,
    absolute: bool,
) -> CommandResult {
    let key = args[1];
    let conditions = Conditions::parse(&args[3..])?;
    let n = int(args[2])?;
    let ms = if seconds { n.checked_mul(1000) } else { Some(n) };
    let base = if absolute { 0 } else { tx.now };
    let at = ms.and_then(|ms| ms.checked_add(base)).ok_or_else(|| invalid_expire(command))?;
    if !tx.exists_for_write(key) || !conditions.allow(tx.expire_at(key).flatten(), at) {
        out.int(0);
        return Ok(());
    }
    if tx.is_past(at) {
        let lazily = tx.server.config.lazyfree_lazy_expire();
        tx.remove_with(key, lazily);
        tx.dirty += 1;
        tx.propagate_as(&[super::deletion(lazily), key]);
        tx.modified(key);
        tx.notify(&event::DEL, key);
    } else {
        tx.set_expire(key, Some(at));
        tx.dirty += 1;
        let time = format_i64(at);
        let mut effect: Vec<&[u8]> = vec![b"PEXPIREAT", key, &time];
        effect.extend(&args[3..]);
        tx.propagate_as(&effect);
        tx.modified(key);
        tx.notify(&event::EXPIRE, key);
    }
    out.int(1);
    Ok(())
}

/// `EXPIRE key seconds [NX|XX|GT|LT]`
fn expire(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    expire_generic(tx, args, out, "expire", true, false)
}

/// `PEXPIRE key milliseconds [NX|XX|GT|LT]`
fn pexpire(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    expire_generic(tx, args, out, "pexpire", false, false)
}

/// `EXPIREAT key seconds [NX|XX|GT|LT]`
fn expireat(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    expire_generic(tx, args, out, "expireat", true, true)
}

/// `PEXPIREAT key milliseconds [NX|XX|GT|LT]`
fn pexpireat(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    expire_generic(tx, args, out, "pexpireat", false, true)
}

fn ask(tx: &Tx<'_>, key: &[u8], out: &mut Reply, show: impl Fn(i64) -> i64) -> CommandResult {
    out.int(match tx.look(key) {
        None => -2,
        Some(e) => e.expire().map_or(-1, show),
    });
    Ok(())
}

/// Milliseconds as seconds, rounded to the nearest.
fn in_seconds(ms: i64) -> i64 {
    (ms.saturating_add(500)) / 1000
}

/// `TTL key`
fn ttl(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let now = tx.now;
    ask(tx, args[1], out, |at| in_seconds((at - now).max(0)))
}

/// `PTTL key`
fn pttl(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let now = tx.now;
    ask(tx, args[1], out, |at| (at - now).max(0))
}

/// `EXPIRETIME key`
fn expiretime(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    ask(tx, args[1], out, in_seconds)
}

/// `PEXPIRETIME key`
fn pexpiretime(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    ask(tx, args[1], out, |at| at)
}

/// `PERSIST key`
fn persist(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let key = args[1];
    let done = tx.exists_for_write(key) && tx.expire_at(key).flatten().is_some();
    if done {
        tx.set_expire(key, None);
        tx.dirty += 1;
        tx.modified(key);
        tx.notify(&event::PERSIST, key);
    }
    out.int(i64::from(done));
    Ok(())
}

const UPDATE: &[KeySpec] = &[keys(key::RW | key::UPDATE, 1, 1, 1)];
const ACCESS: &[KeySpec] = &[keys(key::RO | key::ACCESS, 1, 1, 1)];

const fn row(name: &'static str, arity: i32, since: &'static str, run: Handler) -> Row {
    let write = arity != 2;
    let flags = if write { flags::WRITE } else { flags::READONLY } | flags::FAST;
    Row {
        keys: if write { UPDATE } else { ACCESS },
        events: if write { class::GENERIC } else { class::KEY_MISS },
        acl: &["keyspace"],
        since,
        ..Row::new(name, arity, flags, run)
    }
}

/// The family's commands.
pub static ROWS: &[Row] = &[
    Row { summary: "Makes a key expire after some seconds.", ..row("expire", -3, "1.0.0", expire) },
    Row {
        summary: "Makes a key expire after some milliseconds.",
        ..row("pexpire", -3, "2.6.0", pexpire)
    },
    Row {
        summary: "Makes a key expire at a Unix time in seconds.",
        ..row("expireat", -3, "1.2.0", expireat)
    },
    Row {
        summary: "Makes a key expire at a Unix time in milliseconds.",
        ..row("pexpireat", -3, "2.6.0", pexpireat)
    },
    Row { summary: "Tells for how many seconds a key will live.", ..row("ttl", 2, "1.0.0", ttl) },
    Row {
        summary: "Tells for how many milliseconds a key will live.",
        ..row("pttl", 2, "2.6.0", pttl)
    },
    Row {
        summary: "Tells the Unix time in seconds at which a key expires.",
        ..row("expiretime", 2, "7.0.0", expiretime)
    },
    Row {
        summary: "Tells the Unix time in milliseconds at which a key expires.",
        ..row("pexpiretime", 2, "7.0.0", pexpiretime)
    },
    Row {
        keys: UPDATE,
        events: class::GENERIC,
        acl: &["keyspace"],
        since: "2.2.0",
        summary: "Makes a key stay for ever.",
        ..Row::new("persist", 2, flags::WRITE | flags::FAST, persist)
    },
];
