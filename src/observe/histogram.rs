//! Latency histograms: log-linear buckets, about three percent wide, that one thread writes and any thread reads.
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Buckets per power of two, as a power of two.
const SUB_BITS: u32 = 5;
const SUB: u64 = 1 << SUB_BITS;
/// Longest duration told apart, in nanoseconds: longer ones count as this long.
const MAX_NS: u64 = 1_000_000_000;
const BUCKETS: usize = index(MAX_NS) + 1;

const fn index(ns: u64) -> usize {
    if ns < SUB {
        return ns as usize;
    }
    let shift = 63 - ns.leading_zeros() - SUB_BITS;
    ((shift as u64) * SUB + (ns >> shift)) as usize
}

/// The longest duration that falls into a bucket.
fn upper(index: usize) -> u64 {
    let index = index as u64;
    if index < 2 * SUB {
        return index;
    }
    let shift = index / SUB - 1;
    ((index % SUB + SUB + 1) << shift) - 1
}

/// Counts of durations.
pub struct Histogram(Box<[AtomicU64]>);

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram((0..BUCKETS).map(|_| AtomicU64::new(0)).collect())
    }
}

impl Histogram {
    /// Counts a duration in nanoseconds. The histogram belongs to the calling thread's cell of this number.
    #[inline]
    pub fn add(&self, cell: usize, ns: u64) {
        super::stats::add_in(cell, &self.0[index(ns.min(MAX_NS))], 1);
    }

    /// Forgets everything.
    pub fn reset(&self) {
        self.0.iter().for_each(|b| b.store(0, Relaxed));
    }
}

/// The sum of some histograms at one time.
#[derive(Default)]
pub struct Snapshot {
    counts: Vec<u64>,
    /// Number of durations.
    pub total: u64,
}

impl Snapshot {
    /// Adds a histogram.
    pub fn add(&mut self, h: &Histogram) {
        self.counts.resize(BUCKETS, 0);
        for (sum, b) in self.counts.iter_mut().zip(h.0.iter()) {
            let n = b.load(Relaxed);
            *sum += n;
            self.total += n;
        }
    }

    /// The duration in nanoseconds that `percent` of all do not exceed.
    pub fn percentile(&self, percent: f64) -> u64 {
        let wanted = ((percent / 100.0 * self.total as f64) + 0.5).max(1.0) as u64;
        let mut seen = 0;
        for (i, n) in self.counts.iter().enumerate() {
            seen += n;
            if seen >= wanted.min(self.total) && seen > 0 {
                return upper(i);
            }
        }
        0
    }

    /// Cumulative counts at 1.024 microseconds and each doubling of it, where the count grows: pairs of microseconds and
    /// count. The microseconds are the upper ends of Redis' buckets there (a 128th wide), which tools may look for.
    pub fn doublings(&self) -> Vec<(u64, u64)> {
        let (mut limit, mut seen, mut told) = (1024u64, 0, 0);
        let mut found = Vec::new();
        let shown = |limit: u64| (limit + limit / 128 - 1) / 1000;
        for (i, n) in self.counts.iter().enumerate() {
            while upper(i) >= limit {
                if seen > told {
                    found.push((shown(limit), seen));
                    told = seen;
                }
                limit *= 2;
            }
            seen += n;
        }
        if seen > told {
            found.push((shown(limit), seen));
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_contiguous_and_narrow() {
        let mut last = 0;
        for ns in 0..100_000u64 {
            let i = index(ns);
            assert!(i == last || i == last + 1, "{ns}");
            assert!(upper(i) >= ns && upper(i) as f64 <= ns as f64 * 1.04 + 1.0, "{ns}");
            last = i;
        }
    }

    #[test]
    fn percentiles_and_doublings() {
        let h = Histogram::default();
        (1..=99).for_each(|_| h.add(0, 1000));
        h.add(0, 1_500_000);
        let mut s = Snapshot::default();
        s.add(&h);
        assert_eq!(s.total, 100);
        assert!((1000..1032).contains(&s.percentile(50.0)));
        assert!((1000..1032).contains(&s.percentile(99.0)));
        assert!((1_500_000..1_550_000).contains(&s.percentile(99.9)));
        assert_eq!(s.doublings(), [(1, 99), (2113, 100)]);
    }
}
