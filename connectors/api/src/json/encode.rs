//! Events to JSON text.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::de::IgnoredAny;

use crate::{
    event::{Event, Value},
    media,
};

/// Appends the event to `out` as JSON on one line, with the extensions `extra` after its own.
///
/// An `extra` takes the place of an extension of the same name.
pub fn encode_into(event: &Event, extra: &[(&str, &str)], out: &mut Vec<u8>) {
    const ENVELOPE: usize = 256;
    out.reserve(event.data.as_ref().map_or(0, |data| data.len()) + ENVELOPE);
    out.extend_from_slice(br#"{"specversion":"1.0""#);
    for (name, text) in [("id", &event.id), ("source", &event.source), ("type", &event.kind)] {
        member(out, name, text);
    }
    let optional = [
        ("subject", &event.subject),
        ("time", &event.time),
        ("datacontenttype", &event.datacontenttype),
        ("dataschema", &event.dataschema),
    ];
    for (name, text) in optional {
        if let Some(text) = text {
            member(out, name, text);
        }
    }
    for (name, value) in &event.extensions {
        if !extra.iter().any(|(extra, _)| name == extra) {
            extension(out, name, value);
        }
    }
    for (name, text) in extra {
        member(out, name, text);
    }
    if let Some(data) = &event.data {
        put_data(out, event.datacontenttype.as_deref().unwrap_or_default(), data);
    }
    out.push(b'}');
}

fn extension(out: &mut Vec<u8>, name: &str, value: &Value) {
    match value {
        Value::Boolean(_) | Value::Integer(_) => {
            key(out, name);
            out.extend_from_slice(value.canonical().as_bytes());
        }
        _ => member(out, name, &value.canonical()),
    }
}

/// As a JSON value or a string if that says the same bytes, else in base64.
fn put_data(out: &mut Vec<u8>, media_type: &str, data: &[u8]) {
    let text = std::str::from_utf8(data).ok().filter(|text| media::charset_holds(media_type, text));
    match text {
        Some(json) if media::is_json(media_type) && is_json(json) => {
            key(out, "data");
            let start = out.len();
            out.extend_from_slice(data);
            // Within a JSON string a line break is escaped: those that stand here are between tokens.
            out[start..].iter_mut().filter(|byte| matches!(byte, b'\r' | b'\n')).for_each(|byte| *byte = b' ');
        }
        Some(text) if media::is_text(media_type) && !media::is_json(media_type) => member(out, "data", text),
        _ => {
            key(out, "data_base64");
            out.push(b'"');
            out.extend_from_slice(STANDARD.encode(data).as_bytes());
            out.push(b'"');
        }
    }
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<IgnoredAny>(text).is_ok()
}

fn member(out: &mut Vec<u8>, name: &str, text: &str) {
    key(out, name);
    string(out, text);
}

/// The name of a member that is not the first.
fn key(out: &mut Vec<u8>, name: &str) {
    out.push(b',');
    string(out, name);
    out.push(b':');
}

fn string(out: &mut Vec<u8>, text: &str) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let bytes = text.as_bytes();
    let mut written = 0;
    out.push(b'"');
    for (at, byte) in bytes.iter().enumerate() {
        let escape = match byte {
            b'"' | b'\\' => *byte,
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            0..0x20 => b'u',
            _ => continue,
        };
        out.extend_from_slice(&bytes[written..at]);
        out.extend_from_slice(&[b'\\', escape]);
        if escape == b'u' {
            out.extend_from_slice(&[b'0', b'0', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 0xF)]]);
        }
        written = at + 1;
    }
    out.extend_from_slice(&bytes[written..]);
    out.push(b'"');
}
