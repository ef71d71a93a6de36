//! A base file in the form of commands (`aof-use-rdb-preamble no`).
use crate::keyspace::entry::Entry;
use crate::keyspace::number::{format_f64, format_i64, format_u64, NumBuf};
use crate::keyspace::stream::{Group, Stream, StreamId};
use crate::keyspace::value::{ModuleValue, ValueRef};
use crate::propagate::encode;

/// Elements in one command at most.
const ITEMS: usize = 64;

/// Appends the commands that make a key again.
pub fn commands(out: &mut Vec<u8>, e: Entry, db: usize) {
    let key = e.key();
    match e.value() {
        ValueRef::String(s) => encode(out, &[b"SET".as_slice(), key, &s.to_cow()]),
        ValueRef::List(v) => {
            let items = v.iter().map(|i| [i.bytes(&mut NumBuf::new()).to_vec()]);
            in_groups(out, b"RPUSH", key, v.len(), items);
        }
        ValueRef::Set(v) => {
            let items = v.iter().map(|i| [i.bytes(&mut NumBuf::new()).to_vec()]);
            in_groups(out, b"SADD", key, v.len(), items);
        }
        ValueRef::Zset(v) => {
            let items = v.iter().map(|(member, score)| {
                [format_f64(score).to_vec(), member.bytes(&mut NumBuf::new()).to_vec()]
            });
            in_groups(out, b"ZADD", key, v.len(), items);
        }
        ValueRef::Hash(v) => {
            let text =
                |i: crate::keyspace::listpack::LpItem<'_>| i.bytes(&mut NumBuf::new()).to_vec();
            if v.min_expire().is_none() {
                let items = v.iter().map(|h| [text(h.field), text(h.value)]);
                in_groups(out, b"HMSET", key, v.len(), items);
            } else {
                for h in v.iter() {
                    let field = text(h.field);
                    encode(out, &[b"HMSET".as_slice(), key, &field, &text(h.value)]);
                    if let Some(at) = h.expire {
                        let at = format_i64(at);
                        encode(out, &[b"HPEXPIREAT".as_slice(), key, &at, b"FIELDS", b"1", &field]);
                    }
                }
            }
        }
        ValueRef::Stream(v) => stream(out, key, v),
        ValueRef::Module(v) => module_value(out, key, db, v),
    }
    if let Some(at) = e.expire() {
        encode(out, &[b"PEXPIREAT".as_slice(), key, &format_i64(at)]);
    }
}

/// Commands with at most [`ITEMS`] elements each.
fn in_groups<const N: usize>(
    out: &mut Vec<u8>,
    command: &[u8],
    key: &[u8],
    mut left: usize,
    mut items: impl Iterator<Item = [Vec<u8>; N]>,
) {
    while left > 0 {
        let mut args = vec![command.to_vec(), key.to_vec()];
        args.extend(items.by_ref().take(ITEMS.min(left)).flatten());
        encode(out, &args);
        left -= ITEMS.min(left);
    }
}

fn id_text(id: StreamId) -> Vec<u8> {
    format!("{}-{}", id.ms, id.seq).into_bytes()
}

fn stream(out: &mut Vec<u8>, key: &[u8], s: &Stream) {
    for e in s.iter() {
        let mut args = vec![b"XADD".to_vec(), key.to_vec(), id_text(e.id)];
        for (name, value) in e.fields() {
            args.push(name.bytes(&mut NumBuf::new()).to_vec());
            args.push(value.bytes(&mut NumBuf::new()).to_vec());
        }
        encode(out, &args);
    }
    if s.is_empty() {
        // An entry that is trimmed away at once leaves an empty stream.
        encode(out, &[b"XADD".as_slice(), key, b"MAXLEN", b"0", b"0-1", b"x", b"y"]);
    }
    let (last, deleted) = (id_text(s.last_id), id_text(s.max_deleted_entry_id));
    let added = format_u64(s.entries_added);
    encode(
        out,
        &[b"XSETID".as_slice(), key, &last, b"ENTRIESADDED", &added, b"MAXDELETEDID", &deleted],
    );
    for (name, g) in s.groups() {
        group(out, key, name, g);
    }
}

fn group(out: &mut Vec<u8>, key: &[u8], name: &[u8], g: &Group) {
    let (last, read) = (id_text(g.last_id), format_i64(g.entries_read.unwrap_or(-1)));
    encode(out, &[b"XGROUP".as_slice(), b"CREATE", key, name, &last, b"ENTRIESREAD", &read]);
    for consumer in g.consumers() {
        if consumer.pending().is_empty() {
            encode(out, &[b"XGROUP".as_slice(), b"CREATECONSUMER", key, name, consumer.name()]);
        }
        for id in consumer.pending() {
            let Some(p) = g.pending_entry(*id) else { continue };
            let (time, count) = (format_i64(p.delivery_time), format_u64(p.delivery_count));
            let args: [&[u8]; 12] = [
                b"XCLAIM",
                key,
                name,
                consumer.name(),
                b"0",
                &id_text(*id),
                b"TIME",
                &time,
                b"RETRYCOUNT",
                &count,
                b"JUSTID",
                b"FORCE",
            ];
            encode(out, &args);
        }
    }
}

/// The module's own commands; a type that has none (Redis would crash here) is restored from its payload.
fn module_value(out: &mut Vec<u8>, key: &[u8], db: usize, v: &ModuleValue) {
    if let Some(bytes) = crate::snapshot::module_io::rewrite_value(v, (key, db)) {
        out.extend_from_slice(&bytes);
        return;
    }
    if let Some(payload) = crate::snapshot::dump(ValueRef::Module(v), (key, db), false) {
        encode(out, &[b"RESTORE".as_slice(), key, b"0", &payload]);
    }
}
