//! A request's headers, a line each, and after an empty line its body: what is taken for an event is one that survives its own JSON.
#![no_main]

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use meshgate::codec::http::{Decoded, decode};
use meshgate_api::json;

fuzz_target!(|input: &[u8]| {
    let (head, body) = match input.windows(2).position(|two| two == b"\n\n") {
        Some(at) => (&input[..at], &input[at + 2..]),
        None => (&input[..0], input),
    };
    let mut headers = HeaderMap::new();
    for line in head.split(|byte| *byte == b'\n') {
        let mut parts = line.splitn(2, |byte| *byte == b':');
        let (Some(name), Some(value)) = (parts.next(), parts.next()) else { continue };
        let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) else { continue };
        headers.append(name, value);
    }
    if let Ok(Decoded::One(message)) = decode(&headers, Bytes::copy_from_slice(body), "a/b") {
        let mut text = Vec::new();
        json::encode_into(&message.event, &[], &mut text);
        let again = json::decode(&text.into()).expect("what is encoded can be decoded");
        assert_eq!(again.id, message.event.id);
        assert_eq!(again.extensions.len(), message.event.extensions.len());
    }
});
