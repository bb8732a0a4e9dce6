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
    future::poll_fn,
    num::NonZeroUsize,
    sync::{Arc, OnceLock},
    task::{Context as TaskContext, Poll},
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;
use smallvec::SmallVec;
use tokio::{sync::Semaphore, time::Instant};

use crate::{
    Str,
    message::Message,
    outcome::Outcomes,
    position::{Place, Position, Positions},
    settings::Fields,
    topic::{TopicNaming, TopicSet},
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

    /// How it is. Cheap: opens nothing and waits for nothing.
    fn health(&self) -> Health;

    /// Figures for `/status` and `/metrics`: name and present value.
    fn gauges(&self) -> Vec<(&'static str, u64)> {
        Vec::new()
    }

    /// How this broker writes a place: `partition:offset` unless it has its own way.
    fn place_text(&self, position: &Position) -> String {
        format!("{}:{}", position.partition, position.place.offset)
    }

    /// Sends what is queued, ends the readers and closes, before `deadline`; says how many events stayed unanswered.
    async fn shutdown(&self, deadline: Instant) -> usize;
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
    /// Transport headers are kept.
    pub headers: bool,
    /// Events of one key keep their order.
    pub keys: bool,
    /// Topics outlive the gateway's process.
    pub durable: bool,
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

/// What to read, and from where.
#[derive(Clone, Debug)]
pub struct SubscribeRequest {
    /// Which topics.
    pub topics: TopicSet,
    /// From where in them. Topics and partitions that appear later are read from their start.
    pub start: Start,
    /// Share the flow with other members of this group.
    pub group: Option<Str>,
}

/// Where reading begins.
#[derive(Clone, Debug)]
pub enum Start {
    /// At what is stored after the subscription was answered.
    Latest,
    /// At the oldest that is kept.
    Earliest,
    /// At the first record that the broker received at this time or later.
    At(SystemTime),
    /// Where a reader stopped; partitions that are not named are read from their start.
    After(Positions),
}

/// What one call of [`Subscription::poll_next`] may take out at once, in bytes of [`Record::footprint`].
pub const READ_BYTES: usize = 256 << 10;

/// A flow of records. Dropping it ends it; a group's unsettled deliveries then go to another member.
pub trait Subscription: Send {
    /// Ready with records: at least one, at most `max` and, beyond the first, at most [`READ_BYTES`]; with none only when it has moved
    /// past records that are not to be delivered. Otherwise the task is woken when there may be some. After an error it is not polled
    /// again.
    fn poll_next(&mut self, cx: &mut TaskContext<'_>, max: NonZeroUsize) -> Poll<Result<Deliveries, ReadError>>;

    /// Where reading would go on after all that [`poll_next`](Self::poll_next) has returned.
    fn positions(&self) -> &Positions;

    /// Fetches no more; what was delivered may still be settled.
    fn drain(&mut self) {}
}

impl dyn Subscription + '_ {
    /// Waits for what [`poll_next`](Self::poll_next) returns. Cancel-safe.
    pub async fn next(&mut self, max: NonZeroUsize) -> Result<Deliveries, ReadError> {
        poll_fn(|cx| self.poll_next(cx, max)).await
    }
}

/// What [`Subscription::poll_next`] returns.
#[derive(Debug, Default)]
pub struct Deliveries {
    /// In the order of their partitions.
    pub deliveries: SmallVec<[Delivery; 1]>,
    /// Nothing more was stored when these were taken.
    pub at_end: bool,
}

/// A record, and in a group the duty to say what became of it.
#[derive(Debug)]
pub struct Delivery {
    /// The record.
    pub record: Arc<Record>,
    /// In a group: dropping it unused asks for another delivery.
    pub settler: Option<Settler>,
}

/// A record as the broker stores it, shared by all who read it.
#[derive(Debug)]
pub struct Record {
    /// The event, the channel that the record claims, its headers.
    pub message: Arc<Message>,
    /// The topic that it stands in.
    pub topic: Str,
    /// Where it stands.
    pub position: Position,
    /// Where a reader goes on after it, in the same partition.
    pub next: Place,
    /// The record's key.
    pub key: Option<Bytes>,
    /// When the broker received it.
    pub time: SystemTime,
    /// What the reading side has worked out about it, once for all readers.
    pub note: OnceLock<Box<dyn Any + Send + Sync>>,
}

impl Record {
    /// The bytes that the record occupies while a log holds it: itself, and as much again for the text that readers get
    /// ([`note`](Self::note)).
    #[must_use]
    pub fn footprint(&self) -> usize {
        size_of::<Self>() + 2 * self.message.size() + self.key.as_ref().map_or(0, Bytes::len)
    }
}

/// How one delivery of a group ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// Confirmed: never deliver it again.
    Ack,
    /// Deliver it again, after a while.
    Retry {
        /// At once if `None`.
        after: Option<Duration>,
    },
    /// It will never be taken: set it aside.
    Reject {
        /// Why.
        reason: String,
    },
}

/// Where settlements go: one for each group member.
pub trait Ledger: Send + Sync {
    /// `delivery` is the number that the ledger gave it.
    fn settle(&self, delivery: u64, settlement: Settlement);
}

/// The duty to settle one delivery, once.
pub struct Settler {
    ledger: Arc<dyn Ledger>,
    delivery: u64,
    settled: bool,
}

impl Settler {
    /// For delivery number `delivery` of `ledger`.
    pub fn new(ledger: Arc<dyn Ledger>, delivery: u64) -> Self {
        Self { ledger, delivery, settled: false }
    }

    /// Says how the delivery ended.
    pub fn settle(mut self, settlement: Settlement) {
        self.settled = true;
        self.ledger.settle(self.delivery, settlement);
    }
}

impl Drop for Settler {
    fn drop(&mut self) {
        if !self.settled {
            self.ledger.settle(self.delivery, Settlement::Retry { after: None });
        }
    }
}

impl fmt::Debug for Settler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settler").field("delivery", &self.delivery).finish_non_exhaustive()
    }
}

/// Why a read cannot begin or go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The position was deleted by retention, or lies beyond its topic's end. The subscription's positions stay gone.
    #[error("the position is gone: {detail}")]
    Gone {
        /// Where reading can go on: the oldest that is kept.
        resume: Positions,
        /// Which, for a person.
        detail: String,
    },
    /// A limit of the gateway is reached; try again later.
    #[error("too many readers: {detail}")]
    Busy {
        /// Which limit.
        detail: String,
    },
    /// The broker cannot be reached now.
    #[error("unavailable: {detail}")]
    Down {
        /// What is the matter.
        detail: String,
    },
    /// This kind of connector cannot do it.
    #[error("{detail}")]
    Unsupported {
        /// What it cannot do.
        detail: String,
    },
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

/// What a connector shares with the gateway around it.
#[derive(Clone, Debug)]
pub struct Context {
    /// The connector's name in the configuration.
    pub name: Str,
    /// The gateway's limits.
    pub limits: Limits,
    /// One permit for each private reader of the process: `limits.readers`.
    pub readers: Arc<Semaphore>,
}

impl Context {
    /// Of a connector that is alone in its process.
    pub fn new(name: impl Into<Str>, limits: Limits) -> Self {
        Self { name: name.into(), limits, readers: Arc::new(Semaphore::new(limits.readers)) }
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

    /// Reads the settings of one connector, collecting every problem in `fields`; `None` if there was any. Touches no network.
    fn configure(&self, fields: &mut Fields<'_>) -> Option<Box<dyn Configured>>;
}

/// A connector that is configured and not yet started.
pub trait Configured: fmt::Debug + Send + Sync {
    /// Starts it. Never waits for the broker; must be called within a tokio runtime.
    fn connect(self: Box<Self>, context: Context) -> Result<Arc<dyn Connector>, String>;
}
