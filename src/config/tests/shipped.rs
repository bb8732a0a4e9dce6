//! The files in `config/`, with the connectors that this program has.
#![cfg(feature = "kafka")]

use std::collections::BTreeSet;

use meshgate_api::settings::{Entry, Mark, Node, Problems, Value};

use super::*;
use crate::registry;

const REFERENCE: &str = include_str!("../../../config/reference.yaml");

/// What the gateway knows and does not build yet.
const LATER: &str = "tls mqtt pulsar compression batch retain subscriptions state auth access sinks";

#[test]
fn every_shipped_file_is_good() {
    let shipped = [
        ("default", DEFAULT),
        ("meshgate", include_str!("../../../config/meshgate.yaml")),
        ("docker", include_str!("../../../config/docker.yaml")),
        ("reference", REFERENCE),
    ];
    for (name, text) in shipped {
        if let Err(issues) = parse(text, Path::new(name), &registry::kinds(), &|_| None) {
            panic!("{}", issues.iter().map(Issue::to_string).collect::<Vec<_>>().join("\n"));
        }
    }
    let default = embedded_default(&registry::kinds()).expect("a good configuration");
    assert_eq!((&*default.http.address, &*default.admin.address), ("127.0.0.1:8080", "127.0.0.1:9090"));
    assert_eq!(default.connectors[0].kind, "memory");
}

/// An unknown key is answered with those that are known in its place: so every place of the reference is asked.
#[test]
fn the_reference_has_every_key() {
    let problems = Problems::default();
    let mut tree = yaml::parse(REFERENCE, &problems).expect("YAML");
    let mut written = BTreeSet::new();
    add_unknown(&mut tree, &mut written);
    let config = decode::config(tree, &registry::kinds(), &problems);
    assert!(config.is_none() || !problems.is_empty());
    let problems = problems.into_sorted();
    let asked_for = problems.iter().map(|problem| &problem.message).filter(|message| !message.contains("found"));
    let known: BTreeSet<_> = asked_for.flat_map(|message| message.split('`').skip(1).step_by(2)).collect();
    for key in ["address", "ring", "capacity", "brokers", "topic", "exact", "grace"] {
        assert!(known.contains(key), "{key} is not asked for: {problems:?}");
    }
    let missing: Vec<_> = known.iter().filter(|key| !written.contains(**key)).collect();
    assert!(missing.is_empty(), "config/reference.yaml lacks {missing:?}");
}

#[test]
fn the_reference_names_what_is_not_built() {
    let later: Vec<_> = REFERENCE
        .lines()
        .filter_map(|line| line.to_lowercase().split_once("not built yet").map(|(_, keys)| keys.to_owned()))
        .collect();
    for key in LATER.split_whitespace() {
        assert!(
            later.iter().any(|keys| keys.contains(key)),
            "config/reference.yaml does not say that `{key}` is not built yet"
        );
    }
}

/// Adds an unknown key to every map, and collects the keys that were there.
fn add_unknown(node: &mut Node, written: &mut BTreeSet<String>) {
    match &mut node.value {
        Value::Scalar(_) => {}
        Value::List(items) => items.iter_mut().for_each(|item| add_unknown(item, written)),
        Value::Map(entries) => {
            for entry in &mut *entries {
                written.insert(entry.key.clone());
                add_unknown(&mut entry.node, written);
            }
            entries.push(Entry { key: "unheard-of-key".into(), mark: Mark::START, node: Node::plain("x") });
        }
    }
}
