//! STEP 7: effects of writes, on their way to the ordered log.
//!
//! A write appends its effect while it still has its latches or holds its keys, so that the order of the log is an
//! order in which the writes could have run. What one *execution unit* did (a command with everything that it led to, a
//! transaction, a script, a callback of a module) goes to the log at once, in `MULTI` and `EXEC` if it is more than one
//! command, as Redis does it:
//! - on the native path the unit's effects are collected in its `Tx`;
//! - on the module path, where units nest (a module's call inside a script inside a callback), they are collected with the
//!   holder of the module lock, in the order in which they happened, and [`end_of_unit`] appends them.
//!
//! Without a reader (`appendonly no`) nothing is built: every way in asks [`log::Log::active`] first.
use crate::dispatch::table::{flags, Command};
use crate::execute::{Mode, Tx};
use crate::server::{Holder, Server};

pub mod link;
pub mod log;
pub mod replica;
pub mod sync;

/// Where effects go: bits.
pub mod to {
    /// The append-only file.
    pub const AOF: u8 = 1;
    /// Replicas.
    pub const REPLICAS: u8 = 2;
    /// Both.
    pub const ALL: u8 = AOF | REPLICAS;
}

/// One effect: a command in a database.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Effect {
    /// Database.
    pub db: usize,
    /// Bits of [`to`].
    pub to: u8,
    /// How often it happened, one time right after the other.
    pub times: usize,
    /// The command, as RESP.
    pub resp: Vec<u8>,
}

impl Effect {
    /// An effect from a command's arguments.
    pub fn new<A: AsRef<[u8]>>(db: usize, to: u8, args: &[A]) -> Effect {
        let mut resp =
            Vec::with_capacity(16 + args.iter().map(|a| a.as_ref().len() + 16).sum::<usize>());
        encode(&mut resp, args);
        Effect { db, to, times: 1, resp }
    }
}

/// Appends a command in RESP.
pub fn encode<A: AsRef<[u8]>>(out: &mut Vec<u8>, args: &[A]) {
    let number = |out: &mut Vec<u8>, mark: u8, n: usize| {
        out.push(mark);
        out.extend_from_slice(&crate::keyspace::number::format_u64(n as u64));
        out.extend_from_slice(b"\r\n");
    };
    number(out, b'*', args.len());
    for a in args {
        let a = a.as_ref();
        number(out, b'$', a.len());
        out.extend_from_slice(a);
        out.extend_from_slice(b"\r\n");
    }
}

/// The effects of one command.
pub struct Effects {
    /// What goes before the command itself, in order; on the native path only.
    done: Vec<Effect>,
    /// In place of the command itself; `Some` and empty suppresses it.
    instead: Option<Vec<Effect>>,
    /// The command itself goes there even if it changed nothing: bits of [`to`].
    pub force: u8,
    /// The command itself may go there: bits of [`to`]. Less for calls of scripts and modules that say so.
    pub allowed: u8,
    /// Native path: the commands are part of a transaction, which appends all of them together.
    pub collecting: bool,
}

impl Default for Effects {
    fn default() -> Effects {
        Effects { done: Vec::new(), instead: None, force: 0, allowed: to::ALL, collecting: false }
    }
}

impl Effects {
    /// Whether it owns no memory.
    #[inline]
    pub fn is_untouched(&self) -> bool {
        self.done.capacity() == 0 && self.instead.as_ref().is_none_or(|v| v.capacity() == 0)
    }

    /// Puts an effect in place of the command itself; behind those that are there already.
    pub fn instead(&mut self, db: usize, args: &[&[u8]]) {
        self.instead.get_or_insert_default().push(Effect::new(db, to::ALL, args));
    }

    /// Keeps the command itself out of the log.
    pub fn nothing(&mut self) {
        self.instead.get_or_insert_default();
    }
}

impl Tx<'_> {
    /// Adds an effect in the order of events. The log has a reader.
    pub fn leave(&mut self, effect: Effect) {
        match self.mode() {
            Mode::Native => self.effects.done.push(effect),
            Mode::Module => leave(self.server, effect),
        }
    }

    /// Adds the deletion of something whose time has come, or which had to make room: replicas have to know of it
    /// whatever it was that found it.
    pub fn leave_deletion(&mut self, db: usize, args: &[&[u8]]) {
        if !self.server.log.active() {
            return;
        }
        let effect = Effect::new(db, to::ALL, args);
        match self.mode() {
            Mode::Native => self.effects.done.push(effect),
            // SAFETY: lock: the module path has the module lock.
            Mode::Module => add(unsafe { self.server.holder() }, effect),
        }
    }
}

/// Adds an effect to the present unit of the module path, unless it happens inside a call of a module that is not to be
/// replicated. The calling thread has the module lock.
pub fn leave(server: &Server, effect: Effect) {
    // SAFETY: lock: this function's contract.
    let holder = unsafe { server.holder() };
    if holder.silent == 0 {
        add(holder, effect);
    }
}

fn add(holder: &mut Holder, effect: Effect) {
    match holder.effects.last_mut() {
        // A module that replicates its command many times shall not need memory for each.
        Some(e) if e.resp == effect.resp && (e.db, e.to) == (effect.db, effect.to) => e.times += 1,
        _ => holder.effects.push(effect),
    }
}

/// Adds the effects of a finished command to its unit; a native one that is a unit of its own goes to the log. The caller
/// has its latches or holds its keys. `changed`: the command itself changed something. `before`: the holder's
/// count of changes when it began; as on Redis, a command on keys in which a module's callback changed something is logged
/// with that, even one that only reads.
pub fn finish(tx: &mut Tx<'_>, command: &Command, args: &[&[u8]], mut changed: bool, before: u64) {
    let native = tx.mode() == Mode::Native;
    if !native {
        // SAFETY: lock: the module path has the module lock.
        let holder = unsafe { tx.server.holder() };
        let by_others = holder.changes != before;
        holder.changes += u64::from(changed);
        changed |= by_others && command.has(flags::WRITE | flags::READONLY);
    }
    let instead = tx.effects.instead.take();
    let force = std::mem::take(&mut tx.effects.force);
    let target = if changed { to::ALL } else { force } & tx.effects.allowed;
    let own = target != 0 && !command.has(flags::MODULE) && command.name != "exec";
    match instead {
        Some(list) => {
            for mut e in list {
                e.to &= tx.effects.allowed;
                if e.to != 0 {
                    tx.leave(e);
                }
            }
        }
        None if own && native && tx.effects.done.is_empty() && !tx.effects.collecting => {
            // The usual case: one command, one effect, without a copy of its own.
            let at = tx.server.log.append_command(tx.server, tx.now, tx.db(), target, args);
            tx.session.written = at;
            return;
        }
        None if own => {
            let effect = Effect::new(tx.db(), target, args);
            tx.leave(effect);
        }
        None => {}
    }
    if native && !tx.effects.collecting {
        finish_native(tx);
    }
}

/// Appends what a native unit collected. The caller has its latches.
pub fn finish_native(tx: &mut Tx<'_>) {
    let done = std::mem::take(&mut tx.effects.done);
    if !done.is_empty() {
        tx.session.written = tx.server.log.append(tx.server, tx.now, &done, done.len() > 1);
    }
}

/// Appends what the present unit of the module path left, one transaction if it is more than one command. Returns the
/// log's offset behind it, if there was something. The calling thread has the module lock, and still holds the keys.
pub fn end_of_unit(server: &Server, now: impl FnOnce() -> i64) -> Option<u64> {
    append_left(server, now, true)
}

/// As [`end_of_unit`], but every command stands for itself: expiry and eviction.
pub fn end_of_single_effects(server: &Server, now: i64) {
    append_left(server, || now, false);
}

fn append_left(server: &Server, now: impl FnOnce() -> i64, together: bool) -> Option<u64> {
    // SAFETY: lock: this function's contract.
    let holder = unsafe { server.holder() };
    // While a module yields in the middle of its unit, what others do belongs to that: the first half must not be in the
    // log without the second.
    if holder.effects.is_empty() || holder.yields != 0 {
        return None;
    }
    let effects = std::mem::take(&mut holder.effects);
    if !server.log.active() {
        return None;
    }
    let several = effects.len() > 1 || effects[0].times > 1;
    Some(server.log.append(server, now(), &effects, together && several))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn effects_are_resp() {
        let e = Effect::new(3, to::ALL, &[b"SET".as_slice(), b"", b"12345678901"]);
        assert_eq!(e.resp, b"*3\r\n$3\r\nSET\r\n$0\r\n\r\n$11\r\n12345678901\r\n");
    }
}
