//! What `COMMAND DOCS` tells of the server's own commands beside their rows: arguments, and what became of a command.
//!
//! It is a text, `command_arguments.txt`, because it is data of one form that nothing but this command reads; it is read at
//! its first use.
use crate::module::abi;
use crate::module::command::CommandArg;
use std::collections::HashMap;
use std::sync::OnceLock;

/// The documentation of one command.
#[derive(Default)]
pub struct Docs {
    /// `deprecated`, `syscmd`.
    pub flags: Vec<&'static str>,
    /// Deprecated since which version, and what to use.
    pub deprecated: Option<(&'static str, &'static str)>,
    /// Its arguments.
    pub args: Vec<CommandArg>,
}

/// The documentation of a command, by its full name.
pub fn of(name: &str) -> Option<&'static Docs> {
    static ALL: OnceLock<HashMap<&'static str, Docs>> = OnceLock::new();
    ALL.get_or_init(|| read(include_str!("command_arguments.txt"))).get(name)
}

fn read(text: &'static str) -> HashMap<&'static str, Docs> {
    let mut all: HashMap<&'static str, Docs> = HashMap::new();
    for line in text.lines().filter(|l| !l.starts_with('#')) {
        let mut parts = line.split('\t');
        let (first, second) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""));
        match first {
            "*" => {
                second.split(' ').for_each(|name| all.entry(name).or_default().flags.push("syscmd"))
            }
            "-" => {
                let docs = all.entry(second).or_default();
                docs.flags.push("deprecated");
                docs.deprecated = parts.next().zip(parts.next());
            }
            name => all.entry(name).or_default().args = arguments(&mut { second }),
        }
    }
    all
}

/// Cuts the text up to the first of `ends` off; all of it if there is none.
fn until(text: &mut &'static str, ends: &[char]) -> &'static str {
    let (head, rest) = text.split_at(text.find(ends).unwrap_or(text.len()));
    *text = rest;
    head
}

/// Cuts a character off if it is the next.
fn skip(text: &mut &'static str, c: char) -> bool {
    match text.strip_prefix(c) {
        Some(rest) => {
            *text = rest;
            true
        }
        None => false,
    }
}

/// Reads arguments up to the end or to a closing parenthesis.
fn arguments(text: &mut &'static str) -> Vec<CommandArg> {
    const MARKS: &[char] = &['=', '@', '~', '#', '?', '+', '&', '!', '(', ')', ' '];
    const TYPES: &str = "sidkptTob";
    let mut args = Vec::new();
    while !text.is_empty() && !skip(text, ')') {
        if skip(text, ' ') {
            continue;
        }
        let head = until(text, MARKS);
        let (name, kind) = head.split_once(':').expect("an argument has a type");
        let part = |text: &mut &'static str, mark: char| {
            skip(text, mark).then(|| until(text, MARKS).to_string())
        };
        let display_text = part(text, '=');
        let since = part(text, '@');
        let deprecated_since = part(text, '~');
        let key = part(text, '#');
        let bits = [
            ('?', abi::CMD_ARG_OPTIONAL),
            ('+', abi::CMD_ARG_MULTIPLE),
            ('&', abi::CMD_ARG_MULTIPLE_TOKEN),
        ];
        let flags =
            bits.iter().filter(|(mark, _)| skip(text, *mark)).fold(0, |all, (_, b)| all | b);
        // A token may be a mark itself.
        let token = skip(text, '!').then(|| until(text, &['(', ')', ' ']).to_string());
        let subargs = if skip(text, '(') { arguments(text) } else { Vec::new() };
        args.push(CommandArg {
            name: name.to_string(),
            arg_type: TYPES.find(kind).expect("a known type") as i32,
            key_spec_index: key.map_or(-1, |k| k.parse().expect("a number")),
            token,
            summary: None,
            since,
            flags,
            deprecated_since,
            subargs,
            display_text,
        });
    }
    args
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(args: &[CommandArg]) -> String {
        let one = |a: &CommandArg| {
            let token = a.token.as_deref().unwrap_or("-");
            let inside = show(&a.subargs);
            format!("{} {} {} {token} {} [{inside}]", a.name, a.arg_type, a.key_spec_index, a.flags)
        };
        args.iter().map(one).collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn arguments_with_parts_and_odd_tokens() {
        let mut text =
            "key:k=a-key#0 trim:b?+(equal:T!= more:T@6.2.0~7.0.0?&!~) id:o(auto:T!* id:s)";
        let args = arguments(&mut text);
        assert_eq!(
            show(&args),
            "key 3 0 - 0 [], trim 8 -1 - 3 [equal 6 -1 = 0 [], more 6 -1 ~ 5 []], \
             id 7 -1 - 0 [auto 6 -1 * 0 [], id 0 -1 - 0 []]"
        );
        assert_eq!(args[0].display_text.as_deref(), Some("a-key"));
        let more = &args[1].subargs[1];
        assert_eq!(
            (more.since.as_deref(), more.deprecated_since.as_deref()),
            (Some("6.2.0"), Some("7.0.0"))
        );
    }

    #[test]
    fn every_line_belongs_to_a_command() {
        let mut names = std::collections::HashSet::new();
        for row in crate::execute::FAMILIES.iter().flat_map(|rows| rows.iter()) {
            names.insert(row.name.to_string());
            names.extend(row.subs.iter().map(|s| format!("{}|{}", row.name, s.name)));
        }
        let all = read(include_str!("command_arguments.txt"));
        assert!(all.len() > 280, "{}", all.len());
        // Commands that this version does not have.
        let absent: Vec<_> = all.keys().filter(|name| !names.contains(**name)).collect();
        assert!(absent.len() < 12, "{absent:?}");
        assert_eq!(of("set").map(|d| d.args.len()), Some(5));
    }
}
