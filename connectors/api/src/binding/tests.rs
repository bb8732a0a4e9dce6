use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::{
    Str,
    connector::ContentMode,
    event::{Event, Value, WRAPPED_TYPE},
    message::Message,
};

fn event() -> Event {
    Event {
        id: "ä 1%".into(),
        source: "/a".into(),
        kind: "t".into(),
        subject: Some("s".into()),
        time: Some("2018-04-05T17:31:00Z".into()),
        datacontenttype: Some("text/plain".into()),
        dataschema: Some("urn:a".into()),
        extensions: vec![("one".into(), Value::String("1".into())), ("flag".into(), Value::Boolean(true))],
        data: Some(Bytes::from_static(b"data")),
    }
}

fn message() -> Message {
    Message {
        channel: Some("a/b".into()),
        event: Box::new(event()),
        headers: vec![
            ("traceparent".into(), Bytes::from_static(b"00-1")),
            ("x".into(), Bytes::from_static(&[255])),
            ("x".into(), Bytes::new()),
            ("meshgate-hops".into(), Bytes::from_static(b"3")),
        ],
        wrapped: true,
    }
}

fn written(message: &Message, mode: ContentMode) -> Vec<(Str, Bytes)> {
    let mut all = Vec::new();
    headers(message, mode, |name, value| all.push((name.into(), Bytes::copy_from_slice(value))));
    all
}

fn native() -> NativeOrigin {
    NativeOrigin {
        id: "0:17".into(),
        source: native_source("kafka", "orders"),
        time: Some("2026-01-31T12:00:00Z".into()),
    }
}

fn read(headers: &[(&str, &[u8])], value: Option<&'static [u8]>) -> Message {
    let headers = headers.iter().map(|(name, value)| (Str::from(*name), Bytes::copy_from_slice(value)));
    decode(headers, value.map(Bytes::from_static), native)
}

const REQUIRED: [(&str, &[u8]); 4] =
    [("ce_specversion", b"1.0"), ("ce_id", b"1"), ("ce_source", b"/a"), ("ce_type", b"t")];

fn bare() -> Event {
    Event { id: "1".into(), source: "/a".into(), kind: "t".into(), ..Event::default() }
}

#[test]
fn binary_headers_are_those_of_the_binding() {
    let names: Vec<String> = written(&message(), ContentMode::Binary)
        .iter()
        .map(|(name, value)| format!("{name}={}", value.escape_ascii()))
        .collect();
    assert_eq!(
        names,
        [
            "ce_specversion=1.0",
            "ce_id=\\xc3\\xa4 1%",
            "ce_source=/a",
            "ce_type=t",
            "ce_subject=s",
            "ce_time=2018-04-05T17:31:00Z",
            "ce_dataschema=urn:a",
            "ce_one=1",
            "ce_flag=true",
            "content-type=text/plain",
            "meshgate-channel=a/b",
            "meshgate-wrapped=true",
            "traceparent=00-1",
            "x=\\xff",
            "x=",
            "meshgate-hops=3",
        ]
    );
    assert_eq!(value(&message(), ContentMode::Binary), Some(Bytes::from_static(b"data")));
}

#[test]
fn structured_and_raw_have_no_attribute_headers() {
    let names = |mode| written(&message(), mode).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
    let rest = ["content-type", "meshgate-channel", "meshgate-wrapped", "traceparent", "x", "x", "meshgate-hops"];
    assert_eq!(names(ContentMode::Structured), rest);
    assert_eq!(names(ContentMode::Raw), rest);
    let content_type = |mode| written(&message(), mode)[0].1.clone();
    assert_eq!(content_type(ContentMode::Structured), &b"application/cloudevents+json; charset=UTF-8"[..]);
    assert_eq!(content_type(ContentMode::Raw), &b"text/plain"[..]);
    assert_eq!(value(&message(), ContentMode::Raw), Some(Bytes::from_static(b"data")));
    assert!(value(&message(), ContentMode::Structured).is_some_and(|text| text.starts_with(b"{\"specversion\"")));
}

#[test]
fn no_data_is_a_null_value() {
    for (data, raw) in [(None, None), (Some(Bytes::new()), Some(Bytes::new()))] {
        let message = Message { event: Box::new(Event { data, ..bare() }), ..Message::default() };
        assert_eq!(value(&message, ContentMode::Binary), raw);
        assert_eq!(value(&message, ContentMode::Raw), raw);
        assert!(value(&message, ContentMode::Structured).is_some());
    }
}

/// Headers keep no types: what is read is text.
fn textual(mut message: Message) -> Message {
    for (_, value) in &mut message.event.extensions {
        *value = Value::String(value.canonical().into_owned().into());
    }
    message
}

#[test]
fn a_message_survives_its_record() {
    let round =
        |message: &Message, mode| decode(written(message, mode), value(message, mode), || panic!("is no event"));
    assert_eq!(round(&message(), ContentMode::Binary), textual(message()));
    assert_eq!(round(&message(), ContentMode::Structured), message());
    for data in [None, Some(Bytes::new())] {
        let bare = Message { event: Box::new(Event { data, ..bare() }), ..Message::default() };
        assert_eq!(round(&bare, ContentMode::Binary), bare);
        assert_eq!(round(&bare, ContentMode::Structured), bare);
    }
}

#[test]
fn a_raw_record_keeps_channel_type_and_bytes() {
    let raw = decode(written(&message(), ContentMode::Raw), value(&message(), ContentMode::Raw), native);
    let event = Event {
        id: "0:17".into(),
        source: "/kafka/orders".into(),
        kind: WRAPPED_TYPE.into(),
        time: Some("2026-01-31T12:00:00Z".into()),
        datacontenttype: Some("text/plain".into()),
        data: Some(Bytes::from_static(b"data")),
        ..Event::default()
    };
    assert_eq!(raw, Message { event: Box::new(event), ..message() });
}

#[test]
fn what_is_no_event_is_wrapped() {
    type Headers = &'static [(&'static str, &'static [u8])];
    let cases: [(&str, Headers); 13] = [
        ("nothing", &[]),
        ("no id", &[REQUIRED[0], REQUIRED[2], REQUIRED[3]]),
        ("no version", &REQUIRED[1..]),
        ("repeated attribute", &[REQUIRED[0], REQUIRED[1], REQUIRED[1], REQUIRED[2], REQUIRED[3]]),
        ("repeated extension", &[REQUIRED[0], REQUIRED[1], REQUIRED[2], REQUIRED[3], ("ce_x", b"1"), ("ce_x", b"1")]),
        ("other version", &[("ce_specversion", b"0.3"), REQUIRED[1], REQUIRED[2], REQUIRED[3]]),
        ("not UTF-8", &[REQUIRED[0], REQUIRED[1], REQUIRED[2], REQUIRED[3], ("ce_x", b"\xFF")]),
        ("bad name", &[REQUIRED[0], REQUIRED[1], REQUIRED[2], REQUIRED[3], ("ce_Upper", b"x")]),
        ("no name", &[REQUIRED[0], REQUIRED[1], REQUIRED[2], REQUIRED[3], ("ce_", b"x")]),
        ("bad time", &[REQUIRED[0], REQUIRED[1], REQUIRED[2], REQUIRED[3], ("ce_time", b"now")]),
        ("reserved type", &[REQUIRED[0], REQUIRED[1], REQUIRED[2], ("ce_type", b"io.meshgate.receipt")]),
        ("bad JSON", &[("content-type", b"application/cloudevents+json")]),
        ("variant in case", &[("CE_SPECVERSION", b"1.0"), ("CE_ID", b"1"), ("ce-source", b"/a"), ("Ce_type", b"t")]),
    ];
    for (case, headers) in cases {
        let message = read(headers, Some(b"{"));
        assert!(message.wrapped, "{case}");
        assert_eq!(message.event.kind, WRAPPED_TYPE, "{case}");
        assert_eq!(message.event.data.as_deref(), Some(&b"{"[..]), "{case}");
        assert_eq!(message.headers, [], "{case}");
        assert_eq!(message.event.check(), Ok(()), "{case}");
    }
    assert_eq!(read(&[], None).event.data, None);
    assert_eq!(read(&[], Some(b"")).event.data, Some(Bytes::new()));
}

#[test]
fn only_a_valid_content_type_is_kept_by_wrapping() {
    for (content_type, kept) in [
        (&b"application/json"[..], Some("application/json")),
        (b"application/cloudevents+avro", Some("application/cloudevents+avro")),
        (b"json", None),
        (b"", None),
        (b"text/plain\xFF", None),
    ] {
        let message = read(&[("content-type", content_type)], Some(b"x"));
        assert_eq!(message.event.datacontenttype.as_deref(), kept);
        let binary = read(&[&REQUIRED[..], &[("content-type", content_type)]].concat(), Some(b"x"));
        assert_eq!(binary.wrapped, kept.is_none(), "an invalid type makes an invalid event");
    }
}

#[test]
fn structured_is_told_by_the_content_type() {
    const TEXT: &[u8] = br#"{"specversion":"1.0","id":"2","source":"/b","type":"t","n":5}"#;
    let inner = Box::new(Event {
        id: "2".into(),
        source: "/b".into(),
        extensions: vec![("n".into(), Value::Integer(5))],
        ..bare()
    });
    for content_type in [&b"application/cloudevents+json"[..], b"Application/CloudEvents+JSON ; charset=utf-8"] {
        assert_eq!(read(&[("content-type", content_type)], Some(TEXT)).event, inner);
    }
    let structured = ("content-type", &b"application/cloudevents+json"[..]);
    assert_eq!(read(&[structured, ("ce_id", b"2"), ("ce_n", b"5")], Some(TEXT)).event, inner, "copied headers");
    assert_eq!(read(&[structured, ("ce_id", b"3")], Some(TEXT)).event, inner, "stray headers");
    let outer = read(&[&REQUIRED[..], &[structured]].concat(), Some(TEXT));
    let datacontenttype = Some("application/cloudevents+json".into());
    assert_eq!(outer.event, Box::new(Event { datacontenttype, data: Some(Bytes::from_static(TEXT)), ..bare() }));
    assert!(read(&[structured], None).wrapped);
    assert!(read(&[("content-type", b"text/plain")], Some(TEXT)).wrapped);
    let reserved = br#"{"specversion":"1.0","id":"2","source":"/b","type":"io.meshgate.ack"}"#;
    assert!(read(&[structured], Some(reserved)).wrapped);
}

#[test]
fn an_event_within_an_event_survives() {
    let inner = value(&message(), ContentMode::Structured);
    let event = Event { datacontenttype: Some("application/cloudevents+json".into()), data: inner, ..bare() };
    let outer = Message { event: Box::new(event), ..Message::default() };
    let mode = ContentMode::Binary;
    assert_eq!(decode(written(&outer, mode), value(&outer, mode), native), outer);
}

#[test]
fn content_type_wins_over_the_attribute() {
    let with =
        |more: &[(&'static str, &'static [u8])]| read(&[&REQUIRED[..], more].concat(), None).event.datacontenttype;
    assert_eq!(with(&[("ce_datacontenttype", b"a/b")]).as_deref(), Some("a/b"));
    assert_eq!(with(&[("content-type", b"c/d"), ("ce_datacontenttype", b"a/b")]).as_deref(), Some("c/d"));
}

#[test]
fn reserved_names_do_not_travel() {
    let message = read(
        &[
            ("meshgate-channel", b"a/b"),
            ("meshgate-channel", b"c/d"),
            ("meshgate-wrapped", b"yes"),
            ("meshgate-hops", b"8"),
            ("meshgate-hops", b"0"),
            ("meshgate-hops", b"9"),
            ("meshgate-hops", b"10"),
            ("Meshgate-Hops", b"1"),
            ("meshgate-key", b"x"),
            ("MESHGATE-CHANNEL", b"x"),
            ("Content-Type", b"text/plain"),
            ("ce-id", b"1"),
            ("cloudEvents:id", b"1"),
            ("CloudEvents_id", b"1"),
            ("kept", b"1"),
        ],
        None,
    );
    assert_eq!(message.channel.as_deref(), Some("c/d"));
    assert_eq!(
        message.headers,
        [("meshgate-hops".into(), Bytes::from_static(b"8")), ("kept".into(), Bytes::from_static(b"1"))]
    );
    assert_eq!(read(&[("meshgate-channel", b"\xFF")], None).channel, None);
    let event = read(&REQUIRED, None);
    assert!(!event.wrapped);
    assert!(read(&[&REQUIRED[..], &[("meshgate-wrapped", b"true")]].concat(), None).wrapped);
}

#[test]
fn native_sources_are_uri_references() {
    for (connector, topic, source) in [
        ("orders-kafka", "orders.eu", "/orders-kafka/orders.eu"),
        ("telemetry", "persistent://public/default/x", "/telemetry/persistent://public/default/x"),
        ("scratch", "a b/ä/%", "/scratch/a%20b/%C3%A4/%25"),
        ("scratch", "", "/scratch/"),
    ] {
        assert_eq!(native_source(connector, topic), source);
        let event = Event { source: native_source(connector, topic), ..bare() };
        assert_eq!(event.check(), Ok(()));
    }
}

fn names() -> impl Strategy<Value = String> {
    let known = proptest::sample::select(vec![
        "ce_specversion",
        "ce_id",
        "ce_source",
        "ce_type",
        "ce_time",
        "ce_x",
        "content-type",
        "meshgate-channel",
        "meshgate-wrapped",
        "meshgate-hops",
        "CE_ID",
    ]);
    prop_oneof![known.prop_map(str::to_owned), "(ce_)?[a-zA-Z_äß-]{0,4}"]
}

fn values() -> impl Strategy<Value = Vec<u8>> {
    let known =
        proptest::sample::select(vec!["1.0", "application/cloudevents+json", "/a", "true", "5", "io.meshgate.x"]);
    prop_oneof![known.prop_map(|text| text.as_bytes().to_vec()), proptest::collection::vec(any::<u8>(), 0..6)]
}

proptest! {
    #[test]
    fn any_record_is_a_valid_event(
        headers in proptest::collection::vec((names(), values()), 0..12),
        value in proptest::option::of(prop_oneof![values(), Just(br#"{"specversion":"1.0","id":"2","source":"/b","type":"t"}"#.to_vec())]),
    ) {
        let headers = headers.into_iter().map(|(name, value)| (Str::from(name), Bytes::from(value)));
        let message = decode(headers, value.map(Bytes::from), native);
        prop_assert_eq!(message.event.check(), Ok(()));
        prop_assert!(!message.event.has_reserved_type());
        let again = written(&message, ContentMode::Binary);
        prop_assert!(again.iter().filter(|(name, _)| name == "content-type").count() <= 1);
    }
}
