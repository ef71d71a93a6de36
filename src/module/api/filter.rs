//! Command filters: functions of modules that see every command before it is looked up, and may rewrite it.
use crate::module::abi::{self, ERR, OK};
use crate::module::callback::running;
use crate::module::context::Ctx;
use crate::module::registry::Module;
use crate::module::string::RStr;
use crate::server::Server;
use std::ffi::c_int;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::Arc;

/// A registered filter.
pub struct Filter {
    /// Whose.
    pub module: &'static Module,
    /// Its function.
    pub callback: abi::CommandFilterFn,
    /// `REDISMODULE_CMDFILTER_*`
    pub flags: i32,
}

/// `RedisModuleCommandFilterCtx`: the command that filters look at.
pub struct FilterCtx {
    args: Vec<*mut RStr>,
    client: u64,
}

/// A command as the filters left it.
pub struct Filtered(Vec<*mut RStr>);

impl Filtered {
    /// The arguments, the name first; there may be none left.
    pub fn args(&self) -> Vec<&[u8]> {
        // SAFETY: ABI: the strings are ours until this is dropped.
        self.0.iter().map(|s| unsafe { RStr::bytes(*s) }).collect()
    }
}

impl Drop for Filtered {
    fn drop(&mut self) {
        for &s in &self.0 {
            // SAFETY: ABI: one reference of each string is ours.
            unsafe { RStr::release(s) };
        }
    }
}

/// Shows a command of the client with this id to all filters. The calling thread has the module lock.
pub fn apply(server: &Server, client: u64, args: &[&[u8]]) -> Filtered {
    let mut seen = FilterCtx { args: args.iter().map(|a| RStr::new(a)).collect(), client };
    for f in server.modules.filters.load_full().iter() {
        // A filter that calls commands itself would otherwise see them, and never come to an end.
        let inside = f.module.in_call.load(Relaxed) > 0;
        let Some(callback) = f.callback else { continue };
        if inside && f.flags & abi::CMDFILTER_NOSELF != 0 {
            continue;
        }
        let _running = running(f.module, &"command filter");
        // SAFETY: ABI: registered for this signature; lock: the module lock is held.
        unsafe { callback((&raw mut seen).cast()) };
    }
    Filtered(seen.args)
}

fn store(server: &Server, filters: Vec<Arc<Filter>>) {
    server.modules.filters.store(Arc::new(filters));
}

/// Removes the filters of a module.
pub fn remove_all_of(server: &Server, module: &'static Module) {
    let all = server.modules.filters.load();
    store(server, all.iter().filter(|f| !std::ptr::eq(f.module, module)).cloned().collect());
}

/// The place of an argument, if there is one.
fn place(ctx: &FilterCtx, at: c_int) -> Option<usize> {
    usize::try_from(at).ok().filter(|i| *i < ctx.args.len())
}

crate::api! {
    /// Registers a filter. From here on every command takes the module path.
    [Locked] fn RegisterCommandFilter(
        ctx: *mut Ctx, callback: abi::CommandFilterFn, flags: c_int,
    ) -> *const Filter {
        // SAFETY: ABI: a live context.
        let Some(module) = unsafe { &*ctx }.module else { return std::ptr::null() };
        let server = Server::get();
        let filter = Arc::new(Filter { module, callback, flags });
        let handle = Arc::as_ptr(&filter);
        let mut all = server.modules.filters.load().to_vec();
        all.push(filter);
        store(server, all);
        server.modules.commands_changed(module);
        handle
    }

    /// Removes one of the module's own filters.
    [Locked] fn UnregisterCommandFilter(ctx: *mut Ctx, filter: *const Filter) -> c_int {
        // SAFETY: ABI: a live context.
        let Some(module) = unsafe { &*ctx }.module else { return ERR };
        let server = Server::get();
        let mut all = server.modules.filters.load().to_vec();
        let mine =
            all.iter().position(|f| Arc::as_ptr(f) == filter && std::ptr::eq(f.module, module));
        let Some(i) = mine else { return ERR };
        all.remove(i);
        store(server, all);
        server.modules.commands_changed(module);
        OK
    }

    /// Number of the command's arguments, its name included.
    [Locked] fn CommandFilterArgsCount(ctx: *mut FilterCtx) -> c_int {
        // SAFETY: ABI: the context of a running filter.
        unsafe { &*ctx }.args.len() as c_int
    }

    /// An argument, or null.
    [Locked] fn CommandFilterArgGet(ctx: *mut FilterCtx, at: c_int) -> *mut RStr {
        // SAFETY: ABI: the context of a running filter.
        let ctx = unsafe { &*ctx };
        place(ctx, at).map_or(std::ptr::null_mut(), |i| ctx.args[i])
    }

    /// Inserts an argument before a place. The module's reference to the string goes over to the command.
    [Locked] fn CommandFilterArgInsert(ctx: *mut FilterCtx, at: c_int, arg: *mut RStr) -> c_int {
        // SAFETY: ABI: the context of a running filter.
        let ctx = unsafe { &mut *ctx };
        match usize::try_from(at) {
            Ok(i) if i <= ctx.args.len() => {
                ctx.args.insert(i, arg);
                OK
            }
            _ => ERR,
        }
    }

    /// Replaces an argument. The module's reference to the string goes over to the command.
    [Locked] fn CommandFilterArgReplace(ctx: *mut FilterCtx, at: c_int, arg: *mut RStr) -> c_int {
        // SAFETY: ABI: the context of a running filter.
        let ctx = unsafe { &mut *ctx };
        let Some(i) = place(ctx, at) else { return ERR };
        let old = std::mem::replace(&mut ctx.args[i], arg);
        // SAFETY: ABI: the command's own reference.
        unsafe { RStr::release(old) };
        OK
    }

    /// Removes an argument.
    [Locked] fn CommandFilterArgDelete(ctx: *mut FilterCtx, at: c_int) -> c_int {
        // SAFETY: ABI: the context of a running filter.
        let ctx = unsafe { &mut *ctx };
        let Some(i) = place(ctx, at) else { return ERR };
        // SAFETY: ABI: the command's own reference.
        unsafe { RStr::release(ctx.args.remove(i)) };
        OK
    }

    /// The id of the client whose command it is.
    [Locked] fn CommandFilterGetClientId(ctx: *mut FilterCtx) -> u64 {
        // SAFETY: ABI: the context of a running filter.
        unsafe { &*ctx }.client
    }
}
