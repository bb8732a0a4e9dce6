//! From a consumed message to a record. Foreign input never stops a reader: what is no event is wrapped.

use std::{
    sync::{Arc, OnceLock},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use meshgate_api::{
    Str,
    binding::{self, NativeOrigin},
    connector::Record,
    event::timestamp,
    position::{Place, Position},
};
use pulsar::{
    DeserializeMessage, Payload,
    consumer::Message,
    message::proto::{MessageIdData, MessageMetadata},
};

use crate::message::{BASE64, NULL};

/// Messages as they are.
pub(crate) struct Raw;

impl DeserializeMessage for Raw {
    type Output = ();

    fn deserialize_message(_: &Payload) {}
}

/// A partition of a topic, and what its native records are known by.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    pub(crate) topic: Str,
    pub(crate) partition: u32,
    source: Str,
}

impl Origin {
    pub(crate) fn new(connector: &str, topic: Str, partition: u32) -> Self {
        let source = binding::native_source(connector, &topic);
        Self { topic, partition, source }
    }
}

/// Where a message stands.
pub(crate) fn place(id: &MessageIdData) -> Place {
    let index = id.batch_index.and_then(|index| u32::try_from(index).ok()).unwrap_or(0);
    Place { generation: id.ledger_id, offset: id.entry_id, index }
}

pub(crate) fn decode(origin: &Origin, message: Message<Raw>) -> Arc<Record> {
    let place = place(message.message_id());
    let key = message.payload.metadata.partition_key.as_ref().map(|key| key_of(&message.payload.metadata, key));
    let Payload { metadata, data } = message.payload;
    let time = UNIX_EPOCH.checked_add(Duration::from_millis(metadata.publish_time)).unwrap_or(UNIX_EPOCH);
    let (mut is_null, mut headers) = (metadata.null_value(), Vec::with_capacity(metadata.properties.len()));
    for property in metadata.properties {
        match &*property.key {
            NULL => is_null |= property.value == "true",
            key => headers.push(match key.strip_prefix(BASE64).zip(STANDARD.decode(&property.value).ok()) {
                Some((name, value)) => (Str::from(name), Bytes::from(value)),
                None => (Str::from(property.key), Bytes::from(property.value)),
            }),
        }
    }
    headers.sort_unstable_by(|one, other| one.0.cmp(&other.0)); // properties have no order, and a reader should see always the same
    let value = (!is_null).then(|| Bytes::from(data));
    let partition = origin.partition;
    let decoded = binding::decode(headers, value, || NativeOrigin {
        id: format!("{partition}:{}:{}:{}", place.generation, place.offset, place.index).into(),
        source: origin.source.clone(),
        time: Some(time).filter(|time| *time > UNIX_EPOCH).and_then(timestamp),
    });
    Arc::new(Record {
        message: decoded,
        topic: origin.topic.clone(),
        position: Position { topic: origin.topic.clone(), partition, place },
        next: Place { index: place.index + 1, ..place },
        key,
        time: time.min(SystemTime::now()),
        note: OnceLock::new(),
    })
}

fn key_of(metadata: &MessageMetadata, key: &str) -> Bytes {
    let decoded = metadata.partition_key_b64_encoded().then(|| STANDARD.decode(key).ok()).flatten();
    decoded.map_or_else(|| Bytes::copy_from_slice(key.as_bytes()), Bytes::from)
}
