//! Publishing: a batch is handed to the producers of its partitions in the order of the calls; each event's outcome is what its send
//! receipt says.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use meshgate_api::{
    Str, binding,
    connector::{Batch, Order, Outbound, PublishAck},
    outcome::{Outcome, Outcomes, Rejection, Unavailability},
    position::{Place, Position},
};
use parking_lot::RwLock;
use pulsar::{
    Error, Producer, ProducerOptions, TokioExecutor,
    message::proto::{CommandSendReceipt, ServerError},
    producer::{Message, SendFuture},
};
use smallvec::SmallVec;
use tokio::{
    sync::Mutex,
    time::{Instant, timeout_at},
};

use crate::{
    client::{Client, server_error},
    decode::{BASE64, NULL},
    naming::partition_name,
    partition,
};

/// The largest message that a broker takes unless it is configured otherwise, less room for the rest of its frame.
const LARGEST: usize = (5 << 20) - (10 << 10);
/// Between two looks whether a topic has more partitions.
pub(crate) const REFRESH: Duration = Duration::from_secs(10);
/// How often it is looked whether everything is answered, when all is to end.
const GLANCE: Duration = Duration::from_millis(20);

/// The publishing half of a connector.
#[derive(Debug)]
pub(crate) struct Publisher {
    client: Arc<Client>,
    topics: RwLock<HashMap<Str, Arc<Topic>>>,
    spread: AtomicU32,
    in_flight: Arc<AtomicU64>,
}

#[derive(Debug)]
struct Topic {
    partitions: Vec<Arc<Partition>>,
}

struct Partition {
    number: u32,
    /// What the broker calls it.
    name: String,
    /// Who has it hands over the next event: so the calls keep their order.
    producer: Mutex<Option<Producer<TokioExecutor>>>,
}

impl std::fmt::Debug for Partition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Partition").field("name", &self.name).finish_non_exhaustive()
    }
}

/// One event of a batch: what is known of it, or the receipt that is awaited.
enum Fate {
    Known(Outcome),
    Pending { topic: Str, partition: u32, receipt: SendFuture, held: Held },
}

/// Counts an event as long as it is in flight.
struct Held(Arc<AtomicU64>);

impl Held {
    fn new(count: &Arc<AtomicU64>) -> Self {
        count.fetch_add(1, Relaxed);
        Self(count.clone())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

impl Publisher {
    pub(crate) fn new(client: Arc<Client>) -> Self {
        Self { client, topics: RwLock::default(), spread: AtomicU32::new(0), in_flight: Arc::default() }
    }

    /// Hands the batch over. Waits for what the broker says of a topic that was not published to before, and for earlier calls.
    pub(crate) async fn publish(&self, batch: Batch) -> PublishAck {
        let deadline = Instant::now() + self.client.limits.publish_timeout * 8 / 10;
        let mut fates = SmallVec::<[Fate; 1]>::new();
        for outbound in &batch {
            let sent = self.send(outbound, deadline).await;
            fates.push(sent.unwrap_or_else(Fate::Known));
        }
        PublishAck::Pending(Box::pin(async move {
            let mut outcomes = Outcomes::with_capacity(fates.len());
            for fate in fates {
                outcomes.push(fate.outcome().await);
            }
            outcomes
        }))
    }

    /// Hands one event over. An error is its outcome: it was not handed over.
    async fn send(&self, outbound: &Outbound, deadline: Instant) -> Result<Fate, Outcome> {
        let message = message(outbound)?;
        let topic = self.topic(&outbound.topic, deadline).await?;
        let count = topic.partitions.len() as u32;
        let chosen = partition::choose(outbound, count, || self.spread.fetch_add(1, Relaxed));
        let partition = &topic.partitions[chosen as usize];
        let late = |_| self.unavailable("its producer did not come to the event in time");
        let mut producer = timeout_at(deadline, partition.producer.lock()).await.map_err(late)?;
        self.check_link()?;
        let producer = match &mut *producer {
            Some(producer) => producer,
            none => none.insert(self.producer(partition).await?),
        };
        let held = Held::new(&self.in_flight);
        match producer.send_non_blocking(message).await {
            Ok(receipt) => {
                Ok(Fate::Pending { topic: outbound.topic.clone(), partition: partition.number, receipt, held })
            }
            Err(problem) => {
                Err(refusal(&partition.name, &problem).unwrap_or_else(|| self.unavailable(&problem.to_string())))
            }
        }
    }

    fn check_link(&self) -> Result<(), Outcome> {
        if self.client.link.is_up() { Ok(()) } else { Err(self.unavailable(&self.client.link.detail())) }
    }

    fn unavailable(&self, why: &str) -> Outcome {
        let connector = &self.client.connector;
        let detail = format!("Pulsar connector {connector}: the event is not stored [{why}]");
        Outcome::unavailable(Unavailability::Down, detail)
    }

    /// What is known of a topic; asks the broker if nothing is.
    async fn topic(&self, name: &Str, deadline: Instant) -> Result<Arc<Topic>, Outcome> {
        if let Some(topic) = self.topics.read().get(name) {
            return Ok(topic.clone());
        }
        self.check_link()?;
        if self.topics.read().len() >= self.client.limits.topics {
            let detail =
                format!("the connector publishes to {} topics already (limits.topics)", self.client.limits.topics);
            return Err(Outcome::unavailable(Unavailability::GatewayLimit, detail));
        }
        let partitions = timeout_at(deadline, self.ask_partitions(name)).await;
        let partitions =
            partitions.map_err(|_| self.unavailable("the broker does not say what partitions there are"))?;
        let partitions = partitions.map_err(|problem| self.unavailable(&problem))?;
        let mut topics = self.topics.write();
        let topic = topics.entry(name.clone()).or_insert_with(|| Arc::new(Topic::new(name, partitions, &[])));
        Ok(topic.clone())
    }

    async fn ask_partitions(&self, name: &Str) -> Result<u32, String> {
        let name = name.to_string();
        self.client.begin(|broker| async move { broker.lookup_partitioned_topic_number(name).await }).await
    }

    async fn producer(&self, partition: &Partition) -> Result<Producer<TokioExecutor>, Outcome> {
        let Some(broker) = self.client.broker() else { return Err(self.unavailable(&self.client.link.detail())) };
        let name = partition.name.clone();
        // `send_non_blocking` waits where the connection has too much to write, instead of refusing.
        let options = ProducerOptions { block_queue_if_full: true, ..ProducerOptions::default() };
        let making =
            self.client.spawn(async move { broker.producer().with_topic(name).with_options(options).build().await });
        match making.await {
            Ok(Ok(producer)) => Ok(producer),
            Ok(Err(problem)) => {
                Err(refusal(&partition.name, &problem).unwrap_or_else(|| self.unavailable(&problem.to_string())))
            }
            Err(problem) => Err(self.unavailable(&problem.to_string())),
        }
    }

    /// Looks whether topics have more partitions. To be called once in a while.
    pub(crate) async fn refresh(&self) {
        let known: Vec<_> = self.topics.read().iter().map(|(name, topic)| (name.clone(), topic.clone())).collect();
        for (name, topic) in known {
            if !self.client.link.is_up() {
                return;
            }
            let Ok(partitions) = self.ask_partitions(&name).await else { continue };
            if partitions as usize > topic.partitions.len() || (partitions == 1 && !topic.is_partitioned()) {
                let grown = Topic::new(&name, partitions, &topic.partitions);
                self.topics.write().insert(name, Arc::new(grown));
            }
        }
    }

    /// Waits for the receipts until `deadline`; how many events stay unanswered.
    pub(crate) async fn close(&self, deadline: Instant) -> usize {
        while self.in_flight.load(Relaxed) > 0 && Instant::now() < deadline {
            tokio::time::sleep(GLANCE).await;
        }
        self.topics.write().clear();
        self.in_flight.load(Relaxed) as usize
    }

    /// Events on their way, distinct topics.
    pub(crate) fn figures(&self) -> [(&'static str, u64); 2] {
        [("in_flight_events", self.in_flight.load(Relaxed)), ("topics", self.topics.read().len() as u64)]
    }
}

impl Topic {
    /// `partitions` is 0 for a topic without any. Those that are known already keep their producers.
    fn new(name: &str, partitions: u32, known: &[Arc<Partition>]) -> Self {
        let numbers: Vec<_> = if partitions == 0 { vec![None] } else { (0..partitions).map(Some).collect() };
        let partition = |number: Option<u32>| {
            let name = partition_name(name, number);
            let known = known.iter().find(|partition| partition.name == name);
            known.cloned().unwrap_or_else(|| {
                Arc::new(Partition { number: number.unwrap_or(0), name, producer: Mutex::new(None) })
            })
        };
        Self { partitions: numbers.into_iter().map(partition).collect() }
    }

    fn is_partitioned(&self) -> bool {
        self.partitions.first().is_some_and(|first| crate::naming::of_partition(&first.name).1.is_some())
    }
}

impl Fate {
    async fn outcome(self) -> Outcome {
        let (topic, partition, receipt, held) = match self {
            Self::Known(outcome) => return outcome,
            Self::Pending { topic, partition, receipt, held } => (topic, partition, receipt, held),
        };
        let outcome = match receipt.await {
            Ok(receipt) => stored(topic, partition, &receipt),
            Err(problem) => unanswered(&topic, &problem),
        };
        drop(held);
        outcome
    }
}

fn stored(topic: Str, partition: u32, receipt: &CommandSendReceipt) -> Outcome {
    match &receipt.message_id {
        // The broker says so of what it takes for a duplicate.
        Some(id) if id.ledger_id == u64::MAX || id.entry_id == u64::MAX => {
            Outcome::unknown(format!("Pulsar topic {topic}: the receipt names no place"))
        }
        Some(id) => {
            let index = id.batch_index.and_then(|index| u32::try_from(index).ok()).unwrap_or(0);
            let place = Place { generation: id.ledger_id, offset: id.entry_id, index };
            Outcome::Stored(Position { topic, partition, place })
        }
        None => Outcome::unknown(format!("Pulsar topic {topic}: the receipt names no place")),
    }
}

/// What the lack of a receipt means. The crate sends again after a reconnect: so what is refused may have been stored by an earlier try,
/// unless an earlier try would have been refused just so.
fn unanswered(topic: &str, problem: &Error) -> Outcome {
    match server_error(problem) {
        Some((kind @ (ServerError::NotAllowedError | ServerError::IncompatibleSchema), text)) => {
            Outcome::rejected(Rejection::BadEvent, format!("Pulsar topic {topic}: {} {text}", kind.as_str_name()))
        }
        _ => Outcome::unknown(format!("Pulsar topic {topic}: no receipt came: {problem}")),
    }
}

/// The outcome of an event that was not handed over, where the broker has said why itself.
fn refusal(topic: &str, problem: &Error) -> Option<Outcome> {
    use ServerError as E;
    let (kind, text) = server_error(problem)?;
    let detail = format!("Pulsar topic {topic}: {} {text}", kind.as_str_name());
    match kind {
        E::TopicNotFound => {
            Some(Outcome::unavailable(Unavailability::Down, format!("Pulsar topic {topic} does not exist: {text}")))
        }
        E::IncompatibleSchema | E::UnsupportedVersionError => Some(Outcome::rejected(Rejection::BadEvent, detail)),
        E::AuthenticationError
        | E::AuthorizationError
        | E::ConsumerBusy
        | E::InvalidTopicName
        | E::NotAllowedError
        | E::ProducerBlockedQuotaExceededError
        | E::ProducerBlockedQuotaExceededException
        | E::ProducerBusy
        | E::ProducerFenced
        | E::ServiceNotReady
        | E::TooManyRequests
        | E::TopicTerminatedError => Some(Outcome::unavailable(Unavailability::Down, detail)),
        // The bookies may have it all the same, or will.
        _ => None,
    }
}

fn message(outbound: &Outbound) -> Result<Message, Outcome> {
    let (message, mode) = (&outbound.message, outbound.mode);
    let value = binding::value(message, mode);
    let mut properties = HashMap::with_capacity(8 + message.event.extensions.len() + message.headers.len());
    let mut size = value.as_deref().map_or(0, <[u8]>::len);
    binding::headers(message, mode, |name, value| {
        // A property is text, and of a name that is there twice the last one stays.
        let (binary, text) = (format!("{BASE64}{name}"), std::str::from_utf8(value));
        properties.remove(if text.is_ok() { binary.as_str() } else { name });
        size += name.len() + 2 * value.len();
        match text {
            Ok(text) => properties.insert(name.to_owned(), text.to_owned()),
            Err(_) => properties.insert(binary, STANDARD.encode(value)),
        };
    });
    if value.is_none() {
        properties.insert(NULL.to_owned(), "true".to_owned());
    }
    if size > LARGEST {
        let detail = format!("Pulsar takes at most {LARGEST} bytes, the message has about {size}");
        return Err(Outcome::rejected(Rejection::TooLarge, detail));
    }
    // Without a key, members of a Key_Shared subscription share the channels.
    let by_channel = outbound.key.is_none() && outbound.order == Order::Kept;
    let channel = message.channel.as_ref().filter(|_| by_channel);
    Ok(Message {
        payload: value.map_or_else(Vec::new, |value| value.to_vec()),
        properties,
        partition_key: outbound.key.as_ref().map(ToString::to_string),
        ordering_key: channel.map(|channel| channel.as_bytes().to_vec()),
        ..Message::default()
    })
}

#[cfg(test)]
mod tests;
