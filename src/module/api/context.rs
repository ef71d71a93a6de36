//! Contexts: flags, time, versions, random numbers, the current command, databases, clients by id, publishing.
use super::reply::command_name;
use super::string::make;
use crate::config::enums::maxmemory_policy;
use crate::config::set::allows;
use crate::connection::client::{flag, ClientShared};
use crate::execute::server::is_local;
use crate::module::abi;
use crate::module::border::set_errno;
use crate::module::context::Ctx;
use crate::module::persona;
use crate::module::string::RStr;
use crate::observe::clock::{mono_ns, now_ms, now_us};
use crate::observe::{log, random};
use crate::server::Server;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::ffi::{c_char, c_int, c_ulonglong, c_void, CString};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::Arc;

/// The version of Redis that modules are told, as `0x00MMmmpp`.
pub const SERVER_VERSION: c_int = 0x0007_0401;
/// The share of the memory limit from which on modules are warned.
const MEMORY_WARNING: f32 = 0.75;

/// Part of the memory limit that is used; 0 without a limit.
fn memory_ratio(server: &Server) -> f32 {
    let limit = server.config.maxmemory();
    if limit == 0 {
        return 0.0;
    }
    (server.used_memory() as f64 / limit as f64) as f32
}

/// The bits of `GetContextFlags` that do not depend on a context.
fn server_flags(server: &Server) -> c_int {
    let config = &server.config;
    let ratio = memory_ratio(server);
    let limited = config.maxmemory() > 0;
    let evicts = limited && config.maxmemory_policy() != maxmemory_policy::NOEVICTION;
    let bits = [
        (!server.link.is_replica(), abi::CTX_FLAGS_MASTER),
        (server.link.is_replica(), abi::CTX_FLAGS_SLAVE),
        (server.link.is_replica() && config.replica_read_only(), abi::CTX_FLAGS_READONLY),
        (server.link.is_replica() && server.link.is_stale(), abi::CTX_FLAGS_REPLICA_IS_STALE),
        (server.link.is_replica() && server.link.is_up(), abi::CTX_FLAGS_REPLICA_IS_ONLINE),
        (config.cluster_enabled(), abi::CTX_FLAGS_CLUSTER),
        (server.loading.load(Relaxed), abi::CTX_FLAGS_LOADING),
        (limited, abi::CTX_FLAGS_MAXMEMORY),
        (evicts, abi::CTX_FLAGS_EVICT),
        (config.appendonly(), abi::CTX_FLAGS_AOF),
        (!config.save().is_empty(), abi::CTX_FLAGS_RDB),
        (ratio > 1.0, abi::CTX_FLAGS_OOM),
        (crate::script::run::is_running(), abi::CTX_FLAGS_LUA),
        (crate::execute::transaction::is_running(), abi::CTX_FLAGS_MULTI),
        (ratio > MEMORY_WARNING, abi::CTX_FLAGS_OOM_WARNING),
        (server.persistence.saving.load(Relaxed), abi::CTX_FLAGS_ACTIVE_CHILD),
        (log::in_child(), abi::CTX_FLAGS_IS_CHILD),
        (server.starting.load(Relaxed), abi::CTX_FLAGS_SERVER_STARTUP),
        (allows(config.enable_debug_command(), false), abi::CTX_FLAGS_DEBUG_ENABLED),
    ];
    bits.iter().filter(|b| b.0).map(|b| b.1).fold(0, |all, bit| all | bit)
}

/// The bits that a context adds.
fn context_flags(ctx: &Ctx) -> c_int {
    let session = ctx.session();
    let shared = &session.shared;
    let dirty =
        shared.has(flag::DIRTY_CAS) || session.multi.as_ref().is_some_and(|multi| multi.aborted);
    let debug = Server::get().config.enable_debug_command();
    let resp3 = ctx.out().map_or_else(|| shared.has(flag::RESP3), |out| out.resp3);
    let bits = [
        (session.deny_blocking, abi::CTX_FLAGS_DENY_BLOCKING),
        (resp3, abi::CTX_FLAGS_RESP3),
        (shared.has(flag::SCRIPT), abi::CTX_FLAGS_LUA),
        (dirty, abi::CTX_FLAGS_MULTI_DIRTY),
        // Set from `MULTI` to the end of `EXEC`; a module's command runs only in the latter.
        (shared.has(flag::MULTI), abi::CTX_FLAGS_MULTI),
        (allows(debug, is_local(session)), abi::CTX_FLAGS_DEBUG_ENABLED),
    ];
    bits.iter().filter(|b| b.0).map(|b| b.1).fold(0, |all, bit| all | bit)
}

fn client_by_id(id: u64) -> Option<Arc<ClientShared>> {
    Server::get().clients.lock().get(&id).cloned()
}

/// One C string for each name, for the life of the process.
fn interned(name: &str) -> *const c_char {
    static NAMES: Mutex<Option<HashMap<String, CString>>> = Mutex::new(None);
    let mut names = NAMES.lock();
    let names = names.get_or_insert_default();
    if !names.contains_key(name) {
        names.insert(name.to_string(), CString::new(name).unwrap_or_default());
    }
    names[name].as_ptr()
}

api! {
    /// What is going on, as bits of `REDISMODULE_CTX_FLAGS_*`; the context may be null.
    [Free] fn GetContextFlags(ctx: *mut Ctx) -> c_int {
        // SAFETY: ABI: null or a live context.
        let own = unsafe { ctx.as_ref() }.map_or(0, context_flags);
        own | server_flags(Server::get())
    }

    /// All bits that `GetContextFlags` knows; one of Redis 8.0 among them.
    [Free] fn GetContextFlagsAll() -> c_int {
        (abi::CTX_FLAGS_NEXT - 1) | abi::CTX_FLAGS_DEBUG_ENABLED
    }

    /// All classes of keyspace events.
    [Free] fn GetKeyspaceNotificationFlagsAll() -> c_int {
        abi::NOTIFY_NEXT - 1
    }

    /// All bits of `SetModuleOptions`.
    [Free] fn GetModuleOptionsAll() -> c_int {
        abi::OPTIONS_FLAGS_NEXT - 1
    }

    /// The version of the server that the module meets, as `0x00MMmmpp`.
    [Free] fn GetServerVersion() -> c_int {
        persona::of_caller().number()
    }

    /// The newest version of the type methods on that server.
    [Free] fn GetTypeMethodVersion() -> c_int {
        persona::of_caller().type_methods()
    }

    /// Unix time in milliseconds.
    [Free] fn Milliseconds() -> i64 {
        now_ms()
    }

    /// Unix time in microseconds.
    [Free] fn Microseconds() -> i64 {
        now_us()
    }

    /// Unix time in microseconds, at the begin of the unit under the module lock; while none runs, of the last one.
    [Free] fn CachedMicroseconds() -> i64 {
        Server::get().unit_us.load(Relaxed)
    }

    /// Microseconds of a clock that never goes back.
    [Free] fn MonotonicMicroseconds() -> u64 {
        mono_ns() / 1000
    }

    /// Fills a buffer with random bytes.
    [Free] fn GetRandomBytes(to: *mut u8, len: usize) {
        if len > 0 {
            // SAFETY: ABI: a buffer of this length.
            random::fill(unsafe { std::slice::from_raw_parts_mut(to, len) });
        }
    }

    /// Fills a buffer with random hex digits, without a NUL.
    [Free] fn GetRandomHexChars(to: *mut c_char, len: usize) {
        if len > 0 {
            let digits = random::hex(len);
            // SAFETY: ABI: a buffer of this length.
            unsafe { std::ptr::copy_nonoverlapping(digits.as_ptr(), to.cast(), len) };
        }
    }

    /// The full name of the command that runs in this context, or null.
    [Locked] fn GetCurrentCommandName(ctx: *mut Ctx) -> *const c_char {
        // SAFETY: ABI: null or a live context.
        let name = unsafe { ctx.as_ref() }.and_then(command_name);
        name.map_or(std::ptr::null(), |n| interned(&n))
    }

    /// The id of the context's client; 0 when the server itself is behind it.
    [Free] fn GetClientId(ctx: *mut Ctx) -> c_ulonglong {
        // SAFETY: ABI: a live context.
        let ctx = unsafe { &*ctx };
        ctx.session().shared.id
    }

    /// The number of the selected database.
    [Free] fn GetSelectedDb(ctx: *mut Ctx) -> c_int {
        // SAFETY: ABI: a live context.
        unsafe { &*ctx }.session().db as c_int
    }

    /// Selects a database, for the client too.
    [Locked] fn SelectDb(ctx: *mut Ctx, db: c_int) -> c_int {
        let databases = Server::get().keyspace.dbs().len();
        match usize::try_from(db) {
            Ok(db) if db < databases => {
                // SAFETY: ABI: a live context.
                unsafe { &*ctx }.session().select(db);
                abi::OK
            }
            _ => abi::ERR,
        }
    }

    /// Number of keys in the selected database.
    [Locked] fn DbSize(ctx: *mut Ctx) -> c_ulonglong {
        // SAFETY: ABI: a live context.
        let db = unsafe { &*ctx }.session().db;
        Server::get().keyspace.dbs()[db].len() as c_ulonglong
    }

    /// A random key of the selected database; null without keys.
    [Locked] fn RandomKey(ctx: *mut Ctx) -> *mut RStr {
        // SAFETY: ABI: a live context.
        let key = super::call::text_from(unsafe { &*ctx }, &[b"RANDOMKEY"]);
        key.map_or(std::ptr::null_mut(), |k| make(ctx, &k))
    }

    /// Deletes all keys of all databases. There is no AOF that could be restarted.
    [Locked] fn ResetDataset(_restart_aof: c_int, in_background: c_int) {
        let own = Ctx::internal(None);
        let how: &[u8] = if in_background != 0 { b"ASYNC" } else { b"SYNC" };
        super::call::text_from(&own, &[b"FLUSHALL", how]);
    }

    /// Sends a message to the subscribers of a channel. Returns how many got it.
    [Locked] fn PublishMessage(_ctx: *mut Ctx, channel: *mut RStr, text: *mut RStr) -> c_int {
        // SAFETY: ABI: live strings.
        let (channel, text) = unsafe { (RStr::bytes(channel), RStr::bytes(text)) };
        Server::get().pubsub.publish(channel, text) as c_int
    }

    /// Sends a message to the subscribers of a shard channel. Returns how many got it.
    [Locked] fn PublishMessageShard(_ctx: *mut Ctx, channel: *mut RStr, text: *mut RStr) -> c_int {
        // SAFETY: ABI: live strings.
        let (channel, text) = unsafe { (RStr::bytes(channel), RStr::bytes(text)) };
        Server::get().pubsub.publish_shard(channel, text) as c_int
    }

    /// 1 while clients' writes are paused, so that nothing should be sent to replicas.
    [Free] fn AvoidReplicaTraffic() -> c_int {
        c_int::from(Server::get().pause.active())
    }

    /// Part of the memory limit that is used; 0 without a limit.
    [Free] fn GetUsedMemoryRatio() -> f32 {
        memory_ratio(Server::get())
    }

    /// Fills a `ClientInfo` of the version that it says; a null one asks whether the client exists.
    [Locked] fn GetClientInfoById(info: *mut c_void, id: u64) -> c_int {
        let Some(client) = client_by_id(id) else { return abi::ERR };
        if info.is_null() {
            return abi::OK;
        }
        // SAFETY: ABI: the caller has set the version, the first word of every version.
        if unsafe { *info.cast::<u64>() } != abi::CLIENTINFO_VERSION {
            return abi::ERR;
        }
        // SAFETY: ABI: a struct of version 1, as it says.
        unsafe { *info.cast::<abi::ClientInfo>() = super::client::info_of(&client) };
        abi::OK
    }

    /// The name that a client gave itself; null if it has none.
    [Locked] fn GetClientNameById(ctx: *mut Ctx, id: u64) -> *mut RStr {
        let name = client_by_id(id).map(|c| c.name.lock().clone()).unwrap_or_default();
        if name.is_empty() {
            return std::ptr::null_mut();
        }
        make(ctx, name.as_bytes())
    }

    /// Names a client; an empty name takes the name away.
    [Locked] fn SetClientNameById(id: u64, name: *mut RStr) -> c_int {
        // SAFETY: ABI: a live string.
        let name = unsafe { RStr::bytes(name) };
        let Some(client) = client_by_id(id) else {
            set_errno(libc::ENOENT);
            return abi::ERR;
        };
        // Spaces, line breaks and what cannot be printed would break `CLIENT LIST`.
        if !name.iter().all(u8::is_ascii_graphic) {
            set_errno(libc::EINVAL);
            return abi::ERR;
        }
        *client.name.lock() = String::from_utf8_lossy(name).into();
        abi::OK
    }

    /// The name of a client's user.
    [Locked] fn GetClientUserNameById(ctx: *mut Ctx, id: u64) -> *mut RStr {
        let Some(client) = client_by_id(id) else {
            set_errno(libc::ENOENT);
            return std::ptr::null_mut();
        };
        let Some(user) = client.user.lock().clone() else {
            set_errno(libc::ENOTSUP);
            return std::ptr::null_mut();
        };
        make(ctx, user.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_interned() {
        let a = interned("ft.search");
        let b = interned(&String::from("ft.search"));
        assert_eq!(a, b);
        // SAFETY: layout: interned names live as long as the process.
        assert_eq!(unsafe { std::ffi::CStr::from_ptr(a) }, c"ft.search");
        assert_ne!(a, interned("ft.info"));
    }

    #[test]
    fn masks_of_all_flags() {
        // SAFETY: ABI: these take nothing.
        unsafe {
            assert_eq!(GetContextFlagsAll(), 0x3ff_ffff);
            assert_eq!(GetKeyspaceNotificationFlagsAll(), 0x7fff);
            assert_eq!(GetModuleOptionsAll(), 0xf);
        }
    }

    #[test]
    fn random_digits_fill_the_buffer() {
        let mut buf = [0u8; 40];
        // SAFETY: layout: the test's own buffer.
        unsafe { GetRandomHexChars(buf.as_mut_ptr().cast(), 39) };
        assert!(buf[..39].iter().all(u8::is_ascii_hexdigit));
        assert_eq!(buf[39], 0);
    }
}
