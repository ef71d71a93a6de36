//! A sorted set's member: one allocation with score, length and bytes, reached from the member table and from
//! the ordered tree.
//!
//! The table owns the allocation ([`Member`]), the tree keeps copies of the pointer ([`MemberRef`]). Both live in
//! one `SortedSet`, which takes a member out of the tree before it drops it from the table.
use std::alloc::{alloc, dealloc, handle_alloc_error, Layout};
use std::ptr::NonNull;

#[repr(C)]
struct Header {
    score: f64,
    len: u32,
}

/// Bytes before the member's text: no padding after `len`, so that short members fit the next smaller size class.
const TEXT: usize = 12;

fn layout(len: usize) -> Layout {
    // Rounded up to a whole header, since a reference to `Header` spans its padding too.
    let size = (TEXT + len).max(std::mem::size_of::<Header>());
    Layout::from_size_align(size, std::mem::align_of::<Header>()).expect("member size")
}

/// Owner of one member's allocation.
pub struct Member(NonNull<Header>);

// SAFETY: layout: `Member` is the only owner of plain bytes; nothing in them is tied to a thread.
unsafe impl Send for Member {}
// SAFETY: layout: shared access only reads; the score is written through `&mut Member` alone.
unsafe impl Sync for Member {}

impl Member {
    /// A member with a copy of `bytes`. Panics beyond 4 GiB, which no request can carry.
    pub fn new(bytes: &[u8], score: f64) -> Member {
        let len = u32::try_from(bytes.len()).expect("a member is smaller than 4 GiB");
        let layout = layout(bytes.len());
        // SAFETY: layout: the size is never zero; header and text are written before anything reads them.
        unsafe {
            let raw = alloc(layout);
            let Some(header) = NonNull::new(raw.cast::<Header>()) else { handle_alloc_error(layout) };
            header.as_ptr().write(Header { score, len });
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), raw.add(TEXT), bytes.len());
            Member(header)
        }
    }

    /// The member's bytes.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: layout: `self` owns the allocation and borrows it for the result.
        unsafe { text(self.0) }
    }

    /// The member's score.
    pub fn score(&self) -> f64 {
        // SAFETY: layout: the allocation begins with an initialised header.
        unsafe { (*self.0.as_ptr()).score }
    }

    /// Changes the score. The tree's copy of it is the caller's business.
    pub fn set_score(&mut self, score: f64) {
        // SAFETY: layout: `&mut self`; the tree's pointers never read the score.
        unsafe { (*self.0.as_ptr()).score = score }
    }

    /// A pointer for the tree. It must leave the tree before `self` is dropped.
    pub fn pointer(&self) -> MemberRef {
        MemberRef(self.0)
    }

    /// Bytes that this member's allocation takes.
    pub fn mem_bytes(&self) -> usize {
        layout(self.bytes().len()).size()
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let layout = layout(self.bytes().len());
        // SAFETY: layout: allocated in `new` with the same layout, dropped once.
        unsafe { dealloc(self.0.as_ptr().cast(), layout) }
    }
}

/// A member as the tree sees it: a pointer whose target outlives its stay in the tree.
#[derive(Clone, Copy)]
pub struct MemberRef(NonNull<Header>);

// SAFETY: layout: only reads bytes that nobody changes after `Member::new`.
unsafe impl Send for MemberRef {}
// SAFETY: layout: as above.
unsafe impl Sync for MemberRef {}

impl MemberRef {
    /// The member's bytes, for as long as the holder of the pointer is borrowed.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: layout: the table of the same sorted set keeps the owner alive while the tree has the pointer.
        unsafe { text(self.0) }
    }
}

/// The text behind a header.
///
/// # Safety
/// The allocation must be alive for `'a`.
unsafe fn text<'a>(header: NonNull<Header>) -> &'a [u8] {
    let raw = header.as_ptr();
    // SAFETY: layout: `len` bytes follow at offset `TEXT`, written by `Member::new`.
    unsafe { std::slice::from_raw_parts(raw.cast::<u8>().add(TEXT), (*raw).len as usize) }
}
