//! Values of modules' types: freeing, unlinking.
use super::string::RStr;
use crate::keyspace::value::{ModuleType, ModuleValue};
use std::ffi::c_void;

/// Frees a value through its module. The calling thread has the module lock, and gives the value up.
#[allow(clippy::not_unsafe_ptr_arg_deref)] // the pointer is the module's own; only the module looks behind it
pub fn free_value(ty: &ModuleType, value: *mut c_void) {
    if let Some(free) = ty.methods.free {
        // SAFETY: ABI: the value came from this type's module and is given up here; lock: the module lock is held.
        unsafe { free(value) };
    }
}

/// Tells the module that a key with its value is about to be deleted, replaced or overwritten.
pub fn unlinked(key: &[u8], _db: usize, value: &ModuleValue) {
    let Some(unlink) = value.ty.methods.unlink else { return };
    let name = RStr::new(key);
    // SAFETY: ABI: the callback was registered for this signature; the name is freed afterwards.
    unsafe {
        unlink(name.cast(), value.ptr);
        RStr::release(name);
    }
}
