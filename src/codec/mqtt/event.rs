//! A PUBLISH as an event, and back: the CloudEvents MQTT binding 1.0.2 in the reading of the contract's section 8.
//!
//! In: *structured* by the content type `application/cloudevents+json`, or with MQTT 3.1.1 if the payload is a valid JSON event;
//! *binary* if there are the user properties `id`, `source`, `type` and `specversion`; anything else is wrapped. Out: what was wrapped
//! leaves as its bytes with the user properties that it came with; other events in binary mode, or structured to MQTT 3.1.1.
//!
//! User properties that are no attributes are transport headers. What else a PUBLISH may have (response topic, correlation data, payload
//! format, RETAIN) travels in headers of the gateway's own.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use meshgate_api::{
    Str,
    binding::mqtt::{LONGEST_TEXT, remaining_seconds},
    event::{self, Draft, Event, Value, check_attribute_name},
    json, media,
    message::{
        CONTENT_TYPE_HEADER, CORRELATION_HEADER, FORMAT_HEADER, HOPS_HEADER, Headers, Message, PUBLISHER_HEADER,
        QOS_HEADER, RESPONSE_HEADER, RETAIN_HEADER, is_hop_count, is_reserved_header,
    },
};

use super::{Publish, PublishProperties, Qos, Version};
use crate::codec::{DecodeError, admit, wrap};

/// The extension that says until when an event is of use.
const EXPIRY: &str = "expirytime";
/// The attributes that every event has.
const REQUIRED: [&str; 4] = ["id", "source", "type", "specversion"];

/// Who has sent a PUBLISH.
#[derive(Clone, Debug)]
pub struct Sender<'a> {
    /// What it speaks.
    pub version: Version,
    /// The `source` of what is no event.
    pub source: &'a Str,
    /// Its name, if it does not want its own events back.
    pub publisher: Option<&'a Str>,
}

/// The event of a PUBLISH to `channel`.
pub fn decode_event(
    sender: &Sender<'_>,
    publish: Publish,
    channel: &Str,
    now: SystemTime,
) -> Result<Message, DecodeError> {
    let Publish { properties, payload, retain, qos, .. } = publish;
    let PublishProperties { content_type, user, expiry, .. } = &properties;
    let has = |wanted: &&str| user.iter().any(|(name, _)| name == wanted);
    let is_binary = REQUIRED.iter().all(has);
    let structured = content_type.as_deref().filter(|media_type| media::is_event_format(media_type));
    let data = (!payload.is_empty() || content_type.is_some()).then(|| payload.clone());
    let mut wrapped = false;
    let mut event = match structured {
        Some(media_type) if !media::is(media_type, media::EVENT_JSON) => {
            let detail = format!("content type `{media_type}`: use {}, one event a message", media::EVENT_JSON);
            return Err(DecodeError::unsupported(detail));
        }
        Some(_) if !is_binary => json::decode(&payload)?,
        _ if is_binary => binary(user, content_type.clone(), data)?,
        _ => match plain(sender.version, &payload) {
            Some(event) => event,
            None => {
                wrapped = true;
                Box::new(wrap(sender.source.clone(), content_type.clone(), Some(payload)))
            }
        },
    };
    admit(&mut event)?;
    if let Some(seconds) = expiry.filter(|_| event.extension(EXPIRY).is_none())
        && let Some(time) = now.checked_add(Duration::from_secs(seconds.into())).and_then(event::timestamp)
    {
        event.extensions.push((Str::from_static(EXPIRY), Value::String(time)));
    }
    let odd = content_type.clone().filter(|_| wrapped && event.datacontenttype.is_none());
    let mut headers = headers(properties, is_binary, retain);
    headers.extend(odd.map(|odd| (Str::from_static(CONTENT_TYPE_HEADER), odd.into_bytes())));
    if qos < Qos::ExactlyOnce {
        let digit: &[u8] = if qos == Qos::AtMostOnce { b"0" } else { b"1" };
        headers.push((Str::from_static(QOS_HEADER), Bytes::from_static(digit)));
    }
    let publisher = sender.publisher.map(|publisher| publisher.clone().into_bytes());
    headers.extend(publisher.map(|publisher| (Str::from_static(PUBLISHER_HEADER), publisher)));
    Ok(Message { channel: Some(channel.clone()), event, headers, wrapped })
}

fn binary(user: &[(Str, Str)], content_type: Option<Str>, data: Option<Bytes>) -> Result<Box<Event>, DecodeError> {
    let mut draft = Draft::default();
    for (name, value) in user.iter().filter(|(name, _)| check_attribute_name(name).is_ok()) {
        draft.put(name, Some(Value::String(value.clone())), || name.clone());
    }
    if let Some(media_type) = content_type {
        draft.set_datacontenttype(media_type);
    }
    Ok(draft.finish(data)?)
}

/// What a device of MQTT 3.1.1 publishes, if it is an event: it has no other way to say so.
fn plain(version: Version, payload: &Bytes) -> Option<Box<Event>> {
    let looks_like_one = payload.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{');
    let event = (version == Version::V3 && looks_like_one).then(|| json::decode(payload).ok()).flatten();
    event.filter(|event| !event.has_reserved_type())
}

fn headers(properties: PublishProperties, is_binary: bool, retain: bool) -> Headers {
    let PublishProperties { is_text, response_topic, correlation, user, .. } = properties;
    let travels = |(name, value): &(Str, Str)| match &**name {
        HOPS_HEADER => is_hop_count(value.as_bytes()),
        name => !(is_reserved_header(name) || is_binary && check_attribute_name(name).is_ok()),
    };
    let mut headers: Headers =
        user.into_iter().filter(travels).map(|(name, value)| (name, value.into_bytes())).collect();
    let own = [
        (RESPONSE_HEADER, response_topic.map(Str::into_bytes)),
        (CORRELATION_HEADER, correlation),
        (FORMAT_HEADER, is_text.map(|is_text| Bytes::from_static(if is_text { b"1" } else { b"0" }))),
        (RETAIN_HEADER, retain.then_some(Bytes::from_static(b"true"))),
    ];
    for (name, value) in own {
        headers.extend(value.map(|value| (Str::from_static(name), value)));
    }
    headers
}

/// What a client gets of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// Beside the payload, for MQTT 5.
    pub properties: PublishProperties,
    /// The payload.
    pub payload: Bytes,
    /// It was published with RETAIN.
    pub retain: bool,
    /// As it was published; at most that is what it is delivered with.
    pub qos: Qos,
}

/// Why a client does not get an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Withheld {
    /// Its `expirytime` has passed.
    Expired,
    /// A text of it is longer than MQTT lets one be.
    TooLong,
}

/// What a client that speaks `version` gets of an event.
pub fn encode_event(version: Version, message: &Message, now: SystemTime) -> Result<Encoded, Withheld> {
    let event = &*message.event;
    let expiry = match event.extension(EXPIRY) {
        None => None,
        Some(_) => match remaining_seconds(event, now) {
            Some(seconds) if seconds <= 0 => return Err(Withheld::Expired),
            seconds => seconds.map(|seconds| u32::try_from(seconds).unwrap_or(u32::MAX)),
        },
    };
    let header = |wanted: &str| message.headers.iter().find(|(name, _)| name == wanted).map(|(_, value)| &**value);
    let retain = header(RETAIN_HEADER).is_some();
    let qos = match header(QOS_HEADER) {
        Some(b"0") => Qos::AtMostOnce,
        Some(b"1") => Qos::AtLeastOnce,
        _ => Qos::ExactlyOnce,
    };
    let data = || event.data.clone().unwrap_or_default();
    if version == Version::V3 {
        let payload = if message.wrapped { data() } else { structured(event) };
        return Ok(Encoded { properties: PublishProperties::default(), payload, retain, qos });
    }
    let mut properties =
        PublishProperties { expiry, content_type: event.datacontenttype.clone(), ..Default::default() };
    if !message.wrapped {
        properties.user.push((Str::from_static("specversion"), Str::from_static("1.0")));
        event.for_each_attribute(|name, value| {
            if name != "datacontenttype" {
                properties.user.push((name.into(), value.into_owned().into()));
            }
        });
    }
    let is_too_long = |text: &Str| text.len() > LONGEST_TEXT;
    if properties.user.iter().any(|(_, value)| is_too_long(value))
        || properties.content_type.as_ref().is_some_and(is_too_long)
    {
        return Err(Withheld::TooLong);
    }
    put_headers(&message.headers, &mut properties);
    Ok(Encoded { properties, payload: data(), retain, qos })
}

/// Whether this client has published it, and does not want its own events back.
#[must_use]
pub fn is_of(message: &Message, client_id: &str) -> bool {
    message.headers.iter().any(|(name, value)| name == PUBLISHER_HEADER && **value == *client_id.as_bytes())
}

fn structured(event: &Event) -> Bytes {
    let mut text = Vec::new();
    json::encode_into(event, &[], &mut text);
    text.into()
}

/// What is no text MQTT cannot hold.
fn put_headers(headers: &Headers, properties: &mut PublishProperties) {
    for (name, value) in headers {
        let text =
            || Str::try_from(value.clone()).ok().filter(|text| text.len() <= LONGEST_TEXT && !text.contains('\0'));
        match &**name {
            RESPONSE_HEADER => properties.response_topic = text().filter(|topic| !topic.contains(['+', '#'])),
            CORRELATION_HEADER => {
                properties.correlation = Some(value.clone()).filter(|data| data.len() <= LONGEST_TEXT);
            }
            CONTENT_TYPE_HEADER if properties.content_type.is_none() => properties.content_type = text(),
            FORMAT_HEADER => properties.is_text = Some(**value == *b"1"),
            name if is_reserved_header(name) => {}
            _ => properties.user.extend(text().map(|text| (name.clone(), text))),
        }
    }
}
