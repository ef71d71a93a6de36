/* Functions that the other modules do not call, each with what it promises. Every command answers "OK", or an error with
 * the line and the text of the check that failed.
 *
 *   check.time / check.random / check.masks    clocks, random bytes, the "all" getters
 *   check.context              names of command and user, the certificate, replica traffic
 *   check.cluster              cluster calls of a node that is not in a cluster
 *   check.node                 GetClusterNodeInfo: Redis 7.4.1 crashes on it outside of a cluster
 *   check.slots                a name for each slot
 *   check.names                client names by id
 *   check.dict                 the C forms that dictapi leaves out
 *   check.keys                 keys of command lines
 *   check.publish              PublishMessageShard without a subscriber
 *   check.attributes           call replies with attributes (check.attribute makes one)
 *   check.pairs                CallReplyAttributeElement: Redis 7.4.1 answers ERR, whatever it is asked for
 *   check.attribute            a reply with an attribute of postponed length
 *   check.positions key...     a command with getkeys-api
 *   check.channels ch...       a command with getchannels-api
 *   check.false                an assertion that does not hold: the server ends */
#include "check.h"

static int in_load = -1;

static int clocks(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    long long ms = RedisModule_Milliseconds();
    long long us = RedisModule_Microseconds();
    CHECK(us / 1000 >= ms && us / 1000 - ms < 10000);
    long long cached = RedisModule_CachedMicroseconds();
    CHECK(cached <= us && us - cached < 10000000);
    CHECK(RedisModule_CachedMicroseconds() == cached);
    uint64_t before = RedisModule_MonotonicMicroseconds();
    CHECK(RedisModule_MonotonicMicroseconds() >= before);
    ALL_WELL();
}

static int randomness(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    unsigned char a[32] = {0}, b[32] = {0};
    RedisModule_GetRandomBytes(a, 31);
    RedisModule_GetRandomBytes(b, 31);
    CHECK(memcmp(a, b, 31) != 0 && a[31] == 0);
    char hex[42] = {0};
    hex[40] = '!';
    RedisModule_GetRandomHexChars(hex, 40);
    CHECK(strspn(hex, "0123456789abcdef") == 40 && hex[40] == '!');
    ALL_WELL();
}

static int masks(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    CHECK((RedisModule_GetContextFlagsAll() & 0x1ffffff) == 0x1ffffff);
    CHECK(RedisModule_GetModuleOptionsAll() == 0xf);
    CHECK((RedisModule_GetOpenKeyModesAll() & 0x1f0003) == 0x1f0003);
    CHECK(RedisModule_GetKeyspaceNotificationFlagsAll() == 0x7fff);
    CHECK(RedisModule_GetTypeMethodVersion() == 5);
    CHECK(RedisModule_GetServerVersion() >> 8 == 0x0704);
    ALL_WELL();
}

static int context(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    RedisModule_AutoMemory(ctx);
    CHECK(strcmp(RedisModule_GetCurrentCommandName(ctx), "check.context") == 0);
    CHECK(same(RedisModule_GetCurrentUserName(ctx), "default"));
    CHECK(RedisModule_AvoidReplicaTraffic() == 0);
    /* No TLS, so no certificate. */
    CHECK(RedisModule_GetClientCertificate(ctx, RedisModule_GetClientId(ctx)) == NULL);
    CHECK(RedisModule_IsModuleNameBusy("APIcheck") == 1);
    CHECK(RedisModule_IsModuleNameBusy("nobody") == 0);
    CHECK(in_load == 0);
    CHECK(RedisModule_IsChannelsPositionRequest(ctx) == 0);
    CHECK(RedisModule_IsKeysPositionRequest(ctx) == 0);
    CHECK(RedisModule_GetBlockedClientHandle(ctx) == NULL);
    RedisModule_Assert(argc >= 1);
    ALL_WELL();
}

static void on_message(RedisModuleCtx *ctx, const char *sender, uint8_t type,
                       const unsigned char *payload, uint32_t len) {}

static const char node_id[] = "0123456789012345678901234567890123456789";

static int node(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    char ip[64], master[64];
    int port, flags;
    CHECK(RedisModule_GetClusterNodeInfo(ctx, node_id, ip, master, &port, &flags) == REDISMODULE_ERR);
    ALL_WELL();
}

static int cluster(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    CHECK(RedisModule_GetMyClusterID() == NULL);
    CHECK(RedisModule_GetClusterSize() == 0);
    size_t count = 7;
    char **list = RedisModule_GetClusterNodesList(ctx, &count);
    CHECK(list == NULL);
    if (list != NULL) RedisModule_FreeClusterNodesList(list);
    RedisModule_RegisterClusterMessageReceiver(ctx, 7, on_message);
    RedisModule_RegisterClusterMessageReceiver(ctx, 7, NULL);
    CHECK(RedisModule_SendClusterMessage(ctx, node_id, 7, "x", 1) == REDISMODULE_ERR);
    RedisModule_SetClusterFlags(ctx, REDISMODULE_CLUSTER_FLAG_NONE);
    ALL_WELL();
}

static int slots(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    for (unsigned int slot = 0; slot < 16384; slot++) {
        const char *name = RedisModule_ClusterCanonicalKeyNameInSlot(slot);
        RedisModuleString *plain = RedisModule_CreateString(NULL, name, strlen(name));
        RedisModuleString *tagged = RedisModule_CreateStringPrintf(NULL, "x{%s}y", name);
        unsigned int a = RedisModule_ClusterKeySlot(plain), b = RedisModule_ClusterKeySlot(tagged);
        RedisModule_FreeString(NULL, plain);
        RedisModule_FreeString(NULL, tagged);
        CHECK(a == slot && b == slot);
    }
    CHECK(RedisModule_ClusterCanonicalKeyNameInSlot(16384) == NULL);
    ALL_WELL();
}

static int names(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    RedisModule_AutoMemory(ctx);
    uint64_t id = RedisModule_GetClientId(ctx);
    CHECK(RedisModule_SetClientNameById(id, STR("somebody")) == REDISMODULE_OK);
    CHECK(same(RedisModule_GetClientNameById(ctx, id), "somebody"));
    CHECK(RedisModule_SetClientNameById(id, STR("some body")) == REDISMODULE_ERR && errno == EINVAL);
    CHECK(RedisModule_SetClientNameById(id, STR("")) == REDISMODULE_OK);
    CHECK(RedisModule_GetClientNameById(ctx, id) == NULL);
    CHECK(RedisModule_SetClientNameById(987654321, STR("x")) == REDISMODULE_ERR && errno == ENOENT);
    CHECK(same(RedisModule_GetClientUserNameById(ctx, id), "default"));
    ALL_WELL();
}

static int dict(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    RedisModule_AutoMemory(ctx);
    RedisModuleDict *d = RedisModule_CreateDict(ctx);
    CHECK(RedisModule_DictReplaceC(d, "b", 1, "1") == REDISMODULE_OK);
    CHECK(RedisModule_DictReplaceC(d, "b", 1, "2") == REDISMODULE_ERR);
    CHECK(strcmp(RedisModule_DictGetC(d, "b", 1, NULL), "2") == 0);
    CHECK(RedisModule_DictReplaceC(d, "a", 1, "0") == REDISMODULE_OK);
    CHECK(RedisModule_DictReplaceC(d, "c", 1, "3") == REDISMODULE_OK);
    CHECK(RedisModule_MallocSizeDict(d) > 0);
    RedisModuleDictIter *iter = RedisModule_DictIteratorStartC(d, "$", NULL, 0);
    void *value;
    CHECK(same(RedisModule_DictPrev(ctx, iter, &value), "c") && strcmp(value, "3") == 0);
    /* Not a status: 1 when the operator is a good one. */
    CHECK(RedisModule_DictIteratorReseekC(iter, "<=", "bb", 2) == 1);
    CHECK(same(RedisModule_DictPrev(ctx, iter, NULL), "b"));
    CHECK(RedisModule_DictCompareC(iter, "<", "c", 1) == REDISMODULE_OK);
    CHECK(RedisModule_DictCompareC(iter, "==", "c", 1) == REDISMODULE_ERR);
    CHECK(same(RedisModule_DictPrev(ctx, iter, NULL), "a"));
    CHECK(RedisModule_DictPrev(ctx, iter, NULL) == NULL);
    RedisModule_DictIteratorStop(iter);
    ALL_WELL();
}

static int command_keys(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    RedisModule_AutoMemory(ctx);
    int count = -1, *flags = NULL;
    RedisModuleString *mset[] = {STR("mset"), STR("a"), STR("1"), STR("b"), STR("2")};
    int *keys = RedisModule_GetCommandKeys(ctx, mset, 5, &count);
    CHECK(keys != NULL && count == 2 && keys[0] == 1 && keys[1] == 3);
    RedisModule_Free(keys);
    RedisModuleString *set[] = {STR("set"), STR("a"), STR("1")};
    keys = RedisModule_GetCommandKeysWithFlags(ctx, set, 3, &count, &flags);
    CHECK(keys != NULL && count == 1 && keys[0] == 1);
    CHECK(flags[0] == (REDISMODULE_CMD_KEY_OW | REDISMODULE_CMD_KEY_UPDATE));
    RedisModule_Free(keys);
    RedisModule_Free(flags);
    RedisModuleString *own[] = {STR("check.positions"), STR("a"), STR("b")};
    keys = RedisModule_GetCommandKeys(ctx, own, 3, &count);
    CHECK(keys != NULL && count == 2 && keys[0] == 1 && keys[1] == 2);
    RedisModule_Free(keys);
    RedisModuleString *none[] = {STR("ping")};
    CHECK(RedisModule_GetCommandKeys(ctx, none, 1, &count) == NULL && errno == 0);
    CHECK(RedisModule_GetCommandKeys(ctx, set, 2, &count) == NULL && errno == EINVAL);
    RedisModuleString *unknown[] = {STR("nonsense")};
    CHECK(RedisModule_GetCommandKeys(ctx, unknown, 1, &count) == NULL && errno == ENOENT);
    ALL_WELL();
}

static int publish(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    RedisModule_AutoMemory(ctx);
    CHECK(RedisModule_PublishMessageShard(ctx, STR("nobody"), STR("hears")) == 0);
    CHECK(RedisModule_PublishMessage(ctx, STR("nobody"), STR("hears")) == 0);
    ALL_WELL();
}

static int attribute(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (RedisModule_ReplyWithAttribute(ctx, REDISMODULE_POSTPONED_LEN) == REDISMODULE_OK) {
        RedisModule_ReplyWithCString(ctx, "unit");
        RedisModule_ReplyWithCString(ctx, "seconds");
        RedisModule_ReplySetAttributeLength(ctx, 1);
    }
    return RedisModule_ReplyWithLongLong(ctx, 5);
}

static int attributes(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    RedisModuleCallReply *reply = RedisModule_Call(ctx, "check.attribute", "3");
    CHECK(reply != NULL && RedisModule_CallReplyType(reply) == REDISMODULE_REPLY_INTEGER);
    CHECK(RedisModule_CallReplyInteger(reply) == 5);
    RedisModuleCallReply *all = RedisModule_CallReplyAttribute(reply);
    CHECK(all != NULL && RedisModule_CallReplyType(all) == REDISMODULE_REPLY_ATTRIBUTE);
    CHECK(RedisModule_CallReplyLength(all) == 1);
    RedisModule_FreeCallReply(reply);
    reply = RedisModule_Call(ctx, "check.attribute", "");
    CHECK(reply != NULL && RedisModule_CallReplyAttribute(reply) == NULL);
    RedisModule_FreeCallReply(reply);
    ALL_WELL();
}

static int pairs(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    RedisModuleCallReply *reply = RedisModule_Call(ctx, "check.attribute", "3"), *key, *value;
    CHECK(reply != NULL);
    RedisModuleCallReply *all = RedisModule_CallReplyAttribute(reply);
    CHECK(RedisModule_CallReplyAttributeElement(all, 0, &key, &value) == REDISMODULE_OK);
    size_t len;
    CHECK(memcmp(RedisModule_CallReplyStringPtr(key, &len), "unit", 4) == 0 && len == 4);
    CHECK(memcmp(RedisModule_CallReplyStringPtr(value, &len), "seconds", 7) == 0 && len == 7);
    CHECK(RedisModule_CallReplyAttributeElement(all, 1, &key, &value) == REDISMODULE_ERR);
    RedisModule_FreeCallReply(reply);
    ALL_WELL();
}

static int positions(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (RedisModule_IsKeysPositionRequest(ctx)) {
        for (int i = 1; i < argc; i++) {
            if (i % 2) {
                RedisModule_KeyAtPos(ctx, i);
            } else {
                RedisModule_KeyAtPosWithFlags(ctx, i, REDISMODULE_CMD_KEY_RO);
            }
        }
        return REDISMODULE_OK;
    }
    ALL_WELL();
}

static int channels(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (RedisModule_IsChannelsPositionRequest(ctx)) {
        for (int i = 1; i < argc; i++)
            RedisModule_ChannelAtPosWithFlags(ctx, i, REDISMODULE_CMD_CHANNEL_PUBLISH);
        return REDISMODULE_OK;
    }
    ALL_WELL();
}

static int wrong(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    RedisModule__Assert("truth", "apicheck.c", 1);
    return REDISMODULE_OK;
}

int RedisModule_OnLoad(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (RedisModule_Init(ctx, "apicheck", 1, REDISMODULE_APIVER_1) == REDISMODULE_ERR)
        return REDISMODULE_ERR;
    /* The module is in the list when this is over, not before. */
    in_load = RedisModule_IsModuleNameBusy("apicheck");
    /* A second call changes nothing. */
    RedisModule_SetModuleAttribs(ctx, "another", 2, REDISMODULE_APIVER_1);
    COMMAND("check.time", clocks, "fast", 0, 0, 0);
    COMMAND("check.random", randomness, "fast", 0, 0, 0);
    COMMAND("check.masks", masks, "fast", 0, 0, 0);
    COMMAND("check.context", context, "", 0, 0, 0);
    COMMAND("check.cluster", cluster, "", 0, 0, 0);
    COMMAND("check.node", node, "", 0, 0, 0);
    COMMAND("check.slots", slots, "", 0, 0, 0);
    COMMAND("check.names", names, "", 0, 0, 0);
    COMMAND("check.dict", dict, "", 0, 0, 0);
    COMMAND("check.keys", command_keys, "", 0, 0, 0);
    COMMAND("check.publish", publish, "", 0, 0, 0);
    COMMAND("check.attribute", attribute, "", 0, 0, 0);
    COMMAND("check.attributes", attributes, "", 0, 0, 0);
    COMMAND("check.pairs", pairs, "", 0, 0, 0);
    COMMAND("check.positions", positions, "getkeys-api", 1, 1, 1);
    COMMAND("check.channels", channels, "getchannels-api", 0, 0, 0);
    COMMAND("check.false", wrong, "", 0, 0, 0);
    return REDISMODULE_OK;
}
