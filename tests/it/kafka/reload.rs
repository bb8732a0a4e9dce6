//! Other routes and other settings while Kafka is read and written.

use super::{configuration, gateway};
use crate::harness::{eventually, gateway::Gateway, kafka::topic, sse::Stream};

async fn take_over(gateway: &Gateway, routes: &[&str], linger: &str, edition: u64) {
    let properties = format!("kind: kafka, properties: {{ linger.ms: {linger} }}");
    gateway.rewrite(&configuration(&routes.join("\n"), "").replace("kind: kafka", &properties));
    eventually("taken over", async || {
        let status = gateway.ask_admin("/status").await.text().await.expect("a body");
        let status: serde_json::Value = serde_json::from_str(&status).expect("JSON");
        (status["edition"] == edition).then_some(())
    })
    .await;
}

#[tokio::test]
async fn standing_reads_join_existing_topics_as_of_the_reload() {
    let (a, b) = (topic("reload-a", 2), topic("reload-b", 3));
    let route =
        |channel: &str, topic: &str| format!("channel: {channel}, to: [{{ connector: kafka, topic: {topic} }}]");
    let (to_a, to_b) = (route("a", &a), route("b", &b));
    let gateway = gateway(&to_b).await;
    for id in ["old 1", "old 2", "old 3"] {
        gateway.store("b", id).await;
    }
    take_over(&gateway, &[&to_a], "1", 1).await;
    let mut stream = Stream::open(&gateway, "**").await;
    gateway.store("a", "1").await;
    assert_eq!(stream.ids(1).await, ["1"]);
    take_over(&gateway, &[&to_a, &to_b], "1", 2).await;
    eventually("it reads the new topic", async || {
        let status = gateway.ask_admin("/status").await.text().await.expect("a body");
        status.contains("\"live_partitions\": 5").then_some(())
    })
    .await;
    gateway.store("b", "2").await;
    assert_eq!(stream.ids(1).await, ["2"], "not what was there before");
    let cursor = stream.last_id.clone().expect("a cursor");
    take_over(&gateway, &[&to_a, &to_b], "2", 3).await;
    gateway.store("b", "3").await;
    assert_eq!(stream.ids(1).await, ["3"], "it goes on with the new client where it was with the old one");
    gateway.store("a", "4").await;
    assert_eq!(stream.ids(1).await, ["4"]);
    let mut again = Stream::try_open(&gateway, "**", Some(&cursor)).await.expect("a stream");
    let mut ids = again.ids(2).await;
    ids.sort();
    assert_eq!(ids, ["3", "4"], "the cursor names the topic that was new");
}
