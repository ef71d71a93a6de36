//! Timers.

crate::api! {}
