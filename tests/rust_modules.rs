//! Modules made with the ecosystem's crates redis-module and valkey-module (`modules-test/rust-redis`, `rust-valkey`).
//!
//! `RUST_MODULES` names the folder of the two built files; `make rust-modules` builds them and runs this. Without it the tests
//! are left out, and say so. The reference runs the first: all three transcripts must be the same.
mod common;
use common::{fresh_dir, Client, Reply, Server};
use std::path::PathBuf;
use std::time::{Duration, Instant};

fn folder() -> Option<PathBuf> {
    let dir = std::env::var_os("RUST_MODULES").map(PathBuf::from);
    if dir.is_none() {
        eprintln!("left out: RUST_MODULES names no folder with modules");
    }
    dir
}

/// What is different on purpose: the module's prefix, its type and its crate.
#[derive(Clone, Copy)]
struct Subject {
    file: &'static str,
    prefix: &'static str,
    kind: &'static str,
}

const REDIS: Subject = Subject { file: "librust_redis.so", prefix: "rustr", kind: "rust-note" };
const VALKEY: Subject = Subject { file: "librust_valkey.so", prefix: "rustv", kind: "rustvnote" };

const SCRIPT: &[&str] = &[
    "P.product 2 3 7",
    "P.product",
    "P.product 2 x",
    "P.set note hello",
    "P.set note again",
    "P.get note",
    "P.get none",
    "TYPE note",
    "SET plain 1",
    "P.get plain",
    "P.set plain x",
    "COPY note copied",
    "P.get copied",
    "P.call GET plain",
    "P.call LRANGE plain 0 -1",
    "P.call NOSUCH",
    "P.call LPUSH list a b c",
    "P.call LRANGE list 0 -1",
    "P.shape",
    "EVAL redis.setresp(3);local~m=redis.call('P.shape').map;return{tostring(m.bool),tostring(m.float.double),#m.bytes,#m.array} 0",
    "P.hash h field value",
    "HGETALL h",
    "P.hash plain f v",
    "P.settings",
    "CONFIG GET P.*",
    "CONFIG SET P.limit 20 P.greeting servus P.loud yes",
    "CONFIG SET P.limit 1001",
    "CONFIG SET P.loud perhaps",
    "P.settings",
    "P.thread counted",
    "P.thread counted",
    "GET counted",
    "MULTI",
    "P.set in-multi x",
    "P.get in-multi",
    "EXEC",
    "INFO P_notes",
    "COMMAND INFO P.set P.get",
    "COMMAND GETKEYS P.set k v",
    "MEMORY USAGE none",
    "OBJECT ENCODING note",
    "DEBUG RELOAD",
    "P.get note",
    "P.get copied",
    "DEL copied",
    "P.events",
    "P.later 1 by-timer done",
];

fn show(reply: &Reply) -> String {
    match reply {
        Reply::Int(n) => format!(":{n}"),
        Reply::Nil => "nil".into(),
        Reply::Array(items) => {
            format!("[{}]", items.iter().map(show).collect::<Vec<_>>().join(" "))
        }
        Reply::Error(s) => format!("-{s}"),
        Reply::Status(s) => format!("+{s}"),
        Reply::Bulk(s) => format!("\"{s}\""),
        Reply::Other(kind, s) => format!("{kind}{s}"),
    }
}

fn command(c: &mut Client, line: &str, of: Subject) -> Reply {
    let line =
        line.replace("P.", &format!("{}.", of.prefix)).replace("P_", &format!("{}_", of.prefix));
    let words: Vec<String> = line.split(' ').map(|w| w.replace('~', " ")).collect();
    c.cmd(&words.iter().map(String::as_str).collect::<Vec<_>>())
}

/// What a server answers to the script.
fn transcript(server: &mut Server, of: Subject) -> Vec<String> {
    let c = &mut server.client();
    let mut lines = Vec::new();
    let crate_name = if of.prefix == "rustv" { "Valkey" } else { "Redis" };
    for line in SCRIPT {
        let reply = match command(c, line, of) {
            // The reference lists directives of modules in the order of a hash table.
            Reply::Array(items) if line.starts_with("CONFIG GET") => {
                let mut pairs: Vec<String> =
                    items.chunks(2).map(|p| format!("{} {}", show(&p[0]), show(&p[1]))).collect();
                pairs.sort();
                pairs.join(", ")
            }
            reply => show(&reply),
        };
        let reply = reply.replace(of.kind, "KIND").replace(of.prefix, "P").replace(crate_name, "");
        lines.push(format!("{line} => {reply}"));
    }
    let begin = Instant::now();
    while command(c, "GET by-timer", of) != Reply::Bulk("done".into()) {
        assert!(begin.elapsed() < Duration::from_secs(60), "the timer sets its key");
        std::thread::sleep(Duration::from_millis(10));
    }
    command(c, "SAVE", of).ok();
    server.assert_alive();
    lines
}

fn same(ours: &[String], expected: &[String]) {
    ours.iter().zip(expected).for_each(|(a, b)| assert_eq!(a, b));
    assert_eq!(ours.len(), expected.len());
}

#[test]
fn both_crates_modules_do_what_the_reference_shows() {
    let Some(dir) = folder() else { return };
    let path = |of: Subject| dir.join(of.file).display().to_string();
    let (redis, valkey) = (path(REDIS), path(VALKEY));
    let mut reference = Server::reference(&["--loadmodule", &redis]);
    let expected = transcript(&mut reference, REDIS);
    let mut ours = Server::start(&["--loadmodule", &redis]);
    same(&transcript(&mut ours, REDIS), &expected);
    let mut other = Server::start(&["--loadmodule", &valkey]);
    same(&transcript(&mut other, VALKEY), &expected);

    // Each server reads the file that the other one wrote.
    let swap = |from: &Server| {
        let dir = fresh_dir("swapped");
        std::fs::copy(from.dir.join("dump.rdb"), dir.join("dump.rdb")).expect("the file was saved");
        dir.display().to_string()
    };
    let (theirs, own) = (swap(&reference), swap(&ours));
    for s in [
        Server::start(&["--loadmodule", &redis, "--dir", &theirs]),
        Server::reference(&["--loadmodule", &redis, "--dir", &own]),
    ] {
        let c = &mut s.client();
        assert_eq!(c.cmd(&["rustr.get", "note"]), Reply::Bulk("again".into()));
        assert_eq!(c.cmd(&["rustr.get", "in-multi"]), Reply::Bulk("x".into()));
    }
}

#[test]
fn arguments_personas_and_both_at_once() {
    let Some(dir) = folder() else { return };
    let path = |of: Subject| dir.join(of.file).display().to_string();
    let mut s = Server::start(&[
        "--module-persona",
        "rustv",
        "valkey-8.0.1",
        "--loadmodule",
        &path(REDIS),
        "limit",
        "33",
        "--loadmodule",
        &path(VALKEY),
    ]);
    let c = &mut s.client();
    assert_eq!(c.cmd(&["rustr.settings"]).items()[0], Reply::Int(33));
    assert_eq!(c.cmd(&["rustv.settings"]).items()[0], Reply::Int(10));
    assert_eq!(c.cmd(&["rustr.server", "redis_version"]).text(), "7.4.1");
    assert_eq!(c.cmd(&["rustv.server", "redis_version"]).text(), "7.2.4");
    assert_eq!(c.cmd(&["rustv.server", "valkey_version"]).text(), "8.0.1");
    // One module's command through the other.
    c.cmd(&["rustr.call", "rustv.set", "k", "v"]).ok();
    assert_eq!(c.cmd(&["rustv.get", "k"]), Reply::Bulk("v".into()));
    let refused = c.cmd(&["rustr.get", "k"]);
    assert!(
        matches!(&refused, Reply::Error(e) if e.contains("WRONGTYPE") || e.contains("type")),
        "{refused:?}"
    );
    s.assert_alive();
}
