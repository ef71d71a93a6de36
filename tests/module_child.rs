//! `BGSAVE` with `module-exclusive yes`: a child writes the file, as on Redis, and the same is asserted of the reference.
mod common;
use common::{info, own_modules, until, Client, Reply, Server};

fn own(name: &str) -> String {
    own_modules().join(name).display().to_string()
}

/// Process ids of a process' children.
fn children(parent: u32) -> Vec<u32> {
    let parent = parent.to_string();
    let is_child = |pid: &u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // Behind the name, which may hold anything: state and parent.
        let rest = stat.rsplit(") ").next().unwrap_or_default();
        rest.split(' ').nth(1) == Some(&parent)
    };
    let all = std::fs::read_dir("/proc").expect("there is /proc");
    let pids = all.flatten().filter_map(|e| e.file_name().to_str()?.parse().ok());
    pids.filter(is_child).collect()
}

fn temporary_files(s: &Server) -> usize {
    let all = std::fs::read_dir(&s.dir).expect("the server's folder").flatten();
    all.filter(|e| e.file_name().to_string_lossy().starts_with("temp-")).count()
}

fn persistence(c: &mut Client, field: &str) -> String {
    info(c, "persistence", field)
}

fn begin(c: &mut Client) {
    assert_eq!(c.cmd(&["BGSAVE"]), Reply::Status("Background saving started".into()));
    assert_eq!(persistence(c, "rdb_bgsave_in_progress"), "1");
    // It is not a module's.
    assert_eq!(persistence(c, "module_fork_in_progress"), "0");
}

fn until_done(c: &mut Client, status: &str) {
    until("the end of the save", || persistence(c, "rdb_bgsave_in_progress") == "0");
    assert_eq!(persistence(c, "rdb_last_bgsave_status"), status);
}

fn check(s: &mut Server) {
    let (c, pid) = (&mut s.client(), s.child.id());
    c.cmd(&["CONFIG", "SET", "save", "3600 1000000", "rdb-key-save-delay", "10000000"]).ok();
    for i in 0..50 {
        c.cmd(&["dt.push", &format!("key{i}"), "int", "7"]);
    }
    let digest = c.cmd(&["DEBUG", "DIGEST"]);

    // Ended from outside: the save has failed, and with it writes.
    begin(c);
    let all = children(pid);
    assert_eq!(all.len(), 1, "one child");
    assert_eq!(c.cmd(&["BGSAVE"]), Reply::Error("ERR Background save already in progress".into()));
    // There is one child at a time.
    assert_eq!(c.cmd(&["fork.sleep", "1"]), Reply::Error("ERR errno 17".into()));
    // SAFETY: a plain system call.
    assert_eq!(unsafe { libc::kill(all[0] as i32, libc::SIGKILL) }, 0);
    until_done(c, "err");
    assert_eq!((children(pid).len(), temporary_files(s)), (0, 0));
    assert!(c.cmd(&["SET", "a", "1"]).text().starts_with("MISCONF "));
    assert!(s.log().contains("Background saving terminated by signal 9"), "{}", s.log());

    // Called off: neither done nor failed.
    c.cmd(&["CONFIG", "SET", "save", ""]).ok();
    begin(c);
    c.cmd(&["FLUSHALL"]).ok();
    until_done(c, "err");
    assert_eq!((children(pid).len(), temporary_files(s)), (0, 0));
    c.cmd(&["CONFIG", "SET", "rdb-key-save-delay", "0"]).ok();

    // Done: the child's module wrote all values.
    for i in 0..50 {
        c.cmd(&["dt.push", &format!("key{i}"), "int", "7"]);
    }
    begin(c);
    until_done(c, "ok");
    c.cmd(&["SET", "later", "1"]).ok();
    c.cmd(&["DEBUG", "RELOAD", "NOSAVE"]).ok();
    assert_eq!(c.cmd(&["DEBUG", "DIGEST"]), digest);
    assert_eq!(temporary_files(s), 0);

    // No child outlives the server.
    c.cmd(&["CONFIG", "SET", "rdb-key-save-delay", "10000000"]).ok();
    begin(c);
    let all = children(pid);
    assert_eq!(all.len(), 1);
    assert!(c.try_send(&["SHUTDOWN", "NOSAVE"]));
    let status = s.child.wait().expect("the server is our child");
    assert_eq!(status.code(), Some(0), "{}", s.log());
    // Whoever inherits it may take its time to collect it.
    let stat = || std::fs::read_to_string(format!("/proc/{}/stat", all[0])).unwrap_or_default();
    let gone = || stat().is_empty() || stat().contains(") Z ");
    until("the end of the child", gone);
    assert_eq!(temporary_files(s), 0);
}

#[test]
fn a_child_saves() {
    let modules = ["--loadmodule", &own("datatype.so"), "--loadmodule", &own("forkapi.so")];
    check(&mut Server::reference(&modules));
    let exclusive = [&["--module-exclusive", "yes"], &modules[..]].concat();
    check(&mut Server::start(&exclusive));
}

/// Without the directive there is no fork.
#[test]
fn otherwise_no_child_saves() {
    let s = Server::start(&["--loadmodule", &own("datatype.so")]);
    let c = &mut s.client();
    c.cmd(&["CONFIG", "SET", "rdb-key-save-delay", "10000000"]).ok();
    c.cmd(&["dt.push", "key", "int", "7"]);
    c.cmd(&["SET", "other", "1"]).ok();
    assert_eq!(c.cmd(&["BGSAVE"]), Reply::Status("Background saving started".into()));
    assert_eq!(children(s.child.id()), []);
    c.cmd(&["CONFIG", "SET", "rdb-key-save-delay", "0"]).ok();
    until_done(c, "ok");
}
