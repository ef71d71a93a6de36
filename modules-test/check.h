/* Assertions inside of a command: the first one that does not hold is the command's reply, with its line and text. */
#ifndef CHECK_H
#define CHECK_H

#include "testmodule.h"

#define CHECK(what)                                                                             \
    do {                                                                                        \
        if (!(what))                                                                            \
            return RedisModule_ReplyWithErrorFormat(ctx, "ERR line %d: %s", __LINE__, #what);   \
    } while (0)

/* A string that automatic memory management frees. */
#define STR(text) RedisModule_CreateString(ctx, text, strlen(text))

/* "OK" for a command all of whose checks held. */
#define ALL_WELL() return RedisModule_ReplyWithSimpleString(ctx, "OK")

static inline int same(const RedisModuleString *str, const char *text) {
    size_t len;
    const char *at = RedisModule_StringPtrLen(str, &len);
    return len == strlen(text) && memcmp(at, text, len) == 0;
}

#endif /* CHECK_H */
