//! Calls that blocked: what a promise reply stands for. Its functions are with the replies, in [`super::call_reply`].
use crate::module::abi;
use crate::module::api::call_reply::CallReply;
use crate::module::blocked::{BlockedClient, Home};
use crate::module::callback::{running, with_context};
use crate::module::context::Ctx;
use crate::module::registry::Module;
use crate::reply::Reply;
use parking_lot::Mutex;
use std::ffi::c_void;
use std::sync::Arc;

/// A blocked call of a module.
pub struct Promise {
    /// Who called.
    module: &'static Module,
    /// The database of the call.
    db: usize,
    /// The block; gone when the call ended.
    blocked: Mutex<Option<Arc<BlockedClient>>>,
    /// What to call with the reply, and its data as an address.
    handler: Mutex<(abi::OnUnblockedFn, usize)>,
}

impl Promise {
    /// Waits for the end of a block. The calling thread has the module lock.
    pub fn new(module: &'static Module, db: usize, blocked: Arc<BlockedClient>) -> Arc<Promise> {
        let promise = Arc::new(Promise {
            module,
            db,
            blocked: Mutex::new(Some(blocked.clone())),
            handler: Mutex::new((None, 0)),
        });
        let waiting = promise.clone();
        *blocked.home.lock() = Home::Promise(Box::new(move |reply| waiting.keep(reply)));
        promise
    }

    /// Sets what is called with the reply.
    pub fn handle_with(&self, function: abi::OnUnblockedFn, data: *mut c_void) {
        *self.handler.lock() = (function, data as usize);
    }

    /// The call ended: hands its reply to the module. The calling thread has the module lock.
    fn keep(&self, reply: Reply) {
        *self.blocked.lock() = None;
        let (Some(function), data) = std::mem::take(&mut *self.handler.lock()) else { return };
        let reply = CallReply::new(reply.buf, reply.errors, std::ptr::null_mut());
        let reply = Box::into_raw(reply);
        with_context(self.module, self.db, "unblock handler", |ctx| {
            // SAFETY: ABI: registered for this signature; the reply is the handler's from here on; lock: held.
            unsafe { function(ctx.cast(), reply.cast(), data as *mut c_void) };
        });
    }

    /// Gives the call up. Returns the handler's data, or `None` if the call ended already. The calling thread has the
    /// module lock.
    pub fn abort(&self) -> Option<*mut c_void> {
        let blocked = self.blocked.lock().take()?;
        *blocked.home.lock() = Home::Gone;
        let (_, data) = std::mem::take(&mut *self.handler.lock());
        let disconnected = blocked.state.lock().disconnected.take();
        if let Some(f) = disconnected {
            let _running = running(blocked.module, "disconnect callback");
            let mut ctx = Ctx::internal(Some(blocked.module));
            ctx.session().select(blocked.db);
            // SAFETY: ABI: registered for this signature; the module still has its handle; lock: held.
            unsafe { f((&raw mut ctx).cast(), Arc::as_ptr(&blocked).cast_mut().cast()) };
            ctx.finish();
        }
        Some(data as *mut c_void)
    }
}
