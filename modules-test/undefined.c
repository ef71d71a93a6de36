/* A module that calls a function which nobody defines: dlopen must fail. What the server's own libraries define, as
 * `sqrt`, need not be asked for. */
#include "redismodule.h"
#include <math.h>

int backplane_nobody_defines_this(void);

int RedisModule_OnLoad(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    REDISMODULE_NOT_USED(argv);
    int version = backplane_nobody_defines_this() + (int)sqrt(argc);
    return RedisModule_Init(ctx, "undefined", version, REDISMODULE_APIVER_1);
}
