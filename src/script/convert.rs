//! Replies of commands as Lua values, and Lua values as replies.
use super::lua::{to_integer, Lua, Raised, Type};
use crate::keyspace::number;
use crate::reply::Reply;

/// What there has to be room for on Lua's stack at each level of nesting.
const ROOM: i32 = 6;

/// Pushes an error table. `-CODE text` keeps its code; other text gets `ERR`.
pub fn push_error(lua: Lua, text: &[u8]) {
    let blank = text.iter().position(|&c| c == b' ');
    let (code, message) = match (text.first(), blank) {
        (Some(b'-'), Some(at)) => (&text[1..at], &text[at + 1..]),
        (Some(b'-'), None) => (&b"ERR"[..], &text[1..]),
        _ => (&b"ERR"[..], text),
    };
    let line = |c: &u8| *c == b'\r' || *c == b'\n';
    let start = message.iter().position(|c| !line(c)).unwrap_or(message.len());
    let end = message.iter().rposition(|c| !line(c)).map_or(start, |i| i + 1);
    let mut whole = [code, b" ", &message[start..end]].concat();
    if let Some(nul) = whole.iter().position(|&c| c == 0) {
        whole.truncate(nul);
    }
    lua.push_table(0, 4);
    lua.push_bytes(&whole);
    lua.set_field(-2, b"err");
}

/// Pushes an error table and says that it is to be raised.
pub fn raise(lua: Lua, text: &[u8]) -> Raised {
    push_error(lua, text);
    Raised
}

/// Marks the error table on top: the statistics have counted it already.
pub fn mark_counted(lua: Lua) {
    lua.push_bool(true);
    lua.set_field(-2, b"ignore_error_stats_update");
}

/// Pushes the reply at `at` and returns where the next one begins; `None` (nothing pushed) if it is no protocol.
pub fn push_reply(lua: Lua, bytes: &[u8], at: usize) -> Option<usize> {
    if !lua.room(ROOM) {
        return None;
    }
    let kind = *bytes.get(at)?;
    let line_end = at + 1 + bytes[at + 1..].windows(2).position(|w| w == b"\r\n")?;
    let line = &bytes[at + 1..line_end];
    let after = line_end + 2;
    match kind {
        b'+' => push_tagged(lua, b"ok", line),
        b'-' => {
            push_error(lua, &bytes[at..line_end]);
            mark_counted(lua);
        }
        b':' => lua.push_number(number::parse_i64(line)? as f64),
        b'_' => lua.push_nil(),
        b'#' => lua.push_bool(line == b"t"),
        b',' => {
            lua.push_table(0, 1);
            lua.push_number(match line {
                b"nan" | b"-nan" => f64::NAN,
                _ => number::parse_f64(line)?,
            });
            lua.set_field(-2, b"double");
        }
        b'(' => push_tagged(lua, b"big_number", line),
        b'$' | b'*' if line == b"-1" => lua.push_bool(false),
        b'$' => {
            let len = number::parse_u64(line)? as usize;
            lua.push_bytes(bytes.get(after..after.checked_add(len)?)?);
            return Some(after + len + 2);
        }
        b'=' => {
            let len = number::parse_u64(line)? as usize;
            let content = bytes.get(after..after.checked_add(len)?)?;
            lua.push_table(0, 1);
            lua.push_table(0, 2);
            lua.push_bytes(content.get(4..)?);
            lua.set_field(-2, b"string");
            lua.push_bytes(&content[..3]);
            lua.set_field(-2, b"format");
            lua.set_field(-2, b"verbatim_string");
            return Some(after + len + 2);
        }
        b'*' | b'>' => {
            let len = number::parse_u64(line)? as usize;
            // Not made large at once: with nils among the elements (RESP3), `#` would not be that of Redis.
            lua.push_table(0, 0);
            let mut next = after;
            for i in 1..=len {
                next = push_reply(lua, bytes, next)?;
                lua.raw_set_index(-2, i as i32);
            }
            return Some(next);
        }
        b'%' | b'~' => {
            let len = number::parse_u64(line)? as usize;
            lua.push_table(0, 1);
            // Not made large at once: the order in which it is iterated would not be that of Redis.
            lua.push_table(0, 0);
            let mut next = after;
            for _ in 0..len {
                next = push_reply(lua, bytes, next)?;
                if kind == b'%' {
                    next = push_reply(lua, bytes, next)?;
                } else {
                    lua.push_bool(true);
                }
                // A table does not take nil as a key.
                if lua.kind(-2) == Type::Nil {
                    lua.pop(2);
                } else {
                    lua.raw_set(-3);
                }
            }
            lua.set_field(-2, if kind == b'%' { b"map" } else { b"set" });
            return Some(next);
        }
        b'|' => {
            let mut next = after;
            for _ in 0..number::parse_u64(line)? * 2 {
                next = push_reply(lua, bytes, next)?;
                lua.pop(1);
            }
            return push_reply(lua, bytes, next);
        }
        _ => return None,
    }
    Some(after)
}

fn push_tagged(lua: Lua, field: &[u8], text: &[u8]) {
    lua.push_table(0, 1);
    lua.push_bytes(text);
    lua.set_field(-2, field);
}

/// What an error table says.
#[derive(Default)]
pub struct ErrorTable {
    /// `err`
    pub text: Vec<u8>,
    /// `source` and `line`
    pub place: Option<(Vec<u8>, Vec<u8>)>,
    /// The statistics have counted it.
    pub counted: bool,
}

/// Reads the error on top, which stays.
pub fn read_error(lua: Lua) -> ErrorTable {
    if lua.kind(-1) != Type::Table {
        return ErrorTable { text: [b"ERR ", lua.c_bytes(-1)].concat(), ..Default::default() };
    }
    let text = |name: &[u8]| {
        lua.field(-1, name);
        let found = lua.is_text(-1).then(|| lua.c_bytes(-1).to_vec());
        lua.pop(1);
        found
    };
    let err = text(b"err").unwrap_or_else(|| b"ERR unknown error".to_vec());
    let place = text(b"source").zip(text(b"line"));
    lua.field(-1, b"ignore_error_stats_update");
    let counted = lua.kind(-1) == Type::Boolean && lua.to_bool(-1);
    lua.pop(1);
    ErrorTable { text: err, place, counted }
}

/// Writes an error reply; one that the statistics know is not counted again.
pub fn write_error(out: &mut Reply, text: &[u8], counted: bool) {
    let end = text.iter().rposition(|c| !b"\r\n".contains(c)).map_or(0, |i| i + 1);
    let text = &text[..end];
    if !counted {
        out.error(text);
        return;
    }
    // In the statistics already, but a failure of the command that ran the script all the same.
    out.errors += 1;
    let line: Vec<u8> = text.iter().map(|c| if b"\r\n".contains(c) { b' ' } else { *c }).collect();
    out.raw(b"-");
    out.raw(&line);
    out.raw(b"\r\n");
}

/// The value on top as a reply; it goes. `resp3`: the script chose that protocol (`redis.setresp`).
pub fn write_reply(lua: Lua, out: &mut Reply, resp3: bool) {
    if !lua.room(ROOM) {
        out.error("ERR reached lua stack limit");
        lua.pop(1);
        return;
    }
    match lua.kind(-1) {
        Type::String => out.bulk(lua.bytes(-1)),
        Type::Boolean if resp3 => out.bool(lua.to_bool(-1)),
        Type::Boolean if lua.to_bool(-1) => out.int(1),
        Type::Number => out.int(to_integer(lua.to_number(-1))),
        Type::Table => write_table(lua, out, resp3),
        _ => out.null(),
    }
    lua.pop(1);
}

fn write_table(lua: Lua, out: &mut Reply, resp3: bool) {
    let line = |at: i32| -> Vec<u8> {
        lua.bytes(at).iter().map(|c| if b"\r\n".contains(c) { b' ' } else { *c }).collect()
    };
    let top = lua.top();
    if lua.field(-1, b"err") == Type::String {
        lua.pop(1);
        let e = read_error(lua);
        return write_error(out, &e.text, e.counted);
    }
    if lua.field(top, b"ok") == Type::String {
        out.simple(lua.c_bytes(-1));
    } else if lua.field(top, b"double") == Type::Number {
        out.double(lua.to_number(-1));
    } else if lua.field(top, b"big_number") == Type::String {
        out.big_number(&line(-1));
    } else if write_verbatim(lua, out, top) {
    } else if lua.field(top, b"map") == Type::Table {
        let map = lua.top();
        let (at, mut n) = (out.deferred(), 0);
        lua.push_nil();
        while lua.next(map) {
            lua.push_copy(-2);
            write_reply(lua, out, resp3);
            write_reply(lua, out, resp3);
            n += 1;
        }
        out.fill_map(at, n);
    } else if lua.field(top, b"set") == Type::Table {
        let set = lua.top();
        let (at, mut n) = (out.deferred(), 0);
        lua.push_nil();
        while lua.next(set) {
            lua.pop(1);
            lua.push_copy(-1);
            write_reply(lua, out, resp3);
            n += 1;
        }
        out.fill_set(at, n);
    } else {
        lua.set_top(top);
        let (at, mut n) = (out.deferred(), 0);
        loop {
            lua.raw_get_index(top, n + 1);
            if lua.kind(-1) == Type::Nil {
                break;
            }
            write_reply(lua, out, resp3);
            n += 1;
        }
        out.fill_array(at, n as usize);
    }
    lua.set_top(top);
}

fn write_verbatim(lua: Lua, out: &mut Reply, table: i32) -> bool {
    lua.set_top(table);
    if lua.field(table, b"verbatim_string") != Type::Table
        || lua.field(table + 1, b"format") != Type::String
        || lua.field(table + 1, b"string") != Type::String
    {
        lua.set_top(table);
        return false;
    }
    let mut format = [b' '; 3];
    for (to, from) in format.iter_mut().zip(lua.c_bytes(-2)) {
        *to = *from;
    }
    out.verbatim(&format, lua.bytes(-1));
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(proto: &[u8], resp3: bool) -> String {
        let lua = Lua::new_state();
        assert_eq!(push_reply(lua, proto, 0), Some(proto.len()));
        assert_eq!(lua.top(), 1);
        let mut out = Reply::new(resp3);
        write_reply(lua, &mut out, resp3);
        assert_eq!(lua.top(), 0);
        lua.close();
        String::from_utf8_lossy(&out.buf).into_owned()
    }

    #[test]
    fn replies_there_and_back() {
        for proto in [
            "+OK\r\n",
            ":-5\r\n",
            "$3\r\na\0b\r\n",
            "*2\r\n:1\r\n*1\r\n+x\r\n",
            "-ERR no\r\n",
            "*0\r\n",
        ] {
            assert_eq!(round(proto.as_bytes(), false), proto);
        }
        for proto in [
            "_\r\n",
            "#t\r\n",
            ",1.5\r\n",
            "(123\r\n",
            "=6\r\ntxt:hi\r\n",
            "%1\r\n+a\r\n:1\r\n",
            "~1\r\n:1\r\n",
        ] {
            assert_eq!(round(proto.as_bytes(), true), proto);
        }
        assert_eq!(round(b"$-1\r\n", false), "$-1\r\n");
        assert_eq!(round(b"*-1\r\n", false), "$-1\r\n");
        assert_eq!(round(b"*3\r\n:1\r\n$-1\r\n:3\r\n", false), "*3\r\n:1\r\n$-1\r\n:3\r\n");
        assert_eq!(round(b"|1\r\n+k\r\n:7\r\n:8\r\n", true), ":8\r\n");
    }

    #[test]
    fn codes_of_errors() {
        let lua = Lua::new_state();
        for (text, expected) in [
            ("plain text", "ERR plain text"),
            ("-CODE text", "CODE text"),
            ("-alone", "ERR alone"),
            ("-X y\r\n", "X y"),
        ] {
            push_error(lua, text.as_bytes());
            assert_eq!(String::from_utf8_lossy(&read_error(lua).text), expected);
            lua.pop(1);
        }
        lua.close();
    }
}
