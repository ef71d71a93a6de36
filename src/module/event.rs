//! Delivery of keyspace events and server events to modules.
use super::abi;
use super::callback::{running, with_context};
use super::context::Ctx;
use super::key::Key;
use super::registry::Module;
use super::string::RStr;
use crate::connection::client::{ClientShared, Session};
use crate::keyspace::entry::Entry;
use crate::keyspace::event::RENAME_FROM;
use crate::reply::Reply;
use crate::server::Server;
use std::ffi::{c_char, c_void, CStr, CString};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::Arc;

/// A job that a notification callback left for the end of the unit.
pub struct PostJob {
    /// Whose.
    pub module: &'static Module,
    /// Database of the event.
    pub db: usize,
    /// The job.
    pub run: abi::CtxDataFn,
    /// Its data.
    pub data: *mut c_void,
    /// Frees the data.
    pub free: abi::DataFn,
}

// SAFETY: lock: jobs are run by the holder of the module lock.
unsafe impl Send for PostJob {}

/// While this lives, a module that is told of a key finds it even if it expired. Made with the module lock.
struct KeptExpired(&'static Server);

impl KeptExpired {
    fn new(server: &'static Server) -> KeptExpired {
        // SAFETY: lock: callbacks run under the module lock.
        unsafe { server.holder() }.keep_expired += 1;
        KeptExpired(server)
    }
}

impl Drop for KeptExpired {
    fn drop(&mut self) {
        // SAFETY: lock: as above.
        unsafe { self.0.holder() }.keep_expired -= 1;
    }
}

/// Tells the subscribed modules of a keyspace event. The event's address reaches them unchanged. The calling thread has
/// the module lock.
pub fn keyspace_event(db: usize, class: u32, name: &CStr, key: &[u8]) {
    let server = Server::get();
    let is_rename = std::ptr::eq(name.as_ptr(), RENAME_FROM.name.as_ptr());
    // SAFETY: lock: the module lock is held.
    let kept = unsafe { server.holder() }.rename_from;
    if !is_rename && kept.is_null() && !server.modules.hears(class) {
        return;
    }
    let subscriptions = server.modules.keyspace();
    let key = RStr::new(key);
    for s in subscriptions.iter().filter(|s| s.mask & class != 0) {
        let nested = s.module.has_option(abi::OPTIONS_ALLOW_NESTED_KEYSPACE_NOTIFICATIONS);
        let was_active = s.active.swap(true, Relaxed);
        if was_active && !nested {
            continue;
        }
        let _kept = KeptExpired::new(server);
        with_context(s.module, db, &"keyspace notification", |ctx| {
            if let Some(f) = s.callback {
                // SAFETY: ABI: registered for this signature; the event's name outlives the call; lock: held.
                unsafe { f(ctx.cast(), class as i32, name.as_ptr(), key.cast()) };
            }
        });
        s.active.store(was_active, Relaxed);
    }
    // RediSearch keeps the key of `rename_from`, without a reference of its own, until `rename_to` comes.
    // SAFETY: lock: the module lock is held.
    let kept = unsafe { &mut server.holder().rename_from };
    let before = std::mem::replace(kept, if is_rename { key } else { std::ptr::null_mut() });
    for s in [before, if is_rename { std::ptr::null_mut() } else { key }] {
        if !s.is_null() {
            // SAFETY: ABI: our own reference.
            unsafe { RStr::release(s) };
        }
    }
}

/// Whether a module listens to a server event.
pub fn listened(id: u64) -> bool {
    Server::get().modules.events.load().iter().any(|s| s.event.id == id)
}

/// Fires a server event, with the data that its id promises, to all subscribed modules but `except`. The calling thread
/// has the module lock.
#[allow(clippy::not_unsafe_ptr_arg_deref)] // the pointer is only passed on
pub fn server_event(id: u64, sub: u64, data: *mut c_void, except: Option<&'static Module>) {
    let mut db = 0;
    if id == abi::EVENT_FLUSHDB {
        // SAFETY: ABI: the data of this event. A flush of one database has it selected.
        db = unsafe { &*data.cast::<abi::FlushInfo>() }.dbnum.max(0) as usize;
    }
    for s in Server::get().modules.events.load_full().iter().filter(|s| s.event.id == id) {
        if except.is_some_and(|m| std::ptr::eq(m, s.module)) {
            continue;
        }
        with_context(s.module, db, &"server event", |ctx| {
            if let Some(f) = s.callback {
                // SAFETY: ABI: registered for this signature; `data` is what the event's id promises; lock: held.
                unsafe { f(ctx.cast(), s.event, sub, data) };
            }
        });
    }
}

/// Fires a server event to one module. The calling thread has the module lock.
#[allow(clippy::not_unsafe_ptr_arg_deref)] // the pointer is only passed on
pub fn server_event_to(module: &'static Module, id: u64, sub: u64, data: *mut c_void) {
    let all = Server::get().modules.events.load_full();
    for s in all.iter().filter(|s| s.event.id == id && std::ptr::eq(s.module, module)) {
        with_context(s.module, 0, &"server event", |ctx| {
            if let Some(f) = s.callback {
                // SAFETY: ABI: registered for this signature; `data` is what the event's id promises; lock: held.
                unsafe { f(ctx.cast(), s.event, sub, data) };
            }
        });
    }
}

/// Tells one module of a keyspace event. The calling thread has the module lock.
pub fn keyspace_event_to(module: &'static Module, db: usize, class: u32, name: &CStr, key: &[u8]) {
    let subscriptions = Vec::clone(&Server::get().modules.keyspace());
    let key = RStr::new(key);
    for s in subscriptions.iter().filter(|s| s.mask & class != 0 && std::ptr::eq(s.module, module))
    {
        with_context(s.module, db, &"keyspace notification", |ctx| {
            if let Some(f) = s.callback {
                // SAFETY: ABI: registered for this signature; the event's name outlives the call; lock: held.
                unsafe { f(ctx.cast(), class as i32, name.as_ptr(), key.cast()) };
            }
        });
    }
    // SAFETY: ABI: our own reference.
    unsafe { RStr::release(key) };
}

/// The server became a primary or a replica. The calling thread has the module lock.
pub fn role_event(server: &'static Server) {
    if !listened(abi::EVENT_REPLICATION_ROLE_CHANGED) {
        return;
    }
    let (host, port) = server.link.primary().unwrap_or_default();
    let text = |s: String| CString::new(s).unwrap_or_default();
    let (host, id) = (text(host), text(server.repl_id.lock().clone()));
    let none = c"0000000000000000000000000000000000000000";
    let offset = server.log.with_feed(|f| f.offset());
    let replica = server.link.is_replica();
    let mut info = abi::ReplicationInfo {
        version: abi::REPLICATIONINFO_VERSION,
        master: i32::from(!replica),
        masterhost: host.as_ptr(),
        masterport: port.into(),
        replid1: id.as_ptr(),
        replid2: none.as_ptr(),
        repl1_offset: offset,
        repl2_offset: 0,
    };
    let sub = match replica {
        true => abi::EVENT_REPLROLECHANGED_NOW_REPLICA,
        false => abi::EVENT_REPLROLECHANGED_NOW_MASTER,
    };
    server_event(abi::EVENT_REPLICATION_ROLE_CHANGED, sub, (&raw mut info).cast(), None);
}

/// The link to the primary came up or went down. From any thread.
pub fn link_event(server: &'static Server, up: bool) {
    if !listened(abi::EVENT_MASTER_LINK_CHANGE) {
        return;
    }
    let sub = if up { abi::SUBEVENT_MASTER_LINK_UP } else { abi::SUBEVENT_MASTER_LINK_DOWN };
    server.queue.task(Box::new(move || plain_event(abi::EVENT_MASTER_LINK_CHANGE, sub)));
}

/// A replica is fed from now on, or is gone. From any thread.
pub fn replica_event(server: &'static Server, online: bool) {
    if !listened(abi::EVENT_REPLICA_CHANGE) {
        return;
    }
    let sub = match online {
        true => abi::SUBEVENT_REPLICA_CHANGE_ONLINE,
        false => abi::SUBEVENT_REPLICA_CHANGE_OFFLINE,
    };
    server.queue.task(Box::new(move || plain_event(abi::EVENT_REPLICA_CHANGE, sub)));
}

/// Fires an event that has no data. The calling thread has the module lock.
pub fn plain_event(id: u64, sub: u64) {
    server_event(id, sub, std::ptr::null_mut(), None);
}

/// The module thread is about to wait for work, or has got some. The calling thread has the module lock.
pub fn loop_event(sub: u64) {
    if listened(abi::EVENT_EVENTLOOP) {
        plain_event(abi::EVENT_EVENTLOOP, sub);
        super::thread::end_unit(Server::get());
    }
}

/// One round of the server's regular work. The calling thread has the module lock.
pub fn cron_event(hz: u64) {
    if !listened(abi::EVENT_CRON_LOOP) {
        return;
    }
    let mut info = abi::CronLoop { version: abi::CRON_LOOP_VERSION, hz: hz as i32 };
    server_event(abi::EVENT_CRON_LOOP, 0, (&raw mut info).cast(), None);
}

/// `CONFIG SET` changed these directives. The calling thread has the module lock.
pub fn config_event(names: &[String]) {
    if names.is_empty() || !listened(abi::EVENT_CONFIG) {
        return;
    }
    let names: Vec<CString> =
        names.iter().filter_map(|n| CString::new(n.as_bytes()).ok()).collect();
    let pointers: Vec<*const c_char> = names.iter().map(|n| n.as_ptr()).collect();
    let mut info = abi::ConfigChange {
        version: abi::CONFIGCHANGE_VERSION,
        num_changes: pointers.len() as u32,
        config_names: pointers.as_ptr(),
    };
    server_event(abi::EVENT_CONFIG, abi::SUBEVENT_CONFIG_CHANGE, (&raw mut info).cast(), None);
}

/// A key is about to be deleted, or overwritten: `SUBEVENT_KEY_*`. Listeners find it as it was. The calling thread has the
/// module lock.
pub fn key_event(sub: u64, db: usize, key: &[u8], entry: Entry) {
    let subscriptions = Server::get().modules.events.load_full();
    for s in subscriptions.iter().filter(|s| s.event.id == abi::EVENT_KEY) {
        let Some(f) = s.callback else { continue };
        let _kept = KeptExpired::new(Server::get());
        with_context(s.module, db, &"server event", |ctx| {
            let name = RStr::new(key);
            // SAFETY: ABI: registered for this signature, with this event's data; handle and name are ours; lock: held.
            unsafe {
                let mut handle = Key::with_entry(ctx, name, abi::READ, Some(entry));
                let key = (&raw mut handle).cast();
                let mut info = abi::KeyInfo { version: abi::KEYINFO_VERSION, key };
                f(ctx.cast(), s.event, sub, (&raw mut info).cast());
                RStr::release(name);
            }
        });
    }
}

/// Runs the jobs that notification callbacks left, and the ones that those leave.
pub fn run_post_jobs(server: &'static Server) {
    loop {
        // SAFETY: lock: units end under the module lock.
        let left = unsafe { &mut server.holder().post_jobs };
        if left.is_empty() {
            return;
        }
        for job in std::mem::take(left) {
            with_context(job.module, job.db, &"post-notification job", |ctx| {
                // SAFETY: ABI: registered for these signatures; lock: held.
                unsafe {
                    if let Some(run) = job.run {
                        run(ctx.cast(), job.data);
                    }
                    if let Some(free) = job.free {
                        free(job.data);
                    }
                }
            });
        }
    }
}

/// A client connected: posts the event to the module thread if a module listens.
pub fn client_connected(server: &'static Server, client: &Arc<ClientShared>) {
    client_changed(server, client, abi::SUBEVENT_CLIENT_CHANGE_CONNECTED);
}

/// A client disconnected: likewise.
pub fn client_disconnected(server: &'static Server, client: &Arc<ClientShared>) {
    client_changed(server, client, abi::SUBEVENT_CLIENT_CHANGE_DISCONNECTED);
}

fn client_changed(server: &'static Server, client: &Arc<ClientShared>, sub: u64) {
    if !listened(abi::EVENT_CLIENT_CHANGE) {
        return;
    }
    let client = client.clone();
    server.queue.task(Box::new(move || client_event(server, client, sub)));
}

/// Fires a client event with the client itself behind the context.
fn client_event(server: &'static Server, client: Arc<ClientShared>, sub: u64) {
    let mut info = super::api::client::info_of(&client);
    let mut session = Session::new(client);
    session.db = usize::from(info.db);
    let mut nowhere = Reply { muted: true, ..Reply::default() };
    let subscriptions = server.modules.events.load_full();
    for s in subscriptions.iter().filter(|s| s.event.id == abi::EVENT_CLIENT_CHANGE) {
        let Some(f) = s.callback else { continue };
        let _running = running(s.module, &"server event");
        let mut ctx = Ctx::for_client(Some(s.module), &mut session, &mut nowhere);
        // SAFETY: ABI: registered for this signature, with this event's data; lock: tasks run under the module lock.
        unsafe { f((&raw mut ctx).cast(), s.event, sub, (&raw mut info).cast()) };
        ctx.finish();
    }
}
