//! The scripts of `EVAL`: compiled once, found by the digest of their text.
use super::lua::REGISTRY;
use super::run::{is_running, key_count, Call, Run};
use super::sandbox::State;
use super::{digest, engines, hex, note_memory, script_flag, FIGURES};
use crate::config::text::split_args;
use crate::execute::error::{err, NOT_INTEGER};
use crate::execute::{text, CommandError, CommandResult, Tx};
use crate::reply::Reply;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::Ordering::Relaxed;

/// A digest of a script.
pub type Sha = [u8; 20];

/// A compiled script.
struct Script {
    /// Its function, in the registry.
    function: i32,
    /// Bits of [`script_flag`].
    flags: u32,
    /// Its place in the order of use, if it came by `EVAL`: those make room for each other.
    used: Option<u64>,
    bytes: usize,
}

/// The interpreter of `EVAL` and its scripts.
pub struct Scripts {
    state: State,
    scripts: HashMap<Sha, Script>,
    by_use: BTreeMap<u64, Sha>,
    clock: u64,
}

/// Scripts of `EVAL` that are kept.
const KEPT: usize = 500;

const NO_SCRIPT: CommandError =
    CommandError(std::borrow::Cow::Borrowed("NOSCRIPT No matching script. Please use EVAL."));

impl Default for Scripts {
    fn default() -> Self {
        Scripts {
            state: State::new(|lua| super::redis::open(lua, true)),
            scripts: HashMap::new(),
            by_use: BTreeMap::new(),
            clock: 0,
        }
    }
}

impl Scripts {
    /// Whether the script with this digest, in hexadecimal digits, says that it does not write.
    pub(super) fn never_writes(&self, digest: &[u8]) -> bool {
        let script = parse_sha(digest).and_then(|sha| self.scripts.get(&sha));
        script.is_some_and(|s| s.flags & script_flag::NO_WRITES != 0)
    }

    /// Compiles a script, if it is not known. `keep`: it never makes room (`SCRIPT LOAD`).
    fn create(&mut self, body: &[u8], sha: Sha, keep: bool) -> CommandResult {
        if self.scripts.contains_key(&sha) {
            return Ok(());
        }
        let (flags, skip) = shebang(body)?;
        self.state.begin();
        let lua = self.state.lua;
        let compiled = lua.load(&body[skip..], c"@user_script");
        if compiled.is_err() {
            let message = text(lua.c_bytes(-1)).into_owned();
            self.state.end();
            return Err(err(format!("ERR Error compiling script (new function): {message}")));
        }
        let function = lua.make_ref(REGISTRY);
        let used = (!keep).then(|| {
            while self.by_use.len() >= KEPT {
                self.evict();
            }
            self.clock += 1;
            self.by_use.insert(self.clock, sha);
            self.clock
        });
        self.scripts.insert(sha, Script { function, flags, used, bytes: body.len() });
        FIGURES.scripts.store(self.scripts.len() as u64, Relaxed);
        FIGURES.script_bytes.fetch_add(body.len() as u64, Relaxed);
        self.state.end();
        note_memory(&FIGURES.eval_memory, &self.state);
        Ok(())
    }

    fn evict(&mut self) {
        let Some((_, sha)) = self.by_use.pop_first() else { return };
        if let Some(s) = self.scripts.remove(&sha) {
            self.state.lua.unref(REGISTRY, s.function);
            FIGURES.script_bytes.fetch_sub(s.bytes as u64, Relaxed);
            FIGURES.evicted.fetch_add(1, Relaxed);
        }
    }

    /// Notes that a script was used.
    fn touch(&mut self, sha: &Sha) {
        let Some(Script { used: Some(used), .. }) = self.scripts.get_mut(sha) else { return };
        self.by_use.remove(used);
        self.clock += 1;
        *used = self.clock;
        self.by_use.insert(self.clock, *sha);
    }
}

/// Whether a script says of itself that it does not write.
pub fn never_writes(body: &[u8]) -> bool {
    shebang(body).is_ok_and(|(flags, _)| flags & script_flag::NO_WRITES != 0)
}

/// Whether a script declares what it does, and does not say that it never writes.
pub fn declares_writes(body: &[u8]) -> bool {
    const SAYS_NOTHING: u32 = script_flag::COMPATIBLE | script_flag::NO_WRITES;
    shebang(body).is_ok_and(|(flags, _)| flags & SAYS_NOTHING == 0)
}

/// The flags of a script's shebang line, and how many bytes the line has, without its end.
fn shebang(body: &[u8]) -> Result<(u32, usize), CommandError> {
    if !body.starts_with(b"#!") {
        return Ok((script_flag::COMPATIBLE, 0));
    }
    let Some(end) = body.iter().position(|&c| c == b'\n') else {
        return Err(err("ERR Invalid script shebang"));
    };
    let parts = split_args(&body[..end]).unwrap_or_default();
    let Some((engine, options)) = parts.split_first() else {
        return Err(err("ERR Invalid engine in script shebang"));
    };
    if engine != b"#!lua" {
        return Err(err(format!("ERR Unexpected engine in script shebang: {}", text(engine))));
    }
    let mut flags = 0;
    for option in options {
        let Some(list) = option.strip_prefix(b"flags=") else {
            return Err(err(format!("ERR Unknown lua shebang option: {}", text(option))));
        };
        for name in list.split(|&c| c == b',').filter(|_| !list.is_empty()) {
            flags |= script_flag::of(name).ok_or_else(|| {
                err(format!("ERR Unexpected flag in script shebang: {}", text(name)))
            })?;
        }
    }
    Ok((flags, end))
}

/// The digest that 40 hexadecimal digits stand for.
fn parse_sha(digits: &[u8]) -> Option<Sha> {
    if digits.len() != 40 {
        return None;
    }
    let mut sha = [0; 20];
    for (b, pair) in sha.iter_mut().zip(digits.chunks(2)) {
        let digit = |c: u8| (c as char).to_digit(16);
        *b = (digit(pair[0])? * 16 + digit(pair[1])?) as u8;
    }
    Some(sha)
}

/// `EVAL`, `EVALSHA` and their read-only forms.
pub fn eval(
    tx: &mut Tx<'_>,
    args: &[&[u8]],
    out: &mut Reply,
    by_sha: bool,
    read_only: bool,
) -> CommandResult {
    if by_sha && args[1].len() != 40 {
        return Err(NO_SCRIPT);
    }
    let keys = key_count(args, NOT_INTEGER)?;
    if is_running() {
        return Err(err("ERR This Redis command is not allowed from script"));
    }
    let scripts = engines(tx).eval.get_or_insert_default();
    let sha = if by_sha { parse_sha(args[1]).ok_or(NO_SCRIPT)? } else { digest(args[1]) };
    let script = match scripts.scripts.get(&sha) {
        Some(s) => s,
        None if by_sha => return Err(NO_SCRIPT),
        None => {
            scripts.create(args[1], sha, false)?;
            &scripts.scripts[&sha]
        }
    };
    let (function, flags) = (script.function, script.flags);
    let name = hex(&sha);
    let call = Call { name: &name, function: false, flags, read_only, args, keys };
    let run = Run::prepare(tx, &call)?;
    // The run may not keep anything of `engines`; the state itself stays where it is, as nothing inside a script can
    // replace it.
    let state: *const State = &raw const engines(tx).eval.get_or_insert_default().state;
    // SAFETY: lock: the engines belong to the holder of the module lock, which is this thread, and every way to them is
    // closed while a script runs (`is_running`).
    let state = unsafe { &*state };
    state.begin();
    state.lua.raw_get_index(REGISTRY, function);
    run.go(tx, state, &call, out);
    let scripts = engines(tx).eval.get_or_insert_default();
    scripts.state.end();
    scripts.touch(&sha);
    note_memory(&FIGURES.eval_memory, &scripts.state);
    Ok(())
}

/// `SCRIPT LOAD`
pub fn load(tx: &mut Tx<'_>, body: &[u8]) -> Result<String, CommandError> {
    let sha = digest(body);
    if is_running() {
        return Err(err("ERR This Redis command is not allowed from script"));
    }
    engines(tx).eval.get_or_insert_default().create(body, sha, true)?;
    Ok(hex(&sha))
}

/// Whether a script is known (`SCRIPT EXISTS`).
pub fn exists(tx: &Tx<'_>, sha: &[u8]) -> bool {
    let scripts = engines(tx).eval.as_ref();
    parse_sha(sha).zip(scripts).is_some_and(|(sha, s)| s.scripts.contains_key(&sha))
}

/// Forgets all scripts, and the interpreter with them (`SCRIPT FLUSH`).
pub fn flush(tx: &Tx<'_>) -> CommandResult {
    if is_running() {
        return Err(err("ERR This Redis command is not allowed from script"));
    }
    engines(tx).eval = None;
    for figure in [&FIGURES.scripts, &FIGURES.script_bytes, &FIGURES.eval_memory] {
        figure.store(0, Relaxed);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shebang_lines() {
        let error = |body: &str| shebang(body.as_bytes()).expect_err(body).0.into_owned();
        assert_eq!(shebang(b"return 1"), Ok((script_flag::COMPATIBLE, 0)));
        assert_eq!(shebang(b"#!lua\nreturn 1"), Ok((0, 5)));
        assert_eq!(
            shebang(b"#!lua flags=no-writes,allow-oom\nx"),
            Ok((script_flag::NO_WRITES | script_flag::ALLOW_OOM, 31))
        );
        assert_eq!(shebang(b"#!lua flags=\nx"), Ok((0, 12)));
        assert_eq!(error("#!lua"), "ERR Invalid script shebang");
        assert_eq!(error("#!js\n"), "ERR Unexpected engine in script shebang: #!js");
        assert_eq!(error("#!lua x=1\n"), "ERR Unknown lua shebang option: x=1");
        assert_eq!(error("#!lua flags=no\n"), "ERR Unexpected flag in script shebang: no");
    }

    #[test]
    fn digests() {
        let sha = digest(b"return 1");
        assert_eq!(hex(&sha), "e0e1f9fabfc9d4800c877a703b823ac0578ff8db");
        assert_eq!(parse_sha(hex(&sha).to_ascii_uppercase().as_bytes()), Some(sha));
        assert_eq!(parse_sha(&[b'x'; 40]), None);
        assert_eq!(parse_sha(b"e0"), None);
    }
}
