//! `LATENCY`: spikes by event, and histograms by command.
use super::error::err;
use super::server::{admin_noscript, any, write_help};
use super::{text, CommandResult, Tx};
use crate::dispatch::table::{Command, Row};
use crate::reply::Reply;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Samples kept of an event.
const SAMPLES: usize = 160;

#[derive(Default)]
struct Series {
    /// Unix seconds and milliseconds, oldest first.
    samples: Vec<(i64, u64)>,
    max: u64,
}

/// Latency spikes by event, as `latency-monitor-threshold` lets them through.
#[derive(Default)]
pub struct Latency(Mutex<BTreeMap<String, Series>>);

impl Latency {
    /// Notes a spike. The caller has compared it with `latency-monitor-threshold`.
    pub fn add(&self, event: &str, ms: u64) {
        let now = crate::observe::clock::now_ms() / 1000;
        let mut all = self.0.lock();
        let series = all.entry(event.to_string()).or_default();
        series.max = series.max.max(ms);
        match series.samples.last_mut() {
            Some((at, worst)) if *at == now => *worst = (*worst).max(ms),
            _ => {
                if series.samples.len() == SAMPLES {
                    series.samples.remove(0);
                }
                series.samples.push((now, ms));
            }
        }
    }

    /// Does `work`, and notes a spike if that took too long.
    #[inline]
    pub fn watch<R>(
        &self,
        config: &crate::config::Config,
        event: &str,
        work: impl FnOnce() -> R,
    ) -> R {
        if config.latency_monitor_threshold() == 0 {
            return work();
        }
        let begin = crate::observe::clock::mono_ns();
        let result = work();
        let ms = (crate::observe::clock::mono_ns() - begin) / 1_000_000;
        self.add_if_slow(config, event, ms);
        result
    }

    /// Notes a spike if it reaches `latency-monitor-threshold`, which 0 switches off.
    pub fn add_if_slow(&self, config: &crate::config::Config, event: &str, ms: u64) {
        let threshold = config.latency_monitor_threshold();
        if threshold > 0 && ms >= threshold {
            self.add(event, ms);
        }
    }
}

/// `LATENCY HISTORY event`
fn history(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let all = tx.server.latency.0.lock();
    let samples = all.get(&*text(args[2])).map_or(&[][..], |s| &s.samples);
    out.array(samples.len());
    for (at, ms) in samples {
        out.array(2);
        out.int(*at);
        out.int(*ms as i64);
    }
    Ok(())
}

/// `LATENCY LATEST`
fn latest(tx: &mut Tx<'_>, _: &[&[u8]], out: &mut Reply) -> CommandResult {
    let all = tx.server.latency.0.lock();
    out.array(all.len());
    for (event, series) in all.iter() {
        let (at, ms) = series.samples.last().copied().unwrap_or_default();
        out.array(4);
        out.bulk_str(event);
        out.int(at);
        out.int(ms as i64);
        out.int(series.max as i64);
    }
    Ok(())
}

/// `LATENCY RESET [event ...]`
fn reset(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let mut all = tx.server.latency.0.lock();
    let before = all.len();
    if args.len() == 2 {
        all.clear();
    }
    args[2..].iter().for_each(|event| drop(all.remove(&*text(event))));
    out.int((before - all.len()) as i64);
    Ok(())
}

/// `LATENCY GRAPH event`: one column a sample, four rows.
fn graph(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    const ROWS: u64 = 4;
    let all = tx.server.latency.0.lock();
    let Some(series) = all.get(&*text(args[2])) else {
        return Err(err(format!("ERR No samples available for event '{}'", text(args[2]))));
    };
    let low = series.samples.iter().map(|s| s.1).min().unwrap_or(0);
    let high = series.samples.iter().map(|s| s.1).max().unwrap_or(0);
    let mut g = String::new();
    let _ = writeln!(
        g,
        "{} - high {high} ms, low {low} ms (all time high {} ms)",
        text(args[2]),
        series.max
    );
    let _ = writeln!(g, "{}", "-".repeat(80));
    for row in (0..ROWS).rev() {
        for (_, ms) in &series.samples {
            let height = (ms - low + 1) * ROWS * 2 / (high - low + 1);
            g.push(match height.saturating_sub(row * 2) {
                0 => ' ',
                1 => '_',
                _ => '#',
            });
        }
        g.push('\n');
    }
    let now = crate::observe::clock::now_ms() / 1000;
    if let (Some(first), Some(last)) = (series.samples.first(), series.samples.last()) {
        let _ = writeln!(g, "\nfrom {}s to {}s ago", now - first.0, now - last.0);
    }
    out.verbatim(b"txt", g.as_bytes());
    Ok(())
}

/// `LATENCY DOCTOR`: what was seen, in words.
fn doctor(tx: &mut Tx<'_>, _: &[&[u8]], out: &mut Reply) -> CommandResult {
    let all = tx.server.latency.0.lock();
    let mut report = String::new();
    if all.is_empty() && tx.server.config.latency_monitor_threshold() == 0 {
        report.push_str(
            "Latency monitoring is off. CONFIG SET latency-monitor-threshold <milliseconds> turns it on.\n",
        );
    } else if all.is_empty() {
        report.push_str("No latency spike was seen so far.\n");
    }
    for (i, (event, s)) in all.iter().enumerate() {
        let n = s.samples.len() as u64;
        let mean = s.samples.iter().map(|x| x.1).sum::<u64>() / n.max(1);
        let deviation = s.samples.iter().map(|x| x.1.abs_diff(mean)).sum::<u64>() / n.max(1);
        let _ = writeln!(
            report,
            "{}. {event}: {n} latency spikes (average {mean}ms, mean deviation {deviation}ms). Worst all time event \
             {}ms.",
            i + 1,
            s.max
        );
    }
    if all.contains_key("command") {
        report.push_str("\n- Slow commands were run: SLOWLOG GET and INFO backplane tell which.\n");
    }
    out.verbatim(b"txt", report.as_bytes());
    Ok(())
}

fn write_histograms(commands: &[&Command], out: &mut Reply) {
    let at = out.deferred();
    let mut n = 0;
    for c in commands {
        let Some(durations) = c.stats.durations() else { continue };
        n += 1;
        out.bulk_str(&c.full_name);
        out.map(2);
        out.bulk(b"calls");
        out.int(durations.total as i64);
        out.bulk(b"histogram_usec");
        let buckets = durations.doublings();
        out.map(buckets.len());
        for (us, count) in buckets {
            out.int(us as i64);
            out.int(count as i64);
        }
    }
    out.fill_map(at, n);
}

/// `LATENCY HISTOGRAM [command ...]`
fn histogram(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let table = tx.server.table.load();
    let mut commands: Vec<&Command> = Vec::new();
    if args.len() == 2 {
        for c in table.all() {
            commands.push(c);
            commands.extend(c.subs.iter().map(|s| &**s));
        }
    } else {
        for name in &args[2..] {
            let Some(c) = super::command::find(&table, name) else { continue };
            commands.push(c);
            commands.extend(c.subs.iter().map(|s| &**s));
        }
    }
    write_histograms(&commands, out);
    Ok(())
}

/// `LATENCY HELP`
fn help(_: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    write_help(
        out,
        args,
        &[
            "DOCTOR",
            "    Tell in words what was seen.",
            "GRAPH <event>",
            "    Draw the samples of an event.",
            "HISTORY <event>",
            "    List the samples of an event.",
            "LATEST",
            "    Show the last sample of each event.",
            "RESET [<event> ...]",
            "    Forget the samples of these events, or of all.",
            "HISTOGRAM [<command> ...]",
            "    Show how long these commands took, or all.",
        ],
    );
    Ok(())
}

/// The family's commands.
pub static ROWS: &[Row] = &[Row {
    since: "2.8.13",
    summary: "Latency spikes and histograms.",
    ..Row::container(
        "latency",
        &[
            Row { since: "2.8.13", ..admin_noscript("doctor", 2, "Reports in words.", doctor) },
            Row { since: "2.8.13", ..admin_noscript("graph", 3, "Draws samples.", graph) },
            Row { since: "2.8.13", ..any("help", 2, "Tells about the subcommands.", help) },
            Row {
                since: "7.0.0",
                ..admin_noscript("histogram", -2, "Shows durations by command.", histogram)
            },
            Row { since: "2.8.13", ..admin_noscript("history", 3, "Lists samples.", history) },
            Row {
                since: "2.8.13",
                ..admin_noscript("latest", 2, "Shows the last samples.", latest)
            },
            Row { since: "2.8.13", ..admin_noscript("reset", -2, "Forgets samples.", reset) },
        ],
    )
}];
