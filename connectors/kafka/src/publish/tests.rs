//! With librdkafka's own mock of a cluster, in this process.

use std::sync::Arc;

use meshgate_api::{
    Str,
    connector::{ContentMode, Limits},
    event::Event,
    message::Message,
};
use rdkafka::{
    mocking::MockCluster,
    types::{RDKafkaApiKey, RDKafkaRespErr},
};

use super::*;
use crate::config::KafkaConfig;

type Mock = MockCluster<'static, rdkafka::producer::DefaultProducerContext>;

async fn publisher(cluster: &Mock) -> Arc<Publisher> {
    publisher_within(cluster, Limits::default()).await
}

async fn publisher_within(cluster: &Mock, limits: Limits) -> Arc<Publisher> {
    let config = KafkaConfig { brokers: vec![cluster.bootstrap_servers()], properties: Vec::new() };
    let clients = Clients::new("mock".into(), config, limits).expect("an address");
    let link = Arc::new(Link::new("mock".into()));
    let metadata = Arc::new(Metadata::start(&clients, link.clone()).expect("threads start"));
    metadata.fresh().await.expect("the mock answers");
    Arc::new(Publisher::new(clients, link, metadata, 10).expect("a producer"))
}

async fn publish(publisher: &Arc<Publisher>, id: &str) -> Outcome {
    let event = Event { id: id.into(), source: "/s".into(), kind: "t".into(), ..Event::default() };
    let outbound = Outbound {
        message: Arc::new(Message {
            channel: Some(Str::from_static("c")),
            event: Box::new(event),
            ..Message::default()
        }),
        topic: Str::from_static("t"),
        key: None,
        order: Order::Kept,
        mode: ContentMode::Binary,
        options: None,
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

/// `NOT_LEADER_OR_FOLLOWER` comes after an append too, if the leader changes between the two.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_broker_refused_and_nobody_took_afterwards_may_be_stored() {
    const REFUSAL: RDKafkaRespErr = RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION;
    let cluster = MockCluster::new(1).expect("a mock cluster");
    cluster.create_topic("t", 1, 1).expect("a topic");
    let limits = Limits { publish_timeout: Duration::from_secs(8), ..Limits::default() };
    let publisher = publisher_within(&cluster, limits).await;
    assert!(matches!(publish(&publisher, "1").await, Outcome::Stored(_)));
    cluster.request_errors(RDKafkaApiKey::Produce, &[REFUSAL; 1000]);
    let outcome = publish(&publisher, "2").await;
    assert!(matches!(outcome, Outcome::Unknown { .. }), "{outcome:?}");
    cluster.clear_request_errors(RDKafkaApiKey::Produce);
    cluster.partition_leader("t", 0, None).expect("no leader");
    until_leaderless(&publisher).await;
    let outcome = publish(&publisher, "3").await;
    assert!(matches!(outcome, Outcome::Unavailable { .. }), "was never sent: {outcome:?}");
}

/// Until the producer does not know whom to send to.
async fn until_leaderless(publisher: &Arc<Publisher>) {
    while publisher.metadata.news().leaderless.is_empty() {
        publisher.metadata.fresh().await.expect("the mock answers");
    }
    tokio::time::sleep(Duration::from_millis(1500)).await; // it asks every second
}
