//! The memory connector: one bounded log in this process, whose topics share its capacity and one sequence of numbers.
//!
//! *Confirmed* means: in this process. A restart forgets, replicas do not share. A position is the sequence number within the
//! process's random epoch; one number covers all topics. The oldest records make room for new ones; a reader that wanted them is
//! told that its position is gone. What a connected group has not confirmed makes no room.

use std::{fmt, ops::RangeInclusive, sync::Arc};

use async_trait::async_trait;
use meshgate_api::{
    connector::{
        Batch, Capabilities, Configured, Connector, Context, GroupFigures, Health, KeptHeaders, Kind, PublishAck,
        ReadError, SubscribeRequest, Subscription,
    },
    group::Bounds,
    log::Log,
    position::Position,
    settings::Fields,
    topic::TopicNaming,
};
use tokio::time::Instant;

mod group;
mod publish;
mod subscribe;

use group::Groups;

const DEFAULT_CAPACITY: usize = 64 << 20;
/// One event of the default `max_body` fits in the least.
const CAPACITIES: RangeInclusive<usize> = 4 << 20..=1 << 40;
const CAPABILITIES: Capabilities = Capabilities {
    replay: true,
    replay_by_time: true,
    groups: true,
    groups_by_time: true,
    headers: KeptHeaders::All,
    keys: true,
    durable: false,
};

/// `kind: memory`
#[derive(Clone, Copy, Debug)]
pub struct MemoryKind;

/// The settings of one memory connector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryConfig {
    /// Bytes of all its topics together, as their records occupy them in memory.
    pub capacity: usize,
}

/// A running memory connector.
pub struct Memory {
    log: Arc<Log>,
    groups: Arc<Groups>,
    /// Random for each process: positions of another one mean nothing here.
    epoch: u64,
    capacity: usize,
    /// How many distinct topics may be published to.
    topics: usize,
}

impl Kind for MemoryKind {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn capabilities(&self) -> Capabilities {
        CAPABILITIES
    }

    fn topic_naming(&self) -> TopicNaming {
        |topic| if topic.is_empty() { Err("a topic must not be empty".into()) } else { Ok(topic.into()) }
    }

    fn configure(&self, fields: &mut Fields<'_>) -> Option<Box<dyn Configured>> {
        let capacity = fields.size("capacity", CAPACITIES).or(DEFAULT_CAPACITY)?;
        Some(Box::new(MemoryConfig { capacity }))
    }
}

impl Configured for MemoryConfig {
    fn connect(self: Box<Self>, context: Context) -> Result<Arc<dyn Connector>, String> {
        Ok(Arc::new(Memory::new(*self, &context)))
    }
}

impl Memory {
    /// An empty log.
    #[must_use]
    pub fn new(config: MemoryConfig, context: &Context) -> Self {
        let log = Arc::new(Log::new(config.capacity));
        let limits = &context.limits;
        let bounds = Bounds { window: limits.settled_window, bytes: usize::MAX }; // the log holds them within its capacity
        Self {
            groups: Arc::new(Groups::new(context, log.clone(), bounds)),
            log,
            epoch: rand::random(),
            capacity: config.capacity,
            topics: limits.topics,
        }
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").field("epoch", &self.epoch).field("capacity", &self.capacity).finish_non_exhaustive()
    }
}

#[async_trait]
impl Connector for Memory {
    fn capabilities(&self) -> Capabilities {
        CAPABILITIES
    }

    async fn publish(&self, batch: Batch) -> PublishAck {
        PublishAck::Ready(self.append(batch))
    }

    async fn subscribe(&self, request: SubscribeRequest) -> Result<Box<dyn Subscription>, ReadError> {
        self.read(request)
    }

    fn health(&self) -> Health {
        Health { up: true, was_up: true, detail: None }
    }

    fn gauges(&self) -> Vec<(&'static str, u64)> {
        let (bytes, records) = self.log.usage();
        let own = [("bytes", bytes as u64), ("records", records as u64), ("capacity_bytes", self.capacity as u64)];
        own.into_iter().chain(self.groups.figures()).collect()
    }

    fn groups(&self) -> Vec<GroupFigures> {
        self.groups.each()
    }

    fn place_text(&self, position: &Position) -> String {
        position.place.offset.to_string()
    }

    async fn shutdown(&self, _deadline: Instant) -> usize {
        0
    }
}

#[cfg(test)]
mod tests;
