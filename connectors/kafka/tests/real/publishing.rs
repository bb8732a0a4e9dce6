//! What becomes of a publish in the less usual cases.

use std::time::{Duration, Instant};

use meshgate_api::{
    connector::{Batch, Connector, Context, Limits, Outbound, Start},
    outcome::{Outcome, Outcomes, Rejection, Unavailability},
    topic::TopicSet,
};
use meshgate_conformance::{event, outbound, subscribe, take_ids};
use meshgate_kafka::{Kafka, KafkaConfig};

use crate::broker::{Broker, fresh_name};

async fn publish(connector: &dyn Connector, batch: Vec<Outbound>) -> Outcomes {
    connector.publish(Batch::from_vec(batch)).await.outcomes().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_topic_is_unavailable_until_it_is_made() {
    let broker = Broker::given();
    let connector = broker.connector(Limits::default(), &[]).await;
    let (missing, there) = (fresh_name("missing"), fresh_name("there"));
    broker.create(&there, 1, &[]).await;
    let both = || vec![outbound(&missing, None, event("1", "x")), outbound(&there, None, event("2", "x"))];
    let outcomes = publish(&*connector, both()).await;
    let Outcome::Unavailable { reason: Unavailability::Missing, detail, .. } = &outcomes[0] else {
        panic!("{outcomes:?}")
    };
    assert!(detail.contains("does not exist") && detail.contains(&*missing), "{detail}");
    assert!(matches!(outcomes[1], Outcome::Stored(_)), "{outcomes:?}");
    broker.create(&missing, 1, &[]).await;
    let outcomes = publish(&*connector, both()).await;
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Stored(_))), "{outcomes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_are_made_if_the_properties_say_so() {
    let broker = Broker::given();
    let connector = broker.connector(Limits::default(), &[("allow.auto.create.topics", "true")]).await;
    let outcomes = publish(&*connector, vec![outbound(&fresh_name("auto"), None, event("1", "x"))]).await;
    // A broker with auto.create.topics.enable=false makes none: then it is missing, never unknown.
    let is_sound = matches!(outcomes[0], Outcome::Stored(_))
        || matches!(outcomes[0], Outcome::Unavailable { reason: Unavailability::Missing, .. });
    assert!(is_sound, "{outcomes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_too_large_takes_no_other_with_it() {
    let broker = Broker::given();
    let connector = broker.connector(Limits::default(), &[("linger.ms", "50")]).await;
    let topic = fresh_name("small");
    broker.create(&topic, 1, &[("max.message.bytes", "20000")]).await;
    let event = |id: usize| event(format!("e-{id}"), vec![b'x'; if id == 2 { 50_000 } else { 5_000 }]);
    let outcomes = publish(&*connector, (0..6).map(|id| outbound(&topic, None, event(id))).collect()).await;
    for (id, outcome) in outcomes.iter().enumerate() {
        match id {
            2 => assert!(matches!(outcome, Outcome::Rejected { reason: Rejection::TooLarge, .. }), "{outcome:?}"),
            _ => assert!(matches!(outcome, Outcome::Stored(_)), "{id}: {outcome:?}"),
        }
    }
    let mut reader = subscribe(&*connector, TopicSet::one(topic), Start::Earliest).await;
    assert_eq!(take_ids(&mut *reader, 5).await, ["e-0", "e-1", "e-3", "e-4", "e-5"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_broker_will_never_take_is_rejected() {
    let broker = Broker::given();
    let connector = broker.connector(Limits::default(), &[]).await;
    let topic = fresh_name("compacted");
    broker.create(&topic, 1, &[("cleanup.policy", "compact")]).await;
    let batch = vec![outbound(&topic, None, event("1", "x")), outbound(&topic, Some("key"), event("2", "x"))];
    let outcomes = publish(&*connector, batch).await;
    assert!(matches!(outcomes[0], Outcome::Rejected { reason: Rejection::BadEvent, .. }), "{outcomes:?}");
    assert!(matches!(outcomes[1], Outcome::Stored(_)), "{outcomes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn more_topics_than_the_limit_are_unavailable() {
    let broker = Broker::given();
    let connector = broker.connector(Limits { topics: 2, ..Limits::default() }, &[]).await;
    let topics: Vec<_> = (0..3).map(|_| fresh_name("limit")).collect();
    for topic in &topics {
        broker.create(topic, 1, &[]).await;
    }
    let outcomes =
        publish(&*connector, topics.iter().map(|topic| outbound(topic, None, event("1", "x"))).collect()).await;
    assert!(matches!((&outcomes[0], &outcomes[1]), (Outcome::Stored(_), Outcome::Stored(_))), "{outcomes:?}");
    assert!(matches!(outcomes[2], Outcome::Unavailable { reason: Unavailability::GatewayLimit, .. }), "{outcomes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_broker_the_answer_is_quick() {
    let config = KafkaConfig { brokers: vec!["127.0.0.1:1".into()], properties: Vec::new() };
    let connector = Kafka::connect(config, Context::new("away", Limits::default())).expect("it starts");
    let start = Instant::now();
    let outcomes = publish(&connector, vec![outbound("t", None, event("1", "x"))]).await;
    assert!(matches!(outcomes[0], Outcome::Unavailable { reason: Unavailability::Down, .. }), "{outcomes:?}");
    assert!(start.elapsed() < Duration::from_secs(1));
    assert!(!connector.health().up && !connector.health().was_up && connector.health().detail.is_some());
}

/// Keys go where a plain client's default partitioner puts them.
#[tokio::test(flavor = "multi_thread")]
async fn plain_clients_choose_the_same_partitions() {
    let broker = Broker::given();
    let connector = broker.connector(Limits::default(), &[]).await;
    let topic = fresh_name("agreed");
    broker.create(&topic, 7, &[]).await;
    let keys: Vec<_> = (0..60).map(|number| format!("device-{number}")).collect();
    let batch = keys.iter().map(|key| outbound(&topic, Some(key), event(key.as_str(), "x"))).collect();
    let ours: Vec<_> = publish(&*connector, batch)
        .await
        .into_iter()
        .map(|outcome| match outcome {
            Outcome::Stored(position) => position.partition.to_string(),
            other => panic!("{other:?}"),
        })
        .collect();
    let script = r"
import sys, kafka
producer = kafka.KafkaProducer(bootstrap_servers=sys.argv[1])
sent = [producer.send(sys.argv[2], key=key.encode(), value=b'x') for key in sys.argv[3:]]
print(' '.join(str(one.get(30).partition) for one in sent))
";
    let broker_and_topic = [broker.bootstrap.as_str(), &topic];
    let arguments: Vec<_> = broker_and_topic.into_iter().chain(keys.iter().map(String::as_str)).collect();
    let theirs = crate::broker::python(script, &arguments);
    assert_eq!(ours.join(" "), theirs.trim());
}
