//! A sorted set's member: one allocation with score, length and bytes, reached from the member table and from
//! the ordered tree.
use std::alloc::{alloc, dealloc, handle_alloc_error, Layout};
use std::ptr::NonNull;

use super::super::table::{hash_bytes, TableItem};

#[repr(C)]
struct Header {
    score: f64,
    len: u32,
}

/// Bytes before the member's text: no padding after `len`, so that short members fit the next smaller size class.
const TEXT: usize = 12;

fn layout(len: usize) -> Layout {
    // At least a whole header, since a reference to `Header` spans its padding too.
    let size = (TEXT + len).max(size_of::<Header>());
    Layout::from_size_align(size, align_of::<Header>()).expect("a member that fits memory")
}

/// Handle of a member, as the table and the tree of one sorted set hold it.
///
/// The sorted set owns the allocation: it frees it after taking the handle out of both, and lets no handle out.
#[derive(Clone, Copy)]
pub(super) struct Member(NonNull<Header>);

// SAFETY: layout: the allocation is plain bytes of one sorted set; nothing in it is tied to a thread.
unsafe impl Send for Member {}
// SAFETY: layout: shared access only reads; writing needs `&mut` of the sorted set, see `set_score`.
unsafe impl Sync for Member {}

impl Member {
    /// Allocates a member with a copy of `bytes`. Panics beyond 4 GiB, which no request can carry.
    pub fn new(bytes: &[u8], score: f64) -> Member {
        let len = u32::try_from(bytes.len()).expect("a member is smaller than 4 GiB");
        let layout = layout(bytes.len());
        // SAFETY: layout: the size is never zero; header and text are written before anything reads them.
        unsafe {
            let raw = alloc(layout);
            let Some(header) = NonNull::new(raw.cast::<Header>()) else {
                handle_alloc_error(layout)
            };
            (&raw mut (*header.as_ptr()).score).write(score);
            (&raw mut (*header.as_ptr()).len).write(len);
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), raw.add(TEXT), bytes.len());
            Member(header)
        }
    }

    /// The member's bytes.
    pub fn bytes(&self) -> &[u8] {
        let raw = self.0.as_ptr();
        // SAFETY: layout: the sorted set keeps the allocation while it has handles; `len` bytes follow at `TEXT`.
        unsafe {
            std::slice::from_raw_parts(
                raw.cast::<u8>().add(TEXT),
                (&raw const (*raw).len).read() as usize,
            )
        }
    }

    /// The member's score.
    pub fn score(&self) -> f64 {
        // SAFETY: layout: the sorted set keeps the allocation while it has handles.
        unsafe { (&raw const (*self.0.as_ptr()).score).read() }
    }

    /// Changes the score. The tree's copy of it is the caller's business.
    ///
    /// # Safety
    /// The caller has the sorted set exclusively.
    pub unsafe fn set_score(self, score: f64) {
        // SAFETY: layout: alive as above; nobody else reads the score now.
        unsafe { (&raw mut (*self.0.as_ptr()).score).write(score) }
    }

    /// Whether both are the same allocation.
    pub fn is(self, other: Member) -> bool {
        self.0 == other.0
    }

    /// Bytes that this member's allocation takes.
    pub fn mem_bytes(self) -> usize {
        layout(self.bytes().len()).size()
    }

    /// Frees the allocation.
    ///
    /// # Safety
    /// No copy of the handle is used after this.
    pub unsafe fn free(self) {
        let layout = layout(self.bytes().len());
        // SAFETY: layout: allocated in `new` with the same layout; freed once by this function's contract.
        unsafe { dealloc(self.0.as_ptr().cast(), layout) }
    }
}

impl TableItem for Member {
    fn table_hash(&self) -> u64 {
        hash_bytes(self.bytes())
    }
}
