//! Replication as commands: what a replica says to its primary, and what operators say to both.
use super::blocking::{Form, Needs, Wait};
use super::error::err;
use super::server::{admin_noscript, row};
use super::{int, is, text, CommandError, CommandResult, Tx};
use crate::connection::client::{flag, ClientShared};
use crate::dispatch::table::{flags, Handler, PathRule, Row};
use crate::observe::clock::now_ms;
use crate::propagate::link::state;
use crate::propagate::replica::{Awaited, Replica};
use crate::propagate::sync;
use crate::reply::Reply;
use crate::server::Server;
use crate::snapshot::Writer;
use std::borrow::Cow;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::Arc;

/// What a replica told before it asked for the data.
#[derive(Default)]
pub struct Handshake {
    replica: Option<Arc<Replica>>,
    /// It wants a snapshot and nothing behind it.
    snapshot_only: bool,
    /// It wants functions alone.
    functions_only: bool,
}

fn replica_of<'t>(tx: &'t mut Tx<'_>) -> &'t Arc<Replica> {
    let shared = tx.session.shared.clone();
    let h = tx.session.handshake.get_or_insert_default();
    h.replica.get_or_insert_with(|| Arc::new(Replica::new(shared)))
}

/// `REPLCONF name value ...`
fn replconf(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    if args.len() % 2 == 0 {
        return Err(super::error::SYNTAX);
    }
    for pair in args[1..].chunks_exact(2) {
        let (name, value) = (pair[0], pair[1]);
        match name.to_ascii_lowercase().as_slice() {
            b"listening-port" => {
                let port = int(value)?;
                replica_of(tx).port.store(port as u16, Relaxed);
            }
            b"ip-address" => {
                const LONGEST: usize = 255;
                if value.len() > LONGEST {
                    return Err(err(format!(
                        "ERR REPLCONF ip-address provided by replica instance is too long: {} bytes",
                        value.len()
                    )));
                }
                *replica_of(tx).ip.lock() = text(value).into_owned();
            }
            // What it can do beyond the plain form does not matter: it gets that.
            b"capa" | b"version" => {}
            b"ack" => {
                acknowledge(tx, value, args);
                // No reply: this is one of its own.
                return Ok(());
            }
            b"getack" => {
                // The primary asks; the link answers, in its own thread.
                if tx.session.shared.has(flag::MASTER) {
                    tx.server.link.ask();
                }
                return Ok(());
            }
            b"rdb-only" => {
                tx.session.handshake.get_or_insert_default().snapshot_only =
                    super::int_between(value, 0, 1)? == 1;
            }
            b"rdb-filter-only" => {
                let mut functions = false;
                for word in value.split(|c| *c == b' ').filter(|w| !w.is_empty()) {
                    if !is(word, "functions") {
                        return Err(err(format!(
                            "ERR Unsupported rdb-filter-only option: {}",
                            text(word)
                        )));
                    }
                    functions = true;
                }
                tx.session.handshake.get_or_insert_default().functions_only = functions;
            }
            _ => return Err(err(format!("ERR Unrecognized REPLCONF option: {}", text(name)))),
        }
    }
    out.ok();
    Ok(())
}

/// `REPLCONF ACK offset [FACK offset]`
fn acknowledge(tx: &mut Tx<'_>, offset: &[u8], args: &[&[u8]]) {
    if !tx.session.shared.has(flag::REPLICA) {
        return;
    }
    let number = |arg: &[u8]| int(arg).ok().and_then(|n| u64::try_from(n).ok());
    let r = replica_of(tx);
    if let Some(n) = number(offset) {
        r.acknowledged.fetch_max(n, Relaxed);
    }
    if let [_, _, _, fack, n, ..] = args {
        if let (true, Some(n)) = (is(fack, "fack"), number(n)) {
            r.synced.fetch_max(n, Relaxed);
        }
    }
    r.heard.store(now_ms(), Relaxed);
    answer_waits(tx.server);
}

/// A snapshot of the functions alone.
fn snapshot_of_functions(tx: &Tx<'_>) -> Vec<u8> {
    const END: u8 = 255;
    let mut out = Writer::to_memory(tx.server.config.rdbcompression());
    out.raw(format!("REDIS{:04}", crate::snapshot::VERSION).as_bytes());
    crate::script::function::save(tx, &mut out);
    out.byte(END);
    // No checksum.
    out.raw(&[0; 8]);
    out.into_bytes()
}

/// Gives a replica all data and feeds it from then on; functions alone are there at once.
fn full_sync(tx: &mut Tx<'_>, out: &mut Reply, with_offset: bool) {
    let server = tx.server;
    let replica = replica_of(tx).clone();
    let h = tx.session.handshake.get_or_insert_default();
    let snapshot_only = h.snapshot_only;
    if !h.functions_only {
        return sync::ask(server, sync::Request { replica, with_offset, snapshot_only });
    }
    server.stats.sync_full.add(1);
    let bytes = snapshot_of_functions(tx);
    if with_offset {
        let offset = server.log.with_feed(|f| f.offset());
        let id = server.repl_id.lock().clone();
        out.raw(format!("+FULLRESYNC {id} {offset}\r\n").as_bytes());
    }
    out.raw(format!("${}\r\n", bytes.len()).as_bytes());
    out.raw(&bytes);
}

/// `SYNC`
fn sync(tx: &mut Tx<'_>, _: &[&[u8]], out: &mut Reply) -> CommandResult {
    if tx.session.shared.has(flag::REPLICA) {
        return Ok(());
    }
    can_sync(tx)?;
    full_sync(tx, out, false);
    Ok(())
}

/// `PSYNC replication-id offset`
fn psync(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    if tx.session.shared.has(flag::REPLICA) {
        return Ok(());
    }
    can_sync(tx)?;
    let id = tx.server.repl_id.lock().clone();
    if is(args[1], &id) {
        let offset = int(args[2]).ok().and_then(|n| u64::try_from(n).ok());
        let replica = replica_of(tx).clone();
        let head = format!("+CONTINUE {id}\r\n");
        if offset.is_some_and(|at| tx.server.log.resume_replica(&replica, at, head.as_bytes())) {
            tx.server.stats.sync_partial_ok.add(1);
            crate::log_notice!(
                "Partial resynchronization request from {} accepted. Sending bytes of backlog starting from offset {}.",
                replica.client.addr,
                text(args[2])
            );
            return Ok(());
        }
    }
    if args[1] != b"?" {
        tx.server.stats.sync_partial_err.add(1);
    }
    full_sync(tx, out, true);
    Ok(())
}

/// Whether a replica can be served now.
fn can_sync(tx: &Tx<'_>) -> CommandResult {
    if tx.session.deny_blocking {
        return Err(err("ERR SYNC is not allowed here"));
    }
    Ok(())
}

// ----- WAIT ------------------------------------------------------------------------------------------------------------

/// How many replicas have executed the stream up to an offset.
pub fn replicas_at(server: &Server, offset: u64) -> usize {
    server.log.with_feed(|f| {
        f.replicas()
            .iter()
            .filter(|r| r.is_online() && r.acknowledged.load(Relaxed) >= offset)
            .count()
    })
}

/// How many replicas have the stream up to an offset on their disks.
pub fn replicas_synced_at(server: &Server, offset: u64) -> usize {
    let has = |r: &&Arc<Replica>| r.is_online() && r.synced.load(Relaxed) >= offset;
    server.log.with_feed(|f| f.replicas().iter().filter(has).count())
}

/// Replicas that were heard not longer ago than `min-replicas-max-lag` says.
pub fn good_replicas(server: &Server) -> usize {
    let most = server.config.min_replicas_max_lag();
    server.log.with_feed(|f| {
        f.replicas().iter().filter(|r| r.is_online() && r.lag() <= most as i64).count()
    })
}

/// Answers those who wait for replicas that have come so far.
pub fn answer_waits(server: &'static Server) {
    let done: Vec<Awaited> = {
        let mut waits = server.log.waits.0.lock();
        if waits.is_empty() {
            return;
        }
        let all = std::mem::take(&mut *waits);
        let (done, rest) = all.into_iter().partition(|w| match w.disk {
            None => replicas_at(server, w.offset) >= w.replicas,
            Some(ours) => {
                ours.is_none_or(|at| server.aof.synced().is_some_and(|synced| synced >= at))
                    && replicas_synced_at(server, w.offset) >= w.replicas
            }
        });
        *waits = rest;
        done
    };
    for w in done {
        if let Some(mut parked) = w.waiter.take() {
            w.waiter.time_out(server, &mut parked.client);
            super::blocking::send_home(server, vec![parked]);
        }
    }
}

/// `WAIT numreplicas timeout`
fn wait(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    if tx.server.link.is_replica() {
        return Err(err(
            "ERR WAIT cannot be used with replica instances. Please also note that since Redis 4.0 if a replica is \
             configured to be writable (which is not the default) writes to replicas are just local and are not propagated.",
        ));
    }
    let wanted = int(args[1])?;
    let timeout = super::generic::check_timeout(args[2])?;
    let server = tx.server;
    let offset = server.log.with_feed(|f| f.offset());
    let have = replicas_at(server, offset);
    if have as i64 >= wanted || tx.session.deny_blocking {
        out.int(have as i64);
        return Ok(());
    }
    let wait = Wait {
        keys: Vec::new(),
        needs: Needs::Replicas(offset),
        form: Form::Keys(Vec::new()),
        timeout,
        null_is_bulk: false,
    };
    tx.wait_for(wait, out)?;
    if let Some(w) = &tx.session.waiting {
        let waiter = w.waiter.clone();
        wait_for(server, Awaited { replicas: wanted as usize, offset, disk: None, waiter });
    }
    Ok(())
}

/// Has a client wait for replicas, and asks them where they are.
pub fn wait_for(server: &'static Server, awaited: Awaited) {
    {
        let mut waits = server.log.waits.0.lock();
        // Those whose time was over are still here.
        waits.retain(|w| Arc::strong_count(&w.waiter) > 1);
        waits.push(awaited);
    }
    server.log.tell_replicas(server, &[b"REPLCONF", b"GETACK", b"*"]);
    answer_waits(server);
}

// ----- what operators ask ------------------------------------------------------------------------------------------------

/// `ROLE`
fn role(tx: &mut Tx<'_>, _: &[&[u8]], out: &mut Reply) -> CommandResult {
    let link = &tx.server.link;
    if let Some((host, port)) = link.primary() {
        let state = match link.state.load(Relaxed) {
            state::CONNECT => "connect",
            state::CONNECTING => "connecting",
            state::SYNC => "sync",
            _ => "connected",
        };
        out.array(5);
        out.bulk(b"slave");
        out.bulk_str(&host);
        out.int(i64::from(port));
        out.bulk_str(state);
        out.int(if link.is_up() { link.offset.load(Relaxed) as i64 } else { -1 });
        return Ok(());
    }
    let (offset, replicas) = tx.server.log.with_feed(|f| (f.offset(), f.replicas().to_vec()));
    out.array(3);
    out.bulk(b"master");
    out.int(offset as i64);
    let online: Vec<_> = replicas.iter().filter(|r| r.is_online()).collect();
    out.array(online.len());
    for r in online {
        out.array(3);
        out.bulk_str(&r.address());
        out.bulk_str(&r.port.load(Relaxed).to_string());
        out.bulk_str(&r.acknowledged.load(Relaxed).to_string());
    }
    Ok(())
}

/// `REPLICAOF NO ONE`, `REPLICAOF host port`
fn replicaof(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let server = tx.server;
    if server.config.cluster_enabled() {
        return Err(err("ERR REPLICAOF not allowed in cluster mode."));
    }
    let user = super::client::line(&tx.session.shared);
    if is(args[1], "no") && is(args[2], "one") {
        if server.link.stop() {
            // Whoever followed the same primary may not take our stream for its.
            *server.repl_id.lock() = crate::observe::random::hex(40);
            server.config.set_replicaof(None);
            disconnect_replicas(server);
            crate::module::event::role_event(server);
            crate::log_notice!("MASTER MODE enabled (user request from '{user}')");
        }
        out.ok();
        return Ok(());
    }
    let port = crate::keyspace::number::parse_i64(args[2]).and_then(|p| u16::try_from(p).ok());
    let port = port.ok_or(err("ERR Invalid master port"))?;
    let host = text(args[1]).into_owned();
    if server.link.primary().is_some_and(|(h, p)| h.eq_ignore_ascii_case(&host) && p == port) {
        out.simple("OK Already connected to specified master");
        return Ok(());
    }
    begin_following(server, host.clone(), port);
    crate::log_notice!("REPLICAOF {host}:{port} enabled (user request from '{user}')");
    out.ok();
    Ok(())
}

/// Makes the server a replica. The calling thread has the module lock.
pub fn begin_following(server: &'static Server, host: String, port: u16) {
    server.config.set_replicaof(Some(crate::config::Primary { host: host.clone(), port }));
    disconnect_replicas(server);
    crate::module::blocked::force_all(server);
    super::blocking::force_all(server);
    let was_replica = server.link.is_replica();
    server.link.follow(server, host, port);
    if !was_replica {
        crate::module::event::role_event(server);
    }
}

/// Ends the connections of all replicas, behind what was written for them before: they come back, and are told anew where
/// they stand.
pub fn disconnect_replicas(server: &Server) {
    server.log.with_feed(|f| f.replicas().iter().for_each(|r| r.client.kill_after_reply()));
}

/// Refuses what replication does not allow now: writes on a replica that is only read, reads of old data, and writes that
/// too few replicas would get. `writes`: the command does, or what `EXEC` would run; `old_is_good`: likewise, whether old data
/// does not matter to it.
pub fn check_role(
    server: &Server,
    writes: impl Fn() -> bool,
    old_is_good: impl Fn() -> bool,
) -> Result<(), CommandError> {
    if server.link.is_replica() {
        if server.config.replica_read_only() && writes() {
            return Err(READONLY);
        }
        if server.link.is_stale() && !server.config.replica_serve_stale_data() && !old_is_good() {
            return Err(STALE);
        }
    } else if lacks_replicas(server) && writes() {
        return Err(NO_REPLICAS);
    }
    Ok(())
}

/// Whether `min-replicas-to-write` is set and not met.
pub fn lacks_replicas(server: &Server) -> bool {
    let wanted = server.config.min_replicas_to_write();
    wanted > 0
        && server.config.min_replicas_max_lag() > 0
        && !server.link.is_replica()
        && (good_replicas(server) as u64) < wanted
}

/// Whether there may be something to check: for the way of every command.
#[inline]
pub fn needs_check(server: &Server) -> bool {
    server.link.is_replica() || server.config.min_replicas_to_write() > 0
}

/// A replica is only read.
pub const READONLY: CommandError =
    CommandError(Cow::Borrowed("READONLY You can't write against a read only replica."));
/// A replica without a link does not serve old data.
pub const STALE: CommandError = CommandError(Cow::Borrowed(
    "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
));
/// Too few replicas would get a write.
pub const NO_REPLICAS: CommandError =
    CommandError(Cow::Borrowed("NOREPLICAS Not enough good replicas to write."));

/// A client ended: it may have been a replica.
pub fn client_ended(server: &'static Server, client: &Arc<ClientShared>) {
    server.log.remove_replica(client);
}

/// The regular work: pings, and the end of the backlog.
pub fn cron(server: &'static Server, now: i64) {
    static NEXT_PING: std::sync::atomic::AtomicI64 = std::sync::atomic::AtomicI64::new(0);
    let period = server.config.repl_ping_replica_period() as i64 * 1000;
    let next = NEXT_PING.load(Relaxed);
    if now >= next || next > now + period {
        NEXT_PING.store(now + period, Relaxed);
        if next != 0 {
            server.log.tell_replicas(server, &[b"PING"]);
        }
    }
    server.log.replica_cron(server, now);
    sync::cron(server, now);
    server.link.expire_own(server, now);
}

const fn primary(name: &'static str, arity: i32, since: &'static str, run: Handler) -> Row {
    let bits = flags::ADMIN | flags::NOSCRIPT | flags::STALE | flags::NO_ASYNC_LOADING;
    Row {
        since,
        path: PathRule::ServerWide,
        ..row(name, arity, bits, "Makes the server a replica, or a primary.", run)
    }
}

const fn sync_row(name: &'static str, arity: i32, since: &'static str, run: Handler) -> Row {
    let bits = flags::ADMIN | flags::NOSCRIPT | flags::NO_ASYNC_LOADING | flags::NO_MULTI;
    Row {
        since,
        flags: bits,
        path: PathRule::ServerWide,
        ..admin_noscript(name, arity, "A replica asks for the data and for what follows.", run)
    }
}

/// The family's commands.
pub static ROWS: &[Row] = &[
    sync_row("sync", 1, "1.0.0", sync),
    sync_row("psync", -3, "2.8.0", psync),
    Row {
        since: "3.0.0",
        flags: flags::ADMIN | flags::NOSCRIPT | flags::LOADING | flags::STALE | flags::ALLOW_BUSY,
        ..admin_noscript("replconf", -1, "A replica tells about itself.", replconf)
    },
    Row {
        path: PathRule::Connection,
        acl: &["connection"],
        group: "generic",
        since: "3.0.0",
        summary: "Waits until replicas have what the server was told so far.",
        ..Row::new("wait", 3, flags::BLOCKING, wait)
    },
    Row {
        acl: &["admin", "dangerous"],
        since: "2.8.12",
        flags: flags::NOSCRIPT | flags::LOADING | flags::STALE | flags::FAST,
        ..admin_noscript("role", 1, "Tells the role in replication.", role)
    },
    primary("replicaof", 3, "5.0.0", replicaof),
    primary("slaveof", 3, "1.0.0", replicaof),
];
