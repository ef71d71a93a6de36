//! `ACL LOG`: what was refused to whom.
use crate::connection::client::{flag, ClientShared};
use crate::observe::clock::now_ms;
use crate::server::Server;
use std::collections::VecDeque;
use std::sync::Arc;

/// What was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reason {
    /// An `AUTH`.
    Auth,
    /// A command.
    Command,
    /// A key.
    Key,
    /// A channel.
    Channel,
}

impl Reason {
    /// The word in the log.
    pub fn word(self) -> &'static str {
        match self {
            Reason::Auth => "auth",
            Reason::Command => "command",
            Reason::Key => "key",
            Reason::Channel => "channel",
        }
    }
}

/// Where.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// A plain request.
    TopLevel,
    /// Queueing for, or in, a transaction.
    Multi,
    /// A script.
    Script,
    /// A module's call, or a module's own entry.
    Module,
}

impl Place {
    /// The word in the log.
    pub fn word(self) -> &'static str {
        match self {
            Place::TopLevel => "toplevel",
            Place::Multi => "multi",
            Place::Script => "lua",
            Place::Module => "module",
        }
    }
}

/// An entry.
#[derive(Clone, Debug)]
pub struct Entry {
    /// How often, lately.
    pub count: i64,
    /// What was refused.
    pub reason: Reason,
    /// Where.
    pub place: Place,
    /// The command, key or channel.
    pub object: Vec<u8>,
    /// The user.
    pub user: Vec<u8>,
    /// The client of the last time, as `CLIENT LIST` shows it.
    pub client: String,
    /// Number of the entry since the start.
    pub id: i64,
    /// First time, Unix milliseconds.
    pub created: i64,
    /// Last time, likewise.
    pub updated: i64,
}

/// The entries, newest first.
#[derive(Default)]
pub struct Log {
    entries: VecDeque<Entry>,
    next_id: i64,
}

/// Entries closer together than this are one, if they are alike.
const GROUPING_MS: i64 = 60_000;
/// How many entries are looked at for one that is alike.
const GROUPING_DEPTH: usize = 10;

impl Log {
    /// The entries, newest first.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = &Entry> {
        self.entries.iter()
    }

    /// Forgets all entries.
    pub fn clear(&mut self) {
        self.entries.clear();
    }

    fn add(&mut self, mut new: Entry, max: usize) {
        if max == 0 {
            self.entries.clear();
            return;
        }
        let alike = |e: &Entry| {
            e.reason == new.reason
                && e.place == new.place
                && (new.updated - e.updated).abs() <= GROUPING_MS
                && e.object == new.object
                && e.user == new.user
        };
        let old = self.entries.iter().take(GROUPING_DEPTH).position(alike);
        if let Some(mut old) = old.and_then(|i| self.entries.remove(i)) {
            old.count += 1;
            old.client = new.client;
            old.updated = new.updated;
            self.entries.push_front(old);
            return;
        }
        new.id = self.next_id;
        self.next_id += 1;
        self.entries.push_front(new);
        self.entries.truncate(max);
    }
}

/// The client that an entry shows which concerns this one: a script or a module may act on behalf of another. The caller
/// has the module lock.
pub fn behind(server: &Server, client: &Arc<ClientShared>) -> Arc<ClientShared> {
    if !client.has(flag::INTERNAL) {
        return client.clone();
    }
    // SAFETY: lock: this function's contract.
    unsafe { server.holder() }.client.clone().unwrap_or_else(|| client.clone())
}

/// Notes a refusal: counts it, and enters it in the log.
pub fn add(
    server: &Server,
    reason: Reason,
    place: Place,
    object: &[u8],
    user: &[u8],
    client: &Arc<ClientShared>,
) {
    let stats = &server.stats;
    let counter = match reason {
        Reason::Auth => &stats.acl_denied_auth,
        Reason::Command => &stats.acl_denied_cmd,
        Reason::Key => &stats.acl_denied_key,
        Reason::Channel => &stats.acl_denied_channel,
    };
    counter.add(1);
    let now = now_ms();
    let entry = Entry {
        count: 1,
        reason,
        place,
        object: object.to_vec(),
        user: user.to_vec(),
        client: crate::execute::client::line(client),
        id: 0,
        created: now,
        updated: now,
    };
    server.acl.log.lock().add(entry, server.config.acllog_max_len());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(object: &str, at: i64) -> Entry {
        Entry {
            count: 1,
            reason: Reason::Key,
            place: Place::TopLevel,
            object: object.into(),
            user: b"u".to_vec(),
            client: String::new(),
            id: 0,
            created: at,
            updated: at,
        }
    }

    fn shape(log: &Log) -> Vec<(String, i64, i64)> {
        let show = |e: &Entry| (String::from_utf8_lossy(&e.object).into_owned(), e.count, e.id);
        log.entries().map(show).collect()
    }

    #[test]
    fn alike_entries_are_one_for_a_minute() {
        let mut log = Log::default();
        log.add(entry("a", 0), 10);
        log.add(entry("b", 1), 10);
        log.add(entry("a", 60_000), 10);
        assert_eq!(shape(&log), [("a".into(), 2, 0), ("b".into(), 1, 1)]);
        log.add(entry("a", 120_001), 10);
        assert_eq!(shape(&log)[0], ("a".into(), 1, 2));
    }

    #[test]
    fn the_length_is_limited() {
        let mut log = Log::default();
        (0..5).for_each(|i| log.add(entry(&i.to_string(), i), 3));
        assert_eq!(shape(&log).len(), 3);
        log.add(entry("x", 9), 0);
        assert!(shape(&log).is_empty());
    }
}
