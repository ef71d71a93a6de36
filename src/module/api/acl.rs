//! Users: those of the server and a module's own, checks, the ACL log, and authentication.
use crate::acl::rules::Rules;
use crate::acl::{check, log, Acl, User};
use crate::config::text::split_args;
use crate::connection::client::flag as client_flag;
use crate::module::abi::{self, ERR, OK};
use crate::module::api::command::bytes_of;
use crate::module::auth;
use crate::module::border::set_errno;
use crate::module::context::{flag, Auto, Ctx};
use crate::module::string::RStr;
use crate::server::Server;
use std::ffi::{c_char, c_int, c_void, CStr};
use std::sync::Arc;

/// `RedisModuleUser`: a user that a module made, or looked up.
#[repr(C)]
pub struct ModuleUser {
    /// The user. Never what the first word of a context is, so that `GetUserUsername` can tell the two apart.
    pub user: Arc<User>,
    /// The module made it: it ends with this handle.
    owned: bool,
}

fn handle(user: Arc<User>, owned: bool) -> *const ModuleUser {
    Arc::into_raw(Arc::new(ModuleUser { user, owned }))
}

/// The rules of a user on whom a function is called.
///
/// # Safety
/// ABI: a handle that the module still has.
unsafe fn rules_of(user: *const ModuleUser) -> Arc<Rules> {
    // SAFETY: ABI: this function's contract.
    unsafe { &*user }.user.rules()
}

/// What the key functions may be asked: flags that are known, as the rules want them.
fn key_flags(flags: c_int) -> Option<u64> {
    let known =
        abi::CMD_KEY_ACCESS | abi::CMD_KEY_INSERT | abi::CMD_KEY_DELETE | abi::CMD_KEY_UPDATE;
    (flags as u64 & !known == 0).then_some(flags as u64)
}

fn denied(errno: c_int) -> c_int {
    set_errno(errno);
    ERR
}

fn log_reason(reason: c_int) -> Option<log::Reason> {
    match reason {
        abi::ACL_LOG_AUTH => Some(log::Reason::Auth),
        abi::ACL_LOG_CMD => Some(log::Reason::Command),
        abi::ACL_LOG_KEY => Some(log::Reason::Key),
        abi::ACL_LOG_CHANNEL => Some(log::Reason::Channel),
        _ => None,
    }
}

/// Enters a refusal in the log for the context's client.
fn add_log_entry(ctx: &Ctx, user: &[u8], object: *mut RStr, reason: c_int) -> c_int {
    let Some(reason) = log_reason(reason) else { return ERR };
    // SAFETY: ABI: a live string.
    let object = unsafe { RStr::bytes(object) };
    log::add(Server::get(), reason, log::Place::Module, object, user, &ctx.logged_client());
    OK
}

/// Makes the context's client this user.
fn authenticate(
    ctx: &mut Ctx,
    user: Arc<User>,
    callback: abi::UserChangedFn,
    data: *mut c_void,
    id: *mut u64,
) -> c_int {
    let session = ctx.session();
    let real = ctx.has_client() && !session.shared.has(client_flag::INTERNAL);
    if !user.rules().enabled || !real {
        return ERR;
    }
    let server = Server::get();
    auth::user_changed(server, &session.shared);
    session.set_user(user);
    session.authenticated = true;
    if let Some(attempt) = &mut session.module_auth {
        attempt.decided = true;
    }
    if let (Some(module), true) = (ctx.module, callback.is_some()) {
        auth::follow(server, &session.shared, module, callback, data);
    }
    if !id.is_null() {
        // SAFETY: ABI: null, or where the module wants the id.
        unsafe { *id = session.shared.id };
    }
    OK
}

crate::api! {
    /// A user of the module's own, which no list shows: off, and nothing allowed.
    [Locked] fn CreateModuleUser(name: *const c_char) -> *const ModuleUser {
        // SAFETY: ABI: a C string.
        let name = unsafe { CStr::from_ptr(name) }.to_bytes();
        let server = Server::get();
        let table = server.modules.current_table(server);
        handle(User::new(name, Rules::new(Acl::context(server, &table))), true)
    }

    /// The user of this name, to be freed with `FreeModuleUser`; null if there is none.
    [Locked] fn GetModuleUserFromUserName(name: *mut RStr) -> *const ModuleUser {
        // SAFETY: ABI: a live string.
        let name = unsafe { RStr::bytes(name) };
        Server::get().acl.find(name).map_or(std::ptr::null(), |user| handle(user, false))
    }

    /// Gives a user back. One that the module made ends, and its clients with it.
    [Locked] fn FreeModuleUser(user: *const ModuleUser) -> c_int {
        // SAFETY: ABI: a handle that the module gives up here.
        let user = unsafe { Arc::from_raw(user) };
        if user.owned {
            Acl::end_user(Server::get(), &user.user);
        }
        OK
    }

    /// Applies one rule to a user; `errno` says why not. As on Redis, the error is -1 here and not `ERR`.
    [Locked] fn SetModuleUserACL(user: *const ModuleUser, rule: *const c_char) -> c_int {
        // SAFETY: ABI: a handle that the module still has, and a C string.
        let (user, rule) = unsafe { (&*user, CStr::from_ptr(rule).to_bytes()) };
        match Acl::apply_rule(Server::get(), &user.user, rule) {
            Ok(()) => OK,
            Err(e) => {
                set_errno(e.errno());
                -1
            }
        }
    }

    /// Applies rules as those of `ACL SETUSER`, all or none; `error` takes the reason.
    [Locked] fn SetModuleUserACLString(
        ctx: *mut Ctx, user: *const ModuleUser, rules: *const c_char, error: *mut *mut RStr,
    ) -> c_int {
        // SAFETY: ABI: a handle that the module still has, and a C string.
        let (user, rules) = unsafe { (&*user, CStr::from_ptr(rules).to_bytes()) };
        let words = split_args(rules).unwrap_or_default();
        let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
        let Err(e) = Acl::apply_rules(Server::get(), &user.user, &words) else { return OK };
        if !error.is_null() {
            let s = RStr::new(e.as_bytes());
            // SAFETY: ABI: where the module wants the string; null or a live context.
            unsafe {
                *error = s;
                if let Some(ctx) = ctx.as_mut() {
                    ctx.remember(Auto::Str(s));
                }
            }
        }
        ERR
    }

    /// A user's rules, as `ACL LIST` shows them.
    [Locked] fn GetModuleUserACLString(user: *const ModuleUser) -> *mut RStr {
        // SAFETY: ABI: a handle that the module still has.
        RStr::new(&unsafe { rules_of(user) }.describe())
    }

    /// Sets the user as whom `Call` runs commands with the letter `C`; null for none.
    [Locked] fn SetContextUser(ctx: *mut Ctx, user: *const ModuleUser) {
        // SAFETY: ABI: a live context, and null or a user that the module still has.
        unsafe {
            (*ctx).user = (!user.is_null()).then(|| {
                Arc::increment_strong_count(user);
                Arc::from_raw(user)
            });
        }
    }

    /// The user that `SetContextUser` set, null if there is none. It stays the context's: not to be freed (Redis 8.8).
    [Locked] fn GetContextUser(ctx: *mut Ctx) -> *const ModuleUser {
        // SAFETY: ABI: a live context.
        unsafe { &*ctx }.user.as_ref().map_or(std::ptr::null(), Arc::as_ptr)
    }

    /// A user's name, null for no user (Redis 8.8). The first header that declared this function, which the crate
    /// `redis-module` still has, gave it the user alone: a first argument that is no context is taken for the user.
    [Locked] fn GetUserUsername(ctx: *mut Ctx, user: *const ModuleUser) -> *mut RStr {
        // SAFETY: ABI: null, a live context or a live handle; each begins with a pointer, a context with `GetApi`'s.
        let alone = !ctx.is_null() && unsafe { *ctx.cast::<*const c_void>() } != super::get_api_address();
        let (ctx, user) =
            if alone { (std::ptr::null_mut(), ctx.cast_const().cast()) } else { (ctx, user) };
        // SAFETY: ABI: null, or a handle that the module still has.
        match unsafe { user.as_ref() } {
            // SAFETY: ABI: null or a live context.
            Some(user) => unsafe { super::string::make(ctx, user.user.name()) },
            None => std::ptr::null_mut(),
        }
    }

    /// The name of the client's user; null where no client is behind the context.
    [Locked] fn GetCurrentUserName(ctx: *mut Ctx) -> *mut RStr {
        // SAFETY: ABI: a live context.
        let ctx = unsafe { &mut *ctx };
        let Some(user) = &ctx.session().user else { return std::ptr::null_mut() };
        let s = RStr::new(user.name());
        ctx.remember(Auto::Str(s));
        s
    }

    /// Whether the user may run a command: `OK`, or an error with `errno`.
    [Locked] fn ACLCheckCommandPermissions(
        user: *const ModuleUser, argv: *const *mut RStr, argc: c_int,
    ) -> c_int {
        // SAFETY: ABI: a handle that the module still has, and an array of live strings.
        let (rules, args) = unsafe { (rules_of(user), bytes_of(argv, argc.max(0) as usize)) };
        let server = Server::get();
        let table = server.modules.current_table(server);
        let command = if args.is_empty() { None } else { table.resolve(&args) };
        match command {
            None => denied(libc::ENOENT),
            Some(c) if check::command(&rules, c, &args).is_err() => denied(libc::EACCES),
            Some(_) => OK,
        }
    }

    /// Whether the user may use a key in this way: `OK`, or an error with `errno`.
    [Locked] fn ACLCheckKeyPermissions(
        user: *const ModuleUser, key: *mut RStr, flags: c_int,
    ) -> c_int {
        let Some(flags) = key_flags(flags) else { return denied(libc::EINVAL) };
        // SAFETY: ABI: a handle that the module still has, and a live string.
        let (rules, key) = unsafe { (rules_of(user), RStr::bytes(key)) };
        if check::key(&rules, key, flags) { OK } else { denied(libc::EACCES) }
    }

    /// Whether the user may use all keys that begin with a prefix in this way: `OK`, or an error with `errno` (Redis 8.0).
    /// Under Valkey's name there is another function, with other arguments, which this is not.
    [Locked] fn ACLCheckKeyPrefixPermissions(
        user: *const ModuleUser, prefix: *mut RStr, flags: c_int,
    ) -> c_int {
        let Some(flags) = key_flags(flags) else { return denied(libc::EINVAL) };
        // SAFETY: ABI: a handle that the module still has, and a live string.
        let (rules, prefix) = unsafe { (rules_of(user), RStr::bytes(prefix)) };
        if check::key_prefix(&rules, prefix, flags) { OK } else { denied(libc::EACCES) }
    }

    /// Whether the user may use a channel in this way. Without `errno` if not, but with it for unknown flags.
    [Locked] fn ACLCheckChannelPermissions(
        user: *const ModuleUser, channel: *mut RStr, flags: c_int,
    ) -> c_int {
        let flags = flags as u64;
        let known = abi::CMD_CHANNEL_PUBLISH | abi::CMD_CHANNEL_SUBSCRIBE
            | abi::CMD_CHANNEL_UNSUBSCRIBE | abi::CMD_CHANNEL_PATTERN;
        if flags & !known != 0 {
            return denied(libc::EINVAL);
        }
        if flags & abi::CMD_CHANNEL_UNSUBSCRIBE != 0 {
            return OK;
        }
        // SAFETY: ABI: a handle that the module still has, and a live string.
        let (rules, channel) = unsafe { (rules_of(user), RStr::bytes(channel)) };
        let may = check::channel(&rules, channel, flags & abi::CMD_CHANNEL_PATTERN != 0);
        if may { OK } else { ERR }
    }

    /// Enters a refusal in the ACL log.
    [Locked] fn ACLAddLogEntry(
        ctx: *mut Ctx, user: *const ModuleUser, object: *mut RStr, reason: c_int,
    ) -> c_int {
        // SAFETY: ABI: a live context, and a handle that the module still has.
        let (ctx, user) = unsafe { (&*ctx, &*user) };
        add_log_entry(ctx, user.user.name(), object, reason)
    }

    /// Enters a refusal in the ACL log, for a user by name.
    [Locked] fn ACLAddLogEntryByUserName(
        ctx: *mut Ctx, user: *mut RStr, object: *mut RStr, reason: c_int,
    ) -> c_int {
        // SAFETY: ABI: a live context and a live string.
        let (ctx, user) = unsafe { (&*ctx, RStr::bytes(user)) };
        add_log_entry(ctx, user, object, reason)
    }

    /// Makes the context's client a module's user. The callback hears once when the client is somebody else, or gone.
    [Locked] fn AuthenticateClientWithUser(
        ctx: *mut Ctx, user: *const ModuleUser, callback: abi::UserChangedFn, data: *mut c_void,
        id: *mut u64,
    ) -> c_int {
        // SAFETY: ABI: a live context, and a handle that the module still has.
        let (ctx, user) = unsafe { (&mut *ctx, (*user).user.clone()) };
        authenticate(ctx, user, callback, data, id)
    }

    /// As `AuthenticateClientWithUser`, with a user of the server.
    [Locked] fn AuthenticateClientWithACLUser(
        ctx: *mut Ctx, name: *const c_char, len: usize, callback: abi::UserChangedFn,
        data: *mut c_void, id: *mut u64,
    ) -> c_int {
        // SAFETY: ABI: a live context, and a text of this length.
        let (ctx, name) = unsafe { (&mut *ctx, super::string::bytes_of(name.cast(), len)) };
        match Server::get().acl.find(name) {
            Some(user) => authenticate(ctx, user, callback, data, id),
            None => ERR,
        }
    }

    /// Ends a client; it is nobody from now on.
    [Locked] fn DeauthenticateAndCloseClient(ctx: *mut Ctx, id: u64) -> c_int {
        let server = Server::get();
        let Some(client) = server.clients.lock().get(&id).cloned() else { return ERR };
        auth::user_changed(server, &client);
        // SAFETY: ABI: null or a live context.
        let ctx = unsafe { ctx.as_ref() };
        let me = ctx.filter(|c| c.has_client()).map(Ctx::session);
        crate::acl::end_client(server, &client, me);
        OK
    }

    /// Asks the module before passwords are looked at. The latest callback is asked first.
    [Main] fn RegisterAuthCallback(ctx: *mut Ctx, callback: abi::AuthFn) {
        // SAFETY: ABI: a live context.
        if let Some(module) = unsafe { &*ctx }.module {
            auth::register(Server::get(), module, callback);
        }
    }

    /// Keeps an argument of the client's command out of logs and away from monitors.
    [Locked] fn RedactClientCommandArgument(ctx: *mut Ctx, position: c_int) -> c_int {
        // SAFETY: ABI: null or a live context.
        let Some(ctx) = (unsafe { ctx.as_ref() }) else { return ERR };
        if position <= 0 || position as usize >= ctx.argc || ctx.flags & flag::COMMAND == 0 {
            return ERR;
        }
        ctx.session().redacted.push(position as usize);
        OK
    }
}
