//! Commands of modules: what was registered, and how a call reaches the module.
use super::abi;
use super::callback;
use super::context::{flag, Ctx};
use super::registry::Module;
use super::string::RStr;
use crate::dispatch::ahead::Touches;
use crate::dispatch::table::{
    flags, key, Body, Command, KeyPositions, KeySpec, Path, Reason, Table,
};
use crate::execute::{CommandResult, Tx};
use crate::reply::Reply;
use parking_lot::Mutex;
use smallvec::SmallVec;
use std::sync::Arc;

/// A registered command. What `SetCommandInfo` adds later is behind the mutex.
pub struct ModuleCommand {
    /// Whose.
    pub module: &'static Module,
    /// As registered; the subcommand's own name for a subcommand.
    pub name: String,
    /// `container|name` for a subcommand.
    pub full_name: String,
    /// The same, for reports.
    pub label: crate::lock::owner::Label,
    /// The module's function; none for a pure container.
    pub function: abi::CommandFn,
    /// Bits of `dispatch::table::flags`.
    pub flags: u64,
    /// Key specifications and what else `SetCommandInfo` tells.
    pub info: Mutex<CommandInfo>,
    /// Subcommands.
    pub subs: Mutex<Vec<Arc<ModuleCommand>>>,
}

/// What can be told about a command beyond its registration.
#[derive(Clone, Default)]
pub struct CommandInfo {
    /// Key specifications.
    pub keys: Vec<KeySpec>,
    /// Arity; 0 stands for the default.
    pub arity: i32,
    /// ACL categories.
    pub acl: Vec<String>,
    /// What it does.
    pub summary: Option<String>,
    /// Its cost.
    pub complexity: Option<String>,
    /// Since which version of the module.
    pub since: Option<String>,
    /// Changes: version and what changed.
    pub history: Vec<(String, String)>,
    /// Command tips.
    pub tips: Vec<String>,
    /// Its arguments.
    pub args: Vec<CommandArg>,
    /// The key specifications came from `SetCommandInfo`, and are not one range at a fixed place.
    pub keys_told: bool,
}

/// An argument, as `COMMAND DOCS` describes it.
#[derive(Clone, Debug)]
pub struct CommandArg {
    /// Name.
    pub name: String,
    /// One of `abi::ARG_TYPE_*`.
    pub arg_type: i32,
    /// Which key specification it belongs to, for keys.
    pub key_spec_index: i32,
    /// The word before it.
    pub token: Option<String>,
    /// What it is.
    pub summary: Option<String>,
    /// Since which version.
    pub since: Option<String>,
    /// Bits of `abi::CMD_ARG_*`.
    pub flags: i32,
    /// Deprecated since which version.
    pub deprecated_since: Option<String>,
    /// What it consists of, for `ONEOF` and `BLOCK`.
    pub subargs: Vec<CommandArg>,
    /// How it is shown.
    pub display_text: Option<String>,
}

impl ModuleCommand {
    /// Whether this is a subcommand.
    pub fn is_sub(&self) -> bool {
        self.full_name.contains('|')
    }

    /// The command as a row of the table.
    pub fn to_command(self: &Arc<Self>, old: Option<&Table>) -> Command {
        let info = self.info.lock();
        let subs = self.subs.lock();
        let default_arity = if self.function.is_some() && !self.is_sub() { -1 } else { -2 };
        Command {
            name: self.name.clone(),
            full_name: self.full_name.clone(),
            arity: if info.arity == 0 { default_arity } else { info.arity },
            flags: self.flags | flags::MODULE,
            keys: info.keys.clone(),
            events: 0,
            body: Body::Module(self.clone()),
            subs: subs.iter().map(|s| Arc::new(s.to_command(old))).collect(),
            path: Path::Module(Reason::ModuleCommand),
            acl: info.acl.clone(),
            group: "module",
            since: info.since.clone().unwrap_or_default(),
            summary: info.summary.clone().unwrap_or_default(),
            stats: old.and_then(|t| t.stats_of(&self.full_name)).unwrap_or_default(),
            number: crate::dispatch::table::number_of(&self.full_name),
            touches: Touches::of("module", &self.name),
        }
    }
}

/// Finds a module's registered command by name, `container|sub` for a subcommand, in any case.
pub fn find(module: &Module, name: &str) -> Option<Arc<ModuleCommand>> {
    let (first, sub) = name.split_once('|').map_or((name, None), |(a, b)| (a, Some(b)));
    let commands = module.commands.lock();
    let command = commands.iter().find(|c| c.name.eq_ignore_ascii_case(first))?;
    match sub {
        None => Some(command.clone()),
        Some(sub) => {
            let subs = command.subs.lock();
            subs.iter().find(|c| c.name.eq_ignore_ascii_case(sub)).cloned()
        }
    }
}

/// What a module is asked for in a positions request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Positions {
    /// Keys: a command with `getkeys-api`.
    Keys,
    /// Channels: a command with `getchannels-api`.
    Channels,
}

/// Asks a module which arguments of its command are keys or channels. The calling thread has the module lock.
pub fn ask_positions(
    command: &ModuleCommand,
    args: &[&[u8]],
    what: Positions,
) -> Vec<(usize, u64)> {
    let Some(function) = command.function else { return Vec::new() };
    let mut argv: SmallVec<[*mut RStr; 16]> = args.iter().map(|a| RStr::new(a)).collect();
    let _running = callback::running(command.module, command.label);
    let mut ctx = Ctx::internal(Some(command.module));
    ctx.flags |= match what {
        Positions::Keys => flag::KEYS_POS_REQUEST,
        Positions::Channels => flag::CHANNELS_POS_REQUEST,
    };
    // SAFETY: ABI: the function was registered for this signature; lock: the module lock is held.
    unsafe {
        function((&raw mut ctx).cast(), argv.as_mut_ptr().cast(), argv.len() as i32);
    }
    let found = std::mem::take(&mut ctx.key_positions);
    ctx.finish();
    for s in argv {
        // SAFETY: ABI: our own reference; the module retained what it keeps.
        unsafe { RStr::release(s) };
    }
    found
}

/// The keys of any command: from its specifications where these are sure, else from its module (Redis:
/// getKeysFromCommand). The calling thread has the module lock.
pub fn key_positions(command: &Command, args: &[&[u8]]) -> Option<KeyPositions> {
    let vague = command.keys.iter().any(|k| k.flags & key::VARIABLE_FLAGS != 0);
    if !command.keys.is_empty() && !vague {
        if let Some(found) = command.key_positions(args) {
            return Some(found);
        }
    }
    match &command.body {
        Body::Module(m) if command.has(flags::MODULE_GETKEYS) => {
            Some(ask_positions(m, args, Positions::Keys).into_iter().collect())
        }
        _ => command.key_positions(args),
    }
}

/// Arguments that find room on the stack.
const FEW: usize = 16;

/// Calls the module's function for a command. The calling thread has the module lock.
pub fn run(
    command: &Arc<ModuleCommand>,
    tx: &mut Tx<'_>,
    args: &[&[u8]],
    out: &mut Reply,
) -> CommandResult {
    let Some(function) = command.function else {
        return Err(crate::execute::error::arity(&command.full_name));
    };
    let (mut few, mut many) = ([std::ptr::null_mut(); FEW], Vec::new());
    let argv: &mut [*mut RStr] = match few.get_mut(..args.len()) {
        Some(argv) => {
            argv.iter_mut().zip(args).for_each(|(s, text)| *s = RStr::new(text));
            argv
        }
        None => {
            many.extend(args.iter().map(|text| RStr::new(text)));
            &mut many
        }
    };
    let _running = callback::running(command.module, command.label);
    let now = tx.now;
    tx.session.redacted.clear();
    let mut ctx = Ctx::for_client(Some(command.module), tx.session, out);
    ctx.now = now;
    ctx.flags |= flag::COMMAND;
    let at = argv.as_mut_ptr();
    ctx.argv = at;
    ctx.argc = argv.len();
    ctx.reuse_auto(tx.server);
    let before = super::strict::live();
    // SAFETY: ABI: the function was registered for this signature; lock: the module lock is held.
    unsafe {
        function((&raw mut ctx).cast(), at.cast(), ctx.argc as i32);
    }
    ctx.finish();
    ctx.keep_auto(tx.server);
    if super::strict::on() {
        super::strict::left_behind(command.module.name(), &command.full_name, before);
    }
    for s in argv.iter().copied() {
        // SAFETY: ABI: the command's own reference; the module retained what it keeps.
        unsafe { RStr::release(s) };
    }
    Ok(())
}
