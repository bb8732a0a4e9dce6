//! A configuration file: it is taken, or every problem has its place.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use meshgate::{config, registry};

fuzz_target!(|input: &[u8]| {
    let Ok(text) = std::str::from_utf8(input) else { return };
    if text.contains("file:") {
        return; // would read this machine's files
    }
    if let Err(issues) = config::parse(text, Path::new("fuzz.yaml"), &registry::kinds(), &|_| None) {
        assert!(!issues.is_empty());
        for issue in issues {
            assert!(issue.to_string().starts_with("fuzz.yaml:"), "{issue}");
        }
    }
});
