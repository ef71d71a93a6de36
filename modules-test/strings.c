/* The functions of RedisModuleString.
 *
 *   str.make KIND value        a string made from: buffer, string, longlong, ulonglong, double,
 *                              longdouble (short form), longdoublehuman, printf, streamid
 *   str.to KIND value          reads value as: longlong, ulonglong, double, longdouble, streamid;
 *                              answers it as a string, or an error
 *   str.append s t             s and t in one, through StringAppendBuffer
 *   str.compare s t            -1, 0, 1
 *   str.len s                  length by StringPtrLen
 *   str.nul                    a string with a NUL byte inside: [length, strlen, byte behind it]
 *   str.retain s               keeps s until the next call and answers what it kept before, or null
 *   str.hold s                 the same through HoldString
 *   str.null                   what StringPtrLen says of a NULL string
 *   str.trim s                 TrimStringAllocation, then s
 *   str.size s                 whether MallocSizeString is at least its length
 *   str.auto n                 makes n strings under AutoMemory, freeing every second itself */
#include "testmodule.h"

static RedisModuleString *kept;

static int make(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 3) return RedisModule_WrongArity(ctx);
    const char *kind = text_of(argv[1]);
    RedisModuleString *str = NULL;
    size_t len;
    const char *text = RedisModule_StringPtrLen(argv[2], &len);
    double d = 0;
    long double ld = 0;
    unsigned long long u = 0;
    RedisModuleStreamID id = {0, 0};
    RedisModule_StringToDouble(argv[2], &d);
    RedisModule_StringToLongDouble(argv[2], &ld);
    RedisModule_StringToULongLong(argv[2], &u);
    RedisModule_StringToStreamID(argv[2], &id);
    if (strcmp(kind, "buffer") == 0) str = RedisModule_CreateString(ctx, text, len);
    if (strcmp(kind, "string") == 0) str = RedisModule_CreateStringFromString(ctx, argv[2]);
    if (strcmp(kind, "longlong") == 0)
        str = RedisModule_CreateStringFromLongLong(ctx, number_of(argv[2]));
    if (strcmp(kind, "ulonglong") == 0) str = RedisModule_CreateStringFromULongLong(ctx, u);
    if (strcmp(kind, "double") == 0) str = RedisModule_CreateStringFromDouble(ctx, d);
    if (strcmp(kind, "longdouble") == 0) str = RedisModule_CreateStringFromLongDouble(ctx, ld, 0);
    if (strcmp(kind, "longdoublehuman") == 0)
        str = RedisModule_CreateStringFromLongDouble(ctx, ld, 1);
    if (strcmp(kind, "printf") == 0)
        str = RedisModule_CreateStringPrintf(ctx, "<%s> %5d %.3f %c %zu %lld", text, 42, 2.5, 'x',
                                             len, -7LL);
    if (strcmp(kind, "streamid") == 0) str = RedisModule_CreateStringFromStreamID(ctx, &id);
    if (str == NULL) return RedisModule_ReplyWithError(ctx, "ERR unknown kind of string");
    return reply_and_free(ctx, str);
}

static int read_as(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 3) return RedisModule_WrongArity(ctx);
    const char *kind = text_of(argv[1]);
    long long l;
    unsigned long long u;
    double d;
    long double ld;
    RedisModuleStreamID id;
    RedisModuleString *str = NULL;
    if (strcmp(kind, "longlong") == 0 && RedisModule_StringToLongLong(argv[2], &l) == 0)
        str = RedisModule_CreateStringPrintf(ctx, "%lld", l);
    if (strcmp(kind, "ulonglong") == 0 && RedisModule_StringToULongLong(argv[2], &u) == 0)
        str = RedisModule_CreateStringPrintf(ctx, "%llu", u);
    if (strcmp(kind, "double") == 0 && RedisModule_StringToDouble(argv[2], &d) == 0)
        str = RedisModule_CreateStringPrintf(ctx, "%.17g", d);
    if (strcmp(kind, "longdouble") == 0 && RedisModule_StringToLongDouble(argv[2], &ld) == 0)
        str = RedisModule_CreateStringPrintf(ctx, "%.17Lg", ld);
    if (strcmp(kind, "streamid") == 0 && RedisModule_StringToStreamID(argv[2], &id) == 0)
        str = RedisModule_CreateStringPrintf(ctx, "%llu-%llu", (unsigned long long)id.ms,
                                             (unsigned long long)id.seq);
    if (str == NULL) return RedisModule_ReplyWithError(ctx, "ERR not readable as that");
    return reply_and_free(ctx, str);
}

static int append(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 3) return RedisModule_WrongArity(ctx);
    size_t len;
    const char *text = RedisModule_StringPtrLen(argv[2], &len);
    RedisModuleString *str = RedisModule_CreateStringFromString(ctx, argv[1]);
    if (RedisModule_StringAppendBuffer(ctx, str, text, len) == REDISMODULE_ERR) {
        RedisModule_FreeString(ctx, str);
        return RedisModule_ReplyWithError(ctx, "ERR not appended");
    }
    return reply_and_free(ctx, str);
}

static int compare(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 3) return RedisModule_WrongArity(ctx);
    int order = RedisModule_StringCompare(argv[1], argv[2]);
    return RedisModule_ReplyWithLongLong(ctx, (order > 0) - (order < 0));
}

static int length(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 2) return RedisModule_WrongArity(ctx);
    size_t len;
    RedisModule_StringPtrLen(argv[1], &len);
    return RedisModule_ReplyWithLongLong(ctx, (long long)len);
}

static int with_nul(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    RedisModuleString *str = RedisModule_CreateString(ctx, "ab\0cd", 5);
    size_t len;
    const char *text = RedisModule_StringPtrLen(str, &len);
    RedisModule_ReplyWithArray(ctx, 3);
    RedisModule_ReplyWithLongLong(ctx, (long long)len);
    RedisModule_ReplyWithLongLong(ctx, (long long)strlen(text));
    RedisModule_ReplyWithLongLong(ctx, text[len]);
    RedisModule_FreeString(ctx, str);
    return REDISMODULE_OK;
}

static int keep(RedisModuleCtx *ctx, RedisModuleString *str) {
    RedisModuleString *before = kept;
    kept = str;
    return reply_and_free(ctx, before);
}

static int retain(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 2) return RedisModule_WrongArity(ctx);
    RedisModule_RetainString(ctx, argv[1]);
    return keep(ctx, argv[1]);
}

static int hold(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 2) return RedisModule_WrongArity(ctx);
    return keep(ctx, RedisModule_HoldString(ctx, argv[1]));
}

static int of_null(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    size_t len;
    const char *text = RedisModule_StringPtrLen(NULL, &len);
    return RedisModule_ReplyWithStringBuffer(ctx, text, len);
}

static int trim(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 2) return RedisModule_WrongArity(ctx);
    RedisModule_TrimStringAllocation(argv[1]);
    return RedisModule_ReplyWithString(ctx, argv[1]);
}

static int size(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 2) return RedisModule_WrongArity(ctx);
    size_t len;
    RedisModule_StringPtrLen(argv[1], &len);
    return RedisModule_ReplyWithLongLong(ctx, RedisModule_MallocSizeString(argv[1]) >= len);
}

static int automatic(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 2) return RedisModule_WrongArity(ctx);
    RedisModule_AutoMemory(ctx);
    long long total = 0;
    for (long long i = 0; i < number_of(argv[1]); i++) {
        RedisModuleString *str = RedisModule_CreateStringPrintf(ctx, "number %lld", i);
        size_t len;
        RedisModule_StringPtrLen(str, &len);
        total += (long long)len;
        if (i % 2) RedisModule_FreeString(ctx, str);
    }
    return RedisModule_ReplyWithLongLong(ctx, total);
}

int RedisModule_OnLoad(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (RedisModule_Init(ctx, "strings", 1, REDISMODULE_APIVER_1) == REDISMODULE_ERR)
        return REDISMODULE_ERR;
    COMMAND("str.make", make, "readonly", 0, 0, 0);
    COMMAND("str.to", read_as, "readonly", 0, 0, 0);
    COMMAND("str.append", append, "readonly", 0, 0, 0);
    COMMAND("str.compare", compare, "readonly", 0, 0, 0);
    COMMAND("str.len", length, "readonly", 0, 0, 0);
    COMMAND("str.nul", with_nul, "readonly", 0, 0, 0);
    COMMAND("str.retain", retain, "readonly", 0, 0, 0);
    COMMAND("str.hold", hold, "readonly", 0, 0, 0);
    COMMAND("str.null", of_null, "readonly", 0, 0, 0);
    COMMAND("str.trim", trim, "readonly", 0, 0, 0);
    COMMAND("str.size", size, "readonly", 0, 0, 0);
    COMMAND("str.auto", automatic, "readonly", 0, 0, 0);
    return REDISMODULE_OK;
}
