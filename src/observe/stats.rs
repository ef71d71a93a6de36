//! Counters that many threads add to.
use super::histogram::{Histogram, Snapshot};
use parking_lot::Mutex;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::OnceLock;

const CELLS: usize = 16;

#[repr(align(64))]
#[derive(Default)]
struct Cell64(AtomicU64);

/// The cell that all threads share which came when no other was left.
const SHARED: usize = CELLS - 1;

static NEXT: AtomicUsize = AtomicUsize::new(0);
thread_local! {
    static MINE: Cell<usize> = const { Cell::new(usize::MAX) };
}

/// The number of this thread's cell.
#[inline]
fn mine() -> usize {
    match MINE.get() {
        usize::MAX => choose(),
        cell => cell,
    }
}

#[cold]
fn choose() -> usize {
    let cell = NEXT.fetch_add(1, Relaxed).min(SHARED);
    MINE.set(cell);
    cell
}

/// Adds to a counter in the calling thread's `cell`, which nobody else adds to unless it is the shared one; so it need
/// not be locked on the bus.
#[inline]
pub(super) fn add_in(cell: usize, counter: &AtomicU64, n: u64) {
    if cell == SHARED {
        counter.fetch_add(n, Relaxed);
    } else {
        counter.store(counter.load(Relaxed).wrapping_add(n), Relaxed);
    }
}

/// A counter with a cache line per thread, so that serving threads do not disturb each other.
#[derive(Default)]
pub struct Counter([Cell64; CELLS]);

impl Counter {
    /// Adds.
    #[inline]
    pub fn add(&self, n: u64) {
        let cell = mine();
        add_in(cell, &self.0[cell].0, n);
    }

    /// The sum.
    pub fn get(&self) -> u64 {
        self.0.iter().map(|c| c.0.load(Relaxed)).sum()
    }

    /// Back to zero (`CONFIG RESETSTAT`).
    pub fn reset(&self) {
        for c in &self.0 {
            c.0.store(0, Relaxed);
        }
    }
}

/// The server's counters, named as `INFO` names them.
#[derive(Default)]
#[allow(missing_docs)]
pub struct Stats {
    pub connections_received: Counter,
    pub rejected_connections: Counter,
    pub commands_processed: Counter,
    pub keyspace_hits: Counter,
    pub keyspace_misses: Counter,
    pub expired_keys: Counter,
    pub evicted_keys: Counter,
    pub expired_fields: Counter,
    pub net_input_bytes: Counter,
    pub net_output_bytes: Counter,
    pub reads: Counter,
    pub writes: Counter,
    pub error_replies: Counter,
    /// Forks of modules, and cuts of snapshots.
    pub forks: Counter,
    /// How long everybody waited for the last of them.
    pub last_fork_us: AtomicU64,
    /// Commands that took the module path, by reason.
    pub module_path: [Counter; crate::dispatch::table::REASONS],
    /// Native commands that waited for a held key.
    pub parked: Counter,
    /// Hand-overs to the module thread, and commands in them.
    pub handovers: Counter,
    pub acl_denied_auth: Counter,
    pub acl_denied_cmd: Counter,
    pub acl_denied_key: Counter,
    pub acl_denied_channel: Counter,
    /// Synchronizations of replicas: with all data, with the backlog, and tries of the latter that failed.
    pub sync_full: Counter,
    pub sync_partial_ok: Counter,
    pub sync_partial_err: Counter,
    pub output_limit_disconnections: Counter,
    pub query_limit_disconnections: Counter,
    pub evicted_clients: Counter,
    /// Rounds of the cron.
    pub cron_rounds: Counter,
    /// Nanoseconds in the cron.
    pub cron_ns: Counter,
    /// The longest turn of an event loop, in nanoseconds.
    pub longest_turn_ns: AtomicU64,
    /// The most commands of one connection in a turn.
    pub most_commands_in_turn: AtomicU64,
    /// Nanoseconds in the expiry cycle.
    pub expire_ns: Counter,
    /// Nanoseconds over the memory limit, and since when it is now (monotonic ns, 0: it is not).
    pub eviction_exceeded_ns: (AtomicU64, AtomicU64),
    /// Error replies by code.
    pub errors: ErrorStats,
    /// Momentary rates.
    pub rates: Rates,
}

impl Stats {
    /// Counts an error reply of this text.
    pub fn error_reply(&self, text: &[u8]) {
        self.error_replies.add(1);
        self.errors.count(error_code(text));
    }

    /// Notes a turn of an event loop.
    #[inline]
    pub fn turn(&self, ns: u64, commands: u64) {
        for (most, n) in [(&self.longest_turn_ns, ns), (&self.most_commands_in_turn, commands)] {
            if n > most.load(Relaxed) {
                most.fetch_max(n, Relaxed);
            }
        }
    }

    /// Turns of all event loops: reads of the serving threads, and rounds of the module thread.
    pub fn turns(&self) -> u64 {
        self.reads.get() + self.handovers.get() + self.cron_rounds.get()
    }

    /// What [`Rates`] samples.
    pub fn rate_values(&self) -> [u64; RATES] {
        let cpu = super::process::cpu_times(super::process::Whose::Process);
        [
            self.commands_processed.get(),
            self.net_input_bytes.get(),
            self.net_output_bytes.get(),
            self.turns(),
            cpu.sys + cpu.user,
        ]
    }

    /// `CONFIG RESETSTAT`
    pub fn reset(&self) {
        for c in [
            &self.connections_received,
            &self.rejected_connections,
            &self.commands_processed,
            &self.keyspace_hits,
            &self.keyspace_misses,
            &self.expired_keys,
            &self.evicted_keys,
            &self.expired_fields,
            &self.net_input_bytes,
            &self.net_output_bytes,
            &self.reads,
            &self.writes,
            &self.error_replies,
            &self.forks,
            &self.parked,
            &self.handovers,
            &self.sync_full,
            &self.sync_partial_ok,
            &self.sync_partial_err,
            &self.output_limit_disconnections,
            &self.query_limit_disconnections,
            &self.evicted_clients,
            &self.cron_rounds,
            &self.cron_ns,
            &self.expire_ns,
        ] {
            c.reset();
        }
        self.longest_turn_ns.store(0, Relaxed);
        self.most_commands_in_turn.store(0, Relaxed);
        self.module_path.iter().for_each(Counter::reset);
        self.eviction_exceeded_ns.0.store(0, Relaxed);
        self.errors.reset();
        crate::keyspace::lazy_free::reset();
    }
}

/// What one thread counted of one command.
#[repr(align(64))]
#[derive(Default)]
struct CommandCell {
    calls: AtomicU64,
    ns: AtomicU64,
    rejected: AtomicU64,
    failed: AtomicU64,
    durations: OnceLock<Histogram>,
}

/// Counters of one command, for `INFO commandstats` and `LATENCY HISTOGRAM`: a cell per thread, so that serving threads
/// do not disturb each other.
#[derive(Default)]
pub struct CommandStats([CommandCell; CELLS]);

/// The sums of a [`CommandStats`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CommandTotals {
    /// Calls.
    pub calls: u64,
    /// Nanoseconds in its body.
    pub ns: u64,
    /// Refused before execution.
    pub rejected: u64,
    /// Ended in an error.
    pub failed: u64,
}

impl CommandStats {
    #[inline]
    fn mine(&self) -> (usize, &CommandCell) {
        let cell = mine();
        (cell, &self.0[cell])
    }

    /// Counts one call; its duration goes into the histogram too if `track` (`latency-tracking`).
    #[inline]
    pub fn add(&self, ns: u64, track: bool) {
        let (number, cell) = self.mine();
        add_in(number, &cell.calls, 1);
        add_in(number, &cell.ns, ns);
        if track {
            cell.durations.get_or_init(Histogram::default).add(number, ns);
        }
    }

    /// Adds time that a blocked call spent after it was counted.
    pub fn add_time(&self, ns: u64) {
        let (number, cell) = self.mine();
        add_in(number, &cell.ns, ns);
    }

    /// Counts a call that ended in an error.
    pub fn failed(&self) {
        let (number, cell) = self.mine();
        add_in(number, &cell.failed, 1);
    }

    /// Counts a call refused before execution.
    pub fn rejected(&self) {
        let (number, cell) = self.mine();
        add_in(number, &cell.rejected, 1);
    }

    /// All threads' counts.
    pub fn totals(&self) -> CommandTotals {
        let sum = |f: fn(&CommandCell) -> &AtomicU64| {
            self.0.iter().map(|c| f(c).load(Relaxed)).sum::<u64>()
        };
        CommandTotals {
            calls: sum(|c| &c.calls),
            ns: sum(|c| &c.ns),
            rejected: sum(|c| &c.rejected),
            failed: sum(|c| &c.failed),
        }
    }

    /// All threads' durations; `None` when none was recorded.
    pub fn durations(&self) -> Option<Snapshot> {
        let mut all = Snapshot::default();
        self.0.iter().filter_map(|c| c.durations.get()).for_each(|h| all.add(h));
        (all.total > 0).then_some(all)
    }

    /// Back to zero (`CONFIG RESETSTAT`).
    pub fn reset(&self) {
        for c in &self.0 {
            for n in [&c.calls, &c.ns, &c.rejected, &c.failed] {
                n.store(0, Relaxed);
            }
            if let Some(h) = c.durations.get() {
                h.reset();
            }
        }
    }
}

/// Kinds of errors counted at most; one more switches the counting off until `CONFIG RESETSTAT`.
const ERROR_KINDS: usize = 128;

/// Error replies by their code, for `INFO errorstats`.
#[derive(Default)]
pub struct ErrorStats(Mutex<ErrorCounts>);

#[derive(Default)]
struct ErrorCounts {
    counts: BTreeMap<String, u64>,
    off: bool,
}

impl ErrorStats {
    /// Counts an error reply of this code.
    pub fn count(&self, code: &str) {
        let mut e = self.0.lock();
        if e.off {
            return;
        }
        if let Some(n) = e.counts.get_mut(code) {
            *n += 1;
        } else if e.counts.len() < ERROR_KINDS {
            e.counts.insert(code.to_string(), 1);
        } else {
            let codes: Vec<String> = e.counts.keys().cloned().collect();
            crate::log_warning!(
                "Errorstats stopped adding new errors because the number of errors reached the limit, may be misuse \
                 of lua error_reply, please check INFO ERRORSTATS, this can be re-enabled via CONFIG RESETSTAT."
            );
            crate::log_warning!("Current errors code list: {}", codes.join(", "));
            let off = BTreeMap::from([("ERRORSTATS_DISABLED".to_string(), 1)]);
            let counts = std::mem::replace(&mut e.counts, off);
            crate::keyspace::lazy_free::drop_later(counts.len() as u64, counts);
            e.off = true;
        }
    }

    /// All codes with their counts, sorted.
    pub fn list(&self) -> Vec<(String, u64)> {
        self.0.lock().counts.iter().map(|(k, n)| (k.clone(), *n)).collect()
    }

    /// Forgets everything, and counts again.
    pub fn reset(&self) {
        *self.0.lock() = ErrorCounts::default();
    }
}

/// The code of an error reply: its first word, if it ends within 31 bytes.
pub fn error_code(text: &[u8]) -> &str {
    let end = text[..text.len().min(31)].iter().position(|&c| c == b' ');
    end.and_then(|end| std::str::from_utf8(&text[..end]).ok())
        .filter(|c| !c.is_empty())
        .unwrap_or("ERR")
}

/// Samples kept for a momentary rate.
const SAMPLES: usize = 16;

/// Rates over the last sixteen rounds of the cron.
#[derive(Default)]
pub struct Rates(Mutex<RateState>);

#[derive(Default)]
struct RateState {
    last: Option<(u64, [u64; RATES])>,
    samples: [[u64; SAMPLES]; RATES],
    next: usize,
}

/// Number of rates: commands, bytes in, bytes out, turns of event loops, microseconds of CPU time.
pub const RATES: usize = 5;

impl Rates {
    /// Notes the counters at a monotonic time in nanoseconds.
    pub fn sample(&self, now_ns: u64, values: [u64; RATES]) {
        let mut s = self.0.lock();
        if let Some((then, old)) = s.last {
            let elapsed = now_ns.saturating_sub(then);
            if elapsed < 90_000_000 {
                return;
            }
            let at = s.next;
            for (i, (new, old)) in values.iter().zip(old).enumerate() {
                let per_second = u128::from(new.saturating_sub(old)) * 1_000_000_000;
                s.samples[i][at] = (per_second / u128::from(elapsed)) as u64;
            }
            s.next = (at + 1) % SAMPLES;
        }
        s.last = Some((now_ns, values));
    }

    /// The mean of the samples, per second.
    pub fn get(&self) -> [u64; RATES] {
        let s = self.0.lock();
        s.samples.map(|all| all.iter().sum::<u64>() / SAMPLES as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_errors() {
        assert_eq!(error_code(b"ERR syntax error"), "ERR");
        assert_eq!(error_code(b"WRONGTYPE Operation"), "WRONGTYPE");
        assert_eq!(error_code(b"nothing"), "ERR");
        assert_eq!(error_code(b"a_word_that_is_much_longer_than_is_usual here"), "ERR");
    }

    #[test]
    fn error_kinds_are_limited() {
        let e = ErrorStats::default();
        for i in 0..ERROR_KINDS {
            e.count(&format!("E{i}"));
        }
        e.count("E0");
        assert_eq!(e.list().len(), ERROR_KINDS);
        e.count("ONEMORE");
        e.count("E0");
        assert_eq!(e.list(), [("ERRORSTATS_DISABLED".to_string(), 1)]);
        e.reset();
        e.count("E0");
        assert_eq!(e.list(), [("E0".to_string(), 1)]);
    }

    #[test]
    fn command_counters_add_up_and_reset() {
        let s = CommandStats::default();
        std::thread::scope(|t| {
            for _ in 0..4 {
                t.spawn(|| s.add(1000, true));
            }
        });
        s.failed();
        let t = s.totals();
        assert_eq!((t.calls, t.ns, t.failed, t.rejected), (4, 4000, 1, 0));
        assert_eq!(s.durations().unwrap().total, 4);
        s.reset();
        assert_eq!(s.totals(), CommandTotals::default());
        assert!(s.durations().is_none());
    }
}
