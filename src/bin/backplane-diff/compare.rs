//! The normalisations that a script may declare for a reply, and the comparison itself.
use backplane::client::resp::{compact, Reply};

/// What the comparison leaves out of account for one reply. Each stands in the script beside its command.
#[derive(Clone, Debug, PartialEq)]
pub enum Rule {
    /// `@ignore`: not compared at all.
    Ignore,
    /// `@kind`: only the type of the whole reply (and the first word of an error).
    Kind,
    /// `@type-only`: types and the lengths of aggregates, at every depth.
    TypeOnly,
    /// `@unordered`: the elements of the outermost aggregate as a multiset.
    Unordered,
    /// `@unordered-deep`: those of every aggregate.
    UnorderedDeep,
    /// `@unordered-at N`: those of element N (from 0) of the outermost aggregate.
    UnorderedAt(usize),
    /// `@pairs`: the outermost aggregate is a flat list of pairs whose order does not matter.
    Pairs,
    /// `@pairs-at N`: the same of element N.
    PairsAt(usize),
    /// `@mask NAME,NAME`: the value after each of these names, at any depth, by its type only.
    Mask(Vec<String>),
    /// `@mask-at N`: element N (from 0) of the outermost aggregate by its type only.
    MaskAt(usize),
    /// `@fields NAME,NAME`: of a text of `name:value` lines, whether it has these names.
    Fields(Vec<String>),
    /// `@values NAME,NAME`: of a text of `name:value` lines, these lines.
    Values(Vec<String>),
    /// `@bag`: of a text, how often it has each byte (objects whose members come in any order).
    Bag,
    /// `@stats`: the lines of a text in any order, without times and estimates.
    Stats,
    /// `@digits`: each run of digits counts as one `#`.
    Digits,
    /// `@float EPS`: numbers are equal when they differ by EPS of the larger one at most.
    Float(f64),
    /// `@near N`: numbers are equal when they differ by N at most.
    Near(f64),
    /// `@like GLOB`: each reply, printed on one line, matches GLOB (`*` and `?`); they need not be equal.
    Like(String),
}

/// `Ok`, or where and how the two replies differ under `rules`.
pub fn compare(rules: &[Rule], a: &Reply, b: &Reply) -> Result<(), String> {
    for (side, reply) in [("A", a), ("B", b)] {
        let parts = if let Reply::Many(_, items) = reply { items.as_slice() } else { &[] };
        if *reply == Reply::Timeout || parts.last() == Some(&Reply::Timeout) {
            return Err(format!("{side} sent nothing in time"));
        }
    }
    if rules.contains(&Rule::Ignore) {
        return Ok(());
    }
    let mut tolerance = Tolerance::default();
    let mut globs = 0;
    for rule in rules {
        match rule {
            Rule::Float(eps) => tolerance.relative = *eps,
            Rule::Near(by) => tolerance.absolute = *by,
            Rule::Like(glob) => {
                globs += 1;
                for (side, reply) in [("A", a), ("B", b)] {
                    if !matches_glob(glob.as_bytes(), compact(reply).as_bytes()) {
                        return Err(format!("{side} does not match {glob}"));
                    }
                }
            }
            _ => {}
        }
    }
    if globs > 0 {
        return Ok(());
    }
    let fold = |reply: &Reply| rules.iter().fold(reply.clone(), |reply, rule| apply(rule, reply));
    same(&fold(a), &fold(b), tolerance, &mut String::new())
}

#[derive(Clone, Copy, Default)]
struct Tolerance {
    relative: f64,
    absolute: f64,
}

fn number(reply: &Reply) -> Option<f64> {
    std::str::from_utf8(reply.text()?).ok()?.parse().ok()
}

fn same(a: &Reply, b: &Reply, by: Tolerance, path: &mut String) -> Result<(), String> {
    let place = |path: &str| if path.is_empty() { String::new() } else { format!("at {path}: ") };
    match (a, b) {
        (Reply::Many(ka, xs), Reply::Many(kb, ys)) if ka == kb => {
            for (i, (x, y)) in xs.iter().zip(ys).enumerate() {
                let kept = path.len();
                path.push_str(&format!("[{i}]"));
                same(x, y, by, path)?;
                path.truncate(kept);
            }
            if xs.len() != ys.len() {
                return Err(format!("{}{} and {} elements", place(path), xs.len(), ys.len()));
            }
            Ok(())
        }
        _ if a == b => Ok(()),
        (Reply::Line(ka, _), Reply::Line(kb, _)) | (Reply::Blob(ka, _), Reply::Blob(kb, _))
            if ka == kb && close(a, b, by) =>
        {
            Ok(())
        }
        _ => Err(format!("{}{} and {}", place(path), short(a), short(b))),
    }
}

fn close(a: &Reply, b: &Reply, by: Tolerance) -> bool {
    let (Some(x), Some(y)) = (number(a), number(b)) else { return false };
    let gap = (x - y).abs();
    gap <= by.absolute || gap <= by.relative * x.abs().max(y.abs())
}

fn short(reply: &Reply) -> String {
    let text = compact(reply);
    match text.char_indices().nth(200) {
        Some((cut, _)) => format!("{}...", &text[..cut]),
        None => text,
    }
}

fn apply(rule: &Rule, reply: Reply) -> Reply {
    match (rule, reply) {
        (Rule::Kind, reply) => kind(&reply, false),
        (Rule::TypeOnly, reply) => kind(&reply, true),
        (Rule::Unordered, reply) => sorted(reply, 1),
        (Rule::UnorderedDeep, Reply::Many(kind, items)) => {
            let items = items.into_iter().map(|item| apply(rule, item)).collect();
            sorted(Reply::Many(kind, items), 1)
        }
        (Rule::UnorderedAt(n), reply) => at(reply, *n, |item| sorted(item, 1)),
        (Rule::Pairs, reply) => sorted(reply, 2),
        (Rule::PairsAt(n), reply) => at(reply, *n, |item| sorted(item, 2)),
        (Rule::Mask(names), reply) => mask(names, reply),
        (Rule::MaskAt(n), reply) => at(reply, *n, |item| kind(&item, false)),
        (Rule::Digits, reply) => digits(reply),
        (Rule::Bag, Reply::Blob(mark, mut text)) => {
            text.sort_unstable();
            Reply::Blob(mark, text)
        }
        (Rule::Stats, Reply::Blob(mark, text)) => Reply::Blob(mark, without_times(&text)),
        (Rule::Fields(names), Reply::Blob(_, text)) => {
            let found = names.iter().filter(|name| line(&text, name).is_some());
            Reply::Many(b'*', found.map(|name| Reply::Blob(b'$', name.clone().into())).collect())
        }
        (Rule::Values(names), Reply::Blob(_, text)) => {
            let lines = names.iter().map(|name| match line(&text, name) {
                Some(value) => Reply::Blob(b'$', [name.as_bytes(), b":", value].concat()),
                None => Reply::Line(b'-', format!("no {name}").into()),
            });
            Reply::Many(b'*', lines.collect())
        }
        (_, reply) => reply,
    }
}

fn at(reply: Reply, n: usize, change: impl Fn(Reply) -> Reply) -> Reply {
    let Reply::Many(kind, mut items) = reply else { return reply };
    if let Some(item) = items.get_mut(n) {
        *item = change(std::mem::replace(item, Reply::Closed));
    }
    Reply::Many(kind, items)
}

/// The elements in groups of `group`, sorted by how they print.
fn sorted(reply: Reply, group: usize) -> Reply {
    let Reply::Many(kind, items) = reply else { return reply };
    let group = if kind == b'%' { 2 } else { group };
    let mut groups: Vec<Vec<Reply>> = items.chunks(group).map(<[Reply]>::to_vec).collect();
    groups.sort_by_cached_key(|items| items.iter().map(compact).collect::<Vec<_>>());
    Reply::Many(kind, groups.concat())
}

fn kind(reply: &Reply, deep: bool) -> Reply {
    match reply {
        Reply::Many(kind, _) if !deep => Reply::Many(*kind, Vec::new()),
        Reply::Many(mark, items) => {
            Reply::Many(*mark, items.iter().map(|item| kind(item, true)).collect())
        }
        Reply::Line(mark @ b'-', text) => {
            let word = text.split(|byte| *byte == b' ').next().unwrap_or_default();
            Reply::Line(*mark, word.to_vec())
        }
        Reply::Line(mark, _) => Reply::Line(*mark, b"...".to_vec()),
        Reply::Blob(mark, _) => Reply::Blob(*mark, b"...".to_vec()),
        other => other.clone(),
    }
}

fn mask(names: &[String], reply: Reply) -> Reply {
    let Reply::Many(mark, items) = reply else { return reply };
    let mut masked = Vec::with_capacity(items.len());
    let mut hide = false;
    for item in items {
        let named = item.text().is_some_and(|text| names.iter().any(|n| n.as_bytes() == text));
        masked.push(if hide { kind(&item, false) } else { mask(names, item) });
        hide = named && !hide;
    }
    Reply::Many(mark, masked)
}

fn digits(reply: Reply) -> Reply {
    let hide = |text: Vec<u8>| {
        let mut out = Vec::with_capacity(text.len());
        for byte in text {
            let byte = if byte.is_ascii_digit() { b'#' } else { byte };
            if byte != b'#' || out.last() != Some(&b'#') {
                out.push(byte);
            }
        }
        out
    };
    match reply {
        Reply::Line(kind, text) => Reply::Line(kind, hide(text)),
        Reply::Blob(kind, text) => Reply::Blob(kind, hide(text)),
        Reply::Many(kind, items) => Reply::Many(kind, items.into_iter().map(digits).collect()),
        other => other,
    }
}

/// Times; and what Redis finds out only as its cycle of expiry goes round: until then, a hash counts as one whose fields
/// expire though the last of them has been overwritten or deleted.
fn is_estimate(part: &[u8]) -> bool {
    [&b"usec"[..], b"avg_ttl", b"subexpiry"].iter().any(|name| part.starts_with(name))
}

fn without_times(text: &[u8]) -> Vec<u8> {
    let mut lines: Vec<Vec<u8>> = Vec::new();
    for line in text.split(|byte| *byte == b'\n') {
        let parts = line.split(|byte| *byte == b',');
        let kept: Vec<&[u8]> = parts.filter(|part| !is_estimate(part)).collect();
        lines.push(kept.join(&b','));
    }
    lines.sort();
    lines.join(&b'\n')
}

fn line<'a>(text: &'a [u8], name: &str) -> Option<&'a [u8]> {
    text.split(|byte| *byte == b'\n').find_map(|line| {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        line.strip_prefix(name.as_bytes())?.strip_prefix(b":")
    })
}

/// `*` stands for any run of bytes, `?` for one; everything else for itself.
pub fn matches_glob(glob: &[u8], text: &[u8]) -> bool {
    let (mut g, mut t, mut star) = (0, 0, None);
    while t < text.len() {
        match glob.get(g) {
            Some(b'*') => {
                star = Some((g, t));
                g += 1;
            }
            Some(byte) if *byte == b'?' || *byte == text[t] => {
                g += 1;
                t += 1;
            }
            _ => {
                let Some((at, from)) = star else { return false };
                star = Some((at, from + 1));
                g = at + 1;
                t = from + 1;
            }
        }
    }
    glob[g..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;
    use backplane::client::resp::parse;

    fn reply(text: &str) -> Reply {
        parse(text.replace(' ', "\r\n").as_bytes()).unwrap().unwrap().0
    }

    fn equal(rules: &[Rule], a: &str, b: &str) -> bool {
        compare(rules, &reply(a), &reply(b)).is_ok()
    }

    #[test]
    fn without_rules_every_byte_counts() {
        assert!(equal(&[], "*2 :1 +a ", "*2 :1 +a "));
        assert!(!equal(&[], "*2 :1 +a ", "*2 :1 $1 a "));
        assert!(!equal(&[], "$-1 ", "*-1 "));
        assert!(!equal(&[], "*1 :1 ", "*2 :1 :2 "));
        let at = compare(&[], &reply("*2 :1 *1 :2 "), &reply("*2 :1 *1 :3 ")).unwrap_err();
        assert_eq!(at, "at [1][0]: 2 and 3");
    }

    #[test]
    fn order_rules() {
        assert!(equal(&[Rule::Unordered], "*2 :1 :2 ", "*2 :2 :1 "));
        assert!(!equal(&[Rule::Unordered], "*2 :1 :1 ", "*2 :2 :1 "));
        assert!(!equal(&[Rule::Unordered], "*1 *2 :1 :2 ", "*1 *2 :2 :1 "));
        assert!(equal(&[Rule::UnorderedDeep], "*1 *2 :1 :2 ", "*1 *2 :2 :1 "));
        assert!(equal(&[Rule::UnorderedAt(1)], "*2 :0 *2 :1 :2 ", "*2 :0 *2 :2 :1 "));
        assert!(equal(&[Rule::Pairs], "*4 +a :1 +b :2 ", "*4 +b :2 +a :1 "));
        assert!(!equal(&[Rule::Pairs], "*4 +a :1 +b :2 ", "*4 +b :1 +a :2 "));
        assert!(equal(&[Rule::Unordered], "%2 +a :1 +b :2 ", "%2 +b :2 +a :1 "));
    }

    #[test]
    fn value_rules() {
        assert!(equal(&[Rule::TypeOnly], "*2 :1 +a ", "*2 :7 +b "));
        assert!(!equal(&[Rule::TypeOnly], "*2 :1 +a ", "*2 :7 $1 b "));
        assert!(equal(&[Rule::Kind], "*2 :1 +a ", "*1 :7 "));
        let mask = [Rule::Mask(vec!["n".into()])];
        assert!(equal(&mask, "*4 +n :1 +m :2 ", "*4 +n :9 +m :2 "));
        assert!(!equal(&mask, "*4 +n :1 +m :2 ", "*4 +n :9 +m :3 "));
        assert!(equal(&[Rule::MaskAt(1)], "*2 :1 :2 ", "*2 :1 :3 "));
        assert!(!equal(&[Rule::MaskAt(0)], "*2 :1 :2 ", "*2 :1 :3 "));
        assert!(equal(&[Rule::Digits], "+id=12-a ", "+id=7-a "));
        assert!(equal(&[Rule::Bag], "$4 a1b2 ", "$4 b2a1 "));
        assert!(!equal(&[Rule::Bag], "$4 a1b2 ", "$4 a1b1 "));
        assert!(equal(&[Rule::Near(2.0)], ":10 ", ":12 "));
        assert!(!equal(&[Rule::Near(1.0)], ":10 ", ":12 "));
        assert!(equal(&[Rule::Float(1e-3)], "$6 1.0001 ", "$1 1 "));
        assert!(equal(&[Rule::Like("[?, *]".into())], "*2 :1 :2 ", "*2 :3 :44 "));
        assert!(!equal(&[Rule::Like("[1, *]".into())], "*2 :1 :2 ", "*2 :3 :44 "));
    }

    #[test]
    fn info_rules() {
        let (a, b) = (Reply::Blob(b'$', b"# S\r\nx:1\r\ny:2\r\n".to_vec()), |text: &str| {
            Reply::Blob(b'$', text.as_bytes().to_vec())
        });
        let fields = [Rule::Fields(vec!["x".into(), "y".into()])];
        assert!(compare(&fields, &a, &b("x:5\r\ny:6\r\n")).is_ok());
        assert!(compare(&fields, &a, &b("x:5\r\n")).is_err());
        let values = [Rule::Values(vec!["y".into()])];
        assert!(compare(&values, &a, &b("x:5\r\ny:2\r\n")).is_ok());
        assert!(compare(&values, &a, &b("x:1\r\ny:3\r\n")).is_err());
    }

    #[test]
    fn stats_without_their_times() {
        let text = |text: &str| Reply::Blob(b'$', text.as_bytes().to_vec());
        let (a, b) = (text("x:calls=1,usec=5,y=2\ny:1"), text("y:1\nx:calls=1,usec=6,y=2"));
        assert!(compare(&[Rule::Stats], &a, &b).is_ok());
        assert!(compare(&[Rule::Stats], &a, &text("y:1\nx:calls=2,usec=5,y=2")).is_err());
    }

    #[test]
    fn globs() {
        for (glob, text, want) in
            [("*", "", true), ("a*c", "abbc", true), ("a*c", "abb", false), ("?", "", false)]
        {
            assert_eq!(matches_glob(glob.as_bytes(), text.as_bytes()), want, "{glob} {text}");
        }
    }
}
