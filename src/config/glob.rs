//! Redis' glob: the pattern language of `KEYS`, `SCAN ... MATCH`, `PSUBSCRIBE`, `CONFIG GET` and ACL key patterns.
//!
//! `*`, `?`, `[abc]`, `[^abc]`, `[a-z]` and `\x`. Broken patterns (an unclosed class, a trailing backslash) have a meaning
//! too, and it is the reference's.

/// How deep a pattern may nest before it is taken for an attack and matches nothing.
const MAX_NESTING: u32 = 1000;

/// Whether `text` matches the glob `pattern` as a whole; `nocase` folds ASCII letters.
pub fn glob_match(pattern: &[u8], text: &[u8], nocase: bool) -> bool {
    let mut give_up = false;
    matches(pattern, text, nocase, &mut give_up, 0)
}

/// Whether every text that begins with `prefix` matches the pattern: the prefix itself does, and the pattern ends with a
/// star that stands for whatever follows.
pub fn glob_match_prefix(pattern: &[u8], prefix: &[u8]) -> bool {
    ends_with_star(pattern) && glob_match(pattern, prefix, false)
}

/// Whether the last thing in a pattern is a star; an escaped one, or one in a class, is none.
fn ends_with_star(mut p: &[u8]) -> bool {
    let mut star = false;
    while let Some(&token) = p.first() {
        star = token == b'*';
        p = match token {
            b'[' => class_matches(&p[1..], 0, false).1,
            b'\\' if p.len() >= 2 => &p[2..],
            _ => &p[1..],
        };
    }
    star
}

/// Whether a name holds a character that makes `CONFIG GET` treat it as a pattern.
pub fn has_wildcard(name: &[u8]) -> bool {
    name.iter().any(|c| matches!(c, b'*' | b'?' | b'['))
}

fn fold(c: u8, nocase: bool) -> u8 {
    if nocase {
        c.to_ascii_lowercase()
    } else {
        c
    }
}

/// `give_up` is set once a star found no place for the rest of the pattern: no longer match of an earlier star can help
/// then, and without this rule the time is exponential in the number of stars.
fn matches(mut p: &[u8], mut s: &[u8], nocase: bool, give_up: &mut bool, nesting: u32) -> bool {
    if nesting > MAX_NESTING {
        return false;
    }
    while let (Some(&token), false) = (p.first(), s.is_empty()) {
        match token {
            b'*' => {
                while p.get(1) == Some(&b'*') {
                    p = &p[1..];
                }
                if p.len() == 1 {
                    return true;
                }
                while !s.is_empty() {
                    if matches(&p[1..], s, nocase, give_up, nesting + 1) {
                        return true;
                    }
                    if *give_up {
                        return false;
                    }
                    s = &s[1..];
                }
                *give_up = true;
                return false;
            }
            b'?' => p = &p[1..],
            b'[' => {
                let (hit, rest) = class_matches(&p[1..], s[0], nocase);
                if !hit {
                    return false;
                }
                p = rest;
            }
            _ => {
                if token == b'\\' && p.len() >= 2 {
                    p = &p[1..];
                }
                if fold(p[0], nocase) != fold(s[0], nocase) {
                    return false;
                }
                p = &p[1..];
            }
        }
        s = &s[1..];
        if s.is_empty() {
            while p.first() == Some(&b'*') {
                p = &p[1..];
            }
        }
    }
    p.is_empty() && s.is_empty()
}

/// One `[...]` class (without its opening bracket) against one byte: the verdict and what follows the class. An unclosed
/// class ends with the pattern.
fn class_matches(mut p: &[u8], c: u8, nocase: bool) -> (bool, &[u8]) {
    let negated = p.first() == Some(&b'^');
    if negated {
        p = &p[1..];
    }
    let mut hit = false;
    loop {
        match *p {
            [b'\\', escaped, ..] => {
                // Escaped members compare exactly, even without case: so does the reference.
                hit |= escaped == c;
                p = &p[2..];
            }
            [b']', ..] => {
                p = &p[1..];
                break;
            }
            [] => break,
            [from, b'-', to, ..] => {
                // Bytes above 127 are negative in the reference's comparison.
                let order = |b: u8| fold(b, nocase) as i8;
                let (from, to) = if (from as i8) > (to as i8) { (to, from) } else { (from, to) };
                hit |= order(c) >= order(from) && order(c) <= order(to);
                p = &p[3..];
            }
            [member, ..] => {
                hit |= fold(member, nocase) == fold(c, nocase);
                p = &p[1..];
            }
        }
    }
    (hit != negated, p)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes() {
        for (pattern, prefix, all) in [
            ("ab*", "ab", true),
            ("ab*", "abc", true),
            ("ab*", "a", false),
            ("ab", "ab", false),
            ("ab\\*", "ab*", false),
            ("ab\\\\*", "ab\\", true),
            ("*b*", "ab", true),
            ("?*", "a", true),
            ("[ab]*", "b", true),
            // A class that is not closed has the star in it.
            ("[ab*", "b", false),
        ] {
            let found = glob_match_prefix(pattern.as_bytes(), prefix.as_bytes());
            assert_eq!(found, all, "{pattern} {prefix}");
        }
    }

    fn check(pattern: &str, text: &str, expected: bool) {
        assert_eq!(
            glob_match(pattern.as_bytes(), text.as_bytes(), false),
            expected,
            "{pattern} {text}"
        );
    }

    #[test]
    fn literals_stars_and_question_marks() {
        check("", "", true);
        check("", "a", false);
        check("a", "", false);
        check("*", "", false); // the reference does not enter its loop for an empty text
        check("*", "anything", true);
        check("h?llo", "hello", true);
        check("h?llo", "hllo", false);
        check("h*llo", "hllo", true);
        check("h*llo", "heeeello", true);
        check("a**", "a", true);
        check("*a*b*", "xxaxxbxx", true);
        check("*a*b*", "xxbxxaxx", false);
        check("ab", "abc", false);
        check("abc", "ab", false);
    }

    #[test]
    fn classes() {
        check("h[ae]llo", "hallo", true);
        check("h[ae]llo", "hillo", false);
        check("h[^e]llo", "hallo", true);
        check("h[^e]llo", "hello", false);
        check("h[a-b]llo", "hbllo", true);
        check("h[b-a]llo", "hallo", true);
        check("h[a-", "ha", true);
        check("h[a-", "h-", true);
        check("[", "[", false);
        check("[^", "x", true);
        check("[]", "]", false);
        check("[\\]]", "]", true);
        check("[a-c]*x", "bcax", true);
    }

    #[test]
    fn escapes() {
        check("\\*", "*", true);
        check("\\*", "a", false);
        check("a\\", "a\\", true);
        check("\\a", "a", true);
    }

    #[test]
    fn case_folding() {
        assert!(glob_match(b"MAX*", b"maxmemory", true));
        assert!(!glob_match(b"MAX*", b"maxmemory", false));
        assert!(glob_match(b"[A-C]", b"b", true));
        assert!(glob_match(b"[B]", b"b", true));
        assert!(!glob_match(b"[\\B]", b"b", true));
    }

    #[test]
    fn many_stars_end_quickly() {
        let pattern = b"a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*b".to_vec();
        assert!(!glob_match(&pattern, &[b'a'; 2000], false));
    }

    #[test]
    fn abusive_nesting_matches_nothing() {
        let pattern = b"*?".repeat(2000);
        assert!(!glob_match(&pattern, &[b'a'; 5000], false));
    }

    #[test]
    fn high_bytes_order_as_signed() {
        assert!(glob_match(&[b'[', 0x80, b'-', b'a', b']'], &[0xff], false));
        assert!(!glob_match(b"[a-z]", &[0xe9], false));
    }
}
