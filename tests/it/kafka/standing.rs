//! What stands in Kafka: headers, values, keys and times, byte for byte.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::{
    gateway,
    plain::{read, read_events},
    publish,
};
use crate::harness::{gateway::Gateway, kafka::topic};

const TRACEPARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// Every kind of attribute, and data whose spelling would not survive a JSON library.
const FULL: &str = r#"{"specversion":"1.0","id":"ä 1%","source":"/shop","type":"com.example.order","subject":"k-1",
"time":"2018-04-05T17:31:00.10+02:00","dataschema":"urn:x:y","datacontenttype":"application/json","city":"Zürich €",
"count":-7,"paid":true,"traceparent":"of the event","data":{"order_id":  1.0, "a":[1e2]}}"#;

/// One topic in each content mode.
struct Modes {
    gateway: Gateway,
    binary: String,
    structured: String,
    raw: String,
}

async fn modes() -> Modes {
    let [binary, structured, raw] = ["binary", "structured", "raw"].map(|mode| topic(&format!("standing-{mode}"), 1));
    let gateway = gateway(&format!(
        r#"channel: binary, to: [{{ connector: kafka, topic: {binary}, key: "{{subject|}}" }}]
           channel: structured, to: [{{ connector: kafka, topic: {structured}, mode: structured }}]
           channel: raw, to: [{{ connector: kafka, topic: {raw}, mode: raw }}]"#
    ))
    .await;
    Modes { gateway, binary, structured, raw }
}

impl Modes {
    async fn post(&self, body: &'static str, headers: &[(&str, &str)]) {
        for channel in ["binary", "structured", "raw"] {
            let request = self.gateway.client.post(self.gateway.channel_url(channel)).body(body);
            let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
            let answer = request.send().await.expect("an answer");
            assert_eq!(answer.status(), 202, "{channel}: {}", answer.text().await.unwrap_or_default());
        }
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis().try_into().expect("a small number")
}

#[tokio::test]
async fn each_mode_stands_as_its_binding_says() {
    let modes = modes().await;
    let before = now();
    let traced = [("traceparent", TRACEPARENT), ("tracestate", "a=1,b=2"), ("x-other", "stays behind")];
    modes.post(FULL, &[&[("content-type", "application/cloudevents+json")], &traced[..]].concat()).await;
    let after = now();

    let binary = read(&modes.binary, 1).remove(0);
    assert_eq!(
        binary.header_lines(),
        [
            r"ce_specversion=1.0",
            r"ce_id=\xc3\xa4 1%",
            r"ce_source=/shop",
            r"ce_type=com.example.order",
            r"ce_subject=k-1",
            r"ce_time=2018-04-05T17:31:00.10+02:00",
            r"ce_dataschema=urn:x:y",
            r"ce_city=Z\xc3\xbcrich \xe2\x82\xac",
            r"ce_count=-7",
            r"ce_paid=true",
            r"ce_traceparent=of the event",
            r"content-type=application/json",
            r"meshgate-channel=binary",
            &*format!("traceparent={TRACEPARENT}"),
            r"tracestate=a=1,b=2",
        ]
    );
    assert_eq!(binary.value_text(), r#"{"order_id":  1.0, "a":[1e2]}"#);
    assert_eq!(binary.key.as_deref(), Some(&b"k-1"[..]));
    assert!((before..=after).contains(&binary.timestamp), "the gateway's clock, not the event's time: {binary:?}");

    let structured = read(&modes.structured, 1).remove(0);
    let content_type = "content-type=application/cloudevents+json; charset=UTF-8";
    let traces = [format!("traceparent={TRACEPARENT}"), "tracestate=a=1,b=2".into()];
    assert_eq!(structured.header_lines()[..2], [content_type, "meshgate-channel=structured"]);
    assert_eq!(structured.header_lines()[2..], traces);
    assert!(
        structured.value_text().ends_with(r#","data":{"order_id":  1.0, "a":[1e2]}}"#),
        "{}",
        structured.value_text()
    );
    let same: Value = serde_json::from_str(FULL).expect("JSON");
    assert_eq!(serde_json::from_str::<Value>(structured.value_text()).expect("JSON"), same);
    assert_eq!(structured.key, None);
    assert!((before..=after).contains(&structured.timestamp), "{structured:?}");

    let raw = read(&modes.raw, 1).remove(0);
    assert_eq!(raw.header_lines()[..2], ["content-type=application/json", "meshgate-channel=raw"]);
    assert_eq!(raw.header_lines()[2..], traces);
    assert_eq!((raw.value_text(), raw.key.as_deref()), (r#"{"order_id":  1.0, "a":[1e2]}"#, None));
}

#[tokio::test]
async fn another_implementation_reads_the_same_event() {
    let modes = modes().await;
    modes.post(FULL, &[("content-type", "application/cloudevents+json")]).await;
    let mut expected: Value = serde_json::from_str(FULL).expect("JSON");
    let structured = read_events(&modes.structured, 1).remove(0);
    assert_eq!((&structured["id"], &structured["city"]), (&expected["id"], &expected["city"]));
    assert_eq!((&structured["count"], &structured["data"]), (&json!(-7), &expected["data"]));

    let binary = read_events(&modes.binary, 1).remove(0);
    // In headers every value is text; the key is the SDK's `partitionkey`; its time is one of its own spelling.
    for (name, text) in [("count", json!("-7")), ("paid", json!("true")), ("partitionkey", json!("k-1"))] {
        expected[name] = text;
    }
    expected["time"] = binary["time"].clone();
    assert_eq!(binary, expected);
}

#[tokio::test]
async fn no_data_is_null_and_empty_data_is_empty() {
    let modes = modes().await;
    let minimal = [("ce-specversion", "1.0"), ("ce-id", "1"), ("ce-source", "/s"), ("ce-type", "t")];
    let structured = [("content-type", "application/cloudevents+json")];
    modes.post("", &minimal).await;
    modes.post("", &[&minimal[..], &[("content-type", "text/plain")]].concat()).await;
    modes.post(r#"{"specversion":"1.0","id":"1","source":"/s","type":"t"}"#, &structured).await;
    modes.post(r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","data_base64":""}"#, &structured).await;
    modes.post("", &[]).await;
    let expected = [None, Some(vec![]), None, Some(vec![]), None];
    for topic in [&modes.binary, &modes.raw] {
        let values: Vec<_> = read(topic, expected.len()).into_iter().map(|record| record.value).collect();
        assert_eq!(values, expected, "{topic}");
    }
    let in_json = [false, true, false, true, false];
    for (record, data) in read(&modes.structured, expected.len()).iter().zip(in_json) {
        let event: Value = serde_json::from_str(record.value_text()).expect("JSON");
        assert_eq!(event.get("data").or(event.get("data_base64")).is_some(), data, "{event}");
    }
}

#[tokio::test]
async fn a_wrapped_event_says_so() {
    let modes = modes().await;
    modes.post("21.5 °C", &[("content-type", "text/plain; charset=utf-8"), ("traceparent", TRACEPARENT)]).await;
    let binary = read(&modes.binary, 1).remove(0);
    let names: Vec<_> = binary.headers.iter().map(|(name, _)| &**name).collect();
    let attributes = ["ce_specversion", "ce_id", "ce_source", "ce_type", "ce_time"];
    let gateways = ["content-type", "meshgate-channel", "meshgate-wrapped", "traceparent"];
    assert_eq!(names, [&attributes[..], &gateways[..]].concat());
    assert_eq!((binary.header("ce_source"), binary.header("ce_type")), (Some("/http"), Some("io.meshgate.raw")));
    assert_eq!(binary.header("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!((binary.header("meshgate-wrapped"), binary.value_text()), (Some("true"), "21.5 °C"));
    assert_eq!(binary.header("ce_id").map(|id| (id.len(), id.as_bytes()[14])), Some((36, b'7')), "a UUIDv7");

    let raw = read(&modes.raw, 1).remove(0);
    assert_eq!((raw.header("meshgate-wrapped"), raw.header("ce_id")), (Some("true"), None));
}

#[tokio::test]
async fn names_that_are_the_gateways_do_not_come_in() {
    let modes = modes().await;
    let spoofs = [
        ("content-type", "text/plain"),
        ("ce-specversion", "1.0"),
        ("ce-id", "1"),
        ("ce-source", "/s"),
        ("ce-type", "t"),
        ("meshgate-channel", "elsewhere"),
        ("meshgate-wrapped", "true"),
        ("cloudevents-id", "2"),
        ("authorization", "Bearer secret"),
        ("cookie", "secret=1"),
    ];
    modes.post("x", &spoofs).await;
    let names: Vec<_> = read(&modes.binary, 1).remove(0).headers.into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["ce_specversion", "ce_id", "ce_source", "ce_type", "content-type", "meshgate-channel"]);
}

#[tokio::test]
async fn the_attribute_partitionkey_is_the_key() {
    let (with, without) = (topic("standing-key", 1), topic("standing-key", 1));
    let gateway = gateway(&format!(
        r#"channel: with, to: [{{ connector: kafka, topic: {with}, key: "{{subject|}}" }}]
           channel: without, to: [{{ connector: kafka, topic: {without} }}]"#
    ))
    .await;
    let event = |more: Value| {
        let mut event = json!({ "specversion": "1.0", "id": "1", "source": "/s", "type": "t" });
        event.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        event
    };
    let events = [
        event(json!({ "partitionkey": "p", "subject": "s" })),
        event(json!({ "partitionkey": "p" })),
        event(json!({ "partitionkey": 7 })),
        event(json!({ "subject": "s" })),
        event(json!({})),
    ];
    for (channel, topic, expected) in
        [("with", &with, ["s", "p", "7", "s", ""]), ("without", &without, ["p", "p", "7", "", ""])]
    {
        publish(&gateway, channel, &events).await;
        let records = read(topic, events.len());
        let keys: Vec<_> = records.iter().map(|record| record.key.as_deref().unwrap_or_default()).collect();
        assert_eq!(keys, expected.map(str::as_bytes), "{channel}");
        assert!(records.iter().all(|record| record.key.as_deref() != Some(b"")), "no key is a null one");
        assert_eq!(records[0].header("ce_partitionkey"), Some("p"));
    }
}
