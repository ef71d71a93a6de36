//! `CLIENT`: clients look at themselves and at each other.
use super::error::{err, SYNTAX};
use super::pause::Mode;
use super::server::write_help;
use super::tracking::{caching, getredir, tracking, trackinginfo};
use super::{int, is, text, CommandError, CommandResult, Tx};
use crate::connection::client::{flag, ClientShared, ReplyMode, Session};
use crate::dispatch::table::{flags, name_of, Handler, PathRule, Row};
use crate::observe::clock::now_ms;
use crate::reply::Reply;
use crate::server::Server;
use std::fmt::Write as _;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::Arc;

/// A client's letters in `CLIENT LIST`, and the bits they stand for.
const LETTERS: &[(u32, char)] = &[
    (flag::REPLICA, 'S'),
    (flag::MONITOR, 'O'),
    (flag::PUBSUB, 'P'),
    (flag::MULTI, 'x'),
    (flag::BLOCKED, 'b'),
    (flag::TRACKING, 't'),
    (flag::TRACK_BROKEN, 'R'),
    (flag::TRACK_BCAST, 'B'),
    (flag::DIRTY_CAS, 'd'),
    (flag::KILLED, 'A'),
    (flag::UNIX, 'U'),
    (flag::NO_EVICT, 'e'),
    (flag::NO_TOUCH, 'T'),
];

/// A client's line of `CLIENT LIST`, without the line break. `me` is who asks, with the lengths of its input and of its
/// command's arguments, which are not published while it runs.
fn describe(c: &ClientShared, now: i64, me: &Asking) -> String {
    let f = &c.footprint;
    let get = |n: &std::sync::atomic::AtomicUsize| n.load(Relaxed);
    let (qbuf, argv) =
        if c.id == me.id { (me.input, me.args) } else { (get(&f.input), get(&f.arguments)) };
    let free = get(&f.input_size).saturating_sub(get(&f.input));
    let mut letters: String =
        LETTERS.iter().filter(|(bit, _)| c.has(*bit)).map(|(_, letter)| *letter).collect();
    if letters.is_empty() {
        letters.push('N');
    }
    let lib = c.lib.lock().as_deref().cloned().unwrap_or_default();
    let mail = c.mailbox.lock().len();
    let omem = get(&f.output) + mail;
    let oll = get(&f.output_buffers) + usize::from(mail > 0);
    let total = f.total() + mail + if c.id == me.id { argv } else { 0 };
    let mut s = String::new();
    let _ = write!(
        s,
        "id={} addr={} laddr={} fd={} name={} age={} idle={} flags={letters} db={} sub={} psub={} ssub={} multi={} \
         watch={} qbuf={qbuf} qbuf-free={free} argv-mem={argv} multi-mem={} rbs=0 rbp=0 obl=0 oll={oll} omem={omem} \
         tot-mem={total} events={} cmd={} user={} redir={} resp={} lib-name={} lib-ver={}",
        c.id,
        c.addr,
        c.laddr,
        c.fd.lock().unwrap_or(-1),
        c.name.lock(),
        (now - c.created) / 1000,
        (now - c.active.load(Relaxed)).max(0) / 1000,
        c.db.load(Relaxed),
        c.subscriptions.0.load(Relaxed),
        c.subscriptions.1.load(Relaxed),
        c.subscriptions.2.load(Relaxed),
        c.queued.load(Relaxed),
        c.watching.load(Relaxed),
        get(&f.queued),
        if omem > 0 { "rw" } else { "r" },
        name_of(c.last_command.load(Relaxed)).unwrap_or("NULL"),
        c.user_name(),
        super::tracking::redirection(c),
        if c.has(flag::RESP3) { 3 } else { 2 },
        lib.0,
        lib.1,
    );
    s
}

/// A client's line of `CLIENT LIST`, for the log.
pub fn line(c: &ClientShared) -> String {
    describe(c, now_ms(), &Asking { id: 0, input: 0, args: 0 })
}

/// The client that asks.
struct Asking {
    id: u64,
    input: usize,
    args: usize,
}

impl Asking {
    fn of(session: &Session, args: &[&[u8]]) -> Asking {
        let args = args.iter().map(|a| a.len()).sum();
        Asking { id: session.shared.id, input: session.input_bytes, args }
    }
}

/// All clients, in the order of their connecting.
fn sorted(server: &Server) -> Vec<Arc<ClientShared>> {
    let mut all: Vec<_> = server.clients.lock().values().cloned().collect();
    all.sort_by_key(|c| c.id);
    all
}

/// Types of clients.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Type {
    Normal,
    Replica,
    Pubsub,
    Master,
}

fn type_named(name: &[u8]) -> Result<Type, CommandError> {
    match name.to_ascii_lowercase().as_slice() {
        b"normal" => Ok(Type::Normal),
        b"slave" | b"replica" => Ok(Type::Replica),
        b"pubsub" => Ok(Type::Pubsub),
        b"master" => Ok(Type::Master),
        _ => Err(err(format!("ERR Unknown client type '{}'", text(name)))),
    }
}

fn type_of(c: &ClientShared) -> Type {
    match () {
        () if c.has(flag::MASTER) => Type::Master,
        () if c.has(flag::REPLICA) => Type::Replica,
        () if c.has(flag::PUBSUB) => Type::Pubsub,
        () => Type::Normal,
    }
}

/// `CLIENT ID`
fn id(tx: &mut Tx<'_>, _: &[&[u8]], out: &mut Reply) -> CommandResult {
    out.int(tx.session.shared.id as i64);
    Ok(())
}

/// `CLIENT INFO`
fn info(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let me = Asking::of(tx.session, args);
    let line = describe(&tx.session.shared, now_ms(), &me) + "\n";
    out.verbatim(b"txt", line.as_bytes());
    Ok(())
}

/// `CLIENT LIST [TYPE type | ID id ...]`
fn list(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let clients = match args[2..] {
        [] => sorted(tx.server),
        [word, name] if is(word, "type") => {
            let wanted = type_named(name)?;
            let mut all = sorted(tx.server);
            all.retain(|c| type_of(c) == wanted);
            all
        }
        [word, ref ids @ ..] if is(word, "id") && !ids.is_empty() => {
            let all = tx.server.clients.lock();
            let mut found = Vec::new();
            for n in ids {
                let id = int(n).map_err(|_| err("ERR Invalid client ID"))?;
                found.extend(all.get(&(id as u64)).cloned());
            }
            found
        }
        _ => return Err(SYNTAX),
    };
    let now = now_ms();
    let me = Asking::of(tx.session, args);
    let mut lines = String::new();
    for c in clients {
        lines.push_str(&describe(&c, now, &me));
        lines.push('\n');
    }
    out.verbatim(b"txt", lines.as_bytes());
    Ok(())
}

/// `CLIENT GETNAME`
fn getname(tx: &mut Tx<'_>, _: &[&[u8]], out: &mut Reply) -> CommandResult {
    let name = tx.session.shared.name.lock();
    if name.is_empty() {
        out.null();
    } else {
        out.bulk_str(&name);
    }
    Ok(())
}

/// `CLIENT SETNAME name`
fn setname(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    if !super::connection::valid_client_text(args[2]) {
        return Err(err("ERR Client names cannot contain spaces, newlines or special characters."));
    }
    *tx.session.shared.name.lock() = crate::reply::bytes::as_text(args[2]).into();
    out.ok();
    Ok(())
}

/// `CLIENT SETINFO LIB-NAME|LIB-VER text`
fn setinfo(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let (name, version) = (is(args[2], "lib-name"), is(args[2], "lib-ver"));
    if !name && !version {
        return Err(err(format!("ERR Unrecognized option '{}'", text(args[2]))));
    }
    if !super::connection::valid_client_text(args[3]) {
        return Err(err(format!(
            "ERR {} cannot contain spaces, newlines or special characters.",
            text(args[2])
        )));
    }
    let mut lib = tx.session.shared.lib.lock();
    let lib = lib.get_or_insert_default();
    *(if name { &mut lib.0 } else { &mut lib.1 }) = text(args[3]).into_owned();
    out.ok();
    Ok(())
}

/// What `CLIENT KILL` looks for.
#[derive(Default)]
struct Victims<'a> {
    id: Option<u64>,
    max_age: Option<i64>,
    kind: Option<Type>,
    addr: Option<&'a [u8]>,
    laddr: Option<&'a [u8]>,
    user: Option<Arc<crate::acl::User>>,
}

impl Victims<'_> {
    fn matches(&self, c: &ClientShared, now: i64) -> bool {
        self.id.is_none_or(|id| c.id == id)
            && self.max_age.is_none_or(|age| now / 1000 - c.created / 1000 >= age)
            && self.kind.is_none_or(|kind| type_of(c) == kind)
            && self.addr.is_none_or(|a| c.addr.as_bytes() == a)
            && self.laddr.is_none_or(|a| c.laddr.as_bytes() == a)
            && self.user.as_ref().is_none_or(|u| c.is_user(u))
    }
}

/// `CLIENT KILL addr`, `CLIENT KILL option value ...`
fn kill(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let mut wanted = Victims::default();
    let old_form = args.len() == 3;
    let mut skip_me = !old_form;
    if old_form {
        wanted.addr = Some(args[2]);
    } else {
        for pair in args[2..].chunks(2) {
            let &[option, value] = pair else { return Err(SYNTAX) };
            match option.to_ascii_lowercase().as_slice() {
                b"id" => {
                    let id = int(value).ok().filter(|id| *id > 0);
                    let id = id.ok_or(err("ERR client-id should be greater than 0"))?;
                    wanted.id = Some(id as u64);
                }
                b"maxage" => {
                    let age = int(value)
                        .map_err(|_| err("ERR maxage is not an integer or out of range"))?;
                    if age <= 0 {
                        return Err(err("ERR maxage should be greater than 0"));
                    }
                    wanted.max_age = Some(age);
                }
                b"type" => wanted.kind = Some(type_named(value)?),
                b"addr" => wanted.addr = Some(value),
                b"laddr" => wanted.laddr = Some(value),
                b"user" => {
                    let user = tx.server.acl.find(value);
                    let none = || err(format!("ERR No such user '{}'", text(value)));
                    wanted.user = Some(user.ok_or_else(none)?);
                }
                b"skipme" if is(value, "yes") => skip_me = true,
                b"skipme" if is(value, "no") => skip_me = false,
                _ => return Err(SYNTAX),
            }
        }
    }
    let now = now_ms();
    let me = tx.session.shared.clone();
    let mut killed = 0;
    for c in sorted(tx.server) {
        let is_me = Arc::ptr_eq(&c, &me);
        if !wanted.matches(&c, now) || is_me && skip_me {
            continue;
        }
        // Nobody finds it any more, though its connection still has to notice.
        tx.server.clients.lock().remove(&c.id);
        killed += 1;
        if is_me {
            tx.session.close = true;
        } else {
            crate::connection::limits::remove(tx.server, &c);
        }
    }
    if wanted.kind == Some(Type::Master) {
        // The link is no connection of the kind that the others are.
        killed += i64::from(tx.server.link.cut(tx.server));
    }
    if !old_form {
        out.int(killed);
    } else if killed == 0 {
        return Err(err("ERR No such client"));
    } else {
        out.ok();
    }
    Ok(())
}

/// `CLIENT REPLY ON|OFF|SKIP`
fn reply(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    if is(args[2], "on") {
        tx.session.reply_mode = ReplyMode::On;
        out.ok();
    } else if is(args[2], "off") {
        tx.session.reply_mode = ReplyMode::Off;
    } else if is(args[2], "skip") {
        if tx.session.reply_mode != ReplyMode::Off {
            tx.session.reply_mode = ReplyMode::SkipNext;
        }
    } else {
        return Err(SYNTAX);
    }
    Ok(())
}

fn switch(session: &Session, bit: u32, arg: &[u8], out: &mut Reply) -> CommandResult {
    if is(arg, "on") || is(arg, "off") {
        session.shared.put(bit, is(arg, "on"));
        out.ok();
        return Ok(());
    }
    Err(SYNTAX)
}

/// `CLIENT NO-EVICT ON|OFF`
fn no_evict(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    switch(tx.session, flag::NO_EVICT, args[2], out)
}

/// `CLIENT NO-TOUCH ON|OFF`
fn no_touch(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    switch(tx.session, flag::NO_TOUCH, args[2], out)
}

/// `CLIENT PAUSE milliseconds [WRITE|ALL]`
fn pause(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let mode = match args[3..] {
        [] => Mode::All,
        [word] if is(word, "write") => Mode::Write,
        [word] if is(word, "all") => Mode::All,
        [_] => return Err(err("ERR CLIENT PAUSE mode must be WRITE or ALL")),
        _ => return Err(super::server::subcommand_syntax(args)),
    };
    let ms = int(args[2]).map_err(|_| err("ERR timeout is not an integer or out of range"))?;
    if ms < 0 {
        return Err(err("ERR timeout is negative"));
    }
    let until = now_ms().checked_add(ms).ok_or(err("ERR timeout is out of range"))?;
    tx.server.pause.begin(mode, until);
    out.ok();
    Ok(())
}

/// `CLIENT UNPAUSE`
fn unpause(tx: &mut Tx<'_>, _: &[&[u8]], out: &mut Reply) -> CommandResult {
    tx.server.pause.end();
    out.ok();
    Ok(())
}

/// `CLIENT UNBLOCK id [TIMEOUT|ERROR]`
fn unblock(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let with_error = match args[3..] {
        [] => false,
        [word] if is(word, "timeout") => false,
        [word] if is(word, "error") => true,
        [_] => return Err(err("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR")),
        _ => return Err(super::server::subcommand_syntax(args)),
    };
    let id = int(args[2])?;
    let shared = tx.server.clients.lock().get(&(id as u64)).cloned();
    let done = shared.is_some_and(|c| super::blocking::unblock(tx.server, &c, with_error))
        || crate::module::blocked::unblock_by_id(tx.server, id as u64, with_error);
    out.int(i64::from(done));
    Ok(())
}

/// `CLIENT HELP`
fn help(_: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    write_help(
        out,
        args,
        &[
            "CACHING (YES|NO)",
            "    Track the keys of the next command, or do not, in the modes OPTIN and OPTOUT.",
            "GETREDIR",
            "    Show to whom invalidations of tracked keys go.",
            "GETNAME",
            "    Show the name of this connection.",
            "ID",
            "    Show the id of this connection.",
            "INFO",
            "    Tell about this connection.",
            "KILL <ip:port>",
            "    End the connection from this address.",
            "KILL <option> <value> [<option> <value> [...]]",
            "    End all connections for which every option holds: ADDR, LADDR, TYPE, USER, ID,",
            "    MAXAGE; SKIPME no includes this one.",
            "LIST [TYPE (NORMAL|MASTER|REPLICA|PUBSUB)|ID <client-id> [...]]",
            "    Tell about connections.",
            "UNPAUSE",
            "    End a pause.",
            "PAUSE <timeout> [WRITE|ALL]",
            "    Let commands, or only writing ones, wait for this many milliseconds.",
            "REPLY (ON|OFF|SKIP)",
            "    Whether this connection gets replies.",
            "SETNAME <name>",
            "    Name this connection.",
            "SETINFO <option> <value>",
            "    Say what uses this connection: LIB-NAME, LIB-VER.",
            "UNBLOCK <clientid> [TIMEOUT|ERROR]",
            "    Let a blocked connection go on.",
            "TRACKING (ON|OFF) [REDIRECT <id>] [BCAST] [PREFIX <prefix> [...]]",
            "         [OPTIN] [OPTOUT] [NOLOOP]",
            "    Tell this connection, or another one, of changes to the keys that it read.",
            "TRACKINGINFO",
            "    Tell about the tracking of keys for this connection.",
            "NO-EVICT (ON|OFF)",
            "    Keep this connection when clients are evicted.",
            "NO-TOUCH (ON|OFF)",
            "    Whether accesses of this connection leave access clocks alone.",
        ],
    );
    Ok(())
}

const fn row(
    name: &'static str,
    arity: i32,
    bits: u64,
    since: &'static str,
    summary: &'static str,
    run: Handler,
) -> Row {
    Row {
        path: PathRule::Connection,
        acl: &["connection"],
        group: "connection",
        since,
        summary,
        ..Row::new(name, arity, bits | flags::LOADING | flags::STALE, run)
    }
}

const OWN: u64 = flags::NOSCRIPT;
const ADMIN: u64 = flags::NOSCRIPT | flags::ADMIN;

/// The family's commands.
pub static ROWS: &[Row] = &[Row {
    group: "connection",
    since: "2.4.0",
    summary: "Connections.",
    ..Row::container(
        "client",
        &[
            row("caching", 3, OWN, "6.0.0", "Tracks the next command's keys or not.", caching),
            row("getname", 2, OWN, "2.6.9", "Shows the connection's name.", getname),
            row("getredir", 2, OWN, "6.0.0", "Shows where invalidations go.", getredir),
            row("help", 2, 0, "5.0.0", "Tells about the subcommands.", help),
            row("id", 2, OWN, "5.0.0", "Shows the connection's id.", id),
            row("info", 2, OWN, "6.2.0", "Tells about the connection.", info),
            row("kill", -3, ADMIN, "2.4.0", "Ends connections.", kill),
            row("list", -2, ADMIN, "2.4.0", "Tells about connections.", list),
            row("no-evict", 3, ADMIN, "7.0.0", "Protects from client eviction.", no_evict),
            row("no-touch", 3, OWN, "7.2.0", "Leaves access clocks alone.", no_touch),
            row("pause", -3, ADMIN, "3.0.0", "Lets commands wait.", pause),
            row("reply", 3, OWN, "3.2.0", "Switches replies off or on.", reply),
            row("setinfo", 4, OWN, "7.2.0", "Says what uses the connection.", setinfo),
            row("setname", 3, OWN, "2.6.9", "Names the connection.", setname),
            row("tracking", -3, OWN, "6.0.0", "Tells of changes to keys that were read.", tracking),
            row("trackinginfo", 2, OWN, "6.2.0", "Tells about tracked keys.", trackinginfo),
            row(
                "unblock",
                -3,
                ADMIN | flags::ARGS_DECIDE,
                "5.0.0",
                "Lets a blocked client go on.",
                unblock,
            ),
            row("unpause", 2, ADMIN, "6.2.0", "Ends a pause.", unpause),
        ],
    )
}];
