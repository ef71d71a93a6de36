//! Freeing large values on a thread of its own, so that who deletes them does not wait.
use super::entry::Entry;
use super::value::ValueRef;
use parking_lot::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{channel, Sender};
use std::sync::OnceLock;
use std::task::{Context, Poll, Waker};

/// Values of more elements than this are worth a hand-over.
const LARGE: usize = 64;

/// Whether an entry's value takes long to free. A module tells that of its values itself.
pub fn is_worth_it(db: usize, e: Entry) -> bool {
    let elements = match e.value() {
        ValueRef::String(_) => return false,
        ValueRef::Module(v) => match crate::module::datatype::free_effort(e.key(), db, v) {
            0 => usize::MAX,
            effort => effort,
        },
        ValueRef::List(v) => v.node_count(),
        ValueRef::Set(v) => v.len(),
        ValueRef::Hash(v) => v.len(),
        ValueRef::Zset(v) => v.len(),
        ValueRef::Stream(v) => v.nodes().len(),
    };
    elements > LARGE
}

/// Frees values of modules later: on the module thread, which is the thread that their code runs on.
pub fn free_by_modules(entries: Vec<Entry>) {
    let count = entries.len() as u64;
    PENDING.fetch_add(count, Relaxed);
    crate::server::Server::get().queue.task(Box::new(move || {
        entries.into_iter().for_each(Entry::free);
        PENDING.fetch_sub(count, Relaxed);
        FREED.fetch_add(count, Relaxed);
    }));
}

static PENDING: AtomicU64 = AtomicU64::new(0);
static FREED: AtomicU64 = AtomicU64::new(0);

/// Values that are waiting to be freed, and values that were (`INFO`).
pub fn figures() -> (u64, u64) {
    (PENDING.load(Relaxed), FREED.load(Relaxed))
}

/// Forgets how many were freed (`CONFIG RESETSTAT`).
pub fn reset() {
    FREED.store(0, Relaxed);
}

/// A batch: how many things there are, and what frees them.
type Batch = (u64, Box<dyn FnOnce() + Send>);

fn free((n, free): Batch) {
    free();
    PENDING.fetch_sub(n, Relaxed);
    FREED.fetch_add(n, Relaxed);
    DONE.lock().finish();
}

/// How many batches were freed, and who waits for one.
#[derive(Default)]
struct Done {
    batches: u64,
    waiting: Vec<(u64, Waker)>,
}

impl Done {
    fn finish(&mut self) {
        self.batches += 1;
        let done = self.batches;
        self.waiting.retain(|(batch, waker)| {
            if *batch <= done {
                waker.wake_by_ref();
            }
            *batch > done
        });
    }
}

static DONE: Mutex<Done> = Mutex::new(Done { batches: 0, waiting: Vec::new() });
static BATCHES: AtomicU64 = AtomicU64::new(0);

/// The number of the batch that was left to be freed last. Batches are freed in their order.
pub fn last_batch() -> u64 {
    BATCHES.load(Relaxed)
}

/// Waits until a batch is freed.
pub fn poll_freed(batch: u64, cx: &mut Context<'_>) -> Poll<()> {
    let mut done = DONE.lock();
    if done.batches >= batch {
        return Poll::Ready(());
    }
    done.waiting.push((batch, cx.waker().clone()));
    Poll::Pending
}

/// Frees entries, which are in no table any more and hold no modules' values, in the background.
pub fn free_later(entries: Vec<Entry>) {
    let n = entries.len() as u64;
    queue(n, Box::new(move || entries.into_iter().for_each(Entry::free)));
}

/// Drops something that counts as `n` things in the background.
pub fn drop_later(n: u64, it: impl Send + 'static) {
    queue(n, Box::new(move || drop(it)));
}

fn queue(n: u64, free_them: Box<dyn FnOnce() + Send>) {
    static QUEUE: OnceLock<Mutex<Sender<Batch>>> = OnceLock::new();
    let queue = QUEUE.get_or_init(|| {
        let (sender, receiver) = channel::<Batch>();
        let body = move || receiver.into_iter().for_each(free);
        // Without the thread the receiver is gone, and what comes back is freed where it came from.
        drop(std::thread::Builder::new().name("lazy-free".into()).spawn(body));
        Mutex::new(sender)
    });
    BATCHES.fetch_add(1, Relaxed);
    PENDING.fetch_add(n, Relaxed);
    let sent = queue.lock().send((n, free_them));
    if let Err(back) = sent {
        free(back.0);
    }
}
