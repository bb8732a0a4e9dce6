//! A route's channel pattern: literal levels, `{capture}` and `+` for any one level, a last `#`.

use meshgate_api::Str;

use super::{
    channel::{ChannelError, parse_levels},
    shape::{Fit, Level, Meeting, Shape},
};

/// What stands in a channel for what is not known.
pub(super) const UNKNOWN: &str = "-";

#[derive(Clone, Debug)]
pub(super) struct Pattern {
    text: Str,
    shape: Shape,
    /// The name of each wildcard level, `+` having none.
    names: Vec<Option<Str>>,
    /// The pattern with [`UNKNOWN`] for each wildcard.
    unknown: Str,
}

/// A step of a pattern, from the left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step<'a> {
    Literal(&'a str),
    /// A wildcard level, by its number.
    Wild(usize),
    /// The last `#`.
    Rest,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum PatternError {
    #[error(transparent)]
    Channel(#[from] ChannelError),
    #[error("the level `{0}` holds a brace: a capture is a whole level such as `{{region}}`")]
    PartialCapture(String),
    #[error("`{0}` is no name for a capture: use letters, digits, `_` and `-`")]
    CaptureName(String),
    #[error("`{{channel}}` always means the whole channel: give this capture another name")]
    CaptureIsChannel,
    #[error("two levels are called `{0}`: give one of them another name")]
    CaptureTwice(String),
}

impl Pattern {
    pub(super) fn parse(text: &str) -> Result<Self, PatternError> {
        let mut names: Vec<Option<Str>> = Vec::new();
        let shape = parse_levels(text, |level| {
            if level == "+" {
                names.push(None);
                return Ok(Level::Any);
            }
            let Some(name) = capture(level)? else { return Ok(Level::Literal(level.into())) };
            if names.iter().flatten().any(|known| known == name) {
                return Err(PatternError::CaptureTwice(name.to_owned()));
            }
            names.push(Some(name.into()));
            Ok(Level::Any)
        })?;
        let mut pattern = Self { text: text.into(), shape, names, unknown: Str::new() };
        pattern.unknown = pattern.fill(|_| None, Some(UNKNOWN)).into();
        Ok(pattern)
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The number of the wildcard level that has this name.
    pub(super) fn capture(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|known| known.as_ref().is_some_and(|known| known == name))
    }

    /// Whether it ends with `#`.
    pub(super) fn is_open(&self) -> bool {
        self.shape.is_open()
    }

    /// How many levels it has before a last `#`.
    pub(super) fn depth(&self) -> usize {
        self.shape.levels().len()
    }

    /// How many wildcard levels it has.
    pub(super) fn wildcards(&self) -> usize {
        self.names.len()
    }

    /// At which level the wildcard of this number stands.
    pub(super) fn level_of(&self, wildcard: usize) -> Option<usize> {
        let wild = self.shape.levels().iter().enumerate().filter(|(_, level)| **level == Level::Any);
        wild.map(|(at, _)| at).nth(wildcard)
    }

    pub(super) fn steps(&self) -> impl Iterator<Item = Step<'_>> {
        let mut wildcard = 0;
        let levels = self.shape.levels().iter().map(move |level| match level.literal() {
            Some(text) => Step::Literal(text),
            None => {
                wildcard += 1;
                Step::Wild(wildcard - 1)
            }
        });
        levels.chain(self.is_open().then_some(Step::Rest))
    }

    pub(super) fn fit(&self, channel: &str) -> Option<Fit> {
        self.shape.fit(channel)
    }

    pub(super) fn shape(&self) -> &Shape {
        &self.shape
    }

    pub(super) fn meet<'a>(&'a self, filter: &'a Shape) -> Option<Meeting<'a>> {
        self.shape.meet(filter)
    }

    pub(super) fn covers(&self, other: &Self) -> bool {
        self.shape.covers(&other.shape)
    }

    /// The channel of which nothing is known but that the pattern matches it.
    pub(super) fn unknown(&self) -> &Str {
        &self.unknown
    }

    /// A channel: `level` gives the text of each wildcard level, [`UNKNOWN`] where it gives none. Without a `rest` it ends before the `#`.
    pub(super) fn fill<'v>(&self, level: impl Fn(usize) -> Option<&'v str>, rest: Option<&'v str>) -> String {
        let mut channel = String::with_capacity(self.text.len());
        for (at, step) in self.steps().enumerate() {
            let text = match step {
                Step::Literal(text) => text,
                Step::Wild(wildcard) => level(wildcard).unwrap_or(UNKNOWN),
                Step::Rest => match rest {
                    Some(text) => text,
                    None => break,
                },
            };
            if at > 0 {
                channel.push('/');
            }
            channel.push_str(text);
        }
        channel
    }
}

/// The name between the braces of a level that is a capture.
fn capture(level: &str) -> Result<Option<&str>, PatternError> {
    if level.contains('+') {
        return Err(ChannelError::PartialWildcard(level.to_owned()).into());
    }
    if !level.contains(['{', '}']) {
        return Ok(None);
    }
    let name = level.strip_prefix('{').and_then(|level| level.strip_suffix('}'));
    match name {
        None => Err(PatternError::PartialCapture(level.to_owned())),
        Some("channel") => Err(PatternError::CaptureIsChannel),
        Some(name) if is_capture_name(name) => Ok(Some(name)),
        Some(name) => Err(PatternError::CaptureName(name.to_owned())),
    }
}

fn is_capture_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

#[cfg(test)]
mod tests;
