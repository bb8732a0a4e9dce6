use axum::http::{HeaderName, HeaderValue};
use meshgate_api::{
    event::{Value, WRAPPED_TYPE, parse_timestamp},
    outcome::Rejection,
};
use proptest::prelude::*;

use super::*;

const REQUIRED: [(&str, &str); 4] = [("ce-specversion", "1.0"), ("ce-id", "1"), ("ce-source", "/a"), ("ce-type", "t")];
const EVENT: &str = r#"{"specversion":"1.0","id":"1","source":"/a","type":"t","data":[1]}"#;

fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        let name = HeaderName::try_from(*name).expect("is a name");
        headers.append(name, HeaderValue::from_bytes(value.as_bytes()).expect("is a value"));
    }
    headers
}

fn decoded(pairs: &[(&str, &str)], body: &str) -> Result<Decoded, DecodeError> {
    decode(&headers(pairs), Bytes::copy_from_slice(body.as_bytes()), "a/b")
}

fn one(pairs: &[(&str, &str)], body: &str) -> Message {
    match decoded(pairs, body) {
        Ok(Decoded::One(message)) => Arc::unwrap_or_clone(message),
        other => panic!("{pairs:?} gave {other:?}"),
    }
}

/// The required attributes and `more`.
fn binary(more: &[(&str, &str)], body: &str) -> Result<Decoded, DecodeError> {
    decoded(&[&REQUIRED[..], more].concat(), body)
}

fn bare() -> Event {
    Event { id: "1".into(), source: "/a".into(), kind: "t".into(), ..Event::default() }
}

#[test]
fn binary_attributes_are_headers() {
    let message = one(
        &[
            ("Ce-SpecVersion", "1.0"),
            ("ce-type", "t"),
            ("ce-one", "1"),
            ("ce-source", "/a"),
            ("ce-id", "1"),
            ("ce-subject", "s"),
            ("ce-time", "2018-04-05T17:31:00Z"),
            ("ce-dataschema", "urn:a"),
            ("content-type", "application/json; charset=utf-8"),
            ("host", "localhost"),
            ("x-other", "1"),
            ("ce-two", "true"),
        ],
        "{ }",
    );
    let event = Event {
        subject: Some("s".into()),
        time: Some("2018-04-05T17:31:00Z".into()),
        dataschema: Some("urn:a".into()),
        datacontenttype: Some("application/json; charset=utf-8".into()),
        extensions: vec![("one".into(), Value::String("1".into())), ("two".into(), Value::String("true".into()))],
        data: Some(Bytes::from_static(b"{ }")),
        ..bare()
    };
    assert_eq!(message, Message { channel: Some("a/b".into()), event: Box::new(event), ..Message::default() });
}

#[test]
fn header_values_are_decoded_once() {
    for (value, text) in [
        ("plain", "plain"),
        ("Euro%20%E2%82%AC%20%F0%9F%98%80", "Euro € 😀"),
        ("%e2%82%ac", "€"),
        ("%41%42", "AB"),
        ("100%2525", "100%25"),
        ("with space", "with space"),
        ("a+b", "a+b"),
        ("\"quoted\"", "quoted"),
        ("\"a \\\"b\\\" \\\\\"", "a \"b\" \\"),
        ("a\\b", "a\\b"),
        ("\"a\" and \"b\"", "a and b"),
        ("\"%22\"", "\""),
        ("\"%4\"1", "A"),
    ] {
        let mut pairs = REQUIRED;
        pairs[1].1 = value;
        assert_eq!(one(&pairs, "").event.id, text, "{value}");
    }
}

#[test]
fn bad_headers_are_named() {
    for (name, value, fault) in [
        ("ce-x", "%", "`x` has a `%`"),
        ("ce-x", "%4", "`x` has a `%`"),
        ("ce-x", "%zz", "`x` has a `%`"),
        ("ce-x", "%+1", "`x` has a `%`"),
        ("ce-x", "%C0%A0", "`x` is percent-encoded, but not from UTF-8"),
        ("ce-x", "%E2%82", "`x` is percent-encoded, but not from UTF-8"),
        ("ce-x", "%ED%A0%80", "`x` is percent-encoded, but not from UTF-8"),
        ("ce-x", "€", "`x` must be printable ASCII"),
        ("ce-x", "a\tb", "`x` must be printable ASCII"),
        ("ce-x", "%00", "`x` must not hold control characters"),
        ("ce-x", "\"a", "`x` has a double quote"),
        ("ce-x", "\"a\\\"", "`x` has a double quote"),
        ("ce-id", "2", "`id` is given more than once"),
        ("ce-my-name", "x", "`my-name` is no attribute name"),
        ("ce-my_name", "x", "`my_name` is no attribute name"),
        ("ce-", "x", "`` is no attribute name"),
        ("ce-data", "x", "`data` is not allowed"),
        ("ce-datacontenttype", "text/plain", "`datacontenttype` travels as the header `content-type`"),
        ("ce-subject", "", "`subject` must not be empty"),
        ("ce-time", "now", "`time` must be an RFC 3339 timestamp"),
        ("ce-dataschema", "/a", "`dataschema` must be an absolute URI"),
        ("content-type", "json", "`datacontenttype` must be a media type"),
        ("content-type", "", "`datacontenttype` must be a media type"),
        ("content-type", "text/plain; x=ä", "`datacontenttype` must be a media type"),
    ] {
        let error = binary(&[(name, value)], "").expect_err(value);
        assert_eq!(error.reason, Rejection::BadEvent, "{name}: {value}");
        assert!(error.detail.contains(fault), "{name}: {value} gave {error}");
        assert_eq!(error.id.as_deref(), Some("1"), "{name}: {value}");
    }
    let twice = [("ce-x", "1"), ("ce-x", "1")];
    assert!(binary(&twice, "").expect_err("is refused").detail.contains("`x` is given more than once"));
    let typed = [("content-type", "a/b"), ("content-type", "a/b")];
    assert!(binary(&typed, "").expect_err("is refused").detail.contains("`content-type`"));
}

#[test]
fn required_attributes_are_named() {
    for at in 0..REQUIRED.len() {
        let mut pairs = REQUIRED.to_vec();
        let (missing, _) = pairs.remove(at);
        let error = decoded(&pairs, "").expect_err(missing);
        assert_eq!(error.detail, format!("header `{missing}` is missing"));
    }
    for (at, value, fault) in [
        (0, "0.3", "`specversion` must be \"1.0\""),
        (0, "", "`specversion` must be \"1.0\""),
        (1, "", "`id` must not be empty"),
        (2, "a b", "`source` must be a URI-reference"),
        (2, "%20", "`source` must be a URI-reference"),
        (3, "", "`type` must not be empty"),
        (3, "io.meshgate.receipt", "`type` must not begin with io.meshgate."),
    ] {
        let mut pairs = REQUIRED;
        pairs[at].1 = value;
        let error = decoded(&pairs, "").expect_err(value);
        assert!(error.detail.contains(fault), "{error}");
    }
    let all = "header `ce-specversion` is missing; also missing: `ce-id`, `ce-source`, `ce-type`";
    assert_eq!(decoded(&[("ce-x", "1")], EVENT).expect_err("is binary").detail, all);
}

#[test]
fn an_empty_body_is_data_only_with_a_type() {
    let typed = [("content-type", "text/plain")];
    for (pairs, body, data) in
        [(&[][..], "", None), (&typed, "", Some(&b""[..])), (&[], "x", Some(b"x")), (&typed, "x", Some(b"x"))]
    {
        let Ok(Decoded::One(message)) = binary(pairs, body) else { panic!("{pairs:?} is refused") };
        assert_eq!(message.event.data.as_deref(), data);
        assert_eq!(one(pairs, body).event.data.as_deref(), data, "wrapped");
    }
    assert_eq!(one(&[("content-type", "nonsense")], "").event.data, Some(Bytes::new()));
}

#[test]
fn anything_else_is_wrapped() {
    for (content_type, kept) in
        [("application/json", true), ("text/plain; charset=latin1", true), ("nonsense", false), ("a/ä", false)]
    {
        let message = one(&[("content-type", content_type), ("cloudevents-id", "1")], EVENT);
        let event = message.event;
        assert!(message.wrapped);
        assert_eq!((&*event.source, &*event.kind), ("/http", WRAPPED_TYPE));
        assert_eq!(event.datacontenttype.as_deref(), kept.then_some(content_type));
        assert_eq!(event.data.as_deref(), Some(EVENT.as_bytes()));
        assert_eq!(uuid::Uuid::parse_str(&event.id).map(|id| id.get_version_num()), Ok(7));
        assert!(event.time.as_deref().and_then(parse_timestamp).is_some());
        assert_eq!(event.check(), Ok(()));
        assert_eq!(message.channel.as_deref(), Some("a/b"));
    }
    assert_ne!(one(&[], "x").event.id, one(&[], "x").event.id);
}

#[test]
fn structured_and_batch_are_told_by_the_content_type() {
    for content_type in [
        "application/cloudevents+json",
        "Application/CloudEvents+JSON;charset=UTF-8",
        "application/cloudevents+json; charset=\"utf-8\"",
    ] {
        let message = one(&[("content-type", content_type)], EVENT);
        assert!(!message.wrapped);
        assert_eq!(message.event.data.as_deref(), Some(&b"[1]"[..]));
        assert_eq!(message.event.datacontenttype.as_deref(), Some("application/json"));
    }
    let batch = [("content-type", "application/cloudevents-batch+json; charset=utf-8")];
    assert_eq!(decoded(&batch, "[]"), Ok(Decoded::Batch(vec![])));
    let text =
        format!(r#"[{EVENT},{{"id":"2"}},{{"specversion":"1.0","id":"3","source":"/a","type":"io.meshgate.ack"}}]"#);
    let Ok(Decoded::Batch(messages)) = decoded(&batch, &text) else { panic!("is a batch") };
    assert_eq!(messages.len(), 3);
    assert_eq!(messages[0].as_ref().map(|message| &*message.event.id), Ok("1"));
    for (at, id) in [(1, "2"), (2, "3")] {
        assert_eq!(messages[at].as_ref().expect_err("is refused").id.as_deref(), Some(id));
    }
    for (text, detail) in [("[", "line 1 column 1"), ("{}", "sequence"), ("", "line 1 column 0")] {
        let error = decoded(&batch, text).expect_err(text);
        assert!(error.detail.contains(detail), "{error}");
    }
    for text in ["", "{", "[]", "{}", "{\"id\":\"1\"}"] {
        let error = decoded(&[("content-type", "application/cloudevents+json")], text).expect_err(text);
        assert_eq!(error.reason, Rejection::BadEvent);
    }
}

#[test]
fn other_encodings_are_not_supported() {
    for pair in [
        ("content-type", "application/cloudevents"),
        ("content-type", "application/cloudevents+avro"),
        ("content-type", "APPLICATION/CLOUDEVENTS-batch+xml"),
        ("content-type", "application/cloudevents+json; charset=utf-16"),
        ("content-type", "application/cloudevents-batch+json; charset=latin1"),
        ("content-encoding", "gzip"),
        ("content-encoding", "identity, br"),
        ("content-encoding", "ä"),
    ] {
        let error = decoded(&[pair], EVENT).expect_err(pair.1);
        assert_eq!(error.reason, Rejection::UnsupportedType, "{error}");
        assert!(error.detail.contains(pair.0), "{error}");
    }
    assert!(binary(&[("content-encoding", "gzip")], "").is_err());
    assert!(binary(&[("content-encoding", "Identity")], "").is_ok());
    let Ok(Decoded::One(message)) = binary(&[("content-type", "application/cloudevents+avro")], "x") else {
        panic!("attributes make it binary")
    };
    assert_eq!(message.event.datacontenttype.as_deref(), Some("application/cloudevents+avro"));
}

#[test]
fn attributes_beside_an_event_are_copies_or_another_event() {
    let structured = ("content-type", "application/cloudevents+json");
    let inner = one(&[structured], EVENT);
    assert_eq!(one(&[structured, ("ce-id", "1")], EVENT), inner);
    let Ok(Decoded::One(copied)) = binary(&[structured], EVENT) else { panic!("is refused") };
    assert_eq!(*copied, inner);
    let mut pairs = [&REQUIRED[..], &[structured]].concat();
    pairs[1].1 = "2";
    let outer = one(&pairs, EVENT).event;
    assert_eq!((&*outer.id, outer.data.as_deref()), ("2", Some(EVENT.as_bytes())));
    assert_eq!(outer.datacontenttype.as_deref(), Some(structured.1));
    assert!(decoded(&[structured, ("ce-id", "2")], EVENT).is_err());
    assert!(decoded(&[structured, ("ce-id", "1")], "{").is_err());
    let Ok(Decoded::One(envelope)) = binary(&[("content-type", "application/cloudevents-batch+json")], "[]") else {
        panic!("is binary")
    };
    assert_eq!(envelope.event.data, Some(Bytes::from_static(b"[]")));
}

#[test]
fn only_the_trace_context_and_the_hops_travel() {
    let trace = [
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("tracestate", "a=1"),
        ("tracestate", "b=2"),
        ("meshgate-hops", "8"),
    ];
    let more = [("baggage", "x=1"), ("meshgate-channel", "x"), ("authorization", "x")];
    let pairs = [&trace[..], &more].concat();
    let expected: Headers =
        trace.iter().map(|(name, value)| ((*name).into(), Bytes::from_static(value.as_bytes()))).collect();
    assert_eq!(one(&pairs, "x").headers, expected);
    assert_eq!(
        one(&[&pairs[..], &[("content-type", "application/cloudevents+json")]].concat(), EVENT).headers,
        expected
    );
    let Ok(Decoded::One(message)) = binary(&pairs, "") else { panic!("is refused") };
    assert_eq!(message.headers, expected);
    for hops in ["0", "9", "10", "x", ""] {
        assert_eq!(one(&[("meshgate-hops", hops)], "x").headers, [], "{hops}");
    }
    let mut broken = headers(&[]);
    broken.insert("traceparent", HeaderValue::from_bytes(b"\xFF").expect("is opaque"));
    let Ok(Decoded::One(message)) = decode(&broken, Bytes::new(), "a") else { panic!("is refused") };
    assert_eq!(message.headers, []);
}

#[test]
fn what_readers_were_shown_is_taken_off() {
    let text = EVENT.replace("\"data\"", r#""meshgatecursor":"c","meshgatechannel":"d","kept":1,"data""#);
    let structured = one(&[("content-type", "application/cloudevents+json")], &text);
    assert_eq!(structured.event.extensions, [("kept".into(), Value::Integer(1))]);
    let Ok(Decoded::One(message)) = binary(&[("ce-meshgatecursor", "c"), ("ce-meshgatechannel", "d")], "") else {
        panic!("is refused")
    };
    assert_eq!(message.event, Box::new(bare()));
    assert_eq!(message.channel.as_deref(), Some("a/b"));
}

#[test]
fn texts_share_one_buffer() {
    let message =
        one(&[&REQUIRED[..], &[("ce-ext", "value"), ("content-type", "a/b"), ("traceparent", "00")]].concat(), "");
    let event = message.event;
    let (name, Value::String(value)) = &event.extensions[0] else { panic!("{event:?}") };
    let content_type = event.datacontenttype.as_ref().expect("has a type");
    let mut texts =
        [&event.id, &event.source, &event.kind, name, value, content_type].map(|text| text.as_bytes().as_ptr_range());
    texts.sort_by_key(|range| range.start);
    // "specversion1.0" is what stands there and is kept by none; names stand before their values.
    let span = texts[5].end as usize - texts[0].start as usize;
    assert!(span <= "id1source/atypetextvaluea/bspecversion1.000".len(), "{span} bytes");
}

fn texts() -> impl Strategy<Value = String> {
    proptest::string::string_regex("[ -~äß€😀\u{a0}]{0,12}").expect("is a pattern")
}

prop_compose! {
    fn events()(
        id in texts(),
        subject in proptest::option::of(texts()),
        extensions in proptest::collection::btree_map("[a-z0-9]{13,15}", texts(), 0..6),
        media_type in proptest::option::of(Just("text/plain; charset=utf-8")),
        data in proptest::option::of(proptest::collection::vec(any::<u8>(), 1..20)),
    ) -> Event {
        Event {
            id: format!("x{id}").into(),
            subject: subject.map(|text| format!("{text}x").into()),
            extensions: extensions.into_iter().map(|(name, text)| (name.into(), Value::String(text.into()))).collect(),
            // Without a type and without bytes there is no data: what has a type has data.
            data: data.map(Bytes::from).or(media_type.map(|_| Bytes::new())),
            datacontenttype: media_type.map(Into::into),
            ..bare()
        }
    }
}

proptest! {
    #[test]
    fn what_is_sent_is_received(event in events()) {
        let mut headers = HeaderMap::new();
        prop_assert_eq!(encode_headers(&event, &mut headers), Ok(()));
        for (name, value) in &headers {
            let plain = |byte: &u8| name == "content-type" || (byte.is_ascii_graphic() && *byte != b'"');
            prop_assert!(value.as_bytes().iter().all(plain), "{:?}", value);
        }
        let body = event.data.clone().unwrap_or_default();
        let Ok(Decoded::One(received)) = decode(&headers, body, "a") else {
            return Err(TestCaseError::fail("is refused"));
        };
        prop_assert_eq!(&*received.event, &event);
    }

    #[test]
    fn foreign_headers_never_panic(
        pairs in proptest::collection::vec(("(ce-)?(id|source|type|specversion|x|content-type|[a-z-]{1,4})", proptest::collection::vec(0x20_u8..=255, 0..8)), 0..9),
        body in proptest::collection::vec(any::<u8>(), 0..20),
    ) {
        let mut headers = HeaderMap::new();
        for (name, value) in &pairs {
            if let (Ok(name), Ok(value)) = (HeaderName::try_from(name.as_str()), HeaderValue::from_bytes(value)) {
                headers.append(name, value);
            }
        }
        if let Ok(Decoded::One(message)) = decode(&headers, Bytes::from(body), "a") {
            prop_assert_eq!(message.event.check(), Ok(()));
        }
    }
}
