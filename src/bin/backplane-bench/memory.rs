//! The `memory` rows: what a key and an idle connection cost in resident memory, beyond the empty server.
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::report::Report;
use crate::rows::{Random, Words};
use crate::{in_turn, prepare, prepare_all, Fill, Setup};
use backplane::client::process::Server;

/// Makes the request that sets a key of this number.
type Make = fn(&mut Random, u64) -> Words;

/// A kind of key: its name in the table, one in how many of `--memory-keys` there are, and how one is made.
const KINDS: [(&str, u64, Make); 6] = [
    ("string of 8 B", 1, |random, i| string(random, i, 8)),
    ("string of 32 B", 1, |random, i| string(random, i, 32)),
    ("string of 64 B", 1, |random, i| string(random, i, 64)),
    ("hash of 5 fields of 8 B", 5, hash),
    ("set of 5 integers", 5, set),
    ("zset of 5 members", 5, zset),
];

/// Both servers have settled after so long: shrunk buffers, pages given back.
const SETTLE: Duration = Duration::from_secs(4);

fn string(random: &mut Random, i: u64, length: usize) -> Words {
    vec!["SET".into(), format!("key:{i:012}"), random.text(length)]
}

fn hash(random: &mut Random, i: u64) -> Words {
    let mut words = vec!["HSET".into(), format!("hsh:{i:012}")];
    words.extend((0..5).flat_map(|n| [format!("field{n}"), random.text(8)]));
    words
}

fn set(random: &mut Random, i: u64) -> Words {
    let mut words = vec!["SADD".into(), format!("set:{i:012}")];
    words.extend((0..5).map(|_| random.below(1_000_000).to_string()));
    words
}

fn zset(random: &mut Random, i: u64) -> Words {
    let mut words = vec!["ZADD".into(), format!("zst:{i:012}")];
    let mut number = || random.below(1_000_000).to_string();
    words.extend((0..5).flat_map(|_| [number(), format!("m{}", number())]));
    words
}

/// Resident bytes of a process.
fn resident(pid: u32) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("Rss:")).unwrap_or_default();
    let kib: f64 = line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).unwrap_or(0.0);
    kib * 1024.0
}

/// Measures all kinds of keys, then idle connections.
pub fn measure(setup: &Setup, report: &mut Report) {
    for (name, part, fill) in KINDS {
        let count = (setup.memory_keys / part).max(1);
        let name = format!("{name}, key of 16 B: RSS per key, bytes");
        for turn in 0..setup.repeat {
            let mut servers =
                prepare_all(setup, &name, report, |i| prepare(setup, i, &[], &[], &[]));
            in_turn(&mut servers, turn, &name, report, |server, report, i| {
                std::thread::sleep(SETTLE / 4);
                let empty = resident(server.pid());
                let fills: [Fill; 1] = [(count, fill)];
                crate::fill(server, &fills).map_err(std::io::Error::other)?;
                std::thread::sleep(SETTLE / 4);
                report.add(&name, 1, i, (resident(server.pid()) - empty) / count as f64);
                Ok(())
            });
        }
    }
    let conns = setup.idle.min(crate::descriptors().saturating_sub(100));
    let name = format!("{conns} idle connections: RSS of each, bytes");
    for turn in 0..setup.repeat {
        let mut servers = prepare_all(setup, &name, report, |i| prepare(setup, i, &[], &[], &[]));
        in_turn(&mut servers, turn, &name, report, |server, report, i| {
            report.add("empty server: RSS, MiB", 1, i, resident(server.pid()) / 1048576.0);
            let growth = idle(server, conns)?;
            report.add(&name, 0, i, growth / conns as f64);
            Ok(())
        });
    }
}

/// Opens connections, sends a PING on each, and tells what the server grew by once it has settled.
fn idle(server: &Server, conns: usize) -> std::io::Result<f64> {
    ping(&mut connect(server.addr)?)?;
    std::thread::sleep(SETTLE / 4);
    let empty = resident(server.pid());
    let mut open = Vec::with_capacity(conns);
    for _ in 0..conns {
        let mut stream = connect(server.addr)?;
        ping(&mut stream)?;
        open.push(stream);
    }
    std::thread::sleep(SETTLE);
    Ok(resident(server.pid()) - empty)
}

fn connect(addr: SocketAddr) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect(addr)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    Ok(stream)
}

fn ping(stream: &mut TcpStream) -> std::io::Result<()> {
    let mut reply = [0; 7];
    stream.write_all(b"PING\r\n")?;
    stream.read_exact(&mut reply)?;
    match &reply {
        b"+PONG\r\n" => Ok(()),
        other => Err(std::io::Error::other(format!(
            "PING answered {:?}",
            String::from_utf8_lossy(other)
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_sixteen_bytes_and_their_own_resident_memory_is_known() {
        let mut random = Random::new(1);
        for (name, _, make) in KINDS {
            assert_eq!(make(&mut random, 77)[1].len(), 16, "{name}");
        }
        assert!(resident(std::process::id()) > 100_000.0);
    }
}
