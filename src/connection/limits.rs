//! Limits on what the server keeps for its clients: unsent output (`client-output-buffer-limit`), input that is not whole
//! (`client-query-buffer-limit`), and everything together (`maxmemory-clients`).
//!
//! A connection's task writes what its buffers take into its [`Footprint`] when it goes to wait; messages from other
//! threads are counted where they are left. Whoever finds a limit passed ends connections, from whatever thread.
use super::client::{flag, wanted, Client, ClientShared, Watched};
use crate::config::Config;
use crate::observe::clock::now_ms;
use crate::server::Server;
use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::Arc;

/// What a client's buffers take, as its connection's task saw them last.
#[derive(Default)]
pub struct Footprint {
    /// Bytes read and not parsed.
    pub input: AtomicUsize,
    /// Size of the buffer with them.
    pub input_size: AtomicUsize,
    /// Bytes of the arguments of a request that is not whole.
    pub arguments: AtomicUsize,
    /// Bytes of the arguments of queued commands.
    pub queued: AtomicUsize,
    /// Bytes of replies that the socket did not take; messages in the mailbox come on top.
    pub output: AtomicUsize,
    /// Number of buffers that they are in.
    pub output_buffers: AtomicUsize,
    /// Size of these buffers.
    pub output_size: AtomicUsize,
    /// Bytes of lists: watched keys, subscriptions, prefixes.
    pub lists: AtomicUsize,
    /// What is counted of this client in [`MEMORY`], and for which sort.
    counted: AtomicUsize,
    counted_as_replica: AtomicBool,
    /// Above the soft limit for output since, Unix milliseconds; 0 when below.
    soft_since: AtomicI64,
    /// The largest request that came through the input buffer since the last look of [`tend`].
    peak: AtomicUsize,
}

impl Footprint {
    /// So many bytes of the input buffer were executed at once.
    #[inline]
    pub fn executed(&self, bytes: usize) {
        if bytes > self.peak.load(Relaxed) {
            self.peak.store(bytes, Relaxed);
        }
    }

    /// All bytes, those in the mailbox not included.
    pub fn total(&self) -> usize {
        let parts = [&self.input_size, &self.queued, &self.output_size, &self.lists];
        IDLE_COST + parts.iter().map(|n| n.load(Relaxed)).sum::<usize>()
    }
}

/// Bytes that a connection without buffers costs.
pub const IDLE_COST: usize = size_of::<ClientShared>() + size_of::<Client>();

/// Bytes of all clients: replicas apart from the others.
static MEMORY: [AtomicI64; 2] = [AtomicI64::new(0), AtomicI64::new(0)];
/// Clients above the soft limit for output.
static SOFT: AtomicUsize = AtomicUsize::new(0);
/// Hard limits for output, of normal clients and of subscribers; 0 for none.
static HARD: [AtomicU64; 2] = [AtomicU64::new(0), AtomicU64::new(0)];
/// Largest input and output of the last seconds, a slot for each.
static RECENT: [[AtomicUsize; RECENT_SECONDS]; 2] =
    [const { [const { AtomicUsize::new(0) }; RECENT_SECONDS] }; 2];
/// Seconds that [`recent`] looks back.
const RECENT_SECONDS: usize = 8;

/// Below this many bytes limits are not looked at: Redis' own buffers take as much uncounted.
pub const UNLIMITED: usize = 16 * 1024;
/// A smaller `maxmemory-clients` would leave nobody to correct it.
const LEAST_CLIENT_MEMORY: u64 = 128 * 1024;
/// Bytes that a subscription or a prefix costs its client, beside the name, which others share.
const SUBSCRIPTION: usize = 48;
/// Input buffers smaller than this are left alone.
const WORTH_SHRINKING: usize = 32 * 1024;
/// A client without a command for this long needs no input buffer.
const IDLE_MS: i64 = 2000;

/// Bytes of all clients but replicas.
pub fn client_memory() -> u64 {
    MEMORY[0].load(Relaxed).max(0) as u64
}

/// Bytes of all replicas. What they did not read yet must not cost keys: telling them of that would take more.
pub fn replica_memory() -> u64 {
    MEMORY[1].load(Relaxed).max(0) as u64
}

/// The largest input and output buffers of the last seconds.
pub fn recent() -> [usize; 2] {
    RECENT.each_ref().map(|slots| slots.iter().map(|n| n.load(Relaxed)).max().unwrap_or(0))
}

/// Makes `client-output-buffer-limit` effective.
pub fn apply(config: &Config) {
    let limits = config.client_output_buffer_limit();
    HARD[0].store(limits[0].hard_bytes, Relaxed);
    HARD[1].store(limits[2].hard_bytes, Relaxed);
}

/// Bytes of output beyond which a client of this kind is ended.
pub fn hard_limit(client: &ClientShared) -> usize {
    match HARD[usize::from(client.has(flag::PUBSUB))].load(Relaxed) {
        0 => usize::MAX,
        n => (n as usize).max(UNLIMITED),
    }
}

/// Ends a client whose unsent output passes its limit, and says so. Called whenever output is added.
#[inline]
pub fn passes(server: &Server, client: &ClientShared, unsent: usize) -> bool {
    if unsent <= UNLIMITED && client.footprint.soft_since.load(Relaxed) == 0 {
        return false;
    }
    look_at_output(server, client, unsent)
}

/// As [`passes`], for replies that are not yet counted as output.
pub fn passes_with(server: &Server, client: &ClientShared, replies: usize) -> bool {
    passes(server, client, replies + client.footprint.output.load(Relaxed))
}

#[cold]
fn look_at_output(server: &Server, client: &ClientShared, unsent: usize) -> bool {
    // Normal clients, replicas, and those with subscriptions; monitors are normal ones.
    let class = match () {
        () if client.has(flag::REPLICA) => 1,
        () if client.has(flag::PUBSUB) => 2,
        () => 0,
    };
    let limit = server.config.client_output_buffer_limit()[class];
    let since = &client.footprint.soft_since;
    let bytes = unsent as u64;
    let mut over = limit.hard_bytes != 0 && bytes >= limit.hard_bytes;
    if limit.soft_bytes == 0 || bytes < limit.soft_bytes {
        leave_soft(client);
    } else {
        let now = now_ms();
        match since.compare_exchange(0, now, Relaxed, Relaxed) {
            Ok(_) => drop(SOFT.fetch_add(1, Relaxed)),
            Err(then) => over |= now - then > limit.soft_seconds * 1000,
        }
    }
    // Two threads may find that at the same time.
    if over && client.flags.fetch_or(flag::KILLED, Relaxed) & flag::KILLED == 0 {
        crate::log_warning!(
            "Client {} scheduled to be closed ASAP for overcoming of output buffer limits.",
            crate::execute::client::line(client)
        );
        server.stats.output_limit_disconnections.add(1);
        remove(server, client);
    }
    over
}

fn leave_soft(client: &ClientShared) {
    if client.footprint.soft_since.swap(0, Relaxed) != 0 {
        SOFT.fetch_sub(1, Relaxed);
    }
}

/// Ends a connection; from now on nobody finds the client, and what it took does not count.
pub fn remove(server: &Server, client: &ClientShared) {
    client.kill();
    client.mailbox.lock().clear();
    server.clients.lock().remove(&client.id);
    forget(client);
}

/// The client is gone: it does not count any more.
pub fn forget(client: &ClientShared) {
    leave_soft(client);
    let f = &client.footprint;
    let sum = &MEMORY[usize::from(f.counted_as_replica.load(Relaxed))];
    sum.fetch_sub(f.counted.swap(0, Relaxed) as i64, Relaxed);
}

/// Counts what a client takes now, and `mail` bytes in its mailbox.
pub fn count(server: &Server, client: &ClientShared, mail: usize) {
    if client.has(flag::KILLED) {
        return forget(client);
    }
    let f = &client.footprint;
    let replica = client.has(flag::REPLICA);
    if f.counted_as_replica.load(Relaxed) != replica {
        forget(client);
        f.counted_as_replica.store(replica, Relaxed);
    }
    let total = f.total() + mail;
    let before = f.counted.swap(total, Relaxed);
    if before != total {
        MEMORY[usize::from(replica)].fetch_add(total as i64 - before as i64, Relaxed);
    }
    if client.has(flag::KILLED) {
        // Meanwhile.
        forget(client);
    } else if server.config.maxmemory_clients() != 0 {
        evict(server);
    }
}

/// What a connection has queued up for its socket.
#[derive(Clone, Copy, Default)]
pub struct Unsent {
    /// Bytes.
    pub bytes: usize,
    /// Buffers.
    pub buffers: usize,
    /// Size of the buffers.
    pub size: usize,
}

/// Publishes what a client's buffers take, before its connection waits. False when the client has to go.
pub fn publish(server: &Server, client: &Client, unsent: Unsent) -> bool {
    let (session, f) = (&client.session, &client.session.shared.footprint);
    let subscriptions = session
        .subscribed
        .as_ref()
        .map_or(0, |s| s.channels.len() + s.patterns.len() + s.shard_channels.len());
    let prefixes = session.shared.prefixes.load(Relaxed) as usize;
    let lists =
        session.watched.len() * size_of::<Watched>() + (subscriptions + prefixes) * SUBSCRIPTION;
    let (parsed, arguments) = client.parser.progress();
    let size = client.input.capacity();
    let new = [
        client.input.len().saturating_sub(parsed),
        size,
        arguments,
        session.multi.as_ref().map_or(0, |m| m.bytes + m.queue.len() * 64),
        unsent.bytes,
        unsent.buffers,
        unsent.size,
        lists,
    ];
    let old = [
        &f.input,
        &f.input_size,
        &f.arguments,
        &f.queued,
        &f.output,
        &f.output_buffers,
        &f.output_size,
        &f.lists,
    ];
    let mut changed = f.counted.load(Relaxed) == 0;
    for (old, new) in old.iter().zip(new) {
        if old.load(Relaxed) != new {
            old.store(new, Relaxed);
            changed = true;
        }
    }
    if unsent.bytes > UNLIMITED && passes(server, &session.shared, unsent.bytes) {
        return false;
    }
    if changed || server.config.maxmemory_clients() != 0 {
        for (slots, n) in RECENT.iter().zip([size, unsent.bytes]) {
            if n > 0 {
                let second = (now_ms() / 1000) as usize % RECENT_SECONDS;
                slots[second].fetch_max(n, Relaxed);
            }
        }
        count(server, &session.shared, 0);
    }
    !session.shared.has(flag::KILLED)
}

/// Whether a client may have this much input that is not executed. It is ended otherwise.
pub fn input_fits(server: &Server, client: &Client) -> bool {
    let session = &client.session;
    let queued = session.multi.as_ref().map_or(0, |m| m.bytes);
    if client.input.len() + queued <= server.config.client_query_buffer_limit() {
        return true;
    }
    session.shared.footprint.input.store(client.input.len(), Relaxed);
    crate::log_warning!(
        "Closing client that reached max query buffer length: {}",
        crate::execute::client::line(&session.shared)
    );
    server.stats.query_limit_disconnections.add(1);
    remove(server, &session.shared);
    false
}

/// `maxmemory-clients` in bytes; 0 for no limit.
fn eviction_limit(config: &Config) -> u64 {
    let limit = match config.maxmemory_clients() {
        percent @ ..0 => (config.maxmemory() as f64 * (-percent as f64 / 100.0)) as u64,
        bytes => bytes as u64,
    };
    if limit == 0 {
        0
    } else {
        limit.max(LEAST_CLIENT_MEMORY)
    }
}

/// Ends clients, the largest first, until all together keep `maxmemory-clients`. Sizes within a factor of two count as
/// the same, as on Redis.
pub fn evict(server: &Server) {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let limit = eviction_limit(&server.config);
    if limit == 0 || client_memory() < limit {
        return;
    }
    let _guard = ONE_AT_A_TIME.lock();
    if client_memory() < limit {
        return;
    }
    let mut all: Vec<Arc<ClientShared>> = server.clients.lock().values().cloned().collect();
    all.retain(|c| !c.has(flag::NO_EVICT | flag::REPLICA));
    all.sort_by_key(|c| {
        (std::cmp::Reverse(c.footprint.counted.load(Relaxed).checked_ilog2()), c.id)
    });
    for c in all {
        if client_memory() < limit {
            return;
        }
        crate::log_notice!("Evicting client: {}", crate::execute::client::line(&c));
        remove(server, &c);
        server.stats.evicted_clients.add(1);
    }
    if client_memory() >= limit {
        crate::log_warning!("Over client maxmemory after evicting all evictable clients");
    }
}

/// Regular look at all clients, from the cron: soft limits, input buffers that are not needed any more.
pub fn tend(server: &Server, now: i64) {
    let next = ((now / 1000) as usize + 1) % RECENT_SECONDS;
    RECENT.iter().for_each(|slots| slots[next].store(0, Relaxed));
    evict(server);
    // The largest request of a second says more than that of one round of the cron.
    static LOOKED: AtomicI64 = AtomicI64::new(0);
    let second = LOOKED.swap(now / 1000, Relaxed) != now / 1000;
    if second {
        end_idle(server, now);
    }
    let all: Vec<Arc<ClientShared>> = {
        let all = server.clients.lock();
        let soft = SOFT.load(Relaxed) > 0;
        let large = |c: &ClientShared| c.footprint.input_size.load(Relaxed) >= WORTH_SHRINKING;
        let over = |c: &ClientShared| soft && c.footprint.soft_since.load(Relaxed) != 0;
        all.values().filter(|c| large(c) || over(c)).cloned().collect()
    };
    for c in all {
        let f = &c.footprint;
        let mailbox = c.mailbox.lock();
        let unsent = f.output.load(Relaxed) + mailbox.len();
        let idle = now - c.active.load(Relaxed) > IDLE_MS;
        let size = f.input_size.load(Relaxed);
        if size >= WORTH_SHRINKING && (idle || second && f.peak.swap(0, Relaxed) < size / 2) {
            c.ask(&mailbox, wanted::SHRINK);
        }
        drop(mailbox);
        passes(server, &c, unsent);
    }
}

/// Ends clients without a command for longer than `timeout`, except those that wait for something.
fn end_idle(server: &Server, now: i64) {
    let timeout = server.config.timeout() as i64;
    if timeout == 0 {
        return;
    }
    let idle = |c: &ClientShared| {
        (now - c.active.load(Relaxed)) / 1000 > timeout
            && !c.has(flag::BLOCKED | flag::PUBSUB | flag::MONITOR | flag::REPLICA)
    };
    let all: Vec<Arc<ClientShared>> = server.clients.lock().values().cloned().collect();
    for c in all.into_iter().filter(|c| idle(c)) {
        crate::log_verbose!("Closing idle client");
        remove(server, &c);
    }
}

/// Shrinks a client's input buffer to what it needs: everything that arrived, and room for the largest request of late.
pub fn shrink(client: &mut Client) {
    let idle = now_ms() - client.session.shared.active.load(Relaxed) > IDLE_MS;
    if !idle && client.parser.needs() > client.input.len() {
        // It is in use.
        return;
    }
    let peak = client.session.shared.footprint.peak.load(Relaxed);
    let room = if idle { 0 } else { peak.max(UNLIMITED) };
    client.input.shrink_to(room);
}
