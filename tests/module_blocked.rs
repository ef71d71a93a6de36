//! Blocked clients, threads, timers and forks: the modules `timer_thread` and `forkapi` of modules-test, against what
//! Redis 7.4.1 answered to the same commands.
mod common;
use common::{info, own_modules, Client, Reply, Server};
use std::time::{Duration, Instant};

fn start(module: &str) -> Server {
    let path = own_modules().join(module).display().to_string();
    Server::start(&["--loadmodule", &path])
}

fn bulk(text: &str) -> Reply {
    Reply::Bulk(text.into())
}

fn words(line: &str) -> Vec<&str> {
    line.split(' ').collect()
}

/// Asks again until the reply is as expected: what happens on another thread has no given time.
fn wait_for(c: &mut Client, line: &str, expected: &Reply) {
    let began = Instant::now();
    loop {
        let got = c.cmd(&words(line));
        if got == *expected {
            return;
        }
        assert!(began.elapsed() < Duration::from_secs(20), "{line}: {got:?}, not {expected:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn wait_until_blocked(c: &mut Client, n: u32) {
    let began = Instant::now();
    while info(c, "clients", "blocked_clients") != n.to_string() {
        assert!(began.elapsed() < Duration::from_secs(20), "not {n} clients are blocked");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_pipeline_goes_on_when_its_blocking_command_has_its_reply() {
    let s = start("timer_thread.so");
    let mut c = s.client();
    for line in ["ping", "tt.block 100 x", "echo after", "tt.threadreply 3", "echo end"] {
        c.send(&words(line));
    }
    assert_eq!(c.read(), Reply::Status("PONG".into()));
    assert_eq!(c.read(), bulk("x"));
    assert_eq!(c.read(), bulk("after"));
    assert_eq!(c.read(), Reply::Array((0..3).map(Reply::Int).collect()));
    assert_eq!(c.read(), bulk("end"));
}

#[test]
fn replies_before_a_blocking_command_do_not_wait_for_it() {
    let s = start("timer_thread.so");
    let mut c = s.client();
    c.send(&["ping"]);
    c.send(&["tt.blockforever", "0"]);
    assert_eq!(c.read(), Reply::Status("PONG".into()));
}

#[test]
fn timeout_abort_and_refusal() {
    let s = start("timer_thread.so");
    let mut c = s.client();
    assert_eq!(c.cmd(&["tt.blockforever", "20"]), Reply::Status("timed out".into()));
    assert_eq!(c.cmd(&["tt.abort"]), Reply::Status("aborted".into()));
    assert_eq!(c.cmd(&["tt.blocked", "nokey", "20"]), Reply::Nil);
    c.cmd(&["multi"]);
    c.cmd(&["tt.block", "1", "x"]);
    let refused = "ERR Blocking module command called from transaction";
    assert_eq!(c.cmd(&["exec"]), Reply::Array(vec![Reply::Error(refused.into())]));
}

#[test]
fn keys_wake_their_waiters() {
    let s = start("timer_thread.so");
    let (mut a, mut b, mut c) = (s.client(), s.client(), s.client());
    a.send(&["tt.blocked", "k", "0"]);
    b.send(&["tt.blocked", "k", "0"]);
    wait_until_blocked(&mut c, 2);
    assert_eq!(c.cmd(&["rpush", "k", "1", "2"]), Reply::Int(2));
    assert_eq!((a.read(), b.read()), (Reply::Int(2), Reply::Int(2)));
}

#[test]
fn a_client_that_leaves_while_blocked_is_noticed() {
    let s = start("timer_thread.so");
    let mut c = s.client();
    let mut gone = s.client();
    gone.send(&["tt.blockforever", "0"]);
    wait_until_blocked(&mut c, 1);
    drop(gone);
    // [private data freed, disconnect callbacks]
    wait_for(&mut c, "tt.freed", &Reply::Array(vec![Reply::Int(0), Reply::Int(1)]));
    wait_until_blocked(&mut c, 0);
}

#[test]
fn client_unblock() {
    let s = start("timer_thread.so");
    let (mut a, mut c) = (s.client(), s.client());
    let Reply::Int(id) = a.cmd(&["client", "id"]) else { panic!("no id") };
    let id = id.to_string();
    a.send(&["tt.blockforever", "0"]);
    wait_until_blocked(&mut c, 1);
    assert_eq!(c.cmd(&["client", "unblock", &id]), Reply::Int(1));
    assert_eq!(a.read(), Reply::Status("timed out".into()));
    a.send(&["tt.blockforever", "0"]);
    wait_until_blocked(&mut c, 1);
    assert_eq!(c.cmd(&["client", "unblock", &id, "error"]), Reply::Int(1));
    let text = "UNBLOCKED client unblocked via CLIENT UNBLOCK";
    assert_eq!(a.read(), Reply::Error(text.into()));
}

#[test]
fn threads_and_natives_keep_a_sum() {
    let s = start("timer_thread.so");
    let mut c = s.client();
    c.cmd(&["mset", "a", "1000", "b", "1000"]);
    let (mut t, mut u, mut v) = (s.client(), s.client(), s.client());
    t.send(&["tt.threadtransfer", "300", "a", "b", "1"]);
    u.send(&["tt.threadtransfer", "300", "b", "a", "2"]);
    v.send(&["tt.threadsum", "300", "2000", "a", "b"]);
    for _ in 0..300 {
        let sum: i64 = c.cmd(&["mget", "a", "b"]).items().iter().map(Reply::int).sum();
        assert_eq!(sum, 2000);
    }
    assert_eq!((t.read(), u.read()), (Reply::Int(300), Reply::Int(300)));
    assert_eq!(v.read(), Reply::Int(0));
    assert_eq!(c.cmd(&["mget", "a", "b"]), Reply::Array(vec![bulk("1300"), bulk("700")]));
}

#[test]
fn timers_and_the_event_loop() {
    let s = start("timer_thread.so");
    let mut c = s.client();
    c.cmd(&["tt.timer", "5", "t"]);
    wait_for(&mut c, "get t", &bulk("1"));
    c.cmd(&["tt.chain", "1", "5", "chain"]);
    wait_for(&mut c, "get chain", &bulk("5"));
    c.cmd(&["tt.order", "order"]);
    wait_for(&mut c, "lrange order 0 -1", &Reply::Array(vec![bulk("10"), bulk("20"), bulk("30")]));
    let Reply::Bulk(id) = c.cmd(&["tt.timer", "100000", "far"]) else { panic!("no id") };
    assert_eq!(c.cmd(&["tt.stop", &id]), bulk("far"));
    assert_eq!(c.cmd(&["tt.stop", &id]), Reply::Nil);
    assert_eq!(c.cmd(&["tt.timerinfo", &id]), Reply::Nil);
    c.cmd(&["tt.detached", "1", "d"]);
    wait_for(&mut c, "get d", &bulk("done"));
    c.cmd(&["tt.oneshot", "o"]);
    wait_for(&mut c, "get o", &bulk("1"));
    c.cmd(&["tt.pipe", "text", "p"]);
    wait_for(&mut c, "get p", &bulk("text"));
}

#[test]
fn forked_children() {
    let s = start("forkapi.so");
    let mut c = s.client();
    c.cmd(&["mset", "a", "1", "b", "2", "c", "3"]);
    assert_eq!(c.cmd(&["fork.count", "k"]), Reply::Status("OK".into()));
    wait_for(&mut c, "get k", &bulk("3 0"));
    c.cmd(&["fork.flags"]);
    wait_for(&mut c, "fork.last", &Reply::Array(vec![Reply::Int(1), Reply::Int(0)]));
    assert_eq!(c.cmd(&["fork.sleep", "100000"]), Reply::Status("OK".into()));
    assert_eq!(c.cmd(&["fork.sleep", "1"]), Reply::Error("ERR errno 17".into()));
    assert_eq!(c.cmd(&["fork.kill"]), Reply::Status("OK".into()));
    assert_eq!(c.cmd(&["fork.thread", "100000"]), Reply::Int(4));
}

/// The end of a child is noticed after its module is gone: nobody is told then, and the next child has its place.
#[test]
fn a_module_leaves_while_its_child_runs() {
    let mut s = start("forkapi.so");
    let mut c = s.client();
    assert_eq!(c.cmd(&["fork.sleep", "1000"]), Reply::Status("OK".into()));
    c.cmd(&["MODULE", "UNLOAD", "forkapi"]).ok();
    for _ in 0..1200 {
        if info(&mut c, "persistence", "module_fork_in_progress") == "0" {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(info(&mut c, "persistence", "module_fork_in_progress"), "0");
    s.assert_alive();
}

/// `CLIENT REPLY SKIP` and `OFF` concern the reply of a command that blocks, however that comes about.
#[test]
fn clients_that_want_no_reply_get_none() {
    let s = start("timer_thread.so");
    let mut other = s.client();
    let blocks = [
        (&["tt.block", "20", "text"][..], &[][..]),
        (&["tt.threadreply", "3"], &[]),
        (&["tt.batch", "1", "k"], &[]),
        (&["tt.blockforever", "20"], &[]),
        (&["tt.blockforever", "0"], &["CLIENT", "UNBLOCK", "id"]),
        (&["tt.blockforever", "0"], &["CLIENT", "UNBLOCK", "id", "ERROR"]),
        (&["tt.blocked", "list", "0"], &["RPUSH", "list", "element"]),
        (&["tt.blocked", "other", "20"], &[]),
    ];
    for (block, end) in blocks {
        for mode in ["SKIP", "OFF"] {
            let mut c = s.client();
            let id = c.cmd(&["CLIENT", "ID"]).int().to_string();
            c.send(&["CLIENT", "REPLY", mode]);
            c.send(block);
            if !end.is_empty() {
                wait_until_blocked(&mut other, 1);
                let end: Vec<&str> =
                    end.iter().map(|w| if *w == "id" { id.as_str() } else { w }).collect();
                other.cmd(&end);
            }
            wait_until_blocked(&mut other, 0);
            c.send(&["CLIENT", "REPLY", "ON"]);
            c.send(&["PING"]);
            let replies = [c.read(), c.read()];
            let expected = [Reply::Status("OK".into()), Reply::Status("PONG".into())];
            assert_eq!(replies, expected, "{block:?} {mode}");
            other.cmd(&["DEL", "list"]);
        }
    }
}
