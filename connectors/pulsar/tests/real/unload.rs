//! Topics that the broker unloads again and again, as it does where it spreads its load, while everybody works with them.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use meshgate_api::{
    connector::{Batch, Connector, Limits, PublishAck, Record, Settlement, Start, Subscription},
    outcome::Outcome,
    position::Place,
    settings::Node,
    topic::TopicSet,
};
use meshgate_conformance::{PATIENCE, event, groups, ids, outbound, store_ids, subscribe, take_all};
use tokio::{
    sync::Mutex,
    task::JoinHandle,
    time::{sleep, timeout},
};

use crate::{
    broker::{Broker, fresh_name},
    sending::{batches, options},
};

const KEYS: usize = 16;
/// Unanswered events of each key.
const IN_FLIGHT: usize = 32;
const UNLOADS: usize = 8;
/// What is there comes sooner, also where a consumer must be found to have fallen silent, and made anew.
const SILENCE: Duration = Duration::from_secs(15);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fate {
    Stored,
    Refused,
    Unknown,
}

fn is_batched_key(number: usize) -> bool {
    number % 2 == 1
}

/// Publishes `KEY/0`, `KEY/1` … without waiting for the answers of the last ones, with every other key in batches; what became of each.
async fn write(connector: Arc<dyn Connector>, topic: String, number_of_key: usize, stop: Arc<AtomicBool>) -> Vec<Fate> {
    let batch = Node::map([("batch", batches(50))]);
    let (key, options) =
        (format!("k{number_of_key}"), is_batched_key(number_of_key).then(|| options(&batch)).flatten());
    let (mut fates, mut waiting) = (Vec::new(), VecDeque::<PublishAck>::new());
    let mut number = 0;
    loop {
        let is_over = stop.load(Relaxed);
        if !is_over {
            let mut one = outbound(&topic, Some(&key), event(format!("{key}/{number}"), "x"));
            one.options.clone_from(&options);
            let handed_over = timeout(PATIENCE, connector.publish(Batch::from_vec(vec![one]))).await;
            waiting.push_back(handed_over.unwrap_or_else(|_| panic!("{key}/{number} is handed over in time")));
            number += 1;
        }
        if is_over || waiting.len() >= IN_FLIGHT {
            let Some(oldest) = waiting.pop_front() else { return fates };
            let outcomes = timeout(PATIENCE, oldest.outcomes()).await;
            let mut outcomes = outcomes.unwrap_or_else(|_| panic!("{key}/{} is answered in time", fates.len()));
            fates.push(match outcomes.remove(0) {
                Outcome::Stored(_) => Fate::Stored,
                Outcome::Unavailable { .. } => {
                    sleep(Duration::from_millis(20)).await; // as a client would that is asked to come back later
                    Fate::Refused
                }
                Outcome::Unknown { .. } => Fate::Unknown,
                rejected => panic!("{key}: {rejected:?}"),
            });
        }
    }
}

/// What has come to one reader, or to all members of a group, in the order of coming.
type Come = Arc<Mutex<Vec<Arc<Record>>>>;

/// Reads, and confirms in a group, until it is over and nothing more comes.
fn collect(mut reader: Box<dyn Subscription>, come: &Come, stop: &Arc<AtomicBool>) -> JoinHandle<()> {
    let (stop, come) = (stop.clone(), come.clone());
    tokio::spawn(async move {
        loop {
            let is_last = stop.load(Relaxed);
            match timeout(SILENCE, reader.next(NonZeroUsize::new(100).expect("not zero"))).await {
                Ok(next) => {
                    for delivery in next.expect("reading goes on").deliveries {
                        come.lock().await.push(delivery.record.clone());
                        if delivery.settler.is_some() {
                            groups::settle(delivery, Settlement::Ack);
                        }
                    }
                }
                Err(_) if is_last => return,
                Err(_) => {}
            }
        }
    })
}

/// Each place, and who stands there, by partition.
fn places(records: &[Arc<Record>]) -> BTreeMap<u32, Vec<(Place, String)>> {
    let mut places = BTreeMap::<_, Vec<_>>::new();
    for record in records {
        let (position, id) = (&record.position, record.message.event.id.to_string());
        places.entry(position.partition).or_default().push((position.place, id));
    }
    places
}

/// What comes first of each key comes in order.
fn check_order(who: &str, records: &[Arc<Record>]) -> BTreeSet<String> {
    let (mut seen, mut newest) = (BTreeSet::new(), HashMap::new());
    for record in records {
        let id = record.message.event.id.to_string();
        let Some((key, number)) = id.split_once('/') else { continue };
        let (key, number) = (key.to_owned(), number.parse::<u32>().expect("a number"));
        if seen.insert(id.clone()) {
            let before = newest.insert(key, number);
            assert!(before.is_none_or(|before| before < number), "{who}: {id} after {before:?}");
        }
    }
    seen
}

/// The broker deals batches to the processes of a group as they come: it does not see the keys in them.
fn is_batched(record: &Record) -> bool {
    let of_key = record.message.event.id.split_once('/').and_then(|(key, _)| key[1..].parse().ok());
    of_key.is_some_and(is_batched_key)
}

/// All that goes on while the topic is unloaded.
struct Scene {
    broker: Broker,
    topics: TopicSet,
    connector: Arc<dyn Connector>,
    /// Another replica.
    other: Arc<dyn Connector>,
    stop: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Scene {
    fn follow(&mut self, reader: Box<dyn Subscription>, come: &Come) {
        self.tasks.push(collect(reader, come, &self.stop));
    }

    async fn earliest(&self) -> Box<dyn Subscription> {
        subscribe(&*self.other, self.topics.clone(), Start::Earliest).await
    }
}

async fn check(partitions: u32) {
    let broker = Broker::given();
    let (connector, other) = (broker.connector(Limits::default()).await, broker.connector(Limits::default()).await);
    let topic = fresh_name("unloaded");
    broker.create(&topic, partitions).await;
    store_ids(&*connector, &topic, ids("before", 1000)).await;
    let topics = TopicSet::one(topic.clone());
    let mut scene = Scene { broker, topics, connector, other, stop: Arc::default(), tasks: Vec::new() };
    let (live, replays, group) = (Come::default(), [Come::default(), Come::default()], Come::default());
    scene.follow(subscribe(&*scene.connector, scene.topics.clone(), Start::Latest).await, &live);
    for connector in [scene.connector.clone(), scene.other.clone()] {
        scene.follow(groups::join(&*connector, scene.topics.clone(), Start::Earliest, &topic).await, &group);
    }
    let of_key = |key| tokio::spawn(write(scene.connector.clone(), topic.to_string(), key, scene.stop.clone()));
    let writers: Vec<_> = (0..KEYS).map(of_key).collect();
    for replay in &replays {
        for _ in 0..UNLOADS / replays.len() {
            sleep(Duration::from_millis(700)).await;
            timeout(PATIENCE, scene.broker.unload(&topic)).await.expect("unloaded in time");
        }
        scene.follow(scene.earliest().await, replay);
    }
    scene.broker.unload(&topic).await;
    sleep(Duration::from_secs(2)).await;
    scene.stop.store(true, Relaxed);

    let mut fates = BTreeMap::<_, BTreeSet<_>>::new();
    for (key, writer) in writers.into_iter().enumerate() {
        for (number, fate) in writer.await.expect("no panic").into_iter().enumerate() {
            fates.entry(fate).or_default().insert(format!("k{key}/{number}"));
        }
    }
    for task in std::mem::take(&mut scene.tasks) {
        timeout(PATIENCE, task).await.expect("reading comes to an end").expect("no panic");
    }
    let all = take_all(&mut *scene.earliest().await).await;
    let counts: Vec<_> = fates.iter().map(|(fate, ids)| (*fate, ids.len())).collect();
    let there = check_order("the topic", &all);
    let (stored, refused) = (fates.remove(&Fate::Stored).unwrap_or_default(), fates.remove(&Fate::Refused));
    let lost: Vec<_> = stored.difference(&there).collect();
    assert!(lost.is_empty(), "{counts:?}, confirmed and not there: {lost:?}");
    assert!(refused.unwrap_or_default().is_disjoint(&there), "refused and there");
    for replay in replays {
        assert!(places(&replay.lock().await) == places(&all), "a replay is the topic");
    }
    let after: Vec<_> = all.iter().filter(|record| record.message.event.id.contains('/')).cloned().collect();
    assert!(places(&live.lock().await) == places(&after), "the live reader had all that came after it, once");
    let come = group.lock().await;
    check_order("the group", &come.iter().filter(|record| !is_batched(record)).cloned().collect::<Vec<_>>());
    let come: BTreeSet<_> = come.iter().map(|record| record.message.event.id.clone()).collect();
    let missing: Vec<_> = all.iter().map(|record| &record.message.event.id).filter(|id| !come.contains(*id)).collect();
    assert!(missing.is_empty(), "of {} the group never had {missing:?}", all.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_unloaded_loses_nothing() {
    check(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partitioned_topic_that_is_unloaded_loses_nothing() {
    check(4).await;
}
