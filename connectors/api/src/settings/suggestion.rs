//! What somebody may have meant by a key that is not known.

/// ``did you mean `size`?`` if one of `known` is that near, else which are known.
#[must_use]
pub fn suggestion(key: &str, known: &[&str]) -> String {
    match nearest(key, known) {
        Some(known) => format!("did you mean `{known}`?"),
        None if known.is_empty() => "nothing is expected here".into(),
        None => format!("known here is {}", quoted(known)),
    }
}

/// The one of `known` that `key` may be a misspelling of.
pub(super) fn nearest<'k>(key: &str, known: &[&'k str]) -> Option<&'k str> {
    let distance = |known: &str| strsim::osa_distance(key, known);
    let nearest = known.iter().copied().min_by_key(|known| distance(known))?;
    (distance(nearest) <= nearest.len().min(key.len()).div_ceil(3)).then_some(nearest)
}

/// Words in code quotes, with commas.
pub(super) fn quoted(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}
