/* Functions of Redis 8 about configuration, users, slots and defragmentation. Where they are missing, the module loads
 * and newer.served answers 0.
 *
 *   newer.served               1 if all functions are there
 *   newer.valkey               1 if ACLCheckKeyPrefixPermissions is there under Valkey's prefix, where it means another
 *   newer.type NAME            ConfigGetType
 *   newer.get NAME             what ConfigGet, ...Bool, ...Enum and ...Numeric find, null where they fail
 *   newer.set WHAT NAME VALUE  ConfigSet and, for "bool", "enum" and "numeric", its kin: "OK", or the error
 *   newer.names [PATTERN]      the names that an iterator finds
 *   newer.left                 leaves an iterator, slot ranges and strings to automatic memory
 *   newer.debug                whether the context may debug (DEBUG_ENABLED); then whether one without a client may
 *   newer.fields KEY FIELD...  HashGet with EXPIRE_TIME
 *   newer.expired KEY          with ACCESS_EXPIRED: whether OpenKey finds the key without that, then fields and values as
 *                              ScanKey and HashGet find them; null without a key
 *   newer.inner                an internal command with any arguments: their number
 *   newer.call FORMAT CMD ARG...   Call with these letters and "v"
 *   newer.prefix RULES PREFIX FLAGS   ACLCheckKeyPrefixPermissions for a user with these rules: "OK", or errno
 *   newer.users                GetContextUser and GetUserUsername: "OK"
 *   newer.slots                ClusterGetLocalSlotRanges as pairs
 *   newer.access SLOT          ClusterCanAccessKeysInSlot
 *   newer.trim                 ClusterDisableTrim and ClusterEnableTrim: "OK"
 *   newer.fill N               a dictionary of N blocks of memory, and a block that two places point to
 *   newer.thin                 frees every other one
 *   newer.check                the number of blocks; an error if one lost its content
 *   newer.defrag               rounds begun, rounds ended, steps, blocks moved by hand, moved by DefragAlloc, complaints
 *
 * Parameters: newer.number (-10 to 10; 7 is not applied), newer.bytes (memory, from -1 on), newer.flag, newer.mode (bits:
 * none, read, write), newer.text ("outer" sets newer.flag and maxmemory-samples from inside of its own setter), newer.fixed;
 * without a prefix: bare-number with the second name other.number, and bare-flag. The defaults are set first; then the
 * module itself sets bare-number to what its argument says. */
#include "check.h"

#include <stdlib.h>

static RedisModuleCtx *own;
static RedisModuleString *text;
static long long number, bytes, fixed, bare;
static int flag, mode, bare_flag, applied;

/* ---- parameters ---- */

static long long get_number(const char *name, void *data) { return *(long long *)data; }

static int set_number(const char *name, long long value, void *data, RedisModuleString **err) {
    *(long long *)data = value;
    return REDISMODULE_OK;
}

static int apply_number(RedisModuleCtx *ctx, void *data, RedisModuleString **err) {
    if (number != 7) {
        applied++;
        return REDISMODULE_OK;
    }
    *err = RedisModule_CreateString(NULL, "7 is not applied", 16);
    return REDISMODULE_ERR;
}

static int get_int(const char *name, void *data) { return *(int *)data; }

static int set_int(const char *name, int value, void *data, RedisModuleString **err) {
    *(int *)data = value;
    return REDISMODULE_OK;
}

/* Always called by the first name. */
static long long get_bare(const char *name, void *data) {
    return strcmp(name, "bare-number") == 0 ? bare : -1;
}

static int set_bare(const char *name, long long value, void *data, RedisModuleString **err) {
    if (strcmp(name, "bare-number") != 0) return REDISMODULE_ERR;
    bare = value;
    return REDISMODULE_OK;
}

static RedisModuleString *get_text(const char *name, void *data) { return text; }

static int set_text(const char *name, RedisModuleString *value, void *data, RedisModuleString **err) {
    if (same(value, "silent")) return REDISMODULE_ERR;
    if (same(value, "outer")) {
        RedisModuleString *inner = NULL;
        if (RedisModule_ConfigSetBool(own, "newer.flag", 1, &inner) == REDISMODULE_ERR ||
            RedisModule_ConfigSetNumeric(own, "maxmemory-samples", 9, &inner) == REDISMODULE_ERR) {
            *err = inner;
            return REDISMODULE_ERR;
        }
    }
    if (text != NULL) RedisModule_FreeString(NULL, text);
    text = RedisModule_CreateStringFromString(NULL, value);
    return REDISMODULE_OK;
}

/* ---- configuration ---- */

static int type_of(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 2) return RedisModule_WrongArity(ctx);
    RedisModuleConfigType type;
    if (RedisModule_ConfigGetType(text_of(argv[1]), &type) == REDISMODULE_ERR)
        return RedisModule_ReplyWithNull(ctx);
    switch (type) {
    case REDISMODULE_CONFIG_TYPE_STRING: return RedisModule_ReplyWithCString(ctx, "string");
    case REDISMODULE_CONFIG_TYPE_ENUM: return RedisModule_ReplyWithCString(ctx, "enum");
    case REDISMODULE_CONFIG_TYPE_NUMERIC: return RedisModule_ReplyWithCString(ctx, "numeric");
    case REDISMODULE_CONFIG_TYPE_BOOL: return RedisModule_ReplyWithCString(ctx, "bool");
    }
    return RedisModule_ReplyWithError(ctx, "ERR no type");
}

static int get(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 2) return RedisModule_WrongArity(ctx);
    const char *name = text_of(argv[1]);
    RedisModuleString *value = NULL;
    long long n;
    int b;
    RedisModule_ReplyWithArray(ctx, 4);
    reply_and_free(ctx, RedisModule_ConfigGet(ctx, name, &value) == REDISMODULE_OK ? value : NULL);
    if (RedisModule_ConfigGetBool(ctx, name, &b) == REDISMODULE_OK)
        RedisModule_ReplyWithLongLong(ctx, b);
    else
        RedisModule_ReplyWithNull(ctx);
    if (RedisModule_ConfigGetEnum(ctx, name, &value) == REDISMODULE_OK) {
        RedisModule_ReplyWithString(ctx, value);
        /* So does the public reference. */
        RedisModule_Free(value);
    } else {
        RedisModule_ReplyWithNull(ctx);
    }
    if (RedisModule_ConfigGetNumeric(ctx, name, &n) == REDISMODULE_OK)
        return RedisModule_ReplyWithLongLong(ctx, n);
    return RedisModule_ReplyWithNull(ctx);
}

static int set(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 4) return RedisModule_WrongArity(ctx);
    const char *name = text_of(argv[2]);
    RedisModuleString *err = NULL;
    int status;
    if (same(argv[1], "bool"))
        status = RedisModule_ConfigSetBool(ctx, name, (int)number_of(argv[3]), &err);
    else if (same(argv[1], "enum"))
        status = RedisModule_ConfigSetEnum(ctx, name, argv[3], &err);
    else if (same(argv[1], "numeric"))
        status = RedisModule_ConfigSetNumeric(ctx, name, number_of(argv[3]), &err);
    else
        status = RedisModule_ConfigSet(ctx, name, argv[3], &err);
    if (status == REDISMODULE_OK) {
        CHECK(err == NULL);
        ALL_WELL();
    }
    /* Where nobody wants the reason. */
    CHECK(RedisModule_ConfigSet(ctx, "no-such-name", argv[3], NULL) == REDISMODULE_ERR);
    if (err == NULL) return RedisModule_ReplyWithError(ctx, "ERR without a word");
    RedisModule_ReplyWithErrorFormat(ctx, "ERR %s", text_of(err));
    RedisModule_FreeString(ctx, err);
    return REDISMODULE_OK;
}

static int names(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    RedisModuleConfigIterator *iter =
        RedisModule_ConfigIteratorCreate(argc == 3 ? NULL : ctx, argc > 1 ? text_of(argv[1]) : NULL);
    static const char *found[1000];
    long count = 0;
    while (count < 1000 && (found[count] = RedisModule_ConfigIteratorNext(iter)) != NULL) count++;
    CHECK(count == 1000 || RedisModule_ConfigIteratorNext(iter) == NULL);
    RedisModule_ConfigIteratorRelease(argc == 3 ? NULL : ctx, iter);
    /* The names outlive the iterator. */
    RedisModule_ReplyWithArray(ctx, count);
    for (long i = 0; i < count; i++) RedisModule_ReplyWithCString(ctx, found[i]);
    return REDISMODULE_OK;
}

static int left(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    RedisModule_AutoMemory(ctx);
    RedisModuleString *value;
    RedisModuleConfigIterator *iter = RedisModule_ConfigIteratorCreate(ctx, "*");
    CHECK(RedisModule_ConfigIteratorNext(iter) != NULL);
    CHECK(RedisModule_ClusterGetLocalSlotRanges(ctx) != NULL);
    CHECK(RedisModule_ConfigGet(ctx, "maxmemory", &value) == REDISMODULE_OK);
    CHECK(RedisModule_GetUserUsername(ctx, RedisModule_GetContextUser(ctx)) == NULL);
    /* And what is freed by hand is not freed twice. */
    RedisModule_ConfigIteratorRelease(ctx, RedisModule_ConfigIteratorCreate(ctx, NULL));
    RedisModule_ClusterFreeSlotRanges(ctx, RedisModule_ClusterGetLocalSlotRanges(ctx));
    ALL_WELL();
}

/* ---- hashes ---- */

static int fields(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc < 3) return RedisModule_WrongArity(ctx);
    RedisModuleKey *key = RedisModule_OpenKey(ctx, argv[1], REDISMODULE_READ | REDISMODULE_WRITE);
    mstime_t at = 7;
    int exists;
    RedisModule_ReplyWithArray(ctx, argc - 2);
    for (int i = 2; i < argc; i++) {
        int both = RedisModule_HashGet(key, REDISMODULE_HASH_EXPIRE_TIME | REDISMODULE_HASH_EXISTS, argv[i],
                                       &exists, NULL);
        int status = RedisModule_HashGet(key, REDISMODULE_HASH_EXPIRE_TIME, argv[i], &at, NULL);
        if (status == REDISMODULE_ERR || both == REDISMODULE_OK)
            RedisModule_ReplyWithNull(ctx);
        else
            RedisModule_ReplyWithLongLong(ctx, at);
    }
    RedisModule_CloseKey(key);
    return REDISMODULE_OK;
}

static void on_field(RedisModuleKey *key, RedisModuleString *field, RedisModuleString *value, void *data) {
    RedisModuleCtx *ctx = ((void **)data)[0];
    RedisModuleString *found = NULL;
    RedisModule_HashGet(key, REDISMODULE_HASH_NONE, field, &found, NULL);
    RedisModule_ReplyWithString(ctx, field);
    /* Once as the scan has it, once as HashGet has it. */
    RedisModule_ReplyWithString(ctx, value);
    reply_and_free(ctx, found);
    *((long **)data)[1] += 3;
}

static int expired(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 2) return RedisModule_WrongArity(ctx);
    CHECK(RedisModule_GetOpenKeyModesAll() & REDISMODULE_OPEN_KEY_ACCESS_EXPIRED);
    RedisModuleKey *key =
        RedisModule_OpenKey(ctx, argv[1], REDISMODULE_READ | REDISMODULE_OPEN_KEY_ACCESS_EXPIRED);
    if (key == NULL) return RedisModule_ReplyWithNull(ctx);
    if (RedisModule_KeyType(key) != REDISMODULE_KEYTYPE_HASH) {
        RedisModule_CloseKey(key);
        return RedisModule_ReplyWithError(ctx, REDISMODULE_ERRORMSG_WRONGTYPE);
    }
    long count = 1;
    void *data[] = {ctx, &count};
    RedisModuleKey *plain = RedisModule_OpenKey(ctx, argv[1], REDISMODULE_READ);
    RedisModule_ReplyWithArray(ctx, REDISMODULE_POSTPONED_LEN);
    RedisModule_ReplyWithLongLong(ctx, plain != NULL);
    RedisModule_CloseKey(plain);
    RedisModuleScanCursor *cursor = RedisModule_ScanCursorCreate();
    while (RedisModule_ScanKey(key, cursor, on_field, data)) continue;
    RedisModule_ScanCursorDestroy(cursor);
    RedisModule_ReplySetArrayLength(ctx, count);
    RedisModule_CloseKey(key);
    return REDISMODULE_OK;
}

static int debug(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    CHECK(RedisModule_GetContextFlagsAll() & REDISMODULE_CTX_FLAGS_DEBUG_ENABLED);
    RedisModule_ReplyWithArray(ctx, 2);
    RedisModule_ReplyWithBool(ctx, RedisModule_GetContextFlags(ctx) & REDISMODULE_CTX_FLAGS_DEBUG_ENABLED);
    return RedisModule_ReplyWithBool(ctx, RedisModule_GetContextFlags(NULL) & REDISMODULE_CTX_FLAGS_DEBUG_ENABLED);
}

/* ---- internal commands ---- */

static int inner(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    return RedisModule_ReplyWithLongLong(ctx, argc - 1);
}

static int call(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc < 3) return RedisModule_WrongArity(ctx);
    /* Letters that take no arguments. */
    CHECK(strspn(text_of(argv[1]), "EC!S3") == strlen(text_of(argv[1])));
    RedisModuleString *format = RedisModule_CreateStringPrintf(ctx, "v%s", text_of(argv[1]));
    RedisModuleCallReply *reply =
        RedisModule_Call(ctx, text_of(argv[2]), text_of(format), argv + 3, (size_t)argc - 3);
    RedisModule_FreeString(ctx, format);
    if (reply == NULL) return reply_status(ctx, REDISMODULE_ERR);
    RedisModule_ReplyWithCallReply(ctx, reply);
    RedisModule_FreeCallReply(reply);
    return REDISMODULE_OK;
}

/* ---- users, slots ---- */

static int valkey(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    void *found = NULL;
    int status = RedisModule_GetApi("ValkeyModule_ACLCheckKeyPrefixPermissions", &found);
    CHECK((status == REDISMODULE_OK) == (found != NULL));
    CHECK(RedisModule_GetApi("ValkeyModule_ACLCheckKeyPermissions", &found) == REDISMODULE_OK);
    return RedisModule_ReplyWithLongLong(ctx, status == REDISMODULE_OK);
}

static int prefix(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 4) return RedisModule_WrongArity(ctx);
    RedisModuleUser *user = RedisModule_CreateModuleUser("prefix");
    RedisModuleString *err = NULL;
    int status = RedisModule_SetModuleUserACLString(ctx, user, text_of(argv[1]), &err);
    if (status == REDISMODULE_OK) {
        errno = 0;
        status = RedisModule_ACLCheckKeyPrefixPermissions(user, argv[2], (int)number_of(argv[3]));
    }
    int why = errno;
    RedisModule_FreeModuleUser(user);
    if (err != NULL) {
        RedisModule_FreeString(ctx, err);
        return RedisModule_ReplyWithError(ctx, "ERR no rules");
    }
    errno = why;
    return reply_status(ctx, status);
}

static int users(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    CHECK(RedisModule_GetContextUser(ctx) == NULL);
    RedisModuleUser *user = RedisModule_CreateModuleUser("somebody");
    RedisModule_SetContextUser(ctx, user);
    CHECK(RedisModule_GetContextUser(ctx) == user);
    RedisModuleString *name = RedisModule_GetUserUsername(ctx, RedisModule_GetContextUser(ctx));
    CHECK(name != NULL && same(name, "somebody"));
    RedisModule_FreeString(ctx, name);
    CHECK((name = RedisModule_GetUserUsername(NULL, user)) != NULL && same(name, "somebody"));
    RedisModule_FreeString(NULL, name);
    /* As the first header with this function, and the crate redis-module 2.0.8, declare it. */
    RedisModuleString *(*alone)(const RedisModuleUser *) =
        (RedisModuleString * (*)(const RedisModuleUser *)) (void (*)(void)) RedisModule_GetUserUsername;
    CHECK((name = alone(user)) != NULL && same(name, "somebody"));
    RedisModule_FreeString(NULL, name);
    CHECK(RedisModule_GetUserUsername(ctx, NULL) == NULL);
    RedisModule_SetContextUser(ctx, NULL);
    CHECK(RedisModule_GetContextUser(ctx) == NULL);
    RedisModule_FreeModuleUser(user);
    ALL_WELL();
}

static int slots(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    RedisModuleSlotRangeArray *all = RedisModule_ClusterGetLocalSlotRanges(NULL);
    RedisModule_ReplyWithArray(ctx, all->num_ranges);
    for (int i = 0; i < all->num_ranges; i++) {
        RedisModule_ReplyWithArray(ctx, 2);
        RedisModule_ReplyWithLongLong(ctx, all->ranges[i].start);
        RedisModule_ReplyWithLongLong(ctx, all->ranges[i].end);
    }
    RedisModule_ClusterFreeSlotRanges(NULL, all);
    return REDISMODULE_OK;
}

static int access_slot(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 2) return RedisModule_WrongArity(ctx);
    int slot = (int)number_of(argv[1]);
    return RedisModule_ReplyWithLongLong(ctx, RedisModule_ClusterCanAccessKeysInSlot(slot));
}

static int trim(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    CHECK(RedisModule_ClusterEnableTrim(ctx) == REDISMODULE_ERR);
    CHECK(RedisModule_ClusterDisableTrim(ctx) == REDISMODULE_OK);
    CHECK(RedisModule_ClusterDisableTrim(ctx) == REDISMODULE_OK);
    CHECK(RedisModule_ClusterEnableTrim(ctx) == REDISMODULE_OK);
    CHECK(RedisModule_ClusterEnableTrim(ctx) == REDISMODULE_OK);
    CHECK(RedisModule_ClusterEnableTrim(ctx) == REDISMODULE_ERR);
    ALL_WELL();
}

/* ---- defragmentation ---- */

#define BLOCK 48
#define SHARED 64

static RedisModuleDict *dict;
static long *twice[2][SHARED];
static long long rounds, ended, steps, by_hand, moved, complaints;

static int key_of(char *buf, long i) { return snprintf(buf, 16, "key:%08ld", i); }

static int fill(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 2) return RedisModule_WrongArity(ctx);
    char key[16];
    for (long i = 0; i < number_of(argv[1]) && i < 100000; i++) {
        long *block = RedisModule_Alloc(BLOCK);
        *block = i;
        if (RedisModule_DictSetC(dict, key, (size_t)key_of(key, i), block) == REDISMODULE_ERR)
            RedisModule_Free(block);
    }
    for (int i = 0; i < SHARED && twice[0][i] == NULL; i++) {
        twice[0][i] = twice[1][i] = RedisModule_Alloc(BLOCK);
        *twice[0][i] = i;
    }
    ALL_WELL();
}

static int thin(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    char key[16];
    long count = (long)RedisModule_DictSize(dict);
    for (long i = 0; i < count; i += 2) {
        void *block;
        CHECK(RedisModule_DictDelC(dict, key, (size_t)key_of(key, i), &block) == REDISMODULE_OK);
        RedisModule_Free(block);
    }
    ALL_WELL();
}

static int check(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    RedisModuleDictIter *iter = RedisModule_DictIteratorStartC(dict, "^", NULL, 0);
    long long count = 0;
    size_t len;
    char *key, expected[16];
    long *block;
    while ((key = RedisModule_DictNextC(iter, &len, (void **)&block)) != NULL) {
        CHECK(len == (size_t)key_of(expected, *block) && memcmp(key, expected, len) == 0);
        count++;
    }
    RedisModule_DictIteratorStop(iter);
    CHECK((uint64_t)count == RedisModule_DictSize(dict));
    for (int i = 0; i < SHARED; i++)
        CHECK(twice[0][i] == twice[1][i] && (twice[0][i] == NULL || *twice[0][i] == i));
    return RedisModule_ReplyWithLongLong(ctx, count);
}

static void at_start(RedisModuleDefragCtx *ctx) {
    if (rounds != ended || RedisModule_GetDbIdFromDefragCtx(ctx) != -1) complaints++;
    rounds++;
}

static void at_end(RedisModuleDefragCtx *ctx) {
    ended++;
    if (rounds != ended) complaints++;
}

/* A value of the dictionary. Every 1000th wants a second look first. */
static int on_value(RedisModuleDefragCtx *ctx, void *value, unsigned char *key, size_t len, void **better) {
    static long again = -1;
    char expected[16];
    long i = *(long *)value;
    if (len != (size_t)key_of(expected, i) || memcmp(key, expected, len) != 0) complaints++;
    if (i % 1000 == 1 && again != i) {
        again = i;
        return 1;
    }
    again = -1;
    *better = RedisModule_DefragAlloc(ctx, value);
    if (*better != NULL) moved++;
    return 0;
}

/* First what has two owners, then the dictionary: the cursor is 0, then 1. */
static int step(RedisModuleDefragCtx *ctx) {
    static RedisModuleString *seek;
    unsigned long at = 0;
    steps++;
    if (rounds != ended + 1 || RedisModule_DefragCursorGet(ctx, &at) != REDISMODULE_OK) complaints++;
    if (at == 0) {
        for (int i = 0; i < SHARED; i++) {
            if (twice[0][i] == NULL) continue;
            long *better = RedisModule_DefragAllocRaw(ctx, BLOCK);
            memcpy(better, twice[0][i], BLOCK);
            RedisModule_DefragFreeRaw(ctx, twice[0][i]);
            twice[0][i] = twice[1][i] = better;
            by_hand++;
        }
        /* A round that was given up left its place behind. */
        if (seek != NULL) RedisModule_FreeString(NULL, seek);
        seek = NULL;
        RedisModule_DefragCursorSet(ctx, 1);
        return 1;
    }
    RedisModuleDict *better = RedisModule_DefragRedisModuleDict(ctx, dict, on_value, &seek);
    if (better != NULL) dict = better;
    return seek != NULL;
}

/* Never called: the other one goes before it. */
static void all_at_once(RedisModuleDefragCtx *ctx) { complaints++; }

static int figures(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    RedisModule_ReplyWithArray(ctx, 6);
    RedisModule_ReplyWithLongLong(ctx, rounds);
    RedisModule_ReplyWithLongLong(ctx, ended);
    RedisModule_ReplyWithLongLong(ctx, steps);
    RedisModule_ReplyWithLongLong(ctx, by_hand);
    RedisModule_ReplyWithLongLong(ctx, moved);
    return RedisModule_ReplyWithLongLong(ctx, complaints);
}

/* ---- loading ---- */

static int is_served(void) {
    return RMAPI_FUNC_SUPPORTED(RedisModule_ConfigGet) && RMAPI_FUNC_SUPPORTED(RedisModule_ConfigSet) &&
           RMAPI_FUNC_SUPPORTED(RedisModule_ACLCheckKeyPrefixPermissions) &&
           RMAPI_FUNC_SUPPORTED(RedisModule_GetContextUser) &&
           RMAPI_FUNC_SUPPORTED(RedisModule_GetUserUsername) &&
           RMAPI_FUNC_SUPPORTED(RedisModule_ClusterGetLocalSlotRanges) &&
           RMAPI_FUNC_SUPPORTED(RedisModule_RegisterDefragFunc2) &&
           RMAPI_FUNC_SUPPORTED(RedisModule_RegisterDefragCallbacks) &&
           RMAPI_FUNC_SUPPORTED(RedisModule_DefragRedisModuleDict);
}

static int served(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    return RedisModule_ReplyWithLongLong(ctx, is_served());
}

int RedisModule_OnLoad(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (RedisModule_Init(ctx, "newer", 1, REDISMODULE_APIVER_1) == REDISMODULE_ERR)
        return REDISMODULE_ERR;
    COMMAND("newer.served", served, "readonly", 0, 0, 0);
    if (!is_served()) return REDISMODULE_OK;
    COMMAND("newer.valkey", valkey, "readonly", 0, 0, 0);
    COMMAND("newer.type", type_of, "readonly", 0, 0, 0);
    COMMAND("newer.get", get, "readonly", 0, 0, 0);
    COMMAND("newer.set", set, "", 0, 0, 0);
    COMMAND("newer.names", names, "readonly", 0, 0, 0);
    COMMAND("newer.left", left, "readonly", 0, 0, 0);
    COMMAND("newer.debug", debug, "readonly", 0, 0, 0);
    COMMAND("newer.fields", fields, "write", 1, 1, 1);
    COMMAND("newer.expired", expired, "readonly", 1, 1, 1);
    COMMAND("newer.inner", inner, "write internal touches-arbitrary-keys", 0, 0, 0);
    COMMAND("newer.call", call, "write", 0, 0, 0);
    COMMAND("newer.prefix", prefix, "readonly", 0, 0, 0);
    COMMAND("newer.users", users, "readonly", 0, 0, 0);
    COMMAND("newer.slots", slots, "readonly", 0, 0, 0);
    COMMAND("newer.access", access_slot, "readonly", 0, 0, 0);
    COMMAND("newer.trim", trim, "readonly", 0, 0, 0);
    COMMAND("newer.fill", fill, "", 0, 0, 0);
    COMMAND("newer.thin", thin, "", 0, 0, 0);
    COMMAND("newer.check", check, "readonly", 0, 0, 0);
    COMMAND("newer.defrag", figures, "readonly", 0, 0, 0);
    own = RedisModule_GetDetachedThreadSafeContext(ctx);
    dict = RedisModule_CreateDict(NULL);
    RedisModule_RegisterDefragFunc(ctx, all_at_once);
    RedisModule_RegisterDefragFunc2(ctx, step);
    RedisModule_RegisterDefragCallbacks(ctx, at_start, at_end);

    static const char *modes[] = {"none", "read", "write"};
    static const int values[] = {0, 1, 2};
    int failed =
        RedisModule_RegisterNumericConfig(ctx, "number", 0, REDISMODULE_CONFIG_DEFAULT, -10, 10,
                                          get_number, set_number, apply_number, &number) |
        RedisModule_RegisterNumericConfig(ctx, "bytes", 0, REDISMODULE_CONFIG_MEMORY, -1, 1 << 20,
                                          get_number, set_number, NULL, &bytes) |
        RedisModule_RegisterNumericConfig(ctx, "fixed", 5, REDISMODULE_CONFIG_IMMUTABLE, 0, 10,
                                          get_number, set_number, NULL, &fixed) |
        RedisModule_RegisterBoolConfig(ctx, "flag", 0, REDISMODULE_CONFIG_HIDDEN, get_int, set_int,
                                       NULL, &flag) |
        RedisModule_RegisterEnumConfig(ctx, "mode", 1, REDISMODULE_CONFIG_BITFLAGS, modes, values, 3,
                                       get_int, set_int, NULL, &mode) |
        RedisModule_RegisterStringConfig(ctx, "text", "", REDISMODULE_CONFIG_DEFAULT, get_text,
                                         set_text, NULL, NULL) |
        RedisModule_RegisterNumericConfig(ctx, "bare-number|other.number", 42,
                                          REDISMODULE_CONFIG_UNPREFIXED, 0, 1000, get_bare,
                                          set_bare, NULL, NULL) |
        RedisModule_RegisterBoolConfig(ctx, "bare-flag", 1, REDISMODULE_CONFIG_UNPREFIXED, get_int,
                                       set_int, NULL, &bare_flag);
    if (failed) return REDISMODULE_ERR;
    /* Refused: names that are taken (the server's too), that are no names, two that are one. */
    static const char *bad[] = {"bare-flag", "maxmemory", "bare-number", "x|other.number", "x|maxmemory",
                                "x|x", "a.b.c", "|x", "x|", "x|y|z", "x y", ""};
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        if (RedisModule_RegisterBoolConfig(ctx, bad[i], 1, REDISMODULE_CONFIG_UNPREFIXED, get_int,
                                           set_int, NULL, &bare_flag) == REDISMODULE_OK)
            return REDISMODULE_ERR;
    }
    /* Once only. */
    if (RedisModule_LoadDefaultConfigs(ctx) == REDISMODULE_ERR || bare != 42 ||
        RedisModule_LoadDefaultConfigs(ctx) == REDISMODULE_OK)
        return REDISMODULE_ERR;
    if (argc == 1) bare = number_of(argv[0]);
    if (RedisModule_LoadConfigs(ctx) == REDISMODULE_ERR) return REDISMODULE_ERR;
    return RedisModule_LoadDefaultConfigs(ctx) == REDISMODULE_OK ? REDISMODULE_ERR : REDISMODULE_OK;
}
