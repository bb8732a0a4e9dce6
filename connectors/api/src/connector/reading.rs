//! Reading: what is asked for, the flow of records, and in a group what became of each.

use std::{
    any::Any,
    fmt,
    future::poll_fn,
    num::NonZeroUsize,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use smallvec::SmallVec;

use crate::{
    Str,
    message::Message,
    position::{Place, Position, Positions},
    topic::TopicSet,
};

/// What to read, and from where.
#[derive(Clone, Debug)]
pub struct SubscribeRequest {
    /// Which topics.
    pub topics: TopicSet,
    /// From where in them. Topics and partitions that appear later are read from their start.
    pub start: Start,
    /// Share the flow with other members of this group.
    pub group: Option<Str>,
    /// Of what is old the last record of each key will do. Where the broker can leave out the others, it may.
    pub compacted: bool,
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
    fn poll_next(&mut self, cx: &mut Context<'_>, max: NonZeroUsize) -> Poll<Result<Deliveries, ReadError>>;

    /// Where reading would go on after all that [`poll_next`](Self::poll_next) has returned.
    fn positions(&self) -> &Positions;

    /// Whether it has returned all that was stored when it began or, later, when it was polled last.
    fn is_at_end(&self) -> bool;

    /// Fetches no more; what was delivered may still be settled.
    fn drain(&mut self) {}
}

impl dyn Subscription + '_ {
    /// Waits for what [`Subscription::poll_next`] returns. Cancel-safe.
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

impl Deliveries {
    /// Of records of which nobody needs to know what becomes of them.
    pub fn unsettled(records: impl IntoIterator<Item = Arc<Record>>, at_end: bool) -> Self {
        Self { deliveries: records.into_iter().map(|record| Delivery { record, settler: None }).collect(), at_end }
    }
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
    pub message: Message,
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
        Self::footprint_of(&self.message, self.key.as_ref().map_or(0, Bytes::len))
    }

    /// The [`footprint`](Self::footprint) of a record that has this message, and a key of so many bytes.
    #[must_use]
    pub fn footprint_of(message: &Message, key: usize) -> usize {
        size_of::<Self>() + 2 * message.size() + key
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
    /// `delivery` is the number that the ledger gave it. False if that says nothing: the delivery is not known any more, and the record has
    /// come or will come to somebody else.
    fn settle(&self, delivery: u64, settlement: Settlement) -> bool;

    /// Whoever had the delivery let go of it without a word.
    fn abandon(&self, delivery: u64);
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

    /// Says how the delivery ended. False if it had been taken back before.
    pub fn settle(mut self, settlement: Settlement) -> bool {
        self.settled = true;
        self.ledger.settle(self.delivery, settlement)
    }
}

impl Drop for Settler {
    fn drop(&mut self) {
        if !self.settled {
            self.ledger.abandon(self.delivery);
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
