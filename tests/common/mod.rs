//! What integration tests share: a server as a process, and a plain RESP client.
#![allow(dead_code)]
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// The folder of the real modules; `make test` puts them there.
pub fn real_modules() -> PathBuf {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/reference/lib");
    assert!(dir.join("rejson.so").exists(), "{} is missing: run tools/get-modules", dir.display());
    dir
}

/// The folder of our own compiled test modules.
pub fn own_modules() -> PathBuf {
    backplane_modules_test::dir().to_path_buf()
}

/// A fresh folder under the build folder.
pub fn fresh_dir(name: &str) -> PathBuf {
    static N: AtomicUsize = AtomicUsize::new(0);
    let n = N.fetch_add(1, Ordering::Relaxed);
    let dir =
        Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}-{n}", std::process::id()));
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).expect("a folder for the test");
    dir
}

/// A running server; killed when dropped.
pub struct Server {
    pub child: Child,
    pub port: u16,
    pub dir: PathBuf,
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").port()
}

impl Server {
    /// Starts a server with these arguments beside port, folder and log, and waits until it answers.
    pub fn start(args: &[&str]) -> Server {
        Server::start_in(fresh_dir("server"), args)
    }

    /// As [`Server::start`], in a folder that may hold files.
    pub fn start_in(dir: PathBuf, args: &[&str]) -> Server {
        Server::start_as(dir, args, |_| {})
    }

    /// As [`Server::start_in`], with changes to how the process is started.
    pub fn start_as(dir: PathBuf, args: &[&str], change: impl FnOnce(&mut Command)) -> Server {
        let port = free_port();
        let mut command = Server::command(&dir, port, args);
        change(&mut command);
        let child = command.spawn().expect("the server starts");
        Server { child, port, dir }.ready()
    }

    /// Waits until the server answers.
    fn ready(mut self) -> Server {
        for _ in 0..1200 {
            if let Ok(Some(status)) = self.child.try_wait() {
                panic!("the server ended with {status}:\n{}", self.log());
            }
            if let Ok(s) = TcpStream::connect(("127.0.0.1", self.port)) {
                let mut c = Client::on(s);
                // A connection to a port that nobody listens on yet may meet itself, or end.
                let pong = Some(Reply::Status("PONG".into()));
                if c.try_send(&["PING"]) && c.try_read() == pong {
                    return self;
                }
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("the server does not answer:\n{}", self.log());
    }

    /// As [`Server::start`], but the reference: what a test asserts of our server is asserted of it as well.
    pub fn reference(args: &[&str]) -> Server {
        let dir = fresh_dir("reference");
        let port = free_port();
        let mut command = Command::new(real_modules().join("../bin/redis-server"));
        Server::give(&mut command, &dir, port, args);
        let child = command.spawn().expect("the reference starts");
        Server { child, port, dir }.ready()
    }

    /// The command line of a server.
    pub fn command(dir: &Path, port: u16, args: &[&str]) -> Command {
        // `tools/sanitize` runs tests against a server that was built in another way.
        let other = std::env::var_os("SERVER_BINARY");
        let mut c = Command::new(other.unwrap_or_else(|| env!("CARGO_BIN_EXE_backplane").into()));
        Server::give(&mut c, dir, port, args);
        c
    }

    fn give(c: &mut Command, dir: &Path, port: u16, args: &[&str]) {
        c.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--logfile", "log"])
            .args(["--dir", &dir.display().to_string(), "--save", ""])
            .args(["--enable-debug-command", "yes", "--enable-module-command", "yes"])
            .args(args)
            .current_dir(dir)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
    }

    /// Runs a server that is expected to end by itself: its exit code and its log.
    pub fn run_to_end(args: &[&str]) -> (Option<i32>, String) {
        let dir = fresh_dir("server");
        let status = Server::command(&dir, free_port(), args).status().expect("the server runs");
        (status.code(), log_of(&dir))
    }

    pub fn client(&self) -> Client {
        Client::on(TcpStream::connect(("127.0.0.1", self.port)).expect("the server accepts"))
    }

    pub fn log(&self) -> String {
        log_of(&self.dir)
    }

    /// Asserts that the process is alive and answers.
    pub fn assert_alive(&mut self) {
        assert!(self.child.try_wait().unwrap().is_none(), "the server died:\n{}", self.log());
        assert_eq!(self.client().cmd(&["PING"]), Reply::Status("PONG".into()));
    }
}

fn log_of(dir: &Path) -> String {
    std::fs::read(dir.join("log"))
        .map(|b| String::from_utf8_lossy(&b).into_owned())
        .unwrap_or_default()
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A reply.
#[derive(Clone, PartialEq, Debug)]
pub enum Reply {
    Status(String),
    Error(String),
    Int(i64),
    Bulk(String),
    Nil,
    Array(Vec<Reply>),
    Other(char, String),
}

impl Reply {
    pub fn int(&self) -> i64 {
        match self {
            Reply::Int(n) => *n,
            Reply::Bulk(s) => s.parse().unwrap_or_else(|_| panic!("no number: {s}")),
            other => panic!("no number: {other:?}"),
        }
    }

    pub fn text(&self) -> &str {
        match self {
            Reply::Status(s) | Reply::Error(s) | Reply::Bulk(s) => s,
            other => panic!("no text: {other:?}"),
        }
    }

    pub fn items(&self) -> &[Reply] {
        match self {
            Reply::Array(a) => a,
            other => panic!("no array: {other:?}"),
        }
    }

    pub fn ok(&self) {
        assert_eq!(*self, Reply::Status("OK".into()));
    }
}

/// A connection.
pub struct Client {
    stream: TcpStream,
    reader: BufReader<TcpStream>,
}

impl Client {
    pub fn on(stream: TcpStream) -> Client {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
        let reader = BufReader::new(stream.try_clone().unwrap());
        Client { stream, reader }
    }

    pub fn send(&mut self, args: &[&str]) {
        self.stream.write_all(&encode(args)).expect("the server reads");
    }

    pub fn raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the server reads");
    }

    pub fn cmd(&mut self, args: &[&str]) -> Reply {
        self.send(args);
        self.read()
    }

    /// Whether a reply, or some of it, has arrived.
    pub fn has_data(&mut self) -> bool {
        self.stream.set_nonblocking(true).unwrap();
        let seen = self.stream.peek(&mut [0]);
        self.stream.set_nonblocking(false).unwrap();
        !self.reader.buffer().is_empty() || matches!(seen, Ok(n) if n > 0)
    }

    /// Reads to the end of the connection.
    pub fn rest(&mut self) -> String {
        let mut s = String::new();
        let _ = self.reader.read_to_string(&mut s);
        s
    }

    pub fn read(&mut self) -> Reply {
        self.try_read().expect("the server replies in time, and does not close the connection")
    }

    /// Sends to a server that may be gone. False when it is.
    pub fn try_send(&mut self, args: &[&str]) -> bool {
        self.stream.write_all(&encode(args)).is_ok()
    }

    /// Reads a whole reply; `None` when the connection ended before.
    pub fn try_read(&mut self) -> Option<Reply> {
        // An error shows the client's own bytes, which need not be text.
        let mut line = Vec::new();
        self.reader.read_until(b'\n', &mut line).ok()?;
        let line = String::from_utf8_lossy(line.strip_suffix(b"\r\n")?);
        let (kind, rest) = (line.chars().next()?, &line[1..]);
        Some(match kind {
            '+' => Reply::Status(rest.into()),
            '-' => Reply::Error(rest.into()),
            ':' => Reply::Int(rest.parse().unwrap()),
            '_' => Reply::Nil,
            '$' | '=' => match rest.parse::<i64>().unwrap() {
                -1 => Reply::Nil,
                n => {
                    let mut b = vec![0; n as usize + 2];
                    self.reader.read_exact(&mut b).ok()?;
                    b.truncate(n as usize);
                    Reply::Bulk(String::from_utf8_lossy(&b).into_owned())
                }
            },
            '*' | '~' | '>' | '%' => match rest.parse::<i64>().unwrap() {
                -1 => Reply::Nil,
                n => {
                    let n = if kind == '%' { 2 * n } else { n };
                    Reply::Array((0..n).map(|_| self.try_read()).collect::<Option<_>>()?)
                }
            },
            other => Reply::Other(other, rest.into()),
        })
    }
}

/// A request in RESP.
pub fn encode(args: &[&str]) -> Vec<u8> {
    let mut b = format!("*{}\r\n", args.len()).into_bytes();
    for a in args {
        b.extend_from_slice(format!("${}\r\n{a}\r\n", a.len()).as_bytes());
    }
    b
}

/// A field of `INFO`.
pub fn info(c: &mut Client, section: &str, field: &str) -> String {
    let text = c.cmd(&["INFO", section]);
    let prefix = format!("{field}:");
    let line = text.text().lines().find(|l| l.starts_with(&prefix)).map(str::to_string);
    line.unwrap_or_else(|| panic!("no {field} in INFO {section}"))[prefix.len()..].to_string()
}

/// Asks until the answer is right; a test that waits in vain ends in a panic.
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < Duration::from_secs(60), "{what}: not within a minute");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A command line without quotes as arguments.
pub fn words(line: &str) -> Vec<&str> {
    line.split(' ').collect()
}

/// A reply as text, with arrays in brackets and spaces between their elements.
pub fn show(reply: &Reply) -> String {
    show_with(reply, " ")
}

/// As [`show`], with something else between elements.
pub fn show_with(reply: &Reply, between: &str) -> String {
    match reply {
        Reply::Int(n) => n.to_string(),
        Reply::Nil => "nil".into(),
        Reply::Array(items) => {
            let shown: Vec<String> = items.iter().map(|r| show_with(r, between)).collect();
            format!("[{}]", shown.join(between))
        }
        Reply::Status(s) | Reply::Error(s) | Reply::Bulk(s) | Reply::Other(_, s) => s.clone(),
    }
}

/// Runs a command given as one line and checks its reply, written as [`show`] writes it.
pub fn check(c: &mut Client, line: &str, expected: &str) {
    assert_eq!(show(&c.cmd(&words(line))), expected, "{line}");
}

/// As [`check`], for several.
pub fn check_all(c: &mut Client, lines: &[(&str, &str)]) {
    for (line, expected) in lines {
        check(c, line, expected);
    }
}

/// What `DEBUG DIGEST` makes of the whole data.
pub fn digest(c: &mut Client) -> String {
    c.cmd(&["DEBUG", "DIGEST"]).text().to_string()
}

/// Makes keys of all types in small and large encodings, in two databases, and a function.
pub fn fill(c: &mut Client) {
    for i in 0..300 {
        let (n, long) = (i.to_string(), format!("element {i} ").repeat(i % 20));
        c.cmd(&["SET", &format!("string:{i}"), &long]).ok();
        c.cmd(&["RPUSH", "list", &n, &long]);
        c.cmd(&["SADD", "set", &n, &format!("m{i}")]);
        c.cmd(&["SADD", "ints", &n]);
        c.cmd(&["HSET", "hash", &format!("f{i}"), &long]);
        c.cmd(&["ZADD", "zset", &format!("{i}.5"), &format!("m{}", i * 7 % 300)]);
        c.cmd(&["XADD", "stream", &format!("{}-{}", i + 1, i % 3), "field", &n, "other", &long]);
    }
    c.cmd(&["HSET", "small", "a", "1", "b", "2"]);
    c.cmd(&["HPEXPIREAT", "small", "2000000000000", "FIELDS", "1", "a"]);
    c.cmd(&["HPEXPIREAT", "hash", "2000000000000", "FIELDS", "1", "f7"]);
    c.cmd(&["XGROUP", "CREATE", "stream", "group", "0"]).ok();
    c.cmd(&["XREADGROUP", "GROUP", "group", "alice", "COUNT", "9", "STREAMS", "stream", ">"]);
    c.cmd(&["XGROUP", "CREATECONSUMER", "stream", "group", "bob"]);
    c.cmd(&["XDEL", "stream", "300-2"]);
    c.cmd(&["XADD", "empty", "5-5", "a", "b"]);
    c.cmd(&["XDEL", "empty", "5-5"]);
    c.cmd(&["SET", "volatile", "x", "PXAT", "2000000000000"]).ok();
    c.cmd(&[
        "FUNCTION",
        "LOAD",
        "#!lua name=lib\nredis.register_function('f', function() return 7 end)",
    ]);
    c.cmd(&["SELECT", "9"]).ok();
    c.cmd(&["SET", "elsewhere", "y"]).ok();
    c.cmd(&["SELECT", "0"]).ok();
}
