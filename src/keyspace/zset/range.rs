//! Ranges of sorted sets, by score and by member.
use super::super::number::parse_f64;

/// A range of scores (`ZRANGEBYSCORE`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScoreRange {
    /// Lower end.
    pub min: f64,
    /// Upper end.
    pub max: f64,
    /// The lower end itself is outside.
    pub minex: bool,
    /// The upper end itself is outside.
    pub maxex: bool,
}

impl ScoreRange {
    /// All scores.
    pub const ALL: ScoreRange =
        ScoreRange { min: f64::NEG_INFINITY, max: f64::INFINITY, minex: false, maxex: false };

    /// Reads two ends such as `1.5`, `(1.5`, `-inf`; `None` is "min or max is not a float".
    pub fn parse(min: &[u8], max: &[u8]) -> Option<ScoreRange> {
        let (min, minex) = parse_end(min)?;
        let (max, maxex) = parse_end(max)?;
        Some(ScoreRange { min, max, minex, maxex })
    }

    /// Whether a score is not below the range.
    pub fn reached(&self, score: f64) -> bool {
        score > self.min || (!self.minex && score == self.min)
    }

    /// Whether a score is not above the range.
    pub fn not_passed(&self, score: f64) -> bool {
        score < self.max || (!self.maxex && score == self.max)
    }
}

/// One end of a score range. More lenient than scores are, as on Redis: blanks before the number, overflow to
/// infinity and an empty text (zero) are accepted.
fn parse_end(text: &[u8]) -> Option<(f64, bool)> {
    let (text, exclusive) = match text.strip_prefix(b"(") {
        Some(rest) => (rest, true),
        None => (text, false),
    };
    // Redis reads it as a C string.
    let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
    if text.is_empty() {
        return Some((0.0, exclusive));
    }
    let text = text.trim_ascii_start();
    let lenient = || std::str::from_utf8(text).ok()?.parse::<f64>().ok();
    let value = parse_f64(text).or_else(lenient)?;
    (!value.is_nan()).then_some((value, exclusive))
}

/// One end of a range of members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LexBound<'a> {
    /// `-`: before all members.
    Min,
    /// `+`: after all members.
    Max,
    /// `[text`: the text itself belongs to the range.
    Included(&'a [u8]),
    /// `(text`: the text itself does not.
    Excluded(&'a [u8]),
}

impl<'a> LexBound<'a> {
    /// Reads `-`, `+`, `[text` or `(text`.
    pub fn parse(text: &'a [u8]) -> Option<LexBound<'a>> {
        match text {
            b"-" => Some(LexBound::Min),
            b"+" => Some(LexBound::Max),
            [b'[', text @ ..] => Some(LexBound::Included(text)),
            [b'(', text @ ..] => Some(LexBound::Excluded(text)),
            _ => None,
        }
    }
}

/// A range of members (`ZRANGEBYLEX`), meant for sets whose scores are all equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LexRange<'a> {
    /// Lower end.
    pub min: LexBound<'a>,
    /// Upper end.
    pub max: LexBound<'a>,
}

impl<'a> LexRange<'a> {
    /// Reads both ends; `None` is "min or max not valid string range item".
    pub fn parse(min: &'a [u8], max: &'a [u8]) -> Option<LexRange<'a>> {
        Some(LexRange { min: LexBound::parse(min)?, max: LexBound::parse(max)? })
    }

    /// Whether a member is not below the range.
    pub fn reached(&self, member: &[u8]) -> bool {
        match self.min {
            LexBound::Min => true,
            LexBound::Max => false,
            LexBound::Included(text) => member >= text,
            LexBound::Excluded(text) => member > text,
        }
    }

    /// Whether a member is not above the range.
    pub fn not_passed(&self, member: &[u8]) -> bool {
        match self.max {
            LexBound::Min => false,
            LexBound::Max => true,
            LexBound::Included(text) => member <= text,
            LexBound::Excluded(text) => member < text,
        }
    }
}
