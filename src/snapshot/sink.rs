//! Where a cut's values go: batches in memory, made by whoever has a value at hand, and the file, which one thread at a
//! time writes.
use super::save::{self, Format, How};
use super::Writer;
use crate::keyspace::entry::Entry;
use crate::keyspace::shard::Keyspace;
use std::io;

/// Some values of one database. Their strings are not compressed yet: that is left to the thread that writes the file.
pub struct Batch {
    /// The database of the keys at the cut.
    pub db: u16,
    /// How many there are.
    pub keys: u64,
    out: Writer,
}

impl Batch {
    pub(super) fn new(db: u16, how: &How) -> Batch {
        Batch { db, keys: 0, out: Writer::to_memory_for_now(how.compress) }
    }

    /// Adds a key with its value.
    pub(super) fn add(&mut self, e: Entry, how: &How) {
        save::entry(&mut self.out, e, usize::from(self.db), how);
        self.keys += 1;
    }

    /// Bytes in memory.
    pub fn bytes(&self) -> usize {
        self.out.buffered()
    }

    /// Compresses what it has into `out`, and is empty afterwards. Returns the number of keys.
    pub(super) fn settle_into(&mut self, out: &mut Writer) -> u64 {
        self.out.settle_into(out);
        std::mem::take(&mut self.keys)
    }

    /// Why a module could not save a value.
    pub(super) fn failed(&self) -> bool {
        self.out.failed()
    }
}

/// The numbers of keys and of volatile keys in each database at the cut.
pub(super) type Sizes = Vec<(u64, u64)>;

/// Counts keys. The world is stopped.
pub(super) fn count(keyspace: &Keyspace) -> Sizes {
    keyspace.dbs().iter().map(|db| (db.len() as u64, db.volatile() as u64)).collect()
}

/// The file.
pub(super) struct Sink {
    out: Writer,
    how: How,
    db: Option<u16>,
    /// Taken when they have been written.
    sizes: Vec<Option<(u64, u64)>>,
}

impl Sink {
    pub fn new(out: Writer, how: How, sizes: Sizes) -> Sink {
        Sink { out, how, db: None, sizes: sizes.into_iter().map(Some).collect() }
    }

    /// The writer, for keys of this database.
    pub fn of_db(&mut self, db: u16) -> &mut Writer {
        if self.db != Some(db) {
            self.db = Some(db);
            save::select(&mut self.out, usize::from(db), &self.how);
            if let Some((keys, volatile)) = self.sizes[usize::from(db)].take() {
                save::sizes(&mut self.out, keys, volatile, &self.how);
            }
        }
        &mut self.out
    }

    /// The writer, for what does not belong to a database.
    pub fn plain(&mut self) -> &mut Writer {
        &mut self.out
    }

    /// Brings everything to the disk.
    pub fn finish(self) -> io::Result<()> {
        match self.how.format {
            Format::CommandsBase => self.out.finish_plain(),
            _ => self.out.finish_file(),
        }
    }
}
