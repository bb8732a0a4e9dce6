//! What one subscription tells of itself.

use std::{
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    time::{Duration, Instant, SystemTime},
};

use meshgate_api::{Str, event::timestamp};
use parking_lot::Mutex;

use crate::telemetry::SubscriptionCounters;

/// So long nothing more is logged of a subscription.
const QUIET: Duration = Duration::from_secs(1);

/// Where a subscription is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It is not a member of its group yet, or not any more: it is tried again.
    Opening,
    /// It is a member of its group.
    Reading,
}

impl Phase {
    /// For `/status`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Opening => "opening",
            Self::Reading => "reading",
        }
    }
}

/// Something that went wrong.
#[derive(Clone, Debug)]
pub struct Trouble {
    /// When, as RFC 3339 has it.
    pub time: Option<Str>,
    /// What.
    pub detail: String,
}

/// Shared by a subscription's task and whoever asks.
#[derive(Debug)]
pub struct Figures {
    /// What became of its events.
    pub counters: SubscriptionCounters,
    /// Events that are being published.
    pub in_flight: AtomicUsize,
    /// Events that wait for another try.
    pub waiting: AtomicUsize,
    told: Mutex<Told>,
}

#[derive(Debug)]
struct Told {
    phase: Phase,
    trouble: Option<Trouble>,
    logged: Option<Instant>,
}

impl Figures {
    pub(super) fn new(counters: SubscriptionCounters) -> Self {
        let told = Mutex::new(Told { phase: Phase::Opening, trouble: None, logged: None });
        Self { counters, in_flight: AtomicUsize::new(0), waiting: AtomicUsize::new(0), told }
    }

    /// Where it is now.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.told.lock().phase
    }

    /// What went wrong last, also if it goes well now.
    #[must_use]
    pub fn last_trouble(&self) -> Option<Trouble> {
        self.told.lock().trouble.clone()
    }

    pub(super) fn enter(&self, phase: Phase) {
        self.told.lock().phase = phase;
    }

    /// Whether it is to be logged: it is another one than the last, and there was none logged just now.
    pub(super) fn trouble(&self, detail: &str) -> bool {
        let mut told = self.told.lock();
        let trouble = Trouble { time: timestamp(SystemTime::now()), detail: detail.to_owned() };
        let before = told.trouble.replace(trouble);
        let is_new = before.is_none_or(|before| before.detail != detail)
            && told.logged.is_none_or(|logged| logged.elapsed() > QUIET);
        if is_new {
            told.logged = Some(Instant::now());
        }
        is_new
    }

    pub(super) fn hold(&self, in_flight: usize, waiting: usize) {
        self.in_flight.store(in_flight, Relaxed);
        self.waiting.store(waiting, Relaxed);
    }
}
