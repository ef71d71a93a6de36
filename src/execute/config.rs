//! `CONFIG`.
use super::error::err;
use super::server::{admin_noscript, any, is_local, write_help};
use super::{is, CommandResult, Tx};
use crate::config::enums::maxmemory_policy;
use crate::config::{
    glob, ApplyError, ConfigHooks, ExtraConfigs, LoadModule, RewriteContext, SetContext,
};
use crate::dispatch::table::{flags, Row};
use crate::module::abi;
use crate::module::api::config::ModuleConfigs;
use crate::reply::Reply;
use crate::server::Server;
use std::sync::atomic::Ordering::Relaxed;

/// The directives of modules.
fn extra() -> Option<&'static dyn ExtraConfigs> {
    Some(&ModuleConfigs)
}

/// Whether `CONFIG GET` asks for a module's directive, and so needs the module lock.
pub fn asks_modules(_: &Server, args: &[&[u8]]) -> bool {
    let Some(extra) = extra() else { return false };
    let all = extra.all();
    args[2..]
        .iter()
        .any(|pattern| all.iter().any(|row| glob::glob_match(pattern, row.name.as_bytes(), true)))
}

/// Whether `CONFIG SET` concerns modules, by a directive of theirs or because they want to hear of changes, or the
/// append-only file, and so needs the module lock.
pub fn concerns_modules(server: &Server, args: &[&[u8]]) -> bool {
    const OF_AOF: [&str; 2] = ["appendonly", "aof-disable-auto-gc"];
    args.iter().skip(2).step_by(2).any(|name| {
        extra().is_some_and(|e| e.find(name).is_some()) || OF_AOF.iter().any(|word| is(name, word))
    }) || server.modules.events.load().iter().any(|s| s.event.id == abi::EVENT_CONFIG)
}

/// Whether modules have directives: then `CONFIG REWRITE` needs the module lock.
pub fn modules_have_directives() -> bool {
    extra().is_some_and(|e| !e.all().is_empty())
}

/// What the server does when directives change.
pub struct Hooks {
    /// The server.
    pub server: &'static Server,
    /// Inside a transaction.
    pub in_exec: bool,
}

impl Hooks {
    fn refuse(name: &str, reason: impl Into<String>) -> Result<(), ApplyError> {
        Err(ApplyError { name: name.to_string(), reason: Some(reason.into()) })
    }

    fn apply_one(&self, name: &'static str) -> Result<(), ApplyError> {
        let (server, c) = (self.server, &self.server.config);
        match name {
            "notify-keyspace-events" => server.set_client_events(c.notify_keyspace_events()),
            "loglevel" => crate::observe::log::set_verbosity(c.loglevel()),
            "maxmemory" => {
                let (limit, used) = (c.maxmemory(), server.used_memory());
                if limit > 0 && used > limit {
                    crate::log_warning!(
                        "WARNING: the new maxmemory value set via CONFIG SET ({limit}) is smaller than the current \
                         memory usage ({used}). This will result in key eviction and/or the inability to accept new \
                         write commands depending on the maxmemory-policy."
                    );
                    crate::keyspace::evict::continue_later(server);
                }
                crate::connection::limits::evict(server);
                crate::keyspace::evict::after_write(server);
            }
            "proc-title-template" => crate::start::title::set(c),
            "maxmemory-clients" => crate::connection::limits::evict(server),
            "client-output-buffer-limit" => crate::connection::limits::apply(c),
            "maxmemory-policy" => apply_policy(server),
            "requirepass" => server.acl.set_default_password(c.requirepass().as_deref()),
            "port" if !crate::connection::listener::reopen(c) => {
                return Self::refuse(name, "Unable to listen on this port. Check server logs.");
            }
            "bind" if !crate::connection::listener::reopen(c) => {
                return Self::refuse(name, "Failed to bind to specified addresses.");
            }
            "tls-port" if c.tls_port() != 0 => {
                return Self::refuse(name, "This server is built without TLS");
            }
            "appendonly" if c.appendonly() != server.aof.is_on() => {
                if !c.appendonly() {
                    crate::persist::rewrite::switch_off(server);
                } else if !crate::persist::rewrite::switch_on(server, self.in_exec) {
                    return Self::refuse(name, "Unable to turn on AOF. Check server logs.");
                }
            }
            "appendfsync" | "no-appendfsync-on-rewrite" => server.aof.choose_gate(server),
            "dir" => crate::snapshot::folder::claim(),
            "aof-disable-auto-gc" => crate::persist::delete_history(server),
            "activedefrag" if c.activedefrag() && !cfg!(feature = "jemalloc") => {
                return Self::refuse(
                    name,
                    "Active defragmentation cannot be enabled: it requires a Redis server compiled with a modified \
                     Jemalloc like the one shipped by default with the Redis source distribution",
                );
            }
            _ => {}
        }
        Ok(())
    }
}

/// Makes `maxmemory-policy` effective for access clocks.
pub fn apply_policy(server: &Server) {
    let policy = server.config.maxmemory_policy();
    let lfu = [maxmemory_policy::ALLKEYS_LFU, maxmemory_policy::VOLATILE_LFU].contains(&policy);
    server.lfu.store(lfu, Relaxed);
}

impl ConfigHooks for Hooks {
    fn apply(&self, changed: &[&'static str]) -> Result<(), ApplyError> {
        changed.iter().try_for_each(|name| self.apply_one(name))
    }
}

/// `CONFIG GET pattern ...`
fn get(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let found = tx.server.config.get(&args[2..], extra());
    out.map(found.len());
    for (name, value) in found {
        out.bulk(&name);
        out.bulk(&value);
    }
    Ok(())
}

/// `CONFIG SET name value ...`
fn set(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    if args.len() % 2 != 0 {
        return Err(super::error::SYNTAX);
    }
    let pairs: Vec<(&[u8], &[u8])> = args[2..].chunks_exact(2).map(|p| (p[0], p[1])).collect();
    let context = SetContext {
        local_client: is_local(tx.session),
        loading: tx.server.loading.load(Relaxed),
        extra: extra(),
        hooks: Some(&Hooks { server: tx.server, in_exec: tx.session.deny_blocking }),
    };
    let outcome = tx.server.config.set(&pairs, context).map_err(|e| err(e.to_string()))?;
    if tx.mode() == super::Mode::Module {
        crate::module::event::config_event(&outcome.names);
    }
    out.ok();
    Ok(())
}

/// `CONFIG RESETSTAT`
fn resetstat(tx: &mut Tx<'_>, _: &[&[u8]], out: &mut Reply) -> CommandResult {
    tx.server.stats.reset();
    crate::script::FIGURES.evicted.store(0, std::sync::atomic::Ordering::Relaxed);
    for c in tx.server.table.load().all() {
        c.stats.reset();
        c.subs.iter().for_each(|s| s.stats.reset());
    }
    out.ok();
    Ok(())
}

/// Brings the configuration file up to date. The error is the operating system's; none without a file.
pub fn rewrite_file(server: &Server, force_all: bool) -> Result<(), Option<std::io::Error>> {
    let path = server.startup.config_file.as_ref().ok_or(None)?;
    let modules: Vec<LoadModule> = server
        .modules
        .list()
        .iter()
        .map(|m| LoadModule { path: m.path.clone().into_bytes(), args: m.args.clone() })
        .collect();
    let users = server.acl.lines();
    let context = RewriteContext { users: &users, modules: &modules, extra: extra(), force_all };
    server.config.rewrite(path, context).map_err(Some)
}

/// `CONFIG REWRITE`
fn rewrite(tx: &mut Tx<'_>, _: &[&[u8]], out: &mut Reply) -> CommandResult {
    match rewrite_file(tx.server, false) {
        Ok(()) => {
            crate::log_notice!("CONFIG REWRITE executed with success.");
            out.ok();
            Ok(())
        }
        Err(None) => Err(err("ERR The server is running without a config file")),
        Err(Some(e)) => {
            let reason = crate::config::os_error_text(&e);
            crate::log_warning!("CONFIG REWRITE failed: {reason}");
            Err(err(format!("ERR Rewriting config file: {reason}")))
        }
    }
}

/// `CONFIG HELP`
fn help(_: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    write_help(
        out,
        args,
        &[
            "GET <pattern> [<pattern> ...]",
            "    Show directives whose names match a pattern, with their values.",
            "SET <directive> <value> [<directive> <value> ...]",
            "    Set directives: all of them or, after an error, none.",
            "RESETSTAT",
            "    Set the counters that INFO shows back to zero.",
            "REWRITE",
            "    Bring the configuration file up to date.",
        ],
    );
    Ok(())
}

const fn deciding(row: Row) -> Row {
    Row { flags: row.flags | flags::ARGS_DECIDE, ..row }
}

/// The family's commands.
pub static ROWS: &[Row] = &[Row {
    since: "2.0.0",
    summary: "The server's directives.",
    ..Row::container(
        "config",
        &[
            Row { since: "2.0.0", ..deciding(admin_noscript("get", -3, "Shows directives.", get)) },
            Row { since: "5.0.0", ..any("help", 2, "Tells about the subcommands.", help) },
            Row { since: "2.0.0", ..admin_noscript("resetstat", 2, "Resets counters.", resetstat) },
            Row {
                since: "2.8.0",
                ..deciding(admin_noscript(
                    "rewrite",
                    2,
                    "Rewrites the configuration file.",
                    rewrite,
                ))
            },
            Row { since: "2.0.0", ..deciding(admin_noscript("set", -4, "Sets directives.", set)) },
        ],
    )
}];
