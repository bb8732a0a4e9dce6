//! The connector while its broker is frozen, killed and started again: `scripts/brokers up pulsar`, then
//! `eval "$(scripts/brokers env)"`.

#[path = "../real/broker.rs"]
mod broker;

use std::sync::Arc;

use async_trait::async_trait;
use broker::{Broker, fresh_name};
use meshgate_api::{
    Str,
    connector::{Connector, Limits},
};
use meshgate_conformance::{
    Fixture,
    faults::{Faults, run_script},
};

struct Suite {
    broker: Broker,
    connector: Arc<dyn Connector>,
}

async fn suite() -> Suite {
    let broker = Broker::given();
    let connector = broker.connector(Limits::default()).await;
    Suite { broker, connector }
}

#[async_trait]
impl Fixture for Suite {
    fn connector(&self) -> Arc<dyn Connector> {
        self.connector.clone()
    }

    fn fresh_name(&self, prefix: &str) -> Str {
        fresh_name(prefix)
    }

    async fn create(&self, topic: &str, partitions: u32) {
        self.broker.create(topic, partitions).await;
    }

    async fn forget_records(&self, topic: &str) {
        self.broker.forget_records(topic).await;
    }

    async fn replica(&self) -> Option<Arc<dyn Connector>> {
        Some(self.broker.connector(Limits::default()).await)
    }

    fn settled_window(&self) -> usize {
        Limits::default().settled_window
    }

    fn live_buffer(&self) -> usize {
        Limits::default().ring
    }
}

#[async_trait]
impl Faults for Suite {
    async fn broker(&self, what: &str) {
        run_script(what, "pulsar", "PULSAR_URL").await;
    }

    fn stores_once(&self) -> bool {
        false
    }
}

meshgate_conformance::faults!(suite);
