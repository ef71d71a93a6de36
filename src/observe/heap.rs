//! The server's heap: jemalloc, with an exact count of the bytes in use, for `maxmemory`.
//!
//! jemalloc counts for every thread what that thread allocated and freed, on its fast path, so counting costs nothing
//! here: a thread's counters are noted once, and summed up when somebody asks. (The allocator's own total counts what
//! threads keep in their caches as used, and is slow to read.)
use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;
use std::ffi::{c_int, c_void, CStr};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tikv_jemalloc_sys as je;

/// Where the allocator keeps a thread's counters. Never freed, used again for a later thread.
struct Counters {
    allocated: *const AtomicU64,
    freed: *const AtomicU64,
    next: *mut Counters,
    live: bool,
}

struct Threads {
    first: *mut Counters,
    /// Bytes allocated less bytes freed by threads that ended; may wrap below zero, the sum over all does not.
    ended: u64,
    /// Tells when a thread ends.
    key: Option<libc::pthread_key_t>,
}

// SAFETY: lock: the counters are reached under the mutex only.
unsafe impl Send for Threads {}

/// A mutex that never allocates.
static THREADS: Mutex<Threads> = Mutex::new(Threads { first: null_mut(), ended: 0, key: None });

thread_local! {
    static KNOWN: Cell<bool> = const { Cell::new(false) };
}

/// Keeps everybody out of the list of threads while the guard lives: for a fork.
pub fn freeze() -> impl Drop {
    struct Frozen(#[allow(dead_code)] MutexGuard<'static, Threads>);
    impl Drop for Frozen {
        fn drop(&mut self) {}
    }
    Frozen(threads())
}

fn threads() -> MutexGuard<'static, Threads> {
    THREADS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sees to it that this thread's counters are known. To be called before every use of the heap.
#[inline]
pub fn here() {
    if !KNOWN.get() {
        note_thread();
    }
}

fn counter(name: &CStr) -> *const AtomicU64 {
    let mut at: *const AtomicU64 = std::ptr::null();
    let mut len = std::mem::size_of_val(&at);
    // SAFETY: layout: the named control gives the address of a 64-bit counter.
    unsafe { je::mallctl(name.as_ptr(), (&raw mut at).cast(), &mut len, null_mut(), 0) };
    at
}

#[cold]
fn note_thread() {
    KNOWN.set(true);
    let (allocated, freed) = (counter(c"thread.allocatedp"), counter(c"thread.deallocatedp"));
    if allocated.is_null() || freed.is_null() {
        return;
    }
    let mut threads = threads();
    let key = *threads.key.get_or_insert_with(|| {
        let mut key = 0;
        // SAFETY: layout: a key's place and a function of the right type.
        unsafe { libc::pthread_key_create(&mut key, Some(thread_ends)) };
        key
    });
    let mut at = threads.first;
    // SAFETY: lock: the list is ours while the mutex is; layout: its members are never freed.
    unsafe {
        while !at.is_null() && (*at).live {
            at = (*at).next;
        }
        if at.is_null() {
            at = je::malloc(std::mem::size_of::<Counters>()).cast();
            if at.is_null() {
                return;
            }
            at.write(Counters { allocated, freed, next: threads.first, live: true });
            threads.first = at;
        } else {
            (*at).allocated = allocated;
            (*at).freed = freed;
            (*at).live = true;
        }
        libc::pthread_setspecific(key, at.cast());
    }
}

/// A thread ends: its counters go away, their sum stays.
unsafe extern "C" fn thread_ends(at: *mut c_void) {
    let mut threads = threads();
    let at = at.cast::<Counters>();
    // SAFETY: lock: the list is ours while the mutex is; layout: the counters are this thread's, which still runs.
    unsafe {
        threads.ended = threads.ended.wrapping_add((*at).sum());
        (*at).live = false;
    }
    KNOWN.set(false);
}

impl Counters {
    /// # Safety
    /// The thread has not ended.
    unsafe fn sum(&self) -> u64 {
        // SAFETY: layout: this function's contract. The thread adds to its counters by plain stores, which are whole here.
        unsafe { (*self.allocated).load(Relaxed).wrapping_sub((*self.freed).load(Relaxed)) }
    }
}

/// Bytes that this thread has allocated less those that it has freed; wraps below zero. For differences.
pub fn of_this_thread() -> u64 {
    let (allocated, freed) = (counter(c"thread.allocatedp"), counter(c"thread.deallocatedp"));
    if allocated.is_null() || freed.is_null() {
        return 0;
    }
    // SAFETY: layout: the counters of this thread, which runs.
    unsafe { (*allocated).load(Relaxed).wrapping_sub((*freed).load(Relaxed)) }
}

/// Bytes in use.
pub fn used() -> u64 {
    let threads = threads();
    let mut sum = threads.ended;
    let mut at = threads.first;
    // SAFETY: lock: no live member's thread ends while we have the mutex.
    unsafe {
        while !at.is_null() {
            if (*at).live {
                sum = sum.wrapping_add((*at).sum());
            }
            at = (*at).next;
        }
    }
    // A block may be freed by a thread that was looked at before the one that allocated it.
    if (sum as i64) < 0 {
        0
    } else {
        sum
    }
}

/// Has the allocator give back to the system what has been unused for long enough. Otherwise it looks only while it is
/// used itself.
pub fn give_back() {
    // 4096 stands for all arenas (`MALLCTL_ARENAS_ALL`).
    // SAFETY: layout: the name ends in NUL; this control takes and gives nothing.
    unsafe { je::mallctl(c"arena.4096.decay".as_ptr(), null_mut(), null_mut(), null_mut(), 0) };
}

/// The global allocator of the server.
pub struct Heap;

/// Every allocation of at least this size is so aligned.
const ALIGNED: usize = 16;

/// Zero when the plain functions, which are faster, align well enough.
#[inline]
fn flags(layout: &Layout) -> c_int {
    if layout.align() <= ALIGNED && layout.align() <= layout.size() {
        0
    } else {
        layout.align().trailing_zeros() as c_int
    }
}

// SAFETY: layout: jemalloc keeps the promises of an allocator; sizes and alignments are passed on as they come.
unsafe impl GlobalAlloc for Heap {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        here();
        // SAFETY: layout: the caller's layout is not of size zero.
        unsafe {
            match flags(&layout) {
                0 => je::malloc(layout.size()).cast(),
                flags => je::mallocx(layout.size(), flags).cast(),
            }
        }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        here();
        // SAFETY: layout: as above.
        unsafe {
            match flags(&layout) {
                0 => je::calloc(1, layout.size()).cast(),
                flags => je::mallocx(layout.size(), flags | je::MALLOCX_ZERO).cast(),
            }
        }
    }

    #[inline]
    unsafe fn dealloc(&self, p: *mut u8, layout: Layout) {
        here();
        // SAFETY: layout: `p` was allocated here with this layout.
        unsafe { je::sdallocx(p.cast(), layout.size(), flags(&layout)) };
    }

    #[inline]
    unsafe fn realloc(&self, p: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        here();
        // SAFETY: layout: the caller promises that size and alignment make a layout; `p` was allocated here with the old
        // one; the new size is not zero.
        unsafe {
            let new = Layout::from_size_align_unchecked(new_size, layout.align());
            match flags(&new) {
                0 => je::realloc(p.cast(), new_size).cast(),
                flags => je::rallocx(p.cast(), new_size, flags).cast(),
            }
        }
    }
}

/// Tests that look at the whole heap, or use much of it, take turns.
#[cfg(test)]
pub static TURNS: Mutex<()> = Mutex::new(());

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    /// Other tests allocate a little meanwhile.
    fn near(bytes: u64, expected: u64) -> bool {
        bytes.abs_diff(expected) < MIB / 8
    }

    #[test]
    fn counts_what_lives() {
        let _turn = TURNS.lock().unwrap();
        let layout = Layout::from_size_align(MIB as usize, 8).unwrap();
        let before = used();
        // SAFETY: layout: allocated and freed with the layouts that describe it.
        unsafe {
            let p = Heap.alloc(layout);
            assert!(near(used(), before + MIB));
            let p = Heap.realloc(p, layout, 5 << 20);
            assert!(near(used(), before + 5 * MIB));
            Heap.dealloc(p, Layout::from_size_align(5 << 20, 8).unwrap());
        }
        assert!(near(used(), before));
    }

    #[test]
    fn keeps_the_sum_of_ended_threads() {
        let _turn = TURNS.lock().unwrap();
        let layout = Layout::from_size_align(MIB as usize, 8).unwrap();
        let before = used();
        // SAFETY: layout: allocated in one thread and freed in another with the same layout.
        unsafe {
            let p = std::thread::spawn(move || Heap.alloc(layout) as usize).join().unwrap();
            assert!(near(used(), before + MIB));
            Heap.dealloc(p as *mut u8, layout);
        }
        assert!(near(used(), before));
    }
}

/// What the allocator says of the slab that a block lies in, and of all slabs of its size.
#[repr(C)]
#[derive(Default)]
struct Utilization {
    current_slab: usize,
    free: usize,
    regions: usize,
    size: usize,
    bin_free: usize,
    bin_regions: usize,
}

/// Whether a block lies in a slab that is emptier than the slabs of its size are on the whole, so that moving its like
/// away can empty it.
fn lies_badly(p: *mut c_void) -> bool {
    static NAME: std::sync::OnceLock<([usize; 8], usize)> = std::sync::OnceLock::new();
    let (mib, depth) = NAME.get_or_init(|| {
        let (mut mib, mut depth) = ([0; 8], 8);
        let name = c"experimental.utilization.query";
        // SAFETY: layout: room for the number of levels that is told.
        let known =
            unsafe { je::mallctlnametomib(name.as_ptr(), mib.as_mut_ptr(), &mut depth) } == 0;
        (mib, if known { depth } else { 0 })
    });
    if *depth == 0 {
        return false;
    }
    let (mut u, mut block) = (Utilization::default(), p);
    let mut len = std::mem::size_of::<Utilization>();
    // SAFETY: layout: the control reads a pointer into the heap and writes six words.
    let status = unsafe {
        je::mallctlbymib(
            mib.as_ptr(),
            *depth,
            (&raw mut u).cast(),
            &mut len,
            (&raw mut block).cast(),
            std::mem::size_of::<*mut c_void>(),
        )
    };
    // A block of its own extent has one region; what is allocated next goes to the current slab.
    let slab = u.current_slab..u.current_slab + u.size;
    status == 0
        && u.regions > 1
        && u.free > 0
        && !slab.contains(&(p as usize))
        && u.free * u.bin_regions >= u.bin_free * u.regions
}

/// Moves a block to a better place, if that is worth it, and returns the place.
///
/// # Safety
/// `p` is a live block of this heap that nobody else points to; if it is moved, the old place is free.
pub unsafe fn relocate(p: *mut c_void) -> Option<*mut c_void> {
    here();
    if !lies_badly(p) {
        return None;
    }
    // SAFETY: layout: the contract; both blocks have as many bytes. Past the thread's cache, which would hand the same
    // place out again.
    unsafe {
        let size = je::sallocx(p, 0);
        let flags = je::MALLOCX_TCACHE_NONE;
        let new = je::mallocx(size, flags);
        if new.is_null() {
            return None;
        }
        std::ptr::copy_nonoverlapping(p.cast::<u8>(), new.cast::<u8>(), size);
        je::dallocx(p, flags);
        Some(new)
    }
}

/// Bytes of small blocks' slabs that are not in use.
pub fn small_fragmentation() -> u64 {
    let word = |name: String| -> usize {
        let (mut value, mut len) = (0usize, std::mem::size_of::<usize>());
        let Ok(name) = std::ffi::CString::new(name) else { return 0 };
        // SAFETY: layout: the statistics read here are numbers of this size or shorter.
        unsafe {
            je::mallctl(name.as_ptr(), (&raw mut value).cast(), &mut len, null_mut(), 0);
        }
        value
    };
    let short = |name: String| -> u64 {
        let (mut value, mut len) = (0u32, std::mem::size_of::<u32>());
        let Ok(name) = std::ffi::CString::new(name) else { return 0 };
        // SAFETY: layout: an unsigned int.
        unsafe {
            je::mallctl(name.as_ptr(), (&raw mut value).cast(), &mut len, null_mut(), 0);
        }
        u64::from(value)
    };
    // 4096 stands for all arenas (`MALLCTL_ARENAS_ALL`).
    (0..short("arenas.nbins".into())).fold(0, |sum, i| {
        let size = word(format!("arenas.bin.{i}.size")) as u64;
        let regions = short(format!("arenas.bin.{i}.nregs"));
        let slabs = word(format!("stats.arenas.4096.bins.{i}.curslabs")) as u64;
        let used = word(format!("stats.arenas.4096.bins.{i}.curregs")) as u64;
        sum + (slabs * regions).saturating_sub(used) * size
    })
}

#[cfg(test)]
mod relocation {
    use super::*;

    #[test]
    fn blocks_of_half_empty_slabs_move_and_keep_their_bytes() {
        let blocks: Vec<*mut c_void> = (0..20_000u64)
            .map(|i| {
                // SAFETY: layout: fresh memory of 48 bytes.
                unsafe {
                    let p = je::mallocx(48, je::MALLOCX_TCACHE_NONE);
                    p.cast::<u64>().write(i);
                    p
                }
            })
            .collect();
        // SAFETY: layout: the test's own blocks, each freed or moved once; so below.
        let free = |p| unsafe { je::dallocx(p, je::MALLOCX_TCACHE_NONE) };
        blocks.iter().enumerate().filter(|(i, _)| i % 8 != 0).for_each(|(_, p)| free(*p));
        let mut moved = 0;
        for (i, p) in blocks.into_iter().enumerate().filter(|(i, _)| i % 8 == 0).rev() {
            // SAFETY: layout: as above.
            let now = unsafe { relocate(p) }.inspect(|_| moved += 1).unwrap_or(p);
            // SAFETY: layout: it begins with the number written above.
            assert_eq!(unsafe { now.cast::<u64>().read() }, i as u64);
            free(now);
        }
        assert!(moved > 0, "nothing was worth moving");
    }
}
