//! The command line: `[file] [--directive value...] [-]`. Options become lines behind the file's text.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

use super::load::{Exit, LoadHooks, Loader, Startup, REDIS_VERSION};
use super::paths;
use super::text::{quote, split_args};
use super::Config;

/// Reads the arguments of the process (the first is its name), the file they name and standard input if they ask for it.
/// `Err` is everything that ends the process: a fatal error, `--help`, `--version`.
pub fn from_command_line(
    args: &[OsString],
    hooks: &dyn LoadHooks,
) -> Result<(Config, Startup), Exit> {
    let args: Vec<&[u8]> = args.iter().map(|arg| arg.as_bytes()).collect();
    let config = Config::new();
    let mut loader = Loader::new(&config, hooks);
    if let Some(exit) = special_option(&args) {
        return Err(exit);
    }
    let Some(first) = args.get(1) else {
        let startup = loader.startup;
        return Ok((config, startup));
    };
    let file = (!first.starts_with(b"-")).then(|| paths::absolute(first));
    loader.startup.config_file.clone_from(&file);
    let options = options(&args, if file.is_some() { 2 } else { 1 });
    loader.load(
        file.as_ref().map(|path| path.as_os_str().as_bytes()),
        options.stdin,
        Some(&options.text),
    )?;
    let startup = loader.startup;
    Ok((config, startup))
}

/// What is answered at once.
fn special_option(args: &[&[u8]]) -> Option<Exit> {
    let refuse = |text: &str| Exit { code: 1, stderr: text.into(), ..Exit::default() };
    let program = args.first().copied().unwrap_or_default();
    let program = program.rsplit(|&c| c == b'/').next().unwrap_or_default();
    let sentinel = b"redis-sentinel";
    if args.iter().skip(1).any(|arg| *arg == b"--sentinel")
        || program.windows(sentinel.len()).any(|part| part == sentinel)
    {
        return Some(refuse(
            "Sentinel mode is not part of this server. Real Sentinels can watch it: run redis-sentinel.\n",
        ));
    }
    match *args.get(1)? {
        b"-v" | b"--version" => {
            let version = env!("CARGO_PKG_VERSION");
            let stdout = format!(
                "Redis server v={REDIS_VERSION} sha=00000000:0 malloc=jemalloc-5.3.0 bits={} build=backplane-{version}\n",
                usize::BITS
            );
            Some(Exit { stdout: stdout.into(), ..Exit::default() })
        }
        b"-h" | b"--help" => Some(refuse(USAGE)),
        b"--test-memory" => Some(refuse("This server has no memory test.\n")),
        b"--check-system" => Some(refuse("This server has no check of the system.\n")),
        _ => None,
    }
}

const USAGE: &str = "\
Usage: backplane [/path/to/redis.conf] [--directive value ...] [-]
       backplane -              read the configuration from standard input
       backplane -v, --version
       backplane -h, --help
       backplane check-aof [--fix|--truncate-to-timestamp TIME] FILE
       backplane check-rdb FILE

Every directive of redis.conf may stand on the command line, where it is stronger than the file:
       backplane --port 7777 --replicaof 127.0.0.1 6379
       backplane /etc/redis.conf --loglevel verbose
       backplane --loadmodule ./redisearch.so MAXSEARCHRESULTS 1000
";

struct Options {
    text: Vec<u8>,
    stdin: bool,
}

/// Turns arguments into lines. An argument with two dashes begins a directive if the one before has a value already;
/// `--save` alone, last or before the next directive, means `save ""`.
fn options(args: &[&[u8]], first: usize) -> Options {
    let mut text: Vec<u8> = Vec::new();
    let mut stdin = false;
    let mut has_value = true;
    for (index, arg) in args.iter().enumerate().skip(first) {
        let is_last = index == args.len() - 1;
        if *arg == b"-" && (index == 1 || is_last) {
            stdin = true;
            continue;
        }
        if has_value && arg.starts_with(b"--") {
            if !text.is_empty() {
                text.push(b'\n');
            }
            text.extend(&arg[2..]);
            text.push(b' ');
            // `--port 6380` may be one argument: then there is a value.
            has_value = split_args(arg).is_none_or(|parts| parts.len() != 1);
            let next_begins = args.get(index + 1).is_some_and(|next| next.starts_with(b"--"));
            if arg.eq_ignore_ascii_case(b"--save") && (is_last || next_begins) {
                text.extend(b"\"\"");
                has_value = true;
            }
        } else {
            text.extend(quote(arg));
            text.push(b' ');
            has_value = true;
        }
    }
    Options { text, stdin }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    struct Stdin(&'static str);

    impl LoadHooks for Stdin {
        fn read_stdin(&self) -> io::Result<Vec<u8>> {
            Ok(self.0.into())
        }
    }

    fn start(args: &[&str], stdin: &'static str) -> Result<(Config, Startup), Exit> {
        let args: Vec<OsString> = ["backplane"].iter().chain(args).map(OsString::from).collect();
        from_command_line(&args, &Stdin(stdin))
    }

    fn check(args: &[&str], name: &str, expected: &str) {
        match start(args, "timeout 5\n") {
            Ok((config, _)) => assert_eq!(config.get_str(name).unwrap(), expected, "{args:?}"),
            Err(exit) => {
                let text = String::from_utf8([exit.stdout, exit.stderr].concat()).unwrap();
                assert!(text.contains(expected), "{args:?}: {text}");
            }
        }
    }

    #[test]
    fn options_become_directives() {
        check(&[], "port", "6379");
        check(&["--port", "0"], "port", "0");
        check(&["--port 7", "--timeout", "1"], "port", "7");
        check(&["--save", ""], "save", "");
        check(&["--save", "--port", "1"], "save", "");
        check(&["--port", "1", "--save"], "save", "");
        check(&["--save", "900 1 300 10"], "save", "900 1 300 10");
        check(&["--save", "900", "1", "--save", "300", "10"], "save", "900 1 300 10");
        check(&["--requirepass", "a \"b"], "requirepass", "a \"b");
        check(&["--PORT", "9"], "port", "9");
        check(&["--replicaof", "h", "1"], "replicaof", "h 1");
        check(&["--shutdown-on-sigterm", "nosave", "now"], "shutdown-on-sigterm", "nosave now");
    }

    #[test]
    fn standard_input_comes_before_options() {
        check(&["-"], "timeout", "5");
        check(&["--port", "1", "-"], "timeout", "5");
        check(&["-", "--timeout", "6"], "timeout", "6");
        check(&["--timeout", "6", "-"], "timeout", "6");
    }

    #[test]
    fn fatal_errors() {
        check(
            &["--port", "--port", "21051"],
            "",
            "at line 2\n>>> 'port \"--port\" \"21051\"'\nwrong number of arguments\n",
        );
        check(&["--foo", "bar"], "", "at line 2\n>>> 'foo \"bar\"'\nBad directive");
        check(&["--save", "a b"], "", ">>> 'save \"a b\"'\nInvalid save parameters\n");
        check(&["--sentinel"], "", "Sentinel mode is not part of this server");
        check(&["--version"], "", "Redis server v=7.4.1 ");
        check(&["--help"], "", "Usage: ");
    }

    #[test]
    fn modules_and_files() {
        let (_, startup) =
            start(&["--loadmodule", "a.so", "x y", "--loadmodule", "b.so"], "").unwrap();
        assert_eq!(startup.loadmodules.len(), 2);
        assert_eq!(startup.loadmodules[0].args, [b"x y".to_vec()]);
        assert_eq!(startup.config_file, None);

        let path = std::env::temp_dir().join(format!("backplane-cl-{}.conf", std::process::id()));
        std::fs::write(&path, "port 1\ntimeout 2").unwrap();
        let (config, startup) = start(&[path.to_str().unwrap(), "--port", "3"], "").unwrap();
        assert_eq!((config.port(), config.timeout()), (3, 2));
        assert_eq!(startup.config_file, Some(path.clone()));
        std::fs::remove_file(&path).unwrap();
    }
}
