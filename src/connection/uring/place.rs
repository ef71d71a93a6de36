//! What a ring knows of a connection.
use super::buffers::Piece;
use std::collections::VecDeque;
use std::io::{Error, Result};
use std::os::fd::RawFd;
use std::task::{Context, Waker};

/// How the receiving half of a connection ended.
#[derive(Clone, Copy)]
pub enum End {
    /// The peer sends no more.
    Closed,
    /// An error of the system.
    Error(i32),
}

/// A connection's place.
#[derive(Default)]
pub struct Place {
    /// Its socket, which its owner keeps open.
    pub fd: RawFd,
    /// Distinguishes it from others that had the place before, whose results may still come.
    pub generation: u32,
    /// The kernel knows the socket by the place.
    pub known: bool,
    /// Results with bytes so far; it is not important how many exactly.
    pub received: u32,
    /// A receive is with the kernel.
    pub armed: bool,
    /// In the turn with this number, or it will be then.
    pub armed_in: u64,
    /// It was asked to give it back.
    pub cancelling: bool,
    /// Much comes at once: it is read by itself, in larger pieces than the buffers, when the kernel tells that there is some.
    pub bulk: bool,
    /// Full buffers of the last turn.
    pub full: u32,
    /// Such reads: the turn, and how many in it.
    pub reads: (u64, u32),
    /// The last such read took all that there was.
    pub drained: bool,
    /// The kernel is going to tell when there is something to read.
    pub asked_readable: bool,
    /// The kernel is going to tell when there is room to write.
    pub asked_writable: bool,
    /// What has come, in buffers.
    pub arrived: VecDeque<Piece>,
    /// What has come behind that, and was copied.
    pub copied: VecDeque<u8>,
    /// Behind that nothing comes any more.
    pub end: Option<End>,
    /// Bytes of a reply that is with the kernel, and where they lie.
    pub sending: Option<(usize, usize)>,
    /// The rest of a reply that the socket did not take.
    pub unsent: Vec<u8>,
    /// Who waits for bytes.
    pub reader: Waiter,
    /// Who waits until replies are sent.
    pub writer: Waiter,
    /// Instead of waking tasks, what happens here is put on a list, under this number.
    pub listed: Option<u32>,
    /// It is on the list.
    pub on_list: bool,
    /// Results of the last turn with bytes for it.
    pub burst: u32,
}

/// A task that waits for a place. Its waker is kept: it is always the same.
#[derive(Default)]
pub struct Waiter {
    waker: Option<Waker>,
    /// It does wait at present.
    pub waits: bool,
}

impl Waiter {
    /// The task that is being polled waits.
    pub fn remember(&mut self, cx: &Context<'_>) {
        self.waits = true;
        match &self.waker {
            Some(waker) if waker.will_wake(cx.waker()) => {}
            _ => self.waker = Some(cx.waker().clone()),
        }
    }

    /// Wakes the task, if it waits.
    pub fn wake(&mut self) {
        if let (true, Some(waker)) = (std::mem::take(&mut self.waits), &self.waker) {
            waker.wake_by_ref();
        }
    }
}

/// Reads what is there.
pub fn receive(fd: RawFd, into: &mut [u8]) -> Result<usize> {
    // SAFETY: layout: the place of a connection keeps its descriptor open; the room is this long.
    match unsafe { libc::recv(fd, into.as_mut_ptr().cast(), into.len(), libc::MSG_DONTWAIT) } {
        -1 => Err(Error::last_os_error()),
        n => Ok(n as usize),
    }
}

/// Sends what the socket takes.
pub fn send(fd: RawFd, bytes: &[u8]) -> Result<usize> {
    let how = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: layout: the place of a connection keeps its descriptor open; the bytes live here.
    match unsafe { libc::send(fd, bytes.as_ptr().cast(), bytes.len(), how) } {
        -1 => Err(Error::last_os_error()),
        n => Ok(n as usize),
    }
}
