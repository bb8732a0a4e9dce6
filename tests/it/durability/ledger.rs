//! Compares what was answered with what the topic holds.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::Duration,
};

use super::{
    load::{Answer, Publication, table},
    tell,
};
use crate::harness::broker::Stored;

/// No answer may be later than this after the last byte of its request (`limits.publish_timeout`) …
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(10);
/// … as far as a client on a busy machine can tell.
const TOLERANCE: Duration = Duration::from_millis(500);

/// Violations that are listed one by one.
const LISTED: usize = 20;

/// Prints the counts, and fails if anything speaks against the guarantee.
pub fn settle(title: &str, publications: &[Publication], stored: &[Stored]) {
    let mut places: HashMap<&str, Vec<&Stored>> = HashMap::new();
    stored.iter().for_each(|record| places.entry(&record.id).or_default().push(record));
    let count = |answer| {
        let stored = |publication: &&Publication| places.contains_key(&*publication.id);
        publications.iter().filter(|publication| publication.answer == answer).filter(stored).count()
    };
    let repeated = stored.len() - places.len();
    tell(format!(
        "{title}\n{}         stored: {} of those answered 202, {} answered 503, {} answered 504, {} unanswered; {repeated} twice",
        table(publications),
        count(Answer::Stored),
        count(Answer::Unavailable),
        count(Answer::Unknown),
        count(Answer::Broken),
    ));
    let mut violations = fates(publications, &places);
    violations.extend(foreign(publications, stored));
    violations.extend(disorder(publications, &places));
    let listed = violations.iter().take(LISTED).map(String::as_str).collect::<Vec<_>>().join("\n");
    assert!(violations.is_empty(), "{title}: {} violations:\n{listed}", violations.len());
}

/// Each event by itself.
fn fates(publications: &[Publication], places: &HashMap<&str, Vec<&Stored>>) -> Vec<String> {
    let mut violations = Vec::new();
    for publication in publications {
        let id = &publication.id;
        let copies = places.get(&**id).map_or(&[][..], Vec::as_slice);
        match (publication.answer, copies) {
            (Answer::Stored, []) => violations.push(format!("{id} was confirmed and is missing")),
            (_, [_, _, ..]) => violations.push(format!("{id} was sent once and is stored {} times", copies.len())),
            (Answer::Unavailable, [_]) => {
                violations.push(format!("{id} was refused ({}) and is stored", publication.detail));
            }
            (Answer::Unexpected(status), _) => violations.push(format!("{id}: {status} {}", publication.detail)),
            _ => {}
        }
        if let Some(copy) = copies.iter().find(|copy| copy.value != publication.sequence.to_string()) {
            violations.push(format!("{id} holds {:?}", copy.value));
        }
        if publication.took() > PUBLISH_TIMEOUT + TOLERANCE {
            violations.push(format!("{id} was answered after {:?}: {:?}", publication.took(), publication.answer));
        }
    }
    violations
}

fn foreign(publications: &[Publication], stored: &[Stored]) -> Vec<String> {
    let known: HashSet<_> = publications.iter().map(|publication| &publication.id).collect();
    let strange = stored.iter().filter(|record| !known.contains(&record.id));
    strange.map(|record| format!("{} was never published", record.id)).collect()
}

/// A publisher sends its next event when the last one is answered: the topic must have the confirmed ones in that order, in one partition.
fn disorder(publications: &[Publication], places: &HashMap<&str, Vec<&Stored>>) -> Vec<String> {
    let mut violations = Vec::new();
    let mut last: BTreeMap<u32, &Stored> = BTreeMap::new();
    for publication in publications.iter().filter(|publication| publication.answer == Answer::Stored) {
        let Some(record) = places.get(&*publication.id).and_then(|copies| copies.first()) else { continue };
        if let Some(before) = last.insert(publication.publisher, record)
            && (before.partition != record.partition || before.offset >= record.offset)
        {
            violations.push(format!("{record:?} came after {before:?}"));
        }
    }
    violations
}
