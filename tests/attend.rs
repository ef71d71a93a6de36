//! Connections that the module thread attends to, because they send nothing but module commands: they must not be told
//! from others, whatever comes next on them.
mod common;
use common::{encode, info, own_modules, until, words, Client, Reply, Server};
use std::time::Duration;

fn start(more: &[&str]) -> Server {
    let path = |name: &str| own_modules().join(name).display().to_string();
    let (threads, basic) = (path("timer_thread.so"), path("basic.so"));
    let mut args = vec!["--loadmodule", &threads, "--loadmodule", &basic];
    args.extend(more);
    Server::start(&args)
}

fn attended(s: &Server) -> i64 {
    info(&mut s.client(), "backplane", "attended_clients").parse().unwrap()
}

/// Sends module commands until the connection, and no other, is attended to by the module thread.
fn settle(s: &Server, c: &mut Client) {
    until("the module thread takes the connection", || {
        for _ in 0..100 {
            assert_eq!(
                c.cmd(&["basic.argv", "a"]),
                Reply::Array(vec![bulk("basic.argv"), bulk("a")])
            );
        }
        attended(s) == 1
    });
}

fn bulk(text: &str) -> Reply {
    Reply::Bulk(text.into())
}

#[test]
fn a_native_command_takes_the_connection_home() {
    let s = start(&[]);
    let mut c = s.client();
    for round in 0..3 {
        settle(&s, &mut c);
        c.cmd(&["SET", "key", &round.to_string()]).ok();
        assert_eq!(c.cmd(&["GET", "key"]), bulk(&round.to_string()));
        until("it is at home", || attended(&s) == 0);
    }
}

#[test]
fn a_long_pipeline_in_pieces_keeps_its_order() {
    let s = start(&[]);
    let mut c = s.client();
    settle(&s, &mut c);
    let mut sent = Vec::new();
    for i in 0..3000 {
        let n = i.to_string();
        match i % 100 {
            99 => sent.extend(encode(&["ECHO", &n])),
            50 => sent.extend(encode(&["INCR", "counter"])),
            _ => sent.extend(encode(&["basic.argv", &n])),
        }
    }
    for piece in sent.chunks(997) {
        c.raw(piece);
    }
    for i in 0..3000 {
        let n = i.to_string();
        let expected = match i % 100 {
            99 => bulk(&n),
            50 => Reply::Int(i / 100 + 1),
            _ => Reply::Array(vec![bulk("basic.argv"), bulk(&n)]),
        };
        assert_eq!(c.read(), expected, "reply {i}");
    }
}

#[test]
fn large_requests_and_replies_nobody_reads_yet() {
    let s = start(&[]);
    let mut c = s.client();
    settle(&s, &mut c);
    let text = "x".repeat(300_000);
    for _ in 0..60 {
        c.send(&["basic.argv", &text]);
    }
    for i in 0..60 {
        let reply = c.read();
        assert_eq!(reply.items()[1].text().len(), text.len(), "reply {i}");
    }
    settle(&s, &mut c);
}

#[test]
fn commands_that_block_go_on_at_home() {
    let s = start(&[]);
    let mut c = s.client();
    settle(&s, &mut c);
    assert_eq!(c.cmd(&words("tt.block 20 x")), bulk("x"));
    settle(&s, &mut c);
    for line in ["basic.argv 1", "tt.block 20 y", "basic.argv 2", "ECHO end"] {
        c.send(&words(line));
    }
    assert_eq!(c.read().items()[1], bulk("1"));
    assert_eq!(c.read(), bulk("y"));
    assert_eq!(c.read().items()[1], bulk("2"));
    assert_eq!(c.read(), bulk("end"));
    settle(&s, &mut c);
    c.send(&words("BLPOP list 0"));
    until("it waits", || info(&mut s.client(), "clients", "blocked_clients") == "1");
    assert_eq!(s.client().cmd(&words("RPUSH list x")), Reply::Int(1));
    assert_eq!(c.read(), Reply::Array(vec![bulk("list"), bulk("x")]));
}

#[test]
fn a_client_that_ends_while_a_module_blocks_it_is_gone() {
    let s = start(&[]);
    let mut c = s.client();
    settle(&s, &mut c);
    c.send(&words("tt.blockforever 0"));
    let blocked = || info(&mut s.client(), "clients", "blocked_clients");
    until("it is blocked", || blocked() == "1");
    drop(c);
    until("it is gone", || blocked() == "0");
    let freed = s.client().cmd(&["tt.freed"]);
    assert_eq!(freed.items()[1], Reply::Int(1), "the disconnect callback was called");
}

#[test]
fn transactions_messages_and_kills() {
    let s = start(&[]);
    let mut c = s.client();
    settle(&s, &mut c);
    c.cmd(&["MULTI"]).ok();
    assert_eq!(c.cmd(&["basic.argv", "1"]).text(), "QUEUED");
    assert_eq!(c.cmd(&["SET", "a", "1"]).text(), "QUEUED");
    assert_eq!(c.cmd(&["EXEC"]).items().len(), 2);
    settle(&s, &mut c);
    assert_eq!(c.cmd(&["SUBSCRIBE", "news"]).items()[0], bulk("subscribe"));
    assert_eq!(s.client().cmd(&["PUBLISH", "news", "hello"]), Reply::Int(1));
    assert_eq!(c.read().items()[2], bulk("hello"));

    // Messages for somebody that is attended to: what it read before is told in RESP3.
    let mut c = s.client();
    c.cmd(&["HELLO", "3"]);
    c.cmd(&["CLIENT", "TRACKING", "ON"]).ok();
    c.cmd(&["GET", "a"]);
    for _ in 0..200 {
        c.cmd(&["basic.argv", "a"]);
    }
    s.client().cmd(&["SET", "a", "2"]).ok();
    assert_eq!(c.read().items()[0], bulk("invalidate"));

    let mut c = s.client();
    let id = c.cmd(&["CLIENT", "ID"]).int().to_string();
    settle(&s, &mut c);
    assert_eq!(s.client().cmd(&["CLIENT", "KILL", "ID", &id]), Reply::Int(1));
    assert_eq!(c.rest(), "");
    until("its place is free", || attended(&s) == 0);
    assert!(!s.client().cmd(&["CLIENT", "LIST"]).text().contains(&format!("id={id} ")));
}

#[test]
fn nobody_is_left_behind_a_long_command() {
    let s = start(&[]);
    let (mut c, mut long) = (s.client(), s.client());
    // On a machine that is slow enough the long command may be the first to end: then again.
    until("a native command overtakes", || {
        settle(&s, &mut c);
        long.send(&words("tt.hold 1000"));
        std::thread::sleep(Duration::from_millis(50));
        let early = !long.has_data();
        assert_eq!(c.cmd(&["ECHO", "hello"]), bulk("hello"));
        let overtakes = early && !long.has_data();
        long.read();
        overtakes
    });
}

#[test]
fn a_module_that_yields_serves_them_too() {
    let s = start(&["--busy-reply-threshold", "1"]);
    let (mut c, mut long) = (s.client(), s.client());
    until("the command is seen to be busy", || {
        settle(&s, &mut c);
        long.send(&words("tt.yield 1000"));
        std::thread::sleep(Duration::from_millis(100));
        let reply = c.cmd(&["basic.argv", "a"]);
        long.read();
        matches!(&reply, Reply::Error(e) if e.starts_with("BUSY tt.yield is running"))
    });
    settle(&s, &mut c);
}

#[test]
fn the_log_is_safe_before_a_reply() {
    let s = start(&["--appendonly", "yes", "--appendfsync", "always"]);
    let mut c = s.client();
    for i in 0..300 {
        assert_eq!(c.cmd(&["basic.call", "!", "INCR", "n"]), Reply::Int(i + 1));
    }
    let dir = s.dir.clone();
    let mut s = s;
    s.child.kill().unwrap();
    s.child.wait().unwrap();
    let path = own_modules().join("basic.so").display().to_string();
    let again = Server::start_in(
        dir,
        &["--appendonly", "yes", "--appendfsync", "always", "--loadmodule", &path],
    );
    assert_eq!(again.client().cmd(&["GET", "n"]), bulk("300"));
}

#[test]
fn silent_connections_go_home() {
    let s = start(&[]);
    let mut c = s.client();
    settle(&s, &mut c);
    until("it is at home", || attended(&s) == 0);
    settle(&s, &mut c);
}

/// A client that sends nothing but module commands and is not moved.
fn stays_at_home(s: &Server) -> Client {
    let mut c = s.client();
    for _ in 0..1000 {
        c.cmd(&["basic.argv", "a"]);
    }
    assert_eq!(attended(s), 0);
    c
}

#[test]
fn in_exclusive_mode_they_stay_where_they_are() {
    stays_at_home(&start(&["--module-exclusive", "yes"]));
}

#[test]
fn nobody_moves_where_the_operator_says_so() {
    let s = start(&["--module-attend", "no"]);
    let mut c = stays_at_home(&s);
    // At run time, to and fro. Who is there when it is closed goes with its next request.
    for _ in 0..2 {
        s.client().cmd(&["CONFIG", "SET", "module-attend", "yes"]).ok();
        settle(&s, &mut c);
        s.client().cmd(&["CONFIG", "SET", "module-attend", "no"]).ok();
        until("it is at home", || {
            c.cmd(&["basic.argv", "a"]);
            attended(&s) == 0
        });
    }
}
