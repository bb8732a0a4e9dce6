//! Values, their types and the casts between them (sections 3.1 and 3.7).

use std::{borrow::Cow, fmt};

use meshgate_api::event;

use super::Error;

/// A value. Texts are slices of the event or of the expression, unless a function or a cast has made them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// Characters; also URIs, timestamps and the Base64 of binary attributes.
    String(Cow<'a, str>),
    /// 32 bits, signed.
    Integer(i32),
    /// `true` or `false`.
    Boolean(bool),
}

/// The type of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// [`Value::String`]
    String,
    /// [`Value::Integer`]
    Integer,
    /// [`Value::Boolean`]
    Boolean,
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::String => "String",
            Self::Integer => "Integer",
            Self::Boolean => "Boolean",
        })
    }
}

impl<'a> Value<'a> {
    /// Its type.
    #[must_use]
    pub fn kind(&self) -> Type {
        match self {
            Self::String(_) => Type::String,
            Self::Integer(_) => Type::Integer,
            Self::Boolean(_) => Type::Boolean,
        }
    }

    /// The zero value of a type.
    pub(super) fn zero(kind: Type) -> Self {
        match kind {
            Type::String => Self::String(Cow::Borrowed("")),
            Type::Integer => Self::Integer(0),
            Type::Boolean => Self::Boolean(false),
        }
    }

    /// The same value without its text.
    pub(super) fn borrowed(&'a self) -> Self {
        match self {
            Self::String(text) => Self::String(Cow::Borrowed(text)),
            Self::Integer(number) => Self::Integer(*number),
            Self::Boolean(truth) => Self::Boolean(*truth),
        }
    }

    /// Whether it is `other`, once it is cast to the type of that.
    pub(super) fn equals(self, other: &Value<'_>) -> Result<bool, Error<'a>> {
        match (&self, other) {
            // Nearly always: then nothing is moved.
            (Self::String(own), Value::String(other)) => Ok(own == other),
            _ => Ok(self.cast(other.kind())? == *other),
        }
    }

    pub(super) fn cast(self, to: Type) -> Result<Self, Error<'a>> {
        Ok(match to {
            Type::String => Self::String(self.into_string()),
            Type::Integer => Self::Integer(self.into_integer()?),
            Type::Boolean => Self::Boolean(self.into_boolean()?),
        })
    }

    pub(super) fn into_string(self) -> Cow<'a, str> {
        match self {
            Self::String(text) => text,
            Self::Integer(number) => Cow::Owned(number.to_string()),
            Self::Boolean(truth) => Cow::Borrowed(if truth { "true" } else { "false" }),
        }
    }

    pub(super) fn into_integer(self) -> Result<i32, Error<'a>> {
        match self {
            Self::String(text) => match text.parse() {
                Ok(number) => Ok(number),
                Err(_) => Err(Error::Cast { text, to: Type::Integer }),
            },
            Self::Integer(number) => Ok(number),
            Self::Boolean(truth) => Ok(truth.into()),
        }
    }

    pub(super) fn into_boolean(self) -> Result<bool, Error<'a>> {
        match self {
            Self::String(text) if text.eq_ignore_ascii_case("true") => Ok(true),
            Self::String(text) if text.eq_ignore_ascii_case("false") => Ok(false),
            Self::String(text) => Err(Error::Cast { text, to: Type::Boolean }),
            Self::Integer(number) => Ok(number != 0),
            Self::Boolean(truth) => Ok(truth),
        }
    }
}

impl<'a> From<&'a event::Value> for Value<'a> {
    fn from(value: &'a event::Value) -> Self {
        match value {
            event::Value::Boolean(truth) => Self::Boolean(*truth),
            event::Value::Integer(number) => Self::Integer(*number),
            text => Self::String(text.canonical()),
        }
    }
}
