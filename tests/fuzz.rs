//! Mutated input for what reads bytes of strangers: the protocol parser, `RESTORE`, globs, and the unpackers of scripts.
//!
//! A self-contained driver: inputs of `tests/corpus` are mutated, and whatever makes a target do something new joins the
//! pool for the time of the run. `FUZZ_SECONDS` says how long each target runs (2 by default), `FUZZ_SEED` begins another
//! sequence. A run without findings proves little; a finding is printed with the bytes that show it.
mod common;

use backplane::config::glob_match;
use backplane::keyspace::hash::HashLimits;
use backplane::keyspace::list::Fill;
use backplane::keyspace::set::SetLimits;
use backplane::keyspace::zset::ZsetLimits;
use backplane::parse::{Limits, Parsed, Parser};
use backplane::snapshot::{restore, seal, skip_value, Decoder, Reader};
use common::{Client, Reply, Server};
use std::collections::HashSet;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::path::Path;
use std::time::{Duration, Instant};

/// A generator whose every run is the same (xorshift).
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }

    fn pick<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }
}

/// Bytes that stand for much in one of the formats.
const TELLING: &[&[u8]] = &[
    b"\0",
    b"\xff",
    b"\x7f",
    b"\x80",
    b"\xc0",
    b"\xc1",
    b"\xc2",
    b"\xc3",
    b"\x40",
    b"\xfe",
    b"\xdf",
    b"\xde",
    b"\xdd",
    b"\xdc",
    b"\xd9",
    b"\xcf",
    b"\r\n",
    b"*",
    b"$",
    b"-1",
    b"0",
    b"9223372036854775807",
    b"-9223372036854775808",
    b"4294967296",
    b"18446744073709551615",
    b"[",
    b"]",
    b"^",
    b"\\",
    b"?",
    b"{",
    b"}",
    b"\"",
    b"\\u",
    b"\\ud800",
    b":",
    b",",
    b"e308",
    b"nan",
    b"inf",
    b"!",
    b"<",
    b">",
    b"i16",
    b"i17",
    b"s",
    b"c0",
    b"\x81\x7f\xff\xff\xff\xff\xff\xff\xff",
];

/// The pool of one target.
struct Fuzz {
    rng: Rng,
    pool: Vec<Vec<u8>>,
    seen: HashSet<u64>,
    until: Instant,
    runs: u64,
}

/// The largest input that is kept.
const MAX_INPUT: usize = 4096;

impl Fuzz {
    fn new(target: &str) -> Fuzz {
        let number = |name: &str, default: u64| {
            std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default)
        };
        let mut pool = Vec::new();
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(target);
        let mut files: Vec<_> = std::fs::read_dir(&dir)
            .unwrap_or_else(|e| panic!("{}: {e}", dir.display()))
            .map(|f| f.expect("a file of the corpus").path())
            .collect();
        files.sort();
        for f in files {
            pool.push(std::fs::read(&f).expect("a file of the corpus"));
        }
        assert!(!pool.is_empty(), "{} is empty", dir.display());
        let seed = number("FUZZ_SEED", 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let until = Instant::now() + Duration::from_secs(number("FUZZ_SECONDS", 2));
        Fuzz { rng: Rng(seed), pool, seen: HashSet::new(), until, runs: 0 }
    }

    /// The next input; none when the time is over. The files of the corpus come first, as they are.
    fn next(&mut self) -> Option<Vec<u8>> {
        let n = self.runs as usize;
        self.runs += 1;
        if let Some(input) = self.pool.get(n).filter(|_| self.seen.len() <= n) {
            return Some(input.clone());
        }
        if self.runs % 64 == 0 && Instant::now() > self.until {
            return None;
        }
        let mut input = self.rng.pick(&self.pool).clone();
        for _ in 0..=self.rng.below(4) {
            self.mutate(&mut input);
        }
        input.truncate(MAX_INPUT);
        Some(input)
    }

    fn mutate(&mut self, input: &mut Vec<u8>) {
        let rng = &mut self.rng;
        // Near the front there are types and lengths, so half of the changes go there.
        let end = if rng.below(2) == 0 { input.len().min(24) } else { input.len() };
        let at = rng.below(end + 1);
        match rng.below(9) {
            0 => input.truncate(at),
            1 => input.insert(at, rng.next() as u8),
            2 | 3 => {
                let piece = *rng.pick(TELLING);
                let over = if rng.below(2) == 0 { 0 } else { piece.len().min(input.len() - at) };
                input.splice(at..at + over, piece.iter().copied());
            }
            4 => {
                let len = rng.below(16).min(input.len() - at);
                input.drain(at..at + len);
            }
            5 => {
                let len = rng.below(64).min(input.len() - at);
                let copy = input[at..at + len].to_vec();
                let to = rng.below(input.len() + 1);
                input.splice(to..to, copy);
            }
            6 => {
                let other = rng.pick(&self.pool).clone();
                let from = rng.below(other.len() + 1);
                input.truncate(at);
                input.extend_from_slice(&other[from..]);
            }
            _ => {
                if let Some(b) = input.get_mut(at) {
                    *b = match rng.below(3) {
                        0 => rng.next() as u8,
                        1 => b.wrapping_add(1),
                        _ => *b ^ 1 << rng.below(8),
                    };
                }
            }
        }
    }

    /// Keeps an input that did something new; `what` is any number that tells outcomes apart.
    fn outcome(&mut self, input: &[u8], what: u64) {
        const MOST: usize = 4096;
        if self.seen.len() < MOST && self.seen.insert(what) && !self.pool.iter().any(|p| p == input)
        {
            self.pool.push(input.to_vec());
        }
    }

    /// Runs a target on input after input. Its result tells outcomes apart.
    fn run(mut self, target: impl Fn(&[u8], &mut Rng) -> u64) {
        while let Some(input) = self.next() {
            let mut rng = Rng(self.rng.next() | 1);
            match catch_unwind(AssertUnwindSafe(|| target(&input, &mut rng))) {
                Ok(what) => self.outcome(&input, what),
                Err(cause) => {
                    eprintln!("input {}: {}", self.runs, show(&input));
                    std::panic::resume_unwind(cause);
                }
            }
        }
        eprintln!("{} inputs, {} in the pool", self.runs, self.pool.len());
    }
}

fn show(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

/// Everything that a parser finds in `input`, which arrives in pieces that end at `cuts`.
fn parse_all(
    input: &[u8],
    cuts: &[usize],
    authenticated: bool,
) -> Vec<Result<Vec<Vec<u8>>, String>> {
    let limits = Limits { max_bulk: 512 << 20, authenticated };
    let (mut parser, mut found, mut start) = (Parser::default(), Vec::new(), 0);
    for &end in cuts.iter().chain([&input.len()]) {
        loop {
            let rest = &input[start..end];
            match parser.next(rest, limits) {
                Parsed::Incomplete => break,
                Parsed::Error(e) => {
                    found.push(Err(e));
                    return found;
                }
                Parsed::Request(len) => {
                    assert!(len > 0 && len <= rest.len());
                    found.push(Ok(parser.with_args(
                        &rest[..len],
                        parser.found(),
                        |args: &[&[u8]]| args.iter().map(|a| a.to_vec()).collect(),
                    )));
                    start += len;
                }
            }
        }
    }
    found
}

#[test]
fn requests() {
    Fuzz::new("parser").run(|input, rng| {
        let authenticated = rng.below(4) != 0;
        let whole = parse_all(input, &[], authenticated);
        let mut cuts: Vec<usize> = (0..rng.below(6)).map(|_| rng.below(input.len() + 1)).collect();
        cuts.sort_unstable();
        let pieces = parse_all(input, &cuts, authenticated);
        assert_eq!(whole, pieces, "cut at {cuts:?}");
        let shape = |r: &Result<Vec<Vec<u8>>, String>| match r {
            Ok(args) => args.len() as u64 + 1,
            Err(e) => 1000 + e.len() as u64,
        };
        whole.iter().take(8).fold(0, |all, r| all * 31 + shape(r))
    });
}

#[test]
fn globs() {
    Fuzz::new("glob").run(|input, rng| {
        let middle = input.iter().position(|&c| c == 0).unwrap_or(input.len() / 2);
        let (pattern, text) = input.split_at(middle);
        let text = &text[..text.len().min(200)];
        let hit = glob_match(pattern, text, false);
        let folded = glob_match(pattern, text, true);
        if text.is_empty() {
            // Nothing but the empty pattern matches it, not even a star: so it is on Redis.
            assert_eq!(hit, pattern.is_empty());
            return 0;
        }
        // A text matches itself, whatever it holds, and anything that only widens that.
        let mut literal = Vec::new();
        text.iter().for_each(|&c| literal.extend([b'\\', c]));
        assert!(glob_match(&literal, text, false) && glob_match(&literal, text, true));
        let at = 2 * rng.below(text.len() + 1);
        literal.splice(at..at, *b"*");
        assert!(glob_match(&literal, text, false), "{}", show(&literal));
        if at < literal.len() - 1 {
            literal.splice(at..at + 3, *b"?");
            assert!(glob_match(&literal, text, false), "{}", show(&literal));
        }
        u64::from(hit) << 9 | u64::from(folded) << 8 | pattern.len().min(255) as u64
    });
}

fn limits() -> backplane::snapshot::Limits {
    backplane::snapshot::Limits {
        hash: HashLimits { max_listpack_entries: 16, max_listpack_value: 20 },
        set: SetLimits { max_intset_entries: 16, max_listpack_entries: 8, max_listpack_value: 20 },
        zset: ZsetLimits { max_listpack_entries: 16, max_listpack_value: 20 },
        fill: Fill(-2),
    }
}

#[test]
fn payloads() {
    // The files are bodies without version and checksum: those are put behind what was mutated.
    Fuzz::new("restore").run(|input, _| {
        let decoder = Decoder { limits: limits(), key: None, find_type: &|_| None, park: false };
        let result = restore(&seal(input.to_vec()), &decoder);
        if result.is_ok() {
            // Who loads a file passes over values before others read them: both must find the same end.
            let (mut read, mut passed) = (Reader::of_memory(input), Reader::of_memory(input));
            let ty = read.byte().and_then(|ty| decoder.value(&mut read, ty).map(|_| ty));
            passed
                .byte()
                .and_then(|_| skip_value(&mut passed, ty?))
                .expect("a value can be passed over");
            assert_eq!(passed.position(), read.position());
        }
        match result {
            Ok(_) => 1 << 20 | u64::from(input[0]) << 8 | (input.len() as u64 / 16),
            Err(e) => {
                let cause = format!("{e:?}");
                let end = cause.find("at:").map_or(0, |at| at + 6);
                cause.bytes().skip(end).fold(7, |h, b| h * 31 % 65_521 + u64::from(b))
            }
        }
    });
}

/// Whole files: a server loads them from `path` by `load`, in the place of what it has.
fn load_files(target: &str, mut server: Server, path: &str, load: &[&str]) {
    /// Far more than a file of this size can need.
    const MOST_MEMORY: u64 = 256 << 20;
    let mut fuzz = Fuzz::new(target);
    let path = server.dir.join(path);
    let mut c = server.client();
    while let Some(input) = fuzz.next() {
        std::fs::write(&path, &input).unwrap();
        let look = AssertUnwindSafe(|| {
            let reply = c.cmd(load);
            (reply, c.cmd(&["DEBUG", "DIGEST"]).text().len(), c.cmd(&["DBSIZE"]).int() as u64)
        });
        match catch_unwind(look) {
            Ok((Reply::Status(_), _, keys)) => fuzz.outcome(&input, (1 << 20) | (keys << 8)),
            Ok((Reply::Error(_), _, keys)) => {
                fuzz.outcome(&input, (keys << 8) | (input.len() as u64 / 64))
            }
            other => {
                eprintln!("input {}: {}\n{other:?}\n{}", fuzz.runs, show(&input), server.log());
                panic!("no reply to a file");
            }
        }
        if fuzz.runs % 64 == 0 {
            let info = c.cmd(&["INFO", "memory"]);
            let peak = info.text().lines().find_map(|l| l.strip_prefix("used_memory_peak:"));
            let peak: u64 = peak.expect("INFO has it").parse().unwrap();
            assert!(peak < MOST_MEMORY, "{peak} bytes after input {}: {}", fuzz.runs, show(&input));
        }
    }
    server.assert_alive();
    eprintln!("{} inputs, {} in the pool", fuzz.runs, fuzz.pool.len());
}

#[test]
fn snapshot_files() {
    let server = Server::start(&["--server-threads", "2", "--rdbchecksum", "no"]);
    load_files("rdb", server, "dump.rdb", &["DEBUG", "RELOAD", "NOSAVE"]);
}

#[test]
fn append_only_files() {
    let args = ["--server-threads", "2", "--appendonly", "yes", "--rdbchecksum", "no"];
    // A file of this size cannot need much memory, but by the length of a string.
    let limits = ["--proto-max-bulk-len", "1mb", "--aof-load-truncated", "no"];
    let server = Server::start(&[&args[..], &limits].concat());
    let base = "appendonlydir/appendonly.aof.1.base.rdb";
    assert!(server.dir.join(base).exists());
    load_files("aof", server, base, &["DEBUG", "LOADAOF"]);
}

/// A connection that sends many requests before it reads.
struct Pipeline {
    client: Client,
    bytes: Vec<u8>,
    waiting: usize,
}

impl Pipeline {
    fn add(&mut self, args: &[&[u8]]) {
        self.bytes.extend(format!("*{}\r\n", args.len()).bytes());
        for a in args {
            self.bytes.extend(format!("${}\r\n", a.len()).bytes());
            self.bytes.extend_from_slice(a);
            self.bytes.extend(b"\r\n");
        }
        self.waiting += 1;
    }

    fn replies(&mut self) -> Vec<Reply> {
        self.client.raw(&std::mem::take(&mut self.bytes));
        (0..std::mem::take(&mut self.waiting)).map(|_| self.client.read()).collect()
    }
}

/// Sends input after input to a server, a few at a time. `requests` adds those for one input, `judge` looks at the first
/// reply of each. An input that ends the server is among those printed.
fn against_a_server(
    target: &str,
    requests: impl Fn(&mut Pipeline, &[u8], &mut Rng),
    judge: impl Fn(&[u8], &Reply) -> u64,
) {
    const BATCH: usize = 16;
    let mut fuzz = Fuzz::new(target);
    let mut server = Server::start(&[]);
    let mut pipe = Pipeline { client: server.client(), bytes: Vec::new(), waiting: 0 };
    loop {
        let batch: Vec<Vec<u8>> = (0..BATCH).map_while(|_| fuzz.next()).collect();
        let mut first = Vec::new();
        for input in &batch {
            first.push(pipe.waiting);
            let mut rng = Rng(fuzz.rng.next() | 1);
            requests(&mut pipe, input, &mut rng);
        }
        match catch_unwind(AssertUnwindSafe(|| pipe.replies())) {
            Ok(replies) => {
                for (input, at) in batch.iter().zip(first) {
                    fuzz.outcome(input, judge(input, &replies[at]));
                }
            }
            Err(cause) => {
                batch.iter().for_each(|i| eprintln!("one of: {}", show(i)));
                eprintln!("{}", server.log());
                std::panic::resume_unwind(cause);
            }
        }
        if batch.len() < BATCH {
            break;
        }
    }
    server.assert_alive();
    eprintln!("{} inputs, {} in the pool", fuzz.runs, fuzz.pool.len());
}

/// What may be done with a value of any type: those that do not fit answer an error.
const USES: &[&str] = &[
    "TYPE k",
    "OBJECT ENCODING k",
    "MEMORY USAGE k",
    "DEBUG DIGEST-VALUE k",
    "COPY k c REPLACE",
    "DUMP c",
    "STRLEN k",
    "GETRANGE k 0 -1",
    "SETRANGE k 3 abc",
    "BITCOUNT k",
    "PFCOUNT k",
    "PFADD k a b",
    "LLEN k",
    "LRANGE k 0 -1",
    "LINSERT k BEFORE a b",
    "LPOS k a",
    "LREM k 1 a",
    "LPUSH k x",
    "RPOP k 2",
    "LTRIM k 1 -2",
    "LSET k 0 v",
    "SCARD k",
    "SMEMBERS k",
    "SISMEMBER k a",
    "SADD k 17 z",
    "SRANDMEMBER k 3",
    "SPOP k",
    "SSCAN k 0",
    "SREM k a 1",
    "ZCARD k",
    "ZRANGE k 0 -1 WITHSCORES",
    "ZRANK k a",
    "ZADD k 3 zz",
    "ZINCRBY k 2 a",
    "ZRANGEBYSCORE k -inf +inf",
    "ZRANGEBYLEX k - +",
    "ZPOPMIN k",
    "ZSCAN k 0",
    "ZREM k a",
    "ZREMRANGEBYRANK k 0 0",
    "HLEN k",
    "HGETALL k",
    "HSET k f v",
    "HINCRBY k n 1",
    "HRANDFIELD k 3 WITHVALUES",
    "HSCAN k 0",
    "HPEXPIRE k 100000 FIELDS 1 f",
    "HTTL k FIELDS 1 f",
    "HDEL k a",
    "XLEN k",
    "XRANGE k - +",
    "XREVRANGE k + - COUNT 3",
    "XINFO STREAM k FULL",
    "XADD k * a b",
    "XREADGROUP GROUP g1 alice COUNT 2 STREAMS k >",
    "XPENDING k g1",
    "XAUTOCLAIM k g1 bob 0 0",
    "XTRIM k MAXLEN 2",
    "XDEL k 1-1",
    "XGROUP DESTROY k g1",
    "XSETID k 9999999999999-0",
    "SORT k ALPHA",
    "DEL k c",
];

#[test]
fn payloads_in_use() {
    against_a_server(
        "restore",
        |pipe, input, rng| {
            pipe.add(&[b"RESTORE", b"k", b"0", &seal(input.to_vec()), b"REPLACE"]);
            let from = rng.below(USES.len());
            for i in 0..12 {
                // Looking at all of it first, then a run of changes that begins somewhere.
                let line = if i < 5 { USES[i] } else { USES[(from + i) % USES.len()] };
                let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
                pipe.add(&words);
            }
        },
        |input, reply| match reply {
            Reply::Status(_) => 1 << 20 | u64::from(input[0]) << 8 | (input.len() as u64 / 16),
            _ => 0,
        },
    );
}

/// Feeds its argument to everything that takes bytes apart, and puts together again what came out.
const UNPACKERS: &str = r#"
local arg, n = ARGV[1], tonumber(ARGV[2])
local outcome = 0
local function try(bit_, f, ...)
    local results = {pcall(f, ...)}
    if results[1] then outcome = outcome + bit_ end
    return unpack(results, 1, 8)
end
local ok, value = try(1, cmsgpack.unpack, arg)
if ok then try(2, cmsgpack.pack, value) end
try(4, cmsgpack.unpack_one, arg, n)
try(8, cmsgpack.unpack_limit, arg, 3, n)
local ok, value = try(16, cjson.decode, arg)
if ok then
    local ok, text = try(32, cjson.encode, value)
    if ok and not pcall(cjson.decode, text) then error('encoded what cannot be decoded: ' .. text) end
end
local cut = math.min(#arg, 12)
local fmt, data = string.sub(arg, 1, cut), string.sub(arg, cut + 1)
try(64, struct.unpack, fmt, data, n)
try(128, struct.size, fmt)
try(256, struct.pack, fmt, n, arg, 3, 'x', -1, 2^53, 1/3, data)
local a, b = string.byte(arg, 1) or 0, (string.byte(arg, 2) or 0) * n
try(512, bit.lshift, a, b)
try(512, bit.rol, b, a)
try(512, bit.tohex, a * b, n)
try(512, bit.band, a, b, n)
pcall(string.format, '%' .. string.gsub(fmt, '%%', ''), n)
pcall(redis.call, 'SET', fmt, data)
pcall(loadstring, arg)
return outcome
"#;

#[test]
fn script_arguments() {
    against_a_server(
        "script",
        |pipe, input, rng| {
            let number = *rng.pick(&["0", "1", "-1", "2", "1000000", "4294967296", "0.5", "-9e99"]);
            pipe.add(&[b"EVAL", UNPACKERS.as_bytes(), b"0", input, number.as_bytes()]);
            let head = [b"#!lua name=fuzz", &input[..input.len().min(40)]].concat();
            pipe.add(&[b"FUNCTION", b"LOAD", b"REPLACE", &head]);
            pipe.add(&[b"FUNCTION", b"RESTORE", input, b"FLUSH"]);
        },
        |_, reply| match reply {
            Reply::Int(outcome) => *outcome as u64,
            other => panic!("{other:?}"),
        },
    );
}
