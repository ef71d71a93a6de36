/* Replies, errors, RM_Call, databases, facts about the context and the client.
 *
 *   basic.reply KIND ...       one reply of the given kind:
 *       int N | double D | longdouble D | bool 0|1 | null | nullarray | emptyarray | emptystring
 *       simple TEXT | string S | buffer S | cstring S | verbatim S | verbatimtype FORMAT S
 *       bignumber DIGITS | error TEXT | errorformat TEXT N
 *       array N | set N         the integers 0 .. N-1
 *       map N                   i -> i * 1.5
 *       attribute N             an attribute map of N integers before the reply "OK"
 *       postponed N             an array of unknown length, in it a map and a set of unknown length
 *   basic.replies              no reply at all
 *   basic.arity                wrong number of arguments, whatever they are
 *   basic.call FORMAT command [arg ...]   RM_Call with the arguments as a vector (letter v); FORMAT
 *                              has flag letters only ("-": none); the reply is passed through
 *                              ReplyWithCallReply; NULL gives "-CALL errno N"
 *   basic.calltype FORMAT command [arg ...]   as basic.call, but asks for the type
 *                              first: Redis 7.4 refuses RESP3 only in a reply that was looked into
 *   basic.walk FORMAT command [arg ...]   as above, but the reply is taken apart and told as
 *                              nested arrays [type, value]
 *   basic.letters key buffer number       SET key "<buffer>" with s and b, APPEND number with l,
 *                              GET with c; answers the value
 *   basic.proto command [arg ...]         CallReplyProto of the reply as a bulk string
 *   basic.select db            SelectDb and GetSelectedDb
 *   basic.flags                GetContextFlags, as far as Redis 7.4 has them
 *   basic.client               [id, name or null, user, db, flags, address:port is not "" ]
 *   basic.replicate key value  Replicate "SET" with "ss", then "INCR" of basic:counter
 *   basic.verbatim key value   SET through RM_Call, then ReplicateVerbatim
 *   basic.alloc                allocator checks; "OK" or the name of what failed
 *   basic.getapi name          1 if GetApi serves RedisModule_<name>, else 0
 *   basic.version              [server version, type method version]
 *   basic.argv ...             its arguments, argv[0] included
 *   basic.parent sub|other     a container with two subcommands, each answering its arguments
 *   basic.keys [key value]...  getkeys-api: every second argument is a key; answers their number
 *   basic.publish channel message   PublishMessage
 *   basic.keyexists key        KeyExists
 *   basic.random               RandomKey or null
 *   basic.dbsize               DbSize
 *   basic.flush async          ResetDataset(0, async)
 *   basic.assert 0|1           RedisModule_Assert of the argument */
#include "testmodule.h"

static int reply(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc < 2) return RedisModule_WrongArity(ctx);
    const char *kind = text_of(argv[1]);
    size_t len = 0;
    const char *text = argc > 2 ? RedisModule_StringPtrLen(argv[2], &len) : "";
    long long n = argc > 2 ? number_of(argv[2]) : 0;
#define IS(name) (strcmp(kind, name) == 0)
    if (IS("int")) return RedisModule_ReplyWithLongLong(ctx, n);
    if (IS("double")) {
        double d = 0;
        RedisModule_StringToDouble(argv[2], &d);
        return RedisModule_ReplyWithDouble(ctx, d);
    }
    if (IS("longdouble")) {
        long double d = 0;
        RedisModule_StringToLongDouble(argv[2], &d);
        return RedisModule_ReplyWithLongDouble(ctx, d);
    }
    if (IS("bool")) return RedisModule_ReplyWithBool(ctx, (int)n);
    if (IS("null")) return RedisModule_ReplyWithNull(ctx);
    if (IS("nullarray")) return RedisModule_ReplyWithNullArray(ctx);
    if (IS("emptyarray")) return RedisModule_ReplyWithEmptyArray(ctx);
    if (IS("emptystring")) return RedisModule_ReplyWithEmptyString(ctx);
    if (IS("simple")) return RedisModule_ReplyWithSimpleString(ctx, text);
    if (IS("string")) return RedisModule_ReplyWithString(ctx, argv[2]);
    if (IS("buffer")) return RedisModule_ReplyWithStringBuffer(ctx, text, len);
    if (IS("cstring")) return RedisModule_ReplyWithCString(ctx, text);
    if (IS("verbatim")) return RedisModule_ReplyWithVerbatimString(ctx, text, len);
    if (IS("verbatimtype")) {
        const char *content = RedisModule_StringPtrLen(argv[3], &len);
        return RedisModule_ReplyWithVerbatimStringType(ctx, content, len, text);
    }
    if (IS("bignumber")) return RedisModule_ReplyWithBigNumber(ctx, text, len);
    if (IS("error")) return RedisModule_ReplyWithError(ctx, text);
    if (IS("errorformat"))
        return RedisModule_ReplyWithErrorFormat(ctx, "ERR %s: %lld of %.1f", text,
                                                number_of(argv[3]), 2.5);
    if (IS("array") || IS("set")) {
        if (IS("array"))
            RedisModule_ReplyWithArray(ctx, n);
        else
            RedisModule_ReplyWithSet(ctx, n);
        for (long long i = 0; i < n; i++) RedisModule_ReplyWithLongLong(ctx, i);
        return REDISMODULE_OK;
    }
    if (IS("map")) {
        RedisModule_ReplyWithMap(ctx, n);
        for (long long i = 0; i < n; i++) {
            RedisModule_ReplyWithLongLong(ctx, i);
            RedisModule_ReplyWithDouble(ctx, (double)i * 1.5);
        }
        return REDISMODULE_OK;
    }
    if (IS("attribute")) {
        if (RedisModule_ReplyWithAttribute(ctx, n) == REDISMODULE_ERR)
            return RedisModule_ReplyWithError(ctx, "ERR attributes need RESP3");
        for (long long i = 0; i < n; i++) {
            RedisModule_ReplyWithLongLong(ctx, i);
            RedisModule_ReplyWithLongLong(ctx, -i);
        }
        return RedisModule_ReplyWithSimpleString(ctx, "OK");
    }
    if (IS("postponed")) {
        RedisModule_ReplyWithArray(ctx, REDISMODULE_POSTPONED_LEN);
        for (long long i = 0; i < n; i++) RedisModule_ReplyWithLongLong(ctx, i);
        RedisModule_ReplyWithMap(ctx, REDISMODULE_POSTPONED_LEN);
        RedisModule_ReplyWithCString(ctx, "key");
        RedisModule_ReplyWithSet(ctx, REDISMODULE_POSTPONED_LEN);
        RedisModule_ReplyWithCString(ctx, "member");
        RedisModule_ReplySetSetLength(ctx, 1);
        RedisModule_ReplySetMapLength(ctx, 1);
        RedisModule_ReplySetArrayLength(ctx, n + 1);
        return REDISMODULE_OK;
    }
#undef IS
    return RedisModule_ReplyWithError(ctx, "ERR unknown kind of reply");
}

static int no_reply(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    return REDISMODULE_OK;
}

static int wrong_arity(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    return RedisModule_WrongArity(ctx);
}

/* RM_Call of argv[2..] with the flag letters of argv[1]. */
static RedisModuleCallReply *call_from(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    char format[32] = "v";
    const char *flags = text_of(argv[1]);
    if (strcmp(flags, "-") != 0) strncat(format, flags, sizeof(format) - 2);
    errno = 0;
    return RedisModule_Call(ctx, text_of(argv[2]), format, argv + 3, (size_t)argc - 3);
}

static int reply_call_failed(RedisModuleCtx *ctx) {
    return RedisModule_ReplyWithErrorFormat(ctx, "CALL errno %d", errno);
}

static int call(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc < 3) return RedisModule_WrongArity(ctx);
    RedisModuleCallReply *reply = call_from(ctx, argv, argc);
    if (reply == NULL) return reply_call_failed(ctx);
    if (strcasecmp(text_of(argv[0]), "basic.calltype") == 0) RedisModule_CallReplyType(reply);
    if (RedisModule_ReplyWithCallReply(ctx, reply) == REDISMODULE_ERR)
        RedisModule_ReplyWithError(ctx, "ERR a RESP3 reply does not fit a RESP2 client");
    RedisModule_FreeCallReply(reply);
    return REDISMODULE_OK;
}

static void tell(RedisModuleCtx *ctx, RedisModuleCallReply *reply);

static void tell_all(RedisModuleCtx *ctx, RedisModuleCallReply *reply,
                     RedisModuleCallReply *(*element)(RedisModuleCallReply *, size_t)) {
    size_t len = RedisModule_CallReplyLength(reply);
    RedisModule_ReplyWithArray(ctx, (long)len);
    for (size_t i = 0; i < len; i++) tell(ctx, element(reply, i));
}

static void tell(RedisModuleCtx *ctx, RedisModuleCallReply *reply) {
    int type = RedisModule_CallReplyType(reply);
    size_t len;
    const char *text, *format;
    RedisModule_ReplyWithArray(ctx, 2);
    switch (type) {
    case REDISMODULE_REPLY_STRING:
    case REDISMODULE_REPLY_ERROR:
        RedisModule_ReplyWithCString(ctx, type == REDISMODULE_REPLY_STRING ? "string" : "error");
        text = RedisModule_CallReplyStringPtr(reply, &len);
        RedisModule_ReplyWithStringBuffer(ctx, text, len);
        break;
    case REDISMODULE_REPLY_INTEGER:
        RedisModule_ReplyWithCString(ctx, "integer");
        RedisModule_ReplyWithLongLong(ctx, RedisModule_CallReplyInteger(reply));
        break;
    case REDISMODULE_REPLY_DOUBLE:
        RedisModule_ReplyWithCString(ctx, "double");
        RedisModule_ReplyWithDouble(ctx, RedisModule_CallReplyDouble(reply));
        break;
    case REDISMODULE_REPLY_BOOL:
        RedisModule_ReplyWithCString(ctx, "bool");
        RedisModule_ReplyWithLongLong(ctx, RedisModule_CallReplyBool(reply));
        break;
    case REDISMODULE_REPLY_BIG_NUMBER:
        RedisModule_ReplyWithCString(ctx, "bignumber");
        text = RedisModule_CallReplyBigNumber(reply, &len);
        RedisModule_ReplyWithStringBuffer(ctx, text, len);
        break;
    case REDISMODULE_REPLY_VERBATIM_STRING:
        RedisModule_ReplyWithCString(ctx, "verbatim");
        text = RedisModule_CallReplyVerbatim(reply, &len, &format);
        RedisModule_ReplyWithArray(ctx, 2);
        RedisModule_ReplyWithStringBuffer(ctx, format, 3);
        RedisModule_ReplyWithStringBuffer(ctx, text, len);
        break;
    case REDISMODULE_REPLY_ARRAY:
        RedisModule_ReplyWithCString(ctx, "array");
        tell_all(ctx, reply, RedisModule_CallReplyArrayElement);
        break;
    case REDISMODULE_REPLY_SET:
        RedisModule_ReplyWithCString(ctx, "set");
        tell_all(ctx, reply, RedisModule_CallReplySetElement);
        break;
    case REDISMODULE_REPLY_MAP:
        RedisModule_ReplyWithCString(ctx, "map");
        len = RedisModule_CallReplyLength(reply);
        RedisModule_ReplyWithArray(ctx, (long)len * 2);
        for (size_t i = 0; i < len; i++) {
            RedisModuleCallReply *key, *value;
            RedisModule_CallReplyMapElement(reply, i, &key, &value);
            tell(ctx, key);
            tell(ctx, value);
        }
        break;
    case REDISMODULE_REPLY_NULL:
        RedisModule_ReplyWithCString(ctx, "null");
        RedisModule_ReplyWithNull(ctx);
        break;
    default:
        RedisModule_ReplyWithCString(ctx, "other");
        RedisModule_ReplyWithLongLong(ctx, type);
    }
}

static int walk(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc < 3) return RedisModule_WrongArity(ctx);
    RedisModuleCallReply *reply = call_from(ctx, argv, argc);
    if (reply == NULL) return reply_call_failed(ctx);
    tell(ctx, reply);
    RedisModule_FreeCallReply(reply);
    return REDISMODULE_OK;
}

static int letters(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 4) return RedisModule_WrongArity(ctx);
    RedisModule_AutoMemory(ctx);
    size_t len;
    const char *buf = RedisModule_StringPtrLen(argv[2], &len);
    RedisModule_Call(ctx, "SET", "!sb", argv[1], buf, len);
    RedisModule_Call(ctx, "APPEND", "!sl", argv[1], number_of(argv[3]));
    RedisModuleCallReply *value = RedisModule_Call(ctx, "GET", "c", text_of(argv[1]));
    RedisModuleString *str = RedisModule_CreateStringFromCallReply(value);
    /* A key with a NUL byte ends there for the letter c, so that there may be no value. */
    return str == NULL ? RedisModule_ReplyWithNull(ctx) : RedisModule_ReplyWithString(ctx, str);
}

static int proto(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc < 2) return RedisModule_WrongArity(ctx);
    RedisModuleCallReply *reply =
        RedisModule_Call(ctx, text_of(argv[1]), "v", argv + 2, (size_t)argc - 2);
    if (reply == NULL) return reply_call_failed(ctx);
    size_t len;
    const char *text = RedisModule_CallReplyProto(reply, &len);
    RedisModule_ReplyWithStringBuffer(ctx, text, len);
    RedisModule_FreeCallReply(reply);
    return REDISMODULE_OK;
}

static int select_db(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 2) return RedisModule_WrongArity(ctx);
    RedisModule_ReplyWithArray(ctx, 2);
    RedisModule_ReplyWithLongLong(ctx, RedisModule_SelectDb(ctx, (int)number_of(argv[1])));
    return RedisModule_ReplyWithLongLong(ctx, RedisModule_GetSelectedDb(ctx));
}

static int context_flags(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    return RedisModule_ReplyWithLongLong(ctx, RedisModule_GetContextFlags(ctx) & 0x1ffffff);
}

static int client(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    unsigned long long id = RedisModule_GetClientId(ctx);
    RedisModuleClientInfo info = REDISMODULE_CLIENTINFO_INITIALIZER_V1;
    if (RedisModule_GetClientInfoById(&info, id) == REDISMODULE_ERR)
        return RedisModule_ReplyWithError(ctx, "ERR no such client");
    RedisModule_ReplyWithArray(ctx, 6);
    RedisModule_ReplyWithLongLong(ctx, info.id == id);
    reply_and_free(ctx, RedisModule_GetClientNameById(ctx, id));
    reply_and_free(ctx, RedisModule_GetClientUserNameById(ctx, id));
    RedisModule_ReplyWithLongLong(ctx, info.db);
    RedisModule_ReplyWithLongLong(ctx, (long long)info.flags);
    return RedisModule_ReplyWithLongLong(ctx, info.addr[0] != '\0' && info.port != 0);
}

static int replicate(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 3) return RedisModule_WrongArity(ctx);
    RedisModule_FreeCallReply(RedisModule_Call(ctx, "SET", "ss", argv[1], argv[2]));
    RedisModule_Replicate(ctx, "SET", "ss", argv[1], argv[2]);
    RedisModule_FreeCallReply(RedisModule_Call(ctx, "INCR", "c!", "basic:counter"));
    return RedisModule_ReplyWithSimpleString(ctx, "OK");
}

static int verbatim(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 3) return RedisModule_WrongArity(ctx);
    RedisModule_FreeCallReply(RedisModule_Call(ctx, "SET", "ss", argv[1], argv[2]));
    return reply_status(ctx, RedisModule_ReplicateVerbatim(ctx));
}

static const char *allocator_fault(RedisModuleCtx *ctx) {
    for (size_t align = 16; align <= 4096; align *= 2) {
        for (size_t times = 1; times <= 5; times += 2) {
            char *p = RedisModule_Alloc(align * times);
            if ((uintptr_t)p % align != 0) return "alignment";
            memset(p, 1, align * times);
            RedisModule_Free(p);
        }
    }
    void *zero = RedisModule_Alloc(0);
    if (zero == NULL) return "Alloc(0)";
    RedisModule_Free(zero);
    RedisModule_Free(NULL);
    char *p = RedisModule_Calloc(10, 10);
    for (int i = 0; i < 100; i++)
        if (p[i] != 0) return "Calloc";
    memcpy(p, "0123456789", 10);
    p = RedisModule_Realloc(p, 100000);
    if (memcmp(p, "0123456789", 10) != 0) return "Realloc";
    if (RedisModule_MallocSize(p) < 100000) return "MallocSize";
    if (RedisModule_MallocUsableSize(p) < 100000) return "MallocUsableSize";
    RedisModule_Free(p);
    char *copy = RedisModule_Strdup("copied");
    if (strcmp(copy, "copied") != 0) return "Strdup";
    RedisModule_Free(copy);
    if (RedisModule_TryAlloc(SIZE_MAX / 4) != NULL) return "TryAlloc";
    p = RedisModule_TryAlloc(10);
    p = RedisModule_TryRealloc(p, 20);
    RedisModule_Free(p);
    p = RedisModule_TryCalloc(3, 7);
    if (p == NULL || p[20] != 0) return "TryCalloc";
    RedisModule_Free(p);
    for (size_t i = 1; i < 3000; i += 7) memset(RedisModule_PoolAlloc(ctx, i), 2, i);
    return NULL;
}

static int alloc(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    const char *fault = allocator_fault(ctx);
    return RedisModule_ReplyWithSimpleString(ctx, fault == NULL ? "OK" : fault);
}

static int getapi(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 2) return RedisModule_WrongArity(ctx);
    RedisModuleString *name =
        RedisModule_CreateStringPrintf(ctx, "RedisModule_%s", text_of(argv[1]));
    void *untouched = &untouched, *target = untouched;
    int status = RedisModule_GetApi(text_of(name), &target);
    RedisModule_FreeString(ctx, name);
    if (status == REDISMODULE_OK && (target == NULL || target == untouched))
        return RedisModule_ReplyWithError(ctx, "ERR found, but no address");
    if (status != REDISMODULE_OK && target != untouched)
        return RedisModule_ReplyWithError(ctx, "ERR not found, but the target was written");
    return RedisModule_ReplyWithLongLong(ctx, status == REDISMODULE_OK);
}

static int version(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    RedisModule_ReplyWithArray(ctx, 2);
    RedisModule_ReplyWithLongLong(ctx, RedisModule_GetServerVersion());
    return RedisModule_ReplyWithLongLong(ctx, RedisModule_GetTypeMethodVersion());
}

static int arguments(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    RedisModule_ReplyWithArray(ctx, argc);
    for (int i = 0; i < argc; i++) RedisModule_ReplyWithString(ctx, argv[i]);
    return REDISMODULE_OK;
}

static int keys(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (RedisModule_IsKeysPositionRequest(ctx)) {
        for (int i = 1; i < argc; i += 2)
            RedisModule_KeyAtPosWithFlags(
                ctx, i, REDISMODULE_CMD_KEY_RO | REDISMODULE_CMD_KEY_ACCESS);
        return REDISMODULE_OK;
    }
    return RedisModule_ReplyWithLongLong(ctx, argc / 2);
}

static int publish(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 3) return RedisModule_WrongArity(ctx);
    return RedisModule_ReplyWithLongLong(ctx, RedisModule_PublishMessage(ctx, argv[1], argv[2]));
}

static int key_exists(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 2) return RedisModule_WrongArity(ctx);
    return RedisModule_ReplyWithLongLong(ctx, RedisModule_KeyExists(ctx, argv[1]));
}

static int random_key(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    return reply_and_free(ctx, RedisModule_RandomKey(ctx));
}

static int dbsize(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    return RedisModule_ReplyWithLongLong(ctx, (long long)RedisModule_DbSize(ctx));
}

static int flush(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 2) return RedisModule_WrongArity(ctx);
    RedisModule_ResetDataset(0, (int)number_of(argv[1]));
    return RedisModule_ReplyWithSimpleString(ctx, "OK");
}

static int assertion(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 2) return RedisModule_WrongArity(ctx);
    RedisModule_Assert(number_of(argv[1]) != 0);
    return RedisModule_ReplyWithSimpleString(ctx, "OK");
}

int RedisModule_OnLoad(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (RedisModule_Init(ctx, "basic", 7, REDISMODULE_APIVER_1) == REDISMODULE_ERR)
        return REDISMODULE_ERR;
    COMMAND("basic.reply", reply, "readonly", 0, 0, 0);
    COMMAND("basic.replies", no_reply, "readonly", 0, 0, 0);
    COMMAND("basic.arity", wrong_arity, "readonly", 0, 0, 0);
    COMMAND("basic.call", call, "write", 0, 0, 0);
    COMMAND("basic.calltype", call, "write", 0, 0, 0);
    COMMAND("basic.walk", walk, "write", 0, 0, 0);
    COMMAND("basic.letters", letters, "write", 1, 1, 1);
    COMMAND("basic.proto", proto, "write", 0, 0, 0);
    COMMAND("basic.select", select_db, "readonly", 0, 0, 0);
    COMMAND("basic.flags", context_flags, "readonly", 0, 0, 0);
    COMMAND("basic.client", client, "readonly", 0, 0, 0);
    COMMAND("basic.replicate", replicate, "write", 1, 1, 1);
    COMMAND("basic.verbatim", verbatim, "write", 1, 1, 1);
    COMMAND("basic.alloc", alloc, "readonly", 0, 0, 0);
    COMMAND("basic.getapi", getapi, "readonly", 0, 0, 0);
    COMMAND("basic.version", version, "readonly fast", 0, 0, 0);
    COMMAND("basic.argv", arguments, "readonly", 0, 0, 0);
    COMMAND("basic.keys", keys, "readonly getkeys-api", 0, 0, 0);
    COMMAND("basic.publish", publish, "pubsub", 0, 0, 0);
    COMMAND("basic.keyexists", key_exists, "readonly", 1, 1, 1);
    COMMAND("basic.random", random_key, "readonly", 0, 0, 0);
    COMMAND("basic.dbsize", dbsize, "readonly", 0, 0, 0);
    COMMAND("basic.flush", flush, "write", 0, 0, 0);
    COMMAND("basic.assert", assertion, "readonly", 0, 0, 0);
    COMMAND("basic.parent", NULL, "readonly", 0, 0, 0);
    RedisModuleCommand *parent = RedisModule_GetCommand(ctx, "basic.parent");
    if (parent == NULL ||
        RedisModule_CreateSubcommand(parent, "sub", arguments, "readonly", 0, 0, 0) ==
            REDISMODULE_ERR ||
        RedisModule_CreateSubcommand(parent, "other", arguments, "readonly", 0, 0, 0) ==
            REDISMODULE_ERR)
        return REDISMODULE_ERR;

    RedisModuleCommandInfo info = {
        .version = REDISMODULE_COMMAND_INFO_VERSION,
        .summary = "Tells which arguments it got.",
        .complexity = "O(N)",
        .since = "1.0.0",
        .history = (RedisModuleCommandHistoryEntry[]){{"1.1.0", "More arguments."}, {0}},
        .tips = "nondeterministic_output",
        .arity = -1,
        .args = (RedisModuleCommandArg[]){{.name = "arg",
                                           .type = REDISMODULE_ARG_TYPE_STRING,
                                           .key_spec_index = -1,
                                           .display_text = "argument",
                                           .flags = REDISMODULE_CMD_ARG_OPTIONAL |
                                                    REDISMODULE_CMD_ARG_MULTIPLE},
                                          {0}},
    };
    return RedisModule_SetCommandInfo(RedisModule_GetCommand(ctx, "basic.argv"), &info);
}
