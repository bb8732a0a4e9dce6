use super::*;

fn event() -> Event {
    Event {
        id: "1".into(),
        source: "/plant/7".into(),
        kind: "com.acme.reading".into(),
        subject: Some("line 3".into()),
        time: Some("2026-01-31T12:00:00+00:00".into()),
        datacontenttype: Some("application/json".into()),
        dataschema: Some("https://acme.example/reading.json".into()),
        extensions: vec![("unit".into(), Value::String("°C".into()))],
        data: Some(Bytes::from_static(b"{ \"b\":1, \"a\":1.0 }")),
    }
}

fn through(event: Event) -> Result<Event, InvalidEvent> {
    SdkEvent::try_from(event).expect("the other crate takes it").try_into()
}

#[test]
fn survives_the_way_there_and_back() {
    assert_eq!(through(event()), Ok(event()));
    let bare = Event { id: "1".into(), source: "a".into(), kind: "t".into(), ..Event::default() };
    assert_eq!(through(bare.clone()), Ok(bare.clone()));
    let untyped = Event { data: Some(Bytes::from_static(&[0, 255])), ..bare.clone() };
    assert_eq!(through(untyped.clone()), Ok(untyped));
    for value in [Value::Boolean(true), Value::Integer(i32::MIN)] {
        let typed = Event { extensions: vec![("x".into(), value)], ..bare.clone() };
        assert_eq!(through(typed.clone()), Ok(typed));
    }
}

#[test]
fn time_becomes_utc() {
    let local = Event { time: Some("2026-01-31T13:00:00+01:00".into()), ..event() };
    assert_eq!(through(local), Ok(event()));
}

#[test]
fn data_of_the_other_crate_keeps_its_meaning() {
    let with = |data: Data| {
        let mut event = EventBuilderV10::new().id("1").source("a").ty("t").build().expect("is complete");
        event.set_data_unchecked(data);
        Event::try_from(event).map(|event| (event.datacontenttype, event.data))
    };
    let json = Some(Str::from_static("application/json"));
    assert_eq!(with(Data::Json(serde_json::json!({ "a": 1 }))), Ok((json, Some(Bytes::from_static(b"{\"a\":1}")))));
    assert_eq!(with(Data::String("ä".into())), Ok((None, Some(Bytes::from_static("ä".as_bytes())))));
    assert_eq!(with(Data::Binary(vec![])), Ok((None, Some(Bytes::new()))));
}

#[test]
fn refuses_what_is_no_event_here() {
    let named = |event: SdkEvent| Event::try_from(event).expect_err("is refused").attribute;
    let mut wide = EventBuilderV10::new().id("1").source("a").ty("t").build().expect("is complete");
    wide.set_extension("x", i64::MAX);
    assert_eq!(named(wide), "x");
    let mut empty = EventBuilderV10::new().id("1").source("a").ty("t").build().expect("is complete");
    empty.set_id("");
    assert_eq!(named(empty), "id");
    let old = ::cloudevents::EventBuilderV03::new().id("1").source("a").ty("t").build().expect("is complete");
    assert_eq!(named(old), "specversion");
}
