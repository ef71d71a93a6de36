//! `backplane matrix`: whether modules work here as on the reference. Every check is a row of data ([`check::CHECKS`]); every
//! cell comes from real server processes, and tells the command line that reproduces it.
pub mod check;
mod html;
mod json;
mod lab;
mod subject;
mod table;
mod workload;

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::client::process::reference_dir;
use check::{Check, CHECKS};
use lab::{Lab, Stop, Verdict};
use subject::Subject;

const USAGE: &str = "\
Usage: backplane matrix [FILE.so | 'FILE.so ARG...'] ... [OPTION...]
Runs every check on every module (default: the real ones in target/reference/lib), here and on the reference.
  --reference DIR     folder with bin/redis-server (default: target/reference here or above; none: fewer checks)
  --no-reference      compare with nothing
  --server CMD        the server under test (default: this program)
  --json FILE         write the result as JSON
  --html FILE         write the result as one page
  --only CHECK,...    only these checks
  --seconds N         how long the mixed load lasts (default 60)
  --scripts DIR       folder of the differential scripts (default: tests/diff here or above)
  --suites DIR        folder of the vendors' checkouts: run their suites too
  --runner FILE       the program that runs them (default: run.py in the folder of --suites)
  --runner-args ARGS  more arguments for it, such as '--only-files test_crash'
  --jobs N            checks at a time (default: as many as processors, 2 to 8)
  --verbose           print what is sent and answered
  --list              tell what the checks are
Exit code 0 if no cell fails or differs, 1 if one does, 2 when it was called wrongly.";

/// What the user asked for.
pub struct Setup {
    /// Command of the server under test.
    pub server: Vec<String>,
    /// The reference, where there is one.
    pub reference_server: Option<PathBuf>,
    /// Options that a cell needs to be had again.
    repeat: Vec<String>,
    /// How long the mixed load lasts.
    pub seconds: u64,
    /// Where the differential scripts are.
    pub scripts: Option<PathBuf>,
    /// The vendors' checkouts.
    pub suites: Option<PathBuf>,
    /// More arguments for the program that runs them.
    pub runner_args: Vec<String>,
    /// What runs them.
    pub runner: Option<PathBuf>,
    /// Whether all that is sent is printed.
    pub verbose: bool,
    jobs: usize,
    json: Option<PathBuf>,
    html: Option<PathBuf>,
    checks: Vec<&'static Check>,
    files: Vec<String>,
}

/// How a check of a module ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// As it must be.
    Ok,
    /// It works, but not as on the reference.
    Differs,
    /// It does not work.
    Fails,
    /// Proved as far as one server alone can.
    NoReference,
    /// The check says nothing about this module.
    NotApplicable,
}

impl State {
    /// All of them, and how they are called.
    pub const ALL: [(State, &'static str); 5] = [
        (State::Ok, "ok"),
        (State::Differs, "differs"),
        (State::Fails, "fails"),
        (State::NoReference, "no reference"),
        (State::NotApplicable, "not applicable"),
    ];

    /// How it is called.
    pub fn name(self) -> &'static str {
        State::ALL.iter().find(|(state, _)| *state == self).map_or("", |(_, name)| name)
    }

    /// Whether the exit code tells of it.
    pub fn is_bad(self) -> bool {
        matches!(self, State::Fails | State::Differs)
    }
}

/// One check of one module.
pub struct Cell {
    /// Number of the check among those that were asked for.
    pub check: usize,
    /// Number of the module.
    pub subject: usize,
    /// How it ended.
    pub state: State,
    /// A sentence about it.
    pub text: String,
    /// What reproduces it.
    pub command: String,
    /// What was sent and answered.
    pub steps: Vec<String>,
    /// How long it took.
    pub time: Duration,
}

/// All that was found out.
pub struct Matrix {
    /// The checks, in order.
    pub checks: Vec<&'static Check>,
    /// The modules, in order.
    pub subjects: Vec<Subject>,
    /// Every pair of both, check by check.
    pub cells: Vec<Cell>,
    /// Version of the server under test.
    pub server: String,
    /// The same of the reference.
    pub reference: Option<String>,
    /// How long it took.
    pub time: Duration,
}

impl Matrix {
    /// The cell of a check and a module.
    pub fn cell(&self, check: usize, subject: usize) -> &Cell {
        &self.cells[check * self.subjects.len() + subject]
    }

    /// How many cells ended so.
    pub fn count(&self, state: State) -> usize {
        self.cells.iter().filter(|cell| cell.state == state).count()
    }
}

/// The command line behind `matrix`.
pub fn main(args: &[String]) -> i32 {
    let (setup, subjects) = match setup(args) {
        Ok(Some(ready)) => ready,
        Ok(None) => return 0,
        Err(why) => {
            eprintln!("{why}");
            return 2;
        }
    };
    let result = run(&setup, subjects);
    let colours = std::io::stdout().is_terminal();
    print!("{}", table::text(&result, colours));
    let files = [(&setup.json, json::text(&result)), (&setup.html, html::text(&result))];
    for (path, text) in files {
        let Some(path) = path else { continue };
        if let Err(e) = std::fs::write(path, text) {
            eprintln!("{}: {e}", path.display());
            return 2;
        }
        println!("Written: {}", path.display());
    }
    i32::from(result.cells.iter().any(|cell| cell.state.is_bad()))
}

fn setup(args: &[String]) -> Result<Option<(Setup, Vec<Subject>)>, String> {
    let own = std::env::current_exe().map_err(|e| e.to_string())?.display().to_string();
    let mut setup = Setup {
        server: vec![own],
        reference_server: None,
        repeat: Vec::new(),
        seconds: 60,
        scripts: None,
        suites: None,
        runner_args: Vec::new(),
        runner: None,
        verbose: false,
        jobs: std::thread::available_parallelism().map_or(2, |n| n.get().clamp(2, 8)),
        json: None,
        html: None,
        checks: CHECKS.iter().collect(),
        files: Vec::new(),
    };
    let (mut without, mut given) = (false, None);
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or_else(|| format!("{arg} lacks its value\n{USAGE}"));
        let number = |text: &String| text.parse::<u64>().map_err(|_| format!("no number: {text}"));
        match arg.as_str() {
            "--reference" => {
                given = Some(PathBuf::from(value()?));
            }
            "--no-reference" => {
                without = true;
                setup.repeat.push(arg.clone());
            }
            "--server" => {
                let command = value()?;
                setup.server = command.split_whitespace().map(str::to_string).collect();
                setup.repeat.push(format!("--server {}", lab::shell(command)));
            }
            "--json" => setup.json = Some(value()?.into()),
            "--html" => setup.html = Some(value()?.into()),
            "--only" => setup.checks = only(value()?)?,
            "--seconds" => {
                setup.seconds = number(value()?)?;
                setup.repeat.push(format!("--seconds {}", setup.seconds));
            }
            "--scripts" => setup.scripts = Some(value()?.into()),
            "--suites" => setup.suites = Some(value()?.into()),
            "--runner" => setup.runner = Some(value()?.into()),
            "--runner-args" => {
                setup.runner_args = value()?.split_whitespace().map(str::to_string).collect();
            }
            "--jobs" => setup.jobs = number(value()?)?.clamp(1, 64) as usize,
            "--verbose" => setup.verbose = true,
            "--list" => {
                CHECKS.iter().for_each(|c| println!("{:10} {}", c.name, c.proves));
                return Ok(None);
            }
            "--help" | "-h" => {
                println!("{USAGE}");
                return Ok(None);
            }
            _ if arg.starts_with('-') => return Err(format!("unknown option {arg}\n{USAGE}")),
            _ => setup.files.push(arg.clone()),
        }
    }
    if setup.server.is_empty() {
        return Err("--server is empty".into());
    }
    let dir = if without { None } else { given.or_else(reference_dir) };
    if let Some(dir) = &dir {
        let path = dir.join("bin/redis-server");
        let path = path.canonicalize().map_err(|e| format!("{}: {e}", path.display()))?;
        // As it was found: a command is pasted in any folder.
        let dir = path.ancestors().nth(2).unwrap_or(Path::new("/")).display().to_string();
        setup.repeat.push(format!("--reference {}", lab::shell(&dir)));
        setup.reference_server = Some(path);
    }
    setup.scripts = setup.scripts.or_else(|| above("tests/diff"));
    if let Some(suites) = &setup.suites {
        let runner = setup.runner.clone().unwrap_or_else(|| suites.join("run.py"));
        if !runner.exists() {
            return Err(format!(
                "{}: there is no such runner; --runner names it",
                runner.display()
            ));
        }
        setup.suites = Some(suites.canonicalize().map_err(|e| e.to_string())?);
        setup.runner = Some(runner.canonicalize().map_err(|e| e.to_string())?);
    }
    let mut files = setup.files.clone();
    if files.is_empty() {
        let dir =
            dir.or_else(reference_dir).ok_or("no modules: name some, or run tools/get-modules")?;
        files = workload::ALL
            .iter()
            .map(|w| dir.join("lib").join(w.file).with_extension("so"))
            .filter(|path| path.exists())
            .map(|path| path.display().to_string())
            .collect();
    }
    let mut subjects = Vec::new();
    for file in &files {
        subjects.push(Subject::parse(file, &subjects)?);
    }
    Ok(Some((setup, subjects)))
}

/// The checks of those names.
fn only(names: &str) -> Result<Vec<&'static Check>, String> {
    let find = |name: &str| {
        let known = || CHECKS.iter().map(|c| c.name).collect::<Vec<_>>().join(", ");
        let check = CHECKS.iter().find(|c| c.name == name);
        check.ok_or_else(|| format!("no check is called {name}; there are {}", known()))
    };
    names.split(',').filter(|n| !n.is_empty()).map(find).collect()
}

/// A folder below the working directory or one above it.
fn above(name: &str) -> Option<PathBuf> {
    let here = std::env::current_dir().ok()?;
    here.ancestors().map(|dir| dir.join(name)).find(|dir| dir.is_dir())
}

/// Runs all checks, so many at a time.
fn run(setup: &Setup, subjects: Vec<Subject>) -> Matrix {
    let begin = Instant::now();
    let total = setup.checks.len() * subjects.len();
    let next = AtomicUsize::new(0);
    let (send, receive) = mpsc::channel();
    let mut cells: Vec<Option<Cell>> = (0..total).map(|_| None).collect();
    std::thread::scope(|scope| {
        for _ in 0..setup.jobs.min(total) {
            let (send, next, subjects) = (send.clone(), &next, &subjects);
            scope.spawn(move || loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                if at >= total {
                    return;
                }
                let cell = one(setup, subjects, at / subjects.len(), at % subjects.len());
                if send.send((at, cell)).is_err() {
                    return;
                }
            });
        }
        drop(send);
        for (done, (at, cell)) in receive.iter().enumerate() {
            progress(setup, &subjects, &cell, done + 1, total);
            cells[at] = Some(cell);
        }
    });
    if std::io::stderr().is_terminal() {
        eprint!("\r\x1b[K");
    }
    Matrix {
        checks: setup.checks.clone(),
        cells: cells.into_iter().flatten().collect(),
        subjects,
        server: version(&setup.server[0]),
        reference: setup.reference_server.as_ref().map(|p| version(&p.display().to_string())),
        time: begin.elapsed(),
    }
}

fn one(setup: &Setup, subjects: &[Subject], check: usize, subject: usize) -> Cell {
    let begin = Instant::now();
    let lab = Lab::new(setup, subjects, subject);
    let row = setup.checks[check];
    if setup.verbose {
        eprintln!("{} of {}", row.name, subjects[subject].id);
    }
    let verdict: Verdict = match row.needs_load {
        true if subjects[subject].facts_for(&lab).is_none() => {
            Err(Stop::NotApplicable("The module does not load.".into()))
        }
        _ => (row.run)(&lab),
    };
    let (state, text) = match verdict {
        Ok(text) => (State::Ok, text),
        Err(Stop::Differs(text)) => (State::Differs, text),
        Err(Stop::Fails(text)) => (State::Fails, text),
        Err(Stop::NoReference(text)) => (State::NoReference, text),
        Err(Stop::NotApplicable(text)) => (State::NotApplicable, text),
    };
    let command = (row.how)(&lab);
    Cell { check, subject, state, text, command, steps: lab.lines(), time: begin.elapsed() }
}

/// How this program is called: by its path, unless a shell found it by its name.
fn this_program() -> String {
    let given = std::env::args().next().unwrap_or_default();
    match std::env::current_exe() {
        Ok(me) if given.contains('/') => lab::shell(&me.display().to_string()),
        _ => given,
    }
}

/// How a cell is had again: with all modules where the check is about all of them.
fn again(lab: &Lab, check: &str, all: bool) -> String {
    let mut words = vec![this_program()];
    words.extend(["matrix --verbose --only", check].map(String::from));
    words.extend(lab.setup.repeat.iter().cloned());
    let word = |subject: &Subject| match subject.given {
        true => subject.words().iter().map(|w| lab::shell(w)).collect::<Vec<_>>().join(" "),
        false => subject.path.display().to_string(),
    };
    let others = lab.subjects.iter().filter(|s| all && s.path != lab.subject().path);
    words.extend(std::iter::once(lab.subject()).chain(others).map(|s| lab::shell(&word(s))));
    words.join(" ")
}

/// One line that is written over where somebody looks on; a line a check in a log.
fn progress(setup: &Setup, subjects: &[Subject], cell: &Cell, done: usize, total: usize) {
    let (check, module) = (setup.checks[cell.check].name, &subjects[cell.subject].id);
    let state = cell.state.name();
    let mut err = std::io::stderr();
    let _ = match err.is_terminal() && !setup.verbose {
        true => write!(err, "\r\x1b[K[{done}/{total}] {check} of {module}: {state}"),
        false => {
            let seconds = cell.time.as_secs_f64();
            writeln!(err, "[{done}/{total}] {check} of {module}: {state} ({seconds:.1} s)")
        }
    };
    let _ = err.flush();
}

fn version(command: &str) -> String {
    let output = std::process::Command::new(command).arg("--version").output();
    let text = output.map(|o| String::from_utf8_lossy(&o.stdout).into_owned()).unwrap_or_default();
    short(&text).unwrap_or_else(|| command.to_string())
}

/// What matters of the line that `--version` prints: `7.4.1 (build backplane-0.1.0)`.
fn short(line: &str) -> Option<String> {
    let word = |name: &str| line.split_whitespace().find_map(|w| w.strip_prefix(name));
    Some(format!("{} (build {})", word("v=")?, word("build=")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_checks() {
        assert_eq!(only("rdb,doctor").map(|c| c.len()), Ok(2));
        assert!(only("nosuch").err().is_some_and(|why| why.contains("doctor")));
        let mut names: Vec<_> = CHECKS.iter().map(|c| c.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), CHECKS.len());
    }

    #[test]
    fn versions() {
        let line = "Redis server v=7.4.1 sha=00000000:0 malloc=libc bits=64 build=backplane-0.1.0";
        assert_eq!(short(line).as_deref(), Some("7.4.1 (build backplane-0.1.0)"));
        assert_eq!(short(""), None);
    }

    #[test]
    fn wrong_command_lines() {
        let call =
            |args: &[&str]| setup(&args.iter().map(|a| a.to_string()).collect::<Vec<_>>()).err();
        assert!(call(&["--nosuch"]).is_some_and(|why| why.contains("unknown option")));
        assert!(call(&["--seconds"]).is_some_and(|why| why.contains("lacks")));
        assert!(
            call(&["/nosuch.so", "--no-reference"]).is_some_and(|why| why.contains("/nosuch.so"))
        );
    }
}
