/* Exports a shared API for shared_import.c: a function that adds and a pointer to a counter.
 *   shexp.counter       the counter
 *   shexp.again         exporting a name twice: "refused" or "accepted" */
#include "testmodule.h"

static long long counter;

static long long add(long long a, long long b) {
    counter++;
    return a + b;
}

static int show_counter(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    return RedisModule_ReplyWithLongLong(ctx, counter);
}

static int export_again(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    int status = RedisModule_ExportSharedAPI(ctx, "shexp_add", &counter);
    return RedisModule_ReplyWithSimpleString(ctx,
                                             status == REDISMODULE_OK ? "accepted" : "refused");
}

int RedisModule_OnLoad(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (RedisModule_Init(ctx, "shexp", 1, REDISMODULE_APIVER_1) == REDISMODULE_ERR ||
        RedisModule_ExportSharedAPI(ctx, "shexp_add", (void *)(uintptr_t)add) == REDISMODULE_ERR ||
        RedisModule_ExportSharedAPI(ctx, "shexp_counter", &counter) == REDISMODULE_ERR)
        return REDISMODULE_ERR;
    COMMAND("shexp.counter", show_counter, "readonly", 0, 0, 0);
    COMMAND("shexp.again", export_again, "readonly", 0, 0, 0);
    return REDISMODULE_OK;
}
