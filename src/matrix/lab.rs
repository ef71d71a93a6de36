//! Where one check runs: servers of its own with the module in question, a record of what was sent, and the ways to
//! compare.
use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::subject::Subject;
use super::workload::{Workload, NATIVE_FILL, NATIVE_READS};
use super::Setup;
use crate::client::process::{fresh_dir, Server};
use crate::client::resp::{compact, Reply};
use crate::client::words::split;
use crate::client::Wire;

/// Limit for one reply. Long, because a build without optimisation on a busy machine is meant to pass as well.
pub const WAIT: Duration = Duration::from_secs(60);
/// How long a server may take to come to an answer (an index that is filled in the background, keys that expire).
const SETTLE: Duration = Duration::from_secs(20);
/// How long what runs in the background beside a load may take.
const LONG: Duration = Duration::from_secs(300);
/// How often it is asked meanwhile.
const PAUSE: Duration = Duration::from_millis(20);

/// Why a check ends without having proved its point.
#[derive(Clone, Debug)]
pub enum Stop {
    /// It works, but not as on the reference.
    Differs(String),
    /// It does not work.
    Fails(String),
    /// What could be proved without a reference is proved; the rest needs one.
    NoReference(String),
    /// The check says nothing about this module.
    NotApplicable(String),
}

impl From<String> for Stop {
    fn from(text: String) -> Stop {
        Stop::Fails(text)
    }
}

/// Ok with a sentence, or why not.
pub type Verdict = Result<String, Stop>;

/// Lines kept of the beginning and of the end of a record.
const KEPT: (usize, usize) = (40, 20);

/// What was sent and answered, in order; of a long record its ends.
#[derive(Default)]
pub struct Record {
    first: Vec<String>,
    last: std::collections::VecDeque<String>,
    dropped: usize,
    aloud: bool,
}

impl Record {
    fn add(&mut self, line: String) {
        if self.aloud {
            eprintln!("    {line}");
        }
        if self.first.len() < KEPT.0 {
            self.first.push(line);
            return;
        }
        self.last.push_back(line);
        if self.last.len() > KEPT.1 {
            self.last.pop_front();
            self.dropped += 1;
        }
    }

    /// The lines.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = self.first.clone();
        if self.dropped > 0 {
            lines.push(format!("... {} lines", self.dropped));
        }
        lines.extend(self.last.iter().cloned());
        lines
    }
}

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Side {
    /// The one under test.
    Ours,
    /// The one that sets the standard.
    Reference,
}

impl Side {
    fn name(self) -> &'static str {
        match self {
            Side::Ours => "this server",
            Side::Reference => "the reference",
        }
    }
}

/// The place of one check of one module.
pub struct Lab<'a> {
    /// What the user asked for.
    pub setup: &'a Setup,
    /// All modules of the matrix.
    pub subjects: &'a [Subject],
    /// The one in question.
    pub index: usize,
    record: Rc<RefCell<Record>>,
}

impl<'a> Lab<'a> {
    /// A place without servers yet.
    pub fn new(setup: &'a Setup, subjects: &'a [Subject], index: usize) -> Lab<'a> {
        let record = Record { aloud: setup.verbose, ..Record::default() };
        Lab { setup, subjects, index, record: Rc::new(RefCell::new(record)) }
    }

    /// The module in question.
    pub fn subject(&self) -> &'a Subject {
        &self.subjects[self.index]
    }

    /// What is done with it, if it is known.
    pub fn workload(&self) -> Option<&'static Workload> {
        self.subject().workload
    }

    /// Makes a note in the record.
    pub fn note(&self, line: impl Into<String>) {
        self.record.borrow_mut().add(line.into());
    }

    /// The record so far.
    pub fn lines(&self) -> Vec<String> {
        self.record.borrow().lines()
    }

    /// Starts a server with the module.
    pub fn start(&self, side: Side, args: &[&str]) -> Result<Host, Stop> {
        self.start_in(side, fresh_dir()?, &[self.subject()], args)
    }

    /// Starts both with the module: the reference, then ours.
    pub fn pair(&self, args: &[&str]) -> Result<[Host; 2], Stop> {
        Ok([self.start(Side::Reference, args)?, self.start(Side::Ours, args)?])
    }

    /// Starts a server in a folder that may hold data, with these modules in this order.
    pub fn start_in(
        &self,
        side: Side,
        dir: PathBuf,
        modules: &[&Subject],
        args: &[&str],
    ) -> Result<Host, Stop> {
        let command = match (side, &self.setup.reference_server) {
            (Side::Ours, _) => self.setup.server.clone(),
            (Side::Reference, Some(path)) => vec![path.display().to_string()],
            (Side::Reference, None) => {
                return Err(Stop::NoReference("There is no reference to compare with.".into()));
            }
        };
        let fixed =
            ["--save", "", "--enable-debug-command", "yes", "--enable-module-command", "yes"];
        let mut all: Vec<String> = fixed.iter().chain(args).map(|s| s.to_string()).collect();
        for module in modules {
            all.push("--loadmodule".into());
            all.extend(module.words());
        }
        let shown: Vec<String> = all.iter().map(|a| shell(a)).collect();
        self.note(format!("start {}: {} {}", side.name(), command.join(" "), shown.join(" ")));
        let server = Server::start_in(dir, &command, &all, 0).map_err(|why| match side {
            Side::Ours => Stop::Fails(format!("The server does not start. {}", last_words(&why))),
            Side::Reference => {
                Stop::NoReference(format!("The reference does not start. {}", last_words(&why)))
            }
        })?;
        let wire = Wire::open(server.addr).map_err(|e| e.to_string())?;
        Ok(Host { side, server, wire, record: self.record.clone() })
    }
}

/// The telling lines of a log, without their times: its last warnings, or else its last lines.
fn last_words(text: &str) -> String {
    let lines: Vec<&str> = text.lines().filter(|l| !l.trim().is_empty()).collect();
    let warnings: Vec<&str> = lines.iter().filter_map(|l| Some(l.split_once(" # ")?.1)).collect();
    let tell = if warnings.is_empty() { &lines } else { &warnings };
    tell[tell.len().saturating_sub(3)..].join(" / ")
}

/// A word as a shell wants it.
pub fn shell(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:,%@".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_string();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// A running server and a connection to it.
pub struct Host {
    /// Which it is.
    pub side: Side,
    /// Its process.
    pub server: Server,
    wire: Wire,
    record: Rc<RefCell<Record>>,
}

impl Host {
    /// Sends a line and reads its reply.
    pub fn ask(&mut self, line: &str) -> Reply {
        match split(line) {
            Ok(words) => self.words(&words),
            Err(why) => Reply::Line(b'-', format!("UNREADABLE {why}").into_bytes()),
        }
    }

    /// Sends words and reads the reply.
    pub fn words<A: AsRef<[u8]>>(&mut self, words: &[A]) -> Reply {
        self.words_within(words, WAIT)
    }

    /// As [`Host::words`], with a limit of its own.
    pub fn words_within<A: AsRef<[u8]>>(&mut self, words: &[A], wait: Duration) -> Reply {
        let reply = self.wire.ask(words, wait);
        let text: Vec<String> = words.iter().map(|w| shown(w.as_ref())).collect();
        let who = if self.side == Side::Ours { "" } else { "reference " };
        self.note(format!("{who}> {}", cut(&text.join(" "), 300)));
        self.note(format!("{who}{}", cut(&compact(&reply), 300)));
        reply
    }

    /// Sends a line that must succeed.
    pub fn must(&mut self, line: &str) -> Result<Reply, Stop> {
        let reply = self.ask(line);
        match &reply {
            Reply::Line(b'-', _) | Reply::Blob(b'!', _) | Reply::Closed | Reply::Timeout => {
                Err(Stop::Fails(format!(
                    "{}: {} replies {}{}",
                    cut(line, 120),
                    self.side.name(),
                    compact(&reply),
                    self.last_words()
                )))
            }
            _ => Ok(reply),
        }
    }

    /// Sends lines that must succeed.
    pub fn all(&mut self, lines: &[&str]) -> Result<(), Stop> {
        lines.iter().try_for_each(|line| self.must(line).map(drop))
    }

    /// Native values and those of the module.
    pub fn fill(&mut self, workload: Option<&Workload>) -> Result<(), Stop> {
        self.all(NATIVE_FILL)?;
        self.all(workload.map_or(&[], |w| w.fill))
    }

    /// Another connection.
    pub fn wire(&self) -> Result<Wire, Stop> {
        Wire::open(self.server.addr)
            .map_err(|e| Stop::Fails(format!("{} does not accept: {e}", self.side.name())))
    }

    /// Connects again, after the server was started again.
    pub fn reconnect(&mut self) -> Result<(), Stop> {
        self.wire = self.wire()?;
        Ok(())
    }

    /// Ends it with `SIGKILL` and starts it again.
    pub fn kill_and_revive(&mut self) -> Result<(), Stop> {
        self.note(format!("kill -9 {}, and start it again", self.side.name()));
        self.server.kill();
        self.server.revive().map_err(|why| {
            Stop::Fails(format!("{} does not start again. {}", self.side.name(), last_words(&why)))
        })?;
        self.reconnect()
    }

    /// Whether it still runs, a moment after it closed a connection: it writes a report before it is gone.
    pub fn survives(&mut self) -> bool {
        let limit = Instant::now() + SETTLE;
        while self.server.alive() {
            let pong = self.wire().is_ok_and(|mut wire| {
                compact(&wire.ask(&["PING"], Duration::from_secs(1))) == "PONG"
            });
            if pong {
                return true;
            }
            if Instant::now() > limit {
                return false;
            }
            std::thread::sleep(PAUSE);
        }
        false
    }

    /// What a server that is gone had to say; nothing while it lives.
    pub fn last_words(&mut self) -> String {
        if self.server.alive() {
            return String::new();
        }
        format!(". It is gone: {}", last_words(&self.server.log_tail(400)))
    }

    /// A field of `INFO`.
    pub fn info(&mut self, section: &str, field: &str) -> String {
        let reply = self.words(&["INFO", section]);
        let text = String::from_utf8_lossy(reply.text().unwrap_or_default()).into_owned();
        let value = text.lines().find_map(|l| l.strip_prefix(field)?.strip_prefix(':'));
        value.unwrap_or_default().to_string()
    }

    /// Asks until the answer is the wanted one.
    pub fn until(&mut self, section: &str, field: &str, want: &str) -> Result<(), Stop> {
        let limit = Instant::now() + LONG;
        loop {
            let value = self.info(section, field);
            if value == want {
                return Ok(());
            }
            if Instant::now() > limit || !self.server.alive() {
                let gone = self.last_words();
                return Err(Stop::Fails(format!("{field} stays at {value}{gone}")));
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// Puts the file or folder of that name into a new folder, for another server.
    pub fn hand_over(&self, name: &str) -> Result<PathBuf, Stop> {
        let dir = fresh_dir()?;
        copy(&self.server.dir().join(name), &dir.join(name)).map_err(|e| format!("{name}: {e}"))?;
        self.note(format!("copy {name} of {} to another folder", self.side.name()));
        Ok(dir)
    }

    fn note(&self, line: String) {
        self.record.borrow_mut().add(line);
    }

    /// All that can be seen of the data: the reads of the workload, and of each key its type and digest.
    pub fn picture(&mut self, workload: Option<&Workload>) -> Result<Picture, Stop> {
        let mut picture = Vec::new();
        let own = workload.map_or(&[][..], |w| w.reads);
        for line in NATIVE_READS.iter().chain(own) {
            picture.push((line.to_string(), self.ask(line)));
        }
        let keys = sorted(self.must("KEYS *")?);
        if let Reply::Many(_, names) = &keys {
            for name in names {
                let name = String::from_utf8_lossy(name.text().unwrap_or_default()).into_owned();
                for line in [format!("TYPE {name}"), format!("DEBUG DIGEST-VALUE {name}")] {
                    let reply = self.must(&line)?;
                    picture.push((line, reply));
                }
            }
        }
        picture.push(("KEYS *".into(), keys));
        picture.push(("DEBUG DIGEST".into(), self.must("DEBUG DIGEST")?));
        Ok(picture)
    }

    /// Whether this server shows the picture, at once or after a while.
    pub fn shows(&mut self, picture: &Picture, when: &str) -> Result<(), Stop> {
        for (line, want) in picture {
            let limit = Instant::now() + SETTLE;
            loop {
                let reply = self.ask(line);
                let reply = if line == "KEYS *" { sorted(reply) } else { reply };
                if reply == *want {
                    break;
                }
                if Instant::now() > limit || !self.server.alive() {
                    let gone = self.last_words();
                    return Err(Stop::Fails(format!(
                        "{when}, {}: {} replies {} instead of {}{gone}",
                        cut(line, 120),
                        self.side.name(),
                        cut(&compact(&reply), 300),
                        cut(&compact(want), 300)
                    )));
                }
                std::thread::sleep(PAUSE);
            }
        }
        Ok(())
    }
}

/// Lines and what they were answered with.
pub type Picture = Vec<(String, Reply)>;

/// A list without its order.
pub fn sorted(reply: Reply) -> Reply {
    match reply {
        Reply::Many(kind, mut items) => {
            items.sort_by_key(compact);
            Reply::Many(kind, items)
        }
        other => other,
    }
}

/// Whether both replied the same.
pub fn same(line: &str, reference: &Reply, ours: &Reply) -> Result<(), Stop> {
    if reference == ours && !matches!(ours, Reply::Closed | Reply::Timeout) {
        return Ok(());
    }
    let text = format!(
        "{}: this server replies {}, the reference {}",
        cut(line, 120),
        cut(&compact(ours), 300),
        cut(&compact(reference), 300)
    );
    let works = |r: &Reply| !matches!(r, Reply::Line(b'-', _) | Reply::Closed | Reply::Timeout);
    Err(match works(reference) && !works(ours) {
        true => Stop::Fails(text),
        false => Stop::Differs(text),
    })
}

/// Sends a line to both and wants the same reply.
pub fn agree(hosts: &mut [Host; 2], line: &str) -> Result<Reply, Stop> {
    let [reference, ours] = hosts.each_mut().map(|host| host.ask(line));
    same(line, &reference, &ours).map_err(|stop| match stop {
        Stop::Fails(text) => Stop::Fails(text + &hosts[1].last_words()),
        other => other,
    })?;
    Ok(ours)
}

/// As [`agree`], but what works in the background is given time.
pub fn settle(hosts: &mut [Host; 2], line: &str) -> Result<Reply, Stop> {
    let limit = Instant::now() + SETTLE;
    loop {
        match agree(hosts, line) {
            Err(_) if Instant::now() < limit && hosts[1].server.alive() => {
                std::thread::sleep(PAUSE);
            }
            other => return other,
        }
    }
}

/// All reads agree.
pub fn settle_all(hosts: &mut [Host; 2], workload: Option<&Workload>) -> Result<(), Stop> {
    let own = workload.map_or(&[][..], |w| w.reads);
    NATIVE_READS.iter().chain(own).try_for_each(|line| settle(hosts, line).map(drop))
}

/// A text of at most so many characters.
pub fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((at, _)) => format!("{}...", &text[..at]),
        None => text.to_string(),
    }
}

fn shown(word: &[u8]) -> String {
    let plain = |b: &u8| b.is_ascii_graphic() && !b"\"'\\".contains(b);
    match !word.is_empty() && word.iter().all(plain) {
        true => String::from_utf8_lossy(word).into_owned(),
        false => crate::client::resp::quoted(word),
    }
}

/// Copies a file, or a folder with its files.
fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    if !from.is_dir() {
        return std::fs::copy(from, to).map(drop);
    }
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        copy(&entry.path(), &to.join(entry.file_name()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_instead_of_a_value_is_worse_than_another_value() {
        let (one, two) = (Reply::Line(b':', b"1".to_vec()), Reply::Line(b':', b"2".to_vec()));
        let error = Reply::Line(b'-', b"ERR no".to_vec());
        assert!(same("GET", &one, &one).is_ok());
        assert!(matches!(same("GET", &one, &two), Err(Stop::Differs(_))));
        assert!(matches!(same("GET", &one, &error), Err(Stop::Fails(_))));
        assert!(matches!(same("GET", &error, &one), Err(Stop::Differs(_))));
        assert!(matches!(same("GET", &Reply::Closed, &Reply::Closed), Err(Stop::Differs(_))));
    }

    #[test]
    fn a_long_record_keeps_its_ends() {
        let mut record = Record::default();
        (0..100).for_each(|i| record.add(format!("line {i}")));
        let lines = record.lines();
        assert_eq!(lines.len(), KEPT.0 + 1 + KEPT.1);
        assert_eq!((lines[0].as_str(), lines[60].as_str()), ("line 0", "line 99"));
        assert_eq!(lines[40], "... 40 lines");
    }

    #[test]
    fn a_log_is_cut_to_what_tells() {
        let log =
            "12:M 1 Jan 2026 10:00:00.000 * Loaded\n12:M 1 Jan 2026 10:00:00.001 # It broke.\n";
        assert_eq!(last_words(log), "It broke.");
        assert_eq!(last_words("one\n\ntwo\n"), "one / two");
    }

    #[test]
    fn words_for_a_shell() {
        assert_eq!(shell("/a/b.so"), "/a/b.so");
        assert_eq!(shell(""), "''");
        assert_eq!(shell("it's"), "'it'\\''s'");
    }
}
