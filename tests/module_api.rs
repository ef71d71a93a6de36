//! The functions of the module API that the other tests' modules do not call: `apicheck`, `blockapi`, `typeapi` and
//! `aclapi` of modules-test assert what each promises, on our server and on the reference.
mod common;
use common::{check_all, own_modules, show, until, words, Client, Reply, Server};

/// Starts both servers with these modules, ours first.
fn both(modules: &[&str], more: &[&str]) -> [Server; 2] {
    let dir = own_modules();
    let paths: Vec<String> =
        modules.iter().map(|m| dir.join(format!("{m}.so")).display().to_string()).collect();
    let mut args: Vec<&str> = more.to_vec();
    for p in &paths {
        args.extend(["--loadmodule", p]);
    }
    [Server::start(&args), Server::reference(&args)]
}

#[test]
fn each_function_keeps_its_promise() {
    for s in both(&["apicheck"], &[]) {
        let c = &mut s.client();
        check_all(
            c,
            &[
                ("check.time", "OK"),
                ("check.random", "OK"),
                ("check.masks", "OK"),
                ("check.context", "OK"),
                ("check.cluster", "OK"),
                ("check.slots", "OK"),
                ("check.names", "OK"),
                ("check.dict", "OK"),
                ("check.keys", "OK"),
                ("check.publish", "OK"),
                ("check.attributes", "OK"),
                ("command getkeys check.positions a b c", "[a b c]"),
                (
                    "command getkeysandflags check.positions a b",
                    "[[a [RW access update]] [b [RO]]]",
                ),
                ("acl setuser chan on nopass +@all resetchannels &ok* ~*", "OK"),
                ("acl dryrun chan check.channels ok1", "OK"),
                (
                    "acl dryrun chan check.channels other",
                    "User chan has no permissions to access the 'other' channel",
                ),
            ],
        );
    }
}

/// Redis 7.4.1 crashes on the one and never finds an element in the other.
#[test]
fn functions_that_fail_on_the_reference() {
    let path = own_modules().join("apicheck.so").display().to_string();
    let s = Server::start(&["--loadmodule", &path]);
    check_all(&mut s.client(), &[("check.node", "OK"), ("check.pairs", "OK")]);
}

#[test]
fn an_assertion_ends_the_server_and_says_which() {
    for s in both(&["apicheck"], &[]) {
        let mut c = s.client();
        c.send(&["check.false"]);
        assert_eq!(c.rest(), "");
        until("the assertion in the log", || {
            let log = s.log();
            log.contains("ASSERTION FAILED") && log.contains("apicheck.c:1 'truth' is not true")
        });
    }
}

#[test]
fn users_of_modules() {
    for s in both(&["aclapi"], &[]) {
        let c = &mut s.client();
        check_all(
            c,
            &[
                ("users.checks", "OK"),
                ("acl setuser named on nopass +get ~k* &c*", "OK"),
                ("users.named named", "OK"),
                ("users.log named", "OK"),
                ("users.call set mine1 x", "OK"),
                ("users.call get mine1", "x"),
                ("users.call get other", "NOPERM No permissions to access a key"),
                (
                    "users.call del mine1",
                    "NOPERM User caller has no permissions to run the 'del' command",
                ),
                ("users.become", "OK"),
                ("acl whoami", "member"),
                ("users.changed", "0"),
                ("auth default x", "OK"),
                ("users.changed", "1"),
                ("auth module-x x", "OK"),
                ("acl whoami", "member"),
                ("auth default x", "OK"),
                ("auth module-x y", "ERR ERR not that word"),
                ("auth module-slow slow", "OK"),
                ("acl whoami", "member"),
                ("auth module-slow nope", "ERR ERR not that word"),
                ("config set slowlog-log-slower-than 0", "OK"),
                ("users.redact a b", "OK"),
            ],
        );
        let log = show(&c.cmd(&words("slowlog get 1")));
        assert!(log.contains("[users.redact a (redacted)]"), "{log}");
        let log = show(&c.cmd(&words("acl log 10")));
        for entry in
            ["channel context module object gate username named", "object door username visitor"]
        {
            assert!(log.contains(entry), "{log}");
        }
        check_all(c, &[("users.become.named named", "OK"), ("get k", "nil")]);
        assert!(show(&c.cmd(&["set", "k", "v"])).starts_with("NOPERM"));
        let mut c = s.client();
        check_all(&mut c, &[("users.become", "OK")]);
        c.send(&["users.leave"]);
        assert_eq!(c.rest().trim_end(), "$-1", "the connection ends behind the reply");
        check_all(&mut s.client(), &[("users.changed", "2")]);
    }
}

#[test]
fn clients_that_wait_for_keys() {
    for s in both(&["blockapi"], &[]) {
        let (a, b) = (&mut s.client(), &mut s.client());
        let wait = |a: &mut Client, b: &mut Client, line: &str| {
            a.send(&words(line));
            until("the client is blocked", || common::info(b, "clients", "blocked_clients") == "1");
        };
        // A list under the key ends the wait; another type and a further element do not.
        wait(a, b, "block.key k");
        check_all(b, &[("zadd k 1 m", "1")]);
        check_all(b, &[("rename k elsewhere", "OK"), ("lpush k one two", "2")]);
        // The end of the key came first.
        assert_eq!(show(&a.read()), "gone");
        check_all(b, &[("del k", "1")]);
        wait(a, b, "block.key k");
        check_all(b, &[("lpush k one two", "2")]);
        assert_eq!(show(&a.read()), "two");
        // A key that is there is looked at when a module says so.
        wait(a, b, "block.key k");
        check_all(b, &[("lpush k three", "2"), ("ping", "PONG"), ("llen k", "2")]);
        check_all(b, &[("block.signal k", "OK")]);
        assert_eq!(show(&a.read()), "three");
        wait(a, b, "block.key k");
        check_all(b, &[("flushall", "OK")]);
        assert_eq!(show(&a.read()), "gone");
        check_all(a, &[("block.data", "OK"), ("block.freed", "[0 0]")]);
        let mut c = s.client();
        wait(&mut c, b, "block.gone");
        drop(c);
        until("its data is freed", || show(&b.cmd(&["block.freed"])) == "[1 1]");
    }
}

#[test]
fn promises_of_native_commands() {
    for s in both(&["blockapi"], &[]) {
        let (a, b) = (&mut s.client(), &mut s.client());
        check_all(a, &[("lpush l x", "1"), ("block.call blpop l 0", "[l x]")]);
        let wait = |a: &mut Client, b: &mut Client, line: &str| {
            a.send(&words(line));
            until("the client is blocked", || common::info(b, "clients", "blocked_clients") == "1");
        };
        for (blocking, change, reply, left) in [
            ("block.call blpop l 0", "rpush l y z", "[l y]", "llen l"),
            ("block.call blmove l to left right 0", "rpush l v", "z", "llen l"),
            ("block.call bzpopmin zs 0", "zadd zs 2 b 1 a", "[zs a 1]", "zcard zs"),
        ] {
            if blocking.contains("blmove") {
                // z is still there, so nothing blocks.
                check_all(a, &[(blocking, reply), (change, "1")]);
                continue;
            }
            wait(a, b, blocking);
            b.cmd(&words(change));
            assert_eq!(show(&a.read()), reply);
            assert_eq!(show(&b.cmd(&words(left))), "1");
        }
        // In a transaction, nested, with a timeout, given up.
        check_all(b, &[("del l", "1")]);
        wait(a, b, "block.call block.call block.call blpop l 0");
        check_all(b, &[("multi", "OK"), ("rpush l 1", "QUEUED"), ("rpush l 2", "QUEUED")]);
        check_all(b, &[("exec", "[1 2]")]);
        assert_eq!(show(&a.read()), "[l 1]");
        check_all(b, &[("del l", "1")]);
        check_all(a, &[("block.call blpop l 0.01", "nil"), ("block.abort blpop l 0", "aborted")]);
        check_all(b, &[("rpush l kept", "1"), ("llen l", "1")]);
        a.send(&words("block.call xread block 0 streams st $"));
        until("the client is blocked", || common::info(b, "clients", "blocked_clients") == "1");
        b.cmd(&words("xadd st 1-1 f v"));
        assert_eq!(show(&a.read()), "[[st [[1-1 [f v]]]]]");
    }
}

#[test]
fn io_contexts_and_strings_of_types() {
    for s in both(&["typeapi"], &[]) {
        let c = &mut s.client();
        check_all(
            c,
            &[
                ("type.make t 10", "OK"),
                ("type.sum t", "45"),
                ("type.roundtrip t", "OK"),
                ("select 3", "OK"),
                ("type.make u 5", "OK"),
                ("debug reload", "OK"),
                ("type.sum u", "10"),
                ("type.seen", "[u 3 u 3]"),
            ],
        );
    }
}

#[test]
fn values_and_own_memory_are_defragmented() {
    // Not on the reference: its runs without steps hand out a key's name that is no string.
    let path = own_modules().join("typeapi.so").display().to_string();
    for s in [Server::start(&["--hz", "100", "--loadmodule", &path])] {
        let c = &mut s.client();
        // Every other value goes, so that the rest lies in half-empty slabs.
        for i in 0..40 {
            c.cmd(&["type.make", &format!("k{i}"), "200"]);
        }
        check_all(c, &[("type.make big 3000", "OK")]);
        for i in (0..40).step_by(2) {
            c.cmd(&["del", &format!("k{i}")]);
        }
        for line in [
            "config set active-defrag-ignore-bytes 1",
            "config set active-defrag-threshold-lower 0",
            "config set active-defrag-cycle-min 50",
            "config set activedefrag yes",
        ] {
            check_all(c, &[(line, "OK")]);
        }
        let figures = |c: &mut Client| -> Vec<i64> {
            c.cmd(&["type.defrag"]).items().iter().map(Reply::int).collect()
        };
        until("all three callbacks ran, and something was moved", || {
            let f = figures(c);
            f[0] >= 20 && f[1] >= 6 && f[2] >= 1 && f[3] > 0
        });
        assert_eq!(figures(c)[4], 0, "complaints of the callbacks");
        check_all(c, &[("config set activedefrag no", "OK")]);
        for i in (1..40).step_by(2) {
            assert_eq!(show(&c.cmd(&["type.sum", &format!("k{i}")])), "19900");
        }
        check_all(c, &[("type.sum big", "4498500")]);
        assert_ne!(common::info(c, "stats", "active_defrag_hits"), "0");
    }
}
