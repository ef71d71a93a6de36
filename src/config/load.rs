//! The configuration file: its lines, includes and the directives that only a file knows.

use std::io;
use std::path::PathBuf;

use super::rows::{self, MULTI_ARG, ROWS};
use super::text::split_args;
use super::value::{self, Value};
use super::{os_error_text, paths, Config};
use crate::observe::log::Level;

/// The version in error texts and in `--version`.
pub const REDIS_VERSION: &str = "7.4.1";
/// An include inside an include ... this deep is taken for a loop.
const MAX_INCLUDES: usize = 64;
/// Directives of old versions that are read and forgotten.
const FORGOTTEN: [&[u8]; 3] =
    [b"list-max-ziplist-entries", b"list-max-ziplist-value", b"lua-replicate-commands"];

/// A `loadmodule` line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LoadModule {
    /// Path of the shared object.
    pub path: Vec<u8>,
    /// Arguments of its `OnLoad`.
    pub args: Vec<Vec<u8>>,
}

/// What the file and the command line say beyond values of directives.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Startup {
    /// Absolute path of the configuration file: CONFIG REWRITE's target.
    pub config_file: Option<PathBuf>,
    /// Modules to load, in order.
    pub loadmodules: Vec<LoadModule>,
    /// Directives with a dot, lower case, each once with its last value.
    pub module_configs: Vec<(Vec<u8>, Vec<u8>)>,
    /// `user` lines: name, then rules.
    pub users: Vec<Vec<Vec<u8>>>,
    /// `rename-command` lines: old name, new name (empty: the command is removed).
    pub renamed_commands: Vec<(Vec<u8>, Vec<u8>)>,
    /// Lines for the log, once it is open.
    pub messages: Vec<(Level, String)>,
}

/// The process must end: what to print and the exit status.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Exit {
    /// Exit status.
    pub code: i32,
    /// For standard output.
    pub stdout: Vec<u8>,
    /// For standard error.
    pub stderr: Vec<u8>,
    /// For the log.
    pub messages: Vec<(Level, String)>,
}

/// What loading needs from the rest of the server. The defaults accept everything.
pub trait LoadHooks {
    /// `rename-command`: an error is the reference's reason ("No such command in rename-command", "Target command name
    /// already exists").
    fn rename_command(&self, _old: &[u8], _new: &[u8]) -> Result<(), String> {
        Ok(())
    }

    /// `user`: name and rules. An error is the word of the line that the reference shows (0 is `user`) and the reason.
    fn check_user(&self, _args: &[Vec<u8>]) -> Result<(), (usize, String)> {
        Ok(())
    }

    /// All of standard input, for `-`.
    fn read_stdin(&self) -> io::Result<Vec<u8>> {
        let mut text = Vec::new();
        io::Read::read_to_end(&mut io::stdin(), &mut text)?;
        Ok(text)
    }
}

/// Hooks that accept everything.
pub struct NoHooks;

impl LoadHooks for NoHooks {}

const BAD_DIRECTIVE: &str = "Bad directive or wrong number of arguments";

/// Fills a [`Config`] and a [`Startup`] from text.
pub(super) struct Loader<'a> {
    pub config: &'a Config,
    pub startup: Startup,
    pub hooks: &'a dyn LoadHooks,
    /// The first `save` replaces the default, later ones add to it.
    save_seen: bool,
    /// Off after an include: from there on each `save` replaces the ones before. A peculiarity of the reference.
    save_adds: bool,
    includes: usize,
    /// Texts under way: files include files.
    depth: usize,
    /// The first line that nobody knows: it may be for a module.
    unknown: Option<(usize, Vec<u8>)>,
}

impl<'a> Loader<'a> {
    pub(super) fn new(config: &'a Config, hooks: &'a dyn LoadHooks) -> Self {
        let startup = Startup::default();
        Self {
            config,
            startup,
            hooks,
            save_seen: false,
            save_adds: true,
            includes: 0,
            depth: 0,
            unknown: None,
        }
    }

    /// Loads a file (or all that match a pattern, if it is one), then standard input, then options: one text.
    pub(super) fn load(
        &mut self,
        file: Option<&[u8]>,
        stdin: bool,
        options: Option<&[u8]>,
    ) -> Result<(), Exit> {
        let mut text = Vec::new();
        for path in file.iter().flat_map(|file| paths::expand(file)) {
            match std::fs::read(&path) {
                Ok(bytes) => text.extend(bytes),
                Err(error) => {
                    let message = format!(
                        "Fatal error, can't open config file '{}': {}",
                        path.display(),
                        os_error_text(&error)
                    );
                    let mut messages = std::mem::take(&mut self.startup.messages);
                    messages.push((Level::Warning, message));
                    return Err(Exit { code: 1, messages, ..Exit::default() });
                }
            }
        }
        if stdin {
            self.startup.messages.push((Level::Notice, "Reading config from stdin".to_owned()));
            text.extend(self.hooks.read_stdin().unwrap_or_default());
        }
        if let Some(options) = options {
            text.push(b'\n');
            text.extend(options);
        }
        self.load_text(&text)
    }

    /// Loads text: the reference's checks of the whole come at the end of each text, includes among them.
    pub(super) fn load_text(&mut self, text: &[u8]) -> Result<(), Exit> {
        self.save_adds = true;
        self.depth += 1;
        for (number, line) in text.split(|&c| c == b'\n').enumerate() {
            let line = line.trim_ascii();
            if line.is_empty() || line[0] == b'#' {
                continue;
            }
            match self.line(line) {
                Ok(()) => {}
                Err(LineError::Unknown) => {
                    self.unknown.get_or_insert((number + 1, line.to_vec()));
                }
                Err(LineError::Reason(reason)) => {
                    self.no_unknown()?;
                    return Err(self.fatal(Some((number + 1, line)), &reason));
                }
                Err(LineError::Exit(exit)) => return Err(exit),
            }
        }
        self.depth -= 1;
        if self.depth == 0 {
            self.no_unknown()?;
        }
        self.check_whole().map_err(|reason| self.fatal(None, &reason))?;
        self.save_adds = false;
        Ok(())
    }

    /// Without modules there is nobody left for a line that the server does not know.
    fn no_unknown(&mut self) -> Result<(), Exit> {
        match self.unknown.take() {
            Some((number, line)) if self.startup.loadmodules.is_empty() => {
                Err(self.fatal(Some((number, &line)), BAD_DIRECTIVE))
            }
            other => {
                self.unknown = other;
                Ok(())
            }
        }
    }

    fn fatal(&mut self, line: Option<(usize, &[u8])>, reason: &str) -> Exit {
        let mut stderr =
            format!("\n*** FATAL CONFIG FILE ERROR (Redis {REDIS_VERSION}) ***\n").into_bytes();
        if let Some((number, text)) = line {
            stderr.extend(format!("Reading the configuration file, at line {number}\n").bytes());
            stderr.extend([b">>> '", text, b"'\n"].concat());
        }
        stderr.extend(format!("{reason}\n").bytes());
        let messages = std::mem::take(&mut self.startup.messages);
        Exit { code: 1, stderr, messages, ..Exit::default() }
    }

    fn line(&mut self, line: &[u8]) -> Result<(), LineError> {
        let mut args = split_args(line).ok_or("Unbalanced quotes in configuration line")?;
        let Some(name) = args.first_mut() else { return Ok(()) };
        name.make_ascii_lowercase();
        match rows::find(&args[0]) {
            Some(found) => self.directive(found.index, &args[1..]),
            None if args.len() == 2 && FORGOTTEN.contains(&args[0].as_slice()) => Ok(()),
            None => self.file_only(args),
        }
    }

    fn directive(&mut self, row: usize, args: &[Vec<u8>]) -> Result<(), LineError> {
        let mut split = None;
        if !ROWS[row].has(MULTI_ARG) {
            if args.len() != 1 {
                return Err("wrong number of arguments".into());
            }
        } else if let [list] = args {
            // `--save "900 1"`: a list in one argument.
            if !list.is_empty() {
                split = Some(split_args(list).unwrap_or_default());
            }
        }
        let args = split.as_deref().unwrap_or(args);
        let before = self.config.value(row);
        self.config.put(row, args).map_err(LineError::Reason)?;
        if let Some(all) = value::added(&before, &self.config.value(row), args) {
            self.config.store(row, all).map_err(LineError::Reason)?;
        }
        if let (Value::Save(old), Value::Save(new)) = (before, self.config.value(row)) {
            let cleared = matches!(args, [only] if only.is_empty());
            if self.save_seen && self.save_adds && !cleared {
                let all = old.iter().chain(new.iter()).copied().collect();
                self.config.store(row, Value::Save(all)).map_err(LineError::Reason)?;
            }
            self.save_seen = true;
        }
        Ok(())
    }

    fn file_only(&mut self, mut args: Vec<Vec<u8>>) -> Result<(), LineError> {
        match (args[0].as_slice(), args.len()) {
            (b"include", 2) => {
                if self.includes == MAX_INCLUDES {
                    return Err("Too many nested includes".into());
                }
                self.includes += 1;
                let result = self.load(Some(&args[1]), false, None);
                self.includes -= 1;
                return result.map_err(LineError::Exit);
            }
            (b"rename-command", 3) => {
                self.hooks.rename_command(&args[1], &args[2]).map_err(LineError::Reason)?;
                let new = args.remove(2);
                self.startup.renamed_commands.push((args.remove(1), new));
            }
            (b"user", 2..) => {
                let known = self.startup.users.iter().any(|user| user[0] == args[1]);
                let checked = if known {
                    Err((1, crate::acl::rules::RuleError::Duplicate.text().to_owned()))
                } else {
                    self.hooks.check_user(&args[1..])
                };
                checked.map_err(|(index, reason)| {
                    let arg = args.get(index).map(|a| String::from_utf8_lossy(a));
                    let arg = arg.unwrap_or_default();
                    LineError::Reason(format!("Error in user declaration '{arg}': {reason}"))
                })?;
                args.remove(0);
                self.startup.users.push(args);
            }
            (b"loadmodule", 2..) => {
                let rest = args.split_off(2);
                self.startup.loadmodules.push(LoadModule { path: args.remove(1), args: rest });
            }
            (name, 1) if name.contains(&b'.') => {
                return Err("Module config specified without value".into());
            }
            (b"sentinel", 1) => {}
            (b"sentinel", _) => return Err("sentinel directive while not in sentinel mode".into()),
            (b"include" | b"rename-command" | b"user" | b"loadmodule", _) | (_, 1) => {
                return Err(BAD_DIRECTIVE.into());
            }
            (name, _) => {
                // Modules of Redis 8 register names without a dot too.
                let is_of_module = name.contains(&b'.');
                let value = args[1..].join(&b' ');
                let name = args.remove(0);
                let queue = &mut self.startup.module_configs;
                match queue.iter_mut().find(|(known, _)| *known == name) {
                    Some(entry) => entry.1 = value,
                    None => queue.push((name, value)),
                }
                return if is_of_module { Ok(()) } else { Err(LineError::Unknown) };
            }
        }
        Ok(())
    }

    fn check_whole(&mut self) -> Result<(), String> {
        let config = self.config;
        if let Some(path) = config.logfile().filter(|path| !path.is_empty()) {
            let path = std::ffi::OsString::from(String::from_utf8_lossy(&path).into_owned());
            std::fs::OpenOptions::new()
                .append(true)
                .create(true)
                .open(path)
                .map_err(|error| format!("Can't open the log file: {}", os_error_text(&error)))?;
        }
        if config.cluster_enabled() && config.replicaof().is_some() {
            return Err("replicaof directive not allowed in cluster mode".to_owned());
        }
        if config.cluster_enabled() && config.databases() > 1 {
            let message = format!(
                "WARNING: Changing databases number from {} to 1 since we are in cluster mode",
                config.databases()
            );
            self.startup.messages.push((Level::Warning, message));
            config.assign("databases", &[b"1"])?;
        }
        Ok(())
    }
}

enum LineError {
    /// Nobody knows what it sets, unless a module does.
    Unknown,
    /// Of this line.
    Reason(String),
    /// Of a line in an included file: already told.
    Exit(Exit),
}

impl From<&str> for LineError {
    fn from(reason: &str) -> Self {
        Self::Reason(reason.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<(Config, Startup), String> {
        let config = Config::new();
        let mut loader = Loader::new(&config, &NoHooks);
        let result = loader.load_text(text.as_bytes());
        let startup = loader.startup;
        match result {
            Ok(()) => Ok((config, startup)),
            Err(exit) => {
                assert_eq!(exit.code, 1);
                Err(String::from_utf8(exit.stderr).unwrap())
            }
        }
    }

    fn check_fatal(text: &str, line: usize, shown: &str, reason: &str) {
        let expected = format!(
            "\n*** FATAL CONFIG FILE ERROR (Redis 7.4.1) ***\n\
             Reading the configuration file, at line {line}\n>>> '{shown}'\n{reason}\n"
        );
        assert_eq!(load(text).err(), Some(expected));
    }

    #[test]
    fn fatal_errors() {
        check_fatal(
            "port 1\n  foo bar \n",
            2,
            "foo bar",
            "Bad directive or wrong number of arguments",
        );
        check_fatal("foo bar\nport x", 1, "foo bar", BAD_DIRECTIVE);
        check_fatal("loadmodule /a.so\nfoo bar\nport", 3, "port", "wrong number of arguments");
        check_fatal("port \"1", 1, "port \"1", "Unbalanced quotes in configuration line");
        check_fatal("port 1 2", 1, "port 1 2", "wrong number of arguments");
        check_fatal("\n#x\nsave 1", 3, "save 1", "Invalid save parameters");
        check_fatal("a.b", 1, "a.b", "Module config specified without value");
        check_fatal(
            "sentinel foo",
            1,
            "sentinel foo",
            "sentinel directive while not in sentinel mode",
        );
        check_fatal("include", 1, "include", "Bad directive or wrong number of arguments");
        check_fatal("appendonly maybe", 1, "appendonly maybe", "argument must be 'yes' or 'no'");
        assert_eq!(
            load("cluster-enabled yes\nreplicaof a 1").err().unwrap(),
            "\n*** FATAL CONFIG FILE ERROR (Redis 7.4.1) ***\n\
             replicaof directive not allowed in cluster mode\n"
        );
        let error = load("logfile /nonexistent/log").err().unwrap();
        assert!(
            error.ends_with("\nCan't open the log file: No such file or directory\n"),
            "{error}"
        );
    }

    #[test]
    fn directives_that_only_a_file_has() {
        let text = "loadmodule /a.so 1 \"2 3\"\nloadmodule /b.so\nrename-command GET \"\"\n\
                    user bob on >x\nM.x 1 2\nm.X 3\nM-y 4 5\nlua-replicate-commands yes\nsentinel\n";
        let (_, startup) = load(text).unwrap();
        assert_eq!(
            startup.loadmodules,
            [
                LoadModule { path: b"/a.so".to_vec(), args: vec![b"1".to_vec(), b"2 3".to_vec()] },
                LoadModule { path: b"/b.so".to_vec(), args: vec![] },
            ]
        );
        assert_eq!(startup.renamed_commands, [(b"GET".to_vec(), Vec::new())]);
        assert_eq!(startup.users, [[b"bob".to_vec(), b"on".to_vec(), b">x".to_vec()]]);
        assert_eq!(
            startup.module_configs,
            [(b"m.x".to_vec(), b"3".to_vec()), (b"m-y".to_vec(), b"4 5".to_vec())]
        );
    }

    #[test]
    fn save_lines_add_up() {
        let save = |text: &str| load(text).unwrap().0.get_str("save").unwrap();
        assert_eq!(save(""), "3600 1 300 100 60 10000");
        assert_eq!(save("save 1 2"), "1 2");
        assert_eq!(save("save 1 2\nsave 3 4 5 6"), "1 2 3 4 5 6");
        assert_eq!(save("save 1 2\nsave \"\"\nsave 3 4"), "3 4");
        assert_eq!(save("save \"\""), "");
        assert_eq!(save("save \"1 2\""), "1 2");
    }

    #[test]
    fn lines_about_modules_add_up() {
        let (one, two) = ("1".repeat(64), "2".repeat(64));
        let text = format!(
            "module-persona a 7.0.0\nmodule-persona b valkey-8.0.1 A 8.4.0\nmodule-allow-sha256 {one}\n\
             module-allow-sha256 {two} {one}\n"
        );
        let (config, _) = load(&text).unwrap();
        assert_eq!(config.get_str("module-persona").unwrap(), "b valkey-8.0.1 A redis-8.4.0");
        assert_eq!(config.get_str("module-allow-sha256").unwrap(), format!("{two} {one}"));
        let (config, _) =
            load(&format!("{text}module-persona \"\"\nmodule-persona c 7.2.0")).unwrap();
        assert_eq!(config.get_str("module-persona").unwrap(), "c redis-7.2.0");
        check_fatal(
            "module-load sealed\nmodule-load open",
            2,
            "module-load open",
            "sealed is sealed: only a restart opens it again",
        );
    }

    #[test]
    fn cluster_mode_has_one_database() {
        let (config, startup) = load("cluster-enabled yes").unwrap();
        assert_eq!(config.databases(), 1);
        assert_eq!(startup.messages.len(), 1);
    }

    #[test]
    fn includes() {
        let dir = std::env::temp_dir().join(format!("backplane-include-{}", std::process::id()));
        std::fs::create_dir_all(dir.join("conf.d")).unwrap();
        let at = |name: &str| dir.join(name);
        std::fs::write(at("conf.d/b.conf"), "timeout 2\nsave 1 1\n").unwrap();
        std::fs::write(at("conf.d/a.conf"), "timeout 1\nport 7\n").unwrap();
        std::fs::write(at("loop.conf"), format!("include {}", at("loop.conf").display())).unwrap();

        let text = format!("include {}/conf.d/*.conf\nhz 20\n", dir.display());
        let (config, _) = load(&text).unwrap();
        assert_eq!((config.timeout(), config.port(), config.hz()), (2, 7, 20));
        load(&format!("include {}/none/*.conf", dir.display())).unwrap();
        let error = load(&format!("include {}", at("loop.conf").display())).err().unwrap();
        assert!(error.contains("Too many nested includes"), "{error}");

        // Each text ends with the reference forgetting that it reads a file.
        let text = format!("save 5 5\ninclude {}\nsave 6 6\n", at("conf.d/b.conf").display());
        assert_eq!(load(&text).unwrap().0.get_str("save").unwrap(), "6 6");

        let config = Config::new();
        let mut loader = Loader::new(&config, &NoHooks);
        let exit = loader.load_text(b"include /nonexistent.conf").unwrap_err();
        assert!(exit.stderr.is_empty());
        assert_eq!(
            exit.messages[0].1,
            "Fatal error, can't open config file '/nonexistent.conf': No such file or directory"
        );
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
