//! The only place that calls into a module: it notes who runs what, for reports.
use super::context::Ctx;
use super::registry::Module;
use crate::lock::owner::Label;
use crate::server::Server;

/// What the holder of the module lock is running, restored when dropped.
pub struct Running {
    before: Option<(&'static Module, Label)>,
}

/// Notes that `what` of `module` runs now, until the guard is dropped. The caller has the module lock.
pub fn running(module: &'static Module, what: Label) -> Running {
    let server = Server::get();
    // SAFETY: lock: this function's contract.
    let holder = unsafe { server.holder() };
    holder.depth += 1;
    server.module_lock.owner.runs(Some((module, what)));
    Running { before: holder.running.replace((module, what)) }
}

impl Drop for Running {
    fn drop(&mut self) {
        // SAFETY: lock: `running` was called with the module lock, which is kept over the callback.
        let holder = unsafe { Server::get().holder() };
        holder.depth -= 1;
        holder.running = self.before;
        Server::get().module_lock.owner.runs(self.before);
    }
}

/// Runs `f` with a context of `module` that has no client and no reply, as callbacks of the server's own accord get it.
pub fn with_context<R>(
    module: &'static Module,
    db: usize,
    what: Label,
    f: impl FnOnce(*mut Ctx) -> R,
) -> R {
    let _running = running(module, what);
    // SAFETY: lock: callbacks run under the module lock.
    let spare = unsafe { Server::get().holder() }.spare_session.take();
    let mut ctx = Ctx::with_session(Some(module), spare);
    ctx.session().select(db);
    let r = f(&mut ctx);
    ctx.finish();
    // SAFETY: lock: as above; what a nested callback left gives way.
    unsafe { Server::get().holder() }.spare_session = ctx.into_session();
    r
}
