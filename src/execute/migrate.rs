//! `MIGRATE`: hands keys over to another server.
//!
//! It runs on the module thread with its keys held until the other side has answered, so that nobody changes a key between
//! its copy there and its deletion here. Connections are kept for the next time.
use super::error::{err, SYNTAX};
use super::{int, is, text, CommandError, CommandResult, Tx};
use crate::dispatch::table::{flags, key, Begin, Find, KeySpec, PathRule, Row};
use crate::keyspace::event::{self, class};
use crate::observe::clock::now_ms;
use crate::reply::Reply;
use parking_lot::Mutex;
use std::borrow::Cow;
use std::collections::HashMap;
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

/// Connections that are kept at most.
const MOST_KEPT: usize = 64;
/// A connection that was not used for this long is closed, milliseconds.
const KEPT_FOR: i64 = 10_000;
/// Milliseconds to wait when the command says none.
const DEFAULT_TIMEOUT: i64 = 1000;

/// A connection to another server.
struct Peer {
    stream: BufReader<TcpStream>,
    /// The database that is selected there.
    db: Option<i64>,
    used: i64,
}

static KEPT: Mutex<Option<HashMap<String, Peer>>> = Mutex::new(None);

/// Number of connections that are kept (`migrate_cached_sockets`).
pub fn kept() -> usize {
    KEPT.lock().as_ref().map_or(0, HashMap::len)
}

/// Closes connections that were not used for long (the cron).
pub fn close_unused(now: i64) {
    if let Some(kept) = KEPT.lock().as_mut() {
        kept.retain(|_, peer| now - peer.used <= KEPT_FOR);
    }
}

/// The command's arguments.
struct Request<'a> {
    host: &'a [u8],
    port: &'a [u8],
    db: i64,
    timeout: Duration,
    copy: bool,
    replace: bool,
    /// User, if any, and password.
    login: Option<(Option<&'a [u8]>, &'a [u8])>,
    keys: &'a [&'a [u8]],
}

impl<'a> Request<'a> {
    fn parse(args: &'a [&'a [u8]]) -> Result<Request<'a>, CommandError> {
        let (mut copy, mut replace, mut login, mut keys) = (false, false, None, &args[3..4]);
        let mut i = 6;
        while i < args.len() {
            let more = args.len() - i - 1;
            if is(args[i], "copy") {
                copy = true;
            } else if is(args[i], "replace") {
                replace = true;
            } else if is(args[i], "auth") {
                if more < 1 {
                    return Err(SYNTAX);
                }
                login = Some((None, args[i + 1]));
                i += 1;
            } else if is(args[i], "auth2") {
                if more < 2 {
                    return Err(SYNTAX);
                }
                login = Some((Some(args[i + 1]), args[i + 2]));
                i += 2;
            } else if is(args[i], "keys") {
                if !args[3].is_empty() {
                    return Err(err(
                        "ERR When using MIGRATE KEYS option, the key argument must be set to the empty string",
                    ));
                }
                keys = &args[i + 1..];
                break;
            } else {
                return Err(SYNTAX);
            }
            i += 1;
        }
        let timeout = int(args[5])?;
        let db = int(args[4])?;
        let ms = if timeout <= 0 { DEFAULT_TIMEOUT } else { timeout };
        let timeout = Duration::from_millis(ms as u64);
        Ok(Request { host: args[1], port: args[2], db, timeout, copy, replace, login, keys })
    }

    /// What the connection is kept under.
    fn name(&self) -> String {
        format!("{}:{}", text(self.host), text(self.port))
    }
}

/// Why a try failed.
enum Failure {
    /// The connection broke; another one may do better.
    Broken(&'static str),
    /// The time is over.
    Late(&'static str),
}

impl Failure {
    fn of(e: &std::io::Error, doing: &'static str) -> Failure {
        match e.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => Failure::Late(doing),
            _ => Failure::Broken(doing),
        }
    }
}

/// What cannot be done where there is no address, or nobody answers in time.
const CONNECTING: &str = "connecting to the client";
/// What Redis fails at where a connection is refused.
const WRITING: &str = "writing to target instance";

/// Connects in time.
fn connect(r: &Request<'_>) -> Result<Peer, &'static str> {
    let word = |arg| std::str::from_utf8(arg).ok();
    let port = word(r.port).and_then(|port| port.parse::<u16>().ok()).ok_or(CONNECTING)?;
    let host = word(r.host).ok_or(CONNECTING)?;
    let end = Instant::now() + r.timeout;
    let mut failed = CONNECTING;
    for address in (host, port).to_socket_addrs().map_err(|_| CONNECTING)? {
        let left = end.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        match TcpStream::connect_timeout(&address, left) {
            Ok(stream) => {
                stream.set_nodelay(true).map_err(|_| CONNECTING)?;
                return Ok(Peer { stream: BufReader::new(stream), db: None, used: now_ms() });
            }
            Err(e) if e.kind() == ErrorKind::TimedOut => failed = CONNECTING,
            Err(_) => failed = WRITING,
        }
    }
    Err(failed)
}

impl Peer {
    fn send(&mut self, bytes: &[u8], timeout: Duration) -> Result<(), Failure> {
        let s = self.stream.get_mut();
        let sent = s.set_write_timeout(Some(timeout)).and_then(|()| s.write_all(bytes));
        sent.map_err(|e| Failure::of(&e, WRITING))
    }

    /// One line; every reply that is expected here is one.
    fn line(&mut self, timeout: Duration) -> Result<Vec<u8>, Failure> {
        const DOING: &str = "reading from target instance";
        let mut line = Vec::new();
        let set = self.stream.get_mut().set_read_timeout(Some(timeout));
        let read = set.and_then(|()| self.stream.read_until(b'\n', &mut line));
        match read {
            Err(e) => Err(Failure::of(&e, DOING)),
            Ok(_) if !line.ends_with(b"\r\n") => Err(Failure::Broken(DOING)),
            Ok(_) => {
                line.truncate(line.len() - 2);
                Ok(line)
            }
        }
    }
}

/// A key on its way.
struct Payload<'a> {
    key: &'a [u8],
    expire: Option<i64>,
    bytes: Vec<u8>,
}

/// The requests for one try, and how many replies come before those of the keys: of the login, of the selection.
fn requests(
    r: &Request<'_>,
    peer: &Peer,
    keys: &[Payload<'_>],
    cluster: bool,
) -> (Vec<u8>, [bool; 2]) {
    let mut out = Reply::default();
    if let Some((user, password)) = r.login {
        out.array(2 + usize::from(user.is_some()));
        out.bulk(b"AUTH");
        user.iter().for_each(|u| out.bulk(u));
        out.bulk(password);
    }
    let select = peer.db != Some(r.db);
    if select {
        out.array(2);
        out.bulk(b"SELECT");
        out.bulk_int(r.db);
    }
    let now = now_ms();
    for k in keys {
        out.array(4 + usize::from(r.replace));
        out.bulk(if cluster { b"RESTORE-ASKING" } else { b"RESTORE" });
        out.bulk(k.key);
        // Zero would be no expiry at all.
        out.bulk_int(k.expire.map_or(0, |at| (at - now).max(1)));
        out.bulk(&k.bytes);
        if r.replace {
            out.bulk(b"REPLACE");
        }
    }
    (out.buf, [r.login.is_some(), select])
}

/// The keys that the other side took and its first error, or what failed and the keys taken before.
type HandedOver<'a> = Result<(Vec<&'a [u8]>, Option<Vec<u8>>), (Failure, Vec<&'a [u8]>)>;

/// Moves keys over a connection. Returns which were taken there, and the first error that the other side answered.
fn hand_over<'a>(
    r: &Request<'_>,
    peer: &mut Peer,
    keys: &[Payload<'a>],
    cluster: bool,
) -> HandedOver<'a> {
    let (bytes, [login, select]) = requests(r, peer, keys, cluster);
    let mut taken = Vec::new();
    peer.send(&bytes, r.timeout).map_err(|e| (e, Vec::new()))?;
    let mut before = Vec::new();
    for _ in 0..usize::from(login) + usize::from(select) {
        before.push(peer.line(r.timeout).map_err(|e| (e, Vec::new()))?);
    }
    let mut refused =
        before.iter().find(|line| line.starts_with(b"-")).map(|line| line[1..].to_vec());
    // A refused login or selection may leave a database selected that nobody asked for.
    peer.db = refused.is_none().then_some(r.db);
    let usable = refused.is_none();
    for k in keys {
        let line = match peer.line(r.timeout) {
            Ok(line) => line,
            Err(e) => return Err((e, taken)),
        };
        if line.starts_with(b"-") || !usable {
            refused.get_or_insert_with(|| line[line.len().min(1)..].to_vec());
        } else {
            taken.push(k.key);
        }
    }
    Ok((taken, refused))
}

/// Deletes keys that are on the other side now.
fn delete(tx: &mut Tx<'_>, keys: &[&[u8]]) {
    let mut effect: Vec<&[u8]> = vec![b"DEL"];
    for key in keys {
        if tx.remove(key) {
            tx.modified(key);
            tx.notify(&event::DEL, key);
            tx.dirty += 1;
            effect.push(key);
        }
    }
    if effect.len() > 1 {
        tx.propagate_as(&effect);
    } else {
        tx.propagate_nothing();
    }
}

/// `MIGRATE host port key|"" db timeout [COPY] [REPLACE] [AUTH password|AUTH2 user password] [KEYS key ...]`
fn migrate(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let r = Request::parse(args)?;
    let (db, compress) = (tx.db(), tx.server.config.rdbcompression());
    let mut keys = Vec::new();
    for &key in r.keys {
        let Some(e) = tx.look(key) else { continue };
        let expire = e.expire();
        let bytes = crate::snapshot::dump(e.value(), (key, db), compress)
            .ok_or(err("ERR the module of this key could not save its value"))?;
        keys.push(Payload { key, expire, bytes });
    }
    if keys.is_empty() {
        out.simple("NOKEY");
        return Ok(());
    }
    let cluster = tx.server.config.cluster_enabled();
    let name = r.name();
    let mut retried = false;
    loop {
        let found = KEPT.lock().get_or_insert_default().remove(&name);
        let was_kept = found.is_some();
        let mut peer = match found.map_or_else(|| connect(&r), Ok) {
            Ok(peer) => peer,
            Err(doing) => return Err(err(format!("IOERR error or timeout {doing}"))),
        };
        match hand_over(&r, &mut peer, &keys, cluster) {
            Ok((taken, refused)) => {
                if !r.copy {
                    delete(tx, &taken);
                }
                peer.used = now_ms();
                let mut kept = KEPT.lock();
                let kept = kept.get_or_insert_default();
                if kept.len() < MOST_KEPT {
                    kept.insert(name, peer);
                }
                if let Some(why) = refused {
                    let why = text(&why).into_owned();
                    return Err(err(format!("ERR Target instance replied with error: {why}")));
                }
                out.ok();
                return Ok(());
            }
            Err((failure, taken)) => {
                // What arrived is there, whatever became of the rest.
                if !r.copy && !taken.is_empty() {
                    delete(tx, &taken);
                    keys.retain(|k| !taken.contains(&k.key));
                }
                let doing = match failure {
                    // A connection that was kept may have been closed by the other side meanwhile.
                    Failure::Broken(_) if was_kept && !retried && taken.is_empty() => {
                        retried = true;
                        continue;
                    }
                    Failure::Broken(doing) | Failure::Late(doing) => doing,
                };
                return Err(err(format!("IOERR error or timeout {doing}")));
            }
        }
    }
}

const KEY: u64 = key::RW | key::ACCESS | key::DELETE;

/// The family's commands.
pub static ROWS: &[Row] = &[Row {
    path: PathRule::ServerWide,
    keys: &[
        KeySpec { flags: KEY, begin: Begin::Index(3), find: Find::Range(0, 1, 0), notes: None },
        KeySpec {
            flags: KEY | key::INCOMPLETE,
            begin: Begin::Keyword(Cow::Borrowed("KEYS"), -2),
            find: Find::Range(-1, 1, 0),
            notes: None,
        },
    ],
    events: class::GENERIC,
    acl: &["keyspace", "dangerous"],
    group: "generic",
    since: "2.6.0",
    summary: "Hands keys over to another server.",
    ..Row::new("migrate", -6, flags::WRITE, migrate)
}];

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<(bool, bool, bool, String), String> {
        let words: Vec<&[u8]> = line
            .split(' ')
            .map(|w| if w == "''" { b"".as_slice() } else { w.as_bytes() })
            .collect();
        let r = Request::parse(&words).map_err(|e| e.0.into_owned())?;
        let keys: Vec<_> = r.keys.iter().map(|k| text(k).into_owned()).collect();
        Ok((r.copy, r.replace, r.login.is_some(), keys.join(" ")))
    }

    #[test]
    fn options() {
        assert_eq!(parse("migrate h 1 k 0 5"), Ok((false, false, false, "k".into())));
        assert_eq!(
            parse("migrate h 1 '' 0 5 replace COPY AUTH2 u p KEYS a b"),
            Ok((true, true, true, "a b".into()))
        );
        assert!(parse("migrate h 1 k 0 5 KEYS a").is_err_and(|e| e.contains("empty string")));
        assert!(parse("migrate h 1 k 0 5 AUTH").is_err_and(|e| e.contains("syntax")));
        assert!(parse("migrate h 1 k x 5").is_err_and(|e| e.contains("not an integer")));
    }
}
