//! Time.
/// Reads a clock, without the checks and sums of `std::time`: it is read several times for a command.
#[inline]
fn read(clock: libc::clockid_t) -> libc::timespec {
    let mut t = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: layout: `t` is a valid timespec.
    unsafe { libc::clock_gettime(clock, &mut t) };
    t
}

/// Unix time in milliseconds.
pub fn now_ms() -> i64 {
    now_us() / 1000
}

/// Unix time in microseconds.
pub fn now_us() -> i64 {
    let t = read(libc::CLOCK_REALTIME);
    t.tv_sec * 1_000_000 + t.tv_nsec / 1000
}

/// A clock that never goes back, in nanoseconds from an arbitrary point.
#[inline]
pub fn mono_ns() -> u64 {
    let t = read(libc::CLOCK_MONOTONIC);
    t.tv_sec as u64 * 1_000_000_000 + t.tv_nsec as u64
}
