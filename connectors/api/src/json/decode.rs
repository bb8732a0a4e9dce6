//! JSON text to events.

use std::{borrow::Cow, fmt};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::{
    Str,
    event::{Draft, Event, InvalidEvent, Value},
    media,
};

/// A batch with more elements than this that are no events is refused as a whole: each costs an answer.
pub const MAX_FAULTS: usize = 1_000;

/// Why a text is no event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// It is not JSON, or not of the shape of an event or batch; says where.
    #[error("this is not the JSON of an event: {0}")]
    Malformed(String),
    /// A member is wrong.
    #[error(transparent)]
    Invalid(#[from] InvalidEvent),
}

impl DecodeError {
    /// The event's `id`, where it is known.
    #[must_use]
    pub fn id(&self) -> Option<&Str> {
        match self {
            Self::Malformed(_) => None,
            Self::Invalid(fault) => fault.id.as_ref(),
        }
    }
}

impl From<serde_json::Error> for DecodeError {
    fn from(error: serde_json::Error) -> Self {
        Self::Malformed(error.to_string())
    }
}

/// Reads one event. Its texts and data are slices of `text` wherever JSON needed no escapes.
pub fn decode(text: &Bytes) -> Result<Box<Event>, DecodeError> {
    let text = utf8(text)?;
    decode_object(&text, &text)
}

/// Reads a JSON array of events: each element's error stands in its place, an error of the whole is for broken JSON.
pub fn decode_batch(text: &Bytes) -> Result<Vec<Result<Box<Event>, DecodeError>>, DecodeError> {
    let text = utf8(text)?;
    let elements: Vec<&RawValue> = serde_json::from_str(&text)?;
    let mut events = Vec::with_capacity(elements.len());
    let mut faults = 0;
    for element in elements {
        let event = decode_object(&text, element.get());
        faults += usize::from(event.is_err());
        if faults > MAX_FAULTS {
            return Err(DecodeError::Malformed(format!("more than {MAX_FAULTS} elements of the batch are no events")));
        }
        events.push(event);
    }
    Ok(events)
}

fn utf8(text: &Bytes) -> Result<Str, DecodeError> {
    let place = |error: std::str::Utf8Error| format!("no UTF-8 after byte {}", error.valid_up_to());
    Str::try_from(text.clone()).map_err(|error| DecodeError::Malformed(place(error)))
}

/// `object` is a part of `whole`.
fn decode_object(whole: &Str, object: &str) -> Result<Box<Event>, DecodeError> {
    let mut json = serde_json::Deserializer::from_str(object);
    let members = Members { whole }.deserialize(&mut json)?;
    json.end()?;
    Ok(members.finish(whole)?)
}

/// The members of one object: the attributes in a draft, the data as it is written.
#[derive(Default)]
struct Found<'de> {
    draft: Draft,
    data: Option<&'de str>,
    base64: Option<&'de str>,
}

impl<'de> Found<'de> {
    fn take(&mut self, whole: &Str, name: Cow<'de, str>, value: &'de str) {
        let member = match &*name {
            "data" => &mut self.data,
            "data_base64" => &mut self.base64,
            _ => return self.take_attribute(whole, name, value),
        };
        if member.replace(value).is_some() {
            self.draft.fault(InvalidEvent::new(name, "is given more than once"));
        }
    }

    fn take_attribute(&mut self, whole: &Str, name: Cow<'de, str>, value: &str) {
        match attribute(whole, value) {
            Ok(value) => self.draft.put(&name, value, || match &name {
                Cow::Borrowed(name) => whole.slice_ref(name),
                Cow::Owned(name) => name.as_str().into(),
            }),
            Err(reason) => self.draft.fault(InvalidEvent::new(name, reason)),
        }
    }

    fn finish(mut self, whole: &Str) -> Result<Box<Event>, InvalidEvent> {
        let data = match (self.data, self.base64.filter(|value| *value != "null")) {
            (Some(_), Some(_)) => Err(InvalidEvent::new("data_base64", "must not stand beside `data`")),
            (None, Some(value)) => decode_base64(whole, value).map(Some),
            (Some(value), None) => self.text_data(whole, value),
            (None, None) => Ok(None),
        };
        let data = data.unwrap_or_else(|fault| {
            self.draft.fault(fault);
            None
        });
        self.draft.finish(data)
    }

    fn text_data(&mut self, whole: &Str, value: &str) -> Result<Option<Bytes>, InvalidEvent> {
        let Some(media_type) = self.draft.datacontenttype() else {
            self.draft.set_datacontenttype(Str::from_static("application/json"));
            return Ok(Some(whole.slice_ref(value).into_bytes()));
        };
        let text = match value {
            "null" if !media::is_json(media_type) => return Ok(None),
            string if string.starts_with('"') && !media::is_json(media_type) => unescape(whole, string)
                .ok_or_else(|| InvalidEvent::new("data", "holds an escape that is no Unicode character"))?,
            json => whole.slice_ref(json),
        };
        if !media::charset_holds(media_type, &text) {
            return Err(InvalidEvent::new("data", "cannot stand for bytes in that `charset`: use `data_base64`"));
        }
        Ok(Some(text.into_bytes()))
    }
}

/// The value of an attribute; `None` is `null`.
fn attribute(whole: &Str, json: &str) -> Result<Option<Value>, &'static str> {
    match json.as_bytes().first() {
        Some(b'"') => match unescape(whole, json) {
            Some(text) => Ok(Some(Value::String(text))),
            None => Err("holds an escape that is no Unicode character"),
        },
        Some(b'n') => Ok(None),
        Some(b't') => Ok(Some(Value::Boolean(true))),
        Some(b'f') => Ok(Some(Value::Boolean(false))),
        Some(b'{' | b'[') => Err("must be a string, a boolean or an integer: attributes have no structure"),
        _ => match json.parse() {
            Ok(number) => Ok(Some(Value::Integer(number))),
            Err(_) => Err("must be a string, a boolean or an integer of 32 bits without fraction or exponent"),
        },
    }
}

/// What a JSON string says; `None` if an escape in it is no character.
fn unescape(whole: &Str, string: &str) -> Option<Str> {
    match string.get(1..string.len() - 1) {
        Some(plain) if !plain.as_bytes().contains(&b'\\') => Some(whole.slice_ref(plain)),
        _ => serde_json::from_str::<String>(string).ok().map(Str::from),
    }
}

fn decode_base64(whole: &Str, json: &str) -> Result<Bytes, InvalidEvent> {
    let text = Some(json).filter(|json| json.starts_with('"')).and_then(|json| unescape(whole, json));
    text.and_then(|text| STANDARD.decode(&*text).ok())
        .map(Bytes::from)
        .ok_or_else(|| InvalidEvent::new("data_base64", "must be a string in base64 (RFC 4648, section 4)"))
}

/// Reads the members of an object.
struct Members<'a> {
    whole: &'a Str,
}

impl<'de> DeserializeSeed<'de> for Members<'_> {
    type Value = Found<'de>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Found<'de>, D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Members<'_> {
    type Value = Found<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Found<'de>, A::Error> {
        let mut found = Found::default();
        while let Some((name, value)) = members.next_entry_seed(Name, std::marker::PhantomData::<&RawValue>)? {
            found.take(self.whole, name, value.get());
        }
        Ok(found)
    }
}

/// Reads a member's name without a copy where it has no escapes.
struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Cow<'de, str>, D::Error> {
        json.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member's name")
    }

    fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Borrowed(name))
    }

    fn visit_str<E>(self, name: &str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Owned(name.to_owned()))
    }
}
