//! Children: those that modules fork, and the one that saves with `module-exclusive yes`.
//!
//! The child has one thread, the one that forked, which holds the module lock. What other threads held at that moment
//! would stay held in it for ever; so the fork takes every shard latch and the queue's lock before, and both sides release
//! them. That also makes the keyspace consistent: no native command is half-way through. The allocator sees to itself.
//!
//! A snapshot that is being written goes on in the parent; the child has no part in it.
use super::abi;
use super::event::plain_event;
use super::registry::Module;
use crate::server::Server;
use parking_lot::Mutex;
use std::ffi::{c_int, c_void};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering::Relaxed};
use std::sync::OnceLock;

/// What a child tells its parent, in memory that they share.
#[derive(Default)]
struct Report {
    /// Bits of the progress, a number from 0 to 1.
    progress: AtomicU64,
    /// Bytes that the child had for itself alone at its end.
    own_memory: AtomicU64,
}

/// Who is told the end of a child.
enum Done {
    /// A module: callback and data.
    Module {
        /// Absent when no module's code runs.
        module: Option<&'static Module>,
        callback: abi::ForkDoneFn,
        data: *mut c_void,
    },
    /// The server itself.
    Own(fn(&'static Server, End)),
}

// SAFETY: lock: used by the holder of the module lock.
unsafe impl Send for Done {}

/// How a child ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct End {
    /// Its exit status; -1 if there is none.
    pub code: c_int,
    /// The signal that ended it, or 0.
    pub signal: c_int,
}

impl End {
    /// Whether it ended because the server told it to.
    pub fn was_asked_for(self) -> bool {
        self.code == KILLED_STATUS || self.signal == libc::SIGUSR1
    }
}

static CHILD: AtomicI32 = AtomicI32::new(0);
static DONE: Mutex<Option<Done>> = Mutex::new(None);
static IN_CHILD: AtomicBool = AtomicBool::new(false);
static LAST_OWN_MEMORY: AtomicU64 = AtomicU64::new(0);

fn report() -> &'static Report {
    static SHARED: OnceLock<usize> = OnceLock::new();
    let address = *SHARED.get_or_init(|| {
        let size = std::mem::size_of::<Report>();
        let (access, kind) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
        // SAFETY: layout: a fresh mapping, which is never given back.
        let p = unsafe { libc::mmap(std::ptr::null_mut(), size, access, kind, -1, 0) };
        if p == libc::MAP_FAILED {
            // Without shared memory the child's reports are lost, and nothing else.
            return std::ptr::from_ref(Box::leak(Box::<Report>::default())) as usize;
        }
        p as usize
    });
    // SAFETY: layout: zeroed memory of this size and alignment, for ever.
    unsafe { &*(address as *const Report) }
}

/// The child that runs, if any.
pub fn child() -> Option<c_int> {
    Some(CHILD.load(Relaxed)).filter(|pid| *pid != 0)
}

/// Whether this process is such a child.
pub fn in_child() -> bool {
    IN_CHILD.load(Relaxed)
}

/// How far the child is by its own account, 0 to 1.
pub fn progress() -> f64 {
    f64::from_bits(report().progress.load(Relaxed))
}

/// What the last child had for itself alone, for `INFO`.
pub fn last_own_memory() -> u64 {
    LAST_OWN_MEMORY.load(Relaxed)
}

/// In the child: the parent wants it to end.
extern "C" fn killed(_: c_int) {
    let text = b"Received SIGUSR1 in child, exiting now.";
    crate::observe::log::log_from_signal_handler(crate::observe::log::Level::Verbose, text);
    // SAFETY: layout: ends this process at once, which a signal handler may do.
    unsafe { libc::_exit(KILLED_STATUS) }
}

/// The exit status of a child that was told to end, as Redis has it.
const KILLED_STATUS: c_int = 255;

/// Forks for a module. 0 in the child, its id in the parent, -1 with `errno` when it failed. The calling thread has the
/// module lock.
pub fn fork(server: &'static Server, callback: abi::ForkDoneFn, data: *mut c_void) -> c_int {
    // SAFETY: lock: the calling thread has the module lock.
    let module = unsafe { server.holder() }.running.map(|(module, _)| module);
    match divide(server, Done::Module { module, callback, data }) {
        Ok(pid) => {
            if pid > 0 {
                crate::log_verbose!("Module fork started pid: {pid} ");
            }
            pid
        }
        Err(e) => {
            crate::log_warning!("Can't fork for module: {}", crate::config::os_error_text(&e));
            super::border::set_errno(e.raw_os_error().unwrap_or(libc::EAGAIN));
            -1
        }
    }
}

/// Forks for the server: 0 in the child, its id in the parent. `done` is called on the module thread when the child has
/// ended, [`kill`] or not. The calling thread has the module lock.
pub fn fork_own(server: &'static Server, done: fn(&'static Server, End)) -> io::Result<c_int> {
    divide(server, Done::Own(done))
}

fn divide(server: &'static Server, done: Done) -> io::Result<c_int> {
    if child().is_some() {
        return Err(io::Error::from_raw_os_error(libc::EEXIST));
    }
    report().progress.store(0, Relaxed);
    report().own_memory.store(0, Relaxed);
    let stopped = server.keyspace.stop();
    let queue = server.queue.freeze();
    #[cfg(feature = "jemalloc")]
    let heap = crate::observe::heap::freeze();
    // SAFETY: lock: no other thread holds anything that the child will need: latches and queue are ours.
    let pid = unsafe { libc::fork() };
    let error = io::Error::last_os_error();
    #[cfg(feature = "jemalloc")]
    drop(heap);
    drop(queue);
    drop(stopped);
    match pid {
        -1 => return Err(error),
        0 => {
            IN_CHILD.store(true, Relaxed);
            // SAFETY: layout: plain system calls. Signals that mean something to the parent end the child.
            unsafe {
                libc::signal(libc::SIGUSR1, killed as *const () as usize);
                libc::signal(libc::SIGTERM, libc::SIG_DFL);
                libc::signal(libc::SIGINT, libc::SIG_IGN);
            }
        }
        pid => {
            CHILD.store(pid, Relaxed);
            *DONE.lock() = Some(done);
            server.stats.forks.add(1);
            plain_event(abi::EVENT_FORK_CHILD, abi::SUBEVENT_FORK_CHILD_BORN);
        }
    }
    Ok(pid)
}

/// The child is gone: forgets it.
fn reset() {
    CHILD.store(0, Relaxed);
    LAST_OWN_MEMORY.store(report().own_memory.load(Relaxed), Relaxed);
    plain_event(abi::EVENT_FORK_CHILD, abi::SUBEVENT_FORK_CHILD_DIED);
}

/// Whether the child that runs is a module's.
pub fn child_of_module() -> Option<c_int> {
    child().filter(|_| !matches!(*DONE.lock(), Some(Done::Own(_))))
}

/// Ends a module's child and waits for its end; its done callback is not called. False if this is not the child. The
/// calling thread has the module lock.
pub fn kill(pid: c_int) -> bool {
    if child_of_module() != Some(pid) {
        return false;
    }
    crate::log_verbose!("Killing running module fork child: {pid}");
    // SAFETY: layout: a plain system call on our own child.
    if unsafe { libc::kill(pid, libc::SIGUSR1) } == 0 {
        wait_for(pid, 0);
    }
    *DONE.lock() = None;
    reset();
    true
}

/// Tells the server's own child to end, if that is what runs. Its end is told as usual ([`fork_own`]); with `wait`, before
/// this returns. The calling thread has the module lock.
pub fn kill_own(server: &'static Server, wait: bool) {
    let Some(pid) = child().filter(|_| child_of_module().is_none()) else { return };
    // SAFETY: layout: a plain system call on our own child.
    unsafe { libc::kill(pid, libc::SIGUSR1) };
    if wait {
        if let Some(end) = wait_for(pid, 0) {
            ended(server, pid, end);
        }
    }
}

/// `waitpid`. `None` if the child has not ended.
fn wait_for(pid: c_int, options: c_int) -> Option<End> {
    let mut status = 0;
    loop {
        // SAFETY: layout: a plain system call on our own child.
        let who = unsafe { libc::waitpid(pid, &raw mut status, options) };
        if who == pid {
            break;
        }
        if who == 0 || io::Error::last_os_error().raw_os_error() != Some(libc::EINTR) {
            return None;
        }
    }
    let code = if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) } else { -1 };
    let signal = if libc::WIFSIGNALED(status) { libc::WTERMSIG(status) } else { 0 };
    Some(End { code, signal })
}

/// Looks whether the child has ended, and tells who made it. The calling thread has the module lock.
pub fn reap(server: &'static Server) {
    let Some(pid) = child() else { return };
    if let Some(end) = wait_for(pid, libc::WNOHANG) {
        ended(server, pid, end);
    }
}

fn ended(server: &'static Server, pid: c_int, end: End) {
    let done = DONE.lock().take();
    if let Some(Done::Own(f)) = done {
        f(server, end);
        return reset();
    }
    let End { code, signal } = end;
    crate::log_notice!("Module fork exited pid: {pid}, retcode: {code}, bysignal: {signal}");
    if let Some(Done::Module { callback: Some(f), data, .. }) = done {
        // SAFETY: ABI: registered for this signature, with this data; lock: the module lock is held.
        unsafe { f(code, signal, data) };
    }
    reset();
}

/// A module is about to be unloaded: the end of its child will not be told to code that is gone.
pub fn forget_callback_of(module: &'static Module) {
    DONE.lock().take_if(|done| match done {
        Done::Module { module: of, .. } => of.is_none_or(|m| std::ptr::eq(m, module)),
        Done::Own(_) => false,
    });
}

/// In the child: notes how far it is.
pub fn heartbeat(progress: f64) {
    report().progress.store(progress.to_bits(), Relaxed);
}

/// In the child: notes what it used and ends it.
pub fn exit(code: c_int) -> ! {
    report().own_memory.store(private_dirty(), Relaxed);
    // SAFETY: layout: ends this process at once; exit handlers belong to the parent.
    unsafe { libc::_exit(code) }
}

/// Bytes of memory that this process does not share.
fn private_dirty() -> u64 {
    let Ok(text) = std::fs::read_to_string("/proc/self/smaps_rollup") else { return 0 };
    let line = text.lines().find_map(|l| l.strip_prefix("Private_Dirty:"));
    let kb = line.and_then(|l| l.trim().trim_end_matches(" kB").trim().parse::<u64>().ok());
    kb.unwrap_or(0) * 1024
}
