//! Who holds the module lock, for those who must not wait for it: `MODULE LOCKS`, the watchdog, checks.
use crate::module::registry::Module;
use parking_lot::Mutex;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicUsize, Ordering::Relaxed};

/// A text with a place of its own, so that one word says which it is.
pub type Label = &'static &'static str;

/// Number of API calls that a trail remembers.
const TRAIL: usize = 16;

/// The last API calls of a thread. Its thread writes it, anybody may read it. Lives as long as the process.
pub struct Trail {
    names: [AtomicPtr<&'static str>; TRAIL],
    next: AtomicUsize,
}

impl Trail {
    const fn new() -> Trail {
        Trail { names: [const { AtomicPtr::new(null_mut()) }; TRAIL], next: AtomicUsize::new(0) }
    }

    /// Notes a call.
    #[inline]
    pub fn note(&self, name: Label) {
        let i = self.next.load(Relaxed) % TRAIL;
        self.next.store(i + 1, Relaxed);
        self.names[i].store(std::ptr::from_ref(name).cast_mut(), Relaxed);
    }

    /// The calls, the latest first. Allocates nothing.
    pub fn each(&self) -> impl Iterator<Item = &'static str> + '_ {
        let next = self.next.load(Relaxed);
        let at = move |i: usize| (next + 2 * TRAIL - 1 - i) % TRAIL;
        (0..TRAIL).filter_map(move |i| label(self.names[at(i)].load(Relaxed)))
    }

    /// The calls, the latest first.
    pub fn names(&self) -> Vec<&'static str> {
        self.each().collect()
    }
}

fn label(at: *mut &'static str) -> Option<&'static str> {
    // SAFETY: layout: null, or the address of a label, which lives as long as the process.
    unsafe { at.as_ref() }.copied()
}

/// One label for each text, for the life of the process.
pub fn intern(text: &str) -> Label {
    static LABELS: Mutex<BTreeMap<&'static str, Label>> = Mutex::new(BTreeMap::new());
    let mut labels = LABELS.lock();
    if let Some(l) = labels.get(text) {
        return l;
    }
    let text: &'static str = Box::leak(text.to_owned().into_boxed_str());
    let label: Label = Box::leak(Box::new(text));
    labels.insert(text, label);
    label
}

thread_local! {
    static MINE: Cell<Option<&'static Trail>> = const { Cell::new(None) };
    static THREAD: Cell<u32> = const { Cell::new(0) };
}

/// The calling thread's trail.
#[inline]
pub fn trail() -> &'static Trail {
    match MINE.get() {
        Some(t) => t,
        None => first_trail(),
    }
}

#[cold]
fn first_trail() -> &'static Trail {
    let t: &'static Trail = Box::leak(Box::new(Trail::new()));
    MINE.set(Some(t));
    t
}

/// The kernel's id of the calling thread.
#[inline]
pub fn thread_id() -> u32 {
    match THREAD.get() {
        0 => {
            // SAFETY: layout: a plain system call.
            let id = unsafe { libc::gettid() } as u32;
            THREAD.set(id);
            id
        }
        id => id,
    }
}

/// What can be seen of the holder. Written by the holder alone; the words belong together only roughly.
#[derive(Default)]
pub struct Owner {
    thread: AtomicU32,
    trail: AtomicPtr<Trail>,
    module: AtomicPtr<Module>,
    what: AtomicPtr<&'static str>,
}

/// A look at the holder.
pub struct Seen {
    /// Its thread, 0 for none.
    pub thread: u32,
    /// The module whose code it runs.
    pub module: Option<&'static Module>,
    /// The command or callback.
    pub what: Option<&'static str>,
    /// Its API calls; none without a holder.
    pub trail: Option<&'static Trail>,
}

impl Seen {
    /// The holder's last API calls, the latest first.
    pub fn calls(&self) -> Vec<&'static str> {
        self.trail.map_or(Vec::new(), Trail::names)
    }
}

impl Owner {
    /// The calling thread has just taken the lock.
    #[inline]
    pub fn enter(&self) {
        self.thread.store(thread_id(), Relaxed);
        self.trail.store(std::ptr::from_ref(trail()).cast_mut(), Relaxed);
    }

    /// The calling thread is about to release the lock.
    #[inline]
    pub fn leave(&self) {
        self.thread.store(0, Relaxed);
        self.runs(None);
    }

    /// Whether the calling thread is the holder.
    pub fn is_mine(&self) -> bool {
        self.thread.load(Relaxed) == thread_id()
    }

    /// Notes what the holder runs.
    #[inline]
    pub fn runs(&self, now: Option<(&'static Module, Label)>) {
        let module = now.map_or(null_mut(), |n| std::ptr::from_ref(n.0).cast_mut());
        self.module.store(module, Relaxed);
        let what = now.map_or(null_mut(), |n| std::ptr::from_ref(n.1).cast_mut());
        self.what.store(what, Relaxed);
    }

    /// Looks at the holder. Allocates nothing.
    pub fn look(&self) -> Seen {
        let (trail, module) = (self.trail.load(Relaxed), self.module.load(Relaxed));
        // SAFETY: layout: null, or a trail or a module, which are never freed.
        let (trail, module) = unsafe { (trail.as_ref(), module.as_ref()) };
        let thread = self.thread.load(Relaxed);
        let trail = trail.filter(|_| thread != 0);
        Seen { thread, module, what: label(self.what.load(Relaxed)), trail }
    }
}
