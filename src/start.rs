//! Start-up in Redis' order, and shutdown.
use crate::config::{Config, Startup};
use crate::connection::listener::Listeners;
use crate::connection::serving::{self, ServingThread};
use crate::observe::log;
use crate::server::Server;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, OnceLock};

/// Runs the server until it is told to stop. Returns the exit code.
pub fn run(config: Config, startup: Startup) -> i32 {
    log::set_verbosity(config.loglevel());
    if let Some(path) = config.logfile() {
        log::set_logfile(&path);
    }
    log::set_main_process();
    for (level, text) in &startup.messages {
        log::log(*level, text);
    }
    let server = Server::init(config, startup);
    crate::log_notice!("oO0OoO0OoO0Oo Redis is starting oO0OoO0OoO0Oo");
    crate::log_notice!(
        "Redis version={}, bits=64, commit=00000000, modified=0, pid={}, just started",
        crate::config::load::REDIS_VERSION,
        std::process::id()
    );
    crate::log_notice!("Backplane version={}", env!("CARGO_PKG_VERSION"));
    let Some(listeners) = Listeners::open(server) else { return 1 };
    let _ = LISTENING.set((server.config.port(), server.config.bind()));
    crate::log_notice!("Running mode=standalone, port={}.", server.config.port());
    let n = server.config.server_threads().max(1);
    let threads: Vec<_> = (0..n).map(|_| Arc::new(ServingThread::default())).collect();
    let _ = server.serving.set(threads.clone());
    crate::log_notice!("Server initialized");
    let (loaded, ready) = std::sync::mpsc::channel();
    spawn("module", move || {
        // Modules take the thread of their OnLoad for the main thread, so they are loaded here.
        server.module_lock.lock();
        let ok = load_modules(server);
        server.starting.store(false, Relaxed);
        server.module_lock.unlock();
        let _ = loaded.send(ok);
        if ok {
            crate::module::thread::run(server);
        }
    });
    if !ready.recv().unwrap_or(false) {
        return 1;
    }
    for (i, t) in threads.iter().enumerate() {
        let t = t.clone();
        spawn(&format!("serving-{i}"), move || serving::run(server, i, t));
    }
    crate::log_notice!("Ready to accept connections tcp");
    listeners.run(server, &threads);
    0
}

/// Port and addresses that the sockets were opened with.
static LISTENING: OnceLock<(u64, Arc<[String]>)> = OnceLock::new();

/// Whether the sockets are those that `port` and `bind` say now.
pub fn listens_as_configured(config: &Config) -> bool {
    LISTENING.get().is_none_or(|(port, bind)| *port == config.port() && *bind == config.bind())
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new()
        .name(name.to_string())
        .stack_size(8 << 20)
        .spawn(body)
        .expect("the system gives us a thread");
}

fn load_modules(server: &'static Server) -> bool {
    for m in &server.startup.loadmodules {
        let path = String::from_utf8_lossy(&m.path).into_owned();
        if crate::module::loader::load(server, &path, &m.args).is_err() {
            crate::log_warning!("Can't load module from {path}: server aborting");
            return false;
        }
    }
    true
}
