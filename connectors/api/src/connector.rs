//! The traits that a broker's connector implements.
//!
//! *Publishing* has two stages: [`Connector::publish`] returns once the broker client has accepted the batch, in the order of the
//! calls; the [`PublishAck`] that it returns tells what the broker said of each event.
//!
//! *Reading* is a [`Subscription`]: every matching record stored after [`Connector::subscribe`] has answered comes out of
//! [`Subscription::poll_next`], in the order of its partition, until the reader is dropped or told that its position is gone.

use std::{
    any::Any,
    fmt,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use async_trait::async_trait;
use futures::future::BoxFuture;
use smallvec::SmallVec;
use tokio::{sync::Semaphore, time::Instant};

use crate::{Str, message::Message, outcome::Outcomes, position::Position, settings::Fields, topic::TopicNaming};

mod reading;
pub use reading::{
    Deliveries, Delivery, Ledger, READ_BYTES, ReadError, Record, Settlement, Settler, Start, SubscribeRequest,
    Subscription,
};

/// A client of one broker (or broker cluster).
#[async_trait]
pub trait Connector: fmt::Debug + Send + Sync + 'static {
    /// What it can do; never changes.
    fn capabilities(&self) -> Capabilities;

    /// Hands events to the broker client. Waits, if at all, only until the client has accepted them, and keeps the order of the calls.
    async fn publish(&self, batch: Batch) -> PublishAck;

    /// Starts to read.
    async fn subscribe(&self, request: SubscribeRequest) -> Result<Box<dyn Subscription>, ReadError>;

    /// Whether the topic keeps the last record of each key, however old, as its broker says.
    async fn compaction(&self, _topic: &str) -> Result<Compaction, ReadError> {
        Ok(Compaction::Unknown)
    }

    /// How it is. Cheap: opens nothing and waits for nothing.
    fn health(&self) -> Health;

    /// Figures for `/status` and `/metrics`: name and present value.
    fn gauges(&self) -> Vec<(&'static str, u64)> {
        Vec::new()
    }

    /// The groups that this process knows of.
    fn groups(&self) -> Vec<GroupFigures> {
        Vec::new()
    }

    /// How this broker writes a place: `partition:offset` unless it has its own way.
    fn place_text(&self, position: &Position) -> String {
        format!("{}:{}", position.partition, position.place.offset)
    }

    /// Sends what is queued, ends the readers and closes, before `deadline`; says how many events stayed unanswered.
    async fn shutdown(&self, deadline: Instant) -> usize;
}

/// Whether a topic keeps the last record of each key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Compaction {
    /// It does, and forgets nothing else that is younger.
    Compacted,
    /// It does not: how it is set, and what it should be.
    Not(String),
    /// The broker does not say.
    Unknown,
}

/// What a kind of broker can do. Validation and every reader ask it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// Records can be read again by position and from the earliest.
    pub replay: bool,
    /// Reading can begin at a time.
    pub replay_by_time: bool,
    /// Consumers can share a flow.
    pub groups: bool,
    /// A new group can begin at a time.
    pub groups_by_time: bool,
    /// Which transport headers are kept.
    pub headers: KeptHeaders,
    /// Events of one key keep their order.
    pub keys: bool,
    /// Topics outlive the gateway's process.
    pub durable: bool,
}

/// Which transport headers a broker keeps with an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeptHeaders {
    /// None.
    No,
    /// One of each name: of those that are repeated, the last. Their order is not kept.
    Last,
    /// Those whose values are text, in their order.
    Text,
    /// All, in their order.
    All,
}

/// One event for one topic.
#[derive(Clone, Debug)]
pub struct Outbound {
    /// The event, its channel (always set) and its headers.
    pub message: Arc<Message>,
    /// The topic, named as the broker takes it.
    pub topic: Str,
    /// The ordering key.
    pub key: Option<Str>,
    /// Which events keep their order among each other.
    pub order: Order,
    /// How the event becomes a record.
    pub mode: ContentMode,
    /// What the destination says to connectors of this kind alone.
    pub options: Option<Options>,
}

/// Events for [`Connector::publish`].
pub type Batch = SmallVec<[Outbound; 1]>;

/// Which events keep their order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// Those of one key; without a key, those of one channel.
    #[default]
    Kept,
    /// None: the broker client spreads them freely.
    Free,
}

/// How an event becomes a record (CloudEvents protocol bindings, "content mode").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ContentMode {
    /// Attributes as headers, data as the value.
    #[default]
    Binary,
    /// The whole event as JSON in the value.
    Structured,
    /// The data alone: attributes are lost.
    Raw,
}

/// The broker's answer to a batch: at once, or to be awaited. Dropping it takes nothing back.
pub enum PublishAck {
    /// Already known.
    Ready(Outcomes),
    /// One outcome an event, in their order.
    Pending(BoxFuture<'static, Outcomes>),
}

impl PublishAck {
    /// Waits for the outcomes: as many as the batch had events, in their order.
    pub async fn outcomes(self) -> Outcomes {
        match self {
            Self::Ready(outcomes) => outcomes,
            Self::Pending(outcomes) => outcomes.await,
        }
    }
}

impl fmt::Debug for PublishAck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready(outcomes) => f.debug_tuple("Ready").field(outcomes).finish(),
            Self::Pending(_) => f.write_str("Pending"),
        }
    }
}

/// How a connector is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// The broker answers now.
    pub up: bool,
    /// The broker has answered since the gateway started.
    pub was_up: bool,
    /// What is the matter, when it is down.
    pub detail: Option<String>,
}

/// A group as this process sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupFigures {
    /// Its name at the broker.
    pub name: Str,
    /// Members in this process.
    pub members: u64,
    /// Events that are read here and not settled.
    pub unsettled: u64,
    /// Events that are stored and not settled, of the partitions that are read here.
    pub lag: u64,
    /// Events that were gone before they were read.
    pub skipped: u64,
}

/// What a connector shares with the gateway around it.
#[derive(Clone, Debug)]
pub struct Context {
    /// The connector's name in the configuration.
    pub name: Str,
    /// The gateway's limits.
    pub limits: Limits,
    /// One permit for each private reader of the process: `limits.readers`.
    pub readers: Arc<Semaphore>,
    /// Counts the events that were gone before a group had them: `meshgate_skipped_total`.
    pub skipped: Arc<AtomicU64>,
}

impl Context {
    /// Of a connector that is alone in its process.
    pub fn new(name: impl Into<Str>, limits: Limits) -> Self {
        Self { name: name.into(), limits, readers: Arc::new(Semaphore::new(limits.readers)), skipped: Arc::default() }
    }
}

/// The limits that connectors keep; `limits` of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// An outcome is known before this has passed.
    pub publish_timeout: Duration,
    /// Bytes of events that may be on their way at once.
    pub in_flight: usize,
    /// Bytes of the largest event.
    pub max_body: usize,
    /// Bytes of one connector's live buffer.
    pub ring: usize,
    /// Private readers (replays and those that fell behind) of the process.
    pub readers: usize,
    /// Bytes that one private reader holds.
    pub reader_memory: usize,
    /// Distinct topics that one connector publishes to.
    pub topics: usize,
    /// Events of a partition that a group may run ahead of its lowest unconfirmed one.
    pub settled_window: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            publish_timeout: Duration::from_secs(10),
            in_flight: 256 << 20,
            max_body: 1 << 20,
            ring: 16 << 20,
            readers: 64,
            reader_memory: 1 << 20,
            topics: 2000,
            settled_window: 10_000,
        }
    }
}

/// A kind of connector: what `kind:` names in the configuration.
pub trait Kind: Send + Sync {
    /// Its name in `kind:`.
    fn name(&self) -> &'static str;

    /// What its connectors can do.
    fn capabilities(&self) -> Capabilities;

    /// What its broker lets a topic be called.
    fn topic_naming(&self) -> TopicNaming;

    /// The same for destinations that are not required, which may be topics that keep nothing.
    fn optional_topic_naming(&self) -> TopicNaming {
        self.topic_naming()
    }

    /// Reads what a route's destination says to connectors of this kind beside what it may say to all; `None`: nothing.
    fn destination(&self, _fields: &mut Fields<'_>) -> Option<Options> {
        None
    }

    /// Reads the settings of one connector, collecting every problem in `fields`; `None` if there was any. Touches no network.
    fn configure(&self, fields: &mut Fields<'_>) -> Option<Box<dyn Configured>>;
}

/// What [`Kind::destination`] has read: whatever the kind wants.
#[derive(Clone)]
pub struct Options(Arc<dyn Any + Send + Sync>);

impl Options {
    /// Only the same kind looks into it.
    pub fn new(options: impl Any + Send + Sync) -> Self {
        Self(Arc::new(options))
    }

    /// What was put into it, given that this is its type.
    #[must_use]
    pub fn get<T: Any>(&self) -> Option<&T> {
        self.0.downcast_ref()
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Options")
    }
}

/// The same options, not only equal ones.
impl PartialEq for Options {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// A connector that is configured and not yet started.
pub trait Configured: fmt::Debug + Send + Sync {
    /// What it can do as it is configured, where that is less than what its kind can.
    fn capabilities(&self, of_kind: Capabilities) -> Capabilities {
        of_kind
    }

    /// Starts it. Never waits for the broker: an error is what no waiting mends. Must be called within a tokio runtime. After a change of
    /// its settings the one before still runs, until the last who used it has let go.
    fn connect(self: Box<Self>, context: Context) -> Result<Arc<dyn Connector>, String>;
}
