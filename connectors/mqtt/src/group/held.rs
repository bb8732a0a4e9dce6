//! What has arrived for a group: it waits for room, is with members, and is confirmed at the broker in the order of arrival.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    hash::{BuildHasher, RandomState},
    sync::Arc,
};

use meshgate_api::{
    Str,
    connector::Record,
    position::{Place, Position},
};

use super::{Local, Settled};
use crate::{client::Arrival, decode::decode};

/// Packets that are not confirmed, and their records.
pub(super) struct Held {
    connector: Str,
    local: Arc<Local>,
    /// Bytes of records that are not settled.
    bytes: usize,
    hasher: RandomState,
    /// Of the last record.
    number: u64,
    /// What has arrived over the connection that stands and is not confirmed, in order.
    order: VecDeque<u16>,
    /// What has not been confirmed at the broker, by packet identifier.
    open: HashMap<u16, Open>,
    /// The packet identifiers of records.
    packets: HashMap<u64, u16>,
    /// What waits in each topic for room, and how many of it are not settled.
    topics: HashMap<Str, Topic>,
    /// Those of them in which something waits.
    crowded: BTreeSet<Str>,
    /// Bytes of records that may be held, settled ones not counted; the last one may go over it.
    most: usize,
    /// More has come over this connection: what comes now is not taken, and the broker sends it again over the next one.
    is_full: bool,
}

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    Yes,
    /// It was, and nothing more is.
    Last,
    No,
}

/// A packet that is not confirmed at the broker.
struct Open {
    number: u64,
    /// Of its content: the broker sends it again under the same packet identifier.
    digest: u64,
    is_settled: bool,
}

#[derive(Default)]
struct Topic {
    unsettled: usize,
    waiting: VecDeque<Arc<Record>>,
}

impl Held {
    pub(super) fn new(connector: Str, local: Arc<Local>, most: usize) -> Self {
        Self {
            connector,
            local,
            bytes: 0,
            hasher: RandomState::new(),
            number: 0,
            order: VecDeque::new(),
            open: HashMap::new(),
            packets: HashMap::new(),
            topics: HashMap::new(),
            crowded: BTreeSet::new(),
            most,
            is_full: false,
        }
    }

    /// Records that are not settled.
    pub(super) fn unsettled(&self) -> u64 {
        self.topics.values().map(|topic| topic.unsettled as u64).sum()
    }

    /// Packets that this connection has brought and the broker has no confirmation of.
    pub(super) fn unconfirmed(&self) -> usize {
        self.order.len()
    }

    /// Another connection stands: what is not confirmed comes again over it.
    pub(super) fn begin(&mut self) {
        self.order.clear();
        self.is_full = false;
    }

    /// All that was taken is confirmed, and there is more that was not.
    pub(super) fn wants_the_rest(&self) -> bool {
        self.is_full && self.order.is_empty() && self.bytes <= self.most
    }

    /// The broker knows these packets no more. Their records still go to members.
    pub(super) fn forget_packets(&mut self) {
        self.open.clear();
        self.packets.clear();
    }

    pub(super) fn arrived(&mut self, arrival: Arrival) -> Taken {
        if self.is_full {
            return Taken::No;
        }
        let packet = arrival.packet;
        let digest = self.digest(&arrival);
        if packet != 0 {
            self.order.push_back(packet);
            if self.open.get(&packet).is_some_and(|open| open.digest == digest) {
                return Taken::No; // it is here already, from a connection before
            }
        }
        self.number += 1;
        let number = self.number;
        let record = decode(&self.connector, arrival, None, Place::offset(number));
        // A filter may fit more than is wanted.
        let record = record.filter(|record| self.local.reads(&record.topic));
        if packet != 0 {
            self.packets.insert(number, packet);
            self.open.insert(packet, Open { number, digest, is_settled: record.is_none() });
        }
        if let Some(record) = record {
            let name = record.topic.clone();
            let topic = self.topics.entry(name.clone()).or_default();
            topic.unsettled += 1;
            self.bytes += record.footprint();
            topic.waiting.push_back(record);
            self.deal(&name);
        }
        self.is_full = self.bytes > self.most;
        if self.is_full { Taken::Last } else { Taken::Yes }
    }

    /// Of all that stays the same when it is sent again. Two events may differ in their properties alone, and a broker that was killed may
    /// give another one a packet identifier that is in use here.
    fn digest(&self, arrival: &Arrival) -> u64 {
        let properties = arrival.properties.as_ref().map(|properties| (&properties.content_type, &properties.user));
        self.hasher.hash_one((&arrival.topic, &arrival.payload, properties))
    }

    /// Gives members of a topic's records what there is room for.
    fn deal(&mut self, name: &Str) {
        let Some(topic) = self.topics.get_mut(name) else { return };
        let group = &self.local.group;
        while !topic.waiting.is_empty() && group.has_room() && group.room_in(name, 0) > 0 {
            let Some(record) = topic.waiting.pop_front() else { return };
            if !group.is_open(name, 0) {
                group.open(Position { topic: name.clone(), partition: 0, place: record.position.place }.into());
            }
            group.push([record]);
        }
        if topic.waiting.is_empty() {
            self.crowded.remove(name);
        } else if !self.crowded.contains(name) {
            self.crowded.insert(name.clone());
        }
    }

    /// Takes in what members have settled.
    pub(super) fn settle(&mut self) {
        let settled = std::mem::take(&mut *self.local.keeper.settled.lock());
        for Settled { number, topic: name, bytes } in settled {
            self.bytes -= bytes;
            let packet = self.packets.remove(&number);
            if let Some(open) =
                packet.and_then(|packet| self.open.get_mut(&packet)).filter(|open| open.number == number)
            {
                open.is_settled = true;
            }
            let Some(topic) = self.topics.get_mut(&name) else { continue };
            topic.unsettled -= 1;
            if topic.unsettled == 0 {
                self.topics.remove(&name);
                self.local.group.close(&name, 0); // a broker may have any number of topics
            }
        }
        let crowded: Vec<_> = self.crowded.iter().cloned().collect();
        crowded.iter().for_each(|name| self.deal(name));
    }

    /// The next packet, in the order of arrival, that the broker may have confirmed; from now on it counts as confirmed.
    pub(super) fn next_settled(&mut self) -> Option<u16> {
        let packet = *self.order.front()?;
        if self.open.get(&packet).is_some_and(|open| !open.is_settled) {
            return None;
        }
        self.order.pop_front();
        if let Some(open) = self.open.remove(&packet) {
            self.packets.remove(&open.number);
        }
        Some(packet)
    }
}

#[cfg(test)]
mod tests;
