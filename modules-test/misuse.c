/* Breaks rules of the API in ways that do no harm, for strict mode and the watchdog.
 *
 *   misuse.leak key            leaves a key handle and a call reply behind
 *   misuse.thread              a thread asks for the size of the database without the module lock, then with it
 *   misuse.main                a thread registers a command with the lock: that belongs to the module thread
 *   misuse.hold ms             keeps the module lock for so long
 *   misuse.crash how           how: write (to a page that must not be written), nil (calls a function that there is not),
 *                              abort, thread (writes so on a thread of its own), badfree (frees what was not allocated),
 *                              timer and reply (writes so in a timer, in the reply callback of a blocked client)
 *   misuse.arm how             the same later: in the notification of a hash event (event), of FLUSHALL (flush), in a method
 *                              of the module's type (free, save, usage), in a command filter (filter), in INFO (info)
 *   misuse.value key           sets a value of the module's type
 * An argument of the load, "crash", has OnLoad write so.
 *   misuse.well key            the same calls as misuse.leak, as they should be */
#include "check.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static int calls(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 2) return RedisModule_WrongArity(ctx);
    RedisModuleKey *key = RedisModule_OpenKey(ctx, argv[1], REDISMODULE_WRITE);
    RedisModuleCallReply *reply = RedisModule_Call(ctx, "PING", "");
    if (strcasecmp(text_of(argv[0]), "misuse.well") == 0) {
        RedisModule_FreeCallReply(reply);
        RedisModule_CloseKey(key);
    }
    ALL_WELL();
}

static void *without_lock(void *bc) {
    RedisModuleCtx *ctx = RedisModule_GetThreadSafeContext(bc);
    RedisModule_DbSize(ctx);
    RedisModule_ThreadSafeContextLock(ctx);
    RedisModule_DbSize(ctx);
    RedisModule_ThreadSafeContextUnlock(ctx);
    RedisModule_ReplyWithSimpleString(ctx, "OK");
    RedisModule_FreeThreadSafeContext(ctx);
    RedisModule_UnblockClient(bc, NULL);
    return NULL;
}

static void *off_main(void *bc) {
    RedisModuleCtx *ctx = RedisModule_GetThreadSafeContext(bc);
    RedisModule_ThreadSafeContextLock(ctx);
    RedisModule_GetCommand(ctx, "misuse.main");
    RedisModule_ThreadSafeContextUnlock(ctx);
    RedisModule_ReplyWithSimpleString(ctx, "OK");
    RedisModule_FreeThreadSafeContext(ctx);
    RedisModule_UnblockClient(bc, NULL);
    return NULL;
}

static int in_thread(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    int main = strcasecmp(text_of(argv[0]), "misuse.main") == 0;
    RedisModuleBlockedClient *bc = RedisModule_BlockClient(ctx, NULL, NULL, NULL, 0);
    pthread_t thread;
    if (pthread_create(&thread, NULL, main ? off_main : without_lock, bc) != 0) {
        RedisModule_AbortBlock(bc);
        return RedisModule_ReplyWithError(ctx, "ERR no thread");
    }
    pthread_detach(thread);
    return REDISMODULE_OK;
}

static int hold(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 2) return RedisModule_WrongArity(ctx);
    RedisModule_GetSelectedDb(ctx);
    usleep((useconds_t)number_of(argv[1]) * 1000);
    ALL_WELL();
}

static int *page;
static void (*nowhere)(RedisModuleCtx *ctx);

static void *write_page(void *unused) {
    *page = 1;
    return NULL;
}

static const char *armed = "";

static void crash_if(const char *how) {
    if (strcmp(armed, how) == 0) write_page(NULL);
}

static int on_hash(RedisModuleCtx *ctx, int type, const char *event, RedisModuleString *key) {
    crash_if("event");
    return REDISMODULE_OK;
}

static void on_flush(RedisModuleCtx *ctx, RedisModuleEvent e, uint64_t sub, void *data) {
    crash_if("flush");
}

static void on_command(RedisModuleCommandFilterCtx *filter) { crash_if("filter"); }

static void on_info(RedisModuleInfoCtx *ctx, int for_crash_report) {
    if (!for_crash_report) crash_if("info");
    RedisModule_InfoAddSection(ctx, "");
    RedisModule_InfoAddFieldCString(ctx, "armed", armed);
}

static void *value_load(RedisModuleIO *io, int encver) { return RedisModule_Alloc(1); }

static void value_save(RedisModuleIO *io, void *value) { crash_if("save"); }

static size_t value_usage(const void *value) {
    crash_if("usage");
    return 1;
}

static void value_free(void *value) {
    crash_if("free");
    RedisModule_Free(value);
}

static RedisModuleType *type;

static int set_value(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 2) return RedisModule_WrongArity(ctx);
    RedisModuleKey *key = RedisModule_OpenKey(ctx, argv[1], REDISMODULE_WRITE);
    RedisModule_ModuleTypeSetValue(key, type, RedisModule_Alloc(1));
    RedisModule_CloseKey(key);
    ALL_WELL();
}

static int arm(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 2) return RedisModule_WrongArity(ctx);
    page = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    armed = RedisModule_Strdup(text_of(argv[1]));
    /* A filter sends every command to the module thread: none is there before. */
    if (strcmp(armed, "filter") == 0) RedisModule_RegisterCommandFilter(ctx, on_command, 0);
    ALL_WELL();
}

static void on_timer(RedisModuleCtx *ctx, void *unused) { write_page(NULL); }

static int on_reply(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    write_page(NULL);
    return REDISMODULE_OK;
}

static int crash(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 2) return RedisModule_WrongArity(ctx);
    const char *how = text_of(argv[1]);
    page = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (strcmp(how, "write") == 0) write_page(NULL);
    if (strcmp(how, "nil") == 0) nowhere(ctx);
    if (strcmp(how, "abort") == 0) abort();
    if (strcmp(how, "thread") == 0) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, write_page, NULL) == 0) pthread_join(thread, NULL);
    }
    if (strcmp(how, "badfree") == 0) RedisModule_Free((void *)16);
    if (strcmp(how, "timer") == 0) RedisModule_CreateTimer(ctx, 1, on_timer, NULL);
    if (strcmp(how, "reply") == 0) {
        RedisModuleBlockedClient *bc = RedisModule_BlockClient(ctx, on_reply, NULL, NULL, 0);
        return RedisModule_UnblockClient(bc, NULL);
    }
    return RedisModule_ReplyWithError(ctx, "ERR still alive");
}

int RedisModule_OnLoad(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (RedisModule_Init(ctx, "misuse", 1, REDISMODULE_APIVER_1) == REDISMODULE_ERR)
        return REDISMODULE_ERR;
    COMMAND("misuse.leak", calls, "write", 1, 1, 1);
    COMMAND("misuse.well", calls, "write", 1, 1, 1);
    COMMAND("misuse.thread", in_thread, "", 0, 0, 0);
    COMMAND("misuse.main", in_thread, "", 0, 0, 0);
    /* A function of the future: asked for, as a header does, and not there. */
    int (*get_api)(const char *, void *) = ((void **)ctx)[0];
    get_api("RedisModule_Nowhere", &nowhere);
    COMMAND("misuse.crash", crash, "", 0, 0, 0);
    COMMAND("misuse.hold", hold, "", 0, 0, 0);
    COMMAND("misuse.arm", arm, "", 0, 0, 0);
    COMMAND("misuse.value", set_value, "write", 1, 1, 1);
    RedisModuleTypeMethods methods = {.version = REDISMODULE_TYPE_METHOD_VERSION,
                                      .rdb_load = value_load,
                                      .rdb_save = value_save,
                                      .mem_usage = value_usage,
                                      .free = value_free};
    type = RedisModule_CreateDataType(ctx, "misuse-ty", 0, &methods);
    if (type == NULL) return REDISMODULE_ERR;
    RedisModule_SubscribeToKeyspaceEvents(ctx, REDISMODULE_NOTIFY_HASH, on_hash);
    RedisModule_SubscribeToServerEvent(ctx, RedisModuleEvent_FlushDB, on_flush);
    RedisModule_RegisterInfoFunc(ctx, on_info);
    if (argc > 0 && same(argv[0], "crash")) {
        page = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        write_page(NULL);
    }
    return REDISMODULE_OK;
}
