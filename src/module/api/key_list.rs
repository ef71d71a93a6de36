//! Lists.

crate::api! {}
