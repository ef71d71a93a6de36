//! Compact encodings that old versions wrote: ziplists (until 6.2) and zipmaps (until 2.4). They become listpacks.
use crate::keyspace::listpack::{Listpack, LpItem};

fn le<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

fn u32_at(bytes: &[u8], at: usize) -> Option<usize> {
    le(bytes, at).map(|b| u32::from_le_bytes(b) as usize)
}

/// Reads a ziplist: size, offset of the last entry, count; then entries of previous length, encoding and data; then 255.
/// `None` if anything is wrong with it.
pub fn ziplist(bytes: &[u8]) -> Option<Listpack> {
    const HEADER: usize = 10;
    const END: u8 = 0xff;
    if bytes.len() < HEADER + 1 || u32_at(bytes, 0)? != bytes.len() {
        return None;
    }
    let tail = u32_at(bytes, 4)?;
    let stated = usize::from(u16::from_le_bytes(le(bytes, 8)?));
    let mut lp = Listpack::new();
    let (mut at, mut previous, mut last, mut count) = (HEADER, 0, HEADER, 0);
    while *bytes.get(at)? != END {
        let start = at;
        let before = match bytes[at] {
            0xfe => {
                at += 5;
                u32_at(bytes, start + 1)?
            }
            n => {
                at += 1;
                usize::from(n)
            }
        };
        if before != previous {
            return None;
        }
        let (item, used) = ziplist_entry(bytes.get(at..)?)?;
        if !lp.would_fit(item.text_len()) {
            return None;
        }
        lp.push_back(item);
        at += used;
        (previous, last, count) = (at - start, start, count + 1);
    }
    let counted = stated == usize::from(u16::MAX) || stated == count;
    (at + 1 == bytes.len() && last == tail && counted).then_some(lp)
}

/// Encoding and data of an entry, and their length.
fn ziplist_entry(b: &[u8]) -> Option<(LpItem<'_>, usize)> {
    let first = *b.first()?;
    let text = |start: usize, len: usize| {
        let end = start.checked_add(len)?;
        Some((LpItem::parse(b.get(start..end)?), end))
    };
    match first >> 6 {
        0 => return text(1, usize::from(first)),
        1 => return text(2, usize::from(first & 0x3f) << 8 | usize::from(*b.get(1)?)),
        2 if first == 0x80 => return text(5, u32::from_be_bytes(le(b, 1)?) as usize),
        2 => return None,
        _ => {}
    }
    let (value, used) = match first {
        0xc0 => (i64::from(i16::from_le_bytes(le(b, 1)?)), 3),
        0xd0 => (i64::from(i32::from_le_bytes(le(b, 1)?)), 5),
        0xe0 => (i64::from_le_bytes(le(b, 1)?), 9),
        0xf0 => {
            let [low, middle, high] = le::<3>(b, 1)?;
            // The sign is in the third byte.
            (i64::from(i32::from_le_bytes([0, low, middle, high]) >> 8), 4)
        }
        0xfe => (i64::from(*b.get(1)? as i8), 2),
        0xf1..=0xfd => (i64::from(first & 0x0f) - 1, 1),
        _ => return None,
    };
    Some((LpItem::Int(value), used))
}

/// Reads a zipmap into a listpack of fields and values: a count, then fields and values with their lengths, the value's
/// followed by a number of unused bytes; then 255. `None` if anything is wrong with it.
pub fn zipmap(bytes: &[u8]) -> Option<Listpack> {
    const BIG: u8 = 254;
    const END: u8 = 255;
    let length = |at: &mut usize| -> Option<usize> {
        let first = *bytes.get(*at)?;
        *at += 1;
        match first {
            END => None,
            BIG => {
                *at += 4;
                u32_at(bytes, *at - 4)
            }
            n => Some(usize::from(n)),
        }
    };
    let mut lp = Listpack::new();
    let (stated, mut at, mut count) = (*bytes.first()?, 1, 0usize);
    while *bytes.get(at)? != END {
        let len = length(&mut at)?;
        let field = bytes.get(at..at.checked_add(len)?)?;
        at += len;
        let len = length(&mut at)?;
        let unused = usize::from(*bytes.get(at)?);
        at += 1;
        let value = bytes.get(at..at.checked_add(len)?)?;
        at = at.checked_add(len)?.checked_add(unused)?;
        if !lp.would_fit(field.len() + value.len()) {
            return None;
        }
        lp.push_back(field);
        lp.push_back(value);
        count += 1;
    }
    let counted = stated >= BIG || usize::from(stated) == count;
    (at + 1 == bytes.len() && counted).then_some(lp)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ziplist_of_all_encodings() {
        let long = [b'x'; 300];
        let entries: Vec<Vec<u8>> = vec![
            [&[3u8][..], b"abc"].concat(),
            [&[0x40 | 1, 44][..], &long].concat(),
            vec![0xf1],
            vec![0xfd],
            vec![0xfe, (-5i8) as u8],
            [&[0xc0][..], &(-300i16).to_le_bytes()].concat(),
            vec![0xf0, 0x00, 0x00, 0x80],
            [&[0xd0][..], &1_000_000_000i32.to_le_bytes()].concat(),
            [&[0xe0][..], &(-1i64 << 40).to_le_bytes()].concat(),
        ];
        let zl = build(&entries);
        let texts: Vec<String> = ziplist(&zl)
            .expect("a good one")
            .iter()
            .map(|i| String::from_utf8(i.to_vec()).unwrap())
            .collect();
        let x = "x".repeat(300);
        let expected =
            ["abc", &x, "0", "12", "-5", "-300", "-8388608", "1000000000", "-1099511627776"];
        assert_eq!(texts, expected);
        for i in 0..zl.len() {
            let mut bad = zl.clone();
            bad.truncate(i);
            assert!(ziplist(&bad).is_none(), "cut at {i}");
        }
    }

    fn build(entries: &[Vec<u8>]) -> Vec<u8> {
        let (mut body, mut previous, mut tail) = (Vec::new(), 0usize, 10);
        for e in entries {
            tail = 10 + body.len();
            let start = body.len();
            if previous < 254 {
                body.push(previous as u8);
            } else {
                body.push(0xfe);
                body.extend((previous as u32).to_le_bytes());
            }
            body.extend(e);
            previous = body.len() - start;
        }
        let mut zl = ((body.len() + 11) as u32).to_le_bytes().to_vec();
        zl.extend((tail as u32).to_le_bytes());
        zl.extend((entries.len() as u16).to_le_bytes());
        zl.extend(body);
        zl.push(0xff);
        zl
    }

    #[test]
    fn zipmap_with_free_bytes() {
        let zm = b"\x02\x03foo\x03\x00bar\x05hello\x05\x02world--\xff";
        let lp = zipmap(zm).expect("a good one");
        let texts: Vec<Vec<u8>> = lp.iter().map(|i| i.to_vec()).collect();
        assert_eq!(texts, [&b"foo"[..], b"bar", b"hello", b"world"]);
        for i in 0..zm.len() {
            assert!(zipmap(&zm[..i]).is_none(), "cut at {i}");
        }
        assert!(zipmap(b"\x03\x03foo\x03\x00bar\xff").is_none(), "a wrong count");
    }
}
