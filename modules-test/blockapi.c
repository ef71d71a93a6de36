/* Blocked clients and promises, as far as timer_thread leaves them out.
 *
 *   block.key key              waits for a list under key, or for its end; answers what it pops, or "gone"
 *   block.signal key           SignalKeyAsReady
 *   block.call cmd arg...      calls with K; when the call blocks, its reply comes later
 *   block.abort cmd arg...     calls with K and gives the call up at once: "aborted"
 *   block.data                 private data and handle of a blocked client, from a thread-safe context
 *   block.gone                 waits for ever; block.freed tells how its private data was freed: how often, and
 *                              how often after a disconnection */
#include "check.h"

static int freed, freed_disconnected;

static int popped(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    RedisModuleString *name = RedisModule_GetBlockedClientReadyKey(ctx);
    RedisModuleKey *key = RedisModule_OpenKey(ctx, name, REDISMODULE_READ | REDISMODULE_WRITE);
    int type = RedisModule_KeyType(key);
    if (type == REDISMODULE_KEYTYPE_LIST) {
        reply_and_free(ctx, RedisModule_ListPop(key, REDISMODULE_LIST_HEAD));
    } else if (type == REDISMODULE_KEYTYPE_EMPTY) {
        RedisModule_ReplyWithSimpleString(ctx, "gone");
    }
    RedisModule_CloseKey(key);
    return type == REDISMODULE_KEYTYPE_LIST || type == REDISMODULE_KEYTYPE_EMPTY ? REDISMODULE_OK
                                                                                 : REDISMODULE_ERR;
}

static int late(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    return RedisModule_ReplyWithSimpleString(ctx, "late");
}

static int wait_key(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 2) return RedisModule_WrongArity(ctx);
    RedisModule_BlockClientOnKeysWithFlags(ctx, popped, late, NULL, 0, &argv[1], 1, NULL,
                                           REDISMODULE_BLOCK_UNBLOCK_DELETED);
    return REDISMODULE_OK;
}

static int signal_key(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 2) return RedisModule_WrongArity(ctx);
    RedisModule_SignalKeyAsReady(ctx, argv[1]);
    ALL_WELL();
}

static void unblocked(RedisModuleCtx *ctx, RedisModuleCallReply *reply, void *data) {
    RedisModuleBlockedClient *bc = data;
    RedisModuleCtx *client = RedisModule_GetThreadSafeContext(bc);
    RedisModule_ReplyWithCallReply(client, reply);
    RedisModule_FreeCallReply(reply);
    RedisModule_FreeThreadSafeContext(client);
    RedisModule_UnblockClient(bc, NULL);
}

static int call(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc < 2) return RedisModule_WrongArity(ctx);
    RedisModuleCallReply *reply =
        RedisModule_Call(ctx, text_of(argv[1]), "vKE!", argv + 2, (size_t)argc - 2);
    if (RedisModule_CallReplyType(reply) == REDISMODULE_REPLY_PROMISE) {
        RedisModuleBlockedClient *bc = RedisModule_BlockClient(ctx, NULL, NULL, NULL, 0);
        RedisModule_CallReplyPromiseSetUnblockHandler(reply, unblocked, bc);
    } else {
        RedisModule_ReplyWithCallReply(ctx, reply);
    }
    RedisModule_FreeCallReply(reply);
    return REDISMODULE_OK;
}

static int abort_call(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc < 2) return RedisModule_WrongArity(ctx);
    RedisModuleCallReply *reply =
        RedisModule_Call(ctx, text_of(argv[1]), "vKE", argv + 2, (size_t)argc - 2);
    CHECK(RedisModule_CallReplyType(reply) == REDISMODULE_REPLY_PROMISE);
    RedisModule_CallReplyPromiseSetUnblockHandler(reply, unblocked, &freed);
    void *data = NULL;
    CHECK(RedisModule_CallReplyPromiseAbort(reply, &data) == REDISMODULE_OK && data == &freed);
    CHECK(RedisModule_CallReplyPromiseAbort(reply, &data) == REDISMODULE_ERR);
    RedisModule_FreeCallReply(reply);
    return RedisModule_ReplyWithSimpleString(ctx, "aborted");
}

static int with_data(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    CHECK(RedisModule_IsBlockedReplyRequest(ctx));
    CHECK(RedisModule_GetBlockedClientPrivateData(ctx) == &freed_disconnected);
    RedisModuleBlockedClient *bc = RedisModule_GetBlockedClientHandle(ctx);
    CHECK(bc != NULL);
    CHECK(RedisModule_BlockClientGetPrivateData(bc) == &freed_disconnected);
    ALL_WELL();
}

static int data(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    RedisModuleBlockedClient *bc = RedisModule_BlockClient(ctx, with_data, NULL, NULL, 0);
    RedisModule_BlockClientSetPrivateData(bc, &freed);
    int kept = RedisModule_BlockClientGetPrivateData(bc) == &freed;
    RedisModule_UnblockClient(bc, kept ? &freed_disconnected : NULL);
    return REDISMODULE_OK;
}

static void free_data(RedisModuleCtx *ctx, void *pointer) {
    freed++;
    freed_disconnected += RedisModule_BlockedClientDisconnected(ctx);
}

static void disconnected(RedisModuleCtx *ctx, RedisModuleBlockedClient *bc) {
    RedisModule_UnblockClient(bc, RedisModule_BlockClientGetPrivateData(bc));
}

static int gone(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    RedisModuleBlockedClient *bc = RedisModule_BlockClient(ctx, NULL, NULL, free_data, 0);
    RedisModule_BlockClientSetPrivateData(bc, &freed);
    RedisModule_SetDisconnectCallback(bc, disconnected);
    return REDISMODULE_OK;
}

static int count_freed(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    RedisModule_ReplyWithArray(ctx, 2);
    RedisModule_ReplyWithLongLong(ctx, freed);
    return RedisModule_ReplyWithLongLong(ctx, freed_disconnected);
}

int RedisModule_OnLoad(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (RedisModule_Init(ctx, "blockapi", 1, REDISMODULE_APIVER_1) == REDISMODULE_ERR)
        return REDISMODULE_ERR;
    COMMAND("block.key", wait_key, "write", 1, 1, 1);
    COMMAND("block.signal", signal_key, "write", 1, 1, 1);
    COMMAND("block.call", call, "write", 0, 0, 0);
    COMMAND("block.abort", abort_call, "write", 0, 0, 0);
    COMMAND("block.data", data, "", 0, 0, 0);
    COMMAND("block.gone", gone, "", 0, 0, 0);
    COMMAND("block.freed", count_freed, "", 0, 0, 0);
    return REDISMODULE_OK;
}
