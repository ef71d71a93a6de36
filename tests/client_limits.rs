//! What clients may make the server keep for them, and how they end when it is too much.
mod common;
use common::{encode, info, until, Client, Reply, Server};
use std::io::{Read, Write};
use std::net::TcpStream;

/// A field of the line of `CLIENT LIST` for the client of this name.
fn field(c: &mut Client, name: &str, field: &str) -> Option<i64> {
    let list = c.cmd(&["CLIENT", "LIST"]);
    let line = list.text().lines().find(|l| l.contains(&format!(" name={name} ")))?;
    let value = line.split(' ').find_map(|f| f.strip_prefix(&format!("{field}=")))?;
    Some(value.parse().unwrap_or_else(|_| panic!("{field} is {value}")))
}

fn named(s: &Server, name: &str) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", s.port)).unwrap();
    stream.write_all(&encode(&["CLIENT", "SETNAME", name])).unwrap();
    let mut ok = [0; 5];
    stream.read_exact(&mut ok).unwrap();
    assert_eq!(&ok, b"+OK\r\n");
    stream
}

#[test]
fn a_long_pipeline_may_be_sent_before_its_replies_are_read() {
    let s = Server::start(&[]);
    let mut c = s.client();
    let value = "v".repeat(10_000);
    c.cmd(&["SET", "k", &value]).ok();
    // More requests than the buffers of both sockets take while nobody reads the replies, 40 MB.
    const N: usize = 4000;
    let filler = "f".repeat(3000);
    for _ in 0..N {
        c.raw(&encode(&["GET", "k"]));
        c.raw(&encode(&["ECHO", &filler]));
    }
    for _ in 0..N {
        assert_eq!(c.read().text().len(), value.len());
        assert_eq!(c.read().text().len(), filler.len());
    }
    assert_eq!(c.cmd(&["PING"]), Reply::Status("PONG".into()));
}

#[test]
fn output_limits_end_clients_that_do_not_read() {
    let s = Server::start(&[]);
    let mut c = s.client();
    c.cmd(&[
        "CONFIG",
        "SET",
        "client-output-buffer-limit",
        "normal 1000000 0 0 pubsub 1000000 0 0",
    ])
    .ok();
    c.cmd(&["SETRANGE", "big", "2000000", "x"]);
    // One reply that is too large: nothing of it is sent.
    let mut r = named(&s, "reader");
    r.write_all(&encode(&["GET", "big"])).unwrap();
    let mut all = Vec::new();
    let _ = r.read_to_end(&mut all);
    assert!(all.is_empty(), "{} bytes came", all.len());
    // Many small ones that nobody reads.
    c.cmd(&["SETRANGE", "small", "50000", "x"]);
    let mut w = named(&s, "writer");
    until("the end of a client that does not read", || {
        let _ = w.write_all(&encode(&["GET", "small"]));
        match field(&mut c, "writer", "omem") {
            Some(n) => {
                assert!(n <= 1_100_000, "{n} bytes wait");
                false
            }
            None => true,
        }
    });
    // Messages.
    let mut sub = named(&s, "sub");
    sub.write_all(&encode(&["SUBSCRIBE", "ch"])).unwrap();
    until("the subscription", || field(&mut c, "sub", "sub") == Some(1));
    let text = "m".repeat(100_000);
    until("the end of a subscriber that does not read", || {
        c.cmd(&["PUBLISH", "ch", &text]);
        field(&mut c, "sub", "omem").is_none()
    });
    assert_eq!(info(&mut c, "stats", "client_output_buffer_limit_disconnections"), "3");
    assert!(s
        .log()
        .contains("scheduled to be closed ASAP for overcoming of output buffer limits."));
}

#[test]
fn a_soft_limit_counts_when_nothing_more_is_sent() {
    let s = Server::start(&[]);
    let mut c = s.client();
    c.cmd(&["CONFIG", "SET", "client-output-buffer-limit", "pubsub 0 500000 1"]).ok();
    let mut sub = named(&s, "sub");
    sub.write_all(&encode(&["SUBSCRIBE", "ch"])).unwrap();
    until("the subscription", || field(&mut c, "sub", "sub") == Some(1));
    let text = "m".repeat(100_000);
    // The system takes more as time goes on, so much more than the limit is left.
    while field(&mut c, "sub", "omem").is_some_and(|n| n < 8_000_000) {
        c.cmd(&["PUBLISH", "ch", &text]);
    }
    until("the end of the subscriber", || field(&mut c, "sub", "omem").is_none());
}

#[test]
fn queries_have_a_limit() {
    let s = Server::start(&["--client-query-buffer-limit", "1mb"]);
    let mut c = s.client();
    let mut w = s.client();
    w.send(&["SET", "k", &"x".repeat(1 << 20)]);
    assert_eq!(w.rest(), "");
    assert_eq!(info(&mut c, "stats", "client_query_buffer_limit_disconnections"), "1");
    assert_eq!(c.cmd(&["EXISTS", "k"]), Reply::Int(0));
    // A transaction counts too.
    let mut m = named(&s, "multi");
    m.write_all(&encode(&["MULTI"])).unwrap();
    let part = "x".repeat(300_000);
    for _ in 0..4 {
        // The connection may be closed already.
        let _ = m.write_all(&encode(&["SET", "k", &part]));
    }
    let _ = m.write_all(&encode(&["EXEC"]));
    until("the end of the transaction's client", || {
        info(&mut c, "stats", "client_query_buffer_limit_disconnections") == "2"
    });
    assert_eq!(c.cmd(&["EXISTS", "k"]), Reply::Int(0));
}

#[test]
fn what_is_not_whole_is_shown_and_given_back_when_idle() {
    let s = Server::start(&[]);
    let mut c = s.client();
    let mut w = named(&s, "half");
    w.write_all(b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1000000\r\nxyz").unwrap();
    until("the request's beginning", || field(&mut c, "half", "qbuf") == Some(3));
    assert_eq!(field(&mut c, "half", "argv-mem"), Some(4));
    let free = field(&mut c, "half", "qbuf-free").unwrap();
    assert!(free >= 1_000_000, "room for {free} bytes");
    assert!(field(&mut c, "half", "tot-mem").unwrap() > 1_000_000);
    until("the return of the buffer", || field(&mut c, "half", "tot-mem").unwrap() < 100_000);
    // It goes on all the same.
    w.write_all(&[&vec![b'x'; 1_000_000 - 3][..], b"\r\n"].concat()).unwrap();
    until("the whole request", || c.cmd(&["STRLEN", "a"]) == Reply::Int(1_000_000));
}

#[test]
fn a_large_request_costs_no_memory_while_small_ones_follow() {
    let s = Server::start(&[]);
    let (mut c, mut w) = (s.client(), s.client());
    w.cmd(&["CLIENT", "SETNAME", "busy"]).ok();
    w.cmd(&["SET", "a", &"x".repeat(1_000_000)]).ok();
    // What a client has is told when it waits for its next request.
    w.cmd(&["CLIENT", "ID"]);
    assert!(field(&mut c, "busy", "qbuf-free").unwrap() >= 1_000_000);
    until("the return of the buffer of a client that is never idle", || {
        assert_eq!(w.cmd(&["STRLEN", "a"]), Reply::Int(1_000_000));
        field(&mut c, "busy", "qbuf-free").unwrap() < 100_000
    });
}

#[test]
fn the_largest_clients_are_evicted_first() {
    let s = Server::start(&[]);
    let mut c = s.client();
    c.cmd(&["CLIENT", "NO-EVICT", "on"]).ok();
    let sizes = [("small", 100_000), ("middle", 1_000_000), ("large", 3_000_000)];
    let streams: Vec<TcpStream> = sizes
        .iter()
        .map(|(name, size)| {
            let mut w = named(&s, name);
            w.write_all(format!("*2\r\n${size}\r\n").as_bytes()).unwrap();
            w.write_all(&vec![b'x'; *size]).unwrap();
            w
        })
        .collect();
    for (name, size) in sizes {
        until(name, || field(&mut c, name, "qbuf") == Some(size as i64));
    }
    let total: u64 = info(&mut c, "memory", "mem_clients_normal").parse().unwrap();
    assert!(total > 4_100_000, "clients take {total} bytes");
    c.cmd(&["CONFIG", "SET", "maxmemory-clients", "2mb"]).ok();
    assert_eq!(field(&mut c, "large", "qbuf"), None);
    assert!(field(&mut c, "middle", "qbuf").is_some() && field(&mut c, "small", "qbuf").is_some());
    c.cmd(&["CONFIG", "SET", "maxmemory-clients", "500kb"]).ok();
    assert_eq!(field(&mut c, "middle", "qbuf"), None);
    assert!(field(&mut c, "small", "qbuf").is_some());
    assert_eq!(info(&mut c, "stats", "evicted_clients"), "2");
    assert!(s.log().contains("Evicting client: id="));
    drop(streams);
    until("the end of all", || field(&mut c, "small", "qbuf").is_none());
    let left: u64 = info(&mut c, "memory", "mem_clients_normal").parse().unwrap();
    assert!(left < 10_000, "{left} bytes are counted for one client");
}

#[test]
fn keys_go_when_clients_take_the_memory() {
    let s = Server::start(&["--maxmemory-policy", "allkeys-lru"]);
    let mut c = s.client();
    for i in 0..50 {
        c.cmd(&["SETRANGE", &format!("k{i}"), "100000", "x"]);
    }
    let used: u64 = info(&mut c, "memory", "used_memory").parse().unwrap();
    c.cmd(&["CONFIG", "SET", "maxmemory", &(used + 1_000_000).to_string()]).ok();
    assert_eq!(c.cmd(&["DBSIZE"]), Reply::Int(50));
    let mut r = named(&s, "reader");
    until("the eviction of keys", || {
        let _ = r.write_all(&encode(&["GET", "k7"]));
        c.cmd(&["DBSIZE"]).int() < 50
    });
    assert_ne!(info(&mut c, "stats", "evicted_keys"), "0");
}

#[test]
fn a_small_margin_above_an_empty_server_is_usable() {
    // What the server itself needs for its first keys must not use it up.
    let s = Server::start(&["--maxmemory-policy", "allkeys-random"]);
    let mut c = s.client();
    let used: u64 = info(&mut c, "memory", "used_memory").parse().unwrap();
    c.cmd(&["CONFIG", "SET", "maxmemory", &(used + 100_000).to_string()]).ok();
    for i in 0..1000 {
        assert_eq!(c.cmd(&["HSET", &format!("doc{i}"), "test", "foo"]), Reply::Int(1), "at {i}");
    }
    assert!(c.cmd(&["DBSIZE"]).int() > 50);
}

#[test]
fn replies_that_are_off_stay_off() {
    let s = Server::start(&[]);
    let mut c = s.client();
    c.send(&["CLIENT", "REPLY", "OFF"]);
    c.send(&["SET", "a", "1"]);
    c.send(&["NOSUCH"]);
    c.send(&["CLIENT", "REPLY", "ON"]);
    assert_eq!(c.read(), Reply::Status("OK".into()));
    c.send(&["CLIENT", "REPLY", "SKIP"]);
    c.send(&["GET", "a"]);
    assert_eq!(c.cmd(&["GET", "a"]), Reply::Bulk("1".into()));
}

#[test]
fn a_paused_server_lets_reading_scripts_run_by_their_names() {
    let s = Server::start(&[]);
    let (mut c, mut w) = (s.client(), s.client());
    let reads = c.cmd(&["SCRIPT", "LOAD", "#!lua flags=no-writes\nreturn 2"]);
    let writes = c.cmd(&["SCRIPT", "LOAD", "return redis.call('set', KEYS[1], '1')"]);
    c.cmd(&[
        "FUNCTION",
        "LOAD",
        "#!lua name=f\nredis.register_function{function_name='f', callback=function() return 3 end, \
         flags={'no-writes'}}",
    ]);
    c.cmd(&["CLIENT", "PAUSE", "100000", "WRITE"]).ok();
    assert_eq!(c.cmd(&["EVALSHA", reads.text(), "0"]), Reply::Int(2));
    assert_eq!(c.cmd(&["FCALL", "f", "0"]), Reply::Int(3));
    w.send(&["EVALSHA", writes.text(), "1", "k"]);
    until("the wait of a writing script", || info(&mut c, "clients", "blocked_clients") == "1");
    assert_eq!(c.cmd(&["EXISTS", "k"]), Reply::Int(0));
    c.cmd(&["CLIENT", "UNPAUSE"]).ok();
    assert_eq!(w.read(), Reply::Status("OK".into()));
    assert_eq!(c.cmd(&["EXISTS", "k"]), Reply::Int(1));
}
