//! The connector against a real Mosquitto: `scripts/brokers up mosquitto`, then `eval "$(scripts/brokers env mosquitto)"`.

mod broker;
mod foreign;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use broker::Broker;
use meshgate_api::{
    Str,
    connector::{Connector, Limits},
};
use meshgate_conformance::Fixture;
use meshgate_mqtt::{MqttConfig, config::Version};

/// Small, so that readers fall off it.
const RING: usize = 2 << 20;
const WINDOW: usize = 300;

struct Suite {
    broker: Broker,
    config: MqttConfig,
    connector: Arc<dyn Connector>,
}

/// As patient as the suite: the broker writes its whole store at every change, which after other tests is some megabytes.
fn limits() -> Limits {
    Limits { ring: RING, settled_window: WINDOW, publish_timeout: Duration::from_secs(60), ..Limits::default() }
}

async fn suite(version: Version) -> Suite {
    let broker = Broker::given();
    // The replica that comes later goes on with what the broker keeps under this name.
    let config = MqttConfig { version, client_id: Some(broker::fresh_name("suite").into()), ..broker.config() };
    let connector = broker.connector(config.clone(), limits()).await;
    Suite { broker, config, connector }
}

#[async_trait]
impl Fixture for Suite {
    fn connector(&self) -> Arc<dyn Connector> {
        self.connector.clone()
    }

    fn fresh_name(&self, prefix: &str) -> Str {
        broker::fresh_name(prefix)
    }

    async fn create(&self, _topic: &str, _partitions: u32) {}

    async fn forget_records(&self, _topic: &str) {}

    async fn replica(&self) -> Option<Arc<dyn Connector>> {
        Some(self.broker.connector(self.config.clone(), limits()).await)
    }

    fn settled_window(&self) -> usize {
        WINDOW
    }

    fn tells_no_data_from_empty(&self) -> bool {
        self.config.version == Version::V4
    }

    fn live_buffer(&self) -> usize {
        RING
    }
}

mod version_5 {
    async fn suite() -> super::Suite {
        super::suite(super::Version::V5).await
    }

    meshgate_conformance::conformance!(suite);
}

mod version_3_1_1 {
    async fn suite() -> super::Suite {
        super::suite(super::Version::V4).await
    }

    meshgate_conformance::conformance!(suite);
}
