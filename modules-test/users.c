/* Users, the checks of the ACL, its log, and authentication.
 *
 *   users.make name              a user of the module's own, under which the commands below run
 *   users.take name              the server's user of this name instead
 *   users.free                   gives it back
 *   users.rule rule              SetModuleUserACL
 *   users.rules "rule ..."       SetModuleUserACLString, with its error text
 *   users.show                   GetModuleUserACLString
 *   users.whoami                 GetCurrentUserName
 *   users.command command ...    ACLCheckCommandPermissions
 *   users.key flags key          ACLCheckKeyPermissions
 *   users.channel flags channel  ACLCheckChannelPermissions
 *   users.log reason object      ACLAddLogEntry; users.logname name reason object: ...ByUserName
 *   users.call command ...       RM_Call with "CE" as the user
 *   users.mine command ...       the same as the client's own user
 *   users.become                 AuthenticateClientWithUser, followed
 *   users.login name             AuthenticateClientWithACLUser, followed
 *   users.changes                [how often a followed client changed its user, client id of the last]
 *   users.drop id                DeauthenticateAndCloseClient
 *   users.secret a b             redacts its last argument
 *
 * Its callback for AUTH lets "guest" in as that user with the password "now" at once, with "later" from
 * a thread, and with "pass" leaves it to the next; it refuses "no" with words and "never" without. */
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "testmodule.h"

static RedisModuleUser *user;
static long long changes, last_changed;

static void changed(uint64_t client, void *data) {
    changes += *(long long *)data;
    last_changed = (long long)client;
}

static long long one = 1;

/* Registers a command that needs the module's user, through a check that there is one. */
#define WITH_USER(function)                                                                     \
    static int function##_checked(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {    \
        if (user == NULL) return RedisModule_ReplyWithError(ctx, "ERR no user");                \
        return function(ctx, argv, argc);                                                       \
    }

static int make(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 2) return RedisModule_WrongArity(ctx);
    if (user != NULL) RedisModule_FreeModuleUser(user);
    user = RedisModule_CreateModuleUser(text_of(argv[1]));
    return reply_status(ctx, user == NULL);
}

static int take(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 2) return RedisModule_WrongArity(ctx);
    RedisModuleUser *found = RedisModule_GetModuleUserFromUserName(argv[1]);
    if (found == NULL) return RedisModule_ReplyWithNull(ctx);
    if (user != NULL) RedisModule_FreeModuleUser(user);
    user = found;
    return reply_status(ctx, REDISMODULE_OK);
}

static int give_back(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (user != NULL) RedisModule_FreeModuleUser(user);
    user = NULL;
    return reply_status(ctx, REDISMODULE_OK);
}

static int rule(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 2) return RedisModule_WrongArity(ctx);
    return reply_status(ctx, RedisModule_SetModuleUserACL(user, text_of(argv[1])));
}

static int rules(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 2) return RedisModule_WrongArity(ctx);
    RedisModuleString *error = NULL;
    if (RedisModule_SetModuleUserACLString(ctx, user, text_of(argv[1]), &error) == REDISMODULE_OK)
        return reply_status(ctx, REDISMODULE_OK);
    RedisModule_ReplyWithErrorFormat(ctx, "ERR %s", text_of(error));
    RedisModule_FreeString(ctx, error);
    return REDISMODULE_OK;
}

static int show(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    return reply_and_free(ctx, RedisModule_GetModuleUserACLString(user));
}

static int whoami(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    return reply_and_free(ctx, RedisModule_GetCurrentUserName(ctx));
}

static int check_command(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc < 2) return RedisModule_WrongArity(ctx);
    errno = 0;
    return reply_status(ctx, RedisModule_ACLCheckCommandPermissions(user, argv + 1, argc - 1));
}

static int check_key(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 3) return RedisModule_WrongArity(ctx);
    errno = 0;
    return reply_status(ctx,
                        RedisModule_ACLCheckKeyPermissions(user, argv[2], number_of(argv[1])));
}

static int check_channel(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 3) return RedisModule_WrongArity(ctx);
    errno = 0;
    return reply_status(ctx,
                        RedisModule_ACLCheckChannelPermissions(user, argv[2], number_of(argv[1])));
}

static int log_entry(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 3) return RedisModule_WrongArity(ctx);
    RedisModule_ACLAddLogEntry(ctx, user, argv[2], number_of(argv[1]));
    return reply_status(ctx, REDISMODULE_OK);
}

static int log_name(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 4) return RedisModule_WrongArity(ctx);
    RedisModule_ACLAddLogEntryByUserName(ctx, argv[1], argv[3], number_of(argv[2]));
    return reply_status(ctx, REDISMODULE_OK);
}

static int call_as(RedisModuleCtx *ctx, RedisModuleUser *as, RedisModuleString **argv, int argc) {
    if (argc < 2) return RedisModule_WrongArity(ctx);
    RedisModule_SetContextUser(ctx, as);
    RedisModuleCallReply *reply =
        RedisModule_Call(ctx, text_of(argv[1]), "CEv", argv + 2, (size_t)argc - 2);
    if (reply == NULL) return RedisModule_ReplyWithNull(ctx);
    RedisModule_ReplyWithCallReply(ctx, reply);
    RedisModule_FreeCallReply(reply);
    return REDISMODULE_OK;
}

static int call(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    return call_as(ctx, user, argv, argc);
}

static int call_mine(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    return call_as(ctx, NULL, argv, argc);
}

static int become(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    uint64_t id = 0;
    int status = RedisModule_AuthenticateClientWithUser(ctx, user, changed, &one, &id);
    if (status != REDISMODULE_OK) return RedisModule_ReplyWithError(ctx, "ERR refused");
    return RedisModule_ReplyWithLongLong(ctx, id == RedisModule_GetClientId(ctx));
}

static int login(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 2) return RedisModule_WrongArity(ctx);
    size_t len;
    const char *name = RedisModule_StringPtrLen(argv[1], &len);
    if (RedisModule_AuthenticateClientWithACLUser(ctx, name, len, changed, &one, NULL) !=
        REDISMODULE_OK)
        return RedisModule_ReplyWithError(ctx, "ERR refused");
    return reply_status(ctx, REDISMODULE_OK);
}

static int changes_of(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    RedisModule_ReplyWithArray(ctx, 2);
    RedisModule_ReplyWithLongLong(ctx, changes);
    return RedisModule_ReplyWithLongLong(ctx, last_changed);
}

static int drop_client(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 2) return RedisModule_WrongArity(ctx);
    int status = RedisModule_DeauthenticateAndCloseClient(ctx, (uint64_t)number_of(argv[1]));
    if (status != REDISMODULE_OK) return RedisModule_ReplyWithError(ctx, "ERR no such client");
    return reply_status(ctx, status);
}

static int secret(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    int status = RedisModule_RedactClientCommandArgument(ctx, argc - 1);
    if (status != REDISMODULE_OK) return RedisModule_ReplyWithError(ctx, "ERR not redacted");
    return reply_status(ctx, status);
}

WITH_USER(rule)
WITH_USER(rules)
WITH_USER(show)
WITH_USER(check_command)
WITH_USER(check_key)
WITH_USER(check_channel)
WITH_USER(log_entry)
WITH_USER(become)

static int admit(RedisModuleCtx *ctx) {
    RedisModule_AuthenticateClientWithACLUser(ctx, "guest", 5, NULL, NULL, NULL);
    return REDISMODULE_AUTH_HANDLED;
}

static int decided(RedisModuleCtx *ctx, RedisModuleString *name, RedisModuleString *password,
                   RedisModuleString **error) {
    int *yes = RedisModule_GetBlockedClientPrivateData(ctx);
    return yes != NULL && *yes ? admit(ctx) : REDISMODULE_AUTH_NOT_HANDLED;
}

static void free_decision(RedisModuleCtx *ctx, void *data) { RedisModule_Free(data); }

static void *decide(void *arg) {
    usleep(20000);
    int *yes = RedisModule_Alloc(sizeof(*yes));
    *yes = 1;
    RedisModule_UnblockClient(arg, yes);
    return NULL;
}

static int on_auth(RedisModuleCtx *ctx, RedisModuleString *name, RedisModuleString *password,
                   RedisModuleString **error) {
    const char *word = text_of(password);
    if (strcmp(text_of(name), "guest") != 0 || strcmp(word, "pass") == 0)
        return REDISMODULE_AUTH_NOT_HANDLED;
    if (strcmp(word, "now") == 0) return admit(ctx);
    if (strcmp(word, "later") == 0) {
        RedisModuleBlockedClient *bc = RedisModule_BlockClientOnAuth(ctx, decided, free_decision);
        pthread_t thread;
        if (pthread_create(&thread, NULL, decide, bc) != 0)
            RedisModule_AbortBlock(bc);
        else
            pthread_detach(thread);
        return REDISMODULE_AUTH_HANDLED;
    }
    if (strcmp(word, "no") == 0) *error = RedisModule_CreateString(NULL, "not you", 7);
    return REDISMODULE_AUTH_HANDLED;
}

int RedisModule_OnLoad(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (RedisModule_Init(ctx, "users", 1, REDISMODULE_APIVER_1) == REDISMODULE_ERR)
        return REDISMODULE_ERR;
    COMMAND("users.make", make, "", 0, 0, 0);
    COMMAND("users.take", take, "", 0, 0, 0);
    COMMAND("users.free", give_back, "", 0, 0, 0);
    COMMAND("users.rule", rule_checked, "", 0, 0, 0);
    COMMAND("users.rules", rules_checked, "", 0, 0, 0);
    COMMAND("users.show", show_checked, "", 0, 0, 0);
    COMMAND("users.whoami", whoami, "", 0, 0, 0);
    COMMAND("users.command", check_command_checked, "", 0, 0, 0);
    COMMAND("users.key", check_key_checked, "", 0, 0, 0);
    COMMAND("users.channel", check_channel_checked, "", 0, 0, 0);
    COMMAND("users.log", log_entry_checked, "", 0, 0, 0);
    COMMAND("users.logname", log_name, "", 0, 0, 0);
    COMMAND("users.call", call, "", 0, 0, 0);
    COMMAND("users.mine", call_mine, "", 0, 0, 0);
    COMMAND("users.become", become_checked, "no-auth", 0, 0, 0);
    COMMAND("users.login", login, "no-auth", 0, 0, 0);
    COMMAND("users.changes", changes_of, "", 0, 0, 0);
    COMMAND("users.drop", drop_client, "", 0, 0, 0);
    COMMAND("users.secret", secret, "", 0, 0, 0);
    RedisModule_RegisterAuthCallback(ctx, on_auth);
    return REDISMODULE_OK;
}
