/* Timers, blocked clients, threads and the module lock.
 *
 *   tt.timer ms key            a timer that INCRs key; its id as a string
 *   tt.timerinfo id            [remaining ms, key]; null for an unknown timer
 *   tt.stop id                 StopTimer: the key it carried; null for an unknown timer
 *   tt.chain ms n key          a timer that INCRs key and starts the next, n times
 *   tt.order key               three timers of 30, 10 and 20 ms that RPUSH their period to key
 *
 *   tt.block ms text           blocks; a thread sleeps ms and unblocks; the reply function answers
 *                              text; after 1000 ms the timeout function answers "timed out"
 *   tt.blockforever ms         blocks, nobody unblocks it; after ms (0: never) "timed out"
 *   tt.threadreply n           blocks; a thread answers n integers through its thread-safe context,
 *                              without the lock
 *   tt.abort                   blocks and aborts: the command answers "aborted" itself
 *   tt.blocked key ms          BlockClientOnKeys: answers the length of the list at key as soon as
 *                              one is pushed to, or null after ms
 *   tt.freed                   [private data freed, disconnect callbacks] since the start
 *   tt.measure ms              as tt.block, with BlockedClientMeasureTimeStart/End around the sleep
 *
 *   tt.transfer src dst n      moves n between two integer keys within one command, by RM_Call;
 *                              answers their sum before and after: equal, or the command is broken
 *   tt.sum key [key ...]       the sum of integer keys, read within one command
 *   tt.slowsum us key [key..]  the same, pausing us microseconds between the keys
 *   tt.threadtransfer m src dst n    a thread does m transfers, each under ThreadSafeContextLock of
 *                              its own; blocks until done, answers m
 *   tt.threadsum m total key [key ...]   a thread sums the keys m times under the lock; answers how
 *                              often the sum was not total
 *   tt.batch m key             a thread takes the lock once and INCRs key m times; answers m
 *   tt.trylock                 ThreadSafeContextTryLock from a thread, until it succeeds: "OK"
 *   tt.detached ms key         a thread without client (detached context) SETs key to "done"
 *   tt.oneshot key             EventLoopAddOneShot from a thread; the function INCRs key
 *   tt.pipe text key           EventLoopAdd on a pipe, to which a thread writes; text is SET to key
 *   tt.yield ms                keeps the lock for ms, calling Yield with YIELD_FLAG_CLIENTS
 *   tt.hold ms                 keeps the lock for ms
 *   tt.yieldbetween ms a b     INCR a, ms of Yield, INCR b; answers ms
 *   tt.busycall command [arg ...]    calls it, also while a module yields; answers what that does
 *   tt.otheryield ms           a thread takes the lock, and yields with another context; answers ms
 *   tt.threadyield ms a b      a thread takes the lock once: INCR a, ms of Yield, INCR b; answers ms */
#include <pthread.h>
#include <unistd.h>

#include "testmodule.h"

static _Atomic long long freed, disconnected;

static void pause_us(long long us) {
    if (us > 0) usleep((useconds_t)us);
}

/* Runs `function` in a thread of its own. */
static int start_thread(void *(*function)(void *), void *data) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, function, data) != 0) return REDISMODULE_ERR;
    pthread_detach(thread);
    return REDISMODULE_OK;
}

static void call_and_forget(RedisModuleCtx *ctx, const char *command, RedisModuleString *key) {
    RedisModuleCallReply *reply = RedisModule_Call(ctx, command, "!s", key);
    if (reply != NULL) RedisModule_FreeCallReply(reply);
}

/* ----- Timers ----- */

static void timer_incr(RedisModuleCtx *ctx, void *data) {
    call_and_forget(ctx, "INCR", data);
    RedisModule_FreeString(ctx, data);
}

static int timer(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 3) return RedisModule_WrongArity(ctx);
    RedisModuleString *key = RedisModule_CreateStringFromString(NULL, argv[2]);
    RedisModuleTimerID id = RedisModule_CreateTimer(ctx, number_of(argv[1]), timer_incr, key);
    return reply_and_free(ctx, RedisModule_CreateStringFromULongLong(ctx, id));
}

static RedisModuleTimerID timer_id(const RedisModuleString *str) {
    unsigned long long id = 0;
    RedisModule_StringToULongLong(str, &id);
    return id;
}

static int timer_info(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 2) return RedisModule_WrongArity(ctx);
    uint64_t remaining;
    void *data;
    if (RedisModule_GetTimerInfo(ctx, timer_id(argv[1]), &remaining, &data) == REDISMODULE_ERR)
        return RedisModule_ReplyWithNull(ctx);
    RedisModule_ReplyWithArray(ctx, 2);
    RedisModule_ReplyWithLongLong(ctx, (long long)remaining);
    return RedisModule_ReplyWithString(ctx, data);
}

static int timer_stop(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 2) return RedisModule_WrongArity(ctx);
    void *data;
    if (RedisModule_StopTimer(ctx, timer_id(argv[1]), &data) == REDISMODULE_ERR)
        return RedisModule_ReplyWithNull(ctx);
    return reply_and_free(ctx, data);
}

typedef struct Chain {
    RedisModuleString *key;
    long long period, left;
} Chain;

static void timer_chain(RedisModuleCtx *ctx, void *data) {
    Chain *chain = data;
    call_and_forget(ctx, "INCR", chain->key);
    if (--chain->left > 0) {
        RedisModule_CreateTimer(ctx, chain->period, timer_chain, chain);
    } else {
        RedisModule_FreeString(NULL, chain->key);
        RedisModule_Free(chain);
    }
}

static int chain_timers(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 4) return RedisModule_WrongArity(ctx);
    Chain *chain = RedisModule_Alloc(sizeof(*chain));
    chain->period = number_of(argv[1]);
    chain->left = number_of(argv[2]);
    chain->key = RedisModule_CreateStringFromString(NULL, argv[3]);
    RedisModule_CreateTimer(ctx, chain->period, timer_chain, chain);
    return RedisModule_ReplyWithSimpleString(ctx, "OK");
}

static void timer_push(RedisModuleCtx *ctx, void *data) {
    Chain *chain = data;
    RedisModuleCallReply *reply =
        RedisModule_Call(ctx, "RPUSH", "!sl", chain->key, chain->period);
    if (reply != NULL) RedisModule_FreeCallReply(reply);
    RedisModule_FreeString(NULL, chain->key);
    RedisModule_Free(chain);
}

static int ordered_timers(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 2) return RedisModule_WrongArity(ctx);
    for (long long period = 30; period > 0; period = period == 30 ? 10 : period == 10 ? 20 : 0) {
        Chain *chain = RedisModule_Calloc(1, sizeof(*chain));
        chain->period = period;
        chain->key = RedisModule_CreateStringFromString(NULL, argv[1]);
        RedisModule_CreateTimer(ctx, period, timer_push, chain);
    }
    return RedisModule_ReplyWithSimpleString(ctx, "OK");
}

/* ----- Blocked clients ----- */

typedef struct Job {
    RedisModuleBlockedClient *bc;
    RedisModuleString *text;
    long long number;
    int measure;
    int argc; /* keys, copied */
    RedisModuleString *argv[32];
} Job;

static Job *new_job(RedisModuleBlockedClient *bc, long long number) {
    Job *job = RedisModule_Calloc(1, sizeof(*job));
    job->bc = bc;
    job->number = number;
    return job;
}

static void free_job(Job *job) {
    if (job->text != NULL) RedisModule_FreeString(NULL, job->text);
    for (int i = 0; i < job->argc; i++) RedisModule_FreeString(NULL, job->argv[i]);
    RedisModule_Free(job);
}

static int copy_keys(Job *job, RedisModuleString **argv, int argc) {
    int most = (int)(sizeof(job->argv) / sizeof(*job->argv));
    for (int i = 0; i < argc && job->argc < most; i++)
        job->argv[job->argc++] = RedisModule_CreateStringFromString(NULL, argv[i]);
    return job->argc;
}

/* Blocks the client and runs `function` in a thread of its own, with a job that has a number, a text
 * (or null) and copies of the keys. */
static int block_for_thread(RedisModuleCtx *ctx, void *(*function)(void *), long long number,
                            RedisModuleString *text, RedisModuleString **keys, int count) {
    Job *job = new_job(RedisModule_BlockClient(ctx, NULL, NULL, NULL, 0), number);
    if (text != NULL) job->text = RedisModule_CreateStringFromString(NULL, text);
    copy_keys(job, keys, count);
    return start_thread(function, job);
}

static void free_privdata(RedisModuleCtx *ctx, void *data) {
    freed++;
    RedisModule_FreeString(ctx, data);
}

static void on_disconnect(RedisModuleCtx *ctx, RedisModuleBlockedClient *bc) { disconnected++; }

static int on_reply(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (!RedisModule_IsBlockedReplyRequest(ctx))
        return RedisModule_ReplyWithError(ctx, "ERR not a reply request");
    return RedisModule_ReplyWithString(ctx, RedisModule_GetBlockedClientPrivateData(ctx));
}

static int on_timeout(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (!RedisModule_IsBlockedTimeoutRequest(ctx))
        return RedisModule_ReplyWithError(ctx, "ERR not a timeout request");
    return RedisModule_ReplyWithSimpleString(ctx, "timed out");
}

static void *sleep_and_unblock(void *data) {
    Job *job = data;
    if (job->measure) RedisModule_BlockedClientMeasureTimeStart(job->bc);
    pause_us(job->number * 1000);
    if (job->measure) RedisModule_BlockedClientMeasureTimeEnd(job->bc);
    RedisModule_UnblockClient(job->bc, job->text);
    job->text = NULL; /* freed by free_privdata */
    free_job(job);
    return NULL;
}

static int block(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    int measure = strcasecmp(text_of(argv[0]), "tt.measure") == 0;
    if (argc != (measure ? 2 : 3)) return RedisModule_WrongArity(ctx);
    RedisModuleBlockedClient *bc =
        RedisModule_BlockClient(ctx, on_reply, on_timeout, free_privdata, 1000);
    RedisModule_SetDisconnectCallback(bc, on_disconnect);
    Job *job = new_job(bc, number_of(argv[1]));
    job->text = RedisModule_CreateStringFromString(NULL, argv[argc - 1]);
    job->measure = measure;
    return start_thread(sleep_and_unblock, job);
}

static int block_for_ever(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 2) return RedisModule_WrongArity(ctx);
    RedisModuleBlockedClient *bc =
        RedisModule_BlockClient(ctx, on_reply, on_timeout, NULL, number_of(argv[1]));
    RedisModule_SetDisconnectCallback(bc, on_disconnect);
    return REDISMODULE_OK;
}

static void *reply_from_thread(void *data) {
    Job *job = data;
    RedisModuleCtx *ctx = RedisModule_GetThreadSafeContext(job->bc);
    RedisModule_ReplyWithArray(ctx, REDISMODULE_POSTPONED_LEN);
    for (long long i = 0; i < job->number; i++) RedisModule_ReplyWithLongLong(ctx, i);
    RedisModule_ReplySetArrayLength(ctx, (long)job->number);
    RedisModule_FreeThreadSafeContext(ctx);
    RedisModule_UnblockClient(job->bc, NULL);
    free_job(job);
    return NULL;
}

static int thread_reply(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 2) return RedisModule_WrongArity(ctx);
    return block_for_thread(ctx, reply_from_thread, number_of(argv[1]), NULL, NULL, 0);
}

static int abort_block(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    RedisModuleBlockedClient *bc = RedisModule_BlockClient(ctx, on_reply, NULL, NULL, 0);
    RedisModule_AbortBlock(bc);
    return RedisModule_ReplyWithSimpleString(ctx, "aborted");
}

/* Answers the length of the list; ERR leaves the client blocked. */
static int on_key_ready(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    RedisModuleString *name = RedisModule_GetBlockedClientReadyKey(ctx);
    RedisModuleKey *key = RedisModule_OpenKey(ctx, name, REDISMODULE_READ);
    size_t len;
    if (RedisModule_KeyType(key) != REDISMODULE_KEYTYPE_LIST) {
        RedisModule_CloseKey(key);
        return REDISMODULE_ERR;
    }
    len = RedisModule_ValueLength(key);
    RedisModule_CloseKey(key);
    return RedisModule_ReplyWithLongLong(ctx, (long long)len);
}

static int on_key_timeout(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    return RedisModule_ReplyWithNull(ctx);
}

static int block_on_key(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 3) return RedisModule_WrongArity(ctx);
    RedisModuleString *data = RedisModule_CreateString(NULL, "data", 4);
    RedisModule_BlockClientOnKeys(ctx, on_key_ready, on_key_timeout, free_privdata,
                                  number_of(argv[2]), &argv[1], 1, data);
    return REDISMODULE_OK;
}

static int show_freed(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    RedisModule_ReplyWithArray(ctx, 2);
    RedisModule_ReplyWithLongLong(ctx, freed);
    return RedisModule_ReplyWithLongLong(ctx, disconnected);
}

/* ----- Transfers ----- */

static long long read_number(RedisModuleCtx *ctx, RedisModuleString *key) {
    RedisModuleCallReply *reply = RedisModule_Call(ctx, "GET", "s", key);
    long long number = 0;
    if (RedisModule_CallReplyType(reply) == REDISMODULE_REPLY_STRING) {
        RedisModuleString *text = RedisModule_CreateStringFromCallReply(reply);
        number = number_of(text);
        RedisModule_FreeString(NULL, text);
    }
    RedisModule_FreeCallReply(reply);
    return number;
}

static long long add(RedisModuleCtx *ctx, RedisModuleString *key, long long n) {
    RedisModuleCallReply *reply = RedisModule_Call(ctx, "INCRBY", "!sl", key, n);
    long long number = RedisModule_CallReplyInteger(reply);
    RedisModule_FreeCallReply(reply);
    return number;
}

static int transfer(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 4) return RedisModule_WrongArity(ctx);
    long long n = number_of(argv[3]);
    long long before = read_number(ctx, argv[1]) + read_number(ctx, argv[2]);
    add(ctx, argv[1], -n);
    add(ctx, argv[2], n);
    long long after = read_number(ctx, argv[1]) + read_number(ctx, argv[2]);
    RedisModule_ReplyWithArray(ctx, 2);
    RedisModule_ReplyWithLongLong(ctx, before);
    return RedisModule_ReplyWithLongLong(ctx, after);
}

static int sum(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    int slow = strcasecmp(text_of(argv[0]), "tt.slowsum") == 0, first = slow ? 2 : 1;
    if (argc <= first) return RedisModule_WrongArity(ctx);
    long long total = 0;
    for (int i = first; i < argc; i++) {
        total += read_number(ctx, argv[i]);
        if (slow) pause_us(number_of(argv[1]));
    }
    return RedisModule_ReplyWithLongLong(ctx, total);
}

/* Unblocks with the number as the reply and ends the job. */
static void finish(RedisModuleCtx *ctx, Job *job, long long number) {
    RedisModule_ReplyWithLongLong(ctx, number);
    RedisModule_FreeThreadSafeContext(ctx);
    RedisModule_UnblockClient(job->bc, NULL);
    free_job(job);
}

static void *transfer_thread(void *data) {
    Job *job = data;
    RedisModuleCtx *ctx = RedisModule_GetThreadSafeContext(job->bc);
    long long n = number_of(job->text);
    for (long long i = 0; i < job->number; i++) {
        RedisModule_ThreadSafeContextLock(ctx);
        add(ctx, job->argv[0], -n);
        add(ctx, job->argv[1], n);
        RedisModule_ThreadSafeContextUnlock(ctx);
    }
    finish(ctx, job, job->number);
    return NULL;
}

static int thread_transfer(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 5) return RedisModule_WrongArity(ctx);
    return block_for_thread(ctx, transfer_thread, number_of(argv[1]), argv[4], argv + 2, 2);
}

static void *sum_thread(void *data) {
    Job *job = data;
    RedisModuleCtx *ctx = RedisModule_GetThreadSafeContext(job->bc);
    long long expected = number_of(job->text), wrong = 0;
    for (long long i = 0; i < job->number; i++) {
        long long total = 0;
        RedisModule_ThreadSafeContextLock(ctx);
        for (int k = 0; k < job->argc; k++) total += read_number(ctx, job->argv[k]);
        RedisModule_ThreadSafeContextUnlock(ctx);
        wrong += total != expected;
    }
    finish(ctx, job, wrong);
    return NULL;
}

static int thread_sum(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc < 4) return RedisModule_WrongArity(ctx);
    return block_for_thread(ctx, sum_thread, number_of(argv[1]), argv[2], argv + 3, argc - 3);
}

static void *batch_thread(void *data) {
    Job *job = data;
    RedisModuleCtx *ctx = RedisModule_GetThreadSafeContext(job->bc);
    RedisModule_ThreadSafeContextLock(ctx);
    for (long long i = 0; i < job->number; i++) add(ctx, job->argv[0], 1);
    RedisModule_ThreadSafeContextUnlock(ctx);
    finish(ctx, job, job->number);
    return NULL;
}

static int batch(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 3) return RedisModule_WrongArity(ctx);
    return block_for_thread(ctx, batch_thread, number_of(argv[1]), NULL, argv + 2, 1);
}

static void *trylock_thread(void *data) {
    Job *job = data;
    RedisModuleCtx *ctx = RedisModule_GetThreadSafeContext(job->bc);
    while (RedisModule_ThreadSafeContextTryLock(ctx) == REDISMODULE_ERR) {
        if (errno != EBUSY) break;
        pause_us(50);
    }
    RedisModule_ReplyWithSimpleString(ctx, "OK");
    RedisModule_ThreadSafeContextUnlock(ctx);
    RedisModule_FreeThreadSafeContext(ctx);
    RedisModule_UnblockClient(job->bc, NULL);
    free_job(job);
    return NULL;
}

static int trylock(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    return block_for_thread(ctx, trylock_thread, 0, NULL, NULL, 0);
}

/* ----- Threads without a client ----- */

static RedisModuleCtx *global_ctx;

static void *detached_thread(void *data) {
    Job *job = data;
    pause_us(job->number * 1000);
    RedisModuleCtx *ctx = RedisModule_GetThreadSafeContext(NULL);
    RedisModule_ThreadSafeContextLock(ctx);
    RedisModuleCallReply *reply = RedisModule_Call(global_ctx, "SET", "!sc", job->argv[0], "done");
    if (reply != NULL) RedisModule_FreeCallReply(reply);
    RedisModule_ThreadSafeContextUnlock(ctx);
    RedisModule_FreeThreadSafeContext(ctx);
    free_job(job);
    return NULL;
}

static int detached(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 3) return RedisModule_WrongArity(ctx);
    Job *job = new_job(NULL, number_of(argv[1]));
    copy_keys(job, argv + 2, 1);
    start_thread(detached_thread, job);
    return RedisModule_ReplyWithSimpleString(ctx, "OK");
}

static void run_oneshot(void *data) {
    Job *job = data;
    call_and_forget(global_ctx, "INCR", job->argv[0]);
    free_job(job);
}

static void *oneshot_thread(void *data) {
    RedisModule_EventLoopAddOneShot(run_oneshot, data);
    return NULL;
}

static int oneshot(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 2) return RedisModule_WrongArity(ctx);
    Job *job = new_job(NULL, 0);
    copy_keys(job, argv + 1, 1);
    start_thread(oneshot_thread, job);
    return RedisModule_ReplyWithSimpleString(ctx, "OK");
}

static void on_readable(int fd, void *data, int mask) {
    Job *job = data;
    char buf[256];
    ssize_t len = read(fd, buf, sizeof(buf));
    if (len < 0) len = 0;
    RedisModuleCallReply *reply =
        RedisModule_Call(global_ctx, "SET", "!sb", job->argv[0], buf, (size_t)len);
    if (reply != NULL) RedisModule_FreeCallReply(reply);
    RedisModule_EventLoopDel(fd, REDISMODULE_EVENTLOOP_READABLE);
    close(fd);
    free_job(job);
}

static void *write_thread(void *data) {
    Job *job = data;
    size_t len;
    const char *text = RedisModule_StringPtrLen(job->text, &len);
    pause_us(5000);
    if (write((int)job->number, text, len) < 0) RedisModule_Log(NULL, "warning", "no pipe");
    close((int)job->number);
    free_job(job);
    return NULL;
}

static int through_pipe(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 3) return RedisModule_WrongArity(ctx);
    int fds[2];
    if (pipe(fds) != 0) return RedisModule_ReplyWithError(ctx, "ERR no pipe");
    Job *reader = new_job(NULL, 0), *writer = new_job(NULL, fds[1]);
    copy_keys(reader, argv + 2, 1);
    writer->text = RedisModule_CreateStringFromString(NULL, argv[1]);
    if (RedisModule_EventLoopAdd(fds[0], REDISMODULE_EVENTLOOP_READABLE, on_readable, reader) ==
        REDISMODULE_ERR)
        return RedisModule_ReplyWithError(ctx, "ERR not added");
    start_thread(write_thread, writer);
    return RedisModule_ReplyWithSimpleString(ctx, "OK");
}

/* ----- Long holds ----- */

static int hold(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 2) return RedisModule_WrongArity(ctx);
    int yields = strcasecmp(text_of(argv[0]), "tt.yield") == 0;
    uint64_t end = RedisModule_MonotonicMicroseconds() + (uint64_t)number_of(argv[1]) * 1000;
    while (RedisModule_MonotonicMicroseconds() < end) {
        if (yields) RedisModule_Yield(ctx, REDISMODULE_YIELD_FLAG_CLIENTS, "tt.yield is running");
        pause_us(500);
    }
    return RedisModule_ReplyWithSimpleString(ctx, "OK");
}

static void yield_for(RedisModuleCtx *ctx, long long ms) {
    uint64_t end = RedisModule_MonotonicMicroseconds() + (uint64_t)ms * 1000;
    while (RedisModule_MonotonicMicroseconds() < end) {
        RedisModule_Yield(ctx, REDISMODULE_YIELD_FLAG_CLIENTS, "tt.threadyield is running");
        pause_us(500);
    }
}

static void yield_between(RedisModuleCtx *ctx, RedisModuleString **keys, long long ms) {
    add(ctx, keys[0], 1);
    yield_for(ctx, ms);
    add(ctx, keys[1], 1);
}

static void *other_yield_thread(void *data) {
    Job *job = data;
    RedisModuleCtx *ctx = RedisModule_GetThreadSafeContext(job->bc);
    RedisModule_ThreadSafeContextLock(ctx);
    yield_for(global_ctx, job->number);
    RedisModule_ThreadSafeContextUnlock(ctx);
    finish(ctx, job, job->number);
    return NULL;
}

static int other_yield(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 2) return RedisModule_WrongArity(ctx);
    return block_for_thread(ctx, other_yield_thread, number_of(argv[1]), NULL, NULL, 0);
}

static int yield_in_command(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 4) return RedisModule_WrongArity(ctx);
    yield_between(ctx, argv + 2, number_of(argv[1]));
    return RedisModule_ReplyWithLongLong(ctx, number_of(argv[1]));
}

static int busy_call(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc < 2) return RedisModule_WrongArity(ctx);
    RedisModuleCallReply *reply =
        RedisModule_Call(ctx, text_of(argv[1]), "!v", argv + 2, (size_t)(argc - 2));
    if (reply == NULL) return RedisModule_ReplyWithError(ctx, "ERR not called");
    RedisModule_ReplyWithCallReply(ctx, reply);
    RedisModule_FreeCallReply(reply);
    return REDISMODULE_OK;
}

static void *yield_thread(void *data) {
    Job *job = data;
    RedisModuleCtx *ctx = RedisModule_GetThreadSafeContext(job->bc);
    RedisModule_ThreadSafeContextLock(ctx);
    yield_between(ctx, job->argv, job->number);
    RedisModule_ThreadSafeContextUnlock(ctx);
    finish(ctx, job, job->number);
    return NULL;
}

static int thread_yield(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 4) return RedisModule_WrongArity(ctx);
    return block_for_thread(ctx, yield_thread, number_of(argv[1]), NULL, argv + 2, 2);
}

int RedisModule_OnLoad(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (RedisModule_Init(ctx, "timer_thread", 1, REDISMODULE_APIVER_1) == REDISMODULE_ERR)
        return REDISMODULE_ERR;
    global_ctx = RedisModule_GetDetachedThreadSafeContext(ctx);
    COMMAND("tt.timer", timer, "write", 2, 2, 1);
    COMMAND("tt.timerinfo", timer_info, "readonly", 0, 0, 0);
    COMMAND("tt.stop", timer_stop, "readonly", 0, 0, 0);
    COMMAND("tt.chain", chain_timers, "write", 3, 3, 1);
    COMMAND("tt.order", ordered_timers, "write", 1, 1, 1);
    COMMAND("tt.block", block, "readonly blocking", 0, 0, 0);
    COMMAND("tt.measure", block, "readonly blocking", 0, 0, 0);
    COMMAND("tt.blockforever", block_for_ever, "readonly blocking", 0, 0, 0);
    COMMAND("tt.threadreply", thread_reply, "readonly blocking", 0, 0, 0);
    COMMAND("tt.abort", abort_block, "readonly", 0, 0, 0);
    COMMAND("tt.blocked", block_on_key, "readonly blocking", 1, 1, 1);
    COMMAND("tt.freed", show_freed, "readonly", 0, 0, 0);
    COMMAND("tt.transfer", transfer, "write", 1, 2, 1);
    COMMAND("tt.sum", sum, "readonly", 1, -1, 1);
    COMMAND("tt.slowsum", sum, "readonly", 2, -1, 1);
    COMMAND("tt.threadtransfer", thread_transfer, "write blocking", 2, 3, 1);
    COMMAND("tt.threadsum", thread_sum, "readonly blocking", 3, -1, 1);
    COMMAND("tt.batch", batch, "write blocking allow-busy", 2, 2, 1);
    COMMAND("tt.trylock", trylock, "readonly blocking", 0, 0, 0);
    COMMAND("tt.detached", detached, "write", 2, 2, 1);
    COMMAND("tt.oneshot", oneshot, "write", 1, 1, 1);
    COMMAND("tt.pipe", through_pipe, "write", 2, 2, 1);
    COMMAND("tt.yield", hold, "readonly", 0, 0, 0);
    COMMAND("tt.hold", hold, "readonly", 0, 0, 0);
    COMMAND("tt.yieldbetween", yield_in_command, "write", 2, 3, 1);
    COMMAND("tt.otheryield", other_yield, "readonly blocking", 0, 0, 0);
    COMMAND("tt.busycall", busy_call, "write allow-busy", 0, 0, 0);
    COMMAND("tt.threadyield", thread_yield, "write blocking", 2, 3, 1);
    return REDISMODULE_OK;
}
