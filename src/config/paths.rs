//! Paths in configuration: patterns of `include`, and the configuration file's own absolute path.

use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use super::glob::{glob_match, has_wildcard};

/// The files a path stands for: itself, or if it holds a wildcard all that match, sorted, perhaps none. A leading dot must
/// be spelt out.
pub(super) fn expand(path: &[u8]) -> Vec<PathBuf> {
    if !has_wildcard(path) {
        return vec![PathBuf::from(OsStr::from_bytes(path))];
    }
    let mut found = vec![if path.starts_with(b"/") { PathBuf::from("/") } else { PathBuf::new() }];
    for part in path.split(|&c| c == b'/').filter(|part| !part.is_empty()) {
        found = found.iter().flat_map(|base| step(base, part)).collect();
    }
    found
}

fn step(base: &Path, part: &[u8]) -> Vec<PathBuf> {
    if !has_wildcard(part) {
        let next = base.join(OsStr::from_bytes(part));
        return if next.exists() { vec![next] } else { Vec::new() };
    }
    let pattern = part.to_vec();
    let dir = if base.as_os_str().is_empty() { Path::new(".") } else { base };
    let mut names: Vec<Vec<u8>> = std::fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name().into_vec())
        .filter(|name| name[0] != b'.' || pattern[0] == b'.')
        .filter(|name| glob_match(&pattern, name, false))
        .collect();
    names.sort();
    names.iter().map(|name| base.join(OsStr::from_bytes(name))).collect()
}

/// The absolute form of a path: leading `../`s are taken off together with the end of the working directory, nothing else
/// is resolved.
pub(super) fn absolute(path: &[u8]) -> PathBuf {
    let mut path = path.trim_ascii();
    let mut base = std::env::current_dir().unwrap_or_default();
    while let Some(rest) = path.strip_prefix(b"../") {
        base.pop();
        path = rest;
    }
    base.join(OsStr::from_bytes(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_in_any_part_of_the_path() {
        let dir = std::env::temp_dir().join(format!("backplane-paths-{}", std::process::id()));
        for file in ["b/x.conf", "a/y.conf", "a/x.conf", "a/.hidden.conf"] {
            let path = dir.join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        let found = |pattern: &str| -> Vec<String> {
            let all = expand(dir.join(pattern).as_os_str().as_bytes());
            all.iter().map(|p| p.strip_prefix(&dir).unwrap().display().to_string()).collect()
        };
        assert_eq!(found("*/*.conf"), ["a/x.conf", "a/y.conf", "b/x.conf"]);
        assert_eq!(found("[a]/x.conf"), ["a/x.conf"]);
        assert_eq!(found("a/.h*"), ["a/.hidden.conf"]);
        assert_eq!(found("*/none.conf"), [""; 0]);
        assert_eq!(found("none.conf"), ["none.conf"]);
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn absolute_paths() {
        let cwd = std::env::current_dir().unwrap();
        assert_eq!(absolute(b"/x/../y"), Path::new("/x/../y"));
        assert_eq!(absolute(b" a.conf "), cwd.join("a.conf"));
        assert_eq!(absolute(b"../a.conf"), cwd.parent().unwrap().join("a.conf"));
        assert_eq!(absolute(&b"../".repeat(50)), Path::new("/"));
    }
}
