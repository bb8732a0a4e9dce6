use super::*;

#[test]
fn owning_changes_nothing_but_where_the_bytes_are() {
    let network = Bytes::from(vec![b'x'; 64 * 1024]);
    let event = Event {
        id: "1".into(),
        source: "/s".into(),
        kind: "t".into(),
        subject: Some(Str::try_from(network.slice(0..3)).expect("UTF-8")),
        extensions: vec![("a".into(), Value::Integer(1)), ("b".into(), Value::String("text".into()))],
        data: Some(network.slice(5..9)),
        ..Event::default()
    };
    let headers = vec![("h".into(), "v".into()), ("h".into(), Bytes::new())];
    let before = Message { channel: Some("c".into()), event: Box::new(event), headers, wrapped: false };
    let mut after = before.clone();
    let network = network.as_ptr_range();
    after.own_texts();
    assert_eq!(after, before);
    assert!(after.event.subject.as_ref().is_some_and(|subject| !network.contains(&subject.as_ptr())));
    after.own_data();
    assert_eq!(after, before);
    assert!(after.event.data.is_some_and(|data| !network.contains(&data.as_ptr())));
}

#[test]
fn reserved_names_do_not_travel() {
    for name in ["meshgate-channel", "Meshgate-X", "ce_id", "CE-id", "cloudEvents:id", "cloudevents_x", "Content-Type"]
    {
        assert!(is_reserved_header(name), "{name}");
    }
    for name in ["traceparent", "ce", "content-types", "mesh", "ü"] {
        assert!(!is_reserved_header(name), "{name}");
    }
}
