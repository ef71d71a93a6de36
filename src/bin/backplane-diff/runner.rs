//! Runs one script against two sides, step by step, and reports what differs.
use std::time::{Duration, Instant};

use crate::aof::{is_compared, same, Effect, Owed, Tail};
use crate::client::Side;
use crate::compare::{compare, matches_glob, Rule};
use crate::script::{Action, Script, Step};
use backplane::client::process::Server;
use backplane::client::resp::{compact, encode, pretty, quoted, Reply};

/// How often `@until` asks.
const POLL: Duration = Duration::from_millis(20);

/// What the runner prints and how long it waits.
#[derive(Clone, Debug)]
pub struct Options {
    /// Limit for one reply.
    pub wait: Duration,
    /// Print every command with its reply.
    pub verbose: bool,
    /// Lines of each reply in a report.
    pub max_lines: usize,
}

/// Commands compared and how many of them differed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// Replies compared.
    pub commands: usize,
    /// Of these, different ones.
    pub differences: usize,
}

/// The two sides and, where we started them, their servers.
pub struct Runner<'a> {
    /// Name of the script, for reports.
    pub name: &'a str,
    /// Reference and subject.
    pub sides: [Side; 2],
    /// Their processes.
    pub servers: [Option<Server>; 2],
    /// Their append-only files; none without `--aof`.
    pub tails: Vec<Tail>,
    /// Deletions of what expired that only one side has written yet.
    pub owed: Owed,
    /// Printing and waiting.
    pub options: &'a Options,
    /// The count so far.
    pub tally: Tally,
}

impl Runner<'_> {
    /// Runs all steps; a server that dies ends the script, and what was not reached counts as different.
    pub fn run(&mut self, script: &Script) {
        for (i, step) in script.steps.iter().enumerate() {
            self.step(step);
            self.compare_effects(step);
            for (side, server) in ["A", "B"].iter().zip(&mut self.servers) {
                let Some(server) = server else { continue };
                if !server.alive() {
                    let pid = server.pid();
                    println!("{}:{}: server {side} ({pid}) died:", self.name, step.line);
                    println!("{}", indent(&server.log_tail(25)));
                    let missed = script.steps.len() - i - 1;
                    self.tally.commands += missed;
                    self.tally.differences += missed.max(1);
                    return;
                }
            }
        }
    }

    /// Compares what a step left in the append-only files.
    fn compare_effects(&mut self, step: &Step) {
        let [a, b] = self.tails.as_mut_slice() else { return };
        if matches!(step.action, Action::Send(_)) {
            // Nobody has waited for it yet.
            return;
        }
        let (filled, compared) = match &step.action {
            Action::Command { args, .. } => {
                (args.iter().any(|a| a.windows(2).any(|w| w == b"${")), is_compared(args))
            }
            _ => (false, true),
        };
        let loosely = !step.rules.is_empty() || filled;
        let (a, b) = (a.take(), b.take());
        if !compared || same(&a, &b, loosely) {
            return;
        }
        let (a, b) = self.owed.settle(a, b);
        if same(&a, &b, loosely) {
            return;
        }
        self.tally.differences += 1;
        let what = match &step.action {
            Action::Command { args, .. } => words(args),
            other => format!("{other:?}"),
        };
        println!("{}:{}: {what}", self.name, step.line);
        let show = |effects: &[Effect]| {
            let all: Vec<String> = effects.iter().map(|e| words(e)).collect();
            all.join(" | ")
        };
        println!("  A writes {}\n  B writes {}", show(&a), show(&b));
    }

    /// The script is over: what expired must have been deleted on both sides.
    pub fn finish(&mut self) {
        let left = self.owed.left();
        for effect in &left {
            println!("{}: only B ever writes {}", self.name, words(effect));
        }
        self.tally.differences += left.len();
    }

    fn step(&mut self, step: &Step) {
        let conn = step.conn.as_str();
        match &step.action {
            Action::Command { args, keep } => {
                let sent = self.send(conn, args);
                let replies = self.replies(conn, &sent);
                if let Some((name, path)) = keep {
                    for (side, reply) in self.sides.iter_mut().zip(&replies) {
                        side.keep(name, reply, path);
                    }
                }
                self.check(step, &words(&sent[0]), &replies);
            }
            Action::Send(args) => {
                self.send(conn, args);
            }
            Action::Read(count, wait) => {
                let wait = wait.map_or(self.options.wait, Duration::from_millis);
                for _ in 0..*count {
                    let replies = self.read(conn, wait);
                    self.check(step, "@read", &replies);
                }
            }
            Action::ReadUntil(glob) => {
                let replies = self.read_until(conn, glob);
                self.check(step, "@read-until", &replies);
            }
            Action::Events => {
                let last = ["PUBLISH", "__keyend__:", "end"].map(|word| word.as_bytes().to_vec());
                let sent = self.send("main", &last);
                self.replies("main", &sent);
                let replies = self.read_until(conn, "*\"__keyend__:\"*");
                self.check(step, "@events", &replies);
            }
            Action::Quiet(ms) => {
                let replies = self.read(conn, Duration::from_millis(*ms));
                for (name, reply) in ["A", "B"].iter().zip(&replies) {
                    if *reply != Reply::Timeout {
                        println!("{}:{}: {name} sent {}", self.name, step.line, compact(reply));
                        self.tally.differences += 1;
                    }
                }
                self.tally.commands += 1;
            }
            Action::Raw(bytes, count) => {
                self.each(conn, |connection| connection.write(bytes));
                for _ in 0..*count {
                    let replies = self.read(conn, self.options.wait);
                    self.check(step, &format!("@raw {}", quoted(bytes)), &replies);
                }
            }
            Action::Pipeline(steps) => self.pipeline(steps),
            Action::Until(args, want, glob) => self.until(step, args, want, *glob),
            Action::Protocol(version) => {
                let args = vec![b"HELLO".to_vec(), version.to_string().into_bytes()];
                let sent = self.send(conn, &args);
                let replies = self.replies(conn, &sent);
                for side in &mut self.sides {
                    side.set_protocol(conn, *version);
                }
                let only_kind = Step { rules: vec![Rule::Kind], ..step.clone() };
                self.check(&only_kind, &words(&args), &replies);
            }
            Action::Close => self.sides.iter_mut().for_each(|side| side.close(conn)),
            Action::Sleep(ms) => std::thread::sleep(Duration::from_millis(*ms)),
            Action::Restart => self.restart(step),
        }
    }

    fn each(&mut self, conn: &str, mut act: impl FnMut(&mut crate::client::Conn)) {
        for side in &mut self.sides {
            if let Some(connection) = side.conn(conn) {
                act(connection);
            }
        }
    }

    /// Sends to both before anything is read, so that both meet the same moment.
    fn send(&mut self, conn: &str, args: &[Vec<u8>]) -> [Vec<Vec<u8>>; 2] {
        let [a, b] = &self.sides;
        let sent = [a.fill(args, b), b.fill(args, a)];
        for (side, args) in self.sides.iter_mut().zip(&sent) {
            if let Some(connection) = side.conn(conn) {
                connection.write(&encode(args));
            }
        }
        sent
    }

    fn replies(&mut self, conn: &str, sent: &[Vec<Vec<u8>>; 2]) -> [Reply; 2] {
        let wait = self.options.wait;
        let mut args = sent.iter();
        let replies = self.sides.each_mut().map(|side| match (side.conn(conn), args.next()) {
            (Some(connection), Some(args)) => connection.reply_to(args, wait),
            _ => Reply::Closed,
        });
        self.drop_broken(conn, &replies);
        replies
    }

    fn read(&mut self, conn: &str, wait: Duration) -> [Reply; 2] {
        let replies = self.sides.each_mut().map(|side| match side.conn(conn) {
            Some(connection) => connection.read(wait),
            None => Reply::Closed,
        });
        if replies.contains(&Reply::Closed) {
            self.drop_broken(conn, &replies);
        }
        replies
    }

    fn read_until(&mut self, conn: &str, glob: &str) -> [Reply; 2] {
        let wait = self.options.wait;
        self.sides.each_mut().map(|side| {
            let mut all = Vec::new();
            loop {
                let reply = side.conn(conn).map_or(Reply::Closed, |conn| conn.read(wait));
                let last = matches_glob(glob.as_bytes(), compact(&reply).as_bytes());
                let broken = matches!(reply, Reply::Closed | Reply::Timeout);
                all.push(reply);
                if last || broken {
                    return Reply::Many(b'*', all);
                }
            }
        })
    }

    /// After a missing reply both sides get a fresh connection, so that later replies match their commands.
    fn drop_broken(&mut self, conn: &str, replies: &[Reply; 2]) {
        if replies.iter().any(|reply| matches!(reply, Reply::Closed | Reply::Timeout)) {
            self.sides.iter_mut().for_each(|side| side.close(conn));
        }
    }

    fn pipeline(&mut self, steps: &[Step]) {
        let mut sent = Vec::new();
        let mut bytes = [Vec::new(), Vec::new()];
        for step in steps {
            let Action::Command { args, .. } = &step.action else { continue };
            let [a, b] = &self.sides;
            let filled = [a.fill(args, b), b.fill(args, a)];
            for (out, args) in bytes.iter_mut().zip(&filled) {
                out.extend(encode(args));
            }
            sent.push((step, filled));
        }
        let Some(conn) = steps.first().map(|step| step.conn.clone()) else { return };
        let mut out = bytes.iter();
        self.each(&conn, |connection| {
            if let Some(bytes) = out.next() {
                connection.write(bytes);
            }
        });
        for (step, filled) in sent {
            let replies = self.replies(&conn, &filled);
            self.check(step, &words(&filled[0]), &replies);
        }
    }

    fn until(&mut self, step: &Step, args: &[Vec<u8>], want: &str, glob: bool) {
        let limit = Instant::now() + self.options.wait;
        let mut last = [Reply::Timeout, Reply::Timeout];
        let fits = |reply: &Reply| {
            let text = compact(reply);
            if glob {
                matches_glob(want.as_bytes(), text.as_bytes())
            } else {
                text == want
            }
        };
        while !last.iter().all(fits) && Instant::now() < limit {
            if last[0] != Reply::Timeout {
                std::thread::sleep(POLL);
            }
            let sent = self.send(&step.conn, args);
            last = self.replies(&step.conn, &sent);
        }
        self.tally.commands += 1;
        if !last.iter().all(fits) {
            self.tally.differences += 1;
            println!("{}:{}: @until {} did not become {want}", self.name, step.line, words(args));
            self.print_both(&last);
        }
    }

    fn restart(&mut self, step: &Step) {
        for (name, (side, server)) in
            ["A", "B"].iter().zip(self.sides.iter_mut().zip(&mut self.servers))
        {
            side.close_all();
            let result = match server {
                Some(server) => server.restart(),
                None => Err("a server that was not started here cannot be restarted".into()),
            };
            if let Err(why) = result {
                println!("{}:{}: @restart of {name}: {why}", self.name, step.line);
                self.tally.differences += 1;
            }
        }
        self.tally.commands += 1;
    }

    fn check(&mut self, step: &Step, what: &str, replies: &[Reply; 2]) {
        self.tally.commands += 1;
        let number = self.tally.commands;
        if self.options.verbose {
            println!("{}:{}: {what}", self.name, step.line);
            println!("{}", indent(&pretty(&replies[0]).join("\n")));
        }
        if let Err(why) = compare(&step.rules, &replies[0], &replies[1]) {
            self.tally.differences += 1;
            println!("{}:{}: command {number}: {what}", self.name, step.line);
            println!("  differs {why}");
            self.print_both(replies);
        }
    }

    fn print_both(&self, replies: &[Reply; 2]) {
        if self.options.max_lines == 0 {
            return;
        }
        for (name, reply) in ["A", "B"].iter().zip(replies) {
            let mut lines = pretty(reply);
            let left_out = lines.len().saturating_sub(self.options.max_lines);
            lines.truncate(self.options.max_lines);
            for (i, line) in lines.iter().enumerate() {
                println!("  {} {line}", if i == 0 { name } else { " " });
            }
            if left_out > 0 {
                println!("    ({left_out} lines more)");
            }
        }
    }
}

/// A command as one would type it, cut where it is long.
fn words(args: &[Vec<u8>]) -> String {
    let plain = |arg: &Vec<u8>| {
        !arg.is_empty() && arg.iter().all(|b| b.is_ascii_graphic() && !b"\"'\\".contains(b))
    };
    let words: Vec<String> = args
        .iter()
        .map(|arg| if plain(arg) { String::from_utf8_lossy(arg).into() } else { quoted(arg) })
        .collect();
    let text = words.join(" ");
    match text.char_indices().nth(300) {
        Some((cut, _)) => format!("{}...", &text[..cut]),
        None => text,
    }
}

fn indent(text: &str) -> String {
    text.lines().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n")
}
