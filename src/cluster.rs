//! Cluster mode, as far as one node has it: which slots it serves, under which name, and the file that keeps that.
//!
//! There is no bus to other nodes in this version: `CLUSTER MEET` is refused. A node that serves all slots works as one of
//! Redis does: keys of a command must share a slot, there is one database, and clients find everything here.
use crate::keyspace::shard::slot_of;
use crate::observe::random;
use crate::server::Server;
use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};

/// Number of slots.
pub const SLOTS: usize = 16384;

/// The node's names and epoch.
#[derive(Clone, Default)]
pub struct Identity {
    /// 40 hex digits.
    pub id: String,
    /// Likewise, of its shard.
    pub shard: String,
    /// Its configuration epoch.
    pub epoch: u64,
}

/// The state of the node.
pub struct Cluster {
    enabled: AtomicBool,
    identity: Mutex<Identity>,
    /// A bit for each slot that is served here.
    slots: [AtomicU64; SLOTS / 64],
    served: AtomicUsize,
}

impl Default for Cluster {
    fn default() -> Cluster {
        Cluster {
            enabled: AtomicBool::new(false),
            identity: Mutex::default(),
            slots: [const { AtomicU64::new(0) }; SLOTS / 64],
            served: AtomicUsize::new(0),
        }
    }
}

impl Cluster {
    /// Whether the server runs in cluster mode.
    #[inline]
    pub fn enabled(&self) -> bool {
        self.enabled.load(Relaxed)
    }

    /// The node's names and epoch.
    pub fn identity(&self) -> Identity {
        self.identity.lock().clone()
    }

    /// Changes names or epoch.
    pub fn change_identity<R>(&self, f: impl FnOnce(&mut Identity) -> R) -> R {
        f(&mut self.identity.lock())
    }

    /// Whether a slot is served.
    #[inline]
    pub fn serves(&self, slot: u16) -> bool {
        let slot = usize::from(slot);
        self.slots[slot / 64].load(Relaxed) >> (slot % 64) & 1 == 1
    }

    /// How many slots are served.
    pub fn served(&self) -> usize {
        self.served.load(Relaxed)
    }

    /// Takes or gives up a slot.
    pub fn set(&self, slot: u16, on: bool) {
        if self.serves(slot) == on {
            return;
        }
        let slot = usize::from(slot);
        self.slots[slot / 64].fetch_xor(1 << (slot % 64), Relaxed);
        if on {
            self.served.fetch_add(1, Relaxed);
        } else {
            self.served.fetch_sub(1, Relaxed);
        }
    }

    /// Runs of served slots, first and last.
    pub fn ranges(&self) -> Vec<(u16, u16)> {
        let mut all: Vec<(u16, u16)> = Vec::new();
        for slot in (0..SLOTS as u16).filter(|s| self.serves(*s)) {
            match all.last_mut() {
                Some((_, last)) if *last + 1 == slot => *last = slot,
                _ => all.push((slot, slot)),
            }
        }
        all
    }

    /// Whether the cluster, which is this node, can be used.
    pub fn is_up(&self, server: &Server) -> bool {
        let served = self.served();
        served == SLOTS || served > 0 && !server.config.cluster_require_full_coverage()
    }

    /// The node's line of `CLUSTER NODES` and of the file, without line break.
    pub fn line(&self, server: &Server, in_file: bool) -> String {
        let me = self.identity();
        let port = server.config.port();
        let bus = match server.config.cluster_port() {
            0 => port + 10_000,
            p => p,
        };
        let ip = server.config.cluster_announce_ip();
        let ip = ip.as_deref().map_or(String::new(), |ip| String::from_utf8_lossy(ip).into_owned());
        let more =
            if in_file { format!(",,tls-port=0,shard-id={}", me.shard) } else { String::new() };
        let mut line =
            format!("{} {ip}:{port}@{bus}{more} myself,master - 0 0 {} connected", me.id, me.epoch);
        for (first, last) in self.ranges() {
            line.push_str(&if first == last {
                format!(" {first}")
            } else {
                format!(" {first}-{last}")
            });
        }
        line
    }

    /// Reads the node's file, or makes a new identity. The error is a sentence.
    pub fn start(&self, server: &Server) -> Result<(), String> {
        if !server.config.cluster_enabled() {
            return Ok(());
        }
        self.enabled.store(true, Relaxed);
        match std::fs::read_to_string(file_name(server)) {
            Ok(text) if !text.is_empty() => self.read(&text)?,
            _ => {
                let me = Identity { id: random::hex(40), shard: random::hex(40), epoch: 0 };
                crate::log_notice!("No cluster configuration found, I'm {}", me.id);
                *self.identity.lock() = me;
            }
        }
        self.save(server).map_err(|e| format!("the cluster configuration cannot be written: {e}"))
    }

    fn read(&self, text: &str) -> Result<(), String> {
        let bad = || "Unrecoverable error: corrupted cluster config file".to_string();
        let line = text.lines().find(|l| l.contains("myself")).ok_or_else(bad)?;
        let words: Vec<&str> = line.split(' ').collect();
        if words.len() < 8 || words[0].len() != 40 {
            return Err(bad());
        }
        let shard =
            words[1].split("shard-id=").nth(1).map_or_else(|| random::hex(40), str::to_string);
        let epoch = words[6].parse().map_err(|_| bad())?;
        *self.identity.lock() = Identity { id: words[0].into(), shard, epoch };
        for range in words[8..].iter().filter(|w| !w.starts_with('[')) {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let number = |t: &str| t.parse::<u16>().ok().filter(|n| usize::from(*n) < SLOTS);
            let (first, last) = number(first).zip(number(last)).ok_or_else(bad)?;
            (first..=last).for_each(|slot| self.set(slot, true));
        }
        Ok(())
    }

    /// Writes the file, under a temporary name first.
    pub fn save(&self, server: &Server) -> std::io::Result<()> {
        let name = file_name(server);
        let epoch = self.identity().epoch;
        let text =
            format!("{}\nvars currentEpoch {epoch} lastVoteEpoch 0\n", self.line(server, true));
        let temporary = format!("{name}.tmp-{}", std::process::id());
        let written = std::fs::File::create(&temporary).and_then(|mut f| {
            std::io::Write::write_all(&mut f, text.as_bytes())?;
            f.sync_all()
        });
        written.and_then(|()| std::fs::rename(&temporary, &name)).inspect_err(|_| {
            let _ = std::fs::remove_file(&temporary);
        })
    }
}

fn file_name(server: &Server) -> String {
    let name = server.config.cluster_config_file();
    name.map_or_else(|| "nodes.conf".into(), |n| String::from_utf8_lossy(&n).into_owned())
}

/// The slot that all keys made from a pattern of `SORT` share; `None` when they may differ.
pub fn slot_of_pattern(pattern: &[u8]) -> Option<u16> {
    let mut open = None;
    for (i, c) in pattern.iter().enumerate() {
        match (c, open) {
            (b'*' | b'?' | b'[' | b'\\', _) => return None,
            (b'{', None) => open = Some(i),
            (b'}', Some(at)) if i > at + 1 => return Some(slot_of(&pattern[at..=i])),
            _ => {}
        }
    }
    Some(slot_of(pattern))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_and_ranges() {
        let c = Cluster::default();
        for s in [0, 1, 2, 63, 64, 65, 16383] {
            c.set(s, true);
            c.set(s, true);
        }
        assert_eq!(c.served(), 7);
        assert_eq!(c.ranges(), [(0, 2), (63, 65), (16383, 16383)]);
        c.set(64, false);
        assert!(!c.serves(64) && c.serves(65));
        assert_eq!(c.ranges(), [(0, 2), (63, 63), (65, 65), (16383, 16383)]);
    }

    #[test]
    fn a_file_is_read_back() {
        let c = Cluster::default();
        let id = "a".repeat(40);
        let text = format!("{id} :1@2,,tls-port=0,shard-id=s myself,master - 0 0 7 connected 5 10-12\nvars currentEpoch 7\n");
        c.read(&text).unwrap();
        let me = c.identity();
        assert_eq!((me.id, me.shard.as_str(), me.epoch), (id, "s", 7));
        assert_eq!(c.ranges(), [(5, 5), (10, 12)]);
        assert!(
            c.read("nonsense").is_err() && c.read(&text.replace("5 10-12", "5-99999")).is_err()
        );
    }

    #[test]
    fn patterns_with_a_tag_have_one_slot() {
        assert_eq!(slot_of_pattern(b"by*"), None);
        assert_eq!(slot_of_pattern(b"{a*}b"), None);
        assert_eq!(slot_of_pattern(b"{a}by*"), Some(slot_of(b"{a}")));
        assert_eq!(slot_of_pattern(b"{}x*"), None);
        assert_eq!(slot_of_pattern(b"plain"), Some(slot_of(b"plain")));
    }
}
