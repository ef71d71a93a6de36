/* A module that registers something of everything and then fails to load: nothing of it may stay.
 *
 * With the argument "succeed" it loads. Then:
 *   failing.ping         answers PONG
 *   failing.events       number of keyspace events seen
 *
 * What it registers: two commands, the data type "failtype1", a bool parameter "flag", a keyspace
 * subscription, a server event subscription, a command filter, a shared API, an info function, a
 * timer. */
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

static int on_key_event(RedisModuleCtx *ctx, int class, const char *event, RedisModuleString *key) {
    events++;
    return REDISMODULE_OK;
}

static void on_server_event(RedisModuleCtx *ctx, RedisModuleEvent event, uint64_t subevent,
                            void *data) {
    events++;
}

static void on_timer(RedisModuleCtx *ctx, void *data) { events++; }

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
    if (RedisModule_Init(ctx, "failing", 1, REDISMODULE_APIVER_1) == REDISMODULE_ERR)
        return REDISMODULE_ERR;
    COMMAND("failing.ping", ping, "readonly", 0, 0, 0);
    COMMAND("failing.events", count_events, "readonly", 0, 0, 0);

    RedisModuleTypeMethods methods = {.version = REDISMODULE_TYPE_METHOD_VERSION,
                                      .rdb_load = load_value,
                                      .rdb_save = save_value,
                                      .free = free_value};
    type = RedisModule_CreateDataType(ctx, "failtype1", 0, &methods);
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
    return REDISMODULE_ERR;
}
