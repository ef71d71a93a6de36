//! Blocked clients.

crate::api! {}
