/* Says which server it believes to run in. Built a second time as persona_valkey.c, which only Valkey could load.
 *
 *   NAME.version            GetServerVersion, GetTypeMethodVersion; as they were in OnLoad; on a thread without lock
 *   NAME.field section name a field of GetServerInfo
 *   NAME.info section       INFO through Call
 *   NAME.hello              HELLO 3 through Call
 *   NAME.found              names of some functions that GetApi found in OnLoad
 *   NAME.node id            1 if GetClusterNodeInfoForClient knows the node, 0 if not; null where it is missing */
#include "check.h"

#include <pthread.h>

#ifndef NAME
#define NAME "persona"
#endif

static const char *const wanted[] = {"RedisModule_CreateCommand",
                                     "RedisModule_RegisterAuthCallback",
                                     "RedisModule_AddACLCategory",
                                     "ValkeyModule_AddACLCategory",
                                     "ValkeyModule_DefragValkeyModuleString",
                                     "RedisModule_NoSuchFunction"};
#define WANTED (sizeof(wanted) / sizeof(*wanted))
static void *found[WANTED];
static int at_load[2];

static void *ask(void *versions) {
    ((int *)versions)[0] = RedisModule_GetServerVersion();
    ((int *)versions)[1] = RedisModule_GetTypeMethodVersion();
    return NULL;
}

static int version(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    int now[2], off[2] = {0, 0};
    pthread_t thread;
    ask(now);
    if (pthread_create(&thread, NULL, ask, off) == 0) pthread_join(thread, NULL);
    RedisModule_ReplyWithArray(ctx, 6);
    const int *all[] = {now, at_load, off};
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 2; j++) RedisModule_ReplyWithLongLong(ctx, all[i][j]);
    return REDISMODULE_OK;
}

static int field(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 3) return RedisModule_WrongArity(ctx);
    RedisModuleServerInfoData *info = RedisModule_GetServerInfo(ctx, text_of(argv[1]));
    RedisModuleString *value = RedisModule_ServerInfoGetField(ctx, info, text_of(argv[2]));
    RedisModule_FreeServerInfo(ctx, info);
    return reply_and_free(ctx, value);
}

static int call(RedisModuleCtx *ctx, RedisModuleCallReply *reply) {
    if (reply == NULL) return RedisModule_ReplyWithErrorFormat(ctx, "ERR errno %d", errno);
    int status = RedisModule_ReplyWithCallReply(ctx, reply);
    RedisModule_FreeCallReply(reply);
    return status;
}

static int info(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 2) return RedisModule_WrongArity(ctx);
    return call(ctx, RedisModule_Call(ctx, "INFO", "s", argv[1]));
}

static int hello(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    return call(ctx, RedisModule_Call(ctx, "HELLO", ""));
}

static int functions(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    RedisModule_ReplyWithArray(ctx, REDISMODULE_POSTPONED_LEN);
    long n = 0;
    for (size_t i = 0; i < WANTED; i++) {
        if (found[i] == NULL) continue;
        RedisModule_ReplyWithSimpleString(ctx, wanted[i]);
        n++;
    }
    RedisModule_ReplySetArrayLength(ctx, n);
    return REDISMODULE_OK;
}

static int node(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 2) return RedisModule_WrongArity(ctx);
    if (RedisModule_GetClusterNodeInfoForClient == NULL) return RedisModule_ReplyWithNull(ctx);
    char ip[64], primary[REDISMODULE_NODE_ID_LEN];
    int port, flags;
    int status = RedisModule_GetClusterNodeInfoForClient(
        ctx, RedisModule_GetClientId(ctx), text_of(argv[1]), ip, primary, &port, &flags);
    return RedisModule_ReplyWithLongLong(ctx, status == REDISMODULE_OK);
}

int RedisModule_OnLoad(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    int (*get_api)(const char *, void *) = ((void **)ctx)[0];
    for (size_t i = 0; i < WANTED; i++) get_api(wanted[i], &found[i]);
    if (RedisModule_Init(ctx, NAME, 1, REDISMODULE_APIVER_1) == REDISMODULE_ERR)
        return REDISMODULE_ERR;
    /* An old server has neither. */
    if (RedisModule_GetServerVersion) at_load[0] = RedisModule_GetServerVersion();
    if (RedisModule_GetTypeMethodVersion) at_load[1] = RedisModule_GetTypeMethodVersion();
    COMMAND(NAME ".version", version, "", 0, 0, 0);
    COMMAND(NAME ".field", field, "", 0, 0, 0);
    COMMAND(NAME ".info", info, "", 0, 0, 0);
    COMMAND(NAME ".hello", hello, "", 0, 0, 0);
    COMMAND(NAME ".found", functions, "", 0, 0, 0);
    COMMAND(NAME ".node", node, "", 0, 0, 0);
    return REDISMODULE_OK;
}
