/* The dictionary API. Keys and values come from arguments; values are kept as strings.
 *
 *   dict.set k v / dict.get k / dict.del k    "OK", the value, or null
 *   dict.replace k v           "OK" for a new key, "replaced" for an old one (ERR)
 *   dict.setc, dict.getc, dict.delc    the same through the C forms
 *   dict.size
 *   dict.range op key [n]      walks forward from DictIteratorStart(op, key): pairs; op is one of
 *                              ^ $ >= > <= < ==; at most n pairs
 *   dict.rev op key [n]        walks backwards
 *   dict.strings op key        walks forward with DictNext, which makes strings of the keys
 *   dict.compare op key        how many keys are "op key" by DictCompare, from the first one on
 *   dict.reseek key            starts at ^, reseeks to >= key, answers the first pair
 *   dict.clear                 frees it and makes a new one */
#include "testmodule.h"

static RedisModuleDict *dict;

static int set(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 3) return RedisModule_WrongArity(ctx);
    const char *name = text_of(argv[0]) + 5;
    size_t len;
    char *key = (char *)RedisModule_StringPtrLen(argv[1], &len);
    RedisModuleString *value = RedisModule_CreateStringFromString(NULL, argv[2]);
    int status;
    if (strcasecmp(name, "set") == 0) {
        status = RedisModule_DictSet(dict, argv[1], value);
    } else if (strcasecmp(name, "setc") == 0) {
        status = RedisModule_DictSetC(dict, key, len, value);
    } else {
        RedisModuleString *old = RedisModule_DictGet(dict, argv[1], NULL);
        int added = RedisModule_DictReplace(dict, argv[1], value) == REDISMODULE_OK;
        if (old != NULL) RedisModule_FreeString(NULL, old);
        return RedisModule_ReplyWithSimpleString(ctx, added ? "OK" : "replaced");
    }
    if (status == REDISMODULE_ERR) {
        RedisModule_FreeString(NULL, value);
        return RedisModule_ReplyWithNull(ctx);
    }
    return RedisModule_ReplyWithSimpleString(ctx, "OK");
}

static int get(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 2) return RedisModule_WrongArity(ctx);
    int missing = -1;
    size_t len;
    char *key = (char *)RedisModule_StringPtrLen(argv[1], &len);
    RedisModuleString *value = strcasecmp(text_of(argv[0]), "dict.get") == 0
                                   ? RedisModule_DictGet(dict, argv[1], &missing)
                                   : RedisModule_DictGetC(dict, key, len, &missing);
    if (missing != (value == NULL)) return RedisModule_ReplyWithError(ctx, "ERR nokey is wrong");
    if (value == NULL) return RedisModule_ReplyWithNull(ctx);
    return RedisModule_ReplyWithString(ctx, value);
}

static int del(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 2) return RedisModule_WrongArity(ctx);
    void *value = NULL;
    size_t len;
    char *key = (char *)RedisModule_StringPtrLen(argv[1], &len);
    int status = strcasecmp(text_of(argv[0]), "dict.del") == 0
                     ? RedisModule_DictDel(dict, argv[1], &value)
                     : RedisModule_DictDelC(dict, key, len, &value);
    if (status == REDISMODULE_ERR) return RedisModule_ReplyWithNull(ctx);
    return reply_and_free(ctx, value);
}

static int size(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    return RedisModule_ReplyWithLongLong(ctx, (long long)RedisModule_DictSize(dict));
}

static int range(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 3 && argc != 4) return RedisModule_WrongArity(ctx);
    int back = strcasecmp(text_of(argv[0]), "dict.rev") == 0;
    long long most = argc == 4 ? number_of(argv[3]) : -1, pairs = 0;
    RedisModuleDictIter *iter = RedisModule_DictIteratorStart(dict, text_of(argv[1]), argv[2]);
    RedisModule_ReplyWithArray(ctx, REDISMODULE_POSTPONED_LEN);
    size_t len;
    void *value, *key;
    while (pairs != most && (key = back ? RedisModule_DictPrevC(iter, &len, &value)
                                        : RedisModule_DictNextC(iter, &len, &value)) != NULL) {
        RedisModule_ReplyWithStringBuffer(ctx, key, len);
        RedisModule_ReplyWithString(ctx, value);
        pairs++;
    }
    RedisModule_ReplySetArrayLength(ctx, (long)pairs * 2);
    RedisModule_DictIteratorStop(iter);
    return REDISMODULE_OK;
}

static int strings(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 3) return RedisModule_WrongArity(ctx);
    RedisModuleDictIter *iter = RedisModule_DictIteratorStart(dict, text_of(argv[1]), argv[2]);
    RedisModule_ReplyWithArray(ctx, REDISMODULE_POSTPONED_LEN);
    RedisModuleString *key;
    long count = 0;
    while ((key = RedisModule_DictNext(ctx, iter, NULL)) != NULL) {
        reply_and_free(ctx, key);
        count++;
    }
    RedisModule_ReplySetArrayLength(ctx, count);
    RedisModule_DictIteratorStop(iter);
    return REDISMODULE_OK;
}

static int compare(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 3) return RedisModule_WrongArity(ctx);
    RedisModuleDictIter *iter = RedisModule_DictIteratorStartC(dict, "^", NULL, 0);
    long long count = 0;
    while (RedisModule_DictNextC(iter, NULL, NULL) != NULL)
        if (RedisModule_DictCompare(iter, text_of(argv[1]), argv[2]) == REDISMODULE_OK) count++;
    RedisModule_DictIteratorStop(iter);
    return RedisModule_ReplyWithLongLong(ctx, count);
}

static int reseek(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 2) return RedisModule_WrongArity(ctx);
    RedisModuleDictIter *iter = RedisModule_DictIteratorStartC(dict, "^", NULL, 0);
    RedisModule_DictNextC(iter, NULL, NULL);
    RedisModule_DictIteratorReseek(iter, ">=", argv[1]);
    size_t len;
    void *value, *key = RedisModule_DictNextC(iter, &len, &value);
    if (key == NULL) {
        RedisModule_ReplyWithNull(ctx);
    } else {
        RedisModule_ReplyWithArray(ctx, 2);
        RedisModule_ReplyWithStringBuffer(ctx, key, len);
        RedisModule_ReplyWithString(ctx, value);
    }
    RedisModule_DictIteratorStop(iter);
    return REDISMODULE_OK;
}

static void free_all(void) {
    RedisModuleDictIter *iter = RedisModule_DictIteratorStartC(dict, "^", NULL, 0);
    void *value;
    while (RedisModule_DictNextC(iter, NULL, &value) != NULL) RedisModule_FreeString(NULL, value);
    RedisModule_DictIteratorStop(iter);
    RedisModule_FreeDict(NULL, dict);
}

static int clear(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    free_all();
    dict = RedisModule_CreateDict(NULL);
    return RedisModule_ReplyWithSimpleString(ctx, "OK");
}

int RedisModule_OnLoad(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (RedisModule_Init(ctx, "dictapi", 1, REDISMODULE_APIVER_1) == REDISMODULE_ERR)
        return REDISMODULE_ERR;
    dict = RedisModule_CreateDict(NULL);
    COMMAND("dict.set", set, "readonly", 0, 0, 0);
    COMMAND("dict.setc", set, "readonly", 0, 0, 0);
    COMMAND("dict.replace", set, "readonly", 0, 0, 0);
    COMMAND("dict.get", get, "readonly", 0, 0, 0);
    COMMAND("dict.getc", get, "readonly", 0, 0, 0);
    COMMAND("dict.del", del, "readonly", 0, 0, 0);
    COMMAND("dict.delc", del, "readonly", 0, 0, 0);
    COMMAND("dict.size", size, "readonly", 0, 0, 0);
    COMMAND("dict.range", range, "readonly", 0, 0, 0);
    COMMAND("dict.rev", range, "readonly", 0, 0, 0);
    COMMAND("dict.strings", strings, "readonly", 0, 0, 0);
    COMMAND("dict.compare", compare, "readonly", 0, 0, 0);
    COMMAND("dict.reseek", reseek, "readonly", 0, 0, 0);
    COMMAND("dict.clear", clear, "readonly", 0, 0, 0);
    return REDISMODULE_OK;
}

int RedisModule_OnUnload(RedisModuleCtx *ctx) {
    free_all();
    return REDISMODULE_OK;
}
