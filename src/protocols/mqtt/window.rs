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

use crate::{codec::mqtt::Publish, deliver::Confirmation};

/// Where an event stands.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Spot {
    pub(super) connector: Str,
    pub(super) topic: Str,
    pub(super) partition: u32,
    pub(super) place: Place,
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
            None => (self.unused(), false),
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
