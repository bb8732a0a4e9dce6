//! The decoder, the schema and the reference file know the same keys, defaults and ranges.
#![cfg(feature = "default")] // with every connector

use std::collections::{BTreeMap, BTreeSet};

use meshgate_api::settings::{Entry, Mark, Node, Problems, Value as Setting};
use serde_json::Value;

use super::{shipped::REFERENCE, *};
use crate::registry;

/// The keys of each map, by its path.
type Keys = BTreeMap<String, BTreeSet<String>>;

fn schema() -> Value {
    serde_json::from_str(SCHEMA).expect("JSON")
}

fn reference() -> Node {
    yaml::parse(REFERENCE, &Problems::default()).expect("YAML")
}

#[test]
fn all_know_the_same_keys() {
    let (schema, decoded) = (schema(), known_to_the_decoder());
    let (mut described, mut written) = (Keys::new(), Keys::new());
    compare_with(&schema, &schema, &reference(), "", &mut described, &mut written);
    let [decoded, described, written] = [decoded, described, written].map(by_kind);
    assert_eq!(decoded, described, "the decoder on the left, config/schema.json on the right");
    assert_eq!(described, written, "config/schema.json on the left, config/reference.yaml on the right");
}

/// No route, destination or filter needs to have every key; all of them together do.
fn by_kind(keys: Keys) -> Keys {
    let mut kinds = Keys::new();
    for (path, keys) in keys {
        let is_filter = path.contains(".filters");
        let kind = if is_filter { "filter".to_owned() } else { path.replace(|c: char| c.is_ascii_digit(), "") };
        kinds.entry(kind).or_default().extend(keys);
    }
    kinds
}

/// An unknown key is answered with those that are known in its place.
fn known_to_the_decoder() -> Keys {
    let problems = Problems::default();
    let mut tree = reference();
    add_unknown(&mut tree);
    assert!(decode::config(tree, &registry::kinds(), &problems).is_none() || !problems.is_empty());
    let mut known = Keys::new();
    for problem in problems.into_sorted() {
        let names = problem.message.split('`').skip(1).step_by(2).map(str::to_owned).collect();
        if problem.message.starts_with("unknown key: known here is") {
            let path = problem.path.strip_suffix("unheard-of-key").expect("it is the unknown one");
            known.insert(path.trim_end_matches('.').to_owned(), names);
        } else if problem.message.starts_with("expected just one of") {
            known.insert(problem.path, names);
        }
    }
    known
}

fn add_unknown(node: &mut Node) {
    match &mut node.value {
        Setting::Scalar(_) => {}
        Setting::List(items) => items.iter_mut().for_each(add_unknown),
        Setting::Map(entries) => {
            entries.iter_mut().for_each(|entry| add_unknown(&mut entry.node));
            entries.push(Entry { key: "unheard-of-key".into(), mark: Mark::START, node: Node::plain("x") });
        }
    }
}

/// Walks the file and the schema together.
fn compare_with(root: &Value, schema: &Value, node: &Node, path: &str, described: &mut Keys, written: &mut Keys) {
    let schema = resolved(root, schema, node);
    match &node.value {
        Setting::Scalar(_) => {}
        Setting::List(items) => {
            for (at, item) in items.iter().enumerate() {
                compare_with(root, &schema["items"], item, &format!("{path}[{at}]"), described, written);
            }
        }
        Setting::Map(entries) => {
            if let Some(properties) = schema["properties"].as_object() {
                assert_eq!(schema["additionalProperties"], false, "{path}");
                described.insert(path.to_owned(), properties.keys().cloned().collect());
                written.insert(path.to_owned(), entries.iter().map(|entry| entry.key.clone()).collect());
            }
            for Entry { key, node, .. } in entries {
                let inner = schema["properties"].get(key).unwrap_or(&schema["additionalProperties"]);
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                compare_with(root, inner, node, &path, described, written);
            }
        }
    }
}

/// Follows references; of several schemas that of the node's kind is meant.
fn resolved<'s>(root: &'s Value, schema: &'s Value, node: &Node) -> &'s Value {
    if let Some(name) = schema["$ref"].as_str().and_then(|to| to.strip_prefix("#/$defs/")) {
        return resolved(root, &root["$defs"][name], node);
    }
    let Some(kinds) = schema["oneOf"].as_array() else { return schema };
    let kind = node.get("kind").expect("a connector has a kind");
    let is_of = |schema: &Value| {
        let own = schema["properties"]["kind"]["const"].as_str().expect("each kind has a name");
        kind.means(&Node::plain(own))
    };
    let mut kinds = kinds.iter().map(|schema| resolved(root, schema, node));
    kinds.find(|schema| is_of(schema)).expect("the schema has this kind")
}

#[test]
fn every_kind_of_connector_is_described() {
    let (schema, reference) = (schema(), reference());
    let choices = schema["properties"]["connectors"]["additionalProperties"]["oneOf"].as_array().expect("a choice");
    let Setting::Map(written) = &reference.get("connectors").expect("connectors").value else { panic!("no map") };
    for kind in registry::kinds() {
        let (name, place) = (kind.name(), format!("#/$defs/{}", kind.name()));
        let own = &schema["$defs"][name]["properties"]["kind"]["const"];
        assert_eq!(own, name, "config/schema.json has no `{place}` whose `kind` is the constant on the right");
        let is_chosen = choices.iter().any(|choice| choice["$ref"] == *place);
        assert!(is_chosen, "config/schema.json does not name `{place}` among the kinds of `connectors`");
        let is_own = |entry: &Entry| entry.node.get("kind").is_some_and(|kind| kind.means(&Node::plain(name)));
        assert!(written.iter().any(is_own), "config/reference.yaml has no connector of kind `{name}`");
    }
}

/// The keys that have a value of their own, as `limits.ring`, and their schemas.
fn leaves() -> Vec<(String, Value)> {
    let schema = schema();
    let mut leaves = Vec::new();
    let sections = ["listeners.http", "listeners.admin", "limits", "shutdown"];
    for section in sections {
        let properties = section.split('.').fold(&schema, |schema, key| &schema["properties"][key]);
        for (key, leaf) in properties["properties"].as_object().expect("keys") {
            leaves.push((format!("{section}.{key}"), leaf.clone()));
        }
    }
    leaves
}

/// What the decoder makes of one key's value.
fn decoded(path: &str, value: &str) -> Result<Config, Vec<String>> {
    let (section, key) = path.rsplit_once('.').expect("a section");
    let text = match section.split_once('.') {
        Some((outer, inner)) => format!("{outer}: {{ {inner}: {{ {key}: {value} }} }}"),
        None => format!("{section}: {{ {key}: {value} }}"),
    };
    parsed(&format!("{CONNECTORS}{ROUTES}{text}\n"))
}

#[test]
fn defaults_are_those_of_the_decoder() {
    let plain = format!("{:?}", parsed(&format!("{CONNECTORS}{ROUTES}")).expect("a good configuration"));
    let without = |config: &str| config.split_once("written:").map(|(settings, _)| settings.to_owned());
    for (path, leaf) in leaves().iter().filter(|(_, leaf)| leaf.get("default").is_some()) {
        let given = format!("{:?}", decoded(path, &leaf["default"].to_string()).expect("a default is good"));
        assert_eq!(without(&given), without(&plain), "{path}");
    }
    let others = leaves().into_iter().filter(|(_, leaf)| leaf.get("default").is_none());
    assert_eq!(others.map(|(path, _)| path).collect::<Vec<_>>(), ["listeners.http.default_channel"]);
}

#[test]
fn ranges_are_those_of_the_decoder() {
    let mut ranges = 0;
    for (path, leaf) in leaves() {
        let refused = ["0", "1", "9999999999", "9999TiB", "0s", "9999h"].map(|value| decoded(&path, value).err());
        let range = refused.into_iter().flatten().flatten().find_map(|problem| {
            let (range, _) = problem.split_once(": expected from ")?.1.split_once(", found")?;
            Some(range.to_owned())
        });
        let Some(range) = range else { continue };
        ranges += 1;
        let number = &leaf["anyOf"][0];
        match (number["minimum"].as_u64(), number["maximum"].as_u64()) {
            (Some(least), Some(most)) => assert_eq!(format!("{least} to {most}"), range, "{path}"),
            _ => assert!(
                leaf["description"].as_str().is_some_and(|text| text.ends_with(&format!("From {range}"))),
                "{path}: {range}"
            ),
        }
        let key = path.rsplit('.').next().expect("a key");
        assert!(
            REFERENCE.lines().any(|line| line.trim_start().starts_with(&format!("{key}: ")) && line.contains(&range)),
            "config/reference.yaml: {key} is from {range}"
        );
    }
    assert_eq!(ranges, 17);
}
