//! The table of directives: one row has every fact about one directive. `CONFIG GET`, `CONFIG SET`, `CONFIG REWRITE`, the
//! configuration file and the command line read the same rows.

mod backplane;
mod cluster;
mod memory;
mod network;
mod persistence;
mod replication;
mod server;
mod tls;

use super::valid;

/// Names and numbers of one enumerated directive.
pub type Choices = &'static [(&'static str, i64)];

/// `CONFIG SET` refuses the directive; only the file and the command line set it.
pub const IMMUTABLE: u16 = 1;
/// The value is a secret: the caller redacts it in SLOWLOG and MONITOR.
pub const SENSITIVE: u16 = 1 << 1;
/// `CONFIG SET` needs `enable-protected-configs`.
pub const PROTECTED: u16 = 1 << 2;
/// Only an exact name shows it in `CONFIG GET`.
pub const HIDDEN: u16 = 1 << 3;
/// Takes a list of arguments.
pub const MULTI_ARG: u16 = 1 << 4;
/// `CONFIG SET` refuses it while a data set is loaded.
pub const DENY_LOADING: u16 = 1 << 5;
/// Setting the same value again counts as a change (files whose content may differ).
pub const VOLATILE: u16 = 1 << 6;

const INT_MAX: u64 = i32::MAX as u64;
const INT_MIN: i64 = i32::MIN as i64;
const LONG_MAX: u64 = i64::MAX as u64;
const UINT_MAX: u64 = u32::MAX as u64;
const MB: i64 = 1 << 20;
const GB: i64 = 1 << 30;

/// How a number is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unit {
    /// Decimal.
    Integer,
    /// Bytes, with `k`, `kb`, `m`, `mb`, `g`, `gb` accepted.
    Memory,
    /// Bytes, or `n%`, which is stored as `-n`.
    MemoryOrPercent,
    /// Octal (file modes).
    Octal,
}

/// Directives whose values have a shape of their own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Special {
    /// The working directory of the process itself.
    Dir,
    /// Pairs of seconds and changes.
    Save,
    /// Limits by client class.
    ClientOutputBufferLimit,
    /// Three numbers: primary, replica, background child.
    OomScoreAdjValues,
    /// Event class letters.
    NotifyKeyspaceEvents,
    /// Up to 16 addresses.
    Bind,
    /// Host and port of the primary.
    ReplicaOf,
    /// Percentiles of `INFO latencystats`.
    LatencyPercentiles,
    /// Pairs of a module's name and the server that it meets.
    ModulePersona,
    /// SHA-256 hashes of files.
    ModuleAllowSha256,
}

/// The type of a directive, with its default.
#[derive(Clone, Copy)]
pub enum Kind {
    /// `yes` or `no`.
    Switch { default: bool },
    /// A number between `min` and `max`, both included.
    Number { unit: Unit, min: i64, max: u64, default: i64 },
    /// Text. Without a default, the empty string means "not set". `binary` values may hold zero bytes.
    Text { default: Option<&'static str>, binary: bool, check: Option<valid::TextCheck> },
    /// One of the named values, or a set of them for a [`MULTI_ARG`] row.
    Choice { choices: Choices, default: i64 },
    /// See [`Special`].
    Special(Special),
}

/// One directive.
pub struct Row {
    /// Its name.
    pub name: &'static str,
    /// A second, older name, shown by `CONFIG GET` too.
    pub alias: Option<&'static str>,
    /// [`IMMUTABLE`] and its like.
    pub flags: u16,
    /// Its type and default.
    pub kind: Kind,
}

impl Row {
    const fn new(name: &'static str, kind: Kind) -> Self {
        Self { name, alias: None, flags: 0, kind }
    }

    const fn alias(mut self, alias: &'static str) -> Self {
        self.alias = Some(alias);
        self
    }

    const fn flags(mut self, flags: u16) -> Self {
        self.flags = flags;
        self
    }

    const fn check(mut self, with: valid::TextCheck) -> Self {
        if let Kind::Text { default, binary, .. } = self.kind {
            self.kind = Kind::Text { default, binary, check: Some(with) };
        }
        self
    }

    /// Whether the row has this flag.
    pub fn has(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }
}

const fn switch(name: &'static str, default: bool) -> Row {
    Row::new(name, Kind::Switch { default })
}

const fn number(name: &'static str, unit: Unit, min: i64, max: u64, default: i64) -> Row {
    Row::new(name, Kind::Number { unit, min, max, default })
}

const fn int(name: &'static str, min: i64, max: u64, default: i64) -> Row {
    number(name, Unit::Integer, min, max, default)
}

const fn memory(name: &'static str, min: i64, max: u64, default: i64) -> Row {
    number(name, Unit::Memory, min, max, default)
}

const fn memory_or_percent(name: &'static str, min: i64, max: u64, default: i64) -> Row {
    number(name, Unit::MemoryOrPercent, min, max, default)
}

const fn octal(name: &'static str, min: i64, max: u64, default: i64) -> Row {
    number(name, Unit::Octal, min, max, default)
}

const fn text(name: &'static str, default: Option<&'static str>) -> Row {
    Row::new(name, Kind::Text { default, binary: false, check: None })
}

const fn bytes(name: &'static str, default: Option<&'static str>) -> Row {
    Row::new(name, Kind::Text { default, binary: true, check: None })
}

const fn choice(name: &'static str, choices: Choices, default: i64) -> Row {
    Row::new(name, Kind::Choice { choices, default })
}

const fn special(name: &'static str, which: Special) -> Row {
    Row::new(name, Kind::Special(which))
}

const TABLES: &[&[Row]] = &[
    server::ROWS,
    network::ROWS,
    memory::ROWS,
    persistence::ROWS,
    replication::ROWS,
    cluster::ROWS,
    tls::ROWS,
    backplane::ROWS,
];

/// How many directives there are.
pub const COUNT: usize = {
    let (mut count, mut table) = (0, 0);
    while table < TABLES.len() {
        count += TABLES[table].len();
        table += 1;
    }
    count
};

/// All directives. The index of a row is its place in [`super::Config`]'s store.
pub static ROWS: [&Row; COUNT] = {
    let mut rows = [&TABLES[0][0]; COUNT];
    let (mut next, mut table) = (0, 0);
    while table < TABLES.len() {
        let mut row = 0;
        while row < TABLES[table].len() {
            rows[next] = &TABLES[table][row];
            next += 1;
            row += 1;
        }
        table += 1;
    }
    rows
};

/// The index of a row by its Rust spelling (`hash_max_listpack_entries`), found at compile time; an unknown name does not
/// compile.
pub(super) const fn index_of(ident: &str) -> usize {
    let (mut index, mut table) = (0, 0);
    while table < TABLES.len() {
        let mut row = 0;
        while row < TABLES[table].len() {
            if same_name(TABLES[table][row].name.as_bytes(), ident.as_bytes()) {
                return index;
            }
            index += 1;
            row += 1;
        }
        table += 1;
    }
    panic!("no such directive")
}

const fn same_name(name: &[u8], ident: &[u8]) -> bool {
    if name.len() != ident.len() {
        return false;
    }
    let mut i = 0;
    while i < name.len() {
        if !(name[i] == ident[i] || name[i] == b'-' && ident[i] == b'_') {
            return false;
        }
        i += 1;
    }
    true
}

/// A row found by name or alias, in any case.
#[derive(Clone, Copy)]
pub struct Found {
    /// Index into [`ROWS`].
    pub index: usize,
    /// The name that matched, as the table spells it.
    pub name: &'static str,
}

/// Finds a directive by its name or alias, without regard to case.
pub fn find(name: &[u8]) -> Option<Found> {
    ROWS.iter().enumerate().find_map(|(index, row)| {
        [Some(row.name), row.alias]
            .into_iter()
            .flatten()
            .find(|known| known.as_bytes().eq_ignore_ascii_case(name))
            .map(|name| Found { index, name })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_lower_case() {
        let mut seen = std::collections::HashSet::new();
        for row in ROWS {
            for name in [Some(row.name), row.alias].into_iter().flatten() {
                assert!(seen.insert(name), "{name} twice");
                assert_eq!(name, name.to_ascii_lowercase());
            }
        }
    }

    #[test]
    fn defaults_lie_within_bounds() {
        for row in ROWS {
            match row.kind {
                Kind::Number { min, max, default, .. } if row.name != "server-threads" => {
                    assert!(default >= min && (default as i128) <= max as i128, "{}", row.name)
                }
                Kind::Choice { choices, default } => {
                    assert!(choices.iter().any(|c| c.1 == default), "{}", row.name)
                }
                _ => {}
            }
        }
    }

    #[test]
    fn rows_are_found_by_name_alias_and_identifier() {
        let found = find(b"SLAVE-priority").unwrap();
        assert_eq!(ROWS[found.index].name, "replica-priority");
        assert_eq!(found.name, "slave-priority");
        assert_eq!(index_of("replica_priority"), found.index);
        assert!(find(b"nonsense").is_none());
    }
}
