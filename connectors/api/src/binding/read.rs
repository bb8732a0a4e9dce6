//! A record as a message. Never an error: what is no event is wrapped, so that foreign input stops no reader.

use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::CONTENT_TYPE;
use crate::{
    Str,
    event::{Draft, Event, InvalidEvent, Value, WRAPPED_TYPE, check_media_type},
    json, media,
    message::{CHANNEL_HEADER, Headers, Message, WRAPPED_HEADER, is_own_header, is_reserved_header},
};

/// What a record that is no event is known by.
#[derive(Clone, Debug)]
pub struct NativeOrigin {
    /// The record's position: unique within `source`.
    pub id: Str,
    /// As [`native_source`] writes it.
    pub source: Str,
    /// The broker's time, in RFC 3339.
    pub time: Option<Str>,
}

/// The `source` of records that are no events: `/{connector}/{topic}`, percent-encoded; the topic's own `/` stay.
#[must_use]
pub fn native_source(connector: &str, topic: &str) -> Str {
    /// RFC 3986, `pchar` and `/`.
    const PATH: &AsciiSet = &NON_ALPHANUMERIC
        .remove(b'-')
        .remove(b'.')
        .remove(b'_')
        .remove(b'~')
        .remove(b'!')
        .remove(b'$')
        .remove(b'&')
        .remove(b'\'')
        .remove(b'(')
        .remove(b')')
        .remove(b'*')
        .remove(b'+')
        .remove(b',')
        .remove(b';')
        .remove(b'=')
        .remove(b':')
        .remove(b'@')
        .remove(b'/');
    format!("/{}/{}", utf8_percent_encode(connector, PATH), utf8_percent_encode(topic, PATH)).into()
}

/// Reads a record.
///
/// - *Structured* if `content-type` is `application/cloudevents+json` and the value is a valid event. Where there are `ce_` headers
///   too and they say otherwise than the value, it is a binary event whose data happens to be an event.
/// - *Binary* if the `ce_` headers make a valid event of version 1.0, none of them twice.
/// - *Wrapped* otherwise, also where the type is one of the gateway's own.
///
/// Of the gateway's own headers the last one counts; other names that are reserved do not travel, nor do variants of them in case.
pub fn decode(
    headers: impl IntoIterator<Item = (Str, Bytes)>,
    value: Option<Bytes>,
    native: impl FnOnce() -> NativeOrigin,
) -> Message {
    let mut found = Found::default();
    for (name, value) in headers {
        found.take(name, value);
    }
    let content_type = found.content_type;
    let event = event(found.attributes, content_type.as_ref(), value.as_ref());
    let wrapped = found.wrapped || event.is_none();
    let event = event.unwrap_or_else(|| wrap(native(), content_type, value).into());
    Message { channel: found.channel, event, headers: found.headers, wrapped }
}

/// What a record's headers say.
#[derive(Default)]
struct Found {
    /// Of the `ce_` headers, if there are any.
    attributes: Option<Draft>,
    content_type: Option<Str>,
    channel: Option<Str>,
    wrapped: bool,
    headers: Headers,
}

impl Found {
    fn take(&mut self, name: Str, value: Bytes) {
        match &*name {
            CONTENT_TYPE => self.content_type = Some(media_type(&value)),
            CHANNEL_HEADER => self.channel = Str::try_from(value).ok(),
            WRAPPED_HEADER => self.wrapped = *value == *b"true",
            own if is_own_header(own, &value) => self.headers.push((name, value)),
            text => match text.strip_prefix("ce_") {
                Some(attribute) => self.take_attribute(&name, attribute, value),
                None if is_reserved_header(text) => {}
                None => self.headers.push((name, value)),
            },
        }
    }

    fn take_attribute(&mut self, header: &Str, name: &str, value: Bytes) {
        let draft = self.attributes.get_or_insert_default();
        match Str::try_from(value) {
            Ok(text) => draft.put(name, Some(Value::String(text)), || header.slice_ref(name)),
            Err(_) => draft.fault(InvalidEvent::new(name, "must be UTF-8")),
        }
    }
}

/// What is no UTF-8 becomes what is no media type either.
pub(super) fn media_type(value: &Bytes) -> Str {
    Str::try_from(value.clone()).unwrap_or_else(|_| String::from_utf8_lossy(value).as_ref().into())
}

/// The event that the record holds, if it does.
pub(super) fn event(
    attributes: Option<Draft>,
    content_type: Option<&Str>,
    value: Option<&Bytes>,
) -> Option<Box<Event>> {
    let structured = content_type
        .filter(|media_type| media::is(media_type, media::EVENT_JSON))
        .and_then(|_| json::decode(value?).ok());
    let event = match (structured, attributes) {
        (Some(event), Some(draft)) if !draft.agrees_with(&event) => {
            Some(binary(draft, content_type, value).unwrap_or(event))
        }
        (Some(event), _) => Some(event),
        (None, Some(draft)) => binary(draft, content_type, value),
        (None, None) => None,
    };
    event.filter(|event| !event.has_reserved_type())
}

fn binary(mut draft: Draft, content_type: Option<&Str>, value: Option<&Bytes>) -> Option<Box<Event>> {
    if let Some(media_type) = content_type {
        draft.set_datacontenttype(media_type.clone());
    }
    draft.finish(value.cloned()).ok()
}

pub(super) fn wrap(native: NativeOrigin, content_type: Option<Str>, value: Option<Bytes>) -> Event {
    Event {
        id: native.id,
        source: native.source,
        kind: Str::from_static(WRAPPED_TYPE),
        time: native.time,
        datacontenttype: content_type.filter(|media_type| check_media_type(media_type).is_ok()),
        data: value,
        ..Event::default()
    }
}
