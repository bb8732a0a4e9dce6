use proptest::prelude::*;

use super::*;

#[test]
fn a_channel_is_levels_of_plain_text() {
    for text in ["a", "a/b", "sensors/eu/42", "/", "//", "a//b", "a/", "...", "a/...", "a/$b", "é/☃", "a b", "*"] {
        assert!(Channel::parse(text).is_ok_and(|channel| channel.as_str() == text), "{text}");
    }
    assert!(Channel::check(&"x".repeat(1024)).is_ok());
}

#[test]
fn what_is_no_channel_is_told_so() {
    let too_long = "é".repeat(513);
    let cases = [
        ("", ChannelError::Empty),
        (&*too_long, ChannelError::TooLong(1026)),
        ("$SYS/a", ChannelError::Dollar),
        ("a\u{0}", ChannelError::ControlCharacter),
        ("a\nb", ChannelError::ControlCharacter),
        ("a\u{7f}", ChannelError::ControlCharacter),
        ("a\u{85}", ChannelError::ControlCharacter),
        (".", ChannelError::DotLevel),
        ("a/..", ChannelError::DotLevel),
        ("a/./b", ChannelError::DotLevel),
        ("a/+", ChannelError::Wildcard),
        ("a#", ChannelError::Wildcard),
    ];
    for (text, error) in cases {
        assert_eq!(Channel::parse(text), Err(error), "{text:?}");
    }
}

#[test]
fn wildcards_take_whole_levels() {
    for text in ["+", "#", "+/#", "a/+/b", "a/#", "+/+", "/#", "/+", "a", "a//#"] {
        assert!(ChannelFilter::parse(text).is_ok_and(|filter| filter.as_str() == text), "{text}");
    }
    let partial = |level: &str| ChannelError::PartialWildcard(level.to_owned());
    let cases = [
        ("a+", partial("a+")),
        ("a/b+/c", partial("b+")),
        ("++", partial("++")),
        ("a#", partial("a#")),
        ("a/##", partial("##")),
        ("##", partial("##")),
        ("#/a", ChannelError::RestNotLast),
        ("a/#/#", ChannelError::RestNotLast),
        ("$SYS/#", ChannelError::Dollar),
        ("a/../#", ChannelError::DotLevel),
        ("", ChannelError::Empty),
    ];
    for (text, error) in cases {
        assert_eq!(ChannelFilter::parse(text).err(), Some(error), "{text}");
    }
}

#[test]
fn a_filter_matches_as_in_mqtt() {
    let cases = [
        ("a/b", &["a/b"][..], &["a", "a/b/c", "a/", "b/b", "a/bc", "a/B"][..]),
        ("a/+", &["a/b", "a/"], &["a", "a/b/c", "b/c"]),
        ("+/+", &["a/b", "/", "a/", "/b"], &["a", "a/b/c"]),
        ("+", &["a"], &["/", "a/b"]),
        ("/+", &["/a", "/"], &["a", "a/b", "//"]),
        ("a/#", &["a", "a/", "a/b", "a/b/c"], &["ab", "b", "/a"]),
        ("a/+/#", &["a/b", "a/", "a/b/c"], &["a"]),
        ("#", &["a", "/", "a/b/c"], &[]),
        ("+/b/#", &["a/b", "/b/c"], &["b", "a/bc"]),
        ("/#", &["/", "/a", "//"], &["a"]),
    ];
    for (text, matching, others) in cases {
        let filter = ChannelFilter::parse(text).expect("a filter");
        for channel in matching {
            assert!(filter.matches(channel), "{text} should match {channel}");
        }
        for channel in others {
            assert!(!filter.matches(channel), "{text} should not match {channel}");
        }
    }
}

proptest! {
    #[test]
    fn any_text_is_a_channel_or_an_error_and_matches_itself(text in any::<String>()) {
        if let Ok(channel) = Channel::parse(&*text) {
            let filter = ChannelFilter::parse(channel.into_str()).expect("a channel is a filter");
            prop_assert!(filter.matches(&text));
        }
    }

    #[test]
    fn levels_make_a_channel(levels in proptest::collection::vec("[a$.+#/]{0,3}", 1..4)) {
        let valid = levels.iter().all(|level| is_level(level));
        let channel = levels.join("/");
        if valid && !channel.is_empty() && !channel.starts_with('$') {
            prop_assert_eq!(Channel::check(&channel), Ok(()));
        } else if Channel::check(&channel).is_ok() {
            prop_assert!(levels.iter().any(|level| level.contains('/')));
        }
    }
}
