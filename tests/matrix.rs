//! `backplane matrix` on the real modules, on modules of our own and on a broken file.
mod common;
use common::{fresh_dir, own_modules, real_modules};
use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::process::Command;

struct Run {
    code: Option<i32>,
    table: String,
    json: String,
    html: String,
}

/// Runs the tool, with files for its results.
fn matrix(args: &[&str]) -> Run {
    let dir = fresh_dir("matrix");
    let (json, html) = (dir.join("m.json"), dir.join("m.html"));
    let output = Command::new(env!("CARGO_BIN_EXE_backplane"))
        .arg("matrix")
        .args(args)
        .arg("--json")
        .arg(&json)
        .arg("--html")
        .arg(&html)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("the tool runs");
    let text = |path: &Path| std::fs::read_to_string(path).unwrap_or_default();
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    Run { code: output.status.code(), table, json: text(&json), html: text(&html) }
}

/// The value of a field in a line of JSON that we wrote ourselves.
fn field(line: &str, name: &str) -> String {
    let (_, rest) = line.split_once(&format!("\"{name}\": \"")).expect(line);
    let mut out = String::new();
    let mut chars = rest.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => break,
            '\\' => out.extend(chars.next()),
            c => out.push(c),
        }
    }
    out
}

/// States by check and module, in the order of the file.
fn cells(json: &str) -> Vec<((String, String), String)> {
    json.lines()
        .filter(|line| line.trim_start().starts_with("{\"check\":"))
        .map(|line| ((field(line, "check"), field(line, "module")), field(line, "state")))
        .collect()
}

fn modules(json: &str) -> Vec<String> {
    json.lines()
        .filter(|line| line.trim_start().starts_with("{\"id\":"))
        .map(|line| field(line, "id"))
        .collect()
}

/// Page and table show the states of the JSON, every anchor has its target, and nothing comes from outside.
fn check_forms(run: &Run) {
    let cells = cells(&run.json);
    let modules = modules(&run.json);
    assert!(!cells.is_empty() && cells.len() % modules.len() == 0, "{}", run.json);
    let words: BTreeMap<&str, (&str, &str)> = [
        ("ok", ("ok", "ok")),
        ("differs", ("DIFFERS", "differs")),
        ("fails", ("FAILS", "fails")),
        ("no reference", ("no ref", "no ref")),
        ("not applicable", ("-", "–")),
    ]
    .into();
    let attributes = |name: &str| -> Vec<&str> {
        let start = format!("{name}=\"");
        run.html.split(&start).skip(1).filter_map(|rest| rest.split('"').next()).collect()
    };
    let ids = attributes("id");
    let targets: HashSet<&str> = ids.iter().copied().collect();
    assert_eq!(targets.len(), ids.len(), "an id is there twice");
    for href in attributes("href") {
        let target = href.strip_prefix('#').unwrap_or_else(|| panic!("{href} leads outside"));
        assert!(targets.contains(target), "{href} leads nowhere");
    }
    for outside in ["<script", "<link", "<img", "src=", "@import", "url("] {
        assert!(!run.html.contains(outside), "the page has {outside}");
    }
    let mut shown = run.html.split("<td>").skip(1);
    for ((check, module), state) in &cells {
        let cell = shown.next().expect("a cell of the page");
        let (_, word) = words[state.as_str()];
        assert!(cell.contains(&format!("href=\"#{check}-{module}\"")), "{check} {module}: {cell}");
        assert!(cell.contains(&format!(">{word}</a>")), "{check} {module}: {cell}");
        let (_, section) =
            run.html.split_once(&format!("<section id=\"{check}-{module}\">")).expect(check);
        let section = section.split("</section>").next().unwrap_or_default();
        assert!(section.contains(&format!(">{state}</span>")), "{section}");
        assert!(section.contains("/backplane") || section.contains("run.py"), "{section}");
    }
    assert!(shown.next().is_none(), "the page has more cells than the JSON");
    let mut rows = run.table.lines().skip_while(|l| !l.starts_with(' ')).skip(1);
    for row in cells.chunks(modules.len()) {
        let line = rows.next().expect("a row of the table");
        let states: Vec<&str> = row.iter().map(|(_, state)| words[state.as_str()].0).collect();
        let line = line.replace("no ref", "no_ref");
        let words: Vec<&str> = line.split_whitespace().collect();
        let last: Vec<String> =
            words[words.len() - states.len()..].iter().map(|w| w.replace('_', " ")).collect();
        assert_eq!(last, states, "{line}");
    }
}

fn path(dir: PathBuf, file: &str) -> String {
    let path = dir.join(file);
    assert!(path.exists(), "{}", path.display());
    path.display().to_string()
}

#[test]
fn nothing_fails_on_the_real_modules() {
    real_modules();
    let run = matrix(&["--seconds", "2"]);
    let cells = cells(&run.json);
    let bad: Vec<_> = cells.iter().filter(|(_, s)| s == "fails" || s == "differs").collect();
    assert!(bad.is_empty() && run.code == Some(0), "{bad:?}\n{}", run.table);
    assert_eq!(modules(&run.json).len(), 6, "{}", run.table);
    let ok = cells.iter().filter(|(_, state)| state == "ok").count();
    assert!(ok >= 110, "only {ok} cells say anything:\n{}", run.table);
    check_forms(&run);
}

#[test]
fn a_broken_file_fails_and_does_not_hide_the_others() {
    let dir = fresh_dir("broken");
    let broken = dir.join("broken.so");
    let mut bytes = std::fs::read(path(own_modules(), "empty.so")).expect("a module");
    bytes.truncate(bytes.len() / 3);
    std::fs::write(&broken, bytes).expect("a file");
    let run = matrix(&[
        &path(own_modules(), "empty.so"),
        &broken.display().to_string(),
        &path(own_modules(), "fail_onload.so"),
        "--seconds",
        "1",
    ]);
    assert_eq!(run.code, Some(1), "{}", run.table);
    let cells: BTreeMap<_, _> = cells(&run.json).into_iter().collect();
    let state =
        |check: &str, module: &str| cells[&(check.to_string(), module.to_string())].as_str();
    assert_eq!((state("doctor", "broken"), state("start", "broken")), ("fails", "fails"));
    // Its file is sound, so the doctor finds nothing; only a server can tell.
    assert_eq!((state("doctor", "fail_onload"), state("start", "fail_onload")), ("ok", "fails"));
    assert_eq!(state("rdb", "broken"), "not applicable");
    for check in
        ["doctor", "start", "run", "commands", "acl", "info", "rdb", "crash", "load", "unload"]
    {
        assert_eq!(state(check, "empty"), "ok", "{check}\n{}", run.table);
    }
    assert!(run.table.contains("backplane doctor"), "no reproduction:\n{}", run.table);
    check_forms(&run);
}

#[test]
fn without_a_reference_it_says_so() {
    let json = path(real_modules(), "rejson.so");
    let run = matrix(&[&json, "--no-reference", "--only", "doctor,start,rdb,crash,digest"]);
    assert_eq!(run.code, Some(0), "{}", run.table);
    let states: Vec<String> = cells(&run.json).into_iter().map(|(_, state)| state).collect();
    assert_eq!(states, ["ok", "no reference", "no reference", "ok", "no reference"]);
    check_forms(&run);
}

#[test]
fn a_server_that_replies_otherwise_is_found_out() {
    // The same module on both, but the server under test, by a script that stands in for it, has no memory.
    let dir = fresh_dir("other");
    let script = dir.join("server");
    let own = env!("CARGO_BIN_EXE_backplane");
    let text =
        format!("#!/bin/sh\nexec {own} \"$@\" --maxmemory 1 --maxmemory-policy noeviction\n");
    std::fs::write(&script, text).expect("a script");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&script, mode).expect("a script");
    let json = path(real_modules(), "rejson.so");
    let run =
        matrix(&[&json, "--server", &script.display().to_string(), "--only", "start,lua,load"]);
    assert_eq!(run.code, Some(1), "{}", run.table);
    assert!(cells(&run.json).iter().all(|(_, state)| state == "fails"), "{}", run.table);
    assert!(run.table.contains("OOM"), "{}", run.table);
}

#[test]
fn wrong_calls() {
    let code = |args: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_backplane"))
            .arg("matrix")
            .args(args)
            .output()
            .expect("it runs")
            .status
            .code()
    };
    assert_eq!(code(&["--only", "nosuch"]), Some(2));
    assert_eq!(code(&["/no/such/module.so"]), Some(2));
    assert_eq!(code(&["--list"]), Some(0));
}

/// What a cell says of how it is had again can be pasted into a shell in any folder.
#[test]
fn the_commands_of_cells_repeat_them() {
    let empty = path(own_modules(), "empty.so");
    let run = matrix(&[&empty, "--seconds", "1", "--only", "doctor,start,rdb,load,unload"]);
    assert_eq!(run.code, Some(0), "{}", run.table);
    let lines = run.json.lines().filter(|l| l.contains("\"command\": \""));
    let commands: Vec<String> = lines.map(|l| field(l, "command")).collect();
    assert_eq!(commands.len(), 5, "{}", run.json);
    for command in commands {
        let output = Command::new("sh").args(["-c", &command]).current_dir("/").output().unwrap();
        let text =
            String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command}\n{text}");
        assert!(!text.contains("no reference"), "{command}\n{text}");
    }
}
