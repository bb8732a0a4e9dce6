//! One subscriber of channels that live on several brokers: the merged stream, and a cursor that covers all that can be read again.

use std::collections::BTreeSet;

use serde_json::json;

use crate::harness::{
    eventually,
    gateway::Gateway,
    kafka::{bootstrap, fresh_name, topic},
    page::Page,
    sse::Stream,
    websocket::Socket,
};

const EACH: usize = 20;
/// Named as their brokers; the last one cannot be read again.
const CHANNELS: [&str; 4] = ["kafka", "pulsar", "memory", "mqtt"];

async fn gateway() -> Gateway {
    let given = |name: &str| std::env::var(name).unwrap_or_else(|_| panic!("needs all brokers: {name} is not set"));
    let (kafka, pulsar, mqtt) = (bootstrap(), given("PULSAR_URL"), given("MQTT_ADDRESS"));
    let (in_kafka, in_pulsar, in_mqtt) = (topic("federated", 3), fresh_name("federated"), fresh_name("federated"));
    let gateway = Gateway::start(&format!(
        r##"
connectors:
  kafka: {{ kind: kafka, brokers: ["{kafka}"] }}
  pulsar: {{ kind: pulsar, url: "{pulsar}" }}
  mqtt: {{ kind: mqtt, url: "mqtt://{mqtt}" }}
  memory: {{ kind: memory }}
routes:
  - {{ channel: orders/kafka, to: [{{ connector: kafka, topic: {in_kafka} }}] }}
  - {{ channel: orders/pulsar, to: [{{ connector: pulsar, topic: {in_pulsar} }}] }}
  - {{ channel: orders/mqtt, to: [{{ connector: mqtt, topic: {in_mqtt} }}] }}
  - {{ channel: "#", to: [{{ connector: memory, topic: "{{channel}}" }}] }}
"##
    ));
    eventually("ready", async || (gateway.ask_admin("/readyz").await.status() == 200).then_some(())).await;
    gateway
}

async fn store(gateway: &Gateway, round: &str) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for number in 0..EACH {
        for channel in CHANNELS {
            let id = format!("{round}-{channel}-{number:02}");
            gateway.store(&format!("orders/{channel}"), &id).await;
            all.insert(id);
        }
    }
    all
}

/// What a cursor goes back to.
fn kept(ids: &BTreeSet<String>) -> BTreeSet<String> {
    ids.iter().filter(|id| !id.contains("mqtt")).cloned().collect()
}

fn both(one: &BTreeSet<String>, other: &BTreeSet<String>) -> BTreeSet<String> {
    one.union(other).cloned().collect()
}

/// All of them, each once, and those of each channel in their order.
fn check(ids: &[String], expected: &BTreeSet<String>) {
    assert_eq!(ids.iter().cloned().collect::<BTreeSet<_>>(), *expected);
    assert_eq!(ids.len(), expected.len(), "none comes twice");
    for channel in CHANNELS {
        let of: Vec<_> = ids.iter().filter(|id| id.contains(channel)).collect();
        assert!(of.is_sorted(), "{of:?}");
    }
}

#[tokio::test]
async fn one_stream_has_the_events_of_all_brokers_and_goes_on_by_one_cursor() {
    let gateway = gateway().await;
    let mut live = Stream::open(&gateway, "orders/**").await;
    let mut socket = Socket::open(&gateway, "orders/**?role=subscribe").await;
    let first = store(&gateway, "a").await;
    check(&live.ids(first.len()).await, &first);
    check(&socket.ids(first.len()).await, &first);
    let after_first = live.last_id.clone().expect("a cursor");

    let mut earliest = Stream::open(&gateway, "orders/**?from=earliest").await;
    let mut ids = earliest.ids(25).await;
    let in_between = earliest.last_id.clone().expect("a cursor");
    drop((earliest, live, socket));

    // While nobody reads: what is in MQTT alone goes by.
    let second = store(&gateway, "b").await;
    let mut resumed = Stream::try_open(&gateway, "orders/**", Some(&in_between)).await.expect("a stream");
    let mut socket = Socket::open(&gateway, &format!("orders/**?role=subscribe&after={after_first}")).await;
    let all = kept(&both(&first, &second));
    ids.extend(resumed.ids(all.len() - 25).await);
    check(&ids, &all);
    check(&socket.ids(kept(&second).len()).await, &kept(&second));

    // From then on both have all brokers' again.
    let third = store(&gateway, "c").await;
    check(&resumed.ids(third.len()).await, &third);
    check(&socket.ids(third.len()).await, &third);

    let pages = Page::read(&gateway, "orders/**?from=earliest&limit=7").await.until_the_end(&gateway).await;
    let paged: Vec<_> = pages.iter().flat_map(|page| &page.events).map(|event| event["id"].clone()).collect();
    let all = both(&all, &kept(&third));
    assert_eq!(paged.len(), all.len());
    assert!(paged.iter().all(|id| all.contains(id.as_str().expect("an id"))) && !paged.contains(&json!(null)));
}
