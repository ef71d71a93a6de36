//! Connections that the module thread attends to itself.
//!
//! A request for the module thread costs two changes of threads: to it, and back with the reply. A client that sends
//! nothing but such requests is cheaper to serve where they run. So its connection moves here, socket and all: the module
//! thread waits for its sockets and its queue in one place, reads, executes, sends. Whatever is not that plain (a native
//! request, a block, a message from another client, a socket that takes no more) goes back to the serving thread.
//!
//! Nobody is left behind when a job of the module thread takes long: [`guard`] then gives all these connections back.
mod sockets;

use super::thread::Job;
use crate::config::enums::event_loop;
use crate::connection::client::{flag, Client, ClientShared};
use crate::connection::limits;
use crate::connection::serving::{Accepted, Arrival, Slot};
use crate::dispatch::ahead;
use crate::observe::clock::mono_ns;
use crate::server::Server;
use parking_lot::{Condvar, Mutex};
use sockets::{Read, Readable, Sockets, READ_SIZE};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::Arc;
use std::task::{Wake, Waker};
use std::time::Duration;

/// A client moves here behind so many requests for the module thread without a native one among them.
const MOVE_AFTER: i32 = 64;
/// Pipelined requests that take longer than this on average are better read and answered by serving threads, if the module
/// thread has no time left: then the hand-over is little beside them.
pub const HEAVY_NS: u64 = 1500;
/// So many requests have to go by before such a client is looked at again.
pub const STAY_AWAY: i32 = 20_000;
/// A round of the module thread that takes longer than this is too long for those who might send something else.
const LONG_ROUND: Duration = Duration::from_millis(10);
/// Nobody moves here for this time after a long round, or after the module thread had no time left.
const CLOSED_FOR: Duration = Duration::from_secs(1);
/// When none sent anything for so many looks of the guard, all go back: nobody needs to watch over them then.
const SILENT_TICKS: u32 = 100;
/// An output buffer up to this size may stay with a client.
pub const KEEP_OUTPUT: usize = 512;
/// Spare buffers at most.
const SPARE: usize = 128;

/// A connection that is attended to here.
struct Attended {
    socket: Accepted,
    shared: Arc<ClientShared>,
    /// The number of the serving thread that it belongs to.
    thread: usize,
    /// The client, while nothing has come for it.
    client: Option<Box<Client>>,
    /// Its socket's place among the sockets, once the module thread has taken it there.
    at: Option<u32>,
    /// More has come while the client was not here.
    unread: bool,
    /// It goes home when the module thread looks at it next.
    leaves: bool,
}

#[derive(Default)]
struct Places {
    all: Vec<Option<Attended>>,
    free: Vec<u32>,
}

impl Places {
    fn len(&self) -> usize {
        self.all.len() - self.free.len()
    }

    fn put(&mut self, attended: Attended) -> u32 {
        let place = self.free.pop().unwrap_or_else(|| {
            self.all.push(None);
            self.all.len() as u32 - 1
        });
        self.all[place as usize] = Some(attended);
        place
    }

    fn take(&mut self, place: u32) -> Option<Attended> {
        let attended = self.all.get_mut(place as usize)?.take()?;
        self.free.push(place);
        Some(attended)
    }
}

/// The sockets that the module thread waits for.
#[derive(Default)]
pub struct Attention {
    sockets: Sockets,
    /// Places that the module thread has to look at: their sockets are new, or they should go home and could not be taken
    /// out, because it was at its ring.
    calls: Mutex<Vec<(u32, u64)>>,
    called: AtomicBool,
    open: AtomicBool,
    /// Monotonic time before which it does not open.
    closed_until: AtomicU64,
    /// When the present round of the module thread began, monotonic; 0 while it sleeps.
    round_began: AtomicU64,
    /// Something was read since the guard looked last. Rounds do not tell: the cron makes them too.
    active: AtomicBool,
    places: Mutex<Places>,
    some: Condvar,
}

/// Whether a connection was taken out.
enum Leave {
    /// Its socket, and the number of its serving thread.
    Left(Accepted, usize),
    /// The module thread has to do that.
    Later,
    /// It is not here.
    Gone,
}

/// What the module thread found at its sockets, and buffers for them. Its own.
pub struct Ready {
    readable: Readable,
    spare: Vec<Vec<u8>>,
}

impl Default for Ready {
    fn default() -> Self {
        // The first client's are there from the start: `maxmemory` may leave little room for more.
        let spare = (0..2).map(|_| Vec::with_capacity(READ_SIZE)).collect();
        Ready { readable: Readable::default(), spare }
    }
}

/// Wakes, in place of a connection's task, whoever has to look at the client.
struct Caller {
    place: u32,
    id: u64,
}

impl Wake for Caller {
    fn wake(self: Arc<Self>) {
        let server = Server::get();
        server.queue.attention.call_home(server, self.place, self.id);
    }
}

/// Whether a client's state is as simple as it has to be to stay here.
fn is_plain(client: &Client) -> bool {
    const OTHERS: u32 = flag::MULTI
        | flag::PUBSUB
        | flag::BLOCKED
        | flag::KILLED
        | flag::MONITOR
        | flag::REPLICA
        | flag::MASTER
        | flag::LAST_REPLY
        | flag::TRACKING;
    let s = &client.session;
    !s.close
        && s.multi.is_none()
        && s.waiting.is_none()
        && s.freeing.is_none()
        && s.blocked_on.is_none()
        && s.shared.wanted.load(SeqCst) == 0
        && !s.shared.has(OTHERS)
}

impl Attention {
    /// Wakes the module thread.
    pub fn ring(&self) {
        self.sockets.ring_bell();
    }

    /// The module thread begins: from now on it waits at a ring, if it can.
    pub fn begin(&self, server: &Server) {
        if server.config.event_loop() != event_loop::EPOLL {
            self.sockets.begin_ring();
        }
    }

    /// Whether a connection between two requests should move here.
    #[inline]
    pub fn wants(&self, client: &Client) -> bool {
        client.session.module_streak >= MOVE_AFTER
            && self.open.load(Relaxed)
            && client.input.is_empty()
            && is_plain(client)
    }

    /// Lets connections come and stay, or not. Once it is closed it stays so for some time: each move costs something.
    pub fn open(&self, open: bool) {
        let is_open = self.open.load(Relaxed);
        if is_open && !open {
            self.close();
        } else if !is_open && open && mono_ns() >= self.closed_until.load(Relaxed) {
            self.open.store(true, Relaxed);
        }
    }

    fn close(&self) {
        self.open.store(false, Relaxed);
        self.closed_until.store(mono_ns() + CLOSED_FOR.as_nanos() as u64, Relaxed);
    }

    /// Connections that are attended to here.
    pub fn clients(&self) -> usize {
        self.places.lock().len()
    }

    /// Takes a connection over from a serving thread, which has let its socket go.
    pub fn take_in(
        &self,
        server: &'static Server,
        socket: Accepted,
        client: Box<Client>,
        thread: usize,
    ) {
        let shared = client.session.shared.clone();
        let id = shared.id;
        // What its event loop had read for it already is a request that waits.
        let (resting, asks) = match client.input.is_empty() {
            true => (Some(client), None),
            false => (None, Some(client)),
        };
        let attended = Attended {
            socket,
            shared: shared.clone(),
            thread,
            client: resting,
            at: None,
            unread: false,
            leaves: false,
        };
        let place = self.places.lock().put(attended);
        shared.mailbox.lock().waker = Some(Waker::from(Arc::new(Caller { place, id })));
        let there = match self.sockets.has_ring() {
            true => {
                self.call(place, id);
                true
            }
            false => self.add(&mut self.places.lock(), place),
        };
        // What was asked before the waker was there has to be looked at now.
        if !there || shared.wanted.load(SeqCst) != 0 || shared.has(flag::KILLED) {
            self.call_home(server, place, id);
        }
        if let Some(client) = asks {
            let home = Home::Attended(place);
            let job = Job::Client { client, home, thread, key: None, direct: true };
            server.queue.push_all(&mut vec![job]);
        }
        self.some.notify_one();
    }

    /// Has the module thread look at a place.
    fn call(&self, place: u32, id: u64) {
        self.calls.lock().push((place, id));
        self.called.store(true, SeqCst);
        self.sockets.ring_bell();
    }

    /// Adds the socket of a place to those that are waited for.
    fn add(&self, places: &mut Places, place: u32) -> bool {
        let Some(a) = places.all.get_mut(place as usize).and_then(Option::as_mut) else {
            return true;
        };
        a.at = self.sockets.add(a.socket.as_raw_fd(), place);
        a.at.is_some()
    }

    /// Looks at the places that were called for. On the module thread.
    fn answer_calls(&self, server: &'static Server) {
        if !self.called.swap(false, SeqCst) {
            return;
        }
        let calls = std::mem::take(&mut *self.calls.lock());
        for (place, id) in calls {
            let going = {
                let mut places = self.places.lock();
                let here = places.all.get_mut(place as usize).and_then(Option::as_mut);
                let Some(a) = here.filter(|a| a.shared.id == id) else { continue };
                let leaves = a.leaves || (a.at.is_none() && !self.add(&mut places, place));
                leaves.then(|| self.leave_resting(server, &mut places, place, |_| true)).flatten()
            };
            if let Some((thread, arrival)) = going {
                bring(server, thread, arrival);
            }
        }
    }

    /// Takes a connection out, whose client is at hand. Under the lock, so that its descriptor is forgotten before anybody
    /// can close it.
    fn leave(&self, server: &Server, place: u32, client: &mut Client) -> Leave {
        let mut places = self.places.lock();
        let here = places.all.get_mut(place as usize).and_then(Option::as_mut);
        match here.map(|a| self.forget(server, a, client)) {
            Some(true) => match places.take(place) {
                Some(a) => Leave::Left(a.socket, a.thread),
                None => Leave::Gone,
            },
            Some(false) => Leave::Later,
            None => Leave::Gone,
        }
    }

    /// Forgets a socket, if that can be done from this thread; otherwise the module thread is called to do it.
    fn forget(&self, server: &Server, a: &mut Attended, client: &mut Client) -> bool {
        let Some(at) = a.at else { return true };
        let is_module_thread = super::thread::is_current(server);
        let forgotten = self.sockets.forget(a.socket.as_raw_fd(), at, client, is_module_thread);
        a.leaves = !forgotten;
        forgotten
    }

    /// Sends a connection home whose client is at hand.
    pub fn send_home(&self, server: &Server, place: u32, mut client: Box<Client>) {
        match self.leave(server, place, &mut client) {
            Leave::Left(socket, thread) => bring(server, thread, Arrival::Back(socket, client)),
            Leave::Later => self.leave_later(place, client),
            Leave::Gone => {}
        }
    }

    /// The module thread sends the connection home when it looks at it next.
    fn leave_later(&self, place: u32, client: Box<Client>) {
        let id = client.session.shared.id;
        let mut places = self.places.lock();
        if let Some(a) = places.all.get_mut(place as usize).and_then(Option::as_mut) {
            a.client = Some(client);
            drop(places);
            self.call(place, id);
        }
    }

    /// Sends a connection home whose client a module has blocked: its task waits for it there. The calling thread has
    /// the module lock.
    pub fn send_home_blocked(&self, server: &'static Server, place: u32, mut client: Box<Client>) {
        let left = self.leave_for(server, place, &mut client);
        let Some((slot, thread, away)) = left else { return };
        super::blocked::park_client(server, client, slot, thread);
        bring(server, thread, away);
    }

    /// Takes a connection out whose client comes home later: the slot where its task will wait for it, the number of its
    /// serving thread, and what to [`bring`] there. On the module thread.
    pub fn leave_for(
        &self,
        server: &Server,
        place: u32,
        client: &mut Client,
    ) -> Option<(Arc<Slot>, usize, Arrival)> {
        let Leave::Left(socket, thread) = self.leave(server, place, client) else { return None };
        client.session.module_streak = 0;
        let (slot, shared) = (Arc::new(Slot::default()), client.session.shared.clone());
        Some((slot.clone(), thread, Arrival::Away(socket, shared, slot)))
    }

    /// Takes a connection out whose client rests, if it is the one that is meant: where it goes, and as what.
    fn leave_resting(
        &self,
        server: &Server,
        places: &mut Places,
        place: u32,
        is_meant: impl FnOnce(&ClientShared) -> bool,
    ) -> Option<(usize, Arrival)> {
        let here = places.all.get_mut(place as usize)?.as_mut()?;
        if here.client.is_none() || !is_meant(&here.shared) {
            return None;
        }
        let mut client = here.client.take()?;
        if !self.forget(server, here, &mut client) {
            here.client = Some(client);
            let id = here.shared.id;
            self.call(place, id);
            return None;
        }
        let Attended { socket, thread, .. } = places.take(place)?;
        Some((thread, Arrival::Back(socket, client)))
    }

    /// Somebody wants something of a client. If it is being served, the module thread sees that itself.
    fn call_home(&self, server: &Server, place: u32, id: u64) {
        let mut places = self.places.lock();
        let going = self.leave_resting(server, &mut places, place, |shared| shared.id == id);
        drop(places);
        if let Some((thread, arrival)) = going {
            bring(server, thread, arrival);
        }
    }

    /// Sends all connections home, and lets none come for some time. The one whose request runs goes when it is done.
    pub fn send_all_home(&self, server: &Server) {
        self.close();
        server.queue.outgoing.help(server);
        let mut going = Vec::new();
        {
            let mut places = self.places.lock();
            for place in 0..places.all.len() as u32 {
                going.extend(self.leave_resting(server, &mut places, place, |_| true));
            }
        }
        for (thread, arrival) in going {
            bring(server, thread, arrival);
        }
        for (place, client) in server.queue.take_attended() {
            self.send_home(server, place, client);
        }
    }

    /// A client has got all its replies: it waits for its next request, here, if it may. `None` if it does.
    pub fn rest(&self, place: u32, client: Box<Client>) -> Option<Box<Client>> {
        let mut places = self.places.lock();
        let here = places.all.get_mut(place as usize).and_then(Option::as_mut);
        // Whoever wants something says so first, then looks here under the lock: one of the two sees the other.
        let stays =
            self.open.load(Relaxed) && client.session.module_streak > 0 && is_plain(&client);
        match here {
            Some(a) if stays && !a.leaves => {
                a.client = Some(client);
                if std::mem::take(&mut a.unread) {
                    drop(places);
                    self.sockets.ring_bell();
                }
                None
            }
            _ => Some(client),
        }
    }

    /// Takes a client's reply over to be sent with the next wait. False where that cannot be.
    pub fn queue_reply(&self, server: &Server, place: u32, reply: &[u8]) -> bool {
        let at = self.places.lock().all.get(place as usize).and_then(|a| a.as_ref()?.at);
        at.is_some_and(|at| self.sockets.queue(server, at, reply))
    }

    /// Whether the module thread waits at a ring.
    pub fn has_ring(&self) -> bool {
        self.sockets.has_ring()
    }

    /// Sends what was taken over, now.
    pub fn send_now(&self) {
        self.sockets.send_now();
    }

    /// Waits until a socket can be read or the bell rings.
    pub fn wait(&self, ready: &mut Ready, timeout: Duration) {
        if timeout.is_zero() && self.places.lock().len() == 0 {
            return;
        }
        self.round_began.store(0, Relaxed);
        self.sockets.wait(&mut ready.readable, timeout);
        self.round_began.store(mono_ns(), Relaxed);
    }

    /// Reads what has come, as jobs.
    pub fn read(
        &self,
        server: &'static Server,
        ready: &mut Ready,
        now: i64,
        mut add: impl FnMut(Job),
    ) {
        self.answer_calls(server);
        let mut clients = Vec::new();
        {
            let mut places = self.places.lock();
            ready.readable.numbers.retain(|&place| {
                let here = places.all.get_mut(place as usize).and_then(Option::as_mut);
                let Some(a) = here else { return false };
                let (thread, socket) = (a.thread, (a.socket.as_raw_fd(), a.at.unwrap_or(0)));
                let client = a.client.take();
                // An event queue tells again of what was not read.
                a.unread = client.is_none() && self.sockets.has_ring();
                clients.extend(client.map(|client| (place, thread, socket, client)));
                a.unread
            });
        }
        for (place, thread, socket, mut client) in clients {
            match self.sockets.read(server, socket, &mut client, &mut ready.spare) {
                Read::Nothing => {
                    if let Some(client) = self.rest(place, client) {
                        self.send_home(server, place, client);
                    }
                }
                // The serving thread sees the end, or the error, when it reads.
                Read::Ended => self.send_home(server, place, client),
                Read::Some => {
                    self.active.store(true, Relaxed);
                    client.session.shared.active.store(now, Relaxed);
                    if client.input.len() > READ_SIZE && !limits::input_fits(server, &client) {
                        self.send_home(server, place, client);
                        continue;
                    }
                    if client.out.buf.capacity() == 0 {
                        client.out.buf = ready.spare.pop().unwrap_or_default();
                    }
                    let key = first_key(&client.input);
                    let key = key.map(|key| ahead::place(key, client.session.db));
                    add(Job::Client {
                        client,
                        home: Home::Attended(place),
                        thread,
                        key,
                        direct: true,
                    });
                }
            }
        }
    }
}

/// Where a client goes back to from the module thread.
pub enum Home {
    /// Its connection's task on a serving thread waits here.
    Slot(Arc<Slot>),
    /// Its connection is attended to by the module thread, in this place.
    Attended(u32),
}

/// Gives a connection to a serving thread.
pub fn bring(server: &Server, thread: usize, mut arrival: Arrival) {
    if let Arrival::Back(_, client) = &mut arrival {
        // It has to earn its place anew: there was a reason for it to go.
        client.session.module_streak = client.session.module_streak.min(0);
    }
    if let Some(t) = server.serving.get().and_then(|s| s.get(thread)) {
        t.give(arrival);
    }
}

/// Takes a buffer back.
pub fn keep(spare: &mut Vec<Vec<u8>>, mut buffer: Vec<u8>) {
    if spare.len() < SPARE && (1..=4 * READ_SIZE).contains(&buffer.capacity()) {
        buffer.clear();
        spare.push(buffer);
    }
}

impl Ready {
    /// The input of a client is done with up to `done`.
    pub fn consumed(&mut self, client: &mut Client, done: usize) {
        if done == client.input.len() && client.input.capacity() <= 4 * READ_SIZE {
            keep(&mut self.spare, std::mem::take(&mut client.input));
        } else {
            client.consume(done);
            client.make_room();
        }
    }
}

/// A client has got all its replies. The module thread keeps its buffer; elsewhere the client does, if it is small.
pub fn replied(client: &mut Client, ready: Option<&mut Ready>) {
    if let Some(ready) = ready {
        keep(&mut ready.spare, std::mem::take(&mut client.out.buf));
    } else if client.out.buf.capacity() > KEEP_OUTPUT {
        client.out.buf = Vec::new();
    }
    client.parser.rest();
}

/// The second argument of the first request, if it is there: a hint for what is going to be looked up.
fn first_key(input: &[u8]) -> Option<&[u8]> {
    fn number(input: &[u8], mark: u8) -> Option<(usize, &[u8])> {
        let (&first, mut rest) = input.split_first()?;
        let mut n = 0usize;
        while let [digit @ b'0'..=b'9', more @ ..] = rest {
            n = n.checked_mul(10)?.checked_add(usize::from(digit - b'0'))?;
            rest = more;
        }
        (first == mark).then_some((n, rest.strip_prefix(b"\r\n")?))
    }
    let (arguments, rest) = number(input, b'*')?;
    let (name, rest) = number(rest, b'$')?;
    let (key, rest) = number(rest.get(name..)?.strip_prefix(b"\r\n")?, b'$')?;
    rest.get(..key).filter(|_| arguments >= 2)
}

/// The body of the thread that looks for long rounds.
pub fn guard(server: &'static Server) {
    let a = &server.queue.attention;
    let mut silent = 0;
    loop {
        {
            let mut places = a.places.lock();
            while places.len() == 0 {
                a.some.wait(&mut places);
            }
        }
        std::thread::sleep(LONG_ROUND);
        let began = a.round_began.load(Relaxed);
        let long = began != 0 && mono_ns().saturating_sub(began) > LONG_ROUND.as_nanos() as u64;
        silent = if a.active.swap(false, Relaxed) { 0 } else { silent + 1 };
        if long || silent >= SILENT_TICKS {
            a.send_all_home(server);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::first_key;

    #[test]
    fn the_first_key_is_the_second_argument() {
        let key = |text: &str| first_key(text.as_bytes()).map(|k| k.to_vec());
        let found = Some(b"key".to_vec());
        assert_eq!(key("*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n"), found);
        assert_eq!(key("*2\r\n$3\r\nGET\r\n$3\r\nkey"), found);
        assert_eq!(key("*1\r\n$4\r\nPING\r\n"), None);
        assert_eq!(key("*1\r\n$4\r\nPING\r\n*1\r\n$4\r\nPING\r\n"), None);
        assert_eq!(key("*2\r\n$3\r\nGET\r\n$3\r\nke"), None);
        assert_eq!(key("GET key\r\n"), None);
        assert_eq!(key("*99999999999999999999999\r\n"), None);
        assert_eq!(key("*2\r\n$99999999999\r\n"), None);
    }
}
