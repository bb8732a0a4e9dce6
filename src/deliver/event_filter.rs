//! Which events a reader wants, of those in its channels.

use std::sync::Arc;

use meshgate_api::{Str, event::Event};

use crate::router::Filter;

/// An expression in CloudEvents SQL, as a reader wrote it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct EventFilter {
    text: Str,
    filter: Arc<Filter>,
}

impl EventFilter {
    /// Reads an expression; the error says what is wrong, and in which column.
    pub fn parse(text: &str) -> Result<Self, String> {
        Ok(Self { filter: Arc::new(Filter::sql(text)?), text: text.into() })
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the reader wants the event; `erred` is told if the expression errs on it, which means no.
    #[must_use]
    pub fn wants(&self, event: &Event, mut erred: impl FnMut()) -> bool {
        self.filter.judge(event, &mut |_| erred())
    }
}
