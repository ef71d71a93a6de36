//! Keyspace notifications, post-notification jobs, server events.

crate::api! {}
