//! `OpenKey` and what concerns keys of any type; string values; LRU and LFU.
use crate::execute::handle::terminate;
use crate::execute::Expiry;
use crate::keyspace::evict::lfu_count;
use crate::keyspace::value::{Kind, StringValue, Value, ValueRef};
use crate::lock::held::Access;
use crate::module::abi;
use crate::module::border::set_errno;
use crate::module::context::{Auto, Ctx};
use crate::module::key::{look_up, with_tx, Key};
use crate::module::string::RStr;
use crate::server::Server;
use std::ffi::{c_char, c_int, c_void};

const OK: c_int = abi::OK;
const ERR: c_int = abi::ERR;
/// The longest string that `StringTruncate` makes.
const MAX_STRING: usize = 512 << 20;

/// The result of a function that failed with an errno.
pub fn fail<R>(number: c_int, result: R) -> R {
    set_errno(number);
    result
}

/// Frees a handle that automatic memory management owes.
pub fn free_auto(_ctx: &mut Ctx, handle: *mut c_void) {
    // SAFETY: ABI: automatic memory owns the handle, and gives it up.
    unsafe { Key::close(handle.cast()) };
}

/// A key argument, null allowed.
///
/// # Safety
/// ABI: null or an open key, used by one function at a time.
#[inline]
pub unsafe fn key<'a>(key: *mut Key) -> Option<&'a mut Key> {
    // SAFETY: ABI: this function's contract.
    unsafe { key.as_mut() }
}

fn lru_clock(now_ms: i64) -> i64 {
    (now_ms / 1000) & 0xff_ffff
}

/// Sets or clears the expiry of an open key; the time is absolute.
fn set_expire(key: &mut Key, at: Option<i64>) -> c_int {
    let (db, name) = (key.db, key.name());
    with_tx(key.ctx(), |tx| tx.set_expire_in(db, name, at));
    OK
}

crate::api! {
    /// 1 if a key exists; does not count as an access.
    [Locked] fn KeyExists(ctx: *mut Ctx, name: *mut RStr) -> c_int {
        // SAFETY: ABI: a live context and string.
        let (ctx, name) = unsafe { (&mut *ctx, RStr::bytes(name)) };
        let mode = abi::READ | abi::OPEN_KEY_NOTOUCH;
        c_int::from(with_tx(ctx, |tx| look_up(tx, name, mode)).is_some())
    }

    /// Opens a key. Null for a missing key that is not opened for writing.
    [Locked] fn OpenKey(ctx: *mut Ctx, name: *mut RStr, mode: c_int) -> *mut Key {
        // SAFETY: ABI: a live context and string; lock: held.
        unsafe { Key::open(ctx, name, mode) }
    }

    /// All modes of `OpenKey` that this server knows; one of Redis 8.0 among them.
    [Free] fn GetOpenKeyModesAll() -> c_int {
        abi::OPEN_KEY_ALL | abi::OPEN_KEY_ACCESS_EXPIRED
    }

    /// Closes a key; null is allowed. A key that was open for writing counts as modified.
    [Locked] fn CloseKey(handle: *mut Key) {
        // SAFETY: ABI: null or an open key, given up here.
        unsafe {
            let Some(k) = key(handle) else { return };
            k.ctx().forget(Auto::Key(handle.cast()));
            Key::close(handle);
        }
    }

    /// The type of the value; 0 for null and for an empty key.
    [Locked] fn KeyType(handle: *mut Key) -> c_int {
        // SAFETY: ABI: null or an open key.
        unsafe { key(handle) }.and_then(Key::kind).map_or(abi::KEYTYPE_EMPTY, |kind| kind as c_int)
    }

    /// Length of the value: bytes of a string, elements of anything else, 0 for a module's value.
    [Locked] fn ValueLength(handle: *mut Key) -> usize {
        // SAFETY: ABI: null or an open key.
        match unsafe { key(handle) }.and_then(Key::value) {
            Some(ValueRef::String(s)) => s.len(),
            Some(ValueRef::List(v)) => v.len(),
            Some(ValueRef::Set(v)) => v.len(),
            Some(ValueRef::Hash(v)) => v.len(),
            Some(ValueRef::Zset(v)) => v.len(),
            Some(ValueRef::Stream(v)) => v.len() as usize,
            Some(ValueRef::Module(_)) | None => 0,
        }
    }

    /// Deletes the key; the handle is then that of an empty key.
    [Locked] fn DeleteKey(handle: *mut Key) -> c_int {
        // SAFETY: ABI: an open key.
        match unsafe { key(handle) } {
            Some(k) if k.writable() => {
                k.delete();
                OK
            }
            _ => ERR,
        }
    }

    /// As `DeleteKey`.
    [Locked] fn UnlinkKey(handle: *mut Key) -> c_int {
        // SAFETY: ABI: an open key.
        match unsafe { key(handle) } {
            Some(k) if k.writable() => {
                k.delete();
                OK
            }
            _ => ERR,
        }
    }

    /// Remaining time to live in milliseconds, -1 without expiry.
    [Locked] fn GetExpire(handle: *mut Key) -> i64 {
        // SAFETY: ABI: an open key.
        let Some(k) = (unsafe { key(handle) }) else { return abi::NO_EXPIRE };
        match k.entry().and_then(|e| e.expire()) {
            Some(at) => (at - k.ctx().time()).max(0),
            None => abi::NO_EXPIRE,
        }
    }

    /// Sets the time to live in milliseconds; -1 clears the expiry.
    [Locked] fn SetExpire(handle: *mut Key, ttl: i64) -> c_int {
        // SAFETY: ABI: an open key.
        let Some(k) = (unsafe { key(handle) }).filter(|k| k.writable()) else { return ERR };
        if ttl < abi::NO_EXPIRE || k.entry().is_none() {
            return ERR;
        }
        let now = k.ctx().time();
        set_expire(k, (ttl != abi::NO_EXPIRE).then(|| now.wrapping_add(ttl)))
    }

    /// When the key expires, Unix milliseconds, -1 without expiry.
    [Locked] fn GetAbsExpire(handle: *mut Key) -> i64 {
        // SAFETY: ABI: an open key.
        let entry = unsafe { key(handle) }.and_then(Key::entry);
        entry.and_then(|e| e.expire()).unwrap_or(abi::NO_EXPIRE)
    }

    /// Sets when the key expires, Unix milliseconds; -1 clears the expiry.
    [Locked] fn SetAbsExpire(handle: *mut Key, at: i64) -> c_int {
        // SAFETY: ABI: an open key.
        let Some(k) = (unsafe { key(handle) }).filter(|k| k.writable()) else { return ERR };
        if at < abi::NO_EXPIRE || k.entry().is_none() {
            return ERR;
        }
        set_expire(k, (at != abi::NO_EXPIRE).then_some(at))
    }

    /// The name of an open key, owned by the handle.
    [Locked] fn GetKeyNameFromModuleKey(handle: *mut Key) -> *const RStr {
        // SAFETY: ABI: null or an open key.
        unsafe { key(handle) }.map_or(std::ptr::null(), |k| k.name_str().cast_const())
    }

    /// The database of an open key, -1 for null.
    [Locked] fn GetDbIdFromModuleKey(handle: *mut Key) -> c_int {
        // SAFETY: ABI: null or an open key.
        unsafe { key(handle) }.map_or(-1, |k| k.db as c_int)
    }

    /// Tells watchers that a key was modified.
    [Locked] fn SignalModifiedKey(ctx: *mut Ctx, name: *mut RStr) -> c_int {
        // SAFETY: ABI: a live context and string.
        let (ctx, name) = unsafe { (&mut *ctx, RStr::bytes(name)) };
        with_tx(ctx, |tx| tx.modified(name));
        OK
    }

    /// Sets a key to a string, without expiry.
    [Locked] fn StringSet(handle: *mut Key, text: *mut RStr) -> c_int {
        // SAFETY: ABI: an open key and a live string.
        let (k, text) = unsafe { (key(handle), RStr::bytes(text)) };
        let Some(k) = k.filter(|k| k.writable()) else { return ERR };
        if matches!(k.walk, crate::module::key::Walk::Stream(_)) {
            return ERR;
        }
        k.delete();
        // Kept as text, also when it is a number: that is what `OBJECT ENCODING` shows on Redis.
        k.put(Value::String(StringValue::Bytes(text.to_vec())), Expiry::Clear);
        OK
    }

    /// The text of a string in place, with a NUL behind it; null for another type. Without a value: an address that
    /// must not be written to, and length 0.
    [Locked] fn StringDMA(handle: *mut Key, len: *mut usize, mode: c_int) -> *mut c_char {
        // SAFETY: ABI: an open key and a place for the length.
        let (k, len) = unsafe { (key(handle), &mut *len) };
        let Some(k) = k else { return std::ptr::null_mut() };
        if k.entry().is_none() {
            *len = 0;
            return c"(no value)".as_ptr().cast_mut();
        }
        let access = if mode & abi::WRITE != 0 { Access::Write } else { Access::Read };
        let (db, name) = (k.db, k.name());
        let Some(buffer) = k.ctx().tx().heap_string_in(db, name, access) else {
            return std::ptr::null_mut();
        };
        // SAFETY: lock: the key is held, so its heap string stays.
        let buffer = unsafe { &mut *buffer };
        *len = buffer.len();
        buffer.as_mut_ptr().cast()
    }

    /// Makes a string longer, with zero bytes, or shorter. An empty key becomes a string.
    [Locked] fn StringTruncate(handle: *mut Key, len: usize) -> c_int {
        // SAFETY: ABI: an open key.
        let Some(k) = (unsafe { key(handle) }).filter(|k| k.writable()) else { return ERR };
        match k.kind() {
            Some(Kind::String) if len <= MAX_STRING => {
                let (db, name) = (k.db, k.name());
                let Some(buffer) = k.ctx().tx().heap_string_in(db, name, Access::Write) else {
                    return ERR;
                };
                // SAFETY: lock: the key is held for writing.
                let buffer = unsafe { &mut *buffer };
                buffer.resize(len, 0);
                if buffer.capacity() > 2 * len + 64 {
                    buffer.shrink_to(len + 1);
                }
                terminate(buffer);
                OK
            }
            None if len <= MAX_STRING => {
                if len > 0 {
                    k.put(Value::String(StringValue::Bytes(vec![0; len])), Expiry::Clear);
                }
                OK
            }
            _ => ERR,
        }
    }

    /// Sets the time since the last access, in milliseconds. ERR under an LFU policy.
    [Locked] fn SetLRU(handle: *mut Key, idle: i64) -> c_int {
        // SAFETY: ABI: an open key.
        let Some(k) = (unsafe { key(handle) }) else { return ERR };
        let Some(e) = k.entry() else { return ERR };
        if idle < 0 || Server::get().lfu.load(std::sync::atomic::Ordering::Relaxed) {
            return ERR;
        }
        let clock = lru_clock(k.ctx().time()) - idle / 1000;
        e.set_clock((clock & 0xff_ffff) as u32);
        OK
    }

    /// The time since the last access, in milliseconds; -1 under an LFU policy.
    [Locked] fn GetLRU(handle: *mut Key, idle: *mut i64) -> c_int {
        // SAFETY: ABI: an open key and a place for a number.
        let (k, idle) = unsafe { (key(handle), &mut *idle) };
        *idle = -1;
        let Some(k) = k else { return ERR };
        let Some(e) = k.entry() else { return ERR };
        if !Server::get().lfu.load(std::sync::atomic::Ordering::Relaxed) {
            let now = lru_clock(k.ctx().time());
            *idle = ((now - i64::from(e.clock())) & 0xff_ffff) * 1000;
        }
        OK
    }

    /// Sets the access frequency, 0 to 255. ERR unless under an LFU policy.
    [Locked] fn SetLFU(handle: *mut Key, freq: i64) -> c_int {
        // SAFETY: ABI: an open key.
        let Some(k) = (unsafe { key(handle) }) else { return ERR };
        let Some(e) = k.entry() else { return ERR };
        let lfu = Server::get().lfu.load(std::sync::atomic::Ordering::Relaxed);
        if !lfu || !(0..=255).contains(&freq) {
            return ERR;
        }
        let minutes = (k.ctx().time() / 60_000) as u32 & 0xffff;
        e.set_clock(minutes << 8 | freq as u32);
        OK
    }

    /// The access frequency; -1 unless under an LFU policy.
    [Locked] fn GetLFU(handle: *mut Key, freq: *mut i64) -> c_int {
        // SAFETY: ABI: an open key and a place for a number.
        let (k, freq) = unsafe { (key(handle), &mut *freq) };
        *freq = -1;
        let Some(k) = k else { return ERR };
        let Some(e) = k.entry() else { return ERR };
        let server = Server::get();
        if server.lfu.load(std::sync::atomic::Ordering::Relaxed) {
            let decay = server.config.lfu_decay_time() as u32;
            *freq = i64::from(lfu_count(k.ctx().time(), e.clock(), decay));
        }
        OK
    }
}
