/* Keyspace notifications, server events and post-notification jobs, recorded in a log.
 *
 * Module arguments: "all" subscribes to an unknown bit too, as real modules do, "misses" to
 * KEY_MISS and NEW, "load" to LOADED; "nested" sets ALLOW_NESTED_KEYSPACE_NOTIFICATIONS; "jobs"
 * adds a post-notification job for every string event. In any case it gets the generic, string,
 * list, hash, set, zset, stream, expired, evicted and module events.
 *
 *   ev.log                     the lines of the log since the last ev.clear
 *   ev.clear                   empties it
 *   ev.server 0|1              stops or starts recording server events (off at first); CronLoop,
 *                              EventLoop and LoadingProgress are counted, not logged
 *   ev.counts                  [cron loops, event loops, loading progresses]
 *   ev.notify class event key  NotifyKeyspaceEvent
 *   ev.flags                   [GetNotifyKeyspaceEvents, GetKeyspaceNotificationFlagsAll]
 *   ev.supported id subevent   IsSubEventSupported
 *   ev.addresses               1 if every event name that came in twice had the same address
 *   ev.job key                 a job that increments the key is added from a command: "OK" or "ERR"
 *   ev.incr key                INCR by RM_Call (its event comes back to the module)
 *
 * A line is "key CLASS EVENT KEY db=N exists=0|1 value=V" (value: only for strings),
 * "server EVENT SUBEVENT DATA" or "job KEY". */
#include "testmodule.h"

static char *lines[4096];
static size_t num_lines;
static long long crons, loops, progresses;
static int record_server, with_jobs;

static void log_line(RedisModuleString *line) {
    if (num_lines < sizeof(lines) / sizeof(*lines))
        lines[num_lines++] = RedisModule_Strdup(text_of(line));
    RedisModule_FreeString(NULL, line);
}

#define LOG(...) log_line(RedisModule_CreateStringPrintf(NULL, __VA_ARGS__))

/* ----- Event names must keep their addresses ----- */

static struct {
    const char *address;
    char *text;
} names[512];
static size_t num_names;
static int addresses_kept = 1;

static void check_address(const char *event) {
    for (size_t i = 0; i < num_names; i++) {
        int same_address = names[i].address == event, same_text = strcmp(names[i].text, event) == 0;
        if (same_address != same_text) addresses_kept = 0;
        if (same_address) return;
    }
    if (num_names == sizeof(names) / sizeof(*names)) return;
    names[num_names].address = event;
    names[num_names++].text = RedisModule_Strdup(event);
}

/* ----- Post-notification jobs ----- */

static void run_job(RedisModuleCtx *ctx, void *data) {
    RedisModuleString *key = data;
    LOG("job %s", text_of(key));
    RedisModuleString *counter = RedisModule_CreateStringPrintf(NULL, "jobs:%s", text_of(key));
    RedisModuleCallReply *reply = RedisModule_Call(ctx, "INCR", "!s", counter);
    if (reply != NULL) RedisModule_FreeCallReply(reply);
    RedisModule_FreeString(NULL, counter);
}

static void free_job(void *data) { RedisModule_FreeString(NULL, data); }

static int add_job(RedisModuleCtx *ctx, const RedisModuleString *key) {
    RedisModuleString *copy = RedisModule_CreateStringFromString(NULL, key);
    int status = RedisModule_AddPostNotificationJob(ctx, run_job, copy, free_job);
    if (status == REDISMODULE_ERR) RedisModule_FreeString(NULL, copy);
    return status;
}

/* ----- Keyspace events ----- */

static const char *class_name(int class) {
    switch (class) {
    case REDISMODULE_NOTIFY_GENERIC: return "generic";
    case REDISMODULE_NOTIFY_STRING: return "string";
    case REDISMODULE_NOTIFY_LIST: return "list";
    case REDISMODULE_NOTIFY_SET: return "set";
    case REDISMODULE_NOTIFY_HASH: return "hash";
    case REDISMODULE_NOTIFY_ZSET: return "zset";
    case REDISMODULE_NOTIFY_EXPIRED: return "expired";
    case REDISMODULE_NOTIFY_EVICTED: return "evicted";
    case REDISMODULE_NOTIFY_STREAM: return "stream";
    case REDISMODULE_NOTIFY_KEY_MISS: return "miss";
    case REDISMODULE_NOTIFY_LOADED: return "loaded";
    case REDISMODULE_NOTIFY_MODULE: return "module";
    case REDISMODULE_NOTIFY_NEW: return "new";
    default: return "other";
    }
}

static int on_key_event(RedisModuleCtx *ctx, int class, const char *event,
                        RedisModuleString *name) {
    if (strncmp(text_of(name), "jobs:", 5) == 0) return REDISMODULE_OK;
    if (strncmp(event, "own:", 4) != 0) check_address(event);
    RedisModuleKey *key = RedisModule_OpenKey(ctx, name,
                                              REDISMODULE_READ | REDISMODULE_OPEN_KEY_NOEFFECTS);
    RedisModuleString *line =
        RedisModule_CreateStringPrintf(NULL, "key %s %s %s db=%d exists=%d", class_name(class),
                                       event, text_of(name), RedisModule_GetSelectedDb(ctx),
                                       key != NULL);
    int type = RedisModule_KeyType(key);
    RedisModule_CloseKey(key);
    if (type == REDISMODULE_KEYTYPE_STRING) {
        /* Not StringDMA: Redis may change the value's encoding there, under the feet of the command
         * that sent the event, and crashes then (SETEX, 7.4.1). */
        RedisModuleCallReply *reply = RedisModule_Call(ctx, "GET", "s", name);
        size_t len;
        const char *value = RedisModule_CallReplyStringPtr(reply, &len);
        RedisModule_StringAppendBuffer(NULL, line, " value=", 7);
        RedisModule_StringAppendBuffer(NULL, line, value, len);
        RedisModule_FreeCallReply(reply);
    }
    log_line(line);
    if (with_jobs && class == REDISMODULE_NOTIFY_STRING) add_job(ctx, name);
    return REDISMODULE_OK;
}

/* ----- Server events ----- */

static const char *const event_names[] = {
    "ReplicationRoleChanged", "Persistence", "FlushDB", "Loading", "ClientChange", "Shutdown",
    "ReplicaChange", "MasterLinkChange", "CronLoop", "ModuleChange", "LoadingProgress", "SwapDB",
    "ReplBackup", "ForkChild", "ReplAsyncLoad", "EventLoop", "Config", "Key"};

static void on_server_event(RedisModuleCtx *ctx, RedisModuleEvent event, uint64_t subevent,
                            void *data) {
    if (event.id == REDISMODULE_EVENT_CRON_LOOP) {
        crons += ((RedisModuleCronLoop *)data)->hz > 0;
        return;
    }
    if (event.id == REDISMODULE_EVENT_EVENTLOOP) {
        loops++;
        return;
    }
    if (event.id == REDISMODULE_EVENT_LOADING_PROGRESS) {
        progresses++;
        return;
    }
    if (!record_server) return;
    const char *name = event_names[event.id];
    unsigned long long sub = subevent;
    switch (event.id) {
    case REDISMODULE_EVENT_FLUSHDB: {
        RedisModuleFlushInfo *info = data;
        LOG("server %s %llu db=%d sync=%d size=%llu", name, sub, info->dbnum, info->sync,
            RedisModule_DbSize(ctx));
        break;
    }
    case REDISMODULE_EVENT_CLIENT_CHANGE: {
        RedisModuleClientInfo *info = data;
        LOG("server %s %llu v=%d db=%d known=%d", name, sub, (int)info->version, info->db,
            info->id == RedisModule_GetClientId(ctx));
        break;
    }
    case REDISMODULE_EVENT_MODULE_CHANGE: {
        RedisModuleModuleChange *info = data;
        LOG("server %s %llu %s %d", name, sub, info->module_name, info->module_version);
        break;
    }
    case REDISMODULE_EVENT_SWAPDB: {
        RedisModuleSwapDbInfo *info = data;
        LOG("server %s %llu %d %d", name, sub, info->dbnum_first, info->dbnum_second);
        break;
    }
    case REDISMODULE_EVENT_CONFIG: {
        RedisModuleConfigChange *info = data;
        for (uint32_t i = 0; i < info->num_changes; i++)
            LOG("server %s %llu %s", name, sub, info->config_names[i]);
        break;
    }
    case REDISMODULE_EVENT_REPLICATION_ROLE_CHANGED: {
        RedisModuleReplicationInfo *info = data;
        LOG("server %s %llu master=%d host=%s port=%d id=%zu", name, sub, info->master,
            info->masterhost, info->masterport, strlen(info->replid1));
        break;
    }
    case REDISMODULE_EVENT_KEY: {
        RedisModuleKeyInfo *info = data;
        LOG("server %s %llu %s type=%d", name, sub,
            text_of(RedisModule_GetKeyNameFromModuleKey(info->key)),
            RedisModule_KeyType(info->key));
        break;
    }
    default:
        LOG("server %s %llu", name, sub);
    }
}

/* ----- Commands ----- */

static int show_log(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    RedisModule_ReplyWithArray(ctx, (long)num_lines);
    for (size_t i = 0; i < num_lines; i++) RedisModule_ReplyWithCString(ctx, lines[i]);
    return REDISMODULE_OK;
}

static int clear_log(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    while (num_lines > 0) RedisModule_Free(lines[--num_lines]);
    return RedisModule_ReplyWithSimpleString(ctx, "OK");
}

static int set_server(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 2) return RedisModule_WrongArity(ctx);
    record_server = (int)number_of(argv[1]);
    return RedisModule_ReplyWithSimpleString(ctx, "OK");
}

static int counts(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    RedisModule_ReplyWithArray(ctx, 3);
    RedisModule_ReplyWithLongLong(ctx, crons);
    RedisModule_ReplyWithLongLong(ctx, loops);
    return RedisModule_ReplyWithLongLong(ctx, progresses);
}

static int notify(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 4) return RedisModule_WrongArity(ctx);
    RedisModuleString *event = RedisModule_CreateStringPrintf(ctx, "own:%s", text_of(argv[2]));
    int status = RedisModule_NotifyKeyspaceEvent(ctx, (int)number_of(argv[1]), text_of(event),
                                                 argv[3]);
    RedisModule_FreeString(ctx, event);
    return reply_status(ctx, status);
}

static int flags(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    RedisModule_ReplyWithArray(ctx, 2);
    RedisModule_ReplyWithLongLong(ctx, RedisModule_GetNotifyKeyspaceEvents());
    return RedisModule_ReplyWithLongLong(ctx, RedisModule_GetKeyspaceNotificationFlagsAll());
}

static int supported(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 3) return RedisModule_WrongArity(ctx);
    RedisModuleEvent event = {(uint64_t)number_of(argv[1]), 1};
    return RedisModule_ReplyWithLongLong(
        ctx, RedisModule_IsSubEventSupported(event, (uint64_t)number_of(argv[2])));
}

static int addresses(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    return RedisModule_ReplyWithLongLong(ctx, addresses_kept);
}

static int job(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 2) return RedisModule_WrongArity(ctx);
    return reply_status(ctx, add_job(ctx, argv[1]));
}

static int incr(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 2) return RedisModule_WrongArity(ctx);
    RedisModuleCallReply *reply = RedisModule_Call(ctx, "INCR", "!s", argv[1]);
    if (reply == NULL) return RedisModule_ReplyWithError(ctx, "ERR the call failed");
    RedisModule_ReplyWithCallReply(ctx, reply);
    RedisModule_FreeCallReply(reply);
    return REDISMODULE_OK;
}

int RedisModule_OnLoad(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (RedisModule_Init(ctx, "events", 1, REDISMODULE_APIVER_1) == REDISMODULE_ERR)
        return REDISMODULE_ERR;
    int classes = REDISMODULE_NOTIFY_ALL;
    for (int i = 0; i < argc; i++) {
        const char *word = text_of(argv[i]);
        if (strcmp(word, "all") == 0) classes |= REDISMODULE_NOTIFY_TRIMMED;
        else if (strcmp(word, "misses") == 0)
            classes |= REDISMODULE_NOTIFY_KEY_MISS | REDISMODULE_NOTIFY_NEW;
        else if (strcmp(word, "load") == 0) classes |= REDISMODULE_NOTIFY_LOADED;
        else if (strcmp(word, "jobs") == 0) with_jobs = 1;
        else if (strcmp(word, "nested") == 0)
            RedisModule_SetModuleOptions(
                ctx, REDISMODULE_OPTIONS_ALLOW_NESTED_KEYSPACE_NOTIFICATIONS);
        else return REDISMODULE_ERR;
    }
    if (RedisModule_SubscribeToKeyspaceEvents(ctx, classes, on_key_event) == REDISMODULE_ERR)
        return REDISMODULE_ERR;
    for (uint64_t id = 0; id < _REDISMODULE_EVENT_NEXT; id++) {
        RedisModuleEvent event = {id, 1};
        if (RedisModule_SubscribeToServerEvent(ctx, event, on_server_event) == REDISMODULE_ERR)
            return REDISMODULE_ERR;
    }
    /* An event that the server does not know is refused. */
    RedisModuleEvent unknown = {1000, 1};
    if (RedisModule_SubscribeToServerEvent(ctx, unknown, on_server_event) == REDISMODULE_OK)
        return REDISMODULE_ERR;

    COMMAND("ev.log", show_log, "readonly allow-loading", 0, 0, 0);
    COMMAND("ev.clear", clear_log, "readonly", 0, 0, 0);
    COMMAND("ev.server", set_server, "readonly", 0, 0, 0);
    COMMAND("ev.counts", counts, "readonly", 0, 0, 0);
    COMMAND("ev.notify", notify, "write", 3, 3, 1);
    COMMAND("ev.flags", flags, "readonly", 0, 0, 0);
    COMMAND("ev.supported", supported, "readonly", 0, 0, 0);
    COMMAND("ev.addresses", addresses, "readonly", 0, 0, 0);
    COMMAND("ev.job", job, "write", 1, 1, 1);
    COMMAND("ev.incr", incr, "write", 1, 1, 1);
    return REDISMODULE_OK;
}
