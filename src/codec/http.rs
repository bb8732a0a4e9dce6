//! The CloudEvents HTTP protocol binding 1.0.2, in the reading of the contract's section 6.
//!
//! - *binary*: any `ce-` header makes a request one. Where the content type is structured too, the body wins if it is an event and
//!   says the same as every `ce-` header (section 3.2.3 lets a sender copy them); else the body is the data of a binary event.
//! - *structured* and *batch*: by the content type; another `application/cloudevents…` is not supported.
//! - *anything else* is wrapped.
//!
//! Where the binding is silent: a `%` without two hexadecimal digits, raw bytes outside ASCII, a quote without its pair, a repeated
//! `ce-` header and `ce-datacontenttype` are refused; a compressed body is not supported. Of other headers only `traceparent`,
//! `tracestate` and a count of `meshgate-hops` travel.

use std::sync::Arc;

use axum::http::HeaderMap;
use bytes::Bytes;
use meshgate_api::{
    Str,
    event::{Draft, Event, also_missing},
    json, media,
    message::{Headers, Message},
};

pub use super::DecodeError;
use super::{admit, wrap};

mod encode;
mod headers;
mod value;

pub use encode::encode_headers;
use headers::Found;
pub use value::encode as encode_header;

/// The `source` of what was no event.
const SOURCE: &str = "/http";

/// What a request holds.
#[derive(Debug, PartialEq)]
pub enum Decoded {
    /// One event.
    One(Arc<Message>),
    /// A batch; each event's error stands in its place.
    Batch(Vec<Result<Message, DecodeError>>),
}

/// Reads a request to publish to `channel`.
///
/// All texts of an event are slices of one buffer of their size; its data is a slice of `body`.
pub fn decode(headers: &HeaderMap, body: Bytes, channel: &str) -> Result<Decoded, DecodeError> {
    let Found { channel, attributes, content_type, travelling } = headers::read(headers, channel)?;
    if let Some(draft) = attributes {
        let mut event = match copied(&draft, content_type.as_deref(), &body) {
            Some(event) => event,
            None => binary(draft, content_type, body)?,
        };
        admit(&mut event)?;
        let message = Message { channel: Some(channel), event, headers: travelling, wrapped: false };
        return Ok(Decoded::One(message.into()));
    }
    match format(content_type.as_deref())? {
        Format::Event => Ok(Decoded::One(own(json::decode(&body)?, channel, travelling)?.into())),
        Format::Batch => {
            let events = json::decode_batch(&body)?;
            let owned = events.into_iter().map(|event| own(event?, channel.clone(), travelling.clone()));
            Ok(Decoded::Batch(owned.collect()))
        }
        Format::None => {
            let data = data(content_type.as_ref(), body);
            let event = wrap(Str::from_static(SOURCE), content_type, data).into();
            Ok(Decoded::One(Message { channel: Some(channel), event, headers: travelling, wrapped: true }.into()))
        }
    }
}

/// An event out of a body. The texts of JSON are slices of that, which would stay in memory with each of them.
fn own(mut event: Box<Event>, channel: Str, headers: Headers) -> Result<Message, DecodeError> {
    admit(&mut event)?;
    let mut message = Message { channel: Some(channel), event, headers, wrapped: false };
    message.own_texts();
    Ok(message)
}

/// The event format of a request without attribute headers.
enum Format {
    Event,
    Batch,
    None,
}

fn format(content_type: Option<&str>) -> Result<Format, DecodeError> {
    let Some(media_type) = content_type.filter(|media_type| media::is_event_format(media_type)) else {
        return Ok(Format::None);
    };
    if !media::charset(media_type).is_none_or(|charset| charset.eq_ignore_ascii_case("utf-8")) {
        return Err(DecodeError::unsupported(format!("`content-type: {media_type}`: JSON must be in UTF-8")));
    }
    if media::is(media_type, media::EVENT_JSON) {
        Ok(Format::Event)
    } else if media::is(media_type, media::BATCH_JSON) {
        Ok(Format::Batch)
    } else {
        let known = format!("use {} or {}", media::EVENT_JSON, media::BATCH_JSON);
        Err(DecodeError::unsupported(format!("`content-type: {media_type}` is no event format known here: {known}")))
    }
}

/// The event in the body, if the attribute headers are copies of what it says.
fn copied(draft: &Draft, content_type: Option<&str>, body: &Bytes) -> Option<Box<Event>> {
    let structured = content_type.is_some_and(|media_type| media::is(media_type, media::EVENT_JSON));
    let event = structured.then(|| json::decode(body).ok())?;
    event.filter(|event| draft.agrees_with(event))
}

fn binary(mut draft: Draft, content_type: Option<Str>, body: Bytes) -> Result<Box<Event>, DecodeError> {
    let data = data(content_type.as_ref(), body);
    if let Some(media_type) = content_type {
        draft.set_datacontenttype(media_type);
    }
    let missing = draft.missing();
    draft.finish(data).map_err(|fault| match missing.split_first() {
        Some((first, others)) => {
            let detail = format!("header `ce-{first}` is missing{}", also_missing(others, "ce-"));
            DecodeError { detail, ..fault.into() }
        }
        None => fault.into(),
    })
}

/// An empty body is no data unless something says of what type it is.
fn data(content_type: Option<&Str>, body: Bytes) -> Option<Bytes> {
    (!body.is_empty() || content_type.is_some()).then_some(body)
}

#[cfg(test)]
mod tests;
