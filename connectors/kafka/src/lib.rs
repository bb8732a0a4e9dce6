//! The Kafka connector: librdkafka underneath, the CloudEvents Kafka binding on the wire.
//!
//! In reading order:
//!
//! 1. [`config`] and `naming`: what may be configured, what a topic may be called;
//! 2. `client`: how each librdkafka client is set up;
//! 3. `publish`: from a batch to outcomes; `partition`: where an event goes; `delivery`: what its delivery report means; `trouble`: when
//!    the producer must be made anew;
//! 4. `metadata` and `places`: topics, partitions and offsets, asked once for all who want to know;
//! 5. `reader`: one reader, who follows `live` (one consumer for all) or has a `replay` of its own (`feed` and `decode` under both);
//!    `identity`: whether its topics are still the same;
//! 6. `group`: members share one consumer, which is one of the broker's consumer group; `coordinator`: what that group's coordinator says;
//! 7. `compaction`: whether a topic keeps the last record of each key;
//! 8. `native`: the calls into librdkafka that rdkafka does not offer.
//!
//! *Confirmed* means: on all in-sync replicas. README.md tells what librdkafka does not do by itself.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use meshgate_api::{
    connector::{
        Batch, Capabilities, Compaction, Configured, Connector, Context, GroupFigures, Health, KeptHeaders, Kind,
        PublishAck, ReadError, SubscribeRequest, Subscription,
    },
    group::Bounds,
    link::Link,
    position::Position,
    settings::Fields,
    topic::TopicNaming,
};
use tokio::time::{self, Instant, MissedTickBehavior};

mod bootstrap;
mod client;
mod compaction;
pub mod config;
mod coordinator;
mod decode;
mod delivery;
mod feed;
mod group;
mod identity;
mod live;
mod metadata;
mod naming;
mod native;
mod partition;
mod places;
mod publish;
mod reader;
mod replay;
mod trouble;

use client::Clients;
pub use config::KafkaConfig;
use group::Groups;
use live::Live;
use metadata::Metadata;
use publish::Publisher;
use reader::Reading;

const CAPABILITIES: Capabilities = Capabilities {
    replay: true,
    replay_by_time: true,
    groups: true,
    groups_by_time: true,
    headers: KeptHeaders::All,
    keys: true,
    durable: true,
};
/// How often it is asked whether the producer can go on.
const TENDING: std::time::Duration = std::time::Duration::from_secs(1);

/// `kind: kafka`
#[derive(Clone, Copy, Debug)]
pub struct KafkaKind;

impl Kind for KafkaKind {
    fn name(&self) -> &'static str {
        "kafka"
    }

    fn capabilities(&self) -> Capabilities {
        CAPABILITIES
    }

    fn topic_naming(&self) -> TopicNaming {
        naming::topic_name
    }

    fn configure(&self, fields: &mut Fields<'_>) -> Option<Box<dyn Configured>> {
        Some(Box::new(KafkaConfig::read(fields)?))
    }
}

impl Configured for KafkaConfig {
    fn connect(self: Box<Self>, context: Context) -> Result<Arc<dyn Connector>, String> {
        Ok(Arc::new(Kafka::connect(*self, context)?))
    }
}

/// A running Kafka connector.
pub struct Kafka {
    context: Context,
    link: Arc<Link>,
    publisher: Arc<Publisher>,
    reading: Arc<Reading>,
    groups: Groups,
}

impl Kafka {
    /// Starts the clients. They find the broker by themselves, now or later. An error: librdkafka refuses the properties as a whole.
    pub fn connect(config: KafkaConfig, context: Context) -> Result<Self, String> {
        let clients = Clients::new(context.name.clone(), config, context.limits)?;
        let link = Arc::new(Link::new(context.name.clone()));
        let metadata = Arc::new(Metadata::start(&clients, link.clone())?);
        let limits = &context.limits;
        let publisher = Publisher::new(clients.clone(), link.clone(), metadata.clone(), limits.topics)?;
        let publisher = Arc::new(publisher);
        let bounds = Bounds { window: limits.settled_window, bytes: limits.ring };
        let groups = Groups::new(clients.clone(), metadata.clone(), bounds, context.skipped.clone());
        let reading = Reading {
            live: Live::start(clients.clone(), metadata.clone(), limits.ring)?,
            permits: context.readers.clone(),
            reader_memory: limits.reader_memory,
            clients,
            metadata,
        };
        tokio::spawn(tend(Arc::downgrade(&publisher)));
        Ok(Self { context, link, publisher, reading: Arc::new(reading), groups })
    }
}

/// Until the connector is dropped.
async fn tend(publisher: std::sync::Weak<Publisher>) {
    let mut ticks = time::interval(TENDING);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(publisher) = publisher.upgrade() else { return };
        publisher.tend().await;
    }
}

impl fmt::Debug for Kafka {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kafka").field("name", &self.context.name).field("link", &self.link).finish_non_exhaustive()
    }
}

#[async_trait]
impl Connector for Kafka {
    fn capabilities(&self) -> Capabilities {
        CAPABILITIES
    }

    async fn publish(&self, batch: Batch) -> PublishAck {
        self.publisher.publish(batch).await
    }

    async fn subscribe(&self, mut request: SubscribeRequest) -> Result<Box<dyn Subscription>, ReadError> {
        if let Some(group) = request.group.take() {
            return Ok(Box::new(self.groups.join(group, request).await?));
        }
        Ok(Box::new(self.reading.subscribe(request).await?))
    }

    async fn compaction(&self, topic: &str) -> Result<Compaction, ReadError> {
        compaction::ask(&self.reading.clients, topic, self.context.limits.publish_timeout).await
    }

    fn health(&self) -> Health {
        self.link.health()
    }

    fn gauges(&self) -> Vec<(&'static str, u64)> {
        let readers = self.context.limits.readers.saturating_sub(self.reading.permits.available_permits());
        let mut all = vec![("private_readers", readers as u64)];
        all.extend(self.publisher.figures());
        all.extend(self.reading.live.figures());
        all.extend(self.groups.figures());
        all
    }

    fn groups(&self) -> Vec<GroupFigures> {
        self.groups.each()
    }

    fn place_text(&self, position: &Position) -> String {
        match position.place.offset {
            delivery::SOMEWHERE => format!("{}:?", position.partition),
            offset => format!("{}:{offset}", position.partition),
        }
    }

    async fn shutdown(&self, deadline: Instant) -> usize {
        self.reading.live.close();
        self.groups.close(deadline).await;
        self.publisher.clone().close(deadline).await
    }
}
