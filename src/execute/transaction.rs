//! `MULTI`, `EXEC`, `DISCARD`, `WATCH`, `UNWATCH`.
use super::error::err;
use super::{blocking, CommandResult, Tx};
use crate::acl::check;
use crate::acl::log::Place;
use crate::connection::client::{flag, Multi, Session, Watched};
use crate::dispatch::plan::{Locked, Plan};
use crate::dispatch::table::{flags, key, keys, Body, Command, Path, PathRule, Reason, Row, Table};
use crate::dispatch::{begin_multi, call, hand_over, Side, Step};
use crate::keyspace::shard::shard_of;
use crate::reply::Reply;
use crate::server::Server;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::Arc;
use std::task::Waker;

/// `MULTI`
fn multi(tx: &mut Tx<'_>, _: &[&[u8]], out: &mut Reply) -> CommandResult {
    if tx.session.multi.is_some() {
        return Err(err("ERR MULTI calls can not be nested"));
    }
    begin_multi(tx.session);
    out.ok();
    Ok(())
}

/// Leaves `MULTI` and forgets watched keys.
pub fn discard_state(server: &'static Server, session: &mut Session) {
    session.multi = None;
    session.shared.put(flag::MULTI, false);
    session.shared.queued.store(-1, Relaxed);
    unwatch(server, session);
}

/// Forgets all watched keys.
pub fn unwatch(server: &'static Server, session: &mut Session) {
    for Watched { db, key, .. } in std::mem::take(&mut session.watched) {
        let shard = &server.keyspace.dbs()[db].shards()[shard_of(&key)];
        shard.latch.lock();
        // SAFETY: lock: taken on the line above; only this one.
        let data = unsafe { shard.data() };
        if let Some(list) = data.watched.get_mut(&key) {
            list.retain(|c| !Arc::ptr_eq(c, &session.shared));
            server.watched_keys.fetch_sub(1, Relaxed);
            if list.is_empty() {
                data.watched.remove(&key);
            }
        }
        // SAFETY: lock: taken above.
        unsafe { shard.latch.unlock() };
    }
    session.shared.put(flag::DIRTY_CAS, false);
    session.shared.watching.store(0, Relaxed);
}

/// `DISCARD`
fn discard(tx: &mut Tx<'_>, _: &[&[u8]], out: &mut Reply) -> CommandResult {
    if tx.session.multi.is_none() {
        return Err(err("ERR DISCARD without MULTI"));
    }
    discard_state(tx.server, tx.session);
    out.ok();
    Ok(())
}

/// The module thread runs a transaction.
static RUNNING: AtomicBool = AtomicBool::new(false);

/// Whether a transaction runs under the module lock, for what modules are told of their context.
pub fn is_running() -> bool {
    RUNNING.load(Relaxed)
}

/// `EXEC` outside of `MULTI`; inside, the dispatcher calls [`exec`].
fn exec_alone(_: &mut Tx<'_>, _: &[&[u8]], _: &mut Reply) -> CommandResult {
    Err(err("ERR EXEC without MULTI"))
}

/// `WATCH key ...`
fn watch(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    if tx.session.multi.is_some() {
        return Err(err("ERR WATCH inside MULTI is not allowed"));
    }
    let db = tx.db();
    for k in &args[1..] {
        if tx.session.watched.iter().any(|w| w.db == db && w.key == *k) {
            continue;
        }
        tx.watch(k);
        let alive = tx.exists(k);
        tx.session.watched.push(Watched { db, key: k.to_vec(), alive });
        tx.session.shared.watching.store(tx.session.watched.len() as u32, Relaxed);
    }
    out.ok();
    Ok(())
}

/// `UNWATCH`
fn unwatch_command(tx: &mut Tx<'_>, _: &[&[u8]], out: &mut Reply) -> CommandResult {
    unwatch(tx.server, tx.session);
    out.ok();
    Ok(())
}

/// True when a watched key changed, or was alive at `WATCH` and has expired since, deleted already or not.
fn watched_changed(server: &'static Server, session: &Session, now: i64) -> bool {
    if session.shared.has(flag::DIRTY_CAS) {
        return true;
    }
    session.watched.iter().filter(|w| w.alive).any(|w| {
        let shard = &server.keyspace.dbs()[w.db].shards()[shard_of(&w.key)];
        shard.latch.lock();
        // SAFETY: lock: taken on the line above; only this one.
        let data = unsafe { shard.data() };
        let entry = data.find(crate::keyspace::shard::hash_bytes(&w.key), &w.key);
        let expired = entry.is_none_or(|e| e.is_expired(now));
        // SAFETY: lock: taken above.
        unsafe { shard.latch.unlock() };
        expired
    })
}

/// `EXEC`: all queued commands as one unit, natively when every one of them can be.
pub fn exec(
    server: &'static Server,
    table: &Table,
    session: &mut Session,
    out: &mut Reply,
    side: Side<'_>,
    now: i64,
) -> Step {
    let multi = session.multi.as_ref().expect("the dispatcher looked");
    if multi.aborted {
        discard_state(server, session);
        out.error("EXECABORT Transaction discarded because of previous errors.");
        return Step::Done;
    }
    // The table may have changed since the commands were queued: their paths are looked up anew.
    let mut queue = Vec::with_capacity(multi.queue.len());
    for q in &multi.queue {
        let args: Vec<&[u8]> = q.args.iter().map(Vec::as_slice).collect();
        let command = table.resolve(&args).unwrap_or(&q.command).clone();
        queue.push(command);
    }
    match side {
        Side::Serving(waker) => exec_natively(server, session, out, &queue, now, waker),
        Side::Module => exec_under_module_lock(server, session, out, &queue, now),
    }
}

/// Ends a transaction with a watched key that changed.
fn refuse(server: &'static Server, session: &mut Session, out: &mut Reply) -> Step {
    discard_state(server, session);
    out.null_array();
    Step::Done
}

/// The keys of queued commands; none if not all of the commands can run natively.
fn plan_of(
    server: &Server,
    session: &Session,
    queue: &[Arc<Command>],
    multi: &Multi,
) -> Option<Plan> {
    let mut plan = Plan::default();
    let mut db = session.db;
    for (command, q) in queue.iter().zip(&multi.queue) {
        let args: Vec<&[u8]> = q.args.iter().map(Vec::as_slice).collect();
        match command.path {
            Path::Module(_) => return None,
            Path::Connection if command.name == "select" => {
                db = super::connection::db_number(server, args[1]).unwrap_or(db);
            }
            Path::Connection
                if command.has(flags::LATCHES)
                    || super::needs_module_lock(server, command, &args) =>
            {
                return None;
            }
            Path::Connection => {}
            Path::Native => {
                if !plan.add(command, &args, db) {
                    return None;
                }
            }
        }
    }
    Some(plan)
}

fn exec_natively(
    server: &'static Server,
    session: &mut Session,
    out: &mut Reply,
    queue: &[Arc<Command>],
    now: i64,
    waker: &Waker,
) -> Step {
    let multi = session.multi.as_ref().expect("`exec` looked");
    let Some(mut plan) = plan_of(server, session, queue, multi) else {
        return hand_over(server, Reason::Transaction);
    };
    if watched_changed(server, session, now) {
        return refuse(server, session, out);
    }
    // A watched key may still change before the latches are taken, so the flag is looked at again under them; the
    // watched keys' shards are part of the plan for that reason.
    for w in &session.watched {
        plan.add_key(&w.key, crate::lock::held::Access::Read, w.db);
    }
    let guard = match plan.lock(server, now, waker) {
        Locked::Parked => return Step::Parked,
        Locked::NeedsModulePath => return hand_over(server, Reason::Transaction),
        Locked::Yes(guard) => guard,
    };
    if session.shared.has(flag::DIRTY_CAS) {
        drop(guard);
        return refuse(server, session, out);
    }
    let multi = session.multi.take().expect("looked above");
    let mut tx = Tx::native(server, session, now, Some(&plan));
    tx.effects.collecting = true;
    run_queue(&mut tx, queue, &multi, out);
    crate::propagate::finish_native(&mut tx);
    let ready = std::mem::take(&mut tx.ready);
    let served = blocking::serve_native(server, ready, &plan, now);
    drop(guard);
    blocking::send_home(server, served);
    discard_state(server, session);
    Step::Done
}

fn exec_under_module_lock(
    server: &'static Server,
    session: &mut Session,
    out: &mut Reply,
    queue: &[Arc<Command>],
    now: i64,
) -> Step {
    if watched_changed(server, session, now) {
        return refuse(server, session, out);
    }
    let multi = session.multi.take().expect("`exec` looked");
    let mut tx = Tx::module(server, session, now);
    RUNNING.store(true, Relaxed);
    run_queue(&mut tx, queue, &multi, out);
    RUNNING.store(false, Relaxed);
    crate::dispatch::unit_done(server, session, now);
    blocking::serve_module(server);
    if server.blocked_keys.load(Relaxed) != 0 {
        crate::module::blocked::serve_ready_keys(server);
    }
    discard_state(server, session);
    Step::Done
}

fn run_queue(tx: &mut Tx<'_>, commands: &[Arc<Command>], multi: &Multi, out: &mut Reply) {
    out.array(commands.len());
    let deny = std::mem::replace(&mut tx.session.deny_blocking, true);
    for (command, q) in commands.iter().zip(&multi.queue) {
        let args: Vec<&[u8]> = q.args.iter().map(Vec::as_slice).collect();
        let gone = match &command.body {
            Body::Module(m) => m.module.gone.load(Relaxed),
            _ => false,
        };
        if gone {
            out.error(crate::dispatch::unknown_command(&args).0.as_bytes());
            continue;
        }
        if command.is_container() || !command.arity_ok(args.len()) {
            // The module was exchanged since it was queued.
            out.error(super::error::arity(&command.full_name).0.as_bytes());
            continue;
        }
        if let Some(user) = tx.session.limited_user().cloned() {
            // Rights may have changed since the command was queued, and by the commands before it.
            if let Err(denied) = check::command(&user.rules(), command, &args) {
                denied.note(tx.server, &tx.session.shared, &user, Place::Multi, command, &args);
                out.error(format!(
                    "NOPERM ACLs rules changed between the moment the transaction was accumulated and the EXEC call. \
                     This command is no longer allowed for the following reason: {}",
                    denied.exec_text()
                ));
                continue;
            }
        }
        call(tx, command, &args, out);
    }
    tx.session.deny_blocking = deny;
}

const FLAGS: u64 =
    flags::NOSCRIPT | flags::LOADING | flags::STALE | flags::FAST | flags::ALLOW_BUSY;

/// The family's commands.
pub static ROWS: &[Row] = &[
    Row {
        path: PathRule::Connection,
        acl: &["transaction"],
        group: "transactions",
        since: "1.2.0",
        summary: "Begins a transaction: the commands that follow are queued.",
        ..Row::new("multi", 1, FLAGS, multi)
    },
    Row {
        path: PathRule::Connection,
        acl: &["transaction"],
        group: "transactions",
        since: "1.2.0",
        summary: "Runs the queued commands as one unit.",
        ..Row::new(
            "exec",
            1,
            flags::NOSCRIPT | flags::LOADING | flags::STALE | flags::SKIP_SLOWLOG,
            exec_alone,
        )
    },
    Row {
        path: PathRule::Connection,
        acl: &["transaction"],
        group: "transactions",
        since: "2.0.0",
        summary: "Forgets the queued commands.",
        ..Row::new("discard", 1, FLAGS, discard)
    },
    Row {
        keys: &[keys(key::RO, 1, -1, 1)],
        acl: &["transaction"],
        group: "transactions",
        since: "2.2.0",
        summary: "Makes the next transaction depend on keys staying as they are.",
        ..Row::new("watch", -2, FLAGS, watch)
    },
    Row {
        path: PathRule::Connection,
        acl: &["transaction"],
        group: "transactions",
        since: "2.2.0",
        summary: "Forgets all watched keys.",
        ..Row::new("unwatch", 1, FLAGS | flags::LATCHES, unwatch_command)
    },
];
