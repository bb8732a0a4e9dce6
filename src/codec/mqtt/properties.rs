//! Properties of MQTT 5 (section 2.2.2), read: which packet may have which, how often, and with what value.

use std::num::NonZeroU16;

use bytes::Bytes;
use meshgate_api::Str;

use super::{Fault, PublishProperties, Reason, reader::Reader};

/// Which packet's properties they are, as a bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Of {
    Connect = 1,
    Will = 2,
    Publish = 4,
    Ack = 8,
    Subscribe = 16,
    Unsubscribe = 32,
    Disconnect = 64,
    Auth = 128,
}

/// What was there of any packet's properties. Each packet takes what it knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Properties {
    pub(super) publish: PublishProperties,
    pub(super) session_expiry: Option<u32>,
    pub(super) receive_maximum: Option<NonZeroU16>,
    pub(super) maximum_packet: Option<u32>,
    pub(super) topic_alias_maximum: Option<u16>,
    pub(super) request_response_information: Option<bool>,
    pub(super) request_problem_information: Option<bool>,
    pub(super) authentication_method: Option<Str>,
    pub(super) authentication_data: Option<Bytes>,
    pub(super) will_delay: Option<u32>,
    pub(super) reason_string: Option<Str>,
}

impl Properties {
    /// Reads the length and so many bytes of properties.
    pub(super) fn read(reader: &mut Reader, of: Of) -> Result<Self, Fault> {
        let length = reader.variable("the length of the properties")? as usize;
        let mut rest = Reader::new(reader.take(length, "the properties")?);
        let mut properties = Self::default();
        while !rest.is_empty() {
            let identifier = rest.variable("a property's identifier")?;
            properties.read_one(identifier, &mut rest, of)?;
        }
        if properties.authentication_data.is_some() && properties.authentication_method.is_none() {
            return Err(Fault::protocol("authentication data without an authentication method"));
        }
        Ok(properties)
    }

    fn read_one(&mut self, identifier: u32, rest: &mut Reader, of: Of) -> Result<(), Fault> {
        let Some((name, allowed)) = property(identifier) else {
            return Err(Fault::malformed(format!("the property {identifier:#04x}, which there is not")));
        };
        if allowed & of as u8 == 0 {
            return Err(Fault::malformed(format!("{name} is no property of {of:?}")));
        }
        match identifier {
            0x01 => set(&mut self.publish.is_text, name, flag(rest, name)?),
            0x02 => set(&mut self.publish.expiry, name, rest.u32(name)?),
            0x03 => set(&mut self.publish.content_type, name, rest.text(name)?),
            0x08 => set(&mut self.publish.response_topic, name, response_topic(rest.text(name)?)?),
            0x09 => set(&mut self.publish.correlation, name, rest.binary(name)?),
            0x0B => self.subscription(rest.variable(name)?, of),
            0x11 => set(&mut self.session_expiry, name, rest.u32(name)?),
            0x15 => set(&mut self.authentication_method, name, rest.text(name)?),
            0x16 => set(&mut self.authentication_data, name, rest.binary(name)?),
            0x17 => set(&mut self.request_problem_information, name, flag(rest, name)?),
            0x18 => set(&mut self.will_delay, name, rest.u32(name)?),
            0x19 => set(&mut self.request_response_information, name, flag(rest, name)?),
            0x1F => set(&mut self.reason_string, name, rest.text(name)?),
            0x21 => {
                let value = NonZeroU16::new(rest.u16(name)?).ok_or_else(|| zero(name))?;
                set(&mut self.receive_maximum, name, value)
            }
            0x22 => set(&mut self.topic_alias_maximum, name, rest.u16(name)?),
            0x23 => {
                let invalid = || Fault::new(Reason::TopicAliasInvalid, "a topic alias is not 0");
                let value = NonZeroU16::new(rest.u16(name)?).ok_or_else(invalid)?;
                set(&mut self.publish.topic_alias, name, value)
            }
            0x26 => {
                let pair = (rest.text("a user property's name")?, rest.text("a user property's value")?);
                self.publish.user.push(pair);
                Ok(())
            }
            0x27 => match rest.u32(name)? {
                0 => Err(zero(name)),
                size => set(&mut self.maximum_packet, name, size),
            },
            other => Err(Fault::malformed(format!("the property {other:#04x}, which clients do not send"))),
        }
    }

    /// From a client only with SUBSCRIBE, once [MQTT-3.3.4-6].
    fn subscription(&mut self, identifier: u32, of: Of) -> Result<(), Fault> {
        if of != Of::Subscribe {
            return Err(Fault::protocol("a subscription identifier in a PUBLISH of a client"));
        }
        if identifier == 0 {
            return Err(Fault::protocol("a subscription identifier is not 0"));
        }
        if !self.publish.subscriptions.is_empty() {
            return Err(twice("subscription identifier"));
        }
        self.publish.subscriptions.push(identifier);
        Ok(())
    }
}

/// A property's name and the packets of clients that may have it (table 2-4); those that servers alone send belong to none.
fn property(identifier: u32) -> Option<(&'static str, u8)> {
    const CONNECT: u8 = Of::Connect as u8;
    const WILL: u8 = Of::Will as u8;
    const PUBLISH: u8 = Of::Publish as u8;
    const SUBSCRIBE: u8 = Of::Subscribe as u8;
    const AUTH: u8 = Of::Auth as u8;
    const ANSWERS: u8 = Of::Ack as u8 | Of::Disconnect as u8 | AUTH;
    Some(match identifier {
        0x01 => ("payload format indicator", PUBLISH | WILL),
        0x02 => ("message expiry interval", PUBLISH | WILL),
        0x03 => ("content type", PUBLISH | WILL),
        0x08 => ("response topic", PUBLISH | WILL),
        0x09 => ("correlation data", PUBLISH | WILL),
        0x0B => ("subscription identifier", PUBLISH | SUBSCRIBE),
        0x11 => ("session expiry interval", CONNECT | Of::Disconnect as u8),
        0x12 => ("assigned client identifier", 0),
        0x13 => ("server keep alive", 0),
        0x15 => ("authentication method", CONNECT | AUTH),
        0x16 => ("authentication data", CONNECT | AUTH),
        0x17 => ("request problem information", CONNECT),
        0x18 => ("will delay interval", WILL),
        0x19 => ("request response information", CONNECT),
        0x1A => ("response information", 0),
        0x1C => ("server reference", 0),
        0x1F => ("reason string", ANSWERS),
        0x21 => ("receive maximum", CONNECT),
        0x22 => ("topic alias maximum", CONNECT),
        0x23 => ("topic alias", PUBLISH),
        0x24 => ("maximum QoS", 0),
        0x25 => ("retain available", 0),
        0x26 => ("user property", u8::MAX),
        0x27 => ("maximum packet size", CONNECT),
        0x28 => ("wildcard subscription available", 0),
        0x29 => ("subscription identifier available", 0),
        0x2A => ("shared subscription available", 0),
        _ => return None,
    })
}

/// Sets what may be there once.
fn set<T>(value: &mut Option<T>, name: &str, new: T) -> Result<(), Fault> {
    match value.replace(new) {
        None => Ok(()),
        Some(_) => Err(twice(name)),
    }
}

fn twice(name: &str) -> Fault {
    Fault::protocol(format!("the property {name} is there twice"))
}

fn zero(name: &str) -> Fault {
    Fault::protocol(format!("the property {name} is not 0"))
}

fn flag(rest: &mut Reader, name: &str) -> Result<bool, Fault> {
    match rest.u8(name)? {
        0 => Ok(false),
        1 => Ok(true),
        other => Err(Fault::protocol(format!("the property {name} is 0 or 1, not {other}"))),
    }
}

/// Where answers go is a topic name [MQTT-3.3.2-14].
fn response_topic(topic: Str) -> Result<Str, Fault> {
    if topic.is_empty() || topic.contains(['+', '#']) {
        return Err(Fault::protocol("a response topic has no wildcards, and is not empty"));
    }
    Ok(topic)
}
