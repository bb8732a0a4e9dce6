//! What the gateway does by itself when the broker, or a topic, is away and comes back.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use reqwest::StatusCode;

use super::{
    follower::Follower,
    gateway, gateway_in_front_of,
    load::{Answer, Load, table},
    tell, turn,
};
use crate::harness::{PATIENCE, broker::Broker, eventually, gateway::Gateway, sse::Stream};

/// New topics and partitions join standing reads within this (specification, section 4) …
const JOINING: Duration = Duration::from_secs(5);
/// … as far as a client on a busy machine can tell.
const TOLERANCE: Duration = Duration::from_secs(1);
/// What is known to be away is refused within this.
const AT_ONCE: Duration = Duration::from_secs(1);

async fn readiness(gateway: &Gateway) -> (StatusCode, serde_json::Value) {
    let answer = gateway.ask_admin("/readyz").await;
    (answer.status(), serde_json::from_str(&answer.text().await.expect("a body")).expect("JSON"))
}

async fn publish(gateway: &Gateway, channel: &str, id: &str) -> StatusCode {
    gateway.event(channel, id).body("data").send().await.expect("an answer").status()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_broker_is_away_at_the_start() {
    let _turn = turn().await;
    let broker = Broker::up().await;
    broker.make_topic("load", 1).await;
    broker.kill().await;

    let gateway = gateway_in_front_of(&broker);
    let (status, ready) = readiness(&gateway).await;
    assert_eq!(status, 503, "{ready}");
    let connector = &ready["connectors"][0];
    assert_eq!((&connector["name"], &connector["up"]), (&"kafka".into(), &false.into()), "{ready}");
    assert!(connector["detail"].is_string(), "{ready}");
    let begun = Instant::now();
    assert_eq!(publish(&gateway, "load/a", "too-early").await, 503);
    assert!(begun.elapsed() < AT_ONCE, "{:?}", begun.elapsed());
    let early = Stream::try_open(&gateway, "load/**?from=earliest", None).await;
    let mut early = early.expect("a stream, not a refusal");
    while let Some(block) = early.block().await {
        assert!(block.data.is_none(), "{block:?}");
    }

    let waiting = tokio::spawn(Follower::waiting(&gateway, "load/**?from=earliest"));
    broker.restart().await;
    let begun = Instant::now();
    eventually("ready", async || (readiness(&gateway).await.0 == 200).then_some(())).await;
    let ready = begun.elapsed();
    eventually("stored", async || (publish(&gateway, "load/a", "in-time").await == 202).then_some(())).await;
    tell(format!(
        "{:.2} s after the broker's start the gateway was ready, after {:.2} s it stored",
        ready.as_secs_f64(),
        begun.elapsed().as_secs_f64()
    ));
    let follower = waiting.await.expect("it stands");
    follower.has_seen("the broker is away at the start", &broker.read("load").await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_is_made_anew() {
    let _turn = turn().await;
    let broker = Broker::up().await;
    broker.make_topic("load", 2).await;
    let gateway = gateway(&broker).await;
    let follower = Follower::start(&gateway, "load/**").await;
    for (name, absence) in [("long", Duration::from_secs(4)), ("short", Duration::ZERO)] {
        let load = Load::start(&gateway, name, 8, u64::MAX);
        load.until(500).await;
        let deleted = Instant::now();
        broker.delete_topic("load").await;
        let away = Instant::now();
        tokio::time::sleep(absence).await;
        let back = Instant::now();
        broker.make_topic("load", 2).await;
        let made = Instant::now();
        let answered = load.answered();
        load.until(answered + 2_000).await;
        load.stop();
        let publications = load.finish().await;

        let confirmed = publications.iter().filter(|publication| publication.answer == Answer::Stored);
        let nowhere = confirmed.clone().find(|publication| publication.sent > away && publication.answered < back);
        assert!(nowhere.is_none(), "stored while there is no topic: {nowhere:?}");
        let anew: Vec<_> = confirmed.filter(|publication| publication.sent > made).cloned().collect();
        let first = anew.iter().map(|publication| publication.answered).min().expect("events are stored again");
        tell(format!(
            "a topic was away for {:.1} s; events were stored again {:.2} s after it was made\n{}",
            (made - deleted).as_secs_f64(),
            (first - made).as_secs_f64(),
            table(&publications)
        ));
        let stored = broker.read("load").await;
        let lost = anew.iter().find(|publication| !stored.iter().any(|record| record.id == publication.id));
        assert!(lost.is_none(), "confirmed and missing: {lost:?}");
        follower.has_seen("a topic is made anew", &stored).await;
    }
}

/// Nothing tells the reader's position in the old topic from one in the new.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_is_made_anew_and_outgrows_the_old_one() {
    let _turn = turn().await;
    let broker = Broker::up().await;
    broker.make_topic("load", 2).await;
    let gateway = gateway(&broker).await;
    let follower = Follower::start(&gateway, "load/**").await;
    for (name, more) in [("first", 200), ("second", 800), ("third", 3_000)] {
        let load = Load::start(&gateway, name, 8, more);
        load.finish().await;
        follower.has_seen("before the topic is made anew", &broker.read("load").await).await;
        if name != "third" {
            broker.remake_topic("load", 2).await;
        }
    }
    follower.has_seen("a topic is made anew and outgrows the old one", &broker.read("load").await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn late_topics_and_partitions_join() {
    let _turn = turn().await;
    let broker = Broker::up().await;
    let gateway = gateway(&broker).await;
    let mut stream = Stream::open(&gateway, "late/*").await;

    broker.make_topic("late.a", 1).await;
    let made = Instant::now();
    eventually("stored in a new topic", async || (publish(&gateway, "late/a", "first").await == 202).then_some(()))
        .await;
    let stored = made.elapsed();
    assert_eq!(stream.ids(1).await, ["first"]);
    let read = made.elapsed();
    tell(format!(
        "a new topic stored after {:.2} s and was read after {:.2} s",
        stored.as_secs_f64(),
        read.as_secs_f64()
    ));
    assert!(read < JOINING + TOLERANCE, "{read:?}");

    broker.grow_topic("late.a", 4).await;
    let grown = Instant::now();
    let partitions = store_in_new_partitions(&gateway).await;
    let used = grown.elapsed();
    let stored = broker.read("late.a").await;
    let mut seen = BTreeSet::from(["first".to_owned()]);
    seen.extend(stream.ids(stored.len() - 1).await);
    let read = grown.elapsed();
    let (used, read) = (used.as_secs_f64(), read.as_secs_f64());
    tell(format!("all {partitions} partitions were written to after {used:.2} s and read after {read:.2} s"));
    assert!(stored.iter().all(|record| seen.contains(&record.id)), "{seen:?}");
    assert!(grown.elapsed() < JOINING + TOLERANCE, "{read}");
}

/// Publishes until the topic's new partitions hold something. Meanwhile nothing but *unavailable* is in the way.
async fn store_in_new_partitions(gateway: &Gateway) -> usize {
    let begun = Instant::now();
    for round in 0.. {
        assert!(begun.elapsed() < PATIENCE, "new partitions are not used");
        let mut partitions = BTreeSet::new();
        for key in 0..16 {
            let event =
                gateway.event("late/a", &format!("{round}-{key}")).header("ce-partitionkey", format!("key-{key}"));
            let answer = event.header("prefer", "return=representation").body("data").send().await.expect("an answer");
            match answer.status().as_u16() {
                202 => {
                    let receipt: serde_json::Value =
                        serde_json::from_str(&answer.text().await.expect("a body")).expect("JSON");
                    let position = receipt["events"][0]["stored"][0]["position"].as_str().expect("a position");
                    partitions.insert(position.split(':').next().map(str::to_owned));
                }
                503 => {}
                other => panic!("{other}: {}", answer.text().await.unwrap_or_default()),
            }
        }
        if partitions.len() == 4 {
            return partitions.len();
        }
    }
    unreachable!("rounds do not end")
}
