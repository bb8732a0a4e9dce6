//! A timer for hyper that costs next to nothing unless it fires.
//!
//! hyper bounds the time that a request's head may take with a timer for each request, of which next to none fires; but to set and to
//! unset one takes a lock that all threads share. Here a connection has a single timer of tokio's, which is set again only after it
//! fired: then the deadline of the day is looked at.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use hyper::rt::{Sleep, Timer};
use parking_lot::Mutex;
use tokio::time;

/// The timer of one connection, whose deadlines follow one after the other.
#[derive(Clone, Default)]
pub(super) struct LazyTimer {
    alarm: Arc<Mutex<Option<Pin<Box<time::Sleep>>>>>,
}

struct Deadline {
    at: time::Instant,
    alarm: Arc<Mutex<Option<Pin<Box<time::Sleep>>>>>,
}

impl Timer for LazyTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(Instant::now() + duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        Box::pin(Deadline { at: deadline.into(), alarm: self.alarm.clone() })
    }
}

impl Sleep for Deadline {}

impl Future for Deadline {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut alarm = self.alarm.lock();
        let alarm = alarm.get_or_insert_with(|| Box::pin(time::sleep_until(self.at)));
        loop {
            let set_for = alarm.deadline();
            if set_for <= self.at {
                ready!(alarm.as_mut().poll(cx));
            }
            if set_for == self.at {
                return Poll::Ready(());
            }
            alarm.as_mut().reset(self.at);
        }
    }
}

#[cfg(test)]
mod tests;
