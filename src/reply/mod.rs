//! STEP 6: writes RESP2 and RESP3 into a connection's output. One encoder for native commands, modules and `RM_Call`.
pub mod bytes;

use crate::keyspace::number;

/// Output of one connection or of one module call.
#[derive(Default)]
pub struct Reply {
    /// The bytes so far.
    pub buf: Vec<u8>,
    /// RESP3 when true.
    pub resp3: bool,
    /// When true, nothing is written (`CLIENT REPLY OFF`, internal calls without a client).
    pub muted: bool,
    /// Error replies written so far, for module calls.
    pub errors: u64,
    /// Beyond this many bytes the client is ended whatever follows; 0 for no limit. See [`Reply::full`].
    pub limit: usize,
    /// Their codes, a blank behind each, until the dispatcher counts them (`INFO errorstats`).
    pub codes: Vec<u8>,
}

/// A string from this length on makes room for itself.
const LARGE: usize = 4096;

/// A collection whose length is written later; see [`Reply::deferred`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deferred(pub usize);

impl Reply {
    /// An empty output.
    pub fn new(resp3: bool) -> Reply {
        Reply { resp3, ..Reply::default() }
    }

    /// Whether the client will be ended for the size of this reply: a long command may as well stop.
    #[inline]
    pub fn full(&self) -> bool {
        self.limit != 0 && self.buf.len() > self.limit
    }

    /// Appends finished protocol.
    #[inline]
    pub fn raw(&mut self, bytes: &[u8]) {
        if !self.muted {
            self.buf.extend_from_slice(bytes);
        }
    }

    #[inline]
    fn prefixed(&mut self, prefix: u8, n: i64) {
        if self.muted {
            return;
        }
        match n {
            0..10 => self.buf.extend_from_slice(&[prefix, b'0' + n as u8, b'\r', b'\n']),
            10..100 => {
                let (tens, ones) = (b'0' + (n / 10) as u8, b'0' + (n % 10) as u8);
                self.buf.extend_from_slice(&[prefix, tens, ones, b'\r', b'\n']);
            }
            _ => self.prefixed_long(prefix, n),
        }
    }

    fn prefixed_long(&mut self, prefix: u8, n: i64) {
        // A prefix, a sign, nineteen digits and a line break at most.
        let mut text = [b'\n'; 23];
        text[21] = b'\r';
        let at = number::write_signed_before(&mut text, 21, n) - 1;
        text[at] = prefix;
        self.buf.extend_from_slice(&text[at..]);
    }

    /// `+OK`
    #[inline]
    pub fn ok(&mut self) {
        self.raw(b"+OK\r\n");
    }

    /// A status reply; line breaks become spaces, as they would break the protocol.
    pub fn simple(&mut self, text: impl AsRef<[u8]>) {
        self.line(b'+', text.as_ref());
    }

    fn line(&mut self, prefix: u8, text: &[u8]) {
        if self.muted {
            return;
        }
        let text = &*bytes::from_text(text);
        self.buf.push(prefix);
        self.buf.extend(text.iter().map(|&c| if c == b'\r' || c == b'\n' { b' ' } else { c }));
        self.buf.extend_from_slice(b"\r\n");
    }

    /// An error reply; `text` begins with its code (`ERR ...`), without the dash.
    pub fn error(&mut self, text: impl AsRef<[u8]>) {
        self.errors += 1;
        let text = text.as_ref();
        let ends = |byte: &u8| matches!(byte, b'\r' | b'\n');
        let from = text.iter().position(|byte| !ends(byte)).unwrap_or(text.len());
        let to = text.iter().rposition(|byte| !ends(byte)).map_or(from, |last| last + 1);
        let text = &text[from..to];
        self.note_error(text);
        self.line(b'-', text);
    }

    /// Has an error counted by its code.
    pub fn note_error(&mut self, text: &[u8]) {
        self.codes.extend_from_slice(crate::observe::stats::error_code(text).as_bytes());
        self.codes.push(b' ');
    }

    /// An integer.
    #[inline]
    pub fn int(&mut self, n: i64) {
        self.prefixed(b':', n);
    }

    /// A bulk string.
    #[inline]
    pub fn bulk(&mut self, bytes: &[u8]) {
        if self.muted {
            return;
        }
        if bytes.len() >= LARGE {
            // Once and not twice: the line break would double a buffer that just fits.
            self.buf.reserve(bytes.len() + 32);
        }
        self.prefixed(b'$', bytes.len() as i64);
        self.buf.extend_from_slice(bytes);
        self.buf.extend_from_slice(b"\r\n");
    }

    /// A bulk string of text.
    pub fn bulk_str(&mut self, text: &str) {
        self.bulk(text.as_bytes());
    }

    /// An integer as a bulk string.
    pub fn bulk_int(&mut self, n: i64) {
        let mut text = [0; 20];
        let start = number::write_signed_before(&mut text, 20, n);
        self.bulk(&text[start..]);
    }

    /// A string value of the keyspace as a bulk string.
    #[inline]
    pub fn bulk_value(&mut self, s: crate::keyspace::value::StrRef<'_>) {
        match s {
            crate::keyspace::value::StrRef::Int(i) => self.bulk_int(i),
            crate::keyspace::value::StrRef::Bytes(b) => self.bulk(b),
        }
    }

    /// Nothing: `$-1`, or `_` in RESP3.
    #[inline]
    pub fn null(&mut self) {
        self.raw(if self.resp3 { b"_\r\n" } else { b"$-1\r\n" });
    }

    /// No array: `*-1`, or `_` in RESP3.
    pub fn null_array(&mut self) {
        self.raw(if self.resp3 { b"_\r\n" } else { b"*-1\r\n" });
    }

    /// The header of an array of `n` replies.
    #[inline]
    pub fn array(&mut self, n: usize) {
        self.prefixed(b'*', n as i64);
    }

    /// The header of a map of `n` pairs; a flat array in RESP2.
    pub fn map(&mut self, n: usize) {
        if self.resp3 {
            self.prefixed(b'%', n as i64);
        } else {
            self.prefixed(b'*', 2 * n as i64);
        }
    }

    /// The header of a set; an array in RESP2.
    pub fn set(&mut self, n: usize) {
        self.prefixed(if self.resp3 { b'~' } else { b'*' }, n as i64);
    }

    /// The header of a push message; an array in RESP2.
    pub fn push(&mut self, n: usize) {
        self.prefixed(if self.resp3 { b'>' } else { b'*' }, n as i64);
    }

    /// The header of an attribute of `n` pairs (RESP3 only).
    pub fn attribute(&mut self, n: usize) {
        self.prefixed(b'|', n as i64);
    }

    /// A double; a bulk string in RESP2.
    pub fn double(&mut self, d: f64) {
        let text = number::format_f64(d);
        let text = text.as_bytes();
        if self.resp3 {
            self.line(b',', text);
        } else {
            self.bulk(text);
        }
    }

    /// A boolean; an integer in RESP2.
    pub fn bool(&mut self, b: bool) {
        if self.resp3 {
            self.raw(if b { b"#t\r\n" } else { b"#f\r\n" });
        } else {
            self.int(i64::from(b));
        }
    }

    /// A big number; a bulk string in RESP2.
    pub fn big_number(&mut self, digits: &[u8]) {
        if self.resp3 {
            self.line(b'(', digits);
        } else {
            self.bulk(digits);
        }
    }

    /// A verbatim string with a three-letter format; a bulk string in RESP2.
    pub fn verbatim(&mut self, format: &[u8; 3], text: &[u8]) {
        if self.resp3 {
            self.prefixed(b'=', text.len() as i64 + 4);
            self.raw(format);
            self.raw(b":");
            self.raw(text);
            self.raw(b"\r\n");
        } else {
            self.bulk(text);
        }
    }

    /// Remembers the place of a collection header whose length is not known yet.
    pub fn deferred(&mut self) -> Deferred {
        Deferred(self.buf.len())
    }

    fn fill(&mut self, at: Deferred, prefix: u8, n: usize) {
        if self.muted {
            return;
        }
        let header = format!("{}{n}\r\n", prefix as char);
        self.buf.splice(at.0..at.0, header.bytes());
    }

    /// Writes the header of a deferred array.
    pub fn fill_array(&mut self, at: Deferred, n: usize) {
        self.fill(at, b'*', n);
    }

    /// Writes the header of a deferred map of `n` pairs.
    pub fn fill_map(&mut self, at: Deferred, n: usize) {
        if self.resp3 {
            self.fill(at, b'%', n);
        } else {
            self.fill(at, b'*', 2 * n);
        }
    }

    /// Writes the header of a deferred set.
    pub fn fill_set(&mut self, at: Deferred, n: usize) {
        self.fill(at, if self.resp3 { b'~' } else { b'*' }, n);
    }

    /// Writes the header of a deferred attribute.
    pub fn fill_attribute(&mut self, at: Deferred, n: usize) {
        self.fill(at, b'|', n);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_of_both_protocols() {
        let mut r = Reply::new(false);
        r.int(-12);
        r.bulk(b"ab");
        r.null();
        r.map(2);
        r.double(1.5);
        r.bool(true);
        r.simple("a\r\nb");
        assert_eq!(
            String::from_utf8_lossy(&r.buf),
            ":-12\r\n$2\r\nab\r\n$-1\r\n*4\r\n$3\r\n1.5\r\n:1\r\n+a  b\r\n"
        );
        let mut r = Reply::new(true);
        let at = r.deferred();
        r.null();
        r.double(f64::INFINITY);
        r.verbatim(b"txt", b"hi");
        r.fill_map(at, 1);
        assert_eq!(String::from_utf8_lossy(&r.buf), "%1\r\n_\r\n,inf\r\n=6\r\ntxt:hi\r\n");
    }

    #[test]
    fn integers_of_all_lengths() {
        let edges = [0, 9, 10, 99, 100, 101, 12345, i64::MAX, -1, -9, -10, -100, i64::MIN];
        let mut r = Reply::new(false);
        for n in edges {
            r.int(n);
            r.bulk_int(n);
        }
        let text = |n: i64| format!(":{n}\r\n${}\r\n{n}\r\n", n.to_string().len());
        assert_eq!(r.buf, edges.map(text).concat().as_bytes());
    }

    #[test]
    fn lengths_of_collections() {
        let all = |resp3| {
            let mut r = Reply::new(resp3);
            let (map, set) = (r.deferred(), Deferred(0));
            r.set(1);
            r.push(2);
            r.attribute(3);
            r.null_array();
            r.bool(false);
            r.big_number(b"-17");
            r.fill_map(map, 12);
            r.fill_set(set, 5);
            String::from_utf8(r.buf).unwrap()
        };
        assert_eq!(all(true), "~5\r\n%12\r\n~1\r\n>2\r\n|3\r\n_\r\n#f\r\n(-17\r\n");
        assert_eq!(all(false), "*5\r\n*24\r\n*1\r\n*2\r\n|3\r\n*-1\r\n:0\r\n$3\r\n-17\r\n");
    }

    #[test]
    fn an_error_is_one_line_and_is_counted() {
        let mut r = Reply::new(false);
        r.error("\r\nWRONGTYPE of\r\nvalue\r\n");
        r.error("nocode");
        r.error("");
        assert_eq!(String::from_utf8_lossy(&r.buf), "-WRONGTYPE of  value\r\n-nocode\r\n-\r\n");
        assert_eq!((r.errors, &*r.codes), (3, &b"WRONGTYPE ERR ERR "[..]));
    }

    #[test]
    fn nothing_is_written_while_muted() {
        let mut r = Reply { muted: true, ..Reply::new(true) };
        let at = r.deferred();
        r.ok();
        r.int(1);
        r.bulk(b"x");
        r.double(0.5);
        r.verbatim(b"txt", b"x");
        r.error("ERR x");
        r.fill_array(at, 1);
        assert_eq!((r.buf.len(), r.errors), (0, 1));
        let mut r = Reply { limit: 9, ..Reply::default() };
        r.bulk(b"123");
        assert!(!r.full());
        r.ok();
        assert!(r.full());
    }
}
