//! Templates: text with placeholders that the channel and the event's attributes fill in.
//!
//! `{name}` is the capture of that name, else the context attribute; `{#}` what the pattern's last `#` matched, `{channel}` the whole
//! channel. `{name|fallback}` gives the fallback where the value is missing or empty. `{{` and `}}` are braces.

use std::borrow::Cow;

use meshgate_api::{
    Str,
    event::{Event, check_attribute_name},
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::{pattern::Pattern, shape::Fit};

/// What a URI-reference holds anywhere without a meaning of its own, and `/`, stays; all else is percent-encoded.
const ENCODED_IN_URI: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

#[derive(Clone, Debug)]
pub(super) struct Template {
    parts: Vec<Part>,
    /// Values are percent-encoded, so that the result is a URI-reference.
    uri: bool,
}

#[derive(Clone, Debug)]
pub(super) enum Part {
    Text(Str),
    Value(Placeholder, Option<Str>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Placeholder {
    Channel(Piece),
    Attribute(Str),
}

/// A piece of the channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    All,
    /// The wildcard level of this number.
    Capture(usize),
    /// What the last `#` matched.
    Rest,
}

/// What a template is filled in from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scene<'a> {
    pub(super) channel: &'a Str,
    pub(super) fit: &'a Fit,
    pub(super) event: &'a Event,
}

/// An attribute that the event does not have, and for which there is no fallback.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Missing(pub(super) Str);

impl Template {
    /// Reads a template of a route with this pattern; `None`: the pattern is broken, and any capture may be meant. All errors at once.
    pub(super) fn parse(text: &str, pattern: Option<&Pattern>) -> Result<Self, Vec<String>> {
        let mut errors = Vec::new();
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(brace) = rest.find(['{', '}']) {
            literal.push_str(&rest[..brace]);
            let open = rest[brace..].starts_with('{');
            rest = &rest[brace + 1..];
            let doubled = rest.strip_prefix(if open { '{' } else { '}' });
            match (open, doubled) {
                (_, Some(after)) => {
                    literal.push(if open { '{' } else { '}' });
                    rest = after;
                }
                (false, None) => errors.push("`}` without `{`: write `}}` for a brace".to_owned()),
                (true, None) => {
                    let Some((inside, after)) = rest.split_once('}') else {
                        errors.push("`{` without `}`: write `{{` for a brace".to_owned());
                        break;
                    };
                    rest = after;
                    push_text(&mut parts, &mut literal);
                    match value(inside, pattern) {
                        Ok(value) => parts.push(value),
                        Err(error) => errors.push(error),
                    }
                }
            }
        }
        literal.push_str(rest);
        push_text(&mut parts, &mut literal);
        if errors.is_empty() { Ok(Self { parts, uri: false }) } else { Err(errors) }
    }

    /// The same, with values percent-encoded so that the result is a URI-reference.
    pub(super) fn into_uri(self) -> Self {
        Self { uri: true, ..self }
    }

    pub(super) fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The whole text, where no placeholder is in it.
    pub(super) fn literal(&self) -> Option<&str> {
        match &self.parts[..] {
            [] => Some(""),
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// The text with everything filled in. A text, the channel or a piece of it alone is not copied.
    pub(super) fn render(&self, scene: &Scene<'_>) -> Result<Str, Missing> {
        if let [part] = &self.parts[..]
            && !self.uri
            && let Some(text) = part.shared(scene)
        {
            return Ok(text);
        }
        let mut text = String::new();
        self.render_into(scene, &mut text)?;
        Ok(text.into())
    }

    /// Appends the text with everything filled in.
    pub(super) fn render_into(&self, scene: &Scene<'_>, to: &mut String) -> Result<(), Missing> {
        for part in &self.parts {
            to.push_str(&part.text(scene, self.uri)?);
        }
        Ok(())
    }
}

fn push_text(parts: &mut Vec<Part>, text: &mut String) {
    if !text.is_empty() {
        parts.push(Part::Text(std::mem::take(text).into()));
    }
}

/// What stands between braces: a name, and perhaps a fallback.
fn value(inside: &str, pattern: Option<&Pattern>) -> Result<Part, String> {
    let (name, fallback) = match inside.split_once('|') {
        Some((name, fallback)) => (name, Some(Str::from(fallback))),
        None => (inside, None),
    };
    if fallback.as_ref().is_some_and(|fallback| fallback.contains('{')) {
        return Err(format!("`{{{inside}}}`: a fallback is plain text"));
    }
    Ok(Part::Value(placeholder(name, pattern)?, fallback))
}

fn placeholder(name: &str, pattern: Option<&Pattern>) -> Result<Placeholder, String> {
    if name == "channel" {
        return Ok(Placeholder::Channel(Piece::All));
    }
    let Some(pattern) = pattern else { return Ok(Placeholder::Attribute(name.into())) };
    if name == "#" {
        return if pattern.is_open() {
            Ok(Placeholder::Channel(Piece::Rest))
        } else {
            Err("`{#}` needs a `#` as the last level of `channel`".to_owned())
        };
    }
    if let Some(wildcard) = pattern.capture(name) {
        return Ok(Placeholder::Channel(Piece::Capture(wildcard)));
    }
    match check_attribute_name(name) {
        Ok(()) => Ok(Placeholder::Attribute(name.into())),
        Err(_) => Err(format!("`{{{name}}}` is no capture of `{}`, and no attribute can be called so", pattern.text())),
    }
}

impl Part {
    /// Its text, where no byte of it has to be copied.
    fn shared(&self, scene: &Scene<'_>) -> Option<Str> {
        match self {
            Self::Text(text) => Some(text.clone()),
            Self::Value(Placeholder::Channel(piece), fallback) => {
                let text = piece.of(scene);
                (fallback.is_none() || !text.is_empty()).then(|| scene.channel.slice_ref(text))
            }
            Self::Value(Placeholder::Attribute(_), _) => None,
        }
    }

    fn text<'a>(&'a self, scene: &Scene<'a>, uri: bool) -> Result<Cow<'a, str>, Missing> {
        let (placeholder, fallback) = match self {
            Self::Text(text) => return Ok(Cow::Borrowed(text)),
            Self::Value(placeholder, fallback) => (placeholder, fallback),
        };
        match (placeholder.value(scene), fallback) {
            (Ok(value), _) if !value.is_empty() => {
                let encode = uri && !placeholder.is_uri();
                Ok(if encode { utf8_percent_encode(&value, ENCODED_IN_URI).to_string().into() } else { value })
            }
            (_, Some(fallback)) => Ok(Cow::Borrowed(fallback)),
            (value, None) => value,
        }
    }
}

impl Piece {
    fn of<'a>(self, scene: &Scene<'a>) -> &'a str {
        match self {
            Self::All => scene.channel,
            Self::Capture(wildcard) => &scene.channel[scene.fit.wild[wildcard].clone()],
            Self::Rest => &scene.channel[scene.fit.rest.clone()],
        }
    }
}

impl Placeholder {
    fn value<'a>(&self, scene: &Scene<'a>) -> Result<Cow<'a, str>, Missing> {
        match self {
            Self::Channel(piece) => Ok(Cow::Borrowed(piece.of(scene))),
            Self::Attribute(name) => scene.event.attribute(name).ok_or_else(|| Missing(name.clone())),
        }
    }

    /// Whether the value is a URI-reference already.
    fn is_uri(&self) -> bool {
        matches!(self, Self::Attribute(name) if name == "source" || name == "dataschema")
    }
}

#[cfg(test)]
mod tests;
