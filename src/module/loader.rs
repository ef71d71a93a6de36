//! Loading and unloading of modules: checks, `dlopen`, `OnLoad`, rollback.
use super::abi;
use super::admission;
use super::callback::{running, with_context};
use super::context::{flag, Ctx};
use super::event_loop;
use super::persona;
use super::registry::Module;
use super::sha256::Hash;
use super::string::RStr;
use crate::server::Server;
use libloading::os::unix::{Library, Symbol, RTLD_LOCAL, RTLD_NOW};
use std::ffi::c_int;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::Ordering::Relaxed;

type OnLoad = unsafe extern "C" fn(abi::Handle, *mut abi::Handle, c_int) -> c_int;
type OnUnload = unsafe extern "C" fn(abi::Handle) -> c_int;

/// Why a module was not loaded. The text has been logged.
#[derive(Debug)]
pub enum LoadError {
    /// A content rule refused the file: the client is told too.
    Refused(String),
    /// Anything else: for the log's reader.
    Failed(String),
}

/// Loads a module. The calling thread has the module lock.
pub fn load(server: &'static Server, path: &str, args: &[Vec<u8>]) -> Result<(), LoadError> {
    load_with_configs(server, path, args, &[])
}

/// `MODULE LOADEX`: as [`load`], with values for the module's configs.
pub fn load_with_configs(
    server: &'static Server,
    path: &str,
    args: &[Vec<u8>],
    configs: &[(Vec<u8>, Vec<u8>)],
) -> Result<(), LoadError> {
    let Opened { library, entry, for_valkey, hash } = open(server, path)?;
    let module = Module::new(path, hash, args);
    match persona::of_file(&server.config.module_persona(), path) {
        Some(persona) => persona::give(module, persona),
        // No Redis would have loaded it.
        None if for_valkey => persona::give(module, persona::VALKEY),
        None => {}
    }
    module.base.store(event_loop::object_of(*entry as usize), Relaxed);
    super::api::config::offer(configs);
    let status = call_on_load(module, &entry, args);
    *module.library.lock() = Some(library);
    module.onload.store(false, Relaxed);
    if status == abi::ERR || !module.is_named() {
        if module.is_named() {
            super::api::command::remove_categories_of(module);
        }
        clean_up(server, module);
        return Err(failed(format!("Module {path} initialization failed. Module not loaded.")));
    }
    let mut list = server.modules.list();
    list.push(module);
    server.modules.modules.store(std::sync::Arc::new(list));
    server.modules.rebuild_table(server, None);
    crate::log_notice!("Module '{}' loaded from {path}", module.name());
    crate::log_notice!("{}", about(module));
    if let Err(text) = super::api::config::check_loaded(module) {
        let error = failed(text);
        // It has loaded as far as it knows, so it hears of its end; what it answers does not matter.
        let _ = call_on_unload(module);
        forget(server, module);
        return Err(error);
    }
    crate::snapshot::parked::revive(server, module);
    change_event(server, module, abi::SUBEVENT_MODULE_LOADED);
    Ok(())
}

fn failed(text: String) -> LoadError {
    crate::log_warning!("{text}");
    LoadError::Failed(text)
}

fn refused(text: String) -> LoadError {
    crate::log_warning!("{text}");
    LoadError::Refused(text)
}

/// A module's file, none of whose functions was called yet.
struct Opened {
    library: Library,
    entry: Symbol<OnLoad>,
    /// It has no entry point for Redis.
    for_valkey: bool,
    hash: Option<Hash>,
}

fn open(server: &Server, path: &str) -> Result<Opened, LoadError> {
    let admitted = admission::ask(server, path).map_err(refused)?;
    if let Ok(meta) = std::fs::metadata(path) {
        if meta.permissions().mode() & 0o111 == 0 {
            return Err(failed(format!(
                "Module {path} failed to load: It does not have execute permissions."
            )));
        }
    }
    // SAFETY: ABI: running a module's constructors is what the operator asked for.
    let library = unsafe { Library::open(Some(path), RTLD_NOW | RTLD_LOCAL) }.map_err(|e| {
        let error = failed(format!("Module {path} failed to load: {}", error_text(&e)));
        for reason in crate::doctor::why_not(path) {
            crate::log_warning!("{reason}");
        }
        error
    })?;
    if admission::has_rules(server) && !admitted.is_same(path) {
        return Err(refused(format!(
            "Module {path} is refused by 'module-allow-sha256': the file changed while it was looked at"
        )));
    }
    let entry = |name: &str| {
        // SAFETY: ABI: a symbol of this name has this signature.
        unsafe { library.get::<OnLoad>(name.as_bytes()) }.ok()
    };
    let (valkey, redis) = (entry("ValkeyModule_OnLoad\0"), entry("RedisModule_OnLoad\0"));
    let for_valkey = valkey.is_some() && redis.is_none();
    let Some(entry) = valkey.or(redis) else {
        return Err(failed(format!(
            "Module {path} does not export RedisModule_OnLoad() symbol. Module not loaded."
        )));
    };
    Ok(Opened { library, entry, for_valkey, hash: admitted.hash })
}

/// Has a module introduce itself; returns what it returns.
fn call_on_load(module: &'static Module, entry: &OnLoad, args: &[Vec<u8>]) -> c_int {
    let mut ctx = Ctx::internal(Some(module));
    ctx.flags |= flag::ONLOAD;
    let mut argv: Vec<*mut RStr> = args.iter().map(|a| RStr::new(a)).collect();
    let argv_ptr = if argv.is_empty() { std::ptr::null_mut() } else { argv.as_mut_ptr() };
    let status = {
        let _running = running(module, &"OnLoad");
        // SAFETY: ABI: the entry point's signature; lock: the module lock is held.
        unsafe { entry((&raw mut ctx).cast(), argv_ptr.cast(), argv.len() as c_int) }
    };
    ctx.finish();
    for s in argv {
        // SAFETY: ABI: our own references.
        unsafe { RStr::release(s) };
    }
    status
}

/// What was found out about a module by loading it.
fn about(module: &Module) -> String {
    let hash = module.hash.as_ref().map_or("unknown".into(), super::sha256::hex);
    let missing: Vec<String> = module.missing.lock().iter().map(|m| m.0.clone()).collect();
    let asked = module.asked.load(Relaxed);
    let mut text = format!(
        "Module '{}': SHA-256 {hash}; it asked for {asked} functions and found {}",
        module.name(),
        asked.saturating_sub(missing.len())
    );
    // Names of newer servers, and of ones that nobody can have, are many in every header.
    let old: Vec<&str> = missing.iter().map(String::as_str).filter(|name| is_old(name)).collect();
    if !old.is_empty() {
        text.push_str(&format!(", without {}, which Redis 7.4 has", old.join(" ")));
    }
    if let Some(persona) = *module.persona.lock() {
        text.push_str(&format!("; it meets {persona}"));
    }
    text
}

fn is_old(function: &str) -> bool {
    crate::doctor::known(function).is_some_and(|known| known.is_promised())
}

fn error_text(e: &libloading::Error) -> String {
    // The loader's own words are in the source error.
    std::error::Error::source(e).map_or_else(|| e.to_string(), |s| s.to_string())
}

fn change_event(server: &'static Server, module: &'static Module, sub: u64) {
    let name = std::ffi::CString::new(module.name()).unwrap_or_default();
    let mut info = abi::ModuleChange {
        version: 1,
        module_name: name.as_ptr(),
        module_version: module.ver.load(Relaxed),
    };
    let _ = server;
    super::event::server_event(abi::EVENT_MODULE_CHANGE, sub, (&raw mut info).cast(), Some(module));
}

/// Removes everything that a module registered, in the order in which Redis does, and closes its shared object. From here
/// on nothing of it is called.
fn clean_up(server: &'static Server, module: &'static Module) {
    let mine = |m: &'static Module| std::ptr::eq(m, module);
    module.gone.store(true, Relaxed);
    module.commands.lock().clear();
    server.modules.timers.remove_all_of(module);
    // SAFETY: lock: modules come and go under the module lock.
    unsafe { server.holder() }.post_jobs.retain(|job| !mine(job.module));
    let keep: Vec<_> =
        server.modules.keyspace().iter().filter(|s| !mine(s.module)).cloned().collect();
    server.modules.set_keyspace(keep);
    server.modules.shared.lock().retain(|_, s| !mine(s.module));
    for m in server.modules.list() {
        m.used_by.lock().remove(module.name());
        m.using.lock().remove(module.name());
    }
    super::api::filter::remove_all_of(server, module);
    let keep: Vec<_> =
        server.modules.events.load().iter().filter(|s| !mine(s.module)).cloned().collect();
    server.modules.events.store(std::sync::Arc::new(keep));
    super::api::config::remove_all_of(module);
    super::fork::forget_callback_of(module);
    super::api::promise::abort_all_of(module);
    *module.defrag.lock() = Default::default();
    super::auth::forget(server, module);
    let types = std::mem::take(&mut *module.types.lock());
    server.modules.rebuild_table(server, None);
    let in_use = types.iter().any(|t| std::sync::Arc::strong_count(t) > 1);
    let library = module.library.lock().take();
    if in_use {
        crate::log_warning!(
            "Module {} made values of its types before it failed: its code stays in memory for them",
            module.path
        );
        // Without its module nobody else can free them.
        std::mem::forget(library);
    } else {
        event_loop::close(server, module, || drop(library));
    }
}

/// Takes a module out of the list and cleans up behind it; the shared object is closed.
fn forget(server: &'static Server, module: &'static Module) {
    let list: Vec<_> =
        server.modules.list().into_iter().filter(|m| !std::ptr::eq(*m, module)).collect();
    server.modules.modules.store(std::sync::Arc::new(list));
    clean_up(server, module);
}

/// Tells a module that it is about to go, if it wants to know; returns what it answers.
fn call_on_unload(module: &'static Module) -> c_int {
    let exit = module.library.lock().as_ref().and_then(|library| {
        ["ValkeyModule_OnUnload\0", "RedisModule_OnUnload\0"].iter().find_map(|name| {
            // SAFETY: ABI: a symbol of this name has this signature.
            let f: Symbol<OnUnload> = unsafe { library.get(name.as_bytes()) }.ok()?;
            Some(*f)
        })
    });
    let Some(exit) = exit else { return abi::OK };
    // SAFETY: ABI: the exit point's signature; lock: the module lock is held.
    with_context(module, 0, &"OnUnload", |ctx| unsafe { exit(ctx.cast()) })
}

/// Unloads a module. The error is the reason as `MODULE UNLOAD` tells it.
pub fn unload(server: &'static Server, name: &str) -> Result<(), &'static str> {
    let Some(module) = server.modules.find(name) else {
        return Err("no such module with that name");
    };
    if !module.types.lock().is_empty() {
        return Err("the module exports one or more module-side data types, can't unload");
    }
    if !module.used_by.lock().is_empty() {
        return Err("the module exports APIs used by other modules. Please unload them first and \
                    try again");
    }
    if module.blocked_clients.load(Relaxed) > 0 {
        return Err(
            "the module has blocked clients. Please wait for them to be unblocked and try \
                    again",
        );
    }
    if server.modules.timers.owned_by(module) {
        return Err(
            "the module holds timer that is not fired. Please stop the timer or wait until \
                    it fires.",
        );
    }
    if call_on_unload(module) == abi::ERR {
        return Err("operation not possible.");
    }
    forget(server, module);
    crate::log_notice!("Module {} unloaded", module.name());
    change_event(server, module, abi::SUBEVENT_MODULE_UNLOADED);
    Ok(())
}
