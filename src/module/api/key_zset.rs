//! Sorted sets.

crate::api! {}
