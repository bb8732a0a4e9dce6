//! Groups over several replicas, each a connector of its own.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    num::NonZeroUsize,
    sync::Arc,
    time::Duration,
};

use meshgate_api::{
    Str,
    connector::{Connector, Limits, Settlement, Start, Subscription},
    topic::TopicSet,
};
use meshgate_conformance::{
    event,
    groups::{ack_all, hold, hold_what_comes, ids_of, join, settle, share},
    ids, outbound, store, store_ids,
};
use parking_lot::Mutex;
use tokio::{task::JoinHandle, time::Instant};

use crate::broker::{Broker, PATIENCE, fresh_name, gauge, until};

struct Scene {
    broker: Broker,
    topic: Str,
    group: Str,
}

impl Scene {
    async fn new(partitions: u32) -> Self {
        let scene = Self { broker: Broker::given(), topic: fresh_name("group"), group: fresh_name("name") };
        scene.broker.create(&scene.topic, partitions, &[]).await;
        scene
    }

    async fn replica(&self) -> Arc<dyn Connector> {
        self.broker.connector(Limits::default(), &[]).await
    }

    async fn join(&self, replica: &Arc<dyn Connector>) -> Box<dyn Subscription> {
        join(&**replica, TopicSet::one(self.topic.clone()), Start::Latest, &self.group).await
    }
}

/// What all members together were given and have confirmed.
#[derive(Default)]
struct Book {
    confirmed: BTreeSet<u64>,
    /// By member: what was new to it, by key.
    seen: HashMap<u32, BTreeMap<Vec<u8>, Vec<u64>>>,
}

/// A member at work: it confirms most of what it gets, and hands some back first.
fn work(mut member: Box<dyn Subscription>, number: u32, book: Arc<Mutex<Book>>) -> JoinHandle<()> {
    tokio::spawn(async move {
        let max = NonZeroUsize::new(20).expect("not zero");
        let mut turn = 0;
        while let Ok(next) = member.next(max).await {
            for delivery in next.deliveries {
                turn += 1;
                let id = delivery.record.message.event.id.parse().expect("a number");
                let key = delivery.record.key.clone().expect("a key").to_vec();
                let mut book = book.lock();
                let seen = book.seen.entry(number).or_default().entry(key).or_default();
                if !seen.contains(&id) {
                    assert!(seen.last().is_none_or(|last| *last < id), "{id} came after {seen:?}");
                    seen.push(id);
                }
                if turn % 17 == 0 {
                    settle(delivery, Settlement::Retry { after: None });
                } else {
                    settle(delivery, Settlement::Ack);
                    book.confirmed.insert(id);
                }
            }
        }
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_while_members_and_replicas_come_and_go() {
    const COUNT: u64 = 4000;
    let scene = Scene::new(6).await;
    let (writer, book) = (scene.replica().await, Arc::<Mutex<Book>>::default());
    let first = scene.replica().await;
    let mut tasks =
        vec![work(scene.join(&first).await, 0, book.clone()), work(scene.join(&first).await, 1, book.clone())];
    let mut replicas = vec![first];
    for round in 0..4 {
        let batch = (round * COUNT / 4..(round + 1) * COUNT / 4)
            .map(|id| outbound(&scene.topic, Some(&format!("key-{}", id % 60)), event(id.to_string(), "x")));
        store(&*writer, batch.collect()).await;
        match round {
            0 => {
                let replica = scene.replica().await;
                tasks.push(work(scene.join(&replica).await, 2, book.clone()));
                replicas.push(replica);
            }
            1 => tasks.remove(0).abort(), // a member vanishes with all that it holds
            2 => {
                let replica = scene.replica().await;
                tasks.push(work(scene.join(&replica).await, 3, book.clone()));
                drop(replicas.remove(0)); // and a whole replica
            }
            _ => {}
        }
    }
    let deadline = Instant::now() + PATIENCE;
    while book.lock().confirmed.len() < COUNT as usize {
        assert!(Instant::now() < deadline, "{} of {COUNT} are confirmed in time", book.lock().confirmed.len());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(book.lock().seen[&2].len() > 1, "the second replica had its share");
    for replica in &replicas {
        until("all is confirmed at the broker", || gauge(replica, "group_lag") == 0).await;
        replica.shutdown(Instant::now() + PATIENCE).await;
    }
    let replica = scene.replica().await;
    let mut member = scene.join(&replica).await;
    assert!(hold_what_comes(&mut *member).await.is_empty(), "what is confirmed does not come again");
    for task in tasks {
        task.await.expect("the order of each key is kept");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_share_partitions_and_take_over_what_one_leaves() {
    let scene = Scene::new(4).await;
    let (one, two) = (scene.replica().await, scene.replica().await);
    let mut members = [scene.join(&one).await, scene.join(&two).await];
    until("each has its half", || [&one, &two].iter().all(|replica| gauge(replica, "group_partitions") == 2)).await;
    let keyed = |id: String| outbound(&scene.topic, Some(&id), event(id.clone(), "x"));
    store(&*one, ids("a", 100).into_iter().map(keyed).collect()).await;
    let got = share(&mut members, 100).await;
    assert!(got.iter().all(|got| got.len() > 10), "both work");
    let [_first, mut second] = members;
    store(&*one, ids("b", 100).into_iter().map(keyed).collect()).await;
    one.shutdown(Instant::now() + PATIENCE).await;
    let all = hold(&mut *second, 100).await;
    assert_eq!(ids_of(&all).into_iter().collect::<BTreeSet<_>>(), ids("b", 100).into_iter().collect());
    ack_all(all);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_joins_new_partitions_from_their_start() {
    let scene = Scene::new(1).await;
    let replica = scene.replica().await;
    let mut member = scene.join(&replica).await;
    scene.broker.grow(&scene.topic, 4).await;
    let writer = scene.replica().await;
    let keyed = |id: String| outbound(&scene.topic, Some(&id), event(id.clone(), "x"));
    store(&*writer, ids("e", 40).into_iter().map(keyed).collect()).await;
    let held = hold(&mut *member, 40).await;
    assert_eq!(ids_of(&held).into_iter().collect::<BTreeSet<_>>(), ids("e", 40).into_iter().collect());
    ack_all(held);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_retention_deleted_is_counted_and_the_group_goes_on_from_the_oldest() {
    let scene = Scene::new(1).await;
    let replica = scene.replica().await;
    let mut member = scene.join(&replica).await;
    store_ids(&*replica, &scene.topic, ids("old", 5)).await;
    let mut held = hold(&mut *member, 5).await;
    settle(held.remove(0), Settlement::Ack);
    replica.shutdown(Instant::now() + PATIENCE).await;
    scene.broker.forget_records(&scene.topic).await;
    let replica = scene.replica().await;
    store_ids(&*replica, &scene.topic, ids("new", 2)).await;
    let mut member = scene.join(&replica).await;
    assert_eq!(ids_of(&hold(&mut *member, 2).await), ids("new", 2));
    assert_eq!(gauge(&replica, "group_skipped"), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_goes_on_in_a_topic_that_is_made_anew() {
    let scene = Scene::new(1).await;
    let replica = scene.replica().await;
    let mut member = scene.join(&replica).await;
    store_ids(&*replica, &scene.topic, ids("old", 5)).await;
    ack_all(hold(&mut *member, 5).await);
    scene.broker.delete(&scene.topic).await;
    scene.broker.create(&scene.topic, 1, &[]).await;
    let writer = scene.replica().await;
    store_ids(&*writer, &scene.topic, ids("new", 9)).await;
    assert_eq!(ids_of(&hold(&mut *member, 9).await), ids("new", 9));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_was_made_anew_is_read_from_its_start_once() {
    let scene = Scene::new(2).await;
    let one = scene.replica().await;
    let mut member = scene.join(&one).await;
    let keyed = |id: String| outbound(&scene.topic, Some(&id), event(id.clone(), "x"));
    store(&*one, ids("old", 6).into_iter().map(keyed).collect()).await;
    ack_all(hold(&mut *member, 6).await);
    scene.broker.delete(&scene.topic).await;
    scene.broker.create(&scene.topic, 2, &[]).await;
    let writer = scene.replica().await;
    store(&*writer, ids("new", 20).into_iter().map(keyed).collect()).await;
    ack_all(hold(&mut *member, 20).await);
    until("all is confirmed at the broker", || gauge(&one, "group_lag") == 0).await;
    let two = scene.replica().await;
    let _passing = scene.join(&two).await;
    until("each has its half", || [&one, &two].iter().all(|replica| gauge(replica, "group_partitions") == 1)).await;
    two.shutdown(Instant::now() + PATIENCE).await;
    until("it is alone again", || gauge(&one, "group_partitions") == 2).await;
    assert!(hold_what_comes(&mut *member).await.is_empty(), "what is confirmed does not come again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_has_members_for_other_topics_can_be_joined() {
    let (scene, elsewhere) = (Scene::new(1).await, Scene::new(1).await);
    let (one, two) = (scene.replica().await, scene.replica().await);
    let mut first = scene.join(&one).await;
    let mut second = join(&*two, TopicSet::one(elsewhere.topic.clone()), Start::Latest, &scene.group).await;
    store_ids(&*one, &scene.topic, ids("here", 3)).await;
    store_ids(&*one, &elsewhere.topic, ids("there", 3)).await;
    assert_eq!(ids_of(&hold(&mut *first, 3).await), ids("here", 3));
    assert_eq!(ids_of(&hold(&mut *second, 3).await), ids("there", 3));
}
