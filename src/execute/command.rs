//! `COMMAND`: what the table knows of the commands.
use super::error::{err, SYNTAX};
use super::server::{any, write_help};
use super::{is, text, CommandResult, Tx};
use crate::dispatch::table::{
    flags, key, Begin, Body, Command, Find, KeyPositions, KeySpec, Row, Table,
};
use crate::module::abi;
use crate::module::command::CommandArg;
use crate::reply::Reply;
use std::sync::Arc;

/// Categories of the ACL, in the order in which `COMMAND INFO` lists them.
pub const CATEGORIES: &[&str] = &[
    "keyspace",
    "read",
    "write",
    "set",
    "sortedset",
    "list",
    "hash",
    "string",
    "bitmap",
    "hyperloglog",
    "geo",
    "stream",
    "pubsub",
    "admin",
    "fast",
    "slow",
    "blocking",
    "dangerous",
    "connection",
    "transaction",
    "scripting",
];

/// Finds a command by name, or a subcommand by `container|name`.
pub fn find<'t>(table: &'t Table, name: &[u8]) -> Option<&'t Arc<Command>> {
    let mut words = name.splitn(2, |&c| c == b'|');
    let c = table.find(words.next()?)?;
    match words.next() {
        None => Some(c),
        Some(sub) => c.subs.iter().find(|s| s.name.as_bytes().eq_ignore_ascii_case(sub)),
    }
}

/// Whether a command belongs to an ACL category: by its row, or because of its flags.
pub fn in_category(c: &Command, category: &str) -> bool {
    let named = |name: &str| c.acl.iter().any(|a| a == name);
    // A module's command has no categories but those that the module gave it.
    if c.has(flags::MODULE) {
        return named(category);
    }
    named(category)
        || match category {
            "read" => c.has(flags::READONLY) && !named("scripting"),
            "write" => c.has(flags::WRITE),
            "admin" | "dangerous" => c.has(flags::ADMIN),
            "pubsub" => c.has(flags::PUBSUB),
            "blocking" => c.has(flags::BLOCKING),
            "fast" => c.has(flags::FAST),
            "slow" => !c.has(flags::FAST) && !named("fast"),
            _ => false,
        }
}

/// All categories of a command: the known ones in order, then those of modules.
pub fn categories(c: &Command) -> Vec<&str> {
    let own = c.acl.iter().map(String::as_str).filter(|a| !CATEGORIES.contains(a));
    CATEGORIES.iter().copied().filter(|name| in_category(c, name)).chain(own).collect()
}

/// What a key specification tells as a plain range: first and last argument, step.
fn plain_range(spec: &KeySpec) -> Option<(i32, i32, i32)> {
    match (&spec.begin, spec.find) {
        (Begin::Index(at), Find::Range(to, step, _)) => {
            Some((*at, if to >= 0 { at + to } else { to }, step))
        }
        _ => None,
    }
}

/// First key, last key and step, as classic clients want them (zeros when they cannot be told so), and whether they do
/// not tell all keys.
fn classic_range(c: &Command) -> ((i32, i32, i32), bool) {
    let mut movable = c.has(flags::MODULE_GETKEYS);
    if let [spec] = &c.keys[..] {
        if let Some(range) = plain_range(spec) {
            return (range, movable || spec.flags & key::INCOMPLETE != 0);
        }
    }
    let mut joined: Option<(i32, i32)> = None;
    for spec in &c.keys {
        movable |= spec.flags & key::INCOMPLETE != 0;
        // Several specifications make one range only if each goes on where the one before ended.
        match (plain_range(spec), joined) {
            (Some((first, last, 1)), None) => joined = Some((first, last)),
            (Some((first, last, 1)), Some((start, end))) if end == first - 1 => {
                joined = Some((start, last));
            }
            _ => movable = true,
        }
    }
    (joined.map_or((0, 0, 0), |(first, last)| (first, last, 1)), movable)
}

fn write_flag_names(c: &Command, movable: bool, out: &mut Reply) {
    let mut names: Vec<&str> = flags::NAMES
        .iter()
        .filter(|(bit, _)| c.has(*bit) && *bit != flags::MAY_REPLICATE)
        .map(|(_, name)| *name)
        .collect();
    if movable {
        let at = names.iter().position(|n| *n == "allow_busy").unwrap_or(names.len());
        names.insert(at, "movablekeys");
    }
    out.set(names.len());
    names.iter().for_each(|n| out.simple(n));
}

fn write_key_spec(spec: &KeySpec, out: &mut Reply) {
    out.map(3 + usize::from(spec.notes.is_some()));
    if let Some(notes) = &spec.notes {
        out.bulk(b"notes");
        out.bulk_str(notes);
    }
    out.bulk(b"flags");
    write_spec_flags(spec.flags, out);
    let part = |out: &mut Reply, name: &str, kind: &str, fields: &[(&str, i32)]| {
        out.bulk_str(name);
        out.map(2);
        out.bulk(b"type");
        out.bulk_str(kind);
        out.bulk(b"spec");
        out.map(fields.len());
        for (name, n) in fields {
            out.bulk_str(name);
            out.int(i64::from(*n));
        }
    };
    match &spec.begin {
        Begin::Index(at) => part(out, "begin_search", "index", &[("index", *at)]),
        Begin::Keyword(word, from) => {
            out.bulk(b"begin_search");
            out.map(2);
            out.bulk(b"type");
            out.bulk(b"keyword");
            out.bulk(b"spec");
            out.map(2);
            out.bulk(b"keyword");
            out.bulk_str(word);
            out.bulk(b"startfrom");
            out.int(i64::from(*from));
        }
        Begin::Unknown => part(out, "begin_search", "unknown", &[]),
    }
    match spec.find {
        Find::Range(last, step, limit) => {
            let fields = [("lastkey", last), ("keystep", step), ("limit", limit)];
            part(out, "find_keys", "range", &fields);
        }
        Find::KeyNum(count, first, step) => {
            let fields = [("keynumidx", count), ("firstkey", first), ("keystep", step)];
            part(out, "find_keys", "keynum", &fields);
        }
        Find::Unknown => part(out, "find_keys", "unknown", &[]),
    }
}

fn write_spec_flags(bits: u64, out: &mut Reply) {
    let names: Vec<&str> =
        key::NAMES.iter().filter(|(bit, _)| bits & bit != 0).map(|(_, name)| *name).collect();
    out.set(names.len());
    names.iter().for_each(|n| out.simple(n));
}

/// The subcommands that Redis has too, and that are for clients.
fn listed(c: &Command) -> impl Iterator<Item = &Arc<Command>> {
    let ours = |s: &Command| c.name == "module" && s.name == super::module::OURS;
    c.subs.iter().filter(move |s| !ours(s) && !s.has(flags::INTERNAL))
}

/// All commands that are for clients.
fn shown(table: &Table) -> impl Iterator<Item = &Arc<Command>> {
    table.all().iter().filter(|c| !c.has(flags::INTERNAL))
}

/// A command by its name, if it is for clients.
fn shown_by_name<'t>(table: &'t Table, name: &[u8]) -> Option<&'t Arc<Command>> {
    find(table, name).filter(|c| !c.has(flags::INTERNAL))
}

fn write_info(c: &Command, out: &mut Reply) {
    let ((first, last, step), movable) = classic_range(c);
    out.array(10);
    out.bulk_str(&c.full_name);
    out.int(i64::from(c.arity));
    write_flag_names(c, movable, out);
    out.int(i64::from(first));
    out.int(i64::from(last));
    out.int(i64::from(step));
    let categories = categories(c);
    out.set(categories.len());
    categories.iter().for_each(|name| out.simple(format!("@{name}")));
    if let Body::Module(m) = &c.body {
        let info = m.info.lock();
        out.set(info.tips.len());
        info.tips.iter().for_each(|t| out.bulk_str(t));
    } else {
        let tips = super::command_tips::of(&c.full_name);
        out.set(tips.len());
        tips.iter().for_each(|t| out.bulk_str(t));
    }
    out.set(c.keys.len());
    c.keys.iter().for_each(|k| write_key_spec(k, out));
    // A set where there are none, a list where there are some: as on Redis.
    match listed(c).count() {
        0 => out.set(0),
        n => out.array(n),
    }
    listed(c).for_each(|s| write_info(s, out));
}

/// `COMMAND`
fn all(tx: &mut Tx<'_>, _: &[&[u8]], out: &mut Reply) -> CommandResult {
    let table = tx.server.table.load();
    out.array(shown(&table).count());
    shown(&table).for_each(|c| write_info(c, out));
    Ok(())
}

/// `COMMAND COUNT`
fn count(tx: &mut Tx<'_>, _: &[&[u8]], out: &mut Reply) -> CommandResult {
    out.int(tx.server.table.load().all().len() as i64);
    Ok(())
}

/// `COMMAND INFO [name ...]`
fn info(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    if args.len() == 2 {
        return all(tx, args, out);
    }
    let table = tx.server.table.load();
    out.array(args.len() - 2);
    for name in &args[2..] {
        match shown_by_name(&table, name) {
            Some(c) => write_info(c, out),
            None => out.null(),
        }
    }
    Ok(())
}

/// Types of arguments, by `abi::ARG_TYPE_*`.
const ARG_TYPES: [&str; 9] =
    ["string", "integer", "double", "key", "pattern", "unix-time", "pure-token", "oneof", "block"];

fn write_args(args: &[CommandArg], out: &mut Reply) {
    out.array(args.len());
    for a in args {
        let nested = [abi::ARG_TYPE_ONEOF, abi::ARG_TYPE_BLOCK].contains(&a.arg_type);
        let at = out.deferred();
        let mut n = 2;
        out.bulk(b"name");
        out.bulk_str(&a.name);
        out.bulk(b"type");
        out.bulk_str(ARG_TYPES.get(a.arg_type as usize).copied().unwrap_or("string"));
        if !nested {
            n += 1;
            out.bulk(b"display_text");
            out.bulk_str(a.display_text.as_ref().unwrap_or(&a.name));
        }
        if a.key_spec_index != -1 {
            n += 1;
            out.bulk(b"key_spec_index");
            out.int(i64::from(a.key_spec_index));
        }
        let texts = [
            ("token", &a.token),
            ("summary", &a.summary),
            ("since", &a.since),
            ("deprecated_since", &a.deprecated_since),
        ];
        for (name, value) in texts {
            if let Some(value) = value {
                n += 1;
                out.bulk_str(name);
                out.bulk_str(value);
            }
        }
        let bits = [
            (abi::CMD_ARG_OPTIONAL, "optional"),
            (abi::CMD_ARG_MULTIPLE, "multiple"),
            (abi::CMD_ARG_MULTIPLE_TOKEN, "multiple_token"),
        ];
        let set: Vec<&str> =
            bits.iter().filter(|(bit, _)| a.flags & bit != 0).map(|(_, name)| *name).collect();
        if !set.is_empty() {
            n += 1;
            out.bulk(b"flags");
            out.set(set.len());
            set.iter().for_each(|name| out.simple(name));
        }
        if nested {
            n += 1;
            out.bulk(b"arguments");
            write_args(&a.subargs, out);
        }
        out.fill_map(at, n);
    }
}

/// The field `history`, if there is any; returns the number of fields.
fn write_history<S: AsRef<str>>(history: &[(S, S)], out: &mut Reply) -> usize {
    if history.is_empty() {
        return 0;
    }
    out.bulk(b"history");
    out.set(history.len());
    for (since, change) in history {
        out.array(2);
        out.bulk_str(since.as_ref());
        out.bulk_str(change.as_ref());
    }
    1
}

/// What is told of one of our commands behind its group; returns the number of fields.
fn write_native_docs(docs: &super::command_docs::Docs, out: &mut Reply) -> usize {
    let mut n = 0;
    if let Some(complexity) = docs.complexity {
        n += 1;
        out.bulk(b"complexity");
        out.bulk_str(complexity);
    }
    let deprecated = docs.deprecated.map(|_| "deprecated");
    let flags: Vec<&str> = deprecated.into_iter().chain(docs.flags.iter().copied()).collect();
    if !flags.is_empty() {
        n += 1;
        out.bulk(b"doc_flags");
        out.set(flags.len());
        flags.iter().for_each(|name| out.simple(name));
    }
    if let Some((since, instead)) = docs.deprecated {
        n += 2;
        out.bulk(b"deprecated_since");
        out.bulk_str(since);
        out.bulk(b"replaced_by");
        out.bulk_str(instead);
    }
    n += write_history(&docs.history, out);
    if !docs.args.is_empty() {
        n += 1;
        out.bulk(b"arguments");
        write_args(&docs.args, out);
    }
    n
}

fn write_docs(c: &Command, out: &mut Reply) {
    let at = out.deferred();
    let mut n = 0;
    let mut put = |out: &mut Reply, name: &str, value: &str| {
        n += 1;
        out.bulk_str(name);
        out.bulk_str(value);
    };
    for (name, value) in [("summary", &c.summary), ("since", &c.since)] {
        if !value.is_empty() {
            put(out, name, value);
        }
    }
    put(out, "group", c.group);
    if let Body::Module(m) = &c.body {
        let info = m.info.lock();
        if let Some(complexity) = &info.complexity {
            put(out, "complexity", complexity);
        }
        put(out, "module", m.module.name());
        n += write_history(&info.history, out);
        if !info.args.is_empty() {
            n += 1;
            out.bulk(b"arguments");
            write_args(&info.args, out);
        }
    } else if let Some(docs) = super::command_docs::of(&c.full_name) {
        n += write_native_docs(docs, out);
    }
    if !c.subs.is_empty() {
        n += 1;
        out.bulk(b"subcommands");
        out.map(listed(c).count());
        for s in listed(c) {
            out.bulk_str(&s.full_name);
            write_docs(s, out);
        }
    }
    out.fill_map(at, n);
}

/// `COMMAND DOCS [name ...]`
fn docs(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let table = tx.server.table.load();
    let commands: Vec<&Arc<Command>> = if args.len() == 2 {
        shown(&table).collect()
    } else {
        args[2..].iter().filter_map(|name| shown_by_name(&table, name)).collect()
    };
    out.map(commands.len());
    for c in commands {
        out.bulk_str(&c.full_name);
        write_docs(c, out);
    }
    Ok(())
}

/// `COMMAND LIST [FILTERBY MODULE name | ACLCAT category | PATTERN pattern]`
fn list(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    enum By<'a> {
        Nothing,
        Module(&'a [u8]),
        Category(String),
        Pattern(&'a [u8]),
    }
    let by = match args[2..] {
        [] => By::Nothing,
        [word, kind, value] if is(word, "filterby") => {
            if is(kind, "module") {
                By::Module(value)
            } else if is(kind, "aclcat") {
                By::Category(text(value).to_ascii_lowercase())
            } else if is(kind, "pattern") {
                By::Pattern(value)
            } else {
                return Err(SYNTAX);
            }
        }
        _ => return Err(SYNTAX),
    };
    let matches = |c: &Command| match &by {
        By::Nothing => true,
        By::Module(name) => match &c.body {
            Body::Module(m) => m.module.name().as_bytes() == *name,
            _ => false,
        },
        By::Category(name) => in_category(c, name),
        By::Pattern(p) => crate::config::glob_match(p, c.full_name.as_bytes(), true),
    };
    let table = tx.server.table.load();
    let mut names = Vec::new();
    for c in shown(&table) {
        if matches(c) {
            names.push(c.full_name.as_str());
        }
        names.extend(listed(c).filter(|s| matches(s)).map(|s| s.full_name.as_str()));
    }
    out.array(names.len());
    names.iter().for_each(|n| out.bulk_str(n));
    Ok(())
}

/// Whether `COMMAND GETKEYS` has to ask a module, and so needs the module lock.
pub fn asks_modules(server: &crate::server::Server, args: &[&[u8]]) -> bool {
    args.len() > 2
        && server.table.load().resolve(&args[2..]).is_some_and(|c| c.has(flags::MODULE_GETKEYS))
}

/// The keys of a command line, for `GETKEYS` and `GETKEYSANDFLAGS`.
fn keys_of(table: &Table, args: &[&[u8]]) -> Result<KeyPositions, super::CommandError> {
    let c = table.resolve(args).filter(|c| !c.has(flags::INTERNAL));
    let c = c.ok_or(err("ERR Invalid command specified"))?;
    let has_keys = c.keys.iter().any(|k| k.flags & key::NOT_KEY == 0);
    if !has_keys && !c.has(flags::MODULE_GETKEYS) {
        return Err(err("ERR The command has no key arguments"));
    }
    if !c.arity_ok(args.len()) {
        return Err(err("ERR Invalid number of arguments specified for command"));
    }
    match crate::execute::command_keys::positions(c, args) {
        Some(found) if !found.is_empty() => Ok(found),
        Some(_) if c.has(flags::NO_MANDATORY_KEYS) => Ok(KeyPositions::new()),
        _ => Err(err("ERR Invalid arguments specified for command")),
    }
}

/// `COMMAND GETKEYS command [arg ...]`
fn getkeys(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let found = keys_of(&tx.server.table.load(), &args[2..])?;
    out.array(found.len());
    found.iter().for_each(|(i, _)| out.bulk(args[i + 2]));
    Ok(())
}

/// `COMMAND GETKEYSANDFLAGS command [arg ...]`
fn getkeysandflags(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let found = keys_of(&tx.server.table.load(), &args[2..])?;
    out.array(found.len());
    for (i, bits) in found {
        out.array(2);
        out.bulk(args[i + 2]);
        write_spec_flags(bits, out);
    }
    Ok(())
}

/// `COMMAND HELP`
fn help(_: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    write_help(
        out,
        args,
        &[
            "(no subcommand)",
            "    Tell about all commands.",
            "COUNT",
            "    Count the commands.",
            "LIST [FILTERBY (MODULE <name>|ACLCAT <category>|PATTERN <pattern>)]",
            "    List names of commands.",
            "INFO [<command> ...]",
            "    Tell about some commands, or all.",
            "DOCS [<command> ...]",
            "    Describe some commands, or all.",
            "GETKEYS <command> [<arg> ...]",
            "    Show the keys of a command line.",
            "GETKEYSANDFLAGS <command> [<arg> ...]",
            "    Show the keys of a command line, and what happens to them.",
        ],
    );
    Ok(())
}

const fn sub(row: Row, since: &'static str) -> Row {
    Row { acl: &["connection"], since, ..row }
}

const fn asking(row: Row) -> Row {
    Row { flags: row.flags | flags::ARGS_DECIDE, ..row }
}

/// The family's commands.
pub static ROWS: &[Row] = &[Row {
    subs: &[
        sub(any("count", 2, "Counts the commands.", count), "2.8.13"),
        sub(any("docs", -2, "Describes commands.", docs), "7.0.0"),
        asking(sub(any("getkeys", -3, "Shows the keys of a command line.", getkeys), "2.8.13")),
        asking(sub(
            any("getkeysandflags", -3, "Shows keys and what happens to them.", getkeysandflags),
            "7.0.0",
        )),
        sub(any("help", 2, "Tells about the subcommands.", help), "5.0.0"),
        sub(any("info", -2, "Tells about commands.", info), "2.8.13"),
        sub(any("list", -2, "Lists names of commands.", list), "7.0.0"),
    ],
    ..sub(any("command", -1, "Tells about all commands.", all), "2.8.13")
}];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_category_of_a_row_is_known() {
        let table = Table::build(&[], 0, false, None);
        for c in table.all().iter().flat_map(|c| std::iter::once(c).chain(&c.subs)) {
            for a in &c.acl {
                assert!(CATEGORIES.contains(&a.as_str()), "{} has {a}", c.full_name);
            }
        }
    }

    #[test]
    fn categories_follow_from_flags() {
        let table = Table::build(&[], 0, false, None);
        let of = |name: &[u8]| categories(find(&table, name).unwrap());
        assert_eq!(of(b"get"), ["read", "string", "fast"]);
        assert_eq!(of(b"config|set"), ["admin", "slow", "dangerous"]);
        assert_eq!(of(b"command"), ["slow", "connection"]);
    }

    #[test]
    fn classic_ranges() {
        let table = Table::build(&[], 0, false, None);
        let of = |name: &[u8]| classic_range(find(&table, name).unwrap()).0;
        assert_eq!(of(b"get"), (1, 1, 1));
        assert_eq!(of(b"mset"), (1, -1, 2));
        assert_eq!(of(b"ping"), (0, 0, 0));
    }
}
