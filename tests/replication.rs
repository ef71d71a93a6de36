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
        let mut s = TcpStream::connect(("127.0.0.1", server.port)).expect("the server accepts");
        s.write_all(b"SYNC\r\n").unwrap();
        let mut stream = Stream(BufReader::new(s));
        let len: usize = stream.line()[1..].parse().expect("a length");
        let mut snapshot = vec![0; len];
        stream.0.read_exact(&mut snapshot).unwrap();
        assert!(snapshot.starts_with(b"REDIS0012"));
        stream
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
