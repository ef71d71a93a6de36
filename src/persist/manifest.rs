//! The manifest of an append-only file: which files it consists of, and their names, as Redis 7 lays them out.
//!
//! A *base* file is a snapshot; *incremental* files have the writes since, in order; *history* files are those of before the
//! last rewrite, to be deleted.
use crate::config::text::{quote, split_args};
use std::path::Path;

/// A line may be this long, its end included.
const MAX_LINE: usize = 1024;

/// A file of the append-only file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Info {
    /// Its name, without the folder.
    pub name: Vec<u8>,
    /// Its number in its kind.
    pub seq: i64,
}

/// All files.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Manifest {
    /// The base file.
    pub base: Option<Info>,
    /// Files to be deleted.
    pub history: Vec<Info>,
    /// Incremental files.
    pub incr: Vec<Info>,
    /// Number of the last base file.
    pub base_seq: i64,
    /// Number of the last incremental file.
    pub incr_seq: i64,
}

/// What is wrong with a manifest.
#[derive(PartialEq, Eq, Debug)]
pub struct ManifestError {
    /// The line and its number, if the trouble is in one.
    pub line: Option<(usize, Vec<u8>)>,
    /// What it is.
    pub cause: &'static str,
}

fn trim(line: &[u8]) -> &[u8] {
    let is_blank = |c: &u8| b" \t\r\n".contains(c);
    let start = line.iter().position(|c| !is_blank(c)).unwrap_or(line.len());
    let end = line.iter().rposition(|c| !is_blank(c)).map_or(start, |i| i + 1);
    &line[start..end]
}

/// A number as C's `atoll` reads it.
fn leading_number(text: &[u8]) -> i64 {
    let text = String::from_utf8_lossy(text);
    let text = text.trim_start();
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    digits[..end].parse::<i64>().map_or(0, |n| sign * n)
}

/// One line's file and its kind.
fn parse_line(line: &[u8]) -> Result<(Info, u8), &'static str> {
    const FORMAT: &str = "Invalid AOF manifest file format";
    let words = split_args(line).ok_or(FORMAT)?;
    // More words are for later versions.
    if words.len() < 6 || words.len() % 2 != 0 {
        return Err(FORMAT);
    }
    let (mut name, mut seq, mut kind) = (None, 0, 0);
    for pair in words.chunks_exact(2) {
        let value = &pair[1];
        match pair[0].to_ascii_lowercase().as_slice() {
            b"file" => {
                if value.contains(&b'/') || value.contains(&b'\\') {
                    return Err("File can't be a path, just a filename");
                }
                name = Some(value.clone());
            }
            b"seq" => seq = leading_number(value),
            b"type" => kind = value.first().copied().unwrap_or(0),
            _ => {}
        }
    }
    match name {
        Some(name) if seq != 0 && kind != 0 => Ok((Info { name, seq }, kind)),
        _ => Err(FORMAT),
    }
}

impl Manifest {
    /// Reads a manifest's text.
    pub fn parse(text: &[u8]) -> Result<Manifest, ManifestError> {
        let fail = |line: Option<(usize, &[u8])>, cause| {
            Err(ManifestError { line: line.map(|(n, l)| (n, l.to_vec())), cause })
        };
        let mut m = Manifest::default();
        let (mut number, mut highest) = (0, 0);
        for line in text.split_inclusive(|&c| c == b'\n') {
            number += 1;
            if line.starts_with(b"#") {
                continue;
            }
            if !line.ends_with(b"\n") || line.len() > MAX_LINE {
                return fail(None, "The AOF manifest file contains too long line");
            }
            let line = trim(line);
            if line.is_empty() {
                return fail(Some((number, line)), "Invalid AOF manifest file format");
            }
            let (info, kind) = match parse_line(line) {
                Ok(found) => found,
                Err(cause) => return fail(Some((number, line)), cause),
            };
            match kind {
                b'b' if m.base.is_some() => {
                    return fail(Some((number, line)), "Found duplicate base file information");
                }
                b'b' => {
                    m.base_seq = info.seq;
                    m.base = Some(info);
                }
                b'h' => m.history.push(info),
                b'i' if info.seq <= highest => {
                    return fail(Some((number, line)), "Found a non-monotonic sequence number");
                }
                b'i' => {
                    highest = info.seq;
                    m.incr_seq = info.seq;
                    m.incr.push(info);
                }
                _ => return fail(Some((number, line)), "Unknown AOF file type"),
            }
        }
        match number {
            0 => fail(None, "Found an empty AOF manifest"),
            _ => Ok(m),
        }
    }

    /// The manifest's text.
    pub fn format(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let base = self.base.iter().map(|i| (i, 'b'));
        let history = self.history.iter().map(|i| (i, 'h'));
        let incr = self.incr.iter().map(|i| (i, 'i'));
        for (info, kind) in base.chain(history).chain(incr) {
            let plain = info.name.iter().all(|c| c.is_ascii_graphic() && !b"\\\"".contains(c));
            out.extend(b"file ");
            out.extend(if plain { info.name.clone() } else { quote(&info.name) });
            out.extend(format!(" seq {} type {kind}\n", info.seq).bytes());
        }
        out
    }

    /// Whether it names neither a base nor incremental files.
    pub fn is_empty(&self) -> bool {
        self.base.is_none() && self.incr.is_empty()
    }

    /// Adds the next base file; the one before becomes history. `stem` is `appendfilename`.
    pub fn next_base(&mut self, stem: &[u8], rdb: bool) -> Vec<u8> {
        self.history.splice(0..0, self.base.take());
        self.base_seq += 1;
        let suffix = if rdb { "rdb" } else { "aof" };
        let name = [stem, format!(".{}.base.{suffix}", self.base_seq).as_bytes()].concat();
        self.base = Some(Info { name: name.clone(), seq: self.base_seq });
        name
    }

    /// Adds the next incremental file.
    pub fn next_incr(&mut self, stem: &[u8]) -> Vec<u8> {
        self.incr_seq += 1;
        let name = [stem, format!(".{}.incr.aof", self.incr_seq).as_bytes()].concat();
        self.incr.push(Info { name: name.clone(), seq: self.incr_seq });
        name
    }

    /// Makes incremental files history, but for the last `keep`.
    pub fn retire_incr(&mut self, keep: usize) {
        let gone = self.incr.len().saturating_sub(keep);
        for info in self.incr.drain(..gone) {
            self.history.insert(0, info);
        }
    }
}

/// Whether a file exists.
pub fn is_file(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|m| m.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_error(text: &str, cause: &str, line: Option<usize>) {
        let e = Manifest::parse(text.as_bytes()).expect_err(text);
        assert_eq!((e.cause, e.line.map(|l| l.0)), (cause, line), "{text:?}");
    }

    #[test]
    fn texts_go_both_ways() {
        let text = "file a.2.base.rdb seq 2 type b\nfile \"a b.aof\" seq 1 type h\nfile a.4.incr.aof seq 4 type i\n";
        let m = Manifest::parse(text.as_bytes()).expect("a good one");
        assert_eq!((m.base_seq, m.incr_seq, m.history[0].name.as_slice()), (2, 4, &b"a b.aof"[..]));
        assert_eq!(String::from_utf8(m.format()).unwrap(), text);
        let more = "# comment\nfile x seq 1 type i newkey newvalue\n";
        assert_eq!(Manifest::parse(more.as_bytes()).expect("later versions").incr.len(), 1);
    }

    #[test]
    fn what_redis_refuses() {
        let format = "Invalid AOF manifest file format";
        check_error("", "Found an empty AOF manifest", None);
        check_error("file a seq 1 type b", "The AOF manifest file contains too long line", None);
        check_error("\n", format, Some(1));
        check_error("file a seq 1\n", format, Some(1));
        check_error("file a seq 1 type\n", format, Some(1));
        check_error("filx a seq 1 type b\n", format, Some(1));
        check_error("file a/b seq 1 type b\n", "File can't be a path, just a filename", Some(1));
        check_error("file a seq 1 type x\n", "Unknown AOF file type", Some(1));
        let two = "file a seq 1 type b\nfile b seq 2 type b\n";
        check_error(two, "Found duplicate base file information", Some(2));
        let two = "file a seq 2 type i\nfile b seq 2 type i\n";
        check_error(two, "Found a non-monotonic sequence number", Some(2));
    }

    #[test]
    fn files_move_on() {
        let mut m = Manifest::default();
        assert_eq!(m.next_base(b"f", true), b"f.1.base.rdb");
        assert_eq!(m.next_incr(b"f"), b"f.1.incr.aof");
        assert_eq!(m.next_incr(b"f"), b"f.2.incr.aof");
        assert_eq!(m.next_base(b"f", false), b"f.2.base.aof");
        m.retire_incr(1);
        assert_eq!(
            String::from_utf8(m.format()).unwrap(),
            "file f.2.base.aof seq 2 type b\nfile f.1.incr.aof seq 1 type h\nfile f.1.base.rdb seq 1 type h\nfile \
             f.2.incr.aof seq 2 type i\n"
        );
    }
}
