//! How a message becomes a PUBLISH of MQTT 5, and back: the CloudEvents MQTT binding 1.0.2. No codec, no connection.
//!
//! Attributes are user properties of their own names, `datacontenttype` is the content type, data is the payload. Beside them stand, as
//! in records of other brokers, the gateway's own properties `meshgate-channel`, `meshgate-wrapped` and `meshgate-hops`, and the
//! transport headers. What else MQTT asks for:
//!
//! - A name of `a-z 0-9` is an attribute. A transport header of such a name (`traceparent`) stands behind the attributes, and
//!   `meshgate-headers` names it, once for each time that it is there: without that, those who read would take it for an attribute.
//! - A payload of no bytes is no data, unless there is a content type.
//! - The extension `expirytime` and the message expiry interval are the same thing.
//! - A response topic, correlation data and the payload format have properties of MQTT's own, also in the gateway's headers for them.
//! - A wrapped event is never made JSON: who reads gets the bytes that somebody sent.
//! - Texts have at most 65,535 bytes. A header's value that is no text is left out, and counted.
//!
//! MQTT 3.1.1 has no properties: an event is its JSON, and what is wrapped its bytes ([`pack_plain`], [`unpack_plain`]).

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use foldhash::HashMap;
use time::OffsetDateTime;

use super::{
    NativeOrigin,
    read::{event, media_type, wrap},
    write::{EVENT_JSON_UTF8, value},
};
use crate::{
    Str,
    connector::ContentMode,
    event::{Draft, Event, Value, check_attribute_name, parse_timestamp, timestamp},
    json,
    message::{
        CHANNEL_HEADER, CORRELATION_HEADER, FORMAT_HEADER, Headers, Message, RESPONSE_HEADER, WRAPPED_HEADER,
        is_own_header, is_reserved_header,
    },
};

/// Bytes of the longest text that MQTT has.
pub const LONGEST_TEXT: usize = u16::MAX as usize;
/// Names the transport headers that would pass for attributes, in their order, with spaces between them.
const HEADERS: &str = "meshgate-headers";
/// The extension that says until when an event is of use.
const EXPIRY: &str = "expirytime";

/// What stands beside the payload.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Properties {
    /// The content type.
    pub content_type: Option<Str>,
    /// User properties: ordered, a name may repeat.
    pub user: Vec<(Str, Str)>,
    /// The message expiry interval, in seconds.
    pub expiry: Option<u32>,
    /// What few messages have.
    pub rare: Option<Box<Rare>>,
}

/// What else a PUBLISH of MQTT 5 may have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rare {
    /// Where an answer is to go.
    pub response_topic: Option<Str>,
    /// What tells the one who asks which answer it is.
    pub correlation: Option<Bytes>,
    /// The payload format: that the payload is UTF-8.
    pub is_text: Option<bool>,
}

/// A message as it is published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packed {
    /// Beside the payload.
    pub properties: Properties,
    /// The payload.
    pub payload: Bytes,
    /// Transport headers that MQTT cannot hold.
    pub left_out: usize,
}

/// A text of the event is longer than MQTT lets one be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is longer than the {LONGEST_TEXT} bytes that MQTT gives a text: publish in `mode: structured`, or make it shorter"
)]
pub struct TooLong(pub Str);

/// Makes a PUBLISH of a message.
pub fn pack(message: &Message, mode: ContentMode, now: SystemTime) -> Result<Packed, TooLong> {
    let mode = match mode {
        ContentMode::Structured if message.wrapped => ContentMode::Binary,
        mode => mode,
    };
    let mut properties = Properties { expiry: remaining(&message.event, now), ..Properties::default() };
    properties.content_type = match mode {
        ContentMode::Structured => Some(Str::from_static(EVENT_JSON_UTF8)),
        ContentMode::Binary | ContentMode::Raw => message.event.datacontenttype.clone(),
    };
    if mode == ContentMode::Binary {
        put_attributes(&message.event, &mut properties.user);
    }
    if let Some(channel) = &message.channel {
        properties.user.push((Str::from_static(CHANNEL_HEADER), channel.clone()));
    }
    if message.wrapped {
        properties.user.push((Str::from_static(WRAPPED_HEADER), Str::from_static("true")));
    }
    let too_long = properties.user.iter().find(|(_, value)| value.len() > LONGEST_TEXT).map(|(name, _)| name);
    let content_type = properties.content_type.as_ref().filter(|text| text.len() > LONGEST_TEXT);
    if let Some(name) = too_long.cloned().or(content_type.map(|_| Str::from_static("datacontenttype"))) {
        return Err(TooLong(name));
    }
    let left_out = put_headers(&message.headers, &mut properties);
    Ok(Packed { properties, payload: value(message, mode).unwrap_or_default(), left_out })
}

/// The payload of a message in MQTT 3.1.1.
#[must_use]
pub fn pack_plain(message: &Message, mode: ContentMode) -> Bytes {
    let is_plain = message.wrapped || mode == ContentMode::Raw;
    value(message, if is_plain { ContentMode::Raw } else { ContentMode::Structured }).unwrap_or_default()
}

/// Reads a PUBLISH. Never an error: what is no event is wrapped.
///
/// - *Structured* if the content type is `application/cloudevents+json` and the payload is a valid event; also if there is no content
///   type, no attribute, and the payload is one: so those of MQTT 3.1.1 publish.
/// - *Binary* if the user properties make a valid event of version 1.0.
/// - *Wrapped* otherwise; then no user property is an attribute, all are transport headers.
#[must_use]
pub fn unpack(
    properties: Properties,
    payload: Bytes,
    now: SystemTime,
    native: impl FnOnce() -> NativeOrigin,
) -> Message {
    let Properties { content_type, user, expiry, rare } = properties;
    let mut found = Found::of(user, true);
    let content_type = content_type.map(|text| media_type(&text.into_bytes()));
    let data = (!payload.is_empty() || content_type.is_some()).then(|| payload.clone());
    let is_plain = content_type.is_none() && found.attributes.is_none();
    let own = match event(found.attributes.take().map(Attributes::draft), content_type.as_ref(), data.as_ref()) {
        None if is_plain && !found.wrapped => plain_event(&payload),
        own => own,
    };
    let wrapped = found.wrapped || own.is_none();
    let mut event = own.unwrap_or_else(|| {
        found.headers = Found::of(std::mem::take(&mut found.user), false).headers;
        wrap(native(), content_type, Some(payload)).into()
    });
    if let Some(seconds) = expiry.filter(|_| event.extension(EXPIRY).is_none())
        && let Some(time) = now.checked_add(Duration::from_secs(seconds.into())).and_then(timestamp)
    {
        event.extensions.push((Str::from_static(EXPIRY), Value::String(time)));
    }
    found.headers.extend(rare.into_iter().flat_map(|rare| rare.headers()));
    Message { channel: found.channel, event, headers: found.headers, wrapped }
}

/// Reads a PUBLISH of MQTT 3.1.1: the payload is an event's JSON, or it is wrapped.
#[must_use]
pub fn unpack_plain(payload: Bytes, native: impl FnOnce() -> NativeOrigin) -> Message {
    let own = plain_event(&payload);
    let wrapped = own.is_none();
    let event = own.unwrap_or_else(|| wrap(native(), None, Some(payload)).into());
    Message { channel: None, event, headers: Headers::new(), wrapped }
}

fn plain_event(payload: &Bytes) -> Option<Box<Event>> {
    let looks_like_one = payload.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{');
    looks_like_one.then(|| json::decode(payload).ok()).flatten().filter(|event| !event.has_reserved_type())
}

fn put_attributes(event: &Event, user: &mut Vec<(Str, Str)>) {
    user.push((Str::from_static("specversion"), Str::from_static("1.0")));
    event.for_each_attribute(|name, value| {
        if name != "datacontenttype" {
            user.push((name.into(), value.into_owned().into()));
        }
    });
}

impl Rare {
    /// As transport headers.
    fn headers(self) -> impl Iterator<Item = (Str, Bytes)> {
        let own = [
            (RESPONSE_HEADER, self.response_topic.map(Str::into_bytes)),
            (CORRELATION_HEADER, self.correlation),
            (FORMAT_HEADER, self.is_text.map(|is_text| Bytes::from_static(if is_text { b"1" } else { b"0" }))),
        ];
        own.into_iter().filter_map(|(name, value)| Some((Str::from_static(name), value?)))
    }

    /// Takes a transport header of the gateway's own.
    fn put(&mut self, name: &str, value: &Bytes) {
        match name {
            RESPONSE_HEADER => {
                let topic = Str::try_from(value.clone()).ok();
                self.response_topic =
                    topic.filter(|topic| is_text(topic) && !topic.is_empty() && !topic.contains(['+', '#']));
            }
            CORRELATION_HEADER => self.correlation = Some(value.clone()).filter(|data| data.len() <= LONGEST_TEXT),
            _ => self.is_text = Some(**value == *b"1"),
        }
    }
}

/// How many were left out.
fn put_headers(headers: &Headers, properties: &mut Properties) -> usize {
    let mut ambiguous = String::new();
    let mut left_out = 0;
    let from = properties.user.len();
    for (name, value) in headers {
        if matches!(&**name, RESPONSE_HEADER | CORRELATION_HEADER | FORMAT_HEADER) {
            properties.rare.get_or_insert_default().put(name, value);
            continue;
        }
        let text = Str::try_from(value.clone()).ok().filter(|text| is_text(text) && is_text(name));
        let Some(text) = text else {
            left_out += 1;
            continue;
        };
        if check_attribute_name(name).is_ok() {
            if ambiguous.len() + name.len() >= LONGEST_TEXT {
                left_out += 1;
                continue;
            }
            ambiguous.extend([if ambiguous.is_empty() { "" } else { " " }, name]);
        }
        properties.user.push((name.clone(), text));
    }
    if !ambiguous.is_empty() {
        properties.user.insert(from, (Str::from_static(HEADERS), ambiguous.into()));
    }
    left_out
}

fn is_text(text: &str) -> bool {
    text.len() <= LONGEST_TEXT && !text.contains('\0')
}

/// Seconds until the event is of no use any more: at least one, for none would say that it never was.
fn remaining(event: &Event, now: SystemTime) -> Option<u32> {
    remaining_seconds(event, now).map(|seconds| u32::try_from(seconds.max(1)).unwrap_or(u32::MAX))
}

/// Seconds until the `expirytime` of an event, none or fewer once it has passed; `None`: it has none that is a time.
#[must_use]
pub fn remaining_seconds(event: &Event, now: SystemTime) -> Option<i64> {
    let until = parse_timestamp(&event.extension(EXPIRY)?.canonical())?;
    let left = until - OffsetDateTime::from(now);
    // What is left of a second counts: else one that was given a single second would have none at once.
    Some(left.whole_seconds() + i64::from(left.subsec_nanoseconds() > 0))
}

/// Attributes, in the order in which they came.
struct Attributes(Vec<(Str, Str)>);

impl Attributes {
    fn draft(self) -> Draft {
        let mut draft = Draft::default();
        for (name, value) in self.0 {
            draft.put(&name, Some(Value::String(value)), || name.clone());
        }
        draft
    }
}

/// What user properties say.
#[derive(Default)]
struct Found {
    /// If those are there that every event has.
    attributes: Option<Attributes>,
    channel: Option<Str>,
    wrapped: bool,
    headers: Headers,
    /// All of them, for another look.
    user: Vec<(Str, Str)>,
}

impl Found {
    fn of(user: Vec<(Str, Str)>, may_be_event: bool) -> Self {
        let mut found = Self::default();
        let named = user.iter().find(|(name, _)| name == HEADERS);
        let mut ambiguous = HashMap::<&str, usize>::default();
        for name in named.iter().flat_map(|(_, names)| names.split(' ')) {
            *ambiguous.entry(name).or_default() += 1;
        }
        let has = |wanted| user.iter().any(|(name, _)| name == wanted);
        let may_be_event = may_be_event && ["id", "source", "type", "specversion"].into_iter().all(has);
        // Headers stand behind attributes: of a name that is both, the last ones are headers.
        let mut attributes = Vec::new();
        for (name, value) in user.iter().rev() {
            let is_named = ambiguous.get_mut(&**name).is_some_and(|left| {
                let is_one = *left > 0;
                *left = left.saturating_sub(1);
                is_one
            });
            match &**name {
                CHANNEL_HEADER => found.channel = found.channel.or_else(|| Some(value.clone())),
                WRAPPED_HEADER => found.wrapped |= value == "true",
                own if is_own_header(own, value.as_bytes()) => {
                    found.headers.push((name.clone(), value.clone().into_bytes()));
                }
                text if is_reserved_header(text) => {}
                text if may_be_event && !is_named && check_attribute_name(text).is_ok() => {
                    attributes.push((name.clone(), value.clone()));
                }
                _ => found.headers.push((name.clone(), value.clone().into_bytes())),
            }
        }
        found.headers.reverse();
        attributes.reverse();
        found.attributes = may_be_event.then_some(Attributes(attributes));
        found.user = user;
        found
    }
}

#[cfg(test)]
mod tests;
