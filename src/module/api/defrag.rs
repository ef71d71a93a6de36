//! Defragmentation.

crate::api! {}
