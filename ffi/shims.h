/* The border between modules and Rust for what Rust cannot define: functions of the module API
 * that are variadic or take a long double.
 *
 * Each `backplane_rm_<Name>` below has the exact machine signature of `RedisModule_<Name>` and is
 * what GetApi hands out for that name. It only turns its arguments into arrays and texts and calls
 * `backplane_<name>_impl`, an `extern "C"` function of the same program, written in Rust, where the
 * contract of the API function is implemented. Nothing that is passed to an implementation lives
 * longer than the call. Implementations must not unwind. errno as the implementation leaves it is
 * what the module sees.
 *
 * Handles (contexts, strings, keys, replies, io) are passed as `void *`, for their layout is known
 * to Rust only. */
#ifndef BACKPLANE_SHIMS_H
#define BACKPLANE_SHIMS_H

#include <stddef.h>
#include <stdint.h>

#pragma GCC visibility push(hidden)

/* ------------------- Arguments behind a format string: Call, Replicate, EmitAOF --------------- */

/* One argument as the format string announced it. `kind` is its letter:
 *   'c'  ptr, len: a C string without its final NUL (len is its strlen)
 *   's'  ptr:      a RedisModuleString
 *   'b'  ptr, len: a buffer
 *   'l'  number:   64 bits, read from the argument's slot
 *   'v'  ptr, len: a vector of len RedisModuleStrings
 * Members not named for a kind are zero. */
typedef struct BackplaneArg {
    int32_t kind;
    const void *ptr;
    size_t len;
    long long number;
} BackplaneArg;

/* `format` is the module's own text, flag letters (! A R 3 0 C S W M E D K) included; `args` has
 * one element for each argument letter in it, in order. An unknown letter ends the reading: `args`
 * then holds what stood before it, and the implementation, which meets the letter too, reports the
 * bad format in its own way (Call and Replicate: EBADF and ERR; EmitAOF: an IO error). */
void *backplane_call_impl(void *ctx, const char *command, const char *format,
                          const BackplaneArg *args, size_t num_args);
/* Whether the arguments of Replicate are looked at. */
int backplane_effects_are_read(void);
int backplane_replicate_impl(void *ctx, const char *command, const char *format,
                             const BackplaneArg *args, size_t num_args);
void backplane_emit_aof_impl(void *io, const char *command, const char *format,
                             const BackplaneArg *args, size_t num_args);

void *backplane_rm_Call(void *ctx, const char *command, const char *format, ...);
int backplane_rm_Replicate(void *ctx, const char *command, const char *format, ...);
void backplane_rm_EmitAOF(void *io, const char *command, const char *format, ...);

/* ------------------------------------ printf-like functions ----------------------------------- */

/* `text` is NUL-terminated and `len` bytes long. Log messages are cut to 1023 bytes here, before
 * the implementation puts the module's name in front; `ctx` may be NULL. */
void backplane_log_impl(void *ctx, const char *level, const char *text, size_t len);
void backplane_log_io_error_impl(void *io, const char *level, const char *text, size_t len);
/* Returns a new RedisModuleString; `ctx` may be NULL. */
void *backplane_create_string_printf_impl(void *ctx, const char *text, size_t len);
/* `text` is the whole error without the leading '-'. */
int backplane_reply_with_error_format_impl(void *ctx, const char *text, size_t len);

void backplane_rm_Log(void *ctx, const char *level, const char *format, ...);
void backplane_rm_LogIOError(void *io, const char *level, const char *format, ...);
void *backplane_rm_CreateStringPrintf(void *ctx, const char *format, ...);
int backplane_rm_ReplyWithErrorFormat(void *ctx, const char *format, ...);

/* --------------------------- NULL-terminated pairs: HashSet, HashGet -------------------------- */

/* `field` is a C string when `flags` has REDISMODULE_HASH_CFIELDS, else a RedisModuleString.
 * HashSet: `value` is a RedisModuleString, or the pointer value 1 (REDISMODULE_HASH_DELETE).
 * HashGet: `value` is where the result goes: an int * when `flags` has REDISMODULE_HASH_EXISTS,
 * else a RedisModuleString **. `key` may be NULL for HashSet. */
typedef struct BackplanePair {
    const void *field;
    void *value;
} BackplanePair;

int backplane_hash_set_impl(void *key, int flags, const BackplanePair *pairs, size_t num_pairs);
int backplane_hash_get_impl(void *key, int flags, const BackplanePair *pairs, size_t num_pairs);

int backplane_rm_HashSet(void *key, int flags, ...);
int backplane_rm_HashGet(void *key, int flags, ...);

/* ----------------------------------------- long double ---------------------------------------- */

/* The value as text: fixed notation without trailing zeros; "inf", "-inf", "nan". */
int backplane_reply_with_long_double_impl(void *ctx, const char *text, size_t len);
/* Returns a new RedisModuleString; `ctx` may be NULL. */
void *backplane_create_string_from_long_double_impl(void *ctx, const char *text, size_t len);
/* The value in C's hexadecimal notation, to be saved like SaveStringBuffer does. */
void backplane_save_long_double_impl(void *io, const char *text, size_t len);
/* Loads one string, as LoadStringBuffer does, into `buf` (not terminated) and returns its length;
 * -1 on an IO error or when it is longer than `cap`. */
long backplane_load_long_double_impl(void *io, char *buf, size_t cap);
/* The content of a RedisModuleString, as StringPtrLen gives it. */
const char *backplane_string_to_long_double_impl(const void *str, size_t *len);

int backplane_rm_ReplyWithLongDouble(void *ctx, long double value);
void *backplane_rm_CreateStringFromLongDouble(void *ctx, long double value, int human_friendly);
void backplane_rm_SaveLongDouble(void *io, long double value);
long double backplane_rm_LoadLongDouble(void *io);
int backplane_rm_StringToLongDouble(const void *str, long double *value);

/* ------------------------------------ Helpers called by Rust ---------------------------------- */

/* Longest text of a long double in fixed notation, with its NUL. */
#define BACKPLANE_LD_TEXT 5120

/* INCRBYFLOAT and HINCRBYFLOAT: writes a + b in fixed notation without trailing zeros to `out`
 * (`cap` of BACKPLANE_LD_TEXT always suffices) and returns its length; -1: `a` is not a float;
 * -2: `b` is not; -3: the sum is not a finite number. No NUL is written. */
int backplane_ld_add(const char *a, size_t a_len, const char *b, size_t b_len, char *out,
                     size_t cap);
/* Whether a text is a long double: -1 no, 0 a finite one, 1 infinite. */
int backplane_ld_classify(const char *text, size_t len);

/* errno of the calling thread. */
int backplane_get_errno(void);
void backplane_set_errno(int value);

#pragma GCC visibility pop

#endif /* BACKPLANE_SHIMS_H */
