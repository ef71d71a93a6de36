//! Starting like Redis: arguments, `redis.conf`, errors.
mod common;
use std::process::Command;

fn run(args: &[&str]) -> (Option<i32>, String, String) {
    let out = Command::new(env!("CARGO_BIN_EXE_backplane")).args(args).output().unwrap();
    let text = |b: Vec<u8>| String::from_utf8_lossy(&b).into_owned();
    (out.status.code(), text(out.stdout), text(out.stderr))
}

#[test]
fn version_line_is_what_harnesses_cut() {
    let (code, out, _) = run(&["--version"]);
    assert_eq!(code, Some(0));
    assert!(out.contains(" v=7.4.1 sha="), "{out}");
}

#[test]
fn unknown_directive_names_line_and_number() {
    let dir = common::fresh_dir("conf");
    let file = dir.join("bad.conf");
    std::fs::write(&file, "port 0\n\nno-such-directive yes\n").unwrap();
    let (code, _, err) = run(&[file.to_str().unwrap()]);
    assert_eq!(code, Some(1));
    assert!(err.contains("*** FATAL CONFIG FILE ERROR (Redis 7.4.1) ***"), "{err}");
    assert!(err.contains("Reading the configuration file, at line 3"), "{err}");
    assert!(err.contains(">>> 'no-such-directive yes'"), "{err}");
}

#[test]
fn nowhere_to_listen_is_an_error() {
    let (code, out, _) = run(&["--port", "0", "--unixsocket", ""]);
    assert_eq!(code, Some(1));
    assert!(out.contains("Configured to not listen anywhere, exiting."), "{out}");
}
