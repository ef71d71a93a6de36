//! Runs the tasks of a serving thread over its ring: first everything that can go on, then one call that hands over what
//! they answered and waits for more.
use super::ring::{Ring, Wait};
use parking_lot::Mutex;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::io::{Error, Result};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

/// Rounds of tasks that wake each other, before the ring is looked at again.
const ROUNDS: usize = 8;

/// What other threads reach of an engine.
struct Remote {
    /// Tasks that they have woken.
    woken: Mutex<Vec<Arc<Task>>>,
    any: AtomicBool,
    /// The thread sleeps, or is about to.
    asleep: AtomicBool,
    bell: OwnedFd,
}

impl Remote {
    fn wake(&self, task: Arc<Task>) {
        self.woken.lock().push(task);
        self.any.store(true, SeqCst);
        if self.asleep.swap(false, SeqCst) {
            let one = 1u64;
            // SAFETY: layout: eight bytes for an event counter, as it takes them.
            unsafe { libc::write(self.bell.as_raw_fd(), (&raw const one).cast(), 8) };
        }
    }
}

/// A task, as its wakers know it.
struct Task {
    home: Arc<Remote>,
    number: usize,
    /// It is going to be run anyway.
    queued: AtomicBool,
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.queued.swap(true, SeqCst) {
            return;
        }
        if HERE.get() == Arc::as_ptr(&self.home) {
            RUNNABLE.with_borrow_mut(|tasks| tasks.push_back(self.clone()));
        } else {
            self.home.wake(self.clone());
        }
    }
}

struct Running {
    future: Pin<Box<dyn Future<Output = ()>>>,
    waker: Waker,
}

/// What a thread's tasks run on.
pub struct Engine {
    ring: Ring,
    tasks: Vec<Option<Running>>,
    free: Vec<usize>,
    timers: BTreeMap<(Instant, u64), Waker>,
    timers_made: u64,
    remote: Arc<Remote>,
}

thread_local! {
    static HERE: Cell<*const Remote> = const { Cell::new(std::ptr::null()) };
    static RUNNABLE: RefCell<VecDeque<Arc<Task>>> = const { RefCell::new(VecDeque::new()) };
    static ENGINE: RefCell<Option<Engine>> = const { RefCell::new(None) };
}

fn with<R>(f: impl FnOnce(&mut Engine) -> R) -> R {
    ENGINE.with_borrow_mut(|engine| f(engine.as_mut().expect("a thread with an engine")))
}

/// Calls with the engine of this thread, if it is still there: at a thread's end tasks go with it.
fn try_with(f: impl FnOnce(&mut Engine)) {
    let _ = ENGINE.try_with(|engine| {
        if let Ok(mut engine) = engine.try_borrow_mut() {
            engine.as_mut().map(f);
        }
    });
}

/// Lets go of a place at the ring of this thread.
pub fn leave(place: u32) {
    try_with(|engine| engine.ring.remove(place));
}

/// Calls with the ring of this thread, which has one.
pub fn with_ring<R>(f: impl FnOnce(&mut Ring) -> R) -> R {
    with(|engine| f(&mut engine.ring))
}

/// Whether this thread has an engine.
pub fn is_here() -> bool {
    !HERE.get().is_null()
}

/// Gives the calling thread an engine. Fails where the system has no such rings for us.
pub fn begin() -> Result<()> {
    // SAFETY: layout: a plain system call; the descriptor is ours.
    let bell = unsafe {
        match libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) {
            -1 => return Err(Error::last_os_error()),
            fd => OwnedFd::from_raw_fd(fd),
        }
    };
    let ring = Ring::new(bell.as_raw_fd())?;
    let remote = Arc::new(Remote {
        woken: Mutex::default(),
        any: AtomicBool::new(false),
        asleep: AtomicBool::new(false),
        bell,
    });
    HERE.set(Arc::as_ptr(&remote));
    ENGINE.set(Some(Engine {
        ring,
        tasks: Vec::new(),
        free: Vec::new(),
        timers: BTreeMap::new(),
        timers_made: 0,
        remote,
    }));
    Ok(())
}

/// Runs a future as a task of this thread.
pub fn spawn(future: impl Future<Output = ()> + 'static) {
    let future = Box::pin(future);
    let task = with(|engine| {
        let number = engine.free.pop().unwrap_or_else(|| {
            engine.tasks.push(None);
            engine.tasks.len() - 1
        });
        let queued = AtomicBool::new(true);
        let task = Arc::new(Task { home: engine.remote.clone(), number, queued });
        engine.tasks[number] = Some(Running { future, waker: Waker::from(task.clone()) });
        task
    });
    RUNNABLE.with_borrow_mut(|tasks| tasks.push_back(task));
}

/// Runs the thread's tasks until it is `done`. `before_sleep` is called before the thread sleeps (it may wake a task),
/// and `after_sleep` behind it. If the thread `shares` its core, it lets others run before it sleeps.
pub fn run_until(
    done: impl Fn() -> bool,
    before_sleep: impl Fn(),
    after_sleep: impl Fn(),
    shares: bool,
) {
    let remote = with(|engine| engine.remote.clone());
    loop {
        let mut rounds = 0;
        while rounds < ROUNDS && run_some(&remote) {
            rounds += 1;
        }
        if done() {
            return;
        }
        if rounds == ROUNDS {
            with(|engine| {
                engine.ring.turn(Wait::No);
                engine.fire_timers();
            });
            continue;
        }
        before_sleep();
        if shares && has_none(&remote) {
            with_ring(|ring| ring.turn(Wait::No));
            if has_none(&remote) {
                std::thread::yield_now();
            }
        }
        remote.asleep.store(true, SeqCst);
        with(|engine| {
            let wait = match has_none(&remote) {
                true => engine.time_left(),
                false => Wait::No,
            };
            engine.ring.turn(wait);
            engine.fire_timers();
        });
        remote.asleep.store(false, SeqCst);
        after_sleep();
    }
}

fn has_none(remote: &Remote) -> bool {
    !remote.any.load(SeqCst) && RUNNABLE.with_borrow(VecDeque::is_empty)
}

/// Runs the tasks that can go on, each once. False if there were none.
fn run_some(remote: &Remote) -> bool {
    if remote.any.swap(false, SeqCst) {
        let mut woken = remote.woken.lock();
        RUNNABLE.with_borrow_mut(|tasks| tasks.extend(woken.drain(..)));
    }
    let count = RUNNABLE.with_borrow(VecDeque::len);
    for _ in 0..count {
        let Some(task) = RUNNABLE.with_borrow_mut(VecDeque::pop_front) else { break };
        task.queued.store(false, SeqCst);
        // Its place is empty while it runs, and after its end.
        let Some(mut running) = with(|engine| engine.tasks[task.number].take()) else { continue };
        if !running.waker.data().eq(&Arc::as_ptr(&task).cast()) {
            // The place is another task's by now.
            with(|engine| engine.tasks[task.number] = Some(running));
            continue;
        }
        let mut cx = Context::from_waker(&running.waker);
        // A task that panics ends, and the connection with it; the others go on, as on tokio.
        match catch_unwind(AssertUnwindSafe(|| running.future.as_mut().poll(&mut cx))) {
            Ok(Poll::Pending) => with(|engine| engine.tasks[task.number] = Some(running)),
            Ok(Poll::Ready(())) | Err(_) => {
                drop(running);
                with(|engine| engine.free.push(task.number));
            }
        }
    }
    count > 0
}

impl Engine {
    fn time_left(&self) -> Wait {
        match self.timers.first_key_value() {
            None => Wait::Forever,
            Some(((at, _), _)) => match at.saturating_duration_since(Instant::now()) {
                Duration::ZERO => Wait::No,
                left => Wait::For(left),
            },
        }
    }

    fn fire_timers(&mut self) {
        while let Some(first) = self.timers.first_entry() {
            if first.key().0 > Instant::now() {
                break;
            }
            first.remove().wake();
        }
    }
}

/// Waits on a thread with an engine until a time.
pub struct Sleep {
    at: Instant,
    number: Option<u64>,
}

impl Sleep {
    /// Waits so long from now on.
    pub fn new(time: Duration) -> Sleep {
        Sleep { at: Instant::now() + time, number: None }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if Instant::now() >= self.at {
            return Poll::Ready(());
        }
        let (at, number) = (self.at, self.number);
        self.number = Some(with(|engine| {
            let number = number.unwrap_or_else(|| {
                engine.timers_made += 1;
                engine.timers_made
            });
            engine.timers.insert((at, number), cx.waker().clone());
            number
        }));
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            try_with(|engine| drop(engine.timers.remove(&(self.at, number))));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::rc::Rc;

    /// Begins; a system that forbids io_uring has nothing to test here.
    fn is_possible() -> bool {
        let begun = begin();
        if let Err(e) = &begun {
            eprintln!("not tested, there is no io_uring: {e}");
        }
        begun.is_ok()
    }

    /// Runs tasks until `left` of them have ended.
    fn run(left: &Rc<Cell<usize>>) {
        run_until(|| left.get() == 0, || (), || (), false);
    }

    fn ends(left: &Rc<Cell<usize>>, future: impl Future<Output = ()> + 'static) {
        let left = left.clone();
        spawn(async move {
            future.await;
            left.set(left.get() - 1);
        });
    }

    #[test]
    fn timers_fire_in_their_order() {
        if !is_possible() {
            return;
        }
        let (left, order) = (Rc::new(Cell::new(3)), Rc::new(RefCell::new(Vec::new())));
        for ms in [30, 10, 20] {
            let order = order.clone();
            ends(&left, async move {
                Sleep::new(Duration::from_millis(ms)).await;
                order.borrow_mut().push(ms);
            });
        }
        // One that is given up is forgotten.
        drop(Sleep::new(Duration::from_millis(1)));
        run(&left);
        assert_eq!(*order.borrow(), [10, 20, 30]);
        with(|engine| assert!(engine.timers.is_empty()));
    }

    #[test]
    fn other_threads_wake_a_sleeping_one() {
        if !is_possible() {
            return;
        }
        let left = Rc::new(Cell::new(1));
        let (to, mut from) = tokio::sync::mpsc::unbounded_channel();
        let senders: Vec<_> = (0..4)
            .map(|_| {
                let to = to.clone();
                std::thread::spawn(move || {
                    for i in 0..500 {
                        to.send(i).expect("somebody receives");
                        // Long enough for the other to fall asleep, now and then.
                        std::thread::sleep(Duration::from_micros(i % 90));
                    }
                })
            })
            .collect();
        drop(to);
        ends(&left, async move {
            let mut got = 0;
            while from.recv().await.is_some() {
                got += 1;
            }
            assert_eq!(got, 2000);
        });
        run(&left);
        senders.into_iter().for_each(|sender| sender.join().expect("a sender ends"));
    }

    #[test]
    fn a_task_that_panics_takes_nobody_with_it() {
        if !is_possible() {
            return;
        }
        let left = Rc::new(Cell::new(1));
        spawn(async { panic!("on purpose") });
        ends(&left, Sleep::new(Duration::from_millis(1)));
        run(&left);
        let left = Rc::new(Cell::new(1));
        ends(&left, async {});
        run(&left);
    }
}
