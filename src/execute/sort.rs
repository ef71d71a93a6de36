//! `SORT` and `SORT_RO`.
use super::error::{err, SYNTAX, WRONGTYPE};
use super::{int, is, partial_sort, CommandError, CommandResult, Expiry, Tx};
use crate::acl::check::every_key;
use crate::connection::client::flag;
use crate::dispatch::table::{flags, key, keys, Begin, Find, KeySpec, PathRule, Row};
use crate::keyspace::event::{self, class};
use crate::keyspace::list::List;
use crate::keyspace::number::parse_f64;
use crate::keyspace::shard::slot_of;
use crate::keyspace::value::{Value, ValueMut, ValueRef};
use crate::reply::Reply;
use std::cmp::Ordering;

/// The options of one call.
struct Options<'a> {
    descending: bool,
    alpha: bool,
    limit: (i64, i64),
    by: Option<&'a [u8]>,
    /// A `BY` without `*`: the elements stay in the order in which they are stored.
    as_stored: bool,
    get: Vec<&'a [u8]>,
    store: Option<&'a [u8]>,
}

impl<'a> Options<'a> {
    /// `every_key`: the user may read every key, so patterns of keys may be looked up.
    fn parse(
        args: &[&'a [u8]],
        readonly: bool,
        every_key: bool,
    ) -> Result<Options<'a>, CommandError> {
        let mut o = Options {
            descending: false,
            alpha: false,
            limit: (0, -1),
            by: None,
            as_stored: false,
            get: Vec::new(),
            store: None,
        };
        let mut i = 0;
        while i < args.len() {
            let (word, more) = (args[i], args.len() - i - 1);
            if is(word, "asc") {
                o.descending = false;
            } else if is(word, "desc") {
                o.descending = true;
            } else if is(word, "alpha") {
                o.alpha = true;
            } else if is(word, "limit") && more >= 2 {
                o.limit = (int(args[i + 1])?, int(args[i + 2])?);
                i += 2;
            } else if is(word, "store") && more >= 1 && !readonly {
                o.store = Some(args[i + 1]);
                i += 1;
            } else if is(word, "by") && more >= 1 {
                o.by = Some(args[i + 1]);
                let is_pattern = args[i + 1].contains(&b'*');
                if is_pattern && !every_key {
                    return Err(denied("BY"));
                }
                o.as_stored |= !is_pattern;
                i += 1;
            } else if is(word, "get") && more >= 1 {
                if !every_key {
                    return Err(denied("GET"));
                }
                o.get.push(args[i + 1]);
                i += 1;
            } else {
                return Err(SYNTAX);
            }
            i += 1;
        }
        Ok(o)
    }

    /// The part of `len` elements that `LIMIT` leaves.
    fn range(&self, len: usize) -> std::ops::Range<usize> {
        let start = (self.limit.0.max(0) as u64).min(len as u64) as usize;
        let count = u64::try_from(self.limit.1).map_or(len, |n| n.min(len as u64) as usize);
        start..(start + count).min(len)
    }
}

fn denied(option: &str) -> CommandError {
    err(format!("ERR {option} option of SORT denied due to insufficient ACL permissions."))
}

/// Whether the user may run this command and read every key besides.
fn may_read_every_key(tx: &Tx<'_>, args: &[&[u8]]) -> bool {
    let table = tx.server.table.load();
    table.resolve(args).is_none_or(|c| every_key(tx.session, c, args, key::ACCESS))
}

/// What a pattern stands for with an element in the place of its `*`: a string, or with `->` a field of a hash.
fn look_up(tx: &Tx<'_>, pattern: &[u8], element: &[u8]) -> Option<Vec<u8>> {
    if pattern == b"#" {
        return Some(element.to_vec());
    }
    let star = pattern.iter().position(|&c| c == b'*')?;
    let (prefix, rest) = (&pattern[..star], &pattern[star + 1..]);
    let arrow = rest.windows(2).position(|w| w == b"->").filter(|at| at + 2 < rest.len());
    let (postfix, field) = match arrow {
        Some(at) => (&rest[..at], Some(&rest[at + 2..])),
        None => (rest, None),
    };
    let name = [prefix, element, postfix].concat();
    match (tx.get(&name)?, field) {
        (ValueRef::Hash(h), Some(field)) => {
            h.get(field).filter(|e| !e.is_expired(tx.now)).map(|e| e.value.to_vec())
        }
        (ValueRef::String(s), None) => Some(s.to_cow().into_owned()),
        _ => None,
    }
}

/// What C takes `text` for: it ends at a zero byte.
fn c_string(text: &[u8]) -> &[u8] {
    text.split(|c| *c == 0).next().unwrap_or_default()
}

/// A number to sort by, read as C's `strtod` does: blanks in front are allowed, and nothing at all is zero.
fn weight(text: &[u8]) -> Result<f64, CommandError> {
    let text = c_string(text);
    if text.is_empty() {
        return Ok(0.0);
    }
    let blanks = text.iter().take_while(|c| c.is_ascii_whitespace() || **c == b'\x0b').count();
    // C reports what is too small for a normal number as it reports what is too large.
    parse_f64(&text[blanks..])
        .filter(|number| !number.is_subnormal())
        .ok_or(err("ERR One or more scores can't be converted into double"))
}

/// What an element is compared by.
#[derive(PartialEq)]
enum Rank {
    Number(f64),
    Text(Option<Vec<u8>>),
    /// The element's own text, up to this length.
    Itself(usize),
}

struct Element {
    text: Vec<u8>,
    rank: Rank,
}

impl Element {
    fn compare(&self, other: &Element) -> Ordering {
        match (&self.rank, &other.rank) {
            // Equal numbers are told apart by the elements.
            (Rank::Number(a), Rank::Number(b)) => {
                a.partial_cmp(b).unwrap_or(Ordering::Equal).then_with(|| self.text.cmp(&other.text))
            }
            (Rank::Text(a), Rank::Text(b)) => a.cmp(b),
            (Rank::Itself(a), Rank::Itself(b)) => self.text[..*a].cmp(&other.text[..*b]),
            _ => unreachable!("all elements have the same kind of rank"),
        }
    }
}

/// The elements of the key to sort, in the order in which they are stored.
fn elements(tx: &Tx<'_>, key: &[u8]) -> Result<(Vec<Vec<u8>>, bool), CommandError> {
    Ok(match tx.get(key) {
        None => (Vec::new(), false),
        Some(ValueRef::List(v)) => (v.iter().map(|item| item.to_vec()).collect(), false),
        Some(ValueRef::Set(v)) => (v.iter().map(|item| item.to_vec()).collect(), true),
        Some(ValueRef::Zset(v)) => (v.iter().map(|(item, _)| item.to_vec()).collect(), false),
        Some(_) => return Err(WRONGTYPE),
    })
}

/// In cluster mode, keys made from patterns have to be in the slot of the sorted key.
fn check_slots(tx: &Tx<'_>, key: &[u8], o: &Options<'_>) -> CommandResult {
    let other = |p: &[u8]| crate::cluster::slot_of_pattern(p) != Some(slot_of(key));
    let denied = |what: &str| {
        Err(err(format!(
            "ERR {what} option of SORT denied in Cluster mode when keys formed by the pattern may be in different slots."
        )))
    };
    if !tx.server.cluster.enabled() {
        return Ok(());
    }
    if o.by.is_some_and(other) {
        return denied("BY");
    }
    if o.get.iter().any(|p| other(p)) {
        return denied("GET");
    }
    Ok(())
}

fn sort_with(tx: &mut Tx<'_>, key: &[u8], mut o: Options<'_>, out: &mut Reply) -> CommandResult {
    check_slots(tx, key, &o)?;
    let (mut texts, is_set) = elements(tx, key)?;
    // One sees it in `OBJECT ENCODING`: a sorted set that was sorted is no listpack any more.
    if matches!(tx.peek(key), Some(ValueRef::Zset(_))) {
        let limits = super::collection::zset_limits(tx.server);
        if let Some(ValueMut::Zset(set)) = tx.get_mut(key) {
            set.prepare(usize::MAX, &limits);
        }
    }
    if o.as_stored && is_set && (o.store.is_some() || tx.session.shared.has(flag::SCRIPT)) {
        // A set is stored in no order, but what is made of it, by a script too, must not depend on that.
        (o.as_stored, o.alpha, o.by) = (false, true, None);
    }
    if o.as_stored {
        if o.descending && !is_set {
            texts.reverse();
        }
    } else {
        let mut all = Vec::with_capacity(texts.len());
        // All elements are looked up, whatever becomes of one: what is missing fires an event.
        let mut failed = None;
        for text in texts {
            // Only what is stored is compared byte by byte; an answer is sorted as C compares strings.
            let compared =
                |text: &[u8]| if o.store.is_some() { text } else { c_string(text) }.len();
            let rank = match (o.by, o.alpha) {
                (None, true) => Ok(Rank::Itself(compared(&text))),
                (None, false) => weight(&text).map(Rank::Number),
                (Some(by), true) => Ok(Rank::Text(look_up(tx, by, &text).map(|mut found| {
                    found.truncate(compared(&found));
                    found
                }))),
                (Some(by), false) => {
                    let found = look_up(tx, by, &text);
                    found.map_or(Ok(0.0), |found| weight(&found)).map(Rank::Number)
                }
            };
            match rank {
                Ok(rank) => all.push(Element { text, rank }),
                Err(why) => failed = Some(why),
            }
        }
        if let Some(why) = failed {
            return Err(why);
        }
        let compare = |a: &Element, b: &Element| match a.compare(b) {
            order if o.descending => order.reverse(),
            order => order,
        };
        let wanted = o.range(all.len());
        if o.by.is_some() && wanted.len() < all.len() {
            partial_sort::sort_range(&mut all, &wanted, compare);
        } else {
            all.sort_by(compare);
        }
        texts = all.into_iter().map(|e| e.text).collect();
    }
    let chosen = &texts[o.range(texts.len())];
    let mut results: Vec<Option<Vec<u8>>> = Vec::with_capacity(chosen.len());
    for text in chosen {
        if o.get.is_empty() {
            results.push(Some(text.clone()));
        }
        for pattern in &o.get {
            results.push(look_up(tx, pattern, text));
        }
    }
    match o.store {
        Some(destination) => store(tx, destination, results, out),
        None => {
            out.array(results.len());
            for r in results {
                match r {
                    Some(text) => out.bulk(&text),
                    None => out.null(),
                }
            }
        }
    }
    Ok(())
}

fn store(tx: &mut Tx<'_>, destination: &[u8], results: Vec<Option<Vec<u8>>>, out: &mut Reply) {
    let len = results.len();
    if len > 0 {
        let results: Vec<Vec<u8>> = results.into_iter().map(Option::unwrap_or_default).collect();
        let mut list = List::new();
        list.push_back(&results, super::collection::fill(tx.server));
        tx.set(destination, Value::List(Box::new(list)), Expiry::Clear);
        tx.dirty += len as u64;
        tx.modified(destination);
        tx.notify(&event::SORTSTORE, destination);
    } else if tx.remove(destination) {
        tx.dirty += 1;
        tx.modified(destination);
        tx.notify(&event::DEL, destination);
    }
    out.int(len as i64);
}

/// `SORT key [BY pattern] [LIMIT offset count] [GET pattern ...] [ASC|DESC] [ALPHA] [STORE destination]`
fn sort(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let every_key = may_read_every_key(tx, args);
    let options = Options::parse(&args[2..], false, every_key)?;
    sort_with(tx, args[1], options, out)
}

/// `SORT_RO`: as `SORT`, without `STORE`
fn sort_ro(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let every_key = may_read_every_key(tx, args);
    let options = Options::parse(&args[2..], true, every_key)?;
    sort_with(tx, args[1], options, out)
}

/// Keys that cannot be told from the arguments' places.
const fn unknown(flags: u64, note: &'static str) -> KeySpec {
    let notes = Some(std::borrow::Cow::Borrowed(note));
    KeySpec { flags, begin: Begin::Unknown, find: Find::Unknown, notes }
}

const PATTERNS: &str = "Of `BY` and `GET`: their names are made of the sorted elements.";
const STORE: &str = "Of `STORE`, which may come anywhere.";

/// The family's commands.
pub static ROWS: &[Row] = &[
    Row {
        keys: &[
            keys(key::RO | key::ACCESS, 1, 1, 1),
            unknown(key::RO | key::ACCESS, PATTERNS),
            unknown(key::OW | key::UPDATE, STORE),
        ],
        events: class::LIST | class::GENERIC | class::NEW | class::KEY_MISS,
        path: PathRule::ServerWide,
        acl: &["set", "sortedset", "list", "dangerous"],
        summary: "Sorts the elements of a list, a set or a sorted set.",
        ..Row::new("sort", -2, flags::WRITE | flags::DENYOOM, sort)
    },
    Row {
        keys: &[keys(key::RO | key::ACCESS, 1, 1, 1), unknown(key::RO | key::ACCESS, PATTERNS)],
        events: class::KEY_MISS,
        path: PathRule::ServerWide,
        acl: &["set", "sortedset", "list", "dangerous"],
        since: "7.0.0",
        summary: "Sorts the elements of a list, a set or a sorted set, without storing the result.",
        ..Row::new("sort_ro", -2, flags::READONLY, sort_ro)
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_cut_what_is_there() {
        let with = |limit| Options { limit, ..Options::parse(&[], false, true).ok().unwrap() };
        assert_eq!(with((0, -1)).range(5), 0..5);
        assert_eq!(with((2, 2)).range(5), 2..4);
        assert_eq!(with((-3, 2)).range(5), 0..2);
        assert_eq!(with((4, i64::MAX)).range(5), 4..5);
        assert_eq!(with((9, 1)).range(5), 5..5);
        assert_eq!(with((1, 0)).range(5), 1..1);
    }

    #[test]
    fn weights_are_read_as_c_does() {
        assert_eq!(weight(b""), Ok(0.0));
        assert_eq!(weight(b"  -2.5"), Ok(-2.5));
        assert_eq!(weight(b"inf"), Ok(f64::INFINITY));
        assert_eq!(weight(b"\x0b3\0x"), Ok(3.0));
        assert!(weight(b" ").is_err() && weight(b"1x").is_err() && weight(b"nan").is_err());
        assert!(weight(b"1e-320").is_err());
    }
}
