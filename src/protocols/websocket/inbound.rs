//! What a client sends: events to publish, each answered in the order of the frames, and what became of a group's deliveries.

use std::{
    collections::VecDeque,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures::{FutureExt, future::BoxFuture};
use meshgate_api::{
    Str,
    event::Event,
    message::{Headers, Message},
    outcome::{Outcome, Rejection, Unavailability},
};
use smallvec::SmallVec;
use uuid::Uuid;

use super::{outbound::Outbound, outcome};
use crate::{
    codec::{
        DecodeError,
        websocket::{Frame, decode, message, wrapped},
    },
    gateway::{Gateway, Listener},
    protocols::http::{
        Http,
        body::{Budget, OVERHEAD, Share},
    },
    publish::{Receipts, Refused},
};

/// Frames of one connection that wait for their answers; no more are read meanwhile.
const MAX_UNANSWERED: usize = 1024;

pub(super) struct Inbound {
    gateway: Arc<Gateway>,
    in_flight: Arc<Budget>,
    /// `None`: this connection publishes nothing.
    channel: Option<Str>,
    /// Headers of the handshake that go with each event.
    travelling: Headers,
    /// A binary frame is refused, not wrapped.
    json_only: bool,
    /// Unique; answers are numbered within it.
    connection: Uuid,
    /// So many have come.
    frames: u64,
    unanswered: VecDeque<Unanswered>,
}

/// A frame that was not answered yet.
enum Unanswered {
    /// Its event is on its way.
    Published { n: u64, publish: BoxFuture<'static, Receipts> },
    /// The answer's text.
    Known(String),
}

impl Inbound {
    pub(super) fn new(http: &Http, channel: Option<Str>, travelling: Headers, json_only: bool) -> Self {
        Self {
            gateway: http.gateway.clone(),
            in_flight: http.in_flight.clone(),
            channel,
            travelling,
            json_only,
            connection: Uuid::now_v7(),
            frames: 0,
            unanswered: VecDeque::new(),
        }
    }

    /// Whether another frame may be read.
    pub(super) fn has_room(&self) -> bool {
        self.unanswered.len() < MAX_UNANSWERED
    }

    /// Whether everything is answered.
    pub(super) fn is_idle(&self) -> bool {
        self.unanswered.is_empty()
    }

    /// Takes a text frame: an event is handed to its connectors before this returns, so that the frames keep their order.
    pub(super) fn take_text(&mut self, cx: &mut Context<'_>, frame: &Bytes, outbound: Option<&mut Outbound>) {
        self.frames += 1;
        match decode(frame) {
            Ok(Frame::Event(event)) => match self.channel.clone() {
                Some(channel) => self.publish(cx, Ok(message(event, &channel, &self.travelling)), frame.len()),
                None => self.refuse_event(&event.id),
            },
            Ok(Frame::Settling(settling)) => {
                let id = settling.id.clone();
                let settled = outbound.ok_or_else(|| "this connection subscribes to nothing".to_owned());
                if let Err(detail) = settled.and_then(|outbound| outbound.settle(settling)) {
                    self.answer(&id, &Outcome::rejected(Rejection::BadEvent, detail));
                }
            }
            Err(DecodeError { reason, detail, id }) => {
                let refused = self.refused(id.unwrap_or_default(), Outcome::rejected(reason, detail));
                self.publish(cx, Err(refused), 0);
            }
        }
    }

    /// Takes a binary frame, which is no event.
    pub(super) fn take_binary(&mut self, cx: &mut Context<'_>, frame: &Bytes) {
        self.frames += 1;
        match self.channel.clone() {
            Some(_) if self.json_only => {
                let detail = "the subprotocol cloudevents.json has text frames only, each one event";
                let outcome = Outcome::rejected(Rejection::UnsupportedType, detail);
                self.publish(cx, Err(self.refused(Str::new(), outcome)), 0);
            }
            Some(channel) => self.publish(cx, Ok(wrapped(frame, &channel, &self.travelling)), frame.len()),
            None => self.refuse_event(""),
        }
    }

    fn publish(&mut self, cx: &mut Context<'_>, message: Result<Message, Refused>, size: usize) {
        let (n, gateway) = (self.frames, self.gateway.clone());
        let Some(share) = Share::of(&self.in_flight, OVERHEAD + size) else {
            let id = message.map_or_else(|refused| refused.known.event.id.clone(), |message| message.event.id);
            let detail = "as much as `limits.in_flight` allows is being published already";
            return self.answer(&id, &Outcome::unavailable(Unavailability::ClientLimit, detail));
        };
        let submissions = SmallVec::from_iter([message.map(Arc::new)]);
        let mut publish = async move { gateway.publish(Listener::WebSocket, submissions, share).await }.boxed();
        let unanswered = match publish.poll_unpin(cx) {
            Poll::Ready(receipts) => Unanswered::Known(self.answer_of(n, &receipts)),
            Poll::Pending => Unanswered::Published { n, publish },
        };
        self.unanswered.push_back(unanswered);
    }

    fn refused(&self, id: Str, outcome: Outcome) -> Refused {
        let event = Event { id, ..Event::default() }.into();
        let known = Message { channel: self.channel.clone(), event, headers: self.travelling.clone(), wrapped: false };
        Refused { known: Arc::new(known), outcome }
    }

    fn refuse_event(&mut self, id: &str) {
        let detail = "this connection publishes nothing: open one with `role=publish` or `role=both`";
        self.answer(id, &Outcome::rejected(Rejection::Forbidden, detail));
    }

    /// Answers the last frame.
    fn answer(&mut self, id: &str, outcome: &Outcome) {
        let text = outcome::answer(self.connection, self.frames, id, outcome);
        self.unanswered.push_back(Unanswered::Known(text));
    }

    fn answer_of(&self, n: u64, receipts: &Receipts) -> String {
        match &receipts[..] {
            [receipt] => outcome::answer(self.connection, n, &receipt.id, &receipt.outcome),
            _ => outcome::answer(self.connection, n, "", &Outcome::unknown("the event has no outcome of its own")),
        }
    }

    /// The next answer in the order of the frames.
    pub(super) fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<String> {
        let text = match self.unanswered.front_mut() {
            None => return Poll::Pending,
            Some(Unanswered::Known(text)) => std::mem::take(text),
            Some(Unanswered::Published { n, publish }) => {
                let (n, receipts) = (*n, ready!(publish.poll_unpin(cx)));
                self.answer_of(n, &receipts)
            }
        };
        self.unanswered.pop_front();
        Poll::Ready(text)
    }
}
