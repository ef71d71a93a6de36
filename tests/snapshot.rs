//! Snapshots under load: each file of a `BGSAVE` shows one moment, whatever all threads do meanwhile.
//!
//! Writers keep invariants that hold at every moment and at no half-done one: amounts move between accounts, elements
//! between lists and sets, keys between names, whole databases are emptied and filled, or swapped, in one transaction;
//! modules, their own threads, scripts and native commands take part, and huge values do. One writer counts through keys
//! in order, so that its keys must show a prefix of what it did, which is all that was answered before the `BGSAVE` and
//! nothing that was sent after its reply. Each file is loaded by a second server and looked at there.
//!
//! `SNAPSHOT_ROUNDS` sets how many files (100 for the full run).
mod common;
use common::{fresh_dir, own_modules, real_modules, Client, Reply, Server};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::SeqCst};
use std::time::Duration;

/// Leaves the processors to the server for a moment: a debug build on a small machine would fill its memory with
/// changes faster than it writes the first file. The full run (`SNAPSHOT_ROUNDS`) does without.
fn breathe() {
    if std::env::var_os("SNAPSHOT_ROUNDS").is_none() {
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn rounds(default: usize) -> usize {
    std::env::var("SNAPSHOT_ROUNDS").ok().and_then(|s| s.parse().ok()).unwrap_or(default)
}

const ACCOUNTS: u64 = 40;
const FILLERS: usize = 6000;
const MOVING: usize = 300;
const GENERATION_KEYS: usize = 200;
const STEPS: i64 = 60;
const HUGE_FIELDS: usize = 9000;

struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below
    }
}

fn account(d: &mut Dice) -> String {
    format!("account:{}", d.roll(ACCOUNTS))
}

/// Sends all requests at once, and returns the replies.
fn pipeline(c: &mut Client, requests: &[Vec<String>]) -> Vec<Reply> {
    for r in requests {
        let args: Vec<&str> = r.iter().map(String::as_str).collect();
        c.send(&args);
    }
    requests.iter().map(|_| c.read()).collect()
}

fn words(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_string).collect()
}

/// A transaction of the commands in `texts`; asserts that it was executed.
fn transaction(c: &mut Client, texts: &[String]) -> Vec<Reply> {
    let mut requests = vec![words("MULTI")];
    requests.extend(texts.iter().map(|t| words(t)));
    requests.push(words("EXEC"));
    let replies = pipeline(c, &requests);
    let last = replies.last().expect("EXEC answers").items().to_vec();
    for (r, t) in last.iter().zip(texts) {
        assert!(!matches!(r, Reply::Error(_)), "{t}: {r:?}");
    }
    last
}

fn fill(c: &mut Client) {
    let mut requests = Vec::new();
    for i in 0..ACCOUNTS {
        requests.push(words(&format!("SET account:{i} 1000")));
    }
    for i in 0..FILLERS {
        requests.push(words(&format!("SET filler:{i} value-of-{i}-{}", "x".repeat(i % 120))));
    }
    for i in 0..MOVING {
        requests.push(words(&format!("RPUSH moving:list:0 element-{i}")));
        requests.push(words(&format!("SADD moving:set:0 member-{i}")));
        requests.push(words(&format!("ZADD moving:zset:0 {i} member-{i}")));
        requests.push(words("dt.push moving:dt:0 int 1"));
    }
    for i in 0..HUGE_FIELDS {
        requests.push(words(&format!("HSET huge:hash field-{i} 0")));
        requests.push(words(&format!("ZADD huge:zset 0 member-{i}")));
    }
    requests.push(words("SET huge:count 0"));
    requests.push(words("SETRANGE huge:string 400000 0"));
    requests.push(words("SET name:a travels"));
    requests.push(words("SET swaps 0"));
    requests.push(words("SELECT 3"));
    for i in 0..GENERATION_KEYS {
        requests.push(words(&format!("SET gen:{i} 0")));
    }
    requests.push(words("dt.push gen:dt int 0"));
    for (db, text) in [(4, "left"), (5, "right")] {
        requests.push(words(&format!("SELECT {db}")));
        for i in 0..GENERATION_KEYS {
            requests.push(words(&format!("SET side:{i} {text}")));
        }
        requests.push(words(&format!("dt.push side:dt str {text}")));
    }
    requests.push(words("SELECT 0"));
    for some in requests.chunks(500) {
        for r in pipeline(c, some) {
            assert!(!matches!(r, Reply::Error(_)), "{r:?}");
        }
    }
}

const MOVE: &str = "local n = tonumber(ARGV[1]) redis.call('DECRBY', KEYS[1], n) redis.call('INCRBY', KEYS[2], n) return 1";

type Writer = (&'static str, fn(&mut Client, &mut Dice, i64));

/// What one writer does in a turn.
const WRITERS: &[Writer] = &[
    ("native transfers", |c, d, _| {
        let n = d.roll(9);
        let (a, b) = (account(d), account(d));
        transaction(c, &[format!("DECRBY {a} {n}"), format!("INCRBY {b} {n}")]);
    }),
    ("module transfers", |c, d, _| {
        let (a, b) = (account(d), account(d));
        let sums = c.cmd(&["tt.transfer", &a, &b, "3"]);
        assert_eq!(sums.items()[0], sums.items()[1]);
    }),
    ("transfers by a module's thread", |c, d, _| {
        let (a, b) = (account(d), account(d));
        assert_eq!(c.cmd(&["tt.threadtransfer", "5", &a, &b, "2"]).int(), 5);
    }),
    ("scripts", |c, d, _| {
        let (a, b) = (account(d), account(d));
        assert_eq!(c.cmd(&["EVAL", MOVE, "2", &a, &b, "4"]).int(), 1);
    }),
    ("elements", |c, d, _| {
        let (a, b) = (d.roll(3), d.roll(3));
        c.cmd(&[
            "LMOVE",
            &format!("moving:list:{a}"),
            &format!("moving:list:{b}"),
            "LEFT",
            "RIGHT",
        ]);
        let member = format!("member-{}", d.roll(MOVING as u64));
        let (from, to) = (format!("moving:set:{a}"), format!("moving:set:{b}"));
        c.cmd(&["SMOVE", &from, &to, &member]);
        let there = c.cmd(&["ZSCORE", &format!("moving:zset:{a}"), &member]);
        if there != Reply::Nil && a != b {
            let score = there.text().to_string();
            let (from, to) = (format!("moving:zset:{a}"), format!("moving:zset:{b}"));
            transaction(
                c,
                &[format!("ZREM {from} {member}"), format!("ZADD {to} {score} {member}")],
            );
        }
    }),
    ("a module's elements", |c, d, _| {
        let (a, b) = (d.roll(3), d.roll(3));
        if c.cmd(&["dt.len", &format!("moving:dt:{a}")]).int() > 0 {
            transaction(
                c,
                &[format!("dt.pop moving:dt:{a}"), format!("dt.push moving:dt:{b} int 2")],
            );
        }
    }),
    ("names", |c, _, n| {
        let (from, to) = if n % 2 == 0 { ("a", "b") } else { ("b", "a") };
        c.cmd(&["RENAME", &format!("name:{from}"), &format!("name:{to}")]).ok();
    }),
    ("huge values", |c, d, _| {
        let field = d.roll(HUGE_FIELDS as u64);
        transaction(
            c,
            &[
                format!("HINCRBY huge:hash field-{field} 1"),
                format!("ZINCRBY huge:zset 1 member-{field}"),
                "INCR huge:count".into(),
                "APPEND huge:string +".into(),
            ],
        );
    }),
    ("generations", |c, _, n| {
        // The database is emptied and filled again at once.
        let mut all = vec!["SELECT 3".to_string(), "FLUSHDB".into()];
        all.extend((0..GENERATION_KEYS).map(|i| format!("SET gen:{i} {}", n + 1)));
        all.push(format!("dt.push gen:dt int {}", n + 1));
        transaction(c, &all);
        std::thread::sleep(Duration::from_millis(3));
    }),
    ("swaps", |c, _, _| {
        transaction(c, &["SWAPDB 4 5".into(), "INCR swaps".into()]);
        std::thread::sleep(Duration::from_millis(2));
    }),
    ("short lives", |c, d, _| {
        let n = d.roll(500).to_string();
        c.cmd(&["SET", &format!("short:{n}"), &n, "PX", &(1 + d.roll(40)).to_string()]).ok();
        c.cmd(&["HSET", "hash:of:short", &n, &n]);
        c.cmd(&["HPEXPIRE", "hash:of:short", "5", "FIELDS", "1", &n]);
        c.cmd(&["DEL", &format!("filler:{}", d.roll(50))]);
    }),
];

fn bgsave(c: &mut Client) {
    assert_eq!(c.cmd(&["BGSAVE"]), Reply::Status("Background saving started".into()));
}

fn wait_for_end(c: &mut Client) {
    for _ in 0..120_000 {
        let info = c.cmd(&["INFO", "persistence"]);
        if info.text().contains("rdb_bgsave_in_progress:0") {
            assert!(info.text().contains("rdb_last_bgsave_status:ok"), "{info:?}");
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("the save does not end");
}

/// What the file of one round must show; `between` are the steps that the counting writer may have reached.
fn check(c: &mut Client, between: (i64, i64)) {
    let numbers = |r: &Reply| -> i64 { r.items().iter().map(Reply::int).sum() };
    let accounts: Vec<String> = (0..ACCOUNTS).map(|i| format!("account:{i}")).collect();
    let mut mget = vec!["MGET"];
    mget.extend(accounts.iter().map(String::as_str));
    assert_eq!(numbers(&c.cmd(&mget)), 1000 * ACCOUNTS as i64, "half a transfer");
    for (command, kind) in [("LLEN", "list"), ("SCARD", "set"), ("ZCARD", "zset"), ("dt.len", "dt")]
    {
        let sum: i64 = (0..3).map(|i| c.cmd(&[command, &format!("moving:{kind}:{i}")]).int()).sum();
        assert_eq!(sum, MOVING as i64, "half a move of a {kind} element");
    }
    let names = c.cmd(&["MGET", "name:a", "name:b"]);
    let there = names.items().iter().filter(|r| **r != Reply::Nil).count();
    assert_eq!(there, 1, "half a renaming: {names:?}");

    let count = c.cmd(&["GET", "huge:count"]).int();
    assert_eq!(numbers(&c.cmd(&["HVALS", "huge:hash"])), count, "a huge hash of another moment");
    assert_eq!(
        c.cmd(&["STRLEN", "huge:string"]).int(),
        400_001 + count,
        "a huge string of another"
    );
    let scores = c.cmd(&["ZRANGE", "huge:zset", "0", "-1", "WITHSCORES"]);
    let scores: i64 = scores.items().iter().skip(1).step_by(2).map(Reply::int).sum();
    assert_eq!(scores, count, "a huge sorted set of another moment");

    // The first 50 are deleted now and then.
    for i in 50..FILLERS {
        c.send(&["GET", &format!("filler:{i}")]);
    }
    for i in 50..FILLERS {
        let value = format!("value-of-{i}-{}", "x".repeat(i % 120));
        assert_eq!(c.read(), Reply::Bulk(value), "filler:{i}");
    }

    c.cmd(&["SELECT", "3"]).ok();
    assert_eq!(c.cmd(&["DBSIZE"]).int(), GENERATION_KEYS as i64 + 1, "half a generation");
    let generation = c.cmd(&["GET", "gen:0"]).int();
    for i in 0..GENERATION_KEYS {
        assert_eq!(c.cmd(&["GET", &format!("gen:{i}")]).int(), generation, "two generations");
    }
    assert_eq!(c.cmd(&["dt.range", "gen:dt"]).items()[0].int(), generation, "two generations");

    c.cmd(&["SELECT", "0"]).ok();
    let odd = c.cmd(&["GET", "swaps"]).int() % 2 == 1;
    for (db, text) in
        [("4", if odd { "right" } else { "left" }), ("5", if odd { "left" } else { "right" })]
    {
        c.cmd(&["SELECT", db]).ok();
        assert_eq!(c.cmd(&["DBSIZE"]).int(), GENERATION_KEYS as i64 + 1);
        for i in 0..GENERATION_KEYS {
            assert_eq!(c.cmd(&["GET", &format!("side:{i}")]).text(), text, "database {db}");
        }
        assert_eq!(c.cmd(&["dt.range", "side:dt"]).items()[0].text(), text, "database {db}");
    }
    c.cmd(&["SELECT", "0"]).ok();

    // The counting writer: step n wrote n to key n % STEPS.
    let steps: Vec<i64> = (0..STEPS)
        .map(|i| match c.cmd(&["GET", &format!("step:{i}")]) {
            Reply::Nil => -1,
            r => r.int(),
        })
        .collect();
    let last = *steps.iter().max().unwrap();
    assert!(between.0 <= last && last <= between.1, "step {last} is not in {between:?}");
    for (i, &n) in steps.iter().enumerate() {
        let expected = last - (last - i as i64).rem_euclid(STEPS);
        assert_eq!(n, expected.max(-1), "step:{i} with {last} as the last step");
    }
}

#[test]
fn every_file_is_one_moment() {
    let modules: Vec<String> = ["timer_thread.so", "datatype.so"]
        .map(|m| own_modules().join(m).display().to_string())
        .to_vec();
    let load = ["--loadmodule", &modules[0], "--loadmodule", &modules[1]];
    let mut args = vec!["--server-threads", "4", "--rdb-key-save-delay", "15"];
    args.extend(load);
    let mut server = Server::start(&args);
    let mut c = server.client();
    fill(&mut c);
    let stop = AtomicBool::new(false);
    let (sent, answered) = (AtomicI64::new(-1), AtomicI64::new(-1));
    std::thread::scope(|scope| {
        for (number, (name, turn)) in WRITERS.iter().enumerate() {
            let (mut c, stop) = (server.client(), &stop);
            let body = move || {
                let mut d = Dice(0x9e37_79b9 + number as u64);
                let mut n = 0;
                while !stop.load(SeqCst) {
                    turn(&mut c, &mut d, n);
                    breathe();
                    n += 1;
                }
                assert!(n > 0, "{name} did nothing");
            };
            std::thread::Builder::new().name((*name).into()).spawn_scoped(scope, body).unwrap();
        }
        let (mut writer, stop_it) = (server.client(), &stop);
        let (sent, answered) = (&sent, &answered);
        scope.spawn(move || {
            let mut n = 0;
            while !stop_it.load(SeqCst) {
                sent.store(n, SeqCst);
                writer.cmd(&["SET", &format!("step:{}", n % STEPS), &n.to_string()]).ok();
                answered.store(n, SeqCst);
                n += 1;
            }
        });
        // Ends the writers when a check fails, so that the failure is seen.
        struct Stop<'a>(&'a AtomicBool);
        impl Drop for Stop<'_> {
            fn drop(&mut self) {
                self.0.store(true, SeqCst);
            }
        }
        let _stop = Stop(&stop);
        for round in 0..rounds(3) {
            std::thread::sleep(Duration::from_millis(100));
            let least = answered.load(SeqCst);
            bgsave(&mut c);
            let most = sent.load(SeqCst);
            wait_for_end(&mut c);
            let dir = fresh_dir("moment");
            std::fs::copy(server.dir.join("dump.rdb"), dir.join("dump.rdb")).unwrap();
            let copy = Server::start_in(dir.clone(), &load);
            check(&mut copy.client(), (least, most));
            drop(copy);
            std::fs::remove_dir_all(dir).unwrap();
            println!("round {round}: steps {least} to {most}");
        }
    });
    server.assert_alive();
}

/// The server's own data is what it was in spite of all marks and batches.
#[test]
fn flushing_everything_calls_a_save_off() {
    let s = Server::start(&[]);
    let mut c = s.client();
    for i in 0..500 {
        c.cmd(&["SET", &format!("k:{i}"), "v"]).ok();
    }
    c.cmd(&["CONFIG", "SET", "rdb-key-save-delay", "1000000"]).ok();
    bgsave(&mut c);
    assert_eq!(c.cmd(&["BGSAVE"]), Reply::Error("ERR Background save already in progress".into()));
    assert_eq!(c.cmd(&["SAVE"]), Reply::Error("ERR Background save already in progress".into()));
    c.cmd(&["SET", "k:7", "changed"]).ok();
    c.cmd(&["FLUSHALL"]).ok();
    wait_for_end(&mut c);
    assert!(!s.dir.join("dump.rdb").exists());
    let left: Vec<_> = std::fs::read_dir(&s.dir).unwrap().map(|f| f.unwrap().file_name()).collect();
    assert!(!left.iter().any(|f| f.to_string_lossy().starts_with("temp")), "{left:?}");
    c.cmd(&["CONFIG", "SET", "rdb-key-save-delay", "0"]).ok();
    // The marks are in order: the next save has everything.
    for i in 0..500 {
        c.cmd(&["SET", &format!("k:{i}"), "w"]).ok();
    }
    bgsave(&mut c);
    wait_for_end(&mut c);
    let dir = fresh_dir("after");
    std::fs::copy(s.dir.join("dump.rdb"), dir.join("dump.rdb")).unwrap();
    let copy = Server::start_in(dir, &[]);
    assert_eq!(copy.client().cmd(&["DBSIZE"]).int(), 500);
}

#[test]
fn scheduled_saves_and_saves_in_transactions_come_later() {
    let s = Server::start(&[]);
    let mut c = s.client();
    let replies = transaction(&mut c, &["SET a 1".into(), "BGSAVE".into(), "SET b 2".into()]);
    assert_eq!(replies[1], Reply::Status("Background saving scheduled".into()));
    for _ in 0..2000 {
        if s.log().contains("Background saving terminated with success") {
            break;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    wait_for_end(&mut c);
    let dir = fresh_dir("scheduled");
    std::fs::copy(s.dir.join("dump.rdb"), dir.join("dump.rdb")).unwrap();
    let copy = Server::start_in(dir, &[]);
    assert_eq!(copy.client().cmd(&["DBSIZE"]).int(), 2);
}

#[test]
fn a_failed_save_stops_writes_and_leaves_nothing_behind() {
    let s = Server::start(&["--save", "10000 1000", "--enable-protected-configs", "yes"]);
    let mut c = s.client();
    c.cmd(&["SET", "a", "1"]).ok();
    // A folder where the file belongs: the last step fails.
    c.cmd(&["CONFIG", "SET", "dbfilename", "folder"]).ok();
    std::fs::create_dir(s.dir.join("folder")).unwrap();
    bgsave(&mut c);
    for _ in 0..2000 {
        if c.cmd(&["INFO", "persistence"]).text().contains("rdb_bgsave_in_progress:0") {
            break;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(c.cmd(&["INFO", "persistence"]).text().contains("rdb_last_bgsave_status:err"));
    let refused = c.cmd(&["SET", "a", "2"]);
    assert!(
        refused.text().starts_with("MISCONF Redis is configured to save RDB snapshots"),
        "{refused:?}"
    );
    assert_eq!(c.cmd(&["GET", "a"]).text(), "1");
    c.cmd(&["CONFIG", "SET", "dbfilename", "dump.rdb"]).ok();
    bgsave(&mut c);
    wait_for_end(&mut c);
    c.cmd(&["SET", "a", "2"]).ok();
    let left: Vec<_> = std::fs::read_dir(&s.dir).unwrap().map(|f| f.unwrap().file_name()).collect();
    assert!(!left.iter().any(|f| f.to_string_lossy().starts_with("temp")), "{left:?}");
}

/// RediSearch collects garbage in a forked child: that works beside a save, and the save beside it.
#[test]
fn saves_beside_forked_garbage_collection() {
    let module = real_modules().join("redisearch.so").display().to_string();
    // A save of some 40 ms, so that the collection falls into it.
    let slowly = ["--rdb-key-save-delay", "20"];
    let mut s =
        Server::start(&[&["--server-threads", "2", "--loadmodule", &module], &slowly[..]].concat());
    let mut c = s.client();
    c.cmd(&["FT.CREATE", "idx", "SCHEMA", "t", "TEXT", "n", "NUMERIC"]).ok();
    for i in 0..2000 {
        c.cmd(&[
            "HSET",
            &format!("doc:{i}"),
            "t",
            &format!("word{} common", i % 50),
            "n",
            &i.to_string(),
        ]);
    }
    let mut beside = 0;
    for round in 0..rounds(4) {
        for i in 0..50 {
            let key = format!("doc:{}", (round * 37 + i) % 2000);
            c.cmd(&["HSET", &key, "t", &format!("word{} other", (i + round) % 50), "n", "5"]);
        }
        bgsave(&mut c);
        let collected = c.cmd(&["FT.DEBUG", "GC_FORCEINVOKE", "idx"]);
        assert_eq!(collected.text(), "DONE", "round {round}");
        let saves = c.cmd(&["INFO", "persistence"]).text().contains("rdb_bgsave_in_progress:1");
        beside += usize::from(saves);
        wait_for_end(&mut c);
    }
    println!("{beside} of {} collections ended before the save", rounds(4));
    assert!(beside > 0, "no collection ran beside a save");
    let info = format!("{:?}", c.cmd(&["FT.INFO", "idx"]));
    assert!(info.contains("bytes_collected"), "{info}");
    assert!(!info.contains(r#"Bulk("bytes_collected"), Bulk("0")"#), "nothing collected: {info}");
    s.assert_alive();
    let log = s.log();
    assert_eq!(
        log.matches("Background saving terminated with success").count(),
        rounds(4),
        "{log}"
    );
}

/// A rewrite takes the same cut: what the log has from there on and the base together are all writes, once each.
#[test]
fn an_append_only_file_that_is_rewritten_under_load_is_complete() {
    let modules: Vec<String> = ["timer_thread.so", "datatype.so"]
        .map(|m| own_modules().join(m).display().to_string())
        .to_vec();
    for preamble in ["yes", "no"] {
        let dir = fresh_dir("aof");
        let args = [
            "--server-threads",
            "4",
            "--appendonly",
            "yes",
            "--appendfsync",
            "no",
            "--auto-aof-rewrite-percentage",
            "0",
            "--aof-use-rdb-preamble",
            preamble,
            "--loadmodule",
            &modules[0],
            "--loadmodule",
            &modules[1],
        ];
        let s = Server::start_in(dir.clone(), &args);
        let mut c = s.client();
        fill(&mut c);
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            // What expires on its own is not there to be compared.
            for (number, (name, turn)) in
                WRITERS.iter().filter(|w| w.0 != "short lives").enumerate()
            {
                let (mut c, stop) = (s.client(), &stop);
                let body = move || {
                    let mut d = Dice(77 + number as u64);
                    let mut n = 0;
                    while !stop.load(SeqCst) {
                        turn(&mut c, &mut d, n);
                        breathe();
                        n += 1;
                    }
                };
                std::thread::Builder::new().name((*name).into()).spawn_scoped(scope, body).unwrap();
            }
            for _ in 0..rounds(3) {
                std::thread::sleep(Duration::from_millis(50));
                let begun = c.cmd(&["BGREWRITEAOF"]);
                assert!(begun.text().starts_with("Background append only file"), "{begun:?}");
                for _ in 0..6000 {
                    let info = c.cmd(&["INFO", "persistence"]);
                    if info.text().contains("aof_rewrite_in_progress:0") {
                        assert!(info.text().contains("aof_last_bgrewrite_status:ok"), "{info:?}");
                        break;
                    }
                    std::thread::sleep(Duration::from_millis(5));
                }
            }
            stop.store(true, SeqCst);
        });
        let modules_state = |c: &mut Client| {
            (0..3).map(|i| c.cmd(&["dt.range", &format!("moving:dt:{i}")])).collect::<Vec<_>>()
        };
        let digest = c.cmd(&["DEBUG", "DIGEST"]);
        let lists = modules_state(&mut c);
        drop(s);
        let s = Server::start_in(dir, &args);
        let mut c = s.client();
        assert_eq!(modules_state(&mut c), lists, "preamble {preamble}");
        assert_eq!(c.cmd(&["DEBUG", "DIGEST"]), digest, "preamble {preamble}");
    }
}
