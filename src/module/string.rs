//! `RedisModuleString`: a reference-counted, NUL-terminated byte string. Counts are atomic, because modules free strings
//! from any thread.
use std::alloc::{alloc, dealloc, handle_alloc_error, Layout};
use std::sync::atomic::{fence, AtomicUsize, Ordering};

/// What a module's string handle points to. The text lies behind the header in the same allocation, or, after it grew,
/// in a buffer of its own.
#[repr(C)]
pub struct RStr {
    refs: AtomicUsize,
    len: usize,
    /// Bytes at `ptr`, the final NUL included; zero for text behind the header.
    cap: usize,
    ptr: *mut u8,
    /// Bytes of text that the first allocation was made for; it keeps its layout for life.
    inline: usize,
}

const HEADER: usize = std::mem::size_of::<RStr>();

/// Sizes are multiples of this, as the allocator's are.
const STEP: usize = 16;

fn layout(len: usize) -> Layout {
    let size = (HEADER + len + 1).next_multiple_of(STEP);
    Layout::from_size_align(size, 8).expect("a string fits in memory")
}

/// Blocks of freed strings that the thread's next strings get: a command's arguments are made and freed in every command,
/// and the allocator takes three times as long for that. Not for sanitizers, which want to see each block freed.
#[cfg(feature = "jemalloc")]
mod spare {
    use super::{layout, RStr, HEADER, STEP};
    use std::alloc::dealloc;
    use std::cell::Cell;
    use std::ptr::null_mut;

    /// So many sizes are kept, from the smallest on.
    const SIZES: usize = 4;
    /// So many blocks of each.
    const KEPT: u32 = 16;
    /// Bytes behind the header in the smallest.
    const LEAST: usize = HEADER.next_multiple_of(STEP) - HEADER;

    /// Blocks of a size, each with the address of the next one as its first word.
    struct List {
        first: Cell<*mut *mut u8>,
        count: Cell<u32>,
    }

    struct Lists([List; SIZES]);

    /// The number of the size for a text and its NUL.
    #[inline]
    fn size(len: usize) -> usize {
        (len + STEP - LEAST) / STEP
    }

    impl Drop for Lists {
        fn drop(&mut self) {
            for (i, list) in self.0.iter().enumerate() {
                while let Some(block) = list.take() {
                    // SAFETY: layout: a block of this size, which nobody else has.
                    unsafe { dealloc(block.cast(), layout(LEAST + i * STEP - 1)) };
                }
            }
        }
    }

    impl List {
        #[inline]
        fn take(&self) -> Option<*mut RStr> {
            let block = self.first.get();
            if block.is_null() {
                return None;
            }
            // SAFETY: layout: a block in the list, whose first word `give` wrote.
            self.first.set(unsafe { *block }.cast());
            self.count.set(self.count.get() - 1);
            Some(block.cast())
        }
    }

    thread_local! {
        static SPARE: Lists = const {
            Lists([const { List { first: Cell::new(null_mut()), count: Cell::new(0) } }; SIZES])
        };
    }

    /// A block for a text of this length, if one is there.
    #[inline]
    pub fn take(len: usize) -> Option<*mut RStr> {
        if size(len) >= SIZES {
            return None;
        }
        SPARE.try_with(|lists| lists.0[size(len)].take()).ok().flatten()
    }

    /// Keeps a block that was made for a text of this length; false if it is not wanted.
    ///
    /// # Safety
    /// The block is given up if it is kept.
    #[inline]
    pub unsafe fn give(block: *mut RStr, len: usize) -> bool {
        if size(len) >= SIZES {
            return false;
        }
        let keep = |lists: &Lists| {
            let list = &lists.0[size(len)];
            if list.count.get() >= KEPT {
                return false;
            }
            // SAFETY: layout: this function's contract; a block has room for a pointer.
            unsafe { *block.cast() = list.first.get() };
            list.first.set(block.cast());
            list.count.set(list.count.get() + 1);
            true
        };
        SPARE.try_with(keep).unwrap_or(false)
    }

    #[cfg(test)]
    #[test]
    fn sizes_are_those_of_the_layouts() {
        for len in 0..200 {
            assert_eq!(layout(len).size(), layout(LEAST + size(len) * STEP - 1).size(), "{len}");
            assert!(len == 0 || size(len) - size(len - 1) <= 1);
        }
        assert_eq!(size(0), 0);
    }
}

#[cfg(not(feature = "jemalloc"))]
mod spare {
    use super::RStr;

    pub fn take(_: usize) -> Option<*mut RStr> {
        None
    }

    pub unsafe fn give(_: *mut RStr, _: usize) -> bool {
        false
    }
}

#[inline(never)]
fn allocate(len: usize) -> *mut RStr {
    let l = layout(len);
    // SAFETY: layout: the size is not zero.
    let p = unsafe { alloc(l) };
    if p.is_null() {
        handle_alloc_error(l);
    }
    p.cast()
}

impl RStr {
    /// A new string with one reference.
    pub fn new(text: &[u8]) -> *mut RStr {
        let p = spare::take(text.len()).unwrap_or_else(|| allocate(text.len()));
        // SAFETY: layout: header, text and NUL are written once into fresh memory.
        unsafe {
            let at = p.cast::<u8>().add(HEADER);
            let (refs, len) = (AtomicUsize::new(1), text.len());
            p.write(RStr { refs, len, cap: 0, ptr: at, inline: len });
            std::ptr::copy_nonoverlapping(text.as_ptr(), at, text.len());
            *at.add(text.len()) = 0;
            super::strict::note(|live| live.strings += 1);
            p
        }
    }

    /// The text.
    ///
    /// # Safety
    /// `s` is a live string that nobody changes meanwhile (ABI: the caller owns a reference).
    #[inline]
    pub unsafe fn bytes<'a>(s: *const RStr) -> &'a [u8] {
        // SAFETY: ABI: this function's contract.
        unsafe { std::slice::from_raw_parts((*s).ptr, (*s).len) }
    }

    /// One more reference.
    ///
    /// # Safety
    /// `s` is a live string.
    pub unsafe fn retain(s: *mut RStr) -> *mut RStr {
        // SAFETY: ABI: this function's contract.
        unsafe { (*s).refs.fetch_add(1, Ordering::Relaxed) };
        s
    }

    /// Number of references.
    ///
    /// # Safety
    /// `s` is a live string.
    pub unsafe fn refs(s: *const RStr) -> usize {
        // SAFETY: ABI: this function's contract.
        unsafe { (*s).refs.load(Ordering::Relaxed) }
    }

    /// Gives one reference up; the last one frees the string.
    ///
    /// # Safety
    /// `s` is a live string, and the caller owns a reference.
    pub unsafe fn release(s: *mut RStr) {
        // SAFETY: ABI: this function's contract; layout: both allocations were made with these layouts.
        unsafe {
            // Whoever has the only reference needs no atomic change: nobody can make another one.
            if (*s).refs.load(Ordering::Acquire) != 1 {
                if (*s).refs.fetch_sub(1, Ordering::Release) != 1 {
                    return;
                }
                fence(Ordering::Acquire);
            }
            super::strict::note(|live| live.strings -= 1);
            if (*s).cap != 0 {
                drop(Vec::from_raw_parts((*s).ptr, 0, (*s).cap));
            }
            if !spare::give(s, (*s).inline) {
                dealloc(s.cast(), layout((*s).inline));
            }
        }
    }

    /// Appends to the text. The handle stays; the text may move.
    ///
    /// # Safety
    /// `s` is a live string and the caller has its only reference.
    pub unsafe fn append(s: *mut RStr, more: &[u8]) {
        // SAFETY: ABI: this function's contract. A text behind the header moves to a buffer of its own.
        unsafe {
            let mut v: Vec<u8>;
            if (*s).cap == 0 {
                // With room to grow, as a string that is appended to once is appended to again.
                v = Vec::with_capacity(2 * ((*s).len + more.len()) + 1);
                v.extend_from_slice(Self::bytes(s));
            } else {
                v = Vec::from_raw_parts((*s).ptr, (*s).len, (*s).cap);
            }
            v.extend_from_slice(more);
            v.push(0);
            let mut v = std::mem::ManuallyDrop::new(v);
            (*s).len = v.len() - 1;
            (*s).cap = v.capacity();
            (*s).ptr = v.as_mut_ptr();
        }
    }

    /// Gives back what a grown text's buffer has beyond the text.
    ///
    /// # Safety
    /// As for [`RStr::append`].
    pub unsafe fn trim(s: *mut RStr) {
        // SAFETY: ABI: this function's contract; layout: the buffer was a vector of this capacity.
        unsafe {
            if (*s).cap == 0 {
                return;
            }
            let mut v = Vec::from_raw_parts((*s).ptr, (*s).len + 1, (*s).cap);
            v.shrink_to_fit();
            let mut v = std::mem::ManuallyDrop::new(v);
            (*s).cap = v.capacity();
            (*s).ptr = v.as_mut_ptr();
        }
    }

    /// Moves the string, or the buffer of its text, to a better place where that is worth it. The string's new address,
    /// if it has one.
    ///
    /// # Safety
    /// `s` is a live string and the caller has its only reference and the only pointer to it.
    pub unsafe fn relocate(s: *mut RStr) -> Option<*mut RStr> {
        // SAFETY: ABI: this function's contract. A text behind the header moves with it.
        unsafe {
            if (*s).cap != 0 {
                if let Some(text) = crate::keyspace::defrag::relocate((*s).ptr) {
                    (*s).ptr = text;
                }
            }
            let new = crate::keyspace::defrag::relocate(s)?;
            if (*new).cap == 0 {
                (*new).ptr = new.cast::<u8>().add(HEADER);
            }
            Some(new)
        }
    }

    /// Bytes that the string takes.
    ///
    /// # Safety
    /// `s` is a live string that nobody changes meanwhile.
    pub unsafe fn memory(s: *const RStr) -> usize {
        // SAFETY: ABI: this function's contract.
        unsafe { layout((*s).inline).size() + (*s).cap }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_in_places_of_freed_ones_are_their_own() {
        let text = |len: usize, i: usize| vec![b'a' + (i % 26) as u8; len];
        for len in 0..120 {
            let make = |n: usize| (0..n).map(|i| RStr::new(&text(len, i))).collect::<Vec<_>>();
            for s in make(40) {
                // SAFETY: layout: the test's own reference.
                unsafe { RStr::release(s) };
            }
            let strings = make(40);
            let kept = strings[7];
            // SAFETY: layout: the test's own references, each given up once.
            unsafe {
                RStr::retain(kept);
                strings.iter().for_each(|s| RStr::release(*s));
                let others = make(40);
                assert!(!others.contains(&kept));
                for (i, s) in others.iter().enumerate() {
                    assert_eq!(RStr::bytes(*s), text(len, i));
                    assert_eq!(*RStr::bytes(*s).as_ptr().add(len), 0);
                    assert_eq!(RStr::refs(*s), 1);
                }
                assert_eq!(RStr::bytes(kept), text(len, 7));
                others.into_iter().chain([kept]).for_each(|s| RStr::release(s));
            }
        }
    }

    #[test]
    fn grows_and_stays_terminated() {
        let s = RStr::new(b"abc");
        // SAFETY: layout: the test owns the only reference.
        unsafe {
            RStr::append(s, b"def");
            RStr::append(s, &[b'x'; 1000]);
            assert_eq!(RStr::bytes(s).len(), 1006);
            assert_eq!(&RStr::bytes(s)[..7], b"abcdefx");
            assert_eq!(*RStr::bytes(s).as_ptr().add(1006), 0);
            RStr::retain(s);
            RStr::release(s);
            assert_eq!(RStr::refs(s), 1);
            RStr::release(s);
        }
    }
}
