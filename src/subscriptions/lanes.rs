//! Events that keep their order among each other: of each lane one is on its way, the others wait behind it.

use std::{
    collections::{HashMap, VecDeque, hash_map},
    hash::Hash,
};

use bytes::Bytes;
use meshgate_api::{Str, connector::Record};

/// Which events of a partition keep their order: those of one key; without a key, those of one channel.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct LaneName {
    topic: Str,
    partition: u32,
    order: Order,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Order {
    Key(Bytes),
    Channel(Option<Str>),
}

impl LaneName {
    pub(super) fn of(record: &Record) -> Self {
        let order = match &record.key {
            Some(key) => Order::Key(key.clone()),
            None => Order::Channel(record.message.channel.clone()),
        };
        Self { topic: record.topic.clone(), partition: record.position.partition, order }
    }
}

/// What is held and not settled.
#[derive(Debug)]
pub(super) struct Lanes<N, E> {
    /// Behind the one that is on its way or ready.
    lanes: HashMap<N, VecDeque<E>>,
    /// Those whose first event may start, who came first before the others.
    ready: VecDeque<N>,
    held: usize,
}

impl<N: Clone + Eq + Hash, E> Lanes<N, E> {
    pub(super) fn new() -> Self {
        Self { lanes: HashMap::new(), ready: VecDeque::new(), held: 0 }
    }

    /// How many there are: on their way and waiting.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// Takes in the next event of a lane.
    pub(super) fn enter(&mut self, name: N, event: E) {
        self.held += 1;
        match self.lanes.entry(name) {
            hash_map::Entry::Occupied(mut lane) => lane.get_mut().push_back(event),
            hash_map::Entry::Vacant(lane) => {
                self.ready.push_back(lane.key().clone());
                lane.insert(VecDeque::from([event]));
            }
        }
    }

    /// An event that may start; its lane has no other one on its way.
    pub(super) fn start(&mut self) -> Option<(N, E)> {
        let name = self.ready.pop_front()?;
        let event = self.lanes.get_mut(&name)?.pop_front()?;
        Some((name, event))
    }

    /// The event that was on its way is done with: the next one of its lane may start.
    pub(super) fn go_on(&mut self, name: N) {
        self.held -= 1;
        match self.lanes.get(&name) {
            Some(lane) if !lane.is_empty() => self.ready.push_back(name),
            _ => drop(self.lanes.remove(&name)),
        }
    }

    /// The event that was on its way comes again: so do those behind it, which are let go.
    pub(super) fn let_go(&mut self, name: &N) -> VecDeque<E> {
        let behind = self.lanes.remove(name).unwrap_or_default();
        self.held -= 1 + behind.len();
        behind
    }
}

#[cfg(test)]
mod tests;
