//! Users, as far as a server with one of them has any: the default user, who may do everything.
//!
//! Making users and giving them rules is not served: a user whose rules nobody enforces would be a lie.
use crate::module::abi::{self, ERR, OK};
use crate::module::api::command::bytes_of;
use crate::module::border::set_errno;
use crate::module::context::{Auto, Ctx};
use crate::module::string::RStr;
use crate::server::Server;
use std::ffi::c_int;
use std::sync::Arc;

/// A user that a module looked up.
pub struct ModuleUser {
    /// Name.
    pub name: String,
}

/// The one user.
const DEFAULT_USER: &str = "default";

/// `OK`, or an error for flags that the check does not know.
fn check_flags(flags: c_int, known: u64) -> c_int {
    if flags as u64 & !known != 0 {
        set_errno(libc::EINVAL);
        return ERR;
    }
    OK
}

crate::api! {
    /// The user of this name, to be freed with `FreeModuleUser`; null if there is none.
    [Locked] fn GetModuleUserFromUserName(name: *mut RStr) -> *const ModuleUser {
        // SAFETY: ABI: a live string.
        if unsafe { RStr::bytes(name) } != DEFAULT_USER.as_bytes() {
            return std::ptr::null();
        }
        Arc::into_raw(Arc::new(ModuleUser { name: DEFAULT_USER.to_string() }))
    }

    /// Gives a user back.
    [Locked] fn FreeModuleUser(user: *const ModuleUser) -> c_int {
        // SAFETY: ABI: a user of `GetModuleUserFromUserName`, given up here.
        drop(unsafe { Arc::from_raw(user) });
        OK
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

    /// The name of the client's user; null where no client is behind the context.
    [Locked] fn GetCurrentUserName(ctx: *mut Ctx) -> *mut RStr {
        // SAFETY: ABI: a live context.
        let ctx = unsafe { &mut *ctx };
        let Some(name) = ctx.session().user.clone() else { return std::ptr::null_mut() };
        let s = RStr::new(name.as_bytes());
        ctx.remember(Auto::Str(s));
        s
    }

    /// Whether the user may run a command: `OK`, or an error with `errno`.
    [Locked] fn ACLCheckCommandPermissions(
        _user: *const ModuleUser, argv: *const *mut RStr, argc: c_int,
    ) -> c_int {
        // SAFETY: ABI: an array of live strings.
        let args = unsafe { bytes_of(argv, argc.max(0) as usize) };
        let server = Server::get();
        let table = server.modules.current_table(server);
        if args.is_empty() || table.resolve(&args).is_none() {
            set_errno(libc::ENOENT);
            return ERR;
        }
        OK
    }

    /// Whether the user may use a key in this way.
    [Locked] fn ACLCheckKeyPermissions(
        _user: *const ModuleUser, _key: *mut RStr, flags: c_int,
    ) -> c_int {
        let known = abi::CMD_KEY_ACCESS | abi::CMD_KEY_INSERT | abi::CMD_KEY_DELETE
            | abi::CMD_KEY_UPDATE;
        check_flags(flags, known)
    }

    /// Whether the user may use a channel in this way.
    [Locked] fn ACLCheckChannelPermissions(
        _user: *const ModuleUser, _channel: *mut RStr, flags: c_int,
    ) -> c_int {
        let known = abi::CMD_CHANNEL_PUBLISH | abi::CMD_CHANNEL_SUBSCRIBE
            | abi::CMD_CHANNEL_UNSUBSCRIBE | abi::CMD_CHANNEL_PATTERN;
        check_flags(flags, known)
    }
}
