//! What can go wrong: when an expression is compiled, and when it is evaluated.

use std::{borrow::Cow, fmt};

use super::{Type, Value};

/// The kinds of errors of the specification (section 3.3). `Display` shows the names that its conformance tests use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The text is no expression.
    Parse,
    /// An arithmetic operation has no result.
    Math,
    /// A value cannot be cast.
    Cast,
    /// The event lacks an attribute.
    MissingAttribute,
    /// No such function.
    MissingFunction,
    /// A function has no result for its arguments.
    FunctionEvaluation,
    /// Anything else.
    Generic,
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Parse => "parse",
            Self::Math => "math",
            Self::Cast => "cast",
            Self::MissingAttribute => "missingAttribute",
            Self::MissingFunction => "missingFunction",
            Self::FunctionEvaluation => "functionEvaluation",
            Self::Generic => "generic",
        })
    }
}

/// Why a text was not compiled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("column {column}: {message}")]
pub struct CompileError {
    /// [`ErrorKind::Parse`] or [`ErrorKind::MissingFunction`].
    pub kind: ErrorKind,
    /// Where in the text: characters from 1.
    pub column: usize,
    /// What is wrong there, and what would be right.
    pub message: String,
}

/// What an evaluation has met.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error<'a> {
    /// The event lacks this attribute.
    #[error("the event has no attribute `{0}`")]
    MissingAttribute(&'a str),
    /// A text that is no value of the type.
    #[error("`{text}` is no {to}")]
    Cast {
        /// What was to be cast.
        text: Cow<'a, str>,
        /// The type that was asked for.
        to: Type,
    },
    /// An arithmetic operation without a result.
    #[error("{0}")]
    Math(&'static str),
    /// A function without a result for these arguments.
    #[error("{0}")]
    Function(&'static str),
    /// A filter whose value is of another type.
    #[error("the value is of type {0}: that of a filter is true or false")]
    NotBoolean(Type),
}

impl Error<'_> {
    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::MissingAttribute(_) => ErrorKind::MissingAttribute,
            Self::Cast { .. } => ErrorKind::Cast,
            Self::Math(_) => ErrorKind::Math,
            Self::Function(_) => ErrorKind::FunctionEvaluation,
            Self::NotBoolean(_) => ErrorKind::Generic,
        }
    }
}

/// The error of a function itself, which may come with a value.
#[derive(Debug)]
pub(super) struct Failure<'a> {
    pub(super) error: Error<'a>,
    /// `None`: the zero value of the function's type.
    pub(super) value: Option<Value<'a>>,
}

impl<'a> From<Error<'a>> for Failure<'a> {
    fn from(error: Error<'a>) -> Self {
        Self { error, value: None }
    }
}
