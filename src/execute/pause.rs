//! `CLIENT PAUSE`: commands wait on their connections until the pause is over.
use crate::connection::client::{flag, ClientShared, Session};
use crate::dispatch::table::{flags, Command};
use crate::dispatch::{Side, Step};
use crate::server::Server;
use parking_lot::Mutex;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::sync::Arc;
use std::task::Waker;

/// What waits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Mode {
    /// Nothing.
    Off,
    /// Commands that write.
    Write,
    /// All commands.
    All,
}

/// Whether a command may write, or send something to replicas. A script can say that it does not; what one known by its
/// name says, only the module side can look up.
fn may_write(session: &Session, command: &Command, first: Option<&[u8]>, side: Side<'_>) -> bool {
    let script = |name| match (command.name.as_str(), side) {
        ("eval", _) => crate::script::eval::never_writes(name),
        ("evalsha" | "fcall", Side::Serving(_)) => !session.paused_script,
        (known, Side::Module) => crate::script::never_writes(known, name),
        _ => false,
    };
    command.has(flags::WRITE | flags::MAY_REPLICATE) && !first.is_some_and(script)
}

#[derive(Default)]
struct State {
    until: i64,
    waiting: Vec<(Arc<ClientShared>, Waker)>,
}

/// The pause, if there is one.
#[derive(Default)]
pub struct Pause {
    /// A [`Mode`]; read without the lock on the way of every command.
    mode: AtomicU8,
    state: Mutex<State>,
}

impl Pause {
    /// Whether writes are paused: then no key is expired or evicted either.
    #[inline]
    pub fn active(&self) -> bool {
        self.mode.load(Relaxed) != Mode::Off as u8
    }

    /// Begins a pause, or changes the kind of the running one; it never gets shorter.
    pub fn begin(&self, mode: Mode, until: i64) {
        let mut s = self.state.lock();
        s.until = s.until.max(until);
        self.mode.store(mode as u8, Relaxed);
    }

    /// Ends the pause: whoever waits goes on.
    pub fn end(&self) {
        let mut s = self.state.lock();
        self.mode.store(Mode::Off as u8, Relaxed);
        s.until = 0;
        for (client, waker) in s.waiting.drain(..) {
            client.put(flag::BLOCKED, false);
            waker.wake();
        }
    }

    /// Ends the pause if its time is over.
    pub fn end_if_over(&self, now: i64) {
        if self.active() && self.state.lock().until <= now {
            self.end();
        }
    }

    /// Whether a command of this session has to wait.
    #[inline]
    pub fn applies(
        &self,
        server: &Server,
        session: &Session,
        command: &Command,
        args: &[&[u8]],
        side: Side<'_>,
    ) -> bool {
        if !self.active() || session.shared.has(flag::INTERNAL) {
            return false;
        }
        self.end_if_over(server.clock_ms.load(Relaxed));
        let mode = self.mode.load(Relaxed);
        let queued = || session.multi.iter().flat_map(|m| &m.queue);
        mode == Mode::All as u8
            || mode == Mode::Write as u8
                && (may_write(session, command, args.get(1).copied(), side)
                    || command.name == "exec"
                        && queued().any(|q| {
                            may_write(session, &q.command, q.args.get(1).map(Vec::as_slice), side)
                        }))
    }

    /// Leaves the waker of a connection whose command has to wait.
    pub fn park(&self, server: &Server, session: &Session, waker: &Waker) -> Step {
        let mut s = self.state.lock();
        if !self.active() {
            // It ended meanwhile.
            waker.wake_by_ref();
            return Step::Parked;
        }
        session.shared.put(flag::BLOCKED, true);
        match s.waiting.iter_mut().find(|(c, _)| Arc::ptr_eq(c, &session.shared)) {
            Some((_, w)) => w.clone_from(waker),
            None => s.waiting.push((session.shared.clone(), waker.clone())),
        }
        server.stats.parked.add(1);
        Step::Parked
    }
}
