//! Packets of servers, written.
//!
//! A reason string is left out where the client has not asked for problem information [MQTT-3.1.2-29] or the packet would be larger than
//! it takes; MQTT 3.1.1 has neither that nor reason codes.

use std::num::NonZeroU16;

use bytes::{BufMut, BytesMut};
use meshgate_api::Str;

use super::{Ack, AckKind, Publish, Qos, Reason, Version};

/// Writes for one client.
#[derive(Clone, Copy, Debug)]
pub struct Encoder {
    /// What it speaks.
    pub version: Version,
    /// Bytes of the largest packet that it takes.
    pub maximum: usize,
    /// It takes reason strings with every packet.
    pub tells_problems: bool,
}

/// What CONNACK says to a client that is let in (section 3.2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnAck {
    /// The server has kept the session.
    pub session_present: bool,
    /// Seconds, where it is not what the client asked for.
    pub session_expiry: Option<u32>,
    /// QoS 1 and 2 publishes of the client that may be unconfirmed.
    pub receive_maximum: u16,
    /// Bytes of the largest packet that is taken.
    pub maximum_packet: u32,
    /// The highest topic alias that is taken.
    pub topic_alias_maximum: u16,
    /// The client's name, where it had none.
    pub assigned_client_id: Option<Str>,
    /// Seconds, where it is not what the client asked for.
    pub server_keep_alive: Option<u16>,
    /// Where answers to this client may go.
    pub response_information: Option<Str>,
}

/// A packet is larger than the client takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLarge;

/// Refuses a CONNECT, in the version that the client has said; `maximum` is the largest packet that it takes. MQTT 3.1.1 has no word for
/// many reasons: then nothing is written.
pub fn encode_refusal(version: Version, reason: Reason, detail: &str, maximum: usize, out: &mut BytesMut) {
    match version {
        Version::V3 => {
            if let Some(code) = reason.connect_return_code() {
                out.put_slice(&[CONNACK, 2, 0, code]);
            }
        }
        Version::V5 => {
            let mut properties = BytesMut::new();
            let detail = shortened(detail);
            if detail.len() + 12 <= maximum {
                put_property_text(&mut properties, 0x1F, detail);
            }
            if LEAST_CONNACK <= maximum {
                put_conn_ack(out, 0, reason, &properties);
            }
        }
    }
}

fn put_conn_ack(out: &mut BytesMut, present: u8, reason: Reason, properties: &[u8]) {
    put_header(out, CONNACK, 2 + variable_size(properties.len()) + properties.len());
    out.put_slice(&[present, reason.code()]);
    put_variable(out, properties.len());
    out.put_slice(properties);
}

/// Bytes of a CONNACK of MQTT 5 without properties.
const LEAST_CONNACK: usize = 5;

const CONNACK: u8 = 0x20;
const PUBLISH: u8 = 0x30;
const SUBACK: u8 = 0x90;
const UNSUBACK: u8 = 0xB0;
const PINGRESP: u8 = 0xD0;
const DISCONNECT: u8 = 0xE0;

impl Encoder {
    /// Lets a client in. Whatever else is not longer than that fits, too.
    pub fn conn_ack(&self, out: &mut BytesMut, connack: &ConnAck) -> Result<(), TooLarge> {
        let present = u8::from(connack.session_present);
        if self.version == Version::V3 {
            out.put_slice(&[CONNACK, 2, present, 0]);
            return Ok(());
        }
        let mut properties = BytesMut::new();
        if let Some(seconds) = connack.session_expiry {
            properties.put_u8(0x11);
            properties.put_u32(seconds);
        }
        if connack.receive_maximum < u16::MAX {
            properties.put_u8(0x21);
            properties.put_u16(connack.receive_maximum);
        }
        properties.put_u8(0x27);
        properties.put_u32(connack.maximum_packet);
        if let Some(client_id) = &connack.assigned_client_id {
            put_property_text(&mut properties, 0x12, client_id);
        }
        if connack.topic_alias_maximum > 0 {
            properties.put_u8(0x22);
            properties.put_u16(connack.topic_alias_maximum);
        }
        if let Some(seconds) = connack.server_keep_alive {
            properties.put_u8(0x13);
            properties.put_u16(seconds);
        }
        if let Some(information) = &connack.response_information {
            put_property_text(&mut properties, 0x1A, information);
        }
        if LEAST_CONNACK + variable_size(properties.len()) - 1 + properties.len() > self.maximum {
            return Err(TooLarge);
        }
        put_conn_ack(out, present, Reason::Success, &properties);
        Ok(())
    }

    /// An event. Its payload is copied, so that a socket gets many small ones in one go.
    pub fn publish(&self, out: &mut BytesMut, publish: &Publish) -> Result<(), TooLarge> {
        let properties = if self.version == Version::V5 { properties_size(publish) } else { 0 };
        let around = if self.version == Version::V5 { variable_size(properties) } else { 0 };
        let identifier = if publish.packet.is_some() { 2 } else { 0 };
        let length = 2 + publish.topic.len() + identifier + around + properties + publish.payload.len();
        if 1 + variable_size(length) + length > self.maximum {
            return Err(TooLarge);
        }
        let qos = match publish.qos {
            Qos::AtMostOnce => 0,
            Qos::AtLeastOnce => 2,
            Qos::ExactlyOnce => 4,
        };
        let first = PUBLISH | u8::from(publish.dup) << 3 | qos | u8::from(publish.retain);
        out.reserve(1 + 4 + length);
        put_header(out, first, length);
        put_text(out, &publish.topic);
        if let Some(packet) = publish.packet {
            out.put_u16(packet.get());
        }
        if self.version == Version::V5 {
            put_variable(out, properties);
            put_properties(out, publish);
        }
        out.put_slice(&publish.payload);
        Ok(())
    }

    /// PUBACK, PUBREC, PUBREL or PUBCOMP. `detail` says more of what has failed.
    pub fn ack(&self, out: &mut BytesMut, ack: &Ack, detail: &str) {
        let first = match ack.kind {
            AckKind::PubAck => 0x40,
            AckKind::PubRec => 0x50,
            AckKind::PubRel => 0x62,
            AckKind::PubComp => 0x70,
        };
        if self.version == Version::V3 || ack.reason == Reason::Success {
            out.put_slice(&[first, 2]);
            out.put_u16(ack.packet.get());
            return;
        }
        let reason_string = self.reason_string(4, detail);
        let properties = if reason_string.is_empty() { 0 } else { 3 + reason_string.len() };
        let around = if properties == 0 { 0 } else { variable_size(properties) };
        put_header(out, first, 3 + around + properties);
        out.put_u16(ack.packet.get());
        out.put_u8(ack.reason.code());
        if properties > 0 {
            put_variable(out, properties);
            put_property_text(out, 0x1F, reason_string);
        }
    }

    /// PUBREL.
    pub fn release(&self, out: &mut BytesMut, packet: NonZeroU16) {
        self.ack(out, &Ack { kind: AckKind::PubRel, packet, reason: Reason::Success }, "");
    }

    /// What became of each subscription that was asked for.
    pub fn sub_ack(&self, out: &mut BytesMut, packet: NonZeroU16, reasons: &[Reason], detail: &str) {
        let code = |reason: &Reason| match self.version {
            Version::V3 if reason.is_failure() => 0x80,
            _ => reason.code(),
        };
        self.answers(out, SUBACK, packet, reasons.iter().map(code), detail);
    }

    /// What became of each that was given up. MQTT 3.1.1 says nothing of each.
    pub fn unsub_ack(&self, out: &mut BytesMut, packet: NonZeroU16, reasons: &[Reason]) {
        let told = if self.version == Version::V3 { &[] } else { reasons };
        self.answers(out, UNSUBACK, packet, told.iter().map(|reason| reason.code()), "");
    }

    fn answers(
        &self,
        out: &mut BytesMut,
        first: u8,
        packet: NonZeroU16,
        codes: impl ExactSizeIterator<Item = u8>,
        detail: &str,
    ) {
        let reason_string = self.reason_string(3 + codes.len(), detail);
        let properties = if reason_string.is_empty() { 0 } else { 3 + reason_string.len() };
        let around = if self.version == Version::V5 { variable_size(properties) } else { 0 };
        let length = 2 + around + properties + codes.len();
        if 1 + variable_size(length) + length > self.maximum {
            return; // as the standard has it of every packet [MQTT-3.1.2-25]; the question was larger
        }
        put_header(out, first, length);
        out.put_u16(packet.get());
        if self.version == Version::V5 {
            put_variable(out, properties);
            if properties > 0 {
                put_property_text(out, 0x1F, reason_string);
            }
        }
        out.extend(codes);
    }

    /// The client is heard.
    pub fn ping_resp(&self, out: &mut BytesMut) {
        out.put_slice(&[PINGRESP, 0]);
    }

    /// Says why the connection is closed. MQTT 3.1.1 has no such word of a server: nothing is written.
    pub fn disconnect(&self, out: &mut BytesMut, reason: Reason, detail: &str) {
        if self.version == Version::V3 {
            return;
        }
        let reason_string = if detail.len() + 12 > self.maximum { "" } else { shortened(detail) };
        let properties = if reason_string.is_empty() { 0 } else { 3 + reason_string.len() };
        put_header(out, DISCONNECT, 1 + variable_size(properties) + properties);
        out.put_u8(reason.code());
        put_variable(out, properties);
        if properties > 0 {
            put_property_text(out, 0x1F, reason_string);
        }
    }

    /// What may be said in a packet that has so many bytes without it.
    fn reason_string<'a>(&self, others: usize, detail: &'a str) -> &'a str {
        let detail = shortened(detail);
        let is_told = self.version == Version::V5 && self.tells_problems && others + detail.len() + 12 <= self.maximum;
        if is_told { detail } else { "" }
    }
}

/// A sentence is told whole, a book is not.
fn shortened(detail: &str) -> &str {
    const LONGEST: usize = 1000;
    let mut end = detail.len().min(LONGEST);
    while !detail.is_char_boundary(end) {
        end -= 1;
    }
    &detail[..end]
}

fn properties_size(publish: &Publish) -> usize {
    let properties = &publish.properties;
    let text = |text: &Option<Str>| text.as_ref().map_or(0, |text| 3 + text.len());
    let user: usize = properties.user.iter().map(|(name, value)| 5 + name.len() + value.len()).sum();
    let subscriptions: usize = properties.subscriptions.iter().map(|id| 1 + variable_size(*id as usize)).sum();
    properties.is_text.map_or(0, |_| 2)
        + properties.expiry.map_or(0, |_| 5)
        + properties.topic_alias.map_or(0, |_| 3)
        + text(&properties.response_topic)
        + properties.correlation.as_ref().map_or(0, |data| 3 + data.len())
        + text(&properties.content_type)
        + user
        + subscriptions
}

fn put_properties(out: &mut BytesMut, publish: &Publish) {
    let properties = &publish.properties;
    if let Some(is_text) = properties.is_text {
        out.put_slice(&[0x01, u8::from(is_text)]);
    }
    if let Some(seconds) = properties.expiry {
        out.put_u8(0x02);
        out.put_u32(seconds);
    }
    if let Some(alias) = properties.topic_alias {
        out.put_u8(0x23);
        out.put_u16(alias.get());
    }
    if let Some(topic) = &properties.response_topic {
        put_property_text(out, 0x08, topic);
    }
    if let Some(data) = &properties.correlation {
        out.put_u8(0x09);
        out.put_u16(data.len() as u16);
        out.put_slice(data);
    }
    for (name, value) in &properties.user {
        out.put_u8(0x26);
        put_text(out, name);
        put_text(out, value);
    }
    for identifier in &properties.subscriptions {
        out.put_u8(0x0B);
        put_variable(out, *identifier as usize);
    }
    if let Some(content_type) = &properties.content_type {
        put_property_text(out, 0x03, content_type);
    }
}

fn put_header(out: &mut BytesMut, first: u8, length: usize) {
    out.put_u8(first);
    put_variable(out, length);
}

fn put_variable(out: &mut BytesMut, mut value: usize) {
    loop {
        let more = value > 0x7F;
        out.put_u8(value as u8 & 0x7F | u8::from(more) << 7);
        value >>= 7;
        if !more {
            return;
        }
    }
}

fn variable_size(value: usize) -> usize {
    match value {
        0..=0x7F => 1,
        0x80..=0x3FFF => 2,
        0x4000..=0x1F_FFFF => 3,
        _ => 4,
    }
}

fn put_property_text(out: &mut BytesMut, identifier: u8, text: &str) {
    out.put_u8(identifier);
    put_text(out, text);
}

/// Of at most 65,535 bytes, as all texts are that come here.
fn put_text(out: &mut BytesMut, text: &str) {
    out.put_u16(text.len() as u16);
    out.put_slice(text.as_bytes());
}
