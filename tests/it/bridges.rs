//! Subscriptions whose sink is a channel: events go on, in order, and none is settled before it is stored.

mod edge;
mod example;
mod kafka;
mod memory;
mod outages;

use std::collections::HashMap;

use serde_json::Value;

use crate::harness::{
    eventually,
    gateway::Gateway,
    page::Page,
    websocket::{Socket, event},
};

/// What `/status` says of the subscription.
async fn status(gateway: &Gateway, name: &str) -> Value {
    let text = gateway.ask_admin("/status").await.text().await.expect("a body");
    let status: Value = serde_json::from_str(&text).expect("JSON");
    let all = status["subscriptions"].as_array().expect("a list");
    all.iter().find(|each| each["name"] == name).cloned().unwrap_or_default()
}

/// Waits until the subscription is a member of its group.
async fn reading(gateway: &Gateway, name: &str) {
    eventually(name, async || (status(gateway, name).await["state"] == "reading").then_some(())).await;
}

/// Waits until so many of its events had this outcome.
async fn counted(gateway: &Gateway, name: &str, outcome: &str, count: u64) -> Value {
    let what = format!("{count} {outcome}");
    eventually(&what, async || Some(status(gateway, name).await).filter(|status| status["events"][outcome] == count))
        .await
}

/// Publishes numbered events over one WebSocket, each with its number as `id` and one of so many keys.
async fn publish(gateway: &Gateway, channel: &str, numbers: std::ops::Range<usize>, keys: usize) {
    let mut socket = Socket::open(gateway, &format!("{channel}?role=publish")).await;
    let (mut unanswered, mut left) = (0, numbers);
    loop {
        while unanswered < 256
            && let Some(number) = left.next()
        {
            let mut event = event(&number.to_string());
            event["partitionkey"] = format!("key-{}", number % keys).into();
            socket.send(&event).await;
            unanswered += 1;
        }
        if unanswered == 0 {
            return;
        }
        assert_eq!(socket.answer().await.3, "stored");
        unanswered -= 1;
    }
}

/// All that is stored of a filter.
async fn stored(gateway: &Gateway, filter: &str) -> Vec<Value> {
    let first = Page::read(gateway, &format!("{filter}?limit=1000&meta=true")).await;
    first.until_the_end(gateway).await.into_iter().flat_map(|page| page.events).collect()
}

/// The ids of events.
fn ids(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["id"].as_str().expect("an id")).collect()
}

/// All numbers that the events have as ids; insists that of each key they first come in their order.
fn in_order(events: &[Value], keys: usize) -> Vec<usize> {
    let mut last: HashMap<usize, usize> = HashMap::new();
    let mut seen = vec![];
    for event in events {
        let number: usize = event["id"].as_str().and_then(|id| id.parse().ok()).expect("a number");
        let before = last.get(&(number % keys)).copied();
        if before.is_none_or(|before| before < number) {
            last.insert(number % keys, number);
        } else {
            assert!(seen.contains(&number), "{number} came after {before:?}");
        }
        seen.push(number);
    }
    seen
}
