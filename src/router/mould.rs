//! Reading a rendered topic or key backwards: which channel may it have come from?

use std::{borrow::Cow, collections::HashSet};

use meshgate_api::{Str, topic::TopicNaming};
use smallvec::SmallVec;

use super::{
    cast::cast,
    channel::{Channel, is_level},
    pattern::{Pattern, Step, UNKNOWN},
    template::{Part, Piece, Placeholder, Template},
};

/// A template as a row of texts, as the broker names them, with holes between them. `{channel}` is taken apart into the pattern's levels.
#[derive(Clone, Debug)]
pub(super) struct Mould {
    /// One more than there are holes.
    literals: Vec<Str>,
    holes: Vec<Hole>,
    /// What the naming makes of a `/` between levels.
    separator: Str,
}

/// What the text of a hole says about the channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hole {
    /// The wildcard level of this number.
    Level(usize),
    /// The levels that the last `#` matched.
    Rest,
    /// The same with a separator before them; nothing, if it matched only the parent level.
    Tail,
    /// Nothing: an attribute.
    Attribute,
}

/// What is known about a channel that a pattern matches.
#[derive(Debug)]
pub(super) struct Clues<'a> {
    levels: SmallVec<[Option<&'a str>; 4]>,
    below: Below<'a>,
}

/// What the last `#` matched.
#[derive(Debug)]
enum Below<'a> {
    Unknown,
    /// Only the parent level.
    Nothing,
    Levels(Cow<'a, str>),
}

/// The text of each hole.
type Found<'t> = SmallVec<[&'t str; 4]>;

/// A piece of a mould before it is named.
enum Segment<'a> {
    Text(&'a str),
    Hole(Hole),
}

impl Mould {
    /// The error says why the naming takes nothing that the template renders.
    pub(super) fn new(template: &Template, pattern: &Pattern, naming: TopicNaming) -> Result<Self, String> {
        let segments: Vec<Segment<'_>> = template.parts().iter().flat_map(|part| segments(part, pattern)).collect();
        let mut pieces = Vec::with_capacity(segments.len());
        let mut holes = Vec::new();
        for segment in segments {
            match segment {
                Segment::Text(text) => pieces.push(Some(Cow::Borrowed(text))),
                Segment::Hole(hole) => {
                    pieces.push(None);
                    if hole.is_deep() {
                        pieces.extend([Some(Cow::Borrowed("/")), None]); // shows what becomes of a `/`
                    }
                    holes.push(hole);
                }
            }
        }
        let mut named = cast(&pieces, naming)?.into_iter();
        let mut mould = Self { literals: named.next().into_iter().collect(), holes, separator: Str::new() };
        for hole in &mould.holes {
            if hole.is_deep() {
                mould.separator = named.next().unwrap_or_default();
            }
            mould.literals.extend(named.next());
        }
        Ok(mould)
    }

    /// The whole text, where it has no holes.
    pub(super) fn literal(&self) -> Option<&Str> {
        self.literals.first().filter(|_| self.holes.is_empty())
    }

    /// What stands before the first hole, and what behind the last.
    pub(super) fn ends(&self) -> (&str, &str) {
        match &self.literals[..] {
            [first, .., last] => (first, last),
            _ => ("", ""),
        }
    }

    /// Adds what `text` says to the clues, and changes none that is known already. `false`: no rendering is this text.
    pub(super) fn read<'t>(&self, text: &'t str, clues: &mut Clues<'t>) -> bool {
        let Some(found) = self.take_apart(text) else { return false };
        for (hole, text) in self.holes.iter().zip(found) {
            match hole {
                Hole::Level(wildcard) => clues.level(*wildcard, text),
                Hole::Rest | Hole::Tail if text.is_empty() => clues.nothing_below(),
                Hole::Rest => clues.levels_below(text, &self.separator),
                Hole::Tail => clues.levels_below(&text[self.separator.len()..], &self.separator),
                Hole::Attribute => {}
            }
        }
        true
    }

    fn take_apart<'t>(&self, text: &'t str) -> Option<Found<'t>> {
        let (first, others) = self.literals.split_first()?;
        let rest = text.strip_prefix(&**first)?;
        let mut attempt = Attempt { mould: self, others, found: Found::new(), dead_ends: HashSet::new() };
        attempt.fill(0, rest).then_some(attempt.found)
    }
}

impl Hole {
    /// Whether it holds separators.
    fn is_deep(self) -> bool {
        matches!(self, Self::Rest | Self::Tail)
    }

    /// How many bytes from the beginning of `text` it can hold: one level has no `/`.
    fn longest(self, text: &str) -> usize {
        match self {
            Self::Level(_) => text.find('/').unwrap_or(text.len()),
            Self::Rest | Self::Tail | Self::Attribute => text.len(),
        }
    }
}

fn segments<'a>(part: &'a Part, pattern: &'a Pattern) -> Vec<Segment<'a>> {
    match part {
        Part::Text(text) => vec![Segment::Text(text)],
        Part::Value(Placeholder::Attribute(_), _) => vec![Segment::Hole(Hole::Attribute)],
        Part::Value(Placeholder::Channel(Piece::Capture(wildcard)), _) => vec![Segment::Hole(Hole::Level(*wildcard))],
        Part::Value(Placeholder::Channel(Piece::Rest), _) => vec![Segment::Hole(Hole::Rest)],
        Part::Value(Placeholder::Channel(Piece::All), _) => {
            pattern.steps().enumerate().flat_map(|(at, step)| level(at, step)).collect()
        }
    }
}

/// A level of the channel, with the `/` before it.
fn level(at: usize, step: Step<'_>) -> impl Iterator<Item = Segment<'_>> {
    let (slash, segment) = match step {
        Step::Literal(text) => (at > 0, Segment::Text(text)),
        Step::Wild(wildcard) => (at > 0, Segment::Hole(Hole::Level(wildcard))),
        Step::Rest => (false, Segment::Hole(if at == 0 { Hole::Rest } else { Hole::Tail })),
    };
    slash.then_some(Segment::Text("/")).into_iter().chain([segment])
}

/// A search for the shortest texts, from the left, that fill the holes. A dead end is tried once, so that a foreign topic's name
/// cannot make it long: there are at most holes times bytes of them.
struct Attempt<'m, 't> {
    mould: &'m Mould,
    /// The literal after each hole.
    others: &'m [Str],
    found: Found<'t>,
    /// Hole, and bytes left at it.
    dead_ends: HashSet<(usize, usize)>,
}

impl<'t> Attempt<'_, 't> {
    /// Whether the holes from `hole` on and the literals after them can be all of `text`.
    fn fill(&mut self, hole: usize, text: &'t str) -> bool {
        let (Some(kind), Some(literal)) = (self.mould.holes.get(hole).copied(), self.others.get(hole)) else {
            return text.is_empty();
        };
        if self.dead_ends.contains(&(hole, text.len())) {
            return false;
        }
        let longest = kind.longest(text);
        let mut from = 0;
        while let Some(at) = text[from..].find(&**literal)
            && from + at <= longest
        {
            let (filling, rest) = text.split_at(from + at);
            if kind != Hole::Tail || filling.is_empty() || filling.starts_with(&*self.mould.separator) {
                self.found.push(filling);
                if self.fill(hole + 1, &rest[literal.len()..]) {
                    return true;
                }
                self.found.pop();
            }
            let Some(next) = rest.chars().next() else { break };
            from += at + next.len_utf8();
        }
        self.dead_ends.insert((hole, text.len()));
        false
    }
}

impl<'t> Clues<'t> {
    /// Nothing is known.
    pub(super) fn none(pattern: &Pattern) -> Self {
        Self { levels: SmallVec::from_elem(None, pattern.wildcards()), below: Below::Unknown }
    }

    fn level(&mut self, wildcard: usize, text: &'t str) {
        if let Some(level @ None) = self.levels.get_mut(wildcard)
            && is_level(text)
        {
            *level = Some(text);
        }
    }

    fn nothing_below(&mut self) {
        if let Below::Unknown = self.below {
            self.below = Below::Nothing;
        }
    }

    fn levels_below(&mut self, text: &'t str, separator: &str) {
        let levels = if separator == "/" { Cow::Borrowed(text) } else { Cow::Owned(text.replace(separator, "/")) };
        if let Below::Unknown = self.below
            && levels.split('/').all(is_level)
        {
            self.below = Below::Levels(levels);
        }
    }

    /// The channel, with [`UNKNOWN`] for what is not known; for all of it, if what is known makes no channel.
    pub(super) fn channel(&self, pattern: &Pattern) -> Str {
        let below = match &self.below {
            Below::Unknown => Some(UNKNOWN),
            Below::Nothing => None,
            Below::Levels(levels) => Some(&**levels),
        };
        let channel = pattern.fill(|wildcard| self.levels.get(wildcard).copied().flatten(), below);
        if Channel::check(&channel).is_ok() { channel.into() } else { pattern.unknown().clone() }
    }
}

#[cfg(test)]
mod tests;
