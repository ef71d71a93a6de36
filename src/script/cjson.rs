//! The library `cjson`: JSON, with the settings of lua-cjson 2.1.
use super::lua::{upvalue, Lua, Raised, Results, Type};
use std::ffi::{c_char, c_int};

/// The settings: a Lua table that all functions of one copy of the library share as their upvalue.
#[derive(Clone, Copy)]
#[repr(i32)]
enum Setting {
    SparseConvert = 1,
    SparseRatio,
    SparseSafe,
    EncodeDepth,
    DecodeDepth,
    EncodeInvalid,
    DecodeInvalid,
    KeepBuffer,
    Precision,
}

/// Their values at first, in order.
const DEFAULTS: [i32; 9] = [0, 2, 10, 1000, 1000, 0, 1, 1, 14];

fn setting(lua: Lua, which: Setting) -> i32 {
    lua.raw_get_index(upvalue(1), which as c_int);
    let n = lua.to_number(-1) as i32;
    lua.pop(1);
    n
}

fn set(lua: Lua, which: Setting, n: i32) {
    lua.push_number(f64::from(n));
    lua.raw_set_index(upvalue(1), which as c_int);
}

/// Checks that there are at most so many arguments, and fills up with nil.
fn arguments(lua: Lua, most: c_int) -> Result<(), Raised> {
    if lua.top() > most {
        return Err(lua.argument_error(most + 1, "found too many arguments"));
    }
    lua.set_top(most);
    Ok(())
}

/// Sets, if the argument says so, and pushes a number.
fn number_option(lua: Lua, at: c_int, which: Setting, min: i32, max: i32) -> Result<(), Raised> {
    if lua.kind(at) != Type::Nil {
        let n = lua.check_integer(at)? as i32;
        if !(min..=max).contains(&n) {
            let text = format!("expected integer between {min} and {max}");
            return Err(lua.argument_error(1, &text));
        }
        set(lua, which, n);
    }
    lua.push_number(f64::from(setting(lua, which)));
    Ok(())
}

/// Sets, if the argument says so, and pushes one of several words; the first two are also false and true.
fn word_option(lua: Lua, at: c_int, which: Setting, words: &[&str]) -> Result<(), Raised> {
    match lua.kind(at) {
        Type::Nil => {}
        Type::Boolean => set(lua, which, i32::from(lua.to_bool(at))),
        _ => {
            let word = lua.check_bytes(at)?;
            let Some(n) = words.iter().position(|w| w.as_bytes() == word) else {
                let text = format!("invalid option '{}'", String::from_utf8_lossy(word));
                return Err(lua.argument_error(at, &text));
            };
            set(lua, which, n as i32);
        }
    }
    match setting(lua, which) {
        n @ (0 | 1) => lua.push_bool(n == 1),
        n => lua.push_bytes(words[n as usize].as_bytes()),
    }
    Ok(())
}

const ON_OFF: &[&str] = &["off", "on"];

fn encode_sparse_array(lua: Lua) -> Results {
    arguments(lua, 3)?;
    word_option(lua, 1, Setting::SparseConvert, ON_OFF)?;
    number_option(lua, 2, Setting::SparseRatio, 0, i32::MAX)?;
    number_option(lua, 3, Setting::SparseSafe, 0, i32::MAX)?;
    Ok(3)
}

fn one_number(lua: Lua, which: Setting, max: i32) -> Results {
    arguments(lua, 1)?;
    number_option(lua, 1, which, 1, max)?;
    Ok(1)
}

fn one_word(lua: Lua, which: Setting, words: &[&str]) -> Results {
    arguments(lua, 1)?;
    word_option(lua, 1, which, words)?;
    Ok(1)
}

// ----- encoding ----------------------------------------------------------------------------------------------------

struct Encoder {
    lua: Lua,
    out: Vec<u8>,
    sparse: (bool, i32, i32),
    deepest: i32,
    invalid: i32,
    precision: i32,
}

impl Encoder {
    fn cannot(&self, at: c_int, why: &str) -> Raised {
        let kind = self.lua.kind(at).name();
        self.lua.error(format!("Cannot serialise {kind}: {why}").as_bytes())
    }

    fn string(&mut self, s: &[u8]) {
        self.out.push(b'"');
        for &c in s {
            let short = match c {
                b'"' | b'\\' | b'/' => c,
                8 => b'b',
                9 => b't',
                10 => b'n',
                12 => b'f',
                13 => b'r',
                0..=31 | 127 => {
                    self.out.extend(format!("\\u{c:04x}").bytes());
                    continue;
                }
                _ => {
                    self.out.push(c);
                    continue;
                }
            };
            self.out.extend([b'\\', short]);
        }
        self.out.push(b'"');
    }

    fn number(&mut self, at: c_int) -> Result<(), Raised> {
        let n = self.lua.to_number(at);
        match self.invalid {
            0 if !n.is_finite() => return Err(self.cannot(at, "must not be NaN or Inf")),
            1 if n.is_nan() => self.out.extend(b"nan"),
            2 if !n.is_finite() => self.out.extend(b"null"),
            _ => write_number(&mut self.out, n, self.precision),
        }
        Ok(())
    }

    /// The length of the list on top; `None` if it is an object.
    fn list_length(&self) -> Result<Option<i32>, Raised> {
        let lua = self.lua;
        let table = lua.top();
        let (mut greatest, mut items) = (0i32, 0i32);
        lua.push_nil();
        while lua.next(table) {
            lua.pop(1);
            let k = if lua.kind(-1) == Type::Number { lua.to_number(-1) } else { 0.0 };
            if !(k >= 1.0 && k.floor() == k) {
                lua.pop(1);
                return Ok(None);
            }
            if k > f64::from(greatest) {
                greatest = if k <= f64::from(i32::MAX) { k as i32 } else { i32::MIN };
            }
            items += 1;
        }
        let (convert, ratio, safe) = self.sparse;
        if ratio > 0 && greatest > items.saturating_mul(ratio) && greatest > safe {
            if !convert {
                return Err(self.cannot(-1, "excessively sparse array"));
            }
            return Ok(None);
        }
        Ok((greatest > 0).then_some(greatest))
    }

    /// Writes the value on top, which stays.
    fn value(&mut self, depth: i32) -> Result<(), Raised> {
        let lua = self.lua;
        match lua.kind(-1) {
            Type::String => self.string(lua.bytes(-1)),
            Type::Number => self.number(-1)?,
            Type::Boolean if lua.to_bool(-1) => self.out.extend(b"true"),
            Type::Boolean => self.out.extend(b"false"),
            Type::Nil => self.out.extend(b"null"),
            Type::LightUserdata if lua.pointer(-1).is_null() => self.out.extend(b"null"),
            Type::Table => self.table(depth + 1)?,
            _ => return Err(self.cannot(-1, "type not supported")),
        }
        Ok(())
    }

    fn table(&mut self, depth: i32) -> Result<(), Raised> {
        let lua = self.lua;
        if depth > self.deepest || !lua.room(8) {
            let text = format!("Cannot serialise, excessive nesting ({depth})");
            return Err(lua.error(text.as_bytes()));
        }
        let table = lua.top();
        if let Some(len) = self.list_length()? {
            self.out.push(b'[');
            for i in 1..=len {
                if i > 1 {
                    self.out.push(b',');
                }
                lua.raw_get_index(table, i);
                self.value(depth)?;
                lua.pop(1);
            }
            self.out.push(b']');
            return Ok(());
        }
        self.out.push(b'{');
        let mut first = true;
        lua.push_nil();
        while lua.next(table) {
            if !std::mem::take(&mut first) {
                self.out.push(b',');
            }
            match lua.kind(-2) {
                Type::Number => {
                    self.out.push(b'"');
                    self.number(-2)?;
                    self.out.push(b'"');
                }
                Type::String => self.string(lua.bytes(-2)),
                _ => return Err(self.cannot(-2, "table key must be a number or string")),
            }
            self.out.push(b':');
            self.value(depth)?;
            lua.pop(1);
        }
        self.out.push(b'}');
        Ok(())
    }
}

/// A number as C's `%.<precision>g` writes it.
fn write_number(out: &mut Vec<u8>, n: f64, precision: i32) {
    let mut buf = [0u8; 64];
    let p: *mut c_char = buf.as_mut_ptr().cast();
    // SAFETY: layout: the buffer's own length, and arguments as the format says.
    let len = unsafe { libc::snprintf(p, buf.len(), c"%.*g".as_ptr(), precision, n) };
    out.extend_from_slice(&buf[..usize::try_from(len).unwrap_or(0).min(buf.len() - 1)]);
}

/// `cjson.encode (value)`
fn encode(lua: Lua) -> Results {
    if lua.top() != 1 {
        return Err(lua.argument_error(1, "expected 1 argument"));
    }
    let get = |which| setting(lua, which);
    let mut e = Encoder {
        lua,
        out: Vec::new(),
        sparse: (
            get(Setting::SparseConvert) != 0,
            get(Setting::SparseRatio),
            get(Setting::SparseSafe),
        ),
        deepest: get(Setting::EncodeDepth),
        invalid: get(Setting::EncodeInvalid),
        precision: get(Setting::Precision),
    };
    e.value(0)?;
    lua.push_bytes(&e.out);
    Ok(1)
}

// ----- decoding ----------------------------------------------------------------------------------------------------

/// A piece of JSON.
enum Token {
    ObjectBegin,
    ObjectEnd,
    ArrayBegin,
    ArrayEnd,
    String(Vec<u8>),
    Number(f64),
    Boolean(bool),
    Null,
    Colon,
    Comma,
    End,
    Error(&'static str),
}

impl Token {
    /// What messages call it.
    fn name(&self) -> &'static str {
        match self {
            Token::ObjectBegin => "T_OBJ_BEGIN",
            Token::ObjectEnd => "T_OBJ_END",
            Token::ArrayBegin => "T_ARR_BEGIN",
            Token::ArrayEnd => "T_ARR_END",
            Token::String(_) => "T_STRING",
            Token::Number(_) => "T_NUMBER",
            Token::Boolean(_) => "T_BOOLEAN",
            Token::Null => "T_NULL",
            Token::Colon => "T_COLON",
            Token::Comma => "T_COMMA",
            Token::End => "T_END",
            Token::Error(text) => text,
        }
    }
}

struct Decoder<'t> {
    lua: Lua,
    /// The text, and its end as a NUL: everything ends at the first NUL.
    text: &'t [u8],
    at: usize,
    /// Where the last token began, or the error is.
    token_at: usize,
    depth: i32,
    deepest: i32,
    invalid: bool,
}

fn hex4(digits: Option<&[u8]>) -> Option<u32> {
    digits?.iter().try_fold(0, |n, c| Some(n * 16 + (*c as char).to_digit(16)?))
}

impl Decoder<'_> {
    fn byte(&self, ahead: usize) -> u8 {
        self.text.get(self.at + ahead).copied().unwrap_or(0)
    }

    fn starts(&self, word: &[u8]) -> bool {
        self.text[self.at..].starts_with(word)
    }

    fn wrong(&mut self, why: &'static str) -> Token {
        self.token_at = self.at;
        Token::Error(why)
    }

    fn next(&mut self) -> Token {
        while matches!(self.byte(0), b' ' | b'\t' | b'\n' | b'\r') {
            self.at += 1;
        }
        self.token_at = self.at;
        let single = match self.byte(0) {
            0 => return Token::End,
            b'{' => Token::ObjectBegin,
            b'}' => Token::ObjectEnd,
            b'[' => Token::ArrayBegin,
            b']' => Token::ArrayEnd,
            b',' => Token::Comma,
            b':' => Token::Colon,
            b'"' => return self.string(),
            b'-' | b'0'..=b'9' => {
                if !self.invalid && self.is_invalid_number() {
                    return self.wrong("invalid number");
                }
                return self.number();
            }
            b'f' | b'i' | b'I' | b'n' | b'N' | b't' | b'+' => return self.word(),
            _ => return self.wrong("invalid token"),
        };
        self.at += 1;
        single
    }

    fn word(&mut self) -> Token {
        for (word, token) in [
            (&b"true"[..], Token::Boolean(true)),
            (b"false", Token::Boolean(false)),
            (b"null", Token::Null),
        ] {
            if self.starts(word) {
                self.at += word.len();
                return token;
            }
        }
        if self.invalid && self.is_invalid_number() {
            return self.number();
        }
        self.wrong("invalid token")
    }

    /// What C reads as a number and JSON does not know.
    fn is_invalid_number(&self) -> bool {
        let sign = usize::from(self.byte(0) == b'-');
        match self.byte(sign) {
            b'+' => true,
            b'0' => {
                let c = self.byte(sign + 1);
                c | 0x20 == b'x' || c.is_ascii_digit()
            }
            c if c <= b'9' => false,
            _ => {
                let word: Vec<u8> = (sign..sign + 3).map(|i| self.byte(i) | 0x20).collect();
                word == b"inf" || word == b"nan"
            }
        }
    }

    fn number(&mut self) -> Token {
        let start = self.text[self.at..].as_ptr().cast::<c_char>();
        let mut end: *mut c_char = std::ptr::null_mut();
        // SAFETY: layout: a string of Lua, which a NUL ends, stays where it is while it stands on the stack.
        let (n, len) = unsafe {
            let n = libc::strtod(start, &mut end);
            (n, end.offset_from(start) as usize)
        };
        if len == 0 {
            return self.wrong("invalid number");
        }
        self.at += len;
        Token::Number(n)
    }

    fn string(&mut self) -> Token {
        self.at += 1;
        let mut s = Vec::new();
        loop {
            let plain = match self.byte(0) {
                b'"' => break,
                0 => return self.wrong("unexpected end of string"),
                b'\\' => match self.byte(1) {
                    b'u' => match self.code_point() {
                        Some((c, len)) => {
                            let mut utf8 = [0; 4];
                            s.extend_from_slice(encode_utf8(c, &mut utf8));
                            self.at += len;
                            continue;
                        }
                        None => return self.wrong("invalid unicode escape code"),
                    },
                    c => {
                        let plain = match c {
                            b'"' | b'\\' | b'/' => c,
                            b'b' => 8,
                            b't' => 9,
                            b'n' => 10,
                            b'f' => 12,
                            b'r' => 13,
                            _ => return self.wrong("invalid escape code"),
                        };
                        self.at += 1;
                        plain
                    }
                },
                c => c,
            };
            s.push(plain);
            self.at += 1;
        }
        self.at += 1;
        Token::String(s)
    }

    /// The code point of the escape here, and how long the escape is.
    fn code_point(&self) -> Option<(u32, usize)> {
        let digits = |ahead: usize| self.text.get(self.at + ahead..self.at + ahead + 4);
        let high = hex4(digits(2))?;
        if high & 0xf800 != 0xd800 {
            return Some((high, 6));
        }
        if high & 0x400 != 0 || self.byte(6) != b'\\' || self.byte(7) != b'u' {
            return None;
        }
        let low = hex4(digits(8)).filter(|low| low & 0xfc00 == 0xdc00)?;
        Some((((high & 0x3ff) << 10 | low & 0x3ff) + 0x1_0000, 12))
    }

    fn expected(&self, what: &str, found: &Token) -> Raised {
        let text = format!(
            "Expected {what} but found {} at character {}",
            found.name(),
            self.token_at + 1
        );
        self.lua.error(text.as_bytes())
    }

    fn descend(&mut self) -> Result<(), Raised> {
        self.depth += 1;
        if self.depth <= self.deepest && self.lua.room(8) {
            return Ok(());
        }
        let text = format!(
            "Found too many nested data structures ({}) at character {}",
            self.depth, self.at
        );
        Err(self.lua.error(text.as_bytes()))
    }

    /// Pushes the value that begins with a token.
    fn value(&mut self, token: Token) -> Result<(), Raised> {
        let lua = self.lua;
        match token {
            Token::String(s) => lua.push_bytes(&s),
            Token::Number(n) => lua.push_number(n),
            Token::Boolean(b) => lua.push_bool(b),
            Token::Null => lua.push_mark(std::ptr::null()),
            Token::ObjectBegin => return self.object(),
            Token::ArrayBegin => return self.array(),
            other => return Err(self.expected("value", &other)),
        }
        Ok(())
    }

    fn object(&mut self) -> Result<(), Raised> {
        self.descend()?;
        let lua = self.lua;
        lua.push_table(0, 0);
        let mut token = self.next();
        if !matches!(token, Token::ObjectEnd) {
            loop {
                match token {
                    Token::String(key) => lua.push_bytes(&key),
                    other => return Err(self.expected("object key string", &other)),
                }
                match self.next() {
                    Token::Colon => {}
                    other => return Err(self.expected("colon", &other)),
                }
                let first = self.next();
                self.value(first)?;
                lua.raw_set(-3);
                match self.next() {
                    Token::ObjectEnd => break,
                    Token::Comma => token = self.next(),
                    other => return Err(self.expected("comma or object end", &other)),
                }
            }
        }
        self.depth -= 1;
        Ok(())
    }

    fn array(&mut self) -> Result<(), Raised> {
        self.descend()?;
        let lua = self.lua;
        lua.push_table(0, 0);
        let mut token = self.next();
        if !matches!(token, Token::ArrayEnd) {
            for i in 1.. {
                self.value(token)?;
                lua.raw_set_index(-2, i);
                match self.next() {
                    Token::ArrayEnd => break,
                    Token::Comma => token = self.next(),
                    other => return Err(self.expected("comma or array end", &other)),
                }
            }
        }
        self.depth -= 1;
        Ok(())
    }
}

/// UTF-8, also of what is no character: escapes may name anything below 0x10ffff.
fn encode_utf8(c: u32, buf: &mut [u8; 4]) -> &[u8] {
    let tail = |shift: u32| (c >> shift & 0x3f | 0x80) as u8;
    match c {
        0..=0x7f => {
            buf[0] = c as u8;
            &buf[..1]
        }
        0x80..=0x7ff => {
            *buf = [(c >> 6 | 0xc0) as u8, tail(0), 0, 0];
            &buf[..2]
        }
        0x800..=0xffff => {
            *buf = [(c >> 12 | 0xe0) as u8, tail(6), tail(0), 0];
            &buf[..3]
        }
        _ => {
            *buf = [(c >> 18 | 0xf0) as u8, tail(12), tail(6), tail(0)];
            &buf[..]
        }
    }
}

/// `cjson.decode (text)`
fn decode(lua: Lua) -> Results {
    if lua.top() != 1 {
        return Err(lua.argument_error(1, "expected 1 argument"));
    }
    let text = lua.check_bytes(1)?;
    if text.len() >= 2 && (text[0] == 0 || text[1] == 0) {
        return Err(lua.error(b"JSON parser does not support UTF-16 or UTF-32"));
    }
    let mut d = Decoder {
        lua,
        text,
        at: 0,
        token_at: 0,
        depth: 0,
        deepest: setting(lua, Setting::DecodeDepth),
        invalid: setting(lua, Setting::DecodeInvalid) != 0,
    };
    let token = d.next();
    d.value(token)?;
    match d.next() {
        Token::End => Ok(1),
        other => Err(d.expected("the end", &other)),
    }
}

/// `cjson.new ()`: a copy of the library with settings of its own.
fn new(lua: Lua) -> Results {
    lua.push_table(0, 16);
    let library = lua.top();
    lua.push_table(DEFAULTS.len() as c_int, 0);
    for (i, n) in DEFAULTS.into_iter().enumerate() {
        lua.push_number(f64::from(n));
        lua.raw_set_index(-2, i as c_int + 1);
    }
    macro_rules! add {
        ($($name:literal $body:expr;)*) => {
            $(
                lua.push_copy(library + 1);
                lua.push_closure($body, 1);
                lua.set_field(library, $name);
            )*
        };
    }
    add! {
        b"encode" encode;
        b"decode" decode;
        b"encode_sparse_array" encode_sparse_array;
        b"encode_max_depth" |l: Lua| one_number(l, Setting::EncodeDepth, i32::MAX);
        b"decode_max_depth" |l: Lua| one_number(l, Setting::DecodeDepth, i32::MAX);
        b"encode_number_precision" |l: Lua| one_number(l, Setting::Precision, 14);
        b"encode_keep_buffer" |l: Lua| one_word(l, Setting::KeepBuffer, ON_OFF);
        b"encode_invalid_numbers"
            |l: Lua| one_word(l, Setting::EncodeInvalid, &["off", "on", "null"]);
        b"decode_invalid_numbers" |l: Lua| one_word(l, Setting::DecodeInvalid, ON_OFF);
        b"new" new;
    }
    lua.pop(1);
    lua.push_mark(std::ptr::null());
    lua.set_field(library, b"null");
    for (name, text) in [("_NAME", "cjson"), ("_VERSION", "2.1.0")] {
        lua.push_bytes(text.as_bytes());
        lua.set_field(library, name.as_bytes());
    }
    Ok(1)
}

/// Adds the library to the globals' table on top.
pub fn open(lua: Lua) {
    // Without arguments nothing in it can fail.
    let _ = new(lua);
    lua.set_field(-2, b"cjson");
}

#[cfg(test)]
mod tests {
    use crate::script::tests::result_of;

    fn ok(code: &str) -> String {
        String::from_utf8_lossy(&result_of(code).expect(code)).into_owned()
    }

    fn encoded(value: &str) -> String {
        ok(&format!("return cjson.encode({value})"))
    }

    fn error(code: &str) -> String {
        result_of(code).expect_err(code).replace("ERR test:1: ", "")
    }

    #[test]
    fn encoding() {
        assert_eq!(encoded("{1, 2, 'x', true, cjson.null}"), r#"[1,2,"x",true,null]"#);
        assert_eq!(encoded("{}"), "{}");
        assert_eq!(encoded("{a = {b = {1}}}"), r#"{"a":{"b":[1]}}"#);
        assert_eq!(encoded("{[1.5] = 1}"), r#"{"1.5":1}"#);
        assert_eq!(encoded("{[3] = 'c'}"), r#"[null,null,"c"]"#);
        assert_eq!(encoded(r#"'a/b"\\\n\1\127'"#), r#""a\/b\"\\\n\u0001\u007f""#);
        assert_eq!(encoded("0.1"), "0.1");
        assert_eq!(encoded("1e15"), "1e+15");
        assert_eq!(encoded("12345678901234"), "12345678901234");
        assert_eq!(encoded("nil"), "null");
    }

    #[test]
    fn what_cannot_be_encoded() {
        assert_eq!(error("cjson.encode(0/0)"), "Cannot serialise number: must not be NaN or Inf");
        assert_eq!(error("cjson.encode(print or pcall)"), error("cjson.encode(print or pcall)"));
        assert_eq!(error("cjson.encode(pcall)"), "Cannot serialise function: type not supported");
        assert_eq!(
            error("cjson.encode({[50] = 1})"),
            "Cannot serialise table: excessively sparse array"
        );
        assert_eq!(
            error("cjson.encode({[true] = 1})"),
            "Cannot serialise boolean: table key must be a number or string"
        );
        assert_eq!(
            error("local t = {} t.t = t cjson.encode(t)"),
            "Cannot serialise, excessive nesting (1001)"
        );
        assert_eq!(error("cjson.encode()"), "bad argument #1 to 'encode' (expected 1 argument)");
    }

    #[test]
    fn decoding() {
        assert_eq!(ok(r#"return cjson.decode('{"a":[1,{"b":"c"}]}').a[2].b"#), "c");
        assert_eq!(ok(r#"return cjson.decode('"\\u00e9\\ud83d\\ude00\\n\\/"')"#), "é😀\n/");
        assert_eq!(ok("return tostring(cjson.decode('null') == cjson.null)"), "true");
        assert_eq!(ok("return cjson.decode(' -1.5e2 ')"), "-150");
        assert_eq!(ok("return cjson.decode('0x10')"), "16");
        assert_eq!(ok("return tostring(cjson.decode('inf'))"), "inf");
        assert_eq!(ok("return type(cjson.decode('[]')) .. type(cjson.decode('{}'))"), "tabletable");
    }

    #[test]
    fn what_cannot_be_decoded() {
        for (text, message) in [
            ("", "Expected value but found T_END at character 1"),
            ("[1,]", "Expected value but found T_ARR_END at character 4"),
            ("[1 2]", "Expected comma or array end but found T_NUMBER at character 4"),
            ("{1:2}", "Expected object key string but found T_NUMBER at character 2"),
            ("{\"a\" 1}", "Expected colon but found T_NUMBER at character 6"),
            ("{\"a\":1 2}", "Expected comma or object end but found T_NUMBER at character 8"),
            ("1 2", "Expected the end but found T_NUMBER at character 3"),
            ("\"abc", "Expected value but found unexpected end of string at character 5"),
            ("\"\\q\"", "Expected value but found invalid escape code at character 2"),
            ("\"\\ud800\"", "Expected value but found invalid unicode escape code at character 2"),
            ("tru", "Expected value but found invalid token at character 1"),
            ("-", "Expected value but found invalid number at character 1"),
            ("%", "Expected value but found invalid token at character 1"),
        ] {
            assert_eq!(error(&format!("cjson.decode([=[{text}]=])")), message, "{text}");
        }
        assert_eq!(
            error("cjson.decode(('['):rep(1001))"),
            "Found too many nested data structures (1001) at character 1001"
        );
        assert_eq!(error("cjson.decode('a\\0')"), "JSON parser does not support UTF-16 or UTF-32");
    }

    #[test]
    fn settings() {
        assert_eq!(
            ok("cjson.encode_sparse_array(true) return cjson.encode({[50] = 1})"),
            r#"{"50":1}"#
        );
        assert_eq!(ok("cjson.encode_number_precision(3) return cjson.encode(1/3)"), "0.333");
        assert_eq!(ok("cjson.encode_invalid_numbers('null') return cjson.encode(1/0)"), "null");
        assert_eq!(ok("return tostring(cjson.encode_invalid_numbers(true))"), "true");
        assert_eq!(
            error("cjson.decode_invalid_numbers(false) cjson.decode('0x10')"),
            "Expected value but found invalid number at character 1"
        );
        assert_eq!(
            error("cjson.encode_max_depth(0)"),
            "bad argument #1 to 'encode_max_depth' (expected integer between 1 and 2147483647)"
        );
        assert_eq!(
            error("cjson.encode_invalid_numbers('x')"),
            "bad argument #1 to 'encode_invalid_numbers' (invalid option 'x')"
        );
        assert_eq!(
            ok("local c = cjson.new() c.encode_number_precision(2) return c.encode(1/3) .. cjson.encode(1/3)"),
            "0.330.33333333333333"
        );
    }
}
