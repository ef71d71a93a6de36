/* Forking.
 *
 *   fork.count key         the child counts the keys of the database and exits with that number (at
 *                          most 100); when it has ended, the done handler SETs key to "code signal"
 *   fork.sleep ms          the child sleeps, then exits with 7; "ERR errno N" if there is a child
 *   fork.kill              KillForkChild of the last child
 *   fork.thread ms         a thread forks under the lock; its child counts the keys, writes the
 *                          number into a pipe and sleeps ms; the thread reads the pipe without the
 *                          lock, kills the child under it, and answers the number
 *   fork.last              [code, signal] of the last done handler; code -1 before the first
 *   fork.flags             the child exits with 1 if GetContextFlags has IS_CHILD, else 0 */
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include "testmodule.h"

static int last_code = -1, last_signal, last_pid;
static RedisModuleString *result_key;
static RedisModuleCtx *global_ctx;

static void on_done(int code, int by_signal, void *data) {
    last_code = code;
    last_signal = by_signal;
    if (result_key == NULL) return;
    RedisModuleString *text = RedisModule_CreateStringPrintf(NULL, "%d %d", code, by_signal);
    RedisModuleCallReply *reply = RedisModule_Call(global_ctx, "SET", "!ss", result_key, text);
    if (reply != NULL) RedisModule_FreeCallReply(reply);
    RedisModule_FreeString(NULL, text);
    RedisModule_FreeString(NULL, result_key);
    result_key = NULL;
}

static void count_key(RedisModuleCtx *ctx, RedisModuleString *name, RedisModuleKey *key,
                      void *data) {
    ++*(int *)data;
}

static int count_keys(RedisModuleCtx *ctx) {
    int keys = 0;
    RedisModuleScanCursor *cursor = RedisModule_ScanCursorCreate();
    while (RedisModule_Scan(ctx, cursor, count_key, &keys)) continue;
    RedisModule_ScanCursorDestroy(cursor);
    return keys;
}

static int reply_forked(RedisModuleCtx *ctx, int pid) {
    if (pid < 0) return RedisModule_ReplyWithErrorFormat(ctx, "ERR errno %d", errno);
    last_pid = pid;
    return RedisModule_ReplyWithSimpleString(ctx, "OK");
}

static int fork_count(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 2) return RedisModule_WrongArity(ctx);
    int pid = RedisModule_Fork(on_done, NULL);
    if (pid == 0) {
        RedisModule_SendChildHeartbeat(0.5);
        int keys = count_keys(ctx);
        RedisModule_ExitFromChild(keys < 100 ? keys : 100);
    }
    if (pid > 0) result_key = RedisModule_CreateStringFromString(NULL, argv[1]);
    return reply_forked(ctx, pid);
}

static int fork_sleep(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 2) return RedisModule_WrongArity(ctx);
    long long ms = number_of(argv[1]);
    int pid = RedisModule_Fork(on_done, NULL);
    if (pid == 0) {
        usleep((useconds_t)ms * 1000);
        RedisModule_ExitFromChild(7);
    }
    return reply_forked(ctx, pid);
}

static int fork_flags(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    int pid = RedisModule_Fork(on_done, NULL);
    if (pid == 0)
        RedisModule_ExitFromChild((RedisModule_GetContextFlags(ctx) &
                                   REDISMODULE_CTX_FLAGS_IS_CHILD) != 0);
    return reply_forked(ctx, pid);
}

static int fork_kill(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    return reply_status(ctx, RedisModule_KillForkChild(last_pid));
}

typedef struct Job {
    RedisModuleBlockedClient *bc;
    long long ms;
} Job;

static void *fork_thread(void *data) {
    Job *job = data;
    RedisModuleCtx *ctx = RedisModule_GetThreadSafeContext(job->bc);
    int fds[2], keys = -1, pid = -1;
    if (pipe(fds) == 0) {
        RedisModule_ThreadSafeContextLock(ctx);
        pid = RedisModule_Fork(NULL, NULL);
        if (pid == 0) {
            keys = count_keys(ctx);
            if (write(fds[1], &keys, sizeof(keys)) != sizeof(keys)) RedisModule_ExitFromChild(1);
            usleep((useconds_t)job->ms * 1000);
            RedisModule_ExitFromChild(0);
        }
        RedisModule_ThreadSafeContextUnlock(ctx);
        close(fds[1]);
        if (pid > 0 && read(fds[0], &keys, sizeof(keys)) != sizeof(keys)) keys = -1;
        close(fds[0]);
        if (pid > 0) {
            RedisModule_ThreadSafeContextLock(ctx);
            RedisModule_KillForkChild(pid);
            RedisModule_ThreadSafeContextUnlock(ctx);
            /* The child must have been reaped: there is nothing left to wait for. */
            if (waitpid(pid, NULL, WNOHANG) != -1) keys = -2;
        }
    }
    RedisModule_ReplyWithLongLong(ctx, keys);
    RedisModule_FreeThreadSafeContext(ctx);
    RedisModule_UnblockClient(job->bc, NULL);
    RedisModule_Free(job);
    return NULL;
}

static int fork_in_thread(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 2) return RedisModule_WrongArity(ctx);
    Job *job = RedisModule_Alloc(sizeof(*job));
    job->bc = RedisModule_BlockClient(ctx, NULL, NULL, NULL, 0);
    job->ms = number_of(argv[1]);
    pthread_t thread;
    if (pthread_create(&thread, NULL, fork_thread, job) == 0) pthread_detach(thread);
    return REDISMODULE_OK;
}

static int show_last(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    RedisModule_ReplyWithArray(ctx, 2);
    RedisModule_ReplyWithLongLong(ctx, last_code);
    return RedisModule_ReplyWithLongLong(ctx, last_signal);
}

int RedisModule_OnLoad(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (RedisModule_Init(ctx, "forkapi", 1, REDISMODULE_APIVER_1) == REDISMODULE_ERR)
        return REDISMODULE_ERR;
    global_ctx = RedisModule_GetDetachedThreadSafeContext(ctx);
    COMMAND("fork.count", fork_count, "write", 1, 1, 1);
    COMMAND("fork.sleep", fork_sleep, "readonly", 0, 0, 0);
    COMMAND("fork.flags", fork_flags, "readonly", 0, 0, 0);
    COMMAND("fork.kill", fork_kill, "readonly", 0, 0, 0);
    COMMAND("fork.thread", fork_in_thread, "readonly blocking", 0, 0, 0);
    COMMAND("fork.last", show_last, "readonly", 0, 0, 0);
    return REDISMODULE_OK;
}
