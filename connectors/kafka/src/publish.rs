//! Publishing: a batch is handed to librdkafka in the order of the calls, and each event's outcome is what its delivery report says.

use std::{
    collections::HashMap,
    future::poll_fn,
    iter,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime},
};

use meshgate_api::{
    Str, binding,
    connector::{Batch, Order, Outbound, PublishAck},
    link::Link,
    outcome::{Outcome, Outcomes, Rejection, Unavailability},
};
use parking_lot::{Mutex, RwLock};
use rdkafka::{
    config::FromClientConfigAndContext,
    error::{KafkaError, RDKafkaErrorCode as Code},
    message::{Header, OwnedHeaders},
    producer::{BaseRecord, Producer, ThreadedProducer},
};
use smallvec::SmallVec;
use tokio::{task::spawn_blocking, time::Instant};
use tracing::{error, warn};

use crate::{
    client::{Clients, code},
    delivery::{Refusals, Reports, Ticket, missing},
    metadata::Metadata,
    partition,
    places::millis,
    trouble::Trouble,
};

type Sender = ThreadedProducer<Reports>;
/// Topics that cannot be published to now, and why.
type Refused = SmallVec<[(Str, Outcome); 0]>;

/// How long a producer that is given up may still send what it has.
const FAREWELL: Duration = Duration::from_secs(2);

/// The publishing half of a connector.
pub(crate) struct Publisher {
    clients: Clients,
    link: Arc<Link>,
    metadata: Arc<Metadata>,
    most_topics: usize,
    trouble: Arc<Trouble>,
    refusals: Arc<Refusals>,
    /// Topics that were published to, and how many partitions each has: 0 if the broker is about to make it.
    topics: RwLock<HashMap<Str, u32>>,
    /// The listing that `topics` was last compared with.
    round: AtomicU64,
    /// `None` while it is made anew, and after the end.
    sender: RwLock<Option<Sender>>,
    lone_sender: Mutex<Option<Sender>>,
    spread: AtomicU32,
    renewals: AtomicU64,
}

/// One event of a batch: what is known of it, or the ticket that will tell.
enum Fate {
    Known(Outcome),
    Pending(Arc<Ticket>),
}

impl Publisher {
    pub(crate) fn new(
        clients: Clients,
        link: Arc<Link>,
        metadata: Arc<Metadata>,
        most_topics: usize,
    ) -> Result<Self, String> {
        let publisher = Self {
            clients,
            link,
            metadata,
            most_topics,
            trouble: Arc::default(),
            refusals: Arc::default(),
            topics: RwLock::default(),
            round: AtomicU64::new(0),
            sender: RwLock::new(None),
            lone_sender: Mutex::new(None),
            spread: AtomicU32::new(0),
            renewals: AtomicU64::new(0),
        };
        *publisher.sender.write() = Some(publisher.make_sender(&publisher.clients.producer())?);
        Ok(publisher)
    }

    /// Hands the batch over. Waits only for what the broker says of a topic that was not published to before.
    pub(crate) async fn publish(self: &Arc<Self>, batch: Batch) -> PublishAck {
        if !self.link.is_up() {
            return PublishAck::Ready(batch.iter().map(|_| self.down()).collect());
        }
        self.compare_topics();
        let unknown: SmallVec<[Str; 0]> = {
            let topics = self.topics.read();
            let is_unknown = |outbound: &&Outbound| !topics.contains_key(&outbound.topic);
            batch.iter().filter(is_unknown).map(|outbound| outbound.topic.clone()).collect()
        };
        let mut refused = Refused::new();
        for topic in unknown {
            if let Err(outcome) = self.learn(&topic).await {
                refused.push((topic, outcome));
            }
        }
        self.hand_over(batch, &refused)
    }

    fn hand_over(self: &Arc<Self>, batch: Batch, refused: &Refused) -> PublishAck {
        let fates: SmallVec<[Fate; 1]> = {
            let (topics, sender) = (self.topics.read(), self.sender.read());
            let now = millis(SystemTime::now());
            let fate = |outbound: &Outbound| match (topics.get(&outbound.topic), &*sender) {
                (Some(partitions), Some(sender)) => self.send(sender, outbound, *partitions, now),
                (Some(_), None) => {
                    Fate::Known(Outcome::unavailable(Unavailability::Down, "the Kafka producer is being made anew"))
                }
                (None, _) => {
                    let known = refused.iter().find(|(topic, _)| *topic == outbound.topic);
                    Fate::Known(known.map_or_else(|| missing(&outbound.topic), |(_, outcome)| outcome.clone()))
                }
            };
            batch.iter().map(fate).collect()
        };
        PublishAck::Pending(Box::pin(self.clone().outcomes(batch, fates)))
    }

    /// Waits for the reports. The events of a batch that the broker refused as a whole are sent again, each by itself.
    async fn outcomes(self: Arc<Self>, batch: Batch, fates: SmallVec<[Fate; 1]>) -> Outcomes {
        let mut outcomes = Outcomes::with_capacity(batch.len());
        for (outbound, fate) in iter::zip(&batch, fates) {
            outcomes.push(match fate {
                Fate::Known(outcome) => outcome,
                Fate::Pending(ticket) => {
                    let report = poll_fn(|context| ticket.poll(context)).await;
                    if report.blames_the_batch() { self.send_alone(outbound).await } else { report.outcome(outbound) }
                }
            });
        }
        outcomes
    }

    async fn send_alone(&self, outbound: &Outbound) -> Outcome {
        let partitions = self.topics.read().get(&outbound.topic).copied().unwrap_or(0);
        let fate = {
            let mut sender = self.lone_sender.lock();
            let sender = match &mut *sender {
                Some(sender) => sender,
                none => match self.make_sender(&self.clients.lone_producer()) {
                    Ok(made) => none.insert(made),
                    Err(problem) => return Outcome::unavailable(Unavailability::Down, problem),
                },
            };
            self.send(sender, outbound, partitions, millis(SystemTime::now()))
        };
        match fate {
            Fate::Known(outcome) => outcome,
            Fate::Pending(ticket) => poll_fn(|context| ticket.poll(context)).await.outcome(outbound),
        }
    }

    /// Hands one event to librdkafka, which copies it.
    fn send(&self, sender: &Sender, outbound: &Outbound, partitions: u32, now: i64) -> Fate {
        let partition = match (partitions, outbound.order, &outbound.key) {
            (0, ..) => None, // librdkafka waits for the topic, and chooses as Java does
            (_, Order::Free, Some(_)) => Some(self.spread.fetch_add(1, Relaxed) % partitions),
            _ => partition::choose(outbound, partitions),
        };
        let value = binding::value(&outbound.message, outbound.mode);
        let ticket = Arc::new(Ticket::new(&self.refusals));
        let record = BaseRecord {
            topic: &outbound.topic,
            partition: partition.map(|partition| partition as i32),
            payload: value.as_deref(),
            key: outbound.key.as_deref().map(str::as_bytes),
            timestamp: Some(now),
            headers: Some(headers(outbound)),
            delivery_opaque: ticket.clone(),
        };
        match sender.send(record) {
            Ok(()) => Fate::Pending(ticket),
            Err((problem, _)) => Fate::Known(Self::refused(&outbound.topic, &problem)),
        }
    }

    /// librdkafka did not take the event.
    fn refused(topic: &Str, problem: &KafkaError) -> Outcome {
        match code(problem) {
            Some(Code::QueueFull) => Outcome::unavailable(
                Unavailability::GatewayLimit,
                "the Kafka producer's queue is full (limits.in_flight): slow down",
            ),
            Some(Code::MessageSizeTooLarge) => Outcome::rejected(
                Rejection::TooLarge,
                format!("Kafka topic {topic}: the record is larger than any that the gateway sends"),
            ),
            Some(Code::UnknownTopic | Code::UnknownTopicOrPartition) => missing(topic),
            // The listing and the producer learn of it each at its own time, both soon.
            Some(Code::UnknownPartition) => Outcome::unavailable(
                Unavailability::Down,
                format!("the number of partitions of Kafka topic {topic} is changing"),
            ),
            _ => Outcome::unavailable(Unavailability::Down, format!("Kafka topic {topic}: {problem}")),
        }
    }

    fn down(&self) -> Outcome {
        let (connector, why) = (&self.clients.connector, self.link.detail());
        let detail = format!("Kafka connector {connector}: no broker answers, the event is not stored [{why}]");
        Outcome::unavailable(Unavailability::Down, detail)
    }

    /// Finds out how many partitions a topic has that was not published to before.
    async fn learn(&self, topic: &Str) -> Result<(), Outcome> {
        let known = self.metadata.news().listing.get(topic).copied();
        let partitions = match known {
            Some(partitions) => Some(partitions),
            None => self.metadata.fresh().await.map_err(|_| self.down())?.get(topic).copied(),
        };
        let partitions = match partitions {
            Some(partitions) => partitions,
            None if self.clients.creates_topics() => 0,
            None => return Err(missing(topic)),
        };
        let mut topics = self.topics.write();
        if topics.len() >= self.most_topics && !topics.contains_key(topic) {
            let detail = format!(
                "Kafka connector {} publishes to {} topics already (limits.topics)",
                self.clients.connector, self.most_topics
            );
            return Err(Outcome::unavailable(Unavailability::GatewayLimit, detail));
        }
        topics.insert(topic.clone(), partitions);
        Ok(())
    }

    /// Takes over from a new listing what concerns the topics that are published to.
    fn compare_topics(&self) {
        let round = self.metadata.round();
        if round == self.round.load(Relaxed) {
            return;
        }
        self.round.store(round, Relaxed);
        let listing = self.metadata.news().listing;
        let mut topics = self.topics.write();
        topics.retain(|topic, partitions| match listing.get(topic) {
            Some(now) => {
                *partitions = *now;
                true
            }
            None => *partitions == 0,
        });
    }

    fn make_sender(&self, config: &rdkafka::ClientConfig) -> Result<Sender, String> {
        let reports = Reports {
            link: self.link.clone(),
            connector: self.clients.connector.clone(),
            trouble: self.trouble.clone(),
            refusals: self.refusals.clone(),
            bootstrap: self.clients.bootstrap(),
        };
        Sender::from_config_and_context(config, reports).map_err(|problem| problem.to_string())
    }

    /// Makes the producer anew if it cannot go on. To be called once in a while.
    pub(crate) async fn tend(self: Arc<Self>) {
        for sender in self.sender.read().iter().chain(&*self.lone_sender.lock()) {
            sender.client().context().bootstrap.tend(sender.client());
        }
        if !self.link.is_up() {
            self.trouble.excuse();
            return;
        }
        let Some(reason) = self.trouble.verdict(self.clients.message_timeout()) else { return };
        warn!(connector = %self.clients.connector, "the Kafka producer is made anew: {reason}");
        self.renewals.fetch_add(1, Relaxed);
        let renewed = spawn_blocking(move || {
            // Until the old one is done nothing is sent, so that no key's order is broken.
            let old = self.sender.write().take();
            farewell(old, FAREWELL);
            drop(self.lone_sender.lock().take());
            match self.make_sender(&self.clients.producer()) {
                Ok(sender) => *self.sender.write() = Some(sender),
                Err(problem) => {
                    error!(connector = %self.clients.connector, "no Kafka producer can be made: {problem}");
                    self.trouble.is_fatal(&problem);
                }
            }
        });
        if let Err(problem) = renewed.await {
            error!("renewing the Kafka producer failed: {problem}");
        }
    }

    /// Sends what is queued until `deadline`; how many events stay unanswered.
    pub(crate) async fn close(self: Arc<Self>, deadline: Instant) -> usize {
        let senders = [self.sender.write().take(), self.lone_sender.lock().take()];
        let time = deadline.saturating_duration_since(Instant::now());
        let left = spawn_blocking(move || senders.into_iter().map(|sender| farewell(sender, time)).sum());
        left.await.unwrap_or_else(|problem| {
            error!("closing the Kafka producer failed: {problem}");
            0
        })
    }

    /// Events on their way, distinct topics, producers made anew.
    pub(crate) fn figures(&self) -> [(&'static str, u64); 3] {
        let in_flight = self.sender.read().as_ref().map_or(0, Producer::in_flight_count);
        [
            ("in_flight_events", u64::from(in_flight.unsigned_abs())),
            ("topics", self.topics.read().len() as u64),
            ("producer_renewals", self.renewals.load(Relaxed)),
        ]
    }
}

/// Lets a producer send what it has, and ends it; how many events it leaves unanswered. Blocks.
fn farewell(sender: Option<Sender>, time: Duration) -> usize {
    let Some(sender) = sender else { return 0 };
    if sender.flush(time).is_ok() {
        return 0;
    }
    sender.in_flight_count().unsigned_abs() as usize
}

fn headers(outbound: &Outbound) -> OwnedHeaders {
    let message = &outbound.message;
    let about = 8 + message.event.extensions.len() + message.headers.len();
    let mut headers = Some(OwnedHeaders::new_with_capacity(about));
    binding::headers(message, outbound.mode, |key, value| {
        headers = headers.take().map(|headers| headers.insert(Header { key, value: Some(value) }));
    });
    headers.unwrap_or_default()
}

#[cfg(test)]
mod tests;
