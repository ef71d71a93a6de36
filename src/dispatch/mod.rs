//! STEP 3: from arguments to a running command: look-up, arity, authentication, `MULTI`, and the choice of the path.
//!
//! The path is data in the table ([`table::Path`]), decided when the table is made. What can only be seen at run time
//! (a key is held; a key has a module's value that the command would have to free) is found before the body runs, with
//! all latches taken, so a body never has to back out.
pub mod ahead;
pub mod observe;
pub mod plan;
pub mod table;

use crate::connection::client::{flag, Client, Multi, Queued, ReplyMode, Session};
use crate::connection::limits;
use crate::execute::{
    blocking, cluster, error, is, replication, text, tracking, Brief, CommandError, Mode, Tx,
};
use crate::observe::clock::mono_ns;
use crate::parse::{Limits, Parsed};
use crate::reply::Reply;
use crate::server::Server;
use plan::{Locked, Plan};
use smallvec::SmallVec;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::Arc;
use std::task::Waker;
use table::{flags, Body, Command, Path, Reason, Table};

/// Which thread executes.
#[derive(Clone, Copy)]
pub enum Side<'a> {
    /// A serving thread; the waker is left at a shard when a key is held.
    Serving(&'a Waker),
    /// The module thread, with the module lock.
    Module,
}

/// What became of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// It was executed, queued or refused.
    Done,
    /// It has to run on the module thread.
    HandOver,
    /// A key that it needs is held; the waker was left behind, try again when woken.
    Parked,
    /// It is native: the module thread gives the client back to its serving thread.
    GiveBack,
    /// A module blocked the client; go on when it is unblocked.
    Blocked,
    /// It waits for keys; it stays in the input until it is answered.
    Waiting,
}

/// What [`run_input`] stopped at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// All whole requests are done.
    NeedInput,
    /// The next request has to run on the module thread.
    HandOver,
    /// The next request waits for a held key.
    Parked,
    /// The next request is native (module thread only).
    GiveBack,
    /// The client is blocked.
    Blocked,
    /// The next request waits for keys.
    Waiting,
    /// Send the replies and close.
    Close,
}

/// What [`run_input`] did.
pub struct Turn {
    /// So many bytes are done with.
    pub done: usize,
    /// So many requests were.
    pub requests: u32,
    /// It took so many nanoseconds.
    pub ns: u64,
    /// Where it stopped.
    pub outcome: Outcome,
}

/// Native requests between module requests that the module thread executes before it gives the client back.
const NATIVES_ON_MODULE_THREAD: usize = 16;

/// Executes the requests in `input`, one after the other.
pub fn run_input(
    server: &'static Server,
    table: &Table,
    client: &mut Client,
    input: &[u8],
    side: Side<'_>,
    now: i64,
) -> Turn {
    let (mut done, mut requests) = (0, 0);
    let begin = mono_ns();
    client.session.clock_ns = begin;
    // On the module thread: the table may change under a pipeline (`MODULE LOAD`), and a long run of native requests
    // belongs back on the serving thread.
    let version = server.table_version.load(Relaxed);
    let mut natives = 0;
    client.out.limit = limits::hard_limit(&client.session.shared);
    let mut found: SmallVec<[ahead::Found; ahead::MOST]> = SmallVec::new();
    let mut next = 0;
    let outcome = loop {
        if client.session.close {
            break Outcome::Close;
        }
        let unsent = client.out.buf.len();
        if unsent > limits::UNLIMITED && limits::passes_with(server, &client.session.shared, unsent)
        {
            client.session.close = true;
            break Outcome::Close;
        }
        if next == found.len() {
            if done == input.len() {
                break Outcome::NeedInput;
            }
            let limits = Limits {
                max_bulk: server.config.proto_max_bulk_len() as i64,
                authenticated: client.session.authenticated || server.acl.default_is_open(),
            };
            // What is found ahead must not depend on what the requests before it do.
            let most = match !table.filters && limits.authenticated {
                true => ahead::MOST,
                false => 1,
            };
            let here = matches!(side, Side::Module);
            found.clear();
            next = 0;
            let leave = if here { None } else { Some(table) };
            match find_ahead(&mut client.parser, &input[done..], limits, most, leave, &mut found) {
                _ if found.len() > 1 => {
                    let Client { session, parser, .. } = &*client;
                    ahead::fetch(server, table, session, parser, &input[done..], &mut found, here);
                }
                _ if found.len() == 1 => {}
                Parsed::Error(e) => {
                    client.out.error(format!("ERR {e}"));
                    client.session.close = true;
                    break Outcome::Close;
                }
                _ => break Outcome::NeedInput,
            }
        }
        let ahead::Found { len, ref args, key, command } = found[next];
        let rest = &input[done..];
        next += 1;
        let Client { session, parser, out, .. } = &mut *client;
        session.input_bytes = rest.len();
        session.known_key = key;
        let step = parser.with_args(&rest[..len], args.clone(), |args| {
            if args.is_empty() {
                return Step::Done;
            }
            if table.filters {
                return filter(server, table, session, out, args, side, now);
            }
            let step =
                execute(server, Names { table, first: command }, session, out, args, side, now);
            if step == Step::HandOver {
                session.known_key = key.or_else(|| ahead::first_key(table, command, args));
            } else {
                session.known_key = None;
            }
            step
        });
        match step {
            Step::Done => {
                done += len;
                requests += 1;
                if matches!(side, Side::Serving(_)) {
                    session.module_streak = session.module_streak.min(0);
                } else {
                    (natives, session.module_streak) = match session.last_was_native {
                        true => (natives + 1, session.module_streak.min(0)),
                        false => (0, session.module_streak.saturating_add(1)),
                    };
                    if natives >= NATIVES_ON_MODULE_THREAD
                        || server.table_version.load(Relaxed) != version
                    {
                        break Outcome::GiveBack;
                    }
                }
            }
            Step::HandOver => break Outcome::HandOver,
            Step::Parked => break Outcome::Parked,
            Step::GiveBack => break Outcome::GiveBack,
            Step::Blocked => {
                done += len;
                break Outcome::Blocked;
            }
            Step::Waiting => {
                if let Some(w) = &mut client.session.waiting {
                    w.request_len = len;
                }
                break Outcome::Waiting;
            }
        }
    };
    let ns = client.session.clock_ns.saturating_sub(begin);
    server.stats.turn(ns, u64::from(requests));
    if outcome != Outcome::NeedInput {
        // What was found ahead and not executed is looked for again.
        client.parser.abandon();
    }
    Turn { done, requests, ns, outcome }
}

/// Finds up to `most` requests at the beginning of `input`; tells what stopped it.
fn find_ahead<'t>(
    parser: &mut crate::parse::Parser,
    input: &[u8],
    limits: Limits,
    most: usize,
    leave: Option<&'t Table>,
    found: &mut SmallVec<[ahead::Found<'t>; ahead::MOST]>,
) -> Parsed {
    parser.begin();
    let mut at = 0;
    loop {
        let parsed = parser.next(&input[at..], limits);
        let Parsed::Request(len) = parsed else { return parsed };
        let args = parser.found();
        // An inline request's arguments are kept until the next request is looked for only.
        let mut last = args.is_empty() || found.len() + 1 == most;
        let mut command = None;
        if let (Some(table), true, false) = (leave, found.is_empty(), last) {
            let name = parser.args[args.start];
            let name = &input[name.start as usize..(name.start + name.len) as usize];
            command = table.find(name);
            last = command.is_some_and(|c| matches!(c.path, Path::Module(_)));
        }
        found.push(ahead::Found { len, args, key: None, command });
        at += len;
        if last || at == input.len() {
            return parsed;
        }
    }
}

fn reject(session: &mut Session, out: &mut Reply, e: CommandError) -> Step {
    if let Some(m) = &mut session.multi {
        m.aborted = true;
    }
    session.retry = None;
    out.error(e.0.as_bytes());
    count_errors(Server::get(), out);
    Step::Done
}

/// Counts the error replies written since the last count.
pub fn count_errors(server: &Server, out: &mut Reply) {
    for code in out.codes.split(|&c| c == b' ').filter(|c| !c.is_empty()) {
        server.stats.error_replies.add(1);
        server.stats.errors.count(&text(code));
    }
    out.codes.clear();
}

/// The error for a name that is not in the table.
pub fn unknown_command(args: &[&[u8]]) -> CommandError {
    let mut shown = String::new();
    for a in &args[1..] {
        if shown.len() >= 128 {
            break;
        }
        let part = &a[..a.len().min(128 - shown.len())];
        shown.push_str(&format!("'{}' ", text(part)));
    }
    let name = &args[0][..args[0].len().min(128)];
    error::err(format!("ERR unknown command '{}', with args beginning with: {shown}", text(name)))
}

/// The error for a missing subcommand of `container`.
pub fn unknown_subcommand(container: &str, sub: &[u8]) -> CommandError {
    error::err(format!(
        "ERR unknown subcommand '{}'. Try {} HELP.",
        text(&sub[..sub.len().min(128)]),
        container.to_ascii_uppercase()
    ))
}

/// The error for a request that the table does not resolve.
pub fn not_found(table: &Table, args: &[&[u8]]) -> CommandError {
    match table.find(args[0]) {
        Some(command) if command.has(flags::INTERNAL) => unknown_command(args),
        Some(container) if args.len() > 1 => unknown_subcommand(&container.name, args[1]),
        Some(container) => error::arity(&container.full_name),
        None => unknown_command(args),
    }
}

/// Where a request's command is looked up.
#[derive(Clone, Copy)]
struct Names<'t> {
    table: &'t Table,
    /// What the table has for the name, if that was looked up before.
    first: Option<&'t Arc<Command>>,
}

/// Looks a request up and checks what can be checked without its keys.
fn check<'t>(
    server: &Server,
    names: Names<'t>,
    session: &Session,
    args: &[&[u8]],
) -> Result<&'t Arc<Command>, CommandError> {
    let table = names.table;
    let Some(command) = table.resolve_from(names.first, args) else {
        return Err(not_found(table, args));
    };
    // Of a primary's commands all are executed.
    if command.has(flags::INTERNAL) && !session.shared.has(flag::MASTER | flag::INTERNAL) {
        return Err(not_found(table, args));
    }
    if !command.arity_ok(args.len()) || command.is_container() {
        return Err(error::arity(&command.full_name));
    }
    if !session.authenticated && !command.has(flags::NO_AUTH) && !server.acl.default_is_open() {
        return Err(error::err("NOAUTH Authentication required."));
    }
    if command.has(flags::PROTECTED) {
        crate::execute::server::check_protected(server, session, command)?;
    }
    if session.multi.is_some() && command.has(flags::NO_MULTI) {
        return Err(error::err("ERR Command not allowed inside a transaction"));
    }
    if let Some(user) = session.limited_user() {
        crate::acl::check::refuse(server, session, user, command, args)?;
    }
    if session.shared.has(flag::PUBSUB)
        && !session.shared.has(flag::RESP3)
        && !crate::execute::pubsub::allowed_while_subscribed(command)
    {
        return Err(error::err(format!(
            "ERR Can't execute '{}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this \
             context",
            command.full_name
        )));
    }
    if (server.persistence.last_bgsave_failed.load(Relaxed) || server.aof.in_trouble())
        && (command.has(flags::WRITE) || command.name == "ping")
        && !session.shared.has(flag::INTERNAL)
    {
        crate::persist::check_disk(server)?;
    }
    if server.cluster.enabled() && !session.shared.has(flag::MASTER) {
        cluster::check_slots(server, session, command, args)?;
    }
    if replication::needs_check(server) && !session.shared.has(flag::MASTER) {
        let queued = || session.multi.iter().flat_map(|m| &m.queue);
        let exec = command.name == "exec";
        let script = |q: &Queued| {
            q.command.name == "eval" && crate::script::eval::declares_writes(&q.args[1])
        };
        let writes = || {
            command.has(flags::WRITE)
                || exec && queued().any(|q| q.command.has(flags::WRITE) || script(q))
        };
        let old = || {
            command.has(flags::STALE) && (!exec || queued().all(|q| q.command.has(flags::STALE)))
        };
        replication::check_role(server, writes, old)?;
    }
    if server.loading.load(Relaxed) && !command.has(flags::LOADING) {
        return Err(error::err("LOADING Redis is loading the dataset in memory"));
    }
    if !command.has(flags::ALLOW_BUSY) {
        crate::script::run::check_not_busy()?;
    }
    if crate::module::busy::on() && !command.has(flags::ALLOW_BUSY) {
        return Err(error::err(crate::module::busy::error_text()));
    }
    Ok(command)
}

/// Lets the modules' command filters see, and rewrite, a request before anything else looks at it.
fn filter(
    server: &'static Server,
    table: &Table,
    session: &mut Session,
    out: &mut Reply,
    args: &[&[u8]],
    side: Side<'_>,
    now: i64,
) -> Step {
    if matches!(side, Side::Serving(_)) {
        return hand_over(server, Reason::Filter);
    }
    let filtered = crate::module::api::filter::apply(server, session.shared.id, args);
    let args = filtered.args();
    if args.is_empty() {
        return Step::Done;
    }
    execute(server, Names { table, first: None }, session, out, &args, side, now)
}

/// Answers with the error of a refused command. A refused `EXEC` ends the transaction.
fn refuse(
    server: &'static Server,
    session: &mut Session,
    out: &mut Reply,
    is_exec: bool,
    e: CommandError,
) -> Step {
    if is_exec && cluster::is_redirection(&e) {
        crate::execute::transaction::discard_state(server, session);
        return reject(session, out, e);
    }
    if !is_exec {
        return reject(session, out, e);
    }
    let reason = e.0.strip_prefix("ERR ").unwrap_or(&e.0);
    let e = format!("EXECABORT Transaction discarded because of: {reason}");
    crate::execute::transaction::discard_state(server, session);
    reject(session, out, error::err(e))
}

/// Whether a command must be refused where there is no memory: itself, or one that `EXEC` would run.
fn needs_memory(session: &Session, command: &Command) -> bool {
    let queued = || session.multi.iter().flat_map(|m| &m.queue);
    command.has(flags::DENYOOM)
        || command.name == "exec" && queued().any(|q| q.command.has(flags::DENYOOM))
}

fn execute(
    server: &'static Server,
    names: Names<'_>,
    session: &mut Session,
    out: &mut Reply,
    args: &[&[u8]],
    side: Side<'_>,
    now: i64,
) -> Step {
    let table = names.table;
    if server.config.module_exclusive()
        && matches!(side, Side::Serving(_))
        && crate::module::busy::waits_for_modules(server, args)
    {
        return hand_over(server, Reason::Exclusive);
    }
    if matches!(side, Side::Serving(_)) && crate::acl::check::needs_module(session, table, args) {
        return hand_over(server, Reason::ModuleCommand);
    }
    let command = match check(server, names, session, args) {
        Ok(c) => c,
        Err(e) => {
            if is(args[0], "post") || is(args[0], "host:") {
                // A browser that was lured into speaking to us: nothing of its request is executed.
                crate::log_warning!(
                    "Possible SECURITY ATTACK: {} sends an HTTP request; connection closed.",
                    session.shared.addr
                );
                session.close = true;
                return Step::Done;
            }
            if let Some(c) = table.resolve(args) {
                c.stats.rejected();
            }
            let start = out.buf.len();
            let step = refuse(server, session, out, is(args[0], "exec"), e);
            take_back(session, out, start);
            return step;
        }
    };
    session.shared.last_command.store(command.number, Relaxed);
    let module_command = matches!(command.body, Body::Module(_));
    let tracked = server.tracking.any();
    if tracked {
        tracking::before_command(server, session, out);
    }
    if server.config.maxmemory() > 0
        && (module_command || needs_memory(session, command))
        && !session.shared.has(flag::MASTER)
    {
        match side {
            // Eviction fires events and frees values, so it belongs to the module thread.
            Side::Serving(_) if crate::keyspace::evict::over_limit(server) => {
                return hand_over(server, Reason::ServerWide)
            }
            Side::Module => {
                let no_memory = !crate::keyspace::evict::make_room(server);
                // SAFETY: lock: the module thread has the module lock.
                unsafe { server.holder() }.no_memory = no_memory;
                if no_memory && needs_memory(session, command) {
                    command.stats.rejected();
                    let start = out.buf.len();
                    let step = refuse(server, session, out, command.name == "exec", error::OOM);
                    take_back(session, out, start);
                    return step;
                }
            }
            _ => {}
        }
        if tracked {
            // Evicted keys are told before the reply.
            tracking::deliver(session, out);
        }
    }
    if let Some(multi) = &mut session.multi {
        if !matches!(
            command.full_name.as_str(),
            "exec" | "discard" | "multi" | "watch" | "quit" | "reset"
        ) {
            let args: Vec<Vec<u8>> = args.iter().map(|a| a.to_vec()).collect();
            multi.bytes += args.iter().map(Vec::len).sum::<usize>();
            multi.queue.push(Queued { command: command.clone(), args });
            session.shared.queued.store(multi.queue.len() as i32, Relaxed);
            let start = out.buf.len();
            out.simple("QUEUED");
            take_back(session, out, start);
            return Step::Done;
        }
    }
    if server.pause.applies(server, session, command, args, side) {
        return match side {
            Side::Serving(waker) => server.pause.park(server, session, waker),
            // It waits on its serving thread.
            Side::Module => {
                session.paused_script = true;
                Step::GiveBack
            }
        };
    }
    session.paused_script = false;
    let start = out.buf.len();
    if tracked && matches!(side, Side::Module) {
        // SAFETY: lock: the module side has the module lock.
        unsafe { server.holder() }.current = Some(session.shared.clone());
    }
    let step = if command.name == "exec" && session.multi.is_some() {
        let begin = mono_ns();
        let step = crate::execute::transaction::exec(server, table, session, out, side, now);
        if step == Step::Done {
            let ns = mono_ns() - begin;
            let errors = u64::from(out.buf.get(start) == Some(&b'-'));
            observe::finished(server, session, command, args, ns, errors);
            observe::show(server, session, command, args);
            count_errors(server, out);
        }
        step
    } else {
        run(server, session, out, command, args, side, now)
    };
    if tracked && matches!(side, Side::Module) {
        // SAFETY: lock: as above.
        unsafe { server.holder() }.current = None;
    }
    if let Some(b) = session.blocked_on.as_ref().filter(|_| step == Step::Blocked) {
        b.state.lock().muted = matches!(session.reply_mode, ReplyMode::Off | ReplyMode::Skip);
    }
    if matches!(step, Step::Done | Step::Blocked) {
        if command.has(flags::WRITE) {
            crate::keyspace::evict::after_write(server);
        }
        settle(server, session, out, start);
        if session.shared.has(flag::TRACK_CACHING) {
            tracking::after_command(session, command);
        }
    }
    step
}

/// A request is done with: counts it, and takes its reply, which begins at `start`, back if the client wants none.
pub fn settle(server: &Server, session: &mut Session, out: &mut Reply, start: usize) {
    server.stats.commands_processed.add(1);
    session.retry = None;
    take_back(session, out, start);
    if session.shared.has(flag::TRACK_PENDING) {
        server.tracking.send_pending(session, out);
    }
}

/// Takes a reply, which begins at `start`, back if the client wants none.
fn take_back(session: &mut Session, out: &mut Reply, start: usize) {
    let pushed = std::mem::take(&mut session.pushed);
    match session.reply_mode {
        ReplyMode::On => {}
        _ if pushed => {}
        ReplyMode::Off | ReplyMode::Skip => out.buf.truncate(start),
        ReplyMode::SkipNext => {}
    }
    session.reply_mode = match session.reply_mode {
        ReplyMode::SkipNext => ReplyMode::Skip,
        ReplyMode::Skip => ReplyMode::On,
        m => m,
    };
}

/// What became of a command that was called: done, or it waits for keys.
fn called(session: &mut Session, command: &Arc<Command>) -> Step {
    match &mut session.waiting {
        None => Step::Done,
        Some(w) => {
            w.command = Some(command.clone());
            Step::Waiting
        }
    }
}

/// Counts a hand-over and says so.
pub fn hand_over(server: &Server, reason: Reason) -> Step {
    server.stats.module_path[reason as usize].add(1);
    Step::HandOver
}

fn run(
    server: &'static Server,
    session: &mut Session,
    out: &mut Reply,
    command: &Arc<Command>,
    args: &[&[u8]],
    side: Side<'_>,
    now: i64,
) -> Step {
    match (command.path, side) {
        (Path::Connection, Side::Serving(_))
            if crate::execute::needs_module_lock(server, command, args) =>
        {
            hand_over(server, Reason::ServerWide)
        }
        (Path::Connection, _) => {
            let mut tx = match side {
                Side::Serving(_) => Tx::native(server, session, now, None),
                Side::Module => Tx::module(server, session, now),
            };
            call(&mut tx, command, args, out);
            if matches!(side, Side::Module) {
                unit_done(server, session, now);
            }
            match session.blocked_on {
                // A module thinks about an `AUTH`.
                Some(_) => Step::Blocked,
                None => called(session, command),
            }
        }
        (Path::Module(reason), Side::Serving(_)) => hand_over(server, reason),
        (Path::Native, Side::Serving(waker)) => {
            let mut plan = Plan::knowing(session.known_key);
            if !plan.add(command, args, session.db) {
                return hand_over(server, Reason::Value);
            }
            let step = match plan.lock(server, now, waker) {
                Locked::Parked => Step::Parked,
                Locked::NeedsModulePath => hand_over(server, Reason::Value),
                Locked::Yes(guard) => {
                    let mut tx = Tx::native(server, session, now, Some(&plan));
                    call(&mut tx, command, args, out);
                    if !tx.ready.is_empty() {
                        let ready = std::mem::take(&mut tx.ready);
                        let served = blocking::serve_native(server, ready, &plan, now);
                        drop(guard);
                        blocking::send_home(server, served);
                    }
                    called(session, command)
                }
            };
            step
        }
        (path, Side::Module) => {
            session.last_was_native = path == Path::Native;
            {
                let mut tx = Brief::new(Tx::module(server, session, now));
                call_body(&mut tx, command, args, out, Nested::No);
            }
            if matches!(command.name.as_str(), "scan" | "randomkey") {
                // Keys that they happened to find past their time have nothing to do with each other.
                crate::propagate::end_of_single_effects(server, now);
            }
            unit_done(server, session, now);
            blocking::serve_module(server);
            if server.blocked_keys.load(Relaxed) != 0 {
                crate::module::blocked::serve_ready_keys(server);
            }
            if session.blocked_on.is_some() {
                Step::Blocked
            } else {
                called(session, command)
            }
        }
    }
}

/// A unit of the module path is over. The calling thread has the module lock.
pub fn unit_done(server: &'static Server, session: &mut Session, now: i64) {
    if let Some(at) = crate::module::thread::unit_done(server, || now) {
        session.written = at;
    }
}

/// Whether a call is made by another command: a transaction, a script, a module.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Nested {
    No,
    Perhaps,
}

/// Runs a command body in its transaction: counts it, writes its error, passes its effects to the log.
pub fn call(tx: &mut Tx<'_>, command: &Arc<Command>, args: &[&[u8]], out: &mut Reply) {
    call_body(tx, command, args, out, Nested::Perhaps);
}

fn call_body(
    tx: &mut Tx<'_>,
    command: &Arc<Command>,
    args: &[&[u8]],
    out: &mut Reply,
    nested: Nested,
) {
    // Commands of a turn follow each other without a gap: the end of one is the start of the next.
    // A command that waited runs again: monitors have seen it, and its time does not count.
    let again = tx.session.waiting.is_some() || tx.session.retry.is_some();
    let follows = !again && (nested == Nested::No || tx.mode() == Mode::Native);
    let start = if follows { tx.session.clock_ns } else { mono_ns() };
    let (errors, dirty) = (out.errors, tx.dirty);
    let tracked = tx.server.tracking.any();
    let changes = match tx.mode() {
        Mode::Native => 0,
        // SAFETY: lock: the module path has the module lock.
        Mode::Module => unsafe { tx.server.holder() }.changes,
    };
    let result = match &command.body {
        Body::Native(f) => f(tx, args, out),
        Body::Module(m) => crate::module::command::run(m, tx, args, out),
        Body::Container => Err(error::arity(&command.full_name)),
    };
    if let Err(e) = result {
        out.error(e.0.as_bytes());
    }
    if tx.lapsed.any() {
        tx.delete_lapsed();
    }
    if tracked {
        tx.remember_keys(command, args);
    }
    let end = mono_ns();
    let ns = end.saturating_sub(start);
    tx.session.clock_ns = end;
    if out.errors != errors {
        count_errors(tx.server, out);
    }
    let module_auth = tx.session.module_auth.is_some();
    if let Some(b) = tx.session.blocked_on.as_ref().filter(|_| !module_auth) {
        // It is counted when it is unblocked.
        b.state.lock().command = Some((command.clone(), ns));
    } else if (again || tx.session.waiting.is_none()) && !module_auth && !replayed(tx) {
        observe::finished(tx.server, tx.session, command, args, ns, out.errors - errors);
    }
    if !again {
        observe::show(tx.server, tx.session, command, args);
    }
    let changed = tx.dirty != dirty;
    if changed {
        tx.server.dirty.add(tx.dirty - dirty);
    }
    if tx.server.log.active() {
        crate::propagate::finish(tx, command, args, changed, changes);
    }
}

/// Whether a call was made by a command that is replayed from a file.
fn replayed(tx: &Tx<'_>) -> bool {
    tx.session.shared.has(flag::INTERNAL) && tx.server.loading.load(Relaxed)
}

/// Runs a command's body when files are loaded: nothing is counted, shown or logged.
pub fn replay(tx: &mut Tx<'_>, command: &Arc<Command>, args: &[&[u8]], out: &mut Reply) {
    let result = match &command.body {
        _ if !command.arity_ok(args.len()) => Err(error::arity(&command.full_name)),
        Body::Native(f) => f(tx, args, out),
        Body::Module(m) => crate::module::command::run(m, tx, args, out),
        Body::Container => Err(error::arity(&command.full_name)),
    };
    if let Err(e) = result {
        out.error(e.0.as_bytes());
    }
}

/// A queued transaction's own state is complete: begins `MULTI`.
pub fn begin_multi(session: &mut Session) {
    session.multi = Some(Box::<Multi>::default());
    session.shared.put(flag::MULTI, true);
    session.shared.queued.store(0, Relaxed);
}

/// True for the word `HELP` as the only argument behind a container.
pub fn is_help(args: &[&[u8]]) -> bool {
    args.len() == 2 && is(args[1], "help")
}
