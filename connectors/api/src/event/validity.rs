//! When an event is one: CloudEvents 1.0.2, sections "Attribute Naming Convention" and "Required/Optional Attributes".

use std::{
    fmt,
    time::{SystemTime, UNIX_EPOCH},
};

use fluent_uri::{Uri, UriRef};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{Event, Value};
use crate::{Str, media};

/// Which attribute makes an event invalid, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidEvent {
    /// The attribute's name.
    pub attribute: String,
    /// What is wrong with it and what would be right.
    pub reason: String,
    /// The `id` of the event, where it is known.
    pub id: Option<Str>,
}

impl InvalidEvent {
    /// `attribute` is wrong because of `reason`.
    pub fn new(attribute: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { attribute: attribute.into(), reason: reason.into(), id: None }
    }
}

impl fmt::Display for InvalidEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "attribute `{}` {}", self.attribute, self.reason)
    }
}

impl std::error::Error for InvalidEvent {}

impl Event {
    /// Whether every attribute is what the specification asks for; the error names the first that is not.
    pub fn check(&self) -> Result<(), InvalidEvent> {
        for (name, value) in [("id", &self.id), ("source", &self.source), ("type", &self.kind)] {
            not_empty(name, value)?;
            plain_text(name, value)?;
        }
        uri_reference("source", &self.source)?;
        if let Some(subject) = &self.subject {
            not_empty("subject", subject)?;
            plain_text("subject", subject)?;
        }
        if let Some(time) = &self.time {
            rfc3339("time", time)?;
        }
        if let Some(media_type) = &self.datacontenttype {
            check_media_type(media_type)?;
        }
        if let Some(schema) = &self.dataschema {
            not_empty("dataschema", schema)?;
            uri("dataschema", schema)?;
        }
        self.extensions.iter().try_for_each(|(name, value)| check_extension(name, value))
    }
}

fn check_extension(name: &str, value: &Value) -> Result<(), InvalidEvent> {
    check_attribute_name(name)?;
    match value {
        Value::Boolean(_) | Value::Integer(_) | Value::Binary(_) => Ok(()),
        Value::String(text) => plain_text(name, text),
        Value::Uri(text) => uri(name, text),
        Value::UriReference(text) => uri_reference(name, text),
        Value::Timestamp(text) => rfc3339(name, text),
    }
}

/// Attribute names are one or more of a-z and 0-9; `data` is a member of the JSON format and no attribute.
pub fn check_attribute_name(name: &str) -> Result<(), InvalidEvent> {
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()) {
        return Err(InvalidEvent::new(name, "is no attribute name: use a-z and 0-9 only"));
    }
    if name == "data" {
        return Err(InvalidEvent::new(name, "is not allowed as an attribute name"));
    }
    Ok(())
}

/// An RFC 3339 timestamp; `None` if it is none.
#[must_use]
pub fn parse_timestamp(text: &str) -> Option<OffsetDateTime> {
    // The parser takes anything between date and time, the grammar only a T.
    let parted = text.as_bytes().get(10).is_some_and(|byte| byte.eq_ignore_ascii_case(&b'T'));
    OffsetDateTime::parse(text, &Rfc3339).ok().filter(|_| parted)
}

/// A time as an RFC 3339 timestamp in UTC, with milliseconds; `None` for one outside the years 0 to 9999.
#[must_use]
pub fn timestamp(time: SystemTime) -> Option<Str> {
    let millis = match time.duration_since(UNIX_EPOCH) {
        Ok(after) => i128::try_from(after.as_millis()).ok()?,
        Err(before) => -i128::try_from(before.duration().as_millis()).ok()?,
    };
    let time = OffsetDateTime::from_unix_timestamp_nanos(millis.checked_mul(1_000_000)?).ok()?;
    time.format(&Rfc3339).ok().map(Str::from)
}

fn not_empty(name: &str, text: &str) -> Result<(), InvalidEvent> {
    if text.is_empty() { Err(InvalidEvent::new(name, "must not be empty")) } else { Ok(()) }
}

/// The specification's String type: no control characters, no noncharacters.
fn plain_text(name: &str, text: &str) -> Result<(), InvalidEvent> {
    // Nearly every text is this, and without an early end the processor looks at many bytes at once.
    let printable = text.bytes().fold(true, |printable, byte| printable & matches!(byte, b' '..=b'~'));
    if printable || text.chars().all(|char| !char.is_control() && !is_noncharacter(char)) {
        Ok(())
    } else {
        Err(InvalidEvent::new(name, "must not hold control characters or noncharacters"))
    }
}

fn is_noncharacter(char: char) -> bool {
    matches!(u32::from(char), 0xFDD0..=0xFDEF) || u32::from(char) & 0xFFFE == 0xFFFE
}

fn rfc3339(name: &str, text: &str) -> Result<(), InvalidEvent> {
    match parse_timestamp(text) {
        Some(_) => Ok(()),
        None => Err(InvalidEvent::new(name, "must be an RFC 3339 timestamp such as 2026-01-31T12:00:00Z")),
    }
}

fn uri_reference(name: &str, text: &str) -> Result<(), InvalidEvent> {
    match UriRef::parse(text) {
        Ok(_) => Ok(()),
        Err(_) => {
            Err(InvalidEvent::new(name, "must be a URI-reference (RFC 3986): percent-encode what it may not hold"))
        }
    }
}

fn uri(name: &str, text: &str) -> Result<(), InvalidEvent> {
    match Uri::parse(text) {
        Ok(_) => Ok(()),
        Err(_) => Err(InvalidEvent::new(name, "must be an absolute URI (RFC 3986)")),
    }
}

/// A media type is `type/subtype`, then whatever ASCII parameters follow a `;`.
pub fn check_media_type(text: &str) -> Result<(), InvalidEvent> {
    let token = |text: &str| !text.is_empty() && text.bytes().all(is_token_byte);
    let essence = media::essence(text);
    let slash = essence.bytes().position(|byte| byte == b'/');
    let typed = slash.is_some_and(|at| token(&essence[..at]) && token(&essence[at + 1..])) && !text.starts_with(' ');
    if typed && text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) {
        return Ok(());
    }
    Err(InvalidEvent::new("datacontenttype", "must be a media type such as application/json (RFC 2046)"))
}

fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
