//! Blocking clients.
use crate::connection::client::flag as client_flag;
use crate::module::abi::{self, ERR, OK};
use crate::module::blocked::{signal_key, unblock, BlockedClient};
use crate::module::context::{flag, Ctx};
use crate::module::string::RStr;
use crate::observe::clock::{mono_ns, now_ms};
use crate::server::Server;
use std::ffi::{c_int, c_void};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::Arc;

struct Block {
    auth: Option<abi::AuthFn>,
    reply: abi::CommandFn,
    timeout: abi::CommandFn,
    free: abi::FreePrivdataFn,
    milliseconds: i64,
    keys: Vec<Vec<u8>>,
    on_deletion: bool,
    privdata: *mut c_void,
}

/// Blocks the context's client, or writes why not. The module gets a handle either way, and has to give it up.
fn block(ctx: &mut Ctx, b: Block) -> *const BlockedClient {
    let Some(module) = ctx.module else { return std::ptr::null() };
    module.blocked_clients.fetch_add(1, Relaxed);
    let handle = Arc::new(BlockedClient::new(ctx, module, b.keys, b.on_deletion));
    let due = match b.milliseconds {
        0 => Some(0),
        ms => now_ms().checked_add(ms),
    };
    {
        let mut s = handle.state.lock();
        s.on_auth = b.auth.is_some();
        s.auth_reply = b.auth.flatten();
        s.reply = b.reply;
        s.timeout = b.timeout;
        s.free_privdata = b.free;
        s.privdata = b.privdata as usize;
        s.due = due.unwrap_or(0);
    }
    let session = ctx.session();
    let refusal = if due.is_none() {
        Some("ERR timeout is out of range")
    } else if session.shared.has(client_flag::SCRIPT) {
        Some("ERR Blocking module command called from Lua script")
    } else if session.deny_blocking {
        Some("ERR Blocking module command called from transaction")
    } else if ctx.flags & flag::BLOCKED_REPLY != 0 {
        Some("ERR Blocking module command called from a Reply callback context")
    } else if b.auth.is_none() && session.module_auth.is_some() {
        Some("ERR Clients undergoing module based authentication can only be blocked on auth")
    } else {
        None
    };
    match refusal {
        Some(text) => {
            if let Some(out) = ctx.out() {
                out.error(text);
            }
        }
        None => session.blocked_on = Some(handle.clone()),
    }
    Arc::into_raw(handle)
}

crate::api! {
    /// Blocks the client of a command. The handle is given up with `UnblockClient` or `AbortBlock`.
    [Main] fn BlockClient(
        ctx: *mut Ctx, reply: abi::CommandFn, timeout: abi::CommandFn, free: abi::FreePrivdataFn,
        milliseconds: i64,
    ) -> *const BlockedClient {
        // SAFETY: ABI: a live context.
        let ctx = unsafe { &mut *ctx };
        let keys = Vec::new();
        let privdata = std::ptr::null_mut();
        let (auth, on_deletion) = (None, false);
        block(ctx, Block { auth, reply, timeout, free, milliseconds, keys, on_deletion, privdata })
    }

    /// Blocks a client that authenticates, from a callback of `RegisterAuthCallback`. Null outside of one.
    [Main] fn BlockClientOnAuth(
        ctx: *mut Ctx, reply: abi::AuthFn, free: abi::FreePrivdataFn,
    ) -> *const BlockedClient {
        // SAFETY: ABI: a live context.
        let ctx = unsafe { &mut *ctx };
        if ctx.session().module_auth.is_none() {
            if let Some(out) = ctx.out() {
                out.error(
                    "ERR Module blocking client on auth when not currently undergoing module authentication",
                );
            }
            return std::ptr::null();
        }
        block(ctx, Block {
            auth: Some(reply),
            reply: None,
            timeout: None,
            free,
            milliseconds: 0,
            keys: Vec::new(),
            on_deletion: false,
            privdata: std::ptr::null_mut(),
        })
    }

    /// Blocks the client until its reply callback is content with one of the keys.
    [Main] fn BlockClientOnKeys(
        ctx: *mut Ctx, reply: abi::CommandFn, timeout: abi::CommandFn, free: abi::FreePrivdataFn,
        milliseconds: i64, keys: *const *mut RStr, count: c_int, privdata: *mut c_void,
    ) -> *const BlockedClient {
        // SAFETY: ABI: the arguments are those of the function below.
        unsafe {
            BlockClientOnKeysWithFlags(
                ctx, reply, timeout, free, milliseconds, keys, count, privdata, 0,
            )
        }
    }

    /// As `BlockClientOnKeys`; with `BLOCK_UNBLOCK_DELETED` the callback also hears of deleted keys.
    [Main] fn BlockClientOnKeysWithFlags(
        ctx: *mut Ctx, reply: abi::CommandFn, timeout: abi::CommandFn, free: abi::FreePrivdataFn,
        milliseconds: i64, keys: *const *mut RStr, count: c_int, privdata: *mut c_void,
        flags: c_int,
    ) -> *const BlockedClient {
        // SAFETY: ABI: a live context, and an array of live strings.
        let (ctx, keys) =
            unsafe { (&mut *ctx, super::command::bytes_of(keys, count.max(0) as usize)) };
        let keys = keys.into_iter().map(<[u8]>::to_vec).collect();
        let on_deletion = flags & abi::BLOCK_UNBLOCK_DELETED != 0;
        let auth = None;
        block(ctx, Block { auth, reply, timeout, free, milliseconds, keys, on_deletion, privdata })
    }

    /// Whoever waits for this key looks at it.
    [Locked] fn SignalKeyAsReady(ctx: *mut Ctx, key: *mut RStr) {
        // SAFETY: ABI: a live context and a live string.
        let (ctx, key) = unsafe { (&*ctx, RStr::bytes(key)) };
        signal_key(Server::get(), ctx.session().db, key);
    }

    /// Ends the block, from any thread. The reply callback runs later, on the module thread.
    [Free] fn UnblockClient(blocked: *const BlockedClient, privdata: *mut c_void) -> c_int {
        // SAFETY: ABI: a handle that the module still has.
        let b = unsafe { &*blocked };
        {
            let mut s = b.state.lock();
            if b.keys.is_empty() {
                s.privdata = privdata as usize;
            } else if s.timeout.is_none() {
                return ERR;
            } else {
                s.by_hand = true;
            }
            if std::mem::replace(&mut s.unblocked, true) {
                return OK;
            }
        }
        unblock(blocked);
        OK
    }

    /// Ends the block without a reply callback.
    [Free] fn AbortBlock(blocked: *const BlockedClient) -> c_int {
        {
            // SAFETY: ABI: a handle that the module still has.
            let mut s = unsafe { &*blocked }.state.lock();
            s.reply = None;
            s.auth_reply = None;
            s.disconnected = None;
        }
        // SAFETY: ABI: as above.
        unsafe { UnblockClient(blocked, std::ptr::null_mut()) }
    }

    /// Sets what is called when the client's connection ends before it is unblocked.
    [Free] fn SetDisconnectCallback(blocked: *const BlockedClient, callback: abi::DisconnectFn) {
        // SAFETY: ABI: a handle that the module still has.
        unsafe { &*blocked }.state.lock().disconnected = callback;
    }

    /// 1 in a reply callback.
    [Free] fn IsBlockedReplyRequest(ctx: *mut Ctx) -> c_int {
        // SAFETY: ABI: a live context.
        c_int::from(unsafe { &*ctx }.flags & flag::BLOCKED_REPLY != 0)
    }

    /// 1 in a timeout callback.
    [Free] fn IsBlockedTimeoutRequest(ctx: *mut Ctx) -> c_int {
        // SAFETY: ABI: a live context.
        c_int::from(unsafe { &*ctx }.flags & flag::BLOCKED_TIMEOUT != 0)
    }

    /// 1 where private data is freed of a client that is gone.
    [Free] fn BlockedClientDisconnected(ctx: *mut Ctx) -> c_int {
        // SAFETY: ABI: a live context.
        c_int::from(unsafe { &*ctx }.flags & flag::BLOCKED_DISCONNECTED != 0)
    }

    /// The private data, in a callback of a blocked client.
    [Free] fn GetBlockedClientPrivateData(ctx: *mut Ctx) -> *mut c_void {
        // SAFETY: ABI: a live context.
        unsafe { &*ctx }.privdata
    }

    /// The key that became ready, in a reply callback of a client that waits for keys.
    [Free] fn GetBlockedClientReadyKey(ctx: *mut Ctx) -> *mut RStr {
        // SAFETY: ABI: a live context.
        unsafe { &*ctx }.ready_key
    }

    /// The handle, in a callback of a blocked client.
    [Free] fn GetBlockedClientHandle(ctx: *mut Ctx) -> *const BlockedClient {
        // SAFETY: ABI: a live context.
        unsafe { &*ctx }.blocked.as_ref().map_or(std::ptr::null(), Arc::as_ptr)
    }

    /// The private data of a blocked client.
    [Free] fn BlockClientGetPrivateData(blocked: *const BlockedClient) -> *mut c_void {
        // SAFETY: ABI: a handle that the module still has.
        unsafe { &*blocked }.state.lock().privdata as *mut c_void
    }

    /// Sets the private data of a blocked client.
    [Free] fn BlockClientSetPrivateData(blocked: *const BlockedClient, privdata: *mut c_void) {
        // SAFETY: ABI: a handle that the module still has.
        unsafe { &*blocked }.state.lock().privdata = privdata as usize;
    }

    /// Starts to measure time that counts as time of the command.
    [Free] fn BlockedClientMeasureTimeStart(blocked: *const BlockedClient) -> c_int {
        // SAFETY: ABI: a handle that the module still has.
        unsafe { &*blocked }.state.lock().measured_from = mono_ns();
        OK
    }

    /// Adds the time since the last start; fails if there was none.
    [Free] fn BlockedClientMeasureTimeEnd(blocked: *const BlockedClient) -> c_int {
        // SAFETY: ABI: a handle that the module still has.
        let mut s = unsafe { &*blocked }.state.lock();
        if s.measured_from == 0 {
            return ERR;
        }
        s.measured += mono_ns() - s.measured_from;
        OK
    }
}
