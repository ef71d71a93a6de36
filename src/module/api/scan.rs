//! `Scan` and `ScanKey`.
use super::key::{fail, key};
use crate::execute::handle::ScanPlace;
use crate::keyspace::entry::Entry;
use crate::keyspace::listpack::LpItem;
use crate::keyspace::number::{format_f64, NumBuf};
use crate::keyspace::value::ValueRef;
use crate::lock::held::Access;
use crate::module::abi;
use crate::module::border::set_errno;
use crate::module::context::Ctx;
use crate::module::key::{structure, Key};
use crate::module::string::RStr;
use libc::{EINVAL, ENOENT};
use std::ffi::{c_int, c_void};

/// `RedisModuleScanCursor`
pub struct ScanCursor {
    /// Where the scan stands; of a key, only the cursor counts.
    place: ScanPlace,
    done: bool,
}

/// A field and its value (null for sets), each with a reference of its own.
struct Element {
    field: *mut RStr,
    value: *mut RStr,
}

impl Drop for Element {
    fn drop(&mut self) {
        // SAFETY: ABI: our own references.
        unsafe {
            RStr::release(self.field);
            if !self.value.is_null() {
                RStr::release(self.value);
            }
        }
    }
}

fn string(item: LpItem<'_>) -> *mut RStr {
    RStr::new(item.bytes(&mut NumBuf::new()))
}

/// A score as `ScanKey` gives it for a large sorted set: 17 significant digits.
fn long_score(score: f64) -> *mut RStr {
    let mut buf = [0u8; 64];
    // SAFETY: layout: the text of a double with 17 digits is shorter than the buffer.
    let len =
        unsafe { libc::snprintf(buf.as_mut_ptr().cast(), buf.len(), c"%.17g".as_ptr(), score) };
    RStr::new(&buf[..len as usize])
}

/// Reads the elements of one step. Returns the next cursor, 0 at the end, or `None` for a value without elements.
fn elements(value: ValueRef<'_>, now: i64, cursor: u64, found: &mut Vec<Element>) -> Option<u64> {
    Some(match value {
        ValueRef::Hash(hash) => hash.scan(cursor, |e| {
            if !e.is_expired(now) {
                found.push(Element { field: string(e.field), value: string(e.value) });
            }
        }),
        ValueRef::Set(set) => set.scan(cursor, |member| {
            found.push(Element { field: string(member), value: std::ptr::null_mut() });
        }),
        ValueRef::Zset(set) => {
            let small = set.as_listpack().is_some();
            set.scan(cursor, |member, score| {
                let value = if small { RStr::new(&format_f64(score)) } else { long_score(score) };
                found.push(Element { field: string(member), value });
            })
        }
        _ => return None,
    })
}

crate::api! {
    /// A cursor at the beginning.
    [Free] fn ScanCursorCreate() -> *mut ScanCursor {
        Box::into_raw(Box::new(ScanCursor { place: ScanPlace::default(), done: false }))
    }

    /// Moves a cursor back to the beginning.
    [Free] fn ScanCursorRestart(cursor: *mut ScanCursor) {
        // SAFETY: ABI: a live cursor.
        unsafe { *cursor = ScanCursor { place: ScanPlace::default(), done: false } };
    }

    /// Frees a cursor.
    [Free] fn ScanCursorDestroy(cursor: *mut ScanCursor) {
        if !cursor.is_null() {
            // SAFETY: ABI: made by `ScanCursorCreate` and given up.
            drop(unsafe { Box::from_raw(cursor) });
        }
    }

    /// One step over the keys of the selected database: calls `f` for some of them. 0 at the end.
    [Locked] fn Scan(
        ctx: *mut Ctx,
        cursor: *mut ScanCursor,
        f: abi::ScanFn,
        data: *mut c_void,
    ) -> c_int {
        // SAFETY: ABI: a live context and cursor.
        let (c, at) = unsafe { (&*ctx, &mut *cursor) };
        if at.done {
            return fail(ENOENT, 0);
        }
        let db = c.session().db;
        let mut found: Vec<Entry> = Vec::new();
        let next = c.tx().scan_step(db, at.place, &mut found);
        let done = next.shard >= crate::keyspace::shard::SHARDS;
        (at.place, at.done) = (next, done);
        // Names first: a callback may delete any of the keys.
        let seen = structure();
        let found: Vec<(Entry, *mut RStr)> =
            found.into_iter().map(|e| (e, RStr::new(e.key()))).collect();
        for (entry, name) in found {
            // SAFETY: ABI: our own string, a live context; lock: held, and no latch is taken during the callback.
            unsafe {
                let entry = if structure() == seen {
                    Some(entry)
                } else {
                    (*ctx).tx().entry_in(db, RStr::bytes(name), Access::Read)
                };
                if entry.is_some() {
                    let mut key = Key::with_entry(ctx, name, abi::READ, entry);
                    key.db = db;
                    if let Some(f) = f {
                        f(ctx.cast(), name.cast(), (&raw mut key).cast(), data);
                    }
                }
                RStr::release(name);
            }
        }
        fail(0, c_int::from(!done))
    }

    /// One step over the elements of a hash, set or sorted set: calls `f` for some of them. 0 at the end.
    [Locked] fn ScanKey(
        handle: *mut Key,
        cursor: *mut ScanCursor,
        f: abi::ScanKeyFn,
        data: *mut c_void,
    ) -> c_int {
        // SAFETY: ABI: null or an open key, a live cursor.
        let (k, at) = unsafe { (key(handle), &mut *cursor) };
        let Some((k, value)) = k.and_then(|k| k.value().map(|v| (k, v))) else {
            return fail(EINVAL, 0);
        };
        if !matches!(value, ValueRef::Hash(_) | ValueRef::Set(_) | ValueRef::Zset(_)) {
            return fail(EINVAL, 0);
        }
        if at.done {
            return fail(ENOENT, 0);
        }
        let now = k.field_time();
        // Copies: a callback may change the value.
        let mut found = Vec::new();
        let next = elements(value, now, at.place.cursor, &mut found).unwrap_or(0);
        (at.place.cursor, at.done) = (next, next == 0);
        if let Some(f) = f {
            for e in &found {
                // SAFETY: ABI: registered for this signature; the strings live until the callback returns.
                unsafe { f(handle.cast(), e.field.cast(), e.value.cast(), data) };
            }
        }
        set_errno(0);
        c_int::from(next != 0)
    }
}
