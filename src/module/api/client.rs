//! Clients, as modules see them.
use crate::connection::client::{flag, ClientShared};
use crate::module::abi;
use crate::module::context::Ctx;
use crate::module::string::RStr;
use std::sync::atomic::Ordering::Relaxed;

/// What `GetClientInfoById` and the client events tell of a client.
pub fn info_of(client: &ClientShared) -> abi::ClientInfo {
    let mut flags = 0;
    for (ours, theirs) in [
        (flag::PUBSUB, abi::CLIENTINFO_FLAG_PUBSUB),
        (flag::BLOCKED, abi::CLIENTINFO_FLAG_BLOCKED),
        (flag::UNIX, abi::CLIENTINFO_FLAG_UNIXSOCKET),
        (flag::MULTI, abi::CLIENTINFO_FLAG_MULTI),
        (flag::TRACKING, abi::CLIENTINFO_FLAG_TRACKING),
    ] {
        if client.has(ours) {
            flags |= theirs;
        }
    }
    let (host, port) = client.addr.rsplit_once(':').unwrap_or((&client.addr, "0"));
    let mut addr = [0; 46];
    for (to, from) in addr[..45].iter_mut().zip(host.bytes()) {
        *to = from as std::ffi::c_char;
    }
    abi::ClientInfo {
        version: 1,
        flags,
        id: client.id,
        addr,
        port: port.parse().unwrap_or(0),
        db: client.db.load(Relaxed) as u16,
    }
}

crate::api! {
    /// The certificate of a client; null for a connection without TLS, as all are.
    [Locked] fn GetClientCertificate(_ctx: *mut Ctx, _id: u64) -> *mut RStr {
        std::ptr::null_mut()
    }
}
