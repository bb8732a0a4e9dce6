//! With librdkafka's own mock of a cluster, in this process.

use std::sync::Arc;

use meshgate_api::{
    Str,
    connector::{ContentMode, Limits},
    event::Event,
    message::Message,
};
use rdkafka::mocking::MockCluster;

use super::*;
use crate::config::KafkaConfig;

async fn publisher(cluster: &MockCluster<'_, rdkafka::producer::DefaultProducerContext>) -> Arc<Publisher> {
    let config = KafkaConfig { brokers: vec![cluster.bootstrap_servers()], properties: Vec::new() };
    let clients = Clients::new("mock".into(), config, Limits::default());
    let link = Arc::new(Link::new("mock".into()));
    let metadata = Arc::new(Metadata::start(&clients, link.clone()).expect("threads start"));
    metadata.fresh().await.expect("the mock answers");
    Arc::new(Publisher::new(clients, link, metadata, 10).expect("a producer"))
}

async fn publish(publisher: &Arc<Publisher>, id: &str) -> Outcome {
    let event = Event { id: id.into(), source: "/s".into(), kind: "t".into(), ..Event::default() };
    let outbound = Outbound {
        message: Arc::new(Message { channel: Some(Str::from_static("c")), event, ..Message::default() }),
        topic: Str::from_static("t"),
        key: None,
        order: Order::Kept,
        mode: ContentMode::Binary,
    };
    publisher.publish(Batch::from_buf([outbound])).await.outcomes().await.remove(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_producer_that_cannot_go_on_is_made_anew() {
    let cluster = MockCluster::new(1).expect("a mock cluster");
    cluster.create_topic("t", 1, 1).expect("a topic");
    let publisher = publisher(&cluster).await;
    assert!(matches!(publish(&publisher, "1").await, Outcome::Stored(_)));
    publisher.trouble.is_fatal("for the test");
    publisher.clone().tend().await;
    assert_eq!(publisher.renewals.load(Relaxed), 1);
    assert!(matches!(publish(&publisher, "2").await, Outcome::Stored(_)));
    publisher.clone().tend().await;
    assert_eq!(publisher.renewals.load(Relaxed), 1, "once is enough");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_sent_after_the_end() {
    let cluster = MockCluster::new(1).expect("a mock cluster");
    cluster.create_topic("t", 1, 1).expect("a topic");
    let publisher = publisher(&cluster).await;
    let ack = publish(&publisher, "1");
    assert!(matches!(ack.await, Outcome::Stored(_)));
    assert_eq!(publisher.clone().close(Instant::now() + Duration::from_secs(5)).await, 0);
    assert!(matches!(publish(&publisher, "2").await, Outcome::Unavailable { .. }));
}
