//! `CONFIG SET`: all of it or nothing.

use std::fmt;

use super::enums::protected_action;
use super::rows::{self, DENY_LOADING, IMMUTABLE, MULTI_ARG, PROTECTED, ROWS};
use super::value::{self, Value};
use super::{counts_as_change, Config};

/// Smallest replication backlog that `CONFIG SET` makes.
const MIN_REPL_BACKLOG: i64 = 16 * 1024;

/// Directives that live elsewhere: those of modules.
pub trait ExtraConfigs {
    /// Finds one by name, without regard to case.
    fn find(&self, name: &[u8]) -> Option<ExtraRow>;
    /// All of them, by all their names.
    fn all(&self) -> Vec<ExtraRow>;
    /// The value as `CONFIG GET` shows it.
    fn get(&self, name: &str) -> Option<Vec<u8>>;
    /// Sets a value; a [`MULTI_ARG`] one comes split at blanks. True if it changed and wants [`ExtraConfigs::apply`].
    fn set(&self, name: &str, args: &[Vec<u8>]) -> Result<bool, String>;
    /// Called once with all names that changed, after every value of the command was set.
    fn apply(&self, changed: &[String]) -> Result<(), ApplyError>;
    /// The value as the configuration file writes it (quoted if need be) and whether it is the default; `None` if it is not
    /// set at all.
    fn rewrite(&self, name: &str) -> Option<(Vec<u8>, bool)>;
}

/// One of [`ExtraConfigs`].
#[derive(Clone, Debug)]
pub struct ExtraRow {
    /// `module.name`, as registered; another name for a module of Redis 8 that wants it.
    pub name: String,
    /// This is a second name; here is the first.
    pub first: Option<String>,
    /// Flags of [`rows`].
    pub flags: u16,
}

/// What the server does when directives change.
pub trait ConfigHooks {
    /// Makes the new values of these directives (table names) effective: they are stored already. On an error all values of
    /// the command are put back and this is called again with the same names.
    fn apply(&self, changed: &[&'static str]) -> Result<(), ApplyError>;
}

/// Why a value could not be made effective.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ApplyError {
    /// The directive.
    pub name: String,
    /// The reason, if there is more to say.
    pub reason: Option<String>,
}

/// Who asks, and who must hear of it.
#[derive(Default, Clone, Copy)]
pub struct SetContext<'a> {
    /// The client is connected through loopback or a Unix socket (for directives that are protected).
    pub local_client: bool,
    /// A data set is being loaded.
    pub loading: bool,
    /// Directives with a dot in their names.
    pub extra: Option<&'a dyn ExtraConfigs>,
    /// Makes values effective.
    pub hooks: Option<&'a dyn ConfigHooks>,
}

/// A `CONFIG SET` that worked.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SetOutcome {
    /// All directives named in the command, as the tables spell them (the module event's list).
    pub names: Vec<String>,
    /// Table names of the built-in directives that changed.
    pub changed: Vec<&'static str>,
}

/// A refused `CONFIG SET`. `Display` is the error reply without the dash.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ConfigError {
    /// No such directive.
    Unknown(Vec<u8>),
    /// A directive (as the reply names it) and the reason.
    Failed { name: Vec<u8>, reason: Option<String> },
    /// Not while loading.
    Loading,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(name) => write!(
                f,
                "ERR Unknown option or number of arguments for CONFIG SET - '{}'",
                crate::execute::text(name)
            ),
            Self::Failed { name, reason } => {
                let name = crate::execute::text(name);
                write!(f, "ERR CONFIG SET failed (possibly related to argument '{name}')")?;
                reason.iter().try_for_each(|reason| write!(f, " - {reason}"))
            }
            Self::Loading => f.write_str("LOADING Redis is loading the dataset in memory"),
        }
    }
}

impl std::error::Error for ConfigError {}

enum Target {
    Row(rows::Found),
    Extra(ExtraRow),
}

impl Target {
    fn name(&self) -> &str {
        match self {
            Self::Row(found) => found.name,
            Self::Extra(row) => &row.name,
        }
    }

    fn flags(&self) -> u16 {
        match self {
            Self::Row(found) => ROWS[found.index].flags,
            Self::Extra(row) => row.flags,
        }
    }
}

/// The arguments of a value: a list is split at each single blank, so that two in a row make an empty argument.
pub fn arguments(flags: u16, value: &[u8]) -> Vec<Vec<u8>> {
    if flags & MULTI_ARG == 0 {
        return vec![value.to_vec()];
    }
    if value.is_empty() {
        return Vec::new();
    }
    value.split(|&c| c == b' ').map(<[u8]>::to_vec).collect()
}

impl Config {
    /// `CONFIG SET`: pairs of name and value. Either all values are set and effective, or none. Values are parsed before
    /// the first is stored, so other threads never see a part of a refused command (`dir` and directives of modules are
    /// the exception: they are put back).
    pub fn set(
        &self,
        pairs: &[(&[u8], &[u8])],
        context: SetContext<'_>,
    ) -> Result<SetOutcome, ConfigError> {
        let _writer = self.writer.lock();
        let targets = self.targets(pairs, context)?;
        let outcome_names = targets.iter().map(|t| t.name().to_owned()).collect();

        let mut pending: Vec<(usize, Value, Value)> = Vec::new();
        let mut undo = Undo { config: self, extra: context.extra, dir: None, values: Vec::new() };
        let mut extra_changed = Vec::new();
        for (target, (_, text)) in targets.iter().zip(pairs) {
            let args = arguments(target.flags(), text);
            let result = match (target, context.extra) {
                (Target::Row(found), _) => self.prepare(found.index, &args, &mut undo).map(|new| {
                    pending.push((found.index, self.value(found.index), new));
                }),
                (Target::Extra(row), Some(extra)) => {
                    undo.values.push((row.clone(), extra.get(&row.name).unwrap_or_default()));
                    extra.set(&row.name, &args).map(|changed| {
                        extra_changed.extend(changed.then(|| row.name.clone()));
                    })
                }
                (Target::Extra(_), None) => Ok(()),
            };
            if let Err(reason) = result {
                undo.run();
                let name = target.name().as_bytes().to_vec();
                // A module may refuse without a word.
                let reason = (!reason.is_empty()).then_some(reason);
                return Err(ConfigError::Failed { name, reason });
            }
        }

        let mut changed: Vec<&'static str> = Vec::new();
        for (row, old, new) in &pending {
            if counts_as_change(*row, old, new) && !changed.contains(&ROWS[*row].name) {
                changed.push(ROWS[*row].name);
            }
            // `dir` was entered while it was prepared; nothing else can fail.
            if !matches!(new, Value::Dir(_)) {
                let _ = self.store(*row, new.clone());
            }
        }
        let applied = match context.hooks {
            Some(hooks) if !changed.is_empty() => hooks.apply(&changed),
            _ => Ok(()),
        };
        let applied = applied.and_then(|()| match context.extra {
            Some(extra) if !extra_changed.is_empty() => extra.apply(&extra_changed),
            _ => Ok(()),
        });
        if let Err(ApplyError { name, reason }) = applied {
            for (row, old, _) in pending.into_iter().rev() {
                if !matches!(old, Value::Dir(_)) {
                    let _ = self.store(row, old);
                }
            }
            undo.run();
            // The effects of the old values are tried again; there is nobody left to tell if that fails too.
            if let Some(hooks) = context.hooks {
                let _ = hooks.apply(&changed);
            }
            if let (Some(extra), false) = (context.extra, extra_changed.is_empty()) {
                let _ = extra.apply(&extra_changed);
            }
            return Err(ConfigError::Failed { name: name.into_bytes(), reason });
        }
        Ok(SetOutcome { names: outcome_names, changed })
    }

    /// Looks up all names and refuses what may not be set now; the first bad one decides.
    fn targets(
        &self,
        pairs: &[(&[u8], &[u8])],
        context: SetContext<'_>,
    ) -> Result<Vec<Target>, ConfigError> {
        let mut targets: Vec<Target> = Vec::with_capacity(pairs.len());
        for (name, _) in pairs {
            let target = match rows::find(name) {
                Some(found) => Target::Row(found),
                None => context
                    .extra
                    .and_then(|extra| extra.find(name))
                    .map(Target::Extra)
                    .ok_or_else(|| ConfigError::Unknown(name.to_vec()))?,
            };
            let refuse = |reason: &str| {
                Err(ConfigError::Failed { name: name.to_vec(), reason: Some(reason.to_owned()) })
            };
            if target.flags() & IMMUTABLE != 0 {
                return refuse("can't set immutable config");
            }
            if target.flags() & PROTECTED != 0 && !self.may_touch_protected(context.local_client) {
                return refuse("can't set protected config");
            }
            if context.loading && target.flags() & DENY_LOADING != 0 {
                return Err(ConfigError::Loading);
            }
            // A directive and its alias are two here: the later one wins.
            if targets.iter().any(|other| other.name() == target.name()) {
                return refuse("duplicate parameter");
            }
            targets.push(target);
        }
        Ok(targets)
    }

    fn may_touch_protected(&self, local_client: bool) -> bool {
        allows(self.enable_protected_configs(), local_client)
    }

    fn prepare(&self, row: usize, args: &[Vec<u8>], undo: &mut Undo<'_>) -> Result<Value, String> {
        let current = self.value(row);
        let mut new = value::parse(ROWS[row], args, &current)?;
        if let (Value::Number(bytes), "repl-backlog-size") = (&mut new, ROWS[row].name) {
            // At run time, not in the file, the backlog has a least size.
            *bytes = (*bytes).max(MIN_REPL_BACKLOG);
        }
        if let Value::Dir(_) = new {
            // Only entering the directory tells whether that is possible.
            self.store(row, new.clone())?;
            undo.dir.get_or_insert((row, current));
        }
        Ok(new)
    }
}

/// Whether a protected feature (`enable-debug-command` and its like) is open to a client.
pub fn allows(setting: i64, local_client: bool) -> bool {
    setting == protected_action::YES || setting == protected_action::LOCAL && local_client
}

/// Puts back what is effective as soon as it is set.
struct Undo<'a> {
    config: &'a Config,
    extra: Option<&'a dyn ExtraConfigs>,
    dir: Option<(usize, Value)>,
    values: Vec<(ExtraRow, Vec<u8>)>,
}

impl Undo<'_> {
    fn run(&mut self) {
        if let Some((row, old)) = self.dir.take() {
            let _ = self.config.store(row, old);
        }
        if let Some(extra) = self.extra {
            for (row, old) in self.values.drain(..) {
                let _ = extra.set(&row.name, &arguments(row.flags, &old));
            }
        }
    }
}
