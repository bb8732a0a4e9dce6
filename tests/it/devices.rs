//! The MQTT listener in front of every broker, with devices of several makes: paho, MQTT.js, Mosquitto's clients.

mod clients;
mod figures;
mod javascript;
mod outages;
mod replicas;

use std::{
    env,
    ops::Deref,
    process::Command,
    sync::{Arc, Weak},
};

use tokio::{sync::Mutex, task::spawn_blocking};

use crate::harness::{
    eventually,
    gateway::Gateway,
    kafka::{bootstrap, fresh_name, run, topic},
    mosquitto::Mosquitto,
    tell,
};

/// All listeners, on free ports; those whose ports a restart keeps come first.
const LISTENERS: &str = r#"listeners:
  { http: { address: "127.0.0.1:0" }, admin: { address: "127.0.0.1:0" }, mqtt: { address: "127.0.0.1:0" } }
"#;

/// What stands behind the devices.
struct Behind {
    name: &'static str,
    /// What it does, as `devices.py` is told.
    variables: &'static [&'static str],
    /// With the address of Mosquitto.
    connector: fn(&str) -> String,
    /// A topic for all channels, or a template.
    topic: fn() -> String,
    /// Of wrapped events.
    key: &'static str,
}

const BEHIND: [Behind; 4] = [
    Behind {
        name: "memory",
        variables: &["REPLAYS"],
        connector: |_| "{ kind: memory }".into(),
        topic: || "\"{channel}\"".into(),
        key: "",
    },
    Behind {
        name: "kafka",
        variables: &["REPLAYS"],
        connector: |_| format!(r#"{{ kind: kafka, brokers: ["{}"] }}"#, bootstrap()),
        topic: || topic("devices", 3),
        key: ", key: \"{device}\"",
    },
    Behind {
        name: "pulsar",
        variables: &["REPLAYS", "LAST_OF_A_NAME"],
        connector: |_| format!(r#"{{ kind: pulsar, url: "{}" }}"#, env::var("PULSAR_URL").expect("PULSAR_URL")),
        topic: || fresh_name("devices"),
        key: ", key: \"{device}\"",
    },
    Behind {
        name: "mqtt",
        variables: &[],
        connector: |mosquitto| format!(r#"{{ kind: mqtt, url: "mqtt://{mosquitto}" }}"#),
        topic: || "\"{channel}\"".into(),
        key: "",
    },
];

/// Channels that begin with a broker's name live there. Those below `wrapped` are under a route that makes something else of what is no event.
fn configuration(mosquitto: &str) -> String {
    let connectors: String =
        BEHIND.iter().map(|it| format!("  {}: {}\n", it.name, (it.connector)(mosquitto))).collect();
    let wrap = r#"{ type: com.example.reading, source: "/devices/{device}", subject: "{device}", datacontenttype: application/json }"#;
    let route = |Behind { name, topic, key, .. }: &Behind| {
        let topic = topic();
        let to = |key: &str| format!("to: [{{ connector: {name}, topic: {topic}{key} }}]");
        format!(
            "  - {{ name: {name}-wrapped, channel: \"{name}/wrapped/{{device}}/#\", wrap: {wrap}, {} }}\n  \
             - {{ name: {name}, channel: \"{name}/#\", {} }}\n",
            to(key),
            to("")
        )
    };
    let routes: String = BEHIND.iter().map(route).collect();
    format!("{LISTENERS}connectors:\n{connectors}routes:\n{routes}")
}

/// A gateway of its own, in front of memory.
fn start() -> Gateway {
    Gateway::start(&format!(
        "{LISTENERS}connectors: {{ memory: {{ kind: memory }} }}\n\
         routes: [{{ name: all, channel: \"#\", to: [{{ connector: memory, topic: \"{{channel}}\" }}] }}]\n"
    ))
}

/// Where its MQTT listener is.
fn address(gateway: &Gateway) -> &str {
    gateway.mqtt.as_deref().expect("an MQTT listener")
}

/// One gateway in front of all brokers.
struct Everything {
    gateway: Gateway,
    _mosquitto: Mosquitto,
}

impl Deref for Everything {
    type Target = Gateway;

    fn deref(&self) -> &Gateway {
        &self.gateway
    }
}

/// It is the same for all tests that run at a time.
async fn everything() -> Arc<Everything> {
    static SHARED: Mutex<Weak<Everything>> = Mutex::const_new(Weak::new());
    let mut shared = SHARED.lock().await;
    if let Some(gateway) = shared.upgrade() {
        return gateway;
    }
    let mosquitto = Mosquitto::up().await;
    let gateway = Gateway::start(&configuration(&mosquitto.address));
    is_ready(&gateway).await;
    let everything = Arc::new(Everything { gateway, _mosquitto: mosquitto });
    *shared = Arc::downgrade(&everything);
    everything
}

async fn is_ready(gateway: &Gateway) {
    eventually("ready", async || (gateway.ask_admin("/readyz").await.status() == 200).then_some(())).await;
}

/// A program that is to find the gateway's listeners and the channels of a broker in its environment.
fn program(gateway: &Gateway, behind: &str, command: &mut Command) {
    let behind = BEHIND.iter().find(|it| it.name == behind).expect("a broker of the table");
    command.env("MQTT", gateway.mqtt.as_deref().expect("an MQTT listener"));
    command.env("HTTP", &gateway.url).env("HTTP_ADDRESS", gateway.url.trim_start_matches("http://"));
    command.env("BASE", format!("{}/plain", behind.name)).env("WRAPPED", format!("{}/wrapped/press-7", behind.name));
    for variable in ["REPLAYS", "LAST_OF_A_NAME"] {
        command.env_remove(variable);
    }
    command.envs(behind.variables.iter().map(|variable| (variable, "yes")));
}

/// Plays scenarios of `devices.py`, all at once.
async fn play(behind: &'static str, transport: &'static str, scenarios: &[&[&'static str]]) {
    let gateway = everything().await;
    let mut command = Command::new("scripts/python");
    command.arg("tests/it/devices/devices.py").args(scenarios.concat()).env("TRANSPORT", transport);
    program(&gateway, behind, &mut command);
    let said = spawn_blocking(move || run(&mut command)).await.expect("it runs");
    tell(format!("{behind} over {transport}\n{said}"));
    drop(gateway);
}

/// What asks nothing of the broker but to pass on what is published.
const PRESENT: &[&str] = &[
    "qualities",
    "order",
    "wildcards",
    "wills",
    "retained",
    "retained_again",
    "pressure_again",
    "no_local",
    "shared",
    "properties",
    "pressure",
    "events",
    "unchanged",
];
/// What waits in the log for a device that is away.
const ABSENT: &[&str] = &["sessions", "redelivery", "takeover", "expiry"];

#[tokio::test]
async fn in_front_of_memory() {
    play("memory", "tcp", &[PRESENT, ABSENT]).await;
}

#[tokio::test]
async fn in_front_of_memory_over_websocket() {
    play("memory", "websockets", &[PRESENT, ABSENT]).await;
}

#[tokio::test]
async fn in_front_of_kafka() {
    play("kafka", "tcp", &[PRESENT, ABSENT]).await;
}

#[tokio::test]
async fn in_front_of_pulsar() {
    play("pulsar", "tcp", &[PRESENT, ABSENT]).await;
}

#[tokio::test]
async fn in_front_of_mosquitto() {
    play("mqtt", "tcp", &[PRESENT]).await;
}

#[tokio::test]
async fn what_is_retained_waits() {
    play("memory", "tcp", &[&["retained_waits"]]).await;
}

#[tokio::test]
#[ignore = "needs the session's queue for what cannot be read again"]
async fn away_in_front_of_mosquitto() {
    play("mqtt", "tcp", &[ABSENT]).await;
}
