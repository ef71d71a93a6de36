//! Commands: rows as the families write them, and the table that the dispatcher reads.
use super::ahead::Touches;
use crate::execute::{CommandResult, Tx};
use crate::lock::held::Access;
use crate::module::command::ModuleCommand;
pub use crate::observe::stats::CommandStats;
use crate::reply::Reply;
use parking_lot::RwLock;
use smallvec::SmallVec;
use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

/// The body of a command. `args[0]` is its name.
pub type Handler = fn(&mut Tx<'_>, &[&[u8]], &mut Reply) -> CommandResult;

/// Command flags, as `COMMAND INFO` names them.
#[allow(missing_docs)]
pub mod flags {
    pub const WRITE: u64 = 1 << 0;
    pub const READONLY: u64 = 1 << 1;
    pub const DENYOOM: u64 = 1 << 2;
    pub const MODULE: u64 = 1 << 3;
    pub const ADMIN: u64 = 1 << 4;
    pub const PUBSUB: u64 = 1 << 5;
    pub const NOSCRIPT: u64 = 1 << 6;
    pub const BLOCKING: u64 = 1 << 8;
    pub const LOADING: u64 = 1 << 9;
    pub const STALE: u64 = 1 << 10;
    pub const SKIP_MONITOR: u64 = 1 << 11;
    pub const SKIP_SLOWLOG: u64 = 1 << 12;
    pub const ASKING: u64 = 1 << 13;
    pub const FAST: u64 = 1 << 14;
    pub const NO_AUTH: u64 = 1 << 15;
    pub const MAY_REPLICATE: u64 = 1 << 16;
    pub const NO_MANDATORY_KEYS: u64 = 1 << 20;
    pub const PROTECTED: u64 = 1 << 21;
    pub const MODULE_GETKEYS: u64 = 1 << 22;
    pub const MODULE_NO_CLUSTER: u64 = 1 << 23;
    pub const NO_ASYNC_LOADING: u64 = 1 << 24;
    pub const NO_MULTI: u64 = 1 << 25;
    pub const ALLOW_BUSY: u64 = 1 << 27;
    pub const MODULE_GETCHANNELS: u64 = 1 << 28;
    /// Of a module, for itself and its kin (Redis 8.0): for clients there is no such command.
    pub const INTERNAL: u64 = 1 << 29;
    /// Ours: meets values in ways that need a module's callbacks (copy, serialise, measure), even for reading.
    pub const VALUES: u64 = 1 << 40;
    /// Ours: a `PathRule::Connection` command whose arguments decide whether it needs the module lock, see
    /// `execute::needs_module_lock`.
    pub const ARGS_DECIDE: u64 = 1 << 41;
    /// Ours: a `PathRule::Connection` command that takes latches itself. A native transaction has some, and nobody waits
    /// for one while having another, so with such a command in it a transaction takes the module path.
    pub const LATCHES: u64 = 1 << 42;
    /// Names in the order in which `COMMAND INFO` prints them.
    pub const NAMES: &[(u64, &str)] = &[
        (WRITE, "write"),
        (READONLY, "readonly"),
        (DENYOOM, "denyoom"),
        (MODULE, "module"),
        (ADMIN, "admin"),
        (PUBSUB, "pubsub"),
        (NOSCRIPT, "noscript"),
        (BLOCKING, "blocking"),
        (LOADING, "loading"),
        (STALE, "stale"),
        (SKIP_MONITOR, "skip_monitor"),
        (SKIP_SLOWLOG, "skip_slowlog"),
        (ASKING, "asking"),
        (FAST, "fast"),
        (NO_AUTH, "no_auth"),
        (MAY_REPLICATE, "may_replicate"),
        (NO_MANDATORY_KEYS, "no_mandatory_keys"),
        (NO_ASYNC_LOADING, "no_async_loading"),
        (NO_MULTI, "no_multi"),
        (ALLOW_BUSY, "allow_busy"),
    ];
}

/// Key-spec flags, with the bits of `REDISMODULE_CMD_KEY_*`.
#[allow(missing_docs)]
pub mod key {
    pub const RO: u64 = 1;
    pub const RW: u64 = 2;
    pub const OW: u64 = 4;
    pub const RM: u64 = 8;
    pub const ACCESS: u64 = 16;
    pub const UPDATE: u64 = 32;
    pub const INSERT: u64 = 64;
    pub const DELETE: u64 = 128;
    pub const NOT_KEY: u64 = 256;
    pub const INCOMPLETE: u64 = 512;
    pub const VARIABLE_FLAGS: u64 = 1024;
    /// Ours: changed although Redis declares it as read (`XREADGROUP`), so it is locked for writing.
    pub const LOCK_WRITE: u64 = 1 << 40;
    /// Names in the order in which `COMMAND INFO` prints them.
    pub const NAMES: &[(u64, &str)] = &[
        (RO, "RO"),
        (RW, "RW"),
        (OW, "OW"),
        (RM, "RM"),
        (ACCESS, "access"),
        (UPDATE, "update"),
        (INSERT, "insert"),
        (DELETE, "delete"),
        (NOT_KEY, "not_key"),
        (INCOMPLETE, "incomplete"),
        (VARIABLE_FLAGS, "variable_flags"),
    ];
}

/// Where the keys of a command begin.
#[derive(Clone, Debug)]
pub enum Begin {
    /// At this argument.
    Index(i32),
    /// After this word, looked for from this argument (from the end when negative).
    Keyword(std::borrow::Cow<'static, str>, i32),
    /// Cannot be told.
    Unknown,
}

/// How the keys go on from there.
#[derive(Clone, Copy, Debug)]
pub enum Find {
    /// Last key relative to the first (negative: from the end), step, limit.
    Range(i32, i32, i32),
    /// A count stands at the first offset, the first key at the second, then by this step.
    KeyNum(i32, i32, i32),
    /// Cannot be told.
    Unknown,
}

/// One key specification.
#[derive(Clone, Debug)]
pub struct KeySpec {
    /// Bits of [`key`].
    pub flags: u64,
    /// Where keys begin.
    pub begin: Begin,
    /// How they go on.
    pub find: Find,
    /// A note for `COMMAND INFO`.
    pub notes: Option<std::borrow::Cow<'static, str>>,
}

/// Keys from `first` to `last` by `step`, as classic command tables tell them (`last` may be negative).
pub const fn keys(flags: u64, first: i32, last: i32, step: i32) -> KeySpec {
    let last = if last >= 0 { last - first } else { last };
    KeySpec { flags, begin: Begin::Index(first), find: Find::Range(last, step, 0), notes: None }
}

/// One key at a fixed place, with a note for `COMMAND INFO`.
pub const fn noted_key(flags: u64, at: i32, note: &'static str) -> KeySpec {
    let notes = Some(std::borrow::Cow::Borrowed(note));
    KeySpec { flags, begin: Begin::Index(at), find: Find::Range(0, 1, 0), notes }
}

/// Keys counted by the argument at `count`, beginning behind it.
pub const fn counted(flags: u64, count: i32) -> KeySpec {
    KeySpec { flags, begin: Begin::Index(count), find: Find::KeyNum(0, 1, 1), notes: None }
}

/// Which way a command goes when nothing special is the matter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PathRule {
    /// On the serving thread, with the latches of its keys' shards.
    Native,
    /// On the serving thread, without keys.
    Connection,
    /// On the module thread: it looks at the whole server or keyspace.
    ServerWide,
}

/// A command as its family declares it.
pub struct Row {
    /// Lower case.
    pub name: &'static str,
    /// Number of arguments with the name; negative: at least.
    pub arity: i32,
    /// Bits of [`flags`].
    pub flags: u64,
    /// Its keys.
    pub keys: &'static [KeySpec],
    /// Classes of the keyspace events it can cause (`event::class`).
    pub events: u32,
    /// Which way it goes.
    pub path: PathRule,
    /// ACL categories beyond those that follow from flags, e.g. `"string"`.
    pub acl: &'static [&'static str],
    /// Group of `COMMAND DOCS`.
    pub group: &'static str,
    /// First version of Redis that had it.
    pub since: &'static str,
    /// What it does, in our words.
    pub summary: &'static str,
    /// Its body; `None` for a container of subcommands.
    pub run: Option<Handler>,
    /// Subcommands, named without the container.
    pub subs: &'static [Row],
}

impl Row {
    /// A row with the common fields; the rest by struct update.
    pub const fn new(name: &'static str, arity: i32, flags: u64, run: Handler) -> Row {
        Row {
            name,
            arity,
            flags,
            keys: &[],
            events: 0,
            path: PathRule::Native,
            acl: &[],
            group: "generic",
            since: "1.0.0",
            summary: "",
            run: Some(run),
            subs: &[],
        }
    }

    /// A container of subcommands.
    pub const fn container(name: &'static str, subs: &'static [Row]) -> Row {
        Row {
            name,
            arity: -2,
            flags: 0,
            keys: &[],
            events: 0,
            path: PathRule::Connection,
            acl: &[],
            group: "server",
            since: "1.0.0",
            summary: "",
            run: None,
            subs,
        }
    }
}

/// What runs when a command is called.
#[derive(Clone)]
pub enum Body {
    /// One of ours.
    Native(Handler),
    /// A module's.
    Module(Arc<ModuleCommand>),
    /// Only its subcommands run.
    Container,
}

/// Why a command takes the module path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(usize)]
pub enum Reason {
    /// It is a module's command.
    ModuleCommand,
    /// A module registered a command filter.
    Filter,
    /// A module subscribed to events that it can cause.
    Events,
    /// It looks at the whole server.
    ServerWide,
    /// It meets a module's value, or an expired key whose deletion owes a module an event.
    Value,
    /// A transaction that contains such a command.
    Transaction,
    /// `module-exclusive yes`.
    Exclusive,
}

/// Number of [`Reason`]s.
pub const REASONS: usize = 7;
/// Their names in `INFO`.
pub const REASON_NAMES: [&str; REASONS] = [
    "module_command",
    "command_filter",
    "module_events",
    "server_wide",
    "value",
    "transaction",
    "exclusive",
];

/// The way a command goes, decided when the table is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Path {
    /// On the serving thread, with latches.
    Native,
    /// On the serving thread, without keys.
    Connection,
    /// On the module thread.
    Module(Reason),
}

/// Names of commands by number, for places that remember a command in an atomic (`CLIENT LIST`). Never forgotten: there
/// are as many as there are commands.
static NAMES: RwLock<Names> = RwLock::new((Vec::new(), None));
type Names = (Vec<&'static str>, Option<HashMap<&'static str, u32>>);

/// The number of a command's full name.
pub(crate) fn number_of(full_name: &str) -> u32 {
    let mut guard = NAMES.write();
    let (names, numbers) = &mut *guard;
    let numbers = numbers.get_or_insert_default();
    if let Some(n) = numbers.get(full_name) {
        return *n;
    }
    let name: &'static str = Box::leak(full_name.to_owned().into_boxed_str());
    names.push(name);
    numbers.insert(name, names.len() as u32 - 1);
    names.len() as u32 - 1
}

/// The full name with this number.
pub fn name_of(number: u32) -> Option<&'static str> {
    NAMES.read().0.get(number as usize).copied()
}

/// A command in the table.
pub struct Command {
    /// As it was declared; modules may use capital letters.
    pub name: String,
    /// `container|sub` for subcommands, else the name.
    pub full_name: String,
    /// See [`Row::arity`].
    pub arity: i32,
    /// Bits of [`flags`].
    pub flags: u64,
    /// Its keys.
    pub keys: Vec<KeySpec>,
    /// Classes of events it can cause.
    pub events: u32,
    /// What runs.
    pub body: Body,
    /// Subcommands.
    pub subs: Vec<Arc<Command>>,
    /// The way it goes.
    pub path: Path,
    /// ACL categories, named.
    pub acl: Vec<String>,
    /// Group of `COMMAND DOCS`.
    pub group: &'static str,
    /// First version that had it.
    pub since: String,
    /// What it does.
    pub summary: String,
    /// Counters; shared by all versions of the table.
    pub stats: Arc<CommandStats>,
    /// Number of its full name, see [`name_of`].
    pub number: u32,
    /// What its look-ups touch, to be fetched ahead.
    pub touches: Touches,
}

/// A key position in an argument list, with the flags of its specification.
pub type KeyPositions = SmallVec<[(usize, u64); 4]>;

impl Command {
    /// Whether its first argument is a key.
    #[inline]
    pub fn begins_with_key(&self) -> bool {
        matches!(self.keys.first(), Some(KeySpec { begin: Begin::Index(1), .. }))
    }

    /// Whether only its subcommands run.
    pub fn is_container(&self) -> bool {
        match &self.body {
            Body::Container => true,
            Body::Module(m) => m.function.is_none(),
            Body::Native(_) => false,
        }
    }

    /// Whether the number of arguments (with the name) is right.
    #[inline]
    pub fn arity_ok(&self, argc: usize) -> bool {
        if self.arity >= 0 {
            argc == self.arity as usize
        } else {
            argc >= -self.arity as usize
        }
    }

    /// Whether a flag is set.
    #[inline]
    pub fn has(&self, flag: u64) -> bool {
        self.flags & flag != 0
    }

    /// The positions of the keys in `args`; `None` when the specifications cannot tell (the command looks everywhere)
    /// or the arguments do not make sense.
    pub fn key_positions(&self, args: &[&[u8]]) -> Option<KeyPositions> {
        let mut found = KeyPositions::new();
        for spec in &self.keys {
            let first = match &spec.begin {
                Begin::Index(i) => *i as usize,
                Begin::Keyword(word, from) => {
                    let is = |i: &usize| args[*i].eq_ignore_ascii_case(word.as_bytes());
                    let hit = if *from > 0 {
                        (*from as usize..args.len()).find(is)
                    } else {
                        let start = args.len().saturating_sub(-*from as usize);
                        (1..=start.min(args.len() - 1)).rev().find(is)
                    };
                    match hit {
                        Some(i) => i + 1,
                        None => continue,
                    }
                }
                Begin::Unknown => return None,
            };
            let (first, last, step) = match spec.find {
                Find::Range(last, step, limit) => {
                    let mut end = if last >= 0 {
                        first as i64 + i64::from(last)
                    } else {
                        args.len() as i64 + i64::from(last)
                    };
                    if last == -1 && limit > 1 {
                        end = first as i64 + (args.len() - first) as i64 / i64::from(limit) - 1;
                    }
                    (first, end, step as usize)
                }
                Find::KeyNum(at, off, step) => {
                    let n = args
                        .get(first + at as usize)
                        .and_then(|t| crate::keyspace::number::parse_i64(t))
                        .filter(|n| (0..=args.len() as i64).contains(n))?;
                    let start = first + off as usize;
                    (start, start as i64 + (n - 1) * i64::from(step), step as usize)
                }
                Find::Unknown => return None,
            };
            let mut i = first;
            while (i as i64) <= last {
                if i >= args.len() {
                    return if spec.flags & key::INCOMPLETE != 0 { Some(found) } else { None };
                }
                if spec.flags & key::NOT_KEY == 0 {
                    found.push((i, spec.flags));
                }
                i += step;
            }
        }
        Some(found)
    }

    /// What the flags of a key specification mean for locks.
    #[inline]
    pub fn access(spec_flags: u64) -> Access {
        if spec_flags & (key::RW | key::OW | key::RM | key::LOCK_WRITE) != 0 {
            Access::Write
        } else {
            Access::Read
        }
    }

    fn from_row(row: &Row, container: Option<&str>, old: Option<&Table>) -> Command {
        let full_name = match container {
            Some(c) => format!("{c}|{}", row.name),
            None => row.name.to_string(),
        };
        let stats = old.and_then(|t| t.stats_of(&full_name)).unwrap_or_default();
        let flags = row.flags;
        Command {
            name: row.name.to_string(),
            arity: row.arity,
            flags,
            keys: row.keys.to_vec(),
            events: row.events,
            body: row.run.map_or(Body::Container, Body::Native),
            subs: row
                .subs
                .iter()
                .map(|s| Arc::new(Command::from_row(s, Some(row.name), old)))
                .collect(),
            path: match row.path {
                PathRule::Native => Path::Native,
                PathRule::Connection => Path::Connection,
                PathRule::ServerWide => Path::Module(Reason::ServerWide),
            },
            acl: row.acl.iter().map(|s| s.to_string()).collect(),
            group: row.group,
            since: row.since.to_string(),
            summary: row.summary.to_string(),
            number: number_of(&full_name),
            touches: Touches::of(row.group, row.name),
            full_name,
            stats,
        }
    }

    /// Sets the path for a server state: which events modules subscribed to, and whether a filter is registered.
    fn decide(&mut self, module_events: u32, filters: bool) {
        if let Body::Module(_) = self.body {
            self.path = Path::Module(Reason::ModuleCommand);
        } else if filters {
            self.path = Path::Module(Reason::Filter);
        } else if self.path == Path::Native && self.events & module_events != 0 {
            self.path = Path::Module(Reason::Events);
        }
    }
}

/// Packs a short name, lower-cased, into a number: a look-up then compares numbers only.
#[inline]
fn pack(name: &[u8]) -> Option<u128> {
    if name.len() > 16 {
        return None;
    }
    let mut bytes = [0u8; 16];
    for (b, c) in bytes.iter_mut().zip(name) {
        *b = c.to_ascii_lowercase();
    }
    Some(u128::from_le_bytes(bytes))
}

#[inline]
fn mix(packed: u128) -> usize {
    let x = (packed as u64) ^ ((packed >> 64) as u64).rotate_left(29);
    (x.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as usize
}

/// `rename-command`: old names and new ones, lower case; an empty one removes the command. Set before the first table.
pub static RENAMED: OnceLock<HashMap<String, String>> = OnceLock::new();

/// All commands. Immutable: a change makes a new table, see `dispatch::swap`.
pub struct Table {
    slots: Vec<Option<(u128, Arc<Command>)>>,
    long: HashMap<Vec<u8>, Arc<Command>>,
    all: Vec<Arc<Command>>,
    /// Commands that `rename-command` removed: rules of the ACL may still name them.
    removed: Vec<Arc<Command>>,
    /// Classes of events that modules subscribed to.
    pub module_events: u32,
    /// A module registered a command filter.
    pub filters: bool,
}

impl Table {
    /// Builds the table of all native rows and the modules' commands.
    pub fn build(
        modules: &[Arc<ModuleCommand>],
        module_events: u32,
        filters: bool,
        old: Option<&Table>,
    ) -> Table {
        let mut all = Vec::new();
        for family in crate::execute::FAMILIES {
            for row in family.iter() {
                let mut c = Command::from_row(row, None, old);
                c.decide(module_events, filters);
                c.subs = std::mem::take(&mut c.subs)
                    .into_iter()
                    .map(|s| {
                        let mut s = Arc::into_inner(s).expect("just made, not shared");
                        s.decide(module_events, filters);
                        Arc::new(s)
                    })
                    .collect();
                all.push(Arc::new(c));
            }
        }
        for m in modules {
            all.push(Arc::new(m.to_command(old)));
        }
        let mut size = 64;
        while size < all.len() * 3 {
            size *= 2;
        }
        let mut table = Table {
            slots: vec![None; size],
            long: HashMap::new(),
            all,
            removed: Vec::new(),
            module_events,
            filters,
        };
        let renamed = RENAMED.get();
        for c in table.all.clone() {
            let name = renamed.and_then(|r| r.get(&c.name)).unwrap_or(&c.name);
            if name.is_empty() {
                table.all.retain(|known| !Arc::ptr_eq(known, &c));
                table.removed.push(c);
                continue;
            }
            match pack(name.as_bytes()) {
                Some(p) => {
                    let mut i = mix(p) & (size - 1);
                    while table.slots[i].is_some() {
                        i = (i + 1) & (size - 1);
                    }
                    table.slots[i] = Some((p, c));
                }
                None => {
                    table.long.insert(name.to_ascii_lowercase().into_bytes(), c);
                }
            }
        }
        table
    }

    /// The counters of a command that an older table has.
    pub fn stats_of(&self, full_name: &str) -> Option<Arc<CommandStats>> {
        let (name, sub) = full_name.split_once('|').unwrap_or((full_name, ""));
        let c = self.find(name.as_bytes())?;
        if sub.is_empty() {
            return Some(c.stats.clone());
        }
        c.subs.iter().find(|s| s.name.eq_ignore_ascii_case(sub)).map(|s| s.stats.clone())
    }

    /// Finds a command by name, in any case.
    #[inline]
    pub fn find(&self, name: &[u8]) -> Option<&Arc<Command>> {
        let Some(p) = pack(name) else {
            return self.long.get(&name.to_ascii_lowercase());
        };
        let mask = self.slots.len() - 1;
        let mut i = mix(p) & mask;
        while let Some((q, c)) = &self.slots[i] {
            if *q == p {
                return Some(c);
            }
            i = (i + 1) & mask;
        }
        None
    }

    /// Finds a command or, where it is a container, its subcommand.
    pub fn resolve(&self, args: &[&[u8]]) -> Option<&Arc<Command>> {
        self.resolve_from(None, args)
    }

    /// The same; what [`Table::find`] found for the name may be known already.
    #[inline]
    pub fn resolve_from<'t>(
        &'t self,
        first: Option<&'t Arc<Command>>,
        args: &[&[u8]],
    ) -> Option<&'t Arc<Command>> {
        let c = first.or_else(|| self.find(args[0]))?;
        if c.subs.is_empty() || args.len() < 2 {
            return Some(c);
        }
        c.subs.iter().find(|s| s.name.as_bytes().eq_ignore_ascii_case(args[1]))
    }

    /// All commands, those that `rename-command` removed included.
    pub fn originals(&self) -> impl Iterator<Item = &Arc<Command>> {
        self.all.iter().chain(&self.removed)
    }

    /// Finds a command by the name that it has without `rename-command`; `container|sub` for a subcommand.
    pub fn original(&self, name: &[u8]) -> Option<&Arc<Command>> {
        let mut words = name.split(|c| *c == b'|');
        let (first, sub) = (words.next()?, words.next());
        let container = match RENAMED.get().filter(|r| !r.is_empty()) {
            None => self.find(first),
            Some(_) => self.originals().find(|c| c.name.as_bytes().eq_ignore_ascii_case(first)),
        }?;
        match (sub, words.next()) {
            (None, _) => Some(container),
            (Some(sub), None) => {
                container.subs.iter().find(|s| s.name.as_bytes().eq_ignore_ascii_case(sub))
            }
            _ => None,
        }
    }

    /// All commands, in the order of their families.
    pub fn all(&self) -> &[Arc<Command>] {
        &self.all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_names_in_any_case() {
        let t = Table::build(&[], 0, false, None);
        assert_eq!(t.find(b"GeT").unwrap().name, "get");
        assert!(t.find(b"nope").is_none());
        assert!(t.find(b"a-name-that-is-longer-than-sixteen").is_none());
    }

    #[test]
    fn key_positions_of_ranges() {
        let t = Table::build(&[], 0, false, None);
        let pos = |args: &[&[u8]]| {
            let c = t.resolve(args).unwrap();
            c.key_positions(args).map(|k| k.iter().map(|p| p.0).collect::<Vec<_>>())
        };
        assert_eq!(pos(&[b"get", b"k"]), Some(vec![1]));
        assert_eq!(pos(&[b"mset", b"a", b"1", b"b", b"2"]), Some(vec![1, 3]));
        assert_eq!(pos(&[b"del", b"a", b"b"]), Some(vec![1, 2]));
    }
}
