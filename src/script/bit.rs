//! The library `bit`: operations on 32-bit integers.
use super::lua::{Lua, Raised, Results};

/// A number as 32 bits: what does not fit wraps round, fractions are rounded to even.
pub fn bits(n: f64) -> u32 {
    // 2^52 + 2^51: the integer comes to stand in the low bits.
    (n + 6_755_399_441_055_744.0).to_bits() as u32
}

fn argument(lua: Lua, number: i32) -> Result<u32, Raised> {
    let b = bits(lua.to_number(number));
    if b == 0 && !lua.is_number(number) {
        return Err(lua.type_error(number, "number"));
    }
    Ok(b)
}

fn give(lua: Lua, b: u32) -> Results {
    lua.push_number(f64::from(b as i32));
    Ok(1)
}

fn fold(lua: Lua, op: impl Fn(u32, u32) -> u32) -> Results {
    let mut b = argument(lua, 1)?;
    for i in (2..=lua.top()).rev() {
        b = op(b, argument(lua, i)?);
    }
    give(lua, b)
}

fn shift(lua: Lua, op: impl Fn(u32, u32) -> u32) -> Results {
    let b = argument(lua, 1)?;
    give(lua, op(b, argument(lua, 2)? & 31))
}

/// Hexadecimal digits: `n` of them, in capitals if it is negative.
pub fn hex(b: u32, n: i32) -> String {
    let digits = n.unsigned_abs().min(8) as usize;
    let text = if n < 0 { format!("{b:08X}") } else { format!("{b:08x}") };
    text[8 - digits..].to_string()
}

fn tohex(lua: Lua) -> Results {
    let b = argument(lua, 1)?;
    let n = if lua.top() < 2 { 8 } else { argument(lua, 2)? as i32 };
    lua.push_bytes(hex(b, n).as_bytes());
    Ok(1)
}

/// Adds the library to the globals' table on top.
pub fn open(lua: Lua) {
    lua.push_table(0, 12);
    macro_rules! add {
        ($($name:literal $body:expr;)*) => {
            $(lua.push_function($body); lua.set_field(-2, $name);)*
        };
    }
    add! {
        b"tobit" |l: Lua| give(l, argument(l, 1)?);
        b"bnot" |l: Lua| give(l, !argument(l, 1)?);
        b"band" |l: Lua| fold(l, |a, b| a & b);
        b"bor" |l: Lua| fold(l, |a, b| a | b);
        b"bxor" |l: Lua| fold(l, |a, b| a ^ b);
        b"lshift" |l: Lua| shift(l, |b, n| b << n);
        b"rshift" |l: Lua| shift(l, |b, n| b >> n);
        b"arshift" |l: Lua| shift(l, |b, n| ((b as i32) >> n) as u32);
        b"rol" |l: Lua| shift(l, u32::rotate_left);
        b"ror" |l: Lua| shift(l, u32::rotate_right);
        b"bswap" |l: Lua| give(l, argument(l, 1)?.swap_bytes());
        b"tohex" tohex;
    }
    lua.set_field(-2, b"bit");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_become_bits() {
        assert_eq!(bits(-1.0), u32::MAX);
        assert_eq!(bits(4_294_967_296.0 + 5.0), 5);
        assert_eq!(bits(2.5), 2);
        assert_eq!(bits(3.5), 4);
    }

    #[test]
    fn digits() {
        assert_eq!(hex(0xdead_beef, 8), "deadbeef");
        assert_eq!(hex(0xdead_beef, -4), "BEEF");
        assert_eq!(hex(0xdead_beef, 0), "");
        assert_eq!(hex(1, i32::MIN), "00000001");
    }
}
