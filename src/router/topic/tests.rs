use proptest::prelude::*;

use meshgate_api::event::Event;

use super::*;
use crate::router::{
    channel::ChannelFilter,
    testing::{kafka, plain},
};

fn parse(channels: &str, text: &str, naming: TopicNaming) -> (Pattern, Topic) {
    let pattern = Pattern::parse(channels).expect("a pattern");
    let template = Template::parse(text, Some(&pattern)).expect("a template");
    let topic = Topic::new(template, &pattern, naming, None).expect("a topic");
    (pattern, topic)
}

/// The name, or the pattern with `*` for its holes.
fn narrow(channels: &str, text: &str, naming: TopicNaming, filter: &str) -> Option<String> {
    let (pattern, topic) = parse(channels, text, naming);
    let filter = ChannelFilter::parse(filter).expect("a filter");
    let meeting = pattern.meet(filter.shape()).expect("they overlap");
    topic.narrow(&pattern, &meeting).map(|narrowed| match narrowed {
        Narrowed::Name(name) => name.to_string(),
        Narrowed::Pattern(pattern) => pattern.to_string(),
    })
}

#[test]
fn a_filter_fixes_what_it_can() {
    let cases: &[(&str, &str, TopicNaming, &str, &str)] = &[
        ("orders/{region}", "orders.{region}", kafka, "orders/eu", "orders.eu"),
        ("orders/{region}", "orders.{region}", kafka, "orders/eu west", "orders.eu.west"),
        ("orders/{region}", "orders.{region}", kafka, "orders/+", "orders.*"),
        ("orders/{region}", "orders.{region}", kafka, "+/eu", "orders.eu"),
        ("orders/{region}", "orders/{region}", kafka, "#", "orders.*"),
        ("orders/{region}", "audit/orders", kafka, "orders/eu", "audit.orders"),
        ("{a}/{b}", "{b}.{a}", kafka, "+/x", "x.*"),
        ("{a}/{b}", "{a|none}.{b}", kafka, "/x", "none.x"),
        ("#", "{channel}", plain, "a/b", "a/b"),
        ("#", "{channel}", kafka, "a/b", "a.b"),
        ("#", "{channel}", kafka, "a/+/c", "a.*.c"),
        ("#", "{channel}", kafka, "a/#", "a*"),
        ("#", "{channel}", kafka, "#", "*"),
        ("a/#", "{channel}", plain, "#", "a*"),
        ("a/#", "{channel}", plain, "+/b/#", "a/b*"),
        ("a/b", "{channel}", kafka, "#", "a.b"),
        ("dead/#", "dead.{#}", kafka, "dead/a/b", "dead.a.b"),
        ("dead/#", "dead.{#}", kafka, "dead", "dead."),
        ("dead/#", "dead.{#|root}", kafka, "dead", "dead.root"),
        ("dead/#", "dead.{#|root}", kafka, "dead/#", "dead.*"),
        ("dead/#", "dead.{#}", kafka, "dead/+/x", "dead.*.x"),
        ("a/{x}", "{x}.{type}", kafka, "a/1", "1.*"),
        ("a/{x}", "{x}.{subject|none}", kafka, "a/1", "1.*"),
    ];
    for (channels, text, naming, filter, expected) in cases {
        let narrowed = narrow(channels, text, *naming, filter);
        assert_eq!(narrowed.as_deref(), Some(*expected), "{text} of {channels} for {filter}");
    }
}

#[test]
fn some_channels_have_no_topic_to_be_read() {
    assert_eq!(narrow("#", "{channel}", kafka, &"x".repeat(300)), None);
    assert_eq!(narrow("#", "{channel}", plain, "__consumer_offsets"), None);
    assert_eq!(narrow("a", "__fixed", plain, "#").as_deref(), Some("__fixed"));
}

#[test]
fn rendering_names_as_the_broker_does() {
    let event = Event::default();
    let render = |channels: &str, text: &str, naming: TopicNaming, channel: &str| {
        let (pattern, topic) = parse(channels, text, naming);
        let (channel, fit) = (Str::from(channel), pattern.fit(channel).expect("it fits"));
        let scene = Scene { channel: &channel, fit: &fit, event: &event };
        let rendered = topic.render(&scene);
        if let Ok(name) = &rendered {
            assert!(topic.renders_to(name, &scene));
            assert!(!topic.renders_to("other", &scene));
        }
        rendered
    };
    assert_eq!(render("#", "{channel}", kafka, "a/b é"), Ok("a.b..".into()));
    assert_eq!(render("#", "{channel}", plain, "a/b é"), Ok("a/b é".into()));
    assert_eq!(render("#", "fixed/x", kafka, "a"), Ok("fixed.x".into()));
    assert_eq!(render("#", "{subject}", kafka, "a"), Err(NoTopic::Missing(Missing("subject".into()))));
    let long = "x".repeat(250);
    assert!(matches!(render("#", "{channel}", kafka, &long), Err(NoTopic::Illegal { topic, .. }) if topic == long));
    assert!(matches!(render("#", "{channel}", kafka, "/"), Err(NoTopic::Illegal { .. })));
}

#[test]
fn what_can_never_be_a_topic_is_refused() {
    let pattern = Pattern::parse("a/{x}").expect("a pattern");
    let topic = |text: &str| {
        let template = Template::parse(text, Some(&pattern)).expect("a template");
        Topic::new(template, &pattern, kafka, None)
    };
    let longest = "x".repeat(249);
    assert!(topic("..").is_err());
    assert!(topic("..{x}").is_ok());
    assert!(topic(&longest).is_ok());
    assert!(topic(&format!("{longest}x")).is_err());
    assert!(topic(&format!("{longest}{{x}}")).is_err_and(|why| why.contains("249")));
}

proptest! {
    /// Every topic of a channel that the filter lets through is among the topics that its subscribers read.
    #[test]
    fn no_matching_channel_is_missed(
        levels in proptest::collection::vec(prop_oneof![Just("a"), Just("b.c"), Just(""), Just("é")], 1..5),
        wildcards in proptest::collection::vec(any::<bool>(), 5),
        cut in proptest::option::of(0_usize..5),
    ) {
        let channel = levels.join("/");
        prop_assume!(!channel.is_empty());
        let mut filter: Vec<&str> =
            levels.iter().zip(&wildcards).map(|(level, wild)| if *wild { "+" } else { level }).collect();
        if let Some(cut) = cut {
            filter.truncate(cut);
            filter.push("#");
        }
        let filter = ChannelFilter::parse(filter.join("/")).expect("a filter");
        prop_assert!(filter.matches(&channel));
        for channels in ["#", "{x}/#", "+/{x}/#", "a/{x}", "a/#", "{x}"] {
            for text in ["{channel}", "t.{channel}.{id}", "{#|none}", "{x|none}/{#}", "{x}", "fixed"] {
                for naming in [plain as TopicNaming, kafka] {
                    let pattern = Pattern::parse(channels).expect("a pattern");
                    let (Some(fit), Ok(template)) = (pattern.fit(&channel), Template::parse(text, Some(&pattern))) else {
                        continue;
                    };
                    let topic = Topic::new(template, &pattern, naming, None).expect("a topic");
                    let channel = Str::from(&*channel);
                    let event = Event { id: "7".into(), kind: "t".into(), ..Event::default() };
                    let scene = Scene { channel: &channel, fit: &fit, event: &event };
                    let Ok(name) = topic.render(&scene) else { continue };
                    let meeting = pattern.meet(filter.shape()).expect("the channel is of both");
                    let read = match topic.narrow(&pattern, &meeting) {
                        Some(Narrowed::Name(read)) => read == name,
                        Some(Narrowed::Pattern(pattern)) => pattern.matches(&name),
                        None => false,
                    };
                    prop_assert!(read, "{} of {} for {}", name, channels, filter.as_str());
                    let mut clues = Clues::none(&pattern);
                    prop_assert!(topic.read(&name, &mut clues));
                }
            }
        }
    }
}
