//! Streams: entries. Groups are in `stream_group`, pending entries in `stream_pending`, `XINFO` in `stream_info`.
use super::blocking::{Form, Needs, Wait};
use super::collection::{bulk_item, node_limits, row, spec, timeout_ms};
use super::error::{arity, err, NO_SUCH_KEY, SYNTAX, WRONGTYPE};
use super::{int, is, CommandError, CommandResult, Tx};
use crate::dispatch::table::{flags, key, Begin, Find, KeySpec, Row};
use crate::keyspace::event::{self, class};
use crate::keyspace::number::{parse_u64, write_before};
use crate::keyspace::stream::{AppendError, Entry, Stream, StreamId, TrimTo};
use crate::keyspace::value::{Value, ValueMut};
use crate::reply::Reply;
use std::borrow::Cow;

/// An argument is no id of a stream entry.
pub(super) const BAD_ID: CommandError =
    CommandError(Cow::Borrowed("ERR Invalid stream ID specified as stream command argument"));

/// An id; a missing sequence number is 0.
pub(super) fn id(arg: &[u8]) -> Result<StreamId, CommandError> {
    StreamId::parse(arg, 0).ok_or(BAD_ID)
}

/// One end of an interval: `-`, `+`, an id, or `(` and an id. `last` says which end.
fn interval_end(arg: &[u8], last: bool) -> Result<StreamId, CommandError> {
    let missing_seq = if last { u64::MAX } else { 0 };
    match arg {
        b"-" => Ok(StreamId::MIN),
        b"+" => Ok(StreamId::MAX),
        [b'(', rest @ ..] if !rest.is_empty() => {
            let id = StreamId::parse(rest, missing_seq).ok_or(BAD_ID)?;
            match last {
                false => id.next().ok_or(err("ERR invalid start ID for the interval")),
                true => id.prev().ok_or(err("ERR invalid end ID for the interval")),
            }
        }
        _ => StreamId::parse(arg, missing_seq).ok_or(BAD_ID),
    }
}

/// Both ends of an interval, included.
pub(super) fn interval(start: &[u8], end: &[u8]) -> Result<(StreamId, StreamId), CommandError> {
    Ok((interval_end(start, false)?, interval_end(end, true)?))
}

/// The start of an interval.
pub(super) fn interval_start(start: &[u8]) -> Result<StreamId, CommandError> {
    interval_end(start, false)
}

/// An id as a bulk string.
pub(super) fn bulk_id(out: &mut Reply, id: StreamId) {
    let mut text = [0u8; 41];
    let dash = write_before(&mut text, 41, id.seq) - 1;
    text[dash] = b'-';
    let start = write_before(&mut text, dash, id.ms);
    out.bulk(&text[start..]);
}

/// An entry: its id and its fields.
pub(super) fn reply_entry(out: &mut Reply, entry: Entry<'_>) {
    out.array(2);
    bulk_id(out, entry.id);
    out.array(2 * entry.field_count());
    for (name, value) in entry.fields() {
        bulk_item(out, name);
        bulk_item(out, value);
    }
}

/// Entries, at most `count` unless that is zero; their ids.
pub(super) fn reply_entries<'a>(
    out: &mut Reply,
    entries: impl Iterator<Item = Entry<'a>>,
    count: usize,
) -> Vec<StreamId> {
    let at = out.deferred();
    let mut ids = Vec::new();
    for entry in entries.take(if count == 0 { usize::MAX } else { count }) {
        ids.push(entry.id);
        reply_entry(out, entry);
    }
    out.fill_array(at, ids.len());
    ids
}

/// The id that `XADD` is given.
#[derive(Clone, Copy)]
enum NewId {
    Auto,
    AutoSeq(u64),
    Given(StreamId),
}

impl NewId {
    fn parse(arg: &[u8]) -> Result<NewId, CommandError> {
        if arg == b"*" {
            return Ok(NewId::Auto);
        }
        if let Some(ms) = arg.strip_suffix(b"-*") {
            return parse_u64(ms).map(NewId::AutoSeq).ok_or(BAD_ID);
        }
        id(arg).map(NewId::Given)
    }
}

/// How `XADD` and `XTRIM` trim.
#[derive(Clone, Copy)]
struct Trim {
    to: TrimTo,
    approx: bool,
    limit: u64,
    /// The argument with the bound.
    at: usize,
}

/// Options of `XADD` and `XTRIM`.
struct Options {
    trim: Option<Trim>,
    no_mkstream: bool,
    /// The id and its argument's number (`XADD`).
    id: Option<(NewId, usize)>,
}

/// Entries that an approximate trim looks at when the client set no limit.
fn trim_limit(tx: &Tx<'_>) -> u64 {
    match tx.server.config.stream_node_max_entries() as u64 {
        0 => 10_000,
        n => n.saturating_mul(100).min(1_000_000),
    }
}

impl Options {
    fn parse(tx: &Tx<'_>, args: &[&[u8]], add: bool) -> Result<Options, CommandError> {
        let mut o = Options { trim: None, no_mkstream: false, id: None };
        let mut limit = None;
        let mut i = 2;
        while i < args.len() {
            let more = args.len() - 1 - i;
            match args[i] {
                b"*" if add => {
                    o.id = Some((NewId::Auto, i));
                    break;
                }
                a if more > 0 && (is(a, "maxlen") || is(a, "minid")) => {
                    if o.trim.is_some() {
                        return Err(err(
                            "ERR syntax error, MAXLEN and MINID options at the same time are not compatible",
                        ));
                    }
                    let approx = more >= 2 && args[i + 1] == b"~";
                    if approx || (more >= 2 && args[i + 1] == b"=") {
                        i += 1;
                    }
                    i += 1;
                    let to = if is(a, "maxlen") {
                        let n = int(args[i])?;
                        TrimTo::MaxLen(
                            u64::try_from(n)
                                .map_err(|_| err("ERR The MAXLEN argument must be >= 0."))?,
                        )
                    } else {
                        TrimTo::MinId(id(args[i])?)
                    };
                    o.trim = Some(Trim { to, approx, limit: 0, at: i });
                }
                a if more > 0 && is(a, "limit") => {
                    let n = int(args[i + 1])?;
                    let n = u64::try_from(n)
                        .map_err(|_| err("ERR The LIMIT argument must be >= 0."))?;
                    limit = Some(n);
                    i += 1;
                }
                a if add && is(a, "nomkstream") => o.no_mkstream = true,
                a if add => {
                    o.id = Some((NewId::parse(a)?, i));
                    break;
                }
                _ => return Err(SYNTAX),
            }
            i += 1;
        }
        match &mut o.trim {
            None if limit.is_some_and(|n| n > 0) => Err(err(
                "ERR syntax error, LIMIT cannot be used without specifying a trimming strategy",
            )),
            None if !add => {
                Err(err("ERR syntax error, XTRIM must be called with a trimming strategy"))
            }
            Some(t) if limit.is_some() && !t.approx => {
                Err(err("ERR syntax error, LIMIT cannot be used without the special ~ option"))
            }
            Some(t) if t.approx => {
                t.limit = limit.unwrap_or_else(|| trim_limit(tx));
                Ok(o)
            }
            None if limit.is_some() => {
                Err(err("ERR syntax error, LIMIT cannot be used without the special ~ option"))
            }
            _ => Ok(o),
        }
    }
}

/// Puts the exact effect of an approximate trim in place of its arguments.
/// Its options end before `end`.
fn exact_trim(effect: &mut Vec<Vec<u8>>, end: usize, trim: Trim, stream: Option<&Stream>) {
    let Some(stream) = stream.filter(|_| trim.approx) else { return };
    effect[trim.at - 1] = b"=".to_vec();
    effect[trim.at] = match trim.to {
        TrimTo::MaxLen(_) => stream.len().to_string().into_bytes(),
        TrimTo::MinId(_) => stream.first_id().to_string().into_bytes(),
    };
    // A limit goes with approximation only.
    if let Some(i) = (2..end).find(|i| *i != trim.at && is(&effect[*i], "limit")) {
        effect.drain(i..i + 2);
    }
}

fn propagate_owned(tx: &mut Tx<'_>, effect: &[Vec<u8>]) {
    let args: Vec<&[u8]> = effect.iter().map(Vec::as_slice).collect();
    tx.propagate_as(&args);
}

fn empty_stream() -> Value {
    Value::Stream(Box::new(Stream::new()))
}

/// `XADD key [NOMKSTREAM] [MAXLEN|MINID [=|~] bound [LIMIT n]] *|id field value ...`
fn xadd(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let options = Options::parse(tx, args, true)?;
    let Some((new_id, at)) = options.id else { return Err(arity("xadd")) };
    let (key, fields) = (args[1], &args[at + 1..]);
    if fields.is_empty() || fields.len() % 2 == 1 {
        return Err(arity("xadd"));
    }
    if let NewId::Given(StreamId::MIN) = new_id {
        return Err(err("ERR The ID specified in XADD must be greater than 0-0"));
    }
    if options.no_mkstream && tx.stream_mut(key)?.is_none() {
        out.null();
        return Ok(());
    }
    let (limits, now) = (node_limits(tx.server), tx.now.max(0) as u64);
    let ValueMut::Stream(stream) = tx.get_or_create(key, empty_stream) else {
        return Err(WRONGTYPE);
    };
    if stream.last_id == StreamId::MAX {
        return Err(err(
            "ERR The stream has exhausted the last possible ID, unable to add more items",
        ));
    }
    let id = match new_id {
        NewId::Auto => stream.next_id(now),
        NewId::AutoSeq(ms) => stream.next_id_in(ms),
        NewId::Given(id) => Some(id),
    };
    let not_greater =
        || err("ERR The ID specified in XADD is equal or smaller than the target stream top item");
    let id = id.ok_or_else(not_greater)?;
    stream.append(id, fields, limits).map_err(|e| match e {
        AppendError::IdNotGreater => not_greater(),
        AppendError::TooBig => err("ERR Elements are too large to be stored"),
    })?;
    bulk_id(out, id);
    tx.server.key_ready(tx.db(), key);
    tx.notify(&event::XADD, key);
    tx.dirty += 1;
    if let Some(t) = options.trim {
        let trimmed = tx.stream_mut(key)?.map_or(0, |s| s.trim(t.to, t.approx, t.limit));
        if trimmed > 0 {
            tx.notify(&event::XTRIM, key);
        }
    }
    tx.modified(key);
    if tx.server.log.active() {
        let mut effect: Vec<Vec<u8>> = args.iter().map(|a| a.to_vec()).collect();
        effect[at] = id.to_string().into_bytes();
        if let Some(t) = options.trim {
            exact_trim(&mut effect, at, t, tx.stream(key)?);
        }
        propagate_owned(tx, &effect);
    }
    Ok(())
}

/// `XTRIM key MAXLEN|MINID [=|~] bound [LIMIT n]`
fn xtrim(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let Some(t) = Options::parse(tx, args, false)?.trim else { return Err(SYNTAX) };
    let key = args[1];
    let trimmed = tx.stream_mut(key)?.map_or(0, |s| s.trim(t.to, t.approx, t.limit));
    if trimmed > 0 {
        tx.notify(&event::XTRIM, key);
        tx.modified(key);
        tx.dirty += trimmed;
        if t.approx && tx.server.log.active() {
            let mut effect: Vec<Vec<u8>> = args.iter().map(|a| a.to_vec()).collect();
            exact_trim(&mut effect, args.len(), t, tx.stream(key)?);
            propagate_owned(tx, &effect);
        }
    }
    out.int(trimmed as i64);
    Ok(())
}

/// `XDEL key id ...`
fn xdel(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let key = args[1];
    let mut deleted = 0;
    if let Some(stream) = tx.stream_mut(key)? {
        let ids = args[2..].iter().map(|a| id(a)).collect::<Result<Vec<_>, _>>()?;
        deleted = ids.into_iter().filter(|id| stream.delete(*id)).count();
    }
    if deleted > 0 {
        tx.modified(key);
        tx.notify(&event::XDEL, key);
        tx.dirty += deleted as u64;
    }
    out.int(deleted as i64);
    Ok(())
}

/// `XLEN key`
fn xlen(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    out.int(tx.stream(args[1])?.map_or(0, Stream::len) as i64);
    Ok(())
}

fn range(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply, back: bool) -> CommandResult {
    let (start, end) = match back {
        false => interval(args[2], args[3])?,
        true => interval(args[3], args[2])?,
    };
    let mut count = None;
    for option in args[4..].chunks(2) {
        match option {
            [word, n] if is(word, "count") => count = Some(int(n)?.max(0) as usize),
            _ => return Err(SYNTAX),
        }
    }
    let Some(stream) = tx.stream(args[1])? else {
        out.array(0);
        return Ok(());
    };
    match count {
        Some(0) => out.null_array(),
        _ => {
            reply_entries(out, stream.range(start, end, back), count.unwrap_or(0));
        }
    }
    Ok(())
}

/// `XRANGE key start end [COUNT count]`
fn xrange(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    range(tx, args, out, false)
}

/// `XREVRANGE key end start [COUNT count]`
fn xrevrange(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    range(tx, args, out, true)
}

/// `XSETID key last-id [ENTRIESADDED n] [MAXDELETEDID id]`
fn xsetid(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let last = id(args[2])?;
    let (mut added, mut deleted) = (None, StreamId::MIN);
    for option in args[3..].chunks(2) {
        match option {
            [word, n] if is(word, "entriesadded") => {
                let n = u64::try_from(int(n)?)
                    .map_err(|_| err("ERR entries_added must be positive"))?;
                added = Some(n);
            }
            [word, text] if is(word, "maxdeletedid") => {
                deleted = id(text)?;
                if last < deleted {
                    return Err(err(
                        "ERR The ID specified in XSETID is smaller than the provided max_deleted_entry_id",
                    ));
                }
            }
            _ => return Err(SYNTAX),
        }
    }
    let key = args[1];
    let stream = tx.stream_mut(key)?.ok_or(NO_SUCH_KEY)?;
    if last < stream.max_deleted_entry_id {
        return Err(err(
            "ERR The ID specified in XSETID is smaller than current max_deleted_entry_id",
        ));
    }
    if let Some(top) = stream.last() {
        if last < top.id {
            return Err(err(
                "ERR The ID specified in XSETID is smaller than the target stream top item",
            ));
        }
        if added.is_some_and(|n| n < stream.len()) {
            return Err(err(
                "ERR The entries_added specified in XSETID is smaller than the target stream length",
            ));
        }
    }
    stream.last_id = last;
    if let Some(n) = added {
        stream.entries_added = n;
    }
    if !deleted.is_zero() {
        stream.max_deleted_entry_id = deleted;
    }
    out.ok();
    tx.dirty += 1;
    tx.notify(&event::XSETID, key);
    Ok(())
}

/// Arguments of `XREAD` and `XREADGROUP`.
pub(super) struct Read<'a> {
    /// Milliseconds to wait; zero waits for ever.
    pub block: Option<i64>,
    /// Entries of each stream, zero for all.
    pub count: usize,
    /// Entries do not become pending.
    pub no_ack: bool,
    /// Group and consumer.
    pub group: Option<(&'a [u8], &'a [u8])>,
    /// Keys.
    pub keys: &'a [&'a [u8]],
    /// Ids, one for each key.
    pub ids: &'a [&'a [u8]],
}

impl<'a> Read<'a> {
    /// Parses the arguments; `in_group` for `XREADGROUP`.
    pub fn parse(args: &'a [&'a [u8]], in_group: bool, now: i64) -> Result<Read<'a>, CommandError> {
        let mut r = Read { block: None, count: 0, no_ack: false, group: None, keys: &[], ids: &[] };
        let only_group = |what: &str| {
            Err(err(format!(
                "ERR The {what} option is only supported by XREADGROUP. You called XREAD instead."
            )))
        };
        let mut i = 1;
        while i < args.len() {
            let more = args.len() - 1 - i;
            match args[i] {
                a if more > 0 && is(a, "block") => {
                    i += 1;
                    r.block = Some(timeout_ms(now, args[i])?);
                }
                a if more > 0 && is(a, "count") => {
                    i += 1;
                    r.count = int(args[i])?.max(0) as usize;
                }
                a if more > 0 && is(a, "streams") => {
                    let rest = &args[i + 1..];
                    if rest.len() % 2 == 1 {
                        let (command, symbol) =
                            if in_group { ("xreadgroup", '>') } else { ("xread", '$') };
                        return Err(err(format!(
                            "ERR Unbalanced '{command}' list of streams: for each stream key an ID or \
                             '{symbol}' must be specified."
                        )));
                    }
                    (r.keys, r.ids) = rest.split_at(rest.len() / 2);
                    break;
                }
                a if more >= 2 && is(a, "group") => {
                    if !in_group {
                        return only_group("GROUP");
                    }
                    r.group = Some((args[i + 1], args[i + 2]));
                    i += 2;
                }
                a if is(a, "noack") => {
                    if !in_group {
                        return only_group("NOACK");
                    }
                    r.no_ack = true;
                }
                _ => return Err(SYNTAX),
            }
            i += 1;
        }
        if r.keys.is_empty() {
            return Err(SYNTAX);
        }
        if in_group && r.group.is_none() {
            return Err(err("ERR Missing GROUP option for XREADGROUP"));
        }
        Ok(r)
    }
}

impl Read<'_> {
    /// The arguments before `STREAMS`, without the timeout.
    pub fn head(&self, name: &[u8]) -> Vec<Vec<u8>> {
        let mut head = vec![name.to_vec()];
        if let Some((group, consumer)) = self.group {
            head.extend([b"GROUP".to_vec(), group.to_vec(), consumer.to_vec()]);
        }
        if self.count > 0 {
            head.extend([b"COUNT".to_vec(), self.count.to_string().into_bytes()]);
        }
        if self.no_ack {
            head.push(b"NOACK".to_vec());
        }
        head
    }
}

/// Collects the streams of a reply: an array of pairs, or a map in RESP3.
pub(super) struct StreamsReply {
    at: crate::reply::Deferred,
    streams: usize,
}

impl StreamsReply {
    /// No streams yet.
    pub fn begin(out: &mut Reply) -> StreamsReply {
        StreamsReply { at: out.deferred(), streams: 0 }
    }

    /// The name of a stream; its entries follow.
    pub fn stream(&mut self, out: &mut Reply, key: &[u8]) {
        if !out.resp3 {
            out.array(2);
        }
        out.bulk(key);
        self.streams += 1;
    }

    /// Ends the reply; false when there were no streams and nothing was written.
    pub fn end(self, out: &mut Reply) -> bool {
        match (self.streams, out.resp3) {
            (0, _) => return false,
            (n, true) => out.fill_map(self.at, n),
            (n, false) => out.fill_array(self.at, n),
        }
        true
    }
}

/// The id behind which `XREAD` begins.
fn read_from(stream: Option<&Stream>, arg: &[u8]) -> Result<StreamId, CommandError> {
    let last = stream.map(|s| s.last_id);
    match arg {
        b"$" => Ok(last.unwrap_or(StreamId::MIN)),
        b"+" => match last {
            Some(last) => last.prev().ok_or(err("ERR the stream last element ID is 0-0")),
            None => Ok(StreamId::MIN),
        },
        b">" => Err(err(
            "ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> option.",
        )),
        _ => id(arg),
    }
}

/// `XREAD [COUNT count] [BLOCK milliseconds] STREAMS key ... id ...`
fn xread(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let read = Read::parse(args, false, tx.now)?;
    if !read.keys.iter().all(|k| tx.reaches(k)) {
        return Err(SYNTAX);
    }
    // Behind `$` means behind what the stream had when the command came first.
    let before = tx.session.retry.as_mut().and_then(|r| r.ids.take());
    let mut from = Vec::with_capacity(read.keys.len());
    for (i, (key, arg)) in read.keys.iter().zip(read.ids).enumerate() {
        let arg = before.as_ref().and_then(|ids| ids.get(i)).map_or(*arg, |id| id);
        from.push(read_from(tx.stream(key)?, arg)?);
    }
    let mut reply = StreamsReply::begin(out);
    for (key, &from) in read.keys.iter().zip(&from) {
        let Some(stream) = tx.stream(key)? else { continue };
        if stream.last().is_none_or(|top| top.id <= from) {
            continue;
        }
        let Some(start) = from.next() else { continue };
        reply.stream(out, key);
        reply_entries(out, stream.range(start, StreamId::MAX, false), read.count);
    }
    if reply.end(out) {
        return Ok(());
    }
    let Some(timeout) = read.block else {
        out.null_array();
        return Ok(());
    };
    let ids = read.ids.iter().zip(&from).map(|(arg, from)| match *arg {
        b"$" => from.to_string().into_bytes(),
        other => other.to_vec(),
    });
    let wait = Wait {
        keys: read.keys.iter().map(|k| k.to_vec()).collect(),
        form: Form::Streams(read.head(args[0]), ids.collect()),
        needs: Needs::Entries(from),
        timeout,
        null_is_bulk: false,
    };
    tx.wait_for(wait, out)
}

/// Group and ACL category of the family.
pub(super) const STREAM: (&str, &[&str]) = ("stream", &["stream"]);
/// Events of commands that change streams.
pub(super) const WRITES: u32 = class::STREAM | class::GENERIC | class::NEW | class::EXPIRED;
/// Events of commands that read.
pub(super) const READS: u32 = class::KEY_MISS;

const W: u64 = flags::WRITE;
const ADD_KEYS: &[KeySpec] = &[KeySpec {
    notes: Some(Cow::Borrowed("UPDATE instead of INSERT because of the optional trimming feature")),
    flags: key::RW | key::UPDATE,
    begin: Begin::Index(1),
    find: Find::Range(0, 1, 0),
}];
const READ_KEYS: &[KeySpec] = &[KeySpec {
    flags: key::RO | key::ACCESS,
    begin: Begin::Keyword(Cow::Borrowed("STREAMS"), 1),
    find: Find::Range(-1, 1, 2),
    notes: None,
}];

/// The family's commands.
#[rustfmt::skip]
pub static ROWS: &[Row] = &[
    row(STREAM, "xadd", -5, W | flags::DENYOOM | flags::FAST, WRITES, ADD_KEYS, "5.0.0",
        "Appends an entry to a stream, which is made if the key is missing.", xadd),
    row(STREAM, "xtrim", -4, W, WRITES, spec::DELETE, "5.0.0",
        "Deletes entries from the start of a stream.", xtrim),
    row(STREAM, "xdel", -3, W | flags::FAST, WRITES, spec::DELETE, "5.0.0",
        "Deletes entries of a stream by id.", xdel),
    row(STREAM, "xlen", 2, flags::READONLY | flags::FAST, READS, spec::LOOK, "5.0.0",
        "Returns the number of entries of a stream.", xlen),
    row(STREAM, "xrange", -4, flags::READONLY, READS, spec::READ, "5.0.0",
        "Returns entries in a range of ids.", xrange),
    row(STREAM, "xrevrange", -4, flags::READONLY, READS, spec::READ, "5.0.0",
        "Returns entries in a range of ids, the last first.", xrevrange),
    row(STREAM, "xsetid", -3, W | flags::DENYOOM | flags::FAST, WRITES, spec::UPDATE, "5.0.0",
        "Sets the last id of a stream.", xsetid),
    row(STREAM, "xread", -4, flags::READONLY | flags::BLOCKING, READS, READ_KEYS, "5.0.0",
        "Returns entries behind the given ids of several streams.", xread),
];
