use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::*;

fn event() -> Event {
    Event { id: "1".into(), source: "/a".into(), kind: "t".into(), ..Event::default() }
}

/// The attribute that makes the event with `name` set to `value` invalid, if one does.
fn fault(name: &str, value: &str) -> Option<String> {
    let mut event = event();
    event.set(name, value.into());
    event.check().err().map(|fault| fault.attribute)
}

#[test]
fn accepts_what_the_specification_allows() {
    for (name, value) in [
        ("id", "Ünïcode 😀 with spaces"),
        ("source", "https://acme.example/cloudevents/spec/pull/123"),
        ("source", "mailto:cncf@example.org"),
        ("source", "urn:uuid:6e8bc430-9c3a-11d9-9669-0800200c9a66"),
        ("source", "1-555-123-4567"),
        ("source", "/sensors/tn-1234567/alerts?x=%20#f"),
        ("type", "com.github.pull_request.opened"),
        ("subject", "mynewfile.jpg"),
        ("time", "2018-04-05T17:31:00Z"),
        ("time", "2018-04-05t17:31:00.123456789+05:30"),
        ("time", "1990-12-31T23:59:60Z"),
        ("datacontenttype", "text/xml"),
        ("datacontenttype", "application/vnd.a+json; charset=\"utf-8\"; v=1"),
        ("dataschema", "https://acme.example/schema.json#Order"),
        ("dataschema", "urn:schema:1"),
        ("comexampleextension1", ""),
        ("1", "value"),
        ("averyveryverylongattributename", "value"),
    ] {
        assert_eq!(fault(name, value), None, "{name}={value}");
    }
}

#[test]
fn names_the_attribute_that_is_wrong() {
    for (name, value) in [
        ("id", ""),
        ("id", "a\nb"),
        ("id", "a\u{7f}"),
        ("id", "a\u{85}"),
        ("id", "a\u{fdd0}"),
        ("id", "a\u{1ffff}"),
        ("source", ""),
        ("source", "a b"),
        ("source", "/ä"),
        ("source", "/%zz"),
        ("source", "http://[::1"),
        ("type", ""),
        ("type", "a\tb"),
        ("subject", ""),
        ("subject", "\0"),
        ("time", ""),
        ("time", "2018-04-05"),
        ("time", "2018-04-05 17:31:00Z"),
        ("time", "2018-04-05T17:31:00"),
        ("time", "2018-02-30T17:31:00Z"),
        ("time", "2018-04-05T25:00:00Z"),
        ("datacontenttype", ""),
        ("datacontenttype", "json"),
        ("datacontenttype", "/json"),
        ("datacontenttype", "text/"),
        ("datacontenttype", "text/plain, text/html"),
        ("datacontenttype", "text/plain; charset=ä"),
        ("dataschema", ""),
        ("dataschema", "schema.json"),
        ("dataschema", "/schema.json"),
        ("Upper", "x"),
        ("with_underscore", "x"),
        ("with-dash", "x"),
        ("ä", "x"),
        ("data", "x"),
        ("", "x"),
        ("extension", "a\rb"),
    ] {
        assert_eq!(fault(name, value).as_deref(), Some(name), "{name}={value:?}");
    }
}

#[test]
fn checks_typed_extensions_by_their_type() {
    for (value, valid) in [
        (Value::Boolean(true), true),
        (Value::Integer(i32::MIN), true),
        (Value::Binary(Bytes::from_static(&[0, 255])), true),
        (Value::Uri("urn:a".into()), true),
        (Value::Uri("/a".into()), false),
        (Value::UriReference("/a".into()), true),
        (Value::UriReference("a b".into()), false),
        (Value::Timestamp("2018-04-05T17:31:00Z".into()), true),
        (Value::Timestamp("yesterday".into()), false),
    ] {
        let event = Event { extensions: vec![("x".into(), value.clone())], ..event() };
        assert_eq!(event.check().is_ok(), valid, "{value:?}");
    }
}

#[test]
fn canonical_strings_are_those_of_the_specification() {
    for (value, canonical) in [
        (Value::Boolean(false), "false"),
        (Value::Integer(-5), "-5"),
        (Value::Binary(Bytes::from_static(&[251, 255])), "+/8="),
        (Value::String("ä".into()), "ä"),
    ] {
        assert_eq!(value.canonical(), canonical);
    }
}

#[test]
fn what_is_set_is_found_and_visited() {
    let mut event = Event::default();
    let names = ["id", "source", "type", "subject", "time", "datacontenttype", "dataschema", "one", "two"];
    for name in names {
        event.set(name, format!("value of {name}").into());
    }
    event.set("one", "again".into());
    event.set("specversion", "0.3".into());
    let mut visited = Vec::new();
    event.for_each_attribute(|name, value| {
        assert_eq!(event.attribute(name).as_deref(), Some(&*value));
        visited.push(name);
    });
    assert_eq!(visited, names);
    assert_eq!(event.attribute("one").as_deref(), Some("again"));
    assert_eq!(event.attribute("specversion").as_deref(), Some("1.0"));
    assert_eq!(event.attribute("three"), None);
}

#[test]
fn reserved_types_are_all_but_the_wrapped() {
    for (kind, reserved) in
        [(WRAPPED_TYPE, false), ("io.meshgate.receipt", true), ("io.meshgate.rawer", true), ("io.meshgates", false)]
    {
        assert_eq!(Event { kind: kind.into(), ..event() }.has_reserved_type(), reserved, "{kind}");
    }
}

#[test]
fn times_become_timestamps() {
    let after = |millis| UNIX_EPOCH + Duration::from_millis(millis);
    for (time, text) in [
        (UNIX_EPOCH, Some("1970-01-01T00:00:00Z")),
        (after(1_769_860_800_120), Some("2026-01-31T12:00:00.12Z")),
        (UNIX_EPOCH - Duration::from_millis(1), Some("1969-12-31T23:59:59.999Z")),
        (after(i64::MAX as u64), None),
    ] {
        assert_eq!(timestamp(time).as_deref(), text);
    }
    let now = timestamp(SystemTime::now()).expect("now is within the years");
    assert!(parse_timestamp(&now).is_some());
}

fn draft(attributes: &[(&str, &str)]) -> Draft {
    let mut draft = Draft::default();
    for (name, value) in attributes {
        draft.put(name, Some(Value::String((*value).into())), || (*name).into());
    }
    draft
}

const REQUIRED: [(&str, &str); 4] = [("type", "t"), ("id", "1"), ("source", "/a"), ("specversion", "1.0")];

#[test]
fn a_complete_draft_is_an_event() {
    assert_eq!(draft(&REQUIRED).finish(None), Ok(Box::new(event())));
}

#[test]
fn a_draft_names_its_first_fault_and_the_id() {
    for (more, attribute) in [
        (&[("id", "2")][..], "id"),
        (&[("x", "1"), ("x", "2")], "x"),
        (&[("x", "1"), ("x", "2"), ("id", "2")], "id"),
        (&[("subject", "")], "subject"),
    ] {
        let mut draft = draft(more);
        for (name, value) in REQUIRED {
            draft.put(name, Some(Value::String(value.into())), Str::new);
        }
        let fault = draft.finish(None).expect_err("is refused");
        assert_eq!(fault.attribute, attribute);
        assert!(fault.id.is_some());
    }
    for at in 0..REQUIRED.len() {
        let mut some = REQUIRED.to_vec();
        let (missing, _) = some.remove(at);
        let fault = draft(&some).finish(None).expect_err("is refused");
        assert_eq!((&*fault.attribute, &*fault.reason), (missing, "is missing"));
        assert_eq!(fault.id.is_none(), missing == "id");
    }
    let fault = draft(&[("specversion", "1.0")]).finish(None).expect_err("is refused");
    assert_eq!(fault.to_string(), "attribute `id` is missing; also missing: `source`, `type`");
}

#[test]
fn another_version_comes_before_all_other_faults() {
    let mut draft = draft(&[("subject", "a"), ("subject", "b"), ("specversion", "0.3")]);
    draft.fault(InvalidEvent::new("extensions", "must be a string"));
    assert_eq!(draft.finish(None).expect_err("is refused").attribute, "specversion");
}

#[test]
fn unset_attributes_are_absent_but_not_twice() {
    let mut unset = draft(&REQUIRED);
    for name in ["subject", "x"] {
        unset.put(name, None, || name.into());
    }
    assert_eq!(unset.finish(None), Ok(Box::new(event())));
    for name in ["subject", "x"] {
        let mut twice = draft(&REQUIRED);
        twice.put(name, None, || name.into());
        twice.put(name, Some(Value::String("a".into())), || name.into());
        assert_eq!(twice.finish(None).expect_err("is refused").attribute, name);
    }
}

#[test]
fn a_draft_agrees_with_what_says_the_same() {
    let event = Event { extensions: vec![("n".into(), Value::Integer(5))], ..event() };
    assert!(draft(&[("id", "1"), ("n", "5")]).agrees_with(&event));
    assert!(draft(&[]).agrees_with(&event));
    for other in [("id", "2"), ("n", "6"), ("x", "1"), ("subject", "s"), ("specversion", "0.3")] {
        assert!(!draft(&[other]).agrees_with(&event), "{other:?}");
    }
}
