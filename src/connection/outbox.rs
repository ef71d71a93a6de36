//! Replies on their way to the socket.
//!
//! A connection does not wait for a peer that does not read: what the socket does not take stays here, and the connection
//! goes on with its requests, as on Redis. Otherwise a client that sends a long pipeline before it reads would wait for
//! us, and we for it. `client-output-buffer-limit` bounds it.
use super::limits::Unsent;
use super::Socket;
use crate::server::Server;
use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

/// What a block of so many bytes takes: the allocator has four sizes between a power of two and the next.
pub fn block(bytes: usize) -> usize {
    match bytes.checked_sub(1).and_then(usize::checked_ilog2) {
        Some(log @ 4..) => bytes.next_multiple_of(1 << (log - 2).max(4)),
        _ => bytes,
    }
}

/// Small replies are gathered in buffers of this size.
const GATHER: usize = 16 * 1024;

/// Replies that the socket did not take yet.
#[derive(Default)]
pub struct Outbox {
    buffers: VecDeque<Vec<u8>>,
    /// Bytes of the first buffer that are sent.
    sent: usize,
    bytes: usize,
    size: usize,
}

impl Outbox {
    /// Whether all is sent.
    pub fn is_empty(&self) -> bool {
        self.buffers.is_empty()
    }

    /// How much there is.
    pub fn unsent(&self) -> Unsent {
        Unsent { bytes: self.bytes, buffers: self.buffers.len(), size: self.size }
    }

    /// Adds replies behind all others; `replies` is empty afterwards.
    pub fn add(&mut self, replies: &mut Vec<u8>) {
        if replies.is_empty() {
            return;
        }
        self.bytes += replies.len();
        match self.buffers.back_mut() {
            Some(last) if last.capacity() - last.len() >= replies.len() => last.append(replies),
            _ if replies.len() < GATHER => {
                let mut new = Vec::with_capacity(GATHER);
                new.append(replies);
                self.size += block(new.capacity());
                self.buffers.push_back(new);
            }
            _ => {
                self.size += block(replies.capacity());
                self.buffers.push_back(std::mem::take(replies));
            }
        }
    }

    /// Sends what the socket takes of everything, then of `fresh`, whose rest moves here. False when the peer is gone.
    pub fn send<S: Socket>(
        &mut self,
        cx: &mut Context<'_>,
        server: &Server,
        socket: &mut S,
        fresh: &mut Vec<u8>,
    ) -> bool {
        if !self.buffers.is_empty() {
            self.add(fresh);
            return self.drain(cx, server, socket);
        }
        let mut sent = 0;
        let alive = write(cx, server, socket, fresh, &mut sent);
        if alive && sent < fresh.len() {
            self.add(fresh);
            self.sent = sent;
            self.bytes -= sent;
        }
        fresh.clear();
        alive
    }

    /// Sends what the socket takes. False when the peer is gone.
    pub fn drain<S: Socket>(
        &mut self,
        cx: &mut Context<'_>,
        server: &Server,
        socket: &mut S,
    ) -> bool {
        while let Some(first) = self.buffers.front() {
            let before = self.sent;
            let alive = write(cx, server, socket, first, &mut self.sent);
            self.bytes -= self.sent - before;
            if !alive {
                return false;
            }
            if self.sent < first.len() {
                return true;
            }
            self.sent = 0;
            self.size -= block(first.capacity());
            self.buffers.pop_front();
        }
        true
    }
}

/// Writes `bytes` from `sent` on until the socket takes no more.
fn write<S: Socket>(
    cx: &mut Context<'_>,
    server: &Server,
    socket: &mut S,
    bytes: &[u8],
    sent: &mut usize,
) -> bool {
    let before = *sent;
    let alive = loop {
        if *sent == bytes.len() {
            break true;
        }
        match Pin::new(&mut *socket).poll_write(cx, &bytes[*sent..]) {
            Poll::Ready(Ok(n)) if n > 0 => {
                *sent += n;
                server.stats.writes.add(1);
            }
            Poll::Pending => break true,
            Poll::Ready(_) => break false,
        }
    };
    server.stats.net_output_bytes.add((*sent - before) as u64);
    alive
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_have_the_sizes_of_the_allocator() {
        let sizes =
            [(0, 0), (16, 16), (17, 32), (100, 112), (16384, 16384), (16385, 20480), (9000, 10240)];
        for (bytes, size) in sizes {
            assert_eq!(block(bytes), size, "of {bytes}");
        }
    }

    #[test]
    fn small_replies_are_gathered_and_counted() {
        let mut o = Outbox::default();
        for _ in 0..1000 {
            o.add(&mut vec![b'x'; 100]);
        }
        o.add(&mut vec![b'y'; 50_000]);
        let unsent = o.unsent();
        assert_eq!((unsent.bytes, unsent.buffers), (150_000, 8));
        assert_eq!(unsent.size, 7 * GATHER + block(50_000));
    }
}
