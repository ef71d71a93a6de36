//! What crosses the border to modules by layout or by value: constants, structs and the types of
//! the functions that modules hand over. The C side of the same facts is `include/redismodule.h`;
//! `tests/abi.rs` compares the two.
//!
//! Handles (contexts, strings, keys, ...) cross the border as addresses only, as [`Handle`]; their
//! layouts belong to the files that own them. Names are those of the field
//! without their `REDISMODULE_` and `RedisModule`.

mod command;
mod events;
mod functions;
mod types;

pub use command::{
    BeginSearch, BeginSearchIndex, BeginSearchKeyword, CommandArg, CommandHistoryEntry,
    CommandInfo, CommandInfoVersion, CommandKeySpec, Elements, FindKeys, FindKeysKeynum,
    FindKeysRange, Terminated,
};
pub use events::{
    ClientInfo, ConfigChange, CronLoop, Event, FlushInfo, KeyInfo, LoadingProgress, ModuleChange,
    ReplicationInfo, SlotRange, SlotRangeArray, StreamId, SwapDbInfo,
};
pub use functions::{
    AuthFn, ClusterMessageFn, CommandFilterFn, CommandFn, ConfigApplyFn, ConfigGetIntFn,
    ConfigGetNumericFn, ConfigGetStringFn, ConfigSetIntFn, ConfigSetNumericFn, ConfigSetStringFn,
    CtxDataFn, DataFn, DefragDictFn, DefragFn, DefragStepFn, DisconnectFn, EventFn, EventLoopFn,
    ForkDoneFn, FreePrivdataFn, InfoFn, NotificationFn, OnUnblockedFn, ScanFn, ScanKeyFn,
    TypeAuxLoadFn, TypeAuxSaveFn, TypeCopy2Fn, TypeCopyFn, TypeDefragFn, TypeDigestFn,
    TypeFreeEffortFn, TypeLoadFn, TypeMemUsage2Fn, TypeMemUsageFn, TypeRewriteFn, TypeSaveFn,
    TypeUnlinkFn, UserChangedFn,
};
pub use types::TypeMethods;

use std::ffi::{c_int, c_long, c_uint, c_void, CStr};

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

    // What only headers newer than 7.4 know. Of these, ACCESS_EXPIRED, EXPIRE_TIME, DEBUG_ENABLED and what is about
    // parameters have their meaning here. The others this server neither sends nor acts on, but modules may pass the flags, which must then
    // be ignored and not refused.
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

    /// What sort of value `ConfigGetType` finds (Redis 8.2).
    c_int: {
        CONFIG_TYPE_STRING = 0, CONFIG_TYPE_ENUM = 1, CONFIG_TYPE_NUMERIC = 2, CONFIG_TYPE_BOOL = 3,
    }
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
