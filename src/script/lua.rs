//! A Lua 5.1 state: the part of its C interface that scripts need, as methods of a handle.
//!
//! How Rust and Lua share a stack: Lua reports errors by `longjmp`, which runs no destructors. So a function given to Lua
//! never raises while it owns anything: it leaves its error on the stack and returns [`Raised`], and only the frame that
//! owns nothing more ([`Lua::push_function`]'s) raises. The operations below touch tables without metamethods, and the
//! allocator aborts the process rather than fail, so none of them raises either.
use mlua_sys as sys;
pub use mlua_sys::{lua_CFunction, lua_State};
use std::alloc::{alloc, dealloc, handle_alloc_error, realloc, Layout};
use std::ffi::{c_char, c_int, c_void, CStr};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::ptr::NonNull;

/// Pseudo-index of the registry: values that scripts cannot reach.
pub const REGISTRY: c_int = sys::LUA_REGISTRYINDEX;
/// Pseudo-index of the running thread's globals.
pub const GLOBALS: c_int = sys::LUA_GLOBALSINDEX;

/// Pseudo-index of an upvalue of the running function.
pub const fn upvalue(i: c_int) -> c_int {
    GLOBALS - i
}

/// The type of a value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Type {
    None,
    Nil,
    Boolean,
    LightUserdata,
    Number,
    String,
    Table,
    Function,
    Userdata,
    Thread,
}

impl Type {
    /// Its name in messages.
    pub fn name(self) -> &'static str {
        match self {
            Type::None => "no value",
            Type::Nil => "nil",
            Type::Boolean => "boolean",
            Type::LightUserdata | Type::Userdata => "userdata",
            Type::Number => "number",
            Type::String => "string",
            Type::Table => "table",
            Type::Function => "function",
            Type::Thread => "thread",
        }
    }
}

/// An error value lies on top of the stack, to be raised.
#[derive(Debug)]
pub struct Raised;

/// What a function given to Lua returns: how many results lie on top of the stack.
pub type Results = Result<c_int, Raised>;

/// Where a running function is: the chunk's name and the line.
pub struct Place {
    /// Name of the chunk, with its mark (`@user_script`).
    pub source: Vec<u8>,
    /// Line, -1 if there is none.
    pub line: c_int,
    /// It is no Lua function.
    pub is_c: bool,
}

/// A handle of a Lua thread. Copies mean the same thread.
///
/// Whoever makes one promises that the thread lives as long as the handle is used, by one thread of ours at a time (the
/// holder of the module lock). Every index that a method gets must be on the stack.
#[derive(Clone, Copy)]
pub struct Lua(*mut lua_State);

/// Methods that are one function of the C interface each.
macro_rules! plain {
    ($($(#[$doc:meta])* $name:ident($($arg:ident: $ty:ty),*) $(-> $ret:ty)? = $call:path;)*) => {
        $(
            $(#[$doc])*
            #[inline]
            pub fn $name(self $(, $arg: $ty)*) $(-> $ret)? {
                // SAFETY: layout: a live thread and indexes on its stack, as `Lua` demands; nothing here raises.
                unsafe { $call(self.0 $(, $arg)*) }
            }
        )*
    };
}

impl Lua {
    plain! {
        /// Number of values on the stack.
        top() -> c_int = sys::lua_gettop;
        /// Makes the stack this high.
        set_top(at: c_int) = sys::lua_settop;
        /// Pushes a copy of a value.
        push_copy(at: c_int) = sys::lua_pushvalue;
        /// Removes a value from the middle of the stack.
        remove(at: c_int) = sys::lua_remove;
        /// Moves the top value down to a place.
        insert(at: c_int) = sys::lua_insert;
        /// Moves the top value over another.
        replace(at: c_int) = sys::lua_replace;
        /// Pushes nil.
        push_nil() = sys::lua_pushnil;
        /// Pushes a number.
        push_number(n: f64) = sys::lua_pushnumber;
        /// The number that a value is or reads as; else 0.
        to_number(at: c_int) -> f64 = sys::lua_tonumber;
        /// Pushes a table with room for so many elements and fields.
        push_table(elements: c_int, fields: c_int) = sys::lua_createtable;
        /// Replaces the key on top by the value in the table at the index.
        raw_get(table: c_int) = sys::lua_rawget_;
        /// Pushes an element.
        raw_get_index(table: c_int, n: c_int) = sys::lua_rawgeti_;
        /// Sets the element to the value on top, which goes.
        raw_set_index(table: c_int, n: c_int) = sys::lua_rawseti_;
        /// Length of a string, border of a table.
        length(at: c_int) -> usize = sys::lua_objlen;
        /// The identity of a table, function or thread.
        pointer(at: c_int) -> *const c_void = sys::lua_topointer;
        /// Takes a reference out of the table at the index.
        unref(table: c_int, reference: c_int) = sys::luaL_unref;
        /// Puts the value on top, which goes, into the table at the index and returns its reference.
        make_ref(table: c_int) -> c_int = sys::luaL_ref;
        /// Pushes `chunk:line: ` of a calling function.
        push_where(level: c_int) = sys::luaL_where;
    }

    /// The handle of a thread that Lua passed to a function.
    ///
    /// # Safety
    /// See [`Lua`].
    pub unsafe fn of(thread: *mut lua_State) -> Lua {
        Lua(thread)
    }

    /// A new state, without libraries.
    pub fn new_state() -> Lua {
        // SAFETY: layout: the allocator keeps Lua's contract and never fails.
        Lua(unsafe { sys::lua_newstate(allocate, std::ptr::null_mut()) })
    }

    /// Ends a state.
    pub fn close(self) {
        // SAFETY: layout: the owner of the state gives it up.
        unsafe { sys::lua_close(self.0) };
    }

    /// The pointer, for functions of Lua itself.
    pub fn raw(self) -> *mut lua_State {
        self.0
    }

    /// Drops values from the top.
    #[inline]
    pub fn pop(self, n: c_int) {
        self.set_top(-n - 1);
    }

    /// Makes room for so many values; false if the stack cannot grow so far.
    pub fn room(self, n: c_int) -> bool {
        // SAFETY: layout: as in `plain`.
        unsafe { sys::lua_checkstack(self.0, n) != 0 }
    }

    /// The type of a value.
    #[inline]
    pub fn kind(self, at: c_int) -> Type {
        // SAFETY: layout: as in `plain`.
        match unsafe { sys::lua_type(self.0, at) } {
            sys::LUA_TNIL => Type::Nil,
            sys::LUA_TBOOLEAN => Type::Boolean,
            sys::LUA_TLIGHTUSERDATA => Type::LightUserdata,
            sys::LUA_TNUMBER => Type::Number,
            sys::LUA_TSTRING => Type::String,
            sys::LUA_TTABLE => Type::Table,
            sys::LUA_TFUNCTION => Type::Function,
            sys::LUA_TUSERDATA => Type::Userdata,
            sys::LUA_TTHREAD => Type::Thread,
            _ => Type::None,
        }
    }

    /// Whether a value is a string, or a number, which reads as one.
    #[inline]
    pub fn is_text(self, at: c_int) -> bool {
        matches!(self.kind(at), Type::String | Type::Number)
    }

    /// Whether a value is a number or a string that reads as one.
    pub fn is_number(self, at: c_int) -> bool {
        // SAFETY: layout: as in `plain`.
        unsafe { sys::lua_isnumber(self.0, at) != 0 }
    }

    /// Whether a value counts as true.
    pub fn to_bool(self, at: c_int) -> bool {
        // SAFETY: layout: as in `plain`.
        unsafe { sys::lua_toboolean(self.0, at) != 0 }
    }

    /// The bytes of a string, or of a number, which becomes a string where it stands. Empty for anything else. They live
    /// as long as the value is reachable from Lua: callers keep it on the stack meanwhile.
    #[inline]
    pub fn bytes<'a>(self, at: c_int) -> &'a [u8] {
        let mut len = 0;
        // SAFETY: layout: as in `plain`; Lua keeps a string where it is as long as it is reachable.
        unsafe {
            let p = sys::lua_tolstring(self.0, at, &mut len);
            if p.is_null() {
                return &[];
            }
            std::slice::from_raw_parts(p.cast(), len)
        }
    }

    /// The bytes of a string up to its first NUL, as C code sees it.
    pub fn c_bytes<'a>(self, at: c_int) -> &'a [u8] {
        let all = self.bytes(at);
        &all[..all.iter().position(|&c| c == 0).unwrap_or(all.len())]
    }

    /// Pushes a string.
    #[inline]
    pub fn push_bytes(self, text: &[u8]) {
        // SAFETY: layout: as in `plain`; Lua copies the bytes.
        unsafe { sys::lua_pushlstring_(self.0, text.as_ptr().cast(), text.len()) };
    }

    /// Pushes a boolean.
    pub fn push_bool(self, b: bool) {
        // SAFETY: layout: as in `plain`.
        unsafe { sys::lua_pushboolean(self.0, c_int::from(b)) };
    }

    /// Pushes an address that scripts cannot make themselves.
    pub fn push_mark(self, mark: *const c_void) {
        // SAFETY: layout: as in `plain`.
        unsafe { sys::lua_pushlightuserdata(self.0, mark.cast_mut()) };
    }

    /// Pushes a function of C with the values on top as its upvalues.
    pub fn push_c_function(self, f: lua_CFunction, upvalues: c_int) {
        // SAFETY: layout: as in `plain`.
        unsafe { sys::lua_pushcclosure(self.0, f, upvalues) };
    }

    /// Pushes a function. It must not capture anything.
    pub fn push_function<F: Fn(Lua) -> Results + Copy + 'static>(self, f: F) {
        self.push_closure(f, 0);
    }

    /// Pushes a function with the values on top as its upvalues (see [`upvalue`]). It must not capture anything of Rust.
    pub fn push_closure<F: Fn(Lua) -> Results + Copy + 'static>(self, _: F, upvalues: c_int) {
        const { assert!(size_of::<F>() == 0, "a function without captures") };
        self.push_c_function(enter::<F>, upvalues);
    }

    /// The function of C that a value is.
    pub fn c_function(self, at: c_int) -> Option<lua_CFunction> {
        // SAFETY: layout: as in `plain`.
        unsafe { sys::lua_tocfunction(self.0, at) }
    }

    /// Sets the field of the table at the index to the value on top, which goes. No metamethods.
    pub fn set_field(self, table: c_int, name: &[u8]) {
        let table = self.absolute(table);
        self.push_bytes(name);
        self.insert(-2);
        self.raw_set(table);
    }

    /// Sets the value on top under the key below it in the table at the index; both go. The key is neither nil nor NaN.
    pub fn raw_set(self, table: c_int) {
        // SAFETY: layout: as in `plain`; the key is one that a table takes.
        unsafe { sys::lua_rawset(self.0, table) };
    }

    /// Pushes a field of the table at the index. No metamethods.
    pub fn field(self, table: c_int, name: &[u8]) -> Type {
        let table = self.absolute(table);
        self.push_bytes(name);
        self.raw_get(table);
        self.kind(-1)
    }

    /// An index counted from the bottom.
    pub fn absolute(self, at: c_int) -> c_int {
        if at < 0 && at > REGISTRY {
            self.top() + at + 1
        } else {
            at
        }
    }

    /// Replaces the key on top by the next key and its value; at the end the key goes and the answer is false. The key
    /// must be one that the iteration gave.
    pub fn next(self, table: c_int) -> bool {
        // SAFETY: layout: as in `plain`; it raises only for a key that is not in the table.
        unsafe { sys::lua_next(self.0, table) != 0 }
    }

    /// Pushes the metatable of a value, if it has one.
    pub fn metatable(self, at: c_int) -> bool {
        // SAFETY: layout: as in `plain`.
        unsafe { sys::lua_getmetatable(self.0, at) != 0 }
    }

    /// Makes the table on top, which goes, the metatable of a value.
    pub fn set_metatable(self, at: c_int) {
        // SAFETY: layout: as in `plain`.
        unsafe { sys::lua_setmetatable(self.0, at) };
    }

    /// Compiles a chunk; on top is the function then, or the message. Compiled code is not taken: what looks like it is
    /// read as text and refused.
    pub fn load(self, code: &[u8], name: &CStr) -> Result<(), Raised> {
        // The parser does not keep the name from being collected, so the stack does.
        self.push_bytes(name.to_bytes());
        let guarded;
        let code = if code.first() == Some(&sys::LUA_SIGNATURE[0]) {
            guarded = [b" ", code].concat();
            &guarded
        } else {
            code
        };
        // SAFETY: layout: as in `plain`; errors are returned, not raised.
        let failed = unsafe {
            sys::luaL_loadbuffer(self.0, code.as_ptr().cast(), code.len(), name.as_ptr())
        };
        self.remove(-2);
        if failed == 0 {
            Ok(())
        } else {
            Err(Raised)
        }
    }

    /// Calls the function below its arguments; on top are its results then, or the error, seen by the handler at its index
    /// (0: none) before.
    pub fn call(self, arguments: c_int, results: c_int, handler: c_int) -> Result<(), Raised> {
        // SAFETY: layout: as in `plain`; errors are caught.
        match unsafe { sys::lua_pcall(self.0, arguments, results, handler) } {
            0 => Ok(()),
            _ => Err(Raised),
        }
    }

    /// Lets the collector work a little.
    pub fn collect_step(self, size: c_int) {
        // SAFETY: layout: as in `plain`; nothing of ours has a `__gc`.
        unsafe { sys::lua_gc(self.0, sys::LUA_GCSTEP, size) };
    }

    /// Bytes in use.
    pub fn memory(self) -> u64 {
        // SAFETY: layout: as in `plain`.
        unsafe {
            let k = sys::lua_gc(self.0, sys::LUA_GCCOUNT, 0) as u64;
            k * 1024 + sys::lua_gc(self.0, sys::LUA_GCCOUNTB, 0) as u64
        }
    }

    /// Calls a hook every so many instructions.
    pub fn hook(self, hook: sys::lua_Hook, every: c_int) {
        // SAFETY: layout: as in `plain`.
        unsafe { sys::lua_sethook(self.0, Some(hook), sys::LUA_MASKCOUNT, every) };
    }

    /// Calls a hook at every line: a script that is to end cannot go on by catching the error.
    pub fn hook_lines(self, hook: sys::lua_Hook) {
        // SAFETY: layout: as in `plain`.
        unsafe { sys::lua_sethook(self.0, Some(hook), sys::LUA_MASKLINE, 0) };
    }

    /// Calls no hook any more.
    pub fn unhook(self) {
        // SAFETY: layout: as in `plain`.
        unsafe { sys::lua_sethook(self.0, None, 0, 0) };
    }

    /// Where a calling function is; level 0 is the running one.
    pub fn place(self, level: c_int) -> Option<Place> {
        // SAFETY: layout: as in `plain`; the record is plain data, filled before it is read.
        unsafe {
            let mut ar: sys::lua_Debug = std::mem::zeroed();
            if sys::lua_getstack(self.0, level, &mut ar) == 0
                || sys::lua_getinfo(self.0, c"nSl".as_ptr(), &mut ar) == 0
            {
                return None;
            }
            Some(Place {
                source: CStr::from_ptr(ar.source).to_bytes().to_vec(),
                line: ar.currentline,
                is_c: CStr::from_ptr(ar.what).to_bytes() == b"C",
            })
        }
    }

    /// Pushes a message with its place in front, to be raised (`luaL_error`).
    pub fn error(self, message: &[u8]) -> Raised {
        self.push_where(1);
        let text = [self.bytes(-1), message].concat();
        self.pop(1);
        self.push_bytes(&text);
        Raised
    }

    /// The error for a bad argument (`luaL_argerror`).
    pub fn argument_error(self, mut number: c_int, message: &str) -> Raised {
        // SAFETY: layout: as in `plain`; the record is plain data, filled before it is read.
        let (name, is_method) = unsafe {
            let mut ar: sys::lua_Debug = std::mem::zeroed();
            if sys::lua_getstack(self.0, 0, &mut ar) == 0 {
                return self.error(format!("bad argument #{number} ({message})").as_bytes());
            }
            sys::lua_getinfo(self.0, c"n".as_ptr(), &mut ar);
            let text = |p: *const c_char| {
                if p.is_null() {
                    "?".to_string()
                } else {
                    String::from_utf8_lossy(CStr::from_ptr(p).to_bytes()).into_owned()
                }
            };
            (text(ar.name), text(ar.namewhat) == "method")
        };
        if is_method {
            number -= 1;
            if number == 0 {
                let text = format!("calling '{name}' on bad self ({message})");
                return self.error(text.as_bytes());
            }
        }
        self.error(format!("bad argument #{number} to '{name}' ({message})").as_bytes())
    }

    /// The error for an argument of a wrong type (`luaL_typerror`).
    pub fn type_error(self, number: c_int, expected: &str) -> Raised {
        let got = self.kind(number).name();
        self.argument_error(number, &format!("{expected} expected, got {got}"))
    }

    /// An argument that is a string, or a number.
    pub fn check_bytes<'a>(self, number: c_int) -> Result<&'a [u8], Raised> {
        if self.is_text(number) {
            Ok(self.bytes(number))
        } else {
            Err(self.type_error(number, "string"))
        }
    }

    /// An argument that is a number.
    pub fn check_number(self, number: c_int) -> Result<f64, Raised> {
        if self.is_number(number) {
            Ok(self.to_number(number))
        } else {
            Err(self.type_error(number, "number"))
        }
    }

    /// An argument that is an integer, converted as C does.
    pub fn check_integer(self, number: c_int) -> Result<i64, Raised> {
        self.check_number(number).map(to_integer)
    }

    /// An optional integer argument.
    pub fn optional_integer(self, number: c_int, default: i64) -> Result<i64, Raised> {
        match self.kind(number) {
            Type::None | Type::Nil => Ok(default),
            _ => self.check_integer(number),
        }
    }
}

const TWO_TO_63: f64 = (1u64 << 63) as f64;

/// A double as an integer as the processor converts it: what does not fit becomes the least integer.
pub fn to_integer(n: f64) -> i64 {
    if (-TWO_TO_63..TWO_TO_63).contains(&n) {
        n as i64
    } else {
        i64::MIN
    }
}

/// The frame between Lua and a function of ours: nothing unwinds into Lua, and an error is raised when all else is gone.
unsafe extern "C-unwind" fn enter<F: Fn(Lua) -> Results + Copy + 'static>(
    thread: *mut lua_State,
) -> c_int {
    // SAFETY: layout: `push_function` checked that values of this type have no size, so any address will do.
    let f = unsafe { NonNull::<F>::dangling().as_ref() };
    let lua = Lua(thread);
    let result = catch_unwind(AssertUnwindSafe(|| f(lua))).unwrap_or_else(|_| {
        lua.push_bytes(b"internal error");
        Err(Raised)
    });
    match result {
        Ok(n) => n,
        // SAFETY: layout: an error lies on top, and nothing here has a destructor.
        Err(Raised) => unsafe { sys::lua_error(thread) },
    }
}

const ALIGN: usize = 16;

/// Lua's memory comes from the server's allocator. It does not fail: Lua would raise in places where we cannot let it.
unsafe extern "C" fn allocate(
    _: *mut c_void,
    ptr: *mut c_void,
    old: usize,
    new: usize,
) -> *mut c_void {
    let layout = |size| Layout::from_size_align(size, ALIGN).expect("sizes of blocks fit");
    // SAFETY: layout: Lua tells a block's size when it changes or frees it.
    unsafe {
        if new == 0 {
            if !ptr.is_null() && old != 0 {
                dealloc(ptr.cast(), layout(old));
            }
            return std::ptr::null_mut();
        }
        let p = if ptr.is_null() || old == 0 {
            alloc(layout(new))
        } else {
            realloc(ptr.cast(), layout(old), new)
        };
        if p.is_null() {
            handle_alloc_error(layout(new));
        }
        p.cast()
    }
}

/// Libraries of Lua itself, by the function that opens them and the name it wants.
pub const LIBRARIES: &[(lua_CFunction, &[u8])] = &[
    (sys::luaopen_base, b""),
    (sys::luaopen_table, b"table"),
    (sys::luaopen_string, b"string"),
    (sys::luaopen_math, b"math"),
    (sys::luaopen_os, b"os"),
];
