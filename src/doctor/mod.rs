//! `backplane doctor FILE.so...`: whether a module would load and find what it asks for, told from its file alone. The
//! same sentences go to the log when a load fails.
mod elf;
mod libs;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
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
    let data = match contents(Path::new(path)) {
        Ok((mode, data)) => {
            if mode & 0o111 == 0 {
                say(
                    Severity::Error,
                    format!("Its execute permission is missing: chmod +x {path} sets it."),
                );
            }
            data
        }
        Err(why) => {
            say(Severity::Error, why);
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
    let has_entry =
        ["RedisModule_OnLoad", "ValkeyModule_OnLoad"].iter().any(|n| facts.exported.contains(*n));
    if facts.no_symbols {
        say(
            Severity::Note,
            "The table of its sections was removed, so what it exports and needs cannot be told."
                .into(),
        );
    } else if !has_entry {
        say(
            Severity::Error,
            "It exports neither RedisModule_OnLoad nor ValkeyModule_OnLoad, so it is no module."
                .into(),
        );
    }
    libraries(&facts, Path::new(path), &mut say);
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

/// Files larger than this are not read: no module is so large.
const LARGEST: u64 = 4 << 30;

/// Permissions and bytes of a file, or a sentence that says why there are none.
fn contents(path: &Path) -> Result<(u32, Vec<u8>), String> {
    let cannot = |e: std::io::Error| format!("It cannot be read: {e}.");
    let meta = std::fs::metadata(path).map_err(cannot)?;
    // Reading what is no file may never end.
    if !meta.is_file() {
        let what = if meta.is_dir() { "a folder" } else { "no regular file" };
        return Err(format!("It is {what}."));
    }
    if meta.len() > LARGEST {
        return Err(format!("It has {} bytes, which no module has.", meta.len()));
    }
    Ok((meta.permissions().mode(), std::fs::read(path).map_err(cannot)?))
}

/// Looks at the libraries that a file needs, those that they need, and so on; then at what none of them defines.
fn libraries(facts: &elf::Facts, path: &Path, say: &mut impl FnMut(Severity, String)) {
    let mut world = World::default();
    world.add("It", facts, path, say);
    let program = Path::new("/proc/self/exe");
    if let Ok(own) = contents(program).and_then(|(_, data)| elf::read_any(&data)) {
        // What the server itself has loaded is there for its modules too.
        world.add("This server", &own, program, &mut |_, _| {});
    }
    let absent: Vec<&str> =
        facts.undefined.difference(&world.defined).map(String::as_str).collect();
    if absent.is_empty() || world.unknown {
        return;
    }
    const MOST: usize = 5;
    let some = absent[..absent.len().min(MOST)].join(", ");
    let more = match absent.len().saturating_sub(MOST) {
        0 => String::new(),
        n => format!(" and {n} more"),
    };
    say(Severity::Error, format!("Neither it nor a library that it needs defines {some}{more}."));
}

/// What the libraries define that a file and the server need.
#[derive(Default)]
struct World {
    seen: BTreeSet<String>,
    defined: BTreeSet<String>,
    /// Something is not there, or does not tell what it defines.
    unknown: bool,
}

impl World {
    /// Adds what a file defines, and all that it needs.
    fn add(
        &mut self,
        who: &str,
        facts: &elf::Facts,
        path: &Path,
        say: &mut impl FnMut(Severity, String),
    ) {
        self.defined.extend(facts.exported.iter().cloned());
        self.unknown |= facts.no_symbols;
        let mut next = VecDeque::new();
        self.look(who, facts, path, say, &mut next);
        while let Some((name, library, file)) = next.pop_front() {
            self.look(&format!("{name}, which it needs,"), &library, &file, say, &mut next);
            self.defined.extend(library.exported);
        }
    }

    /// Finds the libraries that a file needs, and says what is wrong with them. Those that are new go to `next`.
    fn look(
        &mut self,
        who: &str,
        facts: &elf::Facts,
        path: &Path,
        say: &mut impl FnMut(Severity, String),
        next: &mut VecDeque<(String, elf::Facts, PathBuf)>,
    ) {
        for name in &facts.needed {
            let is_new = self.seen.insert(name.clone());
            let Some(file) = libs::find(name, &facts.run_path, path) else {
                self.unknown = true;
                if is_new {
                    say(Severity::Error, format!("{who} needs {name}, which is not installed."));
                }
                continue;
            };
            let Ok(library) = contents(&file).and_then(|(_, data)| elf::read_any(&data)) else {
                self.unknown = true;
                continue;
            };
            self.unknown |= library.no_symbols;
            let wanted = facts.wanted.get(name).into_iter().flatten();
            let absent: Vec<&str> =
                wanted.filter(|v| !library.offered.contains(*v)).map(String::as_str).collect();
            // A library without versions satisfies every wish, with a warning of the loader.
            if !absent.is_empty() && !library.offered.is_empty() {
                say(
                    Severity::Error,
                    format!(
                        "{who} needs {} of {name}; {} does not offer that{}.",
                        absent.join(", "),
                        file.display(),
                        newest(&library.offered, absent[0])
                    ),
                );
            }
            if is_new {
                next.push_back((name.clone(), library, file));
            }
        }
    }
}

/// The newest version of the same name that is offered: `GLIBC_2.36` for `GLIBC_2.38`.
fn newest(offered: &BTreeSet<String>, absent: &str) -> String {
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
            // Whoever reads may have seen enough (`| head`).
            let _ = writeln!(std::io::stdout(), "{line}");
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

    /// Damaged in every way: it must not take long, and not panic.
    #[test]
    fn mutated_files_do_no_harm() {
        let own = std::fs::read("/proc/self/exe").unwrap();
        // The whole program would take long to look through so often.
        let libc = libs::find("libc.so.6", &[], Path::new("/"));
        let small = libs::find("libdl.so.2", &[], Path::new("/")).or(libc);
        let data = small.and_then(|p| std::fs::read(p).ok()).unwrap_or(own);
        let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = move |n: usize| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            (seed % n as u64) as usize
        };
        let sections = u64::from_le_bytes(data[40..48].try_into().unwrap()) as usize;
        for _ in 0..3000 {
            let mut bad = data.clone();
            for _ in 0..=random(6) {
                // The headers, the sections' table, or anywhere.
                let at = match random(3) {
                    0 => random(64 + 12 * 56),
                    1 => sections + random(bad.len() - sections),
                    _ => random(bad.len()),
                };
                let Some(place) = bad.get_mut(at..at + 8) else { continue };
                match random(4) {
                    0 => place.fill(0xff),
                    1 => place.fill(0),
                    2 => place[0] = random(256) as u8,
                    _ => place.copy_from_slice(&(1u64 << random(64)).to_le_bytes()),
                }
            }
            if random(4) == 0 {
                bad.truncate(random(bad.len()));
            }
            let _ = elf::read(&bad);
        }
    }

    /// Sections that all say that they are the whole file.
    #[test]
    fn overlapping_sections_are_looked_through_once() {
        const SECTIONS: usize = 60_000;
        let mut bad = vec![0u8; 64 + SECTIONS * 64 + 4_000_000];
        bad[..20].copy_from_slice(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0\x3e\0");
        if cfg!(target_arch = "aarch64") {
            bad[18] = 0xb7;
        }
        let len = bad.len() as u64;
        bad[40..48].copy_from_slice(&64u64.to_le_bytes());
        bad[54..64].copy_from_slice(&[56, 0, 0, 0, 64, 0, 0x60, 0xea, 1, 0]);
        for i in 1..SECTIONS {
            let header = &mut bad[64 + i * 64..][..64];
            header[4..8].copy_from_slice(&1u32.to_le_bytes());
            header[8..16].copy_from_slice(&2u64.to_le_bytes());
            header[32..40].copy_from_slice(&len.to_le_bytes());
        }
        bad[64 + 64 + 4..][..4].copy_from_slice(&3u32.to_le_bytes());
        let end = bad.len() - 100;
        bad[end..end + 20].copy_from_slice(b"\0RedisModule_Alloc\0\0");
        // In one pass this takes no time; in 60,000 it would take hours.
        let facts = elf::read(&bad).expect("strange, but whole");
        assert_eq!(facts.asked.into_iter().collect::<Vec<_>>(), ["Alloc"]);
    }
}
