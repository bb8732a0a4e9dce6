//! Where a packet begins and ends (section 2.1): its type, its flags and its remaining length.

use bytes::{Buf, Bytes, BytesMut};

use super::{Fault, Reason};

/// What kind of packet, those that a client sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PacketType {
    /// 1
    Connect,
    /// 3
    Publish,
    /// 4
    PubAck,
    /// 5
    PubRec,
    /// 6
    PubRel,
    /// 7
    PubComp,
    /// 8
    Subscribe,
    /// 10
    Unsubscribe,
    /// 12
    PingReq,
    /// 14
    Disconnect,
    /// 15
    Auth,
}

/// A packet whose body was not looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// What it is.
    pub kind: PacketType,
    /// The lower four bits of its first byte.
    pub flags: u8,
    /// What follows the remaining length.
    pub body: Bytes,
}

/// Finds packets in what a client sends.
#[derive(Clone, Copy, Debug)]
pub struct Framing {
    /// Bytes of the largest packet, its header included.
    pub maximum: usize,
}

/// A body of fewer bytes is copied: an event that is kept would else keep all that was read together with it.
const SMALL: usize = 4096;
/// The most bytes of a fixed header.
const LONGEST_HEADER: usize = 5;

impl Framing {
    /// The next packet, which is taken out of `buffer`; `None`: it is not all there. A fault ends the connection: nobody can tell where
    /// another packet begins.
    pub fn next(self, buffer: &mut BytesMut) -> Result<Option<Frame>, Fault> {
        let Some(&first) = buffer.first() else { return Ok(None) };
        let (kind, flags) = (kind(first)?, first & 0x0F);
        let Some((length, header)) = remaining_length(&buffer[1..])? else { return Ok(None) };
        let whole = 1 + header + length;
        if whole > self.maximum {
            let detail =
                format!("the packet has {whole} bytes, at most {} are taken (listeners.mqtt.max_packet)", self.maximum);
            return Err(Fault::new(Reason::PacketTooLarge, detail));
        }
        if buffer.len() < whole {
            return Ok(None);
        }
        let body = if length < SMALL {
            let body = Bytes::copy_from_slice(&buffer[1 + header..whole]);
            buffer.advance(whole);
            body
        } else {
            let mut packet = buffer.split_to(whole);
            packet.advance(1 + header);
            packet.freeze()
        };
        Ok(Some(Frame { kind, flags, body }))
    }

    /// How many bytes the packet at the beginning of `buffer` is short of, as far as that is known; at least one if it is not all there.
    #[must_use]
    pub fn missing(self, buffer: &[u8]) -> usize {
        match buffer.get(1..).map(remaining_length) {
            Some(Ok(Some((length, header)))) => (1 + header + length).min(self.maximum).saturating_sub(buffer.len()),
            _ => LONGEST_HEADER.saturating_sub(buffer.len()).clamp(1, 2),
        }
    }
}

/// The type of a packet, whose reserved flags must be as they are said to be [MQTT-2.1.3-1].
fn kind(first: u8) -> Result<PacketType, Fault> {
    use PacketType::{
        Auth, Connect, Disconnect, PingReq, PubAck, PubComp, PubRec, PubRel, Publish, Subscribe, Unsubscribe,
    };
    let (kind, flags) = match first >> 4 {
        1 => (Connect, 0),
        3 => return Ok(Publish),
        4 => (PubAck, 0),
        5 => (PubRec, 0),
        6 => (PubRel, 2),
        7 => (PubComp, 0),
        8 => (Subscribe, 2),
        10 => (Unsubscribe, 2),
        12 => (PingReq, 0),
        14 => (Disconnect, 0),
        15 => (Auth, 0),
        0 => return Err(Fault::malformed("a packet of type 0, which is reserved")),
        other => return Err(Fault::protocol(format!("a packet of type {other}, which only servers send"))),
    };
    if first & 0x0F != flags {
        return Err(Fault::malformed(format!(
            "the flags of {kind:?} are {:#x}, they must be {flags:#x}",
            first & 0x0F
        )));
    }
    Ok(kind)
}

/// The remaining length, and how many bytes it takes; `None`: they are not all there.
fn remaining_length(bytes: &[u8]) -> Result<Option<(usize, usize)>, Fault> {
    let mut value = 0;
    for (at, byte) in bytes.iter().take(4).enumerate() {
        value |= usize::from(byte & 0x7F) << (7 * at);
        if byte & 0x80 == 0 {
            if *byte == 0 && at > 0 {
                return Err(Fault::malformed("the remaining length is written in more bytes than it needs"));
            }
            return Ok(Some((value, at + 1)));
        }
    }
    if bytes.len() >= 4 {
        return Err(Fault::malformed("the remaining length has more than four bytes"));
    }
    Ok(None)
}
