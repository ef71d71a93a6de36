//! The keyspace: databases, shards, entries and the value types.
mod dtoa;
pub mod entry;
pub mod event;
pub mod evict;
pub mod expire;
pub mod hash;
pub mod intset;
pub mod lazy_free;
pub mod list;
pub mod listpack;
pub mod number;
pub mod set;
pub mod shard;
pub mod stream;
pub mod table;
mod thin;
pub mod value;
pub mod zset;
