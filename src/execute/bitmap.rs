//! Strings as arrays of bits. Bit 0 is the highest bit of the first byte.
use super::error::{err, SYNTAX, WRONGTYPE};
use super::{int, is, CommandError, CommandResult, Expiry, Tx};
use crate::dispatch::table::{flags, key, keys, noted_key, Handler, KeySpec, Row};
use crate::keyspace::event::{self, class};
use crate::keyspace::number::parse_i64;
use crate::keyspace::value::{StringValue, Value, ValueMut};
use crate::reply::Reply;
use std::borrow::Cow;

/// A bit's place; `#n` counts in fields of `bits` bits where that is given.
fn offset(tx: &Tx<'_>, arg: &[u8], bits: Option<u32>) -> Result<usize, CommandError> {
    let (text, unit) = match (arg.strip_prefix(b"#"), bits) {
        (Some(rest), Some(bits)) => (rest, i64::from(bits)),
        _ => (arg, 1),
    };
    let limit = tx.server.config.proto_max_bulk_len();
    parse_i64(text)
        .and_then(|n| usize::try_from(n.wrapping_mul(unit)).ok())
        .filter(|n| n >> 3 < limit)
        .ok_or(err("ERR bit offset is not an integer or out of range"))
}

/// The text of a key for reading, if the key exists.
fn text<'t>(tx: &'t Tx<'_>, key: &[u8]) -> Result<Option<Cow<'t, [u8]>>, CommandError> {
    Ok(tx.string(key)?.map(|s| s.to_cow()))
}

/// A string to change, grown to have the bit `last`. Tells whether it was made or grown.
fn grown<'t>(
    tx: &'t mut Tx<'_>,
    key: &[u8],
    last: usize,
) -> Result<(&'t mut Vec<u8>, bool), CommandError> {
    let new = match tx.get_mut(key) {
        None => true,
        Some(ValueMut::String(_)) => false,
        Some(_) => return Err(WRONGTYPE),
    };
    let value = tx.string_mut(key)?;
    let need = (last >> 3) + 1;
    let grows = value.len() < need;
    if grows {
        value.resize(need, 0);
    }
    Ok((value, new || grows))
}

fn bit_at(bytes: &[u8], bit: usize) -> bool {
    bytes.get(bit >> 3).is_some_and(|b| b & 0x80 >> (bit & 7) != 0)
}

/// `SETBIT key offset value`
fn setbit(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let at = offset(tx, args[2], None)?;
    let on = match parse_i64(args[3]) {
        Some(0) => false,
        Some(1) => true,
        _ => return Err(err("ERR bit is not an integer or out of range")),
    };
    let (value, grew) = grown(tx, args[1], at)?;
    let old = bit_at(value, at);
    if old != on {
        value[at >> 3] ^= 0x80 >> (at & 7);
    }
    out.int(i64::from(old));
    if grew || old != on {
        tx.dirty += 1;
        tx.modified(args[1]);
        tx.notify(&event::SETBIT, args[1]);
    }
    Ok(())
}

/// `GETBIT key offset`
fn getbit(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let at = offset(tx, args[2], None)?;
    out.int(i64::from(text(tx, args[1])?.is_some_and(|t| bit_at(&t, at))));
    Ok(())
}

/// Number of bits set from `from` to `to`, both included.
fn count_ones(bytes: &[u8], from: usize, to: usize) -> u64 {
    let (first, last) = (from >> 3, to >> 3);
    let (head, tail) = (0xffu8 >> (from & 7), !(0x7fu8 >> (to & 7)));
    if first == last {
        return u64::from((bytes[first] & head & tail).count_ones());
    }
    let edges = (bytes[first] & head).count_ones() + (bytes[last] & tail).count_ones();
    let mut words = bytes[first + 1..last].chunks_exact(8);
    let inner: u64 = words
        .by_ref()
        .map(|w| u64::from(u64::from_ne_bytes(w.try_into().expect("eight bytes")).count_ones()))
        .sum();
    let rest: u64 = words.remainder().iter().map(|b| u64::from(b.count_ones())).sum();
    u64::from(edges) + inner + rest
}

/// The first bit equal to `bit` from `from` to `to`, both included.
fn find_bit(bytes: &[u8], from: usize, to: usize, bit: bool) -> Option<usize> {
    let (first, last) = (from >> 3, to >> 3);
    // Looks for ones; zeros are looked for in the complement.
    let flip = if bit { 0 } else { 0xff };
    let mut at = first;
    while at <= last {
        if at > first && at + 8 <= last && bytes[at..at + 8] == [flip; 8] {
            at += 8;
            continue;
        }
        let mut byte = bytes[at] ^ flip;
        if at == first {
            byte &= 0xff >> (from & 7);
        }
        if at == last {
            byte &= !(0x7f >> (to & 7));
        }
        if byte != 0 {
            return Some(at * 8 + byte.leading_zeros() as usize);
        }
        at += 1;
    }
    None
}

/// `BIT` or `BYTE`: whether indexes count bits.
fn unit(word: &[u8]) -> Result<bool, CommandError> {
    match word {
        w if is(w, "bit") => Ok(true),
        w if is(w, "byte") => Ok(false),
        _ => Err(SYNTAX),
    }
}

/// The bits, both included, that inclusive indexes mean in a text of `len` bytes; `None` when there are none.
fn bit_range(start: i64, end: i64, len: usize, in_bits: bool) -> Option<(usize, usize)> {
    let total = len as i64 * if in_bits { 8 } else { 1 };
    let place = |i: i64| if i < 0 { i.saturating_add(total).max(0) } else { i };
    let (start, end) = (place(start), place(end).min(total - 1));
    if start > end {
        return None;
    }
    let (start, end) = (start as usize, end as usize);
    Some(if in_bits { (start, end) } else { (start * 8, end * 8 + 7) })
}

/// `BITCOUNT key [start end [BYTE|BIT]]`
fn bitcount(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let (start, end, in_bits) = match args.len() {
        2 => (0, -1, false),
        4 | 5 => {
            let (start, end) = (int(args[2])?, int(args[3])?);
            (start, end, args.get(4).map_or(Ok(false), |w| unit(w))?)
        }
        _ => return Err(SYNTAX),
    };
    let text = text(tx, args[1])?.unwrap_or_default();
    let backwards = start < 0 && end < 0 && start > end;
    let range = bit_range(start, end, text.len(), in_bits).filter(|_| !backwards);
    out.int(range.map_or(0, |(from, to)| count_ones(&text, from, to)) as i64);
    Ok(())
}

/// `BITPOS key bit [start [end [BYTE|BIT]]]`
fn bitpos(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let bit = match int(args[2])? {
        0 => false,
        1 => true,
        _ => return Err(err("ERR The bit argument must be 1 or 0.")),
    };
    if args.len() > 6 {
        return Err(SYNTAX);
    }
    let start = args.get(3).map_or(Ok(0), |a| int(a))?;
    let in_bits = args.get(5).map_or(Ok(false), |w| unit(w))?;
    let end = match args.get(4) {
        Some(a) => Some(int(a)?),
        None => None,
    };
    let Some(text) = text(tx, args[1])? else {
        out.int(if bit { -1 } else { 0 });
        return Ok(());
    };
    let Some((from, to)) = bit_range(start, end.unwrap_or(-1), text.len(), in_bits) else {
        out.int(-1);
        return Ok(());
    };
    out.int(match find_bit(&text, from, to, bit) {
        Some(at) => at as i64,
        // Behind the text there are zeros, unless the caller said where to end.
        None if !bit && end.is_none() => text.len() as i64 * 8,
        None => -1,
    });
    Ok(())
}

/// Combines a text with another, which is as long or shorter: zeros are behind it. Made for each operation, so that the
/// compiler takes many bytes at once.
fn combine(result: &mut [u8], other: &[u8], operation: impl Fn(u8, u8) -> u8) {
    let (both, behind) = result.split_at_mut(other.len());
    both.iter_mut().zip(other).for_each(|(a, b)| *a = operation(*a, *b));
    behind.iter_mut().for_each(|a| *a = operation(*a, 0));
}

/// `BITOP AND|OR|XOR|NOT destination key ...`
fn bitop(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let combine_with: fn(&mut [u8], &[u8]) = match args[1] {
        w if is(w, "and") => |result, other| combine(result, other, |a, b| a & b),
        w if is(w, "or") => |result, other| combine(result, other, |a, b| a | b),
        w if is(w, "xor") => |result, other| combine(result, other, |a, b| a ^ b),
        w if is(w, "not") => |_, _| {},
        _ => return Err(SYNTAX),
    };
    let not = is(args[1], "not");
    if not && args.len() != 4 {
        return Err(err("ERR BITOP NOT must be called with a single source key."));
    }
    let mut texts = Vec::with_capacity(args.len() - 3);
    for key in &args[3..] {
        texts.push(text(tx, key)?.unwrap_or_default());
    }
    let len = texts.iter().map(|t| t.len()).max().unwrap_or(0);
    let mut result = texts[0].to_vec();
    result.resize(len, 0);
    for other in &texts[1..] {
        combine_with(&mut result, other);
    }
    if not {
        result.iter_mut().for_each(|b| *b = !*b);
    }
    drop(texts);
    let dest = args[2];
    if len > 0 {
        // Through the empty string, so that the result becomes a heap string whatever its length.
        tx.set(dest, Value::String(StringValue::Bytes(Vec::new())), Expiry::Clear);
        *tx.string_mut(dest)? = result;
        tx.dirty += 1;
        tx.modified(dest);
        tx.notify(&event::SET, dest);
    } else if tx.remove(dest) {
        tx.dirty += 1;
        tx.modified(dest);
        tx.notify(&event::DEL, dest);
    }
    out.int(len as i64);
    Ok(())
}

/// What happens when a result does not fit its field.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Overflow {
    Wrap,
    Saturate,
    Fail,
}

/// An integer type of up to 64 bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Field {
    signed: bool,
    bits: u32,
}

impl Field {
    fn parse(arg: &[u8]) -> Result<Field, CommandError> {
        let bad = err(
            "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.",
        );
        let signed = match arg.first() {
            Some(b'i') => true,
            Some(b'u') => false,
            _ => return Err(bad),
        };
        let most = if signed { 64 } else { 63 };
        let bits = parse_i64(&arg[1..]).filter(|n| (1..=most).contains(n)).ok_or(bad)?;
        Ok(Field { signed, bits: bits as u32 })
    }

    /// The smallest and the largest value.
    fn limits(self) -> (i128, i128) {
        if self.signed {
            let half = 1i128 << (self.bits - 1);
            (-half, half - 1)
        } else {
            (0, (1 << self.bits) - 1)
        }
    }

    /// The value that the lowest bits of `raw` stand for.
    fn interpret(self, raw: u64) -> i64 {
        let unused = 64 - self.bits;
        let top = raw << unused;
        if self.signed {
            top as i64 >> unused
        } else {
            (top >> unused) as i64
        }
    }

    /// The reference subtracts a value to be set from the largest one in 64 bits, so that a value near the lowest of all
    /// passes for one that is too large, and saturates upwards. Wrapping is the same in both directions.
    fn quirk(self, value: i64) -> i128 {
        let (_, max) = self.limits();
        let exact = i128::from(value);
        if self.bits < 64 && max - exact > i128::from(i64::MAX) {
            exact + (1 << 64)
        } else {
            exact
        }
    }

    /// Makes an exact result fit, or refuses.
    fn fit(self, exact: i128, overflow: Overflow) -> Option<i64> {
        let (min, max) = self.limits();
        if (min..=max).contains(&exact) {
            return Some(exact as i64);
        }
        match overflow {
            Overflow::Wrap => Some(self.interpret(exact as u64)),
            Overflow::Saturate => Some(exact.clamp(min, max) as i64),
            Overflow::Fail => None,
        }
    }

    /// Reads the field at a bit; behind the end there are zeros.
    fn read(self, bytes: &[u8], at: usize) -> i64 {
        let mut window = [0u8; 16];
        let from = (at >> 3).min(bytes.len());
        let there = &bytes[from..bytes.len().min(from + 9)];
        window[..there.len()].copy_from_slice(there);
        let shift = 128 - (at & 7) as u32 - self.bits;
        self.interpret((u128::from_be_bytes(window) >> shift) as u64)
    }

    /// Writes the field at a bit, all of which is there.
    fn write(self, bytes: &mut [u8], at: usize, value: i64) {
        for i in 0..self.bits as usize {
            let place = at + self.bits as usize - 1 - i;
            let mask = 0x80 >> (place & 7);
            if value >> i & 1 == 1 {
                bytes[place >> 3] |= mask;
            } else {
                bytes[place >> 3] &= !mask;
            }
        }
    }
}

enum What {
    Get,
    Set(i64),
    Add(i64),
}

struct Operation {
    what: What,
    field: Field,
    at: usize,
    overflow: Overflow,
}

fn operations(tx: &Tx<'_>, args: &[&[u8]]) -> Result<Vec<Operation>, CommandError> {
    let mut found = Vec::new();
    let mut overflow = Overflow::Wrap;
    let mut i = 0;
    while i < args.len() {
        let more = args.len() - i - 1;
        let word = args[i];
        let writes = (is(word, "set") || is(word, "incrby")) && more >= 3;
        if is(word, "overflow") && more >= 1 {
            overflow = match args[i + 1] {
                w if is(w, "wrap") => Overflow::Wrap,
                w if is(w, "sat") => Overflow::Saturate,
                w if is(w, "fail") => Overflow::Fail,
                _ => return Err(err("ERR Invalid OVERFLOW type specified")),
            };
            i += 2;
            continue;
        }
        let reads = is(word, "get") && more >= 2;
        if !(reads || writes) {
            return Err(SYNTAX);
        }
        let field = Field::parse(args[i + 1])?;
        let at = offset(tx, args[i + 2], Some(field.bits))?;
        let what = match writes {
            false => What::Get,
            true if is(word, "set") => What::Set(int(args[i + 3])?),
            true => What::Add(int(args[i + 3])?),
        };
        found.push(Operation { what, field, at, overflow });
        i += if writes { 4 } else { 3 };
    }
    Ok(found)
}

fn fields(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply, readonly: bool) -> CommandResult {
    let key = args[1];
    let operations = operations(tx, &args[2..])?;
    let writes = operations.iter().filter(|o| !matches!(o.what, What::Get));
    let Some(last) = writes.map(|o| o.at + o.field.bits as usize - 1).max() else {
        let text = text(tx, key)?.unwrap_or_default();
        out.array(operations.len());
        operations.iter().for_each(|o| out.int(o.field.read(&text, o.at)));
        return Ok(());
    };
    if readonly {
        return Err(err("ERR BITFIELD_RO only supports the GET subcommand"));
    }
    let (value, grew) = grown(tx, key, last)?;
    let mut changes = 0;
    out.array(operations.len());
    for o in &operations {
        let old = o.field.read(value, o.at);
        let (new, answer_old) = match o.what {
            What::Get => {
                out.int(old);
                continue;
            }
            // A negative number is a very large one for an unsigned field.
            What::Set(n) if !o.field.signed => (o.field.fit((n as u64).into(), o.overflow), true),
            What::Set(n) => (o.field.fit(o.field.quirk(n), o.overflow), true),
            What::Add(n) => (o.field.fit(i128::from(old) + i128::from(n), o.overflow), false),
        };
        match new {
            None => out.null(),
            Some(new) => {
                o.field.write(value, o.at, new);
                changes += u64::from(grew || new != old);
                out.int(if answer_old { old } else { new });
            }
        }
    }
    if changes > 0 {
        tx.dirty += changes;
        tx.modified(key);
        tx.notify(&event::SETBIT, key);
    }
    Ok(())
}

/// `BITFIELD key [GET type offset | SET type offset value | INCRBY type offset n | OVERFLOW WRAP|SAT|FAIL] ...`
fn bitfield(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    fields(tx, args, out, false)
}

/// `BITFIELD_RO key [GET type offset] ...`
fn bitfield_ro(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    fields(tx, args, out, true)
}

const EVENTS: u32 = class::STRING | class::GENERIC | class::NEW | class::KEY_MISS;
const READ: &[KeySpec] = &[keys(key::RO | key::ACCESS, 1, 1, 1)];
const WRITE: u64 = flags::WRITE | flags::DENYOOM;

const fn row(
    name: &'static str,
    arity: i32,
    flags: u64,
    keys: &'static [KeySpec],
    since: &'static str,
    run: Handler,
) -> Row {
    let events = if flags & flags::WRITE != 0 { EVENTS } else { class::KEY_MISS };
    Row {
        keys,
        events,
        acl: &["bitmap"],
        group: "bitmap",
        since,
        ..Row::new(name, arity, flags, run)
    }
}

/// The family's commands.
pub static ROWS: &[Row] = &[
    Row {
        keys: &[keys(key::RW | key::ACCESS | key::UPDATE, 1, 1, 1)],
        summary: "Sets or clears a bit of a string.",
        ..row("setbit", 4, WRITE, &[], "2.2.0", setbit)
    },
    Row {
        summary: "Returns a bit of a string.",
        ..row("getbit", 3, flags::READONLY | flags::FAST, READ, "2.2.0", getbit)
    },
    Row {
        summary: "Counts the bits that are set.",
        ..row("bitcount", -2, flags::READONLY, READ, "2.6.0", bitcount)
    },
    Row {
        summary: "Finds the first bit that is set, or clear.",
        ..row("bitpos", -3, flags::READONLY, READ, "2.8.7", bitpos)
    },
    Row {
        keys: &[keys(key::OW | key::UPDATE, 2, 2, 1), keys(key::RO | key::ACCESS, 3, -1, 1)],
        summary: "Combines strings bit by bit and stores the result.",
        ..row("bitop", -4, WRITE, &[], "2.6.0", bitop)
    },
    Row {
        keys: &[noted_key(
            key::RW | key::ACCESS | key::UPDATE | key::VARIABLE_FLAGS,
            1,
            "Read or changed, as the operations are.",
        )],
        summary: "Reads and writes integers of any width inside a string.",
        ..row("bitfield", -2, WRITE, &[], "3.2.0", bitfield)
    },
    Row {
        summary: "Reads integers of any width inside a string.",
        ..row("bitfield_ro", -2, flags::READONLY | flags::FAST, READ, "6.0.0", bitfield_ro)
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_lie_across_bytes() {
        let mut bytes = [0u8; 12];
        let wide = Field { signed: true, bits: 64 };
        wide.write(&mut bytes, 5, i64::MIN + 7);
        assert_eq!(wide.read(&bytes, 5), i64::MIN + 7);
        let five = Field { signed: true, bits: 5 };
        five.write(&mut bytes, 70, -3);
        assert_eq!(five.read(&bytes, 70), -3);
        assert_eq!(Field { signed: false, ..five }.read(&bytes, 70), 29);
        assert_eq!(wide.read(&bytes, 5), i64::MIN + 7);
        assert_eq!(wide.read(&bytes, 1 << 30), 0);
    }

    #[test]
    fn overflow_wraps_saturates_or_fails() {
        let i8 = Field { signed: true, bits: 8 };
        let u8 = Field { signed: false, bits: 8 };
        assert_eq!(i8.fit(130, Overflow::Wrap), Some(-126));
        assert_eq!(i8.fit(-200, Overflow::Saturate), Some(-128));
        assert_eq!(u8.fit(-1, Overflow::Wrap), Some(255));
        assert_eq!(u8.fit(300, Overflow::Saturate), Some(255));
        assert_eq!(u8.fit(256, Overflow::Fail), None);
        let i64s = Field { signed: true, bits: 64 };
        let over = i128::from(i64::MAX) + 1;
        assert_eq!(i64s.fit(over, Overflow::Wrap), Some(i64::MIN));
        assert_eq!(i64s.fit(over, Overflow::Saturate), Some(i64::MAX));
        assert_eq!(i8.fit(i8.quirk(i64::MIN), Overflow::Saturate), Some(127));
        assert_eq!(i8.fit(i8.quirk(i64::MIN + 1000), Overflow::Saturate), Some(-128));
        assert_eq!(i8.fit(i8.quirk(i64::MIN + 5), Overflow::Wrap), Some(5));
    }

    #[test]
    fn counting_and_finding_agree_with_a_bit_by_bit_look() {
        let mut bytes: Vec<u8> = (0..40u8).map(|i| i.wrapping_mul(73)).collect();
        bytes[10..30].fill(0);
        for from in (0..320).step_by(7) {
            for to in (from..320).step_by(3) {
                let ones = (from..=to).filter(|&b| bit_at(&bytes, b)).count() as u64;
                assert_eq!(count_ones(&bytes, from, to), ones);
                for bit in [false, true] {
                    let first = (from..=to).find(|&b| bit_at(&bytes, b) == bit);
                    assert_eq!(find_bit(&bytes, from, to, bit), first);
                }
            }
        }
    }

    #[test]
    fn ranges_in_bytes_and_bits() {
        assert_eq!(bit_range(0, -1, 3, false), Some((0, 23)));
        assert_eq!(bit_range(-2, -1, 3, false), Some((8, 23)));
        assert_eq!(bit_range(3, 100, 3, true), Some((3, 23)));
        assert_eq!(bit_range(0, -1, 0, false), None);
        assert_eq!(bit_range(24, 30, 3, true), None);
    }
}
