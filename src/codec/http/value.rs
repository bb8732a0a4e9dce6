//! The text of a `ce-` header (section 3.1.3.2 of the binding).

use std::borrow::Cow;

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use smallvec::SmallVec;

/// What must be encoded beside everything outside printable ASCII.
const ENCODED: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'%');

/// An attribute's canonical string as a header's value.
#[must_use]
pub fn encode(text: &str) -> Cow<'_, str> {
    utf8_percent_encode(text, ENCODED).into()
}

/// Appends what a header's value says to `text`: quotes undone, then percent-encoding, once. The error says what is wrong with it.
pub(super) fn decode_into(value: &[u8], text: &mut String) -> Result<(), &'static str> {
    let (mut printable, mut plain) = (true, true);
    for byte in value {
        printable &= matches!(byte, b' '..=b'~');
        plain &= !matches!(byte, b'"' | b'%');
    }
    let Some(value) = std::str::from_utf8(value).ok().filter(|_| printable) else {
        return Err("must be printable ASCII in a header: percent-encode the bytes of its UTF-8");
    };
    if plain {
        text.push_str(value);
        return Ok(());
    }
    let decoded = percent_decoded(&unquoted(value.as_bytes())?)?;
    text.push_str(std::str::from_utf8(&decoded).map_err(|_| "is percent-encoded, but not from UTF-8")?);
    Ok(())
}

type Decoded = SmallVec<[u8; 256]>;

/// Undoes double-quoted strings and the escapes in them (RFC 7230, section 3.2.6).
fn unquoted(value: &[u8]) -> Result<Decoded, &'static str> {
    let mut plain = Decoded::new();
    let mut quoted = false;
    let mut bytes = value.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => quoted = !quoted,
            b'\\' if quoted => plain.extend(bytes.next().copied()),
            byte => plain.push(*byte),
        }
    }
    if quoted { Err("has a double quote without its pair") } else { Ok(plain) }
}

fn percent_decoded(value: &[u8]) -> Result<Decoded, &'static str> {
    let mut plain = Decoded::new();
    let mut rest = value;
    loop {
        rest = match rest {
            [b'%', high, low, rest @ ..] => {
                let (Some(high), Some(low)) = (hexadecimal(*high), hexadecimal(*low)) else { return Err(BROKEN) };
                plain.push(high << 4 | low);
                rest
            }
            [b'%', ..] => return Err(BROKEN),
            [byte, rest @ ..] => {
                plain.push(*byte);
                rest
            }
            [] => return Ok(plain),
        }
    }
}

const BROKEN: &str = "has a `%` that no two hexadecimal digits follow: a literal one is `%25`";

fn hexadecimal(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}
