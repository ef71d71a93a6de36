//! `backplane-diff --commands`: whether both servers tell the same about their commands.
//!
//! Compared are `COMMAND`, `COMMAND INFO`, `LIST`, `COUNT` and `DOCS`, `ACL CAT`, and `COMMAND GETKEYS` and
//! `GETKEYSANDFLAGS` for generated command lines. Texts are in each server's own words, so of summaries, notes and
//! replacements it counts that they are there, of a cost its terms, of a history its versions.
use crate::generate::maker_of_lines;
use backplane::client::resp::{compact, encode, Reply};
use backplane::client::Wire;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

/// Commands that the reference does not have. They are told of only where somebody asks for one or for a category.
const OURS: &[&str] = &["module|locks"];

/// Command lines whose keys are asked for.
const LINES: usize = 4000;

struct Sides {
    links: [Wire; 2],
    differences: usize,
    compared: usize,
}

/// Compares; prints what differs and returns how much was compared and how much differed.
pub fn run(addrs: [SocketAddr; 2], seed: u64) -> Result<(usize, usize), String> {
    let open = |addr: SocketAddr| Wire::open(addr).map_err(|e| format!("{addr}: {e}"));
    let links = [open(addrs[0])?, open(addrs[1])?];
    let mut sides = Sides { links, differences: 0, compared: 0 };
    sides.ask(&["HELLO", "3"]);
    sides.names()?;
    sides.infos();
    sides.docs();
    sides.categories();
    sides.keys(seed);
    Ok((sides.compared, sides.differences))
}

fn items(reply: &Reply) -> &[Reply] {
    if let Reply::Many(_, items) = reply {
        items
    } else {
        &[]
    }
}

fn word(reply: &Reply) -> String {
    String::from_utf8_lossy(reply.text().unwrap_or_default()).into_owned()
}

/// The names in a list but for those of [`OURS`].
fn names_but_ours(list: Reply) -> BTreeSet<String> {
    items(&list).iter().map(word).filter(|name| !OURS.contains(&name.as_str())).collect()
}

/// The value of a field of a map.
fn field<'a>(map: &'a Reply, name: &str) -> Option<&'a Reply> {
    items(map).chunks(2).find(|pair| word(&pair[0]) == name).and_then(|pair| pair.get(1))
}

/// The terms of a cost, such as `O(N*log(M))`.
fn terms(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (at, _) in text.match_indices("O(") {
        let mut depth = 0;
        let end = text[at..].char_indices().find_map(|(i, c)| {
            depth += i32::from(c == '(') - i32::from(c == ')');
            (c == ')' && depth == 0).then_some(at + i + 1)
        });
        found.extend(end.map(|end| text[at..end].to_string()));
    }
    found
}

impl Sides {
    fn ask<A: AsRef<[u8]>>(&mut self, args: &[A]) -> [Reply; 2] {
        let bytes = encode(args);
        self.links.iter_mut().for_each(|link| link.write(&bytes));
        self.links.each_mut().map(|link| link.read(Duration::from_secs(10)))
    }

    fn expect<T: PartialEq + std::fmt::Debug>(&mut self, what: &str, a: T, b: T) {
        self.compared += 1;
        if a != b {
            self.differences += 1;
            println!("{what}:\n  A {a:?}\n  B {b:?}");
        }
    }

    /// Which commands there are.
    fn names(&mut self) -> Result<(), String> {
        let list = self.ask(&["COMMAND", "LIST"]);
        let [a, b] = list.map(|list| items(&list).iter().map(word).collect::<BTreeSet<_>>());
        if a.len() < 300 {
            return Err("the reference lists too few commands".into());
        }
        self.expect("commands that are missing", Vec::new(), a.difference(&b).collect());
        self.expect("further commands", Vec::new(), b.difference(&a).cloned().collect());
        let counts = self.ask(&["COMMAND", "COUNT"]);
        let [a, b] = counts.map(|count| word(&count));
        self.expect("COMMAND COUNT", a, b);
        Ok(())
    }

    fn infos(&mut self) {
        let all = self.ask(&["COMMAND"]);
        let [a, b] = all.map(|all| {
            let mut found = BTreeMap::new();
            items(&all).iter().for_each(|info| gather_info(info, &mut found));
            found
        });
        for (name, info) in &a {
            self.expect(&format!("COMMAND INFO {name}"), Some(info), b.get(name));
        }
        let asked = self.ask(&["COMMAND", "INFO", "get", "config|set", "nosuch", "client"]);
        let [a, b] = asked.map(|reply| items(&reply).iter().map(shape).collect::<Vec<_>>());
        self.expect("COMMAND INFO of some", &a[..3], &b[..3]);
    }

    fn docs(&mut self) {
        let all = self.ask(&["COMMAND", "DOCS"]);
        let [a, b] = all.map(|all| {
            let mut found = BTreeMap::new();
            gather_docs(&all, &mut found);
            found
        });
        for (name, docs) in &a {
            self.expect(&format!("COMMAND DOCS {name}"), Some(docs), b.get(name));
        }
        let asked = self.ask(&["COMMAND", "DOCS", "get", "nosuch"]);
        let [a, b] = asked.map(|reply| items(&reply).len());
        self.expect("COMMAND DOCS of some", a, b);
    }

    fn categories(&mut self) {
        let all = self.ask(&["ACL", "CAT"]);
        let [a, b] = all.map(|all| items(&all).iter().map(word).collect::<Vec<_>>());
        self.expect("ACL CAT", &a, &b);
        for name in &a {
            for (what, args) in [
                ("ACL CAT", vec!["ACL", "CAT", name]),
                (
                    "COMMAND LIST FILTERBY ACLCAT",
                    vec!["COMMAND", "LIST", "FILTERBY", "ACLCAT", name],
                ),
            ] {
                let found = self.ask(&args);
                let [a, b] = found.map(names_but_ours);
                let differ: Vec<_> = a.symmetric_difference(&b).cloned().collect();
                self.expect(&format!("{what} {name}"), Vec::new(), differ);
            }
        }
        for pattern in ["x*", "*|get*", "[a-c]*", "nosuch", "CONFIG*"] {
            let found = self.ask(&["COMMAND", "LIST", "FILTERBY", "PATTERN", pattern]);
            let [a, b] = found.map(names_but_ours);
            self.expect(&format!("COMMAND LIST FILTERBY PATTERN {pattern}"), a, b);
        }
    }

    /// The keys of generated command lines, with right and wrong arguments.
    fn keys(&mut self, seed: u64) {
        for line in maker_of_lines(seed, LINES) {
            for word in ["GETKEYS", "GETKEYSANDFLAGS"] {
                let head = [b"COMMAND".to_vec(), word.as_bytes().to_vec()];
                let args: Vec<Vec<u8>> = head.into_iter().chain(line.iter().cloned()).collect();
                let [a, b] = self.ask(&args).map(|reply| match reply {
                    Reply::Many(..) => shape(&reply),
                    other => compact(&other),
                });
                let shown: Vec<_> = args.iter().map(|arg| String::from_utf8_lossy(arg)).collect();
                self.expect(&shown.join(" "), a, b);
            }
        }
    }
}

/// A reply on one line, with the members of sets and the fields of maps in order.
fn shape(reply: &Reply) -> String {
    match reply {
        Reply::Many(kind @ (b'~' | b'%'), items) => {
            let size = if *kind == b'%' { 2 } else { 1 };
            let groups = items.chunks(size);
            let mut texts: Vec<String> = groups
                .map(|group| group.iter().map(shape).collect::<Vec<_>>().join(": "))
                .collect();
            texts.sort();
            format!("{}({})", *kind as char, texts.join(", "))
        }
        Reply::Many(kind, items) => {
            let texts: Vec<String> = items.iter().map(shape).collect();
            format!("{}({})", *kind as char, texts.join(", "))
        }
        other => compact(other),
    }
}

/// Name and the rest of `COMMAND INFO`, for a command and its subcommands.
fn gather_info(info: &Reply, found: &mut BTreeMap<String, Vec<String>>) {
    let parts = items(info);
    let Some((name, rest)) = parts.split_first() else { return };
    let told = rest.iter().enumerate().map(|(i, part)| match i {
        // Key specifications: a note is in each server's own words.
        7 => {
            let specs = items(part).iter().map(|spec| {
                let fields = items(spec).chunks(2).map(|pair| match word(&pair[0]).as_str() {
                    "notes" => "notes".to_string(),
                    name => format!("{name}: {}", pair.get(1).map(shape).unwrap_or_default()),
                });
                fields.collect::<Vec<_>>().join(", ")
            });
            // Their order means nothing: the reference prints a set.
            let mut specs: Vec<String> = specs.collect();
            specs.sort();
            specs.join("; ")
        }
        8 => {
            let kind = if let Reply::Many(kind, _) = part { *kind } else { 0 };
            let names = items(part).iter().filter_map(|sub| items(sub).first());
            let mut names: Vec<_> = names.map(word).collect();
            names.sort();
            format!("{} {}", kind as char, names.join(" "))
        }
        _ => shape(part),
    });
    found.insert(word(name), told.collect());
    if let Some(subs) = parts.get(9) {
        items(subs).iter().for_each(|sub| gather_info(sub, found));
    }
}

/// The documentation of all commands, without what is in each server's own words.
fn gather_docs(all: &Reply, found: &mut BTreeMap<String, Vec<String>>) {
    for pair in items(all).chunks(2) {
        let Some(docs) = pair.get(1) else { continue };
        let told = items(docs).chunks(2).map(|entry| {
            let (name, value) = (word(&entry[0]), entry.get(1));
            let value = match (name.as_str(), value) {
                (_, None) => String::new(),
                ("summary" | "replaced_by", Some(value)) => word(value).is_empty().to_string(),
                ("subcommands", Some(_)) => String::new(),
                ("complexity", Some(value)) => format!("{:?}", terms(&word(value))),
                ("history", Some(value)) => {
                    let versions = items(value).iter().filter_map(|change| items(change).first());
                    versions.map(word).collect::<Vec<_>>().join(" ")
                }
                (_, Some(value)) => shape(value),
            };
            format!("{name}: {value}")
        });
        found.insert(word(&pair[0]), told.collect());
        if let Some(subs) = field(docs, "subcommands") {
            gather_docs(subs, found);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_of_a_cost() {
        let found = terms("O(N)+O(M*log(M)) at worst, O(1) for one, O(N");
        assert_eq!(found.into_iter().collect::<Vec<_>>(), ["O(1)", "O(M*log(M))", "O(N)"]);
    }
}
