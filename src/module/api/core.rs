//! What a module calls first: its name and attributes.
use crate::module::context::Ctx;
use crate::server::Server;
use std::ffi::{c_char, c_int, CStr};
use std::sync::atomic::Ordering::Relaxed;

api! {
    /// Gives the module its name and version; only the first call on a context counts.
    [Main] fn SetModuleAttribs(ctx: *mut Ctx, name: *const c_char, ver: c_int, api_ver: c_int) {
        // SAFETY: ABI: a live context and a C string.
        let (ctx, name) = unsafe { (&*ctx, CStr::from_ptr(name)) };
        if let Some(m) = ctx.module {
            m.set_attributes(&name.to_string_lossy(), ver, api_ver);
            crate::module::persona::named(Server::get(), m);
        }
    }

    /// 1 if a module of this name is loaded.
    [Free] fn IsModuleNameBusy(name: *const c_char) -> c_int {
        // SAFETY: ABI: a C string.
        let name = unsafe { CStr::from_ptr(name) };
        c_int::from(Server::get().modules.find(&name.to_string_lossy()).is_some())
    }

    /// Sets the module's options: replaces what was set before.
    [Main] fn SetModuleOptions(ctx: *mut Ctx, options: c_int) {
        // SAFETY: ABI: a live context.
        if let Some(m) = unsafe { &*ctx }.module {
            m.options.store(options, Relaxed);
        }
    }
}
