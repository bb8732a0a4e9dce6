//! What data is that comes without a media type. Commands guess, so that a file with an event in it is one; the gateway never does.

use meshgate_api::media;
use serde_json::Value;

/// What the data of a publish is: an event (JSON with `specversion`, also if it is broken off), a batch of events, or what
/// [`of_data`] says.
pub(super) fn of_publish(data: &[u8]) -> &'static str {
    let is_event = |value: &Value| value.get("specversion").is_some();
    match serde_json::from_slice(data) {
        Ok(event) if is_event(&event) => media::EVENT_JSON,
        Ok(Value::Array(events)) if events.iter().any(is_event) => media::BATCH_JSON,
        Err(_) if is_broken_event(data) => media::EVENT_JSON,
        _ => of_data(data),
    }
}

/// What the data of one event is: JSON, text, or bytes.
pub(super) fn of_data(data: &[u8]) -> &'static str {
    if serde_json::from_slice::<Value>(data).is_ok() {
        "application/json"
    } else if std::str::from_utf8(data).is_ok() {
        "text/plain"
    } else {
        "application/octet-stream"
    }
}

fn is_broken_event(data: &[u8]) -> bool {
    data.trim_ascii_start().starts_with(b"{") && memchr::memmem::find(data, br#""specversion""#).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_names_its_specversion_is_an_event() {
        for (data, publish, alone) in [
            (&br#"{"specversion":"1.0","id":"1"}"#[..], media::EVENT_JSON, "application/json"),
            (br#" {"specversion":"1.0","id":"1""#, media::EVENT_JSON, "text/plain"),
            (br#"[{"specversion":"1.0"}, 1]"#, media::BATCH_JSON, "application/json"),
            (br#"{"order_id":7}"#, "application/json", "application/json"),
            (b"[]", "application/json", "application/json"),
            (b"21.5", "application/json", "application/json"),
            (b"not json", "text/plain", "text/plain"),
            (br#"of "specversion" {"#, "text/plain", "text/plain"),
            (b"", "text/plain", "text/plain"),
            (b"\xff", "application/octet-stream", "application/octet-stream"),
        ] {
            assert_eq!((of_publish(data), of_data(data)), (publish, alone), "{}", data.escape_ascii());
        }
    }
}
