//! Configurations with mistakes, and all that is said of them, from `bad.txt`.

use super::*;

const CASES: &str = include_str!("bad.txt");

#[test]
fn every_mistake_is_named_with_its_place() {
    let mut count = 0;
    for case in CASES.split("\n========\n").skip(1) {
        let (text, expected) = case.split_once("\n--------\n").expect("a case has two parts");
        let text = text.replace("@connectors", CONNECTORS.trim_end()).replace("@routes", ROUTES.trim_end());
        let found = parsed(&text).err().unwrap_or_default();
        assert_eq!(found, expected.lines().collect::<Vec<_>>(), "in:\n{text}");
        count += 1;
    }
    assert!(count >= 40, "{count} cases were read");
}
