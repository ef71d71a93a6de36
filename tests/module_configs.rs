//! Arguments and configs of modules over `CONFIG REWRITE` and a restart: the same file content is asserted of the reference.
mod common;
use common::{check_all, fresh_dir, own_modules, real_modules, until, Client, Server};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

fn own(name: &str) -> String {
    own_modules().join(name).display().to_string()
}

/// A server with a configuration file, which it may write.
fn start(program: &Path, dir: &Path) -> Server {
    let port = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).unwrap().port();
    let child = Command::new(program)
        .arg(dir.join("server.conf"))
        .args(["--port", &port.to_string()])
        .current_dir(dir)
        .stdout(Stdio::null())
        .spawn()
        .expect("the server starts");
    let s = Server { child, port, dir: dir.to_path_buf() };
    until("the server's answer", || {
        TcpStream::connect(("127.0.0.1", port)).is_ok_and(|socket| {
            let mut c = Client::on(socket);
            c.try_send(&["PING"]) && c.try_read().is_some_and(|reply| reply.text() == "PONG")
        })
    });
    s
}

/// What the file says of modules, in an order that does not depend on the server's.
fn of_modules(dir: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(dir.join("server.conf")).expect("the file is there");
    let ours = |l: &&str| l.starts_with("loadmodule ") || l.starts_with("configs.");
    let mut lines: Vec<String> = text.lines().filter(ours).map(str::to_string).collect();
    lines.sort();
    lines
}

fn config(c: &mut Client, name: &str) -> String {
    c.cmd(&["CONFIG", "GET", name]).items()[1].text().to_string()
}

fn check(program: PathBuf) {
    let dir = fresh_dir("module-configs");
    let (empty, configs) = (own("empty.so"), own("configs.so"));
    let file = format!(
        "bind 127.0.0.1\nsave \"\"\nlogfile log\nenable-module-command yes\nloadmodule {empty} one two\n"
    );
    std::fs::write(dir.join("server.conf"), file).unwrap();
    let mut s = start(&program, &dir);
    let c = &mut s.client();
    const FAILED: &str = "ERR Error loading the extension. Please check the server logs.";
    for wrong in [
        &["CONFIG", "configs.nope", "1"][..],
        &["CONFIG", "configs.number", "many"],
        &["CONFIG", "configs.number", "5000"],
        &["CONFIG", "configs.number"],
        &["NONSENSE"],
    ] {
        let words = [&["MODULE", "LOADEX", &configs], wrong].concat();
        assert_eq!(c.cmd(&words).text(), FAILED, "{wrong:?}");
    }
    c.cmd(&["MODULE", "LOADEX", &configs, "CONFIG", "configs.number", "17", "ARGS", "x"]).ok();
    c.cmd(&["CONFIG", "SET", "configs.text", "two words \"q\"", "configs.color", "blue"]).ok();
    c.cmd(&["CONFIG", "SET", "configs.features", "write"]).ok();
    c.cmd(&["CONFIG", "REWRITE"]).ok();
    let expected = [
        "configs.color blue".to_string(),
        "configs.features write".into(),
        "configs.number 17".into(),
        r#"configs.text "two words \"q\"""#.into(),
        format!("loadmodule {configs} x"),
        format!("loadmodule {empty} one two"),
    ];
    let mut expected = expected.to_vec();
    expected.sort();
    assert_eq!(of_modules(&dir), expected);

    // The next server finds all of it.
    assert!(c.try_send(&["SHUTDOWN", "NOSAVE"]));
    assert_eq!(s.child.wait().expect("our child").code(), Some(0));
    let s = start(&program, &dir);
    let c = &mut s.client();
    assert_eq!(config(c, "configs.number"), "17");
    assert_eq!(config(c, "configs.text"), "two words \"q\"");
    assert_eq!(
        (config(c, "configs.color"), config(c, "configs.features")),
        ("blue".into(), "write".into())
    );

    // What is unloaded is not written any more.
    c.cmd(&["MODULE", "UNLOAD", "configs"]).ok();
    c.cmd(&["CONFIG", "REWRITE"]).ok();
    assert_eq!(of_modules(&dir), [format!("loadmodule {empty} one two")]);
}

#[test]
fn configs_survive_a_rewrite_and_a_restart() {
    check(real_modules().join("../bin/redis-server"));
    check(env!("CARGO_BIN_EXE_backplane").into());
}

/// Modules of Redis 8 choose names without a prefix, and second names.
#[test]
fn parameters_without_a_prefix() {
    let dir = fresh_dir("module-configs");
    let text = format!(
        "bind 127.0.0.1\nsave \"\"\nlogfile log\nother.number 9\nbare-flag no\nloadmodule {} 300\n",
        own("newer.so")
    );
    std::fs::write(dir.join("server.conf"), text).unwrap();
    let mut s = start(Path::new(env!("CARGO_BIN_EXE_backplane")), &dir);
    let c = &mut s.client();
    check_all(
        c,
            &[
                ("config get bare-number", "[bare-number 9]"),
                ("config get OTHER.number", "[OTHER.number 9]"),
                ("newer.get other.number", "[9 nil nil 9]"),
                ("newer.get bare-flag", "[no 0 nil nil]"),
                ("newer.type bare-flag", "bool"),
                ("config set other.number 10", "OK"),
                ("config get bare-number", "[bare-number 10]"),
                ("newer.set numeric bare-number 11", "OK"),
                ("newer.set numeric other.number 1001", "ERR argument must be between 0 and 1000 inclusive"),
                ("config get *.number", "[newer.number 0 other.number 11]"),
                ("config set bare-flag yes", "OK"),
                ("config set bare-flag maybe", "ERR CONFIG SET failed (possibly related to argument 'bare-flag') - argument must be 'yes' or 'no'"),
                ("config rewrite", "OK"),
            ],
    );
    // The second name gives way to the first.
    let text = std::fs::read_to_string(dir.join("server.conf")).expect("the file");
    let lines: Vec<&str> =
        text.lines().filter(|l| l.contains("number") || l.contains("flag")).collect();
    assert_eq!(lines, ["bare-number 11", "bare-flag yes"], "{text}");
    s.assert_alive();
}
