//! A broker's record, as another program wrote it: header names and values in turn, a line each, and after an empty line the value.
//! Whatever it is, it becomes an event that can be shown.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use meshgate_api::{
    Str,
    binding::{NativeOrigin, decode},
    json,
};

fuzz_target!(|input: &[u8]| {
    let (head, value) = match input.windows(2).position(|two| two == b"\n\n") {
        Some(at) => (&input[..at], Some(Bytes::copy_from_slice(&input[at + 2..]))),
        None => (input, None),
    };
    let mut headers = Vec::new();
    for line in head.split(|byte| *byte == b'\n') {
        let at = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        let value = line.get(at + 1..).unwrap_or_default();
        if let Ok(name) = Str::try_from(Bytes::copy_from_slice(&line[..at])) {
            headers.push((name, Bytes::copy_from_slice(value)));
        }
    }
    let native = || NativeOrigin { id: "0:0".into(), source: "/kafka/topic".into(), time: None };
    let message = decode(headers, value, native);
    let mut text = Vec::new();
    json::encode_into(&message.event, &[], &mut text);
    json::decode(&text.into()).expect("what is encoded can be decoded");
});
