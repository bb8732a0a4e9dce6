use super::*;

fn pattern(text: &str) -> Pattern {
    Pattern::parse(text).expect("a pattern")
}

#[test]
fn captures_are_wildcards_with_a_name() {
    let pattern = pattern("sensors/{device}/+/{unit_2}/#");
    assert_eq!((pattern.capture("device"), pattern.capture("unit_2"), pattern.capture("+")), (Some(0), Some(2), None));
    assert_eq!((pattern.level_of(0), pattern.level_of(2), pattern.level_of(3)), (Some(1), Some(3), None));
    assert_eq!((pattern.depth(), pattern.wildcards(), pattern.is_open()), (4, 3, true));
    assert!(pattern.fit("sensors/1/x/y").is_some());
    assert!(pattern.fit("sensors/1/x").is_none());
}

#[test]
fn what_is_not_known_is_a_dash() {
    for (text, unknown) in [("a/b", "a/b"), ("a/{x}/+/#", "a/-/-/-"), ("#", "-"), ("/+", "/-"), ("+", "-")] {
        assert_eq!(pattern(text).unknown(), unknown);
    }
    let pattern = pattern("a/{x}/#");
    assert_eq!(pattern.fill(|_| Some("1"), Some("2/3")), "a/1/2/3");
    assert_eq!(pattern.fill(|_| Some(""), None), "a/");
}

#[test]
fn what_is_no_pattern_is_told_so() {
    let cases = [
        ("a/x{b}", PatternError::PartialCapture("x{b}".into())),
        ("a/{b", PatternError::PartialCapture("{b".into())),
        ("{a}{b}", PatternError::CaptureName("a}{b".into())),
        ("a/{}", PatternError::CaptureName(String::new())),
        ("a/{b c}", PatternError::CaptureName("b c".into())),
        ("a/{channel}", PatternError::CaptureIsChannel),
        ("{a}/{a}", PatternError::CaptureTwice("a".into())),
        ("a+", ChannelError::PartialWildcard("a+".into()).into()),
        ("{a+}", ChannelError::PartialWildcard("{a+}".into()).into()),
        ("#/a", ChannelError::RestNotLast.into()),
        ("", ChannelError::Empty.into()),
        ("$a", ChannelError::Dollar.into()),
    ];
    for (text, error) in cases {
        assert_eq!(Pattern::parse(text).err(), Some(error), "{text}");
    }
}
