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
    use super::{align_for, PAGE};
    use crate::observe::heap;
    use std::ffi::{c_int, c_void, CStr};
    use std::ptr::null_mut;
    use std::sync::atomic::{
        AtomicPtr, AtomicU64, AtomicUsize, Ordering::AcqRel, Ordering::Acquire, Ordering::Relaxed,
    };
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

    /// The pages of which blocks were given out, a bit for each. jemalloc keeps what it has mapped (`retain`), so they can be
    /// read for ever. First by gigabyte: a table for each, of `PAGES` bits.
    static GIVEN: [AtomicPtr<Bits>; 1 << (ADDRESS_BITS - GIGABYTE_BITS)] =
        [const { AtomicPtr::new(null_mut()) }; 1 << (ADDRESS_BITS - GIGABYTE_BITS)];
    const ADDRESS_BITS: u32 = 47;
    const GIGABYTE_BITS: u32 = 30;
    const PAGE_BITS: u32 = PAGE.trailing_zeros();
    const PAGES: usize = 1 << (GIGABYTE_BITS - PAGE_BITS);
    type Bits = [AtomicU64; PAGES / 64];

    /// Where the bit of an address's page is, once there is a table for it.
    #[inline]
    fn bit(p: *mut c_void) -> Option<(&'static AtomicPtr<Bits>, usize, u64)> {
        let table = GIVEN.get(p.addr() >> GIGABYTE_BITS)?;
        let page = p.addr() >> PAGE_BITS & (PAGES - 1);
        Some((table, page / 64, 1 << (page % 64)))
    }

    /// Addresses between which all blocks lie, in whole gigabytes.
    static LOWEST: AtomicUsize = AtomicUsize::new(usize::MAX);
    static BEHIND: AtomicUsize = AtomicUsize::new(0);

    /// The range in which all of this heap's blocks lie that were given out so far, in whole gigabytes.
    pub fn range() -> std::ops::Range<usize> {
        LOWEST.load(Relaxed)..BEHIND.load(Relaxed)
    }

    /// Whether an address, whatever it is, lies in a page of which this heap gave a block out.
    #[inline]
    pub fn owns(p: *mut c_void) -> bool {
        let Some((table, word, bit)) = bit(p) else { return false };
        // SAFETY: layout: a table is never freed.
        let table = unsafe { table.load(Acquire).as_ref() };
        table.is_some_and(|t| t[word].load(Relaxed) & bit != 0)
    }

    /// A block was given out: see [`owns`].
    #[inline]
    fn given(p: *mut c_void) -> *mut c_void {
        if let Some((table, word, bit)) = bit(p) {
            // SAFETY: layout: as above.
            match unsafe { table.load(Acquire).as_ref() } {
                Some(t) if t[word].load(Relaxed) & bit != 0 => {}
                Some(t) => drop(t[word].fetch_or(bit, Relaxed)),
                None => first_of_gigabyte(p),
            }
        }
        p
    }

    #[cold]
    fn first_of_gigabyte(p: *mut c_void) {
        let Some((table, ..)) = bit(p) else { return };
        // SAFETY: layout: zeros are a table without a bit; the size is not zero.
        let new: *mut Bits = unsafe { je::calloc(1, std::mem::size_of::<Bits>()) }.cast();
        if new.is_null() {
            return;
        }
        if table.compare_exchange(null_mut(), new, AcqRel, Acquire).is_err() {
            // SAFETY: ABI: allocated above, and nobody saw it.
            unsafe { je::free(new.cast()) };
        }
        let gigabyte = p.addr() >> GIGABYTE_BITS;
        LOWEST.fetch_min(gigabyte << GIGABYTE_BITS, Relaxed);
        BEHIND.fetch_max((gigabyte + 1) << GIGABYTE_BITS, Relaxed);
        given(p);
    }

    /// Allocates `size` bytes, not zero.
    #[inline]
    pub fn alloc(size: usize, zero: bool) -> *mut c_void {
        heap::here();
        // SAFETY: layout: the size is not zero.
        given(unsafe {
            match (size <= PLAIN, zero) {
                (true, false) => je::malloc(size),
                (true, true) => je::calloc(1, size),
                (false, false) => je::mallocx(size, flags_for(size)),
                (false, true) => je::mallocx(size, flags_for(size) | je::MALLOCX_ZERO),
            }
        })
    }

    /// Allocates `size` bytes, not zero, past the thread's cache: where the heap is densest.
    pub fn alloc_dense(size: usize) -> *mut c_void {
        heap::here();
        // SAFETY: layout: the size is not zero.
        given(unsafe { je::mallocx(size, flags_for(size) | je::MALLOCX_TCACHE_NONE) })
    }

    /// Frees past the thread's cache, which would hand the same place out again.
    ///
    /// # Safety
    /// `p` came from this heap and is given up.
    pub unsafe fn free_sparse(p: *mut c_void) {
        heap::here();
        // SAFETY: ABI: this function's contract.
        unsafe { je::dallocx(p, je::MALLOCX_TCACHE_NONE) }
    }

    /// # Safety
    /// `p` came from this heap; `size` is not zero.
    pub unsafe fn realloc(p: *mut c_void, size: usize) -> *mut c_void {
        heap::here();
        // SAFETY: ABI: this function's contract.
        given(unsafe {
            match size <= PLAIN {
                true => je::realloc(p, size),
                false => je::rallocx(p, size, flags_for(size)),
            }
        })
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

    /// Not to be told either.
    pub fn range() -> std::ops::Range<usize> {
        0..0
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

    /// Allocates `size` bytes, not zero.
    pub fn alloc_dense(size: usize) -> *mut c_void {
        alloc(size, false)
    }

    /// # Safety
    /// `p` came from this heap and is given up.
    pub unsafe fn free_sparse(p: *mut c_void) {
        // SAFETY: ABI: this function's contract.
        unsafe { free(p) }
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

pub use heap::{owns, range, NAME};

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

/// A block for what moves out of a sparse part of the heap; aborts when there is no memory.
pub fn alloc_dense(size: usize) -> *mut c_void {
    checked(heap::alloc_dense(size.max(1)), size)
}

/// Frees the place that something moved out of.
///
/// # Safety
/// `p` came from this family and is given up.
pub unsafe fn free_sparse(p: *mut c_void) {
    // SAFETY: ABI: this function's contract.
    unsafe { heap::free_sparse(p) }
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

    #[test]
    #[cfg(feature = "jemalloc")]
    fn own_blocks_are_known_and_nothing_else_is() {
        let _turn = crate::observe::heap::TURNS.lock().unwrap();
        for size in [1, 100, 5000, 100_000, 1 << 22] {
            let p = alloc(size, false);
            assert!(owns(p), "{size}");
            // SAFETY: ABI: the block came from this heap.
            unsafe { heap::free(p) };
        }
        for number in [0, 1, 4096, 0x1a0008, 1 << 47, usize::MAX] {
            assert!(!owns(std::ptr::without_provenance_mut(number)), "{number:#x}");
        }
        // SAFETY: layout: the C library's own heap.
        let foreign = unsafe { libc::malloc(1 << 20) };
        assert!(!owns(foreign));
        // SAFETY: layout: allocated above.
        unsafe { libc::free(foreign) };
    }
}
