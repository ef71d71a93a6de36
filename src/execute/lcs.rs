//! The longest common subsequence of two texts, as `LCS` answers it.

/// A stretch that both texts have in common.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Match {
    /// Where it begins in the first text.
    pub a: usize,
    /// Where it begins in the second.
    pub b: usize,
    /// Its length.
    pub len: usize,
}

/// The result of [`longest_common`].
pub struct Common {
    /// The subsequence.
    pub text: Vec<u8>,
    /// Its stretches, the last one first.
    pub matches: Vec<Match>,
}

/// Memory that the reference's table of lengths takes, against which it checks its limit.
pub fn table_bytes(a: usize, b: usize) -> u128 {
    (a as u128 + 1) * (b as u128 + 1) * 4
}

/// Finds one longest common subsequence. Where there are several it is the one that comes from walking back from both
/// ends and stepping back in `b` when both steps are equally good.
pub fn longest_common(a: &[u8], b: &[u8]) -> Common {
    let width = b.len() + 1;
    let mut lengths = vec![0u32; (a.len() + 1) * width];
    for (i, x) in a.iter().enumerate() {
        let (above, below) = lengths.split_at_mut((i + 1) * width);
        let above = &above[i * width..];
        let mut left = 0;
        for (j, y) in b.iter().enumerate() {
            left = if x == y { above[j] + 1 } else { left.max(above[j + 1]) };
            below[j + 1] = left;
        }
    }
    let (mut i, mut j) = (a.len(), b.len());
    let mut text = vec![0; lengths[i * width + j] as usize];
    let mut rest = text.len();
    let mut matches: Vec<Match> = Vec::new();
    let mut open = false;
    while i > 0 && j > 0 {
        if a[i - 1] == b[j - 1] {
            i -= 1;
            j -= 1;
            rest -= 1;
            text[rest] = a[i];
            match matches.last_mut() {
                // The walk never leaves a diagonal without closing the stretch.
                Some(m) if open => {
                    (m.a, m.b) = (i, j);
                    m.len += 1;
                }
                _ => matches.push(Match { a: i, b: j, len: 1 }),
            }
            open = true;
        } else {
            open = false;
            if lengths[(i - 1) * width + j] > lengths[i * width + j - 1] {
                i -= 1;
            } else {
                j -= 1;
            }
        }
    }
    Common { text, matches }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretches_of_the_common_subsequence() {
        let c = longest_common(b"ohmytext", b"mynewtext");
        assert_eq!(c.text, b"mytext");
        let at = |a, b, len| Match { a, b, len };
        assert_eq!(c.matches, [at(4, 5, 4), at(2, 0, 2)]);
        let c = longest_common(b"", b"abc");
        assert!(c.text.is_empty() && c.matches.is_empty());
        assert_eq!(longest_common(b"aaa", b"aa").matches, [at(1, 0, 2)]);
    }
}
