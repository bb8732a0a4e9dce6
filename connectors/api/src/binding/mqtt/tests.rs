use std::time::UNIX_EPOCH;

use proptest::prelude::*;

use super::*;
use crate::event::WRAPPED_TYPE;

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_764_000_000)
}

fn native() -> NativeOrigin {
    NativeOrigin { id: "7".into(), source: "/plant/t".into(), time: Some("2026-01-31T12:00:00Z".into()) }
}

fn event() -> Event {
    Event {
        id: "ä 1%".into(),
        source: "/a".into(),
        kind: "t".into(),
        subject: Some("s".into()),
        time: Some("2018-04-05T17:31:00Z".into()),
        datacontenttype: Some("text/plain".into()),
        dataschema: Some("urn:a".into()),
        extensions: vec![
            ("one".into(), Value::String("1".into())),
            ("traceparent".into(), Value::String("its own".into())),
        ],
        data: Some(Bytes::from_static(b"data")),
    }
}

fn message() -> Message {
    let header = |name: &'static str, value: &'static [u8]| (name.into(), Bytes::from_static(value));
    let headers = vec![
        header("traceparent", b"00-1"),
        header("x-y", b""),
        header("x-y", b"2"),
        header("twice", b"a"),
        header("twice", b"b"),
        header("meshgate-hops", b"3"),
    ];
    Message { channel: Some("a/b".into()), event: Box::new(event()), headers, wrapped: false }
}

fn packed(message: &Message, mode: ContentMode) -> Packed {
    pack(message, mode, now()).expect("short texts")
}

fn back(packed: Packed) -> Message {
    unpack(packed.properties, packed.payload, now(), native)
}

fn read(content_type: Option<&'static str>, user: &[(&'static str, &'static str)], payload: &'static [u8]) -> Message {
    let user = user.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    let properties = Properties { content_type: content_type.map(Str::from), user, ..Properties::default() };
    unpack(properties, Bytes::from_static(payload), now(), native)
}

#[test]
fn binary_is_what_the_binding_says() {
    let Packed { properties, payload, left_out } = packed(&message(), ContentMode::Binary);
    let user: Vec<(&str, &str)> = properties.user.iter().map(|(name, value)| (&**name, &**value)).collect();
    assert_eq!(
        user,
        [
            ("specversion", "1.0"),
            ("id", "ä 1%"),
            ("source", "/a"),
            ("type", "t"),
            ("subject", "s"),
            ("time", "2018-04-05T17:31:00Z"),
            ("dataschema", "urn:a"),
            ("one", "1"),
            ("traceparent", "its own"),
            ("meshgate-channel", "a/b"),
            ("meshgate-headers", "traceparent twice twice"),
            ("traceparent", "00-1"),
            ("x-y", ""),
            ("x-y", "2"),
            ("twice", "a"),
            ("twice", "b"),
            ("meshgate-hops", "3"),
        ]
    );
    assert_eq!((properties.content_type.as_deref(), properties.expiry), (Some("text/plain"), None));
    assert_eq!((&payload[..], left_out), (&b"data"[..], 0));
}

#[test]
fn a_message_comes_back_whole() {
    for mode in [ContentMode::Binary, ContentMode::Structured] {
        for wrapped in [false, true] {
            let message = Message { wrapped, ..message() };
            assert_eq!(back(packed(&message, mode)), message, "{mode:?}, wrapped: {wrapped}");
        }
    }
}

#[test]
fn what_is_wrapped_stays_the_bytes_that_it_was() {
    let message = Message { wrapped: true, ..message() };
    for mode in [ContentMode::Binary, ContentMode::Structured, ContentMode::Raw] {
        assert_eq!(&packed(&message, mode).payload[..], b"data", "{mode:?}");
        assert_eq!(&pack_plain(&message, mode)[..], b"data", "{mode:?}");
    }
}

#[test]
fn raw_keeps_data_channel_and_headers() {
    let packed = packed(&message(), ContentMode::Raw);
    assert!(packed.properties.user.iter().all(|(name, _)| name != "id" && name != "one"));
    let read = back(packed);
    assert!(read.wrapped);
    assert_eq!((read.channel.as_deref(), &read.headers), (Some("a/b"), &message().headers));
    assert_eq!((&*read.event.kind, read.event.data), (WRAPPED_TYPE, message().event.data));
}

#[test]
fn other_programs_are_understood() {
    let required = [("id", "1"), ("source", "/a"), ("type", "t"), ("specversion", "1.0")];
    let with = |more: &[(&'static str, &'static str)]| [&required[..], more].concat();
    let json = br#"{"specversion":"1.0","id":"j","source":"/j","type":"t","data":"x"}"#;
    let of = |message: Message| (message.event.id.to_string(), message.wrapped);
    assert_eq!(of(read(None, &required, b"x")), ("1".into(), false));
    assert_eq!(of(read(Some("application/cloudevents+json"), &[], json)), ("j".into(), false));
    assert_eq!(of(read(None, &[], json)), ("j".into(), false), "as a client of 3.1.1 writes it");
    assert_eq!(of(read(Some("text/plain"), &[], json)), ("7".into(), true), "somebody calls it a text");
    assert_eq!(of(read(None, &[("unit", "C")], b"21")), ("7".into(), true));
    assert_eq!(of(read(None, &with(&[("id", "2")]), b"x")), ("7".into(), true), "an attribute twice");
    assert_eq!(of(read(None, &with(&[("meshgate-wrapped", "true")]), b"x")), ("1".into(), true));
    let reserved = [("id", "1"), ("source", "/a"), ("type", "io.meshgate.ack"), ("specversion", "1.0")];
    assert_eq!(of(read(None, &reserved, b"x")), ("7".into(), true), "the gateway's own types come from nobody");
    let headers = [("X-Unit", "C"), ("ce_id", "9"), ("Meshgate-Channel", "z"), ("content-type", "a/b")];
    assert_eq!(read(None, &with(&headers), b"x").headers, [(Str::from("X-Unit"), Bytes::from_static(b"C"))]);
    let native = read(None, &[("unit", "C"), ("id", "1")], b"21");
    assert_eq!(native.headers.len(), 2, "what no event claims are headers");
}

#[test]
fn no_payload_is_no_data_unless_its_type_is_said() {
    let required = [("id", "1"), ("source", "/a"), ("type", "t"), ("specversion", "1.0")];
    assert_eq!(read(None, &required, b"").event.data, None);
    assert_eq!(read(Some("text/plain"), &required, b"").event.data, Some(Bytes::new()));
    assert_eq!(read(None, &[], b"").event.data, Some(Bytes::new()), "a device sent just that");
}

#[test]
fn expiry_is_told_in_seconds() {
    let mut message = message();
    let until =
        |seconds: u64| Value::String(timestamp(now() + Duration::from_secs(seconds)).expect("a year of four digits"));
    message.event.extensions.push((EXPIRY.into(), until(90)));
    let sent = packed(&message, ContentMode::Binary);
    assert_eq!(sent.properties.expiry, Some(90));
    assert_eq!(back(sent), message, "an event that has one keeps it");
    let late = pack(&message, ContentMode::Binary, now() + Duration::from_secs(1000)).expect("short texts");
    assert_eq!(late.properties.expiry, Some(1));
    let properties = Properties { expiry: Some(60), ..Properties::default() };
    let native = unpack(properties, Bytes::from_static(b"x"), now(), native);
    assert_eq!(native.event.extension(EXPIRY), Some(&until(60)));
}

#[test]
fn questions_are_asked_as_mqtt_asks_them() {
    let mut message = message();
    let own = [
        ("meshgate-response-topic", &b"a/answer"[..]),
        ("meshgate-correlation", &[0, 255]),
        ("meshgate-payload-format", b"1"),
    ];
    message.headers.extend(own.map(|(name, value)| (Str::from_static(name), Bytes::from_static(value))));
    for mode in [ContentMode::Binary, ContentMode::Structured, ContentMode::Raw] {
        let packed = packed(&message, mode);
        let Rare { response_topic, correlation, is_text } = packed.properties.rare.as_deref().expect("all of them");
        assert_eq!((response_topic.as_deref(), correlation.as_deref()), (Some("a/answer"), Some(&[0, 255][..])));
        assert_eq!((*is_text, packed.left_out), (Some(true), 0));
        assert!(packed.properties.user.iter().all(|(name, _)| !own.iter().any(|(own, _)| name == own)));
        assert_eq!(back(packed).headers, message.headers);
    }
    let wild = [(Str::from_static("meshgate-response-topic"), Bytes::from_static(b"a/#"))];
    message.headers = wild.into();
    assert_eq!(packed(&message, ContentMode::Binary).properties.rare, Some(Box::default()));
}

#[test]
fn what_is_too_long_is_refused_or_left_out() {
    let mut message = message();
    message.headers.push(("binary".into(), Bytes::from_static(&[255])));
    message.headers.push(("long".into(), Bytes::from(vec![b'x'; LONGEST_TEXT + 1])));
    message.headers.push(("null".into(), Bytes::from_static(b"\0")));
    assert_eq!(packed(&message, ContentMode::Binary).left_out, 3);
    message.event.extensions.push(("big".into(), Value::String("x".repeat(LONGEST_TEXT + 1).into())));
    assert_eq!(pack(&message, ContentMode::Binary, now()), Err(TooLong("big".into())));
    assert!(pack(&message, ContentMode::Structured, now()).is_ok());
}

#[test]
fn without_properties_an_event_is_its_json() {
    let message = Message { channel: None, headers: Headers::new(), ..message() };
    for mode in [ContentMode::Binary, ContentMode::Structured] {
        assert_eq!(unpack_plain(pack_plain(&message, mode), native), message);
    }
    assert_eq!(&pack_plain(&message, ContentMode::Raw)[..], b"data");
    let plain = unpack_plain(Bytes::from_static(b"21.5"), native);
    assert_eq!((plain.wrapped, plain.event.data.as_deref()), (true, Some(&b"21.5"[..])));
    assert_eq!((&*plain.event.id, &*plain.event.source), ("7", "/plant/t"));
}

proptest! {
    /// Whatever comes is read, and what is read can be published again.
    #[test]
    fn nothing_stops_a_reader(
        content_type in proptest::option::of("(application/cloudevents\\+json|text/plain|.{0,8})"),
        user in proptest::collection::vec(("(id|source|type|specversion|traceparent|meshgate-[a-z]{1,8}|.{0,6})", "(1.0|true|[a-z ]{0,9}|.{0,9})"), 0..12),
        payload in proptest::collection::vec(any::<u8>(), 0..40),
        expiry in proptest::option::of(any::<u32>()),
    ) {
        let user = user.into_iter().map(|(name, value)| (Str::from(name), Str::from(value))).collect();
        let properties = Properties { content_type: content_type.map(Str::from), user, expiry, ..Properties::default() };
        let message = unpack(properties, payload.into(), now(), native);
        prop_assert!(message.event.check().is_ok());
        let again = pack(&message, ContentMode::Binary, now()).expect("short texts");
        prop_assert_eq!(again.left_out, message.headers.iter().filter(|(name, value)| name.contains('\0') || value.contains(&0)).count());
    }
}
