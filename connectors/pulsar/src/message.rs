//! From an event to a message: attributes and transport headers as properties, in the manner of the CloudEvents Kafka binding.

use std::collections::HashMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use meshgate_api::{
    binding,
    connector::{Order, Outbound},
};
use pulsar::producer::Message;

/// The property of an event that has no data: Pulsar's own mark for that cannot be set with the crate.
pub(crate) const NULL: &str = "meshgate-null";
/// Before the name of a header whose value is no text; the property's value is Base64.
pub(crate) const BASE64: &str = "meshgate-base64-";

/// The message, and about its bytes on the wire.
pub(crate) fn message(outbound: &Outbound) -> (Message, usize) {
    let (message, mode) = (&outbound.message, outbound.mode);
    let value = binding::value(message, mode);
    let mut properties = HashMap::with_capacity(8 + message.event.extensions.len() + message.headers.len());
    let mut size = value.as_deref().map_or(0, <[u8]>::len);
    binding::headers(message, mode, |name, value| {
        size += name.len() + 2 * value.len();
        put(&mut properties, name, value);
    });
    if value.is_none() {
        properties.insert(NULL.to_owned(), "true".to_owned());
    }
    // Without a key, members of a Key_Shared subscription share the channels.
    let by_channel = outbound.key.is_none() && outbound.order == Order::Kept;
    let channel = message.channel.as_ref().filter(|_| by_channel);
    let message = Message {
        payload: value.map_or_else(Vec::new, |value| value.to_vec()),
        properties,
        partition_key: outbound.key.as_ref().map(ToString::to_string),
        ordering_key: channel.map(|channel| channel.as_bytes().to_vec()),
        ..Message::default()
    };
    (message, size)
}

/// Of a name that is there twice the last value stays, be it text or not.
fn put(properties: &mut HashMap<String, String>, name: &str, value: &[u8]) {
    let as_binary = || format!("{BASE64}{name}");
    match std::str::from_utf8(value) {
        Ok(text) => {
            if properties.insert(name.to_owned(), text.to_owned()).is_none() {
                properties.remove(&as_binary());
            }
        }
        Err(_) => {
            properties.remove(name);
            properties.insert(as_binary(), STANDARD.encode(value));
        }
    }
}
