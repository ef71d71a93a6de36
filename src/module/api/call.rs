//! `Call` and `Replicate*`: commands run by modules, and what they write to the effect log. Replies are in
//! [`super::call_reply`].
use crate::acl::check::{self, Denied};
use crate::acl::log::Place;
use crate::acl::User;
use crate::connection::client::{flag as client_flag, Session};
use crate::dispatch;
use crate::dispatch::table::{flags, Command, Table};
use crate::execute::{error, replication, CommandError, Tx};
use crate::keyspace::evict::over_limit;
use crate::keyspace::number;
use crate::module::abi;
use crate::module::api::call_reply::{self, CallReply};
use crate::module::api::promise::{Block, Promise};
use crate::module::api::string::bytes_of;
use crate::module::api::LockClass;
use crate::module::border::set_errno;
use crate::module::context::{flag, Auto, Ctx};
use crate::module::persona;
use crate::module::strict;
use crate::module::string::RStr;
use crate::propagate::{self, to, Effect};
use crate::reply::Reply;
use crate::server::Server;
use smallvec::SmallVec;
use std::borrow::Cow;
use std::ffi::{c_char, c_int, c_longlong, c_void, CStr};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::Arc;

/// One argument behind a format, as the shims read it (`BackplaneArg` of `ffi/shims.h`).
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Arg {
    kind: i32,
    ptr: *const c_void,
    len: usize,
    number: c_longlong,
}

/// A command with its arguments.
pub type Args<'a> = SmallVec<[Cow<'a, [u8]>; 8]>;

/// The flag letters of a format.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Flags {
    /// `!`
    pub replicate: bool,
    /// `A`
    pub no_aof: bool,
    /// `R`
    pub no_replicas: bool,
    /// `3`
    pub resp3: bool,
    /// `0`
    pub resp_of_client: bool,
    /// `C`
    pub as_user: bool,
    /// `S`
    pub script: bool,
    /// `W`
    pub no_writes: bool,
    /// `M`
    pub deny_oom: bool,
    /// `E`
    pub errors: bool,
    /// `D`
    pub dry_run: bool,
    /// `K`
    pub may_block: bool,
}

impl Flags {
    /// Where the command goes when it changed something: bits of [`to`].
    fn targets(self) -> u8 {
        let aof = if self.no_aof { 0 } else { to::AOF };
        let replicas = if self.no_replicas { 0 } else { to::REPLICAS };
        if self.replicate {
            aof | replicas
        } else {
            0
        }
    }
}

/// Reads the letters of a format; `None` if one is unknown.
pub fn read_format(format: &[u8]) -> Option<Flags> {
    let mut f = Flags::default();
    for letter in format {
        match letter {
            b'c' | b's' | b'b' | b'l' | b'v' => {}
            b'!' => f.replicate = true,
            b'A' => f.no_aof = true,
            b'R' => f.no_replicas = true,
            b'3' => f.resp3 = true,
            b'0' => f.resp_of_client = true,
            b'C' => f.as_user = true,
            b'S' => f.script = true,
            b'W' => f.no_writes = true,
            b'M' => f.deny_oom = true,
            b'E' => f.errors = true,
            b'D' => (f.dry_run, f.errors) = (true, true),
            b'K' => f.may_block = true,
            _ => return None,
        }
    }
    Some(f)
}

/// The arguments of a command, its name first.
///
/// # Safety
/// ABI: `list` points to `len` arguments that the shims read; what they point to lives as long as the result.
pub unsafe fn read_args<'a>(name: &'a [u8], list: *const Arg, len: usize) -> Args<'a> {
    let mut all = Args::new();
    all.push(Cow::Borrowed(name));
    if len == 0 {
        return all;
    }
    // SAFETY: ABI: this function's contract, here and for what each argument points to.
    unsafe {
        for a in std::slice::from_raw_parts(list, len) {
            match a.kind as u8 {
                b's' => all.push(Cow::Borrowed(RStr::bytes(a.ptr.cast()))),
                b'l' => all.push(Cow::Owned(number::format_i64(a.number).to_vec())),
                b'v' if a.len > 0 => {
                    // RediSearch's arrays begin 4 bytes behind an aligned address.
                    let strings = a.ptr.cast::<*const RStr>();
                    all.extend(
                        (0..a.len)
                            .map(|i| Cow::Borrowed(RStr::bytes(strings.add(i).read_unaligned()))),
                    );
                }
                b'c' | b'b' => all.push(Cow::Borrowed(bytes_of(a.ptr.cast(), a.len))),
                _ => {}
            }
        }
    }
    all
}

/// Why a call did not run: errno, and the text for callers that asked for it.
struct Refused(c_int, CommandError);

fn refused(errno: c_int, text: impl Into<Cow<'static, str>>) -> Refused {
    Refused(errno, error::err(text))
}

/// Looks a command up and checks everything that `Call` checks before it runs.
fn prepare(
    table: &Table,
    f: Flags,
    user: Option<&Arc<User>>,
    args: &[&[u8]],
    no_memory: impl FnOnce() -> bool,
    note: impl FnOnce(Denied, &User, &Command),
) -> Result<Arc<Command>, Refused> {
    if f.as_user && user.is_none() {
        return Err(refused(
            libc::ENOTSUP,
            "ERR cannot run as user, no user directly attached to context or context's client",
        ));
    }
    // A user has no internal commands.
    let is_there = |c: &&Arc<Command>| !(f.as_user && c.has(flags::INTERNAL));
    let Some(command) = table.resolve(args).filter(is_there) else {
        return Err(Refused(libc::ENOENT, dispatch::not_found(table, args)));
    };
    if !command.arity_ok(args.len()) || command.is_container() {
        return Err(Refused(libc::EINVAL, error::arity(&command.full_name)));
    }
    let name = &command.full_name;
    if f.script && command.has(flags::NOSCRIPT) {
        let text = format!("ERR command '{name}' is not allowed on script mode");
        return Err(refused(libc::ESPIPE, text));
    }
    if f.script {
        let server = Server::get();
        let writes = command.has(flags::WRITE);
        if writes {
            crate::persist::check_disk(server).map_err(|e| Refused(libc::ESPIPE, e))?;
        }
        replication::check_role(server, || writes, || command.has(flags::STALE))
            .map_err(|e| Refused(libc::ESPIPE, e))?;
    }
    if f.deny_oom && command.has(flags::DENYOOM) && no_memory() {
        return Err(Refused(libc::ENOSPC, error::OOM));
    }
    if f.no_writes && command.has(flags::WRITE) {
        let text = format!("ERR Write command '{name}' was called while write is not allowed.");
        return Err(refused(libc::ENOSPC, text));
    }
    if let Some(user) = user.filter(|u| f.as_user && !u.is_open()) {
        if let Err(denied) = check::command(&user.rules(), command, args) {
            note(denied, user, command);
            let text = format!("NOPERM {}", denied.text(user, command, args, false));
            return Err(refused(libc::EACCES, text));
        }
    }
    Ok(command.clone())
}

/// Whether `M` refuses. In a command, what counts is how things were when it began: nothing is evicted under it.
fn no_memory(ctx: &Ctx) -> bool {
    let server = Server::get();
    if server.config.maxmemory() == 0 {
        return false;
    }
    if ctx.flags & flag::COMMAND != 0 {
        // SAFETY: lock: the caller has the module lock.
        return unsafe { server.holder() }.no_memory;
    }
    over_limit(server)
}

/// What became of a command that ran.
struct Ran {
    out: Reply,
    /// It blocked: the reply comes later.
    block: Option<Block>,
    /// Its client and itself, for that case.
    session: Session,
    command: Arc<Command>,
    args: Vec<Vec<u8>>,
}

/// Runs a command for a module. `None` for a dry run.
fn run(ctx: &Ctx, f: Flags, args: &[&[u8]]) -> Result<Option<Ran>, Refused> {
    let server = Server::get();
    let table = server.modules.current_table(server);
    let caller = ctx.session();
    let named = || ctx.user.as_ref().map(|u| &u.user).or(caller.user.as_ref()).cloned();
    let user = if f.as_user { named() } else { None };
    let note = |denied: Denied, user: &User, command: &Command| {
        denied.note(server, &ctx.logged_client(), user, Place::Module, command, args);
    };
    let command = prepare(&table, f, user.as_ref(), args, || no_memory(ctx), note)?;
    if f.dry_run {
        return Ok(None);
    }
    let resp3 = f.resp3 || f.resp_of_client && ctx.out().is_some_and(|out| out.resp3);
    let mut session = Session::internal();
    session.select(caller.db);
    session.shared.put(client_flag::MULTI, caller.shared.has(client_flag::MULTI));
    session.shared.put(client_flag::RESP3, resp3);
    session.may_wait = f.may_block && ctx.module.is_some();
    session.deny_blocking = !session.may_wait;
    session.allow_oom = !f.deny_oom;
    if f.as_user {
        session.user = user;
    }
    let mut out = Reply::new(resp3);
    let mut tx = Tx::module(server, &mut session, ctx.time());
    tx.effects.allowed = f.targets();
    tx.persona = persona::or_caller(ctx.module);
    // SAFETY: lock: the caller has the module lock, here and below.
    unsafe { server.holder() }.silent += u32::from(!f.replicate);
    dispatch::call(&mut tx, &command, args, &mut out);
    // SAFETY: lock: as above.
    unsafe { server.holder() }.silent -= u32::from(!f.replicate);
    let block = match (session.blocked_on.take(), &session.waiting) {
        (Some(blocked), _) => Some(Block::Module(blocked)),
        (None, Some(w)) => Some(Block::Keys(w.waiter.clone())),
        (None, None) => None,
    };
    let args = if block.is_some() { args.iter().map(|a| a.to_vec()).collect() } else { Vec::new() };
    Ok(Some(Ran { out, block, session, command, args }))
}

/// Runs a command for a module as the command filters leave it.
fn run_filtered(ctx: &Ctx, f: Flags, given: &[&[u8]]) -> Result<Option<Ran>, Refused> {
    let server = Server::get();
    if let Some(m) = ctx.module {
        m.in_call.fetch_add(1, Relaxed);
    }
    let filtered = (!server.modules.filters.load().is_empty())
        .then(|| super::filter::apply(server, ctx.session().shared.id, given));
    let rewritten = filtered.as_ref().map(super::filter::Filtered::args);
    let words: &[&[u8]] = rewritten.as_deref().unwrap_or(given);
    let ran = match words.first() {
        Some(_) => run(ctx, f, words),
        None => Err(refused(libc::ENOENT, "ERR unknown command ''")),
    };
    if let Some(m) = ctx.module {
        m.in_call.fetch_sub(1, Relaxed);
    }
    ran
}

/// Runs a command for the server's own purposes, without effects in the log, and returns the text that it answers.
pub fn text_from(ctx: &Ctx, args: &[&[u8]]) -> Option<Vec<u8>> {
    let Ran { out, .. } = run(ctx, Flags::default(), args).ok()??;
    let mut reply = CallReply::new(out.buf, out.errors, std::ptr::null_mut());
    if reply.errors() > 0 {
        return None;
    }
    reply.text_bytes().map(<[u8]>::to_vec)
}

/// Frees a handle that automatic memory management owes.
pub fn free_auto(_ctx: &mut Ctx, handle: *mut c_void) {
    // SAFETY: ABI: automatic memory was told of this reply, and the module did not free it.
    unsafe { call_reply::free(handle.cast()) };
}

fn errno() -> c_int {
    // SAFETY: layout: the calling thread's own errno.
    unsafe { *libc::__errno_location() }
}

/// `Call`, with its arguments read.
///
/// # Safety
/// ABI: called by the shim, as `ffi/shims.h` says; lock: the caller has the module lock.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backplane_call_impl(
    ctx: *mut Ctx,
    command: *const c_char,
    format: *const c_char,
    list: *const Arg,
    len: usize,
) -> *mut CallReply {
    super::enter(&"Call", LockClass::Locked);
    let before = errno();
    // SAFETY: ABI: a live context, C strings, and what the shim read.
    let (ctx, name, format) = unsafe {
        (&mut *ctx, CStr::from_ptr(command).to_bytes(), CStr::from_ptr(format).to_bytes())
    };
    let Some(f) = read_format(format) else {
        set_errno(libc::EBADF);
        return std::ptr::null_mut();
    };
    // SAFETY: ABI: as above.
    let args = unsafe { read_args(name, list, len) };
    let words: SmallVec<[&[u8]; 8]> = args.iter().map(|a| &**a).collect();
    let ran = run_filtered(ctx, f, &words);
    let automatic = ctx.flags & flag::AUTO_MEMORY != 0;
    let owner: *mut Ctx = if automatic { ctx } else { std::ptr::null_mut() };
    let reply = match ran {
        Ok(None) => {
            set_errno(before);
            return std::ptr::null_mut();
        }
        Ok(Some(ran)) => {
            set_errno(before);
            match (ran.block, ctx.module) {
                (Some(block), Some(module)) => {
                    let call = (ran.command, ran.args);
                    let promise =
                        Promise::new(module, ran.session, ran.out, block, call, f.targets());
                    CallReply::promised(promise, owner)
                }
                _ => CallReply::new(ran.out.buf, ran.out.errors, owner),
            }
        }
        Err(Refused(code, text)) => {
            set_errno(code);
            if !f.errors {
                return std::ptr::null_mut();
            }
            let mut out = Reply::new(false);
            out.error(text.0.as_bytes());
            CallReply::refused(out.buf, owner)
        }
    };
    let reply = Box::into_raw(reply);
    strict::note(|live| live.replies += 1);
    ctx.remember(Auto::Reply(reply.cast()));
    reply
}

/// Adds an effect to the unit, if it goes anywhere; only then its arguments are made. The calling thread has the module
/// lock.
fn add_effect<L, A>(ctx: &Ctx, targets: u8, args: impl FnOnce() -> L)
where
    L: AsRef<[A]>,
    A: AsRef<[u8]>,
{
    let server = Server::get();
    if targets != 0 && server.log.active() {
        propagate::leave(server, Effect::new(ctx.session().db, targets, args().as_ref()));
    }
    server.dirty.add(1);
}

/// Whether a name is the one under which the running command was called: there is a command of that name.
fn is_own(ctx: &Ctx, name: &[u8]) -> bool {
    if ctx.argv.is_null() || ctx.argc == 0 {
        return false;
    }
    // SAFETY: ABI: the first argument lives as long as the context.
    let own = unsafe { RStr::bytes(*ctx.argv) };
    own == name || own.eq_ignore_ascii_case(name)
}

/// Whether somebody reads what commands do: else the arguments of `Replicate` need not be read.
#[unsafe(no_mangle)]
pub extern "C" fn backplane_effects_are_read() -> c_int {
    c_int::from(Server::get().log.active())
}

/// `Replicate`, with its arguments read.
///
/// # Safety
/// ABI: called by the shim, as `ffi/shims.h` says; lock: the caller has the module lock.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backplane_replicate_impl(
    ctx: *mut Ctx,
    command: *const c_char,
    format: *const c_char,
    list: *const Arg,
    len: usize,
) -> c_int {
    super::enter(&"Replicate", LockClass::Locked);
    // SAFETY: ABI: a live context, C strings, and what the shim read.
    let (ctx, name, format) = unsafe {
        (&mut *ctx, CStr::from_ptr(command).to_bytes(), CStr::from_ptr(format).to_bytes())
    };
    let server = Server::get();
    let is_known = || {
        server.table.load().find(name).is_some()
            || server.modules.current_table(server).find(name).is_some()
    };
    let Some(f) = read_format(format).filter(|_| is_own(ctx, name) || is_known()) else {
        return abi::ERR;
    };
    // SAFETY: ABI: as above.
    add_effect(ctx, Flags { replicate: true, ..f }.targets(), || unsafe {
        read_args(name, list, len)
    });
    abi::OK
}

api! {
    /// Replicates the command as it was called.
    [Locked] fn ReplicateVerbatim(ctx: *mut Ctx) -> c_int {
        // SAFETY: ABI: a live context, whose arguments live as long as it.
        unsafe {
            let ctx = &mut *ctx;
            let count = if ctx.argv.is_null() { 0 } else { ctx.argc };
            let args = || -> SmallVec<[&[u8]; 8]> {
                (0..count).map(|i| RStr::bytes(*ctx.argv.add(i))).collect()
            };
            add_effect(ctx, if count > 0 { to::ALL } else { 0 }, args);
        }
        abi::OK
    }
}

unsafe extern "C" {
    fn backplane_rm_Call();
    fn backplane_rm_Replicate();
}

/// Functions of this family that are C shims (`ffi/shims.c`).
pub const SHIMS: &[super::Export] = &[
    super::shim("Call", LockClass::Locked, backplane_rm_Call),
    super::shim("Replicate", LockClass::Locked, backplane_rm_Replicate),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acl::rules::Rules;

    #[test]
    fn letters_of_formats() {
        let f = read_format(b"v!CE3").expect("known letters");
        assert!(f.replicate && f.as_user && f.errors && f.resp3 && !f.dry_run);
        let f = read_format(b"D").expect("a known letter");
        assert!(f.dry_run && f.errors, "a dry run returns errors");
        assert_eq!(read_format(b"cZ"), None);
        assert_eq!(read_format(b""), Some(Flags::default()));
    }

    #[test]
    fn arguments_of_all_letters() {
        let s = RStr::new(b"str");
        let vector = [s, s];
        let arg =
            |kind: u8, ptr: *const c_void, len, number| Arg { kind: kind.into(), ptr, len, number };
        let list = [
            arg(b's', s.cast(), 0, 0),
            arg(b'c', c"text".as_ptr().cast(), 4, 0),
            arg(b'b', c"ab".as_ptr().cast(), 0, 0),
            arg(b'l', std::ptr::null(), 0, -7),
            arg(b'v', vector.as_ptr().cast(), 2, 0),
            arg(b'v', std::ptr::null(), 0, 0),
        ];
        // SAFETY: layout: the test's own arguments and string.
        unsafe {
            let all = read_args(b"name", list.as_ptr(), list.len());
            let all: Vec<&[u8]> = all.iter().map(|a| &**a).collect();
            assert_eq!(all, [&b"name"[..], b"str", b"text", b"", b"-7", b"str", b"str"]);
            RStr::release(s);
        }
    }

    #[test]
    fn checks_in_order() {
        let table = Table::build(&[], 0, false, None);
        let check = |letters: &[u8], user: Option<&Arc<User>>, args: &[&[u8]]| {
            let f = read_format(letters).expect("known letters");
            let checked = prepare(&table, f, user, args, || true, |_, _, _| {});
            checked.err().map(|r| (r.0, r.1 .0.into_owned()))
        };
        assert_eq!(check(b"C", None, &[b"nope"]).map(|e| e.0), Some(libc::ENOTSUP));
        assert_eq!(check(b"", None, &[b"nope"]).map(|e| e.0), Some(libc::ENOENT));
        assert_eq!(check(b"W", None, &[b"set"]).map(|e| e.0), Some(libc::EINVAL));
        assert_eq!(
            check(b"W", None, &[b"set", b"a", b"b"]),
            Some((
                libc::ENOSPC,
                "ERR Write command 'set' was called while write is not allowed.".into()
            ))
        );
        assert_eq!(check(b"M", None, &[b"set", b"a", b"b"]).map(|e| e.0), Some(libc::ENOSPC));
        let user = User::new(b"u", Rules::unlimited());
        assert_eq!(check(b"CW", Some(&user), &[b"get", b"a"]), None);
        user.set_rules(Rules::nothing());
        assert_eq!(check(b"W", Some(&user), &[b"get", b"a"]), None, "nobody asked for the user");
        let text = "NOPERM User u has no permissions to run the 'get' command";
        let refused = Some((libc::EACCES, text.to_string()));
        assert_eq!(check(b"C", Some(&user), &[b"get", b"a"]), refused);
    }
}
