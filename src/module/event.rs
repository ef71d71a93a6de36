//! Delivery of keyspace events and server events to modules.
use super::abi;
use super::callback::with_context;
use super::registry::Module;
use super::string::RStr;
use crate::connection::client::ClientShared;
use crate::server::Server;
use std::ffi::{c_void, CStr};
use std::sync::atomic::Ordering::Relaxed;

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

/// Tells the subscribed modules of a keyspace event. The calling thread has the module lock.
pub fn keyspace_event(db: usize, class: u32, name: &'static CStr, key: &[u8]) {
    let server = Server::get();
    let subscriptions = server.modules.keyspace.load_full();
    let key = RStr::new(key);
    for s in subscriptions.iter().filter(|s| s.mask & class != 0) {
        let nested = s.module.has_option(abi::OPTIONS_ALLOW_NESTED_KEYSPACE_NOTIFICATIONS);
        if s.active.swap(true, Relaxed) && !nested {
            continue;
        }
        with_context(s.module, db, "keyspace notification", |ctx| {
            if let Some(f) = s.callback {
                // SAFETY: ABI: registered for this signature; the event's name is static; lock: held.
                unsafe { f(ctx.cast(), class as i32, name.as_ptr(), key.cast()) };
            }
        });
        s.active.store(false, Relaxed);
    }
    // SAFETY: ABI: our own reference.
    unsafe { RStr::release(key) };
}

/// Fires a server event, with the data that its id promises, to all subscribed modules but `except`. The calling thread has the module lock.
#[allow(clippy::not_unsafe_ptr_arg_deref)] // the pointer is only passed on
pub fn server_event(id: u64, sub: u64, data: *mut c_void, except: Option<&'static Module>) {
    let server = Server::get();
    for s in server.modules.events.load_full().iter().filter(|s| s.event.id == id) {
        if except.is_some_and(|m| std::ptr::eq(m, s.module)) {
            continue;
        }
        with_context(s.module, 0, "server event", |ctx| {
            if let Some(f) = s.callback {
                // SAFETY: ABI: registered for this signature; `data` is what the event's id promises; lock: held.
                unsafe { f(ctx.cast(), s.event, sub, data) };
            }
        });
    }
}

/// Runs the jobs that notification callbacks left, and the ones that those leave.
pub fn run_post_jobs(server: &'static Server) {
    loop {
        let jobs = std::mem::take(&mut *server.modules.post_jobs.lock());
        if jobs.is_empty() {
            return;
        }
        for job in jobs {
            with_context(job.module, job.db, "post-notification job", |ctx| {
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
pub fn client_connected(server: &'static Server, client: &ClientShared) {
    client_changed(server, client, 0);
}

/// A client disconnected: likewise.
pub fn client_disconnected(server: &'static Server, client: &ClientShared) {
    client_changed(server, client, 1);
}

fn client_changed(server: &'static Server, client: &ClientShared, sub: u64) {
    let listened =
        server.modules.events.load().iter().any(|s| s.event.id == abi::EVENT_CLIENT_CHANGE);
    if !listened {
        return;
    }
    let mut info = super::api::client::info_of(client);
    server.queue.task(Box::new(move || {
        server_event(abi::EVENT_CLIENT_CHANGE, sub, (&raw mut info).cast(), None);
    }));
}
