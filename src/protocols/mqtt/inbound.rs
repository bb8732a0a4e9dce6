//! What a client publishes: each event handed over in the order of the packets, and acknowledged in that order.

use std::{
    collections::VecDeque,
    num::NonZeroU16,
    sync::Arc,
    task::{Context, Poll},
    time::SystemTime,
};

use bytes::BytesMut;
use foldhash::HashMap;
use futures::{FutureExt, future::BoxFuture};
use meshgate_api::{
    Str,
    message::Message,
    outcome::{Outcome, Rejection, Unavailability},
};
use smallvec::SmallVec;
use tokio::time::Instant;

use super::{
    Mqtt, RECEIVE_MAXIMUM, TOPIC_ALIASES,
    connection::End,
    outcome::{Answer, answer},
    retained::Retained,
    session::Session,
    will,
};
use crate::{
    codec::{
        DecodeError,
        mqtt::{Ack, AckKind, Encoder, Fault, Publish, Qos, Reason, Sender, Version, decode_event},
    },
    gateway::Listener,
    protocols::http::body::{OVERHEAD, Share},
    publish::{Receipts, Refused, Submission},
    router::Channel,
    telemetry::Undelivered,
};

/// Places for unanswered publishes that a client keeps while it has none.
const IDLE: usize = 8;

pub(super) struct Inbound {
    mqtt: Mqtt,
    encoder: Encoder,
    client_id: Str,
    /// Of what is no event.
    source: Str,
    /// The session was there before this connection.
    recovers: bool,
    /// None until the client uses one.
    aliases: Vec<Option<Str>>,
    unanswered: VecDeque<Unanswered>,
    /// How many were taken off the front of `unanswered`, ever.
    answered: u64,
    /// By packet identifier, the number of what is unanswered.
    numbers: HashMap<NonZeroU16, u64>,
    /// Publishes of this connection that count towards our receive maximum (section 4.9).
    unconfirmed: usize,
    /// The first of them is not to be answered: why, and when the connection ends over it.
    held: Option<(Instant, String)>,
}

/// A publish that was not answered yet.
struct Unanswered {
    packet: Option<NonZeroU16>,
    qos: Qos,
    begun: Instant,
    /// How often it came again meanwhile, of QoS 2.
    again: u16,
    state: State,
}

enum State {
    Under(BoxFuture<'static, Outcome>),
    Known(Outcome),
    /// It is no publish of its own: what is said of it is known.
    Told(Reason, &'static str),
}

impl Inbound {
    pub(super) fn new(mqtt: Mqtt, encoder: Encoder, client_id: &Str, recovers: bool) -> Self {
        let (client_id, source) = (client_id.clone(), will::source(client_id));
        let (unanswered, numbers, aliases) = Default::default();
        let (answered, unconfirmed) = (0, 0);
        Self {
            mqtt,
            encoder,
            client_id,
            source,
            recovers,
            aliases,
            unanswered,
            answered,
            numbers,
            unconfirmed,
            held: None,
        }
    }

    /// Whether another packet may be read. One more than may be unanswered is, to see that it is one too many.
    pub(super) fn has_room(&self) -> bool {
        self.unanswered.len() <= usize::from(RECEIVE_MAXIMUM)
    }

    pub(super) fn is_idle(&self) -> bool {
        self.unanswered.is_empty()
    }

    /// Publishes without an answer.
    pub(super) fn unanswered(&self) -> usize {
        self.unanswered.len()
    }

    /// When the connection ends because an answer is held.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.held.as_ref().map(|(deadline, _)| *deadline)
    }

    pub(super) fn why_held(&self) -> &str {
        self.held.as_ref().map_or("", |(_, why)| why)
    }

    /// Takes a PUBLISH: its event is handed to its connectors before this returns.
    pub(super) fn take(&mut self, cx: &mut Context<'_>, mut publish: Publish, session: &Session) -> Result<(), Fault> {
        publish.topic = self.topic(&publish)?;
        let (packet, qos) = (publish.packet, publish.qos);
        if let Some(packet) = packet {
            if self.is_again(packet, &publish, session)? {
                return Ok(());
            }
            if self.encoder.version == Version::V5 && self.unconfirmed >= usize::from(RECEIVE_MAXIMUM) {
                let detail =
                    format!("more than {RECEIVE_MAXIMUM} publishes are unconfirmed, the receive maximum in CONNACK");
                return Err(Fault::new(Reason::ReceiveMaximumExceeded, detail)); // [MQTT-3.3.4-7]
            }
            self.unconfirmed += 1;
        }
        let size = publish.payload.len() + publish.topic.len();
        let retains = publish.retain;
        let submission = self.submission(publish, session);
        let retain = submission.as_ref().ok().filter(|_| retains).cloned();
        if let Some(message) = &retain
            && let Some(detail) = self.is_full_for(message)
        {
            self.push(packet, qos, State::Known(Outcome::unavailable(Unavailability::ClientLimit, detail)));
            return Ok(());
        }
        let Some(share) = Share::of(&self.mqtt.in_flight, OVERHEAD + size) else {
            let detail = "as much as `limits.in_flight` allows is being published already";
            let outcome = Outcome::unavailable(Unavailability::ClientLimit, detail);
            self.push(packet, qos, State::Known(outcome));
            return Ok(());
        };
        let (gateway, retained) =
            (self.mqtt.gateway.clone(), retain.map(|message| (message, self.mqtt.retained.clone())));
        let submissions = SmallVec::from_iter([submission]);
        let mut under = async move {
            let outcome = outcome(&gateway.publish(Listener::Mqtt, submissions, share).await);
            match retained {
                Some((message, retained)) => retain_too(outcome, &message, &retained).await,
                None => outcome,
            }
        }
        .boxed();
        let state = match under.poll_unpin(cx) {
            Poll::Ready(outcome) => State::Known(outcome),
            Poll::Pending => State::Under(under),
        };
        self.push(packet, qos, state);
        Ok(())
    }

    fn push(&mut self, packet: Option<NonZeroU16>, qos: Qos, state: State) {
        if let Some(packet) = packet {
            self.numbers.insert(packet, self.answered + self.unanswered.len() as u64);
        }
        self.unanswered.push_back(Unanswered { packet, qos, begun: Instant::now(), again: 0, state });
    }

    /// Whether a PUBLISH has been taken before, and is to be acknowledged only.
    fn is_again(&mut self, packet: NonZeroU16, publish: &Publish, session: &Session) -> Result<bool, Fault> {
        if let Some(number) = self.numbers.get(&packet) {
            let first = &mut self.unanswered[(number - self.answered) as usize];
            if first.qos != publish.qos || first.qos == Qos::AtLeastOnce && !publish.dup {
                return Err(Fault::protocol(format!("the packet identifier {packet} is in use")));
            }
            if first.qos == Qos::ExactlyOnce {
                first.again = (first.again + 1).min(RECEIVE_MAXIMUM); // each gets a PUBREC [MQTT-4.3.3-10]
            }
            return Ok(true);
        }
        if !session.unreleased.contains(&packet.get()) {
            return Ok(false);
        }
        let (reason, detail) = match (publish.qos, self.encoder.version) {
            (Qos::ExactlyOnce, _) => (Reason::Success, ""), // taken before, and not released
            (_, Version::V5) => (Reason::PacketIdentifierInUse, "a publish of QoS 2 has it that is not released"),
            (_, Version::V3) => return Ok(false), // which has no word for it
        };
        self.push(Some(packet), publish.qos, State::Told(reason, detail));
        Ok(true)
    }

    /// Why the message cannot be retained.
    fn is_full_for(&self, message: &Message) -> Option<&'static str> {
        let most = self.mqtt.gateway.now().limits.retained;
        let is_removal = message.event.data.as_ref().is_none_or(|data| data.is_empty());
        let has_room = message.channel.as_ref().is_some_and(|topic| self.mqtt.retained.has_room(topic, most));
        (!is_removal && !has_room).then_some("as many messages as `limits.retained` allows are retained already")
    }

    /// The topic, which an alias may stand for (section 3.3.2.3.4).
    fn topic(&mut self, publish: &Publish) -> Result<Str, Fault> {
        let Some(alias) = publish.properties.topic_alias else { return Ok(publish.topic.clone()) };
        let invalid = |detail: String| Fault::new(Reason::TopicAliasInvalid, detail);
        self.aliases.resize(TOPIC_ALIASES.into(), None);
        let Some(known) = self.aliases.get_mut(usize::from(alias.get()) - 1) else {
            return Err(invalid(format!("the topic alias {alias} is higher than {TOPIC_ALIASES}")));
        };
        if !publish.topic.is_empty() {
            *known = Some(publish.topic.clone());
        }
        known.clone().ok_or_else(|| Fault::protocol(format!("the topic alias {alias} stands for nothing yet")))
    }

    fn submission(&self, publish: Publish, session: &Session) -> Submission {
        let topic = publish.topic.clone();
        let publisher = session.is_deaf_to_itself().then_some(&self.client_id);
        let sender = Sender { version: self.encoder.version, source: &self.source, publisher };
        event(&sender, publish, SystemTime::now()).map(Arc::new).map_err(|outcome| {
            let known = Message { channel: Some(topic), ..Message::default() };
            Refused { known: Arc::new(known), outcome }
        })
    }

    /// Writes the acknowledgements that are due. An error ends the connection.
    pub(super) fn answer(
        &mut self,
        cx: &mut Context<'_>,
        out: &mut BytesMut,
        session: &mut Session,
    ) -> Result<(), End> {
        while self.held.is_none()
            && let Some(first) = self.unanswered.front_mut()
        {
            if let State::Under(under) = &mut first.state {
                match under.poll_unpin(cx) {
                    Poll::Pending => return Ok(()),
                    Poll::Ready(outcome) => first.state = State::Known(outcome),
                }
            }
            let answer = match &first.state {
                State::Under(_) => return Ok(()),
                State::Known(outcome) => answer(self.encoder.version, outcome, self.mqtt.settings.acknowledge_rejected),
                State::Told(reason, detail) => Answer::Ack(*reason, (*detail).to_owned()),
            };
            let is_lost =
                |state: &State| matches!(state, State::Known(outcome) if !matches!(outcome, Outcome::Stored(_)));
            if first.qos == Qos::AtMostOnce && is_lost(&first.state) {
                self.mqtt.gateway.metrics.mqtt.undelivered(Undelivered::PublishFailed);
            }
            match (first.packet, answer) {
                (None, Answer::Ack(..) | Answer::Hold(_)) => {} // QoS 0: it is counted
                (None, Answer::Close(detail)) => tracing::debug!("an event of QoS 0 is rejected: {detail}"),
                (Some(packet), Answer::Ack(reason, detail)) => {
                    let is_counted = !matches!(first.state, State::Told(..));
                    let (qos, times) = (first.qos, 1 + first.again);
                    self.acknowledge(out, session, (packet, qos, times), (reason, &detail), is_counted);
                }
                (Some(_), Answer::Hold(detail)) => {
                    let patience = self.mqtt.gateway.now().limits.connectors.publish_timeout;
                    self.held = Some((first.begun + patience, detail));
                    return Ok(());
                }
                (Some(_), Answer::Close(detail)) => {
                    return Err(End::Fault(Fault::new(Reason::ImplementationSpecific, detail)));
                }
            }
            self.unanswered.pop_front();
            self.answered += 1;
        }
        if self.unanswered.is_empty() && self.unanswered.capacity() > IDLE {
            self.unanswered = VecDeque::new();
        }
        Ok(())
    }

    fn acknowledge(
        &mut self,
        out: &mut BytesMut,
        session: &mut Session,
        (packet, qos, times): (NonZeroU16, Qos, u16),
        (reason, detail): (Reason, &str),
        is_counted: bool,
    ) {
        let kind = if qos == Qos::ExactlyOnce { AckKind::PubRec } else { AckKind::PubAck };
        let is_taken = kind == AckKind::PubRec && !reason.is_failure();
        if is_counted && is_taken {
            session.unreleased.insert(packet.get());
        } else if is_counted {
            self.unconfirmed = self.unconfirmed.saturating_sub(1);
        }
        self.numbers.remove(&packet);
        for _ in 0..times {
            self.encoder.ack(out, &Ack { kind, packet, reason }, detail);
        }
    }

    /// The connection has ended while publishes are under way: those of QoS 2 that are stored belong to the session, so that they are not
    /// published a second time when the client sends them again.
    pub(super) async fn settle(&mut self, session: &mut Session) {
        for Unanswered { packet, qos, state, .. } in self.unanswered.drain(..) {
            let Some(packet) = packet.filter(|_| qos == Qos::ExactlyOnce) else { continue };
            let outcome = match state {
                State::Under(under) => under.await,
                State::Known(outcome) => outcome,
                State::Told(..) => continue,
            };
            if let Outcome::Stored(_) = outcome {
                session.unreleased.insert(packet.get());
            }
        }
    }

    /// PUBREL of a client. Of a session that goes on it may be there a second time, because the first PUBCOMP was lost: there are clients to
    /// whom "packet identifier not found" means that the publish has failed.
    pub(super) fn release(&mut self, packet: NonZeroU16, out: &mut BytesMut, session: &mut Session) {
        let was_taken = session.unreleased.remove(&packet.get());
        let reason = match self.encoder.version {
            Version::V5 if !was_taken && !self.recovers => Reason::PacketIdentifierNotFound,
            _ => Reason::Success,
        };
        if was_taken {
            self.unconfirmed = self.unconfirmed.saturating_sub(1); // it may be of an earlier connection
        }
        self.encoder.ack(out, &Ack { kind: AckKind::PubComp, packet, reason }, "");
    }
}

/// What is to be retained is confirmed when both are stored: the event, and what is retained.
async fn retain_too(outcome: Outcome, message: &Message, retained: &Retained) -> Outcome {
    let Some(topic) = message.channel.as_ref().filter(|_| matches!(outcome, Outcome::Stored(_))) else {
        return outcome;
    };
    match retained.keep(topic, message).await {
        Ok(()) => outcome,
        Err(problem) => {
            Outcome::unknown(format!("the event is stored, and whether it is retained is not known: {problem}"))
        }
    }
}

/// The event of a PUBLISH whose topic is known, or why there is none.
pub(crate) fn event(sender: &Sender<'_>, publish: Publish, now: SystemTime) -> Result<Message, Outcome> {
    let topic = publish.topic.clone();
    Channel::check(&topic).map_err(|problem| Outcome::rejected(Rejection::NoRoute, problem.to_string()))?;
    if !publish.properties.is_sound(&publish.payload) {
        let detail = "the payload is no UTF-8, as its payload format indicator says";
        return Err(Outcome::rejected(Rejection::BadEvent, detail));
    }
    decode_event(sender, publish, &topic, now)
        .map_err(|DecodeError { reason, detail, .. }| Outcome::rejected(reason, detail))
}

fn outcome(receipts: &Receipts) -> Outcome {
    match &receipts[..] {
        [receipt] => receipt.outcome.clone(),
        _ => Outcome::unknown("the event has no outcome of its own"),
    }
}
