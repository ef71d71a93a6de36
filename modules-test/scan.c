/* Scanning the keyspace and the elements of keys.
 *
 *   scan.keys                  all key names of the database, sorted
 *   scan.values                all string keys and their values, sorted by key
 *   scan.restart               scans twice with one cursor, ScanCursorRestart between: the
 *                              number of callbacks of both
 *   scan.key k                 [field, value] of a hash, set (value null) or zset, sorted by field
 *   scan.delete                deletes each key from within the callback; their number
 *   scan.errors k              errnos: ScanKey of k after its end, ScanKey of a NULL key,
 *                              Scan after its end */
#include "testmodule.h"

typedef struct Found {
    RedisModuleString *name, *value;
} Found;

static Found found[10000];
static size_t num_found;

static int by_name(const void *a, const void *b) {
    return RedisModule_StringCompare(((const Found *)a)->name, ((const Found *)b)->name);
}

static void remember(RedisModuleString *name, RedisModuleString *value) {
    for (size_t i = 0; i < num_found; i++) /* a scan may give an element twice */
        if (RedisModule_StringCompare(found[i].name, name) == 0) return;
    if (num_found == sizeof(found) / sizeof(*found)) return;
    found[num_found].name = RedisModule_CreateStringFromString(NULL, name);
    found[num_found++].value =
        value == NULL ? NULL : RedisModule_CreateStringFromString(NULL, value);
}

static void reply_found(RedisModuleCtx *ctx, int values) {
    qsort(found, num_found, sizeof(*found), by_name);
    RedisModule_ReplyWithArray(ctx, (long)(values ? 2 * num_found : num_found));
    for (size_t i = 0; i < num_found; i++) {
        RedisModule_ReplyWithString(ctx, found[i].name);
        RedisModule_FreeString(NULL, found[i].name);
        if (!values) {
            if (found[i].value != NULL) RedisModule_FreeString(NULL, found[i].value);
            continue;
        }
        if (found[i].value == NULL) {
            RedisModule_ReplyWithNull(ctx);
        } else {
            RedisModule_ReplyWithString(ctx, found[i].value);
            RedisModule_FreeString(NULL, found[i].value);
        }
    }
    num_found = 0;
}

static void on_key(RedisModuleCtx *ctx, RedisModuleString *name, RedisModuleKey *key, void *data) {
    int values = *(int *)data;
    if (!values) {
        remember(name, NULL);
        return;
    }
    RedisModuleKey *opened = key;
    if (opened == NULL) opened = RedisModule_OpenKey(ctx, name, REDISMODULE_READ);
    if (RedisModule_KeyType(opened) == REDISMODULE_KEYTYPE_STRING) {
        size_t len;
        const char *text = RedisModule_StringDMA(opened, &len, REDISMODULE_READ);
        RedisModuleString *value = RedisModule_CreateString(NULL, text, len);
        remember(name, value);
        RedisModule_FreeString(NULL, value);
    }
    if (key == NULL) RedisModule_CloseKey(opened);
}

static int scan_keys(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    int values = strcasecmp(text_of(argv[0]), "scan.values") == 0;
    RedisModuleScanCursor *cursor = RedisModule_ScanCursorCreate();
    while (RedisModule_Scan(ctx, cursor, on_key, &values)) continue;
    RedisModule_ScanCursorDestroy(cursor);
    reply_found(ctx, values);
    return REDISMODULE_OK;
}

static void count_key(RedisModuleCtx *ctx, RedisModuleString *name, RedisModuleKey *key,
                      void *data) {
    ++*(long long *)data;
}

static int restart(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    long long count = 0;
    RedisModuleScanCursor *cursor = RedisModule_ScanCursorCreate();
    while (RedisModule_Scan(ctx, cursor, count_key, &count)) continue;
    RedisModule_ScanCursorRestart(cursor);
    while (RedisModule_Scan(ctx, cursor, count_key, &count)) continue;
    RedisModule_ScanCursorDestroy(cursor);
    return RedisModule_ReplyWithLongLong(ctx, count);
}

static void on_field(RedisModuleKey *key, RedisModuleString *field, RedisModuleString *value,
                     void *data) {
    remember(field, value);
}

static int scan_key(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 2) return RedisModule_WrongArity(ctx);
    RedisModuleKey *key = RedisModule_OpenKey(ctx, argv[1], REDISMODULE_READ);
    RedisModuleScanCursor *cursor = RedisModule_ScanCursorCreate();
    errno = 0;
    while (RedisModule_ScanKey(key, cursor, on_field, NULL)) continue;
    int number = errno;
    RedisModule_ScanCursorDestroy(cursor);
    RedisModule_CloseKey(key);
    if (number != 0) return RedisModule_ReplyWithErrorFormat(ctx, "ERR errno %d", number);
    reply_found(ctx, 1);
    return REDISMODULE_OK;
}

static void delete_key(RedisModuleCtx *ctx, RedisModuleString *name, RedisModuleKey *key,
                       void *data) {
    RedisModuleCallReply *reply = RedisModule_Call(ctx, "DEL", "!s", name);
    *(long long *)data += RedisModule_CallReplyInteger(reply);
    RedisModule_FreeCallReply(reply);
}

static int delete_all(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    long long count = 0;
    RedisModuleScanCursor *cursor = RedisModule_ScanCursorCreate();
    while (RedisModule_Scan(ctx, cursor, delete_key, &count)) continue;
    RedisModule_ScanCursorDestroy(cursor);
    return RedisModule_ReplyWithLongLong(ctx, count);
}

static void ignore_field(RedisModuleKey *key, RedisModuleString *field, RedisModuleString *value,
                         void *data) {}

static int errors(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 2) return RedisModule_WrongArity(ctx);
    long long count = 0;
    int numbers[3];
    RedisModuleKey *key = RedisModule_OpenKey(ctx, argv[1], REDISMODULE_READ);
    RedisModuleScanCursor *cursor = RedisModule_ScanCursorCreate();
    while (RedisModule_ScanKey(key, cursor, ignore_field, NULL)) continue;
    RedisModule_ScanKey(key, cursor, ignore_field, NULL);
    numbers[0] = errno;
    RedisModule_ScanCursorRestart(cursor);
    RedisModule_ScanKey(NULL, cursor, ignore_field, NULL);
    numbers[1] = errno;
    RedisModule_CloseKey(key);
    RedisModule_ScanCursorRestart(cursor);
    while (RedisModule_Scan(ctx, cursor, count_key, &count)) continue;
    RedisModule_Scan(ctx, cursor, count_key, &count);
    numbers[2] = errno;
    RedisModule_ScanCursorDestroy(cursor);
    RedisModule_ReplyWithArray(ctx, 3);
    for (int i = 0; i < 3; i++) RedisModule_ReplyWithLongLong(ctx, numbers[i]);
    return REDISMODULE_OK;
}

int RedisModule_OnLoad(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (RedisModule_Init(ctx, "scan", 1, REDISMODULE_APIVER_1) == REDISMODULE_ERR)
        return REDISMODULE_ERR;
    COMMAND("scan.keys", scan_keys, "readonly", 0, 0, 0);
    COMMAND("scan.values", scan_keys, "readonly", 0, 0, 0);
    COMMAND("scan.restart", restart, "readonly", 0, 0, 0);
    COMMAND("scan.key", scan_key, "readonly", 1, 1, 1);
    COMMAND("scan.delete", delete_all, "write", 0, 0, 0);
    COMMAND("scan.errors", errors, "readonly", 1, 1, 1);
    return REDISMODULE_OK;
}
