//! Cluster calls, as a node that is not part of a cluster answers them.
use crate::keyspace::shard::slot_of;
use crate::module::abi::{self, ERR};
use crate::module::context::Ctx;
use crate::module::string::RStr;
use std::ffi::{c_char, c_int, c_uint};

crate::api! {
    /// This node's id; null outside of a cluster.
    [Free] fn GetMyClusterID() -> *const c_char {
        std::ptr::null()
    }

    /// Number of nodes; 0 outside of a cluster.
    [Free] fn GetClusterSize() -> usize {
        0
    }

    /// The ids of all nodes; null outside of a cluster.
    [Locked] fn GetClusterNodesList(_ctx: *mut Ctx, _count: *mut usize) -> *mut *mut c_char {
        std::ptr::null_mut()
    }

    /// Frees a list of nodes; null is allowed, and there is no other.
    [Locked] fn FreeClusterNodesList(_ids: *mut *mut c_char) {}

    /// What is known of a node: of none outside of a cluster.
    [Locked] fn GetClusterNodeInfo(
        _ctx: *mut Ctx, _id: *const c_char, _ip: *mut c_char, _master: *mut c_char,
        _port: *mut c_int, _flags: *mut c_int,
    ) -> c_int {
        ERR
    }

    /// Registers a function for messages of other nodes. Outside of a cluster there are none.
    [Locked] fn RegisterClusterMessageReceiver(
        _ctx: *mut Ctx, _kind: u8, _callback: abi::ClusterMessageFn,
    ) {
    }

    /// Sends a message to another node: there is none outside of a cluster.
    [Locked] fn SendClusterMessage(
        _ctx: *mut Ctx, _target: *const c_char, _kind: u8, _message: *const c_char, _len: u32,
    ) -> c_int {
        ERR
    }

    /// Forbids parts of what a cluster does. Outside of a cluster none of it happens anyway.
    [Locked] fn SetClusterFlags(_ctx: *mut Ctx, _flags: u64) {}

    /// The hash slot of a key.
    [Free] fn ClusterKeySlot(key: *mut RStr) -> c_uint {
        // SAFETY: ABI: a live string.
        c_uint::from(slot_of(unsafe { RStr::bytes(key) }))
    }
}
