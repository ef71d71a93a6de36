//! Statistics and logging.

pub mod log;
