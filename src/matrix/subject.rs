//! A module of the matrix: its file, its arguments, and what is known about it.
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::lab::{Lab, Side, Stop};
use super::workload::{of, Workload};
use crate::client::process::fresh_dir;
use crate::client::resp::Reply;
use crate::client::words::split;

/// A module in question.
pub struct Subject {
    /// Its file.
    pub path: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// Whether the user gave them.
    pub given: bool,
    /// What it is called in tables and anchors; no two have the same.
    pub id: String,
    /// What is done with it; `None` for a module that nobody has described.
    pub workload: Option<&'static Workload>,
    loads: OnceLock<Result<Facts, String>>,
}

/// What a server tells about a module that it has loaded.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// As in `MODULE LIST`.
    pub name: String,
    /// As in `MODULE LIST`.
    pub version: String,
}

impl Subject {
    /// From one word of the command line: a file, and perhaps its arguments, quoted as in `redis-cli`.
    pub fn parse(word: &str, taken: &[Subject]) -> Result<Subject, String> {
        let text = |w: Vec<u8>| String::from_utf8_lossy(&w).into_owned();
        let mut words = match Path::new(word).exists() {
            true => vec![word.to_string()],
            false => split(word)?.into_iter().map(text).collect(),
        };
        if words.is_empty() {
            return Err("an empty file name".into());
        }
        let path = PathBuf::from(words.remove(0));
        // Servers run in folders of their own.
        let path = std::fs::canonicalize(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        let name = stem(&path);
        let workload = of(&name);
        let dir = path.parent().unwrap_or(Path::new("/")).display().to_string();
        let given = !words.is_empty();
        let args = match workload {
            Some(w) if !given => w.args.iter().map(|a| a.replace("{dir}", &dir)).collect(),
            _ => words,
        };
        let twins = taken.iter().filter(|s| stem(&s.path) == name).count();
        let id = if twins == 0 { name } else { format!("{name}-{}", twins + 1) };
        let id = id.replace(|c: char| !c.is_ascii_alphanumeric() && !"-_.".contains(c), "_");
        Ok(Subject { path, args, given, id, workload, loads: OnceLock::new() })
    }

    /// File and arguments, as after `loadmodule`.
    pub fn words(&self) -> Vec<String> {
        let mut words = vec![self.path.display().to_string()];
        words.extend(self.args.iter().cloned());
        words
    }

    /// Whether it loads here, and what it is called then. Asked once.
    fn facts(&self, lab: &Lab) -> Result<&Facts, &str> {
        let facts = self.loads.get_or_init(|| {
            let dir = fresh_dir()?;
            let mut host =
                lab.start_in(Side::Ours, dir, &[self], &[]).map_err(|stop| match stop {
                    Stop::Differs(text)
                    | Stop::Fails(text)
                    | Stop::NoReference(text)
                    | Stop::NotApplicable(text) => text,
                })?;
            find(&host.ask("MODULE LIST"), &self.path)
                .ok_or_else(|| "MODULE LIST does not show it.".to_string())
        });
        facts.as_ref().map_err(String::as_str)
    }

    /// As [`Subject::facts`], without a trace in the record of `lab`.
    pub fn facts_for(&self, lab: &Lab) -> Option<&Facts> {
        self.facts(&Lab::new(lab.setup, lab.subjects, lab.index)).ok()
    }

    /// As [`Subject::facts`], where it has been asked before.
    pub fn known_facts(&self) -> Option<&Facts> {
        self.loads.get()?.as_ref().ok()
    }
}

/// The entry of a file in `MODULE LIST`.
pub fn find(list: &Reply, path: &Path) -> Option<Facts> {
    let Reply::Many(_, modules) = list else { return None };
    modules.iter().find_map(|module| {
        let Reply::Many(_, fields) = module else { return None };
        let field = |name: &str| {
            let at = fields.iter().step_by(2).position(|f| f.text() == Some(name.as_bytes()))?;
            Some(String::from_utf8_lossy(fields.get(at * 2 + 1)?.text()?).into_owned())
        };
        let facts = Facts { name: field("name")?, version: field("ver")? };
        (Path::new(&field("path")?) == path).then_some(facts)
    })
}

/// A file's name without `.so`.
pub fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::resp::parse;

    #[test]
    fn modules_are_found_by_file() {
        let bytes = b"*1\r\n*8\r\n$4\r\nname\r\n$2\r\nbf\r\n$3\r\nver\r\n:20802\r\n$4\r\npath\r\n$5\r\n/x.so\r\n$4\r\nargs\r\n*0\r\n";
        let (list, _) = parse(bytes).expect("whole").expect("a reply");
        let facts = find(&list, Path::new("/x.so")).expect("listed");
        assert_eq!((facts.name.as_str(), facts.version.as_str()), ("bf", "20802"));
        assert!(find(&list, Path::new("/y.so")).is_none());
    }
}
