//! `ACL`: the categories of commands, and the one user that this version has.
use super::command::{in_category, CATEGORIES};
use super::connection::default_user_is_open;
use super::error::err;
use super::server::{admin_noscript, row, write_help};
use super::{text, CommandResult, Tx};
use crate::dispatch::table::{flags, Row};
use crate::reply::Reply;
use crate::server::Server;
use sha2::{Digest as _, Sha256};

/// SHA-256 of the password, as hex digits; `None` when there is no password.
fn password_hash(server: &Server) -> Option<String> {
    if default_user_is_open(server) {
        return None;
    }
    let password = server.config.requirepass()?;
    Some(Sha256::digest(&password[..]).iter().map(|b| format!("{b:02x}")).collect())
}

/// The `default` user's rules, as `ACL LIST` and the configuration file write them.
pub fn default_user(server: &Server) -> String {
    let password = match password_hash(server) {
        Some(hash) => format!("sanitize-payload #{hash}"),
        None => "nopass sanitize-payload".to_string(),
    };
    format!("default on {password} ~* &* +@all")
}

/// `ACL WHOAMI`
fn whoami(tx: &mut Tx<'_>, _: &[&[u8]], out: &mut Reply) -> CommandResult {
    match &tx.session.user {
        Some(name) => out.bulk_str(name),
        None => out.null(),
    }
    Ok(())
}

/// `ACL LIST`
fn list(tx: &mut Tx<'_>, _: &[&[u8]], out: &mut Reply) -> CommandResult {
    out.array(1);
    out.bulk_str(&format!("user {}", default_user(tx.server)));
    Ok(())
}

/// `ACL USERS`
fn users(_: &mut Tx<'_>, _: &[&[u8]], out: &mut Reply) -> CommandResult {
    out.array(1);
    out.bulk(b"default");
    Ok(())
}

/// `ACL GETUSER name`
fn getuser(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    if args[2] != b"default" {
        out.null();
        return Ok(());
    }
    let hash = password_hash(tx.server);
    let flags: &[&str] = match hash {
        Some(_) => &["on", "sanitize-payload"],
        None => &["on", "nopass", "sanitize-payload"],
    };
    out.map(6);
    out.bulk(b"flags");
    out.set(flags.len());
    flags.iter().for_each(|f| out.bulk_str(f));
    out.bulk(b"passwords");
    out.array(usize::from(hash.is_some()));
    hash.iter().for_each(|h| out.bulk_str(h));
    for (name, rule) in [("commands", "+@all"), ("keys", "~*"), ("channels", "&*")] {
        out.bulk_str(name);
        out.bulk_str(rule);
    }
    out.bulk(b"selectors");
    out.array(0);
    Ok(())
}

/// `ACL CAT [category]`
fn cat(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let added = crate::module::api::command::added_categories();
    let known = CATEGORIES.iter().copied().chain(added.iter().map(String::as_str));
    let Some(wanted) = args.get(2) else {
        let all: Vec<&str> = known.collect();
        out.array(all.len());
        all.iter().for_each(|c| out.bulk_str(c));
        return Ok(());
    };
    if args.len() > 3 {
        return Err(super::server::subcommand_syntax(args));
    }
    let Some(name) = known.into_iter().find(|c| c.as_bytes().eq_ignore_ascii_case(wanted)) else {
        return Err(err(format!("ERR Unknown category '{}'", text(wanted))));
    };
    let mut names = Vec::new();
    for c in tx.server.table.load().all() {
        // A container's subcommands stand for it.
        if c.subs.is_empty() || c.name == "command" {
            names.extend(in_category(c, name).then(|| c.full_name.to_ascii_lowercase()));
        }
        let subs = c.subs.iter().filter(|s| in_category(s, name));
        names.extend(subs.map(|s| s.full_name.to_ascii_lowercase()));
    }
    out.array(names.len());
    names.iter().for_each(|n| out.bulk_str(n));
    Ok(())
}

/// `ACL GENPASS [bits]`
fn genpass(_: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let bits = match args.get(2) {
        Some(n) => super::int(n)?,
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

/// `ACL HELP`
fn help(_: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    write_help(
        out,
        args,
        &[
            "CAT [<category>]",
            "    List the categories, or the commands of one.",
            "GETUSER <username>",
            "    Tell about a user.",
            "GENPASS [<bits>]",
            "    Make a password of random hex digits (256 bits by default).",
            "LIST",
            "    List the users with their rules.",
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

/// The family's commands.
pub static ROWS: &[Row] = &[Row {
    since: "6.0.0",
    summary: "Users and what they may do.",
    ..Row::container(
        "acl",
        &[
            own("cat", -2, "Lists categories.", cat),
            own("genpass", -2, "Makes a password.", genpass),
            for_admins(admin_noscript("getuser", 3, "Tells about a user.", getuser)),
            Row {
                since: "6.0.0",
                ..super::server::any("help", 2, "Tells about the subcommands.", help)
            },
            for_admins(admin_noscript("list", 2, "Lists users with their rules.", list)),
            for_admins(admin_noscript("users", 2, "Lists users.", users)),
            own("whoami", 2, "Shows the connection's user.", whoami),
        ],
    )
}];
