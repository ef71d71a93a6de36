//! `--concurrent N`: several connections at once.
//!
//! On keys of their own, their replies must be those of the reference, whatever the others do in between. On keys that
//! they share no reply can be foretold, but what is atomic must look so: sums stay, nothing is lost or seen twice.
use super::census;
use super::pair::{Cmd, Group, Pair, Scene};
use super::rows::{self, FAMILIES};
use super::words::Words;
use super::{Maker, Request};
use backplane::client::resp::{compact, encode, Reply};
use backplane::client::Wire;
use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::Duration;

/// Connections.
const CONNECTIONS: usize = 4;
/// Groups of commands that each of them sends at a time.
const BATCH: usize = 30;
/// Rounds until the keyspace is compared.
const ROUNDS: usize = 10;
/// Families without commands on the whole keyspace.
const ALONE: &[&str] =
    &["strings", "bitmaps", "lists", "sets", "hashes", "zsets", "geo", "hll", "streams"];

/// Runs both parts; true where nothing differed.
pub fn run(request: &Request) -> Result<bool, String> {
    let mut pair =
        Pair::new(request.servers.clone(), request.args.clone(), request.port, request.wait);
    let (mut commands, mut seed, mut failed) = (0, request.seed, 0);
    while commands < request.commands {
        match sequence(&mut pair, seed, request.resp.unwrap_or(2 + (seed % 2) as u8)) {
            Ok(count) => commands += count,
            Err(why) => {
                println!("--- seed {seed}: {why}");
                failed += 1;
                pair.forget();
                if failed >= request.failures {
                    break;
                }
            }
        }
        seed += 1;
    }
    println!(
        "concurrent: seeds {} to {}, {CONNECTIONS} connections, {commands} commands, {failed} sequences failed",
        request.seed,
        seed - 1
    );
    let scene = Scene { resp: 2, events: false, past: false };
    let mut broken = 0;
    for round in 0..3 {
        pair.prepare(scene)?;
        for (name, addr) in ["A", "B"].iter().zip(pair.addrs()?) {
            if let Err(why) = shared(addr, round) {
                println!("--- shared keys on {name}: {why}");
                broken += 1;
            }
        }
    }
    println!("shared keys: {} rounds on each server, {broken} broken", 3);
    Ok(failed + broken == 0)
}

/// One sequence on keys of their own. Returns how many commands there were.
fn sequence(pair: &mut Pair, seed: u64, resp: u8) -> Result<usize, String> {
    let scene = Scene { resp, events: false, past: false };
    pair.prepare(scene)?;
    let addrs = pair.addrs()?;
    let mut all = Vec::new();
    for i in 0..CONNECTIONS {
        let families = FAMILIES.iter().filter(|family| ALONE.contains(&family.name));
        let families = families.map(|family| rows::read(family.rows)).collect();
        let words = Words::new(seed * 100 + i as u64, &format!(":c{i}"));
        let open = |addr: SocketAddr| Wire::open(addr).map_err(|e| format!("{addr}: {e}"));
        let mut links = [open(addrs[0])?, open(addrs[1])?];
        if resp == 3 {
            let hello = encode(&["HELLO", "3"]);
            links.iter_mut().for_each(|link| link.write(&hello));
            links.iter_mut().for_each(|link| drop(link.read(Duration::from_secs(10))));
        }
        all.push((Maker { words, families }, links));
    }
    let mut count = 0;
    for _ in 0..ROUNDS {
        // All requests are on their way before the first reply is read.
        let mut batches: Vec<Vec<Cmd>> = Vec::new();
        for (maker, links) in &mut all {
            let groups: Vec<Group> = (0..BATCH).map(|_| maker.group()).collect();
            let batch: Vec<Cmd> = groups.into_iter().flatten().collect();
            let bytes: Vec<u8> = batch.iter().flat_map(|cmd| encode(&cmd.args)).collect();
            links.iter_mut().for_each(|link| link.write(&bytes));
            batches.push(batch);
        }
        for (i, ((_, links), batch)) in all.iter_mut().zip(&batches).enumerate() {
            for cmd in batch {
                count += 1;
                let replies = links.each_mut().map(|link| link.read(Duration::from_secs(20)));
                cmd.compare(&replies[0], &replies[1]).map_err(|why| {
                    let words: Vec<_> =
                        cmd.args.iter().map(|arg| String::from_utf8_lossy(arg)).collect();
                    format!("connection {i}: {}: {why}", words.join(" "))
                })?;
            }
        }
    }
    census::compare(pair, scene, count, false)
        .map_err(|found| format!("census: {}: {}", found.cmd.name(), found.why))?;
    Ok(count)
}

/// A client that waits for each reply.
struct Client(Wire);

impl Client {
    fn open(addr: SocketAddr) -> Result<Client, String> {
        Wire::open(addr).map(Client).map_err(|e| format!("{addr}: {e}"))
    }

    fn ask(&mut self, line: &str) -> Reply {
        let args: Vec<&str> = line.split_whitespace().collect();
        self.0.write(&encode(&args));
        self.0.read(Duration::from_secs(20))
    }

    /// The replies of a transaction; `None` where a watched key had changed.
    fn transaction(&mut self, lines: &[&str]) -> Option<Vec<Reply>> {
        self.ask("MULTI");
        lines.iter().for_each(|line| drop(self.ask(line)));
        match self.ask("EXEC") {
            Reply::Many(_, replies) => Some(replies),
            _ => None,
        }
    }
}

fn number(reply: &Reply) -> i64 {
    let text = reply.text().and_then(|text| std::str::from_utf8(text).ok());
    text.and_then(|text| text.parse().ok()).unwrap_or(0)
}

fn sum(replies: &[Reply]) -> i64 {
    replies.iter().map(number).sum()
}

/// Iterations of each worker on shared keys.
const TURNS: usize = 150;
/// What the two accounts hold together.
const TOTAL: i64 = 1000;
/// Elements of the two lists, and of the two sets, together.
const ELEMENTS: i64 = 20;

/// What one worker counted.
#[derive(Default)]
struct Counted {
    added: i64,
    swapped: i64,
    taken: Vec<String>,
}

fn check(holds: bool, what: &str, reply: &[Reply]) -> Result<(), String> {
    let shown = || reply.iter().map(compact).collect::<Vec<_>>().join(" ");
    holds.then_some(()).ok_or_else(|| format!("{what}: {}", shown()))
}

fn worker(addr: SocketAddr, id: usize, round: u64) -> Result<Counted, String> {
    let mut client = Client::open(addr)?;
    let mut random = super::random::Random::new(round * 100 + id as u64);
    let mut counted = Counted::default();
    for turn in 0..TURNS {
        // Several keys set at once are read as one.
        let mark = format!("{id}.{turn}");
        client.ask(&format!("MSET m1 {mark} m2 {mark} m3 {mark}"));
        let read = client.ask("MGET m1 m2 m3");
        let Reply::Many(_, texts) = &read else { return Err(compact(&read)) };
        check(texts.iter().all(|text| text == &texts[0]), "MSET torn", texts)?;
        // Money moves in a transaction, or in a script, and is never seen under way.
        let by = random.range(1, 9);
        if random.chance(50) {
            client.transaction(&[&format!("DECRBY acc1 {by}"), &format!("INCRBY acc2 {by}")]);
        } else {
            let args = ["EVAL", MOVE, "2", "acc1", "acc2", &by.to_string()];
            client.0.write(&encode(&args));
            client.0.read(Duration::from_secs(20));
        }
        let read = client.ask("MGET acc1 acc2");
        let Reply::Many(_, parts) = &read else { return Err(compact(&read)) };
        check(sum(parts) == TOTAL, "sum of accounts", parts)?;
        // Elements change places and stay as many.
        for (moves, sizes) in [
            (["LMOVE l1 l2 LEFT RIGHT", "LMOVE l2 l1 RIGHT LEFT"], ["LLEN l1", "LLEN l2"]),
            (["SMOVE s1 s2", "SMOVE s2 s1"], ["SCARD s1", "SCARD s2"]),
        ] {
            let which = random.below(2);
            let member = random.range(0, ELEMENTS - 1);
            let tail = if sizes[0].starts_with('S') { format!(" {member}") } else { String::new() };
            client.ask(&format!("{}{tail}", moves[which]));
            let read = client.transaction(&sizes).unwrap_or_default();
            check(sum(&read) == ELEMENTS, "elements of two keys", &read)?;
        }
        client.ask(["RENAME r1 r2", "RENAME r2 r1"][random.below(2)]);
        let read = client.transaction(&["EXISTS r1", "EXISTS r2"]).unwrap_or_default();
        check(sum(&read) == 1, "a key with two names", &read)?;
        // Counted once, whoever adds.
        client.ask(&format!("INCRBY sum {by}"));
        client.ask(&format!("HINCRBY hash sum {by}"));
        client.ask(&format!("ZINCRBY zset {by} sum"));
        counted.added += by;
        client.ask("WATCH swap");
        let next = number(&client.ask("GET swap")) + 1;
        if client.transaction(&[&format!("SET swap {next}")]).is_some() {
            counted.swapped += 1;
        }
        // What one takes nobody else gets.
        client.ask(&format!("RPUSH queue {mark}"));
        if let Reply::Blob(_, text) = client.ask("LPOP queue") {
            counted.taken.push(String::from_utf8_lossy(&text).into_owned());
        }
    }
    Ok(counted)
}

/// Moves `ARGV[1]` from the first key to the second.
const MOVE: &str =
    "redis.call('DECRBY', KEYS[1], ARGV[1]) return redis.call('INCRBY', KEYS[2], ARGV[1])";

fn shared(addr: SocketAddr, round: u64) -> Result<(), String> {
    let mut client = Client::open(addr)?;
    client.ask(&format!("MSET acc1 {TOTAL} acc2 0 r1 x swap 0"));
    for i in 0..ELEMENTS {
        client.ask(&format!("RPUSH l1 {i}"));
        client.ask(&format!("SADD s1 {i}"));
    }
    let workers: Vec<_> =
        (0..CONNECTIONS).map(|id| std::thread::spawn(move || worker(addr, id, round))).collect();
    let mut counted = Vec::new();
    for worker in workers {
        counted.push(worker.join().map_err(|_| "a worker panicked")??);
    }
    let added: i64 = counted.iter().map(|c| c.added).sum();
    for line in ["GET sum", "HGET hash sum", "ZSCORE zset sum"] {
        let found = client.ask(line);
        check(number(&found) == added, &format!("{line} is not {added}"), &[found])?;
    }
    let swapped: i64 = counted.iter().map(|c| c.swapped).sum();
    let found = client.ask("GET swap");
    check(number(&found) == swapped, &format!("{swapped} exchanges"), &[found])?;
    let taken: Vec<&String> = counted.iter().flat_map(|c| &c.taken).collect();
    let different: HashSet<&&String> = taken.iter().collect();
    let left = client.ask("LLEN queue");
    let all = taken.len() as i64 + number(&left);
    let whole = different.len() == taken.len() && all == (CONNECTIONS * TURNS) as i64;
    check(whole, &format!("{} taken, {} different", taken.len(), different.len()), &[left])
}
