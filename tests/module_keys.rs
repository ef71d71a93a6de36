//! The key API: the modules `keys` and `scan` of modules-test, against what Redis 7.4.1 answered to the same commands.
mod common;
use common::{check, own_modules, Server};
use std::collections::BTreeSet;

fn start() -> Server {
    let dir = own_modules();
    let load = |name: &str| dir.join(name).display().to_string();
    Server::start(&["--loadmodule", &load("keys.so"), "--loadmodule", &load("scan.so")])
}

#[test]
fn each_type_is_made_changed_and_deleted_when_empty() {
    let s = start();
    let c = &mut s.client();
    for (line, expected) in [
        ("key.set s 12", "OK"),
        ("incr s", "13"),
        ("key.get s", "13"),
        ("key.truncate s 1", "OK"),
        ("get s", "1"),
        ("key.lpush l head a", "[0 0]"),
        ("key.lpush l tail c", "[0 0]"),
        ("key.linsert l 1 b", "[0 0]"),
        ("key.lget l -2", "b"),
        ("key.lget l 3", "[-1 33]"),
        ("key.lset s 0 x", "[1 95]"),
        ("key.ldel l 0", "[0 0]"),
        ("key.lpop l tail", "c"),
        ("key.lpop l head", "b"),
        ("exists l", "0"),
        ("key.lpop l head", "[-1 95]"),
        ("key.hset h 0 f 1 g 2", "[0 2]"),
        ("key.hset h 16 f 3 n 4", "[2 0]"),
        ("key.hset h 1 f 5", "[0 2]"),
        ("key.hset h 2 new 5", "[0 2]"),
        ("key.hget h 0 f none", "[0 3 nil]"),
        ("key.hget h 12 g none", "[0 1 0]"),
        ("key.hget s 0 f", "[1 nil]"),
        ("key.hset h 0 f (delete) g (delete)", "[2 0]"),
        ("key.hset h 0 n (delete)", "[1 0]"),
        ("exists h", "0"),
        ("key.zadd z 0 1.5 a", "[0 4]"),
        ("key.zadd z 32 1 a", "[0 16]"),
        ("key.zincr z 0 2 a", "[0 8 3.5]"),
        ("key.zadd z 0 9 b", "[0 4]"),
        ("key.zrange z last 0 9 0 1", "[a 3.5]"),
        ("key.zrem z a", "[0 1]"),
        ("key.zrem z b", "[0 1]"),
        ("exists z", "0"),
        ("key.xadd x 0 1-1 f v", "1-1"),
        ("key.xadd x 0 1-1 f v", "[1 33]"),
        ("key.xadd x 0 2-0 f w g u", "2-0"),
        ("key.xrange x 2 - -", "[[2-0 [f w g u]] [1-1 [f v]]]"),
        ("key.xrange x 1 1-1 -", "[[2-0 [f w g u]]]"),
        ("key.xiterdel x 1", "2"),
        ("key.len x", "0"),
        ("exists x", "1"),
    ] {
        check(c, line, expected);
    }
}

#[test]
fn a_key_open_for_reading_cannot_be_changed() {
    let s = start();
    let c = &mut s.client();
    for (line, expected) in [
        ("key.lpush l head a", "[0 0]"),
        ("key.mode r", "OK"),
        ("key.lpush l head a", "[1 9]"),
        ("key.hset none 0 f v", "[0 22]"),
        ("key.del l", "ERR status 1 errno 0"),
        ("key.lget l 0", "a"),
        ("key.type none", "0"),
    ] {
        check(c, line, expected);
    }
}

#[test]
fn an_expired_key_is_empty_for_a_writer_and_missing_for_a_reader() {
    let s = start();
    let c = &mut s.client();
    check(c, "key.set k v", "OK");
    check(c, "key.expire k 1", "OK");
    std::thread::sleep(std::time::Duration::from_millis(20));
    check(c, "key.open k 1", "nil");
    check(c, "key.open k 2", "0");
    check(c, "key.hset k 0 f v", "[0 2]");
    check(c, "key.ttl k", "-1");
}

#[test]
fn a_write_handle_touches_watchers_and_a_read_handle_does_not() {
    let s = start();
    let (c, other) = (&mut s.client(), &mut s.client());
    for (mode, result) in [("r", "[PONG]"), ("rw", "nil")] {
        check(other, &format!("key.mode {mode}"), "OK");
        check(other, "set k v", "OK");
        check(c, "watch k", "OK");
        check(other, "key.type k", "1");
        check(c, "multi", "OK");
        check(c, "ping", "QUEUED");
        check(c, "exec", result);
    }
}

#[test]
fn a_scan_meets_every_key_and_survives_deletion() {
    let s = start();
    let c = &mut s.client();
    let keys: BTreeSet<String> = (0..3000).map(|i| format!("key:{i}")).collect();
    for k in &keys {
        c.cmd(&["SET", k, "v"]).ok();
    }
    let found: BTreeSet<String> =
        c.cmd(&["scan.keys"]).items().iter().map(|k| k.text().to_string()).collect();
    assert_eq!(found, keys);
    check(c, "scan.restart", "6000");
    check(c, "scan.delete", "3000");
    check(c, "scan.restart", "0");
    for i in 0..1000 {
        c.cmd(&["key.hset", "h", "0", &format!("f{i}"), &i.to_string()]);
        c.cmd(&["key.zadd", "z", "0", "0.1", &format!("m{i}")]);
    }
    for (key, value) in [("h", "7"), ("z", "0.10000000000000001")] {
        let all = c.cmd(&["scan.key", key]);
        assert_eq!(all.items().len(), 2000);
        let name = if key == "h" { "f7" } else { "m7" };
        let at = all.items().iter().position(|i| i.text() == name).expect("the element is there");
        assert_eq!(all.items()[at + 1].text(), value);
    }
    check(c, "scan.errors h", "[2 22 2]");
}
