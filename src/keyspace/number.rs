//! Numbers as Redis reads and writes them.
use std::ops::Deref;

/// A number's text, held inline.
#[derive(Clone, Copy)]
pub struct NumBuf {
    text: [u8; 32],
    start: u8,
    end: u8,
}

impl NumBuf {
    /// An empty text, to be filled by a helper such as `LpItem::bytes`.
    pub const fn new() -> NumBuf {
        NumBuf { text: [0; 32], start: 0, end: 0 }
    }

    /// The text.
    pub fn as_bytes(&self) -> &[u8] {
        &self.text[self.start as usize..self.end as usize]
    }

    fn of(text: &[u8]) -> NumBuf {
        let mut buf = NumBuf::new();
        buf.text[..text.len()].copy_from_slice(text);
        buf.end = text.len() as u8;
        buf
    }
}

impl Default for NumBuf {
    fn default() -> Self {
        NumBuf::new()
    }
}

impl Deref for NumBuf {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl std::fmt::Debug for NumBuf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&String::from_utf8_lossy(self))
    }
}

/// Longest text that [`parse_i64`] accepts: `-9223372036854775808`.
const MAX_I64_TEXT: usize = 20;

/// The number that eight digits are, the first in the lowest byte.
#[inline]
fn eight_digits(text: u64) -> Option<u64> {
    // A digit's upper half is 3, and stays 3 when 6 is added: above 9 that would make it 4.
    const UPPER: u64 = 0xf0f0_f0f0_f0f0_f0f0;
    const THREES: u64 = 0x3030_3030_3030_3030;
    let above = text.wrapping_add(0x0606_0606_0606_0606);
    if text & UPPER != THREES || above & UPPER != THREES {
        return None;
    }
    // Neighbours are joined to pairs, pairs to fours, fours to the whole, in the upper of the two places each time.
    let ones = text & !UPPER;
    let pairs = (ones.wrapping_mul(10 << 8 | 1) >> 8) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs.wrapping_mul(100 << 16 | 1) >> 16) & 0x0000_ffff_0000_ffff;
    Some(fours.wrapping_mul(10_000 << 32 | 1) >> 32)
}

/// The canonical form of a 64-bit integer only: no blanks, no `+`, no leading zeros, no `-0`. So a text that
/// parses is restored byte for byte from its number. (Redis `string2ll`.)
pub fn parse_i64(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'0'] => return Some(0),
        [b'-', rest @ ..] => (true, rest),
        _ => (false, text),
    };
    if text.len() > MAX_I64_TEXT || !matches!(digits.first(), Some(b'1'..=b'9')) {
        return None;
    }
    let (mut value, mut rest) = (0u64, digits);
    while let (Some((eight, more)), true) = (rest.split_first_chunk(), value < 100_000_000) {
        value = value * 100_000_000 + eight_digits(u64::from_le_bytes(*eight))?;
        rest = more;
    }
    for &c in rest {
        let digit = c.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value.checked_mul(10)?.checked_add(u64::from(digit))?;
    }
    if negative {
        (value <= 1 << 63).then(|| value.wrapping_neg() as i64)
    } else {
        i64::try_from(value).ok()
    }
}

/// An unsigned 64-bit integer; leading blanks, zeros and one `+` are allowed. (Redis `string2ull`, but for
/// texts with a minus sign, which are refused here.)
pub fn parse_u64(text: &[u8]) -> Option<u64> {
    let blanks = text.iter().take_while(|c| matches!(c, b' ' | 9..=13)).count();
    let digits = text[blanks..].strip_prefix(b"+").unwrap_or(&text[blanks..]);
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |value, &c| {
        let digit = c.wrapping_sub(b'0');
        (digit <= 9).then_some(())?;
        value.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

const PAIRS: &[u8; 200] = b"0001020304050607080910111213141516171819\
    2021222324252627282930313233343536373839\
    4041424344454647484950515253545556575859\
    6061626364656667686970717273747576777879\
    8081828384858687888990919293949596979899";

/// The decimal text of `value`.
pub fn format_i64(value: i64) -> NumBuf {
    let mut buf = format_u64(value.unsigned_abs());
    if value < 0 {
        buf.start -= 1;
        buf.text[buf.start as usize] = b'-';
    }
    buf
}

/// The decimal text of `value`.
pub fn format_u64(value: u64) -> NumBuf {
    let mut text = [0u8; 32];
    let start = write_before(&mut text, 32, value) as u8;
    NumBuf { text, start, end: 32 }
}

/// Writes the decimal text of `value` so that it ends before `end`; returns where it begins.
#[inline]
pub fn write_before(text: &mut [u8], end: usize, mut value: u64) -> usize {
    let mut at = end;
    while value >= 100 {
        let pair = (value % 100) as usize * 2;
        value /= 100;
        at -= 2;
        text[at..at + 2].copy_from_slice(&PAIRS[pair..pair + 2]);
    }
    if value >= 10 {
        let pair = value as usize * 2;
        at -= 2;
        text[at..at + 2].copy_from_slice(&PAIRS[pair..pair + 2]);
    } else {
        at -= 1;
        text[at] = b'0' + value as u8;
    }
    at
}

/// As [`write_before`], with a sign.
#[inline]
pub fn write_signed_before(text: &mut [u8], end: usize, value: i64) -> usize {
    let mut at = write_before(text, end, value.unsigned_abs());
    if value < 0 {
        at -= 1;
        text[at] = b'-';
    }
    at
}

/// Appends the decimal text of `value`.
pub fn write_i64(buf: &mut Vec<u8>, value: i64) {
    let mut text = [0; MAX_I64_TEXT];
    let start = write_signed_before(&mut text, MAX_I64_TEXT, value);
    buf.extend_from_slice(&text[start..]);
}

/// How many bytes [`format_i64`] gives for `value`.
pub fn i64_text_len(value: i64) -> usize {
    value.unsigned_abs().checked_ilog10().unwrap_or(0) as usize + 1 + usize::from(value < 0)
}

/// A double as C's `strtod` reads it (decimal, hexadecimal, `inf`, `infinity`), over the whole text, without leading
/// blanks; NaN, overflow to infinity and underflow to zero are refused. (Redis `string2d`, used by
/// `getDoubleFromObject`.)
pub fn parse_f64(text: &[u8]) -> Option<f64> {
    let (negative, magnitude) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    let value = match magnitude {
        [b'0', b'x' | b'X', hex @ ..] => parse_hex(hex)?,
        [b'0'..=b'9' | b'.', ..] => parse_decimal(magnitude)?,
        _ if magnitude.eq_ignore_ascii_case(b"inf")
            || magnitude.eq_ignore_ascii_case(b"infinity") =>
        {
            f64::INFINITY
        }
        _ => return None,
    };
    Some(if negative { -value } else { value })
}

fn parse_decimal(text: &[u8]) -> Option<f64> {
    let value: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    let mantissa = text.iter().take_while(|c| !matches!(c, b'e' | b'E'));
    let out_of_range = value.is_infinite()
        || value == 0.0 && mantissa.into_iter().any(|c| matches!(c, b'1'..=b'9'));
    (!out_of_range).then_some(value)
}

/// What follows `0x`: hexadecimal digits with an optional point and an optional binary exponent.
fn parse_hex(text: &[u8]) -> Option<f64> {
    let mut mantissa = 0u64;
    let mut exponent = 0i64;
    let (mut digits, mut point) = (0usize, false);
    let mut rest = text;
    while let Some((&c, tail)) = rest.split_first() {
        if c == b'.' && !point {
            point = true;
        } else if let Some(digit) = char::from(c).to_digit(16) {
            digits += 1;
            if mantissa >> 59 == 0 {
                mantissa = mantissa << 4 | u64::from(digit);
                exponent -= if point { 4 } else { 0 };
            } else {
                // Beyond the precision: only "was there anything" matters for rounding.
                mantissa |= u64::from(digit != 0);
                exponent += if point { 0 } else { 4 };
            }
        } else {
            break;
        }
        rest = tail;
    }
    if digits == 0 {
        return None;
    }
    if let [b'p' | b'P', power @ ..] = rest {
        let (negative, power) = match power {
            [b'-', p @ ..] => (true, p),
            [b'+', p @ ..] => (false, p),
            _ => (false, power),
        };
        if power.is_empty() || !power.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let power = power
            .iter()
            .fold(0i64, |n, c| n.saturating_mul(10).saturating_add(i64::from(c - b'0')))
            .min(1 << 40);
        exponent += if negative { -power } else { power };
    } else if !rest.is_empty() {
        return None;
    }
    if mantissa == 0 {
        return Some(0.0);
    }
    // Round once, to the precision that the result's exponent leaves (fewer bits when subnormal).
    let width = 64 - i64::from(mantissa.leading_zeros());
    let keep = (exponent + width + 1074).clamp(0, 53);
    let drop = width - keep;
    if drop > 0 {
        let half = 1u128 << (drop - 1);
        let tail = u128::from(mantissa) & ((1u128 << drop) - 1);
        mantissa = (u128::from(mantissa) >> drop) as u64;
        exponent += drop;
        mantissa += u64::from(tail > half || tail == half && mantissa & 1 == 1);
    }
    if mantissa == 0 || exponent > 1024 {
        return None;
    }
    // Exact from here: the mantissa fits and both factors are powers of two within range.
    let step = exponent.clamp(-1000, 900);
    let value = mantissa as f64 * 2f64.powi(step as i32) * 2f64.powi((exponent - step) as i32);
    (value.is_finite() && value != 0.0).then_some(value)
}

/// The text of a double in replies and stored scores: an integer without point where it is one (up to 2^62),
/// otherwise the shortest form that reads back equal. (Redis `d2string`.)
pub fn format_f64(value: f64) -> NumBuf {
    const INTEGRAL_LIMIT: f64 = (1u64 << 62) as f64;
    if value.is_nan() {
        NumBuf::of(b"nan")
    } else if value.is_infinite() {
        NumBuf::of(if value < 0.0 { b"-inf" } else { b"inf" })
    } else if value == 0.0 {
        NumBuf::of(if value.is_sign_negative() { b"-0" } else { b"0" })
    } else if value.abs() <= INTEGRAL_LIMIT && value.trunc() == value {
        format_i64(value as i64)
    } else {
        let mut buf = NumBuf::new();
        buf.end = super::dtoa::write(value, &mut buf.text) as u8;
        buf
    }
}

/// The text of a double with 17 significant digits, as C's `%.17g` writes it (`ZSCAN`).
pub fn format_g17(value: f64) -> String {
    if !value.is_finite() {
        return String::from_utf8_lossy(&format_f64(value)).into_owned();
    }
    let scientific = format!("{value:.16e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let trimmed = |text: &str| match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_string(),
        false => text.to_string(),
    };
    if (-4..17).contains(&exponent) {
        return trimmed(&format!("{value:.*}", (16 - exponent) as usize));
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{}e{sign}{:02}", trimmed(digits), exponent.unsigned_abs())
}

/// Appends the text of `value` as [`format_f64`] gives it.
pub fn write_f64(buf: &mut Vec<u8>, value: f64) {
    buf.extend_from_slice(&format_f64(value));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(state: &mut u64) -> u64 {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        *state
    }

    #[test]
    fn integers_are_canonical_or_refused() {
        for (text, value) in [
            ("0", 0),
            ("-1", -1),
            ("10", 10),
            ("9223372036854775807", i64::MAX),
            ("-9223372036854775808", i64::MIN),
        ] {
            assert_eq!(parse_i64(text.as_bytes()), Some(value));
        }
        for text in [
            "",
            "-",
            "-0",
            "+1",
            "01",
            "00",
            " 1",
            "1 ",
            "1a",
            "a",
            "9223372036854775808",
            "-9223372036854775809",
            "18446744073709551617",
            "99999999999999999999",
            "1\0",
        ] {
            assert_eq!(parse_i64(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn one_wrong_character_is_seen_wherever_it_is() {
        for len in 1..=19 {
            let digits = vec![b'7'; len];
            assert!(parse_i64(&digits).is_some());
            for at in 0..len {
                for wrong in (0..=u8::MAX).filter(|c| !c.is_ascii_digit()) {
                    let mut text = digits.clone();
                    text[at] = wrong;
                    let minus = wrong == b'-' && at == 0 && len > 1;
                    assert_eq!(parse_i64(&text).is_some(), minus, "{wrong} at {at} of {len}");
                }
            }
        }
    }

    #[test]
    fn integers_survive_the_round_trip() {
        let mut state = 88172645463325252;
        for i in 0..20_000 {
            let value = (next(&mut state) >> (i % 64)) as i64;
            for value in [value, value.wrapping_neg(), i as i64, -(i as i64)] {
                let text = format_i64(value);
                assert_eq!(&*text, value.to_string().as_bytes());
                assert_eq!(parse_i64(&text), Some(value));
                assert_eq!(i64_text_len(value), text.len());
            }
        }
        for value in [i64::MIN, i64::MAX, 0, 9, 10, 99, 100, 101, 999, 1000, 1001] {
            assert_eq!(&*format_i64(value), value.to_string().as_bytes());
            assert_eq!(i64_text_len(value), value.to_string().len());
        }
        assert_eq!(&*format_u64(u64::MAX), b"18446744073709551615");
    }

    #[test]
    fn unsigned_integers() {
        assert_eq!(parse_u64(b"18446744073709551615"), Some(u64::MAX));
        assert_eq!(parse_u64(b" +007"), Some(7));
        for text in ["", "-1", "18446744073709551616", "1 ", "+", "x"] {
            assert_eq!(parse_u64(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn doubles_are_read_as_strtod_does() {
        for (text, value) in [
            ("1", 1.0),
            ("+1.5", 1.5),
            ("-.5", -0.5),
            ("5.", 5.0),
            ("1e3", 1000.0),
            ("5.e-1", 0.5),
            ("inf", f64::INFINITY),
            ("-Infinity", f64::NEG_INFINITY),
            ("+INF", f64::INFINITY),
            ("0x10", 16.0),
            ("-0X1.8p1", -3.0),
            ("0x.8", 0.5),
            ("0x1p-1074", 5e-324),
            ("0x1.8p-1074", 1e-323),
            ("0x1fffffffffffff.8", 9007199254740992.0),
            ("0x123456789abcdef01", 0x1234_5678_9abc_def0u64 as f64 * 16.0),
            ("0x1.fffffffffffffp1023", f64::MAX),
            ("0x0p99999999999", 0.0),
            ("5e-324", 5e-324),
            ("0e999", 0.0),
        ] {
            assert_eq!(parse_f64(text.as_bytes()), Some(value), "{text}");
        }
        for text in [
            "",
            " 1",
            "1 ",
            "nan",
            "NaN",
            "-nan",
            "nan(1)",
            "1e400",
            "-1e400",
            "1e-400",
            "0x",
            "0x.",
            "0xg",
            "0x1p",
            "0x1p+",
            "0x1p1024",
            "0x1p-1075",
            "0x1.fffffffffffff8p1023",
            "1e",
            "e1",
            ".",
            "-",
            "++1",
            "1_0",
            "infinit",
            "1\0",
            "0x1p1x",
        ] {
            assert_eq!(parse_f64(text.as_bytes()), None, "{text:?}");
        }
    }

    /// Finite texts are from redis-server 7.4.1 (ZADD to a sorted set in skiplist form, then ZSCORE).
    #[test]
    fn doubles_are_written_as_redis_does() {
        for (value, text) in [
            (1e20, "1e+20"),
            (1e18, "1000000000000000000"),
            (4611686018427387904.0, "4611686018427387904"),
            (4611686018427388928.0, "4611686018427389000"),
            (9223372036854775808.0, "9223372036854776000"),
            (0.1, "0.1"),
            (-0.0, "-0"),
            (17.0, "17"),
            (3.0e-7, "3e-7"),
            (0.0001, "0.0001"),
            (0.000001, "0.000001"),
            (1.5e-9, "1.5e-9"),
            (1.7976931348623157e308, "1.7976931348623157e+308"),
            (5e-324, "5e-324"),
            (2.2250738585072014e-308, "2.2250738585072014e-308"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
            (f64::NAN, "nan"),
        ] {
            assert_eq!(format!("{:?}", format_f64(value)), text);
        }
    }

    /// Expected texts are what C's `printf` gives.
    #[test]
    fn seventeen_digits() {
        for (value, text) in [
            (0.1, "0.10000000000000001"),
            (3.3, "3.2999999999999998"),
            (1e20, "1e+20"),
            (1e16, "10000000000000000"),
            (1e17, "1e+17"),
            (-0.0, "-0"),
            (1000.0, "1000"),
            (0.0001, "0.0001"),
            (0.00001, "1.0000000000000001e-05"),
            (f64::NEG_INFINITY, "-inf"),
        ] {
            assert_eq!(format_g17(value), text);
        }
    }

    #[test]
    fn written_doubles_read_back_equal() {
        let mut state = 2463534242;
        for _ in 0..200_000 {
            let value = f64::from_bits(next(&mut state));
            if value.is_finite() {
                let text = format_f64(value);
                assert_eq!(parse_f64(&text).map(f64::to_bits), Some(value.to_bits()), "{text:?}");
            }
        }
    }
}
