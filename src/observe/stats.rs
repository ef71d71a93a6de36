//! Counters that many threads add to.
use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

const CELLS: usize = 16;

#[repr(align(64))]
#[derive(Default)]
struct Cell64(AtomicU64);

static NEXT: AtomicUsize = AtomicUsize::new(0);
thread_local! {
    static MINE: Cell<usize> = Cell::new(NEXT.fetch_add(1, Relaxed) % CELLS);
}

/// A counter with a cache line per thread, so that serving threads do not disturb each other.
#[derive(Default)]
pub struct Counter([Cell64; CELLS]);

impl Counter {
    /// Adds.
    #[inline]
    pub fn add(&self, n: u64) {
        self.0[MINE.with(Cell::get)].0.fetch_add(n, Relaxed);
    }

    /// The sum.
    pub fn get(&self) -> u64 {
        self.0.iter().map(|c| c.0.load(Relaxed)).sum()
    }

    /// Back to zero (`CONFIG RESETSTAT`).
    pub fn reset(&self) {
        for c in &self.0 {
            c.0.store(0, Relaxed);
        }
    }
}

/// The server's counters, named as `INFO` names them.
#[derive(Default)]
#[allow(missing_docs)]
pub struct Stats {
    pub connections_received: Counter,
    pub rejected_connections: Counter,
    pub commands_processed: Counter,
    pub keyspace_hits: Counter,
    pub keyspace_misses: Counter,
    pub expired_keys: Counter,
    pub evicted_keys: Counter,
    pub expired_fields: Counter,
    pub net_input_bytes: Counter,
    pub net_output_bytes: Counter,
    pub reads: Counter,
    pub writes: Counter,
    pub error_replies: Counter,
    pub forks: Counter,
    /// Commands that took the module path, by reason.
    pub module_path: [Counter; crate::dispatch::table::REASONS],
    /// Native commands that waited for a held key.
    pub parked: Counter,
    /// Hand-overs to the module thread, and commands in them.
    pub handovers: Counter,
}
