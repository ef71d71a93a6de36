//! The closed loop over io_uring, with the server's own event loop: a generator that takes more of the machine than the
//! server measures itself.
use std::cell::RefCell;
use std::future::poll_fn;
use std::io::{Error, ErrorKind, Result};
use std::net::{SocketAddr, TcpStream};
use std::pin::Pin;
use std::rc::Rc;
use std::time::Instant;

use backplane::connection::serving::Accepted;
use backplane::connection::uring::{engine, RingSocket};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::load::{each_reply, Batches, Draw, Limit, Outcome, SILENCE};

/// What the connections of a loop share.
struct Shared {
    draw: Draw,
    outcome: Outcome,
    live: usize,
    failed: Option<Error>,
}

/// Whether this thread has an event loop over io_uring, or can have one.
pub fn is_there() -> bool {
    engine::is_here() || engine::begin().is_ok()
}

/// Runs a closed loop over `conns` connections.
pub fn closed(addr: SocketAddr, conns: usize, load: &Batches, limit: Limit) -> Result<Outcome> {
    let mut sockets = Vec::new();
    for _ in 0..conns {
        let stream = TcpStream::connect(addr)?;
        stream.set_nodelay(true)?;
        sockets.push(RingSocket::new(Accepted::Tcp(stream))?);
    }
    let start = Instant::now();
    let shared = Rc::new(RefCell::new(Shared {
        draw: Draw::new(conns, load.clone(), limit, start),
        outcome: Outcome::default(),
        live: conns,
        failed: None,
    }));
    for socket in sockets {
        let (shared, load) = (shared.clone(), load.clone());
        engine::spawn(async move {
            let end = drive(socket, &shared, &load).await;
            let mut shared = shared.borrow_mut();
            shared.live -= 1;
            if let Err(e) = end {
                shared.failed = Some(e);
            }
        });
    }
    engine::spawn(watch(shared.clone()));
    let done = || {
        let shared = shared.borrow();
        shared.live == 0 || shared.failed.is_some()
    };
    engine::run_until(done, || (), || (), false);
    let mut shared = shared.borrow_mut();
    if let Some(e) = shared.failed.take() {
        return Err(e);
    }
    let mut outcome = std::mem::take(&mut shared.outcome);
    outcome.seconds = start.elapsed().as_secs_f64();
    outcome.micros.sort_unstable();
    Ok(outcome)
}

/// Ends the loop when nothing comes for a minute.
async fn watch(shared: Rc<RefCell<Shared>>) {
    let mut before = 0;
    loop {
        engine::Sleep::new(SILENCE).await;
        let mut shared = shared.borrow_mut();
        if shared.live == 0 {
            return;
        }
        if std::mem::replace(&mut before, shared.outcome.ops) == shared.outcome.ops {
            shared.failed = Some(Error::new(ErrorKind::TimedOut, "no reply for a minute"));
        }
    }
}

/// One connection: sends a batch, waits for all its replies, sends the next.
async fn drive(mut socket: RingSocket, shared: &RefCell<Shared>, load: &Batches) -> Result<()> {
    let mut input = Vec::new();
    let mut chunk = [0; 4096];
    let mut now = Instant::now();
    loop {
        let next = shared.borrow_mut().draw.next(now);
        let Some(batch) = next else { return Ok(()) };
        let (since, batch) = (now, &load.batches[batch]);
        let mut sent = 0;
        while sent < batch.len() {
            let rest = &batch[sent..];
            sent += poll_fn(|cx| Pin::new(&mut socket).poll_write(cx, rest)).await?;
        }
        let mut waiting = load.pipeline;
        while waiting > 0 {
            let n = poll_fn(|cx| {
                let mut read = ReadBuf::new(&mut chunk);
                let polled = Pin::new(&mut socket).poll_read(cx, &mut read);
                polled.map_ok(|()| read.filled().len())
            })
            .await?;
            if n == 0 {
                return Err(Error::new(ErrorKind::UnexpectedEof, "the server hung up"));
            }
            let mut shared = shared.borrow_mut();
            let mut got = |reply: &[u8]| {
                shared.outcome.count(reply);
                waiting = waiting.saturating_sub(1);
            };
            if input.is_empty() {
                let used = each_reply(&chunk[..n], &mut got);
                input.extend_from_slice(&chunk[used..n]);
            } else {
                input.extend_from_slice(&chunk[..n]);
                let used = each_reply(&input, &mut got);
                input.drain(..used);
            }
        }
        now = Instant::now();
        shared.borrow_mut().outcome.micros.push((now - since).as_micros() as u32);
    }
}
