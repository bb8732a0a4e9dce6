//! The connector against real Pulsar: `scripts/brokers up pulsar`, then `eval "$(scripts/brokers env)"`.

mod broker;
mod plain;
mod schema;
mod sending;
mod unload;

use std::sync::Arc;

use async_trait::async_trait;
use broker::Broker;
use meshgate_api::{
    Str,
    connector::{Connector, Limits},
};
use meshgate_conformance::Fixture;

/// Small, so that readers fall off it.
const RING: usize = 2 << 20;
const WINDOW: usize = 300;

struct Suite {
    broker: Broker,
    connector: Arc<dyn Connector>,
}

fn limits() -> Limits {
    Limits { ring: RING, settled_window: WINDOW, ..Limits::default() }
}

async fn suite() -> Suite {
    let broker = Broker::given();
    let connector = broker.connector(limits()).await;
    Suite { broker, connector }
}

#[async_trait]
impl Fixture for Suite {
    fn connector(&self) -> Arc<dyn Connector> {
        self.connector.clone()
    }

    fn fresh_name(&self, prefix: &str) -> Str {
        broker::fresh_name(prefix)
    }

    async fn create(&self, topic: &str, partitions: u32) {
        self.broker.create(topic, partitions).await;
    }

    async fn forget_records(&self, topic: &str) {
        self.broker.forget_records(topic).await;
    }

    async fn replica(&self) -> Option<Arc<dyn Connector>> {
        Some(self.broker.connector(limits()).await)
    }

    fn settled_window(&self) -> usize {
        WINDOW
    }

    fn live_buffer(&self) -> usize {
        RING
    }
}

meshgate_conformance::conformance!(suite);
