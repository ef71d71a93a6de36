//! Streams: `XINFO`.
use super::collection::row;
use super::error::NO_SUCH_KEY;
use super::server::write_help;
use super::stream::{bulk_id, reply_entries, reply_entry, READS, STREAM};
use super::stream_group::{bad_subcommand, missing_group};
use super::{int, is, CommandResult, Tx};
use crate::dispatch::table::{flags, key, keys, KeySpec, PathRule, Row};
use crate::keyspace::stream::{Entry, Group, Stream, StreamId};
use crate::reply::Reply;

fn optional_int(out: &mut Reply, n: Option<i64>) {
    match n {
        Some(n) => out.int(n),
        None => out.null(),
    }
}

fn field_int(out: &mut Reply, name: &str, n: i64) {
    out.bulk_str(name);
    out.int(n);
}

fn field_id(out: &mut Reply, name: &str, id: StreamId) {
    out.bulk_str(name);
    bulk_id(out, id);
}

/// How many nodes the radix tree has that Redis would keep these keys in, sorted and all of one length: a chain of
/// bytes without branches is one node, each branch and each key's end another.
fn radix_nodes(keys: &[[u8; 16]], depth: usize) -> usize {
    match keys {
        [] => 1,
        [key] => 1 + usize::from(depth < key.len()),
        [first, .., last] => {
            let common = first[depth..].iter().zip(&last[depth..]).take_while(|(a, b)| a == b);
            let branch = depth + common.count();
            let children = keys.chunk_by(|a, b| a[branch] == b[branch]);
            let below: usize = children.map(|c| radix_nodes(c, branch + 1)).sum();
            usize::from(branch > depth) + 1 + below
        }
    }
}

fn edge(out: &mut Reply, name: &str, entry: Option<Entry<'_>>) {
    out.bulk_str(name);
    match entry {
        Some(e) => reply_entry(out, e),
        None => out.null(),
    }
}

/// `XINFO STREAM key [FULL [COUNT count]]`
fn stream(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let stream = tx.stream(args[2])?.ok_or(NO_SUCH_KEY)?;
    let full = match args[3..] {
        [] => None,
        [word] if is(word, "full") => Some(10),
        [word, count, n] if is(word, "full") && is(count, "count") => {
            Some(usize::try_from(int(n)?).unwrap_or(10))
        }
        _ => return Err(bad_subcommand(args)),
    };
    let nodes: Vec<[u8; 16]> = stream.nodes().map(|(id, _)| id.to_bytes()).collect();
    out.map(if full.is_some() { 9 } else { 10 });
    field_int(out, "length", stream.len() as i64);
    field_int(out, "radix-tree-keys", nodes.len() as i64);
    field_int(out, "radix-tree-nodes", radix_nodes(&nodes, 0) as i64);
    field_id(out, "last-generated-id", stream.last_id);
    field_id(out, "max-deleted-entry-id", stream.max_deleted_entry_id);
    field_int(out, "entries-added", stream.entries_added as i64);
    field_id(out, "recorded-first-entry-id", stream.first_id());
    let Some(count) = full else {
        field_int(out, "groups", stream.groups().len() as i64);
        edge(out, "first-entry", stream.first());
        edge(out, "last-entry", stream.last());
        return Ok(());
    };
    out.bulk_str("entries");
    reply_entries(out, stream.iter(), count);
    out.bulk_str("groups");
    out.array(stream.groups().len());
    let max = if count == 0 { usize::MAX } else { count };
    for (name, group) in stream.groups() {
        out.map(7);
        out.bulk_str("name");
        out.bulk(name);
        group_progress(out, stream, group);
        field_int(out, "pel-count", group.pending().len() as i64);
        out.bulk_str("pending");
        out.array(group.pending().len().min(max));
        for (id, p) in group.pending().iter().take(max) {
            out.array(4);
            bulk_id(out, *id);
            out.bulk(&p.consumer);
            out.int(p.delivery_time);
            out.int(p.delivery_count as i64);
        }
        full_consumers(out, group, max);
    }
    Ok(())
}

fn group_progress(out: &mut Reply, stream: &Stream, group: &Group) {
    field_id(out, "last-delivered-id", group.last_id);
    out.bulk_str("entries-read");
    optional_int(out, group.entries_read);
    out.bulk_str("lag");
    optional_int(out, stream.group_lag(group));
}

fn full_consumers(out: &mut Reply, group: &Group, max: usize) {
    out.bulk_str("consumers");
    out.array(group.consumers().len());
    for c in group.consumers() {
        out.map(5);
        out.bulk_str("name");
        out.bulk(c.name());
        field_int(out, "seen-time", c.seen_time);
        field_int(out, "active-time", c.active_time);
        field_int(out, "pel-count", c.pending().len() as i64);
        out.bulk_str("pending");
        out.array(c.pending().len().min(max));
        for id in c.pending().iter().take(max) {
            let p = group.pending_entry(*id);
            out.array(3);
            bulk_id(out, *id);
            out.int(p.map_or(0, |p| p.delivery_time));
            out.int(p.map_or(0, |p| p.delivery_count as i64));
        }
    }
}

/// `XINFO GROUPS key`
fn groups(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let stream = tx.stream(args[2])?.ok_or(NO_SUCH_KEY)?;
    out.array(stream.groups().len());
    for (name, group) in stream.groups() {
        out.map(6);
        out.bulk_str("name");
        out.bulk(name);
        field_int(out, "consumers", group.consumers().len() as i64);
        field_int(out, "pending", group.pending().len() as i64);
        group_progress(out, stream, group);
    }
    Ok(())
}

/// `XINFO CONSUMERS key group`
fn consumers(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let stream = tx.stream(args[2])?.ok_or(NO_SUCH_KEY)?;
    let group = stream.group(args[3]).ok_or_else(|| missing_group(args[2], args[3]))?;
    out.array(group.consumers().len());
    for c in group.consumers() {
        out.map(4);
        out.bulk_str("name");
        out.bulk(c.name());
        field_int(out, "pending", c.pending().len() as i64);
        field_int(out, "idle", (tx.now - c.seen_time).max(0));
        let inactive = if c.active_time == -1 { -1 } else { tx.now - c.active_time };
        field_int(out, "inactive", inactive);
    }
    Ok(())
}

/// `XINFO HELP`
fn help(_: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    write_help(
        out,
        args,
        &[
            "CONSUMERS <key> <groupname>",
            "    Tell about the consumers of a group.",
            "GROUPS <key>",
            "    Tell about the groups of a stream.",
            "STREAM <key> [FULL [COUNT <count>]",
            "    Tell about a stream.",
        ],
    );
    Ok(())
}

const READ: &[KeySpec] = &[keys(key::RO | key::ACCESS, 2, 2, 1)];
const RO: u64 = flags::READONLY;

#[rustfmt::skip]
static SUBS: &[Row] = &[
    row(STREAM, "stream", -3, RO, READS, READ, "5.0.0", "Returns information about a stream.", stream),
    row(STREAM, "groups", 3, RO, READS, READ, "5.0.0", "Returns the groups of a stream.", groups),
    row(STREAM, "consumers", 4, RO, READS, READ, "5.0.0", "Returns the consumers of a group.", consumers),
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
pub static ROWS: &[Row] = &[Row {
    group: "stream",
    since: "5.0.0",
    summary: "A container for commands that tell about streams.",
    ..Row::container("xinfo", SUBS)
}];

#[cfg(test)]
mod tests {
    use super::*;

    /// Node counts as `XINFO STREAM` of redis-server 7.4.1 gives them.
    #[test]
    fn nodes_of_a_radix_tree() {
        let nodes = |ids: &[(u64, u64)]| {
            let keys: Vec<_> = ids.iter().map(|i| StreamId::new(i.0, i.1).to_bytes()).collect();
            radix_nodes(&keys, 0)
        };
        assert_eq!(nodes(&[]), 1);
        assert_eq!(nodes(&[(1, 1)]), 2);
        assert_eq!(nodes(&[(1, 1), (1, 2)]), 4);
        assert_eq!(nodes(&[(1, 1), (2, 1)]), 6);
    }
}
