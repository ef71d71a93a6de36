//! One element of a listpack: what it is, its bytes, and the length behind them.
use super::super::number::{format_i64, i64_text_len, parse_i64, write_i64, NumBuf};
use std::borrow::Cow;

/// Encoding byte and the longest fixed part: a 64-bit integer.
pub(super) const MAX_PREFIX: usize = 9;

/// The longest back length.
pub(super) const MAX_BACK: usize = 5;

/// One element: integers that Redis stores as integers, everything else as bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LpItem<'a> {
    /// A string, borrowed from where it is stored.
    Str(&'a [u8]),
    /// A canonical 64-bit integer.
    Int(i64),
}

impl<'a> LpItem<'a> {
    /// The item as a listpack stores `bytes`: an integer when it is the canonical text of one.
    pub fn parse(bytes: &'a [u8]) -> LpItem<'a> {
        match parse_i64(bytes) {
            Some(value) => LpItem::Int(value),
            None => LpItem::Str(bytes),
        }
    }

    /// The text; an integer's is written into `buf`.
    pub fn bytes<'b>(&self, buf: &'b mut NumBuf) -> &'b [u8]
    where
        'a: 'b,
    {
        match *self {
            LpItem::Str(s) => s,
            LpItem::Int(value) => {
                *buf = format_i64(value);
                buf.as_bytes()
            }
        }
    }

    /// The text as an owned string.
    pub fn to_vec(&self) -> Vec<u8> {
        match *self {
            LpItem::Str(s) => s.to_vec(),
            LpItem::Int(value) => format_i64(value).to_vec(),
        }
    }

    /// The text, borrowed where it is stored as text.
    pub fn to_cow(&self) -> Cow<'a, [u8]> {
        match *self {
            LpItem::Str(s) => Cow::Borrowed(s),
            LpItem::Int(value) => Cow::Owned(format_i64(value).to_vec()),
        }
    }

    /// Appends the text.
    pub fn write_to(&self, out: &mut Vec<u8>) {
        match *self {
            LpItem::Str(s) => out.extend_from_slice(s),
            LpItem::Int(value) => write_i64(out, value),
        }
    }

    /// Length of the text.
    pub fn text_len(&self) -> usize {
        match *self {
            LpItem::Str(s) => s.len(),
            LpItem::Int(value) => i64_text_len(value),
        }
    }

    /// The integer, whether stored as one or as its canonical text.
    pub fn as_i64(&self) -> Option<i64> {
        match *self {
            LpItem::Str(s) => parse_i64(s),
            LpItem::Int(value) => Some(value),
        }
    }

    /// Whether the text equals `bytes`.
    pub fn eq_bytes(&self, bytes: &[u8]) -> bool {
        match *self {
            LpItem::Str(s) => s == bytes,
            LpItem::Int(value) => parse_i64(bytes) == Some(value),
        }
    }
}

impl<'a> From<&'a [u8]> for LpItem<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        LpItem::parse(bytes)
    }
}

impl From<i64> for LpItem<'_> {
    fn from(value: i64) -> Self {
        LpItem::Int(value)
    }
}

/// An element's encoding: prefix bytes, then `tail` as it is.
pub(super) struct Encoded<'a> {
    pub(super) prefix: [u8; MAX_PREFIX],
    pub(super) prefix_len: usize,
    pub(super) tail: &'a [u8],
}

impl<'a> Encoded<'a> {
    pub(super) fn of(item: LpItem<'a>) -> Encoded<'a> {
        let mut prefix = [0; MAX_PREFIX];
        let (prefix_len, tail): (usize, &[u8]) = match item {
            LpItem::Int(v) => (Self::int(v, &mut prefix), &[]),
            LpItem::Str(s) => {
                let len = s.len();
                let prefix_len = if len < 64 {
                    prefix[0] = 0x80 | len as u8;
                    1
                } else if len < 4096 {
                    prefix[0] = 0xe0 | (len >> 8) as u8;
                    prefix[1] = len as u8;
                    2
                } else {
                    prefix[0] = 0xf0;
                    prefix[1..5].copy_from_slice(&(len as u32).to_le_bytes());
                    5
                };
                (prefix_len, s)
            }
        };
        Encoded { prefix, prefix_len, tail }
    }

    /// Writes an integer's encoding; returns its length.
    pub(super) fn int(v: i64, prefix: &mut [u8; MAX_PREFIX]) -> usize {
        let le = v.to_le_bytes();
        let (tag, width) = match v {
            0..=127 => {
                prefix[0] = v as u8;
                return 1;
            }
            -4096..=4095 => {
                prefix[0] = 0xc0 | (le[1] & 0x1f);
                prefix[1] = le[0];
                return 2;
            }
            -0x8000..=0x7fff => (0xf1, 2),
            -0x80_0000..=0x7f_ffff => (0xf2, 3),
            -0x8000_0000..=0x7fff_ffff => (0xf3, 4),
            _ => (0xf4, 8),
        };
        prefix[0] = tag;
        prefix[1..=width].copy_from_slice(&le[..width]);
        width + 1
    }

    /// Without the trailing back length.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.prefix_len + self.tail.len()
    }

    pub(super) fn write(&self, out: &mut [u8]) {
        let (prefix, rest) = out.split_at_mut(self.prefix_len);
        prefix.copy_from_slice(&self.prefix[..self.prefix_len]);
        let (tail, back) = rest.split_at_mut(self.tail.len());
        tail.copy_from_slice(self.tail);
        write_back_len(back, self.len());
    }
}

/// How many bytes the back length of an entry of `len` bytes takes. The odd limits are the format's.
#[inline]
pub(super) fn back_len_size(len: usize) -> usize {
    match len {
        0..=127 => 1,
        128..=16_382 => 2,
        16_383..=2_097_150 => 3,
        2_097_151..=268_435_454 => 4,
        _ => 5,
    }
}

pub(super) fn write_back_len(out: &mut [u8], mut len: usize) {
    for byte in out.iter_mut().rev() {
        *byte = (len & 0x7f) as u8;
        len >>= 7;
    }
    // Read from the right: a set top bit says that more follows to the left.
    for byte in &mut out[1..] {
        *byte |= 0x80;
    }
}

/// Reads the back length whose last byte is `buf[end - 1]`.
pub(super) fn read_back_len(buf: &[u8], end: usize) -> Option<usize> {
    let mut len = 0usize;
    for i in 0..5 {
        let byte = *buf.get(end.checked_sub(i + 1)?)?;
        len |= usize::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            return Some(len);
        }
    }
    None
}

/// Decodes the entry at `at`: the item and its length without the back length. None at bytes that are no entry.
#[inline]
pub(super) fn decode(buf: &[u8], at: usize) -> Option<(LpItem<'_>, usize)> {
    let entry = buf.get(at..)?;
    let tag = *entry.first()?;
    let string =
        |from: usize, len: usize| entry.get(from..from + len).map(|s| (LpItem::Str(s), from + len));
    let int = |width: usize| {
        let bytes = entry.get(1..=width)?;
        let mut le = [0u8; 8];
        le[8 - width..].copy_from_slice(bytes);
        // Shifting down from the top extends the sign.
        Some((LpItem::Int(i64::from_le_bytes(le) >> (64 - 8 * width)), width + 1))
    };
    match tag {
        0..=0x7f => Some((LpItem::Int(i64::from(tag)), 1)),
        0x80..=0xbf => string(1, usize::from(tag & 0x3f)),
        0xc0..=0xdf => {
            let value = u16::from(tag & 0x1f) << 8 | u16::from(*entry.get(1)?);
            Some((LpItem::Int(i64::from((value << 3) as i16 >> 3)), 2))
        }
        0xe0..=0xef => string(2, usize::from(tag & 0x0f) << 8 | usize::from(*entry.get(1)?)),
        0xf0 => {
            let len = entry.get(1..5)?.try_into().expect("four bytes");
            string(5, u32::from_le_bytes(len) as usize)
        }
        0xf1 => int(2),
        0xf2 => int(3),
        0xf3 => int(4),
        0xf4 => int(8),
        _ => None,
    }
}
