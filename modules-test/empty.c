/* The cheapest command there is, to measure what the border itself costs.
 *   empty               answers OK
 *   empty.key key       answers OK; declares its first argument as a key and does not open it
 *   empty.open key      opens the key for reading, closes it, answers OK */
#include "testmodule.h"

static int empty(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    return RedisModule_ReplyWithSimpleString(ctx, "OK");
}

static int open_and_close(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 2) return RedisModule_WrongArity(ctx);
    RedisModule_CloseKey(RedisModule_OpenKey(ctx, argv[1], REDISMODULE_READ));
    return RedisModule_ReplyWithSimpleString(ctx, "OK");
}

int RedisModule_OnLoad(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (RedisModule_Init(ctx, "empty", 1, REDISMODULE_APIVER_1) == REDISMODULE_ERR)
        return REDISMODULE_ERR;
    COMMAND("empty", empty, "readonly fast", 0, 0, 0);
    COMMAND("empty.key", empty, "readonly fast", 1, 1, 1);
    COMMAND("empty.open", open_and_close, "readonly fast", 1, 1, 1);
    return REDISMODULE_OK;
}
