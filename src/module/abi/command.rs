//! Command information. Arrays end with an element of zeros, and their elements have the size that the module was
//! compiled with, which [`CommandInfoVersion`] tells.
use super::KSPEC_BS_INVALID;
use std::ffi::{c_char, c_int};
use std::marker::PhantomData;

/// `RedisModuleCommandInfoVersion`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct CommandInfoVersion {
    pub version: c_int,
    pub sizeof_historyentry: usize,
    pub sizeof_keyspec: usize,
    pub sizeof_arg: usize,
}

/// `RedisModuleCommandInfo`, handed to `SetCommandInfo`; a null `version` is an error.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct CommandInfo {
    pub version: *const CommandInfoVersion,
    pub summary: *const c_char,
    pub complexity: *const c_char,
    pub since: *const c_char,
    pub history: *const CommandHistoryEntry,
    pub tips: *const c_char,
    pub arity: c_int,
    pub key_specs: *const CommandKeySpec,
    pub args: *const CommandArg,
}

/// `RedisModuleCommandHistoryEntry`; a null `since` ends the array.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct CommandHistoryEntry {
    pub since: *const c_char,
    pub changes: *const c_char,
}

/// `RedisModuleCommandKeySpec`; a zero `begin_search_type` ends the array.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct CommandKeySpec {
    pub notes: *const c_char,
    pub flags: u64,
    pub begin_search_type: c_int,
    pub bs: BeginSearch,
    pub find_keys_type: c_int,
    pub fk: FindKeys,
}

/// Where the keys begin; `begin_search_type` tells which member holds.
#[repr(C)]
#[derive(Clone, Copy)]
pub union BeginSearch {
    pub index: BeginSearchIndex,
    pub keyword: BeginSearchKeyword,
}

/// `KSPEC_BS_INDEX`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct BeginSearchIndex {
    pub pos: c_int,
}

/// `KSPEC_BS_KEYWORD`; a negative `startfrom` searches backwards from the end.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct BeginSearchKeyword {
    pub keyword: *const c_char,
    pub startfrom: c_int,
}

/// Which keys there are; `find_keys_type` tells which member holds.
#[repr(C)]
#[derive(Clone, Copy)]
pub union FindKeys {
    pub range: FindKeysRange,
    pub keynum: FindKeysKeynum,
}

/// `KSPEC_FK_RANGE`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct FindKeysRange {
    pub lastkey: c_int,
    pub keystep: c_int,
    pub limit: c_int,
}

/// `KSPEC_FK_KEYNUM`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct FindKeysKeynum {
    pub keynumidx: c_int,
    pub firstkey: c_int,
    pub keystep: c_int,
}

/// `RedisModuleCommandArg` as the 7.0 header has it; a null `name` ends the array. Headers since
/// 7.2 append `display_text`: see [`CommandArg::display_text`].
#[repr(C)]
#[derive(Clone, Copy)]
pub struct CommandArg {
    pub name: *const c_char,
    pub arg_type: c_int,
    pub key_spec_index: c_int,
    pub token: *const c_char,
    pub summary: *const c_char,
    pub since: *const c_char,
    pub flags: c_int,
    pub deprecated_since: *const c_char,
    pub subargs: *const CommandArg,
}

impl CommandArg {
    /// Size of the struct in headers that have `display_text`, which is its last member.
    pub const SIZE_WITH_DISPLAY_TEXT: usize = 72;

    /// The display text of an argument; null if the module's header has none.
    ///
    /// # Safety
    /// `arg` points into an array of a module whose [`CommandInfoVersion::sizeof_arg`] is
    /// `sizeof_arg`.
    pub unsafe fn display_text(arg: *const CommandArg, sizeof_arg: usize) -> *const c_char {
        if sizeof_arg < Self::SIZE_WITH_DISPLAY_TEXT {
            return std::ptr::null();
        }
        // SAFETY: ABI: with this size the member follows the 64 bytes of the older struct.
        unsafe { *arg.add(1).cast::<*const c_char>() }
    }
}

/// An element of the arrays of command information.
pub trait Terminated {
    /// Whether this is the element after the last.
    fn ends(&self) -> bool;
}

impl Terminated for CommandHistoryEntry {
    fn ends(&self) -> bool {
        self.since.is_null()
    }
}

impl Terminated for CommandKeySpec {
    fn ends(&self) -> bool {
        self.begin_search_type == KSPEC_BS_INVALID
    }
}

impl Terminated for CommandArg {
    fn ends(&self) -> bool {
        self.name.is_null()
    }
}

/// Walks an array of command information in steps of the module's element size. A null array is
/// empty.
pub struct Elements<'a, T> {
    next: *const T,
    step: usize,
    array: PhantomData<&'a T>,
}

impl<T: Terminated> Elements<'_, T> {
    /// # Safety
    /// `first` is null or points to an array of the module that stays as it is for `'a`, whose
    /// elements are `step` bytes apart and begin with a `T`, and which ends as [`Terminated`] says.
    pub unsafe fn new(first: *const T, step: usize) -> Self {
        Elements { next: first, step, array: PhantomData }
    }
}

impl<'a, T: Terminated> Iterator for Elements<'a, T> {
    type Item = &'a T;

    fn next(&mut self) -> Option<&'a T> {
        if self.next.is_null() {
            return None;
        }
        // SAFETY: ABI: as promised to `new`, the array reaches to its last element at least.
        let element = unsafe { &*self.next };
        if element.ends() {
            return None;
        }
        // SAFETY: ABI: as promised to `new`, this was not the last element, so the next is `step`
        // bytes on.
        self.next = unsafe { self.next.byte_add(self.step) };
        Some(element)
    }
}
