//! A cursor from a client: one that is taken says the same when it is written again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use meshgate_api::cursor::Cursor;

fuzz_target!(|input: &[u8]| {
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let Ok(cursor) = Cursor::decode(text, "a/#") {
        assert_eq!(Cursor::decode(&cursor.encode(), "a/#"), Ok(cursor));
    }
});
