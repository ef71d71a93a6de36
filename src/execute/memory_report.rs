//! `MEMORY DOCTOR` and `MEMORY MALLOC-STATS`: memory, told in words and by the allocator itself.
use super::{CommandResult, Tx};
use crate::module::api::memory::{allocator_figures, allocator_report};
use crate::observe::process;
use crate::reply::Reply;
use std::sync::atomic::Ordering::Relaxed;

/// With less than this in use, ratios say nothing.
const LITTLE: u64 = 5 << 20;
/// Waste below this many bytes is not worth a word.
const WORTH_IT: u64 = 10 << 20;

/// What the doctor looks at, in bytes.
#[derive(Clone, Copy, Default)]
struct Figures {
    used: u64,
    peak: u64,
    allocated: u64,
    active: u64,
    resident: u64,
    process: u64,
}

/// `a` exceeds `b` by this percentage, and by an amount that matters.
fn exceeds(a: u64, b: u64, percent: u64) -> bool {
    a > b + b / 100 * percent && a - b > WORTH_IT
}

fn diagnosis(f: Figures) -> String {
    if f.used < LITTLE {
        return "This server uses very little memory: there is nothing to tell about it.\n".into();
    }
    let mib = |bytes: u64| format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20));
    let mut found = Vec::new();
    if exceeds(f.peak, f.used, 50) {
        found.push(format!(
            "Peak: {} were in use once, {} are now. The process may keep more memory than it needs until it is used again.",
            mib(f.peak),
            mib(f.used)
        ));
    }
    if exceeds(f.active, f.allocated, 10) {
        found.push(format!(
            "Fragmentation: {} of pages hold {} of data. Many values of changing sizes were freed; activedefrag may help.",
            mib(f.active),
            mib(f.allocated)
        ));
    }
    if exceeds(f.resident, f.active, 10) {
        found.push(format!(
            "Allocator: it keeps {} of pages that hold nothing. MEMORY PURGE gives them back.",
            mib(f.resident - f.active)
        ));
    }
    if exceeds(f.process, f.resident, 10) {
        found.push(format!(
            "Process: {} are resident beyond the allocator's: code, stacks, or memory of libraries that modules use.",
            mib(f.process - f.resident)
        ));
    }
    if found.is_empty() {
        return "No trouble was found in how this server uses memory.\n".into();
    }
    found.iter().map(|text| format!(" * {text}\n")).collect()
}

/// `MEMORY DOCTOR`
pub fn doctor(tx: &mut Tx<'_>, _: &[&[u8]], out: &mut Reply) -> CommandResult {
    let used = tx.server.used_memory();
    let [allocated, active, resident, _] = allocator_figures();
    let f = Figures {
        used,
        peak: tx.server.peak_memory.load(Relaxed).max(used),
        allocated,
        active,
        resident,
        process: process::resident(),
    };
    out.verbatim(b"txt", diagnosis(f).as_bytes());
    Ok(())
}

/// `MEMORY MALLOC-STATS`
pub fn malloc_stats(_: &mut Tx<'_>, _: &[&[u8]], out: &mut Reply) -> CommandResult {
    match allocator_report() {
        Some(text) => out.verbatim(b"txt", &text),
        None => out.bulk(b"Stats not supported for the current allocator"),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn check(f: Figures, words: &[&str]) {
        let text = diagnosis(f);
        let found: Vec<&str> =
            text.lines().filter_map(|l| l.strip_prefix(" * ")?.split(':').next()).collect();
        assert_eq!(found, words, "{text}");
    }

    #[test]
    fn what_is_told() {
        let healthy = Figures {
            used: 100 * MIB,
            peak: 110 * MIB,
            allocated: 100 * MIB,
            active: 105 * MIB,
            resident: 110 * MIB,
            process: 115 * MIB,
        };
        check(healthy, &[]);
        check(Figures { peak: 200 * MIB, ..healthy }, &["Peak"]);
        check(
            Figures { active: 150 * MIB, resident: 150 * MIB, process: 150 * MIB, ..healthy },
            &["Fragmentation"],
        );
        check(Figures { resident: 150 * MIB, process: 150 * MIB, ..healthy }, &["Allocator"]);
        check(Figures { process: 150 * MIB, ..healthy }, &["Process"]);
        check(Figures { used: MIB, peak: 500 * MIB, ..healthy }, &[]);
    }
}
