//! Which files may be loaded: `module-load sealed` lets none in once the server runs, `module-allow-sha256` only those whose
//! content is listed. Both are beside `enable-module-command`, which says who may ask.
//!
//! The hash is taken before the file is opened as a library, and the file must be the same one afterwards. Who can write
//! to the file itself may still change it in the moment between: the rule is for files that came by the server's own
//! means (snapshots, `MIGRATE`, replicas) or by mistake, not against who owns the machine.
use super::sha256::{self, Hash};
use crate::config::enums::module_load;
use crate::server::Server;
use std::fs::{File, Metadata};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::Ordering::Relaxed;

/// A file that may be loaded.
pub struct Admitted {
    /// What it contains; none if it cannot be read, or if the loader will look for it in other folders.
    pub hash: Option<Hash>,
    seen: Option<Metadata>,
}

/// Whether content rules are in force.
pub fn has_rules(server: &Server) -> bool {
    is_sealed(server) || !server.config.module_allow_sha256().is_empty()
}

fn is_sealed(server: &Server) -> bool {
    server.config.module_load() == module_load::SEALED
}

fn read(path: &str) -> std::io::Result<(Metadata, Hash)> {
    let mut file = File::open(path)?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok((file.metadata()?, sha256::of(&bytes)))
}

/// Asks the rules about a file. The error is a sentence with the file, its hash and the rule.
pub fn ask(server: &Server, path: &str) -> Result<Admitted, String> {
    // A name without a slash is looked for along the loader's path: what lies in our folder is another file.
    let content = match path.contains('/') {
        true => read(path).map_err(|e| format!("it cannot be read: {e}")),
        false => Err("its name has no '/', so the system's loader chooses the file".into()),
    };
    let told = match &content {
        Ok((_, hash)) => format!("SHA-256 {}", sha256::hex(hash)),
        Err(reason) => format!("no SHA-256: {reason}"),
    };
    if is_sealed(server) && !server.starting.load(Relaxed) {
        return Err(format!(
            "Module {path} ({told}) is refused by 'module-load sealed': nothing is loaded after the start"
        ));
    }
    let allowed = server.config.module_allow_sha256();
    let listed = content.as_ref().is_ok_and(|(_, hash)| allowed.contains(hash));
    if !allowed.is_empty() && !listed {
        return Err(format!(
            "Module {path} ({told}) is refused by 'module-allow-sha256': none of its {} hashes is this file's",
            allowed.len()
        ));
    }
    let (seen, hash) = content.ok().unzip();
    Ok(Admitted { hash, seen })
}

impl Admitted {
    /// Whether the path still leads to what was hashed.
    pub fn is_same(&self, path: &str) -> bool {
        let of =
            |m: &Metadata| (m.dev(), m.ino(), m.size(), m.mtime(), m.mtime_nsec(), m.ctime_nsec());
        let now = std::fs::metadata(path).ok();
        self.seen.as_ref().is_none_or(|seen| now.is_some_and(|now| of(&now) == of(seen)))
    }
}
