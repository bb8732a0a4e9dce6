//! What Kafka lets a topic be called.

use std::borrow::Cow;

const LONGEST: usize = 249;

/// The topic's legal name: a character other than `a-z A-Z 0-9 . _ -` becomes `.`. An error is for a person.
pub(crate) fn topic_name(topic: &str) -> Result<Cow<'_, str>, String> {
    let legal = |character: char| character.is_ascii_alphanumeric() || matches!(character, '.' | '_' | '-');
    let name = if topic.chars().all(legal) {
        Cow::Borrowed(topic)
    } else {
        Cow::Owned(topic.chars().map(|character| if legal(character) { character } else { '.' }).collect())
    };
    match &*name {
        "" => Err("a Kafka topic's name must not be empty".into()),
        "." | ".." => Err(format!("a Kafka topic must not be called `{name}`")),
        long if long.len() > LONGEST => {
            Err(format!("a Kafka topic's name has at most {LONGEST} characters, `{}…` has {}", &long[..32], long.len()))
        }
        _ => Ok(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn illegal_characters_become_dots() {
        let long = "x".repeat(250);
        let table = [
            ("orders.eu-1_b", Ok("orders.eu-1_b")),
            ("sensors/eu/42", Ok("sensors.eu.42")),
            ("caf\u{e9} \u{1f600}", Ok("caf...")),
            ("", Err("empty")),
            (".", Err("called `.`")),
            ("//", Err("called `..`")),
            ("///", Ok("...")),
            (&long[..249], Ok(&long[..249])),
            (&long, Err("at most 249")),
        ];
        for (topic, expected) in table {
            match (topic_name(topic), expected) {
                (Ok(name), Ok(expected)) => assert_eq!(name, expected),
                (Err(problem), Err(expected)) => assert!(problem.contains(expected), "{topic}: {problem}"),
                (found, _) => panic!("{topic}: {found:?}"),
            }
        }
    }
}
