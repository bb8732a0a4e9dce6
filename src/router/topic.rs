//! A destination's topic: its template together with what the broker's naming makes of it.

use std::borrow::Cow;

use meshgate_api::{
    Str,
    topic::{TopicNaming, TopicPattern},
};

use super::{
    cast::cast,
    index::Cut,
    lasting::{lasting, made},
    mould::{Clues, Mould},
    pattern::Pattern,
    shape::Meeting,
    template::{Missing, Part, Piece, Placeholder, Scene, Template},
};

/// Topics that begin so belong to the broker: no template reads them.
const INTERNAL: &str = "__";
const RESERVED: &str = "the gateway keeps its `state` in that topic";

#[derive(Clone, Debug)]
pub(super) struct Topic {
    template: Template,
    naming: TopicNaming,
    /// The name, where the template has no placeholder.
    literal: Option<Str>,
    mould: Mould,
    /// The gateway's own, which no event comes to.
    reserved: Option<Str>,
}

/// Why an event has no topic here.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NoTopic {
    Missing(Missing),
    Illegal { topic: Str, why: String },
}

/// The topics of a destination that channels of some filter come to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Narrowed {
    Name(Str),
    Pattern(TopicPattern),
}

impl Topic {
    pub(super) fn new(
        template: Template,
        pattern: &Pattern,
        naming: TopicNaming,
        reserved: Option<Str>,
    ) -> Result<Self, String> {
        let mould = Mould::new(&template, pattern, naming)?;
        let literal = template.literal().and_then(|_| mould.literal()).map(|name| lasting(name));
        if literal.is_some() && literal == reserved {
            return Err(RESERVED.into());
        }
        Ok(Self { template, naming, literal, mould, reserved })
    }

    /// The topic as the broker names it.
    pub(super) fn render(&self, scene: &Scene<'_>) -> Result<Str, NoTopic> {
        if let Some(literal) = &self.literal {
            return Ok(literal.clone());
        }
        let mut topic = String::with_capacity(64);
        self.template.render_into(scene, &mut topic).map_err(NoTopic::Missing)?;
        match (self.naming)(&topic) {
            Ok(name) if self.reserved.as_deref() == Some(&*name) => {
                Err(NoTopic::Illegal { why: RESERVED.into(), topic: topic.into() })
            }
            Ok(name) => Ok(made(&name)),
            Err(why) => Err(NoTopic::Illegal { why, topic: topic.into() }),
        }
    }

    /// Whether it is rendered to this name.
    pub(super) fn renders_to(&self, topic: &str, scene: &Scene<'_>) -> bool {
        match &self.literal {
            Some(literal) => literal == topic,
            None => self.render(scene).is_ok_and(|rendered| rendered == topic),
        }
    }

    /// What all its names have in common, and where it stands in them.
    pub(super) fn mark(&self) -> (Cut, &str) {
        if let Some(name) = self.mould.literal() {
            return (Cut::Whole, name);
        }
        let (first, last) = self.mould.ends();
        if first.len() >= last.len() { (Cut::First(first.len()), first) } else { (Cut::Last(last.len()), last) }
    }

    /// Adds what a name says to the clues; `false`: it is never rendered to it.
    pub(super) fn read<'t>(&self, topic: &'t str, clues: &mut Clues<'t>) -> bool {
        self.mould.read(topic, clues)
    }

    /// The topics that the channels of a filter come to; `None`: none that the broker can have or that a template may read.
    pub(super) fn narrow(&self, pattern: &Pattern, meeting: &Meeting<'_>) -> Option<Narrowed> {
        if let Some(literal) = &self.literal {
            return Some(Narrowed::Name(literal.clone()));
        }
        let pieces: Vec<_> = self.template.parts().iter().flat_map(|part| fixed(part, pattern, meeting)).collect();
        let literals = cast(&pieces, self.naming).ok()?;
        match &literals[..] {
            [name] if name.starts_with(INTERNAL) || self.reserved.as_ref() == Some(name) => None,
            [name] => Some(Narrowed::Name(name.clone())),
            _ => {
                let pattern = TopicPattern::new(literals)?;
                Some(Narrowed::Pattern(match &self.reserved {
                    Some(reserved) => pattern.without(reserved.clone()),
                    None => pattern,
                }))
            }
        }
    }
}

/// What the channels of a filter leave of a part of the template: texts, and holes where they differ.
fn fixed<'a>(part: &'a Part, pattern: &Pattern, meeting: &'a Meeting<'_>) -> Vec<Option<Cow<'a, str>>> {
    let levels = &meeting.levels;
    let (pieces, fallback) = match part {
        Part::Text(text) => return vec![Some(Cow::Borrowed(text))],
        Part::Value(Placeholder::Attribute(_), _) => return vec![None],
        Part::Value(Placeholder::Channel(piece), fallback) => {
            let pieces = match piece {
                Piece::All => join(levels, meeting.open),
                Piece::Rest => join(&levels[pattern.depth()..], meeting.open),
                Piece::Capture(wildcard) => match pattern.level_of(*wildcard).and_then(|at| levels.get(at)) {
                    Some(level) => vec![level.map(Cow::Borrowed)],
                    None => vec![None],
                },
            };
            (pieces, fallback)
        }
    };
    let empty = pieces.iter().all(|piece| piece.as_deref() == Some(""));
    match fallback {
        Some(fallback) if empty => vec![Some(Cow::Borrowed(fallback))],
        _ => pieces,
    }
}

/// Levels with `/` between them; an open end is a hole that holds the `/` before it.
fn join<'a>(levels: &[Option<&'a str>], open: bool) -> Vec<Option<Cow<'a, str>>> {
    let mut pieces = Vec::with_capacity(2 * levels.len() + 1);
    for (at, level) in levels.iter().enumerate() {
        if at > 0 {
            pieces.push(Some(Cow::Borrowed("/")));
        }
        pieces.push(level.map(Cow::Borrowed));
    }
    if open {
        pieces.push(None);
    }
    pieces
}

#[cfg(test)]
mod tests;
