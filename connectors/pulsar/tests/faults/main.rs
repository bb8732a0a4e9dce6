//! The connector while its broker is frozen, killed and started again: `scripts/brokers up pulsar`, then
//! `eval "$(scripts/brokers env)"`.

#[path = "../real/broker.rs"]
mod broker;

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use broker::{Broker, fresh_name};
use meshgate_api::{
    Str,
    connector::{Connector, Limits, Start},
    topic::TopicSet,
};
use meshgate_conformance::{
    Fixture, PATIENCE, event,
    faults::{Faults, alone, run_script},
    groups, ids, outbound, store, store_ids, subscribe, take,
};
use reqwest::Method;
use tokio::time::sleep;

struct Suite {
    broker: Broker,
    connector: Arc<dyn Connector>,
}

async fn suite() -> Suite {
    let broker = Broker::given();
    let connector = broker.connector(Limits::default()).await;
    Suite { broker, connector }
}

#[async_trait]
impl Fixture for Suite {
    fn connector(&self) -> Arc<dyn Connector> {
        self.connector.clone()
    }

    fn fresh_name(&self, prefix: &str) -> Str {
        fresh_name(prefix)
    }

    async fn create(&self, topic: &str, partitions: u32) {
        self.broker.create(topic, partitions).await;
    }

    async fn forget_records(&self, topic: &str) {
        self.broker.forget_records(topic).await;
    }

    async fn replica(&self) -> Option<Arc<dyn Connector>> {
        Some(self.broker.connector(Limits::default()).await)
    }

    fn settled_window(&self) -> usize {
        Limits::default().settled_window
    }

    fn live_buffer(&self) -> usize {
        Limits::default().ring
    }
}

#[async_trait]
impl Faults for Suite {
    async fn broker(&self, what: &str) {
        run_script(what, "pulsar", "PULSAR_URL").await;
    }

    fn stores_once(&self) -> bool {
        false
    }
}

meshgate_conformance::faults!(suite);

/// Topics that a group's members want no more, and want again before the topic's consumer has noticed: while the broker is frozen, the
/// consumer waits for it. A second one beside it would have its events confirmed to nobody.
#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_is_given_back_has_one_consumer() {
    let _alone = alone().await;
    let suite = suite().await;
    let [topic, other] = ["kept", "other"].map(fresh_name);
    for topic in [&topic, &other] {
        suite.broker.create(topic, 1).await;
    }
    let join = async |topic: &Str| {
        groups::join(&*suite.connector, TopicSet::one(topic.clone()), Start::Earliest, "given-back").await
    };
    let mut member = join(&topic).await;
    suite.broker("pause").await;
    sleep(Duration::from_secs(12)).await; // by now all that was asked has been given up, and the consumer is being made anew
    let taken_away = join(&other).await;
    sleep(Duration::from_secs(3)).await;
    drop((taken_away, join(&topic).await));
    suite.broker("resume").await;

    let deadline = Instant::now() + PATIENCE;
    while !suite.connector.health().up {
        assert!(Instant::now() < deadline, "the connector is up in time");
        sleep(Duration::from_millis(20)).await;
    }
    sleep(Duration::from_secs(5)).await; // whatever consumers there are have come
    store_ids(&*suite.connector, &topic, ids("event", 100)).await;
    let mut missing: BTreeSet<_> = ids("event", 100).into_iter().collect();
    while !missing.is_empty() {
        let held = groups::hold(&mut *member, 1).await;
        missing.remove(&groups::ids_of(&held)[0]);
        groups::ack_all(held);
    }
    loop {
        let stats = suite.broker.admin(Method::GET, &topic, "/stats", "").await;
        let stats: serde_json::Value = serde_json::from_str(&stats).expect("JSON");
        let group = &stats["subscriptions"]["given-back"];
        let consumers = group["consumers"].as_array().map(Vec::len);
        assert_eq!(consumers, Some(1), "{group}");
        if group["msgBacklog"] == 0 {
            return;
        }
        assert!(Instant::now() < deadline, "all is acknowledged in time: {group}");
        sleep(Duration::from_millis(100)).await;
    }
}

/// Readers of many partitions, all of which want more when their connections end. What they ask for then must not go round for ever.
#[tokio::test(flavor = "multi_thread")]
async fn connections_that_end_leave_nothing_going_round() {
    let _alone = alone().await;
    let suite = suite().await;
    let topic = fresh_name("many");
    suite.broker.create(&topic, 16).await;
    let keyed = |number: u32| {
        let data = vec![b'x'; 1000];
        outbound(&topic, Some(&number.to_string()), event(number.to_string(), data))
    };
    for first in (0..8000).step_by(500) {
        store(&*suite.connector, (first..first + 500).map(keyed).collect()).await;
    }
    let mut readers = Vec::new();
    for _ in 0..4 {
        let mut reader = subscribe(&*suite.connector, TopicSet::one(topic.clone()), Start::Earliest).await;
        take(&mut *reader, 200).await;
        readers.push(reader);
    }
    suite.broker("kill").await;
    suite.broker("restart").await;
    for mut reader in readers {
        take(&mut *reader, 7800).await;
    }
    sleep(Duration::from_secs(1)).await;
    let (before, begun) = (cpu_time(), Instant::now());
    sleep(Duration::from_secs(3)).await;
    let share = (cpu_time() - before).as_secs_f64() / begun.elapsed().as_secs_f64();
    assert!(share < 0.3, "{share:.2} of a core is busy, and nothing happens");
}

/// Of this process.
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("it lives");
    let fields: Vec<_> = stat.rsplit(')').next().expect("the fields").split_whitespace().collect();
    let ticks: u64 = [fields[11], fields[12]].iter().map(|ticks| ticks.parse::<u64>().expect("a number")).sum();
    Duration::from_millis(ticks * 10)
}
