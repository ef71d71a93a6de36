//! `CreateDataType`, values of module types, and what their `*2` methods learn about keys.
use crate::execute::Expiry;
use crate::keyspace::value::{ModuleType, ModuleValue, Value, ValueMut, ValueRef};
use crate::module::abi::{self, TypeMethods};
use crate::module::context::Ctx;
use crate::module::datatype::{self, KeyOptCtx};
use crate::module::key::{Key, Walk};
use crate::module::string::RStr;
use std::ffi::{c_char, c_int, c_void, CStr};
use std::ptr::{null, null_mut};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::Arc;

/// The module value of a key; null, an empty key and other types have none.
///
/// # Safety
/// ABI: null or an open key.
unsafe fn module_value<'a>(key: *mut Key) -> Option<&'a ModuleValue> {
    // SAFETY: ABI: this function's contract.
    match unsafe { key.as_mut() }?.value()? {
        ValueRef::Module(m) => Some(m),
        _ => None,
    }
}

crate::api! {
    /// Registers a data type; only inside OnLoad. Null: a bad or taken name, a bad encoding version or methods.
    [Locked] fn CreateDataType(
        ctx: *mut Ctx,
        name: *const c_char,
        encoding_version: c_int,
        methods: *const TypeMethods,
    ) -> *const ModuleType {
        // SAFETY: ABI: a live context, a C string and a struct as its version says.
        let (module, name, methods) = unsafe {
            ((*ctx).module, CStr::from_ptr(name).to_bytes(), TypeMethods::read(methods))
        };
        match (module, methods) {
            (Some(m), Some(methods)) if m.onload.load(Relaxed) => {
                datatype::register(m, name, encoding_version, methods).unwrap_or(null())
            }
            _ => null(),
        }
    }

    /// The type of a key's value; null if it has none of a module.
    [Locked] fn ModuleTypeGetType(key: *mut Key) -> *const ModuleType {
        // SAFETY: ABI: null or an open key.
        unsafe { module_value(key) }.map_or(null(), |m| Arc::as_ptr(&m.ty))
    }

    /// The module's value of a key; null if it has none.
    [Locked] fn ModuleTypeGetValue(key: *mut Key) -> *mut c_void {
        // SAFETY: ABI: null or an open key.
        unsafe { module_value(key) }.map_or(null_mut(), ModuleValue::ptr)
    }

    /// Puts a value under a key that is open for writing, in place of what it has; no expiry.
    [Locked] fn ModuleTypeSetValue(
        key: *mut Key,
        ty: *const ModuleType,
        value: *mut c_void,
    ) -> c_int {
        // SAFETY: ABI: an open key.
        let Some(key) = (unsafe { key.as_mut() }) else { return abi::ERR };
        if !key.writable() || !matches!(key.walk, Walk::None) {
            return abi::ERR;
        }
        key.delete();
        // SAFETY: ABI: a type of a loaded module.
        let ty = unsafe { datatype::share(ty) };
        key.put(Value::Module(Box::new(ModuleValue::new(ty, value))), Expiry::Clear);
        abi::OK
    }

    /// Exchanges the value of a key that has one of this type; the old one is the caller's. The expiry stays.
    [Locked] fn ModuleTypeReplaceValue(
        key: *mut Key,
        ty: *const ModuleType,
        new: *mut c_void,
        old: *mut *mut c_void,
    ) -> c_int {
        // SAFETY: ABI: an open key.
        let Some(key) = (unsafe { key.as_mut() }) else { return abi::ERR };
        if !key.writable() || !matches!(key.walk, Walk::None) {
            return abi::ERR;
        }
        match key.value_mut() {
            Some(ValueMut::Module(m)) if Arc::as_ptr(&m.ty) == ty => {
                let before = m.change(|ptr| std::mem::replace(ptr, new));
                if !old.is_null() {
                    // SAFETY: ABI: where the module wants the old value.
                    unsafe { *old = before };
                }
                abi::OK
            }
            _ => abi::ERR,
        }
    }

    /// Name of the key that a `*2` method is called for.
    [Locked] fn GetKeyNameFromOptCtx(ctx: *const KeyOptCtx) -> *mut RStr {
        // SAFETY: ABI: the context of the running method.
        unsafe { (*ctx).from }
    }

    /// Name of the new key, in `copy2`.
    [Locked] fn GetToKeyNameFromOptCtx(ctx: *const KeyOptCtx) -> *mut RStr {
        // SAFETY: ABI: the context of the running method.
        unsafe { (*ctx).to }
    }

    /// Database of the key that a `*2` method is called for.
    [Locked] fn GetDbIdFromOptCtx(ctx: *const KeyOptCtx) -> c_int {
        // SAFETY: ABI: the context of the running method.
        unsafe { (*ctx).from_db }
    }

    /// Database of the new key, in `copy2`.
    [Locked] fn GetToDbIdFromOptCtx(ctx: *const KeyOptCtx) -> c_int {
        // SAFETY: ABI: the context of the running method.
        unsafe { (*ctx).to_db }
    }
}
