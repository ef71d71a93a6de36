//! What the server tells about itself: log, counters, clock, randomness.
pub mod clock;
pub mod log;
pub mod random;
pub mod stats;
