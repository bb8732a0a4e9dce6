use std::sync::Arc;

use meshgate_api::{
    connector::{ContentMode, Order},
    event::Value,
    message::Message,
    outcome::{Outcome, Rejection},
};

use super::{
    Routed, Router,
    spec::{DestinationSpec, FilterSpec, RouteSpec},
    testing::{KAFKA, MEMORY, event, keyed, message, only, optional, route, router, tap, to, wrap},
};

/// Route, connector, topic and key of each target; `?` before the topic of one that is not required.
fn targets(routed: &Routed) -> Vec<(usize, usize, String, Option<&str>)> {
    let told = routed.targets.iter().map(|target| {
        let mark = if target.required { "" } else { "?" };
        (target.route, target.connector, format!("{mark}{}", target.outbound.topic), target.outbound.key.as_deref())
    });
    told.collect()
}

fn sent(router: &Router, message: Message) -> (usize, Vec<String>) {
    let routed = router.route(message).expect("a route");
    (routed.route, targets(&routed).into_iter().map(|(_, _, topic, _)| topic).collect())
}

fn refused(router: &Router, message: Message) -> (Rejection, String) {
    match router.route(message) {
        Err(Outcome::Rejected { reason, detail }) => (reason, detail),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_first_match_takes_the_event() {
    let router = router(&[
        only("paid", route("paid", "orders/+", [to("kafka", "paid")])),
        route("orders", "orders/{region}", [keyed("kafka", "orders.{region}", "{subject|}"), to("memory", "all")]),
        route("dead", "dead/#", [to("kafka", "dead.{#}")]),
        route("rest", "#", [to("memory", "{channel}")]),
    ]);
    let cases = [
        (message("orders/eu", &[]), (1, vec!["orders.eu".to_owned(), "all".to_owned()])),
        (message("orders/eu west", &[]), (1, vec!["orders.eu.west".into(), "all".into()])),
        (message("orders/eu", &[("type", "paid")]), (0, vec!["paid".into()])),
        (message("orders", &[("type", "paid")]), (3, vec!["orders".into()])),
        (message("orders/eu/1", &[]), (3, vec!["orders/eu/1".into()])),
        (message("dead/a/b", &[]), (2, vec!["dead.a.b".into()])),
        (message("dead", &[]), (2, vec!["dead.".into()])),
    ];
    for (message, expected) in cases {
        let told = format!("{message:?}");
        assert_eq!(sent(&router, message), expected, "{told}");
    }
}

#[test]
fn what_goes_out_is_complete() {
    let spec = DestinationSpec { mode: ContentMode::Structured, order: Order::Free, ..keyed("kafka", "t", "{id}") };
    let router = router(&[route("r", "a", [spec, optional(to("memory", "m"))])]);
    let original = message("a", &[("subject", "s")]);
    let routed = router.route(original.clone()).expect("a route");
    assert_eq!(targets(&routed), [(0, KAFKA, "t".into(), Some("1")), (0, MEMORY, "?m".into(), None)]);
    let [first, second] = &routed.targets[..] else { panic!("two targets") };
    assert_eq!((first.outbound.mode, first.outbound.order), (ContentMode::Structured, Order::Free));
    assert_eq!((second.outbound.mode, second.outbound.order), (ContentMode::Binary, Order::Kept));
    assert_eq!(*first.outbound.message, original);
    assert!(Arc::ptr_eq(&first.outbound.message, &second.outbound.message));
}

#[test]
fn the_key_is_the_template_else_the_partition_key() {
    let router = router(&[
        route("template", "a/{x}", [keyed("memory", "a", "{subject|}")]),
        route("capture", "b/{x}", [keyed("memory", "a", "{x}")]),
        route("none", "c", [to("memory", "a")]),
    ]);
    type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], Option<&'a str>);
    let cases: &[Case<'_>] = &[
        ("a/1", &[("subject", "s"), ("partitionkey", "p")], Some("s")),
        ("a/1", &[("partitionkey", "p")], Some("p")),
        ("a/1", &[], None),
        ("b/1", &[("partitionkey", "p")], Some("1")),
        ("b/", &[("partitionkey", "p")], Some("p")),
        ("c", &[("partitionkey", "p")], Some("p")),
        ("c", &[("partitionkey", "")], None),
        ("c", &[], None),
    ];
    for (channel, attributes, key) in cases {
        let routed = router.route(message(channel, attributes)).expect("a route");
        assert_eq!(routed.targets[0].outbound.key.as_deref(), *key, "{channel} {attributes:?}");
    }
    let mut numbered = message("c", &[]);
    numbered.event.extensions.push(("partitionkey".into(), Value::Integer(7)));
    assert_eq!(router.route(numbered).expect("a route").targets[0].outbound.key.as_deref(), Some("7"));
}

#[test]
fn taps_get_copies_and_the_search_goes_on() {
    let required = DestinationSpec { required: Some(true), ..to("memory", "tap2") };
    let router = router(&[
        tap(route("tap1", "#", [to("memory", "tap1.{channel}")])),
        tap(only("x", route("filtered", "#", [to("memory", "filtered")]))),
        tap(route("tap2", "a/#", [required])),
        route("r", "a/+", [to("kafka", "r")]),
        tap(route("late", "#", [to("memory", "late")])),
    ]);
    assert_eq!(sent(&router, message("a/b", &[])), (3, vec!["?tap1.a/b".into(), "tap2".into(), "r".into()]));
    let routed = router.route(message("a/b", &[])).expect("a route");
    assert_eq!(routed.targets.iter().map(|target| target.route).collect::<Vec<_>>(), [0, 2, 3]);
    assert_eq!(refused(&router, message("a/b/c", &[])).0, Rejection::NoRoute, "taps alone are no route");
}

#[test]
fn no_route_says_why() {
    let router =
        router(&[tap(route("tap", "#", [to("memory", "t")])), only("x", route("r", "a", [to("memory", "a")]))]);
    let (reason, detail) = refused(&router, message("b", &[]));
    assert_eq!(reason, Rejection::NoRoute);
    assert!(detail.contains("pattern that matches `b`"), "{detail}");
    let (reason, detail) = refused(&router, message("a", &[]));
    assert_eq!(reason, Rejection::NoRoute);
    assert!(detail.contains("filters") && detail.contains("`r`") && !detail.contains("tap"), "{detail}");
    let nowhere = Message { event: Box::new(event(&[])), ..Message::default() };
    assert_eq!(refused(&router, nowhere).0, Rejection::NoRoute);
}

#[test]
fn what_cannot_be_rendered_is_refused_wherever_it_is() {
    let cases: [(&str, RouteSpec); 5] = [
        ("`{subject}`", route("r", "a", [to("memory", "{subject}")])),
        ("`{subject}`", route("r", "a", [keyed("memory", "a", "{subject}")])),
        ("`{subject}`", route("r", "a", [to("memory", "a"), optional(to("memory", "{subject}"))])),
        ("`{subject}`", tap(route("r", "a", [to("memory", "{subject}")]))),
        ("no topics", route("r", "a", [to("kafka", "{dot}")])),
    ];
    for (says, spec) in cases {
        let router = router(&[spec, route("rest", "#", [to("memory", "rest")])]);
        let (reason, detail) = refused(&router, message("a", &[("dot", ".")]));
        assert_eq!(reason, Rejection::BadEvent, "{detail}");
        assert!(detail.contains(says) && detail.contains("route `r`"), "{detail}");
        assert!(router.route(message("b", &[])).is_ok());
    }
}

fn wrapped(channel: &str) -> Message {
    Message { wrapped: true, ..message(channel, &[("type", "io.meshgate.raw"), ("source", "/http")]) }
}

#[test]
fn wrap_comes_before_the_filters_of_its_route_alone() {
    let values = [("type", "reading"), ("source", "/devices/{device}"), ("was", "{type}"), ("subject", "{gone|}")];
    let router = router(&[
        tap(only("io.meshgate.raw", route("raw", "#", [to("memory", "raw")]))),
        wrap(&values, only("reading", route("readings", "sensors/{device}", [keyed("kafka", "{type}", "{was}")]))),
        route("rest", "#", [to("memory", "rest")]),
    ]);
    let original = wrapped("sensors/a b");
    let routed = router.route(original.clone()).expect("a route");
    assert_eq!(
        targets(&routed),
        [(0, MEMORY, "?raw".into(), None), (1, KAFKA, "reading".into(), Some("io.meshgate.raw"))]
    );
    assert_eq!(*routed.targets[0].outbound.message, original, "the tap sees it as it came");
    let copy = &routed.targets[1].outbound.message;
    assert_eq!((&*copy.event.kind, &*copy.event.source), ("reading", "/devices/a%20b"));
    assert_eq!(copy.event.subject, None, "an empty value sets nothing");
    assert!(copy.wrapped && copy.channel == original.channel);

    assert_eq!(sent(&router, message("sensors/1", &[])).0, 2, "an event that is none of wrap's business");
}

#[test]
fn a_wrap_that_fails_rejects_the_event() {
    let rest = || route("rest", "#", [to("memory", "rest")]);
    for (name, value, says) in [
        ("subject", "{nobody}", "`{nobody}`"),
        ("time", "{x}", "`time`"),
        ("datacontenttype", "{channel}!", "`datacontenttype`"),
    ] {
        let router = router(&[wrap(&[(name, value)], route("r", "a/{x}", [to("memory", "a")])), rest()]);
        let (reason, detail) = refused(&router, wrapped("a/ "));
        assert_eq!(reason, Rejection::BadEvent, "{detail}");
        assert!(detail.contains(says) && detail.contains("route `r`"), "{detail}");
        assert!(router.route(message("a/1", &[])).is_ok());
    }
}

#[test]
fn literals_and_channels_are_shared_not_copied() {
    let router = router(&[
        route("literal", "a/b", [to("kafka", "x/y")]),
        route("rest", "#", [keyed("memory", "{channel}", "{#}")]),
    ]);
    let topic = |channel: &str| router.route(message(channel, &[])).expect("a route").targets.remove(0).outbound.topic;
    assert_eq!(topic("a/b"), "x.y");
    assert_eq!(topic("a/b").as_ptr(), topic("a/b").as_ptr());
    let sent = message("c/d", &[]);
    let place = sent.channel.as_ref().map(|channel| channel.as_ptr());
    let outbound = router.route(sent).expect("a route").targets.remove(0).outbound;
    assert_eq!((&*outbound.topic, topic("c/d").as_ptr()), ("c/d", topic("c/d").as_ptr()), "it lasts");
    assert_eq!(outbound.key.map(|key| key.as_ptr()), place);
}

#[test]
fn all_filters_must_hold() {
    let prefix = |name: &str, value: &str| FilterSpec::Prefix(vec![(name.into(), value.into())]);
    let filters = vec![prefix("type", "t"), prefix("subject", "s")];
    let router = router(&[RouteSpec { filters, ..route("r", "a", [to("memory", "a")]) }]);
    assert!(router.route(message("a", &[("subject", "s")])).is_ok());
    assert!(router.route(message("a", &[])).is_err());
    assert!(router.route(message("a", &[("subject", "s"), ("type", "x")])).is_err());
}
