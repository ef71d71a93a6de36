//! Directives about TLS.

use super::{choice, int, switch, text, Row, INT_MAX, SENSITIVE, VOLATILE};
use crate::config::enums::{tls_auth_clients, TLS_AUTH_CLIENTS};

pub(super) const ROWS: &[Row] = &[
    int("tls-port", 0, 65535, 0),
    int("tls-session-cache-size", 0, INT_MAX, 20480),
    int("tls-session-cache-timeout", 0, INT_MAX, 300),
    switch("tls-cluster", false),
    switch("tls-replication", false),
    choice("tls-auth-clients", TLS_AUTH_CLIENTS, tls_auth_clients::YES),
    switch("tls-prefer-server-ciphers", false),
    switch("tls-session-caching", true),
    text("tls-cert-file", None).flags(VOLATILE),
    text("tls-key-file", None).flags(VOLATILE),
    text("tls-key-file-pass", None).flags(SENSITIVE),
    text("tls-client-cert-file", None).flags(VOLATILE),
    text("tls-client-key-file", None).flags(VOLATILE),
    text("tls-client-key-file-pass", None).flags(SENSITIVE),
    text("tls-dh-params-file", None).flags(VOLATILE),
    text("tls-ca-cert-file", None).flags(VOLATILE),
    text("tls-ca-cert-dir", None).flags(VOLATILE),
    text("tls-protocols", None),
    text("tls-ciphers", None),
    text("tls-ciphersuites", None),
];
