/* Users of modules, checks of rights, authentication by a module.
 *
 *   users.checks               a user of the module: rules, checks of commands, keys and channels: "OK"
 *   users.named NAME           the same functions for a user of the server with +get ~k* &c*: "OK"
 *   users.log NAME             entries for ACL LOG
 *   users.call cmd arg...      calls as a user with +get +set ~mine*
 *   users.become               makes the client the module's user; users.changed counts how often such a client
 *                              became somebody else or went
 *   users.become.named NAME    makes the client a user of the server
 *   users.leave                ends that and closes the connection
 *   users.redact a b           hides its second argument from the slow log
 *   AUTH module-NAME word      is decided by the module: right if word is NAME, else refused; NAME "slow..." is blocked
 *                              first and decided by the reply callback */
#include "check.h"

#include <pthread.h>
#include <unistd.h>

static RedisModuleUser *own_user;
static long long changed;

static int checks(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    RedisModule_AutoMemory(ctx);
    RedisModuleUser *user = RedisModule_CreateModuleUser("visitor");
    CHECK(user != NULL);
    RedisModuleString *get[] = {STR("get"), STR("key:1")}, *set[] = {STR("set"), STR("key:1"), STR("x")};
    CHECK(RedisModule_ACLCheckCommandPermissions(user, get, 2) == REDISMODULE_ERR && errno == EACCES);
    CHECK(RedisModule_SetModuleUserACL(user, "on") == REDISMODULE_OK);
    CHECK(RedisModule_SetModuleUserACL(user, "+get") == REDISMODULE_OK);
    CHECK(RedisModule_SetModuleUserACL(user, "no-such-rule") != REDISMODULE_OK);
    RedisModuleString *err = NULL;
    CHECK(RedisModule_SetModuleUserACLString(ctx, user, "%R~key:* &chan:*", &err) == REDISMODULE_OK);
    CHECK(RedisModule_SetModuleUserACLString(ctx, user, "+nonsense", &err) == REDISMODULE_ERR);
    CHECK(err != NULL);
    RedisModule_FreeString(ctx, err);
    RedisModuleString *rules = RedisModule_GetModuleUserACLString(user);
    CHECK(rules != NULL && strstr(text_of(rules), "+get") && strstr(text_of(rules), "%R~key:*"));
    RedisModule_FreeString(NULL, rules);
    CHECK(RedisModule_ACLCheckCommandPermissions(user, get, 2) == REDISMODULE_OK);
    CHECK(RedisModule_ACLCheckCommandPermissions(user, set, 3) == REDISMODULE_ERR && errno == EACCES);
    RedisModuleString *none[] = {STR("nonsense")};
    CHECK(RedisModule_ACLCheckCommandPermissions(user, none, 1) == REDISMODULE_ERR && errno == ENOENT);
    CHECK(RedisModule_ACLCheckKeyPermissions(user, STR("key:1"), REDISMODULE_CMD_KEY_ACCESS) == REDISMODULE_OK);
    CHECK(RedisModule_ACLCheckKeyPermissions(user, STR("key:1"), REDISMODULE_CMD_KEY_UPDATE) == REDISMODULE_ERR);
    CHECK(errno == EACCES);
    CHECK(RedisModule_ACLCheckKeyPermissions(user, STR("other"), REDISMODULE_CMD_KEY_ACCESS) == REDISMODULE_ERR);
    CHECK(RedisModule_ACLCheckChannelPermissions(user, STR("chan:1"), REDISMODULE_CMD_CHANNEL_SUBSCRIBE) == REDISMODULE_OK);
    CHECK(RedisModule_ACLCheckChannelPermissions(user, STR("else"), REDISMODULE_CMD_CHANNEL_SUBSCRIBE) == REDISMODULE_ERR);
    RedisModule_ACLAddLogEntry(ctx, user, STR("door"), REDISMODULE_ACL_LOG_KEY);
    RedisModule_FreeModuleUser(user);
    ALL_WELL();
}

static int named(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 2) return RedisModule_WrongArity(ctx);
    RedisModule_AutoMemory(ctx);
    CHECK(RedisModule_GetModuleUserFromUserName(STR("nobody")) == NULL);
    RedisModuleUser *user = RedisModule_GetModuleUserFromUserName(argv[1]);
    CHECK(user != NULL);
    RedisModuleString *get[] = {STR("get"), STR("k")};
    CHECK(RedisModule_ACLCheckCommandPermissions(user, get, 2) == REDISMODULE_OK);
    CHECK(RedisModule_ACLCheckKeyPermissions(user, STR("z"), REDISMODULE_CMD_KEY_ACCESS) == REDISMODULE_ERR);
    RedisModule_FreeModuleUser(user);
    ALL_WELL();
}

static int log_entry(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 2) return RedisModule_WrongArity(ctx);
    RedisModuleString *object = RedisModule_CreateString(ctx, "gate", 4);
    RedisModule_ACLAddLogEntryByUserName(ctx, argv[1], object, REDISMODULE_ACL_LOG_CHANNEL);
    RedisModule_FreeString(ctx, object);
    ALL_WELL();
}

static int call_as(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc < 2) return RedisModule_WrongArity(ctx);
    RedisModuleUser *user = RedisModule_CreateModuleUser("caller");
    RedisModuleString *err = NULL;
    RedisModule_SetModuleUserACLString(ctx, user, "on +get +set ~mine*", &err);
    RedisModule_SetContextUser(ctx, user);
    RedisModuleCallReply *reply =
        RedisModule_Call(ctx, text_of(argv[1]), "vCE", argv + 2, (size_t)argc - 2);
    RedisModule_ReplyWithCallReply(ctx, reply);
    RedisModule_FreeCallReply(reply);
    RedisModule_SetContextUser(ctx, NULL);
    RedisModule_FreeModuleUser(user);
    return REDISMODULE_OK;
}

static void on_change(uint64_t client, void *data) { changed++; }

static int become(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    uint64_t id = 0;
    CHECK(RedisModule_AuthenticateClientWithUser(ctx, own_user, on_change, NULL, &id) == REDISMODULE_OK);
    CHECK(id == RedisModule_GetClientId(ctx));
    ALL_WELL();
}

static int become_named(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 2) return RedisModule_WrongArity(ctx);
    size_t len;
    const char *name = RedisModule_StringPtrLen(argv[1], &len);
    CHECK(RedisModule_AuthenticateClientWithACLUser(ctx, name, len, NULL, NULL, NULL) == REDISMODULE_OK);
    ALL_WELL();
}

static int leave(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    RedisModule_DeauthenticateAndCloseClient(ctx, RedisModule_GetClientId(ctx));
    return RedisModule_ReplyWithNull(ctx);
}

static int redact(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 3) return RedisModule_WrongArity(ctx);
    CHECK(RedisModule_RedactClientCommandArgument(ctx, 2) == REDISMODULE_OK);
    CHECK(RedisModule_RedactClientCommandArgument(ctx, 0) == REDISMODULE_ERR);
    CHECK(RedisModule_RedactClientCommandArgument(ctx, 9) == REDISMODULE_ERR);
    ALL_WELL();
}

static int count_changed(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    return RedisModule_ReplyWithLongLong(ctx, changed);
}

static int decide(RedisModuleCtx *ctx, RedisModuleString *user, RedisModuleString *word, RedisModuleString **err) {
    const char *name = text_of(user) + strlen("module-");
    if (strcmp(name, text_of(word)) == 0) {
        RedisModule_AuthenticateClientWithUser(ctx, own_user, NULL, NULL, NULL);
        return REDISMODULE_AUTH_HANDLED;
    }
    *err = RedisModule_CreateString(ctx, "ERR not that word", 17);
    return REDISMODULE_AUTH_HANDLED;
}

static void free_nothing(RedisModuleCtx *ctx, void *data) {}

static void *think(void *bc) {
    usleep(1000);
    RedisModule_UnblockClient(bc, &changed);
    return NULL;
}

static int on_auth(RedisModuleCtx *ctx, RedisModuleString *user, RedisModuleString *word, RedisModuleString **err) {
    if (strncmp(text_of(user), "module-", 7) != 0) return REDISMODULE_AUTH_NOT_HANDLED;
    if (strncmp(text_of(user), "module-slow", 11) == 0) {
        RedisModuleBlockedClient *bc = RedisModule_BlockClientOnAuth(ctx, decide, free_nothing);
        pthread_t thread;
        if (pthread_create(&thread, NULL, think, bc) == 0) {
            pthread_detach(thread);
        } else {
            RedisModule_AbortBlock(bc);
        }
        return REDISMODULE_AUTH_HANDLED;
    }
    return decide(ctx, user, word, err);
}

int RedisModule_OnLoad(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (RedisModule_Init(ctx, "aclapi", 1, REDISMODULE_APIVER_1) == REDISMODULE_ERR)
        return REDISMODULE_ERR;
    if (RedisModule_AddACLCategory(ctx, "visitors") == REDISMODULE_ERR) return REDISMODULE_ERR;
    COMMAND("users.checks", checks, "", 0, 0, 0);
    RedisModuleCommand *command = RedisModule_GetCommand(ctx, "users.checks");
    if (RedisModule_SetCommandACLCategories(command, "visitors read") == REDISMODULE_ERR)
        return REDISMODULE_ERR;
    COMMAND("users.named", named, "", 0, 0, 0);
    COMMAND("users.log", log_entry, "", 0, 0, 0);
    COMMAND("users.call", call_as, "", 0, 0, 0);
    COMMAND("users.become", become, "no-auth", 0, 0, 0);
    COMMAND("users.become.named", become_named, "no-auth", 0, 0, 0);
    COMMAND("users.leave", leave, "", 0, 0, 0);
    COMMAND("users.redact", redact, "", 0, 0, 0);
    COMMAND("users.changed", count_changed, "", 0, 0, 0);
    own_user = RedisModule_CreateModuleUser("member");
    if (own_user == NULL) return REDISMODULE_ERR;
    RedisModule_SetModuleUserACL(own_user, "on");
    RedisModule_SetModuleUserACL(own_user, "allcommands");
    RedisModule_SetModuleUserACL(own_user, "allkeys");
    RedisModule_RegisterAuthCallback(ctx, on_auth);
    return REDISMODULE_OK;
}
