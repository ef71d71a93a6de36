//! Event classes of keyspace notifications: `notify-keyspace-events` and the module API's `NOTIFY_` bits share numbers.

/// `K`: publish `__keyspace@<db>__` messages.
pub const KEYSPACE: u32 = 1;
/// `E`: publish `__keyevent@<db>__` messages.
pub const KEYEVENT: u32 = 1 << 1;
/// `g`: commands of no particular type (DEL, EXPIRE, RENAME).
pub const GENERIC: u32 = 1 << 2;
/// `$`: strings.
pub const STRING: u32 = 1 << 3;
/// `l`: lists.
pub const LIST: u32 = 1 << 4;
/// `s`: sets.
pub const SET: u32 = 1 << 5;
/// `h`: hashes.
pub const HASH: u32 = 1 << 6;
/// `z`: sorted sets.
pub const ZSET: u32 = 1 << 7;
/// `x`: a key expired.
pub const EXPIRED: u32 = 1 << 8;
/// `e`: a key was evicted.
pub const EVICTED: u32 = 1 << 9;
/// `t`: streams.
pub const STREAM: u32 = 1 << 10;
/// `m`: a read found no key. Not part of `A`.
pub const KEY_MISS: u32 = 1 << 11;
/// For modules only: a key was loaded from an RDB file.
pub const LOADED: u32 = 1 << 12;
/// `d`: module types.
pub const MODULE: u32 = 1 << 13;
/// `n`: a key came into being. Not part of `A`.
pub const NEW: u32 = 1 << 14;
/// `A`.
pub const ALL: u32 =
    GENERIC | STRING | LIST | SET | HASH | ZSET | EXPIRED | EVICTED | STREAM | MODULE;

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
