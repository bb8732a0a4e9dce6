//! The files in `config/`, with the connectors that this program has.
#![cfg(feature = "default")] // with every connector

use super::*;
use crate::registry;

pub(super) const REFERENCE: &str = include_str!("../../../config/reference.yaml");

/// What the gateway knows and does not build yet.
const LATER: &str = "tls auth access sinks";

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
    assert_eq!(default.mqtt.map(|mqtt| mqtt.address).as_deref(), Some("127.0.0.1:1883"));
    assert_eq!(default.connectors[0].kind, "memory");
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
