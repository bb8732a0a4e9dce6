//! Topics that are published to, and their producers, as one runtime has them.
//!
//! Each runtime has a client of the crate and producers of its own: what is published on one of the gateway's workers is sent, and its
//! receipt received, on that worker. To go over to another thread and back cost a third of a publish.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, atomic::AtomicBool},
};

use meshgate_api::Str;
use parking_lot::RwLock;
use pulsar::{Error, Producer, TokioExecutor};
use tokio::sync::{Mutex, OnceCell};

use crate::{
    client::{Broker, Client, OUTBOUND},
    naming::partition_name,
    options::Sending,
    schema::{self, Form},
};

/// The topics of one runtime.
#[derive(Debug, Default)]
pub(crate) struct Producers {
    broker: OnceCell<Shown>,
    topics: RwLock<HashMap<Name, Arc<Topic>>>,
}

/// A topic, and how messages are sent to it.
type Name = (Str, Sending);

/// The crate's client shows nothing of itself.
struct Shown(Broker);

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Broker")
    }
}

#[derive(Debug)]
pub(crate) struct Topic {
    pub(crate) partitions: Vec<Arc<Partition>>,
}

pub(crate) struct Partition {
    pub(crate) number: u32,
    /// What the broker calls it.
    pub(crate) name: String,
    sending: Sending,
    /// Who has it hands over the next event: so the calls keep their order.
    pub(crate) producer: Mutex<Option<Sender>>,
}

/// A producer of the crate, and what it may be given.
pub(crate) struct Sender {
    pub(crate) producer: Producer<TokioExecutor>,
    pub(crate) form: Form,
    /// The topic has another schema by now: another producer is needed.
    pub(crate) is_outdated: Arc<AtomicBool>,
}

impl Sender {
    fn new(producer: Producer<TokioExecutor>, form: Form) -> Self {
        Self { producer, form, is_outdated: Arc::default() }
    }
}

/// Why there is no producer.
pub(crate) enum NoSender {
    Broker(Error),
    /// The topic insists on a schema of this type.
    Schema(&'static str),
}

impl From<Error> for NoSender {
    fn from(problem: Error) -> Self {
        Self::Broker(problem)
    }
}

impl fmt::Debug for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Partition").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Producers {
    /// What is known of a topic.
    pub(crate) fn topic(&self, name: &Str, sending: Sending) -> Option<Arc<Topic>> {
        self.topics.read().get(&(name.clone(), sending)).cloned()
    }

    /// The topic, which has so many partitions: 0 if it is not partitioned.
    pub(crate) fn learn(&self, name: &Str, sending: Sending, partitions: u32) -> Arc<Topic> {
        let mut topics = self.topics.write();
        let topic = topics.entry((name.clone(), sending));
        topic.or_insert_with(|| Arc::new(Topic::new(name, sending, partitions, &[]))).clone()
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.topics.read().len()
    }

    /// Their names.
    pub(crate) fn names(&self) -> Vec<Str> {
        self.topics.read().keys().map(|(name, _)| name.clone()).collect()
    }

    /// A topic has so many partitions now. Those that were known keep their producers.
    pub(crate) fn grow(&self, name: &Str, partitions: u32) {
        for ((topic, sending), known) in self.topics.write().iter_mut().filter(|((topic, _), _)| topic == name) {
            if known.count() < partitions {
                *known = Arc::new(Topic::new(topic, *sending, partitions, &known.partitions));
            }
        }
    }

    pub(crate) fn clear(&self) {
        self.topics.write().clear();
    }

    /// Makes a producer. To be called within the runtime.
    pub(crate) async fn make(&self, client: &Client, partition: &Partition) -> Result<Sender, NoSender> {
        let broker =
            self.broker.get_or_try_init(|| async { client.connect(OUTBOUND).await.map(Shown) }).await?.0.clone();
        let (name, sending) = (partition.name.clone(), partition.sending);
        // In a task, which goes on whoever waits for it.
        tokio::spawn(make(broker, name, sending)).await.map_err(|_| Error::Executor)?
    }
}

async fn make(broker: Broker, name: String, sending: Sending) -> Result<Sender, NoSender> {
    let build = async |schema| {
        let builder = broker.producer().with_topic(name.clone()).with_options(sending.producer(schema));
        Box::pin(builder.build()).await
    };
    let refused = match build(None).await {
        Ok(producer) => return Ok(Sender::new(producer, Form::Any)),
        Err(problem) => problem,
    };
    if !schema::is_missed(&refused) {
        return Err(refused.into());
    }
    let Some(schema) = schema::of_topic(&broker, &name).await? else { return Err(refused.into()) };
    let form = Form::of(&schema).map_err(NoSender::Schema)?;
    Ok(Sender::new(build(Some(schema)).await?, form))
}

impl Topic {
    fn new(name: &str, sending: Sending, partitions: u32, known: &[Arc<Partition>]) -> Self {
        let numbers: Vec<_> = if partitions == 0 { vec![None] } else { (0..partitions).map(Some).collect() };
        let partition = |number: Option<u32>| {
            let name = partition_name(name, number);
            let known = known.iter().find(|partition| partition.name == name);
            known.cloned().unwrap_or_else(|| {
                Arc::new(Partition { number: number.unwrap_or(0), name, sending, producer: Mutex::new(None) })
            })
        };
        Self { partitions: numbers.into_iter().map(partition).collect() }
    }

    /// How many partitions it has; 0 if it is not partitioned.
    fn count(&self) -> u32 {
        let is_partitioned =
            self.partitions.first().is_some_and(|first| crate::naming::of_partition(&first.name).1.is_some());
        if is_partitioned { self.partitions.len() as u32 } else { 0 }
    }
}
