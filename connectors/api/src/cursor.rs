//! The positions of one reader over all that it reads, as a URL-safe text that any replica understands.
//!
//! Format version 1, then in order: 8 bytes of SHA-256 over the channel filter; per connector its name and the number of its
//! positions; per position the topic (empty: as before), `partition << 2 | has generation << 1 | has index`, and the place's numbers.
//! Numbers are LEB128, texts are preceded by their length; the whole is base64url without padding. A text from a client is
//! untrusted: [`Cursor::decode`] checks every length and allocates no more than the text holds.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};
use smallvec::SmallVec;

use crate::{
    Str,
    position::{Place, Position, Positions},
};

const VERSION: u8 = 1;

/// Positions by connector, and the channel filter that they belong to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    filter: [u8; 8],
    /// Connector name and where reading goes on there; by name.
    connectors: SmallVec<[(Str, Positions); 1]>,
}

/// Why a text is no cursor for this reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CursorError {
    /// Not what [`Cursor::encode`] writes.
    #[error("it is damaged: use a cursor exactly as the gateway gave it")]
    Damaged,
    /// Written by another version of the gateway.
    #[error("its format version is not known to this gateway")]
    Version,
    /// It belongs to another reader.
    #[error("it belongs to another channel filter: a cursor works only with the filter that it was given for")]
    Filter,
}

impl Cursor {
    /// A cursor of a reader of the channel filter, at the start of everything.
    #[must_use]
    pub fn new(filter: &str) -> Self {
        Self { filter: filter_hash(filter), connectors: SmallVec::new() }
    }

    /// The positions at one connector.
    #[must_use]
    pub fn positions(&self, connector: &str) -> Option<&Positions> {
        self.connectors.iter().find(|(name, _)| name == connector).map(|(_, positions)| positions)
    }

    /// The positions at one connector, to be changed; added if there are none.
    pub fn positions_mut(&mut self, connector: &Str) -> &mut Positions {
        let at = match self.connectors.binary_search_by(|(name, _)| (**name).cmp(connector)) {
            Ok(at) => at,
            Err(at) => {
                self.connectors.insert(at, (connector.clone(), Positions::default()));
                at
            }
        };
        &mut self.connectors[at].1
    }

    /// The text, written over `text`. `scratch` is a buffer to use again.
    pub fn encode_into(&self, text: &mut String, scratch: &mut Vec<u8>) {
        scratch.clear();
        scratch.push(VERSION);
        scratch.extend(self.filter);
        for (name, positions) in &self.connectors {
            put_text(scratch, name);
            put_number(scratch, positions.len() as u64);
            let mut topic = "";
            for position in positions {
                let same = position.topic == topic;
                put_text(scratch, if same { "" } else { &position.topic });
                topic = &position.topic;
                put_place(scratch, position);
            }
        }
        text.clear();
        URL_SAFE_NO_PAD.encode_string(scratch, text);
    }

    /// The text.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut text = String::new();
        self.encode_into(&mut text, &mut Vec::new());
        text
    }

    /// Reads a cursor of a reader of `filter`.
    pub fn decode(text: &str, filter: &str) -> Result<Self, CursorError> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| CursorError::Damaged)?;
        let mut rest = &bytes[..];
        match take(&mut rest, 1)? {
            [VERSION] => {}
            _ => return Err(CursorError::Version),
        }
        let mut cursor = Self::new(filter);
        if take(&mut rest, 8)? != cursor.filter {
            return Err(CursorError::Filter);
        }
        while !rest.is_empty() {
            let name = take_text(&mut rest)?;
            if cursor.connectors.last().is_some_and(|(last, _)| *last >= name) {
                return Err(CursorError::Damaged);
            }
            let count = take_number(&mut rest)?;
            let positions = cursor.positions_mut(&name);
            let mut topic = Str::new();
            for _ in 0..count {
                let named = take_text(&mut rest)?;
                if !named.is_empty() {
                    topic = named;
                }
                positions.set(take_position(&mut rest, topic.clone())?);
            }
        }
        Ok(cursor)
    }
}

fn filter_hash(filter: &str) -> [u8; 8] {
    let digest = Sha256::digest(filter.as_bytes());
    std::array::from_fn(|at| digest[at])
}

fn put_place(to: &mut Vec<u8>, Position { partition, place, .. }: &Position) {
    let flags = u64::from(place.generation != 0) << 1 | u64::from(place.index != 0);
    put_number(to, u64::from(*partition) << 2 | flags);
    if place.generation != 0 {
        put_number(to, place.generation);
    }
    put_number(to, place.offset);
    if place.index != 0 {
        put_number(to, u64::from(place.index));
    }
}

fn take_position(from: &mut &[u8], topic: Str) -> Result<Position, CursorError> {
    let small = |number: u64| u32::try_from(number).map_err(|_| CursorError::Damaged);
    let head = take_number(from)?;
    let partition = small(head >> 2)?;
    let generation = if head & 2 == 0 { 0 } else { take_number(from)? };
    let offset = take_number(from)?;
    let index = if head & 1 == 0 { 0 } else { small(take_number(from)?)? };
    Ok(Position { topic, partition, place: Place { generation, offset, index } })
}

fn put_number(to: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        to.push(number as u8 | 0x80);
        number >>= 7;
    }
    to.push(number as u8);
}

fn take_number(from: &mut &[u8]) -> Result<u64, CursorError> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let byte = take(from, 1)?[0];
        if shift == 63 && byte > 1 {
            return Err(CursorError::Damaged);
        }
        number |= u64::from(byte & 0x7F) << shift;
        if byte < 0x80 {
            return Ok(number);
        }
    }
    Err(CursorError::Damaged)
}

fn put_text(to: &mut Vec<u8>, text: &str) {
    put_number(to, text.len() as u64);
    to.extend(text.as_bytes());
}

fn take_text(from: &mut &[u8]) -> Result<Str, CursorError> {
    let length = usize::try_from(take_number(from)?).map_err(|_| CursorError::Damaged)?;
    let bytes = take(from, length)?;
    std::str::from_utf8(bytes).map(Str::from).map_err(|_| CursorError::Damaged)
}

fn take<'a>(from: &mut &'a [u8], length: usize) -> Result<&'a [u8], CursorError> {
    let (taken, rest) = from.split_at_checked(length).ok_or(CursorError::Damaged)?;
    *from = rest;
    Ok(taken)
}

#[cfg(test)]
mod tests;
