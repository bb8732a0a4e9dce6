//! The form that channel patterns and channel filters share: levels, each a text or anything, and perhaps an open end.

use std::ops::Range;

use meshgate_api::Str;
use smallvec::SmallVec;

/// One level.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Level {
    /// This text.
    Literal(Str),
    /// Any one level, the empty one too.
    Any,
}

/// Levels, and whether more may follow.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    levels: Vec<Level>,
    /// `#`: none or more levels follow.
    open: bool,
    /// The literal levels before the first wildcard, joined: compared before anything else.
    head: Str,
    head_levels: usize,
}

/// How a channel fits: byte ranges of it.
#[derive(Debug, Default)]
pub(super) struct Fit {
    /// What each wildcard level stands for, in order.
    pub(super) wild: SmallVec<[Range<usize>; 4]>,
    /// What the last `#` stands for; empty, too, where that is only the parent level.
    pub(super) rest: Range<usize>,
}

/// The channels that two shapes have in common.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Meeting<'a> {
    /// The text of each level; `None` is any.
    pub(super) levels: SmallVec<[Option<&'a str>; 8]>,
    /// None or more levels follow.
    pub(super) open: bool,
}

impl Shape {
    pub(super) fn new(levels: Vec<Level>, open: bool) -> Self {
        let head: Vec<&str> = levels.iter().map_while(Level::literal).collect();
        let (head, head_levels) = (head.join("/").into(), head.len());
        Self { levels, open, head, head_levels }
    }

    pub(super) fn levels(&self) -> &[Level] {
        &self.levels
    }

    pub(super) fn is_open(&self) -> bool {
        self.open
    }

    /// How a channel fits; `None` if it does not.
    pub(super) fn fit(&self, channel: &str) -> Option<Fit> {
        let mut next = self.after_head(channel)?;
        let mut fit = Fit { wild: SmallVec::new(), rest: channel.len()..channel.len() };
        for level in &self.levels[self.head_levels..] {
            let start = next?;
            let end = memchr::memchr(b'/', &channel.as_bytes()[start..]).map_or(channel.len(), |at| start + at);
            match level {
                Level::Any => fit.wild.push(start..end),
                Level::Literal(text) if *text == channel[start..end] => {}
                Level::Literal(_) => return None,
            }
            next = (end < channel.len()).then_some(end + 1);
        }
        match next {
            None => Some(fit),
            Some(start) => self.open.then(|| Fit { rest: start..channel.len(), ..fit }),
        }
    }

    /// Where the level after the literal head begins, `Some(None)` where the channel ends with the head; `None`: another head.
    fn after_head(&self, channel: &str) -> Option<Option<usize>> {
        if self.head_levels == 0 {
            return Some(Some(0));
        }
        match channel.strip_prefix(&*self.head)?.as_bytes().first() {
            None => Some(None),
            Some(b'/') => Some(Some(self.head.len() + 1)),
            Some(_) => None,
        }
    }

    /// What both have in common; `None`: no channel.
    pub(super) fn meet<'a>(&'a self, other: &'a Self) -> Option<Meeting<'a>> {
        let longest = self.levels.len().max(other.levels.len());
        let levels = (0..longest).map(|at| match (self.levels.get(at), other.levels.get(at)) {
            (Some(one), Some(two)) => one.meet(two),
            (Some(level), None) if other.open => Some(level.literal()),
            (None, Some(level)) if self.open => Some(level.literal()),
            _ => None,
        });
        Some(Meeting { levels: levels.collect::<Option<_>>()?, open: self.open && other.open })
    }

    /// Whether every channel that fits `other` fits this one too.
    pub(super) fn covers(&self, other: &Self) -> bool {
        // `#` is `+/#`: a channel has at least one level
        let others = if other.levels.is_empty() { &[Level::Any] } else { &other.levels[..] };
        let length = if self.open || other.open {
            self.open && self.levels.len() <= others.len()
        } else {
            self.levels.len() == others.len()
        };
        length && self.levels.iter().zip(others).all(|(own, other)| *own == Level::Any || own == other)
    }
}

impl Level {
    pub(super) fn literal(&self) -> Option<&str> {
        match self {
            Self::Literal(text) => Some(text),
            Self::Any => None,
        }
    }

    /// `None`: nothing in common. `Some(None)`: anything.
    fn meet<'a>(&'a self, other: &'a Self) -> Option<Option<&'a str>> {
        match (self.literal(), other.literal()) {
            (Some(one), Some(two)) => (one == two).then_some(Some(one)),
            (one, two) => Some(one.or(two)),
        }
    }
}

#[cfg(test)]
mod tests;
