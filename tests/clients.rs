//! Programs with real client packages: redis-py, ioredis and the redis crate.
//!
//! They run where the packages are: `CLIENTS_PYTHON` names a Python with redis-py (`python3` by default), `CLIENTS_NODE_DIR`
//! a folder with ioredis in its `node_modules`, `CLIENTS_RUST` the built program of `tests/clients/rust`; `make clients` gets
//! and builds all three. What is missing is left out, and said.
mod common;
use common::Server;
use std::path::{Path, PathBuf};
use std::process::Command;

fn program(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(name)
}

/// Runs a program against a fresh server. Its last line has to be "ok".
fn run(mut command: Command) {
    let mut server = Server::start(&[]);
    let output = command.arg(server.port.to_string()).output().expect("the program runs");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.trim_end().ends_with("ok"),
        "{command:?}: {}\n{text}\n{}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr),
        server.log()
    );
    server.assert_alive();
}

#[test]
fn redis_py() {
    let python = std::env::var("CLIENTS_PYTHON").unwrap_or_else(|_| "python3".into());
    let there = Command::new(&python).args(["-c", "import redis"]).output();
    if !there.is_ok_and(|o| o.status.success()) {
        eprintln!("left out: {python} has no redis-py");
        return;
    }
    let mut c = Command::new(python);
    c.arg(program("python/basic.py"));
    run(c);
}

#[test]
fn ioredis() {
    let dir = std::env::var_os("CLIENTS_NODE_DIR").map(PathBuf::from);
    let Some(dir) = dir.filter(|d| d.join("node_modules/ioredis").is_dir()) else {
        eprintln!("left out: CLIENTS_NODE_DIR names no folder with ioredis");
        return;
    };
    let mut c = Command::new("node");
    c.env("CLIENTS_NODE_DIR", dir).arg(program("node/basic.mjs"));
    run(c);
}

#[test]
fn redis_rs() {
    let Some(built) = std::env::var_os("CLIENTS_RUST").map(PathBuf::from).filter(|p| p.is_file())
    else {
        eprintln!("left out: CLIENTS_RUST names no program");
        return;
    };
    run(Command::new(built));
}
