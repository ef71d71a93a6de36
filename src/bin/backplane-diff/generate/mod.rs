//! `backplane-diff --generate N`: random but meaningful commands, the same for both servers.
//!
//! A run is a chain of sequences. Each has its own seed, begins on empty servers and ends in a census of the whole
//! keyspace. Replies are compared command by command, keyspace events and the count of changes batch by batch. What
//! fails is replayed with ever fewer commands, and printed as a script.
mod census;
pub mod concurrent;
mod pair;
mod random;
mod rows;
mod rows_collections;
mod rows_keys;
mod rows_server;
mod rows_strings;
mod scripts;
mod shrink;
mod template;
mod words;

use crate::compare::Rule;
use pair::{Cmd, Difference, Group, Kind, Pair, Scene, DIRECTIVES};
use rows::{Row, FAMILIES};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use words::Words;

/// Commands of a sequence.
const SEQUENCE: usize = 1500;
/// Groups that are sent at a time.
const BATCH: usize = 60;

/// What is asked for.
pub struct Request {
    /// Commands to compare.
    pub commands: usize,
    /// Seed of the first sequence; the next ones count on.
    pub seed: u64,
    /// The protocol; both in turn where it is not said.
    pub resp: Option<u8>,
    /// Names of families; all where none is said.
    pub families: Vec<String>,
    /// Different failures after which the run ends.
    pub failures: usize,
    /// Commands that start the servers.
    pub servers: [Vec<String>; 2],
    /// Arguments for both.
    pub args: Vec<String>,
    /// Port of the first, or 0.
    pub port: u16,
    /// Limit for one reply.
    pub wait: Duration,
}

/// Makes the commands.
struct Maker {
    words: Words,
    families: Vec<Vec<Row>>,
}

impl Maker {
    /// One or several commands of one row.
    fn plain(&mut self) -> Group {
        let random = &mut self.words.random;
        let rows = random.pick(&self.families);
        let total: usize = rows.iter().map(|row| row.weight).sum();
        let mut at = random.below(total);
        let row = rows.iter().find(|row| match at.checked_sub(row.weight) {
            Some(rest) => {
                at = rest;
                false
            }
            None => true,
        });
        let Some(row) = row else { return Vec::new() };
        self.words.same = None;
        let mut group = Vec::new();
        for (nodes, rules) in row.commands.iter().zip(&row.rules) {
            let mut args = Vec::new();
            template::expand(&mut self.words, nodes, &mut args, &mut |words, name, out| {
                words.fill(name, out);
            });
            group.push(Cmd::with(&args, rules.clone()));
        }
        let name = group[0].name();
        if self.words.past && (name == "DBSIZE" || name == "INFO") {
            // An expired key counts until it is deleted, which a read here leaves to the expiry cycle.
            group[0].rules = vec![Rule::Kind];
        }
        if group.len() == 1 && may_be_spoilt(&group[0]) && self.words.random.chance(5) {
            self.spoil(&mut group[0]);
        }
        group
    }

    /// Makes a command a little wrong.
    fn spoil(&mut self, cmd: &mut Cmd) {
        let mut odd = self.words.odd();
        if odd == b"*" && cmd.name() == "XADD" {
            // It would make an id of the clock.
            odd = b"-".to_vec();
        }
        let random = &mut self.words.random;
        let args = &mut cmd.args;
        let at = match args.len() {
            0 | 1 => 0,
            n => 1 + random.below(n - 1),
        };
        match random.below(8) {
            0 if args.len() > 1 => {
                args.pop();
            }
            1 if at > 0 => {
                args.remove(at);
            }
            2 if at > 0 => args.insert(at, args[at].clone()),
            3 => args.push(odd),
            4 => args.insert(at.max(1).min(args.len()), odd),
            5 => args.iter_mut().take(1).for_each(|arg| arg.make_ascii_lowercase()),
            6 => {
                let lower = |arg: &mut Vec<u8>| {
                    if arg.iter().all(u8::is_ascii_uppercase) {
                        arg.make_ascii_lowercase();
                    }
                };
                args.iter_mut().for_each(lower);
            }
            _ if at > 0 => args[at] = odd,
            _ => {}
        }
    }

    /// The commands of one unit: plain, in a transaction, or through a script.
    fn group(&mut self) -> Group {
        match self.words.random.below(100) {
            0..=2 => self.transaction(),
            3..=5 => self.scripted(),
            6 => self.asked_about(),
            _ => self.plain(),
        }
    }

    fn transaction(&mut self) -> Group {
        let mut group = Vec::new();
        if self.words.random.chance(30) {
            let mut args = vec![b"WATCH".to_vec()];
            self.words.fill("key", &mut args);
            group.push(Cmd::with(&args, Vec::new()));
            if self.words.random.chance(50) {
                group.extend(self.plain());
            }
        }
        group.push(Cmd::new(&["MULTI"]));
        let mut rules = Vec::new();
        for _ in 0..self.words.random.range(1, 4) {
            let part = self.plain();
            // The messages that answer a subscription come between the replies of a transaction.
            if part.iter().any(|cmd| cmd.name().ends_with("SUBSCRIBE")) {
                continue;
            }
            for cmd in part {
                // They stay with the command too: the transaction may end before its `EXEC`.
                let mut cmd = cmd;
                match cmd.name().as_str() {
                    // Refused, but no reason to give the transaction up: `EXEC` has no reply of them.
                    "WATCH" | "MULTI" => {}
                    "EXEC" => cmd.exec = std::mem::take(&mut rules),
                    _ => rules.push(cmd.rules.clone()),
                }
                group.push(cmd);
            }
        }
        match self.words.random.chance(85) {
            true => {
                group.push(Cmd { args: vec![b"EXEC".to_vec()], rules: Vec::new(), exec: rules })
            }
            false => group.push(Cmd::new(&["DISCARD"])),
        }
        group
    }

    fn scripted(&mut self) -> Group {
        let mut group = self.plain();
        let call = *self.words.random.pick(&["call", "call", "pcall"]);
        for cmd in &mut group {
            let source = format!("return redis.{call}(unpack(ARGV))");
            let head: [&[u8]; 3] = [b"EVAL", source.as_bytes(), b"0"];
            let head = head.iter().map(|arg| arg.to_vec());
            cmd.args = head.chain(std::mem::take(&mut cmd.args)).collect();
        }
        group
    }

    /// What the server says of commands without running them.
    fn asked_about(&mut self) -> Group {
        let mut group = self.plain();
        let heads: &[&[&str]] = &[
            &["COMMAND", "GETKEYS"],
            &["COMMAND", "GETKEYSANDFLAGS"],
            &["ACL", "DRYRUN", "default"],
        ];
        let head = *self.words.random.pick(heads);
        for cmd in &mut group {
            let args = std::mem::take(&mut cmd.args);
            let head = head.iter().map(|word| word.as_bytes().to_vec());
            cmd.args = head.chain(args).collect();
            cmd.rules.clear();
        }
        group
    }

    /// What a sequence begins with: thresholds that small values cross.
    fn settings(&mut self) -> Vec<Group> {
        let mut groups = Vec::new();
        // Not more integers than words: a stored union would depend on the order of a table, random on the reference.
        let sets = [("128", "512"), ("128", "512"), ("4", "8"), ("8", "8"), ("2", "20")];
        let (words, integers) = *self.words.random.pick(&sets);
        let names = ["set-max-listpack-entries", "set-max-intset-entries"];
        groups.push(vec![Cmd::new(&["CONFIG", "SET", names[0], words, names[1], integers])]);
        let single = |name: &str| name.contains("-max-l") && !names.contains(&name);
        for (name, default) in DIRECTIVES.iter().filter(|(name, _)| single(name)) {
            if self.words.random.chance(40) {
                let small = ["2", "5", "8", "16", "20", default];
                let value = *self.words.random.pick(&small);
                groups.push(vec![Cmd::new(&["CONFIG", "SET", name, value])]);
            }
        }
        groups
    }
}

/// Whether a command may be made wrong: not where that could make it wait, tell of the whole server, or be swallowed.
fn may_be_spoilt(cmd: &Cmd) -> bool {
    let second = cmd.args.get(1).map(|word| word.to_ascii_uppercase()).unwrap_or_default();
    match cmd.name().as_str() {
        // The reference puts a client's line breaks into some errors of FUNCTION as they are.
        name if name.ends_with("SUBSCRIBE") => false,
        // With a word less they tell about everything, or become a replica.
        "COMMAND" => second.starts_with(b"GETKEYS"),
        "LATENCY" => second != b"HISTOGRAM",
        "INFO" | "MIGRATE" | "REPLICAOF" | "SLAVEOF" | "FAILOVER" | "SAVE" => false,
        "AUTH" | "SPOP" | "WAIT" | "FUNCTION" | "SCAN" | "SSCAN" | "HSCAN" | "ZSCAN" => false,
        "CONFIG" => second != b"GET",
        "CLIENT" => second != b"KILL" && second != b"LIST" && second != b"REPLY",
        "XREAD" | "XREADGROUP" => !cmd.args.iter().any(|arg| arg.eq_ignore_ascii_case(b"BLOCK")),
        _ => true,
    }
}

/// Command lines of all families, some of them wrong.
pub fn maker_of_lines(seed: u64, count: usize) -> Vec<Vec<Vec<u8>>> {
    let families = FAMILIES.iter().map(|family| rows::read(family.rows)).collect();
    let mut maker = Maker { words: Words::new(seed, ""), families };
    let mut lines = Vec::new();
    while lines.len() < count {
        lines.extend(maker.plain().into_iter().map(|cmd| cmd.args));
    }
    lines
}

/// What a run came to.
struct Outcome {
    commands: usize,
    failures: BTreeMap<String, usize>,
    reference_died: usize,
    stalls: usize,
}

/// Runs; true where nothing differed.
pub fn run(request: &Request) -> Result<bool, String> {
    for name in &request.families {
        if !FAMILIES.iter().any(|family| family.name == name) {
            let known: Vec<_> = FAMILIES.iter().map(|family| family.name).collect();
            return Err(format!("no family {name}; there are {}", known.join(" ")));
        }
    }
    let mut pair =
        Pair::new(request.servers.clone(), request.args.clone(), request.port, request.wait);
    let mut outcome =
        Outcome { commands: 0, failures: BTreeMap::new(), reference_died: 0, stalls: 0 };
    let begin = Instant::now();
    let mut sequence = 0;
    let mut told = 0;
    while outcome.commands < request.commands && outcome.failures.len() < request.failures {
        sequence_of(request, &mut pair, request.seed + sequence, &mut outcome)?;
        sequence += 1;
        if outcome.commands / 100_000 > told {
            told = outcome.commands / 100_000;
            println!(
                "{} commands, {} sequences, {} different failures, {:.0} s",
                outcome.commands,
                sequence,
                outcome.failures.len(),
                begin.elapsed().as_secs_f64()
            );
        }
    }
    let failed: usize = outcome.failures.values().sum();
    println!(
        "generated: seeds {} to {}, {} commands, {} sequences failed, {} ended early because the reference died, {:.0} s",
        request.seed,
        request.seed + sequence - 1,
        outcome.commands,
        failed,
        outcome.reference_died,
        begin.elapsed().as_secs_f64()
    );
    if outcome.stalls > 0 {
        println!("{} sequences ended in a stall that did not come again", outcome.stalls);
    }
    Ok(failed == 0)
}

fn sequence_of(
    request: &Request,
    pair: &mut Pair,
    seed: u64,
    outcome: &mut Outcome,
) -> Result<(), String> {
    let chosen =
        |name: &str| request.families.is_empty() || request.families.iter().any(|f| f == name);
    let families = FAMILIES.iter().filter(|family| chosen(family.name));
    let families = families.map(|family| rows::read(family.rows)).collect();
    let mut maker = Maker { words: Words::new(seed, ""), families };
    let resp = request.resp.unwrap_or(2 + (seed % 2) as u8);
    maker.words.past = maker.words.random.chance(25);
    let past = maker.words.past;
    let scene = Scene { resp, events: !past && maker.words.random.chance(60), past };
    if let Err(why) = pair.prepare(scene) {
        // The reference sometimes dies of what it did last.
        println!("seed {seed}: new servers, since {why}");
        pair.forget();
        pair.prepare(scene)?;
    }
    let mut groups = maker.settings();
    let mut result = pair.run(&groups, 0);
    let mut commands = 0;
    while result.is_ok() && commands < SEQUENCE {
        let batch: Vec<Group> = (0..BATCH).map(|_| maker.group()).collect();
        let done = groups.len();
        commands += batch.iter().map(Vec::len).sum::<usize>();
        groups.extend(batch);
        let end = groups.len();
        result = pair.run(&groups[done..], done);
        if result.is_ok() && scene.events {
            result = pair.compare_events(&groups[done..], end);
        }
        if result.is_ok() && !scene.past {
            result = pair.compare_changes(end);
        }
    }
    if result.is_ok() {
        result = census::compare(pair, scene, groups.len(), maker.words.random.chance(50));
    }
    outcome.commands += commands;
    if let Err(found) = result {
        if found.replies[0] == backplane::client::resp::Reply::Closed && pair.reference_died() {
            outcome.reference_died += 1;
            println!(
                "seed {seed}: the reference died ({}); not compared further",
                found.cmd.name()
            );
            println!("{}", pair.last_words());
            pair.forget();
            return Ok(());
        }
        report(pair, scene, &groups, &found, seed, outcome);
    }
    Ok(())
}

fn report(
    pair: &mut Pair,
    scene: Scene,
    groups: &[Group],
    found: &Difference,
    seed: u64,
    outcome: &mut Outcome,
) {
    let sort = found.sort();
    let known = outcome.failures.entry(sort).or_insert(0);
    *known += 1;
    if *known > 1 {
        return;
    }
    let words = pair.last_words();
    println!("--- seed {seed}: {}: {}", found.cmd.name(), shorten(&found.why));
    print!("{words}");
    if !words.is_empty() || found.why.contains("no reply in time") {
        pair.forget();
    }
    let end = match found.kind {
        Kind::Reply => found.at + 1,
        _ => found.at,
    };
    match shrink::shrink(pair, scene, &groups[..end], found) {
        Some((few, found)) => {
            println!("{}", shrink::script(scene, &few, &found));
            *outcome.failures.entry(found.sort()).or_insert(0) += 1;
        }
        None if found.replies.contains(&backplane::client::resp::Reply::Timeout) => {
            // A stall of the whole machine: the same commands on new servers are answered.
            println!("# answered when sent again\n");
            outcome.stalls += 1;
            outcome.failures.remove(&found.sort());
        }
        None => println!("# it did not happen again\n# {:?}\n", found.replies),
    }
}

fn shorten(text: &str) -> String {
    text.chars().take(300).collect()
}
