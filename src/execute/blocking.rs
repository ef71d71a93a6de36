//! Commands that wait for keys: `BLPOP` and its like, `XREAD BLOCK`.
//!
//! **Problem.** A native command may not wait while it has latches. And whoever pushes an element owes it to the client
//! that waited longest: on a single-threaded server nobody comes in between.
//!
//! **Rule.** A command that finds nothing registers a [`Waiter`] at each of its keys' shards, still under their latches,
//! so no change can slip in between its look and its registration. Then its connection's task parks the whole client in
//! the waiter ([`Waiter::park`]) and waits: for the client to come back, for the time, for the end of the connection.
//! Whoever changes a key notes that somebody waits for it ([`Tx::modified`]), and at the end of its own command, or
//! transaction, still with its latches or its held keys, runs the waiting commands in its own thread, in the order in
//! which they came ([`serve_native`], [`serve_module`]). It takes the client out of the waiter, lets the usual body of the
//! command run on those keys that are ready, and sends the client home with its reply.
//!
//! A client belongs to whoever took it out of its waiter, so exactly one of them answers: the changer of a key, the
//! time, `CLIENT UNBLOCK`, or the end of the connection. A changer who comes before the client is parked leaves a mark,
//! and the task runs the command again at once.
//!
//! **What a native changer cannot do** (the other list of a `BLMOVE` is busy, a module wants to hear of it), it leaves to
//! the waiting client: that is sent home to run its command again, with the old deadline.
use super::{CommandResult, Tx};
use crate::connection::client::{flag, Client, ClientShared, Session};
use crate::dispatch::plan::Plan;
use crate::dispatch::table::{Command, Path};
use crate::dispatch::{call, settle};
use crate::keyspace::entry::Entry;
use crate::keyspace::shard::{hash_bytes, shard_of, SHARDS};
use crate::keyspace::stream::StreamId;
use crate::keyspace::value::ValueRef;
use crate::lock::held::Access;
use crate::lock::native::{Latches, PlannedKey};
use crate::module::blocked::Parked;
use crate::reply::Reply;
use crate::server::Server;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::Arc;

/// What a waiting command needs to find under one of its keys.
pub enum Needs {
    /// A list.
    List,
    /// A sorted set.
    Zset,
    /// A stream with an entry behind the id that stands here for the key.
    Entries(Vec<StreamId>),
    /// A stream with an entry that is new to this group, or anything else: then the group is gone, which is an error.
    Group(Vec<u8>),
    /// No key: the log on the disk, ours up to the first offset, those of replicas up to the second (`WAITAOF`).
    Disk(u64, u64),
    /// Replicas that have executed the stream up to this offset (`WAIT`).
    Replicas(u64),
}

/// How the arguments of a waiting command are put together again, for some of its keys. It will not wait again, so its
/// timeout does not matter.
pub enum Form {
    /// `name key ... timeout`
    Keys(Vec<u8>),
    /// `name timeout numkeys key ... rest`
    Counted(Vec<u8>, Vec<Vec<u8>>),
    /// `name source destination rest`
    Move(Vec<u8>, Vec<u8>, Vec<Vec<u8>>),
    /// `before STREAMS key ... id ...`
    Streams(Vec<Vec<u8>>, Vec<Vec<u8>>),
}

/// What a command waits for.
pub struct Wait {
    /// Keys, in the order of its arguments.
    pub keys: Vec<Vec<u8>>,
    /// What it needs under them.
    pub needs: Needs,
    /// Its arguments.
    pub form: Form,
    /// Milliseconds; zero waits for ever.
    pub timeout: i64,
    /// Whether its reply where it must not wait is `$-1`, not `*-1`.
    pub null_is_bulk: bool,
}

/// A command that waits, as others see it.
pub struct Waiter {
    wait: Wait,
    db: usize,
    /// Gives up at this time, Unix milliseconds.
    pub deadline: Option<i64>,
    /// A module waits for the reply: only the module path may end the wait.
    pub promised: bool,
    state: Mutex<State>,
}

enum State {
    /// The client is on its way here.
    Arriving,
    /// Likewise, and a key changed meanwhile.
    Again,
    /// The client is here.
    Here(Parked),
    /// Somebody took it.
    Taken,
}

/// The session's part of a wait.
pub struct Waiting {
    /// The part that others see.
    pub waiter: Arc<Waiter>,
    /// The command; the dispatcher puts it in.
    pub command: Option<Arc<Command>>,
    /// Length of the request in the client's input, where it stays until it is answered; likewise.
    pub request_len: usize,
}

/// What a command that runs again keeps from its first time.
pub struct Retry {
    deadline: Option<i64>,
    /// The ids of `XREAD`, with `$` resolved.
    pub ids: Option<Vec<Vec<u8>>>,
}

impl Form {
    fn arguments(&self, keys: &[Vec<u8>], some: &[usize]) -> Vec<Vec<u8>> {
        let keys = some.iter().map(|&i| keys[i].clone());
        let word = |w: &str| w.as_bytes().to_vec();
        match self {
            Form::Keys(name) => [name.clone()].into_iter().chain(keys).chain([word("0")]).collect(),
            Form::Counted(name, rest) => {
                let count = some.len().to_string().into_bytes();
                let head = [name.clone(), word("0"), count];
                head.into_iter().chain(keys).chain(rest.iter().cloned()).collect()
            }
            Form::Move(name, to, rest) => {
                let head = [name.clone()].into_iter().chain(keys).chain([to.clone()]);
                head.chain(rest.iter().cloned()).collect()
            }
            Form::Streams(before, ids) => {
                let head = before.iter().cloned().chain([word("STREAMS")]).chain(keys);
                head.chain(some.iter().map(|&i| ids[i].clone())).collect()
            }
        }
    }
}

impl Waiter {
    /// Whether what is under key number `i` ends the wait.
    fn is_ready(&self, i: usize, entry: Option<Entry>) -> bool {
        let value = entry.as_ref().map(|e| e.value());
        match (&self.wait.needs, value) {
            (Needs::List, Some(ValueRef::List(_))) | (Needs::Zset, Some(ValueRef::Zset(_))) => true,
            (Needs::Entries(after), Some(ValueRef::Stream(s))) => {
                s.last().is_some_and(|top| top.id > after[i])
            }
            (Needs::Group(name), Some(ValueRef::Stream(s))) => match s.group(name) {
                Some(group) => s.last().is_some_and(|top| top.id > group.last_id),
                None => true,
            },
            (Needs::Group(_), _) => true,
            _ => false,
        }
    }

    /// What the command would find under key number `i`; `None` for nothing that it cares about.
    fn look(&self, i: usize, entry: Option<Entry>) -> Option<Found> {
        let ready = self.is_ready(i, entry);
        (ready || entry.is_some()).then_some(Found { key: i, ready })
    }

    /// Leaves the client here until somebody takes it. Gives it back when a key changed already.
    pub fn park(&self, parked: Parked) -> Result<(), Parked> {
        let mut state = self.state.lock();
        match *state {
            State::Arriving => {
                *state = State::Here(parked);
                Ok(())
            }
            _ => {
                *state = State::Taken;
                Err(parked)
            }
        }
    }

    /// Takes the client out. Without one, a client that is about to arrive is told to run its command again.
    pub fn take(&self) -> Option<Parked> {
        let mut state = self.state.lock();
        match std::mem::replace(&mut *state, State::Taken) {
            State::Here(parked) => Some(parked),
            State::Arriving | State::Again => {
                *state = State::Again;
                None
            }
            State::Taken => None,
        }
    }

    /// Whether the client is here.
    pub fn has_client(&self) -> bool {
        matches!(*self.state.lock(), State::Here(_))
    }

    /// Takes the waiter out of its keys' lists.
    pub fn leave(self: &Arc<Self>, server: &Server) {
        for key in &self.wait.keys {
            let shard = &server.keyspace.dbs()[self.db].shards()[shard_of(key)];
            shard.latch.lock();
            // SAFETY: lock: taken on the line above; only this one.
            let data = unsafe { shard.data() };
            if let Some(list) = data.blocked.get_mut(key) {
                let before = ends_without_key(list);
                list.retain(|w| !Arc::ptr_eq(w, self));
                if before && !ends_without_key(list) {
                    server.awaited_nokeys.fetch_sub(1, Relaxed);
                }
                if list.is_empty() {
                    data.blocked.remove(key);
                    server.awaited_keys.fetch_sub(1, Relaxed);
                }
            }
            // SAFETY: lock: taken above.
            unsafe { shard.latch.unlock() };
        }
    }

    /// Answers that the time is over. The caller took the client out.
    pub fn time_out(&self, server: &Server, client: &mut Client) {
        let start = client.out.buf.len();
        match self.wait.needs {
            Needs::Disk(ours, theirs) => {
                super::generic::reply_synced(server, ours, theirs, &mut client.out);
            }
            Needs::Replicas(offset) => {
                client.out.int(super::replication::replicas_at(server, offset) as i64);
            }
            _ => client.out.null_array(),
        }
        crate::dispatch::observe::wait_over(server, &client.session, false);
        answered(server, client, start);
    }
}

/// Whether one of a key's waiters is told too when the key goes.
fn ends_without_key(list: &[Arc<Waiter>]) -> bool {
    list.iter().any(|w| matches!(w.wait.needs, Needs::Group(_)))
}

/// Something under a key of a waiting command.
struct Found {
    key: usize,
    /// It ends the wait.
    ready: bool,
}

/// The keys to run a command on: when one of them is ready, all that have something, since the command may stumble over
/// one of them.
fn keys_to_run(found: &[Found]) -> Option<Vec<usize>> {
    found.iter().any(|f| f.ready).then(|| found.iter().map(|f| f.key).collect())
}

impl Tx<'_> {
    /// Makes the client wait. Where it must not, the reply is that there is nothing.
    pub fn wait_for(&mut self, wait: Wait, out: &mut Reply) -> CommandResult {
        let nobody = self.session.shared.has(flag::INTERNAL) && !self.session.may_wait;
        if self.session.deny_blocking || nobody {
            match wait.null_is_bulk {
                true => out.null(),
                false => out.null_array(),
            }
            return Ok(());
        }
        let deadline = match &self.session.retry {
            Some(retry) => retry.deadline,
            None => (wait.timeout > 0).then(|| wait.timeout.saturating_add(self.now)),
        };
        let state = Mutex::new(State::Arriving);
        let promised = self.session.may_wait;
        let waiter = Arc::new(Waiter { wait, db: self.db(), deadline, promised, state });
        for key in &waiter.wait.keys {
            self.with_shard(self.db(), key, Access::Read, |_, data, _| {
                let list = data.blocked.entry(key.clone()).or_default();
                if list.is_empty() {
                    self.server.awaited_keys.fetch_add(1, Relaxed);
                }
                if !list.iter().any(|w| Arc::ptr_eq(w, &waiter)) {
                    let before = ends_without_key(list);
                    list.push(waiter.clone());
                    if !before && ends_without_key(list) {
                        self.server.awaited_nokeys.fetch_add(1, Relaxed);
                    }
                }
            });
        }
        self.session.waiting = Some(Box::new(Waiting { waiter, command: None, request_len: 0 }));
        Ok(())
    }

    /// Notes that a key changed for which somebody waits.
    #[cold]
    pub(super) fn tell_waiters(&mut self, db: usize, key: &[u8]) {
        if !self.with_shard(db, key, Access::Write, |_, data, _| data.blocked.contains_key(key)) {
            return;
        }
        match self.mode() {
            super::Mode::Native => self.ready.push((db, key.to_vec())),
            super::Mode::Module => {
                // SAFETY: lock: module mode means that this thread has the module lock.
                unsafe { self.server.holder() }.ready.push((db, key.to_vec()));
            }
        }
    }
}

/// Rights may have been taken away while a client waits: then it is told so, and not served.
fn refused(server: &Server, waiter: &Waiter, command: &Command, client: &mut Client) -> bool {
    let Some(user) = client.session.limited_user().cloned() else { return false };
    let all: Vec<usize> = (0..waiter.wait.keys.len()).collect();
    let owned = waiter.wait.form.arguments(&waiter.wait.keys, &all);
    let args: Vec<&[u8]> = owned.iter().map(Vec::as_slice).collect();
    let checked = crate::acl::check::refuse(server, &client.session, &user, command, &args);
    let Err(e) = checked else { return false };
    let start = client.out.buf.len();
    command.stats.rejected();
    client.out.error(e.0.as_bytes());
    crate::dispatch::count_errors(server, &mut client.out);
    answered(server, client, start);
    true
}

/// The request of a waiting client is answered: it is done with, and the wait is over.
fn answered(server: &Server, client: &mut Client, start: usize) {
    settle(server, &mut client.session, &mut client.out, start);
    if let Some(w) = client.session.waiting.take() {
        client.consume(w.request_len);
    }
}

/// Makes a client run its command again.
pub fn run_again(client: &mut Client) {
    if let Some(w) = client.session.waiting.take() {
        let ids = match &w.waiter.wait.form {
            Form::Streams(_, ids) => Some(ids.clone()),
            _ => None,
        };
        client.session.retry = Some(Box::new(Retry { deadline: w.waiter.deadline, ids }));
    }
}

/// Sends clients home whose waits are over.
pub fn send_home(server: &'static Server, clients: Vec<Parked>) {
    for p in clients {
        if p.client.session.promised.is_some() {
            crate::module::api::promise::go_on_later(server, p.client);
            continue;
        }
        crate::module::thread::send_home(server, p.client, p.slot, p.thread);
    }
}

/// Runs waiting commands for keys that a native transaction changed, whose latches the caller still has. The clients go
/// home when it has released them.
pub fn serve_native(
    server: &'static Server,
    ready: Vec<(usize, Vec<u8>)>,
    plan: &Plan,
    now: i64,
) -> Vec<Parked> {
    let mut queue = VecDeque::from(ready);
    let mut home = Vec::new();
    // Served commands may need other shards, for their other keys or the destination of a `BLMOVE`: a latch is tried, not
    // waited for, and kept to the end, since somebody may wait for that key in turn.
    let mut taken = plan.shards.to_vec();
    while let Some((db, key)) = queue.pop_front() {
        let (index, _) = place(db, &key);
        // SAFETY: lock: the transaction that changed the key has its latch, or it is one of those tried below.
        let data = unsafe { server.keyspace.shard(index).data() };
        for waiter in data.blocked.get(&key).cloned().unwrap_or_default() {
            let keys = 0..waiter.wait.keys.len();
            let found: Vec<Found> = keys
                .filter_map(|i| {
                    let key = &waiter.wait.keys[i];
                    let (shard, hash) = place(db, key);
                    if !taken.contains(&shard) {
                        if !server.try_latch(shard) {
                            return None;
                        }
                        taken.push(shard);
                    }
                    if server.conflicts(&PlannedKey { shard, hash, access: Access::Write }) {
                        return None;
                    }
                    // SAFETY: lock: one of the latches that are taken.
                    let entry = unsafe { server.keyspace.shard(shard).data() }.find(hash, key);
                    waiter.look(i, entry.filter(|e| !e.is_expired(now)))
                })
                .collect();
            let Some(some) = keys_to_run(&found) else { continue };
            let Some(mut parked) = waiter.take() else { continue };
            match run_native(server, &waiter, &some, &mut parked.client, &mut taken, now) {
                Some(more) => queue.extend(more),
                None => run_again(&mut parked.client),
            }
            home.push(parked);
        }
    }
    taken.retain(|s| !plan.shards.contains(s));
    taken.into_iter().for_each(|s| server.unlatch(s));
    home
}

fn place(db: usize, key: &[u8]) -> (u32, u64) {
    ((db * SHARDS + shard_of(key)) as u32, hash_bytes(key))
}

/// Runs a waiting command on some of its keys, whose latches are taken. Returns the keys that became ready by that;
/// `None` when it cannot be run here.
fn run_native(
    server: &'static Server,
    waiter: &Waiter,
    some: &[usize],
    client: &mut Client,
    taken: &mut Vec<u32>,
    now: i64,
) -> Option<Vec<(usize, Vec<u8>)>> {
    let command = client.session.waiting.as_ref()?.command.clone()?;
    if waiter.promised {
        return None;
    }
    if refused(server, waiter, &command, client) {
        return Some(Vec::new());
    }
    let path = server.table.load().find(command.name.as_bytes())?.path;
    if path != Path::Native {
        return None;
    }
    let owned = waiter.wait.form.arguments(&waiter.wait.keys, some);
    let args: Vec<&[u8]> = owned.iter().map(Vec::as_slice).collect();
    let mut plan = Plan::default();
    if !plan.add(&command, &args, waiter.db) {
        return None;
    }
    for &shard in &plan.shards {
        if !taken.contains(&shard) {
            if !server.try_latch(shard) {
                return None;
            }
            taken.push(shard);
        }
    }
    if plan.keys.iter().any(|k| server.conflicts(k)) || plan.needs_module_path(server, now) {
        return None;
    }
    let start = client.out.buf.len();
    let deny = std::mem::replace(&mut client.session.deny_blocking, true);
    let mut tx = Tx::native(server, &mut client.session, now, Some(&plan));
    call(&mut tx, &command, &args, &mut client.out);
    let more = std::mem::take(&mut tx.ready);
    client.session.deny_blocking = deny;
    answered(server, client, start);
    Some(more)
}

/// Runs waiting commands for keys that changed in the present unit. The calling thread has the module lock.
///
/// The time is looked at anew: what changed the keys may have taken long, and they may have expired meanwhile.
pub fn serve_module(server: &'static Server) {
    loop {
        // SAFETY: lock: this function's contract.
        let ready = &mut unsafe { server.holder() }.ready;
        if ready.is_empty() {
            return;
        }
        let ready = std::mem::take(ready);
        let now = crate::observe::clock::now_ms();
        for (db, key) in ready {
            serve_key(server, db, &key, now);
        }
    }
}

fn serve_key(server: &'static Server, db: usize, key: &[u8], now: i64) {
    let shard = &server.keyspace.dbs()[db].shards()[shard_of(key)];
    shard.latch.lock();
    // SAFETY: lock: taken on the line above, released below.
    let waiters = unsafe { shard.data() }.blocked.get(key).cloned().unwrap_or_default();
    // SAFETY: lock: taken above.
    unsafe { shard.latch.unlock() };
    for waiter in waiters {
        let mut internal = Session::internal();
        internal.select(db);
        let tx = Tx::module(server, &mut internal, now);
        let keys = waiter.wait.keys.iter().enumerate();
        let found: Vec<Found> =
            keys.filter_map(|(i, k)| waiter.look(i, tx.peek_entry(k))).collect();
        let Some(some) = keys_to_run(&found) else { continue };
        let Some(mut parked) = waiter.take() else { continue };
        let client = &mut *parked.client;
        match client.session.waiting.as_ref().and_then(|w| w.command.clone()) {
            Some(command) if refused(server, &waiter, &command, client) => {}
            Some(command) => {
                let owned = waiter.wait.form.arguments(&waiter.wait.keys, &some);
                let args: Vec<&[u8]> = owned.iter().map(Vec::as_slice).collect();
                let start = client.out.buf.len();
                let deny = std::mem::replace(&mut client.session.deny_blocking, true);
                let targets = client.session.promised.as_ref().map(|p| p.targets);
                let mut tx = Tx::module(server, &mut client.session, now);
                if let Some(targets) = targets {
                    tx.effects.allowed = targets;
                }
                call(&mut tx, &command, &args, &mut client.out);
                if targets.is_none() {
                    crate::dispatch::unit_done(server, &mut client.session, now);
                }
                client.session.deny_blocking = deny;
                answered(server, client, start);
            }
            None => run_again(client),
        }
        if client.session.promised.is_some() {
            // The module hears of it in this same unit.
            crate::module::api::promise::go_on(server, parked.client);
            crate::module::thread::unit_done(server, || now);
            continue;
        }
        crate::module::busy::send_home(server, parked.client, parked.slot, parked.thread);
    }
}

/// Everything in a database may have changed: whoever waits for a key there gets a look at the end of the unit. The
/// calling thread has the module lock.
pub fn all_changed(server: &'static Server, db: usize) {
    if server.awaited_keys.load(Relaxed) == 0 {
        return;
    }
    for shard in server.keyspace.dbs()[db].used_shards() {
        shard.latch.lock();
        // SAFETY: lock: taken on the line above, released below.
        let keys: Vec<Vec<u8>> = unsafe { shard.data() }.blocked.keys().cloned().collect();
        // SAFETY: lock: taken above.
        unsafe { shard.latch.unlock() };
        // SAFETY: lock: this function's contract.
        unsafe { server.holder() }.ready.extend(keys.into_iter().map(|k| (db, k)));
    }
}

/// What a client waits for that waits for no key may have come: it runs its command again.
pub fn look_again(server: &'static Server, waiter: &Arc<Waiter>) {
    if let Some(mut parked) = waiter.take() {
        run_again(&mut parked.client);
        send_home(server, vec![parked]);
    }
}

/// The server becomes a replica: no wait goes on, and the clients' connections end.
pub fn force_all(server: &'static Server) {
    let clients: Vec<_> = server.clients.lock().values().cloned().collect();
    for shared in clients {
        let Some(waiter) = shared.waiter.lock().clone() else { continue };
        let Some(mut parked) = waiter.take() else { continue };
        let client = &mut *parked.client;
        let start = client.out.buf.len();
        client.out.error(crate::module::blocked::FORCED);
        crate::dispatch::count_errors(server, &mut client.out);
        answered(server, client, start);
        client.session.close = true;
        send_home(server, vec![parked]);
    }
}

/// `CLIENT UNBLOCK`: ends a client's wait as if its time were over, or with an error. False when it does not wait.
pub fn unblock(server: &'static Server, shared: &ClientShared, with_error: bool) -> bool {
    let Some(waiter) = shared.waiter.lock().clone() else { return false };
    let Some(mut parked) = waiter.take() else { return false };
    let client = &mut *parked.client;
    if with_error {
        let start = client.out.buf.len();
        client.out.error("UNBLOCKED client unblocked via CLIENT UNBLOCK");
        crate::dispatch::count_errors(server, &mut client.out);
        crate::dispatch::observe::wait_over(server, &client.session, true);
        answered(server, client, start);
    } else {
        waiter.time_out(server, client);
    }
    send_home(server, vec![parked]);
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(form: Form, keys: &[&str], some: &[usize]) -> String {
        let keys: Vec<Vec<u8>> = keys.iter().map(|k| k.as_bytes().to_vec()).collect();
        let args = form.arguments(&keys, some);
        args.iter().map(|a| String::from_utf8_lossy(a).into_owned()).collect::<Vec<_>>().join(" ")
    }

    fn words(text: &str) -> Vec<Vec<u8>> {
        text.split_whitespace().map(|w| w.as_bytes().to_vec()).collect()
    }

    #[test]
    fn arguments_for_some_keys() {
        let name = || b"x".to_vec();
        assert_eq!(line(Form::Keys(name()), &["a", "b"], &[1]), "x b 0");
        assert_eq!(
            line(Form::Counted(name(), words("LEFT COUNT 2")), &["a", "b", "c"], &[0, 2]),
            "x 0 2 a c LEFT COUNT 2"
        );
        assert_eq!(
            line(Form::Move(name(), b"to".to_vec(), words("LEFT RIGHT 0")), &["a"], &[0]),
            "x a to LEFT RIGHT 0"
        );
        assert_eq!(
            line(Form::Streams(words("x COUNT 1"), words("1-1 2-2")), &["a", "b"], &[1]),
            "x COUNT 1 STREAMS b 2-2"
        );
    }

    #[test]
    fn a_change_before_the_client_arrives_is_not_lost() {
        let wait = Wait {
            keys: vec![b"k".to_vec()],
            needs: Needs::List,
            form: Form::Keys(b"blpop".to_vec()),
            timeout: 0,
            null_is_bulk: false,
        };
        let waiter = Waiter {
            wait,
            db: 0,
            deadline: None,
            promised: false,
            state: Mutex::new(State::Arriving),
        };
        assert!(waiter.take().is_none());
        let client = Client::new(Session::internal());
        let parked = Parked { client, slot: Default::default(), thread: 0 };
        assert!(waiter.park(parked).is_err());
        assert!(waiter.take().is_none());
    }
}
