//! Values of modules' types: identity, and the calls of their methods.
//!
//! A method's `*2` variant wins over the plain one; what a module left out has the default that Redis gives it. All
//! functions are called with the module lock held.
use super::abi::{Handle, TypeMethods};
use super::callback::running;
use super::registry::Module;
use super::string::RStr;
use crate::keyspace::value::{ModuleType, ModuleValue};
use std::ffi::c_void;
use std::sync::atomic::AtomicBool;
use std::sync::Arc;

/// The 64 characters of type names, by value.
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
/// Bits of the encoding version in an id.
const VERSION_BITS: u32 = 10;
/// The greatest encoding version.
pub const MAX_ENCODING_VERSION: i32 = (1 << VERSION_BITS) - 1;

/// The id of a type: nine characters of six bits, then the encoding version. `None` for a bad name or version, and for
/// the id 0, which no type can have.
pub fn encode_id(name: &[u8], version: i32) -> Option<u64> {
    if name.len() != 9 || !(0..=MAX_ENCODING_VERSION).contains(&version) {
        return None;
    }
    let mut id = 0u64;
    for c in name {
        id = id << 6 | ALPHABET.iter().position(|a| a == c)? as u64;
    }
    let id = id << VERSION_BITS | version as u64;
    (id != 0).then_some(id)
}

/// The name in an id.
pub fn name_of_id(id: u64) -> String {
    (0..9).map(|i| ALPHABET[(id >> (VERSION_BITS + 6 * (8 - i)) & 63) as usize] as char).collect()
}

/// The encoding version in an id.
pub fn version_of_id(id: u64) -> i32 {
    (id & MAX_ENCODING_VERSION as u64) as i32
}

/// The loaded type with the name that this id has, whatever its encoding version.
pub fn find_by_id(id: u64) -> Option<Arc<ModuleType>> {
    let same = |t: &ModuleType| t.id >> VERSION_BITS == id >> VERSION_BITS;
    crate::server::Server::get().modules.find_type(same)
}

/// Registers a type (`CreateDataType`). The pointer is its address for the life of the module. `None`: a bad name or
/// version, or a type of this name exists.
pub fn register(
    module: &'static Module,
    name: &[u8],
    version: i32,
    methods: TypeMethods,
) -> Option<*const ModuleType> {
    let id = encode_id(name, version)?;
    let taken = |t: &ModuleType| t.name == *name;
    if crate::server::Server::get().modules.find_type(taken).is_some() {
        return None;
    }
    let ty = Arc::new(ModuleType {
        name: name.try_into().ok()?,
        id,
        module: module.name().to_string(),
        owner: module,
        methods,
        in_heap: AtomicBool::new(true),
    });
    let address = Arc::as_ptr(&ty);
    module.types.lock().push(ty);
    Some(address)
}

/// One more owner for a type that a module names by its address.
///
/// # Safety
/// ABI: `ty` came from [`register`], and its module is loaded.
pub unsafe fn share(ty: *const ModuleType) -> Arc<ModuleType> {
    // SAFETY: ABI: this function's contract: the registry keeps an owner.
    unsafe {
        Arc::increment_strong_count(ty);
        Arc::from_raw(ty)
    }
}

/// What a module's `*2` methods learn about the keys (`RedisModuleKeyOptCtx`).
pub struct KeyOptCtx {
    /// Name of the key; null if there is none.
    pub from: *mut RStr,
    /// Name of the new key, for `copy2`.
    pub to: *mut RStr,
    /// Database of the key, -1 if there is none.
    pub from_db: i32,
    /// Database of the new key, -1 if there is none.
    pub to_db: i32,
}

impl KeyOptCtx {
    fn new(key: Option<(&[u8], usize)>, to: Option<(&[u8], usize)>) -> KeyOptCtx {
        let name = |k: Option<(&[u8], usize)>| k.map_or(std::ptr::null_mut(), |k| RStr::new(k.0));
        let db = |k: Option<(&[u8], usize)>| k.map_or(-1, |k| k.1 as i32);
        KeyOptCtx { from: name(key), to: name(to), from_db: db(key), to_db: db(to) }
    }

    fn handle(&mut self) -> Handle {
        (self as *mut KeyOptCtx).cast()
    }
}

impl Drop for KeyOptCtx {
    fn drop(&mut self) {
        for s in [self.from, self.to] {
            if !s.is_null() {
                // SAFETY: ABI: our own reference, made in `new`.
                unsafe { RStr::release(s) };
            }
        }
    }
}

/// Frees a value through its module, which is given up.
#[allow(clippy::not_unsafe_ptr_arg_deref)] // the pointer is the module's own; only the module looks behind it
pub fn free_value(ty: &ModuleType, value: *mut c_void) {
    if let Some(free) = ty.methods.free {
        // A value whose module is not loaded is bytes of ours: nobody runs anything for it, on whatever thread.
        let parked = crate::snapshot::parked::is_type(ty);
        let _running = (!parked).then(|| running(ty.owner, &"type free"));
        // SAFETY: ABI: the value came from this type's module and is given up here; lock: the module lock is held, or the
        // value is parked.
        unsafe { free(value) };
    }
}

/// Tells the module that a key with its value is about to be deleted, replaced or overwritten.
pub fn unlinked(key: &[u8], db: usize, value: &ModuleValue) {
    let methods = &value.ty.methods;
    if methods.unlink.is_none() && methods.unlink2.is_none() {
        return;
    }
    let mut names = KeyOptCtx::new(Some((key, db)), None);
    let _running = running(value.ty.owner, &"type unlink");
    // SAFETY: ABI: registered for these signatures; names and value outlive the call.
    unsafe {
        match (methods.unlink2, methods.unlink) {
            (Some(f), _) => f(names.handle(), value.ptr()),
            (None, Some(f)) => f(names.from.cast(), value.ptr()),
            (None, None) => {}
        }
    }
}

/// What became of a copy.
pub enum Copied {
    /// The type has no copy method: "not supported for this module key".
    Unsupported,
    /// The method returned null: "module key failed to copy".
    Failed,
    /// The copy.
    Done(Box<ModuleValue>),
}

/// Copies a value for another key (`COPY`).
pub fn copy(from: (&[u8], usize), to: (&[u8], usize), value: &ModuleValue) -> Copied {
    let methods = &value.ty.methods;
    if methods.copy.is_none() && methods.copy2.is_none() {
        return Copied::Unsupported;
    }
    let mut names = KeyOptCtx::new(Some(from), Some(to));
    let _running = running(value.ty.owner, &"type copy");
    // SAFETY: ABI: registered for these signatures; names and value outlive the call.
    let new = unsafe {
        match (methods.copy2, methods.copy) {
            (Some(f), _) => f(names.handle(), value.ptr()),
            (None, Some(f)) => f(names.from.cast(), names.to.cast(), value.ptr()),
            (None, None) => std::ptr::null_mut(),
        }
    };
    if new.is_null() {
        return Copied::Failed;
    }
    Copied::Done(Box::new(ModuleValue::new(value.ty.clone(), new)))
}

/// Bytes of a value as its module tells them; 0 without a method.
pub fn mem_usage(key: &[u8], db: usize, value: &ModuleValue, samples: usize) -> usize {
    let methods = &value.ty.methods;
    let _running = running(value.ty.owner, &"type mem_usage");
    // SAFETY: ABI: registered for these signatures; names and value outlive the call.
    unsafe {
        match (methods.mem_usage2, methods.mem_usage) {
            (Some(f), _) => {
                let mut names = KeyOptCtx::new(Some((key, db)), None);
                f(names.handle(), value.ptr(), samples)
            }
            (None, Some(f)) => f(value.ptr()),
            (None, None) => 0,
        }
    }
}

/// How much work it is to free a value; 0 means a lot, 1 is the default.
pub fn free_effort(key: &[u8], db: usize, value: &ModuleValue) -> usize {
    let methods = &value.ty.methods;
    if methods.free_effort.is_none() && methods.free_effort2.is_none() {
        return 1;
    }
    let mut names = KeyOptCtx::new(Some((key, db)), None);
    let _running = running(value.ty.owner, &"type free_effort");
    // SAFETY: ABI: registered for these signatures; names and value outlive the call.
    unsafe {
        match (methods.free_effort2, methods.free_effort) {
            (Some(f), _) => f(names.handle(), value.ptr()),
            (None, Some(f)) => f(names.from.cast(), value.ptr()),
            (None, None) => 1,
        }
    }
}

/// Lets the module add a value to a digest. False without a method.
#[allow(clippy::not_unsafe_ptr_arg_deref)] // the handle is only passed on
pub fn digest(value: &ModuleValue, digest: Handle) -> bool {
    let Some(f) = value.ty.methods.digest else { return false };
    let _running = running(value.ty.owner, &"type digest");
    // SAFETY: ABI: registered for this signature; the digest and the value outlive the call.
    unsafe { f(digest, value.ptr()) };
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_real_types() {
        assert_eq!(encode_id(b"ft_index0", 23), Some(0x7edf_e29d_d7b1_d017));
        assert_eq!(encode_id(b"scdtype00", 1), Some(0xb1c7_6dca_97b4_d001));
        assert_eq!(encode_id(b"GearsType", 1), Some(0x19e6_abb1_3ca9_7801));
        assert_eq!(name_of_id(0x7edf_e29d_d7b1_d017), "ft_index0");
        assert_eq!(version_of_id(0x7edf_e29d_d7b1_d017), 23);
    }

    #[test]
    fn bad_names_and_versions() {
        assert_eq!(encode_id(b"AAAAAAAAA", 0), None);
        assert!(encode_id(b"AAAAAAAAA", 1).is_some());
        for (name, version) in [
            (&b"eightchr"[..], 0),
            (b"tencharact", 0),
            (b"nine char", 0),
            (b"ninechars", -1),
            (b"ninechars", 1024),
        ] {
            assert_eq!(encode_id(name, version), None, "{name:?} {version}");
        }
    }
}
