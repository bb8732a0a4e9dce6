//! From channels to topics and back, and what a publish answers where Kafka does not take it.

use std::fs;

use serde_json::{Value, json};

use super::{
    configuration, create, gateway, gateway_with,
    plain::{bare, read, record, write},
    post_batch, publish, topic_with,
};
use crate::harness::{
    eventually,
    gateway::{Gateway, meshgate, problem},
    kafka::{fresh_name, topic},
    sse::Stream,
};

fn event(id: &str) -> Value {
    json!({ "specversion": "1.0", "id": id, "source": "/s", "type": "t" })
}

/// An event whose data has so many bytes.
fn event_of(id: &str, bytes: usize) -> Value {
    json!({ "specversion": "1.0", "id": id, "source": "/s", "type": "t", "datacontenttype": "text/plain", "data": "x".repeat(bytes) })
}

async fn channels(stream: &mut Stream, count: usize) -> Vec<(String, String)> {
    let text = |event: &Value, name: &str| event[name].as_str().expect("a text").to_owned();
    let events = stream.events(count).await;
    let mut all: Vec<_> = events.iter().map(|event| (text(event, "meshgatechannel"), text(event, "id"))).collect();
    all.sort();
    all
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(channel, id)| ((*channel).to_owned(), (*id).to_owned())).collect()
}

#[tokio::test]
async fn a_template_makes_a_topic_of_each_region() {
    let prefix = fresh_name("routing-orders");
    for region in ["eu", "us"] {
        create(&format!("{prefix}.{region}"), 2, &[]);
    }
    let gateway = gateway(&format!(
        r#"channel: "orders/{{region}}", to: [{{ connector: kafka, topic: "{prefix}.{{region}}" }}]
           channel: "deep/#", to: [{{ connector: kafka, topic: "{prefix}.{{#}}" }}]"#
    ))
    .await;
    let mut eu = Stream::open(&gateway, "orders/eu?meta=true").await;
    let mut all = Stream::open(&gateway, "orders/*?meta=true").await;
    for region in ["eu", "us"] {
        let receipts = publish(&gateway, &format!("orders/{region}"), &[event(region)]).await;
        assert_eq!(receipts[0]["stored"][0]["topic"], format!("{prefix}.{region}"));
    }
    publish(&gateway, "orders/eu", &[event("eu 2")]).await;
    assert_eq!(channels(&mut eu, 2).await, pairs(&[("orders/eu", "eu"), ("orders/eu", "eu 2")]));
    let expected = pairs(&[("orders/eu", "eu"), ("orders/eu", "eu 2"), ("orders/us", "us")]);
    assert_eq!(channels(&mut all, 3).await, expected);

    // A topic that appears later joins by itself, from its start.
    create(&format!("{prefix}.late"), 1, &[]);
    write(&format!("{prefix}.late"), &[], &[bare("native")]);
    publish(&gateway, "orders/late", &[event("late")]).await;
    assert_eq!(channels(&mut all, 2).await, pairs(&[("orders/late", "0:0"), ("orders/late", "late")]));
    // Two routes write to the same topic: an event arrives under the channel that it was published to.
    publish(&gateway, "deep/eu", &[event("deep")]).await;
    publish(&gateway, "orders/eu", &[event("eu 3")]).await;
    assert_eq!(channels(&mut eu, 1).await, pairs(&[("orders/eu", "eu 3")]));
    let mut deep = Stream::open(&gateway, "deep/**?meta=true&from=earliest&limit=1").await;
    assert_eq!(channels(&mut deep, 1).await, pairs(&[("deep/eu", "deep")]));
}

#[tokio::test]
async fn what_a_topic_cannot_be_called_becomes_a_dot() {
    let prefix = fresh_name("routing-named");
    create(&format!("{prefix}.a.b"), 1, &[]);
    let gateway = gateway(&format!(r#"channel: "n/#", to: [{{ connector: kafka, topic: "{prefix}.{{#}}" }}]"#)).await;
    let mut stream = Stream::open(&gateway, "n/**?meta=true").await;
    for (id, channel) in ["n/a/b", "n/a.b", "n/a%20b", "n/a%C3%A4b"].iter().enumerate() {
        gateway.store(channel, &id.to_string()).await;
    }
    write(&format!("{prefix}.a.b"), &[], &[bare("native")]);
    let expected = [("n/a b", "2"), ("n/a.b", "1"), ("n/a/b", "0"), ("n/a/b", "0:4"), ("n/aäb", "3")];
    assert_eq!(channels(&mut stream, 5).await, pairs(&expected));
    let long = problem(gateway.event(&format!("n/{}", "x".repeat(250)), "1").send().await.expect("an answer")).await;
    assert_eq!(long["status"], 400, "{long}");
}

#[tokio::test]
async fn native_records_get_their_channel_from_topic_and_key() {
    let prefix = fresh_name("routing-native");
    for name in ["orders.eu", "plant", "all.a.b"] {
        create(&format!("{prefix}.{name}"), 1, &[]);
    }
    let gateway = gateway(&format!(
        r#"channel: "orders/{{region}}/+", to: [{{ connector: kafka, topic: "{prefix}.orders.{{region}}" }}]
           channel: "plant/{{line}}/{{device}}", wrap: {{ type: com.example.reading, source: "/devices/{{device}}" }}, to: [{{ connector: kafka, topic: {prefix}.plant, key: "{{line}}-{{device}}" }}]
           channel: "a/#", to: [{{ connector: kafka, topic: "{prefix}.all.{{channel}}" }}]"#
    ))
    .await;
    write(&format!("{prefix}.orders.eu"), &[], &[bare("x")]);
    write(
        &format!("{prefix}.plant"),
        &[],
        &[
            record(Some(b"l1-d7"), Some(b"x"), &[]),
            record(Some(b"nothing"), Some(b"x"), &[]),
            record(None, Some(b"x"), &[]),
            record(Some(b"\xff"), Some(b"x"), &[]),
            record(Some(b"a/b-c+"), Some(b"x"), &[]),
        ],
    );
    write(&format!("{prefix}.all.a.b"), &[], &[bare("x")]);
    for (filter, expected) in [
        ("orders/**", &[("orders/eu/-", "0:0")][..]),
        (
            "plant/**",
            &[
                ("plant/-/-", "0:1"),
                ("plant/-/-", "0:2"),
                ("plant/-/-", "0:3"),
                ("plant/-/-", "0:4"),
                ("plant/l1/d7", "0:0"),
            ],
        ),
        ("plant/l1/*", &[("plant/l1/d7", "0:0")]),
        ("a/**", &[("a/b", "0:0")]),
    ] {
        let mut stream = Stream::open(&gateway, &format!("{filter}?from=earliest&meta=true")).await;
        assert_eq!(channels(&mut stream, expected.len()).await, pairs(expected), "{filter}");
    }
    let mut stream = Stream::open(&gateway, "plant/l1/d7?from=earliest").await;
    let event = stream.event().await.expect("an event");
    assert_eq!((&event["type"], &event["source"]), (&json!("com.example.reading"), &json!("/devices/d7")));
}

#[tokio::test]
async fn taps_and_fan_out_over_kafka_and_memory() {
    let (first, copies) = (topic("routing-first", 1), topic("routing-copies", 1));
    let missing = fresh_name("routing-missing");
    let gateway = gateway(&format!(
        r##"name: tap, channel: "#", continue: true, to: [{{ connector: kafka, topic: {copies} }}]
           name: lost, channel: "#", continue: true, to: [{{ connector: kafka, topic: {missing} }}]
           name: both, channel: both, to: [{{ connector: memory, topic: both }}, {{ connector: kafka, topic: {first}, read: true }}]
           name: half, channel: half, to: [{{ connector: memory, topic: half }}, {{ connector: kafka, topic: {missing} }}]
           name: optional, channel: optional, to: [{{ connector: memory, topic: optional }}, {{ connector: kafka, topic: {missing}, required: false }}]"##
    ))
    .await;
    let receipts = publish(&gateway, "both", &[event("1"), event("2")]).await;
    for (n, receipt) in receipts.iter().enumerate() {
        assert_eq!(receipt["route"], "both");
        let stored: Vec<_> =
            receipt["stored"].as_array().expect("a list").iter().map(|at| (&at["connector"], &at["topic"])).collect();
        assert_eq!(stored, [(&json!("memory"), &json!("both")), (&json!("kafka"), &json!(first))]);
        assert_eq!(receipt["stored"][1]["position"], format!("0:{n}"));
    }
    assert_eq!(Stream::open(&gateway, "both?from=earliest").await.ids(2).await, ["1", "2"]);
    let copied: Vec<_> = read(&copies, 2).iter().map(|record| record.header("ce_id").map(str::to_owned)).collect();
    assert_eq!(copied, [Some("1".to_owned()), Some("2".to_owned())]);
    assert_eq!(read(&copies, 2)[0].header("meshgate-channel"), Some("both"), "a copy keeps its channel");

    publish(&gateway, "optional", &[event("3")]).await;
    // Stored at one, unavailable at another: nobody can say that it is not stored.
    let half = problem(gateway.event("half", "4").send().await.expect("an answer")).await;
    assert_eq!(half["status"], 504, "{half}");
    assert!(
        half["detail"].as_str().is_some_and(|detail| detail.contains(&missing) && detail.contains("half")),
        "{half}"
    );
}

#[tokio::test]
async fn a_missing_topic_is_503_and_named() {
    let missing = fresh_name("routing-missing");
    let gateway = gateway(&format!("channel: c, to: [{{ connector: kafka, topic: {missing} }}]")).await;
    let answer = gateway.event("c", "1").send().await.expect("an answer");
    assert!(answer.headers().contains_key("retry-after"));
    let refused = problem(answer).await;
    assert_eq!((&refused["status"], &refused["id"]), (&json!(503), &json!("1")));
    assert!(refused["detail"].as_str().is_some_and(|detail| detail.contains(&missing)), "{refused}");
    let mut stream = Stream::open(&gateway, "c").await;
    create(&missing, 1, &[]);
    eventually("stored", async || {
        (gateway.event("c", "2").send().await.expect("an answer").status() == 202).then_some(())
    })
    .await;
    assert_eq!(stream.ids(1).await, ["2"]);
}

#[tokio::test]
async fn each_event_of_a_batch_has_its_own_topic_and_fate() {
    let prefix = fresh_name("routing-tenants");
    for tenant in ["a", "b"] {
        create(&format!("{prefix}.{tenant}"), 1, &[]);
    }
    let routes = format!(r#"channel: c, to: [{{ connector: kafka, topic: "{prefix}.{{tenant}}" }}]"#);
    let gateway = gateway_with(&routes, "limits: { topics: 2 }").await;
    let tenants = ["a", "nobody", "b", "a", "none"];
    let of_tenant = |(n, tenant): (usize, &&str)| {
        let mut event = event(&n.to_string());
        event["tenant"] = json!(tenant);
        event
    };
    let batch: Vec<_> = tenants.iter().enumerate().map(of_tenant).collect();
    let refused = problem(post_batch(&gateway, "c", &batch).await).await;
    assert_eq!(refused["status"], 503, "{refused}");
    let fates = refused["events"].as_array().expect("a list");
    let statuses: Vec<_> = fates.iter().map(|fate| fate["status"].as_u64()).collect();
    assert_eq!(statuses, [202, 503, 202, 202, 503].map(Some));
    for (n, tenant) in [(0, "a"), (2, "b"), (3, "a")] {
        assert_eq!(fates[n]["stored"][0]["topic"], format!("{prefix}.{tenant}"));
    }
    for (n, tenant) in [(1, "nobody"), (4, "none")] {
        assert!(
            fates[n]["detail"].as_str().is_some_and(|detail| detail.contains(&format!("{prefix}.{tenant}"))),
            "{refused}"
        );
    }
    let ids: Vec<_> =
        read(&format!("{prefix}.a"), 2).iter().map(|record| record.header("ce_id").map(str::to_owned)).collect();
    assert_eq!(ids, [Some("0".to_owned()), Some("3".to_owned())]);
    // Two topics are as many as this gateway may publish to.
    create(&format!("{prefix}.third"), 1, &[]);
    let third = problem(gateway.event("c", "5").header("ce-tenant", "third").send().await.expect("an answer")).await;
    assert_eq!(third["status"], 503, "{third}");
    assert!(third["detail"].as_str().is_some_and(|detail| detail.contains("limits.topics")), "{third}");
}

#[tokio::test]
async fn too_large_for_the_topic_is_413_for_that_event_alone() {
    let small = topic_with("routing-small", 1, &["max.message.bytes=5000"]);
    let gateway = gateway(&format!("channel: c, to: [{{ connector: kafka, topic: {small} }}]")).await;
    let batch = [
        event_of("a", 10),
        event_of("b", 2000),
        event_of("large", 6000),
        event_of("c", 2000),
        event_of("d", 2000),
        event_of("larger", 9000),
    ];
    let refused = problem(post_batch(&gateway, "c", &batch).await).await;
    assert_eq!(refused["status"], 413, "{refused}");
    let fates: Vec<_> = refused["events"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|fate| (fate["id"].as_str(), fate["status"].as_u64()))
        .collect();
    let fate = |id, status| (Some(id), Some(status));
    assert_eq!(
        fates,
        [fate("a", 202), fate("b", 202), fate("large", 413), fate("c", 202), fate("d", 202), fate("larger", 413)]
    );
    assert!(refused["events"][2]["detail"].as_str().is_some_and(|detail| detail.contains(&small)), "{refused}");
    gateway.store("c", "after").await;
    let mut ids: Vec<_> = read(&small, 5).iter().map(|record| record.header("ce_id").map(str::to_owned)).collect();
    ids.sort();
    assert_eq!(ids, ["a", "after", "b", "c", "d"].map(|id| Some(id.to_owned())));
}

#[tokio::test]
async fn the_broker_decides_how_large_within_max_body() {
    let topic = topic("routing-large", 1);
    let listeners =
        r#"listeners: { http: { address: "127.0.0.1:0", max_body: 16MiB }, admin: { address: "127.0.0.1:0" } }"#;
    let gateway = gateway_with(&format!("channel: c, to: [{{ connector: kafka, topic: {topic} }}]"), listeners).await;
    let post = |id: &'static str, bytes: usize| gateway.event("c", id).body(vec![b'x'; bytes]).send();
    let refused = problem(post("over the broker's default", 12 << 20).await.expect("an answer")).await;
    assert_eq!((&refused["status"], &refused["id"]), (&json!(413), &json!("over the broker's default")));
    assert_eq!(post("within", 9 << 20).await.expect("an answer").status(), 202);
    assert_eq!(read(&topic, 1)[0].header("ce_id"), Some("within"));
}

#[tokio::test]
async fn a_compacted_topic_takes_only_keys() {
    let compacted = topic_with("routing-compacted", 1, &["cleanup.policy=compact"]);
    let gateway =
        gateway(&format!(r#"channel: c, to: [{{ connector: kafka, topic: {compacted}, key: "{{subject|}}" }}]"#)).await;
    let mut keyed = event("keyed");
    keyed["subject"] = json!("k");
    let refused = problem(post_batch(&gateway, "c", &[event("no key"), keyed]).await).await;
    assert_eq!(refused["status"], 400, "{refused}");
    assert_eq!(
        (&refused["events"][0]["status"], &refused["events"][1]["status"]),
        (&json!(400), &json!(202)),
        "{refused}"
    );
}

#[test]
fn check_refuses_properties_with_their_line() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("meshgate.yaml");
    let properties = [
        "linger.ms: 5",
        "acks: all",
        "no.such.property: 1",
        "compression.type: brotli",
        "group.id: mine",
        "client.id: fine",
        "enable.auto.commit: true",
        "dr_msg_cb: x",
    ];
    let properties: String = properties.iter().map(|property| format!("      {property}\n")).collect();
    let text = format!(
        "connectors:\n  k:\n    kind: kafka\n    brokers: [\"localhost:9092\"]\n    properties:\n{properties}routes: []\n"
    );
    fs::write(&file, text).expect("a file");
    let checked = meshgate().arg("check").arg(&file).output().expect("the binary starts");
    assert_eq!(checked.status.code(), Some(78));
    let out = String::from_utf8_lossy(&checked.stdout).into_owned();
    let lines: Vec<_> = out.lines().filter(|line| line.contains("meshgate.yaml:")).collect();
    for (line, property) in [
        (7, "acks"),
        (8, "no.such.property"),
        (9, "compression.type"),
        (10, "group.id"),
        (12, "enable.auto.commit"),
        (13, "dr_msg_cb"),
    ] {
        let place = format!("meshgate.yaml:{line}:7: connectors.k.properties.");
        assert!(
            lines.iter().any(|found| found.contains(&place) && found.contains(property)),
            "{place}{property} is missing in:\n{out}"
        );
    }
    assert_eq!(lines.len(), 6, "{out}");
}

#[tokio::test]
async fn a_broker_that_is_away_ends_nothing() {
    let port =
        std::net::TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port").port();
    let routes =
        "channel: away, to: [{ connector: gone, topic: t }]\nchannel: here, to: [{ connector: memory, topic: t }]";
    let gone = format!("connectors: {{ gone: {{ kind: kafka, brokers: [\"127.0.0.1:{port}\"] }}, ");
    let gateway =
        Gateway::start(&configuration(routes, "limits: { publish_timeout: 2s }").replace("connectors: { ", &gone));
    gateway.store("here", "1").await;
    let refused = problem(gateway.event("away", "2").send().await.expect("an answer")).await;
    assert_eq!(refused["status"], 503, "{refused}");
    let ready = gateway.ask_admin("/readyz").await;
    assert_eq!(ready.status(), 503);
    assert!(ready.text().await.expect("a body").contains("gone"));
}
