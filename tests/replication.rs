//! Replication between two of our servers, the stream as a replica sees it, and a cluster of one node.
mod common;
use common::{digest, info, until, Client, Reply, Server};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

fn follow(replica: &mut Client, primary: &Server) {
    replica.cmd(&["REPLICAOF", "127.0.0.1", &primary.port.to_string()]).ok();
    until("the link is up", || info(replica, "replication", "master_link_status") == "up");
}

/// Both have the same data when the replica has executed all that the primary was told.
fn same(primary: &mut Client, replica: &mut Client) {
    assert_eq!(primary.cmd(&["WAIT", "1", "60000"]), Reply::Int(1));
    assert_eq!(digest(primary), digest(replica));
}

#[test]
fn a_replica_follows_and_takes_over() {
    let (primary, replica) = (Server::start(&[]), Server::start(&[]));
    let (mut p, mut r) = (primary.client(), replica.client());
    r.cmd(&["SET", "stale", "1"]).ok();
    p.cmd(&[
        "FUNCTION",
        "LOAD",
        "#!lua name=lib\nredis.register_function('f', function() return 1 end)",
    ]);
    for i in 0..500 {
        let n = i.to_string();
        p.cmd(&["SET", &format!("key:{i}"), &n]).ok();
        p.cmd(&["RPUSH", "list", &n]);
    }
    follow(&mut r, &primary);
    assert_eq!(r.cmd(&["GET", "stale"]), Reply::Nil);
    assert_eq!(
        r.cmd(&["FCALL_RO", "f", "0"]).text(),
        "READONLY You can't write against a read only replica."
    );
    same(&mut p, &mut r);

    // What is random, relative or in another database arrives as what it did.
    p.cmd(&["SADD", "set", "a", "b", "c", "d"]);
    p.cmd(&["SPOP", "set", "2"]);
    p.cmd(&["SET", "volatile", "1", "EX", "1000"]).ok();
    p.cmd(&["INCRBYFLOAT", "float", "0.1"]);
    p.cmd(&["XADD", "stream", "*", "f", "v"]);
    p.cmd(&[
        "EVAL",
        "redis.call('INCR', KEYS[1]) redis.call('LPUSH', KEYS[2], 'x')",
        "2",
        "n",
        "l",
    ]);
    p.cmd(&["SELECT", "3"]).ok();
    p.cmd(&["SET", "elsewhere", "1"]).ok();
    p.cmd(&["SELECT", "0"]).ok();
    same(&mut p, &mut r);
    assert_eq!(p.cmd(&["PEXPIRETIME", "volatile"]), r.cmd(&["PEXPIRETIME", "volatile"]));

    let refused = r.cmd(&["SET", "k", "v"]);
    assert_eq!(refused.text(), "READONLY You can't write against a read only replica.");
    assert_eq!(r.cmd(&["ROLE"]).items()[3].text(), "connected");
    let offset = |c: &mut Client| info(c, "replication", "master_repl_offset");
    assert_eq!(offset(&mut p), offset(&mut r));

    r.cmd(&["REPLICAOF", "NO", "ONE"]).ok();
    r.cmd(&["SET", "k", "v"]).ok();
    assert_eq!(info(&mut r, "replication", "role"), "master");
    until("the primary sees it go", || info(&mut p, "replication", "connected_slaves") == "0");
}

#[test]
fn a_replica_that_was_away_gets_what_it_missed() {
    let (primary, replica) = (Server::start(&[]), Server::start(&[]));
    let (mut p, mut r) = (primary.client(), replica.client());
    follow(&mut r, &primary);
    p.cmd(&["SET", "a", "1"]).ok();
    same(&mut p, &mut r);
    p.cmd(&["CLIENT", "KILL", "TYPE", "replica"]);
    p.cmd(&["SET", "b", "2"]).ok();
    until("it is back", || info(&mut p, "replication", "connected_slaves") == "1");
    same(&mut p, &mut r);
    assert_eq!(info(&mut p, "stats", "sync_full"), "1");
    assert_eq!(info(&mut p, "stats", "sync_partial_ok"), "1");
}

#[test]
fn a_second_replica_follows_the_first() {
    let all = [Server::start(&[]), Server::start(&[]), Server::start(&[])];
    let [mut a, mut b, mut c] = all.each_ref().map(Server::client);
    a.cmd(&["SET", "before", "1"]).ok();
    follow(&mut b, &all[0]);
    follow(&mut c, &all[1]);
    for i in 0..200 {
        a.cmd(&["INCRBY", "n", &i.to_string()]);
    }
    same(&mut a, &mut b);
    until("the second has it too", || c.cmd(&["GET", "n"]) == a.cmd(&["GET", "n"]));
    assert_eq!(digest(&mut a), digest(&mut c));
}

#[test]
fn too_few_replicas_and_old_data_are_refused() {
    let (primary, replica) = (Server::start(&[]), Server::start(&[]));
    let (mut p, mut r) = (primary.client(), replica.client());
    p.cmd(&["CONFIG", "SET", "min-replicas-to-write", "1"]).ok();
    assert_eq!(p.cmd(&["SET", "k", "v"]).text(), "NOREPLICAS Not enough good replicas to write.");
    follow(&mut r, &primary);
    until("it counts", || p.cmd(&["SET", "k", "v"]) == Reply::Status("OK".into()));
    r.cmd(&["CONFIG", "SET", "replica-serve-stale-data", "no"]).ok();
    assert_eq!(p.cmd(&["WAIT", "1", "60000"]), Reply::Int(1));
    assert_eq!(r.cmd(&["GET", "k"]).text(), "v");
    r.cmd(&["REPLICAOF", "127.0.0.1", "1"]).ok();
    assert_eq!(
        r.cmd(&["GET", "k"]).text(),
        "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'."
    );
}

/// The stream, as somebody sees it who says `SYNC`.
struct Stream(BufReader<TcpStream>);

impl Stream {
    fn attach(server: &Server) -> Stream {
        let mut stream = Stream::ask(server);
        assert!(stream.snapshot().starts_with(b"REDIS0012"));
        stream
    }

    fn ask(server: &Server) -> Stream {
        let mut s = TcpStream::connect(("127.0.0.1", server.port)).expect("the server accepts");
        s.write_all(b"SYNC\r\n").unwrap();
        Stream(BufReader::new(s))
    }

    fn snapshot(&mut self) -> Vec<u8> {
        let head = loop {
            // Empty lines are signs of life.
            let line = self.line();
            if !line.is_empty() {
                break line;
            }
        };
        let mut snapshot = vec![0; head[1..].parse().expect("a length")];
        self.0.read_exact(&mut snapshot).unwrap();
        snapshot
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line.trim_end().to_string()
    }

    fn command(&mut self) -> String {
        let n: usize = self.line()[1..].parse().expect("a count");
        let words: Vec<String> = (0..n)
            .map(|_| {
                let len: usize = self.line()[1..].parse().expect("a length");
                let mut word = vec![0; len + 2];
                self.0.read_exact(&mut word).unwrap();
                String::from_utf8_lossy(&word[..len]).into_owned()
            })
            .collect();
        words.join(" ")
    }
}

#[test]
fn the_stream_is_what_redis_sends() {
    let server = Server::start(&[]);
    let mut c = server.client();
    let mut s = Stream::attach(&server);
    c.cmd(&["SET", "a", "1"]).ok();
    c.cmd(&["GET", "a"]);
    c.cmd(&["MULTI"]).ok();
    c.cmd(&["INCR", "a"]);
    c.cmd(&["SELECT", "1"]);
    c.cmd(&["GETSET", "b", "2"]);
    c.cmd(&["EXEC"]);
    c.cmd(&["MULTI"]).ok();
    c.cmd(&["DEL", "missing"]);
    c.cmd(&["EXEC"]);
    c.cmd(&["PUBLISH", "channel", "message"]);
    c.cmd(&["EVAL", "redis.call('SET', KEYS[1], 'x') redis.call('DEL', KEYS[1])", "1", "s"]);
    let expected = [
        "SELECT 0",
        "SET a 1",
        "MULTI",
        "INCR a",
        "SELECT 1",
        "SET b 2",
        "EXEC",
        "PUBLISH channel message",
        "MULTI",
        "SET s x",
        "DEL s",
        "EXEC",
    ];
    for e in expected {
        assert_eq!(s.command(), e);
    }
}

#[test]
fn writers_go_on_while_replicas_wait_for_their_snapshot() {
    let primary = Server::start(&["--rdb-key-save-delay", "5000"]);
    let mut p = primary.client();
    for i in 0..2000 {
        p.send(&["SET", &format!("key:{i}"), "old"]);
    }
    (0..2000).for_each(|_| p.read().ok());
    let saves = |p: &mut Client| info(p, "persistence", "rdb_bgsave_in_progress") == "1";
    let mut first = Stream::ask(&primary);
    until("the snapshot begins", || saves(&mut p));
    for i in 0..200 {
        p.cmd(&["SET", &format!("key:{i}"), "new"]).ok();
    }
    assert!(saves(&mut p), "the writers waited for the snapshot's end");
    assert!(info(&mut p, "replication", "slave0").contains("state=wait_bgsave"));
    let refused = p.cmd(&["BGSAVE"]);
    assert_eq!(refused.text(), "ERR Background save already in progress");
    // They come late, and share it.
    let mut late = [Stream::ask(&primary), Stream::ask(&primary)];
    until("all are known", || info(&mut p, "replication", "connected_slaves") == "3");
    assert!(saves(&mut p));
    p.cmd(&["CONFIG", "SET", "rdb-key-save-delay", "0"]).ok();

    let file = first.snapshot();
    let [one, two] = &mut late;
    assert_eq!([one.snapshot(), two.snapshot()], [file.clone(), file.clone()]);
    for s in [&mut first, one, two] {
        assert_eq!(s.command(), "SELECT 0");
        for i in 0..200 {
            assert_eq!(s.command(), format!("SET key:{i} new"));
        }
    }
    assert_eq!(info(&mut p, "persistence", "rdb_saves"), "1");
    until("all are online", || {
        let replicas = p.cmd(&["INFO", "replication"]);
        replicas.text().matches("state=online").count() == 3
    });
    p.cmd(&["INCR", "n"]);
    assert_eq!(late[0].command(), "INCR n");
    // Now it takes another one.
    let another = Stream::ask(&primary).snapshot();
    assert_eq!(info(&mut p, "persistence", "rdb_saves"), "2");

    for (file, keys, value) in [(file, 2000, "old"), (another, 2001, "new")] {
        let dir = common::fresh_dir("for-replica");
        std::fs::write(dir.join("dump.rdb"), file).unwrap();
        let loaded = Server::start_in(dir, &[]);
        let mut c = loaded.client();
        assert_eq!(c.cmd(&["DBSIZE"]).int(), keys);
        for i in 0..200 {
            assert_eq!(c.cmd(&["GET", &format!("key:{i}")]).text(), value);
        }
    }
    let left = std::fs::read_dir(&primary.dir).unwrap();
    let names: Vec<_> = left.map(|f| f.unwrap().file_name().into_string().unwrap()).collect();
    assert!(!names.iter().any(|n| n.starts_with("temp-")), "{names:?}");
}

#[test]
fn a_snapshot_that_nobody_waits_for_is_called_off() {
    let primary = Server::start(&["--rdb-key-save-delay", "1000000"]);
    let mut p = primary.client();
    for i in 0..1000 {
        p.cmd(&["SET", &format!("key:{i}"), "x"]).ok();
    }
    let saves = |p: &mut Client| info(p, "persistence", "rdb_bgsave_in_progress") == "1";
    let replica = Stream::ask(&primary);
    until("the snapshot begins", || saves(&mut p));
    drop(replica);
    until("the snapshot ends", || !saves(&mut p));
    assert!(primary.log().contains("it is called off"));
    p.cmd(&["CONFIG", "SET", "rdb-key-save-delay", "0"]).ok();
    let _ = Stream::attach(&primary);
}

#[test]
fn replicas_that_come_under_load_have_all_writes() {
    let all = [Server::start(&[]), Server::start(&[]), Server::start(&[])];
    let [mut p, mut a, mut b] = all.each_ref().map(Server::client);
    for i in 0..3000 {
        p.send(&["SET", &format!("n:{i}"), "0"]);
    }
    (0..3000).for_each(|_| p.read().ok());
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for writer in 0..4u64 {
            let (mut c, stop) = (all[0].client(), &stop);
            scope.spawn(move || {
                let mut n = writer;
                while !stop.load(std::sync::atomic::Ordering::SeqCst) {
                    n = n.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888);
                    let (x, y) = ((n >> 33) % 3000, (n >> 20) % 3000);
                    c.cmd(&["MULTI"]).ok();
                    c.cmd(&["INCR", &format!("n:{x}")]);
                    c.cmd(&["DECR", &format!("n:{y}")]);
                    c.cmd(&["RPUSH", &format!("list:{}", x % 50), &y.to_string()]);
                    c.cmd(&["EXEC"]);
                }
            });
        }
        for r in [&mut a, &mut b] {
            follow(r, &all[0]);
        }
        stop.store(true, std::sync::atomic::Ordering::SeqCst);
    });
    assert_eq!(p.cmd(&["WAIT", "2", "60000"]), Reply::Int(2));
    let expected = digest(&mut p);
    assert_eq!(digest(&mut a), expected);
    assert_eq!(digest(&mut b), expected);
    assert_eq!(info(&mut p, "stats", "sync_full"), "2");
}

#[test]
fn a_cluster_of_one_node() {
    let dir = common::fresh_dir("cluster");
    let start = || Server::start_in(dir.clone(), &["--cluster-enabled", "yes"]);
    let server = start();
    let mut c = server.client();
    assert_eq!(c.cmd(&["GET", "a"]).text(), "CLUSTERDOWN Hash slot not served");
    c.cmd(&["CLUSTER", "ADDSLOTSRANGE", "0", "16382"]).ok();
    assert_eq!(c.cmd(&["GET", "a"]).text(), "CLUSTERDOWN The cluster is down");
    c.cmd(&["CLUSTER", "ADDSLOTS", "16383"]).ok();
    assert!(c.cmd(&["CLUSTER", "INFO"]).text().starts_with("cluster_state:ok\r\n"));
    let crossed = "CROSSSLOT Keys in request don't hash to the same slot";
    assert_eq!(c.cmd(&["MGET", "a", "b"]).text(), crossed);
    c.cmd(&["MSET", "{t}a", "1", "{t}b", "2"]).ok();
    c.cmd(&["MULTI"]).ok();
    c.cmd(&["SET", "x", "1"]);
    c.cmd(&["SET", "y", "1"]);
    assert_eq!(c.cmd(&["EXEC"]).text(), crossed);
    assert_eq!(c.cmd(&["SELECT", "1"]).text(), "ERR SELECT is not allowed in cluster mode");
    let slot = c.cmd(&["CLUSTER", "KEYSLOT", "{t}a"]).int().to_string();
    assert_eq!(c.cmd(&["CLUSTER", "COUNTKEYSINSLOT", &slot]).int(), 2);
    let id = c.cmd(&["CLUSTER", "MYID"]);
    drop(server);
    // Name and slots are kept.
    let server = start();
    let mut c = server.client();
    assert_eq!(c.cmd(&["CLUSTER", "MYID"]), id);
    assert_eq!(c.cmd(&["GET", "a"]), Reply::Nil);
}

/// Asks to go on with a stream, and returns what the server says to that.
fn go_on(server: &Server, id: &str, offset: &str) -> String {
    let mut s = TcpStream::connect(("127.0.0.1", server.port)).expect("the server accepts");
    s.write_all(format!("PSYNC {id} {offset}\r\n").as_bytes()).unwrap();
    let mut stream = Stream(BufReader::new(s));
    loop {
        let line = stream.line();
        if !line.is_empty() {
            return line;
        }
    }
}

#[test]
fn nobody_goes_on_over_writes_that_no_backlog_has() {
    let s = Server::start(&["--repl-backlog-ttl", "1"]);
    let mut c = s.client();
    let first = go_on(&s, "?", "-1");
    let [_, id, offset] = common::words(&first)[..] else { panic!("{first}") };
    until("it is seen to go", || info(&mut c, "replication", "connected_slaves") == "0");
    assert_eq!(info(&mut c, "replication", "repl_backlog_active"), "1");
    let next = (offset.parse::<u64>().unwrap() + 1).to_string();
    assert_eq!(go_on(&s, id, &next), format!("+CONTINUE {id}"), "not too long ago");
    let freed = || info(&mut c, "replication", "repl_backlog_active") == "0";
    until("the backlog is dropped", freed);
    c.cmd(&["SET", "unseen", "1"]).ok();
    assert_eq!(info(&mut c, "replication", "master_repl_offset"), offset, "nobody listens");
    assert!(go_on(&s, id, &next).starts_with("+FULLRESYNC"));
    until("there is a new one", || info(&mut c, "replication", "repl_backlog_active") == "1");
    assert!(go_on(&s, id, &next).starts_with("+FULLRESYNC"), "the stream lacks the write");
    assert_ne!(info(&mut c, "replication", "master_replid"), id);
}

#[test]
fn the_offset_counts_commands_for_the_file_where_there_is_no_backlog() {
    let servers = [
        Server::start(&["--appendonly", "yes"]),
        Server::reference(&["--appendonly", "yes", "--save", ""]),
    ];
    let offset = |c: &mut Client| info(c, "replication", "master_repl_offset");
    let mut seen = Vec::new();
    for s in &servers {
        let (mut c, mut look) = (s.client(), s.client());
        let mut offsets = vec![offset(&mut look)];
        for line in [
            "SET a 1",
            "GET a",
            "DEL missing",
            "PUBLISH channel message",
            "MULTI",
            "INCR a",
            "SELECT 1",
            "INCR b",
            "EXEC",
            "EXPIRE b 100",
            "EVAL return{redis.call('INCR','x'),redis.call('INCR','y')} 0",
        ] {
            c.cmd(&common::words(line));
            offsets.push(offset(&mut look));
        }
        seen.push(offsets);
    }
    assert_eq!(seen[0], seen[1]);
    assert_ne!(seen[0].last().unwrap(), "0");
}
