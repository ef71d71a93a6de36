//! What crosses the border to modules by layout or by value: constants, structs and the types of
//! the functions that modules hand over. The C side of the same facts is `include/redismodule.h`;
//! `tests/abi.rs` compares the two.
//!
//! Handles (contexts, strings, keys, ...) cross the border as addresses only, as [`Handle`]; their
//! layouts belong to the files that own them. Names are those of the field
//! without their `REDISMODULE_` and `RedisModule`.

use std::ffi::{c_char, c_int, c_long, c_uint, c_void, CStr};
use std::marker::PhantomData;

/// Defines constants of one type under one doc comment, and adds their names and values to
/// [`CONSTANTS`], which lets a test compare them with the C header.
macro_rules! constants {
    ($( #[$doc:meta] $type:ty: { $($name:ident = $value:expr,)+ } )+) => {
        $($( #[$doc] pub const $name: $type = $value; )+)+

        /// Every numeric constant of this file by name.
        pub const CONSTANTS: &[(&str, i64)] = &[$($( (stringify!($name), $name as i64), )+)+];
    };
}

constants! {
    /// Status values; the AUTH pair is what authentication callbacks return.
    c_int: { OK = 0, ERR = 1, AUTH_HANDLED = 0, AUTH_NOT_HANDLED = 1, }

    /// The only API version; a module states it and nobody checks it.
    c_int: { APIVER_1 = 1, }

    /// Version of [`TypeMethods`] that this server knows.
    u64: { TYPE_METHOD_VERSION = 5, }

    /// Modes of `OpenKey`.
    c_int: {
        READ = 1, WRITE = 1 << 1, OPEN_KEY_NOTOUCH = 1 << 16, OPEN_KEY_NONOTIFY = 1 << 17,
        OPEN_KEY_NOSTATS = 1 << 18, OPEN_KEY_NOEXPIRE = 1 << 19, OPEN_KEY_NOEFFECTS = 1 << 20,
        OPEN_KEY_ALL = 0x1f_0003,
    }

    /// Ends of a list.
    c_int: { LIST_HEAD = 0, LIST_TAIL = 1, }

    /// Key types, as `KeyType` gives them.
    c_int: {
        KEYTYPE_EMPTY = 0, KEYTYPE_STRING = 1, KEYTYPE_LIST = 2, KEYTYPE_HASH = 3, KEYTYPE_SET = 4,
        KEYTYPE_ZSET = 5, KEYTYPE_MODULE = 6, KEYTYPE_STREAM = 7,
    }

    /// Types of call replies.
    c_int: {
        REPLY_UNKNOWN = -1, REPLY_STRING = 0, REPLY_ERROR = 1, REPLY_INTEGER = 2, REPLY_ARRAY = 3,
        REPLY_NULL = 4, REPLY_MAP = 5, REPLY_SET = 6, REPLY_BOOL = 7, REPLY_DOUBLE = 8,
        REPLY_BIG_NUMBER = 9, REPLY_VERBATIM_STRING = 10, REPLY_ATTRIBUTE = 11, REPLY_PROMISE = 12,
    }

    /// A collection length to be told later with `ReplySet*Length`.
    c_long: { POSTPONED_ARRAY_LEN = -1, POSTPONED_LEN = -1, }

    /// `GetExpire` and `GetAbsExpire`: the key has no expiry.
    i64: { NO_EXPIRE = -1, }

    /// Sorted set flags: in XX, NX, GT, LT; out ADDED, UPDATED, NOP.
    c_int: {
        ZADD_XX = 1, ZADD_NX = 1 << 1, ZADD_ADDED = 1 << 2, ZADD_UPDATED = 1 << 3,
        ZADD_NOP = 1 << 4, ZADD_GT = 1 << 5, ZADD_LT = 1 << 6,
    }

    /// Flags of `HashSet` and `HashGet`.
    c_int: {
        HASH_NONE = 0, HASH_NX = 1, HASH_XX = 1 << 1, HASH_CFIELDS = 1 << 2, HASH_EXISTS = 1 << 3,
        HASH_COUNT_ALL = 1 << 4,
    }

    /// Flags of configuration parameters.
    c_uint: {
        CONFIG_DEFAULT = 0, CONFIG_IMMUTABLE = 1, CONFIG_SENSITIVE = 1 << 1,
        CONFIG_HIDDEN = 1 << 4, CONFIG_PROTECTED = 1 << 5, CONFIG_DENY_LOADING = 1 << 6,
        CONFIG_MEMORY = 1 << 7, CONFIG_BITFLAGS = 1 << 8,
    }

    /// Flags of the stream functions.
    c_int: {
        STREAM_ADD_AUTOID = 1, STREAM_ITERATOR_EXCLUSIVE = 1, STREAM_ITERATOR_REVERSE = 1 << 1,
        STREAM_TRIM_APPROX = 1,
    }

    /// Bits of `GetContextFlags`.
    c_int: {
        CTX_FLAGS_LUA = 1, CTX_FLAGS_MULTI = 1 << 1, CTX_FLAGS_MASTER = 1 << 2,
        CTX_FLAGS_SLAVE = 1 << 3, CTX_FLAGS_READONLY = 1 << 4, CTX_FLAGS_CLUSTER = 1 << 5,
        CTX_FLAGS_AOF = 1 << 6, CTX_FLAGS_RDB = 1 << 7, CTX_FLAGS_MAXMEMORY = 1 << 8,
        CTX_FLAGS_EVICT = 1 << 9, CTX_FLAGS_OOM = 1 << 10, CTX_FLAGS_OOM_WARNING = 1 << 11,
        CTX_FLAGS_REPLICATED = 1 << 12, CTX_FLAGS_LOADING = 1 << 13,
        CTX_FLAGS_REPLICA_IS_STALE = 1 << 14, CTX_FLAGS_REPLICA_IS_CONNECTING = 1 << 15,
        CTX_FLAGS_REPLICA_IS_TRANSFERRING = 1 << 16, CTX_FLAGS_REPLICA_IS_ONLINE = 1 << 17,
        CTX_FLAGS_ACTIVE_CHILD = 1 << 18, CTX_FLAGS_MULTI_DIRTY = 1 << 19,
        CTX_FLAGS_IS_CHILD = 1 << 20, CTX_FLAGS_DENY_BLOCKING = 1 << 21, CTX_FLAGS_RESP3 = 1 << 22,
        CTX_FLAGS_ASYNC_LOADING = 1 << 23, CTX_FLAGS_SERVER_STARTUP = 1 << 24,
        CTX_FLAGS_NEXT = 1 << 25,
    }

    /// Classes of keyspace notifications.
    c_int: {
        NOTIFY_KEYSPACE = 1, NOTIFY_KEYEVENT = 1 << 1, NOTIFY_GENERIC = 1 << 2,
        NOTIFY_STRING = 1 << 3, NOTIFY_LIST = 1 << 4, NOTIFY_SET = 1 << 5, NOTIFY_HASH = 1 << 6,
        NOTIFY_ZSET = 1 << 7, NOTIFY_EXPIRED = 1 << 8, NOTIFY_EVICTED = 1 << 9,
        NOTIFY_STREAM = 1 << 10, NOTIFY_KEY_MISS = 1 << 11, NOTIFY_LOADED = 1 << 12,
        NOTIFY_MODULE = 1 << 13, NOTIFY_NEW = 1 << 14, NOTIFY_NEXT = 1 << 15, NOTIFY_ALL = 0x27fc,
    }

    /// Length of a cluster node id, without a NUL.
    usize: { NODE_ID_LEN = 40, }

    /// Flags of `GetClusterNodeInfo`.
    c_int: {
        NODE_MYSELF = 1, NODE_MASTER = 1 << 1, NODE_SLAVE = 1 << 2, NODE_PFAIL = 1 << 3,
        NODE_FAIL = 1 << 4, NODE_NOFAILOVER = 1 << 5,
    }

    /// `SetClusterFlags`.
    u64: {
        CLUSTER_FLAG_NONE = 0, CLUSTER_FLAG_NO_FAILOVER = 1 << 1,
        CLUSTER_FLAG_NO_REDIRECTION = 1 << 2,
    }

    /// When aux data is saved and loaded; bits of `aux_save_triggers`.
    c_int: { AUX_BEFORE_RDB = 1, AUX_AFTER_RDB = 1 << 1, }

    /// Flags of `Yield`.
    c_int: { YIELD_FLAG_NONE = 1, YIELD_FLAG_CLIENTS = 1 << 1, }

    /// Flags of `BlockClientOnKeysWithFlags`.
    c_int: { BLOCK_UNBLOCK_DEFAULT = 0, BLOCK_UNBLOCK_DELETED = 1, }

    /// Flags of `RegisterCommandFilter`.
    c_int: { CMDFILTER_NOSELF = 1, }

    /// Bits of `SetModuleOptions`.
    c_int: {
        OPTIONS_HANDLE_IO_ERRORS = 1, OPTION_NO_IMPLICIT_SIGNAL_MODIFIED = 1 << 1,
        OPTIONS_HANDLE_REPL_ASYNC_LOAD = 1 << 2,
        OPTIONS_ALLOW_NESTED_KEYSPACE_NOTIFICATIONS = 1 << 3, OPTIONS_FLAGS_NEXT = 1 << 4,
    }

    /// Flags of [`CommandArg`].
    c_int: {
        CMD_ARG_NONE = 0, CMD_ARG_OPTIONAL = 1, CMD_ARG_MULTIPLE = 1 << 1,
        CMD_ARG_MULTIPLE_TOKEN = 1 << 2, CMD_ARG_NEXT = 1 << 3,
    }

    /// Flags of [`CommandKeySpec`] and of `KeyAtPosWithFlags`.
    u64: {
        CMD_KEY_RO = 1, CMD_KEY_RW = 1 << 1, CMD_KEY_OW = 1 << 2, CMD_KEY_RM = 1 << 3,
        CMD_KEY_ACCESS = 1 << 4, CMD_KEY_UPDATE = 1 << 5, CMD_KEY_INSERT = 1 << 6,
        CMD_KEY_DELETE = 1 << 7, CMD_KEY_NOT_KEY = 1 << 8, CMD_KEY_INCOMPLETE = 1 << 9,
        CMD_KEY_VARIABLE_FLAGS = 1 << 10,
    }

    /// Flags of `ChannelAtPosWithFlags`.
    u64: {
        CMD_CHANNEL_PATTERN = 1, CMD_CHANNEL_PUBLISH = 1 << 1, CMD_CHANNEL_SUBSCRIBE = 1 << 2,
        CMD_CHANNEL_UNSUBSCRIBE = 1 << 3,
    }

    /// Masks of `EventLoopAdd`.
    c_int: { EVENTLOOP_READABLE = 1, EVENTLOOP_WRITABLE = 2, }

    /// Server events.
    u64: {
        EVENT_REPLICATION_ROLE_CHANGED = 0, EVENT_PERSISTENCE = 1, EVENT_FLUSHDB = 2,
        EVENT_LOADING = 3, EVENT_CLIENT_CHANGE = 4, EVENT_SHUTDOWN = 5, EVENT_REPLICA_CHANGE = 6,
        EVENT_MASTER_LINK_CHANGE = 7, EVENT_CRON_LOOP = 8, EVENT_MODULE_CHANGE = 9,
        EVENT_LOADING_PROGRESS = 10, EVENT_SWAPDB = 11, EVENT_REPL_BACKUP = 12,
        EVENT_FORK_CHILD = 13, EVENT_REPL_ASYNC_LOAD = 14, EVENT_EVENTLOOP = 15, EVENT_CONFIG = 16,
        EVENT_KEY = 17, EVENT_NEXT = 18,
    }

    /// Subevents of ReplicationRoleChanged.
    u64: {
        EVENT_REPLROLECHANGED_NOW_MASTER = 0, EVENT_REPLROLECHANGED_NOW_REPLICA = 1,
        EVENT_REPLROLECHANGED_NEXT = 2,
    }

    /// Subevents of Persistence.
    u64: {
        SUBEVENT_PERSISTENCE_RDB_START = 0, SUBEVENT_PERSISTENCE_AOF_START = 1,
        SUBEVENT_PERSISTENCE_SYNC_RDB_START = 2, SUBEVENT_PERSISTENCE_ENDED = 3,
        SUBEVENT_PERSISTENCE_FAILED = 4, SUBEVENT_PERSISTENCE_SYNC_AOF_START = 5,
        SUBEVENT_PERSISTENCE_NEXT = 6,
    }

    /// Subevents of LoadingProgress.
    u64: {
        SUBEVENT_LOADING_PROGRESS_RDB = 0, SUBEVENT_LOADING_PROGRESS_AOF = 1,
        SUBEVENT_LOADING_PROGRESS_NEXT = 2,
    }

    /// Subevents of Loading.
    u64: {
        SUBEVENT_LOADING_RDB_START = 0, SUBEVENT_LOADING_AOF_START = 1,
        SUBEVENT_LOADING_REPL_START = 2, SUBEVENT_LOADING_ENDED = 3, SUBEVENT_LOADING_FAILED = 4,
        SUBEVENT_LOADING_NEXT = 5,
    }

    /// Subevents of ClientChange.
    u64: {
        SUBEVENT_CLIENT_CHANGE_CONNECTED = 0, SUBEVENT_CLIENT_CHANGE_DISCONNECTED = 1,
        SUBEVENT_CLIENT_CHANGE_NEXT = 2,
    }

    /// Subevents of MasterLinkChange.
    u64: { SUBEVENT_MASTER_LINK_UP = 0, SUBEVENT_MASTER_LINK_DOWN = 1, SUBEVENT_MASTER_NEXT = 2, }

    /// Subevents of ReplicaChange.
    u64: {
        SUBEVENT_REPLICA_CHANGE_ONLINE = 0, SUBEVENT_REPLICA_CHANGE_OFFLINE = 1,
        SUBEVENT_REPLICA_CHANGE_NEXT = 2,
    }

    /// Subevents of FlushDB.
    u64: { SUBEVENT_FLUSHDB_START = 0, SUBEVENT_FLUSHDB_END = 1, SUBEVENT_FLUSHDB_NEXT = 2, }

    /// Subevents of ModuleChange.
    u64: { SUBEVENT_MODULE_LOADED = 0, SUBEVENT_MODULE_UNLOADED = 1, SUBEVENT_MODULE_NEXT = 2, }

    /// Subevents of Config.
    u64: { SUBEVENT_CONFIG_CHANGE = 0, SUBEVENT_CONFIG_NEXT = 1, }

    /// Subevents of ReplBackup (never sent, but a subscription must succeed).
    u64: {
        SUBEVENT_REPL_BACKUP_CREATE = 0, SUBEVENT_REPL_BACKUP_RESTORE = 1,
        SUBEVENT_REPL_BACKUP_DISCARD = 2, SUBEVENT_REPL_BACKUP_NEXT = 3,
    }

    /// Subevents of ReplAsyncLoad.
    u64: {
        SUBEVENT_REPL_ASYNC_LOAD_STARTED = 0, SUBEVENT_REPL_ASYNC_LOAD_ABORTED = 1,
        SUBEVENT_REPL_ASYNC_LOAD_COMPLETED = 2, SUBEVENT_REPL_ASYNC_LOAD_NEXT = 3,
    }

    /// Subevents of ForkChild.
    u64: {
        SUBEVENT_FORK_CHILD_BORN = 0, SUBEVENT_FORK_CHILD_DIED = 1, SUBEVENT_FORK_CHILD_NEXT = 2,
    }

    /// Subevents of EventLoop.
    u64: {
        SUBEVENT_EVENTLOOP_BEFORE_SLEEP = 0, SUBEVENT_EVENTLOOP_AFTER_SLEEP = 1,
        SUBEVENT_EVENTLOOP_NEXT = 2,
    }

    /// Subevents of Key.
    u64: {
        SUBEVENT_KEY_DELETED = 0, SUBEVENT_KEY_EXPIRED = 1, SUBEVENT_KEY_EVICTED = 2,
        SUBEVENT_KEY_OVERWRITTEN = 3, SUBEVENT_KEY_NEXT = 4,
    }

    /// Events with one nameless subevent, for which `IsSubEventSupported` always says no.
    u64: { SUBEVENT_SHUTDOWN_NEXT = 0, SUBEVENT_CRON_LOOP_NEXT = 0, SUBEVENT_SWAPDB_NEXT = 0, }

    /// Bits of [`ClientInfo`]'s flags.
    u64: {
        CLIENTINFO_FLAG_SSL = 1, CLIENTINFO_FLAG_PUBSUB = 1 << 1, CLIENTINFO_FLAG_BLOCKED = 1 << 2,
        CLIENTINFO_FLAG_TRACKING = 1 << 3, CLIENTINFO_FLAG_UNIXSOCKET = 1 << 4,
        CLIENTINFO_FLAG_MULTI = 1 << 5,
    }

    /// Versions of the event data structs.
    u64: {
        CLIENTINFO_VERSION = 1, REPLICATIONINFO_VERSION = 1, FLUSHINFO_VERSION = 1,
        MODULE_CHANGE_VERSION = 1, CONFIGCHANGE_VERSION = 1, CRON_LOOP_VERSION = 1,
        LOADING_PROGRESS_VERSION = 1, SWAPDBINFO_VERSION = 1, KEYINFO_VERSION = 1,
    }

    /// Types of command arguments.
    c_int: {
        ARG_TYPE_STRING = 0, ARG_TYPE_INTEGER = 1, ARG_TYPE_DOUBLE = 2, ARG_TYPE_KEY = 3,
        ARG_TYPE_PATTERN = 4, ARG_TYPE_UNIX_TIME = 5, ARG_TYPE_PURE_TOKEN = 6, ARG_TYPE_ONEOF = 7,
        ARG_TYPE_BLOCK = 8,
    }

    /// How a key spec finds its first position.
    c_int: {
        KSPEC_BS_INVALID = 0, KSPEC_BS_UNKNOWN = 1, KSPEC_BS_INDEX = 2, KSPEC_BS_KEYWORD = 3,
    }

    /// How a key spec finds the keys from there.
    c_int: { KSPEC_FK_OMITTED = 0, KSPEC_FK_UNKNOWN = 1, KSPEC_FK_RANGE = 2, KSPEC_FK_KEYNUM = 3, }

    /// Reasons for an entry of the ACL log.
    c_int: { ACL_LOG_AUTH = 0, ACL_LOG_CMD = 1, ACL_LOG_KEY = 2, ACL_LOG_CHANNEL = 3, }

    // What only headers newer than 7.4 know. This server neither sends nor acts on these, but
    // modules may pass the flags, which must then be ignored and not refused.
    /// Redis 8: `OpenKey` modes, key types and flags.
    c_int: {
        OPEN_KEY_ACCESS_EXPIRED = 1 << 21, OPEN_KEY_ACCESS_TRIMMED = 1 << 22,
        KEYTYPE_GCRA = 1 << 3, HASH_EXPIRE_TIME = 1 << 5, CTX_FLAGS_DEBUG_ENABLED = 1 << 25,
        CTX_FLAGS_TRIM_IN_PROGRESS = 1 << 26,
    }

    /// Redis 8 and Redis Enterprise: classes of keyspace notifications.
    c_int: {
        NOTIFY_OVERWRITTEN = 1 << 15, NOTIFY_TYPE_CHANGED = 1 << 16, NOTIFY_KEY_TRIMMED = 1 << 17,
        NOTIFY_RATE_LIMIT = 1 << 18, NOTIFY_TRIMMED = 1 << 30,
    }

    /// Redis 8: flag of configuration parameters whose name has no module prefix.
    c_uint: { CONFIG_UNPREFIXED = 1 << 9, }
}

/// The error text for a key of the wrong type.
pub const ERRORMSG_WRONGTYPE: &CStr =
    c"WRONGTYPE Operation against a key holding the wrong kind of value";
/// Log levels by name; any other text means verbose.
pub const LOGLEVELS: [&CStr; 4] = [c"debug", c"verbose", c"notice", c"warning"];
/// The address that stands for "delete this field" as a value of `HashSet`.
pub const HASH_DELETE: usize = 1;

/// The address of something that only one side can look into.
pub type Handle = *mut c_void;

// ---------------------------------------------------------------------------------------------
// Functions that modules hand over. All may be null.

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

// ---------------------------------------------------------------------------------------------
// Data types.

/// `RedisModuleTypeMethods`, handed to `CreateDataType`.
///
/// What a module passes may be shorter (an older header) or state a larger version (a newer one):
/// take it with [`TypeMethods::read`].
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct TypeMethods {
    pub version: u64,
    pub rdb_load: TypeLoadFn,
    pub rdb_save: TypeSaveFn,
    pub aof_rewrite: TypeRewriteFn,
    pub mem_usage: TypeMemUsageFn,
    pub digest: TypeDigestFn,
    pub free: DataFn,
    pub aux_load: TypeAuxLoadFn,
    pub aux_save: TypeAuxSaveFn,
    pub aux_save_triggers: c_int,
    pub free_effort: TypeFreeEffortFn,
    pub unlink: TypeUnlinkFn,
    pub copy: TypeCopyFn,
    pub defrag: TypeDefragFn,
    pub mem_usage2: TypeMemUsage2Fn,
    pub free_effort2: TypeFreeEffortFn,
    pub unlink2: TypeUnlinkFn,
    pub copy2: TypeCopy2Fn,
    pub aux_save2: TypeAuxSaveFn,
}

impl TypeMethods {
    /// Bytes of the struct that a module which states `version` is sure to have.
    pub const fn size_at(version: u64) -> usize {
        match version {
            0 => 0,
            1 => 56,
            2 => 80,
            3 => 112,
            4 => 144,
            _ => 152,
        }
    }

    /// Copies a module's struct; what its version does not have stays null. `None` for version 0,
    /// which no header has.
    ///
    /// # Safety
    /// `from` points to the struct of a module, laid out as the version in its first word says.
    pub unsafe fn read(from: *const TypeMethods) -> Option<TypeMethods> {
        // SAFETY: ABI: every version starts with its number.
        let version = unsafe { *from.cast::<u64>() };
        let size = Self::size_at(version);
        if size == 0 {
            return None;
        }
        let mut methods = TypeMethods::default();
        // SAFETY: ABI: a struct of this version has `size` bytes; layout: ours is
        // as long or longer, and each field is null or zero when all its bytes are.
        unsafe {
            std::ptr::copy_nonoverlapping(from.cast::<u8>(), (&raw mut methods).cast::<u8>(), size);
        }
        Some(methods)
    }
}

// ---------------------------------------------------------------------------------------------
// Server events.

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

// ---------------------------------------------------------------------------------------------
// Command information. Arrays end with an element of zeros, and their elements have the size that
// the module was compiled with, which `CommandInfoVersion` tells.

/// `RedisModuleCommandInfoVersion`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct CommandInfoVersion {
    pub version: c_int,
    pub sizeof_historyentry: usize,
    pub sizeof_keyspec: usize,
    pub sizeof_arg: usize,
}

/// `RedisModuleCommandInfo`, handed to `SetCommandInfo`; a null `version` is an error.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct CommandInfo {
    pub version: *const CommandInfoVersion,
    pub summary: *const c_char,
    pub complexity: *const c_char,
    pub since: *const c_char,
    pub history: *const CommandHistoryEntry,
    pub tips: *const c_char,
    pub arity: c_int,
    pub key_specs: *const CommandKeySpec,
    pub args: *const CommandArg,
}

/// `RedisModuleCommandHistoryEntry`; a null `since` ends the array.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct CommandHistoryEntry {
    pub since: *const c_char,
    pub changes: *const c_char,
}

/// `RedisModuleCommandKeySpec`; a zero `begin_search_type` ends the array.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct CommandKeySpec {
    pub notes: *const c_char,
    pub flags: u64,
    pub begin_search_type: c_int,
    pub bs: BeginSearch,
    pub find_keys_type: c_int,
    pub fk: FindKeys,
}

/// Where the keys begin; `begin_search_type` tells which member holds.
#[repr(C)]
#[derive(Clone, Copy)]
pub union BeginSearch {
    pub index: BeginSearchIndex,
    pub keyword: BeginSearchKeyword,
}

/// `KSPEC_BS_INDEX`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct BeginSearchIndex {
    pub pos: c_int,
}

/// `KSPEC_BS_KEYWORD`; a negative `startfrom` searches backwards from the end.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct BeginSearchKeyword {
    pub keyword: *const c_char,
    pub startfrom: c_int,
}

/// Which keys there are; `find_keys_type` tells which member holds.
#[repr(C)]
#[derive(Clone, Copy)]
pub union FindKeys {
    pub range: FindKeysRange,
    pub keynum: FindKeysKeynum,
}

/// `KSPEC_FK_RANGE`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct FindKeysRange {
    pub lastkey: c_int,
    pub keystep: c_int,
    pub limit: c_int,
}

/// `KSPEC_FK_KEYNUM`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct FindKeysKeynum {
    pub keynumidx: c_int,
    pub firstkey: c_int,
    pub keystep: c_int,
}

/// `RedisModuleCommandArg` as the 7.0 header has it; a null `name` ends the array. Headers since
/// 7.2 append `display_text`: see [`CommandArg::display_text`].
#[repr(C)]
#[derive(Clone, Copy)]
pub struct CommandArg {
    pub name: *const c_char,
    pub arg_type: c_int,
    pub key_spec_index: c_int,
    pub token: *const c_char,
    pub summary: *const c_char,
    pub since: *const c_char,
    pub flags: c_int,
    pub deprecated_since: *const c_char,
    pub subargs: *const CommandArg,
}

impl CommandArg {
    /// Size of the struct in headers that have `display_text`, which is its last member.
    pub const SIZE_WITH_DISPLAY_TEXT: usize = 72;

    /// The display text of an argument; null if the module's header has none.
    ///
    /// # Safety
    /// `arg` points into an array of a module whose [`CommandInfoVersion::sizeof_arg`] is
    /// `sizeof_arg`.
    pub unsafe fn display_text(arg: *const CommandArg, sizeof_arg: usize) -> *const c_char {
        if sizeof_arg < Self::SIZE_WITH_DISPLAY_TEXT {
            return std::ptr::null();
        }
        // SAFETY: ABI: with this size the member follows the 64 bytes of the older struct.
        unsafe { *arg.add(1).cast::<*const c_char>() }
    }
}

/// An element of the arrays of command information.
pub trait Terminated {
    /// Whether this is the element after the last.
    fn ends(&self) -> bool;
}

impl Terminated for CommandHistoryEntry {
    fn ends(&self) -> bool {
        self.since.is_null()
    }
}

impl Terminated for CommandKeySpec {
    fn ends(&self) -> bool {
        self.begin_search_type == KSPEC_BS_INVALID
    }
}

impl Terminated for CommandArg {
    fn ends(&self) -> bool {
        self.name.is_null()
    }
}

/// Walks an array of command information in steps of the module's element size. A null array is
/// empty.
pub struct Elements<'a, T> {
    next: *const T,
    step: usize,
    array: PhantomData<&'a T>,
}

impl<T: Terminated> Elements<'_, T> {
    /// # Safety
    /// `first` is null or points to an array of the module that stays as it is for `'a`, whose
    /// elements are `step` bytes apart and begin with a `T`, and which ends as [`Terminated`] says.
    pub unsafe fn new(first: *const T, step: usize) -> Self {
        Elements { next: first, step, array: PhantomData }
    }
}

impl<'a, T: Terminated> Iterator for Elements<'a, T> {
    type Item = &'a T;

    fn next(&mut self) -> Option<&'a T> {
        if self.next.is_null() {
            return None;
        }
        // SAFETY: ABI: as promised to `new`, the array reaches to its last element at least.
        let element = unsafe { &*self.next };
        if element.ends() {
            return None;
        }
        // SAFETY: ABI: as promised to `new`, this was not the last element, so the next is `step`
        // bytes on.
        self.next = unsafe { self.next.byte_add(self.step) };
        Some(element)
    }
}
