//! What is written to the log when the process dies of a signal or of an assertion: where, whose code that was, what the
//! holder of the module lock was doing, the stack, and what modules tell about themselves.
//!
//! Nothing here allocates or locks until all of that is written; the modules' own functions come last. If one of them
//! crashes in turn, that is reported shortly, and the process ends.
use crate::lock::owner::{thread_id, trail, Trail};
use crate::module::registry::Module;
use crate::observe::log::{log_from_signal_handler, log_raw, Level};
use crate::server::Server;
use std::ffi::{c_int, c_void, CStr};
use std::fmt::Write;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

mod nil_call;

const SIGNALS: [c_int; 5] =
    [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGABRT];
const FRAMES: usize = 100;

/// The thread that reports, 0 for none.
static REPORTING: AtomicU32 = AtomicU32::new(0);

/// A line in the making.
struct Line {
    bytes: [u8; 512],
    len: usize,
}

impl Write for Line {
    fn write_str(&mut self, s: &str) -> std::fmt::Result {
        let n = s.len().min(self.bytes.len() - self.len);
        self.bytes[self.len..self.len + n].copy_from_slice(&s.as_bytes()[..n]);
        self.len += n;
        Ok(())
    }
}

/// The text of a line, cut where it is whole: nothing here may allocate.
fn text_of(line: &Line) -> &str {
    let bytes = &line.bytes[..line.len];
    match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(e) => std::str::from_utf8(&bytes[..e.valid_up_to()]).unwrap_or_default(),
    }
}

fn say(what: std::fmt::Arguments<'_>) {
    let mut line = Line { bytes: [0; 512], len: 0 };
    let _ = line.write_fmt(what);
    log_from_signal_handler(Level::Warning, &line.bytes[..line.len]);
}

macro_rules! say {
    ($($arg:tt)*) => { say(format_args!($($arg)*)) };
}

/// Installs the handlers, unless `crash-log-enabled` is off.
pub fn listen(server: &Server) {
    if !server.config.crash_log_enabled() {
        return;
    }
    let mut frames = [std::ptr::null_mut::<c_void>(); 1];
    // SAFETY: layout: room for one frame. The first call loads what later ones must not load in a handler. The handler
    // has the signature that `SA_SIGINFO` asks for.
    unsafe {
        libc::backtrace(frames.as_mut_ptr(), 1);
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = crashed as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER;
        libc::sigemptyset(&mut action.sa_mask);
        for signal in SIGNALS {
            libc::sigaction(signal, &action, std::ptr::null_mut());
        }
    }
}

/// Begins a report. False if this thread is in one already: then it should be short. Waits for ever if another thread is.
fn begin() -> bool {
    match REPORTING.compare_exchange(0, thread_id(), SeqCst, SeqCst) {
        Ok(_) => {
            log_raw(
                Level::Warning,
                "\n\n=== REDIS BUG REPORT START: Cut & paste starting from here ===\n",
            );
            true
        }
        Err(id) if id == thread_id() => false,
        Err(_) => loop {
            // SAFETY: layout: a plain system call.
            unsafe { libc::pause() };
        },
    }
}

/// Ends the report and the process, by the signal.
fn end(signal: c_int) -> ! {
    log_raw(
        Level::Warning,
        "\n=== REDIS BUG REPORT END. Make sure to include from START to END. ===\n\n",
    );
    // SAFETY: layout: plain system calls; with the default action the signal ends the process.
    unsafe {
        SIGNALS.iter().for_each(|s| {
            libc::signal(*s, libc::SIG_DFL);
        });
        libc::raise(signal);
        libc::_exit(1)
    }
}

/// The file and the symbol of an address.
fn place(address: *const c_void) -> (Option<&'static CStr>, Option<&'static CStr>, usize) {
    // SAFETY: layout: a zeroed struct, filled for an address of this process; names live as long as their library, which
    // is not closed here.
    unsafe {
        let mut info: libc::Dl_info = std::mem::zeroed();
        if libc::dladdr(address, &mut info) == 0 {
            return (None, None, 0);
        }
        let name = |p: *const libc::c_char| (!p.is_null()).then(|| CStr::from_ptr(p));
        let base = if info.dli_saddr.is_null() { info.dli_fbase } else { info.dli_saddr };
        (name(info.dli_fname), name(info.dli_sname), address as usize - base as usize)
    }
}

fn text(name: Option<&CStr>) -> &str {
    name.and_then(|n| n.to_str().ok()).unwrap_or_default()
}

fn stack() {
    let mut frames = [std::ptr::null_mut::<c_void>(); FRAMES];
    // SAFETY: layout: room for the number of frames that is told.
    let n = unsafe { libc::backtrace(frames.as_mut_ptr(), FRAMES as c_int) };
    log_raw(Level::Warning, "\n------ STACK TRACE ------\n");
    for frame in &frames[..n.max(0) as usize] {
        let frame = *frame;
        let (file, symbol, offset) = place(frame);
        say!("{}({}+0x{offset:x}) [{frame:p}]", text(file), text(symbol));
    }
}

/// The module whose code an address is.
fn module_at(address: *const c_void) -> Option<&'static Module> {
    let server = Server::get();
    let file = text(place(address).0);
    let loaded = server.modules.modules.load();
    // A module is listed when its OnLoad is through.
    let loading = server.module_lock.owner.look().module;
    let mut all = loaded.iter().copied().chain(loading);
    all.find(|m| !file.is_empty() && m.path == file)
}

/// Says whose code an address is. `named`: with the name of the function, which the stack trace has too: tools count the
/// lines in which it stands.
fn owner_of(what: &str, address: *const c_void, named: bool) {
    let (file, symbol, offset) = place(address);
    let module = module_at(address);
    // One line for all: the stack of signal handlers is small.
    let mut line = Line { bytes: [0; 512], len: 0 };
    let _ = match named {
        true => write!(line, "{}+0x{offset:x}", text(symbol)),
        false => write!(line, "{address:p}"),
    };
    say!(
        "{what} {} ({}), which is {}{}",
        text(file),
        text_of(&line),
        if module.is_some() { "module " } else { "not a loaded module" },
        module.map_or("", |m| m.name())
    );
    if let Some(hash) = module.and_then(|m| m.hash.as_ref()) {
        line.len = 0;
        hash.iter().for_each(|byte| {
            let _ = write!(line, "{byte:02x}");
        });
        say!("SHA-256 of that file: {}", text_of(&line));
    }
}

/// Says which module called the code that crashed, if that is not a module's.
fn caller(at: *const c_void) {
    if module_at(at).is_some() {
        return;
    }
    let mut frames = [std::ptr::null_mut::<c_void>(); FRAMES];
    // SAFETY: layout: room for the number of frames that is told.
    let n = unsafe { libc::backtrace(frames.as_mut_ptr(), FRAMES as c_int) };
    let frames = &frames[..n.max(0) as usize];
    if let Some(frame) = frames.iter().find(|f| module_at(**f).is_some()) {
        owner_of("Called by", *frame, false);
    }
}

/// A jump to nil, from the instruction before `back`: most likely a function that a module asked for and that there is not.
fn missing_function(back: *const c_void) {
    let module = module_at(back).or_else(|| Server::get().module_lock.owner.look().module);
    let Some(module) = module else { return };
    if module_at(back).is_some() {
        owner_of("A jump to nil in", back, true);
    }
    let Some(missing) = module.missing.try_lock() else { return };
    if let Some((name, _)) = missing.iter().find(|(_, at)| nil_call::loads(back as usize, *at)) {
        say!("Module {} called {name}, which this server does not have", module.name());
        return;
    }
    let mut line = Line { bytes: [0; 512], len: 0 };
    missing.iter().rev().for_each(|(name, _)| {
        let _ = write!(line, " {name}");
    });
    say!(
        "A jump to nil; functions that module {} asked for in vain, the last first:{}",
        module.name(),
        text_of(&line)
    );
}

/// What the holder of the module lock does.
fn circumstances() {
    let server = Server::get();
    let seen = server.module_lock.owner.look();
    say!(
        "Thread {}; the module lock is held by thread {}, module '{}' ({}), {} waiting",
        thread_id(),
        seen.thread,
        seen.module.map_or("-", |m| m.name()),
        seen.what.unwrap_or("-"),
        server.module_lock.waiters()
    );
    for (whose, trail) in [("the holder", seen.trail), ("this thread", Some(trail()))] {
        let mut line = Line { bytes: [0; 512], len: 0 };
        trail.into_iter().flat_map(Trail::each).for_each(|c| {
            let _ = write!(line, " {c}");
        });
        say!("Last API calls of {whose}, the latest first:{}", text_of(&line));
    }
}

/// What modules tell, if this thread may ask them.
fn modules() {
    if Server::get().module_lock.is_mine() {
        log_raw(Level::Warning, "\n------ MODULES INFO OUTPUT ------\n");
        log_raw(Level::Warning, &crate::module::api::info::for_crash_report());
    }
}

extern "C" fn crashed(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    let first = begin();
    // SAFETY: layout: the kernel gives the handler both; x86-64 has the program counter in this register.
    let (address, at, stack_top) = unsafe {
        let registers = &(*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs;
        let at = registers[libc::REG_RIP as usize] as *const c_void;
        ((*info).si_addr(), at, registers[libc::REG_RSP as usize] as usize)
    };
    if !first {
        say!(
            "Crashed running signal handler. Providing reduced version of recursive crash report."
        );
        say!("Crashed running the instruction at: {at:p}");
        stack();
        end(signal);
    }
    say!("Backplane {} crashed by signal: {signal}", env!("CARGO_PKG_VERSION"));
    say!("Accessing address: {address:p}");
    say!("Crashed running the instruction at: {at:p}");
    if at.is_null() {
        // A call leaves the address behind it on the stack.
        missing_function(nil_call::read_word(stack_top).unwrap_or(0) as *const c_void);
    } else {
        owner_of("In", at, true);
        caller(at);
    }
    circumstances();
    stack();
    modules();
    end(signal)
}

/// An assertion of a module does not hold: reports it and ends the process.
pub fn assertion_failed(what: &str, file: &str, line: c_int) -> ! {
    let first = begin();
    say!("=== {}ASSERTION FAILED ===", if first { "" } else { "RECURSIVE " });
    say!("==> {file}:{line} '{what}' is not true");
    if first {
        caller(std::ptr::null());
        circumstances();
    }
    stack();
    if first {
        modules();
    }
    end(libc::SIGABRT)
}
