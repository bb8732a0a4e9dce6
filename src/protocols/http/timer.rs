//! How long a client of HTTP/1.1 may take for a request's head, and be idle before it: what hyper asks of a timer, and cannot tell apart.
//!
//! hyper sets its timer when it begins to wait for a head. From then on a client may be idle for [`IDLE_TIME`]; once the head has begun
//! it must be there within `limits.header_timeout`. The first head of a connection has begun when the connection has.
//!
//! It costs next to nothing unless it fires. To set and to unset one of tokio's timers takes a lock that all threads share, and of
//! hyper's, one for each request, next to none fires: here a connection has a single one of tokio's, which is set again only after it
//! fired. Then the deadline of the day is looked at.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use hyper::rt::{Sleep, Timer};
use parking_lot::Mutex;
use tokio::time::{self, Instant};

/// What a connection may do nothing between two requests. Longer than what proxies keep theirs open for, mostly 60 s: a client that
/// closes first is not surprised by our closing.
const IDLE_TIME: Duration = Duration::from_secs(75);

/// The timer of one connection, whose deadlines follow one after the other.
#[derive(Clone)]
pub(super) struct HeadTimer(Arc<Shared>);

struct Shared {
    opened: Instant,
    header_timeout: Duration,
    /// Bytes that have come over the connection; it may wrap around.
    received: AtomicUsize,
    /// A head has been waited for.
    has_begun: AtomicBool,
    alarm: Mutex<Option<Pin<Box<time::Sleep>>>>,
}

struct Deadline {
    at: Instant,
    /// What had been received before the head that is waited for, until it begins.
    idle_at: Option<usize>,
    shared: Arc<Shared>,
}

impl HeadTimer {
    pub(super) fn new(header_timeout: Duration) -> Self {
        Self(Arc::new(Shared {
            opened: Instant::now(),
            header_timeout,
            received: AtomicUsize::new(0),
            has_begun: AtomicBool::new(false),
            alarm: Mutex::new(None),
        }))
    }

    /// So many bytes have come.
    pub(super) fn received(&self, bytes: usize) {
        self.0.received.fetch_add(bytes, Relaxed);
    }

    /// When the first head, or the preface of HTTP/2, must be there.
    pub(super) fn opening_deadline(&self) -> Instant {
        self.0.opened + self.0.header_timeout
    }
}

/// hyper sets it for heads alone, to end after `header_timeout`: that tells what time it is, and no more is made of it.
impl Timer for HeadTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(self.now() + duration)
    }

    fn sleep_until(&self, deadline: std::time::Instant) -> Pin<Box<dyn Sleep>> {
        let shared = self.0.clone();
        let (at, idle_at) = match shared.has_begun.swap(true, Relaxed) {
            false => (self.opening_deadline(), None),
            true => {
                let idle_until = Instant::from_std(deadline) - shared.header_timeout + IDLE_TIME;
                (idle_until, Some(shared.received.load(Relaxed)))
            }
        };
        Box::pin(Deadline { at, idle_at, shared })
    }

    fn now(&self) -> std::time::Instant {
        Instant::now().into_std() // of the clock that tests may stop
    }
}

impl Sleep for Deadline {}

impl Future for Deadline {
    type Output = ();

    /// hyper asks after all that has come: also when the first bytes of a head have.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Self { at, idle_at, shared } = &mut *self;
        if idle_at.is_some_and(|received| received != shared.received.load(Relaxed)) {
            *idle_at = None;
            *at = Instant::now() + shared.header_timeout;
        }
        let mut alarm = shared.alarm.lock();
        let alarm = alarm.get_or_insert_with(|| Box::pin(time::sleep_until(*at)));
        loop {
            let set_for = alarm.deadline();
            if set_for <= *at {
                ready!(alarm.as_mut().poll(cx));
            }
            if set_for == *at {
                return Poll::Ready(());
            }
            alarm.as_mut().reset(*at);
        }
    }
}

#[cfg(test)]
mod tests;
