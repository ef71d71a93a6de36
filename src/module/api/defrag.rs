//! Defragmentation of modules' memory; when and how much of it is [`crate::module::defrag`]'s business.
use crate::keyspace::defrag::relocate;
use crate::module::abi::{self, ERR, OK};
use crate::module::context::Ctx;
use crate::module::defrag::DefragCtx;
use crate::module::string::RStr;
use crate::observe::clock::mono_ns;
use std::ffi::{c_int, c_ulong, c_void};

crate::api! {
    /// Registers a function that moves what belongs to the module at large.
    [Main] fn RegisterDefragFunc(ctx: *mut Ctx, callback: abi::DefragFn) -> c_int {
        // SAFETY: ABI: a live context.
        let Some(module) = (unsafe { &*ctx }).module else { return ERR };
        *module.defrag.lock() = callback;
        OK
    }

    /// Whether the callback's time is over: it should note where it stands and return.
    [Locked] fn DefragShouldStop(ctx: *mut DefragCtx) -> c_int {
        // SAFETY: ABI: the context of a running callback.
        let ctx = unsafe { &*ctx };
        c_int::from(ctx.until != 0 && mono_ns() >= ctx.until)
    }

    /// Notes where the work on a value stands. Fails where there are no steps.
    [Locked] fn DefragCursorSet(ctx: *mut DefragCtx, cursor: c_ulong) -> c_int {
        // SAFETY: ABI: the context of a running callback.
        match unsafe { &mut (*ctx).cursor } {
            Some(kept) => {
                *kept = cursor;
                OK
            }
            None => ERR,
        }
    }

    /// What was noted; 0 at the first call for a value.
    [Locked] fn DefragCursorGet(ctx: *mut DefragCtx, cursor: *mut c_ulong) -> c_int {
        // SAFETY: ABI: the context of a running callback, and a place for a number.
        match unsafe { (*ctx).cursor } {
            Some(kept) => {
                // SAFETY: ABI: as above.
                unsafe { *cursor = kept };
                OK
            }
            None => ERR,
        }
    }

    /// A better place for an allocation, to which it was copied, or null: it stays.
    [Locked] fn DefragAlloc(ctx: *mut DefragCtx, p: *mut c_void) -> *mut c_void {
        // SAFETY: ABI: an allocation of the module that it alone points to.
        let new = unsafe { relocate(p) };
        // SAFETY: ABI: the context of a running callback.
        unsafe { (*ctx).moves.count(new.is_some()) };
        new.unwrap_or(std::ptr::null_mut())
    }

    /// A better place for a string that the module alone has, or null: it stays.
    [Locked] fn DefragRedisModuleString(ctx: *mut DefragCtx, s: *mut RStr) -> *mut RStr {
        // SAFETY: ABI: a live string; with one reference, the module's pointer is the only one.
        let new = unsafe {
            if RStr::refs(s) == 1 {
                RStr::relocate(s)
            } else {
                None
            }
        };
        // SAFETY: ABI: the context of a running callback.
        unsafe { (*ctx).moves.count(new.is_some()) };
        new.unwrap_or(std::ptr::null_mut())
    }

    /// The key whose value is moved; null for the module's own memory.
    [Locked] fn GetKeyNameFromDefragCtx(ctx: *mut DefragCtx) -> *const RStr {
        // SAFETY: ABI: the context of a running callback.
        unsafe { (*ctx).key }
    }

    /// Its database; -1 for the module's own memory.
    [Locked] fn GetDbIdFromDefragCtx(ctx: *mut DefragCtx) -> c_int {
        // SAFETY: ABI: the context of a running callback.
        unsafe { (*ctx).db }
    }
}
