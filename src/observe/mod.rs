//! What the server tells about itself: log, counters, clock, randomness.
pub mod clock;
#[cfg(feature = "jemalloc")]
pub mod heap;
pub mod histogram;
pub mod log;
pub mod process;
pub mod random;
pub mod stats;
