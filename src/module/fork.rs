//! Children that modules fork.
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

/// The end of a child: callback and data.
struct Done {
    /// Absent when no module's code runs.
    module: Option<&'static Module>,
    callback: abi::ForkDoneFn,
    data: *mut c_void,
}

// SAFETY: lock: used by the holder of the module lock.
unsafe impl Send for Done {}

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

/// Forks. 0 in the child, its id in the parent, -1 with `errno` when it failed. The calling thread has the module lock.
pub fn fork(server: &'static Server, callback: abi::ForkDoneFn, data: *mut c_void) -> c_int {
    if child().is_some() {
        crate::log_warning!("Can't fork for module: File exists");
        super::border::set_errno(libc::EEXIST);
        return -1;
    }
    report().progress.store(0, Relaxed);
    report().own_memory.store(0, Relaxed);
    let stopped = server.keyspace.stop();
    let queue = server.queue.freeze();
    #[cfg(feature = "jemalloc")]
    let heap = crate::observe::heap::freeze();
    // SAFETY: lock: no other thread holds anything that the child will need: latches and queue are ours.
    let pid = unsafe { libc::fork() };
    #[cfg(feature = "jemalloc")]
    drop(heap);
    drop(queue);
    drop(stopped);
    match pid {
        0 => {
            IN_CHILD.store(true, Relaxed);
            // SAFETY: layout: plain system calls. Signals that mean something to the parent end the child.
            unsafe {
                libc::signal(libc::SIGUSR1, killed as *const () as usize);
                libc::signal(libc::SIGTERM, libc::SIG_DFL);
                libc::signal(libc::SIGINT, libc::SIG_IGN);
            }
        }
        -1 => {
            let e = std::io::Error::last_os_error();
            crate::log_warning!("Can't fork for module: {}", crate::config::os_error_text(&e));
            super::border::set_errno(e.raw_os_error().unwrap_or(libc::EAGAIN));
        }
        pid => {
            CHILD.store(pid, Relaxed);
            // SAFETY: lock: the calling thread has the module lock.
            let module = unsafe { server.holder() }.running.map(|(module, _)| module);
            *DONE.lock() = Some(Done { module, callback, data });
            server.stats.forks.add(1);
            crate::log_verbose!("Module fork started pid: {pid} ");
            plain_event(abi::EVENT_FORK_CHILD, abi::SUBEVENT_FORK_CHILD_BORN);
        }
    }
    pid
}

/// The child is gone: forgets it.
fn reset() {
    CHILD.store(0, Relaxed);
    LAST_OWN_MEMORY.store(report().own_memory.load(Relaxed), Relaxed);
    plain_event(abi::EVENT_FORK_CHILD, abi::SUBEVENT_FORK_CHILD_DIED);
}

/// Ends the child and waits for its end; its done callback is not called. False if this is not the child. The calling
/// thread has the module lock.
pub fn kill(pid: c_int) -> bool {
    if child() != Some(pid) {
        return false;
    }
    crate::log_verbose!("Killing running module fork child: {pid}");
    let mut status = 0;
    // SAFETY: layout: plain system calls on our own child.
    unsafe {
        if libc::kill(pid, libc::SIGUSR1) == 0 {
            while libc::waitpid(pid, &raw mut status, 0) != pid {
                if std::io::Error::last_os_error().raw_os_error() != Some(libc::EINTR) {
                    break;
                }
            }
        }
    }
    *DONE.lock() = None;
    reset();
    true
}

/// Looks whether the child has ended, and tells the module. The calling thread has the module lock.
pub fn reap() {
    let Some(pid) = child() else { return };
    let mut status = 0;
    // SAFETY: layout: a plain system call on our own child.
    if unsafe { libc::waitpid(pid, &raw mut status, libc::WNOHANG) } != pid {
        return;
    }
    let code = if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) } else { -1 };
    let signal = if libc::WIFSIGNALED(status) { libc::WTERMSIG(status) } else { 0 };
    crate::log_notice!("Module fork exited pid: {pid}, retcode: {code}, bysignal: {signal}");
    let done = DONE.lock().take();
    if let Some(Done { callback: Some(f), data, .. }) = done {
        // SAFETY: ABI: registered for this signature, with this data; lock: the module lock is held.
        unsafe { f(code, signal, data) };
    }
    reset();
}

/// A module is about to be unloaded: the end of its child will not be told to code that is gone.
pub fn forget_callback_of(module: &'static Module) {
    DONE.lock().take_if(|done| done.module.is_none_or(|m| std::ptr::eq(m, module)));
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
