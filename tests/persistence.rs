//! What is saved comes back: over restarts, signals and `DEBUG RELOAD`, with modules, and while clients write.
mod common;
use common::{digest, fill, fresh_dir, own_modules, Reply, Server};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

fn signal(s: &mut Server, number: i32) -> Option<i32> {
    // SAFETY: layout: the pid of our own child, which was not waited for yet.
    unsafe { libc::kill(s.child.id() as i32, number) };
    s.child.wait().expect("the server ends").code()
}

#[test]
fn data_survives_restarts() {
    let dir = fresh_dir("persist");
    let points = ["--save", "3600 1"];
    let mut s = Server::start_in(dir.clone(), &points);
    let mut c = s.client();
    fill(&mut c);
    let before = digest(&mut c);
    assert_ne!(before, "0".repeat(40));
    assert_eq!(signal(&mut s, libc::SIGTERM), Some(0));
    let log = s.log();
    for line in [
        "Received SIGTERM scheduling shutdown...",
        "User requested shutdown...",
        "Saving the final RDB snapshot before exiting.",
        "DB saved on disk",
        "Redis is now ready to exit, bye bye...",
    ] {
        assert!(log.contains(line), "{line} is missing:\n{log}");
    }
    let s = Server::start_in(dir.clone(), &points);
    let mut c = s.client();
    assert_eq!(digest(&mut c), before);
    assert_eq!(c.cmd(&["PEXPIRETIME", "volatile"]).int(), 2_000_000_000_000);
    assert_eq!(
        c.cmd(&["HPEXPIRETIME", "small", "FIELDS", "2", "a", "b"]).items(),
        [Reply::Int(2_000_000_000_000), Reply::Int(-1)]
    );
    c.cmd(&["DEBUG", "RELOAD"]).ok();
    assert_eq!(digest(&mut c), before);
    c.cmd(&["SET", "string:0", "changed"]).ok();
    c.send(&["SHUTDOWN", "NOSAVE"]);
    assert_eq!(c.rest(), "");
    drop(s);
    let s = Server::start_in(dir, &points);
    assert_eq!(digest(&mut s.client()), before);
}

#[test]
fn without_save_points_nothing_is_saved() {
    let dir = fresh_dir("persist");
    let mut s = Server::start_in(dir.clone(), &[]);
    s.client().cmd(&["SET", "k", "v"]).ok();
    assert_eq!(signal(&mut s, libc::SIGINT), Some(0));
    assert!(!dir.join("dump.rdb").exists());
}

#[test]
fn damaged_files_end_the_start_with_a_reason() {
    let dir = fresh_dir("persist");
    let s = Server::start_in(dir.clone(), &[]);
    let mut c = s.client();
    fill(&mut c);
    c.cmd(&["SAVE"]).ok();
    drop(s);
    let good = std::fs::read(dir.join("dump.rdb")).unwrap();
    let n = good.len();
    let mut flipped = good.clone();
    flipped[n - 3] ^= 0x10;
    let mut signature = good.clone();
    signature[0] = b'X';
    let mut version = good.clone();
    version[5..9].copy_from_slice(b"0099");
    for (bytes, reason) in [
        (good[..n / 2].to_vec(), "(at offset "),
        (flipped, "Wrong RDB checksum"),
        (signature, "Wrong signature trying to load DB from file"),
        (version, "Can't handle RDB format version"),
        (Vec::new(), "Unexpected EOF reading RDB file"),
    ] {
        let dir = fresh_dir("damaged");
        std::fs::write(dir.join("dump.rdb"), bytes).unwrap();
        let status = Server::command(&dir, 0, &["--unixsocket", "s"]).status().unwrap();
        let log = std::fs::read_to_string(dir.join("log")).unwrap();
        assert_eq!(status.code(), Some(1), "{reason}:\n{log}");
        assert!(log.contains(reason), "{reason} is missing:\n{log}");
        assert!(log.contains("Fatal error loading the DB, check server logs. Exiting."), "{log}");
    }
}

/// The file's content, as a server that starts on a copy of it sees it.
fn loaded(file: &Path, args: &[&str]) -> Server {
    let dir = fresh_dir("copy");
    std::fs::copy(file, dir.join("dump.rdb")).unwrap();
    Server::start_in(dir, args)
}

#[test]
fn a_save_among_writers_is_one_state() {
    let s = Server::start(&["--server-threads", "2"]);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            let mut c = s.client();
            let stop = &stop;
            scope.spawn(move || {
                while !stop.load(Relaxed) {
                    // Keys of different shards, changed together.
                    c.cmd(&["MULTI"]).ok();
                    for key in ["a", "b", "c", "d"] {
                        c.cmd(&["INCR", key]);
                    }
                    let Reply::Array(_) = c.cmd(&["EXEC"]) else { panic!("EXEC failed") };
                }
            });
        }
        let mut c = s.client();
        for round in 0..5 {
            c.cmd(&[if round % 2 == 0 { "SAVE" } else { "BGSAVE" }]);
            while c.cmd(&["INFO", "persistence"]).text().contains("rdb_bgsave_in_progress:1") {}
            let copy = loaded(&s.dir.join("dump.rdb"), &[]);
            let counts = copy.client().cmd(&["MGET", "a", "b", "c", "d"]);
            let counts = counts.items();
            assert!(counts.iter().all(|n| *n == counts[0]), "round {round}: {counts:?}");
        }
        stop.store(true, Relaxed);
    });
}

#[test]
fn module_values_and_their_auxiliary_data() {
    let module = own_modules().join("datatype.so").display().to_string();
    let load = ["--loadmodule", &module];
    let dir = fresh_dir("persist");
    let s = Server::start_in(dir.clone(), &load);
    let mut c = s.client();
    for v in ["1", "-5", "9000000000"] {
        c.cmd(&["dt.push", "k", "int", v]);
    }
    c.cmd(&["dt.push", "k", "str", &"text ".repeat(50)]);
    c.cmd(&["dt.aux", "77"]);
    let before = c.cmd(&["dt.range", "k"]);
    c.cmd(&["SAVE"]).ok();
    drop(s);
    let s = Server::start_in(dir.clone(), &load);
    let mut c = s.client();
    assert_eq!(c.cmd(&["dt.range", "k"]), before);
    assert_eq!(c.cmd(&["dt.auxseen"]).items(), [Reply::Int(77), Reply::Int(77)]);
    c.cmd(&["DEBUG", "RELOAD"]).ok();
    assert_eq!(c.cmd(&["dt.range", "k"]), before);
    c.cmd(&["COPY", "k", "copy"]);
    c.cmd(&["DEL", "k"]);
    assert_eq!(c.cmd(&["dt.range", "copy"]), before);
    drop(s);
}

#[test]
fn what_is_allowed_is_answered_while_data_is_loaded() {
    let dir = fresh_dir("slow-load");
    let mut s = Server::start_in(dir.clone(), &["--save", "3600 1"]);
    s.client().cmd(&["DEBUG", "POPULATE", "50000"]).ok();
    s.client().send(&["SHUTDOWN", "SAVE"]);
    s.child.wait().unwrap();
    let port = s.port;
    let child = Server::command(&dir, port, &["--key-load-delay", "1000"]).spawn().unwrap();
    let s = Server { child, port, dir };
    let mut c = loop {
        match std::net::TcpStream::connect(("127.0.0.1", port)) {
            // It may have met itself.
            Ok(stream) if stream.local_addr().unwrap() != stream.peer_addr().unwrap() => {
                break common::Client::on(stream);
            }
            _ => std::thread::sleep(std::time::Duration::from_millis(20)),
        }
    };
    let loading = |c: &mut common::Client| {
        assert_eq!(common::info(c, "persistence", "loading"), "1");
    };
    loading(&mut c);
    // This needs the thread that loads.
    c.cmd(&["DEBUG", "LOG", "meanwhile"]).ok();
    c.cmd(&["CONFIG", "SET", "maxmemory", "0"]).ok();
    let refused = c.cmd(&["DEBUG", "RELOAD"]);
    assert!(matches!(refused, Reply::Error(_)), "{refused:?}");
    let refused = c.cmd(&["SET", "k", "v"]);
    assert_eq!(refused.text(), "LOADING Redis is loading the dataset in memory");
    loading(&mut c);
    assert!(s.log().contains("DEBUG LOG: meanwhile"));
}

#[test]
fn two_servers_on_one_folder_are_told() {
    let told = |s: &Server| s.log().matches("WARNING: another server uses the folder").count();
    let dir = fresh_dir("shared");
    let first = Server::start_in(dir.clone(), &["--logfile", "first.log"]);
    let second = Server::start_in(dir.clone(), &["--enable-protected-configs", "yes"]);
    assert_eq!(told(&second), 1, "{}", second.log());
    assert!(!std::fs::read_to_string(dir.join("first.log")).unwrap().contains("another server"));
    // One that moves away and back again: alone in between, and told again.
    let mut c = second.client();
    let other = fresh_dir("own");
    c.cmd(&["CONFIG", "SET", "dir", other.to_str().unwrap()]).ok();
    drop(first);
    c.cmd(&["CONFIG", "SET", "dir", dir.to_str().unwrap()]).ok();
    assert_eq!(told(&second), 1, "{}", second.log());
    let third = Server::start_in(dir.clone(), &["--logfile", "third.log"]);
    let log = std::fs::read_to_string(dir.join("third.log")).unwrap();
    assert!(log.contains("WARNING: another server uses the folder"), "{log}");
    drop(third);
    // After the death of both it is nobody's.
    drop(second);
    let fourth = Server::start_in(dir.clone(), &["--logfile", "fourth.log"]);
    let log = std::fs::read_to_string(dir.join("fourth.log")).unwrap();
    assert!(!log.contains("another server"), "{log}");
    drop(fourth);
}
