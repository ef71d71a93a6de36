//! Timers, and the event loop for modules.
use crate::module::abi::{self, ERR, OK};
use crate::module::border::set_errno;
use crate::module::context::Ctx;
use crate::module::event_loop;
use crate::module::timer::Timer;
use crate::observe::clock::now_us;
use crate::server::Server;
use std::ffi::{c_int, c_void};

/// A pending timer of the context's module.
fn pending(ctx: &Ctx, id: u64) -> Option<Timer> {
    let timer = Server::get().modules.timers.get(id)?;
    ctx.module.is_some_and(|m| std::ptr::eq(m, timer.module)).then_some(timer)
}

crate::api! {
    /// Makes a one-shot timer; the period is in milliseconds. The id is never 0.
    [Locked] fn CreateTimer(
        ctx: *mut Ctx, period: i64, callback: abi::CtxDataFn, data: *mut c_void,
    ) -> u64 {
        // SAFETY: ABI: a live context.
        let ctx = unsafe { &*ctx };
        let Some(module) = ctx.module else { return 0 };
        let due = now_us().saturating_add(period.saturating_mul(1000));
        let db = ctx.session().db;
        Server::get().modules.timers.add(Timer { module, due, db, callback, data })
    }

    /// Stops a timer and hands its data back.
    [Locked] fn StopTimer(ctx: *mut Ctx, id: u64, data: *mut *mut c_void) -> c_int {
        // SAFETY: ABI: a live context.
        let Some(timer) = pending(unsafe { &*ctx }, id) else { return ERR };
        if !data.is_null() {
            // SAFETY: ABI: a place that the module gave.
            unsafe { *data = timer.data };
        }
        Server::get().modules.timers.remove(id);
        OK
    }

    /// The remaining milliseconds and the data of a timer.
    [Locked] fn GetTimerInfo(
        ctx: *mut Ctx, id: u64, remaining: *mut u64, data: *mut *mut c_void,
    ) -> c_int {
        // SAFETY: ABI: a live context.
        let Some(timer) = pending(unsafe { &*ctx }, id) else { return ERR };
        // SAFETY: ABI: places that the module gave, or null.
        unsafe {
            if !remaining.is_null() {
                *remaining = ((timer.due - now_us()).max(0) / 1000) as u64;
            }
            if !data.is_null() {
                *data = timer.data;
            }
        }
        OK
    }

    /// Calls a function on the module thread whenever a descriptor is ready.
    [Free] fn EventLoopAdd(
        fd: c_int, mask: c_int, callback: abi::EventLoopFn, data: *mut c_void,
    ) -> c_int {
        if !event_loop::possible(fd) {
            set_errno(libc::ERANGE);
            return ERR;
        }
        let known = abi::EVENTLOOP_READABLE | abi::EVENTLOOP_WRITABLE;
        let Some(callback) = callback.filter(|_| mask & !known == 0) else {
            set_errno(libc::EINVAL);
            return ERR;
        };
        if event_loop::add(fd, mask, callback, data).is_err() {
            return ERR;
        }
        set_errno(0);
        OK
    }

    /// Stops watching a descriptor for reading, writing or both.
    [Free] fn EventLoopDel(fd: c_int, mask: c_int) -> c_int {
        if !event_loop::possible(fd) {
            set_errno(libc::ERANGE);
            return ERR;
        }
        if mask & !(abi::EVENTLOOP_READABLE | abi::EVENTLOOP_WRITABLE) != 0 {
            set_errno(libc::EINVAL);
            return ERR;
        }
        event_loop::remove(fd, mask);
        set_errno(0);
        OK
    }

    /// Calls a function once on the module thread; may be called from any thread.
    [Free] fn EventLoopAddOneShot(callback: abi::DataFn, data: *mut c_void) -> c_int {
        let Some(callback) = callback else {
            set_errno(libc::EINVAL);
            return ERR;
        };
        event_loop::once(callback, data);
        set_errno(0);
        OK
    }
}
