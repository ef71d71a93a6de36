//! A thread's ring: receives that stay with the kernel, sends that travel together with the next wait.
//!
//! With an event queue a request costs three system calls: to learn of it, to read it, to answer. Here a connection's
//! receive is asked for once and goes on by itself, and the answers to all requests of a turn are handed over by the
//! same call that waits for the next ones.
use super::buffers::{pages, Buffers, Piece, GROUP, SIZE as BUFFER_SIZE};
use super::place::{receive, send, End, Place};
use io_uring::types::{Fd, SubmitArgs, Timespec};
use io_uring::{cqueue, opcode, squeue, IoUring};
use std::collections::VecDeque;
use std::io::{Error, ErrorKind, Read, Result};
use std::os::fd::RawFd;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// Requests that fit the ring; more are handed over in between.
const REQUESTS: u32 = 1024;
/// Results that fit it.
const RESULTS: u32 = 4096;
/// Replies up to this size travel with the ring; longer ones are sent by themselves.
pub const SMALL: usize = 4 * 1024;
/// So many sockets can be known to the kernel by their places, which is cheaper than by descriptors: the first number that
/// the limits allow. The others work too.
const KNOWN_SOCKETS: [u32; 2] = [16 * 1024, 1024];
/// One becomes known when so much has come from it: for a short connection that would be work for nothing.
const KNOWN_AFTER: u32 = 32;
/// Memory for the replies of one turn. When it is full they are handed over.
const REPLIES: usize = 256 * 1024;
/// So many full buffers in a turn are a bulk.
const BULK: u32 = 2;
/// So often may a connection with a bulk read in a turn: others want to be served too.
const READS: u32 = 4;
/// What a connection may send ahead while nobody reads it, before its receive is taken back.
const AHEAD: usize = 128 * 1024;
/// How long we wait at once for a receive to end that we have taken back.
const FOR_THE_END: Duration = Duration::from_millis(100);

/// What a result is about.
mod about {
    pub const RECEIVE: u64 = 1;
    pub const SEND: u64 = 2;
    pub const WRITABLE: u64 = 3;
    pub const BELL: u64 = 4;
    pub const CANCEL: u64 = 5;
    pub const READABLE: u64 = 6;
}

/// The kind, the generation (24 bits) and the place that a request is for.
fn name(kind: u64, place: u32, generation: u32) -> u64 {
    kind << 56 | u64::from(generation & 0xff_ffff) << 32 | u64::from(place)
}

/// A place that another thread has left.
struct Abandoned {
    place: u32,
    known: bool,
    cancel: Option<squeue::Entry>,
}

/// The ring of a thread, which alone enters it. Others may [`abandon`](Ring::abandon) places of the module thread's, under
/// a lock.
pub struct Ring {
    uring: IoUring,
    /// Places below this number can be known to the kernel.
    known: u32,
    buffers: Buffers,
    places: Vec<Place>,
    free: Vec<u32>,
    /// Replies of this turn: the kernel reads them while it takes the requests.
    replies: &'static mut [u8],
    used: usize,
    /// Places with a reply among them.
    sending: Vec<u32>,
    /// Turns so far.
    turns: u64,
    /// Somebody waits for one of these to be gone.
    hurry: bool,
    generations: u32,
    /// Places that have read enough in this turn.
    again: Vec<u32>,
    /// Results that were taken and not looked at yet.
    results: Vec<cqueue::Entry>,
    /// Listed places where something happened.
    list: Vec<u32>,
    /// Places that were abandoned by other threads: the requests to end their receives go before all others.
    abandoned: Vec<Abandoned>,
}

// SAFETY: layout: the memory behind the pointers belongs to the ring. The kernel asks for one thing: that the thread that
// made a ring enters it; `turn`, `settle`, `release`, `remove` say so.
unsafe impl Send for Ring {}

/// The kernel reads on by itself up to so many times in a row, and then without waiting: then a receive cannot be
/// abandoned.
const LONG_BURST: u32 = 16;

/// What a listed place has.
#[derive(Debug, PartialEq, Eq)]
pub enum Got {
    /// Bytes, which were added to the others.
    Bytes(usize),
    /// Nothing yet.
    Nothing,
    /// The end, an error, or replies that the socket did not take.
    Trouble,
}

impl Ring {
    /// A ring for the calling thread, which also waits for the event counter `bell`. Fails where the kernel is too old
    /// (before 6.1), or does not allow it.
    pub fn new(bell: RawFd) -> Result<Ring> {
        let uring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_cqsize(RESULTS)
            .build(REQUESTS)?;
        let mut probe = io_uring::Probe::new();
        uring.submitter().register_probe(&mut probe)?;
        // The last of what we use that came to the kernel; multishot receives have no mark of their own.
        if !probe.is_supported(opcode::SendZc::CODE) || !uring.params().is_feature_ext_arg() {
            return Err(ErrorKind::Unsupported.into());
        }
        let buffers = Buffers::register(&uring.submitter())?;
        // The system may limit both; they only save time.
        let mut counts = KNOWN_SOCKETS.into_iter();
        let known = counts.find(|n| uring.submitter().register_files_sparse(*n).is_ok());
        let mut ring = Ring {
            uring,
            known: known.unwrap_or(0),
            buffers,
            places: Vec::new(),
            free: Vec::new(),
            replies: pages(REPLIES)?,
            used: 0,
            sending: Vec::new(),
            turns: 1,
            hurry: false,
            generations: 0,
            again: Vec::new(),
            results: Vec::new(),
            list: Vec::new(),
            abandoned: Vec::new(),
        };
        ring.listen_to(bell);
        Ok(ring)
    }

    fn listen_to(&mut self, bell: RawFd) {
        let poll = opcode::PollAdd::new(Fd(bell), libc::POLLIN as u32).multi(true).build();
        // The place of a bell's result is its descriptor.
        self.push(poll.user_data(name(about::BELL, bell as u32, 0)));
    }

    /// Adds a connection.
    pub fn add(&mut self, fd: RawFd) -> u32 {
        let place = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place::default());
            self.places.len() as u32 - 1
        });
        self.generations += 1;
        self.places[place as usize] =
            Place { fd, generation: self.generations & 0xff_ffff, ..Place::default() };
        place
    }

    /// Makes the socket of a place known to the kernel by the place: its connection stays.
    fn make_known(&mut self, place: u32) {
        let fd = self.places[place as usize].fd;
        let known = place < self.known
            && self.uring.submitter().register_files_update(place, &[fd]).is_ok();
        self.places[place as usize].known = known;
    }

    /// Has the kernel forget which socket is at a place.
    fn forget_known(&mut self, place: u32) {
        let _ = self.uring.submitter().register_files_update(place, &[-1]);
    }

    /// The request, addressed to the socket at a place.
    fn to_socket(&self, place: u32, request: impl FnOnce(Fd) -> squeue::Entry) -> squeue::Entry {
        match self.places[place as usize].known {
            true => request(Fd(place as RawFd)).flags(squeue::Flags::FIXED_FILE),
            false => request(Fd(self.places[place as usize].fd)),
        }
    }

    /// Adds a connection whose bytes are waited for from now on. What happens is put on the list under `number`.
    pub fn add_listed(&mut self, fd: RawFd, number: u32) -> u32 {
        let place = self.add(fd);
        self.places[place as usize].listed = Some(number);
        self.arm(place);
        place
    }

    /// The numbers of listed places where something happened, each once.
    pub fn take_list(&mut self, into: &mut Vec<u32>) {
        for place in self.list.drain(..) {
            let here = &mut self.places[place as usize];
            if std::mem::take(&mut here.on_list) {
                into.extend(here.listed);
            }
        }
    }

    fn tell(&mut self, place: u32) {
        let here = &mut self.places[place as usize];
        if here.listed.is_none() {
            here.reader.wake();
        } else if !std::mem::replace(&mut here.on_list, true) {
            self.list.push(place);
        }
    }

    /// Adds all bytes that have come for a listed place to `into`.
    pub fn read_into(&mut self, place: u32, into: &mut Vec<u8>) -> Got {
        let before = into.len();
        self.take_bytes(place, into);
        let here = &self.places[place as usize];
        if here.end.is_some() || !here.unsent.is_empty() {
            return Got::Trouble;
        }
        self.arm(place);
        match into.len() - before {
            0 => Got::Nothing,
            n => Got::Bytes(n),
        }
    }

    fn take_bytes(&mut self, place: u32, into: &mut Vec<u8>) {
        let here = &mut self.places[place as usize];
        for piece in here.arrived.drain(..) {
            into.extend_from_slice(self.buffers.bytes(&piece));
            self.buffers.give_back(piece);
        }
        into.extend(std::mem::take(&mut here.copied));
    }

    /// Takes a reply over to be sent in this turn. False where that cannot be: it is long, or another is not sent yet.
    pub fn queue(&mut self, place: u32, bytes: &[u8]) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        bytes.len() <= SMALL
            && REPLIES - self.used >= bytes.len()
            && matches!(self.poll_write(&mut cx, place, bytes), Poll::Ready(Ok(_)))
    }

    /// Takes the unsent rest of a reply out.
    pub fn take_unsent(&mut self, place: u32) -> Vec<u8> {
        std::mem::take(&mut self.places[place as usize].unsent)
    }

    /// Forgets a listed place from another thread, while the ring's own is not in it: the receive reads nothing any more,
    /// since the request to end it is handed over before the ring is asked for results again. False where that does not
    /// hold.
    pub fn abandon(&mut self, place: u32, rest: &mut Vec<u8>) -> bool {
        let here = &self.places[place as usize];
        let is_handed_over = !here.armed || here.armed_in < self.turns;
        if !is_handed_over || here.sending.is_some() || here.burst >= LONG_BURST || here.cancelling
        {
            return false;
        }
        self.take_bytes(place, rest);
        let here = &mut self.places[place as usize];
        let cancel = here.armed.then(|| {
            let what = name(about::RECEIVE, place, here.generation);
            opcode::AsyncCancel::new(what).build().user_data(name(about::CANCEL, place, 0))
        });
        self.abandoned.push(Abandoned { place, known: here.known, cancel });
        *here = Place::default();
        true
    }

    /// Forgets a connection; what it still has to send is handed over first. The kernel lets go of its socket in this
    /// turn.
    pub fn remove(&mut self, place: u32) {
        self.settle(place);
        // As long as the kernel has a request for it the socket stays open.
        let mut waits = self.cancel(place);
        let here = &self.places[place as usize];
        let asked =
            [(here.asked_readable, about::READABLE), (here.asked_writable, about::WRITABLE)];
        for (_, kind) in asked.into_iter().filter(|(is_asked, _)| *is_asked) {
            self.push_cancel(place, kind);
            waits = true;
        }
        let here = &mut self.places[place as usize];
        for piece in here.arrived.drain(..) {
            self.buffers.give_back(piece);
        }
        let known = std::mem::take(here).known;
        if waits {
            self.turn(Wait::No);
        }
        if known {
            self.forget_known(place);
        }
        self.free.push(place);
    }

    /// Takes the receive back and returns what came before that: the socket may be read by others afterwards.
    pub fn release(&mut self, place: u32, rest: &mut Vec<u8>) {
        while self.cancel(place) {
            self.turn(Wait::For(FOR_THE_END));
        }
        self.take_bytes(place, rest);
    }

    fn push_cancel(&mut self, place: u32, kind: u64) {
        let generation = self.places[place as usize].generation;
        let cancel = opcode::AsyncCancel::new(name(kind, place, generation)).build();
        // What becomes of it matters for the receive only.
        let what = match kind {
            about::RECEIVE => name(about::CANCEL, place, generation),
            _ => name(about::CANCEL, place, 0),
        };
        self.push(cancel.user_data(what));
    }

    /// Asks for the receive back. False if there is none.
    fn cancel(&mut self, place: u32) -> bool {
        let here = &mut self.places[place as usize];
        if here.armed && !std::mem::replace(&mut here.cancelling, true) {
            self.push_cancel(place, about::RECEIVE);
        }
        self.places[place as usize].armed
    }

    /// Reads what has come; `Ready(0)` at the end. If nothing has, the task is woken when something does.
    pub fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        place: u32,
        into: &mut [u8],
    ) -> Poll<Result<usize>> {
        let here = &mut self.places[place as usize];
        let mut read = 0;
        while let Some(piece) = here.arrived.front_mut() {
            let n = piece.len().min(into.len() - read);
            into[read..read + n].copy_from_slice(&self.buffers.bytes(piece)[..n]);
            piece.advance(n);
            read += n;
            if piece.len() > 0 {
                break;
            }
            let piece = *piece;
            here.arrived.pop_front();
            self.buffers.give_back(piece);
        }
        if here.arrived.is_empty() {
            while read < into.len() && !here.copied.is_empty() {
                read += here.copied.read(&mut into[read..])?;
            }
            // Nobody counts what would stay here.
            if here.copied.is_empty() {
                here.copied = VecDeque::new();
            }
        }
        if read > 0 {
            return Poll::Ready(Ok(read));
        }
        match here.end {
            Some(End::Closed) => Poll::Ready(Ok(0)),
            Some(End::Error(code)) => Poll::Ready(Err(Error::from_raw_os_error(code))),
            None if here.bulk && !here.armed => self.read_bulk(cx, place, into),
            None => {
                here.reader.remember(cx);
                if !here.bulk {
                    self.arm(place);
                }
                Poll::Pending
            }
        }
    }

    /// Reads straight from the socket: nothing else does at present.
    fn read_bulk(
        &mut self,
        cx: &mut Context<'_>,
        place: u32,
        into: &mut [u8],
    ) -> Poll<Result<usize>> {
        let here = &mut self.places[place as usize];
        if here.reads.0 != self.turns {
            here.reads = (self.turns, 0);
        }
        here.reads.1 += 1;
        if here.reads.1 > READS {
            here.reader.remember(cx);
            self.again.push(place);
            self.hurry = true;
            return Poll::Pending;
        }
        if !here.drained {
            match receive(here.fd, into) {
                Ok(n) => {
                    here.drained = n < into.len();
                    // A small request, or the end: it goes on as before.
                    here.bulk = n >= BUFFER_SIZE;
                    if n == 0 {
                        here.end = Some(End::Closed);
                    }
                    return Poll::Ready(Ok(n));
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => {}
                Err(e) => return Poll::Ready(Err(e)),
            }
        }
        here.reader.remember(cx);
        if !std::mem::replace(&mut here.asked_readable, true) {
            self.ask(place, about::READABLE, libc::POLLIN | libc::POLLRDHUP);
        }
        Poll::Pending
    }

    /// Has the kernel tell when something is possible.
    fn ask(&mut self, place: u32, kind: u64, events: libc::c_short) {
        let what = name(kind, place, self.places[place as usize].generation);
        let poll = |fd| opcode::PollAdd::new(fd, events as u32).build();
        let poll = self.to_socket(place, poll);
        self.push(poll.user_data(what));
    }

    /// Whether the task will be woken when something comes: nothing has yet.
    pub fn watches(&mut self, cx: &mut Context<'_>, place: u32) -> bool {
        let here = &mut self.places[place as usize];
        if !here.arrived.is_empty() || !here.copied.is_empty() || here.end.is_some() {
            return false;
        }
        here.reader.remember(cx);
        if !here.bulk {
            self.arm(place);
        } else if !here.armed && !std::mem::replace(&mut here.asked_readable, true) {
            self.ask(place, about::READABLE, libc::POLLIN | libc::POLLRDHUP);
        }
        true
    }

    fn arm(&mut self, place: u32) {
        let here = &mut self.places[place as usize];
        if !here.armed && here.end.is_none() {
            (here.armed, here.armed_in) = (true, self.turns);
            let what = name(about::RECEIVE, place, here.generation);
            let receive = self.to_socket(place, |fd| opcode::RecvMulti::new(fd, GROUP).build());
            self.push(receive.user_data(what));
        }
    }

    /// Sends bytes, or takes them over to be sent in this turn.
    pub fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        place: u32,
        bytes: &[u8],
    ) -> Poll<Result<usize>> {
        if bytes.len() <= SMALL && REPLIES - self.used < bytes.len() {
            self.turn(Wait::No);
        }
        let here = &mut self.places[place as usize];
        if let Some(End::Error(code)) = here.end {
            return Poll::Ready(Err(Error::from_raw_os_error(code)));
        }
        if here.received == KNOWN_AFTER && !here.known {
            here.received += 1;
            self.make_known(place);
        }
        let here = &mut self.places[place as usize];
        if here.sending.is_some() || !here.unsent.is_empty() {
            here.writer.remember(cx);
            self.hurry |= here.sending.is_some();
            return Poll::Pending;
        }
        if bytes.len() > SMALL {
            let sent = send(here.fd, bytes);
            if sent.as_ref().is_err_and(|e| e.kind() == ErrorKind::WouldBlock) {
                here.writer.remember(cx);
                self.wait_until_writable(place);
                return Poll::Pending;
            }
            return Poll::Ready(sent);
        }
        let at = self.used;
        self.replies[at..at + bytes.len()].copy_from_slice(bytes);
        self.used += bytes.len();
        here.sending = Some((at, bytes.len()));
        let what = name(about::SEND, place, here.generation);
        // All or a result that says how much: most of them leave none.
        let how = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL | libc::MSG_WAITALL;
        let from = self.replies[at..].as_ptr();
        let len = bytes.len() as u32;
        let request =
            self.to_socket(place, |fd| opcode::Send::new(fd, from, len).flags(how).build());
        self.sending.push(place);
        self.push(request.flags(squeue::Flags::SKIP_SUCCESS).user_data(what));
        Poll::Ready(Ok(bytes.len()))
    }

    /// Waits until the socket has everything that was to be sent, or is broken.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>, place: u32) -> Poll<Result<()>> {
        if self.settle(place) {
            return Poll::Ready(Ok(()));
        }
        let here = &mut self.places[place as usize];
        if let Some(End::Error(code)) = here.end {
            return Poll::Ready(Err(Error::from_raw_os_error(code)));
        }
        here.writer.remember(cx);
        Poll::Pending
    }

    /// Hands over what a connection has to send. True if its socket took all of it.
    pub fn settle(&mut self, place: u32) -> bool {
        if self.places[place as usize].sending.is_some() {
            self.turn(Wait::No);
        }
        let here = &self.places[place as usize];
        here.sending.is_none() && here.unsent.is_empty()
    }

    fn wait_until_writable(&mut self, place: u32) {
        if !std::mem::replace(&mut self.places[place as usize].asked_writable, true) {
            self.ask(place, about::WRITABLE, libc::POLLOUT);
        }
    }

    fn push(&mut self, request: squeue::Entry) {
        loop {
            // SAFETY: layout: what a request points to (replies, buffers) lives as long as the ring.
            if unsafe { self.uring.submission().push(&request).is_ok() } {
                return;
            }
            // No results are taken here: the caller is in the middle of something.
            let _ = self.uring.submit();
        }
    }

    /// Hands all requests over, waits for results as told, and takes them. Wakes whoever waits for them.
    pub fn turn(&mut self, wait: Wait) {
        for Abandoned { place, known, cancel } in std::mem::take(&mut self.abandoned) {
            if let Some(cancel) = cancel {
                self.push(cancel);
            }
            if known {
                self.forget_known(place);
            }
            self.free.push(place);
        }
        let time = match wait {
            _ if std::mem::take(&mut self.hurry) => Some(Duration::ZERO),
            Wait::No => Some(Duration::ZERO),
            Wait::For(time) => Some(time),
            Wait::Forever => None,
        };
        let waited = match time {
            // Results that are due are only made when the kernel is asked for them.
            Some(Duration::ZERO) => self.enter_for_results(),
            Some(time) => {
                let time = Timespec::from(time);
                let args = SubmitArgs::new().timespec(&time);
                self.uring.submitter().submit_with_args(1, &args).map(drop)
            }
            None => self.uring.submit_and_wait(1).map(drop),
        };
        if let Err(e) = waited {
            let code = e.raw_os_error();
            let known = [libc::ETIME, libc::EINTR, libc::EBUSY, libc::EAGAIN, libc::ENOMEM];
            assert!(code.is_some_and(|c| known.contains(&c)), "a ring answers: {e}");
        }
        let all_handed_over = self.uring.submission().is_empty();
        self.take_results();
        // The kernel answers for replies within the call that hands them over.
        if all_handed_over {
            self.turns += 1;
            self.used = 0;
            let mut sending = std::mem::take(&mut self.sending);
            for place in sending.drain(..) {
                let here = &mut self.places[place as usize];
                if here.sending.take().is_some() {
                    here.writer.wake();
                }
            }
            self.sending = sending;
            let mut again = std::mem::take(&mut self.again);
            for place in again.drain(..) {
                self.places[place as usize].reader.wake();
            }
            self.again = again;
        }
    }

    fn enter_for_results(&mut self) -> Result<()> {
        let requests = self.uring.submission().len() as u32;
        const GET_EVENTS: u32 = 1;
        // SAFETY: layout: no argument; the requests are whole.
        unsafe { self.uring.submitter().enter::<libc::sigset_t>(requests, 0, GET_EVENTS, None)? };
        Ok(())
    }

    fn take_results(&mut self) {
        let mut results = std::mem::take(&mut self.results);
        results.extend(self.uring.completion());
        for result in &results {
            if let Some(here) = self.places.get_mut(result.user_data() as u32 as usize) {
                (here.burst, here.full) = (0, 0);
            }
        }
        for result in results.drain(..) {
            let what = result.user_data();
            let (kind, place) = (what >> 56, what as u32);
            let generation = (what >> 32) as u32 & 0xff_ffff;
            let (value, flags) = (result.result(), result.flags());
            let more = cqueue::more(flags);
            if kind == about::BELL {
                if !more {
                    self.listen_to(place as RawFd);
                }
                continue;
            }
            let buffer = cqueue::buffer_select(flags);
            let piece = buffer.map(|buffer| {
                self.buffers.taken();
                Piece::new(buffer, value.max(0) as usize)
            });
            let known = self.places.get(place as usize).is_some_and(|p| p.generation == generation);
            match kind {
                _ if !known => {
                    if let Some(piece) = piece {
                        self.buffers.give_back(piece);
                    }
                }
                // The receive was just about to go on: whoever wants it back asks again.
                about::CANCEL if value < 0 => self.places[place as usize].cancelling = false,
                about::CANCEL => {}
                about::RECEIVE => self.received(place, value, piece, more),
                about::SEND => self.not_sent(place, value),
                about::READABLE => {
                    let here = &mut self.places[place as usize];
                    (here.asked_readable, here.drained) = (false, false);
                    self.tell(place);
                }
                _ => self.writable(place),
            }
        }
        self.results = results;
    }

    fn received(&mut self, place: u32, value: i32, piece: Option<Piece>, more: bool) {
        let scarce = self.buffers.scarce();
        if scarce || value == -libc::ENOBUFS {
            self.buffers.grow();
        }
        let here = &mut self.places[place as usize];
        if !more {
            (here.armed, here.cancelling) = (false, false);
        }
        if let Some(piece) = piece {
            here.burst += 1;
            here.received = here.received.saturating_add(1);
            here.full += u32::from(piece.len() == BUFFER_SIZE);
            if scarce || !here.copied.is_empty() {
                here.copied.extend(self.buffers.bytes(&piece));
                self.buffers.give_back(piece);
            } else {
                here.arrived.push_back(piece);
            }
        }
        match value {
            0 => here.end = Some(End::Closed),
            1.. => {
                let ahead = here.arrived.len() * BUFFER_SIZE + here.copied.len();
                if here.full >= BULK && here.listed.is_none() {
                    (here.bulk, here.drained) = (true, false);
                }
                if ahead > AHEAD || here.bulk {
                    self.cancel(place);
                }
            }
            // There was no buffer, or it was taken back: it is asked for anew when somebody reads.
            _ if [libc::ENOBUFS, libc::ECANCELED, libc::EINTR, libc::EAGAIN].contains(&-value) => {
                if here.listed.is_none() && !here.reader.waits {
                    return;
                }
            }
            error => here.end = Some(End::Error(-error)),
        }
        self.tell(place);
    }

    /// A reply was not sent, or not all of it.
    fn not_sent(&mut self, place: u32, value: i32) {
        let here = &mut self.places[place as usize];
        let Some((at, len)) = here.sending.take() else { return };
        match -value {
            code @ 1.. if code != libc::EAGAIN && code != libc::EINTR => {
                here.end = Some(End::Error(code));
                here.writer.wake();
                self.tell(place);
            }
            _ => {
                let sent = usize::try_from(value).unwrap_or(0).min(len);
                here.unsent.extend_from_slice(&self.replies[at + sent..at + len]);
                match here.listed {
                    None => self.wait_until_writable(place),
                    Some(_) => self.tell(place),
                }
            }
        }
    }

    fn writable(&mut self, place: u32) {
        let here = &mut self.places[place as usize];
        here.asked_writable = false;
        if !here.unsent.is_empty() {
            match send(here.fd, &here.unsent) {
                Ok(n) => drop(here.unsent.drain(..n)),
                Err(e) if e.kind() == ErrorKind::WouldBlock => {}
                Err(e) => {
                    here.unsent.clear();
                    here.end = Some(End::Error(e.raw_os_error().unwrap_or(libc::EPIPE)));
                    self.tell(place);
                }
            }
            if !self.places[place as usize].unsent.is_empty() {
                return self.wait_until_writable(place);
            }
            self.places[place as usize].unsent = Vec::new();
        }
        self.places[place as usize].writer.wake();
    }
}

/// How long a turn waits for results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Not at all.
    No,
    /// So long at most.
    For(Duration),
    /// Until there are some.
    Forever,
}
