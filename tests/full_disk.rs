//! A disk that gets full while clients write, and a process that is killed at some moment before or after that: no unit is
//! half there, and what was acknowledged is there, as far as `appendfsync` promises it.
//!
//! By default the server's files cannot grow beyond a limit. `FULL_DISK_DIR` names a folder on a small file system
//! instead, such as a `tmpfs` of 3 MB; `FULL_DISK_ROUNDS` sets the number of rounds for each policy (40 for the full run).
mod common;
use common::{fresh_dir, Client, Reply, Server};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering::SeqCst};
use std::sync::Mutex;
use std::time::{Duration, Instant};

const WRITERS: usize = 6;
/// What a file may grow to, where the disk is not small itself.
const MOST: u64 = 400_000;
/// Keeps room on the disk for the start of the next round: a full disk would have none for a rewrite.
const BALLAST: usize = 600 << 10;
/// What `everysec` may lose.
const WINDOW: Duration = Duration::from_secs(1);

/// What one writer knows.
#[derive(Default)]
struct Book {
    sent: AtomicI64,
    acknowledged: AtomicI64,
    /// What was acknowledged at some moments.
    seen: Mutex<Vec<(Instant, i64)>>,
}

impl Book {
    /// The least that must be there, when the last write that could be relied on was at `until`.
    fn least(&self, policy: &str, until: Instant) -> i64 {
        if policy == "always" {
            return self.acknowledged.load(SeqCst);
        }
        let seen = self.seen.lock().unwrap();
        let before = seen.iter().rev().find(|(at, _)| *at + WINDOW <= until);
        before.map_or(0, |(_, n)| *n)
    }
}

/// When the first write of a round was refused.
type Refused = Mutex<Option<Instant>>;

/// Writes until the server is gone. Each turn is one unit that leaves two keys equal.
fn write(port: u16, number: usize, book: &Book, refused: &Refused) {
    let Ok(stream) = std::net::TcpStream::connect(("127.0.0.1", port)) else { return };
    let mut c = Client::on(stream);
    let (a, b, text) = (format!("a{number}"), format!("b{number}"), format!("text{number}"));
    let value = "x".repeat(300);
    let mut noted = Instant::now();
    loop {
        book.sent.fetch_add(1, SeqCst);
        let lines: [&[&str]; 5] =
            [&["MULTI"], &["INCR", &a], &["INCR", &b], &["SET", &text, &value], &["EXEC"]];
        if !lines.iter().all(|line| c.try_send(line)) {
            return;
        }
        let mut last = None;
        for _ in lines {
            last = c.try_read();
        }
        match last {
            Some(Reply::Array(items)) => {
                book.acknowledged.store(items[0].int(), SeqCst);
                if noted.elapsed() > Duration::from_millis(20) {
                    noted = Instant::now();
                    book.seen.lock().unwrap().push((noted, items[0].int()));
                }
            }
            Some(Reply::Error(e)) => {
                assert!(e.starts_with("EXECABORT") || e.starts_with("MISCONF"), "{e}");
                refused.lock().unwrap().get_or_insert_with(Instant::now);
                book.sent.fetch_sub(1, SeqCst);
                std::thread::sleep(Duration::from_millis(1));
            }
            _ => return,
        }
    }
}

fn start(dir: &Path, small: bool, args: &[&str]) -> Server {
    if small {
        return Server::start_in(dir.to_path_buf(), args);
    }
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut command = Server::command(dir, port, args);
    // SAFETY: layout: one system call between fork and exec.
    unsafe {
        command.pre_exec(|| {
            let limit = libc::rlimit { rlim_cur: MOST, rlim_max: MOST };
            libc::setrlimit(libc::RLIMIT_FSIZE, &limit);
            Ok(())
        });
    }
    let child = command.spawn().expect("the server starts");
    let s = Server { child, port, dir: dir.to_path_buf() };
    let begin = Instant::now();
    while !std::net::TcpStream::connect(("127.0.0.1", port)).is_ok_and(|stream| {
        let mut c = Client::on(stream);
        c.try_send(&["PING"]) && c.try_read() == Some(Reply::Status("PONG".into()))
    }) {
        assert!(begin.elapsed() < Duration::from_secs(60), "it does not answer:\n{}", s.log());
        std::thread::sleep(Duration::from_millis(10));
    }
    s
}

fn number(c: &mut Client, key: &str) -> i64 {
    match c.cmd(&["GET", key]) {
        Reply::Nil => 0,
        other => other.int(),
    }
}

/// Makes the files small, so that there is room again.
fn rewrite(s: &Server, c: &mut Client) {
    c.cmd(&["BGREWRITEAOF"]);
    let begin = Instant::now();
    loop {
        let info = c.cmd(&["INFO", "persistence"]);
        let over = info.text().contains("aof_rewrite_in_progress:0")
            && info.text().contains("aof_rewrite_scheduled:0");
        if over {
            assert!(info.text().contains("aof_last_bgrewrite_status:ok"), "{}", s.log());
            return;
        }
        assert!(begin.elapsed() < Duration::from_secs(60), "the rewrite does not end");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn rounds(policy: &str) {
    let rounds = std::env::var("FULL_DISK_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(3);
    let small = std::env::var_os("FULL_DISK_DIR");
    let dir = match &small {
        Some(dir) => PathBuf::from(dir).join(policy),
        None => fresh_dir("full"),
    };
    let _ = std::fs::create_dir(&dir);
    let ballast = dir.join("ballast");
    // The log is no part of it.
    let log = fresh_dir("log").join(policy).display().to_string();
    let auto = ["--auto-aof-rewrite-percentage", "0", "--logfile", &log];
    let args = [&["--appendonly", "yes", "--appendfsync", policy], &auto[..]].concat();
    let books: Vec<Book> = (0..WRITERS).map(|_| Book::default()).collect();
    let mut random = std::process::id() as u64 * 0x9e37_79b9 + policy.len() as u64;
    let (mut until, mut full, mut lost) = (Instant::now(), 0, 0);
    for round in 0..=rounds {
        let _ = std::fs::remove_file(&ballast);
        let mut s = start(&dir, small.is_some(), &args);
        let mut c = s.client();
        for (i, book) in books.iter().enumerate() {
            let (a, b) = (number(&mut c, &format!("a{i}")), number(&mut c, &format!("b{i}")));
            let (least, most) = (book.least(policy, until), book.sent.load(SeqCst));
            let told = || std::fs::read_to_string(&log).unwrap_or_default();
            assert_eq!(a, b, "{policy}, round {round}: half a unit of writer {i}\n{}", told());
            assert!(
                (least..=most).contains(&a),
                "{policy}, round {round}: writer {i} has {least} to {most}, the server {a}\n{}",
                told()
            );
            lost += (book.acknowledged.load(SeqCst) - a).max(0);
            book.sent.store(a, SeqCst);
            book.acknowledged.store(a, SeqCst);
            *book.seen.lock().unwrap() = vec![(Instant::now(), a)];
        }
        if round == rounds {
            break;
        }
        rewrite(&s, &mut c);
        if small.is_some() {
            std::fs::write(&ballast, vec![1; BALLAST]).unwrap();
        }
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        // Most of the times the disk is full before.
        let most = Duration::from_millis(50 + (random >> 33) % 3000);
        let refused = Refused::default();
        std::thread::scope(|scope| {
            for (i, book) in books.iter().enumerate() {
                let (refused, port) = (&refused, s.port);
                scope.spawn(move || write(port, i, book, refused));
            }
            let begin = Instant::now();
            while begin.elapsed() < most && s.child.try_wait().unwrap().is_none() {
                let at = *refused.lock().unwrap();
                // A little time in trouble, too.
                if at.is_some_and(|at| at.elapsed() > most / 8) {
                    break;
                }
                std::thread::sleep(Duration::from_millis(5));
            }
            until = refused.lock().unwrap().unwrap_or_else(Instant::now);
            let by_itself = s.child.try_wait().unwrap();
            assert!(by_itself.is_none_or(|status| status.code() == Some(1)), "{by_itself:?}");
            full += usize::from(by_itself.is_some() || refused.lock().unwrap().is_some());
            let _ = s.child.kill();
            s.child.wait().unwrap();
        });
    }
    println!("{policy}: the disk was full in {full} of {rounds} rounds; {lost} units of the last moment lost");
    assert!(full > 0, "the disk was never full");
}

#[test]
fn always_loses_nothing() {
    rounds("always");
}

#[test]
fn everysec_loses_no_more_than_it_says() {
    rounds("everysec");
}

#[test]
fn nor_does_the_kernels_own_time_when_only_the_process_dies() {
    rounds("no");
}
