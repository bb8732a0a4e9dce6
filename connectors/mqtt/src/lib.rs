//! The MQTT connector: a client of an MQTT broker (5.0 or 3.1.1), rumqttc underneath, the CloudEvents MQTT binding on the wire.
//!
//! In reading order:
//!
//! 1. [`config`] and `naming`: what may be configured, what a topic may be called and which filters fit topics;
//! 2. `client`: one connection, whichever version; `session`: one after the other;
//! 3. `publish`: from a batch to outcomes;
//! 4. `subscribe`: one reader, who follows `live` (one client for all); `decode`: what has arrived as a record;
//! 5. `group`: members share one client, which has a part of the broker's shared subscription.
//!
//! *Confirmed* means: PUBACK, the broker has taken the event for the sessions that it has then. Nothing can be read again. README.md
//! tells what rumqttc does not do by itself.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use meshgate_api::{
    connector::{
        Batch, Capabilities, Configured, Connector, Context, GroupFigures, Health, KeptHeaders, Kind, Options,
        PublishAck, ReadError, SubscribeRequest, Subscription,
    },
    link::Link,
    position::Position,
    settings::Fields,
    topic::TopicNaming,
};
use tokio::time::Instant;

mod client;
pub mod config;
mod decode;
mod group;
mod live;
mod naming;
mod publish;
mod session;
mod subscribe;

use client::Opener;
pub use config::MqttConfig;
use config::Version;
use group::Groups;
use live::Live;
use publish::{Publisher, Publishing};

const CAPABILITIES: Capabilities = Capabilities {
    replay: false,
    replay_by_time: false,
    groups: true,
    groups_by_time: false,
    headers: KeptHeaders::Text,
    keys: false,
    durable: false,
};

/// `kind: mqtt`
#[derive(Clone, Copy, Debug)]
pub struct MqttKind;

impl Kind for MqttKind {
    fn name(&self) -> &'static str {
        "mqtt"
    }

    fn capabilities(&self) -> Capabilities {
        CAPABILITIES
    }

    fn topic_naming(&self) -> TopicNaming {
        naming::topic_name
    }

    fn destination(&self, fields: &mut Fields<'_>) -> Option<Options> {
        let retain = fields.boolean("retain").optional()?;
        Some(Options::new(Publishing { retain }))
    }

    fn configure(&self, fields: &mut Fields<'_>) -> Option<Box<dyn Configured>> {
        Some(Box::new(MqttConfig::read(fields)?))
    }
}

impl Configured for MqttConfig {
    fn capabilities(&self, _: Capabilities) -> Capabilities {
        self.can()
    }

    fn connect(self: Box<Self>, context: Context) -> Result<Arc<dyn Connector>, String> {
        Ok(Arc::new(Mqtt::connect(*self, context)?))
    }
}

impl MqttConfig {
    /// MQTT 3.1.1 has neither properties nor shared subscriptions.
    fn can(&self) -> Capabilities {
        match self.version {
            Version::V5 => CAPABILITIES,
            Version::V4 => Capabilities { groups: false, headers: KeptHeaders::No, ..CAPABILITIES },
        }
    }
}

/// A running MQTT connector.
pub struct Mqtt {
    capabilities: Capabilities,
    context: Context,
    link: Arc<Link>,
    publisher: Publisher,
    live: Live,
    groups: Groups,
}

impl Mqtt {
    /// Starts the clients. They find the broker by themselves, now or later. An error: the certificates cannot be used.
    pub fn connect(config: MqttConfig, context: Context) -> Result<Self, String> {
        let capabilities = config.can();
        let opener = Opener::new(config)?;
        let base = opener.config().client_id.clone().unwrap_or_else(|| format!("meshgate-{}", context.name));
        // Two clients of one name would throw each other out, and these two need no name that lasts.
        let own = format!("{base}-{:08x}", rand::random::<u32>());
        let link = Arc::new(Link::new(context.name.clone()));
        let groups = Groups::new(opener.clone(), &context, &own);
        let publisher = Publisher::start(opener.clone(), &context, link.clone(), own.clone(), groups.stand());
        let live = Live::new(opener, context.name.clone(), format!("{own}-live"), context.limits.ring);
        Ok(Self { capabilities, context, link, publisher, live, groups })
    }
}

impl fmt::Debug for Mqtt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mqtt").field("name", &self.context.name).field("link", &self.link).finish_non_exhaustive()
    }
}

#[async_trait]
impl Connector for Mqtt {
    fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    async fn publish(&self, batch: Batch) -> PublishAck {
        self.publisher.publish(batch).await
    }

    async fn subscribe(&self, mut request: SubscribeRequest) -> Result<Box<dyn Subscription>, ReadError> {
        let Some(group) = request.group.take() else { return Ok(Box::new(self.live.subscribe(request).await?)) };
        if !self.capabilities.groups {
            return Err(ReadError::Unsupported {
                detail: "groups need MQTT 5: set `version: 5` in the connector".into(),
            });
        }
        Ok(Box::new(self.groups.join(group, request).await?))
    }

    fn health(&self) -> Health {
        self.link.health()
    }

    fn gauges(&self) -> Vec<(&'static str, u64)> {
        self.publisher.figures().into_iter().chain(self.live.figures()).chain(self.groups.figures()).collect()
    }

    fn groups(&self) -> Vec<GroupFigures> {
        self.groups.each()
    }

    /// The number that the gateway gave it: MQTT has no places.
    fn place_text(&self, position: &Position) -> String {
        position.place.offset.to_string()
    }

    async fn shutdown(&self, deadline: Instant) -> usize {
        let (left, (), ()) =
            tokio::join!(self.publisher.close(deadline), self.live.close(deadline), self.groups.close(deadline));
        left
    }
}
