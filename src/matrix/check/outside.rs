//! Checks that other programs make.
use std::path::PathBuf;
use std::process::Command;

use crate::doctor;
use crate::matrix::lab::{cut, shell, Lab, Stop, Verdict};
use crate::matrix::this_program;

/// `backplane doctor` of the file.
pub fn doctor(lab: &Lab) -> Verdict {
    let report = doctor::examine(&lab.subject().path.display().to_string());
    doctor::lines(&report).into_iter().for_each(|line| lab.note(line));
    let bad: Vec<String> = report
        .findings
        .iter()
        .filter(|(severity, _)| *severity > doctor::Severity::Note)
        .map(|(_, text)| text.clone())
        .collect();
    if !bad.is_empty() {
        return Err(Stop::Fails(format!("{} {}", report.verdict(), bad.join(" "))));
    }
    let served: usize = report.served.values().sum();
    let absent = match report.missing.len() {
        0 => String::new(),
        n => format!(" {n} that Redis 7.4 has not either are absent."),
    };
    Ok(format!("{served} API functions that it asks for are served.{absent}"))
}

/// How to ask the doctor.
pub fn doctor_command(lab: &Lab) -> String {
    let path = lab.subject().path.display().to_string();
    format!("{} doctor {}", this_program(), shell(&path))
}

/// Runs the differential scripts.
pub fn scripts(lab: &Lab) -> Verdict {
    let names = lab.workload().map_or(&[][..], |w| w.scripts);
    if names.is_empty() {
        return Err(Stop::NotApplicable(
            "There is no differential script about this module.".into(),
        ));
    }
    if lab.setup.reference_server.is_none() {
        return Err(Stop::NoReference("There is no reference to compare with.".into()));
    }
    let Some(paths) = script_paths(lab) else {
        return Err(Stop::NotApplicable(
            "The scripts are not here: --scripts names their folder.".into(),
        ));
    };
    let program = beside("backplane-diff");
    if !program.exists() {
        let path = program.display();
        return Err(Stop::NotApplicable(format!(
            "{path} is not built: cargo build --bins builds it."
        )));
    }
    let mut command = Command::new(&program);
    command.args(script_options(lab)).args(&paths);
    let output = command.output().map_err(|e| format!("{}: {e}", program.display()))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = text.lines().collect();
    lines.iter().for_each(|line| lab.note(cut(line, 300)));
    let last = lines.last().copied().unwrap_or("It printed nothing.");
    if output.status.success() {
        let compared = last.split(' ').next().unwrap_or_default();
        return Ok(format!("{compared} replies compared, no difference."));
    }
    Err(Stop::Differs(format!("{last}. The first: {}", lines[..lines.len().min(4)].join(" / "))))
}

fn script_paths(lab: &Lab) -> Option<Vec<PathBuf>> {
    let dir = lab.setup.scripts.as_ref()?;
    let names = lab.workload()?.scripts;
    let paths: Vec<PathBuf> = names.iter().map(|name| dir.join(name)).collect();
    paths.iter().all(|p| p.exists()).then_some(paths)
}

/// How to run the scripts.
pub fn scripts_command(lab: &Lab) -> String {
    let names = lab.workload().map_or(&[][..], |w| w.scripts);
    let paths: Vec<String> = match script_paths(lab) {
        Some(paths) => paths.iter().map(|p| p.display().to_string()).collect(),
        None => names.iter().map(|n| format!("tests/diff/{n}")).collect(),
    };
    let mut words = vec![beside("backplane-diff").display().to_string()];
    words.extend(script_options(lab));
    words.extend(paths);
    words.iter().map(|w| shell(w)).collect::<Vec<_>>().join(" ")
}

/// Which servers and modules the scripts are about.
fn script_options(lab: &Lab) -> Vec<String> {
    let mut words = Vec::new();
    if let Some(reference) = &lab.setup.reference_server {
        words.extend(["--server-a".into(), reference.display().to_string()]);
    }
    words.extend(["--server-b".into(), lab.setup.server.join(" ")]);
    if let Some(dir) = lab.subject().path.parent() {
        words.extend(["--modules".into(), dir.display().to_string()]);
    }
    words
}

/// A program of the same build.
fn beside(name: &str) -> PathBuf {
    std::env::current_exe().unwrap_or_default().with_file_name(name)
}

/// Runs the vendor's suite.
pub fn suite(lab: &Lab) -> Verdict {
    let Some(name) = lab.workload().and_then(|w| w.suite) else {
        return Err(Stop::NotApplicable("No suite of its vendor is known.".into()));
    };
    if lab.setup.suites.is_none() {
        return Err(Stop::NotApplicable("--suites names the vendors' checkouts.".into()));
    }
    let words = suite_words(lab, name);
    let output = Command::new(&words[0])
        .args(&words[1..])
        .output()
        .map_err(|e| format!("{}: {e}", words[0]))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    text.lines().for_each(|line| lab.note(cut(line, 300)));
    let verdict = text.lines().find(|l| l.contains("baseline-passing tests pass"));
    let sentence = verdict.or(text.lines().last()).unwrap_or("It printed nothing.");
    match output.status.success() {
        true => Ok(sentence.to_string()),
        false => Err(Stop::Fails(sentence.to_string())),
    }
}

fn suite_words(lab: &Lab, name: &str) -> Vec<String> {
    let path = |p: &Option<PathBuf>| p.as_ref().map_or("DIR".into(), |p| p.display().to_string());
    let modules = lab.subject().path.parent().map(|p| p.display().to_string());
    let python =
        lab.setup.suites.as_ref().map(|d| d.join("venv/bin/python")).filter(|p| p.exists());
    let mut words = vec![python.map_or("python3".into(), |p| p.display().to_string())];
    words.push(lab.setup.runner.as_ref().map_or("run.py".into(), |p| p.display().to_string()));
    let pairs = [
        ("--server", lab.setup.server[0].clone()),
        ("--suite", name.to_string()),
        ("--suites-dir", path(&lab.setup.suites)),
        ("--modules", modules.unwrap_or_default()),
        ("--jobs", "1".to_string()),
    ];
    words.extend(pairs.into_iter().flat_map(|(option, value)| [option.to_string(), value]));
    words.extend(lab.setup.runner_args.iter().cloned());
    words
}

/// How to run the suite.
pub fn suite_command(lab: &Lab) -> String {
    match lab.workload().and_then(|w| w.suite) {
        Some(name) => suite_words(lab, name).iter().map(|w| shell(w)).collect::<Vec<_>>().join(" "),
        None => crate::matrix::again(lab, "suite", false),
    }
}
