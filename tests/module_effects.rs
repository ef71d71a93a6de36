//! What of modules' calls reaches the log, compared with what the reference writes; and `module-exclusive`.
mod common;
use common::{own_modules, Reply, Server};
use std::time::{Duration, Instant};

fn module(name: &str) -> String {
    own_modules().join(format!("{name}.so")).display().to_string()
}

/// The lines of the incremental file, without the times in them.
fn log_of(s: &Server) -> Vec<String> {
    let name = "appendonlydir/appendonly.aof.1.incr.aof";
    let bytes = std::fs::read(s.dir.join(name)).expect("the file with the effects");
    let is_time = |l: &&str| l.len() == 13 && l.bytes().all(|b| b.is_ascii_digit());
    String::from_utf8_lossy(&bytes)
        .lines()
        .filter(|l| !l.starts_with(['$', '*']))
        .filter(|l| !is_time(l))
        .map(str::to_ascii_lowercase)
        .collect()
}

/// Commands of which each shows one rule of what is replicated.
const CALLS: &[&str] = &[
    "basic.replicate a 1",
    "basic.verbatim b 2",
    // Not replicated, with all that it leads to.
    "basic.call - set c 3",
    "basic.call - basic.replicate d 4",
    "basic.call - basic.verbatim e 5",
    "basic.call ! basic.replicate d 4",
    "basic.call ! set c 4",
    "basic.call !A set c 5",
    "basic.call - eval redis.call('set','f','6') 0",
    "basic.call ! eval redis.call('set','f','7') 0",
    // A deletion has to be told whatever found it.
    "debug set-active-expire 0",
    "set g 8 px 1",
    "debug sleep 0.01",
    "basic.call - incr g",
    "set h 9 px 1",
    "debug sleep 0.01",
    "basic.call - get h",
    // A read in which a callback writes is logged with the write.
    "get missing",
    "set i 1",
    "del i",
];

#[test]
fn the_log_is_that_of_the_reference() {
    let (basic, events) = (module("basic"), module("events"));
    let args = [
        "--appendonly",
        "yes",
        "--appendfsync",
        "always",
        "--loadmodule",
        &basic,
        "--loadmodule",
        &events,
        "all",
        "misses",
        "jobs",
    ];
    let logs = [Server::start(&args), Server::reference(&args)].map(|s| {
        let mut c = s.client();
        let replies: Vec<Reply> =
            CALLS.iter().map(|line| c.cmd(&line.split(' ').collect::<Vec<_>>())).collect();
        (replies, log_of(&s))
    });
    for ((line, ours), reference) in CALLS.iter().zip(&logs[0].0).zip(&logs[1].0) {
        assert_eq!(ours, reference, "{line}");
    }
    assert_eq!(logs[0].1, logs[1].1);
}

/// With `module-exclusive yes` every command waits for the command of a module, and is told when that is busy.
#[test]
fn exclusive() {
    let path = module("timer_thread");
    let s = Server::start(&["--module-exclusive", "yes", "--loadmodule", &path]);
    let (mut a, mut b) = (s.client(), s.client());
    let pong = Reply::Status("PONG".into());
    for c in [&mut a, &mut b] {
        assert_eq!(c.cmd(&["ping"]), pong);
    }
    // A busy machine may run the second command first, once or twice.
    common::until("a command waited for the one that has the lock", || {
        a.send(&["tt.hold", "200"]);
        std::thread::sleep(Duration::from_millis(50));
        let asked = Instant::now();
        assert_eq!(b.cmd(&["ping"]), pong);
        let waited = asked.elapsed();
        a.read();
        waited > Duration::from_millis(75)
    });
    assert_eq!(b.cmd(&["config", "set", "busy-reply-threshold", "20"]), Reply::Status("OK".into()));
    a.send(&["tt.yield", "400"]);
    let busy = b.cmd(&["ping"]);
    assert_eq!(busy, Reply::Error("BUSY tt.yield is running".into()));
    a.read();
    assert_eq!(b.cmd(&["config", "set", "module-exclusive", "no"]), Reply::Status("OK".into()));
    a.send(&["tt.hold", "2000"]);
    let before = b.cmd(&["ping"]);
    assert_eq!((before, a.has_data()), (pong, false));
}
