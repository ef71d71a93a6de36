//! Cluster commands of a server without cluster mode, and `FAILOVER`.
use super::error::{err, SYNTAX};
use super::server::admin_noscript;
use super::{is, CommandResult, Tx};
use crate::dispatch::table::{flags, PathRule, Row};
use crate::reply::Reply;

/// What is refused without cluster mode.
fn disabled(_: &mut Tx<'_>, _: &[&[u8]], _: &mut Reply) -> CommandResult {
    Err(err("ERR This instance has cluster support disabled"))
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

const fn sub(name: &'static str, arity: i32, bits: u64, since: &'static str) -> Row {
    Row {
        group: "cluster",
        path: PathRule::Connection,
        since,
        summary: "Refused: the server is not in cluster mode.",
        ..Row::new(name, arity, bits, disabled)
    }
}

const fn mode(name: &'static str, bits: u64) -> Row {
    Row { acl: &["connection"], ..sub(name, 1, bits | flags::FAST, "3.0.0") }
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
                sub("addslots", -3, CHANGE, "3.0.0"),
                sub("addslotsrange", -4, CHANGE, "7.0.0"),
                sub("bumpepoch", 2, CHANGE, "3.0.0"),
                sub("count-failure-reports", 3, ADMIN, "3.0.0"),
                sub("countkeysinslot", 3, LOOK, "3.0.0"),
                sub("delslots", -3, CHANGE, "3.0.0"),
                sub("delslotsrange", -4, CHANGE, "7.0.0"),
                sub("failover", -2, CHANGE, "3.0.0"),
                sub("flushslots", 2, CHANGE, "3.0.0"),
                sub("forget", 3, CHANGE, "3.0.0"),
                sub("getkeysinslot", 4, LOOK, "3.0.0"),
                sub("help", 2, ALWAYS, "5.0.0"),
                sub("info", 2, LOOK, "3.0.0"),
                sub("keyslot", 3, LOOK, "3.0.0"),
                sub("links", 2, LOOK, "7.0.0"),
                sub("meet", -4, CHANGE, "3.0.0"),
                sub("myid", 2, LOOK, "3.0.0"),
                sub("myshardid", 2, LOOK, "7.2.0"),
                sub("nodes", 2, LOOK, "3.0.0"),
                sub("replicas", 3, ADMIN, "5.0.0"),
                sub("replicate", 3, CHANGE, "3.0.0"),
                sub("reset", -2, RESET, "3.0.0"),
                sub("saveconfig", 2, CHANGE, "3.0.0"),
                sub("set-config-epoch", 3, CHANGE, "3.0.0"),
                sub("setslot", -4, CHANGE, "3.0.0"),
                sub("shards", 2, ALWAYS, "7.0.0"),
                sub("slaves", 3, ADMIN, "3.0.0"),
                sub("slots", 2, ALWAYS, "3.0.0"),
            ],
        )
    },
];
