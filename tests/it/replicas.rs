//! Two replicas with the same `state`, a compacted topic on Kafka or Pulsar: devices go from one to the other.

use std::process::Command;

use tokio::task::spawn_blocking;

use crate::harness::{
    eventually,
    gateway::Gateway,
    kafka::{self, run},
};

/// The configuration of all replicas: events in one topic, state in the other.
fn configuration(events: &str, state: &str) -> String {
    let bootstrap = kafka::bootstrap();
    format!(
        r##"
listeners:
  {{ http: {{ address: "127.0.0.1:0" }}, admin: {{ address: "127.0.0.1:0" }}, mqtt: {{ address: "127.0.0.1:0" }} }}
connectors: {{ kafka: {{ kind: kafka, brokers: ["{bootstrap}"] }} }}
routes: [{{ name: all, channel: "t/#", to: [{{ connector: kafka, topic: {events} }}] }}]
state: {{ connector: kafka, topic: {state} }}
"##
    )
}

/// A compacted topic that was never there before.
fn state_topic(policy: &str) -> String {
    let name = kafka::fresh_name("state");
    kafka::brokers(&["topic", "create", &name, "--config", &format!("cleanup.policy={policy}"), "--partitions", "3"]);
    name
}

/// Where its MQTT listener is, once it is ready.
async fn mqtt(gateway: &Gateway) -> String {
    eventually("ready", async || (gateway.ask_admin("/readyz").await.status() == 200).then_some(())).await;
    gateway.mqtt.clone().expect("an MQTT listener")
}

/// The same on Pulsar, which makes topics of what it is asked for.
fn on_pulsar(state: &str) -> String {
    let url = std::env::var("PULSAR_URL").expect("needs Pulsar: run `scripts/brokers up pulsar`");
    configuration(&kafka::fresh_name("devices"), state).replacen(
        "connectors: { kafka: {",
        &format!("connectors: {{ kafka: {{ kind: pulsar, url: \"{url}\" }}, other: {{"),
        1,
    )
}

async fn play(scenario: &'static str, configuration: &str) {
    let (a, b) = (Gateway::start(configuration), Gateway::start(configuration));
    perform(scenario, &a, &b).await;
}

async fn perform(scenario: &'static str, a: &Gateway, b: &Gateway) {
    let mut command = Command::new("scripts/python");
    command.arg("tests/it/devices/replicas.py").arg(scenario).env("PID_A", a.pid().to_string());
    command.env("MQTT_A", mqtt(a).await).env("MQTT_B", mqtt(b).await).env("BASE", "t");
    a.store("t/first", "1").await; // a topic that is there is read at once
    spawn_blocking(move || run(&mut command)).await.expect("it runs");
}

macro_rules! scenarios {
    ($($scenario:ident),+) => {
        $(
            #[tokio::test]
            async fn $scenario() {
                let configuration = configuration(&kafka::topic("devices", 3), &state_topic("compact"));
                play(stringify!($scenario), &configuration).await;
            }
        )+
    };
}

scenarios!(moved, taken_over, retained, killed, drained);

#[tokio::test]
async fn on_pulsar_too() {
    for scenario in ["moved", "taken_over", "retained", "killed"] {
        play(scenario, &on_pulsar(&kafka::fresh_name("state"))).await;
    }
}

#[tokio::test]
async fn what_pulsar_has_compacted_is_read() {
    let state = kafka::fresh_name("state");
    let configuration = on_pulsar(&state);
    let a = Gateway::start(&configuration);
    perform("left", &a, &a).await;
    let admin = std::env::var("PULSAR_ADMIN_URL").expect("needs Pulsar: run `scripts/brokers up pulsar`");
    let compaction = format!("{admin}/admin/v2/persistent/public/default/{state}/compaction");
    let asked = a.client.put(&compaction).send().await.expect("an answer");
    assert!(asked.status().is_success(), "{}", asked.status());
    eventually("compacted", async || {
        let text = a.client.get(&compaction).send().await.expect("an answer").text().await.expect("a text");
        text.contains("SUCCESS").then_some(())
    })
    .await;
    perform("resumed", &a, &Gateway::start(&configuration)).await;
}

#[tokio::test]
async fn a_topic_that_forgets_is_no_state() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("meshgate.yaml");
    for policy in ["delete", "compact,delete"] {
        let configuration = configuration(&kafka::topic("devices", 1), &state_topic(policy));
        std::fs::write(&file, configuration).expect("a file");
        let ended = spawn_blocking({
            let file = file.clone();
            move || crate::harness::gateway::meshgate().arg("--config").arg(file).output().expect("it runs")
        });
        let ended = ended.await.expect("it ends");
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert_eq!(ended.status.code(), Some(78), "{said}");
        assert!(said.contains("state.topic") && said.contains("must be exactly `compact`"), "{said}");
    }
}

#[tokio::test]
async fn without_its_topic_it_is_not_ready_and_nobody_is_let_in() {
    let state = kafka::fresh_name("state");
    let gateway = Gateway::start(&configuration(&kafka::topic("devices", 1), &state));
    let unready = eventually("told", async || {
        let answer = gateway.ask_admin("/readyz").await;
        let (status, text) = (answer.status(), answer.text().await.expect("a text"));
        (status == 503 && text.contains("there is no topic")).then_some(text)
    });
    assert!(unready.await.contains(&state));
    kafka::brokers(&["topic", "create", &state, "--config", "cleanup.policy=compact"]);
    mqtt(&gateway).await;
}
