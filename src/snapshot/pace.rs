//! How the background threads of a snapshot share the processors with those that serve.
//!
//! **Problem.** Where there are as many busy threads as processors, a thread that copies for milliseconds makes requests
//! wait for the end of its turn, and one that is interrupted while it has a latch makes them wait for its next turn. One
//! that gives its turn back after each small step does not get on: each time all others go first, for a few
//! milliseconds each.
//!
//! **Rule.** Background threads ask for short turns ([`Pace::begin_thread`]): as much of the processors as any other thread,
//! in small pieces. And they give the processor back themselves, between two steps, where others have waited for a while.
use crate::observe::clock::mono_ns;

/// The turn that is asked for, in nanoseconds; the shortest that Linux grants. Who wakes up waits no longer than this.
const TURN_NS: u64 = 100_000;
/// The processor is given back after this time, whoever waits for it.
const BREATHE_NS: u64 = 250_000;

/// The clock of one background thread.
pub(super) struct Pace {
    since: u64,
}

impl Pace {
    pub fn new() -> Pace {
        Pace { since: mono_ns() }
    }

    /// Asks for short turns, for the calling thread. Systems that do not know such a wish go on as before.
    #[cfg(target_os = "linux")]
    pub fn begin_thread() {
        const SIZE: u32 = std::mem::size_of::<libc::sched_attr>() as u32;
        // SAFETY: layout: plain numbers, for which zero is a value.
        let mut attributes: libc::sched_attr = unsafe { std::mem::zeroed() };
        let at = &raw mut attributes;
        // SAFETY: layout: system calls on the calling thread; `at` is a structure of the size that is told.
        unsafe {
            if libc::syscall(libc::SYS_sched_getattr, 0, at, SIZE, 0) == 0 {
                (*at).sched_runtime = TURN_NS;
                libc::syscall(libc::SYS_sched_setattr, 0, at, 0);
            }
        }
    }

    #[cfg(not(target_os = "linux"))]
    pub fn begin_thread() {}

    /// Between two steps: whoever waits for this processor gets it now and then.
    pub fn breathe(&mut self) {
        if mono_ns() - self.since >= BREATHE_NS {
            std::thread::yield_now();
            self.since = mono_ns();
        }
    }
}
