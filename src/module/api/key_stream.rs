//! Streams.

crate::api! {}
