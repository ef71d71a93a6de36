//! Consumer groups: pending entries and consumers.
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::StreamId;

/// A message that was delivered and not yet acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PelEntry {
    /// Name of the consumer that it was delivered to last.
    pub consumer: Arc<[u8]>,
    /// When it was delivered last, in Unix milliseconds.
    pub delivery_time: i64,
    /// How often it was delivered.
    pub delivery_count: u64,
}

/// A consumer of a group.
#[derive(Clone, Debug)]
pub struct Consumer {
    name: Arc<[u8]>,
    /// Last time it tried to read or claim, in Unix milliseconds.
    pub seen_time: i64,
    /// Last time it got something; -1 before that.
    pub active_time: i64,
    pel: BTreeSet<StreamId>,
}

impl Consumer {
    /// The consumer's name.
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// The name as the pending entries share it.
    pub fn shared_name(&self) -> &Arc<[u8]> {
        &self.name
    }

    /// Ids of its pending entries, ascending.
    pub fn pending(&self) -> &BTreeSet<StreamId> {
        &self.pel
    }
}

/// A consumer group.
///
/// Invariant: an id is in the group's pending entries with consumer C exactly when it is in C's set, and C exists.
#[derive(Clone, Debug)]
pub struct Group {
    /// Last id that was delivered to the group.
    pub last_id: StreamId,
    /// How many entries the group has read; `None` when it cannot be known (`XINFO` shows a null, RDB has -1).
    pub entries_read: Option<i64>,
    pel: BTreeMap<StreamId, PelEntry>,
    consumers: BTreeMap<Arc<[u8]>, Consumer>,
}

impl Group {
    /// A group without consumers.
    pub fn new(last_id: StreamId, entries_read: Option<i64>) -> Group {
        Group { last_id, entries_read, pel: BTreeMap::new(), consumers: BTreeMap::new() }
    }

    /// A consumer by name.
    pub fn consumer(&self, name: &[u8]) -> Option<&Consumer> {
        self.consumers.get(name)
    }

    /// A consumer by name, to change its times.
    pub fn consumer_mut(&mut self, name: &[u8]) -> Option<&mut Consumer> {
        self.consumers.get_mut(name)
    }

    /// All consumers, ordered by name.
    pub fn consumers(&self) -> impl ExactSizeIterator<Item = &Consumer> {
        self.consumers.values()
    }

    /// Adds a consumer that was seen now and never active; false when there is one of that name.
    pub fn create_consumer(&mut self, name: &[u8], now: i64) -> bool {
        if self.consumers.contains_key(name) {
            return false;
        }
        let name: Arc<[u8]> = name.into();
        let consumer =
            Consumer { name: name.clone(), seen_time: now, active_time: -1, pel: BTreeSet::new() };
        self.consumers.insert(name, consumer);
        true
    }

    /// Removes a consumer with its pending entries, whose number is returned (`XGROUP DELCONSUMER`).
    pub fn delete_consumer(&mut self, name: &[u8]) -> Option<usize> {
        let consumer = self.consumers.remove(name)?;
        for id in &consumer.pel {
            self.pel.remove(id);
        }
        Some(consumer.pel.len())
    }

    /// All pending entries, ascending.
    pub fn pending(&self) -> &BTreeMap<StreamId, PelEntry> {
        &self.pel
    }

    /// One pending entry.
    pub fn pending_entry(&self, id: StreamId) -> Option<&PelEntry> {
        self.pel.get(&id)
    }

    /// Makes `id` pending for `consumer`, or hands it over from its former consumer, with these times (delivery by
    /// `XREADGROUP`, `XCLAIM`, RDB load). False, and nothing done, when there is no such consumer.
    pub fn assign(
        &mut self,
        id: StreamId,
        consumer: &[u8],
        delivery_time: i64,
        delivery_count: u64,
    ) -> bool {
        let Some(owner) = self.consumers.get_mut(consumer) else { return false };
        owner.pel.insert(id);
        let entry = PelEntry { consumer: owner.name.clone(), delivery_time, delivery_count };
        let former = self.pel.insert(id, entry);
        if let Some(former) = former.filter(|f| *f.consumer != *consumer) {
            if let Some(former) = self.consumers.get_mut(&former.consumer) {
                former.pel.remove(&id);
            }
        }
        true
    }

    /// Changes time and count of a pending entry, its consumer stays.
    pub fn redeliver(&mut self, id: StreamId, delivery_time: i64, delivery_count: u64) -> bool {
        let Some(entry) = self.pel.get_mut(&id) else { return false };
        entry.delivery_time = delivery_time;
        entry.delivery_count = delivery_count;
        true
    }

    /// Takes an entry out of the pending ones (`XACK`, and `XCLAIM` of a deleted entry); what it was.
    pub fn ack(&mut self, id: StreamId) -> Option<PelEntry> {
        let entry = self.pel.remove(&id)?;
        if let Some(consumer) = self.consumers.get_mut(&entry.consumer) {
            consumer.pel.remove(&id);
        }
        Some(entry)
    }

    /// Estimated bytes of the group.
    pub fn mem_bytes(&self) -> usize {
        use std::mem::size_of;
        let pending = self.pel.len() * (2 * size_of::<StreamId>() + size_of::<PelEntry>());
        let consumers: usize =
            self.consumers.values().map(|c| size_of::<Consumer>() + 32 + c.name.len()).sum();
        size_of::<Group>() + pending + consumers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(ms: u64) -> StreamId {
        StreamId::new(ms, 0)
    }

    fn pending_of(group: &Group, name: &[u8]) -> Vec<u64> {
        group.consumer(name).unwrap().pending().iter().map(|i| i.ms).collect()
    }

    #[test]
    fn consumers_and_group_agree() {
        let mut group = Group::new(StreamId::MIN, None);
        assert!(group.create_consumer(b"a", 7) && group.create_consumer(b"b", 8));
        assert!(!group.create_consumer(b"a", 9));
        assert_eq!(group.consumer(b"a").unwrap().seen_time, 7);
        assert_eq!(group.consumer(b"a").unwrap().active_time, -1);
        for ms in 1..=4 {
            assert!(group.assign(id(ms), b"a", 100, 1));
        }
        assert!(!group.assign(id(9), b"nobody", 100, 1));
        assert!(group.assign(id(2), b"b", 200, 5));
        assert!(group.assign(id(3), b"a", 300, 2));
        assert_eq!(pending_of(&group, b"a"), [1, 3, 4]);
        assert_eq!(pending_of(&group, b"b"), [2]);
        assert_eq!(group.pending().len(), 4);
        assert_eq!(&*group.pending_entry(id(2)).unwrap().consumer, b"b");
        assert_eq!(group.pending_entry(id(3)).unwrap().delivery_time, 300);
        assert!(group.redeliver(id(3), 400, 9) && !group.redeliver(id(8), 0, 0));
        assert_eq!(group.ack(id(3)).unwrap().delivery_count, 9);
        assert!(group.ack(id(3)).is_none());
        assert_eq!(pending_of(&group, b"a"), [1, 4]);
        assert_eq!(group.delete_consumer(b"a"), Some(2));
        assert_eq!(group.delete_consumer(b"a"), None);
        assert_eq!(group.pending().keys().copied().collect::<Vec<_>>(), [id(2)]);
    }
}
