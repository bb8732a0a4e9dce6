//! The connector while its broker is frozen, killed and started again: `scripts/brokers up kafka`, then
//! `eval "$(scripts/brokers env)"`.

#[path = "../real/broker.rs"]
#[expect(dead_code, reason = "the other tests use more of it")]
mod broker;

use std::{
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
    Fixture,
    faults::{Faults, alone, run_script},
    ids, store_ids, subscribe, take_ids,
};
use tokio::time::sleep;

struct Suite {
    broker: Broker,
    connector: Arc<dyn Connector>,
}

async fn suite() -> Suite {
    let broker = Broker::given();
    let connector = broker.connector(Limits::default(), &[]).await;
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
        self.broker.create(topic, partitions, &[]).await;
    }

    async fn forget_records(&self, topic: &str) {
        self.broker.forget_records(topic).await;
    }

    async fn replica(&self) -> Option<Arc<dyn Connector>> {
        Some(self.broker.connector(Limits::default(), &[]).await)
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
        run_script(what, "kafka", "KAFKA_BOOTSTRAP").await;
    }

    fn stores_once(&self) -> bool {
        true
    }
}

meshgate_conformance::faults!(suite);

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
    let _alone = alone().await;
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
