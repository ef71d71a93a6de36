//! Users in files: the `aclfile`, and the `user` lines of the configuration file.
use super::rules::{has_blanks, merge_selectors, Context, RuleError, Rules};
use super::{Acl, DEFAULT_NAME};
use crate::connection::client::Session;
use crate::dispatch::table::Table;
use crate::server::Server;
use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// The configured file, if there is one.
pub fn path(server: &Server) -> Option<Vec<u8>> {
    server.config.aclfile().filter(|p| !p.is_empty()).map(|p| p.to_vec())
}

fn lossy(text: &[u8]) -> String {
    String::from_utf8_lossy(text).into_owned()
}

/// Reads the users in the text of an `aclfile`. The error lists all that is wrong.
fn parse(
    file: &str,
    text: &[u8],
    context: Context<'_>,
) -> Result<BTreeMap<Vec<u8>, Rules>, String> {
    let mut users = BTreeMap::new();
    let mut errors = String::new();
    let trimmed = |text: &[u8], more: &[u8]| {
        let out = |c: &u8| matches!(c, b'\t' | b'\r' | b'\n') || more.contains(c);
        let from = text.iter().position(|c| !out(c)).unwrap_or(text.len());
        let to = text.iter().rposition(|c| !out(c)).map_or(from, |i| i + 1);
        text[from..to].to_vec()
    };
    for (i, line) in text.split(|c| *c == b'\n').enumerate() {
        let number = i + 1;
        let line = trimmed(line, b" ");
        if line.is_empty() {
            continue;
        }
        let words: Vec<&[u8]> = line.split(|c| *c == b' ').collect();
        if words[0] != b"user" || words.len() < 2 {
            errors += &format!(
                "{file}:{number} should start with user keyword followed by the username. "
            );
            continue;
        }
        let name = words[1];
        if has_blanks(name) {
            let name = lossy(name);
            errors += &format!("'{file}:{number}: username '{name}' contains invalid characters. ");
            continue;
        }
        if users.contains_key(name) {
            let name = lossy(name);
            errors += &format!("WARNING: Duplicate user '{name}' found on line {number}. ");
            continue;
        }
        let mut rules = Rules::new(context);
        let Ok(ops) = merge_selectors(&words[2..]) else {
            errors += &format!("{file}:{number}: Unmatched parenthesis in selector definition.");
            continue;
        };
        let mut told = false;
        for op in ops {
            let op = trimmed(&op, b"");
            match rules.apply(&op, context) {
                Ok(()) => {}
                // What is missing may be told: it is no secret.
                Err(e @ RuleError::Unknown) => {
                    let (op, e) = (lossy(&op), e.text());
                    errors +=
                        &format!("{file}:{number}: Error in applying operation '{op}': {e}. ");
                }
                Err(_) if told => {}
                Err(e) => {
                    errors += &format!("{file}:{number}: {}. ", e.text());
                    told = true;
                }
            }
        }
        users.insert(name.to_vec(), rules);
    }
    if errors.is_empty() {
        return Ok(users);
    }
    Err(errors
        + "WARNING: ACL errors detected, no change to the previously active ACL rules was performed")
}

/// Replaces all users by those of the `aclfile`. The error is the text without a code. The caller has the module lock.
pub fn load(server: &'static Server, me: Option<&mut Session>) -> Result<(), String> {
    let path = path(server).unwrap_or_default();
    let file = lossy(&path);
    let text = std::fs::read(Path::new(std::ffi::OsStr::from_bytes(&path))).map_err(|e| {
        let reason = crate::config::os_error_text(&e);
        format!("Error loading ACLs, opening file '{file}': {reason}")
    })?;
    let table = server.modules.current_table(server);
    let users = parse(&file, &text, Acl::context(server, &table))?;
    Acl::replace_all(server, users, me);
    Ok(())
}

/// Writes all users to the `aclfile`: to a new file beside it, which then takes its name.
pub fn save(server: &Server) -> io::Result<()> {
    let path = path(server).unwrap_or_default();
    let mut text = Vec::new();
    for line in server.acl.lines() {
        text.extend(b"user ");
        text.extend(line);
        text.push(b'\n');
    }
    let (pid, now) = (std::process::id(), crate::observe::clock::now_ms());
    let temporary = [&path[..], format!(".tmp-{pid}-{now}").as_bytes()].concat();
    let temporary = Path::new(std::ffi::OsStr::from_bytes(&temporary));
    let path = Path::new(std::ffi::OsStr::from_bytes(&path));
    let written = write_file(temporary, path, &text);
    if written.is_err() {
        let _ = std::fs::remove_file(temporary);
    }
    written
}

fn write_file(temporary: &Path, path: &Path, text: &[u8]) -> io::Result<()> {
    let mut file = std::fs::File::create(temporary)?;
    file.write_all(text)?;
    file.sync_all()?;
    std::fs::rename(temporary, path)?;
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty());
    std::fs::File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

/// Checks a `user` line of the configuration file: name and rules. Commands that are not known may come with modules. The
/// error is the index of an argument of the line, the word `user` being 0, and the reason.
pub fn check_line(args: &[Vec<u8>]) -> Result<(), (usize, String)> {
    let words: Vec<&[u8]> = args[1..].iter().map(Vec::as_slice).collect();
    let ops = merge_selectors(&words).map_err(|i| (i, "Wrong format".to_string()))?;
    if ops.is_empty() {
        return Ok(());
    }
    let table = Table::build(&[], 0, false, None);
    let context = Context { table: &table, all_channels: false };
    let mut rules = Rules::new(context);
    for (i, op) in ops.iter().enumerate() {
        match rules.apply(op, context) {
            Ok(()) | Err(RuleError::Unknown) => {}
            Err(e) => return Err((i, e.text().to_string())),
        }
    }
    Ok(())
}

/// Makes the users that the configuration says, once modules are loaded. False, with the reason in the log, if the server
/// must not start.
pub fn load_at_start(server: &'static Server) -> bool {
    let lines = &server.startup.users;
    let aclfile = path(server);
    if aclfile.is_some() && !lines.is_empty() {
        crate::log_warning!(
            "Configuring Redis with users defined in redis.conf and at the same setting an ACL file path is invalid. \
             This setup is very likely to lead to configuration errors and security holes, please define either an ACL \
             file or declare users directly in your redis.conf, but not both."
        );
        return false;
    }
    if !lines.iter().all(|line| load_line(server, line)) {
        crate::log_warning!("Critical error while loading ACLs. Exiting.");
        return false;
    }
    if aclfile.is_some() {
        if let Err(e) = load(server, None) {
            crate::log_warning!("Aborting Redis startup because of ACL errors: {e}");
            return false;
        }
    }
    true
}

fn load_line(server: &'static Server, line: &[Vec<u8>]) -> bool {
    let (name, words) = (&line[0], &line[1..]);
    if has_blanks(name) {
        crate::log_warning!("Spaces not allowed in ACL usernames");
        return false;
    }
    let table = server.modules.current_table(server);
    let context = Acl::context(server, &table);
    let mut rules = Rules::new(context);
    let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
    for op in merge_selectors(&words).unwrap_or_default() {
        if let Err(e) = rules.apply(&op, context) {
            crate::log_warning!(
                "Error loading ACL rule '{}' for the user named '{}': {}",
                lossy(&op),
                lossy(name),
                e.text()
            );
            return false;
        }
    }
    if !rules.enabled {
        crate::log_notice!(
            "The user '{}' is disabled (there is no 'on' modifier in the user description). Make sure this is not a \
             configuration error.",
            lossy(name)
        );
    }
    server.acl.put(name, rules);
    true
}

impl Acl {
    /// Gives a user rules, whatever it had; makes it if need be. For the start, when nobody is connected.
    fn put(&self, name: &[u8], rules: Rules) {
        let _change = self.change.lock();
        if name == DEFAULT_NAME {
            self.default.set_rules(rules);
        } else {
            self.users.write().insert(name.to_vec(), super::User::new(name, rules));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<&[&str], &str>) {
        let table = Table::build(&[], 0, false, None);
        let context = Context { table: &table, all_channels: false };
        let users = parse("/f", text.as_bytes(), context);
        let names = users.map(|u| u.into_keys().map(|n| lossy(&n)).collect::<Vec<_>>());
        let tail = "WARNING: ACL errors detected, no change to the previously active ACL rules was performed";
        match expected {
            Ok(expected) => assert_eq!(names.unwrap(), expected),
            Err(e) => assert_eq!(names.unwrap_err(), format!("{e}{tail}")),
        }
    }

    #[test]
    fn files() {
        check("user b on\n\n user a  +get\r\n", Ok(&["a", "b"]));
        check("", Ok(&[]));
        check("# x", Err("/f:1 should start with user keyword followed by the username. "));
        check("user a\nuser a", Err("WARNING: Duplicate user 'a' found on line 2. "));
        check(
            "user a +nosuch bad worse",
            Err("/f:1: Error in applying operation '+nosuch': Unknown command or category name in ACL. /f:1: Syntax error. "),
        );
        check("user a (+get", Err("/f:1: Unmatched parenthesis in selector definition."));
    }

    #[test]
    fn lines_of_the_configuration() {
        let check = |line: &str| {
            let words: Vec<Vec<u8>> = line.split(' ').map(|w| w.as_bytes().to_vec()).collect();
            check_line(&words)
        };
        assert_eq!(check("a on +nosuch.command"), Ok(()));
        assert_eq!(check("a on bad"), Err((1, "Syntax error".into())));
        assert_eq!(check("a (+get"), Err((0, "Wrong format".into())));
    }
}
