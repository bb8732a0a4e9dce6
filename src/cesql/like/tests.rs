use std::cell::Cell;

use proptest::prelude::*;

use super::*;

fn fits(text: &str, pattern: &str) -> bool {
    Pattern::compile(pattern).fits(text)
}

#[test]
fn patterns() {
    let cases = [
        ("", "", true),
        ("", "%", true),
        ("", "%%", true),
        ("", "_", false),
        ("a", "", false),
        ("abc", "%", true),
        ("abc", "a%", true),
        ("abc", "%c", true),
        ("abc", "%b%", true),
        ("abc", "%d%", false),
        ("abc", "a%%c", true),
        ("aba", "ab%ba", false),
        ("abba", "ab%ba", true),
        (".ab.cde.", ".%.%.", true),
        ("ab.cde", ".%.%.", false),
        ("aXbYc", "%X%Y%", true),
        ("aYbXc", "%X%Y%", false),
        ("mississippi", "m%iss%ip%i", true),
        ("abc", "___", true),
        ("abc", "____", false),
        ("abc", "%___", true),
        ("ab", "%___", false),
        ("abc", "%_b_%", true),
        ("bc", "%_b_%", false),
        ("aabab", "%a_a%", true),
        ("aabbb", "%a_a%", false),
        ("xxabcxx", "%a_c%", true),
        ("日本語", "_本_", true),
        ("日本語", "%本_", true),
        ("日本語", "%_語%", true),
        ("Zoë", "Zo_", true),
        ("a%b", "a\\%b", true),
        ("axb", "a\\%b", false),
        ("a_b", "%\\_%", true),
        ("ab", "%\\_%", false),
        ("a\\b", "a\\b", true),
        ("a\\", "a\\", true),
        ("a\\%", "a\\\\%", true),
        ("a\\x", "a\\\\%", false),
        ("_b*", "_b*", true),
    ];
    for (text, pattern, expected) in cases {
        assert_eq!(fits(text, pattern), expected, "{text} LIKE {pattern}");
    }
}

#[test]
fn a_piece_may_be_longer_than_a_word_of_bits() {
    for length in [1, 63, 64, 65, 128, 200] {
        let piece = format!("{}b", "_".repeat(length));
        let text = format!("{}b", "a".repeat(length));
        assert!(fits(&text, &format!("%{piece}%")), "{length}");
        assert!(fits(&format!("x{text}y"), &format!("%{piece}%")), "{length}");
        assert!(!fits(&text[1..], &format!("%{piece}%")), "{length}");
    }
}

/// A pattern that has a matcher with backtracking try all ways to part the text.
#[test]
fn a_scan_reads_each_character_once() {
    let text = "a".repeat(10_000);
    let read = Cell::new(0);
    let mut characters = text.char_indices().inspect(|_| read.set(read.get() + 1));
    let mut found = 0;
    let scan = Scan::new(&[Item::One('a'), Item::Any, Item::One('a')]);
    while scan.end(&mut characters).is_some() {
        found += 1;
    }
    assert_eq!((found, read.get()), (3_333, 10_000));
    let never = Scan::new(&[Item::One('a'), Item::Any, Item::One('b')]);
    read.set(0);
    assert_eq!(never.end(&mut text.char_indices().inspect(|_| read.set(read.get() + 1))), None);
    assert_eq!(read.get(), 10_000);
    assert!(!fits(&text, &format!("{}b", "%a_a".repeat(2_000))));
}

/// The definition, taken by its word.
fn naive(text: &[char], pattern: &[char]) -> bool {
    match pattern {
        [] => text.is_empty(),
        ['%', rest @ ..] => (0..=text.len()).any(|skipped| naive(&text[skipped..], rest)),
        ['\\', wildcard @ ('%' | '_'), rest @ ..] => text.first() == Some(wildcard) && naive(&text[1..], rest),
        ['_', rest @ ..] => !text.is_empty() && naive(&text[1..], rest),
        [literal, rest @ ..] => text.first() == Some(literal) && naive(&text[1..], rest),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn it_means_what_its_definition_says(text in "[abé%_]{0,9}", pattern in "[abé%_\\\\]{0,7}") {
        let characters = |text: &str| text.chars().collect::<Vec<_>>();
        prop_assert_eq!(fits(&text, &pattern), naive(&characters(&text), &characters(&pattern)));
    }
}
