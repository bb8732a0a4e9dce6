//! Which events a reader wants, of those in its channels.

use std::sync::Arc;

use meshgate_api::{Str, event::Event};

use crate::cesql::{CompileError, Expression};

/// An expression in CloudEvents SQL, as a reader wrote it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct EventFilter {
    text: Str,
    expression: Arc<Expression>,
}

impl EventFilter {
    /// Reads an expression.
    pub fn parse(text: &str) -> Result<Self, CompileError> {
        Ok(Self { expression: Arc::new(Expression::compile(text)?), text: text.into() })
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the reader wants the event; `None` if that cannot be told, which means no.
    #[must_use]
    pub fn wants(&self, event: &Event) -> Option<bool> {
        self.expression.holds(event).ok()
    }
}
