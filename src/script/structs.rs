//! The library `struct`: numbers and strings in the binary forms of C.
use super::lua::{to_integer, Lua, Raised, Results};

/// The widest integer.
const WIDEST: usize = 32;
/// The alignment that `!` alone asks for.
const NATIVE_ALIGN: usize = 8;

/// Reads a format, option by option.
struct Format<'f> {
    text: &'f [u8],
    at: usize,
    big: bool,
    align: usize,
}

/// One option that stands for bytes: its letter and its size.
type Item = (u8, usize);

impl<'f> Format<'f> {
    fn new(text: &'f [u8]) -> Self {
        Format { text, at: 0, big: false, align: 1 }
    }

    /// The number that stands here, if any.
    fn number(&mut self, lua: Lua) -> Result<Option<usize>, Raised> {
        let mut n: Option<i32> = None;
        while let Some(digit) = self.text.get(self.at).filter(|c| c.is_ascii_digit()) {
            let digit = i32::from(digit - b'0');
            let next = n.unwrap_or(0).checked_mul(10).and_then(|n| n.checked_add(digit));
            n = Some(next.ok_or_else(|| lua.error(b"integral size overflow"))?);
            self.at += 1;
        }
        Ok(n.map(|n| n as usize))
    }

    /// The next option; those that only control how others are read have no size and are obeyed by [`Format::control`].
    fn next(&mut self, lua: Lua) -> Result<Option<Item>, Raised> {
        let Some(&option) = self.text.get(self.at) else { return Ok(None) };
        self.at += 1;
        let size = match option {
            b'B' | b'b' | b'x' => 1,
            b'H' | b'h' => 2,
            b'L' | b'l' | b'T' | b'd' => 8,
            b'f' => 4,
            b'c' => self.number(lua)?.unwrap_or(1),
            b'i' | b'I' => {
                let size = self.number(lua)?.unwrap_or(4);
                if size > WIDEST {
                    let text = format!("integral size {size} is larger than limit of {WIDEST}");
                    return Err(lua.error(text.as_bytes()));
                }
                size
            }
            _ => 0,
        };
        Ok(Some((option, size)))
    }

    /// Bytes to skip so that an option of this size is aligned.
    fn padding(&self, at: usize, (option, size): Item) -> usize {
        if size == 0 || option == b'c' {
            return 0;
        }
        let size = size.min(self.align);
        size.wrapping_sub(at & (size - 1)) & (size - 1)
    }

    fn control(&mut self, lua: Lua, option: u8) -> Result<(), Raised> {
        match option {
            b' ' => {}
            b'>' => self.big = true,
            b'<' => self.big = false,
            b'!' => {
                let align = self.number(lua)?.unwrap_or(NATIVE_ALIGN);
                if !align.is_power_of_two() {
                    let text = format!("alignment {align} is not a power of 2");
                    return Err(lua.error(text.as_bytes()));
                }
                self.align = align;
            }
            _ => {
                let text = format!("invalid format option '{}'", option as char);
                return Err(lua.argument_error(1, &text));
            }
        }
        Ok(())
    }

    /// Bytes that came in the machine's order, in the format's.
    fn ordered<const N: usize>(&self, mut bytes: [u8; N]) -> [u8; N] {
        if self.big {
            bytes.reverse();
        }
        bytes
    }
}

/// The bytes of an integer; beyond eight they are zero.
fn write_integer(out: &mut Vec<u8>, n: f64, size: usize, big: bool) {
    let value = if n < 0.0 || n < (1u64 << 63) as f64 { to_integer(n) as u64 } else { n as u64 };
    let mut bytes = [0; WIDEST];
    bytes[..8].copy_from_slice(&value.to_le_bytes());
    let bytes = &mut bytes[..size];
    if big {
        bytes.reverse();
    }
    out.extend_from_slice(bytes);
}

fn read_integer(bytes: &[u8], signed: bool, big: bool) -> f64 {
    let mut value = 0u64;
    let mut take = |b: &u8| value = value << 8 | u64::from(*b);
    if big {
        bytes.iter().for_each(&mut take);
    } else {
        bytes.iter().rev().for_each(&mut take);
    }
    if !signed {
        return value as f64;
    }
    // As the processor shifts: by the count modulo 64.
    let mask = u64::MAX.wrapping_shl((bytes.len() as u32).wrapping_mul(8).wrapping_sub(1));
    (if value & mask != 0 { value | mask } else { value }) as i64 as f64
}

/// `struct.pack (format, value, ...)`
fn pack(lua: Lua) -> Results {
    lua.check_bytes(1)?;
    let mut format = Format::new(lua.c_bytes(1));
    // The first argument that is missing is nil to messages.
    lua.push_nil();
    let (mut out, mut argument) = (Vec::new(), 2);
    let mut total = 0;
    while let Some((option, mut size)) = format.next(lua)? {
        let padding = format.padding(total, (option, size));
        out.resize(out.len() + padding, 0);
        total += padding;
        match option {
            b'b' | b'B' | b'h' | b'H' | b'l' | b'L' | b'T' | b'i' | b'I' => {
                write_integer(&mut out, lua.check_number(argument)?, size, format.big);
                argument += 1;
            }
            b'x' => out.push(0),
            b'f' => {
                let f = lua.check_number(argument)? as f32;
                out.extend(format.ordered(f.to_le_bytes()));
                argument += 1;
            }
            b'd' => {
                let d = lua.check_number(argument)?;
                out.extend(format.ordered(d.to_le_bytes()));
                argument += 1;
            }
            b'c' | b's' => {
                let s = lua.check_bytes(argument)?;
                argument += 1;
                if size == 0 {
                    size = s.len();
                }
                if s.len() < size {
                    return Err(lua.argument_error(argument, "string too short"));
                }
                out.extend_from_slice(&s[..size]);
                if option == b's' {
                    out.push(0);
                    size += 1;
                }
            }
            _ => format.control(lua, option)?,
        }
        total += size;
    }
    lua.push_bytes(&out);
    Ok(1)
}

/// `struct.unpack (format, data [, position])`
fn unpack(lua: Lua) -> Results {
    lua.check_bytes(1)?;
    let mut format = Format::new(lua.c_bytes(1));
    let data = lua.check_bytes(2)?;
    let position = lua.optional_integer(3, 1)? as usize;
    if position == 0 {
        return Err(lua.argument_error(3, "offset must be 1 or greater"));
    }
    let (mut at, mut n) = (position - 1, 0);
    // Results stand above whatever arguments were given.
    while let Some((option, mut size)) = format.next(lua)? {
        at = at.wrapping_add(format.padding(at, (option, size)));
        if size > data.len() || at > data.len() - size {
            return Err(lua.argument_error(2, "data string too short"));
        }
        if !lua.room(6) {
            return Err(lua.error(b"stack overflow (too many results)"));
        }
        let bytes = &data[at..at + size];
        match option {
            b'b' | b'B' | b'h' | b'H' | b'l' | b'L' | b'T' | b'i' | b'I' => {
                lua.push_number(read_integer(bytes, option.is_ascii_lowercase(), format.big));
                n += 1;
            }
            b'x' => {}
            b'f' => {
                let b: [u8; 4] = bytes.try_into().expect("four bytes");
                lua.push_number(f64::from(f32::from_le_bytes(format.ordered(b))));
                n += 1;
            }
            b'd' => {
                let b: [u8; 8] = bytes.try_into().expect("eight bytes");
                lua.push_number(f64::from_le_bytes(format.ordered(b)));
                n += 1;
            }
            b'c' => {
                if size == 0 {
                    if n == 0 || !lua.is_number(-1) {
                        return Err(lua.error(b"format 'c0' needs a previous size"));
                    }
                    size = to_integer(lua.to_number(-1)) as usize;
                    lua.pop(1);
                    n -= 1;
                    if size > data.len() || at > data.len() - size {
                        return Err(lua.argument_error(2, "data string too short"));
                    }
                }
                lua.push_bytes(&data[at..at + size]);
                n += 1;
            }
            b's' => {
                let Some(len) = data[at..].iter().position(|&c| c == 0) else {
                    return Err(lua.error(b"unfinished string in data"));
                };
                lua.push_bytes(&data[at..at + len]);
                size = len + 1;
                n += 1;
            }
            _ => format.control(lua, option)?,
        }
        at += size;
    }
    lua.push_number((at + 1) as f64);
    Ok(n + 1)
}

/// `struct.size (format)`
fn size(lua: Lua) -> Results {
    lua.check_bytes(1)?;
    let mut format = Format::new(lua.c_bytes(1));
    let mut total = 0usize;
    while let Some((option, size)) = format.next(lua)? {
        total += format.padding(total, (option, size));
        if option == b's' {
            return Err(lua.argument_error(1, "option 's' has no fixed size"));
        }
        if option == b'c' && size == 0 {
            return Err(lua.argument_error(1, "option 'c0' has no fixed size"));
        }
        if !option.is_ascii_alphanumeric() {
            format.control(lua, option)?;
        }
        total += size;
    }
    lua.push_number(total as f64);
    Ok(1)
}

/// Adds the library to the globals' table on top.
pub fn open(lua: Lua) {
    lua.push_table(0, 3);
    lua.push_function(pack);
    lua.set_field(-2, b"pack");
    lua.push_function(unpack);
    lua.set_field(-2, b"unpack");
    lua.push_function(size);
    lua.set_field(-2, b"size");
    lua.set_field(-2, b"struct");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::tests::result_of;

    #[test]
    fn integers_of_all_widths() {
        for (n, size, signed) in [
            (-1.0, 1, true),
            (200.0, 1, false),
            (-2.0, 2, true),
            (-70000.0, 3, true),
            (4_294_967_295.0, 4, false),
            (-1e15, 8, true),
        ] {
            for big in [false, true] {
                let mut out = Vec::new();
                write_integer(&mut out, n, size, big);
                assert_eq!(out.len(), size);
                assert_eq!(read_integer(&out, signed, big), n, "{n} in {size}");
            }
        }
        let mut out = Vec::new();
        write_integer(&mut out, 1.0, 4, true);
        assert_eq!(out, [0, 0, 0, 1]);
    }

    #[test]
    fn formats() {
        assert_eq!(
            result_of("return struct.pack('>I2<I2', 258, 258)").unwrap(),
            b"\x01\x02\x02\x01"
        );
        assert_eq!(result_of("return struct.pack('!4bi', 1, 2)").unwrap(), b"\x01\0\0\0\x02\0\0\0");
        assert_eq!(result_of("return struct.pack('sc2c0', 'a', 'bcd', 'ef')").unwrap(), b"a\0bcef");
        assert_eq!(result_of("return struct.unpack('bc0', '\\3abcd', 1)").unwrap(), b"abc");
        assert_eq!(
            result_of("return struct.unpack('>d', struct.pack('>d', 1.5))").unwrap(),
            b"1.5"
        );
        assert_eq!(result_of("return struct.size('!8bd')").unwrap(), b"16");
    }

    #[test]
    fn bad_formats() {
        let error = |code: &str| result_of(code).expect_err(code);
        assert!(error("struct.pack('q', 1)").contains("invalid format option 'q'"));
        assert!(error("struct.pack('i99', 1)").contains("larger than limit of 32"));
        assert!(error("struct.pack('i99999999999', 1)").contains("integral size overflow"));
        assert!(error("struct.pack('!3i', 1)").contains("alignment 3 is not a power of 2"));
        assert!(error("struct.unpack('I4', 'abc')").contains("data string too short"));
        assert!(error("struct.unpack('I4', 'abcd', 0)").contains("offset must be 1 or greater"));
        assert!(error("struct.unpack('I1', 'abcd', -5)").contains("data string too short"));
        assert!(error("struct.unpack('bc0', '\\9abcd')").contains("data string too short"));
        assert!(error("struct.unpack('s', 'abcd')").contains("unfinished string in data"));
    }
}
