//! The Dictionary API: byte strings to pointers, in bytewise order.
use super::string::{bytes_of, make};
use crate::keyspace::defrag::relocate;
use crate::module::abi;
use crate::module::context::{Auto, Ctx};
use crate::module::defrag::DefragCtx;
use crate::module::string::RStr;
use std::borrow::Borrow;
use std::cell::UnsafeCell;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::ffi::{c_char, c_int, c_void, CStr};
use std::ops::Bound::{self, Excluded, Included, Unbounded};

/// A key. Its bytes can be moved to another place while it stays where it is in the order.
struct Key(UnsafeCell<Box<[u8]>>);

impl Key {
    fn bytes(&self) -> &[u8] {
        // SAFETY: lock: only `relocate` changes the cell, and its caller has no such reference.
        unsafe { &*self.0.get() }
    }

    /// Moves the bytes to a better place, where that is worth it; whether they were moved.
    ///
    /// # Safety
    /// Nobody else uses the key meanwhile.
    unsafe fn relocate(&self) -> bool {
        // SAFETY: ABI: this function's contract.
        let place = unsafe { &mut *self.0.get() };
        if place.is_empty() {
            return false;
        }
        // SAFETY: layout: the box is the only pointer to its block; if that is moved, it is gone from its old place.
        unsafe {
            let Some(new) = relocate(place.as_mut_ptr()) else { return false };
            let bytes = std::ptr::slice_from_raw_parts_mut(new, place.len());
            std::ptr::write(place, Box::from_raw(bytes));
        }
        true
    }
}

impl Borrow<[u8]> for Key {
    fn borrow(&self) -> &[u8] {
        self.bytes()
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Key) -> Ordering {
        self.bytes().cmp(other.bytes())
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Key) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Key) -> bool {
        self.bytes() == other.bytes()
    }
}

impl Eq for Key {}

/// `RedisModuleDict`.
#[derive(Default)]
pub struct Dict {
    map: BTreeMap<Key, *mut c_void>,
    /// Bytes of all keys.
    key_bytes: usize,
}

/// Which way an iterator goes.
#[derive(Clone, Copy)]
enum Way {
    Forward,
    Back,
}

/// `RedisModuleDictIter`. It remembers its key and looks for it anew at each step, so the dictionary may change below it.
pub struct DictIter {
    dict: *mut Dict,
    /// The current key; what `DictNextC` gave out points here.
    key: Vec<u8>,
    /// The current key was not given out yet: the next step, either way, gives it.
    fresh: bool,
    /// Beyond an end: only a new seek helps.
    ended: bool,
}

/// What an operator compares with, as `DictIteratorStart` and `DictCompare` read it.
struct Operator {
    equal: bool,
    order: Option<Ordering>,
}

fn operator(op: &[u8]) -> Option<Operator> {
    let equal = op.get(1) == Some(&b'=');
    match op.first()? {
        b'>' => Some(Operator { equal, order: Some(Ordering::Greater) }),
        b'<' => Some(Operator { equal, order: Some(Ordering::Less) }),
        b'=' => Some(Operator { equal: true, order: None }),
        _ => None,
    }
}

impl Dict {
    fn get(&self, key: &[u8]) -> Option<*mut c_void> {
        self.map.get(key).copied()
    }

    /// Sets a key. Returns whether it is new; an old one is left alone unless `replace`.
    fn set(&mut self, key: &[u8], value: *mut c_void, replace: bool) -> bool {
        if let Some(old) = self.map.get_mut(key) {
            if replace {
                *old = value;
            }
            return false;
        }
        self.key_bytes += key.len();
        self.map.insert(Key(UnsafeCell::new(key.into())), value);
        true
    }

    fn remove(&mut self, key: &[u8]) -> Option<*mut c_void> {
        let old = self.map.remove(key)?;
        self.key_bytes -= key.len();
        Some(old)
    }

    /// The entry nearest to a bound in a direction.
    fn nearest(&self, from: Bound<&[u8]>, way: Way) -> Option<(&[u8], *mut c_void)> {
        let found = match way {
            Way::Forward => self.map.range::<[u8], _>((from, Unbounded)).next(),
            Way::Back => self.map.range::<[u8], _>((Unbounded, from)).next_back(),
        };
        found.map(|(k, v)| (k.bytes(), *v))
    }
}

impl DictIter {
    /// Moves to the first key that an operator names. False for what is no operator.
    fn seek(&mut self, dict: &Dict, op: &[u8], key: &[u8]) -> bool {
        let found = match op.first() {
            Some(b'^') => dict.nearest(Unbounded, Way::Forward),
            Some(b'$') => dict.nearest(Unbounded, Way::Back),
            _ => {
                let Some(Operator { equal, order }) = operator(op) else {
                    self.ended = true;
                    return false;
                };
                let from = if equal { Included(key) } else { Excluded(key) };
                match order {
                    Some(Ordering::Greater) => dict.nearest(from, Way::Forward),
                    Some(_) => dict.nearest(from, Way::Back),
                    None => dict.get(key).map(|v| (key, v)),
                }
            }
        };
        let found = found.map(|(k, _)| k.to_vec());
        self.ended = found.is_none();
        self.fresh = true;
        self.key = found.unwrap_or_default();
        true
    }

    /// One step: the value there, with the key in `self.key`.
    fn step(&mut self, dict: &Dict, way: Way) -> Option<*mut c_void> {
        if self.ended {
            return None;
        }
        let from =
            if self.fresh { Included(self.key.as_slice()) } else { Excluded(self.key.as_slice()) };
        let Some((key, value)) = dict.nearest(from, way) else {
            self.ended = true;
            return None;
        };
        let key = key.to_vec();
        self.fresh = false;
        self.key = key;
        Some(value)
    }

    fn compare(&self, op: &[u8], key: &[u8]) -> bool {
        let Some(Operator { equal, order }) = operator(op).filter(|_| !self.ended) else {
            return false;
        };
        let is = self.key.as_slice().cmp(key);
        equal && is == Ordering::Equal || order == Some(is)
    }
}

/// `DefragRedisModuleDict`: the dictionary's new address, and the key to go on with.
///
/// # Safety
/// ABI: the context of a running callback, and a live dictionary that only the module points to.
pub unsafe fn defrag(
    ctx: *mut DefragCtx,
    dict: *mut Dict,
    callback: abi::DefragDictFn,
    from: Option<Vec<u8>>,
) -> (Option<*mut Dict>, Option<Vec<u8>>) {
    let mut moved = None;
    if from.is_none() {
        // SAFETY: ABI: this function's contract.
        unsafe {
            moved = relocate(dict);
            (*ctx).moves.count(moved.is_some());
        }
    }
    let dict = moved.unwrap_or(dict);
    // The module is not to change the dictionary meanwhile, but if it does, the next key is looked for.
    // SAFETY: ABI: this function's contract; no reference into the dictionary is kept over the callback.
    let after = |bound: Bound<&[u8]>| unsafe {
        (*dict).nearest(bound, Way::Forward).map(|(k, v)| (k.to_vec(), v))
    };
    let mut at = match &from {
        Some(key) => after(Included(key)),
        None => after(Unbounded),
    };
    while let Some((mut key, value)) = at {
        let (mut new, mut more) = (std::ptr::null_mut(), 0);
        // SAFETY: ABI: registered for this signature; as above.
        unsafe {
            if let Some((k, _)) = (*dict).map.get_key_value(key.as_slice()) {
                let hit = k.relocate();
                (*ctx).moves.count(hit);
            }
            if let Some(f) = callback {
                more = f(ctx.cast(), value, key.as_mut_ptr(), key.len(), &raw mut new);
            }
            if let (Some(place), false) = ((*dict).map.get_mut(key.as_slice()), new.is_null()) {
                *place = new;
            }
            if more != 0 {
                return (moved, Some(key));
            }
        }
        at = after(Excluded(&key));
        // SAFETY: ABI: as above.
        if unsafe { (*ctx).is_over() } {
            return (moved, at.map(|(k, _)| k));
        }
    }
    (moved, None)
}

/// Frees a handle that automatic memory management owes.
pub fn free_auto(_ctx: &mut Ctx, handle: *mut c_void) {
    // SAFETY: ABI: automatic memory was told of this dictionary, and the module did not free it.
    drop(unsafe { Box::from_raw(handle.cast::<Dict>()) });
}

/// # Safety
/// ABI: a live iterator of a live dictionary; `len` and `value` are null or places for their results.
unsafe fn next(
    iter: *mut DictIter,
    way: Way,
    len: *mut usize,
    value: *mut *mut c_void,
) -> *mut c_void {
    // SAFETY: ABI: this function's contract.
    unsafe {
        let iter = &mut *iter;
        let Some(found) = iter.step(&*iter.dict, way) else { return std::ptr::null_mut() };
        if !len.is_null() {
            *len = iter.key.len();
        }
        if !value.is_null() {
            *value = found;
        }
        iter.key.as_mut_ptr().cast()
    }
}

/// # Safety
/// ABI: as for [`next`].
unsafe fn next_string(
    ctx: *mut Ctx,
    iter: *mut DictIter,
    way: Way,
    value: *mut *mut c_void,
) -> *mut RStr {
    // SAFETY: ABI: this function's contract.
    unsafe {
        if next(iter, way, std::ptr::null_mut(), value).is_null() {
            return std::ptr::null_mut();
        }
        make(ctx, &(*iter).key)
    }
}

/// # Safety
/// ABI: a live dictionary and a C string.
unsafe fn start(dict: *mut Dict, op: *const c_char, key: &[u8]) -> *mut DictIter {
    let mut iter = Box::new(DictIter { dict, key: Vec::new(), fresh: true, ended: true });
    // SAFETY: ABI: this function's contract.
    unsafe { iter.seek(&*dict, CStr::from_ptr(op).to_bytes(), key) };
    Box::into_raw(iter)
}

/// # Safety
/// ABI: a live dictionary; `missing` is null or a place for an integer.
unsafe fn get(dict: *const Dict, key: &[u8], missing: *mut c_int) -> *mut c_void {
    // SAFETY: ABI: this function's contract.
    unsafe {
        let found = (*dict).get(key);
        if !missing.is_null() {
            *missing = c_int::from(found.is_none());
        }
        found.unwrap_or(std::ptr::null_mut())
    }
}

/// # Safety
/// ABI: a live dictionary; `old` is null or a place for a pointer.
unsafe fn delete(dict: *mut Dict, key: &[u8], old: *mut c_void) -> c_int {
    // SAFETY: ABI: this function's contract.
    unsafe {
        let Some(value) = (*dict).remove(key) else { return abi::ERR };
        if !old.is_null() {
            *old.cast::<*mut c_void>() = value;
        }
    }
    abi::OK
}

fn status(ok: bool) -> c_int {
    if ok {
        abi::OK
    } else {
        abi::ERR
    }
}

api! {
    /// A new dictionary; the context may be null.
    [Free] fn CreateDict(ctx: *mut Ctx) -> *mut Dict {
        let dict = Box::into_raw(Box::<Dict>::default());
        // SAFETY: ABI: null or a live context.
        if let Some(ctx) = unsafe { ctx.as_mut() } {
            ctx.remember(Auto::Dict(dict.cast()));
        }
        dict
    }

    /// Frees a dictionary, not what its values point to; the context may be null.
    [Free] fn FreeDict(ctx: *mut Ctx, dict: *mut Dict) {
        // SAFETY: ABI: null or a live context, and a live dictionary that is given up.
        unsafe {
            if let Some(ctx) = ctx.as_mut() {
                ctx.forget(Auto::Dict(dict.cast()));
            }
            drop(Box::from_raw(dict));
        }
    }

    /// Number of keys.
    [Free] fn DictSize(dict: *const Dict) -> u64 {
        // SAFETY: ABI: a live dictionary.
        unsafe { (*dict).map.len() as u64 }
    }

    /// Adds a key; fails if it exists.
    [Free] fn DictSetC(dict: *mut Dict, key: *const c_char, len: usize, value: *mut c_void) -> c_int {
        // SAFETY: ABI: a live dictionary and a buffer of this length.
        unsafe { status((*dict).set(bytes_of(key, len), value, false)) }
    }

    /// Sets a key; OK if it is new, ERR if it was replaced.
    [Free] fn DictReplaceC(
        dict: *mut Dict,
        key: *const c_char,
        len: usize,
        value: *mut c_void,
    ) -> c_int {
        // SAFETY: ABI: a live dictionary and a buffer of this length.
        unsafe { status((*dict).set(bytes_of(key, len), value, true)) }
    }

    /// As `DictSetC`, by string.
    [Free] fn DictSet(dict: *mut Dict, key: *const RStr, value: *mut c_void) -> c_int {
        // SAFETY: ABI: a live dictionary and a live string.
        unsafe { status((*dict).set(RStr::bytes(key), value, false)) }
    }

    /// As `DictReplaceC`, by string.
    [Free] fn DictReplace(dict: *mut Dict, key: *const RStr, value: *mut c_void) -> c_int {
        // SAFETY: ABI: a live dictionary and a live string.
        unsafe { status((*dict).set(RStr::bytes(key), value, true)) }
    }

    /// The value of a key, and through `missing` whether there is none.
    [Free] fn DictGetC(
        dict: *const Dict,
        key: *const c_char,
        len: usize,
        missing: *mut c_int,
    ) -> *mut c_void {
        // SAFETY: ABI: a live dictionary, a buffer of this length, null or a place.
        unsafe { get(dict, bytes_of(key, len), missing) }
    }

    /// As `DictGetC`, by string.
    [Free] fn DictGet(dict: *const Dict, key: *const RStr, missing: *mut c_int) -> *mut c_void {
        // SAFETY: ABI: a live dictionary, a live string, null or a place.
        unsafe { get(dict, RStr::bytes(key), missing) }
    }

    /// Deletes a key and gives its value through `old`; fails if there is none.
    [Free] fn DictDelC(dict: *mut Dict, key: *const c_char, len: usize, old: *mut c_void) -> c_int {
        // SAFETY: ABI: a live dictionary, a buffer of this length, null or a place.
        unsafe { delete(dict, bytes_of(key, len), old) }
    }

    /// As `DictDelC`, by string.
    [Free] fn DictDel(dict: *mut Dict, key: *const RStr, old: *mut c_void) -> c_int {
        // SAFETY: ABI: a live dictionary, a live string, null or a place.
        unsafe { delete(dict, RStr::bytes(key), old) }
    }

    /// An iterator at the first key that the operator (`^`, `$`, `>`, `>=`, `<`, `<=`, `==`) names.
    [Free] fn DictIteratorStartC(
        dict: *mut Dict,
        op: *const c_char,
        key: *const c_char,
        len: usize,
    ) -> *mut DictIter {
        // SAFETY: ABI: a live dictionary, a C string and a buffer of this length.
        unsafe { start(dict, op, bytes_of(key, len)) }
    }

    /// As `DictIteratorStartC`, by string.
    [Free] fn DictIteratorStart(
        dict: *mut Dict,
        op: *const c_char,
        key: *const RStr,
    ) -> *mut DictIter {
        // SAFETY: ABI: a live dictionary, a C string, and null or a live string.
        unsafe { start(dict, op, if key.is_null() { b"" } else { RStr::bytes(key) }) }
    }

    /// Frees an iterator.
    [Free] fn DictIteratorStop(iter: *mut DictIter) {
        // SAFETY: ABI: a live iterator that is given up.
        drop(unsafe { Box::from_raw(iter) });
    }

    /// Moves an iterator. Returns 1, or 0 for what is no operator.
    [Free] fn DictIteratorReseekC(
        iter: *mut DictIter,
        op: *const c_char,
        key: *const c_char,
        len: usize,
    ) -> c_int {
        // SAFETY: ABI: a live iterator of a live dictionary, a C string and a buffer of this length.
        unsafe {
            let dict = &*(*iter).dict;
            c_int::from((*iter).seek(dict, CStr::from_ptr(op).to_bytes(), bytes_of(key, len)))
        }
    }

    /// As `DictIteratorReseekC`, by string.
    [Free] fn DictIteratorReseek(
        iter: *mut DictIter,
        op: *const c_char,
        key: *const RStr,
    ) -> c_int {
        // SAFETY: ABI: a live iterator of a live dictionary, a C string, and null or a live string.
        unsafe {
            let dict = &*(*iter).dict;
            let key = if key.is_null() { b"" } else { RStr::bytes(key) };
            c_int::from((*iter).seek(dict, CStr::from_ptr(op).to_bytes(), key))
        }
    }

    /// The next key, valid until the next step, with its length and value; null at the end.
    [Free] fn DictNextC(
        iter: *mut DictIter,
        len: *mut usize,
        value: *mut *mut c_void,
    ) -> *mut c_void {
        // SAFETY: ABI: a live iterator of a live dictionary, null or places.
        unsafe { next(iter, Way::Forward, len, value) }
    }

    /// The key before, as `DictNextC`.
    [Free] fn DictPrevC(
        iter: *mut DictIter,
        len: *mut usize,
        value: *mut *mut c_void,
    ) -> *mut c_void {
        // SAFETY: ABI: a live iterator of a live dictionary, null or places.
        unsafe { next(iter, Way::Back, len, value) }
    }

    /// The next key as a new string; null at the end.
    [Free] fn DictNext(ctx: *mut Ctx, iter: *mut DictIter, value: *mut *mut c_void) -> *mut RStr {
        // SAFETY: ABI: null or a live context, a live iterator of a live dictionary, null or a place.
        unsafe { next_string(ctx, iter, Way::Forward, value) }
    }

    /// The key before as a new string; null at the end.
    [Free] fn DictPrev(ctx: *mut Ctx, iter: *mut DictIter, value: *mut *mut c_void) -> *mut RStr {
        // SAFETY: ABI: null or a live context, a live iterator of a live dictionary, null or a place.
        unsafe { next_string(ctx, iter, Way::Back, value) }
    }

    /// OK if the current key is as the operator says, compared with this one; ERR if not, or at the end.
    [Free] fn DictCompareC(
        iter: *mut DictIter,
        op: *const c_char,
        key: *const c_char,
        len: usize,
    ) -> c_int {
        // SAFETY: ABI: a live iterator, a C string and a buffer of this length.
        unsafe { status((*iter).compare(CStr::from_ptr(op).to_bytes(), bytes_of(key, len))) }
    }

    /// As `DictCompareC`, by string.
    [Free] fn DictCompare(iter: *mut DictIter, op: *const c_char, key: *const RStr) -> c_int {
        // SAFETY: ABI: a live iterator, a C string and a live string.
        unsafe { status((*iter).compare(CStr::from_ptr(op).to_bytes(), RStr::bytes(key))) }
    }

    /// Bytes that a dictionary takes, about.
    [Free] fn MallocSizeDict(dict: *const Dict) -> usize {
        // SAFETY: ABI: a live dictionary.
        let d = unsafe { &*dict };
        let entry = std::mem::size_of::<(Box<[u8]>, *mut c_void)>();
        std::mem::size_of::<Dict>() + d.key_bytes + d.map.len() * entry
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Dict {
        let mut d = Dict::default();
        for (i, k) in ["a", "ab", "abc", "b", "c"].iter().enumerate() {
            assert!(d.set(k.as_bytes(), (i + 1) as *mut c_void, false));
        }
        d
    }

    fn walk(d: &Dict, op: &str, key: &str, way: Way) -> String {
        let mut iter =
            DictIter { dict: std::ptr::null_mut(), key: Vec::new(), fresh: true, ended: true };
        iter.seek(d, op.as_bytes(), key.as_bytes());
        let mut keys = Vec::new();
        while iter.step(d, way).is_some() {
            keys.push(String::from_utf8_lossy(&iter.key).into_owned());
        }
        keys.join(" ")
    }

    #[test]
    fn operators_and_directions() {
        let d = sample();
        let forward = |op, key| walk(&d, op, key, Way::Forward);
        let back = |op, key| walk(&d, op, key, Way::Back);
        assert_eq!(forward("^", ""), "a ab abc b c");
        assert_eq!(forward("$", ""), "c");
        assert_eq!(back("$", ""), "c b abc ab a");
        assert_eq!(back("^", ""), "a");
        assert_eq!(forward(">", "ab"), "abc b c");
        assert_eq!(forward(">=", "aa"), "ab abc b c");
        assert_eq!(forward("==", "aa"), "");
        assert_eq!(forward("==", "ab"), "ab abc b c");
        assert_eq!(forward("<", "ab"), "a ab abc b c");
        assert_eq!(back("<=", "bb"), "b abc ab a");
        assert_eq!(forward("?", "a"), "");
    }

    #[test]
    fn changes_below_an_iterator() {
        let mut d = sample();
        let mut iter =
            DictIter { dict: std::ptr::null_mut(), key: Vec::new(), fresh: true, ended: true };
        iter.seek(&d, b"^", b"");
        assert!(iter.step(&d, Way::Forward).is_some());
        assert!(d.remove(b"a").is_some());
        assert!(d.remove(b"ab").is_some());
        d.set(b"aa", std::ptr::without_provenance_mut(9), false);
        assert_eq!(iter.step(&d, Way::Forward), Some(std::ptr::without_provenance_mut(9)));
        assert_eq!(iter.step(&d, Way::Forward), Some(std::ptr::without_provenance_mut(3)));
        assert!(iter.compare(b">=", b"abc") && !iter.compare(b">", b"abc"));
        d.map.clear();
        assert_eq!(iter.step(&d, Way::Back), None);
        assert!(!iter.compare(b"==", b"abc"), "beyond the end nothing compares");
    }

    #[test]
    fn set_leaves_and_replace_replaces() {
        let mut d = sample();
        assert!(!d.set(b"a", std::ptr::without_provenance_mut(7), false));
        assert_eq!(d.get(b"a"), Some(std::ptr::without_provenance_mut(1)));
        assert!(!d.set(b"a", std::ptr::without_provenance_mut(7), true));
        assert_eq!(d.get(b"a"), Some(std::ptr::without_provenance_mut(7)));
    }
}
