use crate::router::{
    spec::{DestinationSpec, RouteSpec},
    testing::{KAFKA, MEMORY, event, keyed, message, native, optional, record, route, router, tap, to, wrap},
};

use super::*;

fn told(router: &Router, connector: usize, record: &Record) -> Option<(usize, String)> {
    router.owner(connector, record).map(|owned| (owned.route, owned.channel.to_string()))
}

fn example() -> Router {
    router(&[
        tap(route("tap", "#", [to("kafka", "orders.eu")])),
        route(
            "orders",
            "orders/{region}",
            [keyed("kafka", "orders.{region}", "{subject|}"), optional(to("memory", "audit/orders"))],
        ),
        route("sensors", "sensors/{device}/#", [keyed("kafka", "readings", "{device}")]),
        route("typed", "typed/+", [to("kafka", "typed.{type}")]),
        route("dead", "dead/#", [to("kafka", "dead.{#}")]),
        route("rest", "#", [to("memory", "{channel}")]),
    ])
}

#[test]
fn a_channel_is_believed_where_its_route_would_have_put_the_event() {
    let router = example();
    let cases = [
        (KAFKA, "orders.eu", "orders/eu", Some((1, "orders/eu"))),
        (KAFKA, "orders.eu.west", "orders/eu west", Some((1, "orders/eu west"))),
        (KAFKA, "orders.eu", "orders/us", Some((1, "orders/eu"))), // not this topic
        (KAFKA, "orders.eu", "x/y", Some((1, "orders/eu"))),
        (KAFKA, "readings", "sensors/1/2/3", Some((2, "sensors/1/2/3"))),
        (KAFKA, "readings", "sensors/../1", Some((2, "sensors/-/-"))), // no channel
        (KAFKA, "readings", "sensors/+/1", Some((2, "sensors/-/-"))),
        (KAFKA, "typed.t", "typed/1", Some((3, "typed/1"))),
        (KAFKA, "typed.u", "typed/1", Some((3, "typed/-"))), // its type is t
        (KAFKA, "dead.", "dead", Some((4, "dead"))),
        (KAFKA, "dead.a.b", "dead/a.b", Some((4, "dead/a.b"))),
        (KAFKA, "other", "orders/eu", None),
        (MEMORY, "a/b", "a/b", Some((5, "a/b"))),
        (MEMORY, "audit/orders", "orders/eu", Some((5, "audit/orders"))), // a copy by another destination
        (7, "a/b", "a/b", None),
    ];
    for (connector, topic, channel, expected) in cases {
        let record = record(topic, None, message(channel, &[]));
        let expected = expected.map(|(route, channel)| (route, channel.to_owned()));
        assert_eq!(told(&router, connector, &record), expected, "{channel} in {topic}");
    }
}

#[test]
fn a_native_record_tells_its_channel_by_topic_and_key() {
    let router = example();
    type Case<'a> = (usize, &'a str, Option<&'static [u8]>, Option<(usize, &'a str)>);
    let cases: &[Case<'_>] = &[
        (KAFKA, "orders.eu", None, Some((1, "orders/eu"))),
        (KAFKA, "orders.eu", Some(b"42"), Some((1, "orders/eu"))),
        (KAFKA, "readings", Some(b"42"), Some((2, "sensors/42/-"))),
        (KAFKA, "readings", Some("gerät 1".as_bytes()), Some((2, "sensors/gerät 1/-"))),
        (KAFKA, "readings", Some(b"a/b"), Some((2, "sensors/-/-"))),
        (KAFKA, "readings", Some(b".."), Some((2, "sensors/-/-"))),
        (KAFKA, "readings", Some(b"\xFF"), Some((2, "sensors/-/-"))),
        (KAFKA, "readings", Some(b""), Some((2, "sensors//-"))),
        (KAFKA, "readings", None, Some((2, "sensors/-/-"))),
        (KAFKA, "typed.x", None, Some((3, "typed/-"))),
        (KAFKA, "dead.a.b", None, Some((4, "dead/a/b"))),
        (KAFKA, "elsewhere", None, None),
        (MEMORY, "a.b/c", None, Some((5, "a.b/c"))),
        (MEMORY, "$a", None, Some((5, "-"))),
    ];
    for (connector, topic, key, expected) in cases {
        let expected = expected.map(|(route, channel)| (route, channel.to_owned()));
        assert_eq!(told(&router, *connector, &native(topic, *key)), expected, "{key:?} in {topic}");
    }
}

#[test]
fn the_first_route_that_reads_a_topic_owns_what_is_native_in_it() {
    let router = router(&[
        route("copy", "copies/+", [to("memory", "first"), to("memory", "shared")]),
        route("one", "one/{x}", [to("memory", "shared")]),
        route("two", "two/{x}", [to("memory", "shared")]),
    ]);
    assert_eq!(told(&router, MEMORY, &native("shared", None)), Some((1, "one/-".into())));
    let claimed = record("shared", None, message("two/x", &[]));
    assert_eq!(told(&router, MEMORY, &claimed), Some((2, "two/x".into())));
    let copied = record("shared", None, message("copies/x", &[]));
    assert_eq!(told(&router, MEMORY, &copied), Some((1, "one/-".into())));
}

#[test]
fn the_message_is_the_records_own() {
    let router = example();
    for record in [record("a", None, message("a", &[])), native("a", None)] {
        let owned = router.owner(MEMORY, &record).expect("an owner");
        assert_eq!(owned.wrapped, None);
    }
    let record = record("a", None, message("a", &[]));
    let owned = router.owner(MEMORY, &record).expect("an owner");
    assert_eq!(Some(owned.channel.as_ptr()), record.message.channel.as_ref().map(|channel| channel.as_ptr()));
}

fn raw(spec: DestinationSpec) -> DestinationSpec {
    DestinationSpec { mode: ContentMode::Raw, ..spec }
}

fn reading(to: DestinationSpec) -> RouteSpec {
    wrap(&[("type", "reading"), ("source", "/devices/{device}")], route("r", "sensors/{device}", [to]))
}

/// Something that is no CloudEvent, as a connector hands it on.
fn foreign(channel: Option<&str>) -> Message {
    let event = event(&[("type", "io.meshgate.raw"), ("source", "/kafka/readings")]);
    Message { channel: channel.map(Str::from), event: Box::new(event), wrapped: true, ..Message::default() }
}

#[test]
fn wrap_is_applied_once() {
    let record_of = |message: Message| record("readings", Some(b"4 2"), message);
    let cases = [
        ("native", keyed("kafka", "readings", "{device}"), None, Some("/devices/4%202")),
        ("not its own", keyed("kafka", "readings", "{device}"), Some("x"), Some("/devices/4%202")),
        ("published through the route", keyed("kafka", "readings", "{device}"), Some("sensors/1"), None),
        ("without attributes", raw(to("kafka", "readings")), Some("sensors/1"), Some("/devices/1")),
    ];
    for (told, destination, channel, expected) in cases {
        let record = record_of(foreign(channel));
        let owned = router(&[reading(destination)]).owner(KAFKA, &record).expect("an owner");
        match expected {
            Some(source) => {
                let event = owned.event(&record);
                assert_eq!((&*event.kind, &*event.source), ("reading", source));
            }
            None => assert_eq!(owned.wrapped, None, "{told}"),
        }
    }
    let event = record_of(Message { wrapped: false, ..foreign(None) });
    let owned = router(&[reading(to("kafka", "readings"))]).owner(KAFKA, &event).expect("an owner");
    assert_eq!(owned.wrapped, None, "a CloudEvent is none of wrap's business");
}

#[test]
fn a_wrap_that_fails_leaves_the_record_as_it_is() {
    for value in ["{nobody}", "{device}"] {
        let spec = wrap(&[("type", "x"), ("time", value)], route("r", "sensors/{device}", [to("kafka", "readings")]));
        let record = record("readings", None, foreign(None));
        let owned = router(&[spec]).owner(KAFKA, &record).expect("an owner");
        assert_eq!(owned.wrapped, None, "{value}");
    }
}
