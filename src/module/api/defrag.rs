//! Defragmentation of modules' memory; when and how much of it is [`crate::module::defrag`]'s business.
use super::dict::{self, Dict};
use crate::keyspace::defrag::relocate;
use crate::module::abi::{self, ERR, OK};
use crate::module::context::Ctx;
use crate::module::defrag::DefragCtx;
use crate::module::string::RStr;
use std::ffi::{c_int, c_ulong, c_void};

crate::api! {
    /// Registers a function that moves what belongs to the module at large.
    [Main] fn RegisterDefragFunc(ctx: *mut Ctx, callback: abi::DefragFn) -> c_int {
        // SAFETY: ABI: a live context.
        let Some(module) = (unsafe { &*ctx }).module else { return ERR };
        module.defrag.lock().all = callback;
        OK
    }

    /// Registers a function that moves what belongs to the module at large, in steps: it has a cursor, and is called again
    /// unless it returns 0. It goes before that of `RegisterDefragFunc` (Redis 8.0).
    [Main] fn RegisterDefragFunc2(ctx: *mut Ctx, callback: abi::DefragStepFn) -> c_int {
        // SAFETY: ABI: a live context.
        let Some(module) = (unsafe { &*ctx }).module else { return ERR };
        module.defrag.lock().step = callback;
        OK
    }

    /// Registers functions that hear of the beginning and the end of a round through all memory (Redis 8.0).
    [Main] fn RegisterDefragCallbacks(
        ctx: *mut Ctx, start: abi::DefragFn, end: abi::DefragFn,
    ) -> c_int {
        // SAFETY: ABI: a live context.
        let Some(module) = (unsafe { &*ctx }).module else { return ERR };
        let mut functions = module.defrag.lock();
        (functions.start, functions.end) = (start, end);
        OK
    }

    /// Whether the callback's time is over: it should note where it stands and return.
    [Locked] fn DefragShouldStop(ctx: *mut DefragCtx) -> c_int {
        // SAFETY: ABI: the context of a running callback.
        c_int::from(unsafe { &*ctx }.is_over())
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

    /// A block for a copy that the module makes itself, where the heap is densest; the old block goes with
    /// `DefragFreeRaw`, when nothing points to it any more (Redis 8.0). Both are blocks like those of `Alloc`.
    [Locked] fn DefragAllocRaw(_ctx: *mut DefragCtx, size: usize) -> *mut c_void {
        super::memory::alloc_dense(size)
    }

    /// Frees a block whose content has moved; null is allowed (Redis 8.0).
    [Locked] fn DefragFreeRaw(ctx: *mut DefragCtx, p: *mut c_void) {
        if !p.is_null() {
            // SAFETY: ABI: a block of the module that it gives up.
            unsafe { super::memory::free_sparse(p) };
        }
        // SAFETY: ABI: null or the context of a running callback.
        if let Some(ctx) = unsafe { ctx.as_mut() } {
            ctx.moves.count(true);
        }
    }

    /// Moves a dictionary and its keys where that is worth it, and has the callback move the values. The dictionary's new
    /// address, or null: it stays. `seek` says where to begin (at null with the first key), and gets where to go on when
    /// the time is over or a value wants another call; null when all is done (Redis 8.0).
    [Locked] fn DefragRedisModuleDict(
        ctx: *mut DefragCtx, dict: *mut Dict, callback: abi::DefragDictFn, seek: *mut *mut RStr,
    ) -> *mut Dict {
        // SAFETY: ABI: the context of a running callback, a dictionary that only the module points to, and where the
        // module keeps null or a string.
        let (moved, next) = unsafe {
            let from = (!(*seek).is_null()).then(|| RStr::bytes(*seek).to_vec());
            dict::defrag(ctx, dict, callback, from)
        };
        // SAFETY: ABI: as above; the string was made here.
        unsafe {
            if !(*seek).is_null() {
                RStr::release(*seek);
            }
            *seek = next.map_or(std::ptr::null_mut(), |key| RStr::new(&key));
        }
        moved.unwrap_or(std::ptr::null_mut())
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
