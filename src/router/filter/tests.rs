use bytes::Bytes;
use meshgate_api::event::Value;

use super::*;
use crate::router::testing::event;

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn exact(name: &str, value: &str) -> FilterSpec {
    FilterSpec::Exact(pairs(&[(name, value)]))
}

fn holds(spec: &FilterSpec, event: &Event) -> bool {
    let filter = Filter::compile(spec, &mut |path, message| panic!("{path}: {message}"));
    filter.holds(event)
}

#[test]
fn each_dialect() {
    let mut event = event(&[("type", "com.acme.paid"), ("subject", "42"), ("tenant", "a")]);
    event.extensions.push(("flag".into(), Value::Boolean(true)));
    event.extensions.push(("count".into(), Value::Integer(-7)));
    event.extensions.push(("blob".into(), Value::Binary(Bytes::from_static(b"\x00\x01"))));
    let prefix = |name, value| FilterSpec::Prefix(pairs(&[(name, value)]));
    let suffix = |name, value| FilterSpec::Suffix(pairs(&[(name, value)]));
    let not = |spec| FilterSpec::Not(Box::new(spec));
    let (yes, no) = (exact("subject", "42"), exact("subject", "43"));
    let cases = [
        (exact("type", "com.acme.paid"), true),
        (exact("type", "com.acme"), false),
        (exact("type", "COM.acme.paid"), false),
        (exact("specversion", "1.0"), true),
        (exact("absent", "x"), false),
        (exact("flag", "true"), true),
        (exact("count", "-7"), true),
        (exact("blob", "AAE="), true),
        (FilterSpec::Exact(pairs(&[("type", "com.acme.paid"), ("subject", "42")])), true),
        (FilterSpec::Exact(pairs(&[("type", "com.acme.paid"), ("subject", "43")])), false),
        (prefix("type", "com."), true),
        (prefix("type", "acme"), false),
        (prefix("absent", "x"), false),
        (suffix("type", ".paid"), true),
        (suffix("type", "com"), false),
        (FilterSpec::All(vec![yes.clone(), yes.clone()]), true),
        (FilterSpec::All(vec![yes.clone(), no.clone()]), false),
        (FilterSpec::Any(vec![no.clone(), yes.clone()]), true),
        (FilterSpec::Any(vec![no.clone(), no.clone()]), false),
        (not(no), true),
        (not(yes), false),
        (not(exact("absent", "x")), true),
    ];
    for (spec, expected) in cases {
        assert_eq!(holds(&spec, &event), expected, "{spec:?}");
    }
}

#[test]
fn sql_knows_the_types_of_attributes() {
    let mut event = event(&[("type", "com.acme.paid"), ("count", "7")]);
    event.extensions.push(("amount".into(), Value::Integer(120)));
    let sql = |text: &str| FilterSpec::Sql(text.to_owned());
    let not = |spec| FilterSpec::Not(Box::new(spec));
    let cases = [
        (sql("type LIKE 'com.acme.%' AND amount > 100"), true, 0),
        (sql("amount > 120"), false, 0),
        (sql("count = 7"), true, 0),
        (sql("EXISTS tenant"), false, 0),
        (sql("tenant = 'a'"), false, 1),
        (sql("type > 1"), false, 1),
        (sql("amount"), false, 1),
        (not(sql("tenant = 'a'")), true, 1),
        (FilterSpec::Any(vec![sql("1 / 0 = 1"), sql("tenant = 'a'"), sql("TRUE")]), true, 2),
        (FilterSpec::All(vec![sql("1 / 0 = 1"), sql("tenant = 'a'")]), false, 1),
    ];
    for (spec, expected, errors) in cases {
        let filter = Filter::compile(&spec, &mut |path, message| panic!("{path}: {message}"));
        let mut count = 0;
        assert_eq!(filter.judge(&event, &mut |_| count += 1), expected, "{spec:?}");
        assert_eq!(count, errors, "{spec:?}");
        assert_eq!(filter.holds(&event), expected, "{spec:?}");
    }
}

#[test]
fn sql_that_is_never_true_or_false_is_refused() {
    let cases = [
        ("type =", "column 7 of the expression: expected"),
        ("TRUE OR lenght(id)", "column 9 of the expression: no function is called `lenght`"),
        ("LENGTH(id)", "the value is of type Integer: that of a filter is true or false"),
    ];
    for (text, expected) in cases {
        let problem = Filter::sql(text).expect_err(text);
        assert!(problem.starts_with(expected), "{text}: {problem}");
    }
}

#[test]
fn every_problem_names_its_place() {
    let spec = FilterSpec::Any(vec![
        FilterSpec::All(vec![]),
        FilterSpec::Not(Box::new(FilterSpec::Prefix(vec![]))),
        exact("Type", "x"),
        FilterSpec::Suffix(pairs(&[("type", ""), ("data", "x")])),
    ]);
    let mut paths = Vec::new();
    Filter::compile(&spec, &mut |path, _| paths.push(path));
    assert_eq!(
        paths,
        [".any[0].all", ".any[1].not.prefix", ".any[2].exact.Type", ".any[3].suffix.type", ".any[3].suffix.data"]
    );
}

#[test]
fn a_refusal_says_what_the_event_has() {
    let event = event(&[("type", "com.acme.paid"), ("tenant", "a")]);
    let prefix = |name, value| FilterSpec::Prefix(pairs(&[(name, value)]));
    let suffix = |name, value| FilterSpec::Suffix(pairs(&[(name, value)]));
    let not = |spec| FilterSpec::Not(Box::new(spec));
    let cases = [
        (exact("type", "x"), r#"type "com.acme.paid" is not "x""#),
        (prefix("type", "x"), r#"type "com.acme.paid" does not begin with "x""#),
        (suffix("type", "x"), r#"type "com.acme.paid" does not end with "x""#),
        (exact("subject", "x"), r#"the event has no subject (exact: "x")"#),
        (FilterSpec::All(vec![exact("tenant", "a"), exact("tenant", "b")]), r#"tenant "a" is not "b""#),
        (
            FilterSpec::Any(vec![exact("tenant", "b"), not(exact("tenant", "a"))]),
            r#"tenant "a" is not "b"; and {exact: {tenant: "a"}} holds"#,
        ),
        (not(FilterSpec::All(vec![not(exact("tenant", "b"))])), r#"{all: [{not: {exact: {tenant: "b"}}}]} holds"#),
    ];
    for (spec, says) in cases {
        let filter = Filter::compile(&spec, &mut |path, message| panic!("{path}: {message}"));
        assert_eq!(filter.refusal(&event).as_deref(), Some(says));
        assert!(!filter.holds(&event));
        let opposite = Filter::Not(Box::new(filter));
        assert_eq!((opposite.refusal(&event), opposite.holds(&event)), (None, true));
    }
}
