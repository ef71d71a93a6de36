//! Command lines as one types them, quoted as in `redis-cli`.

/// The words of a line, quoted as in `redis-cli`.
pub fn split(line: &str) -> Result<Vec<Vec<u8>>, String> {
    let (mut words, mut rest) = (Vec::new(), line.as_bytes());
    while let Some((next, end)) = word(rest)? {
        words.push(next);
        rest = &rest[end..];
    }
    Ok(words)
}

/// The first word of a line, and where it ends; `None` on a line without one.
pub fn word(line: &[u8]) -> Result<Option<(Vec<u8>, usize)>, String> {
    let Some(mut i) = line.iter().position(|byte| !byte.is_ascii_whitespace()) else {
        return Ok(None);
    };
    let mut out = Vec::new();
    let mut quote = None;
    while let Some(&byte) = line.get(i) {
        let next = line.get(i + 1).copied();
        match (quote, byte) {
            (None, b' ' | b'\t') => return Ok(Some((out, i))),
            (None, b'"' | b'\'') if out.is_empty() => quote = Some(byte),
            (None, _) => out.push(byte),
            (Some(q), _) if q == byte => {
                return match next {
                    None | Some(b' ' | b'\t') => Ok(Some((out, i + 1))),
                    _ => Err("a closing quote must be followed by a space".into()),
                };
            }
            (Some(b'"'), b'\\') if next == Some(b'x') => {
                let hex = line.get(i + 2..i + 4).and_then(|hex| std::str::from_utf8(hex).ok());
                let value = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok());
                out.push(value.ok_or("bad \\x in a quoted word")?);
                i += 3;
            }
            (Some(b'"'), b'\\') => {
                out.push(match next.ok_or("a quoted word ends in a backslash")? {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'a' => 7,
                    b'b' => 8,
                    other => other,
                });
                i += 1;
            }
            (Some(_), b'\\') if next == Some(b'\'') => {
                out.push(b'\'');
                i += 1;
            }
            (Some(_), _) => out.push(byte),
        }
        i += 1;
    }
    match quote {
        Some(_) => Err("a quoted word has no end".into()),
        None => Ok(Some((out, i))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        let words = split(line).unwrap();
        words.iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect()
    }

    #[test]
    fn quoting() {
        assert_eq!(
            words(r#"SET k "a b\x41\n" 'it\'s "x"' "" "#),
            ["SET", "k", "a bA\n", "it's \"x\"", ""]
        );
        assert_eq!(words(r#"JSON.SET d $ {"a":1}"#), ["JSON.SET", "d", "$", "{\"a\":1}"]);
        assert!(split("\"open").is_err());
        assert!(split("\"a\"b").is_err());
    }
}
