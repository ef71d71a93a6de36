//! LZF, the compression of strings in RDB files.
//!
//! A compressed text is a row of items. `000nnnnn` begins a literal of n + 1 bytes; `lllooooo oooooooo` copies l + 2
//! bytes from o + 1 bytes back; with l = 7 a byte more stands in between, and l is 7 plus that. The compressor chooses
//! its matches as the library in Redis does, so that `DUMP` gives the same bytes.
use std::cell::RefCell;

const TABLE_BITS: u32 = 16;
const SLOTS: usize = 1 << TABLE_BITS;
/// Longest literal that an item can have.
const MAX_LITERAL: usize = 32;
const MAX_OFFSET: usize = 1 << 13;
/// Limit for the length of a match, from which two bytes are counted off at the end of the input.
const MAX_MATCH: usize = (1 << 8) + (1 << 3);

/// Where three bytes were seen last. Positions are counted from `base`, which grows with each text, so that older
/// entries are below it and the table needs no cleaning.
struct Seen {
    at: Option<Box<[u32; SLOTS]>>,
    base: u32,
}

thread_local! {
    static SEEN: RefCell<Seen> = const { RefCell::new(Seen { at: None, base: 1 }) };
}

impl Seen {
    /// Makes room for positions up to `len`; the table, and what stands for position 0.
    fn begin(&mut self, len: usize) -> Option<Table<'_>> {
        let len = u32::try_from(len).ok()?;
        let full = self.base.checked_add(len).is_none_or(|end| end == u32::MAX);
        if self.at.is_none() || full {
            self.at = vec![0; SLOTS].into_boxed_slice().try_into().ok();
            self.base = 1;
        }
        let base = self.base;
        self.base = base.checked_add(len)?;
        Some(Table { at: self.at.as_deref_mut()?, base })
    }
}

/// [`Seen`], for one text.
struct Table<'t> {
    at: &'t mut [u32; SLOTS],
    base: u32,
}

impl Table<'_> {
    /// Notes the three bytes at `pos`, and tells where they (or others with the same hash) were before.
    #[inline]
    fn swap(&mut self, text: &[u8], pos: usize) -> Option<usize> {
        let &[a, b, c] = text[pos..].first_chunk()?;
        let word = u32::from(a) << 16 | u32::from(b) << 8 | u32::from(c);
        // The table has a slot for each of these numbers, so nothing is checked.
        let slot = (word >> (24 - TABLE_BITS)).wrapping_sub(word.wrapping_mul(5)) as u16;
        let old = std::mem::replace(&mut self.at[usize::from(slot)], self.base + pos as u32);
        old.checked_sub(self.base).map(|p| p as usize)
    }
}

/// Compresses `text` into fewer than `max` bytes. `None` if that cannot be done.
pub fn compress(text: &[u8], max: usize) -> Option<Vec<u8>> {
    SEEN.with(|seen| {
        let mut seen = seen.borrow_mut();
        if text.len() < 4 || max < 4 {
            return None;
        }
        compress_with(&mut seen.begin(text.len())?, text, max)
    })
}

/// Output with the literal that is being collected: its first byte waits for the length.
struct Out {
    bytes: Vec<u8>,
    literal: usize,
}

impl Out {
    fn push(&mut self, byte: u8) {
        self.bytes.push(byte);
        self.literal += 1;
        if self.literal == MAX_LITERAL {
            self.end_literal();
            self.begin_literal();
        }
    }

    fn begin_literal(&mut self) {
        self.bytes.push(0);
        self.literal = 0;
    }

    fn end_literal(&mut self) {
        let head = self.bytes.len() - self.literal - 1;
        if self.literal == 0 {
            self.bytes.truncate(head);
        } else {
            self.bytes[head] = self.literal as u8 - 1;
        }
    }
}

fn compress_with(seen: &mut Table<'_>, text: &[u8], max: usize) -> Option<Vec<u8>> {
    let end = text.len();
    let mut out = Out { bytes: Vec::with_capacity(max.min(end)), literal: 0 };
    out.begin_literal();
    let mut pos = 0;
    while pos + 2 < end {
        let before = seen.swap(text, pos);
        let found = before
            .filter(|&b| b > 0 && pos - b <= MAX_OFFSET && text[b..b + 3] == text[pos..pos + 3]);
        let Some(from) = found else {
            if out.bytes.len() >= max {
                return None;
            }
            out.push(text[pos]);
            pos += 1;
            continue;
        };
        if out.bytes.len() - usize::from(out.literal == 0) + 4 >= max {
            return None;
        }
        let limit = (end - pos - 2).min(MAX_MATCH);
        // The library compares 16 bytes in a row before it looks at the limit.
        let limit = if limit > 16 { limit.max(19) } else { limit };
        let mut len = 3;
        while len < limit && text[from + len] == text[pos + len] {
            len += 1;
        }
        out.end_literal();
        let (offset, count) = (pos - from - 1, len - 2);
        if count < 7 {
            out.bytes.push((offset >> 8) as u8 | (count as u8) << 5);
        } else {
            out.bytes.push((offset >> 8) as u8 | 7 << 5);
            out.bytes.push((count - 7) as u8);
        }
        out.bytes.push(offset as u8);
        out.begin_literal();
        pos += len;
        if pos + 2 < end {
            seen.swap(text, pos - 2);
            seen.swap(text, pos - 1);
        }
    }
    if out.bytes.len() + 3 > max {
        return None;
    }
    for &b in &text[pos..] {
        out.push(b);
    }
    out.end_literal();
    Some(out.bytes)
}

/// The longest text that `len` compressed bytes can stand for: a copy of 264 bytes takes three.
pub fn longest_text(len: usize) -> usize {
    len.saturating_mul(88)
}

/// Restores a text of exactly `len` bytes. `None` if the input is corrupt.
pub fn decompress(input: &[u8], len: usize) -> Option<Vec<u8>> {
    if len > longest_text(input.len()) {
        return None;
    }
    let mut out = Vec::new();
    out.try_reserve_exact(len).ok()?;
    let mut rest = input;
    while let Some((&control, tail)) = rest.split_first() {
        let control = usize::from(control);
        if control < MAX_LITERAL {
            let count = control + 1;
            if count > tail.len() || out.len() + count > len {
                return None;
            }
            out.extend_from_slice(&tail[..count]);
            rest = &tail[count..];
            continue;
        }
        let (mut count, mut tail) = (control >> 5, tail);
        if count == 7 {
            let (&more, after) = tail.split_first()?;
            count += usize::from(more);
            tail = after;
        }
        let (&low, after) = tail.split_first()?;
        rest = after;
        let back = ((control & 0x1f) << 8 | usize::from(low)) + 1;
        let count = count + 2;
        let from = out.len().checked_sub(back)?;
        if out.len() + count > len {
            return None;
        }
        // Source and target may overlap: a copy repeats what it has just written.
        for i in from..from + count {
            out.push(out[i]);
        }
    }
    (out.len() == len).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts() -> Vec<Vec<u8>> {
        let mut texts = vec![
            vec![b'a'; 21],
            vec![b'a'; 5000],
            b"abcabcabcabcabcabcabcabcabcabcabcabc".to_vec(),
            (0..4000u32).flat_map(|i| (i / 3).to_string().into_bytes()).collect(),
            b"the quick brown fox jumps over the lazy dog, the quick brown fox again".to_vec(),
        ];
        let mut seed = 7u32;
        for bits in [1, 2, 4] {
            texts.push(
                (0..3000)
                    .map(|_| {
                        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                        (seed >> 16) as u8 & ((1 << bits) - 1)
                    })
                    .collect(),
            );
        }
        texts
    }

    #[test]
    fn round_trip() {
        for text in texts() {
            let small = compress(&text, text.len() - 4).expect("compressible");
            assert!(small.len() < text.len());
            assert_eq!(decompress(&small, text.len()).as_deref(), Some(&text[..]));
            assert_eq!(lzf::decompress(&small, text.len()).as_deref(), Ok(&text[..]));
            assert_eq!(compress(&text, text.len() - 4), Some(small), "no state is left behind");
        }
    }

    #[test]
    fn same_choices_as_redis() {
        // From `DUMP` of Redis 7.4.1.
        assert_eq!(compress(&[b'a'; 21], 17).unwrap(), [1, b'a', b'a', 0xe0, 10, 0]);
    }

    #[test]
    fn incompressible_text_is_refused() {
        let text: Vec<u8> = (0..=255).collect();
        assert_eq!(compress(&text, 252), None);
        assert_eq!(compress(b"abc", 3), None);
    }

    #[test]
    fn corrupt_input_is_refused() {
        let text = vec![b'x'; 300];
        let small = compress(&text, 296).unwrap();
        assert_eq!(decompress(&small, 299), None);
        assert_eq!(decompress(&small, 301), None);
        assert_eq!(decompress(&small[..small.len() - 1], 300), None);
        assert_eq!(decompress(&[0x20, 0], 3), None, "a copy from before the text");
        assert_eq!(decompress(&[5], 6), None);
        assert_eq!(decompress(&small, usize::MAX), None, "a length that nothing can be");
    }
}
