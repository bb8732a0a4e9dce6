//! Publishing: a batch is handed to the producers of its partitions in the order of the calls; each event's outcome is what its send
//! receipt says.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    thread::{self, ThreadId},
    time::Duration,
};

use meshgate_api::{
    Str,
    connector::{Batch, Outbound, PublishAck},
    outcome::{Outcome, Outcomes, Rejection, Unavailability},
    position::{Place, Position},
};
use parking_lot::RwLock;
use pulsar::{
    Error,
    message::proto::{CommandSendReceipt, ServerError},
    producer::SendFuture,
};
use smallvec::SmallVec;
use tokio::{
    runtime::{Handle, RuntimeFlavor},
    time::{Instant, timeout_at},
};

use crate::{
    client::{Client, server_error},
    message::message,
    naming::is_kept,
    options::{BATCH_BYTES, Sending},
    partition,
    producers::{NoSender, Partition, Producers, Topic},
    schema,
};

/// The largest message that a broker takes unless it is configured otherwise, less room for the rest of its frame.
const LARGEST: usize = (5 << 20) - (10 << 10);
/// Between two looks whether topics have more partitions.
pub(crate) const REFRESH: Duration = Duration::from_secs(10);
/// How often it is looked whether everything is answered, when all is to end.
const GLANCE: Duration = Duration::from_millis(20);

/// The publishing half of a connector.
#[derive(Debug)]
pub(crate) struct Publisher {
    client: Arc<Client>,
    /// By the thread of a runtime that has just one; `None` for all others.
    runtimes: RwLock<HashMap<Option<ThreadId>, Arc<Producers>>>,
    spread: AtomicU32,
    in_flight: Arc<AtomicU64>,
}

/// One event of a batch: what is known of it, or the receipt that is awaited.
enum Fate {
    Known(Outcome),
    Pending { topic: Str, partition: u32, receipt: SendFuture, is_outdated: Arc<AtomicBool>, held: Held },
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
        Self { client, runtimes: RwLock::default(), spread: AtomicU32::new(0), in_flight: Arc::default() }
    }

    /// Hands the batch over. Waits for what the broker says of a topic that was not published to before, and for earlier calls.
    pub(crate) async fn publish(&self, batch: Batch) -> PublishAck {
        let deadline = Instant::now() + self.client.limits.publish_timeout * 8 / 10;
        let producers = self.producers();
        let mut fates = SmallVec::<[Fate; 1]>::new();
        for outbound in &batch {
            let sent = self.send(&producers, outbound, deadline).await;
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

    /// Those of the runtime that this is called in.
    fn producers(&self) -> Arc<Producers> {
        let is_alone = Handle::current().runtime_flavor() == RuntimeFlavor::CurrentThread;
        let runtime = is_alone.then(|| thread::current().id());
        if let Some(producers) = self.runtimes.read().get(&runtime) {
            return producers.clone();
        }
        self.runtimes.write().entry(runtime).or_default().clone()
    }

    /// Hands one event over. An error is its outcome: it was not handed over.
    async fn send(&self, producers: &Producers, outbound: &Outbound, deadline: Instant) -> Result<Fate, Outcome> {
        let sending = Sending::of(outbound.options.as_ref());
        let (message, size) = message(outbound);
        let largest = LARGEST - sending.batch.map_or(0, |_| BATCH_BYTES);
        if size > largest {
            let detail = format!("Pulsar takes at most {largest} bytes, the message has about {size}");
            return Err(Outcome::rejected(Rejection::TooLarge, detail));
        }
        self.check_link()?;
        let topic = match producers.topic(&outbound.topic, sending) {
            Some(topic) => topic,
            None => self.learn(producers, &outbound.topic, sending, deadline).await?,
        };
        let count = topic.partitions.len() as u32;
        let chosen = partition::choose(outbound, count, || self.spread.fetch_add(1, Relaxed));
        let partition = &topic.partitions[chosen as usize];
        let late = |_| self.unavailable("earlier events wait for their producer");
        let mut slot = timeout_at(deadline, partition.producer.lock()).await.map_err(late)?;
        slot.take_if(|sender| sender.is_outdated.load(Relaxed));
        let sender = match &mut *slot {
            Some(sender) => sender,
            none => {
                self.check_link()?;
                let made = producers.make(&self.client, partition).await;
                none.insert(made.map_err(|why| self.refusal(partition, &why))?)
            }
        };
        if let Err(problem) = sender.form.check(&message.payload) {
            let detail = format!("Pulsar topic {} {problem}", partition.name);
            return Err(Outcome::rejected(Rejection::BadEvent, detail));
        }
        let held = Held::new(&self.in_flight);
        let receipt = match Box::pin(sender.producer.send_non_blocking(message)).await {
            Ok(receipt) => receipt,
            Err(problem) if schema::is_missed(&problem) => {
                sender.is_outdated.store(true, Relaxed);
                return Err(self.unavailable(&format!("the schema of {} has changed: send it again", partition.name)));
            }
            Err(problem) => return Err(self.refusal(partition, &problem.into())),
        };
        let is_outdated = sender.is_outdated.clone();
        Ok(Fate::Pending { topic: outbound.topic.clone(), partition: partition.number, receipt, is_outdated, held })
    }

    fn check_link(&self) -> Result<(), Outcome> {
        if self.client.link.is_up() { Ok(()) } else { Err(self.unavailable(&self.client.link.detail())) }
    }

    /// The outcome of an event that was not handed over.
    fn refusal(&self, partition: &Partition, why: &NoSender) -> Outcome {
        match why {
            NoSender::Broker(problem) => {
                refusal(partition, problem).unwrap_or_else(|| self.unavailable(&problem.to_string()))
            }
            NoSender::Schema(kind) => Outcome::rejected(
                Rejection::BadEvent,
                format!(
                    "Pulsar topic {} insists on its {kind} schema: events are written with JSON and text schemas only",
                    partition.name
                ),
            ),
        }
    }

    fn unavailable(&self, why: &str) -> Outcome {
        let connector = &self.client.connector;
        let detail = format!("Pulsar connector {connector}: the event is not stored [{why}]");
        Outcome::unavailable(Unavailability::Down, detail)
    }

    /// Asks the broker for a topic's partitions.
    async fn learn(
        &self,
        producers: &Producers,
        name: &Str,
        sending: Sending,
        deadline: Instant,
    ) -> Result<Arc<Topic>, Outcome> {
        let most = self.client.limits.topics;
        if producers.count() >= most {
            let detail = format!("the connector publishes to {most} topics already (limits.topics)");
            return Err(Outcome::unavailable(Unavailability::GatewayLimit, detail));
        }
        let partitions = timeout_at(deadline, self.ask_partitions(name)).await;
        let late = |_| self.unavailable("the broker does not say what partitions there are");
        let partitions = partitions.map_err(late)?.map_err(|problem| self.unavailable(&problem))?;
        Ok(producers.learn(name, sending, partitions))
    }

    async fn ask_partitions(&self, name: &Str) -> Result<u32, String> {
        let name = name.to_string();
        self.client.begin(|broker| async move { Box::pin(broker.lookup_partitioned_topic_number(name)).await }).await
    }

    /// Looks whether topics have more partitions. To be called once in a while.
    pub(crate) async fn refresh(&self) {
        let runtimes: Vec<_> = self.runtimes.read().values().cloned().collect();
        let mut names: Vec<_> = runtimes.iter().flat_map(|producers| producers.names()).collect();
        names.sort_unstable();
        names.dedup();
        for name in names {
            if !self.client.link.is_up() {
                return;
            }
            if let Ok(partitions) = self.ask_partitions(&name).await {
                runtimes.iter().for_each(|producers| producers.grow(&name, partitions));
            }
        }
    }

    /// Waits for the receipts until `deadline`; how many events stay unanswered.
    pub(crate) async fn close(&self, deadline: Instant) -> usize {
        while self.in_flight.load(Relaxed) > 0 && Instant::now() < deadline {
            tokio::time::sleep(GLANCE).await;
        }
        self.runtimes.write().drain().for_each(|(_, producers)| producers.clear());
        self.in_flight.load(Relaxed) as usize
    }

    /// Events on their way, distinct topics.
    pub(crate) fn figures(&self) -> [(&'static str, u64); 2] {
        let topics = self.runtimes.read().values().map(|producers| producers.count()).max();
        [("in_flight_events", self.in_flight.load(Relaxed)), ("topics", topics.unwrap_or(0) as u64)]
    }
}

impl Fate {
    async fn outcome(self) -> Outcome {
        match self {
            Self::Known(outcome) => outcome,
            Self::Pending { topic, partition, receipt, is_outdated, held: _held } => match receipt.await {
                Ok(receipt) => stored(topic, partition, &receipt),
                Err(problem) => {
                    is_outdated.fetch_or(schema::is_missed(&problem), Relaxed);
                    unanswered(&topic, &problem)
                }
            },
        }
    }
}

fn stored(topic: Str, partition: u32, receipt: &CommandSendReceipt) -> Outcome {
    if !is_kept(&topic) {
        return Outcome::unknown(format!(
            "Pulsar topic {topic}: who listened has it, and nobody else: it is not stored"
        ));
    }
    match &receipt.message_id {
        // The broker names no place for what it takes for a duplicate.
        Some(id) if id.ledger_id != u64::MAX && id.entry_id != u64::MAX => {
            let index = id.batch_index.and_then(|index| u32::try_from(index).ok()).unwrap_or(0);
            let place = Place { generation: id.ledger_id, offset: id.entry_id, index };
            Outcome::Stored(Position { topic, partition, place })
        }
        _ => Outcome::unknown(format!("Pulsar topic {topic}: the receipt names no place")),
    }
}

/// What the lack of a receipt means. The crate sends again after a reconnect: so what is refused may have been stored by an earlier try,
/// unless an earlier try would have been refused just so.
fn unanswered(topic: &str, problem: &Error) -> Outcome {
    match server_error(problem) {
        Some((kind @ ServerError::NotAllowedError, text)) => {
            Outcome::rejected(Rejection::BadEvent, format!("Pulsar topic {topic}: {} {text}", kind.as_str_name()))
        }
        _ => Outcome::unknown(format!("Pulsar topic {topic}: no receipt came: {problem}")),
    }
}

/// The outcome of an event that was not handed over, where the broker has said why itself.
fn refusal(partition: &Partition, problem: &Error) -> Option<Outcome> {
    let (kind, text) = server_error(problem)?;
    let topic = &partition.name;
    Some(match kind {
        ServerError::TopicNotFound => {
            Outcome::unavailable(Unavailability::Down, format!("Pulsar topic {topic} does not exist: {text}"))
        }
        ServerError::IncompatibleSchema => {
            Outcome::rejected(Rejection::BadEvent, format!("Pulsar topic {topic} does not take the event: {text}"))
        }
        _ => Outcome::unavailable(Unavailability::Down, format!("Pulsar topic {topic}: {} {text}", kind.as_str_name())),
    })
}
