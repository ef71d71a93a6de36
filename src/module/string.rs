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

fn layout(len: usize) -> Layout {
    Layout::from_size_align(HEADER + len + 1, 8).expect("a string fits in memory")
}

impl RStr {
    /// A new string with one reference.
    pub fn new(text: &[u8]) -> *mut RStr {
        let l = layout(text.len());
        // SAFETY: layout: the size is not zero; header, text and NUL are written once into fresh memory.
        unsafe {
            let p = alloc(l).cast::<RStr>();
            if p.is_null() {
                handle_alloc_error(l);
            }
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
            if (*s).refs.fetch_sub(1, Ordering::Release) != 1 {
                return;
            }
            fence(Ordering::Acquire);
            super::strict::note(|live| live.strings -= 1);
            if (*s).cap != 0 {
                drop(Vec::from_raw_parts((*s).ptr, 0, (*s).cap));
            }
            dealloc(s.cast(), layout((*s).inline));
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
                v = Vec::with_capacity((*s).len + more.len() + 1);
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
