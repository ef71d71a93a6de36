//! Configuration: every directive of Redis 7.4 and a few of our own, from the file, the command line and `CONFIG SET`.
//!
//! - [`rows`]: the table of directives
//! - [`Config`]: the values, readable from any thread
//! - [`set`]: `CONFIG SET`; [`rewrite`]: `CONFIG REWRITE`
//! - [`load`]: the file and the command line
//! - [`glob`], [`notify`], [`text`]: grammars that others use too

mod accessors;
mod command_line;
pub mod enums;
pub mod glob;
pub mod load;
pub mod notify;
mod paths;
pub mod rewrite;
pub mod rows;
pub mod set;
pub mod text;
mod valid;
mod value;

use std::os::unix::ffi::OsStringExt;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::ReentrantMutex;

pub use self::command_line::from_command_line;
pub use self::glob::glob_match;
pub use self::load::{Exit, LoadHooks, LoadModule, NoHooks, Startup};
pub use self::rewrite::RewriteContext;
pub use self::set::{
    ApplyError, ConfigError, ConfigHooks, ExtraConfigs, ExtraRow, SetContext, SetOutcome,
};
pub use self::value::{
    check_range, choice_name, BufferLimit, BufferLimits, Primary, SavePoint, BUFFER_CLASSES,
};

use self::rows::{Kind, Special, COUNT, HIDDEN, ROWS, SENSITIVE};
use self::value::Value;

/// The values of all directives. Reading never blocks; one writer at a time.
pub struct Config {
    /// Switches, numbers, choices and event classes, by row.
    numbers: Box<[AtomicI64]>,
    /// All other values, by row.
    objects: Box<[ArcSwap<Value>]>,
    /// Held by `CONFIG SET` from its first look at old values to its last store. A module that is told of a new value may
    /// set others.
    writer: ReentrantMutex<()>,
}

impl Default for Config {
    fn default() -> Self {
        Self::new()
    }
}

impl Config {
    /// All directives at their defaults.
    pub fn new() -> Self {
        let defaults: [Value; COUNT] = std::array::from_fn(|index| value::default_of(ROWS[index]));
        let number = |value: &Value| match value {
            Value::Number(number) => AtomicI64::new(*number),
            _ => AtomicI64::new(0),
        };
        Self {
            numbers: defaults.iter().map(number).collect(),
            objects: defaults.into_iter().map(ArcSwap::from_pointee).collect(),
            writer: ReentrantMutex::new(()),
        }
    }

    /// The text of a directive, by name or alias, as `CONFIG GET` shows it.
    pub fn get_bytes(&self, name: &[u8]) -> Option<Vec<u8>> {
        let row = rows::find(name)?.index;
        Some(value::format(ROWS[row], &self.value(row)))
    }

    /// The number in a row of numbers, switches or choices.
    pub fn number(&self, row: usize) -> i64 {
        self.numbers[row].load(Relaxed)
    }

    /// [`Config::get_bytes`] as a string; bytes that are not UTF-8 are replaced.
    pub fn get_str(&self, name: &str) -> Option<String> {
        let bytes = self.get_bytes(name.as_bytes())?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// `CONFIG GET`: names and values for names or patterns. A plain name is answered as it was typed, in any case, hidden
    /// or not; a pattern lists names and aliases. No name comes twice.
    pub fn get(
        &self,
        patterns: &[&[u8]],
        extra: Option<&dyn ExtraConfigs>,
    ) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut found: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        let mut add = |name: &[u8], value: &dyn Fn() -> Option<Vec<u8>>| {
            if !found.iter().any(|(known, _)| known.eq_ignore_ascii_case(name)) {
                found.extend(value().map(|value| (name.to_vec(), value)));
            }
        };
        for &pattern in patterns {
            if !glob::has_wildcard(pattern) {
                add(pattern, &|| {
                    self.get_bytes(pattern).or_else(|| {
                        let row = extra?.find(pattern)?;
                        extra?.get(&row.name)
                    })
                });
                continue;
            }
            for (index, row) in ROWS.iter().enumerate().filter(|(_, row)| !row.has(HIDDEN)) {
                for name in [Some(row.name), row.alias].into_iter().flatten() {
                    if glob_match(pattern, name.as_bytes(), true) {
                        add(name.as_bytes(), &|| Some(value::format(row, &self.value(index))));
                    }
                }
            }
            for (extra, row) in extra.iter().flat_map(|e| e.all().into_iter().map(move |r| (e, r)))
            {
                if row.flags & HIDDEN == 0 && glob_match(pattern, row.name.as_bytes(), true) {
                    add(row.name.as_bytes(), &|| extra.get(&row.name));
                }
            }
        }
        found
    }

    /// Whether the value of this directive must not appear in logs. Unknown names are not sensitive.
    pub fn is_sensitive(name: &[u8]) -> bool {
        rows::find(name).is_some_and(|found| ROWS[found.index].has(SENSITIVE))
    }

    /// Sets one directive whatever its flags: for the server itself (adjusting `maxclients` to the file limit) and for
    /// tests. The error is the reference's reason.
    pub fn assign(&self, name: &str, args: &[&[u8]]) -> Result<(), String> {
        let found = rows::find(name.as_bytes()).ok_or("unknown directive")?;
        let args: Vec<Vec<u8>> = args.iter().map(|arg| arg.to_vec()).collect();
        let _writer = self.writer.lock();
        self.put(found.index, &args).map(|_| ())
    }

    fn is_number(row: usize) -> bool {
        match ROWS[row].kind {
            Kind::Switch { .. } | Kind::Number { .. } | Kind::Choice { .. } => true,
            Kind::Special(special) => special == Special::NotifyKeyspaceEvents,
            Kind::Text { .. } => false,
        }
    }

    fn value(&self, row: usize) -> Value {
        if Self::is_number(row) {
            return Value::Number(self.numbers[row].load(Relaxed));
        }
        match &**self.objects[row].load() {
            // The directive is the working directory itself, whoever changed it.
            Value::Dir(_) => {
                let dir = std::env::current_dir().unwrap_or_default();
                Value::Dir(dir.into_os_string().into_vec())
            }
            value => value.clone(),
        }
    }

    /// Stores a value. Only `dir` can fail: the reason is the operating system's.
    fn store(&self, row: usize, value: Value) -> Result<(), String> {
        match value {
            Value::Number(number) => self.numbers[row].store(number, Relaxed),
            Value::Dir(dir) => {
                let dir = std::ffi::OsString::from_vec(dir);
                std::env::set_current_dir(dir).map_err(|e| os_error_text(&e))?;
            }
            value => self.objects[row].store(Arc::new(value)),
        }
        Ok(())
    }

    /// Parses and stores; whether it counts as a change.
    fn put(&self, row: usize, args: &[Vec<u8>]) -> Result<bool, String> {
        let current = self.value(row);
        let new = value::parse(ROWS[row], args, &current)?;
        let changed = counts_as_change(row, &current, &new);
        self.store(row, new)?;
        Ok(changed)
    }
}

/// Whether a set makes the directive's effect run again: lists and flags always do, others only when they differ.
fn counts_as_change(row: usize, old: &Value, new: &Value) -> bool {
    let always = match ROWS[row].kind {
        Kind::Special(special) => special != Special::OomScoreAdjValues,
        _ => ROWS[row].has(rows::VOLATILE),
    };
    always || old != new
}

/// What C's `strerror` says, without Rust's addition of the number.
pub(crate) fn os_error_text(error: &std::io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests;
