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

/// Positions and flags of the keys in `args`; `None` when the arguments do not make sense. Some commands of modules are
/// asked themselves ([`flags::MODULE_GETKEYS`]): the caller then has the module lock.
pub fn positions(c: &Command, args: &[&[u8]]) -> Option<KeyPositions> {
    let mut found = KeyPositions::new();
    if !c.has(flags::MODULE) {
        match c.name.as_str() {
            "set" => {
                let bits = if has_word(args, 3, "get") { CHANGE } else { OVERWRITE };
                found.push((1, bits));
                return Some(found);
            }
            "bitfield" => {
                let writes = has_word(args, 2, "set") || has_word(args, 2, "incrby");
                found.push((1, if writes { CHANGE } else { READ }));
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
                match args.iter().skip(6).position(|a| is(a, "keys")) {
                    Some(i) if args[3].is_empty() => {
                        found.extend((i + 7..args.len()).map(|i| (i, bits)));
                    }
                    _ => found.push((3, bits)),
                }
                return Some(found);
            }
            _ => {}
        }
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
    }

    #[test]
    fn the_argument_behind_the_last_word() {
        let args: &[&[u8]] = &[b"sort", b"k", b"store", b"a", b"STORE", b"b"];
        assert_eq!(behind(args, 2, &["store"]), Some(5));
        assert_eq!(behind(args, 5, &["store"]), None);
    }
}
