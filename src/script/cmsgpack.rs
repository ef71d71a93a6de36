//! The library `cmsgpack`: MessagePack.
use super::lua::{to_integer, Lua, Raised, Results, Type};

/// Tables nested deeper become nil.
const DEEPEST: usize = 16;

fn write_sized(out: &mut Vec<u8>, len: usize, small: (u8, usize), marks: &[(u8, usize)]) {
    if len <= small.1 {
        out.push(small.0 | len as u8);
        return;
    }
    for &(mark, bytes) in marks {
        if bytes == 4 || len < 1 << (8 * bytes) {
            out.push(mark);
            out.extend_from_slice(&(len as u32).to_be_bytes()[4 - bytes..]);
            return;
        }
    }
}

fn write_string(out: &mut Vec<u8>, s: &[u8]) {
    write_sized(out, s.len(), (0xa0, 31), &[(0xd9, 1), (0xda, 2), (0xdb, 4)]);
    out.extend_from_slice(s);
}

fn write_integer(out: &mut Vec<u8>, n: i64) {
    let (mark, bytes) = match n {
        -32..=127 => {
            out.push(n as u8);
            return;
        }
        128..=0xff => (0xcc, 1),
        0x100..=0xffff => (0xcd, 2),
        0x1_0000..=0xffff_ffff => (0xce, 4),
        0x1_0000_0000.. => (0xcf, 8),
        -128.. => (0xd0, 1),
        -32768.. => (0xd1, 2),
        -2_147_483_648.. => (0xd2, 4),
        _ => (0xd3, 8),
    };
    out.push(mark);
    out.extend_from_slice(&n.to_be_bytes()[8 - bytes..]);
}

fn write_number(out: &mut Vec<u8>, n: f64) {
    if to_integer(n) as f64 == n {
        write_integer(out, to_integer(n));
    } else if f64::from(n as f32) == n {
        out.push(0xca);
        out.extend_from_slice(&(n as f32).to_be_bytes());
    } else {
        out.push(0xcb);
        out.extend_from_slice(&n.to_be_bytes());
    }
}

/// Writes the value on top, which goes.
fn write(lua: Lua, out: &mut Vec<u8>, level: usize) -> Result<(), Raised> {
    match lua.kind(-1) {
        Type::String => write_string(out, lua.bytes(-1)),
        Type::Boolean => out.push(if lua.to_bool(-1) { 0xc3 } else { 0xc2 }),
        Type::Number => write_number(out, lua.to_number(-1)),
        Type::Table if level < DEEPEST => write_table(lua, out, level)?,
        _ => out.push(0xc0),
    }
    lua.pop(1);
    Ok(())
}

fn write_table(lua: Lua, out: &mut Vec<u8>, level: usize) -> Result<(), Raised> {
    if !lua.room(6) {
        return Err(lua.error(b"stack overflow (in function mp_encode_lua_table_as_map)"));
    }
    let table = lua.top();
    // A list has exactly the keys from 1 to their number.
    let (mut keys, mut greatest, mut is_list) = (0usize, 0.0f64, true);
    lua.push_nil();
    while lua.next(table) {
        lua.pop(1);
        keys += 1;
        let n = if lua.kind(-1) == Type::Number { lua.to_number(-1) } else { 0.0 };
        is_list &= n > 0.0 && n <= f64::from(i32::MAX) && n.trunc() == n;
        greatest = greatest.max(n);
    }
    if is_list && greatest == keys as f64 {
        write_sized(out, keys, (0x90, 15), &[(0xdc, 2), (0xdd, 4)]);
        for i in 1..=keys {
            lua.raw_get_index(table, i as i32);
            write(lua, out, level + 1)?;
        }
        return Ok(());
    }
    write_sized(out, keys, (0x80, 15), &[(0xde, 2), (0xdf, 4)]);
    lua.push_nil();
    while lua.next(table) {
        lua.push_copy(-2);
        write(lua, out, level + 1)?;
        write(lua, out, level + 1)?;
    }
    Ok(())
}

/// `cmsgpack.pack (value, ...)`
fn pack(lua: Lua) -> Results {
    let n = lua.top();
    if n == 0 {
        return Err(lua.argument_error(0, "MessagePack pack needs input."));
    }
    let mut out = Vec::new();
    for i in 1..=n {
        if !lua.room(4) {
            return Err(lua.argument_error(0, "Too many arguments for MessagePack pack."));
        }
        lua.push_copy(i);
        write(lua, &mut out, 0)?;
    }
    lua.push_bytes(&out);
    Ok(1)
}

/// Why something cannot be read.
#[derive(Debug, PartialEq, Eq)]
enum Bad {
    /// It ends too early.
    End,
    /// A byte means nothing.
    Format,
    /// Lua's stack has no room.
    Room,
}

struct Cursor<'b> {
    bytes: &'b [u8],
    at: usize,
}

impl<'b> Cursor<'b> {
    fn take(&mut self, n: usize) -> Result<&'b [u8], Bad> {
        let end = self.at.checked_add(n).ok_or(Bad::End)?;
        let bytes = self.bytes.get(self.at..end).ok_or(Bad::End)?;
        self.at = end;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Bad> {
        self.take(N).map(|b| b.try_into().expect("as many as asked for"))
    }

    fn length(&mut self, bytes: usize) -> Result<usize, Bad> {
        Ok(self.take(bytes)?.iter().fold(0, |n, b| n << 8 | usize::from(*b)))
    }

    /// Reads one value and pushes it.
    fn read(&mut self, lua: Lua) -> Result<(), Bad> {
        if !lua.room(6) {
            return Err(Bad::Room);
        }
        let [mark] = self.array()?;
        match mark {
            0x00..=0x7f => lua.push_number(f64::from(mark)),
            0xe0..=0xff => lua.push_number(f64::from(mark as i8)),
            0xcc => lua.push_number(f64::from(u8::from_be_bytes(self.array()?))),
            0xcd => lua.push_number(f64::from(u16::from_be_bytes(self.array()?))),
            0xce => lua.push_number(f64::from(u32::from_be_bytes(self.array()?))),
            0xcf => lua.push_number(u64::from_be_bytes(self.array()?) as f64),
            0xd0 => lua.push_number(f64::from(i8::from_be_bytes(self.array()?))),
            0xd1 => lua.push_number(f64::from(i16::from_be_bytes(self.array()?))),
            0xd2 => lua.push_number(f64::from(i32::from_be_bytes(self.array()?))),
            0xd3 => lua.push_number(i64::from_be_bytes(self.array()?) as f64),
            0xc0 => lua.push_nil(),
            0xc2 | 0xc3 => lua.push_bool(mark == 0xc3),
            0xca => lua.push_number(f64::from(f32::from_be_bytes(self.array()?))),
            0xcb => lua.push_number(f64::from_be_bytes(self.array()?)),
            0xa0..=0xbf => lua.push_bytes(self.take(usize::from(mark & 0x1f))?),
            0xd9..=0xdb => {
                let len = self.length(1 << (mark - 0xd9))?;
                lua.push_bytes(self.take(len)?);
            }
            0x90..=0x9f => self.list(lua, usize::from(mark & 15))?,
            0xdc | 0xdd => {
                let len = self.length(if mark == 0xdc { 2 } else { 4 })?;
                self.list(lua, len)?;
            }
            0x80..=0x8f => self.map(lua, usize::from(mark & 15))?,
            0xde | 0xdf => {
                let len = self.length(if mark == 0xde { 2 } else { 4 })?;
                self.map(lua, len)?;
            }
            _ => {
                self.at -= 1;
                return Err(Bad::Format);
            }
        }
        Ok(())
    }

    fn list(&mut self, lua: Lua, len: usize) -> Result<(), Bad> {
        lua.push_table(0, 0);
        for i in 1..=len {
            self.read(lua)?;
            lua.raw_set_index(-2, i as i32);
        }
        Ok(())
    }

    fn map(&mut self, lua: Lua, len: usize) -> Result<(), Bad> {
        lua.push_table(0, 0);
        for _ in 0..len {
            self.read(lua)?;
            self.read(lua)?;
            let fits = match lua.kind(-2) {
                Type::Nil => false,
                Type::Number => !lua.to_number(-2).is_nan(),
                _ => true,
            };
            if !fits {
                return Err(Bad::Format);
            }
            lua.raw_set(-3);
        }
        Ok(())
    }
}

fn unpack_from(lua: Lua, limit: i64, offset: i64) -> Results {
    let bytes = lua.check_bytes(1)?;
    let all = limit == 0 && offset == 0;
    if offset < 0 || limit < 0 {
        let text = format!(
            "Invalid request to unpack with offset of {} and limit of {}.",
            offset as i32,
            bytes.len()
        );
        return Err(lua.error(text.as_bytes()));
    }
    if offset as usize > bytes.len() {
        let text = format!("Start offset {offset} greater than input length {}.", bytes.len());
        return Err(lua.error(text.as_bytes()));
    }
    let mut c = Cursor { bytes, at: offset as usize };
    let limit = if all { i64::from(i32::MAX) } else { limit };
    let mut n = 0;
    while c.at < bytes.len() && i64::from(n) < limit {
        c.read(lua).map_err(|bad| {
            lua.error(match bad {
                Bad::End => b"Missing bytes in input.",
                Bad::Format => b"Bad data format in input.",
                Bad::Room => {
                    b"stack overflow (too many return values at once; use unpack_one or unpack_limit instead.)"
                }
            })
        })?;
        n += 1;
    }
    if !all {
        lua.push_number(if c.at == bytes.len() { -1.0 } else { c.at as f64 });
        lua.insert(2);
        n += 1;
    }
    Ok(n)
}

/// `cmsgpack.unpack (bytes)`
fn unpack(lua: Lua) -> Results {
    unpack_from(lua, 0, 0)
}

/// `cmsgpack.unpack_one (bytes [, offset])`
fn unpack_one(lua: Lua) -> Results {
    let offset = lua.optional_integer(2, 0)?;
    lua.set_top(1);
    unpack_from(lua, 1, offset)
}

/// `cmsgpack.unpack_limit (bytes, limit [, offset])`
fn unpack_limit(lua: Lua) -> Results {
    let limit = lua.check_integer(2)?;
    let offset = lua.optional_integer(3, 0)?;
    lua.set_top(1);
    unpack_from(lua, limit, offset)
}

/// Adds the library to the globals' table on top.
pub fn open(lua: Lua) {
    lua.push_table(0, 8);
    macro_rules! add {
        ($($name:literal $body:expr;)*) => {
            $(lua.push_function($body); lua.set_field(-2, $name);)*
        };
    }
    add! {
        b"pack" pack;
        b"unpack" unpack;
        b"unpack_one" unpack_one;
        b"unpack_limit" unpack_limit;
    }
    for (name, text) in [("_NAME", "cmsgpack"), ("_VERSION", "lua-cmsgpack 0.4.0")] {
        lua.push_bytes(text.as_bytes());
        lua.set_field(-2, name.as_bytes());
    }
    lua.set_field(-2, b"cmsgpack");
}

#[cfg(test)]
mod tests {
    use crate::script::tests::result_of;

    fn packed(code: &str) -> Vec<u8> {
        result_of(&format!("return cmsgpack.pack({code})")).expect(code)
    }

    #[test]
    fn forms() {
        assert_eq!(packed("1, -1, 127, -32"), [1, 0xff, 0x7f, 0xe0]);
        assert_eq!(packed("128"), [0xcc, 128]);
        assert_eq!(packed("256"), [0xcd, 1, 0]);
        assert_eq!(packed("65536"), [0xce, 0, 1, 0, 0]);
        assert_eq!(packed("-33"), [0xd0, 0xdf]);
        assert_eq!(packed("-129"), [0xd1, 0xff, 0x7f]);
        assert_eq!(packed("-32769"), [0xd2, 0xff, 0xff, 0x7f, 0xff]);
        assert_eq!(packed("0.5"), [0xca, 0x3f, 0, 0, 0]);
        assert_eq!(packed("0.1")[0], 0xcb);
        assert_eq!(packed("nil, true, false"), [0xc0, 0xc3, 0xc2]);
        assert_eq!(packed("'ab'"), [0xa2, b'a', b'b']);
        assert_eq!(packed("('x'):rep(32)")[..2], [0xd9, 32]);
        assert_eq!(packed("('x'):rep(256)")[..3], [0xda, 1, 0]);
        assert_eq!(packed("('x'):rep(65536)")[..5], [0xdb, 0, 1, 0, 0]);
        assert_eq!(packed("{1, 2}"), [0x92, 1, 2]);
        assert_eq!(packed("{}"), [0x90]);
        assert_eq!(packed("{a = 1}"), [0x81, 0xa1, b'a', 1]);
        assert_eq!(packed("{[2] = 1}"), [0x81, 2, 1]);
    }

    #[test]
    fn there_and_back() {
        for value in ["-5", "1e10", "0.1", "'text'", "('y'):rep(300)", "2^40", "-2^40"] {
            let code =
                format!("return tostring(cmsgpack.unpack(cmsgpack.pack({value})) == {value})");
            assert_eq!(result_of(&code).unwrap(), b"true", "{value}");
        }
        let code = "local t = {} for i = 1, 20 do t[i] = {k = i} end
            local u = cmsgpack.unpack(cmsgpack.pack(t)) return #u .. ' ' .. u[20].k";
        assert_eq!(result_of(code).unwrap(), b"20 20");
        let code = "local at, v = cmsgpack.unpack_one('\\1\\2\\3', 1) return at .. ' ' .. v";
        assert_eq!(result_of(code).unwrap(), b"2 2");
        let code = "local at, a, b = cmsgpack.unpack_limit('\\1\\2', 2) return at .. ' ' .. a + b";
        assert_eq!(result_of(code).unwrap(), b"-1 3");
        let code = "local t = {} t.t = t return #cmsgpack.pack(t)";
        assert_eq!(result_of(code).unwrap(), b"49");
    }

    #[test]
    fn bad_input() {
        let error = |code: &str| result_of(code).expect_err(code);
        assert!(error("cmsgpack.unpack('\\217\\5abc')").ends_with("Missing bytes in input."));
        assert!(error("cmsgpack.unpack('\\193')").ends_with("Bad data format in input."));
        assert!(error("cmsgpack.unpack('\\129\\192\\1')").ends_with("Bad data format in input."));
        assert!(error("cmsgpack.unpack_one('a', 5)").contains("Start offset 5"));
        assert!(error("cmsgpack.unpack_one('a', -1)").contains("Invalid request"));
        // As deep as Lua's stack allows: as much of ours as the module thread has.
        let deep = || result_of("cmsgpack.unpack(('\\145'):rep(100000))");
        let deep = std::thread::Builder::new().stack_size(8 << 20).spawn(deep).unwrap();
        assert!(deep.join().unwrap().expect_err("too deep").contains("stack overflow"));
        assert!(error("cmsgpack.unpack({})").contains("string expected, got table"));
    }
}
