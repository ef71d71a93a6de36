//! What `COMMAND DOCS` tells of our commands beyond their rows: cost, history, what took their place, arguments.
//!
//! The texts are in `docs/`, one file a group, and are read when somebody asks for the first time. A line without
//! indentation names a command (`container|sub` for subcommands); indented below it come
//!
//! - `complexity TEXT`, `history VERSION TEXT`, `deprecated VERSION WHAT-TO-USE`, `flag NAME`
//! - `- NAME TYPE ...` for each argument, deeper for those that it consists of, with `#n` (its key specification),
//!   `:text` (how it is shown, where not by its name), `=WORD` (the word before it), `?` (optional), `*` (several),
//!   `+` (several, each with the word), `@version` (since), `!version` (deprecated since)
use crate::module::abi;
use crate::module::command::CommandArg;
use std::collections::HashMap;
use std::sync::OnceLock;

/// What is told of one command.
#[derive(Default)]
pub struct Docs {
    /// Its cost.
    pub complexity: Option<&'static str>,
    /// Changes: version and what changed.
    pub history: Vec<(&'static str, &'static str)>,
    /// Since when it is deprecated, and what to use instead.
    pub deprecated: Option<(&'static str, &'static str)>,
    /// `syscmd` for commands that are not for clients.
    pub flags: Vec<&'static str>,
    /// Its arguments.
    pub args: Vec<CommandArg>,
}

/// The files, by group.
const FILES: &[&str] = &[
    include_str!("docs/bitmap.txt"),
    include_str!("docs/cluster.txt"),
    include_str!("docs/connection.txt"),
    include_str!("docs/generic.txt"),
    include_str!("docs/geo.txt"),
    include_str!("docs/hash.txt"),
    include_str!("docs/hyperloglog.txt"),
    include_str!("docs/list.txt"),
    include_str!("docs/pubsub.txt"),
    include_str!("docs/scripting.txt"),
    include_str!("docs/server.txt"),
    include_str!("docs/set.txt"),
    include_str!("docs/sorted-set.txt"),
    include_str!("docs/stream.txt"),
    include_str!("docs/string.txt"),
    include_str!("docs/transactions.txt"),
];

/// What is told of the command with this full name.
pub fn of(full_name: &str) -> Option<&'static Docs> {
    static ALL: OnceLock<HashMap<&'static str, Docs>> = OnceLock::new();
    ALL.get_or_init(|| FILES.iter().flat_map(|text| read(text)).collect()).get(full_name)
}

fn read(text: &'static str) -> Vec<(&'static str, Docs)> {
    let mut all: Vec<(&str, Docs)> = Vec::new();
    for line in text.lines() {
        let body = line.trim_start();
        let depth = (line.len() - body.len()) / 2;
        if depth == 0 {
            all.push((body, Docs::default()));
            continue;
        }
        let Some((_, docs)) = all.last_mut() else { continue };
        let (word, rest) = body.split_once(' ').unwrap_or((body, ""));
        match word {
            "complexity" => docs.complexity = Some(rest),
            "history" => docs.history.extend(rest.split_once(' ')),
            "deprecated" => docs.deprecated = rest.split_once(' '),
            "flag" => docs.flags.push(rest),
            _ => {
                let mut list = &mut docs.args;
                for _ in 1..depth {
                    let Some(last) = list.len().checked_sub(1) else { break };
                    list = &mut list[last].subargs;
                }
                list.extend(argument(rest));
            }
        }
    }
    all
}

fn argument(text: &str) -> Option<CommandArg> {
    let mut words = text.split(' ');
    let name = words.next()?.to_string();
    let arg_type = match words.next()? {
        "string" => abi::ARG_TYPE_STRING,
        "integer" => abi::ARG_TYPE_INTEGER,
        "double" => abi::ARG_TYPE_DOUBLE,
        "key" => abi::ARG_TYPE_KEY,
        "pattern" => abi::ARG_TYPE_PATTERN,
        "unix-time" => abi::ARG_TYPE_UNIX_TIME,
        "token" => abi::ARG_TYPE_PURE_TOKEN,
        "oneof" => abi::ARG_TYPE_ONEOF,
        "block" => abi::ARG_TYPE_BLOCK,
        _ => return None,
    };
    let mut arg = CommandArg {
        name,
        arg_type,
        key_spec_index: -1,
        token: None,
        summary: None,
        since: None,
        flags: 0,
        deprecated_since: None,
        subargs: Vec::new(),
        display_text: None,
    };
    for word in words {
        let value = || word.get(1..).map(str::to_string);
        match word.as_bytes().first()? {
            b'#' => arg.key_spec_index = word[1..].parse().ok()?,
            b':' => arg.display_text = value(),
            b'=' => arg.token = value(),
            b'@' => arg.since = value(),
            b'!' => arg.deprecated_since = value(),
            b'?' => arg.flags |= abi::CMD_ARG_OPTIONAL,
            b'*' => arg.flags |= abi::CMD_ARG_MULTIPLE,
            b'+' => arg.flags |= abi::CMD_ARG_MULTIPLE_TOKEN,
            _ => return None,
        }
    }
    Some(arg)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dispatch::table::{flags, Table};

    #[test]
    fn every_line_is_understood() {
        for text in FILES {
            let lines = text.lines().filter(|line| line.trim_start().starts_with("- ")).count();
            fn count(args: &[CommandArg]) -> usize {
                args.iter().map(|arg| 1 + count(&arg.subargs)).sum()
            }
            assert_eq!(read(text).iter().map(|(_, docs)| count(&docs.args)).sum::<usize>(), lines);
        }
    }

    #[test]
    fn every_command_is_described() {
        let table = Table::build(&[], 0, false, None);
        for c in table.all().iter().flat_map(|c| std::iter::once(c).chain(&c.subs)) {
            let ours = c.has(flags::MODULE)
                || c.full_name == "module|reload"
                || c.full_name == "module|locks";
            assert!(ours || of(&c.full_name).is_some(), "{}", c.full_name);
            assert!(!c.summary.is_empty(), "{} has no summary", c.full_name);
        }
    }

    #[test]
    fn arguments_nest() {
        let set = of("set").unwrap();
        assert_eq!(set.args[2].name, "condition");
        assert_eq!(set.args[2].flags, abi::CMD_ARG_OPTIONAL);
        let words: Vec<_> = set.args[2].subargs.iter().map(|a| a.token.as_deref()).collect();
        assert_eq!(words, [Some("NX"), Some("XX")]);
        assert_eq!(of("setnx").unwrap().deprecated, Some(("2.6.12", "`SET` with `NX`")));
    }
}
