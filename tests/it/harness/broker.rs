//! A Kafka of a test's own, which it may pause, kill and take apart without harm to others.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
};

use tempfile::TempDir;
use tokio::task::spawn_blocking;

use super::kafka::run;

/// A running, paused or killed Kafka. Dropping it takes it down.
pub struct Broker {
    state: TempDir,
    /// `host:port`
    pub address: String,
}

/// One record, as a client that is not ours reads it.
#[derive(Debug, PartialEq, Eq)]
pub struct Stored {
    pub partition: u32,
    pub offset: u64,
    /// The header `ce_id`.
    pub id: String,
    pub value: String,
}

impl Broker {
    /// Starts it and waits until it serves.
    pub async fn up() -> Self {
        let state = tempfile::tempdir().expect("a temporary folder");
        let mut broker = Self { state, address: String::new() };
        broker.brokers(&["up", "kafka"]).await;
        let lines = broker.brokers(&["env", "kafka"]).await;
        let address = lines.lines().find_map(|line| line.strip_prefix("export KAFKA_BOOTSTRAP="));
        broker.address = address.expect("an address").to_owned();
        broker
    }

    /// Freezes it: connections stay open, nothing answers.
    pub async fn pause(&self) {
        self.brokers(&["pause", "kafka"]).await;
    }

    pub async fn resume(&self) {
        self.brokers(&["resume", "kafka"]).await;
    }

    /// Ends it without warning; its data stays.
    pub async fn kill(&self) {
        self.brokers(&["kill", "kafka"]).await;
    }

    /// Starts it again at the same address with its data, and waits until it serves.
    pub async fn restart(&self) {
        self.brokers(&["restart", "kafka"]).await;
    }

    pub async fn make_topic(&self, name: &str, partitions: u32) {
        self.brokers(&["topic", "create", name, "--partitions", &partitions.to_string()]).await;
    }

    pub async fn delete_topic(&self, name: &str) {
        self.brokers(&["topic", "delete", name]).await;
    }

    /// Deletes a topic and makes it again before anybody notices.
    pub async fn remake_topic(&self, name: &str, partitions: u32) {
        self.kafka_python(&["remake", name, &partitions.to_string()]).await;
    }

    /// Adds partitions.
    pub async fn grow_topic(&self, name: &str, partitions: u32) {
        self.kafka_python(&["grow", name, &partitions.to_string()]).await;
    }

    /// All that a topic holds, each partition in its order.
    pub async fn read(&self, topic: &str) -> Vec<Stored> {
        let lines = self.kafka_python(&["read", topic]).await;
        lines.lines().map(|line| Stored::parse(line).unwrap_or_else(|| panic!("no record: {line}"))).collect()
    }

    /// `kafka_client.py`, which is written with kafka-python.
    async fn kafka_python(&self, arguments: &[&str]) -> String {
        let mut command = self.command("scripts/python");
        command.arg("tests/it/harness/kafka_client.py").arg(&self.address).args(arguments);
        spawn_blocking(move || run(&mut command)).await.expect("it runs")
    }

    async fn brokers(&self, arguments: &[&str]) -> String {
        let mut command = self.command("scripts/brokers");
        command.args(arguments);
        spawn_blocking(move || run(&mut command)).await.expect("it runs")
    }

    /// In this broker's own state, whatever the environment says.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env_remove("KAFKA_BOOTSTRAP").env("MESHGATE_BROKERS_STATE", self.state.path());
        command
    }

    /// How many connections the process `pid` holds to it now.
    pub fn connections_of(&self, pid: u32) -> usize {
        let port: u16 = self.address.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port");
        let sockets = fs::read_dir(format!("/proc/{pid}/fd")).expect("its open files");
        let sockets: Vec<PathBuf> = sockets.filter_map(|file| fs::read_link(file.ok()?.path()).ok()).collect();
        let connections = fs::read_to_string("/proc/net/tcp").expect("the connections of this machine");
        let is_its_own = |line: &&str| {
            let fields: Vec<_> = line.split_whitespace().collect();
            let [_, _, remote, state, _, _, _, _, _, inode, ..] = fields[..] else { return false };
            const ESTABLISHED: &str = "01";
            state == ESTABLISHED
                && remote.ends_with(&format!(":{port:04X}"))
                && sockets.contains(&PathBuf::from(format!("socket:[{inode}]")))
        };
        connections.lines().filter(is_its_own).count()
    }
}

impl Stored {
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        let (partition, offset) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        Some(Self { partition, offset, id: words.next()?.to_owned(), value: words.next()?.to_owned() })
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let root = env!("CARGO_MANIFEST_DIR");
        let down =
            self.command("scripts/brokers").current_dir(root).args(["down", "kafka"]).stderr(Stdio::null()).status();
        assert!(down.is_ok_and(|status| status.success()) || std::thread::panicking(), "the broker goes down");
    }
}
