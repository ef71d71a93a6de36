//! `module-strict yes`, `MODULE LOCKS` and the watchdog, with a module that breaks the rules.
mod common;
use common::{info, own_modules, until, Client, Reply, Server};

fn start(more: &[&str]) -> Server {
    let path = own_modules().join("misuse.so").display().to_string();
    let mut args = more.to_vec();
    args.extend(["--loadmodule", &path]);
    Server::start(&args)
}

fn locks(c: &mut Client) -> Vec<(String, Reply)> {
    let reply = c.cmd(&["MODULE", "LOCKS"]);
    reply.items().chunks(2).map(|p| (p[0].text().to_string(), p[1].clone())).collect()
}

fn field(fields: &[(String, Reply)], name: &str) -> Reply {
    let found = fields.iter().find(|f| f.0 == name);
    found.unwrap_or_else(|| panic!("no {name} in {fields:?}")).1.clone()
}

#[test]
fn breaches_and_leaks_are_named() {
    let s = start(&["--module-strict", "yes"]);
    let c = &mut s.client();
    c.cmd(&["misuse.well", "k"]).ok();
    assert_eq!(info(c, "backplane", "module_api_misuses"), "0");
    c.cmd(&["misuse.leak", "k"]).ok();
    c.cmd(&["misuse.thread"]).ok();
    c.cmd(&["misuse.main"]).ok();
    let log = s.log();
    for line in [
        "command 'misuse.leak' of module 'misuse' left behind: 1 open keys, 1 call replies, 0 strings",
        "DbSize was called by module 'misuse' on thread ",
        "GetCommand was called by module 'misuse' on thread ",
    ] {
        assert_eq!(log.matches(line).count(), 1, "{line}\n{log}");
    }
    assert_eq!(log.matches(" without the module lock\n").count(), 1, "{log}");
    assert_eq!(log.matches(" outside of the module thread\n").count(), 1, "{log}");
    assert_eq!(info(c, "backplane", "module_api_misuses"), "3");
    // A second time it is counted and not logged.
    c.cmd(&["misuse.leak", "k"]).ok();
    assert_eq!(info(c, "backplane", "module_api_misuses"), "4");
    assert_eq!(s.log().matches("left behind").count(), 1);
}

#[test]
fn without_strict_mode_nothing_is_said() {
    let s = start(&[]);
    let c = &mut s.client();
    for command in ["misuse.thread", "misuse.main"] {
        c.cmd(&[command]).ok();
    }
    c.cmd(&["misuse.leak", "k"]).ok();
    assert!(!s.log().contains("misuse:"), "{}", s.log());
    assert_eq!(info(c, "backplane", "module_api_misuses"), "0");
}

#[test]
fn a_long_hold_is_seen_while_it_lasts() {
    let s = start(&["--busy-reply-threshold", "300"]);
    let (a, b, c) = (&mut s.client(), &mut s.client(), &mut s.client());
    a.send(&["misuse.hold", "2500"]);
    until("the holder is seen", || {
        let l = locks(b);
        field(&l, "held").int() == 1 && field(&l, "runs").text() == "misuse.hold"
    });
    let l = locks(b);
    assert_eq!(field(&l, "module").text(), "misuse");
    let calls = field(&l, "last-calls");
    let calls: Vec<&str> = calls.items().iter().map(Reply::text).collect();
    assert_eq!(calls[..2], ["StringToLongLong", "GetSelectedDb"]);
    assert!(field(&l, "thread").int() > 0);
    // Others go on; who needs the lock waits.
    b.cmd(&["set", "k", "v"]).ok();
    c.send(&["misuse.well", "k2"]);
    until("the log tells", || s.log().contains("by module 'misuse' (misuse.hold), thread "));
    a.read().ok();
    c.read().ok();
    let l = locks(b);
    assert_eq!(field(&l, "long-holds").int(), 1);
    assert!(field(&l, "longest-held-usec").int() >= 2_500_000);
    // Lists of commands are as on Redis.
    let listed = b.cmd(&["COMMAND", "LIST", "FILTERBY", "PATTERN", "module|*"]);
    assert!(!listed.items().iter().any(|n| n.text() == "module|locks"), "{listed:?}");
}

/// What the report of a crash says, once it is whole.
fn report(s: &Server) -> String {
    let end = "=== REDIS BUG REPORT END.";
    until("the report ends", || s.log().contains(end));
    let log = s.log();
    assert_eq!(log.matches(end).count(), 1, "{log}");
    log
}

fn check_report(how: &str, log: &str, signal: &str, words: &[&str]) {
    assert!(log.contains(&format!("crashed by signal: {signal}\n")), "{how}\n{log}");
    for w in words {
        assert!(log.contains(w), "{how}: {w}\n{log}");
    }
}

#[test]
fn a_crash_names_its_module() {
    let path = own_modules().join("misuse.so").display().to_string();
    let hash = std::process::Command::new("sha256sum").arg(&path).output().expect("coreutils");
    let hash = String::from_utf8_lossy(&hash.stdout)[..64].to_string();
    let (inside, hash) = (format!("In {path} ("), format!("SHA-256 of that file: {hash}\n"));
    let command = "module 'misuse' (misuse.crash)";
    let by_thread = [&inside, "which is module misuse\n", &hash];
    let by_address = [&inside, "which is module misuse\n", &hash, command, " StringPtrLen"];
    let called = [&format!("Called by {path} ("), "which is module misuse\n", &hash, command];
    let mut with_free = called.to_vec();
    with_free.push("of the holder, the latest first: Free StringPtrLen");
    for (how, signal, words) in [
        ("write", "11", &by_address[..]),
        (
            "nil",
            "11",
            &["Module misuse called Nowhere, which this server does not have\n", command],
        ),
        ("abort", "6", &called),
        ("badfree", "11", &with_free),
        ("thread", "11", &by_address),
        ("timer", "11", &[by_thread[0], by_thread[1], by_thread[2], "module 'misuse' (timer)"]),
        (
            "reply",
            "11",
            &[by_thread[0], by_thread[1], by_thread[2], "module 'misuse' (reply callback)"],
        ),
    ] {
        let s = start(&[]);
        let mut c = s.client();
        c.send(&["misuse.crash", how]);
        c.rest();
        check_report(how, &report(&s), signal, words);
    }
    for (how, command, what) in [
        ("event", &["HSET", "h", "f", "v"][..], "keyspace notification"),
        ("flush", &["FLUSHALL"], "server event"),
        ("free", &["DEL", "key"], "type free"),
        ("save", &["SAVE"], "rdb_save"),
        ("usage", &["MEMORY", "USAGE", "key"], "type mem_usage"),
        ("filter", &["GET", "x"], "command filter"),
        ("info", &["INFO", "everything"], "INFO"),
    ] {
        let s = start(&[]);
        let mut c = s.client();
        c.cmd(&["misuse.value", "key"]).ok();
        c.cmd(&["misuse.arm", how]).ok();
        c.send(command);
        assert_eq!(c.rest(), "", "{how}");
        let holder = format!("module 'misuse' ({what})");
        check_report(how, &report(&s), "11", &[&inside, &hash, &holder]);
    }
    // The reports are written before clients are served, too.
    let (code, log) = Server::run_to_end(&["--loadmodule", &path, "crash"]);
    assert_eq!(code, None, "{log}");
    check_report("OnLoad", &log, "11", &[&inside, &hash, "module 'misuse' (OnLoad)"]);
}
