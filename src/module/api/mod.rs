//! The functions that modules call, one family a file; each file's `api!` block makes its `TABLE`.
//!
//! [`get_api`] is what word 0 of every context points to. A name that is not in any table is absent, as on an older
//! Redis, and remembered with the module that asked.
use super::context::{Auto, Ctx};
use super::persona::Persona;
use super::registry::Module;
use super::strict;
use super::string::RStr;
use crate::lock::owner::{self, Label};
use crate::server::Server;
use std::collections::HashMap;
use std::ffi::{c_char, c_int, c_void, CStr};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::OnceLock;

/// When a function may be called.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LockClass {
    /// From any thread, at any time.
    Free,
    /// With the module lock.
    Locked,
    /// With the module lock, or on a context of a blocked client.
    Reply,
    /// On the module thread.
    Main,
}

/// Address of a function.
#[derive(Clone, Copy)]
pub struct Addr(pub *const c_void);
// SAFETY: layout: the address of a function never changes.
unsafe impl Sync for Addr {}
// SAFETY: layout: as above.
unsafe impl Send for Addr {}

/// One served function.
#[derive(Clone, Copy)]
pub struct Export {
    /// Name without prefix.
    pub name: &'static str,
    /// When it may be called.
    pub class: LockClass,
    /// Where it is.
    pub addr: Addr,
}

/// Notes a call of an API function, for reports, and checks it in strict mode. Called at every entry.
#[inline]
pub fn enter(name: Label, class: LockClass) {
    owner::trail().note(name);
    if strict::watching() {
        strict::at_call(name, class);
    }
}

/// The last API calls of this thread, the newest first.
pub fn trail() -> Vec<&'static str> {
    owner::trail().names()
}

/// Declares API functions: `[Class] fn Name(args) -> ret { body }`. Each becomes an `extern "C"` function that notes its
/// call; the rows become the family's `TABLE`. A panic inside aborts: it must not cross into the module.
#[macro_export]
macro_rules! api {
    ($(
        $(#[$meta:meta])*
        [$class:ident] fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)? $body:block
    )*) => {
        $(
            $(#[$meta])*
            ///
            /// # Safety
            /// Called by modules under the contract of the API function of this name.
            #[allow(non_snake_case, clippy::too_many_arguments, unused_unsafe)]
            pub unsafe extern "C" fn $name($($arg: $ty),*) $(-> $ret)? {
                $crate::module::api::enter(
                    &stringify!($name),
                    $crate::module::api::LockClass::$class,
                );
                $body
            }
        )*
        /// The functions of this family.
        pub const TABLE: &[$crate::module::api::Export] = &[$(
            $crate::module::api::Export {
                name: stringify!($name),
                class: $crate::module::api::LockClass::$class,
                addr: $crate::module::api::Addr($name as *const std::ffi::c_void),
            }
        ),*];
    };
}

pub mod acl;
pub mod blocked;
pub mod call;
pub mod call_reply;
pub mod client;
pub mod cluster;
pub mod command;
pub mod config;
pub mod config_access;
pub mod context;
pub mod core;
pub mod datatype;
pub mod defrag;
pub mod dict;
pub mod digest;
pub mod event;
pub mod filter;
pub mod fork;
pub mod info;
pub mod key;
pub mod key_hash;
pub mod key_list;
pub mod key_stream;
pub mod key_zset;
pub mod memory;
pub mod promise;
pub mod rdb;
pub mod reply;
pub mod scan;
pub mod shared;
pub mod string;
pub mod thread;
pub mod timer;

/// The families.
static FAMILIES: &[&[Export]] = &[
    acl::TABLE,
    blocked::TABLE,
    call::TABLE,
    call_reply::TABLE,
    client::TABLE,
    cluster::TABLE,
    command::TABLE,
    config::TABLE,
    config_access::TABLE,
    context::TABLE,
    core::TABLE,
    datatype::TABLE,
    defrag::TABLE,
    dict::TABLE,
    digest::TABLE,
    event::TABLE,
    filter::TABLE,
    fork::TABLE,
    info::TABLE,
    key::TABLE,
    key_hash::TABLE,
    key_list::TABLE,
    key_stream::TABLE,
    key_zset::TABLE,
    memory::TABLE,
    rdb::TABLE,
    reply::TABLE,
    scan::TABLE,
    shared::TABLE,
    string::TABLE,
    thread::TABLE,
    timer::TABLE,
    call::SHIMS,
    info::SHIMS,
    key_hash::SHIMS,
    rdb::SHIMS,
    reply::SHIMS,
    string::SHIMS,
];

/// All served functions.
pub fn all() -> impl Iterator<Item = &'static Export> {
    FAMILIES.iter().copied().flatten()
}

fn index() -> &'static HashMap<&'static str, Addr> {
    static INDEX: OnceLock<HashMap<&'static str, Addr>> = OnceLock::new();
    INDEX.get_or_init(|| {
        let mut map = HashMap::new();
        for e in all() {
            assert!(map.insert(e.name, e.addr).is_none(), "{} is declared twice", e.name);
        }
        map
    })
}

/// Functions of Redis whose names stand for something else in Valkey: there `ACLCheckKeyPrefixPermissions` takes a buffer
/// and its length.
const NOT_VALKEY: &[&str] = &["ACLCheckKeyPrefixPermissions"];

/// The address of a function under this name, for a module: none if the server that the module meets does not have it.
fn find(name: &str, module: Option<&Module>) -> Option<&'static Addr> {
    // Valkey renamed this one, the only one.
    let own = if name == "DefragValkeyModuleString" { "DefragRedisModuleString" } else { name };
    let known = |p: Persona| p.has(name) || p.has(own);
    let persona = module.and_then(|m| *m.persona.lock());
    index().get(own).filter(|_| persona.is_none_or(known))
}

/// `GetApi`: stores the address of a function and returns 0, or returns 1 and leaves the target alone.
///
/// # Safety
/// ABI: `name` is a C string and `target` a place for a pointer.
pub unsafe extern "C" fn get_api(name: *const c_char, target: *mut *const c_void) -> c_int {
    // SAFETY: ABI: this function's contract.
    let text = unsafe { CStr::from_ptr(name) }.to_bytes();
    let redis = text.strip_prefix(b"RedisModule_");
    let bare = redis
        .or_else(|| text.strip_prefix(b"ValkeyModule_"))
        .and_then(|b| std::str::from_utf8(b).ok());
    let server = Server::get();
    // SAFETY: lock: this thread has it. Modules resolve names inside OnLoad, under the module lock.
    let holder = server.module_lock.is_mine().then(|| unsafe { server.holder() });
    let module = holder.and_then(|h| h.running).map(|(m, _)| m);
    if let Some(m) = module {
        m.asked.fetch_add(1, Relaxed);
    }
    let served = |name: &&str| redis.is_some() || !NOT_VALKEY.contains(name);
    match bare.filter(served).and_then(|b| find(b, module)) {
        Some(addr) => {
            // SAFETY: ABI: this function's contract.
            unsafe { *target = addr.0 };
            0
        }
        None => {
            if let (Some(m), Some(b)) = (module, bare) {
                m.missing.lock().push((b.to_string(), target as usize));
            }
            1
        }
    }
}

/// The address that goes into word 0 of contexts.
pub fn get_api_address() -> *const c_void {
    get_api as *const c_void
}

/// Frees something that automatic memory management owed.
pub fn free_auto(ctx: &mut Ctx, what: Auto) {
    match what {
        // SAFETY: ABI: automatic memory owns one reference.
        Auto::Str(s) => unsafe { RStr::release(s) },
        Auto::Key(p) => key::free_auto(ctx, p),
        Auto::Reply(p) => call::free_auto(ctx, p),
        Auto::Dict(p) => dict::free_auto(ctx, p),
        Auto::Info(p) => info::free_auto(ctx, p),
        Auto::ConfigIterator(p) => config_access::free_auto(p),
        Auto::SlotRanges(p) => cluster::free_auto(p),
    }
}

/// The row of a function that is a C shim.
pub const fn shim(name: &'static str, class: LockClass, f: unsafe extern "C" fn()) -> Export {
    Export { name, class, addr: Addr(f as *const c_void) }
}
