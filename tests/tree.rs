//! What the sources keep to, whoever changes them.
use std::path::{Path, PathBuf};

/// The Rust files of the workspace's packages.
fn sources() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders: Vec<PathBuf> =
        ["src", "tests", "ffi", "modules-test"].map(|name| root.join(name)).to_vec();
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("target") {
                folders.push(path);
            } else if path.extension().is_some_and(|ext| ext == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                found.push((path.strip_prefix(root).unwrap().to_path_buf(), text));
            }
        }
    }
    assert!(found.len() > 300, "{} files", found.len());
    found
}

#[test]
fn files_can_be_read_in_one_go() {
    let long = |(path, text): (PathBuf, String)| {
        let lines = text.lines().count();
        (lines > 800).then_some((path, lines))
    };
    let long: Vec<_> = sources().into_iter().filter_map(long).collect();
    assert!(long.is_empty(), "more than 800 lines: {long:?}");
}

/// Unsafe code names whose promise it relies on, so that each kind can be searched for. (That it says anything at all is
/// clippy's business.)
#[test]
fn unsafe_code_names_a_promise() {
    const PROMISES: [&str; 3] = ["ABI: ", "lock: ", "layout: "];
    let mut unnamed = Vec::new();
    for (path, text) in sources().iter().filter(|(path, _)| path.starts_with("src")) {
        for (i, line) in text.lines().enumerate() {
            let Some(reason) = line.trim_start().strip_prefix("// SAFETY: ") else { continue };
            if !PROMISES.iter().any(|promise| reason.starts_with(promise)) {
                unnamed.push(format!("{}:{}", path.display(), i + 1));
            }
        }
    }
    assert!(unnamed.is_empty(), "{unnamed:?}");
}
