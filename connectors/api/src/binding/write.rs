//! A message as a record.

use bytes::Bytes;

use super::CONTENT_TYPE;
use crate::{
    connector::ContentMode,
    json,
    message::{CHANNEL_HEADER, Message, WRAPPED_HEADER},
};

/// The media type of the structured mode.
pub(super) const EVENT_JSON_UTF8: &str = "application/cloudevents+json; charset=UTF-8";

/// Calls `each` with every header of the record, in order; names may repeat.
pub fn headers(message: &Message, mode: ContentMode, mut each: impl FnMut(&str, &[u8])) {
    if mode == ContentMode::Binary {
        attribute_headers(message, &mut each);
    }
    match (mode, &message.event.datacontenttype) {
        (ContentMode::Structured, _) => each(CONTENT_TYPE, EVENT_JSON_UTF8.as_bytes()),
        (_, Some(media_type)) => each(CONTENT_TYPE, media_type.as_bytes()),
        (_, None) => {}
    }
    if let Some(channel) = &message.channel {
        each(CHANNEL_HEADER, channel.as_bytes());
    }
    if message.wrapped {
        each(WRAPPED_HEADER, b"true");
    }
    for (name, value) in &message.headers {
        each(name, value);
    }
}

/// The record's value: `None` is a null one. Only the structured mode makes bytes of its own.
#[must_use]
pub fn value(message: &Message, mode: ContentMode) -> Option<Bytes> {
    match mode {
        ContentMode::Binary | ContentMode::Raw => message.event.data.clone(),
        ContentMode::Structured => {
            let mut text = Vec::new();
            json::encode_into(&message.event, &[], &mut text);
            Some(Bytes::from(text))
        }
    }
}

fn attribute_headers(message: &Message, each: &mut impl FnMut(&str, &[u8])) {
    let mut extension = String::new();
    each("ce_specversion", b"1.0");
    message.event.for_each_attribute(|name, value| {
        let header = match name {
            "id" => "ce_id",
            "source" => "ce_source",
            "type" => "ce_type",
            "subject" => "ce_subject",
            "time" => "ce_time",
            "dataschema" => "ce_dataschema",
            "datacontenttype" => return,
            name => {
                extension.clear();
                extension.push_str("ce_");
                extension.push_str(name);
                &extension
            }
        };
        each(header, value.as_bytes());
    });
}
