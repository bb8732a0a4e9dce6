//! A CloudEvent 1.0.2: context attributes and data.
//!
//! Texts and data are slices of the buffer that they arrived in ([`Str`], [`Bytes`]): cloning an event copies no bytes.

use std::{borrow::Cow, fmt};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;

use crate::Str;

mod draft;
mod validity;
pub use draft::{Draft, also_missing};
pub use validity::{InvalidEvent, check_attribute_name, check_media_type, parse_timestamp, timestamp};

/// The type of an event that the gateway made of something that is no CloudEvent.
pub const WRAPPED_TYPE: &str = "io.meshgate.raw";
/// Types that begin so are the gateway's own; a listener takes none of them but [`WRAPPED_TYPE`].
pub const RESERVED_TYPES: &str = "io.meshgate.";
/// The extension that shows a reader the cursor after the event.
pub const CURSOR_EXTENSION: &str = "meshgatecursor";
/// The extension that shows a reader the event's channel.
pub const CHANNEL_EXTENSION: &str = "meshgatechannel";

/// Context attributes and data. `specversion` is always 1.0 and therefore not kept.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Event {
    /// Unique within `source`; not empty.
    pub id: Str,
    /// A URI-reference; not empty.
    pub source: Str,
    /// `type`; not empty.
    pub kind: Str,
    /// Not empty where present.
    pub subject: Option<Str>,
    /// RFC 3339, as it was written.
    pub time: Option<Str>,
    /// RFC 2046 media type of `data`.
    pub datacontenttype: Option<Str>,
    /// An absolute URI.
    pub dataschema: Option<Str>,
    /// Extension attributes in the order in which they arrived; no name twice.
    pub extensions: Vec<(Str, Value)>,
    /// `None` is no data; an empty value is data of no bytes.
    pub data: Option<Bytes>,
}

/// A CloudEvents attribute value (section "Type System" of the specification).
#[derive(Clone, PartialEq)]
pub enum Value {
    /// `true` or `false`.
    Boolean(bool),
    /// 32 bits, signed.
    Integer(i32),
    /// Text without control characters.
    String(Str),
    /// Base64 in its canonical form.
    Binary(Bytes),
    /// An absolute URI.
    Uri(Str),
    /// A URI-reference.
    UriReference(Str),
    /// RFC 3339, as it was written.
    Timestamp(Str),
}

impl Value {
    /// The canonical string of the specification: what travels in a header.
    #[must_use]
    pub fn canonical(&self) -> Cow<'_, str> {
        match self {
            Self::Boolean(value) => Cow::Borrowed(if *value { "true" } else { "false" }),
            Self::Integer(value) => Cow::Owned(value.to_string()),
            Self::String(text) | Self::Uri(text) | Self::UriReference(text) | Self::Timestamp(text) => {
                Cow::Borrowed(text)
            }
            Self::Binary(bytes) => Cow::Owned(STANDARD.encode(bytes)),
        }
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.canonical())
    }
}

impl From<Str> for Value {
    fn from(text: Str) -> Self {
        Self::String(text)
    }
}

impl Event {
    /// The value of the context attribute `name` in its canonical form; `None` where the event has none.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<Cow<'_, str>> {
        let text = match name {
            "specversion" => return Some(Cow::Borrowed("1.0")),
            "id" => Some(&self.id),
            "source" => Some(&self.source),
            "type" => Some(&self.kind),
            "subject" => self.subject.as_ref(),
            "time" => self.time.as_ref(),
            "datacontenttype" => self.datacontenttype.as_ref(),
            "dataschema" => self.dataschema.as_ref(),
            extension => return self.extension(extension).map(Value::canonical),
        };
        text.map(|text| Cow::Borrowed(&**text))
    }

    /// The value of the extension attribute `name`.
    #[must_use]
    pub fn extension(&self, name: &str) -> Option<&Value> {
        self.extensions.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    /// Sets any attribute from its canonical string. `specversion` is left alone.
    pub fn set(&mut self, name: &str, value: Str) {
        match name {
            "specversion" => {}
            "id" => self.id = value,
            "source" => self.source = value,
            "type" => self.kind = value,
            "subject" => self.subject = Some(value),
            "time" => self.time = Some(value),
            "datacontenttype" => self.datacontenttype = Some(value),
            "dataschema" => self.dataschema = Some(value),
            extension => match self.extensions.iter_mut().find(|(known, _)| known == extension) {
                Some((_, slot)) => *slot = Value::String(value),
                None => self.extensions.push((extension.into(), Value::String(value))),
            },
        }
    }

    /// Calls `each` with every attribute but `specversion`: `id`, `source`, `type`, the optional ones, the extensions.
    pub fn for_each_attribute<'a>(&'a self, mut each: impl FnMut(&'a str, Cow<'a, str>)) {
        each("id", Cow::Borrowed(&self.id));
        each("source", Cow::Borrowed(&self.source));
        each("type", Cow::Borrowed(&self.kind));
        let optional = [
            ("subject", &self.subject),
            ("time", &self.time),
            ("datacontenttype", &self.datacontenttype),
            ("dataschema", &self.dataschema),
        ];
        for (name, value) in optional {
            if let Some(value) = value {
                each(name, Cow::Borrowed(value));
            }
        }
        for (name, value) in &self.extensions {
            each(name, value.canonical());
        }
    }

    /// Whether its type is the gateway's own: such an event is never taken from outside.
    #[must_use]
    pub fn has_reserved_type(&self) -> bool {
        self.kind.starts_with(RESERVED_TYPES) && self.kind != WRAPPED_TYPE
    }

    /// About the bytes that the event occupies: texts and data, without the struct itself.
    #[must_use]
    pub fn size(&self) -> usize {
        let mut size = self.data.as_ref().map_or(0, Bytes::len);
        self.for_each_attribute(|name, value| size += name.len() + value.len());
        size
    }
}

#[cfg(test)]
mod tests;
