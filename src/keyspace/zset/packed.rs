//! A sorted set in a listpack: member, score, member, score ... in order.
use std::collections::HashSet;

use super::super::listpack::{Listpack, LpItem, LpPos};
use super::super::number::{format_f64, parse_f64, NumBuf};

/// Integers up to here are stored as such; beyond, doubles are too coarse to be worth it.
const MAX_INTEGER: f64 = (1u64 << 62) as f64;

/// Number of members.
pub fn len(lp: &Listpack) -> usize {
    lp.len() / 2
}

fn score_of(item: LpItem<'_>) -> Option<f64> {
    match item {
        LpItem::Int(value) => Some(value as f64),
        LpItem::Str(text) => parse_f64(text),
    }
}

fn score_at(lp: &Listpack, pos: LpPos) -> f64 {
    // Scores were checked or written by this module.
    score_of(lp.get(pos)).unwrap_or(0.0)
}

fn integer(score: f64) -> Option<i64> {
    let whole = score as i64;
    (score.abs() <= MAX_INTEGER && whole as f64 == score).then_some(whole)
}

/// Appends a score.
pub fn push_score(lp: &mut Listpack, score: f64) {
    match integer(score) {
        Some(whole) => lp.push_back(whole),
        None => lp.push_back(format_f64(score).as_bytes()),
    }
}

/// Place of the member and its score.
pub fn find(lp: &Listpack, member: &[u8]) -> Option<(LpPos, f64)> {
    let pos = lp.find(member, 1)?;
    Some((pos, score_at(lp, lp.next(pos)?)))
}

/// Inserts a member that is not there.
pub fn insert(lp: &mut Listpack, member: &[u8], score: f64) {
    let mut buf = NumBuf::new();
    let mut at = lp.first();
    while let Some(pos) = at {
        let Some(score_pos) = lp.next(pos) else { break };
        let other = score_at(lp, score_pos);
        if other > score || (other == score && lp.get(pos).bytes(&mut buf) > member) {
            let pos = lp.insert_before(pos, member);
            match integer(score) {
                Some(whole) => lp.insert_after(pos, whole),
                None => lp.insert_after(pos, format_f64(score).as_bytes()),
            };
            return;
        }
        at = lp.next(score_pos);
    }
    lp.push_back(member);
    push_score(lp, score);
}

fn seek(lp: &Listpack, rank: usize) -> Option<LpPos> {
    // Checked first: a huge rank would wrap to a negative index, which counts from the end.
    (rank < len(lp)).then(|| lp.seek(2 * rank as i64)).flatten()
}

/// The pair at a rank.
pub fn at(lp: &Listpack, rank: usize) -> Option<(LpItem<'_>, f64)> {
    let pos = seek(lp, rank)?;
    Some((lp.get(pos), score_at(lp, lp.next(pos)?)))
}

/// All pairs in order.
pub fn pairs(lp: &Listpack) -> Walk<'_> {
    Walk::new(lp, 0, false)
}

/// Whether this is a sorted set: numbers as scores, in order, no member twice.
pub fn is_valid(lp: &Listpack) -> bool {
    if lp.len() % 2 != 0 {
        return false;
    }
    let mut seen = HashSet::with_capacity(len(lp));
    let mut last: Option<(f64, Vec<u8>)> = None;
    let mut items = lp.iter();
    while let (Some(member), Some(score)) = (items.next(), items.next()) {
        let Some(score) = score_of(score) else { return false };
        let member = member.to_vec();
        if let Some((before, text)) = &last {
            if *before > score || (*before == score && *text >= member) {
                return false;
            }
        }
        if !seen.insert(member.clone()) {
            return false;
        }
        last = Some((score, member));
    }
    true
}

/// Iterator over pairs in one direction.
#[derive(Clone)]
pub struct Walk<'a> {
    lp: &'a Listpack,
    at: Option<LpPos>,
    back: bool,
}

impl<'a> Walk<'a> {
    /// From the pair at `rank` on; backwards from the last one if there is none.
    pub fn new(lp: &'a Listpack, rank: usize, back: bool) -> Walk<'a> {
        let rank = if back { rank.min(len(lp).saturating_sub(1)) } else { rank };
        Walk { lp, at: seek(lp, rank), back }
    }
}

impl<'a> Iterator for Walk<'a> {
    type Item = (LpItem<'a>, f64);

    fn next(&mut self) -> Option<(LpItem<'a>, f64)> {
        let lp = self.lp;
        let pos = self.at?;
        let score_pos = lp.next(pos)?;
        self.at = if self.back {
            lp.prev(pos).and_then(|score| lp.prev(score))
        } else {
            lp.next(score_pos)
        };
        Some((lp.get(pos), score_at(lp, score_pos)))
    }
}
