//! The small grammars of configuration text: numbers as C reads them, memory sizes, and quoted arguments.

/// What a C string function sees of `bytes`: everything before the first zero byte.
pub fn c_str(bytes: &[u8]) -> &[u8] {
    bytes.split(|&c| c == 0).next().unwrap_or_default()
}

/// `isspace` of the C locale.
pub(super) fn is_space(c: u8) -> bool {
    matches!(c, b' ' | b'\t'..=b'\r')
}

/// A number as C's `strtoll` reads it, if nothing follows it: blanks and a sign may come first, and the empty string is
/// zero. Out of range is `None` when `strict`, else the nearest number.
pub(super) fn parse_c_integer(text: &[u8], radix: u32, strict: bool) -> Option<i64> {
    let text = c_str(text);
    if text.is_empty() {
        return Some(0);
    }
    let start = text.iter().position(|&c| !is_space(c))?;
    let (negative, digits) = match &text[start..] {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    if digits.is_empty() {
        return None;
    }
    let mut value: i128 = 0;
    for &c in digits {
        let digit = (c as char).to_digit(radix)?;
        value = (value * radix as i128 + digit as i128).min(i128::from(u64::MAX));
    }
    let value = if negative { -value } else { value };
    match i64::try_from(value) {
        Ok(value) => Some(value),
        Err(_) if strict => None,
        Err(_) => Some(if negative { i64::MIN } else { i64::MAX }),
    }
}

/// A memory size: digits, then nothing or one of `b k kb m mb g gb` in any case. Without `b` the units are decimal. As in
/// the reference, no digits at all mean zero, and a product beyond 64 bits wraps.
pub fn parse_memory(text: &[u8]) -> Option<u64> {
    let text = c_str(text);
    let end = text.iter().position(|c| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    let factor: u64 = match unit.to_ascii_lowercase().as_slice() {
        b"" | b"b" => 1,
        b"k" => 1000,
        b"kb" => 1 << 10,
        b"m" => 1000 * 1000,
        b"mb" => 1 << 20,
        b"g" => 1000 * 1000 * 1000,
        b"gb" => 1 << 30,
        _ => return None,
    };
    if digits.len() >= 128 {
        return None;
    }
    let number =
        digits.iter().fold(0u64, |n, c| n.saturating_mul(10).saturating_add(u64::from(c - b'0')));
    Some(number.wrapping_mul(factor))
}

/// A memory size in the largest unit that divides it, as `CONFIG REWRITE` writes it.
pub fn format_memory(bytes: i64) -> String {
    for (shift, unit) in [(30, "gb"), (20, "mb"), (10, "kb")] {
        if bytes != 0 && bytes % (1 << shift) == 0 {
            return format!("{}{unit}", bytes / (1 << shift));
        }
    }
    bytes.to_string()
}

/// A number with six decimals, without the trailing zeros.
pub(super) fn format_percentile(value: f64) -> String {
    let text = format!("{value:.6}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Splits a line into arguments: blanks separate; `"..."` knows `\n \r \t \b \a \xHH` and `\c`; `'...'` knows `\'`. A
/// closing quote must end its argument. `None` for unbalanced quotes.
pub fn split_args(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let line = c_str(line);
    let mut args = Vec::new();
    let mut i = 0;
    loop {
        while i < line.len() && is_space(line[i]) {
            i += 1;
        }
        if i == line.len() {
            return Some(args);
        }
        let mut arg = Vec::new();
        while i < line.len() {
            match line[i] {
                b' ' | b'\n' | b'\r' | b'\t' => break,
                quote @ (b'"' | b'\'') => {
                    i += 1 + quoted(&line[i + 1..], quote, &mut arg)?;
                    if i < line.len() && !is_space(line[i]) {
                        return None;
                    }
                    break;
                }
                c => {
                    arg.push(c);
                    i += 1;
                }
            }
        }
        args.push(arg);
    }
}

/// Reads what stands behind an opening quote; returns the length with the closing one, if there is one.
fn quoted(text: &[u8], quote: u8, arg: &mut Vec<u8>) -> Option<usize> {
    let mut i = 0;
    loop {
        let (c, len) = match text[i..] {
            [] => return None,
            [c, ..] if c == quote => return Some(i + 1),
            [b'\\', b'\'', ..] if quote == b'\'' => (b'\'', 2),
            [b'\\', b'x', high, low, ..]
                if quote == b'"' && hex(high).is_some() && hex(low).is_some() =>
            {
                (hex(high)? * 16 + hex(low)?, 4)
            }
            [b'\\', c, ..] if quote == b'"' => (escaped(c), 2),
            [c, ..] => (c, 1),
        };
        arg.push(c);
        i += len;
    }
}

/// What a letter behind a backslash stands for.
fn escaped(letter: u8) -> u8 {
    match letter {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 8,
        b'a' => 7,
        other => other,
    }
}

fn hex(c: u8) -> Option<u8> {
    (c as char).to_digit(16).map(|digit| digit as u8)
}

/// A string in double quotes such that [`split_args`] gives it back.
pub fn quote(text: &[u8]) -> Vec<u8> {
    let mut out = vec![b'"'];
    for &c in text {
        match c {
            b'\\' | b'"' => out.extend([b'\\', c]),
            b'\n' => out.extend(b"\\n"),
            b'\r' => out.extend(b"\\r"),
            b'\t' => out.extend(b"\\t"),
            7 => out.extend(b"\\a"),
            8 => out.extend(b"\\b"),
            b' '..=b'~' => out.push(c),
            _ => out.extend(format!("\\x{c:02x}").bytes()),
        }
    }
    out.push(b'"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c_integers() {
        assert_eq!(parse_c_integer(b" +7", 10, false), Some(7));
        assert_eq!(parse_c_integer(b"", 10, false), Some(0));
        assert_eq!(parse_c_integer(b"-", 10, false), None);
        assert_eq!(parse_c_integer(b"7 ", 10, false), None);
        assert_eq!(parse_c_integer(b"0777", 8, true), Some(0o777));
        assert_eq!(parse_c_integer(b"8", 8, true), None);
        assert_eq!(parse_c_integer(b"99999999999999999999", 10, false), Some(i64::MAX));
        assert_eq!(parse_c_integer(b"99999999999999999999", 10, true), None);
        assert_eq!(parse_c_integer(b"-99999999999999999999", 10, false), Some(i64::MIN));
    }

    #[test]
    fn memory_sizes() {
        for (text, expected) in [
            ("1gb", Some(1 << 30)),
            ("1G", Some(1_000_000_000)),
            ("100mb", Some(100 << 20)),
            ("2kB", Some(2048)),
            ("2k", Some(2000)),
            ("12345b", Some(12345)),
            ("12345", Some(12345)),
            ("", Some(0)),
            ("-1", None),
            ("1tb", None),
            ("1.5gb", None),
            ("99999999999999999999", Some(u64::MAX)),
        ] {
            assert_eq!(parse_memory(text.as_bytes()), expected, "{text:?}");
        }
        assert_eq!(format_memory(1 << 31), "2gb");
        assert_eq!(format_memory(3 << 20), "3mb");
        assert_eq!(format_memory(1000), "1000");
        assert_eq!(format_memory(0), "0");
    }

    fn split(line: &str) -> Option<Vec<String>> {
        let args = split_args(line.as_bytes())?;
        Some(args.into_iter().map(|a| a.iter().map(|&c| c as char).collect()).collect())
    }

    #[test]
    fn arguments() {
        assert_eq!(split("  a  b\tc "), Some(vec!["a".into(), "b".into(), "c".into()]));
        assert_eq!(split(r#"save """#), Some(vec!["save".into(), String::new()]));
        assert_eq!(split(r#""\x41\n\q\"" 'it\'s'"#), Some(vec!["A\nq\"".into(), "it's".into()]));
        assert_eq!(split(r#"a"b c""#), Some(vec!["ab c".into()]));
        assert_eq!(split(r#""a"b"#), None);
        assert_eq!(split(r#""a"#), None);
        assert_eq!(split("'a"), None);
        assert_eq!(split(""), Some(vec![]));
        assert_eq!(split(r#""\xff""#), Some(vec!["\u{ff}".into()]));
        // What the reference makes of these as inline requests.
        assert_eq!(split(r#""\x4""#), Some(vec!["x4".into()]));
        assert_eq!(split(r#"'a\n\''"#), Some(vec!["a\\n'".into()]));
        assert_eq!(split("'a'b"), None);
        assert_eq!(split("\"a\\"), None);
        assert_eq!(split("a\x0bb \x0bc"), Some(vec!["a\x0bb".into(), "c".into()]));
        assert_eq!(split("a\0b"), Some(vec!["a".into()]), "it is a C string there");
    }

    #[test]
    fn quoting_is_undone_by_splitting() {
        let all: Vec<u8> = (1..=255).collect();
        assert_eq!(split_args(&quote(&all)), Some(vec![all]));
        assert_eq!(quote(b"a\"\x01"), br#""a\"\x01""#);
    }

    #[test]
    fn percentiles() {
        assert_eq!(format_percentile(99.9), "99.9");
        assert_eq!(format_percentile(50.0), "50");
        assert_eq!(format_percentile(100.0), "100");
        assert_eq!(format_percentile(0.0), "0");
    }
}
