/* See shims.h. */
#include "shims.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* redismodule.h is not included here: it would define a variable for each API function, and the
 * program must have none of those names. */
#define STATUS_OK 0
#define STATUS_ERR 1

/* Frees without disturbing the errno that an implementation left for the module. */
static void release(void *memory) {
    int saved = errno;
    free(memory);
    errno = saved;
}

static void *allocate(size_t size) {
    void *memory = malloc(size);
    if (memory == NULL) abort(); /* the API has no way to report it */
    return memory;
}

/* ------------------------------------ Arguments behind a format ------------------------------- */

/* Calls with more arguments than this allocate. */
#define ARGS_ON_STACK 16

typedef struct ArgList {
    BackplaneArg *items;
    size_t count;
    BackplaneArg on_stack[ARGS_ON_STACK];
} ArgList;

static int is_flag_letter(char letter) {
    return letter != '\0' && strchr("!AR30CSWMEDK", letter) != NULL;
}

static void read_args(ArgList *list, const char *format, va_list *ap) {
    size_t most = strlen(format);
    list->count = 0;
    list->items = most <= ARGS_ON_STACK ? list->on_stack : allocate(most * sizeof(BackplaneArg));
    for (const char *p = format; *p != '\0'; p++) {
        BackplaneArg arg = {.kind = *p};
        switch (*p) {
        case 'c':
            arg.ptr = va_arg(*ap, const char *);
            arg.len = strlen(arg.ptr);
            break;
        case 's':
            arg.ptr = va_arg(*ap, void *);
            break;
        case 'b':
        case 'v':
            arg.ptr = va_arg(*ap, void *);
            arg.len = va_arg(*ap, size_t);
            break;
        case 'l':
            /* Modules also pass a plain int; its slot is 64 bits wide all the same. */
            arg.number = va_arg(*ap, long long);
            break;
        default:
            if (is_flag_letter(*p)) continue;
            return; /* unknown: how many arguments it takes is unknown too */
        }
        list->items[list->count++] = arg;
    }
}

static void release_args(ArgList *list) {
    if (list->items != list->on_stack) release(list->items);
}

void *backplane_rm_Call(void *ctx, const char *command, const char *format, ...) {
    ArgList list;
    va_list ap;
    va_start(ap, format);
    read_args(&list, format, &ap);
    va_end(ap);
    void *reply = backplane_call_impl(ctx, command, format, list.items, list.count);
    release_args(&list);
    return reply;
}

int backplane_rm_Replicate(void *ctx, const char *command, const char *format, ...) {
    if (!backplane_effects_are_read()) return backplane_replicate_impl(ctx, command, format, NULL, 0);
    ArgList list;
    va_list ap;
    va_start(ap, format);
    read_args(&list, format, &ap);
    va_end(ap);
    int status = backplane_replicate_impl(ctx, command, format, list.items, list.count);
    release_args(&list);
    return status;
}

void backplane_rm_EmitAOF(void *io, const char *command, const char *format, ...) {
    ArgList list;
    va_list ap;
    va_start(ap, format);
    read_args(&list, format, &ap);
    va_end(ap);
    backplane_emit_aof_impl(io, command, format, list.items, list.count);
    release_args(&list);
}

/* ------------------------------------ printf-like functions ----------------------------------- */

#define LOG_TEXT 1024

/* Formats into a buffer that cannot grow: logging must work in a signal handler too. Returns the
 * length of what fitted. */
static size_t format_log(char *buf, const char *format, va_list ap) {
    int len = vsnprintf(buf, LOG_TEXT, format, ap);
    if (len < 0) {
        buf[0] = '\0';
        return 0;
    }
    return len < LOG_TEXT ? (size_t)len : LOG_TEXT - 1;
}

void backplane_rm_Log(void *ctx, const char *level, const char *format, ...) {
    char buf[LOG_TEXT];
    va_list ap;
    va_start(ap, format);
    size_t len = format_log(buf, format, ap);
    va_end(ap);
    backplane_log_impl(ctx, level, buf, len);
}

void backplane_rm_LogIOError(void *io, const char *level, const char *format, ...) {
    char buf[LOG_TEXT];
    va_list ap;
    va_start(ap, format);
    size_t len = format_log(buf, format, ap);
    va_end(ap);
    backplane_log_io_error_impl(io, level, buf, len);
}

typedef struct Text {
    char *start;
    size_t len;
    char on_stack[256];
} Text;

static void format_text(Text *text, const char *format, va_list ap) {
    va_list again;
    va_copy(again, ap);
    int len = vsnprintf(text->on_stack, sizeof(text->on_stack), format, ap);
    text->start = text->on_stack;
    if (len < 0) {
        len = 0;
        text->on_stack[0] = '\0';
    } else if ((size_t)len >= sizeof(text->on_stack)) {
        text->start = allocate((size_t)len + 1);
        vsnprintf(text->start, (size_t)len + 1, format, again);
    }
    text->len = (size_t)len;
    va_end(again);
}

static void release_text(Text *text) {
    if (text->start != text->on_stack) release(text->start);
}

void *backplane_rm_CreateStringPrintf(void *ctx, const char *format, ...) {
    Text text;
    va_list ap;
    va_start(ap, format);
    format_text(&text, format, ap);
    va_end(ap);
    void *str = backplane_create_string_printf_impl(ctx, text.start, text.len);
    release_text(&text);
    return str;
}

int backplane_rm_ReplyWithErrorFormat(void *ctx, const char *format, ...) {
    Text text;
    va_list ap;
    va_start(ap, format);
    format_text(&text, format, ap);
    va_end(ap);
    int status = backplane_reply_with_error_format_impl(ctx, text.start, text.len);
    release_text(&text);
    return status;
}

/* ---------------------------------------- HashSet, HashGet ------------------------------------ */

#define PAIRS_ON_STACK 16

typedef struct PairList {
    BackplanePair *items;
    size_t count;
    BackplanePair on_stack[PAIRS_ON_STACK];
} PairList;

/* All four forms of pairs are two pointers to the machine, and a NULL field ends them. */
static void read_pairs(PairList *list, va_list *ap) {
    size_t room = PAIRS_ON_STACK;
    list->items = list->on_stack;
    list->count = 0;
    for (;;) {
        void *field = va_arg(*ap, void *);
        if (field == NULL) return;
        if (list->count == room) {
            BackplanePair *bigger = allocate(2 * room * sizeof(BackplanePair));
            memcpy(bigger, list->items, room * sizeof(BackplanePair));
            if (list->items != list->on_stack) release(list->items);
            list->items = bigger;
            room *= 2;
        }
        list->items[list->count].field = field;
        list->items[list->count].value = va_arg(*ap, void *);
        list->count++;
    }
}

static void release_pairs(PairList *list) {
    if (list->items != list->on_stack) release(list->items);
}

int backplane_rm_HashSet(void *key, int flags, ...) {
    PairList list;
    va_list ap;
    va_start(ap, flags);
    read_pairs(&list, &ap);
    va_end(ap);
    int updated = backplane_hash_set_impl(key, flags, list.items, list.count);
    release_pairs(&list);
    return updated;
}

int backplane_rm_HashGet(void *key, int flags, ...) {
    PairList list;
    va_list ap;
    va_start(ap, flags);
    read_pairs(&list, &ap);
    va_end(ap);
    int status = backplane_hash_get_impl(key, flags, list.items, list.count);
    release_pairs(&list);
    return status;
}

/* ----------------------------------------- long double ---------------------------------------- */

typedef enum { LD_FIXED, LD_SHORT, LD_HEX } LongDoubleForm;

/* Writes `value` to `buf` (BACKPLANE_LD_TEXT bytes) and returns its length. */
static size_t long_double_text(char *buf, long double value, LongDoubleForm form) {
    if (isnan(value)) return (size_t)sprintf(buf, "nan");
    if (isinf(value)) return (size_t)sprintf(buf, value > 0 ? "inf" : "-inf");
    if (form == LD_SHORT) return (size_t)snprintf(buf, BACKPLANE_LD_TEXT, "%.17Lg", value);
    if (form == LD_HEX) return (size_t)snprintf(buf, BACKPLANE_LD_TEXT, "%La", value);
    /* Seventeen decimals are always written, so there is a point, and zeros end at it. */
    size_t len = (size_t)snprintf(buf, BACKPLANE_LD_TEXT, "%.17Lf", value);
    while (buf[len - 1] == '0') len--;
    if (buf[len - 1] == '.') len--;
    if (len == 2 && buf[0] == '-' && buf[1] == '0') {
        buf[0] = '0';
        len = 1;
    }
    buf[len] = '\0';
    return len;
}

/* Reads a text that is a long double from its first byte to its last; NaN and what is out of
 * range are refused. */
static int parse_long_double(const char *text, size_t len, long double *value) {
    char buf[BACKPLANE_LD_TEXT];
    if (len == 0 || len >= sizeof(buf)) return 0;
    memcpy(buf, text, len);
    buf[len] = '\0';
    if (isspace((unsigned char)buf[0])) return 0;
    char *end;
    errno = 0;
    *value = strtold(buf, &end);
    if ((size_t)(end - buf) != len || isnan(*value)) return 0;
    if (errno == ERANGE && (isinf(*value) || *value == 0)) return 0;
    return 1;
}

int backplane_rm_ReplyWithLongDouble(void *ctx, long double value) {
    char buf[BACKPLANE_LD_TEXT];
    size_t len = long_double_text(buf, value, LD_FIXED);
    return backplane_reply_with_long_double_impl(ctx, buf, len);
}

void *backplane_rm_CreateStringFromLongDouble(void *ctx, long double value, int human_friendly) {
    char buf[BACKPLANE_LD_TEXT];
    size_t len = long_double_text(buf, value, human_friendly ? LD_FIXED : LD_SHORT);
    return backplane_create_string_from_long_double_impl(ctx, buf, len);
}

void backplane_rm_SaveLongDouble(void *io, long double value) {
    char buf[BACKPLANE_LD_TEXT];
    size_t len = long_double_text(buf, value, LD_HEX);
    backplane_save_long_double_impl(io, buf, len);
}

long double backplane_rm_LoadLongDouble(void *io) {
    char buf[BACKPLANE_LD_TEXT];
    long double value;
    long len = backplane_load_long_double_impl(io, buf, sizeof(buf));
    if (len < 0 || !parse_long_double(buf, (size_t)len, &value)) return 0;
    return value;
}

int backplane_rm_StringToLongDouble(const void *str, long double *value) {
    size_t len;
    long double parsed;
    const char *text = backplane_string_to_long_double_impl(str, &len);
    if (!parse_long_double(text, len, &parsed)) return STATUS_ERR;
    if (value != NULL) *value = parsed;
    return STATUS_OK;
}

/* ------------------------------------ Helpers called by Rust ---------------------------------- */

int backplane_ld_add(const char *a, size_t a_len, const char *b, size_t b_len, char *out,
                     size_t cap) {
    char buf[BACKPLANE_LD_TEXT];
    long double first, second;
    if (!parse_long_double(a, a_len, &first)) return -1;
    if (!parse_long_double(b, b_len, &second)) return -2;
    long double sum = first + second;
    if (isnan(sum) || isinf(sum)) return -3;
    size_t len = long_double_text(buf, sum, LD_FIXED);
    if (len > cap) return -3;
    memcpy(out, buf, len);
    return (int)len;
}

int backplane_ld_classify(const char *text, size_t len) {
    long double value;
    if (!parse_long_double(text, len, &value)) return -1;
    return isinf(value) ? 1 : 0;
}

int backplane_get_errno(void) { return errno; }

void backplane_set_errno(int value) { errno = value; }
