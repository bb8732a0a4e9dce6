//! Events in binary mode, with attributes that are missing, empty or wrong.

use super::{
    Case,
    wire::{EVENT, post},
};

/// The headers of a whole event, without those that `changes` begins with, and with `changes`.
fn changed(changes: &[u8]) -> Vec<u8> {
    let name = changes.split(|byte| *byte == b':').next().unwrap_or_default();
    let kept = EVENT.split_inclusive("\r\n").filter(|line| line.split(':').next().map(str::as_bytes) != Some(name));
    let headers = kept.collect::<String>().into_bytes();
    let without_value = !changes.contains(&b':');
    if without_value { headers } else { [&headers, changes, b"\r\n"].concat() }
}

pub(super) fn cases() -> Vec<Case> {
    let refused: &[(&[u8], &str)] = &[
        (b"ce-specversion", "`ce-specversion` is missing"),
        (b"ce-id", "`ce-id` is missing"),
        (b"ce-source", "`ce-source` is missing"),
        (b"ce-type", "`ce-type` is missing"),
        (b"ce-specversion:", "`specversion` must be \"1.0\""),
        (b"ce-specversion: 0.3", "`specversion` must be \"1.0\""),
        (b"ce-specversion: 2.0", "`specversion` must be \"1.0\""),
        (b"ce-specversion: 1", "`specversion` must be \"1.0\""),
        (b"ce-id:", "`id` must not be empty"),
        (b"ce-source:", "`source` must not be empty"),
        (b"ce-source: a b", "`source` must be a URI-reference"),
        (b"ce-source: http://[::1", "`source` must be a URI-reference"),
        (b"ce-type:", "`type` must not be empty"),
        (b"ce-type: io.meshgate.ack", "`type` must not begin with io.meshgate."),
        (b"ce-type: io.meshgate.rawer", "`type` must not begin with io.meshgate."),
        (b"ce-subject:", "`subject` must not be empty"),
        (b"ce-subject: a\tb", "`subject` must be printable ASCII"),
        (b"ce-subject: caf\xC3\xA9", "`subject` must be printable ASCII"),
        (b"ce-subject: caf\xE9", "`subject` must be printable ASCII"),
        (b"ce-subject: 100%", "`subject` has a `%`"),
        (b"ce-subject: %4", "`subject` has a `%`"),
        (b"ce-subject: %G0", "`subject` has a `%`"),
        (b"ce-subject: %FF", "`subject` is percent-encoded, but not from UTF-8"),
        (b"ce-subject: %C3", "`subject` is percent-encoded, but not from UTF-8"),
        (b"ce-subject: %C0%AF", "`subject` is percent-encoded, but not from UTF-8"),
        (b"ce-subject: %ED%A0%80", "`subject` is percent-encoded, but not from UTF-8"),
        (b"ce-subject: %F4%90%80%80", "`subject` is percent-encoded, but not from UTF-8"),
        (b"ce-subject: %00", "`subject` must not hold control characters"),
        (b"ce-subject: a%0D%0Ab", "`subject` must not hold control characters"),
        (b"ce-subject: %C2%85", "`subject` must not hold control characters"),
        (b"ce-subject: %EF%BF%BE", "`subject` must not hold control characters or noncharacters"),
        (b"ce-subject: \"a", "`subject` has a double quote without its pair"),
        (b"ce-subject: a\r\nce-subject: b", "`subject` is given more than once"),
        (b"ce-id: a\r\nce-id: a", "`id` is given more than once"),
        (b"ce-x: a\r\nCE-X: a", "`x` is given more than once"),
        (b"ce-time: yesterday", "`time` must be an RFC 3339 timestamp"),
        (b"ce-time: 2026-02-30T00:00:00Z", "`time` must be an RFC 3339 timestamp"),
        (b"ce-time: 2026-01-31 12:00:00Z", "`time` must be an RFC 3339 timestamp"),
        (b"ce-dataschema: order.json", "`dataschema` must be an absolute URI"),
        (b"ce-dataschema: /order.json", "`dataschema` must be an absolute URI"),
        (b"ce-datacontenttype: text/plain", "`datacontenttype` travels as the header `content-type`"),
        (b"ce-my_extension: a", "`my_extension` is no attribute name"),
        (b"ce-my-extension: a", "`my-extension` is no attribute name"),
        (b"ce-data: a", "`data` is not allowed as an attribute name"),
        (b"ce-: a", "`` is no attribute name"),
        (b"content-type:", "`datacontenttype` must be a media type"),
        (b"content-type: json", "`datacontenttype` must be a media type"),
        (b"content-type: text/\xE9", "`datacontenttype` must be a media type"),
        (b"content-type: a/b\r\ncontent-type: a/b", "`content-type` is given more than once"),
    ];
    let named = |changes: &[u8]| format!("binary: {}", changes.escape_ascii());
    let refused =
        refused.iter().map(|(changes, says)| Case::refused(named(changes), post(changed(changes), "data"), 400, says));
    refused
        .chain([Case::refused("a stray ce- header", post("ce-x: a\r\n", "data"), 400, "`ce-specversion` is missing")])
        .collect()
}
