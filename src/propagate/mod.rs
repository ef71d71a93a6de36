//! STEP 7: effects of writes, on their way to the ordered log.
//!
//! A write appends its effect while it still has its latches or holds its keys, so that the order of the log is an
//! order in which the writes could have run. The log has no reader yet: neither AOF nor replicas exist in this version,
//! so nothing is kept, and nothing pays for it.
pub mod log;

/// One effect: a command in a database.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Effect {
    /// Database.
    pub db: usize,
    /// The command and its arguments.
    pub args: Vec<Vec<u8>>,
}

/// The effects of one command.
#[derive(Default)]
pub struct Effects {
    /// Before all others: deletions of what the command found expired.
    pub before: Vec<Effect>,
    /// In place of the command itself; `Some` and empty suppresses it.
    pub instead: Option<Vec<Effect>>,
    /// Beside it.
    pub also: Vec<Effect>,
}

fn effect(db: usize, args: &[&[u8]]) -> Effect {
    Effect { db, args: args.iter().map(|a| a.to_vec()).collect() }
}

impl Effects {
    /// Adds an effect before the command itself.
    pub fn before(&mut self, db: usize, args: &[&[u8]]) {
        self.before.push(effect(db, args));
    }

    /// Adds an effect beside the command itself.
    pub fn also(&mut self, db: usize, args: &[&[u8]]) {
        self.also.push(effect(db, args));
    }

    /// Adds an effect in place of the command itself.
    pub fn instead(&mut self, db: usize, args: &[&[u8]]) {
        self.instead.get_or_insert_default().push(effect(db, args));
    }
}

/// Appends the effects of a finished command to the log, or to what the transaction collects. The caller has its latches
/// or holds its keys. `changed`: the command itself changed something.
pub fn finish(
    tx: &mut crate::execute::Tx<'_>,
    command: &crate::dispatch::table::Command,
    args: &[&[u8]],
    changed: bool,
) {
    let effects = std::mem::take(&mut tx.effects);
    let mut all = effects.before;
    match effects.instead {
        Some(list) => all.extend(list),
        None if !changed || command.has(crate::dispatch::table::flags::MODULE) => {}
        None => all.push(effect(tx.db(), args)),
    }
    all.extend(effects.also);
    append(tx, all);
}

/// Appends what a transaction without a command left (expiry, eviction). The caller holds its keys.
pub fn finish_alone(tx: &mut crate::execute::Tx<'_>) {
    let effects = std::mem::take(&mut tx.effects);
    append(tx, effects.before.into_iter().chain(effects.also).collect());
}

fn append(tx: &mut crate::execute::Tx<'_>, all: Vec<Effect>) {
    if all.is_empty() {
        return;
    }
    match &mut tx.collected {
        Some(list) => list.extend(all),
        None => tx.server.log.append(&all),
    }
}
