//! `RedisModuleString` functions.
//!
//! Every function takes a null context and may be called from any thread: counts are atomic, and a context is only
//! touched for automatic memory, which its own call alone has turned on.
use crate::keyspace::number;
use crate::keyspace::stream::StreamId;
use crate::module::abi;
use crate::module::api::LockClass;
use crate::module::context::{flag, Auto, Ctx};
use crate::module::string::RStr;
use std::cmp::Ordering;
use std::ffi::{c_char, c_int, c_void, CStr};

/// What a null string reads as.
static NULL_TEXT: &CStr = c"(NULL string reply referenced in module)";

/// Bytes behind a pointer and a length; the pointer may be null when there are none.
///
/// # Safety
/// ABI: the caller passed a buffer of this length.
pub unsafe fn bytes_of<'a>(p: *const c_char, len: usize) -> &'a [u8] {
    if len == 0 {
        return b"";
    }
    // SAFETY: ABI: this function's contract.
    unsafe { std::slice::from_raw_parts(p.cast(), len) }
}

/// The context behind a pointer that may be null.
///
/// # Safety
/// ABI: null, or a live context that no other reference is used for meanwhile.
unsafe fn context<'a>(ctx: *mut Ctx) -> Option<&'a mut Ctx> {
    // SAFETY: ABI: this function's contract.
    unsafe { ctx.as_mut() }
}

/// A new string for a module, known to automatic memory if the context has it.
#[allow(clippy::not_unsafe_ptr_arg_deref)] // the module's own context, which API functions pass on
pub fn make(ctx: *mut Ctx, text: &[u8]) -> *mut RStr {
    let s = RStr::new(text);
    // SAFETY: ABI: callers pass on the context that the module gave.
    if let Some(ctx) = unsafe { context(ctx) } {
        ctx.remember(Auto::Str(s));
    }
    s
}

/// The id as text reads it: `ms`, `ms-seq`, or `-` and `+` for the ends.
fn parse_stream_id(text: &[u8]) -> Option<StreamId> {
    match text {
        b"-" => Some(StreamId::MIN),
        b"+" => Some(StreamId::MAX),
        _ => StreamId::parse(text, 0),
    }
}

/// Writes a result through an out pointer, and says whether there was one.
///
/// # Safety
/// ABI: `out` is null or a place for a `T`.
unsafe fn store<T>(out: *mut T, value: Option<T>) -> c_int {
    match value {
        Some(v) => {
            if !out.is_null() {
                // SAFETY: ABI: this function's contract.
                unsafe { *out = v };
            }
            abi::OK
        }
        None => abi::ERR,
    }
}

api! {
    /// A string with a copy of `len` bytes.
    [Free] fn CreateString(ctx: *mut Ctx, text: *const c_char, len: usize) -> *mut RStr {
        // SAFETY: ABI: a buffer of this length.
        make(ctx, unsafe { bytes_of(text, len) })
    }

    /// A string with a copy of another's text.
    [Free] fn CreateStringFromString(ctx: *mut Ctx, s: *const RStr) -> *mut RStr {
        // SAFETY: ABI: a live string.
        make(ctx, unsafe { RStr::bytes(s) })
    }

    /// A string with a decimal integer.
    [Free] fn CreateStringFromLongLong(ctx: *mut Ctx, value: i64) -> *mut RStr {
        make(ctx, &number::format_i64(value))
    }

    /// A string with a decimal unsigned integer.
    [Free] fn CreateStringFromULongLong(ctx: *mut Ctx, value: u64) -> *mut RStr {
        make(ctx, &number::format_u64(value))
    }

    /// A string with the shortest text of a double.
    [Free] fn CreateStringFromDouble(ctx: *mut Ctx, value: f64) -> *mut RStr {
        make(ctx, &number::format_f64(value))
    }

    /// A string with `ms-seq`.
    [Free] fn CreateStringFromStreamID(ctx: *mut Ctx, id: *const abi::StreamId) -> *mut RStr {
        // SAFETY: ABI: a stream id.
        let id = unsafe { *id };
        make(ctx, StreamId::new(id.ms, id.seq).to_string().as_bytes())
    }

    /// Gives up a reference. With a context under automatic memory, the context forgets the string.
    [Free] fn FreeString(ctx: *mut Ctx, s: *mut RStr) {
        // SAFETY: ABI: the caller owns a reference; a null context is allowed.
        unsafe {
            if let Some(ctx) = context(ctx) {
                ctx.forget(Auto::Str(s));
            }
            RStr::release(s);
        }
    }

    /// Keeps a string beyond the call: what automatic memory would free becomes the module's, anything else gets one
    /// more reference.
    [Free] fn RetainString(ctx: *mut Ctx, s: *mut RStr) {
        // SAFETY: ABI: a live string; a null context is allowed.
        unsafe {
            let owed = context(ctx).is_some_and(|c| {
                let owed = c.flags & flag::AUTO_MEMORY != 0 && c.auto.contains(&Auto::Str(s));
                c.forget(Auto::Str(s));
                owed
            });
            if !owed {
                RStr::retain(s);
            }
        }
    }

    /// One more reference, owed to automatic memory if the context has it.
    [Free] fn HoldString(ctx: *mut Ctx, s: *mut RStr) -> *mut RStr {
        // SAFETY: ABI: a live string; a null context is allowed.
        unsafe {
            RStr::retain(s);
            if let Some(ctx) = context(ctx) {
                ctx.remember(Auto::Str(s));
            }
        }
        s
    }

    /// The text, ending in a NUL that the length does not count. A null string reads as a fixed text.
    [Free] fn StringPtrLen(s: *const RStr, len: *mut usize) -> *const c_char {
        let (p, n) = if s.is_null() {
            (NULL_TEXT.as_ptr(), NULL_TEXT.count_bytes())
        } else {
            // SAFETY: ABI: a live string.
            let text = unsafe { RStr::bytes(s) };
            (text.as_ptr().cast(), text.len())
        };
        if !len.is_null() {
            // SAFETY: ABI: a place for the length.
            unsafe { *len = n };
        }
        p
    }

    /// The whole text as an integer, without blanks or leading zeros.
    [Free] fn StringToLongLong(s: *const RStr, out: *mut i64) -> c_int {
        // SAFETY: ABI: a live string and a place for the number.
        unsafe { store(out, number::parse_i64(RStr::bytes(s))) }
    }

    /// The whole text as an unsigned integer.
    [Free] fn StringToULongLong(s: *const RStr, out: *mut u64) -> c_int {
        // SAFETY: ABI: a live string and a place for the number.
        unsafe { store(out, number::parse_u64(RStr::bytes(s))) }
    }

    /// The whole text as a double.
    [Free] fn StringToDouble(s: *const RStr, out: *mut f64) -> c_int {
        // SAFETY: ABI: a live string and a place for the number.
        unsafe { store(out, number::parse_f64(RStr::bytes(s))) }
    }

    /// The whole text as a stream id.
    [Free] fn StringToStreamID(s: *const RStr, out: *mut abi::StreamId) -> c_int {
        // SAFETY: ABI: a live string and a place for the id.
        unsafe {
            let id = parse_stream_id(RStr::bytes(s));
            store(out, id.map(|id| abi::StreamId { ms: id.ms, seq: id.seq }))
        }
    }

    /// Compares bytewise: negative, zero or positive.
    [Free] fn StringCompare(a: *const RStr, b: *const RStr) -> c_int {
        // SAFETY: ABI: live strings.
        match unsafe { RStr::bytes(a).cmp(RStr::bytes(b)) } {
            Ordering::Less => -1,
            Ordering::Equal => 0,
            Ordering::Greater => 1,
        }
    }

    /// Appends to a string of which the caller has the only reference; fails otherwise.
    [Free] fn StringAppendBuffer(
        _ctx: *mut Ctx,
        s: *mut RStr,
        text: *const c_char,
        len: usize,
    ) -> c_int {
        // SAFETY: ABI: a live string and a buffer of this length.
        unsafe {
            if RStr::refs(s) != 1 {
                return abi::ERR;
            }
            RStr::append(s, bytes_of(text, len));
        }
        abi::OK
    }

    /// Gives back memory that appending took beyond the text, if the caller has the only reference.
    [Free] fn TrimStringAllocation(s: *mut RStr) {
        // SAFETY: ABI: a live string.
        unsafe {
            if !s.is_null() && RStr::refs(s) == 1 {
                RStr::trim(s);
            }
        }
    }

    /// Bytes that a string takes.
    [Free] fn MallocSizeString(s: *const RStr) -> usize {
        // SAFETY: ABI: a live string.
        unsafe { RStr::memory(s) }
    }
}

unsafe extern "C" {
    fn backplane_rm_CreateStringPrintf();
    fn backplane_rm_CreateStringFromLongDouble();
    fn backplane_rm_StringToLongDouble();
}

/// Functions of this family that are C shims (`ffi/shims.c`).
pub const SHIMS: &[super::Export] = &[
    super::shim("CreateStringPrintf", LockClass::Free, backplane_rm_CreateStringPrintf),
    super::shim(
        "CreateStringFromLongDouble",
        LockClass::Free,
        backplane_rm_CreateStringFromLongDouble,
    ),
    super::shim("StringToLongDouble", LockClass::Free, backplane_rm_StringToLongDouble),
];

/// `CreateStringPrintf`, formatted.
///
/// # Safety
/// ABI: called by the shim, as `ffi/shims.h` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backplane_create_string_printf_impl(
    ctx: *mut Ctx,
    text: *const c_char,
    len: usize,
) -> *mut RStr {
    super::enter(&"CreateStringPrintf", LockClass::Free);
    // SAFETY: ABI: a buffer of this length.
    make(ctx, unsafe { bytes_of(text, len) })
}

/// `CreateStringFromLongDouble`, formatted.
///
/// # Safety
/// ABI: called by the shim, as `ffi/shims.h` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backplane_create_string_from_long_double_impl(
    ctx: *mut Ctx,
    text: *const c_char,
    len: usize,
) -> *mut RStr {
    super::enter(&"CreateStringFromLongDouble", LockClass::Free);
    // SAFETY: ABI: a buffer of this length.
    make(ctx, unsafe { bytes_of(text, len) })
}

/// The text that `StringToLongDouble` reads.
///
/// # Safety
/// ABI: called by the shim, as `ffi/shims.h` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backplane_string_to_long_double_impl(
    s: *const c_void,
    len: *mut usize,
) -> *const c_char {
    super::enter(&"StringToLongDouble", LockClass::Free);
    // SAFETY: ABI: a live string and a place for its length.
    unsafe {
        let text = RStr::bytes(s.cast());
        *len = text.len();
        text.as_ptr().cast()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn automatic_memory_owns_until_the_module_retains() {
        let s = RStr::new(b"x");
        // SAFETY: layout: the test owns the references that it gives up.
        unsafe {
            RetainString(std::ptr::null_mut(), s);
            assert_eq!(RStr::refs(s), 2);
            assert_eq!(StringAppendBuffer(std::ptr::null_mut(), s, c"y".as_ptr(), 1), abi::ERR);
            FreeString(std::ptr::null_mut(), s);
            assert_eq!(StringAppendBuffer(std::ptr::null_mut(), s, c"y".as_ptr(), 1), abi::OK);
            assert_eq!(RStr::bytes(s), b"xy");
            TrimStringAllocation(s);
            assert_eq!(RStr::bytes(s), b"xy");
            FreeString(std::ptr::null_mut(), s);
        }
    }

    #[test]
    fn a_null_string_has_a_text() {
        let mut len = 0;
        // SAFETY: ABI: null is allowed.
        let p = unsafe { StringPtrLen(std::ptr::null(), &mut len) };
        assert_eq!(len, NULL_TEXT.count_bytes());
        assert_eq!(p, NULL_TEXT.as_ptr());
    }

    #[test]
    fn stream_ids_of_both_ends() {
        assert_eq!(parse_stream_id(b"-"), Some(StreamId::MIN));
        assert_eq!(parse_stream_id(b"+"), Some(StreamId::MAX));
        assert_eq!(parse_stream_id(b"7"), Some(StreamId::new(7, 0)));
        assert_eq!(parse_stream_id(b"7-*"), None);
    }
}
