/* Breaks rules of the API in ways that do no harm, for strict mode and the watchdog.
 *
 *   misuse.leak key            leaves a key handle and a call reply behind
 *   misuse.thread              a thread asks for the size of the database without the module lock, then with it
 *   misuse.main                a thread registers a command with the lock: that belongs to the module thread
 *   misuse.hold ms             keeps the module lock for so long
 *   misuse.crash how           how: write (to a page that must not be written), nil (calls a function that there is not),
 *                              abort, thread (writes so on a thread of its own)
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
    return REDISMODULE_OK;
}
