use proptest::prelude::*;

use super::super::channel::ChannelFilter;
use super::*;

fn shape(text: &str) -> Shape {
    ChannelFilter::parse(text).expect("a filter").shape().clone()
}

#[test]
fn a_fit_says_what_each_wildcard_stands_for() {
    let cases = [
        ("a/b", "a/b", Some((&[][..], ""))),
        ("+/b/+", "a/b/c", Some((&["a", "c"], ""))),
        ("a/+", "a/", Some((&[""], ""))),
        ("a/#", "a/b/c", Some((&[], "b/c"))),
        ("a/#", "a", Some((&[], ""))),
        ("a/#", "a/", Some((&[], ""))),
        ("#", "a/b", Some((&[], "a/b"))),
        ("a/+/#", "a/b/c/d", Some((&["b"], "c/d"))),
        ("a/+/#", "a", None),
        ("a/b/#", "a/bc", None),
        ("/+", "/x", Some((&["x"], ""))),
        ("a/b", "a/b/c", None),
    ];
    for (text, channel, expected) in cases {
        let fit = shape(text).fit(channel);
        let told = fit.map(|Fit { wild, rest }| {
            (wild.into_iter().map(|range| &channel[range]).collect::<Vec<_>>(), &channel[rest])
        });
        assert_eq!(told, expected.map(|(wild, rest)| (wild.to_vec(), rest)), "{text} on {channel}");
    }
}

#[test]
fn a_meeting_fixes_the_levels_that_either_fixes() {
    let cases = [
        ("orders/+", "orders/eu", Some((&[Some("orders"), Some("eu")][..], false))),
        ("orders/+", "orders/#", Some((&[Some("orders"), None], false))),
        ("orders/+", "#", Some((&[Some("orders"), None], false))),
        ("a/#", "+/b/#", Some((&[Some("a"), Some("b")], true))),
        ("a/#", "a", Some((&[Some("a")], false))),
        ("a/#", "#", Some((&[Some("a")], true))),
        ("#", "#", Some((&[], true))),
        ("a/+", "a", None),
        ("a/b", "a/c", None),
        ("a/+/#", "a", None),
    ];
    for (one, two, expected) in cases {
        let (first, second) = (shape(one), shape(two));
        let expected = expected.map(|(levels, open)| Meeting { levels: levels.into(), open });
        assert_eq!(first.meet(&second), expected, "{one} and {two}");
        assert_eq!(second.meet(&first), expected, "{two} and {one}");
    }
}

#[test]
fn covering() {
    let cases = [
        ("#", "a/b", true),
        ("#", "#", true),
        ("+/#", "#", true),
        ("+", "#", false),
        ("+/+/#", "#", false),
        ("a/#", "a", true),
        ("a/#", "a/#", true),
        ("a/#", "a/+/b", true),
        ("a/+/#", "a/#", false),
        ("a/+", "a/b", true),
        ("a/b", "a/+", false),
        ("+/+", "a/+", true),
        ("a/#", "+/b", false),
    ];
    for (one, two, expected) in cases {
        assert_eq!(shape(one).covers(&shape(two)), expected, "{one} covers {two}");
    }
}

/// Filters over few texts, so that they often have something in common. Not `/#`: its parent level alone is no channel, being
/// empty, which meeting and covering do not know.
fn filters() -> impl Strategy<Value = String> {
    let level = prop_oneof![Just("a"), Just("b"), Just(""), Just("+")];
    (proptest::collection::vec(level, 0..4), any::<bool>()).prop_filter_map("empty", |(mut levels, open)| {
        if open {
            levels.push("#");
        }
        Some(levels.join("/")).filter(|text| !text.is_empty() && text != "/#")
    })
}

/// Every channel of one to five levels out of three texts, one of which no filter names.
fn channels() -> Vec<String> {
    let mut all = vec![Vec::new()];
    let mut channels = Vec::new();
    for _ in 0..5 {
        all = all
            .iter()
            .flat_map(|levels: &Vec<&str>| ["a", "b", "", "c"].map(|level| [&levels[..], &[level]].concat()))
            .collect();
        channels.extend(all.iter().map(|levels| levels.join("/")).filter(|channel| !channel.is_empty()));
    }
    channels
}

/// By the book: level by level from the left.
fn matches(filter: &[&str], channel: &[&str]) -> bool {
    match (filter, channel) {
        (["#"], _) | ([], []) => true,
        ([level, filter @ ..], [text, channel @ ..]) => (*level == "+" || level == text) && matches(filter, channel),
        _ => false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn fitting_meeting_and_covering_are_what_the_channels_say(one in filters(), two in filters()) {
        let (first, second) = (shape(&one), shape(&two));
        let meeting = first.meet(&second);
        let (mut common, mut covered) = (false, true);
        for channel in channels() {
            let levels: Vec<&str> = channel.split('/').collect();
            let fits = |text: &str| matches(&text.split('/').collect::<Vec<_>>(), &levels);
            prop_assert_eq!(first.fit(&channel).is_some(), fits(&one), "{} on {}", one, channel);
            common |= fits(&one) && fits(&two);
            covered &= fits(&one) || !fits(&two);
            let met = meeting.as_ref().is_some_and(|Meeting { levels: texts, open }| {
                let each = texts.iter().zip(&levels).all(|(text, level)| text.is_none_or(|text| text == *level));
                each && if *open { levels.len() >= texts.len() } else { levels.len() == texts.len() }
            });
            prop_assert_eq!(met, fits(&one) && fits(&two), "{} and {} on {}", one, two, channel);
        }
        prop_assert_eq!(meeting.is_some(), common);
        prop_assert_eq!(first.covers(&second), covered, "{} covers {}", one, two);
    }
}
