//! Directives about replication.

use super::{
    bytes, choice, int, memory, special, switch, text, Row, Special, DENY_LOADING, IMMUTABLE,
    INT_MAX, LONG_MAX, MB, MULTI_ARG, SENSITIVE,
};
use crate::config::enums::{repl_diskless_load, REPL_DISKLESS_LOAD};

pub(super) const ROWS: &[Row] = &[
    switch("repl-disable-tcp-nodelay", false),
    switch("repl-diskless-sync", true),
    switch("replica-lazy-flush", false).alias("slave-lazy-flush"),
    switch("replica-serve-stale-data", true).alias("slave-serve-stale-data"),
    switch("replica-read-only", true).alias("slave-read-only"),
    switch("replica-ignore-maxmemory", true).alias("slave-ignore-maxmemory"),
    switch("replica-announced", true),
    switch("replica-ignore-disk-write-errors", false),
    text("replica-announce-ip", None).alias("slave-announce-ip"),
    text("masteruser", None).flags(SENSITIVE),
    bytes("masterauth", None).flags(SENSITIVE),
    choice("repl-diskless-load", REPL_DISKLESS_LOAD, repl_diskless_load::DISABLED)
        .flags(DENY_LOADING),
    int("replica-priority", 0, INT_MAX, 100).alias("slave-priority"),
    int("repl-diskless-sync-delay", 0, INT_MAX, 5),
    int("replica-announce-port", 0, 65535, 0).alias("slave-announce-port"),
    int("repl-timeout", 1, INT_MAX, 60),
    int("repl-ping-replica-period", 1, INT_MAX, 10).alias("repl-ping-slave-period"),
    int("min-replicas-to-write", 0, INT_MAX, 0).alias("min-slaves-to-write"),
    int("min-replicas-max-lag", 0, INT_MAX, 10).alias("min-slaves-max-lag"),
    int("repl-diskless-sync-max-replicas", 0, INT_MAX, 0),
    memory("repl-backlog-size", 1, LONG_MAX, MB),
    int("repl-backlog-ttl", 0, LONG_MAX, 3600),
    special("replicaof", Special::ReplicaOf).alias("slaveof").flags(IMMUTABLE | MULTI_ARG),
];
