//! What a client knows of its session.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

/// A delivery to the client that is not complete.
#[derive(Clone, Debug)]
pub struct Delivery {
    pub payload: Bytes,
    pub stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// QoS 1, to be acknowledged.
    One,
    /// QoS 2, to be acknowledged.
    Two,
    /// QoS 2, PUBREC is sent.
    Received,
    /// QoS 2, PUBREL has come: PUBCOMP is to be sent.
    Released,
}

/// A publish of the client that is not complete.
#[derive(Clone, Copy, Debug)]
pub struct Publishing {
    pub event: usize,
    pub retain: bool,
    /// QoS 2: PUBREC has come.
    pub is_taken: bool,
    /// PUBREL is sent.
    pub is_released: bool,
}

#[derive(Clone, Debug, Default)]
pub struct Session {
    /// Of all that the client had.
    pub number: u64,
    /// It has sent what is no MQTT, or has broken the rules of a delivery: who knows what it gets.
    pub is_wild: bool,
    /// It has asked for small packets.
    pub may_miss: bool,
    /// Granted, by filter: the QoS.
    pub subscriptions: BTreeMap<String, u8>,
    /// Also those that were given up.
    pub ever: BTreeSet<String>,
    pub inbound: BTreeMap<u16, Delivery>,
    pub outbound: BTreeMap<u16, Publishing>,
    last: u16,
    /// Its subscriptions have changed. What was on its way then would have to be completed on a later connection as it was sent
    /// [MQTT-3.10.4-3], [MQTT-4.4.0-1], which the gateway does not do: it reads it again by the subscriptions that there are. That is not
    /// asked for here.
    pub has_changed: bool,
    /// Events of lower numbers need not come: a subscription has changed since.
    pub forgiven: usize,
}

impl Session {
    pub fn new(number: u64) -> Self {
        Self { number, ..Self::default() }
    }

    /// A packet identifier that no publish has.
    pub fn unused(&mut self) -> u16 {
        loop {
            self.last = self.last % 200 + 1;
            if !self.outbound.contains_key(&self.last) {
                return self.last;
            }
        }
    }

    /// The highest QoS with which a topic is to come for the client alone.
    pub fn granted(&self, topic: &str) -> u8 {
        let own = self.subscriptions.iter().filter(|(filter, _)| !filter.starts_with("$share/"));
        own.filter(|(filter, _)| super::ledger::matches(filter, topic)).map(|(_, qos)| *qos).max().unwrap_or(0)
    }
}
