//! The sink's broker is away: at the start, and later. Each event waits until it is stored.

use super::{in_order, publish, reading, status, stored};
use crate::harness::{broker::Broker, eventually, gateway::Gateway};

fn configuration(broker: &Broker) -> String {
    format!(
        r##"
connectors:
  kafka: {{ kind: kafka, brokers: ["{}"] }}
  memory: {{ kind: memory }}
routes:
  - {{ name: there, channel: there, to: [{{ connector: kafka, topic: there }}] }}
  - {{ name: here, channel: "#", to: [{{ connector: memory, topic: "{{channel}}" }}] }}
subscriptions:
  - {{ name: go, channel: here/a, sink: "channel:there", retry: {{ initial: 50ms, max: 1s }} }}
  - {{ name: back, channel: there, sink: "channel:here/b" }}
limits: {{ publish_timeout: 2s }}
"##,
        broker.address
    )
}

/// How many different events have come back here; of each key in their order.
async fn arrived(gateway: &Gateway, keys: usize) -> usize {
    let mut numbers = in_order(&stored(gateway, "here/b").await, keys);
    numbers.sort_unstable();
    numbers.dedup();
    numbers.len()
}

async fn all_arrive(gateway: &Gateway, count: usize, keys: usize) {
    let what = format!("{count} arrive");
    eventually(&what, async || (arrived(gateway, keys).await == count).then_some(())).await;
    eventually("settled", async || (status(gateway, "go").await["lag"] == 0).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_wait_for_a_broker_that_is_away() {
    let broker = Broker::up().await;
    broker.make_topic("there", 2).await;
    broker.kill().await;
    let gateway = Gateway::start(&configuration(&broker));
    reading(&gateway, "go").await;
    publish(&gateway, "here/a", 0..200, 8).await;
    eventually("tried again", async || {
        let now = status(&gateway, "go").await;
        (now["events"]["retried"].as_u64() > Some(8) && now["waiting"] == 8).then_some(())
    })
    .await;
    let now = status(&gateway, "go").await;
    assert_eq!((&now["lag"], &now["events"]["delivered"]), (&200.into(), &0.into()), "{now}");
    for name in ["go", "back"] {
        let says = async || status(&gateway, name).await["last_error"]["detail"].as_str().map(str::to_owned);
        eventually("it says what is in the way", says).await;
    }
    assert_eq!(status(&gateway, "back").await["state"], "opening");
    broker.restart().await;
    all_arrive(&gateway, 200, 8).await;
    assert_eq!(status(&gateway, "back").await["state"], "reading");

    broker.pause().await;
    publish(&gateway, "here/a", 200..400, 8).await;
    let before = status(&gateway, "go").await["events"]["retried"].as_u64();
    eventually("tried again", async || {
        (status(&gateway, "go").await["events"]["retried"].as_u64() > before).then_some(())
    })
    .await;
    assert!(status(&gateway, "go").await["lag"].as_u64() > Some(100));
    broker.resume().await;
    all_arrive(&gateway, 400, 8).await;
}
