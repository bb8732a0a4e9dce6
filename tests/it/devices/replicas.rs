//! A device with a session misses nothing when its gateway is killed: the session is in a compacted topic, which the gateway that is
//! started again reads, and any other replica too.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Command, Stdio},
};

use super::{LISTENERS, is_ready};
use crate::harness::{
    gateway::Gateway,
    kafka::{bootstrap, brokers, fresh_name, topic},
    tell,
};

/// Where numbers come from, and where sessions are.
struct Place {
    numbers: String,
    state: String,
}

impl Place {
    fn new() -> Self {
        let state = fresh_name("state");
        brokers(&["topic", "create", &state, "--config", "cleanup.policy=compact"]);
        Self { numbers: topic("numbers", 3), state }
    }

    /// A replica.
    async fn gateway(&self) -> Gateway {
        let gateway = Gateway::start(&format!(
            "{LISTENERS}connectors: {{ kafka: {{ kind: kafka, brokers: [\"{}\"] }} }}\n\
             routes: [{{ channel: numbers, to: [{{ connector: kafka, topic: {} }}] }}]\n\
             state: {{ connector: kafka, topic: {} }}\n",
            bootstrap(),
            self.numbers,
            self.state,
        ));
        is_ready(&gateway).await;
        gateway
    }

    /// `subscriber.py` reads, and each time that it wants its gateway killed `replace` says where there is one then.
    async fn misses_nothing(&self, version: &str, when: &str, at: &str, replace: impl FnMut() -> String + Send) {
        let mut command = Command::new("scripts/python");
        command.args(["tests/it/devices/subscriber.py", version, when]).stdin(Stdio::piped()).stdout(Stdio::piped());
        command.env("KAFKA_BOOTSTRAP", bootstrap()).env("TOPIC", &self.numbers).env("CHANNEL", "numbers");
        let mut child = command.spawn().expect("it starts");
        let mut replace = replace;
        tokio::task::block_in_place(|| {
            let mut to = child.stdin.take().expect("a pipe");
            writeln!(to, "{at}").expect("it reads");
            for line in BufReader::new(child.stdout.take().expect("a pipe")).lines().map_while(Result::ok) {
                match &*line {
                    "kill" => writeln!(to, "{}", replace()).expect("it reads"),
                    line => tell(line),
                }
            }
            assert!(child.wait().expect("it ends").success(), "MQTT {version}, {when}");
        });
    }
}

fn mqtt(gateway: &Gateway) -> String {
    gateway.mqtt.clone().expect("an MQTT listener")
}

const VERSIONS: [&str; 2] = ["5", "4"];
const MOMENTS: [&str; 3] = ["subscribed", "reading", "away"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_outlives_its_gateway() {
    for version in VERSIONS {
        for when in MOMENTS {
            let place = Place::new();
            let gateway = place.gateway().await;
            let at = mqtt(&gateway);
            let mut gateway = Some(gateway);
            let restart = || {
                let again = gateway.take().expect("one").kill_and_restart();
                let at = mqtt(&again);
                gateway = Some(again);
                at
            };
            place.misses_nothing(version, when, &at, restart).await;
        }
    }
}

/// The one that is killed is started again as another replica, to which the device goes next.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_goes_on_at_another_replica() {
    for version in VERSIONS {
        for when in MOMENTS {
            let place = Place::new();
            let (one, other) = (place.gateway().await, place.gateway().await);
            let at = mqtt(&one);
            let mut replicas = vec![one, other];
            let go_over = || {
                let killed = replicas.remove(0);
                let next = mqtt(&replicas[0]);
                replicas.push(killed.kill_and_restart());
                next
            };
            place.misses_nothing(version, when, &at, go_over).await;
        }
    }
}
