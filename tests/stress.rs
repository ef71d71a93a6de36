//! Atomicity under load: module commands, a module's own threads and native multi-key commands on the same keys.
//!
//! Every writer moves amounts between accounts, so the sum of all accounts never changes for an observer that sees whole
//! units only. Observers are native (`MGET`, `MULTI` with `GET`s) and a module's (`tt.sum`, `tt.slowsum`). A torn read shows
//! as a wrong sum, a deadlock as a missing reply. `STRESS_SECONDS` sets the length (60 for the full run).
mod common;
use common::{own_modules, Reply, Server};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

const ACCOUNTS: usize = 12;
const TOTAL: i64 = 1000 * ACCOUNTS as i64;

fn account(i: u64) -> String {
    format!("account:{}", i % ACCOUNTS as u64)
}

struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

#[test]
fn no_torn_read_and_no_deadlock() {
    stress(&[]);
}

/// The same while calls of the module give the processor away by chance, so that other threads come in between.
#[test]
fn no_torn_read_when_modules_are_interrupted() {
    stress(&["--module-yield", "3"]);
}

fn stress(more: &[&str]) {
    let seconds = std::env::var("STRESS_SECONDS").ok().and_then(|s| s.parse().ok()).unwrap_or(5);
    let module = own_modules().join("timer_thread.so").display().to_string();
    let mut server =
        Server::start(&[&["--server-threads", "4", "--loadmodule", &module], more].concat());
    let mut c = server.client();
    for i in 0..ACCOUNTS as u64 {
        c.cmd(&["SET", &account(i), "1000"]).ok();
    }
    let names: Vec<String> = (0..ACCOUNTS as u64).map(account).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let stop = AtomicBool::new(false);
    let counts: [AtomicU64; 6] = Default::default();
    let done = &counts;
    std::thread::scope(|scope| {
        let running = || !stop.load(Relaxed);
        for t in 0..3u64 {
            // Native transfers: a transaction over two keys.
            let (mut c, done) = (server.client(), done);
            scope.spawn(move || {
                let mut d = Dice(t + 1);
                while running() {
                    let (a, b, n) =
                        (account(d.roll()), account(d.roll()), (d.roll() % 9).to_string());
                    c.send(&["MULTI"]);
                    c.send(&["DECRBY", &a, &n]);
                    c.send(&["INCRBY", &b, &n]);
                    c.send(&["EXEC"]);
                    for _ in 0..3 {
                        c.read();
                    }
                    assert_eq!(c.read().items().len(), 2);
                    done[0].fetch_add(1, Relaxed);
                }
            });
            // Native observers.
            let (mut c, names) = (server.client(), names.clone());
            scope.spawn(move || {
                let mut args = vec!["MGET"];
                args.extend(&names);
                while running() {
                    let r = c.cmd(&args);
                    let sum: i64 = r.items().iter().map(Reply::int).sum();
                    assert_eq!(sum, TOTAL, "MGET saw half of a transfer: {r:?}");
                    done[1].fetch_add(1, Relaxed);
                }
            });
        }
        for t in 0..2u64 {
            // Module transfers.
            let (mut c, done) = (server.client(), done);
            scope.spawn(move || {
                let mut d = Dice(t + 77);
                while running() {
                    let (a, b) = (account(d.roll()), account(d.roll()));
                    let r = c.cmd(&["tt.transfer", &a, &b, &(d.roll() % 9).to_string()]);
                    let sums = r.items();
                    assert_eq!(sums[0], sums[1], "a transfer was disturbed");
                    done[2].fetch_add(1, Relaxed);
                }
            });
            // Module observers.
            let (mut c, done, own) = (server.client(), done, names.clone());
            scope.spawn(move || {
                let mut sum = vec!["tt.sum"];
                sum.extend(&own);
                let mut slow = vec!["tt.slowsum", "200"];
                slow.extend(&own);
                while running() {
                    assert_eq!(c.cmd(&sum).int(), TOTAL, "tt.sum saw half of a transfer");
                    assert_eq!(c.cmd(&slow).int(), TOTAL, "tt.slowsum saw half of a transfer");
                    done[3].fetch_add(1, Relaxed);
                }
            });
            // A module's own thread.
            let (mut c, done) = (server.client(), done);
            let total = TOTAL.to_string();
            let own = names.clone();
            scope.spawn(move || {
                let mut d = Dice(t + 991);
                let mut sum = vec!["tt.threadsum", "5", &total];
                sum.extend(&own);
                while running() {
                    let (a, b) = (account(d.roll()), account(d.roll()));
                    assert_eq!(c.cmd(&["tt.threadtransfer", "20", &a, &b, "3"]).int(), 20);
                    assert_eq!(c.cmd(&sum).int(), 0, "a module's thread saw half of a transfer");
                    done[4].fetch_add(1, Relaxed);
                }
            });
        }
        // Natives on other keys go on meanwhile.
        let (mut c, done) = (server.client(), done);
        scope.spawn(move || {
            while running() {
                c.cmd(&["SET", "elsewhere", "1"]).ok();
                done[5].fetch_add(1, Relaxed);
            }
        });
        let until = Instant::now() + Duration::from_secs(seconds);
        while Instant::now() < until {
            std::thread::sleep(Duration::from_millis(100));
        }
        stop.store(true, Relaxed);
    });
    let done: Vec<u64> = done.iter().map(|d| d.load(Relaxed)).collect();
    eprintln!("rounds: native transfers {}, MGETs {}, module transfers {}, module sums {}, thread rounds {}, SETs elsewhere {}",
        done[0], done[1], done[2], done[3], done[4], done[5]);
    assert!(done.iter().all(|n| *n > 0), "somebody never got a turn: {done:?}");
    server.assert_alive();
}
