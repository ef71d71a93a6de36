//! `ReplyWith*`. Without anybody to reply to, they write nothing and return OK.
use crate::module::abi;
use crate::module::api::call_reply::CallReply;
use crate::module::api::string::bytes_of;
use crate::module::api::LockClass;
use crate::module::context::{Ctx, Postponed};
use crate::module::string::RStr;
use crate::reply::Reply;
use crate::server::Server;
use std::ffi::{c_char, c_int, c_long, CStr};

/// The kinds of collections, whose headers differ.
#[derive(Clone, Copy)]
enum Collection {
    Array,
    Map,
    Set,
    Attribute,
}

/// Writes to the context's reply, if somebody reads it.
///
/// # Safety
/// ABI: a live context, on the thread that may reply on it.
#[inline]
unsafe fn write(ctx: *mut Ctx, f: impl FnOnce(&mut Reply)) -> c_int {
    // SAFETY: ABI: this function's contract.
    if let Some(out) = unsafe { &*ctx }.out() {
        f(out);
    }
    abi::OK
}

/// # Safety
/// ABI: a live context, on the thread that may reply on it.
unsafe fn begin(ctx: *mut Ctx, kind: Collection, len: c_long) -> c_int {
    // SAFETY: ABI: this function's contract.
    let ctx = unsafe { &mut *ctx };
    let Some(out) = ctx.out() else { return abi::OK };
    if matches!(kind, Collection::Attribute) && !out.resp3 {
        return abi::ERR;
    }
    if len == abi::POSTPONED_LEN as c_long {
        let at = out.deferred();
        ctx.postponed.push(Postponed { at });
        return abi::OK;
    }
    let n = usize::try_from(len).unwrap_or(0);
    match kind {
        Collection::Array => out.array(n),
        Collection::Map => out.map(n),
        Collection::Set => out.set(n),
        Collection::Attribute => out.attribute(n),
    }
    abi::OK
}

/// Writes the header that was postponed last.
///
/// # Safety
/// ABI: a live context, on the thread that may reply on it.
unsafe fn end(ctx: *mut Ctx, kind: Collection, len: c_long) {
    // SAFETY: ABI: this function's contract.
    let ctx = unsafe { &mut *ctx };
    let attribute = matches!(kind, Collection::Attribute);
    if ctx.out().is_none_or(|out| attribute && !out.resp3) {
        return;
    }
    let postponed = ctx.postponed.pop();
    let (Some(Postponed { at }), Some(out)) = (postponed, ctx.out()) else {
        crate::log_warning!(
            "API misuse detected in module {}: RedisModule_ReplySet*Length() called without previous \
             RedisModule_ReplyWith*(ctx,REDISMODULE_POSTPONED_LEN) call.",
            ctx.module.map_or("?", |m| m.name())
        );
        return;
    };
    let n = usize::try_from(len).unwrap_or(0);
    match kind {
        Collection::Array => out.fill_array(at, n),
        Collection::Map => out.fill_map(at, n),
        Collection::Set => out.fill_set(at, n),
        Collection::Attribute => out.fill_attribute(at, n),
    }
}

/// An error as a module gives it: its code included, line breaks at its ends dropped.
fn error(out: &mut Reply, text: &[u8]) {
    let is_break = |c: &u8| matches!(c, b'\r' | b'\n');
    let start = text.iter().position(|c| !is_break(c)).unwrap_or(text.len());
    let end = text.iter().rposition(|c| !is_break(c)).map_or(start, |i| i + 1);
    out.error(&text[start..end]);
}

/// The name of the command on whose behalf a context was made, as `COMMAND` tells it.
pub fn command_name(ctx: &Ctx) -> Option<String> {
    if ctx.argc == 0 || ctx.argv.is_null() {
        return None;
    }
    // SAFETY: ABI: `argv` has `argc` live strings as long as the context lives.
    let args: Vec<&[u8]> =
        unsafe { (0..ctx.argc).map(|i| RStr::bytes(*ctx.argv.add(i))).collect() };
    Server::get().table.load().resolve(&args).map(|c| c.full_name.clone())
}

api! {
    /// The error for a wrong number of arguments of the running command.
    [Reply] fn WrongArity(ctx: *mut Ctx) -> c_int {
        // SAFETY: ABI: a live context.
        unsafe {
            let name = command_name(&*ctx).unwrap_or_default();
            write(ctx, |out| {
                out.error(format!("ERR wrong number of arguments for '{name}' command"));
            })
        }
    }

    /// An integer.
    [Reply] fn ReplyWithLongLong(ctx: *mut Ctx, value: i64) -> c_int {
        // SAFETY: ABI: a live context.
        unsafe { write(ctx, |out| out.int(value)) }
    }

    /// An error; the text has its code, but no dash.
    [Reply] fn ReplyWithError(ctx: *mut Ctx, text: *const c_char) -> c_int {
        // SAFETY: ABI: a live context and a C string.
        unsafe { write(ctx, |out| error(out, CStr::from_ptr(text).to_bytes())) }
    }

    /// A status.
    [Reply] fn ReplyWithSimpleString(ctx: *mut Ctx, text: *const c_char) -> c_int {
        // SAFETY: ABI: a live context and a C string.
        unsafe { write(ctx, |out| out.simple(CStr::from_ptr(text).to_bytes())) }
    }

    /// The header of an array; its elements follow.
    [Reply] fn ReplyWithArray(ctx: *mut Ctx, len: c_long) -> c_int {
        // SAFETY: ABI: a live context.
        unsafe { begin(ctx, Collection::Array, len) }
    }

    /// The header of a map; its pairs follow.
    [Reply] fn ReplyWithMap(ctx: *mut Ctx, len: c_long) -> c_int {
        // SAFETY: ABI: a live context.
        unsafe { begin(ctx, Collection::Map, len) }
    }

    /// The header of a set; its members follow.
    [Reply] fn ReplyWithSet(ctx: *mut Ctx, len: c_long) -> c_int {
        // SAFETY: ABI: a live context.
        unsafe { begin(ctx, Collection::Set, len) }
    }

    /// The header of an attribute: its pairs and then the reply itself follow. Fails in RESP2.
    [Reply] fn ReplyWithAttribute(ctx: *mut Ctx, len: c_long) -> c_int {
        // SAFETY: ABI: a live context.
        unsafe { begin(ctx, Collection::Attribute, len) }
    }

    /// Nothing, as an array.
    [Reply] fn ReplyWithNullArray(ctx: *mut Ctx) -> c_int {
        // SAFETY: ABI: a live context.
        unsafe { write(ctx, Reply::null_array) }
    }

    /// An array without elements.
    [Reply] fn ReplyWithEmptyArray(ctx: *mut Ctx) -> c_int {
        // SAFETY: ABI: a live context.
        unsafe { write(ctx, |out| out.array(0)) }
    }

    /// Ends the postponed collection that began last, as an array.
    [Reply] fn ReplySetArrayLength(ctx: *mut Ctx, len: c_long) {
        // SAFETY: ABI: a live context.
        unsafe { end(ctx, Collection::Array, len) }
    }

    /// Ends the postponed collection that began last, as a map.
    [Reply] fn ReplySetMapLength(ctx: *mut Ctx, len: c_long) {
        // SAFETY: ABI: a live context.
        unsafe { end(ctx, Collection::Map, len) }
    }

    /// Ends the postponed collection that began last, as a set.
    [Reply] fn ReplySetSetLength(ctx: *mut Ctx, len: c_long) {
        // SAFETY: ABI: a live context.
        unsafe { end(ctx, Collection::Set, len) }
    }

    /// Ends the postponed collection that began last, as an attribute.
    [Reply] fn ReplySetAttributeLength(ctx: *mut Ctx, len: c_long) {
        // SAFETY: ABI: a live context.
        unsafe { end(ctx, Collection::Attribute, len) }
    }

    /// A bulk string of `len` bytes.
    [Reply] fn ReplyWithStringBuffer(ctx: *mut Ctx, text: *const c_char, len: usize) -> c_int {
        // SAFETY: ABI: a live context and a buffer of this length.
        unsafe { write(ctx, |out| out.bulk(bytes_of(text, len))) }
    }

    /// A bulk string from a C string.
    [Reply] fn ReplyWithCString(ctx: *mut Ctx, text: *const c_char) -> c_int {
        // SAFETY: ABI: a live context and a C string.
        unsafe { write(ctx, |out| out.bulk(CStr::from_ptr(text).to_bytes())) }
    }

    /// A bulk string from a string object.
    [Reply] fn ReplyWithString(ctx: *mut Ctx, s: *const RStr) -> c_int {
        // SAFETY: ABI: a live context and a live string.
        unsafe { write(ctx, |out| out.bulk(RStr::bytes(s))) }
    }

    /// A bulk string without bytes.
    [Reply] fn ReplyWithEmptyString(ctx: *mut Ctx) -> c_int {
        // SAFETY: ABI: a live context.
        unsafe { write(ctx, |out| out.bulk(b"")) }
    }

    /// A verbatim string with a format of three letters.
    [Reply] fn ReplyWithVerbatimStringType(
        ctx: *mut Ctx,
        text: *const c_char,
        len: usize,
        format: *const c_char,
    ) -> c_int {
        // SAFETY: ABI: a live context, a buffer of this length and a C string.
        unsafe {
            let mut letters = *b"   ";
            for (to, from) in letters.iter_mut().zip(CStr::from_ptr(format).to_bytes()) {
                *to = *from;
            }
            write(ctx, |out| out.verbatim(&letters, bytes_of(text, len)))
        }
    }

    /// A verbatim string of plain text.
    [Reply] fn ReplyWithVerbatimString(ctx: *mut Ctx, text: *const c_char, len: usize) -> c_int {
        // SAFETY: ABI: a live context and a buffer of this length.
        unsafe { write(ctx, |out| out.verbatim(b"txt", bytes_of(text, len))) }
    }

    /// Nothing.
    [Reply] fn ReplyWithNull(ctx: *mut Ctx) -> c_int {
        // SAFETY: ABI: a live context.
        unsafe { write(ctx, Reply::null) }
    }

    /// A truth value.
    [Reply] fn ReplyWithBool(ctx: *mut Ctx, value: c_int) -> c_int {
        // SAFETY: ABI: a live context.
        unsafe { write(ctx, |out| out.bool(value != 0)) }
    }

    /// A double.
    [Reply] fn ReplyWithDouble(ctx: *mut Ctx, value: f64) -> c_int {
        // SAFETY: ABI: a live context.
        unsafe { write(ctx, |out| out.double(value)) }
    }

    /// A big number from its digits.
    [Reply] fn ReplyWithBigNumber(ctx: *mut Ctx, digits: *const c_char, len: usize) -> c_int {
        // SAFETY: ABI: a live context and a buffer of this length.
        unsafe { write(ctx, |out| out.big_number(bytes_of(digits, len))) }
    }

    /// The reply of a call, passed on as it is. Fails when it is known to have RESP3 types and the client has RESP2: as in
    /// Redis, that is known once the module has looked into the reply.
    [Reply] fn ReplyWithCallReply(ctx: *mut Ctx, reply: *mut CallReply) -> c_int {
        // SAFETY: ABI: a live context and a live reply.
        unsafe {
            let Some(out) = (*ctx).out() else { return abi::OK };
            if !out.resp3 && (*reply).is_known_resp3() {
                return abi::ERR;
            }
            out.raw((*reply).proto());
            out.errors += (*reply).errors();
            if let Some(text) = (*reply).uncounted_error() {
                out.note_error(text);
            }
        }
        abi::OK
    }
}

unsafe extern "C" {
    fn backplane_rm_ReplyWithErrorFormat();
    fn backplane_rm_ReplyWithLongDouble();
}

/// Functions of this family that are C shims (`ffi/shims.c`).
pub const SHIMS: &[super::Export] = &[
    super::shim("ReplyWithErrorFormat", LockClass::Reply, backplane_rm_ReplyWithErrorFormat),
    super::shim("ReplyWithLongDouble", LockClass::Reply, backplane_rm_ReplyWithLongDouble),
];

/// `ReplyWithErrorFormat`, formatted.
///
/// # Safety
/// ABI: called by the shim, as `ffi/shims.h` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backplane_reply_with_error_format_impl(
    ctx: *mut Ctx,
    text: *const c_char,
    len: usize,
) -> c_int {
    super::enter(&"ReplyWithErrorFormat", LockClass::Reply);
    // SAFETY: ABI: a live context and a buffer of this length.
    unsafe { write(ctx, |out| error(out, bytes_of(text, len))) }
}

/// `ReplyWithLongDouble`, formatted.
///
/// # Safety
/// ABI: called by the shim, as `ffi/shims.h` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backplane_reply_with_long_double_impl(
    ctx: *mut Ctx,
    text: *const c_char,
    len: usize,
) -> c_int {
    super::enter(&"ReplyWithLongDouble", LockClass::Reply);
    // SAFETY: ABI: a live context and a buffer of this length.
    unsafe {
        write(ctx, |out| {
            let text = bytes_of(text, len);
            if out.resp3 {
                out.raw(b",");
                out.raw(text);
                out.raw(b"\r\n");
            } else {
                out.bulk(text);
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_lose_their_line_ends() {
        let mut r = Reply::new(false);
        error(&mut r, b"ERR a\r\nb\r\n");
        error(&mut r, b"\r\n");
        assert_eq!(r.buf, b"-ERR a  b\r\n-\r\n");
        assert_eq!(r.errors, 2);
    }
}
