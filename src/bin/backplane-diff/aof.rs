//! What each command left in the append-only file of either side (`--aof`).
use std::collections::HashMap;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// A command of the file.
pub type Effect = Vec<Vec<u8>>;

/// The end of a server's append-only file.
pub struct Tail {
    dir: PathBuf,
    file: Option<PathBuf>,
    offset: u64,
    rest: Vec<u8>,
}

/// Times that both sides wrote may be so far apart, in milliseconds.
const NEAR: i64 = 10_000;
/// Numbers from here on are taken for times in milliseconds.
const TIMES: i64 = 1_000_000_000_000;

impl Tail {
    /// The file of the server that runs in `dir`.
    pub fn new(dir: &Path) -> Tail {
        Tail { dir: dir.join("appendonlydir"), file: None, offset: 0, rest: Vec::new() }
    }

    /// The commands that were written since the last call. `SELECT`s are left out: they follow from the commands.
    pub fn take(&mut self) -> Vec<Effect> {
        let newest = self.newest();
        if newest != self.file {
            self.file = newest;
            self.offset = 0;
            self.rest.clear();
        }
        let Some(path) = &self.file else { return Vec::new() };
        let Ok(mut file) = std::fs::File::open(path) else { return Vec::new() };
        let mut new = Vec::new();
        if file.seek(SeekFrom::Start(self.offset)).is_ok() && file.read_to_end(&mut new).is_ok() {
            self.offset += new.len() as u64;
            self.rest.extend(new);
        }
        let mut all = Vec::new();
        while let Some((effect, used)) = parse(&self.rest) {
            self.rest.drain(..used);
            if !effect[0].eq_ignore_ascii_case(b"SELECT") {
                all.push(effect);
            }
        }
        all
    }

    fn newest(&self) -> Option<PathBuf> {
        let files = std::fs::read_dir(&self.dir).ok()?.flatten();
        let number = |path: &PathBuf| -> Option<u64> {
            let name = path.file_name()?.to_str()?.strip_suffix(".incr.aof")?.to_string();
            name.rsplit('.').next()?.parse().ok()
        };
        files.map(|f| f.path()).filter(|p| number(p).is_some()).max_by_key(number)
    }
}

/// The first command of some bytes, and its length; `None` without a whole one.
fn parse(bytes: &[u8]) -> Option<(Effect, usize)> {
    let mut at = 0;
    let line = |mark: u8, at: &mut usize| -> Option<usize> {
        let end = *at + bytes.get(*at..)?.windows(2).position(|w| w == b"\r\n")?;
        let text = bytes[*at..end].strip_prefix(&[mark])?;
        *at = end + 2;
        std::str::from_utf8(text).ok()?.parse().ok()
    };
    let count = line(b'*', &mut at)?;
    let mut args = Vec::new();
    for _ in 0..count {
        let len = line(b'$', &mut at)?;
        args.push(bytes.get(at..at + len)?.to_vec());
        at += len + 2;
    }
    (at <= bytes.len() && !args.is_empty()).then_some((args, at))
}

/// Deletions of what expired. The two sides need not find that at the same step, but both must write them.
#[derive(Default)]
pub struct Owed(HashMap<Effect, i64>);

impl Owed {
    /// Takes those deletions out of what a step left that the other side does not have there.
    pub fn settle(&mut self, mut a: Vec<Effect>, mut b: Vec<Effect>) -> (Vec<Effect>, Vec<Effect>) {
        let is_deletion =
            |e: &Effect| [b"DEL".as_slice(), b"UNLINK", b"HDEL"].contains(&e[0].as_slice());
        let (in_a, in_b) = (a.clone(), b.clone());
        for (mine, other, sign) in [(&mut a, &in_b, 1), (&mut b, &in_a, -1)] {
            mine.retain(|e| {
                let owed = is_deletion(e) && !other.contains(e);
                if owed {
                    *self.0.entry(e.clone()).or_default() += sign;
                }
                !owed
            });
            unwrap(mine);
        }
        (a, b)
    }

    /// What only B has written. (The reference deletes at the first look, B may still do it later.)
    pub fn left(&self) -> Vec<Effect> {
        self.0.iter().filter(|(_, n)| **n < 0).map(|(e, _)| e.clone()).collect()
    }
}

/// A transaction of which one command is left is none.
fn unwrap(effects: &mut Vec<Effect>) {
    let is = |e: &Effect, word: &[u8]| e[0] == word;
    while let Some(i) = effects.windows(3).position(|w| is(&w[0], b"MULTI") && is(&w[2], b"EXEC")) {
        effects.remove(i + 2);
        effects.remove(i);
    }
    while let Some(i) = effects.windows(2).position(|w| is(&w[0], b"MULTI") && is(&w[1], b"EXEC")) {
        effects.drain(i..i + 2);
    }
}

/// Commands whose effects differ on purpose. `HINCRBYFLOAT`: the reference logs an `HSET` and so loses the field's expiry.
const DIFFERENT: [&str; 1] = ["HINCRBYFLOAT"];

/// Whether a command's effects are compared at all.
pub fn is_compared(args: &[Vec<u8>]) -> bool {
    args.first()
        .is_none_or(|name| !DIFFERENT.iter().any(|word| name.eq_ignore_ascii_case(word.as_bytes())))
}

/// Whether both sides left the same. `loosely`: the replies need not be equal either (random members), so only the
/// commands' names and lengths are compared.
pub fn same(a: &[Effect], b: &[Effect], loosely: bool) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same_effect(a, b, loosely))
}

fn same_effect(a: &Effect, b: &Effect, loosely: bool) -> bool {
    a.len() == b.len()
        && a[0].eq_ignore_ascii_case(&b[0])
        && (loosely || a[1..].iter().zip(&b[1..]).all(|(a, b)| a == b || near(a, b)))
}

/// Two times, or two ids of stream entries, that differ by how long the test took.
fn near(a: &[u8], b: &[u8]) -> bool {
    let time = |text: &[u8]| -> Option<i64> {
        let text = std::str::from_utf8(text).ok()?;
        let number: i64 = text.split('-').next()?.parse().ok()?;
        (number >= TIMES).then_some(number)
    };
    matches!((time(a), time(b)), (Some(a), Some(b)) if (a - b).abs() <= NEAR)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_cut_off_whole() {
        let bytes = b"*2\r\n$4\r\nINCR\r\n$1\r\na\r\n*1\r\n$4\r\nEX";
        let (effect, used) = parse(bytes).expect("a whole one");
        assert_eq!((effect, used), (vec![b"INCR".to_vec(), b"a".to_vec()], 21));
        assert!(parse(&bytes[21..]).is_none());
    }

    #[test]
    fn times_are_near() {
        let effect =
            |text: &str| text.split(' ').map(|w| w.as_bytes().to_vec()).collect::<Effect>();
        let same = |a, b| same_effect(&effect(a), &effect(b), false);
        assert!(same("PEXPIREAT k 1795362524184", "pexpireat k 1795362524999"));
        assert!(!same("PEXPIREAT k 1795362524184", "PEXPIREAT k 1795362624184"));
        assert!(!same("SET k 12", "SET k 13"));
        assert!(!same("SET k 12", "SET k 12 KEEPTTL"));
    }
}
