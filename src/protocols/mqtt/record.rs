//! A session as `state` keeps it: JSON of format 1, under the key `session/{client identifier}`.
//!
//! The [`Envelope`] says who has the session and what is to be done when nobody has; every replica looks at it. What is inside, the
//! session itself, is read by the one that takes it. Stored data has this format: fields are added, and never change their meaning.

use std::{
    collections::HashSet,
    time::{Duration, SystemTime},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::BytesMut;
use meshgate_api::{Str, cursor::Cursor, event::Event, message::Message};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{
    session::{Session, Subscription, Wanted},
    window::{self, Window},
};
use crate::{
    codec::mqtt::{Encoder, Filter, Framing, Packet, Publish, Qos, RetainHandling, Version, Will, decode},
    state::Unstored,
};

/// The format that this program writes.
const FORMAT: u8 = 1;

/// Who has a session, and how long it lasts.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Envelope {
    pub(super) format: u8,
    /// Counts the owners: a higher one has taken the session over.
    pub(super) epoch: u64,
    /// The replica that has it, or had it last.
    pub(super) owner: Str,
    /// A client is connected with it, there.
    pub(super) is_connected: bool,
    /// It takes the session over, and what it says of it is what its writer knew before.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) is_claim: bool,
    /// When it ends, in milliseconds since 1970; `None`: not before its client wants it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) expires: Option<u64>,
    /// Seconds that it lasts when its connection breaks; `u32::MAX`: for ever.
    pub(super) expiry: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) will: Option<LeftWill>,
    /// The [`Content`]; `null`: nothing but the client's name.
    pub(super) session: Box<RawValue>,
}

/// A will, and when it is to be published.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub(super) struct LeftWill {
    /// In milliseconds since 1970; `None` while the client is connected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) at: Option<u64>,
    /// Seconds after the connection's end.
    delay: u32,
    /// The PUBLISH of MQTT 5.0 that it makes, in base64.
    publish: String,
}

/// What there is of a session.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Content {
    /// Written when its connection had ended: nothing was sent or confirmed later.
    is_final: bool,
    subscriptions: Vec<Kept>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    after: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    window: Vec<window::Entry>,
    /// The packet identifier that was given last.
    last: u16,
    /// Packet identifiers that an earlier owner may have given without saying so: the last of each run of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    avoided: Vec<u16>,
    #[serde(default, skip_serializing_if = "HashSet::is_empty")]
    unreleased: HashSet<u16>,
    /// Subscriptions whose retained messages are not all sent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    wanted: Vec<Wanted>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    filter: Str,
    qos: u8,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    no_local: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    retain_as_published: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    identifier: Option<u32>,
}

impl Envelope {
    /// With a session as [`content`] writes it; `None`: without.
    pub(super) fn new(epoch: u64, owner: Str, expiry: u32, session: Option<Box<RawValue>>) -> Self {
        let session = session.unwrap_or_else(|| RawValue::NULL.to_owned());
        Self {
            format: FORMAT,
            epoch,
            owner,
            is_connected: true,
            is_claim: false,
            expires: None,
            expiry,
            will: None,
            session,
        }
    }

    /// Reads a record's data.
    pub(super) fn read(data: &[u8]) -> Result<Self, String> {
        let envelope: Self = serde_json::from_slice(data).map_err(|problem| problem.to_string())?;
        if envelope.format > FORMAT {
            return Err(format!("it has the format {}, which a later version writes", envelope.format));
        }
        Ok(envelope)
    }

    /// The record.
    pub(super) fn message(&self) -> Result<Message, Unstored> {
        serde_json::to_vec(self).map(record).map_err(|problem| unwritten(&problem))
    }
}

/// A record with such data; without data it removes another.
pub(super) fn record(data: Vec<u8>) -> Message {
    let event = Event {
        id: Str::from(uuid::Uuid::now_v7().to_string()),
        source: Str::from_static("/meshgate"),
        kind: Str::from_static("io.meshgate.raw"),
        datacontenttype: (!data.is_empty()).then(|| Str::from_static("application/json")),
        data: (!data.is_empty()).then(|| data.into()),
        ..Event::default()
    };
    Message { event: Box::new(event), wrapped: true, ..Message::default() }
}

impl LeftWill {
    pub(super) fn new(will: &Will) -> Self {
        let Will { topic, payload, qos, retain, properties, delay } = will.clone();
        let packet = (qos > Qos::AtMostOnce).then_some(std::num::NonZeroU16::MIN);
        let publish = Publish { dup: false, qos, retain, topic, packet, properties, payload };
        Self { at: None, delay, publish: write(&publish) }
    }

    /// The same after the connection's end.
    pub(super) fn left(self, now: SystemTime, at_least: Duration) -> Self {
        let delay = Duration::from_secs(self.delay.into()).max(at_least);
        Self { at: Some(millis(now + delay)), ..self }
    }

    pub(super) fn has_delay(&self) -> bool {
        self.delay > 0
    }

    /// What is to be published; `None`: it cannot be read.
    pub(super) fn publish(&self) -> Option<Publish> {
        read(&self.publish)
    }
}

/// Writes what there is of a session. `is_final`: its connection has ended. At most `most` bytes of messages that are kept nowhere else,
/// and how many had to go for that.
pub(super) fn content(
    session: &Session,
    after: Option<&Cursor>,
    is_final: bool,
    most: usize,
) -> Result<(Box<RawValue>, usize), Unstored> {
    let (mut window, mut left_out) = (session.window.entries(), 0);
    let mut bytes: usize = window.iter().map(window::Entry::kept_bytes).sum();
    while bytes > most
        && let Some(at) = window.iter().position(|entry| entry.kept_bytes() > 0)
    {
        bytes -= window.remove(at).kept_bytes();
        left_out += 1;
    }
    let (last, avoided) = session.window.given();
    let content = Content {
        is_final,
        subscriptions: session.subscriptions.iter().map(Kept::new).collect(),
        after: after.map(Cursor::encode),
        window,
        last,
        avoided,
        // What a client has released since may have been used again: only what is final can be relied on.
        wanted: session.wanted.clone(),
        unreleased: if is_final { session.unreleased.clone() } else { HashSet::new() },
    };
    Ok((serde_json::value::to_raw_value(&content).map_err(|problem| unwritten(&problem))?, left_out))
}

/// Nothing would be a removal: so what cannot be written is not stored.
fn unwritten(problem: &serde_json::Error) -> Unstored {
    Unstored(format!("a session cannot be written: {problem}"))
}

/// Reads a session. `None`: there is none.
pub(super) fn session(raw: &RawValue) -> Result<Option<Box<Session>>, String> {
    let Some(content) = serde_json::from_str::<Option<Content>>(raw.get()).map_err(|problem| problem.to_string())?
    else {
        return Ok(None);
    };
    let Content { is_final, subscriptions, after, window, last, avoided, unreleased, wanted } = content;
    let mut session = Session { unreleased, wanted, ..Session::default() };
    session.subscriptions = subscriptions.iter().map(Kept::read).collect::<Result<_, _>>()?;
    let filters = session.own_filters();
    let cursor = |text: String| Cursor::decode(&text, &filters.text()).map_err(|problem| problem.to_string());
    session.after = after.map(cursor).transpose()?;
    session.window = Window::restore(window, last, avoided, is_final);
    Ok(Some(Box::new(session)))
}

impl Kept {
    fn new(subscription: &Subscription) -> Self {
        Self {
            filter: subscription.text.clone(),
            qos: subscription.qos as u8,
            no_local: subscription.no_local,
            retain_as_published: subscription.retain_as_published,
            identifier: subscription.identifier,
        }
    }

    fn read(&self) -> Result<Subscription, String> {
        let qos = match self.qos {
            0 => Qos::AtMostOnce,
            1 => Qos::AtLeastOnce,
            _ => Qos::ExactlyOnce,
        };
        let filter = Filter {
            filter: self.filter.clone(),
            qos,
            no_local: self.no_local,
            retain_as_published: self.retain_as_published,
            retain_handling: RetainHandling::DoNotSend,
        };
        Subscription::new(&filter, self.identifier).map_err(|problem| problem.to_string())
    }
}

/// A PUBLISH of MQTT 5.0 in base64.
pub(super) fn write(publish: &Publish) -> String {
    let mut bytes = BytesMut::new();
    let encoder = Encoder { version: Version::V5, maximum: usize::MAX, tells_problems: true };
    match encoder.publish(&mut bytes, publish) {
        Ok(()) => STANDARD.encode(&bytes),
        Err(_) => String::new(), // only what is longer than any packet
    }
}

/// What [`write`] has written.
pub(super) fn read(text: &str) -> Option<Publish> {
    let bytes = STANDARD.decode(text).ok()?;
    let frame = Framing { maximum: usize::MAX }.next(&mut BytesMut::from(&bytes[..])).ok()??;
    match decode(Version::V5, frame).ok()? {
        Packet::Publish(publish) => Some(publish),
        _ => None,
    }
}

/// Milliseconds since 1970.
pub(super) fn millis(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
