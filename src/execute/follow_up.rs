//! What follows from a change of a key: watchers, clients that wait, events, the log.
use super::{Mode, Tx};
use crate::connection::client::flag;
use crate::keyspace::event::Event;
use crate::lock::held::Access;
use crate::propagate::{to, Effect};
use std::sync::atomic::Ordering::Relaxed;

impl Tx<'_> {
    /// Tells watchers that a key changed (Redis: signalModifiedKey). Bodies call it once per changed key, before the
    /// event.
    #[inline]
    pub fn modified(&mut self, key: &[u8]) {
        self.modified_in(self.db(), key);
    }

    /// As [`Tx::modified`], in another database.
    #[inline]
    pub fn modified_in(&mut self, db: usize, key: &[u8]) {
        if self.server.watched_keys.load(Relaxed) != 0 {
            self.tell_watchers(db, key);
        }
        if self.server.tracking.any() {
            self.tell_trackers(key);
        }
        self.key_ready(db, key);
    }

    /// Tells clients that wait for a key to look at it when the command is done.
    #[inline]
    pub fn key_ready(&mut self, db: usize, key: &[u8]) {
        if self.server.awaited_keys.load(Relaxed) != 0 {
            self.tell_waiters(db, key);
        }
    }

    #[cold]
    fn tell_watchers(&self, db: usize, key: &[u8]) {
        self.with_shard(db, key, Access::Write, |_, data, _| {
            if data.watched.is_empty() {
                return;
            }
            for c in data.watched.get(key).into_iter().flatten() {
                c.put(flag::DIRTY_CAS, true);
            }
        });
    }

    /// Makes the session's client a watcher of a key.
    pub fn watch(&mut self, key: &[u8]) {
        let client = self.session.shared.clone();
        self.with_shard(self.db(), key, Access::Read, |_, data, _| {
            // Under the latch: who takes it next, to change the key, sees the count.
            self.server.watched_keys.fetch_add(1, Relaxed);
            data.watched.entry(key.to_vec()).or_default().push(client);
        });
    }

    /// Fires a keyspace event: to modules first, then to subscribed clients.
    #[inline]
    pub fn notify(&mut self, event: &'static Event, key: &[u8]) {
        self.notify_in(self.db(), event, key);
    }

    /// As [`Tx::notify`], in another database.
    #[inline]
    pub fn notify_in(&mut self, db: usize, event: &'static Event, key: &[u8]) {
        self.fire(db, event, key);
    }

    /// As [`Tx::notify_in`], for a transaction that reads.
    #[inline]
    pub(super) fn fire(&self, db: usize, event: &'static Event, key: &[u8]) {
        if self.server.module_events() & event.class != 0 && self.mode == Mode::Module {
            crate::module::event::keyspace_event(db, event.class, event.name, key);
        }
        if self.server.client_events() & event.class != 0 {
            super::pubsub::keyspace_event(self.server, db, event.class, event.name.to_bytes(), key);
        }
    }

    /// Adds an effect to the log; the command itself comes behind all of these.
    pub fn propagate_also(&mut self, args: &[&[u8]]) {
        if self.server.log.active() {
            self.leave(Effect::new(self.session.db, to::ALL, args));
        }
    }

    /// Sends the command itself to the log even if it changed nothing.
    pub fn propagate_always(&mut self) {
        self.effects.force = to::ALL;
    }

    /// Replaces the command by this one in the log.
    pub fn propagate_as(&mut self, args: &[&[u8]]) {
        if self.server.log.active() {
            self.effects.instead(self.session.db, args);
        }
    }

    /// Keeps the command itself out of the log.
    pub fn propagate_nothing(&mut self) {
        self.effects.nothing();
    }
}
