/* Uses the shared API of shared_export.c, which may be loaded before or after it.
 *   shimp.add a b       the sum by the other module's function; an error while it is not loaded
 *   shimp.counter       the other module's counter, read through its pointer
 *   shimp.missing       GetSharedAPI of an unknown name: null
 *   shimp.seen          names of the modules whose loading (+) and unloading (-) it was told of */
#include "testmodule.h"

static long long (*shared_add)(long long, long long);
static long long *shared_counter;
static char seen[256];

static int import(RedisModuleCtx *ctx) {
    if (shared_add == NULL) {
        void *address = RedisModule_GetSharedAPI(ctx, "shexp_add");
        shared_add = (long long (*)(long long, long long))(uintptr_t)address;
        shared_counter = RedisModule_GetSharedAPI(ctx, "shexp_counter");
    }
    return shared_add != NULL && shared_counter != NULL;
}

static int add(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 3) return RedisModule_WrongArity(ctx);
    if (!import(ctx)) return RedisModule_ReplyWithError(ctx, "ERR the API is missing");
    return RedisModule_ReplyWithLongLong(ctx, shared_add(number_of(argv[1]), number_of(argv[2])));
}

static int counter(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (!import(ctx)) return RedisModule_ReplyWithError(ctx, "ERR the API is missing");
    return RedisModule_ReplyWithLongLong(ctx, *shared_counter);
}

static int missing(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (RedisModule_GetSharedAPI(ctx, "nobody_has_this") == NULL)
        return RedisModule_ReplyWithNull(ctx);
    return RedisModule_ReplyWithError(ctx, "ERR found");
}

static int show_seen(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    return RedisModule_ReplyWithCString(ctx, seen);
}

static void on_module(RedisModuleCtx *ctx, RedisModuleEvent event, uint64_t subevent, void *data) {
    RedisModuleModuleChange *change = data;
    size_t len = strlen(seen);
    snprintf(seen + len, sizeof(seen) - len, "%c%s",
             subevent == REDISMODULE_SUBEVENT_MODULE_LOADED ? '+' : '-', change->module_name);
}

int RedisModule_OnLoad(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (RedisModule_Init(ctx, "shimp", 1, REDISMODULE_APIVER_1) == REDISMODULE_ERR)
        return REDISMODULE_ERR;
    COMMAND("shimp.add", add, "readonly", 0, 0, 0);
    COMMAND("shimp.counter", counter, "readonly", 0, 0, 0);
    COMMAND("shimp.missing", missing, "readonly", 0, 0, 0);
    COMMAND("shimp.seen", show_seen, "readonly", 0, 0, 0);
    return RedisModule_SubscribeToServerEvent(ctx, RedisModuleEvent_ModuleChange, on_module);
}
