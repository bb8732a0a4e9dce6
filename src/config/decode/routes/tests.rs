use meshgate_api::settings::{Fields, Problems};

use super::*;
use crate::config::yaml;

fn read(text: &str) -> RouteSpec {
    let problems = Problems::default();
    let tree = yaml::parse(text, &problems).expect("YAML");
    let spec = Fields::read(&tree, "", &problems, |fields| route(fields, &|_, _| None));
    assert_eq!(problems.into_sorted(), []);
    spec.expect("a route")
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
}

#[test]
fn a_short_route_gets_the_defaults() {
    let destination = DestinationSpec { connector: "one".into(), topic: "t".into(), ..DestinationSpec::default() };
    let expected =
        RouteSpec { name: "a/#".into(), channel: "a/#".into(), to: vec![destination], ..RouteSpec::default() };
    assert_eq!(read("{ channel: a/#, to: [{ connector: one, topic: t }] }"), expected);
}

#[test]
fn a_route_with_everything_keeps_all_of_it() {
    let text = "
name: orders
channel: orders/{region}
continue: true
filters:
  - exact: { type: 1.0, subject: no }
  - any: [{ prefix: { source: / } }, { not: { suffix: { type: x } } }]
  - all: []
  - sql: type = 'a'
wrap: { type: com.acme.order, source: '/orders/{region}' }
to:
  - { connector: one, topic: 0x10, key: '{subject|}', mode: structured, order: none, required: false, read: true }
  - { connector: two, topic: t, mode: raw, required: true }
";
    let expected = RouteSpec {
        name: "orders".into(),
        channel: "orders/{region}".into(),
        filters: vec![
            FilterSpec::Exact(pairs(&[("type", "1.0"), ("subject", "no")])),
            FilterSpec::Any(vec![
                FilterSpec::Prefix(pairs(&[("source", "/")])),
                FilterSpec::Not(Box::new(FilterSpec::Suffix(pairs(&[("type", "x")])))),
            ]),
            FilterSpec::All(vec![]),
            FilterSpec::Sql("type = 'a'".into()),
        ],
        wrap: pairs(&[("type", "com.acme.order"), ("source", "/orders/{region}")]),
        to: vec![
            DestinationSpec {
                connector: "one".into(),
                topic: "0x10".into(),
                key: Some("{subject|}".into()),
                mode: ContentMode::Structured,
                order: Order::Free,
                required: Some(false),
                read: true,
                options: None,
            },
            DestinationSpec {
                connector: "two".into(),
                topic: "t".into(),
                mode: ContentMode::Raw,
                required: Some(true),
                ..DestinationSpec::default()
            },
        ],
        tap: true,
    };
    assert_eq!(read(text), expected);
}
