//! CloudEvents as clients send and get them. Pure: bytes and headers in, messages out.

use std::time::SystemTime;

use axum::http::HeaderMap;
use bytes::Bytes;
use meshgate_api::{
    Str,
    event::{self, Event, InvalidEvent, WRAPPED_TYPE},
    json,
    message::{HOPS_HEADER, Headers, is_hop_count},
    outcome::Rejection,
};
use uuid::Uuid;

pub mod http;
pub mod mqtt;
pub mod websocket;

/// Extensions that show a reader where an event stands; they are taken off when it is published again.
pub const META_EXTENSIONS: [&str; 2] = [event::CURSOR_EXTENSION, event::CHANNEL_EXTENSION];

/// Why what a client sent is no event that the gateway takes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct DecodeError {
    /// `BadEvent` or `UnsupportedType`.
    pub reason: Rejection,
    /// Names the fault and the attribute, for a person.
    pub detail: String,
    /// The event's `id`, where it is known.
    pub id: Option<Str>,
}

impl DecodeError {
    fn bad(detail: impl Into<String>) -> Self {
        Self { reason: Rejection::BadEvent, detail: detail.into(), id: None }
    }

    fn unsupported(detail: impl Into<String>) -> Self {
        Self { reason: Rejection::UnsupportedType, detail: detail.into(), id: None }
    }
}

impl From<InvalidEvent> for DecodeError {
    fn from(fault: InvalidEvent) -> Self {
        Self { reason: Rejection::BadEvent, detail: fault.to_string(), id: fault.id }
    }
}

impl From<json::DecodeError> for DecodeError {
    fn from(error: json::DecodeError) -> Self {
        Self { reason: Rejection::BadEvent, detail: error.to_string(), id: error.id().cloned() }
    }
}

/// The event that the gateway makes of bytes that are none (section 3 of the contract): a new `id`, `time` now.
///
/// `media_type` becomes `datacontenttype` if it is a media type.
#[must_use]
pub fn wrap(source: Str, media_type: Option<Str>, data: Option<Bytes>) -> Event {
    let mut id = Uuid::encode_buffer();
    Event {
        id: Str::from(&*Uuid::now_v7().hyphenated().encode_lower(&mut id)),
        source,
        kind: Str::from_static(WRAPPED_TYPE),
        time: event::timestamp(SystemTime::now()),
        datacontenttype: media_type.filter(|media_type| event::check_media_type(media_type).is_ok()),
        data,
        ..Event::default()
    }
}

/// The headers of a request that travel on with its events: the W3C trace context and the count of forwardings. What cannot be read is
/// left out.
#[must_use]
pub fn travelling(headers: &HeaderMap) -> Headers {
    let header = |name: &'static str| {
        let value = headers.get(name)?.to_str().ok()?;
        Some((Str::from_static(name), Bytes::copy_from_slice(value.as_bytes())))
    };
    let hops = header(HOPS_HEADER).filter(|(_, value)| is_hop_count(value));
    ["traceparent", "tracestate"].into_iter().filter_map(header).chain(hops).collect()
}

/// What every listener asks of an event beyond its validity: its type is none of the gateway's own. Takes off [`META_EXTENSIONS`].
pub fn admit(event: &mut Event) -> Result<(), DecodeError> {
    if event.has_reserved_type() {
        let own = format!("must not begin with {}: such types are the gateway's own", event::RESERVED_TYPES);
        return Err(InvalidEvent { id: Some(event.id.clone()), ..InvalidEvent::new("type", own) }.into());
    }
    event.extensions.retain(|(name, _)| !META_EXTENSIONS.contains(&&**name));
    Ok(())
}
