//! What the server tells about itself, and what can be set while it runs.
mod common;
use common::{fresh_dir, info, Client, Reply, Server};
use std::net::TcpStream;
use std::time::{Duration, Instant};

fn error(r: Reply) -> String {
    match r {
        Reply::Error(text) => text,
        other => panic!("not an error: {other:?}"),
    }
}

fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(20), "{what} does not happen");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn info_has_the_sections_that_are_asked_for() {
    let s = Server::start(&[]);
    let mut c = s.client();
    let headings = |c: &mut Client, args: &[&str]| -> Vec<String> {
        let r = c.cmd(args);
        r.text().lines().filter(|l| l.starts_with("# ")).map(|l| l[2..].to_string()).collect()
    };
    let default = [
        "Server",
        "Clients",
        "Memory",
        "Persistence",
        "Stats",
        "Replication",
        "CPU",
        "Modules",
        "Errorstats",
        "Cluster",
        "Keyspace",
    ];
    assert_eq!(headings(&mut c, &["INFO"]), default);
    assert_eq!(headings(&mut c, &["INFO", "default"]), default);
    assert_eq!(headings(&mut c, &["INFO", "keyspace", "SERVER"]), ["Server", "Keyspace"]);
    assert_eq!(headings(&mut c, &["INFO", "nosuchsection"]), [""; 0]);
    assert!(headings(&mut c, &["INFO", "everything"]).contains(&"Backplane".to_string()));
    let text = c.cmd(&["INFO"]);
    assert!(text.text().starts_with("# Server\r\nredis_version:7.4.1\r\n"));
    c.cmd(&["SET", "k", "v", "EX", "1000"]).ok();
    let line = info(&mut c, "keyspace", "db0");
    assert!(line.starts_with("keys=1,expires=1,avg_ttl=") && line.ends_with(",subexpiry=0"));
}

#[test]
fn commands_and_errors_are_counted() {
    let s = Server::start(&[]);
    let mut c = s.client();
    c.cmd(&["RPUSH", "l", "a"]);
    c.cmd(&["GET", "l"]);
    c.cmd(&["GET"]);
    c.cmd(&["NOSUCH"]);
    let get = info(&mut c, "commandstats", "cmdstat_get");
    assert!(get.starts_with("calls=1,") && get.ends_with("rejected_calls=1,failed_calls=1"));
    assert_eq!(info(&mut c, "errorstats", "errorstat_WRONGTYPE"), "count=1");
    assert_eq!(info(&mut c, "errorstats", "errorstat_ERR"), "count=2");
    assert_eq!(info(&mut c, "stats", "total_error_replies"), "3");
    assert!(info(&mut c, "latencystats", "latency_percentiles_usec_get").starts_with("p50="));
    // A command that waits is counted when its wait is over, once.
    let mut d = s.client();
    d.send(&["BLPOP", "queue", "0"]);
    wait_until("the wait", || info(&mut c, "clients", "blocked_clients") == "1");
    assert!(!c.cmd(&["INFO", "commandstats"]).text().contains("cmdstat_blpop"));
    c.cmd(&["RPUSH", "queue", "x"]);
    assert_eq!(d.read().items().len(), 2);
    assert!(info(&mut c, "commandstats", "cmdstat_blpop").starts_with("calls=1,"));
    c.cmd(&["CONFIG", "RESETSTAT"]).ok();
    assert!(!c.cmd(&["INFO", "all"]).text().contains("cmdstat_blpop"));
}

#[test]
fn directives_change_while_the_server_runs() {
    let dir = fresh_dir("config");
    std::fs::write(
        dir.join("redis.conf"),
        "# mine\nhz 10\nrename-command FLUSHDB \"\"\nrename-command KEYS names\n",
    )
    .unwrap();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_backplane"));
    let port = free_port();
    let mut child = command
        .arg(dir.join("redis.conf"))
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""])
        .current_dir(&dir)
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let mut c = connect(port);
    assert!(error(c.cmd(&["FLUSHDB"])).starts_with("ERR unknown command 'FLUSHDB'"));
    assert!(error(c.cmd(&["KEYS", "*"])).starts_with("ERR unknown command 'KEYS'"));
    assert_eq!(c.cmd(&["NAMES", "*"]), Reply::Array(vec![]));

    c.cmd(&["CONFIG", "SET", "hz", "50", "notify-keyspace-events", "KEA"]).ok();
    let got = c.cmd(&["CONFIG", "GET", "hz"]);
    assert_eq!(got.items()[1].text(), "50");
    assert!(error(c.cmd(&["CONFIG", "SET", "hz", "60", "maxmemory", "many"])).contains("maxmemory"));
    assert_eq!(c.cmd(&["CONFIG", "GET", "hz"]).items()[1].text(), "50");

    // The port moves, and the connection stays.
    let other = free_port();
    c.cmd(&["CONFIG", "SET", "port", &other.to_string()]).ok();
    connect(other).cmd(&["PING"]);
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
    let holder = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let busy = holder.local_addr().unwrap().port();
    assert!(error(c.cmd(&["CONFIG", "SET", "port", &busy.to_string()]))
        .contains("Unable to listen on this port"));
    connect(other).cmd(&["PING"]);

    c.cmd(&["CONFIG", "REWRITE"]).ok();
    let text = std::fs::read_to_string(dir.join("redis.conf")).unwrap();
    for line in ["# mine", "hz 50", "rename-command KEYS names", &format!("port {other}")] {
        assert!(text.lines().any(|l| l == line), "{line} is missing:\n{text}");
    }
    let _ = child.kill();
    let _ = child.wait();
}

fn free_port() -> u16 {
    std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

fn connect(port: u16) -> Client {
    let mut socket = None;
    wait_until("the server's answer", || {
        socket = TcpStream::connect(("127.0.0.1", port)).ok();
        socket.is_some()
    });
    Client::on(socket.unwrap())
}

#[test]
fn slow_log_and_monitor_hide_passwords() {
    let s = Server::start(&["--slowlog-log-slower-than", "0"]);
    let (mut c, mut m) = (s.client(), s.client());
    m.cmd(&["MONITOR"]).ok();
    c.cmd(&["AUTH", "secret"]);
    c.cmd(&["HELLO", "2", "AUTH", "default", "secret"]);
    c.cmd(&["CONFIG", "SET", "masterauth", "secret"]).ok();
    c.cmd(&["SET", "k", &"x".repeat(200)]).ok();
    let many: Vec<String> = (0..40).map(|i| i.to_string()).collect();
    let mut args = vec!["RPUSH", "l"];
    args.extend(many.iter().map(String::as_str));
    c.cmd(&args);
    c.cmd(&["ECHO", "end\n"]);
    let mut shown = String::new();
    while !shown.contains("\"end\\n\"") {
        match m.read() {
            Reply::Status(line) => shown += &line,
            other => panic!("{other:?}"),
        }
    }
    assert!(shown.contains("\"AUTH\" \"(redacted)\""), "{shown}");
    assert!(shown.contains("\"HELLO\" \"2\" \"AUTH\" \"(redacted)\" \"(redacted)\""), "{shown}");
    // Commands of administrators are not shown at all.
    assert!(!shown.contains("secret") && !shown.contains("CONFIG"), "{shown}");
    let log = format!("{:?}", c.cmd(&["SLOWLOG", "GET", "-1"]));
    assert!(!log.contains("secret"), "{log}");
    assert!(
        log.contains("... (72 more bytes)") && log.contains("... (11 more arguments)"),
        "{log}"
    );
    c.cmd(&["SLOWLOG", "RESET"]).ok();
    c.cmd(&["CONFIG", "SET", "slowlog-log-slower-than", "-1"]).ok();
    c.cmd(&["PING"]);
    // The reset itself, which ran while everything was logged.
    assert_eq!(c.cmd(&["SLOWLOG", "LEN"]).int(), 1);
}

#[test]
fn paused_writes_wait_and_reads_do_not() {
    let s = Server::start(&[]);
    let (mut c, mut w) = (s.client(), s.client());
    c.cmd(&["SET", "k", "1"]).ok();
    c.cmd(&["CLIENT", "PAUSE", "100000", "WRITE"]).ok();
    w.send(&["INCR", "k"]);
    wait_until("the wait", || info(&mut c, "clients", "blocked_clients") == "1");
    assert_eq!(c.cmd(&["GET", "k"]).text(), "1");
    c.cmd(&["CLIENT", "UNPAUSE"]).ok();
    assert_eq!(w.read().int(), 2);
    // A pause ends by itself.
    c.cmd(&["CLIENT", "PAUSE", "50"]).ok();
    assert_eq!(c.cmd(&["INCR", "k"]).int(), 3);
}

#[test]
fn clients_can_be_ended() {
    let s = Server::start(&[]);
    let (mut c, mut v) = (s.client(), s.client());
    let id = v.cmd(&["CLIENT", "ID"]).int().to_string();
    v.cmd(&["MULTI"]).ok();
    v.cmd(&["GET", "a"]);
    let line = c.cmd(&["CLIENT", "LIST", "ID", &id]);
    assert!(line.text().contains(" flags=x ") && line.text().contains(" multi=1 "), "{line:?}");
    assert!(line.text().contains(" cmd=get "), "{line:?}");
    assert_eq!(c.cmd(&["CLIENT", "KILL", "ID", &id]).int(), 1);
    assert_eq!(v.rest(), "");
    assert_eq!(c.cmd(&["CLIENT", "KILL", "ID", &id]).int(), 0);
    let me = c.cmd(&["CLIENT", "ID"]).int().to_string();
    assert_eq!(c.cmd(&["CLIENT", "KILL", "ID", &me, "SKIPME", "no"]).int(), 1);
    assert_eq!(c.rest(), "");
}

fn check_eviction(policy: &str, volatile: bool) {
    let s = Server::start(&["--maxmemory-policy", policy]);
    let mut c = s.client();
    let used = |c: &mut Client| info(c, "memory", "used_memory").parse::<u64>().unwrap();
    c.cmd(&["SET", "stays", "here"]).ok();
    let limit = used(&mut c) + (1 << 20);
    c.cmd(&["CONFIG", "SET", "maxmemory", &limit.to_string()]).ok();
    let value = "x".repeat(1000);
    for i in 0..5000 {
        let key = format!("key:{i}");
        match volatile {
            true => c.cmd(&["SET", &key, &value, "EX", "10000"]).ok(),
            false => c.cmd(&["SET", &key, &value]).ok(),
        }
    }
    let evicted = |c: &mut Client| info(c, "stats", "evicted_keys").parse::<i64>().unwrap();
    assert!(evicted(&mut c) > 1000, "{policy}");
    // The cron may evict between the two questions.
    wait_until("each key is there or was evicted", || {
        c.cmd(&["DBSIZE"]).int() + evicted(&mut c) == 5001
    });
    if volatile {
        assert_eq!(c.cmd(&["GET", "stays"]).text(), "here", "{policy}");
    }
    wait_until("room", || used(&mut c) <= limit + 64 * 1024);
}

#[test]
fn keys_are_evicted_by_every_policy() {
    for policy in ["allkeys-lru", "allkeys-lfu", "allkeys-random"] {
        check_eviction(policy, false);
    }
    for policy in ["volatile-lru", "volatile-lfu", "volatile-random", "volatile-ttl"] {
        check_eviction(policy, true);
    }
}

#[test]
fn nothing_to_evict_is_an_error() {
    let s = Server::start(&["--maxmemory-policy", "volatile-lru"]);
    let mut c = s.client();
    c.cmd(&["DEBUG", "POPULATE", "100"]).ok();
    c.cmd(&["CONFIG", "SET", "maxmemory", "1"]).ok();
    let oom = "OOM command not allowed when used memory > 'maxmemory'.";
    assert_eq!(error(c.cmd(&["SET", "a", "b"])), oom);
    assert_eq!(c.cmd(&["GET", "key:1"]).text(), "value:1");
    assert_eq!(c.cmd(&["DEL", "key:1"]).int(), 1);
    c.cmd(&["MULTI"]).ok();
    assert_eq!(error(c.cmd(&["SET", "a", "b"])), oom);
    assert!(error(c.cmd(&["EXEC"])).starts_with("EXECABORT"));
    c.cmd(&["CONFIG", "SET", "maxmemory", "0"]).ok();
    c.cmd(&["SET", "a", "b"]).ok();
}

#[test]
fn a_shutdown_that_saves_is_refused_while_a_script_is_busy() {
    let mut s = Server::start(&["--busy-reply-threshold", "20"]);
    let (mut c, mut other) = (s.client(), s.client());
    c.send(&["EVAL", "while true do end", "0"]);
    let busy =
        "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.";
    wait_until("the script is busy", || other.cmd(&["PING"]) == Reply::Error(busy.into()));
    assert_eq!(error(other.cmd(&["SHUTDOWN"])), busy);
    assert_eq!(error(other.cmd(&["SHUTDOWN", "SAVE"])), busy);
    assert_eq!(error(other.cmd(&["SHUTDOWN", "ABORT"])), "ERR No shutdown in progress.");
    assert_eq!(error(other.cmd(&["SHUTDOWN", "NOSAVE", "SAVE"])), "ERR syntax error");
    other.cmd(&["SCRIPT", "KILL"]).ok();
    assert!(error(c.read()).starts_with("ERR Script killed by user"));
    s.assert_alive();
}
