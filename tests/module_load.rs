//! Loading modules: the real ones in every order, and everything that can be wrong with a file.
mod common;
use common::{own_modules, real_modules, Reply, Server};
use std::os::unix::fs::PermissionsExt;

const LOAD_ERROR: &str = "ERR Error loading the extension. Please check the server logs.";

fn path(dir: &std::path::Path, file: &str) -> String {
    dir.join(file).display().to_string()
}

fn names(s: &Server) -> Vec<String> {
    let list = s.client().cmd(&["MODULE", "LIST"]);
    let mut n: Vec<String> = list.items().iter().map(|m| m.items()[1].text().into()).collect();
    n.sort();
    n
}

/// How often the loads of the real modules are repeated: `LOAD_ROUNDS`, 100 for the full run.
fn rounds() -> usize {
    std::env::var("LOAD_ROUNDS").ok().and_then(|s| s.parse().ok()).unwrap_or(2)
}

#[test]
fn real_modules_load_at_start_in_both_orders() {
    (0..rounds()).for_each(|_| load_at_start());
}

fn load_at_start() {
    let lib = real_modules();
    for order in [["redisearch.so", "rejson.so"], ["rejson.so", "redisearch.so"]] {
        let mut args = Vec::new();
        let paths: Vec<String> = ["rediscompat.so", "redistimeseries.so", "redisbloom.so"]
            .iter()
            .chain(&order)
            .map(|f| path(&lib, f))
            .collect();
        for p in &paths {
            args.extend(["--loadmodule", p.as_str()]);
        }
        let mut s = Server::start(&args);
        assert_eq!(names(&s), ["ReJSON", "RedisCompat", "bf", "search", "timeseries"]);
        // RediSearch indexes JSON only if it found RedisJSON's shared API.
        let mut c = s.client();
        c.cmd(&["FT.CREATE", "i", "ON", "JSON", "SCHEMA", "$.t", "AS", "t", "TEXT"]).ok();
        c.cmd(&["JSON.SET", "doc", "$", r#"{"t":"hello world"}"#]).ok();
        assert_eq!(c.cmd(&["FT.SEARCH", "i", "hello", "NOCONTENT"]).items()[0], Reply::Int(1));
        s.assert_alive();
    }
}

#[test]
fn real_modules_load_at_run_time_while_clients_run() {
    (0..rounds()).for_each(|_| load_while_clients_run());
}

fn load_while_clients_run() {
    let lib = real_modules();
    let mut s = Server::start(&["--server-threads", "2"]);
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for t in 0..2 {
            let mut c = s.client();
            let stop = &stop;
            scope.spawn(move || {
                let mut n = 0;
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    n += 1;
                    let key = format!("k{t}");
                    assert_eq!(c.cmd(&["INCR", &key]), Reply::Int(n));
                }
            });
        }
        let mut c = s.client();
        c.cmd(&["MODULE", "LOAD", &path(&lib, "redisearch.so")]).ok();
        c.cmd(&["MODULE", "LOADEX", &path(&lib, "rejson.so")]).ok();
        c.cmd(&["MODULE", "LOAD", &path(&lib, "redistimeseries.so"), "RETENTION_POLICY", "5000"])
            .ok();
        c.cmd(&["MODULE", "LOADEX", &path(&lib, "redisbloom.so"), "ARGS", "ERROR_RATE", "0.1"])
            .ok();
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    assert_eq!(names(&s), ["ReJSON", "bf", "search", "timeseries"]);
    s.assert_alive();
}

fn check_refused(s: &mut Server, file: &str, reason: &str) {
    let r = s.client().cmd(&["MODULE", "LOAD", file]);
    assert_eq!(r, Reply::Error(LOAD_ERROR.into()), "{file}");
    assert!(s.log().contains(reason), "{file}: no {reason:?} in the log:\n{}", s.log());
    s.assert_alive();
    assert!(names(s).is_empty());
}

#[test]
fn broken_files_are_refused_with_the_cause() {
    let own = own_modules();
    let dir = common::fresh_dir("broken");
    let mut s = Server::start(&[]);

    check_refused(&mut s, "/no/such/file.so", "/no/such/file.so failed to load");

    let text = dir.join("text.so");
    std::fs::write(&text, "this is no shared object").unwrap();
    check_refused(&mut s, &text.display().to_string(), "It does not have execute permissions.");
    std::fs::set_permissions(&text, std::fs::Permissions::from_mode(0o755)).unwrap();
    check_refused(&mut s, &text.display().to_string(), "file too short");
    std::fs::write(&text, "this is no shared object ".repeat(100)).unwrap();
    check_refused(&mut s, &text.display().to_string(), "invalid ELF header");

    // The machine field of the ELF header says another processor.
    let mut elf = std::fs::read(own.join("empty.so")).unwrap();
    elf[18] = 0xb7;
    let wrong = dir.join("wrong_arch.so");
    std::fs::write(&wrong, elf).unwrap();
    std::fs::set_permissions(&wrong, std::fs::Permissions::from_mode(0o755)).unwrap();
    check_refused(&mut s, &wrong.display().to_string(), "wrong_arch.so failed to load");
    check_refused(&mut s, &wrong.display().to_string(), "It was built for AArch64");

    check_refused(&mut s, &path(&own, "noentry.so"), "does not export RedisModule_OnLoad() symbol");
    check_refused(&mut s, &path(&own, "missing_lib.so"), "cannot open shared object file");
    check_refused(&mut s, &path(&own, "missing_lib.so"), "It needs libbackplane_absent.so");
    check_refused(&mut s, &path(&own, "undefined.so"), "undefined symbol: backplane_nobody");
    check_refused(&mut s, &path(&own, "undefined.so"), "defines backplane_nobody_defines_this.");
}

#[test]
fn the_doctor_tells_good_modules_from_bad_ones() {
    let doctor = |file: &str| {
        let out = std::process::Command::new(env!("CARGO_BIN_EXE_backplane"))
            .args(["doctor", file])
            .output()
            .expect("the doctor runs");
        (out.status.code(), String::from_utf8_lossy(&out.stdout).into_owned())
    };
    let own = own_modules();
    for (file, reason) in [
        ("noentry.so", "exports neither RedisModule_OnLoad nor"),
        ("missing_lib.so", "It needs libbackplane_absent.so, which is not installed."),
        (
            "missing_indirect.so",
            "libbackplane_between.so, which it needs, needs libbackplane_nowhere.so, which is not installed.",
        ),
        (
            "undefined.so",
            "Neither it nor a library that it needs defines backplane_nobody_defines_this.",
        ),
        ("no_such.so", "It cannot be read: No such file"),
        ("libs", "It is a folder."),
        // Reading them would never end.
        ("/dev/zero", "It is no regular file."),
        ("/proc/self/exe", "It is a program, not a shared library."),
    ] {
        let file = if file.starts_with('/') { file.to_string() } else { path(&own, file) };
        let (code, text) = doctor(&file);
        assert_eq!(code, Some(1), "{text}");
        assert!(text.contains(reason) && text.contains("It will not load."), "{text}");
    }
    let (code, text) = doctor(&path(&own, "basic.so"));
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("functions that it asks for are served"), "{text}");
}

#[test]
fn a_module_that_fails_to_load_leaves_nothing_behind() {
    let own = own_modules();
    let mut s = Server::start(&["--enable-debug-command", "yes"]);
    let before = s.client().cmd(&["COMMAND", "COUNT"]);
    for _ in 0..3 {
        check_refused(
            &mut s,
            &path(&own, "fail_onload.so"),
            "initialization failed. Module not loaded",
        );
    }
    assert_eq!(s.client().cmd(&["COMMAND", "COUNT"]), before);
    // Its timer would be due now.
    std::thread::sleep(std::time::Duration::from_millis(60));
    s.assert_alive();
    assert_nothing_of_it_is_called(&mut s);
    let mut c = s.client();
    assert!(!c.cmd(&["INFO", "everything"]).text().contains("failing_"));
    assert!(!common::show(&c.cmd(&["CONFIG", "GET", "*"])).contains("failing"));
}

/// Does whatever `fail_onload` wanted to hear of. Its code is not in memory any more.
fn assert_nothing_of_it_is_called(s: &mut Server) {
    let mut c = s.client();
    c.cmd(&["CONFIG", "SET", "activedefrag", "no", "hz", "100"]).ok();
    assert_eq!(c.cmd(&["RPUSH", "failing:list", "element"]).int(), 1);
    assert_eq!(c.cmd(&["LLEN", "failing:list"]).int(), 1, "its call waits for nothing any more");
    for line in ["SET k v", "DEL k", "FLUSHALL", "SET k v", "SWAPDB 0 1", "SAVE", "DEBUG RELOAD"] {
        assert!(!matches!(c.cmd(&common::words(line)), Reply::Error(_)), "{line}");
    }
    for line in
        ["AUTH nobody nothing", "NAMELESS.PING", "CONFIG GET failing.flag", "INFO everything"]
    {
        c.cmd(&common::words(line));
    }
    for _ in 0..3 {
        s.client().cmd(&["PING"]);
    }
    std::thread::sleep(std::time::Duration::from_millis(60));
    s.assert_alive();
}

#[test]
fn a_module_that_registers_without_a_name_leaves_nothing_behind() {
    let file = path(&own_modules(), "fail_onload.so");
    let copy = common::fresh_dir("nameless").join("copy.so");
    std::fs::copy(&file, &copy).unwrap();
    let first = copy.display().to_string();
    let mut s =
        Server::start(&["--loadmodule", &first, "succeed", "--enable-debug-command", "yes"]);
    let mut c = s.client();
    let before = c.cmd(&["COMMAND", "COUNT"]);
    assert_eq!(c.cmd(&["MODULE", "LOAD", &file, "nameless"]), Reply::Error(LOAD_ERROR.into()));
    assert_eq!(names(&s), ["failing"]);
    assert_eq!(c.cmd(&["COMMAND", "COUNT"]), before);
    assert_nothing_of_it_is_called(&mut s);
}

#[test]
fn values_of_a_module_that_failed_keep_its_code() {
    let file = path(&own_modules(), "fail_onload.so");
    let mut s = Server::start(&["--enable-debug-command", "yes"]);
    let mut c = s.client();
    assert_eq!(c.cmd(&["MODULE", "LOAD", &file, "value"]), Reply::Error(LOAD_ERROR.into()));
    assert!(s.log().contains("its code stays in memory"), "{}", s.log());
    assert_eq!(c.cmd(&["EXISTS", "failing:value"]).int(), 1);
    c.cmd(&["SAVE"]).ok();
    assert_eq!(c.cmd(&["DEL", "failing:value"]).int(), 1);
    assert_nothing_of_it_is_called(&mut s);
}

#[test]
fn commands_of_a_module_that_is_gone_are_not_run_by_a_transaction() {
    let file = path(&own_modules(), "empty.so");
    let mut s = Server::start(&["--loadmodule", &file]);
    let (mut c, mut other) = (s.client(), s.client());
    let (name, command) = (names(&s)[0].clone(), "EMPTY");
    let gone = format!("ERR unknown command '{command}', with args beginning with: ");
    // It is unloaded between the command and `EXEC`, then by the transaction itself.
    c.cmd(&["MULTI"]).ok();
    assert_eq!(c.cmd(&[command]), Reply::Status("QUEUED".into()));
    other.cmd(&["MODULE", "UNLOAD", &name]).ok();
    assert_eq!(c.cmd(&["EXEC"]).items(), [Reply::Error(gone.clone())]);
    other.cmd(&["MODULE", "LOAD", &file]).ok();
    c.cmd(&["MULTI"]).ok();
    for request in [&[command][..], &["MODULE", "UNLOAD", &name], &[command]] {
        assert_eq!(c.cmd(request), Reply::Status("QUEUED".into()));
    }
    let replies = c.cmd(&["EXEC"]);
    let ok = Reply::Status("OK".into());
    assert_eq!(replies.items(), [ok.clone(), ok, Reply::Error(gone)]);
    assert_eq!(c.cmd(&["PING"]), Reply::Status("PONG".into()));
    s.assert_alive();
}

#[test]
fn a_module_that_fails_at_start_ends_the_server() {
    let own = own_modules();
    let (code, log) = Server::run_to_end(&["--loadmodule", &path(&own, "fail_onload.so")]);
    assert_eq!(code, Some(1));
    assert!(log.contains("Can't load module from"), "{log}");
}

#[test]
fn a_module_without_types_can_be_loaded_and_unloaded_again_and_again() {
    let own = own_modules();
    let mut s = Server::start(&[]);
    let mut c = s.client();
    for _ in 0..100 {
        c.cmd(&["MODULE", "LOAD", &path(&own, "empty.so")]).ok();
        assert_eq!(names(&s).len(), 1);
        c.cmd(&["MODULE", "UNLOAD", &names(&s)[0]]).ok();
    }
    assert_eq!(
        c.cmd(&["MODULE", "UNLOAD", "nobody"]),
        Reply::Error("ERR Error unloading module: no such module with that name".into())
    );
    s.assert_alive();
}
