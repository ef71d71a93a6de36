//! Commands: registration, information, key and channel positions.
use crate::dispatch::table::{flags, key, keys, Begin, Find, KeySpec};
use crate::execute::command_keys;
use crate::module::abi::{self, Elements, ERR, OK};
use crate::module::border::{c_text, set_errno};
use crate::module::command::{find, CommandArg, CommandInfo, ModuleCommand};
use crate::module::context::{flag, Ctx};
use crate::module::registry::Module;
use crate::module::string::RStr;
use crate::server::Server;
use parking_lot::Mutex;
use std::ffi::{c_char, c_int};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::Arc;

/// Flag words of `CreateCommand`.
const FLAG_WORDS: &[(&str, u64)] = &[
    ("write", flags::WRITE),
    ("readonly", flags::READONLY),
    ("admin", flags::ADMIN),
    ("deny-oom", flags::DENYOOM),
    ("deny-script", flags::NOSCRIPT),
    ("allow-loading", flags::LOADING),
    ("pubsub", flags::PUBSUB),
    // Means nothing any more, but old modules say it.
    ("random", 0),
    ("blocking", flags::BLOCKING),
    ("allow-stale", flags::STALE),
    ("no-monitor", flags::SKIP_MONITOR),
    ("no-slowlog", flags::SKIP_SLOWLOG),
    ("fast", flags::FAST),
    ("no-auth", flags::NO_AUTH),
    ("may-replicate", flags::MAY_REPLICATE),
    ("getkeys-api", flags::MODULE_GETKEYS),
    ("getchannels-api", flags::MODULE_GETCHANNELS),
    ("no-cluster", flags::MODULE_NO_CLUSTER),
    ("no-mandatory-keys", flags::NO_MANDATORY_KEYS),
    ("allow-busy", flags::ALLOW_BUSY),
    // Of Redis 8.0.
    ("internal", flags::INTERNAL | flags::NOSCRIPT),
    // Commands of modules may touch any key anyway.
    ("touches-arbitrary-keys", 0),
];

/// Command flags from their words; `None` if one is unknown.
fn parse_flags(words: &str) -> Option<u64> {
    let mut bits = 0;
    if words.is_empty() {
        return Some(0);
    }
    // Two blanks in a row make an empty word, which is none of the known ones, as on Redis.
    for word in words.split(' ') {
        bits |= FLAG_WORDS.iter().find(|(name, _)| word.eq_ignore_ascii_case(name))?.1;
    }
    Some(bits)
}

/// Characters that would make a command's name ambiguous in ACL rules or configuration files.
fn valid_name(name: &str) -> bool {
    !name.contains([' ', '\r', '\n', '|', '@', '=', ','])
}

/// Names that `AddACLCategory` and configuration parameters may have.
pub fn valid_resource_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_' || c == b'-')
}

struct Registration<'a> {
    module: &'static Module,
    name: &'a str,
    container: Option<&'a str>,
    function: abi::CommandFn,
    bits: u64,
    range: (c_int, c_int, c_int),
}

fn register(r: &Registration<'_>) -> Arc<ModuleCommand> {
    let mut info = CommandInfo::default();
    let (first, last, step) = r.range;
    if first != 0 {
        let vague = if r.bits & flags::MODULE_GETKEYS != 0 { key::VARIABLE_FLAGS } else { 0 };
        info.keys.push(keys(key::RW | key::ACCESS | key::UPDATE | vague, first, last, step));
    }
    let full_name = r.container.map_or(r.name.to_string(), |c| format!("{c}|{}", r.name));
    Arc::new(ModuleCommand {
        module: r.module,
        name: r.name.to_string(),
        label: crate::lock::owner::intern(&full_name),
        full_name,
        function: r.function,
        flags: r.bits,
        info: Mutex::new(info),
        subs: Mutex::default(),
    })
}

/// `no-cluster` commands do not exist on a cluster's node.
fn refused_here(bits: u64) -> bool {
    bits & flags::MODULE_NO_CLUSTER != 0 && Server::get().config.cluster_enabled()
}

/// ACL categories of the server's own; modules may add up to 64 in all.
const CATEGORIES: [&str; 21] = [
    "keyspace",
    "read",
    "write",
    "set",
    "sortedset",
    "list",
    "hash",
    "string",
    "bitmap",
    "hyperloglog",
    "geo",
    "stream",
    "pubsub",
    "admin",
    "fast",
    "slow",
    "blocking",
    "dangerous",
    "connection",
    "transaction",
    "scripting",
];
const MOST_CATEGORIES: usize = 64;

static ADDED_CATEGORIES: Mutex<Vec<(String, &'static str)>> = Mutex::new(Vec::new());

/// ACL categories that modules added.
pub fn added_categories() -> Vec<String> {
    ADDED_CATEGORIES.lock().iter().map(|c| c.0.clone()).collect()
}

/// Forgets the ACL categories that a module added (its load failed).
pub fn remove_categories_of(module: &Module) {
    let path = module.path.as_str();
    ADDED_CATEGORIES.lock().retain(|c| c.1 != path);
}

fn category(name: &str) -> Option<String> {
    if let Some(c) = CATEGORIES.iter().find(|c| c.eq_ignore_ascii_case(name)) {
        return Some(c.to_string());
    }
    let added = ADDED_CATEGORIES.lock();
    added.iter().find(|c| c.0.eq_ignore_ascii_case(name)).map(|c| c.0.clone())
}

fn invalid(what: &str) -> Option<CommandInfo> {
    crate::log_warning!("Invalid command info: {what}");
    None
}

fn one_bit(bits: u64) -> bool {
    bits.is_power_of_two()
}

/// Copies and checks what a module tells about a command. A refusal has been logged.
///
/// # Safety
/// ABI: `info` is a module's struct, laid out as its version says.
unsafe fn read_info(info: &abi::CommandInfo) -> Option<CommandInfo> {
    // SAFETY: ABI: null or the module's static struct.
    let Some(version) = (unsafe { info.version.as_ref() }) else {
        return invalid("version missing");
    };
    // SAFETY: ABI: C strings or null, for all uses below.
    let owned = |p: *const c_char| unsafe { c_text(p) }.map(|t| t.into_owned());
    let mut told = CommandInfo {
        summary: owned(info.summary),
        complexity: owned(info.complexity),
        since: owned(info.since),
        arity: info.arity,
        ..CommandInfo::default()
    };
    // SAFETY: ABI: the array steps by the size that the version tells.
    let history = unsafe { Elements::new(info.history, version.sizeof_historyentry) };
    for (i, entry) in history.enumerate() {
        let Some(changes) = owned(entry.changes) else {
            return invalid(&format!("history[{i}].changes missing"));
        };
        told.history.push((owned(entry.since).unwrap_or_default(), changes));
    }
    if let Some(tips) = owned(info.tips) {
        told.tips = tips.split(' ').filter(|t| !t.is_empty()).map(str::to_string).collect();
    }
    // SAFETY: ABI: the array steps by the size that the version tells.
    let specs = unsafe { Elements::new(info.key_specs, version.sizeof_keyspec) };
    for (i, spec) in specs.enumerate() {
        match read_key_spec(spec) {
            Ok(spec) => told.keys.push(spec),
            Err(what) => return invalid(&format!("key_specs[{i}].{what}")),
        }
    }
    told.keys_told = !info.key_specs.is_null();
    // SAFETY: ABI: the array steps by the size that the version tells.
    match unsafe { read_args(info.args, version.sizeof_arg) } {
        Ok(args) => told.args = args,
        Err((name, what)) => return invalid(&format!("Argument \"{name}\": {what}")),
    }
    Some(told)
}

fn read_key_spec(spec: &abi::CommandKeySpec) -> Result<KeySpec, String> {
    if !one_bit(spec.flags & (key::RO | key::RW | key::OW | key::RM)) {
        return Err("flags: Exactly one of the flags RO, RW, OW, RM required".into());
    }
    let changes = spec.flags & (key::INSERT | key::DELETE | key::UPDATE);
    if changes != 0 && !one_bit(changes) {
        return Err("flags: INSERT, DELETE and UPDATE are mutually exclusive".into());
    }
    let begin = match spec.begin_search_type {
        abi::KSPEC_BS_UNKNOWN => Begin::Unknown,
        // SAFETY: ABI: the type tells which member of the union holds.
        abi::KSPEC_BS_INDEX => Begin::Index(unsafe { spec.bs.index }.pos),
        abi::KSPEC_BS_KEYWORD => {
            // SAFETY: ABI: as above; a C string or null.
            let (word, from) =
                unsafe { (c_text(spec.bs.keyword.keyword), spec.bs.keyword.startfrom) };
            let Some(word) = word else {
                return Err(
                    "bs.keyword.keyword required when begin_search_type is KEYWORD".to_string()
                );
            };
            Begin::Keyword(word.into_owned().into(), from)
        }
        other => return Err(format!("begin_search_type: Invalid value {other}")),
    };
    let find = match spec.find_keys_type {
        abi::KSPEC_FK_OMITTED => Find::Range(0, 1, 0),
        abi::KSPEC_FK_UNKNOWN => Find::Unknown,
        abi::KSPEC_FK_RANGE => {
            // SAFETY: ABI: the type tells which member of the union holds.
            let r = unsafe { spec.fk.range };
            Find::Range(r.lastkey, r.keystep, r.limit)
        }
        abi::KSPEC_FK_KEYNUM => {
            // SAFETY: ABI: the type tells which member of the union holds.
            let k = unsafe { spec.fk.keynum };
            Find::KeyNum(k.keynumidx, k.firstkey, k.keystep)
        }
        other => return Err(format!("find_keys_type: Invalid value {other}")),
    };
    // SAFETY: ABI: a C string or null.
    let notes = unsafe { c_text(spec.notes) }.map(|t| t.into_owned().into());
    Ok(KeySpec { flags: spec.flags, begin, find, notes })
}

/// # Safety
/// ABI: `first` is null or an array of a module whose elements have `size` bytes.
unsafe fn read_args(
    first: *const abi::CommandArg,
    size: usize,
) -> Result<Vec<CommandArg>, (String, String)> {
    let mut args = Vec::new();
    // SAFETY: ABI: this function's contract.
    for a in unsafe { Elements::new(first, size) } {
        // SAFETY: ABI: C strings or null.
        let owned = |p: *const c_char| unsafe { c_text(p) }.map(|t| t.into_owned());
        let name = owned(a.name).unwrap_or_default();
        let bad = |what: &str| Err((name.clone(), what.to_string()));
        if !(abi::ARG_TYPE_STRING..=abi::ARG_TYPE_BLOCK).contains(&a.arg_type) {
            return bad(&format!("Undefined type {}", a.arg_type));
        }
        if a.arg_type == abi::ARG_TYPE_PURE_TOKEN && a.token.is_null() {
            return bad("token required when type is PURE_TOKEN");
        }
        if a.arg_type == abi::ARG_TYPE_KEY {
            if a.key_spec_index < 0 {
                return bad("key_spec_index required when type is KEY");
            }
        } else if !matches!(a.key_spec_index, -1 | 0) {
            return bad("key_spec_index specified but type isn't KEY");
        }
        if a.flags & !(abi::CMD_ARG_NEXT - 1) != 0 {
            return bad("Invalid flags");
        }
        let nests = matches!(a.arg_type, abi::ARG_TYPE_ONEOF | abi::ARG_TYPE_BLOCK);
        if nests && a.subargs.is_null() {
            return bad("subargs required when type is ONEOF or BLOCK");
        }
        if !nests && !a.subargs.is_null() {
            return bad("subargs specified but type isn't ONEOF nor BLOCK");
        }
        args.push(CommandArg {
            arg_type: a.arg_type,
            key_spec_index: if a.arg_type == abi::ARG_TYPE_KEY { a.key_spec_index } else { -1 },
            token: owned(a.token),
            summary: owned(a.summary),
            since: owned(a.since),
            flags: a.flags,
            deprecated_since: owned(a.deprecated_since),
            // SAFETY: ABI: a nested array of the same module.
            subargs: unsafe { read_args(a.subargs, size) }?,
            // SAFETY: ABI: an element of a module's array of this size.
            display_text: owned(unsafe { abi::CommandArg::display_text(a, size) }),
            name,
        });
    }
    Ok(args)
}

/// The arguments of a module's string vector.
///
/// # Safety
/// ABI: `argv` points to `argc` live strings.
pub unsafe fn bytes_of<'a>(argv: *const *mut RStr, argc: usize) -> Vec<&'a [u8]> {
    // SAFETY: ABI: this function's contract.
    unsafe { (0..argc).map(|i| RStr::bytes(*argv.add(i))).collect() }
}

/// # Safety
/// ABI: as `GetCommandKeysWithFlags`.
unsafe fn command_keys(
    argv: *const *mut RStr,
    argc: c_int,
    count: *mut c_int,
    out_flags: *mut *mut c_int,
) -> *mut c_int {
    let none = std::ptr::null_mut();
    // SAFETY: ABI: this function's contract.
    let args = unsafe { bytes_of(argv, argc.max(0) as usize) };
    let server = Server::get();
    let table = server.modules.current_table(server);
    let command = if args.is_empty() { None } else { table.resolve(&args) };
    let Some(command) = command else {
        set_errno(libc::ENOENT);
        return none;
    };
    if command.keys.is_empty() && !command.has(flags::MODULE_GETKEYS) {
        set_errno(0);
        return none;
    }
    if !command.arity_ok(args.len()) {
        set_errno(libc::EINVAL);
        return none;
    }
    let found = command_keys::positions(command, &args).unwrap_or_default();
    // SAFETY: ABI: places that the module gave.
    unsafe { *count = found.len() as c_int };
    if found.is_empty() {
        set_errno(0);
        return none;
    }
    let size = found.len() * std::mem::size_of::<c_int>();
    // SAFETY: ABI: the arrays are the module's to free; layout: `size` bytes of integers.
    unsafe {
        let positions = super::memory::Alloc(size).cast::<c_int>();
        for (i, p) in found.iter().enumerate() {
            *positions.add(i) = p.0 as c_int;
        }
        if !out_flags.is_null() {
            let bits = super::memory::Alloc(size).cast::<c_int>();
            for (i, p) in found.iter().enumerate() {
                *bits.add(i) = p.1 as c_int;
            }
            *out_flags = bits;
        }
        positions
    }
}

crate::api! {
    /// Registers a command; only inside OnLoad.
    [Main] fn CreateCommand(
        ctx: *mut Ctx, name: *const c_char, function: abi::CommandFn, words: *const c_char,
        first: c_int, last: c_int, step: c_int,
    ) -> c_int {
        // SAFETY: ABI: a live context and C strings.
        let (ctx, name, words) = unsafe { (&*ctx, c_text(name), c_text(words)) };
        let (Some(module), Some(name)) = (ctx.module, name) else { return ERR };
        if !module.onload.load(Relaxed) {
            return ERR;
        }
        let Some(bits) = parse_flags(&words.unwrap_or_default()) else { return ERR };
        if refused_here(bits) || !valid_name(&name) {
            return ERR;
        }
        let server = Server::get();
        let known = server.table.load().find(name.as_bytes()).is_some();
        if known || find(module, &name).is_some() {
            return ERR;
        }
        let command = register(&Registration {
            module, name: &name, container: None, function, bits, range: (first, last, step),
        });
        module.commands.lock().push(command);
        server.modules.commands_changed(module);
        OK
    }

    /// A command of this module by name, `container|sub` for a subcommand; null if there is none.
    [Main] fn GetCommand(ctx: *mut Ctx, name: *const c_char) -> *const ModuleCommand {
        // SAFETY: ABI: a live context and a C string.
        let (ctx, name) = unsafe { (&*ctx, c_text(name)) };
        let (Some(module), Some(name)) = (ctx.module, name) else { return std::ptr::null() };
        // The module's list keeps the command alive.
        find(module, &name).map_or(std::ptr::null(), |c| Arc::as_ptr(&c))
    }

    /// Registers a subcommand of a container (a command without function); only inside OnLoad.
    [Main] fn CreateSubcommand(
        parent: *const ModuleCommand, name: *const c_char, function: abi::CommandFn,
        words: *const c_char, first: c_int, last: c_int, step: c_int,
    ) -> c_int {
        // SAFETY: ABI: a handle from `GetCommand` and C strings.
        let (parent, name, words) = unsafe { (&*parent, c_text(name), c_text(words)) };
        let Some(name) = name else { return ERR };
        if !parent.module.onload.load(Relaxed) {
            return ERR;
        }
        let Some(bits) = parse_flags(&words.unwrap_or_default()) else { return ERR };
        if refused_here(bits) || parent.is_sub() || parent.function.is_some() || !valid_name(&name)
        {
            return ERR;
        }
        let mut subs = parent.subs.lock();
        if subs.iter().any(|s| s.name.eq_ignore_ascii_case(&name)) {
            return ERR;
        }
        subs.push(register(&Registration {
            module: parent.module, name: &name, container: Some(&parent.name), function, bits,
            range: (first, last, step),
        }));
        drop(subs);
        Server::get().modules.commands_changed(parent.module);
        OK
    }

    /// Tells what a command does; once for each command.
    [Main] fn SetCommandInfo(command: *const ModuleCommand, info: *const abi::CommandInfo) -> c_int {
        // SAFETY: ABI: a handle from `GetCommand` and the module's struct.
        let (command, told) = unsafe { (&*command, read_info(&*info)) };
        let Some(told) = told else {
            set_errno(libc::EINVAL);
            return ERR;
        };
        let mut now = command.info.lock();
        let classic = match &now.keys[..] {
            [] => true,
            [k] => matches!((&k.begin, &k.find), (Begin::Index(_), Find::Range(..))),
            _ => false,
        };
        let set_before = now.summary.is_some() || now.complexity.is_some() || now.since.is_some()
            || !now.history.is_empty() || !now.tips.is_empty() || !now.args.is_empty();
        if set_before || !classic {
            set_errno(libc::EEXIST);
            return ERR;
        }
        let old = std::mem::replace(&mut *now, told);
        if !now.keys_told {
            now.keys = old.keys;
        }
        if now.arity == 0 {
            now.arity = old.arity;
        }
        now.acl = old.acl;
        drop(now);
        Server::get().modules.commands_changed(command.module);
        OK
    }

    /// Sets the ACL categories of a command from their names; only inside OnLoad.
    [Main] fn SetCommandACLCategories(command: *const ModuleCommand, words: *const c_char) -> c_int {
        // SAFETY: ABI: null or a handle from `GetCommand`, and a C string.
        let (Some(command), words) = (unsafe { (command.as_ref(), c_text(words)) }) else { return ERR };
        if !command.module.onload.load(Relaxed) {
            return ERR;
        }
        let mut categories = Vec::new();
        let words = words.unwrap_or_default();
        for word in words.split(' ').filter(|_| !words.is_empty()) {
            let Some(c) = category(word) else {
                crate::log_warning!("Unrecognized categories flag {word} on module load");
                return ERR;
            };
            if !categories.contains(&c) {
                categories.push(c);
            }
        }
        command.info.lock().acl = categories;
        Server::get().modules.commands_changed(command.module);
        OK
    }

    /// Adds an ACL category; only inside OnLoad.
    [Main] fn AddACLCategory(ctx: *mut Ctx, name: *const c_char) -> c_int {
        // SAFETY: ABI: a live context and a C string.
        let (ctx, name) = unsafe { (&*ctx, c_text(name)) };
        let (Some(module), Some(name)) = (ctx.module, name) else { return ERR };
        if !module.onload.load(Relaxed) || !valid_resource_name(&name) {
            set_errno(libc::EINVAL);
            return ERR;
        }
        if category(&name).is_some() {
            set_errno(libc::EBUSY);
            return ERR;
        }
        let mut added = ADDED_CATEGORIES.lock();
        if CATEGORIES.len() + added.len() >= MOST_CATEGORIES {
            set_errno(libc::ENOMEM);
            return ERR;
        }
        added.push((name.into_owned(), &module.path));
        OK
    }

    /// 1 if the command was called to tell which of its arguments are keys.
    [Locked] fn IsKeysPositionRequest(ctx: *mut Ctx) -> c_int {
        // SAFETY: ABI: a live context.
        c_int::from(unsafe { (*ctx).flags } & flag::KEYS_POS_REQUEST != 0)
    }

    /// Tells the position of a key, with full access.
    [Locked] fn KeyAtPos(ctx: *mut Ctx, position: c_int) {
        // SAFETY: ABI: a live context.
        unsafe { KeyAtPosWithFlags(ctx, position, (key::RW | key::ACCESS | key::UPDATE) as c_int) }
    }

    /// Tells the position of a key.
    [Locked] fn KeyAtPosWithFlags(ctx: *mut Ctx, position: c_int, bits: c_int) {
        // SAFETY: ABI: a live context.
        let ctx = unsafe { &mut *ctx };
        if ctx.flags & flag::KEYS_POS_REQUEST != 0 && position > 0 {
            ctx.key_positions.push((position as usize, bits as u64));
        }
    }

    /// 1 if the command was called to tell which of its arguments are channels.
    [Locked] fn IsChannelsPositionRequest(ctx: *mut Ctx) -> c_int {
        // SAFETY: ABI: a live context.
        c_int::from(unsafe { (*ctx).flags } & flag::CHANNELS_POS_REQUEST != 0)
    }

    /// Tells the position of a channel.
    [Locked] fn ChannelAtPosWithFlags(ctx: *mut Ctx, position: c_int, bits: c_int) {
        // SAFETY: ABI: a live context.
        let ctx = unsafe { &mut *ctx };
        if ctx.flags & flag::CHANNELS_POS_REQUEST != 0 && position > 0 {
            ctx.key_positions.push((position as usize, bits as u64));
        }
    }

    /// Positions of the keys of a whole command, to be freed by the module. Null with `errno`.
    [Locked] fn GetCommandKeys(
        _ctx: *mut Ctx, argv: *const *mut RStr, argc: c_int, count: *mut c_int,
    ) -> *mut c_int {
        // SAFETY: ABI: the arguments are those of this function.
        unsafe { command_keys(argv, argc, count, std::ptr::null_mut()) }
    }

    /// As `GetCommandKeys`, with the flags of each key.
    [Locked] fn GetCommandKeysWithFlags(
        _ctx: *mut Ctx, argv: *const *mut RStr, argc: c_int, count: *mut c_int,
        out_flags: *mut *mut c_int,
    ) -> *mut c_int {
        // SAFETY: ABI: the arguments are those of this function.
        unsafe { command_keys(argv, argc, count, out_flags) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flag_words() {
        assert_eq!(parse_flags("write Deny-OOM"), Some(flags::WRITE | flags::DENYOOM));
        assert_eq!(parse_flags(""), Some(0));
        assert_eq!(parse_flags("random"), Some(0));
        assert_eq!(parse_flags("write nonsense"), None);
        assert_eq!(parse_flags("write  fast"), None);
    }

    #[test]
    fn names() {
        assert!(valid_name("ft.search") && !valid_name("a b") && !valid_name("a|b"));
        assert!(
            valid_resource_name("a-b_C9")
                && !valid_resource_name("")
                && !valid_resource_name("a.b")
        );
    }
}
