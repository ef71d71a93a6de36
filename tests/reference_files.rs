//! Files go both ways between this server and the reference: with the four real modules, and native values on both sides
//! of every limit of their encodings.
//!
//! Each of the two fills itself, and the other one loads its files: RDB files of `SAVE` and `BGSAVE`, and append-only
//! files with both kinds of base and a tail of commands. What we loaded goes back to the reference once more. The
//! keyspaces are compared key by key: type, encoding, expiry, and what the type's reading commands, the modules' own
//! included, answer.
mod common;
use common::{fresh_dir, real_modules, Client, Reply, Server};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// The reference, as a process; killed when dropped.
struct Reference {
    child: Child,
    port: u16,
}

impl Reference {
    fn start(dir: &Path, args: &[&str]) -> Reference {
        let port = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).unwrap().port();
        let binary = real_modules().join("../bin/redis-server");
        let child = Command::new(&binary)
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""])
            .args(["--dir", &dir.display().to_string(), "--enable-debug-command", "yes"])
            .args(args)
            .stdout(Stdio::null())
            .spawn()
            .unwrap_or_else(|e| panic!("{}: {e}", binary.display()));
        let mut reference = Reference { child, port };
        for _ in 0..600 {
            if let Ok(s) = TcpStream::connect(("127.0.0.1", port)) {
                if Client::on(s).cmd(&["PING"]) == Reply::Status("PONG".into()) {
                    return reference;
                }
            }
            let ended = reference.child.try_wait().unwrap();
            assert!(ended.is_none(), "the reference ended: {ended:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("the reference does not answer");
    }

    fn client(&self) -> Client {
        Client::on(TcpStream::connect(("127.0.0.1", self.port)).unwrap())
    }
}

impl Drop for Reference {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A connection whose replies are read some requests later; none may be an error.
struct Sender<'a> {
    client: &'a mut Client,
    waiting: Vec<String>,
}

impl Sender<'_> {
    fn settle(&mut self) {
        for request in self.waiting.drain(..) {
            let reply = self.client.read();
            assert!(!matches!(reply, Reply::Error(_)), "{request}: {reply:?}");
        }
    }
}

impl Drop for Sender<'_> {
    fn drop(&mut self) {
        assert!(self.waiting.is_empty() || std::thread::panicking(), "replies were not read");
    }
}

fn send(s: &mut Sender<'_>, args: &[&str]) {
    s.client.send(args);
    s.waiting.push(args.iter().map(|a| &a[..a.len().min(40)]).collect::<Vec<_>>().join(" "));
    if s.waiting.len() == 300 {
        s.settle();
    }
}

/// Values on both sides of each limit.
fn fill(client: &mut Client) {
    let search = client.cmd(&["COMMAND", "INFO", "FT.SEARCH"]).items()[0] != Reply::Nil;
    let c = &mut Sender { client, waiting: Vec::new() };
    let long = |n: usize| "y".repeat(n);
    for n in [0, 1, 20, 21, 44, 45, 192, 193, 64 << 10, 300_000] {
        send(c, &["SET", &format!("string:{n}"), &long(n)]);
        let random: String =
            (0..n).map(|i| char::from(33 + (i * i * 7 + i / 3) as u8 % 90)).collect();
        send(c, &["SET", &format!("string:random:{n}"), &random]);
    }
    for i in [
        "0",
        "-1",
        "127",
        "128",
        "-32768",
        "32768",
        "2147483647",
        "2147483648",
        "9223372036854775807",
        "01",
        "1.5",
    ] {
        send(c, &["SET", &format!("int:{i}"), i]);
    }
    send(c, &["APPEND", "string:raw", "short"]);
    for n in [1, 2, 127, 128, 129, 512, 513, 700] {
        for len in [1, 63, 64, 65] {
            let name = format!("{n}:{len}");
            for i in 0..n {
                let text = format!("{i:0>len$}");
                let number = i.to_string();
                send(c, &["HSET", &format!("hash:{name}"), &text, &number]);
                send(c, &["SADD", &format!("set:{name}"), &text]);
                send(c, &["ZADD", &format!("zset:{name}"), &format!("{}.25", i % 7), &text]);
                send(c, &["RPUSH", &format!("list:{name}"), &text]);
            }
        }
        for i in 0..n {
            send(c, &["SADD", &format!("ints:{n}"), &(i * 3).to_string()]);
            send(c, &["SADD", &format!("ints:wide:{n}"), &(i as i64 * 3_000_000_000).to_string()]);
            send(c, &["HSET", &format!("hash:expiring:{n}"), &format!("f{i}"), "v"]);
            send(
                c,
                &[
                    "XADD",
                    &format!("stream:{n}"),
                    &format!("{}-{}", i + 1, i % 3),
                    "f",
                    "v",
                    "g",
                    &long(i % 60),
                ],
            );
        }
        send(
            c,
            &["HPEXPIREAT", &format!("hash:expiring:{n}"), "4000000000000", "FIELDS", "1", "f0"],
        );
        let stream = format!("stream:{n}");
        send(c, &["XGROUP", "CREATE", &stream, "g", "0"]);
        send(c, &["XREADGROUP", "GROUP", "g", "alice", "COUNT", "5", "STREAMS", &stream, ">"]);
        send(c, &["XREADGROUP", "GROUP", "g", "bob", "COUNT", "2", "STREAMS", &stream, ">"]);
        send(c, &["XDEL", &stream, "1-0"]);
    }
    send(c, &["RPUSH", "list:big", &long(9000), "small", &long(9000)]);
    send(c, &["ZADD", "zset:odd", "inf", "a", "-inf", "b", "0", "c", "1e300", "d", "0.1", "e"]);
    send(c, &["XGROUP", "CREATE", "stream:empty", "g", "$", "MKSTREAM"]);
    send(c, &["PFADD", "hll", "a", "b", "c"]);
    send(c, &["SET", "volatile", "x", "PXAT", "4000000000000"]);
    send(c, &["PEXPIREAT", "hash:1:1", "4000000000001"]);
    send(
        c,
        &[
            "FUNCTION",
            "LOAD",
            "#!lua name=lib\nredis.register_function('f', function() return 42 end)",
        ],
    );

    send(
        c,
        &[
            "JSON.SET",
            "json:a",
            "$",
            r#"{"a":[1,2.5,"x",null,true,{"b":{}}],"long":"yyyyyyyyyyyyyyyyyyyyyyyyyyyyy"}"#,
        ],
    );
    send(c, &["JSON.SET", "json:b", "$", "[]"]);
    for name in ["ts:a", "ts:mean"] {
        send(c, &["TS.CREATE", name, "LABELS", "kind", "test"]);
    }
    send(c, &["TS.CREATERULE", "ts:a", "ts:mean", "AGGREGATION", "avg", "10"]);
    for i in 1..300 {
        send(c, &["TS.ADD", "ts:a", &(i * 3).to_string(), &format!("{}.5", i % 11)]);
    }
    send(c, &["BF.ADD", "bloom", "x"]);
    send(c, &["CF.ADD", "cuckoo", "x"]);
    send(c, &["CMS.INITBYDIM", "cms", "100", "5"]);
    send(c, &["CMS.INCRBY", "cms", "x", "3"]);
    send(c, &["TOPK.RESERVE", "topk", "3"]);
    send(c, &["TOPK.ADD", "topk", "x", "y", "x"]);
    send(c, &["TDIGEST.CREATE", "tdigest"]);
    send(c, &["TDIGEST.ADD", "tdigest", "1", "2", "3"]);
    if search {
        let schema = ["PREFIX", "1", "doc:", "SCHEMA", "t", "TEXT", "n", "NUMERIC"];
        send(c, &[&["FT.CREATE", "idx"], &schema[..]].concat());
        send(c, &["FT.SUGADD", "suggestions", "hello", "1"]);
    }
    for i in 0..40 {
        send(
            c,
            &[
                "HSET",
                &format!("doc:{i}"),
                "t",
                &format!("common word{}", i % 4),
                "n",
                &i.to_string(),
            ],
        );
    }
    send(c, &["SELECT", "9"]);
    send(c, &["SET", "elsewhere", "y"]);
    send(c, &["JSON.SET", "json:there", "$", "5"]);
    send(c, &["SELECT", "0"]);
    c.settle();
}

fn sorted(reply: Reply) -> Reply {
    match reply {
        Reply::Array(mut items) => {
            items.sort_by_key(|r| format!("{r:?}"));
            Reply::Array(items)
        }
        other => other,
    }
}

/// Everything that a key shows.
fn shows(c: &mut Client, key: &str) -> Vec<Reply> {
    let kind = c.cmd(&["TYPE", key]);
    let mut all = vec![c.cmd(&["PEXPIRETIME", key])];
    let module = |c: &mut Client, commands: &[&[&str]]| -> Vec<Reply> {
        commands.iter().map(|words| c.cmd(&[&words[..1], &[key], &words[1..]].concat())).collect()
    };
    let (encoded, more) = match kind.text() {
        "string" => (true, vec![c.cmd(&["GET", key])]),
        "list" => (true, vec![c.cmd(&["LRANGE", key, "0", "-1"])]),
        "set" => (true, vec![sorted(c.cmd(&["SMEMBERS", key]))]),
        "zset" => (true, vec![c.cmd(&["ZRANGE", key, "0", "-1", "WITHSCORES"])]),
        "hash" => {
            let fields = sorted(c.cmd(&["HKEYS", key]));
            let mut values = Vec::new();
            for f in fields.items() {
                values.push(c.cmd(&["HGET", key, f.text()]));
                values.push(c.cmd(&["HPEXPIRETIME", key, "FIELDS", "1", f.text()]));
            }
            (true, [vec![fields], values].concat())
        }
        "stream" => (
            true,
            vec![
                c.cmd(&["XRANGE", key, "-", "+"]),
                c.cmd(&["XINFO", "GROUPS", key]),
                c.cmd(&["XPENDING", key, "g", "-", "+", "100", "alice"])
                    .items()
                    .iter()
                    .flat_map(|r| r.items()[..2].to_vec())
                    .collect::<Vec<_>>()
                    .into(),
            ],
        ),
        "ReJSON-RL" => (false, module(c, &[&["JSON.GET"], &["JSON.TYPE"]])),
        "TSDB-TYPE" => (false, module(c, &[&["TS.RANGE", "-", "+"], &["TS.INFO"]])),
        "MBbloom--" => {
            (false, module(c, &[&["BF.EXISTS", "x"], &["BF.EXISTS", "nothing"], &["BF.INFO"]]))
        }
        "MBbloomCF" => (false, module(c, &[&["CF.EXISTS", "x"], &["CF.INFO"]])),
        "CMSk-TYPE" => (false, module(c, &[&["CMS.QUERY", "x"], &["CMS.INFO"]])),
        "TopK-TYPE" => (false, module(c, &[&["TOPK.LIST", "WITHCOUNT"]])),
        "TDIS-TYPE" => (false, module(c, &[&["TDIGEST.QUANTILE", "0.5", "1"]])),
        "trietype0" => (false, module(c, &[&["FT.SUGGET", "he"]])),
        other => panic!("{key}: a type {other}"),
    };
    if encoded {
        all.push(c.cmd(&["OBJECT", "ENCODING", key]));
    }
    all.push(kind);
    all.extend(more);
    all
}

impl From<Vec<Reply>> for Reply {
    fn from(items: Vec<Reply>) -> Reply {
        Reply::Array(items)
    }
}

/// Compares all keys.
fn compare_keys(a: &mut Client, b: &mut Client) {
    for db in ["9", "0"] {
        a.cmd(&["SELECT", db]).ok();
        b.cmd(&["SELECT", db]).ok();
        let (keys, others) = (sorted(a.cmd(&["KEYS", "*"])), sorted(b.cmd(&["KEYS", "*"])));
        assert_eq!(keys, others);
        for key in keys.items() {
            let key = key.text();
            assert_eq!(shows(a, key), shows(b, key), "{key} in database {db}");
        }
    }
}

/// Compares all keys, and what is kept beside them.
fn compare(a: &mut Client, b: &mut Client) {
    compare_keys(a, b);
    let asked: [&[&str]; 4] = [
        &["FT.SEARCH", "idx", "common", "NOCONTENT", "LIMIT", "0", "100", "SORTBY", "n"],
        &["FT.SEARCH", "idx", "@n:[5 17]", "LIMIT", "0", "0"],
        &["TS.QUERYINDEX", "kind=test"],
        &["FCALL", "f", "0"],
    ];
    for args in asked {
        assert_eq!(a.cmd(args), b.cmd(args), "{args:?}");
    }
}

/// `--loadmodule` for the four modules.
fn modules() -> Vec<String> {
    let names = ["redisearch.so", "rejson.so", "redistimeseries.so", "redisbloom.so"];
    let load =
        |name: &str| ["--loadmodule".into(), real_modules().join(name).display().to_string()];
    names.iter().flat_map(|name| load(name)).collect()
}

fn words(list: &[String]) -> Vec<&str> {
    list.iter().map(String::as_str).collect()
}

/// Waits for the end of what `field` of `INFO persistence` tells of.
fn wait_for(c: &mut Client, field: &str) {
    let idle = format!("{field}:0");
    for _ in 0..12_000 {
        if c.cmd(&["INFO", "persistence"]).text().contains(&idle) {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("{field} does not end");
}

fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for file in std::fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}

#[test]
fn keyspaces_are_equal_in_both_directions() {
    let modules = modules();
    let modules = words(&modules);
    let dir = fresh_dir("reference");
    let reference = Reference::start(&dir, &modules);
    let mut theirs = reference.client();
    fill(&mut theirs);
    // A load forgets which strings were changed in place; so the comparison begins behind one.
    theirs.cmd(&["DEBUG", "RELOAD"]).ok();

    let own_dir = fresh_dir("ours");
    std::fs::copy(dir.join("dump.rdb"), own_dir.join("dump.rdb")).unwrap();
    let ours = Server::start_in(own_dir.clone(), &modules);
    let mut c = ours.client();
    compare(&mut theirs, &mut c);

    // Back: what we write in the background, and by SAVE, is the same to the reference.
    for save in ["BGSAVE", "SAVE"] {
        c.cmd(&[save]);
        wait_for(&mut c, "rdb_bgsave_in_progress");
        let back_dir = fresh_dir("back");
        std::fs::copy(own_dir.join("dump.rdb"), back_dir.join("dump.rdb")).unwrap();
        let back = Reference::start(&back_dir, &modules);
        compare(&mut theirs, &mut back.client());
    }
}

#[test]
fn the_reference_loads_what_was_made_here() {
    let modules = modules();
    let modules = words(&modules);
    let dir = fresh_dir("made-here");
    let ours = Server::start_in(dir.clone(), &modules);
    let mut c = ours.client();
    fill(&mut c);
    for save in ["BGSAVE", "SAVE"] {
        c.cmd(&[save]);
        wait_for(&mut c, "rdb_bgsave_in_progress");
        // Both sides behind a load, which chooses encodings anew.
        c.cmd(&["DEBUG", "RELOAD", "NOSAVE"]).ok();
        let there = fresh_dir("there");
        std::fs::copy(dir.join("dump.rdb"), there.join("dump.rdb")).unwrap();
        let reference = Reference::start(&there, &modules);
        compare(&mut c, &mut reference.client());
    }
}

/// Writes behind the base: an append-only file's tail.
fn add_a_tail(c: &mut Client) {
    for request in [
        &["SET", "tail", "1"][..],
        &["EXPIRE", "tail", "100000000"],
        &["INCRBYFLOAT", "tail:float", "0.1"],
        &["SPOP", "set:129:64"],
        &["LMOVE", "list:2:1", "tail:list", "LEFT", "RIGHT"],
        &["XADD", "stream:1", "900-1", "f", "v"],
        &["HPEXPIRE", "hash:2:1", "4000000000", "FIELDS", "1", "0"],
        &["JSON.SET", "json:tail", "$", "[1]"],
        &["TS.ADD", "ts:a", "100000", "5"],
        &["BF.ADD", "bloom", "y"],
        &["CF.ADD", "cuckoo", "y"],
        &["TDIGEST.ADD", "tdigest", "9"],
        &[
            "EVAL",
            "redis.call('SET', KEYS[1], 'x') redis.call('DEL', KEYS[2])",
            "2",
            "tail:s",
            "int:0",
        ],
    ] {
        let reply = c.cmd(request);
        assert!(!matches!(reply, Reply::Error(_)), "{request:?}: {reply:?}");
    }
}

#[test]
fn append_only_files_go_both_ways() {
    for preamble in ["yes", "no"] {
        let modules = modules();
        let mut args = words(&modules);
        if preamble == "no" {
            // RediSearch, the first one, refuses to work without the preamble.
            args.drain(..2);
        }
        args.extend(["--appendonly", "yes", "--aof-use-rdb-preamble", preamble]);
        let there = fresh_dir("aof-there");
        let reference = Reference::start(&there, &args);
        let here = fresh_dir("aof-here");
        let ours = Server::start_in(here.clone(), &args);
        let (mut theirs, mut c) = (reference.client(), ours.client());
        for c in [&mut theirs, &mut c] {
            fill(c);
            let begun = c.cmd(&["BGREWRITEAOF"]);
            assert!(begun.text().starts_with("Background append only file rewriting"), "{begun:?}");
            wait_for(c, "aof_rewrite_scheduled");
            wait_for(c, "aof_rewrite_in_progress");
            add_a_tail(c);
            // What is loaded from a file is compared with what is loaded from a file.
            c.cmd(&["DEBUG", "LOADAOF"]).ok();
        }
        let compare = |a: &mut Client, b: &mut Client| match preamble {
            "yes" => compare(a, b),
            // Commands do not bring back what modules keep beside the keys.
            _ => compare_keys(a, b),
        };
        let dir = fresh_dir("aof-from-there");
        copy_dir(&there.join("appendonlydir"), &dir.join("appendonlydir"));
        let loaded_here = Server::start_in(dir, &args);
        compare(&mut theirs, &mut loaded_here.client());
        let dir = fresh_dir("aof-from-here");
        copy_dir(&here.join("appendonlydir"), &dir.join("appendonlydir"));
        let loaded_there = Reference::start(&dir, &args);
        compare(&mut c, &mut loaded_there.client());
    }
}

/// Makes keys that were read so often, or not for so many seconds, and saves.
fn save_clocks(c: &mut Client, word: &str) {
    const MAKE: &str =
        "return redis.call('RESTORE', KEYS[2], 0, redis.call('DUMP', KEYS[1]), ARGV[1], ARGV[2])";
    c.cmd(&["SET", "original", "x"]).ok();
    for i in 0..30 {
        let (key, clock) = (format!("k:{i}"), (i * 8).to_string());
        let restored = c.cmd(&["EVAL", MAKE, "2", "original", &key, word, &clock]);
        assert_eq!(restored, Reply::Status("OK".into()));
    }
    c.cmd(&["SAVE"]).ok();
}

fn check_clocks(c: &mut Client, ask: &str) {
    for i in 0..30 {
        let clock = c.cmd(&["OBJECT", ask, &format!("k:{i}")]).int();
        // Seconds go on meanwhile, a few minutes at most.
        let most = if ask == "FREQ" { i * 8 } else { i * 8 + 300 };
        assert!((i * 8..=most).contains(&clock), "{ask} of k:{i} is {clock}");
    }
}

#[test]
fn access_clocks_go_both_ways() {
    for (policy, word) in [("allkeys-lfu", "FREQ"), ("allkeys-lru", "IDLETIME")] {
        let args = ["--maxmemory-policy", policy, "--lfu-decay-time", "0"];
        let (from_there, from_here) = (fresh_dir("clock-there"), fresh_dir("clock-here"));
        let reference = Reference::start(&from_there, &args);
        save_clocks(&mut reference.client(), word);
        let ours = Server::start_in(from_here.clone(), &args);
        save_clocks(&mut ours.client(), word);
        let (here, there) = (fresh_dir("clock-to-here"), fresh_dir("clock-to-there"));
        std::fs::copy(from_there.join("dump.rdb"), here.join("dump.rdb")).unwrap();
        std::fs::copy(from_here.join("dump.rdb"), there.join("dump.rdb")).unwrap();
        check_clocks(&mut Server::start_in(here, &args).client(), word);
        check_clocks(&mut Reference::start(&there, &args).client(), word);
    }
}
