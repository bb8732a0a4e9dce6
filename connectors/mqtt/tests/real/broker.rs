//! The broker that the tests use, and what plain MQTT clients say and hear there behind the connector's back.

use std::{
    collections::VecDeque,
    env,
    process::{self, Stdio},
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
use meshgate_mqtt::{Mqtt, MqttConfig};
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};

/// Longer than anything takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Broker {
    pub(crate) host: String,
    pub(crate) port: u16,
}

/// A topic name that was never used before.
pub(crate) fn fresh_name(prefix: &str) -> Str {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let since = std::time::SystemTime::UNIX_EPOCH.elapsed().expect("it is after 1970").as_millis();
    format!("{prefix}/{since}.{}.{}", process::id(), NUMBER.fetch_add(1, Relaxed)).into()
}

impl Broker {
    /// The one that the environment names.
    pub(crate) fn given() -> Self {
        let address = env::var("MQTT_ADDRESS").unwrap_or_else(|_| {
            panic!("needs Mosquitto: run scripts/brokers up mosquitto, then eval \"$(scripts/brokers env mosquitto)\"")
        });
        let (host, port) = address.rsplit_once(':').expect("host:port");
        Self { host: host.to_owned(), port: port.parse().expect("a port") }
    }

    pub(crate) fn config(&self) -> MqttConfig {
        MqttConfig::new(&self.host, self.port)
    }

    /// A connector of its own, once it is connected.
    pub(crate) async fn connector(&self, config: MqttConfig, limits: Limits) -> Arc<dyn Connector> {
        let connector = Arc::new(Mqtt::connect(config, Context::new("mqtt", limits)).expect("sound settings"));
        until("the connector is up", || connector.health().up).await;
        connector
    }

    /// Publishes with Mosquitto's own client.
    pub(crate) async fn publish(&self, arguments: &[&str]) {
        let mut command = Command::new("mosquitto_pub");
        command.args(["-h", &self.host, "-p", &self.port.to_string()]).args(arguments);
        let ran = command.output().await.expect("mosquitto_pub runs");
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    }

    /// Subscribes with Mosquitto's own client, once it is subscribed; what it prints, line by line.
    pub(crate) async fn subscribe(&self, arguments: &[&str]) -> Listening {
        // It would keep what it prints into a pipe until there is much of it.
        let mut command = Command::new("stdbuf");
        let port = self.port.to_string();
        command.args(["-oL", "mosquitto_sub", "-d", "-h", &self.host, "-p", &port]).args(arguments);
        let mut child = command.stdout(Stdio::piped()).kill_on_drop(true).spawn().expect("mosquitto_sub runs");
        let mut lines = BufReader::new(child.stdout.take().expect("it is a pipe")).lines();
        let mut early = VecDeque::new();
        loop {
            let line = lines.next_line().await.expect("text").expect("it subscribes");
            if line.contains("Subscribed (mid") {
                break;
            }
            early.push_back(line);
        }
        early.retain(|line| !is_about_packets(line));
        Listening { _child: child, early, lines }
    }
}

/// A subscriber that is none of ours.
pub(crate) struct Listening {
    _child: Child,
    /// Of the messages that its session had kept.
    early: VecDeque<String>,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Listening {
    /// The next line that it prints of a message.
    pub(crate) async fn line(&mut self) -> String {
        if let Some(early) = self.early.pop_front() {
            return early;
        }
        loop {
            let line = tokio::time::timeout(PATIENCE, self.lines.next_line()).await.expect("a line in time");
            let line = line.expect("text").expect("it goes on");
            if !is_about_packets(&line) {
                return line;
            }
        }
    }
}

fn is_about_packets(line: &str) -> bool {
    line.starts_with("Client ")
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
