//! Bytes that are no UTF-8 inside texts.
//!
//! Messages repeat what a client sent, byte by byte, while they are put together as text. A byte that is not part of
//! UTF-8 travels through the text as one of 256 private characters and becomes itself again when the line is written.
use std::borrow::Cow;

/// The private character of byte 0; the other 255 follow it and are the last characters there are.
const FIRST: u32 = 0x10_ff00;

/// Bytes as text.
pub fn as_text(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return Cow::Borrowed(text);
    }
    let mut text = String::with_capacity(bytes.len() + 16);
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        let private = |byte: &u8| char::from_u32(FIRST + u32::from(*byte));
        text.extend(chunk.invalid().iter().filter_map(private));
    }
    Cow::Owned(text)
}

/// What [`as_text`] was given.
pub fn from_text(text: &[u8]) -> Cow<'_, [u8]> {
    const LEAD: &[u8] = &[0xf4, 0x8f];
    let at = |i: usize| -> Option<u8> {
        match text.get(i..i + 4)? {
            [0xf4, 0x8f, high @ 0xbc..=0xbf, low] => Some((high - 0xbc) << 6 | (low & 0x3f)),
            _ => None,
        }
    };
    if !text.windows(2).any(|pair| pair == LEAD) {
        return Cow::Borrowed(text);
    }
    let (mut out, mut i) = (Vec::with_capacity(text.len()), 0);
    while i < text.len() {
        match at(i) {
            Some(byte) => {
                out.push(byte);
                i += 4;
            }
            None => {
                out.push(text[i]);
                i += 1;
            }
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_comes_back() {
        let all: Vec<u8> = (0..=255).collect();
        let text = as_text(&all).into_owned();
        assert_eq!(&*from_text(text.as_bytes()), &all[..]);
        for plain in ["", "abc", "\u{e4}\u{20ac}\u{1f600}", "\u{10feff}"] {
            assert_eq!(as_text(plain.as_bytes()), plain);
            assert_eq!(&*from_text(plain.as_bytes()), plain.as_bytes());
        }
        let mixed = b"a\xc3b\xc3\xa4\xf4\x8f";
        assert_eq!(&*from_text(as_text(mixed).as_bytes()), mixed);
    }
}
