//! What the operating system tells about the process.
use std::mem::MaybeUninit;

/// CPU times in microseconds: of the system for us, of our own code.
#[derive(Clone, Copy, Debug, Default)]
pub struct CpuTimes {
    /// In the kernel.
    pub sys: u64,
    /// In user code.
    pub user: u64,
}

/// Whose CPU times.
#[derive(Clone, Copy, Debug)]
pub enum Whose {
    /// All threads of the process.
    Process,
    /// Children that have ended.
    Children,
    /// The calling thread.
    Thread,
}

/// CPU times since the start.
pub fn cpu_times(whose: Whose) -> CpuTimes {
    let who = match whose {
        Whose::Process => libc::RUSAGE_SELF,
        Whose::Children => libc::RUSAGE_CHILDREN,
        Whose::Thread => libc::RUSAGE_THREAD,
    };
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: layout: `usage` has the size that the call fills; zero bytes are a valid value if it fails.
    let usage = unsafe {
        libc::getrusage(who, usage.as_mut_ptr());
        usage.assume_init()
    };
    let us = |t: libc::timeval| t.tv_sec as u64 * 1_000_000 + t.tv_usec as u64;
    CpuTimes { sys: us(usage.ru_stime), user: us(usage.ru_utime) }
}

fn page_size() -> u64 {
    // SAFETY: layout: a plain query.
    unsafe { libc::sysconf(libc::_SC_PAGESIZE) as u64 }
}

/// Memory of the machine in bytes.
pub fn system_memory() -> u64 {
    // SAFETY: layout: a plain query.
    unsafe { libc::sysconf(libc::_SC_PHYS_PAGES) as u64 * page_size() }
}

/// Resident memory of the process in bytes; 0 if the kernel does not tell.
pub fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = text.split_ascii_whitespace().nth(1).and_then(|n| n.parse::<u64>().ok());
    pages.unwrap_or(0) * page_size()
}

/// Name, release and machine, as `uname` has them.
pub fn system_name() -> String {
    let mut name = MaybeUninit::<libc::utsname>::zeroed();
    // SAFETY: layout: `name` has the size that the call fills; zero bytes are a valid value if it fails.
    let name = unsafe {
        libc::uname(name.as_mut_ptr());
        name.assume_init()
    };
    let text = |field: &[libc::c_char]| -> String {
        field.iter().take_while(|c| **c != 0).map(|c| *c as u8 as char).collect()
    };
    format!("{} {} {}", text(&name.sysname), text(&name.release), text(&name.machine))
}

/// Ends the process as a bad memory access does (`DEBUG SEGFAULT`).
pub fn segfault() {
    // SAFETY: layout: a signal to ourselves; its default action, or the crash report's handler, ends the process.
    unsafe { libc::raise(libc::SIGSEGV) };
}
