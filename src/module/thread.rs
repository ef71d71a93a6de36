//! The module thread: everything that a module sees as "the main thread" runs here, under the module lock.
//!
//! Its queue takes clients with commands for the module path, tasks, and wake-ups; its timers are the modules' timers
//! and the server's cron. Between two jobs it is at a hand-over point: held keys are released, and if a module's own
//! thread waits for the lock, it gets it.
use super::abi;
use super::attend::{self, Attention, Home, Ready};
use super::blocked::Parked;
use super::busy::{self, Kept};
use crate::config::enums::module_attend;
use crate::connection::client::{flag, Client};
use crate::connection::limits;
use crate::connection::serving::Slot;
use crate::dispatch::{ahead, run_input, Outcome, Side, Turn};
use crate::keyspace::table::prefetch;
use crate::observe::clock::{mono_ns, now_ms};
use crate::server::Server;
use parking_lot::Mutex;
use smallvec::SmallVec;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::Arc;
use std::time::Duration;

/// Work for the module thread.
pub enum Job {
    /// A client whose next request takes the module path.
    Client {
        /// The client.
        client: Box<Client>,
        /// Where its connection is.
        home: Home,
        /// The number of its serving thread.
        thread: usize,
        /// The place of the first key that the request names, if it was looked at.
        key: Option<ahead::Place>,
        /// All replies before this request's are sent.
        direct: bool,
    },
    /// Anything else.
    Task(Box<dyn FnOnce() + Send>),
}

/// The queue of the module thread.
#[derive(Default)]
pub struct Queue {
    jobs: Mutex<Vec<Job>>,
    /// What the module thread took and has not begun.
    batch: Mutex<VecDeque<Job>>,
    sleeping: AtomicBool,
    /// Attended clients with replies to be sent.
    pub outgoing: Outgoing,
    /// Where the module thread sleeps: at the sockets that it attends to, and the queue's bell.
    pub attention: Attention,
}

impl Queue {
    /// Adds all jobs, with one wake-up.
    pub fn push_all(&self, new: &mut Vec<Job>) {
        let mut jobs = self.jobs.lock();
        jobs.append(new);
        if self.sleeping.swap(false, Relaxed) {
            drop(jobs);
            self.attention.ring();
        }
    }

    /// Adds a task.
    pub fn task(&self, task: Box<dyn FnOnce() + Send>) {
        self.push_all(&mut vec![Job::Task(task)]);
    }

    fn next(&self) -> Option<Job> {
        self.batch.lock().pop_front()
    }

    /// Has the processor fetch what the next jobs will touch: these are clients that were last used by other processors,
    /// with keys from anywhere. Returns how many jobs that were.
    fn fetch_ahead(&self, server: &Server) -> usize {
        let mut places: SmallVec<[ahead::Place; ahead::MOST]> = SmallVec::new();
        let batch = self.batch.lock();
        let jobs = || batch.iter().take(ahead::MOST);
        if jobs().len() > 1 {
            for job in jobs() {
                let Job::Client { client, key, .. } = job else { continue };
                let at = (&raw const **client).addr();
                (0..size_of::<Client>().div_ceil(64)).for_each(|line| prefetch(at + 64 * line));
                places.extend(*key);
            }
            ahead::fetch_places(server, &places);
        }
        jobs().len()
    }

    /// Keeps everybody out of the queue while the guard lives: for a fork.
    pub fn freeze(&self) -> impl Drop + '_ {
        self.jobs.lock()
    }

    /// Clients of attended connections that wait for their turn.
    pub fn take_attended(&self) -> Vec<(u32, Box<Client>)> {
        let mut taken = Vec::new();
        let mut batch = self.batch.lock();
        for job in std::mem::take(&mut *batch) {
            match job {
                Job::Client { client, home: Home::Attended(place), .. } => {
                    taken.push((place, client));
                }
                other => batch.push_back(other),
            }
        }
        taken
    }

    /// Takes all jobs; sleeps until there are some, a socket can be read, or the time is over. If `patient`, it lets
    /// others run once before it sleeps, as serving threads do: on a busy machine they bring more.
    fn take(&self, into: &mut Vec<Job>, ready: &mut Ready, timeout: Duration, patient: bool) {
        let mut jobs = self.jobs.lock();
        let patient = patient && !self.attention.has_ring();
        if patient && jobs.is_empty() && !timeout.is_zero() {
            drop(jobs);
            std::thread::yield_now();
            jobs = self.jobs.lock();
        }
        let sleeps = jobs.is_empty() && !timeout.is_zero();
        if sleeps {
            self.sleeping.store(true, Relaxed);
        }
        drop(jobs);
        self.attention.wait(ready, if sleeps { timeout } else { Duration::ZERO });
        let mut jobs = self.jobs.lock();
        self.sleeping.store(false, Relaxed);
        std::mem::swap(&mut *jobs, into);
    }

    /// Whether nothing new has come.
    fn is_empty(&self) -> bool {
        self.jobs.lock().is_empty()
    }
}

/// Attended clients with replies to be sent. The module thread sends them when it has nothing else to do; while it is busy,
/// a serving thread begins.
#[derive(Default)]
pub struct Outgoing {
    clients: Mutex<VecDeque<(u32, Box<Client>)>>,
    /// The serving thread that was asked last.
    asked: AtomicUsize,
    /// It has not looked yet, or has not found the end yet.
    helped: AtomicBool,
}

/// So many make it worth to wake a serving thread.
const WORTH_A_WAKE: usize = 16;

impl Outgoing {
    fn push(&self, server: &Server, place: u32, client: Box<Client>, helps: bool) {
        let waiting = {
            let mut clients = self.clients.lock();
            clients.push_back((place, client));
            clients.len()
        };
        if helps && waiting >= WORTH_A_WAKE && !self.helped.swap(true, Relaxed) {
            let threads = server.serving.get().map_or(&[][..], |s| s);
            if let Some(t) = threads.get(self.asked.fetch_add(1, Relaxed) % threads.len().max(1)) {
                t.send_for_module_thread();
            }
        }
    }

    fn next(&self) -> Option<(u32, Box<Client>)> {
        self.clients.lock().pop_front()
    }

    /// Sends for the module thread, on another.
    pub fn help(&self, server: &Server) {
        while let Some((place, client)) = self.next() {
            answer(server, place, client, None);
        }
        self.helped.store(false, Relaxed);
    }
}

/// Replies go back to the serving threads when this much time has passed since they last did.
const RETURN_EVERY_NS: u64 = 100_000;
/// The same while so many clients wait for this thread: their replies are far off, and waking the serving threads costs
/// them more.
const RETURN_EVERY_BUSY_NS: u64 = 500_000;
const MANY_CLIENTS: usize = 8;

/// How much of its time the module thread is asleep.
struct Leisure {
    since: u64,
    asleep: u64,
}

impl Leisure {
    /// Looked at over so long a time.
    const SPAN_NS: u64 = 5_000_000;

    /// The thread slept from `from` to `to`. Tells, when enough time is over, whether it has time for more.
    fn slept(&mut self, from: u64, to: u64) -> Option<bool> {
        self.asleep += to - from;
        let span = to - self.since;
        if span < Leisure::SPAN_NS {
            return None;
        }
        let plenty = self.asleep * 4 > span;
        *self = Leisure { since: to, asleep: 0 };
        Some(plenty)
    }
}

/// A client on its way back.
struct Return {
    slot: Arc<Slot>,
    client: Box<Client>,
    /// Its replies may be sent from here.
    direct: bool,
}

/// Clients on their way back, by serving thread.
struct Returns {
    by_thread: Vec<Vec<Return>>,
    last: u64,
    waiting: bool,
    /// Clients send several requests at once: there is enough to do for each wake-up.
    pipelines: bool,
    /// The module thread has no time left.
    busy: bool,
    /// What a request of the last pipelines took on average, in nanoseconds.
    pace: u64,
}

/// So many requests of a client at once are a pipeline.
const PIPELINE: u32 = 4;
/// Replies up to this size are sent from the module thread.
const DIRECT_MOST: usize = 4096;

impl Returns {
    fn new(server: &Server) -> Returns {
        let threads = server.serving.get().map_or(1, Vec::len);
        let by_thread = (0..threads).map(|_| Vec::new()).collect();
        Returns {
            by_thread,
            last: mono_ns(),
            waiting: false,
            pipelines: false,
            busy: false,
            pace: 0,
        }
    }

    /// Nothing else is to be done: sends replies right from here, which saves waking the serving threads for it. What
    /// cannot be sent so goes back.
    fn answer(&mut self, server: &Server, ready: &mut Ready) {
        if !self.waiting {
            return;
        }
        for clients in &mut self.by_thread {
            let mut left = Vec::new();
            for mut r in clients.drain(..) {
                if !r.direct || !send_replies(server, &mut r.client, DIRECT_MOST) {
                    left.push(r);
                    continue;
                }
                if r.client.out.buf.capacity() > attend::KEEP_OUTPUT {
                    r.client.out.buf = Vec::new();
                }
                r.slot.put_answered(r.client);
            }
            *clients = left;
        }
        self.send(server, ready);
    }

    /// Sends in the middle of a round.
    fn send_now(&mut self, server: &Server, ready: &mut Ready) {
        self.send(server, ready);
        server.queue.attention.send_now();
    }

    /// Sends what there is; some of it goes with the next wait for the sockets.
    fn send(&mut self, server: &Server, ready: &mut Ready) {
        if !self.waiting {
            return;
        }
        while let Some((place, client)) = server.queue.outgoing.next() {
            answer(server, place, client, Some(ready));
        }
        for (t, clients) in server.serving.get().into_iter().flatten().zip(&mut self.by_thread) {
            if !clients.is_empty() {
                t.give_back(clients.drain(..).map(|r| (r.slot, r.client)));
            }
        }
        self.waiting = false;
        self.last = mono_ns();
    }
}

/// Sends an attended client its replies; what is more than that is its serving thread's.
fn answer(server: &Server, place: u32, mut client: Box<Client>, ready: Option<&mut Ready>) {
    let sent = client.out.buf.is_empty()
        || (ready.is_some() && queue_replies(server, place, &mut client))
        || send_replies(server, &mut client, usize::MAX);
    if sent {
        attend::replied(&mut client, ready);
    }
    let stays =
        sent && (client.input.is_empty() || limits::publish(server, &client, Default::default()));
    let going = if stays { server.queue.attention.rest(place, client) } else { Some(client) };
    if let Some(client) = going {
        server.queue.attention.send_home(server, place, client);
    }
}

/// Whether there is nothing more to be done for a client than to send what it is owed.
fn only_replies(server: &Server, client: &Client) -> bool {
    let shared = &client.session.shared;
    !(client.session.close
        || client.session.waiting.is_some()
        || client.session.freeing.is_some()
        || shared.wanted.load(Relaxed) != 0
        || shared.has(flag::KILLED | flag::REPLICA | flag::MASTER | flag::LAST_REPLY)
        || server.aof.before_replies(server).is_some())
}

/// Has all that an attended client is owed sent with the next wait for the sockets, if that is possible.
fn queue_replies(server: &Server, place: u32, client: &mut Client) -> bool {
    let queued = only_replies(server, client)
        && server.queue.attention.queue_reply(server, place, &client.out.buf);
    if queued {
        client.out.buf.clear();
    }
    queued
}

/// Sends all that a client is owed. False when there is more to do for it than that, or its socket did not take all.
fn send_replies(server: &Server, client: &mut Client, most: usize) -> bool {
    let out = &client.out.buf;
    if out.is_empty() || out.len() > most || !only_replies(server, client) {
        return false;
    }
    let (shared, out) = (&client.session.shared, &mut client.out.buf);
    let fd = shared.fd.lock();
    let Some(fd) = *fd else { return false };
    let how = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: layout: the descriptor is open while it stands under the lock; the buffer lives here.
    let sent = unsafe { libc::send(fd, out.as_ptr().cast(), out.len(), how) };
    // An error shows again on the serving thread.
    let sent = usize::try_from(sent).unwrap_or(0);
    if sent > 0 {
        server.stats.writes.add(1);
        server.stats.net_output_bytes.add(sent as u64);
        out.drain(..sent);
    }
    out.is_empty()
}

/// The body of the module thread; ends when the server shuts down.
pub fn run(server: &'static Server) {
    let mut returns = Returns::new(server);
    let mut ready = Ready::default();
    server.queue.attention.begin(server);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    // While they wait for it, serving threads could not do anything for it.
    let scarce = cores < returns.by_thread.len() + 2;
    let mut leisure = Leisure { since: mono_ns(), asleep: 0 };
    let mut has_time = true;
    let mut jobs = Vec::new();
    let mut now = now_ms();
    let mut next_cron = now;
    // SAFETY: layout: a plain system call.
    server.module_thread.store(unsafe { libc::gettid() } as usize, Relaxed);
    loop {
        let mut wait = (next_cron - now).max(0);
        let due = [
            server.modules.timers.next_due(),
            super::blocked::next_due(),
            super::api::promise::next_due(),
        ];
        for at in due.into_iter().flatten() {
            wait = wait.min((at - now).max(0));
        }
        let before = mono_ns();
        let wait = Duration::from_millis(wait as u64);
        server.queue.take(&mut jobs, &mut ready, wait, !returns.pipelines);
        has_time = leisure.slept(before, mono_ns()).unwrap_or(has_time);
        returns.busy = !has_time;
        let how = match server.config.module_exclusive() {
            true => module_attend::NO,
            false => server.config.module_attend(),
        };
        server.queue.attention.open(attends(how, scarce, has_time));
        server.queue.attention.read(server, &mut ready, now, |job| jobs.push(job));
        server.module_lock.lock();
        super::event::loop_event(abi::SUBEVENT_EVENTLOOP_AFTER_SLEEP);
        server.queue.batch.lock().extend(jobs.drain(..));
        let mut fetched = 0;
        loop {
            if fetched == 0 {
                fetched = server.queue.fetch_ahead(server);
            }
            fetched = fetched.saturating_sub(1);
            let Some(job) = server.queue.next() else { break };
            match job {
                Job::Task(task) => task(),
                Job::Client { client, home, thread, direct, .. } => {
                    run_client(server, &mut returns, &mut ready, (client, home, direct), thread);
                }
            }
            end_unit(server);
            if returns.waiting {
                let every = match server.queue.batch.lock().len() >= MANY_CLIENTS {
                    true => RETURN_EVERY_BUSY_NS,
                    false => RETURN_EVERY_NS,
                };
                if mono_ns() - returns.last > every {
                    returns.send_now(server, &mut ready);
                }
            }
            if server.module_lock.has_waiters() {
                returns.send_now(server, &mut ready);
                server.module_lock.unlock();
                server.module_lock.lock();
            }
        }
        server.modules.timers.run_due(server);
        now = now_ms();
        super::blocked::run_due(server, now);
        super::api::promise::run_due(server, now);
        if now >= next_cron {
            crate::module::cron::run(server, now);
            end_unit(server);
            now = now_ms();
            next_cron = now + 1000 / server.config.hz().clamp(1, 500) as i64;
        }
        super::event::loop_event(abi::SUBEVENT_EVENTLOOP_BEFORE_SLEEP);
        server.aof.write_if_needed(server);
        server.module_lock.unlock();
        match has_time && server.queue.is_empty() {
            true => returns.answer(server, &mut ready),
            false => returns.send(server, &mut ready),
        }
    }
}

/// Whether the module thread attends to connections, as `module-attend` says: if not, serving threads do it for it.
fn attends(how: i64, cores_are_scarce: bool, has_time: bool) -> bool {
    match how {
        module_attend::NO => false,
        module_attend::YES => true,
        module_attend::IDLE => has_time,
        _ => cores_are_scarce || has_time,
    }
}

/// Whether this is the module thread.
pub fn is_current(server: &Server) -> bool {
    // SAFETY: layout: a plain system call.
    let me = unsafe { libc::gettid() } as usize;
    server.module_thread.load(Relaxed) == me
}

/// Inside of a module's job that yields: runs the requests of clients that have come meanwhile; everything else waits
/// for the end of the job. On the module thread, with the module lock.
pub fn run_waiting_clients(server: &'static Server) {
    let (mut returns, mut ready) = (Returns::new(server), Ready::default());
    let (mut arrived, mut later) = (Vec::new(), VecDeque::new());
    // From their serving threads they come here as everybody.
    server.queue.attention.send_all_home(server);
    std::mem::swap(&mut *server.queue.jobs.lock(), &mut arrived);
    let mut jobs = std::mem::take(&mut *server.queue.batch.lock());
    jobs.extend(arrived);
    for job in jobs {
        match job {
            Job::Client { client, home, thread, direct, .. } => {
                run_client(server, &mut returns, &mut ready, (client, home, direct), thread);
            }
            task => later.push_back(task),
        }
    }
    returns.send(server, &mut ready);
    *server.queue.batch.lock() = later;
}

/// Ends an execution unit: jobs that notification callbacks left, then the held keys.
pub fn end_unit(server: &'static Server) {
    unit_done(server, now_ms);
    crate::execute::blocking::serve_module(server);
    server.release_keys();
    busy::end_of_unit(server);
    server.tracking.broadcast(server);
}

/// What ended as a unit for the effect log: jobs that notification callbacks left still belong to it. Held keys stay held.
/// Returns the log's offset behind the unit, if it left something.
pub fn unit_done(server: &'static Server, now: impl FnOnce() -> i64) -> Option<u64> {
    crate::module::event::run_post_jobs(server);
    let logged = crate::propagate::end_of_unit(server, now);
    super::busy::unit_done(server, logged);
    logged
}

/// Executes the requests of a client that belong here, then sends it home.
fn run_client(
    server: &'static Server,
    returns: &mut Returns,
    ready: &mut Ready,
    (mut client, home, direct): (Box<Client>, Home, bool),
    thread: usize,
) {
    let table = server.table.load_full();
    let input = std::mem::take(&mut client.input);
    // SAFETY: lock: the module thread has the module lock here, as on the line after the commands.
    unsafe { server.holder() }.client = Some(client.session.shared.clone());
    let left = busy::left(server);
    let Turn { done, requests, ns, outcome } =
        run_input(server, &table, &mut client, &input, Side::Module, now_ms());
    returns.pipelines = requests >= PIPELINE;
    if returns.pipelines {
        let pace = (ns / u64::from(requests)).min(4 * attend::HEAVY_NS);
        returns.pace = (returns.pace * 31 + pace) / 32;
    }
    // SAFETY: lock: as above.
    unsafe { server.holder() }.client = None;
    client.input = input;
    if busy::keeps(server, left) {
        match &home {
            Home::Slot(_) => client.consume(done),
            Home::Attended(_) => ready.consumed(&mut client, done),
        }
        return keep_client(server, client, home, thread, outcome == Outcome::Blocked);
    }
    match home {
        Home::Slot(slot) => {
            client.consume(done);
            if outcome == Outcome::Blocked {
                return crate::module::blocked::park_client(server, client, slot, thread);
            }
            let all = outcome == Outcome::NeedInput && client.input.is_empty();
            let direct = direct && all && !returns.pipelines;
            returns.by_thread[thread].push(Return { slot, client, direct });
        }
        Home::Attended(place) => {
            ready.consumed(&mut client, done);
            let busy = returns.busy && returns.pipelines;
            match outcome {
                Outcome::NeedInput if busy && returns.pace > attend::HEAVY_NS => {
                    // What serving threads can do for it is worth the hand-over.
                    client.session.module_streak = -attend::STAY_AWAY;
                    return server.queue.attention.send_home(server, place, client);
                }
                Outcome::NeedInput => {
                    let helps = busy;
                    server.queue.outgoing.push(server, place, client, helps);
                }
                Outcome::Blocked => {
                    return server.queue.attention.send_home_blocked(server, place, client);
                }
                _ => return server.queue.attention.send_home(server, place, client),
            }
        }
    }
    returns.waiting = true;
}

/// Keeps a client, whose commands left something in a unit that yields, until that is over.
fn keep_client(
    server: &'static Server,
    mut client: Box<Client>,
    home: Home,
    thread: usize,
    blocked: bool,
) {
    let (slot, thread, away) = match home {
        Home::Slot(slot) => (slot, thread, None),
        Home::Attended(place) => {
            let left = server.queue.attention.leave_for(server, place, &mut client);
            let Some((slot, thread, away)) = left else { return };
            (slot, thread, Some(away))
        }
    };
    if blocked {
        let replies = std::mem::take(&mut client.out.buf);
        busy::keep(server, Kept::Early(slot.clone(), replies));
        super::blocked::park_client(server, client, slot, thread);
    } else {
        busy::keep(server, Kept::Client(Parked { client, slot, thread }));
    }
    if let Some(away) = away {
        attend::bring(server, thread, away);
    }
}

/// Sends a client home that was blocked.
pub fn send_home(server: &Server, client: Box<Client>, slot: Arc<Slot>, thread: usize) {
    if let Some(t) = server.serving.get().and_then(|s| s.get(thread)) {
        t.give_back([(slot, client)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn with_cores_to_spare_it_attends_while_it_has_time() {
        for (scarce, has_time) in [(false, false), (false, true), (true, false), (true, true)] {
            assert_eq!(attends(module_attend::AUTO, scarce, has_time), scarce || has_time);
            assert_eq!(attends(module_attend::IDLE, scarce, has_time), has_time);
            assert!(attends(module_attend::YES, scarce, has_time));
            assert!(!attends(module_attend::NO, scarce, has_time));
        }
    }

    #[test]
    fn a_quarter_asleep_is_time_enough() {
        let mut leisure = Leisure { since: 0, asleep: 0 };
        assert_eq!(leisure.slept(1_000_000, 2_000_000), None, "too early to tell");
        assert_eq!(leisure.slept(4_600_000, 5_000_000), Some(true), "1.4 of 5 ms");
        assert_eq!(leisure.slept(9_000_000, 10_000_000), Some(false), "the next span: 1 of 5 ms");
    }
}
