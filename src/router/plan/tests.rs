use crate::router::{
    spec::DestinationSpec,
    testing::{KAFKA, MEMORY, only, optional, route, router, tap, texts, to},
};

use super::*;

/// Per source: connector, names and patterns.
type Told = Vec<(usize, Vec<String>)>;

fn plan(router: &Router, filter: &str) -> Option<Told> {
    let filter = ChannelFilter::parse(filter).expect("a filter");
    let told = |source: Source| {
        let names = texts(&source.topics.names).into_iter().map(str::to_owned);
        (source.connector, names.chain(source.topics.patterns.iter().map(ToString::to_string)).collect())
    };
    router.plan([&filter]).map(|sources| sources.into_iter().map(told).collect())
}

fn told(sources: &[(usize, &[&str])]) -> Option<Told> {
    Some(sources.iter().map(|(at, topics)| (*at, topics.iter().map(|topic| (*topic).to_owned()).collect())).collect())
}

fn example() -> Router {
    let read = DestinationSpec { read: true, ..to("memory", "local.{device}") };
    router(&[
        tap(route("tap", "#", [to("memory", "tap")])),
        only("x", route("orders", "orders/{region}", [optional(to("memory", "o")), to("kafka", "orders.{region}")])),
        route("more", "orders/#", [to("kafka", "orders.more")]),
        route("eu", "orders/eu", [to("kafka", "never")]),
        route("sensors", "sensors/{device}/#", [to("kafka", "readings"), read]),
        route("alike", "alike/+", [to("kafka", "orders.more")]),
        route("rest", "#", [to("memory", "{channel}")]),
    ])
}

#[test]
fn a_subscriber_reads_what_its_filter_overlaps() {
    let router = example();
    type Case<'a> = (&'a str, &'a [(usize, &'a [&'a str])]);
    let cases: &[Case<'_>] = &[
        ("orders/eu", &[(KAFKA, &["orders.eu", "orders.more"]), (MEMORY, &["orders/eu"])]),
        ("orders/+", &[(KAFKA, &["orders.more", "orders.*"]), (MEMORY, &["orders/*"])]),
        ("orders", &[(KAFKA, &["orders.more"]), (MEMORY, &["orders"])]),
        ("sensors/1/#", &[(MEMORY, &["local.1", "sensors/1*"])]),
        ("sensors/1", &[(MEMORY, &["local.1", "sensors/1"])]),
        ("sensors", &[(MEMORY, &["sensors"])]),
        ("alike/x", &[(KAFKA, &["orders.more"]), (MEMORY, &["alike/x"])]),
        ("#", &[(KAFKA, &["orders.more", "orders.*"]), (MEMORY, &["local.*", "*"])]),
    ];
    for (filter, expected) in cases {
        assert_eq!(plan(&router, filter), told(expected), "{filter}");
    }
}

#[test]
fn no_overlap_is_no_plan() {
    let router = router(&[
        tap(route("tap", "#", [to("memory", "tap")])),
        route("a", "a/+", [to("kafka", "{channel}")]),
        route("b", "b", [to("memory", "__b")]),
        route("c", "+/c", [to("memory", "{channel}")]),
    ]);
    assert_eq!(plan(&router, "x"), None);
    assert_eq!(plan(&router, "a"), None);
    assert_eq!(plan(&router, "a/b"), told(&[(KAFKA, &["a.b"])]));
    assert_eq!(plan(&router, &format!("a/{}", "x".repeat(300))), None, "no such Kafka topic can be");
    assert_eq!(plan(&router, "b"), told(&[(MEMORY, &["__b"])]), "named by the route itself");
    assert_eq!(plan(&router, "__b/c"), None, "named by a template");
}
