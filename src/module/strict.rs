//! `module-strict yes`: the lock classes of API functions are checked at every call, and what a command leaves behind is
//! told. Breaches are logged, each once, with the function, the module and the thread; nothing else changes, so that a
//! module can be watched under its real load.
use super::api::LockClass;
use super::registry::Module;
use crate::server::Server;
use parking_lot::Mutex;
use std::cell::Cell;
use std::collections::BTreeSet;
use std::ffi::{c_int, c_void, CStr};
use std::sync::atomic::{AtomicU64, AtomicU8, Ordering::Relaxed};

/// Bits of what is done at each call.
static WATCHING: AtomicU8 = AtomicU8::new(0);
const CHECK: u8 = 1;
const YIELD: u8 = 2;
/// `module-yield`: one of so many calls gives the processor away; 0 for none.
static YIELD_ONE_OF: AtomicU64 = AtomicU64::new(0);
/// Breaches and leaks seen, those that were not logged again included.
static SEEN: AtomicU64 = AtomicU64::new(0);
static TOLD: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// Things of the calling thread that are alive.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Live {
    /// Open key handles.
    pub keys: i64,
    /// Replies of `Call`.
    pub replies: i64,
    /// Strings.
    pub strings: i64,
}

thread_local! {
    static DICE: Cell<u64> = const { Cell::new(0) };
    static LIVE: Cell<Live> = const { Cell::new(Live { keys: 0, replies: 0, strings: 0 }) };
}

/// Whether calls are checked.
#[inline]
pub fn on() -> bool {
    WATCHING.load(Relaxed) & CHECK != 0
}

/// Whether anything is to be done at calls.
#[inline]
pub fn watching() -> bool {
    WATCHING.load(Relaxed) != 0
}

/// Takes the directives on, when the server starts: whether to check, and how often calls give the processor away.
pub fn start(check: bool, yield_one_of: u64) {
    YIELD_ONE_OF.store(yield_one_of, Relaxed);
    let yields = if yield_one_of > 0 { YIELD } else { 0 };
    WATCHING.store(if check { CHECK } else { 0 } | yields, Relaxed);
}

/// What is done at a call when something is.
#[cold]
pub fn at_call(function: &'static str, class: LockClass) {
    let what = WATCHING.load(Relaxed);
    if what & CHECK != 0 {
        check(function, class);
    }
    if what & YIELD != 0 {
        maybe_yield();
    }
}

/// Gives the processor away at some calls, by chance, for a moment or for up to 200 microseconds: other threads run where
/// they otherwise hardly would.
fn maybe_yield() {
    let mut dice = DICE.get();
    if dice == 0 {
        dice = u64::from(crate::lock::owner::thread_id()).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    }
    dice ^= dice << 13;
    dice ^= dice >> 7;
    dice ^= dice << 17;
    DICE.set(dice);
    let one_of = YIELD_ONE_OF.load(Relaxed).max(1);
    if (dice >> 32) % one_of == 0 {
        match dice % 4 {
            0 => std::thread::sleep(std::time::Duration::from_micros(dice % 200)),
            _ => std::thread::yield_now(),
        }
    }
}

/// Breaches and leaks seen.
pub fn count() -> u64 {
    SEEN.load(Relaxed)
}

/// Counts a thing of this thread that was made or freed.
#[inline]
pub fn note(change: impl FnOnce(&mut Live)) {
    if on() {
        let mut live = LIVE.get();
        change(&mut live);
        LIVE.set(live);
    }
}

/// What of this thread is alive.
pub fn live() -> Live {
    LIVE.get()
}

fn tell(what: String) {
    SEEN.fetch_add(1, Relaxed);
    if TOLD.lock().insert(what.clone()) {
        crate::log_warning!("{what}");
    }
}

/// The name of the module whose code is on this thread's stack, the innermost.
pub fn caller() -> Option<String> {
    calling_module().map(|m| m.name().to_string())
}

/// The module whose code is on this thread's stack, the innermost; one that is being loaded too.
pub fn calling_module() -> Option<&'static Module> {
    let mut frames = [std::ptr::null_mut::<c_void>(); 24];
    // SAFETY: layout: room for the number of frames that is told.
    let n = unsafe { libc::backtrace(frames.as_mut_ptr(), frames.len() as c_int) };
    let server = Server::get();
    let mut modules = server.modules.list();
    if server.module_lock.is_mine() {
        // SAFETY: lock: this thread has the module lock.
        modules.extend(unsafe { server.holder() }.running.map(|(m, _)| m));
    }
    frames[..n.max(0) as usize].iter().find_map(|frame| {
        // SAFETY: layout: a zeroed struct, filled for an address of this process.
        let file = unsafe {
            let mut info: libc::Dl_info = std::mem::zeroed();
            if libc::dladdr(*frame, &mut info) == 0 || info.dli_fname.is_null() {
                return None;
            }
            CStr::from_ptr(info.dli_fname).to_string_lossy().into_owned()
        };
        modules.iter().copied().find(|m| m.path == file)
    })
}

fn thread_name() -> String {
    let mut name = [0u8; 16];
    // SAFETY: layout: the kernel writes at most 16 bytes, a NUL among them.
    unsafe { libc::prctl(libc::PR_GET_NAME, name.as_mut_ptr()) };
    let end = name.iter().position(|b| *b == 0).unwrap_or(name.len());
    format!("{} ({})", String::from_utf8_lossy(&name[..end]), crate::lock::owner::thread_id())
}

/// Checks a call of an API function against its lock class.
#[cold]
pub fn check(function: &'static str, class: LockClass) {
    if matches!(class, LockClass::Free | LockClass::Reply) || crate::observe::log::in_child() {
        // Replies are checked where their context is known.
        return;
    }
    let server = Server::get();
    let missing = if !server.module_lock.is_mine() {
        "without the module lock"
    } else if class == LockClass::Main
        && !server.starting.load(Relaxed)
        && !super::thread::is_current(server)
    {
        "outside of the module thread"
    } else {
        return;
    };
    breach(function, missing);
}

/// A reply is written by a thread that neither has the module lock nor a blocked client's context.
#[cold]
pub fn check_reply(has_blocked_client: bool) {
    if !has_blocked_client
        && !Server::get().module_lock.is_mine()
        && !crate::observe::log::in_child()
    {
        let function = super::api::trail().first().copied().unwrap_or("a reply function");
        breach(function, "without the module lock, on a context of no blocked client");
    }
}

fn breach(function: &str, missing: &str) {
    let module = caller().unwrap_or_else(|| "?".into());
    tell(format!(
        "Module API misuse: {function} was called by module '{module}' on thread {} {missing}",
        thread_name()
    ));
}

/// Tells what a command left behind. Strings may have been kept on purpose; handles and replies hardly.
#[cold]
pub fn left_behind(module: &str, command: &str, before: Live) {
    let now = live();
    let (keys, replies) = (now.keys - before.keys, now.replies - before.replies);
    if keys > 0 || replies > 0 {
        let strings = (now.strings - before.strings).max(0);
        tell(format!(
            "Module API misuse: command '{command}' of module '{module}' left behind: {keys} open keys, {replies} call \
             replies, {strings} strings",
        ));
    }
}
