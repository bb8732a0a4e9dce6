//! A WebSocket's text frame: an event, or what became of deliveries.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use meshgate::codec::websocket::{Frame, decode, message};
use meshgate_api::Str;

fuzz_target!(|input: &[u8]| {
    if let Ok(Frame::Event(event)) = decode(&Bytes::copy_from_slice(input)) {
        let owned = message(event.clone(), &Str::from_static("a/b"), &Vec::new());
        assert_eq!(owned.event, event);
    }
});
