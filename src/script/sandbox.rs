//! What a script may see and touch: the globals, all of them read-only.
//!
//! Redis marks tables read-only inside its own copy of Lua. We use Lua as it is, so a protected table is an empty table (the
//! *front*) whose metatable reads from the real one and refuses writes, and the few functions of Lua that pass by
//! metatables (`rawset`, `next`, `table.insert`...) know fronts. Real tables are never given to scripts.
use super::lua::{
    lua_CFunction, lua_State, Lua, Raised, Results, Type, GLOBALS, LIBRARIES, REGISTRY,
};
use std::ffi::{c_int, c_void};
use std::sync::OnceLock;

/// Key of the real table in a front's metatable. Scripts cannot make such a key.
static REAL: u8 = 0;
/// Key of what `getmetatable` answers for a front, if anything.
static SHOWN: u8 = 1;

fn mark(of: &'static u8) -> *const c_void {
    (&raw const *of).cast()
}

/// Replaces the value at the index by the real table, if it is a front.
fn unveil(lua: Lua, at: c_int) -> bool {
    let at = lua.absolute(at);
    if lua.kind(at) != Type::Table || !lua.metatable(at) {
        return false;
    }
    lua.push_mark(mark(&REAL));
    lua.raw_get(-2);
    let is_front = lua.kind(-1) == Type::Table;
    if is_front {
        lua.replace(at);
    } else {
        lua.pop(1);
    }
    lua.pop(1);
    is_front
}

/// Whether the value at the index is a front.
pub fn is_front(lua: Lua, at: c_int) -> bool {
    if lua.kind(at) != Type::Table || !lua.metatable(at) {
        return false;
    }
    lua.push_mark(mark(&REAL));
    lua.raw_get(-2);
    let is_front = lua.kind(-1) == Type::Table;
    lua.pop(2);
    is_front
}

const READ_ONLY: &[u8] = b"Attempt to modify a readonly table";

fn refuse_write(lua: Lua) -> Results {
    Err(lua.error(READ_ONLY))
}

fn no_such_global(lua: Lua) -> Results {
    if !lua.is_text(2) {
        let text = b"Second argument to luaProtectedTableError must be a string or number";
        return Err(lua.error(text));
    }
    lua.push_copy(2);
    let name = lua.c_bytes(-1);
    let text = [b"Script attempted to access nonexistent global variable '", name, b"'"].concat();
    Err(lua.error(&text))
}

/// Makes looking for what is not in the table on top an error.
pub fn refuse_unknown(lua: Lua) {
    lua.push_table(0, 1);
    lua.push_function(no_such_global);
    lua.set_field(-2, b"__index");
    lua.set_metatable(-2);
}

/// Replaces the table on top by a front of it.
pub fn protect(lua: Lua) {
    lua.push_table(0, 0);
    lua.push_table(0, 4);
    lua.push_copy(-3);
    lua.set_field(-2, b"__index");
    lua.push_function(refuse_write);
    lua.set_field(-2, b"__newindex");
    lua.push_mark(mark(&REAL));
    lua.push_copy(-4);
    lua.raw_set(-3);
    if lua.metatable(-3) {
        protect(lua);
        lua.push_mark(mark(&SHOWN));
        lua.insert(-2);
        lua.raw_set(-3);
    }
    lua.set_metatable(-2);
    lua.replace(-2);
}

/// Makes the front on top read from the table at `real`.
pub fn retarget(lua: Lua, real: c_int) {
    let real = lua.absolute(real);
    if lua.metatable(-1) {
        lua.push_copy(real);
        lua.set_field(-2, b"__index");
        lua.push_mark(mark(&REAL));
        lua.push_copy(real);
        lua.raw_set(-3);
        lua.pop(1);
    }
}

/// Functions of Lua that ours stand before.
struct Originals {
    next: lua_CFunction,
    pairs: lua_CFunction,
    rawget: lua_CFunction,
    rawset: lua_CFunction,
    getmetatable: lua_CFunction,
    setmetatable: lua_CFunction,
    unpack: lua_CFunction,
    insert: lua_CFunction,
    remove: lua_CFunction,
    sort: lua_CFunction,
    setn: lua_CFunction,
    foreach: lua_CFunction,
}

static ORIGINALS: OnceLock<Originals> = OnceLock::new();

fn originals() -> &'static Originals {
    ORIGINALS.get().expect("set when the first state was made")
}

/// Functions that look into their first argument: they get the real table.
macro_rules! looking {
    ($($name:ident)*) => {
        $(unsafe extern "C-unwind" fn $name(thread: *mut lua_State) -> c_int {
            // SAFETY: layout: called by Lua, with its thread and arguments; nothing here has a destructor.
            unsafe {
                unveil(Lua::of(thread), 1);
                (originals().$name)(thread)
            }
        })*
    };
}

/// Functions that change their first argument: a front is refused.
macro_rules! changing {
    ($($name:ident)*) => {
        $(unsafe extern "C-unwind" fn $name(thread: *mut lua_State) -> c_int {
            // SAFETY: layout: called by Lua, with its thread and arguments; nothing here has a destructor.
            unsafe {
                if is_front(Lua::of(thread), 1) {
                    return refuse(thread);
                }
                (originals().$name)(thread)
            }
        })*
    };
}

looking! { next rawget foreach }
changing! { rawset setmetatable insert remove sort setn }

/// Raises the error for a change of a front by a function of Lua: without a place in its text.
unsafe fn refuse(thread: *mut lua_State) -> c_int {
    // SAFETY: layout: the caller's thread; it owns nothing.
    unsafe {
        Lua::of(thread).push_bytes(READ_ONLY);
        mlua_sys::lua_error(thread)
    }
}

/// `pairs`: iterates a front with our `next`, which is the second upvalue; Lua's own is the first.
unsafe extern "C-unwind" fn pairs(thread: *mut lua_State) -> c_int {
    // SAFETY: layout: called by Lua, with its thread and arguments; nothing here has a destructor.
    unsafe {
        let lua = Lua::of(thread);
        if !is_front(lua, 1) {
            return (originals().pairs)(thread);
        }
        lua.push_copy(mlua_sys::lua_upvalueindex(2));
        lua.push_copy(1);
        lua.push_nil();
        3
    }
}

/// `getmetatable`: a front shows a front of the real table's metatable.
unsafe extern "C-unwind" fn getmetatable(thread: *mut lua_State) -> c_int {
    // SAFETY: layout: called by Lua, with its thread and arguments; nothing here has a destructor.
    unsafe {
        let lua = Lua::of(thread);
        if !is_front(lua, 1) {
            return (originals().getmetatable)(thread);
        }
        lua.metatable(1);
        lua.push_mark(mark(&SHOWN));
        lua.raw_get(-2);
        1
    }
}

/// `unpack`: as Lua's, whose check of the range can overflow.
unsafe extern "C-unwind" fn unpack(thread: *mut lua_State) -> c_int {
    // SAFETY: layout: called by Lua, with its thread and arguments; nothing here has a destructor.
    unsafe {
        let lua = Lua::of(thread);
        unveil(lua, 1);
        let from = if lua.is_number(2) { lua.to_number(2) } else { 1.0 };
        let to = if lua.is_number(3) { lua.to_number(3) } else { from };
        if to - from >= 8000.0 || from.abs() > 2e9 || to.abs() > 2e9 {
            return mlua_sys::luaL_error(thread, c"too many results to unpack".as_ptr());
        }
        (originals().unpack)(thread)
    }
}

/// `loadstring (string [, chunkname])`
fn loadstring(lua: Lua) -> Results {
    let code = lua.check_bytes(1)?;
    let name = match lua.kind(2) {
        Type::None | Type::Nil => lua.c_bytes(1),
        _ if lua.is_text(2) => lua.c_bytes(2),
        _ => return Err(lua.type_error(2, "string")),
    };
    compile(lua, code, name)
}

fn compile(lua: Lua, code: &[u8], name: &[u8]) -> Results {
    let name = std::ffi::CString::new(name).expect("cut at the first NUL");
    match lua.load(code, &name) {
        Ok(()) => Ok(1),
        Err(Raised) => {
            lua.push_nil();
            lua.insert(-2);
            Ok(2)
        }
    }
}

/// `load (function [, chunkname])`
fn load(lua: Lua) -> Results {
    if lua.kind(1) != Type::Function {
        return Err(lua.type_error(1, "function"));
    }
    let name = match lua.kind(2) {
        Type::None | Type::Nil => &b"=(load)"[..],
        _ if lua.is_text(2) => lua.c_bytes(2),
        _ => return Err(lua.type_error(2, "string")),
    };
    let mut code = Vec::new();
    loop {
        lua.push_copy(1);
        let called = lua.call(0, 1, 0);
        let done = called.is_ok()
            && match lua.kind(-1) {
                Type::Nil => true,
                _ if lua.is_text(-1) => lua.bytes(-1).is_empty(),
                _ => false,
            };
        if done {
            lua.pop(1);
            return compile(lua, &code, name);
        }
        if called.is_err() || !lua.is_text(-1) {
            if called.is_ok() {
                lua.pop(1);
                lua.push_bytes(b"reader function must return a string");
            }
            lua.push_nil();
            lua.insert(-2);
            return Ok(2);
        }
        code.extend_from_slice(lua.bytes(-1));
        lua.pop(1);
    }
}

/// `pcall`: an error with a table becomes its text, as scripts knew it before errors were tables.
unsafe extern "C-unwind" fn pcall(thread: *mut lua_State) -> c_int {
    // SAFETY: layout: called by Lua, with its thread and arguments; nothing here has a destructor.
    unsafe {
        let lua = Lua::of(thread);
        if lua.top() == 0 {
            return mlua_sys::luaL_argerror(thread, 1, c"value expected".as_ptr());
        }
        let arguments = lua.top() - 1;
        lua.push_bool(true);
        lua.insert(1);
        if lua.call(arguments, mlua_sys::LUA_MULTRET, 0).is_err() {
            lua.remove(1);
            if lua.kind(-1) == Type::Table {
                lua.field(-1, b"err");
                if lua.is_text(-1) {
                    lua.replace(-2);
                } else {
                    lua.pop(1);
                }
            }
            lua.push_bool(false);
            lua.insert(1);
        }
        lua.top()
    }
}

/// Turns any error into a table with its text and its place.
fn handle_error(lua: Lua) -> Results {
    lua.set_top(1);
    let place = lua.place(1).and_then(|p| if p.is_c { lua.place(2) } else { Some(p) });
    if lua.kind(1) != Type::Table {
        let text = match lua.kind(1) {
            Type::String | Type::Number => lua.bytes(1).to_vec(),
            Type::Boolean => lua.to_bool(1).to_string().into_bytes(),
            Type::Nil => b"nil".to_vec(),
            other => format!("{}: {:p}", other.name(), lua.pointer(1)).into_bytes(),
        };
        lua.push_table(0, 3);
        lua.push_bytes(&[b"ERR ", &text[..]].concat());
        lua.set_field(-2, b"err");
    }
    if let Some(place) = place.filter(|_| !is_front(lua, -1)) {
        lua.push_bytes(&place.source);
        lua.set_field(-2, b"source");
        lua.push_number(f64::from(place.line));
        lua.set_field(-2, b"line");
    }
    Ok(1)
}

/// An interpreter with its sandbox. What it keeps for us stands in the registry, under these references.
pub struct State {
    /// The state.
    pub lua: Lua,
    /// What scripts see as their globals.
    pub environment: c_int,
    /// The table behind it.
    pub globals: c_int,
    handler: c_int,
    runs: u32,
}

/// Collector steps are made every so many runs, and are so large.
const COLLECT_EVERY: u32 = 50;

impl State {
    /// A new interpreter; `extend` gets it with the globals' table on top, before they are locked.
    pub fn new(extend: impl FnOnce(Lua)) -> State {
        let lua = Lua::new_state();
        for (open, name) in LIBRARIES {
            lua.push_c_function(*open, 0);
            lua.push_bytes(name);
            if lua.call(1, 0, 0).is_err() {
                panic!("a library of Lua does not open");
            }
        }
        lua.push_copy(GLOBALS);
        for gone in ["dofile", "loadfile", "print", "newproxy"] {
            lua.push_nil();
            lua.set_field(-2, gone.as_bytes());
        }
        stand_before(lua);
        super::bit::open(lua);
        super::structs::open(lua);
        super::cjson::open(lua);
        super::cmsgpack::open(lua);
        extend(lua);
        State::lock(lua)
    }

    /// Locks the globals' table on top.
    fn lock(lua: Lua) -> State {
        let globals = lua.top();
        let mut names = Vec::new();
        lua.push_nil();
        while lua.next(globals) {
            if lua.kind(-1) == Type::Table && lua.kind(-2) == Type::String {
                names.push(lua.bytes(-2).to_vec());
            }
            lua.pop(1);
        }
        for name in names.iter().filter(|n| n.as_slice() != b"_G") {
            lua.field(globals, name);
            protect(lua);
            lua.set_field(globals, name);
        }
        // Strings: their methods are reached without a front, but nobody gets at the table through them.
        lua.push_bytes(b"");
        if lua.metatable(-1) {
            lua.push_table(0, 1);
            lua.field(globals, b"string");
            lua.set_field(-2, b"__index");
            protect(lua);
            lua.set_field(-2, b"__metatable");
            lua.pop(1);
        }
        lua.pop(1);
        lua.push_copy(globals);
        refuse_unknown(lua);
        protect(lua);
        lua.push_copy(-1);
        lua.set_field(globals, b"_G");
        lua.push_copy(-1);
        lua.replace(GLOBALS);
        let environment = lua.make_ref(REGISTRY);
        let globals = lua.make_ref(REGISTRY);
        lua.push_function(handle_error);
        let handler = lua.make_ref(REGISTRY);
        lua.set_top(0);
        State { lua, environment, globals, handler, runs: 0 }
    }

    /// Empties the stack, resets the thread's globals (a script may have replaced them) and pushes the error handler.
    pub fn begin(&self) {
        self.lua.set_top(0);
        self.lua.raw_get_index(REGISTRY, self.environment);
        self.lua.replace(GLOBALS);
        self.lua.raw_get_index(REGISTRY, self.handler);
    }

    /// Ends a run: the collector gets its share.
    pub fn end(&mut self) {
        self.lua.set_top(0);
        self.runs += 1;
        if self.runs >= COLLECT_EVERY {
            self.runs = 0;
            self.lua.collect_step(COLLECT_EVERY as c_int);
        }
    }
}

impl Drop for State {
    fn drop(&mut self) {
        self.lua.close();
    }
}

/// Puts our functions in the place of Lua's, in the globals' table on top.
fn stand_before(lua: Lua) {
    let globals = lua.top();
    let get = |table: c_int, name: &str| {
        lua.field(table, name.as_bytes());
        let f = lua.c_function(-1).expect("a function of Lua's libraries");
        lua.pop(1);
        f
    };
    lua.field(globals, b"table");
    let table = lua.top();
    ORIGINALS.get_or_init(|| Originals {
        next: get(globals, "next"),
        pairs: get(globals, "pairs"),
        rawget: get(globals, "rawget"),
        rawset: get(globals, "rawset"),
        getmetatable: get(globals, "getmetatable"),
        setmetatable: get(globals, "setmetatable"),
        unpack: get(globals, "unpack"),
        insert: get(table, "insert"),
        remove: get(table, "remove"),
        sort: get(table, "sort"),
        setn: get(table, "setn"),
        foreach: get(table, "foreach"),
    });
    for (name, f) in [("insert", insert as lua_CFunction), ("remove", remove), ("sort", sort)] {
        lua.push_c_function(f, 0);
        lua.set_field(table, name.as_bytes());
    }
    lua.push_c_function(setn, 0);
    lua.set_field(table, b"setn");
    lua.push_c_function(foreach, 0);
    lua.set_field(table, b"foreach");
    lua.pop(1);

    lua.field(globals, b"next");
    lua.push_c_function(next, 0);
    lua.push_copy(-1);
    lua.set_field(globals, b"next");
    lua.push_c_function(pairs, 2);
    lua.set_field(globals, b"pairs");
    for (name, f) in [
        ("rawget", rawget as lua_CFunction),
        ("rawset", rawset),
        ("getmetatable", getmetatable),
        ("setmetatable", setmetatable),
        ("unpack", unpack),
        ("pcall", pcall),
    ] {
        lua.push_c_function(f, 0);
        lua.set_field(globals, name.as_bytes());
    }
    lua.push_function(loadstring);
    lua.set_field(globals, b"loadstring");
    lua.push_function(load);
    lua.set_field(globals, b"load");
    lua.push_table(0, 1);
    lua.field(globals, b"os");
    lua.field(-1, b"clock");
    lua.set_field(-3, b"clock");
    lua.pop(1);
    lua.set_field(globals, b"os");
    super::random::open(lua);
}
