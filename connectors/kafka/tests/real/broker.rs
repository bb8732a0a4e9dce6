//! The broker that the tests use, and what they do to it behind the connector's back.

use std::{
    env, process,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use meshgate_api::{
    Str,
    connector::{Connector, Context, Limits},
};
use meshgate_kafka::{Kafka, KafkaConfig};
use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    consumer::{BaseConsumer, Consumer},
};

/// Longer than anything takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Broker {
    pub(crate) bootstrap: String,
    admin: AdminClient<DefaultClientContext>,
    looker: Arc<BaseConsumer>,
}

/// A topic name that was never used before.
pub(crate) fn fresh_name(prefix: &str) -> Str {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let since = std::time::SystemTime::UNIX_EPOCH.elapsed().expect("it is after 1970").as_millis();
    format!("{prefix}.{since}.{}.{}", process::id(), NUMBER.fetch_add(1, Relaxed)).into()
}

impl Broker {
    /// The one that the environment names.
    pub(crate) fn given() -> Self {
        let bootstrap = env::var("KAFKA_BOOTSTRAP").unwrap_or_else(|_| {
            panic!("needs Kafka: run scripts/brokers up kafka, then eval \"$(scripts/brokers env)\"")
        });
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &bootstrap).set("allow.auto.create.topics", "false");
        let admin = config.create().expect("an admin client");
        let looker = Arc::new(config.create().expect("a client"));
        Self { bootstrap, admin, looker }
    }

    /// A connector of its own, once it is connected.
    pub(crate) async fn connector(&self, limits: Limits, properties: &[(&str, &str)]) -> Arc<dyn Connector> {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let config =
            KafkaConfig { brokers: vec![self.bootstrap.clone()], properties: properties.iter().map(own).collect() };
        let context = Context::new("kafka", limits);
        let connector = Arc::new(Kafka::connect(config, context).expect("sound properties"));
        until("the connector is up", || connector.health().up).await;
        connector
    }

    /// Makes a topic and waits until the broker knows it.
    pub(crate) async fn create(&self, topic: &str, partitions: u32, settings: &[(&str, &str)]) {
        let new = NewTopic::new(topic, partitions as i32, TopicReplication::Fixed(1));
        let new = settings.iter().fold(new, |new, (name, value)| new.set(name, value));
        let made = self.admin.create_topics([&new], &AdminOptions::new()).await.expect("the broker answers");
        made.into_iter().for_each(|made| drop(made.expect("the topic is made")));
        self.until_partitions(topic, partitions).await;
    }

    pub(crate) async fn grow(&self, topic: &str, partitions: u32) {
        let more = NewPartitions::new(topic, partitions as usize);
        let grown = self.admin.create_partitions([&more], &AdminOptions::new()).await.expect("the broker answers");
        grown.into_iter().for_each(|grown| drop(grown.expect("the topic has grown")));
        self.until_partitions(topic, partitions).await;
    }

    pub(crate) async fn delete(&self, topic: &str) {
        let deleted = self.admin.delete_topics(&[topic], &AdminOptions::new()).await.expect("the broker answers");
        deleted.into_iter().for_each(|deleted| drop(deleted.expect("the topic is deleted")));
        self.until_partitions(topic, 0).await;
    }

    pub(crate) async fn forget_records(&self, topic: &str) {
        let mut all = TopicPartitionList::new();
        for partition in 0..self.partitions(topic).await {
            all.add_partition_offset(topic, partition as i32, Offset::End).expect("a sound offset");
        }
        self.admin.delete_records(&all, &AdminOptions::new()).await.expect("the records are deleted");
    }

    async fn until_partitions(&self, topic: &str, partitions: u32) {
        let deadline = Instant::now() + PATIENCE;
        while self.partitions(topic).await != partitions {
            assert!(Instant::now() < deadline, "{topic} has {partitions} partitions in time");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn partitions(&self, topic: &str) -> u32 {
        let (looker, topic) = (self.looker.clone(), topic.to_owned());
        let look = move || {
            let metadata = looker.fetch_metadata(None, PATIENCE).expect("the broker answers");
            let known = metadata.topics().iter().find(|known| known.name() == topic);
            known
                .map_or(0, |known| known.partitions().iter().filter(|partition| partition.leader() >= 0).count() as u32)
        };
        tokio::task::spawn_blocking(look).await.expect("no panic")
    }
}

/// Waits until `holds`.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "{what} in time");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// What a gauge of the connector shows.
pub(crate) fn gauge(connector: &Arc<dyn Connector>, name: &str) -> u64 {
    connector.gauges().into_iter().find(|(known, _)| *known == name).expect("it is told").1
}

/// Runs a script with the Python that has a plain Kafka client, and gives what it prints.
pub(crate) fn python(script: &str, arguments: &[&str]) -> String {
    let python = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/python");
    let ran =
        process::Command::new(python).arg("-c").arg(script).args(arguments).output().expect("scripts/python runs");
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    String::from_utf8(ran.stdout).expect("it prints UTF-8")
}
