//! Server events and their data.
use super::Handle;
use std::ffi::{c_char, c_int};

/// `RedisModuleEvent`: passed by value, in two registers.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    pub id: u64,
    pub dataver: u64,
}

/// `RedisModuleClientInfo`: data of ClientChange; also what `GetClientInfoById` fills.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ClientInfo {
    pub version: u64,
    pub flags: u64,
    pub id: u64,
    pub addr: [c_char; 46],
    pub port: u16,
    pub db: u16,
}

/// `RedisModuleReplicationInfo`: data of ReplicationRoleChanged.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ReplicationInfo {
    pub version: u64,
    pub master: c_int,
    pub masterhost: *const c_char,
    pub masterport: c_int,
    pub replid1: *const c_char,
    pub replid2: *const c_char,
    pub repl1_offset: u64,
    pub repl2_offset: u64,
}

/// `RedisModuleFlushInfo`: data of FlushDB; `dbnum` -1 is all databases.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct FlushInfo {
    pub version: u64,
    pub sync: i32,
    pub dbnum: i32,
}

/// `RedisModuleModuleChange`: data of ModuleChange.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ModuleChange {
    pub version: u64,
    pub module_name: *const c_char,
    pub module_version: i32,
}

/// `RedisModuleConfigChange`: data of Config.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ConfigChange {
    pub version: u64,
    pub num_changes: u32,
    pub config_names: *const *const c_char,
}

/// `RedisModuleCronLoop`: data of CronLoop.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct CronLoop {
    pub version: u64,
    pub hz: i32,
}

/// `RedisModuleLoadingProgress`: data of LoadingProgress; `progress` is 0 to 1024, -1 unknown.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct LoadingProgress {
    pub version: u64,
    pub hz: i32,
    pub progress: i32,
}

/// `RedisModuleSwapDbInfo`: data of SwapDB.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct SwapDbInfo {
    pub version: u64,
    pub dbnum_first: i32,
    pub dbnum_second: i32,
}

/// `RedisModuleKeyInfo`: data of Key; the key is open for reading during the callback.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct KeyInfo {
    pub version: u64,
    pub key: Handle,
}

/// `RedisModuleStreamID`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct StreamId {
    pub ms: u64,
    pub seq: u64,
}

/// `RedisModuleSlotRange`: slots of a cluster, the last one included.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotRange {
    pub start: u16,
    pub end: u16,
}

/// `RedisModuleSlotRangeArray`: its ranges lie behind it.
#[repr(C)]
#[derive(Debug)]
pub struct SlotRangeArray {
    pub num_ranges: i32,
}
