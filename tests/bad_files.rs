//! Files that something happened to: each gives an error that says which file, where and why, and never a crash or half of
//! the data under the name of the whole.
mod common;
use common::{encode, fresh_dir, own_modules, Client, Reply, Server};
use std::path::Path;

fn datatype() -> String {
    own_modules().join("datatype.so").display().to_string()
}

/// A file of a few hundred bytes with a value of each kind, a function, and values and auxiliary data of a module.
fn small_file(s: &Server, c: &mut Client) -> Vec<u8> {
    for line in [
        "SET string value",
        "SET number 12345 PX 100000000",
        "RPUSH list a b c",
        "SADD set a b",
        "SADD intset 1 2 3",
        "ZADD zset 1 a 2.5 b",
        "HSET hash f v g w",
        "HPEXPIRE hash 100000000 FIELDS 1 f",
        "XADD stream 1-1 f v",
        "XGROUP CREATE stream group 0",
        "XREADGROUP GROUP group consumer STREAMS stream >",
        "dt.push value int 7",
        "dt.push value str text",
    ] {
        let reply = c.cmd(&line.split(' ').collect::<Vec<_>>());
        assert!(!matches!(reply, Reply::Error(_)), "{line}: {reply:?}");
    }
    let code = "#!lua name=l\nredis.register_function('f', function() return 1 end)";
    c.cmd(&["FUNCTION", "LOAD", code]);
    c.cmd(&["SAVE"]).ok();
    let bytes = std::fs::read(s.dir.join("dump.rdb")).expect("just saved");
    assert!((300..3000).contains(&bytes.len()), "{} bytes", bytes.len());
    bytes
}

/// The last line of the log that tells of a load: the cause, and the offset in the file.
fn last_failure(s: &Server) -> (String, usize) {
    let log = s.log();
    let line = log.lines().rev().find_map(|l| l.split_once("Failed loading dump.rdb: "));
    let (_, line) = line.unwrap_or_else(|| panic!("no failure in the log:\n{log}"));
    let (cause, at) =
        line.rsplit_once(" (at offset ").unwrap_or_else(|| panic!("no offset: {line}"));
    (cause.to_string(), at.trim_end_matches(')').parse().expect("an offset"))
}

#[test]
fn an_rdb_file_that_ends_too_early_is_refused_wherever_it_ends() {
    let module = datatype();
    let mut s = Server::start(&["--loadmodule", &module]);
    let mut c = s.client();
    let whole = small_file(&s, &mut c);
    let file = s.dir.join("dump.rdb");
    let error = "ERR Error trying to load the RDB dump, check server logs.";
    for len in 0..whole.len() {
        std::fs::write(&file, &whole[..len]).unwrap();
        let reply = c.cmd(&["DEBUG", "RELOAD", "NOSAVE"]);
        assert_eq!(reply, Reply::Error(error.into()), "{len} bytes");
        if len % 16 == 0 {
            let (cause, at) = last_failure(&s);
            // Modules find the end themselves, and cannot say more than that they failed.
            let told =
                ["Unexpected EOF reading RDB file", "that the responsible module is not able"];
            assert!(told.iter().any(|t| cause.contains(t)), "{len} bytes: {cause}");
            assert!(at <= len, "{len} bytes, and the error is at {at}");
        }
    }
    std::fs::write(&file, &whole).unwrap();
    c.cmd(&["DEBUG", "RELOAD", "NOSAVE"]).ok();
    assert_eq!(c.cmd(&["DBSIZE"]).int(), 9);
    assert_eq!(c.cmd(&["dt.len", "value"]).int(), 2);
    s.assert_alive();

    // The same at the start of a server: it ends with Redis' exit code and last words.
    for len in (0..whole.len()).step_by(40).chain([whole.len() - 9, whole.len() - 1]) {
        let dir = fresh_dir("short");
        std::fs::write(dir.join("dump.rdb"), &whole[..len]).unwrap();
        let args = ["--loadmodule", &module, "--unixsocket", "s"];
        let status = Server::command(&dir, 0, &args).status().expect("the server runs");
        let log = std::fs::read_to_string(dir.join("log")).expect("a log");
        assert_eq!(status.code(), Some(1), "{len} bytes:\n{log}");
        if log.contains("Error loading data from RDB (short read or EOF). Read performed by module")
        {
            continue;
        }
        for line in [
            "Short read or OOM loading DB. Unrecoverable error, aborting now.",
            "Failed loading dump.rdb: Unexpected EOF reading RDB file",
            "Terminating server after rdb file reading failure.",
            "Fatal error loading the DB, check server logs. Exiting.",
        ] {
            assert!(log.contains(line), "{len} bytes: {line} is missing:\n{log}");
        }
    }
}

#[test]
fn a_changed_byte_is_found() {
    let module = datatype();
    let mut s = Server::start(&["--loadmodule", &module]);
    let mut c = s.client();
    let whole = small_file(&s, &mut c);
    let file = s.dir.join("dump.rdb");
    for at in 0..whole.len() {
        // Files of version 4 and before have no checksum.
        if (5..9).contains(&at) {
            continue;
        }
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 8);
        std::fs::write(&file, bytes).unwrap();
        let reply = c.cmd(&["DEBUG", "RELOAD", "NOSAVE"]);
        assert!(matches!(reply, Reply::Error(_)), "byte {at}: {reply:?}");
    }
    s.assert_alive();
}

fn aof(lines: &[&str]) -> Vec<u8> {
    lines.iter().flat_map(|l| encode(&l.split(' ').collect::<Vec<_>>())).collect()
}

const INCR: &str = "appendonlydir/appendonly.aof.1.incr.aof";

#[test]
fn an_append_only_file_is_cut_back_to_its_last_whole_unit() {
    let lines = ["SET a 1", "RPUSH l x y", "MULTI", "INCR a", "INCR a", "EXEC", "SET b longer"];
    let whole = aof(&lines);
    // Lengths behind which a unit is complete, and `a` and the number of keys then.
    let ends: Vec<(usize, i64, i64)> = [(1, 1, 1), (2, 1, 2), (6, 3, 2), (7, 3, 3)]
        .map(|(n, a, keys)| (aof(&lines[..n]).len(), a, keys))
        .to_vec();
    let mut s = Server::start(&["--appendonly", "yes"]);
    let mut c = s.client();
    c.cmd(&["DEBUG", "LOADAOF"]).ok();
    for len in ends[0].0..=whole.len() {
        std::fs::write(s.dir.join(INCR), &whole[..len]).unwrap();
        let last = ends.iter().rfind(|e| e.0 <= len).expect("the first is whole");
        c.cmd(&["CONFIG", "SET", "aof-load-truncated", "no"]).ok();
        let strict = c.cmd(&["DEBUG", "LOADAOF"]);
        assert_eq!(matches!(strict, Reply::Status(_)), last.0 == len, "{len} bytes: {strict:?}");
        c.cmd(&["CONFIG", "SET", "aof-load-truncated", "yes"]).ok();
        let reply = c.cmd(&["DEBUG", "LOADAOF"]);
        // Redis too answers an error when it had to cut.
        assert_eq!(matches!(reply, Reply::Status(_)), last.0 == len, "{len} bytes: {reply:?}");
        assert_eq!(c.cmd(&["GET", "a"]).int(), last.1, "{len} bytes");
        assert_eq!(c.cmd(&["DBSIZE"]).int(), last.2, "{len} bytes");
        let left = std::fs::metadata(s.dir.join(INCR)).unwrap().len();
        assert_eq!(left, last.0 as u64, "{len} bytes");
    }
    s.assert_alive();
}

/// Starts a server on these files, which it must refuse, with this in its log.
fn refused(files: &[(&str, &[u8])], expected: &[&str]) {
    let dir = fresh_dir("refused");
    std::fs::create_dir(dir.join("appendonlydir")).unwrap();
    for (name, bytes) in files {
        std::fs::write(dir.join(name), bytes).unwrap();
    }
    let args = ["--appendonly", "yes", "--unixsocket", "s"];
    let status = Server::command(&dir, 0, &args).status().expect("the server runs");
    let log = std::fs::read_to_string(dir.join("log")).expect("a log");
    assert_eq!(status.code(), Some(1), "{files:?}\n{log}");
    for text in expected {
        assert!(log.contains(text), "{text} is missing:\n{log}");
    }
    for (name, bytes) in files {
        assert_eq!(std::fs::read(dir.join(name)).unwrap(), *bytes, "{name} was changed");
    }
}

const MANIFEST: &str = "appendonlydir/appendonly.aof.manifest";
const ONE: &[u8] = b"file appendonly.aof.1.incr.aof seq 1 type i\n";

#[test]
fn garbage_in_an_append_only_file_ends_the_start() {
    let parts = ["SET a 1", "SET b 2", "MULTI", "SET c 3", "EXEC"].map(|l| aof(&[l]));
    for at in 0..=parts.len() {
        for garbage in
            ["garbage\r\n", "\0\0\0\0", "*0\r\n", "*-1\r\n", "*1\r\nx\r\n", "*1\r\n$-1\r\n"]
        {
            let bytes =
                [parts[..at].concat(), garbage.as_bytes().to_vec(), parts[at..].concat()].concat();
            let text = "Bad file format reading the append only file appendonly.aof.1.incr.aof";
            refused(&[(MANIFEST, ONE), (INCR, &bytes)], &[text]);
        }
    }
    let unknown = aof(&["SET a 1", "NOSUCH a"]);
    let text = "Unknown command 'NOSUCH' reading the append only file appendonly.aof.1.incr.aof";
    refused(&[(MANIFEST, ONE), (INCR, &unknown)], &[text]);
}

#[test]
fn bad_manifests_end_the_start() {
    let good = aof(&["SET a 1"]);
    let format = "Invalid AOF manifest file format";
    let two = "file appendonly.aof.1.incr.aof seq 2 type i\nfile x seq 2 type i\n";
    for (manifest, cause) in [
        ("", "Found an empty AOF manifest"),
        (
            "file appendonly.aof.1.incr.aof seq 1 type i",
            "The AOF manifest file contains too long line",
        ),
        ("\n", format),
        ("file appendonly.aof.1.incr.aof seq 1\n", format),
        ("file appendonly.aof.1.incr.aof seq 0 type i\n", format),
        ("file \"appendonly.aof.1.incr.aof seq 1 type i\n", format),
        (
            "file ../appendonly.aof.1.incr.aof seq 1 type i\n",
            "File can't be a path, just a filename",
        ),
        ("file appendonly.aof.1.incr.aof seq 1 type x\n", "Unknown AOF file type"),
        (two, "Found a non-monotonic sequence number"),
    ] {
        let head = "*** FATAL AOF MANIFEST FILE ERROR ***";
        refused(&[(MANIFEST, manifest.as_bytes()), (INCR, &good)], &[head, cause]);
    }
    let missing = b"file appendonly.aof.1.incr.aof seq 1 type i\nfile gone.aof seq 2 type i\n";
    let text = "Unable to obtain the AOF file gone.aof length. stat: No such file or directory";
    refused(&[(MANIFEST, missing), (INCR, &good)], &[text]);
    // Only the last file may be torn.
    let two = b"file appendonly.aof.1.incr.aof seq 1 type i\nfile 2.aof seq 2 type i\n";
    let dir_two = "appendonlydir/2.aof";
    let dir = fresh_dir("torn");
    std::fs::create_dir(dir.join("appendonlydir")).unwrap();
    for (name, bytes) in [(MANIFEST, &two[..]), (INCR, &good[..good.len() - 3]), (dir_two, &good)] {
        std::fs::write(Path::new(&dir).join(name), bytes).unwrap();
    }
    let args = ["--appendonly", "yes", "--unixsocket", "s"];
    let status = Server::command(&dir, 0, &args).status().expect("the server runs");
    let log = std::fs::read_to_string(dir.join("log")).expect("a log");
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(log.contains("Fatal error: the truncated file is not the last file"), "{log}");
}
