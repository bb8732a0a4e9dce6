use std::sync::Arc;

use meshgate_api::event::Value;
use proptest::{collection::vec, option, prelude::*, sample::select};

use super::*;
use crate::router::{
    ChannelFilter, Router, Verdict,
    mould::Clues,
    publish::channel,
    spec::{FilterSpec, RouteSpec},
    template::Scene,
    testing::{connectors, message, to},
};

const VALUES: [&str; 4] = ["a", "ab", "abc", "b"];
const ATTRIBUTES: [&str; 3] = ["type", "subject", "tenant"];
const TOPICS: [&str; 9] =
    ["a", "b/c", "{channel}", "a.{x|-}", "{x|a}.c", "{type}", "ab{subject|}", "{#|}", "a.{tenant|b}.{x|c}.{channel}"];

/// Patterns, and channels where no level is a wildcard.
fn levels(of: &'static [&'static str]) -> impl Strategy<Value = String> {
    vec(select(of), 1..4).prop_map(|levels| levels.join("/")).prop_filter("has levels", |text| !text.is_empty())
}

fn pattern() -> impl Strategy<Value = String> {
    let open = any::<bool>().prop_map(|open| if open { "/#" } else { "" });
    let whole = (levels(&["a", "b", "", "+"]), open).prop_map(|(levels, open)| levels + open);
    prop_oneof![6 => whole, 1 => Just("#".to_owned())]
}

fn filter() -> impl Strategy<Value = FilterSpec> {
    let pair = (select(&ATTRIBUTES[..]), select(&VALUES[..])).prop_map(|(name, value)| (name.into(), value.into()));
    let pairs = vec(pair, 1..3);
    let sql = (select(&["type", "flag", "count"][..]), select(&["= 'a'", "LIKE 'a%'", "= 'true'", "= '7'", "= 7"][..]));
    let sql = vec(sql.prop_map(|(name, is)| format!("{name} {is}")), 1..3);
    let sql = (sql, select(&[" AND ", " OR "][..])).prop_map(|(terms, by)| FilterSpec::Sql(terms.join(by)));
    let plain = prop_oneof![
        2 => sql,
        3 => pairs.clone().prop_map(FilterSpec::Exact),
        1 => pairs.clone().prop_map(FilterSpec::Prefix),
        1 => pairs.prop_map(FilterSpec::Suffix),
    ];
    plain.prop_recursive(2, 6, 3, |inner| {
        prop_oneof![
            vec(inner.clone(), 1..3).prop_map(FilterSpec::All),
            vec(inner.clone(), 1..3).prop_map(FilterSpec::Any),
            inner.prop_map(|inner| FilterSpec::Not(Box::new(inner))),
        ]
    })
}

fn route() -> impl Strategy<Value = RouteSpec> {
    let wrap = select(&[("type", "a"), ("subject", "{tenant|}"), ("tenant", "{type}"), ("subject", "{tenant}")][..]);
    let destination = (select(&["memory", "kafka"][..]), select(&TOPICS[..]));
    (pattern(), vec(filter(), 0..3), option::weighted(0.2, wrap), destination, prop::bool::weighted(0.2)).prop_map(
        |(channel, filters, wrap, (connector, topic), tap)| {
            // where there is nothing to fill in, the topic has no place for it
            let channel = if topic.contains("{x|") { channel.replacen('+', "{x}", 1) } else { channel };
            let topic = if channel.contains("{x}") { topic.to_owned() } else { topic.replace("{x|", "{extra|") };
            let topic = if channel.ends_with('#') { topic } else { topic.replace("{#|}", "b") };
            let wrap = wrap.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
            RouteSpec { channel, filters, wrap, to: vec![to(connector, &topic)], tap, ..RouteSpec::default() }
        },
    )
}

fn routes() -> impl Strategy<Value = Router> {
    vec(route(), 0..12).prop_filter_map("valid routes", |mut routes| {
        routes.iter_mut().enumerate().for_each(|(number, route)| route.name = format!("r{number}"));
        Router::compile(&routes, &connectors()).ok()
    })
}

fn published() -> impl Strategy<Value = Message> {
    let value = || option::of(select(&VALUES[..]));
    (levels(&["a", "b", "", "c"]), value(), value(), value(), any::<bool>(), any::<bool>()).prop_map(
        |(channel, kind, subject, tenant, wrapped, typed)| {
            let values = [("type", kind), ("subject", subject), ("tenant", tenant)];
            let attributes: Vec<_> = values.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
            let mut message = Message { wrapped, ..message(&channel, &attributes) };
            if typed {
                let more = [("flag", Value::Boolean(true)), ("count", Value::Integer(7))];
                message.event.extensions.extend(more.map(|(name, value)| (name.into(), value)));
            }
            message
        },
    )
}

/// Whether candidates are in order, and those that are wanted among them.
fn finds(candidates: impl Iterator<Item = usize>, routes: &[Route], wanted: impl Fn(&Route) -> bool) -> bool {
    let candidates: Vec<usize> = candidates.collect();
    let mut missed = (0..routes.len()).filter(|number| wanted(&routes[*number]) && !candidates.contains(number));
    candidates.is_sorted_by(|one, next| one < next) && missed.next().is_none()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn asking_the_candidates_is_asking_all(router in routes(), message in published()) {
        let message = Arc::new(message);
        let (routed, explained) = (router.route(message.clone()), router.explain(message));
        prop_assert_eq!(format!("{routed:?}"), format!("{:?}", explained.outcome));

        let takes = |number: &usize| explained.verdicts[*number] == Verdict::Takes;
        let taking: Vec<usize> = (0..explained.verdicts.len()).filter(takes).collect();
        match routed {
            Ok(routed) => {
                prop_assert_eq!(routed.targets.iter().map(|target| target.route).collect::<Vec<_>>(), taking);
                prop_assert_eq!(routed.route + 1, explained.verdicts.len());
            }
            Err(_) if explained.verdicts.last() == Some(&Verdict::Fails) => {}
            Err(refused) if taking.iter().all(|taking| router.routes[*taking].tap) => {
                prop_assert!(refused.detail().contains("route"), "{:?}", refused);
            }
            Err(_) => prop_assert!(explained.verdicts.last() == Some(&Verdict::Takes)), // its topic cannot be rendered
        }
    }

    #[test]
    fn no_route_of_a_channel_is_left_out(router in routes(), message in published()) {
        let channel = channel(&message).expect("a channel");
        let (index, routes) = (&router.index, &router.routes);
        prop_assert!(finds(index.matching(channel), routes, |route| route.pattern.fit(channel).is_some()));
    }

    #[test]
    fn no_reader_of_a_topic_is_left_out(router in routes(), message in published(), topic in levels(&["a", "b", "ab", ""])) {
        let (index, routes) = (&router.index, &router.routes);
        let channel = channel(&message).expect("a channel");
        let rendered = routes.iter().filter_map(|route| {
            let fit = route.pattern.fit(channel)?;
            route.read()?.topic.render(&Scene { channel, fit: &fit, event: &message.event }).ok()
        });
        for topic in rendered.chain([topic.as_str().into(), topic.replace('/', ".").into()]) {
            for connector in 0..2 {
                let reads = |route: &Route| {
                    let read = route.read().filter(|read| read.connector == connector);
                    read.is_some_and(|read| read.topic.read(&topic, &mut Clues::none(&route.pattern)))
                };
                prop_assert!(finds(index.readers(connector, &topic), routes, reads), "{}", topic);
                let renders = |route: &Route| {
                    let read = route.read().filter(|read| read.connector == connector);
                    let Some(fit) = route.pattern.fit(channel) else { return false };
                    let scene = Scene { channel, fit: &fit, event: &message.event };
                    read.is_some_and(|read| read.topic.renders_to(&topic, &scene))
                };
                prop_assert!(finds(index.readers_of(channel, connector, &topic), routes, renders), "{}", topic);
            }
        }
    }

    #[test]
    fn no_route_of_a_subscriber_is_left_out(router in routes(), filter in pattern()) {
        let filter = ChannelFilter::parse(filter.as_str()).expect("a filter");
        let found = router.index.meeting(filter.shape()).into_iter();
        prop_assert!(finds(found, &router.routes, |route| route.pattern.meet(filter.shape()).is_some()));
    }

    #[test]
    fn a_route_is_covered_where_an_earlier_one_takes_all(router in routes()) {
        for (number, route) in router.routes.iter().enumerate() {
            let takes_all = |earlier: &Route| earlier.takes_all() && earlier.pattern.covers(&route.pattern);
            prop_assert_eq!(route.covered, router.routes[..number].iter().any(takes_all), "{}", number);
        }
    }
}

#[test]
fn equal_filters_are_looked_up_together() {
    let exact = |pairs: &[(&str, String)]| {
        FilterSpec::Exact(pairs.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect())
    };
    let specs: Vec<RouteSpec> = (0..1000)
        .map(|number| RouteSpec {
            filters: vec![
                exact(&[("type", format!("t{}", number / 100))]),
                exact(&[("subject", format!("s{}", number % 100))]),
            ],
            ..crate::router::testing::route(&format!("r{number}"), "a/#", [to("memory", &format!("topic{number}"))])
        })
        .collect();
    let router = Router::compile(&specs, &connectors()).expect("valid routes");
    let message = message("a/b", &[("type", "t7"), ("subject", "s42")]);
    assert_eq!(router.index.takers("a/b", &message).collect::<Vec<_>>(), [742]);
    assert_eq!(router.index.readers(0, "topic3").collect::<Vec<_>>(), [3]);
    assert_eq!(router.index.readers_of("a/b", 0, "topic3").collect::<Vec<_>>(), [3]);
}

#[test]
fn an_expression_that_errs_is_counted_and_explained() {
    let sql = |text: &str| FilterSpec::Sql(text.to_owned());
    let exact = |name: &str, value: &str| FilterSpec::Exact(vec![(name.to_owned(), value.to_owned())]);
    for (filters, errs) in [
        (vec![sql("missing = 'x'")], true),
        (vec![sql("missing LIKE 'x%'")], true),
        (vec![sql("missing LIKE 'x%' AND type = 'other'")], true),
        (vec![sql("type = 't' AND missing = 'x'")], true),
        (vec![sql("type = 'other' AND missing = 'x'")], false),
        (vec![sql("missing = 'x' AND gone = 'y'")], true),
        (vec![sql("missing > 5")], true),
        (vec![exact("type", "t"), sql("subject = 's' AND (subject LIKE 's%' AND missing = 'x')")], true),
        (vec![exact("type", "other"), sql("missing = 'x'")], false),
        (vec![exact("missing", "x")], false),
        (vec![FilterSpec::Any(vec![sql("missing = 'x'"), sql("gone = 'x'")])], true),
        (vec![FilterSpec::All(vec![exact("subject", "s"), sql("missing = 'x'")])], true),
        (vec![FilterSpec::Any(vec![exact("subject", "z"), sql("type = 'z'")]), sql("missing = 'x'")], false),
    ] {
        let case = format!("{filters:?}");
        let spec = RouteSpec { filters, ..crate::router::testing::route("r", "a", [to("memory", "t")]) };
        let router = Router::compile(&[spec], &connectors()).expect("a valid route");
        let message = Arc::new(message("a", &[("type", "t"), ("subject", "s")]));
        let mut counted = Vec::new();
        assert!(router.route_counting(message.clone(), |route| counted.push(route)).is_err(), "{case}");
        assert_eq!(!counted.is_empty(), errs, "{case}");
        let verdicts = router.explain(message).verdicts;
        assert!(
            matches!(&verdicts[..], [Verdict::Refuses(why)] if why.contains(" errs: ") == errs),
            "{case}: {verdicts:?}"
        );
    }
}

#[test]
fn of_many_comparisons_few_are_asked_whatever_is_missing() {
    let specs: Vec<RouteSpec> = (0..1000)
        .map(|number| RouteSpec {
            filters: vec![FilterSpec::Sql(format!("type = 't{number}' AND tenant = 'a'"))],
            ..crate::router::testing::route(&format!("r{number}"), "a", [to("memory", "t")])
        })
        .collect();
    let router = Router::compile(&specs, &connectors()).expect("valid routes");
    for tenant in [None, Some(("tenant", "a"))] {
        let attributes: Vec<_> = [("type", "t7")].into_iter().chain(tenant).collect();
        assert_eq!(router.index.takers("a", &message("a", &attributes)).collect::<Vec<_>>(), [7]);
    }
}
