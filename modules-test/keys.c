/* Keys and values through the Key API. Numbers in answers of the form [r, errno] are what the API
 * function returned and the errno after it (0 before it).
 *
 *   key.mode rw|r              how the commands below open keys (default rw), to see the errors of
 *                              writing to a key that was opened for reading
 *   key.open k MODE            opens with the number MODE: null, or the key type
 *   key.type k                 KeyType          key.len k              ValueLength
 *   key.name k                 [name, db] as the handle tells them
 *   key.del k                  DeleteKey        key.unlink k           UnlinkKey
 *   key.signal k               SignalModifiedKey
 *   key.get k                  value by StringDMA
 *   key.set k v                StringSet        key.truncate k n       StringTruncate
 *   key.write k offset text    overwrites bytes through StringDMA
 *   key.ttl k / key.expire k ms / key.absttl k / key.abs k unix-ms     Get/Set[Abs]Expire
 *   key.lru k / key.setlru k ms / key.lfu k / key.setlfu k n           [r, value]
 *   key.lpush k head|tail v    key.lpop k head|tail
 *   key.lget k i / key.lset k i v / key.linsert k i v / key.ldel k i
 *   key.hset k FLAGS f v [f v] HashSet with 1 or 2 pairs; the value "(delete)" is HASH_DELETE
 *   key.hget k FLAGS f [f]     HashGet with 1 or 2 fields: [status, value, value]
 *   key.zadd k FLAGS score m   [status, flags out]
 *   key.zincr k FLAGS score m  [status, flags out, new score]
 *   key.zrem k m               [status, deleted]
 *   key.zscore k m             score or null
 *   key.zrange k first|last min max minex maxex     members and scores, walking up or down
 *   key.zlex k first|last min max                   members
 *   key.xadd k FLAGS id f v [f v ...]               the new id, or [r, errno]; id "-" is NULL
 *   key.xdel k id              [r, errno]
 *   key.xrange k FLAGS start end   entries; "-" as start or end is NULL
 *   key.xiterdel k n           iterates and deletes every n-th entry; the number deleted
 *   key.xiter k                errors of the iterator's functions: a list of errnos
 *   key.xtrimlen k FLAGS n / key.xtrimid k FLAGS id     [r, errno] */
#include "testmodule.h"

static int mode = REDISMODULE_READ | REDISMODULE_WRITE;

static RedisModuleKey *open_key(RedisModuleCtx *ctx, RedisModuleString **argv) {
    RedisModuleKey *key = RedisModule_OpenKey(ctx, argv[1], mode);
    errno = 0;
    return key;
}

static int reply_pair(RedisModuleCtx *ctx, long long result) {
    int number = errno;
    RedisModule_ReplyWithArray(ctx, 2);
    RedisModule_ReplyWithLongLong(ctx, result);
    return RedisModule_ReplyWithLongLong(ctx, number);
}

static int set_mode(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 2) return RedisModule_WrongArity(ctx);
    mode = REDISMODULE_READ | (strchr(text_of(argv[1]), 'w') != NULL ? REDISMODULE_WRITE : 0);
    return RedisModule_ReplyWithSimpleString(ctx, "OK");
}

static int open_with(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 3) return RedisModule_WrongArity(ctx);
    RedisModuleKey *key = RedisModule_OpenKey(ctx, argv[1], (int)number_of(argv[2]));
    if (key == NULL) return RedisModule_ReplyWithNull(ctx);
    RedisModule_ReplyWithLongLong(ctx, RedisModule_KeyType(key));
    RedisModule_CloseKey(key);
    return REDISMODULE_OK;
}

/* Commands without a further argument, told apart by their name. */
static int simple(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 2) return RedisModule_WrongArity(ctx);
    const char *name = text_of(argv[0]) + 4;
    if (strcasecmp(name, "signal") == 0)
        return reply_status(ctx, RedisModule_SignalModifiedKey(ctx, argv[1]));
    RedisModuleKey *key = open_key(ctx, argv);
    long long number = 0;
    int status;
    if (strcasecmp(name, "type") == 0) {
        RedisModule_ReplyWithLongLong(ctx, RedisModule_KeyType(key));
    } else if (strcasecmp(name, "len") == 0) {
        RedisModule_ReplyWithLongLong(ctx, (long long)RedisModule_ValueLength(key));
    } else if (strcasecmp(name, "name") == 0) {
        RedisModule_ReplyWithArray(ctx, 2);
        const RedisModuleString *text = RedisModule_GetKeyNameFromModuleKey(key);
        if (text == NULL)
            RedisModule_ReplyWithNull(ctx);
        else
            RedisModule_ReplyWithString(ctx, (RedisModuleString *)text);
        RedisModule_ReplyWithLongLong(ctx, RedisModule_GetDbIdFromModuleKey(key));
    } else if (key == NULL) {
        return RedisModule_ReplyWithNull(ctx);
    } else if (strcasecmp(name, "del") == 0) {
        reply_status(ctx, RedisModule_DeleteKey(key));
    } else if (strcasecmp(name, "unlink") == 0) {
        reply_status(ctx, RedisModule_UnlinkKey(key));
    } else if (strcasecmp(name, "get") == 0) {
        size_t len;
        const char *text = RedisModule_StringDMA(key, &len, REDISMODULE_READ);
        if (text == NULL)
            RedisModule_ReplyWithNull(ctx);
        else
            RedisModule_ReplyWithStringBuffer(ctx, text, len);
    } else if (strcasecmp(name, "ttl") == 0) {
        RedisModule_ReplyWithLongLong(ctx, RedisModule_GetExpire(key));
    } else if (strcasecmp(name, "absttl") == 0) {
        RedisModule_ReplyWithLongLong(ctx, RedisModule_GetAbsExpire(key));
    } else {
        mstime_t idle = -1;
        if (strcasecmp(name, "lru") == 0) {
            status = RedisModule_GetLRU(key, &idle);
            number = idle;
        } else {
            status = RedisModule_GetLFU(key, &number);
        }
        RedisModule_ReplyWithArray(ctx, 2);
        RedisModule_ReplyWithLongLong(ctx, status);
        RedisModule_ReplyWithLongLong(ctx, number);
    }
    RedisModule_CloseKey(key);
    return REDISMODULE_OK;
}

/* Commands with one further argument, told apart by their name. */
static int with_value(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 3) return RedisModule_WrongArity(ctx);
    const char *name = text_of(argv[0]) + 4;
    RedisModuleKey *key = open_key(ctx, argv);
    if (key == NULL) return RedisModule_ReplyWithNull(ctx);
    long long number = number_of(argv[2]);
    int status = REDISMODULE_ERR;
    if (strcasecmp(name, "set") == 0) status = RedisModule_StringSet(key, argv[2]);
    if (strcasecmp(name, "truncate") == 0) status = RedisModule_StringTruncate(key, (size_t)number);
    if (strcasecmp(name, "expire") == 0) status = RedisModule_SetExpire(key, number);
    if (strcasecmp(name, "abs") == 0) status = RedisModule_SetAbsExpire(key, number);
    if (strcasecmp(name, "setlru") == 0) status = RedisModule_SetLRU(key, number);
    if (strcasecmp(name, "setlfu") == 0) status = RedisModule_SetLFU(key, number);
    reply_status(ctx, status);
    RedisModule_CloseKey(key);
    return REDISMODULE_OK;
}

static int overwrite(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 4) return RedisModule_WrongArity(ctx);
    RedisModuleKey *key = open_key(ctx, argv);
    size_t len, add, offset = (size_t)number_of(argv[2]);
    const char *text = RedisModule_StringPtrLen(argv[3], &add);
    char *at = RedisModule_StringDMA(key, &len, REDISMODULE_WRITE);
    if (at == NULL || offset + add > len) {
        RedisModule_ReplyWithError(ctx, "ERR no room");
    } else {
        memcpy(at + offset, text, add);
        RedisModule_ReplyWithSimpleString(ctx, "OK");
    }
    RedisModule_CloseKey(key);
    return REDISMODULE_OK;
}

static int end_of(const RedisModuleString *str) {
    return strcmp(text_of(str), "head") == 0 ? REDISMODULE_LIST_HEAD : REDISMODULE_LIST_TAIL;
}

static int list_push(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 4) return RedisModule_WrongArity(ctx);
    RedisModuleKey *key = open_key(ctx, argv);
    reply_pair(ctx, RedisModule_ListPush(key, end_of(argv[2]), argv[3]));
    RedisModule_CloseKey(key);
    return REDISMODULE_OK;
}

/* Answers a value and frees it; null gives the errno. */
static void reply_value(RedisModuleCtx *ctx, RedisModuleString *value) {
    if (value == NULL)
        reply_pair(ctx, -1);
    else
        reply_and_free(ctx, value);
}

static int list_pop(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 3) return RedisModule_WrongArity(ctx);
    RedisModuleKey *key = open_key(ctx, argv);
    reply_value(ctx, RedisModule_ListPop(key, end_of(argv[2])));
    RedisModule_CloseKey(key);
    return REDISMODULE_OK;
}

static int list_get(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 3) return RedisModule_WrongArity(ctx);
    RedisModuleKey *key = open_key(ctx, argv);
    reply_value(ctx, RedisModule_ListGet(key, (long)number_of(argv[2])));
    RedisModule_CloseKey(key);
    return REDISMODULE_OK;
}

static int list_edit(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    const char *name = text_of(argv[0]) + 4;
    if (argc != (strcasecmp(name, "ldel") == 0 ? 3 : 4)) return RedisModule_WrongArity(ctx);
    RedisModuleKey *key = open_key(ctx, argv);
    long index = (long)number_of(argv[2]);
    int status;
    if (strcasecmp(name, "ldel") == 0) {
        status = RedisModule_ListDelete(key, index);
    } else if (key == NULL) { /* the other two do not allow a NULL key */
        return RedisModule_ReplyWithNull(ctx);
    } else if (strcasecmp(name, "lset") == 0) {
        status = RedisModule_ListSet(key, index, argv[3]);
    } else {
        status = RedisModule_ListInsert(key, index, argv[3]);
    }
    reply_pair(ctx, status);
    RedisModule_CloseKey(key);
    return REDISMODULE_OK;
}

static RedisModuleString *hash_value(RedisModuleString *str) {
    return strcmp(text_of(str), "(delete)") == 0 ? REDISMODULE_HASH_DELETE : str;
}

static int hash_set(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 5 && argc != 7) return RedisModule_WrongArity(ctx);
    RedisModuleKey *key = open_key(ctx, argv);
    int flags = (int)number_of(argv[2]), count;
    RedisModuleString *first = hash_value(argv[4]);
    if (argc == 5) {
        if (flags & REDISMODULE_HASH_CFIELDS)
            count = RedisModule_HashSet(key, flags, text_of(argv[3]), first, NULL);
        else
            count = RedisModule_HashSet(key, flags, argv[3], first, NULL);
    } else {
        RedisModuleString *second = hash_value(argv[6]);
        if (flags & REDISMODULE_HASH_CFIELDS)
            count = RedisModule_HashSet(key, flags, text_of(argv[3]), first, text_of(argv[5]),
                                        second, NULL);
        else
            count = RedisModule_HashSet(key, flags, argv[3], first, argv[5], second, NULL);
    }
    reply_pair(ctx, count);
    RedisModule_CloseKey(key);
    return REDISMODULE_OK;
}

static int hash_get(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 4 && argc != 5) return RedisModule_WrongArity(ctx);
    RedisModuleKey *key = open_key(ctx, argv);
    if (key == NULL) return RedisModule_ReplyWithNull(ctx);
    int flags = (int)number_of(argv[2]), status, exists[2] = {-1, -1};
    RedisModuleString *values[2] = {NULL, NULL};
    void *to[2] = {&values[0], &values[1]};
    if (flags & REDISMODULE_HASH_EXISTS) to[0] = &exists[0], to[1] = &exists[1];
    const void *fields[2] = {argv[3], argc == 5 ? argv[4] : NULL};
    if (flags & REDISMODULE_HASH_CFIELDS) {
        fields[0] = text_of(argv[3]);
        if (argc == 5) fields[1] = text_of(argv[4]);
    }
    if (argc == 4)
        status = RedisModule_HashGet(key, flags, fields[0], to[0], NULL);
    else
        status = RedisModule_HashGet(key, flags, fields[0], to[0], fields[1], to[1], NULL);
    RedisModule_ReplyWithArray(ctx, argc - 2);
    RedisModule_ReplyWithLongLong(ctx, status);
    for (int i = 0; i < argc - 3; i++) {
        if (flags & REDISMODULE_HASH_EXISTS)
            RedisModule_ReplyWithLongLong(ctx, exists[i]);
        else
            reply_and_free(ctx, values[i]);
    }
    RedisModule_CloseKey(key);
    return REDISMODULE_OK;
}

static int zset_add(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 5) return RedisModule_WrongArity(ctx);
    int increment = strcasecmp(text_of(argv[0]), "key.zincr") == 0;
    RedisModuleKey *key = open_key(ctx, argv);
    if (key == NULL) return RedisModule_ReplyWithNull(ctx);
    int flags = (int)number_of(argv[2]), status;
    double score = 0, new_score = -1;
    RedisModule_StringToDouble(argv[3], &score);
    if (increment)
        status = RedisModule_ZsetIncrby(key, score, argv[4], &flags, &new_score);
    else
        status = RedisModule_ZsetAdd(key, score, argv[4], &flags);
    RedisModule_ReplyWithArray(ctx, increment ? 3 : 2);
    RedisModule_ReplyWithLongLong(ctx, status);
    RedisModule_ReplyWithLongLong(ctx, status == REDISMODULE_OK ? flags : -1);
    if (increment) RedisModule_ReplyWithDouble(ctx, new_score);
    RedisModule_CloseKey(key);
    return REDISMODULE_OK;
}

static int zset_rem(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 3) return RedisModule_WrongArity(ctx);
    RedisModuleKey *key = open_key(ctx, argv);
    if (key == NULL) return RedisModule_ReplyWithNull(ctx);
    int deleted = -1, status = RedisModule_ZsetRem(key, argv[2], &deleted);
    RedisModule_ReplyWithArray(ctx, 2);
    RedisModule_ReplyWithLongLong(ctx, status);
    RedisModule_ReplyWithLongLong(ctx, deleted);
    RedisModule_CloseKey(key);
    return REDISMODULE_OK;
}

static int zset_score(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 3) return RedisModule_WrongArity(ctx);
    RedisModuleKey *key = open_key(ctx, argv);
    double score;
    if (key == NULL || RedisModule_ZsetScore(key, argv[2], &score) == REDISMODULE_ERR)
        RedisModule_ReplyWithNull(ctx);
    else
        RedisModule_ReplyWithDouble(ctx, score);
    RedisModule_CloseKey(key);
    return REDISMODULE_OK;
}

static int zset_walk(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    int by_score = strcasecmp(text_of(argv[0]), "key.zrange") == 0;
    if (argc != (by_score ? 7 : 5)) return RedisModule_WrongArity(ctx);
    RedisModuleKey *key = open_key(ctx, argv);
    if (key == NULL) return RedisModule_ReplyWithNull(ctx);
    int last = strcmp(text_of(argv[2]), "last") == 0, status;
    if (by_score) {
        double min = 0, max = 0;
        RedisModule_StringToDouble(argv[3], &min);
        RedisModule_StringToDouble(argv[4], &max);
        int minex = (int)number_of(argv[5]), maxex = (int)number_of(argv[6]);
        status = last ? RedisModule_ZsetLastInScoreRange(key, min, max, minex, maxex)
                      : RedisModule_ZsetFirstInScoreRange(key, min, max, minex, maxex);
    } else {
        status = last ? RedisModule_ZsetLastInLexRange(key, argv[3], argv[4])
                      : RedisModule_ZsetFirstInLexRange(key, argv[3], argv[4]);
    }
    if (status == REDISMODULE_ERR) {
        RedisModule_CloseKey(key);
        return RedisModule_ReplyWithError(ctx, "ERR no such range");
    }
    long count = 0;
    RedisModule_ReplyWithArray(ctx, REDISMODULE_POSTPONED_LEN);
    while (!RedisModule_ZsetRangeEndReached(key)) {
        double score;
        reply_and_free(ctx, RedisModule_ZsetRangeCurrentElement(key, &score));
        RedisModule_ReplyWithDouble(ctx, score);
        count += 2;
        if (last)
            RedisModule_ZsetRangePrev(key);
        else
            RedisModule_ZsetRangeNext(key);
    }
    RedisModule_ZsetRangeStop(key);
    RedisModule_ReplySetArrayLength(ctx, count);
    RedisModule_CloseKey(key);
    return REDISMODULE_OK;
}

/* Reads an id; "-" stands for NULL. */
static RedisModuleStreamID *stream_id(const RedisModuleString *str, RedisModuleStreamID *id) {
    if (strcmp(text_of(str), "-") == 0) return NULL;
    if (RedisModule_StringToStreamID(str, id) == REDISMODULE_ERR) id->ms = id->seq = 0;
    return id;
}

static void reply_id(RedisModuleCtx *ctx, const RedisModuleStreamID *id) {
    reply_and_free(ctx, RedisModule_CreateStringFromStreamID(ctx, id));
}

static int stream_add(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc < 6) return RedisModule_WrongArity(ctx);
    RedisModuleKey *key = open_key(ctx, argv);
    RedisModuleStreamID id = {0, 0}, *which = stream_id(argv[3], &id);
    int flags = (int)number_of(argv[2]);
    if (RedisModule_StreamAdd(key, flags, which, argv + 4, (argc - 4) / 2) == REDISMODULE_ERR)
        reply_pair(ctx, REDISMODULE_ERR);
    else if (which == NULL)
        RedisModule_ReplyWithSimpleString(ctx, "OK");
    else
        reply_id(ctx, &id);
    RedisModule_CloseKey(key);
    return REDISMODULE_OK;
}

static int stream_del(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 3) return RedisModule_WrongArity(ctx);
    RedisModuleKey *key = open_key(ctx, argv);
    RedisModuleStreamID id;
    reply_pair(ctx, RedisModule_StreamDelete(key, stream_id(argv[2], &id)));
    RedisModule_CloseKey(key);
    return REDISMODULE_OK;
}

static int stream_range(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 5) return RedisModule_WrongArity(ctx);
    RedisModuleKey *key = open_key(ctx, argv);
    RedisModuleStreamID start, end, id;
    if (RedisModule_StreamIteratorStart(key, (int)number_of(argv[2]), stream_id(argv[3], &start),
                                        stream_id(argv[4], &end)) == REDISMODULE_ERR) {
        reply_pair(ctx, REDISMODULE_ERR);
        RedisModule_CloseKey(key);
        return REDISMODULE_OK;
    }
    long fields, entries = 0;
    RedisModule_ReplyWithArray(ctx, REDISMODULE_POSTPONED_LEN);
    while (RedisModule_StreamIteratorNextID(key, &id, &fields) == REDISMODULE_OK) {
        RedisModuleString *field, *value;
        RedisModule_ReplyWithArray(ctx, 2);
        reply_id(ctx, &id);
        RedisModule_ReplyWithArray(ctx, fields * 2);
        while (RedisModule_StreamIteratorNextField(key, &field, &value) == REDISMODULE_OK) {
            reply_and_free(ctx, field);
            reply_and_free(ctx, value);
        }
        entries++;
    }
    RedisModule_ReplySetArrayLength(ctx, entries);
    RedisModule_StreamIteratorStop(key);
    RedisModule_CloseKey(key);
    return REDISMODULE_OK;
}

static int stream_iterate_and_delete(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 3) return RedisModule_WrongArity(ctx);
    RedisModuleKey *key = open_key(ctx, argv);
    if (RedisModule_StreamIteratorStart(key, 0, NULL, NULL) == REDISMODULE_ERR) {
        reply_pair(ctx, REDISMODULE_ERR);
        RedisModule_CloseKey(key);
        return REDISMODULE_OK;
    }
    long long step = number_of(argv[2]), seen = 0, deleted = 0;
    if (step < 1) step = 1;
    RedisModuleString *field, *value;
    while (RedisModule_StreamIteratorNextID(key, NULL, NULL) == REDISMODULE_OK) {
        /* Redis 7.4.1 ends in an assertion when an entry is deleted before its fields are read. */
        while (RedisModule_StreamIteratorNextField(key, &field, &value) == REDISMODULE_OK) {
            RedisModule_FreeString(ctx, field);
            RedisModule_FreeString(ctx, value);
        }
        if (++seen % step == 0 && RedisModule_StreamIteratorDelete(key) == REDISMODULE_OK)
            deleted++;
    }
    RedisModule_ReplyWithLongLong(ctx, deleted);
    RedisModule_CloseKey(key); /* ends the iterator too */
    return REDISMODULE_OK;
}

static int stream_iterator_errors(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 2) return RedisModule_WrongArity(ctx);
    RedisModuleKey *key = open_key(ctx, argv);
    RedisModuleStreamID id;
    RedisModuleString *field, *value;
    int numbers[8], n = 0;
#define TRY(call) (errno = 0, (void)(call), numbers[n++] = errno)
    TRY(RedisModule_StreamIteratorStop(key));
    TRY(RedisModule_StreamIteratorNextID(key, &id, NULL));
    TRY(RedisModule_StreamIteratorStart(key, 4, NULL, NULL));
    TRY(RedisModule_StreamIteratorStart(key, 0, NULL, NULL));
    TRY(RedisModule_StreamIteratorStart(key, 0, NULL, NULL));
    TRY(RedisModule_StreamIteratorNextField(key, &field, &value));
    TRY(RedisModule_StreamIteratorDelete(key));
    TRY(RedisModule_StreamIteratorStop(key));
#undef TRY
    RedisModule_ReplyWithArray(ctx, n);
    for (int i = 0; i < n; i++) RedisModule_ReplyWithLongLong(ctx, numbers[i]);
    RedisModule_CloseKey(key);
    return REDISMODULE_OK;
}

static int stream_trim(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 4) return RedisModule_WrongArity(ctx);
    RedisModuleKey *key = open_key(ctx, argv);
    int flags = (int)number_of(argv[2]);
    RedisModuleStreamID id;
    long long removed =
        strcasecmp(text_of(argv[0]), "key.xtrimlen") == 0
            ? RedisModule_StreamTrimByLength(key, flags, number_of(argv[3]))
            : RedisModule_StreamTrimByID(key, flags, stream_id(argv[3], &id));
    reply_pair(ctx, removed);
    RedisModule_CloseKey(key);
    return REDISMODULE_OK;
}

int RedisModule_OnLoad(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (RedisModule_Init(ctx, "keys", 1, REDISMODULE_APIVER_1) == REDISMODULE_ERR)
        return REDISMODULE_ERR;
    COMMAND("key.mode", set_mode, "readonly", 0, 0, 0);
    COMMAND("key.open", open_with, "write", 1, 1, 1);
    static const char *const simple_names[] = {"key.type", "key.len",    "key.name", "key.del",
                                               "key.unlink", "key.signal", "key.get",  "key.ttl",
                                               "key.absttl", "key.lru",    "key.lfu"};
    for (size_t i = 0; i < sizeof(simple_names) / sizeof(*simple_names); i++)
        COMMAND(simple_names[i], simple, "write", 1, 1, 1);
    static const char *const value_names[] = {"key.set", "key.truncate", "key.expire",
                                              "key.abs", "key.setlru",   "key.setlfu"};
    for (size_t i = 0; i < sizeof(value_names) / sizeof(*value_names); i++)
        COMMAND(value_names[i], with_value, "write", 1, 1, 1);
    COMMAND("key.write", overwrite, "write", 1, 1, 1);
    COMMAND("key.lpush", list_push, "write", 1, 1, 1);
    COMMAND("key.lpop", list_pop, "write", 1, 1, 1);
    COMMAND("key.lget", list_get, "write", 1, 1, 1);
    COMMAND("key.lset", list_edit, "write", 1, 1, 1);
    COMMAND("key.linsert", list_edit, "write", 1, 1, 1);
    COMMAND("key.ldel", list_edit, "write", 1, 1, 1);
    COMMAND("key.hset", hash_set, "write", 1, 1, 1);
    COMMAND("key.hget", hash_get, "write", 1, 1, 1);
    COMMAND("key.zadd", zset_add, "write", 1, 1, 1);
    COMMAND("key.zincr", zset_add, "write", 1, 1, 1);
    COMMAND("key.zrem", zset_rem, "write", 1, 1, 1);
    COMMAND("key.zscore", zset_score, "write", 1, 1, 1);
    COMMAND("key.zrange", zset_walk, "write", 1, 1, 1);
    COMMAND("key.zlex", zset_walk, "write", 1, 1, 1);
    COMMAND("key.xadd", stream_add, "write", 1, 1, 1);
    COMMAND("key.xdel", stream_del, "write", 1, 1, 1);
    COMMAND("key.xrange", stream_range, "write", 1, 1, 1);
    COMMAND("key.xiterdel", stream_iterate_and_delete, "write", 1, 1, 1);
    COMMAND("key.xiter", stream_iterator_errors, "write", 1, 1, 1);
    COMMAND("key.xtrimlen", stream_trim, "write", 1, 1, 1);
    COMMAND("key.xtrimid", stream_trim, "write", 1, 1, 1);
    return REDISMODULE_OK;
}
