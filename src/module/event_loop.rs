//! Descriptors that modules want to have watched.
//!
//! A thread of its own sleeps in `epoll`. Each descriptor is armed for one report: what is ready goes to the module
//! thread, which calls the module under the module lock and then arms the descriptor anew. So a descriptor that stays
//! ready is reported again and again, as on Redis, but never faster than the module handles it.
use super::abi;
use super::registry::Module;
use crate::server::Server;
use parking_lot::Mutex;
use std::collections::{HashMap, VecDeque};
use std::ffi::{c_int, c_void};
use std::io;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::OnceLock;

type Callback = unsafe extern "C" fn(c_int, *mut c_void, c_int);

/// What a module registered for one descriptor. The data is shared by both directions, as on Redis.
#[derive(Clone, Copy, Default)]
struct Watched {
    readable: Option<Callback>,
    writable: Option<Callback>,
    data: usize,
}

static WATCHED: Mutex<Option<HashMap<c_int, Watched>>> = Mutex::new(None);
static EPOLL: OnceLock<Option<c_int>> = OnceLock::new();

/// Whether this can be the number of a descriptor: Redis refuses what is beyond its table of clients.
pub fn possible(fd: c_int) -> bool {
    // Redis' table has room for the clients and 128 more.
    fd >= 0 && i64::from(fd) < Server::get().config.maxclients() as i64 + 128
}

fn epoll() -> io::Result<c_int> {
    let made = EPOLL.get_or_init(|| {
        // SAFETY: layout: a plain system call.
        let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if fd < 0 {
            return None;
        }
        std::thread::Builder::new().name("event-loop".into()).spawn(move || watch(fd)).ok()?;
        Some(fd)
    });
    made.ok_or_else(io::Error::last_os_error)
}

fn bits(w: &Watched) -> u32 {
    let mut bits = libc::EPOLLONESHOT as u32;
    if w.readable.is_some() {
        bits |= libc::EPOLLIN as u32;
    }
    if w.writable.is_some() {
        bits |= libc::EPOLLOUT as u32;
    }
    bits
}

fn control(epoll: c_int, op: c_int, fd: c_int, events: u32) -> io::Result<()> {
    let mut event = libc::epoll_event { events, u64: fd as u64 };
    // SAFETY: layout: the event is of the kernel's layout.
    if unsafe { libc::epoll_ctl(epoll, op, fd, &raw mut event) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Watches a descriptor.
pub fn add(fd: c_int, mask: c_int, callback: Callback, data: *mut c_void) -> io::Result<()> {
    let epoll = epoll()?;
    let mut all = WATCHED.lock();
    let all = all.get_or_insert_with(HashMap::new);
    let known = all.contains_key(&fd);
    let mut w = all.get(&fd).copied().unwrap_or_default();
    w.data = data as usize;
    if mask & abi::EVENTLOOP_READABLE != 0 {
        w.readable = Some(callback);
    }
    if mask & abi::EVENTLOOP_WRITABLE != 0 {
        w.writable = Some(callback);
    }
    let op = if known { libc::EPOLL_CTL_MOD } else { libc::EPOLL_CTL_ADD };
    control(epoll, op, fd, bits(&w))?;
    all.insert(fd, w);
    Ok(())
}

/// Stops watching a descriptor for what the mask says.
pub fn remove(fd: c_int, mask: c_int) {
    let Ok(epoll) = epoll() else { return };
    let mut all = WATCHED.lock();
    let Some(all) = all.as_mut() else { return };
    let Some(w) = all.get_mut(&fd) else { return };
    if mask & abi::EVENTLOOP_READABLE != 0 {
        w.readable = None;
    }
    if mask & abi::EVENTLOOP_WRITABLE != 0 {
        w.writable = None;
    }
    let (rest, gone) = (bits(w), w.readable.is_none() && w.writable.is_none());
    if gone {
        all.remove(&fd);
    }
    let op = if gone { libc::EPOLL_CTL_DEL } else { libc::EPOLL_CTL_MOD };
    // A descriptor that the module closed before is gone from epoll already.
    let _ = control(epoll, op, fd, rest);
}

type OnceFn = unsafe extern "C" fn(*mut c_void);

/// Functions to be called once, each with its data: there is a task of the module thread for each.
static ONCE: Mutex<VecDeque<(OnceFn, usize)>> = Mutex::new(VecDeque::new());

/// Calls a function once on the module thread.
pub fn once(callback: OnceFn, data: *mut c_void) {
    ONCE.lock().push_back((callback, data as usize));
    Server::get().queue.task(Box::new(|| {
        // None if a module is gone since.
        let next = ONCE.lock().pop_front();
        if let Some((callback, data)) = next {
            // SAFETY: ABI: registered for this signature, with this data; lock: tasks run under the module lock.
            unsafe { callback(data as *mut c_void) };
        }
    }));
}

/// Where the shared object begins that has this address; 0 for none.
pub fn object_of(address: usize) -> usize {
    // SAFETY: layout: plain data, for which zeros are valid.
    let mut found: libc::Dl_info = unsafe { std::mem::zeroed() };
    // SAFETY: layout: the address is only compared; room for the answer.
    match unsafe { libc::dladdr(address as *const c_void, &raw mut found) } {
        0 => 0,
        _ => found.dli_fbase as usize,
    }
}

/// Closes a module's shared object. Callbacks of descriptors and single calls have no context, so nobody knows whose they
/// are: those in this object are forgotten, unless it is another module's too, and those that are not in memory any more
/// when it is closed (of a library that it brought). The calling thread has the module lock.
pub fn close(server: &Server, module: &'static Module, close: impl FnOnce()) {
    let base = module.base.load(Relaxed);
    let list = server.modules.list();
    let is_shared = list.iter().any(|m| !std::ptr::eq(*m, module) && m.base.load(Relaxed) == base);
    let known: Vec<usize> = callbacks().into_iter().filter(|c| object_of(*c) != 0).collect();
    let of_module = |callback: usize| !is_shared && object_of(callback) == base;
    forget_where(|callback| known.contains(&callback) && of_module(callback));
    close();
    forget_where(|callback| known.contains(&callback) && object_of(callback) == 0);
}

fn callbacks() -> Vec<usize> {
    let mut all: Vec<usize> = ONCE.lock().iter().map(|o| o.0 as usize).collect();
    for w in WATCHED.lock().iter().flat_map(HashMap::values) {
        all.extend([w.readable, w.writable].into_iter().flatten().map(|f| f as usize));
    }
    all
}

fn forget_where(goes: impl Fn(usize) -> bool) {
    ONCE.lock().retain(|o| !goes(o.0 as usize));
    let mut gone = Vec::new();
    for (fd, w) in WATCHED.lock().iter().flatten() {
        let mask = |callback: Option<Callback>, bit| match callback {
            Some(f) if goes(f as usize) => bit,
            _ => 0,
        };
        let mask =
            mask(w.readable, abi::EVENTLOOP_READABLE) | mask(w.writable, abi::EVENTLOOP_WRITABLE);
        if mask != 0 {
            gone.push((*fd, mask));
        }
    }
    for (fd, mask) in gone {
        remove(fd, mask);
    }
}

/// The body of the watching thread.
fn watch(epoll: c_int) {
    let mut ready = [libc::epoll_event { events: 0, u64: 0 }; 64];
    loop {
        // SAFETY: layout: the array has room for the number that is told.
        let n = unsafe { libc::epoll_wait(epoll, ready.as_mut_ptr(), ready.len() as c_int, -1) };
        for event in &ready[..n.max(0) as usize] {
            let (fd, events) = (event.u64 as c_int, event.events);
            Server::get().queue.task(Box::new(move || report(epoll, fd, events)));
        }
    }
}

/// Calls the module for a ready descriptor and arms it anew. Under the module lock.
fn report(epoll: c_int, fd: c_int, events: u32) {
    let look = || WATCHED.lock().as_ref().and_then(|all| all.get(&fd).copied());
    // An error or a hang-up is reported to whoever waits, so that a read or a write finds out.
    let broken = events & (libc::EPOLLERR | libc::EPOLLHUP) as u32 != 0;
    for (bit, mask) in [
        (libc::EPOLLIN as u32, abi::EVENTLOOP_READABLE),
        (libc::EPOLLOUT as u32, abi::EVENTLOOP_WRITABLE),
    ] {
        // Looked up each time: the first callback may have removed the second.
        let Some(w) = look() else { return };
        let callback = if mask == abi::EVENTLOOP_READABLE { w.readable } else { w.writable };
        if let Some(f) = callback.filter(|_| broken || events & bit != 0) {
            // SAFETY: ABI: registered for this signature, with this data; lock: tasks run under the module lock.
            unsafe { f(fd, w.data as *mut c_void, mask) };
        }
    }
    if let Some(w) = look() {
        let _ = control(epoll, libc::EPOLL_CTL_MOD, fd, bits(&w));
    }
}
