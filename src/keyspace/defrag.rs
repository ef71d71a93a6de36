//! What can be moved to a better place: an entry, and the blocks that its value begins with.
//!
//! A block is worth moving when the slab that it lies in is emptier than the slabs of its size are on the whole: the
//! allocator then fills another one, and this one can be given back. What lies deeper inside of native collections (nodes,
//! packed elements) stays where it is.
use super::entry::Entry;
use super::shard::ShardData;
use super::table::TableItem;

/// What became of the blocks that were looked at.
#[derive(Default, Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moves {
    /// Blocks moved.
    pub hits: u64,
    /// Blocks that stay.
    pub misses: u64,
    /// Keys of which something was moved.
    pub key_hits: u64,
    /// Other keys.
    pub key_misses: u64,
}

impl Moves {
    /// Counts one block.
    pub fn count(&mut self, moved: bool) {
        if moved {
            self.hits += 1;
        } else {
            self.misses += 1;
        }
    }

    fn count_key(&mut self, hits_before: u64) {
        if self.hits != hits_before {
            self.key_hits += 1;
        } else {
            self.key_misses += 1;
        }
    }
}

/// A better place for a block of the server's heap; `None`: it stays.
///
/// # Safety
/// `p` is a live block of the heap that nobody else points to; if it is moved, the old place is free.
pub unsafe fn relocate<T>(p: *mut T) -> Option<*mut T> {
    // SAFETY: layout: this function's contract.
    #[cfg(feature = "jemalloc")]
    return unsafe { crate::observe::heap::relocate(p.cast()).map(<*mut _>::cast) };
    #[cfg(not(feature = "jemalloc"))]
    {
        let _ = p;
        None
    }
}

/// Moves what is worth it of the entries of a shard that nobody holds. Returns the keys with values of modules. The
/// caller has the latch and the module lock.
pub fn shard(data: &mut ShardData, moves: &mut Moves) -> Vec<Vec<u8>> {
    let mut of_modules = Vec::new();
    let entries: Vec<Entry> = data.table.iter().collect();
    for e in entries {
        let hits = moves.hits;
        if e.kind() == super::value::Kind::Module {
            of_modules.push(e.key().to_vec());
        }
        let mut now = e;
        // SAFETY: lock: the caller has the latch, and nobody holds the key: the table's is the only pointer.
        if let Some(new) = unsafe { now.relocate(moves) } {
            let hash = new.table_hash();
            data.table.replace(hash, |at| *at == e, new);
        }
        moves.count_key(hits);
    }
    of_modules
}
