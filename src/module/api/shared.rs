//! Functions that modules export to each other.
use crate::module::abi::{ERR, OK};
use crate::module::border::c_text;
use crate::module::context::Ctx;
use crate::module::registry::SharedApi;
use crate::server::Server;
use std::collections::hash_map::Entry;
use std::ffi::{c_char, c_int, c_void};

crate::api! {
    /// Exports a function (or any pointer) under a name that is not taken yet.
    [Locked] fn ExportSharedAPI(ctx: *mut Ctx, name: *const c_char, function: *mut c_void) -> c_int {
        // SAFETY: ABI: a live context and a C string.
        let (ctx, name) = unsafe { (&*ctx, c_text(name)) };
        let (Some(module), Some(name)) = (ctx.module, name) else { return ERR };
        match Server::get().modules.shared.lock().entry(name.into_owned()) {
            Entry::Occupied(_) => ERR,
            Entry::Vacant(free) => {
                free.insert(SharedApi { module, function });
                OK
            }
        }
    }

    /// The pointer that a module exported under this name, or null. The caller becomes one of its users.
    [Locked] fn GetSharedAPI(ctx: *mut Ctx, name: *const c_char) -> *mut c_void {
        // SAFETY: ABI: a live context and a C string.
        let (ctx, name) = unsafe { (&*ctx, c_text(name)) };
        let (Some(module), Some(name)) = (ctx.module, name) else { return std::ptr::null_mut() };
        let Some(api) = Server::get().modules.shared.lock().get(&*name).copied() else {
            return std::ptr::null_mut();
        };
        api.module.used_by.lock().insert(module.name().to_string());
        module.using.lock().insert(api.module.name().to_string());
        api.function
    }
}
