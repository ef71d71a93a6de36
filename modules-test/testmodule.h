/* What all test modules share. */
#ifndef TESTMODULE_H
#define TESTMODULE_H

#include <errno.h>
#include <string.h>
#include <strings.h>

#include "redismodule.h"

/* Registers a command or gives up loading. */
#define COMMAND(name, function, flags, first, last, step)                                       \
    do {                                                                                        \
        if (RedisModule_CreateCommand(ctx, name, function, flags, first, last, step) ==         \
            REDISMODULE_ERR)                                                                    \
            return REDISMODULE_ERR;                                                             \
    } while (0)

/* Answers "OK", or an error with the current errno's number. */
static inline int reply_status(RedisModuleCtx *ctx, int status) {
    if (status == REDISMODULE_OK) return RedisModule_ReplyWithSimpleString(ctx, "OK");
    return RedisModule_ReplyWithErrorFormat(ctx, "ERR status %d errno %d", status, errno);
}

/* The text of a string; it may hold NULs, but ends in one. */
static inline const char *text_of(const RedisModuleString *str) {
    return RedisModule_StringPtrLen(str, NULL);
}

/* A whole number from an argument, 0 if it is none. */
static inline long long number_of(const RedisModuleString *str) {
    long long value = 0;
    RedisModule_StringToLongLong(str, &value);
    return value;
}

/* Answers a string and frees it, or null. */
static inline int reply_and_free(RedisModuleCtx *ctx, RedisModuleString *str) {
    if (str == NULL) return RedisModule_ReplyWithNull(ctx);
    int status = RedisModule_ReplyWithString(ctx, str);
    RedisModule_FreeString(ctx, str);
    return status;
}

#endif /* TESTMODULE_H */
