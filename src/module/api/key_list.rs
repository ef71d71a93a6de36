//! Lists.
use super::key::{fail, key};
use crate::execute::Expiry;
use crate::keyspace::list::{Fill, List};
use crate::keyspace::number::NumBuf;
use crate::keyspace::value::{Kind, Value, ValueMut, ValueRef};
use crate::module::abi;
use crate::module::key::Key;
use crate::module::string::RStr;
use crate::server::Server;
use libc::{EBADF, EDOM, EINVAL, ENOTSUP};
use std::ffi::{c_int, c_long};

const OK: c_int = abi::OK;
const ERR: c_int = abi::ERR;

fn fill() -> Fill {
    Fill(Server::get().config.list_max_listpack_size() as i32)
}

/// The list of a key that has this mode, or the errno.
fn list_of(key: Option<&mut Key>, mode: c_int) -> Result<(&mut Key, &List), c_int> {
    let key = key.ok_or(EINVAL)?;
    let Some(ValueRef::List(list)) = key.value() else { return Err(ENOTSUP) };
    if !key.has_mode(mode) {
        return Err(EBADF);
    }
    Ok((key, list))
}

/// The place of an element; negative indexes count from the end, -1 is the last one.
fn place(list: &List, index: c_long) -> Result<usize, c_int> {
    let len = list.len() as c_long;
    let at = if index < 0 { index + len } else { index };
    if (0..len).contains(&at) {
        Ok(at as usize)
    } else {
        Err(EDOM)
    }
}

/// The list of a key that is open for writing, to change it.
fn list_mut<'a>(key: &mut Key) -> Result<&'a mut List, c_int> {
    match key.value_mut() {
        Some(ValueMut::List(list)) => Ok(list),
        _ => Err(ENOTSUP),
    }
}

fn push(key: Option<&mut Key>, head: bool, text: &[u8]) -> Result<(), c_int> {
    let key = key.ok_or(EINVAL)?;
    let kind = key.kind();
    if kind.is_some_and(|k| k != Kind::List) {
        return Err(ENOTSUP);
    }
    if !key.writable() {
        return Err(EBADF);
    }
    if kind.is_none() {
        key.put(Value::List(Box::default()), Expiry::Clear);
    }
    let list = list_mut(key)?;
    if head {
        list.push_front(&[text], fill());
    } else {
        list.push_back(&[text], fill());
    }
    Ok(())
}

fn set(key: Option<&mut Key>, index: c_long, text: &[u8]) -> Result<(), c_int> {
    let (key, list) = list_of(key, abi::WRITE)?;
    let at = place(list, index)?;
    list_mut(key)?.set(at, text, fill());
    Ok(())
}

fn insert(key: Option<&mut Key>, index: c_long, text: &[u8]) -> Result<(), c_int> {
    let key = key.ok_or(EINVAL)?;
    let len = match key.value() {
        None if index == 0 || index == -1 => return push(Some(key), false, text),
        Some(ValueRef::List(list)) => list.len() as c_long,
        _ => return Err(ENOTSUP),
    };
    // The index is the one that the element has afterwards.
    if index == len || index == -1 {
        return push(Some(key), false, text);
    }
    if index == 0 || index == -len - 1 {
        return push(Some(key), true, text);
    }
    let (key, list) = list_of(Some(key), abi::WRITE)?;
    let at = place(list, index)?;
    if index < 0 {
        list_mut(key)?.insert_after(at, text, fill());
    } else {
        list_mut(key)?.insert_before(at, text, fill());
    }
    Ok(())
}

fn delete(key: Option<&mut Key>, index: c_long) -> Result<(), c_int> {
    let (key, list) = list_of(key, abi::WRITE)?;
    let at = place(list, index)?;
    list_mut(key)?.delete_range(at, 1, fill());
    key.delete_if_empty();
    Ok(())
}

fn pop(key: Option<&mut Key>, head: bool) -> Result<*mut RStr, c_int> {
    let (key, _) = list_of(key, abi::WRITE)?;
    let list = list_mut(key)?;
    let text = if head { list.pop_front(fill()) } else { list.pop_back(fill()) };
    key.delete_if_empty();
    Ok(text.map_or(std::ptr::null_mut(), |text| key.new_string(&text)))
}

fn get(key: Option<&mut Key>, index: c_long) -> Result<*mut RStr, c_int> {
    let (key, list) = list_of(key, abi::READ)?;
    let item = list.get(place(list, index)?).ok_or(EDOM)?;
    Ok(key.new_string(item.bytes(&mut NumBuf::new())))
}

fn status(result: Result<(), c_int>) -> c_int {
    match result {
        Ok(()) => OK,
        Err(number) => fail(number, ERR),
    }
}

fn string(result: Result<*mut RStr, c_int>) -> *mut RStr {
    result.unwrap_or_else(|number| fail(number, std::ptr::null_mut()))
}

/// Calls `f` with the text of a string argument; null is EINVAL.
///
/// # Safety
/// ABI: null or a live string.
unsafe fn with_text(text: *mut RStr, f: impl FnOnce(&[u8]) -> Result<(), c_int>) -> c_int {
    if text.is_null() {
        return fail(EINVAL, ERR);
    }
    // SAFETY: ABI: this function's contract.
    status(f(unsafe { RStr::bytes(text) }))
}

crate::api! {
    /// Adds an element at the head (0) or tail (1); an empty key becomes a list.
    [Locked] fn ListPush(handle: *mut Key, whence: c_int, text: *mut RStr) -> c_int {
        let head = whence == abi::LIST_HEAD;
        // SAFETY: ABI: null or an open key; null or a live string.
        unsafe { with_text(text, |text| push(key(handle), head, text)) }
    }

    /// Removes the element at the head (0) or tail (1); a new string, or null.
    [Locked] fn ListPop(handle: *mut Key, whence: c_int) -> *mut RStr {
        // SAFETY: ABI: null or an open key.
        string(pop(unsafe { key(handle) }, whence == abi::LIST_HEAD))
    }

    /// The element at an index; a new string, or null.
    [Locked] fn ListGet(handle: *mut Key, index: c_long) -> *mut RStr {
        // SAFETY: ABI: null or an open key.
        string(get(unsafe { key(handle) }, index))
    }

    /// Replaces the element at an index.
    [Locked] fn ListSet(handle: *mut Key, index: c_long, text: *mut RStr) -> c_int {
        // SAFETY: ABI: an open key; null or a live string.
        unsafe { with_text(text, |text| set(key(handle), index, text)) }
    }

    /// Inserts an element so that it has this index afterwards.
    [Locked] fn ListInsert(handle: *mut Key, index: c_long, text: *mut RStr) -> c_int {
        // SAFETY: ABI: an open key; null or a live string.
        unsafe { with_text(text, |text| insert(key(handle), index, text)) }
    }

    /// Removes the element at an index.
    [Locked] fn ListDelete(handle: *mut Key, index: c_long) -> c_int {
        // SAFETY: ABI: null or an open key.
        status(delete(unsafe { key(handle) }, index))
    }
}
