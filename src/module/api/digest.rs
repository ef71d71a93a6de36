//! `Digest*`.

crate::api! {}
