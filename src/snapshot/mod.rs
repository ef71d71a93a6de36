//! Snapshots: RDB files as Redis 7.4 writes and reads them, and what saves and loads them.
//!
//! The codec ([`writer`], [`reader`], [`encode`], [`decode`], [`legacy`]) knows neither files' names nor the server, but
//! for the values of modules, which only their modules can write and read ([`module_io`]). [`save`] and [`load`] go over
//! the keyspace; [`control`] decides when.
//!
//! **How `SAVE` sees one state.** It runs on the module thread, under the module lock, and holds each shard for reading as
//! it reaches it, until the end. So no native write can change what was not yet written *after* something of it was seen,
//! and no module runs meanwhile. Writes to shards that it has reached wait until it is done, reads do not.
//!
//! **`BGSAVE` and the base of an AOF** are written by threads of their own, from a cut: see [`cut`].
mod background;
mod child;
pub mod control;
mod crc64;
pub mod cut;
mod decode;
mod encode;
pub mod folder;
mod legacy;
mod load;
mod load_pool;
mod lzf;
pub mod module_io;
mod pace;
pub mod parked;
mod payload;
mod reader;
mod save;
mod sink;
mod skip;
#[cfg(test)]
mod tests;
pub mod walk;
mod writer;

pub use control::{reload, save, Persistence};
pub use cut::{
    ask_for_huge, before_change, before_change_held, running, wait_until_saved, Cut, Emptied,
};
pub use decode::{Decoder, Limits};
pub use load::{load_at_start, load_base};
pub use payload::{dump, restore, seal, unseal, RestoreError, SKIP_CHECKSUM};
pub use reader::Reader;
pub use save::{write_base, Format};
pub use sink::Batch;
pub use skip::value as skip_value;
pub use walk::Walk;
pub use writer::Writer;

use std::borrow::Cow;

/// The version of RDB files that is written, and the newest one that is read.
pub const VERSION: u32 = 12;
/// The byte that begins a compressed string.
const ENCODED_LZF: u8 = 0xc3;
/// The cause of an error when bytes are missing.
const SHORT: &str = "Unexpected EOF reading RDB file";

/// Types of values.
#[allow(missing_docs)]
pub mod types {
    pub const STRING: u8 = 0;
    pub const LIST: u8 = 1;
    pub const SET: u8 = 2;
    pub const ZSET: u8 = 3;
    pub const HASH: u8 = 4;
    pub const ZSET_2: u8 = 5;
    pub const MODULE_PRE_GA: u8 = 6;
    pub const MODULE_2: u8 = 7;
    pub const HASH_ZIPMAP: u8 = 9;
    pub const LIST_ZIPLIST: u8 = 10;
    pub const SET_INTSET: u8 = 11;
    pub const ZSET_ZIPLIST: u8 = 12;
    pub const HASH_ZIPLIST: u8 = 13;
    pub const LIST_QUICKLIST: u8 = 14;
    pub const STREAM_LISTPACKS: u8 = 15;
    pub const HASH_LISTPACK: u8 = 16;
    pub const ZSET_LISTPACK: u8 = 17;
    pub const LIST_QUICKLIST_2: u8 = 18;
    pub const STREAM_LISTPACKS_2: u8 = 19;
    pub const SET_LISTPACK: u8 = 20;
    pub const STREAM_LISTPACKS_3: u8 = 21;
    pub const HASH_METADATA_PRE_GA: u8 = 22;
    pub const HASH_LISTPACK_EX_PRE_GA: u8 = 23;
    pub const HASH_METADATA: u8 = 24;
    pub const HASH_LISTPACK_EX: u8 = 25;
}

/// Opcodes between values.
pub(crate) mod opcode {
    pub const SLOT_INFO: u8 = 244;
    pub const FUNCTION2: u8 = 245;
    pub const FUNCTION_PRE_GA: u8 = 246;
    pub const MODULE_AUX: u8 = 247;
    pub const IDLE: u8 = 248;
    pub const FREQ: u8 = 249;
    pub const AUX: u8 = 250;
    pub const RESIZEDB: u8 = 251;
    pub const EXPIRETIME_MS: u8 = 252;
    pub const EXPIRETIME: u8 = 253;
    pub const SELECTDB: u8 = 254;
    pub const EOF: u8 = 255;
}

/// Opcodes inside a module's data.
mod module_opcode {
    pub const EOF: u64 = 0;
    pub const SINT: u64 = 1;
    pub const UINT: u64 = 2;
    pub const FLOAT: u64 = 3;
    pub const DOUBLE: u64 = 4;
    pub const STRING: u64 = 5;
}

/// Why bytes could not be read.
#[derive(Debug)]
pub enum RdbError {
    /// A collection without elements, as old versions could write; its key is skipped.
    EmptyKey,
    /// The bytes are not what they should be.
    Corrupt {
        /// Where, in bytes from the start.
        at: u64,
        /// What is wrong.
        cause: Cow<'static, str>,
    },
    /// The file could not be read.
    Io(std::io::Error),
}

impl std::fmt::Display for RdbError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            RdbError::EmptyKey => f.write_str("a collection without elements"),
            RdbError::Corrupt { at, cause } => write!(f, "{cause} (at offset {at})"),
            RdbError::Io(e) => f.write_str(&crate::config::os_error_text(e)),
        }
    }
}

/// The result of reading.
pub type Result<T> = std::result::Result<T, RdbError>;

/// An integer in the form of an encoded string.
struct EncodedInt {
    bytes: [u8; 5],
    len: usize,
}

impl EncodedInt {
    /// The form of integers up to 32 bits; `None` for others.
    fn of(value: i64) -> Option<EncodedInt> {
        let mut bytes = [0; 5];
        let len = if let Ok(v) = i8::try_from(value) {
            bytes[0] = 0xc0;
            bytes[1] = v as u8;
            2
        } else if let Ok(v) = i16::try_from(value) {
            bytes[0] = 0xc1;
            bytes[1..3].copy_from_slice(&v.to_le_bytes());
            3
        } else {
            let v = i32::try_from(value).ok()?;
            bytes[0] = 0xc2;
            bytes[1..].copy_from_slice(&v.to_le_bytes());
            5
        };
        Some(EncodedInt { bytes, len })
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}
