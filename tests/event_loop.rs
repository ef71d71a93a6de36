//! The two event loops of a serving thread, io_uring and epoll: a client cannot tell which one it has.
mod common;
use common::{encode, fresh_dir, info, own_modules, until, words, Client, Reply, Server};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::process::CommandExt;
use std::time::Duration;

const LOOPS: [&str; 2] = ["io_uring", "epoll"];

/// Runs a test on both.
fn on_both(test: impl Fn(&Server)) {
    let module = own_modules().join("basic.so").display().to_string();
    for event_loop in LOOPS {
        let s = Server::start(&["--event-loop", event_loop, "--loadmodule", &module]);
        if s.log().contains("No io_uring") {
            eprintln!("not tested, there is no io_uring: {}", s.log());
            continue;
        }
        test(&s);
    }
}

fn stream(s: &Server) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", s.port)).expect("a connection");
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream
}

#[test]
fn requests_and_replies_of_every_size() {
    on_both(|s| {
        let mut c = s.client();
        for size in [0, 1, 4095, 4096, 4097, 8192, 8193, 65536, 262_144, 3_000_000] {
            let text = "x".repeat(size);
            c.cmd(&["SET", "key", &text]).ok();
            assert_eq!(c.cmd(&["GET", "key"]).text().len(), size);
            // A small reply, a large one and a small one again, which must not overtake each other.
            for line in ["STRLEN key", "GET key", "ECHO end"] {
                c.send(&words(line));
            }
            assert_eq!(c.read(), Reply::Int(size as i64));
            assert_eq!(c.read().text().len(), size);
            assert_eq!(c.read().text(), "end");
        }
    });
}

#[test]
fn a_pipeline_that_comes_in_pieces() {
    on_both(|s| {
        let mut c = s.client();
        let mut sent = Vec::new();
        for i in 0..20_000 {
            sent.extend(encode(&["ECHO", &i.to_string()]));
        }
        for piece in sent.chunks(1009) {
            c.raw(piece);
        }
        for i in 0..20_000 {
            assert_eq!(c.read().text(), i.to_string());
        }
    });
}

/// More connections speak at once than a thread has buffers.
#[test]
fn many_connections_at_once() {
    on_both(|s| {
        let mut all: Vec<Client> = (0..600).map(|_| s.client()).collect();
        for round in 0..5 {
            let text = "y".repeat(9000 + round);
            for c in &mut all {
                c.send(&["ECHO", &text]);
                c.send(&["INCR", "counter"]);
            }
            for c in &mut all {
                assert_eq!(c.read().text(), text);
                assert!(matches!(c.read(), Reply::Int(_)));
            }
        }
        assert_eq!(all[0].cmd(&["GET", "counter"]).text(), "3000");
    });
}

/// The socket is full: replies wait, and come whole and in order when they are read.
#[test]
fn a_client_that_reads_late_gets_everything() {
    on_both(|s| {
        let mut c = stream(s);
        let mut expected = Vec::new();
        let mut sent = Vec::new();
        for i in 0..30_000 {
            // Replies of all sizes up to and beyond those that travel with the ring.
            let text = format!("{i}:").repeat(1 + i % 900);
            let text = &text[..text.len().min(5000)];
            sent.extend(encode(&["ECHO", text]));
            expected.extend(format!("${}\r\n{text}\r\n", text.len()).bytes());
        }
        c.set_nonblocking(true).unwrap();
        // All of it is sent before anything is read: the server must go on reading.
        let mut at = 0;
        let begin = std::time::Instant::now();
        while at < sent.len() {
            match c.write(&sent[at..]) {
                Ok(n) => at += n,
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {
                    std::thread::sleep(Duration::from_millis(1));
                }
                Err(e) => panic!("{e}"),
            }
            assert!(begin.elapsed() < Duration::from_secs(300), "stuck behind {at} bytes");
        }
        c.set_nonblocking(false).unwrap();
        let mut got = vec![0; expected.len()];
        c.read_exact(&mut got).unwrap();
        assert!(got == expected, "the replies, in order");
        // The connection goes on.
        c.write_all(&encode(&["PING"])).unwrap();
        let mut pong = [0; 7];
        c.read_exact(&mut pong).unwrap();
        assert_eq!(&pong, b"+PONG\r\n");
    });
}

/// Large requests are read in another way, and small ones follow them.
#[test]
fn large_and_small_requests_in_turn() {
    on_both(|s| {
        let mut all: Vec<Client> = (0..6).map(|_| s.client()).collect();
        for round in 0..12 {
            for (i, c) in all.iter_mut().enumerate() {
                let large = "v".repeat(1 + (round * 6 + i) * 17_001 % 700_000);
                let key = format!("key:{i}");
                let mut sent = encode(&["SET", &key, &large]);
                sent.extend(encode(&["STRLEN", &key]));
                sent.extend(encode(&["APPEND", &key, "end"]));
                // In two pieces, so that the second begins in the middle of a request.
                let middle = sent.len() * (1 + round) / 13;
                c.raw(&sent[..middle]);
                c.raw(&sent[middle..]);
                c.read().ok();
                assert_eq!(c.read(), Reply::Int(large.len() as i64));
                assert_eq!(c.read(), Reply::Int(large.len() as i64 + 3));
                assert_eq!(c.cmd(&["GETRANGE", &key, "-4", "-1"]).text(), "vend");
            }
        }
        // One that ends in the middle of a large request is forgotten.
        all[0].raw(&encode(&["SET", "never", &"v".repeat(500_000)])[..400_000]);
        drop(all);
        until("all are gone", || info(&mut s.client(), "clients", "connected_clients") == "1");
        assert_eq!(s.client().cmd(&["EXISTS", "never"]), Reply::Int(0));
    });
}

#[test]
fn a_client_that_only_closes_its_sending_half_gets_its_replies() {
    on_both(|s| {
        let mut c = stream(s);
        for _ in 0..100 {
            c.write_all(&encode(&["ECHO", "hello"])).unwrap();
        }
        c.shutdown(Shutdown::Write).unwrap();
        let mut all = String::new();
        c.read_to_string(&mut all).unwrap();
        assert_eq!(all, "$5\r\nhello\r\n".repeat(100));
        until("it is gone", || info(&mut s.client(), "clients", "connected_clients") == "1");
    });
}

#[test]
fn connections_come_and_go() {
    on_both(|s| {
        for round in 0..300 {
            let mut c = stream(s);
            c.write_all(&encode(&["INCR", "rounds"])).unwrap();
            match round % 3 {
                // Without waiting for the reply.
                0 => drop(c),
                1 => {
                    c.write_all(b"QUIT\r\n").unwrap();
                    let mut all = String::new();
                    c.read_to_string(&mut all).unwrap();
                    assert!(all.ends_with("+OK\r\n"), "{all}");
                }
                _ => {
                    let mut reply = [0; 1];
                    c.read_exact(&mut reply).unwrap();
                    assert_eq!(&reply, b":");
                }
            }
        }
        until("all are gone", || info(&mut s.client(), "clients", "connected_clients") == "1");
        assert_eq!(s.client().cmd(&["GET", "rounds"]).text(), "300");
    });
}

#[test]
fn a_blocked_client_that_sends_ahead_waits_and_times_out() {
    on_both(|s| {
        let mut c = s.client();
        c.send(&words("BLPOP list 0"));
        until("it waits", || info(&mut s.client(), "clients", "blocked_clients") == "1");
        let text = "z".repeat(100_000);
        for _ in 0..5 {
            c.send(&["ECHO", &text]);
        }
        s.client().cmd(&words("RPUSH list x"));
        assert_eq!(c.read().items()[1].text(), "x");
        for _ in 0..5 {
            assert_eq!(c.read().text(), text);
        }
        assert_eq!(c.cmd(&words("BLPOP list 0.05")), Reply::Nil);
        // The end of a connection is seen while its client waits.
        c.send(&words("BLPOP list 0"));
        until("it waits again", || info(&mut s.client(), "clients", "blocked_clients") == "1");
        drop(c);
        until("it is gone", || info(&mut s.client(), "clients", "blocked_clients") == "0");
    });
}

#[test]
fn killed_clients_and_messages() {
    on_both(|s| {
        let mut subscriber = s.client();
        subscriber.cmd(&words("SUBSCRIBE news"));
        let mut c = s.client();
        for i in 0..1000 {
            assert_eq!(c.cmd(&["PUBLISH", "news", &i.to_string()]), Reply::Int(1));
        }
        for i in 0..1000 {
            assert_eq!(subscriber.read().items()[2].text(), i.to_string());
        }
        assert_eq!(c.cmd(&words("CLIENT KILL TYPE pubsub")), Reply::Int(1));
        assert!(subscriber.try_read().is_none(), "the connection is closed");
    });
}

/// Connections go to the module thread and back while requests are under way.
#[test]
fn module_and_native_requests_in_turn() {
    on_both(|s| {
        let mut all: Vec<Client> = (0..8).map(|_| s.client()).collect();
        for round in 0..200 {
            let n = round.to_string();
            for (i, c) in all.iter_mut().enumerate() {
                for _ in 0..4 {
                    c.send(&["basic.argv", &n]);
                }
                // Long enough without it that the connection moves, then back.
                if (round + i) % 40 == 0 {
                    c.send(&["ECHO", &n]);
                }
            }
            for (i, c) in all.iter_mut().enumerate() {
                for _ in 0..4 {
                    assert_eq!(c.read().items()[1].text(), n);
                }
                if (round + i) % 40 == 0 {
                    assert_eq!(c.read().text(), n);
                }
            }
        }
    });
}

/// In a container that forbids io_uring the server serves over epoll, and says so where it was asked for.
#[test]
fn without_io_uring_it_serves_over_epoll() {
    for (event_loop, says) in [("auto", false), ("io_uring", true)] {
        let args = ["--event-loop", event_loop];
        let s = Server::start_as(fresh_dir("no-io-uring"), &args, |command| {
            // SAFETY: layout: the child forbids itself a system call, with memory of its own stack.
            unsafe { command.pre_exec(forbid_io_uring) };
        });
        s.client().cmd(&["SET", "a", "b"]).ok();
        assert_eq!(s.client().cmd(&["GET", "a"]).text(), "b");
        assert_eq!(s.log().contains("No io_uring for the event loops"), says, "{}", s.log());
    }
}

/// `io_uring_setup` fails with `EPERM` from here on, as under Docker's own filter.
fn forbid_io_uring() -> std::io::Result<()> {
    let filter =
        |code: u32, jt: u8, jf: u8, k: u32| libc::sock_filter { code: code as u16, jt, jf, k };
    let (load, equal, end) = (
        libc::BPF_LD | libc::BPF_W | libc::BPF_ABS,
        libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K,
        libc::BPF_RET | libc::BPF_K,
    );
    let mut program = [
        filter(load, 0, 0, 0),
        filter(equal, 0, 1, libc::SYS_io_uring_setup as u32),
        filter(end, 0, 0, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32),
        filter(end, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: layout: the kernel copies the program, which lives here.
    let failed = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0
            || libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &program) != 0
    };
    if failed {
        return Err(std::io::Error::last_os_error());
    }
    Ok(())
}
