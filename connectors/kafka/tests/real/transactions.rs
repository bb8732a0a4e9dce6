//! Transactions of other programs: aborted records and markers are no records, and no reader waits for what they hide.

use std::{num::NonZeroUsize, sync::Arc};

use meshgate_api::{
    Str,
    connector::{Connector, Limits, Record, Start, Subscription},
    position::{Place, Position, Positions},
    topic::TopicSet,
};
use meshgate_conformance::{
    groups::{ack_all, hold, hold_what_comes, join},
    subscribe, take, take_all,
};
use rdkafka::{
    ClientConfig,
    producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer},
};
use tokio::time::{Instant, timeout};

use crate::broker::{Broker, PATIENCE, fresh_name, gauge, until};

const MAX: NonZeroUsize = NonZeroUsize::new(10).expect("not zero");

struct Scene {
    broker: Broker,
    connector: Arc<dyn Connector>,
    topic: Str,
    producer: ThreadedProducer<DefaultProducerContext>,
}

async fn scene() -> Scene {
    let broker = Broker::given();
    let connector = broker.connector(Limits::default(), &[]).await;
    let topic = fresh_name("transactions");
    broker.create(&topic, 1, &[]).await;
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &broker.bootstrap).set("transactional.id", &*topic);
    let producer: ThreadedProducer<_> = config.create().expect("a producer");
    producer.init_transactions(PATIENCE).expect("a transactional producer");
    Scene { broker, connector, topic, producer }
}

impl Scene {
    fn begin(&self, values: &[&str]) {
        self.producer.begin_transaction().expect("begun");
        for value in values {
            let record = BaseRecord::<[u8], str>::to(&self.topic).payload(value);
            self.producer.send(record).map_err(|(problem, _)| problem).expect("taken");
        }
        self.producer.flush(PATIENCE).expect("sent");
    }

    fn commit(&self, values: &[&str]) {
        self.begin(values);
        self.producer.commit_transaction(PATIENCE).expect("committed");
    }

    fn abort(&self, values: &[&str]) {
        self.begin(values);
        self.producer.abort_transaction(PATIENCE).expect("aborted");
    }

    async fn subscribe(&self, start: Start) -> Box<dyn Subscription> {
        subscribe(&*self.connector, TopicSet::one(self.topic.clone()), start).await
    }

    /// Waits until the reader stands there, without a record: the broker answers before it has written a transaction's marker.
    async fn reaches(&self, reader: &mut dyn Subscription, offset: u64) {
        while *reader.positions() != self.at(offset) {
            let moved = timeout(PATIENCE, reader.next(MAX)).await.expect("in time").expect("reading goes on");
            assert!(moved.deliveries.is_empty() && moved.at_end);
        }
    }

    fn at(&self, offset: u64) -> Positions {
        let position = Position { topic: self.topic.clone(), partition: 0, place: Place::offset(offset) };
        [position].into_iter().collect()
    }
}

fn values<'a>(records: impl IntoIterator<Item = &'a Arc<Record>>) -> Vec<String> {
    let data = records.into_iter().map(|record| record.message.event.data.as_deref().expect("a value"));
    data.map(|data| String::from_utf8_lossy(data).into_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn are_read_when_they_are_committed() {
    let scene = scene().await;
    scene.commit(&["kept"]);
    scene.abort(&["aborted"]);
    let mut reader = scene.subscribe(Start::Earliest).await;
    let read = take(&mut *reader, 1).await;
    assert_eq!(values(&read), ["kept"]);

    // From there nothing is to be read up to the end: the reader goes over to live reading nonetheless.
    let after = Start::After(scene.at(read[0].next.offset));
    let other = scene.broker.connector(Limits::default(), &[]).await;
    let mut reader = subscribe(&*other, TopicSet::one(scene.topic.clone()), after).await;
    assert_eq!(gauge(&other, "private_readers"), 1);
    let moved = timeout(PATIENCE, reader.next(MAX)).await.expect("in time").expect("reading goes on");
    assert!(moved.deliveries.is_empty() && moved.at_end);
    until("it is live", || gauge(&other, "private_readers") == 0).await;
    scene.commit(&["next"]);
    assert_eq!(values(&take(&mut *reader, 1).await), ["next"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn live_reading_knows_the_end_behind_their_markers() {
    let scene = scene().await;
    let mut standing = scene.subscribe(Start::Latest).await; // all that comes is in the live buffer
    scene.commit(&["a", "b"]);
    let mut first = scene.subscribe(Start::Earliest).await;
    assert_eq!(values(&take(&mut *first, 2).await), ["a", "b"]);
    scene.reaches(&mut *first, 3).await;
    scene.abort(&["c"]);
    assert_eq!(values(&take(&mut *standing, 2).await), ["a", "b"]);
    scene.reaches(&mut *standing, 5).await;
    for (offset, expected) in [(0, &["a", "b"][..]), (1, &["b"]), (2, &[]), (3, &[]), (4, &[]), (5, &[])] {
        let mut reader = scene.subscribe(Start::After(scene.at(offset))).await;
        assert_eq!(values(&take_all(&mut *reader).await), expected, "from {offset}");
        assert_eq!(reader.positions(), &scene.at(5), "from {offset}");
    }
    assert_eq!(gauge(&scene.connector, "private_readers"), 0, "it was live reading");

    // What is under way is not passed.
    scene.begin(&["d", "e"]);
    let mut before = scene.subscribe(Start::After(scene.at(2))).await;
    assert_eq!(values(&take_all(&mut *before).await), [""; 0]);
    assert_eq!(before.positions(), &scene.at(5));
    scene.producer.commit_transaction(PATIENCE).expect("committed");
    for reader in [&mut standing, &mut first, &mut before] {
        assert_eq!(values(&take(&mut **reader, 2).await), ["d", "e"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_that_come_again_and_again_miss_nothing() {
    let scene = scene().await;
    let _standing = scene.subscribe(Start::Latest).await;
    let expected: Vec<_> = (0..60).filter(|number| number % 3 > 0).map(|number: u32| number.to_string()).collect();
    let (mut read, mut positions) = (Vec::new(), scene.at(0));
    let deadline = Instant::now() + PATIENCE;
    tokio::join!(
        async {
            for number in 0..60 {
                let value = number.to_string();
                let end = if number % 3 == 0 { Scene::abort } else { Scene::commit };
                tokio::task::block_in_place(|| end(&scene, &[&value]));
            }
        },
        async {
            while read.len() < expected.len() {
                assert!(Instant::now() < deadline, "{read:?} come in time");
                let mut reader = scene.subscribe(Start::After(positions.clone())).await;
                read.extend(values(&take_all(&mut *reader).await));
                positions = reader.positions().clone();
            }
        }
    );
    assert_eq!(read, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_has_confirmed_all_is_behind_their_markers() {
    let scene = scene().await;
    let (group, topics) = (fresh_name("name"), TopicSet::one(scene.topic.clone()));
    let mut member = join(&*scene.connector, topics.clone(), Start::Latest, &group).await;
    scene.commit(&["a", "b"]);
    let held = hold(&mut *member, 2).await;
    scene.abort(&["c"]);
    until("it is behind", || gauge(&scene.connector, "group_lag") == 5).await;
    ack_all(held);
    until("nothing is left", || gauge(&scene.connector, "group_lag") == 0).await;
    scene.connector.shutdown(Instant::now() + PATIENCE).await;

    scene.broker.forget_records(&scene.topic).await;
    let replica = scene.broker.connector(Limits::default(), &[]).await;
    let mut member = join(&*replica, topics, Start::Latest, &group).await;
    assert!(hold_what_comes(&mut *member).await.is_empty(), "all is confirmed");
    assert_eq!(gauge(&replica, "group_skipped"), 0);
    scene.commit(&["d"]);
    assert_eq!(values(hold(&mut *member, 1).await.iter().map(|delivery| &delivery.record)), ["d"]);
}
