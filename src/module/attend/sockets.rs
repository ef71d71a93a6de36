//! How the module thread waits for the sockets that it attends to: at a ring, or at an event queue where the system has no
//! rings for us.
use crate::connection::client::Client;
use crate::connection::uring::ring::{Got, Ring, Wait};
use crate::server::Server;
use parking_lot::Mutex;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::OnceLock;
use std::time::Duration;

/// Read at once.
pub const READ_SIZE: usize = 16 * 1024;
/// Sockets told of at once.
const EVENTS: usize = 256;
/// What the bell is called among the sockets.
const BELL: u64 = u64::MAX;

/// The sockets, and a bell that ends the wait for them.
pub struct Sockets {
    epoll: OwnedFd,
    bell: OwnedFd,
    /// The module thread holds it while it waits; others only try.
    uring: OnceLock<Mutex<Ring>>,
}

/// What was read from a socket.
pub enum Read {
    /// Something.
    Some,
    /// Nothing was there.
    Nothing,
    /// Its end, or something else that the serving thread has to look at.
    Ended,
}

/// Numbers of connections whose sockets can be read.
pub struct Readable {
    events: Vec<libc::epoll_event>,
    /// The numbers. With a ring they stay until their clients were there to take what has come.
    pub numbers: Vec<u32>,
}

impl Default for Readable {
    fn default() -> Self {
        Readable { events: Vec::with_capacity(EVENTS), numbers: Vec::new() }
    }
}

impl Default for Sockets {
    fn default() -> Self {
        // SAFETY: layout: plain system calls; the descriptors are ours.
        let (epoll, bell) = unsafe {
            let epoll = libc::epoll_create1(libc::EPOLL_CLOEXEC);
            let bell = libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK);
            assert!(epoll >= 0 && bell >= 0, "the system gives us an event queue");
            (OwnedFd::from_raw_fd(epoll), OwnedFd::from_raw_fd(bell))
        };
        let s = Sockets { epoll, bell, uring: OnceLock::new() };
        // Each ring is an edge: nothing has to be read from the bell.
        let there = s.watch(s.bell.as_raw_fd(), libc::EPOLLIN | libc::EPOLLET, BELL);
        assert!(there, "the system watches our bell");
        s
    }
}

impl Sockets {
    /// Waits at a ring from now on, if there is one for the calling thread: the module thread.
    pub fn begin_ring(&self) {
        if let Ok(ring) = Ring::new(self.bell.as_raw_fd()) {
            let _ = self.uring.set(Mutex::new(ring));
        }
    }

    /// Whether there is a ring: then sockets come and go on the module thread.
    pub fn has_ring(&self) -> bool {
        self.uring.get().is_some()
    }

    fn watch(&self, fd: RawFd, events: libc::c_int, name: u64) -> bool {
        let mut event = libc::epoll_event { events: events as u32, u64: name };
        // SAFETY: layout: open descriptors, and an event that lives here.
        unsafe {
            libc::epoll_ctl(self.epoll.as_raw_fd(), libc::EPOLL_CTL_ADD, fd, &raw mut event) == 0
        }
    }

    /// Ends the wait.
    pub fn ring_bell(&self) {
        let one = 1u64;
        // SAFETY: layout: eight bytes for an event counter, as it takes them. It cannot overflow in our life.
        unsafe { libc::write(self.bell.as_raw_fd(), (&raw const one).cast(), 8) };
    }

    /// Adds a socket; the result is its place at the ring. `None` if it could not be added. With a ring: on the module
    /// thread.
    pub fn add(&self, fd: RawFd, number: u32) -> Option<u32> {
        match self.uring.get() {
            Some(ring) => Some(ring.lock().add_listed(fd, number)),
            None => self.watch(fd, libc::EPOLLIN, u64::from(number)).then_some(0),
        }
    }

    /// Forgets a socket. What was read from it and what it did not take yet go to the client; false if it cannot be
    /// forgotten now, because the module thread is about to use it.
    pub fn forget(
        &self,
        fd: RawFd,
        place: u32,
        client: &mut Client,
        is_module_thread: bool,
    ) -> bool {
        let Some(ring) = self.uring.get() else {
            let none = std::ptr::null_mut();
            // SAFETY: layout: open descriptors; there is no event to be told.
            unsafe { libc::epoll_ctl(self.epoll.as_raw_fd(), libc::EPOLL_CTL_DEL, fd, none) };
            return true;
        };
        if !is_module_thread {
            return ring.try_lock().is_some_and(|mut ring| {
                let unsent = ring.take_unsent(place);
                client.out.buf.splice(0..0, unsent);
                ring.abandon(place, &mut client.input)
            });
        }
        let mut ring = ring.lock();
        ring.settle(place);
        let unsent = ring.take_unsent(place);
        client.out.buf.splice(0..0, unsent);
        ring.release(place, &mut client.input);
        ring.remove(place);
        true
    }

    /// Waits until a socket can be read or the bell rings. Hands over what is to be sent.
    pub fn wait(&self, readable: &mut Readable, timeout: Duration) {
        if let Some(ring) = self.uring.get() {
            let mut ring = ring.lock();
            ring.turn(match timeout {
                Duration::ZERO => Wait::No,
                time => Wait::For(time),
            });
            return ring.take_list(&mut readable.numbers);
        }
        let ms = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
        let events = &mut readable.events;
        // SAFETY: layout: the vector has room for that many events, and holds as many as the call returns.
        unsafe {
            let n = libc::epoll_wait(
                self.epoll.as_raw_fd(),
                events.as_mut_ptr(),
                events.capacity() as i32,
                ms,
            );
            events.set_len(n.max(0) as usize);
        }
        let names = events.drain(..).map(|event| event.u64);
        readable.numbers.extend(names.filter(|name| *name != BELL).map(|name| name as u32));
    }

    /// Hands over what is to be sent, now.
    pub fn send_now(&self) {
        if let Some(ring) = self.uring.get() {
            ring.lock().turn(Wait::No);
        }
    }

    /// Takes a reply over to be sent with the next wait. False where that cannot be. On the module thread.
    pub fn queue(&self, server: &Server, place: u32, reply: &[u8]) -> bool {
        let queued = self.uring.get().is_some_and(|ring| ring.lock().queue(place, reply));
        if queued {
            server.stats.writes.add(1);
            server.stats.net_output_bytes.add(reply.len() as u64);
        }
        queued
    }

    /// Reads what there is, behind what the client has.
    pub fn read(
        &self,
        server: &Server,
        (fd, place): (RawFd, u32),
        client: &mut Client,
        spare: &mut Vec<Vec<u8>>,
    ) -> Read {
        let input = &mut client.input;
        if input.is_empty() && input.capacity() == 0 {
            *input = spare.pop().unwrap_or_default();
        }
        let read = match self.uring.get() {
            Some(ring) => match ring.lock().read_into(place, input) {
                Got::Bytes(n) => n,
                Got::Nothing => return Read::Nothing,
                Got::Trouble => return Read::Ended,
            },
            None => match receive(fd, input) {
                Ok(0) => return Read::Ended,
                Ok(n) => n,
                Err(e) => match e.kind() {
                    std::io::ErrorKind::WouldBlock | std::io::ErrorKind::Interrupted => {
                        return Read::Nothing
                    }
                    _ => return Read::Ended,
                },
            },
        };
        server.stats.net_input_bytes.add(read as u64);
        server.stats.reads.add(1);
        Read::Some
    }
}

/// Reads once, behind what is there.
fn receive(fd: RawFd, input: &mut Vec<u8>) -> std::io::Result<usize> {
    if input.capacity() - input.len() < READ_SIZE / 2 {
        input.reserve(READ_SIZE);
    }
    let room = input.spare_capacity_mut();
    // SAFETY: layout: an open descriptor, which its place keeps, and room of that size.
    let n = unsafe { libc::recv(fd, room.as_mut_ptr().cast(), room.len(), libc::MSG_DONTWAIT) };
    let Ok(n) = usize::try_from(n) else { return Err(std::io::Error::last_os_error()) };
    // SAFETY: layout: so many bytes were written behind the others.
    unsafe { input.set_len(input.len() + n) };
    Ok(n)
}
