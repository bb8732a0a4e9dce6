//! Channels and channel filters as clients write them (specification, section 1): levels joined by `/`, empty ones count.

use std::borrow::Cow;

use meshgate_api::Str;
use smallvec::SmallVec;

use crate::router::shape::{Level, Shape};

/// Bytes of the longest channel, filter or pattern.
pub const MAX_LENGTH: usize = 1024;

/// A channel that an event can be published to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Channel(Str);

/// What makes a text no channel or no channel filter, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChannelError {
    /// Nothing there.
    #[error("a channel has at least one character")]
    Empty,
    /// More than [`MAX_LENGTH`].
    #[error("a channel has at most {MAX_LENGTH} bytes of UTF-8, this one has {0}")]
    TooLong(usize),
    /// U+0000 to U+001F or U+007F to U+009F.
    #[error("a channel holds no control characters")]
    ControlCharacter,
    /// MQTT keeps these for servers.
    #[error("a channel does not begin with `$`")]
    Dollar,
    /// `.` or `..`, which URLs would lose.
    #[error("no level of a channel is `.` or `..`")]
    DotLevel,
    /// In a channel that is not a filter.
    #[error("a channel to publish to holds no `+` and no `#`: these are the wildcards of channel filters")]
    Wildcard,
    /// `+` or `#` beside other characters.
    #[error("the wildcard in the level `{0}` must be the whole level")]
    PartialWildcard(String),
    /// `#` before other levels.
    #[error("the wildcard `#` must be the last level")]
    RestNotLast,
}

impl Channel {
    /// Takes a text that is a channel.
    pub fn parse(text: impl Into<Str>) -> Result<Self, ChannelError> {
        let text = text.into();
        Self::check(&text)?;
        Ok(Self(text))
    }

    /// Whether a text is a channel.
    pub fn check(text: &str) -> Result<(), ChannelError> {
        check_text(text)?;
        if text.contains(['+', '#']) { Err(ChannelError::Wildcard) } else { Ok(()) }
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// As it was written.
    #[must_use]
    pub fn into_str(self) -> Str {
        self.0
    }
}

/// What a client subscribes to: a channel in which a level `+` is any one level and a last level `#` is the parent level and all below.
#[derive(Clone, Debug)]
pub struct ChannelFilter {
    text: Str,
    shape: Shape,
}

impl ChannelFilter {
    /// Takes a text that is a channel filter.
    pub fn parse(text: impl Into<Str>) -> Result<Self, ChannelError> {
        let text = text.into();
        let shape = parse_levels(&text, |level| match level {
            "+" => Ok(Level::Any),
            literal if literal.contains('+') => Err(ChannelError::PartialWildcard(literal.to_owned())),
            literal => Ok(Level::Literal(literal.into())),
        })?;
        Ok(Self { text, shape })
    }

    /// Whether it lets a channel through.
    #[must_use]
    pub fn matches(&self, channel: &str) -> bool {
        self.shape.fit(channel).is_some()
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub(super) fn shape(&self) -> &Shape {
        &self.shape
    }
}

/// What one reader reads: the channels of any of these.
#[derive(Clone, Debug, Default)]
pub struct ChannelFilters(SmallVec<[ChannelFilter; 1]>);

impl ChannelFilters {
    /// Whether one of them lets a channel through.
    #[must_use]
    pub fn matches(&self, channel: &str) -> bool {
        self.0.iter().any(|filter| filter.matches(channel))
    }

    /// As they were written; of several, one after the other.
    #[must_use]
    pub fn text(&self) -> Cow<'_, str> {
        match &self.0[..] {
            [only] => Cow::Borrowed(only.as_str()),
            several => Cow::Owned(several.iter().map(ChannelFilter::as_str).collect::<Vec<_>>().join("\n")),
        }
    }

    /// Each of them.
    pub fn iter(&self) -> std::slice::Iter<'_, ChannelFilter> {
        self.0.iter()
    }
}

impl From<ChannelFilter> for ChannelFilters {
    fn from(filter: ChannelFilter) -> Self {
        Self(SmallVec::from_iter([filter]))
    }
}

impl FromIterator<ChannelFilter> for ChannelFilters {
    fn from_iter<I: IntoIterator<Item = ChannelFilter>>(filters: I) -> Self {
        Self(filters.into_iter().collect())
    }
}

/// Takes a text with wildcards apart. `level` reads every level but a last `#`.
pub(super) fn parse_levels<E: From<ChannelError>>(
    text: &str,
    level: impl FnMut(&str) -> Result<Level, E>,
) -> Result<Shape, E> {
    check_text(text)?;
    let (levels, open) = match text.strip_suffix('#') {
        Some("") => (None, true),
        Some(parent) if parent.ends_with('/') => (Some(&parent[..parent.len() - 1]), true),
        _ => (Some(text), false),
    };
    let mut parsed = Vec::new();
    let mut level = level;
    for text in levels.into_iter().flat_map(|levels| levels.split('/')) {
        match text {
            "#" => return Err(ChannelError::RestNotLast.into()),
            part if part.contains('#') => return Err(ChannelError::PartialWildcard(part.to_owned()).into()),
            whole => parsed.push(level(whole)?),
        }
    }
    Ok(Shape::new(parsed, open))
}

/// Whether a text may stand as one level of a channel. (A first level must not begin with `$` either.)
pub(super) fn is_level(text: &str) -> bool {
    !text.contains(['/', '+', '#']) && !text.contains(char::is_control) && !is_dots(text)
}

fn check_text(text: &str) -> Result<(), ChannelError> {
    if text.is_empty() {
        return Err(ChannelError::Empty);
    }
    if text.len() > MAX_LENGTH {
        return Err(ChannelError::TooLong(text.len()));
    }
    if text.starts_with('$') {
        return Err(ChannelError::Dollar);
    }
    if text.contains(char::is_control) {
        return Err(ChannelError::ControlCharacter);
    }
    if text.contains('.') && text.split('/').any(is_dots) {
        return Err(ChannelError::DotLevel);
    }
    Ok(())
}

fn is_dots(level: &str) -> bool {
    level == "." || level == ".."
}

#[cfg(test)]
mod tests;
