//! How a native command gets its shards: take all or drop all.
use super::held::Access;

/// A key of a native command: where it lives and what the command wants with it.
#[derive(Clone, Copy, Debug)]
pub struct PlannedKey {
    /// Index of the shard over all databases.
    pub shard: u32,
    /// The key's 64-bit hash.
    pub hash: u64,
    /// Read or write.
    pub access: Access,
}

/// What [`acquire`] needs of the shards. The server implements it over real latches, the model test over shuttle's.
pub trait Latches {
    /// Takes the shard's latch if it is free.
    fn try_latch(&self, shard: u32) -> bool;
    /// Takes the shard's latch, waiting for it. Called only while the caller has no latch.
    fn latch(&self, shard: u32);
    /// Releases the shard's latch.
    fn unlatch(&self, shard: u32);
    /// Whether the holder of the module lock holds the key in a conflicting way. The caller has the latch.
    fn conflicts(&self, key: &PlannedKey) -> bool;
}

/// Takes the latches of all `shards` (sorted, without duplicates) and checks that none of `keys` is held.
///
/// On success the caller has all latches. On a held key it has the latch of that key's shard only, whose index is
/// returned, so that it can leave a waiter there before it unlatches: the holder clears holds under the same latch, so
/// no wake-up is lost.
#[inline]
pub fn acquire<L: Latches>(latches: &L, shards: &[u32], keys: &[PlannedKey]) -> Result<(), u32> {
    // Nearly all commands have one key, in a shard that is free.
    match (shards, keys) {
        ([shard], [key]) if latches.try_latch(*shard) => {
            if latches.conflicts(key) {
                return Err(*shard);
            }
            Ok(())
        }
        _ => acquire_all(latches, shards, keys),
    }
}

fn acquire_all<L: Latches>(latches: &L, shards: &[u32], keys: &[PlannedKey]) -> Result<(), u32> {
    debug_assert!(shards.windows(2).all(|w| w[0] < w[1]));
    let mut waited_for: Option<u32> = None;
    'again: loop {
        if let Some(busy) = waited_for {
            latches.latch(busy);
        }
        for (i, &shard) in shards.iter().enumerate() {
            if waited_for == Some(shard) || latches.try_latch(shard) {
                continue;
            }
            for &taken in &shards[..i] {
                if waited_for != Some(taken) {
                    latches.unlatch(taken);
                }
            }
            if let Some(busy) = waited_for {
                latches.unlatch(busy);
            }
            waited_for = Some(shard);
            continue 'again;
        }
        break;
    }
    let Some(held) = keys.iter().find(|k| latches.conflicts(k)) else { return Ok(()) };
    for &shard in shards {
        if shard != held.shard {
            latches.unlatch(shard);
        }
    }
    Err(held.shard)
}
