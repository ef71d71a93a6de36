/* INFO fields of a module, and reading the server's.
 *
 * INFO shows the sections info_default and info_dict; a field added before any section is refused.
 *
 *   info.field section field   ServerInfoGetField: a string or null
 *   info.c section field       ServerInfoGetFieldC
 *   info.signed section field / info.unsigned ... / info.double ...     value, or an error
 *   info.log level text        writes a line to the log
 *   info.latency event ms      LatencyAddSample
 *   info.memory                1 if GetUsedMemoryRatio is 0 or more */
#include "testmodule.h"

static void on_info(RedisModuleInfoCtx *ctx, int for_crash_report) {
    RedisModule_InfoAddFieldCString(ctx, "before", "first section");
    if (RedisModule_InfoAddSection(ctx, "default") == REDISMODULE_OK) {
        RedisModule_InfoAddFieldLongLong(ctx, "negative", -7);
        RedisModule_InfoAddFieldULongLong(ctx, "large", UINT64_MAX);
        RedisModule_InfoAddFieldDouble(ctx, "pi", 3.14159);
        RedisModule_InfoAddFieldCString(ctx, "text", "some text");
        if (!for_crash_report) {
            RedisModuleString *str = RedisModule_CreateString(NULL, "a string", 8);
            RedisModule_InfoAddFieldString(ctx, "string", str);
            RedisModule_FreeString(NULL, str);
        }
    }
    RedisModule_InfoAddSection(ctx, "dict");
    RedisModule_InfoBeginDictField(ctx, "pair");
    RedisModule_InfoAddFieldLongLong(ctx, "x", 1);
    RedisModule_InfoAddFieldCString(ctx, "y", "two");
    RedisModule_InfoEndDictField(ctx);
}

static RedisModuleServerInfoData *server_info(RedisModuleCtx *ctx, const RedisModuleString *str) {
    const char *section = text_of(str);
    return RedisModule_GetServerInfo(ctx, strcmp(section, "-") == 0 ? NULL : section);
}

static int field(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 3) return RedisModule_WrongArity(ctx);
    RedisModuleServerInfoData *info = server_info(ctx, argv[1]);
    const char *kind = text_of(argv[0]) + 5, *name = text_of(argv[2]);
    int err = -1;
    if (strcasecmp(kind, "field") == 0) {
        reply_and_free(ctx, RedisModule_ServerInfoGetField(ctx, info, name));
        err = 0;
    } else if (strcasecmp(kind, "c") == 0) {
        const char *text = RedisModule_ServerInfoGetFieldC(info, name);
        if (text == NULL)
            RedisModule_ReplyWithNull(ctx);
        else
            RedisModule_ReplyWithCString(ctx, text);
        err = 0;
    } else if (strcasecmp(kind, "signed") == 0) {
        long long value = RedisModule_ServerInfoGetFieldSigned(info, name, &err);
        if (err == REDISMODULE_OK) RedisModule_ReplyWithLongLong(ctx, value);
    } else if (strcasecmp(kind, "unsigned") == 0) {
        unsigned long long value = RedisModule_ServerInfoGetFieldUnsigned(info, name, &err);
        if (err == REDISMODULE_OK) RedisModule_ReplyWithLongLong(ctx, (long long)value);
    } else {
        double value = RedisModule_ServerInfoGetFieldDouble(info, name, &err);
        if (err == REDISMODULE_OK) RedisModule_ReplyWithDouble(ctx, value);
    }
    if (err != REDISMODULE_OK) RedisModule_ReplyWithErrorFormat(ctx, "ERR no such value: %d", err);
    RedisModule_FreeServerInfo(ctx, info);
    return REDISMODULE_OK;
}

static int write_log(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 3) return RedisModule_WrongArity(ctx);
    RedisModule_Log(ctx, text_of(argv[1]), "%s (%d, %.2f)", text_of(argv[2]), 42, 0.5);
    RedisModule_Log(NULL, "notice", "without context: %s", text_of(argv[2]));
    return RedisModule_ReplyWithSimpleString(ctx, "OK");
}

static int latency(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 3) return RedisModule_WrongArity(ctx);
    RedisModule_LatencyAddSample(text_of(argv[1]), number_of(argv[2]));
    return RedisModule_ReplyWithSimpleString(ctx, "OK");
}

static int memory(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    return RedisModule_ReplyWithLongLong(ctx, RedisModule_GetUsedMemoryRatio() >= 0);
}

int RedisModule_OnLoad(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (RedisModule_Init(ctx, "info", 1, REDISMODULE_APIVER_1) == REDISMODULE_ERR ||
        RedisModule_RegisterInfoFunc(ctx, on_info) == REDISMODULE_ERR)
        return REDISMODULE_ERR;
    COMMAND("info.field", field, "readonly", 0, 0, 0);
    COMMAND("info.c", field, "readonly", 0, 0, 0);
    COMMAND("info.signed", field, "readonly", 0, 0, 0);
    COMMAND("info.unsigned", field, "readonly", 0, 0, 0);
    COMMAND("info.double", field, "readonly", 0, 0, 0);
    COMMAND("info.log", write_log, "readonly", 0, 0, 0);
    COMMAND("info.latency", latency, "readonly", 0, 0, 0);
    COMMAND("info.memory", memory, "readonly", 0, 0, 0);
    return REDISMODULE_OK;
}
