//! Whether a topic's name still means the topic that was read.
//!
//! A topic that is deleted and made again begins anew: positions in the old one say nothing about the new one, and once the new one is
//! longer nothing in them shows it. Kafka gives each topic an id; librdkafka knows it and goes on reading at the old offset all the
//! same, but its log says so, before the first record of the new topic comes.

use std::{
    collections::{HashMap, VecDeque},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use meshgate_api::Str;
use parking_lot::Mutex;

/// Changes that are remembered; a reader looks at them within seconds.
const REMEMBERED: usize = 1024;

/// Which topics the names stand for, as far as one connector's readers have heard.
#[derive(Debug, Default)]
pub(crate) struct Identities {
    known: Mutex<Known>,
    changes: AtomicU64,
}

#[derive(Debug, Default)]
struct Known {
    ids: HashMap<Str, String>,
    /// The topics of the last changes.
    changed: VecDeque<Str>,
}

impl Identities {
    /// How many changes there have been.
    pub(crate) fn changes(&self) -> u64 {
        self.changes.load(Relaxed)
    }

    /// The topics that were deleted or made anew after the first `seen` changes; then all are seen.
    pub(crate) fn changed_since(&self, seen: &mut u64) -> Vec<Str> {
        if *seen == self.changes() {
            return Vec::new();
        }
        let known = self.known.lock();
        let changes = self.changes();
        let new = usize::try_from(changes - *seen).unwrap_or(usize::MAX).min(known.changed.len());
        *seen = changes;
        known.changed.range(known.changed.len() - new..).cloned().collect()
    }

    /// The name means another topic now, or none.
    pub(crate) fn change(&self, topic: &Str) {
        let mut known = self.known.lock();
        known.ids.remove(topic);
        self.note(&mut known, topic.clone());
    }

    /// Takes in a line of librdkafka's log.
    pub(crate) fn overhear(&self, line: &str) {
        let Some((topic, id)) = named_id(line) else { return };
        let mut known = self.known.lock();
        let before = known.ids.insert(topic.clone(), id.to_owned());
        if before.is_some_and(|before| before != id) {
            self.note(&mut known, topic);
        }
    }

    fn note(&self, known: &mut Known, topic: Str) {
        known.changed.push_back(topic);
        if known.changed.len() > REMEMBERED {
            known.changed.pop_front();
        }
        self.changes.fetch_add(1, Relaxed);
    }
}

/// `… Topic NAME changed id from ID to ID`; the first id that a client hears of is a change, too.
fn named_id(line: &str) -> Option<(Str, &str)> {
    let (before, after) = line.split_once(" changed id from ")?;
    let (_, topic) = before.rsplit_once("Topic ")?;
    let (_, id) = after.split_once(" to ")?;
    Some((topic.into(), id))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(topic: &str, from: &str, to: &str) -> String {
        format!("[thrd:main]: Topic {topic} changed id from {from} to {to}")
    }

    #[test]
    fn the_first_id_is_no_change_whoever_hears_it() {
        let identities = Identities::default();
        identities.overhear(&line("a", "AAAA", "one"));
        identities.overhear(&line("a", "AAAA", "one"));
        identities.overhear("[thrd:main]: Topic a [0] Leader 1 Epoch 0");
        assert_eq!(identities.changes(), 0);
        identities.overhear(&line("a", "one", "two"));
        identities.overhear(&line("a", "one", "two"));
        assert_eq!(identities.changed_since(&mut 0), ["a"]);
    }

    #[test]
    fn a_topic_that_was_missed_may_come_back_as_any() {
        let identities = Identities::default();
        identities.overhear(&line("a", "AAAA", "one"));
        identities.change(&"a".into());
        identities.overhear(&line("a", "one", "two"));
        assert_eq!(identities.changed_since(&mut 0), ["a"]);
        assert_eq!(identities.changed_since(&mut 1), [""; 0]);
    }

    #[test]
    fn the_oldest_changes_are_forgotten() {
        let identities = Identities::default();
        (0..=REMEMBERED).for_each(|number| identities.change(&number.to_string().into()));
        assert_eq!(identities.changed_since(&mut 0).len(), REMEMBERED);
        assert_eq!(identities.changed_since(&mut (REMEMBERED as u64)), [REMEMBERED.to_string()]);
    }
}
