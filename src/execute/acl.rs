//! `ACL`: users, what they may do, and what was refused to them.
use super::command::{in_category, CATEGORIES};
use super::error::{arity, err};
use super::server::{admin_noscript, row, subcommand_syntax, write_help};
use super::{int, is, text, CommandResult, Tx};
use crate::acl::rules::{category, has_blanks, Selector};
use crate::acl::{check, file, Acl};
use crate::dispatch::table::{flags, PathRule, Row};
use crate::reply::Reply;

/// `ACL WHOAMI`
fn whoami(tx: &mut Tx<'_>, _: &[&[u8]], out: &mut Reply) -> CommandResult {
    match &tx.session.user {
        Some(user) => out.bulk(user.name()),
        None => out.null(),
    }
    Ok(())
}

/// `ACL LIST`
fn list(tx: &mut Tx<'_>, _: &[&[u8]], out: &mut Reply) -> CommandResult {
    let lines = tx.server.acl.lines();
    out.array(lines.len());
    lines.iter().for_each(|l| out.bulk(&[b"user ", &l[..]].concat()));
    Ok(())
}

/// `ACL USERS`
fn users(tx: &mut Tx<'_>, _: &[&[u8]], out: &mut Reply) -> CommandResult {
    let users = tx.server.acl.all();
    out.array(users.len());
    users.iter().for_each(|u| out.bulk(u.name()));
    Ok(())
}

fn write_selector(s: &Selector, out: &mut Reply) {
    out.bulk(b"commands");
    out.bulk(&s.describe_commands());
    out.bulk(b"keys");
    out.bulk(&s.describe_keys());
    out.bulk(b"channels");
    out.bulk(&s.describe_channels());
}

/// `ACL GETUSER name`
fn getuser(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let Some(user) = tx.server.acl.find(args[2]) else {
        out.null();
        return Ok(());
    };
    let rules = user.rules();
    out.map(6);
    out.bulk(b"flags");
    let words = rules.flag_words();
    out.set(words.len());
    words.iter().for_each(|f| out.bulk_str(f));
    out.bulk(b"passwords");
    out.array(rules.passwords.len());
    rules.passwords.iter().for_each(|hash| out.bulk(hash));
    write_selector(rules.root(), out);
    out.bulk(b"selectors");
    out.array(rules.selectors.len() - 1);
    for s in &rules.selectors[1..] {
        out.map(3);
        write_selector(s, out);
    }
    Ok(())
}

/// `ACL SETUSER name [rule ...]`
fn setuser(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    if has_blanks(args[2]) {
        return Err(err("ERR Usernames can't contain spaces or null characters"));
    }
    Acl::set_user(tx.server, args[2], &args[3..], Some(tx.session))
        .map_err(|e| err(format!("ERR {}", e.replace(['\r', '\n'], " "))))?;
    out.ok();
    Ok(())
}

/// `ACL DELUSER name ...`
fn deluser(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    if args[2..].contains(&crate::acl::DEFAULT_NAME) {
        return Err(err("ERR The 'default' user cannot be removed"));
    }
    let mut deleted = 0;
    for name in &args[2..] {
        deleted += i64::from(Acl::delete_user(tx.server, name, Some(tx.session)));
    }
    out.int(deleted);
    Ok(())
}

/// `ACL CAT [category]`
fn cat(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let Some(wanted) = args.get(2) else {
        let added = crate::module::api::command::added_categories();
        let all: Vec<&str> =
            CATEGORIES.iter().copied().chain(added.iter().map(String::as_str)).collect();
        out.array(all.len());
        all.iter().for_each(|c| out.bulk_str(c));
        return Ok(());
    };
    if args.len() > 3 {
        return Err(subcommand_syntax(args));
    }
    let Some(name) = category(wanted) else {
        let wanted = &wanted[..wanted.len().min(128)];
        return Err(err(format!("ERR Unknown category '{}'", text(wanted))));
    };
    let mut names = Vec::new();
    let table = tx.server.table.load();
    // Commands of modules are not listed.
    for c in table.originals().filter(|c| !c.has(flags::MODULE)) {
        names.extend(in_category(c, &name).then(|| c.full_name.clone()));
        let subs = c.subs.iter().filter(|s| in_category(s, &name));
        names.extend(subs.map(|s| s.full_name.clone()));
    }
    out.array(names.len());
    names.iter().for_each(|n| out.bulk_str(n));
    Ok(())
}

/// `ACL GENPASS [bits]`
fn genpass(_: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    if args.len() > 3 {
        return Err(subcommand_syntax(args));
    }
    let bits = match args.get(2) {
        Some(n) => int(n)?,
        None => 256,
    };
    if !(1..=4096).contains(&bits) {
        return Err(err(
            "ERR ACL GENPASS argument must be the number of bits for the output password, a positive number up to 4096",
        ));
    }
    out.bulk_str(&crate::observe::random::hex((bits as usize).div_ceil(4)));
    Ok(())
}

/// Entries of the log that are shown if nobody says how many.
const SHOWN: i64 = 10;

/// `ACL LOG [count | RESET]`
fn log(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    if args.len() > 3 {
        return Err(subcommand_syntax(args));
    }
    let mut count = SHOWN;
    if let Some(word) = args.get(2) {
        if is(word, "reset") {
            tx.server.acl.log.lock().clear();
            out.ok();
            return Ok(());
        }
        count = int(word)?;
    }
    let log = tx.server.acl.log.lock();
    let entries = log.entries();
    let count = entries.len().min(usize::try_from(count).unwrap_or(0));
    out.array(count);
    for e in entries.take(count) {
        out.map(10);
        let number = |out: &mut Reply, name: &str, n: i64| {
            out.bulk_str(name);
            out.int(n);
        };
        let field = |out: &mut Reply, name: &str, value: &[u8]| {
            out.bulk_str(name);
            out.bulk(value);
        };
        number(out, "count", e.count);
        field(out, "reason", e.reason.word().as_bytes());
        field(out, "context", e.place.word().as_bytes());
        field(out, "object", &e.object);
        field(out, "username", &e.user);
        out.bulk(b"age-seconds");
        out.double((tx.now - e.updated).max(0) as f64 / 1000.0);
        field(out, "client-info", e.client.as_bytes());
        number(out, "entry-id", e.id);
        number(out, "timestamp-created", e.created);
        number(out, "timestamp-last-updated", e.updated);
    }
    Ok(())
}

/// `ACL DRYRUN user command [arg ...]`
fn dryrun(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let Some(user) = tx.server.acl.find(args[2]) else {
        return Err(err(format!("ERR User '{}' not found", text(args[2]))));
    };
    let words = &args[3..];
    let table = tx.server.table.load();
    let Some(command) = table.resolve(words) else {
        return Err(err(format!("ERR Command '{}' not found", text(words[0]))));
    };
    if !command.arity_ok(words.len()) {
        return Err(arity(&command.full_name));
    }
    match check::command(&user.rules(), command, words) {
        Ok(()) => out.ok(),
        Err(denied) => out.bulk_str(&denied.text(&user, command, words, true)),
    }
    Ok(())
}

const NO_FILE: &str =
    "ERR This Redis instance is not configured to use an ACL file. You may want to specify users via the ACL SETUSER \
     command and then issue a CONFIG REWRITE (assuming you have a Redis configuration file set) in order to store users in \
     the Redis configuration.";

/// `ACL LOAD`
fn load(tx: &mut Tx<'_>, _: &[&[u8]], out: &mut Reply) -> CommandResult {
    if file::path(tx.server).is_none() {
        return Err(err(NO_FILE));
    }
    file::load(tx.server, Some(tx.session)).map_err(|e| err(format!("ERR {e}")))?;
    out.ok();
    Ok(())
}

/// `ACL SAVE`
fn save(tx: &mut Tx<'_>, _: &[&[u8]], out: &mut Reply) -> CommandResult {
    if file::path(tx.server).is_none() {
        return Err(err(NO_FILE));
    }
    file::save(tx.server).map_err(|e| {
        crate::log_warning!("ACL SAVE failed: {}", crate::config::os_error_text(&e));
        err("ERR There was an error trying to save the ACLs. Please check the server logs for more information")
    })?;
    out.ok();
    Ok(())
}

/// `ACL HELP`
fn help(_: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    write_help(
        out,
        args,
        &[
            "CAT [<category>]",
            "    List the categories, or the commands of one.",
            "DELUSER <username> [<username> ...]",
            "    Delete users, and end their connections.",
            "DRYRUN <username> <command> [<arg> ...]",
            "    Tell whether a user may run a command, without running it.",
            "GETUSER <username>",
            "    Tell about a user.",
            "GENPASS [<bits>]",
            "    Make a password of random hex digits (256 bits by default).",
            "LIST",
            "    List the users with their rules.",
            "LOAD",
            "    Read all users from the ACL file.",
            "LOG [<count> | RESET]",
            "    Show what was refused lately, or forget it.",
            "SAVE",
            "    Write all users to the ACL file.",
            "SETUSER <username> <attribute> [<attribute> ...]",
            "    Change a user, or make one.",
            "USERS",
            "    List the names of the users.",
            "WHOAMI",
            "    Show the user of this connection.",
        ],
    );
    Ok(())
}

const fn own(
    name: &'static str,
    arity: i32,
    summary: &'static str,
    run: crate::dispatch::table::Handler,
) -> Row {
    let bits = flags::NOSCRIPT | flags::LOADING | flags::STALE;
    Row { since: "6.0.0", ..row(name, arity, bits, summary, run) }
}

const fn for_admins(row: Row) -> Row {
    Row { since: "6.0.0", ..row }
}

/// Changes of rights, and questions to modules, happen under the module lock; see `acl`.
const fn alone(row: Row) -> Row {
    Row { since: "6.0.0", path: PathRule::ServerWide, ..row }
}

/// The family's commands.
pub static ROWS: &[Row] = &[Row {
    since: "6.0.0",
    summary: "Users and what they may do.",
    ..Row::container(
        "acl",
        &[
            own("cat", -2, "Lists categories.", cat),
            alone(admin_noscript("deluser", -3, "Deletes users.", deluser)),
            Row {
                since: "7.0.0",
                ..alone(admin_noscript("dryrun", -4, "Tells what a user may run.", dryrun))
            },
            own("genpass", -2, "Makes a password.", genpass),
            for_admins(admin_noscript("getuser", 3, "Tells about a user.", getuser)),
            Row {
                since: "6.0.0",
                ..super::server::any("help", 2, "Tells about the subcommands.", help)
            },
            for_admins(admin_noscript("list", 2, "Lists users with their rules.", list)),
            alone(admin_noscript("load", 2, "Reads users from a file.", load)),
            for_admins(admin_noscript("log", -2, "Shows what was refused.", log)),
            alone(admin_noscript("save", 2, "Writes users to a file.", save)),
            alone(admin_noscript("setuser", -3, "Changes or makes a user.", setuser)),
            for_admins(admin_noscript("users", 2, "Lists users.", users)),
            own("whoami", 2, "Shows the connection's user.", whoami),
        ],
    )
}];
