//! Packets of servers, read by the letter of the standards. What a server may not send is a panic.

use bytes::{Buf, Bytes, BytesMut};

/// What the gateway has sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    ConnAck {
        present: bool,
        code: u8,
    },
    Publish {
        dup: bool,
        qos: u8,
        retain: bool,
        topic: String,
        packet: u16,
        payload: Bytes,
    },
    /// PUBACK, PUBREC, PUBREL or PUBCOMP by the first byte.
    Ack {
        first: u8,
        packet: u16,
        reason: u8,
    },
    SubAck {
        packet: u16,
        codes: Vec<u8>,
    },
    UnsubAck {
        packet: u16,
        codes: Vec<u8>,
    },
    PingResp,
    Disconnect {
        reason: u8,
    },
}

/// Reasons of a server's DISCONNECT (MQTT 5.0, table 3-13).
const GOODBYES: [u8; 27] = [
    0x00, 0x80, 0x81, 0x82, 0x83, 0x87, 0x89, 0x8B, 0x8D, 0x8E, 0x8F, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99,
    0x9A, 0x9B, 0x9C, 0x9D, 0x9E, 0x9F, 0xA0, 0xA1,
];
/// Reasons of PUBACK and PUBREC.
const ANSWERS: [u8; 9] = [0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99];
/// Reasons of SUBACK (MQTT 5.0, section 3.9.3).
const SUBSCRIBED: [u8; 12] = [0, 1, 2, 0x80, 0x83, 0x87, 0x8F, 0x91, 0x97, 0x9E, 0xA1, 0xA2];
/// Reasons of UNSUBACK.
const UNSUBSCRIBED: [u8; 7] = [0x00, 0x11, 0x80, 0x83, 0x87, 0x8F, 0x91];

/// The next packet, whole, of at most `maximum` bytes.
pub fn next(version: u8, maximum: usize, buffer: &mut BytesMut) -> Option<Heard> {
    let first = *buffer.first()?;
    let (mut length, mut header) = (0usize, 1);
    loop {
        let byte = *buffer.get(header)?;
        length |= usize::from(byte & 0x7F) << (7 * (header - 1));
        header += 1;
        if byte & 0x80 == 0 {
            break;
        }
        assert!(header < 5, "a remaining length of more than four bytes");
    }
    if buffer.len() < header + length {
        return None;
    }
    assert!(header + length <= maximum, "a packet of {} bytes for who takes {maximum}", header + length);
    buffer.advance(header);
    let mut body = buffer.split_to(length).freeze();
    let heard = read(version, first, &mut body);
    assert!(body.is_empty(), "{heard:?} has {} bytes too many", body.len());
    Some(heard)
}

fn read(version: u8, first: u8, body: &mut Bytes) -> Heard {
    let is_5 = version == 5;
    let has_flags = matches!(first >> 4, 3 | 6);
    assert!(has_flags || first & 0x0F == 0, "the reserved flags of {first:#04x}");
    match first >> 4 {
        2 => {
            let (present, code) = (body.get_u8(), body.get_u8());
            assert!(present < 2 && (code == 0 || present == 0), "CONNACK {present} {code:#04x}");
            if is_5 {
                properties(body, &[0x11, 0x12, 0x13, 0x1F, 0x21, 0x22, 0x27]);
            }
            assert!(code == 0 || if is_5 { code >= 0x80 } else { code <= 5 }, "CONNACK {code:#04x}");
            Heard::ConnAck { present: present == 1, code }
        }
        3 => publish(is_5, first, body),
        4 | 5 | 6 | 7 => {
            assert!(first >> 4 != 6 || first & 0x0F == 2, "the flags of PUBREL");
            let packet = identifier(body);
            let mut reason = 0;
            if !body.is_empty() {
                assert!(is_5, "3.1.1 has no reason codes");
                reason = body.get_u8();
                if !body.is_empty() {
                    properties(body, &[0x1F, 0x26]);
                }
            }
            let may_be: &[u8] = if first < 0x60 { &ANSWERS } else { &[0, 0x92] };
            assert!(may_be.contains(&reason), "the reason {reason:#04x} of {first:#04x}");
            Heard::Ack { first, packet, reason }
        }
        9 => {
            let (packet, codes) = answers(is_5, body);
            let may_be: &[u8] = if is_5 { &SUBSCRIBED } else { &[0, 1, 2, 0x80] };
            assert!(codes.iter().all(|code| may_be.contains(code)), "SUBACK {codes:x?}");
            Heard::SubAck { packet, codes }
        }
        11 => {
            let (packet, codes) = answers(is_5, body);
            assert!(codes.iter().all(|code| is_5 && UNSUBSCRIBED.contains(code)), "UNSUBACK {codes:x?}");
            Heard::UnsubAck { packet, codes }
        }
        13 => Heard::PingResp,
        14 => {
            assert!(is_5, "3.1.1 has no DISCONNECT of a server");
            let reason = if body.is_empty() { 0 } else { body.get_u8() };
            if !body.is_empty() {
                properties(body, &[0x1F, 0x1C, 0x26]);
            }
            assert!(GOODBYES.contains(&reason), "DISCONNECT {reason:#04x}");
            Heard::Disconnect { reason }
        }
        _ => panic!("{first:#04x} is no packet of a server"),
    }
}

fn publish(is_5: bool, first: u8, body: &mut Bytes) -> Heard {
    let (dup, qos, retain) = (first & 8 != 0, first >> 1 & 3, first & 1 != 0);
    assert!(qos < 3 && !(dup && qos == 0), "the flags {first:#04x} of PUBLISH");
    let topic = text(body);
    assert!(!topic.is_empty() && !topic.contains(['+', '#']), "the topic {topic:?} without a topic alias");
    let packet = if qos > 0 { identifier(body) } else { 0 };
    if is_5 {
        properties(body, &[0x01, 0x02, 0x03, 0x08, 0x09, 0x0B, 0x26]);
    }
    let payload = body.split_to(body.len());
    Heard::Publish { dup, qos, retain, topic, packet, payload }
}

fn answers(is_5: bool, body: &mut Bytes) -> (u16, Vec<u8>) {
    let packet = identifier(body);
    if is_5 {
        properties(body, &[0x1F, 0x26]);
    }
    (packet, body.split_to(body.len()).to_vec())
}

fn identifier(body: &mut Bytes) -> u16 {
    let packet = body.get_u16();
    assert_ne!(packet, 0, "a packet identifier is not 0");
    packet
}

/// Reads properties, which are these, each once but user properties and subscription identifiers.
fn properties(body: &mut Bytes, may_be: &[u8]) {
    let length = variable(body);
    let mut rest = body.split_to(length);
    let mut seen = Vec::new();
    while !rest.is_empty() {
        let identifier = rest.get_u8();
        assert!(may_be.contains(&identifier), "the property {identifier:#04x}");
        assert!(matches!(identifier, 0x26 | 0x0B) || !seen.contains(&identifier), "{identifier:#04x} twice");
        seen.push(identifier);
        match identifier {
            0x01 => assert!(rest.get_u8() < 2),
            0x02 | 0x11 | 0x27 => drop(rest.get_u32()),
            0x13 | 0x21 | 0x22 => drop(rest.get_u16()),
            0x0B => assert_ne!(variable(&mut rest), 0),
            0x09 => drop(binary(&mut rest)),
            0x26 => drop((text(&mut rest), text(&mut rest))),
            _ => drop(text(&mut rest)),
        }
    }
}

fn variable(body: &mut Bytes) -> usize {
    let mut value = 0;
    for shift in [0, 7, 14, 21] {
        let byte = body.get_u8();
        value |= usize::from(byte & 0x7F) << shift;
        if byte & 0x80 == 0 {
            return value;
        }
    }
    panic!("a variable byte integer of more than four bytes");
}

fn binary(body: &mut Bytes) -> Bytes {
    let length = body.get_u16();
    body.split_to(length.into())
}

fn text(body: &mut Bytes) -> String {
    let text = String::from_utf8(binary(body).to_vec()).expect("a text is UTF-8");
    assert!(!text.contains('\0'), "U+0000 in {text:?}");
    text
}
