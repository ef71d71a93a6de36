//! Lists.
use super::blocking::{Form, Needs, Wait};
use super::collection::{
    bulk_item, fill, index_range, int_in, key_count, pop_options, positive, row, spec,
    timeout_seconds,
};
use super::error::{arity, err, INDEX_RANGE, NO_SUCH_KEY, SYNTAX, WRONGTYPE};
use super::{int, is, CommandError, CommandResult, Tx};
use crate::dispatch::table::{flags, Row};
use crate::keyspace::event::{self, class, Event};
use crate::keyspace::list::List;
use crate::keyspace::value::{Value, ValueMut};
use crate::reply::Reply;

/// An end of a list.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The head.
    Left,
    /// The tail.
    Right,
}

impl End {
    fn parse(arg: &[u8]) -> Result<End, CommandError> {
        match arg {
            a if is(a, "left") => Ok(End::Left),
            a if is(a, "right") => Ok(End::Right),
            _ => Err(SYNTAX),
        }
    }

    fn push_event(self) -> &'static Event {
        match self {
            End::Left => &event::LPUSH,
            End::Right => &event::RPUSH,
        }
    }

    fn pop_event(self) -> &'static Event {
        match self {
            End::Left => &event::LPOP,
            End::Right => &event::RPOP,
        }
    }

    fn pop_command(self) -> &'static [u8] {
        match self {
            End::Left => b"LPOP",
            End::Right => b"RPOP",
        }
    }
}

fn empty_list() -> Value {
    Value::List(Box::default())
}

fn push(
    tx: &mut Tx<'_>,
    args: &[&[u8]],
    out: &mut Reply,
    end: End,
    only_existing: bool,
) -> CommandResult {
    let (key, values) = (args[1], &args[2..]);
    let fill = fill(tx.server);
    if only_existing && tx.list_mut(key)?.is_none() {
        out.int(0);
        return Ok(());
    }
    let ValueMut::List(list) = tx.get_or_create(key, empty_list) else { return Err(WRONGTYPE) };
    match end {
        End::Left => list.push_front(values, fill),
        End::Right => list.push_back(values, fill),
    }
    out.int(list.len() as i64);
    tx.dirty += values.len() as u64;
    tx.modified(key);
    tx.notify(end.push_event(), key);
    Ok(())
}

/// `LPUSH key element ...`
fn lpush(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    push(tx, args, out, End::Left, false)
}

/// `RPUSH key element ...`
fn rpush(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    push(tx, args, out, End::Right, false)
}

/// `LPUSHX key element ...`
fn lpushx(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    push(tx, args, out, End::Left, true)
}

/// `RPUSHX key element ...`
fn rpushx(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    push(tx, args, out, End::Right, true)
}

fn pop_one(list: &mut List, end: End, fill: crate::keyspace::list::Fill) -> Option<Vec<u8>> {
    match end {
        End::Left => list.pop_front(fill),
        End::Right => list.pop_back(fill),
    }
}

/// What follows from `n` removed elements.
fn popped(tx: &mut Tx<'_>, key: &[u8], end: End, n: usize) {
    tx.notify(end.pop_event(), key);
    tx.delete_if_empty(key);
    tx.modified(key);
    tx.dirty += n as u64;
}

/// Pops up to `count` elements of a list that exists into the reply. Returns how many.
fn pop_many(
    tx: &mut Tx<'_>,
    key: &[u8],
    end: End,
    count: usize,
    out: &mut Reply,
) -> Result<usize, CommandError> {
    let fill = fill(tx.server);
    let Some(list) = tx.list_mut(key)? else { return Ok(0) };
    let len = list.len();
    let n = count.min(len);
    out.array(n);
    let from = if end == End::Left { 0 } else { len.saturating_sub(1) };
    list.iter_from(from, end == End::Right).take(n).for_each(|e| bulk_item(out, e));
    list.delete_range(if end == End::Left { 0 } else { len - n }, n, fill);
    popped(tx, key, end, n);
    Ok(n)
}

fn pop(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply, end: End) -> CommandResult {
    let key = args[1];
    let count = match args.len() {
        2 => None,
        3 => Some(positive(args[2], None)?),
        _ => return Err(arity(if end == End::Left { "lpop" } else { "rpop" })),
    };
    let fill = fill(tx.server);
    match (tx.list_mut(key)?, count) {
        (None, None) => out.null(),
        (None, Some(_)) => out.null_array(),
        (Some(_), Some(0)) => out.array(0),
        (Some(_), Some(count)) => {
            pop_many(tx, key, end, count, out)?;
        }
        (Some(list), None) => {
            if let Some(value) = pop_one(list, end, fill) {
                out.bulk(&value);
                popped(tx, key, end, 1);
            }
        }
    }
    Ok(())
}

/// `LPOP key [count]`
fn lpop(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    pop(tx, args, out, End::Left)
}

/// `RPOP key [count]`
fn rpop(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    pop(tx, args, out, End::Right)
}

/// Pops from the first of these lists that exists, with its key. False when there is none.
fn pop_first(
    tx: &mut Tx<'_>,
    keys: &[&[u8]],
    end: End,
    count: usize,
    out: &mut Reply,
) -> Result<bool, CommandError> {
    for key in keys {
        if tx.list_mut(key)?.is_some() {
            out.array(2);
            out.bulk(key);
            let n = pop_many(tx, key, end, count, out)?;
            tx.propagate_as(&[end.pop_command(), key, n.to_string().as_bytes()]);
            return Ok(true);
        }
    }
    Ok(false)
}

/// `LMPOP numkeys key ... LEFT|RIGHT [COUNT count]`
fn lmpop(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let end = key_count(args, 1)?;
    let (left, count) = pop_options(args, end, "left", "right")?;
    let side = if left { End::Left } else { End::Right };
    if !pop_first(tx, &args[2..end], side, count, out)? {
        out.null_array();
    }
    Ok(())
}

/// `LLEN key`
fn llen(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    out.int(tx.list(args[1])?.map_or(0, List::len) as i64);
    Ok(())
}

/// The place that an index means, which may be negative.
fn place(index: i64, len: usize) -> Option<usize> {
    let index = if index < 0 { index.checked_add(len as i64)? } else { index };
    usize::try_from(index).ok().filter(|i| *i < len)
}

/// `LINDEX key index`
fn lindex(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let Some(list) = tx.list(args[1])? else {
        out.null();
        return Ok(());
    };
    match place(int(args[2])?, list.len()).and_then(|i| list.get(i)) {
        Some(e) => bulk_item(out, e),
        None => out.null(),
    }
    Ok(())
}

/// `LSET key index element`
fn lset(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let (key, fill) = (args[1], fill(tx.server));
    let list = tx.list_mut(key)?.ok_or(NO_SUCH_KEY)?;
    // Redis keeps the lower half of the index only.
    let index = place((int(args[2])? as i32).into(), list.len()).unwrap_or(usize::MAX);
    // A value too big for the list's form changes it even when the index is out of range, as on Redis.
    if !list.set(index, args[3], fill) {
        return Err(INDEX_RANGE);
    }
    out.ok();
    tx.modified(key);
    tx.notify(&event::LSET, key);
    tx.dirty += 1;
    Ok(())
}

/// `LINSERT key BEFORE|AFTER pivot element`
fn linsert(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let after = match args[2] {
        a if is(a, "after") => true,
        a if is(a, "before") => false,
        _ => return Err(SYNTAX),
    };
    let (key, fill) = (args[1], fill(tx.server));
    let Some(list) = tx.list_mut(key)? else {
        out.int(0);
        return Ok(());
    };
    if !list.insert_at_pivot(args[3], args[4], after, fill) {
        out.int(-1);
        return Ok(());
    }
    out.int(list.len() as i64);
    tx.modified(key);
    tx.notify(&event::LINSERT, key);
    tx.dirty += 1;
    Ok(())
}

/// `LRANGE key start stop`
fn lrange(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let (start, stop) = (int(args[2])?, int(args[3])?);
    let Some(list) = tx.list(args[1])? else {
        out.array(0);
        return Ok(());
    };
    let range = index_range(start, stop, list.len());
    out.array(range.len());
    list.iter_from(range.start, false).take(range.len()).for_each(|e| bulk_item(out, e));
    Ok(())
}

/// `LREM key count element`
fn lrem(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let count = int_in(args[2], -i64::MAX, i64::MAX, None)?;
    let (key, fill) = (args[1], fill(tx.server));
    let removed = tx.list_mut(key)?.map_or(0, |l| l.remove(count, args[3], fill));
    if removed > 0 {
        tx.notify(&event::LREM, key);
        tx.delete_if_empty(key);
        tx.modified(key);
        tx.dirty += removed as u64;
    }
    out.int(removed as i64);
    Ok(())
}

/// `LTRIM key start stop`
fn ltrim(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let (start, stop) = (int(args[2])?, int(args[3])?);
    let (key, fill) = (args[1], fill(tx.server));
    if let Some(list) = tx.list_mut(key)? {
        let len = list.len();
        let range = index_range(start, stop, len);
        list.trim(range.start, range.end, fill);
        tx.notify(&event::LTRIM, key);
        tx.delete_if_empty(key);
        tx.modified(key);
        tx.dirty += (len - range.len()) as u64;
    }
    out.ok();
    Ok(())
}

/// `LPOS key element [RANK rank] [COUNT matches] [MAXLEN len]`
fn lpos(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let (mut rank, mut count, mut max_len) = (1, None, 0);
    for option in args[3..].chunks(2) {
        match *option {
            [o, value] if is(o, "rank") => {
                rank = int_in(value, -i64::MAX, i64::MAX, None)?;
                if rank == 0 {
                    return Err(err(
                        "ERR RANK can't be zero: use 1 to start from the first match, 2 from the \
                         second ... or use negative to start from the end of the list",
                    ));
                }
            }
            [o, value] if is(o, "count") => {
                count = Some(positive(value, Some("ERR COUNT can't be negative"))?);
            }
            [o, value] if is(o, "maxlen") => {
                max_len = positive(value, Some("ERR MAXLEN can't be negative"))?;
            }
            _ => return Err(SYNTAX),
        }
    }
    let found = match tx.list(args[1])? {
        Some(list) => list.positions(args[2], rank, count.unwrap_or(1), max_len),
        None => Vec::new(),
    };
    match (count, found.first()) {
        (Some(_), _) => {
            out.array(found.len());
            found.iter().for_each(|&i| out.int(i as i64));
        }
        (None, Some(&i)) => out.int(i as i64),
        (None, None) => out.null(),
    }
    Ok(())
}

/// Moves one element of a list that exists into the reply and to another list.
fn move_one(
    tx: &mut Tx<'_>,
    (from, from_end): (&[u8], End),
    (to, to_end): (&[u8], End),
    out: &mut Reply,
) -> CommandResult {
    let fill = fill(tx.server);
    tx.list_mut(to)?;
    let value = match tx.list_mut(from)? {
        Some(list) => list.take(from_end == End::Left),
        None => None,
    };
    let Some(value) = value else {
        out.null();
        return Ok(());
    };
    let ValueMut::List(list) = tx.get_or_create(to, empty_list) else { return Err(WRONGTYPE) };
    match to_end {
        End::Left => list.push_front(&[&value], fill),
        End::Right => list.push_back(&[&value], fill),
    }
    tx.modified(to);
    tx.notify(to_end.push_event(), to);
    out.bulk(&value);
    if let Some(list) = tx.list_mut(from)? {
        list.shrunk(fill);
    }
    popped(tx, from, from_end, 1);
    Ok(())
}

fn move_command(
    tx: &mut Tx<'_>,
    from: (&[u8], End),
    to: (&[u8], End),
    out: &mut Reply,
) -> CommandResult {
    if tx.list_mut(from.0)?.is_none() {
        out.null();
        return Ok(());
    }
    move_one(tx, from, to, out)
}

/// `LMOVE source destination LEFT|RIGHT LEFT|RIGHT`
fn lmove(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let (from, to) = (End::parse(args[3])?, End::parse(args[4])?);
    move_command(tx, (args[1], from), (args[2], to), out)
}

/// `RPOPLPUSH source destination`
fn rpoplpush(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    move_command(tx, (args[1], End::Right), (args[2], End::Left), out)
}

/// `BLPOP key ... timeout`, `BRPOP key ... timeout`
fn blocking_pop(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply, end: End) -> CommandResult {
    let last = args.len() - 1;
    let timeout = timeout_seconds(tx.now, args[last])?;
    let fill = fill(tx.server);
    for key in &args[1..last] {
        let Some(list) = tx.list_mut(key)? else { continue };
        let Some(value) = pop_one(list, end, fill) else { continue };
        out.array(2);
        out.bulk(key);
        out.bulk(&value);
        popped(tx, key, end, 1);
        tx.propagate_as(&[end.pop_command(), key]);
        return Ok(());
    }
    let wait = Wait {
        keys: args[1..last].iter().map(|k| k.to_vec()).collect(),
        needs: Needs::List,
        form: Form::Keys(args[0].to_vec()),
        timeout,
        null_is_bulk: false,
    };
    tx.wait_for(wait, out)
}

/// `BLPOP key ... timeout`
fn blpop(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    blocking_pop(tx, args, out, End::Left)
}

/// `BRPOP key ... timeout`
fn brpop(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    blocking_pop(tx, args, out, End::Right)
}

/// `BLMPOP timeout numkeys key ... LEFT|RIGHT [COUNT count]`
fn blmpop(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let end = key_count(args, 2)?;
    let (left, count) = pop_options(args, end, "left", "right")?;
    let timeout = timeout_seconds(tx.now, args[1])?;
    let side = if left { End::Left } else { End::Right };
    if pop_first(tx, &args[3..end], side, count, out)? {
        return Ok(());
    }
    let wait = Wait {
        keys: args[3..end].iter().map(|k| k.to_vec()).collect(),
        needs: Needs::List,
        form: Form::Counted(args[0].to_vec(), args[end..].iter().map(|a| a.to_vec()).collect()),
        timeout,
        null_is_bulk: false,
    };
    tx.wait_for(wait, out)
}

/// Moves an element, or waits for one. `rest` stands behind the keys in the command's arguments.
fn blocking_move(
    tx: &mut Tx<'_>,
    args: &[&[u8]],
    (from, to): (End, End),
    timeout: i64,
    out: &mut Reply,
) -> Result<bool, CommandError> {
    if tx.list_mut(args[1])?.is_some() {
        move_one(tx, (args[1], from), (args[2], to), out)?;
        return Ok(true);
    }
    let wait = Wait {
        keys: vec![args[1].to_vec()],
        needs: Needs::List,
        form: Form::Move(
            args[0].to_vec(),
            args[2].to_vec(),
            args[3..].iter().map(|a| a.to_vec()).collect(),
        ),
        timeout,
        null_is_bulk: true,
    };
    tx.wait_for(wait, out)?;
    Ok(false)
}

/// `BLMOVE source destination LEFT|RIGHT LEFT|RIGHT timeout`
fn blmove(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let ends = (End::parse(args[3])?, End::parse(args[4])?);
    let timeout = timeout_seconds(tx.now, args[5])?;
    if blocking_move(tx, args, ends, timeout, out)? {
        tx.propagate_as(&[b"LMOVE", args[1], args[2], args[3], args[4]]);
    }
    Ok(())
}

/// `BRPOPLPUSH source destination timeout`
fn brpoplpush(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let timeout = timeout_seconds(tx.now, args[3])?;
    if blocking_move(tx, args, (End::Right, End::Left), timeout, out)? {
        tx.propagate_as(&[b"RPOPLPUSH", args[1], args[2]]);
    }
    Ok(())
}

const LIST: (&str, &[&str]) = ("list", &["list"]);
const WRITES: u32 = class::LIST | class::GENERIC | class::NEW | class::EXPIRED;
const REMOVES: u32 = class::LIST | class::GENERIC | class::EXPIRED;
const READS: u32 = class::KEY_MISS;
const PUSH: u64 = flags::WRITE | flags::DENYOOM | flags::FAST;
const GROW: u64 = flags::WRITE | flags::DENYOOM;
const POP: u64 = flags::WRITE | flags::FAST;
const BLOCKS: u64 = flags::WRITE | flags::BLOCKING;

/// The family's commands.
#[rustfmt::skip]
pub static ROWS: &[Row] = &[
    row(LIST, "lpush", -3, PUSH, WRITES, spec::INSERT, "1.0.0",
        "Puts elements before a list, which is made if the key is missing.", lpush),
    row(LIST, "rpush", -3, PUSH, WRITES, spec::INSERT, "1.0.0",
        "Puts elements behind a list, which is made if the key is missing.", rpush),
    row(LIST, "lpushx", -3, PUSH, WRITES, spec::INSERT, "2.2.0",
        "Puts elements before a list that exists.", lpushx),
    row(LIST, "rpushx", -3, PUSH, WRITES, spec::INSERT, "2.2.0",
        "Puts elements behind a list that exists.", rpushx),
    row(LIST, "lpop", -2, POP, REMOVES, spec::POP, "1.0.0",
        "Removes the first elements of a list and returns them.", lpop),
    row(LIST, "rpop", -2, POP, REMOVES, spec::POP, "1.0.0",
        "Removes the last elements of a list and returns them.", rpop),
    row(LIST, "lmpop", -4, flags::WRITE, REMOVES, spec::POP_COUNTED, "7.0.0",
        "Removes elements from the first of several lists that exists.", lmpop),
    row(LIST, "llen", 2, flags::READONLY | flags::FAST, READS, spec::LOOK, "1.0.0",
        "Returns the length of a list.", llen),
    row(LIST, "lindex", 3, flags::READONLY, READS, spec::READ, "1.0.0",
        "Returns the element at an index.", lindex),
    row(LIST, "lset", 4, GROW, REMOVES, spec::UPDATE, "1.0.0",
        "Replaces the element at an index.", lset),
    row(LIST, "linsert", 5, GROW, REMOVES, spec::INSERT, "2.2.0",
        "Inserts an element beside another one.", linsert),
    row(LIST, "lrange", 4, flags::READONLY, READS, spec::READ, "1.0.0",
        "Returns a range of elements.", lrange),
    row(LIST, "lrem", 4, flags::WRITE, REMOVES, spec::DELETE, "1.0.0",
        "Removes elements that equal a value.", lrem),
    row(LIST, "ltrim", 4, flags::WRITE, REMOVES, spec::DELETE, "1.0.0",
        "Keeps only a range of elements.", ltrim),
    row(LIST, "lpos", -3, flags::READONLY, READS, spec::READ, "6.0.6",
        "Returns the indexes of elements that equal a value.", lpos),
    row(LIST, "lmove", 5, GROW, WRITES, spec::MOVE, "6.2.0",
        "Moves an element from one list to another and returns it.", lmove),
    row(LIST, "rpoplpush", 3, GROW, WRITES, spec::MOVE, "1.2.0",
        "Moves the last element of a list to the head of another and returns it.", rpoplpush),
    row(LIST, "blpop", -3, BLOCKS, REMOVES, spec::POP_ALL, "2.0.0",
        "Removes the first element of a list and returns it, or waits for one.", blpop),
    row(LIST, "brpop", -3, BLOCKS, REMOVES, spec::POP_ALL, "2.0.0",
        "Removes the last element of a list and returns it, or waits for one.", brpop),
    row(LIST, "blmpop", -5, BLOCKS, REMOVES, spec::POP_COUNTED_LATE, "7.0.0",
        "Removes elements from the first of several lists that exists, or waits for one.", blmpop),
    row(LIST, "blmove", 6, BLOCKS | flags::DENYOOM, WRITES, spec::MOVE, "6.2.0",
        "Moves an element from one list to another and returns it, or waits for one.", blmove),
    row(LIST, "brpoplpush", 4, BLOCKS | flags::DENYOOM, WRITES, spec::MOVE, "2.2.0",
        "Moves the last element of a list to the head of another, or waits for one.", brpoplpush),
];
