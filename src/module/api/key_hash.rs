//! Hashes.
use super::key::{fail, key};
use super::{shim, Export, LockClass};
use crate::execute::Expiry;
use crate::keyspace::event;
use crate::keyspace::hash::HashLimits;
use crate::keyspace::number::NumBuf;
use crate::keyspace::value::{Kind, Value, ValueMut, ValueRef};
use crate::module::abi;
use crate::module::key::{with_tx, Key};
use crate::module::string::RStr;
use crate::server::Server;
use libc::{EBADF, EINVAL, ENOENT, ENOTSUP};
use std::ffi::{c_char, c_int, c_void, CStr};

crate::api! {
    /// When the first of all fields expires, Unix milliseconds; -1 if none does, or the key is no hash (Redis 8.0).
    [Locked] fn HashFieldMinExpire(handle: *mut Key) -> i64 {
        // SAFETY: ABI: null or an open key.
        let entry = unsafe { key(handle) }.and_then(|k| k.entry());
        match entry.as_ref().map(|e| e.value()) {
            Some(ValueRef::Hash(hash)) => hash.min_expire().unwrap_or(abi::NO_EXPIRE),
            _ => abi::NO_EXPIRE,
        }
    }
}

/// Functions of this family that are C shims (`ffi/shims.c`).
pub const SHIMS: &[Export] = &[
    shim("HashSet", LockClass::Locked, backplane_rm_HashSet),
    shim("HashGet", LockClass::Locked, backplane_rm_HashGet),
];

unsafe extern "C" {
    fn backplane_rm_HashSet();
    fn backplane_rm_HashGet();
}

/// A pair as the shim collected it: `BackplanePair` of `ffi/shims.h`.
#[repr(C)]
struct Pair {
    field: *const c_void,
    value: *mut c_void,
}

/// # Safety
/// ABI: a C string if `c_text`, else a live string.
unsafe fn field_text<'a>(field: *const c_void, c_text: bool) -> &'a [u8] {
    // SAFETY: ABI: this function's contract.
    unsafe {
        if c_text {
            CStr::from_ptr(field.cast::<c_char>()).to_bytes()
        } else {
            RStr::bytes(field.cast())
        }
    }
}

/// # Safety
/// ABI: `pairs` has `len` elements; null with length 0 is allowed.
unsafe fn pair_list<'a>(pairs: *const Pair, len: usize) -> &'a [Pair] {
    if len == 0 {
        return &[];
    }
    // SAFETY: ABI: this function's contract.
    unsafe { std::slice::from_raw_parts(pairs, len) }
}

/// Takes away a field whose time has come, as looking at it for a write does.
fn expire_field(key: &mut Key, field: &[u8]) {
    let Some(ValueMut::Hash(hash)) = key.value_mut() else { return };
    hash.remove(field);
    let (db, name) = (key.db, key.name());
    Server::get().stats.expired_fields.add(1);
    with_tx(key.ctx(), |tx| {
        tx.propagate_also(&[b"HDEL", name, field]);
        tx.notify_in(db, &event::HEXPIRED, name);
        tx.modified_in(db, name);
    });
}

/// `HashSet`: sets and deletes fields. Returns how many there were before and changed, with `COUNT_ALL` also how many
/// are new; for 0, errno tells why.
///
/// # Safety
/// As `ffi/shims.h` says: called by the shim of `HashSet`.
#[unsafe(no_mangle)]
unsafe extern "C" fn backplane_hash_set_impl(
    handle: *mut Key,
    flags: c_int,
    pairs: *const c_void,
    len: usize,
) -> c_int {
    super::enter(&"HashSet", LockClass::Locked);
    const KNOWN: c_int = abi::HASH_NX | abi::HASH_XX | abi::HASH_CFIELDS | abi::HASH_COUNT_ALL;
    // SAFETY: ABI: null or an open key; the shim's list.
    let (k, pairs) = unsafe { (key(handle), pair_list(pairs.cast(), len)) };
    let Some(k) = k.filter(|_| flags & !KNOWN == 0) else { return fail(EINVAL, 0) };
    match k.kind() {
        Some(Kind::Hash) | None if !k.writable() => return fail(EBADF, 0),
        Some(Kind::Hash) => {}
        None => k.put(Value::Hash(Box::default()), Expiry::Clear),
        Some(_) => return fail(ENOTSUP, 0),
    }
    let config = &Server::get().config;
    let limits = HashLimits {
        max_listpack_entries: config.hash_max_listpack_entries(),
        max_listpack_value: config.hash_max_listpack_value(),
    };
    let now = k.ctx().time();
    let mut count = 0;
    for pair in pairs {
        // SAFETY: ABI: the flag tells what the fields are.
        let field = unsafe { field_text(pair.field, flags & abi::HASH_CFIELDS != 0) };
        if flags & (abi::HASH_XX | abi::HASH_NX) != 0 {
            let Some(ValueRef::Hash(hash)) = k.value() else { break };
            let found = hash.get(field);
            let expired = found.is_some_and(|e| e.is_expired(now));
            let exists = found.is_some() && !expired;
            if expired && flags & abi::HASH_XX == 0 {
                expire_field(k, field);
            }
            if (flags & abi::HASH_XX != 0 && !exists) || (flags & abi::HASH_NX != 0 && exists) {
                continue;
            }
        }
        let Some(ValueMut::Hash(hash)) = k.value_mut() else { break };
        if pair.value as usize == abi::HASH_DELETE {
            count += c_int::from(hash.remove(field));
            continue;
        }
        // SAFETY: ABI: any other value is a live string.
        let value = unsafe { RStr::bytes(pair.value.cast()) };
        let new = hash.set(field, value, &limits);
        count += c_int::from(!new || flags & abi::HASH_COUNT_ALL != 0);
    }
    k.delete_if_empty();
    if count == 0 {
        return fail(ENOENT, 0);
    }
    count
}

/// `HashGet`: a new string for each field, null for a missing one; or, with `EXISTS`, whether it exists, with
/// `EXPIRE_TIME` (Redis 8.0) when it expires, -1 for never and for a missing one. ERR if the key has another type.
///
/// # Safety
/// As `ffi/shims.h` says: called by the shim of `HashGet`.
#[unsafe(no_mangle)]
unsafe extern "C" fn backplane_hash_get_impl(
    handle: *mut Key,
    flags: c_int,
    pairs: *const c_void,
    len: usize,
) -> c_int {
    super::enter(&"HashGet", LockClass::Locked);
    // SAFETY: ABI: an open key; the shim's list.
    let (k, pairs) = unsafe { (key(handle), pair_list(pairs.cast::<Pair>(), len)) };
    const EITHER: c_int = abi::HASH_EXISTS | abi::HASH_EXPIRE_TIME;
    let Some(k) = k.filter(|_| flags & EITHER != EITHER) else { return abi::ERR };
    let hash = match k.value() {
        Some(ValueRef::Hash(hash)) => Some(hash),
        None => None,
        Some(_) => return abi::ERR,
    };
    let now = k.field_time();
    let mut buf = NumBuf::new();
    for pair in pairs {
        // SAFETY: ABI: the flag tells what the fields are.
        let field = unsafe { field_text(pair.field, flags & abi::HASH_CFIELDS != 0) };
        let found = hash.and_then(|h| h.get(field)).filter(|e| !e.is_expired(now));
        if flags & abi::HASH_EXISTS != 0 {
            // SAFETY: ABI: with this flag, a place for an int.
            unsafe { *pair.value.cast::<c_int>() = c_int::from(found.is_some()) };
            continue;
        }
        if flags & abi::HASH_EXPIRE_TIME != 0 {
            let at = found.and_then(|e| e.expire).unwrap_or(abi::NO_EXPIRE);
            // SAFETY: ABI: with this flag, a place for a time.
            unsafe { *pair.value.cast::<i64>() = at };
            continue;
        }
        let value = match found {
            Some(e) => k.new_string(e.value.bytes(&mut buf)),
            None => std::ptr::null_mut(),
        };
        // SAFETY: ABI: without these flags, a place for a string.
        unsafe { *pair.value.cast::<*mut RStr>() = value };
    }
    abi::OK
}
