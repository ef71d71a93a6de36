//! Thread-safe contexts.

crate::api! {}
