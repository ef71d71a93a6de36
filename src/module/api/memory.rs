//! Memory: the module's heap is the server's allocator, so that `used_memory` and `maxmemory` count it.
use crate::module::context::{flag, Ctx};
use std::ffi::{c_char, c_int, c_void, CStr};
use tikv_jemalloc_sys as je;

/// Largest alignment that a size implies.
const PAGE: usize = 4096;

/// Rust modules round a size up to its alignment and then trust the pointer to be so aligned: a request whose size is a
/// multiple of a power of two, up to the page size, is aligned to it.
fn flags_for(size: usize) -> c_int {
    let align = (size & size.wrapping_neg()).min(PAGE);
    if align <= 16 {
        0
    } else {
        // MALLOCX_ALIGN(a) is the logarithm of `a`.
        align.trailing_zeros() as c_int
    }
}

fn abort_oom(size: usize) -> ! {
    crate::log_warning!("Out Of Memory allocating {size} bytes!");
    std::process::abort()
}

fn alloc(size: usize, zero: bool) -> *mut c_void {
    let size = size.max(1);
    let zero = if zero { je::MALLOCX_ZERO } else { 0 };
    // SAFETY: layout: the size is not zero.
    unsafe { je::mallocx(size, flags_for(size) | zero) }
}

fn realloc(p: *mut c_void, size: usize) -> *mut c_void {
    if p.is_null() {
        return alloc(size, false);
    }
    // SAFETY: ABI: `p` came from this family; the size is not zero.
    unsafe { je::rallocx(p, size, flags_for(size)) }
}

fn checked(p: *mut c_void, size: usize) -> *mut c_void {
    if p.is_null() {
        abort_oom(size)
    }
    p
}

/// Memory that the module must `Free`, from a copy of `bytes` and a final NUL.
pub fn duplicate(bytes: &[u8]) -> *mut c_char {
    let p = checked(alloc(bytes.len() + 1, false), bytes.len()).cast::<u8>();
    // SAFETY: layout: fresh memory of this size.
    unsafe {
        std::ptr::copy_nonoverlapping(bytes.as_ptr(), p, bytes.len());
        *p.add(bytes.len()) = 0;
    }
    p.cast()
}

/// A number of jemalloc's statistics.
fn read_stat(name: &CStr) -> u64 {
    let mut value: usize = 0;
    let mut len = std::mem::size_of::<usize>();
    // SAFETY: layout: the named statistics are of type size_t.
    unsafe {
        je::mallctl(name.as_ptr(), (&raw mut value).cast(), &mut len, std::ptr::null_mut(), 0);
    }
    value as u64
}

fn refresh_stats() {
    let mut epoch: u64 = 1;
    let mut len = std::mem::size_of::<u64>();
    // SAFETY: layout: "epoch" is a u64, read and written.
    unsafe {
        je::mallctl(
            c"epoch".as_ptr(),
            (&raw mut epoch).cast(),
            &mut len,
            (&raw mut epoch).cast(),
            len,
        );
    }
}

/// Bytes allocated by the server and its modules, from the allocator's statistics.
pub fn allocated() -> u64 {
    refresh_stats();
    read_stat(c"stats.allocated")
}

/// Figures of the allocator for `INFO memory`: allocated, active, resident, retained.
pub fn allocator_figures() -> [u64; 4] {
    refresh_stats();
    [
        read_stat(c"stats.allocated"),
        read_stat(c"stats.active"),
        read_stat(c"stats.resident"),
        read_stat(c"stats.retained"),
    ]
}

api! {
    /// Allocates; aborts when there is no memory.
    [Free] fn Alloc(size: usize) -> *mut c_void {
        checked(alloc(size, false), size)
    }

    /// Allocates, or returns null.
    [Free] fn TryAlloc(size: usize) -> *mut c_void {
        alloc(size, false)
    }

    /// Allocates zeroed memory; aborts when there is none.
    [Free] fn Calloc(count: usize, size: usize) -> *mut c_void {
        match count.checked_mul(size) {
            Some(n) => checked(alloc(n, true), n),
            None => abort_oom(usize::MAX),
        }
    }

    /// Allocates zeroed memory, or returns null.
    [Free] fn TryCalloc(count: usize, size: usize) -> *mut c_void {
        count.checked_mul(size).map_or(std::ptr::null_mut(), |n| alloc(n, true))
    }

    /// Grows or shrinks; size 0 frees and returns null. Aborts when there is no memory.
    [Free] fn Realloc(p: *mut c_void, size: usize) -> *mut c_void {
        if size == 0 && !p.is_null() {
            // SAFETY: ABI: `p` came from this family.
            unsafe { je::dallocx(p, 0) };
            return std::ptr::null_mut();
        }
        checked(realloc(p, size), size)
    }

    /// Grows or shrinks, or returns null and leaves the old memory.
    [Free] fn TryRealloc(p: *mut c_void, size: usize) -> *mut c_void {
        if size == 0 && !p.is_null() {
            // SAFETY: ABI: `p` came from this family.
            unsafe { je::dallocx(p, 0) };
            return std::ptr::null_mut();
        }
        realloc(p, size)
    }

    /// Frees; null is allowed.
    [Free] fn Free(p: *mut c_void) {
        if !p.is_null() {
            // SAFETY: ABI: `p` came from this family and is given up.
            unsafe { je::dallocx(p, 0) };
        }
    }

    /// Copies a C string.
    [Free] fn Strdup(text: *const c_char) -> *mut c_char {
        // SAFETY: ABI: a C string.
        duplicate(unsafe { CStr::from_ptr(text) }.to_bytes())
    }

    /// Bytes that an allocation really takes.
    [Free] fn MallocSize(p: *mut c_void) -> usize {
        // SAFETY: ABI: `p` came from this family.
        unsafe { je::sallocx(p, 0) }
    }

    /// Bytes that an allocation of this size would really take.
    [Free] fn MallocUsableSize(p: *mut c_void) -> usize {
        // SAFETY: ABI: `p` came from this family.
        unsafe { je::sallocx(p, 0) }
    }

    /// Memory that is freed when the context's call ends.
    [Locked] fn PoolAlloc(ctx: *mut Ctx, bytes: usize) -> *mut c_void {
        // SAFETY: ABI: a live context.
        let ctx = unsafe { &mut *ctx };
        let mut block = vec![0u64; bytes.div_ceil(8).max(1)].into_boxed_slice();
        let p = block.as_mut_ptr();
        ctx.pool.push(block);
        p.cast()
    }

    /// Turns automatic memory management on for the rest of the call.
    [Locked] fn AutoMemory(ctx: *mut Ctx) {
        // SAFETY: ABI: a live context.
        unsafe { (*ctx).flags |= flag::AUTO_MEMORY };
    }
}
