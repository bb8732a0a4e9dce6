//! Devices publish while Kafka is frozen, and killed and started again: what is acknowledged is stored, and meanwhile nothing is.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use parking_lot::Mutex;
use tokio::task::{JoinHandle, spawn_blocking};

use super::{LISTENERS, is_ready};
use crate::harness::{PATIENCE, broker::Broker, eventually, gateway::Gateway, tell};

const EVENTS: usize = 16_000;
/// What the broker has confirmed just before it went away is on its way to the device for so long.
const ON_ITS_WAY: f64 = 0.5;
/// `limits.publish_timeout`, as far as a program on a busy machine can tell.
const LATEST: f64 = 10.0 + 1.0;

/// One acknowledgement.
struct Ack {
    event: String,
    qos: u8,
    /// Seconds since 1970.
    sent: f64,
    come: f64,
}

/// Eight devices.
struct Fleet {
    acks: Arc<Mutex<Vec<Ack>>>,
    /// What else they have to say.
    told: JoinHandle<Vec<String>>,
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs_f64()
}

impl Ack {
    fn parse(line: &str) -> Option<Self> {
        let [event, qos, sent, come] = line.split(' ').collect::<Vec<_>>()[..] else { return None };
        let (qos, sent, come) = (qos.parse().ok()?, sent.parse().ok()?, come.parse().ok()?);
        Some(Self { event: event.to_owned(), qos, sent, come })
    }
}

impl Fleet {
    fn start(gateway: &Gateway) -> Self {
        let port = gateway.mqtt.as_deref().and_then(|at| at.rsplit(':').next()).expect("a port");
        let mut command = Command::new("scripts/python");
        command.args(["scripts/lib/faults/devices.py", port, &EVENTS.to_string()]);
        let mut child = command.stdout(Stdio::piped()).spawn().expect("it starts");
        let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let acks = Arc::<Mutex<Vec<Ack>>>::default();
        let known = acks.clone();
        let told = spawn_blocking(move || {
            let mut told = Vec::new();
            for line in lines.map_while(Result::ok) {
                match Ack::parse(&line) {
                    Some(ack) => known.lock().push(ack),
                    None => told.push(line),
                }
            }
            assert!(child.wait().expect("it ends").success(), "{told:?}");
            told
        });
        Self { acks, told }
    }

    async fn until(&self, acknowledged: usize) {
        eventually("acknowledged", async || (self.acks.lock().len() >= acknowledged).then_some(())).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn devices_publish_while_kafka_is_frozen_and_killed() {
    let broker = Broker::up().await;
    broker.make_topic("load", 3).await;
    let gateway = Gateway::start(&format!(
        "{LISTENERS}connectors: {{ kafka: {{ kind: kafka, brokers: [\"{}\"] }} }}\n\
         routes: [{{ channel: in/+, to: [{{ connector: kafka, topic: load }}] }}]\n",
        broker.address
    ));
    is_ready(&gateway).await;
    let fleet = Fleet::start(&gateway);
    fleet.until(EVENTS / 4).await;
    broker.pause().await;
    let mut absences = vec![(now(), 0.0)];
    tokio::time::sleep(Duration::from_secs(8)).await;
    absences[0].1 = now();
    broker.resume().await;
    fleet.until(EVENTS / 2).await;
    broker.kill().await;
    absences.push((now(), 0.0));
    tokio::time::sleep(Duration::from_secs(2)).await;
    absences[1].1 = now();
    broker.restart().await;
    let Fleet { acks, told } = fleet;
    let told = tokio::time::timeout(PATIENCE * 2, told).await.expect("in time").expect("they end");
    let acks = std::mem::take(&mut *acks.lock());
    settle(&acks, &broker, &absences).await;
    tell(told.join("; "));
}

/// What was acknowledged, beside what the topic holds and when the broker was away.
async fn settle(acks: &[Ack], broker: &Broker, absences: &[(f64, f64)]) {
    let mut stored = BTreeMap::<String, usize>::new();
    for record in broker.read("load").await {
        *stored.entry(record.id).or_default() += 1;
    }
    let acknowledged: BTreeSet<&str> = acks.iter().map(|ack| &*ack.event).collect();
    let missing: Vec<_> = acknowledged.iter().filter(|event| !stored.contains_key(**event)).collect();
    let is_untimely = |ack: &&Ack| absences.iter().any(|(from, to)| ack.come > from + ON_ITS_WAY && ack.come < *to);
    let untimely: Vec<_> = acks.iter().filter(is_untimely).map(|ack| &ack.event).collect();
    let latest = acks.iter().map(|ack| ack.come - ack.sent).fold(0.0, f64::max);
    tell(format!(
        "eight devices: {} events acknowledged, {} of them with QoS 2; stored {} different, {} in all; the latest after {latest:.1} s",
        acknowledged.len(),
        acks.iter().filter(|ack| ack.qos == 2).count(),
        stored.len(),
        stored.values().sum::<usize>(),
    ));
    assert!(missing.is_empty(), "acknowledged and missing: {} such as {:?}", missing.len(), missing.first());
    assert!(
        untimely.is_empty(),
        "acknowledged while Kafka was away: {} such as {:?}",
        untimely.len(),
        untimely.first()
    );
    assert_eq!(acknowledged.len(), EVENTS);
    assert!(latest < LATEST, "{latest} s");
}
