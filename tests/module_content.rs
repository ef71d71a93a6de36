//! Content rules for loading: `module-allow-sha256`, `module-load sealed`, and where a file's hash is told.
mod common;
use common::{fresh_dir, own_modules, Server};
use std::process::Command;

fn own(name: &str) -> String {
    own_modules().join(format!("{name}.so")).display().to_string()
}

/// What another program says.
fn sha256(path: &str) -> String {
    let out = Command::new("sha256sum").arg(path).output().expect("coreutils are there");
    String::from_utf8_lossy(&out.stdout).split(' ').next().unwrap_or_default().to_string()
}

#[test]
fn only_listed_files_are_loaded() {
    let (basic, empty) = (own("basic"), own("empty"));
    let (one, other) = (sha256(&basic), sha256(&empty));
    assert_eq!(one.len(), 64);
    // Two lines of a file add up.
    let dir = fresh_dir("content");
    let conf = dir.join("server.conf");
    let text = format!(
        "module-allow-sha256 {}\nmodule-allow-sha256 {}\nloadmodule {basic}\n",
        "0".repeat(64),
        one.to_uppercase()
    );
    std::fs::write(&conf, text).unwrap();
    let mut s = Server::start_in(dir, &["--include", &conf.display().to_string()]);
    let c = &mut s.client();
    assert!(
        s.log().contains(&format!("Module 'basic': SHA-256 {one}; it asked for ")),
        "{}",
        s.log()
    );

    let refusal = format!(
        "Module {empty} (SHA-256 {other}) is refused by 'module-allow-sha256': none of its 2 hashes is this file's"
    );
    assert_eq!(c.cmd(&["MODULE", "LOAD", &empty]).text(), format!("ERR {refusal}"));
    assert_eq!(c.cmd(&["MODULE", "LOADEX", &empty]).text(), format!("ERR {refusal}"));
    assert_eq!(s.log().matches(&refusal).count(), 2, "{}", s.log());
    let missing = c.cmd(&["MODULE", "LOAD", "/nowhere/x.so"]);
    assert!(missing.text().contains("no SHA-256: it cannot be read: No such file"), "{missing:?}");
    let by_name = c.cmd(&["MODULE", "LOAD", "libm.so.6"]);
    assert!(by_name.text().contains("the system's loader chooses the file"), "{by_name:?}");

    // A copy of a listed file is that file, whatever its name.
    c.cmd(&["MODULE", "UNLOAD", "basic"]).ok();
    let copy = s.dir.join("copy.so").display().to_string();
    std::fs::copy(&basic, &copy).unwrap();
    c.cmd(&["MODULE", "LOAD", &copy]).ok();
    let set = c.cmd(&["CONFIG", "SET", "module-allow-sha256", ""]);
    assert!(set.text().contains("can't set immutable config"), "{set:?}");

    // The list tells the hash behind Redis' fields, the greeting does not.
    let list = c.cmd(&["MODULE", "LIST"]);
    let fields: Vec<&str> = list.items()[0].items().iter().step_by(2).map(|f| f.text()).collect();
    assert_eq!(fields, ["name", "ver", "path", "args", "sha256"]);
    assert_eq!(list.items()[0].items()[9].text(), one);
    let greeting = c.cmd(&["HELLO"]);
    assert_eq!(greeting.items()[13].items()[0].items().len(), 8);
    s.assert_alive();
}

#[test]
fn an_unlisted_module_ends_the_start() {
    let (code, log) = Server::run_to_end(&[
        "--module-allow-sha256",
        &"ab".repeat(32),
        "--loadmodule",
        &own("empty"),
    ]);
    assert_eq!(code, Some(1));
    let hash = sha256(&own("empty"));
    assert!(
        log.contains(&format!("(SHA-256 {hash}) is refused by 'module-allow-sha256'")),
        "{log}"
    );
    assert!(log.contains("Can't load module from"), "{log}");
}

#[test]
fn a_sealed_server_loads_nothing_more() {
    let mut s = Server::start(&["--module-load", "sealed", "--loadmodule", &own("basic")]);
    let c = &mut s.client();
    let empty = own("empty");
    let refusal = format!(
        "ERR Module {empty} (SHA-256 {}) is refused by 'module-load sealed': nothing is loaded after the start",
        sha256(&empty)
    );
    for how in ["LOAD", "LOADEX"] {
        assert_eq!(c.cmd(&["MODULE", how, &empty]).text(), refusal);
    }
    for value in ["open", "sealed open", ""] {
        let set = c.cmd(&["CONFIG", "SET", "module-load", value]);
        assert!(set.text().starts_with("ERR CONFIG SET failed"), "{value}: {set:?}");
    }
    c.cmd(&["CONFIG", "SET", "module-load", "sealed"]).ok();
    assert_eq!(c.cmd(&["CONFIG", "GET", "module-load"]).items()[1].text(), "sealed");
    assert_eq!(c.cmd(&["MODULE", "LOAD", &empty]).text(), refusal);
    s.assert_alive();
}

#[test]
fn a_running_server_can_be_sealed() {
    let s = Server::start(&[]);
    let c = &mut s.client();
    c.cmd(&["MODULE", "LOAD", &own("empty")]).ok();
    // Without rules the list is Redis' own.
    assert_eq!(c.cmd(&["MODULE", "LIST"]).items()[0].items().len(), 8);
    c.cmd(&["CONFIG", "SET", "module-load", "sealed"]).ok();
    assert!(c.cmd(&["CONFIG", "SET", "module-load", "open"]).text().contains("only a restart"));
    assert!(c.cmd(&["MODULE", "LOAD", &own("basic")]).text().contains("module-load sealed"));
}
