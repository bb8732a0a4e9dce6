//! The CloudEvents WebSocket protocol binding: a text frame is one event in the JSON format. Events of the gateway's own types settle
//! what a group's member was given (section 7 of the contract).

use std::time::Duration;

use bytes::Bytes;
use meshgate_api::{
    Str,
    event::Event,
    json,
    message::{Headers, Message},
    settings::duration,
};
use serde::Deserialize;

use super::{DecodeError, admit, wrap};

/// The `source` of what was no event.
const SOURCE: &str = "/ws";

const ACK: &str = "io.meshgate.ack";
const NACK: &str = "io.meshgate.nack";
const REJECT: &str = "io.meshgate.reject";

/// What a text frame holds.
#[derive(Debug, PartialEq)]
pub enum Frame {
    /// An event to publish.
    Event(Box<Event>),
    /// What became of deliveries.
    Settling(Settling),
}

/// What became of deliveries.
#[derive(Debug, PartialEq, Eq)]
pub struct Settling {
    /// The settling event's own `id`.
    pub id: Str,
    /// Their tags.
    pub tags: Vec<u64>,
    /// How they ended.
    pub verdict: Verdict,
}

/// How a delivery ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is done.
    Ack,
    /// Deliver it again, at once if no time is given.
    Nack(Option<Duration>),
    /// It will never be taken.
    Reject(String),
}

/// The data of a settling event.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Data {
    deliverytags: Vec<Tag>,
    after: Option<String>,
    reason: Option<String>,
}

/// As the event carried it, or as a number.
#[derive(Deserialize)]
#[serde(untagged)]
enum Tag {
    Number(u64),
    Text(String),
}

/// Reads a text frame.
pub fn decode(frame: &Bytes) -> Result<Frame, DecodeError> {
    let mut event = json::decode(frame)?;
    if let ACK | NACK | REJECT = &*event.kind {
        let fault = |detail| DecodeError { id: Some(event.id.clone()), ..DecodeError::bad(detail) };
        return settling(&event).map(Frame::Settling).map_err(fault);
    }
    admit(&mut event)?;
    Ok(Frame::Event(event))
}

fn settling(event: &Event) -> Result<Settling, String> {
    let data = event.data.as_deref().unwrap_or_default();
    let data: Data = serde_json::from_slice(data)
        .map_err(|problem| format!("the data of `{}` must be {{\"deliverytags\": […]}}: {problem}", event.kind))?;
    let tags = data.deliverytags.iter().map(Tag::number).collect::<Result<_, _>>()?;
    let verdict = match (&*event.kind, data.after, data.reason) {
        (ACK, None, None) => Verdict::Ack,
        (NACK, after, None) => Verdict::Nack(after.as_deref().map(pause).transpose()?),
        (REJECT, None, reason) => Verdict::Reject(reason.unwrap_or_default()),
        _ => return Err("`after` is for a nack and `reason` for a reject".to_owned()),
    };
    Ok(Settling { id: event.id.clone(), tags, verdict })
}

fn pause(after: &str) -> Result<Duration, String> {
    duration(after).ok_or_else(|| format!("`after: {after}`: use a time such as 500ms, 5s or 1m"))
}

impl Tag {
    fn number(&self) -> Result<u64, String> {
        match self {
            Self::Number(number) => Ok(*number),
            Self::Text(text) => text.parse().map_err(|_| format!("`{text}` is no delivery tag")),
        }
    }
}

/// An event of a frame as a message to `channel`, in buffers of its own: frames share the one that they were read into.
#[must_use]
pub fn message(event: Box<Event>, channel: &Str, trace: &Headers) -> Message {
    let mut message = Message { channel: Some(channel.clone()), event, headers: trace.clone(), wrapped: false };
    message.own_texts();
    message.own_data();
    message
}

/// Bytes that are no event, as a message to `channel`.
#[must_use]
pub fn wrapped(frame: &[u8], channel: &Str, trace: &Headers) -> Message {
    let event = wrap(Str::from_static(SOURCE), None, Some(Bytes::copy_from_slice(frame))).into();
    Message { channel: Some(channel.clone()), event, headers: trace.clone(), wrapped: true }
}

#[cfg(test)]
mod tests;
