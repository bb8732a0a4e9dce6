//! A client that keeps the protocol, unless it is told not to, and checks that the gateway does.

use std::{
    collections::{BTreeSet, HashSet},
    mem,
    time::Duration,
};

use bytes::Bytes;
use tokio::{io::DuplexStream, time::Instant};

use super::{
    heard::Heard,
    ledger::Ledger,
    link::{Cause, Link},
    session::{Delivery, Publishing, Session, Stage},
    wire::{self, Opening, PUBACK, PUBCOMP, PUBREC, PUBREL},
};

/// Around the end of a session it may be there or not.
const SLACK: Duration = Duration::from_secs(1);

/// Until when a session is kept that has no connection.
#[derive(Clone, Copy, Debug)]
enum Kept {
    Not,
    Until(Instant),
    Forever,
    /// Nobody can tell.
    Perhaps,
}

pub struct Client {
    pub name: String,
    /// Completes deliveries as they come.
    pub is_auto: bool,
    /// Reads nothing.
    pub is_stalled: bool,
    pub link: Option<Link>,
    /// Earlier connections that another of its own has ended.
    leaving: Vec<Link>,
    /// Those of which nothing is read any more, and which are open all the same.
    dead: Vec<Link>,
    pub session: Session,
    kept: Kept,
    /// `Some`: whether CONNACK must say that the session is there.
    expects: Option<bool>,
    /// Events for the client alone, as they came first.
    pub got: Vec<usize>,
    /// Those of QoS 2.
    twos: HashSet<usize>,
    /// Events that came to it as a member of a group.
    pub shared: BTreeSet<usize>,
    /// Every payload that came.
    pub payloads: Vec<Bytes>,
}

impl Client {
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            is_auto: true,
            is_stalled: false,
            link: None,
            leaving: Vec::new(),
            dead: Vec::new(),
            session: Session::new(0),
            kept: Kept::Not,
            expects: None,
            got: Vec::new(),
            twos: HashSet::new(),
            shared: BTreeSet::new(),
            payloads: Vec::new(),
        }
    }

    /// Connects; an earlier connection is left to the gateway to end.
    pub fn connect(&mut self, opening: Opening, stream: DuplexStream) {
        let now = Instant::now();
        self.expects = match (&self.link, self.kept) {
            _ if opening.clean => Some(false),
            _ if self.session.is_wild => None,
            (Some(link), _) if link.cause == Cause::None => Some(link.opening.expiry > 0),
            (Some(_), _) => None,
            (None, Kept::Not) => Some(false),
            (None, Kept::Forever) => Some(true),
            (None, Kept::Until(end)) if now + SLACK < end => Some(true),
            (None, Kept::Until(end)) if end + SLACK < now => Some(false),
            (None, Kept::Until(_) | Kept::Perhaps) => None,
        };
        if let Some(mut earlier) = self.link.take() {
            earlier.cause = match earlier.cause {
                Cause::None => Cause::Must(0x8E),
                Cause::Goodbye => Cause::GoodbyeOrTakeover,
                _ => Cause::Perhaps,
            };
            let left = if self.is_stalled { &mut self.dead } else { &mut self.leaving };
            left.push(earlier);
        }
        self.is_stalled = false;
        let mut link = Link::new(opening, stream);
        link.send(&wire::connect(&self.name, &link.opening));
        self.link = Some(link);
    }

    /// The connection is gone, if it is such a one.
    pub fn leave_if(&mut self, is_gone: impl FnOnce(&Link) -> bool) -> Option<Link> {
        let link = self.link.take_if(|link| is_gone(link))?;
        self.kept = match link.opening.expiry {
            0 => Kept::Not,
            u32::MAX => Kept::Forever,
            _ if matches!(link.cause, Cause::Perhaps | Cause::Must(0x8D)) => Kept::Perhaps, // since when?
            seconds => Kept::Until(Instant::now() + Duration::from_secs(seconds.into())),
        };
        self.is_stalled = false;
        Some(link)
    }

    /// Whether it is connected, and sends what it should.
    pub fn is_well(&self) -> bool {
        self.link.as_ref().is_some_and(|link| link.let_in.is_some() && link.cause == Cause::None && !link.is_over)
    }

    /// Whether the gateway keeps its session, or may.
    pub fn is_kept(&self) -> bool {
        match self.kept {
            Kept::Not => false,
            Kept::Until(end) => Instant::now() < end + SLACK,
            Kept::Forever | Kept::Perhaps => true,
        }
    }

    /// From now on nobody can tell what it gets.
    pub fn run_wild(&mut self) {
        self.session.is_wild = true;
        if let Some(link) = &mut self.link {
            link.cause = Cause::Perhaps;
        }
    }

    /// Moves bytes both ways. Whether there were any.
    pub fn turn(&mut self, ledger: &mut Ledger) -> bool {
        let mut has_moved = false;
        for link in &mut self.leaving {
            has_moved |= link.write() | link.read();
            while link.next().is_some() {}
            if link.is_over {
                link.check_end(ledger);
            }
        }
        self.leaving.retain(|link| !link.is_over);
        let Some(link) = &mut self.link else { return has_moved };
        has_moved |= link.write();
        if self.is_stalled {
            return has_moved;
        }
        has_moved |= link.read();
        while let Some(heard) = self.link.as_mut().and_then(Link::next) {
            self.hear(heard, ledger);
        }
        if let Some(link) = self.leave_if(|link| link.is_over) {
            link.check_end(ledger);
        }
        has_moved
    }

    /// Whether it waits for something that must come.
    pub fn waits(&self) -> Option<String> {
        if !self.leaving.is_empty() {
            return Some(format!("{} earlier connections have not ended", self.leaving.len()));
        }
        let link = self.link.as_ref().filter(|_| !self.is_stalled)?;
        match link.cause {
            Cause::None => {}
            Cause::Perhaps => return None,
            Cause::Goodbye | Cause::GoodbyeOrTakeover | Cause::Must(_) => {
                return Some(format!("{} has not ended", self.name));
            }
        }
        let publishes: Vec<_> = self
            .session
            .outbound
            .iter()
            .filter(|(_, publishing)| !publishing.is_taken || publishing.is_released)
            .collect();
        // What awaits its release may count, too.
        let begun = self.session.inbound.iter().filter(|(packet, delivery)| {
            !link.quota.contains(packet) && matches!(delivery.stage, Stage::Received | Stage::Released)
        });
        let is_full = link.quota.len() + begun.count() >= link.opening.receive_maximum.into();
        let again = if is_full { None } else { Some(&link.again).filter(|again| !again.is_empty()) };
        let has_all = link.let_in.is_some() && link.is_flushed() && link.pings == 0 && link.asked.is_empty();
        if has_all && publishes.is_empty() && again.is_none() {
            return None;
        }
        let (let_in, pings, asked) = (link.let_in, link.pings, &link.asked);
        Some(format!("{}: {let_in:?} {pings} {asked:?} {publishes:?} {again:?}", self.name))
    }

    fn hear(&mut self, heard: Heard, ledger: &mut Ledger) {
        match heard {
            Heard::ConnAck { code: 0, present } => self.begin(present, ledger),
            Heard::ConnAck { .. } | Heard::Disconnect { .. } => {}
            Heard::PingResp => {
                let link = self.link.as_mut().expect("it was heard");
                assert!(link.pings > 0 || self.session.is_wild, "PINGRESP without PINGREQ");
                link.pings = link.pings.saturating_sub(1);
            }
            Heard::SubAck { packet, codes } => self.subscribed(packet, &codes, ledger),
            Heard::UnsubAck { packet, codes } => {
                let link = self.link.as_mut().expect("it was heard");
                let asked = link.asked.remove(&packet).filter(|(_, qos)| qos.is_none());
                assert!(self.session.is_wild || asked.is_some(), "UNSUBACK {packet} without UNSUBSCRIBE");
                assert!(self.session.is_wild || codes.len() == usize::from(link.opening.version == 5), "{codes:?}");
            }
            Heard::Ack { first, packet, reason } => self.acknowledged(first, packet, reason, ledger),
            Heard::Publish { dup, qos, retain, topic, packet, payload } => {
                if qos > 0 && !self.enter(packet, dup, qos, &payload) {
                    return;
                }
                self.receive(&topic, qos, retain, payload, ledger);
                if self.is_auto && qos > 0 {
                    self.complete(packet, 0);
                }
            }
        }
    }

    fn begin(&mut self, present: bool, ledger: &mut Ledger) {
        assert!(self.expects.is_none_or(|expected| expected == present), "session present: {present}");
        let link = self.link.as_mut().expect("it was heard");
        if !present {
            self.session = Session::new(self.session.number + 1);
        }
        self.session.may_miss |= link.opening.maximum.is_some();
        let version = link.opening.version;
        // What is a group's goes to other members.
        let is_shared = |delivery: &Delivery| {
            ledger.find(&delivery.payload).is_some_and(|event| ledger.events[event].topic.starts_with("s/"))
        };
        let is_sent = |delivery: &Delivery| matches!(delivery.stage, Stage::One | Stage::Two);
        self.session.inbound.retain(|_, delivery| !(is_shared(delivery) && is_sent(delivery)));
        if !self.session.is_wild && !self.session.has_changed && !self.session.may_miss {
            let own = self.session.inbound.iter().filter(|(_, delivery)| !is_shared(delivery));
            link.again = own.map(|(packet, _)| *packet).collect();
        }
        for (packet, publishing) in &mut self.session.outbound {
            let event = &mut ledger.events[publishing.event];
            if publishing.is_taken {
                publishing.is_released = true;
                link.send(&wire::ack(version, PUBREL, *packet, 0));
                continue;
            }
            if event.qos == 1 {
                event.most += 1;
            }
            let (topic, payload, retain) = (&*event.topic, &*event.payload, publishing.retain);
            let again = wire::Publish { topic, payload, qos: event.qos, packet: *packet, dup: true, retain };
            link.send(&wire::publish(version, &again));
        }
    }

    fn subscribed(&mut self, packet: u16, codes: &[u8], ledger: &Ledger) {
        let link = self.link.as_mut().expect("it was heard");
        let Some((filter, Some(qos))) = link.asked.remove(&packet) else {
            assert!(self.session.is_wild, "SUBACK {packet} without SUBSCRIBE");
            return;
        };
        assert!(self.session.is_wild || codes == [qos], "SUBACK {codes:?} for {filter} of QoS {qos}");
        if self.session.subscriptions.get(&filter).is_some_and(|before| *before != qos) {
            self.session.forgiven = ledger.events.len();
        }
        self.session.has_changed |= !self.session.inbound.is_empty();
        self.session.subscriptions.insert(filter, qos);
    }

    fn acknowledged(&mut self, first: u8, packet: u16, reason: u8, ledger: &mut Ledger) {
        let (session, link) = (&mut self.session, self.link.as_mut().expect("it was heard"));
        let version = link.opening.version;
        let publishing = session.outbound.get_mut(&packet).copied();
        match (first, publishing) {
            (PUBACK | PUBREC, Some(Publishing { event, .. })) => {
                let event = &mut ledger.events[event];
                let is_two = event.qos == 2;
                assert!(session.is_wild || is_two == (first == PUBREC) && reason < 0x80, "{first:#04x} {reason:#04x}");
                event.is_confirmed |= reason < 0x80 && is_two == (first == PUBREC);
                if !is_two || reason >= 0x80 {
                    session.outbound.remove(&packet);
                    return;
                }
                let known = session.outbound.get_mut(&packet).expect("it is there");
                known.is_taken = true;
                if self.is_auto {
                    known.is_released = true;
                    link.send(&wire::ack(version, PUBREL, packet, 0));
                }
            }
            (PUBCOMP, Some(Publishing { is_released: true, .. })) => drop(session.outbound.remove(&packet)),
            (PUBCOMP, None) if reason == 0x92 || version == 4 => {} // of a release of nothing
            (PUBREC, None) if link.repeated.contains(&packet) => {}
            (PUBREL, _) => self.released(packet, reason),
            _ => assert!(session.is_wild, "{first:#04x} for {packet}: {publishing:?}"),
        }
    }

    fn released(&mut self, packet: u16, reason: u8) {
        let (session, link) = (&mut self.session, self.link.as_mut().expect("it was heard"));
        link.again.remove(&packet);
        match session.inbound.get_mut(&packet) {
            Some(delivery) if matches!(delivery.stage, Stage::Received | Stage::Released) => {
                delivery.stage = Stage::Released;
                if self.is_auto {
                    self.complete(packet, 0);
                }
            }
            None => link.send(&wire::ack(link.opening.version, PUBCOMP, packet, if reason == 0 { 0x92 } else { 0 })),
            Some(delivery) => assert!(session.is_wild || reason == 0x92, "PUBREL {packet} of {delivery:?}"),
        }
    }

    /// A delivery begins; whether it is not one that the client has begun to complete.
    fn enter(&mut self, packet: u16, dup: bool, qos: u8, payload: &Bytes) -> bool {
        let (session, link) = (&mut self.session, self.link.as_mut().expect("it was heard"));
        let is_new_here = link.quota.insert(packet);
        let held = link.quota.len();
        assert!(session.is_wild || is_new_here, "the packet identifier {packet} is in use");
        assert!(session.is_wild || held <= link.opening.receive_maximum.into(), "{held} over the receive maximum");
        link.again.remove(&packet);
        let stage = if qos == 2 { Stage::Two } else { Stage::One };
        let earlier = session.inbound.get(&packet).cloned();
        match earlier {
            Some(earlier) if !session.is_wild => {
                assert!(dup && earlier.payload == *payload, "{packet} is in use: {:?}", earlier.payload);
                let is_begun = matches!(earlier.stage, Stage::Received | Stage::Released);
                let is_same = is_begun || earlier.stage == stage;
                assert!(is_same || session.has_changed, "the QoS of {packet} has changed");
                session.inbound.insert(packet, Delivery { payload: payload.clone(), stage });
                if self.is_auto {
                    self.complete(packet, 0);
                }
                false
            }
            _ => {
                session.inbound.insert(packet, Delivery { payload: payload.clone(), stage });
                true
            }
        }
    }

    fn receive(&mut self, topic: &str, qos: u8, retain: bool, payload: Bytes, ledger: &Ledger) {
        self.payloads.push(payload.clone());
        let Some(event) = ledger.find(&payload) else { return };
        let published = &ledger.events[event];
        assert_eq!(published.topic, topic);
        if topic.starts_with("s/") && self.name != "witness" {
            self.shared.insert(event);
        }
        if self.session.is_wild {
            return;
        }
        assert!(qos <= published.qos, "QoS {qos} of an event of {}", published.qos);
        let fits = |filter: &String| super::ledger::matches(filter.trim_start_matches("$share/g/"), topic);
        assert!(self.session.ever.iter().any(fits), "nothing has asked for {topic}");
        if retain {
            return;
        }
        if self.shared.contains(&event) {
            return;
        }
        if qos == 2 {
            assert!(self.twos.insert(event), "event {event} has come twice");
        }
        if !self.got.contains(&event) {
            self.got.push(event);
        }
    }

    /// Takes the next step of a delivery.
    pub fn complete(&mut self, packet: u16, reason: u8) {
        let (session, Some(link)) = (&mut self.session, self.link.as_mut()) else { return };
        let Some(delivery) = session.inbound.get_mut(&packet) else { return };
        let (first, is_done) = match delivery.stage {
            Stage::One => (PUBACK, true),
            Stage::Two => (PUBREC, reason >= 0x80),
            Stage::Received => return,
            Stage::Released => (PUBCOMP, true),
        };
        let reason = if first == PUBCOMP || link.opening.version < 5 { 0 } else { reason };
        let is_done = is_done && (first != PUBREC || reason >= 0x80);
        link.send(&wire::ack(link.opening.version, first, packet, reason));
        link.again.remove(&packet);
        delivery.stage = Stage::Received;
        if is_done {
            session.inbound.remove(&packet);
            link.quota.remove(&packet);
        }
    }

    /// It does not want a delivery. Whether the gateway hears that before the connection breaks nobody knows: it may come again.
    pub fn refuse(&mut self, packet: u16, ledger: &Ledger) {
        let event = self.session.inbound.get(&packet).and_then(|delivery| ledger.find(&delivery.payload));
        self.twos.retain(|two| Some(*two) != event);
    }

    /// Completes everything, from now on.
    pub fn complete_all(&mut self) {
        self.is_auto = true;
        self.is_stalled = false;
        for packet in self.completable() {
            self.complete(packet, 0);
        }
        for packet in self.session.outbound.keys().copied().collect::<Vec<_>>() {
            self.release(packet);
        }
    }

    /// Deliveries of which the next step is the client's.
    pub fn completable(&self) -> Vec<u16> {
        let Some(link) = &self.link else { return Vec::new() };
        let is_here = |packet: &u16, stage| match stage {
            Stage::One | Stage::Two => link.quota.contains(packet),
            Stage::Received => false,
            Stage::Released => link.let_in.is_some(),
        };
        let all = self.session.inbound.iter();
        all.filter(|(packet, delivery)| is_here(packet, delivery.stage)).map(|(packet, _)| *packet).collect()
    }

    /// Sends PUBREL, if it is its turn.
    pub fn release(&mut self, packet: u16) {
        let (Some(link), Some(publishing)) = (&mut self.link, self.session.outbound.get_mut(&packet)) else { return };
        if publishing.is_taken && !mem::replace(&mut publishing.is_released, true) {
            link.send(&wire::ack(link.opening.version, PUBREL, packet, 0));
        }
    }
}
