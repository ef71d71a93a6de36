/* A module that registers something of everything and then fails to load: nothing of it may stay.
 *
 * With the argument "nameless" it expects that its name is taken, and goes on without one; with
 * "value" it leaves a value of its type at "failing:value". With "succeed" it loads. Then:
 *   failing.ping         answers PONG
 *   failing.events       number of keyspace events seen
 *
 * What it registers: two commands, the data type "failtype1", a bool parameter "flag", a keyspace
 * subscription, a server event subscription, a command filter, a shared API, an info function, a
 * timer. If it fails, also auxiliary data, a job for the end of the unit, all server events,
 * functions for defragmentation, authentication and messages of the cluster, two descriptors, a
 * single call, the end of a fork, a call that waits for the list "failing:list", a block. Whatever
 * is called when it is gone ends the server. */
#include <unistd.h>

#include "testmodule.h"

static long long events;
static int flag;
static RedisModuleType *type;

static int ping(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    return RedisModule_ReplyWithSimpleString(ctx, "PONG");
}

static int count_events(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    return RedisModule_ReplyWithLongLong(ctx, events);
}

static void on_job(RedisModuleCtx *ctx, void *data) { events++; }

static int on_key_event(RedisModuleCtx *ctx, int class, const char *event, RedisModuleString *key) {
    events++;
    RedisModule_AddPostNotificationJob(ctx, on_job, NULL, NULL);
    return REDISMODULE_OK;
}

static void on_server_event(RedisModuleCtx *ctx, RedisModuleEvent event, uint64_t subevent,
                            void *data) {
    events++;
}

static void on_timer(RedisModuleCtx *ctx, void *data) { events++; }

static int on_auth(RedisModuleCtx *ctx, RedisModuleString *user, RedisModuleString *password,
                   RedisModuleString **error) {
    events++;
    return REDISMODULE_AUTH_NOT_HANDLED;
}

static void on_defrag(RedisModuleDefragCtx *ctx) { events++; }

static void on_message(RedisModuleCtx *ctx, const char *sender, uint8_t type,
                       const unsigned char *payload, uint32_t len) {
    events++;
}

static void on_readable(int fd, void *data, int mask) { events++; }

static void on_once(void *data) { events++; }

static void on_child(int code, int signal, void *data) { events++; }

static void on_unblocked(RedisModuleCtx *ctx, RedisModuleCallReply *reply, void *data) {
    events++;
    RedisModule_FreeCallReply(reply);
}

static int on_reply(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    return RedisModule_ReplyWithLongLong(ctx, ++events);
}

static void on_free(RedisModuleCtx *ctx, void *data) { events++; }

static void save_aux(RedisModuleIO *io, int when) { RedisModule_SaveSigned(io, ++events + when); }

static int load_aux(RedisModuleIO *io, int encver, int when) {
    RedisModule_LoadSigned(io);
    return REDISMODULE_OK;
}

/* What has no context, or waits for something. */
static int wait_for_more(RedisModuleCtx *ctx) {
    for (uint64_t id = 0; id < 20; id++)
        RedisModule_SubscribeToServerEvent(ctx, (RedisModuleEvent){id, 1}, on_server_event);
    RedisModule_RegisterAuthCallback(ctx, on_auth);
    RedisModule_RegisterDefragFunc(ctx, on_defrag);
    RedisModule_RegisterClusterMessageReceiver(ctx, 1, on_message);

    int fds[2];
    if (pipe(fds) != 0 || write(fds[1], "x", 1) != 1 ||
        RedisModule_EventLoopAdd(fds[0], REDISMODULE_EVENTLOOP_READABLE, on_readable, NULL) ==
            REDISMODULE_ERR ||
        RedisModule_EventLoopAdd(fds[1], REDISMODULE_EVENTLOOP_WRITABLE, on_readable, NULL) ==
            REDISMODULE_ERR ||
        RedisModule_EventLoopAddOneShot(on_once, NULL) == REDISMODULE_ERR)
        return REDISMODULE_ERR;
    if (RedisModule_Fork(on_child, NULL) == 0) RedisModule_ExitFromChild(0);

    RedisModuleCallReply *reply = RedisModule_Call(ctx, "BLPOP", "!Kcc", "failing:list", "0");
    if (RedisModule_CallReplyType(reply) == REDISMODULE_REPLY_PROMISE)
        RedisModule_CallReplyPromiseSetUnblockHandler(reply, on_unblocked, NULL);
    reply = RedisModule_Call(ctx, "SET", "!cc", "failing:key", "value");
    RedisModule_FreeCallReply(reply);

    RedisModuleBlockedClient *bc = RedisModule_BlockClient(ctx, on_reply, on_reply, on_free, 1);
    return bc == NULL ? REDISMODULE_ERR : RedisModule_UnblockClient(bc, &events);
}

static void on_command(RedisModuleCommandFilterCtx *filter) { events++; }

static void on_info(RedisModuleInfoCtx *ctx, int for_crash_report) {
    RedisModule_InfoAddSection(ctx, "main");
    RedisModule_InfoAddFieldLongLong(ctx, "events", events);
}

static int get_flag(const char *name, void *data) { return flag; }

static int set_flag(const char *name, int value, void *data, RedisModuleString **err) {
    flag = value;
    return REDISMODULE_OK;
}

static void *load_value(RedisModuleIO *io, int encver) {
    return RedisModule_LoadStringBuffer(io, NULL);
}

static void save_value(RedisModuleIO *io, void *value) {
    RedisModule_SaveStringBuffer(io, value, strlen(value));
}

static void free_value(void *value) { RedisModule_Free(value); }

int RedisModule_OnLoad(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    /* The functions are there before anything else is asked for. */
    int named = RedisModule_Init(ctx, "failing", 1, REDISMODULE_APIVER_1) == REDISMODULE_OK;
    int nameless = argc == 1 && strcmp(text_of(argv[0]), "nameless") == 0;
    if (named == nameless) return REDISMODULE_ERR;
    COMMAND(nameless ? "nameless.ping" : "failing.ping", ping, "readonly", 0, 0, 0);
    COMMAND(nameless ? "nameless.events" : "failing.events", count_events, "readonly", 0, 0, 0);

    RedisModuleTypeMethods methods = {.version = REDISMODULE_TYPE_METHOD_VERSION,
                                      .rdb_load = load_value,
                                      .rdb_save = save_value,
                                      .aux_load = load_aux,
                                      .aux_save = save_aux,
                                      .aux_save_triggers =
                                          REDISMODULE_AUX_BEFORE_RDB | REDISMODULE_AUX_AFTER_RDB,
                                      .free = free_value};
    type = RedisModule_CreateDataType(ctx, nameless ? "failtype2" : "failtype1", 0, &methods);
    if (type == NULL) return REDISMODULE_ERR;
    if (RedisModule_RegisterBoolConfig(ctx, "flag", 1, REDISMODULE_CONFIG_DEFAULT, get_flag,
                                       set_flag, NULL, NULL) == REDISMODULE_ERR ||
        RedisModule_LoadConfigs(ctx) == REDISMODULE_ERR)
        return REDISMODULE_ERR;
    RedisModule_SubscribeToKeyspaceEvents(ctx, REDISMODULE_NOTIFY_ALL, on_key_event);
    RedisModule_SubscribeToServerEvent(ctx, RedisModuleEvent_FlushDB, on_server_event);
    if (RedisModule_RegisterCommandFilter(ctx, on_command, 0) == NULL) return REDISMODULE_ERR;
    RedisModule_ExportSharedAPI(ctx, "failing_api", (void *)(uintptr_t)ping);
    RedisModule_RegisterInfoFunc(ctx, on_info);
    RedisModule_CreateTimer(ctx, 20, on_timer, NULL);

    if (argc == 1 && strcmp(text_of(argv[0]), "succeed") == 0) return REDISMODULE_OK;
    if (argc == 1 && strcmp(text_of(argv[0]), "value") == 0) {
        RedisModuleString *name = RedisModule_CreateString(ctx, "failing:value", 13);
        RedisModuleKey *key = RedisModule_OpenKey(ctx, name, REDISMODULE_WRITE);
        RedisModule_ModuleTypeSetValue(key, type, RedisModule_Strdup("its value"));
        RedisModule_CloseKey(key);
        RedisModule_FreeString(ctx, name);
    }
    wait_for_more(ctx);
    return REDISMODULE_ERR;
}
