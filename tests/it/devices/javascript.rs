//! Devices that are written with MQTT.js, which shares nothing with paho.

use std::process::Command;

use tokio::task::spawn_blocking;

use super::{everything, program};
use crate::harness::{kafka::run, tell};

/// Plays scenarios of `devices.js`. Without Node this fails, and says what is missing.
async fn play(behind: &'static str, transport: &'static str, scenarios: &[&'static str]) {
    let gateway = everything().await;
    let mut command = Command::new("scripts/node");
    command.arg("tests/it/devices/devices.js").args(scenarios).env("TRANSPORT", transport);
    command.env_remove("ORIGIN");
    program(&gateway, behind, &mut command);
    let said = spawn_blocking(move || run(&mut command)).await.expect("it runs");
    tell(format!("{behind} over {transport}\n{said}"));
    drop(gateway);
}

const SCENARIOS: &[&str] = &["qualities", "will", "resumption", "interruption", "properties", "reasons"];

#[tokio::test]
async fn over_tcp() {
    play("memory", "tcp", SCENARIOS).await;
}

#[tokio::test]
async fn over_websocket() {
    play("memory", "websockets", SCENARIOS).await;
}

#[tokio::test]
async fn in_front_of_kafka() {
    play("kafka", "tcp", SCENARIOS).await;
}
