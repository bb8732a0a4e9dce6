use std::borrow::Cow;

use super::*;
use crate::router::testing::{kafka, plain, texts};

fn named(pieces: &[Option<&'static str>], naming: TopicNaming) -> Result<Vec<Str>, String> {
    cast(&pieces.iter().map(|piece| piece.map(Cow::Borrowed)).collect::<Vec<_>>(), naming)
}

#[test]
fn texts_are_named_where_they_stand() {
    let long = "x".repeat(248);
    let every_letter = MARKERS;
    type Case<'a> = (&'a [Option<&'static str>], TopicNaming, &'a [&'a str]);
    let cases: &[Case<'_>] = &[
        (&[Some("a/"), None], plain, &["a/", ""]),
        (&[Some("a/"), None, Some("/é")], kafka, &["a.", ".."]),
        (&[None], kafka, &["", ""]),
        (&[None, Some("/"), None], kafka, &["", ".", ""]),
        (&[Some("."), None], kafka, &[".", ""]),
        (&[Some("a"), Some("/b")], kafka, &["a.b"]),
        (&[Some(every_letter), None], kafka, &[every_letter, ""]),
        (&[Some("q"), None, None, Some("x")], kafka, &["q", "", "x"]),
        (&[Some(long.leak()), None], kafka, &[&"x".repeat(248), ""]),
    ];
    for (pieces, naming, expected) in cases {
        assert_eq!(named(pieces, *naming).as_deref().map(texts), Ok(expected.to_vec()), "{pieces:?}");
    }
}

#[test]
fn a_naming_that_adds_text_is_no_obstacle() {
    fn full(topic: &str) -> Result<Cow<'_, str>, String> {
        Ok(Cow::Owned(format!("persistent://public/default/{}", topic.replace('/', "%2F"))))
    }
    let literals = named(&[Some("a/"), None], full);
    assert_eq!(literals.as_deref().map(texts), Ok(vec!["persistent://public/default/a%2F", ""]));
}

#[test]
fn what_no_value_can_make_a_topic_is_an_error() {
    assert!(named(&[Some("")], kafka).is_err());
    let long: &'static str = "x".repeat(249).leak();
    assert!(named(&[Some(long), None], kafka).is_err_and(|why| why.contains("249")));
}
