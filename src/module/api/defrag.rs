//! Defragmentation. The server never asks for it: its allocator cannot tell what would be worth moving, as on a Redis
//! that is built without its own one. So callbacks are accepted and never run, and nothing is moved.
use crate::module::abi::{self, OK};
use crate::module::context::Ctx;
use crate::module::string::RStr;
use std::ffi::{c_int, c_void};

crate::api! {
    /// Registers a function that moves what belongs to the module at large.
    [Main] fn RegisterDefragFunc(_ctx: *mut Ctx, _callback: abi::DefragFn) -> c_int {
        OK
    }

    /// A better place for an allocation, or null: it stays.
    [Locked] fn DefragAlloc(_ctx: abi::Handle, _p: *mut c_void) -> *mut c_void {
        std::ptr::null_mut()
    }

    /// A better place for a string, or null: it stays.
    [Locked] fn DefragRedisModuleString(_ctx: abi::Handle, _s: *mut RStr) -> *mut RStr {
        std::ptr::null_mut()
    }
}
