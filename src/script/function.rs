//! Libraries of functions: loaded once, kept with the data, called by name.
use super::convert::{raise, read_error};
use super::lua::{lua_State, Lua, Raised, Results, Type, REGISTRY};
use super::run::{is_running, key_count, Call, Run};
use super::sandbox::{protect, refuse_unknown, retarget, State};
use super::{engines, note_memory, script_flag, FIGURES};
use crate::config::glob::glob_match;
use crate::config::text::split_args;
use crate::execute::error::err;
use crate::execute::{text, CommandError, CommandResult, Tx};
use crate::observe::clock::mono_ns;
use crate::reply::Reply;
use crate::snapshot::{opcode, seal, unseal, Reader, Writer};
use std::collections::{BTreeMap, HashMap};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, Ordering::Relaxed};

/// A function of a library.
struct Function {
    /// In the registry.
    reference: i32,
    description: Option<Vec<u8>>,
    /// Bits of [`script_flag`].
    flags: u32,
}

/// A library.
struct Library {
    /// Its text, as it was loaded.
    code: Vec<u8>,
    functions: BTreeMap<String, Function>,
}

/// Libraries by name, and whose the functions are. Functions are found in any case.
#[derive(Default)]
struct Set {
    libraries: BTreeMap<String, Library>,
    owners: HashMap<String, (String, String)>,
}

/// The interpreter of functions and its libraries.
pub struct Functions {
    state: State,
    /// What libraries see as globals while they are loaded, in the registry.
    loading_globals: i32,
    set: Set,
}

impl Default for Functions {
    fn default() -> Self {
        let state = State::new(|lua| super::redis::open(lua, false));
        let lua = state.lua;
        lua.push_table(0, 1);
        lua.push_table(0, 10);
        super::redis::add_basics(lua);
        lua.push_function(register_function);
        lua.set_field(-2, b"register_function");
        refuse_unknown(lua);
        protect(lua);
        lua.set_field(-2, b"redis");
        refuse_unknown(lua);
        let loading_globals = lua.make_ref(REGISTRY);
        Functions { state, loading_globals, set: Set::default() }
    }
}

impl Functions {
    /// Whether a function says that it does not write.
    pub(super) fn never_writes(&self, name: &[u8]) -> bool {
        self.set.find(name).is_some_and(|(_, f)| f.flags & script_flag::NO_WRITES != 0)
    }
}

/// How long a library may take to load.
const LOAD_LIMIT_NS: u64 = 500_000_000;

/// A library that is being loaded.
struct Loading {
    functions: BTreeMap<String, Function>,
    began: u64,
    limited: bool,
}

/// The library that is being loaded, for the functions that Lua calls.
static LOADING: AtomicPtr<Loading> = AtomicPtr::new(null_mut());

/// The library that is being loaded. The reference is used by one function that Lua called, and not kept.
fn loading() -> Option<&'static mut Loading> {
    // SAFETY: lock: only the holder of the module lock loads libraries, so the caller is below the frame that owns it.
    unsafe { LOADING.load(Relaxed).as_mut() }
}

unsafe extern "C-unwind" fn loading_hook(thread: *mut lua_State, _: *mut mlua_sys::lua_Debug) {
    if !loading().is_some_and(|l| l.limited && mono_ns() - l.began > LOAD_LIMIT_NS) {
        return;
    }
    // SAFETY: layout: Lua's own thread; what was pushed is raised, and nothing here has a destructor.
    unsafe {
        let lua = Lua::of(thread);
        lua.hook_lines(loading_hook);
        super::convert::push_error(lua, b"FUNCTION LOAD timeout");
        mlua_sys::lua_error(thread);
    }
}

fn is_name(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|c| c.is_ascii_alphanumeric() || *c == b'_')
}

const BAD_NAME: &str =
    "Library names can only contain letters, numbers, or underscores(_) and must be at least one character long";

/// What `redis.register_function` was given.
#[derive(Default)]
struct Registered {
    name: Option<Vec<u8>>,
    description: Option<Vec<u8>>,
    /// Where on the stack the function is.
    callback: Option<i32>,
    flags: u32,
}

fn c_text(lua: Lua, at: i32) -> Option<Vec<u8>> {
    lua.is_text(at).then(|| lua.bytes(at).to_vec())
}

/// The flags in the table on top.
fn read_flags(lua: Lua) -> Option<u32> {
    let mut flags = 0;
    for i in 1.. {
        lua.raw_get_index(-1, i);
        let name = match lua.kind(-1) {
            Type::Nil => {
                lua.pop(1);
                break;
            }
            _ => c_text(lua, -1),
        };
        lua.pop(1);
        flags |= script_flag::of(&name?.to_ascii_lowercase())?;
    }
    Some(flags)
}

fn named_arguments(lua: Lua) -> Result<Registered, &'static str> {
    if lua.kind(1) != Type::Table {
        return Err(
            "calling redis.register_function with a single argument is only applicable to Lua table (representing named \
             arguments).",
        );
    }
    let mut r = Registered::default();
    // A place for the function, below the iteration.
    lua.push_nil();
    lua.push_nil();
    while lua.next(1) {
        lua.push_copy(-2);
        let key = c_text(lua, -1).map(|k| k.to_ascii_lowercase());
        lua.pop(1);
        match key.as_deref() {
            None => {
                return Err("named argument key given to redis.register_function is not a string")
            }
            Some(b"function_name") => {
                r.name = Some(c_text(lua, -1).ok_or(
                    "function_name argument given to redis.register_function must be a string",
                )?);
            }
            Some(b"description") => {
                r.description = Some(c_text(lua, -1).ok_or(
                    "description argument given to redis.register_function must be a string",
                )?);
            }
            Some(b"callback") => {
                if lua.kind(-1) != Type::Function {
                    return Err(
                        "callback argument given to redis.register_function must be a function",
                    );
                }
                lua.push_copy(-1);
                lua.replace(2);
                r.callback = Some(2);
            }
            Some(b"flags") => {
                if lua.kind(-1) != Type::Table {
                    return Err(
                        "flags argument to redis.register_function must be a table representing function flags",
                    );
                }
                r.flags = read_flags(lua).ok_or("unknown flag given")?;
            }
            Some(_) => return Err("unknown argument given to redis.register_function"),
        }
        lua.pop(1);
    }
    if r.name.is_none() {
        return Err("redis.register_function must get a function name argument");
    }
    if r.callback.is_none() {
        return Err("redis.register_function must get a callback argument");
    }
    Ok(r)
}

/// `redis.register_function (name, function)` or `redis.register_function {function_name = ..., callback = ..., ...}`
fn register_function(lua: Lua) -> Results {
    let Some(loading) = loading() else {
        let text = b"redis.register_function can only be called on FUNCTION LOAD command";
        return Err(raise(lua, text));
    };
    let registered = match lua.top() {
        1 => named_arguments(lua),
        2 => match c_text(lua, 1) {
            None => Err("first argument to redis.register_function must be a string"),
            Some(_) if lua.kind(2) != Type::Function => {
                Err("second argument to redis.register_function must be a function")
            }
            name => Ok(Registered { name, callback: Some(2), ..Default::default() }),
        },
        _ => Err("wrong number of arguments to redis.register_function"),
    };
    let r = registered.map_err(|e| raise(lua, e.as_bytes()))?;
    let name = r.name.unwrap_or_default();
    if !is_name(&name) {
        return Err(raise(lua, BAD_NAME.as_bytes()));
    }
    let name = text(&name).into_owned();
    if loading.functions.contains_key(&name) {
        return Err(raise(lua, b"Function already exists in the library"));
    }
    lua.push_copy(r.callback.unwrap_or(2));
    let reference = lua.make_ref(REGISTRY);
    let function = Function { reference, description: r.description, flags: r.flags };
    loading.functions.insert(name, function);
    Ok(0)
}

/// The name that a library's first line gives it, and where its code begins.
fn metadata(code: &[u8]) -> Result<(String, usize), CommandError> {
    if !code.starts_with(b"#!") {
        return Err(err("ERR Missing library metadata"));
    }
    let invalid = || err("ERR Invalid library metadata");
    let end = code.iter().position(|&c| c == b'\n').ok_or_else(invalid)?;
    let parts = split_args(&code[..end]).unwrap_or_default();
    let (engine, options) = parts.split_first().ok_or_else(invalid)?;
    let mut name: Option<&[u8]> = None;
    for option in options {
        let is_name = option.len() >= 5 && option[..5].eq_ignore_ascii_case(b"name=");
        if !is_name {
            return Err(err(format!("ERR Invalid metadata value given: {}", text(option))));
        }
        if name.is_some() {
            return Err(err("ERR Invalid metadata value, name argument was given multiple times"));
        }
        name = Some(&option[5..]);
    }
    let name = name.ok_or_else(|| err("ERR Library name was not given"))?;
    if !is_name(name) {
        return Err(err(format!("ERR {BAD_NAME}")));
    }
    if !engine[2..].eq_ignore_ascii_case(b"lua") {
        return Err(err(format!("ERR Engine '{}' not found", text(&engine[2..]))));
    }
    Ok((text(name).into_owned(), end))
}

impl Set {
    fn unlink(&mut self, name: &str) -> Option<Library> {
        let library = self.libraries.remove(name)?;
        self.owners.retain(|_, (owner, _)| owner != name);
        Some(library)
    }

    fn link(&mut self, name: String, library: Library) {
        for function in library.functions.keys() {
            self.owners
                .entry(function.to_ascii_lowercase())
                .or_insert_with(|| (name.clone(), function.clone()));
        }
        self.libraries.insert(name, library);
    }

    /// The first function of a library that exists already.
    fn collision<'l>(&self, library: &'l Library) -> Option<&'l String> {
        library.functions.keys().find(|f| self.owners.contains_key(&f.to_ascii_lowercase()))
    }

    fn find(&self, name: &[u8]) -> Option<(&str, &Function)> {
        let (library, function) = self.owners.get(&text(name).to_ascii_lowercase())?;
        let (name, f) = self.libraries.get(library)?.functions.get_key_value(function)?;
        Some((name, f))
    }
}

impl Functions {
    fn free(&self, library: &Library) {
        for f in library.functions.values() {
            self.state.lua.unref(REGISTRY, f.reference);
        }
    }

    /// Runs a library's code and returns what it registered.
    fn run_code(
        &mut self,
        code: &[u8],
        limited: bool,
    ) -> Result<BTreeMap<String, Function>, CommandError> {
        let lua = self.state.lua;
        self.state.begin();
        lua.raw_get_index(REGISTRY, self.state.environment);
        lua.raw_get_index(REGISTRY, self.loading_globals);
        lua.push_copy(-2);
        retarget(lua, -2);
        lua.pop(3);
        let mut loading = Loading { functions: BTreeMap::new(), began: mono_ns(), limited };
        let result = match lua.load(code, c"@user_function") {
            Err(Raised) => {
                Err(err(format!("ERR Error compiling function: {}", text(lua.c_bytes(-1)))))
            }
            Ok(()) => {
                LOADING.store(&raw mut loading, Relaxed);
                lua.hook(loading_hook, 100_000);
                let result = lua.call(0, 0, 0);
                lua.unhook();
                LOADING.store(null_mut(), Relaxed);
                result.map_err(|Raised| {
                    let message = read_error(lua).text;
                    err(format!("ERR Error registering functions: {}", text(&message)))
                })
            }
        };
        lua.set_top(0);
        lua.raw_get_index(REGISTRY, self.state.globals);
        lua.raw_get_index(REGISTRY, self.state.environment);
        retarget(lua, -2);
        self.state.end();
        note_memory(&FIGURES.function_memory, &self.state);
        let failed = match result {
            Ok(()) if !loading.functions.is_empty() => return Ok(loading.functions),
            Ok(()) => err("ERR No functions registered"),
            Err(e) => e,
        };
        self.free(&Library { code: Vec::new(), functions: loading.functions });
        Err(failed)
    }

    /// Loads a library into a set, in place of one of the same name if `replace` says so.
    fn load_into(
        &mut self,
        set: &mut Set,
        code: &[u8],
        replace: bool,
        limited: bool,
    ) -> Result<String, CommandError> {
        let (name, begin) = metadata(code)?;
        if !replace && set.libraries.contains_key(&name) {
            return Err(err(format!("ERR Library '{name}' already exists")));
        }
        let functions = self.run_code(&code[begin..], limited)?;
        let library = Library { code: code.to_vec(), functions };
        let old = set.unlink(&name);
        if let Some(function) = set.collision(&library).cloned() {
            self.free(&library);
            if let Some(old) = old {
                set.link(name, old);
            }
            return Err(err(format!("ERR Function {function} already exists")));
        }
        if let Some(old) = old {
            self.free(&old);
        }
        set.link(name.clone(), library);
        Ok(name)
    }

    fn note(&self) {
        let functions: usize = self.set.libraries.values().map(|l| l.functions.len()).sum();
        FIGURES.libraries.store(self.set.libraries.len() as u64, Relaxed);
        FIGURES.functions.store(functions as u64, Relaxed);
        note_memory(&FIGURES.function_memory, &self.state);
    }
}

/// The functions, for a command that changes or reads them: not while a script runs.
fn functions<'t>(tx: &'t Tx<'_>) -> Result<&'t mut Functions, CommandError> {
    if is_running() {
        return Err(err("ERR This Redis command is not allowed from script"));
    }
    Ok(engines(tx).functions.get_or_insert_default())
}

/// Loads a library (`FUNCTION LOAD`); returns its name. `limited`: it may not take long.
pub fn load(
    tx: &Tx<'_>,
    code: &[u8],
    replace: bool,
    limited: bool,
) -> Result<String, CommandError> {
    let f = functions(tx)?;
    let mut set = std::mem::take(&mut f.set);
    let loaded = f.load_into(&mut set, code, replace, limited);
    f.set = set;
    f.note();
    loaded
}

/// Deletes a library (`FUNCTION DELETE`).
pub fn delete(tx: &Tx<'_>, name: &[u8]) -> CommandResult {
    let f = functions(tx)?;
    let library = f.set.unlink(&text(name)).ok_or_else(|| err("ERR Library not found"))?;
    f.free(&library);
    f.note();
    Ok(())
}

/// An interpreter that nobody uses any more, on its way to the thread that frees it.
struct Unused(#[allow(dead_code, reason = "it is dropped")] Functions);

// SAFETY: lock: nobody else has a pointer into the interpreter any more.
unsafe impl Send for Unused {}

/// Deletes all libraries (`FUNCTION FLUSH`), and their interpreter; in the background when `lazily` says so.
pub fn flush(tx: &Tx<'_>, lazily: bool) -> CommandResult {
    functions(tx)?;
    let old = engines(tx).functions.take();
    if let Some(old) = old.filter(|_| lazily) {
        // The interpreter counts as well, as on Redis.
        let things = old.set.owners.len() as u64 + 1;
        crate::keyspace::lazy_free::drop_later(things, Unused(old));
    }
    for figure in [&FIGURES.libraries, &FIGURES.functions, &FIGURES.function_memory] {
        figure.store(0, Relaxed);
    }
    Ok(())
}

/// Writes the libraries whose names match (`FUNCTION LIST`).
pub fn list(
    tx: &Tx<'_>,
    pattern: Option<&[u8]>,
    with_code: bool,
    out: &mut Reply,
) -> CommandResult {
    let f = functions(tx)?;
    let at = out.deferred();
    let mut n = 0;
    for (name, library) in &f.set.libraries {
        if pattern.is_some_and(|p| !glob_match(p, name.as_bytes(), true)) {
            continue;
        }
        n += 1;
        out.map(3 + usize::from(with_code));
        out.bulk(b"library_name");
        out.bulk_str(name);
        out.bulk(b"engine");
        out.bulk(b"LUA");
        out.bulk(b"functions");
        out.array(library.functions.len());
        for (name, function) in &library.functions {
            out.map(3);
            out.bulk(b"name");
            out.bulk_str(name);
            out.bulk(b"description");
            match &function.description {
                Some(d) => out.bulk(d),
                None => out.null(),
            }
            out.bulk(b"flags");
            let set = |bit: u32| function.flags & bit != 0;
            out.set(script_flag::NAMES.iter().filter(|(bit, _)| set(*bit)).count());
            for (_, name) in script_flag::NAMES.iter().filter(|(bit, _)| set(*bit)) {
                out.simple(name);
            }
        }
        if with_code {
            out.bulk(b"library_code");
            out.bulk(&library.code);
        }
    }
    out.fill_array(at, n);
    Ok(())
}

/// Writes all libraries as they stand in a snapshot file.
pub fn save(tx: &Tx<'_>, out: &mut Writer) {
    for library in engines(tx).functions.iter().flat_map(|f| f.set.libraries.values()) {
        out.byte(opcode::FUNCTION2);
        out.string(&library.code);
    }
}

/// Shows the code of all libraries.
pub fn each_library(tx: &Tx<'_>, mut f: impl FnMut(&[u8])) {
    for library in engines(tx).functions.iter().flat_map(|f| f.set.libraries.values()) {
        f(&library.code);
    }
}

/// All libraries as one payload (`FUNCTION DUMP`).
pub fn dump(tx: &Tx<'_>) -> Result<Vec<u8>, CommandError> {
    functions(tx)?;
    let mut out = Writer::to_memory(tx.server.config.rdbcompression());
    save(tx, &mut out);
    Ok(seal(out.into_bytes()))
}

/// What becomes of the libraries that exist when others are restored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Policy {
    /// They are deleted.
    Flush,
    /// They stay; a library of the same name is an error.
    Append,
    /// A library of the same name is replaced.
    Replace,
}

/// The text of the next library in a payload.
fn next_library(r: &mut Reader<'_>) -> Result<Vec<u8>, CommandError> {
    match r.byte() {
        Ok(opcode::FUNCTION2) => r.string().map_err(|_| err("ERR Failed loading library payload")),
        Ok(opcode::FUNCTION_PRE_GA) => Err(err("ERR Pre-GA function format not supported")),
        Ok(_) => Err(err("ERR given type is not a function")),
        Err(_) => Err(err("ERR can not read data type")),
    }
}

/// Restores libraries from a payload (`FUNCTION RESTORE`): all or none.
pub fn restore(tx: &Tx<'_>, payload: &[u8], policy: Policy) -> CommandResult {
    let f = functions(tx)?;
    let body =
        unseal(payload).ok_or_else(|| err("ERR DUMP payload version or checksum are wrong"))?;
    let mut new = Set::default();
    let mut failed = None;
    let mut r = Reader::of_memory(body);
    while r.left() > 0 && failed.is_none() {
        let code = next_library(&mut r);
        failed = code.and_then(|code| f.load_into(&mut new, &code, false, false)).err();
    }
    let mut kept = std::mem::take(&mut f.set);
    let mut replaced = Vec::new();
    if failed.is_none() {
        failed = join(&mut kept, &new, policy, &mut replaced).err();
    }
    if failed.is_some() {
        new.libraries.values().for_each(|l| f.free(l));
        replaced.into_iter().for_each(|(name, library)| kept.link(name, library));
    } else {
        replaced.iter().for_each(|(_, l)| f.free(l));
        new.libraries.into_iter().for_each(|(name, library)| kept.link(name, library));
    }
    f.set = kept;
    f.note();
    failed.map_or(Ok(()), Err)
}

/// Makes room in `kept` for all of `new`; what has to go comes to `replaced`, also when it fails.
fn join(
    kept: &mut Set,
    new: &Set,
    policy: Policy,
    replaced: &mut Vec<(String, Library)>,
) -> CommandResult {
    let gone: Vec<String> = match policy {
        Policy::Flush => kept.libraries.keys().cloned().collect(),
        _ => new.libraries.keys().filter(|n| kept.libraries.contains_key(*n)).cloned().collect(),
    };
    if let (Policy::Append, Some(name)) = (policy, gone.first()) {
        return Err(err(format!("ERR Library {name} already exists")));
    }
    for name in gone {
        if let Some(library) = kept.unlink(&name) {
            replaced.push((name, library));
        }
    }
    match new.libraries.values().find_map(|l| kept.collision(l)) {
        Some(function) => Err(err(format!("ERR Function {function} already exists"))),
        None => Ok(()),
    }
}

/// `FCALL` and `FCALL_RO`
pub fn call(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply, read_only: bool) -> CommandResult {
    let f = functions(tx)?;
    let (name, function) = f.set.find(args[1]).ok_or_else(|| err("ERR Function not found"))?;
    let name = name.to_string();
    let (reference, flags) = (function.reference, function.flags);
    let keys = key_count(args, err("ERR Bad number of keys provided"))?;
    let call = Call { name: &name, function: true, flags, read_only, args, keys };
    let run = Run::prepare(tx, &call)?;
    let state: *const State = &raw const functions(tx)?.state;
    // SAFETY: lock: the engines belong to the holder of the module lock, which is this thread, and every way to them is
    // closed while a script runs (`is_running`).
    let state = unsafe { &*state };
    state.begin();
    state.lua.raw_get_index(REGISTRY, reference);
    run.go(tx, state, &call, out);
    let f = functions(tx)?;
    f.state.end();
    note_memory(&FIGURES.function_memory, &f.state);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In place of the module lock: one library is loaded at a time.
    static LOCK: parking_lot::Mutex<()> = parking_lot::Mutex::new(());

    fn load_all(codes: &[&str]) -> (Functions, Vec<Result<String, String>>) {
        let _lock = LOCK.lock();
        let mut f = Functions::default();
        let mut set = Set::default();
        let results = codes
            .iter()
            .map(|c| f.load_into(&mut set, c.as_bytes(), false, true).map_err(|e| e.0.into_owned()))
            .collect();
        f.set = set;
        (f, results)
    }

    const ONE: &str =
        "#!lua name=one\nredis.register_function('f', function(keys, args) return 1 end)";

    #[test]
    fn functions_are_found_in_any_case() {
        let (f, results) = load_all(&[
            ONE,
            ONE,
            "#!lua name=two\nredis.register_function('F', function() end)",
            "#!lua name=two\nredis.register_function{function_name='g', callback=function() end, \
             description='d', flags={'no-writes'}}",
        ]);
        assert_eq!(results[0], Ok("one".into()));
        assert_eq!(results[1], Err("ERR Library 'one' already exists".into()));
        assert_eq!(results[2], Err("ERR Function F already exists".into()));
        assert_eq!(results[3], Ok("two".into()));
        assert_eq!(f.set.find(b"F").map(|(n, _)| n), Some("f"));
        let (name, g) = f.set.find(b"g").expect("registered");
        assert_eq!((name, g.flags, g.description.as_deref()), ("g", 1, Some(&b"d"[..])));
        assert!(f.set.find(b"h").is_none());
    }

    #[test]
    fn replacing_and_deleting() {
        let (mut f, _) = load_all(&[ONE]);
        let mut set = std::mem::take(&mut f.set);
        let other = ONE.replace("'f'", "'other'");
        let _lock = LOCK.lock();
        assert!(f.load_into(&mut set, other.as_bytes(), true, true).is_ok());
        assert!(set.find(b"f").is_none() && set.find(b"other").is_some());
        assert!(set.unlink("one").is_some());
        assert!(set.find(b"other").is_none() && set.owners.is_empty());
    }

    #[test]
    fn loading_is_limited() {
        let (_, results) = load_all(&[
            "#!lua name=a\nwhile true do end",
            "#!lua name=b\nreturn math.random()",
            "#!lua name=c\nreturn redis.call('PING')",
            "#!lua name=d\nlocal x = 1",
            "#!lua name=e\nx = 1",
        ]);
        let errors: Vec<String> = results.into_iter().map(|r| r.expect_err("refused")).collect();
        assert!(errors[0].ends_with("ERR FUNCTION LOAD timeout"), "{}", errors[0]);
        assert!(errors[1].ends_with("nonexistent global variable 'math'"), "{}", errors[1]);
        assert!(errors[2].ends_with("nonexistent global variable 'call'"), "{}", errors[2]);
        assert_eq!(errors[3], "ERR No functions registered");
        assert!(errors[4].ends_with("Attempt to modify a readonly table"), "{}", errors[4]);
    }

    #[test]
    fn metadata_of_libraries() {
        let error = |code: &str| metadata(code.as_bytes()).expect_err(code).0.into_owned();
        assert_eq!(metadata(b"#!LUA NAME=x\nx"), Ok(("x".into(), 12)));
        assert_eq!(error("return 1"), "ERR Missing library metadata");
        assert_eq!(error("#!lua name=x"), "ERR Invalid library metadata");
        assert_eq!(error("#!lua\n"), "ERR Library name was not given");
        assert_eq!(error("#!lua name=x y=z\n"), "ERR Invalid metadata value given: y=z");
        assert_eq!(error("#!js name=x\n"), "ERR Engine 'js' not found");
        assert_eq!(error("#!lua name=a-b\n"), format!("ERR {BAD_NAME}"));
    }
}
