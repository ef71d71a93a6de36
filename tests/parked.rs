//! Parked values: what belongs to modules that are not loaded survives, and becomes theirs when they are.
mod common;
use common::{fresh_dir, info, own_modules, real_modules, until, Client, Reply, Server};

fn datatype() -> String {
    own_modules().join("datatype.so").display().to_string()
}

fn save_and_copy(s: &Server, c: &mut Client, command: &str) -> std::path::PathBuf {
    c.cmd(&[command]);
    while c.cmd(&["INFO", "persistence"]).text().contains("rdb_bgsave_in_progress:1") {}
    let dir = fresh_dir("parked");
    std::fs::copy(s.dir.join("dump.rdb"), dir.join("dump.rdb")).unwrap();
    dir
}

#[test]
fn values_and_auxiliary_data_outlive_servers_without_their_module() {
    let module = datatype();
    let s = Server::start(&["--loadmodule", &module]);
    let mut c = s.client();
    for i in 0..50 {
        for v in ["1", "-5", "9000000000"] {
            c.cmd(&["dt.push", &format!("k{i}"), "int", v]);
        }
        c.cmd(&["dt.push", &format!("k{i}"), "str", &"text ".repeat(i)]);
    }
    c.cmd(&["PEXPIREAT", "k3", "3000000000000"]);
    c.cmd(&["SET", "plain", "value"]).ok();
    c.cmd(&["dt.aux", "77"]);
    let before = c.cmd(&["dt.range", "k7"]);
    let dump = c.cmd(&["DUMP", "k1"]);
    let dir = save_and_copy(&s, &mut c, "SAVE");
    drop(s);

    // Two servers without the module, one after the other.
    let s = Server::start_in(dir, &[]);
    let mut c = s.client();
    assert!(s.log().contains("50 values and 2 auxiliary fields (bp_list-1)"), "{}", s.log());
    assert_eq!(c.cmd(&["DBSIZE"]).int(), 51);
    assert_eq!(c.cmd(&["TYPE", "k7"]), Reply::Status("bp_list-1".into()));
    assert_eq!(c.cmd(&["OBJECT", "ENCODING", "k7"]).text(), "raw");
    assert!(c.cmd(&["MEMORY", "USAGE", "k7"]).int() > 50);
    assert_eq!(c.cmd(&["PEXPIRETIME", "k3"]).int(), 3_000_000_000_000);
    assert_eq!(c.cmd(&["DUMP", "k1"]), dump);
    assert!(c.cmd(&["GET", "k7"]).text().starts_with("WRONGTYPE"));
    assert_eq!(c.cmd(&["COPY", "k7", "copy"]).int(), 1);
    c.cmd(&["RENAME", "k8", "renamed"]).ok();
    assert_eq!(c.cmd(&["DEL", "k9"]).int(), 1);
    c.cmd(&["SET", "k10", "overwritten"]).ok();
    c.cmd(&["PEXPIRE", "k11", "1"]);
    while c.cmd(&["EXISTS", "k11"]).int() == 1 {}
    let dir = save_and_copy(&s, &mut c, "BGSAVE");
    drop(s);
    let s = Server::start_in(dir, &[]);
    let mut c = s.client();
    c.cmd(&["DEBUG", "RELOAD"]).ok();
    assert_eq!(c.cmd(&["DBSIZE"]).int(), 50);

    // The module is loaded: what was parked is its own.
    c.cmd(&["MODULE", "LOAD", &module]).ok();
    assert_eq!(c.cmd(&["dt.range", "k7"]), before);
    assert_eq!(c.cmd(&["dt.range", "copy"]), before);
    assert_eq!(c.cmd(&["dt.type", "renamed"]).int(), 1);
    assert_eq!(c.cmd(&["dt.len", "k3"]).int(), 4);
    assert_eq!(c.cmd(&["PEXPIRETIME", "k3"]).int(), 3_000_000_000_000);
    assert_eq!(c.cmd(&["dt.auxseen"]).items(), [Reply::Int(77), Reply::Int(77)]);
    assert_eq!(c.cmd(&["dt.push", "k7", "int", "8"]).int(), 5);
    let dir = save_and_copy(&s, &mut c, "BGSAVE");
    drop(s);
    let s = Server::start_in(dir, &["--loadmodule", &module]);
    assert_eq!(s.client().cmd(&["dt.len", "k7"]).int(), 5);
}

/// An index of RediSearch, JSON documents, series with a rule: parked together, and brought back one module at a time.
#[test]
fn real_modules_come_back() {
    let lib = |name: &str| real_modules().join(name).display().to_string();
    let names = ["redisearch.so", "rejson.so", "redistimeseries.so", "redisbloom.so"];
    let paths = names.map(lib);
    let mut args = Vec::new();
    for p in &paths {
        args.extend(["--loadmodule", p.as_str()]);
    }
    let s = Server::start(&args);
    let mut c = s.client();
    c.cmd(&["FT.CREATE", "idx", "PREFIX", "1", "doc:", "SCHEMA", "t", "TEXT"]).ok();
    for i in 0..30 {
        c.cmd(&["HSET", &format!("doc:{i}"), "t", &format!("word{} common", i % 3)]);
        c.cmd(&["JSON.SET", &format!("json:{i}"), "$", &format!("{{\"a\":{i},\"b\":[1,2]}}")]).ok();
    }
    c.cmd(&["TS.CREATE", "series"]).ok();
    c.cmd(&["TS.CREATE", "means"]).ok();
    c.cmd(&["TS.CREATERULE", "series", "means", "AGGREGATION", "avg", "10"]).ok();
    for i in 1..100 {
        c.cmd(&["TS.ADD", "series", &i.to_string(), &(i * 2).to_string()]);
    }
    c.cmd(&["BF.ADD", "filter", "x"]);
    let count = |c: &mut Client| c.cmd(&["FT.SEARCH", "idx", "common", "LIMIT", "0", "0"]);
    assert_eq!(count(&mut c).items()[0].int(), 30);
    let dir = save_and_copy(&s, &mut c, "BGSAVE");
    drop(s);

    let s = Server::start_in(dir, &[]);
    let mut c = s.client();
    assert_eq!(c.cmd(&["TYPE", "json:3"]), Reply::Status("ReJSON-RL".into()));
    let dir = save_and_copy(&s, &mut c, "BGSAVE");
    drop(s);
    let mut s = Server::start_in(dir, &[]);
    let mut c = s.client();
    for p in &paths {
        c.cmd(&["MODULE", "LOAD", p]).ok();
    }
    assert_eq!(c.cmd(&["JSON.GET", "json:3", "$.a"]).text(), "[3]");
    assert_eq!(c.cmd(&["BF.EXISTS", "filter", "x"]).int(), 1);
    // The rule is there: it was saved between the events of a save.
    c.cmd(&["TS.ADD", "series", "200", "1"]);
    let info = format!("{:?}", c.cmd(&["TS.INFO", "series"]));
    assert!(info.contains("means"), "{info}");
    assert_eq!(count(&mut c).items()[0].int(), 30);
    c.cmd(&["HSET", "doc:new", "t", "common"]);
    assert_eq!(count(&mut c).items()[0].int(), 31);
    s.assert_alive();
}

#[test]
fn replicas_and_append_only_files_get_them_too() {
    let module = datatype();
    let load = ["--loadmodule", &module];
    let s = Server::start(&load);
    let mut c = s.client();
    for i in 0..20 {
        c.cmd(&["dt.push", &format!("k{i}"), "int", &i.to_string()]);
    }
    c.cmd(&["dt.aux", "5"]);
    let range = c.cmd(&["dt.range", "k7"]);
    let dir = save_and_copy(&s, &mut c, "SAVE");
    drop(s);

    // A primary without the module, one replica without it and one with it.
    let primary = Server::start_in(dir, &[]);
    let (bare, full) = (Server::start(&[]), Server::start(&load));
    let (mut p, mut b, mut f) = (primary.client(), bare.client(), full.client());
    for r in [&mut b, &mut f] {
        r.cmd(&["REPLICAOF", "127.0.0.1", &primary.port.to_string()]).ok();
        until("the link is up", || info(r, "replication", "master_link_status") == "up");
    }
    // What can be done with them arrives as well.
    assert_eq!(p.cmd(&["COPY", "k7", "copy"]).int(), 1);
    p.cmd(&["RENAME", "k8", "renamed"]).ok();
    assert_eq!(p.cmd(&["DEL", "k9"]).int(), 1);
    assert_eq!(p.cmd(&["WAIT", "2", "60000"]), Reply::Int(2));
    for r in [&mut p, &mut b] {
        assert_eq!(r.cmd(&["DBSIZE"]).int(), 20);
        assert_eq!(r.cmd(&["TYPE", "copy"]), Reply::Status("bp_list-1".into()));
    }
    assert_eq!(p.cmd(&["DUMP", "renamed"]), b.cmd(&["DUMP", "renamed"]));
    assert_eq!(f.cmd(&["DBSIZE"]).int(), 20);
    assert_eq!(f.cmd(&["dt.range", "copy"]), range);
    assert_eq!(f.cmd(&["dt.auxseen"]).items(), [Reply::Int(5), Reply::Int(5)]);
    drop((primary, full));

    // The replica becomes a primary with an append-only file, whose base is one of commands, then one like an RDB file.
    b.cmd(&["REPLICAOF", "NO", "ONE"]).ok();
    for preamble in ["no", "yes"] {
        b.cmd(&["CONFIG", "SET", "aof-use-rdb-preamble", preamble]).ok();
        b.cmd(&["CONFIG", "SET", "appendonly", "yes"]).ok();
        until("the base", || info(&mut b, "persistence", "aof_rewrite_in_progress") == "0");
        assert_eq!(info(&mut b, "persistence", "aof_last_bgrewrite_status"), "ok");
        b.cmd(&["DEBUG", "LOADAOF"]).ok();
        assert_eq!(b.cmd(&["DBSIZE"]).int(), 20, "preamble {preamble}");
        b.cmd(&["CONFIG", "SET", "appendonly", "no"]).ok();
    }
    b.cmd(&["MODULE", "LOAD", &module]).ok();
    assert_eq!(b.cmd(&["dt.range", "copy"]), range);
    assert_eq!(b.cmd(&["dt.auxseen"]).items(), [Reply::Int(5), Reply::Int(5)]);
}
