//! How far a cut is in one shard: the protocol by which each value is written exactly once, as it was at the cut.
//!
//! Every entry has a *mark*, one bit. Outside of a snapshot all entries of a shard have the shard's mark. The cut turns
//! the shard's mark over while nobody has the latch; from then on an entry with another mark than its shard is *due*: it
//! existed at the cut, is unchanged since, and was not written yet. Whoever writes it gives it the shard's mark, under the
//! latch. Entries that are added get the shard's mark at once, so they are never due. When none is due any more, the
//! shard is as it was before the cut, with the other mark: nothing has to be reset.
//!
//! Two parts of a shard are walked on their own, since only the holder of the module lock can write the values of
//! modules. When databases are swapped, the state moves with the entries; so it remembers the database that they were
//! in at the cut.
//!
//! Driven by shuttle in `tests/cut_model.rs`.

/// The state of one shard. Protected by the shard's latch. `C` is the cut that is running.
pub struct Walk<C> {
    cut: Option<C>,
    mark: bool,
    natives: bool,
    modules: bool,
    /// The database of the entries at the cut.
    pub origin: u16,
    /// Where the walk over native values stands in the table.
    pub cursor: u64,
    /// Where the walk over the values of modules stands.
    pub module_cursor: u64,
}

impl<C> Default for Walk<C> {
    fn default() -> Walk<C> {
        Walk {
            cut: None,
            mark: false,
            natives: false,
            modules: false,
            origin: 0,
            cursor: 0,
            module_cursor: 0,
        }
    }
}

impl<C> Walk<C> {
    /// The cut: from now on all entries are due. `natives` and `modules` tell whether there are such values.
    pub fn begin(&mut self, cut: C, origin: u16, natives: bool, modules: bool) {
        debug_assert!(self.cut.is_none());
        self.mark = !self.mark;
        (self.natives, self.modules, self.origin) = (natives, modules, origin);
        (self.cursor, self.module_cursor) = (0, 0);
        self.cut = (natives || modules).then_some(cut);
    }

    /// The running cut, as long as entries may be due: the only test on the path of a write.
    #[inline]
    pub fn cut(&self) -> Option<&C> {
        self.cut.as_ref()
    }

    /// Whether an entry with this mark is due.
    #[inline]
    pub fn is_due(&self, mark: bool) -> bool {
        self.cut.is_some() && mark != self.mark
    }

    /// The mark of entries that are written, or newer than the cut.
    #[inline]
    pub fn mark(&self) -> bool {
        self.mark
    }

    /// Whether native values may be due.
    pub fn natives_left(&self) -> bool {
        self.natives
    }

    /// Whether values of modules may be due.
    pub fn modules_left(&self) -> bool {
        self.modules
    }

    /// No native value is due any more.
    pub fn natives_done(&mut self) {
        self.natives = false;
        self.end_if_done();
    }

    /// No value of a module is due any more.
    pub fn modules_done(&mut self) {
        self.modules = false;
        self.end_if_done();
    }

    fn end_if_done(&mut self) {
        if !self.natives && !self.modules {
            self.cut = None;
        }
    }
}
