//! Scripts and functions: Lua 5.1 under the module lock.
//!
//! * [`lua`]: a handle of Lua's C interface
//! * [`sandbox`]: an interpreter as scripts see it
//! * [`run`]: one run of a script: its limits, the commands that it calls, how it is killed
//! * [`redis`]: the table `redis`; [`convert`]: replies to Lua and back
//! * [`eval`]: the scripts of `EVAL`; [`function`]: libraries of `FUNCTION`
//! * [`cjson`], [`cmsgpack`], [`structs`], [`bit`], [`random`]: the libraries that Redis adds
pub mod bit;
pub mod cjson;
pub mod cmsgpack;
pub mod convert;
pub mod eval;
pub mod function;
pub mod lua;
pub mod random;
pub mod redis;
pub mod run;
pub mod sandbox;
pub mod structs;

use crate::execute::{Mode, Tx};
use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The interpreters. They belong to the holder of the module lock.
#[derive(Default)]
struct Engines {
    eval: Option<eval::Scripts>,
    functions: Option<function::Functions>,
}

struct Guarded(UnsafeCell<Option<Engines>>);

// SAFETY: lock: reached only by the holder of the module lock, see `engines`.
unsafe impl Sync for Guarded {}

static ENGINES: Guarded = Guarded(UnsafeCell::new(None));

/// The interpreters, made when they are first asked for. The reference must not be kept while a script runs.
#[allow(clippy::mut_from_ref)]
fn engines<'t>(tx: &'t Tx<'_>) -> &'t mut Engines {
    assert_eq!(tx.mode(), Mode::Module, "scripts run under the module lock");
    // SAFETY: lock: module mode means that this thread has the module lock.
    unsafe { (*ENGINES.0.get()).get_or_insert_default() }
}

/// Whether the script, or function, that an `EVALSHA` or `FCALL` runs says of itself that it does not write. The calling
/// thread has the module lock.
pub fn never_writes(command: &str, name: &[u8]) -> bool {
    // SAFETY: lock: this function's contract.
    let engines = unsafe { (*ENGINES.0.get()).as_ref() };
    match command {
        "evalsha" => engines.and_then(|e| e.eval.as_ref()).is_some_and(|s| s.never_writes(name)),
        "fcall" => engines.and_then(|e| e.functions.as_ref()).is_some_and(|f| f.never_writes(name)),
        _ => false,
    }
}

/// What `INFO` tells about scripts, readable without the module lock.
#[derive(Default)]
pub struct Figures {
    /// Cached scripts.
    pub scripts: AtomicU64,
    /// Bytes of their texts.
    pub script_bytes: AtomicU64,
    /// Scripts of `EVAL` that had to make room.
    pub evicted: AtomicU64,
    /// Bytes of the interpreter of `EVAL`.
    pub eval_memory: AtomicU64,
    /// Libraries.
    pub libraries: AtomicU64,
    /// Functions.
    pub functions: AtomicU64,
    /// Bytes of the interpreter of functions.
    pub function_memory: AtomicU64,
}

/// The figures of this process.
pub static FIGURES: Figures = Figures {
    scripts: AtomicU64::new(0),
    script_bytes: AtomicU64::new(0),
    evicted: AtomicU64::new(0),
    eval_memory: AtomicU64::new(0),
    libraries: AtomicU64::new(0),
    functions: AtomicU64::new(0),
    function_memory: AtomicU64::new(0),
};

/// Bits that a script or a function declares.
pub mod script_flag {
    /// It changes nothing.
    pub const NO_WRITES: u32 = 1;
    /// It may run when memory is short.
    pub const ALLOW_OOM: u32 = 1 << 1;
    /// It may run on a replica that lost its primary.
    pub const ALLOW_STALE: u32 = 1 << 2;
    /// It does not run in a cluster.
    pub const NO_CLUSTER: u32 = 1 << 3;
    /// It touches keys of several slots.
    pub const ALLOW_CROSS_SLOT: u32 = 1 << 4;
    /// It declares nothing: a script without a shebang line.
    pub const COMPATIBLE: u32 = 1 << 5;
    /// Names, in the order in which `FUNCTION LIST` prints them.
    pub const NAMES: &[(u32, &str)] = &[
        (NO_WRITES, "no-writes"),
        (ALLOW_OOM, "allow-oom"),
        (ALLOW_STALE, "allow-stale"),
        (NO_CLUSTER, "no-cluster"),
        (ALLOW_CROSS_SLOT, "allow-cross-slot-keys"),
    ];

    /// The bit of a name.
    pub fn of(name: &[u8]) -> Option<u32> {
        NAMES.iter().find(|(_, n)| n.as_bytes() == name).map(|(bit, _)| *bit)
    }
}

/// The SHA-1 digest of a text.
pub fn digest(text: &[u8]) -> [u8; 20] {
    use sha1::Digest;
    sha1::Sha1::digest(text).into()
}

/// A digest in hexadecimal digits.
pub fn hex(digest: &[u8]) -> String {
    const DIGITS: &[u8] = b"0123456789abcdef";
    let mut s = String::with_capacity(digest.len() * 2);
    for b in digest {
        s.push(DIGITS[usize::from(b >> 4)] as char);
        s.push(DIGITS[usize::from(b & 15)] as char);
    }
    s
}

/// Notes the size of an interpreter for `INFO`.
fn note_memory(figure: &AtomicU64, state: &sandbox::State) {
    figure.store(state.lua.memory(), Relaxed);
}

#[cfg(test)]
pub(crate) mod tests {
    use super::lua::Lua;
    use super::sandbox::State;

    /// Runs a chunk in a fresh sandbox: the text that it returns, or its error.
    pub fn result_of(code: &str) -> Result<Vec<u8>, String> {
        let state = State::new(super::redis::open_for_tests);
        let lua: Lua = state.lua;
        state.begin();
        let text = |lua: Lua| String::from_utf8_lossy(lua.bytes(-1)).into_owned();
        if lua.load(code.as_bytes(), c"@test").is_err() {
            return Err(text(lua));
        }
        if lua.call(0, 1, 1).is_err() {
            lua.field(-1, b"err");
            return Err(text(lua));
        }
        Ok(lua.bytes(-1).to_vec())
    }

    fn ok(code: &str) -> String {
        String::from_utf8_lossy(&result_of(code).expect(code)).into_owned()
    }

    fn fails(code: &str) -> String {
        result_of(code).expect_err(code)
    }

    #[test]
    fn tables_cannot_be_changed() {
        for code in [
            "x = 1",
            "_G.x = 1",
            "redis.x = 1",
            "string.format = nil",
            "rawset(_G, 'x', 1)",
            "rawset(redis, 'x', 1)",
            "setmetatable(_G, {})",
            "table.insert(redis, 1)",
            "getmetatable(_G).__index = 1",
            "getmetatable('').__index = 1",
            "getmetatable('').__index.len = 1",
        ] {
            // What Lua's own functions refuse is said without a place.
            let place =
                if code.contains('(') && !code.starts_with("getmeta") { "" } else { "test:1: " };
            let text = format!("ERR {place}Attempt to modify a readonly table");
            assert_eq!(fails(code), text, "{code}");
        }
    }

    #[test]
    fn unknown_globals_are_errors() {
        let text = "ERR test:1: Script attempted to access nonexistent global variable 'x'";
        assert_eq!(fails("return x"), text);
        assert_eq!(fails("return _G.x"), text);
        for gone in ["io", "require", "dofile", "loadfile", "print", "newproxy", "debug"] {
            assert!(fails(&format!("return {gone}")).contains("nonexistent"), "{gone}");
        }
        assert_eq!(ok("return tostring(rawget(_G, 'x'))"), "nil");
        assert_eq!(ok("return tostring(os.exit)"), "nil");
    }

    #[test]
    fn protected_tables_can_be_looked_at() {
        assert_eq!(ok("return type(rawget(redis, 'sha1hex'))"), "function");
        assert_eq!(ok("local n = 0; for k in pairs(string) do n = n + 1 end; return n > 10"), "");
        assert_eq!(
            ok("for k in pairs(bit) do if k == 'tohex' then return 'found' end end"),
            "found"
        );
        assert_eq!(ok("return type(next(math))"), "string");
        assert_eq!(ok("return ('a'):rep(3) .. ('x').upper('y')"), "aaaY");
        assert_eq!(ok("return tostring(_G == _G._G)"), "true");
    }

    #[test]
    fn compiled_code_is_refused() {
        let code =
            "local f, e = loadstring(string.dump(function() return 1 end)); return tostring(f)";
        assert_eq!(ok(code), "nil");
        assert_eq!(ok("return loadstring('return 7')()"), "7");
        assert_eq!(ok("local n = 0; return load(function() n = n + 1; return ({'return ', '8'})[n] end)()"), "8");
    }

    #[test]
    fn pcall_gives_texts() {
        assert_eq!(ok("local _, e = pcall(error, {err = 'E x'}); return e"), "E x");
        assert_eq!(ok("local _, e = pcall(error, {1}); return type(e)"), "table");
        assert_eq!(ok("return select('#', pcall(function() return 1, nil, 3 end))"), "4");
    }

    #[test]
    fn unpack_does_not_overflow() {
        assert!(fails("unpack({}, 0, 2147483647)").contains("too many results"));
        assert!(fails("unpack({}, -2147483648, 2147483647)").contains("too many results"));
        assert_eq!(ok("return select('#', unpack({1, 2, 3}))"), "3");
    }
}
