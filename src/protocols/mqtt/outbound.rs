//! What a client is sent: the events of its subscriptions, read from the log at its own pace.

use std::{
    collections::VecDeque,
    num::NonZeroU16,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, SystemTime},
};

use bytes::BytesMut;
use meshgate_api::{Str, connector::Settlement, cursor::Cursor, message::Message};
use tokio::time::sleep;

use super::{
    RECEIVE_MAXIMUM,
    aliases::Aliases,
    retained::Retained,
    session::{Session, Subscription, Wanted},
    window::{Origin, Spot},
};
use crate::{
    codec::mqtt::{Encoded, Encoder, Publish, Qos, Reason, Withheld, encode_event, is_of},
    deliver::{Begin, Delivered, Ended, Flow, GroupName, OpenError, Reading},
    gateway::Gateway,
    router::ChannelFilters,
    telemetry::{MqttCounters, Undelivered},
};

/// Before reading is tried again that a broker has interrupted.
pub(super) const REST: Duration = Duration::from_secs(1);
/// Retained messages that are looked up at once.
const LOOKED_UP: usize = 64;
/// Deliveries that are held, confirmed behind others that are not.
const HELD: usize = 2 * RECEIVE_MAXIMUM as usize;

/// What a client reads.
#[derive(Default)]
pub(super) struct Flows {
    /// For itself. Boxed, because most devices only publish.
    own: Option<Box<Flow>>,
    /// As a member of groups, by the subscription's text.
    shared: Vec<(Str, Flow)>,
    /// Whose turn it is.
    turn: usize,
}

pub(super) struct Outbound {
    encoder: Encoder,
    client_id: Str,
    /// QoS 1 and 2 deliveries that may be unconfirmed.
    most: usize,
    pub(super) flows: Flows,
    /// What is given to the client is to be in a record of the session.
    pub(super) is_recorded: bool,
    /// For a client that takes topic aliases.
    aliases: Option<Box<Aliases>>,
    store: Arc<Retained>,
    /// What is retained for the first subscription that the session wants it for, as far as it was looked up: it is sent before anything
    /// else.
    retained: VecDeque<Arc<Message>>,
    at_once: VecDeque<(NonZeroU16, Option<Publish>)>,
    /// What the client did not get is told to them.
    counters: MqttCounters,
}

/// Why a message is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum As {
    New,
    /// For a subscription that is new.
    Retained,
    /// An earlier connection has sent it.
    Again,
}

/// Reading has ended; where it may go on, if that is known.
#[derive(Debug)]
pub(super) struct Interrupted {
    pub(super) detail: String,
    pub(super) cursor: Option<String>,
}

impl Flows {
    /// Opens what a session reads, however long that takes.
    pub(super) async fn resume(gateway: Arc<Gateway>, subscriptions: Vec<Subscription>, after: Option<Cursor>) -> Self {
        let mut flows = Self::default();
        let own: ChannelFilters = own_filters(&subscriptions).collect();
        let mut from = after.map_or(Begin::Latest, Begin::After);
        while own.iter().next().is_some() && flows.own.is_none() {
            match gateway.open(reading(own.clone(), from.clone(), None)).await {
                Ok(flow) => flows.own = Some(flow.into()),
                Err(OpenError::Gone { cursor, detail }) => {
                    tracing::warn!("what a session had not read is gone: {detail}");
                    from = Cursor::decode(&cursor, &own.text()).map_or(Begin::Earliest, Begin::After);
                }
                Err(problem @ (OpenError::NotNow(_) | OpenError::Busy(_))) => {
                    tracing::debug!("a session waits: {problem}");
                    sleep(REST).await;
                }
                Err(problem) => {
                    tracing::warn!("a session's subscriptions cannot be read any more: {problem}");
                    break;
                }
            }
        }
        for subscription in subscriptions.iter().filter(|subscription| subscription.group.is_some()) {
            while let Err(problem) = flows.share(&gateway, subscription).await {
                tracing::debug!("a session's shared subscription waits: {problem}");
                if !matches!(problem, OpenError::NotNow(_) | OpenError::Busy(_)) {
                    break;
                }
                sleep(REST).await;
            }
        }
        flows
    }

    /// Adds a subscription, beside those that there are.
    pub(super) async fn subscribe(
        &mut self,
        gateway: &Arc<Gateway>,
        present: &[Subscription],
        new: &Subscription,
    ) -> Result<(), OpenError> {
        if new.group.is_some() {
            if self.shared.iter().any(|(text, _)| *text == new.text) {
                return Ok(());
            }
            return self.share(gateway, new).await;
        }
        let others = own_filters(present).filter(|filter| filter.as_str() != new.filter.as_str());
        let all: ChannelFilters = others.chain([new.filter.clone()]).collect();
        match &mut self.own {
            Some(flow) => flow.turn_to(all).await,
            none => {
                *none = Some(gateway.open(reading(all, Begin::Latest, None)).await?.into());
                Ok(())
            }
        }
    }

    /// Gives subscriptions up: these are left.
    pub(super) async fn keep(&mut self, left: &[Subscription]) {
        self.shared.retain(|(text, _)| left.iter().any(|subscription| subscription.text == *text));
        let own: ChannelFilters = own_filters(left).collect();
        if own.iter().next().is_none() {
            self.own = None;
        } else if let Some(flow) = &mut self.own
            && let Err(problem) = flow.turn_to(own).await
        {
            tracing::debug!("more is read than a client wants: {problem}"); // it does not get it
        }
    }

    async fn share(&mut self, gateway: &Arc<Gateway>, subscription: &Subscription) -> Result<(), OpenError> {
        let group = subscription.group.clone().map(GroupName::OfClient);
        let flow = gateway.open(reading(subscription.filter.clone().into(), Begin::Latest, group)).await?;
        self.shared.push((subscription.text.clone(), flow));
        Ok(())
    }

    /// Where reading of what is the client's own goes on.
    pub(super) fn positions(&mut self) -> Option<Cursor> {
        self.own.as_mut().and_then(|flow| flow.positions().cloned())
    }

    /// Not while what is read is still being opened.
    fn is_at_end(&self) -> bool {
        self.own.as_deref().is_some_and(Flow::is_at_end)
    }
}

fn own_filters(subscriptions: &[Subscription]) -> impl Iterator<Item = crate::router::ChannelFilter> {
    let own = subscriptions.iter().filter(|subscription| subscription.group.is_none());
    own.map(|subscription| subscription.filter.clone())
}

fn reading(channels: ChannelFilters, from: Begin, group: Option<GroupName>) -> Reading {
    Reading { channels, from, cursors: false, positions: group.is_none(), group, events: None }
}

/// What a SUBACK says of a subscription that cannot be.
pub(super) fn refusal(problem: &OpenError) -> Reason {
    match problem {
        OpenError::NoRoute => Reason::TopicFilterInvalid,
        OpenError::Busy(_) => Reason::QuotaExceeded,
        OpenError::Unsupported(_) => Reason::ImplementationSpecific,
        _ => Reason::Unspecified,
    }
}

impl Outbound {
    pub(super) fn new(
        encoder: Encoder,
        client_id: Str,
        receive_maximum: u16,
        store: Arc<Retained>,
        counters: MqttCounters,
    ) -> Self {
        let most = usize::from(receive_maximum.min(RECEIVE_MAXIMUM));
        let (retained, at_once) = Default::default();
        let (flows, aliases, is_recorded) = Default::default();
        Self { encoder, client_id, most, flows, is_recorded, aliases, store, retained, at_once, counters }
    }

    /// The client takes topic aliases up to this one.
    pub(super) fn take_aliases(&mut self, maximum: u16) {
        self.aliases = Aliases::up_to(maximum);
    }

    /// What is to be sent at once of the session's earlier connection.
    pub(super) fn resume(&mut self, session: &mut Session) {
        self.at_once = session.window.resume().into();
    }

    /// What is retained for a subscription is to be sent. It is looked up when its turn comes: who asks again and again and reads nothing
    /// takes no memory by it.
    pub(super) fn want_retained(&mut self, session: &mut Session, subscription: &Str) {
        if session.wanted.first().is_some_and(|first| first.subscription == *subscription) {
            self.retained.clear(); // all of it comes again
        }
        session.wanted.retain(|wanted| wanted.subscription != *subscription);
        session.wanted.push(Wanted { subscription: subscription.clone(), after: None });
    }

    /// Writes the next thing that the client is to get. Pending while it has as much unconfirmed as it may.
    pub(super) fn write_next(
        &mut self,
        cx: &mut Context<'_>,
        out: &mut BytesMut,
        session: &mut Session,
    ) -> Poll<Result<(), Interrupted>> {
        // A client that comes back may take fewer at once than it did.
        let begun = session.window.unconfirmed().saturating_sub(self.at_once.len());
        let may_be_sent = |(_, publish): &mut (_, Option<Publish>)| publish.is_none() || begun < self.most;
        if let Some((packet, publish)) = self.at_once.pop_front_if(may_be_sent) {
            self.write_again(out, session, packet, publish);
            return Poll::Ready(Ok(()));
        }
        let room = self.most.saturating_sub(session.window.unconfirmed());
        if !self.at_once.is_empty() || room == 0 || self.is_recorded && session.window.awaits_record() {
            return Poll::Pending;
        }
        if session.window.held() >= HELD && session.window.unconfirmed() > 0 {
            return Poll::Pending;
        }
        if self.write_retained(out, session) {
            return Poll::Ready(Ok(()));
        }
        let flows = self.flows.shared.len() + 1;
        for _ in 0..flows {
            self.flows.turn = (self.flows.turn + 1) % flows;
            let number = self.flows.turn;
            match self.poll_flow(cx, number, room as u64) {
                Poll::Pending => {}
                Poll::Ready(Err(ended)) => return Poll::Ready(Err(ended.into())),
                Poll::Ready(Ok(event)) => {
                    self.deliver(out, session, number, event);
                    return Poll::Ready(Ok(()));
                }
            }
        }
        if session.window.awaits_earlier() && self.flows.is_at_end() {
            session.window.forget_earlier();
        }
        Poll::Pending
    }

    /// Writes a retained message. Whether there was any to write.
    fn write_retained(&mut self, out: &mut BytesMut, session: &mut Session) -> bool {
        let Some(wanted) = session.wanted.first_mut() else { return false };
        let subscription = session.subscriptions.iter().find(|known| known.text == wanted.subscription);
        if let Some(subscription) = subscription.filter(|_| self.retained.is_empty()) {
            self.retained = self.store.matching(&subscription.filter, wanted.after.as_ref(), LOOKED_UP).into();
        }
        let Some((subscription, message)) = subscription.zip(self.retained.pop_front()) else {
            self.retained.clear();
            session.wanted.remove(0);
            return true;
        };
        let topic = message.channel.clone().unwrap_or_default();
        wanted.after = Some(topic.clone());
        let matching = [(subscription.qos, false, subscription.identifier)];
        self.write(out, session, (topic, &message), &matching, As::Retained, |_| None);
        true
    }

    /// Goes on with a delivery of an earlier connection: its publish, or `None` for its release.
    fn write_again(&mut self, out: &mut BytesMut, session: &mut Session, packet: NonZeroU16, publish: Option<Publish>) {
        let Some(publish) = publish else { return self.encoder.release(out, packet) };
        let again = Publish { dup: true, packet: Some(packet), ..publish };
        if self.encoder.publish(out, &again).is_err() {
            self.counters.undelivered(Undelivered::TooLarge);
            session.window.confirm(packet, &Settlement::Ack); // it takes less than it did
        }
    }

    /// 0: the client's own, then those of its groups.
    fn poll_flow(&mut self, cx: &mut Context<'_>, number: usize, room: u64) -> Poll<Result<Delivered, Ended>> {
        let flow = match number {
            0 => self.flows.own.as_deref_mut(),
            number => self.flows.shared.get_mut(number - 1).map(|(_, flow)| flow),
        };
        flow.map_or(Poll::Pending, |flow| flow.poll_event(cx, room))
    }

    fn deliver(&mut self, out: &mut BytesMut, session: &mut Session, number: usize, mut event: Delivered) {
        let mut confirmation = event.confirmation();
        let channel = event.channel();
        let shared = number.checked_sub(1).map(|at| &self.flows.shared[at].0);
        let is_own = is_of(event.message(), &self.client_id);
        let matching: smallvec::SmallVec<[(Qos, bool, Option<u32>); 2]> = session
            .subscriptions
            .iter()
            .filter(|subscription| match shared {
                Some(text) => subscription.text == *text,
                None => {
                    subscription.group.is_none()
                        && subscription.filter.matches(channel)
                        && !(is_own && subscription.no_local)
                }
            })
            .map(|subscription| (subscription.qos, subscription.retain_as_published, subscription.identifier))
            .collect();
        if matching.is_empty() {
            return; // of a group: it goes to others
        }
        let spot =
            self.flows.own.as_ref().filter(|_| number == 0).and_then(|flow| flow.origin(&event)).map(|connector| {
                Spot {
                    connector: connector.clone(),
                    topic: event.record().topic.clone(),
                    partition: event.record().position.partition,
                    place: event.record().position.place,
                }
            });
        let was_sent = spot.as_ref().is_some_and(|spot| session.window.was_sent(spot));
        let kind = if was_sent { As::Again } else { As::New };
        let is_written = self.write(out, session, (channel.into(), event.message()), &matching, kind, |publish| {
            Some(match (confirmation.take(), spot) {
                (Some(confirmation), _) => Origin::Group(confirmation),
                (None, Some(spot)) => Origin::Log(spot),
                (None, None) => Origin::Kept(Box::new(publish.clone())),
            })
        });
        if let Some(confirmation) = confirmation {
            confirmation.settle(&Settlement::Ack); // QoS 0, or it cannot be had
        }
        if is_written {
            event.count();
        }
    }

    /// Writes a message for subscriptions that match it: QoS, retain as published, identifier. Whether the client gets it.
    fn write(
        &mut self,
        out: &mut BytesMut,
        session: &mut Session,
        (topic, message): (Str, &Message),
        matching: &[(Qos, bool, Option<u32>)],
        kind: As,
        origin: impl FnOnce(&Publish) -> Option<Origin>,
    ) -> bool {
        let encoded = match encode_event(self.encoder.version, message, SystemTime::now()) {
            Ok(encoded) => encoded,
            Err(Withheld::Expired) if kind == As::Again => {
                // What was begun is finished [MQTT-4.3.3-7].
                let Ok(mut encoded) = encode_event(self.encoder.version, message, SystemTime::UNIX_EPOCH) else {
                    return false;
                };
                encoded.properties.expiry = encoded.properties.expiry.map(|_| 0);
                encoded
            }
            Err(withheld) => {
                self.counters.undelivered(why(withheld));
                return false;
            }
        };
        let Encoded { mut properties, payload, retain, qos: published } = encoded;
        let qos = matching.iter().map(|(qos, _, _)| *qos).max().unwrap_or_default().min(published);
        properties.subscriptions = matching.iter().filter_map(|(_, _, identifier)| *identifier).collect();
        let retain = kind == As::Retained || retain && matching.iter().any(|(_, as_published, _)| *as_published);
        let mut publish = Publish { dup: false, qos, retain, topic, packet: None, properties, payload };
        if qos > Qos::AtMostOnce {
            let origin = origin(&publish).unwrap_or_else(|| Origin::Kept(Box::new(publish.clone())));
            let Some((packet, is_again)) = session.window.enter(origin) else { return false };
            (publish.packet, publish.dup) = (Some(packet), is_again);
        }
        let sent = match &mut self.aliases {
            Some(aliases) => aliases.publish(&self.encoder, out, &mut publish),
            None => self.encoder.publish(out, &publish),
        };
        if sent.is_ok() {
            return true;
        }
        self.counters.undelivered(Undelivered::TooLarge);
        if let Some(packet) = publish.packet {
            session.window.confirm(packet, &Settlement::Ack); // it will never fit
        }
        false
    }
}

fn why(withheld: Withheld) -> Undelivered {
    match withheld {
        Withheld::Expired => Undelivered::Expired,
        Withheld::TooLong => Undelivered::TooLarge,
    }
}

impl From<Ended> for Interrupted {
    fn from(ended: Ended) -> Self {
        let detail = ended.to_string();
        let cursor = if let Ended::Gone { cursor, .. } = ended { Some(cursor) } else { None };
        Self { detail, cursor }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::mqtt::{Framing, Packet, Version, decode};

    /// What a client that takes one at a time is sent of two deliveries that are kept here, when its session is resumed, and what of
    /// them stays unconfirmed.
    fn resumed(maximum: usize) -> (BytesMut, usize) {
        let kept = Publish { qos: Qos::AtLeastOnce, topic: "a".into(), payload: "21.5".into(), ..Publish::default() };
        let mut session = Session::default();
        session.window.enter(Origin::Kept(Box::new(kept.clone()))).expect("it is new");
        session.window.enter(Origin::Kept(Box::new(kept))).expect("it is new");
        let encoder = Encoder { version: Version::V5, maximum, tells_problems: true };
        let retained = Arc::new(Retained::new(Arc::<crate::state::OfProcess>::default()));
        let mut outbound = Outbound::new(encoder, "c".into(), 1, retained, MqttCounters::default());

        outbound.resume(&mut session);
        let mut out = BytesMut::new();
        let mut cx = Context::from_waker(std::task::Waker::noop());
        while outbound.write_next(&mut cx, &mut out, &mut session).is_ready() {}
        (out, session.window.unconfirmed())
    }

    #[test]
    fn what_is_kept_is_sent_again_under_its_packet_identifier() {
        let (mut out, unconfirmed) = resumed(usize::MAX);
        let frame = Framing { maximum: 100 }.next(&mut out).expect("sound").expect("whole");
        let Ok(Packet::Publish(publish)) = decode(Version::V5, frame) else { panic!("no PUBLISH") };
        assert_eq!((publish.packet, publish.dup, &*publish.payload), (NonZeroU16::new(1), true, &b"21.5"[..]));
        assert_eq!((unconfirmed, out.len()), (2, 0), "the other one waits");
    }

    #[test]
    fn what_a_client_takes_no_more_is_no_longer_waited_for() {
        let (out, unconfirmed) = resumed(8);
        assert_eq!((out.len(), unconfirmed), (0, 0));
    }

    #[test]
    fn what_is_not_open_yet_is_not_read_to_its_end() {
        assert!(!Flows::default().is_at_end());
    }
}
