//! Keys of any type.
use super::blocking::{Form, Needs, Wait};
use super::error::{err, DB_RANGE, NO_SUCH_KEY, SYNTAX};
use super::{is, CommandError, CommandResult, Expiry, Tx};
use crate::dispatch::table::{flags, key, keys, PathRule, Row};
use crate::keyspace::event::{self, class};
use crate::keyspace::value::{StringValue, Value, ValueRef};
use crate::propagate::replica::Awaited;
use crate::reply::Reply;
use crate::server::Server;

/// Deletes keys with all that follows; counts those that were there.
fn delete(tx: &mut Tx<'_>, keys: &[&[u8]], lazily: bool) -> i64 {
    let mut n = 0;
    for k in keys {
        if tx.remove_with(k, lazily) {
            tx.dirty += 1;
            tx.modified(k);
            tx.notify(&event::DEL, k);
            n += 1;
        }
    }
    n
}

/// `DEL key ...`
fn del(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let lazily = tx.server.config.lazyfree_lazy_user_del();
    out.int(delete(tx, &args[1..], lazily));
    Ok(())
}

/// `UNLINK key ...`
fn unlink(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    out.int(delete(tx, &args[1..], true));
    Ok(())
}

/// `EXISTS key ...`
fn exists(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    out.int(args[1..].iter().filter(|k| tx.look(k).is_some()).count() as i64);
    Ok(())
}

/// `TOUCH key ...`
fn touch(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    out.int(args[1..].iter().filter(|k| tx.touch_key(k)).count() as i64);
    Ok(())
}

/// `TYPE key`
fn type_of(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    out.simple(tx.look(args[1]).map_or("none", |e| e.value().type_name()));
    Ok(())
}

/// Tells a module that its value left the key `from`, and now is under `to` in database `db`.
fn module_value_left(tx: &Tx<'_>, from: &[u8], db: usize, to: &[u8]) {
    let entry = tx.entry_in(db, to, crate::lock::held::Access::Write);
    if let Some(ValueRef::Module(m)) = entry.map(|e| e.value()) {
        crate::module::datatype::unlinked(from, tx.db(), m);
    }
}

/// Whether a string is stored as `raw` though it is short enough for `embstr`, which moves with it.
fn is_raw(tx: &Tx<'_>, key: &[u8]) -> bool {
    tx.peek_entry(key).is_some_and(|e| e.is_heap_string())
}

/// Gives a string that was just set the encoding `raw`.
fn make_raw(tx: &mut Tx<'_>, db: usize, key: &[u8]) {
    let here = std::mem::replace(&mut tx.session.db, db);
    // Of a key of another type nothing is made.
    let _ = tx.string_mut(key);
    tx.session.db = here;
}

fn rename_to(tx: &mut Tx<'_>, args: &[&[u8]], nx: bool) -> Result<bool, CommandError> {
    let (from, to) = (args[1], args[2]);
    if !tx.exists_for_write(from) {
        return Err(NO_SUCH_KEY);
    }
    if from == to {
        return Ok(!nx);
    }
    if tx.exists_for_write(to) {
        if nx {
            return Ok(false);
        }
        tx.remove(to);
    }
    let raw = is_raw(tx, from);
    let Some((value, expire)) = tx.take(from) else { return Err(NO_SUCH_KEY) };
    tx.set(to, value, expire.map_or(Expiry::Clear, Expiry::At));
    if raw {
        make_raw(tx, tx.db(), to);
    }
    module_value_left(tx, from, tx.db(), to);
    tx.modified(from);
    tx.modified(to);
    tx.notify(&event::RENAME_FROM, from);
    tx.notify(&event::RENAME_TO, to);
    tx.dirty += 1;
    Ok(true)
}

/// `RENAME key newkey`
fn rename(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    rename_to(tx, args, false)?;
    out.ok();
    Ok(())
}

/// `RENAMENX key newkey`
fn renamenx(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let done = rename_to(tx, args, true)?;
    out.int(i64::from(done));
    Ok(())
}

/// The number of another database.
fn other_db(tx: &Tx<'_>, arg: &[u8]) -> Result<usize, CommandError> {
    let n = super::int_between(arg, i32::MIN.into(), i32::MAX.into())?;
    usize::try_from(n).ok().filter(|n| *n < tx.server.keyspace.dbs().len()).ok_or(DB_RANGE)
}

const SAME_OBJECT: &str = "ERR source and destination objects are the same";

/// `MOVE key db`
fn move_key(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    if tx.server.cluster.enabled() {
        return Err(err("ERR MOVE is not allowed in cluster mode"));
    }
    let name = args[1];
    let to = other_db(tx, args[2])?;
    let from = tx.db();
    if from == to {
        return Err(err(SAME_OBJECT));
    }
    if !tx.exists_for_write(name) || tx.exists_in(to, name) {
        out.int(0);
        return Ok(());
    }
    let raw = is_raw(tx, name);
    let Some((value, expire)) = tx.take(name) else { return Err(NO_SUCH_KEY) };
    tx.set_in(to, name, value, expire.map_or(Expiry::Clear, Expiry::At));
    if raw {
        make_raw(tx, to, name);
    }
    module_value_left(tx, name, to, name);
    tx.modified_in(from, name);
    tx.modified_in(to, name);
    tx.notify_in(from, &event::MOVE_FROM, name);
    tx.notify_in(to, &event::MOVE_TO, name);
    tx.dirty += 1;
    out.int(1);
    Ok(())
}

/// A copy of a value, as another key in another database gets it.
fn copy_of(
    value: ValueRef<'_>,
    from: (&[u8], usize),
    to: (&[u8], usize),
) -> Result<Value, CommandError> {
    Ok(match value {
        ValueRef::String(crate::keyspace::value::StrRef::Int(i)) => {
            Value::String(StringValue::Int(i))
        }
        ValueRef::String(crate::keyspace::value::StrRef::Bytes(b)) => {
            Value::String(StringValue::Bytes(b.to_vec()))
        }
        ValueRef::List(v) => Value::List(Box::new(v.clone())),
        ValueRef::Set(v) => Value::Set(Box::new(v.clone())),
        ValueRef::Hash(v) => Value::Hash(Box::new(v.clone())),
        ValueRef::Zset(v) => Value::Zset(Box::new(v.clone())),
        ValueRef::Stream(v) => Value::Stream(Box::new(v.clone())),
        ValueRef::Module(m) => return copy_module_value(m, from, to),
    })
}

/// Copies a module's value by its type's own method.
fn copy_module_value(
    value: &crate::keyspace::value::ModuleValue,
    from: (&[u8], usize),
    to: (&[u8], usize),
) -> Result<Value, CommandError> {
    use crate::module::datatype::Copied;
    match crate::module::datatype::copy(from, to, value) {
        Copied::Done(copy) => Ok(Value::Module(copy)),
        Copied::Unsupported => Err(err("ERR not supported for this module key")),
        Copied::Failed => Err(err("ERR module key failed to copy")),
    }
}

/// `COPY source destination [DB n] [REPLACE]`
fn copy(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let (from, to) = (args[1], args[2]);
    let (mut db, mut replace) = (tx.db(), false);
    let mut i = 3;
    while i < args.len() {
        if is(args[i], "replace") {
            replace = true;
        } else if is(args[i], "db") && i + 1 < args.len() {
            db = other_db(tx, args[i + 1])?;
            i += 1;
        } else {
            return Err(SYNTAX);
        }
        i += 1;
    }
    if db == tx.db() && from == to {
        return Err(err(SAME_OBJECT));
    }
    if tx.get(from).is_none() {
        out.int(0);
        return Ok(());
    }
    let there = tx.exists_in(db, to);
    if there && !replace {
        out.int(0);
        return Ok(());
    }
    let expire = tx.expire_at(from).flatten();
    let value = match tx.peek(from) {
        Some(v) => copy_of(v, (from, tx.db()), (to, db))?,
        None => return Err(NO_SUCH_KEY),
    };
    if there {
        tx.remove_in(db, to);
    }
    let raw = is_raw(tx, from);
    tx.set_in(db, to, value, expire.map_or(Expiry::Clear, Expiry::At));
    if raw {
        make_raw(tx, db, to);
    }
    tx.modified_in(db, to);
    tx.notify_in(db, &event::COPY_TO, to);
    tx.dirty += 1;
    out.int(1);
    Ok(())
}

/// Answers a `WAITAOF`: whether the log is on the disk up to an offset, and on how many replicas.
pub fn reply_synced(server: &Server, ours: u64, theirs: u64, out: &mut Reply) {
    out.array(2);
    out.int(i64::from(server.aof.synced().is_some_and(|at| at >= ours)));
    out.int(super::replication::replicas_synced_at(server, theirs) as i64);
}

/// `WAITAOF numlocal numreplicas timeout`
fn waitaof(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let local = super::int_between(args[1], 0, 1)?;
    let replicas = super::int(args[2]).ok().filter(|n| *n >= 0);
    let replicas = replicas.ok_or(super::error::NOT_POSITIVE)?;
    let timeout = check_timeout(args[3])?;
    if local > 0 && !tx.server.config.appendonly() {
        return Err(err(
            "ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.",
        ));
    }
    let (server, offset) = (tx.server, tx.session.written);
    let stream = server.log.with_feed(|f| f.offset());
    let synced = local == 0 || server.aof.synced().is_some_and(|at| at >= offset);
    let enough = super::replication::replicas_synced_at(server, stream) as i64 >= replicas;
    if synced && enough || tx.session.deny_blocking {
        reply_synced(server, offset, stream, out);
        return Ok(());
    }
    tx.wait_for(
        Wait {
            keys: Vec::new(),
            needs: Needs::Disk(offset, stream),
            form: Form::Keys(Vec::new()),
            timeout,
            null_is_bulk: false,
        },
        out,
    )?;
    match &tx.session.waiting {
        Some(w) if replicas == 0 => server.aof.wait_for(offset, w.waiter.clone()),
        Some(w) => {
            let ours = (local > 0).then_some(offset);
            let replicas = replicas as usize;
            let waiter = w.waiter.clone();
            super::replication::wait_for(
                server,
                Awaited { replicas, offset: stream, disk: Some(ours), waiter },
            );
        }
        None => {}
    }
    Ok(())
}

/// A timeout in milliseconds that must not be negative.
/// The timeout of `WAIT` and `WAITAOF`, milliseconds.
pub(super) fn check_timeout(arg: &[u8]) -> Result<i64, CommandError> {
    let ms = crate::keyspace::number::parse_i64(arg)
        .ok_or(err("ERR timeout is not an integer or out of range"))?;
    if ms < 0 {
        return Err(err("ERR timeout is negative"));
    }
    if ms.checked_add(crate::observe::clock::now_ms()).is_none() {
        return Err(err("ERR timeout is out of range"));
    }
    Ok(ms)
}

const FAST: u64 = flags::FAST;

/// The family's commands.
pub static ROWS: &[Row] = &[
    Row {
        keys: &[keys(key::RM | key::DELETE, 1, -1, 1)],
        events: class::GENERIC,
        acl: &["keyspace"],
        summary: "Deletes keys.",
        ..Row::new("del", -2, flags::WRITE, del)
    },
    Row {
        keys: &[keys(key::RM | key::DELETE, 1, -1, 1)],
        events: class::GENERIC,
        acl: &["keyspace"],
        since: "4.0.0",
        summary: "Deletes keys and frees large values in the background.",
        ..Row::new("unlink", -2, flags::WRITE | FAST, unlink)
    },
    Row {
        keys: &[keys(key::RO, 1, -1, 1)],
        events: class::KEY_MISS,
        acl: &["keyspace"],
        summary: "Counts how many of the given keys exist.",
        ..Row::new("exists", -2, flags::READONLY | FAST, exists)
    },
    Row {
        keys: &[keys(key::RO, 1, -1, 1)],
        events: class::KEY_MISS,
        acl: &["keyspace"],
        since: "3.2.1",
        summary: "Counts how many of the given keys exist, and marks them as used now.",
        ..Row::new("touch", -2, flags::READONLY | FAST, touch)
    },
    Row {
        keys: &[keys(key::RO, 1, 1, 1)],
        events: class::KEY_MISS,
        acl: &["keyspace"],
        summary: "Returns the type of a key's value.",
        ..Row::new("type", 2, flags::READONLY | FAST, type_of)
    },
    Row {
        keys: &[
            keys(key::RW | key::ACCESS | key::DELETE, 1, 1, 1),
            keys(key::OW | key::UPDATE, 2, 2, 1),
        ],
        events: class::GENERIC | class::NEW,
        acl: &["keyspace"],
        summary: "Gives a key another name, replacing what was there.",
        ..Row::new("rename", 3, flags::WRITE, rename)
    },
    Row {
        keys: &[
            keys(key::RW | key::ACCESS | key::DELETE, 1, 1, 1),
            keys(key::OW | key::INSERT, 2, 2, 1),
        ],
        events: class::GENERIC | class::NEW,
        acl: &["keyspace"],
        summary: "Gives a key another name unless that is taken.",
        ..Row::new("renamenx", 3, flags::WRITE | FAST, renamenx)
    },
    Row {
        keys: &[keys(key::RW | key::ACCESS | key::UPDATE, 1, 1, 1)],
        events: class::GENERIC | class::NEW,
        // The key of the other database cannot be declared.
        path: PathRule::ServerWide,
        acl: &["keyspace"],
        summary: "Moves a key to another database.",
        ..Row::new("move", 3, flags::WRITE | FAST, move_key)
    },
    Row {
        keys: &[keys(key::RO | key::ACCESS, 1, 1, 1), keys(key::OW | key::UPDATE, 2, 2, 1)],
        events: class::GENERIC | class::NEW | class::KEY_MISS,
        // Likewise.
        path: PathRule::ServerWide,
        acl: &["keyspace"],
        since: "6.2.0",
        summary: "Copies a value to another key.",
        ..Row::new("copy", -3, flags::WRITE | flags::DENYOOM | flags::VALUES, copy)
    },
    Row {
        path: PathRule::Connection,
        acl: &["connection"],
        since: "7.2.0",
        summary: "Waits until append-only files have the connection's writes.",
        ..Row::new("waitaof", 4, flags::BLOCKING, waitaof)
    },
];
