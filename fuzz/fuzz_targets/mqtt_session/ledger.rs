//! What was published, and what must have become of it in the end.

use std::{
    collections::HashMap,
    hash::{BuildHasher, BuildHasherDefault, DefaultHasher},
};

/// One event, by its number the same for all.
#[derive(Debug)]
pub struct Event {
    pub topic: String,
    pub qos: u8,
    pub payload: Vec<u8>,
    /// The gateway has said that it is stored.
    pub is_confirmed: bool,
    /// It must not be there more often than this.
    pub most: usize,
    /// Sessions that are to get it if it is stored: the client, and which of its sessions.
    pub due: Vec<(usize, u64)>,
}

#[derive(Debug, Default)]
pub struct Ledger {
    pub events: Vec<Event>,
    by_mark: HashMap<Vec<u8>, usize>,
}

/// Bytes at the beginning of a payload that no input holds by chance.
const MARK: usize = 16;

impl Ledger {
    /// A new event with a payload of `size` bytes, or a few more.
    pub fn event(&mut self, topic: &str, qos: u8, size: usize) -> usize {
        let number = self.events.len();
        let mark = BuildHasherDefault::<DefaultHasher>::default().hash_one(number + 1);
        let mut payload = format!("{mark:016x}").into_bytes();
        self.by_mark.insert(payload.clone(), number);
        payload.resize(size.max(MARK), b'x');
        let topic = topic.to_owned();
        self.events.push(Event { topic, qos, payload, is_confirmed: false, most: usize::MAX, due: Vec::new() });
        number
    }

    /// Which event a payload is of; `None`: a client's raw bytes have made it.
    pub fn find(&self, payload: &[u8]) -> Option<usize> {
        let number = *self.by_mark.get(payload.get(..MARK)?)?;
        assert_eq!(self.events[number].payload, payload, "the payload of event {number} has changed");
        Some(number)
    }

    /// Compares with the log: what was confirmed is there, nothing that must not be is, and what is to be there once is so.
    pub fn settle(&self, log: &[usize]) {
        for (number, event) in self.events.iter().enumerate() {
            let times = log.iter().filter(|stored| **stored == number).count();
            assert!(times > 0 || !event.is_confirmed, "event {number} was confirmed and is not stored: {event:?}");
            assert!(times <= event.most, "event {number} is stored {times} times: {event:?}");
        }
    }
}

/// Whether a topic filter, which has wildcards at its end alone, lets a topic through.
pub fn matches(filter: &str, topic: &str) -> bool {
    match filter.rsplit_once('/') {
        Some((parent, "#")) => topic == parent || topic.strip_prefix(parent).is_some_and(|rest| rest.starts_with('/')),
        Some((parent, "+")) => topic.rsplit_once('/').is_some_and(|(above, _)| above == parent),
        _ => filter == "#" || filter == topic,
    }
}
