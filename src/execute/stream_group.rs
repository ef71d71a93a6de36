//! Streams: consumer groups and reading in them.
use super::blocking::{Form, Needs, Wait};
use super::collection::row;
use super::error::{err, NOT_INTEGER};
use super::server::write_help;
use super::stream::{
    bulk_id, id, reply_entries, reply_entry, Read, StreamsReply, BAD_ID, READS, STREAM, WRITES,
};
use super::{is, text, CommandError, CommandResult, Tx};
use crate::dispatch::table::{flags, key, keys, Begin, Find, KeySpec, PathRule, Row};
use crate::keyspace::event::{self};
use crate::keyspace::number::{format_i64, parse_i64};
use crate::keyspace::stream::{Group, Stream, StreamId};
use crate::keyspace::value::{Kind, Value, ValueMut};
use crate::reply::Reply;
use std::borrow::Cow;

/// There is no such group: the error of most commands.
pub(super) fn no_group(key: &[u8], group: &[u8]) -> CommandError {
    err(format!("NOGROUP No such key '{}' or consumer group '{}'", text(key), text(group)))
}

/// The error for options that a subcommand does not have.
pub(super) fn bad_subcommand(args: &[&[u8]]) -> CommandError {
    let sub = &args[1][..args[1].len().min(128)];
    err(format!(
        "ERR unknown subcommand or wrong number of arguments for '{}'. Try {} HELP.",
        text(sub),
        text(args[0]).to_ascii_uppercase()
    ))
}

/// A group to change, if key and group exist.
pub(super) fn group_mut<'t>(
    tx: &'t mut Tx<'_>,
    key: &[u8],
    name: &[u8],
) -> Result<Option<&'t mut Group>, CommandError> {
    Ok(tx.stream_mut(key)?.and_then(|s| s.group_mut(name)))
}

/// Options of `XGROUP CREATE` and `SETID` behind the id.
#[derive(Default)]
struct GroupOptions {
    make_stream: bool,
    entries_read: Option<i64>,
}

impl GroupOptions {
    fn parse(args: &[&[u8]], create: bool) -> Result<GroupOptions, CommandError> {
        let mut o = GroupOptions::default();
        let mut i = 5;
        while i < args.len() {
            match args[i] {
                a if create && is(a, "mkstream") => o.make_stream = true,
                a if is(a, "entriesread") && i + 1 < args.len() => {
                    i += 1;
                    o.entries_read = match parse_i64(args[i]).ok_or(NOT_INTEGER)? {
                        -1 => None,
                        n if n < 0 => {
                            return Err(err("ERR value for ENTRIESREAD must be positive or -1"))
                        }
                        n => Some(n),
                    };
                }
                _ => return Err(bad_subcommand(args)),
            }
            i += 1;
        }
        Ok(o)
    }
}

/// The stream of an `XGROUP` subcommand, which must exist.
fn group_stream<'t>(tx: &'t mut Tx<'_>, key: &[u8]) -> Result<&'t mut Stream, CommandError> {
    tx.stream_mut(key)?.ok_or(err(
        "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the \
         MKSTREAM option to create an empty stream automatically.",
    ))
}

/// The group of an `XGROUP` subcommand, which must exist.
fn existing_group<'t>(tx: &'t mut Tx<'_>, args: &[&[u8]]) -> Result<&'t mut Group, CommandError> {
    group_stream(tx, args[2])?.group_mut(args[3]).ok_or_else(|| missing_group(args[2], args[3]))
}

/// There is no such group: the error of `XGROUP` and `XINFO`.
pub(super) fn missing_group(key: &[u8], group: &[u8]) -> CommandError {
    err(format!("NOGROUP No such consumer group '{}' for key name '{}'", text(group), text(key)))
}

/// `XGROUP CREATE key group id|$ [MKSTREAM] [ENTRIESREAD n]`
fn create(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let options = GroupOptions::parse(args, true)?;
    let (key, name) = (args[2], args[3]);
    let last = match options.make_stream {
        true => tx.stream_mut(key)?.map(|s| s.last_id),
        false => Some(group_stream(tx, key)?.last_id),
    };
    if args.len() > 8 {
        return Err(bad_subcommand(args));
    }
    let from = match args[4] {
        b"$" => last.unwrap_or(StreamId::MIN),
        a => id(a)?,
    };
    if last.is_none() {
        tx.get_or_create(key, || Value::Stream(Box::new(Stream::new())));
        tx.modified(key);
    }
    let ValueMut::Stream(stream) = tx.get_or_create(key, || Value::Stream(Box::new(Stream::new())))
    else {
        return Err(super::error::WRONGTYPE);
    };
    if !stream.create_group(name, from, options.entries_read) {
        return Err(err("BUSYGROUP Consumer Group name already exists"));
    }
    out.ok();
    tx.dirty += 1;
    tx.notify(&event::XGROUP_CREATE, key);
    Ok(())
}

/// `XGROUP SETID key group id|$ [ENTRIESREAD n]`
fn setid(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let options = GroupOptions::parse(args, false)?;
    let key = args[2];
    existing_group(tx, args)?;
    if args.len() != 5 && args.len() != 7 {
        return Err(bad_subcommand(args));
    }
    let last = group_stream(tx, key)?.last_id;
    let id = match args[4] {
        b"$" => last,
        b"-" => StreamId::MIN,
        b"+" => StreamId::MAX,
        a => StreamId::parse(a, 0).ok_or(BAD_ID)?,
    };
    let group = existing_group(tx, args)?;
    group.last_id = id;
    group.entries_read = options.entries_read;
    out.ok();
    tx.dirty += 1;
    tx.notify(&event::XGROUP_SETID, key);
    Ok(())
}

/// `XGROUP DESTROY key group`
fn destroy(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let key = args[2];
    let destroyed = group_stream(tx, key)?.destroy_group(args[3]);
    out.int(i64::from(destroyed));
    if destroyed {
        tx.dirty += 1;
        tx.notify(&event::XGROUP_DESTROY, key);
        // Readers that wait in the group have to learn that it is gone.
        tx.key_ready(tx.db(), key);
        tx.server.key_gone(tx.db(), key, Kind::Stream);
    }
    Ok(())
}

/// Makes a consumer if there is none of that name, with its event. False when there was.
pub(super) fn make_consumer(
    tx: &mut Tx<'_>,
    key: &[u8],
    group: &[u8],
    consumer: &[u8],
) -> Result<bool, CommandError> {
    let now = tx.now;
    let made = group_mut(tx, key, group)?.is_some_and(|g| g.create_consumer(consumer, now));
    if made {
        tx.dirty += 1;
        tx.notify(&event::XGROUP_CREATECONSUMER, key);
    }
    Ok(made)
}

/// `XGROUP CREATECONSUMER key group consumer`
fn createconsumer(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    existing_group(tx, args)?;
    let made = make_consumer(tx, args[2], args[3], args[4])?;
    out.int(i64::from(made));
    Ok(())
}

/// `XGROUP DELCONSUMER key group consumer`
fn delconsumer(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let deleted = existing_group(tx, args)?.delete_consumer(args[4]);
    out.int(deleted.unwrap_or(0) as i64);
    if deleted.is_some() {
        tx.dirty += 1;
        tx.notify(&event::XGROUP_DELCONSUMER, args[2]);
    }
    Ok(())
}

/// The command itself does not go to the log: only what it did, by other commands.
pub(super) fn propagate_only_effects(tx: &mut Tx<'_>) {
    tx.propagate_nothing();
}

/// Logs the state of a pending entry as an `XCLAIM` that can be repeated.
pub(super) fn propagate_claim(tx: &mut Tx<'_>, key: &[u8], name: &[u8], id: StreamId) {
    propagate_claim_up_to(tx, key, name, id, StreamId::MAX);
}

/// As [`propagate_claim`], with the group as it was when it had read no further than `read`.
fn propagate_claim_up_to(tx: &mut Tx<'_>, key: &[u8], name: &[u8], id: StreamId, read: StreamId) {
    if !tx.server.log.active() {
        return;
    }
    let Ok(Some(group)) = tx.stream(key).map(|s| s.and_then(|s| s.group(name))) else { return };
    let Some(p) = group.pending_entry(id) else { return };
    let (consumer, last) = (p.consumer.clone(), group.last_id.min(read).to_string());
    let (id, time) = (id.to_string(), format_i64(p.delivery_time));
    let count = p.delivery_count.to_string();
    tx.propagate_also(&[
        b"XCLAIM",
        key,
        name,
        &consumer,
        b"0",
        id.as_bytes(),
        b"TIME",
        &time,
        b"RETRYCOUNT",
        count.as_bytes(),
        b"FORCE",
        b"JUSTID",
        b"LASTID",
        last.as_bytes(),
    ]);
}

/// Logs how far a group has read.
pub(super) fn propagate_group_id(tx: &mut Tx<'_>, key: &[u8], name: &[u8]) {
    if !tx.server.log.active() {
        return;
    }
    let Ok(Some(group)) = tx.stream(key).map(|s| s.and_then(|s| s.group(name))) else { return };
    let (last, read) = (group.last_id.to_string(), group.entries_read.unwrap_or(-1).to_string());
    tx.propagate_also(&[
        b"XGROUP",
        b"SETID",
        key,
        name,
        last.as_bytes(),
        b"ENTRIESREAD",
        read.as_bytes(),
    ]);
}

/// Where `XREADGROUP` begins in one stream.
#[derive(Clone, Copy)]
enum From {
    /// Entries that nobody in the group has got.
    New,
    /// The consumer's pending entries behind this id.
    History(StreamId),
}

fn read_from(arg: &[u8]) -> Result<From, CommandError> {
    let meaningless = |id: char| {
        Err(err(format!(
            "ERR The {id} ID is meaningless in the context of XREADGROUP: you want to read the history of this \
             consumer by specifying a proper ID, or use the > ID to get new messages. The {id} ID would just \
             return an empty result set."
        )))
    };
    match arg {
        b"$" => meaningless('$'),
        b"+" => meaningless('+'),
        b">" => Ok(From::New),
        _ => match id(arg)? {
            StreamId::MAX => Ok(From::New),
            id => Ok(From::History(id)),
        },
    }
}

/// `XREADGROUP GROUP group consumer [COUNT count] [BLOCK milliseconds] [NOACK] STREAMS key ... id ...`
fn xreadgroup(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let read = Read::parse(args, true, tx.now)?;
    let Some((name, consumer)) = read.group else { return Err(super::error::SYNTAX) };
    if !read.keys.iter().all(|k| tx.reaches(k)) {
        // An option's value is the word STREAMS, so that other keys were declared.
        return Err(super::error::SYNTAX);
    }
    propagate_only_effects(tx);
    let mut from = Vec::with_capacity(read.keys.len());
    for (key, arg) in read.keys.iter().zip(read.ids) {
        tx.look(key);
        if group_mut(tx, key, name)?.is_none() {
            return Err(err(format!(
                "NOGROUP No such key '{}' or consumer group '{}' in XREADGROUP with GROUP option",
                text(key),
                text(name)
            )));
        }
        from.push(read_from(arg)?);
    }
    let mut reply = StreamsReply::begin(out);
    for (key, from) in read.keys.iter().zip(from) {
        if make_consumer(tx, key, name, consumer)? && read.no_ack {
            tx.propagate_also(&[b"XGROUP", b"CREATECONSUMER", key, name, consumer]);
        }
        let now = tx.now;
        // A callback of the consumer's event may have changed anything.
        if let Some(c) = group_mut(tx, key, name)?.and_then(|g| g.consumer_mut(consumer)) {
            c.seen_time = now;
        }
        match from {
            From::History(id) => {
                reply.stream(out, key);
                history(tx, key, name, consumer, id, read.count, out)?;
            }
            From::New => {
                let Some(stream) = tx.stream_mut(key)? else { continue };
                let Some(last) = stream.group(name).map(|g| g.last_id) else { continue };
                if stream.last().is_some_and(|top| top.id > last) {
                    reply.stream(out, key);
                    deliver(tx, key, &read, last, out)?;
                }
            }
        }
    }
    if reply.end(out) {
        return Ok(());
    }
    let Some(timeout) = read.block else {
        out.null_array();
        return Ok(());
    };
    let wait = Wait {
        keys: read.keys.iter().map(|k| k.to_vec()).collect(),
        needs: Needs::Group(name.to_vec()),
        form: Form::Streams(read.head(args[0]), read.ids.iter().map(|i| i.to_vec()).collect()),
        timeout,
        null_is_bulk: false,
    };
    tx.wait_for(wait, out)
}

/// Delivers new entries of one stream to a consumer.
fn deliver(
    tx: &mut Tx<'_>,
    key: &[u8],
    read: &Read<'_>,
    last: StreamId,
    out: &mut Reply,
) -> CommandResult {
    let (Some((name, consumer)), now) = (read.group, tx.now) else { return Ok(()) };
    let Some(stream) = tx.stream_mut(key)? else { return Ok(()) };
    let start = last.next().unwrap_or(StreamId::MAX);
    let ids = reply_entries(out, stream.range(start, StreamId::MAX, false), read.count);
    let before = stream.group(name).map_or(StreamId::MAX, |g| g.last_id);
    let mut advanced = false;
    for id in &ids {
        advanced |= stream.advance_group(name, *id);
        if read.no_ack {
            continue;
        }
        if let Some(group) = stream.group_mut(name) {
            group.assign(*id, consumer, now, 1);
        }
    }
    if let Some(c) = stream.group_mut(name).and_then(|g| g.consumer_mut(consumer)) {
        if !read.no_ack && !ids.is_empty() {
            c.active_time = now;
        }
    }
    if !read.no_ack {
        for id in &ids {
            propagate_claim_up_to(tx, key, name, *id, before.max(*id));
        }
    }
    if advanced {
        propagate_group_id(tx, key, name);
    }
    if advanced || (!read.no_ack && !ids.is_empty()) {
        tx.dirty += 1;
    }
    Ok(())
}

/// Replies with a consumer's pending entries behind an id, and counts that as a delivery.
fn history(
    tx: &mut Tx<'_>,
    key: &[u8],
    name: &[u8],
    consumer: &[u8],
    after: StreamId,
    count: usize,
    out: &mut Reply,
) -> CommandResult {
    let now = tx.now;
    let ids: Vec<StreamId> = match (group_mut(tx, key, name)?, after.next()) {
        (Some(group), Some(start)) => group.consumer(consumer).map_or(Vec::new(), |c| {
            let max = if count == 0 { usize::MAX } else { count };
            c.pending().range(start..).take(max).copied().collect()
        }),
        _ => Vec::new(),
    };
    out.array(ids.len());
    let Some(stream) = tx.stream_mut(key)? else { return Ok(()) };
    for id in ids {
        let Some(entry) = stream.get(id) else {
            out.array(2);
            bulk_id(out, id);
            out.null_array();
            continue;
        };
        reply_entry(out, entry);
        if let Some(group) = stream.group_mut(name) {
            let deliveries = group.pending_entry(id).map_or(0, |p| p.delivery_count);
            group.redeliver(id, now, deliveries + 1);
        }
    }
    Ok(())
}

/// `XGROUP HELP`
fn help(_: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    write_help(
        out,
        args,
        &[
            "CREATE <key> <groupname> <id|$> [option]",
            "    Make a consumer group that gets entries behind this id. Options:",
            "    * MKSTREAM",
            "      Make the stream if there is none.",
            "    * ENTRIESREAD entries_read",
            "      How many entries the group has read.",
            "CREATECONSUMER <key> <groupname> <consumer>",
            "    Make a consumer in a group.",
            "DELCONSUMER <key> <groupname> <consumer>",
            "    Remove a consumer with its pending entries.",
            "DESTROY <key> <groupname>",
            "    Remove a group.",
            "SETID <key> <groupname> <id|$> [ENTRIESREAD entries_read]",
            "    Let a group get entries behind this id.",
        ],
    );
    Ok(())
}

const W: u64 = flags::WRITE;
const INSERT: &[KeySpec] = &[keys(key::RW | key::INSERT, 2, 2, 1)];
const UPDATE: &[KeySpec] = &[keys(key::RW | key::UPDATE, 2, 2, 1)];
const DELETE: &[KeySpec] = &[keys(key::RW | key::DELETE, 2, 2, 1)];
const READ_KEYS: &[KeySpec] = &[KeySpec {
    flags: key::RO | key::ACCESS | key::LOCK_WRITE,
    begin: Begin::Keyword(Cow::Borrowed("STREAMS"), 4),
    find: Find::Range(-1, 1, 2),
    notes: None,
}];

#[rustfmt::skip]
static GROUP_SUBS: &[Row] = &[
    row(STREAM, "create", -5, W | flags::DENYOOM, WRITES, INSERT, "5.0.0",
        "Creates a consumer group.", create),
    row(STREAM, "setid", -5, W, WRITES, UPDATE, "5.0.0",
        "Sets the last id that a group has got.", setid),
    row(STREAM, "destroy", 4, W, WRITES, DELETE, "5.0.0",
        "Removes a consumer group.", destroy),
    row(STREAM, "createconsumer", 5, W | flags::DENYOOM, WRITES, INSERT, "6.2.0",
        "Creates a consumer in a group.", createconsumer),
    row(STREAM, "delconsumer", 5, W, WRITES, DELETE, "5.0.0",
        "Removes a consumer from a group.", delconsumer),
    Row {
        path: PathRule::Connection,
        acl: &["stream"],
        group: "stream",
        since: "5.0.0",
        summary: "Tells what the subcommands do.",
        ..Row::new("help", 2, flags::LOADING | flags::STALE, help)
    },
];

/// The family's commands.
pub static ROWS: &[Row] = &[
    Row {
        group: "stream",
        since: "5.0.0",
        summary: "A container for commands on consumer groups.",
        ..Row::container("xgroup", GROUP_SUBS)
    },
    row(
        STREAM,
        "xreadgroup",
        -7,
        W | flags::BLOCKING,
        WRITES | READS,
        READ_KEYS,
        "5.0.0",
        "Returns entries of several streams to a consumer of a group.",
        xreadgroup,
    ),
];
