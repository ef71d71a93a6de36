//! Thread-safe contexts and the module lock.
use crate::module::abi::{self, ERR, OK};
use crate::module::blocked::BlockedClient;
use crate::module::border::{c_text, set_errno};
use crate::module::context::{flag, Ctx};
use crate::module::thread::end_unit;
use crate::server::Server;
use std::borrow::Cow;
use std::ffi::{c_char, c_int};
use std::sync::Arc;

/// What a module's own thread is called in reports.
const THREAD: crate::lock::owner::Label = &"module thread";

/// Notes who has the lock, for reports. The calling thread has just got it.
fn entered(ctx: *mut Ctx) {
    // SAFETY: ABI: null or a live context; lock: the caller has the module lock.
    let (ctx, holder) = unsafe { (ctx.as_ref(), Server::get().holder()) };
    holder.running = ctx.and_then(|c| c.module).map(|m| (m, THREAD));
    Server::get().module_lock.owner.runs(holder.running);
}

crate::api! {
    /// A context for a thread of the module; replies go to the blocked client, if one is given.
    [Free] fn GetThreadSafeContext(blocked: *const BlockedClient) -> *mut Ctx {
        let blocked = (!blocked.is_null()).then(|| {
            // SAFETY: ABI: a handle that the module still has, made by `Arc::into_raw`.
            unsafe {
                Arc::increment_strong_count(blocked);
                Arc::from_raw(blocked)
            }
        });
        let module = blocked.as_ref().map(|b| b.module);
        Box::into_raw(Box::new(Ctx::detached(module, blocked)))
    }

    /// A context of the module that outlives the call, without a client.
    [Free] fn GetDetachedThreadSafeContext(ctx: *mut Ctx) -> *mut Ctx {
        // SAFETY: ABI: a live context.
        let module = unsafe { &*ctx }.module;
        Box::into_raw(Box::new(Ctx::detached(module, None)))
    }

    /// Gives such a context back.
    [Free] fn FreeThreadSafeContext(ctx: *mut Ctx) {
        // SAFETY: ABI: a context of the two functions above, given up here.
        let mut ctx = unsafe { Box::from_raw(ctx) };
        ctx.finish();
    }

    /// Takes the module lock, which begins an execution unit. Any context will do: the lock is one for all.
    [Free] fn ThreadSafeContextLock(ctx: *mut Ctx) {
        Server::get().module_lock.lock();
        entered(ctx);
    }

    /// Takes the module lock if it is free.
    [Free] fn ThreadSafeContextTryLock(ctx: *mut Ctx) -> c_int {
        if !Server::get().module_lock.try_lock() {
            set_errno(libc::EBUSY);
            return ERR;
        }
        entered(ctx);
        OK
    }

    /// Ends the execution unit and releases the module lock.
    [Locked] fn ThreadSafeContextUnlock(ctx: *mut Ctx) {
        // SAFETY: ABI: null or a live context.
        if let Some(ctx) = unsafe { ctx.as_mut() } {
            ctx.flags &= !flag::YIELDED;
        }
        let server = Server::get();
        end_unit(server);
        // SAFETY: lock: the calling thread has the module lock until the next line.
        unsafe { server.holder() }.running = None;
        server.module_lock.unlock();
    }

    /// A module with a long job lets the server go on; see [`crate::module::busy`].
    [Locked] fn Yield(ctx: *mut Ctx, flags: c_int, busy_reply: *const c_char) {
        let clients = flags & abi::YIELD_FLAG_CLIENTS != 0;
        // SAFETY: ABI: a live context, and null or a C string.
        let (ctx, text) = unsafe { (&mut *ctx, c_text(busy_reply)) };
        crate::module::busy::yield_now(ctx, clients, text.map(Cow::into_owned));
    }
}
