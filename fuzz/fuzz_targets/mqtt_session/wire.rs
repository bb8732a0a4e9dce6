//! Packets of clients, written by the letter of the standards: nothing of the gateway's own codec is used.

/// What a client says in CONNECT.
#[derive(Clone, Debug)]
pub struct Opening {
    pub version: u8,
    pub clean: bool,
    pub keep_alive: u16,
    /// Seconds for which the session is kept; 3.1.1 has Clean Session alone.
    pub expiry: u32,
    pub receive_maximum: u16,
    pub maximum: Option<u32>,
    pub problems: bool,
    pub will: Option<Will>,
}

/// What is published when the client is gone.
#[derive(Clone, Debug)]
pub struct Will {
    pub topic: String,
    pub payload: Vec<u8>,
    pub qos: u8,
    pub retain: bool,
    pub delay: u32,
    /// Its number in the ledger.
    pub event: usize,
}

/// PUBLISH of a client.
pub struct Publish<'a> {
    pub topic: &'a str,
    pub payload: &'a [u8],
    pub qos: u8,
    pub packet: u16,
    pub dup: bool,
    pub retain: bool,
}

pub const PUBACK: u8 = 0x40;
pub const PUBREC: u8 = 0x50;
pub const PUBREL: u8 = 0x62;
pub const PUBCOMP: u8 = 0x70;
pub const PINGREQ: &[u8] = &[0xC0, 0];

pub fn connect(name: &str, opening: &Opening) -> Vec<u8> {
    let is_5 = opening.version == 5;
    let mut flags = u8::from(opening.clean) << 1;
    if let Some(will) = &opening.will {
        flags |= 4 | will.qos << 3 | u8::from(will.retain) << 5;
    }
    let mut body = vec![0, 4, b'M', b'Q', b'T', b'T', opening.version, flags];
    body.extend(opening.keep_alive.to_be_bytes());
    if is_5 {
        let mut properties = Vec::new();
        properties.push(0x11);
        properties.extend(opening.expiry.to_be_bytes());
        properties.push(0x21);
        properties.extend(opening.receive_maximum.to_be_bytes());
        if let Some(bytes) = opening.maximum {
            properties.push(0x27);
            properties.extend(bytes.to_be_bytes());
        }
        properties.extend([0x17, u8::from(opening.problems)]);
        put_binary_of_variable_length(&mut body, &properties);
    }
    put_binary(&mut body, name.as_bytes());
    if let Some(will) = &opening.will {
        if is_5 {
            let mut properties = vec![0x18];
            properties.extend(will.delay.to_be_bytes());
            put_binary_of_variable_length(&mut body, &properties);
        }
        put_binary(&mut body, will.topic.as_bytes());
        put_binary(&mut body, &will.payload);
    }
    packet(0x10, &body)
}

pub fn publish(version: u8, publish: &Publish<'_>) -> Vec<u8> {
    let mut body = Vec::new();
    put_binary(&mut body, publish.topic.as_bytes());
    if publish.qos > 0 {
        body.extend(publish.packet.to_be_bytes());
    }
    if version == 5 {
        body.push(0);
    }
    body.extend(publish.payload);
    packet(0x30 | u8::from(publish.dup) << 3 | publish.qos << 1 | u8::from(publish.retain), &body)
}

/// PUBACK, PUBREC, PUBREL or PUBCOMP; a reason other than 0 is told to 5.0.
pub fn ack(version: u8, first: u8, identifier: u16, reason: u8) -> Vec<u8> {
    let mut body = identifier.to_be_bytes().to_vec();
    if version == 5 && reason != 0 {
        body.push(reason);
    }
    packet(first, &body)
}

pub fn subscribe(version: u8, identifier: u16, filter: &str, options: u8) -> Vec<u8> {
    let mut body = identifier.to_be_bytes().to_vec();
    if version == 5 {
        body.push(0);
    }
    put_binary(&mut body, filter.as_bytes());
    body.push(options);
    packet(0x82, &body)
}

pub fn unsubscribe(version: u8, identifier: u16, filter: &str) -> Vec<u8> {
    let mut body = identifier.to_be_bytes().to_vec();
    if version == 5 {
        body.push(0);
    }
    put_binary(&mut body, filter.as_bytes());
    packet(0xA2, &body)
}

pub fn disconnect(version: u8, reason: u8, expiry: Option<u32>) -> Vec<u8> {
    let mut body = Vec::new();
    if version == 5 && (reason != 0 || expiry.is_some()) {
        body.push(reason);
        if let Some(expiry) = expiry {
            body.extend([5, 0x11]);
            body.extend(expiry.to_be_bytes());
        }
    }
    packet(0xE0, &body)
}

fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![first];
    put_binary_of_variable_length(&mut packet, body);
    packet
}

fn put_binary(to: &mut Vec<u8>, bytes: &[u8]) {
    to.extend((bytes.len() as u16).to_be_bytes());
    to.extend(bytes);
}

fn put_binary_of_variable_length(to: &mut Vec<u8>, bytes: &[u8]) {
    let mut length = bytes.len();
    loop {
        let more = length > 0x7F;
        to.push(length as u8 & 0x7F | u8::from(more) << 7);
        length >>= 7;
        if !more {
            break;
        }
    }
    to.extend(bytes);
}
