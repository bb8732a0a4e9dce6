//! Publishing: from a batch to outcomes.
//!
//! Events wait in the publisher's own queue, and as many are with the connection as the broker lets be unconfirmed; so what waits can
//! still be taken back. *Stored* is the broker's own word on just this event. What was on the wire when the connection ended, or has
//! waited there for too long, is *unknown*; what was not is *unavailable*. Nothing is sent twice, so nothing is overtaken.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime},
};

use meshgate_api::{
    Str,
    binding::mqtt::{Packed, Properties, pack, pack_plain},
    connector::{Batch, Context, Options, Outbound, PublishAck},
    link::Link,
    outcome::{Outcome, Outcomes, Rejection, Unavailability},
    position::{Place, Position},
};
use parking_lot::Mutex;
use smallvec::SmallVec;
use tokio::{
    sync::{Notify, oneshot},
    time::{Instant, timeout_at},
};

use crate::{
    client::{Client, Opener, Purpose, Verdict, packet_size},
    config::Version,
    session,
};

mod work;
use work::Work;

/// Events that wait for their turn, at most.
const QUEUE: usize = 100_000;

/// What a route's destination may say to MQTT alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Publishing {
    /// The broker keeps the event for later subscribers.
    pub(crate) retain: bool,
}

/// Publishes over one connection at a time.
#[derive(Debug)]
pub(crate) struct Publisher {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    connector: Str,
    link: Arc<Link>,
    version: Version,
    state: Mutex<State>,
    /// Something is to be done about the connection.
    bell: Notify,
    /// Nothing is under way any more, or the connection has ended.
    idle: Notify,
    /// How long an event may wait for its confirmation.
    patience: Duration,
    /// Bytes that may wait for their turn.
    room: usize,
    /// Distinct topics that may be published to.
    topics: usize,
    confirmed: AtomicU64,
    left_out: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    /// While a connection stands.
    standing: Option<Standing>,
    /// What waits for its turn.
    queue: VecDeque<Waiting>,
    queued_bytes: usize,
    topics: HashSet<Str>,
    closing: bool,
    /// The connection is to be ended in order.
    leaving: bool,
}

/// A connection that stands, and what is with it.
#[derive(Debug)]
struct Standing {
    client: Client,
    /// Publishes that may be with it at once.
    window: usize,
    largest: Option<usize>,
    retains: bool,
    /// The client has them, in their order, and they are not on the wire yet.
    handed: VecDeque<Ticket>,
    /// On the wire, by packet identifier.
    sent: HashMap<u16, Ticket>,
    /// The packet identifiers in the order of sending, confirmed ones too.
    order: VecDeque<u16>,
}

/// What is said of one event, and by when.
#[derive(Debug)]
struct Ticket {
    topic: Str,
    deadline: Instant,
    answer: oneshot::Sender<Outcome>,
}

#[derive(Debug)]
struct Waiting {
    packed: Packed,
    retain: bool,
    size: usize,
    ticket: Ticket,
}

impl Publisher {
    /// Starts the task that keeps a connection. The broker counts as there once `ready` holds, or after a while.
    pub(crate) fn start(
        opener: Opener,
        context: &Context,
        link: Arc<Link>,
        client_id: String,
        ready: impl Fn() -> bool + Send + 'static,
    ) -> Self {
        let shared = Arc::new(Shared::new(opener.config().version, context, link));
        let purpose = Purpose { client_id, session: None, anew: true, receive: 1, will: true };
        let work = Work { opener, purpose, shared: shared.clone(), ready: Box::new(ready), untold: None };
        let own = shared.clone();
        tokio::spawn(async move { session::run(work, &own.bell).await });
        Self { shared }
    }

    /// Takes the events in their order; never waits.
    pub(crate) fn publish(&self, batch: Batch) -> PublishAck {
        let shared = &self.shared;
        if !shared.link.is_up() {
            let detail = shared.link.detail();
            let away = || Outcome::unavailable(Unavailability::Down, format!("the MQTT broker is away: {detail}"));
            return PublishAck::Ready(batch.iter().map(|_| away()).collect());
        }
        let now = SystemTime::now();
        let packed: SmallVec<[_; 1]> = batch.into_iter().map(|outbound| shared.pack(outbound, now)).collect();
        let mut state = shared.state.lock();
        let answers: SmallVec<[_; 1]> =
            packed.into_iter().map(|packed| packed.and_then(|waiting| shared.enqueue(&mut state, waiting))).collect();
        let broken = state.hand_over().is_err();
        drop(state);
        if broken {
            shared.bell.notify_one();
        }
        PublishAck::Pending(Box::pin(async move {
            let mut outcomes = Outcomes::new();
            for answer in answers {
                outcomes.push(match answer {
                    Ok(answer) => answer.await.unwrap_or_else(|_| Outcome::unknown("the connector broke down over it")),
                    Err(outcome) => outcome,
                });
            }
            outcomes
        }))
    }

    /// Sends what waits, and ends the connection, before `deadline`; how many events stayed unanswered.
    pub(crate) async fn close(&self, deadline: Instant) -> usize {
        let shared = &self.shared;
        shared.state.lock().closing = true;
        loop {
            let idle = shared.idle.notified();
            if shared.state.lock().under_way() == 0 || timeout_at(deadline, idle).await.is_err() {
                break;
            }
        }
        let left = {
            let mut state = shared.state.lock();
            state.leaving = true;
            state.under_way()
        };
        shared.bell.notify_one();
        loop {
            let idle = shared.idle.notified();
            if shared.state.lock().standing.is_none() || timeout_at(deadline, idle).await.is_err() {
                break;
            }
        }
        shared.state.lock().give_up(&Fate::Unsaid, 0);
        left
    }

    /// Events that wait for their turn, and for their confirmation; confirmed ones; transport headers that MQTT could not hold.
    pub(crate) fn figures(&self) -> [(&'static str, u64); 4] {
        let state = self.shared.state.lock();
        let with_connection = state.standing.as_ref().map_or(0, Standing::under_way);
        [
            ("publish_queue", state.queue.len() as u64),
            ("publish_unconfirmed", with_connection as u64),
            ("publish_confirmed", self.shared.confirmed.load(Relaxed)),
            ("headers_left_out", self.shared.left_out.load(Relaxed)),
        ]
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        let mut state = self.shared.state.lock();
        (state.closing, state.leaving) = (true, true);
        drop(state);
        self.shared.bell.notify_one();
    }
}

type Answer = oneshot::Receiver<Outcome>;

impl Shared {
    fn new(version: Version, context: &Context, link: Arc<Link>) -> Self {
        let limits = &context.limits;
        Self {
            connector: context.name.clone(),
            link,
            version,
            state: Mutex::default(),
            bell: Notify::new(),
            idle: Notify::new(),
            patience: limits.publish_timeout * 3 / 4,
            room: limits.in_flight,
            topics: limits.topics,
            confirmed: AtomicU64::new(0),
            left_out: AtomicU64::new(0),
        }
    }

    /// Everything about an event that needs no lock. The ticket's answer goes nowhere yet.
    fn pack(&self, outbound: Outbound, now: SystemTime) -> Result<(Str, bool, Packed), Outcome> {
        let Outbound { message, topic, mode, options, .. } = outbound;
        let Publishing { retain } = options.as_ref().and_then(Options::get).copied().unwrap_or_default();
        let packed = match self.version {
            Version::V5 => pack(&message, mode, now)
                .map_err(|problem| Outcome::rejected(Rejection::TooLarge, format!("MQTT topic {topic}: {problem}")))?,
            Version::V4 => {
                Packed { properties: Properties::default(), payload: pack_plain(&message, mode), left_out: 0 }
            }
        };
        self.left_out.fetch_add(packed.left_out as u64, Relaxed);
        Ok((topic, retain, packed))
    }

    fn enqueue(&self, state: &mut State, (topic, retain, packed): (Str, bool, Packed)) -> Result<Answer, Outcome> {
        let size = packet_size(&topic, &packed);
        let Some(standing) = state.standing.as_ref().filter(|_| !state.closing) else {
            let detail = if state.closing { "the connector is closing".to_owned() } else { self.link.detail() };
            return Err(Outcome::unavailable(Unavailability::Down, detail));
        };
        if let Some(largest) = standing.largest.filter(|largest| size > *largest) {
            let detail =
                format!("the MQTT broker takes packets of at most {largest} bytes, this one would have {size}");
            return Err(Outcome::rejected(Rejection::TooLarge, detail));
        }
        if retain && !standing.retains {
            return Err(Outcome::rejected(Rejection::BadEvent, "the MQTT broker retains nothing: take `retain` out"));
        }
        let full = |detail: String| Err(Outcome::unavailable(Unavailability::GatewayLimit, detail));
        if state.queue.len() >= QUEUE || state.queued_bytes > 0 && state.queued_bytes + size > self.room {
            return full("more events wait for the MQTT broker than `limits.in_flight` allows".to_owned());
        }
        if !state.topics.contains(&topic) {
            if state.topics.len() >= self.topics {
                return full(format!("the connector has {} topics already, its limit is `limits.topics`", self.topics));
            }
            state.topics.insert(topic.clone());
        }
        let (answer, answered) = oneshot::channel();
        let ticket = Ticket { topic, deadline: Instant::now() + self.patience, answer };
        state.queued_bytes += size;
        state.queue.push_back(Waiting { packed, retain, size, ticket });
        Ok(answered)
    }

    fn outcome(&self, topic: &Str, verdict: Verdict) -> Outcome {
        let refused = |why: &str| format!("the MQTT broker refuses the event on topic {topic}: {why}");
        match verdict {
            Verdict::Taken => {
                let number = self.confirmed.fetch_add(1, Relaxed);
                Outcome::Stored(Position { topic: topic.clone(), partition: 0, place: Place::offset(number) })
            }
            Verdict::NotAuthorized => {
                Outcome::rejected(Rejection::Forbidden, refused("the gateway may not publish there"))
            }
            Verdict::TopicInvalid => Outcome::rejected(Rejection::BadEvent, refused("it takes no such topic")),
            Verdict::PayloadInvalid => Outcome::rejected(Rejection::BadEvent, refused("it takes no such payload")),
            Verdict::QuotaExceeded => Outcome::unavailable(Unavailability::Down, refused("a quota is exceeded")),
            Verdict::Refused => Outcome::unavailable(Unavailability::Down, refused("it gives no reason")),
            Verdict::Confused => Outcome::unknown(refused("it takes its packet identifier for another one's")),
        }
    }
}

/// Why events are given up.
enum Fate {
    /// The connection ended.
    Lost(String),
    /// The connector is closed.
    Unsaid,
}

impl State {
    fn under_way(&self) -> usize {
        self.queue.len() + self.standing.as_ref().map_or(0, Standing::under_way)
    }

    /// Gives the connection what it may have.
    fn hand_over(&mut self) -> Result<(), String> {
        let Some(standing) = &mut self.standing else { return Ok(()) };
        while standing.under_way() < standing.window
            && let Some(Waiting { packed, retain, size, ticket }) = self.queue.pop_front()
        {
            self.queued_bytes -= size;
            let handed = standing.client.publish(&ticket.topic, retain, packed);
            standing.handed.push_back(ticket); // what was refused was not sent: it is the last one then
            if handed.is_err() {
                return Err("the client takes no more publishes".into());
            }
        }
        Ok(())
    }

    /// Ends the tickets of all that waits or is with the connection; the last `unsent` of those that the client has never left.
    fn give_up(&mut self, fate: &Fate, unsent: usize) {
        let why = match fate {
            Fate::Lost(why) => why.as_str(),
            Fate::Unsaid => "the connector is closed",
        };
        if let Some(Standing { mut handed, sent, .. }) = self.standing.take() {
            let never_left = handed.split_off(handed.len().saturating_sub(unsent));
            for ticket in handed.into_iter().chain(sent.into_values()) {
                let detail = format!("MQTT topic {}: no confirmation came, it may be stored [{why}]", ticket.topic);
                ticket.answer(Outcome::unknown(detail));
            }
            never_left.into_iter().for_each(|ticket| ticket.never_left(why));
        }
        self.queued_bytes = 0;
        std::mem::take(&mut self.queue).into_iter().for_each(|waiting| waiting.ticket.never_left(why));
    }
}

impl Standing {
    fn under_way(&self) -> usize {
        self.handed.len() + self.sent.len()
    }

    /// The connection has not kept up with somebody's patience.
    fn is_late(&mut self, now: Instant) -> bool {
        while self.order.front().is_some_and(|packet| !self.sent.contains_key(packet)) {
            self.order.pop_front();
        }
        let oldest = self.order.front().and_then(|packet| self.sent.get(packet)).or(self.handed.front());
        oldest.is_some_and(|ticket| ticket.deadline <= now)
    }
}

impl Ticket {
    /// Whoever waited may have gone away meanwhile.
    fn answer(self, outcome: Outcome) {
        drop(self.answer.send(outcome));
    }

    fn never_left(self, why: &str) {
        let detail = format!("MQTT topic {}: the event was not sent [{why}]", self.topic);
        self.answer(Outcome::unavailable(Unavailability::Down, detail));
    }
}

#[cfg(test)]
mod tests;
