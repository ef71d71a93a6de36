//! A connection of a thread with a ring.
use super::super::serving::Accepted;
use super::super::Socket;
use super::engine::{leave, with_ring};
use std::io::Result;
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A socket with a place at its thread's ring. It stays on this thread.
pub struct RingSocket {
    place: u32,
    socket: Option<Accepted>,
}

impl RingSocket {
    /// Takes a socket to the ring of the calling thread.
    pub fn new(socket: Accepted) -> std::io::Result<RingSocket> {
        // The kernel is to wait for it, not to fail.
        socket.set_nonblocking(false)?;
        let place = with_ring(|ring| ring.add(socket.as_raw_fd()));
        Ok(RingSocket { place, socket: Some(socket) })
    }
}

impl AsyncRead for RingSocket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        let room = into.initialize_unfilled();
        match with_ring(|ring| ring.poll_read(cx, self.place, room)) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(read) => Poll::Ready(read.map(|n| into.advance(n))),
        }
    }
}

impl AsyncWrite for RingSocket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        with_ring(|ring| ring.poll_write(cx, self.place, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        with_ring(|ring| ring.poll_flush(cx, self.place))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.poll_flush(cx)
    }
}

impl Socket for RingSocket {
    fn watches(&mut self, cx: &mut Context<'_>) -> bool {
        with_ring(|ring| ring.watches(cx, self.place))
    }

    fn settle(&mut self) -> bool {
        with_ring(|ring| ring.settle(self.place))
    }

    fn let_go(mut self, rest: &mut Vec<u8>) -> Option<Accepted> {
        with_ring(|ring| ring.release(self.place, rest));
        self.socket.take()
    }
}

impl Drop for RingSocket {
    fn drop(&mut self) {
        leave(self.place);
    }
}
