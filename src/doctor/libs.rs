//! Where the dynamic loader would find a library.
use std::path::{Path, PathBuf};

const CACHE: &str = "/etc/ld.so.cache";
const CACHE_MAGIC: &[u8] = b"glibc-ld.so.cache1.1";

/// The paths of a name in the loader's cache, which `ldconfig` writes.
fn cached(name: &str) -> Vec<PathBuf> {
    let Ok(data) = std::fs::read(CACHE) else { return Vec::new() };
    // An old cache may stand before the present one.
    let Some(base) = data.windows(CACHE_MAGIC.len()).position(|w| w == CACHE_MAGIC) else {
        return Vec::new();
    };
    let data = &data[base..];
    let word = |at: usize| {
        data.get(at..at + 4).map(|b| u32::from_le_bytes(b.try_into().expect("four bytes")) as usize)
    };
    let text = |at: usize| {
        let rest = data.get(at..)?;
        std::str::from_utf8(&rest[..rest.iter().position(|c| *c == 0)?]).ok()
    };
    let count = word(20).unwrap_or(0);
    let mut found = Vec::new();
    for i in 0..count {
        let entry = 48 + i * 24;
        let (Some(key), Some(value)) = (word(entry + 4), word(entry + 8)) else { break };
        if text(key) == Some(name) {
            found.extend(text(value).map(PathBuf::from));
        }
    }
    found
}

/// The file that a library's name stands for, as far as its place tells; `None` if there is none.
pub fn find(name: &str, run_path: &[String], of: &Path) -> Option<PathBuf> {
    if name.contains('/') {
        return Path::new(name).exists().then(|| name.into());
    }
    let origin = of.parent().map(|p| p.to_string_lossy().into_owned()).unwrap_or_default();
    let own = run_path.iter().map(|p| p.replace("$ORIGIN", &origin).replace("${ORIGIN}", &origin));
    let environment = std::env::var("LD_LIBRARY_PATH").unwrap_or_default();
    let mut dirs: Vec<PathBuf> = own.map(PathBuf::from).collect();
    dirs.extend(environment.split(':').filter(|d| !d.is_empty()).map(PathBuf::from));
    let usable =
        |p: &PathBuf| super::contents(p).is_ok_and(|(_, data)| super::elf::read_any(&data).is_ok());
    dirs.iter()
        .map(|d| d.join(name))
        .chain(cached(name))
        .chain(
            ["/lib64", "/usr/lib64", "/lib", "/usr/lib", "/usr/local/lib"]
                .map(|d| Path::new(d).join(name)),
        )
        .filter(|p| p.exists())
        .find(usable)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A hostile file may name folders where reading never ends, such as `/dev`.
    #[test]
    fn what_is_no_file_is_not_read() {
        let dir = std::env::temp_dir().join(format!("backplane-libs-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("a folder");
        let made = std::process::Command::new("mkfifo").arg(dir.join("libpipe.so")).status();
        assert!(made.expect("mkfifo runs").success());
        let (tell, told) = std::sync::mpsc::channel();
        let folder = dir.display().to_string();
        std::thread::spawn(move || {
            let _ = tell.send(find("libpipe.so", &[folder], Path::new("/")));
        });
        let found = told.recv_timeout(std::time::Duration::from_secs(20));
        std::fs::remove_dir_all(dir).expect("the folder of before");
        assert_eq!(found, Ok(None));
    }
}
