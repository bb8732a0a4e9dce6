//! What a request's headers say of its event, copied once: into one buffer that all its texts are slices of.

use std::ops::Range;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use meshgate_api::{
    Str,
    event::{Draft, InvalidEvent, Value},
    message::{HOPS_HEADER, Headers, is_hop_count},
};
use smallvec::SmallVec;

use super::value;
use crate::codec::DecodeError;

/// What the headers say.
pub(super) struct Found {
    /// The channel, a slice of the same buffer.
    pub(super) channel: Str,
    /// The attributes of the `ce-` headers, if there are any.
    pub(super) attributes: Option<Draft>,
    pub(super) content_type: Option<Str>,
    /// The headers that travel on with the event.
    pub(super) travelling: Headers,
}

/// What a header is to an event.
#[derive(Clone, Copy)]
enum Role<'a> {
    /// An attribute, by its name.
    Attribute(&'a str),
    ContentType,
    ContentEncoding,
    /// Travels on, by its name.
    Travels(&'static str),
}

impl<'a> Role<'a> {
    fn of(header: &'a str, value: &[u8]) -> Option<Self> {
        match header {
            "content-type" => Some(Self::ContentType),
            "content-encoding" => Some(Self::ContentEncoding),
            "traceparent" => Some(Self::Travels("traceparent")),
            "tracestate" => Some(Self::Travels("tracestate")),
            HOPS_HEADER => is_hop_count(value).then_some(Self::Travels(HOPS_HEADER)),
            _ => header.strip_prefix("ce-").map(Self::Attribute),
        }
    }

    /// What of the name is kept in the buffer.
    fn name(self) -> &'a str {
        if let Self::Attribute(name) = self { name } else { "" }
    }
}

/// A header that says something, and where its text stands in the buffer, once it is there: that of an attribute begins with its name.
struct Piece<'a> {
    role: Role<'a>,
    value: &'a [u8],
    text: Option<Range<usize>>,
}

impl<'a> Piece<'a> {
    fn of((name, value): (&'a HeaderName, &'a HeaderValue)) -> Option<Self> {
        Some(Self { role: Role::of(name.as_str(), value.as_bytes())?, value: value.as_bytes(), text: None })
    }
}

pub(super) fn read(headers: &HeaderMap, channel: &str) -> Result<Found, DecodeError> {
    let mut found = Found { channel: Str::new(), attributes: None, content_type: None, travelling: Headers::new() };
    let mut pieces = SmallVec::<[_; 16]>::new();
    pieces.extend(headers.iter().filter_map(Piece::of));
    let lengths = pieces.iter().map(|piece| piece.role.name().len() + piece.value.len());
    let mut text = String::with_capacity(channel.len() + lengths.sum::<usize>());
    text.push_str(channel);
    for Piece { role, value, text: place } in &mut pieces {
        let (role, value, start) = (*role, *value, text.len());
        match role {
            Role::Attribute(name) => {
                let draft = found.attributes.get_or_insert_default();
                if let Err(reason) = attribute(name, value, &mut text) {
                    draft.fault(InvalidEvent::new(name, reason));
                    continue;
                }
            }
            // What is no UTF-8 becomes what is no media type either.
            Role::ContentType => text.push_str(&String::from_utf8_lossy(value)),
            // W3C Trace Context: what cannot be read is left out.
            Role::Travels(_) => text.push_str(std::str::from_utf8(value).unwrap_or_default()),
            Role::ContentEncoding => identity(value)?,
        }
        *place = Some(start..text.len());
    }
    let text = Str::from(text);
    found.channel = text.slice_ref(&text[..channel.len()]);
    for piece in &pieces {
        found.take(piece, &text)?;
    }
    Ok(found)
}

impl Found {
    fn take(&mut self, piece: &Piece<'_>, buffer: &Str) -> Result<(), DecodeError> {
        let Some(text) = piece.text.clone().map(|place| &buffer[place]) else { return Ok(()) };
        match piece.role {
            Role::Attribute(name) => {
                let (name, value) = text.split_at(name.len());
                let value = Value::String(buffer.slice_ref(value));
                self.attributes.get_or_insert_default().put(name, Some(value), || buffer.slice_ref(name));
            }
            Role::ContentType => {
                if self.content_type.replace(buffer.slice_ref(text)).is_some() {
                    return Err(DecodeError::bad("header `content-type` is given more than once"));
                }
            }
            Role::Travels(name) if !text.is_empty() => {
                self.travelling.push((Str::from_static(name), buffer.slice_ref(text).into_bytes()));
            }
            Role::Travels(_) | Role::ContentEncoding => {}
        }
        Ok(())
    }
}

/// Appends the name and what the value says.
fn attribute(name: &str, value: &[u8], text: &mut String) -> Result<(), &'static str> {
    if name == "datacontenttype" {
        return Err("travels as the header `content-type`, not as one of its own");
    }
    text.push_str(name);
    value::decode_into(value, text)
}

fn identity(encoding: &[u8]) -> Result<(), DecodeError> {
    if encoding.eq_ignore_ascii_case(b"identity") {
        return Ok(());
    }
    let encoding = encoding.escape_ascii();
    Err(DecodeError::unsupported(format!("`content-encoding: {encoding}` is not read: send the body as it is")))
}
