//! Directives about cluster.

use super::{choice, int, memory, switch, text, valid, Row, HIDDEN, IMMUTABLE, INT_MAX, LONG_MAX};
use crate::config::enums::{cluster_endpoint_type, CLUSTER_ENDPOINT_TYPE};

pub(super) const ROWS: &[Row] = &[
    switch("cluster-require-full-coverage", true),
    switch("cluster-replica-no-failover", false).alias("cluster-slave-no-failover"),
    switch("cluster-enabled", false).flags(IMMUTABLE),
    switch("cluster-allow-reads-when-down", false),
    switch("cluster-allow-pubsubshard-when-down", true),
    switch("cluster-allow-replica-migration", true),
    text("cluster-announce-ip", None),
    text("cluster-config-file", Some("nodes.conf")).flags(IMMUTABLE),
    text("cluster-announce-hostname", None).check(valid::hostname),
    text("cluster-announce-human-nodename", None).check(valid::nodename),
    choice("cluster-preferred-endpoint-type", CLUSTER_ENDPOINT_TYPE, cluster_endpoint_type::IP),
    int("cluster-replica-validity-factor", 0, INT_MAX, 10).alias("cluster-slave-validity-factor"),
    int("cluster-migration-barrier", 0, INT_MAX, 1),
    int("cluster-port", 0, 65535, 0).flags(IMMUTABLE),
    int("cluster-announce-bus-port", 0, 65535, 0),
    int("cluster-announce-port", 0, 65535, 0),
    int("cluster-announce-tls-port", 0, 65535, 0),
    int("cluster-node-timeout", 0, LONG_MAX, 15000),
    int("cluster-ping-interval", 0, LONG_MAX, 0).flags(HIDDEN),
    memory("cluster-link-sendbuf-limit", 0, u64::MAX, 0),
];
