//! How often events were tried that wait for another try, and how long they wait.
//!
//! An event that waits is with its group, which parks its key; what is kept here goes when the group lets go of the record.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
    time::Duration,
};

use meshgate_api::connector::Record;

use crate::config::Retry;

/// Below that nobody looks for records that are gone.
const FEW: usize = 64;

/// By the records' addresses: a `Weak` keeps each from being given to another.
#[derive(Debug, Default)]
pub(super) struct Tries {
    by_record: HashMap<usize, (Weak<Record>, Tried)>,
    /// When so many are there, those of records that are gone are dropped.
    sweep_at: usize,
}

/// What was tried with one event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tried {
    /// So many times in vain.
    pub(super) times: u32,
    /// Why it goes to the dead letters, once that is so.
    pub(super) given_up: Option<Arc<str>>,
}

impl Tries {
    /// Events that wait for another try.
    pub(super) fn waiting(&self) -> usize {
        self.by_record.len()
    }

    pub(super) fn of(&self, record: &Arc<Record>) -> Tried {
        self.by_record.get(&address(record)).map(|(_, tried)| tried.clone()).unwrap_or_default()
    }

    /// Another try was in vain.
    pub(super) fn note(&mut self, record: &Arc<Record>, tried: Tried) {
        self.by_record.insert(address(record), (Arc::downgrade(record), tried));
        if self.by_record.len() > self.sweep_at.max(FEW) {
            self.by_record.retain(|_, (record, _)| record.strong_count() > 0);
            self.sweep_at = 2 * self.by_record.len();
        }
    }

    /// The event is settled.
    pub(super) fn forget(&mut self, record: &Arc<Record>) {
        self.by_record.remove(&address(record));
    }
}

fn address(record: &Arc<Record>) -> usize {
    Arc::as_ptr(record).addr()
}

/// How long an event waits that was tried so many times: longer each time, and never as long as others that failed with it. `share` is
/// from 0 to 1.
pub(super) fn rest(retry: &Retry, times: u32, share: f64) -> Duration {
    let doublings = times.saturating_sub(1).min(31);
    let longest = retry.initial.saturating_mul(1 << doublings).min(retry.max);
    longest.mul_f64(0.5 + share / 2.0)
}

#[cfg(test)]
mod tests;
