//! What other programs write never stops a reader, and each record arrives as what it is.

use serde_json::{Value, json};

use super::{
    create, gateway, gateway_with,
    plain::{bare, read, record, write, write_events},
    publish, ready,
};
use crate::harness::{
    gateway::Gateway,
    kafka::{bootstrap, fresh_name, topic},
    sse::Stream,
};

async fn reading(topic: &str) -> Gateway {
    gateway(&format!("channel: in, to: [{{ connector: kafka, topic: {topic} }}]")).await
}

/// The attributes that a CloudEvent needs, as headers; `id` apart.
fn binary(id: &str, more: &[(&[u8], &[u8])], value: Option<&[u8]>) -> Value {
    let required: [(&[u8], &[u8]); 4] = [
        (b"ce_specversion", b"1.0"),
        (b"ce_id", id.as_bytes()),
        (b"ce_source", b"/foreign"),
        (b"ce_type", b"com.example.foreign"),
    ];
    record(Some(b"k"), value, &[&required[..], more].concat())
}

/// The data as bytes, whichever way it is written.
fn data(event: &Value) -> Option<Vec<u8>> {
    use base64::{Engine, engine::general_purpose::STANDARD};
    match (event.get("data"), event.get("data_base64")) {
        (Some(Value::String(text)), None) => Some(text.clone().into_bytes()),
        (Some(json), None) => Some(json.to_string().into_bytes()),
        (None, Some(text)) => Some(STANDARD.decode(text.as_str().expect("a text")).expect("base64")),
        (None, None) => None,
        (Some(_), Some(_)) => panic!("both: {event}"),
    }
}

#[tokio::test]
async fn plain_records_are_wrapped() {
    let topic = topic("foreign-plain", 1);
    let gateway = reading(&topic).await;
    let mut live = Stream::open(&gateway, "in").await;
    write(
        &topic,
        &[],
        &[
            bare(r#"{"order_id": 1}"#),
            record(Some(b"k"), None, &[]),
            record(Some(b"k"), Some(b""), &[]),
            record(Some(&[0xff, 0xfe]), Some(&[0x00, 0xff]), &[(b"content-type", b"application/json")]),
            record(None, Some(b"text"), &[(b"content-type", b"text/plain"), (b"x", b"1")]),
            record(None, Some(br#"{"n":1}"#), &[(b"content-type", b"application/json; charset=utf-8")]),
            record(None, Some(b"typed badly"), &[(b"content-type", b"\xff not a type")]),
        ],
    );
    let mut all = live.events(7).await;
    let mut again = Stream::open(&gateway, "in?from=earliest").await;
    assert_eq!(again.events(7).await, all, "live and replayed are the same");
    for (offset, event) in all.iter_mut().enumerate() {
        let mut time = event["time"].take();
        assert!(
            time.as_str().is_some_and(|time| time.starts_with("20") && time.ends_with('Z')),
            "{time}: the broker's"
        );
        time.take();
        assert_eq!(event["id"], json!(format!("0:{offset}")), "its position");
        assert_eq!((&event["source"], &event["type"]), (&json!(format!("/kafka/{topic}")), &json!("io.meshgate.raw")));
        assert!(event.get("x").is_none(), "transport headers are not shown: {event}");
    }
    let datas: Vec<_> = all.iter().map(data).collect();
    let expected: [Option<&[u8]>; 7] = [
        Some(br#"{"order_id": 1}"#),
        None,
        Some(b""),
        Some(&[0, 0xff]),
        Some(b"text"),
        Some(br#"{"n":1}"#),
        Some(b"typed badly"),
    ];
    assert_eq!(datas, expected.map(|data| data.map(<[u8]>::to_vec)));
    assert_eq!((&all[4]["data"], &all[5]["data"]), (&json!("text"), &json!({ "n": 1 })));
    assert!(all[3].get("data_base64").is_some(), "declared JSON, but none: {}", all[3]);
    assert_eq!(all[5]["datacontenttype"], "application/json; charset=utf-8");
    assert!(all[6].get("datacontenttype").is_none(), "{}", all[6]);
}

#[tokio::test]
async fn events_of_another_implementation_are_events() {
    let topic = topic("foreign-events", 1);
    let gateway = reading(&topic).await;
    let event = json!({
        "specversion": "1.0", "id": "ä-1", "source": "/sdk", "type": "com.example.sdk", "subject": "Zürich",
        "time": "2020-02-29T12:00:00Z", "datacontenttype": "application/json", "partitionkey": "p", "extra": "€",
        "data": { "n": [1, 2.5, null, "ü"] },
    });
    write_events(&topic, &[], std::slice::from_ref(&event));
    write_events(&topic, &["--structured"], std::slice::from_ref(&event));
    let mut stream = Stream::open(&gateway, "in?from=earliest").await;
    assert_eq!(stream.events(2).await, [event.clone(), event]);
}

#[tokio::test]
async fn an_independent_library_understands_what_the_stream_says() {
    use cloudevents::{AttributesReader, Data};
    let topic = topic("foreign-oracle", 1);
    let gateway = reading(&topic).await;
    let more = json!({ "time": "2020-02-29T12:00:00Z", "datacontenttype": "application/json", "extra": "e", "data": { "n": 1 } });
    let mut event = json!({ "specversion": "1.0", "id": "1", "source": "/s", "type": "t", "subject": "sub" });
    event.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    publish(&gateway, "in", &[event]).await;
    let mut stream = Stream::open(&gateway, "in?from=earliest").await;
    let text = stream.block().await.and_then(|block| block.data).expect("an event");
    let read: cloudevents::Event = serde_json::from_str(&text).expect("a CloudEvent");
    assert_eq!((read.id(), read.source().as_str(), read.ty(), read.subject()), ("1", "/s", "t", Some("sub")));
    assert_eq!(read.time().map(|time| time.timestamp()), Some(1_582_977_600));
    assert_eq!(read.extension("extra").map(ToString::to_string), Some("e".to_owned()));
    assert_eq!(read.data(), Some(&Data::Json(json!({ "n": 1 }))));
}

#[tokio::test]
async fn what_only_looks_like_an_event_is_wrapped() {
    let topic = topic("foreign-invalid", 1);
    let gateway = reading(&topic).await;
    let event_json: (&[u8], &[u8]) = (b"content-type", b"application/cloudevents+json");
    let gateways = br#"{"specversion":"1.0","id":"1","source":"/s","type":"io.meshgate.ack"}"#;
    let wrapped = [
        record(None, Some(b"no type"), &[(b"ce_specversion", b"1.0"), (b"ce_id", b"1"), (b"ce_source", b"/s")]),
        binary("twice", &[(b"ce_id", b"other")], Some(b"an id twice")),
        binary("bad time", &[(b"ce_time", b"yesterday")], Some(b"x")),
        binary("bad name", &[(b"ce_not-a-name", b"1")], Some(b"x")),
        binary("bad text", &[(b"ce_subject", b"\xff\xfe")], Some(b"x")),
        record(
            None,
            Some(b"old"),
            &[(b"ce_specversion", b"0.3"), (b"ce_id", b"1"), (b"ce_source", b"/s"), (b"ce_type", b"t")],
        ),
        record(
            None,
            Some(b"x"),
            &[(b"ce_specversion", b"1.0"), (b"ce_id", b"1"), (b"ce_source", b"/s"), (b"ce_type", b"io.meshgate.ack")],
        ),
        record(None, Some(b"{\"specversion\":\"1.0\","), &[event_json]),
        record(None, Some(b"{\"specversion\":\"1.0\",\"id\":\"\",\"source\":\"/s\",\"type\":\"t\"}"), &[event_json]),
        record(None, Some(gateways), &[event_json]),
        record(Some(b"k"), None, &[event_json]),
    ];
    let count = wrapped.len();
    write(&topic, &[], &wrapped);
    write(&topic, &[], &[binary("sound", &[], Some(b"x"))]);
    let mut stream = Stream::open(&gateway, "in?from=earliest").await;
    for (offset, event) in stream.events(count).await.iter().enumerate() {
        assert_eq!(
            (&event["type"], &event["id"]),
            (&json!("io.meshgate.raw"), &json!(format!("0:{offset}"))),
            "{event}"
        );
    }
    assert_eq!(stream.ids(1).await, ["sound"]);
}

#[tokio::test]
async fn strange_headers_stop_nobody() {
    let topic = topic("foreign-headers", 1);
    let gateway = reading(&topic).await;
    let mut live = Stream::open(&gateway, "in").await;
    let huge = vec![b'h'; 400 << 10];
    let long_name = vec![b'n'; 40_000];
    let many: Vec<(&[u8], &[u8])> = (0..2000).map(|_| (&b"repeated"[..], &b"value"[..])).collect();
    write(
        &topic,
        &[],
        &[
            binary(
                "no utf-8",
                &[(b"\xff\xfe", b"1"), (b"ce_\xc3", b"2"), (b"\x80", b""), (b"sound", b"\xff")],
                Some(b"x"),
            ),
            binary("empty name", &[(b"", b"1"), (b"with\x00zero", b"2")], Some(b"x")),
            binary("huge", &[(b"x-huge", &huge), (&long_name, b"1")], Some(b"x")),
            binary("many", &many, Some(b"x")),
            binary("after", &[], Some(b"x")),
        ],
    );
    let expected = ["no utf-8", "empty name", "huge", "many", "after"];
    assert_eq!(live.ids(5).await, expected);
    assert_eq!(Stream::open(&gateway, "in?from=earliest").await.ids(5).await, expected);
}

#[tokio::test]
async fn a_claimed_channel_is_believed_only_where_it_leads_here() {
    let (prefix, other) = (fresh_name("foreign-orders"), topic("foreign-other", 1));
    let orders = format!("{prefix}.eu");
    create(&orders, 1, &[]);
    let gateway = gateway(&format!(
        r#"channel: "orders/{{region}}/+", to: [{{ connector: kafka, topic: "{prefix}.{{region}}" }}]
           channel: secret, to: [{{ connector: kafka, topic: {other} }}]"#
    ))
    .await;
    let claims: [&[u8]; 6] = [b"secret", b"orders/us/1", b"orders/#", b"$SYS", b"\xff", b""];
    let spoofs: Vec<Value> = claims
        .iter()
        .enumerate()
        .map(|(n, claim)| binary(&n.to_string(), &[(b"meshgate-channel", claim)], Some(b"x")))
        .collect();
    write(&orders, &[], &spoofs);
    write(&orders, &[], &[binary("honest", &[(b"meshgate-channel", b"orders/eu/7")], Some(b"x"))]);
    let mut stream = Stream::open(&gateway, "**?from=earliest&meta=true").await;
    for event in stream.events(spoofs.len()).await {
        assert_eq!(event["meshgatechannel"], "orders/eu/-", "{event}");
    }
    let event = stream.event().await.expect("an event");
    assert_eq!((&event["id"], &event["meshgatechannel"]), (&json!("honest"), &json!("orders/eu/7")));
    // A reader of the spoofed channel sees nothing but its own.
    let mut secret = Stream::open(&gateway, "secret?from=earliest").await;
    gateway.store("secret", "own").await;
    assert_eq!(secret.ids(1).await, ["own"]);
}

#[tokio::test]
async fn only_committed_transactions_are_seen() {
    let topic = topic("foreign-transactions", 1);
    let gateway = reading(&topic).await;
    let mut live = Stream::open(&gateway, "in").await;
    let ids = |from: usize| (from..from + 3).map(|n| binary(&n.to_string(), &[], Some(b"x"))).collect::<Vec<_>>();
    write(&topic, &["--transaction", "commit"], &ids(0));
    write(&topic, &["--transaction", "abort"], &ids(100));
    write(&topic, &["--transaction", "commit"], &ids(3));
    write(&topic, &["--transaction", "abort"], &ids(200));
    let expected = ["0", "1", "2", "3", "4", "5"];
    assert_eq!(live.ids(6).await, expected);
    let mut replayed = Stream::open(&gateway, "in?from=earliest").await;
    assert_eq!(replayed.ids(6).await, expected);
    // The next places are a marker, an aborted transaction and another marker: none of them is gone, nothing comes twice.
    let mut resumed = Stream::try_open(&gateway, "in", replayed.last_id.as_deref()).await.expect("a stream");
    gateway.store("in", "next").await;
    assert_eq!(resumed.ids(1).await, ["next"]);
    assert_eq!(live.ids(1).await, ["next"]);
    assert_eq!(replayed.ids(1).await, ["next"]);
    let mut middle = Stream::open(&gateway, "in?from=earliest&limit=3").await;
    middle.events(3).await;
    let mut resumed = Stream::try_open(&gateway, "in", middle.last_id.as_deref()).await.expect("a stream");
    assert_eq!(resumed.ids(4).await, ["3", "4", "5", "next"]);
}

#[tokio::test]
async fn every_compression_is_read() {
    let topic = topic("foreign-compressed", 1);
    let gateway = reading(&topic).await;
    let mut live = Stream::open(&gateway, "in").await;
    let codecs = ["gzip", "snappy", "lz4", "zstd"];
    for codec in codecs {
        let text = codec.repeat(1000);
        let batch: Vec<_> = (0..5)
            .map(|n| binary(&format!("{codec} {n}"), &[(b"content-type", b"text/plain")], Some(text.as_bytes())))
            .collect();
        write(&topic, &["--compression", codec], &batch);
    }
    let mut replayed = Stream::open(&gateway, "in?from=earliest").await;
    for stream in [&mut live, &mut replayed] {
        let events = stream.events(codecs.len() * 5).await;
        for (n, event) in events.iter().enumerate() {
            let codec = codecs[n / 5];
            assert_eq!(event["id"], format!("{codec} {}", n % 5));
            assert_eq!(event["data"], codec.repeat(1000));
        }
    }
}

#[tokio::test]
async fn the_gateway_compresses_as_it_is_told() {
    let kafka = bootstrap();
    for codec in ["gzip", "snappy", "lz4", "zstd"] {
        let topic = topic("foreign-compression", 1);
        let gateway = Gateway::start(&format!(
            "connectors: {{ kafka: {{ kind: kafka, brokers: [\"{kafka}\"], properties: {{ compression.type: {codec} }} }} }}\n\
             routes: [{{ channel: in, to: [{{ connector: kafka, topic: {topic} }}] }}]"
        ));
        ready(&gateway).await;
        gateway.store("in", "1").await;
        assert_eq!(read(&topic, 1)[0].value_text(), "data", "{codec}");
    }
}

#[tokio::test]
async fn large_values_pass_both_ways() {
    let topic = topic("foreign-large", 1);
    let routes = format!("channel: in, to: [{{ connector: kafka, topic: {topic} }}]");
    let listeners =
        r#"listeners: { http: { address: "127.0.0.1:0", max_body: 2MiB }, admin: { address: "127.0.0.1:0" } }"#;
    let gateway = gateway_with(&routes, listeners).await;
    let mut live = Stream::open(&gateway, "in").await;
    let (foreign, own) = ("f".repeat(900 << 10), "o".repeat(1900 << 10));
    let text: (&[u8], &[u8]) = (b"content-type", b"text/plain");
    write(
        &topic,
        &[],
        &[binary("0", &[text], Some(foreign.as_bytes())), binary("1", &[text], Some(foreign.as_bytes()))],
    );
    let answer = gateway
        .event("in", "2")
        .header("content-type", "text/plain")
        .body(own.clone())
        .send()
        .await
        .expect("an answer");
    assert_eq!(answer.status(), 202, "{}", answer.text().await.unwrap_or_default());
    let mut replayed = Stream::open(&gateway, "in?from=earliest").await;
    for stream in [&mut live, &mut replayed] {
        for (id, data) in [("0", &foreign), ("1", &foreign), ("2", &own)] {
            let event = stream.event().await.expect("an event");
            assert_eq!(event["id"], id);
            assert!(event["data"].as_str() == Some(data), "{id}: {} bytes", event["data"].as_str().map_or(0, str::len));
        }
    }
}
