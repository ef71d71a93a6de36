//! STEP 1: sockets. Each connection is a task of one serving thread: read, execute, write.
//!
//! A connection's [`client::Client`] (its state and buffers) belongs to its task. For commands on the module path the
//! task hands the whole client to the module thread and gets it back with the replies; consecutive module commands of a
//! pipeline travel together.
pub mod client;
pub mod listener;
pub mod serving;

use crate::dispatch::{run_input, Outcome, Side};
use crate::observe::clock::now_ms;
use crate::server::Server;
use client::{flag, Client, Session};
use serving::{Cached, Slot};
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::Arc;
use std::task::Poll;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes read at once. The buffer is shared by all connections of a thread; what is left over moves to the client.
pub const READ_SIZE: usize = 64 * 1024;
/// Pending replies are sent when they reach this size, before further requests are executed.
const FLUSH_AT: usize = 256 * 1024;

/// A socket of either kind.
pub trait Socket: AsyncRead + AsyncWrite + Unpin + Send + 'static {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send + 'static> Socket for T {}

enum Event {
    Data(usize),
    Mail,
    Closed,
}

/// Waits for data in `buf` or for push messages from other threads.
async fn wait_event<S: Socket>(socket: &mut S, client: &Client, buf: &mut [u8]) -> Event {
    poll_fn(|cx| {
        let shared = &client.session.shared;
        if shared.has(flag::PUBSUB | flag::MONITOR | flag::REPLICA) {
            let mut mail = shared.mailbox.lock();
            if !mail.bytes.is_empty() {
                return Poll::Ready(Event::Mail);
            }
            mail.waker = Some(cx.waker().clone());
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

/// Sends all pending replies. False when the peer is gone.
async fn flush<S: Socket>(server: &Server, socket: &mut S, client: &mut Client) -> bool {
    {
        let shared = &client.session.shared;
        if shared.has(flag::PUBSUB | flag::MONITOR | flag::REPLICA) {
            let mut mail = shared.mailbox.lock();
            client.out.buf.append(&mut mail.bytes);
        }
    }
    if client.out.buf.is_empty() {
        server.aof.write_if_needed(server);
        return true;
    }
    // What a reply says or shows must survive as `appendfsync` promises.
    if let Some(offset) = server.aof.before_replies(server) {
        server.aof.wait_until_safe(offset).await;
    }
    let mut sent = 0;
    while sent < client.out.buf.len() {
        let buf = &client.out.buf[sent..];
        match poll_fn(|cx| Pin::new(&mut *socket).poll_write(cx, buf)).await {
            Ok(n) if n > 0 => sent += n,
            _ => return false,
        }
        server.stats.writes.add(1);
    }
    server.stats.net_output_bytes.add(sent as u64);
    client.out.buf.clear();
    true
}

/// Serves one connection until it ends.
pub async fn serve<S: Socket>(
    server: &'static Server,
    cached: Arc<Cached>,
    mut socket: S,
    client: Box<Client>,
) {
    let shared = client.session.shared.clone();
    let slot = Arc::new(Slot::default());
    let mut client = client;
    'connection: loop {
        // The thread's buffer is taken for the time of a read and of the commands in it, never across a wait.
        let event = poll_event(&mut socket, &mut client, &cached).await;
        let mut fresh = match event {
            (Event::Closed, _) => break,
            (Event::Mail, _) => {
                if !flush(server, &mut socket, &mut client).await {
                    break;
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
        shared.active.store(now, Relaxed);
        client.out.buf = cached.take_output();
        loop {
            let outcome = execute_some(server, &cached, &mut client, &mut fresh, now).await;
            match outcome {
                Outcome::NeedInput => break,
                Outcome::Close => {
                    flush(server, &mut socket, &mut client).await;
                    break 'connection;
                }
                Outcome::Parked => {
                    // Replies before the parked request must not wait for it. Sending them may use the wake-up up, so
                    // the request is tried again before the connection sleeps.
                    if client.out.buf.is_empty() {
                        slot.parked().await;
                    } else if !flush(server, &mut socket, &mut client).await {
                        break 'connection;
                    }
                }
                Outcome::HandOver | Outcome::Blocked => {
                    client = cached.hand_over(server, client, &slot, &mut socket).await;
                }
                Outcome::Waiting => {}
                Outcome::GiveBack => unreachable!("a serving thread keeps native requests"),
            }
            if client.session.waiting.is_some() {
                if !flush(server, &mut socket, &mut client).await {
                    break 'connection;
                }
                client = cached.wait_for_keys(server, client, &slot, &mut socket).await;
            }
            now = now_ms();
            if client.out.buf.len() >= FLUSH_AT && !flush(server, &mut socket, &mut client).await {
                break 'connection;
            }
            if client.session.close || shared.has(flag::KILLED) {
                flush(server, &mut socket, &mut client).await;
                break 'connection;
            }
        }
        if !flush(server, &mut socket, &mut client).await {
            break;
        }
        cached.give_output(std::mem::take(&mut client.out.buf));
        client.parser.rest();
    }
    end(server, client);
}

/// Reads into the thread's shared buffer when the client has nothing pending.
async fn poll_event<S: Socket>(
    socket: &mut S,
    client: &mut Client,
    cached: &Cached,
) -> (Event, Vec<u8>) {
    // The buffer is borrowed per poll: many connections wait at the same time.
    let mut taken = Vec::new();
    let event = poll_fn(|cx| {
        let mut buf = cached.take_input();
        let r = {
            let fut = wait_event(socket, client, &mut buf);
            let mut fut = std::pin::pin!(fut);
            std::future::Future::poll(fut.as_mut(), cx)
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
                let (done, outcome) = run_input(server, table, client, &buf[..n], side, now);
                client.input.extend_from_slice(&buf[done..n]);
                cached.give_input(buf);
                outcome
            }
            other => {
                if let Some((buf, n)) = other {
                    client.input.extend_from_slice(&buf[..n]);
                    cached.give_input(buf);
                }
                let input = std::mem::take(&mut client.input);
                let (done, outcome) = run_input(server, table, client, &input, side, now);
                client.input = input;
                client.consume(done);
                outcome
            }
        };
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
    *shared.fd.lock() = None;
    server.clients.lock().remove(&shared.id);
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

    /// Drops the first `done` bytes of the input; an empty input holds no memory.
    pub fn consume(&mut self, done: usize) {
        if done == self.input.len() {
            self.input = Vec::new();
        } else if done > 0 {
            self.input.drain(..done);
        }
    }
}
