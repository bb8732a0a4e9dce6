//! Reading from Kafka: where a stream begins, how it goes on elsewhere, and that it stands from its head on.

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    create, gateway, gateway_with,
    plain::{bare, write},
    publish, ready,
};
use crate::harness::{
    eventually,
    gateway::{Gateway, problem},
    kafka::{brokers, topic},
    sse::Stream,
};

fn events(ids: std::ops::Range<usize>) -> Vec<Value> {
    ids.map(|id| json!({ "specversion": "1.0", "id": id.to_string(), "source": "/s", "type": "t" })).collect()
}

fn ids(ids: std::ops::Range<usize>) -> Vec<String> {
    ids.map(|id| id.to_string()).collect()
}

async fn resume(gateway: &Gateway, filter: &str, cursor: Option<&str>) -> Stream {
    Stream::try_open(gateway, filter, Some(cursor.expect("a cursor"))).await.expect("a stream")
}

#[tokio::test]
async fn a_stream_stands_from_its_head_on() {
    let topic = topic("reading-standing", 4);
    let gateway = gateway(&format!("channel: c/+, to: [{{ connector: kafka, topic: {topic} }}]")).await;
    for n in 0..50 {
        gateway.store("c/1", &format!("before {n}")).await;
        // Not even the first block is awaited: the response head is the promise.
        let mut stream = Stream::try_open(&gateway, "c/*", None).await.expect("a stream");
        gateway.store("c/2", &format!("after {n}")).await;
        assert_eq!(stream.ids(1).await, [format!("after {n}")]);
    }
}

#[tokio::test]
async fn from_a_time() {
    let topic = topic("reading-time", 2);
    let gateway = gateway(&format!("channel: c/+, to: [{{ connector: kafka, topic: {topic} }}]")).await;
    let at = |id: usize, second: u64, partition: u64| {
        let mut record = bare(&id.to_string());
        record["timestamp"] = json!(1_577_880_000_000_u64 + second * 1000); // 2020-01-01T12:00:00Z
        record["partition"] = json!(partition);
        record
    };
    write(&topic, &[], &[at(0, 0, 0), at(1, 10, 1), at(2, 20, 0), at(3, 30, 1)]);
    for (from, expected) in [
        ("2020-01-01T12:00:00Z", &["0:0", "0:1", "1:0", "1:1"][..]),
        ("2020-01-01T12:00:09Z", &["0:1", "1:0", "1:1"]),
        ("2020-01-01T12:00:10Z", &["0:1", "1:0", "1:1"]),
        ("2020-01-01T13:00:10.001+01:00", &["0:1", "1:1"]),
        ("2020-01-01T14:00:30%2B02:00", &["1:1"]),
        ("2020-01-01T12:00:31Z", &[]),
        ("2100-01-01T00:00:00Z", &[]),
    ] {
        let mut stream = Stream::open(&gateway, &format!("c/*?from={from}")).await;
        let end = publish_to_both(&gateway, from).await;
        let mut found = Vec::new();
        while end.iter().any(|id| !found.contains(id)) {
            found.extend(stream.ids(1).await);
        }
        found.retain(|id| id.contains(':')); // the ends of all rounds are later than any of these times
        found.sort();
        assert_eq!(found, expected, "{from}");
    }
}

/// Stores one event in each of two partitions: all that was there before has come once both have come.
async fn publish_to_both(gateway: &Gateway, id: &str) -> Vec<String> {
    let mut used = Vec::new();
    for n in 0.. {
        let id = format!("{n} of {}", id.replace(':', "."));
        let event = json!({ "specversion": "1.0", "id": id, "source": "/s", "type": "t" });
        let receipts = publish(gateway, &format!("c/{n}"), &[event]).await;
        let position = receipts[0]["stored"][0]["position"].as_str().expect("a position").to_owned();
        let partition = position.split(':').next().expect("a partition").to_owned();
        if used.iter().all(|(known, _)| *known != partition) {
            used.push((partition, id));
        }
        if used.len() == 2 {
            break;
        }
    }
    used.into_iter().map(|(_, id)| id).collect()
}

#[tokio::test]
async fn a_cursor_goes_on_at_any_replica() {
    let topic = topic("reading-replicas", 3);
    let routes = format!(r#"channel: "c/{{x}}", to: [{{ connector: kafka, topic: {topic}, key: k }}]"#);
    let (one, two) = (gateway(&routes).await, gateway(&routes).await);
    publish(&one, "c/1", &events(0..5)).await;
    let mut stream = Stream::open(&one, "c/*?from=earliest").await;
    assert_eq!(stream.ids(2).await, ids(0..2));
    let mut stream = resume(&two, "c/*", stream.last_id.as_deref()).await;
    assert_eq!(stream.ids(2).await, ids(2..4));
    publish(&two, "c/1", &events(5..8)).await;
    let after = stream.last_id.clone().expect("a cursor");
    let mut stream = Stream::open(&one, &format!("c/*?after={after}&from=latest")).await;
    assert_eq!(stream.ids(4).await, ids(4..8));
    let cursor = stream.last_id.clone();
    let restarted = one.kill_and_restart();
    ready(&restarted).await;
    publish(&restarted, "c/1", &events(8..9)).await;
    assert_eq!(resume(&restarted, "c/*", cursor.as_deref()).await.ids(1).await, ids(8..9));
    assert_eq!(resume(&two, "c/*", cursor.as_deref()).await.ids(1).await, ids(8..9));
    let other = Stream::try_open(&two, "c/1", cursor.as_deref()).await.err().expect("no stream");
    assert_eq!(problem(other).await["status"], 400, "the cursor of another filter");
}

#[tokio::test]
async fn what_retention_deleted_is_gone() {
    let topic = topic("reading-gone", 1);
    let gateway = gateway(&format!("channel: c, to: [{{ connector: kafka, topic: {topic} }}]")).await;
    publish(&gateway, "c", &events(0..10)).await;
    let mut stream = Stream::open(&gateway, "c?from=earliest&limit=3").await;
    assert_eq!(stream.ids(3).await, ids(0..3));
    let cursor = stream.last_id.clone();
    brokers(&["topic", "trim", &topic, "--before", "3"]);
    assert_eq!(
        resume(&gateway, "c", cursor.as_deref()).await.ids(7).await,
        ids(3..10),
        "what it has not seen is all there"
    );
    brokers(&["topic", "trim", &topic, "--before", "7"]);
    let gone = Stream::try_open(&gateway, "c", cursor.as_deref()).await.err().expect("no stream");
    let gone = problem(gone).await;
    assert_eq!(gone["status"], 410);
    assert!(gone["detail"].as_str().is_some_and(|detail| detail.contains(&topic)), "{gone}");
    assert_eq!(resume(&gateway, "c", gone["cursor"].as_str()).await.ids(3).await, ids(7..10));
    assert_eq!(Stream::open(&gateway, "c?from=earliest").await.ids(3).await, ids(7..10));
    // A topic made anew is shorter than the cursor says.
    brokers(&["topic", "delete", &topic]);
    create(&topic, 1, &[]);
    let ended = eventually("gone, once the gateway knows the new topic", async || {
        Stream::try_open(&gateway, "c", cursor.as_deref()).await.err()
    });
    let ended = problem(ended.await).await;
    assert_eq!(ended["status"], 410, "{ended}");
    assert!(ended["cursor"].is_string(), "{ended}");
}

#[tokio::test]
async fn one_cursor_over_kafka_and_memory() {
    let (first, second) = (topic("reading-mixed", 2), topic("reading-mixed", 1));
    let gateway = gateway(&format!(
        r#"channel: m/kafka, to: [{{ connector: kafka, topic: {first} }}]
           channel: m/second, to: [{{ connector: kafka, topic: {second} }}]
           channel: "m/#", to: [{{ connector: memory, topic: "{{channel}}" }}]"#
    ))
    .await;
    let mut stream = Stream::open(&gateway, "m/**").await;
    let mut sent = Vec::new();
    for n in 0..20 {
        for channel in ["m/kafka", "m/second", "m/memory/deep", "m"] {
            let id = format!("{channel} {n}");
            gateway.store(channel, &id).await;
            sent.push(id);
        }
    }
    let mut seen = stream.ids(31).await;
    let mut resumed = resume(&gateway, "m/**", stream.last_id.as_deref()).await;
    seen.extend(resumed.ids(sent.len() - 31).await);
    for channel in ["m/kafka", "m/second", "m/memory/deep", "m"] {
        let own: Vec<_> =
            seen.iter().filter(|id| id.rsplit_once(' ').is_some_and(|(name, _)| name == channel)).collect();
        assert_eq!(own, (0..20).map(|n| format!("{channel} {n}")).collect::<Vec<_>>().iter().collect::<Vec<_>>());
    }
    gateway.store("m/kafka", "last").await;
    assert_eq!(resumed.ids(1).await, ["last"], "nothing comes twice");
    // Another process does not have the memory of this one; Kafka's half of the cursor still holds.
    let cursor = resumed.last_id.clone();
    let restarted = gateway.kill_and_restart();
    ready(&restarted).await;
    let gone = problem(Stream::try_open(&restarted, "m/**", cursor.as_deref()).await.err().expect("no stream")).await;
    assert_eq!(gone["status"], 410, "{gone}");
    let mut on = resume(&restarted, "m/**", gone["cursor"].as_str()).await;
    restarted.store("m/second", "on").await;
    assert_eq!(on.ids(1).await, ["on"]);
}

#[tokio::test]
async fn what_each_mode_stores_is_read_back() {
    let [binary, structured, raw] = ["binary", "structured", "raw"].map(|mode| topic(&format!("reading-{mode}"), 1));
    let gateway = gateway(&format!(
        r#"channel: "b/+", to: [{{ connector: kafka, topic: {binary} }}]
           channel: "s/+", to: [{{ connector: kafka, topic: {structured}, mode: structured }}]
           channel: "r/{{x}}", wrap: {{ type: com.example.raw, subject: "{{x}}" }}, to: [{{ connector: kafka, topic: {raw}, mode: raw }}]"#
    ))
    .await;
    let event = json!({
        "specversion": "1.0", "id": "ä", "source": "/s", "type": "t", "time": "2018-04-05T17:31:00Z", "city": "Zürich",
        "datacontenttype": "application/json", "dataschema": "urn:a", "n": 7, "yes": true, "data": { "n": [1] },
    });
    for channel in ["b/1", "s/1", "r/1"] {
        publish(&gateway, channel, std::slice::from_ref(&event)).await;
    }
    let mut stored = event.clone();
    stored["meshgatechannel"] = json!("s/1");
    assert_eq!(first(&gateway, "s/*").await, stored);
    stored["meshgatechannel"] = json!("b/1");
    stored["n"] = json!("7"); // headers are text
    stored["yes"] = json!("true");
    assert_eq!(first(&gateway, "b/*").await, stored);
    let mut kept = first(&gateway, "r/*").await;
    assert!(kept["time"].take().is_string());
    let expected = json!({
        "specversion": "1.0", "id": "0:0", "source": format!("/kafka/{raw}"), "type": "com.example.raw", "subject": "1", "time": null,
        "datacontenttype": "application/json", "meshgatechannel": "r/1", "data": { "n": [1] },
    });
    assert_eq!(kept, expected);
}

/// The first event that a filter has, without the cursor.
async fn first(gateway: &Gateway, filter: &str) -> Value {
    let mut stream = Stream::open(gateway, &format!("{filter}?from=earliest&meta=true&limit=1")).await;
    let mut event = stream.event().await.expect("an event");
    event.as_object_mut().expect("an object").remove("meshgatecursor").expect("a cursor");
    event
}

#[tokio::test]
async fn a_cursor_over_its_limit_is_refused_and_can_be_done_without() {
    let topic = topic("reading-a-name-that-makes-a-cursor-long", 4);
    let routes = format!("channel: c/+, to: [{{ connector: kafka, topic: {topic} }}]");
    let gateway = gateway_with(&routes, "limits: { cursor: 64 }").await;
    let refused = problem(Stream::try_open(&gateway, "c/*", None).await.err().expect("no stream")).await;
    assert_eq!(refused["status"], 400, "{refused}");
    assert!(refused["detail"].as_str().is_some_and(|detail| detail.contains("resume=no")), "{refused}");
    let mut stream = Stream::try_open(&gateway, "c/*?resume=no", None).await.expect("a stream");
    gateway.store("c/1", "1").await;
    assert_eq!((stream.ids(1).await, &stream.last_id), (ids(1..2), &None));
}

#[tokio::test]
async fn many_readers_of_one_topic_see_all_in_order() {
    let topic = topic("reading-many", 1);
    let gateway = gateway(&format!("channel: c, to: [{{ connector: kafka, topic: {topic} }}]")).await;
    publish(&gateway, "c", &events(0..100)).await;
    let mut streams = Vec::new();
    for n in 0..20 {
        streams.push((n, Stream::open(&gateway, if n % 2 == 0 { "c" } else { "c?from=earliest" }).await));
    }
    publish(&gateway, "c", &events(100..400)).await;
    for (n, stream) in &mut streams {
        let from = if *n % 2 == 0 { 100 } else { 0 };
        assert_eq!(stream.ids(400 - from).await, ids(from..400), "reader {n}");
    }
}

#[tokio::test]
async fn a_comment_keeps_a_quiet_stream_alive_and_its_cursor_moves() {
    let topic = topic("reading-quiet", 1);
    let gateway = gateway(&format!("channel: c/+, to: [{{ connector: kafka, topic: {topic} }}]")).await;
    let mut stream = Stream::open(&gateway, "c/quiet").await;
    let begin = stream.last_id.clone();
    publish(&gateway, "c/loud", &events(0..10)).await;
    let mut commented = false;
    let moved = loop {
        let block =
            tokio::time::timeout(Duration::from_secs(30), stream.block()).await.expect("a comment").expect("no end");
        assert_eq!(block.data, None, "{block:?}");
        commented |= block.comment.is_some();
        if let Some(id) = block.id {
            break id;
        }
    };
    assert!(commented && Some(&moved) != begin.as_ref());
}
