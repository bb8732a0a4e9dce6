//! When a producer must be made anew.
//!
//! Two things do not heal by themselves: a *fatal* error of the idempotent producer, and a partition whose leader librdkafka has lost
//! sight of, so that every message for it times out while the broker answers (librdkafka issues 5430 and 4898).

use std::{
    collections::HashMap,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use parking_lot::Mutex;

/// So many timeouts in a row make a topic suspicious.
const TIMEOUTS: u32 = 3;

/// What speaks against the present producer.
#[derive(Debug, Default)]
pub(crate) struct Trouble {
    /// Whether `spells` holds any, so that a success costs nothing.
    any: AtomicBool,
    /// Topics of which nothing but timeouts has been heard.
    spells: Mutex<HashMap<String, Spell>>,
    fatal: Mutex<Option<String>>,
}

#[derive(Debug)]
struct Spell {
    since: Instant,
    timeouts: u32,
}

impl Trouble {
    pub(crate) fn stored(&self, topic: &str) {
        if self.any.load(Ordering::Relaxed) {
            let mut spells = self.spells.lock();
            spells.remove(topic);
            self.any.store(!spells.is_empty(), Ordering::Relaxed);
        }
    }

    pub(crate) fn timed_out(&self, topic: &str) {
        let mut spells = self.spells.lock();
        match spells.get_mut(topic) {
            Some(spell) => spell.timeouts += 1,
            None => {
                spells.insert(topic.to_owned(), Spell { since: Instant::now(), timeouts: 1 });
            }
        }
        self.any.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_fatal(&self, reason: &str) {
        self.fatal.lock().get_or_insert_with(|| reason.to_owned());
    }

    /// Timeouts were no wonder: the broker was away.
    pub(crate) fn excuse(&self) {
        self.spells.lock().clear();
        self.any.store(false, Ordering::Relaxed);
    }

    /// Why the producer must be made anew, if it must: a topic has been silent for `patience`, or there was a fatal error. Forgets it.
    pub(crate) fn verdict(&self, patience: Duration) -> Option<String> {
        if let Some(reason) = self.fatal.lock().take() {
            return Some(format!("a fatal error: {reason}"));
        }
        let is_stuck = |spell: &Spell| spell.timeouts >= TIMEOUTS && spell.since.elapsed() >= patience;
        let stuck = self.spells.lock().iter().find(|(_, spell)| is_stuck(spell)).map(|(topic, _)| topic.clone())?;
        self.excuse();
        Some(format!("events for {stuck} time out while the broker answers"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_timeouts_without_success_are_trouble() {
        let trouble = Trouble::default();
        (0..TIMEOUTS).for_each(|_| trouble.timed_out("a"));
        trouble.stored("a");
        (1..TIMEOUTS).for_each(|_| trouble.timed_out("b"));
        assert_eq!(trouble.verdict(Duration::ZERO), None);
        trouble.timed_out("b");
        assert_eq!(trouble.verdict(Duration::from_secs(60)), None, "not for long enough");
        assert!(trouble.verdict(Duration::ZERO).is_some_and(|reason| reason.contains("for b")));
        assert_eq!(trouble.verdict(Duration::ZERO), None, "told once");
    }

    #[test]
    fn an_excused_topic_begins_anew() {
        let trouble = Trouble::default();
        (0..TIMEOUTS).for_each(|_| trouble.timed_out("a"));
        trouble.excuse();
        assert_eq!(trouble.verdict(Duration::ZERO), None);
    }

    #[test]
    fn a_fatal_error_is_told_once() {
        let trouble = Trouble::default();
        trouble.is_fatal("first");
        trouble.is_fatal("second");
        assert!(trouble.verdict(Duration::ZERO).is_some_and(|reason| reason.contains("first")));
        assert_eq!(trouble.verdict(Duration::ZERO), None);
    }
}
