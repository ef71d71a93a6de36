//! From RDB bytes to a value.
//!
//! Every collection is checked completely before it becomes a value: order, duplicates, the shape of listpacks. So no
//! file and no `RESTORE` can make a value that a command would stumble over later.
use super::encode::{NODE_PACKED, NODE_PLAIN};
use super::{legacy, types, RdbError, Reader, Result};
use crate::config::Config;
use crate::keyspace::hash::{BadListpack, Hash, HashLimits};
use crate::keyspace::list::{Fill, List, Node};
use crate::keyspace::listpack::Listpack;
use crate::keyspace::set::{Set, SetLimits};
use crate::keyspace::stream::{NodeError, Stream, StreamId};
use crate::keyspace::value::{ModuleType, Value};
use crate::keyspace::zset::{Inserted, SortedSet, ZsetLimits};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The greatest expiry of a hash field: 48 bits less the top two.
const MAX_FIELD_EXPIRE: u64 = (1 << 46) - 1;

/// Up to where collections are compact: decides the encoding that a loaded value gets.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Of hashes.
    pub hash: HashLimits,
    /// Of sets.
    pub set: SetLimits,
    /// Of sorted sets.
    pub zset: ZsetLimits,
    /// Of the nodes of lists.
    pub fill: Fill,
}

impl Limits {
    /// What the configuration says.
    pub fn of(config: &Config) -> Limits {
        Limits {
            hash: HashLimits {
                max_listpack_entries: config.hash_max_listpack_entries(),
                max_listpack_value: config.hash_max_listpack_value(),
            },
            set: SetLimits {
                max_intset_entries: config.set_max_intset_entries(),
                max_listpack_entries: config.set_max_listpack_entries(),
                max_listpack_value: config.set_max_listpack_value(),
            },
            zset: ZsetLimits {
                max_listpack_entries: config.zset_max_listpack_entries(),
                max_listpack_value: config.zset_max_listpack_value(),
            },
            fill: Fill(config.list_max_listpack_size() as i32),
        }
    }
}

/// What reading a value needs beside its bytes.
pub struct Decoder<'a> {
    /// Up to where collections are compact.
    pub limits: Limits,
    /// Key and database, for modules.
    pub key: Option<(&'a [u8], usize)>,
    /// Finds the type of a module's value by its id.
    pub find_type: &'a dyn Fn(u64) -> Option<Arc<ModuleType>>,
    /// Values of modules that are not loaded are kept as they are.
    pub park: bool,
}

impl Decoder<'_> {
    /// Reads a value of type `ty`.
    pub fn value(&self, r: &mut Reader<'_>, ty: u8) -> Result<Value> {
        Ok(match ty {
            types::STRING => Value::string(&r.string()?),
            types::LIST => self.list_of_elements(r)?,
            types::LIST_QUICKLIST | types::LIST_QUICKLIST_2 => self.quicklist(r, ty)?,
            types::LIST_ZIPLIST => {
                let lp = legacy::ziplist(&r.string()?)
                    .ok_or_else(|| r.corrupt("List ziplist integrity check failed."))?;
                let elements = lp.iter().map(|e| Ok(e.to_vec()));
                self.list_from(elements)?
            }
            types::SET => self.set(r)?,
            types::SET_INTSET => Set::from_intset(r.string()?, &self.limits.set)
                .map(|s| Value::Set(Box::new(s)))
                .map_err(|_| r.corrupt("Intset integrity check failed."))?,
            types::SET_LISTPACK => {
                let set = Set::from_listpack(r.string()?, &self.limits.set)
                    .map_err(|_| r.corrupt("Set listpack integrity check failed."))?;
                if set.is_empty() {
                    return Err(RdbError::EmptyKey);
                }
                Value::Set(Box::new(set))
            }
            types::ZSET | types::ZSET_2 => self.zset(r, ty == types::ZSET_2)?,
            types::ZSET_LISTPACK => {
                let lp = Listpack::from_bytes(r.string()?)
                    .map_err(|_| r.corrupt("Zset listpack integrity check failed."))?;
                self.zset_from(lp)?
                    .ok_or_else(|| r.corrupt("Zset listpack integrity check failed."))?
            }
            types::ZSET_ZIPLIST => {
                let bad = "Zset ziplist integrity check failed.";
                let lp = legacy::ziplist(&r.string()?).ok_or_else(|| r.corrupt(bad))?;
                self.zset_from(lp)?.ok_or_else(|| r.corrupt(bad))?
            }
            types::HASH => self.hash(r)?,
            types::HASH_METADATA | types::HASH_METADATA_PRE_GA => self.hash_with_expiry(r, ty)?,
            types::HASH_ZIPMAP => {
                let lp = legacy::zipmap(&r.string()?)
                    .ok_or_else(|| r.corrupt("Zipmap integrity check failed."))?;
                // Old formats come from other limits, so the lengths of texts are looked at too.
                let mut hash = Hash::new();
                let texts: Vec<Vec<u8>> = lp.iter().map(|t| t.to_vec()).collect();
                for pair in texts.chunks_exact(2) {
                    if !hash.set(&pair[0], &pair[1], &self.limits.hash) {
                        return Err(r.corrupt("Hash zipmap with dup elements, or big length"));
                    }
                }
                if hash.is_empty() {
                    // No version wrote one.
                    return Err(r.corrupt("Zipmap integrity check failed."));
                }
                Value::Hash(Box::new(hash))
            }
            types::HASH_ZIPLIST => {
                let bad = "Hash ziplist integrity check failed.";
                let lp = legacy::ziplist(&r.string()?).ok_or_else(|| r.corrupt(bad))?;
                self.hash_from(lp.to_bytes(), false)?.map_err(|_| r.corrupt(bad))?
            }
            types::HASH_LISTPACK | types::HASH_LISTPACK_EX | types::HASH_LISTPACK_EX_PRE_GA => {
                if ty == types::HASH_LISTPACK_EX {
                    r.millis()?;
                }
                let bytes = r.string()?;
                self.hash_from(bytes, ty != types::HASH_LISTPACK)?.map_err(|e| {
                    r.corrupt(match e {
                        BadListpack::Corrupt => "Hash listpack integrity check failed.",
                        BadListpack::Duplicates => "Hash listpack with dup elements",
                    })
                })?
            }
            types::STREAM_LISTPACKS | types::STREAM_LISTPACKS_2 | types::STREAM_LISTPACKS_3 => {
                Value::Stream(Box::new(stream(r, ty)?))
            }
            types::MODULE_2 => {
                let value = super::module_io::load_value(r, self.find_type, self.key, self.park)?;
                Value::Module(Box::new(value))
            }
            types::MODULE_PRE_GA => {
                return Err(r.corrupt("Pre-release module format not supported"));
            }
            _ => return Err(r.corrupt(format!("Unknown RDB encoding type {ty}"))),
        })
    }

    fn list_from(&self, elements: impl Iterator<Item = Result<Vec<u8>>>) -> Result<Value> {
        let mut list = List::for_loading();
        for e in elements {
            list.push_back(&[e?], self.limits.fill);
        }
        self.settled(list)
    }

    fn settled(&self, mut list: List) -> Result<Value> {
        if list.is_empty() {
            return Err(RdbError::EmptyKey);
        }
        list.settle(self.limits.fill);
        Ok(Value::List(Box::new(list)))
    }

    fn list_of_elements(&self, r: &mut Reader<'_>) -> Result<Value> {
        let n = r.count(1)?;
        self.list_from((0..n).map(|_| r.string()))
    }

    fn quicklist(&self, r: &mut Reader<'_>, ty: u8) -> Result<Value> {
        let n = r.count(1)?;
        let mut list = List::for_loading();
        for _ in 0..n {
            let container = if ty == types::LIST_QUICKLIST_2 { r.number()? } else { NODE_PACKED };
            let bytes = r.string()?;
            if bytes.is_empty() {
                return Err(r.corrupt("an empty node in a list"));
            }
            match (container, ty) {
                (NODE_PLAIN, _) => list.push_node(Node::Plain(bytes.into_boxed_slice())),
                (NODE_PACKED, types::LIST_QUICKLIST_2) => {
                    let lp = Listpack::from_bytes(bytes)
                        .map_err(|_| r.corrupt("Listpack integrity check failed."))?;
                    list.push_node(Node::Packed(lp));
                }
                (NODE_PACKED, _) => {
                    let lp = legacy::ziplist(&bytes)
                        .ok_or_else(|| r.corrupt("Ziplist integrity check failed."))?;
                    list.push_node(Node::Packed(lp));
                }
                _ => return Err(r.corrupt("Quicklist integrity check failed.")),
            }
        }
        self.settled(list)
    }

    fn set(&self, r: &mut Reader<'_>) -> Result<Value> {
        let n = r.count(1)?;
        if n == 0 {
            return Err(RdbError::EmptyKey);
        }
        let mut set = Set::new();
        let limits = &self.limits.set;
        if n > limits.max_intset_entries.min(1 << 30) as u64 {
            // The count is at most the number of bytes left, so it can be believed this far.
            set.convert_to_table((n as usize).min(1 << 20));
        }
        for _ in 0..n {
            if !set.add(&r.string()?, limits) {
                return Err(r.corrupt("Duplicate set members detected"));
            }
        }
        Ok(Value::Set(Box::new(set)))
    }

    fn zset(&self, r: &mut Reader<'_>, binary: bool) -> Result<Value> {
        let n = r.count(2)?;
        if n == 0 {
            return Err(RdbError::EmptyKey);
        }
        let mut zset = SortedSet::for_size(n as usize, 0, &self.limits.zset);
        for _ in 0..n {
            let member = r.string()?;
            let score = if binary { r.double()? } else { r.text_double()? };
            if score.is_nan() {
                return Err(r.corrupt("Zset with NAN score detected"));
            }
            if zset.insert(&member, score, &self.limits.zset) != Inserted::Added {
                return Err(r.corrupt("Duplicate zset fields detected"));
            }
        }
        zset.settle(&self.limits.zset);
        Ok(Value::Zset(Box::new(zset)))
    }

    /// A sorted set from a listpack; `None` for a bad one.
    fn zset_from(&self, lp: Listpack) -> Result<Option<Value>> {
        if lp.is_empty() {
            return Err(RdbError::EmptyKey);
        }
        Ok(SortedSet::from_listpack(lp).ok().map(|mut zset| {
            zset.settle(&self.limits.zset);
            Value::Zset(Box::new(zset))
        }))
    }

    fn hash(&self, r: &mut Reader<'_>) -> Result<Value> {
        let n = r.count(2)?;
        if n == 0 {
            return Err(RdbError::EmptyKey);
        }
        let mut hash = Hash::new();
        if n > self.limits.hash.max_listpack_entries as u64 {
            hash.convert_to_table();
        }
        for _ in 0..n {
            let field = r.string()?;
            let value = r.string()?;
            if !hash.set(&field, &value, &self.limits.hash) {
                return Err(r.corrupt("Duplicate hash fields detected"));
            }
        }
        Ok(Value::Hash(Box::new(hash)))
    }

    fn hash_with_expiry(&self, r: &mut Reader<'_>, ty: u8) -> Result<Value> {
        let soonest = match ty {
            types::HASH_METADATA => r.millis()? as u64,
            _ => 0,
        };
        let n = r.count(3)?;
        if n == 0 {
            return Err(RdbError::EmptyKey);
        }
        let mut hash = Hash::new();
        if n > self.limits.hash.max_listpack_entries as u64 {
            hash.convert_to_table();
        } else {
            hash.make_expirable();
        }
        for _ in 0..n {
            let ttl = r.number()?;
            let at = match (ttl, ty) {
                (0, _) => 0,
                (_, types::HASH_METADATA) => soonest.wrapping_add(ttl - 1),
                _ => ttl,
            };
            if at > MAX_FIELD_EXPIRE {
                return Err(r.corrupt(format!("invalid expireAt time: {at}")));
            }
            let field = r.string()?;
            let value = r.string()?;
            if !hash.set(&field, &value, &self.limits.hash) {
                return Err(r.corrupt("Duplicate hash fields detected"));
            }
            if at != 0 {
                hash.set_expire(&field, Some(at as i64));
            }
        }
        Ok(Value::Hash(Box::new(hash)))
    }

    /// A hash from a listpack.
    fn hash_from(
        &self,
        bytes: Vec<u8>,
        expirable: bool,
    ) -> Result<std::result::Result<Value, BadListpack>> {
        let limits = &self.limits.hash;
        let loaded = if expirable {
            Hash::from_listpack_ex(bytes, limits)
        } else {
            Hash::from_listpack(bytes, limits)
        };
        match loaded {
            Ok(hash) if hash.is_empty() => Err(RdbError::EmptyKey),
            Ok(hash) => Ok(Ok(Value::Hash(Box::new(hash)))),
            Err(e) => Ok(Err(e)),
        }
    }
}

fn id(r: &mut Reader<'_>) -> Result<StreamId> {
    Ok(StreamId::new(r.number()?, r.number()?))
}

fn raw_id(r: &mut Reader<'_>) -> Result<StreamId> {
    Ok(StreamId::from_bytes(r.array()?))
}

fn stream(r: &mut Reader<'_>, ty: u8) -> Result<Stream> {
    let mut stream = Stream::new();
    for _ in 0..r.count(2)? {
        let master: [u8; 16] = r
            .string()?
            .try_into()
            .map_err(|_| r.corrupt("Stream node key entry is not the size of a stream ID"))?;
        let lp = Listpack::from_bytes(r.string()?)
            .map_err(|_| r.corrupt("Stream listpack integrity check failed."))?;
        if lp.is_empty() {
            return Err(r.corrupt("Empty listpack inside stream"));
        }
        stream.insert_node(StreamId::from_bytes(master), lp).map_err(|e| {
            r.corrupt(match e {
                NodeError::Malformed => "Stream listpack integrity check failed.",
                NodeError::Duplicate => "Listpack re-added with existing key",
            })
        })?;
    }
    let length = r.number()?;
    stream.last_id = id(r)?;
    if ty == types::STREAM_LISTPACKS {
        stream.entries_added = length;
    } else {
        // The first id is found again from the entries.
        id(r)?;
        stream.max_deleted_entry_id = id(r)?;
        stream.entries_added = r.number()?;
    }
    let entries = stream.iter().count() as u64;
    if entries != length {
        return Err(r.corrupt("Stream length inconsistent with rax entries"));
    }
    if stream.last().is_some_and(|e| e.id > stream.last_id) {
        return Err(r.corrupt("Stream with an entry behind its last ID"));
    }
    stream.set_loaded(length, StreamId::MIN);
    stream.refresh_first_id();
    for _ in 0..r.count(1)? {
        group(r, ty, &mut stream)?;
    }
    Ok(stream)
}

fn group(r: &mut Reader<'_>, ty: u8, stream: &mut Stream) -> Result<()> {
    let name = r.string()?;
    let last_id = id(r)?;
    let entries_read = if ty == types::STREAM_LISTPACKS {
        stream.estimate_entries_read(last_id)
    } else {
        Some(r.number()? as i64).filter(|&n| n >= 0)
    };
    if !stream.create_group(&name, last_id, entries_read) {
        let name = String::from_utf8_lossy(&name);
        return Err(r.corrupt(format!("Duplicated consumer group name {name}")));
    }
    let Some(group) = stream.group_mut(&name) else { return Ok(()) };
    let mut pending = BTreeMap::new();
    for _ in 0..r.count(16)? {
        let id = raw_id(r)?;
        let delivered = (r.millis()?, r.number()?);
        if pending.insert(id, delivered).is_some() {
            return Err(r.corrupt("Duplicated global PEL entry loading stream consumer group"));
        }
    }
    for _ in 0..r.count(1)? {
        let consumer = r.string()?;
        if !group.create_consumer(&consumer, 0) {
            return Err(r.corrupt("Duplicate stream consumer detected."));
        }
        let seen = r.millis()?;
        let active = if ty == types::STREAM_LISTPACKS_3 { r.millis()? } else { seen };
        if let Some(c) = group.consumer_mut(&consumer) {
            c.seen_time = seen;
            c.active_time = active;
        }
        for _ in 0..r.count(16)? {
            let id = raw_id(r)?;
            // Taken out, so that no id gets two consumers, and what is left has none.
            let Some((time, count)) = pending.remove(&id) else {
                return Err(r.corrupt("Consumer entry not found in group global PEL"));
            };
            group.assign(id, &consumer, time, count);
        }
    }
    if !pending.is_empty() {
        return Err(r.corrupt("Stream CG PEL entry without consumer"));
    }
    Ok(())
}
