//! Which partition an event goes to.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{
    gateway,
    plain::{partitions, read},
    publish,
};
use crate::harness::kafka::topic;

const PARTITIONS: u32 = 12;

fn events(count: usize, more: impl Fn(usize) -> Value) -> Vec<Value> {
    let event = |n: usize| json!({ "specversion": "1.0", "id": n.to_string(), "source": "/s", "type": "t", "subject": more(n) });
    (0..count).map(event).collect()
}

#[tokio::test]
async fn a_key_goes_where_other_programs_put_it() {
    let topic = topic("places-keyed", PARTITIONS);
    let gateway =
        gateway(&format!(r#"channel: c, to: [{{ connector: kafka, topic: {topic}, key: "{{subject}}" }}]"#)).await;
    let keys: Vec<String> = (0..40).map(|n| format!("key-{}-{n}", "ä€x".repeat(n % 5))).collect();
    publish(&gateway, "c", &events(80, |n| json!(keys[n % 40]))).await;
    let records = read(&topic, 80);
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let expected: BTreeMap<&str, u64> = keys.iter().copied().zip(partitions(PARTITIONS, &keys)).collect();
    let mut order: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for record in &records {
        let key = std::str::from_utf8(record.key.as_deref().expect("a key")).expect("UTF-8");
        assert_eq!(record.partition, expected[key], "{key}");
        order.entry(key).or_default().push(record.header("ce_id").and_then(|id| id.parse().ok()).expect("a number"));
    }
    assert_eq!(order.len(), 40);
    assert!(order.values().all(|ids| ids.is_sorted() && ids.len() == 2), "{order:?}");
    assert!(expected.values().collect::<BTreeSet<_>>().len() > 4, "the keys are many enough to tell");
}

#[tokio::test]
async fn without_a_key_a_channel_keeps_to_one_partition() {
    let topic = topic("places-channel", PARTITIONS);
    let gateway = gateway(&format!("channel: c/+, to: [{{ connector: kafka, topic: {topic} }}]")).await;
    let channels: Vec<String> = (0..8).map(|n| format!("c/{n}")).collect();
    for channel in &channels {
        publish(&gateway, channel, &events(10, |_| json!("not a key"))).await;
    }
    let records = read(&topic, 80);
    assert!(records.iter().all(|record| record.key.is_none()), "the key stays null");
    let channels: Vec<&str> = channels.iter().map(String::as_str).collect();
    for (channel, partition) in channels.iter().zip(partitions(PARTITIONS, &channels)) {
        let own: Vec<_> = records.iter().filter(|record| record.header("meshgate-channel") == Some(channel)).collect();
        assert!(own.iter().all(|record| record.partition == partition), "{channel}: {own:?}");
        let ids: Vec<_> = own.iter().filter_map(|record| record.header("ce_id")).collect();
        assert_eq!(ids, ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"], "{channel}");
    }
}

#[tokio::test]
async fn without_order_events_spread() {
    let (keyed, free) = (topic("places-free", PARTITIONS), topic("places-free", PARTITIONS));
    let gateway = gateway(&format!(
        r#"channel: keyed, to: [{{ connector: kafka, topic: {keyed}, key: "{{subject}}", order: none }}]
           channel: free, to: [{{ connector: kafka, topic: {free}, order: none }}]"#
    ))
    .await;
    for channel in ["keyed", "free"] {
        for _ in 0..6 {
            publish(&gateway, channel, &events(10, |_| json!("one"))).await;
        }
    }
    for (topic, key) in [(&keyed, Some(&b"one"[..])), (&free, None)] {
        let records = read(topic, 60);
        assert!(records.iter().all(|record| record.key.as_deref() == key));
        let used: BTreeSet<_> = records.iter().map(|record| record.partition).collect();
        assert!(used.len() > 2, "{topic}: only partitions {used:?}");
    }
}
