//! `backplane doctor FILE.so...`: whether a module would load and find what it asks for, told from its file alone. The
//! same sentences go to the log when a load fails.
mod elf;
mod libs;

use std::collections::{BTreeMap, HashMap};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::OnceLock;

/// All functions that we know of: name, family, since which version of Redis (or Valkey).
static FUNCTIONS: &str = include_str!("functions.tsv");

/// The newest version of Redis whose whole API is promised.
const PROMISED: (u32, u32) = (7, 4);

/// A known function of the module API.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// Name without prefix.
    pub name: &'static str,
    /// What it is about.
    pub family: &'static str,
    /// `7.0.0`, `8.x`, `Valkey 8.1`; `-` if no free server has it.
    pub since: &'static str,
}

/// All known functions.
pub fn functions() -> impl Iterator<Item = Known> {
    FUNCTIONS.lines().filter_map(|line| {
        let mut fields = line.split('\t');
        Some(Known { name: fields.next()?, family: fields.next()?, since: fields.next()? })
    })
}

/// What is known of a function.
pub fn known(name: &str) -> Option<Known> {
    static MAP: OnceLock<HashMap<&'static str, Known>> = OnceLock::new();
    MAP.get_or_init(|| functions().map(|f| (f.name, f)).collect()).get(name).copied()
}

impl Known {
    /// Whether Redis of the promised version serves it.
    pub fn is_promised(&self) -> bool {
        let mut numbers = self.since.split('.').map_while(|n| n.parse::<u32>().ok());
        match (numbers.next(), numbers.next()) {
            (Some(major), Some(minor)) => (major, minor) <= PROMISED,
            _ => false,
        }
    }
}

/// How bad a finding is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Severity {
    /// For information.
    Note,
    /// It may not do all that it can do.
    Warning,
    /// It will not load.
    Error,
}

/// What the doctor found out about a file.
#[derive(Debug)]
pub struct Report {
    /// The file.
    pub path: String,
    /// Sentences.
    pub findings: Vec<(Severity, String)>,
    /// API functions that it asks for and finds, by family.
    pub served: BTreeMap<&'static str, usize>,
    /// API functions that it asks for and does not find.
    pub missing: Vec<String>,
}

impl Report {
    /// The worst finding.
    pub fn worst(&self) -> Severity {
        self.findings.iter().map(|f| f.0).max().unwrap_or(Severity::Note)
    }

    /// The verdict, in a sentence.
    pub fn verdict(&self) -> &'static str {
        match self.worst() {
            Severity::Error => "It will not load.",
            Severity::Warning => {
                "It loads, but asks for functions that Redis 7.4 has and this server has not."
            }
            Severity::Note => "It can be loaded, and finds all that Redis 7.4 would give it.",
        }
    }
}

/// Examines a file without running any of it.
pub fn examine(path: &str) -> Report {
    let mut report = Report {
        path: path.to_string(),
        findings: Vec::new(),
        served: BTreeMap::new(),
        missing: Vec::new(),
    };
    let mut say = |severity, text: String| report.findings.push((severity, text));
    let data = match std::fs::metadata(path).and_then(|meta| Ok((meta, std::fs::read(path)?))) {
        Ok((meta, data)) => {
            if meta.permissions().mode() & 0o111 == 0 {
                say(
                    Severity::Error,
                    format!("Its execute permission is missing: chmod +x {path} sets it."),
                );
            }
            data
        }
        Err(e) => {
            say(Severity::Error, format!("It cannot be read: {e}."));
            return report;
        }
    };
    let facts = match elf::read(&data) {
        Ok(facts) => facts,
        Err(text) => {
            say(Severity::Error, text);
            return report;
        }
    };
    if !["RedisModule_OnLoad", "ValkeyModule_OnLoad"].iter().any(|n| facts.exported.contains(*n)) {
        say(
            Severity::Error,
            "It exports neither RedisModule_OnLoad nor ValkeyModule_OnLoad, so it is no module."
                .into(),
        );
    }
    libraries(&facts, path, &mut say);
    let (mut later, mut foreign) = (Vec::new(), Vec::new());
    let (mut missing, mut served) = (Vec::new(), BTreeMap::new());
    for name in &facts.asked {
        let about = known(name);
        if crate::module::api::all().any(|e| e.name == name) {
            *served.entry(about.map_or("own", |k| k.family)).or_insert(0) += 1;
            continue;
        }
        missing.push(name.clone());
        match about {
            Some(k) if k.is_promised() => say(
                Severity::Warning,
                format!("{name} ({}, since {}) is not served here.", k.family, k.since),
            ),
            Some(k) if k.since != "-" => later.push(format!("{name} ({})", k.since)),
            _ => foreign.push(name.clone()),
        }
    }
    if !later.is_empty() {
        say(
            Severity::Note,
            format!("It also asks for functions that came after Redis 7.4: {}.", later.join(", ")),
        );
    }
    if !foreign.is_empty() {
        say(
            Severity::Note,
            format!("It also asks for functions that no free Redis has: {}.", foreign.join(", ")),
        );
    }
    if facts.asked.is_empty() {
        say(Severity::Note, "No names of API functions were found in it.".into());
    }
    report.served = served;
    report.missing = missing;
    report
}

fn libraries(facts: &elf::Facts, path: &str, say: &mut impl FnMut(Severity, String)) {
    for name in &facts.needed {
        let Some(file) = libs::find(name, &facts.run_path, Path::new(path)) else {
            say(Severity::Error, format!("It needs {name}, which is not installed."));
            continue;
        };
        let Some(wanted) = facts.wanted.get(name) else { continue };
        let Ok(library) =
            std::fs::read(&file).map_err(|e| e.to_string()).and_then(|d| elf::read(&d))
        else {
            continue;
        };
        // A library without versions satisfies every wish, with a warning of the loader.
        let absent: Vec<&str> = wanted.difference(&library.offered).map(String::as_str).collect();
        if !absent.is_empty() && !library.offered.is_empty() {
            say(
                Severity::Error,
                format!(
                    "It needs {} of {name}; {} does not offer that{}.",
                    absent.join(", "),
                    file.display(),
                    newest(&library.offered, absent[0])
                ),
            );
        }
    }
}

/// The newest version of the same name that is offered: `GLIBC_2.36` for `GLIBC_2.38`.
fn newest(offered: &std::collections::BTreeSet<String>, absent: &str) -> String {
    let Some((prefix, _)) = absent.rsplit_once('_') else { return String::new() };
    let numbers = |v: &str| -> Vec<u32> {
        v.rsplit('_').next().unwrap_or("").split('.').filter_map(|n| n.parse().ok()).collect()
    };
    let same = offered.iter().filter(|v| v.rsplit_once('_').is_some_and(|(p, _)| p == prefix));
    same.max_by_key(|v| numbers(v)).map_or(String::new(), |v| format!(" (its newest is {v})"))
}

/// The report as lines of text.
pub fn lines(report: &Report) -> Vec<String> {
    let mut lines = vec![format!("{}: {}", report.path, report.verdict())];
    for (severity, text) in &report.findings {
        let mark = match severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "note",
        };
        lines.push(format!("  {mark}: {text}"));
    }
    let count: usize = report.served.values().sum();
    if count > 0 {
        let families: Vec<String> =
            report.served.iter().map(|(family, n)| format!("{family} {n}")).collect();
        lines.push(format!(
            "  {count} functions that it asks for are served: {}.",
            families.join(", ")
        ));
    }
    lines
}

/// What is wrong with a file that would not load, for the log.
pub fn why_not(path: &str) -> Vec<String> {
    let report = examine(path);
    report
        .findings
        .into_iter()
        .filter(|(severity, _)| *severity == Severity::Error)
        .map(|(_, text)| text)
        .collect()
}

/// The command line behind `doctor`: prints a report for each file. Exit code 0 if all of them can be loaded and find what
/// Redis 7.4 has, 1 if not, 2 when it was called wrongly.
pub fn main(args: &[String]) -> i32 {
    if args.is_empty() || args.iter().any(|a| a.starts_with('-')) {
        eprintln!("Usage: backplane doctor FILE.so [FILE.so ...]");
        eprintln!(
            "Examines modules without running them: what they need, and whether they find it here."
        );
        return 2;
    }
    let mut code = 0;
    for path in args {
        let report = examine(path);
        for line in lines(&report) {
            println!("{line}");
        }
        if report.worst() > Severity::Note {
            code = 1;
        }
    }
    code
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_served_function_is_known() {
        for e in crate::module::api::all() {
            assert!(known(e.name).is_some(), "{} is not in functions.tsv", e.name);
        }
    }

    #[test]
    fn newest_of_the_same_name() {
        let offered = ["GLIBC_2.2.5", "GLIBC_2.36", "GLIBC_2.9", "GLIBC_PRIVATE"];
        let offered = offered.map(String::from).into();
        assert_eq!(newest(&offered, "GLIBC_2.38"), " (its newest is GLIBC_2.36)");
        assert_eq!(newest(&offered, "OPENSSL_3.0.0"), "");
    }

    #[test]
    fn damaged_files_are_told() {
        let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        for cut in [0, 3, 20, 63, 64, 500, 5000, own.len() / 2] {
            assert!(elf::read(&own[..cut]).is_err(), "{cut} bytes");
        }
        assert!(elf::read(b"#!/bin/sh\n").unwrap_err().contains("script"));
    }
}
