//! The Pulsar connector: the `pulsar` crate underneath, events as messages in the manner of the CloudEvents Kafka binding.
//!
//! In reading order:
//!
//! 1. [`config`] and `naming`: what may be configured, what a topic may be called;
//! 2. `client`: the crate's client, and whether the broker answers;
//! 3. `publish`: from a batch to outcomes; `message`: from an event to a message; `partition`: where an event goes; `options`: how it is
//!    sent; `producers`: who sends it, and `schema`: what of;
//! 4. `metadata`: topics, partitions, and where they begin and end; `decode`: from a message to a record;
//! 5. `feed`: one partition, read whatever happens; `reader`: one reader, who follows `live` (one feed of each partition for all) or has
//!    a `replay` of its own;
//! 6. `group`: members share one consumer of each partition, in the broker's Key_Shared subscription.
//!
//! *Confirmed* means: the broker's send receipt, that is, on the bookies. README.md tells what the crate does not do by itself.

use std::{
    fmt,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use async_trait::async_trait;
use meshgate_api::{
    connector::{
        Batch, Capabilities, Configured, Connector, Context, GroupFigures, Health, KeptHeaders, Kind, Options,
        PublishAck, ReadError, SubscribeRequest, Subscription,
    },
    position::Position,
    settings::Fields,
    topic::TopicNaming,
};
use tokio::time::{Instant, sleep};

mod client;
pub mod config;
mod decode;
mod feed;
mod group;
mod live;
mod message;
mod metadata;
mod naming;
mod options;
mod partition;
mod producers;
mod publish;
mod reader;
mod replay;
mod schema;

use client::Client;
pub use config::PulsarConfig;
use group::Groups;
use live::Live;
use options::Sending;
use publish::{Publisher, REFRESH};
use reader::Reading;

const CAPABILITIES: Capabilities = Capabilities {
    replay: true,
    replay_by_time: true,
    groups: true,
    groups_by_time: false,
    headers: KeptHeaders::Last,
    keys: true,
    durable: true,
};

/// `kind: pulsar`
#[derive(Clone, Copy, Debug)]
pub struct PulsarKind;

impl Kind for PulsarKind {
    fn name(&self) -> &'static str {
        "pulsar"
    }

    fn capabilities(&self) -> Capabilities {
        CAPABILITIES
    }

    fn topic_naming(&self) -> TopicNaming {
        naming::topic_name
    }

    fn optional_topic_naming(&self) -> TopicNaming {
        naming::optional_topic_name
    }

    fn destination(&self, fields: &mut Fields<'_>) -> Option<Options> {
        Sending::read(fields)
    }

    fn configure(&self, fields: &mut Fields<'_>) -> Option<Box<dyn Configured>> {
        Some(Box::new(PulsarConfig::read(fields)?))
    }
}

impl Configured for PulsarConfig {
    fn connect(self: Box<Self>, context: Context) -> Result<Arc<dyn Connector>, String> {
        Ok(Arc::new(PulsarConnector::connect(*self, context)))
    }
}

/// A running Pulsar connector.
pub struct PulsarConnector {
    context: Context,
    client: Arc<Client>,
    publisher: Arc<Publisher>,
    reading: Arc<Reading>,
    groups: Groups,
}

impl PulsarConnector {
    /// Begins to connect; the broker is found now or later. Must be called within a runtime, which stays the connector's.
    #[must_use]
    pub fn connect(config: PulsarConfig, context: Context) -> Self {
        let client = Client::start(context.name.clone(), context.limits, config);
        let publisher = Arc::new(Publisher::new(client.clone()));
        let weak = Arc::downgrade(&publisher);
        client.spawn(async move {
            while let Some(publisher) = weak.upgrade() {
                publisher.refresh().await;
                drop(publisher);
                sleep(REFRESH).await;
            }
        });
        let live = Live::start(client.clone());
        let reading = Arc::new(Reading { client: client.clone(), live, permits: context.readers.clone() });
        let groups = Groups::new(client.clone());
        Self { context, client, publisher, reading, groups }
    }
}

impl fmt::Debug for PulsarConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, link) = (&self.context.name, &self.client.link);
        f.debug_struct("PulsarConnector").field("name", name).field("link", link).finish_non_exhaustive()
    }
}

#[async_trait]
impl Connector for PulsarConnector {
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

    fn health(&self) -> Health {
        self.client.link.health()
    }

    fn gauges(&self) -> Vec<(&'static str, u64)> {
        let readers = self.context.limits.readers.saturating_sub(self.reading.permits.available_permits());
        let unreadable = self.client.unreadable.load(Relaxed);
        let mut all = vec![("private_readers", readers as u64), ("unreadable_messages", unreadable)];
        all.extend(self.publisher.figures());
        all.extend(self.reading.live.figures());
        all.extend(self.groups.figures());
        all
    }

    fn groups(&self) -> Vec<GroupFigures> {
        self.groups.each()
    }

    fn place_text(&self, position: &Position) -> String {
        let place = position.place;
        format!("{}:{}:{}:{}", position.partition, place.generation, place.offset, place.index)
    }

    async fn shutdown(&self, deadline: Instant) -> usize {
        self.groups.close(deadline).await;
        self.reading.live.close();
        self.publisher.close(deadline).await
    }
}
