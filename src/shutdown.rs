//! How the gateway ends: not ready → `shutdown.delay` → stop accepting → finish what is in flight → commit and close.

use std::{
    collections::HashMap,
    fmt,
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
};

use parking_lot::Mutex;

/// Tells everything that serves clients that the end has begun. To look at it again and again costs next to nothing: it remembers whom
/// it has promised to wake.
pub struct Drain {
    shared: Arc<Shared>,
    /// Under which number it waits, and who is to be woken.
    waits: Option<(u64, Waker)>,
}

/// Begins the end; so does its drop, for nothing else could begin it then.
#[derive(Debug)]
pub struct DrainSwitch(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    begun: AtomicBool,
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    issued: u64,
    wakers: HashMap<u64, Waker>,
}

/// A switch, and what hangs on it.
#[must_use]
pub fn drain() -> (DrainSwitch, Drain) {
    let shared: Arc<Shared> = Arc::default();
    (DrainSwitch(shared.clone()), Drain { shared, waits: None })
}

impl DrainSwitch {
    /// From now on nothing new begins.
    pub fn begin(&self) {
        let mut waiting = self.0.waiting.lock();
        self.0.begun.store(true, Ordering::Release);
        let wakers = std::mem::take(&mut waiting.wakers);
        drop(waiting);
        wakers.into_values().for_each(Waker::wake);
    }
}

impl Drop for DrainSwitch {
    fn drop(&mut self) {
        self.begin();
    }
}

impl Drain {
    /// Whether the end has begun.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.shared.begun.load(Ordering::Acquire)
    }

    /// Waits until the end begins. Cancel-safe.
    pub async fn begun(&mut self) {
        poll_fn(|cx| self.poll_begun(cx)).await;
    }

    /// Ready once the end has begun; until then the task is woken when it does.
    pub fn poll_begun(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.has_begun() {
            return Poll::Ready(());
        }
        if self.waits.as_ref().is_some_and(|(_, waker)| waker.will_wake(cx.waker())) {
            return Poll::Pending;
        }
        let mut waiting = self.shared.waiting.lock();
        if self.has_begun() {
            return Poll::Ready(());
        }
        let number = self.waits.as_ref().map_or(waiting.issued, |(number, _)| *number);
        waiting.issued = waiting.issued.max(number + 1);
        let replaced = waiting.wakers.insert(number, cx.waker().clone());
        drop(waiting);
        drop(replaced); // may end a task that waits itself: not under the lock
        self.waits = Some((number, cx.waker().clone()));
        Poll::Pending
    }
}

impl Clone for Drain {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone(), waits: None }
    }
}

impl Drop for Drain {
    fn drop(&mut self) {
        if let Some((number, _)) = &self.waits {
            let mut waiting = self.shared.waiting.lock();
            let waker = waiting.wakers.remove(number);
            drop(waiting);
            drop(waker); // may end a task that waits itself: not under the lock
        }
    }
}

impl fmt::Debug for Drain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Drain").field(&self.has_begun()).finish()
    }
}

#[cfg(test)]
mod tests;
