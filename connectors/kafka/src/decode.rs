//! From a consumed message to a record. Foreign input never stops a reader: what is no event is wrapped.

use std::{
    str,
    sync::{Arc, OnceLock},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use meshgate_api::{
    Str,
    binding::{self, NativeOrigin},
    connector::Record,
    position::{Place, Position},
};
use rdkafka::{Message, message::BorrowedMessage};
use smallvec::SmallVec;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::native::for_each_header;

/// About the bytes of all headers, to allocate once.
const HEADERS: usize = 512;

/// A topic, and what its native records are known by.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    pub(crate) topic: Str,
    source: Str,
}

impl Origin {
    pub(crate) fn new(connector: &str, topic: Str) -> Self {
        let source = binding::native_source(connector, &topic);
        Self { topic, source }
    }
}

/// Copies the message once, into one buffer, of which everything in the record is a slice.
pub(crate) fn decode(origin: &Origin, message: &BorrowedMessage<'_>) -> Arc<Record> {
    let mut copy = Vec::with_capacity(message.key_len() + message.payload_len() + HEADERS);
    let key = message.key().map(|key| put(&mut copy, key));
    let value = message.payload().map(|value| put(&mut copy, value));
    let headers = put_headers(&mut copy, message);
    let copy = Bytes::from(copy);

    let partition = message.partition().unsigned_abs();
    let offset = message.offset().unsigned_abs();
    let time = message.timestamp().to_millis();
    let slice = |span: Span| copy.slice(span.0..span.1);
    let headers =
        headers.into_iter().filter_map(|(name, value)| Some((Str::try_from(slice(name)).ok()?, slice(value))));
    let decoded = binding::decode(headers, value.map(slice), || NativeOrigin {
        id: format!("{partition}:{offset}").into(),
        source: origin.source.clone(),
        time: time.and_then(rfc3339),
    });
    Arc::new(Record {
        message: decoded,
        topic: origin.topic.clone(),
        position: Position { topic: origin.topic.clone(), partition, place: Place::offset(offset) },
        next: Place::offset(offset + 1),
        key: key.map(slice),
        time: system_time(time),
        note: OnceLock::new(),
    })
}

/// From, to.
type Span = (usize, usize);

fn put(copy: &mut Vec<u8>, bytes: &[u8]) -> Span {
    let from = copy.len();
    copy.extend_from_slice(bytes);
    (from, copy.len())
}

/// Names and values, without those whose name is not UTF-8. A null value is an empty one.
fn put_headers(copy: &mut Vec<u8>, message: &BorrowedMessage<'_>) -> SmallVec<[(Span, Span); 16]> {
    let mut spans = SmallVec::new();
    for_each_header(message, |name, value| {
        if str::from_utf8(name).is_ok() {
            spans.push((put(copy, name), put(copy, value.unwrap_or_default())));
        }
    });
    spans
}

/// Unix milliseconds; before 1970 or unknown is 1970.
fn system_time(millis: Option<i64>) -> SystemTime {
    let millis = millis.and_then(|millis| u64::try_from(millis).ok()).map(Duration::from_millis);
    millis.and_then(|since| UNIX_EPOCH.checked_add(since)).unwrap_or(UNIX_EPOCH)
}

fn rfc3339(millis: i64) -> Option<Str> {
    let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(millis) * 1_000_000).ok()?;
    Some(time.format(&Rfc3339).ok()?.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_any_producer_are_taken() {
        assert_eq!(rfc3339(1_764_000_000_123).as_deref(), Some("2025-11-24T16:00:00.123Z"));
        assert_eq!(rfc3339(i64::MAX), None);
        assert_eq!(system_time(Some(-5)), UNIX_EPOCH);
        assert_eq!(system_time(None), UNIX_EPOCH);
        assert_eq!(system_time(Some(1500)), UNIX_EPOCH + Duration::from_millis(1500));
        assert!(system_time(Some(i64::MAX)) >= UNIX_EPOCH);
    }
}
