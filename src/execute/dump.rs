//! `DUMP`, `RESTORE`: values as text; and the insertion of loaded keys.
use super::error::{err, SYNTAX};
use super::{int, is, CommandResult, Expiry, Tx};
use crate::dispatch::table::{flags, key, keys, PathRule, Row};
use crate::keyspace::entry::Entry;
use crate::keyspace::event::{self, class};
use crate::keyspace::evict::minutes;
use crate::keyspace::value::Value;
use crate::lock::held::Access;
use crate::module::datatype::find_by_id;
use crate::reply::Reply;
use crate::snapshot::{self, Decoder, Limits};
use std::sync::atomic::Ordering::Relaxed;

impl Tx<'_> {
    /// Adds a key from a file, without events. False if the key is there already.
    pub fn insert_loaded(&mut self, key: &[u8], value: Value, at: Option<i64>, clock: u32) -> bool {
        self.with_shard(self.db(), key, Access::Write, |shard, data, hash| {
            if data.find(hash, key).is_some() {
                return false;
            }
            data.insert(shard, hash, Entry::new(key, value, at, clock));
            true
        })
    }
}

/// `DUMP key`
fn dump(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let compress = tx.server.config.rdbcompression();
    let db = tx.db();
    let Some(value) = tx.get(args[1]) else {
        out.null();
        return Ok(());
    };
    match snapshot::dump(value, (args[1], db), compress) {
        Some(payload) => out.bulk(&payload),
        None => return Err(err("ERR the module of this key could not save its value")),
    }
    Ok(())
}

/// Options of `RESTORE`.
#[derive(Default)]
struct Options {
    replace: bool,
    absolute: bool,
    idle: Option<i64>,
    frequency: Option<i64>,
}

fn options(args: &[&[u8]]) -> Result<Options, super::CommandError> {
    let mut o = Options::default();
    let mut rest = args.iter();
    while let Some(&word) = rest.next() {
        let more = rest.len() > 0;
        if is(word, "replace") {
            o.replace = true;
        } else if is(word, "absttl") {
            o.absolute = true;
        } else if is(word, "idletime") && more && o.frequency.is_none() {
            let n = int(rest.next().copied().unwrap_or_default())?;
            if n < 0 {
                return Err(err("ERR Invalid IDLETIME value, must be >= 0"));
            }
            o.idle = Some(n);
        } else if is(word, "freq") && more && o.idle.is_none() {
            let n = int(rest.next().copied().unwrap_or_default())?;
            if !(0..=255).contains(&n) {
                return Err(err("ERR Invalid FREQ value, must be >= 0 and <= 255"));
            }
            o.frequency = Some(n);
        } else {
            return Err(SYNTAX);
        }
    }
    Ok(o)
}

/// `RESTORE key ttl payload [REPLACE] [ABSTTL] [IDLETIME seconds] [FREQ frequency]`
fn restore(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let o = options(&args[4..])?;
    let name = args[1];
    if !o.replace && tx.exists(name) {
        return Err(err("BUSYKEY Target key name already exists."));
    }
    let ttl = int(args[2])?;
    if ttl < 0 {
        return Err(err("ERR Invalid TTL value, must be >= 0"));
    }
    let decoder = Decoder {
        limits: Limits::of(&tx.server.config),
        key: Some((name, tx.db())),
        find_type: &find_by_id,
        // From an AOF: a value whose module is not loaded yet.
        park: tx.server.loading.load(Relaxed),
    };
    let value = snapshot::restore(args[3], &decoder).map_err(|e| match e {
        snapshot::RestoreError::Footer => err("ERR DUMP payload version or checksum are wrong"),
        snapshot::RestoreError::Format(cause) => {
            crate::log_verbose!("RESTORE: {cause}");
            err("ERR Bad data format")
        }
    })?;
    let deleted = o.replace && tx.remove(name);
    let at = match ttl {
        0 => None,
        _ if o.absolute => Some(ttl),
        _ => Some(ttl.wrapping_add(tx.now)),
    };
    if at.is_some_and(|at| at <= tx.now) && !tx.server.loading.load(Relaxed) {
        // It would expire at once: only the old key goes.
        drop(value);
        if deleted {
            tx.dirty += 1;
            tx.modified(name);
            tx.notify(&event::DEL, name);
            let lazily = tx.server.config.lazyfree_lazy_server_del();
            tx.propagate_as(&[super::deletion(lazily), name]);
        }
        out.ok();
        return Ok(());
    }
    tx.set(name, value, at.map_or(Expiry::Clear, Expiry::At));
    if let Some(e) = tx.peek_entry(name) {
        let lfu = tx.server.lfu.load(Relaxed);
        match (o.frequency, o.idle) {
            (Some(f), _) if lfu => e.set_clock(minutes(tx.now) << 8 | f as u32),
            (_, Some(idle)) if !lfu => {
                e.set_clock((tx.now / 1000).wrapping_sub(idle) as u32 & 0xff_ffff);
            }
            _ => {}
        }
    }
    if let (Some(at), false) = (at, o.absolute) {
        let at = at.to_string();
        let mut effect: Vec<&[u8]> = args.to_vec();
        effect[2] = at.as_bytes();
        effect.push(b"ABSTTL");
        tx.propagate_as(&effect);
    }
    tx.dirty += 1;
    tx.modified(name);
    tx.notify(&event::RESTORE, name);
    out.ok();
    Ok(())
}

/// The family's commands.
pub static ROWS: &[Row] = &[
    Row {
        keys: &[keys(key::RO | key::ACCESS, 1, 1, 1)],
        events: class::KEY_MISS,
        acl: &["keyspace"],
        group: "generic",
        since: "2.6.0",
        summary: "Returns a serialized form of the value of a key.",
        ..Row::new("dump", 2, flags::READONLY | flags::VALUES, dump)
    },
    // Only a payload tells whether a module has to read it, so both take the module path.
    Row {
        path: PathRule::ServerWide,
        keys: &[keys(key::OW | key::UPDATE, 1, 1, 1)],
        events: class::GENERIC | class::NEW,
        acl: &["keyspace", "dangerous"],
        group: "generic",
        since: "2.6.0",
        summary: "Makes a key from the serialized form of a value.",
        ..Row::new("restore", -4, flags::WRITE | flags::DENYOOM, restore)
    },
    Row {
        path: PathRule::ServerWide,
        keys: &[keys(key::OW | key::UPDATE, 1, 1, 1)],
        events: class::GENERIC | class::NEW,
        acl: &["keyspace", "dangerous"],
        group: "server",
        since: "3.0.0",
        summary: "Makes a key that a cluster node moves here.",
        ..Row::new("restore-asking", -4, flags::WRITE | flags::DENYOOM | flags::ASKING, restore)
    },
];
