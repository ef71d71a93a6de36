/* Functions that came after Redis 7.4. Where one is missing, as on 7.4 itself, its command answers null.
 *
 *   later.slot TEXT            ClusterKeySlotC
 *   later.soonest KEY          HashFieldMinExpire
 *   later.seen                 how many keyspace events of hashes were seen
 *   later.deaf                 1 if UnsubscribeFromKeyspaceEvents ended the subscription, 0 if there was none
 *   later.defaults             what LoadDefaultConfigs handed to the setter, before LoadConfigs */
#include "testmodule.h"

static long long seen, number = 0, at_defaults = 0;

static int on_event(RedisModuleCtx *ctx, int type, const char *event, RedisModuleString *key) {
    seen++;
    return REDISMODULE_OK;
}

static int slot(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 2) return RedisModule_WrongArity(ctx);
    if (RedisModule_ClusterKeySlotC == NULL) return RedisModule_ReplyWithNull(ctx);
    size_t len;
    const char *text = RedisModule_StringPtrLen(argv[1], &len);
    return RedisModule_ReplyWithLongLong(ctx, RedisModule_ClusterKeySlotC(text, len));
}

static int soonest(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 2) return RedisModule_WrongArity(ctx);
    if (RedisModule_HashFieldMinExpire == NULL) return RedisModule_ReplyWithNull(ctx);
    RedisModuleKey *key = RedisModule_OpenKey(ctx, argv[1], REDISMODULE_READ);
    RedisModule_ReplyWithLongLong(ctx, RedisModule_HashFieldMinExpire(key));
    RedisModule_CloseKey(key);
    return REDISMODULE_OK;
}

static int count(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    return RedisModule_ReplyWithLongLong(ctx, seen);
}

static int deaf(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (RedisModule_UnsubscribeFromKeyspaceEvents == NULL) return RedisModule_ReplyWithNull(ctx);
    /* Another mask, or another callback, is another subscription. */
    int wrong = RedisModule_UnsubscribeFromKeyspaceEvents(ctx, REDISMODULE_NOTIFY_LIST, on_event);
    if (wrong == REDISMODULE_OK) return RedisModule_ReplyWithError(ctx, "ERR of another mask");
    int status = RedisModule_UnsubscribeFromKeyspaceEvents(ctx, REDISMODULE_NOTIFY_HASH, on_event);
    return RedisModule_ReplyWithLongLong(ctx, status == REDISMODULE_OK);
}

static int defaults(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (RedisModule_LoadDefaultConfigs == NULL) return RedisModule_ReplyWithNull(ctx);
    return RedisModule_ReplyWithLongLong(ctx, at_defaults);
}

static long long get_number(const char *name, void *data) {
    return number;
}

static int set_number(const char *name, long long value, void *data, RedisModuleString **err) {
    number = value;
    return REDISMODULE_OK;
}

int RedisModule_OnLoad(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (RedisModule_Init(ctx, "later", 1, REDISMODULE_APIVER_1) == REDISMODULE_ERR)
        return REDISMODULE_ERR;
    if (RedisModule_CreateCommand(ctx, "later.slot", slot, "", 0, 0, 0) == REDISMODULE_ERR ||
        RedisModule_CreateCommand(ctx, "later.soonest", soonest, "readonly", 1, 1, 1) ==
            REDISMODULE_ERR ||
        RedisModule_CreateCommand(ctx, "later.seen", count, "", 0, 0, 0) == REDISMODULE_ERR ||
        RedisModule_CreateCommand(ctx, "later.deaf", deaf, "", 0, 0, 0) == REDISMODULE_ERR ||
        RedisModule_CreateCommand(ctx, "later.defaults", defaults, "", 0, 0, 0) ==
            REDISMODULE_ERR ||
        RedisModule_RegisterNumericConfig(ctx, "number", 42, REDISMODULE_CONFIG_DEFAULT, 0, 100,
                                          get_number, set_number, NULL, NULL) == REDISMODULE_ERR ||
        RedisModule_SubscribeToKeyspaceEvents(ctx, REDISMODULE_NOTIFY_HASH, on_event) ==
            REDISMODULE_ERR)
        return REDISMODULE_ERR;
    if (RedisModule_LoadDefaultConfigs != NULL) {
        if (RedisModule_LoadDefaultConfigs(ctx) == REDISMODULE_ERR) return REDISMODULE_ERR;
        at_defaults = number;
    }
    return RedisModule_LoadConfigs(ctx);
}
