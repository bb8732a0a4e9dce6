//! The gateway in front of real Kafka, with plain Kafka programs on the other side.

mod abandoned;
mod foreign;
mod pages;
mod places;
mod plain;
mod reading;
mod reload;
mod routing;
mod standing;

pub use plain::{Stored, read, record, write};
use serde_json::Value;

use crate::harness::{
    eventually,
    gateway::Gateway,
    kafka::{bootstrap, brokers, fresh_name},
};

/// A gateway with the connectors `kafka` and `memory` and these routes, one a line, once Kafka is connected.
async fn gateway(routes: &str) -> Gateway {
    gateway_with(routes, "").await
}

/// The same with further configuration.
async fn gateway_with(routes: &str, more: &str) -> Gateway {
    let gateway = Gateway::start(&configuration(routes, more));
    ready(&gateway).await;
    gateway
}

/// The same with variables of the environment.
pub async fn gateway_of(routes: &str, variables: &[(&str, &str)]) -> Gateway {
    let gateway = Gateway::start_with(&configuration(routes, ""), variables);
    ready(&gateway).await;
    gateway
}

fn configuration(routes: &str, more: &str) -> String {
    let kafka = bootstrap();
    let connectors =
        format!("connectors: {{ kafka: {{ kind: kafka, brokers: [\"{kafka}\"] }}, memory: {{ kind: memory }} }}");
    let routes: String = routes.trim().lines().map(|route| format!("  - {{ {} }}\n", route.trim())).collect();
    format!("{connectors}\nroutes:\n{routes}{more}\n")
}

async fn ready(gateway: &Gateway) {
    eventually("ready", async || (gateway.ask_admin("/readyz").await.status() == 200).then_some(())).await;
}

/// Makes a topic with a fresh name and these settings.
fn topic_with(prefix: &str, partitions: u32, settings: &[&str]) -> String {
    let name = fresh_name(prefix);
    create(&name, partitions, settings);
    name
}

fn create(name: &str, partitions: u32, settings: &[&str]) {
    let partitions = partitions.to_string();
    let mut arguments = vec!["topic", "create", name, "--partitions", &partitions];
    arguments.extend(settings.iter().flat_map(|setting| ["--config", setting]));
    brokers(&arguments);
}

/// Publishes structured events as one batch and insists on 202; the receipts.
async fn publish(gateway: &Gateway, channel: &str, events: &[Value]) -> Vec<Value> {
    let answer = post_batch(gateway, channel, events).await;
    assert_eq!(answer.status(), 202, "{}", answer.text().await.unwrap_or_default());
    let receipts: Value = serde_json::from_str(&answer.text().await.expect("a body")).expect("JSON");
    receipts["events"].as_array().expect("a list").clone()
}

async fn post_batch(gateway: &Gateway, channel: &str, events: &[Value]) -> reqwest::Response {
    let request =
        gateway.client.post(gateway.channel_url(channel)).header("content-type", "application/cloudevents-batch+json");
    let request = request.header("prefer", "return=representation");
    request.body(Value::from(events).to_string()).send().await.expect("an answer")
}
