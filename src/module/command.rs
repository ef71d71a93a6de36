//! Commands of modules: what was registered, and how a call reaches the module.
use super::abi;
use super::callback;
use super::context::{flag, Ctx};
use super::registry::Module;
use super::string::RStr;
use crate::dispatch::table::{flags, Body, Command, KeySpec, Path, Reason, Table};
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
    pub summary: String,
    /// Its cost.
    pub complexity: String,
    /// Since which version of the module.
    pub since: String,
    /// `SetCommandInfo` was called.
    pub told: bool,
}

impl ModuleCommand {
    /// The command as a row of the table.
    pub fn to_command(self: &Arc<Self>, old: Option<&Table>) -> Command {
        let info = self.info.lock();
        let subs = self.subs.lock();
        let default_arity =
            if self.function.is_some() && !self.full_name.contains('|') { -1 } else { -2 };
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
            since: info.since.clone(),
            summary: info.summary.clone(),
            stats: old.and_then(|t| t.stats_of(&self.full_name)).unwrap_or_default(),
            number: crate::dispatch::table::number_of(&self.full_name),
        }
    }
}

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
    let mut argv: SmallVec<[*mut RStr; 16]> = args.iter().map(|a| RStr::new(a)).collect();
    let _running = callback::running(command.module, &command.full_name);
    let now = tx.now;
    let mut ctx = Ctx::for_client(Some(command.module), tx.session, out);
    ctx.now = now;
    ctx.flags |= flag::COMMAND;
    ctx.argv = argv.as_ptr();
    ctx.argc = argv.len();
    // SAFETY: ABI: the function was registered for this signature; lock: the module lock is held.
    unsafe {
        function((&raw mut ctx).cast(), argv.as_mut_ptr().cast(), argv.len() as i32);
    }
    ctx.finish();
    for s in argv {
        // SAFETY: ABI: the command's own reference; the module retained what it keeps.
        unsafe { RStr::release(s) };
    }
    Ok(())
}
