//! `SIGTERM` and `SIGINT`: the handler only writes a byte into a pipe; a thread reads it and asks the module thread to
//! shut down.
use crate::server::Server;
use std::sync::atomic::{AtomicI32, AtomicI64, Ordering::SeqCst};

static PIPE: AtomicI32 = AtomicI32::new(-1);
static PROCESS: AtomicI32 = AtomicI32::new(0);

extern "C" fn handle(signal: libc::c_int) {
    // SAFETY: layout: async-signal-safe calls only; errno is put back for the code that was interrupted.
    unsafe {
        let errno = *libc::__errno_location();
        if libc::getpid() == PROCESS.load(SeqCst) {
            let byte = signal as u8;
            libc::write(PIPE.load(SeqCst), (&raw const byte).cast(), 1);
        } else {
            // A child that a module forked: the signal is meant for it alone.
            libc::signal(signal, libc::SIG_DFL);
            libc::raise(signal);
        }
        *libc::__errno_location() = errno;
    }
}

/// Installs the handlers and starts the thread that acts on them.
pub fn listen(server: &'static Server) {
    let mut ends = [0; 2];
    // SAFETY: layout: room for two descriptors.
    if unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) } != 0 {
        crate::log_warning!(
            "No pipe for signals: SIGTERM and SIGINT end the server without a save"
        );
        return;
    }
    PIPE.store(ends[1], SeqCst);
    PROCESS.store(std::process::id() as i32, SeqCst);
    // SAFETY: layout: a zeroed sigaction with an empty mask and our handler, which has the signature of one.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handle as *const () as usize;
        action.sa_flags = libc::SA_RESTART;
        libc::sigemptyset(&mut action.sa_mask);
        libc::sigaction(libc::SIGTERM, &action, std::ptr::null_mut());
        libc::sigaction(libc::SIGINT, &action, std::ptr::null_mut());
        libc::signal(libc::SIGPIPE, libc::SIG_IGN);
        libc::signal(libc::SIGHUP, libc::SIG_IGN);
        // A file that may not grow is an error of the write, which is dealt with there.
        libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
    }
    super::spawn("signals", move || loop {
        let mut byte = 0u8;
        // SAFETY: layout: one byte into a local.
        if unsafe { libc::read(ends[0], (&raw mut byte).cast(), 1) } == 1 {
            received(server, libc::c_int::from(byte));
        }
    });
}

fn received(server: &'static Server, signal: libc::c_int) {
    let insists = server.shutting_down.swap(true, SeqCst) && signal == libc::SIGINT;
    let name = if signal == libc::SIGINT { "SIGINT" } else { "SIGTERM" };
    if insists {
        crate::log_warning!("You insist... exiting now.");
        let _ = std::fs::remove_file(format!("temp-{}.rdb", std::process::id()));
        std::process::exit(1);
    }
    if server.persistence.starting.load(SeqCst) {
        crate::log_warning!("Received shutdown signal during loading, exiting now.");
        std::process::exit(0);
    }
    crate::log_warning!("Received {name} scheduling shutdown...");
    let flags = if signal == libc::SIGINT {
        server.config.shutdown_on_sigint()
    } else {
        server.config.shutdown_on_sigterm()
    };
    WAITING.store(flags, SeqCst);
    server.queue.task(Box::new(move || begin_waiting(server)));
}

/// The flags of a shutdown that was asked for and has not begun; negative without one.
static WAITING: AtomicI64 = AtomicI64::new(-1);

/// Begins a shutdown that was asked for, as part of the regular work: not while that is paused (`DEBUG PAUSE-CRON`), and not
/// while a module yields, half of whose unit it would save. The calling thread has the module lock.
pub fn begin_waiting(server: &'static Server) {
    if server.pause_cron.load(SeqCst) || crate::module::busy::amid_unit(server) {
        return;
    }
    let flags = WAITING.swap(-1, SeqCst);
    if flags >= 0 {
        super::shutdown(server, flags);
    }
}

/// `SHUTDOWN ABORT`: false if no shutdown waits.
pub fn call_off(server: &Server) -> bool {
    if WAITING.swap(-1, SeqCst) < 0 {
        return false;
    }
    server.shutting_down.store(false, SeqCst);
    crate::log_notice!("Shutdown manually aborted.");
    true
}
