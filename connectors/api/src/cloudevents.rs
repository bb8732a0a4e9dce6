//! Conversions from and to `cloudevents-sdk`, for programs that use both.
//!
//! What does not survive the way through that crate: the text of `time` (it becomes UTC) and of `dataschema` (it is normalised),
//! the order of extensions, and their types beyond string, boolean and integer. Data goes over as `Data::Binary`, so that no byte
//! changes; `serde_json::Value::try_from` reads it there. JSON data that comes from there is as its serde_json writes it.

use ::cloudevents::{
    AttributesReader, AttributesWriter, Data, Event as SdkEvent, EventBuilder, EventBuilderV10,
    event::{EventBuilderError, ExtensionValue, SpecVersion, TryIntoUrl},
};
use bytes::Bytes;

use crate::{
    Str,
    event::{Event, InvalidEvent, Value},
};

impl TryFrom<SdkEvent> for Event {
    type Error = InvalidEvent;

    /// Only version 1.0, and only what is valid by [`Event::check`]. JSON data without a type becomes `application/json`.
    fn try_from(mut from: SdkEvent) -> Result<Self, InvalidEvent> {
        if from.specversion() != SpecVersion::V10 {
            return Err(InvalidEvent::new("specversion", "must be \"1.0\": no other version is understood"));
        }
        let mut event = Self {
            id: from.id().into(),
            source: from.source().as_str().into(),
            kind: from.ty().into(),
            subject: from.subject().map(Str::from),
            time: from.time().map(|time| time.to_rfc3339().into()),
            ..Self::default()
        };
        for (name, value) in from.iter_extensions() {
            event.extensions.push((name.into(), extension(name, value)?));
        }
        let (media_type, schema, data) = from.take_data();
        event.datacontenttype = media_type.map(Str::from);
        event.dataschema = schema.map(|schema| schema.as_str().into());
        event.data = match data {
            None => None,
            Some(Data::Binary(bytes)) => Some(Bytes::from(bytes)),
            Some(Data::String(text)) => Some(Bytes::from(text)),
            Some(Data::Json(json)) => {
                event.datacontenttype.get_or_insert(Str::from_static("application/json"));
                Some(Bytes::from(json.to_string()))
            }
        };
        event.check()?;
        Ok(event)
    }
}

fn extension(name: &str, value: &ExtensionValue) -> Result<Value, InvalidEvent> {
    Ok(match value {
        ExtensionValue::String(text) => Value::String(text.as_str().into()),
        ExtensionValue::Boolean(value) => Value::Boolean(*value),
        ExtensionValue::Integer(number) => {
            let number = i32::try_from(*number).map_err(|_| InvalidEvent::new(name, "must be an integer of 32 bits"));
            Value::Integer(number?)
        }
    })
}

impl TryFrom<Event> for SdkEvent {
    type Error = EventBuilderError;

    fn try_from(from: Event) -> Result<Self, EventBuilderError> {
        let mut builder = EventBuilderV10::new().id(&*from.id).source(&*from.source).ty(&*from.kind);
        if let Some(subject) = &from.subject {
            builder = builder.subject(&**subject);
        }
        if let Some(time) = &from.time {
            builder = builder.time(&**time);
        }
        for (name, value) in &from.extensions {
            builder = match value {
                Value::Boolean(value) => builder.extension(name, *value),
                Value::Integer(number) => builder.extension(name, i64::from(*number)),
                text => builder.extension(name, &*text.canonical()),
            };
        }
        let mut event = builder.build()?;
        event.set_datacontenttype(from.datacontenttype.as_deref());
        if let Some(schema) = &from.dataschema {
            let attribute_name = "dataschema";
            let schema = (&**schema).into_url();
            event.set_dataschema(Some(
                schema.map_err(|source| EventBuilderError::ParseUrlError { attribute_name, source })?,
            ));
        }
        if let Some(data) = &from.data {
            event.set_data_unchecked(data.to_vec());
        }
        Ok(event)
    }
}

#[cfg(test)]
mod tests;
