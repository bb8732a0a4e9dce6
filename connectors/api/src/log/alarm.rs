//! Wakes the one task that waits for something to happen.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    task::{Context, Poll},
};

use futures::task::AtomicWaker;

/// Rings once, however often it is rung before somebody listens.
#[derive(Debug, Default)]
pub(super) struct Alarm {
    rung: AtomicBool,
    waker: AtomicWaker,
}

impl Alarm {
    pub(super) fn ring(&self) {
        self.rung.store(true, Ordering::Release);
        self.waker.wake();
    }

    /// Whether it was rung since this was asked last.
    pub(super) fn was_rung(&self) -> bool {
        self.rung.load(Ordering::Relaxed) && self.rung.swap(false, Ordering::AcqRel)
    }

    /// Ready if it was rung since; else the task is woken when it is.
    pub(super) fn poll_rung(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.waker.register(cx.waker()); // before the look: what rings in between wakes
        if self.was_rung() { Poll::Ready(()) } else { Poll::Pending }
    }
}
