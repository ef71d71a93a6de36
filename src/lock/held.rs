//! The keys of one shard that the holder of the module lock holds.
use smallvec::SmallVec;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// What a command wants to do with a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// Look at it; any number of readers agree with each other.
    Read,
    /// Change, create or delete it.
    Write,
}

/// Passes a key hash through: it is well mixed already.
#[derive(Default)]
pub struct PassHash(u64);

impl Hasher for PassHash {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, _: &[u8]) {
        unreachable!("only 64-bit hashes are keys here")
    }
    fn write_u64(&mut self, n: u64) {
        self.0 = n;
    }
}

/// Past this many keys the linear list gives way to a hash map.
const FEW: usize = 8;
/// A map grown beyond this by one long query is given back when it is cleared.
const KEEP_CAPACITY: usize = 4096;

/// The held keys of a shard, by their 64-bit hash, existing or not. Protected by the shard's latch.
#[derive(Default)]
#[repr(C)]
pub struct HeldSet {
    /// Something is held. First, so that it shares its shard's first cache line.
    any: bool,
    /// `saving` says which key. Beside the above, so that most commands look at neither.
    is_saving: bool,
    whole: Option<Access>,
    few: SmallVec<[(u64, Access); 2]>,
    many: HashMap<u64, Access, BuildHasherDefault<PassHash>>,
    /// A key that a snapshot is reading without the latch, beside the holder of the module lock.
    saving: Option<u64>,
}

impl HeldSet {
    /// True when nothing is held: the usual case, and the only test on the path of a GET.
    #[inline]
    pub fn is_empty(&self) -> bool {
        !self.any
    }

    /// Holds a key; a read hold becomes a write hold when asked for. Returns true when this is the shard's first hold,
    /// so that the caller notes the shard for [`HeldSet::clear`].
    pub fn hold(&mut self, hash: u64, access: Access) -> bool {
        let first = !std::mem::replace(&mut self.any, true);
        if !self.many.is_empty() {
            let slot = self.many.entry(hash).or_insert(access);
            if access == Access::Write {
                *slot = Access::Write;
            }
            return first;
        }
        if let Some((_, a)) = self.few.iter_mut().find(|(h, _)| *h == hash) {
            if access == Access::Write {
                *a = Access::Write;
            }
            return first;
        }
        if self.few.len() == FEW {
            self.many.extend(self.few.iter().copied());
            self.many.insert(hash, access);
        } else {
            self.few.push((hash, access));
        }
        first
    }

    /// Holds the whole shard. Returns true when this is the shard's first hold.
    pub fn hold_whole(&mut self, access: Access) -> bool {
        let first = !std::mem::replace(&mut self.any, true);
        if self.whole != Some(Access::Write) {
            self.whole = Some(access);
        }
        first
    }

    /// Whether the whole shard is held for writing.
    pub fn whole_for_writing(&self) -> bool {
        self.whole == Some(Access::Write)
    }

    /// A snapshot begins or ends to read this key without the latch. Ending is [`HeldSet::saved`].
    pub fn save(&mut self, hash: u64) {
        debug_assert!(self.saving.is_none());
        self.saving = Some(hash);
        self.is_saving = true;
    }

    /// The end of [`HeldSet::save`].
    pub fn saved(&mut self) {
        self.saving = None;
        self.is_saving = false;
    }

    /// The key that a snapshot is reading.
    #[inline]
    pub fn saving(&self) -> Option<u64> {
        self.saving
    }

    /// True when a native command that wants `access` to the key must wait for the holder of the module lock, or for a
    /// snapshot.
    #[inline]
    pub fn conflicts(&self, hash: u64, access: Access) -> bool {
        (self.any || self.is_saving) && self.conflicts_with_some(hash, access)
    }

    fn conflicts_with_some(&self, hash: u64, access: Access) -> bool {
        if self.saving.is_some_and(|h| h == hash) && access == Access::Write {
            return true;
        }
        if self.is_empty() {
            return false;
        }
        let clash = |held: Access| access == Access::Write || held == Access::Write;
        if self.whole.is_some_and(clash) {
            return true;
        }
        if !self.many.is_empty() {
            return self.many.get(&hash).copied().is_some_and(clash);
        }
        self.few.iter().any(|&(h, held)| h == hash && clash(held))
    }

    /// Releases all keys of the shard.
    pub fn clear(&mut self) {
        self.any = false;
        self.whole = None;
        self.few.clear();
        if !self.many.is_empty() {
            if self.many.capacity() > KEEP_CAPACITY {
                self.many = HashMap::default();
            } else {
                self.many.clear();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_agree_writers_do_not() {
        let mut h = HeldSet::default();
        assert!(h.is_empty());
        assert!(h.hold(1, Access::Read));
        assert!(!h.hold(2, Access::Write));
        assert!(!h.conflicts(1, Access::Read));
        assert!(h.conflicts(1, Access::Write));
        assert!(h.conflicts(2, Access::Read));
        assert!(!h.conflicts(3, Access::Write));
        assert!(!h.hold(1, Access::Write));
        assert!(h.conflicts(1, Access::Read));
        h.clear();
        assert!(h.is_empty() && !h.conflicts(2, Access::Write));
    }

    #[test]
    fn many_keys_and_the_whole_shard() {
        let mut h = HeldSet::default();
        for i in 0..100 {
            h.hold(i, if i % 2 == 0 { Access::Read } else { Access::Write });
        }
        for i in 0..100 {
            assert_eq!(h.conflicts(i, Access::Read), i % 2 == 1);
            assert!(h.conflicts(i, Access::Write));
        }
        assert!(!h.conflicts(1000, Access::Write));
        h.hold_whole(Access::Read);
        assert!(h.conflicts(1000, Access::Write) && !h.conflicts(1000, Access::Read));
        h.hold_whole(Access::Write);
        h.hold_whole(Access::Read);
        assert!(h.conflicts(1000, Access::Read));
        h.clear();
        assert!(h.is_empty() && !h.conflicts(1, Access::Write));
    }
}
