//! STEP 2: requests, in RESP and inline form. No I/O; arguments are ranges of the read buffer.
use std::cell::Cell;

/// Where an argument lies, relative to the beginning of its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// Offset of the first byte.
    pub start: u32,
    /// Length in bytes.
    pub len: u32,
}

/// What [`Parser::next`] found.
#[derive(Debug, PartialEq, Eq)]
pub enum Parsed {
    /// A whole request; it takes this many bytes. Its arguments are the [`Parser::found`] ones of [`Parser::args`] (or
    /// [`Parser::inline_args`]); none means an empty line, to be skipped.
    Request(usize),
    /// More bytes are needed.
    Incomplete,
    /// The peer does not speak the protocol; the text goes back as an error and the connection ends.
    Error(String),
}

/// Limits that `redis.conf` sets.
#[derive(Clone, Copy)]
pub struct Limits {
    /// `proto-max-bulk-len`
    pub max_bulk: i64,
    /// Whether the connection is authenticated; others may send only small requests.
    pub authenticated: bool,
}

/// Arguments for which an idle connection keeps room.
const FEW_ARGS: usize = 4;
/// Room made for more than those.
const MORE_ARGS: usize = 128;
/// Arguments of a request whose list lies on the stack.
const FEW_SLICES: usize = 16;
/// Room for so many arguments is kept by a thread for its next pipeline.
const SPARE_ARGS: usize = 1024;

thread_local! {
    /// Room for the arguments of a pipeline.
    static SPARE: Cell<Vec<Range>> = const { Cell::new(Vec::new()) };
}

/// Longest line without a line break.
const MAX_LINE: usize = 64 * 1024;
/// Most arguments of one request.
const MAX_ARGS: i64 = i32::MAX as i64;

/// Finds requests in a growing buffer. It remembers how far it got, so that a long request is not read twice, and the
/// arguments of all requests since [`Parser::begin`].
#[derive(Default)]
pub struct Parser {
    /// Arguments of the requests found, each relative to its request's first byte.
    pub args: Vec<Range>,
    /// Where the arguments of the request found last, or of the one that is not whole yet, begin.
    first: usize,
    /// Arguments of an inline request, unquoted; used instead of `args` when `inline` is true.
    pub inline_args: Vec<Vec<u8>>,
    /// Whether the request found last came in inline form.
    pub inline: bool,
    pos: usize,
    left: i64,
    started: bool,
    /// No use to look again before the buffer has this many bytes.
    need: usize,
    /// Where the argument begins that is not whole; behind `pos` when its header was read.
    begun: usize,
}

impl Parser {
    /// Forgets the arguments of the requests found so far.
    pub fn begin(&mut self) {
        if self.started {
            self.args.drain(..self.first);
        } else {
            self.args.clear();
        }
        self.first = 0;
    }

    /// Forgets a request that is not whole yet: it will be read again from its beginning.
    pub fn abandon(&mut self) {
        self.reset();
        self.args.clear();
        self.first = 0;
    }

    /// Gives back memory that an idle connection can do without.
    pub fn rest(&mut self) {
        if !self.started && self.args.capacity() > FEW_ARGS {
            let mut spare = std::mem::take(&mut self.args);
            self.first = 0;
            if spare.capacity() <= SPARE_ARGS {
                spare.clear();
                SPARE.set(spare);
            }
        }
    }

    /// Makes room for more arguments.
    #[cold]
    fn grow(&mut self) {
        if self.args.is_empty() {
            return self.args.reserve(FEW_ARGS);
        }
        // More than one short request: a pipeline, whose arguments come in their dozens.
        let mut more = SPARE.take();
        if more.capacity() > self.args.len() {
            more.extend_from_slice(&self.args);
            self.args = more;
        } else {
            self.args.reserve(MORE_ARGS);
        }
    }

    /// Which of the arguments are those of the request found last.
    pub fn found(&self) -> std::ops::Range<usize> {
        self.first..self.args.len()
    }

    fn reset(&mut self) {
        self.pos = 0;
        self.left = 0;
        self.started = false;
        self.need = 0;
        self.begun = 0;
    }

    /// How far the request that is not whole was understood: bytes of the buffer, and bytes of the arguments in them.
    pub fn progress(&self) -> (usize, usize) {
        if !self.started {
            return (0, 0);
        }
        (self.begun.max(self.pos), self.args[self.first..].iter().map(|r| r.len as usize).sum())
    }

    /// How many bytes the buffer has to have before the request can be whole; 0 if that is not known.
    pub fn needs(&self) -> usize {
        self.need
    }

    /// Looks at `buf`, which begins with the first byte of a request and grows from call to call until the request is
    /// whole.
    pub fn next(&mut self, buf: &[u8], limits: Limits) -> Parsed {
        if buf.len() < self.need || buf.is_empty() {
            return Parsed::Incomplete;
        }
        let result = if self.started || buf[0] == b'*' {
            self.multibulk(buf, limits)
        } else {
            self.inline_request(buf)
        };
        if !matches!(result, Parsed::Incomplete) {
            self.reset();
        }
        result
    }

    /// The number after the prefix at `self.pos`, and the position behind its line.
    #[inline(never)]
    fn header(&self, buf: &[u8], too_big: &str) -> Result<Option<(i64, usize)>, String> {
        let rest = &buf[self.pos..];
        let Some(cr) = find(rest, b'\r') else {
            if rest.len() > MAX_LINE {
                return Err(format!("Protocol error: {too_big}"));
            }
            return Ok(None);
        };
        if cr + 1 >= rest.len() {
            return Ok(None);
        }
        let digits = &rest[1..cr];
        let n = crate::keyspace::number::parse_i64(digits).unwrap_or(i64::MIN);
        Ok(Some((n, self.pos + cr + 2)))
    }

    fn multibulk(&mut self, buf: &[u8], limits: Limits) -> Parsed {
        if !self.started {
            self.inline = false;
            self.first = self.args.len();
            let short = match *buf {
                [_, n @ b'1'..=b'9', b'\r', _, ..] => Ok(Some((i64::from(n - b'0'), 4))),
                _ => self.header(buf, "too big mbulk count string"),
            };
            match short {
                Err(e) => return Parsed::Error(e),
                Ok(None) => return Parsed::Incomplete,
                Ok(Some((n, next))) => {
                    if n == i64::MIN || n > MAX_ARGS {
                        return Parsed::Error("Protocol error: invalid multibulk length".into());
                    }
                    if n > 10 && !limits.authenticated {
                        return Parsed::Error(
                            "Protocol error: unauthenticated multibulk length".into(),
                        );
                    }
                    self.pos = next;
                    if n <= 0 {
                        return Parsed::Request(next);
                    }
                    self.left = n;
                    self.started = true;
                }
            }
        }
        while self.left > 0 {
            // Nearly all lengths have one or two digits, and are within every limit.
            let (len, start) = match buf[self.pos..] {
                [b'$', a @ b'0'..=b'9', b'\r', _, ..] => (usize::from(a - b'0'), self.pos + 4),
                [b'$', a @ b'1'..=b'9', b @ b'0'..=b'9', b'\r', _, ..] => {
                    (usize::from(a - b'0') * 10 + usize::from(b - b'0'), self.pos + 5)
                }
                _ => match self.bulk_header(buf, limits) {
                    Err(e) => return Parsed::Error(e),
                    Ok(None) => return Parsed::Incomplete,
                    Ok(Some(x)) => x,
                },
            };
            let end = start + len + 2;
            if buf.len() < end {
                self.need = end;
                self.begun = start;
                return Parsed::Incomplete;
            }
            if self.args.len() == self.args.capacity() {
                self.grow();
            }
            self.args.push(Range { start: start as u32, len: len as u32 });
            self.pos = end;
            self.left -= 1;
        }
        Parsed::Request(self.pos)
    }

    /// The length of an argument, and where it begins.
    fn bulk_header(&self, buf: &[u8], limits: Limits) -> Result<Option<(usize, usize)>, String> {
        let Some(&first) = buf.get(self.pos) else { return Ok(None) };
        if first != b'$' {
            return Err(format!("Protocol error: expected '$', got '{}'", first as char));
        }
        let Some((len, start)) = self.header(buf, "too big bulk count string")? else {
            return Ok(None);
        };
        if len < 0 || len > limits.max_bulk {
            return Err("Protocol error: invalid bulk length".into());
        }
        if len > 16384 && !limits.authenticated {
            return Err("Protocol error: unauthenticated bulk length".into());
        }
        Ok(Some((len as usize, start)))
    }

    fn inline_request(&mut self, buf: &[u8]) -> Parsed {
        let Some(lf) = find(buf, b'\n') else {
            if buf.len() > MAX_LINE {
                return Parsed::Error("Protocol error: too big inline request".into());
            }
            return Parsed::Incomplete;
        };
        let line = buf[..lf].strip_suffix(b"\r").unwrap_or(&buf[..lf]);
        self.inline = true;
        self.first = self.args.len();
        match crate::config::text::split_args(line) {
            Some(words) => {
                self.inline_args = words;
                Parsed::Request(lf + 1)
            }
            None => Parsed::Error("Protocol error: unbalanced quotes in request".into()),
        }
    }

    /// Calls `f` with the arguments of a request, which begins at `request[0]` and was [`Parser::found`] with these. An
    /// inline request must be the one found last.
    #[inline]
    pub fn with_args<R>(
        &self,
        request: &[u8],
        found: std::ops::Range<usize>,
        f: impl FnOnce(&[&[u8]]) -> R,
    ) -> R {
        let mut few: [&[u8]; FEW_SLICES] = [&[]; FEW_SLICES];
        let mut many = Vec::new();
        let list = if self.inline && found.is_empty() {
            many.extend(self.inline_args.iter().map(Vec::as_slice));
            &many[..]
        } else {
            let ranges = &self.args[found];
            let slice = |r: &Range| &request[r.start as usize..(r.start + r.len) as usize];
            match few.get_mut(..ranges.len()) {
                Some(few) => {
                    few.iter_mut().zip(ranges).for_each(|(to, r)| *to = slice(r));
                    few
                }
                None => {
                    many.extend(ranges.iter().map(slice));
                    &many[..]
                }
            }
        };
        f(list)
    }
}

#[inline]
fn find(haystack: &[u8], needle: u8) -> Option<usize> {
    // Headers are a few bytes long: a plain loop beats a vector search there.
    haystack.iter().position(|&c| c == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { max_bulk: 1 << 29, authenticated: true };

    fn args(p: &Parser, buf: &[u8]) -> Vec<String> {
        p.with_args(buf, p.found(), |a| {
            a.iter().map(|x| String::from_utf8_lossy(x).into_owned()).collect()
        })
    }

    #[test]
    fn whole_and_byte_by_byte() {
        let req = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$12\r\nhello\r\nworld\r\n";
        let mut p = Parser::default();
        assert_eq!(p.next(req, LIMITS), Parsed::Request(req.len()));
        assert_eq!(args(&p, req), ["SET", "k", "hello\r\nworld"]);
        for cut in 1..req.len() {
            assert_eq!(p.next(&req[..cut], LIMITS), Parsed::Incomplete, "at {cut}");
        }
        assert_eq!(p.next(req, LIMITS), Parsed::Request(req.len()));
        assert_eq!(args(&p, req), ["SET", "k", "hello\r\nworld"]);
    }

    #[test]
    fn inline_and_empty() {
        let mut p = Parser::default();
        assert_eq!(p.next(b"set a \"b c\"\r\nget", LIMITS), Parsed::Request(13));
        assert_eq!(args(&p, b""), ["set", "a", "b c"]);
        assert_eq!(p.next(b"\r\n", LIMITS), Parsed::Request(2));
        assert_eq!(args(&p, b"").len(), 0);
        assert_eq!(p.next(b"*0\r\n", LIMITS), Parsed::Request(4));
        assert_eq!(args(&p, b"*0\r\n").len(), 0);
    }

    #[test]
    fn several_requests_and_a_piece() {
        let buf = b"*1\r\n$4\r\nPING\r\n*2\r\n$3\r\nGET\r\n$1\r\nk\r\n*2\r\n$3\r\nGET\r\n$1";
        let whole = [buf, &b"\r\nx\r\n"[..]].concat();
        let mut p = Parser::default();
        p.begin();
        assert_eq!(p.next(buf, LIMITS), Parsed::Request(14));
        let first = p.found();
        assert_eq!(p.next(&buf[14..], LIMITS), Parsed::Request(20));
        let second = p.found();
        assert_eq!(p.next(&buf[34..], LIMITS), Parsed::Incomplete);
        let text = |p: &Parser, at: usize, found| {
            p.with_args(&whole[at..], found, |a| a.concat()).escape_ascii().to_string()
        };
        assert_eq!([text(&p, 0, first), text(&p, 14, second)], ["PING", "GETk"]);
        p.begin();
        assert_eq!(p.next(&whole[34..], LIMITS), Parsed::Request(20));
        assert_eq!(text(&p, 34, p.found()), "GETx");
        p.begin();
        assert_eq!(p.next(&buf[34..], LIMITS), Parsed::Incomplete);
        p.abandon();
        assert_eq!(p.next(&whole[14..], LIMITS), Parsed::Request(20));
        assert_eq!(text(&p, 14, p.found()), "GETk");
    }

    #[test]
    fn many_arguments_and_the_room_of_the_pipeline_before() {
        let mut p = Parser::default();
        for words in [3, FEW_ARGS + 1, FEW_SLICES, FEW_SLICES + 1, 300, 2 * SPARE_ARGS, 5] {
            let names: Vec<String> = (0..words).map(|i| format!("word{i}")).collect();
            let mut buf = format!("*{words}\r\n");
            names.iter().for_each(|w| buf += &format!("${}\r\n{w}\r\n", w.len()));
            p.begin();
            assert_eq!(p.next(buf.as_bytes(), LIMITS), Parsed::Request(buf.len()));
            assert_eq!(args(&p, buf.as_bytes()), names);
            p.begin();
            p.rest();
            assert!(p.args.capacity() <= FEW_ARGS);
        }
    }

    #[test]
    fn errors() {
        let err = |b: &[u8]| match Parser::default().next(b, LIMITS) {
            Parsed::Error(e) => e,
            other => format!("{other:?}"),
        };
        assert_eq!(err(b"*1\r\n+OK\r\n"), "Protocol error: expected '$', got '+'");
        assert_eq!(err(b"*x\r\n"), "Protocol error: invalid multibulk length");
        assert_eq!(err(b"*1\r\n$-1\r\n"), "Protocol error: invalid bulk length");
        assert_eq!(err(b"get \"a\r\n"), "Protocol error: unbalanced quotes in request");
    }

    /// What redis-server 7.4.1 answers, without and with a password that was not given.
    #[test]
    fn limits() {
        let stranger = Limits { authenticated: false, ..LIMITS };
        let first = |b: &[u8], limits| match Parser::default().next(b, limits) {
            Parsed::Error(e) => e,
            Parsed::Incomplete => "more".into(),
            Parsed::Request(len) => format!("{len}"),
        };
        let digits = |head: &str, n: usize| [head.as_bytes(), &vec![b'1'; n]].concat();
        for (request, known, unknown) in [
            (b"*2147483648\r\n".to_vec(), "invalid multibulk length", ""),
            (b"*2147483647\r\n".to_vec(), "more", "unauthenticated multibulk length"),
            (b"*11\r\n".to_vec(), "more", "unauthenticated multibulk length"),
            (b"*10\r\n".to_vec(), "more", ""),
            (b"*-1\r\nPING".to_vec(), "5", ""),
            (b"*01\r\n".to_vec(), "invalid multibulk length", ""),
            (b"*\r\n".to_vec(), "invalid multibulk length", ""),
            (b"*1\r\n$16385\r\n".to_vec(), "more", "unauthenticated bulk length"),
            (b"*1\r\n$16384\r\n".to_vec(), "more", ""),
            (b"*1\r\n$536870913\r\n".to_vec(), "invalid bulk length", ""),
            (b"*1\r\n$536870912\r\n".to_vec(), "more", "unauthenticated bulk length"),
            (b"*1\r\n$04\r\n".to_vec(), "invalid bulk length", ""),
            (digits("", 65_537), "too big inline request", ""),
            (digits("", 65_536), "more", ""),
            (digits("*", 65_536), "too big mbulk count string", ""),
            (digits("*", 65_535), "more", ""),
            (digits("*1\r\n$", 65_536), "too big bulk count string", ""),
            (digits("*1\r\n$", 65_535), "more", ""),
            // The byte behind a carriage return is passed over unseen.
            (b"*1\rX$4\rXPINGXX".to_vec(), "14", ""),
        ] {
            let shown = request[..request.len().min(24)].escape_ascii().to_string();
            let stripped = |e: String| e.trim_start_matches("Protocol error: ").to_string();
            assert_eq!(stripped(first(&request, LIMITS)), known, "{shown}");
            let unknown = if unknown.is_empty() { known } else { unknown };
            assert_eq!(stripped(first(&request, stranger)), unknown, "{shown}");
        }
    }
}
