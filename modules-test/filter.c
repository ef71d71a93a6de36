/* Command filters.
 *
 *   flt.on [noself]            registers the filter; flt.off unregisters it
 *   flt.seen                   how many commands it has seen
 *   flt.last                   [arguments seen last, client id known 0|1]: the words of the last
 *                              command, without those that start with "flt."
 *   flt.call command [arg ..]  RM_Call, which the filter sees unless noself
 *
 * What the filter does, by the words of a command: the argument "@replace" becomes "replaced",
 * "@delete" is taken away, "@insert" gets "inserted" in front of it and becomes "kept"; a command
 * called "flt.alias" becomes "ECHO". */
#include "testmodule.h"

static RedisModuleCommandFilter *filter;
static long long seen;
static char last[512];
static int last_client_known;

static void replace(RedisModuleCommandFilterCtx *fctx, int at, const char *text) {
    RedisModule_CommandFilterArgReplace(fctx, at,
                                        RedisModule_CreateString(NULL, text, strlen(text)));
}

static void on_command(RedisModuleCommandFilterCtx *fctx) {
    seen++;
    const char *name = text_of(RedisModule_CommandFilterArgGet(fctx, 0));
    if (strcasecmp(name, "flt.alias") == 0)
        replace(fctx, 0, "ECHO");
    else if (strncasecmp(name, "flt.", 4) == 0)
        return;
    last[0] = '\0';
    last_client_known = RedisModule_CommandFilterGetClientId(fctx) != 0;
    for (int i = 0; i < RedisModule_CommandFilterArgsCount(fctx); i++) {
        const char *word = text_of(RedisModule_CommandFilterArgGet(fctx, i));
        size_t len = strlen(last);
        snprintf(last + len, sizeof(last) - len, "%s%s", i ? " " : "", word);
        if (strcmp(word, "@replace") == 0) {
            replace(fctx, i, "replaced");
        } else if (strcmp(word, "@delete") == 0) {
            RedisModule_CommandFilterArgDelete(fctx, i--);
        } else if (strcmp(word, "@insert") == 0) {
            replace(fctx, i, "kept");
            RedisModule_CommandFilterArgInsert(fctx, i++,
                                               RedisModule_CreateString(NULL, "inserted", 8));
        }
    }
}

static int on(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (filter != NULL) return RedisModule_ReplyWithError(ctx, "ERR it is on");
    filter = RedisModule_RegisterCommandFilter(ctx, on_command,
                                               argc > 1 ? REDISMODULE_CMDFILTER_NOSELF : 0);
    return reply_status(ctx, filter == NULL);
}

static int off(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (filter == NULL) return RedisModule_ReplyWithError(ctx, "ERR it is off");
    int status = RedisModule_UnregisterCommandFilter(ctx, filter);
    filter = NULL;
    return reply_status(ctx, status);
}

static int show_seen(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    return RedisModule_ReplyWithLongLong(ctx, seen);
}

static int show_last(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    RedisModule_ReplyWithArray(ctx, 2);
    RedisModule_ReplyWithCString(ctx, last);
    return RedisModule_ReplyWithLongLong(ctx, last_client_known);
}

static int call(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc < 2) return RedisModule_WrongArity(ctx);
    RedisModuleCallReply *reply =
        RedisModule_Call(ctx, text_of(argv[1]), "vE", argv + 2, (size_t)argc - 2);
    if (reply == NULL) return RedisModule_ReplyWithError(ctx, "ERR the call failed");
    RedisModule_ReplyWithCallReply(ctx, reply);
    RedisModule_FreeCallReply(reply);
    return REDISMODULE_OK;
}

int RedisModule_OnLoad(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (RedisModule_Init(ctx, "filter", 1, REDISMODULE_APIVER_1) == REDISMODULE_ERR)
        return REDISMODULE_ERR;
    COMMAND("flt.on", on, "readonly", 0, 0, 0);
    COMMAND("flt.off", off, "readonly", 0, 0, 0);
    COMMAND("flt.seen", show_seen, "readonly", 0, 0, 0);
    COMMAND("flt.last", show_last, "readonly", 0, 0, 0);
    COMMAND("flt.call", call, "readonly", 0, 0, 0);
    return REDISMODULE_OK;
}

int RedisModule_OnUnload(RedisModuleCtx *ctx) {
    /* A module whose filter is on says no, to see that this is heard. */
    return filter == NULL ? REDISMODULE_OK : REDISMODULE_ERR;
}
