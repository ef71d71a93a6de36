//! Publish and subscribe.
use super::{text, CommandResult, Tx};
use crate::config::glob_match;
use crate::connection::client::{flag, ClientShared, Session};
use crate::dispatch::table::{flags, key, keys, Command, PathRule, Row};
use crate::keyspace::event::class;
use crate::propagate::to;
use crate::reply::Reply;
use crate::server::Server;
use parking_lot::RwLock;
use std::collections::HashMap;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::Arc;

type Subscribers = Vec<Arc<ClientShared>>;

/// Who listens to what. Publishers read, subscribers write.
#[derive(Default)]
pub struct PubSub {
    channels: RwLock<HashMap<Vec<u8>, Subscribers>>,
    patterns: RwLock<Vec<(Vec<u8>, Subscribers)>>,
    shard_channels: RwLock<HashMap<Vec<u8>, Subscribers>>,
}

fn message(resp3: bool, parts: &[&[u8]]) -> Vec<u8> {
    let mut r = Reply::new(resp3);
    r.push(parts.len());
    for p in parts {
        r.bulk(p);
    }
    r.buf
}

fn send(to: &Subscribers, parts: &[&[u8]]) -> usize {
    let mut encoded: [Option<Vec<u8>>; 2] = [None, None];
    for c in to {
        let resp3 = c.has(flag::RESP3);
        c.push(encoded[usize::from(resp3)].get_or_insert_with(|| message(resp3, parts)));
    }
    to.len()
}

impl PubSub {
    /// Sends a message to all subscribers of a channel. Returns how many got it.
    pub fn publish(&self, channel: &[u8], payload: &[u8]) -> usize {
        let mut n = 0;
        if let Some(s) = self.channels.read().get(channel) {
            n += send(s, &[b"message", channel, payload]);
        }
        for (pattern, s) in self.patterns.read().iter() {
            if glob_match(pattern, channel, false) {
                n += send(s, &[b"pmessage", pattern, channel, payload]);
            }
        }
        n
    }

    /// Sends a message to the subscribers of a shard channel.
    pub fn publish_shard(&self, channel: &[u8], payload: &[u8]) -> usize {
        self.shard_channels
            .read()
            .get(channel)
            .map_or(0, |s| send(s, &[b"smessage", channel, payload]))
    }

    /// Clients that are subscribed to something that none of these patterns of the ACL allows.
    pub fn subscribers_beyond(&self, allowed: &[Vec<u8>]) -> Subscribers {
        use crate::acl::check::channel_is_among;
        let mut found: Subscribers = Vec::new();
        let mut look = |name: &[u8], is_pattern: bool, who: &Subscribers| {
            if !channel_is_among(allowed, name, is_pattern) {
                for c in who {
                    if !found.iter().any(|f| Arc::ptr_eq(f, c)) {
                        found.push(c.clone());
                    }
                }
            }
        };
        self.patterns.read().iter().for_each(|(name, who)| look(name, true, who));
        for map in [&self.channels, &self.shard_channels] {
            map.read().iter().for_each(|(name, who)| look(name, false, who));
        }
        found
    }

    /// Number of patterns with subscribers, for `INFO`.
    pub fn pattern_count(&self) -> usize {
        self.patterns.read().len()
    }

    /// Number of channels with subscribers, for `INFO`.
    pub fn channel_count(&self) -> usize {
        self.channels.read().len()
    }

    /// Number of shard channels with subscribers, for `INFO`.
    pub fn shard_channel_count(&self) -> usize {
        self.shard_channels.read().len()
    }
}

/// Tells subscribed clients of a keyspace event, as `notify-keyspace-events` asks.
pub fn keyspace_event(server: &Server, db: usize, _class: u32, event: &[u8], key: &[u8]) {
    let wanted = server.client_events();
    if wanted & class::KEYSPACE != 0 {
        let mut channel = format!("__keyspace@{db}__:").into_bytes();
        channel.extend_from_slice(key);
        server.pubsub.publish(&channel, event);
    }
    if wanted & class::KEYEVENT != 0 {
        let mut channel = format!("__keyevent@{db}__:").into_bytes();
        channel.extend_from_slice(event);
        server.pubsub.publish(&channel, key);
    }
}

/// Commands that a RESP2 client may send while it is subscribed.
pub fn allowed_while_subscribed(command: &Command) -> bool {
    matches!(
        command.name.as_str(),
        "ping"
            | "subscribe"
            | "psubscribe"
            | "ssubscribe"
            | "unsubscribe"
            | "punsubscribe"
            | "sunsubscribe"
            | "quit"
            | "reset"
    )
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sort {
    Channel,
    Pattern,
    Shard,
}

impl Sort {
    fn words(self) -> (&'static [u8], &'static [u8]) {
        match self {
            Sort::Channel => (b"subscribe", b"unsubscribe"),
            Sort::Pattern => (b"psubscribe", b"punsubscribe"),
            Sort::Shard => (b"ssubscribe", b"sunsubscribe"),
        }
    }

    fn own(self, s: &mut Session) -> &mut std::collections::HashSet<Vec<u8>> {
        let s = s.subscribed.get_or_insert_default();
        match self {
            Sort::Channel => &mut s.channels,
            Sort::Pattern => &mut s.patterns,
            Sort::Shard => &mut s.shard_channels,
        }
    }

    fn count(self, s: &Session) -> usize {
        match self {
            Sort::Shard => s.subscribed.as_ref().map_or(0, |s| s.shard_channels.len()),
            _ => s.subscription_count(),
        }
    }
}

fn update_counts(s: &mut Session) {
    let counts = s
        .subscribed
        .as_ref()
        .map_or([0; 3], |s| [s.channels.len(), s.patterns.len(), s.shard_channels.len()]);
    let c = &s.shared.subscriptions;
    for (of, n) in [&c.0, &c.1, &c.2].into_iter().zip(counts) {
        of.store(n as u32, Relaxed);
    }
    let any = counts != [0; 3];
    s.shared.put(flag::PUBSUB, any);
    if !any {
        s.subscribed = None;
    }
}

fn add(server: &Server, sort: Sort, s: &mut Session, name: &[u8]) {
    if !sort.own(s).insert(name.to_vec()) {
        return;
    }
    let who = s.shared.clone();
    match sort {
        Sort::Channel => {
            server.pubsub.channels.write().entry(name.to_vec()).or_default().push(who);
        }
        Sort::Shard => {
            server.pubsub.shard_channels.write().entry(name.to_vec()).or_default().push(who);
        }
        Sort::Pattern => {
            let mut p = server.pubsub.patterns.write();
            match p.iter_mut().find(|(n, _)| n == name) {
                Some((_, list)) => list.push(who),
                None => p.push((name.to_vec(), vec![who])),
            }
        }
    }
}

fn remove(server: &Server, sort: Sort, s: &mut Session, name: &[u8]) {
    if !sort.own(s).remove(name) {
        return;
    }
    let not_me = |c: &Arc<ClientShared>| !Arc::ptr_eq(c, &s.shared);
    match sort {
        Sort::Pattern => {
            let mut p = server.pubsub.patterns.write();
            for (n, list) in p.iter_mut() {
                if n == name {
                    list.retain(not_me);
                }
            }
            p.retain(|(_, list)| !list.is_empty());
        }
        Sort::Channel | Sort::Shard => {
            let map = if sort == Sort::Channel {
                &server.pubsub.channels
            } else {
                &server.pubsub.shard_channels
            };
            let mut map = map.write();
            if let Some(list) = map.get_mut(name) {
                list.retain(not_me);
                if list.is_empty() {
                    map.remove(name);
                }
            }
        }
    }
}

fn subscribe_to(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply, sort: Sort) -> CommandResult {
    if tx.session.deny_blocking && tx.session.shared.has(flag::INTERNAL) {
        // Messages would have nowhere to go behind a module's call.
        let name = sort.words().0.to_ascii_uppercase();
        let text = format!("ERR {} isn't allowed for a DENY BLOCKING client", super::text(&name));
        return Err(super::error::err(text));
    }
    tx.session.pushed = true;
    for name in &args[1..] {
        add(tx.server, sort, tx.session, name);
        out.push(3);
        out.bulk(sort.words().0);
        out.bulk(name);
        out.int(sort.count(tx.session) as i64);
    }
    update_counts(tx.session);
    Ok(())
}

fn unsubscribe_from(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply, sort: Sort) -> CommandResult {
    let names: Vec<Vec<u8>> = if args.len() > 1 {
        args[1..].iter().map(|a| a.to_vec()).collect()
    } else {
        sort.own(tx.session).iter().cloned().collect()
    };
    tx.session.pushed = true;
    for name in &names {
        remove(tx.server, sort, tx.session, name);
        out.push(3);
        out.bulk(sort.words().1);
        out.bulk(name);
        out.int(sort.count(tx.session) as i64);
    }
    if names.is_empty() {
        out.push(3);
        out.bulk(sort.words().1);
        out.null();
        out.int(sort.count(tx.session) as i64);
    }
    update_counts(tx.session);
    Ok(())
}

/// Ends all subscriptions of a session, silently.
pub fn unsubscribe_all(server: &Server, s: &mut Session) {
    if s.subscribed.is_none() {
        return;
    }
    for sort in [Sort::Channel, Sort::Pattern, Sort::Shard] {
        for name in sort.own(s).iter().cloned().collect::<Vec<_>>() {
            remove(server, sort, s, &name);
        }
    }
    update_counts(s);
}

/// `SUBSCRIBE channel ...`
fn subscribe(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    subscribe_to(tx, args, out, Sort::Channel)
}

/// `PSUBSCRIBE pattern ...`
fn psubscribe(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    subscribe_to(tx, args, out, Sort::Pattern)
}

/// `SSUBSCRIBE channel ...`
fn ssubscribe(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    subscribe_to(tx, args, out, Sort::Shard)
}

/// `UNSUBSCRIBE [channel ...]`
fn unsubscribe(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    unsubscribe_from(tx, args, out, Sort::Channel)
}

/// `PUNSUBSCRIBE [pattern ...]`
fn punsubscribe(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    unsubscribe_from(tx, args, out, Sort::Pattern)
}

/// `SUNSUBSCRIBE [channel ...]`
fn sunsubscribe(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    unsubscribe_from(tx, args, out, Sort::Shard)
}

/// `PUBLISH channel message`
fn publish(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    // It changes nothing here, but replicas have subscribers too.
    tx.effects.force = to::REPLICAS;
    out.int(tx.server.pubsub.publish(args[1], args[2]) as i64);
    Ok(())
}

/// `SPUBLISH channel message`
fn spublish(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    tx.effects.force = to::REPLICAS;
    out.int(tx.server.pubsub.publish_shard(args[1], args[2]) as i64);
    Ok(())
}

fn list_channels(
    map: &RwLock<HashMap<Vec<u8>, Subscribers>>,
    pattern: Option<&&[u8]>,
    out: &mut Reply,
) {
    let map = map.read();
    let names: Vec<_> =
        map.keys().filter(|n| pattern.is_none_or(|p| glob_match(p, n, false))).collect();
    out.array(names.len());
    for n in names {
        out.bulk(n);
    }
}

fn count_subscribers(
    map: &RwLock<HashMap<Vec<u8>, Subscribers>>,
    names: &[&[u8]],
    out: &mut Reply,
) {
    let map = map.read();
    out.array(names.len() * 2);
    for n in names {
        out.bulk(n);
        out.int(map.get(*n).map_or(0, Vec::len) as i64);
    }
}

/// `PUBSUB CHANNELS [pattern]`
fn pubsub_channels(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    if args.len() > 3 {
        return Err(super::server::subcommand_syntax(args));
    }
    list_channels(&tx.server.pubsub.channels, args.get(2), out);
    Ok(())
}

/// `PUBSUB NUMSUB [channel ...]`
fn pubsub_numsub(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    count_subscribers(&tx.server.pubsub.channels, &args[2..], out);
    Ok(())
}

/// `PUBSUB NUMPAT`
fn pubsub_numpat(tx: &mut Tx<'_>, _: &[&[u8]], out: &mut Reply) -> CommandResult {
    out.int(tx.server.pubsub.pattern_count() as i64);
    Ok(())
}

/// `PUBSUB SHARDCHANNELS [pattern]`
fn pubsub_shardchannels(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    if args.len() > 3 {
        return Err(super::server::subcommand_syntax(args));
    }
    list_channels(&tx.server.pubsub.shard_channels, args.get(2), out);
    Ok(())
}

/// `PUBSUB SHARDNUMSUB [channel ...]`
fn pubsub_shardnumsub(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    count_subscribers(&tx.server.pubsub.shard_channels, &args[2..], out);
    Ok(())
}

/// Text of a channel for logs.
pub fn channel_text(name: &[u8]) -> String {
    text(name).into_owned()
}

const FLAGS: u64 = flags::PUBSUB | flags::NOSCRIPT | flags::LOADING | flags::STALE;
const SEND: u64 =
    flags::PUBSUB | flags::LOADING | flags::STALE | flags::FAST | flags::MAY_REPLICATE;
/// `PUBSUB HELP`
fn help(_: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    super::server::write_help(
        out,
        args,
        &[
            "CHANNELS [<pattern>]",
            "    List the channels that somebody listens to.",
            "NUMPAT",
            "    Count the patterns that somebody listens by.",
            "NUMSUB [<channel> ...]",
            "    Count the listeners of channels, patterns not included.",
            "SHARDCHANNELS [<pattern>]",
            "    List the shard channels that somebody listens to.",
            "SHARDNUMSUB [<shardchannel> ...]",
            "    Count the listeners of shard channels.",
        ],
    );
    Ok(())
}

const HELP: u64 = flags::LOADING | flags::STALE;
const LOOK: u64 = flags::PUBSUB | flags::LOADING | flags::STALE;

const fn row(
    name: &'static str,
    arity: i32,
    bits: u64,
    since: &'static str,
    summary: &'static str,
    run: crate::dispatch::table::Handler,
) -> Row {
    Row {
        path: PathRule::Connection,
        acl: &["pubsub"],
        group: "pubsub",
        since,
        summary,
        ..Row::new(name, arity, bits, run)
    }
}

/// The family's commands.
pub static ROWS: &[Row] = &[
    row("subscribe", -2, FLAGS, "2.0.0", "Listens to channels.", subscribe),
    row("unsubscribe", -1, FLAGS, "2.0.0", "Stops listening to channels.", unsubscribe),
    row("psubscribe", -2, FLAGS, "2.0.0", "Listens to channels by patterns.", psubscribe),
    row("punsubscribe", -1, FLAGS, "2.0.0", "Stops listening by patterns.", punsubscribe),
    Row {
        keys: &[keys(key::NOT_KEY, 1, -1, 1)],
        ..row("ssubscribe", -2, FLAGS, "7.0.0", "Listens to shard channels.", ssubscribe)
    },
    Row {
        keys: &[keys(key::NOT_KEY, 1, -1, 1)],
        ..row(
            "sunsubscribe",
            -1,
            FLAGS,
            "7.0.0",
            "Stops listening to shard channels.",
            sunsubscribe,
        )
    },
    row("publish", 3, SEND, "2.0.0", "Sends a message to a channel.", publish),
    Row {
        keys: &[keys(key::NOT_KEY, 1, 1, 1)],
        ..row("spublish", 3, SEND, "7.0.0", "Sends a message to a shard channel.", spublish)
    },
    Row {
        group: "pubsub",
        since: "2.8.0",
        summary: "Looks at channels and subscribers.",
        ..Row::container(
            "pubsub",
            &[
                Row {
                    acl: &[],
                    ..row("help", 2, HELP, "6.2.0", "Tells about the subcommands.", help)
                },
                row("channels", -2, LOOK, "2.8.0", "Lists active channels.", pubsub_channels),
                row("numsub", -2, LOOK, "2.8.0", "Counts subscribers.", pubsub_numsub),
                row("numpat", 2, LOOK, "2.8.0", "Counts patterns.", pubsub_numpat),
                row(
                    "shardchannels",
                    -2,
                    LOOK,
                    "7.0.0",
                    "Lists shard channels.",
                    pubsub_shardchannels,
                ),
                row(
                    "shardnumsub",
                    -2,
                    LOOK,
                    "7.0.0",
                    "Counts shard subscribers.",
                    pubsub_shardnumsub,
                ),
            ],
        )
    },
];
