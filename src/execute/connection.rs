//! Commands about the connection itself.
use super::error::{arity, err, DB_RANGE, SYNTAX};
use super::{is, text, CommandError, CommandResult, Tx};
use crate::acl::log::{self as acl_log, Place, Reason};
use crate::acl::DEFAULT_NAME;
use crate::connection::client::{flag, ReplyMode, Session};
use crate::dispatch::table::{flags, PathRule, Row};
use crate::module::auth;
use crate::reply::Reply;
use crate::server::Server;
use std::borrow::Cow;

/// `PING [message]`
fn ping(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    if args.len() > 2 {
        return Err(arity("ping"));
    }
    if tx.session.shared.has(flag::PUBSUB) && !out.resp3 {
        out.array(2);
        out.bulk(b"pong");
        out.bulk(args.get(1).copied().unwrap_or(b""));
    } else if let Some(m) = args.get(1) {
        out.bulk(m);
    } else {
        out.simple("PONG");
    }
    Ok(())
}

/// `ECHO message`
fn echo(_: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    out.bulk(args[1]);
    Ok(())
}

/// A database number.
pub fn db_number(server: &Server, arg: &[u8]) -> Result<usize, CommandError> {
    let n = crate::keyspace::number::parse_i64(arg).ok_or(err("ERR invalid DB index"))?;
    usize::try_from(n).ok().filter(|n| *n < server.keyspace.dbs().len()).ok_or(DB_RANGE)
}

/// `SELECT index`
fn select(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let n = super::int_between(args[1], i32::MIN.into(), i32::MAX.into())?;
    if n != 0 && tx.server.cluster.enabled() {
        return Err(super::error::err("ERR SELECT is not allowed in cluster mode"));
    }
    let db = usize::try_from(n).ok().filter(|n| *n < tx.server.keyspace.dbs().len());
    tx.session.select(db.ok_or(DB_RANGE)?);
    out.ok();
    Ok(())
}

/// `QUIT`
fn quit(tx: &mut Tx<'_>, _: &[&[u8]], out: &mut Reply) -> CommandResult {
    tx.session.close = true;
    out.ok();
    Ok(())
}

/// Makes the client a user, if a module or the password says so. False if a module has to think about it: the command
/// runs again later. `args` is the whole command.
fn authenticate(
    tx: &mut Tx<'_>,
    name: &[u8],
    password: &[u8],
    args: &[&[u8]],
    out: &mut Reply,
) -> Result<bool, CommandError> {
    let (server, start) = (tx.server, out.buf.len());
    match auth::attempt(tx, name, password, args, out) {
        auth::Outcome::NotHandled => {}
        auth::Outcome::Authenticated => return Ok(true),
        auth::Outcome::Blocked => return Ok(false),
        // It was told why not, by the refusal to block it.
        auth::Outcome::Denied(_) if out.buf.len() > start => return Ok(false),
        auth::Outcome::Denied(Some(text)) => {
            let own_code = text.strip_prefix('-').map(str::to_owned);
            return Err(err(own_code.unwrap_or_else(|| format!("ERR {text}"))));
        }
        auth::Outcome::Denied(None) => return Err(WRONG_PASSWORD),
    }
    let user = server.acl.find(name);
    let user = user.filter(|u| {
        let rules = u.rules();
        rules.enabled && rules.accept(password)
    });
    let Some(user) = user else {
        let place = if tx.session.in_transaction() { Place::Multi } else { Place::TopLevel };
        acl_log::add(server, Reason::Auth, place, args[0], name, &tx.session.shared);
        return Err(WRONG_PASSWORD);
    };
    tx.session.set_user(user);
    tx.session.authenticated = true;
    auth::user_changed(server, &tx.session.shared);
    Ok(true)
}

const WRONG_PASSWORD: CommandError =
    CommandError(Cow::Borrowed("WRONGPASS invalid username-password pair or user is disabled."));

/// `AUTH [user] password`
fn auth_command(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    if args.len() > 3 {
        return Err(SYNTAX);
    }
    if args.len() == 2 && tx.server.acl.default_user().rules().nopass {
        return Err(err(
            "ERR AUTH <password> called without any password configured for the default user. \
             Are you sure your configuration is correct?",
        ));
    }
    let (user, password) =
        if args.len() == 3 { (args[1], args[2]) } else { (DEFAULT_NAME, args[1]) };
    if authenticate(tx, user, password, args, out)? {
        out.ok();
    }
    Ok(())
}

/// Checks a name for `SETNAME` and `SETINFO`: printable, without blanks.
pub fn valid_client_text(text: &[u8]) -> bool {
    // As on Redis, which stops at a zero.
    text.iter().take_while(|c| **c != 0).all(|c| (b'!'..=b'~').contains(c))
}

/// `HELLO [version [AUTH user password] [SETNAME name]]`
fn hello(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let mut version = None;
    if let Some(v) = args.get(1) {
        let n = crate::keyspace::number::parse_i64(v)
            .ok_or(err("ERR Protocol version is not an integer or out of range"))?;
        if !(2..=3).contains(&n) {
            return Err(err("NOPROTO unsupported protocol version"));
        }
        version = Some(n);
    }
    let (mut login, mut name) = (None, None);
    let mut i = 2;
    while i < args.len() {
        if is(args[i], "auth") && i + 2 < args.len() {
            login = Some((args[i + 1], args[i + 2]));
            i += 3;
        } else if is(args[i], "setname") && i + 1 < args.len() {
            if !valid_client_text(args[i + 1]) {
                return Err(err(
                    "ERR Client names cannot contain spaces, newlines or special characters.",
                ));
            }
            name = Some(args[i + 1]);
            i += 2;
        } else {
            return Err(err(format!("ERR Syntax error in HELLO option '{}'", text(args[i]))));
        }
    }
    if let Some((user, password)) = login {
        if !authenticate(tx, user, password, args, out)? {
            return Ok(());
        }
    }
    if !tx.session.authenticated {
        return Err(err(
            "NOAUTH HELLO must be called with the client already authenticated, otherwise the \
             HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client and \
             select the RESP protocol version at the same time",
        ));
    }
    if let Some(n) = name {
        *tx.session.shared.name.lock() = crate::reply::bytes::as_text(n).into();
    }
    if let Some(v) = version {
        set_protocol(tx.session, out, v == 3);
    }
    out.map(7);
    out.bulk(b"server");
    out.bulk_str(tx.persona.server_name());
    out.bulk(b"version");
    out.bulk_str(&tx.persona.version_text());
    out.bulk(b"proto");
    out.int(if out.resp3 { 3 } else { 2 });
    out.bulk(b"id");
    out.int(tx.session.shared.id as i64);
    out.bulk(b"mode");
    out.bulk(b"standalone");
    out.bulk(b"role");
    out.bulk(b"master");
    out.bulk(b"modules");
    super::module::write_list(tx.server, false, out);
    Ok(())
}

fn set_protocol(session: &mut Session, out: &mut Reply, resp3: bool) {
    out.resp3 = resp3;
    session.shared.put(flag::RESP3, resp3);
}

/// `RESET`
fn reset(tx: &mut Tx<'_>, _: &[&[u8]], out: &mut Reply) -> CommandResult {
    super::transaction::discard_state(tx.server, tx.session);
    super::pubsub::unsubscribe_all(tx.server, tx.session);
    tx.session.select(0);
    tx.session.reply_mode = ReplyMode::On;
    tx.session.set_default_user(tx.server);
    auth::user_changed(tx.server, &tx.session.shared);
    set_protocol(tx.session, out, false);
    tx.server.monitors.remove(&tx.session.shared);
    tx.server.tracking.disable(&tx.session.shared);
    for f in [flag::NO_TOUCH, flag::NO_EVICT] {
        tx.session.shared.put(f, false);
    }
    *tx.session.shared.name.lock() = Default::default();
    out.simple("RESET");
    Ok(())
}

const ALWAYS: u64 = flags::LOADING | flags::STALE | flags::FAST;
/// Who the client is; modules may have a say.
const LOGIN: u64 =
    ALWAYS | flags::NOSCRIPT | flags::NO_AUTH | flags::ALLOW_BUSY | flags::ARGS_DECIDE;

/// The family's commands.
pub static ROWS: &[Row] = &[
    Row {
        path: PathRule::Connection,
        acl: &["connection"],
        group: "connection",
        summary: "Answers, to show that the server is there.",
        ..Row::new("ping", -1, flags::FAST, ping)
    },
    Row {
        path: PathRule::Connection,
        acl: &["connection"],
        group: "connection",
        summary: "Returns the given text.",
        ..Row::new("echo", 2, ALWAYS, echo)
    },
    Row {
        path: PathRule::Connection,
        acl: &["connection"],
        group: "connection",
        summary: "Selects the database of the connection.",
        ..Row::new("select", 2, ALWAYS, select)
    },
    Row {
        path: PathRule::Connection,
        acl: &["connection"],
        group: "connection",
        summary: "Closes the connection.",
        ..Row::new("quit", -1, ALWAYS | flags::ALLOW_BUSY | flags::NOSCRIPT | flags::NO_AUTH, quit)
    },
    Row {
        path: PathRule::Connection,
        acl: &["connection"],
        group: "connection",
        summary: "Authenticates the connection.",
        ..Row::new("auth", -2, LOGIN, auth_command)
    },
    Row {
        path: PathRule::Connection,
        acl: &["connection"],
        group: "connection",
        since: "6.0.0",
        summary: "Greets the server: protocol version, authentication, name.",
        ..Row::new("hello", -1, LOGIN, hello)
    },
    Row {
        path: PathRule::Connection,
        acl: &["connection"],
        group: "connection",
        since: "6.2.0",
        summary: "Puts the connection back into its first state.",
        ..Row::new("reset", 1, LOGIN, reset)
    },
];
