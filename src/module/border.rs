//! Small things that every function at the border to C needs: C strings and `errno`.
use std::borrow::Cow;
use std::ffi::{c_char, c_int, CStr};

/// The text of a C string; `None` for a null pointer.
///
/// # Safety
/// ABI: `text` is null or a C string that stays as it is for `'a`.
pub unsafe fn c_text<'a>(text: *const c_char) -> Option<Cow<'a, str>> {
    // SAFETY: ABI: this function's contract.
    (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) }.to_string_lossy())
}

/// Sets the calling thread's `errno`, where a module looks for the reason of a failure.
pub fn set_errno(code: c_int) {
    // SAFETY: layout: the C library gives the address of this thread's variable.
    unsafe { *libc::__errno_location() = code };
}
