//! The server's heap: jemalloc, with an exact count of the bytes in use. The allocator's own statistics count what
//! threads keep in their caches as used, and reading them is slow; `maxmemory` needs better.
use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;
use std::ffi::c_int;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use tikv_jemalloc_sys as je;

const CELLS: usize = 16;

#[repr(align(64))]
struct Bytes(AtomicU64);

/// Bytes allocated less bytes freed, by thread; one cell may wrap below zero, their sum does not.
static USED: [Bytes; CELLS] = [const { Bytes(AtomicU64::new(0)) }; CELLS];
static NEXT: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static MINE: Cell<usize> = const { Cell::new(usize::MAX) };
}

#[inline]
fn add(bytes: u64) {
    let mut cell = MINE.get();
    if cell == usize::MAX {
        cell = NEXT.fetch_add(1, Relaxed) % CELLS;
        MINE.set(cell);
    }
    USED[cell].0.fetch_add(bytes, Relaxed);
}

/// Counts bytes as allocated.
#[inline]
pub fn taken(bytes: usize) {
    add(bytes as u64);
}

/// Counts bytes as freed.
#[inline]
pub fn given(bytes: usize) {
    add((bytes as u64).wrapping_neg());
}

/// Bytes that this thread has allocated less those that it has freed (with few other threads in between): for differences.
pub fn of_this_thread() -> u64 {
    match MINE.get() {
        usize::MAX => 0,
        cell => USED[cell].0.load(Relaxed),
    }
}

/// Bytes in use.
pub fn used() -> u64 {
    USED.iter().fold(0u64, |sum, c| sum.wrapping_add(c.0.load(Relaxed)))
}

/// The global allocator of the server.
pub struct Heap;

/// Every allocation of at least this size is so aligned.
const ALIGNED: usize = 16;

#[inline]
fn flags(layout: &Layout) -> c_int {
    if layout.align() <= ALIGNED && layout.align() <= layout.size() {
        0
    } else {
        layout.align().trailing_zeros() as c_int
    }
}

/// What an allocation really takes. Found from its size alone, so that a free does not look at the memory for it.
#[inline]
fn size_of(size: usize, flags: c_int) -> usize {
    // SAFETY: layout: layouts of size zero do not get here.
    unsafe { je::nallocx(size, flags) }
}

// SAFETY: layout: jemalloc keeps the promises of an allocator; sizes and alignments are passed on as they come.
unsafe impl GlobalAlloc for Heap {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let flags = flags(&layout);
        // SAFETY: layout: the caller's layout is not of size zero.
        let p = unsafe { je::mallocx(layout.size(), flags) };
        if !p.is_null() {
            taken(size_of(layout.size(), flags));
        }
        p.cast()
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let flags = flags(&layout);
        // SAFETY: layout: as above.
        let p = unsafe { je::mallocx(layout.size(), flags | je::MALLOCX_ZERO) };
        if !p.is_null() {
            taken(size_of(layout.size(), flags));
        }
        p.cast()
    }

    #[inline]
    unsafe fn dealloc(&self, p: *mut u8, layout: Layout) {
        let flags = flags(&layout);
        given(size_of(layout.size(), flags));
        // SAFETY: layout: `p` was allocated here with this layout.
        unsafe { je::sdallocx(p.cast(), layout.size(), flags) };
    }

    #[inline]
    unsafe fn realloc(&self, p: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: layout: the caller promises that size and alignment make a layout.
        let new = unsafe { Layout::from_size_align_unchecked(new_size, layout.align()) };
        let (before, after) = (flags(&layout), flags(&new));
        // SAFETY: layout: `p` was allocated here with this layout; the new size is not zero.
        let moved = unsafe { je::rallocx(p.cast(), new_size, after) };
        if !moved.is_null() {
            given(size_of(layout.size(), before));
            taken(size_of(new_size, after));
        }
        moved.cast()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_what_lives() {
        let layout = Layout::from_size_align(100, 8).unwrap();
        let before = used();
        // SAFETY: layout: allocated and freed with the layouts that describe it.
        unsafe {
            let p = Heap.alloc(layout);
            assert!(used() - before >= 100);
            let p = Heap.realloc(p, layout, 5000);
            assert!(used() - before >= 5000 && used() - before < 10_000);
            Heap.dealloc(p, Layout::from_size_align(5000, 8).unwrap());
        }
        assert_eq!(used(), before);
    }
}
