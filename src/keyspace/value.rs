//! Values: what a key can hold.
use super::hash::Hash;
use super::list::List;
use super::set::Set;
use super::stream::Stream;
use super::table::prefetch;
use super::zset::SortedSet;
use std::borrow::Cow;
use std::ffi::c_void;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::Arc;

/// The type of a value, with the numbers of `REDISMODULE_KEYTYPE_*`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(i32)]
pub enum Kind {
    /// `string`
    String = 1,
    /// `list`
    List = 2,
    /// `hash`
    Hash = 3,
    /// `set`
    Set = 4,
    /// `zset`
    Zset = 5,
    /// A type of a module; its name is in the value.
    Module = 6,
    /// `stream`
    Stream = 7,
}

/// A data type that a module registered, as the keyspace sees it. `module::datatype` builds it.
pub struct ModuleType {
    /// The nine-character name.
    pub name: [u8; 9],
    /// The 64-bit id: name and encoding version.
    pub id: u64,
    /// The module's name.
    pub module: String,
    /// The module.
    pub owner: &'static crate::module::registry::Module,
    /// The callbacks, as the module gave them.
    pub methods: crate::module::abi::TypeMethods,
    /// Every value of this type, so far, begins in a page of the server's heap, which stays mapped: its first words can
    /// be read without its module's help.
    pub in_heap: AtomicBool,
}

impl ModuleType {
    /// Takes note of where the module keeps a value. Modules may pass numbers off as pointers.
    fn note_value(&self, ptr: *mut c_void) {
        if self.in_heap.load(Relaxed) && !crate::module::api::memory::owns(ptr) {
            self.in_heap.store(false, Relaxed);
        }
    }

    /// The name as text.
    pub fn name_str(&self) -> &str {
        std::str::from_utf8(&self.name).unwrap_or("?")
    }
}

/// A value of a module's type. Dropping it calls the module's `free`, so it is dropped only under the module lock:
/// the dispatcher sends every command that could drop one to the module path.
pub struct ModuleValue {
    /// The type it belongs to.
    pub ty: Arc<ModuleType>,
    /// What the module gave us. Every change of it is noted with the type.
    ptr: *mut c_void,
}

// SAFETY: lock: the pointer is only handed to module code, by the holder of the module lock.
unsafe impl Send for ModuleValue {}
// SAFETY: lock: as above; the keyspace itself never looks behind the pointer.
unsafe impl Sync for ModuleValue {}

impl ModuleValue {
    /// A value, as its module gave it.
    pub fn new(ty: Arc<ModuleType>, ptr: *mut c_void) -> ModuleValue {
        ty.note_value(ptr);
        ModuleValue { ty, ptr }
    }

    /// What the module gave us, which only the module looks behind.
    #[inline]
    pub fn ptr(&self) -> *mut c_void {
        self.ptr
    }

    /// Lets the module put another pointer in the place of the one that it gave us.
    pub fn change<R>(&mut self, change: impl FnOnce(&mut *mut c_void) -> R) -> R {
        let result = change(&mut self.ptr);
        self.ty.note_value(self.ptr);
        result
    }

    /// Has the processor fetch the value itself.
    #[inline]
    pub fn prefetch(&self) {
        // Whatever the module keeps there, it begins there.
        let at = self.ptr.addr();
        (0..3).for_each(|line| prefetch(at.wrapping_add(64 * line)));
    }

    /// Where the value is, for [`super::follow`]: in our heap.
    #[inline]
    pub fn in_heap(&self) -> Option<usize> {
        let at = self.ptr.expose_provenance();
        (self.ty.in_heap.load(Relaxed) && at % align_of::<usize>() == 0).then_some(at)
    }

    /// Gives the pointer up without calling `free`.
    pub fn into_ptr(self) -> *mut c_void {
        let ptr = self.ptr;
        let mut me = std::mem::ManuallyDrop::new(self);
        // SAFETY: layout: `me` is never dropped, so the Arc is dropped once, here.
        unsafe { std::ptr::drop_in_place(&mut me.ty) };
        ptr
    }
}

impl Drop for ModuleValue {
    fn drop(&mut self) {
        crate::module::datatype::free_value(&self.ty, self.ptr);
    }
}

/// A string value.
#[derive(Clone, Debug)]
pub enum StringValue {
    /// A canonical decimal integer.
    Int(i64),
    /// Any bytes. `raw` is remembered by where an entry puts them.
    Bytes(Vec<u8>),
}

/// An owned value, outside of an entry.
pub enum Value {
    /// A string.
    String(StringValue),
    /// A list.
    List(Box<List>),
    /// A set.
    Set(Box<Set>),
    /// A hash.
    Hash(Box<Hash>),
    /// A sorted set.
    Zset(Box<SortedSet>),
    /// A stream.
    Stream(Box<Stream>),
    /// A module's value.
    Module(Box<ModuleValue>),
}

/// A string inside an entry.
#[derive(Clone, Copy, Debug)]
pub enum StrRef<'a> {
    /// Stored as an integer.
    Int(i64),
    /// Stored as bytes.
    Bytes(&'a [u8]),
}

impl<'a> StrRef<'a> {
    /// The text, borrowed where it is stored as bytes.
    pub fn to_cow(self) -> Cow<'a, [u8]> {
        match self {
            StrRef::Int(i) => Cow::Owned(i.to_string().into_bytes()),
            StrRef::Bytes(b) => Cow::Borrowed(b),
        }
    }

    /// Length in bytes.
    pub fn len(self) -> usize {
        match self {
            StrRef::Int(_) => self.to_cow().len(),
            StrRef::Bytes(b) => b.len(),
        }
    }

    /// True for the empty string.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The integer it stands for, if it is one in canonical form.
    pub fn as_i64(self) -> Option<i64> {
        match self {
            StrRef::Int(i) => Some(i),
            StrRef::Bytes(b) => super::number::parse_i64(b),
        }
    }
}

/// A value inside an entry, for reading.
#[derive(Clone, Copy)]
pub enum ValueRef<'a> {
    /// A string.
    String(StrRef<'a>),
    /// A list.
    List(&'a List),
    /// A set.
    Set(&'a Set),
    /// A hash.
    Hash(&'a Hash),
    /// A sorted set.
    Zset(&'a SortedSet),
    /// A stream.
    Stream(&'a Stream),
    /// A module's value.
    Module(&'a ModuleValue),
}

/// A value inside an entry, for changing in place. Strings are changed through `Tx::string_mut`.
pub enum ValueMut<'a> {
    /// A string: read it here, change it through the transaction.
    String(StrRef<'a>),
    /// A list.
    List(&'a mut List),
    /// A set.
    Set(&'a mut Set),
    /// A hash.
    Hash(&'a mut Hash),
    /// A sorted set.
    Zset(&'a mut SortedSet),
    /// A stream.
    Stream(&'a mut Stream),
    /// A module's value.
    Module(&'a mut ModuleValue),
}

impl Value {
    /// The value's type.
    pub fn kind(&self) -> Kind {
        match self {
            Value::String(_) => Kind::String,
            Value::List(_) => Kind::List,
            Value::Set(_) => Kind::Set,
            Value::Hash(_) => Kind::Hash,
            Value::Zset(_) => Kind::Zset,
            Value::Stream(_) => Kind::Stream,
            Value::Module(_) => Kind::Module,
        }
    }

    /// A string value from its text, stored as an integer when it is one.
    pub fn string(text: &[u8]) -> Value {
        if text.len() <= 20 {
            if let Some(i) = super::number::parse_i64(text) {
                return Value::String(StringValue::Int(i));
            }
        }
        Value::String(StringValue::Bytes(text.to_vec()))
    }
}

impl<'a> ValueRef<'a> {
    /// The value's type.
    pub fn kind(&self) -> Kind {
        match self {
            ValueRef::String(_) => Kind::String,
            ValueRef::List(_) => Kind::List,
            ValueRef::Set(_) => Kind::Set,
            ValueRef::Hash(_) => Kind::Hash,
            ValueRef::Zset(_) => Kind::Zset,
            ValueRef::Stream(_) => Kind::Stream,
            ValueRef::Module(_) => Kind::Module,
        }
    }

    /// What `TYPE` answers.
    pub fn type_name(&self) -> &'a str {
        match self {
            ValueRef::String(_) => "string",
            ValueRef::List(_) => "list",
            ValueRef::Set(_) => "set",
            ValueRef::Hash(_) => "hash",
            ValueRef::Zset(_) => "zset",
            ValueRef::Stream(_) => "stream",
            ValueRef::Module(m) => m.ty.name_str(),
        }
    }
}
