//! The data representations of MQTT (section 1.5), taken one after the other from a packet's body.

use std::num::NonZeroU16;

use bytes::{Buf, Bytes};
use meshgate_api::Str;

use super::Fault;

/// What is left of a packet.
pub(super) struct Reader {
    rest: Bytes,
}

impl Reader {
    pub(super) fn new(rest: Bytes) -> Self {
        Self { rest }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// All that is left.
    pub(super) fn rest(self) -> Bytes {
        self.rest
    }

    /// Nothing may be left.
    pub(super) fn end(self, packet: &str) -> Result<(), Fault> {
        if self.rest.is_empty() {
            return Ok(());
        }
        Err(Fault::malformed(format!("{packet} has {} bytes too many", self.rest.len())))
    }

    pub(super) fn u8(&mut self, what: &str) -> Result<u8, Fault> {
        self.need(1, what)?;
        Ok(self.rest.get_u8())
    }

    pub(super) fn u16(&mut self, what: &str) -> Result<u16, Fault> {
        self.need(2, what)?;
        Ok(self.rest.get_u16())
    }

    pub(super) fn u32(&mut self, what: &str) -> Result<u32, Fault> {
        self.need(4, what)?;
        Ok(self.rest.get_u32())
    }

    /// A packet identifier, which is not 0 [MQTT-2.2.1-3].
    pub(super) fn packet_identifier(&mut self) -> Result<NonZeroU16, Fault> {
        let number = self.u16("the packet identifier")?;
        NonZeroU16::new(number).ok_or_else(|| Fault::protocol("a packet identifier is not 0"))
    }

    /// A variable byte integer, in as few bytes as can be [MQTT-1.5.5-1].
    pub(super) fn variable(&mut self, what: &str) -> Result<u32, Fault> {
        let (mut value, mut shift) = (0u32, 0);
        loop {
            let byte = self.u8(what)?;
            value |= u32::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                if byte == 0 && shift > 0 {
                    return Err(Fault::malformed(format!("{what} is written in more bytes than it needs")));
                }
                return Ok(value);
            }
            shift += 7;
            if shift > 21 {
                return Err(Fault::malformed(format!("{what} has more than four bytes")));
            }
        }
    }

    /// Binary data: two bytes of length, and so many.
    pub(super) fn binary(&mut self, what: &str) -> Result<Bytes, Fault> {
        let length = usize::from(self.u16(what)?);
        self.take(length, what)
    }

    /// A UTF-8 string, without U+0000 [MQTT-1.5.4-2].
    pub(super) fn text(&mut self, what: &str) -> Result<Str, Fault> {
        let bytes = self.binary(what)?;
        if bytes.contains(&0) {
            return Err(Fault::malformed(format!("{what} holds U+0000")));
        }
        Str::try_from(bytes).map_err(|_| Fault::malformed(format!("{what} is no UTF-8")))
    }

    pub(super) fn take(&mut self, length: usize, what: &str) -> Result<Bytes, Fault> {
        self.need(length, what)?;
        Ok(self.rest.split_to(length))
    }

    fn need(&self, length: usize, what: &str) -> Result<(), Fault> {
        if self.rest.len() < length {
            return Err(Fault::malformed(format!("the packet ends within {what}")));
        }
        Ok(())
    }
}
