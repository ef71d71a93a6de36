//! The ordered effect log.
use super::Effect;
use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// Something that reads the log: an AOF, the stream of a replica.
pub trait Reader: Send {
    /// Takes one transaction's effects, in order. Called under the log's lock: copy and return.
    fn take(&mut self, effects: &[Effect]);
}

/// The log: one order for all writes.
#[derive(Default)]
pub struct Log {
    active: AtomicBool,
    offset: AtomicU64,
    readers: Mutex<Vec<Box<dyn Reader>>>,
}

impl Log {
    /// Whether anybody reads; without readers, effects are not even built.
    #[inline]
    pub fn active(&self) -> bool {
        self.active.load(Relaxed)
    }

    /// Number of transactions appended so far.
    pub fn offset(&self) -> u64 {
        self.offset.load(Relaxed)
    }

    /// Adds a reader.
    pub fn attach(&self, reader: Box<dyn Reader>) {
        self.readers.lock().push(reader);
        self.active.store(true, Relaxed);
    }

    /// Appends the effects of one transaction. The caller has its latches or holds its keys.
    pub fn append(&self, effects: &[Effect]) {
        let mut readers = self.readers.lock();
        self.offset.fetch_add(1, Relaxed);
        for r in readers.iter_mut() {
            r.take(effects);
        }
    }
}
