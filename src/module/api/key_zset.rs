//! Sorted sets and their iterators.
use super::key::key;
use crate::execute::Expiry;
use crate::keyspace::value::{Kind, Value, ValueMut, ValueRef};
use crate::keyspace::zset::{Inserted, LexRange, ScoreRange, SortedSet, ZsetLimits};
use crate::module::abi;
use crate::module::key::{Key, Walk, ZsetRange, ZsetWalk};
use crate::module::string::RStr;
use crate::server::Server;
use std::ffi::c_int;

const OK: c_int = abi::OK;
const ERR: c_int = abi::ERR;

/// The sorted set of an open key.
fn zset_of<'a>(key: &mut Key) -> Option<&'a SortedSet> {
    match key.value() {
        Some(ValueRef::Zset(set)) => Some(set),
        _ => None,
    }
}

/// Adds a member or changes its score. Returns the flags that come out and the score, or `None` when a number is NaN.
/// The score is `None` when nothing was done.
fn add(
    set: &mut SortedSet,
    member: &[u8],
    mut score: f64,
    flags: c_int,
    increment: bool,
) -> Option<(c_int, Option<f64>)> {
    const NOTHING: Option<(c_int, Option<f64>)> = Some((abi::ZADD_NOP, None));
    if score.is_nan() {
        return None;
    }
    match set.score(member) {
        Some(_) if flags & abi::ZADD_NX != 0 => return NOTHING,
        Some(old) => {
            if increment {
                score += old;
                if score.is_nan() {
                    return None;
                }
            }
            let refused = (flags & abi::ZADD_LT != 0 && score >= old)
                || (flags & abi::ZADD_GT != 0 && score <= old);
            if refused {
                return NOTHING;
            }
        }
        None if flags & abi::ZADD_XX != 0 => return NOTHING,
        None => {}
    }
    let config = &Server::get().config;
    let limits = ZsetLimits {
        max_listpack_entries: config.zset_max_listpack_entries(),
        max_listpack_value: config.zset_max_listpack_value(),
    };
    let out = match set.insert(member, score, &limits) {
        Inserted::Added => abi::ZADD_ADDED,
        Inserted::Updated => abi::ZADD_UPDATED,
        Inserted::Unchanged => 0,
    };
    Some((out, Some(score)))
}

/// `ZsetAdd` and `ZsetIncrby`; the new score, if there is one, goes to `new_score`.
fn add_to(
    key: Option<&mut Key>,
    member: &[u8],
    score: f64,
    flags: Option<&mut c_int>,
    increment: bool,
    new_score: Option<&mut f64>,
) -> c_int {
    let Some(key) = key.filter(|k| k.writable()) else { return ERR };
    match key.kind() {
        Some(Kind::Zset) => {}
        None => key.put(Value::Zset(Box::default()), Expiry::Clear),
        Some(_) => return ERR,
    }
    let Some(ValueMut::Zset(set)) = key.value_mut() else { return ERR };
    let result = add(set, member, score, flags.as_ref().map_or(0, |f| **f), increment);
    // Redis leaves an empty set behind when `XX` held the first member back.
    key.delete_if_empty();
    let (out, score) = result.unwrap_or((0, None));
    if let Some(flags) = flags {
        *flags = out;
    }
    if let (Some(place), Some(score)) = (new_score, score) {
        *place = score;
    }
    if result.is_some() {
        OK
    } else {
        ERR
    }
}

/// Begins an iteration at the first or last member of a range.
fn begin(key: Option<&mut Key>, range: Option<ZsetRange>, last: bool) -> c_int {
    let Some(key) = key else { return ERR };
    let Some(set) = zset_of(key) else { return ERR };
    key.walk = Walk::None;
    let Some(range) = range else { return ERR };
    let rank = match &range {
        ZsetRange::Score(r) => set.edge_by_score(r, last),
        ZsetRange::Lex(min, max) => match LexRange::parse(min, max) {
            Some(r) => set.edge_by_lex(&r, last),
            None => return ERR,
        },
    };
    let current = rank.and_then(|rank| set.cursor(rank));
    key.walk = Walk::Zset(ZsetWalk { range, ended: current.is_none(), current });
    OK
}

/// Goes on by one member. 1 if there was one in the range.
fn step(key: Option<&mut Key>, back: bool) -> c_int {
    let Some(key) = key else { return 0 };
    let Some(set) = zset_of(key) else { return 0 };
    let Walk::Zset(walk) = &mut key.walk else { return 0 };
    let Some(current) = &walk.current else { return 0 };
    let next = set.step(current, back).filter(|next| match &walk.range {
        ZsetRange::Score(r) if back => r.reached(next.score),
        ZsetRange::Score(r) => r.not_passed(next.score),
        ZsetRange::Lex(min, max) => LexRange::parse(min, max).is_some_and(|r| {
            if back {
                r.reached(&next.member)
            } else {
                r.not_passed(&next.member)
            }
        }),
    });
    match next {
        Some(next) => {
            walk.current = Some(next);
            1
        }
        None => {
            // The current element stays the last one of the range.
            walk.ended = true;
            0
        }
    }
}

/// A range of scores, as the module gave it.
fn scores(min: f64, max: f64, minex: c_int, maxex: c_int) -> Option<ZsetRange> {
    Some(ZsetRange::Score(ScoreRange { min, max, minex: minex != 0, maxex: maxex != 0 }))
}

/// # Safety
/// ABI: live strings.
unsafe fn members(min: *mut RStr, max: *mut RStr) -> Option<ZsetRange> {
    // SAFETY: ABI: this function's contract.
    let (min, max) = unsafe { (RStr::bytes(min), RStr::bytes(max)) };
    Some(ZsetRange::Lex(min.to_vec(), max.to_vec()))
}

crate::api! {
    /// Adds a member or changes its score. `flags` (null allowed) goes in and out. An empty key becomes a sorted set.
    [Locked] fn ZsetAdd(handle: *mut Key, score: f64, member: *mut RStr, flags: *mut c_int) -> c_int {
        // SAFETY: ABI: an open key, a live string, null or a place for an int.
        let (k, member, flags) = unsafe { (key(handle), RStr::bytes(member), flags.as_mut()) };
        add_to(k, member, score, flags, false, None)
    }

    /// Adds to the score of a member; a missing member has score 0. `flags` and `new_score` may be null.
    [Locked] fn ZsetIncrby(
        handle: *mut Key,
        by: f64,
        member: *mut RStr,
        flags: *mut c_int,
        new_score: *mut f64,
    ) -> c_int {
        // SAFETY: ABI: an open key, a live string, null or places for numbers.
        unsafe {
            let member = RStr::bytes(member);
            add_to(key(handle), member, by, flags.as_mut(), true, new_score.as_mut())
        }
    }

    /// Removes a member; `deleted` (null allowed) tells whether it was there.
    [Locked] fn ZsetRem(handle: *mut Key, member: *mut RStr, deleted: *mut c_int) -> c_int {
        // SAFETY: ABI: an open key, a live string, null or a place for an int.
        let (k, member, deleted) = unsafe { (key(handle), RStr::bytes(member), deleted.as_mut()) };
        let Some(k) = k.filter(|k| k.writable()) else { return ERR };
        let removed = match k.value_mut() {
            Some(ValueMut::Zset(set)) => set.remove(member).is_some(),
            None => false,
            Some(_) => return ERR,
        };
        if removed {
            k.delete_if_empty();
        }
        if let Some(deleted) = deleted {
            *deleted = c_int::from(removed);
        }
        OK
    }

    /// The score of a member; ERR without it.
    [Locked] fn ZsetScore(handle: *mut Key, member: *mut RStr, score: *mut f64) -> c_int {
        // SAFETY: ABI: an open key, a live string, null or a place for a number.
        let (k, member, score) = unsafe { (key(handle), RStr::bytes(member), score.as_mut()) };
        match k.and_then(zset_of).and_then(|set| set.score(member)) {
            Some(found) => {
                if let Some(score) = score {
                    *score = found;
                }
                OK
            }
            None => ERR,
        }
    }

    /// Begins an iteration at the lowest score of a range.
    [Locked] fn ZsetFirstInScoreRange(
        handle: *mut Key,
        min: f64,
        max: f64,
        minex: c_int,
        maxex: c_int,
    ) -> c_int {
        // SAFETY: ABI: an open key.
        begin(unsafe { key(handle) }, scores(min, max, minex, maxex), false)
    }

    /// Begins an iteration at the highest score of a range.
    [Locked] fn ZsetLastInScoreRange(
        handle: *mut Key,
        min: f64,
        max: f64,
        minex: c_int,
        maxex: c_int,
    ) -> c_int {
        // SAFETY: ABI: an open key.
        begin(unsafe { key(handle) }, scores(min, max, minex, maxex), true)
    }

    /// Begins an iteration at the first member of a range as `ZRANGEBYLEX` writes it.
    [Locked] fn ZsetFirstInLexRange(handle: *mut Key, min: *mut RStr, max: *mut RStr) -> c_int {
        // SAFETY: ABI: an open key and live strings.
        unsafe { begin(key(handle), members(min, max), false) }
    }

    /// Begins an iteration at the last member of a range as `ZRANGEBYLEX` writes it.
    [Locked] fn ZsetLastInLexRange(handle: *mut Key, min: *mut RStr, max: *mut RStr) -> c_int {
        // SAFETY: ABI: an open key and live strings.
        unsafe { begin(key(handle), members(min, max), true) }
    }

    /// Ends an iteration.
    [Locked] fn ZsetRangeStop(handle: *mut Key) {
        // SAFETY: ABI: an open key.
        if let Some(k) = unsafe { key(handle) } {
            if matches!(k.walk, Walk::Zset(_)) {
                k.walk = Walk::None;
            }
        }
    }

    /// 1 at the end of the range.
    [Locked] fn ZsetRangeEndReached(handle: *mut Key) -> c_int {
        // SAFETY: ABI: an open key.
        let Some(k) = (unsafe { key(handle) }) else { return 1 };
        match &k.walk {
            Walk::Zset(walk) => c_int::from(walk.ended),
            _ => 1,
        }
    }

    /// The member where the iteration stands, and its score (null allowed); a new string, or null.
    [Locked] fn ZsetRangeCurrentElement(handle: *mut Key, score: *mut f64) -> *mut RStr {
        // SAFETY: ABI: an open key, null or a place for a number.
        let (k, score) = unsafe { (key(handle), score.as_mut()) };
        let Some(k) = k else { return std::ptr::null_mut() };
        let (Some(_), Walk::Zset(ZsetWalk { current: Some(at), .. })) = (zset_of(k), &k.walk) else {
            return std::ptr::null_mut();
        };
        if let Some(score) = score {
            *score = at.score;
        }
        k.new_string(&at.member)
    }

    /// Goes to the next higher member; 0 at the end of the range.
    [Locked] fn ZsetRangeNext(handle: *mut Key) -> c_int {
        // SAFETY: ABI: an open key.
        step(unsafe { key(handle) }, false)
    }

    /// Goes to the next lower member; 0 at the end of the range.
    [Locked] fn ZsetRangePrev(handle: *mut Key) -> c_int {
        // SAFETY: ABI: an open key.
        step(unsafe { key(handle) }, true)
    }
}
