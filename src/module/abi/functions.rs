//! The types of the functions that modules hand over. All may be null.
use super::{Event, Handle};
use std::ffi::{c_char, c_int, c_void};

/// A command, or the reply or timeout function of a blocked client: ctx, argv, argc.
pub type CommandFn = Option<unsafe extern "C" fn(Handle, *mut Handle, c_int) -> c_int>;
/// Blocked client gone: ctx, blocked client.
pub type DisconnectFn = Option<unsafe extern "C" fn(Handle, Handle)>;
/// Frees the private data of a blocked client: ctx, data.
pub type FreePrivdataFn = Option<unsafe extern "C" fn(Handle, *mut c_void)>;
/// Keyspace notification: ctx, class, event, key.
pub type NotificationFn =
    Option<unsafe extern "C" fn(Handle, c_int, *const c_char, Handle) -> c_int>;
/// Post-notification job, and timer: ctx, data.
pub type CtxDataFn = Option<unsafe extern "C" fn(Handle, *mut c_void)>;
/// Frees data, or runs once from the event loop: data.
pub type DataFn = Option<unsafe extern "C" fn(*mut c_void)>;
/// Server event: ctx, event, subevent, data.
pub type EventFn = Option<unsafe extern "C" fn(Handle, Event, u64, *mut c_void)>;
/// Cluster message: ctx, sender's node id, type, payload, length.
pub type ClusterMessageFn = Option<unsafe extern "C" fn(Handle, *const c_char, u8, *const u8, u32)>;
/// Command filter: filter context.
pub type CommandFilterFn = Option<unsafe extern "C" fn(Handle)>;
/// End of a forked child: exit code, signal, data.
pub type ForkDoneFn = Option<unsafe extern "C" fn(c_int, c_int, *mut c_void)>;
/// `Scan`: ctx, key name, key or null, data.
pub type ScanFn = Option<unsafe extern "C" fn(Handle, Handle, Handle, *mut c_void)>;
/// `ScanKey`: key, field, value (null for sets), data.
pub type ScanKeyFn = Option<unsafe extern "C" fn(Handle, Handle, Handle, *mut c_void)>;
/// Reads a string parameter: name, data; gives a string handle.
pub type ConfigGetStringFn = Option<unsafe extern "C" fn(*const c_char, *mut c_void) -> Handle>;
/// Reads a numeric parameter: name, data.
pub type ConfigGetNumericFn = Option<unsafe extern "C" fn(*const c_char, *mut c_void) -> i64>;
/// Reads a bool or enum parameter: name, data.
pub type ConfigGetIntFn = Option<unsafe extern "C" fn(*const c_char, *mut c_void) -> c_int>;
/// Sets a string parameter: name, value, data, where an error string goes.
pub type ConfigSetStringFn =
    Option<unsafe extern "C" fn(*const c_char, Handle, *mut c_void, *mut Handle) -> c_int>;
/// Sets a numeric parameter: name, value, data, where an error string goes.
pub type ConfigSetNumericFn =
    Option<unsafe extern "C" fn(*const c_char, i64, *mut c_void, *mut Handle) -> c_int>;
/// Sets a bool or enum parameter: name, value, data, where an error string goes.
pub type ConfigSetIntFn =
    Option<unsafe extern "C" fn(*const c_char, c_int, *mut c_void, *mut Handle) -> c_int>;
/// Applies the parameters just set: ctx, data, where an error string goes.
pub type ConfigApplyFn = Option<unsafe extern "C" fn(Handle, *mut c_void, *mut Handle) -> c_int>;
/// A promise was kept: ctx, reply, data.
pub type OnUnblockedFn = Option<unsafe extern "C" fn(Handle, Handle, *mut c_void)>;
/// Authentication: ctx, user name, password, where an error string goes.
pub type AuthFn = Option<unsafe extern "C" fn(Handle, Handle, Handle, *mut Handle) -> c_int>;
/// A client's user changed: client id, data.
pub type UserChangedFn = Option<unsafe extern "C" fn(u64, *mut c_void)>;
/// Descriptor ready: descriptor, data, mask.
pub type EventLoopFn = Option<unsafe extern "C" fn(c_int, *mut c_void, c_int)>;
/// INFO: info context, whether it is for a crash report.
pub type InfoFn = Option<unsafe extern "C" fn(Handle, c_int)>;
/// Global defragmentation: defrag context.
pub type DefragFn = Option<unsafe extern "C" fn(Handle)>;
/// Global defragmentation in steps (Redis 8.0): defrag context; 0 when all is done.
pub type DefragStepFn = Option<unsafe extern "C" fn(Handle) -> c_int>;
/// Defragmentation of a dictionary's value (Redis 8.0): defrag context, value, key and its length, where a new address of
/// the value goes; 0 when the value is done.
pub type DefragDictFn =
    Option<unsafe extern "C" fn(Handle, *mut c_void, *mut u8, usize, *mut *mut c_void) -> c_int>;

/// `rdb_load`: io, encoding version; null is a failure.
pub type TypeLoadFn = Option<unsafe extern "C" fn(Handle, c_int) -> *mut c_void>;
/// `rdb_save`: io, value.
pub type TypeSaveFn = Option<unsafe extern "C" fn(Handle, *mut c_void)>;
/// `aof_rewrite`: io, key name, value.
pub type TypeRewriteFn = Option<unsafe extern "C" fn(Handle, Handle, *mut c_void)>;
/// `mem_usage`: value.
pub type TypeMemUsageFn = Option<unsafe extern "C" fn(*const c_void) -> usize>;
/// `mem_usage2`: key context, value, sample size.
pub type TypeMemUsage2Fn = Option<unsafe extern "C" fn(Handle, *const c_void, usize) -> usize>;
/// `digest`: digest, value.
pub type TypeDigestFn = Option<unsafe extern "C" fn(Handle, *mut c_void)>;
/// `aux_load`: io, encoding version, when.
pub type TypeAuxLoadFn = Option<unsafe extern "C" fn(Handle, c_int, c_int) -> c_int>;
/// `aux_save` and `aux_save2`: io, when.
pub type TypeAuxSaveFn = Option<unsafe extern "C" fn(Handle, c_int)>;
/// `free_effort` (key name, value) and `free_effort2` (key context, value).
pub type TypeFreeEffortFn = Option<unsafe extern "C" fn(Handle, *const c_void) -> usize>;
/// `unlink` (key name, value) and `unlink2` (key context, value).
pub type TypeUnlinkFn = Option<unsafe extern "C" fn(Handle, *const c_void)>;
/// `copy`: name of the source key, name of the new key, value.
pub type TypeCopyFn = Option<unsafe extern "C" fn(Handle, Handle, *const c_void) -> *mut c_void>;
/// `copy2`: key context, value.
pub type TypeCopy2Fn = Option<unsafe extern "C" fn(Handle, *const c_void) -> *mut c_void>;
/// `defrag`: defrag context, key name, where the value's address stands.
pub type TypeDefragFn = Option<unsafe extern "C" fn(Handle, Handle, *mut *mut c_void) -> c_int>;
