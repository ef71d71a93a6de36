//! STEP 1: sockets. Each connection is a task of one serving thread: read, execute, write.
//!
//! A connection's [`client::Client`] (its state and buffers) belongs to its task. For commands on the module path the
//! task hands the whole client to the module thread and gets it back with the replies; consecutive module commands of a
//! pipeline travel together.
pub mod client;
pub mod limits;
pub mod listener;
pub mod mailbox;
pub mod outbox;
pub mod serving;
pub mod uring;

use crate::dispatch::{run_input, Outcome, Side, Turn};
use crate::keyspace::lazy_free::poll_freed;
use crate::observe::clock::now_ms;
use crate::server::Server;
use client::{flag, wanted, Client, Session};
use outbox::Outbox;
use serving::{Accepted, Cached, Start};
use std::future::{poll_fn, Future};
use std::pin::Pin;
use std::sync::atomic::Ordering::{Acquire, Relaxed};
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

/// Bytes read at once. The buffer is shared by all connections of a thread; what is left over moves to the client.
pub const READ_SIZE: usize = 64 * 1024;
/// Pending replies are sent when they reach this size, before further requests are executed.
const FLUSH_AT: usize = 256 * 1024;
/// An input buffer of at least this size stays with its client until it is idle.
const KEEP_INPUT: usize = 32 * 1024;

/// A socket of either kind.
pub trait Socket: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// Whether the task is going to be woken when there is something to read: nothing was there when this was called.
    fn watches(&mut self, cx: &mut Context<'_>) -> bool;

    /// Hands over to the system what was written. True if it has all of it, so that others may write to the socket.
    fn settle(&mut self) -> bool {
        true
    }

    /// Takes the socket out of its thread's event loop, with what was read and nobody has seen; `None` if that does not
    /// let it go.
    fn let_go(self, rest: &mut Vec<u8>) -> Option<Accepted>;
}

impl Socket for TcpStream {
    fn watches(&mut self, cx: &mut Context<'_>) -> bool {
        self.poll_read_ready(cx).is_pending()
    }

    fn let_go(self, _: &mut Vec<u8>) -> Option<Accepted> {
        self.into_std().ok().map(Accepted::Tcp)
    }
}

impl Socket for UnixStream {
    fn watches(&mut self, cx: &mut Context<'_>) -> bool {
        self.poll_read_ready(cx).is_pending()
    }

    fn let_go(self, _: &mut Vec<u8>) -> Option<Accepted> {
        self.into_std().ok().map(Accepted::Unix)
    }
}

enum Event {
    Data(usize),
    Mail,
    Closed,
}

/// Waits for data in `buf` or for something that other threads want. Sends what is left over from before.
async fn wait_event<S: Socket>(
    server: &Server,
    socket: &mut S,
    client: &Client,
    outbox: &mut Outbox,
    buf: &mut [u8],
) -> Event {
    poll_fn(|cx| {
        if client.session.shared.wanted.load(Acquire) != 0 {
            return Poll::Ready(Event::Mail);
        }
        if !outbox.is_empty() {
            if !outbox.drain(cx, server, socket) {
                return Poll::Ready(Event::Closed);
            }
            limits::publish(server, client, outbox.unsent());
        }
        let mut read = ReadBuf::new(buf);
        match Pin::new(&mut *socket).poll_read(cx, &mut read) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(())) if read.filled().is_empty() => Poll::Ready(Event::Closed),
            Poll::Ready(Ok(())) => Poll::Ready(Event::Data(read.filled().len())),
            Poll::Ready(Err(_)) => Poll::Ready(Event::Closed),
        }
    })
    .await
}

/// Waits until what replies say or show survives, as `appendfsync` promises.
async fn safe(server: &Server) {
    if let Some(offset) = server.aof.before_replies(server) {
        server.aof.wait_until_safe(offset).await;
    }
}

/// Sends what the socket takes of all pending replies; the rest waits in `outbox`. False when the peer is gone, or the
/// client has to go.
async fn flush<S: Socket>(
    server: &Server,
    socket: &mut S,
    client: &mut Client,
    outbox: &mut Outbox,
) -> bool {
    client.session.shared.collect(&mut client.out.buf);
    if !client.out.buf.is_empty() {
        safe(server).await;
        let fresh = &mut client.out.buf;
        if !poll_fn(|cx| Poll::Ready(outbox.send(cx, server, socket, fresh))).await {
            return false;
        }
    } else {
        server.aof.write_if_needed(server);
    }
    limits::publish(server, client, outbox.unsent())
}

/// Sends all replies that are left, to the end, for a connection that is to be closed after them.
async fn finish<S: Socket>(
    server: &Server,
    socket: &mut S,
    client: &mut Client,
    outbox: &mut Outbox,
) {
    let shared = client.session.shared.clone();
    if shared.has(flag::KILLED) && !shared.has(flag::LAST_REPLY) {
        return;
    }
    // Whoever gets the last reply finds the client gone.
    shared.put(flag::KILLED, true);
    server.clients.lock().remove(&shared.id);
    shared.collect(&mut client.out.buf);
    safe(server).await;
    outbox.add(&mut client.out.buf);
    poll_fn(|cx| {
        if outbox.drain(cx, server, socket) {
            if !outbox.is_empty() {
                return Poll::Pending;
            }
            return Pin::new(&mut *socket).poll_flush(cx).map(drop);
        }
        Poll::Ready(())
    })
    .await;
}

/// Serves one connection until it ends.
///
/// Not an `async fn`: its future would have room for the arguments twice.
#[expect(clippy::manual_async_fn, reason = "smaller, as said above")]
pub fn serve<S: Socket>(
    server: &'static Server,
    cached: Arc<Cached>,
    mut socket: S,
    start: Box<Start>,
) -> impl Future<Output = ()> + Send {
    async move {
        let (shared, slot) = match &*start {
            Start::New(c) | Start::Back(c) => (c.session.shared.clone(), Arc::default()),
            Start::Away(shared, slot) => (shared.clone(), slot.clone()),
        };
        let mut outbox = Outbox::default();
        poll_fn(|cx| {
            shared.mailbox.lock().waker = Some(cx.waker().clone());
            Poll::Ready(())
        })
        .await;
        let (mut client, mut back) = match *start {
            Start::New(client) => (client, false),
            Start::Back(client) => (client, true),
            Start::Away(..) => {
                let waits = cached.wait_at(server, &shared, &slot, &mut socket, &mut outbox);
                (Box::pin(waits).await, true)
            }
        };
        limits::publish(server, &client, outbox.unsent());
        let moves = 'connection: loop {
            // The thread's buffer is taken for the time of a read and of the commands in it, never across a wait.
            let event = match back {
                true => (Event::Data(0), Vec::new()),
                false => poll_event(server, &mut socket, &mut client, &mut outbox, &cached).await,
            };
            let mut fresh = match event {
                _ if back => None,
                (Event::Closed, _) => break false,
                (Event::Mail, _) => {
                    if shared.wanted.fetch_and(!wanted::SHRINK, Relaxed) & wanted::SHRINK != 0 {
                        limits::shrink(&mut client);
                    }
                    if !flush(server, &mut socket, &mut client, &mut outbox).await {
                        break false;
                    }
                    continue;
                }
                (Event::Data(n), buf) => {
                    server.stats.net_input_bytes.add(n as u64);
                    server.stats.reads.add(1);
                    Some((buf, n))
                }
            };
            let mut now = now_ms();
            if !back {
                shared.active.store(now, Relaxed);
                client.out.buf = cached.take_output();
            }
            loop {
                // A client that comes back from the module thread is where a hand-over ends.
                let outcome = match std::mem::take(&mut back) {
                    true => Outcome::Waiting,
                    false => execute_some(server, &cached, &mut client, &mut fresh, now).await,
                };
                match outcome {
                    Outcome::NeedInput => break,
                    Outcome::Close => {
                        Box::pin(finish(server, &mut socket, &mut client, &mut outbox)).await;
                        break 'connection false;
                    }
                    Outcome::Parked => {
                        // Replies before the parked request must not wait for it. Sending them may use the wake-up up, so
                        // the request is tried again before the connection sleeps.
                        if client.out.buf.is_empty() {
                            slot.parked().await;
                        } else if !flush(server, &mut socket, &mut client, &mut outbox).await {
                            break 'connection false;
                        }
                    }
                    Outcome::HandOver | Outcome::Blocked => {
                        let is_sent = outbox.is_empty() && socket.settle();
                        cached.hand_over(client, &slot, is_sent);
                        let waits =
                            cached.wait_at(server, &shared, &slot, &mut socket, &mut outbox);
                        client = waits.await;
                    }
                    Outcome::Waiting => {}
                    Outcome::GiveBack => unreachable!("a serving thread keeps native requests"),
                }
                if let Some(batch) = client.session.freeing.take() {
                    shared.put(flag::BLOCKED, true);
                    poll_fn(|cx| poll_freed(batch, cx)).await;
                    shared.put(flag::BLOCKED, false);
                }
                if client.session.waiting.is_some() {
                    if !flush(server, &mut socket, &mut client, &mut outbox).await {
                        break 'connection false;
                    }
                    // In a box of its own: the place for it would be there in every connection's task.
                    let wait =
                        cached.wait_for_keys(server, client, &slot, &mut socket, &mut outbox);
                    client = Box::pin(wait).await;
                }
                if client.out.buf.len() >= FLUSH_AT
                    && !flush(server, &mut socket, &mut client, &mut outbox).await
                {
                    break 'connection false;
                }
                if client.session.close || shared.has(flag::KILLED) {
                    Box::pin(finish(server, &mut socket, &mut client, &mut outbox)).await;
                    break 'connection false;
                }
                if fresh.is_none() && client.input.is_empty() {
                    break;
                }
                now = now_ms();
            }
            if !flush(server, &mut socket, &mut client, &mut outbox).await {
                break false;
            }
            cached.give_output(std::mem::take(&mut client.out.buf));
            client.parser.rest();
            if server.queue.attention.wants(&client) && outbox.is_empty() && socket.settle() {
                break true;
            }
        };
        if !moves {
            // Before its descriptor can be another connection's.
            end(server, client);
            return;
        }
        let mut fd = shared.fd.lock();
        let socket = socket.let_go(&mut client.input);
        if socket.is_none() {
            *fd = None;
        }
        drop(fd);
        match socket {
            Some(socket) => {
                server.queue.attention.take_in(server, socket, client, cached.number());
            }
            None => end(server, client),
        }
    }
}

/// Reads into the thread's shared buffer when the client has nothing pending.
async fn poll_event<S: Socket>(
    server: &Server,
    socket: &mut S,
    client: &mut Client,
    outbox: &mut Outbox,
    cached: &Cached,
) -> (Event, Vec<u8>) {
    // The buffer is borrowed per poll: many connections wait at the same time.
    let mut taken = Vec::new();
    let event = poll_fn(|cx| {
        let mut buf = cached.take_input();
        let r = {
            let fut = wait_event(server, socket, client, outbox, &mut buf);
            let mut fut = std::pin::pin!(fut);
            Future::poll(fut.as_mut(), cx)
        };
        match r {
            Poll::Ready(e) => {
                taken = buf;
                Poll::Ready(e)
            }
            Poll::Pending => {
                cached.give_input(buf);
                Poll::Pending
            }
        }
    })
    .await;
    if !matches!(event, Event::Data(_)) {
        cached.give_input(std::mem::take(&mut taken));
    }
    (event, taken)
}

/// Executes what has been read. `fresh` is the thread's buffer with new bytes; afterwards whatever is left of them is in
/// `client.input`.
async fn execute_some(
    server: &'static Server,
    cached: &Cached,
    client: &mut Client,
    fresh: &mut Option<(Vec<u8>, usize)>,
    now: i64,
) -> Outcome {
    poll_fn(|cx| {
        let entered = cached.enter(server);
        let side = Side::Serving(cx.waker());
        let table = entered.table();
        let outcome = match fresh.take() {
            Some((buf, n)) if client.input.is_empty() => {
                let Turn { done, outcome, .. } =
                    run_input(server, table, client, &buf[..n], side, now);
                if done < n {
                    client.keep(&buf[done..n], outcome == Outcome::NeedInput);
                }
                cached.give_input(buf);
                outcome
            }
            other => {
                if let Some((buf, n)) = other {
                    client.input.extend_from_slice(&buf[..n]);
                    cached.give_input(buf);
                    if !limits::input_fits(server, client) {
                        return Poll::Ready(Outcome::Close);
                    }
                }
                let input = std::mem::take(&mut client.input);
                let Turn { done, outcome, .. } =
                    run_input(server, table, client, &input, side, now);
                client.input = input;
                client.consume(done);
                if outcome == Outcome::NeedInput {
                    client.make_room();
                }
                outcome
            }
        };
        server.tracking.broadcast(server);
        Poll::Ready(outcome)
    })
    .await
}

/// Cleans up behind a connection.
fn end(server: &'static Server, mut client: Box<Client>) {
    let shared = client.session.shared.clone();
    if let Some(w) = client.session.waiting.take() {
        w.waiter.leave(server);
    }
    shared.put(flag::KILLED, true);
    *shared.fd.lock() = None;
    server.connections.fetch_sub(1, Relaxed);
    {
        let mut mailbox = shared.mailbox.lock();
        *mailbox = Default::default();
    }
    server.clients.lock().remove(&shared.id);
    server.tracking.disable(&shared);
    limits::forget(&shared);
    server.monitors.remove(&shared);
    crate::execute::replication::client_ended(server, &shared);
    crate::execute::pubsub::unsubscribe_all(server, &mut client.session);
    crate::execute::transaction::unwatch(server, &mut client.session);
    crate::module::auth::disconnected(server, &shared);
    crate::module::event::client_disconnected(server, &shared);
}

impl Client {
    /// A client that has just connected.
    pub fn new(session: Session) -> Box<Client> {
        Box::new(Client {
            session,
            parser: Default::default(),
            input: Vec::new(),
            out: Default::default(),
        })
    }

    /// Keeps bytes that are not executed; `partial` when a request in them is not whole.
    fn keep(&mut self, bytes: &[u8], partial: bool) {
        if partial {
            self.make_room();
        }
        self.input.extend_from_slice(bytes);
    }

    /// The input gets the room that the request in it needs, if that is known: it may be long, and would else be moved
    /// again and again as it grows.
    pub fn make_room(&mut self) {
        let more = self.parser.needs().saturating_sub(self.input.len());
        self.input.reserve_exact(more);
    }

    /// Drops the first `done` bytes of the input. An empty input holds no memory, except that of a client with large
    /// requests, which keeps it while they come.
    pub fn consume(&mut self, done: usize) {
        self.session.shared.footprint.executed(done);
        if done == self.input.len() {
            if self.input.capacity() < KEEP_INPUT {
                self.input = Vec::new();
            } else {
                self.input.clear();
            }
        } else if done > 0 {
            self.input.drain(..done);
        }
    }
}
#[cfg(test)]
mod tests {
    use super::*;

    /// The parts of an idle connection fit the allocator's classes that they were trimmed to: the next are 64 to 128 bytes
    /// more for each client.
    #[test]
    fn an_idle_connection_is_small() {
        fn of<F: Future, A, B, C, D>(_: fn(A, B, C, D) -> F) -> usize {
            size_of::<F>()
        }
        // The event loop adds 104 bytes and makes whole cache lines of the sum.
        assert!(of(serve::<tokio::net::TcpStream>) <= 512 - 104);
        assert!(size_of::<Client>() <= 448);
        // With the two counters of an `Arc`.
        assert!(size_of::<client::ClientShared>() <= 384 - 16);
    }
}
