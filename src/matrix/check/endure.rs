//! Endurance: `kill -9`, and many clients at once.
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::client::resp::{compact, encode, Reply};
use crate::client::words::split;
use crate::client::Wire;
use crate::matrix::lab::{cut, Host, Lab, Side, Stop, Verdict, WAIT};
use crate::matrix::workload::{line, NATIVE_MIXED};

/// Writes that are acknowledged before the server is killed, in each round.
const ACKNOWLEDGED: u64 = 400;

/// `kill -9`, three times.
pub fn crash(lab: &Lab) -> Verdict {
    let w = lab.workload();
    let args = ["--appendonly", "yes", "--appendfsync", "always"];
    let mut ours = lab.start(Side::Ours, &args)?;
    ours.fill(w)?;
    let write = w.map_or("SET load:{n} {n}", |w| w.write);
    let probe = w.map_or("GET load:{n}", |w| w.probe);
    let mut total = 0;
    for round in 0..3 {
        let from = round * 2 * ACKNOWLEDGED;
        if round > 0 {
            ours.must("BGREWRITEAOF")?;
        }
        let sure = cut_off(&mut ours, write, from)?;
        total += sure - from;
        lab.note(format!("writes {from} to {} are acknowledged", sure - 1));
        ours.kill_and_revive()?;
        let mut wire = ours.wire()?;
        for n in from..sure {
            let text = line(probe, n, n);
            let reply = wire.ask(&split(&text)?, WAIT);
            let lost = matches!(
                &reply,
                Reply::Null(_) | Reply::Line(b'-' | b'_', _) | Reply::Closed | Reply::Timeout
            );
            if lost {
                return Err(Stop::Fails(format!(
                    "after round {round}, {text} replies {} though write {n} was acknowledged{}",
                    compact(&reply),
                    ours.last_words()
                )));
            }
        }
    }
    ours.must("PING")?;
    Ok(format!("{total} acknowledged writes survived 3 kills, two of them during a rewrite."))
}

/// Writes from number `from` on, and kills the server while requests are on their way. The number of the first write that
/// was not acknowledged.
fn cut_off(host: &mut Host, write: &str, from: u64) -> Result<u64, Stop> {
    let mut wire = host.wire()?;
    let mut bytes = Vec::new();
    for n in from..from + 2 * ACKNOWLEDGED {
        bytes.extend(encode(&split(&line(write, n, n))?));
    }
    // The replies are few bytes each, so that nobody waits for room.
    wire.write(&bytes);
    let mut sure = from;
    while sure < from + ACKNOWLEDGED {
        match wire.read(WAIT) {
            reply @ (Reply::Line(b'-', _) | Reply::Closed | Reply::Timeout) => {
                let gone = host.last_words();
                return Err(Stop::Fails(format!("write {sure} replies {}{gone}", compact(&reply))));
            }
            _ => sure += 1,
        }
    }
    Ok(sure)
}

/// Clients of the mixed load.
const CLIENTS: u64 = 4;
/// Keys that they share.
const KEYS: u64 = 100;

/// Many clients, for so many seconds.
pub fn mixed(lab: &Lab) -> Verdict {
    let w = lab.workload();
    let mut ours = lab.start(Side::Ours, &["--appendonly", "yes"])?;
    ours.fill(w)?;
    let lines: Vec<&str> = [NATIVE_MIXED, w.map_or(&[], |w| w.mixed)].concat();
    let end = Instant::now() + Duration::from_secs(lab.setup.seconds);
    let stop = AtomicBool::new(false);
    let done = AtomicU64::new(0);
    let addr = ours.server.addr;
    let saves = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|seed| {
                let (lines, stop, done) = (&lines, &stop, &done);
                scope.spawn(move || {
                    let result = client(addr, lines, seed, end, stop, done);
                    if result.is_err() {
                        stop.store(true, Ordering::Relaxed);
                    }
                    result
                })
            })
            .collect();
        let saves = saver(&mut ours, end, &stop);
        if saves.is_err() {
            stop.store(true, Ordering::Relaxed);
        }
        for client in clients {
            match client.join() {
                Ok(result) => result.map_err(|why| format!("{why}{}", ours.last_words()))?,
                Err(_) => return Err(Stop::Fails("a client of the load panicked".into())),
            }
        }
        saves
    })?;
    // What it keeps now must survive a reload.
    settle_down(&mut ours)?;
    let before = ours.must("DEBUG DIGEST")?;
    ours.must("DEBUG RELOAD")?;
    let after = ours.must("DEBUG DIGEST")?;
    if before != after {
        return Err(Stop::Fails("DEBUG DIGEST is another after DEBUG RELOAD".into()));
    }
    ours.must("PING")?;
    let done = done.load(Ordering::Relaxed);
    let seconds = lab.setup.seconds;
    Ok(format!("{done} commands by {CLIENTS} clients in {seconds} s beside {saves} saves and rewrites, no error."))
}

/// Takes the times from what may expire while the digests are compared.
fn settle_down(host: &mut Host) -> Result<(), Stop> {
    let Reply::Many(_, keys) = host.must("KEYS *")? else { return Ok(()) };
    let mut wire = host.wire()?;
    for key in keys.iter().filter_map(Reply::text) {
        let reply = wire.ask(&[b"PERSIST".as_slice(), key], WAIT);
        if matches!(reply, Reply::Closed | Reply::Timeout) {
            return Err(Stop::Fails(format!("PERSIST: {}{}", compact(&reply), host.last_words())));
        }
    }
    Ok(())
}

/// One client: pipelines of different lengths.
fn client(
    addr: std::net::SocketAddr,
    lines: &[&str],
    seed: u64,
    end: Instant,
    stop: &AtomicBool,
    done: &AtomicU64,
) -> Result<(), String> {
    let mut wire = Wire::open(addr).map_err(|e| e.to_string())?;
    let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = move |below: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % below
    };
    while Instant::now() < end && !stop.load(Ordering::Relaxed) {
        let count = [1, 1, 4, 16][next(4) as usize];
        let sent: Vec<String> = (0..count)
            .map(|_| line(lines[next(lines.len() as u64) as usize], next(KEYS), 1 + next(1000)))
            .collect();
        let mut bytes = Vec::new();
        for text in &sent {
            bytes.extend(encode(&split(text)?));
        }
        wire.write(&bytes);
        for text in &sent {
            let reply = wire.read(WAIT);
            if matches!(reply, Reply::Line(b'-', _) | Reply::Closed | Reply::Timeout) {
                return Err(format!("{} replies {}", cut(text, 120), cut(&compact(&reply), 300)));
            }
        }
        done.fetch_add(count, Ordering::Relaxed);
    }
    Ok(())
}

/// Saves and rewrites in turn while the load runs; their number.
fn saver(host: &mut Host, end: Instant, stop: &AtomicBool) -> Result<u64, Stop> {
    let mut saves = 0;
    while Instant::now() < end && !stop.load(Ordering::Relaxed) {
        let (command, field) = match saves % 2 {
            0 => ("BGSAVE", "rdb_bgsave_in_progress"),
            _ => ("BGREWRITEAOF", "aof_rewrite_in_progress"),
        };
        host.must(command)?;
        host.until("persistence", field, "0")?;
        for (field, command) in
            [("rdb_last_bgsave_status", "BGSAVE"), ("aof_last_bgrewrite_status", "BGREWRITEAOF")]
        {
            let status = host.info("persistence", field);
            if status != "ok" {
                return Err(Stop::Fails(format!("{command} ends with {status} under load")));
            }
        }
        host.must("INFO everything")?;
        saves += 1;
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(saves)
}

#[cfg(test)]
mod tests {
    #[test]
    fn loads_use_no_key_without_number_that_expires() {
        // EXPIRE of a key that the reads of a workload need would make checks depend on time.
        for w in crate::matrix::workload::ALL {
            for text in w.mixed.iter().filter(|t| t.starts_with("EXPIRE") || t.starts_with("DEL")) {
                assert!(text.contains("{n}"), "{text}");
            }
        }
    }
}
