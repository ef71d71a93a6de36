//! The other end of the wire, for the tools: a blocking client and server processes of their own. The server does not
//! use it.
pub mod process;
pub mod resp;
pub mod words;

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use resp::{encode, parse, Reply};

/// A connection whose replies are read one by one, with a limit of time for each.
pub struct Wire {
    stream: TcpStream,
    buffer: Vec<u8>,
    start: usize,
}

impl Wire {
    /// Opens one.
    pub fn open(addr: SocketAddr) -> std::io::Result<Wire> {
        let stream = TcpStream::connect(addr)?;
        stream.set_nodelay(true)?;
        Ok(Wire { stream, buffer: Vec::new(), start: 0 })
    }

    /// Writes; an error shows in the next read.
    pub fn write(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// Sends a command and reads what comes next.
    pub fn ask<A: AsRef<[u8]>>(&mut self, args: &[A], wait: Duration) -> Reply {
        self.write(&encode(args));
        self.read(wait)
    }

    /// The next reply or push, whichever comes first.
    pub fn read(&mut self, wait: Duration) -> Reply {
        let limit = Instant::now() + wait;
        loop {
            match parse(&self.buffer[self.start..]) {
                Ok(Some((reply, used))) => {
                    self.start += used;
                    if self.start == self.buffer.len() {
                        self.buffer.clear();
                        self.start = 0;
                    }
                    return reply;
                }
                Ok(None) => {}
                Err(why) => {
                    self.buffer.clear();
                    self.start = 0;
                    return Reply::Line(b'-', format!("UNREADABLE {why}").into_bytes());
                }
            }
            let left = limit.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Reply::Timeout;
            }
            let _ = self.stream.set_read_timeout(Some(left));
            let mut chunk = [0; 65536];
            match self.stream.read(&mut chunk) {
                Ok(0) => return Reply::Closed,
                Ok(n) => {
                    self.buffer.drain(..self.start);
                    self.start = 0;
                    self.buffer.extend_from_slice(&chunk[..n]);
                }
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Reply::Closed,
            }
        }
    }
}
