//! Race hunting: several connections run the scripts of modules-test, in random order, against all of these modules at once,
//! while `module-yield` has calls of the module API give the processor away by chance.
//!
//! No reply is judged, since the clients disturb each other. What is asserted: every command is answered, nobody holds the
//! lock or is blocked at the end, the data set can be written and read back, and the log tells of no panic.
//! `YIELD_COMMANDS` sets the number of commands of each connection.
mod common;
use common::{info, own_modules, Reply, Server};
use std::time::{Duration, Instant};

const MODULES: [&str; 9] =
    ["basic", "strings", "keys", "datatype", "timer_thread", "configs", "dictapi", "scan", "info"];
const CLIENTS: u64 = 6;
/// Commands that wait for a long time, end their client, or change what all others rely on.
const NEVER: [&str; 12] = [
    "tt.block",
    "tt.blockforever",
    "tt.hold",
    "tt.yield",
    "basic.assert",
    "module",
    "client",
    "quit",
    "shutdown",
    "subscribe",
    "monitor",
    "flushall",
];

/// All lines of the scripts that plain words make up.
fn lines(modules: &[&str]) -> Vec<Vec<String>> {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("modules-test/scripts");
    let mut all = Vec::new();
    for m in modules {
        let text = std::fs::read_to_string(dir.join(format!("{m}.txt"))).unwrap_or_default();
        let plain = |l: &&str| !l.is_empty() && !l.contains(['"', '\'', '\\', '#', '%', '@']);
        for line in text.lines().filter(plain) {
            let words: Vec<String> = line.split_whitespace().map(str::to_string).collect();
            if !NEVER.iter().any(|n| words[0].eq_ignore_ascii_case(n)) {
                all.push(words);
            }
        }
    }
    all
}

fn hunt(modules: &[&str], more: &[&str]) {
    let commands: usize =
        std::env::var("YIELD_COMMANDS").ok().and_then(|s| s.parse().ok()).unwrap_or(400);
    let dir = own_modules();
    let mut args = vec!["--server-threads", "4", "--module-strict", "yes"];
    args.extend(more);
    let paths: Vec<String> =
        modules.iter().map(|m| dir.join(format!("{m}.so")).display().to_string()).collect();
    paths.iter().for_each(|p| args.extend(["--loadmodule", p]));
    let mut server = Server::start(&args);
    let lines = lines(modules);
    assert!(lines.len() > 20, "the scripts are found: {}", lines.len());
    std::thread::scope(|scope| {
        for t in 0..CLIENTS {
            let (mut c, lines) = (server.client(), &lines);
            scope.spawn(move || {
                let mut dice = t + 1;
                for _ in 0..commands {
                    dice ^= dice << 13;
                    dice ^= dice >> 7;
                    dice ^= dice << 17;
                    let words = &lines[dice as usize % lines.len()];
                    c.cmd(&words.iter().map(String::as_str).collect::<Vec<_>>());
                }
            });
        }
        // Natives on the same and on other keys.
        let mut c = server.client();
        scope.spawn(move || {
            for i in 0..commands * 5 {
                c.cmd(&["SET", ["k", "a", "h", "elsewhere"][i % 4], "1"]);
                c.cmd(&["DEL", ["k", "l", "z", "elsewhere"][i % 4]]);
                c.cmd(&["LPUSH", "l", "x"]);
            }
        });
    });
    let c = &mut server.client();
    let begin = Instant::now();
    while info(c, "clients", "blocked_clients") != "0" {
        assert!(begin.elapsed() < Duration::from_secs(60), "clients stay blocked");
        std::thread::sleep(Duration::from_millis(10));
    }
    c.cmd(&["DEBUG", "RELOAD"]).ok();
    assert_eq!(c.cmd(&["PING"]), Reply::Status("PONG".into()));
    let log = server.log();
    assert!(!log.contains("panicked") && !log.contains("BUG REPORT"), "{log}");
    server.assert_alive();
}

#[test]
fn modules_that_are_interrupted_at_their_calls() {
    hunt(&MODULES, &["--module-yield", "4"]);
}

#[test]
fn events_that_are_interrupted() {
    // These two send every write, or every command, to the module thread.
    hunt(&["events", "filter", "keys", "timer_thread"], &["--module-yield", "2"]);
}
