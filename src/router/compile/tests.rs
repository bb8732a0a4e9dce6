use crate::router::{
    Router,
    spec::FilterSpec,
    testing::{connectors, keyed, only, optional, route, router, tap, to, wrap},
};

use super::*;

fn problems(routes: &[RouteSpec]) -> Vec<Problem> {
    Router::compile(routes, &connectors()).expect_err("broken routes")
}

/// Asserts that there is one problem, and where.
fn refused(spec: RouteSpec, path: &str, says: &str) {
    let problems = problems(&[spec]);
    let [problem] = &problems[..] else { panic!("{path}: {problems:?}") };
    assert_eq!(problem.path, path, "{problem}");
    assert!(problem.message.contains(says), "{problem}");
}

fn reading(spec: DestinationSpec) -> DestinationSpec {
    DestinationSpec { read: true, ..spec }
}

#[test]
fn a_route_is_what_was_written() {
    let router = router(&[
        tap(route("copies", "#", [to("memory", "copies")])),
        only(
            "t",
            route("orders", "orders/{region}", [optional(to("memory", "x")), keyed("kafka", "o.{region}", "{id}")]),
        ),
        route("none", "none", [to("kafka", "none")]),
    ]);
    let names: Vec<_> = router.routes().iter().map(|route| (&**route.name(), route.pattern(), route.tap())).collect();
    assert_eq!(names, [("copies", "#", true), ("orders", "orders/{region}", false), ("none", "none", false)]);
    let destinations = |at: usize| -> Vec<_> {
        router.routes()[at].destinations().iter().map(|to| (to.connector(), to.required())).collect()
    };
    assert_eq!(destinations(0), [(0, false)]);
    assert_eq!(destinations(1), [(0, false), (1, true)]);
    assert_eq!(router.routes().iter().map(|route| route.read).collect::<Vec<_>>(), [None, Some(1), Some(0)]);
    assert!(Router::compile(&[], &[]).is_ok());
}

#[test]
fn reading_can_be_given_to_another_required_destination() {
    let spec = route("r", "a", [to("kafka", "a"), reading(to("memory", "b")), optional(to("memory", "c"))]);
    assert_eq!(router(&[spec]).routes()[0].read, Some(1));
}

#[test]
fn a_route_that_an_earlier_one_takes_wholly_is_covered() {
    let plain = |name: &str, channel: &str| route(name, channel, [to("memory", name)]);
    let router = router(&[
        tap(plain("tap", "#")),
        only("t", plain("filtered", "a/#")),
        plain("some", "a/{x}"),
        plain("same", "a/+"),
        plain("one", "a/1"),
        plain("more", "a/#"),
        plain("rest", "#"),
        plain("never", "b/#"),
    ]);
    let covered: Vec<_> = router.routes().iter().filter(|route| route.covered).map(|route| &**route.name()).collect();
    assert_eq!(covered, ["same", "one", "never"]);
}

#[test]
fn names_and_patterns() {
    let one = [to("memory", "x")];
    refused(route("", "a", one.clone()), "routes[0].name", "name");
    refused(route("r", "", one.clone()), "routes[0].channel", "at least one character");
    refused(route("r", "a/{x}y", one.clone()), "routes[0].channel", "whole level");
    refused(route("r", "a/#/b", one.clone()), "routes[0].channel", "last level");
    let twice = problems(&[route("r", "a", one.clone()), route("s", "b", one.clone()), route("r", "c", one)]);
    assert_eq!(twice.iter().map(|problem| &*problem.path).collect::<Vec<_>>(), ["routes[2].name"]);
}

#[test]
fn destinations() {
    let one = |spec| route("r", "a/{x}", [spec]);
    refused(one(to("nowhere", "x")), "routes[0].to[0].connector", "`nowhere`");
    refused(one(to("memory", "")), "routes[0].to[0].topic", "needs a topic");
    refused(one(to("memory", "a.{x")), "routes[0].to[0].topic", "`{` without `}`");
    refused(one(to("memory", "a.{#}")), "routes[0].to[0].topic", "`{#}` needs");
    refused(one(to("memory", "a.{Y}")), "routes[0].to[0].topic", "`{Y}` is no capture of `a/{x}`");
    refused(one(to("kafka", "..")), "routes[0].to[0].topic", "no topics");
    refused(one(to("kafka", &"x".repeat(250))), "routes[0].to[0].topic", "249");
    refused(one(to("mqtt", "a/+/{x}")), "routes[0].to[0].topic", "no `+`");
    refused(one(keyed("memory", "a", "{Y}")), "routes[0].to[0].key", "`{Y}`");
    refused(one(keyed("mqtt", "a", "{x}")), "routes[0].to[0].key", "no keys");
    refused(route("r", "a", []), "routes[0].to", "at least one destination");
    refused(one(optional(to("memory", "a"))), "routes[0].to", "required");
    refused(tap(route("r", "a", [])), "routes[0].to", "at least one destination");
}

#[test]
fn who_is_read() {
    let memory = || to("memory", "a");
    refused(route("r", "a", [memory(), reading(optional(memory()))]), "routes[0].to[1].read", "required");
    refused(route("r", "a", [reading(memory()), reading(memory())]), "routes[0].to[1].read", "one destination");
    refused(tap(route("r", "a", [reading(memory())])), "routes[0].to[0].read", "tap");
}

#[test]
fn wraps_and_filters() {
    let one = || route("r", "a/{x}", [to("memory", "a")]);
    refused(wrap(&[("specversion", "1.0")], one()), "routes[0].wrap.specversion", "always 1.0");
    refused(wrap(&[("Type", "x")], one()), "routes[0].wrap.Type", "a-z");
    refused(wrap(&[("data", "x")], one()), "routes[0].wrap.data", "not allowed");
    refused(wrap(&[("subject", "")], one()), "routes[0].wrap.subject", "empty");
    refused(wrap(&[("time", "yesterday")], one()), "routes[0].wrap.time", "RFC 3339");
    refused(wrap(&[("source", "a b")], one()), "routes[0].wrap.source", "URI-reference");
    refused(wrap(&[("subject", "{Y}")], one()), "routes[0].wrap.subject", "`{Y}`");
    let filters = vec![FilterSpec::Any(vec![FilterSpec::Exact(vec![])])];
    refused(RouteSpec { filters, ..one() }, "routes[0].filters[0].any[0].exact", "at least one");
}

#[test]
fn all_problems_at_once() {
    let broken = RouteSpec {
        filters: vec![FilterSpec::All(vec![]), FilterSpec::Prefix(vec![("a_b".into(), "x".into())])],
        ..wrap(
            &[("time", "{nobody"), ("specversion", "2")],
            route("", "a/{x}/{x}", [optional(to("nowhere", "{x")), optional(keyed("mqtt", "{x}", "}"))]),
        )
    };
    let fine = route("fine", "b", [to("memory", "b")]);
    let paths: Vec<String> = problems(&[fine, broken]).into_iter().map(|problem| problem.path).collect();
    let expected = [
        "name",
        "channel",
        "filters[0].all",
        "filters[1].prefix.a_b",
        "wrap.time",
        "wrap.specversion",
        "to[0].connector",
        "to[0].topic",
        "to[1].key",
        "to[1].key",
        "to",
    ];
    assert_eq!(paths, expected.map(|path| format!("routes[1].{path}")));
}

#[test]
fn what_is_not_required_may_go_to_topics_that_keep_nothing() {
    refused(route("r", "a", [to("mqtt", "a+b")]), "routes[0].to[0].topic", "holds no `+`");
    refused(tap(route("r", "a", [required(to("mqtt", "a+b"))])), "routes[0].to[0].topic", "holds no `+`");
    router(&[route("r", "a", [to("memory", "a"), optional(to("mqtt", "a+b"))])]);
    router(&[tap(route("r", "a", [to("mqtt", "a+b")]))]);
}

fn required(spec: DestinationSpec) -> DestinationSpec {
    DestinationSpec { required: Some(true), ..spec }
}
