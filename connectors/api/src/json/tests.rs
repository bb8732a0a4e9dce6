use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::event::{Event, InvalidEvent, Value};

mod oracle;

const ENVELOPE: &str = r#""specversion":"1.0","id":"1","source":"/a","type":"t""#;

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn bare() -> Event {
    Event { id: "1".into(), source: "/a".into(), kind: "t".into(), ..Event::default() }
}

/// The event of the required members and `more`.
fn decoded(more: &str) -> Result<Box<Event>, DecodeError> {
    decode(&bytes(&format!("{{{ENVELOPE}{more}}}")))
}

fn encoded(event: &Event) -> String {
    let mut text = Vec::new();
    encode_into(event, &[], &mut text);
    String::from_utf8(text).expect("JSON is UTF-8")
}

/// What an event of these members has for type and data.
fn data(more: &str) -> (Option<String>, Option<Bytes>) {
    let event = decoded(more).expect(more);
    (event.datacontenttype.map(|text| text.to_string()), event.data)
}

fn fault(more: &str) -> String {
    match decoded(more) {
        Err(DecodeError::Invalid(InvalidEvent { attribute, id, .. })) => {
            assert!(id.is_some(), "the id of {more}");
            attribute
        }
        other => panic!("{more} gave {other:?}"),
    }
}

#[test]
fn reads_every_attribute_in_any_order() {
    let text = bytes(
        r#" { "x" : true , "data" : [ 1 , 2.50 ] , "time":"2018-04-05T17:31:00Z", "n": -5, "dataschema":"urn:a", "type":"t",
        "subject":"a \"b\" ä \ud83d\ude00", "datacontenttype":"application/json","source":"/a","id":"\u0031",
        "\u0079":"z", "gone":null, "specversion":"1.0"} "#,
    );
    let event = Event {
        subject: Some("a \"b\" ä 😀".into()),
        time: Some("2018-04-05T17:31:00Z".into()),
        datacontenttype: Some("application/json".into()),
        dataschema: Some("urn:a".into()),
        extensions: vec![
            ("x".into(), Value::Boolean(true)),
            ("n".into(), Value::Integer(-5)),
            ("y".into(), Value::String("z".into())),
        ],
        data: Some(bytes("[ 1 , 2.50 ]")),
        ..bare()
    };
    assert_eq!(decode(&text), Ok(event.into()));
}

#[test]
fn texts_and_data_are_slices_of_the_input() {
    let text = bytes(&format!(r#"{{{ENVELOPE},"ext":"value","datacontenttype":"text/plain","data":"plain"}}"#));
    let within = |part: &[u8]| text.as_ptr_range().contains(&part.as_ptr());
    let event = decode(&text).expect("is an event");
    let (name, Value::String(value)) = &event.extensions[0] else { panic!("{event:?}") };
    for part in [&event.id, &event.source, &event.kind, name, value] {
        assert!(within(part.as_bytes()), "{part}");
    }
    assert!(within(&event.data.expect("has data")));
}

#[test]
fn data_is_what_the_format_says() {
    let json = || Some("application/json".to_owned());
    for (more, media_type, bytes) in [
        (r#","data":{"b":1,"a":1.0,"b":"\u00e4"}"#, json(), Some(r#"{"b":1,"a":1.0,"b":"\u00e4"}"#)),
        (r#","data":"text""#, json(), Some(r#""text""#)),
        (r#","data": null "#, json(), Some("null")),
        (r#","data":null,"datacontenttype":"a/b+json""#, Some("a/b+json".into()), Some("null")),
        (r#","data":null,"datacontenttype":"text/plain""#, Some("text/plain".into()), None),
        (r#","data":1.50,"datacontenttype":null"#, json(), Some("1.50")),
        (r#","data":"\"x\"\n","datacontenttype":"text/plain""#, Some("text/plain".into()), Some("\"x\"\n")),
        (r#","datacontenttype":"application/xml","data":"<a/>""#, Some("application/xml".into()), Some("<a/>")),
        (r#","datacontenttype":"image/png","data":{"a":1}"#, Some("image/png".into()), Some(r#"{"a":1}"#)),
        (
            r#","datacontenttype":"text/plain;charset=latin1","data":"a""#,
            Some("text/plain;charset=latin1".into()),
            Some("a"),
        ),
        (r#","data_base64":"AGE=""#, None, Some("\0a")),
        (r#","data_base64":"\u0041GE\u003d""#, None, Some("\0a")),
        (r#","data_base64":"""#, None, Some("")),
        (r#","data_base64":null"#, None, None),
        (r#","data_base64":"e30=","datacontenttype":"application/json""#, json(), Some("{}")),
        (r#","datacontenttype":"application/json""#, json(), None),
        ("", None, None),
    ] {
        assert_eq!(data(more), (media_type, bytes.map(|text| Bytes::from_static(text.as_bytes()))), "{more}");
    }
}

#[test]
fn names_the_member_that_is_wrong() {
    for (more, attribute) in [
        (r#","time":5"#, "time"),
        (r#","subject":true"#, "subject"),
        (r#","subject":"""#, "subject"),
        (r#","id":"2""#, "id"),
        (r#","subject":null,"subject":"a""#, "subject"),
        (r#","x":1,"x":1"#, "x"),
        (r#","x":1,"\u0078":1"#, "x"),
        (r#","x":null,"x":null"#, "x"),
        (r#","x":{"a":1}"#, "x"),
        (r#","x":[]"#, "x"),
        (r#","x":1.0"#, "x"),
        (r#","x":1e3"#, "x"),
        (r#","x":2147483648"#, "x"),
        (r#","x":"\ud800""#, "x"),
        (r#","x":"\u0000""#, "x"),
        (r#","camelCase":"x""#, "camelCase"),
        (r#","data":1,"data":1"#, "data"),
        (r#","data":1,"data_base64":"""#, "data_base64"),
        (r#","data_base64":"a""#, "data_base64"),
        (r#","data_base64":"AGE""#, "data_base64"),
        (r#","data_base64":5"#, "data_base64"),
        (r#","data_base64":{}"#, "data_base64"),
        (r#","data":"\udc00","datacontenttype":"text/plain""#, "data"),
        (r#","data":"ä","datacontenttype":"text/plain; charset=iso-8859-1""#, "data"),
        (r#","data":"a","datacontenttype":"text/plain; charset=utf-16""#, "data"),
        (r#","datacontenttype":"json","data":{}"#, "datacontenttype"),
    ] {
        assert_eq!(fault(more), attribute, "{more}");
    }
}

#[test]
fn names_what_is_missing() {
    for (text, attribute) in [
        ("{}", "specversion"),
        (r#"{"specversion":null,"id":"1","source":"/a","type":"t"}"#, "specversion"),
        (r#"{"specversion":"0.3","id":"1","source":"/a","type":"t"}"#, "specversion"),
        (r#"{"specversion":1.0,"id":"1","source":"/a","type":"t"}"#, "specversion"),
        (r#"{"specversion":"1.0","source":"/a","type":"t"}"#, "id"),
        (r#"{"specversion":"1.0","id":null,"source":"/a","type":"t"}"#, "id"),
        (r#"{"specversion":"1.0","id":"1","type":"t"}"#, "source"),
        (r#"{"specversion":"1.0","id":"1","source":"/a"}"#, "type"),
        (r#"{"specversion":"1.0","id":"","source":"/a","type":"t"}"#, "id"),
    ] {
        let Err(DecodeError::Invalid(fault)) = decode(&bytes(text)) else { panic!("{text} was taken") };
        assert_eq!(fault.attribute, attribute, "{text}");
    }
}

#[test]
fn says_where_broken_json_is_broken() {
    let malformed = |text: &[u8]| match decode(&Bytes::copy_from_slice(text)) {
        Err(DecodeError::Malformed(detail)) => detail,
        other => panic!("{other:?}"),
    };
    for (text, place) in [
        (&b""[..], "line 1 column 0"),
        (b"{\"id\":\"1\"", "line 1 column 9"),
        (b"{\"id\":\"1\",}", "line 1 column 11"),
        (b"{\"id\":\"1\"}\n}", "line 2 column 1"),
        (b"{\"id\":\"a\nb\"}", "control character"),
        (b"{\"data\":[1,]}", "line 1 column 12"),
        (b"{\"data\":01}", "line 1 column 10"),
        (b"{1:2}", "line 1 column 2"),
        (b"[1]", "expected a JSON object"),
        (b"\"text\"", "expected a JSON object"),
        (b"null", "expected a JSON object"),
        (b"\xEF\xBB\xBF{}", "line 1 column 1"),
        (b"{\"id\":\"\xFF\"}", "after byte 7"),
        (b"{\"data\":\"\xC0\xA0\"}", "after byte 9"),
        (b"{\"id\":\"\xE2\x82", "after byte 7"),
    ] {
        let detail = malformed(text);
        assert!(detail.contains(place), "{} gave {detail}", String::from_utf8_lossy(text));
    }
}

#[test]
fn depth_is_no_danger() {
    let depth = 1_000_000;
    let deep = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let event = decoded(&format!(r#","data":{deep}"#)).expect("is an event");
    assert_eq!(event.data.as_ref().map(Bytes::len), Some(2 * depth));
    assert!(encoded(&event).ends_with(&format!(r#""data":{deep}}}"#)));
    assert!(matches!(decoded(&format!(r#","data":{}"#, "[".repeat(depth))), Err(DecodeError::Malformed(_))));
    assert_eq!(fault(&format!(r#","x":{deep}"#)), "x");
    assert!(matches!(decode_batch(&bytes(&deep)), Ok(events) if events.len() == 1 && events[0].is_err()));
}

#[test]
fn batch_errors_stand_apart() {
    let text = format!(
        r#" [ {{{ENVELOPE}}} , {{"specversion":"1.0","id":"2","source":"/a"}}, 5, {{}}, {{{ENVELOPE},"data":[1]}} ] "#
    );
    let events = decode_batch(&bytes(&text)).expect("is a batch");
    let ids: Vec<_> = events
        .iter()
        .map(|event| match event {
            Ok(event) => Ok(&*event.id),
            Err(error) => Err(error.id().map(|id| &**id)),
        })
        .collect();
    assert_eq!(ids, [Ok("1"), Err(Some("2")), Err(None), Err(None), Ok("1")]);
    assert_eq!(decode_batch(&bytes("[]")), Ok(vec![]));
}

#[test]
fn a_broken_batch_is_one_error() {
    for text in ["", "{}", "[{]", "[{},]", "[{}] x", "[{\"id\":\"\\x\"}]", "5"] {
        assert!(matches!(decode_batch(&bytes(text)), Err(DecodeError::Malformed(_))), "{text}");
    }
    let faults = |count: usize| format!("[{}1]", "1,".repeat(count - 1));
    assert_eq!(decode_batch(&bytes(&faults(MAX_FAULTS))).map(|events| events.len()), Ok(MAX_FAULTS));
    assert!(decode_batch(&bytes(&faults(MAX_FAULTS + 1))).is_err());
}

#[test]
fn writes_members_in_order_on_one_line() {
    let event = Event {
        subject: Some("a\"\\\u{2028}".into()),
        time: Some("2018-04-05T17:31:00Z".into()),
        datacontenttype: Some("Application/JSON; charset=utf-8".into()),
        dataschema: Some("urn:a".into()),
        extensions: vec![
            ("b".into(), Value::Boolean(false)),
            ("n".into(), Value::Integer(7)),
            ("meshgatecursor".into(), Value::String("old".into())),
            ("s".into(), Value::Binary(Bytes::from_static(b"\0"))),
        ],
        data: Some(bytes("{\r\n  \"a\" : [1.0,\n2]\n}\n")),
        ..bare()
    };
    let mut text = b"data: ".to_vec();
    encode_into(&event, &[("meshgatecursor", "new"), ("meshgatechannel", "a/b")], &mut text);
    assert_eq!(
        String::from_utf8(text).expect("is UTF-8"),
        concat!(
            r#"data: {"specversion":"1.0","id":"1","source":"/a","type":"t","subject":"a\"\\"#,
            "\u{2028}",
            r#"","time":"2018-04-05T17:31:00Z","datacontenttype":"Application/JSON; charset=utf-8","dataschema":"urn:a","#,
            r#""b":false,"n":7,"s":"AA==","meshgatecursor":"new","meshgatechannel":"a/b","#,
            r#""data":{    "a" : [1.0, 2] } }"#
        )
    );
}

#[test]
fn chooses_the_member_that_keeps_the_bytes() {
    for (media_type, data, member) in [
        ("application/json", &b"{\"a\":1}"[..], r#""data":{"a":1}}"#),
        ("application/vnd.a+json", b" 1 ", r#""data": 1 }"#),
        ("text/json", b"\"a\"", r#""data":"a"}"#),
        ("application/json", b"{\"a\":1", r#""data_base64":"eyJhIjox"}"#),
        ("application/json", b"\"\xFF\"", r#""data_base64":"Iv8i"}"#),
        ("application/json", b"", r#""data_base64":""}"#),
        ("application/json; charset=utf-16", b"1", r#""data_base64":"MQ=="}"#),
        ("application/json", b"1 1", r#""data_base64":"MSAx"}"#),
        ("text/plain", b"", r#""data":""}"#),
        ("text/plain", b"a\r\n\t\x01\x1f\"\\", r#""data":"a\r\n\t\u0001\u001f\"\\"}"#),
        ("application/xml", "<ä/>".as_bytes(), r#""data":"<ä/>"}"#),
        ("text/plain; charset=iso-8859-1", "ä".as_bytes(), r#""data_base64":"w6Q="}"#),
        ("text/plain", b"\xE4", r#""data_base64":"5A=="}"#),
        ("application/octet-stream", b"a", r#""data_base64":"YQ=="}"#),
    ] {
        let event =
            Event { datacontenttype: Some(media_type.into()), data: Some(Bytes::copy_from_slice(data)), ..bare() };
        assert!(encoded(&event).ends_with(member), "{media_type}: {}", encoded(&event));
    }
    let untyped = Event { data: Some(bytes("{}")), ..bare() };
    assert!(encoded(&untyped).ends_with(r#""data_base64":"e30="}"#));
    assert!(encoded(&bare()).ends_with(r#""type":"t"}"#));
}

fn texts() -> impl Strategy<Value = String> {
    proptest::string::string_regex("[ -~äß€😀\u{a0}\u{2028}]{1,12}").expect("is a pattern")
}

/// Values that JSON tells apart: it has no types but these three.
fn values() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<bool>().prop_map(Value::Boolean),
        any::<i32>().prop_map(Value::Integer),
        texts().prop_map(|text| Value::String(text.into())),
    ]
}

fn media_types() -> impl Strategy<Value = Option<&'static str>> {
    prop_oneof![
        Just(None),
        Just(Some("application/json")),
        Just(Some("text/plain")),
        Just(Some("text/plain; charset=iso-8859-1")),
        Just(Some("application/octet-stream")),
    ]
}

fn datas() -> impl Strategy<Value = Option<Bytes>> {
    let json = prop_oneof![Just("{\"a\" :  1.0}"), Just("null"), Just("\"a\\n\""), Just("[]"), Just("{"), Just("")];
    proptest::option::of(prop_oneof![
        json.prop_map(bytes),
        texts().prop_map(Bytes::from),
        proptest::collection::vec(any::<u8>(), 0..20).prop_map(Bytes::from),
    ])
}

prop_compose! {
    fn events()(
        id in texts(),
        subject in proptest::option::of(texts()),
        extensions in proptest::collection::btree_map("[a-z0-9]{13,15}", values(), 0..5),
        media_type in media_types(),
        data in datas(),
    ) -> Event {
        Event {
            id: id.into(),
            subject: subject.map(Into::into),
            extensions: extensions.into_iter().map(|(name, value)| (name.into(), value)).collect(),
            datacontenttype: media_type.map(Into::into),
            data,
            ..bare()
        }
    }
}

/// JSON data is the same text, but for the space around and between its tokens.
fn normal(mut event: Event) -> Event {
    if event.datacontenttype.as_deref() == Some("application/json") {
        let trim = |data: Bytes| {
            let text = std::str::from_utf8(&data)
                .ok()
                .filter(|text| serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok());
            text.map_or_else(|| data.clone(), |text| bytes(text.trim()))
        };
        event.data = event.data.map(trim);
    }
    event
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(event in events()) {
        prop_assert_eq!(event.check(), Ok(()));
        let text = encoded(&event);
        prop_assert!(!text.contains(['\n', '\r']));
        prop_assert_eq!(decode(&bytes(&text)), Ok(normal(event).into()), "{}", text);
    }

    #[test]
    fn foreign_bytes_never_panic(start in "\\{?(\"[a-z\\\\]{0,3}\":(\"x\"|1|null),?){0,3}", rest in proptest::collection::vec(any::<u8>(), 0..30)) {
        let text = Bytes::from([start.as_bytes(), &rest].concat());
        if let Ok(event) = decode(&text) {
            prop_assert_eq!(event.check(), Ok(()));
        }
        prop_assert!(decode_batch(&text).is_err());
    }
}
