//! The MQTT listener, with devices that are written with paho.

use std::process::Command;

use tokio::task::spawn_blocking;

use crate::harness::{gateway::Gateway, kafka::run};

mod figures;

/// In front of memory, with an MQTT listener on a free port.
fn start() -> Gateway {
    Gateway::start(
        r##"
listeners:
  { http: { address: "127.0.0.1:0" }, admin: { address: "127.0.0.1:0" }, mqtt: { address: "127.0.0.1:0" } }
connectors:
  memory: { kind: memory }
routes:
  - { name: all, channel: "#", to: [{ connector: memory, topic: "{channel}" }] }
"##,
    )
}

/// Where its MQTT listener is.
async fn address(gateway: &Gateway) -> String {
    let status = gateway.status().await;
    let listeners = status["listeners"].as_array().expect("a list");
    let mqtt = listeners.iter().find(|listener| listener["name"] == "mqtt").expect("an MQTT listener");
    mqtt["address"].as_str().expect("an address").to_owned()
}

async fn play(scenario: &'static str, transport: &'static str) {
    let gateway = start();
    let mqtt = address(&gateway).await;
    let mut command = Command::new("scripts/python");
    command.arg("tests/it/devices/devices.py").arg(scenario).env("MQTT", mqtt).env("TRANSPORT", transport);
    command.env("HTTP", &gateway.url).env("HTTP_ADDRESS", gateway.url.trim_start_matches("http://"));
    spawn_blocking(move || run(&mut command)).await.expect("it runs");
}

macro_rules! scenarios {
    ($($scenario:ident),+) => {
        $(
            #[tokio::test]
            async fn $scenario() {
                play(stringify!($scenario), "tcp").await;
            }
        )+
    };
}

scenarios!(
    qualities, order, wildcards, sessions, redelivery, takeover, wills, retained, no_local, shared, properties, events
);

#[tokio::test]
async fn over_websocket_too() {
    for scenario in ["qualities", "sessions", "takeover"] {
        play(scenario, "websockets").await;
    }
}
