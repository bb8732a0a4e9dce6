//! Errors as `application/problem+json` (RFC 9457).

use axum::{
    body::Body,
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use meshgate_api::Str;
use serde::Serialize;

/// One problem: its document, and what its headers say.
#[derive(Debug)]
pub struct Problem {
    code: StatusCode,
    document: Box<Document>,
    /// Seconds.
    retry_after: Option<u64>,
    /// A further header.
    header: Option<(HeaderName, &'static str)>,
}

/// `title` is the status's own phrase; `detail` says what to change.
#[derive(Debug, Serialize)]
struct Document {
    title: &'static str,
    status: u16,
    detail: String,
    /// The event's id, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<Str>,
    /// Of a batch: what became of each event.
    #[serde(skip_serializing_if = "Option::is_none")]
    events: Option<serde_json::Value>,
    /// Where reading can go on.
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<String>,
}

impl Problem {
    /// A problem with this status and explanation.
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        let document = Document {
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            detail: detail.into(),
            id: None,
            events: None,
            cursor: None,
        };
        Self { code: status, document: Box::new(document), retry_after: None, header: None }
    }

    /// 400 with this explanation.
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// About this event.
    #[must_use]
    pub fn of_event(mut self, id: Option<Str>) -> Self {
        self.document.id = id.filter(|id| !id.is_empty());
        self
    }

    /// With the fate of each event of a batch.
    #[must_use]
    pub fn with_events(mut self, events: serde_json::Value) -> Self {
        self.document.events = Some(events);
        self
    }

    /// With the cursor from which reading can go on.
    #[must_use]
    pub fn with_cursor(mut self, cursor: String) -> Self {
        self.document.cursor = Some(cursor);
        self
    }

    /// With the methods that are served (RFC 9110, section 15.5.6).
    #[must_use]
    pub fn allowing(self, methods: &'static str) -> Self {
        self.with_header(header::ALLOW, methods)
    }

    /// With a header that says more.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: &'static str) -> Self {
        self.header = Some((name, value));
        self
    }

    /// With a `Retry-After` of so many seconds, at least one.
    #[must_use]
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds.max(1));
        self
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        // A struct of texts and numbers always serializes.
        let body = serde_json::to_vec(&self.document).unwrap_or_default();
        let mut response = (self.code, Body::from(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some((name, value)) = self.header {
            headers.insert(name, HeaderValue::from_static(value));
        }
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
