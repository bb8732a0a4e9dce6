//! What a client publishes: each event handed over in the order of the packets, and acknowledged in that order.

use std::{
    collections::VecDeque,
    num::NonZeroU16,
    sync::Arc,
    task::{Context, Poll},
    time::SystemTime,
};

use bytes::BytesMut;
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
};

pub(super) struct Inbound {
    mqtt: Mqtt,
    encoder: Encoder,
    client_id: Str,
    /// Of what is no event.
    source: Str,
    /// The session was there before this connection.
    recovers: bool,
    aliases: Vec<Option<Str>>,
    unanswered: VecDeque<Unanswered>,
    /// The first of them is not to be answered: why, and when the connection ends over it.
    held: Option<(Instant, String)>,
}

/// A publish that was not answered yet.
struct Unanswered {
    packet: Option<NonZeroU16>,
    qos: Qos,
    begun: Instant,
    /// To be retained once it is stored.
    retain: Option<Arc<Message>>,
    state: State,
}

enum State {
    Under(BoxFuture<'static, Receipts>),
    Known(Outcome),
}

impl Inbound {
    pub(super) fn new(mqtt: Mqtt, encoder: Encoder, client_id: &Str, recovers: bool) -> Self {
        let aliases = vec![None; TOPIC_ALIASES.into()];
        let (client_id, source) = (client_id.clone(), will::source(client_id));
        Self { mqtt, encoder, client_id, source, recovers, aliases, unanswered: VecDeque::new(), held: None }
    }

    /// Whether another packet may be read.
    pub(super) fn has_room(&self) -> bool {
        self.unanswered.len() < usize::from(RECEIVE_MAXIMUM)
    }

    pub(super) fn is_idle(&self) -> bool {
        self.unanswered.is_empty()
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
        if let Some(packet) = packet
            && self.unanswered.iter().any(|unanswered| unanswered.packet == Some(packet))
        {
            // Sent again while the first is under way: it gets the answer to that.
            return if publish.dup {
                Ok(())
            } else {
                Err(Fault::protocol(format!("the packet identifier {packet} is in use")))
            };
        }
        if qos == Qos::ExactlyOnce && packet.is_some_and(|packet| session.unreleased.contains(&packet.get())) {
            // Taken before, and not released [MQTT-4.3.3-10]: it is acknowledged again, and not published.
            self.known(packet, qos, Outcome::unknown(""), true);
            return Ok(());
        }
        let size = publish.payload.len() + publish.topic.len();
        let retains = publish.retain;
        let submission = self.submission(publish, session);
        let retain = submission.as_ref().ok().filter(|_| retains).cloned();
        let Some(share) = Share::of(&self.mqtt.in_flight, OVERHEAD + size) else {
            let detail = "as much as `limits.in_flight` allows is being published already";
            self.known(packet, qos, Outcome::unavailable(Unavailability::ClientLimit, detail), false);
            return Ok(());
        };
        let gateway = self.mqtt.gateway.clone();
        let submissions = SmallVec::from_iter([submission]);
        let mut under = async move { gateway.publish(Listener::Mqtt, submissions, share).await }.boxed();
        let state = match under.poll_unpin(cx) {
            Poll::Ready(receipts) => State::Known(outcome(&receipts)),
            Poll::Pending => State::Under(under),
        };
        self.unanswered.push_back(Unanswered { packet, qos, begun: Instant::now(), retain, state });
        Ok(())
    }

    fn known(&mut self, packet: Option<NonZeroU16>, qos: Qos, outcome: Outcome, is_again: bool) {
        // What is acknowledged again has its outcome already: success.
        let outcome = if is_again { stored_before() } else { outcome };
        let state = State::Known(outcome);
        self.unanswered.push_back(Unanswered { packet, qos, begun: Instant::now(), retain: None, state });
    }

    /// The topic, which an alias may stand for (section 3.3.2.3.4).
    fn topic(&mut self, publish: &Publish) -> Result<Str, Fault> {
        let Some(alias) = publish.properties.topic_alias else { return Ok(publish.topic.clone()) };
        let invalid = |detail: String| Fault::new(Reason::TopicAliasInvalid, detail);
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
        let refused = |outcome: Outcome| {
            let known = Message { channel: Some(topic.clone()), ..Message::default() };
            Refused { known: Arc::new(known), outcome }
        };
        if let Err(problem) = Channel::check(&topic) {
            return Err(refused(Outcome::rejected(Rejection::NoRoute, problem.to_string())));
        }
        let publisher = session.is_deaf_to_itself().then_some(&self.client_id);
        let sender = Sender { version: self.encoder.version, source: &self.source, publisher };
        match decode_event(&sender, publish, &topic, SystemTime::now()) {
            Ok(message) => Ok(Arc::new(message)),
            Err(DecodeError { reason, detail, .. }) => Err(refused(Outcome::rejected(reason, detail))),
        }
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
                    Poll::Ready(receipts) => first.state = State::Known(outcome(&receipts)),
                }
            }
            let State::Known(outcome) = &first.state else { return Ok(()) };
            if let (Outcome::Stored(_), Some(message)) = (outcome, first.retain.take())
                && let Some(topic) = &message.channel
            {
                self.mqtt.retained.set(topic, &message);
            }
            let lenient = self.mqtt.settings.acknowledge_rejected;
            match (first.packet, answer(self.encoder.version, outcome, lenient)) {
                (None, Answer::Ack(..) | Answer::Hold(_)) => {} // QoS 0: it is counted
                (None, Answer::Close(detail)) => tracing::debug!("an event of QoS 0 is rejected: {detail}"),
                (Some(packet), Answer::Ack(reason, detail)) => {
                    let kind = if first.qos == Qos::ExactlyOnce { AckKind::PubRec } else { AckKind::PubAck };
                    if kind == AckKind::PubRec && !reason.is_failure() {
                        session.unreleased.insert(packet.get());
                    }
                    self.encoder.ack(out, &Ack { kind, packet, reason }, &detail);
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
        }
        Ok(())
    }

    /// The connection has ended while publishes are under way: those of QoS 2 that are stored belong to the session, so that they are not
    /// published a second time when the client sends them again.
    pub(super) async fn settle(&mut self, session: &mut Session) {
        for Unanswered { packet, qos, retain, state, .. } in self.unanswered.drain(..) {
            let Some(packet) = packet.filter(|_| qos == Qos::ExactlyOnce) else { continue };
            let outcome = match state {
                State::Under(under) => outcome(&under.await),
                State::Known(outcome) => outcome,
            };
            if let Outcome::Stored(_) = outcome {
                session.unreleased.insert(packet.get());
                if let Some(message) = retain
                    && let Some(topic) = &message.channel
                {
                    self.mqtt.retained.set(topic, &message);
                }
            }
        }
    }

    /// PUBREL of a client. Of a session that goes on it may be there a second time, because the first PUBCOMP was lost: there are clients to
    /// whom "packet identifier not found" means that the publish has failed.
    pub(super) fn release(&self, packet: NonZeroU16, out: &mut BytesMut, session: &mut Session) {
        let was_taken = session.unreleased.remove(&packet.get());
        let reason = match self.encoder.version {
            Version::V5 if !was_taken && !self.recovers => Reason::PacketIdentifierNotFound,
            _ => Reason::Success,
        };
        self.encoder.ack(out, &Ack { kind: AckKind::PubComp, packet, reason }, "");
    }
}

fn outcome(receipts: &Receipts) -> Outcome {
    match &receipts[..] {
        [receipt] => receipt.outcome.clone(),
        _ => Outcome::unknown("the event has no outcome of its own"),
    }
}

fn stored_before() -> Outcome {
    Outcome::Stored(meshgate_api::position::Position {
        topic: Str::new(),
        partition: 0,
        place: meshgate_api::position::Place::default(),
    })
}
