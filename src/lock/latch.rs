//! The latch of one shard: one byte, sleeps when contended, never spins for long.
use parking_lot::lock_api::{RawMutex as _, RawMutexTimed as _};
use parking_lot::RawMutex;
use std::time::Duration;

/// A short lock without data of its own. What it protects says so beside its field.
pub struct Latch(RawMutex);

impl Default for Latch {
    fn default() -> Self {
        Latch(RawMutex::INIT)
    }
}

impl Latch {
    /// Takes the latch if it is free.
    #[inline]
    pub fn try_lock(&self) -> bool {
        self.0.try_lock()
    }

    /// Takes the latch, sleeping until it is free.
    #[inline]
    pub fn lock(&self) {
        self.0.lock()
    }

    /// As [`Latch::lock`], for so long at most. Who waits in line here is handed a latch that others take again and
    /// again, after half a millisecond on average: its release passes it on directly then.
    #[cold]
    pub fn try_lock_for(&self, most: Duration) -> bool {
        self.0.try_lock_for(most)
    }

    /// Releases the latch.
    ///
    /// # Safety
    /// The caller has the latch.
    #[inline]
    pub unsafe fn unlock(&self) {
        // SAFETY: lock: the caller has the latch (this function's contract).
        unsafe { self.0.unlock() }
    }
}
