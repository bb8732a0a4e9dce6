//! Wakes the one task that waits for something to happen.

use std::{
    mem,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use futures::task::AtomicWaker;
use parking_lot::Mutex;
use smallvec::SmallVec;

use super::relay::Relay;

/// Rings once, however often it is rung before somebody listens.
#[derive(Debug, Default)]
pub(super) struct Alarm {
    rung: AtomicBool,
    waker: AtomicWaker,
    /// Of the thread that listens.
    relay: Mutex<Option<Arc<Relay>>>,
}

/// Rings them all.
pub(super) fn ring_all<'a>(alarms: impl Iterator<Item = &'a Arc<Alarm>>) {
    let (here, mut relays) = (Relay::here(), SmallVec::<[Arc<Relay>; 8]>::new());
    alarms.for_each(|alarm| alarm.ring(here.as_ref(), &mut relays));
    relays.iter().for_each(|relay| relay.wake());
}

impl Alarm {
    /// Wakes who listens, or leaves that to its thread's relay, which is among `relays` then.
    fn ring(&self, here: Option<&Arc<Relay>>, relays: &mut SmallVec<[Arc<Relay>; 8]>) {
        self.rung.store(true, Ordering::Release);
        let Some(waker) = self.waker.take() else { return };
        let relay = self.relay.lock();
        match &*relay {
            Some(elsewhere) if here.is_none_or(|here| !Arc::ptr_eq(here, elsewhere)) => {
                elsewhere.give(waker);
                if !relays.iter().any(|known| Arc::ptr_eq(known, elsewhere)) {
                    relays.push(elsewhere.clone());
                }
            }
            _ => {
                drop(relay);
                waker.wake();
            }
        }
    }

    /// Whether it was rung since this was asked last.
    pub(super) fn was_rung(&self) -> bool {
        self.rung.load(Ordering::Relaxed) && self.rung.swap(false, Ordering::AcqRel)
    }

    /// Ready if it was rung since; else the task is woken when it is.
    pub(super) fn poll_rung(&self, cx: &mut Context<'_>) -> Poll<()> {
        let before = mem::replace(&mut *self.relay.lock(), Relay::here());
        drop(before);
        self.waker.register(cx.waker()); // before the look: what rings in between wakes
        if self.was_rung() { Poll::Ready(()) } else { Poll::Pending }
    }
}
