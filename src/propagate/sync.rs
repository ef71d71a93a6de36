//! Full synchronisations: replicas that need all data get the file of a cut, and what was written since behind it.
//!
//! A replica that asks is noted ([`ask`]) and waits until a cut can be taken: at once, or when the snapshot that runs is
//! over. All that wait then share one cut, and who comes while its file is written joins them. From the cut on the log keeps a replica's part of the stream back
//! ([`super::replica::stage`]); a thread sends the file in pieces, never more at a time than a connection takes, and at its
//! end the log lets go of what it kept. So nobody waits for a replica: neither writers nor other replicas.
//!
//! While a replica waits it gets an empty line each second ([`keep_alive`]), so that it does not take us for dead.
use super::replica::{stage, Replica};
use crate::connection::client::flag;
use crate::observe::clock::now_ms;
use crate::server::Server;
use crate::snapshot::cut::{self, Failure, Order, Purpose};
use crate::snapshot::Format;
use parking_lot::Mutex;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::Arc;
use std::time::Duration;

/// Bytes of the file that are read at once.
const PIECE: usize = 128 << 10;
/// A connection that has this much to send gets no more for now.
const ROOM: usize = 512 << 10;

/// A replica that wants all data.
pub struct Request {
    /// Who.
    pub replica: Arc<Replica>,
    /// It asked with `PSYNC`, so it is told the stream's id and offset.
    pub with_offset: bool,
    /// It wants nothing behind the snapshot.
    pub snapshot_only: bool,
}

/// Requests.
#[derive(Default)]
pub struct Waiting {
    /// Those that wait for a cut.
    waiting: Mutex<Vec<Request>>,
    /// Those whose snapshot is being written.
    served: Mutex<Served>,
}

/// Requests that share a cut; `None` when its file is complete.
type Served = Arc<Mutex<Option<Vec<Request>>>>;

/// Counts files.
static NUMBER: AtomicU64 = AtomicU64::new(0);

/// The file with this number, until it is sent.
fn path(number: u64) -> PathBuf {
    PathBuf::from(format!("temp-sync-{}-{number}.rdb", std::process::id()))
}

/// Notes that a replica wants all data. The calling thread has the module lock.
pub fn ask(server: &'static Server, request: Request) {
    crate::log_notice!("Full resync requested by replica {}", request.replica.client.addr);
    server.stats.sync_full.add(1);
    let Some(request) = join(server, request) else {
        crate::log_notice!("Waiting for end of BGSAVE for SYNC");
        return;
    };
    if !request.snapshot_only {
        server.log.expect_replica(request.replica.clone());
    }
    server.log.waiting.waiting.lock().push(request);
    if cut::running() {
        crate::log_notice!(
            "Can't attach the replica to the current BGSAVE. Waiting for next BGSAVE for SYNC"
        );
    }
    // Behind the command that asks: no module has a key open then.
    server.queue.task(Box::new(move || begin(server)));
}

/// Lets a replica have the snapshot that is being written for others, with what was kept back for one of them. The
/// request comes back if there is none.
fn join(server: &Server, request: Request) -> Option<Request> {
    let served = server.log.waiting.served.lock().clone();
    let mut served = served.lock();
    let requests = match &mut *served {
        Some(requests) if cut::running_for(Purpose::Replicas) => requests,
        _ => return Some(request),
    };
    let shares = |other: &Request| match request.snapshot_only {
        true => true,
        false => !other.snapshot_only && server.log.join_replica(&request.replica, &other.replica),
    };
    let Some(other) = requests.iter().find(|o| shares(o)) else { return Some(request) };
    request.replica.from.store(other.replica.from.load(Relaxed), Relaxed);
    greet(&request, &server.repl_id.lock());
    requests.push(request);
    None
}

/// Tells a replica which stream it gets, and from where.
fn greet(r: &Request, id: &str) {
    if r.with_offset {
        let from = r.replica.from.load(Relaxed);
        r.replica.client.push(format!("+FULLRESYNC {id} {from}\r\n").as_bytes());
    }
}

/// Takes the cut for those who wait, if no other snapshot runs. The calling thread is the module thread, between two
/// units.
pub fn begin(server: &'static Server) {
    if cut::running() {
        return;
    }
    if cut::amid_unit(server) {
        return cut::try_later(server, move || begin(server));
    }
    let mut requests = std::mem::take(&mut *server.log.waiting.waiting.lock());
    requests.retain(|r| !r.replica.client.has(flag::KILLED));
    if requests.is_empty() {
        return;
    }
    crate::log_notice!("Starting BGSAVE for SYNC with target: disk");
    server.persistence.saves.fetch_add(1, Relaxed);
    let requests: Served = Arc::new(Mutex::new(Some(requests)));
    let path = path(NUMBER.fetch_add(1, Relaxed) + 1);
    let at_cut = {
        let requests = requests.clone();
        Box::new(move || {
            for r in requests.lock().iter().flatten() {
                let offset = match r.snapshot_only {
                    true => server.log.with_feed(|f| f.offset()),
                    false => server.log.add_replica(server, &r.replica),
                };
                r.replica.from.store(offset, Relaxed);
                greet(r, &server.repl_id.lock());
            }
            true
        })
    };
    let done = {
        let (requests, path) = (requests.clone(), path.clone());
        Box::new(move |result| {
            let requests = requests.lock().take().unwrap_or_default();
            deliver(server, &requests, &path, result);
        })
    };
    let order = Order { path, format: Format::Rdb, purpose: Purpose::Replicas, at_cut, done };
    if !cut::begin(server, order) {
        // Another one was faster; the cron comes again.
        let requests = requests.lock().take().unwrap_or_default();
        server.log.waiting.waiting.lock().extend(requests);
        return;
    }
    *server.log.waiting.served.lock() = requests;
}

/// The file is complete, or there is none. On the snapshot's thread.
fn deliver(
    server: &'static Server,
    requests: &[Request],
    path: &Path,
    result: Result<(), Failure>,
) {
    let opened = match result {
        Ok(()) => {
            let opened: std::io::Result<Vec<File>> =
                requests.iter().map(|_| File::open(path)).collect();
            opened.map_err(|e| e.to_string())
        }
        Err(Failure::Error(text)) => Err(text),
        Err(Failure::Aborted) => Err("it was called off".into()),
    };
    // Those who have it open go on reading it.
    let _ = std::fs::remove_file(path);
    let files = match opened {
        Ok(files) => files,
        Err(why) => {
            crate::log_warning!("SYNC failed. The snapshot could not be written: {why}");
            return requests.iter().for_each(|r| r.replica.client.kill());
        }
    };
    crate::log_notice!("Background saving terminated with success");
    for (r, file) in requests.iter().zip(files) {
        let (replica, snapshot_only) = (r.replica.clone(), r.snapshot_only);
        let client = replica.client.clone();
        let send = move || send(server, &replica, file, snapshot_only);
        let thread = std::thread::Builder::new().name("replica-send".into());
        if thread.spawn(send).is_err() {
            crate::log_warning!("The system gives us no thread to send a snapshot to a replica");
            client.kill();
        }
    }
}

/// Sends the file, and what the log kept back.
fn send(server: &'static Server, replica: &Replica, mut file: File, snapshot_only: bool) {
    let client = &replica.client;
    replica.stage.store(stage::SENDING, Relaxed);
    let mut piece = vec![0; PIECE];
    let sent = (|| {
        let mut left = file.metadata()?.len();
        client.push(format!("${left}\r\n").as_bytes());
        while left > 0 {
            let most = left.min(PIECE as u64) as usize;
            file.read_exact(&mut piece[..most])?;
            while client.unsent() > ROOM && !client.has(flag::KILLED) {
                std::thread::sleep(Duration::from_millis(1));
            }
            if client.has(flag::KILLED) {
                break;
            }
            client.push(&piece[..most]);
            left -= most as u64;
        }
        std::io::Result::Ok(())
    })();
    if let Err(e) = sent {
        crate::log_warning!("Read error sending DB to replica: {e}");
        return client.kill();
    }
    if client.has(flag::KILLED) {
        return;
    }
    if snapshot_only {
        crate::log_notice!(
            "RDB transfer completed, rdb only replica ({}) should be disconnected asap",
            client.addr
        );
        return;
    }
    server.log.put_online(replica);
    crate::log_notice!("Synchronization with replica {} succeeded", client.addr);
}

/// The regular work, on the module thread between two units: a cut for those who wait, and a sign of life for them.
pub fn cron(server: &'static Server, now: i64) {
    keep_alive(server, now);
    let gone = |r: &Request| r.replica.client.has(flag::KILLED);
    let served = server.log.waiting.served.lock().clone();
    let nobody = served.lock().as_ref().is_some_and(|s| s.iter().all(gone));
    if nobody && cut::running_for(Purpose::Replicas) {
        crate::log_notice!("All replicas of a snapshot are gone: it is called off");
        cut::abort(Purpose::Replicas);
    }
    if !server.log.waiting.waiting.lock().is_empty() {
        begin(server);
    }
}

fn keep_alive(server: &Server, now: i64) {
    static LAST: AtomicI64 = AtomicI64::new(0);
    if now - LAST.load(Relaxed) < 1000 {
        return;
    }
    LAST.store(now, Relaxed);
    let waits = |r: &&Arc<Replica>| r.stage.load(Relaxed) < stage::SENDING;
    let waiting: Vec<_> =
        server.log.with_feed(|f| f.replicas().iter().filter(waits).cloned().collect());
    for r in waiting {
        r.heard.store(now_ms(), Relaxed);
        r.client.push(b"\n");
    }
}

/// Removes what the end of the process would leave behind.
pub fn clean_up() {
    if cut::running_for(Purpose::Replicas) {
        let _ = std::fs::remove_file(path(NUMBER.load(Relaxed)));
    }
}
