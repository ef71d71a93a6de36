//! `OpenKey` and what concerns keys of any type; string values; LRU and LFU.
use crate::module::context::Ctx;
use std::ffi::c_void;

/// Frees a handle that automatic memory management owes.
pub fn free_auto(_ctx: &mut Ctx, _handle: *mut c_void) {}

crate::api! {}
