//! Attributes by name, looked up where the event keeps them.

use meshgate_api::{Str, event::Event};

use super::Value;

/// A context attribute. What every event may have is found without comparing names.
#[derive(Clone, Debug)]
pub(super) enum Attribute {
    SpecVersion,
    Id,
    Source,
    Type,
    Subject,
    Time,
    DataContentType,
    DataSchema,
    Extension(Box<str>),
}

impl Attribute {
    /// `name` in lower case.
    pub(super) fn new(name: String) -> Self {
        match &*name {
            "specversion" => Self::SpecVersion,
            "id" => Self::Id,
            "source" => Self::Source,
            "type" => Self::Type,
            "subject" => Self::Subject,
            "time" => Self::Time,
            "datacontenttype" => Self::DataContentType,
            "dataschema" => Self::DataSchema,
            _ => Self::Extension(name.into()),
        }
    }

    pub(super) fn name(&self) -> &str {
        match self {
            Self::SpecVersion => "specversion",
            Self::Id => "id",
            Self::Source => "source",
            Self::Type => "type",
            Self::Subject => "subject",
            Self::Time => "time",
            Self::DataContentType => "datacontenttype",
            Self::DataSchema => "dataschema",
            Self::Extension(name) => name,
        }
    }

    pub(super) fn of<'a>(&self, event: &'a Event) -> Option<Value<'a>> {
        let text: Option<&Str> = match self {
            Self::SpecVersion => return Some(Value::String("1.0".into())),
            Self::Id => Some(&event.id),
            Self::Source => Some(&event.source),
            Self::Type => Some(&event.kind),
            Self::Subject => event.subject.as_ref(),
            Self::Time => event.time.as_ref(),
            Self::DataContentType => event.datacontenttype.as_ref(),
            Self::DataSchema => event.dataschema.as_ref(),
            Self::Extension(name) => return event.extension(name).map(Value::from),
        };
        text.map(|text| Value::String((&**text).into()))
    }

    pub(super) fn is_in(&self, event: &Event) -> bool {
        match self {
            Self::Extension(name) => event.extension(name).is_some(),
            known => known.of(event).is_some(),
        }
    }
}
