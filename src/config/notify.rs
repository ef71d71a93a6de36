//! `notify-keyspace-events`: letters for the classes of keyspace events.
use crate::keyspace::event::class::{
    ALL, EVICTED, EXPIRED, GENERIC, HASH, KEYEVENT, KEYSPACE, KEY_MISS, LIST, MODULE, NEW, SET,
    STREAM, STRING, ZSET,
};

/// Classes that `A` abbreviates when all of its own are there. `n` is printed only when `A` is not: so does the reference.
const TYPED: [(u8, u32); 11] = [
    (b'g', GENERIC),
    (b'$', STRING),
    (b'l', LIST),
    (b's', SET),
    (b'h', HASH),
    (b'z', ZSET),
    (b'x', EXPIRED),
    (b'e', EVICTED),
    (b't', STREAM),
    (b'd', MODULE),
    (b'n', NEW),
];
const OTHERS: [(u8, u32); 3] = [(b'K', KEYSPACE), (b'E', KEYEVENT), (b'm', KEY_MISS)];

/// Letters to bits; `None` for an unknown letter.
pub fn parse_events(letters: &[u8]) -> Option<u32> {
    letters.iter().try_fold(0, |flags, &letter| {
        let bit = match letter {
            b'A' => ALL,
            _ => TYPED.iter().chain(&OTHERS).find(|class| class.0 == letter)?.1,
        };
        Some(flags | bit)
    })
}

/// Bits to letters, in the reference's order.
pub fn format_events(flags: u32) -> String {
    let mut out = String::new();
    if flags & ALL == ALL {
        out.push('A');
    } else {
        out.extend(TYPED.iter().filter(|class| flags & class.1 != 0).map(|class| class.0 as char));
    }
    out.extend(OTHERS.iter().filter(|class| flags & class.1 != 0).map(|class| class.0 as char));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_and_bits() {
        assert_eq!(parse_events(b"KEx"), Some(KEYSPACE | KEYEVENT | EXPIRED));
        assert_eq!(parse_events(b""), Some(0));
        assert_eq!(parse_events(b"foo"), None);
        assert_eq!(format_events(KEYSPACE | KEYEVENT | EXPIRED), "xKE");
        assert_eq!(format_events(parse_events(b"g$lshzxetdEKmn").unwrap()), "AKEm");
        assert_eq!(format_events(parse_events(b"g$n").unwrap()), "g$n");
        assert_eq!(format_events(0), "");
        assert_eq!(parse_events(b"A"), Some(ALL));
    }
}
