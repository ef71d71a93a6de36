//! Snapshots: RDB files, saving and loading.
use std::sync::atomic::{AtomicBool, AtomicI64};

/// State of saving and loading, for `INFO persistence`.
#[derive(Default)]
pub struct Persistence {
    /// Last successful save, Unix seconds.
    pub last_save: AtomicI64,
    /// Whether the last background save failed.
    pub last_bgsave_failed: AtomicBool,
    /// A background save runs.
    pub saving: AtomicBool,
}
