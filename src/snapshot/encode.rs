//! From a value to its RDB bytes.
use super::{types, Writer};
use crate::keyspace::hash::Hash;
use crate::keyspace::list::{List, NodeRef};
use crate::keyspace::number::NumBuf;
use crate::keyspace::set::Set;
use crate::keyspace::stream::{Group, Stream, StreamId};
use crate::keyspace::value::{StrRef, ValueRef};
use crate::keyspace::zset::SortedSet;

/// Whether the node of a list holds a listpack or one element.
pub(super) const NODE_PLAIN: u64 = 1;
/// See [`NODE_PLAIN`].
pub(super) const NODE_PACKED: u64 = 2;

/// The byte that tells type and encoding of a value.
pub fn type_of(value: &ValueRef<'_>) -> u8 {
    match value {
        ValueRef::String(_) => types::STRING,
        ValueRef::List(_) => types::LIST_QUICKLIST_2,
        ValueRef::Set(set) => match (set.as_intset(), set.as_listpack()) {
            (Some(_), _) => types::SET_INTSET,
            (_, Some(_)) => types::SET_LISTPACK,
            _ => types::SET,
        },
        ValueRef::Hash(hash) => match (hash.as_listpack(), hash.encoding()) {
            (Some(_), "listpackex") => types::HASH_LISTPACK_EX,
            (Some(_), _) => types::HASH_LISTPACK,
            (None, _) if hash.min_expire().is_some() => types::HASH_METADATA,
            (None, _) => types::HASH,
        },
        ValueRef::Zset(zset) => match zset.as_listpack() {
            Some(_) => types::ZSET_LISTPACK,
            None => types::ZSET_2,
        },
        ValueRef::Stream(_) => types::STREAM_LISTPACKS_3,
        ValueRef::Module(_) => types::MODULE_2,
    }
}

/// Writes a value, without its type. `key` is its key with the database, for modules.
pub fn value(out: &mut Writer, value: ValueRef<'_>, key: Option<(&[u8], usize)>) {
    match value {
        ValueRef::String(StrRef::Int(i)) => out.int_string(i),
        ValueRef::String(StrRef::Bytes(text)) => out.string(text),
        ValueRef::List(v) => list(out, v),
        ValueRef::Set(v) => set(out, v),
        ValueRef::Hash(v) => hash(out, v),
        ValueRef::Zset(v) => zset(out, v),
        ValueRef::Stream(v) => stream(out, v),
        ValueRef::Module(v) => super::module_io::save_value(out, v, key),
    }
}

fn list(out: &mut Writer, list: &List) {
    out.len(list.node_count() as u64);
    for node in list.nodes() {
        match node {
            NodeRef::Packed(lp) => {
                out.len(NODE_PACKED);
                out.string(&lp.to_bytes());
            }
            NodeRef::Plain(text) => {
                out.len(NODE_PLAIN);
                out.string(text);
            }
        }
    }
}

fn set(out: &mut Writer, set: &Set) {
    if let Some(ints) = set.as_intset() {
        out.string(ints.as_bytes());
    } else if let Some(lp) = set.as_listpack() {
        out.string(&lp.to_bytes());
    } else {
        out.len(set.len() as u64);
        for member in set.iter() {
            out.string(member.bytes(&mut NumBuf::new()));
        }
    }
}

fn hash(out: &mut Writer, hash: &Hash) {
    let soonest = hash.min_expire();
    if let Some(lp) = hash.as_listpack() {
        if hash.encoding() == "listpackex" {
            out.millis(soonest.unwrap_or(0));
        }
        out.string(&lp.to_bytes());
        return;
    }
    if let Some(at) = soonest {
        out.millis(at);
    }
    out.len(hash.len() as u64);
    for entry in hash.iter() {
        if let Some(soonest) = soonest {
            // Relative to the soonest one, plus 1: 0 stands for none.
            out.len(entry.expire.map_or(0, |at| (at - soonest) as u64 + 1));
        }
        out.string(entry.field.bytes(&mut NumBuf::new()));
        out.string(entry.value.bytes(&mut NumBuf::new()));
    }
}

fn zset(out: &mut Writer, zset: &SortedSet) {
    if let Some(lp) = zset.as_listpack() {
        out.string(&lp.to_bytes());
        return;
    }
    out.len(zset.len() as u64);
    // From the highest score down: the reader then inserts at the head each time.
    if let Some(last) = zset.len().checked_sub(1) {
        for (member, score) in zset.iter_from(last, true) {
            out.string(member.bytes(&mut NumBuf::new()));
            out.double(score);
        }
    }
}

fn id(out: &mut Writer, id: StreamId) {
    out.len(id.ms);
    out.len(id.seq);
}

fn stream(out: &mut Writer, stream: &Stream) {
    let nodes = stream.nodes();
    out.len(nodes.len() as u64);
    for (master, lp) in nodes {
        out.string(&master.to_bytes());
        out.string(&lp.to_bytes());
    }
    out.len(stream.len());
    id(out, stream.last_id);
    id(out, stream.first_id());
    id(out, stream.max_deleted_entry_id);
    out.len(stream.entries_added);
    let groups = stream.groups();
    out.len(groups.len() as u64);
    for (name, g) in groups {
        out.string(name);
        group(out, g);
    }
}

fn group(out: &mut Writer, group: &Group) {
    id(out, group.last_id);
    out.len(group.entries_read.unwrap_or(-1) as u64);
    out.len(group.pending().len() as u64);
    for (id, entry) in group.pending() {
        out.raw(&id.to_bytes());
        out.millis(entry.delivery_time);
        out.len(entry.delivery_count);
    }
    let consumers = group.consumers();
    out.len(consumers.len() as u64);
    for consumer in consumers {
        out.string(consumer.name());
        out.millis(consumer.seen_time);
        out.millis(consumer.active_time);
        out.len(consumer.pending().len() as u64);
        for id in consumer.pending() {
            out.raw(&id.to_bytes());
        }
    }
}

/// About how many bytes it takes to write a value: decides how it is written while others go on.
pub fn cost(value: &ValueRef<'_>) -> usize {
    /// Bytes of an element outside of a compact encoding, and of a node of a list or a stream.
    const ELEMENT: usize = 48;
    const NODE: usize = 4096;
    let elements = |compact: Option<usize>, len: usize| compact.unwrap_or(len * ELEMENT);
    match value {
        ValueRef::String(StrRef::Int(_)) => 8,
        ValueRef::String(StrRef::Bytes(text)) => text.len(),
        ValueRef::List(v) if v.node_count() == 1 => v.len() * 16,
        ValueRef::List(v) => v.node_count() * NODE,
        ValueRef::Set(v) => {
            let ints = v.as_intset().map(|s| s.as_bytes().len());
            elements(ints.or(v.as_listpack().map(|lp| lp.byte_len())), v.len())
        }
        ValueRef::Hash(v) => elements(v.as_listpack().map(|lp| lp.byte_len()), v.len()),
        ValueRef::Zset(v) => elements(v.as_listpack().map(|lp| lp.byte_len()), v.len()),
        ValueRef::Stream(v) => {
            let pending: usize = v.groups().map(|(_, g)| g.pending().len()).sum();
            v.nodes().len() * NODE + pending * ELEMENT
        }
        // Only its module knows.
        ValueRef::Module(_) => 0,
    }
}
