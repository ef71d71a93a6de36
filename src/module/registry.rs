//! The loaded modules and what each of them owns.
use super::abi;
use super::command::ModuleCommand;
use super::timer::Timers;
use crate::dispatch::table::Table;
use crate::keyspace::value::ModuleType;
use crate::server::Server;
use arc_swap::ArcSwap;
use parking_lot::Mutex;
use std::collections::{BTreeSet, HashMap};
use std::ffi::c_void;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

/// A module. Allocated once and never freed: contexts and callbacks may outlive an unload.
pub struct Module {
    name: OnceLock<String>,
    /// Version, as the module says.
    pub ver: AtomicI32,
    /// API version, as the module says.
    pub api_ver: AtomicI32,
    /// Path of the shared object.
    pub path: String,
    /// The SHA-256 of that file, if it could be read.
    pub hash: Option<super::sha256::Hash>,
    /// Arguments of the load.
    pub args: Vec<Vec<u8>>,
    /// Running `OnLoad`: registrations are allowed.
    pub onload: AtomicBool,
    /// `SetModuleOptions`
    pub options: AtomicI32,
    /// The shared object.
    pub library: Mutex<Option<libloading::os::unix::Library>>,
    /// Commands, subcommands inside their containers.
    pub commands: Mutex<Vec<Arc<ModuleCommand>>>,
    /// Data types.
    pub types: Mutex<Vec<Arc<ModuleType>>>,
    /// Modules that got a shared API from this one.
    pub used_by: Mutex<BTreeSet<String>>,
    /// Modules that this one got a shared API from.
    pub using: Mutex<BTreeSet<String>>,
    /// Function for `INFO`.
    pub info: Mutex<abi::InfoFn>,
    /// Where its shared object begins in memory.
    pub base: AtomicUsize,
    /// It failed to load or was unloaded: nothing of it may be called any more.
    pub gone: AtomicBool,
    /// Clients that it has blocked.
    pub blocked_clients: AtomicUsize,
    /// Depth of its running `Call`s.
    pub in_call: AtomicUsize,
    /// Whom it meets, if that is not the server that clients see.
    pub persona: Mutex<Option<super::persona::Persona>>,
    /// How many API names it asked for.
    pub asked: AtomicUsize,
    /// API names that it asked for and did not get, each with the address of the pointer to it.
    pub missing: Mutex<Vec<(String, usize)>>,
    /// Functions for defragmentation at large.
    pub defrag: Mutex<super::defrag::Functions>,
    /// It registered configs, and it called `LoadConfigs`.
    pub configs_loaded: AtomicBool,
    /// It called `LoadDefaultConfigs`.
    pub configs_at_default: AtomicBool,
}

// SAFETY: lock: what is not atomic or behind a mutex is set before the module is shared.
unsafe impl Send for Module {}
// SAFETY: lock: as above; function pointers are called by the holder of the module lock.
unsafe impl Sync for Module {}

impl Module {
    /// A module about to be loaded.
    pub fn new(path: &str, hash: Option<super::sha256::Hash>, args: &[Vec<u8>]) -> &'static Module {
        Box::leak(Box::new(Module {
            name: OnceLock::new(),
            ver: AtomicI32::new(0),
            api_ver: AtomicI32::new(0),
            path: path.to_string(),
            hash,
            args: args.to_vec(),
            onload: AtomicBool::new(true),
            options: AtomicI32::new(0),
            library: Mutex::new(None),
            commands: Mutex::default(),
            types: Mutex::default(),
            used_by: Mutex::default(),
            using: Mutex::default(),
            info: Mutex::new(None),
            base: AtomicUsize::new(0),
            gone: AtomicBool::new(false),
            blocked_clients: AtomicUsize::new(0),
            in_call: AtomicUsize::new(0),
            persona: Mutex::new(None),
            asked: AtomicUsize::new(0),
            missing: Mutex::default(),
            defrag: Mutex::default(),
            configs_loaded: AtomicBool::new(false),
            configs_at_default: AtomicBool::new(false),
        }))
    }

    /// The name, as `SetModuleAttribs` gave it; `?` before.
    pub fn name(&self) -> &str {
        self.name.get().map_or("?", String::as_str)
    }

    /// Whether `SetModuleAttribs` was called.
    pub fn is_named(&self) -> bool {
        self.name.get().is_some()
    }

    /// `SetModuleAttribs`: only the first call counts.
    pub fn set_attributes(&self, name: &str, ver: i32, api_ver: i32) {
        if self.name.set(name.to_string()).is_ok() {
            self.ver.store(ver, Relaxed);
            self.api_ver.store(api_ver, Relaxed);
        }
    }

    /// Whether an option bit is set.
    pub fn has_option(&self, bit: i32) -> bool {
        self.options.load(Relaxed) & bit != 0
    }
}

/// A keyspace subscription.
#[derive(Clone)]
pub struct KeyspaceSubscription {
    /// Who.
    pub module: &'static Module,
    /// Classes.
    pub mask: u32,
    /// Callback.
    pub callback: abi::NotificationFn,
    /// The callback is running: it is not entered again.
    pub active: Arc<AtomicBool>,
}

/// A server-event subscription.
#[derive(Clone)]
pub struct EventSubscription {
    /// Who.
    pub module: &'static Module,
    /// Event.
    pub event: abi::Event,
    /// Callback.
    pub callback: abi::EventFn,
}

/// A shared API.
#[derive(Clone, Copy)]
pub struct SharedApi {
    /// Who exports it.
    pub module: &'static Module,
    /// The pointer.
    pub function: *mut c_void,
}

// SAFETY: ABI: the pointer is only passed on to modules.
unsafe impl Send for SharedApi {}

/// All modules and their cross-cutting registrations.
#[derive(Default)]
pub struct Registry {
    /// In load order.
    pub modules: ArcSwap<Vec<&'static Module>>,
    /// In subscription order.
    keyspace: ArcSwap<Vec<KeyspaceSubscription>>,
    /// All classes of keyspace events in it.
    keyspace_mask: AtomicU32,
    /// In subscription order.
    pub events: ArcSwap<Vec<EventSubscription>>,
    /// Exported functions, by name.
    pub shared: Mutex<HashMap<String, SharedApi>>,
    /// Callbacks for authentication.
    pub auth: super::auth::Callbacks,
    /// Timers of modules.
    pub timers: Timers,
    /// Command filters, in registration order.
    pub filters: ArcSwap<Vec<Arc<super::api::filter::Filter>>>,
    /// A module listens to the server event of keys that are deleted or overwritten.
    pub key_events: AtomicBool,
    /// A module being loaded whose commands are not in the table yet.
    stale: Mutex<Option<&'static Module>>,
}

impl Registry {
    /// Finds a module by name, in any case.
    pub fn find(&self, name: &str) -> Option<&'static Module> {
        self.modules.load().iter().copied().find(|m| m.name().eq_ignore_ascii_case(name))
    }

    /// All modules, in load order.
    pub fn list(&self) -> Vec<&'static Module> {
        self.modules.load().to_vec()
    }

    /// The subscriptions to keyspace events, in their order.
    pub fn keyspace(&self) -> arc_swap::Guard<Arc<Vec<KeyspaceSubscription>>> {
        self.keyspace.load()
    }

    /// Whether somebody may have subscribed to a class of keyspace events.
    #[inline]
    pub fn hears(&self, class: u32) -> bool {
        self.keyspace_mask.load(Relaxed) & class != 0
    }

    /// Exchanges the subscriptions to keyspace events.
    pub fn set_keyspace(&self, subscriptions: Vec<KeyspaceSubscription>) {
        self.keyspace_mask.store(subscriptions.iter().fold(0, |all, s| all | s.mask), Relaxed);
        self.keyspace.store(Arc::new(subscriptions));
    }

    /// Finds a data type by its name or its id without the version bits.
    pub fn find_type(&self, matches: impl Fn(&ModuleType) -> bool) -> Option<Arc<ModuleType>> {
        self.list().iter().find_map(|m| m.types.lock().iter().find(|t| matches(t)).cloned())
    }

    /// Notes that a module's commands changed while it is being loaded. The table is made anew when somebody looks for a
    /// command, or when the load is over: once, not once for every command.
    pub fn commands_changed(&self, loading: &'static Module) {
        *self.stale.lock() = Some(loading);
        if !loading.onload.load(Relaxed) {
            self.rebuild_table(Server::get(), None);
        }
    }

    /// The command table as it is now, commands of a module that is being loaded included. The caller has the module
    /// lock.
    pub fn current_table(&self, server: &Server) -> Arc<Table> {
        let stale = *self.stale.lock();
        if stale.is_some() {
            self.rebuild_table(server, stale);
        }
        server.table.load_full()
    }

    /// Rebuilds the command table after commands, subscriptions or filters changed. The caller has the module lock.
    pub fn rebuild_table(&self, server: &Server, extra: Option<&'static Module>) {
        *self.stale.lock() = None;
        let mut commands: Vec<Arc<ModuleCommand>> = Vec::new();
        for m in self.list().into_iter().chain(extra) {
            commands.extend(m.commands.lock().iter().cloned());
        }
        let mut events = self.keyspace.load().iter().fold(0, |mask, s| mask | s.mask);
        let keys = self.events.load().iter().any(|s| s.event.id == abi::EVENT_KEY);
        self.key_events.store(keys, Relaxed);
        if keys {
            // Whoever can delete or overwrite a key can cause an event, so that all writes take the module path.
            events |= u32::MAX;
        }
        let filters = !self.filters.load().is_empty();
        let old = server.table.load();
        let table = Table::build(&commands, events, filters, Some(&old));
        server.acl.recompute(&table);
        server.swap_table(table);
    }
}
