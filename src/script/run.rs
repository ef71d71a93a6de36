//! One run of a script or a function: what it may do, the commands that it calls, and how it is killed.
use super::lua::{lua_State, Lua, REGISTRY};
use super::sandbox::State;
use super::{convert, script_flag};
use crate::acl::{check, log as acl_log};
use crate::config::enums::shutdown_on_sig;
use crate::connection::client::{flag as client_flag, ClientShared, Session};
use crate::dispatch;
use crate::dispatch::table::{flags, Body};
use crate::execute::{error, replication, CommandError, CommandResult, Tx};
use crate::keyspace::evict;
use crate::observe::clock::mono_ns;
use crate::reply::Reply;
use crate::server::Server;
use smallvec::SmallVec;
use std::ffi::c_int;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicU8, Ordering::Relaxed};
use std::sync::Arc;

/// What of a script's effects goes to the log: bits of `redis.set_repl`.
pub mod repl {
    /// The append-only file.
    pub const AOF: i32 = crate::propagate::to::AOF as i32;
    /// Replicas.
    pub const REPLICA: i32 = crate::propagate::to::REPLICAS as i32;
    /// Both.
    pub const ALL: i32 = AOF | REPLICA;
}

/// The script that runs.
pub struct Run<'a> {
    server: &'static Server,
    session: Session,
    caller: Arc<ClientShared>,
    now: i64,
    began: u64,
    name: &'a str,
    args: &'a [&'a [u8]],
    function: bool,
    read_only: bool,
    allow_oom: bool,
    out_of_memory: bool,
    wrote: bool,
    warned: bool,
    repl: i32,
    reply: Reply,
}

/// The script that runs, for the functions that Lua calls.
static CURRENT: AtomicPtr<Run<'static>> = AtomicPtr::new(null_mut());

/// What other threads may know and change of the running script: the bits below, and above them a number of the run, so
/// that a kill never meets the next script. Zero bits: none runs.
static STATUS: AtomicU64 = AtomicU64::new(0);
const RUNNING: u64 = 1;
const FUNCTION: u64 = 2;
const WROTE: u64 = 4;
const KILLED: u64 = 8;
const BITS: u64 = 15;

/// A `SHUTDOWN NOSAVE` waits behind the script.
static SHUTDOWN_ASKED: AtomicBool = AtomicBool::new(false);

/// A `SHUTDOWN NOSAVE` is on its way to the module thread; a busy script ends the server when it sees this.
pub fn ask_to_shut_down() {
    SHUTDOWN_ASKED.store(true, Relaxed);
}

/// A script or a function has been running for longer than `busy-reply-threshold`.
static SLOW: AtomicU8 = AtomicU8::new(0);
const SLOW_EVAL: u8 = 1;
const SLOW_FUNCTION: u8 = 2;

/// Refuses a command while a script has been running for too long. Commands without a key of the script could go on
/// here, but clients rely on being told; until then they do.
#[inline]
pub fn check_not_busy() -> CommandResult {
    match SLOW.load(Relaxed) {
        0 => Ok(()),
        SLOW_EVAL => Err(BUSY_EVAL),
        _ => Err(BUSY_FUNCTION),
    }
}

/// `DEBUG SET-DISABLE-DENY-SCRIPTS`: scripts may call commands that are not for scripts.
pub static ALL_FOR_SCRIPTS: AtomicBool = AtomicBool::new(false);

/// Instructions between two looks at the clock and at [`STATUS`].
const HOOK_EVERY: c_int = 100_000;

/// The running script. The reference is used by one function that Lua called, and not kept.
pub fn current() -> Option<&'static mut Run<'static>> {
    let p = CURRENT.load(Relaxed);
    // SAFETY: lock: only the holder of the module lock runs scripts, so the caller is the script's own thread, below the
    // frame that owns the run and does not touch it meanwhile.
    unsafe { p.as_mut() }
}

/// Whether a script runs on the thread of the caller, who has the module lock.
pub fn is_running() -> bool {
    !CURRENT.load(Relaxed).is_null()
}

/// Whether a script or a function runs, seen from any thread.
pub fn runs_somewhere() -> bool {
    STATUS.load(Relaxed) & RUNNING != 0
}

/// `SCRIPT KILL`, or with `function` `FUNCTION KILL`; from any thread.
pub fn kill(function: bool) -> CommandResult {
    loop {
        let status = STATUS.load(Relaxed);
        if status & RUNNING == 0 {
            return Err(error::err("NOTBUSY No scripts in execution right now."));
        }
        if status & WROTE != 0 {
            return Err(error::err(
                "UNKILLABLE Sorry the script already executed write commands against the dataset. You can either wait \
                 the script termination or kill the server in a hard way using the SHUTDOWN NOSAVE command.",
            ));
        }
        if !function && status & FUNCTION != 0 {
            return Err(BUSY_FUNCTION);
        }
        if function && status & FUNCTION == 0 {
            return Err(BUSY_EVAL);
        }
        if STATUS.compare_exchange(status, status | KILLED, Relaxed, Relaxed).is_ok() {
            return Ok(());
        }
    }
}

/// What is told about functions while a script of `EVAL` runs.
pub const BUSY_EVAL: CommandError = CommandError(std::borrow::Cow::Borrowed(
    "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
));

/// What is told about scripts while a function runs.
pub const BUSY_FUNCTION: CommandError = CommandError(std::borrow::Cow::Borrowed(
    "BUSY Redis is busy running a script. You can only call FUNCTION KILL or SHUTDOWN NOSAVE.",
));

/// A script or function that has been running for longer than `busy-reply-threshold`, as `FUNCTION STATS` tells about it.
pub struct Busy {
    /// It is a function.
    pub function: bool,
    /// Its name.
    pub name: String,
    /// The command that called it.
    pub args: Vec<Vec<u8>>,
    /// When it began, monotonic nanoseconds.
    pub began: u64,
}

/// What has been running for so long.
pub static BUSY: parking_lot::Mutex<Option<Busy>> = parking_lot::Mutex::new(None);

const READONLY: &str = "READONLY Can not run script with write flag on readonly replica";
const MISCONF: &str = "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk. \
                       Writable scripts are blocked. Use 'no-writes' flag for read only scripts.";

/// What is run.
pub struct Call<'a> {
    /// The script's digest or the function's name.
    pub name: &'a str,
    /// A function of a library.
    pub function: bool,
    /// Bits of [`script_flag`].
    pub flags: u32,
    /// It was called by a `_RO` command.
    pub read_only: bool,
    /// The command.
    pub args: &'a [&'a [u8]],
    /// How many keys stand behind the third argument.
    pub keys: usize,
}

/// The number of keys that the third argument says.
pub fn key_count(args: &[&[u8]], no_number: CommandError) -> Result<usize, CommandError> {
    let n = crate::keyspace::number::parse_i64(args[2]).ok_or(no_number)?;
    if n > args.len() as i64 - 3 {
        return Err(error::err("ERR Number of keys can't be greater than number of args"));
    }
    usize::try_from(n).map_err(|_| error::err("ERR Number of keys can't be negative"))
}

impl<'a> Run<'a> {
    /// Checks that a script may run now.
    pub fn prepare(tx: &Tx<'_>, call: &Call<'a>) -> Result<Run<'a>, CommandError> {
        let server = tx.server;
        if is_running() {
            return Err(error::err("ERR This Redis command is not allowed from script"));
        }
        let declares = call.flags & script_flag::COMPATIBLE == 0;
        let has = |bit: u32| declares && call.flags & bit != 0;
        let out_of_memory =
            !tx.session.allow_oom && server.config.maxmemory() > 0 && !evict::make_room(server);
        let stale = server.link.is_stale() && !server.config.replica_serve_stale_data();
        if stale && !has(script_flag::ALLOW_STALE) {
            return Err(replication::STALE);
        }
        if declares && !has(script_flag::NO_WRITES) {
            if server.link.is_replica() && server.config.replica_read_only() {
                return Err(match tx.session.shared.has(client_flag::INTERNAL) {
                    // A client's request was refused before it got here.
                    true => error::err(READONLY),
                    false => replication::READONLY,
                });
            }
            if replication::lacks_replicas(server) {
                return Err(replication::NO_REPLICAS);
            }
            if out_of_memory && !has(script_flag::ALLOW_OOM) {
                return Err(error::OOM);
            }
            if crate::snapshot::control::writes_denied(server) {
                return Err(error::err(MISCONF));
            }
            if let Some(errno) = server.aof.error() {
                return Err(error::err(format!(
                    "MISCONF Redis is configured to persist data to AOF, but it's currently unable to persist to disk. \
                     Writable scripts are blocked. Use 'no-writes' flag for read only scripts. AOF error: {}",
                    crate::persist::errno_text(errno)
                )));
            }
            if call.read_only {
                return Err(error::err(
                    "ERR Can not execute a script with write flag using *_ro command.",
                ));
            }
        }
        let caller = &tx.session;
        let shared = ClientShared::new(
            // As on Redis, numbers of the server's own: one for scripts, one for functions.
            1 + u64::from(call.function),
            "lua".into(),
            String::new(),
            None,
            client_flag::INTERNAL | client_flag::SCRIPT,
        );
        let mut session = Session::new(Arc::new(shared));
        session.authenticated = true;
        session.user = caller.user.clone();
        session.deny_blocking = true;
        session.select(caller.db);
        session.shared.put(client_flag::MULTI, caller.shared.has(client_flag::MULTI));
        Ok(Run {
            server,
            session,
            caller: caller.shared.clone(),
            now: tx.now,
            began: mono_ns(),
            name: call.name,
            args: call.args,
            function: call.function,
            read_only: call.read_only || has(script_flag::NO_WRITES),
            allow_oom: has(script_flag::ALLOW_OOM),
            out_of_memory,
            wrote: false,
            warned: false,
            repl: repl::ALL,
            reply: Reply::default(),
        })
    }

    /// Which effects go to the log from now on.
    pub fn set_repl(&mut self, bits: i32) {
        self.repl = bits;
    }

    /// The protocol in which commands answer the script.
    pub fn set_resp3(&mut self, on: bool) {
        self.session.shared.put(client_flag::RESP3, on);
    }

    /// Whether the caller may run a command, for `redis.acl_check_cmd`; `None` if there is no such command.
    pub fn may(&self, args: &[&[u8]]) -> Option<bool> {
        let table = self.server.modules.current_table(self.server);
        let command = table.resolve(args)?;
        let user = self.session.limited_user();
        Some(user.is_none_or(|u| check::command(&u.rules(), command, args).is_ok()))
    }

    /// Runs a command for the script and returns its protocol. A refusal is its text only.
    pub fn command(&mut self, args: &[&[u8]]) -> Result<&[u8], CommandError> {
        let server = self.server;
        // A script of few instructions and many commands would not be seen for long by the hook.
        self.watch();
        let filtered = (!server.modules.filters.load().is_empty())
            .then(|| crate::module::api::filter::apply(server, self.session.shared.id, args));
        let rewritten = filtered.as_ref().map(|f| f.args());
        let args = rewritten.as_deref().unwrap_or(args);
        let table = server.modules.current_table(server);
        let found = if args.is_empty() { None } else { table.resolve(args) };
        let checked = match found {
            None => Err(error::err("Unknown Redis command called from script")),
            Some(c) => self.check(c, args).map(|()| c),
        };
        let command = checked.inspect_err(|e| {
            let text = e.0.as_bytes();
            let code = if text[0] == b'-' { &text[1..] } else { b"ERR" };
            server.stats.error_replies.add(1);
            server.stats.errors.count(crate::observe::stats::error_code(code));
            if let Some(c) = found {
                c.stats.rejected();
            }
        })?;
        if command.has(flags::WRITE) && !self.wrote {
            self.wrote = true;
            STATUS.fetch_or(WROTE, Relaxed);
        }
        let mut reply = std::mem::take(&mut self.reply);
        reply.buf.clear();
        reply.codes.clear();
        reply.errors = 0;
        reply.resp3 = self.session.shared.has(client_flag::RESP3);
        let mut tx = Tx::module(server, &mut self.session, self.now);
        tx.effects.allowed = self.repl as u8;
        dispatch::call(&mut tx, command, args, &mut reply);
        server.stats.commands_processed.add(1);
        self.reply = reply;
        Ok(&self.reply.buf)
    }

    fn check(
        &self,
        command: &crate::dispatch::table::Command,
        args: &[&[u8]],
    ) -> Result<(), CommandError> {
        if !command.arity_ok(args.len()) || matches!(command.body, Body::Container) {
            return Err(error::err("Wrong number of args calling Redis command from script"));
        }
        if command.has(flags::NOSCRIPT) && !ALL_FOR_SCRIPTS.load(Relaxed) {
            return Err(error::err("This Redis command is not allowed from script"));
        }
        let server = self.server;
        if server.link.is_stale()
            && !server.config.replica_serve_stale_data()
            && !command.has(flags::STALE)
        {
            return Err(error::err("Can not execute the command on a stale replica"));
        }
        if let Some(user) = self.session.limited_user() {
            if let Err(denied) = check::command(&user.rules(), command, args) {
                let client = acl_log::behind(self.server, &self.caller);
                let place = acl_log::Place::Script;
                denied.note(self.server, &client, user, place, command, args);
                let text = denied.text(user, command, args, false);
                return Err(error::err(format!("ACL failure in script: {text}")));
            }
        }
        if self.read_only && command.has(flags::WRITE | flags::MAY_REPLICATE) {
            return Err(error::err("Write commands are not allowed from read-only scripts."));
        }
        if !self.wrote && command.has(flags::WRITE) {
            if server.link.is_replica() && server.config.replica_read_only() {
                return Err(error::err(format!("-{}", replication::READONLY.0)));
            }
            if replication::lacks_replicas(server) {
                return Err(error::err(format!("-{}", replication::NO_REPLICAS.0)));
            }
        }
        if !self.wrote && command.has(flags::WRITE) && !self.server.loading.load(Relaxed) {
            crate::persist::check_disk(self.server).map_err(|e| error::err(format!("-{}", e.0)))?;
        }
        if self.out_of_memory && !self.allow_oom && !self.wrote && command.has(flags::DENYOOM) {
            return Err(error::err("-OOM command not allowed when used memory > 'maxmemory'."));
        }
        Ok(())
    }

    /// Runs the function on top of the state's stack, above the error handler, and writes its reply. `arguments`: it gets
    /// the keys and the other arguments as tables; otherwise they are globals.
    pub fn go(mut self, tx: &mut Tx<'_>, state: &State, call: &Call<'_>, out: &mut Reply) {
        let lua = state.lua;
        let (keys, rest) = call.args[3..].split_at(call.keys);
        if call.function {
            push_list(lua, keys);
            push_list(lua, rest);
        } else {
            lua.raw_get_index(REGISTRY, state.globals);
            push_list(lua, keys);
            lua.set_field(-2, b"KEYS");
            push_list(lua, rest);
            lua.set_field(-2, b"ARGV");
            lua.pop(1);
        }
        let _lock_out = Current::enter(&mut self);
        lua.hook(hook, HOOK_EVERY);
        let result = lua.call(if call.function { 2 } else { 0 }, 1, 1);
        lua.unhook();
        drop(_lock_out);
        match result {
            Ok(()) => {
                let resp3 = self.session.shared.has(client_flag::RESP3);
                convert::write_reply(lua, out, resp3);
            }
            Err(_) if lua.kind(-1) == super::lua::Type::Table => {
                let e = convert::read_error(lua);
                let mut text = e.text;
                if let Some((source, line)) = e.place {
                    text.extend(format!(" script: {}, on ", call.name).bytes());
                    text.extend([&source[..], b":", &line, b"."].concat());
                }
                convert::write_error(out, &text, e.counted);
            }
            Err(_) => {
                let message = lua.c_bytes(-1);
                let message = if message.is_empty() { b"execution failure" } else { message };
                let mut text = format!("ERR Error running script {}, ", call.name).into_bytes();
                text.extend(&message[..message.len().min(100)]);
                convert::write_error(out, &text, false);
            }
        }
        // What its commands did is in the log's unit already.
        tx.propagate_nothing();
    }
}

/// Pushes a list of strings.
fn push_list(lua: Lua, items: &[&[u8]]) {
    lua.push_table(items.len() as c_int, 0);
    for (i, item) in items.iter().enumerate() {
        lua.push_bytes(item);
        lua.raw_set_index(-2, i as c_int + 1);
    }
}

/// While it lives, its run is the current one.
struct Current;

impl Current {
    fn enter(run: &mut Run<'_>) -> Current {
        let number = STATUS.load(Relaxed) | BITS;
        let function = if run.function { FUNCTION } else { 0 };
        CURRENT.store((&raw mut *run).cast(), Relaxed);
        STATUS.store(number.wrapping_add(1) | RUNNING | function, Relaxed);
        Current
    }
}

impl Drop for Current {
    fn drop(&mut self) {
        STATUS.fetch_and(!BITS, Relaxed);
        let run = CURRENT.swap(null_mut(), Relaxed);
        // SAFETY: lock: this thread set it and the run outlives this guard.
        if unsafe { run.as_ref() }.is_some_and(|r| r.warned) {
            SLOW.store(0, Relaxed);
            *BUSY.lock() = None;
        }
    }
}

impl Run<'_> {
    /// The first look at the clock beyond `busy-reply-threshold` says so in the log. From then on a shutdown does not wait
    /// for the script.
    fn watch(&mut self) {
        let ms = (mono_ns() - self.began) / 1_000_000;
        let threshold = self.server.config.busy_reply_threshold();
        let asked = || SHUTDOWN_ASKED.load(Relaxed) || self.server.shutting_down.load(Relaxed);
        if self.warned && asked() {
            crate::start::shutdown(self.server, shutdown_on_sig::NOSAVE | shutdown_on_sig::NOW);
        }
        if self.warned || threshold == 0 || ms < threshold {
            return;
        }
        self.warned = true;
        SLOW.store(if self.function { SLOW_FUNCTION } else { SLOW_EVAL }, Relaxed);
        let command = if self.function { "FUNCTION KILL" } else { "SCRIPT KILL" };
        crate::log_warning!(
            "Slow script detected: still in execution after {ms} milliseconds. You can try killing the script using the \
             {command} command. Script name is: {}.",
            self.name
        );
        *BUSY.lock() = Some(Busy {
            function: self.function,
            name: self.name.to_string(),
            args: self.args.iter().map(|a| a.to_vec()).collect(),
            began: self.began,
        });
    }
}

/// Called by Lua every [`HOOK_EVERY`] instructions: watches the time, and ends a script that was killed.
unsafe extern "C-unwind" fn hook(thread: *mut lua_State, _: *mut mlua_sys::lua_Debug) {
    if let Some(run) = current() {
        run.watch();
    }
    if STATUS.load(Relaxed) & KILLED == 0 {
        return;
    }
    // SAFETY: layout: Lua's own thread; what was pushed is raised, and nothing here has a destructor.
    unsafe {
        let lua = Lua::of(thread);
        crate::log_notice!("Lua script killed by user with SCRIPT KILL.");
        // From now on at every line, so that no `pcall` of the script can go on.
        lua.hook_lines(hook);
        convert::push_error(lua, b"Script killed by user with SCRIPT KILL...");
        mlua_sys::lua_error(thread);
    }
}

/// The strings of a function's arguments; `None` if one is neither a string nor a number.
pub fn string_arguments<'l>(lua: Lua) -> Option<SmallVec<[&'l [u8]; 8]>> {
    let mut all = SmallVec::new();
    for i in 1..=lua.top() {
        match lua.kind(i) {
            super::lua::Type::String => {}
            super::lua::Type::Number => {
                // Lua's own form would lose digits.
                // Zero has no sign here.
                let text = crate::keyspace::number::format_f64(lua.to_number(i) + 0.0);
                lua.push_bytes(&text);
                lua.replace(i);
            }
            _ => return None,
        }
        all.push(lua.bytes(i));
    }
    Some(all)
}
