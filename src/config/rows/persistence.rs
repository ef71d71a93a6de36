//! Directives about RDB and AOF.

use super::{
    choice, int, memory, special, switch, text, valid, Row, Special, DENY_LOADING, HIDDEN,
    IMMUTABLE, INT_MAX, INT_MIN, LONG_MAX, MB, MULTI_ARG, PROTECTED,
};
use crate::config::enums::{
    appendfsync, sanitize_dump_payload, APPENDFSYNC, SANITIZE_DUMP_PAYLOAD,
};

pub(super) const ROWS: &[Row] = &[
    switch("rdbchecksum", true).flags(IMMUTABLE),
    switch("rdbcompression", true),
    switch("rdb-del-sync-files", false),
    switch("stop-writes-on-bgsave-error", true),
    switch("aof-rewrite-incremental-fsync", true),
    switch("no-appendfsync-on-rewrite", false),
    switch("rdb-save-incremental-fsync", true),
    switch("aof-load-truncated", true),
    switch("aof-use-rdb-preamble", true),
    switch("aof-timestamp-enabled", false),
    switch("appendonly", false).flags(DENY_LOADING),
    switch("aof-disable-auto-gc", false).flags(HIDDEN),
    text("dbfilename", Some("dump.rdb")).check(valid::dbfilename).flags(PROTECTED),
    text("appendfilename", Some("appendonly.aof")).check(valid::appendfilename).flags(IMMUTABLE),
    text("appenddirname", Some("appendonlydir")).check(valid::appenddirname).flags(IMMUTABLE),
    text("aof-rewrite-cpulist", None).alias("aof_rewrite_cpulist").flags(IMMUTABLE),
    choice("appendfsync", APPENDFSYNC, appendfsync::EVERYSEC),
    choice("sanitize-dump-payload", SANITIZE_DUMP_PAYLOAD, sanitize_dump_payload::NO),
    int("auto-aof-rewrite-percentage", 0, INT_MAX, 100),
    int("rdb-key-save-delay", INT_MIN, INT_MAX, 0).flags(HIDDEN),
    int("key-load-delay", INT_MIN, INT_MAX, 0).flags(HIDDEN),
    memory("auto-aof-rewrite-min-size", 0, LONG_MAX, 64 * MB),
    int("loading-process-events-interval-bytes", 1024, INT_MAX, 2 * MB).flags(HIDDEN),
    special("dir", Special::Dir).flags(PROTECTED | DENY_LOADING),
    special("save", Special::Save).flags(MULTI_ARG),
];
