//! The event loop of a serving thread over io_uring. Where the system has none for us, tokio's serves.
mod buffers;
pub mod engine;
mod place;
pub mod ring;
mod socket;

pub use socket::RingSocket;
