//! Waking many tasks of one thread by waking one.
//!
//! To wake a task of another thread's runtime takes a system call, each time. A thousand readers of one topic would cost a thousand for
//! every event. So each thread that has a runtime to itself has a relay in it, a task that is given the others' wakers and wakes them
//! there, which takes none. Tasks of other runtimes are woken directly.

use std::{
    cell::RefCell,
    future::poll_fn,
    mem,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Poll, Waker},
};

use futures::task::AtomicWaker;
use parking_lot::Mutex;
use tokio::runtime::{Handle, RuntimeFlavor};

/// One thread's relay.
#[derive(Debug, Default)]
pub(super) struct Relay {
    wakers: Mutex<Vec<Waker>>,
    task: AtomicWaker,
    /// Its runtime has ended.
    ended: AtomicBool,
}

thread_local! {
    static HERE: RefCell<Option<Arc<Relay>>> = const { RefCell::new(None) };
}

impl Relay {
    /// This thread's, if its runtime has only this thread.
    pub(super) fn here() -> Option<Arc<Self>> {
        HERE.with_borrow_mut(|here| {
            if here.as_ref().is_none_or(|relay| relay.ended.load(Ordering::Acquire)) {
                *here = Self::start();
            }
            here.clone()
        })
    }

    fn start() -> Option<Arc<Self>> {
        let runtime = Handle::try_current().ok()?;
        if runtime.runtime_flavor() != RuntimeFlavor::CurrentThread {
            return None;
        }
        let relay = Arc::new(Self::default());
        let running = Running(relay.clone());
        runtime.spawn(poll_fn(move |cx| {
            running.0.task.register(cx.waker()); // before the look: what is given in between wakes
            let wakers = mem::take(&mut *running.0.wakers.lock());
            wakers.into_iter().for_each(Waker::wake);
            Poll::<()>::Pending
        }));
        Some(relay)
    }

    /// Takes a task's waker; [`wake`](Self::wake) has it woken.
    pub(super) fn give(&self, waker: Waker) {
        self.wakers.lock().push(waker);
    }

    /// Has all tasks woken whose wakers it was given.
    pub(super) fn wake(&self) {
        self.task.wake();
    }
}

/// Dropped with the runtime.
struct Running(Arc<Relay>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.ended.store(true, Ordering::Release);
    }
}
