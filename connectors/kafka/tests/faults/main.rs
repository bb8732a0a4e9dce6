//! The connector while its broker is frozen, killed and started again: `scripts/brokers up kafka`, then
//! `eval "$(scripts/brokers env)"`. One after the other, for they share the broker.

#[path = "../real/broker.rs"]
#[expect(dead_code, reason = "the other tests use more of it")]
mod broker;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    env,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use broker::{Broker, PATIENCE, fresh_name, until};
use meshgate_api::{
    connector::{Batch, Connector, Limits, Start},
    outcome::Outcome,
    topic::TopicSet,
};
use meshgate_conformance::{event, groups, ids, outbound, store_ids, subscribe, take, take_all, take_ids};
use tokio::{sync::Mutex, time::sleep};

static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

/// Does something to the broker.
async fn brokers(what: &'static str) {
    assert!(
        env::var("MESHGATE_BROKERS_STATE").is_ok(),
        "needs a Kafka that may be killed: run scripts/brokers up kafka, then eval \"$(scripts/brokers env)\""
    );
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/brokers");
    // An address in the environment is somebody else's broker to the script.
    let run = move || Command::new(script).args([what, "kafka"]).env_remove("KAFKA_BOOTSTRAP").output();
    let ran = tokio::task::spawn_blocking(run).await.expect("no panic").expect("scripts/brokers runs");
    assert!(ran.status.success(), "{what}: {}", String::from_utf8_lossy(&ran.stderr));
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fate {
    Stored,
    Unavailable,
    Unknown,
}

/// Publishes to one key, one after the other, until told to stop: each event's fate, and the longest wait.
async fn writer(
    connector: Arc<dyn Connector>,
    topic: String,
    key: String,
    stop: Arc<AtomicBool>,
) -> (Vec<Fate>, Duration) {
    let (mut fates, mut longest) = (Vec::new(), Duration::ZERO);
    while !stop.load(Relaxed) {
        let one = outbound(&topic, Some(&key), event(format!("{key}/{}", fates.len()), "x"));
        let start = Instant::now();
        let outcome = connector.publish(Batch::from_vec(vec![one])).await.outcomes().await.remove(0);
        longest = longest.max(start.elapsed());
        fates.push(match outcome {
            Outcome::Stored(_) => Fate::Stored,
            Outcome::Unknown { .. } => Fate::Unknown,
            Outcome::Unavailable { .. } => {
                sleep(Duration::from_millis(20)).await; // as a client would that is asked to come back later
                Fate::Unavailable
            }
            Outcome::Rejected { .. } => panic!("{outcome:?}"),
        });
    }
    (fates, longest)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_confirmed_is_there_and_what_was_refused_is_not() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let broker = Broker::given();
    let limits = Limits::default();
    let connector = broker.connector(limits, &[]).await;
    let topic = fresh_name("faults");
    broker.create(&topic, 4, &[]).await;
    let stop = Arc::new(AtomicBool::new(false));
    let write = |key| tokio::spawn(writer(connector.clone(), topic.to_string(), format!("k{key}"), stop.clone()));
    let writers: Vec<_> = (0..64).map(write).collect();
    sleep(Duration::from_secs(2)).await;
    brokers("pause").await;
    sleep(Duration::from_secs(8)).await;
    brokers("resume").await;
    sleep(Duration::from_secs(3)).await;
    brokers("kill").await;
    sleep(Duration::from_secs(2)).await;
    brokers("restart").await;
    until("the connector is up", || connector.health().up).await;
    sleep(Duration::from_secs(4)).await;
    stop.store(true, Relaxed);

    let (mut fates, mut counts) = (HashMap::new(), BTreeMap::<_, u32>::new());
    for (key, writer) in writers.into_iter().enumerate() {
        let (of_key, longest) = writer.await.expect("no panic");
        assert!(longest <= limits.publish_timeout, "k{key} waited {longest:?}");
        for (number, fate) in of_key.into_iter().enumerate() {
            *counts.entry(fate).or_default() += 1;
            fates.insert(format!("k{key}/{number}"), fate);
        }
    }
    println!("{counts:?} {:?}", connector.gauges());
    assert!(counts.contains_key(&Fate::Stored) && counts.contains_key(&Fate::Unavailable), "{counts:?}");

    let mut reader = subscribe(&*connector, TopicSet::one(topic), Start::Earliest).await;
    let mut newest = HashMap::new();
    for record in take_all(&mut *reader).await {
        let id = record.message.event.id.to_string();
        let (key, number) = id.split_once('/').expect("two parts");
        let number: u32 = number.parse().expect("a number");
        let before = newest.insert(key.to_owned(), number);
        assert!(before.is_none_or(|before| before < number), "{id} after {before:?}");
        assert_ne!(fates.remove(&id), Some(Fate::Unavailable), "{id} was refused, and is there");
    }
    let missing: Vec<_> = fates.iter().filter(|(_, fate)| **fate == Fate::Stored).collect();
    assert!(missing.is_empty(), "confirmed and not there: {missing:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_miss_nothing() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let broker = Broker::given();
    let connector = broker.connector(Limits::default(), &[]).await;
    let topic = fresh_name("stand");
    broker.create(&topic, 1, &[]).await;
    store_ids(&*connector, &topic, ids("before", 100)).await;
    let mut live = subscribe(&*connector, TopicSet::one(topic.clone()), Start::Latest).await;
    let mut replay = subscribe(&*connector, TopicSet::one(topic.clone()), Start::Earliest).await;
    assert_eq!(take_ids(&mut *replay, 50).await, &ids("before", 100)[..50]);

    let (mut expected, mut refused) = (Vec::new(), Vec::new());
    for (round, (break_it, mend_it)) in
        [("pause", "resume"), ("kill", "restart"), ("stop", "restart")].into_iter().enumerate()
    {
        brokers(break_it).await;
        until("it is noticed", || !connector.health().up).await;
        let topics = TopicSet::one(topic.clone());
        let begins = {
            let connector = connector.clone();
            tokio::spawn(async move { subscribe(&*connector, topics, Start::Earliest).await })
        };
        brokers(mend_it).await;
        until("it is up again", || connector.health().up).await;
        let more = ids(&format!("round{round}"), 20);
        refused.extend(store_when_possible(&*connector, &topic, &more).await);
        expected.extend(more);
        let mut reader = begins.await.expect("no panic");
        take(&mut *reader, 100 + expected.len()).await;
    }
    let seen = take(&mut *live, expected.len()).await;
    let places: Vec<_> =
        seen.iter().map(|record| (record.position.place.offset, record.message.event.id.to_string())).collect();
    let seen_ids: Vec<_> = seen.iter().map(|record| record.message.event.id.to_string()).collect();
    assert_eq!(seen_ids, expected, "{places:?} after {refused:?}");
    let rest = [&ids("before", 100)[50..], &expected].concat();
    assert_eq!(take_ids(&mut *replay, rest.len()).await, rest);
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_go_on_by_themselves() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let broker = Broker::given();
    let connector = broker.connector(Limits::default(), &[]).await;
    let topic = fresh_name("standing-group");
    broker.create(&topic, 2, &[]).await;
    let topics = TopicSet::one(topic.clone());
    let mut members = vec![groups::join(&*connector, topics.clone(), Start::Latest, &topic).await];
    for (break_it, mend_it) in [("pause", "resume"), ("kill", "restart"), ("stop", "restart")] {
        store_ids(&*connector, &topic, ids(break_it, 20)).await;
        let held = groups::hold(&mut *members[0], 20).await;
        brokers(break_it).await;
        until("it is noticed", || !connector.health().up).await;
        groups::ack_all(held); // while nobody can be told
        let new = format!("{topic}-{break_it}");
        let begins = groups::join(&*connector, topics.clone(), Start::Latest, &new);
        let (begins, ()) = tokio::join!(begins, brokers(mend_it));
        until("it is up again", || connector.health().up).await;
        let after = ids(&format!("after-{break_it}"), 20);
        store_when_possible(&*connector, &topic, &after).await;
        members.push(begins);
        for member in &mut members {
            let mut missing: BTreeSet<_> = after.iter().cloned().collect();
            while !missing.is_empty() {
                let held = groups::hold(&mut **member, 1).await; // what could not be committed may come again
                missing.remove(&groups::ids_of(&held)[0]);
                groups::ack_all(held);
            }
        }
        members.truncate(1);
    }
    assert_eq!(connector.shutdown(tokio::time::Instant::now() + PATIENCE).await, 0);
    let connector = broker.connector(Limits::default(), &[]).await;
    let mut member = groups::join(&*connector, topics, Start::Earliest, &topic).await;
    store_ids(&*connector, &topic, ids("last", 1)).await;
    assert_eq!(groups::ids_of(&groups::hold(&mut *member, 1).await), ids("last", 1), "all the rest was committed");
}

/// One after the other, each until it is stored; returns the refusals on the way.
async fn store_when_possible(connector: &dyn Connector, topic: &str, ids: &[String]) -> Vec<String> {
    let mut refused = Vec::new();
    let deadline = Instant::now() + PATIENCE;
    for id in ids {
        loop {
            let one = outbound(topic, None, event(id.as_str(), "x"));
            let outcome = connector.publish(Batch::from_vec(vec![one])).await.outcomes().await.remove(0);
            match outcome {
                Outcome::Stored(_) => break,
                Outcome::Unavailable { detail, .. } => {
                    refused.push(format!("{id}: {detail}"));
                    sleep(Duration::from_millis(50)).await;
                }
                other => panic!("{other:?}"),
            }
            assert!(Instant::now() < deadline, "{id} is stored in time");
        }
    }
    refused
}

/// The connector opens a connection now and then, and closes it again: whatever it does, it does it within this time.
const ROUND: Duration = Duration::from_secs(5);

async fn most_sockets() -> usize {
    let (begun, mut most) = (Instant::now(), 0);
    while begun.elapsed() < ROUND {
        most = most.max(sockets());
        sleep(Duration::from_millis(50)).await;
    }
    most
}

/// Sockets that this process holds.
fn sockets() -> usize {
    let open = std::fs::read_dir("/proc/self/fd").expect("Linux").filter_map(Result::ok);
    let is_socket = |link: std::path::PathBuf| link.to_string_lossy().starts_with("socket:");
    open.filter(|file| std::fs::read_link(file.path()).is_ok_and(is_socket)).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_readers_need_no_more_connections_than_one() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let broker = Broker::given();
    let connector = broker.connector(Limits::default(), &[]).await;
    let topic = fresh_name("crowd");
    broker.create(&topic, 3, &[]).await;
    let mut crowd = vec![subscribe(&*connector, TopicSet::one(topic.clone()), Start::Latest).await];
    store_ids(&*connector, &topic, ids("one", 10)).await;
    assert_eq!(take_ids(&mut *crowd[0], 10).await, ids("one", 10));
    let with_one = most_sockets().await;
    let joining: Vec<_> = (1..1000)
        .map(|_| {
            let (connector, topics) = (connector.clone(), TopicSet::one(topic.clone()));
            tokio::spawn(async move { subscribe(&*connector, topics, Start::Latest).await })
        })
        .collect();
    let start = Instant::now();
    for reader in joining {
        crowd.push(reader.await.expect("no panic"));
    }
    println!("999 readers joined in {:?}", start.elapsed());
    store_ids(&*connector, &topic, ids("many", 10)).await;
    for reader in &mut crowd {
        assert_eq!(take_ids(&mut **reader, 10).await, ids("many", 10));
    }
    let with_all = most_sockets().await;
    assert!(with_all <= with_one, "{with_all} with all, {with_one} with one");
}
