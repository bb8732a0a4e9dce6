//! The same for a PUBLISH over MQTT. It is written as a device writes it and read as the listener reads it, so that the answer is that
//! of the standard's own checks, too.

use std::{sync::Arc, time::SystemTime};

use bytes::{Bytes, BytesMut};
use meshgate_api::{
    Str,
    binding::mqtt::LONGEST_TEXT,
    outcome::{Outcome, Rejection},
};
use serde::Serialize;

use super::{Explanation, Fate, Rejected, Setting, of_outcome};
use crate::{
    codec::mqtt::{Encoder, Fault, Framing, Packet, Publish, PublishProperties, Qos, Reason, Sender, Version, decode},
    protocols::mqtt::{Answer, answer, is_removal, published_event, source},
};

/// What a device publishes.
#[derive(Clone, Debug)]
pub struct MqttPublish {
    /// What it speaks.
    pub version: Version,
    /// Its name.
    pub client_id: Str,
    /// The message is to be retained.
    pub retain: bool,
    /// MQTT 3.1.1 has none.
    pub content_type: Option<Str>,
    /// User properties; MQTT 3.1.1 has none.
    pub user: Vec<(Str, Str)>,
    /// The application message.
    pub payload: Bytes,
}

/// What the device would hear.
#[derive(Debug, Serialize)]
pub(super) struct Answered {
    version: &'static str,
    /// Nothing where the connection is closed without a word.
    packet: Option<&'static str>,
    reason_code: Option<u8>,
    reason: Option<&'static str>,
    /// What becomes of the topic's retained message, if the device asks for that.
    #[serde(skip_serializing_if = "Option::is_none")]
    retained: Option<&'static str>,
    /// There is an MQTT listener.
    listens: bool,
}

const PUBACK: &str = "PUBACK";
const DISCONNECT: &str = "DISCONNECT";
const KEPT: &str = "kept";
const REMOVED: &str = "removed";

impl MqttPublish {
    /// Reads what somebody calls a version: `5`, `5.0`, `4` or `3.1.1`.
    pub fn version(text: &str) -> Result<Version, String> {
        match text {
            "5" | "5.0" => Ok(Version::V5),
            "4" | "3.1.1" => Ok(Version::V3),
            other => Err(format!("`{other}` is no version of MQTT that is spoken here: use 5 or 3.1.1")),
        }
    }

    /// Reads a user property, `NAME=VALUE`.
    pub fn user_property(text: &str) -> Result<(Str, Str), String> {
        let (name, value) =
            text.split_once('=').ok_or_else(|| format!("`{text}` is no user property: use NAME=VALUE"))?;
        Ok((name.into(), value.into()))
    }

    /// What its version cannot say.
    pub fn check(&self) -> Result<(), &'static str> {
        let has_properties = self.content_type.is_some() || !self.user.is_empty();
        if self.version == Version::V3 && has_properties {
            return Err("MQTT 3.1.1 has neither a content type nor user properties: leave them out, or use 5");
        }
        Ok(())
    }

    /// The packet, with QoS 1.
    fn packet(self, topic: &str) -> Result<BytesMut, Fault> {
        let Self { version, retain, content_type, user, payload, .. } = self;
        let is_long = |text: &Str| text.len() > LONGEST_TEXT;
        let has_long = user.iter().any(|(name, value)| is_long(name) || is_long(value));
        if topic.len() > LONGEST_TEXT || has_long || content_type.as_ref().is_some_and(is_long) {
            return Err(Fault::malformed(format!("no text of MQTT is longer than {LONGEST_TEXT} bytes")));
        }
        let properties = PublishProperties { content_type, user, ..Default::default() };
        let (qos, packet) = (Qos::AtLeastOnce, Some(std::num::NonZeroU16::MIN));
        let publish = Publish { dup: false, qos, retain, topic: topic.into(), packet, properties, payload };
        let mut written = BytesMut::new();
        let encoder = Encoder { version, maximum: LARGEST, tells_problems: true };
        let too_large = |_| Fault::new(Reason::PacketTooLarge, "no packet of MQTT is so large");
        encoder.publish(&mut written, &publish).map_err(too_large)?;
        Ok(written)
    }
}

/// Bytes of the largest packet that MQTT has: four bytes of remaining length.
const LARGEST: usize = 1 + 4 + 0x0FFF_FFFF;

impl Setting<'_> {
    /// Explains a PUBLISH to `topic`.
    #[must_use]
    pub fn explain_mqtt(&self, given: MqttPublish, topic: &str) -> Explanation {
        let (version, retain, client_id) = (given.version, given.retain, given.client_id.clone());
        let settings = self.mqtt.cloned().unwrap_or_default();
        let read = given.packet(topic).and_then(|mut packet| read(version, settings.max_packet, &mut packet));
        let publish = match read {
            Ok(publish) => publish,
            Err(fault) => return self.at_fault(version, topic, &fault),
        };
        let source = source(&client_id);
        let sender = Sender { version, source: &source, publisher: None };
        let mut removes = false;
        let fate = match published_event(&sender, publish, SystemTime::now()) {
            Ok(message) => {
                removes = is_removal(&message);
                self.ask(topic, Arc::new(message))
            }
            Err(outcome) => Fate { rejected: Some(of_outcome(&outcome)), ..self.fate(topic) },
        };
        let said = match &fate.rejected {
            None => Answer::Ack(Reason::Success, String::new()),
            Some(Rejected { kind, detail, .. }) => {
                answer(version, &Outcome::rejected(*kind, detail.clone()), settings.acknowledge_rejected)
            }
        };
        let (packet, reason) = match said {
            Answer::Ack(reason, _) => (Some(PUBACK), Some(reason).filter(|_| version == Version::V5)),
            Answer::Hold(_) | Answer::Close(_) => (None, None),
        };
        let is_retained = retain && fate.rejected.is_none();
        let retained = is_retained.then_some(if removes { REMOVED } else { KEPT });
        let answered = self.answered(version, packet, reason, retained);
        Explanation::one(Fate { mqtt: Some(answered), ..fate })
    }

    /// What no listener reads.
    fn at_fault(&self, version: Version, topic: &str, fault: &Fault) -> Explanation {
        let kind = if fault.reason == Reason::PacketTooLarge { Rejection::TooLarge } else { Rejection::BadEvent };
        let rejected = Some(super::rejected(kind, fault.detail.clone()));
        let told = version == Version::V5;
        let answered = self.answered(version, told.then_some(DISCONNECT), told.then_some(fault.reason), None);
        Explanation::one(Fate { rejected, mqtt: Some(answered), ..self.fate(topic) })
    }

    fn answered(
        &self,
        version: Version,
        packet: Option<&'static str>,
        reason: Option<Reason>,
        retained: Option<&'static str>,
    ) -> Answered {
        let version = if version == Version::V5 { "5.0" } else { "3.1.1" };
        let (reason_code, reason) = (reason.map(Reason::code), reason.map(Reason::text));
        Answered { version, packet, reason_code, reason, retained, listens: self.mqtt.is_some() }
    }
}

fn read(version: Version, max_packet: usize, packet: &mut BytesMut) -> Result<Publish, Fault> {
    let frame = Framing { maximum: max_packet }.next(packet)?;
    match frame.map(|frame| decode(version, frame)).transpose()? {
        Some(Packet::Publish(publish)) => Ok(publish),
        _ => Err(Fault::malformed("the packet is no PUBLISH")),
    }
}

impl Answered {
    /// A paragraph for people.
    pub(super) fn text(&self, is_rejected: bool) -> String {
        let packet = match self.packet {
            Some(PUBACK) => "PUBACK (with QoS 2, PUBREC)",
            Some(other) => other,
            None => "none: the connection is closed",
        };
        let mut said = packet.to_owned();
        if let (Some(code), Some(reason)) = (self.reason_code, self.reason) {
            said += &format!(" {code:#04x} {reason}");
        } else if is_rejected {
            let all_the_same = self.packet.is_some();
            said += if all_the_same { " all the same" } else { ", MQTT 3.1.1 has no word for it" };
            said += " (listeners.mqtt.rejected_v3)";
        }
        let mut lines = vec![format!("answer by MQTT {}", self.version), format!("  {said}")];
        lines.extend(self.retained.map(|becomes| match becomes {
            REMOVED => "  what was retained for the topic is removed".to_owned(),
            _ => "  the message is retained for the topic".to_owned(),
        }));
        if !self.listens {
            lines.push("  but nobody listens: `listeners.mqtt` is not set".to_owned());
        }
        lines.join("\n")
    }
}
