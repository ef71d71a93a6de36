//! A unit of a module's own thread that yields in its middle is one unit still: for files and for the log.
mod common;
use common::{own_modules, Server};
use std::path::Path;
use std::time::{Duration, Instant};

fn start(args: &[&str]) -> Server {
    let module = own_modules().join("timer_thread.so").display().to_string();
    // It yields from the second millisecond on.
    let more = ["--busy-reply-threshold", "1", "--hz", "100", "--loadmodule", &module];
    Server::start(&[args, &more].concat())
}

#[test]
fn no_save_falls_into_it() {
    let s = start(&["--save", "1 1"]);
    let file = s.dir.join("dump.rdb");
    let mut job = s.client();
    job.send(&["tt.threadyield", "3500", "a", "b"]);
    // Saves are due after two seconds.
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_millis(3300) {
        assert!(!file.exists(), "a save in the middle of the unit:\n{}", s.log());
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(job.read().int(), 3500);
    while !file.exists() {
        assert!(begin.elapsed() < Duration::from_secs(60), "no save comes:\n{}", s.log());
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn log_of(dir: &Path) -> String {
    let bytes = std::fs::read(dir.join("appendonlydir/appendonly.aof.1.incr.aof")).expect("a log");
    let text = String::from_utf8(bytes).expect("plain text");
    let words = text.lines().filter(|l| !l.starts_with(['$', '*']));
    words.collect::<Vec<_>>().join(" ")
}

#[test]
fn its_effects_are_one_transaction() {
    let s = start(&["--appendonly", "yes"]);
    let mut job = s.client();
    // A timer, of another unit, is due meanwhile.
    let mut other = s.client();
    other.cmd(&["tt.timer", "100", "timer"]);
    job.send(&["tt.threadyield", "400", "a", "b"]);
    assert_eq!(job.read().int(), 400);
    let begin = Instant::now();
    while !log_of(&s.dir).contains("timer") {
        assert!(begin.elapsed() < Duration::from_secs(60), "no timer: {}", log_of(&s.dir));
        std::thread::sleep(Duration::from_millis(20));
    }
    let log = log_of(&s.dir);
    // What else happened meanwhile may be in it, too.
    let units: Vec<&str> = log.split("MULTI").filter(|u| u.contains("INCRBY a 1")).collect();
    let unit = units[0].split("EXEC").next().unwrap_or_default();
    assert!(log.contains("MULTI") && unit.contains("INCRBY b 1"), "{log}");
}
