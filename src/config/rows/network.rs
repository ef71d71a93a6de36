//! Directives about sockets and clients.

use super::{
    int, memory, octal, special, switch, text, Row, Special, GB, IMMUTABLE, INT_MAX, LONG_MAX, MB,
    MULTI_ARG, UINT_MAX,
};

pub(super) const ROWS: &[Row] = &[
    switch("io-threads-do-reads", false).flags(IMMUTABLE),
    switch("protected-mode", true),
    text("unixsocket", None).flags(IMMUTABLE),
    text("bind-source-addr", None),
    int("port", 0, 65535, 6379),
    int("io-threads", 1, 128, 1).flags(IMMUTABLE),
    int("tcp-keepalive", 0, INT_MAX, 300),
    int("timeout", 0, INT_MAX, 0),
    int("tcp-backlog", 0, INT_MAX, 511).flags(IMMUTABLE),
    int("maxclients", 1, UINT_MAX, 10000),
    octal("unixsocketperm", 0, 0o777, 0).flags(IMMUTABLE),
    int("socket-mark-id", 0, UINT_MAX, 0).flags(IMMUTABLE),
    int("max-new-connections-per-cycle", 1, 1000, 10),
    int("max-new-tls-connections-per-cycle", 1, 1000, 1),
    memory("proto-max-bulk-len", MB, LONG_MAX, 512 * MB),
    memory("client-query-buffer-limit", MB, LONG_MAX, GB),
    special("client-output-buffer-limit", Special::ClientOutputBufferLimit).flags(MULTI_ARG),
    special("bind", Special::Bind).flags(MULTI_ARG),
];
