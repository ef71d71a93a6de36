//! `backplane check-aof FILE` (`redis-check-aof`): says on standard output whether the files of an append-only file are
//! sound, and cuts off what is not, if it is asked to.
use super::check_rdb;
use super::load::manifest_of;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::Path;

/// An annotation's line may be this long.
const MAX_LINE: u64 = 1024;
/// A line with a number.
const NUMBER_LINE: u64 = 128;

/// What was found out about a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Checked {
    Ok,
    Empty,
    Truncated,
    TruncatedToTime,
}

/// What the tool was asked for, and how far it is.
struct Check {
    fix: bool,
    to_timestamp: i64,
    /// Ends of lines seen in all files.
    line: u64,
}

/// The tool ends with code 1; what is to be said has been said.
struct Exit;

fn say_and_exit<T>(text: String) -> Result<T, Exit> {
    println!("{text}");
    Err(Exit)
}

fn os_text(e: &io::Error) -> String {
    crate::config::os_error_text(e)
}

/// A file that is read, and where.
struct Source {
    file: BufReader<File>,
    at: u64,
    /// What is wrong, and where.
    error: Option<String>,
    multi: i32,
}

/// Why a command could not be read: the file ends (nothing more to say), or `Source::error` says it.
struct Bad;

impl Source {
    fn fail(&mut self, at: u64, text: String) -> Bad {
        self.error = Some(format!("0x{at:16x}: {text}"));
        Bad
    }

    fn newline(&mut self, at: u64, bytes: &[u8], line: &mut u64) -> Result<(), Bad> {
        if bytes.starts_with(b"\r\n") {
            *line += 1;
            return Ok(());
        }
        // As C shows signed bytes.
        let byte = |i: usize| bytes.get(i).map_or(0, |b| i32::from(*b as i8));
        let text = format!("Expected \\r\\n, got: {:02x}{:02x}", byte(0), byte(1));
        Err(self.fail(at, text))
    }

    /// A line with a number behind `prefix`.
    fn number(&mut self, prefix: u8, line: &mut u64) -> Result<i64, Bad> {
        let at = self.at;
        let mut text = Vec::new();
        let n = self.file.by_ref().take(NUMBER_LINE - 1).read_until(b'\n', &mut text);
        self.at += n.unwrap_or(0) as u64;
        match text.first() {
            None => return Err(Bad),
            Some(c) if *c != prefix => {
                let (want, got) = (prefix as char, *c as char);
                return Err(self.fail(at, format!("Expected prefix '{want}', got: '{got}'")));
            }
            Some(_) => {}
        }
        let rest = &text[1..];
        let digits = usize::from(rest.first().is_some_and(|c| b"+-".contains(c)));
        let end = digits + rest[digits..].iter().take_while(|c| c.is_ascii_digit()).count();
        let value = std::str::from_utf8(&rest[..end]).ok().and_then(|t| t.parse().ok());
        let end = if end == digits { 0 } else { end };
        self.newline(at, &rest[end..], line)?;
        Ok(value.unwrap_or(0))
    }

    fn string(&mut self, line: &mut u64) -> Result<Vec<u8>, Bad> {
        let len_at = self.at;
        let len = self.number(b'$', line)?;
        if !(0..=i64::MAX - 2).contains(&len) {
            return Err(self.fail(
                len_at,
                format!(
                    "Expected to read string of {len} bytes, which is not in the suitable range"
                ),
            ));
        }
        let (at, len) = (self.at, len as u64 + 2);
        let mut bytes = Vec::new();
        let _ = self.file.by_ref().take(len).read_to_end(&mut bytes);
        self.at += bytes.len() as u64;
        if bytes.len() as u64 != len {
            let text = format!("Expected to read {len} bytes, got {} bytes", bytes.len());
            return Err(self.fail(at, text));
        }
        let end = bytes.len() - 2;
        self.newline(at, &bytes[end..], line)?;
        bytes.truncate(end);
        Ok(bytes)
    }

    fn command(&mut self, name: &str, line: &mut u64) -> Result<(), Bad> {
        let count = self.number(b'*', line)?;
        for i in 0..count {
            let word_at = self.at;
            let word = self.string(line)?;
            if i > 0 {
                continue;
            }
            if word.eq_ignore_ascii_case(b"multi") {
                self.multi += 1;
                if self.multi > 1 {
                    let text = format!("Unexpected MULTI in AOF {name}");
                    return Err(self.fail(word_at, text));
                }
            } else if word.eq_ignore_ascii_case(b"exec") {
                self.multi -= 1;
                if self.multi != 0 {
                    let text = format!("Unexpected EXEC in AOF {name}");
                    return Err(self.fail(word_at, text));
                }
            }
        }
        Ok(())
    }
}

impl Check {
    /// An annotation. True when the file was cut off here.
    fn annotation(&self, source: &mut Source, path: &Path, last: bool) -> Result<bool, Exit> {
        let at = source.at;
        let mut text = Vec::new();
        let read = source.file.by_ref().take(MAX_LINE - 1).read_until(b'\n', &mut text);
        if read.is_err() {
            return say_and_exit(format!(
                "Failed to read annotations from AOF {}, aborting...",
                path.display()
            ));
        }
        source.at += text.len() as u64;
        let Some(stamp) = text.strip_prefix(b"#TS:").filter(|_| self.to_timestamp != 0) else {
            return Ok(false);
        };
        let end = stamp.iter().position(|c| !c.is_ascii_digit()).unwrap_or(stamp.len());
        let time = std::str::from_utf8(&stamp[..end]).ok().and_then(|t| t.parse::<i64>().ok());
        let Some(time) = time.filter(|_| stamp.get(end) == Some(&b'\r')) else {
            return say_and_exit("Invalid timestamp annotation".into());
        };
        if time <= self.to_timestamp {
            return Ok(false);
        }
        let (name, limit) = (path.display(), self.to_timestamp);
        if at == 0 {
            return say_and_exit(format!(
                "AOF {name} has nothing before timestamp {limit}, aborting..."
            ));
        }
        if !last {
            println!(
                "Failed to truncate AOF {name} to timestamp {limit} to offset {at} because it is not the last file."
            );
            return say_and_exit(
                "If you insist, please delete all files after this file according to the manifest file and delete the \
                 corresponding records in manifest file manually. Then re-run redis-check-aof."
                    .into(),
            );
        }
        if source.file.get_ref().set_len(at).is_err() {
            return say_and_exit(format!("Failed to truncate AOF {name} to timestamp {limit}"));
        }
        Ok(true)
    }

    /// Checks one file.
    fn file(
        &mut self,
        name: &str,
        path: &Path,
        last: bool,
        preamble: bool,
    ) -> Result<Checked, Exit> {
        let shown = path.display();
        let mut file = match File::options().read(true).write(true).open(path) {
            Ok(f) => f,
            Err(e) => {
                return say_and_exit(format!(
                    "Cannot open file {shown}: {}, aborting...",
                    os_text(&e)
                ));
            }
        };
        let Ok(size) = file.metadata().map(|m| m.len()) else {
            return say_and_exit(format!("Cannot stat file: {name}, aborting..."));
        };
        if size == 0 {
            return Ok(Checked::Empty);
        }
        let mut start = 0;
        if preamble {
            let end = check_rdb::check(&shown.to_string(), file.try_clone());
            let Some(end) = end else {
                return say_and_exit("RDB preamble of AOF file is not sane, aborting.".into());
            };
            println!("RDB preamble is OK, proceeding with AOF tail...");
            start = end;
        }
        if file.seek(SeekFrom::Start(start)).is_err() {
            return say_and_exit(format!("Failed to fseek in AOF {name}"));
        }
        let mut source = Source { file: BufReader::new(file), at: start, error: None, multi: 0 };
        let mut good = start;
        let mut at_end = false;
        loop {
            if source.multi == 0 {
                good = source.at;
            }
            let next = match source.file.fill_buf() {
                Ok(buf) => buf.first().copied(),
                Err(_) => {
                    return say_and_exit(format!("Failed to read from AOF {name}, aborting..."));
                }
            };
            match next {
                None => {
                    at_end = true;
                    break;
                }
                Some(b'#') => {
                    if self.annotation(&mut source, path, last)? {
                        return Ok(Checked::TruncatedToTime);
                    }
                }
                Some(b'*') => {
                    if source.command(&shown.to_string(), &mut self.line).is_err() {
                        at_end = source.file.fill_buf().is_ok_and(<[u8]>::is_empty);
                        break;
                    }
                }
                Some(_) => {
                    println!("AOF {name} format error");
                    break;
                }
            }
        }
        if at_end && source.multi != 0 && source.error.is_none() {
            let at = source.at;
            source.fail(at, "Reached EOF before reading EXEC for MULTI".into());
        }
        if let Some(error) = &source.error {
            println!("{error}");
        }
        self.conclude(name, source.file.get_ref(), size, good, last)
    }

    fn conclude(
        &self,
        name: &str,
        file: &File,
        size: u64,
        good: u64,
        last: bool,
    ) -> Result<Checked, Exit> {
        let rest = size - good;
        if rest == 0 && self.to_timestamp != 0 {
            println!("Truncate nothing in AOF {name} to timestamp {}", self.to_timestamp);
            return Ok(Checked::Ok);
        }
        println!(
            "AOF analyzed: filename={name}, size={size}, ok_up_to={good}, ok_up_to_line={}, diff={rest}",
            self.line
        );
        if rest == 0 {
            return Ok(Checked::Ok);
        }
        if !self.fix {
            return say_and_exit(format!(
                "AOF {name} is not valid. Use the --fix option to try fixing it."
            ));
        }
        if !last {
            return say_and_exit(format!(
                "Failed to truncate AOF {name} because it is not the last file"
            ));
        }
        println!(
            "This will shrink the AOF {name} from {size} bytes, with {rest} bytes, to {good} bytes"
        );
        print!("Continue? [y/N]: ");
        let _ = io::stdout().flush();
        let mut answer = String::new();
        let _ = io::stdin().read_line(&mut answer);
        if !answer.starts_with(['y', 'Y']) {
            return say_and_exit("Aborting...".into());
        }
        if file.set_len(good).and_then(|()| file.sync_all()).is_err() {
            return say_and_exit(format!("Failed to truncate AOF {name}"));
        }
        Ok(Checked::Truncated)
    }

    fn say(&self, checked: Checked, name: &str, kind: &str) {
        match checked {
            Checked::Ok => println!("{kind} {name} is valid"),
            Checked::Empty => println!("{kind} {name} is empty"),
            Checked::TruncatedToTime => {
                println!("Successfully truncated AOF {name} to timestamp {}", self.to_timestamp);
            }
            Checked::Truncated => println!("Successfully truncated AOF {name}"),
        }
    }

    /// Checks all files that a manifest names.
    fn manifest(&mut self, path: &Path) -> Result<(), Exit> {
        println!("Start checking Multi Part AOF");
        let manifest =
            manifest_of(path, |line| crate::log_warning!("{line}")).map_err(|()| Exit)?;
        let dir = path.parent().unwrap_or(Path::new(""));
        let total = manifest.base.iter().len() + manifest.incr.len();
        let mut number = 0;
        if let Some(base) = &manifest.base {
            number += 1;
            let (name, path) = (super::shown(&base.name), dir.join(super::path_of(&base.name)));
            let rdb = is_rdb(&path)?;
            println!("Start to check BASE AOF ({} format).", if rdb { "RDB" } else { "RESP" });
            let checked = self.file(&name, &path, number == total, rdb)?;
            self.say(checked, &name, "BASE AOF");
        }
        if !manifest.incr.is_empty() {
            println!("Start to check INCR files.");
        }
        for info in &manifest.incr {
            number += 1;
            let (name, path) = (super::shown(&info.name), dir.join(super::path_of(&info.name)));
            let checked = self.file(&name, &path, number == total, false)?;
            self.say(checked, &name, "INCR AOF");
        }
        println!("All AOF files and manifest are valid");
        Ok(())
    }

    fn run(&mut self, name: &str) -> Result<(), Exit> {
        let path = Path::new(name);
        if is_manifest(path)? {
            return self.manifest(path);
        }
        let rdb = is_rdb(path)?;
        println!("Start checking Old-Style AOF");
        let checked = self.file(name, path, true, rdb)?;
        self.say(checked, name, "AOF");
        Ok(())
    }
}

fn open(path: &Path) -> Result<BufReader<File>, Exit> {
    match File::open(path) {
        Ok(f) => Ok(BufReader::new(f)),
        Err(e) => say_and_exit(format!("Cannot open file {}: {}", path.display(), os_text(&e))),
    }
}

/// Whether a file begins like a snapshot.
fn is_rdb(path: &Path) -> Result<bool, Exit> {
    let mut head = [0; 8];
    Ok(open(path)?.read_exact(&mut head).is_ok() && head.starts_with(b"REDIS"))
}

/// Whether a file looks like a manifest: lines that begin with `file`, and comments.
fn is_manifest(path: &Path) -> Result<bool, Exit> {
    let mut file = open(path)?;
    let (mut found, mut line) = (false, Vec::new());
    loop {
        line.clear();
        let read = file.by_ref().take(MAX_LINE).read_until(b'\n', &mut line);
        if read.is_err() {
            return say_and_exit(format!("Cannot read file: {}", path.display()));
        }
        match line.first() {
            Some(b'#') => {}
            Some(_) if line.starts_with(b"file") => found = true,
            _ => return Ok(found),
        }
    }
}

/// The tool. `args` begins with the name to show in the usage. Returns the exit code.
pub fn main(args: &[String]) -> i32 {
    let mut check = Check { fix: false, to_timestamp: 0, line: 1 };
    let words: Vec<&str> = args.iter().skip(1).map(String::as_str).collect();
    let file = match words[..] {
        ["-v" | "--version"] => {
            println!("redis-check-aof {}", super::version_text());
            return 0;
        }
        [file] => file,
        ["--fix", file] => {
            check.fix = true;
            file
        }
        ["--truncate-to-timestamp", time, file] => {
            let Ok(time) = time.parse() else {
                println!("Invalid timestamp, aborting...");
                return 1;
            };
            check.to_timestamp = time;
            file
        }
        _ => {
            println!(
                "Usage: {} [--fix|--truncate-to-timestamp $timestamp] <file.manifest|file.aof>",
                args.first().map_or("", |a| a)
            );
            return 1;
        }
    };
    i32::from(check.run(file).is_err())
}
