use proptest::prelude::*;

use meshgate_api::event::Event;

use super::*;
use crate::router::{
    template::Scene,
    testing::{kafka, plain},
};

struct Case {
    pattern: Pattern,
    template: Template,
    mould: Mould,
}

fn try_case(channels: &str, text: &str, naming: TopicNaming) -> Result<Case, String> {
    let pattern = Pattern::parse(channels).map_err(|error| error.to_string())?;
    let template = Template::parse(text, Some(&pattern)).map_err(|errors| errors.join(", "))?;
    let mould = Mould::new(&template, &pattern, naming)?;
    Ok(Case { pattern, template, mould })
}

fn case(channels: &str, text: &str, naming: TopicNaming) -> Case {
    try_case(channels, text, naming).expect("a mould")
}

impl Case {
    fn channel(&self, topic: &str) -> Option<Str> {
        let mut clues = Clues::none(&self.pattern);
        self.mould.read(topic, &mut clues).then(|| clues.channel(&self.pattern))
    }

    fn render(&self, channel: &str) -> Str {
        let (channel, fit) = (Str::from(channel), self.pattern.fit(channel).expect("it fits"));
        let scene = Scene { channel: &channel, fit: &fit, event: &Event::default() };
        self.template.render(&scene).expect("nothing is missing")
    }
}

#[test]
fn a_topic_says_which_channel_it_is() {
    let cases: &[(&str, &str, TopicNaming, &str, Option<&str>)] = &[
        ("orders/{region}", "orders.{region}", kafka, "orders.eu", Some("orders/eu")),
        ("orders/{region}", "orders.{region}", kafka, "orders.eu.west", Some("orders/eu.west")),
        ("orders/{region}", "orders.{region}", kafka, "order.eu", None),
        ("orders/{region}", "orders.{region}", kafka, "orders.", Some("orders/")),
        ("orders/{region}", "orders.{region}", kafka, "orders..", Some("orders/-")),
        ("{a}/{b}", "{b}-{a}", kafka, "x-y", Some("y/x")),
        ("{a}/x/{b}", "{b}", kafka, "y", Some("-/x/y")),
        // `{channel}`: the pattern says which `.` is a `/`
        ("#", "{channel}", kafka, "a.b.c", Some("a/b/c")),
        ("#", "{channel}", kafka, "a..c", Some("a//c")),
        ("#", "{channel}", plain, "a.b/c", Some("a.b/c")),
        ("#", "{channel}", plain, "a/../c", Some("-")),
        ("#", "{channel}", plain, "$a", Some("-")),
        ("#", "{channel}", plain, "", Some("-")),
        ("#", "{channel}", plain, "a/+", Some("-")),
        ("v1.0/{x}", "{channel}", kafka, "v1.0.foo", Some("v1.0/foo")),
        ("v1.0/{x}", "{channel}", kafka, "v2.0.foo", None),
        ("a/{x}", "{channel}", kafka, "a.b.c", Some("a/b.c")),
        ("a/+/c/+", "{channel}", kafka, "a.1.c.2", Some("a/1/c/2")),
        ("a/#", "{channel}", kafka, "a", Some("a")),
        ("a/#", "{channel}", kafka, "a.", Some("a/")),
        ("a/#", "{channel}", kafka, "a.b.c", Some("a/b/c")),
        ("a/#", "{channel}", kafka, "ab", None),
        ("a/{x}/#", "in.{channel}.out", kafka, "in.a.1.2.out", Some("a/1/2")),
        ("a/b", "{channel}", kafka, "a.b", Some("a/b")),
        ("a/b", "{channel}", plain, "a.b", None),
        // `{#}`
        ("dead/#", "dead.{#}", kafka, "dead.a.b", Some("dead/a/b")),
        ("dead/#", "dead.{#}", kafka, "dead.", Some("dead")),
        ("dead/#", "dead", kafka, "dead", Some("dead/-")),
        // what a level cannot be is no fit, where a shorter text before it does not help either
        ("{a}", "x/{a}", plain, "x/y/z", None),
        ("{a}/{b}/#", "{#}/{b}", plain, "1/2/3", Some("-/3/1/2")),
        ("{a}/{b}", "{a}-{b}", plain, "1/2-3-4", None),
        // attributes say nothing
        ("a/{x}", "{type}.{x}", kafka, "t.1", Some("a/1")),
        ("a/{x}", "{type}", kafka, "t", Some("a/-")),
        ("a/b", "fixed/é", kafka, "fixed..", Some("a/b")),
        ("a/{x}", "fixed", kafka, "other", None),
    ];
    for (channels, text, naming, topic, expected) in cases {
        let channel = case(channels, text, *naming).channel(topic);
        assert_eq!(channel.as_deref(), *expected, "{text} of {channels} from {topic}");
    }
}

#[test]
fn what_is_known_first_stays() {
    let pattern = Pattern::parse("{a}/{b}").expect("a pattern");
    let mould = |text: &str| {
        let template = Template::parse(text, Some(&pattern)).expect("a template");
        Mould::new(&template, &pattern, plain).expect("a mould")
    };
    let mut clues = Clues::none(&pattern);
    assert!(mould("{a}").read("1", &mut clues));
    assert!(mould("{a}:{b}").read("2:3", &mut clues));
    assert!(!mould("{b}!").read("4", &mut clues));
    assert_eq!(clues.channel(&pattern), "1/3");
}

#[test]
fn a_channel_that_is_too_long_is_not_one() {
    let topic = "x".repeat(2000);
    assert_eq!(case("a/{x}", "{x}", plain).channel(&topic).as_deref(), Some("a/-"));
}

#[test]
fn dead_ends_are_tried_once() {
    let case = case("{a}/{b}/{c}/{d}/{e}/#", "{a}-{b}-{c}-{d}-{e}-{#}!", plain);
    assert_eq!(case.channel(&"-".repeat(1000)), None);
}

/// Patterns and a channel that fits each.
fn fitting() -> impl Strategy<Value = (String, String)> {
    let level = prop_oneof![Just("lit"), Just("v1.0"), Just(""), Just("+"), Just("{}")];
    let levels = proptest::collection::vec((level, "[ab.é -]{0,3}"), 1..4);
    (levels, proptest::option::of("[ab./-]{0,4}")).prop_map(|(levels, rest)| {
        let mut pattern: Vec<String> = Vec::new();
        let mut channel: Vec<String> = Vec::new();
        for (at, (level, text)) in levels.into_iter().enumerate() {
            let wild = level == "+" || level == "{}";
            pattern.push(if level == "{}" { format!("{{c{at}}}") } else { level.to_owned() });
            channel.push(if wild { text } else { level.to_owned() });
        }
        if let Some(rest) = rest {
            pattern.push("#".to_owned());
            channel.extend((!rest.is_empty()).then_some(rest));
        }
        (pattern.join("/"), channel.join("/"))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// The channel that is read from a topic is one whose topic that is; on a broker that keeps `/`, it is the very same.
    #[test]
    fn reading_undoes_rendering((channels, channel) in fitting(), around in "[a.-]{0,2}") {
        let Ok(pattern) = Pattern::parse(&channels) else { return Ok(()) };
        prop_assume!(Channel::check(&channel).is_ok());
        prop_assert!(pattern.fit(&channel).is_some());
        for (naming, keeps_slashes) in [(plain as TopicNaming, true), (kafka, false)] {
            let Ok(case) = try_case(&channels, &format!("{around}{{channel}}"), naming) else { continue };
            let Ok(topic) = naming(&case.render(&channel)).map(|topic| topic.into_owned()) else { continue };
            let read = case.channel(&topic).expect("what was rendered fits");
            prop_assert_eq!(Channel::check(&read), Ok(()));
            prop_assert!(case.pattern.fit(&read).is_some(), "{} is none of {}", read, channels);
            if keeps_slashes {
                prop_assert_eq!(&read, &channel);
            } else if !read.contains('-') {
                let again = naming(&case.render(&read)).map(|topic| topic.into_owned());
                prop_assert_eq!(again, Ok(topic), "{} from {}", read, channel);
            }
        }
    }

    #[test]
    fn any_topic_gives_a_channel_of_the_pattern(topic in "[a-c./$+# é-]{0,12}", key in "[a-c./-]{0,6}") {
        for text in ["{channel}", "{x}.{#}", "{#}", "t-{x}/{#}-{type}", "{x}{#}"] {
            for naming in [plain as TopicNaming, kafka] {
                let case = case("a/{x}/#", text, naming);
                let mut clues = Clues::none(&case.pattern);
                if case.mould.read(&topic, &mut clues) {
                    case.mould.read(&key, &mut clues);
                    let channel = clues.channel(&case.pattern);
                    prop_assert_eq!(Channel::check(&channel), Ok(()));
                    prop_assert!(case.pattern.fit(&channel).is_some(), "{}", channel);
                }
            }
        }
    }
}
