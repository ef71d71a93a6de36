/* Backplane's header for the Redis module API.
 *
 * It names every function, constant and struct of the module API of Redis 7.4 with the values and
 * memory layouts that the servers use, and was written from these facts alone. A module compiled
 * with it runs on Redis 4.0 and later (functions that a server lacks are NULL there), on Valkey
 * 7.2.6 and later, and on Backplane; modules compiled with another redismodule.h run on Backplane.
 *
 * Use: include it, define RedisModule_OnLoad, and call RedisModule_Init first thing in it:
 *
 *     int RedisModule_OnLoad(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
 *         if (RedisModule_Init(ctx, "name", 1, REDISMODULE_APIVER_1) == REDISMODULE_ERR)
 *             return REDISMODULE_ERR;
 *         return RedisModule_CreateCommand(ctx, "name.hello", hello, "readonly fast", 0, 0, 0);
 *     }
 *
 * Each API function is a variable, a function pointer called RedisModule_<Name>, which Init fills.
 * A module of several files may include the header in each (with GCC and Clang in C the variables
 * are merged by the linker); where this is not wanted, define REDISMODULE_API as `extern` before
 * including it in all files but one.
 *
 * What the functions do, with their errors, is described in the public reference of the module API.
 *
 * License: BSD-3-Clause, as the whole of Backplane. */
#ifndef REDISMODULE_H
#define REDISMODULE_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/types.h>

/* ------------------------------------ Compiler attributes ------------------------------------ */

#ifndef REDISMODULE_ATTR_UNUSED
#if defined(__GNUC__)
#define REDISMODULE_ATTR_UNUSED __attribute__((unused))
#else
#define REDISMODULE_ATTR_UNUSED
#endif
#endif

#ifndef REDISMODULE_ATTR_PRINTF
#if defined(__GNUC__)
#define REDISMODULE_ATTR_PRINTF(format_index, first_arg) \
    __attribute__((format(printf, format_index, first_arg)))
#else
#define REDISMODULE_ATTR_PRINTF(format_index, first_arg)
#endif
#endif

/* Lets several files of one module define the same function pointers. */
#ifndef REDISMODULE_ATTR_COMMON
#if defined(__GNUC__) && !(defined(__clang__) && defined(__cplusplus))
#define REDISMODULE_ATTR_COMMON __attribute__((__common__))
#else
#define REDISMODULE_ATTR_COMMON
#endif
#endif

/* What stands before and after the declaration of each function pointer. */
#ifndef REDISMODULE_API
#define REDISMODULE_API
#endif
#ifndef REDISMODULE_ATTR
#define REDISMODULE_ATTR REDISMODULE_ATTR_COMMON
#endif

#define REDISMODULE_NOT_USED(V) ((void)(V))

/* ----------------------------------------- Constants ----------------------------------------- */

/* Status values */
#define REDISMODULE_OK 0
#define REDISMODULE_ERR 1
#define REDISMODULE_AUTH_HANDLED 0
#define REDISMODULE_AUTH_NOT_HANDLED 1

/* Versions: of the API, and of RedisModuleTypeMethods */
#define REDISMODULE_APIVER_1 1
#define REDISMODULE_TYPE_METHOD_VERSION 5

/* Modes of OpenKey */
#define REDISMODULE_READ (1 << 0)
#define REDISMODULE_WRITE (1 << 1)
#define REDISMODULE_OPEN_KEY_NOTOUCH (1 << 16)
#define REDISMODULE_OPEN_KEY_NONOTIFY (1 << 17)
#define REDISMODULE_OPEN_KEY_NOSTATS (1 << 18)
#define REDISMODULE_OPEN_KEY_NOEXPIRE (1 << 19)
#define REDISMODULE_OPEN_KEY_NOEFFECTS (1 << 20)
#define _REDISMODULE_OPEN_KEY_ALL \
    (REDISMODULE_READ | REDISMODULE_WRITE | REDISMODULE_OPEN_KEY_NOTOUCH | \
     REDISMODULE_OPEN_KEY_NONOTIFY | REDISMODULE_OPEN_KEY_NOSTATS | \
     REDISMODULE_OPEN_KEY_NOEXPIRE | REDISMODULE_OPEN_KEY_NOEFFECTS)

/* List ends */
#define REDISMODULE_LIST_HEAD 0
#define REDISMODULE_LIST_TAIL 1

/* Key types */
#define REDISMODULE_KEYTYPE_EMPTY 0
#define REDISMODULE_KEYTYPE_STRING 1
#define REDISMODULE_KEYTYPE_LIST 2
#define REDISMODULE_KEYTYPE_HASH 3
#define REDISMODULE_KEYTYPE_SET 4
#define REDISMODULE_KEYTYPE_ZSET 5
#define REDISMODULE_KEYTYPE_MODULE 6
#define REDISMODULE_KEYTYPE_STREAM 7

/* Types of call replies */
#define REDISMODULE_REPLY_UNKNOWN (-1)
#define REDISMODULE_REPLY_STRING 0
#define REDISMODULE_REPLY_ERROR 1
#define REDISMODULE_REPLY_INTEGER 2
#define REDISMODULE_REPLY_ARRAY 3
#define REDISMODULE_REPLY_NULL 4
#define REDISMODULE_REPLY_MAP 5
#define REDISMODULE_REPLY_SET 6
#define REDISMODULE_REPLY_BOOL 7
#define REDISMODULE_REPLY_DOUBLE 8
#define REDISMODULE_REPLY_BIG_NUMBER 9
#define REDISMODULE_REPLY_VERBATIM_STRING 10
#define REDISMODULE_REPLY_ATTRIBUTE 11
#define REDISMODULE_REPLY_PROMISE 12

/* A length to be told later with ReplySet*Length */
#define REDISMODULE_POSTPONED_ARRAY_LEN (-1)
#define REDISMODULE_POSTPONED_LEN (-1)

/* GetExpire: the key has no expiry */
#define REDISMODULE_NO_EXPIRE (-1)

/* Sorted sets: bits going in (XX NX GT LT) and coming out (ADDED UPDATED NOP) */
#define REDISMODULE_ZADD_XX (1 << 0)
#define REDISMODULE_ZADD_NX (1 << 1)
#define REDISMODULE_ZADD_ADDED (1 << 2)
#define REDISMODULE_ZADD_UPDATED (1 << 3)
#define REDISMODULE_ZADD_NOP (1 << 4)
#define REDISMODULE_ZADD_GT (1 << 5)
#define REDISMODULE_ZADD_LT (1 << 6)

/* Hashes */
#define REDISMODULE_HASH_NONE 0
#define REDISMODULE_HASH_NX (1 << 0)
#define REDISMODULE_HASH_XX (1 << 1)
#define REDISMODULE_HASH_CFIELDS (1 << 2)
#define REDISMODULE_HASH_EXISTS (1 << 3)
#define REDISMODULE_HASH_COUNT_ALL (1 << 4)
/* A value for HashSet that deletes the field. */
#define REDISMODULE_HASH_DELETE ((RedisModuleString *)(long)1)

/* Configuration parameters */
#define REDISMODULE_CONFIG_DEFAULT 0
#define REDISMODULE_CONFIG_IMMUTABLE (1ULL << 0)
#define REDISMODULE_CONFIG_SENSITIVE (1ULL << 1)
#define REDISMODULE_CONFIG_HIDDEN (1ULL << 4)
#define REDISMODULE_CONFIG_PROTECTED (1ULL << 5)
#define REDISMODULE_CONFIG_DENY_LOADING (1ULL << 6)
#define REDISMODULE_CONFIG_MEMORY (1ULL << 7)
#define REDISMODULE_CONFIG_BITFLAGS (1ULL << 8)

/* Streams */
#define REDISMODULE_STREAM_ADD_AUTOID (1 << 0)
#define REDISMODULE_STREAM_ITERATOR_EXCLUSIVE (1 << 0)
#define REDISMODULE_STREAM_ITERATOR_REVERSE (1 << 1)
#define REDISMODULE_STREAM_TRIM_APPROX (1 << 0)

/* GetContextFlags */
#define REDISMODULE_CTX_FLAGS_LUA (1 << 0)
#define REDISMODULE_CTX_FLAGS_MULTI (1 << 1)
#define REDISMODULE_CTX_FLAGS_MASTER (1 << 2)
#define REDISMODULE_CTX_FLAGS_SLAVE (1 << 3)
#define REDISMODULE_CTX_FLAGS_READONLY (1 << 4)
#define REDISMODULE_CTX_FLAGS_CLUSTER (1 << 5)
#define REDISMODULE_CTX_FLAGS_AOF (1 << 6)
#define REDISMODULE_CTX_FLAGS_RDB (1 << 7)
#define REDISMODULE_CTX_FLAGS_MAXMEMORY (1 << 8)
#define REDISMODULE_CTX_FLAGS_EVICT (1 << 9)
#define REDISMODULE_CTX_FLAGS_OOM (1 << 10)
#define REDISMODULE_CTX_FLAGS_OOM_WARNING (1 << 11)
#define REDISMODULE_CTX_FLAGS_REPLICATED (1 << 12)
#define REDISMODULE_CTX_FLAGS_LOADING (1 << 13)
#define REDISMODULE_CTX_FLAGS_REPLICA_IS_STALE (1 << 14)
#define REDISMODULE_CTX_FLAGS_REPLICA_IS_CONNECTING (1 << 15)
#define REDISMODULE_CTX_FLAGS_REPLICA_IS_TRANSFERRING (1 << 16)
#define REDISMODULE_CTX_FLAGS_REPLICA_IS_ONLINE (1 << 17)
#define REDISMODULE_CTX_FLAGS_ACTIVE_CHILD (1 << 18)
#define REDISMODULE_CTX_FLAGS_MULTI_DIRTY (1 << 19)
#define REDISMODULE_CTX_FLAGS_IS_CHILD (1 << 20)
#define REDISMODULE_CTX_FLAGS_DENY_BLOCKING (1 << 21)
#define REDISMODULE_CTX_FLAGS_RESP3 (1 << 22)
#define REDISMODULE_CTX_FLAGS_ASYNC_LOADING (1 << 23)
#define REDISMODULE_CTX_FLAGS_SERVER_STARTUP (1 << 24)
#define _REDISMODULE_CTX_FLAGS_NEXT (1 << 25)

/* Classes of keyspace notifications */
#define REDISMODULE_NOTIFY_KEYSPACE (1 << 0)
#define REDISMODULE_NOTIFY_KEYEVENT (1 << 1)
#define REDISMODULE_NOTIFY_GENERIC (1 << 2)
#define REDISMODULE_NOTIFY_STRING (1 << 3)
#define REDISMODULE_NOTIFY_LIST (1 << 4)
#define REDISMODULE_NOTIFY_SET (1 << 5)
#define REDISMODULE_NOTIFY_HASH (1 << 6)
#define REDISMODULE_NOTIFY_ZSET (1 << 7)
#define REDISMODULE_NOTIFY_EXPIRED (1 << 8)
#define REDISMODULE_NOTIFY_EVICTED (1 << 9)
#define REDISMODULE_NOTIFY_STREAM (1 << 10)
#define REDISMODULE_NOTIFY_KEY_MISS (1 << 11)
#define REDISMODULE_NOTIFY_LOADED (1 << 12)
#define REDISMODULE_NOTIFY_MODULE (1 << 13)
#define REDISMODULE_NOTIFY_NEW (1 << 14)
#define _REDISMODULE_NOTIFY_NEXT (1 << 15)
#define REDISMODULE_NOTIFY_ALL \
    (REDISMODULE_NOTIFY_GENERIC | REDISMODULE_NOTIFY_STRING | REDISMODULE_NOTIFY_LIST | \
     REDISMODULE_NOTIFY_SET | REDISMODULE_NOTIFY_HASH | REDISMODULE_NOTIFY_ZSET | \
     REDISMODULE_NOTIFY_EXPIRED | REDISMODULE_NOTIFY_EVICTED | REDISMODULE_NOTIFY_STREAM | \
     REDISMODULE_NOTIFY_MODULE)

/* The text for a wrong key type */
#define REDISMODULE_ERRORMSG_WRONGTYPE \
    "WRONGTYPE Operation against a key holding the wrong kind of value"

/* Cluster */
#define REDISMODULE_NODE_ID_LEN 40
#define REDISMODULE_NODE_MYSELF (1 << 0)
#define REDISMODULE_NODE_MASTER (1 << 1)
#define REDISMODULE_NODE_SLAVE (1 << 2)
#define REDISMODULE_NODE_PFAIL (1 << 3)
#define REDISMODULE_NODE_FAIL (1 << 4)
#define REDISMODULE_NODE_NOFAILOVER (1 << 5)
#define REDISMODULE_CLUSTER_FLAG_NONE 0
#define REDISMODULE_CLUSTER_FLAG_NO_FAILOVER (1 << 1)
#define REDISMODULE_CLUSTER_FLAG_NO_REDIRECTION (1 << 2)

/* Log levels */
#define REDISMODULE_LOGLEVEL_DEBUG "debug"
#define REDISMODULE_LOGLEVEL_VERBOSE "verbose"
#define REDISMODULE_LOGLEVEL_NOTICE "notice"
#define REDISMODULE_LOGLEVEL_WARNING "warning"

/* When aux data is saved and loaded */
#define REDISMODULE_AUX_BEFORE_RDB (1 << 0)
#define REDISMODULE_AUX_AFTER_RDB (1 << 1)

/* Yield */
#define REDISMODULE_YIELD_FLAG_NONE (1 << 0)
#define REDISMODULE_YIELD_FLAG_CLIENTS (1 << 1)

/* BlockClientOnKeysWithFlags */
#define REDISMODULE_BLOCK_UNBLOCK_DEFAULT 0
#define REDISMODULE_BLOCK_UNBLOCK_DELETED (1 << 0)

/* Command filters */
#define REDISMODULE_CMDFILTER_NOSELF (1 << 0)

/* SetModuleOptions */
#define REDISMODULE_OPTIONS_HANDLE_IO_ERRORS (1 << 0)
#define REDISMODULE_OPTION_NO_IMPLICIT_SIGNAL_MODIFIED (1 << 1)
#define REDISMODULE_OPTIONS_HANDLE_REPL_ASYNC_LOAD (1 << 2)
#define REDISMODULE_OPTIONS_ALLOW_NESTED_KEYSPACE_NOTIFICATIONS (1 << 3)
#define _REDISMODULE_OPTIONS_FLAGS_NEXT (1 << 4)

/* Command arguments */
#define REDISMODULE_CMD_ARG_NONE 0
#define REDISMODULE_CMD_ARG_OPTIONAL (1 << 0)
#define REDISMODULE_CMD_ARG_MULTIPLE (1 << 1)
#define REDISMODULE_CMD_ARG_MULTIPLE_TOKEN (1 << 2)
#define _REDISMODULE_CMD_ARG_NEXT (1 << 3)

/* Keys of commands */
#define REDISMODULE_CMD_KEY_RO (1ULL << 0)
#define REDISMODULE_CMD_KEY_RW (1ULL << 1)
#define REDISMODULE_CMD_KEY_OW (1ULL << 2)
#define REDISMODULE_CMD_KEY_RM (1ULL << 3)
#define REDISMODULE_CMD_KEY_ACCESS (1ULL << 4)
#define REDISMODULE_CMD_KEY_UPDATE (1ULL << 5)
#define REDISMODULE_CMD_KEY_INSERT (1ULL << 6)
#define REDISMODULE_CMD_KEY_DELETE (1ULL << 7)
#define REDISMODULE_CMD_KEY_NOT_KEY (1ULL << 8)
#define REDISMODULE_CMD_KEY_INCOMPLETE (1ULL << 9)
#define REDISMODULE_CMD_KEY_VARIABLE_FLAGS (1ULL << 10)

/* Channels of commands */
#define REDISMODULE_CMD_CHANNEL_PATTERN (1ULL << 0)
#define REDISMODULE_CMD_CHANNEL_PUBLISH (1ULL << 1)
#define REDISMODULE_CMD_CHANNEL_SUBSCRIBE (1ULL << 2)
#define REDISMODULE_CMD_CHANNEL_UNSUBSCRIBE (1ULL << 3)

/* Event loop masks */
#define REDISMODULE_EVENTLOOP_READABLE (1 << 0)
#define REDISMODULE_EVENTLOOP_WRITABLE (1 << 1)

/* Server events */
#define REDISMODULE_EVENT_REPLICATION_ROLE_CHANGED 0
#define REDISMODULE_EVENT_PERSISTENCE 1
#define REDISMODULE_EVENT_FLUSHDB 2
#define REDISMODULE_EVENT_LOADING 3
#define REDISMODULE_EVENT_CLIENT_CHANGE 4
#define REDISMODULE_EVENT_SHUTDOWN 5
#define REDISMODULE_EVENT_REPLICA_CHANGE 6
#define REDISMODULE_EVENT_MASTER_LINK_CHANGE 7
#define REDISMODULE_EVENT_CRON_LOOP 8
#define REDISMODULE_EVENT_MODULE_CHANGE 9
#define REDISMODULE_EVENT_LOADING_PROGRESS 10
#define REDISMODULE_EVENT_SWAPDB 11
#define REDISMODULE_EVENT_REPL_BACKUP 12
#define REDISMODULE_EVENT_FORK_CHILD 13
#define REDISMODULE_EVENT_REPL_ASYNC_LOAD 14
#define REDISMODULE_EVENT_EVENTLOOP 15
#define REDISMODULE_EVENT_CONFIG 16
#define REDISMODULE_EVENT_KEY 17
#define _REDISMODULE_EVENT_NEXT 18

/* Subevents; each _NEXT is one more than the last */
#define REDISMODULE_SUBEVENT_PERSISTENCE_RDB_START 0
#define REDISMODULE_SUBEVENT_PERSISTENCE_AOF_START 1
#define REDISMODULE_SUBEVENT_PERSISTENCE_SYNC_RDB_START 2
#define REDISMODULE_SUBEVENT_PERSISTENCE_ENDED 3
#define REDISMODULE_SUBEVENT_PERSISTENCE_FAILED 4
#define REDISMODULE_SUBEVENT_PERSISTENCE_SYNC_AOF_START 5
#define _REDISMODULE_SUBEVENT_PERSISTENCE_NEXT 6
#define REDISMODULE_SUBEVENT_LOADING_RDB_START 0
#define REDISMODULE_SUBEVENT_LOADING_AOF_START 1
#define REDISMODULE_SUBEVENT_LOADING_REPL_START 2
#define REDISMODULE_SUBEVENT_LOADING_ENDED 3
#define REDISMODULE_SUBEVENT_LOADING_FAILED 4
#define _REDISMODULE_SUBEVENT_LOADING_NEXT 5
#define REDISMODULE_SUBEVENT_CLIENT_CHANGE_CONNECTED 0
#define REDISMODULE_SUBEVENT_CLIENT_CHANGE_DISCONNECTED 1
#define _REDISMODULE_SUBEVENT_CLIENT_CHANGE_NEXT 2
#define REDISMODULE_SUBEVENT_MASTER_LINK_UP 0
#define REDISMODULE_SUBEVENT_MASTER_LINK_DOWN 1
#define _REDISMODULE_SUBEVENT_MASTER_NEXT 2
#define REDISMODULE_SUBEVENT_REPLICA_CHANGE_ONLINE 0
#define REDISMODULE_SUBEVENT_REPLICA_CHANGE_OFFLINE 1
#define _REDISMODULE_SUBEVENT_REPLICA_CHANGE_NEXT 2
#define REDISMODULE_EVENT_REPLROLECHANGED_NOW_MASTER 0
#define REDISMODULE_EVENT_REPLROLECHANGED_NOW_REPLICA 1
#define _REDISMODULE_EVENT_REPLROLECHANGED_NEXT 2
#define REDISMODULE_SUBEVENT_FLUSHDB_START 0
#define REDISMODULE_SUBEVENT_FLUSHDB_END 1
#define _REDISMODULE_SUBEVENT_FLUSHDB_NEXT 2
#define REDISMODULE_SUBEVENT_MODULE_LOADED 0
#define REDISMODULE_SUBEVENT_MODULE_UNLOADED 1
#define _REDISMODULE_SUBEVENT_MODULE_NEXT 2
#define REDISMODULE_SUBEVENT_CONFIG_CHANGE 0
#define _REDISMODULE_SUBEVENT_CONFIG_NEXT 1
#define REDISMODULE_SUBEVENT_LOADING_PROGRESS_RDB 0
#define REDISMODULE_SUBEVENT_LOADING_PROGRESS_AOF 1
#define _REDISMODULE_SUBEVENT_LOADING_PROGRESS_NEXT 2
#define REDISMODULE_SUBEVENT_REPL_BACKUP_CREATE 0
#define REDISMODULE_SUBEVENT_REPL_BACKUP_RESTORE 1
#define REDISMODULE_SUBEVENT_REPL_BACKUP_DISCARD 2
#define _REDISMODULE_SUBEVENT_REPL_BACKUP_NEXT 3
#define REDISMODULE_SUBEVENT_REPL_ASYNC_LOAD_STARTED 0
#define REDISMODULE_SUBEVENT_REPL_ASYNC_LOAD_ABORTED 1
#define REDISMODULE_SUBEVENT_REPL_ASYNC_LOAD_COMPLETED 2
#define _REDISMODULE_SUBEVENT_REPL_ASYNC_LOAD_NEXT 3
#define REDISMODULE_SUBEVENT_FORK_CHILD_BORN 0
#define REDISMODULE_SUBEVENT_FORK_CHILD_DIED 1
#define _REDISMODULE_SUBEVENT_FORK_CHILD_NEXT 2
#define REDISMODULE_SUBEVENT_EVENTLOOP_BEFORE_SLEEP 0
#define REDISMODULE_SUBEVENT_EVENTLOOP_AFTER_SLEEP 1
#define _REDISMODULE_SUBEVENT_EVENTLOOP_NEXT 2
#define REDISMODULE_SUBEVENT_KEY_DELETED 0
#define REDISMODULE_SUBEVENT_KEY_EXPIRED 1
#define REDISMODULE_SUBEVENT_KEY_EVICTED 2
#define REDISMODULE_SUBEVENT_KEY_OVERWRITTEN 3
#define _REDISMODULE_SUBEVENT_KEY_NEXT 4
#define _REDISMODULE_SUBEVENT_SHUTDOWN_NEXT 0
#define _REDISMODULE_SUBEVENT_CRON_LOOP_NEXT 0
#define _REDISMODULE_SUBEVENT_SWAPDB_NEXT 0

/* Clients */
#define REDISMODULE_CLIENTINFO_FLAG_SSL (1 << 0)
#define REDISMODULE_CLIENTINFO_FLAG_PUBSUB (1 << 1)
#define REDISMODULE_CLIENTINFO_FLAG_BLOCKED (1 << 2)
#define REDISMODULE_CLIENTINFO_FLAG_TRACKING (1 << 3)
#define REDISMODULE_CLIENTINFO_FLAG_UNIXSOCKET (1 << 4)
#define REDISMODULE_CLIENTINFO_FLAG_MULTI (1 << 5)

/* Versions of the event data structs */
#define REDISMODULE_CLIENTINFO_VERSION 1
#define REDISMODULE_REPLICATIONINFO_VERSION 1
#define REDISMODULE_FLUSHINFO_VERSION 1
#define REDISMODULE_MODULE_CHANGE_VERSION 1
#define REDISMODULE_CONFIGCHANGE_VERSION 1
#define REDISMODULE_CRON_LOOP_VERSION 1
#define REDISMODULE_LOADING_PROGRESS_VERSION 1
#define REDISMODULE_SWAPDBINFO_VERSION 1
#define REDISMODULE_KEYINFO_VERSION 1

/* Redis 8 only: a 7.4 server neither knows nor sends these. */
#define REDISMODULE_OPEN_KEY_ACCESS_EXPIRED (1 << 21)
#define REDISMODULE_OPEN_KEY_ACCESS_TRIMMED (1 << 22)
#define REDISMODULE_KEYTYPE_GCRA 8
#define REDISMODULE_HASH_EXPIRE_TIME (1 << 5)
#define REDISMODULE_CONFIG_UNPREFIXED (1ULL << 9)
#define REDISMODULE_CTX_FLAGS_DEBUG_ENABLED (1 << 25)
#define REDISMODULE_CTX_FLAGS_TRIM_IN_PROGRESS (1 << 26)
#define REDISMODULE_NOTIFY_OVERWRITTEN (1 << 15)
#define REDISMODULE_NOTIFY_TYPE_CHANGED (1 << 16)
#define REDISMODULE_NOTIFY_KEY_TRIMMED (1 << 17)
#define REDISMODULE_NOTIFY_RATE_LIMIT (1 << 18)
#define REDISMODULE_NOTIFY_TRIMMED (1 << 30)
#define REDISMODULE_EVENT_CLUSTER_SLOT_MIGRATION 18
#define REDISMODULE_EVENT_CLUSTER_SLOT_MIGRATION_TRIM 19
#define REDISMODULE_SUBEVENT_CLUSTER_SLOT_MIGRATION_IMPORT_STARTED 0
#define REDISMODULE_SUBEVENT_CLUSTER_SLOT_MIGRATION_IMPORT_FAILED 1
#define REDISMODULE_SUBEVENT_CLUSTER_SLOT_MIGRATION_IMPORT_COMPLETED 2
#define REDISMODULE_SUBEVENT_CLUSTER_SLOT_MIGRATION_MIGRATE_STARTED 3
#define REDISMODULE_SUBEVENT_CLUSTER_SLOT_MIGRATION_MIGRATE_FAILED 4
#define REDISMODULE_SUBEVENT_CLUSTER_SLOT_MIGRATION_MIGRATE_COMPLETED 5
#define REDISMODULE_SUBEVENT_CLUSTER_SLOT_MIGRATION_MIGRATE_MODULE_PROPAGATE 6
#define _REDISMODULE_SUBEVENT_CLUSTER_SLOT_MIGRATION_NEXT 7
#define REDISMODULE_SUBEVENT_CLUSTER_SLOT_MIGRATION_TRIM_STARTED 0
#define REDISMODULE_SUBEVENT_CLUSTER_SLOT_MIGRATION_TRIM_COMPLETED 1
#define REDISMODULE_SUBEVENT_CLUSTER_SLOT_MIGRATION_TRIM_BACKGROUND 2
#define _REDISMODULE_SUBEVENT_CLUSTER_SLOT_MIGRATION_TRIM_NEXT 3
#define REDISMODULE_CLUSTER_SLOT_MIGRATION_INFO_VERSION 1
#define REDISMODULE_CLUSTER_SLOT_MIGRATION_TRIMINFO_VERSION 1

/* Kinds of command arguments */
typedef enum {
    REDISMODULE_ARG_TYPE_STRING = 0,
    REDISMODULE_ARG_TYPE_INTEGER = 1,
    REDISMODULE_ARG_TYPE_DOUBLE = 2,
    REDISMODULE_ARG_TYPE_KEY = 3,
    REDISMODULE_ARG_TYPE_PATTERN = 4,
    REDISMODULE_ARG_TYPE_UNIX_TIME = 5,
    REDISMODULE_ARG_TYPE_PURE_TOKEN = 6,
    REDISMODULE_ARG_TYPE_ONEOF = 7,
    REDISMODULE_ARG_TYPE_BLOCK = 8
} RedisModuleCommandArgType;

/* How a key spec finds its first position */
typedef enum {
    REDISMODULE_KSPEC_BS_INVALID = 0,
    REDISMODULE_KSPEC_BS_UNKNOWN = 1,
    REDISMODULE_KSPEC_BS_INDEX = 2,
    REDISMODULE_KSPEC_BS_KEYWORD = 3
} RedisModuleKeySpecBeginSearchType;

/* How a key spec finds the keys from there */
typedef enum {
    REDISMODULE_KSPEC_FK_OMITTED = 0,
    REDISMODULE_KSPEC_FK_UNKNOWN = 1,
    REDISMODULE_KSPEC_FK_RANGE = 2,
    REDISMODULE_KSPEC_FK_KEYNUM = 3
} RedisModuleKeySpecFindKeysType;

/* Why an ACL log entry was made */
typedef enum {
    REDISMODULE_ACL_LOG_AUTH = 0,
    REDISMODULE_ACL_LOG_CMD = 1,
    REDISMODULE_ACL_LOG_KEY = 2,
    REDISMODULE_ACL_LOG_CHANNEL = 3
} RedisModuleACLLogEntryReason;

/* Kinds of configuration parameters (Redis 8) */
typedef enum {
    REDISMODULE_CONFIG_TYPE_STRING = 0,
    REDISMODULE_CONFIG_TYPE_ENUM = 1,
    REDISMODULE_CONFIG_TYPE_NUMERIC = 2,
    REDISMODULE_CONFIG_TYPE_BOOL = 3
} RedisModuleConfigType;

/* ------------------------------------------- Types ------------------------------------------- */

/* Milliseconds and microseconds. */
typedef long long mstime_t;
typedef long long ustime_t;

/* Handles. Their content belongs to the server, but for the first word of a RedisModuleCtx, which
 * is the address of GetApi. */
typedef struct RedisModuleBlockedClient RedisModuleBlockedClient;
typedef struct RedisModuleCallReply RedisModuleCallReply;
typedef struct RedisModuleClusterInfo RedisModuleClusterInfo;
typedef struct RedisModuleCommand RedisModuleCommand;
typedef struct RedisModuleCommandFilter RedisModuleCommandFilter;
typedef struct RedisModuleCommandFilterCtx RedisModuleCommandFilterCtx;
typedef struct RedisModuleConfigIterator RedisModuleConfigIterator;
typedef struct RedisModuleCtx RedisModuleCtx;
typedef struct RedisModuleDefragCtx RedisModuleDefragCtx;
typedef struct RedisModuleDict RedisModuleDict;
typedef struct RedisModuleDictIter RedisModuleDictIter;
typedef struct RedisModuleDigest RedisModuleDigest;
typedef struct RedisModuleIO RedisModuleIO;
typedef struct RedisModuleInfoCtx RedisModuleInfoCtx;
typedef struct RedisModuleKey RedisModuleKey;
typedef struct RedisModuleKeyOptCtx RedisModuleKeyOptCtx;
typedef struct RedisModuleRdbStream RedisModuleRdbStream;
typedef struct RedisModuleScanCursor RedisModuleScanCursor;
typedef struct RedisModuleServerInfoData RedisModuleServerInfoData;
typedef struct RedisModuleString RedisModuleString;
typedef struct RedisModuleType RedisModuleType;
typedef struct RedisModuleUser RedisModuleUser;

typedef uint64_t RedisModuleTimerID;

typedef struct RedisModuleStreamID {
    uint64_t ms;
    uint64_t seq;
} RedisModuleStreamID;

/* A server event and the version of its data struct that the module understands; it is passed by
 * value. */
typedef struct RedisModuleEvent {
    uint64_t id;
    uint64_t dataver;
} RedisModuleEvent;

/* ----- Command information, for SetCommandInfo ----- */

typedef struct RedisModuleCommandArg {
    const char *name; /* NULL ends an array of arguments */
    RedisModuleCommandArgType type;
    int key_spec_index; /* for keys: their place in key_specs; -1 otherwise */
    const char *token;
    const char *summary;
    const char *since;
    int flags; /* REDISMODULE_CMD_ARG_* */
    const char *deprecated_since;
    struct RedisModuleCommandArg *subargs; /* for ONEOF and BLOCK */
    const char *display_text;
} RedisModuleCommandArg;

typedef struct {
    const char *since; /* NULL ends the array */
    const char *changes;
} RedisModuleCommandHistoryEntry;

typedef struct {
    const char *notes;
    uint64_t flags; /* REDISMODULE_CMD_KEY_* */
    RedisModuleKeySpecBeginSearchType begin_search_type; /* INVALID ends the array */
    union {
        struct {
            int pos;
        } index;
        struct {
            const char *keyword;
            int startfrom; /* negative: searched backwards from the end */
        } keyword;
    } bs;
    RedisModuleKeySpecFindKeysType find_keys_type;
    union {
        struct {
            int lastkey; /* relative to the begin position; negative: from the end */
            int keystep;
            int limit; /* with lastkey -1: only the first 1/limit of what remains */
        } range;
        struct {
            int keynumidx; /* relative to the begin position, as is firstkey */
            int firstkey;
            int keystep;
        } keynum;
    } fk;
} RedisModuleCommandKeySpec;

/* Tells the server with which struct sizes the module was compiled. */
typedef struct {
    int version;
    size_t sizeof_historyentry;
    size_t sizeof_keyspec;
    size_t sizeof_arg;
} RedisModuleCommandInfoVersion;

static const RedisModuleCommandInfoVersion RedisModule_CurrentCommandInfoVersion
    REDISMODULE_ATTR_UNUSED = {1, sizeof(RedisModuleCommandHistoryEntry),
                               sizeof(RedisModuleCommandKeySpec), sizeof(RedisModuleCommandArg)};
#define REDISMODULE_COMMAND_INFO_VERSION (&RedisModule_CurrentCommandInfoVersion)

typedef struct {
    const RedisModuleCommandInfoVersion *version; /* REDISMODULE_COMMAND_INFO_VERSION */
    const char *summary;
    const char *complexity;
    const char *since;
    RedisModuleCommandHistoryEntry *history;
    const char *tips; /* separated by spaces */
    int arity;        /* 0 leaves it as it is */
    RedisModuleCommandKeySpec *key_specs;
    RedisModuleCommandArg *args;
} RedisModuleCommandInfo;

/* ----- Data that comes with server events ----- */

/* ClientChange; also filled by GetClientInfoById. */
typedef struct RedisModuleClientInfo {
    uint64_t version;
    uint64_t flags; /* REDISMODULE_CLIENTINFO_FLAG_* */
    uint64_t id;
    char addr[46];
    uint16_t port;
    uint16_t db;
} RedisModuleClientInfoV1;
#define RedisModuleClientInfo RedisModuleClientInfoV1
#define REDISMODULE_CLIENTINFO_INITIALIZER_V1 {1, 0, 0, {0}, 0, 0}

/* ReplicationRoleChanged */
typedef struct RedisModuleReplicationInfo {
    uint64_t version;
    int master;       /* whether this server is the primary now */
    char *masterhost; /* of a replica: its primary */
    int masterport;
    char *replid1;
    char *replid2;
    uint64_t repl1_offset;
    uint64_t repl2_offset;
} RedisModuleReplicationInfoV1;
#define RedisModuleReplicationInfo RedisModuleReplicationInfoV1

/* FlushDB */
typedef struct RedisModuleFlushInfo {
    uint64_t version;
    int32_t sync;
    int32_t dbnum; /* -1: all databases */
} RedisModuleFlushInfoV1;
#define RedisModuleFlushInfo RedisModuleFlushInfoV1

/* ModuleChange */
typedef struct RedisModuleModuleChange {
    uint64_t version;
    const char *module_name;
    int32_t module_version;
} RedisModuleModuleChangeV1;
#define RedisModuleModuleChange RedisModuleModuleChangeV1

/* Config */
typedef struct RedisModuleConfigChange {
    uint64_t version;
    uint32_t num_changes;
    const char **config_names;
} RedisModuleConfigChangeV1;
#define RedisModuleConfigChange RedisModuleConfigChangeV1

/* CronLoop */
typedef struct RedisModuleCronLoopInfo {
    uint64_t version;
    int32_t hz;
} RedisModuleCronLoopV1;
#define RedisModuleCronLoop RedisModuleCronLoopV1

/* LoadingProgress */
typedef struct RedisModuleLoadingProgressInfo {
    uint64_t version;
    int32_t hz;
    int32_t progress; /* 0 to 1024, or -1 when unknown */
} RedisModuleLoadingProgressV1;
#define RedisModuleLoadingProgress RedisModuleLoadingProgressV1

/* SwapDB */
typedef struct RedisModuleSwapDbInfo {
    uint64_t version;
    int32_t dbnum_first;
    int32_t dbnum_second;
} RedisModuleSwapDbInfoV1;
#define RedisModuleSwapDbInfo RedisModuleSwapDbInfoV1

/* Key: the key is opened for reading and is closed by the server. */
typedef struct RedisModuleKeyInfo {
    uint64_t version;
    RedisModuleKey *key;
} RedisModuleKeyInfoV1;
#define RedisModuleKeyInfo RedisModuleKeyInfoV1

/* Redis 8: slots */
typedef struct RedisModuleSlotRange {
    uint16_t start;
    uint16_t end;
} RedisModuleSlotRange;

typedef struct RedisModuleSlotRangeArray {
    int32_t num_ranges;
    RedisModuleSlotRange ranges[];
} RedisModuleSlotRangeArray;

/* ClusterSlotMigration (Redis 8) */
typedef struct RedisModuleClusterSlotMigrationInfo {
    uint64_t version;
    char source_node_id[REDISMODULE_NODE_ID_LEN + 1];
    char destination_node_id[REDISMODULE_NODE_ID_LEN + 1];
    const char *task_id;
    RedisModuleSlotRangeArray *slots;
} RedisModuleClusterSlotMigrationInfoV1;
#define RedisModuleClusterSlotMigrationInfo RedisModuleClusterSlotMigrationInfoV1

/* ClusterSlotMigrationTrim (Redis 8) */
typedef struct RedisModuleClusterSlotMigrationTrimInfo {
    uint64_t version;
    RedisModuleSlotRangeArray *slots;
} RedisModuleClusterSlotMigrationTrimInfoV1;
#define RedisModuleClusterSlotMigrationTrimInfo RedisModuleClusterSlotMigrationTrimInfoV1

/* The events to hand to SubscribeToServerEvent. */
#define REDISMODULE_EVENT_VALUE_(name, id) \
    static const RedisModuleEvent RedisModuleEvent_##name REDISMODULE_ATTR_UNUSED = {id, 1}
REDISMODULE_EVENT_VALUE_(ReplicationRoleChanged, REDISMODULE_EVENT_REPLICATION_ROLE_CHANGED);
REDISMODULE_EVENT_VALUE_(Persistence, REDISMODULE_EVENT_PERSISTENCE);
REDISMODULE_EVENT_VALUE_(FlushDB, REDISMODULE_EVENT_FLUSHDB);
REDISMODULE_EVENT_VALUE_(Loading, REDISMODULE_EVENT_LOADING);
REDISMODULE_EVENT_VALUE_(ClientChange, REDISMODULE_EVENT_CLIENT_CHANGE);
REDISMODULE_EVENT_VALUE_(Shutdown, REDISMODULE_EVENT_SHUTDOWN);
REDISMODULE_EVENT_VALUE_(ReplicaChange, REDISMODULE_EVENT_REPLICA_CHANGE);
REDISMODULE_EVENT_VALUE_(MasterLinkChange, REDISMODULE_EVENT_MASTER_LINK_CHANGE);
REDISMODULE_EVENT_VALUE_(CronLoop, REDISMODULE_EVENT_CRON_LOOP);
REDISMODULE_EVENT_VALUE_(ModuleChange, REDISMODULE_EVENT_MODULE_CHANGE);
REDISMODULE_EVENT_VALUE_(LoadingProgress, REDISMODULE_EVENT_LOADING_PROGRESS);
REDISMODULE_EVENT_VALUE_(SwapDB, REDISMODULE_EVENT_SWAPDB);
REDISMODULE_EVENT_VALUE_(ReplBackup, REDISMODULE_EVENT_REPL_BACKUP);
REDISMODULE_EVENT_VALUE_(ForkChild, REDISMODULE_EVENT_FORK_CHILD);
REDISMODULE_EVENT_VALUE_(ReplAsyncLoad, REDISMODULE_EVENT_REPL_ASYNC_LOAD);
REDISMODULE_EVENT_VALUE_(EventLoop, REDISMODULE_EVENT_EVENTLOOP);
REDISMODULE_EVENT_VALUE_(Config, REDISMODULE_EVENT_CONFIG);
REDISMODULE_EVENT_VALUE_(Key, REDISMODULE_EVENT_KEY);
REDISMODULE_EVENT_VALUE_(ClusterSlotMigration, REDISMODULE_EVENT_CLUSTER_SLOT_MIGRATION);
REDISMODULE_EVENT_VALUE_(ClusterSlotMigrationTrim, REDISMODULE_EVENT_CLUSTER_SLOT_MIGRATION_TRIM);

/* ----- Functions that the server calls ----- */

typedef int (*RedisModuleCmdFunc)(RedisModuleCtx *ctx, RedisModuleString **argv, int argc);
typedef void (*RedisModuleDisconnectFunc)(RedisModuleCtx *ctx, RedisModuleBlockedClient *bc);
typedef int (*RedisModuleNotificationFunc)(RedisModuleCtx *ctx, int type, const char *event,
    RedisModuleString *key);
typedef void (*RedisModulePostNotificationJobFunc)(RedisModuleCtx *ctx, void *data);
typedef void (*RedisModuleEventCallback)(struct RedisModuleCtx *ctx, RedisModuleEvent event,
    uint64_t subevent, void *data);
typedef void *(*RedisModuleTypeLoadFunc)(RedisModuleIO *io, int encver);
typedef void (*RedisModuleTypeSaveFunc)(RedisModuleIO *io, void *value);
typedef int (*RedisModuleTypeAuxLoadFunc)(RedisModuleIO *io, int encver, int when);
typedef void (*RedisModuleTypeAuxSaveFunc)(RedisModuleIO *io, int when);
typedef void (*RedisModuleTypeRewriteFunc)(RedisModuleIO *io, RedisModuleString *key, void *value);
typedef size_t (*RedisModuleTypeMemUsageFunc)(const void *value);
typedef size_t (*RedisModuleTypeMemUsageFunc2)(RedisModuleKeyOptCtx *ctx, const void *value,
    size_t sample_size);
typedef void (*RedisModuleTypeDigestFunc)(RedisModuleDigest *digest, void *value);
typedef void (*RedisModuleTypeFreeFunc)(void *value);
typedef size_t (*RedisModuleTypeFreeEffortFunc)(RedisModuleString *key, const void *value);
typedef size_t (*RedisModuleTypeFreeEffortFunc2)(RedisModuleKeyOptCtx *ctx, const void *value);
typedef void (*RedisModuleTypeUnlinkFunc)(RedisModuleString *key, const void *value);
typedef void (*RedisModuleTypeUnlinkFunc2)(RedisModuleKeyOptCtx *ctx, const void *value);
typedef void *(*RedisModuleTypeCopyFunc)(RedisModuleString *from, RedisModuleString *to,
    const void *value);
typedef void *(*RedisModuleTypeCopyFunc2)(RedisModuleKeyOptCtx *ctx, const void *value);
typedef int (*RedisModuleTypeDefragFunc)(RedisModuleDefragCtx *ctx, RedisModuleString *key,
    void **value);
typedef void (*RedisModuleDefragFunc)(RedisModuleDefragCtx *ctx);
typedef int (*RedisModuleDefragFunc2)(RedisModuleDefragCtx *ctx);
typedef int (*RedisModuleDefragDictValueCallback)(RedisModuleDefragCtx *ctx, void *value,
    unsigned char *key, size_t key_len, void **new_value);
typedef void (*RedisModuleClusterMessageReceiver)(RedisModuleCtx *ctx, const char *sender_id,
    uint8_t type, const unsigned char *payload, uint32_t len);
typedef void (*RedisModuleTimerProc)(RedisModuleCtx *ctx, void *data);
typedef void (*RedisModuleCommandFilterFunc)(RedisModuleCommandFilterCtx *filter);
typedef void (*RedisModuleForkDoneHandler)(int exit_code, int by_signal, void *data);
typedef void (*RedisModuleScanCB)(RedisModuleCtx *ctx, RedisModuleString *name, RedisModuleKey *key,
    void *data);
typedef void (*RedisModuleScanKeyCB)(RedisModuleKey *key, RedisModuleString *field,
    RedisModuleString *value, void *data);
typedef RedisModuleString *(*RedisModuleConfigGetStringFunc)(const char *name, void *data);
typedef long long (*RedisModuleConfigGetNumericFunc)(const char *name, void *data);
typedef int (*RedisModuleConfigGetBoolFunc)(const char *name, void *data);
typedef int (*RedisModuleConfigGetEnumFunc)(const char *name, void *data);
typedef int (*RedisModuleConfigSetStringFunc)(const char *name, RedisModuleString *value,
    void *data, RedisModuleString **err);
typedef int (*RedisModuleConfigSetNumericFunc)(const char *name, long long value, void *data,
    RedisModuleString **err);
typedef int (*RedisModuleConfigSetBoolFunc)(const char *name, int value, void *data,
    RedisModuleString **err);
typedef int (*RedisModuleConfigSetEnumFunc)(const char *name, int value, void *data,
    RedisModuleString **err);
typedef int (*RedisModuleConfigApplyFunc)(RedisModuleCtx *ctx, void *data, RedisModuleString **err);
typedef void (*RedisModuleOnUnblocked)(RedisModuleCtx *ctx, RedisModuleCallReply *reply,
    void *data);
typedef int (*RedisModuleAuthCallback)(RedisModuleCtx *ctx, RedisModuleString *username,
    RedisModuleString *password, RedisModuleString **err);
typedef void (*RedisModuleUserChangedFunc)(uint64_t client_id, void *data);
typedef void (*RedisModuleEventLoopFunc)(int fd, void *data, int mask);
typedef void (*RedisModuleEventLoopOneShotFunc)(void *data);
typedef void (*RedisModuleInfoFunc)(RedisModuleInfoCtx *ctx, int for_crash_report);

/* What a data type can do. Set version to REDISMODULE_TYPE_METHOD_VERSION; any pointer may be
 * NULL, but a type whose values are saved needs rdb_load and rdb_save, and every type free. */
typedef struct RedisModuleTypeMethods {
    uint64_t version;
    RedisModuleTypeLoadFunc rdb_load;
    RedisModuleTypeSaveFunc rdb_save;
    RedisModuleTypeRewriteFunc aof_rewrite;
    RedisModuleTypeMemUsageFunc mem_usage;
    RedisModuleTypeDigestFunc digest;
    RedisModuleTypeFreeFunc free;
    /* version 2 */
    RedisModuleTypeAuxLoadFunc aux_load;
    RedisModuleTypeAuxSaveFunc aux_save;
    int aux_save_triggers; /* REDISMODULE_AUX_* */
    /* version 3 */
    RedisModuleTypeFreeEffortFunc free_effort;
    RedisModuleTypeUnlinkFunc unlink;
    RedisModuleTypeCopyFunc copy;
    RedisModuleTypeDefragFunc defrag;
    /* version 4: these are preferred to the ones of the same name without the 2 */
    RedisModuleTypeMemUsageFunc2 mem_usage2;
    RedisModuleTypeFreeEffortFunc2 free_effort2;
    RedisModuleTypeUnlinkFunc2 unlink2;
    RedisModuleTypeCopyFunc2 copy2;
    /* version 5 */
    RedisModuleTypeAuxSaveFunc aux_save2; /* leaves no trace if the callback writes nothing */
} RedisModuleTypeMethods;

/* ------------------------------------- The API functions ------------------------------------- */

/* Memory */
REDISMODULE_API void *(*RedisModule_Alloc)(size_t size) REDISMODULE_ATTR;
REDISMODULE_API void *(*RedisModule_Calloc)(size_t count, size_t size) REDISMODULE_ATTR;
REDISMODULE_API void (*RedisModule_Free)(void *ptr) REDISMODULE_ATTR;
REDISMODULE_API void *(*RedisModule_PoolAlloc)(RedisModuleCtx *ctx, size_t size) REDISMODULE_ATTR;
REDISMODULE_API void *(*RedisModule_Realloc)(void *ptr, size_t size) REDISMODULE_ATTR;
REDISMODULE_API char *(*RedisModule_Strdup)(const char *text) REDISMODULE_ATTR;
REDISMODULE_API void *(*RedisModule_TryAlloc)(size_t size) REDISMODULE_ATTR;
REDISMODULE_API void *(*RedisModule_TryCalloc)(size_t count, size_t size) REDISMODULE_ATTR;
REDISMODULE_API void *(*RedisModule_TryRealloc)(void *ptr, size_t size) REDISMODULE_ATTR;

/* Automatic memory */
REDISMODULE_API void (*RedisModule_AutoMemory)(RedisModuleCtx *ctx) REDISMODULE_ATTR;

/* Commands */
REDISMODULE_API int (*RedisModule_AddACLCategory)(RedisModuleCtx *ctx,
    const char *category) REDISMODULE_ATTR;
REDISMODULE_API void (*RedisModule_ChannelAtPosWithFlags)(RedisModuleCtx *ctx, int position,
    int flags) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_CreateCommand)(RedisModuleCtx *ctx, const char *name,
    RedisModuleCmdFunc function, const char *flags, int first_key, int last_key,
    int key_step) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_CreateSubcommand)(RedisModuleCommand *parent, const char *name,
    RedisModuleCmdFunc function, const char *flags, int first_key, int last_key,
    int key_step) REDISMODULE_ATTR;
REDISMODULE_API RedisModuleCommand *(*RedisModule_GetCommand)(RedisModuleCtx *ctx,
    const char *name) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_IsChannelsPositionRequest)(RedisModuleCtx *ctx) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_IsKeysPositionRequest)(RedisModuleCtx *ctx) REDISMODULE_ATTR;
REDISMODULE_API void (*RedisModule_KeyAtPos)(RedisModuleCtx *ctx, int position) REDISMODULE_ATTR;
REDISMODULE_API void (*RedisModule_KeyAtPosWithFlags)(RedisModuleCtx *ctx, int position,
    int flags) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_SetCommandACLCategories)(RedisModuleCommand *command,
    const char *categories) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_SetCommandInfo)(RedisModuleCommand *command,
    const RedisModuleCommandInfo *info) REDISMODULE_ATTR;

/* Module facts and time */
REDISMODULE_API int (*RedisModule_BlockedClientMeasureTimeEnd)(
    RedisModuleBlockedClient *bc) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_BlockedClientMeasureTimeStart)(
    RedisModuleBlockedClient *bc) REDISMODULE_ATTR;
REDISMODULE_API ustime_t (*RedisModule_CachedMicroseconds)(void) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_GetApi)(const char *name, void *target) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_IsModuleNameBusy)(const char *name) REDISMODULE_ATTR;
REDISMODULE_API ustime_t (*RedisModule_Microseconds)(void) REDISMODULE_ATTR;
REDISMODULE_API mstime_t (*RedisModule_Milliseconds)(void) REDISMODULE_ATTR;
REDISMODULE_API uint64_t (*RedisModule_MonotonicMicroseconds)(void) REDISMODULE_ATTR;
REDISMODULE_API void (*RedisModule_SetModuleAttribs)(RedisModuleCtx *ctx, const char *name,
    int version, int api_version) REDISMODULE_ATTR;
REDISMODULE_API void (*RedisModule_SetModuleOptions)(RedisModuleCtx *ctx,
    int options) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_SignalModifiedKey)(RedisModuleCtx *ctx,
    RedisModuleString *key) REDISMODULE_ATTR;
REDISMODULE_API void (*RedisModule_Yield)(RedisModuleCtx *ctx, int flags,
    const char *busy_reply) REDISMODULE_ATTR;

/* Strings */
REDISMODULE_API RedisModuleString *(*RedisModule_CreateString)(RedisModuleCtx *ctx, const char *buf,
    size_t len) REDISMODULE_ATTR;
REDISMODULE_API RedisModuleString *(*RedisModule_CreateStringFromDouble)(RedisModuleCtx *ctx,
    double value) REDISMODULE_ATTR;
REDISMODULE_API RedisModuleString *(*RedisModule_CreateStringFromLongDouble)(RedisModuleCtx *ctx,
    long double value, int human_friendly) REDISMODULE_ATTR;
REDISMODULE_API RedisModuleString *(*RedisModule_CreateStringFromLongLong)(RedisModuleCtx *ctx,
    long long value) REDISMODULE_ATTR;
REDISMODULE_API RedisModuleString *(*RedisModule_CreateStringFromStreamID)(RedisModuleCtx *ctx,
    const RedisModuleStreamID *id) REDISMODULE_ATTR;
REDISMODULE_API RedisModuleString *(*RedisModule_CreateStringFromString)(RedisModuleCtx *ctx,
    const RedisModuleString *str) REDISMODULE_ATTR;
REDISMODULE_API RedisModuleString *(*RedisModule_CreateStringFromULongLong)(RedisModuleCtx *ctx,
    unsigned long long value) REDISMODULE_ATTR;
REDISMODULE_API RedisModuleString *(*RedisModule_CreateStringPrintf)(RedisModuleCtx *ctx,
    const char *format, ...) REDISMODULE_ATTR_PRINTF(2, 3) REDISMODULE_ATTR;
REDISMODULE_API void (*RedisModule_FreeString)(RedisModuleCtx *ctx,
    RedisModuleString *str) REDISMODULE_ATTR;
REDISMODULE_API RedisModuleString *(*RedisModule_HoldString)(RedisModuleCtx *ctx,
    RedisModuleString *str) REDISMODULE_ATTR;
REDISMODULE_API void (*RedisModule_RetainString)(RedisModuleCtx *ctx,
    RedisModuleString *str) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_StringAppendBuffer)(RedisModuleCtx *ctx, RedisModuleString *str,
    const char *buf, size_t len) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_StringCompare)(const RedisModuleString *a,
    const RedisModuleString *b) REDISMODULE_ATTR;
REDISMODULE_API const char *(*RedisModule_StringPtrLen)(const RedisModuleString *str,
    size_t *len) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_StringToDouble)(const RedisModuleString *str,
    double *value) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_StringToLongDouble)(const RedisModuleString *str,
    long double *value) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_StringToLongLong)(const RedisModuleString *str,
    long long *value) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_StringToStreamID)(const RedisModuleString *str,
    RedisModuleStreamID *id) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_StringToULongLong)(const RedisModuleString *str,
    unsigned long long *value) REDISMODULE_ATTR;
REDISMODULE_API void (*RedisModule_TrimStringAllocation)(RedisModuleString *str) REDISMODULE_ATTR;

/* Replies */
REDISMODULE_API void (*RedisModule_ReplySetArrayLength)(RedisModuleCtx *ctx,
    long len) REDISMODULE_ATTR;
REDISMODULE_API void (*RedisModule_ReplySetAttributeLength)(RedisModuleCtx *ctx,
    long len) REDISMODULE_ATTR;
REDISMODULE_API void (*RedisModule_ReplySetMapLength)(RedisModuleCtx *ctx,
    long len) REDISMODULE_ATTR;
REDISMODULE_API void (*RedisModule_ReplySetSetLength)(RedisModuleCtx *ctx,
    long len) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_ReplyWithArray)(RedisModuleCtx *ctx, long len) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_ReplyWithAttribute)(RedisModuleCtx *ctx,
    long len) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_ReplyWithBigNumber)(RedisModuleCtx *ctx, const char *digits,
    size_t len) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_ReplyWithBool)(RedisModuleCtx *ctx, int value) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_ReplyWithCallReply)(RedisModuleCtx *ctx,
    RedisModuleCallReply *reply) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_ReplyWithCString)(RedisModuleCtx *ctx,
    const char *text) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_ReplyWithDouble)(RedisModuleCtx *ctx,
    double value) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_ReplyWithEmptyArray)(RedisModuleCtx *ctx) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_ReplyWithEmptyString)(RedisModuleCtx *ctx) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_ReplyWithError)(RedisModuleCtx *ctx,
    const char *text) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_ReplyWithErrorFormat)(RedisModuleCtx *ctx, const char *format,
    ...) REDISMODULE_ATTR_PRINTF(2, 3) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_ReplyWithLongDouble)(RedisModuleCtx *ctx,
    long double value) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_ReplyWithLongLong)(RedisModuleCtx *ctx,
    long long value) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_ReplyWithMap)(RedisModuleCtx *ctx, long len) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_ReplyWithNull)(RedisModuleCtx *ctx) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_ReplyWithNullArray)(RedisModuleCtx *ctx) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_ReplyWithSet)(RedisModuleCtx *ctx, long len) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_ReplyWithSimpleString)(RedisModuleCtx *ctx,
    const char *text) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_ReplyWithString)(RedisModuleCtx *ctx,
    RedisModuleString *str) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_ReplyWithStringBuffer)(RedisModuleCtx *ctx, const char *buf,
    size_t len) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_ReplyWithVerbatimString)(RedisModuleCtx *ctx, const char *buf,
    size_t len) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_ReplyWithVerbatimStringType)(RedisModuleCtx *ctx, const char *buf,
    size_t len, const char *format) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_WrongArity)(RedisModuleCtx *ctx) REDISMODULE_ATTR;
REDISMODULE_API void (*RedisModule_ReplySetPushLength)(RedisModuleCtx *ctx,
    long len) REDISMODULE_ATTR;

/* Replication */
REDISMODULE_API int (*RedisModule_Replicate)(RedisModuleCtx *ctx, const char *command,
    const char *format, ...) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_ReplicateVerbatim)(RedisModuleCtx *ctx) REDISMODULE_ATTR;

/* Keys, clients and databases */
REDISMODULE_API int (*RedisModule_AvoidReplicaTraffic)(void) REDISMODULE_ATTR;
REDISMODULE_API void (*RedisModule_CloseKey)(RedisModuleKey *key) REDISMODULE_ATTR;
REDISMODULE_API unsigned long long (*RedisModule_DbSize)(RedisModuleCtx *ctx) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_DeleteKey)(RedisModuleKey *key) REDISMODULE_ATTR;
REDISMODULE_API mstime_t (*RedisModule_GetAbsExpire)(RedisModuleKey *key) REDISMODULE_ATTR;
REDISMODULE_API unsigned long long (*RedisModule_GetClientId)(RedisModuleCtx *ctx) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_GetClientInfoById)(void *info,
    uint64_t client_id) REDISMODULE_ATTR;
REDISMODULE_API RedisModuleString *(*RedisModule_GetClientNameById)(RedisModuleCtx *ctx,
    uint64_t client_id) REDISMODULE_ATTR;
REDISMODULE_API RedisModuleString *(*RedisModule_GetClientUserNameById)(RedisModuleCtx *ctx,
    uint64_t client_id) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_GetContextFlags)(RedisModuleCtx *ctx) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_GetDbIdFromOptCtx)(RedisModuleKeyOptCtx *ctx) REDISMODULE_ATTR;
REDISMODULE_API mstime_t (*RedisModule_GetExpire)(RedisModuleKey *key) REDISMODULE_ATTR;
REDISMODULE_API const RedisModuleString *(*RedisModule_GetKeyNameFromOptCtx)(
    RedisModuleKeyOptCtx *ctx) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_GetOpenKeyModesAll)(void) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_GetSelectedDb)(RedisModuleCtx *ctx) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_GetToDbIdFromOptCtx)(RedisModuleKeyOptCtx *ctx) REDISMODULE_ATTR;
REDISMODULE_API const RedisModuleString *(*RedisModule_GetToKeyNameFromOptCtx)(
    RedisModuleKeyOptCtx *ctx) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_KeyExists)(RedisModuleCtx *ctx,
    RedisModuleString *key) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_KeyType)(RedisModuleKey *key) REDISMODULE_ATTR;
REDISMODULE_API RedisModuleKey *(*RedisModule_OpenKey)(RedisModuleCtx *ctx, RedisModuleString *name,
    int mode) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_PublishMessage)(RedisModuleCtx *ctx, RedisModuleString *channel,
    RedisModuleString *message) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_PublishMessageShard)(RedisModuleCtx *ctx,
    RedisModuleString *channel, RedisModuleString *message) REDISMODULE_ATTR;
REDISMODULE_API RedisModuleString *(*RedisModule_RandomKey)(RedisModuleCtx *ctx) REDISMODULE_ATTR;
REDISMODULE_API void (*RedisModule_ResetDataset)(int restart_aof, int async) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_SelectDb)(RedisModuleCtx *ctx, int db) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_SetAbsExpire)(RedisModuleKey *key,
    mstime_t unix_ms) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_SetClientNameById)(uint64_t client_id,
    RedisModuleString *name) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_SetExpire)(RedisModuleKey *key, mstime_t ms) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_UnlinkKey)(RedisModuleKey *key) REDISMODULE_ATTR;
REDISMODULE_API size_t (*RedisModule_ValueLength)(RedisModuleKey *key) REDISMODULE_ATTR;

/* String values */
REDISMODULE_API char *(*RedisModule_StringDMA)(RedisModuleKey *key, size_t *len,
    int mode) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_StringSet)(RedisModuleKey *key,
    RedisModuleString *value) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_StringTruncate)(RedisModuleKey *key,
    size_t new_len) REDISMODULE_ATTR;

/* Lists */
REDISMODULE_API int (*RedisModule_ListDelete)(RedisModuleKey *key, long index) REDISMODULE_ATTR;
REDISMODULE_API RedisModuleString *(*RedisModule_ListGet)(RedisModuleKey *key,
    long index) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_ListInsert)(RedisModuleKey *key, long index,
    RedisModuleString *value) REDISMODULE_ATTR;
REDISMODULE_API RedisModuleString *(*RedisModule_ListPop)(RedisModuleKey *key,
    int where) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_ListPush)(RedisModuleKey *key, int where,
    RedisModuleString *value) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_ListSet)(RedisModuleKey *key, long index,
    RedisModuleString *value) REDISMODULE_ATTR;

/* Sorted sets */
REDISMODULE_API int (*RedisModule_ZsetAdd)(RedisModuleKey *key, double score,
    RedisModuleString *member, int *flags) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_ZsetIncrby)(RedisModuleKey *key, double score,
    RedisModuleString *member, int *flags, double *new_score) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_ZsetRem)(RedisModuleKey *key, RedisModuleString *member,
    int *deleted) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_ZsetScore)(RedisModuleKey *key, RedisModuleString *member,
    double *score) REDISMODULE_ATTR;

/* Sorted set ranges */
REDISMODULE_API int (*RedisModule_ZsetFirstInLexRange)(RedisModuleKey *key, RedisModuleString *min,
    RedisModuleString *max) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_ZsetFirstInScoreRange)(RedisModuleKey *key, double min,
    double max, int exclude_min, int exclude_max) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_ZsetLastInLexRange)(RedisModuleKey *key, RedisModuleString *min,
    RedisModuleString *max) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_ZsetLastInScoreRange)(RedisModuleKey *key, double min, double max,
    int exclude_min, int exclude_max) REDISMODULE_ATTR;
REDISMODULE_API RedisModuleString *(*RedisModule_ZsetRangeCurrentElement)(RedisModuleKey *key,
    double *score) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_ZsetRangeEndReached)(RedisModuleKey *key) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_ZsetRangeNext)(RedisModuleKey *key) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_ZsetRangePrev)(RedisModuleKey *key) REDISMODULE_ATTR;
REDISMODULE_API void (*RedisModule_ZsetRangeStop)(RedisModuleKey *key) REDISMODULE_ATTR;

/* Hashes */
REDISMODULE_API int (*RedisModule_HashGet)(RedisModuleKey *key, int flags, ...) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_HashSet)(RedisModuleKey *key, int flags, ...) REDISMODULE_ATTR;

/* Streams */
REDISMODULE_API int (*RedisModule_StreamAdd)(RedisModuleKey *key, int flags,
    RedisModuleStreamID *id, RedisModuleString **field_value_pairs,
    int64_t num_fields) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_StreamDelete)(RedisModuleKey *key,
    RedisModuleStreamID *id) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_StreamIteratorDelete)(RedisModuleKey *key) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_StreamIteratorNextField)(RedisModuleKey *key,
    RedisModuleString **field, RedisModuleString **value) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_StreamIteratorNextID)(RedisModuleKey *key,
    RedisModuleStreamID *id, long *num_fields) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_StreamIteratorStart)(RedisModuleKey *key, int flags,
    RedisModuleStreamID *start, RedisModuleStreamID *end) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_StreamIteratorStop)(RedisModuleKey *key) REDISMODULE_ATTR;
REDISMODULE_API long long (*RedisModule_StreamTrimByID)(RedisModuleKey *key, int flags,
    RedisModuleStreamID *id) REDISMODULE_ATTR;
REDISMODULE_API long long (*RedisModule_StreamTrimByLength)(RedisModuleKey *key, int flags,
    long long length) REDISMODULE_ATTR;

/* Calling commands */
REDISMODULE_API RedisModuleCallReply *(*RedisModule_Call)(RedisModuleCtx *ctx, const char *command,
    const char *format, ...) REDISMODULE_ATTR;
REDISMODULE_API RedisModuleCallReply *(*RedisModule_CallReplyArrayElement)(
    RedisModuleCallReply *reply, size_t index) REDISMODULE_ATTR;
REDISMODULE_API RedisModuleCallReply *(*RedisModule_CallReplyAttribute)(
    RedisModuleCallReply *reply) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_CallReplyAttributeElement)(RedisModuleCallReply *reply,
    size_t index, RedisModuleCallReply **key, RedisModuleCallReply **value) REDISMODULE_ATTR;
REDISMODULE_API const char *(*RedisModule_CallReplyBigNumber)(RedisModuleCallReply *reply,
    size_t *len) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_CallReplyBool)(RedisModuleCallReply *reply) REDISMODULE_ATTR;
REDISMODULE_API double (*RedisModule_CallReplyDouble)(RedisModuleCallReply *reply) REDISMODULE_ATTR;
REDISMODULE_API long long (*RedisModule_CallReplyInteger)(
    RedisModuleCallReply *reply) REDISMODULE_ATTR;
REDISMODULE_API size_t (*RedisModule_CallReplyLength)(RedisModuleCallReply *reply) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_CallReplyMapElement)(RedisModuleCallReply *reply, size_t index,
    RedisModuleCallReply **key, RedisModuleCallReply **value) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_CallReplyPromiseAbort)(RedisModuleCallReply *reply,
    void **data) REDISMODULE_ATTR;
REDISMODULE_API void (*RedisModule_CallReplyPromiseSetUnblockHandler)(RedisModuleCallReply *reply,
    RedisModuleOnUnblocked on_unblocked, void *data) REDISMODULE_ATTR;
REDISMODULE_API const char *(*RedisModule_CallReplyProto)(RedisModuleCallReply *reply,
    size_t *len) REDISMODULE_ATTR;
REDISMODULE_API RedisModuleCallReply *(*RedisModule_CallReplySetElement)(
    RedisModuleCallReply *reply, size_t index) REDISMODULE_ATTR;
REDISMODULE_API const char *(*RedisModule_CallReplyStringPtr)(RedisModuleCallReply *reply,
    size_t *len) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_CallReplyType)(RedisModuleCallReply *reply) REDISMODULE_ATTR;
REDISMODULE_API const char *(*RedisModule_CallReplyVerbatim)(RedisModuleCallReply *reply,
    size_t *len, const char **format) REDISMODULE_ATTR;
REDISMODULE_API RedisModuleString *(*RedisModule_CreateStringFromCallReply)(
    RedisModuleCallReply *reply) REDISMODULE_ATTR;
REDISMODULE_API void (*RedisModule_FreeCallReply)(RedisModuleCallReply *reply) REDISMODULE_ATTR;
REDISMODULE_API void (*RedisModule_SetContextUser)(RedisModuleCtx *ctx,
    const RedisModuleUser *user) REDISMODULE_ATTR;

/* Data types */
REDISMODULE_API RedisModuleType *(*RedisModule_CreateDataType)(RedisModuleCtx *ctx,
    const char *name, int encver, RedisModuleTypeMethods *methods) REDISMODULE_ATTR;
REDISMODULE_API RedisModuleType *(*RedisModule_ModuleTypeGetType)(
    RedisModuleKey *key) REDISMODULE_ATTR;
REDISMODULE_API void *(*RedisModule_ModuleTypeGetValue)(RedisModuleKey *key) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_ModuleTypeSetValue)(RedisModuleKey *key, RedisModuleType *type,
    void *value) REDISMODULE_ATTR;

/* RDB values */
REDISMODULE_API int (*RedisModule_IsIOError)(RedisModuleIO *io) REDISMODULE_ATTR;
REDISMODULE_API double (*RedisModule_LoadDouble)(RedisModuleIO *io) REDISMODULE_ATTR;
REDISMODULE_API float (*RedisModule_LoadFloat)(RedisModuleIO *io) REDISMODULE_ATTR;
REDISMODULE_API long double (*RedisModule_LoadLongDouble)(RedisModuleIO *io) REDISMODULE_ATTR;
REDISMODULE_API int64_t (*RedisModule_LoadSigned)(RedisModuleIO *io) REDISMODULE_ATTR;
REDISMODULE_API RedisModuleString *(*RedisModule_LoadString)(RedisModuleIO *io) REDISMODULE_ATTR;
REDISMODULE_API char *(*RedisModule_LoadStringBuffer)(RedisModuleIO *io,
    size_t *len) REDISMODULE_ATTR;
REDISMODULE_API uint64_t (*RedisModule_LoadUnsigned)(RedisModuleIO *io) REDISMODULE_ATTR;
REDISMODULE_API void (*RedisModule_SaveDouble)(RedisModuleIO *io, double value) REDISMODULE_ATTR;
REDISMODULE_API void (*RedisModule_SaveFloat)(RedisModuleIO *io, float value) REDISMODULE_ATTR;
REDISMODULE_API void (*RedisModule_SaveLongDouble)(RedisModuleIO *io,
    long double value) REDISMODULE_ATTR;
REDISMODULE_API void (*RedisModule_SaveSigned)(RedisModuleIO *io, int64_t value) REDISMODULE_ATTR;
REDISMODULE_API void (*RedisModule_SaveString)(RedisModuleIO *io,
    RedisModuleString *str) REDISMODULE_ATTR;
REDISMODULE_API void (*RedisModule_SaveStringBuffer)(RedisModuleIO *io, const char *buf,
    size_t len) REDISMODULE_ATTR;
REDISMODULE_API void (*RedisModule_SaveUnsigned)(RedisModuleIO *io,
    uint64_t value) REDISMODULE_ATTR;

/* Digests, and values as strings */
REDISMODULE_API void (*RedisModule_DigestAddLongLong)(RedisModuleDigest *digest,
    long long value) REDISMODULE_ATTR;
REDISMODULE_API void (*RedisModule_DigestAddStringBuffer)(RedisModuleDigest *digest,
    const char *data, size_t len) REDISMODULE_ATTR;
REDISMODULE_API void (*RedisModule_DigestEndSequence)(RedisModuleDigest *digest) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_GetDbIdFromDigest)(RedisModuleDigest *digest) REDISMODULE_ATTR;
REDISMODULE_API const RedisModuleString *(*RedisModule_GetKeyNameFromDigest)(
    RedisModuleDigest *digest) REDISMODULE_ATTR;
REDISMODULE_API void *(*RedisModule_LoadDataTypeFromString)(const RedisModuleString *str,
    const RedisModuleType *type) REDISMODULE_ATTR;
REDISMODULE_API void *(*RedisModule_LoadDataTypeFromStringEncver)(const RedisModuleString *str,
    const RedisModuleType *type, int encver) REDISMODULE_ATTR;
REDISMODULE_API RedisModuleString *(*RedisModule_SaveDataTypeToString)(RedisModuleCtx *ctx,
    void *value, const RedisModuleType *type) REDISMODULE_ATTR;

/* AOF */
REDISMODULE_API void (*RedisModule_EmitAOF)(RedisModuleIO *io, const char *command,
    const char *format, ...) REDISMODULE_ATTR;

/* IO contexts */
REDISMODULE_API RedisModuleCtx *(*RedisModule_GetContextFromIO)(RedisModuleIO *io) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_GetDbIdFromIO)(RedisModuleIO *io) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_GetDbIdFromModuleKey)(RedisModuleKey *key) REDISMODULE_ATTR;
REDISMODULE_API const RedisModuleString *(*RedisModule_GetKeyNameFromIO)(
    RedisModuleIO *io) REDISMODULE_ATTR;
REDISMODULE_API const RedisModuleString *(*RedisModule_GetKeyNameFromModuleKey)(
    RedisModuleKey *key) REDISMODULE_ATTR;

/* Logging */
REDISMODULE_API void (*RedisModule__Assert)(const char *expression, const char *file,
    int line) REDISMODULE_ATTR;
REDISMODULE_API void (*RedisModule_LatencyAddSample)(const char *event,
    mstime_t latency_ms) REDISMODULE_ATTR;
REDISMODULE_API void (*RedisModule_Log)(RedisModuleCtx *ctx, const char *level, const char *format,
    ...) REDISMODULE_ATTR_PRINTF(3, 4) REDISMODULE_ATTR;
REDISMODULE_API void (*RedisModule_LogIOError)(RedisModuleIO *io, const char *level,
    const char *format, ...) REDISMODULE_ATTR_PRINTF(3, 4) REDISMODULE_ATTR;

/* Blocked clients */
REDISMODULE_API int (*RedisModule_AbortBlock)(RedisModuleBlockedClient *bc) REDISMODULE_ATTR;
REDISMODULE_API RedisModuleBlockedClient *(*RedisModule_BlockClient)(RedisModuleCtx *ctx,
    RedisModuleCmdFunc on_reply, RedisModuleCmdFunc on_timeout,
    void (*free_data)(RedisModuleCtx *ctx, void *data), long long timeout_ms) REDISMODULE_ATTR;
REDISMODULE_API void *(*RedisModule_BlockClientGetPrivateData)(
    RedisModuleBlockedClient *bc) REDISMODULE_ATTR;
REDISMODULE_API RedisModuleBlockedClient *(*RedisModule_BlockClientOnAuth)(RedisModuleCtx *ctx,
    RedisModuleAuthCallback on_reply,
    void (*free_data)(RedisModuleCtx *ctx, void *data)) REDISMODULE_ATTR;
REDISMODULE_API RedisModuleBlockedClient *(*RedisModule_BlockClientOnKeys)(RedisModuleCtx *ctx,
    RedisModuleCmdFunc on_reply, RedisModuleCmdFunc on_timeout,
    void (*free_data)(RedisModuleCtx *ctx, void *data), long long timeout_ms,
    RedisModuleString **keys, int num_keys, void *data) REDISMODULE_ATTR;
REDISMODULE_API RedisModuleBlockedClient *(*RedisModule_BlockClientOnKeysWithFlags)(
    RedisModuleCtx *ctx, RedisModuleCmdFunc on_reply, RedisModuleCmdFunc on_timeout,
    void (*free_data)(RedisModuleCtx *ctx, void *data), long long timeout_ms,
    RedisModuleString **keys, int num_keys, void *data, int flags) REDISMODULE_ATTR;
REDISMODULE_API void (*RedisModule_BlockClientSetPrivateData)(RedisModuleBlockedClient *bc,
    void *data) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_BlockedClientDisconnected)(RedisModuleCtx *ctx) REDISMODULE_ATTR;
REDISMODULE_API RedisModuleBlockedClient *(*RedisModule_GetBlockedClientHandle)(
    RedisModuleCtx *ctx) REDISMODULE_ATTR;
REDISMODULE_API void *(*RedisModule_GetBlockedClientPrivateData)(
    RedisModuleCtx *ctx) REDISMODULE_ATTR;
REDISMODULE_API RedisModuleString *(*RedisModule_GetBlockedClientReadyKey)(
    RedisModuleCtx *ctx) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_IsBlockedReplyRequest)(RedisModuleCtx *ctx) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_IsBlockedTimeoutRequest)(RedisModuleCtx *ctx) REDISMODULE_ATTR;
REDISMODULE_API void (*RedisModule_RegisterAuthCallback)(RedisModuleCtx *ctx,
    RedisModuleAuthCallback on_auth) REDISMODULE_ATTR;
REDISMODULE_API void (*RedisModule_SetDisconnectCallback)(RedisModuleBlockedClient *bc,
    RedisModuleDisconnectFunc on_disconnect) REDISMODULE_ATTR;
REDISMODULE_API void (*RedisModule_SignalKeyAsReady)(RedisModuleCtx *ctx,
    RedisModuleString *key) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_UnblockClient)(RedisModuleBlockedClient *bc,
    void *data) REDISMODULE_ATTR;

/* Thread-safe contexts */
REDISMODULE_API void (*RedisModule_FreeThreadSafeContext)(RedisModuleCtx *ctx) REDISMODULE_ATTR;
REDISMODULE_API RedisModuleCtx *(*RedisModule_GetDetachedThreadSafeContext)(
    RedisModuleCtx *ctx) REDISMODULE_ATTR;
REDISMODULE_API RedisModuleCtx *(*RedisModule_GetThreadSafeContext)(
    RedisModuleBlockedClient *bc) REDISMODULE_ATTR;
REDISMODULE_API void (*RedisModule_ThreadSafeContextLock)(RedisModuleCtx *ctx) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_ThreadSafeContextTryLock)(RedisModuleCtx *ctx) REDISMODULE_ATTR;
REDISMODULE_API void (*RedisModule_ThreadSafeContextUnlock)(RedisModuleCtx *ctx) REDISMODULE_ATTR;

/* Keyspace notifications */
REDISMODULE_API int (*RedisModule_AddPostNotificationJob)(RedisModuleCtx *ctx,
    RedisModulePostNotificationJobFunc job, void *data,
    void (*free_data)(void *data)) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_GetNotifyKeyspaceEvents)(void) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_NotifyKeyspaceEvent)(RedisModuleCtx *ctx, int type,
    const char *event, RedisModuleString *key) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_SubscribeToKeyspaceEvents)(RedisModuleCtx *ctx, int types,
    RedisModuleNotificationFunc on_event) REDISMODULE_ATTR;

/* Cluster */
REDISMODULE_API const char *(*RedisModule_ClusterCanonicalKeyNameInSlot)(
    unsigned int slot) REDISMODULE_ATTR;
REDISMODULE_API unsigned int (*RedisModule_ClusterKeySlot)(RedisModuleString *key) REDISMODULE_ATTR;
REDISMODULE_API void (*RedisModule_FreeClusterNodesList)(char **ids) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_GetClusterNodeInfo)(RedisModuleCtx *ctx, const char *node_id,
    char *ip, char *master_id, int *port, int *flags) REDISMODULE_ATTR;
REDISMODULE_API char **(*RedisModule_GetClusterNodesList)(RedisModuleCtx *ctx,
    size_t *count) REDISMODULE_ATTR;
REDISMODULE_API size_t (*RedisModule_GetClusterSize)(void) REDISMODULE_ATTR;
REDISMODULE_API const char *(*RedisModule_GetMyClusterID)(void) REDISMODULE_ATTR;
REDISMODULE_API void (*RedisModule_RegisterClusterMessageReceiver)(RedisModuleCtx *ctx,
    uint8_t type, RedisModuleClusterMessageReceiver on_message) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_SendClusterMessage)(RedisModuleCtx *ctx, const char *target_id,
    uint8_t type, const char *payload, uint32_t len) REDISMODULE_ATTR;
REDISMODULE_API void (*RedisModule_SetClusterFlags)(RedisModuleCtx *ctx,
    uint64_t flags) REDISMODULE_ATTR;

/* Timers */
REDISMODULE_API RedisModuleTimerID (*RedisModule_CreateTimer)(RedisModuleCtx *ctx,
    mstime_t period_ms, RedisModuleTimerProc on_fire, void *data) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_GetTimerInfo)(RedisModuleCtx *ctx, RedisModuleTimerID id,
    uint64_t *remaining_ms, void **data) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_StopTimer)(RedisModuleCtx *ctx, RedisModuleTimerID id,
    void **data) REDISMODULE_ATTR;

/* Event loop */
REDISMODULE_API int (*RedisModule_EventLoopAdd)(int fd, int mask, RedisModuleEventLoopFunc on_ready,
    void *data) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_EventLoopAddOneShot)(RedisModuleEventLoopOneShotFunc function,
    void *data) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_EventLoopDel)(int fd, int mask) REDISMODULE_ATTR;

/* Users and ACL */
REDISMODULE_API void (*RedisModule_ACLAddLogEntry)(RedisModuleCtx *ctx, RedisModuleUser *user,
    RedisModuleString *object, RedisModuleACLLogEntryReason reason) REDISMODULE_ATTR;
REDISMODULE_API void (*RedisModule_ACLAddLogEntryByUserName)(RedisModuleCtx *ctx,
    RedisModuleString *username, RedisModuleString *object,
    RedisModuleACLLogEntryReason reason) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_ACLCheckChannelPermissions)(RedisModuleUser *user,
    RedisModuleString *channel, int flags) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_ACLCheckCommandPermissions)(RedisModuleUser *user,
    RedisModuleString **argv, int argc) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_ACLCheckKeyPermissions)(RedisModuleUser *user,
    RedisModuleString *key, int flags) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_AuthenticateClientWithACLUser)(RedisModuleCtx *ctx,
    const char *username, size_t len, RedisModuleUserChangedFunc on_change, void *data,
    uint64_t *client_id) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_AuthenticateClientWithUser)(RedisModuleCtx *ctx,
    RedisModuleUser *user, RedisModuleUserChangedFunc on_change, void *data,
    uint64_t *client_id) REDISMODULE_ATTR;
REDISMODULE_API RedisModuleUser *(*RedisModule_CreateModuleUser)(const char *name) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_DeauthenticateAndCloseClient)(RedisModuleCtx *ctx,
    uint64_t client_id) REDISMODULE_ATTR;
REDISMODULE_API void (*RedisModule_FreeModuleUser)(RedisModuleUser *user) REDISMODULE_ATTR;
REDISMODULE_API RedisModuleString *(*RedisModule_GetClientCertificate)(RedisModuleCtx *ctx,
    uint64_t client_id) REDISMODULE_ATTR;
REDISMODULE_API RedisModuleString *(*RedisModule_GetCurrentUserName)(
    RedisModuleCtx *ctx) REDISMODULE_ATTR;
REDISMODULE_API RedisModuleString *(*RedisModule_GetModuleUserACLString)(
    RedisModuleUser *user) REDISMODULE_ATTR;
REDISMODULE_API RedisModuleUser *(*RedisModule_GetModuleUserFromUserName)(
    RedisModuleString *username) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_RedactClientCommandArgument)(RedisModuleCtx *ctx,
    int position) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_SetModuleUserACL)(RedisModuleUser *user,
    const char *rule) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_SetModuleUserACLString)(RedisModuleCtx *ctx,
    RedisModuleUser *user, const char *rules, RedisModuleString **err) REDISMODULE_ATTR;

/* Dictionaries */
REDISMODULE_API RedisModuleDict *(*RedisModule_CreateDict)(RedisModuleCtx *ctx) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_DictCompare)(RedisModuleDictIter *iter, const char *op,
    RedisModuleString *key) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_DictCompareC)(RedisModuleDictIter *iter, const char *op,
    void *key, size_t len) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_DictDel)(RedisModuleDict *dict, RedisModuleString *key,
    void *old_value) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_DictDelC)(RedisModuleDict *dict, void *key, size_t len,
    void *old_value) REDISMODULE_ATTR;
REDISMODULE_API void *(*RedisModule_DictGet)(RedisModuleDict *dict, RedisModuleString *key,
    int *nokey) REDISMODULE_ATTR;
REDISMODULE_API void *(*RedisModule_DictGetC)(RedisModuleDict *dict, void *key, size_t len,
    int *nokey) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_DictIteratorReseek)(RedisModuleDictIter *iter, const char *op,
    RedisModuleString *key) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_DictIteratorReseekC)(RedisModuleDictIter *iter, const char *op,
    void *key, size_t len) REDISMODULE_ATTR;
REDISMODULE_API RedisModuleDictIter *(*RedisModule_DictIteratorStart)(RedisModuleDict *dict,
    const char *op, RedisModuleString *key) REDISMODULE_ATTR;
REDISMODULE_API RedisModuleDictIter *(*RedisModule_DictIteratorStartC)(RedisModuleDict *dict,
    const char *op, void *key, size_t len) REDISMODULE_ATTR;
REDISMODULE_API void (*RedisModule_DictIteratorStop)(RedisModuleDictIter *iter) REDISMODULE_ATTR;
REDISMODULE_API RedisModuleString *(*RedisModule_DictNext)(RedisModuleCtx *ctx,
    RedisModuleDictIter *iter, void **value) REDISMODULE_ATTR;
REDISMODULE_API void *(*RedisModule_DictNextC)(RedisModuleDictIter *iter, size_t *len,
    void **value) REDISMODULE_ATTR;
REDISMODULE_API RedisModuleString *(*RedisModule_DictPrev)(RedisModuleCtx *ctx,
    RedisModuleDictIter *iter, void **value) REDISMODULE_ATTR;
REDISMODULE_API void *(*RedisModule_DictPrevC)(RedisModuleDictIter *iter, size_t *len,
    void **value) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_DictReplace)(RedisModuleDict *dict, RedisModuleString *key,
    void *value) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_DictReplaceC)(RedisModuleDict *dict, void *key, size_t len,
    void *value) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_DictSet)(RedisModuleDict *dict, RedisModuleString *key,
    void *value) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_DictSetC)(RedisModuleDict *dict, void *key, size_t len,
    void *value) REDISMODULE_ATTR;
REDISMODULE_API uint64_t (*RedisModule_DictSize)(RedisModuleDict *dict) REDISMODULE_ATTR;
REDISMODULE_API void (*RedisModule_FreeDict)(RedisModuleCtx *ctx,
    RedisModuleDict *dict) REDISMODULE_ATTR;

/* INFO fields and server information */
REDISMODULE_API void (*RedisModule_FreeServerInfo)(RedisModuleCtx *ctx,
    RedisModuleServerInfoData *info) REDISMODULE_ATTR;
REDISMODULE_API RedisModuleServerInfoData *(*RedisModule_GetServerInfo)(RedisModuleCtx *ctx,
    const char *section) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_InfoAddFieldCString)(RedisModuleInfoCtx *ctx, const char *field,
    const char *value) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_InfoAddFieldDouble)(RedisModuleInfoCtx *ctx, const char *field,
    double value) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_InfoAddFieldLongLong)(RedisModuleInfoCtx *ctx, const char *field,
    long long value) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_InfoAddFieldString)(RedisModuleInfoCtx *ctx, const char *field,
    RedisModuleString *value) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_InfoAddFieldULongLong)(RedisModuleInfoCtx *ctx, const char *field,
    unsigned long long value) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_InfoAddSection)(RedisModuleInfoCtx *ctx,
    const char *name) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_InfoBeginDictField)(RedisModuleInfoCtx *ctx,
    const char *name) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_InfoEndDictField)(RedisModuleInfoCtx *ctx) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_RegisterInfoFunc)(RedisModuleCtx *ctx,
    RedisModuleInfoFunc function) REDISMODULE_ATTR;
REDISMODULE_API RedisModuleString *(*RedisModule_ServerInfoGetField)(RedisModuleCtx *ctx,
    RedisModuleServerInfoData *info, const char *field) REDISMODULE_ATTR;
REDISMODULE_API const char *(*RedisModule_ServerInfoGetFieldC)(RedisModuleServerInfoData *info,
    const char *field) REDISMODULE_ATTR;
REDISMODULE_API double (*RedisModule_ServerInfoGetFieldDouble)(RedisModuleServerInfoData *info,
    const char *field, int *out_err) REDISMODULE_ATTR;
REDISMODULE_API long long (*RedisModule_ServerInfoGetFieldSigned)(RedisModuleServerInfoData *info,
    const char *field, int *out_err) REDISMODULE_ATTR;
REDISMODULE_API unsigned long long (*RedisModule_ServerInfoGetFieldUnsigned)(
    RedisModuleServerInfoData *info, const char *field, int *out_err) REDISMODULE_ATTR;

/* Random data */
REDISMODULE_API void (*RedisModule_GetRandomBytes)(unsigned char *dst, size_t len) REDISMODULE_ATTR;
REDISMODULE_API void (*RedisModule_GetRandomHexChars)(char *dst, size_t len) REDISMODULE_ATTR;

/* Shared APIs */
REDISMODULE_API int (*RedisModule_ExportSharedAPI)(RedisModuleCtx *ctx, const char *name,
    void *api) REDISMODULE_ATTR;
REDISMODULE_API void *(*RedisModule_GetSharedAPI)(RedisModuleCtx *ctx,
    const char *name) REDISMODULE_ATTR;

/* Command filters and allocation sizes */
REDISMODULE_API int (*RedisModule_CommandFilterArgDelete)(RedisModuleCommandFilterCtx *filter,
    int position) REDISMODULE_ATTR;
REDISMODULE_API RedisModuleString *(*RedisModule_CommandFilterArgGet)(
    RedisModuleCommandFilterCtx *filter, int position) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_CommandFilterArgInsert)(RedisModuleCommandFilterCtx *filter,
    int position, RedisModuleString *arg) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_CommandFilterArgReplace)(RedisModuleCommandFilterCtx *filter,
    int position, RedisModuleString *arg) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_CommandFilterArgsCount)(
    RedisModuleCommandFilterCtx *filter) REDISMODULE_ATTR;
REDISMODULE_API unsigned long long (*RedisModule_CommandFilterGetClientId)(
    RedisModuleCommandFilterCtx *filter) REDISMODULE_ATTR;
REDISMODULE_API float (*RedisModule_GetUsedMemoryRatio)(void) REDISMODULE_ATTR;
REDISMODULE_API size_t (*RedisModule_MallocSize)(void *ptr) REDISMODULE_ATTR;
REDISMODULE_API size_t (*RedisModule_MallocSizeDict)(RedisModuleDict *dict) REDISMODULE_ATTR;
REDISMODULE_API size_t (*RedisModule_MallocSizeString)(RedisModuleString *str) REDISMODULE_ATTR;
REDISMODULE_API size_t (*RedisModule_MallocUsableSize)(void *ptr) REDISMODULE_ATTR;
REDISMODULE_API RedisModuleCommandFilter *(*RedisModule_RegisterCommandFilter)(RedisModuleCtx *ctx,
    RedisModuleCommandFilterFunc filter, int flags) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_UnregisterCommandFilter)(RedisModuleCtx *ctx,
    RedisModuleCommandFilter *filter) REDISMODULE_ATTR;

/* Scanning */
REDISMODULE_API int (*RedisModule_Scan)(RedisModuleCtx *ctx, RedisModuleScanCursor *cursor,
    RedisModuleScanCB on_key, void *data) REDISMODULE_ATTR;
REDISMODULE_API RedisModuleScanCursor *(*RedisModule_ScanCursorCreate)(void) REDISMODULE_ATTR;
REDISMODULE_API void (*RedisModule_ScanCursorDestroy)(
    RedisModuleScanCursor *cursor) REDISMODULE_ATTR;
REDISMODULE_API void (*RedisModule_ScanCursorRestart)(
    RedisModuleScanCursor *cursor) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_ScanKey)(RedisModuleKey *key, RedisModuleScanCursor *cursor,
    RedisModuleScanKeyCB on_field, void *data) REDISMODULE_ATTR;

/* Fork */
REDISMODULE_API int (*RedisModule_ExitFromChild)(int code) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_Fork)(RedisModuleForkDoneHandler on_done,
    void *data) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_KillForkChild)(int pid) REDISMODULE_ATTR;
REDISMODULE_API void (*RedisModule_SendChildHeartbeat)(double progress) REDISMODULE_ATTR;

/* Server events */
REDISMODULE_API int (*RedisModule_IsSubEventSupported)(RedisModuleEvent event,
    uint64_t subevent) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_SubscribeToServerEvent)(RedisModuleCtx *ctx,
    RedisModuleEvent event, RedisModuleEventCallback on_event) REDISMODULE_ATTR;

/* Eviction */
REDISMODULE_API int (*RedisModule_GetLFU)(RedisModuleKey *key,
    long long *frequency) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_GetLRU)(RedisModuleKey *key, mstime_t *idle_ms) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_SetLFU)(RedisModuleKey *key,
    long long frequency) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_SetLRU)(RedisModuleKey *key, mstime_t idle_ms) REDISMODULE_ATTR;

/* Miscellaneous */
REDISMODULE_API int *(*RedisModule_GetCommandKeys)(RedisModuleCtx *ctx, RedisModuleString **argv,
    int argc, int *num_keys) REDISMODULE_ATTR;
REDISMODULE_API int *(*RedisModule_GetCommandKeysWithFlags)(RedisModuleCtx *ctx,
    RedisModuleString **argv, int argc, int *num_keys, int **flags) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_GetContextFlagsAll)(void) REDISMODULE_ATTR;
REDISMODULE_API const char *(*RedisModule_GetCurrentCommandName)(
    RedisModuleCtx *ctx) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_GetKeyspaceNotificationFlagsAll)(void) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_GetModuleOptionsAll)(void) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_GetServerVersion)(void) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_GetTypeMethodVersion)(void) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_ModuleTypeReplaceValue)(RedisModuleKey *key,
    RedisModuleType *type, void *value, void **old_value) REDISMODULE_ATTR;

/* Defragmentation */
REDISMODULE_API void *(*RedisModule_DefragAlloc)(RedisModuleDefragCtx *ctx,
    void *ptr) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_DefragCursorGet)(RedisModuleDefragCtx *ctx,
    unsigned long *cursor) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_DefragCursorSet)(RedisModuleDefragCtx *ctx,
    unsigned long cursor) REDISMODULE_ATTR;
REDISMODULE_API RedisModuleString *(*RedisModule_DefragRedisModuleString)(RedisModuleDefragCtx *ctx,
    RedisModuleString *str) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_DefragShouldStop)(RedisModuleDefragCtx *ctx) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_GetDbIdFromDefragCtx)(RedisModuleDefragCtx *ctx) REDISMODULE_ATTR;
REDISMODULE_API const RedisModuleString *(*RedisModule_GetKeyNameFromDefragCtx)(
    RedisModuleDefragCtx *ctx) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_RegisterDefragFunc)(RedisModuleCtx *ctx,
    RedisModuleDefragFunc function) REDISMODULE_ATTR;

/* Configuration */
REDISMODULE_API int (*RedisModule_LoadConfigs)(RedisModuleCtx *ctx) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_RegisterBoolConfig)(RedisModuleCtx *ctx, const char *name,
    int default_value, unsigned int flags, RedisModuleConfigGetBoolFunc get,
    RedisModuleConfigSetBoolFunc set, RedisModuleConfigApplyFunc apply,
    void *data) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_RegisterEnumConfig)(RedisModuleCtx *ctx, const char *name,
    int default_value, unsigned int flags, const char **names, const int *values, int num_values,
    RedisModuleConfigGetEnumFunc get, RedisModuleConfigSetEnumFunc set,
    RedisModuleConfigApplyFunc apply, void *data) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_RegisterNumericConfig)(RedisModuleCtx *ctx, const char *name,
    long long default_value, unsigned int flags, long long min, long long max,
    RedisModuleConfigGetNumericFunc get, RedisModuleConfigSetNumericFunc set,
    RedisModuleConfigApplyFunc apply, void *data) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_RegisterStringConfig)(RedisModuleCtx *ctx, const char *name,
    const char *default_value, unsigned int flags, RedisModuleConfigGetStringFunc get,
    RedisModuleConfigSetStringFunc set, RedisModuleConfigApplyFunc apply,
    void *data) REDISMODULE_ATTR;

/* RDB files */
REDISMODULE_API int (*RedisModule_RdbLoad)(RedisModuleCtx *ctx, RedisModuleRdbStream *stream,
    int flags) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_RdbSave)(RedisModuleCtx *ctx, RedisModuleRdbStream *stream,
    int flags) REDISMODULE_ATTR;
REDISMODULE_API RedisModuleRdbStream *(*RedisModule_RdbStreamCreateFromFile)(
    const char *filename) REDISMODULE_ATTR;
REDISMODULE_API void (*RedisModule_RdbStreamFree)(RedisModuleRdbStream *stream) REDISMODULE_ATTR;

/* Only newer servers have these (Redis 8; GetClusterNodeInfoForClient: Valkey 8): NULL on 7.4.
 * Test the pointer before the call. */
REDISMODULE_API int (*RedisModule_ACLCheckKeyPrefixPermissions)(RedisModuleUser *user,
    RedisModuleString *prefix, int flags) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_ClusterCanAccessKeysInSlot)(int slot) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_ClusterDisableTrim)(RedisModuleCtx *ctx) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_ClusterEnableTrim)(RedisModuleCtx *ctx) REDISMODULE_ATTR;
REDISMODULE_API void (*RedisModule_ClusterFreeSlotRanges)(RedisModuleCtx *ctx,
    RedisModuleSlotRangeArray *slots) REDISMODULE_ATTR;
REDISMODULE_API RedisModuleSlotRangeArray *(*RedisModule_ClusterGetLocalSlotRanges)(
    RedisModuleCtx *ctx) REDISMODULE_ATTR;
REDISMODULE_API unsigned int (*RedisModule_ClusterKeySlotC)(const char *key,
    size_t len) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_ClusterPropagateForSlotMigration)(RedisModuleCtx *ctx,
    const char *command, const char *format, ...) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_ConfigGet)(RedisModuleCtx *ctx, const char *name,
    RedisModuleString **value) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_ConfigGetBool)(RedisModuleCtx *ctx, const char *name,
    int *value) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_ConfigGetEnum)(RedisModuleCtx *ctx, const char *name,
    RedisModuleString **value) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_ConfigGetNumeric)(RedisModuleCtx *ctx, const char *name,
    long long *value) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_ConfigGetType)(const char *name,
    RedisModuleConfigType *type) REDISMODULE_ATTR;
REDISMODULE_API RedisModuleConfigIterator *(*RedisModule_ConfigIteratorCreate)(RedisModuleCtx *ctx,
    const char *pattern) REDISMODULE_ATTR;
REDISMODULE_API const char *(*RedisModule_ConfigIteratorNext)(
    RedisModuleConfigIterator *iter) REDISMODULE_ATTR;
REDISMODULE_API void (*RedisModule_ConfigIteratorRelease)(RedisModuleCtx *ctx,
    RedisModuleConfigIterator *iter) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_ConfigSet)(RedisModuleCtx *ctx, const char *name,
    RedisModuleString *value, RedisModuleString **err) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_ConfigSetBool)(RedisModuleCtx *ctx, const char *name, int value,
    RedisModuleString **err) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_ConfigSetEnum)(RedisModuleCtx *ctx, const char *name,
    RedisModuleString *value, RedisModuleString **err) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_ConfigSetNumeric)(RedisModuleCtx *ctx, const char *name,
    long long value, RedisModuleString **err) REDISMODULE_ATTR;
REDISMODULE_API void *(*RedisModule_DefragAllocRaw)(RedisModuleDefragCtx *ctx,
    size_t size) REDISMODULE_ATTR;
REDISMODULE_API void (*RedisModule_DefragFreeRaw)(RedisModuleDefragCtx *ctx,
    void *ptr) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_GetClusterNodeInfoForClient)(RedisModuleCtx *ctx,
    uint64_t client_id, const char *node_id, char *ip, char *primary_id, int *port,
    int *flags) REDISMODULE_ATTR;
REDISMODULE_API RedisModuleDict *(*RedisModule_DefragRedisModuleDict)(RedisModuleDefragCtx *ctx,
    RedisModuleDict *dict, RedisModuleDefragDictValueCallback on_value,
    RedisModuleString **seek) REDISMODULE_ATTR;
REDISMODULE_API const RedisModuleUser *(*RedisModule_GetContextUser)(
    RedisModuleCtx *ctx) REDISMODULE_ATTR;
REDISMODULE_API const char *(*RedisModule_GetInternalSecret)(RedisModuleCtx *ctx,
    size_t *len) REDISMODULE_ATTR;
REDISMODULE_API RedisModuleString *(*RedisModule_GetUserUsername)(RedisModuleCtx *ctx,
    const RedisModuleUser *user) REDISMODULE_ATTR;
REDISMODULE_API mstime_t (*RedisModule_HashFieldMinExpire)(RedisModuleKey *key) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_LoadDefaultConfigs)(RedisModuleCtx *ctx) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_RegisterDefragCallbacks)(RedisModuleCtx *ctx,
    RedisModuleDefragFunc start, RedisModuleDefragFunc end) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_RegisterDefragFunc2)(RedisModuleCtx *ctx,
    RedisModuleDefragFunc2 function) REDISMODULE_ATTR;
REDISMODULE_API int (*RedisModule_UnsubscribeFromKeyspaceEvents)(RedisModuleCtx *ctx, int types,
    RedisModuleNotificationFunc on_event) REDISMODULE_ATTR;

/* -------------------------------------- Start of a module ------------------------------------- */

#define REDISMODULE_GET_API(name) \
    RedisModule_GetApi("RedisModule_" #name, (void **)(void *)&RedisModule_##name)

/* Fills all function pointers from the server that `ctx` belongs to; a function that the server
 * lacks stays NULL. */
static void RedisModule_ResolveAPI(RedisModuleCtx *ctx) REDISMODULE_ATTR_UNUSED;
static void RedisModule_ResolveAPI(RedisModuleCtx *ctx) {
    RedisModule_GetApi = (int (*)(const char *, void *))(uintptr_t)((void **)ctx)[0];
    REDISMODULE_GET_API(Alloc);
    REDISMODULE_GET_API(Calloc);
    REDISMODULE_GET_API(Free);
    REDISMODULE_GET_API(PoolAlloc);
    REDISMODULE_GET_API(Realloc);
    REDISMODULE_GET_API(Strdup);
    REDISMODULE_GET_API(TryAlloc);
    REDISMODULE_GET_API(TryCalloc);
    REDISMODULE_GET_API(TryRealloc);
    REDISMODULE_GET_API(AutoMemory);
    REDISMODULE_GET_API(AddACLCategory);
    REDISMODULE_GET_API(ChannelAtPosWithFlags);
    REDISMODULE_GET_API(CreateCommand);
    REDISMODULE_GET_API(CreateSubcommand);
    REDISMODULE_GET_API(GetCommand);
    REDISMODULE_GET_API(IsChannelsPositionRequest);
    REDISMODULE_GET_API(IsKeysPositionRequest);
    REDISMODULE_GET_API(KeyAtPos);
    REDISMODULE_GET_API(KeyAtPosWithFlags);
    REDISMODULE_GET_API(SetCommandACLCategories);
    REDISMODULE_GET_API(SetCommandInfo);
    REDISMODULE_GET_API(BlockedClientMeasureTimeEnd);
    REDISMODULE_GET_API(BlockedClientMeasureTimeStart);
    REDISMODULE_GET_API(CachedMicroseconds);
    REDISMODULE_GET_API(IsModuleNameBusy);
    REDISMODULE_GET_API(Microseconds);
    REDISMODULE_GET_API(Milliseconds);
    REDISMODULE_GET_API(MonotonicMicroseconds);
    REDISMODULE_GET_API(SetModuleAttribs);
    REDISMODULE_GET_API(SetModuleOptions);
    REDISMODULE_GET_API(SignalModifiedKey);
    REDISMODULE_GET_API(Yield);
    REDISMODULE_GET_API(CreateString);
    REDISMODULE_GET_API(CreateStringFromDouble);
    REDISMODULE_GET_API(CreateStringFromLongDouble);
    REDISMODULE_GET_API(CreateStringFromLongLong);
    REDISMODULE_GET_API(CreateStringFromStreamID);
    REDISMODULE_GET_API(CreateStringFromString);
    REDISMODULE_GET_API(CreateStringFromULongLong);
    REDISMODULE_GET_API(CreateStringPrintf);
    REDISMODULE_GET_API(FreeString);
    REDISMODULE_GET_API(HoldString);
    REDISMODULE_GET_API(RetainString);
    REDISMODULE_GET_API(StringAppendBuffer);
    REDISMODULE_GET_API(StringCompare);
    REDISMODULE_GET_API(StringPtrLen);
    REDISMODULE_GET_API(StringToDouble);
    REDISMODULE_GET_API(StringToLongDouble);
    REDISMODULE_GET_API(StringToLongLong);
    REDISMODULE_GET_API(StringToStreamID);
    REDISMODULE_GET_API(StringToULongLong);
    REDISMODULE_GET_API(TrimStringAllocation);
    REDISMODULE_GET_API(ReplySetArrayLength);
    REDISMODULE_GET_API(ReplySetAttributeLength);
    REDISMODULE_GET_API(ReplySetMapLength);
    REDISMODULE_GET_API(ReplySetSetLength);
    REDISMODULE_GET_API(ReplyWithArray);
    REDISMODULE_GET_API(ReplyWithAttribute);
    REDISMODULE_GET_API(ReplyWithBigNumber);
    REDISMODULE_GET_API(ReplyWithBool);
    REDISMODULE_GET_API(ReplyWithCallReply);
    REDISMODULE_GET_API(ReplyWithCString);
    REDISMODULE_GET_API(ReplyWithDouble);
    REDISMODULE_GET_API(ReplyWithEmptyArray);
    REDISMODULE_GET_API(ReplyWithEmptyString);
    REDISMODULE_GET_API(ReplyWithError);
    REDISMODULE_GET_API(ReplyWithErrorFormat);
    REDISMODULE_GET_API(ReplyWithLongDouble);
    REDISMODULE_GET_API(ReplyWithLongLong);
    REDISMODULE_GET_API(ReplyWithMap);
    REDISMODULE_GET_API(ReplyWithNull);
    REDISMODULE_GET_API(ReplyWithNullArray);
    REDISMODULE_GET_API(ReplyWithSet);
    REDISMODULE_GET_API(ReplyWithSimpleString);
    REDISMODULE_GET_API(ReplyWithString);
    REDISMODULE_GET_API(ReplyWithStringBuffer);
    REDISMODULE_GET_API(ReplyWithVerbatimString);
    REDISMODULE_GET_API(ReplyWithVerbatimStringType);
    REDISMODULE_GET_API(WrongArity);
    REDISMODULE_GET_API(ReplySetPushLength);
    REDISMODULE_GET_API(Replicate);
    REDISMODULE_GET_API(ReplicateVerbatim);
    REDISMODULE_GET_API(AvoidReplicaTraffic);
    REDISMODULE_GET_API(CloseKey);
    REDISMODULE_GET_API(DbSize);
    REDISMODULE_GET_API(DeleteKey);
    REDISMODULE_GET_API(GetAbsExpire);
    REDISMODULE_GET_API(GetClientId);
    REDISMODULE_GET_API(GetClientInfoById);
    REDISMODULE_GET_API(GetClientNameById);
    REDISMODULE_GET_API(GetClientUserNameById);
    REDISMODULE_GET_API(GetContextFlags);
    REDISMODULE_GET_API(GetDbIdFromOptCtx);
    REDISMODULE_GET_API(GetExpire);
    REDISMODULE_GET_API(GetKeyNameFromOptCtx);
    REDISMODULE_GET_API(GetOpenKeyModesAll);
    REDISMODULE_GET_API(GetSelectedDb);
    REDISMODULE_GET_API(GetToDbIdFromOptCtx);
    REDISMODULE_GET_API(GetToKeyNameFromOptCtx);
    REDISMODULE_GET_API(KeyExists);
    REDISMODULE_GET_API(KeyType);
    REDISMODULE_GET_API(OpenKey);
    REDISMODULE_GET_API(PublishMessage);
    REDISMODULE_GET_API(PublishMessageShard);
    REDISMODULE_GET_API(RandomKey);
    REDISMODULE_GET_API(ResetDataset);
    REDISMODULE_GET_API(SelectDb);
    REDISMODULE_GET_API(SetAbsExpire);
    REDISMODULE_GET_API(SetClientNameById);
    REDISMODULE_GET_API(SetExpire);
    REDISMODULE_GET_API(UnlinkKey);
    REDISMODULE_GET_API(ValueLength);
    REDISMODULE_GET_API(StringDMA);
    REDISMODULE_GET_API(StringSet);
    REDISMODULE_GET_API(StringTruncate);
    REDISMODULE_GET_API(ListDelete);
    REDISMODULE_GET_API(ListGet);
    REDISMODULE_GET_API(ListInsert);
    REDISMODULE_GET_API(ListPop);
    REDISMODULE_GET_API(ListPush);
    REDISMODULE_GET_API(ListSet);
    REDISMODULE_GET_API(ZsetAdd);
    REDISMODULE_GET_API(ZsetIncrby);
    REDISMODULE_GET_API(ZsetRem);
    REDISMODULE_GET_API(ZsetScore);
    REDISMODULE_GET_API(ZsetFirstInLexRange);
    REDISMODULE_GET_API(ZsetFirstInScoreRange);
    REDISMODULE_GET_API(ZsetLastInLexRange);
    REDISMODULE_GET_API(ZsetLastInScoreRange);
    REDISMODULE_GET_API(ZsetRangeCurrentElement);
    REDISMODULE_GET_API(ZsetRangeEndReached);
    REDISMODULE_GET_API(ZsetRangeNext);
    REDISMODULE_GET_API(ZsetRangePrev);
    REDISMODULE_GET_API(ZsetRangeStop);
    REDISMODULE_GET_API(HashGet);
    REDISMODULE_GET_API(HashSet);
    REDISMODULE_GET_API(StreamAdd);
    REDISMODULE_GET_API(StreamDelete);
    REDISMODULE_GET_API(StreamIteratorDelete);
    REDISMODULE_GET_API(StreamIteratorNextField);
    REDISMODULE_GET_API(StreamIteratorNextID);
    REDISMODULE_GET_API(StreamIteratorStart);
    REDISMODULE_GET_API(StreamIteratorStop);
    REDISMODULE_GET_API(StreamTrimByID);
    REDISMODULE_GET_API(StreamTrimByLength);
    REDISMODULE_GET_API(Call);
    REDISMODULE_GET_API(CallReplyArrayElement);
    REDISMODULE_GET_API(CallReplyAttribute);
    REDISMODULE_GET_API(CallReplyAttributeElement);
    REDISMODULE_GET_API(CallReplyBigNumber);
    REDISMODULE_GET_API(CallReplyBool);
    REDISMODULE_GET_API(CallReplyDouble);
    REDISMODULE_GET_API(CallReplyInteger);
    REDISMODULE_GET_API(CallReplyLength);
    REDISMODULE_GET_API(CallReplyMapElement);
    REDISMODULE_GET_API(CallReplyPromiseAbort);
    REDISMODULE_GET_API(CallReplyPromiseSetUnblockHandler);
    REDISMODULE_GET_API(CallReplyProto);
    REDISMODULE_GET_API(CallReplySetElement);
    REDISMODULE_GET_API(CallReplyStringPtr);
    REDISMODULE_GET_API(CallReplyType);
    REDISMODULE_GET_API(CallReplyVerbatim);
    REDISMODULE_GET_API(CreateStringFromCallReply);
    REDISMODULE_GET_API(FreeCallReply);
    REDISMODULE_GET_API(SetContextUser);
    REDISMODULE_GET_API(CreateDataType);
    REDISMODULE_GET_API(ModuleTypeGetType);
    REDISMODULE_GET_API(ModuleTypeGetValue);
    REDISMODULE_GET_API(ModuleTypeSetValue);
    REDISMODULE_GET_API(IsIOError);
    REDISMODULE_GET_API(LoadDouble);
    REDISMODULE_GET_API(LoadFloat);
    REDISMODULE_GET_API(LoadLongDouble);
    REDISMODULE_GET_API(LoadSigned);
    REDISMODULE_GET_API(LoadString);
    REDISMODULE_GET_API(LoadStringBuffer);
    REDISMODULE_GET_API(LoadUnsigned);
    REDISMODULE_GET_API(SaveDouble);
    REDISMODULE_GET_API(SaveFloat);
    REDISMODULE_GET_API(SaveLongDouble);
    REDISMODULE_GET_API(SaveSigned);
    REDISMODULE_GET_API(SaveString);
    REDISMODULE_GET_API(SaveStringBuffer);
    REDISMODULE_GET_API(SaveUnsigned);
    REDISMODULE_GET_API(DigestAddLongLong);
    REDISMODULE_GET_API(DigestAddStringBuffer);
    REDISMODULE_GET_API(DigestEndSequence);
    REDISMODULE_GET_API(GetDbIdFromDigest);
    REDISMODULE_GET_API(GetKeyNameFromDigest);
    REDISMODULE_GET_API(LoadDataTypeFromString);
    REDISMODULE_GET_API(LoadDataTypeFromStringEncver);
    REDISMODULE_GET_API(SaveDataTypeToString);
    REDISMODULE_GET_API(EmitAOF);
    REDISMODULE_GET_API(GetContextFromIO);
    REDISMODULE_GET_API(GetDbIdFromIO);
    REDISMODULE_GET_API(GetDbIdFromModuleKey);
    REDISMODULE_GET_API(GetKeyNameFromIO);
    REDISMODULE_GET_API(GetKeyNameFromModuleKey);
    REDISMODULE_GET_API(_Assert);
    REDISMODULE_GET_API(LatencyAddSample);
    REDISMODULE_GET_API(Log);
    REDISMODULE_GET_API(LogIOError);
    REDISMODULE_GET_API(AbortBlock);
    REDISMODULE_GET_API(BlockClient);
    REDISMODULE_GET_API(BlockClientGetPrivateData);
    REDISMODULE_GET_API(BlockClientOnAuth);
    REDISMODULE_GET_API(BlockClientOnKeys);
    REDISMODULE_GET_API(BlockClientOnKeysWithFlags);
    REDISMODULE_GET_API(BlockClientSetPrivateData);
    REDISMODULE_GET_API(BlockedClientDisconnected);
    REDISMODULE_GET_API(GetBlockedClientHandle);
    REDISMODULE_GET_API(GetBlockedClientPrivateData);
    REDISMODULE_GET_API(GetBlockedClientReadyKey);
    REDISMODULE_GET_API(IsBlockedReplyRequest);
    REDISMODULE_GET_API(IsBlockedTimeoutRequest);
    REDISMODULE_GET_API(RegisterAuthCallback);
    REDISMODULE_GET_API(SetDisconnectCallback);
    REDISMODULE_GET_API(SignalKeyAsReady);
    REDISMODULE_GET_API(UnblockClient);
    REDISMODULE_GET_API(FreeThreadSafeContext);
    REDISMODULE_GET_API(GetDetachedThreadSafeContext);
    REDISMODULE_GET_API(GetThreadSafeContext);
    REDISMODULE_GET_API(ThreadSafeContextLock);
    REDISMODULE_GET_API(ThreadSafeContextTryLock);
    REDISMODULE_GET_API(ThreadSafeContextUnlock);
    REDISMODULE_GET_API(AddPostNotificationJob);
    REDISMODULE_GET_API(GetNotifyKeyspaceEvents);
    REDISMODULE_GET_API(NotifyKeyspaceEvent);
    REDISMODULE_GET_API(SubscribeToKeyspaceEvents);
    REDISMODULE_GET_API(ClusterCanonicalKeyNameInSlot);
    REDISMODULE_GET_API(ClusterKeySlot);
    REDISMODULE_GET_API(FreeClusterNodesList);
    REDISMODULE_GET_API(GetClusterNodeInfo);
    REDISMODULE_GET_API(GetClusterNodesList);
    REDISMODULE_GET_API(GetClusterSize);
    REDISMODULE_GET_API(GetMyClusterID);
    REDISMODULE_GET_API(RegisterClusterMessageReceiver);
    REDISMODULE_GET_API(SendClusterMessage);
    REDISMODULE_GET_API(SetClusterFlags);
    REDISMODULE_GET_API(CreateTimer);
    REDISMODULE_GET_API(GetTimerInfo);
    REDISMODULE_GET_API(StopTimer);
    REDISMODULE_GET_API(EventLoopAdd);
    REDISMODULE_GET_API(EventLoopAddOneShot);
    REDISMODULE_GET_API(EventLoopDel);
    REDISMODULE_GET_API(ACLAddLogEntry);
    REDISMODULE_GET_API(ACLAddLogEntryByUserName);
    REDISMODULE_GET_API(ACLCheckChannelPermissions);
    REDISMODULE_GET_API(ACLCheckCommandPermissions);
    REDISMODULE_GET_API(ACLCheckKeyPermissions);
    REDISMODULE_GET_API(AuthenticateClientWithACLUser);
    REDISMODULE_GET_API(AuthenticateClientWithUser);
    REDISMODULE_GET_API(CreateModuleUser);
    REDISMODULE_GET_API(DeauthenticateAndCloseClient);
    REDISMODULE_GET_API(FreeModuleUser);
    REDISMODULE_GET_API(GetClientCertificate);
    REDISMODULE_GET_API(GetCurrentUserName);
    REDISMODULE_GET_API(GetModuleUserACLString);
    REDISMODULE_GET_API(GetModuleUserFromUserName);
    REDISMODULE_GET_API(RedactClientCommandArgument);
    REDISMODULE_GET_API(SetModuleUserACL);
    REDISMODULE_GET_API(SetModuleUserACLString);
    REDISMODULE_GET_API(CreateDict);
    REDISMODULE_GET_API(DictCompare);
    REDISMODULE_GET_API(DictCompareC);
    REDISMODULE_GET_API(DictDel);
    REDISMODULE_GET_API(DictDelC);
    REDISMODULE_GET_API(DictGet);
    REDISMODULE_GET_API(DictGetC);
    REDISMODULE_GET_API(DictIteratorReseek);
    REDISMODULE_GET_API(DictIteratorReseekC);
    REDISMODULE_GET_API(DictIteratorStart);
    REDISMODULE_GET_API(DictIteratorStartC);
    REDISMODULE_GET_API(DictIteratorStop);
    REDISMODULE_GET_API(DictNext);
    REDISMODULE_GET_API(DictNextC);
    REDISMODULE_GET_API(DictPrev);
    REDISMODULE_GET_API(DictPrevC);
    REDISMODULE_GET_API(DictReplace);
    REDISMODULE_GET_API(DictReplaceC);
    REDISMODULE_GET_API(DictSet);
    REDISMODULE_GET_API(DictSetC);
    REDISMODULE_GET_API(DictSize);
    REDISMODULE_GET_API(FreeDict);
    REDISMODULE_GET_API(FreeServerInfo);
    REDISMODULE_GET_API(GetServerInfo);
    REDISMODULE_GET_API(InfoAddFieldCString);
    REDISMODULE_GET_API(InfoAddFieldDouble);
    REDISMODULE_GET_API(InfoAddFieldLongLong);
    REDISMODULE_GET_API(InfoAddFieldString);
    REDISMODULE_GET_API(InfoAddFieldULongLong);
    REDISMODULE_GET_API(InfoAddSection);
    REDISMODULE_GET_API(InfoBeginDictField);
    REDISMODULE_GET_API(InfoEndDictField);
    REDISMODULE_GET_API(RegisterInfoFunc);
    REDISMODULE_GET_API(ServerInfoGetField);
    REDISMODULE_GET_API(ServerInfoGetFieldC);
    REDISMODULE_GET_API(ServerInfoGetFieldDouble);
    REDISMODULE_GET_API(ServerInfoGetFieldSigned);
    REDISMODULE_GET_API(ServerInfoGetFieldUnsigned);
    REDISMODULE_GET_API(GetRandomBytes);
    REDISMODULE_GET_API(GetRandomHexChars);
    REDISMODULE_GET_API(ExportSharedAPI);
    REDISMODULE_GET_API(GetSharedAPI);
    REDISMODULE_GET_API(CommandFilterArgDelete);
    REDISMODULE_GET_API(CommandFilterArgGet);
    REDISMODULE_GET_API(CommandFilterArgInsert);
    REDISMODULE_GET_API(CommandFilterArgReplace);
    REDISMODULE_GET_API(CommandFilterArgsCount);
    REDISMODULE_GET_API(CommandFilterGetClientId);
    REDISMODULE_GET_API(GetUsedMemoryRatio);
    REDISMODULE_GET_API(MallocSize);
    REDISMODULE_GET_API(MallocSizeDict);
    REDISMODULE_GET_API(MallocSizeString);
    REDISMODULE_GET_API(MallocUsableSize);
    REDISMODULE_GET_API(RegisterCommandFilter);
    REDISMODULE_GET_API(UnregisterCommandFilter);
    REDISMODULE_GET_API(Scan);
    REDISMODULE_GET_API(ScanCursorCreate);
    REDISMODULE_GET_API(ScanCursorDestroy);
    REDISMODULE_GET_API(ScanCursorRestart);
    REDISMODULE_GET_API(ScanKey);
    REDISMODULE_GET_API(ExitFromChild);
    REDISMODULE_GET_API(Fork);
    REDISMODULE_GET_API(KillForkChild);
    REDISMODULE_GET_API(SendChildHeartbeat);
    REDISMODULE_GET_API(IsSubEventSupported);
    REDISMODULE_GET_API(SubscribeToServerEvent);
    REDISMODULE_GET_API(GetLFU);
    REDISMODULE_GET_API(GetLRU);
    REDISMODULE_GET_API(SetLFU);
    REDISMODULE_GET_API(SetLRU);
    REDISMODULE_GET_API(GetCommandKeys);
    REDISMODULE_GET_API(GetCommandKeysWithFlags);
    REDISMODULE_GET_API(GetContextFlagsAll);
    REDISMODULE_GET_API(GetCurrentCommandName);
    REDISMODULE_GET_API(GetKeyspaceNotificationFlagsAll);
    REDISMODULE_GET_API(GetModuleOptionsAll);
    REDISMODULE_GET_API(GetServerVersion);
    REDISMODULE_GET_API(GetTypeMethodVersion);
    REDISMODULE_GET_API(ModuleTypeReplaceValue);
    REDISMODULE_GET_API(DefragAlloc);
    REDISMODULE_GET_API(DefragCursorGet);
    REDISMODULE_GET_API(DefragCursorSet);
    REDISMODULE_GET_API(DefragRedisModuleString);
    REDISMODULE_GET_API(DefragShouldStop);
    REDISMODULE_GET_API(GetDbIdFromDefragCtx);
    REDISMODULE_GET_API(GetKeyNameFromDefragCtx);
    REDISMODULE_GET_API(RegisterDefragFunc);
    REDISMODULE_GET_API(LoadConfigs);
    REDISMODULE_GET_API(RegisterBoolConfig);
    REDISMODULE_GET_API(RegisterEnumConfig);
    REDISMODULE_GET_API(RegisterNumericConfig);
    REDISMODULE_GET_API(RegisterStringConfig);
    REDISMODULE_GET_API(RdbLoad);
    REDISMODULE_GET_API(RdbSave);
    REDISMODULE_GET_API(RdbStreamCreateFromFile);
    REDISMODULE_GET_API(RdbStreamFree);
    REDISMODULE_GET_API(ACLCheckKeyPrefixPermissions);
    REDISMODULE_GET_API(ClusterCanAccessKeysInSlot);
    REDISMODULE_GET_API(ClusterDisableTrim);
    REDISMODULE_GET_API(ClusterEnableTrim);
    REDISMODULE_GET_API(ClusterFreeSlotRanges);
    REDISMODULE_GET_API(ClusterGetLocalSlotRanges);
    REDISMODULE_GET_API(ClusterKeySlotC);
    REDISMODULE_GET_API(ClusterPropagateForSlotMigration);
    REDISMODULE_GET_API(ConfigGet);
    REDISMODULE_GET_API(ConfigGetBool);
    REDISMODULE_GET_API(ConfigGetEnum);
    REDISMODULE_GET_API(ConfigGetNumeric);
    REDISMODULE_GET_API(ConfigGetType);
    REDISMODULE_GET_API(ConfigIteratorCreate);
    REDISMODULE_GET_API(ConfigIteratorNext);
    REDISMODULE_GET_API(ConfigIteratorRelease);
    REDISMODULE_GET_API(ConfigSet);
    REDISMODULE_GET_API(ConfigSetBool);
    REDISMODULE_GET_API(ConfigSetEnum);
    REDISMODULE_GET_API(ConfigSetNumeric);
    REDISMODULE_GET_API(DefragAllocRaw);
    REDISMODULE_GET_API(DefragFreeRaw);
    REDISMODULE_GET_API(DefragRedisModuleDict);
    REDISMODULE_GET_API(GetClusterNodeInfoForClient);
    REDISMODULE_GET_API(GetContextUser);
    REDISMODULE_GET_API(GetInternalSecret);
    REDISMODULE_GET_API(GetUserUsername);
    REDISMODULE_GET_API(HashFieldMinExpire);
    REDISMODULE_GET_API(LoadDefaultConfigs);
    REDISMODULE_GET_API(RegisterDefragCallbacks);
    REDISMODULE_GET_API(RegisterDefragFunc2);
    REDISMODULE_GET_API(UnsubscribeFromKeyspaceEvents);
}

/* Must be the first call of RedisModule_OnLoad. Fails when a module of that name is loaded. */
static int RedisModule_Init(RedisModuleCtx *ctx, const char *name, int ver, int apiver)
    REDISMODULE_ATTR_UNUSED;
static int RedisModule_Init(RedisModuleCtx *ctx, const char *name, int ver, int apiver) {
    RedisModule_ResolveAPI(ctx);
    if (RedisModule_IsModuleNameBusy != NULL && RedisModule_IsModuleNameBusy(name))
        return REDISMODULE_ERR;
    RedisModule_SetModuleAttribs(ctx, name, ver, apiver);
    return REDISMODULE_OK;
}

/* Reports a false condition to the server, with its place, and ends the process. */
#define RedisModule_Assert(condition) \
    ((condition) ? (void)0 : (RedisModule__Assert(#condition, __FILE__, __LINE__), exit(1)))

/* Whether a client id, as GetClientId gives it, stands for the loading of an AOF file. */
#define RedisModule_IsAOFClient(id) ((id) == UINT64_MAX)

/* Whether the server has a function: RMAPI_FUNC_SUPPORTED(RedisModule_Yield). */
#define RMAPI_FUNC_SUPPORTED(func) ((func) != NULL)

#endif /* REDISMODULE_H */
