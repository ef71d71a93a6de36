/* A data type of its own: "bp_list-1", a linked list of integers and strings.
 *
 * Module arguments: "aux2" saves aux data with aux_save2 (only when the aux number is not 0),
 * "noaux" saves none, "opt2" registers the variants of the callbacks that get a key context,
 * "bare" leaves out every callback but load, save, rewrite and free, "ioerrors" sets the module
 * option HANDLE_IO_ERRORS.
 *
 *   dt.push k int|str v        appends an element; the new length
 *   dt.pop k                   takes the first element; removes an empty key
 *   dt.range k                 all elements
 *   dt.len k                   their number; 0 for a missing key
 *   dt.replace k int|str v     a new list of one element through ModuleTypeReplaceValue; the length
 *                              of the old one
 *   dt.dump k                  SaveDataTypeToString
 *   dt.load k payload          LoadDataTypeFromStringEncver into k; "OK"
 *   dt.rdb save|load file      RdbSave, RdbLoad
 *   dt.stats                   counts of callbacks: [free, unlink, copy, free_effort, mem_usage,
 *                              digest, load, save, rewrite, aux_load, aux_save]
 *   dt.last                    what the last callback that knew a key saw: "name db", or
 *                              "from from-db to to-db" for copy
 *   dt.reset                   sets the counts to 0
 *   dt.aux [n]                 reads or sets the number that is kept in the aux data
 *   dt.auxseen                 [before, after]: the numbers that aux_load read, -1 for none
 *   dt.type k                  1 if the key's type is ours, else 0 */
#include "testmodule.h"

enum { ENCVER = 3 };

typedef struct Node {
    struct Node *next;
    RedisModuleString *text; /* NULL: an integer */
    long long number;
} Node;

typedef struct List {
    Node *first, *last;
    size_t len;
} List;

static RedisModuleType *list_type;
static long long aux_number, aux_seen[2] = {-1, -1};
static char last_seen[256];

/* free may run on another thread. */
static struct {
    _Atomic long long free, unlink, copy, effort, mem, digest, load, save, rewrite, aux_load,
        aux_save;
} stats;

static Node *append(List *list, RedisModuleString *text, long long number) {
    Node *node = RedisModule_Calloc(1, sizeof(*node));
    node->text = text;
    node->number = number;
    if (list->last == NULL)
        list->first = node;
    else
        list->last->next = node;
    list->last = node;
    list->len++;
    return node;
}

static void free_node(Node *node) {
    if (node->text != NULL) RedisModule_FreeString(NULL, node->text);
    RedisModule_Free(node);
}

static void destroy(List *list) {
    Node *next;
    for (Node *node = list->first; node != NULL; node = next) {
        next = node->next;
        free_node(node);
    }
    RedisModule_Free(list);
}

/* ----- Callbacks of the type ----- */

static void *type_load(RedisModuleIO *io, int encver) {
    stats.load++;
    if (encver > ENCVER) return NULL;
    List *list = RedisModule_Calloc(1, sizeof(*list));
    uint64_t len = RedisModule_LoadUnsigned(io);
    double sum = 0;
    for (uint64_t i = 0; i < len && !RedisModule_IsIOError(io); i++) {
        if (RedisModule_LoadUnsigned(io) == 0) {
            append(list, NULL, RedisModule_LoadSigned(io));
            sum += (double)list->last->number;
        } else if (i % 2 == 0) { /* both forms of strings are used in turn */
            RedisModuleString *text = RedisModule_LoadString(io);
            if (text != NULL) append(list, text, 0);
        } else {
            size_t size;
            char *buf = RedisModule_LoadStringBuffer(io, &size);
            if (buf == NULL) break;
            append(list, RedisModule_CreateString(NULL, buf, size), 0);
            RedisModule_Free(buf);
        }
    }
    double saved = RedisModule_LoadDouble(io);
    float half = RedisModule_LoadFloat(io);
    long double third = RedisModule_LoadLongDouble(io);
    if (RedisModule_IsIOError(io) || saved != sum || half != (float)(sum / 2) ||
        third != (long double)sum / 3) {
        RedisModule_LogIOError(io, "warning", "list of %llu elements is damaged",
                               (unsigned long long)len);
        destroy(list);
        return NULL;
    }
    return list;
}

static void type_save(RedisModuleIO *io, void *value) {
    stats.save++;
    List *list = value;
    RedisModule_SaveUnsigned(io, list->len);
    double sum = 0;
    uint64_t i = 0;
    for (Node *node = list->first; node != NULL; node = node->next, i++) {
        RedisModule_SaveUnsigned(io, node->text != NULL);
        if (node->text == NULL) {
            RedisModule_SaveSigned(io, node->number);
            sum += (double)node->number;
        } else if (i % 2 == 0) {
            RedisModule_SaveString(io, node->text);
        } else {
            size_t len;
            const char *text = RedisModule_StringPtrLen(node->text, &len);
            RedisModule_SaveStringBuffer(io, text, len);
        }
    }
    RedisModule_SaveDouble(io, sum);
    RedisModule_SaveFloat(io, (float)(sum / 2));
    RedisModule_SaveLongDouble(io, (long double)sum / 3);
}

static void type_rewrite(RedisModuleIO *io, RedisModuleString *key, void *value) {
    stats.rewrite++;
    List *list = value;
    for (Node *node = list->first; node != NULL; node = node->next) {
        if (node->text == NULL) {
            RedisModule_EmitAOF(io, "dt.push", "scl", key, "int", node->number);
        } else {
            size_t len;
            const char *text = RedisModule_StringPtrLen(node->text, &len);
            RedisModule_EmitAOF(io, "dt.push", "scb", key, "str", text, len);
        }
    }
}

static void type_free(void *value) {
    stats.free++;
    destroy(value);
}

static size_t usage(const List *list) {
    size_t total = sizeof(*list);
    for (const Node *node = list->first; node != NULL; node = node->next) {
        total += sizeof(*node);
        if (node->text != NULL) total += RedisModule_MallocSizeString(node->text);
    }
    return total;
}

static size_t type_mem_usage(const void *value) {
    stats.mem++;
    return usage(value);
}

static void type_digest(RedisModuleDigest *digest, void *value) {
    stats.digest++;
    snprintf(last_seen, sizeof(last_seen), "%s %d",
             text_of(RedisModule_GetKeyNameFromDigest(digest)),
             RedisModule_GetDbIdFromDigest(digest));
    List *list = value;
    for (Node *node = list->first; node != NULL; node = node->next) {
        if (node->text == NULL) {
            RedisModule_DigestAddLongLong(digest, node->number);
        } else {
            size_t len;
            const char *text = RedisModule_StringPtrLen(node->text, &len);
            RedisModule_DigestAddStringBuffer(digest, text, len);
        }
        RedisModule_DigestEndSequence(digest);
    }
}

static void *copy_list(const List *list) {
    stats.copy++;
    List *copy = RedisModule_Calloc(1, sizeof(*copy));
    for (const Node *node = list->first; node != NULL; node = node->next) {
        RedisModuleString *text = node->text;
        if (text != NULL) text = RedisModule_CreateStringFromString(NULL, text);
        append(copy, text, node->number);
    }
    return copy;
}

static void *type_copy(RedisModuleString *from, RedisModuleString *to, const void *value) {
    snprintf(last_seen, sizeof(last_seen), "%s %s", text_of(from), text_of(to));
    return copy_list(value);
}

static size_t type_free_effort(RedisModuleString *key, const void *value) {
    stats.effort++;
    snprintf(last_seen, sizeof(last_seen), "%s", text_of(key));
    return ((const List *)value)->len;
}

static void type_unlink(RedisModuleString *key, const void *value) {
    stats.unlink++;
    snprintf(last_seen, sizeof(last_seen), "%s", text_of(key));
}

static int type_defrag(RedisModuleDefragCtx *ctx, RedisModuleString *key, void **value) {
    void *moved = RedisModule_DefragAlloc(ctx, *value);
    if (moved != NULL) *value = moved;
    List *list = *value;
    for (Node **at = &list->first; *at != NULL; at = &(*at)->next) {
        Node *node = RedisModule_DefragAlloc(ctx, *at);
        if (node != NULL) *at = node;
        if ((*at)->next == NULL) list->last = *at;
    }
    return 0;
}

/* The same callbacks with a key context. */

static void see_key(RedisModuleKeyOptCtx *ctx) {
    const RedisModuleString *name = RedisModule_GetKeyNameFromOptCtx(ctx);
    snprintf(last_seen, sizeof(last_seen), "%s %d", name == NULL ? "(none)" : text_of(name),
             RedisModule_GetDbIdFromOptCtx(ctx));
}

static size_t type_mem_usage2(RedisModuleKeyOptCtx *ctx, const void *value, size_t sample_size) {
    stats.mem++;
    see_key(ctx);
    return usage(value);
}

static size_t type_free_effort2(RedisModuleKeyOptCtx *ctx, const void *value) {
    stats.effort++;
    see_key(ctx);
    return ((const List *)value)->len;
}

static void type_unlink2(RedisModuleKeyOptCtx *ctx, const void *value) {
    stats.unlink++;
    see_key(ctx);
}

static void *type_copy2(RedisModuleKeyOptCtx *ctx, const void *value) {
    snprintf(last_seen, sizeof(last_seen), "%s %d %s %d",
             text_of(RedisModule_GetKeyNameFromOptCtx(ctx)), RedisModule_GetDbIdFromOptCtx(ctx),
             text_of(RedisModule_GetToKeyNameFromOptCtx(ctx)),
             RedisModule_GetToDbIdFromOptCtx(ctx));
    return copy_list(value);
}

static int type_aux_load(RedisModuleIO *io, int encver, int when) {
    stats.aux_load++;
    aux_number = RedisModule_LoadSigned(io);
    RedisModuleString *text = RedisModule_LoadString(io);
    if (RedisModule_IsIOError(io) || text == NULL) return REDISMODULE_ERR;
    RedisModule_FreeString(NULL, text);
    aux_seen[when == REDISMODULE_AUX_AFTER_RDB] = aux_number;
    return REDISMODULE_OK;
}

static void save_aux(RedisModuleIO *io, int when) {
    stats.aux_save++;
    RedisModule_SaveSigned(io, aux_number);
    const char *text = when == REDISMODULE_AUX_BEFORE_RDB ? "before" : "after";
    RedisModule_SaveStringBuffer(io, text, strlen(text));
}

static void type_aux_save(RedisModuleIO *io, int when) { save_aux(io, when); }

static void type_aux_save2(RedisModuleIO *io, int when) {
    if (aux_number != 0) save_aux(io, when);
}

/* ----- Commands ----- */

/* The list of a key opened with `mode`: NULL, with an error sent, when there is none of ours. */
static List *list_of(RedisModuleCtx *ctx, RedisModuleKey *key, int *missing) {
    int type = RedisModule_KeyType(key);
    *missing = type == REDISMODULE_KEYTYPE_EMPTY;
    if (*missing) return NULL;
    if (type != REDISMODULE_KEYTYPE_MODULE || RedisModule_ModuleTypeGetType(key) != list_type) {
        RedisModule_ReplyWithError(ctx, REDISMODULE_ERRORMSG_WRONGTYPE);
        return NULL;
    }
    return RedisModule_ModuleTypeGetValue(key);
}

/* Appends what the words `kind value` say. */
static int append_words(List *list, RedisModuleString *kind, RedisModuleString *value) {
    if (strcmp(text_of(kind), "int") == 0) {
        long long number;
        if (RedisModule_StringToLongLong(value, &number) == REDISMODULE_ERR) return REDISMODULE_ERR;
        append(list, NULL, number);
    } else {
        append(list, RedisModule_CreateStringFromString(NULL, value), 0);
    }
    return REDISMODULE_OK;
}

static int push(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 4) return RedisModule_WrongArity(ctx);
    RedisModuleKey *key = RedisModule_OpenKey(ctx, argv[1], REDISMODULE_READ | REDISMODULE_WRITE);
    int missing;
    List *list = list_of(ctx, key, &missing);
    if (list == NULL && !missing) {
        RedisModule_CloseKey(key);
        return REDISMODULE_OK;
    }
    List *into = missing ? RedisModule_Calloc(1, sizeof(*into)) : list;
    if (append_words(into, argv[2], argv[3]) == REDISMODULE_ERR) {
        if (missing) destroy(into);
        RedisModule_CloseKey(key);
        return RedisModule_ReplyWithError(ctx, "ERR not an integer");
    }
    if (missing) RedisModule_ModuleTypeSetValue(key, list_type, into);
    RedisModule_ReplyWithLongLong(ctx, (long long)into->len);
    RedisModule_NotifyKeyspaceEvent(ctx, REDISMODULE_NOTIFY_MODULE, "dt.push", argv[1]);
    RedisModule_ReplicateVerbatim(ctx);
    RedisModule_CloseKey(key);
    return REDISMODULE_OK;
}

static void reply_node(RedisModuleCtx *ctx, const Node *node) {
    if (node->text == NULL)
        RedisModule_ReplyWithLongLong(ctx, node->number);
    else
        RedisModule_ReplyWithString(ctx, node->text);
}

static int pop(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 2) return RedisModule_WrongArity(ctx);
    RedisModuleKey *key = RedisModule_OpenKey(ctx, argv[1], REDISMODULE_READ | REDISMODULE_WRITE);
    int missing;
    List *list = list_of(ctx, key, &missing);
    if (missing) RedisModule_ReplyWithNull(ctx);
    if (list != NULL) {
        Node *node = list->first;
        reply_node(ctx, node);
        list->first = node->next;
        if (--list->len == 0) list->last = NULL;
        free_node(node);
        if (list->len == 0) RedisModule_DeleteKey(key);
        RedisModule_ReplicateVerbatim(ctx);
    }
    RedisModule_CloseKey(key);
    return REDISMODULE_OK;
}

static int range(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 2) return RedisModule_WrongArity(ctx);
    RedisModuleKey *key = RedisModule_OpenKey(ctx, argv[1], REDISMODULE_READ);
    int missing;
    List *list = list_of(ctx, key, &missing);
    if (missing) RedisModule_ReplyWithEmptyArray(ctx);
    if (list != NULL) {
        RedisModule_ReplyWithArray(ctx, (long)list->len);
        for (Node *node = list->first; node != NULL; node = node->next) reply_node(ctx, node);
    }
    RedisModule_CloseKey(key);
    return REDISMODULE_OK;
}

static int len(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 2) return RedisModule_WrongArity(ctx);
    RedisModuleKey *key = RedisModule_OpenKey(ctx, argv[1], REDISMODULE_READ);
    int missing;
    List *list = list_of(ctx, key, &missing);
    if (missing || list != NULL)
        RedisModule_ReplyWithLongLong(ctx, missing ? 0 : (long long)list->len);
    RedisModule_CloseKey(key);
    return REDISMODULE_OK;
}

static int replace(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 4) return RedisModule_WrongArity(ctx);
    RedisModuleKey *key = RedisModule_OpenKey(ctx, argv[1], REDISMODULE_READ | REDISMODULE_WRITE);
    List *list = RedisModule_Calloc(1, sizeof(*list));
    void *old = NULL;
    append_words(list, argv[2], argv[3]);
    if (RedisModule_ModuleTypeReplaceValue(key, list_type, list, &old) == REDISMODULE_ERR) {
        destroy(list);
        RedisModule_ReplyWithError(ctx, "ERR not replaced");
    } else {
        RedisModule_ReplyWithLongLong(ctx, old == NULL ? -1 : (long long)((List *)old)->len);
        if (old != NULL) destroy(old);
    }
    RedisModule_CloseKey(key);
    return REDISMODULE_OK;
}

static int dump(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 2) return RedisModule_WrongArity(ctx);
    RedisModuleKey *key = RedisModule_OpenKey(ctx, argv[1], REDISMODULE_READ);
    int missing;
    List *list = list_of(ctx, key, &missing);
    if (missing) RedisModule_ReplyWithNull(ctx);
    if (list != NULL)
        reply_and_free(ctx, RedisModule_SaveDataTypeToString(ctx, list, list_type));
    RedisModule_CloseKey(key);
    return REDISMODULE_OK;
}

static int load(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 3) return RedisModule_WrongArity(ctx);
    List *list = RedisModule_LoadDataTypeFromStringEncver(argv[2], list_type, ENCVER);
    if (list == NULL) return RedisModule_ReplyWithError(ctx, "ERR not loadable");
    RedisModuleKey *key = RedisModule_OpenKey(ctx, argv[1], REDISMODULE_READ | REDISMODULE_WRITE);
    RedisModule_ModuleTypeSetValue(key, list_type, list);
    RedisModule_CloseKey(key);
    return RedisModule_ReplyWithSimpleString(ctx, "OK");
}

static int rdb(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 3) return RedisModule_WrongArity(ctx);
    RedisModuleRdbStream *stream = RedisModule_RdbStreamCreateFromFile(text_of(argv[2]));
    int status = strcmp(text_of(argv[1]), "save") == 0 ? RedisModule_RdbSave(ctx, stream, 0)
                                                       : RedisModule_RdbLoad(ctx, stream, 0);
    int number = errno;
    RedisModule_RdbStreamFree(stream);
    errno = number;
    return reply_status(ctx, status);
}

static int show_stats(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    long long counts[] = {stats.free,   stats.unlink, stats.copy, stats.effort,
                          stats.mem,    stats.digest, stats.load, stats.save,
                          stats.rewrite, stats.aux_load, stats.aux_save};
    size_t n = sizeof(counts) / sizeof(*counts);
    RedisModule_ReplyWithArray(ctx, (long)n);
    for (size_t i = 0; i < n; i++) RedisModule_ReplyWithLongLong(ctx, counts[i]);
    return REDISMODULE_OK;
}

static int show_last(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    return RedisModule_ReplyWithCString(ctx, last_seen);
}

static int reset(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    stats.free = stats.unlink = stats.copy = stats.effort = stats.mem = stats.digest = 0;
    stats.load = stats.save = stats.rewrite = stats.aux_load = stats.aux_save = 0;
    last_seen[0] = '\0';
    return RedisModule_ReplyWithSimpleString(ctx, "OK");
}

static int aux(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc > 1) aux_number = number_of(argv[1]);
    return RedisModule_ReplyWithLongLong(ctx, aux_number);
}

static int aux_was(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    RedisModule_ReplyWithArray(ctx, 2);
    RedisModule_ReplyWithLongLong(ctx, aux_seen[0]);
    return RedisModule_ReplyWithLongLong(ctx, aux_seen[1]);
}

static int is_ours(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 2) return RedisModule_WrongArity(ctx);
    RedisModuleKey *key = RedisModule_OpenKey(ctx, argv[1], REDISMODULE_READ);
    RedisModule_ReplyWithLongLong(ctx, RedisModule_ModuleTypeGetType(key) == list_type);
    RedisModule_CloseKey(key);
    return REDISMODULE_OK;
}

int RedisModule_OnLoad(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (RedisModule_Init(ctx, "datatype", 1, REDISMODULE_APIVER_1) == REDISMODULE_ERR)
        return REDISMODULE_ERR;
    RedisModuleTypeMethods methods = {
        .version = REDISMODULE_TYPE_METHOD_VERSION,
        .rdb_load = type_load,
        .rdb_save = type_save,
        .aof_rewrite = type_rewrite,
        .mem_usage = type_mem_usage,
        .digest = type_digest,
        .free = type_free,
        .aux_load = type_aux_load,
        .aux_save = type_aux_save,
        .aux_save_triggers = REDISMODULE_AUX_BEFORE_RDB | REDISMODULE_AUX_AFTER_RDB,
        .free_effort = type_free_effort,
        .unlink = type_unlink,
        .copy = type_copy,
        .defrag = type_defrag,
    };
    for (int i = 0; i < argc; i++) {
        const char *word = text_of(argv[i]);
        if (strcmp(word, "aux2") == 0) {
            methods.aux_save = NULL;
            methods.aux_save2 = type_aux_save2;
        } else if (strcmp(word, "noaux") == 0) {
            methods.aux_save = NULL;
            methods.aux_load = NULL;
            methods.aux_save_triggers = 0;
        } else if (strcmp(word, "opt2") == 0) {
            methods.mem_usage2 = type_mem_usage2;
            methods.free_effort2 = type_free_effort2;
            methods.unlink2 = type_unlink2;
            methods.copy2 = type_copy2;
        } else if (strcmp(word, "bare") == 0) {
            methods = (RedisModuleTypeMethods){.version = REDISMODULE_TYPE_METHOD_VERSION,
                                               .rdb_load = type_load,
                                               .rdb_save = type_save,
                                               .aof_rewrite = type_rewrite,
                                               .free = type_free};
        } else if (strcmp(word, "ioerrors") == 0) {
            RedisModule_SetModuleOptions(ctx, REDISMODULE_OPTIONS_HANDLE_IO_ERRORS);
        } else {
            return REDISMODULE_ERR;
        }
    }
    /* Refused: a name of the wrong length, and a version that does not fit. */
    if (RedisModule_CreateDataType(ctx, "short", 0, &methods) != NULL ||
        RedisModule_CreateDataType(ctx, "bp_list-1", 1024, &methods) != NULL)
        return REDISMODULE_ERR;
    list_type = RedisModule_CreateDataType(ctx, "bp_list-1", ENCVER, &methods);
    if (list_type == NULL) return REDISMODULE_ERR;

    COMMAND("dt.push", push, "write deny-oom", 1, 1, 1);
    COMMAND("dt.pop", pop, "write", 1, 1, 1);
    COMMAND("dt.range", range, "readonly", 1, 1, 1);
    COMMAND("dt.len", len, "readonly", 1, 1, 1);
    COMMAND("dt.replace", replace, "write", 1, 1, 1);
    COMMAND("dt.dump", dump, "readonly", 1, 1, 1);
    COMMAND("dt.load", load, "write", 1, 1, 1);
    COMMAND("dt.rdb", rdb, "write", 0, 0, 0);
    COMMAND("dt.stats", show_stats, "readonly", 0, 0, 0);
    COMMAND("dt.last", show_last, "readonly", 0, 0, 0);
    COMMAND("dt.reset", reset, "readonly", 0, 0, 0);
    COMMAND("dt.aux", aux, "readonly", 0, 0, 0);
    COMMAND("dt.auxseen", aux_was, "readonly", 0, 0, 0);
    COMMAND("dt.type", is_ours, "readonly", 1, 1, 1);
    return REDISMODULE_OK;
}
