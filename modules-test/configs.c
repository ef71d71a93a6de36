/* Configuration parameters of a module, one of each kind and flag:
 *   configs.text      string, default "default text"; "bad" is refused with an own message
 *   configs.fixed     string, immutable
 *   configs.secret    string, sensitive
 *   configs.number    numeric, -5 to 2000, default 10
 *   configs.memory    numeric, memory units, default 1mb
 *   configs.on        bool, default yes
 *   configs.color     enum red 1, green 2, blue 4, default green
 *   configs.features  enum with bit flags: none 0, read 1, write 2, admin 4, default "read write"
 *   configs.hidden    bool, hidden from CONFIG GET patterns
 *
 * Module argument "noload": registers but never calls LoadConfigs, so that loading must fail.
 *
 *   cfg.values        all values as the module sees them
 *   cfg.applied       how often apply functions ran: [that of text and number, that of
 *                     features]
 *   cfg.late          RegisterBoolConfig outside OnLoad: "ERR errno N" */
#include "testmodule.h"

static RedisModuleString *text, *fixed, *secret;
static long long number, memory;
static int on, color, features, hidden;
static long long applied_shared, applied_features;

static RedisModuleString *get_string(const char *name, void *data) {
    return *(RedisModuleString **)data;
}

static int set_string(const char *name, RedisModuleString *value, void *data,
                      RedisModuleString **err) {
    if (strcmp(text_of(value), "bad") == 0) {
        *err = RedisModule_CreateStringPrintf(NULL, "%s must not be bad", name);
        return REDISMODULE_ERR;
    }
    RedisModuleString **at = data;
    if (*at != NULL) RedisModule_FreeString(NULL, *at);
    RedisModule_RetainString(NULL, value);
    *at = value;
    return REDISMODULE_OK;
}

static long long get_number(const char *name, void *data) { return *(long long *)data; }

static int set_number(const char *name, long long value, void *data, RedisModuleString **err) {
    *(long long *)data = value;
    return REDISMODULE_OK;
}

static int get_int(const char *name, void *data) { return *(int *)data; }

static int set_int(const char *name, int value, void *data, RedisModuleString **err) {
    *(int *)data = value;
    return REDISMODULE_OK;
}

/* Used by text and number, with different private data. */
static int apply_shared(RedisModuleCtx *ctx, void *data, RedisModuleString **err) {
    applied_shared++;
    if (number == 13) {
        *err = RedisModule_CreateString(NULL, "13 is not applied", 17);
        return REDISMODULE_ERR;
    }
    return REDISMODULE_OK;
}

static int apply_features(RedisModuleCtx *ctx, void *data, RedisModuleString **err) {
    applied_features++;
    return REDISMODULE_OK;
}

static int values(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    RedisModule_ReplyWithArray(ctx, 9);
    RedisModule_ReplyWithString(ctx, text);
    RedisModule_ReplyWithString(ctx, fixed);
    RedisModule_ReplyWithString(ctx, secret);
    RedisModule_ReplyWithLongLong(ctx, number);
    RedisModule_ReplyWithLongLong(ctx, memory);
    RedisModule_ReplyWithLongLong(ctx, on);
    RedisModule_ReplyWithLongLong(ctx, color);
    RedisModule_ReplyWithLongLong(ctx, features);
    return RedisModule_ReplyWithLongLong(ctx, hidden);
}

static int applied(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    RedisModule_ReplyWithArray(ctx, 2);
    RedisModule_ReplyWithLongLong(ctx, applied_shared);
    return RedisModule_ReplyWithLongLong(ctx, applied_features);
}

static int register_late(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    return reply_status(ctx, RedisModule_RegisterBoolConfig(ctx, "late", 1, 0, get_int, set_int,
                                                            NULL, &on));
}

int RedisModule_OnLoad(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (RedisModule_Init(ctx, "configs", 1, REDISMODULE_APIVER_1) == REDISMODULE_ERR)
        return REDISMODULE_ERR;
    COMMAND("cfg.values", values, "readonly", 0, 0, 0);
    COMMAND("cfg.applied", applied, "readonly", 0, 0, 0);
    COMMAND("cfg.late", register_late, "readonly", 0, 0, 0);

    static const char *colors[] = {"red", "green", "blue"};
    static const int color_values[] = {1, 2, 4};
    static const char *bits[] = {"none", "read", "write", "admin"};
    static const int bit_values[] = {0, 1, 2, 4};
    int failed =
        RedisModule_RegisterStringConfig(ctx, "text", "default text", REDISMODULE_CONFIG_DEFAULT,
                                         get_string, set_string, apply_shared, &text) |
        RedisModule_RegisterStringConfig(ctx, "fixed", "stone", REDISMODULE_CONFIG_IMMUTABLE,
                                         get_string, set_string, NULL, &fixed) |
        RedisModule_RegisterStringConfig(ctx, "secret", "", REDISMODULE_CONFIG_SENSITIVE,
                                         get_string, set_string, NULL, &secret) |
        RedisModule_RegisterNumericConfig(ctx, "number", 10, REDISMODULE_CONFIG_DEFAULT, -5, 2000,
                                          get_number, set_number, apply_shared, &number) |
        RedisModule_RegisterNumericConfig(ctx, "memory", 1 << 20, REDISMODULE_CONFIG_MEMORY, 0,
                                          1 << 30, get_number, set_number, NULL, &memory) |
        RedisModule_RegisterBoolConfig(ctx, "on", 1, REDISMODULE_CONFIG_DEFAULT, get_int, set_int,
                                       NULL, &on) |
        RedisModule_RegisterEnumConfig(ctx, "color", 2, REDISMODULE_CONFIG_DEFAULT, colors,
                                       color_values, 3, get_int, set_int, NULL, &color) |
        RedisModule_RegisterEnumConfig(ctx, "features", 3, REDISMODULE_CONFIG_BITFLAGS, bits,
                                       bit_values, 4, get_int, set_int, apply_features, &features) |
        RedisModule_RegisterBoolConfig(ctx, "hidden", 0, REDISMODULE_CONFIG_HIDDEN, get_int,
                                       set_int, NULL, &hidden);
    if (failed) return REDISMODULE_ERR;
    /* Refused: a bad name, a name that is taken, flags of another kind. */
    if (RedisModule_RegisterBoolConfig(ctx, "no spaces", 1, 0, get_int, set_int, NULL, &on) ==
            REDISMODULE_OK ||
        RedisModule_RegisterBoolConfig(ctx, "on", 1, 0, get_int, set_int, NULL, &on) ==
            REDISMODULE_OK ||
        RedisModule_RegisterBoolConfig(ctx, "mem", 1, REDISMODULE_CONFIG_MEMORY, get_int, set_int,
                                       NULL, &on) == REDISMODULE_OK)
        return REDISMODULE_ERR;
    if (argc == 1 && strcmp(text_of(argv[0]), "noload") == 0) return REDISMODULE_OK;
    return RedisModule_LoadConfigs(ctx);
}

int RedisModule_OnUnload(RedisModuleCtx *ctx) {
    RedisModuleString *strings[] = {text, fixed, secret};
    for (int i = 0; i < 3; i++) /* they are NULL when LoadConfigs was not called */
        if (strings[i] != NULL) RedisModule_FreeString(NULL, strings[i]);
    return REDISMODULE_OK;
}
