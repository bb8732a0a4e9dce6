//! What MQTT lets a topic be called, and what a filter fits.

use std::borrow::Cow;

use meshgate_api::{binding::mqtt::LONGEST_TEXT, topic::TopicPattern, topic::TopicSet};

/// Bytes of a group's name: what it becomes at the broker stands beside a topic in one text.
pub(crate) const LONGEST_GROUP: usize = 1024;

/// The topic as it is, if MQTT takes it. An error is for a person.
pub(crate) fn topic_name(topic: &str) -> Result<Cow<'_, str>, String> {
    if topic.is_empty() {
        return Err("an MQTT topic must not be empty".into());
    }
    if let Some(forbidden) = topic.chars().find(|character| matches!(character, '+' | '#' | '\0')) {
        let shown = forbidden.escape_default();
        return Err(format!("an MQTT topic must not hold `{shown}`: it has a meaning in filters, or none at all"));
    }
    if topic.starts_with('$') {
        return Err("an MQTT topic must not begin with `$`: such topics belong to the broker".into());
    }
    if topic.len() > LONGEST_TEXT {
        return Err(format!("an MQTT topic has at most {LONGEST_TEXT} bytes, this one has {}", topic.len()));
    }
    Ok(Cow::Borrowed(topic))
}

/// The fewest filters that fit all topics of the set, and perhaps more: each is a topic, or levels and `#`. None fits what another one
/// fits. An error if MQTT has no such topic.
pub(crate) fn filters(topics: &TopicSet) -> Result<Vec<String>, String> {
    let mut wide: Vec<_> = topics.patterns.iter().map(filter).collect();
    wide.sort_unstable();
    wide.dedup(); // what covers another one stands before it
    let mut all = Vec::<String>::with_capacity(wide.len() + topics.names.len());
    for filter in wide {
        if !all.iter().any(|wider| covers(wider, &filter)) {
            all.push(filter);
        }
    }
    let patterns = all.len();
    for name in &topics.names {
        let name = topic_name(name)?;
        if !all[..patterns].iter().any(|wider| covers(wider, &name)) {
            all.push(name.into_owned());
        }
    }
    all.sort_unstable();
    all.dedup();
    Ok(all)
}

/// A hole may hold several levels: what is certain are the levels before the one in which the first hole is.
fn filter(pattern: &TopicPattern) -> String {
    let before = pattern.beginning();
    let levels = before.rfind('/').map_or("", |end| &before[..=end]);
    format!("{levels}#")
}

/// Whether `filter` fits everything that `other` fits. Both are topics, or levels and `#`.
pub(crate) fn covers(filter: &str, other: &str) -> bool {
    match filter.strip_suffix('#') {
        None => filter == other,
        Some("") => true,
        Some(levels) => other.starts_with(levels) || other == &levels[..levels.len() - 1],
    }
}

/// A group's name as the broker takes it in a shared subscription: what may not stand there is percent-encoded.
pub(crate) fn share_name(group: &str) -> String {
    let mut name = String::with_capacity(group.len());
    for character in group.chars() {
        match character {
            '/' | '+' | '#' | '%' | '\0' => name.extend(format!("%{:02X}", u32::from(character)).chars()),
            other => name.push(other),
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_mqtt_forbids_is_refused_and_nothing_else() {
        let longest = "x".repeat(LONGEST_TEXT);
        let long = "x".repeat(LONGEST_TEXT + 1);
        for topic in ["a", "/", "a//b", "caf\u{e9} \u{1f600}", "a$b", "a/$b", "a.b*c", &longest] {
            assert_eq!(topic_name(topic).as_deref(), Ok(topic));
        }
        let refused = [
            ("", "empty"),
            ("a/+/b", "hold `+`"),
            ("a/#", "hold `#`"),
            ("a\0", "hold `\\u{0}`"),
            ("$SYS/x", "begin with `$`"),
            (&long, "at most 65535"),
        ];
        for (topic, expected) in refused {
            let problem = topic_name(topic).expect_err(expected);
            assert!(problem.contains(expected), "{topic}: {problem}");
        }
    }

    fn pattern(literals: &[&str]) -> TopicPattern {
        TopicPattern::new(literals.iter().map(|literal| (*literal).into()).collect()).expect("there is a hole")
    }

    /// Names, the literals of patterns, filters.
    type Row<'a> = (&'a [&'a str], &'a [&'a [&'a str]], &'a [&'a str]);

    #[test]
    fn filters_cover_the_topics_once() {
        let table: [Row<'_>; 7] = [
            (&["a/b", "a"], &[], &["a", "a/b"]),
            (&[], &[&["orders/", ""]], &["orders/#"]),
            (&[], &[&["a/b", "/c"]], &["a/#"]),
            (&[], &[&["", "/c"]], &["#"]),
            (&["a/b", "b"], &[&["a/", "/c"], &["a/b/", ""]], &["a/#", "b"]),
            (&["a"], &[&["a/", ""]], &["a/#"]),
            (&["x"], &[&["", ""]], &["#"]),
        ];
        for (names, patterns, expected) in table {
            let topics = TopicSet {
                names: names.iter().map(|name| (*name).into()).collect(),
                patterns: patterns.iter().map(|literals| pattern(literals)).collect(),
            };
            assert_eq!(filters(&topics).expect("sound topics"), expected, "{topics:?}");
        }
        assert!(filters(&TopicSet::one("a/+")).is_err());
    }

    #[test]
    fn a_group_of_any_name_can_be_shared() {
        assert_eq!(share_name("billing.0a1b"), "billing.0a1b");
        assert_eq!(share_name("a/b+#%\0"), "a%2Fb%2B%23%25%00");
    }
}
