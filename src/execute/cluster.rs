//! Cluster commands, as far as one node has them, and `FAILOVER`.
use super::error::{err, NOT_INTEGER, SYNTAX};
use super::server::{admin_noscript, write_help};
use super::{is, text, CommandError, CommandResult, Tx};
use crate::cluster::{Cluster, SLOTS};
use crate::connection::client::Session;
use crate::dispatch::table::{flags, Command, Handler, PathRule, Row};
use crate::keyspace::number::parse_i64;
use crate::keyspace::shard::{slot_of, SHARDS};
use crate::reply::Reply;
use crate::server::Server;
use std::borrow::Cow;

const DISABLED: &str = "ERR This instance has cluster support disabled";

/// Refuses a command whose keys are in several slots, or in one that nobody serves.
pub fn check_slots(
    server: &Server,
    session: &Session,
    command: &Command,
    args: &[&[u8]],
) -> Result<(), CommandError> {
    let mut slot = None;
    let mut writes = false;
    let mut look = |c: &Command, args: &[&[u8]]| -> Result<(), CommandError> {
        // A module that has to be asked for its keys is asked under the module lock only.
        if c.keys.is_empty() || c.has(flags::MODULE_GETKEYS) {
            return Ok(());
        }
        writes |= c.has(flags::WRITE);
        for (i, _) in c.key_positions(args).into_iter().flatten() {
            let this = slot_of(args[i]);
            match slot {
                None if !server.cluster.serves(this) => return Err(UNSERVED),
                None => slot = Some(this),
                Some(other) if other != this => return Err(CROSS_SLOT),
                Some(_) => {}
            }
        }
        Ok(())
    };
    match (&session.multi, command.name.as_str()) {
        (Some(multi), "exec") => {
            for q in &multi.queue {
                let args: Vec<&[u8]> = q.args.iter().map(Vec::as_slice).collect();
                look(&q.command, &args)?;
            }
        }
        _ => look(command, args)?,
    }
    if slot.is_none() || server.cluster.is_up(server) {
        return Ok(());
    }
    match server.config.cluster_allow_reads_when_down() {
        false => Err(DOWN),
        true if writes => Err(DOWN_FOR_WRITES),
        true => Ok(()),
    }
}

const fn fixed(text: &'static str) -> CommandError {
    CommandError(Cow::Borrowed(text))
}

const CROSS_SLOT: CommandError = fixed("CROSSSLOT Keys in request don't hash to the same slot");
const UNSERVED: CommandError = fixed("CLUSTERDOWN Hash slot not served");
const DOWN: CommandError = fixed("CLUSTERDOWN The cluster is down");
const DOWN_FOR_WRITES: CommandError =
    fixed("CLUSTERDOWN The cluster is down and only accepts read commands");

/// Whether an error is the cluster's, which `EXEC` passes on as it is.
pub fn is_redirection(e: &CommandError) -> bool {
    ["CROSSSLOT ", "CLUSTERDOWN "].iter().any(|code| e.0.starts_with(code))
}

fn cluster<'t>(tx: &Tx<'t>) -> Result<&'static Cluster, CommandError> {
    match tx.server.cluster.enabled() {
        true => Ok(&tx.server.cluster),
        false => Err(err(DISABLED)),
    }
}

fn slot(arg: &[u8]) -> Result<u16, CommandError> {
    let n = parse_i64(arg).filter(|n| (0..SLOTS as i64).contains(n));
    n.map(|n| n as u16).ok_or(err("ERR Invalid or out of range slot"))
}

fn save(tx: &Tx<'_>, out: &mut Reply) -> CommandResult {
    tx.server
        .cluster
        .save(tx.server)
        .map_err(|e| err(format!("ERR error saving the cluster node config: {e}")))?;
    out.ok();
    Ok(())
}

/// `CLUSTER ADDSLOTS|DELSLOTS slot ...`, `ADDSLOTSRANGE|DELSLOTSRANGE first last ...`
fn change_slots(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let cluster = cluster(tx)?;
    let name = args[1].to_ascii_lowercase();
    let (add, ranges) = (name.starts_with(b"add"), name.ends_with(b"range"));
    let mut wanted = vec![false; SLOTS];
    let width = if ranges { 2 } else { 1 };
    if args.len() % width != 0 {
        return Err(super::error::arity(&format!("cluster|{}", text(&name))));
    }
    for group in args[2..].chunks_exact(width) {
        let (first, last) = (slot(group[0])?, slot(group[width - 1])?);
        if first > last {
            return Err(err(format!(
                "ERR start slot number {first} is greater than end slot number {last}"
            )));
        }
        for s in first..=last {
            if cluster.serves(s) == add {
                let state = if add { "busy" } else { "unassigned" };
                return Err(err(format!("ERR Slot {s} is already {state}")));
            }
            if std::mem::replace(&mut wanted[usize::from(s)], true) {
                return Err(err(format!("ERR Slot {s} specified multiple times")));
            }
        }
    }
    (0..SLOTS as u16).filter(|s| wanted[usize::from(*s)]).for_each(|s| cluster.set(s, add));
    save(tx, out)
}

/// `CLUSTER FLUSHSLOTS`
fn flushslots(tx: &mut Tx<'_>, _: &[&[u8]], out: &mut Reply) -> CommandResult {
    let cluster = cluster(tx)?;
    if !tx.server.keyspace.dbs()[0].is_empty() {
        return Err(err("ERR DB must be empty to perform CLUSTER FLUSHSLOTS."));
    }
    (0..SLOTS as u16).for_each(|s| cluster.set(s, false));
    save(tx, out)
}

/// `CLUSTER RESET [HARD|SOFT]`
fn reset(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let cluster = cluster(tx)?;
    let hard = match args {
        [_, _] => false,
        [_, _, word] if is(word, "hard") => true,
        [_, _, word] if is(word, "soft") => false,
        _ => return Err(SYNTAX),
    };
    if !tx.server.keyspace.dbs()[0].is_empty() {
        return Err(err("ERR CLUSTER RESET can't be called with master nodes containing keys"));
    }
    (0..SLOTS as u16).for_each(|s| cluster.set(s, false));
    if hard {
        cluster.change_identity(|me| {
            me.id = crate::observe::random::hex(40);
            me.epoch = 0;
        });
    }
    save(tx, out)
}

/// `CLUSTER INFO`
fn info(tx: &mut Tx<'_>, _: &[&[u8]], out: &mut Reply) -> CommandResult {
    let cluster = cluster(tx)?;
    let (served, epoch) = (cluster.served(), cluster.identity().epoch);
    let state = if cluster.is_up(tx.server) { "ok" } else { "fail" };
    let size = u8::from(served > 0);
    let text = format!(
        "cluster_state:{state}\r\ncluster_slots_assigned:{served}\r\ncluster_slots_ok:{served}\r\n\
         cluster_slots_pfail:0\r\ncluster_slots_fail:0\r\ncluster_known_nodes:1\r\ncluster_size:{size}\r\n\
         cluster_current_epoch:{epoch}\r\ncluster_my_epoch:{epoch}\r\ncluster_stats_messages_sent:0\r\n\
         cluster_stats_messages_received:0\r\ntotal_cluster_links_buffer_limit_exceeded:0\r\n"
    );
    out.verbatim(b"txt", text.as_bytes());
    Ok(())
}

/// `CLUSTER NODES`
fn nodes(tx: &mut Tx<'_>, _: &[&[u8]], out: &mut Reply) -> CommandResult {
    let line = cluster(tx)?.line(tx.server, false) + "\n";
    out.verbatim(b"txt", line.as_bytes());
    Ok(())
}

/// `CLUSTER MYID`
fn myid(tx: &mut Tx<'_>, _: &[&[u8]], out: &mut Reply) -> CommandResult {
    out.bulk_str(&cluster(tx)?.identity().id);
    Ok(())
}

/// `CLUSTER MYSHARDID`
fn myshardid(tx: &mut Tx<'_>, _: &[&[u8]], out: &mut Reply) -> CommandResult {
    out.bulk_str(&cluster(tx)?.identity().shard);
    Ok(())
}

fn announced_ip(server: &Server) -> Vec<u8> {
    server.config.cluster_announce_ip().map_or_else(Vec::new, |ip| ip.to_vec())
}

/// `CLUSTER SLOTS`
fn slots(tx: &mut Tx<'_>, _: &[&[u8]], out: &mut Reply) -> CommandResult {
    let cluster = cluster(tx)?;
    let (ranges, me) = (cluster.ranges(), cluster.identity());
    out.array(ranges.len());
    for (first, last) in ranges {
        out.array(3);
        out.int(i64::from(first));
        out.int(i64::from(last));
        out.array(4);
        out.bulk(&announced_ip(tx.server));
        out.int(tx.server.config.port() as i64);
        out.bulk_str(&me.id);
        out.array(0);
    }
    Ok(())
}

/// `CLUSTER SHARDS`
fn shards(tx: &mut Tx<'_>, _: &[&[u8]], out: &mut Reply) -> CommandResult {
    let cluster = cluster(tx)?;
    let (ranges, me) = (cluster.ranges(), cluster.identity());
    out.array(1);
    out.map(2);
    out.bulk(b"slots");
    out.array(ranges.len() * 2);
    for (first, last) in ranges {
        out.int(i64::from(first));
        out.int(i64::from(last));
    }
    out.bulk(b"nodes");
    out.array(1);
    out.map(7);
    let ip = announced_ip(tx.server);
    out.bulk(b"id");
    out.bulk_str(&me.id);
    out.bulk(b"port");
    out.int(tx.server.config.port() as i64);
    out.bulk(b"ip");
    out.bulk(&ip);
    out.bulk(b"endpoint");
    out.bulk(&ip);
    out.bulk(b"role");
    out.bulk(b"master");
    out.bulk(b"replication-offset");
    out.int(tx.server.log.with_feed(|f| f.offset()) as i64);
    out.bulk(b"health");
    out.bulk(b"online");
    Ok(())
}

/// `CLUSTER KEYSLOT key`
fn keyslot(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    cluster(tx)?;
    out.int(i64::from(slot_of(args[2])));
    Ok(())
}

/// The keys of a slot, at most `most`.
fn keys_in(tx: &Tx<'_>, slot: u16, most: usize) -> Vec<Vec<u8>> {
    let shard = &tx.server.keyspace.dbs()[0].shards()[usize::from(slot) % SHARDS];
    shard.latch.lock();
    // SAFETY: lock: taken on the line above, released below.
    let data = unsafe { shard.data() };
    let own = data.table.iter().filter(|e| slot_of(e.key()) == slot);
    let keys = own.take(most).map(|e| e.key().to_vec()).collect();
    // SAFETY: lock: taken above.
    unsafe { shard.latch.unlock() };
    keys
}

/// `CLUSTER COUNTKEYSINSLOT slot`
fn countkeysinslot(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    cluster(tx)?;
    let n = parse_i64(args[2]).ok_or(NOT_INTEGER)?;
    let slot = u16::try_from(n).ok().filter(|n| usize::from(*n) < SLOTS);
    let slot = slot.ok_or(err("ERR Invalid slot"))?;
    out.int(keys_in(tx, slot, usize::MAX).len() as i64);
    Ok(())
}

/// `CLUSTER GETKEYSINSLOT slot count`
fn getkeysinslot(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    cluster(tx)?;
    let (n, most) = (super::int(args[2])?, super::int(args[3])?);
    let slot = u16::try_from(n).ok().filter(|n| usize::from(*n) < SLOTS);
    let (slot, most) =
        slot.zip(usize::try_from(most).ok()).ok_or(err("ERR Invalid slot or number of keys"))?;
    let keys = keys_in(tx, slot, most);
    out.array(keys.len());
    keys.iter().for_each(|k| out.bulk(k));
    Ok(())
}

/// `CLUSTER LINKS`: there are none.
fn links(tx: &mut Tx<'_>, _: &[&[u8]], out: &mut Reply) -> CommandResult {
    cluster(tx)?;
    out.array(0);
    Ok(())
}

/// `CLUSTER SAVECONFIG`
fn saveconfig(tx: &mut Tx<'_>, _: &[&[u8]], out: &mut Reply) -> CommandResult {
    cluster(tx)?;
    save(tx, out)
}

/// `CLUSTER BUMPEPOCH`
fn bumpepoch(tx: &mut Tx<'_>, _: &[&[u8]], out: &mut Reply) -> CommandResult {
    let (bumped, epoch) = cluster(tx)?.change_identity(|me| {
        // An epoch of its own is the greatest that there is.
        let bump = me.epoch == 0;
        me.epoch = me.epoch.max(1);
        (bump, me.epoch)
    });
    let mut ok = Reply::default();
    save(tx, &mut ok)?;
    out.simple(format!("{} {epoch}", if bumped { "BUMPED" } else { "STILL" }));
    Ok(())
}

/// `CLUSTER SET-CONFIG-EPOCH epoch`
fn set_config_epoch(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let cluster = cluster(tx)?;
    let epoch = u64::try_from(super::int(args[2])?)
        .map_err(|_| err(format!("ERR Invalid config epoch specified: {}", text(args[2]))))?;
    cluster.change_identity(|me| match me.epoch {
        0 => {
            me.epoch = epoch;
            Ok(())
        }
        _ => Err(err("ERR Node config epoch is already non-zero")),
    })?;
    save(tx, out)
}

/// Commands about other nodes: there are none.
fn about_nodes(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let me = cluster(tx)?.identity().id;
    let node = args.get(2).copied().unwrap_or_default();
    match args[1].to_ascii_lowercase().as_slice() {
        b"replicas" | b"slaves" if is(node, &me) => out.array(0),
        b"count-failure-reports" if is(node, &me) => out.int(0),
        b"forget" if is(node, &me) => {
            return Err(err("ERR I tried hard but I can't forget myself..."));
        }
        b"replicate" if is(node, &me) => return Err(err("ERR Can't replicate myself")),
        b"failover" => return Err(err("ERR You should send CLUSTER FAILOVER to a replica")),
        _ => return Err(err(format!("ERR Unknown node {}", text(node)))),
    }
    Ok(())
}

/// `CLUSTER MEET ip port [bus-port]`: refused, as there is no bus.
fn meet(tx: &mut Tx<'_>, args: &[&[u8]], _: &mut Reply) -> CommandResult {
    cluster(tx)?;
    let port = parse_i64(args[3]).filter(|p| (1..=65535).contains(p));
    let ip = std::str::from_utf8(args[2]).ok().and_then(|t| t.parse::<std::net::IpAddr>().ok());
    if port.is_none() || ip.is_none() {
        return Err(err(format!(
            "ERR Invalid node address specified: {}:{}",
            text(args[2]),
            text(args[3])
        )));
    }
    Err(err("ERR This server does not join other nodes in this version"))
}

/// `CLUSTER SETSLOT slot STABLE|NODE id`: nothing can be on its way to or from another node.
fn setslot(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let cluster = cluster(tx)?;
    let slot = slot(args[2])?;
    match args {
        [_, _, _, word] if is(word, "stable") => {}
        [_, _, _, word, id] if is(word, "node") => {
            if !is(id, &cluster.identity().id) {
                return Err(err(format!("ERR Unknown node {}", text(id))));
            }
            cluster.set(slot, true);
        }
        [_, _, _, word, id] if is(word, "migrating") || is(word, "importing") => {
            return Err(err(format!("ERR I don't know about node {}", text(id))));
        }
        _ => {
            return Err(err(
                "ERR Invalid CLUSTER SETSLOT action or number of arguments. Try CLUSTER HELP",
            ))
        }
    }
    save(tx, out)
}

/// `READONLY`, `READWRITE`, `ASKING`
fn mode_of_connection(tx: &mut Tx<'_>, _: &[&[u8]], out: &mut Reply) -> CommandResult {
    cluster(tx)?;
    out.ok();
    Ok(())
}

/// `CLUSTER HELP`
fn help(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    cluster(tx)?;
    write_help(
        out,
        args,
        &[
            "ADDSLOTS <slot> [<slot> ...]",
            "    Serve these slots.",
            "ADDSLOTSRANGE <first> <last> [<first> <last> ...]",
            "    Serve these ranges of slots.",
            "BUMPEPOCH",
            "    Take a configuration epoch.",
            "COUNTKEYSINSLOT <slot>",
            "    Number of keys in a slot.",
            "DELSLOTS <slot> [<slot> ...]",
            "    Give these slots up.",
            "DELSLOTSRANGE <first> <last> [<first> <last> ...]",
            "    Give these ranges of slots up.",
            "FLUSHSLOTS",
            "    Give all slots up.",
            "GETKEYSINSLOT <slot> <count>",
            "    Some keys of a slot.",
            "INFO",
            "    State of the cluster.",
            "KEYSLOT <key>",
            "    The slot of a key.",
            "LINKS",
            "    Connections to other nodes.",
            "MYID",
            "    Name of this node.",
            "MYSHARDID",
            "    Name of its shard.",
            "NODES",
            "    All nodes.",
            "RESET [HARD|SOFT]",
            "    Forget slots, and with HARD the name too.",
            "SAVECONFIG",
            "    Write the file of the configuration.",
            "SET-CONFIG-EPOCH <epoch>",
            "    Set the epoch of a new node.",
            "SETSLOT <slot> STABLE|NODE <id>",
            "    Settle a slot.",
            "SHARDS",
            "    Slots and nodes by shard.",
            "SLOTS",
            "    Ranges of slots and their nodes.",
        ],
    );
    Ok(())
}

/// `FAILOVER [TO host port [FORCE]] [ABORT] [TIMEOUT milliseconds]`
fn failover(_: &mut Tx<'_>, args: &[&[u8]], _: &mut Reply) -> CommandResult {
    if args.len() == 2 && is(args[1], "abort") {
        return Err(err("ERR No failover in progress."));
    }
    let mut i = 1;
    let (mut timeout, mut host, mut force) = (false, false, false);
    while i < args.len() {
        if is(args[i], "timeout") && i + 1 < args.len() && !timeout {
            let ms = super::int(args[i + 1])?;
            if ms <= 0 {
                return Err(err("ERR FAILOVER timeout must be greater than 0"));
            }
            (timeout, i) = (true, i + 2);
        } else if is(args[i], "to") && i + 2 < args.len() && !host {
            super::int(args[i + 2])?;
            (host, i) = (true, i + 3);
        } else if is(args[i], "force") && !force {
            (force, i) = (true, i + 1);
        } else {
            return Err(SYNTAX);
        }
    }
    Err(err("ERR FAILOVER requires connected replicas."))
}

const CHANGE: u64 = flags::ADMIN | flags::STALE | flags::NO_ASYNC_LOADING;
const ADMIN: u64 = flags::ADMIN | flags::STALE;
const RESET: u64 = flags::ADMIN | flags::NOSCRIPT | flags::STALE;
const LOOK: u64 = flags::STALE;
const ALWAYS: u64 = flags::LOADING | flags::STALE;

const fn sub(name: &'static str, arity: i32, bits: u64, since: &'static str, run: Handler) -> Row {
    Row {
        group: "cluster",
        path: PathRule::Connection,
        since,
        summary: "Tells or changes something about the cluster.",
        ..Row::new(name, arity, bits, run)
    }
}

const fn mode(name: &'static str, bits: u64) -> Row {
    Row { acl: &["connection"], ..sub(name, 1, bits | flags::FAST, "3.0.0", mode_of_connection) }
}

/// The families' commands.
pub static ROWS: &[Row] = &[
    Row {
        since: "6.2.0",
        flags: RESET,
        ..admin_noscript("failover", -1, "Hands the primary's role to a replica.", failover)
    },
    mode("readonly", ALWAYS),
    mode("readwrite", ALWAYS),
    mode("asking", 0),
    Row {
        group: "cluster",
        since: "3.0.0",
        summary: "The cluster.",
        ..Row::container(
            "cluster",
            &[
                sub("addslots", -3, CHANGE, "3.0.0", change_slots),
                sub("addslotsrange", -4, CHANGE, "7.0.0", change_slots),
                sub("bumpepoch", 2, CHANGE, "3.0.0", bumpepoch),
                sub("count-failure-reports", 3, ADMIN, "3.0.0", about_nodes),
                sub("countkeysinslot", 3, LOOK, "3.0.0", countkeysinslot),
                sub("delslots", -3, CHANGE, "3.0.0", change_slots),
                sub("delslotsrange", -4, CHANGE, "7.0.0", change_slots),
                sub("failover", -2, CHANGE, "3.0.0", about_nodes),
                sub("flushslots", 2, CHANGE, "3.0.0", flushslots),
                sub("forget", 3, CHANGE, "3.0.0", about_nodes),
                sub("getkeysinslot", 4, LOOK, "3.0.0", getkeysinslot),
                sub("help", 2, ALWAYS, "5.0.0", help),
                sub("info", 2, LOOK, "3.0.0", info),
                sub("keyslot", 3, LOOK, "3.0.0", keyslot),
                sub("links", 2, LOOK, "7.0.0", links),
                sub("meet", -4, CHANGE, "3.0.0", meet),
                sub("myid", 2, LOOK, "3.0.0", myid),
                sub("myshardid", 2, LOOK, "7.2.0", myshardid),
                sub("nodes", 2, LOOK, "3.0.0", nodes),
                sub("replicas", 3, ADMIN, "5.0.0", about_nodes),
                sub("replicate", 3, CHANGE, "3.0.0", about_nodes),
                sub("reset", -2, RESET, "3.0.0", reset),
                sub("saveconfig", 2, CHANGE, "3.0.0", saveconfig),
                sub("set-config-epoch", 3, CHANGE, "3.0.0", set_config_epoch),
                sub("setslot", -4, CHANGE, "3.0.0", setslot),
                sub("shards", 2, ALWAYS, "7.0.0", shards),
                sub("slaves", 3, ADMIN, "3.0.0", about_nodes),
                sub("slots", 2, ALWAYS, "3.0.0", slots),
            ],
        )
    },
];
