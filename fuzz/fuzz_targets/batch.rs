//! A batch in the JSON format: every event that is taken survives its own JSON, data included.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use meshgate_api::json;

fuzz_target!(|input: &[u8]| {
    let Ok(events) = json::decode_batch(&Bytes::copy_from_slice(input)) else { return };
    for event in events.into_iter().flatten() {
        let mut text = Vec::new();
        json::encode_into(&event, &[], &mut text);
        let once = json::decode(&text.into()).expect("what is encoded can be decoded");
        let mut text = Vec::new();
        json::encode_into(&once, &[], &mut text);
        assert_eq!(json::decode(&text.into()).as_ref(), Ok(&once));
    }
});
