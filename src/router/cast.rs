//! What a broker's naming makes of the text around the placeholders of a topic.
//!
//! A naming judges whole names only. So the holes are filled with a marker that any naming leaves alone, and the name is cut at the markers.

use std::borrow::Cow;

use meshgate_api::{Str, topic::TopicNaming};

/// Letters that no percent-encoding writes.
const MARKERS: &str = "qxzjvwkyghmlnoprstu";

/// Text, or a hole where it is `None`.
pub(super) type Pieces<'a> = [Option<Cow<'a, str>>];

/// The named texts around the holes: one more than there are holes. The error says why no such name can be.
pub(super) fn cast(pieces: &Pieces<'_>, naming: TopicNaming) -> Result<Vec<Str>, String> {
    let holes = pieces.iter().filter(|piece| piece.is_none()).count();
    for marker in markers() {
        if pieces.iter().flatten().any(|text| text.contains(&*marker)) {
            continue;
        }
        let filled: String = pieces.iter().map(|piece| piece.as_deref().unwrap_or(&marker)).collect();
        let name = naming(&filled).map_err(|why| format!("`{filled}` is no topic: {why}"))?;
        let literals: Vec<Str> =
            if holes == 0 { vec![Str::from(&*name)] } else { name.split(&*marker).map(Str::from).collect() };
        if literals.len() == holes + 1 {
            return Ok(literals);
        }
    }
    Err("its placeholders cannot be told from the text around them".to_owned())
}

/// One letter, then two that differ: no text shorter than a topic can be holds them all.
fn markers() -> impl Iterator<Item = String> {
    let pairs = MARKERS.chars().flat_map(|first| {
        MARKERS.chars().filter(move |second| *second != first).map(move |second| String::from_iter([first, second]))
    });
    MARKERS.chars().map(String::from).chain(pairs)
}

#[cfg(test)]
mod tests;
