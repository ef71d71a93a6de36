//! Start-up in Redis' order, and shutdown.
use crate::config::{Config, LoadHooks, Startup};
use crate::connection::listener::Listeners;
use crate::connection::serving::{self, ServingThread};
use crate::execute::FAMILIES;
use crate::observe::log;
use crate::server::Server;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::mpsc::{channel, Sender};
use std::sync::Arc;

pub mod crash;
mod process;
pub mod signals;
pub mod title;

/// What reading the configuration asks the server.
pub struct Hooks;

impl LoadHooks for Hooks {
    fn rename_command(&self, old: &[u8], new: &[u8]) -> Result<(), String> {
        let known = |name: &[u8]| {
            let rows = FAMILIES.iter().flat_map(|family| family.iter());
            rows.into_iter().any(|row| row.name.as_bytes().eq_ignore_ascii_case(name))
        };
        if !known(old) {
            Err("No such command in rename-command".into())
        } else if known(new) {
            Err("Target command name already exists".into())
        } else {
            Ok(())
        }
    }

    fn check_user(&self, args: &[Vec<u8>]) -> Result<(), (usize, String)> {
        crate::acl::file::check_line(args)
    }
}

/// Runs the server until it is told to stop. Returns the exit code.
pub fn run(config: Config, startup: Startup) -> i32 {
    if config.daemonize() {
        process::daemonize();
    }
    log::set_verbosity(config.loglevel());
    if let Some(path) = config.logfile() {
        log::set_logfile(&path);
    }
    log::set_main_process();
    for (level, text) in &startup.messages {
        log::log(*level, text);
    }
    let server = Server::init(config, startup);
    crate::execute::config::apply_policy(server);
    if let Some(password) = server.config.requirepass() {
        server.acl.set_default_password(Some(&password));
    }
    greet();
    process::raise_file_limit(&server.config);
    process::write_pid_file(&server.config);
    process::banner(&server.config);
    title::prepare();
    title::set(&server.config);
    let Some(listeners) = Listeners::open(server) else { return 1 };
    let n = server.config.server_threads().max(1);
    let threads: Vec<_> = (0..n).map(|_| Arc::new(ServingThread::default())).collect();
    let _ = server.serving.set(threads.clone());
    if let Err(e) = server.cluster.start(server) {
        crate::log_warning!("{e}");
        return 1;
    }
    crate::log_notice!("Server initialized");
    crate::snapshot::folder::claim();
    // Before modules: one may crash while it is loaded.
    crash::listen(server);
    crate::module::strict::start(server.config.module_strict(), server.config.module_yield());
    spawn("watchdog", move || crate::module::watchdog::run(server));
    spawn("attend-guard", move || crate::module::attend::guard(server));
    let (loaded, ready) = channel();
    spawn("module", move || module_thread(server, &loaded));
    if !ready.recv().unwrap_or(false) {
        return 1;
    }
    signals::listen(server);
    for (i, t) in threads.iter().enumerate() {
        let t = t.clone();
        spawn(&format!("serving-{i}"), move || serving::run(server, i, t));
    }
    listeners.run(server, &threads);
    0
}

/// The log's first lines.
fn greet() {
    crate::log_notice!("oO0OoO0OoO0Oo Redis is starting oO0OoO0OoO0Oo");
    crate::log_notice!(
        "Redis version={}, bits=64, commit=00000000, modified=0, pid={}, just started",
        crate::config::load::REDIS_VERSION,
        std::process::id()
    );
    if std::env::args_os().len() == 1 {
        let name = std::env::args().next().unwrap_or_default();
        crate::log_warning!(
            "Warning: no config file specified, using the default config. In order to specify a config file use \
             {name} /path/to/redis.conf"
        );
    } else {
        crate::log_notice!("Configuration loaded");
    }
    crate::log_notice!("monotonic clock: POSIX clock_gettime");
}

/// The module thread. Modules take the thread of their OnLoad for the main thread, so they are loaded here; and a module's
/// data is read by its module. `loaded` is told whether there is a server, before data is read.
fn module_thread(server: &'static Server, loaded: &Sender<bool>) {
    server.module_lock.lock();
    let ok = load_modules(server) && crate::acl::file::load_at_start(server);
    server.startup_memory.store(server.used_memory(), SeqCst);
    server.starting.store(false, SeqCst);
    // Clients that come from now on are told that the server is loading.
    server.persistence.starting.store(true, SeqCst);
    server.loading.store(true, SeqCst);
    let _ = loaded.send(ok);
    if !(ok && load_data(server)) {
        server.module_lock.unlock();
        std::process::exit(1);
    }
    server.persistence.starting.store(false, SeqCst);
    server.loading.store(false, SeqCst);
    if let Some(primary) = server.config.replicaof() {
        crate::execute::replication::begin_following(server, primary.host.clone(), primary.port);
    }
    if server.config.port() != 0 {
        crate::log_notice!("Ready to accept connections tcp");
    }
    if server.config.unixsocket().is_some_and(|p| !p.is_empty()) {
        crate::log_notice!("Ready to accept connections unix");
    }
    server.module_lock.unlock();
    crate::module::thread::run(server);
}

/// Reads the append-only file or the snapshot. False if the server cannot start from it.
fn load_data(server: &'static Server) -> bool {
    if server.config.appendonly() {
        crate::persist::load::read_manifest(server).is_ok()
            && crate::persist::load::load_at_start(server)
    } else {
        crate::snapshot::load_at_start(server)
    }
}

/// Ends the server (`SHUTDOWN`, signals): saves if there are save points or `flags` say so, tells modules, exits with
/// code 0. Returns only if the save fails and nobody forces it. `flags` are bits of `shutdown_on_sig`. The calling
/// thread is the module thread, with the module lock.
pub fn shutdown(server: &'static Server, mut flags: i64) {
    use crate::config::enums::shutdown_on_sig as how;
    if server.loading.load(SeqCst) {
        // What is half loaded must not overwrite the file.
        flags = flags & !how::SAVE | how::NOSAVE;
    }
    crate::log_notice!("User requested shutdown...");
    if let Some(pid) = crate::module::fork::child_of_module() {
        // A module's child has our sockets open: a new server could not listen while it lives.
        crate::log_warning!("There is a module fork child. Killing it!");
        crate::module::fork::kill(pid);
    }
    crate::snapshot::control::kill_background_save(server);
    if server.aof.rewriting.runs() {
        if server.aof.state() == crate::persist::state::WAITS_FOR_BASE {
            if flags & how::FORCE == 0 {
                crate::log_warning!("Writing initial AOF, can't exit.");
                crate::log_warning!(
                    "Errors trying to shut down the server. Check the logs for more information."
                );
                server.shutting_down.store(false, SeqCst);
                return;
            }
            crate::log_warning!("Writing initial AOF. Exit anyway.");
        }
        crate::log_warning!("There is a child rewriting the AOF. Killing it!");
        crate::persist::rewrite::kill(server);
    }
    if server.aof.is_on() {
        crate::log_notice!("Calling fsync() on the AOF file.");
        server.aof.finish(server);
    }
    let points = !server.config.save().is_empty();
    if points && flags & how::NOSAVE == 0 || flags & how::SAVE != 0 {
        crate::log_notice!("Saving the final RDB snapshot before exiting.");
        if crate::snapshot::save(server).is_err() {
            if flags & how::FORCE == 0 {
                crate::log_warning!("Error trying to save the DB, can't exit.");
                crate::log_warning!(
                    "Errors trying to shut down the server. Check the logs for more information."
                );
                server.shutting_down.store(false, SeqCst);
                return;
            }
            crate::log_warning!("Error trying to save the DB. Exit anyway.");
        }
    }
    server.shutting_down.store(true, SeqCst);
    let none = std::ptr::null_mut();
    crate::module::event::server_event(crate::module::abi::EVENT_SHUTDOWN, 0, none, None);
    process::remove_pid_file(&server.config);
    if let Some(path) = server.config.unixsocket().filter(|p| !p.is_empty()) {
        crate::log_notice!("Removing the unix socket file.");
        let _ = std::fs::remove_file(String::from_utf8_lossy(&path).as_ref());
    }
    crate::connection::listener::close();
    crate::log_warning!("Redis is now ready to exit, bye bye...");
    std::process::exit(0);
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new()
        .name(name.to_string())
        .stack_size(8 << 20)
        .spawn(body)
        .expect("the system gives us a thread");
}

fn load_modules(server: &'static Server) -> bool {
    crate::module::api::config::offer_file(&server.startup.module_configs);
    for m in &server.startup.loadmodules {
        let path = String::from_utf8_lossy(&m.path).into_owned();
        if crate::module::loader::load(server, &path, &m.args).is_err() {
            crate::log_warning!("Can't load module from {path}: server aborting");
            return false;
        }
    }
    let left = crate::module::api::config::left_over();
    if !left.is_empty() {
        crate::log_warning!("Unresolved Configuration(s) Detected:");
        for name in left {
            crate::log_warning!(">>> '{name}'");
        }
        crate::log_warning!(
            "Module Configuration detected without loadmodule directive or no ApplyConfig call: aborting"
        );
        return false;
    }
    true
}
