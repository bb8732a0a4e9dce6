use bytes::Bytes;
use meshgate_api::event::Value;

use super::*;
use crate::router::testing::event;

fn pattern(text: &str) -> Pattern {
    Pattern::parse(text).expect("a pattern")
}

fn template(text: &str, pattern: &Pattern) -> Template {
    Template::parse(text, Some(pattern)).expect("a template")
}

#[test]
fn placeholders_are_filled_in() {
    let mut event = event(&[("subject", "s/1"), ("tenant", "acme"), ("empty", "")]);
    event.extensions.push(("count".into(), Value::Integer(3)));
    event.extensions.push(("blob".into(), Value::Binary(Bytes::from_static(b"\xFF"))));
    let cases = [
        ("a/b", "a/b", "", ""),
        ("a/b", "a/b", "fixed", "fixed"),
        ("a/{x}", "a/eu", "{x}", "eu"),
        ("a/{x}", "a/eu", "t.{x}.{x}", "t.eu.eu"),
        ("a/{x}", "a/", "<{x}>", "<>"),
        ("a/{x}", "a/", "{x}", ""),
        ("a/{x}", "a/", "{x|none}", "none"),
        ("+/{x}", "a/b", "{x}", "b"),
        ("a/#", "a/b/c", "{#}", "b/c"),
        ("a/#", "a", "dead.{#}", "dead."),
        ("a/#", "a", "{#|root}", "root"),
        ("a/#", "a/b", "{#|root}", "b"),
        ("#", "a/b", "{channel}", "a/b"),
        ("#", "a/b", "{channel|x}:{#}", "a/b:a/b"),
        ("#", "a", "{type}-{id}-{source}-{specversion}", "t-1-/s-1.0"),
        ("#", "a", "{subject}{tenant}{count}{blob}", "s/1acme3/w=="),
        ("#", "a", "{time|}", ""),
        ("#", "a", "{time|n.a.}", "n.a."),
        ("#", "a", "{empty|none}", "none"),
        ("#", "a", "[{empty}]", "[]"),
        ("#", "a", "{tenant|a|b}", "acme"),
        ("#", "a", "{nobody|a|b}", "a|b"),
        ("#", "a", "{{{tenant}}}", "{acme}"),
        ("#", "a", "{{}}", "{}"),
        ("{type}/#", "x/y", "{type}", "x"), // a capture hides the attribute
    ];
    for (channels, channel, text, expected) in cases {
        let pattern = pattern(channels);
        let (channel, fit) = (Str::from(channel), pattern.fit(channel).expect("it fits"));
        let scene = Scene { channel: &channel, fit: &fit, event: &event };
        assert_eq!(template(text, &pattern).render(&scene), Ok(expected.into()), "{text} on {channel}");
    }
}

#[test]
fn a_missing_attribute_is_named() {
    let event = event(&[]);
    let pattern = pattern("#");
    let (channel, fit) = (Str::from("a"), pattern.fit("a").expect("it fits"));
    let scene = Scene { channel: &channel, fit: &fit, event: &event };
    assert_eq!(template("x.{subject}", &pattern).render(&scene), Err(Missing("subject".into())));
}

#[test]
fn the_channel_and_its_pieces_are_not_copied() {
    let event = event(&[]);
    let pattern = pattern("orders/{region}/#");
    let channel = Str::from("orders/eu/1/2".to_owned());
    let fit = pattern.fit(&channel).expect("it fits");
    let scene = Scene { channel: &channel, fit: &fit, event: &event };
    for (text, at) in [("{channel}", 0), ("{region}", 7), ("{#}", 10), ("{#|none}", 10)] {
        let rendered = template(text, &pattern).render(&scene).expect("nothing is missing");
        assert_eq!(rendered.as_ptr(), channel[at..].as_ptr(), "{text}");
    }
    let fixed = template("fixed", &pattern);
    assert_eq!(fixed.render(&scene).map(|text| text.as_ptr()), fixed.render(&scene).map(|text| text.as_ptr()));
}

#[test]
fn values_in_a_uri_are_encoded() {
    let event = event(&[("source", "/a%20b?c"), ("subject", "1:2@3")]);
    let pattern = pattern("devices/{device}/#");
    let cases = [
        ("devices/a b/x", "/devices/{device}", "/devices/a%20b"),
        ("devices/ü?#%".trim_end_matches("#%"), "/{device}", "/%C3%BC%3F"),
        ("devices/50%/a/b", "urn:{device}:{#}", "urn:50%25:a/b"),
        ("devices/a:b", "{device}", "a%3Ab"),
        ("devices/a-b._~", "{channel}", "devices/a-b._~"),
        ("devices/a", "{source}&{subject}", "/a%20b?c&1%3A2%403"),
    ];
    for (channel, text, expected) in cases {
        let (channel, fit) = (Str::from(channel), pattern.fit(channel).expect("it fits"));
        let scene = Scene { channel: &channel, fit: &fit, event: &event };
        assert_eq!(template(text, &pattern).into_uri().render(&scene), Ok(expected.into()));
    }
}

#[test]
fn every_error_of_a_template_is_told() {
    let pattern = pattern("a/{x}/+");
    let cases = [
        ("{x", 1),
        ("x}", 1),
        ("{}", 1),
        ("{ x }", 1),
        ("{X}", 1),
        ("{data}", 1),
        ("{#}", 1),
        ("{x|{type}}", 2),
        ("{X}-{y_z}-}", 3),
        ("{+}", 1),
    ];
    for (text, count) in cases {
        let errors = Template::parse(text, Some(&pattern)).expect_err("no template");
        assert_eq!(errors.len(), count, "{text}: {errors:?}");
    }
    assert!(Template::parse("{X}{#}", None).is_ok(), "without a pattern only braces are checked");
}
