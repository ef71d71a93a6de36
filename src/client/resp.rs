//! RESP2 and RESP3 as a client sees them: encoding of requests, parsing and printing of replies.

/// One reply. The text of a line is kept as it came, so that equality is that of the bytes on the wire.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// `+ - : , # _ (` and the rest of their line.
    Line(u8, Vec<u8>),
    /// `$ = !` and their bytes.
    Blob(u8, Vec<u8>),
    /// `$-1` or `*-1`.
    Null(u8),
    /// `* ~ >` and their elements; `%` and `|` with keys and values in turn (for `|`, the reply it
    /// belongs to is the last element).
    Many(u8, Vec<Reply>),
    /// The server closed the connection instead.
    Closed,
    /// Nothing came in time.
    Timeout,
}

impl Reply {
    /// The bytes of a reply without parts.
    pub fn text(&self) -> Option<&[u8]> {
        match self {
            Reply::Line(_, text) | Reply::Blob(_, text) => Some(text),
            _ => None,
        }
    }

    /// The element reached by following `path`.
    pub fn at(&self, path: &[usize]) -> Option<&Reply> {
        match (self, path) {
            (_, []) => Some(self),
            (Reply::Many(_, items), [first, rest @ ..]) => items.get(*first)?.at(rest),
            _ => None,
        }
    }
}

/// The first complete reply in `buffer` and its length; `None` where more bytes are needed.
pub fn parse(buffer: &[u8]) -> Result<Option<(Reply, usize)>, String> {
    let Some(end) = buffer.windows(2).position(|pair| pair == b"\r\n") else {
        return Ok(None);
    };
    let (kind, line, mut used) = match buffer.first() {
        Some(kind) if end > 0 => (*kind, &buffer[1..end], end + 2),
        _ => return Err(format!("an empty line where a reply begins: {}", quoted(buffer))),
    };
    let length = || -> Result<i64, String> {
        std::str::from_utf8(line)
            .ok()
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| format!("bad length in a reply: {}", quoted(&buffer[..end])))
    };
    match kind {
        b'+' | b'-' | b':' | b',' | b'#' | b'_' | b'(' => {
            Ok(Some((Reply::Line(kind, line.to_vec()), used)))
        }
        b'$' | b'=' | b'!' => match length()? {
            -1 => Ok(Some((Reply::Null(kind), used))),
            n if n >= 0 => {
                let stop = used + n as usize;
                match buffer.get(stop..stop + 2) {
                    None => Ok(None),
                    Some(b"\r\n") => {
                        Ok(Some((Reply::Blob(kind, buffer[used..stop].to_vec()), stop + 2)))
                    }
                    Some(other) => Err(format!("a blob of {n} bytes ends in {}", quoted(other))),
                }
            }
            n => Err(format!("a blob of {n} bytes")),
        },
        b'*' | b'~' | b'>' | b'%' | b'|' => {
            let count = match length()? {
                -1 => return Ok(Some((Reply::Null(kind), used))),
                n if n < 0 => return Err(format!("an aggregate of {n} elements")),
                n if kind == b'%' => n * 2,
                n if kind == b'|' => n * 2 + 1,
                n => n,
            };
            let mut items = Vec::new();
            for _ in 0..count {
                let Some((item, size)) = parse(&buffer[used..])? else { return Ok(None) };
                items.push(item);
                used += size;
            }
            Ok(Some((Reply::Many(kind, items), used)))
        }
        _ => Err(format!("not a reply: {}", quoted(&buffer[..end.min(80)]))),
    }
}

/// A request as an array of bulk strings.
pub fn encode<A: AsRef<[u8]>>(args: &[A]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", args.len()).into_bytes();
    for arg in args {
        out.extend_from_slice(format!("${}\r\n", arg.as_ref().len()).as_bytes());
        out.extend_from_slice(arg.as_ref());
        out.extend_from_slice(b"\r\n");
    }
    out
}

/// Bytes in double quotes with the escapes of `redis-cli`.
pub fn quoted(bytes: &[u8]) -> String {
    let mut out = String::from("\"");
    for &byte in bytes {
        match byte {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            0x20..=0x7e => out.push(byte as char),
            _ => out.push_str(&format!("\\x{byte:02x}")),
        }
    }
    out.push('"');
    out
}

fn plain(bytes: &[u8]) -> String {
    let text = quoted(bytes);
    text[1..text.len() - 1].to_string()
}

/// A reply without parts on one line.
fn scalar(reply: &Reply) -> Option<String> {
    Some(match reply {
        Reply::Line(b'+', text) => plain(text),
        Reply::Line(b'-', text) => format!("(error) {}", plain(text)),
        Reply::Line(b':', text) => plain(text),
        Reply::Line(b',', text) => format!("(double) {}", plain(text)),
        Reply::Line(b'#', text) => format!("(boolean) {}", plain(text)),
        Reply::Line(b'(', text) => format!("(big number) {}", plain(text)),
        Reply::Line(_, _) => "(null)".into(),
        Reply::Blob(b'=', text) => format!("(verbatim) {}", quoted(text)),
        Reply::Blob(b'!', text) => format!("(blob error) {}", quoted(text)),
        Reply::Blob(_, text) => quoted(text),
        Reply::Null(b'*') => "(nil array)".into(),
        Reply::Null(_) => "(nil)".into(),
        Reply::Closed => "(connection closed)".into(),
        Reply::Timeout => "(no reply in time)".into(),
        Reply::Many(_, items) if items.is_empty() => compact(reply),
        Reply::Many(..) => return None,
    })
}

/// A reply on one line: `[1, "a", {"k": 2}]`; sets begin with `~`, pushes with `>`.
pub fn compact(reply: &Reply) -> String {
    let Reply::Many(kind, items) = reply else {
        return scalar(reply).unwrap_or_default();
    };
    let parts: Vec<String> = items.iter().map(compact).collect();
    match kind {
        b'%' => {
            let pairs: Vec<String> = parts.chunks(2).map(|pair| pair.join(": ")).collect();
            format!("{{{}}}", pairs.join(", "))
        }
        b'*' => format!("[{}]", parts.join(", ")),
        other => format!("{}[{}]", *other as char, parts.join(", ")),
    }
}

/// A reply in the manner of `redis-cli`, one line for each scalar.
pub fn pretty(reply: &Reply) -> Vec<String> {
    let Reply::Many(kind, items) = reply else {
        return scalar(reply).into_iter().collect();
    };
    if items.is_empty() {
        return vec![compact(reply)];
    }
    let mut lines = Vec::new();
    for (i, item) in items.iter().enumerate() {
        let mark = match kind {
            b'%' if i % 2 == 0 => format!("{}% ", i / 2 + 1),
            b'%' => "  => ".to_string(),
            b'*' => format!("{}) ", i + 1),
            other => format!("{}{} ", i + 1, *other as char),
        };
        let indent = " ".repeat(mark.len());
        for (n, line) in pretty(item).into_iter().enumerate() {
            lines.push(format!("{}{line}", if n == 0 { &mark } else { &indent }));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(bytes: &[u8]) -> String {
        let (reply, used) = parse(bytes).unwrap().unwrap();
        assert_eq!(used, bytes.len());
        compact(&reply)
    }

    #[test]
    fn parses_each_kind() {
        assert_eq!(one(b"+OK\r\n"), "OK");
        assert_eq!(one(b"-ERR no\r\n"), "(error) ERR no");
        assert_eq!(one(b"$3\r\na\r\n\r\n"), "\"a\\r\\n\"");
        assert_eq!(one(b"*3\r\n:1\r\n$-1\r\n*-1\r\n"), "[1, (nil), (nil array)]");
        assert_eq!(one(b"%1\r\n+a\r\n~1\r\n,1.5\r\n"), "{a: ~[(double) 1.5]}");
        assert_eq!(one(b">2\r\n#t\r\n_\r\n"), ">[(boolean) t, (null)]");
    }

    #[test]
    fn waits_for_the_rest_and_refuses_rubbish() {
        let whole = b"*2\r\n$3\r\nabc\r\n%1\r\n:1\r\n:2\r\n";
        for cut in 0..whole.len() {
            assert_eq!(parse(&whole[..cut]).unwrap(), None, "cut at {cut}");
        }
        assert!(parse(b"hello\r\n").is_err());
        assert!(parse(b"$1\r\nabc").is_err());
    }
}
