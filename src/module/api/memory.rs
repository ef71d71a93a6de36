//! Memory: the module's heap is the server's allocator, so that `used_memory` and `maxmemory` count it.
use crate::module::context::{flag, Ctx};
use std::ffi::{c_char, c_void, CStr};

/// Largest alignment that a size implies.
const PAGE: usize = 4096;

/// Rust modules round a size up to its alignment and then trust the pointer to be so aligned: a request whose size is a
/// multiple of a power of two, up to the page size, is aligned to it.
fn align_for(size: usize) -> usize {
    (size & size.wrapping_neg()).min(PAGE)
}

/// Redis' allocator.
#[cfg(feature = "jemalloc")]
mod heap {
    use super::align_for;
    use crate::observe::heap;
    use std::ffi::{c_int, c_void, CStr};
    use std::sync::OnceLock;
    use tikv_jemalloc_sys as je;

    /// Up to this size the plain functions align as [`align_for`] asks: size classes are multiples of the powers of two
    /// that the sizes in them are, and blocks of a class lie side by side from the start of a page.
    const PLAIN: usize = 8192;

    fn flags_for(size: usize) -> c_int {
        // MALLOCX_ALIGN(a) is the logarithm of `a`.
        align_for(size).trailing_zeros() as c_int
    }

    /// Bytes in use, of modules and of the server.
    pub fn used() -> u64 {
        heap::used()
    }

    /// Whether an address, whatever it is, lies in a block of this heap.
    pub fn owns(p: *mut c_void) -> bool {
        static LOOK_UP: OnceLock<Option<[usize; 2]>> = OnceLock::new();
        let number = LOOK_UP.get_or_init(|| {
            let (mut at, mut len) = ([0; 2], 2);
            // SAFETY: layout: the named control has two parts.
            let failed = unsafe {
                je::mallctlnametomib(c"arenas.lookup".as_ptr(), at.as_mut_ptr(), &mut len)
            };
            (failed == 0 && len == 2).then_some(at)
        });
        let Some(number) = number else { return false };
        let mut arena: std::ffi::c_uint = 0;
        let mut size = size_of_val(&arena);
        let mut asked = p;
        // SAFETY: layout: the control takes an address, which need not be valid, and gives the number of an arena.
        unsafe {
            je::mallctlbymib(
                number.as_ptr(),
                2,
                (&raw mut arena).cast(),
                &mut size,
                (&raw mut asked).cast(),
                size_of_val(&asked),
            ) == 0
        }
    }

    /// Allocates `size` bytes, not zero.
    #[inline]
    pub fn alloc(size: usize, zero: bool) -> *mut c_void {
        heap::here();
        // SAFETY: layout: the size is not zero.
        unsafe {
            match (size <= PLAIN, zero) {
                (true, false) => je::malloc(size),
                (true, true) => je::calloc(1, size),
                (false, false) => je::mallocx(size, flags_for(size)),
                (false, true) => je::mallocx(size, flags_for(size) | je::MALLOCX_ZERO),
            }
        }
    }

    /// # Safety
    /// `p` came from this heap; `size` is not zero.
    pub unsafe fn realloc(p: *mut c_void, size: usize) -> *mut c_void {
        heap::here();
        // SAFETY: ABI: this function's contract.
        unsafe {
            match size <= PLAIN {
                true => je::realloc(p, size),
                false => je::rallocx(p, size, flags_for(size)),
            }
        }
    }

    /// # Safety
    /// `p` came from this heap and is given up.
    #[inline]
    pub unsafe fn free(p: *mut c_void) {
        heap::here();
        // SAFETY: ABI: this function's contract.
        unsafe { je::free(p) }
    }

    /// # Safety
    /// `p` came from this heap.
    pub unsafe fn size_of(p: *mut c_void) -> usize {
        // SAFETY: ABI: this function's contract.
        unsafe { je::sallocx(p, 0) }
    }

    fn read(name: &CStr) -> u64 {
        let mut value: usize = 0;
        let mut len = std::mem::size_of::<usize>();
        let (out, none) = ((&raw mut value).cast(), std::ptr::null_mut());
        // SAFETY: layout: the named statistics are of type size_t.
        unsafe { je::mallctl(name.as_ptr(), out, &mut len, none, 0) };
        value as u64
    }

    /// The allocator's name, as `INFO` has it.
    pub const NAME: &str = "jemalloc-5.3.0";

    /// Allocated, active, resident and retained bytes.
    pub fn figures() -> [u64; 4] {
        let mut epoch: u64 = 1;
        let mut len = std::mem::size_of::<u64>();
        let p = (&raw mut epoch).cast();
        // SAFETY: layout: "epoch" is a u64, read and written; it refreshes the statistics.
        unsafe { je::mallctl(c"epoch".as_ptr(), p, &mut len, p, len) };
        [
            read(c"stats.allocated"),
            read(c"stats.active"),
            read(c"stats.resident"),
            read(c"stats.retained"),
        ]
    }

    pub use crate::observe::heap::of_this_thread;

    /// The allocator's own report.
    pub fn report() -> Option<Vec<u8>> {
        unsafe extern "C" fn write(to: *mut c_void, text: *const std::ffi::c_char) {
            // SAFETY: layout: the vector below, and a C string.
            unsafe {
                let text = std::ffi::CStr::from_ptr(text);
                (*to.cast::<Vec<u8>>()).extend_from_slice(text.to_bytes());
            }
        }
        let mut text: Vec<u8> = Vec::with_capacity(1 << 16);
        // SAFETY: layout: the callback gets the vector, which lives here; no options.
        unsafe {
            je::malloc_stats_print(Some(write), (&raw mut text).cast(), std::ptr::null());
        }
        Some(text)
    }

    /// Gives unused memory back to the system; says whether that worked.
    pub fn purge() -> bool {
        let none = std::ptr::null_mut();
        // 4096 stands for all arenas (`MALLCTL_ARENAS_ALL`).
        // SAFETY: layout: the name ends in NUL; this control takes and gives nothing.
        unsafe {
            je::mallctl(c"arena.4096.purge".as_ptr(), none, std::ptr::null_mut(), none, 0) == 0
        }
    }
}

/// The system's allocator, for sanitizers.
#[cfg(not(feature = "jemalloc"))]
mod heap {
    use super::align_for;
    use std::ffi::c_void;

    /// Not to be told of this heap.
    pub fn owns(_: *mut c_void) -> bool {
        false
    }

    /// Allocates `size` bytes, not zero.
    pub fn alloc(size: usize, zero: bool) -> *mut c_void {
        let mut p = std::ptr::null_mut();
        // SAFETY: layout: a power of two and a multiple of the pointer size; the memory is fresh.
        unsafe {
            if libc::posix_memalign(&mut p, align_for(size).max(16), size) != 0 {
                return std::ptr::null_mut();
            }
            if zero {
                libc::memset(p, 0, size);
            }
        }
        p
    }

    /// # Safety
    /// `p` came from this heap; `size` is not zero.
    pub unsafe fn realloc(p: *mut c_void, size: usize) -> *mut c_void {
        let new = alloc(size, false);
        if !new.is_null() {
            // SAFETY: ABI: this function's contract; both blocks have as many bytes.
            unsafe {
                std::ptr::copy_nonoverlapping(
                    p.cast::<u8>(),
                    new.cast::<u8>(),
                    size_of(p).min(size),
                );
                free(p);
            }
        }
        new
    }

    /// # Safety
    /// `p` came from this heap and is given up.
    pub unsafe fn free(p: *mut c_void) {
        // SAFETY: ABI: this function's contract.
        unsafe { libc::free(p) }
    }

    /// # Safety
    /// `p` came from this heap.
    pub unsafe fn size_of(p: *mut c_void) -> usize {
        // SAFETY: ABI: this function's contract.
        unsafe { libc::malloc_usable_size(p) }
    }

    /// The allocator's name, as `INFO` has it.
    pub const NAME: &str = "libc";

    /// Bytes in use, of modules and of the server.
    pub fn used() -> u64 {
        figures()[0]
    }

    /// Allocated bytes, three times, and nothing retained.
    pub fn figures() -> [u64; 4] {
        // SAFETY: layout: a plain call.
        let info = unsafe { libc::mallinfo2() };
        let used = (info.uordblks + info.hblkhd) as u64;
        [used, used, used, 0]
    }

    /// Not told apart by thread.
    pub fn of_this_thread() -> u64 {
        used()
    }

    /// This allocator makes none.
    pub fn report() -> Option<Vec<u8>> {
        None
    }

    /// Gives unused memory back to the system.
    pub fn purge() -> bool {
        // SAFETY: layout: a plain call.
        unsafe { libc::malloc_trim(0) };
        true
    }
}

pub use heap::{owns, NAME};

/// Gives unused memory back to the system (`MEMORY PURGE`); says whether that worked.
pub fn purge() -> bool {
    heap::purge()
}

/// Bytes that this thread has allocated less those that it has freed; wraps below zero. For differences.
pub fn of_this_thread() -> u64 {
    heap::of_this_thread()
}

/// The allocator's own report (`MEMORY MALLOC-STATS`), if it makes one.
pub fn allocator_report() -> Option<Vec<u8>> {
    heap::report()
}

fn abort_oom(size: usize) -> ! {
    crate::log_warning!("Out Of Memory allocating {size} bytes!");
    std::process::abort()
}

fn alloc(size: usize, zero: bool) -> *mut c_void {
    heap::alloc(size.max(1), zero)
}

fn realloc(p: *mut c_void, size: usize) -> *mut c_void {
    if p.is_null() {
        return alloc(size, false);
    }
    // SAFETY: ABI: `p` came from this family; the size is not zero.
    unsafe { heap::realloc(p, size) }
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

/// Bytes in use by the server and its modules.
pub fn allocated() -> u64 {
    heap::used()
}

/// Figures of the allocator for `INFO memory`: allocated, active, resident, retained.
pub fn allocator_figures() -> [u64; 4] {
    heap::figures()
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
            unsafe { heap::free(p) };
            return std::ptr::null_mut();
        }
        checked(realloc(p, size), size)
    }

    /// Grows or shrinks, or returns null and leaves the old memory.
    [Free] fn TryRealloc(p: *mut c_void, size: usize) -> *mut c_void {
        if size == 0 && !p.is_null() {
            // SAFETY: ABI: `p` came from this family.
            unsafe { heap::free(p) };
            return std::ptr::null_mut();
        }
        realloc(p, size)
    }

    /// Frees; null is allowed.
    [Free] fn Free(p: *mut c_void) {
        if !p.is_null() {
            // SAFETY: ABI: `p` came from this family and is given up.
            unsafe { heap::free(p) };
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
        unsafe { heap::size_of(p) }
    }

    /// Bytes that an allocation of this size would really take.
    [Free] fn MallocUsableSize(p: *mut c_void) -> usize {
        // SAFETY: ABI: `p` came from this family.
        unsafe { heap::size_of(p) }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(feature = "jemalloc")]
    fn sizes_imply_alignments() {
        let _turn = crate::observe::heap::TURNS.lock().unwrap();
        for size in (1..20_000).chain([65_536, 69_632, 1 << 20, (1 << 20) + 4096]) {
            for zero in [false, true] {
                let p = alloc(size, zero);
                assert_eq!(p as usize % align_for(size), 0, "{size}");
                let q = realloc(p, size + 64);
                assert_eq!(q as usize % align_for(size + 64), 0, "{size} and 64");
                // SAFETY: ABI: the block came from this heap.
                unsafe { heap::free(q) };
            }
        }
    }
}
