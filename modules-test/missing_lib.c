/* A module that needs libbackplane_absent.so, which is not installed: dlopen must fail.
 * (A file that is no ELF file, and one for another machine, are made by the tests themselves.) */
#include "redismodule.h"

int backplane_absent(void);

int RedisModule_OnLoad(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    REDISMODULE_NOT_USED(argv);
    REDISMODULE_NOT_USED(argc);
    if (RedisModule_Init(ctx, "missinglib", backplane_absent(), REDISMODULE_APIVER_1) ==
        REDISMODULE_ERR)
        return REDISMODULE_ERR;
    return REDISMODULE_OK;
}
