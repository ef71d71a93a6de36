//! `RedisModuleString` functions.

crate::api! {}

/// Functions of this family that are C shims (`ffi/shims.c`).
pub const SHIMS: &[super::Export] = &[];
