/* A data type whose methods look at their contexts: name and database of the key in IO and defragmentation.
 *
 *   type.make key n            a value of n blocks, each holding its own number
 *   type.sum key               the sum of these numbers; an error if a block lost its own
 *   type.roundtrip key         SaveDataTypeToString and LoadDataTypeFromString
 *   type.seen                  what the methods saw: "save NAME DB", "load NAME DB" of the last key, or "-"
 *   type.defrag                runs of the methods for values, runs in steps, runs for own memory, blocks moved,
 *                              and complaints; own memory is a list of strings */
#include "check.h"

typedef struct {
    long count;
    long **blocks;
} Value;

static RedisModuleType *type;
static RedisModuleString *own[64];
static char saved[64] = "-", loaded[64] = "-";
static long long value_runs, step_runs, own_runs, moved, complaints;

static Value *make(long count) {
    Value *v = RedisModule_Alloc(sizeof(*v));
    v->count = count;
    v->blocks = RedisModule_Alloc(sizeof(long *) * (size_t)(count + 1));
    for (long i = 0; i < count; i++) {
        v->blocks[i] = RedisModule_Alloc(48);
        *v->blocks[i] = i;
    }
    return v;
}

static void type_free(void *pointer) {
    Value *v = pointer;
    for (long i = 0; i < v->count; i++) RedisModule_Free(v->blocks[i]);
    RedisModule_Free(v->blocks);
    RedisModule_Free(v);
}

static void note(char *to, size_t size, RedisModuleIO *io) {
    const RedisModuleString *key = RedisModule_GetKeyNameFromIO(io);
    int db = RedisModule_GetDbIdFromIO(io);
    RedisModuleCtx *ctx = RedisModule_GetContextFromIO(io);
    RedisModuleString *text =
        RedisModule_CreateStringPrintf(ctx, "%s %d", key ? text_of(key) : "(null)", db);
    strncpy(to, text_of(text), size - 1);
    RedisModule_FreeString(ctx, text);
}

static void type_save(RedisModuleIO *io, void *pointer) {
    Value *v = pointer;
    note(saved, sizeof(saved), io);
    RedisModule_SaveUnsigned(io, (uint64_t)v->count);
}

static void *type_load(RedisModuleIO *io, int version) {
    note(loaded, sizeof(loaded), io);
    return make((long)RedisModule_LoadUnsigned(io));
}

static size_t type_effort(RedisModuleString *key, const void *pointer) {
    return (size_t)((const Value *)pointer)->count;
}

static int type_defrag(RedisModuleDefragCtx *ctx, RedisModuleString *key, void **pointer) {
    unsigned long at = 0;
    const RedisModuleString *name = RedisModule_GetKeyNameFromDefragCtx(ctx);
    if (RedisModule_GetDbIdFromDefragCtx(ctx) < 0) complaints++;
    int steps = RedisModule_DefragCursorGet(ctx, &at) == REDISMODULE_OK;
    if (steps) {
        step_runs++;
        /* On Redis 7.4.1 both are no strings: looking at them ends the server. */
        if (name == NULL || RedisModule_StringCompare((RedisModuleString *)name, key) != 0) complaints++;
    } else {
        value_runs++;
        if (RedisModule_DefragCursorSet(ctx, 1) == REDISMODULE_OK) complaints++;
    }
    Value *v = *pointer;
    if (at == 0) {
        Value *better = RedisModule_DefragAlloc(ctx, v);
        if (better) *pointer = v = better, moved++;
        long **blocks = RedisModule_DefragAlloc(ctx, v->blocks);
        if (blocks) v->blocks = blocks, moved++;
    }
    for (long i = (long)at; i < v->count; i++) {
        long *block = RedisModule_DefragAlloc(ctx, v->blocks[i]);
        if (block) v->blocks[i] = block, moved++;
        if (steps && i % 500 == 499 && i + 1 < v->count) {
            RedisModule_DefragCursorSet(ctx, (unsigned long)i + 1);
            return 1;
        }
    }
    return 0;
}

static void own_defrag(RedisModuleDefragCtx *ctx) {
    own_runs++;
    if (RedisModule_GetDbIdFromDefragCtx(ctx) != -1) complaints++;
    if (RedisModule_GetKeyNameFromDefragCtx(ctx) != NULL) complaints++;
    for (int i = 0; i < 64; i++) {
        RedisModuleString *better = RedisModule_DefragRedisModuleString(ctx, own[i]);
        if (better) own[i] = better, moved++;
        if (number_of(own[i]) != i) complaints++;
        if (RedisModule_DefragShouldStop(ctx)) return;
    }
}

static Value *value_of(RedisModuleCtx *ctx, RedisModuleString *name) {
    RedisModuleKey *key = RedisModule_OpenKey(ctx, name, REDISMODULE_READ);
    Value *v = RedisModule_ModuleTypeGetType(key) == type ? RedisModule_ModuleTypeGetValue(key) : NULL;
    RedisModule_CloseKey(key);
    return v;
}

static int make_command(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 3) return RedisModule_WrongArity(ctx);
    RedisModuleKey *key = RedisModule_OpenKey(ctx, argv[1], REDISMODULE_WRITE);
    long long count = number_of(argv[2]);
    if (count < 0 || count > 100000) count = 0;
    RedisModule_ModuleTypeSetValue(key, type, make((long)count));
    RedisModule_CloseKey(key);
    ALL_WELL();
}

static int sum_command(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 2) return RedisModule_WrongArity(ctx);
    Value *v = value_of(ctx, argv[1]);
    CHECK(v != NULL);
    long long sum = 0;
    for (long i = 0; i < v->count; i++) {
        CHECK(*v->blocks[i] == i);
        sum += i;
    }
    return RedisModule_ReplyWithLongLong(ctx, sum);
}

static int roundtrip(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 2) return RedisModule_WrongArity(ctx);
    RedisModule_AutoMemory(ctx);
    Value *v = value_of(ctx, argv[1]);
    CHECK(v != NULL);
    RedisModuleString *bytes = RedisModule_SaveDataTypeToString(ctx, v, type);
    CHECK(bytes != NULL && strcmp(saved, "(null) -1") == 0);
    Value *copy = RedisModule_LoadDataTypeFromString(bytes, type);
    CHECK(copy != NULL && copy->count == v->count && strcmp(loaded, "(null) -1") == 0);
    type_free(copy);
    ALL_WELL();
}

static int seen(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    RedisModule_ReplyWithArray(ctx, 2);
    RedisModule_ReplyWithCString(ctx, saved);
    return RedisModule_ReplyWithCString(ctx, loaded);
}

static int defrag(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    RedisModule_ReplyWithArray(ctx, 5);
    RedisModule_ReplyWithLongLong(ctx, value_runs);
    RedisModule_ReplyWithLongLong(ctx, step_runs);
    RedisModule_ReplyWithLongLong(ctx, own_runs);
    RedisModule_ReplyWithLongLong(ctx, moved);
    return RedisModule_ReplyWithLongLong(ctx, complaints);
}

int RedisModule_OnLoad(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (RedisModule_Init(ctx, "typeapi", 1, REDISMODULE_APIVER_1) == REDISMODULE_ERR)
        return REDISMODULE_ERR;
    RedisModuleTypeMethods methods = {
        .version = REDISMODULE_TYPE_METHOD_VERSION,
        .rdb_load = type_load,
        .rdb_save = type_save,
        .free = type_free,
        .free_effort = type_effort,
        .defrag = type_defrag,
    };
    type = RedisModule_CreateDataType(ctx, "typeapi-x", 0, &methods);
    if (type == NULL) return REDISMODULE_ERR;
    for (int i = 0; i < 64; i++) own[i] = RedisModule_CreateStringFromLongLong(NULL, i);
    if (RedisModule_RegisterDefragFunc(ctx, own_defrag) == REDISMODULE_ERR) return REDISMODULE_ERR;
    COMMAND("type.make", make_command, "write", 1, 1, 1);
    COMMAND("type.sum", sum_command, "readonly", 1, 1, 1);
    COMMAND("type.roundtrip", roundtrip, "readonly", 1, 1, 1);
    COMMAND("type.seen", seen, "", 0, 0, 0);
    COMMAND("type.defrag", defrag, "", 0, 0, 0);
    return REDISMODULE_OK;
}
