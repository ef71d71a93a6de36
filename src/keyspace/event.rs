//! Keyspace events: their classes and names.
//!
//! Names are static C strings with one address each for the life of the process: RediSearch compares the addresses.
use std::ffi::CStr;

/// Event classes, as `notify-keyspace-events` letters and `REDISMODULE_NOTIFY_*` bits.
pub mod class {
    /// `K`: publish on `__keyspace@db__:key`.
    pub const KEYSPACE: u32 = 1 << 0;
    /// `E`: publish on `__keyevent@db__:event`.
    pub const KEYEVENT: u32 = 1 << 1;
    /// `g`: commands of no particular type (DEL, EXPIRE, RENAME).
    pub const GENERIC: u32 = 1 << 2;
    /// `$`: strings.
    pub const STRING: u32 = 1 << 3;
    /// `l`: lists.
    pub const LIST: u32 = 1 << 4;
    /// `s`: sets.
    pub const SET: u32 = 1 << 5;
    /// `h`: hashes.
    pub const HASH: u32 = 1 << 6;
    /// `z`: sorted sets.
    pub const ZSET: u32 = 1 << 7;
    /// `x`: a key expired.
    pub const EXPIRED: u32 = 1 << 8;
    /// `e`: a key was evicted.
    pub const EVICTED: u32 = 1 << 9;
    /// `t`: streams.
    pub const STREAM: u32 = 1 << 10;
    /// `m`: a read found no key. Not part of `A`.
    pub const KEY_MISS: u32 = 1 << 11;
    /// For modules only: a key was loaded.
    pub const LOADED: u32 = 1 << 12;
    /// `d`: types of modules.
    pub const MODULE: u32 = 1 << 13;
    /// `n`: a key came into being. Not part of `A`.
    pub const NEW: u32 = 1 << 14;
    /// `A`
    pub const ALL: u32 =
        GENERIC | STRING | LIST | SET | HASH | ZSET | EXPIRED | EVICTED | STREAM | MODULE;
}

/// A keyspace event.
pub struct Event {
    /// Its class, one bit of [`class`].
    pub class: u32,
    /// Its name.
    pub name: &'static CStr,
}

macro_rules! events {
    ($($class:ident: $($id:ident = $name:literal),+;)+) => {$($(
        #[doc = concat!("The event ", stringify!($name), ".")]
        pub static $id: Event = Event { class: class::$class, name: $name };
    )+)+};
}

events! {
    GENERIC: DEL = c"del", EXPIRE = c"expire", PERSIST = c"persist", RENAME_FROM = c"rename_from",
        RENAME_TO = c"rename_to", MOVE_FROM = c"move_from", MOVE_TO = c"move_to", COPY_TO = c"copy_to",
        RESTORE = c"restore";
    STRING: SET = c"set", SETRANGE = c"setrange", INCRBY = c"incrby", INCRBYFLOAT = c"incrbyfloat",
        APPEND = c"append", SETBIT = c"setbit", PFADD = c"pfadd";
    LIST: LPUSH = c"lpush", RPUSH = c"rpush", LPOP = c"lpop", RPOP = c"rpop", LSET = c"lset", LINSERT = c"linsert",
        LREM = c"lrem", LTRIM = c"ltrim", SORTSTORE = c"sortstore";
    SET: SADD = c"sadd", SREM = c"srem", SPOP = c"spop", SINTERSTORE = c"sinterstore",
        SUNIONSTORE = c"sunionstore", SDIFFSTORE = c"sdiffstore";
    HASH: HSET = c"hset", HDEL = c"hdel", HINCRBY = c"hincrby", HINCRBYFLOAT = c"hincrbyfloat",
        HEXPIRE = c"hexpire", HPERSIST = c"hpersist", HEXPIRED = c"hexpired";
    ZSET: ZADD = c"zadd", ZINCR = c"zincr", ZREM = c"zrem", ZREMBYRANK = c"zremrangebyrank",
        ZREMBYSCORE = c"zremrangebyscore", ZREMBYLEX = c"zremrangebylex", ZPOPMIN = c"zpopmin",
        ZPOPMAX = c"zpopmax", ZUNIONSTORE = c"zunionstore", ZINTERSTORE = c"zinterstore",
        ZDIFFSTORE = c"zdiffstore", ZRANGESTORE = c"zrangestore", GEORADIUSSTORE = c"georadiusstore",
        GEOSEARCHSTORE = c"geosearchstore";
    STREAM: XADD = c"xadd", XDEL = c"xdel", XTRIM = c"xtrim", XSETID = c"xsetid",
        XGROUP_CREATE = c"xgroup-create", XGROUP_SETID = c"xgroup-setid", XGROUP_DESTROY = c"xgroup-destroy",
        XGROUP_CREATECONSUMER = c"xgroup-createconsumer", XGROUP_DELCONSUMER = c"xgroup-delconsumer";
    EXPIRED: EXPIRED_KEY = c"expired";
    EVICTED: EVICTED_KEY = c"evicted";
    KEY_MISS: KEYMISS = c"keymiss";
    LOADED: LOADED_KEY = c"loaded";
    NEW: NEW_KEY = c"new";
}
