//! The load generator: one thread, non-blocking sockets, requests built before the clock starts.
//!
//! Closed loop: each connection sends a batch, waits for all its replies, sends the next. Open loop: request `i` is due
//! at `start + i / rate` whatever the server does, and its latency counts from then, so a stall is felt by every
//! request that fell due in it.
use std::collections::VecDeque;
use std::io::{Error, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::ring;
use crate::rows::Random;

/// No reply for so long ends a measurement with an error.
pub const SILENCE: Duration = Duration::from_secs(60);

/// What a measurement found.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Replies received.
    pub ops: u64,
    /// From the first request to the last reply.
    pub seconds: f64,
    /// Latencies in microseconds, sorted: of each batch (closed loop) or each request (open loop).
    pub micros: Vec<u32>,
    /// Error replies, and the first of them.
    pub errors: u64,
    /// The first error's text.
    pub first_error: String,
    /// Open loop: how late the generator itself sent, at worst, in microseconds (the noise of the machine).
    pub lag: u32,
    /// Open loop: replies to the heavy command running beside.
    pub beside: u64,
}

impl Outcome {
    /// The latency below which a fraction `q` of them lies, in microseconds.
    pub fn quantile(&self, q: f64) -> f64 {
        match self.micros.len() {
            0 => 0.0,
            n => f64::from(self.micros[((q * n as f64) as usize).min(n - 1)]),
        }
    }
}

/// The length of the first complete reply in `bytes`, or `None` where it is not all there yet.
pub fn reply_length(bytes: &[u8]) -> Option<usize> {
    let (mut at, mut open) = (0, 1);
    while open > 0 {
        let rest = bytes.get(at..)?;
        let line = &rest[..rest.iter().position(|byte| *byte == b'\n')? + 1];
        open -= 1;
        at += line.len();
        match line[0] {
            b'$' | b'=' | b'!' => at += length(line).map_or(0, |n| n + 2),
            b'*' | b'~' | b'>' => open += length(line).unwrap_or(0),
            b'%' => open += 2 * length(line).unwrap_or(0),
            _ => {}
        }
    }
    (at <= bytes.len()).then_some(at)
}

/// Calls `got` with each complete reply at the beginning of `bytes`; their length.
pub fn each_reply(bytes: &[u8], mut got: impl FnMut(&[u8])) -> usize {
    let mut used = 0;
    while let Some(size) = reply_length(&bytes[used..]) {
        got(&bytes[used..used + size]);
        used += size;
    }
    used
}

/// The number in a line such as `$12\r\n`; `None` for `-1`.
fn length(line: &[u8]) -> Option<usize> {
    let digits = line[1..].iter().take_while(|byte| byte.is_ascii_digit());
    let value = digits.fold(0, |n, byte| n * 10 + usize::from(byte - b'0'));
    (line[1] != b'-').then_some(value)
}

struct Conn {
    stream: TcpStream,
    /// Received and not yet counted.
    input: Vec<u8>,
    /// What is being sent, and how far.
    output: Vec<u8>,
    sent: usize,
}

impl Conn {
    fn open(addr: SocketAddr) -> std::io::Result<Conn> {
        let stream = TcpStream::connect(addr)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(Conn { stream, input: Vec::new(), output: Vec::new(), sent: 0 })
    }

    fn push(&mut self, request: &[u8]) {
        if self.sent == self.output.len() {
            self.output.clear();
            self.sent = 0;
        }
        self.output.extend_from_slice(request);
    }

    /// Writes what the socket takes; true where something is left.
    fn flush(&mut self) -> std::io::Result<bool> {
        while self.sent < self.output.len() {
            match self.stream.write(&self.output[self.sent..]) {
                Ok(n) => self.sent += n,
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(true),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(false)
    }

    /// Reads what is there and calls `got` with each complete reply.
    fn drain(&mut self, mut got: impl FnMut(&[u8])) -> std::io::Result<()> {
        // Small enough that clearing it costs nothing beside the system call.
        let mut chunk = [0; 4096];
        loop {
            let n = match self.stream.read(&mut chunk) {
                Ok(0) => return Err(Error::new(ErrorKind::UnexpectedEof, "the server hung up")),
                Ok(n) => n,
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(e) => return Err(e),
            };
            let whole = n < chunk.len();
            if self.input.is_empty() {
                let used = each_reply(&chunk[..n], &mut got);
                self.input.extend_from_slice(&chunk[used..n]);
            } else {
                self.input.extend_from_slice(&chunk[..n]);
                let used = each_reply(&self.input, &mut got);
                self.input.drain(..used);
            }
            if whole {
                return Ok(());
            }
        }
    }
}

struct Epoll(OwnedFd);

impl Epoll {
    fn new() -> std::io::Result<Epoll> {
        // SAFETY: layout: the call takes no pointer; a descriptor that it returns is ours alone.
        unsafe {
            match libc::epoll_create1(libc::EPOLL_CLOEXEC) {
                -1 => Err(Error::last_os_error()),
                fd => Ok(Epoll(OwnedFd::from_raw_fd(fd))),
            }
        }
    }

    fn set(&self, operation: i32, conn: &Conn, index: usize, write: bool) -> std::io::Result<()> {
        let out = if write { libc::EPOLLOUT } else { 0 };
        let mut event =
            libc::epoll_event { events: (libc::EPOLLIN | out) as u32, u64: index as u64 };
        let (epoll, fd) = (self.0.as_raw_fd(), conn.stream.as_raw_fd());
        // SAFETY: layout: both descriptors are open, and the kernel copies the event before the call returns.
        match unsafe { libc::epoll_ctl(epoll, operation, fd, &mut event) } {
            -1 => Err(Error::last_os_error()),
            _ => Ok(()),
        }
    }

    fn wait(&self, events: &mut [libc::epoll_event], limit: Duration) -> std::io::Result<usize> {
        let millis = limit.as_millis().min(60_000) as i32;
        let (epoll, room) = (self.0.as_raw_fd(), events.len() as i32);
        // SAFETY: layout: the kernel writes at most `room` events into the slice.
        match unsafe { libc::epoll_wait(epoll, events.as_mut_ptr(), room, millis) } {
            -1 if Error::last_os_error().kind() == ErrorKind::Interrupted => Ok(0),
            -1 => Err(Error::last_os_error()),
            n => Ok(n as usize),
        }
    }
}

/// Requests built beforehand: each batch holds `pipeline` commands.
#[derive(Clone)]
pub struct Batches {
    /// Encoded commands, one batch after the other.
    pub batches: Rc<[Vec<u8>]>,
    /// Commands in each batch.
    pub pipeline: usize,
}

/// When a closed loop ends.
#[derive(Clone, Copy, Debug)]
pub enum Limit {
    /// After so much time, or so many batches if that comes first; batches are drawn at random.
    Time(Duration, u64),
    /// When each batch was sent once, in order.
    Once,
}

/// Which batch is sent next.
pub struct Draw {
    random: Random,
    load: Batches,
    limit: Limit,
    start: Instant,
    issued: usize,
}

impl Draw {
    /// For a loop that begins now.
    pub fn new(conns: usize, load: Batches, limit: Limit, start: Instant) -> Draw {
        Draw { random: Random::new(conns as u64), load, limit, start, issued: 0 }
    }

    /// The number of the next batch; `None` at the end.
    pub fn next(&mut self, now: Instant) -> Option<usize> {
        let count = self.load.batches.len();
        let index = match self.limit {
            Limit::Time(time, most) if now - self.start < time && (self.issued as u64) < most => {
                self.random.below(count as u64) as usize
            }
            Limit::Once if self.issued < count => self.issued,
            _ => return None,
        };
        self.issued += 1;
        Some(index)
    }
}

/// Runs a closed loop over `conns` connections.
pub fn closed(
    addr: SocketAddr,
    conns: usize,
    load: &Batches,
    limit: Limit,
) -> std::io::Result<Outcome> {
    if ring::is_there() {
        return ring::closed(addr, conns, load, limit);
    }
    let mut outcome = Outcome::default();
    let epoll = Epoll::new()?;
    let mut open = Vec::new();
    for i in 0..conns {
        let conn = Conn::open(addr)?;
        epoll.set(libc::EPOLL_CTL_ADD, &conn, i, false)?;
        open.push((conn, 0usize, Instant::now(), false));
    }
    let start = Instant::now();
    let mut draw = Draw::new(conns, load.clone(), limit, start);
    let mut live = 0;
    for (i, (conn, waiting, since, writing)) in open.iter_mut().enumerate() {
        let Some(batch) = draw.next(start) else { break };
        let batch = &load.batches[batch];
        (*waiting, *since) = (load.pipeline, Instant::now());
        conn.push(batch);
        *writing = conn.flush()?;
        if *writing {
            epoll.set(libc::EPOLL_CTL_MOD, conn, i, true)?;
        }
        live += 1;
    }
    let mut events = vec![libc::epoll_event { events: 0, u64: 0 }; 256];
    while live > 0 {
        let count = epoll.wait(&mut events, SILENCE)?;
        if count == 0 {
            return Err(Error::new(ErrorKind::TimedOut, "no reply for a minute"));
        }
        for event in &events[..count] {
            let index = event.u64 as usize;
            let (conn, waiting, since, writing) = &mut open[index];
            let busy = *waiting > 0;
            conn.drain(|reply| {
                outcome.count(reply);
                *waiting = waiting.saturating_sub(1);
            })?;
            if busy && *waiting == 0 {
                let now = Instant::now();
                outcome.micros.push((now - *since).as_micros() as u32);
                match draw.next(now) {
                    Some(batch) => {
                        (*waiting, *since) = (load.pipeline, now);
                        conn.push(&load.batches[batch]);
                    }
                    None => live -= 1,
                }
            }
            let left = conn.flush()?;
            if left != *writing {
                *writing = left;
                epoll.set(libc::EPOLL_CTL_MOD, conn, index, left)?;
            }
        }
    }
    outcome.seconds = start.elapsed().as_secs_f64();
    outcome.micros.sort_unstable();
    Ok(outcome)
}

impl Outcome {
    /// Counts a reply.
    pub fn count(&mut self, reply: &[u8]) {
        self.ops += 1;
        if reply[0] == b'-' {
            if self.errors == 0 {
                self.first_error = String::from_utf8_lossy(reply).trim_end().to_string();
            }
            self.errors += 1;
        }
    }
}

/// Runs an open loop of single requests at `rate` a second over `conns` connections for `time`; `heavy`, where given,
/// is sent again and again on a connection of its own meanwhile.
pub fn open(
    addr: SocketAddr,
    conns: usize,
    rate: u32,
    time: Duration,
    requests: &[Vec<u8>],
    heavy: Option<&[u8]>,
) -> std::io::Result<Outcome> {
    let mut outcome = Outcome::default();
    let mut all = Vec::new();
    for _ in 0..conns {
        all.push((Conn::open(addr)?, VecDeque::<Instant>::new()));
    }
    let mut beside = heavy.map(|_| Conn::open(addr)).transpose()?;
    if let (Some(conn), Some(request)) = (&mut beside, heavy) {
        conn.push(request);
        conn.flush()?;
        // The first one must be under way before the clock starts.
        std::thread::sleep(Duration::from_millis(100));
    }
    let start = Instant::now();
    let total = (time.as_secs_f64() * f64::from(rate)) as u64;
    let due_at = |i: u64| start + Duration::from_secs_f64(i as f64 / f64::from(rate));
    let (mut sent, mut answered) = (0u64, 0u64);
    let mut last_reply = start;
    while answered < total {
        let now = Instant::now();
        while sent < total && due_at(sent) <= now {
            let due = due_at(sent);
            outcome.lag = outcome.lag.max((Instant::now() - due).as_micros() as u32);
            let (conn, pending) = &mut all[sent as usize % conns];
            conn.push(&requests[sent as usize % requests.len()]);
            conn.flush()?;
            pending.push_back(due);
            sent += 1;
        }
        let wait = if sent < total {
            due_at(sent).saturating_duration_since(Instant::now())
        } else {
            Duration::from_secs(1)
        };
        wait_readable(all.iter().map(|(conn, _)| conn).chain(&beside), wait)?;
        for (conn, pending) in &mut all {
            if pending.is_empty() {
                continue;
            }
            conn.flush()?;
            conn.drain(|reply| {
                outcome.count(reply);
                last_reply = Instant::now();
                if let Some(due) = pending.pop_front() {
                    outcome.micros.push((last_reply - due).as_micros() as u32);
                    answered += 1;
                }
            })?;
        }
        if let (Some(conn), Some(request)) = (&mut beside, heavy) {
            let mut again = false;
            conn.drain(|reply| {
                again = true;
                if reply[0] == b'-' {
                    outcome.errors += 1;
                    outcome.first_error = String::from_utf8_lossy(reply).trim_end().to_string();
                }
            })?;
            if again {
                outcome.beside += 1;
                conn.push(request);
            }
            conn.flush()?;
        }
        if last_reply.elapsed() > SILENCE {
            return Err(Error::new(ErrorKind::TimedOut, "no reply for a minute"));
        }
    }
    outcome.seconds = start.elapsed().as_secs_f64();
    outcome.micros.sort_unstable();
    Ok(outcome)
}

/// Waits until one of the connections can be read (or written, where something is left to send).
fn wait_readable<'a>(
    conns: impl Iterator<Item = &'a Conn>,
    limit: Duration,
) -> std::io::Result<()> {
    let mut fds: Vec<libc::pollfd> = conns
        .map(|conn| {
            let out = if conn.sent < conn.output.len() { libc::POLLOUT } else { 0 };
            libc::pollfd { fd: conn.stream.as_raw_fd(), events: libc::POLLIN | out, revents: 0 }
        })
        .collect();
    let time = libc::timespec {
        tv_sec: limit.as_secs() as libc::time_t,
        tv_nsec: i64::from(limit.subsec_nanos()),
    };
    let count = fds.len() as libc::nfds_t;
    // SAFETY: layout: the kernel reads and writes `count` entries of the vector and reads the time; no signal mask is given.
    match unsafe { libc::ppoll(fds.as_mut_ptr(), count, &time, std::ptr::null()) } {
        -1 if Error::last_os_error().kind() != ErrorKind::Interrupted => {
            Err(Error::last_os_error())
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::reply_length;

    #[test]
    fn whole_replies_only() {
        for text in
            ["+OK\r\n", "$3\r\na\nb\r\n", "$-1\r\n", "$0\r\n\r\n", "*2\r\n:1\r\n$1\r\nx\r\n"]
        {
            let bytes = text.as_bytes();
            assert_eq!(reply_length(bytes), Some(bytes.len()), "{text:?}");
            for cut in 0..bytes.len() {
                assert_eq!(reply_length(&bytes[..cut]), None, "{text:?} cut at {cut}");
            }
        }
        assert_eq!(reply_length(b"*-1\r\n:1\r\n"), Some(5));
        assert_eq!(reply_length(b"%1\r\n+a\r\n*0\r\n"), Some(12));
    }
}
