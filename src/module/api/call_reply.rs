//! Replies of `Call`: the protocol as the command wrote it, taken apart when a module first looks into it.
//!
//! A root reply owns the bytes, followed by a NUL: modules search texts with C functions beyond their end. Nested replies
//! belong to their root. Only the root can be freed, from any thread.
use crate::keyspace::number;
use crate::module::abi;
use crate::module::api::promise::Promise;
use crate::module::api::string::make;
use crate::module::context::{Auto, Ctx};
use crate::module::string::RStr;
use std::ffi::{c_char, c_int, c_void};
use std::sync::Arc;

/// What a reply holds, once it was taken apart.
enum Value {
    None,
    Text(*const u8),
    Verbatim {
        text: *const u8,
        format: *const u8,
    },
    Int(i64),
    Double(f64),
    /// Elements, or keys and values in turn. Never changed, so that modules may keep their addresses.
    Nested(Box<[CallReply]>),
}

/// `RedisModuleCallReply`.
pub struct CallReply {
    kind: c_int,
    parsed: bool,
    resp3: bool,
    /// Bytes of a text, elements of a collection, pairs of a map.
    len: usize,
    value: Value,
    proto: (*const u8, usize),
    attribute: Option<Box<CallReply>>,
    /// The context whose automatic memory knows the root; null without automatic memory.
    ctx: *mut Ctx,
    /// Only the root has it.
    root: Option<Root>,
    /// The command is still blocked; this is a root without bytes.
    promise: Option<Arc<Promise>>,
}

struct Root {
    /// Keeps the bytes that all pointers of the tree lead to.
    _bytes: Vec<u8>,
    errors: u64,
    /// The command was refused before it ran: nobody has counted its error.
    refused: bool,
}

impl CallReply {
    /// A root reply from finished protocol and the number of errors in it. `ctx` is not null if its automatic memory will
    /// be told of the reply.
    pub fn new(mut bytes: Vec<u8>, errors: u64, ctx: *mut Ctx) -> Box<CallReply> {
        let len = bytes.len();
        bytes.push(0);
        let mut r = Self::unparsed(bytes.as_ptr(), ctx);
        r.proto.1 = len;
        r.root = Some(Root { _bytes: bytes, errors, refused: false });
        Box::new(r)
    }

    /// As [`CallReply::new`], of an error whose command did not run.
    pub fn refused(bytes: Vec<u8>, ctx: *mut Ctx) -> Box<CallReply> {
        let mut r = Self::new(bytes, 1, ctx);
        if let Some(root) = &mut r.root {
            root.refused = true;
        }
        r
    }

    /// The text of an error that nobody has counted.
    pub fn uncounted_error(&self) -> Option<&[u8]> {
        let refused = self.root.as_ref().is_some_and(|r| r.refused);
        refused.then(|| self.proto().strip_prefix(b"-")).flatten()
    }

    fn unparsed(at: *const u8, ctx: *mut Ctx) -> CallReply {
        CallReply {
            kind: abi::REPLY_UNKNOWN,
            parsed: false,
            resp3: false,
            len: 0,
            value: Value::None,
            proto: (at, 0),
            attribute: None,
            ctx,
            root: None,
            promise: None,
        }
    }

    /// A reply that stands for one to come.
    pub fn promised(promise: Arc<Promise>, ctx: *mut Ctx) -> Box<CallReply> {
        let mut r = Self::new(Vec::new(), 0, ctx);
        (r.kind, r.parsed, r.promise) = (abi::REPLY_PROMISE, true, Some(promise));
        r
    }

    /// The protocol of this reply.
    pub fn proto(&self) -> &[u8] {
        // SAFETY: layout: inside of the root's bytes, which live as long as the tree.
        unsafe { std::slice::from_raw_parts(self.proto.0, self.proto.1) }
    }

    /// Whether it was taken apart and has types that RESP2 lacks.
    pub fn is_known_resp3(&self) -> bool {
        self.resp3
    }

    /// Number of errors in it.
    pub fn errors(&self) -> u64 {
        self.root.as_ref().map_or(0, |r| r.errors)
    }

    /// Takes the whole tree apart, once.
    fn parse(&mut self) -> &mut CallReply {
        if !self.parsed {
            let (start, len) = self.proto;
            // SAFETY: layout: the root's bytes, which are not changed while it lives.
            let bytes = unsafe { std::slice::from_raw_parts(start, len) };
            if read(bytes, 0, self).is_none() {
                self.kind = abi::REPLY_UNKNOWN;
                self.value = Value::None;
            }
            // A root is told by all its bytes, whatever was read.
            self.proto = (start, len);
            self.parsed = true;
        }
        self
    }

    fn nested(&mut self, kind: c_int, i: usize) -> *mut CallReply {
        let r = self.parse();
        match &mut r.value {
            Value::Nested(all) if r.kind == kind => {
                all.get_mut(i).map_or(std::ptr::null_mut(), |e| e as *mut CallReply)
            }
            _ => std::ptr::null_mut(),
        }
    }

    /// The text of a string or an error.
    pub fn text_bytes(&mut self) -> Option<&[u8]> {
        let (p, len) = self.text()?;
        // SAFETY: layout: inside of the root's bytes, which live as long as the tree.
        Some(unsafe { std::slice::from_raw_parts(p, len) })
    }

    fn text(&mut self) -> Option<(*const u8, usize)> {
        let r = self.parse();
        match r.value {
            Value::Text(p) => Some((p, r.len)),
            _ => None,
        }
    }
}

/// Reads the reply that starts at `at` into `into`. Returns where it ends; `None` for what is no protocol.
fn read(bytes: &[u8], at: usize, into: &mut CallReply) -> Option<usize> {
    let kind = *bytes.get(at)?;
    let rest = &bytes[at + 1..];
    let line = rest.windows(2).position(|w| w == b"\r\n").map(|n| &rest[..n])?;
    let after = at + 1 + line.len() + 2;
    let text = |into: &mut CallReply, kind| {
        (into.kind, into.len, into.value) = (kind, line.len(), Value::Text(line.as_ptr()));
    };
    let mut end = after;
    match kind {
        b'+' => text(into, abi::REPLY_STRING),
        b'-' => text(into, abi::REPLY_ERROR),
        b'(' => {
            text(into, abi::REPLY_BIG_NUMBER);
            into.resp3 = true;
        }
        b':' => {
            into.kind = abi::REPLY_INTEGER;
            into.value = Value::Int(number::parse_i64(line)?);
        }
        b'_' => {
            into.kind = abi::REPLY_NULL;
            into.resp3 = true;
        }
        b'#' => {
            into.kind = abi::REPLY_BOOL;
            into.value = Value::Int(i64::from(line == b"t"));
            into.resp3 = true;
        }
        b',' => {
            into.kind = abi::REPLY_DOUBLE;
            into.value = Value::Double(match line {
                b"nan" | b"-nan" => f64::NAN,
                _ => number::parse_f64(line)?,
            });
            into.resp3 = true;
        }
        b'$' | b'*' if line == b"-1" => into.kind = abi::REPLY_NULL,
        b'$' => {
            let len = number::parse_u64(line)? as usize;
            let content = bytes.get(after..after.checked_add(len)?)?;
            into.kind = abi::REPLY_STRING;
            (into.len, into.value) = (len, Value::Text(content.as_ptr()));
            end = after + len + 2;
        }
        b'=' => {
            let len = number::parse_u64(line)? as usize;
            let content = bytes.get(after..after.checked_add(len)?)?;
            into.kind = abi::REPLY_VERBATIM_STRING;
            // Three letters and a colon stand before the text.
            let text = content.get(4..)?;
            into.len = text.len();
            into.value = Value::Verbatim { text: text.as_ptr(), format: content.as_ptr() };
            into.resp3 = true;
            end = after + len + 2;
        }
        b'*' | b'~' | b'%' => {
            let len = number::parse_u64(line)? as usize;
            into.kind = match kind {
                b'*' => abi::REPLY_ARRAY,
                b'~' => abi::REPLY_SET,
                _ => abi::REPLY_MAP,
            };
            into.resp3 |= kind != b'*';
            end = read_nested(bytes, after, into, len, if kind == b'%' { 2 } else { 1 })?;
        }
        b'|' => {
            let len = number::parse_u64(line)? as usize;
            let mut pairs = CallReply::unparsed(bytes[at..].as_ptr(), into.ctx);
            pairs.kind = abi::REPLY_ATTRIBUTE;
            let next = read_nested(bytes, after, &mut pairs, len, 2)?;
            pairs.proto.1 = next - at;
            (pairs.parsed, pairs.resp3) = (true, true);
            end = read(bytes, next, into)?;
            into.attribute = Some(Box::new(pairs));
            into.resp3 = true;
        }
        _ => return None,
    }
    into.proto = (bytes[at..].as_ptr(), end.min(bytes.len()) - at);
    (end <= bytes.len()).then_some(end)
}

fn read_nested(
    bytes: &[u8],
    mut at: usize,
    into: &mut CallReply,
    len: usize,
    per_entry: usize,
) -> Option<usize> {
    let count = len.checked_mul(per_entry)?;
    // An element takes three bytes at least: a length that lies does not make us allocate.
    let mut all = Vec::with_capacity(count.min(bytes.len() / 3));
    for _ in 0..count {
        let mut e = CallReply::unparsed(bytes.get(at..)?.as_ptr(), into.ctx);
        at = read(bytes, at, &mut e)?;
        e.parsed = true;
        into.resp3 |= e.resp3;
        all.push(e);
    }
    (into.len, into.value) = (len, Value::Nested(all.into_boxed_slice()));
    Some(at)
}

/// The pair at `i` of a map or an attribute.
///
/// # Safety
/// ABI: a live reply; the out pointers are null or places for a pointer.
unsafe fn pair(
    reply: *mut CallReply,
    kind: c_int,
    i: usize,
    key: *mut *mut CallReply,
    value: *mut *mut CallReply,
) -> c_int {
    // SAFETY: ABI: this function's contract.
    unsafe {
        let k = (*reply).nested(kind, i.saturating_mul(2));
        if k.is_null() {
            return abi::ERR;
        }
        if !key.is_null() {
            *key = k;
        }
        if !value.is_null() {
            *value = (*reply).nested(kind, i * 2 + 1);
        }
    }
    abi::OK
}

/// Frees a root reply; does nothing to a nested one.
///
/// # Safety
/// ABI: a live reply, given up if it is a root.
pub unsafe fn free(reply: *mut CallReply) {
    // SAFETY: ABI: this function's contract; a root was made by `Box::into_raw`.
    unsafe {
        if (*reply).root.is_some() {
            drop(Box::from_raw(reply));
            crate::module::strict::note(|live| live.replies -= 1);
        }
    }
}

/// A text and its length as the API gives them; null without text.
///
/// # Safety
/// ABI: `len` is null or a place for a length.
unsafe fn give(text: Option<(*const u8, usize)>, len: *mut usize) -> *const c_char {
    let Some((p, n)) = text else { return std::ptr::null() };
    if !len.is_null() {
        // SAFETY: ABI: this function's contract.
        unsafe { *len = n };
    }
    p.cast()
}

api! {
    /// Sets what is called with the reply once a promised one is there; the reply is then the callback's to free.
    [Locked] fn CallReplyPromiseSetUnblockHandler(
        reply: *mut CallReply,
        function: abi::OnUnblockedFn,
        data: *mut c_void,
    ) {
        // SAFETY: ABI: a live reply.
        if let Some(promise) = unsafe { &(*reply).promise } {
            promise.handle_with(function, data);
        }
    }

    /// Gives a blocked call up, and the handler's data back. Fails if it is not blocked any more.
    [Locked] fn CallReplyPromiseAbort(reply: *mut CallReply, data: *mut *mut c_void) -> c_int {
        // SAFETY: ABI: a live reply.
        let Some(promise) = (unsafe { &(*reply).promise }) else { return abi::ERR };
        let Some(given) = promise.abort() else { return abi::ERR };
        if !data.is_null() {
            // SAFETY: ABI: a place for a pointer.
            unsafe { *data = given };
        }
        abi::OK
    }

    /// Frees a reply of `Call`. Nested replies go with it; freeing one of them does nothing.
    [Free] fn FreeCallReply(reply: *mut CallReply) {
        if reply.is_null() {
            return;
        }
        // SAFETY: ABI: a live reply that is given up; a context whose automatic memory knows it lives as long as it.
        unsafe {
            if (*reply).root.is_some() && !(*reply).ctx.is_null() {
                (*(*reply).ctx).forget(Auto::Reply(reply.cast()));
            }
            free(reply);
        }
    }

    /// The type of a reply; unknown for null.
    [Free] fn CallReplyType(reply: *mut CallReply) -> c_int {
        // SAFETY: ABI: null or a live reply.
        unsafe { reply.as_mut() }.map_or(abi::REPLY_UNKNOWN, |r| r.parse().kind)
    }

    /// Bytes of a string or an error, elements of an array or a set, pairs of a map or an attribute; else 0.
    [Free] fn CallReplyLength(reply: *mut CallReply) -> usize {
        // SAFETY: ABI: a live reply.
        let r = unsafe { (*reply).parse() };
        match r.kind {
            abi::REPLY_STRING | abi::REPLY_ERROR | abi::REPLY_ARRAY | abi::REPLY_SET
            | abi::REPLY_MAP | abi::REPLY_ATTRIBUTE => r.len,
            _ => 0,
        }
    }

    /// An element of an array; null beyond its end.
    [Free] fn CallReplyArrayElement(reply: *mut CallReply, i: usize) -> *mut CallReply {
        // SAFETY: ABI: a live reply.
        unsafe { (*reply).nested(abi::REPLY_ARRAY, i) }
    }

    /// A member of a set; null beyond its end.
    [Free] fn CallReplySetElement(reply: *mut CallReply, i: usize) -> *mut CallReply {
        // SAFETY: ABI: a live reply.
        unsafe { (*reply).nested(abi::REPLY_SET, i) }
    }

    /// A pair of a map.
    [Free] fn CallReplyMapElement(
        reply: *mut CallReply,
        i: usize,
        key: *mut *mut CallReply,
        value: *mut *mut CallReply,
    ) -> c_int {
        // SAFETY: ABI: a live reply and places for the pair.
        unsafe { pair(reply, abi::REPLY_MAP, i, key, value) }
    }

    /// The attribute that came before a reply, or null.
    [Free] fn CallReplyAttribute(reply: *mut CallReply) -> *mut CallReply {
        // SAFETY: ABI: a live reply.
        let r = unsafe { (*reply).parse() };
        r.attribute.as_deref_mut().map_or(std::ptr::null_mut(), |a| a as *mut CallReply)
    }

    /// A pair of an attribute. (Redis 7.4 looks for a map there and always fails.)
    [Free] fn CallReplyAttributeElement(
        reply: *mut CallReply,
        i: usize,
        key: *mut *mut CallReply,
        value: *mut *mut CallReply,
    ) -> c_int {
        // SAFETY: ABI: a live reply and places for the pair.
        unsafe { pair(reply, abi::REPLY_ATTRIBUTE, i, key, value) }
    }

    /// An integer; the least one for a reply of another type.
    [Free] fn CallReplyInteger(reply: *mut CallReply) -> i64 {
        // SAFETY: ABI: a live reply.
        let r = unsafe { (*reply).parse() };
        match r.value {
            Value::Int(n) if r.kind == abi::REPLY_INTEGER => n,
            _ => i64::MIN,
        }
    }

    /// A truth value; the least integer for a reply of another type.
    [Free] fn CallReplyBool(reply: *mut CallReply) -> c_int {
        // SAFETY: ABI: a live reply.
        let r = unsafe { (*reply).parse() };
        match r.value {
            Value::Int(n) if r.kind == abi::REPLY_BOOL => n as c_int,
            _ => c_int::MIN,
        }
    }

    /// A double; the least integer for a reply of another type.
    [Free] fn CallReplyDouble(reply: *mut CallReply) -> f64 {
        // SAFETY: ABI: a live reply.
        match unsafe { (*reply).parse() }.value {
            Value::Double(d) => d,
            _ => i64::MIN as f64,
        }
    }

    /// The text of a string or an error, not terminated; null for a reply of another type.
    [Free] fn CallReplyStringPtr(reply: *mut CallReply, len: *mut usize) -> *const c_char {
        // SAFETY: ABI: a live reply and null or a place for the length.
        unsafe {
            let r = (*reply).parse();
            let wanted = matches!(r.kind, abi::REPLY_STRING | abi::REPLY_ERROR);
            give(if wanted { r.text() } else { None }, len)
        }
    }

    /// The digits of a big number, not terminated; null for a reply of another type.
    [Free] fn CallReplyBigNumber(reply: *mut CallReply, len: *mut usize) -> *const c_char {
        // SAFETY: ABI: a live reply and null or a place for the length.
        unsafe {
            let r = (*reply).parse();
            give(if r.kind == abi::REPLY_BIG_NUMBER { r.text() } else { None }, len)
        }
    }

    /// The text of a verbatim string and its format of three letters, neither terminated; null for a reply of another
    /// type.
    [Free] fn CallReplyVerbatim(
        reply: *mut CallReply,
        len: *mut usize,
        format: *mut *const c_char,
    ) -> *const c_char {
        // SAFETY: ABI: a live reply and null or places for the length and the format.
        unsafe {
            let r = (*reply).parse();
            let Value::Verbatim { text, format: letters } = r.value else {
                return std::ptr::null();
            };
            if !format.is_null() {
                *format = letters.cast();
            }
            give(Some((text, r.len)), len)
        }
    }

    /// The protocol of a reply.
    [Free] fn CallReplyProto(reply: *mut CallReply, len: *mut usize) -> *const c_char {
        // SAFETY: ABI: a live reply and null or a place for the length.
        unsafe { give(Some((*reply).proto), len) }
    }

    /// A new string from a string, an error or an integer; null from anything else.
    [Free] fn CreateStringFromCallReply(reply: *mut CallReply) -> *mut RStr {
        // SAFETY: ABI: a live reply; the context behind it lives as long as it.
        unsafe {
            let r = (*reply).parse();
            match (r.kind, &r.value) {
                (abi::REPLY_STRING | abi::REPLY_ERROR, Value::Text(p)) => {
                    make(r.ctx, std::slice::from_raw_parts(*p, r.len))
                }
                (abi::REPLY_INTEGER, Value::Int(n)) => make(r.ctx, &number::format_i64(*n)),
                _ => std::ptr::null_mut(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(proto: &[u8]) -> *mut CallReply {
        Box::into_raw(CallReply::new(proto.to_vec(), 0, std::ptr::null_mut()))
    }

    fn text_of(r: *mut CallReply) -> Vec<u8> {
        let mut len = 0;
        // SAFETY: layout: the test's own live reply.
        unsafe {
            let p = CallReplyStringPtr(r, &mut len);
            assert!(!p.is_null());
            std::slice::from_raw_parts(p.cast(), len).to_vec()
        }
    }

    #[test]
    fn a_tree_of_everything() {
        let r = root(
            b"%2\r\n+a\r\n*3\r\n:-5\r\n$-1\r\n$2\r\nxy\r\n$1\r\nb\r\n~4\r\n,1.5\r\n#t\r\n(123\r\n=6\r\ntxt:hi\r\n",
        );
        let (mut k, mut v) = (std::ptr::null_mut(), std::ptr::null_mut());
        let mut len = 0;
        // SAFETY: layout: the test's own live reply.
        unsafe {
            assert_eq!(CallReplyType(r), abi::REPLY_MAP);
            assert_eq!(CallReplyLength(r), 2);
            assert_eq!(CallReplyMapElement(r, 0, &mut k, &mut v), abi::OK);
            assert_eq!(text_of(k), b"a");
            assert_eq!(CallReplyInteger(CallReplyArrayElement(v, 0)), -5);
            assert_eq!(CallReplyType(CallReplyArrayElement(v, 1)), abi::REPLY_NULL);
            let s = CallReplyArrayElement(v, 2);
            assert_eq!(text_of(s), b"xy");
            let p = CallReplyStringPtr(s, std::ptr::null_mut()).cast::<u8>();
            assert_eq!(std::slice::from_raw_parts(p, 4), b"xy\r\n");
            assert_eq!((*s).proto(), b"$2\r\nxy\r\n");
            assert!(CallReplyArrayElement(v, 3).is_null());
            FreeCallReply(s);
            assert_eq!(text_of(s), b"xy", "a nested reply is not freed");
            assert_eq!(CallReplyMapElement(r, 1, std::ptr::null_mut(), &mut v), abi::OK);
            assert_eq!(CallReplyDouble(CallReplySetElement(v, 0)), 1.5);
            assert_eq!(CallReplyBool(CallReplySetElement(v, 1)), 1);
            let big = CallReplyBigNumber(CallReplySetElement(v, 2), &mut len);
            assert_eq!(std::slice::from_raw_parts(big.cast::<u8>(), len), b"123");
            let mut format = std::ptr::null();
            let text = CallReplyVerbatim(CallReplySetElement(v, 3), &mut len, &mut format);
            assert_eq!(std::slice::from_raw_parts(text.cast::<u8>(), len), b"hi");
            assert_eq!(std::slice::from_raw_parts(format.cast::<u8>(), 3), b"txt");
            assert_eq!(CallReplyMapElement(r, 2, &mut k, &mut v), abi::ERR);
            assert!((*r).is_known_resp3());
            FreeCallReply(r);
        }
    }

    #[test]
    fn attributes_stand_before_their_reply() {
        let r = root(b"|1\r\n+k\r\n:7\r\n+OK\r\n");
        let mut v = std::ptr::null_mut();
        // SAFETY: layout: the test's own live reply.
        unsafe {
            assert_eq!(text_of(r), b"OK");
            let a = CallReplyAttribute(r);
            assert_eq!(CallReplyType(a), abi::REPLY_ATTRIBUTE);
            assert_eq!(CallReplyAttributeElement(a, 0, std::ptr::null_mut(), &mut v), abi::OK);
            assert_eq!(CallReplyInteger(v), 7);
            assert_eq!((*a).proto(), b"|1\r\n+k\r\n:7\r\n");
            FreeCallReply(r);
        }
    }

    #[test]
    fn a_nul_follows_the_protocol() {
        let r = root(b"$2\r\nab\r\n");
        // SAFETY: layout: the test's own live reply; the root's bytes end in a NUL.
        unsafe {
            let p = CallReplyStringPtr(r, std::ptr::null_mut());
            assert_eq!(std::ffi::CStr::from_ptr(p).to_bytes(), b"ab\r\n");
            FreeCallReply(r);
        }
    }

    #[test]
    fn what_is_no_protocol_is_unknown() {
        for bad in [
            &b"$5\r\nab\r\n"[..],
            b"*2\r\n:1\r\n",
            b"",
            b"x\r\n",
            b"%99999999999\r\n",
            b"=2\r\nab\r\n",
        ] {
            let r = root(bad);
            // SAFETY: layout: the test's own live reply.
            unsafe {
                assert_eq!(CallReplyType(r), abi::REPLY_UNKNOWN, "{bad:?}");
                FreeCallReply(r);
            }
        }
    }
}
