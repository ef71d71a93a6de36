//! Keys of any type.
use super::{CommandResult, Tx};
use crate::dispatch::table::{flags, key, keys, Row};
use crate::keyspace::event::{self, class};
use crate::reply::Reply;

/// `DEL key ...`
fn del(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let mut n = 0;
    for k in &args[1..] {
        if tx.remove(k) {
            tx.dirty += 1;
            tx.modified(k);
            tx.notify(&event::DEL, k);
            n += 1;
        }
    }
    out.int(n);
    Ok(())
}

/// `EXISTS key ...`
fn exists(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    out.int(args[1..].iter().filter(|k| tx.exists(k)).count() as i64);
    Ok(())
}

/// `TYPE key`
fn type_of(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    out.simple(tx.peek(args[1]).map_or("none", |v| v.type_name()));
    Ok(())
}

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
        keys: &[keys(key::RO, 1, -1, 1)],
        acl: &["keyspace"],
        summary: "Counts how many of the given keys exist.",
        ..Row::new("exists", -2, flags::READONLY | flags::FAST, exists)
    },
    Row {
        keys: &[keys(key::RO, 1, 1, 1)],
        acl: &["keyspace"],
        summary: "Returns the type of a key's value.",
        ..Row::new("type", 2, flags::READONLY | flags::FAST, type_of)
    },
];
