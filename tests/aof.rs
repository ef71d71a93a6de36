//! The append-only file: what it has in it, that it comes back, and that what was acknowledged survives whatever happens to
//! the process.
mod common;
use common::{digest, fill, fresh_dir, until, Client, Reply, Server};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::SeqCst};
use std::time::Duration;

const ON: [&str; 4] = ["--appendonly", "yes", "--auto-aof-rewrite-percentage", "0"];

fn with<'a>(more: &[&'a str]) -> Vec<&'a str> {
    ON.iter().chain(more).copied().collect()
}

fn info(c: &mut Client, field: &str) -> String {
    let reply = c.cmd(&["INFO", "persistence"]);
    let line = reply.text().lines().find_map(|l| l.strip_prefix(&format!("{field}:")));
    line.unwrap_or_else(|| panic!("no {field}")).trim().to_string()
}

fn rewritten(c: &mut Client) {
    until("the end of the rewrite", || {
        info(c, "aof_rewrite_in_progress") == "0" && info(c, "aof_rewrite_scheduled") == "0"
    });
    assert_eq!(info(c, "aof_last_bgrewrite_status"), "ok");
}

fn kill(mut s: Server) {
    s.child.kill().expect("our own child");
    s.child.wait().expect("it ends");
}

/// The commands of an incremental file, as one line of words each.
fn commands(dir: &Path, name: &str) -> Vec<String> {
    let text = std::fs::read(dir.join("appendonlydir").join(name)).expect("the file is there");
    let text = String::from_utf8(text).expect("plain text");
    let mut lines = text.split("\r\n").filter(|l| !l.starts_with("#TS:"));
    let mut all = Vec::new();
    while let Some(n) = lines.next().and_then(|l| l.strip_prefix('*')) {
        let n: usize = n.parse().expect("a number");
        let words: Vec<&str> =
            (0..n).filter_map(|_| lines.next().and_then(|_| lines.next())).collect();
        all.push(words.join(" "));
    }
    all
}

#[test]
fn units_are_written_as_redis_writes_them() {
    let s = Server::start(&ON);
    let mut c = s.client();
    c.cmd(&["SET", "a", "1"]);
    c.cmd(&["GET", "a"]);
    for line in [&["MULTI"][..], &["SET", "b", "1"], &["GET", "b"], &["EXEC"]] {
        c.cmd(line);
    }
    for line in [&["MULTI"][..], &["SET", "b", "2"], &["INCR", "a"], &["EXEC"]] {
        c.cmd(line);
    }
    c.cmd(&["EVAL", "redis.call('SET', KEYS[1], 5) redis.call('INCR', KEYS[1])", "1", "c"]);
    c.cmd(&["EVAL", "return redis.call('SET', KEYS[1], 5)", "1", "c"]);
    c.cmd(&["SETEX", "d", "100000", "x"]);
    c.cmd(&["SPOP", "nothing"]);
    c.cmd(&["FLUSHALL"]);
    c.cmd(&["FLUSHALL"]);
    c.cmd(&["SELECT", "3"]);
    c.cmd(&["MULTI"]);
    c.cmd(&["SET", "x", "1"]);
    c.cmd(&["SELECT", "4"]);
    c.cmd(&["SET", "y", "1"]);
    c.cmd(&["EXEC"]);
    let mut all = commands(&s.dir, "appendonly.aof.1.incr.aof");
    let at = all.iter().position(|l| l.starts_with("SET d x PXAT 1")).expect("SETEX as SET");
    all.remove(at);
    let want = "SELECT 0|SET a 1|SET b 1|MULTI|SET b 2|INCR a|EXEC|MULTI|SET c 5|INCR c|EXEC|SET c 5|FLUSHALL|FLUSHALL|\
                MULTI|SELECT 3|SET x 1|SELECT 4|SET y 1|EXEC";
    assert_eq!(all.join("|"), want);
}

#[test]
fn an_expired_key_is_deleted_in_the_log_before_its_successor() {
    let s = Server::start(&ON);
    let mut c = s.client();
    c.cmd(&["DEBUG", "SET-ACTIVE-EXPIRE", "0"]).ok();
    c.cmd(&["SET", "k", "old", "PX", "1"]).ok();
    std::thread::sleep(Duration::from_millis(20));
    c.cmd(&["APPEND", "k", "new"]);
    let all = commands(&s.dir, "appendonly.aof.1.incr.aof");
    assert_eq!(all[2..], ["MULTI", "DEL k", "APPEND k new", "EXEC"]);
}

#[test]
fn everything_comes_back() {
    for preamble in ["yes", "no"] {
        let dir = fresh_dir("aof");
        let args = with(&["--aof-use-rdb-preamble", preamble, "--aof-timestamp-enabled", "yes"]);
        let s = Server::start_in(dir.clone(), &args);
        let mut c = s.client();
        fill(&mut c);
        let before = digest(&mut c);
        kill(s);
        // From the incremental file.
        let s = Server::start_in(dir.clone(), &args);
        let mut c = s.client();
        assert_eq!(digest(&mut c), before);
        assert_eq!(c.cmd(&["FCALL", "f", "0"]), Reply::Int(7));
        assert_eq!(
            c.cmd(&["BGREWRITEAOF"]).text(),
            "Background append only file rewriting started"
        );
        rewritten(&mut c);
        c.cmd(&["SET", "later", "1"]).ok();
        let before = digest(&mut c);
        let groups = c.cmd(&["XINFO", "STREAM", "stream", "FULL"]);
        kill(s);
        // From the base file.
        let s = Server::start_in(dir, &args);
        let mut c = s.client();
        assert_eq!(digest(&mut c), before, "preamble {preamble}");
        assert_eq!(c.cmd(&["FCALL", "f", "0"]), Reply::Int(7));
        let after = c.cmd(&["XINFO", "STREAM", "stream", "FULL"]);
        assert_eq!(after.items().len(), groups.items().len());
        assert_eq!(c.cmd(&["XLEN", "empty"]), Reply::Int(0));
        assert_eq!(c.cmd(&["DEBUG", "LOADAOF"]), Reply::Status("OK".into()));
        assert_eq!(digest(&mut c), before);
    }
}

#[test]
fn switched_on_and_off_while_it_runs() {
    let dir = fresh_dir("aof");
    let s = Server::start_in(dir.clone(), &[]);
    let mut c = s.client();
    fill(&mut c);
    assert_eq!(c.cmd(&["WAITAOF", "1", "0", "0"]).text().split(' ').next(), Some("ERR"));
    c.cmd(&["CONFIG", "SET", "appendonly", "yes"]).ok();
    c.cmd(&["SET", "meanwhile", "1"]).ok();
    rewritten(&mut c);
    c.cmd(&["SET", "after", "1"]).ok();
    let synced = c.cmd(&["WAITAOF", "1", "0", "0"]);
    assert_eq!(synced, Reply::Array(vec![Reply::Int(1), Reply::Int(0)]));
    let names = std::fs::read_to_string(dir.join("appendonlydir/appendonly.aof.manifest"));
    assert_eq!(
        names.expect("a manifest"),
        "file appendonly.aof.1.base.rdb seq 1 type b\nfile appendonly.aof.1.incr.aof seq 1 type i\n"
    );
    let before = digest(&mut c);
    c.cmd(&["CONFIG", "SET", "appendonly", "no"]).ok();
    c.cmd(&["SET", "not in it", "1"]).ok();
    assert_eq!(info(&mut c, "aof_enabled"), "0");
    kill(s);
    let s = Server::start_in(dir.clone(), &ON);
    let mut c = s.client();
    assert_eq!(digest(&mut c), before);
    assert_eq!(c.cmd(&["EXISTS", "not in it"]), Reply::Int(0));
    // Off again, a base file alone, and on again: incremental files count from one.
    c.cmd(&["CONFIG", "SET", "appendonly", "no"]).ok();
    c.cmd(&["BGREWRITEAOF"]);
    rewritten(&mut c);
    let manifest = dir.join("appendonlydir/appendonly.aof.manifest");
    let names = || std::fs::read_to_string(&manifest).expect("a manifest");
    assert_eq!(names(), "file appendonly.aof.2.base.rdb seq 2 type b\n");
    c.cmd(&["DEBUG", "LOADAOF"]).ok();
    assert_eq!(digest(&mut c), before);
    c.cmd(&["CONFIG", "SET", "appendonly", "yes"]).ok();
    rewritten(&mut c);
    c.cmd(&["CONFIG", "SET", "aof-disable-auto-gc", "yes"]).ok();
    for _ in 0..2 {
        c.cmd(&["BGREWRITEAOF"]);
        rewritten(&mut c);
    }
    assert_eq!(
        names(),
        "file appendonly.aof.5.base.rdb seq 5 type b\nfile appendonly.aof.2.incr.aof seq 2 type h\nfile \
         appendonly.aof.4.base.rdb seq 4 type h\nfile appendonly.aof.1.incr.aof seq 1 type h\nfile \
         appendonly.aof.3.base.rdb seq 3 type h\nfile appendonly.aof.3.incr.aof seq 3 type i\n"
    );
    c.cmd(&["CONFIG", "SET", "aof-disable-auto-gc", "no"]).ok();
    assert_eq!(
        names(),
        "file appendonly.aof.5.base.rdb seq 5 type b\nfile appendonly.aof.3.incr.aof seq 3 type i\n"
    );
}

/// A folder with a manifest that names one incremental file with these bytes.
/// A rewrite that runs when the file is switched on has not collected anything: it is of no use for it.
#[test]
fn switched_on_while_a_rewrite_runs_it_begins_anew() {
    let s = Server::start(&["--appendfsync", "always"]);
    let mut c = s.client();
    let begins_slowly = |c: &mut Client, command: &[&str]| {
        c.cmd(&["CONFIG", "SET", "rdb-key-save-delay", "1000"]).ok();
        c.cmd(command);
        let file = format!("temp-rewriteaof-bg-{}.aof", s.child.id());
        until("a rewrite runs", || s.dir.join(&file).exists());
    };
    c.cmd(&["DEBUG", "POPULATE", "20000"]).ok();
    // Something is left from a first time that was broken off.
    begins_slowly(&mut c, &["CONFIG", "SET", "appendonly", "yes"]);
    let collected = s.dir.join("appendonlydir/temp-appendonly.aof.incr");
    until("it collects", || collected.exists());
    c.cmd(&["SET", "k", "old"]).ok();
    c.cmd(&["CONFIG", "SET", "appendonly", "no"]).ok();
    assert!(!collected.exists(), "of no use any more");
    c.cmd(&["SET", "k", "new"]).ok();
    until("it ends", || info(&mut c, "aof_rewrite_in_progress") == "0");
    begins_slowly(&mut c, &["BGREWRITEAOF"]);
    c.cmd(&["CONFIG", "SET", "appendonly", "yes"]).ok();
    c.cmd(&["CONFIG", "SET", "rdb-key-save-delay", "0"]).ok();
    rewritten(&mut c);
    assert!(!s.log().contains("terminated with error"), "{}", s.log());
    c.cmd(&["SET", "last", "acknowledged"]).ok();
    // The same in a transaction, where no rewrite can be begun.
    c.cmd(&["CONFIG", "SET", "appendonly", "no"]).ok();
    begins_slowly(&mut c, &["BGREWRITEAOF"]);
    for line in [&["MULTI"][..], &["CONFIG", "SET", "appendonly", "yes"], &["EXEC"]] {
        c.cmd(line);
    }
    c.cmd(&["CONFIG", "SET", "rdb-key-save-delay", "0"]).ok();
    rewritten(&mut c);
    c.cmd(&["INCR", "later"]);
    let dir = s.dir.clone();
    kill(s);
    let s = Server::start_in(dir, &ON);
    let mut c = s.client();
    let values = c.cmd(&["MGET", "k", "last", "later"]);
    let values: Vec<_> = values.items().iter().map(Reply::text).collect();
    assert_eq!(values, ["new", "acknowledged", "1"]);
}

fn folder_with(bytes: &[u8]) -> std::path::PathBuf {
    let dir = fresh_dir("aof");
    let inner = dir.join("appendonlydir");
    std::fs::create_dir(&inner).unwrap();
    std::fs::write(inner.join("appendonly.aof.1.incr.aof"), bytes).unwrap();
    let manifest = "file appendonly.aof.1.incr.aof seq 1 type i\n";
    std::fs::write(inner.join("appendonly.aof.manifest"), manifest).unwrap();
    dir
}

fn resp(lines: &[&str]) -> Vec<u8> {
    lines.iter().flat_map(|l| common::encode(&l.split(' ').collect::<Vec<_>>())).collect()
}

fn refused(bytes: &[u8], more: &[&str], line: &str) {
    let dir = folder_with(bytes);
    let status = Server::command(&dir, 0, &with(more)).args(["--unixsocket", "sock"]).status();
    let log = std::fs::read_to_string(dir.join("log")).expect("a log");
    assert_eq!(status.expect("the server runs").code(), Some(1), "{log}");
    assert!(log.contains(line), "{line} is missing:\n{log}");
}

#[test]
fn a_torn_end_is_cut_off() {
    let whole = resp(&["SET a 1", "SET b 1"]);
    let torn = [whole.clone(), resp(&["SET a 2"])[..20].to_vec()].concat();
    let half = [whole.clone(), resp(&["MULTI", "SET a 2", "SET b 2"])].concat();
    let torn_half = half[..half.len() - 3].to_vec();
    for bytes in [torn, half, torn_half] {
        let dir = folder_with(&bytes);
        let s = Server::start_in(dir.clone(), &ON);
        let mut c = s.client();
        assert_eq!(c.cmd(&["MGET", "a", "b"]).items()[0].int(), 1);
        assert!(s.log().contains(&format!("at offset {} !!!", whole.len())), "{}", s.log());
        assert_eq!(c.cmd(&["INCR", "a"]), Reply::Int(2));
        kill(s);
        let s = Server::start_in(dir, &ON);
        assert_eq!(s.client().cmd(&["GET", "a"]).int(), 2);
        refused(&bytes, &["--aof-load-truncated", "no"], "Unexpected end of file reading");
    }
}

#[test]
fn a_torn_end_may_be_followed_by_files_without_anything() {
    // A rewrite has made the next file, and the log has not gone over to it.
    let whole = resp(&["SET a 1"]);
    let torn = [whole.clone(), resp(&["SET a 2"])[..20].to_vec()].concat();
    let folder = |third: &[u8]| {
        let dir = folder_with(&torn);
        let inner = dir.join("appendonlydir");
        let mut names = String::new();
        for (seq, bytes) in [(1, &torn[..]), (2, b""), (3, third)] {
            let name = format!("appendonly.aof.{seq}.incr.aof");
            std::fs::write(inner.join(&name), bytes).unwrap();
            names.push_str(&format!("file {name} seq {seq} type i\n"));
        }
        std::fs::write(inner.join("appendonly.aof.manifest"), names).unwrap();
        dir
    };
    let dir = folder(b"");
    let s = Server::start_in(dir.clone(), &ON);
    assert!(s.log().contains(&format!("at offset {} !!!", whole.len())), "{}", s.log());
    assert_eq!(s.client().cmd(&["INCR", "a"]), Reply::Int(2));
    kill(s);
    assert_eq!(Server::start_in(dir, &ON).client().cmd(&["GET", "a"]).int(), 2);

    let dir = folder(&whole);
    let status = Server::command(&dir, 0, &ON).args(["--unixsocket", "sock"]).status();
    assert_eq!(status.expect("the server runs").code(), Some(1));
    let log = std::fs::read_to_string(dir.join("log")).expect("a log");
    assert!(log.contains("the truncated file is not the last file"), "{log}");
}

#[test]
fn what_is_no_command_ends_the_start() {
    let good = resp(&["SET a 1"]);
    refused(&[&good[..], b"!!!", &good].concat(), &[], "Bad file format reading the append only");
    refused(&resp(&["BLA a 1"]), &[], "Unknown command 'BLA' reading the append only file");
    refused(b"REDIS0011\xfa", &[], "Error reading the RDB base file");
}

#[test]
fn what_fails_is_told_and_changes_are_counted() {
    let lines = ["SET a 1", "LPUSH a 1", "SELECT 99", "EXEC", "SET b 2"];
    let s = Server::start_in(folder_with(&resp(&lines)), &ON);
    for (error, command) in [
        ("-WRONGTYPE Operation against a key holding the wrong kind of value", "lpush"),
        ("DB index is out of range", "select"),
        ("EXEC without MULTI", "exec"),
    ] {
        let line = format!(
            "== CRITICAL == This server is sending an error to its AOF-loading-client: '{error}' after processing the \
             command '{command}'"
        );
        assert!(s.log().contains(&line), "{line} is missing:\n{}", s.log());
    }
    let mut c = s.client();
    // The file counts as changes since the last save, as on Redis; a reload of it does not.
    assert_eq!(info(&mut c, "rdb_changes_since_last_save"), "2");
    c.cmd(&["DEBUG", "LOADAOF"]).ok();
    assert_eq!(info(&mut c, "rdb_changes_since_last_save"), "0");
    assert_eq!(c.cmd(&["DBSIZE"]).int(), 2);
}

#[test]
fn a_file_of_before_manifests_is_taken_over() {
    let dir = fresh_dir("aof");
    std::fs::write(dir.join("appendonly.aof"), resp(&["SET a 1", "SELECT 2", "SET b 2"])).unwrap();
    let s = Server::start_in(dir.clone(), &ON);
    assert_eq!(s.client().cmd(&["GET", "a"]).int(), 1);
    assert!(!dir.join("appendonly.aof").exists());
    assert!(s.log().contains("Successfully migrated an old-style AOF file (appendonly.aof)"));
}

#[test]
fn no_key_expires_while_it_is_loaded() {
    // The second command needs what the first one left, although that has expired long ago.
    let lines = ["SET k 5", "PEXPIREAT k 1000", "INCR k", "PERSIST k", "HSET h f 1 g 1"];
    let more = ["HPEXPIREAT h 1000 FIELDS 1 f", "HINCRBY h f 1", "HPERSIST h FIELDS 1 f"];
    let dir = folder_with(&resp(&[&lines[..], &more].concat()));
    let s = Server::start_in(dir, &ON);
    let mut c = s.client();
    assert_eq!(c.cmd(&["GET", "k"]).int(), 6);
    assert_eq!(c.cmd(&["HGET", "h", "f"]).int(), 2);
}

fn tool(args: &[&str], dir: &Path) -> (Option<i32>, String) {
    let out = Command::new(env!("CARGO_BIN_EXE_backplane")).args(args).current_dir(dir).output();
    let out = out.expect("the tool runs");
    (out.status.code(), String::from_utf8_lossy(&out.stdout).into_owned())
}

#[test]
fn the_tools_find_what_is_wrong() {
    let good = resp(&["SET a 1"]);
    let dir = folder_with(&[&good[..], b"!!!"].concat());
    let manifest = "appendonlydir/appendonly.aof.manifest";
    let (code, text) = tool(&["check-aof", manifest], &dir);
    assert_eq!(code, Some(1));
    for line in [
        "Start checking Multi Part AOF",
        "AOF appendonly.aof.1.incr.aof format error",
        "AOF analyzed: filename=appendonly.aof.1.incr.aof, size=30, ok_up_to=27, ok_up_to_line=8, diff=3",
        "is not valid. Use the --fix option",
    ] {
        assert!(text.contains(line), "{line} is missing:\n{text}");
    }
    let mut fix = Command::new(env!("CARGO_BIN_EXE_backplane"))
        .args(["check-aof", "--fix", manifest])
        .current_dir(&dir)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("the tool runs");
    std::io::Write::write_all(&mut fix.stdin.take().unwrap(), b"y\n").unwrap();
    assert_eq!(fix.wait().unwrap().code(), Some(0));
    let (code, text) = tool(&["check-aof", manifest], &dir);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("All AOF files and manifest are valid"));

    let s = Server::start(&[]);
    let mut c = s.client();
    fill(&mut c);
    c.cmd(&["SAVE"]).ok();
    let (code, text) = tool(&["check-rdb", "dump.rdb"], &s.dir);
    assert_eq!(code, Some(0), "{text}");
    assert!(
        text.contains("\\o/ RDB looks OK! \\o/") && text.contains("[info] 310 keys read"),
        "{text}"
    );
    let mut bytes = std::fs::read(s.dir.join("dump.rdb")).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x55;
    std::fs::write(s.dir.join("bad.rdb"), bytes).unwrap();
    let (code, text) = tool(&["check-rdb", "bad.rdb"], &s.dir);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("--- RDB ERROR DETECTED ---"), "{text}");
}

/// A server whose files cannot grow beyond `bytes`.
fn limited(dir: &Path, bytes: u64, args: &[&str]) -> Server {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut command = Server::command(dir, port, args);
    // SAFETY: layout: one system call between fork and exec.
    unsafe {
        command.pre_exec(move || {
            let limit = libc::rlimit { rlim_cur: bytes, rlim_max: libc::RLIM_INFINITY };
            libc::setrlimit(libc::RLIMIT_FSIZE, &limit);
            Ok(())
        });
    }
    let child = command.spawn().expect("the server starts");
    let s = Server { child, port, dir: dir.to_path_buf() };
    until("the start", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
    until("the loading", || s.client().cmd(&["PING"]) == Reply::Status("PONG".into()));
    s
}

#[test]
fn a_full_disk_stops_writes_until_there_is_room() {
    let dir = fresh_dir("aof");
    let s = limited(&dir, 100_000, &ON);
    let mut c = s.client();
    let value = "x".repeat(1000);
    let mut n = 0;
    let error = loop {
        match c.cmd(&["SET", &format!("k{n}"), &value]) {
            Reply::Status(_) => n += 1,
            Reply::Error(e) => break e,
            other => panic!("{other:?}"),
        }
        assert!(n < 1000, "the limit is never reached");
    };
    assert_eq!(error, "MISCONF Errors writing to the AOF file: No space left on device");
    assert!(c.cmd(&["PING"]).text().starts_with("MISCONF"));
    assert_eq!(c.cmd(&["GET", "k0"]), Reply::Bulk(value.clone()));
    assert_eq!(info(&mut c, "aof_last_write_status"), "err");
    let script = ["EVAL", "return redis.call('SET', KEYS[1], 1)", "1", "k"];
    assert!(c.cmd(&script).text().contains("MISCONF Errors writing to the AOF file"));
    make_room(&s);
    until("the end of the trouble", || c.cmd(&["SET", "again", "1"]) == Reply::Status("OK".into()));
    assert!(s.log().contains("AOF write error looks solved, Redis can write again."));
    let before = digest(&mut c);
    kill(s);
    let s = Server::start_in(dir, &ON);
    let mut c = s.client();
    assert_eq!(digest(&mut c), before);
    assert_eq!(c.cmd(&["DBSIZE"]), Reply::Int(n + 1));
}

#[test]
fn a_failed_write_is_tried_again_though_nobody_asks_for_anything() {
    // Without the thread that syncs, which would look, too.
    let s = limited(&fresh_dir("aof"), 100_000, &with(&["--appendfsync", "no"]));
    let mut c = s.client();
    let value = "x".repeat(1000);
    while c.cmd(&["RPUSH", "k", &value]) != Reply::Nil {
        if info(&mut c, "aof_last_write_status") == "err" {
            break;
        }
    }
    drop(c);
    // The cron has tried it, too, and has to come back.
    std::thread::sleep(Duration::from_millis(300));
    make_room(&s);
    until("the write", || s.log().contains("AOF write error looks solved"));
}

#[test]
fn a_full_disk_ends_a_server_that_syncs_always() {
    let dir = fresh_dir("aof");
    let mut s = limited(&dir, 100_000, &with(&["--appendfsync", "always"]));
    let mut c = s.client();
    let value = "x".repeat(1000);
    let mut n = 0;
    while {
        c.send(&["SET", &format!("k{n}"), &value]);
        c.try_read().is_some()
    } {
        n += 1;
        assert!(n < 1000, "the limit is never reached");
    }
    assert_eq!(s.child.wait().unwrap().code(), Some(1));
    assert!(s
        .log()
        .contains("Can't recover from AOF write error when the AOF fsync policy is 'always'"));
    let s = Server::start_in(dir, &ON);
    assert!(s.client().cmd(&["DBSIZE"]).int() >= n, "{n} were acknowledged");
}

/// Lifts the limit of [`limited`].
fn make_room(s: &Server) {
    let more = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: layout: the limit of our own child; nothing is written to us.
    let raised = unsafe {
        let none = std::ptr::null_mut();
        libc::prlimit(s.child.id() as i32, libc::RLIMIT_FSIZE, &more, none)
    };
    assert_eq!(raised, 0);
}

#[test]
fn a_full_disk_fails_saves_and_rewrites_and_leaves_what_there_was() {
    let dir = fresh_dir("aof");
    let s = limited(&dir, 200_000, &["--save", "3600 1000000", "--rdbcompression", "no"]);
    let mut c = s.client();
    c.cmd(&["SET", "small", "1"]).ok();
    c.cmd(&["SAVE"]).ok();
    let before = std::fs::read(dir.join("dump.rdb")).unwrap();
    for i in 0..300 {
        c.cmd(&["SET", &format!("k{i}"), &format!("{i:01000}")]).ok();
    }
    assert!(matches!(c.cmd(&["SAVE"]), Reply::Error(_)));
    c.cmd(&["BGSAVE"]);
    until("the end of the save", || info(&mut c, "rdb_bgsave_in_progress") == "0");
    assert_eq!(info(&mut c, "rdb_last_bgsave_status"), "err");
    let line = "Write error while saving DB to the disk: ";
    assert!(s.log().matches(line).count() >= 2, "{}", s.log());
    assert!(c
        .cmd(&["SET", "a", "1"])
        .text()
        .starts_with("MISCONF Redis is configured to save RDB"));
    assert_eq!(c.cmd(&["GET", "small"]).int(), 1);
    // The file of before is whole, and nothing half done is left beside it.
    assert_eq!(std::fs::read(dir.join("dump.rdb")).unwrap(), before);
    let names = |dir: &Path| {
        let all = std::fs::read_dir(dir).unwrap().map(|f| f.unwrap().file_name());
        let mut all: Vec<_> = all.map(|n| n.into_string().unwrap()).collect();
        all.sort();
        all
    };
    assert_eq!(names(&dir), ["dump.rdb", "log"]);

    // Nor does a base file fit. What was collected for it goes, and the next try begins anew.
    c.cmd(&["CONFIG", "SET", "appendonly", "yes"]).ok();
    until("a failed rewrite", || s.log().contains("Removing the temp incr aof file"));
    assert_eq!(info(&mut c, "aof_last_bgrewrite_status"), "err");
    assert!(!dir.join("appendonlydir/appendonly.aof.manifest").exists());
    make_room(&s);
    let ok = Reply::Status("OK".into());
    until("the end of the trouble", || {
        // Refused while another rewrite is being tried.
        c.cmd(&["BGSAVE"]);
        c.cmd(&["SET", "a", "1"]) == ok
    });
    // One that began before there was room may still be about to fail.
    until("a rewrite that succeeds", || {
        let reply = c.cmd(&["INFO", "persistence"]);
        let says = |what: &str| reply.text().lines().any(|line| line.trim() == what);
        let idle = says("aof_rewrite_in_progress:0") && says("aof_rewrite_scheduled:0");
        let ok = says("aof_last_bgrewrite_status:ok");
        if idle && !ok {
            c.cmd(&["BGREWRITEAOF"]);
        }
        idle && ok
    });
    until("the end of the save", || info(&mut c, "rdb_bgsave_in_progress") == "0");
    assert_eq!(
        names(&dir.join("appendonlydir")),
        ["appendonly.aof.1.base.rdb", "appendonly.aof.1.incr.aof", "appendonly.aof.manifest"]
    );
    assert_eq!(names(&dir), ["appendonlydir", "dump.rdb", "log"]);
    c.cmd(&["SET", "b", "1"]).ok();
    let digest_before = digest(&mut c);
    kill(s);
    let s = Server::start_in(dir, &ON);
    assert_eq!(digest(&mut s.client()), digest_before);
}

#[test]
fn no_reply_waits_while_there_is_no_file_to_write() {
    // The name of the first base file is taken by a folder: the first rewrite fails at its end.
    let dir = fresh_dir("aof");
    std::fs::create_dir_all(dir.join("appendonlydir/appendonly.aof.1.base.rdb/x")).unwrap();
    let s = Server::start_in(dir.clone(), &["--appendfsync", "always", "--server-threads", "2"]);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for i in 0..3 {
            let (mut c, over) = (s.client(), &over);
            scope.spawn(move || {
                while !over.load(SeqCst) {
                    c.cmd(&["INCR", &format!("n{i}")]);
                }
            });
        }
        let mut c = s.client();
        c.cmd(&["CONFIG", "SET", "appendonly", "yes"]).ok();
        until("two failures", || info(&mut c, "aof_rewrites_consecutive_failures").as_str() >= "2");
        std::fs::remove_dir_all(dir.join("appendonlydir/appendonly.aof.1.base.rdb")).unwrap();
        c.cmd(&["BGREWRITEAOF"]);
        until("a base", || dir.join("appendonlydir/appendonly.aof.manifest").exists());
        rewritten(&mut c);
        over.store(true, SeqCst);
    });
    assert!(s.log().contains("Removing the temp incr aof file temp-appendonly.aof.incr"));
    assert!(!dir.join("appendonlydir/temp-appendonly.aof.incr").exists());
    let before = digest(&mut s.client());
    kill(s);
    let s = Server::start_in(dir, &ON);
    assert_eq!(digest(&mut s.client()), before);
}

/// What one writer knows.
#[derive(Default)]
struct Book {
    /// The last number that was acknowledged.
    acknowledged: AtomicI64,
    /// The last number that was sent.
    sent: AtomicI64,
}

/// Writes until the server is gone. Each round is one unit that leaves its keys equal.
fn write(port: u16, number: usize, book: &Book) {
    let Ok(stream) = std::net::TcpStream::connect(("127.0.0.1", port)) else { return };
    let mut c = Client::on(stream);
    // Keys in different shards; the third one is shared by all writers.
    let (a, b) = (format!("a{number}"), format!("b{number}"));
    let script =
        "redis.call('INCR', KEYS[1]) redis.call('INCR', KEYS[2]) redis.call('DECR', 'left') \
                  redis.call('INCR', 'right') return redis.call('GET', KEYS[1])";
    loop {
        book.sent.fetch_add(1, SeqCst);
        let reply = if number % 2 == 0 {
            for line in [
                &["MULTI"][..],
                &["INCR", &a],
                &["INCR", &b],
                &["DECR", "left"],
                &["INCR", "right"],
                &["EXEC"],
            ] {
                if !c.try_send(line) {
                    return;
                }
            }
            let mut last = None;
            for _ in 0..6 {
                last = c.try_read();
            }
            last.map(|r| r.items()[0].int())
        } else {
            c.try_send(&["EVAL", script, "2", &a, &b]);
            c.try_read().map(|r| r.int())
        };
        let Some(n) = reply else { return };
        book.acknowledged.store(n, SeqCst);
    }
}

fn number(c: &mut Client, key: &str) -> i64 {
    match c.cmd(&["GET", key]) {
        Reply::Nil => 0,
        other => other.int(),
    }
}

/// Kills the server at random moments under load, and looks what is left.
fn kill_rounds(policy: &str, preamble: &str) {
    const WRITERS: usize = 6;
    let rounds = std::env::var("KILL_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(3);
    let dir = fresh_dir("aof");
    let args = with(&["--appendfsync", policy, "--aof-use-rdb-preamble", preamble]);
    let books: Vec<Book> = (0..WRITERS).map(|_| Book::default()).collect();
    let mut random = std::process::id() as u64 * 0x9e37_79b9 + policy.len() as u64;
    for round in 0..rounds {
        let s = Server::start_in(dir.clone(), &args);
        let mut c = s.client();
        for (i, book) in books.iter().enumerate() {
            let (a, b) = (number(&mut c, &format!("a{i}")), number(&mut c, &format!("b{i}")));
            let (low, high) = (book.acknowledged.load(SeqCst), book.sent.load(SeqCst));
            assert_eq!(a, b, "{policy}, round {round}: half a unit of writer {i}\n{}", s.log());
            assert!(
                (low..=high).contains(&a),
                "{policy}, round {round}: writer {i} has {low} to {high}, the server {a}\n{}",
                s.log()
            );
            book.sent.store(a, SeqCst);
            book.acknowledged.store(a, SeqCst);
        }
        let (left, right) = (number(&mut c, "left"), number(&mut c, "right"));
        assert_eq!(left + right, 0, "{policy}, round {round}: the sum of two keys changed");
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let wait = Duration::from_millis(50 + (random >> 33) % 400);
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for (i, book) in books.iter().enumerate() {
                scope.spawn(move || write(s.port, i, book));
            }
            if round % 2 == 1 {
                let (port, over) = (s.port, &over);
                scope.spawn(move || {
                    let Ok(stream) = std::net::TcpStream::connect(("127.0.0.1", port)) else {
                        return;
                    };
                    let mut c = Client::on(stream);
                    while !over.load(SeqCst) && c.try_send(&["BGREWRITEAOF"]) {
                        if c.try_read().is_none() {
                            return;
                        }
                        std::thread::sleep(Duration::from_millis(5));
                    }
                });
            }
            std::thread::sleep(wait);
            over.store(true, SeqCst);
            kill(s);
        });
    }
}

#[test]
fn nothing_acknowledged_is_lost_when_the_process_is_killed() {
    kill_rounds("always", "yes");
}

#[test]
fn nor_with_a_base_of_commands() {
    kill_rounds("always", "no");
}

#[test]
fn nor_under_everysec() {
    // The machine did not fail, so what was written is there.
    kill_rounds("everysec", "yes");
}
