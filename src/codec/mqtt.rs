//! The packets of MQTT 3.1.1 and 5.0 as a server reads and writes them. Pure: bytes in, packets out.
//!
//! Reading is strict: what either OASIS standard forbids is a [`Fault`], with the reason code that the standard gives it (of MQTT 3.1.1,
//! which has none, the one that 5.0 would give). Texts and payloads are slices of what was read, never copies. What depends on more than
//! one packet (whether a packet identifier is in use, what a topic alias stands for) is the session's business.

use std::num::NonZeroU16;

use bytes::Bytes;
use meshgate_api::Str;

mod decode;
mod encode;
mod event;
mod frame;
mod properties;
mod reader;
mod reason;

pub use decode::{decode, decode_connect, said_version};
pub use encode::{ConnAck, Encoder, TooLarge, encode_refusal};
pub use event::{Encoded, Sender, Withheld, decode_event, encode_event, is_of};
pub use frame::{Frame, Framing, PacketType};
pub use reason::Reason;

/// Which of the two a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// 3.1.1, level 4.
    V3,
    /// 5.0, level 5.
    V5,
}

/// What is wrong with bytes that a client sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct Fault {
    /// As MQTT 5 names it.
    pub reason: Reason,
    /// For a person; names the part of the packet.
    pub detail: String,
}

impl Fault {
    /// What no version of MQTT can be read as (section 1.2).
    pub fn malformed(detail: impl Into<String>) -> Self {
        Self { reason: Reason::MalformedPacket, detail: detail.into() }
    }

    /// What can be read and is forbidden (section 1.2).
    pub fn protocol(detail: impl Into<String>) -> Self {
        Self { reason: Reason::ProtocolError, detail: detail.into() }
    }

    /// One with a reason code of its own.
    pub fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into() }
    }
}

/// A quality of service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Qos {
    /// 0.
    #[default]
    AtMostOnce,
    /// 1.
    AtLeastOnce,
    /// 2.
    ExactlyOnce,
}

impl Qos {
    fn from_bits(bits: u8) -> Option<Self> {
        match bits {
            0 => Some(Self::AtMostOnce),
            1 => Some(Self::AtLeastOnce),
            2 => Some(Self::ExactlyOnce),
            _ => None,
        }
    }
}

/// What a client sends after its CONNECT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet {
    /// An event.
    Publish(Publish),
    /// PUBACK, PUBREC, PUBREL or PUBCOMP.
    Ack(Ack),
    /// Subscriptions that it wants.
    Subscribe(Subscribe),
    /// Subscriptions that it wants no more.
    Unsubscribe(Unsubscribe),
    /// It is there.
    PingReq,
    /// It goes.
    Disconnect(Disconnect),
    /// Extended authentication (MQTT 5).
    Auth(Reason),
}

/// CONNECT, the first packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connect {
    /// What the client speaks.
    pub version: Version,
    /// Clean Session of 3.1.1, Clean Start of 5.0.
    pub clean_start: bool,
    /// Seconds within which it sends something; 0: it need not.
    pub keep_alive: u16,
    /// Empty: the server gives it one.
    pub client_id: Str,
    /// What is to be published when it is gone.
    pub will: Option<Will>,
    /// Who it is.
    pub username: Option<Str>,
    /// And the proof.
    pub password: Option<Bytes>,
    /// Seconds for which the session outlives the connection; `u32::MAX`: for ever. `None`: not said.
    pub session_expiry: Option<u32>,
    /// QoS 1 and 2 publishes to it that may be unconfirmed.
    pub receive_maximum: u16,
    /// Bytes of the largest packet that it takes.
    pub maximum_packet: Option<u32>,
    /// The highest topic alias that it takes.
    pub topic_alias_maximum: u16,
    /// It wants a response topic's beginning.
    pub request_response_information: bool,
    /// It takes reason strings and user properties with every packet.
    pub request_problem_information: bool,
    /// The method of extended authentication.
    pub authentication_method: Option<Str>,
    /// User properties.
    pub user: Vec<(Str, Str)>,
}

/// What a client leaves to be published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Will {
    /// As that of a publish.
    pub topic: Str,
    /// As that of a publish.
    pub payload: Bytes,
    /// As that of a publish.
    pub qos: Qos,
    /// As that of a publish.
    pub retain: bool,
    /// Seconds after the end of the connection.
    pub delay: u32,
    /// As those of a publish.
    pub properties: PublishProperties,
}

impl Connect {
    /// Seconds that its session lasts longer than its connection; `u32::MAX`: for ever.
    #[must_use]
    pub fn lasting(&self) -> u32 {
        match self.version {
            Version::V5 => self.session_expiry.unwrap_or(0),
            Version::V3 if self.clean_start => 0,
            Version::V3 => u32::MAX,
        }
    }
}

/// PUBLISH, either way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Publish {
    /// It may have been sent before.
    pub dup: bool,
    /// Its quality of service.
    pub qos: Qos,
    /// To be kept, or what was kept.
    pub retain: bool,
    /// Empty where a topic alias stands for it.
    pub topic: Str,
    /// With QoS 1 and 2.
    pub packet: Option<NonZeroU16>,
    /// With MQTT 5.
    pub properties: PublishProperties,
    /// The application message.
    pub payload: Bytes,
}

/// What stands beside a payload in MQTT 5.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PublishProperties {
    /// The payload is UTF-8, it says.
    pub is_text: Option<bool>,
    /// Seconds.
    pub expiry: Option<u32>,
    /// Stands for the topic.
    pub topic_alias: Option<NonZeroU16>,
    /// Where an answer is to go.
    pub response_topic: Option<Str>,
    /// What an answer is to carry.
    pub correlation: Option<Bytes>,
    /// Ordered; a name may repeat.
    pub user: Vec<(Str, Str)>,
    /// Of the subscriptions that it matches; only to a client.
    pub subscriptions: Vec<u32>,
    /// The media type.
    pub content_type: Option<Str>,
}

impl PublishProperties {
    /// Whether a payload is what the payload format indicator says of it.
    #[must_use]
    pub fn is_sound(&self, payload: &[u8]) -> bool {
        self.is_text != Some(true) || std::str::from_utf8(payload).is_ok()
    }
}

/// Which step of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AckKind {
    /// QoS 1 is done.
    PubAck,
    /// QoS 2: taken.
    PubRec,
    /// QoS 2: the sender has heard that.
    PubRel,
    /// QoS 2 is done.
    PubComp,
}

/// PUBACK, PUBREC, PUBREL or PUBCOMP, either way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ack {
    /// Which of them.
    pub kind: AckKind,
    /// Of which publish.
    pub packet: NonZeroU16,
    /// How it went; 3.1.1 knows success alone.
    pub reason: Reason,
}

/// SUBSCRIBE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscribe {
    /// To be named in the SUBACK.
    pub packet: NonZeroU16,
    /// To be named with what is delivered for it.
    pub identifier: Option<u32>,
    /// At least one.
    pub filters: Vec<Filter>,
}

/// One subscription that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// The topic filter, `$share/…` included.
    pub filter: Str,
    /// The highest QoS that is wanted.
    pub qos: Qos,
    /// Not what the client itself publishes.
    pub no_local: bool,
    /// RETAIN stays as it was published.
    pub retain_as_published: bool,
    /// Whether what is retained comes.
    pub retain_handling: RetainHandling,
}

/// When retained messages are sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RetainHandling {
    /// With each SUBSCRIBE.
    #[default]
    Send,
    /// If there was no such subscription.
    SendIfNew,
    /// Not.
    DoNotSend,
}

/// UNSUBSCRIBE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsubscribe {
    /// To be named in the UNSUBACK.
    pub packet: NonZeroU16,
    /// At least one.
    pub filters: Vec<Str>,
}

/// DISCONNECT of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disconnect {
    /// Why; 3.1.1 knows the normal one alone.
    pub reason: Reason,
    /// Another session expiry than CONNECT said.
    pub session_expiry: Option<u32>,
}

#[cfg(test)]
mod tests;
