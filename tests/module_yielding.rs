//! A unit that yields in its middle is one unit still: for files, for the log, and for what is acknowledged.
mod common;
use common::{own_modules, Client, Reply, Server};
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

/// Waits until a job has begun to yield.
fn wait_for_busy(c: &mut Client) {
    common::until("the job yields", || match c.cmd(&["tt.freed"]) {
        Reply::Error(text) => {
            assert_eq!(text, "BUSY tt.threadyield is running");
            true
        }
        _ => false,
    });
}

/// Both kinds of jobs: on the module thread, and in a thread of the module's own.
const JOBS: [&str; 2] = ["tt.yieldbetween", "tt.threadyield"];

#[test]
fn what_others_write_meanwhile_is_in_the_log_when_it_is_acknowledged() {
    for policy in ["always", "everysec"] {
        for job_name in JOBS {
            let log = ["--appendonly", "yes", "--appendfsync", policy];
            let s = start(&[&log[..], &["--module-attend", "yes"]].concat());
            let (mut job, mut c) = (s.client(), s.client());
            let mut look = s.client();
            common::until("the module thread attends to it", || {
                c.cmd(&["tt.busycall", "GET", "a"]);
                common::info(&mut look, "backplane", "attended_clients") == "1"
            });
            let mut waiter = s.client();
            waiter.send(&["BLPOP", "list", "0"]);
            let blocked = |c: &mut Client| common::info(c, "clients", "blocked_clients");
            common::until("it waits", || blocked(&mut look) == "1");
            job.send(&[job_name, "600", "a", "b"]);
            wait_for_busy(&mut look);
            // Who only reads is answered at once.
            assert_eq!(c.cmd(&["tt.busycall", "GET", "a"]).text(), "1", "{job_name}");
            assert!(!job.has_data(), "{job_name}: the job is over already");
            let mut second = s.client();
            second.send(&["tt.busycall", "RPUSH", "list", "element"]);
            let mut third = s.client();
            if job_name == "tt.threadyield" {
                // A thread of the module's gets the lock in between.
                third.send(&["tt.batch", "1", "batched"]);
            }
            // The first of the two acknowledges, and the second blocks for some time.
            let mut fourth = s.client();
            let requests = [&["tt.busycall", "INCR", "early"][..], &["tt.batch", "1", "late"]];
            fourth.raw(&requests.map(common::encode).concat());
            assert_eq!(c.cmd(&["tt.busycall", "INCR", "mine"]).int(), 1);
            assert!(log_of(&s.dir).contains("mine"), "{policy} {job_name}: {}", log_of(&s.dir));
            assert_eq!(fourth.read().int(), 1);
            assert!(log_of(&s.dir).contains("early"), "{policy} {job_name}: {}", log_of(&s.dir));
            assert_eq!(fourth.read().int(), 1);
            assert!(log_of(&s.dir).contains("late"), "{policy} {job_name}: {}", log_of(&s.dir));
            assert_eq!(waiter.read().items()[1].text(), "element");
            assert!(
                log_of(&s.dir).contains("LPOP list"),
                "{policy} {job_name}: {}",
                log_of(&s.dir)
            );
            assert_eq!(second.read().int(), 1);
            if job_name == "tt.threadyield" {
                assert_eq!(third.read().int(), 1);
                let log = log_of(&s.dir);
                assert!(log.contains("batched"), "{policy} {job_name}: {log}");
            }
            assert_eq!(job.read().int(), 600);
            assert_eq!(c.cmd(&["WAITAOF", "1", "0", "0"]).items()[0].int(), 1);
        }
    }
}

/// A shutdown that is asked for in the middle of a unit begins behind it.
#[test]
fn a_shutdown_waits_for_its_end() {
    for job_name in JOBS {
        let mut s = start(&["--appendonly", "yes", "--save", "3600 1"]);
        let (mut job, mut c) = (s.client(), s.client());
        job.send(&[job_name, "600", "a", "b"]);
        wait_for_busy(&mut c);
        let busy = Reply::Error("BUSY tt.threadyield is running".into());
        assert_eq!(c.cmd(&["SHUTDOWN"]), busy);
        assert_eq!(c.cmd(&["SHUTDOWN", "SAVE"]), busy);
        // SAFETY: layout: a plain system call; the child has not been waited for.
        unsafe { libc::kill(s.child.id() as i32, libc::SIGTERM) };
        assert_eq!(s.child.wait().expect("it ends").code(), Some(0), "{job_name}");
        let log = log_of(&s.dir);
        assert!(log.contains("INCRBY a 1") && log.contains("INCRBY b 1"), "{job_name}: {log}");
        let s = Server::start_in(s.dir.clone(), &["--appendonly", "no"]);
        let both = s.client().cmd(&["MGET", "a", "b"]);
        let both: Vec<_> = both.items().iter().map(|v| v.text()).collect();
        assert_eq!(both, ["1", "1"], "{job_name}");
    }
}

#[test]
fn a_shutdown_without_a_save_does_not_wait() {
    for job_name in JOBS {
        let mut s = start(&["--appendonly", "yes"]);
        let (mut job, mut c) = (s.client(), s.client());
        job.send(&[job_name, "3600000", "a", "b"]);
        wait_for_busy(&mut c);
        c.send(&["SHUTDOWN", "NOSAVE"]);
        assert_eq!(s.child.wait().expect("it ends").code(), Some(0), "{job_name}");
        assert_eq!(log_of(&s.dir), "", "{job_name}");
    }
}

/// The end of the unit ends the refusals, whatever context they were asked for with.
#[test]
fn nobody_is_refused_when_it_is_over() {
    let s = start(&[]);
    let (mut job, mut c) = (s.client(), s.client());
    job.send(&["tt.otheryield", "200"]);
    wait_for_busy(&mut c);
    assert_eq!(job.read().int(), 200);
    assert!(matches!(c.cmd(&["tt.freed"]), Reply::Array(_)));
}
