//! Reading while topics change, and within the limits.

use std::{num::NonZeroUsize, sync::Arc};

use meshgate_api::{
    Str,
    connector::{Connector, Limits, ReadError, Start, Subscription},
    position::{Place, Position, Positions},
    topic::{TopicPattern, TopicSet},
};
use meshgate_conformance::{event, ids, outbound, store, store_ids, subscribe, take_ids, try_subscribe};

use crate::broker::{Broker, PATIENCE, fresh_name};

async fn scene(partitions: u32, limits: Limits) -> (Broker, Arc<dyn Connector>, Str) {
    let broker = Broker::given();
    let connector = broker.connector(limits, &[]).await;
    let topic = fresh_name("reading");
    broker.create(&topic, partitions, &[]).await;
    (broker, connector, topic)
}

async fn next(reader: &mut dyn Subscription) -> Result<usize, ReadError> {
    let max = NonZeroUsize::new(10).expect("not zero");
    let next = tokio::time::timeout(PATIENCE, reader.next(max)).await.expect("in time");
    next.map(|next| next.deliveries.len())
}

#[tokio::test(flavor = "multi_thread")]
async fn new_partitions_join_from_their_start() {
    let (broker, connector, topic) = scene(1, Limits::default()).await;
    let mut reader = subscribe(&*connector, TopicSet::one(topic.clone()), Start::Latest).await;
    broker.grow(&topic, 4).await;
    // The connector that publishes learns of the new partitions on its own time: another one knows them from the start.
    let writer = broker.connector(Limits::default(), &[]).await;
    let keyed = |id: usize| outbound(&topic, Some(&format!("key-{id}")), event(format!("e-{id}"), "x"));
    let outcomes = store(&*writer, (0..40).map(keyed).collect()).await;
    let partitions: std::collections::BTreeSet<_> = outcomes.iter().map(|outcome| format!("{outcome:?}")).collect();
    assert!(partitions.len() > 1);
    let mut read = take_ids(&mut *reader, 40).await;
    read.sort_by_key(|id| id[2..].parse::<u32>().expect("a number"));
    assert_eq!(read, ids("e", 40));
    assert_eq!(reader.positions().len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_made_anew_is_gone_for_who_had_read_it() {
    let (broker, connector, topic) = scene(1, Limits::default()).await;
    let mut fresh = subscribe(&*connector, TopicSet::one(topic.clone()), Start::Latest).await;
    store_ids(&*connector, &topic, ids("old", 5)).await;
    assert_eq!(take_ids(&mut *fresh, 5).await, ids("old", 5));
    broker.delete(&topic).await;
    broker.create(&topic, 1, &[]).await;
    let writer = broker.connector(Limits::default(), &[]).await;
    store_ids(&*writer, &topic, ids("new", 2)).await;
    let Err(ReadError::Gone { resume, .. }) = next(&mut *fresh).await else { panic!("it goes on as if nothing was") };
    let mut again = subscribe(&*connector, TopicSet::one(topic.clone()), Start::After(resume)).await;
    assert_eq!(take_ids(&mut *again, 2).await, ids("new", 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_made_anew_is_read_from_its_start_by_who_had_read_nothing() {
    let (broker, connector, topic) = scene(1, Limits::default()).await;
    let mut reader = subscribe(&*connector, TopicSet::one(topic.clone()), Start::Latest).await;
    broker.delete(&topic).await;
    tokio::time::sleep(std::time::Duration::from_secs(4)).await; // long enough for the connector to see that it is missing
    broker.create(&topic, 1, &[]).await;
    store_ids(&*connector, &topic, ids("new", 2)).await;
    assert_eq!(take_ids(&mut *reader, 2).await, ids("new", 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_stays_on_a_topic_that_is_deleted_for_a_while() {
    let (broker, connector, topic) = scene(1, Limits::default()).await;
    let other = fresh_name("other");
    broker.create(&other, 1, &[]).await;
    let topics = TopicSet { names: vec![topic.clone(), other.clone()], patterns: Vec::new() };
    let mut reader = subscribe(&*connector, topics, Start::Latest).await;
    store_ids(&*connector, &topic, ids("e", 1)).await;
    assert_eq!(take_ids(&mut *reader, 1).await, ids("e", 1));
    broker.delete(&topic).await;
    tokio::time::sleep(std::time::Duration::from_secs(4)).await;
    store_ids(&*connector, &other, ids("o", 3)).await;
    assert_eq!(take_ids(&mut *reader, 3).await, ids("o", 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn private_readers_are_limited_and_live_ones_are_not() {
    let (_broker, connector, topic) = scene(1, Limits { readers: 1, ..Limits::default() }).await;
    store_ids(&*connector, &topic, ids("e", 5)).await;
    let all = || TopicSet::one(topic.clone());
    // Live reading begins at the end: who wants more needs a private reader.
    let first = subscribe(&*connector, all(), Start::Earliest).await;
    assert!(matches!(try_subscribe(&*connector, all(), Start::Earliest).await, Err(ReadError::Busy { .. })));
    let mut live = Vec::new();
    for _ in 0..50 {
        live.push(subscribe(&*connector, all(), Start::Latest).await);
    }
    drop(first);
    let mut second = subscribe(&*connector, all(), Start::Earliest).await;
    assert_eq!(take_ids(&mut *second, 5).await, ids("e", 5));
    store_ids(&*connector, &topic, ids("n", 5)).await;
    for reader in &mut live {
        assert_eq!(take_ids(&mut **reader, 5).await, ids("n", 5));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn retention_that_overtakes_a_replay_is_told() {
    let limits = Limits { reader_memory: 128 << 10, ring: 1 << 20, ..Limits::default() };
    let (broker, connector, topic) = scene(1, limits).await;
    let large = |id: usize| outbound(&topic, None, event(format!("e-{id}"), vec![b'x'; 50_000]));
    for from in (0..100).step_by(10) {
        store(&*connector, (from..from + 10).map(large).collect()).await;
    }
    let mut reader = subscribe(&*connector, TopicSet::one(topic.clone()), Start::Earliest).await;
    assert_eq!(take_ids(&mut *reader, 1).await, ids("e", 1));
    broker.forget_records(&topic).await;
    let mut read = 1;
    let resume = loop {
        match next(&mut *reader).await {
            Ok(more) => read += more,
            Err(ReadError::Gone { resume, .. }) => break resume,
            Err(other) => panic!("{other}"),
        }
    };
    assert!(read < 100, "it had to be told before the end");
    let start = Position { topic: topic.clone(), partition: 0, place: Place::offset(100) };
    assert_eq!(resume, Positions::from_iter([start]));
}

#[tokio::test(flavor = "multi_thread")]
async fn any_replica_goes_on_from_a_readers_positions() {
    let (broker, one, topic) = scene(3, Limits::default()).await;
    let keyed = |id: usize| outbound(&topic, Some(&format!("key-{id}")), event(format!("e-{id}"), "x"));
    store(&*one, (0..30).map(keyed).collect()).await;
    let mut reader = subscribe(&*one, TopicSet::one(topic.clone()), Start::Earliest).await;
    let mut read = take_ids(&mut *reader, 17).await;
    let other = broker.connector(Limits::default(), &[]).await;
    let mut reader = subscribe(&*other, TopicSet::one(topic), Start::After(reader.positions().clone())).await;
    read.extend(take_ids(&mut *reader, 13).await);
    read.sort_by_key(|id| id[2..].parse::<u32>().expect("a number"));
    assert_eq!(read, ids("e", 30));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pattern_leaves_internal_topics_out() {
    let (_broker, connector, topic) = scene(1, Limits::default()).await;
    let everything = TopicPattern::new(vec![Str::new(), topic.clone()]).expect("there is a hole");
    let topics = TopicSet { names: Vec::new(), patterns: vec![everything] };
    let mut reader = subscribe(&*connector, topics, Start::Earliest).await;
    store_ids(&*connector, &topic, ids("e", 3)).await;
    assert_eq!(take_ids(&mut *reader, 3).await, ids("e", 3));
    assert!(reader.positions().iter().all(|position| position.topic == topic));
}
