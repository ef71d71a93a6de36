//! Both servers side by side: what is sent goes to both, what comes back is compared.
use std::net::SocketAddr;
use std::time::Duration;

use backplane::client::process::Server;
use backplane::client::resp::{compact, encode, Reply};
use backplane::client::Wire;

use crate::compare::{compare, Rule};

/// One command and how its reply is compared.
#[derive(Clone, Debug)]
pub struct Cmd {
    /// Its words.
    pub args: Vec<Vec<u8>>,
    /// Normalisations of the reply.
    pub rules: Vec<Rule>,
    /// For `EXEC`: those of each reply in it.
    pub exec: Vec<Vec<Rule>>,
}

impl Cmd {
    /// A command whose reply is compared byte by byte.
    pub fn new<A: AsRef<[u8]>>(args: &[A]) -> Cmd {
        Cmd::with(args, Vec::new())
    }

    /// A command whose reply is compared under rules.
    pub fn with<A: AsRef<[u8]>>(args: &[A], rules: Vec<Rule>) -> Cmd {
        let args = args.iter().map(|arg| arg.as_ref().to_vec()).collect();
        Cmd { args, rules, exec: Vec::new() }
    }

    /// Its name, for what is told about it.
    pub fn name(&self) -> String {
        let text = |arg: &Vec<u8>| String::from_utf8_lossy(arg).to_ascii_uppercase();
        self.args.first().map(text).unwrap_or_default()
    }

    /// `Ok`, or how the two replies differ.
    pub fn compare(&self, a: &Reply, b: &Reply) -> Result<(), String> {
        if a == b && *a != Reply::Timeout {
            return Ok(());
        }
        let blurred;
        let rules = match (a, b) {
            // An error is an error: how other replies are compared does not matter.
            (Reply::Line(b'-', _), Reply::Line(b'-', _)) => &[][..],
            (Reply::Many(ka, xs), Reply::Many(kb, ys))
                if ka == kb && xs.len() == ys.len() && xs.len() == self.exec.len() =>
            {
                for (i, (rules, (x, y))) in self.exec.iter().zip(xs.iter().zip(ys)).enumerate() {
                    let one = Cmd { args: Vec::new(), rules: rules.clone(), exec: Vec::new() };
                    one.compare(x, y).map_err(|why| format!("in [{i}]: {why}"))?;
                }
                return Ok(());
            }
            _ => {
                blurred = self.rules.clone();
                &blurred[..]
            }
        };
        compare(rules, a, b)
    }
}

/// Commands that are kept or left out together.
pub type Group = Vec<Cmd>;

/// Where a difference showed.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// In the reply to a command.
    Reply,
    /// In the keyspace events of some commands.
    Events,
    /// In how many changes the servers counted.
    Changes,
    /// In what the keyspace looks like afterwards.
    Census,
}

/// A difference.
#[derive(Clone, Debug)]
pub struct Difference {
    /// Where it showed.
    pub kind: Kind,
    /// The group whose reply it is, or the number of groups that had been sent.
    pub at: usize,
    /// The command that shows it.
    pub cmd: Cmd,
    /// What differs.
    pub why: String,
    /// Both replies.
    pub replies: [Reply; 2],
}

impl Difference {
    /// Equal for differences of one cause, as far as one can tell.
    pub fn sort(&self) -> String {
        let mut why = String::new();
        for c in self.why.chars().take(160) {
            let c = if c.is_ascii_digit() { '#' } else { c };
            if !(c == '#' && why.ends_with('#')) {
                why.push(c);
            }
        }
        format!("{:?} {} {why}", self.kind, self.cmd.name())
    }
}

/// How the servers are prepared before a sequence.
#[derive(Clone, Copy, Debug)]
pub struct Scene {
    /// The protocol, 2 or 3.
    pub resp: u8,
    /// Keyspace events are compared too.
    pub events: bool,
    /// Expired keys may be there that nobody has deleted yet.
    pub past: bool,
}

/// Directives that commands change, with what they are put back to.
pub const DIRECTIVES: &[(&str, &str)] = &[
    ("hash-max-listpack-entries", "128"),
    ("hash-max-listpack-value", "64"),
    ("list-max-listpack-size", "-2"),
    ("list-compress-depth", "0"),
    ("set-max-intset-entries", "512"),
    ("set-max-listpack-entries", "128"),
    ("set-max-listpack-value", "64"),
    ("zset-max-listpack-entries", "128"),
    ("zset-max-listpack-value", "64"),
    ("hll-sparse-max-bytes", "3000"),
    ("stream-node-max-bytes", "4096"),
    ("stream-node-max-entries", "100"),
    // A single bit far out would make a string of half a gigabyte.
    ("proto-max-bulk-len", "1mb"),
    ("maxmemory-policy", "noeviction"),
    ("lazyfree-lazy-user-del", "no"),
    ("lazyfree-lazy-expire", "no"),
    ("lazyfree-lazy-server-del", "no"),
];

/// The connections by their use.
const WORK: usize = 0;
const ADMIN: usize = 1;
const EVENTS: usize = 2;

/// Both servers.
pub struct Pair {
    commands: [Vec<String>; 2],
    args: Vec<String>,
    port: u16,
    servers: [Option<Server>; 2],
    links: Vec<[Wire; 2]>,
    wait: Duration,
    changes: [i64; 2],
}

impl Pair {
    /// Servers that are started by these commands when they are needed.
    pub fn new(commands: [Vec<String>; 2], args: Vec<String>, port: u16, wait: Duration) -> Pair {
        let servers = [None, None];
        Pair { commands, args, port, servers, links: Vec::new(), wait, changes: [0; 2] }
    }

    /// Where they listen. Servers that died, or hang, are started again.
    pub fn addrs(&mut self) -> Result<[SocketAddr; 2], String> {
        let mut addrs = Vec::new();
        for (i, server) in self.servers.iter_mut().enumerate() {
            if !server.as_mut().is_some_and(Server::alive) {
                *server = None;
                let port = if self.port == 0 { 0 } else { self.port + i as u16 };
                *server = Some(Server::start(&self.commands[i], &self.args, port)?);
            }
            addrs.extend(server.as_ref().map(|server| server.addr));
        }
        Ok([addrs[0], addrs[1]])
    }

    /// Whether the reference died by itself: nothing can be compared then.
    pub fn reference_died(&mut self) -> bool {
        // It writes a report before it is gone.
        for _ in 0..20 {
            let [a, b] = self.servers.each_mut().map(|s| s.as_mut().is_some_and(|s| !s.alive()));
            if a || b {
                return a && !b;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        false
    }

    /// Why a side's server does not answer.
    pub fn last_words(&mut self) -> String {
        let mut text = String::new();
        for (name, server) in ["A", "B"].iter().zip(&mut self.servers) {
            let Some(server) = server else { continue };
            if !server.alive() {
                let log = server.log_tail(4000);
                let stack = log.lines().skip_while(|line| !line.contains("STACK TRACE"));
                let stack: Vec<&str> = stack.take(25).collect();
                let told = if stack.is_empty() { server.log_tail(25) } else { stack.join("\n") };
                text.push_str(&format!("server {name} died:\n{told}\n"));
            }
        }
        text
    }

    /// Ends the servers, so that the next use meets new ones.
    pub fn forget(&mut self) {
        self.links.clear();
        self.servers = [None, None];
    }

    /// Empties both servers and opens new connections.
    pub fn prepare(&mut self, scene: Scene) -> Result<(), String> {
        self.links.clear();
        let addrs = self.addrs()?;
        for _ in [WORK, ADMIN, EVENTS] {
            let open = |addr: SocketAddr| Wire::open(addr).map_err(|e| format!("{addr}: {e}"));
            self.links.push([open(addrs[0])?, open(addrs[1])?]);
        }
        let mut first: Vec<Vec<String>> = Vec::new();
        let mut say = |words: &[&str]| first.push(words.iter().map(|w| w.to_string()).collect());
        say(&["FLUSHALL"]);
        say(&["FUNCTION", "FLUSH"]);
        say(&["SCRIPT", "FLUSH"]);
        say(&["DEBUG", "SET-ACTIVE-EXPIRE", "0"]);
        let mut set = vec!["CONFIG", "SET"];
        set.extend(DIRECTIVES.iter().flat_map(|(name, value)| [*name, *value]));
        set.extend(["notify-keyspace-events", if scene.events { "KEAnm" } else { "" }]);
        say(&set);
        say(&["CONFIG", "RESETSTAT"]);
        // The count of changes begins at zero, as it does after a SAVE of the sequence's own.
        say(&["SAVE"]);
        for words in first {
            let replies = self.ask(ADMIN, &Cmd::new(&words));
            if replies.iter().any(|r| !matches!(r, Reply::Line(b'+', _))) {
                return Err(format!(
                    "{words:?}: {} {}",
                    compact(&replies[0]),
                    compact(&replies[1])
                ));
            }
        }
        if scene.resp == 3 {
            self.ask(WORK, &Cmd::new(&["HELLO", "3"]));
        }
        if scene.events {
            self.ask(EVENTS, &Cmd::new(&["PSUBSCRIBE", "__keyevent@*__:*"]));
            self.ask(EVENTS, &Cmd::new(&["SUBSCRIBE", "__end__"]));
        }
        self.changes = self.count_changes();
        Ok(())
    }

    fn ask(&mut self, link: usize, cmd: &Cmd) -> [Reply; 2] {
        let bytes = encode(&cmd.args);
        let wait = self.wait;
        let links = &mut self.links[link];
        links.iter_mut().for_each(|link| link.write(&bytes));
        links.each_mut().map(|link| link.read(wait))
    }

    /// The replies of both sides to commands on the working connection.
    pub fn replies(&mut self, cmds: &[&Cmd]) -> Vec<[Reply; 2]> {
        let mut all = Vec::with_capacity(cmds.len());
        let mut rest = cmds;
        while !rest.is_empty() {
            // Both ends would wait for each other if requests filled the buffers between them.
            let (mut bytes, mut count) = (Vec::new(), 0);
            while count < rest.len() && (count == 0 || bytes.len() < 30_000) {
                bytes.extend(encode(&rest[count].args));
                count += 1;
            }
            let wait = self.wait;
            let links = &mut self.links[WORK];
            links.iter_mut().for_each(|link| link.write(&bytes));
            let [a, b] = links.each_mut().map(|link| {
                let mut replies = Vec::with_capacity(count);
                for _ in 0..count {
                    let lost = matches!(replies.last(), Some(Reply::Timeout | Reply::Closed));
                    let reply = if lost { Reply::Closed } else { link.read(wait) };
                    replies.push(reply);
                }
                replies
            });
            all.extend(a.into_iter().zip(b).map(|(a, b)| [a, b]));
            rest = &rest[count..];
        }
        all
    }

    /// Sends groups and compares. `done` groups went before.
    pub fn run(&mut self, groups: &[Group], done: usize) -> Result<(), Box<Difference>> {
        let flat: Vec<(usize, &Cmd)> = groups
            .iter()
            .enumerate()
            .flat_map(|(i, group)| group.iter().map(move |cmd| (i, cmd)))
            .collect();
        let cmds: Vec<&Cmd> = flat.iter().map(|(_, cmd)| *cmd).collect();
        let replies = self.replies(&cmds);
        for ((i, cmd), replies) in flat.iter().zip(replies) {
            let lost = |r: &Reply| matches!(r, Reply::Closed | Reply::Timeout);
            let result = match replies.iter().any(lost) {
                true => Err(format!("{} and {}", compact(&replies[0]), compact(&replies[1]))),
                false => cmd.compare(&replies[0], &replies[1]),
            };
            if let Err(why) = result {
                let cmd = (*cmd).clone();
                let at = done + i;
                return Err(Box::new(Difference { kind: Kind::Reply, at, cmd, why, replies }));
            }
        }
        Ok(())
    }

    /// Compares the keyspace events since the last time.
    /// Their order does not count after a `SORT`: sets are sorted in the random order of their tables, and each
    /// pattern that finds nothing is an event.
    pub fn compare_events(&mut self, groups: &[Group], done: usize) -> Result<(), Box<Difference>> {
        let sorts = |arg: &Vec<u8>| arg.to_ascii_lowercase().starts_with(b"sort");
        let sorts = groups.iter().flatten().any(|cmd| cmd.args.iter().any(sorts));
        let rules: &[Rule] = if sorts { &[Rule::Unordered] } else { &[] };
        self.ask(ADMIN, &Cmd::new(&["PUBLISH", "__end__", "end"]));
        let wait = self.wait;
        let replies = self.links[EVENTS].each_mut().map(|link| {
            let mut all = Vec::new();
            loop {
                let reply = link.read(wait);
                let parts = if let Reply::Many(_, parts) = &reply { parts.as_slice() } else { &[] };
                let end = parts.iter().any(|part| part.text() == Some(b"__end__"));
                let lost = matches!(reply, Reply::Closed | Reply::Timeout);
                if end && !lost {
                    return Reply::Many(b'*', all);
                }
                // The channel and the message are enough.
                all.push(match parts {
                    [_, _, channel, key] => {
                        let text = |r: &Reply| r.text().unwrap_or_default().to_vec();
                        Reply::Blob(b'$', [text(channel), b" ".to_vec(), text(key)].concat())
                    }
                    _ => reply,
                });
                if lost {
                    return Reply::Many(b'*', all);
                }
            }
        });
        let cmd = Cmd::new(&["@events"]);
        match compare(rules, &replies[0], &replies[1]) {
            Ok(()) => Ok(()),
            Err(why) => {
                Err(Box::new(Difference { kind: Kind::Events, at: done, cmd, why, replies }))
            }
        }
    }

    fn count_changes(&mut self) -> [i64; 2] {
        let replies = self.ask(ADMIN, &Cmd::new(&["INFO", "persistence"]));
        replies.map(|reply| {
            let text = String::from_utf8_lossy(reply.text().unwrap_or_default()).into_owned();
            let line = text.lines().find_map(|l| l.strip_prefix("rdb_changes_since_last_save:"));
            line.and_then(|n| n.parse().ok()).unwrap_or(-1)
        })
    }

    /// Compares how many changes the servers counted since the last time.
    pub fn compare_changes(&mut self, done: usize) -> Result<(), Box<Difference>> {
        let now = self.count_changes();
        let before = std::mem::replace(&mut self.changes, now);
        let [a, b] = [now[0] - before[0], now[1] - before[1]];
        if a == b && now[0] >= 0 {
            return Ok(());
        }
        let cmd = Cmd::new(&["INFO", "persistence"]);
        let replies = [a, b].map(|n| Reply::Line(b':', n.to_string().into_bytes()));
        let why = format!("{a} and {b} changes");
        Err(Box::new(Difference { kind: Kind::Changes, at: done, cmd, why, replies }))
    }
}
