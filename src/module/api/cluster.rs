//! Cluster calls, as a node that is not part of a cluster answers them.
use super::memory::{Alloc, Free};
use crate::keyspace::shard::slot_of;
use crate::module::abi::{self, SlotRangeArray, ERR, OK};
use crate::module::context::{Auto, Ctx};
use crate::module::string::RStr;
use std::ffi::{c_char, c_int, c_uint, c_void};
use std::sync::atomic::{AtomicI32, Ordering::Relaxed};
use std::sync::OnceLock;

/// Hash slots of a cluster.
const CLUSTER_SLOTS: usize = 16384;

/// A name's characters and a NUL.
type Name = [u8; 8];

/// For each slot the first of the words over `0-9a-z`, the short ones first, that hashes to it.
fn names() -> &'static [Name] {
    static NAMES: OnceLock<Vec<Name>> = OnceLock::new();
    NAMES.get_or_init(|| {
        const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
        let mut names = vec![Name::default(); CLUSTER_SLOTS];
        let mut missing = CLUSTER_SLOTS;
        for len in 1..8 {
            for n in 0..36usize.pow(len) {
                let mut name = Name::default();
                let mut rest = n;
                for at in (0..len as usize).rev() {
                    name[at] = DIGITS[rest % 36];
                    rest /= 36;
                }
                let slot = usize::from(slot_of(&name[..len as usize]));
                if names[slot][0] == 0 {
                    names[slot] = name;
                    missing -= 1;
                    if missing == 0 {
                        return names;
                    }
                }
            }
        }
        names
    })
}

/// How often `ClusterDisableTrim` was called and not undone.
static KEPT: AtomicI32 = AtomicI32::new(0);

/// An array for a module, which automatic memory frees if the module does not.
///
/// # Safety
/// ABI: null or a live context.
unsafe fn slot_ranges(ctx: *mut Ctx, ranges: &[abi::SlotRange]) -> *mut SlotRangeArray {
    let size = std::mem::size_of::<SlotRangeArray>() + std::mem::size_of_val(ranges);
    // SAFETY: layout: room for the head and for as many ranges.
    let array = unsafe {
        let array: *mut SlotRangeArray = Alloc(size).cast();
        (*array).num_ranges = ranges.len() as i32;
        let to = array.add(1).cast::<abi::SlotRange>();
        std::ptr::copy_nonoverlapping(ranges.as_ptr(), to, ranges.len());
        array
    };
    // SAFETY: ABI: this function's contract.
    if let Some(ctx) = unsafe { ctx.as_mut() } {
        ctx.remember(Auto::SlotRanges(array.cast()));
    }
    array
}

/// Frees slot ranges that automatic memory management owes.
pub fn free_auto(ranges: *mut c_void) {
    free_slot_ranges(ranges.cast());
}

/// Frees what [`slot_ranges`] made.
fn free_slot_ranges(ranges: *mut SlotRangeArray) {
    // SAFETY: ABI: the module, or automatic memory, gives it up.
    unsafe { Free(ranges.cast()) }
}

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

    /// Valkey's `GetClusterNodeInfo` for a client, whose network may give nodes other addresses: here it gives none.
    [Locked] fn GetClusterNodeInfoForClient(
        ctx: *mut Ctx, _client: u64, id: *const c_char, ip: *mut c_char, primary: *mut c_char,
        port: *mut c_int, flags: *mut c_int,
    ) -> c_int {
        // SAFETY: ABI: this function's contract is the other one's.
        unsafe { GetClusterNodeInfo(ctx, id, ip, primary, port, flags) }
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

    /// Whether this node has the keys of a slot: of every one outside of a cluster (Redis 8.4).
    [Free] fn ClusterCanAccessKeysInSlot(slot: c_int) -> c_int {
        c_int::from(usize::try_from(slot).is_ok_and(|slot| slot < CLUSTER_SLOTS))
    }

    /// The slots of this node, to be freed with `ClusterFreeSlotRanges`: all of them outside of a cluster (Redis 8.4).
    [Free] fn ClusterGetLocalSlotRanges(ctx: *mut Ctx) -> *mut SlotRangeArray {
        let last = CLUSTER_SLOTS as u16 - 1;
        // SAFETY: ABI: null or a live context.
        unsafe { slot_ranges(ctx, &[abi::SlotRange { start: 0, end: last }]) }
    }

    /// Frees slot ranges. With the context with which they were made, or null for none.
    [Free] fn ClusterFreeSlotRanges(ctx: *mut Ctx, ranges: *mut SlotRangeArray) {
        // SAFETY: ABI: null or a live context.
        if let Some(ctx) = unsafe { ctx.as_mut() } {
            ctx.forget(Auto::SlotRanges(ranges.cast()));
        }
        free_slot_ranges(ranges);
    }

    /// Keeps what moved to another node until `ClusterEnableTrim` (Redis 8.4.1). Outside of a cluster nothing moves.
    [Locked] fn ClusterDisableTrim(_ctx: *mut Ctx) -> c_int {
        let more = |n: c_int| n.checked_add(1);
        if KEPT.fetch_update(Relaxed, Relaxed, more).is_ok() { OK } else { ERR }
    }

    /// Ends one `ClusterDisableTrim`; fails if there was none.
    [Locked] fn ClusterEnableTrim(_ctx: *mut Ctx) -> c_int {
        let less = |n: c_int| (n > 0).then_some(n - 1);
        if KEPT.fetch_update(Relaxed, Relaxed, less).is_ok() { OK } else { ERR }
    }

    /// A short text that hashes to a slot, as a key or as a hash tag; null for a slot that there is not.
    [Free] fn ClusterCanonicalKeyNameInSlot(slot: c_uint) -> *const c_char {
        names().get(slot as usize).map_or(std::ptr::null(), |name| name.as_ptr().cast())
    }

    /// The hash slot of a key.
    [Free] fn ClusterKeySlot(key: *mut RStr) -> c_uint {
        // SAFETY: ABI: a live string.
        c_uint::from(slot_of(unsafe { RStr::bytes(key) }))
    }

    /// As `ClusterKeySlot`, of the bytes of a buffer (Redis 8.4).
    [Free] fn ClusterKeySlotC(key: *const c_char, len: usize) -> c_uint {
        if key.is_null() || len == 0 {
            return c_uint::from(slot_of(b""));
        }
        // SAFETY: ABI: pointer and length of the module's buffer.
        c_uint::from(slot_of(unsafe { std::slice::from_raw_parts(key.cast::<u8>(), len) }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::CStr;

    #[test]
    fn a_name_for_each_slot() {
        for slot in 0..CLUSTER_SLOTS as c_uint {
            // SAFETY: ABI: the function takes a number and returns a text for ever.
            let name = unsafe { CStr::from_ptr(ClusterCanonicalKeyNameInSlot(slot)) };
            assert_eq!(c_uint::from(slot_of(name.to_bytes())), slot);
        }
        // SAFETY: ABI: as above.
        assert!(unsafe { ClusterCanonicalKeyNameInSlot(16384) }.is_null());
    }
}
