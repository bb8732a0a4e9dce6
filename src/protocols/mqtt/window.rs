//! What was sent to a client with QoS 1 or 2 and is not confirmed: packet identifiers, in the order of sending.
//!
//! An event is known by its place in the log, not kept: who resumes the session reads it again, and gives it the packet identifier that
//! it had. Only what cannot be read again is kept as it was sent.

use std::{
    collections::{HashMap, VecDeque},
    num::NonZeroU16,
};

use meshgate_api::{
    Str,
    connector::Settlement,
    cursor::Cursor,
    position::{Place, Position},
};

use serde::{Deserialize, Serialize};

use super::record;
use crate::{codec::mqtt::Publish, deliver::Confirmation};

/// Packet identifiers that are given between two records of the session, at most.
pub(super) const GIVEN: u16 = 8192;
/// How many runs of packet identifiers are avoided that an owner may have given without saying so.
const AVOIDED: usize = 4;

/// Where an event stands.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Spot {
    pub(super) connector: Str,
    pub(super) topic: Str,
    pub(super) partition: u32,
    #[serde(with = "numbers")]
    pub(super) place: Place,
}

/// A place as its three numbers.
mod numbers {
    use meshgate_api::position::Place;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(place: &Place, to: S) -> Result<S::Ok, S::Error> {
        (place.generation, place.offset, place.index).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Place, D::Error> {
        let (generation, offset, index) = Deserialize::deserialize(from)?;
        Ok(Place { generation, offset, index })
    }
}

/// What the client gets of an event.
pub(super) enum Origin {
    /// It can be read again there.
    Log(Spot),
    /// A member of a group that does not confirm it gives it to others.
    Group(Confirmation),
    /// It is here alone.
    Kept(Box<Publish>),
}

impl std::fmt::Debug for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Log(spot) => spot.fmt(f),
            Self::Group(_) => f.write_str("Group"),
            Self::Kept(publish) => publish.fmt(f),
        }
    }
}

/// How far a delivery is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Stage {
    Sent,
    /// QoS 2: PUBREC has come.
    Released,
    /// Confirmed, while an earlier one is not.
    Done,
}

#[derive(Debug)]
struct Sent {
    packet: NonZeroU16,
    origin: Option<Origin>,
    stage: Stage,
}

/// What the client has not confirmed.
#[derive(Debug, Default)]
pub(super) struct Window {
    sent: VecDeque<Sent>,
    /// How many were taken off the front of `sent`, ever.
    gone: u64,
    /// By packet identifier, the number of a delivery.
    numbers: HashMap<NonZeroU16, u64>,
    last: u16,
    /// How many were given since the session's last record.
    given: u16,
    /// Runs of [`GIVEN`] packet identifiers that an owner before may have given without saying so, by the last of each: the client may
    /// still take them for what it knows.
    avoided: Vec<u16>,
    /// Of an earlier connection: what was sent and has not been read again.
    earlier: HashMap<Spot, (NonZeroU16, bool)>,
}

impl Window {
    /// How many are not confirmed.
    pub(super) fn unconfirmed(&self) -> usize {
        self.numbers.len()
    }

    /// How many are held, with those that are confirmed behind others that are not.
    pub(super) fn held(&self) -> usize {
        self.sent.len() + self.earlier.len()
    }

    /// Whether an earlier connection has sent it, and it was not confirmed.
    pub(super) fn was_sent(&self, spot: &Spot) -> bool {
        matches!(self.earlier.get(spot), Some((_, false)))
    }

    /// A packet identifier for a delivery; whether it was sent before. `None`: it was confirmed before.
    pub(super) fn enter(&mut self, origin: Origin) -> Option<(NonZeroU16, bool)> {
        let earlier = match &origin {
            Origin::Log(spot) => self.earlier.remove(spot),
            Origin::Group(_) | Origin::Kept(_) => None,
        };
        let (packet, is_again) = match earlier {
            Some((packet, true)) => {
                // The next connection may read it once more, if an earlier one is still not confirmed then.
                self.sent.push_back(Sent { packet, origin: Some(origin), stage: Stage::Done });
                self.let_go();
                return None;
            }
            Some((packet, false)) => (packet, true),
            None => {
                self.given = self.given.saturating_add(1);
                (self.unused(), false)
            }
        };
        self.push(packet, Some(origin), Stage::Sent);
        Some((packet, is_again))
    }

    fn push(&mut self, packet: NonZeroU16, origin: Option<Origin>, stage: Stage) {
        self.numbers.insert(packet, self.gone + self.sent.len() as u64);
        self.sent.push_back(Sent { packet, origin, stage });
    }

    fn unused(&mut self) -> NonZeroU16 {
        loop {
            self.last = self.last.wrapping_add(1);
            if let Some(packet) = NonZeroU16::new(self.last)
                && !self.avoided.iter().any(|last| last.wrapping_sub(self.last) < GIVEN)
                && !self.numbers.contains_key(&packet)
                && !self.earlier.values().any(|(known, _)| *known == packet)
            {
                return packet;
            }
        }
    }

    fn find(&mut self, packet: NonZeroU16) -> Option<&mut Sent> {
        let number = *self.numbers.get(&packet)?;
        self.sent.get_mut((number - self.gone) as usize)
    }

    /// The client has confirmed a delivery, or refused it for good. False: there is none of this packet identifier.
    pub(super) fn confirm(&mut self, packet: NonZeroU16, settlement: &Settlement) -> bool {
        let Some(sent) = self.find(packet) else { return false };
        let was_sent = std::mem::replace(&mut sent.stage, Stage::Done);
        let origin = sent.origin.take_if(|origin| !matches!(origin, Origin::Log(_)));
        if let Some(Origin::Group(confirmation)) = origin
            && was_sent != Stage::Done
        {
            confirmation.settle(settlement);
        }
        self.numbers.remove(&packet);
        self.let_go();
        true
    }

    /// Of what is confirmed, only what lies behind something that is not is still to be known.
    fn let_go(&mut self) {
        while self.sent.front().is_some_and(|sent| sent.stage == Stage::Done) {
            self.sent.pop_front();
            self.gone += 1;
        }
    }

    /// QoS 2: the client has taken a delivery, and need not be sent it again. False: there is none.
    pub(super) fn release(&mut self, packet: NonZeroU16) -> bool {
        let Some(sent) = self.find(packet) else { return false };
        sent.stage = Stage::Released; // a group's is settled with PUBCOMP
        true
    }

    /// Of the session's next connection: what is to be sent at once, releases (`None`) and what is kept here. The rest is read again.
    pub(super) fn resume(&mut self) -> Vec<(NonZeroU16, Option<Publish>)> {
        self.numbers.clear();
        let mut at_once = Vec::new();
        for Sent { packet, origin, stage } in std::mem::take(&mut self.sent) {
            match (origin, stage) {
                (Some(Origin::Log(spot)), Stage::Sent) => drop(self.earlier.insert(spot, (packet, false))),
                (Some(Origin::Log(spot)), Stage::Done) => drop(self.earlier.insert(spot, (packet, true))),
                (Some(Origin::Log(spot)), Stage::Released) => {
                    // Not again, also if it is read again; its packet identifier is in use until PUBCOMP.
                    self.earlier.insert(spot, (packet, true));
                    self.push(packet, None, Stage::Released);
                    at_once.push((packet, None));
                }
                // A group's goes to another member as well: PUBCOMP has not come.
                (None | Some(Origin::Kept(_) | Origin::Group(_)), Stage::Released) => {
                    self.push(packet, None, Stage::Released);
                    at_once.push((packet, None));
                }
                (Some(Origin::Kept(publish)), Stage::Sent) => {
                    at_once.push((packet, Some((*publish).clone())));
                    self.push(packet, Some(Origin::Kept(publish)), Stage::Sent);
                }
                _ => {}
            }
        }
        at_once
    }

    /// As a record has it.
    pub(super) fn entries(&self) -> Vec<Entry> {
        let earlier = self.earlier.iter().map(|(spot, (packet, is_done))| Entry {
            packet: *packet,
            stage: if *is_done { Stage::Done } else { Stage::Sent },
            at: Some(spot.clone()),
            kept: None,
        });
        earlier.chain(self.sent.iter().filter_map(Entry::new)).collect()
    }

    /// The packet identifier that was given last, and the runs that are avoided.
    pub(super) fn given(&self) -> (u16, Vec<u16>) {
        (self.last, self.avoided.clone())
    }

    /// Whether so many were given that there is to be another record.
    pub(super) fn wants_record(&self) -> bool {
        self.given >= GIVEN / 4
    }

    /// Whether no more may be given until there is one: with those that were given while it is being stored it makes [`GIVEN`].
    pub(super) fn awaits_record(&self) -> bool {
        self.given >= GIVEN / 2
    }

    /// It is in a record that is being stored, which tells of so many.
    pub(super) fn is_recorded(&mut self) -> u16 {
        std::mem::take(&mut self.given)
    }

    /// That record was not stored.
    pub(super) fn is_unrecorded(&mut self, given: u16) {
        self.given = self.given.saturating_add(given);
    }

    /// Out of a record. One that is not final may lack what was given and confirmed after it.
    pub(super) fn restore(entries: Vec<Entry>, last: u16, mut avoided: Vec<u16>, is_final: bool) -> Self {
        let mut window = Self { last, ..Self::default() };
        if !is_final {
            window.last = last.wrapping_add(GIVEN);
            avoided.push(window.last);
            avoided.drain(..avoided.len().saturating_sub(AVOIDED));
        }
        window.avoided = avoided;
        for entry in entries {
            let kept = entry.kept.and_then(Kept::read).map(|publish| Origin::Kept(Box::new(publish)));
            window.push(entry.packet, entry.at.map(Origin::Log).or(kept), entry.stage);
        }
        window
    }

    /// All has been read again that could be: what is left has gone.
    pub(super) fn forget_earlier(&mut self) {
        self.earlier.clear();
    }

    pub(super) fn awaits_earlier(&self) -> bool {
        !self.earlier.is_empty()
    }

    /// Sets where reading goes on to the first of each partition that is not confirmed.
    pub(super) fn hold_back(&self, after: &mut Cursor) {
        let unconfirmed = self.sent.iter().rev().filter(|sent| sent.stage != Stage::Done);
        let current = unconfirmed.filter_map(|sent| match &sent.origin {
            Some(Origin::Log(spot)) => Some(spot),
            _ => None,
        });
        for spot in current {
            set(after, spot, false);
        }
        for (spot, (_, is_done)) in &self.earlier {
            if !is_done {
                set(after, spot, true);
            }
        }
    }
}

/// A delivery as a record has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    packet: NonZeroU16,
    stage: Stage,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    at: Option<Spot>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    kept: Option<Kept>,
}

/// A message that is nowhere else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    publish: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    subscriptions: Vec<u32>,
}

impl Entry {
    /// `None`: the session needs not know of it, because a group gives it to another member.
    fn new(Sent { packet, origin, stage }: &Sent) -> Option<Self> {
        let entry = Self { packet: *packet, stage: *stage, at: None, kept: None };
        match origin {
            Some(Origin::Log(spot)) => Some(Self { at: Some(spot.clone()), ..entry }),
            Some(Origin::Kept(publish)) if *stage == Stage::Sent => {
                Some(Self { kept: Some(Kept::new(publish, *packet)), ..entry })
            }
            _ => (*stage == Stage::Released).then_some(entry),
        }
    }

    /// Bytes of the message that is nowhere else.
    pub(super) fn kept_bytes(&self) -> usize {
        self.kept.as_ref().map_or(0, |kept| kept.publish.len())
    }
}

impl Kept {
    fn new(publish: &Publish, packet: NonZeroU16) -> Self {
        let mut publish = Publish { packet: Some(packet), ..publish.clone() };
        let subscriptions = std::mem::take(&mut publish.properties.subscriptions); // only a server sends them
        Self { publish: record::write(&publish), subscriptions }
    }

    fn read(self) -> Option<Publish> {
        let mut publish = record::read(&self.publish)?;
        publish.properties.subscriptions = self.subscriptions;
        Some(publish)
    }
}

/// Reading is to go on at this place, or before if it does.
fn set(after: &mut Cursor, spot: &Spot, lower_only: bool) {
    let positions = after.positions_mut(&spot.connector);
    // One numbering may cover all topics of a connector: then it has no topic.
    let covers = positions.get("", 0).is_some();
    let topic = if covers { Str::new() } else { spot.topic.clone() };
    let partition = if covers { 0 } else { spot.partition };
    let is_lower = positions.get(&topic, partition).is_none_or(|place| spot.place < place);
    if !lower_only || is_lower {
        positions.set(Position { topic, partition, place: spot.place });
    }
}

#[cfg(test)]
mod tests;
