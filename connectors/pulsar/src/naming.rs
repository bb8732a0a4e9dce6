//! What Pulsar lets a topic be called, and what its partitions are called.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

const PERSISTENT: &str = "persistent://";
const NON_PERSISTENT: &str = "non-persistent://";
/// Where a topic without a namespace lives, as Pulsar's own clients have it.
const DEFAULT_NAMESPACE: &str = "public/default/";
/// Between a topic's name and the number of a partition.
const PARTITION: &str = "-partition-";
/// The broker keeps names in paths of its metadata store.
const LONGEST: usize = 1024;
/// What would end a name or make another of it: it stands in URLs.
const REFUSED: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'/').add(b'<').add(b'>').add(b'?').add(b'\\');

/// The topic's full name, `persistent://TENANT/NAMESPACE/NAME`: the namespace is added where it is missing, and what a name cannot hold is
/// percent-encoded. An error is for a person.
pub(crate) fn topic_name(topic: &str) -> Result<Cow<'_, str>, String> {
    if !is_kept(topic) {
        return Err(format!(
            "`{topic}`: what a non-persistent topic takes is not stored, so the destination must say `required: false`"
        ));
    }
    full_name(topic, PERSISTENT)
}

/// The same for a destination that is not required: the topic may be one that stores nothing.
pub(crate) fn optional_topic_name(topic: &str) -> Result<Cow<'_, str>, String> {
    full_name(topic, if is_kept(topic) { PERSISTENT } else { NON_PERSISTENT })
}

/// Whether what such a topic takes is stored.
pub(crate) fn is_kept(topic: &str) -> bool {
    !topic.starts_with(NON_PERSISTENT)
}

fn full_name<'t>(topic: &'t str, scheme: &str) -> Result<Cow<'t, str>, String> {
    let path = topic.strip_prefix(scheme);
    let (namespace, name) = match path {
        Some(path) => split(path).ok_or_else(|| format!("`{topic}`: expected `{scheme}TENANT/NAMESPACE/NAME`"))?,
        None => (DEFAULT_NAMESPACE, topic),
    };
    if name.is_empty() {
        return Err("a Pulsar topic's name must not be empty".into());
    }
    let encoded = Cow::from(utf8_percent_encode(name, REFUSED));
    let length = scheme.len() + namespace.len() + encoded.len();
    if length > LONGEST {
        let start: String = topic.chars().take(32).collect();
        return Err(format!("a Pulsar topic's full name has at most {LONGEST} bytes, that of `{start}…` has {length}"));
    }
    match (path, encoded) {
        (Some(_), Cow::Borrowed(_)) => Ok(Cow::Borrowed(topic)),
        (_, encoded) => Ok(Cow::Owned(format!("{scheme}{namespace}{encoded}"))),
    }
}

/// `TENANT/NAMESPACE/`, and the rest.
fn split(path: &str) -> Option<(&str, &str)> {
    let mut slashes = path.match_indices('/').map(|(at, _)| at);
    let (first, second) = (slashes.next()?, slashes.next()?);
    let is_whole = first > 0 && second > first + 1;
    is_whole.then(|| path.split_at(second + 1))
}

/// `TENANT/NAMESPACE` of a full name, or of the beginning of one.
pub(crate) fn namespace(topic: &str) -> Option<&str> {
    let (namespace, _) = split(topic.strip_prefix(PERSISTENT)?)?;
    namespace.strip_suffix('/')
}

/// What the broker calls a partition; a topic without partitions is its own.
pub(crate) fn partition_name(topic: &str, partition: Option<u32>) -> String {
    partition.map_or_else(|| topic.to_owned(), |number| format!("{topic}{PARTITION}{number}"))
}

/// The topic that a name in a listing belongs to, and the number if it is that of a partition.
pub(crate) fn of_partition(name: &str) -> (&str, Option<u32>) {
    let parts = name.rsplit_once(PARTITION).and_then(|(topic, number)| Some((topic, number.parse().ok()?)));
    parts.map_or((name, None), |(topic, number)| (topic, Some(number)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_full_and_hold_what_they_can() {
        let long = "x".repeat(LONGEST - PERSISTENT.len() - DEFAULT_NAMESPACE.len());
        let table = [
            ("orders", Ok("persistent://public/default/orders")),
            ("persistent://a/b/c", Ok("persistent://a/b/c")),
            ("persistent://a/b/c d/e", Ok("persistent://a/b/c%20d%2Fe")),
            ("caf\u{e9}", Ok("persistent://public/default/caf%C3%A9")),
            ("100%", Ok("persistent://public/default/100%")),
            ("", Err("empty")),
            ("persistent://a/b/", Err("empty")),
            ("persistent://a/b", Err("expected `persistent://TENANT/NAMESPACE/NAME`")),
            ("persistent:////c", Err("expected")),
            ("non-persistent://a/b/c", Err("must say `required: false`")),
            (&format!("{long}x"), Err("at most 1024")),
        ];
        for (topic, expected) in table {
            match (topic_name(topic), expected) {
                (Ok(name), Ok(expected)) => assert_eq!(name, expected),
                (Err(problem), Err(expected)) => assert!(problem.contains(expected), "{topic}: {problem}"),
                (found, _) => panic!("{topic}: {found:?}"),
            }
        }
        let table = [
            ("non-persistent://a/b/c d", "non-persistent://a/b/c%20d"),
            ("persistent://a/b/c", "persistent://a/b/c"),
            ("c", "persistent://public/default/c"),
        ];
        for (topic, name) in table {
            assert_eq!(optional_topic_name(topic).expect("it need not be kept"), name);
        }
        let full = topic_name(&long).expect("just fits");
        assert_eq!(topic_name(&full).expect("a name is its own"), full);
    }

    #[test]
    fn partitions_are_told_from_topics() {
        let topic = "persistent://a/b/c";
        for partition in [None, Some(0), Some(12)] {
            assert_eq!(of_partition(&partition_name(topic, partition)), (topic, partition));
        }
        assert_eq!(of_partition("persistent://a/b/c-partition-x"), ("persistent://a/b/c-partition-x", None));
        assert_eq!(namespace(topic), Some("a/b"));
        assert_eq!(namespace("persistent://a/"), None);
    }
}
