//! No event is confirmed and then missing, whatever happens to the broker or to the gateway (specification, section 2).
//!
//! Each test has a Kafka of its own, which it disturbs. They run one after the other, because what they measure is time.

mod follower;
mod groups;
mod ledger;
mod load;
mod recovery;
mod sharing;
mod storms;

use tokio::sync::{Mutex, MutexGuard};

use crate::harness::{broker::Broker, eventually, gateway::Gateway, tell};

/// One test at a time.
async fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::const_new(());
    TURN.lock().await
}

/// A gateway whose every channel `load/…` lives on the Kafka topic `load`, and `late/NAME` on `late.NAME`.
fn gateway_in_front_of(broker: &Broker) -> Gateway {
    Gateway::start(&format!(
        r##"
connectors:
  kafka: {{ kind: kafka, brokers: ["{}"] }}
routes:
  - {{ name: load, channel: "load/#", to: [{{ connector: kafka, topic: load }}] }}
  - {{ name: late, channel: "late/{{name}}", to: [{{ connector: kafka, topic: "late.{{name}}" }}] }}
"##,
        broker.address
    ))
}

/// The same, once it is ready.
async fn gateway(broker: &Broker) -> Gateway {
    let gateway = gateway_in_front_of(broker);
    eventually("ready", async || (gateway.ask_admin("/readyz").await.status() == 200).then_some(())).await;
    gateway
}
