//! The keys of a command line, exactly: key specifications, and what arguments change about them.
use super::is;
use crate::dispatch::table::{flags, key, Begin, Command, Find, KeyPositions};

/// Keys are read.
const READ: u64 = key::RO | key::ACCESS;
/// Keys are overwritten.
const OVERWRITE: u64 = key::OW | key::UPDATE;
/// Keys are read and changed.
const CHANGE: u64 = key::RW | key::ACCESS | key::UPDATE;

fn has_word(args: &[&[u8]], from: usize, word: &str) -> bool {
    args.iter().skip(from).any(|a| is(a, word))
}

/// The argument behind the last of these words.
fn behind(args: &[&[u8]], from: usize, words: &[&str]) -> Option<usize> {
    let hit = |i: &usize| words.iter().any(|w| is(args[*i], w));
    (from..args.len().saturating_sub(1)).rfind(hit).map(|i| i + 1)
}

/// Where `MIGRATE`'s word `KEYS` is, which is not a password or a user's name.
fn word_keys_of_migrate(args: &[&[u8]]) -> Option<usize> {
    let mut i = 6;
    while i < args.len() {
        i += match args[i].to_ascii_lowercase().as_slice() {
            b"keys" => return Some(i),
            b"auth" => 2,
            b"auth2" => 3,
            _ => 1,
        };
    }
    None
}

/// Whether the operations of `BITFIELD` only read; what makes no sense does not count as reading.
fn only_gets(mut operations: &[&[u8]]) -> bool {
    while let [word, rest @ ..] = operations {
        operations = match word {
            _ if is(word, "get") && rest.len() >= 2 => &rest[2..],
            _ if is(word, "overflow") && !rest.is_empty() => &rest[1..],
            _ => return false,
        };
    }
    true
}

/// Whether a range of keys ends before it begins, as the last one of `PFMERGE` does without a source.
fn lacks_keys(c: &Command, args: &[&[u8]]) -> bool {
    c.keys.iter().any(|spec| match (&spec.begin, spec.find) {
        (Begin::Index(at), Find::Range(last, _, 0)) if last < 0 => args.len() as i32 + last < *at,
        _ => false,
    })
}

/// Positions and flags of the keys in `args`; `None` when the arguments do not make sense. Some commands of modules are
/// asked themselves ([`flags::MODULE_GETKEYS`]): the caller then has the module lock.
pub fn positions(c: &Command, args: &[&[u8]]) -> Option<KeyPositions> {
    let mut found = KeyPositions::new();
    if !c.has(flags::MODULE) {
        // The full name: `CONFIG SET` has no keys.
        match c.full_name.as_str() {
            "set" => {
                let bits = if has_word(args, 3, "get") { CHANGE } else { OVERWRITE };
                found.push((1, bits));
                return Some(found);
            }
            "bitfield" => {
                found.push((1, if only_gets(&args[2..]) { READ } else { CHANGE }));
                return Some(found);
            }
            "sort" | "sort_ro" => {
                found.push((1, READ));
                if c.name == "sort" {
                    found.extend(behind(args, 2, &["store"]).map(|i| (i, OVERWRITE)));
                }
                return Some(found);
            }
            "georadius" | "georadiusbymember" => {
                found.push((1, READ));
                found.extend(behind(args, 5, &["store", "storedist"]).map(|i| (i, OVERWRITE)));
                return Some(found);
            }
            "migrate" => {
                let bits = key::RW | key::ACCESS | key::DELETE;
                match word_keys_of_migrate(args) {
                    None => found.push((3, bits)),
                    // One key and a list of keys are too much: no keys, and an error when it runs.
                    Some(_) if !args[3].is_empty() => {}
                    Some(at) => found.extend((at + 1..args.len()).map(|i| (i, bits))),
                }
                return Some(found);
            }
            _ => {}
        }
    }
    if !c.has(flags::MODULE) && lacks_keys(c, args) {
        return None;
    }
    crate::module::command::key_positions(c, args).or_else(|| counted(c, args))
}

/// Keys behind a count that is no proper number: Redis then reads it as C's `atoi` does, and finds no keys where it is
/// too large.
fn counted(c: &Command, args: &[&[u8]]) -> Option<KeyPositions> {
    if c.has(flags::MODULE) {
        return None;
    }
    let (begin, count, first, step) =
        c.keys.iter().find_map(|spec| match (&spec.begin, spec.find) {
            (Begin::Index(at), Find::KeyNum(count, first, step)) => Some((*at, count, first, step)),
            _ => None,
        })?;
    let mut found = KeyPositions::new();
    let text = args.get((begin + count) as usize)?.trim_ascii_start();
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let number = std::str::from_utf8(&text[..digits]).ok()?.parse::<usize>().unwrap_or(0);
    let (first, step) = ((begin + first) as usize, step as usize);
    if number >= 1 && number <= args.len().saturating_sub(first) / step {
        found.extend((0..number).map(|i| (first + i * step, 0)));
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dispatch::table::Table;

    #[test]
    fn set_reads_only_with_get() {
        let table = Table::build(&[], 0, false, None);
        let c = table.find(b"set").unwrap();
        let of = |args: &[&[u8]]| positions(c, args).unwrap()[..].to_vec();
        assert_eq!(of(&[b"set", b"k", b"get"]), [(1, OVERWRITE)]);
        assert_eq!(of(&[b"set", b"k", b"v", b"GET"]), [(1, CHANGE)]);
        let words: &[&[u8]] = &[b"config", b"set", b"appendonly", b"no"];
        assert!(positions(table.resolve(words).unwrap(), words).unwrap_or_default().is_empty());
    }

    #[test]
    fn keys_of_migrate_are_no_passwords() {
        let of = |line: &str| {
            word_keys_of_migrate(&line.split(' ').map(str::as_bytes).collect::<Vec<_>>())
        };
        assert_eq!(of("migrate h p k 0 1"), None);
        assert_eq!(of("migrate h p k 0 1 copy KEYS a"), Some(7));
        assert_eq!(of("migrate h p k 0 1 auth keys keys a"), Some(8));
        assert_eq!(of("migrate h p k 0 1 auth2 u keys keys a"), Some(9));
        assert_eq!(of("migrate h p k 0 1 auth2 keys"), None);
    }

    #[test]
    fn the_argument_behind_the_last_word() {
        let args: &[&[u8]] = &[b"sort", b"k", b"store", b"a", b"STORE", b"b"];
        assert_eq!(behind(args, 2, &["store"]), Some(5));
        assert_eq!(behind(args, 5, &["store"]), None);
    }
}
