//! From what has arrived to a record. Foreign input never stops a reader: what is no event is wrapped.

use std::{
    sync::{Arc, OnceLock},
    time::SystemTime,
};

use meshgate_api::{
    Str,
    binding::{
        NativeOrigin,
        mqtt::{unpack, unpack_plain},
        native_source,
    },
    connector::Record,
    event::timestamp,
    position::{Place, Position},
};
use uuid::Uuid;

use crate::client::Arrival;

/// The record of what has arrived, at a place that the gateway gives it: MQTT has none. `None`: its topic is no UTF-8, which MQTT forbids.
pub(crate) fn decode(
    connector: &str,
    arrival: Arrival,
    position_topic: Option<&Str>,
    place: Place,
) -> Option<Arc<Record>> {
    let Arrival { topic, payload, properties, .. } = arrival;
    let topic = Str::try_from(topic).ok()?;
    let time = SystemTime::now();
    let native = || NativeOrigin {
        id: Uuid::now_v7().to_string().into(),
        source: native_source(connector, &topic),
        time: timestamp(time),
    };
    let mut message = match properties {
        Some(properties) => unpack(properties, payload, time, native),
        None => unpack_plain(payload, native),
    };
    // Slices of the buffer that the connection reads into would keep all of it.
    message.own_data();
    Some(Arc::new(Record {
        message,
        position: Position { topic: position_topic.unwrap_or(&topic).clone(), partition: 0, place },
        topic: Str::from(&*topic),
        next: Place { offset: place.offset + 1, ..place },
        key: None,
        time,
        note: OnceLock::new(),
    }))
}
