//! Sorted sets: one small listpack, or a member table beside an ordered tree.
mod full;
mod member;
mod packed;
mod range;
#[cfg(test)]
mod tests;
mod tree;

use std::ops::Range;

use self::full::Full;
pub use self::range::{LexBound, LexRange, ScoreRange};
use super::block::Word;
use super::listpack::{CorruptListpack, Listpack, LpItem};
use super::number::NumBuf;
use super::table::FetchAhead;

/// `zset-max-listpack-entries` and `zset-max-listpack-value`: up to where a sorted set is one listpack.
#[derive(Clone, Copy, Debug)]
pub struct ZsetLimits {
    /// Greatest number of members.
    pub max_listpack_entries: usize,
    /// Greatest length of a member.
    pub max_listpack_value: usize,
}

impl Default for ZsetLimits {
    fn default() -> ZsetLimits {
        ZsetLimits { max_listpack_entries: 128, max_listpack_value: 64 }
    }
}

/// What [`SortedSet::insert`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inserted {
    /// The member is new.
    Added,
    /// The member was there with another score.
    Updated,
    /// The member was there with this score.
    Unchanged,
}

/// A sorted set value. Scores are never NaN: callers refuse it before they come here.
///
/// Ranks count from 0 at the lowest score; all ranges are half-open ranges of ranks, which `range_by_score` and
/// `range_by_lex` find.
#[derive(Clone)]
#[repr(transparent)]
pub struct SortedSet {
    repr: Repr,
}

/// The word of a sorted set.
#[repr(transparent)]
struct Repr(Word);

const PACKED: usize = 0;
const FULL: usize = 1;

/// What the word is.
enum View<L, F> {
    Packed(L),
    Full(F),
}

impl Repr {
    fn packed(lp: Listpack) -> Repr {
        Repr(Word::of_block(lp, PACKED))
    }

    fn full(full: Full) -> Repr {
        Repr(Word::of_box(Box::new(full), FULL))
    }

    #[inline]
    fn view(&self) -> View<&Listpack, &Full> {
        // SAFETY: layout: the mark tells which function above made the word.
        unsafe {
            match self.0.mark() {
                PACKED => View::Packed(self.0.block()),
                _ => View::Full(self.0.boxed()),
            }
        }
    }

    #[inline]
    fn view_mut(&mut self) -> View<&mut Listpack, &mut Full> {
        // SAFETY: layout: as above; the listpack is changed in place only.
        unsafe {
            match self.0.mark() {
                PACKED => View::Packed(self.0.block_mut()),
                _ => View::Full(self.0.boxed_mut()),
            }
        }
    }
}

impl Clone for Repr {
    fn clone(&self) -> Repr {
        match self.view() {
            View::Packed(lp) => Repr::packed(lp.clone()),
            View::Full(full) => Repr::full(full.clone()),
        }
    }
}

impl Drop for Repr {
    fn drop(&mut self) {
        // SAFETY: layout: the mark tells what the word was made of; it is not used again.
        unsafe {
            match self.0.mark() {
                PACKED => self.0.drop_block::<Listpack>(),
                _ => self.0.drop_box::<Full>(),
            }
        }
    }
}

impl Default for SortedSet {
    fn default() -> SortedSet {
        SortedSet::new()
    }
}

impl SortedSet {
    /// The table of its members, if they are in one.
    #[inline]
    pub fn ahead(&self) -> Option<&dyn FetchAhead> {
        match self.repr.view() {
            View::Full(full) => Some(full.table()),
            _ => None,
        }
    }

    /// An empty sorted set, in a listpack.
    pub fn new() -> SortedSet {
        SortedSet { repr: Repr::packed(Listpack::new()) }
    }

    /// An empty sorted set for about `size` members as long as `value_len`: a listpack if that is within the limits
    /// (the first `ZADD` to a key).
    pub fn for_size(size: usize, value_len: usize, limits: &ZsetLimits) -> SortedSet {
        if size <= limits.max_listpack_entries && value_len <= limits.max_listpack_value {
            SortedSet::new()
        } else {
            SortedSet { repr: Repr::full(Full::with_capacity(size)) }
        }
    }

    /// Takes over a listpack of members and scores after checking numbers, order and that no member is there twice.
    pub fn from_listpack(lp: Listpack) -> Result<SortedSet, CorruptListpack> {
        if !packed::is_valid(&lp) {
            return Err(CorruptListpack);
        }
        Ok(SortedSet { repr: Repr::packed(lp) })
    }

    /// The listpack, if the set is one.
    pub fn as_listpack(&self) -> Option<&Listpack> {
        match self.repr.view() {
            View::Packed(lp) => Some(lp),
            View::Full(_) => None,
        }
    }

    /// Chooses the encoding of a set that was just built (loading, `ZUNIONSTORE` and its like).
    pub fn settle(&mut self, limits: &ZsetLimits) {
        match self.repr.view() {
            View::Packed(lp) => {
                if packed::len(lp) > limits.max_listpack_entries {
                    self.unpack();
                }
            }
            View::Full(full) => {
                let fits = full.len() <= limits.max_listpack_entries
                    && full
                        .iter_from(0, false)
                        .all(|i| i.member.bytes().len() <= limits.max_listpack_value)
                    && Listpack::new().would_fit(full.text_bytes());
                if fits {
                    let mut lp = Listpack::new();
                    for (member, score) in self.iter() {
                        lp.push_back(member);
                        packed::push_score(&mut lp, score);
                    }
                    self.repr = Repr::packed(lp);
                }
            }
        }
    }

    /// Before a command adds `count` members to a set that exists: leaves the listpack at once if they are too many for
    /// one (`ZADD`).
    pub fn prepare(&mut self, count: usize, limits: &ZsetLimits) {
        if count > limits.max_listpack_entries {
            self.unpack();
        }
    }

    fn unpack(&mut self) -> &mut Full {
        if let View::Packed(lp) = self.repr.view() {
            let mut full = Full::with_capacity(packed::len(lp) + 1);
            let mut buf = NumBuf::new();
            for (member, score) in self.iter() {
                full.add(member.bytes(&mut buf), score);
            }
            self.repr = Repr::full(full);
        }
        match self.repr.view_mut() {
            View::Full(full) => full,
            View::Packed(_) => unreachable!("converted above"),
        }
    }

    /// Number of members.
    pub fn len(&self) -> usize {
        match self.repr.view() {
            View::Packed(lp) => packed::len(lp),
            View::Full(full) => full.len(),
        }
    }

    /// True without members.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What `OBJECT ENCODING` says: `listpack` or `skiplist`.
    pub fn encoding(&self) -> &'static str {
        match self.repr.view() {
            View::Packed(_) => "listpack",
            View::Full(_) => "skiplist",
        }
    }

    /// Estimated bytes on the heap and of the value itself.
    pub fn mem_bytes(&self) -> usize {
        let inside = match self.repr.view() {
            View::Packed(lp) => lp.mem_bytes(),
            View::Full(full) => full.mem_bytes(),
        };
        inside
    }

    /// The score of a member (`ZSCORE`).
    pub fn score(&self, member: &[u8]) -> Option<f64> {
        match self.repr.view() {
            View::Packed(lp) => packed::find(lp, member).map(|(_, score)| score),
            View::Full(full) => full.score(member),
        }
    }

    /// Whether the member is there.
    pub fn contains(&self, member: &[u8]) -> bool {
        self.score(member).is_some()
    }

    /// Adds a member or changes its score (`ZADD`).
    pub fn insert(&mut self, member: &[u8], score: f64, limits: &ZsetLimits) -> Inserted {
        debug_assert!(!score.is_nan());
        let lp = match self.repr.view_mut() {
            View::Full(full) => return full.insert(member, score),
            View::Packed(lp) => lp,
        };
        if let Some((pos, old)) = packed::find(lp, member) {
            if old == score {
                return Inserted::Unchanged;
            }
            lp.remove_at(pos, 2);
            packed::insert(lp, member, score);
            return Inserted::Updated;
        }
        if packed::len(lp) + 1 > limits.max_listpack_entries
            || member.len() > limits.max_listpack_value
            || !lp.would_fit(member.len())
        {
            self.unpack().add(member, score);
        } else {
            packed::insert(lp, member, score);
        }
        Inserted::Added
    }

    /// Removes a member; its score (`ZREM`).
    pub fn remove(&mut self, member: &[u8]) -> Option<f64> {
        match self.repr.view_mut() {
            View::Packed(lp) => {
                let (pos, score) = packed::find(lp, member)?;
                lp.remove_at(pos, 2);
                Some(score)
            }
            View::Full(full) => full.remove(member),
        }
    }

    /// The rank of a member, counted from the highest score if `reverse` (`ZRANK`, `ZREVRANK`).
    pub fn rank(&self, member: &[u8], reverse: bool) -> Option<usize> {
        let rank = match self.repr.view() {
            View::Packed(lp) => {
                let mut buf = NumBuf::new();
                packed::pairs(lp).position(|(item, _)| item.bytes(&mut buf) == member)?
            }
            View::Full(full) => full.rank_of(full.score(member)?, member),
        };
        Some(if reverse { self.len() - 1 - rank } else { rank })
    }

    /// The member and score at a rank.
    pub fn by_rank(&self, rank: usize) -> Option<(LpItem<'_>, f64)> {
        match self.repr.view() {
            View::Packed(lp) => packed::at(lp, rank),
            View::Full(full) => full.at(rank),
        }
    }

    /// All members in order.
    pub fn iter(&self) -> Iter<'_> {
        self.iter_from(0, false)
    }

    /// Members from a rank on, towards higher or (`back`) towards lower ranks; the one at `rank` comes first.
    /// For a range of ranks `r`: `iter_from(r.start, false)` or `iter_from(r.end - 1, true)`, and `take(r.len())`.
    pub fn iter_from(&self, rank: usize, back: bool) -> Iter<'_> {
        Iter(match self.repr.view() {
            View::Packed(lp) => Walk::Packed(packed::Walk::new(lp, rank, back)),
            View::Full(full) => Walk::Full(full.iter_from(rank, back)),
        })
    }

    /// The members with the ranks `range`, ascending or (`back`) descending.
    pub fn iter_range(&self, range: Range<usize>, back: bool) -> std::iter::Take<Iter<'_>> {
        let from = if back { range.end.saturating_sub(1) } else { range.start };
        self.iter_from(from, back).take(range.len())
    }

    /// Number of leading members for which `before` holds; it has to hold for a prefix of the order.
    fn partition_point(&self, before: impl Fn(&[u8], f64) -> bool) -> usize {
        match self.repr.view() {
            View::Packed(lp) => {
                let mut buf = NumBuf::new();
                packed::pairs(lp)
                    .take_while(|(item, score)| before(item.bytes(&mut buf), *score))
                    .count()
            }
            View::Full(full) => full.partition_point(before),
        }
    }

    /// The ranks whose scores lie in a range (`ZCOUNT` is its length).
    pub fn range_by_score(&self, range: &ScoreRange) -> Range<usize> {
        let start = self.partition_point(|_, score| !range.reached(score));
        let end = self.partition_point(|_, score| range.not_passed(score));
        start..end.max(start)
    }

    /// The ranks whose members lie in a range (`ZLEXCOUNT` is its length).
    pub fn range_by_lex(&self, range: &LexRange<'_>) -> Range<usize> {
        let start = self.partition_point(|member, _| !range.reached(member));
        let end = self.partition_point(|member, _| range.not_passed(member));
        start..end.max(start)
    }

    /// The rank of the lowest (`last`: highest) member in a range of scores.
    pub fn edge_by_score(&self, range: &ScoreRange, last: bool) -> Option<usize> {
        edge(self.range_by_score(range), last)
    }

    /// The rank of the lowest (`last`: highest) member in a range of members.
    pub fn edge_by_lex(&self, range: &LexRange<'_>, last: bool) -> Option<usize> {
        edge(self.range_by_lex(range), last)
    }

    /// The number of members before the place of `(score, member)`; with `past`, the member at that place counts too.
    pub fn rank_of_place(&self, score: f64, member: &[u8], past: bool) -> usize {
        self.partition_point(|m, s| {
            s < score || (s == score && (m < member || (past && m == member)))
        })
    }

    /// Removes the members with these ranks, each handed to `removed` in order (`ZREMRANGEBYRANK`; with the ranges
    /// above also by score and by lex). Returns how many.
    pub fn remove_range(
        &mut self,
        ranks: Range<usize>,
        mut removed: impl FnMut(&[u8], f64),
    ) -> usize {
        let ranks = ranks.start..ranks.end.min(self.len());
        if ranks.is_empty() {
            return 0;
        }
        match self.repr.view_mut() {
            View::Packed(lp) => {
                let mut buf = NumBuf::new();
                for (item, score) in packed::Walk::new(lp, ranks.start, false).take(ranks.len()) {
                    removed(item.bytes(&mut buf), score);
                }
                lp.remove_range(2 * ranks.start as i64, 2 * ranks.len());
            }
            View::Full(full) => full.remove_range(ranks.clone(), &mut removed),
        }
        ranks.len()
    }

    /// Removes the member with the lowest score (`ZPOPMIN`).
    pub fn pop_min(&mut self) -> Option<(Vec<u8>, f64)> {
        self.pop(0)
    }

    /// Removes the member with the highest score (`ZPOPMAX`).
    pub fn pop_max(&mut self) -> Option<(Vec<u8>, f64)> {
        self.pop(self.len().checked_sub(1)?)
    }

    fn pop(&mut self, rank: usize) -> Option<(Vec<u8>, f64)> {
        let mut popped = None;
        self.remove_range(rank..rank + 1, |member, score| popped = Some((member.to_vec(), score)));
        popped
    }

    /// A random member; `draw` gives random numbers (`ZRANDMEMBER`).
    pub fn random(&self, draw: &mut impl FnMut() -> u64) -> Option<(LpItem<'_>, f64)> {
        let len = self.len() as u64;
        (len > 0).then(|| self.by_rank((draw() % len) as usize)).flatten()
    }

    /// One step of `ZSCAN`: gives some members to `f` and returns the next cursor, 0 at the end. A listpack is given
    /// out whole.
    pub fn scan(&self, cursor: u64, mut f: impl FnMut(LpItem<'_>, f64)) -> u64 {
        match self.repr.view() {
            View::Packed(lp) => {
                packed::pairs(lp).for_each(|(item, score)| f(item, score));
                0
            }
            View::Full(full) => full.scan(cursor, f),
        }
    }

    /// A cursor at a rank, for iteration that has to survive changes of the set.
    pub fn cursor(&self, rank: usize) -> Option<Cursor> {
        let (member, score) = self.by_rank(rank)?;
        Some(Cursor { member: member.to_vec(), score, rank })
    }

    /// The cursor after (`back`: before) this one, wherever its member is now or would be.
    pub fn step(&self, cursor: &Cursor, back: bool) -> Option<Cursor> {
        let mut buf = NumBuf::new();
        let in_place = self.by_rank(cursor.rank).is_some_and(|(member, score)| {
            score == cursor.score && member.bytes(&mut buf) == cursor.member
        });
        let next = match (in_place, back) {
            (true, false) => cursor.rank + 1,
            (true, true) => cursor.rank.checked_sub(1)?,
            (false, false) => self.rank_of_place(cursor.score, &cursor.member, true),
            (false, true) => {
                self.rank_of_place(cursor.score, &cursor.member, false).checked_sub(1)?
            }
        };
        self.cursor(next)
    }
}

fn edge(range: Range<usize>, last: bool) -> Option<usize> {
    if range.is_empty() {
        None
    } else if last {
        Some(range.end - 1)
    } else {
        Some(range.start)
    }
}

/// A place in a sorted set that stays meaningful when the set changes (module API: `ZsetRangeNext` and its like).
#[derive(Clone, Debug, PartialEq)]
pub struct Cursor {
    /// The member at the place.
    pub member: Vec<u8>,
    /// Its score when the cursor came there.
    pub score: f64,
    /// Its rank then; checked before use.
    rank: usize,
}

/// Iterator over members and scores, see [`SortedSet::iter_from`].
#[derive(Clone)]
pub struct Iter<'a>(Walk<'a>);

#[derive(Clone)]
enum Walk<'a> {
    Packed(packed::Walk<'a>),
    Full(tree::Iter<'a>),
}

impl<'a> Iterator for Iter<'a> {
    type Item = (LpItem<'a>, f64);

    fn next(&mut self) -> Option<(LpItem<'a>, f64)> {
        match &mut self.0 {
            Walk::Packed(walk) => walk.next(),
            Walk::Full(iter) => iter.next().map(|i| (LpItem::Str(i.member.bytes()), i.score)),
        }
    }
}
